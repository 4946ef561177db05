//! Short texts in few bits: what was there before is referred to, the rest is written with codes
//! that are known beforehand. Deflate sends its codes along with every text, and clears its
//! tables for each; a name of fifty bytes has no room for either.
//!
//! A symbol is a byte, or a length of what is repeated, by a code that depends on the byte before
//! it; after a length comes a distance, or "as far as last time". What may be repeated begins
//! with [`HISTORY`] and what both sides know besides. Bits are filled in from the lowest; codes are
//! canonical.

use std::sync::OnceLock;

/// Squeezes texts; keeps its buffers between them.
pub struct Squeezer {
    /// Where a hash was last, as it is after [`HISTORY`], and as it is now.
    history: Vec<u32>,
    heads: Vec<u32>,
    before: Vec<u32>,
    text: Vec<u8>,
}

/// Takes bits off a column.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Adds bits to a column.
#[derive(Default)]
pub struct BitSink {
    open: u64,
    count: u32,
}

impl Default for Squeezer {
    fn default() -> Self {
        let mut new = Self {
            history: Vec::new(),
            heads: vec![NOWHERE; 1 << HASH_BITS],
            before: vec![NOWHERE; WINDOW],
            text: HISTORY.to_vec(),
        };
        (0..HISTORY.len()).for_each(|at| new.insert(at));
        new.history = new.heads.clone();
        new
    }
}

impl Squeezer {
    /// Appends `text` to `out`; whoever reads it knows what came before. How long it is must be told
    /// by other means.
    pub fn squeeze(&mut self, known: &[u8], text: &[u8], out: &mut Vec<u8>, bits: &mut BitSink) {
        let codes = codes();
        self.parse(known, text, |symbol| match symbol {
            Symbol::Byte(context, byte) => bits.code(out, &codes.symbols[context], usize::from(byte)),
            Symbol::Copy(context, length, distance) => {
                let (bucket, extra, value) = length_bucket(length);
                bits.code(out, &codes.symbols[context], BYTES + bucket);
                bits.push(out, value, extra);
                let (bucket, extra, value) = distance.map_or((0, 0, 0), distance_bucket);
                bits.code(out, &codes.distances, bucket);
                bits.push(out, value, extra);
            }
        });
    }

    /// Finds what is repeated: the longest of a few places, unless the next byte begins a longer one.
    fn parse(&mut self, known: &[u8], text: &[u8], mut each: impl FnMut(Symbol)) {
        self.heads.copy_from_slice(&self.history);
        self.text.truncate(HISTORY.len());
        self.text.extend_from_slice(known);
        let (mut at, mut last) = (self.text.len(), 0);
        self.text.extend_from_slice(text);
        (HISTORY.len()..at).for_each(|known| self.insert(known));
        let mut found = self.longest(at, last);
        while at < self.text.len() {
            let context = context(self.text[at - 1]);
            self.insert(at);
            let next = self.longest(at + 1, last);
            if found.0 == 0 || next.0 > found.0 + 1 {
                each(Symbol::Byte(context, self.text[at]));
                (at, found) = (at + 1, next);
                continue;
            }
            let (length, distance) = found;
            each(Symbol::Copy(context, length, (distance != last).then_some(distance)));
            last = distance;
            (at + 1..at + length).for_each(|inside| self.insert(inside));
            at += length;
            found = self.longest(at, last);
        }
    }

