//! An archive made of memory: takes operations in, makes them durable after a while or says that
//! it cannot, and in a crash loses from its tail what it had not acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::base::{InfoHash, Rng, UnixTime};
use crate::model::archive::StoreFault;
use crate::model::dns::{LocalOp, SavedAnswer, SavedList, SavedLocal, SavedSerial, SavedSet, SavedZone};
use crate::model::{Pending, Recovered, SavedId, SavedNode, Sighting, StoreOp, StoreResult, Torrent};

/// What one host has on its disk, and what is on its way there.
#[derive(Clone, Debug)]
pub struct ModelStore {
    /// Torrents by infohash.
    pub torrents: BTreeMap<InfoHash, Torrent>,
    /// How often each was handed in.
    pub writes: u64,
    /// The last sighting of each torrent.
    pub seen: BTreeMap<InfoHash, Sighting>,
    /// How long it takes from the first operation of a batch until it is durable.
    pub commit: Duration,
    /// Nothing more fits: every batch with a torrent or a row is lost, and that is said.
    pub full: bool,
    pending: BTreeMap<InfoHash, Pending>,
    gone: BTreeSet<InfoHash>,
    /// Given up.
    given_up: BTreeSet<InfoHash>,
    nodes: Vec<SavedNode>,
    ids: Vec<SavedId>,
    answers: BTreeMap<Box<[u8]>, SavedAnswer>,
    local: Local,
    waiting: VecDeque<StoreOp>,
}

impl Default for ModelStore {
    fn default() -> Self {
        Self {
            torrents: BTreeMap::new(),
            writes: 0,
            seen: BTreeMap::new(),
            commit: COMMIT,
            full: false,
            pending: BTreeMap::new(),
            gone: BTreeSet::new(),
            given_up: BTreeSet::new(),
            nodes: Vec::new(),
            ids: Vec::new(),
            answers: BTreeMap::new(),
            local: Local::default(),
            waiting: VecDeque::new(),
        }
    }
}

impl ModelStore {
    /// Takes an operation in. True if it is the first of a batch, which is then due
    /// after its `commit` time.
    pub(super) fn hand_in(&mut self, op: StoreOp) -> bool {
        self.writes += u64::from(matches!(op, StoreOp::Torrent(_)));
        self.waiting.push_back(op);
        self.waiting.len() == 1
    }

    /// The time of a batch has come: what is answered, and which operations each answer is about.
    pub(super) fn commit_batch(&mut self) -> Vec<(StoreResult, Vec<StoreOp>)> {
        let batch = std::mem::take(&mut self.waiting);
        let closes = matches!(batch.back(), Some(StoreOp::Shutdown));
        let mut ops: Vec<StoreOp> = batch.into();
        if closes {
            ops.pop();
        }
        let count = u32::try_from(ops.len()).unwrap_or(u32::MAX);
        let mut results = Vec::new();
        if self.full && ops.iter().any(takes_room) {
            results.push((StoreResult::Failed(count, StoreFault::DiskFull), ops));
        } else if count > 0 {
            ops.iter().cloned().for_each(|op| self.apply(op));
            results.push((StoreResult::Committed(count), ops));
        }
        if closes {
            results.push((StoreResult::Closed, Vec::new()));
        }
        results
    }

    /// Hashes that wait, by what is on the disk.
    pub(super) fn rows(&self) -> usize {
        self.pending.len()
    }

