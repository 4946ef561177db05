//! What goes into the archive and comes back from it.

use std::net::{IpAddr, SocketAddr};

use super::dns::{LocalOp, SavedAnswer, SavedLocal};
use super::torrent::Torrent;
use crate::base::{InfoHash, NodeId, UnixTime};

/// One thing for the writer thread to do. Applied in the order handed in; acknowledged by a
/// [`StoreResult`] after the transaction that holds it is durable in the WAL.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// A new torrent, or one that was known by its other hash: rows are merged.
    Torrent(Box<Torrent>),
    /// Torrents in the archive that were heard of again.
    Seen(Vec<Sighting>),
    /// Hashes that wait to be fetched, inserted or brought up to date.
    Pending(Vec<Pending>),
    /// Hashes that no longer wait because they were given up; their key stays known.
    GivenUp(Vec<InfoHash>),
    /// A torrent that the filter refused: never stored, kept as known with its rule.
    Dropped(Drop),
    /// All verified nodes worth keeping, in place of those saved before.
    Nodes(Vec<SavedNode>),
    /// The node id used on a listen address.
    OwnId(SavedId),
    /// What names were found to have.
    Answers(Vec<SavedAnswer>),
    /// Local zones and policy.
    Local(Box<LocalOp>),
    /// A value that must survive a restart.
    Setting(&'static str, String),
    /// Commit what is there now, and close.
    Shutdown,
}

impl StoreOp {
    /// Bytes that it counts for against [`QUEUE_BYTES`].
    pub fn weight(&self) -> u64 {
        match self {
            Self::Torrent(torrent) => (torrent.raw.len() + torrent.files.packed().len()) as u64,
            Self::Local(op) => op.bytes() as u64,
            Self::Seen(_)
            | Self::Pending(_)
            | Self::GivenUp(_)
            | Self::Dropped(_)
            | Self::Nodes(_)
            | Self::OwnId(_)
            | Self::Answers(_)
            | Self::Setting(..)
            | Self::Shutdown => 0,
        }
    }
}

/// Whether the archive's queue takes one more operation: the engine hands over no more, and the archive
/// has room for as many.
pub fn has_room(ops: usize, bytes: u64, weight: u64) -> bool {
    ops < QUEUE_OPS && (weight == 0 || bytes == 0 || bytes + weight <= QUEUE_BYTES)
}

/// Operations that the archive has not acknowledged, at most: four batches of the default size.
pub const QUEUE_OPS: usize = 4_096;

/// Bytes of torrents, zones and lists among them: four of the largest torrents (16 MiB), or ten thousand
/// of the usual ones.
pub const QUEUE_BYTES: u64 = 64 << 20;

/// What became of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreResult {
    /// This many operations, in the order handed in, are durable.
    Committed(u32),
    /// This many operations were lost, and why; the engine goes on and says so.
    Failed(u32, StoreFault),
    /// Too little disk is left: fetching pauses (true) or goes on (false).
    DiskLow(bool),
    /// The answer to [`StoreOp::Shutdown`].
    Closed,
}

/// Why operations were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// No space is left on the device.
    DiskFull,
    /// The file cannot be written.
    ReadOnly,
    /// SQLite found the file damaged.
    Corrupt,
    /// Anything else; the log has the words.
    Other,
}

/// A torrent heard of again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which.
    pub infohash: InfoHash,
    /// When.
    pub at: UnixTime,
    /// Estimate of seeds, if it was scraped (BEP 33).
    pub seeders: Option<u32>,
    /// Estimate of peers that are not seeds, or peers counted.
    pub leechers: Option<u32>,
}

/// A hash that waits, as it survives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub infohash: InfoHash,
    /// When it was first heard of.
    pub first_seen: UnixTime,
    /// How often fetching was tried.
    pub tries: u16,
    /// Not to be tried before this.
    pub not_before: UnixTime,
    /// Why it waits.
    pub state: PendingState,
}

/// Why a hash waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// Not tried yet.
    New,
    /// Nobody with it was found.
    NoPeers,
    /// Peers were found, none answered well.
    PeersFailed,
}

/// A torrent that the filter caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Which.
    pub infohash: InfoHash,
    /// The rule, word for word; when it is removed the hash becomes free again.
    pub rule: String,
    /// When.
    pub at: UnixTime,
}

/// A node worth asking first at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedNode {
    /// Its id when it last answered.
    pub id: NodeId,
    /// Where.
    pub addr: SocketAddr,
    /// When it last answered.
    pub answered: UnixTime,
    /// BEP 51: not to be sampled before this.
    pub sample_after: UnixTime,
}

/// The id that a listen address had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedId {
    /// As given on the command line; wildcard addresses too.
    pub listen: IpAddr,
    /// The id.
    pub id: NodeId,
}

/// What the archive remembers from before, read once at start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Every hash that is not to be fetched (again): stored (under both its hashes), dropped or
    /// deleted.
    pub known: Vec<InfoHash>,
    /// Hashes that were given up: fetched only if a new peer announces itself.
    pub given_up: Vec<InfoHash>,
    /// Hashes that still wait.
    pub pending: Vec<Pending>,
    /// Verified nodes, the best first.
    pub nodes: Vec<SavedNode>,
    /// Own ids.
    pub ids: Vec<SavedId>,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
    /// What names were found to have, the newest first.
    pub answers: Vec<SavedAnswer>,
    /// Local zones and policy.
    pub local: SavedLocal,
    /// Torrents stored.
    pub torrents: u64,
}
