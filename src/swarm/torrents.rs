//! The torrents of the swarm: info dictionaries of v1, v2 and hybrid torrents (BEP 3, BEP 52)
//! with the sizes that real ones have, all derived from the seed.
//!
//! The long random strings in them (`pieces`) are windows onto one shared pool, so that twenty
//! thousand torrents cost tens of megabytes and not hundreds.

use std::io::Write as _;
use std::ops::Range;

use super::mix;
use super::names::{self, Genre};
use crate::base::hash::{self, Map};
use crate::base::{Id, InfoHash, Rng};

/// Every torrent, and where each of their hashes leads.
pub(crate) struct Library {
    pool: Vec<u8>,
    infos: Vec<Info>,
    by_hash: Map<InfoHash, u32>,
}

/// One info dictionary: own bytes, a window onto the pool, own bytes again.
pub(crate) struct Info {
    /// SHA-1, or the truncated SHA-256 of a v2 torrent.
    pub(crate) infohash: InfoHash,
    /// The truncated SHA-256 of a hybrid torrent.
    pub(crate) second: Option<InfoHash>,
    head: Box<[u8]>,
    window: Range<usize>,
    tail: Box<[u8]>,
}

impl Library {
    /// Generates `count` torrents.
    pub(crate) fn generate(seed: u64, count: u32) -> Self {
        let mut rng = Rng::seeded(mix(seed, SALT, u64::MAX));
        let mut pool = vec![0; POOL_BYTES];
        rng.fill(&mut pool);
        let mut by_hash = hash::map(&mut rng);
        let mut scratch = Vec::new();
        let mut infos = Vec::with_capacity(count as usize);
        for index in 0..count {
            let mut rng = Rng::seeded(mix(seed, SALT, u64::from(index)));
            let info = Draft::draw(&mut rng).finish(&pool, &mut rng, &mut scratch);
            by_hash.insert(info.infohash, index);
            info.second.map(|second| by_hash.insert(second, index));
            infos.push(info);
        }
        Self { pool, infos, by_hash }
    }

    /// How many.
    pub(crate) fn len(&self) -> u32 {
        self.infos.len() as u32
    }

    /// Torrent `index`, below [`Library::len`].
    pub(crate) fn info(&self, index: u32) -> &Info {
        &self.infos[index as usize]
    }

    /// The torrent with either of its hashes.
    pub(crate) fn find(&self, hash: InfoHash) -> Option<u32> {
        self.by_hash.get(&hash).copied()
    }

    /// Appends bytes `range` of the info dictionary to `out`; what lies beyond its end is left out.
    pub(crate) fn copy(&self, index: u32, range: Range<usize>, out: &mut Vec<u8>) {
        let info = self.info(index);
        let mut start = 0;
        for part in [&*info.head, &self.pool[info.window.clone()], &*info.tail] {
            let from = range.start.saturating_sub(start).min(part.len());
            let to = range.end.saturating_sub(start).min(part.len());
            out.extend_from_slice(&part[from..to]);
            start += part.len();
        }
    }
}

impl Info {
    /// The size of the info dictionary.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.window.len() + self.tail.len()
    }
}

/// BEP 3, BEP 52, and both at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    Hybrid,
}

/// A torrent before it is bytes.
struct Draft {
    version: Version,
    name: Vec<u8>,
    name_utf8: Option<String>,
    /// In the order of BEP 52's tree. A single file has no path of its own in v1.
    files: Vec<File>,
    single: bool,
    piece_length: u64,
    private: bool,
}

struct File {
    path: Vec<String>,
    size_bytes: u64,
    root: [u8; 32],
}

