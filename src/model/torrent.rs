//! A torrent as its verified info dictionary describes it (BEP 3, BEP 52).

use bytes::Bytes;

use super::charset::Charset;
use super::text::visible;
use crate::base::{InfoHash, UnixTime, varint};

/// A verified torrent. Names are the bytes of the info dictionary, never altered; to be shown they
/// are decoded and made harmless ([`Torrent::display_name`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// The key: SHA-1 for v1 and hybrid torrents, else the truncated SHA-256.
    pub infohash: InfoHash,
    /// SHA-256 of the info dictionary of v2 and hybrid torrents.
    pub v2: Option<[u8; 32]>,
    /// `name.utf-8`, else `name`, else the infohash in hex.
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
    /// The files are said to be larger than what the hashes of pieces cover: the size is no fact.
    pub overstated: bool,
}

/// Files in order, packed: per file the varints of its size and its number of path components,
/// then each component as a varint length and bytes. The same bytes (compressed) are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList {
    packed: Vec<u8>,
    count: u32,
    charset: Charset,
}

/// One file of a [`FileList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry<'a> {
    /// Its length.
    pub size_bytes: u64,
    /// Path components, raw.
    pub path: Vec<&'a [u8]>,
    /// What they are encoded in.
    pub charset: Charset,
}

impl Torrent {
    /// The name for people: decoded and harmless; the infohash if nothing of it can be seen.
    pub fn display_name(&self) -> String {
        name_or_hash(&self.name, self.files.charset(), &self.infohash)
    }
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
        Some(Self { packed, count, charset: Charset::UTF_8 })
    }

    /// The files in order.
    pub fn iter(&self) -> impl Iterator<Item = FileEntry<'_>> {
        let mut rest = self.packed.as_slice();
        let charset = self.charset;
        std::iter::from_fn(move || {
            let file = if rest.is_empty() { None } else { take_file(&mut rest) };
            file.map(|file| FileEntry { charset, ..file })
        })
    }

    /// What the names of the torrent and its files are encoded in.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// Sets what [`FileList::charset`] says.
    pub fn set_charset(&mut self, charset: Charset) {
        self.charset = charset;
    }

    /// Finds out what the names are encoded in, the torrent's own included; `said` is what it says
    /// of that itself.
    pub fn find_charset(&mut self, name: &[u8], said: Option<Charset>) {
        let mut odd: Vec<&[u8]> = vec![name];
        for file in self.iter() {
            odd.extend(file.path.into_iter().filter(|part| std::str::from_utf8(part).is_err()));
        }
        self.charset = Charset::of_names(odd.iter().copied(), said);
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
    Some(FileEntry { size_bytes, path, charset: Charset::UTF_8 })
}

/// A name or a component of a path for people: decoded; separators of paths, control characters
/// and changes of direction as `_`, what else is invisible left out. `None` if nothing that could
/// be a name is left.
pub fn display_name(raw: &[u8], charset: Charset) -> Option<String> {
    let text = charset.decode(raw);
    let clean = visible(&text).replace(['/', '\\'], "_");
    (!matches!(clean.trim(), "" | "." | "..")).then_some(clean)
}

/// The name for people, or the infohash where there is none.
pub fn name_or_hash(raw: &[u8], charset: Charset, infohash: &InfoHash) -> String {
    display_name(raw, charset).unwrap_or_else(|| infohash.to_string())
}

impl FileEntry<'_> {
    /// The path as text for people, components joined by `/`; `_` if there are none (BEP 3 calls
    /// that an error, but such files exist).
    pub fn display_path(&self) -> String {
        let shown = |part: &&[u8]| display_name(part, self.charset).unwrap_or_else(|| "_".to_owned());
        let parts: Vec<String> = self.path.iter().map(shown).collect();
        if parts.is_empty() { "_".to_owned() } else { parts.join("/") }
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
        let shown = |raw: &[u8]| display_name(raw, Charset::UTF_8);
        assert_eq!((shown(b".."), shown(b""), shown("\u{200b} ".as_bytes())), (None, None, None));
        assert_eq!(shown(b"a/../b\n").as_deref(), Some("a_.._b_"));
        assert_eq!(shown("x\u{202e}gpj.exe".as_bytes()).as_deref(), Some("x_gpj.exe"));
        assert_eq!(shown(b"\xff").as_deref(), Some("\u{fffd}"));
        let entry = |path| FileEntry { size_bytes: 1, path, charset: Charset::UTF_8 };
        assert_eq!(entry(Vec::new()).display_path(), "_");
        assert_eq!(entry(vec![&b".."[..], b"x", b""]).display_path(), "_/x/_");
        assert_eq!(name_or_hash(b"..", Charset::UTF_8, &InfoHash::default()), "00".repeat(20));
    }
}
