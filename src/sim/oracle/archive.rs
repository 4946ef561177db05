//! What is judged by the archive: what was acknowledged stays, counts once, is not handed in
//! again, and every hash that was heard of has a fate in the end.

use std::collections::BTreeSet;

use super::{HostId, Oracle, Rule};
use crate::base::{Id, InfoHash, Instant};
use crate::engine::stats::Tallies;
use crate::model::{Recovered, SavedId, StoreOp, StoreResult};
use crate::sim::store::ModelStore;

/// What went to the archive of one host and what came back, over all its lives.
#[derive(Default)]
pub(super) struct Book {
    /// Torrents handed in and not lost: they need no second fetch.
    handed: BTreeSet<InfoHash>,
    /// Never to wait again: stored, dropped or given up, and acknowledged.
    settled: BTreeSet<InfoHash>,
    /// Waiting, and acknowledged as such.
    waiting: BTreeSet<InfoHash>,
    id: Option<SavedId>,
    /// In operations that the archive lost and said so.
    excused: BTreeSet<InfoHash>,
    /// Asked for by command: these are fetched though they are known.
    wanted: BTreeSet<InfoHash>,
    /// Torrents acknowledged and lost in this life.
    stored: u64,
    failed: u64,
    /// The shutdown was handed in.
    closing: bool,
}

impl Oracle {
    /// An operation is handed to the archive.
    pub(in crate::sim) fn handed_in(&mut self, host: HostId, now: Instant, op: &StoreOp) {
        let book = &mut self.books[host.index()];
        if book.archive.closing {
            return self.fail(Rule::Drained, host, now, format!("{op:?} is handed in after the shutdown"));
        }
        book.archive.closing = matches!(op, StoreOp::Shutdown);
        let StoreOp::Torrent(torrent) = op else { return };
        self.note(Rule::Archive);
        let book = &mut self.books[host.index()];
        let hash = torrent.infohash;
        if book.filter.matches(torrent).is_some() {
            self.fail(Rule::Fate, host, now, format!("{hash} is handed in, though a rule refuses it"));
        } else if !book.archive.handed.insert(hash) && !book.archive.wanted.contains(&hash) {
            self.fail(Rule::Archive, host, now, format!("{hash} is handed in a second time"));
        }
    }

    /// The archive answers for these operations.
    pub(in crate::sim) fn acknowledged(&mut self, host: HostId, result: StoreResult, ops: &[StoreOp]) {
        let book = &mut self.books[host.index()].archive;
        for op in ops {
            match result {
                StoreResult::Committed(_) => book.committed(op),
                StoreResult::Failed(..) => book.lost(op),
                StoreResult::DiskLow(_) | StoreResult::Closed => {}
            }
        }
    }

    pub(super) fn check_archive(&mut self, host: HostId, now: Instant, tallies: &Tallies) {
        let book = &self.books[host.index()].archive;
        let (here, there) = ((book.stored, book.failed), (tallies.stored, tallies.store_failed));
        if here != there {
            let detail = format!("torrents acknowledged and lost: {here:?}, it counts {there:?}");
            self.fail(Rule::Archive, host, now, detail);
        }
    }

    /// After the end: every hash that was heard of is accounted for on the disk, and what waits
    /// there has not been forgotten by the engine.
    pub(in crate::sim) fn settle(&mut self, host: HostId, now: Instant, store: &ModelStore, pending: usize) {
        let book = &self.books[host.index()];
        self.checked[Rule::Fate as usize] += book.heard.len() as u64;
        let heard = book.heard.iter().filter(|hash| !book.archive.excused.contains(hash));
        let forgotten = heard.copied().find(|hash| !store.accounts_for(hash));
        let durable = book.archive.settled.iter().chain(&book.archive.waiting);
        let vanished = durable.copied().find(|hash| !store.accounts_for(hash));
        // A row that is to go may have been in an operation that was lost.
        let dropped = book.archive.excused.is_empty() && store.rows() > pending;
        if let Some(hash) = vanished {
            self.fail(Rule::Archive, host, now, format!("{hash} was acknowledged and is not there"));
        } else if let Some(hash) = forgotten {
            self.fail(Rule::Fate, host, now, format!("{hash} was heard of and is nowhere"));
        } else if dropped {
            let detail = format!("{} hashes wait on the disk, {pending} in the engine", store.rows());
            self.fail(Rule::Fate, host, now, detail);
        }
    }
}

impl Book {
    /// A new life begins on this. What is wrong with it, if anything is.
    pub(super) fn on_start(&mut self, recovered: &Recovered) -> Option<String> {
        let known: BTreeSet<_> = recovered.known.iter().copied().collect();
        let pending: BTreeSet<_> = recovered.pending.iter().map(|row| row.infohash).collect();
        let gone = self.settled.iter().find(|hash| !known.contains(hash));
        let given_up: BTreeSet<_> = recovered.given_up.iter().copied().collect();
        // What was given up may wait again, and the other way round.
        let there =
            |hash: &InfoHash| known.contains(hash) || pending.contains(hash) || given_up.contains(hash);
        let lost = self.waiting.iter().find(|hash| !there(hash));
        // A later one may have reached the disk without being acknowledged.
        let saved = |id: SavedId| recovered.ids.iter().find(|saved| saved.listen == id.listen);
        let other = self.id.filter(|id| saved(*id).is_none());
        self.id = self.id.and_then(saved).copied();
        let detail =
            gone.or(lost).map(|hash| format!("{hash} was acknowledged and is not there after a crash"));
        let detail = detail.or_else(|| other.map(|id| format!("{id:?} was acknowledged and is not there")));
        (self.stored, self.failed, self.closing) = (0, 0, false);
        self.handed = known;
        self.wanted.clear();
        detail
    }

    pub(super) fn want(&mut self, hash: InfoHash) {
        self.wanted.insert(hash);
    }

    /// The id that the disk surely has.
    pub(super) fn own_id(&self) -> Option<Id> {
        self.id.map(|saved| saved.id)
    }

    fn committed(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Torrent(torrent) => {
                self.stored += 1;
                self.settled.insert(torrent.infohash);
            }
            StoreOp::Pending(rows) => self.waiting.extend(rows.iter().map(|row| row.infohash)),
            StoreOp::GivenUp(hashes) => self.waiting.extend(hashes),
            StoreOp::Dropped(drop) => _ = self.settled.insert(drop.infohash),
            StoreOp::OwnId(id) => self.id = Some(*id),
            StoreOp::Nodes(_)
            | StoreOp::Seen(_)
            | StoreOp::Answers(_)
            | StoreOp::Local(_)
            | StoreOp::Setting(..)
            | StoreOp::Shutdown => {}
        }
    }

    fn lost(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Torrent(torrent) => {
                self.failed += 1;
                self.handed.remove(&torrent.infohash);
                self.excused.insert(torrent.infohash);
            }
            StoreOp::Pending(rows) => self.excused.extend(rows.iter().map(|row| row.infohash)),
            StoreOp::GivenUp(hashes) => self.excused.extend(hashes),
            StoreOp::Dropped(drop) => _ = self.excused.insert(drop.infohash),
            StoreOp::Nodes(_)
            | StoreOp::OwnId(_)
            | StoreOp::Seen(_)
            | StoreOp::Answers(_)
            | StoreOp::Local(_)
            | StoreOp::Setting(..)
            | StoreOp::Shutdown => {}
        }
    }
}
