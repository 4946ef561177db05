//! The writer thread: batches into transactions, what is committed into the index, and upkeep.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode};

use super::apply::{Apply, next_id};
use super::bounds::{RowsMax, Sweeper, evict, used_bytes};
use super::schema::{WriterLock, beside, settle};
use super::search::Entry;
use super::search::index::Indexer;
use super::{Shared, StoreConfig, archive, undo};
use crate::base::UnixTime;
use crate::model::archive::StoreFault;
use crate::model::{StoreOp, StoreResult};

/// The way back to the engine.
pub struct Notice {
    pub results: SyncSender<StoreResult>,
    pub shared: Arc<Shared>,
    pub wake: Box<dyn Fn() + Send>,
}

/// Owns the connection that writes.
pub struct Writer {
    conn: Connection,
    config: StoreConfig,
    apply: Apply,
    feed: Feed,
    sweeper: Sweeper,
    batch: Batch,
    room: Room,
    tick_at: Instant,
    _lock: WriterLock,
}

/// Whether there is room for more.
struct Room {
    /// The archive was larger than its limit when it was opened: nothing goes before this.
    evict_from: Option<Instant>,
    /// It is larger than its limit, and eviction does not help, or not yet.
    over: bool,
    /// The file system is nearly full.
    free_low: bool,
    /// What was told of the two.
    told: bool,
}

/// What the open transaction holds.
#[derive(Default)]
struct Batch {
    ops: u32,
    bytes: u64,
    since: Option<Instant>,
    fresh: Vec<Entry>,
}

/// The index as the writer feeds it.
struct Feed {
    indexer: Option<Indexer>,
    /// Rows up to this id were handed to the index.
    added: i64,
    /// Rows after `added` may be in the table already.
    behind: bool,
    /// Documents handed over since the last commit.
    open: u32,
    commit_at: Instant,
}

impl Writer {
    /// Ready to run. A search index that cannot be opened is no reason not to.
    pub fn new(conn: Connection, lock: WriterLock, config: StoreConfig) -> rusqlite::Result<Self> {
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let page_size: u64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
        conn.pragma_update(None, "wal_autocheckpoint", (config.checkpoint_bytes / page_size).max(1))?;
        let rows = RowsMax::within(config.disk_max);
        let apply = Apply::new(&conn, (config.keep_info, config.search), rows.nodes)?;
        let feed = Feed::open(&conn, &config)?;
        let now = Instant::now();
        let over = config.disk_max.map(|max| Ok::<_, rusqlite::Error>(used_bytes(&conn, &config.db)? > max));
        let over = over.transpose()?.unwrap_or(false);
        let evict_from = over.then(|| now + config.eviction_grace);
        Ok(Self {
            conn,
            config,
            apply,
            feed,
            sweeper: Sweeper::new(rows),
            batch: Batch::default(),
            room: Room { evict_from, over: false, free_low: false, told: false },
            tick_at: now,
            _lock: lock,
        })
    }

    /// Works until the other side is gone or says [`StoreOp::Shutdown`].
    pub fn run(mut self, ops: &Receiver<StoreOp>, notice: &Notice) {
        loop {
            match self.next(ops) {
                Next::Op(StoreOp::Shutdown) | Next::Gone => break,
                Next::Op(op) => self.take(&op, notice),
                Next::Nothing => {}
            }
            if self.batch_is_due() {
                self.commit(notice);
            }
            self.upkeep(notice);
        }
        self.commit(notice);
        self.feed_index(CLOSING_ROWS);
        self.commit_index();
        // Merges under way are abandoned, not waited for: they may take long, and cost nothing.
        self.feed.indexer = None;
        let _ = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;");
        drop(self);
        notice.say(StoreResult::Closed);
    }

