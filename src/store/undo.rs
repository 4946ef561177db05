//! Deleting on request, and bringing back what the last deletions took, for [`UNDO_DAYS`].

use rusqlite::{Connection, OptionalExtension, params};

use super::apply::{Reason, banish, next_id, rule_id};
use super::archive::{self, ArchiveError};
use super::care::Keeper;
use super::search::Query;
use super::writer::unix_now;
use crate::base::UnixTime;

/// What came of an undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Torrents that are in the archive again.
    pub restored: u64,
    /// When they had been deleted.
    pub deleted_at: UnixTime,
}

impl Keeper {
    /// Deletes what matches ([`super::Archive::matching`]). Returns how many.
    pub fn delete(&mut self, query: &Query, rule: &str) -> Result<u64, ArchiveError> {
        let ids = archive::matching(self.conn(), self.db(), query)?;
        self.delete_rows(&ids, rule)
    }

    /// Deletes these rows: their hashes are kept with the rule, so that they stay away, and the
    /// rows for [`UNDO_DAYS`] days, so that [`Keeper::undo`] can bring them back. Returns how many
    /// there were.
    pub fn delete_rows(&mut self, ids: &[i64], rule: &str) -> Result<u64, ArchiveError> {
        let now = unix_now();
        let batch = last_batch(self.conn())?.map_or(1, |(batch, _)| batch + 1);
        let mut gone = 0;
        for some in ids.chunks(ROWS) {
            let tx = self.conn_mut().transaction()?;
            expire(&tx, now)?;
            let rule = rule_id(&tx, rule)?;
            for &id in some {
                gone += tx.prepare_cached(KEEP)?.execute(params![id, batch, now.0])? as u64;
                banish(&tx, id, Reason::Deleted, now, rule)?;
            }
            tx.commit()?;
        }
        self.refresh_index()?;
        Ok(gone)
    }

    /// Brings back what the last deletion took; `None` if there is none, or it is too long ago.
    pub fn undo(&mut self) -> Result<Option<Undone>, ArchiveError> {
        let tx = self.conn_mut().transaction()?;
        expire(&tx, unix_now())?;
        let Some((batch, at)) = last_batch(&tx)? else {
            tx.commit()?;
            return Ok(None);
        };
        let ids: Vec<i64> = tx
            .prepare("SELECT id FROM deleted WHERE batch = ?1 ORDER BY id")?
            .query_map([batch], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut next = next_id(&tx)?;
        let mut restored = 0;
        for id in ids {
            // One that is there again by other means stays as it is.
            let added = tx.prepare_cached(RESTORE)?.execute([id, next])?;
            if added > 0 {
                tx.prepare_cached(RESTORE_RAW)?.execute([id, next])?;
                next += 1;
                restored += 1;
            }
            tx.prepare_cached(FREE)?.execute([id])?;
        }
        tx.execute("DELETE FROM deleted WHERE batch = ?1", [batch])?;
        tx.commit()?;
        self.catch_up()?;
        Ok(Some(Undone { restored, deleted_at: UnixTime(at) }))
    }
}

/// Forgets what was deleted too long ago to be brought back.
pub fn expire(conn: &Connection, now: UnixTime) -> rusqlite::Result<()> {
    let before = now.0.saturating_sub(UNDO_DAYS * 86_400);
    conn.prepare_cached("DELETE FROM deleted WHERE at < ?1")?.execute([before])?;
    Ok(())
}

/// Forgets some of what could be brought back, the oldest first, to make room. Returns how many.
pub fn forget_some(conn: &Connection, rows: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM deleted WHERE id IN (SELECT id FROM deleted ORDER BY batch, id LIMIT ?1)";
    conn.prepare_cached(sql)?.execute([rows])
}

/// The number of the last deletion that can be undone, and when it was.
fn last_batch(conn: &Connection) -> rusqlite::Result<Option<(i64, u64)>> {
    let sql = "SELECT batch, at FROM deleted ORDER BY batch DESC, id LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    conn.query_row(sql, [], read).optional()
}

/// Days for which a deletion can be undone.
pub const UNDO_DAYS: u64 = 7;

/// Rows deleted in one transaction.
const ROWS: usize = 1_000;

const KEEP: &str = "INSERT INTO deleted SELECT t.id, ?2, ?3, t.infohash, t.v2, t.name, t.size, t.files, \
    t.piece_length, t.category, t.flags, t.first_seen, t.fetched, t.seen, t.seeders, t.leechers, t.scraped, \
    t.file_list, r.info FROM torrents t LEFT JOIN raw r ON r.id = t.id WHERE t.id = ?1";

const RESTORE: &str = "INSERT OR IGNORE INTO torrents (id, infohash, v2, name, size, files, piece_length, \
    category, flags, first_seen, fetched, seen, seeders, leechers, scraped, file_list) \
    SELECT ?2, infohash, v2, name, size, files, piece_length, category, flags, first_seen, fetched, seen, \
    seeders, leechers, scraped, file_list FROM deleted WHERE id = ?1";

const RESTORE_RAW: &str = "INSERT INTO raw SELECT ?2, info FROM deleted WHERE id = ?1 AND info IS NOT NULL";

const FREE: &str = "DELETE FROM known WHERE why = 4 AND infohash IN (SELECT infohash FROM deleted WHERE id = ?1 \
    UNION ALL SELECT substr(v2, 1, 20) FROM deleted WHERE id = ?1 AND v2 IS NOT NULL)";
