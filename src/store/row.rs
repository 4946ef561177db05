//! How a torrent's file list lies in its row: in as few bytes as it needs, beside the name in a
//! column of its own.
//!
//! One marker byte, then nothing (one file, named and sized as the torrent); or all paths squeezed
//! together, with the sizes after them; or, for texts of a kind that the squeezer does not know, the
//! packed list; or, apart from each other because sizes do not compress and would break up what
//! does, varints of the lengths of both parts, all sizes as varints, and all paths as raw deflate.
//! What deflate may refer to from the beginning is `DICTIONARY` and the torrent's name.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::squeeze::{BitSink, Bits, Squeezer};
use crate::base::varint;
use crate::model::{FileList, Torrent};

/// Packs file lists; keeps its buffers between torrents.
pub struct Packer {
    squeezer: Squeezer,
    text: Vec<u8>,
    deflate: Compress,
    sizes: Vec<u8>,
    paths: Vec<u8>,
    out: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// Ready to pack.
    pub fn new() -> Self {
        let deflate = Compress::new(Compression::new(LEVEL), false);
        Self {
            squeezer: Squeezer::default(),
            text: Vec::new(),
            deflate,
            sizes: Vec::new(),
            paths: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The column's bytes for this torrent.
    pub fn pack(&mut self, torrent: &Torrent) -> &[u8] {
        if is_single(torrent) {
            self.out.clear();
            self.out.push(SINGLE);
        } else {
            let squeezed = self.squeeze(torrent);
            if !squeezed || self.out.len() * 4 > self.text.len() * 3 {
                let first = std::mem::take(&mut self.out);
                self.pack_apart(torrent);
                if squeezed && first.len() <= self.out.len() {
                    self.out = first;
                }
            }
        }
        &self.out
    }

    /// False if it cannot be told apart afterwards, or is too long.
    fn squeeze(&mut self, torrent: &Torrent) -> bool {
        if torrent.files.packed().len() > TEXT_MAX || !self.join(torrent) {
            return false;
        }
        self.out.clear();
        self.out.push(SQUEEZED);
        varint::push(&mut self.out, torrent.files.len() as u64);
        let mut bits = BitSink::default();
        self.squeezer.squeeze(known(&torrent.name), &self.text, &mut self.out, &mut bits);
        push_sizes(torrent, &mut self.out, &mut bits);
        bits.end(&mut self.out);
        true
    }

    /// The paths of all files as one text, each with its end.
    fn join(&mut self, torrent: &Torrent) -> bool {
        let plain = |part: &[u8]| part.iter().all(|&byte| byte != END && byte != NEXT);
        self.text.clear();
        let mut all = true;
        for file in torrent.files.iter() {
            all &= !file.path.is_empty() && file.path.iter().all(|part| plain(part));
            for (depth, component) in file.path.into_iter().enumerate() {
                if depth > 0 {
                    self.text.push(NEXT);
                }
                self.text.extend_from_slice(component);
            }
            self.text.push(END);
        }
        all && self.text.len() <= TEXT_MAX
    }

    /// Sizes and paths apart, or as they are.
    fn pack_apart(&mut self, torrent: &Torrent) {
        let packed = torrent.files.packed();
        self.out.clear();
        if packed.len() < DEFLATE_MIN || !self.deflate(torrent) || self.out.len() > packed.len() {
            self.out.clear();
            self.out.push(PLAIN);
            self.out.extend_from_slice(packed);
        }
    }

    fn deflate(&mut self, torrent: &Torrent) -> bool {
        self.sizes.clear();
        self.paths.clear();
        for file in torrent.files.iter() {
            varint::push(&mut self.sizes, file.size_bytes);
            varint::push(&mut self.paths, file.path.len() as u64);
            for component in file.path {
                varint::push(&mut self.paths, component.len() as u64);
                self.paths.extend_from_slice(component);
            }
        }
        self.out.push(DEFLATED);
        varint::push(&mut self.out, self.sizes.len() as u64);
        varint::push(&mut self.out, self.paths.len() as u64);
        self.out.extend_from_slice(&self.sizes);
        self.out.reserve(self.paths.len());
        self.deflate.reset();
        self.deflate.set_dictionary(&dictionary(&torrent.name)).is_ok()
            && matches!(
                self.deflate.compress_vec(&self.paths, &mut self.out, FlushCompress::Finish),
                Ok(Status::StreamEnd)
            )
    }
}

/// Reads the column of a torrent of that name and size back. `None` if it is damaged or larger
/// than any that was ever written.
pub fn unpack(name: &[u8], size_bytes: u64, column: &[u8]) -> Option<FileList> {
    let (&marker, rest) = column.split_first()?;
    match marker {
        SINGLE => {
            let mut files = FileList::default();
            files.push(size_bytes, [name].into_iter());
            Some(files)
        }
        PLAIN => FileList::from_packed(rest.to_vec()),
        DEFLATED => inflate(rest, name),
        SQUEEZED => unsqueeze(rest, name),
        _ => None,
    }
}

fn unsqueeze(mut column: &[u8], name: &[u8]) -> Option<FileList> {
    let count = usize::try_from(varint::take(&mut column)?).ok().filter(|&count| count < TEXT_MAX)?;
    let mut bits = Bits::new(column);
    let text = bits.unsqueeze(known(name), count, TEXT_MAX)?;
    let (mut files, mut width) = (FileList::default(), FIRST_WIDTH);
    let mut path: Vec<&[u8]> = Vec::new();
    for part in text.split(|&byte| byte == END).take(count) {
        path.clear();
        path.extend(part.split(|&byte| byte == NEXT));
        files.push(take_size(&mut bits, &mut width)?, path.iter().copied());
    }
    Some(files)
}

/// Each as what its number of bits is more than the one's before, and then those bits.
fn push_sizes(torrent: &Torrent, out: &mut Vec<u8>, bits: &mut BitSink) {
    let mut before = FIRST_WIDTH;
    for file in torrent.files.iter() {
        let width = u64::BITS - file.size_bytes.leading_zeros();
        let step = width as i32 - before as i32;
        // 0, -1, 1, -2, 2 …, from 1 on; its own width in ones and a zero, then it.
        let step = if step < 0 { -2 * step } else { 2 * step + 1 } as u64;
        let digits = step.ilog2();
        bits.push(out, (1 << digits) - 1, digits + 1);
        bits.push(out, step & ((1 << digits) - 1), digits);
        // The highest bit is known.
        let (low, high) = (file.size_bytes & 0xffff_ffff, file.size_bytes >> 32);
        let count = width.saturating_sub(1);
        bits.push(out, low & mask(count.min(32)), count.min(32));
        bits.push(out, high & mask(count.saturating_sub(32)), count.saturating_sub(32));
        before = width;
    }
}

fn take_size(bits: &mut Bits<'_>, before: &mut u32) -> Option<u64> {
    let mut digits = 0;
    while bits.take(1)? == 1 {
        digits += 1;
        // Steps go to 129.
        if digits > 7 {
            return None;
        }
    }
    let step = (1 << digits | bits.take(digits)?) as i32;
    let step = if step % 2 == 0 { -step / 2 } else { step / 2 };
    let width = before.checked_add_signed(step).filter(|&width| width <= u64::BITS)?;
    *before = width;
    match width {
        0 => Some(0),
        _ => Some(1 << (width - 1) | bits.take(width - 1)?),
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

fn is_single(torrent: &Torrent) -> bool {
    let mut files = torrent.files.iter();
    torrent.files.len() == 1
        && files
            .next()
            .is_some_and(|file| file.size_bytes == torrent.size_bytes && file.path == [&torrent.name[..]])
}

fn inflate(mut column: &[u8], name: &[u8]) -> Option<FileList> {
    let sizes_len = usize::try_from(varint::take(&mut column)?).ok()?;
    let paths_len = usize::try_from(varint::take(&mut column)?).ok()?;
    let (mut sizes, body) = column.split_at_checked(sizes_len)?;
    if paths_len > PACKED_MAX.min(body.len().saturating_mul(DEFLATE_RATIO_MAX)) {
        return None;
    }
    let mut paths = Vec::with_capacity(paths_len);
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(&dictionary(name)).ok()?;
    let status = inflate.decompress_vec(body, &mut paths, FlushDecompress::Finish).ok()?;
    if status != Status::StreamEnd || paths.len() != paths_len {
        return None;
    }
    let mut files = FileList::default();
    let mut rest = paths.as_slice();
    let mut path = Vec::new();
    while !rest.is_empty() {
        path.clear();
        for _ in 0..varint::take(&mut rest)? {
            let len = usize::try_from(varint::take(&mut rest)?).ok()?;
            let (component, tail) = rest.split_at_checked(len)?;
            path.push(component);
            rest = tail;
        }
        files.push(varint::take(&mut sizes)?, path.iter().copied());
    }
    sizes.is_empty().then_some(files)
}

/// The name stands last: what is near costs fewer bits to refer to.
fn dictionary(name: &[u8]) -> Vec<u8> {
    [DICTIONARY, known(name)].concat()
}

/// What may be referred to of a name.
fn known(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME_MAX)]
}

const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;
const SINGLE: u8 = 2;
const SQUEEZED: u8 = 3;

/// Ends a path, and stands between its components; a text with others of these bytes is not
/// squeezed.
const END: u8 = 0;
const NEXT: u8 = 1;

/// Longer texts are left to deflate, whose codes are made for them.
const TEXT_MAX: usize = 16 << 10;

/// Bits of the size that the first one is compared with: half a gigabyte.
const FIRST_WIDTH: u32 = 30;

/// Level 6 costs a third more time than 1 and saves a fifth of the space on real lists.
const LEVEL: u32 = 6;

/// Below this the length and the block header eat what deflate saves.
const DEFLATE_MIN: usize = 24;

/// Metadata is at most 16 MiB and the packed list is never longer; twice that for doubt.
const PACKED_MAX: usize = 32 << 20;

/// The most that deflate makes out of one byte (zlib's technical notes): 258 bytes for two bits, and
/// a little more where little comes before. What claims more is damaged, and not allocated for.
const DEFLATE_RATIO_MAX: usize = 1_032;

/// No file name is longer, and deflate looks back 32 KiB.
const NAME_MAX: usize = 1_024;

/// What file lists are full of; deflate finds it as if it had come before. Part of the format:
/// a change needs a new marker byte. The most common strings stand last.
const DICTIONARY: &[u8] = b"\x02\x08Featurettes\x02\x06Sample\x02\x04Subs\x02\x07Screens\
.part01.rar.part02.rar.r00.r01.r02.sfv.iso.exe.zip.7z.apk.epub.mobi.azw3.pdf.djvu.cbr.cbz\
cover.jpgfolder.jpg.jpeg.png.gif.bmp.cue.log.m3u.flac.ape.wav.m4a.ogg.opus\
Torrent Downloaded From www.txtREADME.txtRARBG.txtRARBG_DO_NOT_MIRROR.exeTorrent downloaded from.txt\
.vtt.ass.idx.sub.ts.m2ts.vob.wmv.mov.flv.rmvb.webm.nfo.html.url.json\
Season Disc CD1CD2 Chapter  Volume  - Copy (feat. (Remastered) (Live) (Original Mix)\
.AMZN.WEB-DL.DDP5.1.H.264.NF.WEBRip.HDTV.DVDRip.XviD.BDRip.BluRay.REMUX.HEVC.x265.10bit.HDR.AAC2.0.AC3.DTS\
.2160p.1080p.720p.480p.x264-English.srt.S02E01.S01E01.S01E02.S01E03.mp3.jpg.txt.avi.mp4.mkv";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::store::tests::torrent;

    fn comes_back(packer: &mut Packer, torrent: &Torrent) -> u8 {
        let column = packer.pack(torrent);
        assert_eq!(unpack(&torrent.name, torrent.size_bytes, column).as_ref(), Some(&torrent.files));
        column[0]
    }

    #[test]
    fn every_kind_of_list_survives() {
        let mut packer = Packer::new();
        for files in [0, 1, 2, 3, 500] {
            comes_back(&mut packer, &torrent(7, "Some.Name.2020.mkv", files));
        }
        assert_eq!(comes_back(&mut packer, &torrent(7, "Some.Name.2020.mkv", 1)), SINGLE);
        assert_eq!(comes_back(&mut packer, &torrent(7, "Some.Name.2020", 9)), SQUEEZED);
        assert_eq!(comes_back(&mut packer, &torrent(7, "Some.Name.2020", 5_000)), DEFLATED);
        assert_eq!(comes_back(&mut packer, &torrent(7, "\u{1}", 1)), SINGLE);
        assert_eq!(comes_back(&mut packer, &torrent(7, "", 0)), PLAIN);
    }

    #[test]
    fn what_would_be_mistaken_for_ends_is_kept_apart() {
        let mut packer = Packer::new();
        let mut rng = Rng::seeded(4);
        for round in 0..500u64 {
            let mut torrent = torrent(round, "", 0);
            torrent.name = (0..rng.index(9)).map(|_| rng.below(5) as u8).collect();
            for _ in 0..rng.index(6) {
                let parts: Vec<Vec<u8>> = (0..rng.index(4))
                    .map(|_| (0..rng.index(7)).map(|_| if rng.percent(9) { 1 } else { b'a' }).collect())
                    .collect();
                torrent.files.push(rng.u64() >> rng.index(64), parts.iter().map(Vec::as_slice));
            }
            comes_back(&mut packer, &torrent);
        }
    }

    #[test]
    fn sizes_of_every_width_survive() {
        let mut torrent = torrent(1, "name", 0);
        for size in [0, 1, 2, 3, u64::MAX, 0, 1 << 32, (1 << 32) - 1, 1 << 63, 700_000_000] {
            torrent.files.push(size, [&b"file"[..]].into_iter());
        }
        assert_eq!(comes_back(&mut Packer::new(), &torrent), SQUEEZED);
    }

    #[test]
    fn paths_that_say_the_name_again_take_little() {
        let mut packer = Packer::new();
        for name in ["Некоторое имя 2020 года", "新世紀エヴァンゲリオン", "Zxqj vkwp ywzx"]
        {
            let mut torrent = torrent(1, name, 0);
            for part in 1..=3 {
                torrent.files.push(700 << 20, [format!("{name}.cd{part}.avi").as_bytes()].into_iter());
            }
            assert_eq!(comes_back(&mut packer, &torrent), SQUEEZED);
            assert!(packer.pack(&torrent).len() < 30, "{name}: {}", packer.pack(&torrent).len());
        }
    }

    #[test]
    fn many_files_take_little() {
        let many = torrent(1, "a", 300);
        assert!(Packer::new().pack(&many).len() * 8 < many.files.packed().len());
    }

    #[test]
    fn damage_is_none_and_never_a_large_allocation() {
        for count in [50, 2_000] {
            let torrent = torrent(1, "a", count);
            let mut packer = Packer::new();
            let column = packer.pack(&torrent);
            for len in (0..column.len()).step_by(1 + count / 100) {
                assert_eq!(unpack(b"a", 1, &column[..len]), None, "{count} files, {len} bytes");
            }
        }
        let none = |column: &[u8]| assert_eq!(unpack(b"a", 1, column), None);
        none(&[DEFLATED, 0, 255, 255, 255, 255, 127, 0]);
        none(&[SQUEEZED, 255, 255, 255, 255, 127, 0]);
        none(&[9]);
        // 31 MiB in three bytes of deflate.
        let mut column = vec![DEFLATED, 0];
        varint::push(&mut column, 31 << 20);
        column.extend_from_slice(&[0x63, 0, 0]);
        none(&column);
    }

    #[test]
    fn what_repeats_most_is_not_taken_for_damage() {
        let mut torrent = torrent(1, "a", 0);
        let path = vec![b'x'; 1 << 20];
        (0..4).for_each(|_| torrent.files.push(1, [&path[..]].into_iter()));
        let mut packer = Packer::new();
        let column = packer.pack(&torrent);
        assert!(column.len() < 8_192, "{}", column.len());
        assert_eq!(unpack(b"a", 1, column).as_ref(), Some(&torrent.files));
    }

    quickcheck::quickcheck! {
        fn any_list_of_files_survives(name: Vec<u8>, files: Vec<(u64, Vec<Vec<u8>>)>, times: u8) -> bool {
            let mut torrent = torrent(1, "a", 0);
            torrent.name = name;
            for (size, path) in files.iter().cycle().take(files.len() * usize::from(times % 4)) {
                torrent.files.push(*size, path.iter().map(Vec::as_slice));
            }
            let mut packer = Packer::new();
            // The second time with buffers that were used.
            (0..2).all(|_| {
                let column = packer.pack(&torrent);
                column.len() <= torrent.files.packed().len() + 1
                    && unpack(&torrent.name, torrent.size_bytes, column).as_ref() == Some(&torrent.files)
            })
        }

        fn damaged_columns_do_no_harm(files: Vec<(u64, Vec<u8>)>, changes: Vec<(u16, u8)>) -> bool {
            let mut torrent = torrent(1, "name", 0);
            files.iter().for_each(|(size, path)| torrent.files.push(*size, [&path[..]].into_iter()));
            let mut packer = Packer::new();
            let mut column = packer.pack(&torrent).to_vec();
            for (at, byte) in changes {
                let at = usize::from(at) % column.len();
                column[at] = byte;
            }
            let read = unpack(b"name", torrent.size_bytes, &column);
            read.is_none_or(|files| files.iter().count() == files.len())
        }
    }
}