    /// Operations that are not acknowledged.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The machine dies: some of what was not acknowledged is on the disk, in order, the rest is
    /// lost.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let kept = if self.full { 0 } else { rng.index(self.waiting.len() + 1) };
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().take(kept).for_each(|op| self.apply(op));
    }

    /// What the next start finds.
    pub fn recovered(&self) -> Recovered {
        Recovered {
            known: self.torrents.values().flat_map(names).chain(self.gone.iter().copied()).collect(),
            given_up: self.given_up.iter().copied().collect(),
            pending: self.pending.values().copied().collect(),
            nodes: self.nodes.clone(),
            ids: self.ids.clone(),
            settings: Vec::new(),
            answers: self.answers.values().cloned().collect(),
            local: self.local.recovered(),
            torrents: self.torrents.len() as u64,
        }
    }

    /// True if the disk says what became of this hash: stored, never to be fetched, or waiting.
    pub fn accounts_for(&self, hash: &InfoHash) -> bool {
        self.torrents.contains_key(hash)
            || self.gone.contains(hash)
            || self.given_up.contains(hash)
            || self.pending.contains_key(hash)
            || self.torrents.values().any(|torrent| names(torrent).any(|name| name == *hash))
    }

    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::Torrent(torrent) => {
                names(&torrent).for_each(|name| _ = self.pending.remove(&name));
                self.torrents.insert(torrent.infohash, *torrent);
            }
            StoreOp::Pending(rows) => {
                rows.iter().for_each(|row| _ = self.given_up.remove(&row.infohash));
                self.pending.extend(rows.into_iter().map(|row| (row.infohash, row)));
            }
            StoreOp::GivenUp(hashes) => {
                hashes.iter().for_each(|hash| _ = self.pending.remove(hash));
                self.given_up.extend(hashes);
            }
            StoreOp::Dropped(drop) => {
                self.pending.remove(&drop.infohash);
                self.gone.insert(drop.infohash);
            }
            StoreOp::Nodes(nodes) => self.nodes = nodes,
            StoreOp::OwnId(id) => {
                self.ids.retain(|saved| saved.listen != id.listen);
                self.ids.push(id);
            }
            StoreOp::Seen(seen) => self.seen.extend(seen.into_iter().map(|seen| (seen.infohash, seen))),
            StoreOp::Answers(answers) => {
                self.answers.extend(answers.into_iter().map(|answer| (answer.key.clone(), answer)));
            }
            StoreOp::Local(op) => self.local.apply(*op),
            StoreOp::Setting(..) | StoreOp::Shutdown => {}
        }
    }
}

type SetKey = (Box<[u8]>, Box<[u8]>, u16);

/// Local zones and policy, as the tables have them.
#[derive(Clone, Debug, Default)]
struct Local {
    /// By zone, owner and type.
    sets: BTreeMap<SetKey, SavedSet>,
    serials: BTreeMap<Box<[u8]>, SavedSerial>,
    lists: Vec<SavedList>,
    overrides: BTreeMap<String, String>,
    allowed: BTreeMap<Box<[u8]>, UnixTime>,
}

impl Local {
    fn apply(&mut self, op: LocalOp) {
        match op {
            LocalOp::Zone(SavedZone { origin, sets, .. }) => {
                self.remove_zone(&origin);
                sets.into_iter().for_each(|set| self.save_set(&origin, set));
            }
            LocalOp::Sets(origin, sets) => sets.into_iter().for_each(|set| self.save_set(&origin, set)),
            LocalOp::ZoneGone(origin) => self.remove_zone(&origin),
            LocalOp::Serial(saved) => _ = self.serials.insert(saved.origin.clone(), saved),
            LocalOp::List(list) => match self.lists.iter_mut().find(|known| known.name == list.name) {
                Some(known) => *known = list,
                None => self.lists.push(list),
            },
            LocalOp::ListGone(name) => self.lists.retain(|list| list.name != name),
            LocalOp::Override(list, Some(action)) => _ = self.overrides.insert(list, action),
            LocalOp::Override(list, None) => _ = self.overrides.remove(&list),
            LocalOp::Allowed(name, Some(until)) => _ = self.allowed.insert(name, until),
            LocalOp::Allowed(name, None) => _ = self.allowed.remove(&name),
        }
    }

    fn remove_zone(&mut self, origin: &[u8]) {
        self.sets.retain(|(zone, ..), _| **zone != *origin);
    }

