//! The database file: opening it, its lock, its schema by numbered migrations, its pragmas.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Why a database cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no such file or folder.
    Missing,
    /// It, or the folder it is in, cannot be written (or read).
    Denied,
    /// The file is not an archive of this program: not SQLite, damaged, or another program's.
    NotArchive,
    /// A newer version of this program wrote it.
    Newer {
        /// Its schema.
        found: u32,
        /// The newest schema this program knows.
        known: u32,
    },
    /// Another process writes to it.
    Locked,
    /// No space is left.
    DiskFull,
    /// Anything else; the log has the words.
    Other,
}

/// Held while a process may write to a database; the lock ends with the process.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
}

/// The file itself where the path leads over symbolic links, also if it does not exist yet: lock,
/// index and log lie beside it, whatever it is called by.
pub fn canonical(db: &Path) -> PathBuf {
    let mut path = db.to_owned();
    for _ in 0..LINKS_MAX {
        if let Ok(found) = path.canonicalize() {
            return found;
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let Ok(folder) = folder.canonicalize() else { return path };
        let Some(name) = path.file_name() else { return path };
        let place = folder.join(name);
        match place.read_link() {
            Ok(target) => path = folder.join(target),
            Err(_) => return place,
        }
    }
    path
}

/// Opens for writing, creates if missing, brings the schema up to date. An existing file of an
/// older schema is copied to `<db>.before-v<N>` first.
pub fn open_writer(db: &Path) -> Result<(Connection, WriterLock), OpenError> {
    let db = &canonical(db);
    let lock = lock(db)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(db, flags).map_err(|error| fault(&error))?;
    prepare(&mut conn, db, MIGRATIONS).map_err(|error| error.log())?;
    Ok((conn, lock))
}

/// Opens for reading only. Never creates a file, never changes one.
pub fn open_reader(db: &Path) -> Result<Connection, OpenError> {
    if !db.exists() {
        return Err(OpenError::Missing);
    }
    let conn = match read_only(db, "mode=ro") {
        // Left by an ended process in a folder that we may not write: nothing else writes there.
        Err(Fault::Sql(_)) if !beside(db, "-wal").exists() => read_only(db, "immutable=1"),
        other => other,
    };
    conn.map_err(|error| error.log())
}

/// Puts everything committed so far on the disk itself. To be done before each commit of the
/// index: if the power went, it would otherwise hold rows that the table has lost, and miss those
/// that come under their ids.
pub fn settle(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", "FULL")?;
    // A commit of the header page as it is: syncs the WAL, and with it all that was before.
    let settled = conn.pragma_update(None, "application_id", APPLICATION_ID);
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    settled
}

/// The path of a file that belongs to `db`: its name with `suffix` appended.
pub fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The newest schema this program knows.
pub fn newest_version() -> u32 {
    MIGRATIONS.len() as u32
}

/// What an SQLite error means for whoever wanted to open the file.
pub fn fault(error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotArchive,
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::Denied,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked,
        Some(ErrorCode::DiskFull) => OpenError::DiskFull,
        _ => OpenError::Other,
    }
}

/// Takes the lock of a database's only writer, in `<db>.lock`.
pub fn lock(db: &Path) -> Result<WriterLock, OpenError> {
    if db.is_dir() {
        return Err(OpenError::NotArchive);
    }
    let db = &canonical(db);
    let folder = db.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(OpenError::Missing);
    }
    let open = File::options().create(true).truncate(false).write(true).open(beside(db, ".lock"));
    let file = open.map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => OpenError::DiskFull,
        _ => OpenError::Denied,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(WriterLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(error)) => {
            log::error!("cannot lock the archive: {error}");
            Err(OpenError::Other)
        }
    }
}

/// A failure inside this file: a verdict, or SQLite's words.
enum Fault {
    Open(OpenError),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    fn log(self) -> OpenError {
        match self {
            Self::Open(error) => error,
            Self::Sql(error) => {
                log::error!("cannot open the archive: {error}");
                fault(&error)
            }
        }
    }
}

