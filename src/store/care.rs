//! Care of the archive: checks and backups while an engine runs, and what needs the archive for
//! itself: deleting, compacting, restoring, making the index anew.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::apply::next_id;
use super::archive::{self, Archive, ArchiveError};
use super::schema::{OpenError, WriterLock, beside, canonical, lock, open_reader, open_writer, settle};
use super::search::IndexError;
use super::search::index::{Indexer, Searcher};
use super::writer::refresh;
use crate::base::{Id, InfoHash, hash};

/// An archive that this process alone may write to, while no engine runs.
pub struct Keeper {
    conn: Connection,
    db: PathBuf,
    _lock: WriterLock,
}

/// What a check found. All fields but `raw_checked` are empty or 0 for a good archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// SQLite's own words about damage and about broken references, the first hundred.
    pub damage: Vec<String>,
    /// Torrents whose file list cannot be read.
    pub file_lists_damaged: u64,
    /// Rows that the index should hold and does not.
    pub index_missing: u64,
    /// Rows that the index holds and that do not exist.
    pub index_extra: u64,
    /// The index cannot be read at all; the archive works, slowly, without it.
    pub index_unreadable: bool,
    /// Raw info dictionaries that were hashed.
    pub raw_checked: u64,
    /// Those whose hash is another than their row's, the first hundred.
    pub raw_wrong: Vec<InfoHash>,
}

/// Called with what is done and what there is in all, in rows.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl CheckReport {
    /// Nothing is wrong.
    pub fn is_good(&self) -> bool {
        Self { raw_checked: 0, ..self.clone() } == Self::default()
    }
}

impl Archive {
    /// Verifies what can be verified: SQLite's integrity, references, file lists, the index
    /// against the table, the infohash of every raw info dictionary.
    pub fn check(&self, progress: Progress<'_>) -> Result<CheckReport, ArchiveError> {
        let mut report = CheckReport { damage: damage(self.conn())?, ..CheckReport::default() };
        let index = match Searcher::open(&beside(self.db(), ".index")) {
            Ok(searcher) => {
                Some((searcher.every_id().map_err(ArchiveError::Index)?, searcher.last_indexed()))
            }
            Err(error) => {
                report.index_unreadable =
                    matches!(error, IndexError::Failed | IndexError::Denied | IndexError::Outdated);
                None
            }
        };
        self.check_rows(&mut report, index, progress)?;
        Ok(report)
    }

    /// One consistent copy in `to`, which must not exist, made while an engine may be writing.
    /// The search index is not part of it.
    pub fn backup(&self, to: &Path) -> Result<(), ArchiveError> {
        if to.exists() {
            return Err(ArchiveError::File);
        }
        let partial = beside(to, ".partial");
        copy_into(self.conn(), &partial)?;
        std::fs::rename(&partial, to).map_err(|error| file_error(&error))
    }

    /// The same copy as a stream of bytes.
    pub fn backup_to(&self, out: &mut impl Write) -> Result<(), ArchiveError> {
        let copy = beside(self.db(), &format!(".stream-{}", std::process::id()));
        let sent = copy_into(self.conn(), &copy).and_then(|()| {
            let mut file = std::fs::File::open(&copy).map_err(|error| file_error(&error))?;
            std::io::copy(&mut file, out).and_then(|_| out.flush()).map_err(|error| file_error(&error))
        });
        let _ = std::fs::remove_file(&copy);
        sent
    }

