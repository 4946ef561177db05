//! What the commands on the archive share: opening it, listing torrents, and sentences for faults.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::failure::Failure;
use super::flags::PlaceFlags;
use super::run::log_if_asked;
use super::settings::RunSettings;
use super::torrent_json::hex;
use super::units::{human_count, human_duration, human_size};
use crate::base::UnixTime;
use crate::model::text::{NAME_CHARS_MAX, percent_encoded, shortened, visible};
use crate::model::torrent::display_name;
use crate::reactor::sys::rights::open_to_others;
use crate::store::schema::{beside, canonical};
use crate::store::search::tokenize::WORDS_MAX;
use crate::store::{Archive, ArchiveError, IndexError, Keeper, Note, OpenError, Stored};

/// Opens the archive that the flags name, for reading only; never creates one.
pub fn open(place: &PlaceFlags) -> Result<Archive, Failure> {
    let settings = place.settings()?;
    open_at(&settings.db, &settings)
}

/// Opens this archive for reading only; logs if the settings ask for it.
pub fn open_at(db: &Path, settings: &RunSettings) -> Result<Archive, Failure> {
    log_if_asked(settings.given_log())?;
    Archive::open_read_only(db).map_err(|fault| open_failure(db, fault))
}

/// Opens this archive for writing, while no engine runs; logs if the settings ask for it.
pub fn keeper(db: &Path, settings: &RunSettings) -> Result<Keeper, Failure> {
    log_if_asked(settings.given_log())?;
    Keeper::open(db).map_err(|fault| open_failure(db, fault))
}

/// Says what other users may read of an archive, and how to mend it.
pub fn exposed(db: &Path) -> Vec<String> {
    let db = canonical(db);
    let index = beside(&db, ".index");
    let line = |path: &Path, wanted: &str| {
        let rights = open_to_others(path)?;
        let path = path.display();
        Some(format!(
            "other users may get at {path} (its rights are {rights:04o}); `chmod {wanted} {path}` ends that"
        ))
    };
    [(&db, "0600"), (&index, "0700")].iter().filter_map(|(path, wanted)| line(path, wanted)).collect()
}

/// Why an archive cannot be opened, and what to do.
pub fn open_failure(db: &Path, fault: OpenError) -> Failure {
    let is_file = db.metadata().is_ok_and(|facts| facts.is_file());
    let db = db.display();
    if !is_file && matches!(fault, OpenError::NotArchive | OpenError::Other) {
        return Failure::failed(format!(
            "{db} is a folder or a device, not an archive; give a file with --db"
        ));
    }
    Failure::failed(match fault {
        OpenError::Missing => {
            let demo = super::demo::latest();
            let demo =
                demo.map_or_else(String::new, |demo| format!("; that of a demo is --db {}", demo.display()));
            format!("there is no archive at {db}; `dht-hunter run` makes one, --db names another{demo}")
        }
        OpenError::Denied => {
            format!(
                "{db} or its folder may not be written or read; check its owner and rights, or give another with --db"
            )
        }
        OpenError::NotArchive => {
            format!(
                "{db} is not an archive of dht-hunter, or is damaged; give another with --db, or restore a copy with `db restore`"
            )
        }
        OpenError::Newer { found, known } => {
            format!("{db} has schema {found} and this program knows up to {known}; use a newer dht-hunter")
        }
        OpenError::Locked => {
            format!("another process writes to {db}; stop that one first, or give another archive with --db")
        }
        OpenError::DiskFull => format!("no space is left on the disk of {db}; make some and try again"),
        OpenError::Other => {
            format!("{db} cannot be opened; check the disk, and look for damage with `dht-hunter db check`")
        }
    })
}

/// Why a question to the archive has no answer.
pub fn failure(db: &Path, fault: ArchiveError) -> Failure {
    match fault {
        ArchiveError::Database(fault) => open_failure(db, fault),
        ArchiveError::Index(IndexError::NotBuilt) => {
            Failure::failed("this program was built without search; build it with the feature `search`")
        }
        ArchiveError::Index(_) => Failure::failed(
            "the search index is missing or damaged; make it anew with `dht-hunter db reindex`",
        ),
        ArchiveError::File => Failure::failed(
            "a file cannot be read or written; check that the target is new, its rights and the free space",
        ),
    }
}

