//! Every node the crawl knows of, in about 55 bytes each, and whose turn it is.
//!
//! An entry is at any time in exactly one list: *ready* (by region of the keyspace, walked in
//! order), *waiting* (by the time at which it may be asked again), or neither while a query of
//! ours is on its way. All moves are O(1).

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, SocketAddr};

use crate::base::hash::{State, state};
use crate::base::network::network_bits;
use crate::base::{Id, NodeId, Rng, Scope};
use crate::wire::compact::NodeAddr;

use super::index::Index;

/// The address bytes of one family.
pub trait Family: Copy + Eq + Hash + Default {
    /// `ip` in this family.
    fn from_ip(ip: IpAddr) -> Option<Self>;
    /// As an address.
    fn ip(self) -> IpAddr;
    /// The /24 or /48 that it lies in.
    fn network(self) -> u64 {
        network_bits(self.ip())
    }
}

/// The nodes of one address family.
pub struct Directory<F: Family> {
    chunks: Vec<Box<[Entry<F>]>>,
    /// Slots ever used; those freed since are chained from `free`.
    used: u32,
    free: u32,
    len: usize,
    verified: usize,
    cap: usize,
    /// By network, so that the nodes of one are found together.
    index: Index,
    hasher: State,
    /// Those that have answered before, and those that have not. They take turns, so that no flood
    /// of made-up nodes keeps us from the real ones.
    ready: [Ready; 2],
    verified_next: bool,
    waiting: Vec<u32>,
    /// No slot of the wheel before this one has entries: where to look for the next.
    waiting_from: Cell<u32>,
    waiting_len: usize,
    /// The wheel's slots before this one are empty: their entries are in `due` or `ready`.
    wheel_at: u32,
    /// Entries whose time has come and that were not looked at yet; they count as waiting.
    due: u32,
    /// Slots of the latest answers, the latest last.
    recent: VecDeque<u32>,
    /// Nodes whose turn came to its end in this pass.
    turns: usize,
    passes: u64,
    /// Candidates that made room for others.
    evicted: u64,
}

/// Whose turn it is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place, to report the outcome under.
    pub slot: u32,
    /// Its address and id, the latter as last verified or else as others named it.
    pub node: NodeAddr,
    /// False: ask `find_node`, since it did not answer `sample_infohashes`.
    pub samples: bool,
}

/// How a node answered its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The id it gave.
    pub id: NodeId,
    /// It spoke BEP 51; `None` if it was not asked to.
    pub sampled: Option<bool>,
    /// Seconds before it may be asked again: its BEP 51 interval, or longer.
    pub interval_secs: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry<F> {
    id: [u8; 20],
    /// Seconds of the driver's clock at which it last answered; of a restored node, how many
    /// seconds before the clock's zero that was.
    answered: u32,
    /// Seconds at which it may be asked again.
    due: u32,
    next: u32,
    port: u16,
    ip: F,
    state: Standing,
    /// Silences since the last answer.
    failures: u8,
    /// Silences to `sample_infohashes` in particular.
    mute: u8,
    asked: bool,
    /// It is in a list of those whose turn has come.
    ready: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Free,
    /// Named by others, not yet heard.
    Candidate,
    /// Answered in an earlier run, not yet heard in this one.
    Restored,
    /// Has answered.
    Verified,
    /// Stays silent; kept for a while, so that hearsay does not bring it back.
    Lost,
}

/// What is known of a node that is to be inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Somebody named it.
    Hearsay,
    /// It has answered us, in this run or an earlier one.
    Answered,
}

/// Entries that may be asked now, and how far the walk among them has come.
struct Ready {
    regions: Regions,
    len: usize,
    cursor: usize,
}

/// The first entry of every region's list, and which lists are not empty.
struct Regions {
    heads: Vec<u32>,
    occupied: [u64; REGIONS / 64],
}

impl<F: Family> Directory<F> {
    /// Holds at most `cap` nodes.
    pub fn new(cap: usize, rng: &mut Rng) -> Self {
        let regions = || Regions { heads: vec![NONE; REGIONS], occupied: [0; REGIONS / 64] };
        let cursor = rng.index(REGIONS);
        let ready = || Ready { regions: regions(), len: 0, cursor };
        Self {
            chunks: Vec::new(),
            used: 0,
            free: NONE,
            len: 0,
            verified: 0,
            cap,
            index: Index::new(),
            hasher: state(rng),
            ready: [ready(), ready()],
            verified_next: false,
            waiting: vec![NONE; WHEEL_SLOTS],
            waiting_from: Cell::new(0),
            waiting_len: 0,
            wheel_at: 0,
            due: NONE,
            recent: VecDeque::new(),
            turns: 0,
            passes: 0,
            evicted: 0,
        }
    }

