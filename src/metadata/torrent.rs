//! A verified info dictionary read as a torrent (BEP 3, 27, 47, 52).
//!
//! The hash has already proved that this is the torrent, and real ones break the rules: a field
//! of the wrong type counts as absent. What is refused has no files or impossible sizes.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::budget::METADATA_MAX;
use super::verify::Hashes;
use crate::base::{Id, UnixTime, hash};
use crate::model::torrent::display_name;
use crate::model::{Charset, FileList, Torrent, TorrentFlags};
use crate::wire::bencode::{self, Cursor, FirstKeys, Kind};

/// Why a verified dictionary is no torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a bencoded dictionary.
    Bencode(bencode::Error),
    /// No file in it, or none but padding.
    NoFiles,
    /// A negative size, or a sum beyond [`SIZE_MAX`].
    BadSize,
    /// All paths together are longer than [`PATHS_MAX`]: a tree names a directory once, but each
    /// file's path repeats it.
    PathsTooLong,
}

/// What is known of a torrent beside its dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// When its infohash was first heard of.
    pub first_seen: UnixTime,
    /// When it was verified.
    pub fetched: UnixTime,
    /// Distinct peers heard of while it was fetched.
    pub peers: u32,
}

/// Reads a dictionary that [`super::verify`] has passed. The key of the result is its SHA-1 if
/// it is v1 or hybrid, whichever hash it was asked for by.
pub fn parse(raw: Bytes, proved: Hashes, heard: Heard) -> Result<Torrent, Error> {
    let mut info = Info::read(&raw)?;
    let v2 = info.meta_version == Some(2);
    let v1 = info.pieces.is_some() || !v2;
    let long = if v2 { proved.v2.or_else(|| Some(hash::sha256(&raw))) } else { None };
    let infohash = match long.and_then(|long| Id::from_slice(&long[..20])) {
        Some(truncated) if !v1 => truncated,
        _ => proved.v1.unwrap_or_else(|| Id(hash::sha1(&raw))),
    };
    let hex = infohash.to_string();
    let name = match display_name(info.name(), Charset::UTF_8) {
        Some(_) => info.name(),
        None => hex.as_bytes(),
    };
    if info.files.is_empty() {
        info.fall_back(name)?;
    }
    if info.files.is_empty() {
        return Err(Error::NoFiles);
    }
    info.files.find_charset(name, info.charset());
    Ok(Torrent {
        infohash,
        v2: long,
        name: name.to_vec(),
        size_bytes: info.size_bytes,
        piece_length: info.piece_length,
        flags: TorrentFlags {
            private: info.private,
            hybrid: v1 && v2,
            v2_only: !v1,
            overstated: info.is_overstated(v1),
        },
        first_seen: heard.first_seen,
        fetched: heard.fetched,
        peers: heard.peers,
        files: info.files,
        raw,
    })
}

impl From<bencode::Error> for Error {
    fn from(error: bencode::Error) -> Self {
        Self::Bencode(error)
    }
}

#[derive(Default)]
struct Info<'a> {
    name: &'a [u8],
    name_utf8: &'a [u8],
    /// v1, single file.
    length: Option<i64>,
    /// v2; read only if v1 fields name no file, since a hybrid says everything twice.
    tree: Option<Cursor<'a>>,
    files: FileList,
    path_bytes: usize,
    size_bytes: u64,
    /// Padding included: what the pieces of v1 are of.
    padded_bytes: u64,
    /// A file of v2 that is not empty has no hash.
    unproved: bool,
    /// Bytes of hashes of v1, if they are there.
    pieces: Option<u64>,
    piece_length: u64,
    meta_version: Option<i64>,
    private: bool,
    encoding: Option<&'a [u8]>,
    codepage: Option<i64>,
}

/// One entry of `files`; the vectors are used again for the next.
#[derive(Default)]
struct File<'a> {
    path: Vec<&'a [u8]>,
    path_utf8: Vec<&'a [u8]>,
    length: Option<i64>,
    attr: &'a [u8],
    /// SHA-256 of v2, if it has the right length.
    root: bool,
}

