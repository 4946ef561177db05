//! The archive: SQLite, written by one thread, and the search index derived from it.
//!
//! [`Store`] is the engine's side: operations in, results out, both bounded. [`Archive`] is for
//! whoever reads, in any process, and [`Keeper`] for what changes the archive while no engine
//! runs. One process at a time writes to a database.

mod answers;
mod apply;
pub mod archive;
pub mod bounds;
pub mod care;
pub mod category;
mod limits;
mod local;
mod pending;
pub mod recover;
pub mod row;
pub mod schema;
pub mod search;
mod squeeze;
pub mod undo;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub use archive::{Archive, ArchiveError, Found, Hit, Note, Numbers, Stored};
pub use care::{CheckReport, Keeper, Progress, restore};
pub use category::Category;
pub use pending::Retried;
pub use schema::OpenError;
pub use search::{IndexError, Query, Scope, Sort};
pub use undo::{UNDO_DAYS, Undone};

use crate::model::archive::{QUEUE_OPS, has_room};
use crate::model::{Recovered, StoreOp, StoreResult};

/// How the archive is kept. `Default` holds the defaults of the command line.
pub struct StoreConfig {
    /// The database file; the index lies beside it in `<db>.index`.
    pub db: PathBuf,
    /// Commit after this many operations.
    pub commit_rows: u32,
    /// Commit this many milliseconds after the first operation that is not committed.
    pub commit_ms: u64,
    /// Keep raw info dictionaries (`--keep info`).
    pub keep_info: bool,
    /// Most bytes that database, WAL and index may take together.
    pub disk_max: Option<u64>,
    /// How long an archive that is larger than that when it is opened stays as it is: time to stop
    /// the program, should the limit be a mistake.
    pub eviction_grace: Duration,
    /// Say [`StoreResult::DiskLow`] when less is free.
    pub disk_free_min: Option<u64>,
    /// Move the WAL into the file when it has this many bytes.
    pub checkpoint_bytes: u64,
    /// Feed the search index.
    pub search: bool,
    /// Commit the search index after this many torrents, if ten seconds do not pass before.
    pub index_rows: u32,
    /// Bytes free on the file system that holds a path; `None` if that cannot be told.
    pub free_bytes: FreeBytes,
}

/// Asks the system how many bytes are free where a path lies.
pub type FreeBytes = Box<dyn Fn(&Path) -> Option<u64> + Send>;

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            db: PathBuf::from("dht-hunter.db"),
            commit_rows: 1_000,
            commit_ms: 200,
            keep_info: false,
            disk_max: None,
            eviction_grace: EVICTION_GRACE,
            disk_free_min: None,
            checkpoint_bytes: 16 << 20,
            search: cfg!(feature = "search"),
            index_rows: 50_000,
            free_bytes: Box::new(|_| None),
        }
    }
}

/// The writer thread as the engine's driver sees it.
pub struct Store {
    ops: Option<SyncSender<StoreOp>>,
    results: Option<Receiver<StoreResult>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// [`StoreResult::Closed`] was said.
    closed: bool,
}

/// What both sides look at.
#[derive(Default)]
struct Shared {
    /// `wake` was called and nobody polled since.
    woken: AtomicBool,
    /// Bytes of torrents, zones and lists handed in and not committed.
    bytes: AtomicU64,
    /// Torrents that made room since the start.
    evicted: AtomicU64,
}

impl Store {
    /// Opens or creates the database, reads what it remembers, starts the writer thread. `wake`
    /// is called from that thread when there is something to [`Store::poll`].
    pub fn open(
        mut config: StoreConfig,
        wake: impl Fn() + Send + 'static,
    ) -> Result<(Self, Recovered), OpenError> {
        config.db = schema::canonical(&config.db);
        let (conn, lock) = schema::open_writer(&config.db)?;
        let recovered = recover::load(&conn, writer::unix_now()).map_err(|error| {
            log::error!("cannot read the archive: {error}");
            schema::fault(&error)
        })?;
        let (ops, ops_in) = sync_channel(QUEUE_OPS);
        let (results_out, results) = sync_channel(RESULTS_MAX);
        let shared = Arc::new(Shared::default());
        let notice =
            writer::Notice { results: results_out, shared: Arc::clone(&shared), wake: Box::new(wake) };
        let writer = writer::Writer::new(conn, lock, config).map_err(|error| schema::fault(&error))?;
        let thread =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(&ops_in, &notice));
        let thread = thread.map_err(|error| {
            log::error!("cannot start the archive's thread: {error}");
            OpenError::Other
        })?;
        Ok((
            Self { ops: Some(ops), results: Some(results), shared, thread: Some(thread), closed: false },
            recovered,
        ))
    }

    /// Hands an operation to the writer thread; gives it back if too much waits already, or
    /// after [`StoreOp::Shutdown`].
    pub fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        let Some(ops) = &self.ops else { return Err(op) };
        let bytes = op.weight();
        let waiting = self.shared.bytes.load(Ordering::Relaxed);
        // The channel counts the operations.
        if !has_room(0, waiting, bytes) {
            return Err(op);
        }
        let last = matches!(op, StoreOp::Shutdown);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        match ops.try_send(op) {
            Ok(()) if last => self.ops = None,
            Ok(()) => {}
            Err(TrySendError::Full(op) | TrySendError::Disconnected(op)) => {
                self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Err(op);
            }
        }
        Ok(())
    }

    /// The next result, if there is one.
    pub fn poll(&mut self) -> Option<StoreResult> {
        let results = self.results.as_ref()?;
        match results.try_recv() {
            Ok(result) => {
                self.closed |= result == StoreResult::Closed;
                return Some(result);
            }
            Err(TryRecvError::Disconnected) => {
                // Also after a panic, which never said so: nobody shall wait for it in vain.
                self.results = None;
                return (!std::mem::replace(&mut self.closed, true)).then_some(StoreResult::Closed);
            }
            Err(TryRecvError::Empty) => {}
        }
        // Looked at once more after the flag: what came in between would have no wake of its own.
        self.shared.woken.store(false, Ordering::SeqCst);
        let result = results.try_recv().ok();
        self.closed |= result == Some(StoreResult::Closed);
        result
    }

    /// Commits what was handed in and waits until the thread has ended. Results that were not
    /// polled are dropped. Returns how many torrents made room since it was opened.
    pub fn close(mut self) -> u64 {
        self.end();
        self.shared.evicted.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.ops = None;
        // The writer may wait for room among the results.
        while let Some(Ok(_)) = self.results.as_ref().map(Receiver::recv) {}
        self.results = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the archive's thread ended with a panic");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

/// Long enough to read a line and press Ctrl-C.
pub const EVICTION_GRACE: Duration = Duration::from_secs(10);

/// A batch gives one result, so this is never reached by a driver that polls each turn.
const RESULTS_MAX: usize = 256;

#[cfg(test)]
mod tests;