    /// A node that somebody named: to be asked if it is new. False if it is known, if another node
    /// of its network was named and has not answered yet, if its network has enough, or if the
    /// directory is full of better ones.
    pub fn candidate(&mut self, node: NodeAddr) -> bool {
        self.insert(node, Proof::Hearsay).map(|slot| self.link_ready(slot)).is_some()
    }

    /// A node that has answered something else: the same, but it does not wait for others of its
    /// network. One from an earlier run, which waits for its turn, counts as verified now.
    pub fn met(&mut self, node: NodeAddr, now_secs: u32) -> bool {
        if let Some(slot) = self.find(node.addr) {
            let entry = self.entry_mut(slot);
            if entry.state == Standing::Restored && !entry.ready && !entry.asked {
                (entry.state, entry.answered) = (Standing::Verified, now_secs);
                self.verified += 1;
                self.remember(slot);
            }
            return false;
        }
        self.insert(node, Proof::Answered).map(|slot| self.link_ready(slot)).is_some()
    }

    /// A node that answered in an earlier run; not to be asked before `due_secs`.
    pub fn restore(&mut self, node: NodeAddr, answered: i64, due_secs: u32) {
        if let Some(slot) = self.insert(node, Proof::Answered) {
            let entry = self.entry_mut(slot);
            entry.state = Standing::Restored;
            entry.answered = u32::try_from(answered.saturating_neg().max(0)).unwrap_or(u32::MAX);
            self.remember(slot);
            self.wait(slot, due_secs);
        }
    }

    /// Whose turn it is, in keyspace order. The caller reports what became of it.
    pub fn next_turn(&mut self, now_secs: u32) -> Option<Turn> {
        self.advance(now_secs);
        self.verified_next = !self.verified_next;
        let list = [self.verified_next, !self.verified_next].map(usize::from);
        let list = list.into_iter().find(|list| self.ready[*list].len > 0)?;
        let region = self.ready[list].regions.next_from(self.ready[list].cursor)?;
        self.ready[list].cursor = region;
        let slot = self.ready[list].regions.heads[region];
        let next = self.entry(slot).next;
        self.ready[list].regions.set(region, next);
        self.ready[list].len -= 1;
        let entry = self.entry_mut(slot);
        (entry.asked, entry.ready) = (true, false);
        let samples = entry.failures == 0 && entry.mute < MUTE_FOR_GOOD;
        Some(Turn { slot, node: entry.node(), samples })
    }

    /// A turn that could not be taken after all: it comes again at once.
    pub fn put_back(&mut self, slot: u32) {
        if self.entry(slot).asked {
            self.entry_mut(slot).asked = false;
            self.link_ready(slot);
        }
    }

    /// The node answered its turn.
    pub fn answered(&mut self, slot: u32, outcome: Outcome, now_secs: u32) {
        let entry = self.entry_mut(slot);
        if !entry.asked {
            return;
        }
        entry.mute = match outcome.sampled {
            Some(true) => 0,
            Some(false) => MUTE_FOR_GOOD,
            // Two lost packets look like a node that never speaks BEP 51: asked again some day.
            None if entry.mute >= MUTE_RECONSIDERED => MUTE_FOR_GOOD - 1,
            None if entry.mute >= MUTE_FOR_GOOD => entry.mute + 1,
            None => entry.mute,
        };
        let pause = match outcome.sampled {
            None if entry.mute < MUTE_FOR_GOOD => SAMPLE_AGAIN_SECS,
            _ => outcome.interval_secs,
        };
        let newly = entry.state != Standing::Verified;
        entry.state = Standing::Verified;
        entry.id = outcome.id.0;
        entry.answered = now_secs;
        entry.failures = 0;
        self.verified += usize::from(newly);
        self.remember(slot);
        self.end_turn();
        self.wait(slot, now_secs + pause);
    }