    /// Length and distance of the best place to copy from; length 0 if none is worth it.
    fn longest(&self, at: usize, last: usize) -> (usize, usize) {
        let most = self.text.len().saturating_sub(at).min(COPY_MAX);
        if most < COPY_MIN {
            return (0, 0);
        }
        let same = |from: usize| {
            let pairs = self.text[from..].iter().zip(&self.text[at..at + most]);
            pairs.take_while(|(a, b)| a == b).count()
        };
        let mut best = (0, 0);
        if last > 0 && last <= at {
            let length = same(at - last);
            // A distance costs more than a byte.
            if length >= COPY_MIN - 1 {
                best = (length, last);
            }
        }
        let mut from = self.heads[hash(&self.text[at..])];
        for _ in 0..PLACES {
            if from == NOWHERE || at - from as usize >= WINDOW || best.0 >= most {
                break;
            }
            let length = same(from as usize);
            let repeated = usize::from(best.1 == last && best.0 > 0);
            if length > best.0 + repeated && length >= COPY_MIN {
                best = (length, at - from as usize);
            }
            from = self.before[from as usize % WINDOW];
        }
        best
    }

    fn insert(&mut self, at: usize) {
        if let Some(three) = self.text.get(at..at + COPY_MIN) {
            let head = &mut self.heads[hash(three)];
            self.before[at % WINDOW] = *head;
            *head = at as u32;
        }
    }
}

impl BitSink {
    /// Appends the lowest `count` bits, at most 57.
    pub fn push(&mut self, out: &mut Vec<u8>, value: u64, count: u32) {
        self.open |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            out.push(self.open as u8);
            self.open >>= 8;
            self.count -= 8;
        }
    }

    /// Appends what is left, filled up with zeros.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.open as u8);
        }
        *self = Self::default();
    }

    fn code(&mut self, out: &mut Vec<u8>, code: &Code, symbol: usize) {
        self.push(out, u64::from(code.bits[symbol]), u32::from(code.lengths[symbol]));
    }
}

impl<'a> Bits<'a> {
    /// From the first bit on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 64; `None` past the end.
    pub fn take(&mut self, count: u32) -> Option<u64> {
        if count > WORD_BITS {
            let low = self.take(32)?;
            return Some(low | self.take(count - 32)? << 32);
        }
        let value = self.word() & ((1 << count) - 1);
        self.skip(count)?;
        Some(value)
    }

    /// Takes a text that ends with the `zeros`th zero byte, after what was `known`. `None` if it is
    /// damaged, or longer than `max`.
    pub fn unsqueeze(&mut self, known: &[u8], mut zeros: usize, max: usize) -> Option<Vec<u8>> {
        let codes = codes();
        let (mut text, mut last) = ([HISTORY, known].concat(), 0);
        let start = text.len();
        while zeros > 0 {
            let symbol = self.symbol(&codes.symbols[context(text[text.len() - 1])])?;
            if symbol < BYTES {
                text.push(symbol as u8);
                zeros -= usize::from(symbol == 0);
            } else {
                let length = self.value(symbol - BYTES, LENGTH_FINE)? + COPY_MIN - 1;
                match self.symbol(&codes.distances)? {
                    0 => {}
                    bucket => last = self.value(bucket - 1, DISTANCE_FINE)? + 1,
                }
                let from = text.len().checked_sub(last).filter(|_| last > 0)?;
                for index in from..from + length {
                    zeros = zeros.checked_sub(usize::from(text[index] == 0))?;
                    text.push(text[index]);
                }
            }
            if text.len() > start + max {
                return None;
            }
        }
        Some(text.split_off(start))
    }