fn read_only(db: &Path, how: &str) -> Result<Connection, Fault> {
    let uri = format!("file:{}?{how}", escape(db));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri, flags)?;
    conn.busy_timeout(BUSY)?;
    match check_version(&conn)? {
        0 => return Err(Fault::Open(OpenError::NotArchive)),
        1 => conn.execute_batch(VERSION_1_AS_2)?,
        _ => {}
    }
    Ok(conn)
}

fn escape(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn prepare(conn: &mut Connection, db: &Path, migrations: &[&str]) -> Result<(), Fault> {
    conn.busy_timeout(BUSY)?;
    let version = check_version(conn)?;
    if version == 0 {
        conn.execute_batch(PRAGMAS_OF_A_NEW_FILE)?;
    } else if (version as usize) < migrations.len() {
        back_up(conn, db, version)?;
    }
    conn.execute_batch(PRAGMAS)?;
    // A table that is made anew is not empty in between: what refers to it stays.
    conn.pragma_update(None, "foreign_keys", false)?;
    for (index, sql) in migrations.iter().enumerate().skip(version as usize) {
        if version > 0 {
            log::info!("bringing the archive to schema {} of {}", index + 1, migrations.len());
        }
        let tx = conn.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", index as u32 + 1)?;
        tx.commit()?;
    }
    Ok(conn.pragma_update(None, "foreign_keys", true)?)
}

/// The schema of the file, 0 if it is new.
fn check_version(conn: &Connection) -> Result<u32, Fault> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: u32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let known = newest_version();
    match (tables, application) {
        (0, _) => Ok(0),
        (_, APPLICATION_ID) if version > known => {
            Err(Fault::Open(OpenError::Newer { found: version, known }))
        }
        (_, APPLICATION_ID) => Ok(version),
        _ => Err(Fault::Open(OpenError::NotArchive)),
    }
}

fn back_up(conn: &Connection, db: &Path, version: u32) -> Result<(), Fault> {
    let copy = beside(db, &format!(".before-v{}", version + 1));
    if copy.exists() {
        return Ok(());
    }
    log::info!("copying the archive before its schema changes");
    // What a crash leaves of it must not pass for the copy at the next start.
    let partial = beside(&copy, ".partial");
    let _ = std::fs::remove_file(&partial);
    conn.execute("VACUUM INTO ?1", [partial.to_string_lossy().as_ref()])?;
    std::fs::rename(&partial, &copy).map_err(|error| {
        log::error!("cannot keep a copy of the archive: {error}");
        Fault::Open(OpenError::Denied)
    })
}

/// One file a version, in order; released ones never change.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_archive.sql"),
    include_str!("migrations/0002_smaller_rows.sql"),
    include_str!("migrations/0003_answers.sql"),
    include_str!("migrations/0004_local_names.sql"),
    include_str!("migrations/0005_undo.sql"),
];

/// An archive that no writer has brought up to date yet, as a reader sees it. Lies in memory.
const VERSION_1_AS_2: &str = "
PRAGMA temp_store = MEMORY;
CREATE TEMP VIEW torrents AS SELECT id, infohash, v2, name, size, files, piece_length, category, flags,
  first_seen, fetched - first_seen AS fetched, last_seen - fetched AS seen, seeders, leechers, scraped,
  file_list FROM main.torrents;
";

/// "DhtH": tells our files from other programs' databases.
const APPLICATION_ID: u32 = 0x4468_7448;

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

/// How long to wait for a reader that holds up a checkpoint, or a writer that commits.
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Pages of 8 KiB: rows of a few hundred bytes fill them better (a tenth less waste than 4 KiB).
const PRAGMAS_OF_A_NEW_FILE: &str = "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;";

