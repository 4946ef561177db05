//! What goes to the archive, and what of it is not acknowledged yet: torrents have credits, so
//! that a slow disk stops new work instead of growing a queue.

use std::collections::VecDeque;

use crate::base::InfoHash;
use crate::model::archive::{QUEUE_BYTES, QUEUE_OPS, StoreFault, has_room};
use crate::model::dns::{LocalOp, SavedAnswer};
use crate::model::{Pending, SavedNode, Sighting, StoreOp, StoreResult, Torrent};

/// Operations that wait for the driver, and those that the archive has not acknowledged.
pub(super) struct Persist {
    waiting: VecDeque<(Lane, StoreOp)>,
    /// Lanes and weights of what was handed over, in that order: no more than the archive's queue takes.
    unacknowledged: VecDeque<(Lane, u64)>,
    /// The sum of those weights.
    bytes_handed: u64,
    torrents_open: usize,
    /// Bytes of those torrents.
    bytes_open: u64,
    pending: Vec<Pending>,
    given_up: Vec<InfoHash>,
    seen: Vec<Sighting>,
    pub(super) disk_low: bool,
    /// A write failed for want of space.
    pub(super) disk_full: bool,
    disk_full_said: bool,
    pub(super) stored: u64,
    pub(super) failed: u64,
    pub(super) closed: bool,
    /// What became of operations of [`Lane::Local`], in their order: true if they are durable.
    local: VecDeque<bool>,
    /// The shutdown was handed in: the archive takes nothing after it.
    shutting: bool,
    /// The last of everything is being gathered.
    closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Control,
    /// Somebody may wait until it is durable.
    Local,
    /// The saved nodes: the next ones wait until these are written.
    Nodes,
    /// A torrent that makes a row, and its size.
    New(InfoHash, u64),
    /// A torrent that the archive has under its other hash.
    Merge(InfoHash, u64),
}