    /// The next operation. With a batch open the queue is looked at every few milliseconds
    /// instead of waiting in it, so that the engine's thread need not wake this one each time.
    fn next(&mut self, ops: &Receiver<StoreOp>) -> Next {
        match ops.try_recv() {
            Ok(op) => return Next::Op(op),
            Err(TryRecvError::Disconnected) => return Next::Gone,
            Err(TryRecvError::Empty) => {}
        }
        if self.batch.since.is_some() {
            std::thread::sleep(NAP.min(Duration::from_millis(self.config.commit_ms)));
            return Next::Nothing;
        }
        if self.feed_index(CATCH_UP_ROWS) {
            return Next::Nothing;
        }
        match ops.recv_timeout(self.tick_at.saturating_duration_since(Instant::now())) {
            Ok(op) => Next::Op(op),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    }

    fn take(&mut self, op: &StoreOp, notice: &Notice) {
        self.batch.ops += 1;
        self.batch.bytes += op.weight();
        let done = self.begin().and_then(|()| self.apply.apply(&self.conn, op, unix_now()));
        match done {
            Ok(entry) => self.batch.fresh.extend(entry),
            Err(error) => self.lose(&error, notice),
        }
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.batch.since.is_none() {
            self.conn.execute_batch("BEGIN IMMEDIATE")?;
            self.batch.since = Some(Instant::now());
        }
        Ok(())
    }

    fn batch_is_due(&self) -> bool {
        let Some(since) = self.batch.since else { return false };
        self.batch.ops >= self.config.commit_rows
            || self.batch.bytes >= BATCH_BYTES_MAX
            || since.elapsed() >= Duration::from_millis(self.config.commit_ms)
    }

    fn commit(&mut self, notice: &Notice) {
        if self.batch.since.is_none() {
            return;
        }
        if let Err(error) = self.conn.execute_batch("COMMIT") {
            return self.lose(&error, notice);
        }
        let batch = std::mem::take(&mut self.batch);
        self.hand_to_index(batch.fresh);
        notice.shared.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        notice.say(StoreResult::Committed(batch.ops));
    }

    /// Undoes the batch and says so; the next one begins afresh.
    fn lose(&mut self, error: &rusqlite::Error, notice: &Notice) {
        // Whoever handed them over says what that means.
        log::debug!("{} operations on the archive were lost: {error}", self.batch.ops);
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        if let Err(error) = self.apply.undone(&self.conn) {
            log::error!("cannot read the archive: {error}");
        }
        let batch = std::mem::take(&mut self.batch);
        notice.shared.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        notice.say(StoreResult::Failed(batch.ops, store_fault(error)));
    }

    /// Rows that were just committed, unless earlier ones are still missing in the index: then
    /// they come in their turn, from the table.
    fn hand_to_index(&mut self, fresh: Vec<Entry>) {
        if self.feed.behind {
            // Faster than rows come in, or it would never catch up under load.
            self.feed_index(2 * fresh.len() as u32 + CATCH_UP_ROWS);
        } else {
            fresh.into_iter().for_each(|entry| self.add(entry));
        }
    }

    fn add(&mut self, entry: Entry) {
        let id = entry.id;
        let Some(indexer) = &mut self.feed.indexer else { return };
        match indexer.add(entry) {
            Ok(()) => {
                self.feed.added = id;
                self.feed.open += 1;
            }
            Err(_) => self.give_index_up(),
        }
    }

    /// Without an index the archive goes on; what is missing is made up for later.
    fn give_index_up(&mut self) {
        log::error!("the search index cannot be written for now; it will catch up");
        self.feed.indexer = None;
        self.feed.commit_at = Instant::now() + INDEX_RETRY;
    }

    /// After trouble, such as a full disk, begins again where the index was committed last.
    fn reopen_index(&mut self) {
        self.feed.commit_at = Instant::now() + INDEX_RETRY;
        match Feed::open(&self.conn, &self.config) {
            Ok(feed) if feed.indexer.is_some() => self.feed = feed,
            Ok(_) => {}
            Err(error) => log::error!("cannot read the archive: {error}"),
        }
    }

    /// Brings the index closer to the table by at most `rows`; true if it is still behind.
    fn feed_index(&mut self, rows: u32) -> bool {
        if self.feed.indexer.is_none() || !self.feed.behind {
            return false;
        }
        match archive::entries_after(&self.conn, self.feed.added, rows) {
            Ok(entries) => {
                self.feed.behind = entries.len() == rows as usize;
                entries.into_iter().for_each(|entry| self.add(entry));
            }
            Err(error) => {
                log::error!("cannot read the archive: {error}");
                self.give_index_up();
            }
        }
        self.feed.behind && self.feed.indexer.is_some()
    }

    /// Commits the index, rows that changed or went included.
    fn commit_index(&mut self) {
        self.feed.commit_at = Instant::now() + INDEX_COMMIT;
        let stale = match archive::stale(&self.conn, STALE_ROWS) {
            Ok(stale) => stale,
            Err(error) => return log::error!("cannot read the archive: {error}"),
        };
        let Some(indexer) = &mut self.feed.indexer else { return };
        if self.feed.open == 0 && stale.is_empty() {
            return;
        }
        let done = settle(&self.conn).map_err(|error| {
            log::error!("cannot write the archive: {error}");
            super::IndexError::Failed
        });
        let done = done
            .and_then(|()| refresh(&self.conn, indexer, &stale, self.feed.added))
            .and_then(|()| indexer.commit(self.feed.added));
        if done.is_err() {
            return self.give_index_up();
        }
        self.feed.open = 0;
        if let Err(error) = archive::unstale(&mut self.conn, &stale) {
            log::error!("cannot write the archive: {error}");
        }
    }

    /// Once a second, between batches.
    fn upkeep(&mut self, notice: &Notice) {
        let now = Instant::now();
        if self.batch.since.is_some() || now < self.tick_at && self.feed.open < self.config.index_rows {
            return;
        }
        if now >= self.feed.commit_at || self.feed.open >= self.config.index_rows {
            match self.feed.indexer {
                Some(_) => self.commit_index(),
                None if self.config.search && cfg!(feature = "search") => self.reopen_index(),
                None => {}
            }
        }
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        self.watch_free_space();
        if let Err(error) = self.keep_bounds(notice) {
            log::warn!("upkeep of the archive: {error}");
        }
        let low = self.room.over || self.room.free_low;
        if std::mem::replace(&mut self.room.told, low) != low {
            notice.say(StoreResult::DiskLow(low));
        }
    }

    fn watch_free_space(&mut self) {
        let Some(min) = self.config.disk_free_min else { return };
        let Some(free) = (self.config.free_bytes)(&self.config.db) else { return };
        // Some more must be free before it counts as enough, or it would go to and fro.
        self.room.free_low = if self.room.free_low { free < min + min / 16 } else { free < min };
    }

    fn keep_bounds(&mut self, notice: &Notice) -> rusqlite::Result<()> {
        let now = unix_now();
        let tx = self.conn.transaction()?;
        self.sweeper.step(&tx, now)?;
        tx.commit()?;
        let Some(max) = self.config.disk_max else { return Ok(()) };
        if used_bytes(&self.conn, &self.config.db)? > max {
            // What the WAL holds is in the file as well, or soon.
            self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        }
        let used = used_bytes(&self.conn, &self.config.db)?;
        if used <= max {
            (self.room.over, self.room.evict_from) = (false, None);
            return Ok(());
        }
        if self.room.evict_from.is_some_and(|at| Instant::now() < at) {
            self.room.over = true;
            return Ok(());
        }
        let gone = self.make_room(notice)?;
        // A little beyond is usual while it grows; far beyond, nothing more is to be fetched.
        self.room.over = gone == 0 || used - max > max / OVER_SHARE;
        Ok(())
    }

    /// Evicts some torrents, after what was deleted and could still be brought back. Returns how
    /// many rows went.
    fn make_room(&mut self, notice: &Notice) -> rusqlite::Result<u64> {
        let count: u32 = self.conn.query_row("SELECT count(*) FROM torrents", [], |row| row.get(0))?;
        let tx = self.conn.transaction()?;
        let forgotten = undo::forget_some(&tx, EVICT_MAX)? as u64;
        let gone = match forgotten {
            0 => evict(&tx, (count / 100).clamp(EVICT_MIN, EVICT_MAX), unix_now())?,
            _ => 0,
        };
        tx.commit()?;
        if gone > 0 {
            notice.shared.evicted.fetch_add(u64::from(gone), Ordering::Relaxed);
            log::info!("{gone} torrents made room in the archive");
        }
        if gone > 0 || forgotten > 0 {
            self.conn.execute_batch("PRAGMA incremental_vacuum(4096); PRAGMA wal_checkpoint(TRUNCATE);")?;
        }
        Ok(u64::from(gone) + forgotten)
    }
}

impl Feed {
    fn open(conn: &Connection, config: &StoreConfig) -> rusqlite::Result<Self> {
        let top = next_id(conn)? - 1;
        let dir = beside(&config.db, ".index");
        let opened = if config.search { Indexer::open(&dir, top).ok() } else { None };
        let (indexer, added) = opened.map_or((None, 0), |(indexer, last)| (Some(indexer), last));
        let behind = !archive::entries_after(conn, added, 1)?.is_empty();
        Ok(Self { indexer, added, behind, open: 0, commit_at: Instant::now() + INDEX_COMMIT })
    }
}

impl Notice {
    /// Tells the engine, and wakes it unless it was already. Waits if it does not listen.
    pub fn say(&self, result: StoreResult) {
        if self.results.send(result).is_ok() && !self.shared.woken.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

enum Next {
    Op(StoreOp),
    Nothing,
    Gone,
}

/// Takes stale rows out of the index, and those that still exist back in.
pub fn refresh(
    conn: &Connection,
    indexer: &mut Indexer,
    stale: &[i64],
    added: i64,
) -> Result<(), super::IndexError> {
    if stale.is_empty() {
        return Ok(());
    }
    indexer.remove(stale.to_vec())?;
    let entries = archive::entries_of(conn, stale).map_err(|error| {
        log::error!("cannot read the archive: {error}");
        super::IndexError::Failed
    })?;
    entries.into_iter().filter(|entry| entry.id <= added).try_for_each(|entry| indexer.add(entry))
}

/// The wall clock, for what is dated in the archive.
pub fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn store_fault(error: &rusqlite::Error) -> StoreFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreFault::DiskFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreFault::ReadOnly
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreFault::Corrupt,
        _ => StoreFault::Other,
    }
}

/// Every statement of this room, twice over.
const STATEMENTS_MAX: usize = 64;

/// How long the queue is left alone while a batch is open; far below the time to commit.
const NAP: Duration = Duration::from_millis(4);

/// A batch of large torrents is committed early: it is held in memory until then.
const BATCH_BYTES_MAX: u64 = 16 << 20;

/// How often the index is committed, if not for the number of its documents.
const INDEX_COMMIT: Duration = Duration::from_secs(10);

/// How long an index that could not be written is left alone.
const INDEX_RETRY: Duration = Duration::from_secs(60);

/// Rows indexed at a time while catching up: some 20 ms.
const CATCH_UP_ROWS: u32 = 500;

/// Rows indexed before closing: what came in since the last commit, not years of arrears.
const CLOSING_ROWS: u32 = 5_000;

/// Changed rows indexed anew with one commit.
const STALE_ROWS: u32 = 5_000;

/// How often upkeep comes.
const TICK: Duration = Duration::from_secs(1);

/// Nothing is fetched while the archive is larger than its limit by this share of it.
const OVER_SHARE: u64 = 16;

/// Torrents that make room in one go: a hundredth of all, within these.
const EVICT_MIN: u32 = 100;
const EVICT_MAX: u32 = 2_000;