impl<'a> Info<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, Error> {
        let mut info = Self::default();
        let mut cursor = Cursor::new(raw);
        if !cursor.enter(Kind::Dict)? {
            return Err(Error::Bencode(bencode::Error::UnexpectedByte));
        }
        let mut keys = FirstKeys::default();
        while let Some(key) = cursor.key()? {
            match key {
                b"codepage" if keys.is_first(0) => info.codepage = cursor.int()?,
                b"encoding" if keys.is_first(1) => info.encoding = cursor.bytes()?,
                b"file tree" if keys.is_first(2) => {
                    info.tree = (cursor.kind()? == Kind::Dict).then_some(cursor);
                    cursor.skip()?;
                }
                b"files" if keys.is_first(3) => info.read_files(&mut cursor)?,
                b"length" if keys.is_first(4) => info.length = cursor.int()?,
                b"meta version" if keys.is_first(5) => info.meta_version = cursor.int()?,
                b"name" if keys.is_first(6) => info.name = cursor.bytes()?.unwrap_or_default(),
                b"name.utf-8" if keys.is_first(7) => info.name_utf8 = cursor.bytes()?.unwrap_or_default(),
                b"piece length" if keys.is_first(8) => info.piece_length = cursor.int()?.map_or(0, positive),
                b"pieces" if keys.is_first(9) => {
                    info.pieces = cursor.bytes()?.map(|pieces| pieces.len() as u64)
                }
                b"private" if keys.is_first(10) => {
                    info.private = cursor.int()?.is_some_and(|private| private != 0)
                }
                _ => cursor.skip()?,
            }
        }
        Ok(info)
    }

    fn name(&self) -> &'a [u8] {
        if self.name_utf8.is_empty() { self.name } else { self.name_utf8 }
    }

    /// What it says that its names are encoded in.
    fn charset(&self) -> Option<Charset> {
        self.encoding.and_then(Charset::named).or_else(|| self.codepage.and_then(Charset::code_page))
    }

    /// More is said to be in it than its hashes can prove.
    fn is_overstated(&self, v1: bool) -> bool {
        let covered = (self.pieces.unwrap_or(0) / SHA1_BYTES).saturating_mul(self.piece_length);
        if v1 { self.padded_bytes > covered } else { self.unproved }
    }

    fn read_files(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Error> {
        if !cursor.enter(Kind::List)? {
            return Ok(());
        }
        let mut file = File::default();
        while !cursor.leave()? {
            if cursor.enter(Kind::Dict)? {
                file.read(cursor)?;
                let path = if file.path_utf8.is_empty() { &file.path } else { &file.path_utf8 };
                self.push(&file, path)?;
            }
        }
        Ok(())
    }

    /// Where no list of files was found: one file, named as the torrent, or the tree of v2.
    fn fall_back(&mut self, name: &[u8]) -> Result<(), Error> {
        if self.length.is_some() {
            return self.push(&File { length: self.length, ..File::default() }, &[name]);
        }
        let Some(mut tree) = self.tree else { return Ok(()) };
        self.read_tree(&mut tree, &mut Vec::new())
    }

    /// One directory of `file tree`: names to directories, or to a file under an empty name.
    fn read_tree(&mut self, cursor: &mut Cursor<'a>, path: &mut Vec<&'a [u8]>) -> Result<(), Error> {
        if path.len() > TREE_DEPTH_MAX {
            return Err(Error::Bencode(bencode::Error::Depth));
        }
        if !cursor.enter(Kind::Dict)? {
            return Ok(());
        }
        let mut names = Names::default();
        while let Some(key) = cursor.key()? {
            if !names.add(key) {
                cursor.skip()?;
            } else if !key.is_empty() {
                path.push(key);
                self.read_tree(cursor, path)?;
                path.pop();
            } else if cursor.enter(Kind::Dict)? {
                let mut file = File::default();
                file.read(cursor)?;
                if !path.is_empty() {
                    self.unproved |= file.length() != Some(0) && !file.root;
                    self.push(&file, path)?;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, file: &File<'_>, path: &[&[u8]]) -> Result<(), Error> {
        let Some(length) = file.length() else { return Ok(()) };
        let length = u64::try_from(length).map_err(|_| Error::BadSize)?;
        self.padded_bytes = self.padded_bytes.saturating_add(length);
        let named_padding = path.last().is_some_and(|last| last.starts_with(PADDING_NAME));
        if file.attr.contains(&PADDING) || named_padding {
            return Ok(());
        }
        // Each is at most i64::MAX, so that the sum of two cannot wrap.
        self.size_bytes += length;
        if self.size_bytes > SIZE_MAX {
            return Err(Error::BadSize);
        }
        self.path_bytes += path.iter().map(|component| component.len()).sum::<usize>();
        if self.path_bytes > PATHS_MAX {
            return Err(Error::PathsTooLong);
        }
        self.files.push(length, path.iter().copied());
        Ok(())
    }
}

/// The names in one directory of a tree. They should be in order, and then cost nothing.
#[derive(Default)]
struct Names<'a> {
    in_order: Vec<&'a [u8]>,
    others: BTreeSet<&'a [u8]>,
}

impl<'a> Names<'a> {
    /// False if it was there before.
    fn add(&mut self, name: &'a [u8]) -> bool {
        if self.in_order.last().is_none_or(|last| *last < name) {
            let known = self.others.contains(name);
            self.in_order.push(name);
            return !known;
        }
        self.in_order.binary_search(&name).is_err() && self.others.insert(name)
    }
}

impl<'a> File<'a> {
    /// From inside its dictionary to behind it.
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Error> {
        self.path.clear();
        self.path_utf8.clear();
        (self.length, self.attr, self.root) = (None, &[], false);
        let mut keys = FirstKeys::default();
        while let Some(key) = cursor.key()? {
            match key {
                b"attr" if keys.is_first(0) => self.attr = cursor.bytes()?.unwrap_or_default(),
                b"length" if keys.is_first(1) => self.length = cursor.int()?,
                b"path" if keys.is_first(2) => components(cursor, &mut self.path)?,
                b"path.utf-8" if keys.is_first(3) => components(cursor, &mut self.path_utf8)?,
                b"pieces root" if keys.is_first(4) => {
                    self.root = cursor.bytes()?.is_some_and(|root| root.len() == ROOT_BYTES)
                }
                _ => cursor.skip()?,
            }
        }
        Ok(())
    }

    /// A symbolic link has no bytes of its own, whatever it says (BEP 47).
    fn length(&self) -> Option<i64> {
        if self.attr.contains(&SYMLINK) { Some(0) } else { self.length }
    }
}

fn components<'a>(cursor: &mut Cursor<'a>, path: &mut Vec<&'a [u8]>) -> Result<(), Error> {
    if cursor.enter(Kind::List)? {
        while !cursor.leave()? {
            path.extend(cursor.bytes()?);
        }
    }
    Ok(())
}

fn positive(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// The largest sum of sizes that is believed: what SQLite can hold in a column.
pub const SIZE_MAX: u64 = i64::MAX as u64;
/// As much as a list of v1 can hold at most; see [`METADATA_MAX`].
pub const PATHS_MAX: usize = METADATA_MAX;

/// Directories inside directories, as deep as [`bencode::Limits::INFO`].
const TREE_DEPTH_MAX: usize = 100;
/// Letters of `attr` (BEP 47).
const PADDING: u8 = b'p';
const SYMLINK: u8 = b'l';

/// Lengths of the hashes of v1 and v2.
const SHA1_BYTES: u64 = 20;
const ROOT_BYTES: usize = 32;

/// BitComet's name for what BEP 47 marks with `attr`.
const PADDING_NAME: &[u8] = b"_____padding_file_";

#[cfg(test)]
mod tests {
    use super::super::verify::verify;
    use super::*;

    fn read(raw: &str) -> Result<Torrent, Error> {
        let raw = Bytes::copy_from_slice(raw.as_bytes());
        let proved = verify(Id(hash::sha1(&raw)), &raw).unwrap();
        parse(raw, proved, Heard { first_seen: UnixTime(5), fetched: UnixTime(9), peers: 3 })
    }

    fn files(torrent: &Torrent) -> Vec<(u64, String)> {
        torrent.files.iter().map(|file| (file.size_bytes, file.display_path())).collect()
    }

    fn named(list: &[(u64, &str)]) -> Vec<(u64, String)> {
        list.iter().map(|(size, path)| (*size, (*path).to_owned())).collect()
    }

    #[test]
    fn a_single_file_is_named_like_its_torrent() {
        let torrent =
            read("d6:lengthi42e4:name5:a.iso12:piece lengthi16384e6:pieces2:xx7:privatei1ee").unwrap();
        assert_eq!((torrent.name.as_slice(), torrent.size_bytes), (&b"a.iso"[..], 42));
        assert_eq!(files(&torrent), named(&[(42, "a.iso")]));
        assert_eq!((torrent.piece_length, torrent.v2, torrent.peers), (16_384, None, 3));
        assert_eq!(torrent.infohash, Id(hash::sha1(&torrent.raw)));
        assert_eq!(
            torrent.flags,
            TorrentFlags { private: true, overstated: true, ..TorrentFlags::default() }
        );
        assert_eq!((torrent.first_seen, torrent.fetched), (UnixTime(5), UnixTime(9)));
    }

    #[test]
    fn files_keep_their_order_and_lose_their_padding() {
        let torrent = read(concat!(
            "d5:filesl",
            "d6:lengthi1e4:pathl1:b1:ce10:path.utf-8l1:B1:Cee",
            "d4:attr1:p6:lengthi7e4:pathl4:.pad1:7ee",
            "d6:lengthi9e4:pathl22:_____padding_file_0_9_ee",
            "d4:attr1:x6:lengthi2e4:pathl1:aee",
            "e4:name1:n10:name.utf-82:NN6:pieces0:e"
        ));
        let torrent = torrent.unwrap();
        assert_eq!(files(&torrent), named(&[(1, "B/C"), (2, "a")]));
        assert_eq!((torrent.name.as_slice(), torrent.size_bytes), (&b"NN"[..], 3));
    }

    const TREE: &str = "9:file treed3:dird1:ad0:d6:lengthi5eee1:bd0:d6:lengthi6eeee1:zd0:d6:lengthi7eeee";

    #[test]
    fn a_v2_torrent_has_its_truncated_sha_256_as_key() {
        let raw = Bytes::from(format!("d{TREE}12:meta versioni2e4:name1:n12:piece lengthi16384ee"));
        let long = hash::sha256(&raw);
        let key = Id::from_slice(&long[..20]).unwrap();
        let torrent = parse(raw.clone(), verify(key, &raw).unwrap(), Heard::default()).unwrap();
        assert_eq!((torrent.infohash, torrent.v2), (key, Some(long)));
        assert_eq!(files(&torrent), named(&[(5, "dir/a"), (6, "dir/b"), (7, "z")]));
        assert_eq!((torrent.size_bytes, torrent.flags.v2_only, torrent.flags.hybrid), (18, true, false));
    }

    #[test]
    fn a_hybrid_has_both_hashes_whichever_it_was_asked_for_by() {
        let raw = Bytes::from(format!(
            "d{TREE}5:filesld6:lengthi5e4:pathl3:dir1:aeed4:attr1:p6:lengthi3e4:pathl4:.pad1:3eee12:meta versioni2e4:name1:n6:pieces0:e"
        ));
        let (short, long) = (Id(hash::sha1(&raw)), hash::sha256(&raw));
        for asked in [short, Id::from_slice(&long[..20]).unwrap()] {
            let torrent = parse(raw.clone(), verify(asked, &raw).unwrap(), Heard::default()).unwrap();
            assert_eq!((torrent.infohash, torrent.v2), (short, Some(long)));
            assert_eq!(files(&torrent), named(&[(5, "dir/a")]));
            assert!(torrent.flags.hybrid && !torrent.flags.v2_only);
        }
    }

    #[test]
    fn wrong_types_in_optional_fields_do_not_matter() {
        for odd in ["1:t", "5:false", "le", "de", "ld1:xi1eee"] {
            let raw = format!("d6:lengthi1e4:name1:x12:piece length{odd}7:private{odd}6:source{odd}e");
            let torrent = read(&raw).unwrap();
            assert!(!torrent.flags.private, "{odd}");
        }
        let torrent = read("d7:privatei42e6:lengthi1e4:namei7e10:name.utf-81:ue").unwrap();
        assert_eq!((torrent.flags.private, torrent.name.as_slice()), (true, &b"u"[..]));
        let torrent = read("d5:filesli1ed6:lengthi1e4:path1:xed6:length1:x4:pathleee4:name1:ne").unwrap();
        assert_eq!(files(&torrent), named(&[(1, "_")]));
    }

    #[test]
    fn absurd_sizes_and_missing_files_are_errors() {
        let max = i64::MAX;
        for (raw, error) in [
            ("d6:lengthi-1e4:name1:xe".to_owned(), Error::BadSize),
            (
                format!("d5:filesld6:lengthi{max}e4:pathl1:aeed6:lengthi1e4:pathl1:beee4:name1:xe"),
                Error::BadSize,
            ),
            ("d4:name1:xe".to_owned(), Error::NoFiles),
            ("d5:filesle4:name1:xe".to_owned(), Error::NoFiles),
            ("d5:filesld4:attr1:p6:lengthi1e4:pathl1:aeeee".to_owned(), Error::NoFiles),
            ("le".to_owned(), Error::Bencode(bencode::Error::UnexpectedByte)),
            ("d4:name".to_owned(), Error::Bencode(bencode::Error::UnexpectedEnd)),
            ("d6:lengthi99999999999999999999ee".to_owned(), Error::Bencode(bencode::Error::IntOverflow)),
        ] {
            assert_eq!(read(&raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn a_tree_deeper_than_the_limit_is_refused() {
        let tree = |depth: usize| format!("d9:file tree{}de{}e", "d1:a".repeat(depth), "e".repeat(depth));
        assert_eq!(read(&tree(90)), Err(Error::NoFiles));
        for depth in [101, 5_000] {
            assert_eq!(read(&tree(depth)), Err(Error::Bencode(bencode::Error::Depth)));
        }
    }

    #[test]
    fn a_long_directory_name_cannot_be_multiplied() {
        let files: String = (0..200).map(|file| format!("4:{file:04}d0:d6:lengthi1eee")).collect();
        let name = "x".repeat(100_000);
        assert_eq!(read(&format!("d9:file treed100000:{name}d{files}eee")), Err(Error::PathsTooLong));
    }

    #[test]
    fn symbolic_links_have_no_bytes() {
        let torrent = read(concat!(
            "d5:filesl",
            "d4:attr1:l4:pathl1:ae12:symlink pathl1:bee",
            "d4:attr2:xl6:lengthi9e4:pathl1:ce12:symlink pathl1:bee",
            "d6:lengthi5e4:pathl1:bee",
            "d4:pathl8:nolengthee",
            "e4:name1:n6:pieces0:e"
        ));
        let torrent = torrent.unwrap();
        assert_eq!(files(&torrent), named(&[(0, "a"), (0, "c"), (5, "b")]));
        assert_eq!(torrent.size_bytes, 5);
        let root = "r".repeat(32);
        let tree = format!(
            "d9:file treed1:ad0:d4:attr1:l12:symlink pathl1:beee1:bd0:d6:lengthi5e11:pieces root32:{root}eee\
             12:meta versioni2e4:name1:ne"
        );
        let torrent = read(&tree).unwrap();
        assert_eq!(files(&torrent), named(&[(0, "a"), (5, "b")]));
        assert!(!torrent.flags.overstated);
    }

    #[test]
    fn of_repeated_keys_the_first_counts() {
        let torrent = read(concat!(
            "d5:filesld6:lengthi1e6:lengthi7e4:pathl1:ae4:pathl1:zeee",
            "5:filesld6:lengthi9e4:pathl1:beee",
            "4:name1:n4:name1:m12:piece lengthi16384e12:piece lengthi1e6:pieces20:aaaaaaaaaaaaaaaaaaaa6:pieces0:",
            "7:privatei0e7:privatei1ee"
        ));
        let torrent = torrent.unwrap();
        assert_eq!((files(&torrent), torrent.size_bytes), (named(&[(1, "a")]), 1));
        assert_eq!((torrent.name.as_slice(), torrent.piece_length), (&b"n"[..], 16_384));
        assert_eq!(torrent.flags, TorrentFlags::default());
        // The first has the wrong type: it counts all the same.
        let torrent = read("d6:length1:x6:lengthi5e5:filesld6:lengthi2e4:pathl1:aeeee").unwrap();
        assert_eq!(files(&torrent), named(&[(2, "a")]));
        let torrent = read(concat!(
            "d9:file treed1:ad0:d6:lengthi1eee1:cd0:d6:lengthi2eee1:ad0:d6:lengthi4eee",
            "1:bd0:d6:lengthi8ee0:d6:lengthi16eee1:bd0:d6:lengthi32eeee12:meta versioni2e4:name1:ne"
        ));
        assert_eq!(files(&torrent.unwrap()), named(&[(1, "a"), (2, "c"), (8, "b")]));
    }

    #[test]
    fn sizes_that_no_hash_covers_are_flagged() {
        let v1 = |length: u64, piece: u64, hashes: usize| {
            let pieces = "x".repeat(hashes * 20);
            let text = format!(
                "d6:lengthi{length}e4:name1:x12:piece lengthi{piece}e6:pieces{}:{pieces}e",
                pieces.len()
            );
            read(&text).unwrap().flags.overstated
        };
        assert!(!v1(16_384, 16_384, 1) && !v1(1, 16_384, 1) && !v1(0, 16_384, 0));
        assert!(v1(16_385, 16_384, 1) && v1(1 << 62, 16_384, 3) && v1(1, 0, 1) && v1(1, 16_384, 0));
        let padded = read(
            "d5:filesld6:lengthi1e4:pathl1:aeed4:attr1:p6:lengthi9e4:pathl1:9eee4:name1:n12:piece lengthi4e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
        );
        assert!(padded.unwrap().flags.overstated);
        let v2 = |file: &str| {
            let raw = format!("d9:file treed1:ad0:d{file}eee12:meta versioni2e4:name1:ne");
            read(&raw).unwrap().flags.overstated
        };
        assert!(!v2("6:lengthi0e") && !v2(&format!("6:lengthi9e11:pieces root32:{}", "r".repeat(32))));
        assert!(v2("6:lengthi9e") && v2("6:lengthi9e11:pieces root1:r"));
    }

    #[test]
    fn names_are_decoded_to_be_shown_and_stay_as_they_are() {
        let raw = b"d8:encoding3:GBK6:lengthi1e4:name4:\xb5\xe7\xd3\xb0e".to_vec();
        let torrent =
            parse(raw.into(), Hashes { v1: Some(Id([7; 20])), v2: None }, Heard::default()).unwrap();
        assert_eq!(
            (torrent.name.as_slice(), torrent.display_name()),
            (&b"\xb5\xe7\xd3\xb0"[..], "电影".to_owned())
        );
        assert_eq!(files(&torrent), named(&[(1, "电影")]));
        let raw = b"d8:codepagei1251e5:filesld6:lengthi1e4:pathl4:\xc4\xee\xec!eee4:name1:ne".to_vec();
        let torrent =
            parse(raw.into(), Hashes { v1: Some(Id([7; 20])), v2: None }, Heard::default()).unwrap();
        assert_eq!(files(&torrent), named(&[(1, "Дом!")]));
    }

    #[test]
    fn without_a_name_the_infohash_tells_torrents_apart() {
        for name in ["", "4:name0:", "4:namei7e", "4:name2:..", "4:name1: "] {
            let torrent = read(&format!("d6:lengthi1e{name}e")).unwrap();
            let hex = torrent.infohash.to_string();
            assert_eq!(
                (torrent.display_name(), files(&torrent)),
                (hex.clone(), named(&[(1, &hex)])),
                "{name}"
            );
        }
    }

    #[test]
    fn no_bytes_at_all_can_make_it_panic() {
        fn holds(noise: Vec<u8>, cut: usize) -> bool {
            let mut raw =
                format!("d{TREE}5:filesld6:lengthi5e4:pathl3:dir1:aeee4:name1:n6:pieces0:e").into_bytes();
            raw.truncate(cut % (raw.len() + 1));
            raw.extend(noise);
            _ = parse(raw.into(), Hashes { v1: Some(Id([0; 20])), v2: None }, Heard::default());
            true
        }
        quickcheck::quickcheck(holds as fn(Vec<u8>, usize) -> bool);
    }
}