impl Draft {
    fn draw(rng: &mut Rng) -> Self {
        let size = info_size(rng);
        let version = match rng.below(100) {
            0..75 => Version::V1,
            75..90 => Version::Hybrid,
            _ => Version::V2,
        };
        let (title, genre) = names::title(rng);
        let single = version == Version::V1 && rng.percent(55);
        let piece_length = 1 << (18 + rng.below(5));
        let mut draft = Self {
            version,
            name: title.into_bytes(),
            name_utf8: None,
            files: Vec::new(),
            single,
            piece_length,
            private: rng.percent(8),
        };
        if version == Version::V1 && rng.below(200) == 0 {
            let (raw, text) = names::legacy(rng);
            (draft.name, draft.name_utf8) = (raw, Some(text));
        }
        draft.draw_files(rng, genre, size);
        draft
    }

    /// As many files as their share of `size` allows, and sizes that need the pieces that fill
    /// the rest.
    fn draw_files(&mut self, rng: &mut Rng, genre: Genre, size: usize) {
        let per_file = match self.version {
            Version::V1 => V1_FILE_BYTES,
            Version::V2 => V2_FILE_BYTES,
            Version::Hybrid => V1_FILE_BYTES * 2 + V2_FILE_BYTES,
        };
        let share = if self.version == Version::V2 { 100 } else { 10 + rng.index(70) };
        let budget = size.saturating_sub(DICTIONARY_BYTES);
        let count = if self.single { 1 } else { (budget * share / 100 / per_file).clamp(2, FILES_MAX) };
        let for_pieces = if self.single { budget } else { budget.saturating_sub(count * per_file) };
        let pieces = (for_pieces / 20).clamp(1, PIECES_MAX) as u64;
        let total = pieces * self.piece_length - rng.below(self.piece_length);
        let weights: Vec<u64> = (0..count).map(|_| 1 + rng.below(1_000)).collect();
        let sum: u64 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let mut path = vec![names::file(rng, genre, index)];
            if rng.percent(20) {
                path.insert(0, names::folder(rng).to_owned());
            }
            let mut root = [0; 32];
            rng.fill(&mut root);
            let size_bytes = (u128::from(total) * u128::from(*weight) / u128::from(sum)).max(1) as u64;
            self.files.push(File { path, size_bytes, root });
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
    }

    fn finish(self, pool: &[u8], rng: &mut Rng, scratch: &mut Vec<u8>) -> Info {
        let mut head = Vec::new();
        head.push(b'd');
        if self.version != Version::V1 {
            self.write_tree(&mut head);
        }
        if self.version != Version::V2 {
            self.write_files(&mut head);
        }
        if self.version != Version::V1 {
            head.extend_from_slice(b"12:meta versioni2e");
        }
        string(&mut head, b"name");
        string(&mut head, &self.name);
        if let Some(text) = &self.name_utf8 {
            string(&mut head, b"name.utf-8");
            string(&mut head, text.as_bytes());
        }
        string(&mut head, b"piece length");
        int(&mut head, self.piece_length);
        let mut window = 0..0;
        if self.version != Version::V2 {
            let len = self.pieces() * 20;
            let start = rng.index(pool.len() - len);
            window = start..start + len;
            string(&mut head, b"pieces");
            _ = write!(head, "{len}:");
        }
        let tail: &[u8] = if self.private { b"7:privatei1ee" } else { b"e" };
        scratch.clear();
        scratch.extend_from_slice(&head);
        scratch.extend_from_slice(&pool[window.clone()]);
        scratch.extend_from_slice(tail);
        let (infohash, second) = self.hashes(scratch);
        Info { infohash, second, head: head.into(), window, tail: tail.into() }
    }

    fn hashes(&self, info: &[u8]) -> (InfoHash, Option<InfoHash>) {
        let v2 = || Id::from_slice(&hash::sha256(info)[..20]);
        match self.version {
            Version::V1 => (Id(hash::sha1(info)), None),
            Version::V2 => (v2().unwrap_or_default(), None),
            Version::Hybrid => (Id(hash::sha1(info)), v2()),
        }
    }

