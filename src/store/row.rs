//! How a torrent's file list lies in its row: as little as possible, most of it deflated.
//!
//! One marker byte, then: nothing (one file, named and sized as the torrent); or the packed list;
//! or, apart from each other because sizes do not compress and would break up what does: varints
//! of the lengths of both parts, all sizes as varints, and all paths as raw deflate. What deflate
//! may refer to from the beginning is [`DICTIONARY`] and the torrent's name.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::base::varint;
use crate::model::{FileList, Torrent};

/// Packs file lists; keeps its buffers between torrents.
pub struct Packer {
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
        Self { deflate, sizes: Vec::new(), paths: Vec::new(), out: Vec::new() }
    }

    /// The column's bytes for this torrent.
    pub fn pack(&mut self, torrent: &Torrent) -> &[u8] {
        let packed = torrent.files.packed();
        self.out.clear();
        if is_single(torrent) {
            self.out.push(SINGLE);
        } else if packed.len() < DEFLATE_MIN || !self.deflate(torrent) || self.out.len() > packed.len() {
            self.out.clear();
            self.out.push(PLAIN);
            self.out.extend_from_slice(packed);
        }
        &self.out
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

/// Reads a column back. `None` if it is damaged or larger than any that was ever written.
pub fn unpack(column: &[u8], name: &[u8], size_bytes: u64) -> Option<FileList> {
    let (&marker, rest) = column.split_first()?;
    match marker {
        SINGLE => {
            let mut files = FileList::default();
            files.push(size_bytes, [name].into_iter());
            Some(files)
        }
        PLAIN => FileList::from_packed(rest.to_vec()),
        DEFLATED => inflate(rest, name),
        _ => None,
    }
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
    [DICTIONARY, &name[..name.len().min(NAME_MAX)]].concat()
}

const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;
const SINGLE: u8 = 2;

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
    use crate::store::tests::torrent;

    #[test]
    fn every_kind_of_list_survives() {
        let mut packer = Packer::new();
        for files in [0, 1, 2, 3, 500] {
            let torrent = torrent(7, "Some.Name.2020.mkv", files);
            let column = packer.pack(&torrent).to_vec();
            assert_eq!(
                unpack(&column, &torrent.name, torrent.size_bytes).as_ref(),
                Some(&torrent.files),
                "{files} files"
            );
        }
    }

    #[test]
    fn a_file_named_as_the_torrent_costs_a_byte_and_many_files_little() {
        let mut packer = Packer::new();
        assert_eq!(packer.pack(&torrent(1, "a.mkv", 1)), [SINGLE]);
        let many = torrent(1, "a", 500);
        assert!(packer.pack(&many).len() * 4 < many.files.packed().len());
    }

    #[test]
    fn damage_is_none_and_never_a_large_allocation() {
        let column = Packer::new().pack(&torrent(1, "a", 50)).to_vec();
        for len in 0..column.len() {
            assert_eq!(unpack(&column[..len], b"a", 1), None);
        }
        assert_eq!(unpack(&[DEFLATED, 0, 255, 255, 255, 255, 127, 0], b"a", 1), None);
        assert_eq!(unpack(&[9], b"a", 1), None);
        // 31 MiB in three bytes of deflate.
        let mut column = vec![DEFLATED, 0];
        varint::push(&mut column, 31 << 20);
        column.extend_from_slice(&[0x63, 0, 0]);
        assert_eq!(unpack(&column, b"a", 1), None);
    }

    #[test]
    fn what_repeats_most_is_not_taken_for_damage() {
        let mut torrent = torrent(1, "a", 0);
        let path = vec![b'x'; 1 << 20];
        (0..4).for_each(|_| torrent.files.push(1, [&path[..]].into_iter()));
        let column = Packer::new().pack(&torrent).to_vec();
        assert!(column.len() < 8_192, "{}", column.len());
        assert_eq!(unpack(&column, &torrent.name, 1), Some(torrent.files));
    }
}