    /// The next [`WORD_BITS`] bits, zeros past the end.
    fn word(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let mut eight = [0; 8];
        let count = rest.len().min(8);
        eight[..count].copy_from_slice(&rest[..count]);
        u64::from_le_bytes(eight) >> (self.at % 8)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.at += count as usize;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    fn symbol(&mut self, code: &Code) -> Option<usize> {
        let (symbol, length) = code.meanings[(self.word() & MEANINGS_MASK) as usize];
        self.skip(u32::from(length))?;
        Some(usize::from(symbol))
    }

    fn value(&mut self, bucket: usize, fine: u32) -> Option<usize> {
        let (base, extra) = bucket_start(bucket, fine);
        Some(base + self.take(extra)? as usize)
    }
}

/// A step of a text: a byte, or so many bytes from so far back (`None`: as last time), each after
/// a byte of some kind.
enum Symbol {
    Byte(usize, u8),
    Copy(usize, usize, Option<usize>),
}

/// A canonical prefix code.
struct Code {
    lengths: Vec<u8>,
    /// To be written from the lowest bit on.
    bits: Vec<u16>,
    /// What the next bits begin with: a symbol and the length of its code.
    meanings: Vec<(u16, u8)>,
}

impl Code {
    fn new(lengths: Vec<u8>) -> Self {
        let mut sorted: Vec<u16> = (0..lengths.len() as u16).collect();
        sorted.sort_by_key(|&symbol| lengths[usize::from(symbol)]);
        let (mut bits, mut next, mut before) = (vec![0; lengths.len()], 0u32, 0);
        let mut meanings = vec![(0, 0); 1 << CODE_BITS_MAX];
        for &symbol in &sorted {
            let length = lengths[usize::from(symbol)];
            next <<= length - before;
            before = length;
            let code = (next as u16).reverse_bits() >> (16 - length);
            bits[usize::from(symbol)] = code;
            for meaning in meanings.iter_mut().skip(usize::from(code)).step_by(1 << length) {
                *meaning = (symbol, length);
            }
            next += 1;
        }
        Self { lengths, bits, meanings }
    }
}

struct Codes {
    symbols: Vec<Code>,
    distances: Code,
}

fn codes() -> &'static Codes {
    static CODES: OnceLock<Codes> = OnceLock::new();
    CODES.get_or_init(|| {
        let digit = |byte: u8| (byte as char).to_digit(36).expect("the table holds digits") as u8;
        let code = |line: &str| Code::new(line.bytes().map(digit).collect());
        let mut lines: Vec<Code> = LENGTHS.lines().map(code).collect();
        let distances = lines.pop().expect("the table has lines");
        Codes { symbols: lines, distances }
    })
}

/// What kind of byte comes before decides what is likely.
fn context(before: u8) -> usize {
    match before {
        0 | 1 => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b'0'..=b'9' => 3,
        0x80.. => 4,
        _ => 5,
    }
}