/// Now, for ages.
pub fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// One line of a list: size, files, seeders, age, infohash, name.
pub const LIST_HEAD: [(&str, super::print::Align); 6] = {
    use super::print::Align::{Left, Right};
    [
        ("size", Right),
        ("files", Right),
        ("seeders", Right),
        ("age", Right),
        ("infohash", Left),
        ("name", Left),
    ]
};

/// A torrent as such a line.
pub fn list_row(stored: &Stored, now: UnixTime) -> [String; 6] {
    let seeders = match (stored.seeders, stored.leechers) {
        (Some(seeders), _) => human_count(u64::from(seeders)),
        (None, Some(peers)) => format!("~{}", human_count(u64::from(peers))),
        (None, None) => "-".to_owned(),
    };
    [
        format!("{}{}", human_size(stored.size_bytes), if stored.flags.overstated { "?" } else { "" }),
        human_count(u64::from(stored.file_count)),
        seeders,
        age(stored.fetched, now),
        stored.infohash.to_string(),
        shortened(&stored.display_name(), NAME_CHARS_MAX).into_owned(),
    ]
}

/// Peers that are known to lack a part: `None` where it is not known which of the peers are seeders.
pub fn leechers(stored: &Stored) -> Option<u32> {
    stored.leechers.filter(|_| stored.seeders.is_some())
}