impl Persist {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            bytes_handed: 0,
            torrents_open: 0,
            bytes_open: 0,
            pending: Vec::new(),
            given_up: Vec::new(),
            seen: Vec::new(),
            disk_low: false,
            disk_full: false,
            disk_full_said: false,
            stored: 0,
            failed: 0,
            closed: false,
            local: VecDeque::new(),
            shutting: false,
            closing: false,
        }
    }

    /// Whether another torrent may be fetched as far as the archive is concerned.
    pub(super) fn has_credit(&self) -> bool {
        self.torrents_open < TORRENT_CREDITS
            && self.bytes_open < QUEUE_BYTES
            && !self.disk_low
            && !self.disk_full
            && !self.is_behind()
    }

    fn is_behind(&self) -> bool {
        self.waiting.len() + self.unacknowledged.len() >= QUEUE_OPS
    }

    /// A torrent; `merges` if the archive has it under its other hash already.
    pub(super) fn torrent(&mut self, torrent: Box<Torrent>, merges: bool) {
        self.torrents_open += 1;
        let (hash, lane) = (torrent.infohash, if merges { Lane::Merge } else { Lane::New });
        let op = StoreOp::Torrent(torrent);
        let bytes = op.weight();
        self.bytes_open += bytes;
        self.hand_in(lane(hash, bytes), op);
    }

    /// Bookkeeping that is never shed; the engine's own timers bound how often it comes.
    pub(super) fn control(&mut self, op: StoreOp) {
        self.hand_in(Lane::Control, op);
    }

    /// Local zones and policy; [`Persist::pop_local`] tells what became of it. False if the archive
    /// takes nothing any more, or is so far behind that it must be asked again later.
    pub(super) fn local(&mut self, op: Box<LocalOp>) -> bool {
        if self.waiting.len() >= 2 * QUEUE_OPS {
            return false;
        }
        self.hand_in(Lane::Local, StoreOp::Local(op));
        !self.shutting
    }

    /// What became of the first local operation of which it was not told yet: true if it is durable.
    pub(super) fn pop_local(&mut self) -> Option<bool> {
        self.local.pop_front()
    }

    /// The verified nodes, unless those handed over before are still being written.
    pub(super) fn nodes(&mut self, nodes: Vec<SavedNode>) {
        let waits = self.waiting.iter().any(|(lane, _)| *lane == Lane::Nodes);
        if !nodes.is_empty() && !waits && !self.unacknowledged.iter().any(|(lane, _)| *lane == Lane::Nodes) {
            self.hand_in(Lane::Nodes, StoreOp::Nodes(nodes));
        }
    }

    /// What names have; shed when the archive is behind, since it can be asked for again.
    pub(super) fn answers(&mut self, answers: Vec<SavedAnswer>) {
        if !answers.is_empty() && !self.is_behind() {
            self.control(StoreOp::Answers(answers));
        }
    }

    /// A hash that waits; shed when the archive is behind, since it is known here as long as it
    /// waits and will be heard of again.
    pub(super) fn pending(&mut self, row: Pending) {
        if !self.is_behind() {
            self.pending.push(row);
        }
    }

    /// A hash that waits no more; shed when the archive is behind, where it goes on waiting then and is
    /// given up again after the next start.
    pub(super) fn given_up(&mut self, hash: InfoHash) {
        if self.given_up.len() < BATCH || !self.is_behind() {
            self.given_up.push(hash);
        }
    }

    /// The last of everything is handed in from now on, however far the archive is behind.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// A hash that was given up waits again.
    pub(super) fn taken_up(&mut self, hash: &InfoHash) {
        self.given_up.retain(|other| other != hash);
    }

    /// So much was gathered that it is to be handed over now.
    pub(super) fn has_batch(&self) -> bool {
        self.pending.len().max(self.given_up.len()) >= BATCH
    }

    /// A sighting; shed when the archive is behind, since it will be seen again.
    pub(super) fn seen(&mut self, sighting: Sighting) {
        if self.seen.len() < BATCH {
            self.seen.push(sighting);
        }
    }

    /// Hands over what was gathered. Rows of hashes that are `settled` by now are not: they would
    /// wait again in the archive, behind the torrent that was handed over before them.
    pub(super) fn flush(&mut self, settled: impl Fn(&InfoHash) -> bool) {
        if self.is_behind() && !self.closing {
            return;
        }
        let mut rows = std::mem::take(&mut self.pending);
        rows.retain(|row| !settled(&row.infohash));
        if !rows.is_empty() {
            self.control(StoreOp::Pending(rows));
        }
        if !self.given_up.is_empty() {
            let rows = std::mem::take(&mut self.given_up);
            self.control(StoreOp::GivenUp(rows));
        }
        if !self.seen.is_empty() && self.waiting.len() < BATCH {
            let rows = std::mem::take(&mut self.seen);
            self.control(StoreOp::Seen(rows));
        }
    }

    /// The next operation for the driver, if the archive's queue has room for it.
    pub(super) fn poll(&mut self) -> Option<StoreOp> {
        let weight = self.waiting.front()?.1.weight();
        if self.closed || !has_room(self.unacknowledged.len(), self.bytes_handed, weight) {
            return None;
        }
        let (lane, op) = self.waiting.pop_front()?;
        self.unacknowledged.push_back((lane, weight));
        self.bytes_handed += weight;
        Some(op)
    }

    /// What the archive says. Returns the torrents that it lost, to be fetched again.
    pub(super) fn on_result(&mut self, result: StoreResult) -> Vec<InfoHash> {
        let mut lost = Vec::new();
        match result {
            StoreResult::Committed(count) => {
                let torrents = self.acknowledge(count, true);
                self.stored += torrents.iter().filter(|(_, new)| *new).count() as u64;
                if !torrents.is_empty() && !self.disk_full && std::mem::take(&mut self.disk_full_said) {
                    log::info!("there is room again on the disk: fetching goes on");
                }
            }
            StoreResult::Failed(count, fault) => {
                lost = self.acknowledge(count, false).into_iter().map(|(infohash, _)| infohash).collect();
                self.failed += lost.len() as u64;
                if fault == StoreFault::DiskFull {
                    self.on_disk_full();
                } else {
                    let torrents = lost.len();
                    log::error!("the archive lost {count} operations ({torrents} torrents): {fault:?}");
                }
            }
            StoreResult::DiskLow(low) => self.on_disk_low(low),
            StoreResult::Closed => {
                // The shutdown itself is acknowledged by this, not by a commit.
                self.closed = true;
                self.unacknowledged.clear();
                self.bytes_handed = 0;
            }
        }
        lost
    }

    /// Time to see whether a full disk has room again.
    pub(super) fn try_disk(&mut self) {
        self.disk_full = false;
    }

    fn on_disk_full(&mut self) {
        self.disk_full = true;
        if !std::mem::replace(&mut self.disk_full_said, true) {
            log::error!(
                "the disk is full: what was written is safe, and nothing is fetched until there is room"
            );
        }
    }

    fn on_disk_low(&mut self, low: bool) {
        match (self.disk_low, low) {
            (false, true) => {
                log::warn!("less space than --disk-free-min is left: nothing is fetched until there is more")
            }
            (true, false) => log::info!("there is room again on the disk: fetching goes on"),
            _ => {}
        }
        self.disk_low = low;
    }

    /// Nothing waits and everything was acknowledged.
    pub(super) fn is_drained(&self) -> bool {
        self.waiting.is_empty() && self.unacknowledged.is_empty()
    }

    fn hand_in(&mut self, lane: Lane, op: StoreOp) {
        if !self.shutting {
            self.shutting = matches!(op, StoreOp::Shutdown);
            self.waiting.push_back((lane, op));
        }
    }

    /// The torrents among the oldest `count` operations; true if it is a new one.
    fn acknowledge(&mut self, count: u32, durable: bool) -> Vec<(InfoHash, bool)> {
        let mut torrents = Vec::new();
        for _ in 0..count {
            let acknowledged = self.unacknowledged.pop_front();
            self.bytes_handed -= acknowledged.map_or(0, |(_, weight)| weight);
            match acknowledged.map(|(lane, _)| lane) {
                Some(Lane::New(infohash, bytes)) => {
                    torrents.push((infohash, true));
                    self.bytes_open -= bytes;
                }
                Some(Lane::Merge(infohash, bytes)) => {
                    torrents.push((infohash, false));
                    self.bytes_open -= bytes;
                }
                Some(Lane::Local) => self.local.push_back(durable),
                Some(Lane::Control | Lane::Nodes) | None => {}
            }
        }
        self.torrents_open -= torrents.len();
        torrents
    }
}