    fn check_rows(
        &self,
        report: &mut CheckReport,
        index: Option<(Vec<i64>, i64)>,
        progress: Progress<'_>,
    ) -> Result<(), ArchiveError> {
        let total = self.count("torrents")?;
        let stale: BTreeSet<i64> = archive::stale(self.conn(), u32::MAX)?.into_iter().collect();
        let (mut ids, last) = index.unwrap_or_default();
        ids.retain(|id| !stale.contains(id));
        ids.sort_unstable();
        let mut ids = ids.into_iter().peekable();
        let mut top = 0;
        for (done, stored) in self.export().enumerate() {
            let stored = stored?;
            top = stored.id;
            while ids.next_if(|&id| id < stored.id).is_some() {
                report.index_extra += 1;
            }
            if ids.next_if_eq(&stored.id).is_none() && stored.id <= last && !stale.contains(&stored.id) {
                report.index_missing += 1;
            }
            report.file_lists_damaged += u64::from(stored.files.len() != stored.file_count as usize);
            if let Some(raw) = self.raw(stored.id)? {
                report.raw_checked += 1;
                let right = stored.v2.is_none_or(|v2| hash::sha256(&raw) == v2)
                    && (stored.flags.v2_only || Id(hash::sha1(&raw)) == stored.infohash);
                if !right && report.raw_wrong.len() < WORDS_MAX {
                    report.raw_wrong.push(stored.infohash);
                }
            }
            progress(done as u64 + 1, total);
        }
        // Rows stored while this went on are no fault.
        report.index_extra += ids.filter(|&id| id <= top).count() as u64;
        Ok(())
    }
}

impl Keeper {
    /// Opens an archive that exists, for writing; [`OpenError::Locked`] while an engine runs.
    pub fn open(db: &Path) -> Result<Self, OpenError> {
        let db = canonical(db);
        if !db.exists() {
            return Err(OpenError::Missing);
        }
        let (conn, lock) = open_writer(&db)?;
        Ok(Self { conn, db, _lock: lock })
    }

    /// Lets hashes that were refused or deleted by this rule be fetched again. Returns how many.
    pub fn free(&mut self, rule: &str) -> Result<u64, ArchiveError> {
        let tx = self.conn.transaction()?;
        let freed =
            tx.execute("DELETE FROM known WHERE rule = (SELECT id FROM rules WHERE rule = ?1)", [rule])?;
        tx.execute("DELETE FROM rules WHERE rule = ?1", [rule])?;
        tx.commit()?;
        Ok(freed as u64)
    }

    /// Gives unused space back to the file system, of the database and of the index. Returns the
    /// bytes before and after.
    pub fn compact(&mut self) -> Result<(u64, u64), ArchiveError> {
        let bytes = |keeper: &Self| {
            std::fs::metadata(&keeper.db).map_or(0, |meta| meta.len())
                + super::bounds::folder_bytes(&beside(&keeper.db, ".index"))
        };
        let before = bytes(self);
        self.refresh_index()?;
        if let Some(mut indexer) = self.indexer()? {
            indexer.merge().map_err(ArchiveError::Index)?;
            indexer.close();
        }
        self.conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok((before, bytes(self)))
    }

    /// Makes the search index anew from the table. Returns how many rows are in it.
    pub fn reindex(&mut self, progress: Progress<'_>) -> Result<u64, ArchiveError> {
        let dir = beside(&self.db, ".index");
        super::search::index::clear(&dir).map_err(ArchiveError::Index)?;
        let total = count(&self.conn)?;
        let (mut indexer, mut last) = Indexer::open(&dir, 0).map_err(ArchiveError::Index)?;
        let done = feed(&self.conn, &mut indexer, &mut last, &mut |done| progress(done, total))?;
        settle(&self.conn)?;
        indexer.commit(last).map_err(ArchiveError::Index)?;
        indexer.close();
        self.conn.execute("DELETE FROM stale", [])?;
        Ok(done)
    }