    fn save_set(&mut self, origin: &[u8], set: SavedSet) {
        let key = (origin.into(), set.name.clone(), set.kind);
        if set.records.is_empty() {
            self.sets.remove(&key);
        } else {
            self.sets.insert(key, set);
        }
    }

    fn recovered(&self) -> SavedLocal {
        let mut zones: Vec<SavedZone> = Vec::new();
        for ((origin, ..), set) in &self.sets {
            if zones.last().is_none_or(|zone| zone.origin != *origin) {
                zones.push(SavedZone { origin: origin.clone(), ..SavedZone::default() });
            }
            if let Some(zone) = zones.last_mut() {
                zone.bytes += set.bytes();
                zone.sets.push(set.clone());
            }
        }
        SavedLocal {
            zones,
            serials: self.serials.values().cloned().collect(),
            lists: self.lists.clone(),
            overrides: self.overrides.clone().into_iter().collect(),
            allowed: self.allowed.clone().into_iter().collect(),
        }
    }
}

/// Whether an operation makes rows.
fn takes_room(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Torrent(_) | StoreOp::Pending(_) | StoreOp::Nodes(_) | StoreOp::Local(_))
}

/// Both hashes by which a torrent goes.
fn names(torrent: &Torrent) -> impl Iterator<Item = InfoHash> + use<> {
    let v2 = torrent.v2.and_then(|v2| InfoHash::from_slice(&v2[..20]));
    [Some(torrent.infohash), v2].into_iter().flatten()
}

/// The writer thread's batch.
const COMMIT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::model::PendingState;

    fn row(last: u8) -> StoreOp {
        let (first_seen, not_before) = (UnixTime(1), UnixTime(1));
        let state = PendingState::New;
        StoreOp::Pending(vec![Pending { infohash: Id([last; 20]), first_seen, tries: 0, not_before, state }])
    }

    #[test]
    fn a_batch_is_answered_once_and_the_shutdown_for_itself() {
        let mut store = ModelStore::default();
        assert!(store.hand_in(row(1)) && !store.hand_in(row(2)) && !store.hand_in(StoreOp::Shutdown));
        let results: Vec<_> = store.commit_batch().into_iter().map(|(result, _)| result).collect();
        assert_eq!(results, [StoreResult::Committed(2), StoreResult::Closed]);
        assert!(store.accounts_for(&Id([2; 20])) && !store.accounts_for(&Id([3; 20])));
        assert_eq!(store.waiting(), 0);
    }

    #[test]
    fn a_full_disk_loses_the_batch_and_says_so() {
        let mut store = ModelStore { full: true, ..ModelStore::default() };
        store.hand_in(row(1));
        let (result, lost) = store.commit_batch().remove(0);
        assert_eq!((result, lost.len()), (StoreResult::Failed(1, StoreFault::DiskFull), 1));
        assert!(!store.accounts_for(&Id([1; 20])));
        store.hand_in(StoreOp::Shutdown);
        assert_eq!(store.commit_batch().remove(0).0, StoreResult::Closed, "closing needs no room");
    }

    #[test]
    fn a_crash_keeps_what_was_acknowledged_and_loses_only_the_tail() {
        let mut kept = [0; 5];
        for seed in 0..200 {
            let mut store = ModelStore::default();
            store.hand_in(row(0));
            store.commit_batch();
            (1..=4).for_each(|last| _ = store.hand_in(row(last)));
            store.crash(&mut Rng::seeded(seed));
            let there: Vec<_> = (0..=4).map(|last| store.accounts_for(&Id([last; 20]))).collect();
            let count = there.iter().filter(|there| **there).count();
            assert!(there[..count].iter().all(|there| *there) && count >= 1, "{there:?}");
            kept[count - 1] += 1;
        }
        assert!(kept.iter().all(|times| *times > 10), "{kept:?}");
    }
}
