//! What the commands on the archive share: opening it, listing torrents, and sentences for faults.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::failure::Failure;
use super::flags::PlaceFlags;
use super::torrent_json::hex;
use super::units::{human_count, human_duration, human_size};
use crate::base::UnixTime;
use crate::model::torrent::display_name;
use crate::store::{Archive, ArchiveError, IndexError, OpenError, Stored};

/// Opens the archive that the flags name, for reading only; never creates one.
pub fn open(place: &PlaceFlags) -> Result<Archive, Failure> {
    let db = place.settings()?.db;
    Archive::open_read_only(&db).map_err(|fault| open_failure(&db, fault))
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
            format!("there is no archive at {db}; `dht-hunter run` makes one, --db names another")
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
        ArchiveError::Index(IndexError::Missing | IndexError::Failed) => Failure::failed(
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
        human_size(stored.size_bytes),
        human_count(u64::from(stored.file_count)),
        seeders,
        age(stored.fetched, now),
        stored.infohash.to_string(),
        display_name(&stored.name),
    ]
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
        "name": display_name(&stored.name),
        "size_bytes": stored.size_bytes,
        "file_count": stored.file_count,
        "piece_length": stored.piece_length,
        "category": stored.category.name(),
        "private": stored.flags.private,
        "hybrid": stored.flags.hybrid,
        "first_seen": stored.first_seen.0,
        "fetched": stored.fetched.0,
        "last_seen": stored.last_seen.0,
        "seeders": stored.seeders,
        "leechers": stored.leechers,
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
    link.push_str("dn=");
    link.push_str(&percent_encoded(&stored.name));
    link
}

/// RFC 3986: all but the unreserved characters as `%XX`.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_links_are_encoded() {
        assert_eq!(percent_encoded("a b&c=\u{e9}".as_bytes()), "a%20b%26c%3D%C3%A9");
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