    /// The index takes in rows that it does not hold yet.
    pub(super) fn catch_up(&mut self) -> Result<(), ArchiveError> {
        let Some(mut indexer) = self.indexer()? else { return Ok(()) };
        let mut last = indexer.last();
        if feed(&self.conn, &mut indexer, &mut last, &mut |_| {})? > 0 {
            settle(&self.conn)?;
            indexer.commit(last).map_err(ArchiveError::Index)?;
        }
        indexer.close();
        Ok(())
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn conn_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    pub(super) fn db(&self) -> &Path {
        &self.db
    }

    /// The index follows what changed in the table.
    pub(super) fn refresh_index(&mut self) -> Result<(), ArchiveError> {
        let Some(mut indexer) = self.indexer()? else { return Ok(()) };
        let last = indexer.last();
        loop {
            let stale = archive::stale(&self.conn, STALE_ROWS)?;
            if stale.is_empty() {
                break;
            }
            settle(&self.conn)?;
            refresh(&self.conn, &mut indexer, &stale, last).map_err(ArchiveError::Index)?;
            indexer.commit(last).map_err(ArchiveError::Index)?;
            archive::unstale(&mut self.conn, &stale)?;
        }
        indexer.close();
        Ok(())
    }

    /// The index, if there is one.
    fn indexer(&self) -> Result<Option<Indexer>, ArchiveError> {
        let dir = beside(&self.db, ".index");
        if !dir.exists() {
            return Ok(None);
        }
        match Indexer::open(&dir, next_id(&self.conn)? - 1) {
            Ok((indexer, _)) => Ok(Some(indexer)),
            Err(IndexError::NotBuilt) => Ok(None),
            Err(error) => Err(ArchiveError::Index(error)),
        }
    }
}

/// Hands the index every row after `last`, which moves on to the last of them; `done` is told how
/// many so far. Returns how many. Nothing is committed.
fn feed(
    conn: &Connection,
    indexer: &mut Indexer,
    last: &mut i64,
    done: &mut dyn FnMut(u64),
) -> Result<u64, ArchiveError> {
    let mut count = 0;
    loop {
        let entries = archive::entries_after(conn, *last, REINDEX_ROWS)?;
        let Some(end) = entries.last().map(|entry| entry.id) else { return Ok(count) };
        *last = end;
        for entry in entries {
            indexer.add(entry).map_err(ArchiveError::Index)?;
            count += 1;
        }
        done(count);
    }
}

/// Puts the archive in `from` in the place of `db`, whose engine must not be running. What was
/// there stays in `<db>.replaced`. The search index is made anew at the next start.
pub fn restore(db: &Path, from: &Path) -> Result<(), ArchiveError> {
    let source = open_reader(from)?;
    if !damage(&source)?.is_empty() {
        return Err(ArchiveError::Database(OpenError::NotArchive));
    }
    let db = &canonical(db);
    let _lock = lock(db)?;
    let fresh = beside(db, ".restoring");
    copy_into(&source, &fresh)?;
    if db.exists() {
        // What its WAL holds belongs into the file that is kept.
        if let Ok(old) = Connection::open(db) {
            let _ = old.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        std::fs::rename(db, beside(db, ".replaced")).map_err(|error| file_error(&error))?;
    }
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(db, suffix));
    }
    super::search::index::clear(&beside(db, ".index")).map_err(ArchiveError::Index)?;
    std::fs::rename(&fresh, db).map_err(|error| file_error(&error))
}

/// A copy of the whole database as of now, in a file of its own.
fn copy_into(conn: &Connection, to: &Path) -> Result<(), ArchiveError> {
    let _ = std::fs::remove_file(to);
    let copied = conn.execute("VACUUM INTO ?1", [to.to_string_lossy().as_ref()]);
    if copied.is_err() {
        let _ = std::fs::remove_file(to);
    }
    copied?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(|error| file_error(&error))
}

fn damage(conn: &Connection) -> Result<Vec<String>, ArchiveError> {
    let mut words = Vec::new();
    let mut check = conn.prepare("PRAGMA integrity_check(100)")?;
    for line in check.query_map([], |row| row.get::<_, String>(0))? {
        words.extend(Some(line?).filter(|line| line != "ok"));
    }
    let mut check = conn.prepare("PRAGMA foreign_key_check")?;
    for table in check.query_map([], |row| row.get::<_, String>(0))?.take(WORDS_MAX) {
        words.push(format!("a row of {} refers to one that does not exist", table?));
    }
    Ok(words)
}

fn count(conn: &Connection) -> Result<u64, ArchiveError> {
    Ok(conn.query_row("SELECT count(*) FROM torrents", [], |row| row.get(0))?)
}

fn file_error(error: &std::io::Error) -> ArchiveError {
    log::error!("care of the archive: {error}");
    ArchiveError::File
}

/// What a person reads of it.
const WORDS_MAX: usize = 100;

/// Entries of the index that are removed or made anew with one commit.
const STALE_ROWS: u32 = 1_000;

/// Rows read at once while the index is made anew.
const REINDEX_ROWS: u32 = 1_000;
