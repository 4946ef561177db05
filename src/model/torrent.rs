//! A torrent as its verified info dictionary describes it (BEP 3, BEP 52).

use bytes::Bytes;

use crate::base::{InfoHash, UnixTime, varint};

/// A verified torrent. Names are the bytes of the info dictionary, never altered; they are made
/// fit to show by whoever shows them ([`display_name`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// The key: SHA-1 for v1 and hybrid torrents, else the truncated SHA-256.
    pub infohash: InfoHash,
    /// SHA-256 of the info dictionary of v2 and hybrid torrents.
    pub v2: Option<[u8; 32]>,
    /// `name.utf-8`, else `name`.
    pub name: Vec<u8>,
    /// Sum of the files' sizes, padding files left out.
    pub size_bytes: u64,
    /// Padding files left out.
    pub files: FileList,
    /// `piece length`
    pub piece_length: u64,
    /// What kind it is.
    pub flags: TorrentFlags,
    /// When its infohash was first heard of.
    pub first_seen: UnixTime,
    /// When its metadata was verified.
    pub fetched: UnixTime,
    /// Distinct peers heard of while it was fetched.
    pub peers: u32,
    /// The raw info dictionary.
    pub raw: Bytes,
}

/// BEP 27 and BEP 52.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TorrentFlags {
    /// `private` is not 0.
    pub private: bool,
    /// Both v1 and v2.
    pub hybrid: bool,
    /// The key is a truncated SHA-256.
    pub v2_only: bool,
}

/// Files in order, packed: per file the varints of its size and its number of path components,
/// then each component as a varint length and bytes. The same bytes (compressed) are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList {
    packed: Vec<u8>,
    count: u32,
}

/// One file of a [`FileList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry<'a> {
    /// Its length.
    pub size_bytes: u64,
    /// Path components, raw.
    pub path: Vec<&'a [u8]>,
}

impl FileList {
    /// Appends a file.
    pub fn push<'a>(&mut self, size_bytes: u64, path: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.count += 1;
        varint::push(&mut self.packed, size_bytes);
        varint::push(&mut self.packed, path.len() as u64);
        for component in path {
            varint::push(&mut self.packed, component.len() as u64);
            self.packed.extend_from_slice(component);
        }
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True without files.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The packed form.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// From the packed form; `None` if it is damaged.
    pub fn from_packed(packed: Vec<u8>) -> Option<Self> {
        let mut rest = packed.as_slice();
        let mut count = 0;
        while !rest.is_empty() {
            take_file(&mut rest)?;
            count += 1;
        }
        Some(Self { packed, count })
    }

    /// The files in order.
    pub fn iter(&self) -> impl Iterator<Item = FileEntry<'_>> {
        let mut rest = self.packed.as_slice();
        std::iter::from_fn(move || if rest.is_empty() { None } else { take_file(&mut rest) })
    }
}

fn take_file<'a>(rest: &mut &'a [u8]) -> Option<FileEntry<'a>> {
    let size_bytes = varint::take(rest)?;
    let components = varint::take(rest)?;
    let mut path = Vec::with_capacity(components.min(16) as usize);
    for _ in 0..components {
        let len = usize::try_from(varint::take(rest)?).ok()?;
        let (component, tail) = rest.split_at_checked(len)?;
        path.push(component);
        *rest = tail;
    }
    Some(FileEntry { size_bytes, path })
}

/// Bytes of a name as text for people: invalid UTF-8 replaced; control characters, bidirectional
/// overrides and path separators as `_`; `.`, `..` and nothing at all as `_`.
pub fn display_name(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let clean: String = text.chars().map(|c| if unsafe_to_show(c) { '_' } else { c }).collect();
    if matches!(clean.trim(), "" | "." | "..") { "_".to_owned() } else { clean }
}

fn unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl FileEntry<'_> {
    /// The path as text for people, components joined by `/`; `_` if there are none (BEP 3 calls
    /// that an error, but such files exist).
    pub fn display_path(&self) -> String {
        if self.path.is_empty() {
            return display_name(b"");
        }
        let parts: Vec<String> = self.path.iter().map(|part| display_name(part)).collect();
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_survive_packing() {
        let mut files = FileList::default();
        files.push(1 << 40, [&b"a"[..], b"b.txt"].into_iter());
        files.push(0, [&b""[..]].into_iter());
        let again = FileList::from_packed(files.packed().to_vec()).unwrap();
        assert_eq!(again, files);
        let list: Vec<_> = again.iter().map(|file| (file.size_bytes, file.display_path())).collect();
        assert_eq!(list, [(1 << 40, "a/b.txt".to_owned()), (0, "_".to_owned())]);
    }

    #[test]
    fn damaged_packing_is_refused() {
        let mut files = FileList::default();
        files.push(300, [&b"name"[..]].into_iter());
        let packed = files.packed();
        assert!((1..packed.len()).all(|len| FileList::from_packed(packed[..len].to_vec()).is_none()));
    }

    #[test]
    fn names_cannot_escape_or_fool() {
        assert_eq!(display_name(b".."), "_");
        assert_eq!(display_name(b"a/../b\n"), "a_.._b_");
        assert_eq!(display_name("x\u{202e}gpj.exe".as_bytes()), "x_gpj.exe");
        assert_eq!(display_name(b"\xff"), "\u{fffd}");
        assert_eq!(FileEntry { size_bytes: 1, path: Vec::new() }.display_path(), "_");
    }
}