/// Two full batches of the writer (`--commit-rows` is 1,000): one being written while the next is
/// gathered.
const TORRENT_CREDITS: usize = 2_000;
/// Rows of bookkeeping in one operation.
const BATCH: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Id, Rng, UnixTime};
    use crate::model::PendingState;

    /// Found by fuzzing: timers went on saving while the archive closed, and what was handed in
    /// behind the shutdown was never acknowledged.
    #[test]
    fn nothing_follows_the_shutdown() {
        let mut persist = Persist::new();
        persist.control(StoreOp::Shutdown);
        persist.control(StoreOp::Setting("x", String::new()));
        persist.given_up(Id::random(&mut Rng::seeded(1)));
        persist.flush(|_| false);
        assert!(matches!(persist.poll(), Some(StoreOp::Shutdown)));
        assert!(persist.poll().is_none());
        persist.on_result(StoreResult::Closed);
        assert!(persist.is_drained());
    }

    #[test]
    fn a_few_large_torrents_use_up_the_credit_too() {
        let mut persist = Persist::new();
        let torrent = Torrent {
            infohash: Id([1; 20]),
            v2: None,
            name: Vec::new(),
            size_bytes: 1,
            files: crate::model::FileList::default(),
            piece_length: 1,
            flags: crate::model::TorrentFlags::default(),
            first_seen: UnixTime(0),
            fetched: UnixTime(0),
            peers: 0,
            raw: vec![0; QUEUE_BYTES as usize / 2].into(),
        };
        persist.torrent(Box::new(torrent.clone()), false);
        assert!(persist.has_credit());
        persist.torrent(Box::new(torrent), true);
        assert!(!persist.has_credit());
        while persist.poll().is_some() {}
        persist.on_result(StoreResult::Committed(1));
        assert!(persist.has_credit());
        persist.on_result(StoreResult::Failed(1, StoreFault::Other));
        assert_eq!(persist.bytes_open, 0);
    }

    #[test]
    fn what_is_stored_by_now_does_not_wait_again() {
        let (mut persist, mut rng) = (Persist::new(), Rng::seeded(3));
        let hashes = [Id::random(&mut rng), Id::random(&mut rng)];
        for infohash in hashes {
            let (first_seen, not_before) = (UnixTime(0), UnixTime(0));
            let state = PendingState::New;
            persist.pending(Pending { infohash, first_seen, tries: 0, not_before, state });
        }
        persist.flush(|hash| *hash == hashes[0]);
        let Some(StoreOp::Pending(rows)) = persist.poll() else { panic!("one row is left") };
        assert_eq!(rows.iter().map(|row| row.infohash).collect::<Vec<_>>(), [hashes[1]]);
        assert!(persist.poll().is_none());
    }

    #[test]
    fn a_stalled_archive_stops_new_work_and_nothing_piles_up() {
        let (mut persist, mut rng) = (Persist::new(), Rng::seeded(1));
        let node = SavedNode {
            id: Id::random(&mut rng),
            addr: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
            answered: UnixTime(0),
            sample_after: UnixTime(0),
        };
        for _ in 0..1_000 {
            persist.nodes(vec![node]);
            persist.poll();
        }
        assert_eq!(persist.unacknowledged.len(), 1, "one set of nodes at a time");
        while persist.has_credit() {
            persist.control(StoreOp::Setting("x", String::new()));
        }
        let row = |rng: &mut Rng| Pending {
            infohash: Id::random(rng),
            first_seen: UnixTime(0),
            tries: 0,
            not_before: UnixTime(0),
            state: PendingState::New,
        };
        for _ in 0..50_000 {
            persist.pending(row(&mut rng));
            if persist.has_batch() {
                persist.flush(|_| false);
            }
        }
        persist.flush(|_| false);
        assert!(persist.waiting.len() <= QUEUE_OPS, "{}", persist.waiting.len());
        while persist.poll().is_some() {}
        assert_eq!(persist.unacknowledged.len(), QUEUE_OPS, "no more than the archive takes");
        persist.on_result(StoreResult::Committed(QUEUE_OPS as u32));
        assert!(persist.has_credit() && persist.is_drained());
    }
}
