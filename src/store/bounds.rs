//! What keeps the archive from growing for ever: bounds of tables by rows and age, and room on
//! the disk.

use std::path::Path;

use rusqlite::{Connection, params};

use super::answers;
use super::apply::{Reason, banish};
use super::limits::{NODES_MAX, PENDING_MAX};
use super::schema::beside;
use crate::base::UnixTime;

/// Walks through the tables a slice at a time, so that no single step takes long.
pub struct Sweeper {
    slice: u8,
    rows: RowsMax,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self::new(RowsMax::within(None))
    }
}

impl Sweeper {
    /// Begins at the first slice.
    pub fn new(rows: RowsMax) -> Self {
        Self { slice: 0, rows }
    }

    /// Looks after one 256th of the hashes, and after the histories. Run in a transaction.
    pub fn step(&mut self, conn: &Connection, now: UnixTime) -> rusqlite::Result<()> {
        let (low, high) = (self.slice_start(), self.slice_end());
        for (why, rows_max, days_max) in KNOWN_BOUNDS {
            let before = now.0.saturating_sub(days_max * DAY_SECS);
            let old = "DELETE FROM known WHERE infohash BETWEEN ?1 AND ?2 AND why = ?3 AND at < ?4";
            conn.prepare_cached(old)?.execute(params![low, high, why as u8, before])?;
            let times_out = matches!(why, Reason::GivenUp | Reason::Evicted);
            let rows_max = if times_out { rows_max.min(self.rows.known) } else { rows_max };
            conn.prepare_cached(KNOWN_EXCESS)?.execute(params![low, high, why as u8, rows_max / SLICES])?;
        }
        let before = now.0.saturating_sub(PENDING_DAYS_MAX * DAY_SECS);
        let old = "DELETE FROM pending WHERE infohash BETWEEN ?1 AND ?2 AND max(first_seen, not_before) < ?3";
        conn.prepare_cached(old)?.execute(params![low, high, before])?;
        conn.prepare_cached(PENDING_EXCESS)?.execute(params![low, high, self.rows.pending / SLICES])?;
        if self.slice == 0 {
            histories(conn, now)?;
            super::undo::expire(conn, now)?;
        }
        self.slice = self.slice.wrapping_add(1);
        Ok(())
    }

    fn slice_start(&self) -> [u8; 20] {
        let mut low = [0; 20];
        low[0] = self.slice;
        low
    }

    fn slice_end(&self) -> [u8; 20] {
        let mut high = [0xff; 20];
        high[0] = self.slice;
        high
    }
}

/// Bytes in use: pages of the database that hold something, the WAL, the index.
pub fn used_bytes(conn: &Connection, db: &Path) -> rusqlite::Result<u64> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    let database = u64::try_from(pages * pragma("page_size")?).unwrap_or(0);
    let wal = std::fs::metadata(beside(db, "-wal")).map_or(0, |meta| meta.len());
    Ok(database + wal + folder_bytes(&beside(db, ".index")))
}

/// What an archive holds beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Bytes in use.
    pub used_bytes: u64,
    /// About how many torrents must go.
    pub torrents: u64,
    /// Torrents there are.
    pub torrents_all: u64,
}

impl super::Archive {
    /// By how much the archive is larger than `max` bytes; `None` if it is not.
    pub fn excess(&self, max: u64) -> Result<Option<Excess>, super::ArchiveError> {
        let used = used_bytes(self.conn(), self.db())?;
        if used <= max {
            return Ok(None);
        }
        let all = self.count("torrents")?;
        // In proportion, as if all were of one size.
        let share = u128::from(all) * u128::from(used - max) / u128::from(used.max(1));
        let torrents = u64::try_from(share).unwrap_or(all).saturating_add(1).min(all);
        Ok(Some(Excess { used_bytes: used, torrents, torrents_all: all }))
    }
}