    /// The node did not answer its turn in time. One silence to `sample_infohashes` says little,
    /// since Transmission drops queries it does not know: it is asked `find_node` next.
    pub fn silent(&mut self, slot: u32, sampled: bool, now_secs: u32) {
        let entry = self.entry_mut(slot);
        if !entry.asked {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.mute = entry.mute.saturating_add(u8::from(sampled));
        let verified = entry.state == Standing::Verified;
        let patience = if verified { PATIENCE_VERIFIED } else { PATIENCE_CANDIDATE };
        if entry.failures < patience {
            let pause = RETRY_SECS << (4 * u32::from(entry.failures - 1));
            return self.wait(slot, now_secs + pause);
        }
        entry.state = Standing::Lost;
        self.verified -= usize::from(verified);
        self.end_turn();
        if self.len * 8 > self.cap * 7 || self.lost_nearby(slot) >= LOST_PER_NETWORK {
            // No room to remember who is not there.
            return self.remove(slot);
        }
        self.wait(slot, now_secs + LOST_SECS);
    }

    /// The question was in vain, but not for the node's sake: it is asked again in a minute.
    pub fn postpone(&mut self, slot: u32, now_secs: u32) {
        if self.entry(slot).asked {
            self.wait(slot, now_secs + POSTPONED_SECS);
        }
    }

    /// True if the node at `addr` was silent of late, time and again.
    pub fn is_lost(&self, addr: SocketAddr) -> bool {
        self.find(addr).is_some_and(|slot| self.entry(slot).state == Standing::Lost)
    }

    /// True if the node at `addr` has answered its turn and was not lost since.
    pub fn is_verified(&self, addr: SocketAddr) -> bool {
        self.find(addr).is_some_and(|slot| self.entry(slot).state == Standing::Verified)
    }

    /// How many entries, those lost of late included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many have answered and were not lost since.
    pub fn verified(&self) -> usize {
        self.verified
    }

    /// Completed walks: as many turns as there were nodes.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// When the next waiting entry may become ready, in seconds, rounded up to the wheel's grain;
    /// 0 if it already may.
    pub fn next_due(&self) -> Option<u32> {
        if self.waiting_len == 0 {
            return None;
        }
        if self.due != NONE {
            return Some(0);
        }
        let mut slots = self.waiting_from.get().max(self.wheel_at)..self.wheel_at + WHEEL_SLOTS as u32;
        let slot = slots.find(|slot| self.waiting[*slot as usize % WHEEL_SLOTS] != NONE)?;
        self.waiting_from.set(slot);
        Some((slot + 1) * WHEEL_SECS)
    }

    /// The nodes that answered last, in this run or an earlier one, at most `count`: the node, the
    /// second of its last answer (negative before the clock's zero), the second from which it may
    /// be asked again.
    pub fn freshest(&self, count: usize) -> Vec<(NodeAddr, i64, u32)> {
        let mut slots: Vec<u32> = if self.used as usize <= RECENT {
            (0..self.used).collect()
        } else {
            self.recent.iter().copied().collect()
        };
        slots.sort_unstable();
        slots.dedup();
        let heard = slots.into_iter().filter_map(|slot| {
            let entry = self.entry(slot);
            match entry.state {
                Standing::Verified => Some((Reverse(i64::from(entry.answered)), entry.id, slot)),
                Standing::Restored => Some((Reverse(-i64::from(entry.answered)), entry.id, slot)),
                Standing::Free | Standing::Candidate | Standing::Lost => None,
            }
        });
        let mut all: Vec<_> = heard.collect();
        all.sort_unstable();
        let saved = |(Reverse(answered), _, slot): (Reverse<i64>, _, u32)| {
            (self.entry(slot).node(), answered, self.entry(slot).due)
        };
        all.into_iter().take(count).map(saved).collect()
    }

    /// Panics if the lists, the index and the counts do not fit together. For tests.
    pub fn check_invariants(&self) {
        let listed: usize = self.ready.iter().map(|ready| self.check_ready(ready)).sum();
        let waiting = self.waiting.iter().chain([&self.due]);
        let waiting: usize = waiting.map(|head| self.chain(*head).count()).sum();
        assert_eq!(waiting, self.waiting_len, "waiting");
        let mut before = self.wheel_at..self.waiting_from.get();
        assert!(before.all(|slot| self.waiting[slot as usize % WHEEL_SLOTS] == NONE), "looked for too late");
        let asked = (0..self.used).filter(|slot| self.entry(*slot).asked).count();
        assert_eq!(self.len, listed + waiting + asked, "every entry is in one place");
        let verified = (0..self.used).filter(|slot| self.entry(*slot).state == Standing::Verified);
        assert_eq!(verified.count(), self.verified, "verified");
        assert_eq!(self.index.len(), self.len, "index");
        let used = (0..self.used).filter(|slot| self.entry(*slot).state != Standing::Free);
        used.for_each(|slot| assert_eq!(self.find(self.entry(slot).node().addr), Some(slot), "index"));
        assert!(self.len <= self.cap && self.recent.len() <= RECENT);
    }

    fn check_ready(&self, ready: &Ready) -> usize {
        let mut listed = 0;
        for (region, head) in ready.regions.heads.iter().enumerate() {
            assert_eq!(*head != NONE, ready.regions.occupied[region / 64] >> (region % 64) & 1 == 1);
            let here = self.chain(*head).inspect(|slot| assert_eq!(self.region(*slot), region));
            listed += here.count();
        }
        assert_eq!(listed, ready.len, "ready");
        listed
    }

    fn end_turn(&mut self) {
        self.turns += 1;
        if self.turns >= self.len {
            (self.turns, self.passes) = (0, self.passes + 1);
        }
    }

    /// Makes room for a node near `id`: one of the latest candidates nearby goes. Nobody who has
    /// answered goes for the sake of somebody who has not.
    fn evict(&mut self, id: &[u8; 20]) -> bool {
        let from = region_of(id);
        let candidates = &self.ready[0].regions;
        let Some(region) = candidates.next_from(from) else { return false };
        // Not always the latest, or whoever names most would decide alone who stays.
        let depth = (self.evicted % EVICT_AMONG) as usize;
        self.evicted += 1;
        let head = candidates.heads[region];
        let before = self.chain(head).take(depth).take_while(|slot| self.entry(*slot).next != NONE).last();
        let slot = match before {
            Some(before) => {
                let slot = self.entry(before).next;
                self.entry_mut(before).next = self.entry(slot).next;
                slot
            }
            None => {
                let next = self.entry(head).next;
                self.ready[0].regions.set(region, next);
                head
            }
        };
        self.ready[0].len -= 1;
        self.remove(slot);
        true
    }

    /// A slot whose node has answered, among the last [`RECENT`].
    fn remember(&mut self, slot: u32) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(slot);
    }