    /// In a hybrid every file but the last ends at a piece's end (BEP 47 padding).
    fn pieces(&self) -> usize {
        let sizes = self.files.iter().map(|file| file.size_bytes);
        let pieces = if self.version == Version::Hybrid {
            sizes.map(|size| size.div_ceil(self.piece_length)).sum::<u64>()
        } else {
            sizes.sum::<u64>().div_ceil(self.piece_length)
        };
        pieces as usize
    }

    fn write_files(&self, out: &mut Vec<u8>) {
        if self.single {
            string(out, b"length");
            return int(out, self.files[0].size_bytes);
        }
        string(out, b"files");
        out.push(b'l');
        for (index, file) in self.files.iter().enumerate() {
            out.extend_from_slice(b"d6:length");
            int(out, file.size_bytes);
            out.extend_from_slice(b"4:pathl");
            file.path.iter().for_each(|component| string(out, component.as_bytes()));
            out.extend_from_slice(b"ee");
            let rest = file.size_bytes % self.piece_length;
            if self.version == Version::Hybrid && rest != 0 && index + 1 < self.files.len() {
                let padding = self.piece_length - rest;
                out.extend_from_slice(b"d4:attr1:p6:length");
                int(out, padding);
                out.extend_from_slice(b"4:pathl4:.pad");
                string(out, padding.to_string().as_bytes());
                out.extend_from_slice(b"ee");
            }
        }
        out.push(b'e');
    }

    /// Paths have one or two components, so at most one folder is open.
    fn write_tree(&self, out: &mut Vec<u8>) {
        string(out, b"file tree");
        out.push(b'd');
        let mut open: Option<&str> = None;
        for file in &self.files {
            let folder = (file.path.len() > 1).then(|| file.path[0].as_str());
            if open != folder {
                if open.is_some() {
                    out.push(b'e');
                }
                if let Some(folder) = folder {
                    string(out, folder.as_bytes());
                    out.push(b'd');
                }
                open = folder;
            }
            string(out, file.path[file.path.len() - 1].as_bytes());
            out.extend_from_slice(b"d0:d6:length");
            int(out, file.size_bytes);
            string(out, b"pieces root");
            string(out, &file.root);
            out.extend_from_slice(b"ee");
        }
        if open.is_some() {
            out.push(b'e');
        }
        out.push(b'e');
    }
}