fn hash(three: &[u8]) -> usize {
    let value = u32::from(three[0]) | u32::from(three[1]) << 8 | u32::from(three[2]) << 16;
    (value.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

fn length_bucket(length: usize) -> (usize, u32, u64) {
    bucket(length + 1 - COPY_MIN, LENGTH_FINE)
}

fn distance_bucket(distance: usize) -> (usize, u32, u64) {
    let (bucket, extra, value) = bucket(distance - 1, DISTANCE_FINE);
    (bucket + 1, extra, value)
}

/// Small numbers have a bucket each, larger ones share `2^fine` for each power of two: the bucket,
/// and how many bits tell which of its numbers it is, and those.
fn bucket(number: usize, fine: u32) -> (usize, u32, u64) {
    if number < 1 << fine {
        return (number, 0, 0);
    }
    let extra = number.ilog2() - fine;
    let bucket = ((extra as usize) << fine) + (number >> extra);
    (bucket, extra, (number & ((1 << extra) - 1)) as u64)
}

/// The first number of a bucket, and how many bits tell which of its numbers it is.
fn bucket_start(bucket: usize, fine: u32) -> (usize, u32) {
    if bucket < 2 << fine {
        return (bucket, 0);
    }
    let extra = (bucket >> fine) - 1;
    ((bucket - (extra << fine)) << extra, extra as u32)
}

/// Symbols that are a byte each; lengths come after them.
const BYTES: usize = 256;

/// Shorter than this is not worth a distance of its own, only the last one.
const COPY_MIN: usize = 3;

/// The most at once, and how far back: 36 buckets of lengths and 30 of distances hold that.
const COPY_MAX: usize = 1_023;
const WINDOW: usize = 1 << 15;

/// Powers of two are split into so many bits of buckets: `2^3` of lengths, `2^1` of distances.
const LENGTH_FINE: u32 = 2;
const DISTANCE_FINE: u32 = 1;

/// Places looked at for each byte.
const PLACES: usize = 12;

const HASH_BITS: u32 = 12;
const NOWHERE: u32 = u32::MAX;

/// No code is longer. All codes of this length make tables of 128 KiB, seven of them.
const CODE_BITS_MAX: usize = 15;
const MEANINGS_MASK: u64 = (1 << CODE_BITS_MAX) - 1;

/// Eight bytes, but for the bits before the first.
const WORD_BITS: u32 = 57;

/// For each kind of byte before, the lengths of the codes of all bytes and of all lengths, and at
/// last those of the distances. Part of the format. Huffman's, counted over 3,000 made-up torrents with
/// words of ten languages and the usual patterns.
const LENGTHS: &str = include_str!("squeeze.lengths");

/// What every text may refer to as if it had come before. Part of the format. The most common
/// strings stand last: what is near costs fewer bits.
const HISTORY: &[u8] = b"Torrent Downloaded From www.site.org.txt\0Torrent downloaded from \
torrentgalaxy.to .txt\0RARBG_DO_NOT_MIRROR.exe\0YTSYifyUP (TOR).txt\0[TGx]Downloaded from \0RARBG.txt\0\
README.txt\0readme.txt\0autorun.inf\0setup.exe\0Crack\x01MD5\x01fitgirl-bins.md5\0fg-01.bin\0\
data\x01bin\x01resources\x01lang\x01English\x01docs\x01assets\x01Bonus\x01Extras\x01Featurettes\x01Artwork\x01\
Sample\x01sample.mkv\0Screens\x01screen0001.png\0Proof\x01Scans\x01Covers\x01back.jpg\0front.jpg\0Subs\x012_English.srt\0\
.part01.rar\0.part02.rar\0.r00\0.r01\0.r02\0.sfv\0.iso\0.exe\0.zip\0.7z\0.apk\0.dmg\0.cbr\0.cbz\0.djvu\0.fb2\0.mobi\0.azw3\0\
.epub\0.pdf\0.bmp\0.gif\0.png\0.jpeg\0.html\0.url\0.json\0.xml\0.dll\0.dat\0.ini\0.bin\0.vtt\0.ass\0.idx\0.sub\0.nfo\0\
.ape\0.wav\0.ogg\0.opus\0.cue\0.log\0.m3u\0.m4a\0.webm\0.flv\0.rmvb\0.mov\0.m2ts\0.vob\0.ts\0.wmv\0\
Collection Complete Edition Deluxe Remastered (Live) (feat. (Original Mix) (Official Vol. Disc CD1\x01CD2\x01Chapter \
 FLAC 24bit [FLAC]\0 (320 kbps)\0 [320]\0 Mp3 320kbps\0Discography  v1.0 (x64) Multilingual Portable Crack [FitGirl Repack]\0\
Udemy - The of the and in to with for you from this that your love ing tion ment \
.EXTENDED.PROPER.REPACK.iNTERNAL.MULTi.DUAL.XXX.HDRip.DVDRip.XviD.BRRip.BDRip.UHD.BluRay.REMUX.HDR.10bit.HEVC.AVC\
.TrueHD.7.1.Atmos.DTS-HD.MA.5.1.AC3.FLAC.MP3.HDTV.NF.AMZN.WEB-DL.DD5.1.DDP5.1.AAC5.1.AAC2.0.H.265.H264.H.264-\
 [BluRay] [WEBRip] [5.1] [YTS.MX]\0 (1080p) [720p] [1080p] 480p 720p 1080p x264 \
Season 1 S01 COMPLETE.480p.720p.2160p.1080p.BluRay.WEBRip.x265.x264.AAC-S02E01.S01E01.S01E02.S01E03\
.avi\0cover.jpg\0folder.jpg\0.srt\0.txt\0.flac\0.mp3\0.jpg\0.mp4\0.mkv\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn both_ways(text: &[u8]) -> usize {
        both_ways_after(b"", text)
    }

    fn both_ways_after(known: &[u8], text: &[u8]) -> usize {
        let (mut out, mut bits) = (Vec::new(), BitSink::default());
        Squeezer::default().squeeze(known, text, &mut out, &mut bits);
        bits.end(&mut out);
        let zeros = text.iter().filter(|&&byte| byte == 0).count();
        let again = Bits::new(&out).unsqueeze(known, zeros, text.len());
        assert_eq!(again.as_deref(), Some(text));
        out.len()
    }

    #[test]
    fn every_text_comes_back() {
        let mut rng = Rng::seeded(3);
        for round in 0..300 {
            let mut text = Vec::new();
            for _ in 0..rng.index(60) {
                match rng.index(3) {
                    0 => text.extend((0..rng.index(9)).map(|_| rng.u32() as u8)),
                    1 => text.extend_from_slice(b"Some.Name.S01E02.1080p.mkv"),
                    _ => {
                        let from = rng.index(text.len() + 1);
                        text.extend_from_within(from..from + rng.index(text.len() - from + 1));
                    }
                }
                text.truncate(40_000);
            }
            text.push(0);
            assert!(both_ways(&text) > 0, "round {round}");
            assert!(both_ways_after(&text.clone()[..text.len() / 2], &text) > 0, "round {round}");
        }
        both_ways(&[0; 3_000]);
    }

    #[test]
    fn usual_names_take_little_and_none_much_more() {
        let name = b"Some.Film.of.the.Year.2019.1080p.BluRay.x264-GROUP.mkv\0";
        assert!(both_ways(name) * 5 <= name.len() * 3, "{}", both_ways(name));
        assert!(both_ways_after(name, name) < 6, "what is known is not said again");
        let mut noise = [0; 1_000];
        Rng::seeded(1).fill(&mut noise);
        noise[999] = 0;
        assert!(both_ways(&noise) < 1_600);
    }

    #[test]
    fn damage_is_none_and_bounded() {
        let (mut out, mut bits) = (Vec::new(), BitSink::default());
        Squeezer::default().squeeze(b"", b"abc abc abc abc\0", &mut out, &mut bits);
        bits.end(&mut out);
        for len in 0..out.len() {
            assert_eq!(Bits::new(&out[..len]).unsqueeze(b"", 1, 100), None);
        }
        assert_eq!(Bits::new(&out).unsqueeze(b"", 1, 5), None);
        let mut rng = Rng::seeded(2);
        for _ in 0..2_000 {
            let mut noise = [0; 64];
            rng.fill(&mut noise);
            let taken = Bits::new(&noise).unsqueeze(b"", 3, 500);
            assert!(taken.is_none_or(|text| text.len() <= 500 + COPY_MAX));
        }
    }

    #[test]
    fn codes_are_complete() {
        let codes = codes();
        assert_eq!(codes.symbols.len(), CONTEXTS);
        for code in codes.symbols.iter().chain([&codes.distances]) {
            let sum: usize =
                code.lengths.iter().map(|&length| 1 << (CODE_BITS_MAX - usize::from(length))).sum();
            assert_eq!(sum, 1 << CODE_BITS_MAX);
        }
        assert!(codes.symbols.iter().all(|code| code.lengths.len() == BYTES + LENGTH_BUCKETS));
        assert_eq!(codes.distances.lengths.len(), DISTANCE_BUCKETS);
        assert!(
            length_bucket(COPY_MAX).0 < LENGTH_BUCKETS && distance_bucket(WINDOW - 1).0 < DISTANCE_BUCKETS
        );
    }

    const CONTEXTS: usize = 6;
    const LENGTH_BUCKETS: usize = 36;
    const DISTANCE_BUCKETS: usize = 31;
}