/// How long ago, in one unit.
pub fn age(then: UnixTime, now: UnixTime) -> String {
    let text = human_duration(Duration::from_secs(now.secs_since(then).max(1)));
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A torrent of the archive as JSON; with its files if `files`.
pub fn to_json(stored: &Stored, files: bool) -> Value {
    let mut value = json!({
        "infohash": stored.infohash.to_string(),
        "v2": stored.v2.map(|hash| hex(&hash)),
        "name": stored.display_name(),
        "size_bytes": stored.size_bytes,
        "file_count": stored.file_count,
        "piece_length": stored.piece_length,
        "category": stored.category.name(),
        "private": stored.flags.private,
        "hybrid": stored.flags.hybrid,
        "overstated": stored.flags.overstated,
        "first_seen": stored.first_seen.0,
        "fetched": stored.fetched.0,
        "last_seen": stored.last_seen.0,
        "seeders": stored.seeders,
        "leechers": leechers(stored),
        "peers": stored.leechers.map(|others| others.saturating_add(stored.seeders.unwrap_or(0))),
        "magnet": magnet(stored),
    });
    if files {
        let entry = |file: crate::model::torrent::FileEntry<'_>| json!({"path": file.display_path(), "size_bytes": file.size_bytes});
        value["files"] = stored.files.iter().map(entry).collect();
    }
    value
}

/// A magnet link with every hash the torrent has (BEP 9, BEP 52).
pub fn magnet(stored: &Stored) -> String {
    let mut link = "magnet:?".to_owned();
    if !stored.flags.v2_only {
        link.push_str(&format!("xt=urn:btih:{}&", stored.infohash));
    }
    if let Some(v2) = &stored.v2 {
        link.push_str(&format!("xt=urn:btmh:1220{}&", hex(v2)));
    }
    // Other programs expect UTF-8; and a name that is the hash says nothing more.
    let name = display_name(&stored.name, stored.files.charset());
    match name.filter(|name| *name != stored.infohash.to_string()) {
        Some(_) => {
            let name = stored.files.charset().decode(&stored.name);
            let name: String = visible(&name).chars().take(NAME_CHARS_MAX).collect();
            link.push_str("dn=");
            link.push_str(&percent_encoded(&name));
        }
        None => _ = link.pop(),
    }
    link
}

/// What a search could not do as usual, and what to do about it.
pub fn note(note: &Note) -> String {
    let unindexed =
        |why: &str| format!("the search index was not used: {why}; every torrent was read instead");
    match note {
        Note::Unindexed(IndexError::Missing) => {
            unindexed("there is none beside the archive; `dht-hunter db reindex` or the next `run` makes it")
        }
        Note::Unindexed(IndexError::Outdated) => unindexed(
            "another version of this program made it; the next `run`, or `dht-hunter db reindex`, makes it anew",
        ),
        Note::Unindexed(IndexError::Denied) => unindexed("it may not be read; check its owner and rights"),
        Note::Unindexed(IndexError::Failed) => {
            unindexed("it is damaged or cannot be read; make it anew with `dht-hunter db reindex`")
        }
        Note::Unindexed(IndexError::NotBuilt) => unindexed("this program was built without it"),
        Note::Partial(count) => format!(
            "{} torrents have more than {} different words in their file names; the others are not searched",
            human_count(*count),
            human_count(WORDS_MAX as u64)
        ),
        Note::Behind(count) => format!(
            "the search index lacks the newest {} torrents, which were read one by one; it catches up while `run` goes on",
            human_count(*count)
        ),
        Note::Candidates(count) => format!(
            "only the first {} torrents with all words of the phrase were looked at; add a word",
            human_count(*count as u64)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::model::{Charset, FileList, TorrentFlags};
    use crate::store::Category;

    fn named(name: &[u8], charset: &[u8]) -> Stored {
        let mut files = FileList::default();
        files.push(1, [name].into_iter());
        files.find_charset(name, Charset::named(charset));
        Stored {
            id: 1,
            infohash: Id([7; 20]),
            v2: None,
            name: name.to_vec(),
            size_bytes: 1,
            file_count: 1,
            piece_length: 1,
            category: Category::Other,
            flags: TorrentFlags::default(),
            first_seen: UnixTime(1),
            fetched: UnixTime(1),
            last_seen: UnixTime(1),
            seeders: None,
            leechers: None,
            files,
        }
    }

    #[test]
    fn links_hold_the_decoded_name_or_none() {
        let start = format!("magnet:?xt=urn:btih:{}", "07".repeat(20));
        let dn = |name: &[u8], charset: &[u8]| magnet(&named(name, charset)).replace(&start, "");
        assert_eq!(dn(b"a b&c/\xc3\xa9", b""), "&dn=a%20b%26c%2F%C3%A9");
        assert_eq!(dn(b"\xb5\xe7\xd3\xb0", b"GBK"), "&dn=%E7%94%B5%E5%BD%B1");
        assert_eq!(dn(b"caf\xe9", b""), "&dn=caf%C3%A9");
        assert_eq!((dn(b"", b""), dn(b"..", b""), dn("07".repeat(20).as_bytes(), b"")), Default::default());
        let hostile = dn("x\u{202e}\n\u{200b}".repeat(1 << 18).as_bytes(), b"");
        assert!(hostile.len() < 3_200 && hostile.is_ascii() && !hostile.contains("%0A"));
    }

    #[test]
    fn what_strangers_wrote_does_no_harm_in_lists_and_json() {
        let stored = named("a\u{2028}\u{61c}\u{e0041}b".repeat(1 << 17).as_bytes(), b"");
        let row = list_row(&stored, UnixTime(9)).join(" ");
        assert!(row.len() < 1_000 && row.contains("a__b") && row.contains("bytes)"), "{row}");
        assert_eq!(to_json(&named(b"\xb5\xe7\xd3\xb0", b"GBK"), true)["files"][0]["path"], "电影");
    }

    #[test]
    fn ages_are_one_unit() {
        assert_eq!(age(UnixTime(100), UnixTime(3_800)), "1 h");
        assert_eq!(age(UnixTime(200), UnixTime(100)), "1 s");
    }

    #[test]
    fn every_fault_says_what_to_do() {
        let faults = [
            OpenError::Missing,
            OpenError::Denied,
            OpenError::NotArchive,
            OpenError::Newer { found: 2, known: 1 },
            OpenError::Locked,
            OpenError::DiskFull,
            OpenError::Other,
        ];
        for fault in faults {
            let said = open_failure(Path::new("/x"), fault).to_string();
            assert!(said.contains("/x") && said.contains(';') && !said.contains('\n'), "{said}");
        }
    }
}
