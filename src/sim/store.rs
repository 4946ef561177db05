//! An archive made of memory: acknowledges after a while, remembers what it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::InfoHash;
use crate::model::{Pending, Recovered, SavedId, SavedNode, Sighting, StoreOp, StoreResult, Torrent};

/// What one host has on its disk.
#[derive(Clone, Debug, Default)]
pub struct ModelStore {
    /// Torrents by infohash.
    pub torrents: BTreeMap<InfoHash, Torrent>,
    /// How often each was handed in.
    pub writes: u64,
    /// The last sighting of each torrent.
    pub seen: BTreeMap<InfoHash, Sighting>,
    pending: BTreeMap<InfoHash, Pending>,
    gone: BTreeSet<InfoHash>,
    nodes: Vec<SavedNode>,
    ids: Vec<SavedId>,
}

impl ModelStore {
    /// Applies an operation; what to answer, and how long that takes.
    pub(super) fn apply(&mut self, op: StoreOp) -> (StoreResult, Duration) {
        match op {
            StoreOp::Torrent(torrent) => {
                self.writes += 1;
                self.pending.remove(&torrent.infohash);
                self.torrents.insert(torrent.infohash, *torrent);
            }
            StoreOp::Pending(rows) => {
                self.pending.extend(rows.into_iter().map(|row| (row.infohash, row)));
            }
            StoreOp::GivenUp(hashes) => self.gone.extend(hashes),
            StoreOp::Dropped(drop) => {
                self.gone.insert(drop.infohash);
            }
            StoreOp::Nodes(nodes) => self.nodes = nodes,
            StoreOp::OwnId(id) => {
                self.ids.retain(|saved| saved.listen != id.listen);
                self.ids.push(id);
            }
            StoreOp::Seen(seen) => self.seen.extend(seen.into_iter().map(|seen| (seen.infohash, seen))),
            StoreOp::Setting(..) => {}
            StoreOp::Shutdown => return (StoreResult::Closed, COMMIT),
        }
        (StoreResult::Committed(1), COMMIT)
    }

    /// What the next start finds.
    pub fn recovered(&self) -> Recovered {
        let v2 = |torrent: &Torrent| torrent.v2.and_then(|v2| InfoHash::from_slice(&v2[..20]));
        let known = self.torrents.keys().copied().chain(self.torrents.values().filter_map(v2));
        Recovered {
            known: known.chain(self.gone.iter().copied()).collect(),
            pending: self.pending.values().copied().collect(),
            nodes: self.nodes.clone(),
            ids: self.ids.clone(),
            settings: Vec::new(),
            torrents: self.torrents.len() as u64,
        }
    }
}

/// The writer thread's batch.
const COMMIT: Duration = Duration::from_millis(200);