/// Log-normal around [`MEDIAN_BYTES`] (the sum of twelve uniform numbers stands for a normal
/// one), and one in [`LARGE_ONE_IN`] evenly from the largest eighth.
fn info_size(rng: &mut Rng) -> usize {
    if rng.below(LARGE_ONE_IN) == 0 {
        return INFO_MAX / 8 + rng.index(INFO_MAX - INFO_MAX / 8);
    }
    let normal = (0..12).map(|_| rng.below(1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0;
    let size = MEDIAN_BYTES * (SIGMA * normal).exp();
    (size as usize).clamp(INFO_MIN, INFO_MAX)
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Writing to a Vec cannot fail.
    _ = write!(out, "{}:", bytes.len());
    out.extend_from_slice(bytes);
}

fn int(out: &mut Vec<u8>, number: u64) {
    _ = write!(out, "i{number}e");
}

/// Sets the torrents' draws apart from those of nodes and peers.
const SALT: u64 = 0x746f_7272;
/// The mean is then about 12 KiB, and one torrent in five needs more than one metadata piece.
const MEDIAN_BYTES: f64 = 5_120.0;
const SIGMA: f64 = 1.3;
const LARGE_ONE_IN: u64 = 2_000;
/// What a torrent of one small file needs.
const INFO_MIN: usize = 300;
/// The largest that real clients take is a little more (libtorrent: 4 MiB).
const INFO_MAX: usize = 2 * 1024 * 1024;
/// Everything in an info dictionary but files and pieces.
const DICTIONARY_BYTES: usize = 140;
/// `d6:lengthi…e4:pathl…ee` with a name as [`names::file`] makes them.
const V1_FILE_BYTES: usize = 64;
/// The same with a 32-byte `pieces root`.
const V2_FILE_BYTES: usize = 110;
/// Larger torrents exist, but are rare.
const FILES_MAX: usize = 6_000;
const PIECES_MAX: usize = INFO_MAX / 20;
/// A hybrid may need one piece more per file than its share.
const POOL_BYTES: usize = (PIECES_MAX + FILES_MAX) * 20 + 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bencode::{self, Limits, Value};

    fn bytes(library: &Library, index: u32) -> Vec<u8> {
        let mut info = Vec::new();
        library.copy(index, 0..usize::MAX, &mut info);
        info
    }

    #[test]
    fn every_torrent_is_canonical_and_has_the_hash_it_goes_by() {
        let library = Library::generate(11, 2_000);
        let (mut v2, mut hybrid, mut large) = (0, 0, 0);
        for index in 0..library.len() {
            let info = library.info(index);
            let raw = bytes(&library, index);
            assert_eq!(raw.len(), info.len());
            let dict = bencode::decode(&raw, &Limits::STRICT).unwrap().dict().unwrap();
            let (sha1, sha256) = (hash::sha1(&raw), hash::sha256(&raw));
            let has_pieces = dict.get(b"pieces").and_then(Value::bytes);
            if dict.get(b"meta version") == Some(Value::Int(2)) {
                assert!(dict.get(b"file tree").is_some());
                if has_pieces.is_some() {
                    hybrid += 1;
                    assert_eq!(info.infohash.0, sha1);
                    assert_eq!(info.second.unwrap().0, sha256[..20]);
                } else {
                    v2 += 1;
                    assert_eq!(info.infohash.0, sha256[..20]);
                }
            } else {
                assert_eq!((info.infohash.0, info.second), (sha1, None));
            }
            assert_eq!(library.find(info.infohash), Some(index));
            large += u32::from(raw.len() > 16_384);
        }
        assert!(v2 > 100 && hybrid > 200 && large > 200, "{v2} {hybrid} {large}");
    }

    #[test]
    fn sizes_and_pieces_agree_in_v1() {
        let library = Library::generate(3, 500);
        for index in 0..library.len() {
            let raw = bytes(&library, index);
            let dict = bencode::decode(&raw, &Limits::STRICT).unwrap().dict().unwrap();
            let Some(pieces) = dict.get(b"pieces").and_then(Value::bytes) else { continue };
            let piece_length = dict.get(b"piece length").and_then(Value::int).unwrap();
            let of = |value: Value<'_>| value.dict().unwrap().get(b"length").and_then(Value::int).unwrap();
            let total = match dict.get(b"files").and_then(Value::list) {
                Some(files) => files.iter().map(of).sum(),
                None => dict.get(b"length").and_then(Value::int).unwrap(),
            };
            assert_eq!(
                pieces.len() as i64,
                (total + piece_length - 1) / piece_length * 20,
                "torrent {index}"
            );
        }
    }

    #[test]
    fn the_median_is_realistic_and_the_same_seed_gives_the_same_torrents() {
        let (a, b) = (Library::generate(9, 1_000), Library::generate(9, 1_000));
        let hashes = |library: &Library| library.infos.iter().map(|info| info.infohash).collect::<Vec<_>>();
        assert_eq!(hashes(&a), hashes(&b));
        let mut sizes: Vec<_> = a.infos.iter().map(Info::len).collect();
        sizes.sort_unstable();
        assert!((3_000..10_000).contains(&sizes[500]), "{}", sizes[500]);
        assert!(sizes[0] >= 200 && sizes[999] <= 4 * 1024 * 1024, "{} {}", sizes[0], sizes[999]);
    }

    #[test]
    fn a_range_is_the_same_bytes_as_the_whole() {
        let library = Library::generate(4, 50);
        for index in 0..library.len() {
            let whole = bytes(&library, index);
            let mut joined = Vec::new();
            for start in (0..whole.len()).step_by(97) {
                library.copy(index, start..start + 97, &mut joined);
            }
            assert_eq!(joined, whole);
        }
    }
}