/// 8 MiB of cache holds the inner pages of 10 million torrents and of their indexes (four times as
/// much makes inserts 3 % faster at a million). The WAL is cut back to 64 MiB
/// after a burst.
const PRAGMAS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -8192;
PRAGMA journal_size_limit = 67108864;
PRAGMA temp_store = MEMORY;
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Torrent;
    use crate::store::Archive;
    use crate::store::tests::torrent;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("a.db");
        (dir, db)
    }

    #[test]
    fn a_new_file_has_the_newest_schema_and_the_pragmas() {
        let (_dir, db) = place();
        let (conn, _lock) = open_writer(&db).unwrap();
        let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("user_version"), i64::from(newest_version()));
        assert_eq!(pragma("auto_vacuum"), 2);
        assert_eq!(pragma("foreign_keys"), 1);
        let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(open_reader(&db).map(|_| ()), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_archive_is_the_archive() {
        let (dir, db) = place();
        let link = dir.path().join("other/link.db");
        std::fs::create_dir(dir.path().join("other")).unwrap();
        symlink("../a.db", &link);
        assert_eq!(canonical(&link), canonical(&db));
        let held = open_writer(&link).unwrap();
        assert!(db.exists() && beside(&db, ".lock").exists() && !beside(&link, ".lock").exists());
        assert_eq!(open_writer(&db).map(|_| ()), Err(OpenError::Locked));
        assert_eq!(open_writer(&link).map(|_| ()), Err(OpenError::Locked));
        drop(held);
        assert_eq!(open_writer(&link).map(|_| ()), Ok(()));
        let turning = dir.path().join("turning");
        symlink("turning", &turning);
        assert!(canonical(&turning).ends_with("turning"));
    }

    /// `ln -s`: the standard library has it for each system apart.
    #[cfg(unix)]
    fn symlink(target: &str, link: &Path) {
        let made = std::process::Command::new("ln").arg("-s").arg(target).arg(link).status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn one_writer_at_a_time() {
        let (_dir, db) = place();
        let held = open_writer(&db).unwrap();
        assert_eq!(open_writer(&db).map(|_| ()), Err(OpenError::Locked));
        drop(held);
        assert_eq!(open_writer(&db).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let (dir, db) = place();
        assert_eq!(open_reader(&db).map(|_| ()), Err(OpenError::Missing));
        assert!(!db.exists());
        assert_eq!(open_writer(&dir.path().join("none/a.db")).map(|_| ()), Err(OpenError::Missing));
        std::fs::write(&db, "this is not a database at all, it is a text of some length....").unwrap();
        assert_eq!(open_writer(&db).map(|_| ()), Err(OpenError::NotArchive));
        assert_eq!(open_reader(&db).map(|_| ()), Err(OpenError::NotArchive));
        assert_eq!(open_writer(dir.path()).map(|_| ()), Err(OpenError::NotArchive));
    }

    #[test]
    fn a_newer_or_foreign_database_is_refused_and_left_alone() {
        let (_dir, db) = place();
        let (conn, lock) = open_writer(&db).unwrap();
        conn.pragma_update(None, "user_version", 99).unwrap();
        drop((conn, lock));
        let newer = Err(OpenError::Newer { found: 99, known: newest_version() });
        assert_eq!(open_writer(&db).map(|_| ()), newer);
        assert_eq!(open_reader(&db).map(|_| ()), newer);
        let other = beside(&db, ".other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert_eq!(open_writer(&other).map(|_| ()), Err(OpenError::NotArchive));
    }

    #[test]
    fn a_migration_keeps_the_rows_and_a_copy_of_what_was() {
        let (_dir, db) = place();
        let mut conn = Connection::open(&db).unwrap();
        prepare(&mut conn, &db, &MIGRATIONS[..1]).map_err(Fault::log).unwrap();
        conn.execute("INSERT INTO settings VALUES ('a', 'b')", []).unwrap();
        let next = [MIGRATIONS[0], "ALTER TABLE settings ADD COLUMN more TEXT"];
        prepare(&mut conn, &db, &next).map_err(Fault::log).unwrap();
        let kept: (String, Option<String>) = conn
            .query_row("SELECT value, more FROM settings", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(kept, ("b".to_owned(), None));
        let copy = Connection::open(beside(&db, ".before-v2")).unwrap();
        assert_eq!(copy.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap(), 1);
        assert_eq!(
            copy.query_row("SELECT count(*) FROM settings", [], |row| row.get::<_, u32>(0)).unwrap(),
            1
        );
    }

    #[test]
    fn an_archive_of_version_1_is_read_on() {
        let (_dir, db) = place();
        let mut conn = Connection::open(&db).unwrap();
        prepare(&mut conn, &db, &MIGRATIONS[..1]).map_err(Fault::log).unwrap();
        let (one, many) = (torrent(1, "one.mkv", 1), torrent(2, "many", 3));
        let plain = [&[0], many.files.packed()].concat();
        for (id, torrent, list) in [(1, &one, vec![2]), (7, &many, plain)] {
            let sql = "INSERT INTO torrents VALUES (?1, ?2, NULL, ?3, ?4, ?5, 262144, 0, 0, 1000, 1100, 1250, 9, \
                       3, 1200, ?6)";
            let files = torrent.files.len();
            let values = (id, torrent.infohash.0, &torrent.name, torrent.size_bytes, files, list);
            conn.execute(sql, values).unwrap();
            conn.execute("INSERT INTO raw VALUES (?1, ?2)", (id, &torrent.raw[..])).unwrap();
        }
        drop(conn);
        reads_both(Archive::open_read_only(&db).unwrap(), &one, &many);
        drop(open_writer(&db).unwrap());
        reads_both(Archive::open_read_only(&db).unwrap(), &one, &many);
    }

    /// What local zones and policy are kept in came with version 4.
    #[test]
    fn an_archive_of_version_3_keeps_its_answers_and_takes_zones() {
        let (_dir, db) = place();
        let mut conn = Connection::open(&db).unwrap();
        prepare(&mut conn, &db, &MIGRATIONS[..3]).map_err(Fault::log).unwrap();
        conn.execute("INSERT INTO answers VALUES (x'01', x'02', 3, 4)", []).unwrap();
        drop(conn);
        let (conn, _lock) = open_writer(&db).unwrap();
        let count = |table: &str| {
            conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u32>(0)).unwrap()
        };
        assert_eq!((count("answers"), count("zone_sets"), count("policy_lists")), (1, 0, 0));
        assert!(beside(&db, ".before-v4").exists());
    }

    fn reads_both(archive: Archive, one: &Torrent, many: &Torrent) {
        for (id, torrent) in [(1, one), (7, many)] {
            let stored = archive.torrent(torrent.infohash).unwrap().unwrap();
            assert_eq!((stored.id, &stored.name, &stored.files), (id, &torrent.name, &torrent.files));
            let times = [stored.first_seen, stored.fetched, stored.last_seen].map(|time| time.0);
            assert_eq!((times, stored.piece_length), ([1000, 1100, 1250], 262_144));
            assert_eq!((stored.seeders, stored.leechers), (Some(9), Some(3)));
            assert_eq!(archive.raw(id).unwrap().as_deref(), Some(&torrent.raw[..]));
        }
        assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
    }

    #[test]
    fn a_hash_is_found_by_its_index() {
        let (_dir, db) = place();
        let (conn, _lock) = open_writer(&db).unwrap();
        let sql = "EXPLAIN QUERY PLAN SELECT id FROM torrents WHERE infohash = ?1";
        let plan: String = conn.query_row(sql, [[0u8; 20]], |row| row.get(3)).unwrap();
        assert!(plan.starts_with("SEARCH torrents USING COVERING INDEX"), "{plan}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let (_dir, db) = place();
        let mut conn = Connection::open(&db).unwrap();
        prepare(&mut conn, &db, &MIGRATIONS[..1]).map_err(Fault::log).unwrap();
        let broken = [MIGRATIONS[0], "CREATE TABLE half (a); CREATE TABLE half (a)"];
        assert!(prepare(&mut conn, &db, &broken).is_err());
        let half = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
        assert_eq!(conn.query_row(half, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
        assert_eq!(conn.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap(), 1);
    }
}