    /// A slot for a node that is new; `None` if it is known, its network has too many, or there is
    /// no room.
    fn insert(&mut self, node: NodeAddr, proof: Proof) -> Option<u32> {
        let (ip, port) = (F::from_ip(node.addr.ip())?, node.addr.port());
        let hash = self.hash(ip, port);
        if !self.is_new(hash, ip, port, proof) || self.len >= self.cap && !self.evict(&node.id.0) {
            return None;
        }
        let slot = self.allocate();
        *self.entry_mut(slot) =
            Entry { id: node.id.0, ip, port, state: Standing::Candidate, ..Entry::default() };
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.index.insert(hash, slot, |slot| {
            let entry = entry_in(chunks, slot);
            hash_with(hasher, entry.ip, entry.port)
        });
        self.len += 1;
        Some(slot)
    }

    /// True if no node is known at this address and its network has room for another: only one
    /// that nothing is known of at a time, or whoever names made-up nodes sends us where they like.
    fn is_new(&self, hash: u64, ip: F, port: u16, proof: Proof) -> bool {
        let counts = Scope::of(ip.ip()) == Scope::Global;
        let (mut held, mut unproved) = (0, 0);
        for slot in self.index.with_hash(hash) {
            let entry = self.entry(slot);
            if entry.ip == ip && entry.port == port {
                return false;
            }
            if counts && entry.ip.network() == ip.network() {
                held += usize::from(entry.state != Standing::Lost);
                unproved += usize::from(entry.state == Standing::Candidate);
            }
        }
        held < PER_NETWORK && (unproved == 0 || proof == Proof::Answered)
    }

    /// How many nodes of the same network are remembered as lost.
    fn lost_nearby(&self, slot: u32) -> usize {
        let Entry { ip, port, .. } = *self.entry(slot);
        if Scope::of(ip.ip()) != Scope::Global {
            return 0;
        }
        let near = self.index.with_hash(self.hash(ip, port)).map(|slot| self.entry(slot));
        near.filter(|it| it.state == Standing::Lost && it.ip.network() == ip.network()).count()
    }

    /// The place of the node at `addr`.
    fn find(&self, addr: SocketAddr) -> Option<u32> {
        let ip = F::from_ip(addr.ip())?;
        let here = |slot| self.entry(slot).ip == ip && self.entry(slot).port == addr.port();
        self.index.find(self.hash(ip, addr.port()), here)
    }

    fn hash(&self, ip: F, port: u16) -> u64 {
        hash_with(&self.hasher, ip, port)
    }