/// How many rows of what is no torrent are kept: with a limit of the disk they leave torrents
/// three quarters of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsMax {
    /// Of `nodes`.
    pub nodes: u64,
    /// Of `pending`.
    pub pending: u64,
    /// Of `known` for each of the reasons that time out.
    pub known: u64,
}

impl RowsMax {
    /// For `disk_max` bytes in all.
    pub fn within(disk_max: Option<u64>) -> Self {
        let share = |parts: u64, rows: u64| disk_max.map_or(rows, |max| (max / parts / ROW_BYTES).min(rows));
        Self { nodes: share(12, NODES_MAX), pending: share(12, PENDING_MAX), known: share(24, u64::MAX) }
    }
}

/// Makes room: removes up to `count` torrents, those never heard of again and oldest first, then
/// the oldest. Their hashes stay known. Returns how many went. Run in a transaction.
pub fn evict(conn: &Connection, count: u32, now: UnixTime) -> rusqlite::Result<u32> {
    let mut gone = 0;
    for sql in [NEVER_AGAIN, OLDEST] {
        let mut select = conn.prepare_cached(sql)?;
        let ids: Vec<i64> = select.query_map([count - gone], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for id in ids {
            banish(conn, id, Reason::Evicted, now, None)?;
            gone += 1;
        }
        if gone >= count {
            break;
        }
    }
    Ok(gone)
}

/// The bytes of the files in a folder, 0 if there is none.
pub fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// The tables of seed 000, which other rooms fill.
fn histories(conn: &Connection, now: UnixTime) -> rusqlite::Result<()> {
    let before = now.0.saturating_sub(HISTORY_DAYS_MAX * DAY_SECS);
    for (table, time) in
        [("connections", "connected_at"), ("network_events", "timestamp"), ("dns_cache", "resolved_at")]
    {
        conn.execute(&format!("DELETE FROM {table} WHERE {time} < ?1"), [before])?;
        let excess = format!(
            "DELETE FROM {table} WHERE rowid <= (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1 OFFSET ?1)"
        );
        conn.execute(&excess, [HISTORY_ROWS_MAX])?;
    }
    answers::bound(conn, now)
}

/// Reason, rows, days. Given up: after three months a torrent may have peers again. Evicted: a
/// year. Refused and deleted: as long as there is room; that is some 50 bytes a row.
const KNOWN_BOUNDS: [(Reason, u64, u64); 4] = [
    (Reason::GivenUp, 10_000_000, 90),
    (Reason::Evicted, 10_000_000, 365),
    (Reason::Refused, 20_000_000, 36_500),
    (Reason::Deleted, 20_000_000, 36_500),
];

/// Hashes nobody had for a month are found again if they live again.
const PENDING_DAYS_MAX: u64 = 30;

/// Rows and days of `connections`, `network_events` and `dns_cache`.
const HISTORY_ROWS_MAX: u64 = 1_000_000;
const HISTORY_DAYS_MAX: u64 = 30;

const DAY_SECS: u64 = 86_400;

/// Of a row of `nodes`, `pending` or `known`, with what SQLite adds.
const ROW_BYTES: u64 = 80;

/// By the first byte of the hash.
const SLICES: u64 = 256;

const KNOWN_EXCESS: &str = "DELETE FROM known WHERE infohash IN (SELECT infohash FROM known \
    WHERE infohash BETWEEN ?1 AND ?2 AND why = ?3 ORDER BY at DESC LIMIT -1 OFFSET ?4)";

const PENDING_EXCESS: &str = "DELETE FROM pending WHERE infohash IN (SELECT infohash FROM pending \
    WHERE infohash BETWEEN ?1 AND ?2 ORDER BY first_seen DESC LIMIT -1 OFFSET ?3)";

const NEVER_AGAIN: &str = "SELECT id FROM torrents WHERE seen <= 0 ORDER BY id LIMIT ?1";
const OLDEST: &str = "SELECT id FROM torrents ORDER BY id LIMIT ?1";