    fn allocate(&mut self) -> u32 {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.entry(slot).next;
            return slot;
        }
        if self.used as usize == self.chunks.len() * CHUNK {
            self.chunks.push(vec![Entry::default(); CHUNK].into_boxed_slice());
        }
        self.used += 1;
        self.used - 1
    }

    /// Frees an entry that is in no list.
    fn remove(&mut self, slot: u32) {
        let Entry { ip, port, .. } = *self.entry(slot);
        let indexed = self.index.remove(self.hash(ip, port), slot);
        debug_assert!(indexed, "every entry is in the index");
        self.len -= 1;
        let next = self.free;
        *self.entry_mut(slot) = Entry { next, ..Entry::default() };
        self.free = slot;
    }

    fn link_ready(&mut self, slot: u32) {
        let region = self.region(slot);
        let list = usize::from(self.entry(slot).state == Standing::Verified);
        let head = self.ready[list].regions.heads[region];
        let entry = self.entry_mut(slot);
        (entry.next, entry.ready) = (head, true);
        self.ready[list].regions.set(region, slot);
        self.ready[list].len += 1;
    }

    fn wait(&mut self, slot: u32, due_secs: u32) {
        let latest = self.wheel_at + WHEEL_SLOTS as u32 - 1;
        let tick = (due_secs / WHEEL_SECS).clamp(self.wheel_at, latest);
        self.waiting_from.set(self.waiting_from.get().min(tick));
        let at = tick as usize % WHEEL_SLOTS;
        let head = self.waiting[at];
        let entry = self.entry_mut(slot);
        (entry.asked, entry.due, entry.next) = (false, due_secs, head);
        self.waiting[at] = slot;
        self.waiting_len += 1;
    }

    /// Makes ready what is due, a bounded number of entries.
    fn advance(&mut self, now_secs: u32) {
        let until = now_secs / WHEEL_SECS;
        if until.saturating_sub(self.wheel_at) > WHEEL_SLOTS as u32 {
            // The clock jumped further than the wheel is long: one full turn empties it.
            self.wheel_at = until - WHEEL_SLOTS as u32;
        }
        for _ in 0..ADVANCE_MAX {
            while self.due == NONE && self.wheel_at < until {
                self.due = std::mem::replace(&mut self.waiting[self.wheel_at as usize % WHEEL_SLOTS], NONE);
                self.wheel_at += 1;
            }
            let slot = self.due;
            if slot == NONE {
                return;
            }
            self.due = self.entry(slot).next;
            self.waiting_len -= 1;
            match self.entry(slot).state {
                Standing::Lost => self.remove(slot),
                _ if self.entry(slot).due > now_secs => {
                    let due = self.entry(slot).due;
                    self.wait(slot, due);
                }
                _ => self.link_ready(slot),
            }
        }
    }

    fn chain(&self, head: u32) -> impl Iterator<Item = u32> + '_ {
        let mut at = head;
        std::iter::from_fn(move || {
            let slot = at;
            (slot != NONE).then(|| {
                at = self.entry(slot).next;
                slot
            })
        })
    }

    fn region(&self, slot: u32) -> usize {
        region_of(&self.entry(slot).id)
    }

    fn entry(&self, slot: u32) -> &Entry<F> {
        entry_in(&self.chunks, slot)
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry<F> {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

fn entry_in<F>(chunks: &[Box<[Entry<F>]>], slot: u32) -> &Entry<F> {
    &chunks[slot as usize / CHUNK][slot as usize % CHUNK]
}

/// The same for all nodes of one global network; elsewhere (one machine may hold thousands of
/// nodes) each for itself.
fn hash_with<F: Family>(hasher: &State, ip: F, port: u16) -> u64 {
    if Scope::of(ip.ip()) == Scope::Global {
        hasher.hash_one(ip.network())
    } else {
        hasher.hash_one((ip, port))
    }
}

fn region_of(id: &[u8; 20]) -> usize {
    usize::from(id[0]) << 4 | usize::from(id[1]) >> 4
}

impl<F: Family> Entry<F> {
    fn node(&self) -> NodeAddr {
        NodeAddr { id: Id(self.id), addr: SocketAddr::new(self.ip.ip(), self.port) }
    }
}

impl Regions {
    fn set(&mut self, region: usize, head: u32) {
        self.heads[region] = head;
        let bit = 1 << (region % 64);
        let word = &mut self.occupied[region / 64];
        *word = if head == NONE { *word & !bit } else { *word | bit };
    }

    /// The first region at or after `from` that is not empty, going around once.
    fn next_from(&self, from: usize) -> Option<usize> {
        let words = REGIONS / 64;
        let first = self.occupied[from / 64] & (u64::MAX << (from % 64));
        if first != 0 {
            return Some(from / 64 * 64 + first.trailing_zeros() as usize);
        }
        let others = (1..=words).map(|ahead| (from / 64 + ahead) % words);
        let word = others.into_iter().find(|word| self.occupied[*word] != 0)?;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }
}

impl Family for [u8; 4] {
    fn from_ip(ip: IpAddr) -> Option<Self> {
        if let IpAddr::V4(ip) = ip { Some(ip.octets()) } else { None }
    }
    fn ip(self) -> IpAddr {
        self.into()
    }
}

impl Family for [u8; 16] {
    fn from_ip(ip: IpAddr) -> Option<Self> {
        if let IpAddr::V6(ip) = ip { Some(ip.octets()) } else { None }
    }
    fn ip(self) -> IpAddr {
        self.into()
    }
}

const NONE: u32 = u32::MAX;
/// Twelve bits of the id: some 250 nodes each on a network of a million.
const REGIONS: usize = 4_096;
const CHUNK: usize = 1_024;
/// Two seconds a slot, 4.5 hours a turn; what waits longer goes around again.
const WHEEL_SECS: u32 = 2;
const WHEEL_SLOTS: usize = 8_192;
/// Some 0.1 ms, for as many turns; thousands may be due in one second.
const ADVANCE_MAX: usize = 256;
const RETRY_SECS: u32 = 2;
/// A node that was silent to `sample_infohashes` once but answers `find_node` gets a second chance.
const SAMPLE_AGAIN_SECS: u32 = 20;
const MUTE_FOR_GOOD: u8 = 2;
/// After so many answers to `find_node` it is asked for samples once more.
const MUTE_RECONSIDERED: u8 = 24;
const PATIENCE_CANDIDATE: u8 = 2;
const PATIENCE_VERIFIED: u8 = 3;
const LOST_SECS: u32 = 3_600;
const POSTPONED_SECS: u32 = 60;
/// Nodes of a /24 (/48) at once. Several are common in a provider's network, hundreds are an attack.
const PER_NETWORK: usize = 8;
/// Nodes of a network that are remembered as lost; any number of them can be made up.
const LOST_PER_NETWORK: usize = 8;
/// Of the latest candidates of a region one of so many makes room.
const EVICT_AMONG: u64 = 8;
/// Answers remembered for the next start, more than are saved.
const RECENT: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each in a network of its own.
    fn node(seed: u32) -> NodeAddr {
        let ip = std::net::Ipv4Addr::from(0x0808_0001 + (seed << 8));
        NodeAddr { id: Id::random(&mut Rng::seeded(u64::from(seed))), addr: SocketAddr::new(ip.into(), 6881) }
    }

    fn spoke(id: NodeId, interval_secs: u32) -> Outcome {
        Outcome { id, sampled: Some(true), interval_secs }
    }

    #[test]
    fn the_walk_is_in_keyspace_order_and_takes_each_once() {
        let mut directory = Directory::<[u8; 4]>::new(10_000, &mut Rng::seeded(1));
        (0..3_000).for_each(|i| assert!(directory.candidate(node(i))));
        assert!(!directory.candidate(node(5)), "known already");
        directory.check_invariants();
        let mut order = Vec::new();
        while let Some(turn) = directory.next_turn(10) {
            order.push(turn.node.id.prefix64() >> 52);
            directory.answered(turn.slot, spoke(turn.node.id, 600), 10);
        }
        let wraps = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!((order.len(), wraps, directory.verified()), (3_000, 1, 3_000));
        directory.check_invariants();
        assert_eq!(directory.next_turn(10 + 599), None, "nobody before the interval");
        assert!(directory.next_turn(10 + 602).is_some());
    }

    #[test]
    fn a_silent_node_is_tried_with_find_node_then_lost_then_forgotten() {
        let mut directory = Directory::<[u8; 4]>::new(10, &mut Rng::seeded(1));
        directory.candidate(node(1));
        let turn = directory.next_turn(0).unwrap();
        assert!(turn.samples);
        directory.silent(turn.slot, true, 0);
        let turn = directory.next_turn(4).unwrap();
        assert!(!turn.samples);
        directory.silent(turn.slot, false, 4);
        assert_eq!((directory.next_turn(100), directory.len()), (None, 1));
        assert!(!directory.candidate(node(1)), "hearsay does not revive it");
        assert!(directory.is_lost(node(1).addr) && !directory.is_lost(node(2).addr));
        assert_eq!(directory.next_turn(4 + LOST_SECS + 2), None);
        assert_eq!(directory.len(), 0);
        directory.check_invariants();
    }

    /// The node `host` of the `net`th network.
    fn neighbour(net: u32, host: u8, port: u16) -> NodeAddr {
        let mut node = node(net);
        let IpAddr::V4(ip) = node.addr.ip() else { unreachable!() };
        node.id =
            Id::random(&mut Rng::seeded(u64::from(net) << 32 | u64::from(host) << 16 | u64::from(port)));
        node.addr =
            SocketAddr::new(std::net::Ipv4Addr::from(ip.to_bits() & !255 | u32::from(host)).into(), port);
        node
    }

    #[test]
    fn one_network_cannot_fill_it_and_the_cap_holds() {
        let mut directory = Directory::<[u8; 4]>::new(6, &mut Rng::seeded(1));
        let taken = (1..=255).filter(|host| directory.candidate(neighbour(1, *host, 6_881))).count()
            + (1..1_000).filter(|port| directory.candidate(neighbour(1, 7, *port))).count();
        assert_eq!(taken, 1, "one that nothing is known of at a time");
        assert_eq!(
            (2..100).filter(|i| directory.candidate(node(*i))).count(),
            98,
            "later ones replace others"
        );
        assert_eq!(directory.len(), 6);
        directory.check_invariants();
    }

    #[test]
    fn those_of_a_network_that_answer_are_let_in_one_after_the_other_up_to_a_share() {
        let mut directory = Directory::<[u8; 4]>::new(1_000, &mut Rng::seeded(1));
        let mut verified = 0;
        for host in 1..=255 {
            directory.candidate(neighbour(1, host, 6_881));
            if let Some(turn) = directory.next_turn(10) {
                directory.answered(turn.slot, spoke(turn.node.id, 600), 10);
                verified += 1;
            }
        }
        assert_eq!((verified, directory.len()), (PER_NETWORK, PER_NETWORK));
        assert!(!directory.met(neighbour(1, 200, 1), 10) && directory.met(neighbour(2, 200, 1), 10));
        directory.check_invariants();
    }

    #[test]
    fn made_up_nodes_of_a_network_keep_an_honest_one_out_for_seconds_only() {
        let mut directory = Directory::<[u8; 4]>::new(1_000, &mut Rng::seeded(1));
        let mut now = 0;
        for host in 1..=100 {
            assert!(directory.candidate(neighbour(1, host, 6_881)), "{host}");
            for _ in 0..2 {
                now += 4;
                let turn = directory.next_turn(now).unwrap();
                directory.silent(turn.slot, turn.samples, now);
            }
        }
        assert!(directory.len() <= LOST_PER_NETWORK, "and they are not all remembered");
        assert!(directory.candidate(neighbour(1, 101, 6_881)));
        assert!(directory.met(neighbour(1, 102, 6_881), now), "what has answered does not wait");
        directory.check_invariants();
    }

    #[test]
    fn on_loopback_and_in_private_networks_every_node_counts_for_itself() {
        for net in [[127, 0, 0], [10, 0, 0], [192, 168, 1]] {
            let mut directory = Directory::<[u8; 4]>::new(10_000, &mut Rng::seeded(1));
            let at = |host: u8, port| NodeAddr {
                addr: SocketAddr::from(([net[0], net[1], net[2], host], port)),
                ..node(u32::from(host))
            };
            let taken = (0..=255).flat_map(|host| (1..5).map(move |port| (host, port)));
            assert_eq!(taken.filter(|(host, port)| directory.candidate(at(*host, *port))).count(), 1_024);
            directory.check_invariants();
        }
    }

    #[test]
    fn whoever_has_answered_is_not_pushed_out_by_hearsay() {
        let mut directory = Directory::<[u8; 4]>::new(100, &mut Rng::seeded(1));
        (0..90).for_each(|i| assert!(directory.candidate(node(i))));
        while let Some(turn) = directory.next_turn(0) {
            directory.answered(turn.slot, spoke(turn.node.id, 600), 0);
        }
        (1_000..100_000).for_each(|i| _ = directory.candidate(node(i)));
        directory.check_invariants();
        assert_eq!((directory.len(), directory.verified()), (100, 90));
        let mut asked = [0, 0];
        for _ in 0..20 {
            let turn = directory.next_turn(700).unwrap();
            asked[usize::from(directory.entry(turn.slot).state == Standing::Verified)] += 1;
            directory.put_back(turn.slot);
        }
        assert_eq!(asked, [10, 10], "half of the turns are theirs");
        assert_eq!(directory.freshest(1_000).len(), 90);
        while let Some(turn) = directory.next_turn(700) {
            directory.silent(turn.slot, turn.samples, 700);
        }
        directory.check_invariants();
    }

    #[test]
    fn a_site_of_ipv6_counts_as_one_network() {
        let mut directory = Directory::<[u8; 16]>::new(1_000, &mut Rng::seeded(1));
        let at = |net: u16, host: u16| {
            let ip = std::net::Ipv6Addr::new(0x2a00, net, 0, host, 0, 0, 0, host);
            NodeAddr { id: node(u32::from(host)).id, addr: SocketAddr::new(ip.into(), 6881) }
        };
        assert_eq!((0..500).filter(|host| directory.candidate(at(1, *host))).count(), 1);
        assert!(directory.candidate(at(2, 0)));
        directory.check_invariants();
    }

    #[test]
    fn a_node_of_an_earlier_run_counts_as_soon_as_it_answers_anything() {
        let mut directory = Directory::<[u8; 4]>::new(100, &mut Rng::seeded(1));
        (0..10).for_each(|i| directory.restore(node(i), -1, 600));
        assert_eq!(directory.verified(), 0);
        (0..5).for_each(|i| assert!(!directory.met(node(i), 7)));
        (0..5).for_each(|i| assert!(!directory.met(node(i), 8), "once"));
        assert_eq!((directory.verified(), directory.next_turn(500)), (5, None));
        assert_eq!(directory.freshest(9)[0].1, 7);
        directory.check_invariants();
        assert_eq!(std::iter::from_fn(|| directory.next_turn(700)).count(), 10);
        directory.check_invariants();
    }

    #[test]
    fn two_lost_packets_do_not_silence_a_node_for_ever() {
        let mut directory = Directory::<[u8; 4]>::new(10, &mut Rng::seeded(1));
        directory.candidate(node(1));
        let (mut now, mut sampled_at) = (0, Vec::new());
        while sampled_at.len() < 5 {
            now += 2;
            assert!(now < 40_000, "{sampled_at:?}");
            let Some(turn) = directory.next_turn(now) else { continue };
            if turn.samples {
                sampled_at.push(now);
                directory.silent(turn.slot, true, now);
            } else {
                let heard = Outcome { id: turn.node.id, sampled: None, interval_secs: 300 };
                directory.answered(turn.slot, heard, now);
            }
        }
        assert!(sampled_at[2] - sampled_at[1] > 3_600);
        assert_eq!(directory.verified(), 1);
    }

    #[test]
    fn a_jump_of_the_clock_neither_hangs_nor_loses_anybody() {
        let mut directory = Directory::<[u8; 4]>::new(100, &mut Rng::seeded(1));
        (0..50).for_each(|i| directory.restore(node(i), -1, 100 * i));
        let far = 40_000_000;
        let turns = std::iter::from_fn(|| directory.next_turn(far)).count();
        assert_eq!(turns, 50);
        directory.check_invariants();
    }

    #[test]
    fn many_that_are_due_at_once_come_a_few_at_a_time() {
        let mut directory = Directory::<[u8; 4]>::new(10_000, &mut Rng::seeded(1));
        (0..5_000).for_each(|i| directory.restore(node(i), -1, 100));
        assert_eq!(directory.next_due(), Some(102));
        assert!(directory.next_turn(102).is_some());
        assert!(directory.ready[0].len < ADVANCE_MAX && directory.next_due() == Some(0));
        directory.check_invariants();
        let others = std::iter::from_fn(|| directory.next_turn(102)).count();
        assert_eq!((others, directory.next_due()), (4_999, None));
        directory.check_invariants();
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry<[u8; 4]>>() <= 48 && size_of::<Entry<[u8; 16]>>() <= 60);
    }

    /// Against a plain list: who is known, whose turn it may be, who has answered.
    #[test]
    fn no_history_makes_a_node_be_asked_twice_early_or_never() {
        fn property(seed: u64, steps: Vec<(u8, u16)>) -> bool {
            let mut directory = Directory::<[u8; 4]>::new(2_000, &mut Rng::seeded(seed));
            // By address: the second from which it may be asked, `None` while it is being asked.
            let mut model = std::collections::BTreeMap::new();
            let (mut now, mut asked) = (0, Vec::new());
            for (what, arg) in steps {
                match what % 8 {
                    0..=2 => {
                        let node = node(u32::from(arg % 512));
                        let new = directory.candidate(node);
                        assert_eq!(new, !model.contains_key(&node.addr));
                        model.entry(node.addr).or_insert(Some(0));
                    }
                    3 => now += u32::from(arg),
                    4..=5 => {
                        let Some(turn) = directory.next_turn(now) else { continue };
                        let due = model.get_mut(&turn.node.addr).expect("it is known");
                        assert!(due.take().expect("it is asked once") <= now, "not before its time");
                        asked.push(turn);
                    }
                    _ if asked.is_empty() => {}
                    6 => {
                        let turn = asked.swap_remove(usize::from(arg) % asked.len());
                        let interval = u32::from(arg);
                        directory.answered(turn.slot, spoke(turn.node.id, interval), now);
                        model.insert(turn.node.addr, Some(now + interval));
                        assert!(!directory.is_lost(turn.node.addr));
                    }
                    _ => {
                        let turn = asked.swap_remove(usize::from(arg) % asked.len());
                        directory.put_back(turn.slot);
                        model.insert(turn.node.addr, Some(0));
                    }
                }
                assert_eq!(directory.len(), model.len());
            }
            directory.check_invariants();
            // In the end everybody who is not being asked has a turn.
            let free = model.len() - asked.len();
            let later = now + 2 * u32::from(u16::MAX) + 2 * WHEEL_SECS;
            std::iter::from_fn(|| directory.next_turn(later)).count() == free
        }
        let generator = quickcheck::Gen::from_size_and_seed(400, 3);
        let mut check = quickcheck::QuickCheck::new().rng(generator).tests(60);
        check.quickcheck(property as fn(u64, Vec<(u8, u16)>) -> bool);
    }
}
