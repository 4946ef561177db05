//! Who to try next. Hashes that wait to be fetched, ordered by expected success: those asked for
//! by command, then those whose peer announced itself, then by tries, peers and age.
//!
//! A hash goes round: look up peers (unless some are known), try them in staggered parallel, and
//! if none delivers wait, longer each time, until it is given up.
//! Drive: `next_connect`, `next_lookup` while there are slots; `on_deadline`, `poll_event`.

mod avoided;
mod failure;
mod memory;
mod timing;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::avoided::Avoided;
use self::memory::Memory;
use super::fetch::{Step, Timeouts};
use crate::base::hash::{self, Map};
use crate::base::{InfoHash, Instant, Rng, Slots, Token, UnixTime};
use crate::model::{Pending, PendingState};

pub use self::failure::Failure;
pub use self::timing::Timing;

/// What bounds a queue.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Hashes that wait at once; more push out the least promising.
    pub pending_max: usize,
    /// Connections for one hash at once.
    pub parallel: u8,
    /// Hashes that wait longer than this are to be saved; most are fetched sooner.
    pub save_after: Duration,
}

/// How a hash was heard of; the better source first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Somebody asked for it.
    Command,
    /// A peer announced itself to us.
    Announced,
    /// A node's sample named it, or a peer announced it that was not there.
    Sampled,
    /// A `get_peers` asked for it: it may well not exist.
    Wanted,
}

/// What became of an [`Queue::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It waits now.
    New,
    /// It waited already; what is new of it was added.
    Merged,
    /// It waits now, and this one, the least promising, was forgotten to make room. It may be
    /// the added one itself. Whoever filters known hashes should forget it too.
    Shed(InfoHash),
}

/// A hash whose peers the DHT is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Which.
    pub hash: InfoHash,
    /// A node that knew of it, to be asked first.
    pub hint: Option<SocketAddr>,
    /// How it was heard of.
    pub source: Source,
}

/// What the engine is to do about a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Save that it waits.
    Pending(Pending),
    /// It was tried [`TRIES_MAX`] times and waits no more.
    GivenUp(InfoHash),
}

/// What was known of a hash that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// When it was first heard of.
    pub first_seen: UnixTime,
    /// Distinct peers heard of in this round.
    pub peers: u32,
    /// How it was heard of.
    pub source: Source,
    /// [`Event::Pending`] was emitted for it.
    pub saved: bool,
}

/// How many hashes are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All that wait.
    pub pending: usize,
    /// Have a peer to try now.
    pub ready: usize,
    /// Want peers.
    pub want_peers: usize,
    /// Their peers are being looked up.
    pub looking: usize,
    /// Wait to be tried again.
    pub waiting: usize,
    /// Peers that are being tried.
    pub trying: usize,
    /// Forgotten for want of room, ever.
    pub shed: u64,
    /// Given up, ever.
    pub given_up: u64,
}

/// The queue.
pub struct Queue {
    config: Config,
    items: Slots<Item>,
    by_hash: Map<InfoHash, Token>,
    ready: BTreeSet<(u64, Token)>,
    want_peers: BTreeSet<(u64, Token)>,
    staggered: BTreeSet<(Instant, Token)>,
    waiting: BTreeSet<(Instant, Token)>,
    /// Those of `waiting` whose peers were all busy, by the address of one of them. An entry counts
    /// only while its item waits.
    behind: BTreeSet<(IpAddr, u64, Token)>,
    /// Those never saved, by when they were added.
    unsaved: VecDeque<(Instant, Token)>,
    /// Those to be saved; each once.
    to_save: VecDeque<Token>,
    given_up: VecDeque<InfoHash>,
    good: Memory,
    unreachable: Memory,
    avoided: Avoided,
    timing: Timing,
    stats: Stats,
}

struct Item {
    hash: InfoHash,
    hint: Option<SocketAddr>,
    peers: Vec<Peer>,
    place: Place,
    /// When one more peer may be tried beside those in flight.
    stagger_at: Instant,
    first_seen: u32,
    /// Seconds of the driver's clock.
    added_secs: u32,
    tries: u8,
    in_flight: u8,
    source: Source,
    failure: PendingState,
    looking: bool,
    /// What is looked up at present are the peers that one node knows of.
    at_hint: bool,
    /// This round's lookup is over.
    looked: bool,
    /// It is in `to_save`.
    to_save: bool,
    saved: bool,
}

/// Which of the ordered sets an item is in, and under which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In none: something is under way for it.
    Idle,
    Ready(u64),
    Staggered(Instant),
    Waiting(Instant),
    WantPeers(u64),
}

#[derive(Clone, Copy)]
struct Peer {
    addr: SocketAddr,
    state: PeerState,
    /// How often it was tried without counting.
    excused: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerState {
    Untried,
    Trying,
    Tried,
}

impl Default for Config {
    fn default() -> Self {
        Self { pending_max: 1_000_000, parallel: 3, save_after: Duration::from_secs(20) }
    }
}

impl Queue {
    /// An empty queue.
    pub fn new(config: Config, rng: &mut Rng) -> Self {
        Self {
            config,
            items: Slots::default(),
            by_hash: hash::map(rng),
            ready: BTreeSet::new(),
            want_peers: BTreeSet::new(),
            staggered: BTreeSet::new(),
            waiting: BTreeSet::new(),
            behind: BTreeSet::new(),
            unsaved: VecDeque::new(),
            to_save: VecDeque::new(),
            given_up: VecDeque::new(),
            good: Memory::new(GOOD_MAX, rng),
            unreachable: Memory::new(UNREACHABLE_MAX, rng),
            avoided: Avoided::new(AVOIDED_MAX, rng),
            timing: Timing::default(),
            stats: Stats::default(),
        }
    }

    /// A hash was heard of; `unix` is when. `hint` is a node that knew of it, `peers` are peers
    /// that are said to have it.
    pub fn add(
        &mut self,
        hash: InfoHash,
        source: Source,
        hint: Option<SocketAddr>,
        peers: &[SocketAddr],
        (now, unix): (Instant, UnixTime),
    ) -> Added {
        if let Some(&token) = self.by_hash.get(&hash) {
            let item = self.items.get_mut(token).expect("by_hash names live items");
            let better = source < item.source;
            item.source = item.source.min(source);
            item.hint = hint.or(item.hint);
            // Whoever asks by command does not want to wait for the next round.
            let woken = source == Source::Command && matches!(item.place, Place::Waiting(_));
            if item.add_peers(peers) || better || woken {
                self.settle(token, now);
            }
            return Added::Merged;
        }
        let mut item = Item::new(hash, source, hint, now, unix);
        item.add_peers(peers);
        let token = self.insert(item);
        self.unsaved.push_back((now, token));
        if self.unsaved.len() > 2 * self.config.pending_max {
            self.unsaved.retain(|(_, token)| self.items.get(*token).is_some());
        }
        self.settle(token, now);
        self.make_room().map_or(Added::New, Added::Shed)
    }

    /// A hash that waited before the last restart.
    pub fn restore(&mut self, pending: &Pending, (now, unix): (Instant, UnixTime)) -> Added {
        if self.by_hash.contains_key(&pending.infohash) {
            return Added::Merged;
        }
        let mut item = Item::new(pending.infohash, Source::Sampled, None, now, pending.first_seen);
        item.tries = u8::try_from(pending.tries).unwrap_or(TRIES_MAX).min(TRIES_MAX - 1);
        item.failure = pending.state;
        item.saved = true;
        let token = self.insert(item);
        let wait = Duration::from_secs(pending.not_before.secs_since(unix).min(RETRY_SECS_MAX));
        if wait.is_zero() {
            self.settle(token, now);
        } else {
            self.put(token, Place::Waiting(now + wait));
        }
        self.make_room().map_or(Added::New, Added::Shed)
    }

    /// Peers of a hash, from a lookup that goes on, or from other peers. Unknown hashes and
    /// known peers are ignored.
    pub fn peers_found(&mut self, hash: InfoHash, peers: &[SocketAddr], now: Instant) {
        let Some(&token) = self.by_hash.get(&hash) else { return };
        let item = self.items.get_mut(token).expect("by_hash names live items");
        if item.add_peers(peers) {
            self.settle(token, now);
        }
    }

    /// The next hash whose peers are to be looked up; then comes [`Queue::lookup_done`] or
    /// [`Queue::lookup_refused`].
    pub fn next_lookup(&mut self, now: Instant) -> Option<Lookup> {
        self.on_deadline(now);
        let &(_, token) = self.want_peers.first()?;
        let item = self.items.get_mut(token).expect("sets hold live items");
        item.looking = true;
        self.stats.looking += 1;
        let lookup = Lookup { hash: item.hash, hint: item.hint.take(), source: item.source };
        item.at_hint = lookup.hint.is_some();
        self.settle(token, now);
        Some(lookup)
    }

    /// The lookup for this hash found what there is to find. After one at a hint the next one,
    /// without, comes as soon as those peers have failed.
    pub fn lookup_done(&mut self, hash: InfoHash, now: Instant) {
        if let Some(token) = self.end_lookup(hash) {
            let item = self.items.get_mut(token).expect("just found");
            item.looked = !item.at_hint;
            self.settle(token, now);
        }
    }

    /// The lookup could not be made now; it is wanted again soon.
    pub fn lookup_refused(&mut self, hash: InfoHash, now: Instant) {
        if let Some(token) = self.end_lookup(hash) {
            self.hold(token, now);
        }
    }

    /// The next peer to connect to, and for which hash; then comes [`Queue::failed`] or
    /// [`Queue::done`]. Peers that are `busy` are passed over, and tried a little later or after
    /// [`Queue::host_has_room`].
    pub fn next_connect(
        &mut self,
        now: Instant,
        busy: impl Fn(SocketAddr) -> bool,
    ) -> Option<(InfoHash, SocketAddr)> {
        self.on_deadline(now);
        let stagger = self.timing.stagger();
        loop {
            let &(_, token) = self.ready.first()?;
            let item = self.items.get_mut(token).expect("sets hold live items");
            let left_alone = |addr| self.unreachable.has(addr, now) || self.avoided.has(addr, now);
            let chosen = item.choose(|addr| self.good.has(addr, now), left_alone, &busy);
            if chosen.is_some() {
                item.in_flight += 1;
                item.stagger_at = now + stagger;
                self.stats.trying += 1;
            }
            let hash = item.hash;
            if let Some(addr) = chosen {
                self.settle(token, now);
                return Some((hash, addr));
            }
            let untried = item.peers.iter().find(|peer| peer.state == PeerState::Untried);
            if let Some(peer) = untried {
                self.behind.insert((peer.addr.ip(), item.rank(&self.good, now), token));
                item.stagger_at = now + HOLD;
                self.hold(token, now);
                self.tidy_behind();
            } else {
                self.settle(token, now);
            }
        }
    }

    /// A peer at this address may be connected to again: one of those that wait for it goes on.
    pub fn host_has_room(&mut self, host: IpAddr, now: Instant) {
        let of_host = (host, 0, Token::FIRST)..=(host, u64::MAX, Token::LAST);
        while let Some(&entry) = self.behind.range(of_host.clone()).next() {
            self.behind.remove(&entry);
            let item = self.items.get(entry.2);
            if item.is_some_and(|item| matches!(item.place, Place::Waiting(_)) && item.has_untried()) {
                return self.settle(entry.2, now);
            }
        }
    }

    /// The connection is open: whoever else has the hash may wait a little longer.
    pub fn opened(&mut self, hash: InfoHash, addr: SocketAddr, now: Instant) {
        self.unreachable.forget(addr);
        let stagger = self.timing.stagger();
        if let Some((token, _)) = self.trying(hash, addr) {
            self.items.get_mut(token).expect("just found").stagger_at = now + stagger;
            self.settle(token, now);
        }
    }

    /// The peer did not deliver.
    pub fn failed(&mut self, hash: InfoHash, addr: SocketAddr, failure: Failure, now: Instant) {
        match failure {
            Failure::Misbehaved => {
                self.good.forget(addr);
                self.avoided.offended(addr, now);
            }
            Failure::Unreachable if self.good.forget(addr) => {}
            Failure::Unreachable => self.unreachable.put(addr, now + AVOID_UNREACHABLE),
            Failure::Crowded | Failure::NotHere | Failure::Ours => {}
        }
        let Some((token, at)) = self.trying(hash, addr) else { return };
        let item = self.items.get_mut(token).expect("just found");
        item.in_flight -= 1;
        self.stats.trying -= 1;
        let peer = &mut item.peers[at];
        peer.state = PeerState::Tried;
        match failure {
            Failure::Ours => {
                peer.state = PeerState::Untried;
                item.stagger_at = now + HOLD;
                return self.hold(token, now);
            }
            Failure::Crowded if peer.excused < EXCUSED_MAX => {
                peer.state = PeerState::Untried;
                peer.excused += 1;
            }
            _ => {}
        }
        self.settle(token, now);
    }

    /// The peer delivered. The hash waits no more; other connections for it are to be closed,
    /// and nothing is to be reported of them.
    pub fn done(&mut self, hash: InfoHash, addr: SocketAddr, now: Instant) -> Option<Done> {
        self.good.put(addr, now + GOOD_FOR);
        self.unreachable.forget(addr);
        self.remove(hash)
    }

    /// The hash waits no more: it was deleted, refused, or fetched by other means.
    pub fn remove(&mut self, hash: InfoHash) -> Option<Done> {
        let token = *self.by_hash.get(&hash)?;
        let item = self.take_out(token)?;
        Some(Done {
            first_seen: UnixTime(u64::from(item.first_seen)),
            peers: u32::try_from(item.peers.len()).unwrap_or(u32::MAX),
            source: item.source,
            saved: item.saved,
        })
    }

    /// True if the hash waits or is being fetched.
    pub fn contains(&self, hash: InfoHash) -> bool {
        self.by_hash.contains_key(&hash)
    }

    /// How long the hash waits before it is tried again, zero if something is under way for it;
    /// `None` if it does not wait here.
    pub fn wait_of(&self, hash: InfoHash, now: Instant) -> Option<Duration> {
        let item = self.items.get(*self.by_hash.get(&hash)?)?;
        Some(if let Place::Waiting(at) = item.place { at.since(now) } else { Duration::ZERO })
    }

    /// A peer took so long for this step: time-outs follow.
    pub fn observe(&mut self, step: Step, took: Duration) {
        self.timing.observe(step, took);
    }

    /// What a fetch that starts now is to be given.
    pub fn timeouts(&self) -> Timeouts {
        self.timing.timeouts()
    }

    /// How many hashes are where.
    pub fn stats(&self) -> Stats {
        Stats {
            pending: self.by_hash.len(),
            ready: self.ready.len(),
            want_peers: self.want_peers.len(),
            waiting: self.waiting.len(),
            ..self.stats
        }
    }

    /// When [`Queue::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let save_at = self.unsaved.front().map(|(added, _)| *added + self.config.save_after);
        let staggered = self.staggered.first().map(|(at, _)| *at);
        let waiting = self.waiting.first().map(|(at, _)| *at);
        [save_at, staggered, waiting].into_iter().flatten().min()
    }

    /// Brings back what has waited long enough.
    pub fn on_deadline(&mut self, now: Instant) {
        while let Some(&(_, token)) = self.staggered.first().filter(|(at, _)| *at <= now) {
            self.settle(token, now);
        }
        while let Some(&(_, token)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.settle(token, now);
        }
        while let Some(&(added, token)) = self.unsaved.front() {
            if added + self.config.save_after > now {
                break;
            }
            self.unsaved.pop_front();
            self.mark(token);
        }
    }

    /// Before a stop: everything that was never saved is to be saved now.
    pub fn save_all(&mut self) {
        while let Some((_, token)) = self.unsaved.pop_front() {
            self.mark(token);
        }
    }

    /// What is to be done about hashes; `None` when there is nothing more now.
    pub fn poll_event(&mut self, (now, unix): (Instant, UnixTime)) -> Option<Event> {
        if let Some(hash) = self.given_up.pop_front() {
            return Some(Event::GivenUp(hash));
        }
        while let Some(token) = self.to_save.pop_front() {
            let Some(item) = self.items.get_mut(token) else { continue };
            (item.to_save, item.saved) = (false, true);
            return Some(Event::Pending(item.pending(now, unix)));
        }
        None
    }

    /// Panics if the queue contradicts itself. For tests and simulations: it visits every item.
    pub fn check_invariants(&self) {
        let (mut trying, mut looking) = (0, 0);
        assert_eq!(self.items.len(), self.by_hash.len());
        assert!(self.items.len() <= self.config.pending_max);
        for (token, item) in self.items.iter() {
            assert_eq!(self.by_hash.get(&item.hash), Some(&token));
            let in_its_set = match item.place {
                Place::Idle => item.in_flight > 0 || item.looking,
                Place::Ready(rank) => self.ready.contains(&(rank, token)),
                Place::Staggered(at) => self.staggered.contains(&(at, token)) && item.in_flight > 0,
                Place::Waiting(at) => self.waiting.contains(&(at, token)) && item.in_flight == 0,
                Place::WantPeers(rank) => self.want_peers.contains(&(rank, token)) && !item.looking,
            };
            assert!(in_its_set, "{:?} of {:?}", item.place, item.hash);
            let in_flight = item.peers.iter().filter(|peer| peer.state == PeerState::Trying).count();
            assert_eq!(in_flight, usize::from(item.in_flight));
            assert!(item.in_flight <= self.config.parallel && item.peers.len() <= PEERS_MAX);
            trying += in_flight;
            looking += usize::from(item.looking);
        }
        let placed = self.ready.len() + self.staggered.len() + self.waiting.len() + self.want_peers.len();
        let idle = self.items.iter().filter(|(_, item)| item.place == Place::Idle).count();
        assert_eq!(placed + idle, self.items.len());
        assert_eq!((trying, looking), (self.stats.trying, self.stats.looking));
    }

    fn insert(&mut self, item: Item) -> Token {
        let hash = item.hash;
        let token = self.items.insert(item);
        self.by_hash.insert(hash, token);
        token
    }

    fn take_out(&mut self, token: Token) -> Option<Item> {
        self.put(token, Place::Idle);
        let item = self.items.remove(token)?;
        self.by_hash.remove(&item.hash);
        self.stats.trying -= usize::from(item.in_flight);
        self.stats.looking -= usize::from(item.looking);
        Some(item)
    }

    /// The token of a hash and the index of its peer, if that peer is being tried.
    fn trying(&self, hash: InfoHash, addr: SocketAddr) -> Option<(Token, usize)> {
        let token = *self.by_hash.get(&hash)?;
        let peers = &self.items.get(token)?.peers;
        let at = peers.iter().position(|peer| peer.addr == addr && peer.state == PeerState::Trying)?;
        Some((token, at))
    }

    fn end_lookup(&mut self, hash: InfoHash) -> Option<Token> {
        let token = *self.by_hash.get(&hash)?;
        let item = self.items.get_mut(token)?;
        if !item.looking {
            return None;
        }
        item.looking = false;
        self.stats.looking -= 1;
        Some(token)
    }

    /// Something of ours was missing: again in a moment, and it does not count as a try.
    fn hold(&mut self, token: Token, now: Instant) {
        if self.items.get(token).is_some_and(|item| item.in_flight > 0) {
            return self.settle(token, now);
        }
        self.put(token, Place::Waiting(now + HOLD));
    }

    /// Lets go of entries whose items are gone, before there are too many.
    fn tidy_behind(&mut self) {
        if self.behind.len() > 2 * self.config.pending_max {
            let waits = |token| self.items.get(token).map(|item| matches!(item.place, Place::Waiting(_)));
            self.behind.retain(|(_, _, token)| waits(*token) == Some(true));
        }
    }

    /// Moves an item to where its state says it belongs.
    fn settle(&mut self, token: Token, now: Instant) {
        let Some(item) = self.items.get_mut(token) else { return };
        let place = if item.has_untried() && item.in_flight < self.config.parallel {
            if item.in_flight == 0 || item.stagger_at <= now {
                Place::Ready(item.rank(&self.good, now))
            } else {
                Place::Staggered(item.stagger_at)
            }
        } else if item.in_flight > 0 || item.looking {
            Place::Idle
        } else if !item.looked {
            Place::WantPeers(item.rank(&self.good, now))
        } else {
            return self.end_round(token, now);
        };
        self.put(token, place);
    }

    fn put(&mut self, token: Token, place: Place) {
        let Some(item) = self.items.get_mut(token) else { return };
        if item.place == place {
            return;
        }
        match std::mem::replace(&mut item.place, place) {
            Place::Idle => false,
            Place::Ready(rank) => self.ready.remove(&(rank, token)),
            Place::Staggered(at) => self.staggered.remove(&(at, token)),
            Place::Waiting(at) => self.waiting.remove(&(at, token)),
            Place::WantPeers(rank) => self.want_peers.remove(&(rank, token)),
        };
        match place {
            Place::Idle => false,
            Place::Ready(rank) => self.ready.insert((rank, token)),
            Place::Staggered(at) => self.staggered.insert((at, token)),
            Place::Waiting(at) => self.waiting.insert((at, token)),
            Place::WantPeers(rank) => self.want_peers.insert((rank, token)),
        };
    }

    /// Nobody delivered: it waits, longer each time, or is given up.
    fn end_round(&mut self, token: Token, now: Instant) {
        let Some(item) = self.items.get_mut(token) else { return };
        item.failure = if item.peers.is_empty() { PendingState::NoPeers } else { PendingState::PeersFailed };
        item.tries += 1;
        // Whoever announced it is not there (any more).
        if item.source == Source::Announced {
            item.source = Source::Sampled;
        }
        // The next round asks the DHT again; who was tried in vain is only in the way.
        item.peers = Vec::new();
        item.looked = false;
        let (tries, hash) = (item.tries, item.hash);
        if tries < TRIES_MAX {
            let secs = RETRY_SECS[usize::from(tries - 1).min(RETRY_SECS.len() - 1)];
            self.put(token, Place::Waiting(now + Duration::from_secs(secs)));
            return self.mark(token);
        }
        self.take_out(token);
        self.stats.given_up += 1;
        self.given_up.push_back(hash);
        if self.given_up.len() > GIVEN_UP_MAX {
            self.given_up.pop_front();
        }
    }

    /// Notes that an item is to be saved.
    fn mark(&mut self, token: Token) {
        if let Some(item) = self.items.get_mut(token)
            && !item.to_save
        {
            item.to_save = true;
            self.to_save.push_back(token);
            if self.to_save.len() > 2 * self.config.pending_max {
                self.to_save.retain(|token| self.items.get(*token).is_some());
            }
        }
    }

    /// Over the cap, forgets the least promising: what waits longest, else what would be looked
    /// up last, else what would be tried last. What is under way stays.
    fn make_room(&mut self) -> Option<InfoHash> {
        if self.items.len() <= self.config.pending_max {
            return None;
        }
        let waiting = self.waiting.last().map(|(_, token)| *token);
        let wanting = || self.want_peers.last().map(|(_, token)| *token);
        let ready = || self.ready.last().map(|(_, token)| *token);
        let token = waiting.or_else(wanting).or_else(ready)?;
        let shed = self.take_out(token)?;
        self.stats.shed += 1;
        Some(shed.hash)
    }
}

impl Item {
    fn new(
        hash: InfoHash,
        source: Source,
        hint: Option<SocketAddr>,
        now: Instant,
        first_seen: UnixTime,
    ) -> Self {
        Self {
            hash,
            hint,
            peers: Vec::new(),
            place: Place::Idle,
            stagger_at: now,
            first_seen: u32::try_from(first_seen.0).unwrap_or(u32::MAX),
            added_secs: now.secs(),
            tries: 0,
            in_flight: 0,
            source,
            failure: PendingState::New,
            looking: false,
            at_hint: false,
            looked: false,
            to_save: false,
            saved: false,
        }
    }

    /// True if any of them is new.
    fn add_peers(&mut self, peers: &[SocketAddr]) -> bool {
        let before = self.peers.len();
        for &addr in peers {
            if self.peers.len() < PEERS_MAX && self.peers.iter().all(|known| known.addr != addr) {
                self.peers.push(Peer { addr, state: PeerState::Untried, excused: 0 });
            }
        }
        self.peers.len() > before
    }

    fn has_untried(&self) -> bool {
        self.peers.iter().any(|peer| peer.state == PeerState::Untried)
    }

    /// Takes the most promising untried peer; passes over those that are left alone, unless
    /// this very hash was asked for by command.
    fn choose(
        &mut self,
        good: impl Fn(SocketAddr) -> bool,
        left_alone: impl Fn(SocketAddr) -> bool,
        busy: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let mut chosen: Option<usize> = None;
        for at in 0..self.peers.len() {
            let Peer { addr, state, .. } = self.peers[at];
            if state != PeerState::Untried || busy(addr) {
                continue;
            }
            if good(addr) {
                chosen = Some(at);
                break;
            }
            if self.source != Source::Command && left_alone(addr) {
                self.peers[at].state = PeerState::Tried;
            } else if chosen.is_none() {
                chosen = Some(at);
            }
        }
        let peer = &mut self.peers[chosen?];
        peer.state = PeerState::Trying;
        Some(peer.addr)
    }

    /// The order of everything, smallest first: source, a peer that has delivered before, tries
    /// (connections under way count as such), number of peers, age. Of announced hashes the
    /// newest comes first, since its peer is surely there; of others the oldest.
    fn rank(&self, good: &Memory, now: Instant) -> u64 {
        let known_good =
            self.peers.iter().any(|peer| peer.state == PeerState::Untried && good.has(peer.addr, now));
        let tries = (u64::from(self.tries) + 2 * u64::from(self.in_flight)).min(31);
        let peers = PEERS_MAX - self.peers.len().min(PEERS_MAX);
        let age = if self.source == Source::Announced { u32::MAX - self.added_secs } else { self.added_secs };
        let head = (self.source as u64) << 1 | u64::from(!known_good);
        head << 48 | tries << 40 | (peers as u64) << 32 | u64::from(age)
    }

    fn pending(&self, now: Instant, unix: UnixTime) -> Pending {
        let wait = if let Place::Waiting(at) = self.place { at.since(now).as_secs() } else { 0 };
        Pending {
            infohash: self.hash,
            first_seen: UnixTime(u64::from(self.first_seen)),
            tries: u16::from(self.tries),
            not_before: UnixTime(unix.0.saturating_add(wait)),
            state: self.failure,
        }
    }
}

/// Rounds after which a hash is given up: waiting in between 20 s, 4 min, 1 h, 6 h and twice 24 h.
pub const TRIES_MAX: u8 = 7;

/// How long a hash waits after its first, second ... round.
const RETRY_SECS: [u64; 6] = [20, 4 * 60, 3_600, 6 * 3_600, 24 * 3_600, 24 * 3_600];
/// No saved time is believed beyond this: clocks jump.
const RETRY_SECS_MAX: u64 = 24 * 3_600;
/// Peers kept for one hash; no DHT node returns more in one packet.
const PEERS_MAX: usize = 32;
/// When something of ours was missing.
const HOLD: Duration = Duration::from_secs(1);
/// 65,536 addresses of about 100 bytes each, map and order: 6 MiB.
const GOOD_MAX: usize = 65_536;
const UNREACHABLE_MAX: usize = 65_536;
const AVOIDED_MAX: usize = 65_536;
const GOOD_FOR: Duration = Duration::from_secs(24 * 3_600);
const AVOID_UNREACHABLE: Duration = Duration::from_secs(5 * 60);
/// Once while many connections to its address are made, twice more while the crawl learns how many
/// that address takes; a peer that closes every time does not keep its hash waiting for ever.
const EXCUSED_MAX: u8 = 3;
/// Given-up hashes that nobody fetched from [`Queue::poll_event`]; the oldest would be dropped,
/// and heard of again some day.
const GIVEN_UP_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::metadata::fetch::Why;

    const UNIX: UnixTime = UnixTime(1_700_000_000);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    fn time(ms: u64) -> (Instant, UnixTime) {
        (at(ms), UnixTime(UNIX.0 + ms / 1_000))
    }

    fn id(n: u64) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Id(bytes)
    }

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
    }

    fn connect(queue: &mut Queue, now: Instant) -> Option<(InfoHash, SocketAddr)> {
        queue.next_connect(now, |_| false)
    }

    fn queue(pending_max: usize) -> Queue {
        Queue::new(Config { pending_max, ..Config::default() }, &mut Rng::seeded(1))
    }

    #[test]
    fn a_pending_hash_is_small() {
        assert!(size_of::<Item>() <= 128, "{}", size_of::<Item>());
    }

    #[test]
    fn commands_come_first_then_announced_newest_first_then_many_peers_then_age() {
        let mut queue = queue(100);
        let several = [peer(7), peer(8), peer(9)];
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        queue.add(id(2), Source::Sampled, None, &several, time(1_000));
        queue.add(id(3), Source::Announced, None, &[peer(3)], time(2_000));
        queue.add(id(4), Source::Announced, None, &[peer(4)], time(3_000));
        queue.add(id(5), Source::Command, None, &[peer(5)], time(4_000));
        queue.add(id(6), Source::Sampled, None, &[peer(6)], time(5_000));
        let order: Vec<_> =
            std::iter::from_fn(|| connect(&mut queue, at(5_000))).map(|(hash, _)| hash).collect();
        assert_eq!(order, [5, 4, 3, 2, 1, 6].map(id));
        queue.check_invariants();
    }

    #[test]
    fn lookups_run_for_hashes_without_peers_and_carry_their_hint() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
        assert_eq!(connect(&mut queue, at(0)), None);
        let lookup = Lookup { hash: id(1), hint: Some(peer(50)), source: Source::Sampled };
        assert_eq!(queue.next_lookup(at(0)), Some(lookup));
        assert_eq!((queue.next_lookup(at(0)), queue.stats().looking), (None, 1));
        queue.peers_found(id(1), &[peer(1), peer(1), peer(2)], at(5));
        assert_eq!(connect(&mut queue, at(5)), Some((id(1), peer(1))));
        queue.lookup_done(id(1), at(6));
        queue.check_invariants();
        queue.failed(id(1), peer(1), Failure::NotHere, at(7));
        assert_eq!(connect(&mut queue, at(7)), Some((id(1), peer(2))));
        let done = queue.done(id(1), peer(2), at(8)).unwrap();
        assert_eq!((done.peers, done.first_seen, queue.stats().pending), (2, UNIX, 0));
        queue.failed(id(1), peer(2), Failure::NotHere, at(9));
        queue.check_invariants();
    }

    #[test]
    fn a_hint_without_peers_is_followed_by_a_full_lookup_at_once() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
        assert_eq!(queue.next_lookup(at(0)).map(|lookup| lookup.hint), Some(Some(peer(50))));
        queue.lookup_done(id(1), at(10));
        assert_eq!(queue.next_lookup(at(10)).map(|lookup| lookup.hint), Some(None));
        queue.peers_found(id(1), &[peer(1)], at(20));
        queue.lookup_done(id(1), at(20));
        assert_eq!(connect(&mut queue, at(20)), Some((id(1), peer(1))));
        queue.failed(id(1), peer(1), Failure::NotHere, at(21));
        assert_eq!((queue.next_lookup(at(22)), queue.stats().waiting), (None, 1), "the round is over");
        queue.check_invariants();
    }

    #[test]
    fn peers_of_a_hint_that_fail_are_followed_by_a_full_lookup_in_the_same_round() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
        queue.next_lookup(at(0)).unwrap();
        queue.peers_found(id(1), &[peer(1)], at(1));
        queue.lookup_done(id(1), at(1));
        assert_eq!((connect(&mut queue, at(1)), queue.next_lookup(at(1))), (Some((id(1), peer(1))), None));
        queue.failed(id(1), peer(1), Failure::Unreachable, at(2));
        assert_eq!(queue.next_lookup(at(2)).map(|lookup| lookup.hint), Some(None));
        queue.check_invariants();
    }

    #[test]
    fn who_delivered_is_forgiven_one_timeout_and_nobody_a_lie() {
        for (failure, forgiven) in [(Failure::Unreachable, true), (Failure::Misbehaved, false)] {
            let mut queue = queue(100);
            let mut next = 0;
            // A torrent that this peer alone has: is it tried?
            let mut tried = |queue: &mut Queue, now| {
                next += 1;
                queue.add(id(next), Source::Sampled, None, &[peer(1)], time(now));
                connect(queue, at(now)).map(|(hash, _)| hash)
            };
            let first = tried(&mut queue, 0).unwrap();
            queue.done(first, peer(1), at(1)).unwrap();
            let second = tried(&mut queue, 2).unwrap();
            queue.failed(second, peer(1), failure, at(3));
            let third = tried(&mut queue, 4);
            assert_eq!(third.is_some(), forgiven);
            if let Some(third) = third {
                queue.failed(third, peer(1), failure, at(5));
                assert_eq!(tried(&mut queue, 6), None, "twice in a row is avoided");
            }
            queue.check_invariants();
        }
    }

    #[test]
    fn busy_peers_are_left_alone_for_a_while_and_not_blamed() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        queue.add(id(2), Source::Sampled, None, &[peer(1), peer(2)], time(0));
        let busy = |addr| addr == peer(1);
        assert_eq!(queue.next_connect(at(0), busy), Some((id(2), peer(2))));
        assert_eq!(queue.next_connect(at(0), busy), None);
        queue.check_invariants();
        assert_eq!(queue.next_connect(at(999), |_| false), None);
        let both = [0, 1].map(|_| connect(&mut queue, at(2_001)).unwrap().0);
        assert_eq!(both, [id(1), id(2)]);
    }

    #[test]
    fn who_waits_for_an_address_goes_on_as_soon_as_it_has_room() {
        let mut queue = queue(100);
        for n in 1..=3 {
            queue.add(id(n), Source::Sampled, None, &[peer(1)], time(n));
        }
        assert_eq!(connect(&mut queue, at(5)), Some((id(1), peer(1))));
        assert_eq!(queue.next_connect(at(5), |_| true), None);
        for n in 2..=3 {
            queue.host_has_room(peer(9).ip(), at(6));
            assert_eq!(connect(&mut queue, at(6)), None, "that is another address");
            queue.host_has_room(peer(1).ip(), at(6));
            assert_eq!(connect(&mut queue, at(6)), Some((id(n), peer(1))), "one at a time, in order");
        }
        queue.host_has_room(peer(1).ip(), at(6));
        assert_eq!(connect(&mut queue, at(6)), None);
        queue.check_invariants();
    }

    #[test]
    fn a_peer_that_was_crowded_is_tried_again_at_once_but_not_for_ever() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        for n in 0..=u64::from(EXCUSED_MAX) {
            assert_eq!(connect(&mut queue, at(n)), Some((id(1), peer(1))));
            queue.failed(id(1), peer(1), Failure::Crowded, at(n));
        }
        assert_eq!(connect(&mut queue, at(9)), None);
        let lookup = queue.next_lookup(at(9)).map(|lookup| lookup.hash);
        assert_eq!(lookup, Some(id(1)), "its peers are looked up as after any other failure");
    }

    #[test]
    fn an_odd_peer_is_no_enemy() {
        let odd = [
            Why::Closed(Step::Handshake),
            Why::EmptyPiece,
            Why::NoMetadata,
            Why::OtherTorrent,
            Why::Protocol(crate::wire::peer::Error::OutOfBounds),
            Why::Rejected,
            Why::TooLarge,
        ];
        for why in odd {
            let mut queue = queue(100);
            queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
            connect(&mut queue, at(0)).unwrap();
            queue.failed(id(1), peer(1), why.into(), at(1));
            queue.add(id(2), Source::Sampled, None, &[peer(1)], time(2));
            assert_eq!(connect(&mut queue, at(2)), Some((id(2), peer(1))), "{why:?}");
        }
        for why in [Why::Chatter, Why::WrongHash] {
            let mut queue = queue(100);
            queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
            connect(&mut queue, at(0)).unwrap();
            queue.failed(id(1), peer(1), why.into(), at(1));
            queue.add(id(2), Source::Sampled, None, &[peer(1)], time(2));
            assert_eq!(connect(&mut queue, at(2)), None, "{why:?}");
            queue.add(id(3), Source::Sampled, None, &[peer(1)], time(300_001));
            assert_eq!(connect(&mut queue, at(300_001)), Some((id(3), peer(1))), "after five minutes");
        }
    }

    #[test]
    fn what_was_only_asked_for_comes_last_and_a_vain_announce_loses_its_rank() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Wanted, None, &[], time(0));
        queue.add(id(2), Source::Sampled, None, &[], time(1));
        queue.add(id(3), Source::Announced, None, &[peer(3)], time(2));
        assert_eq!(connect(&mut queue, at(2)), Some((id(3), peer(3))));
        queue.failed(id(3), peer(3), Failure::Unreachable, at(3));
        let order = [(); 3].map(|()| queue.next_lookup(at(3)).unwrap());
        assert_eq!(order.map(|lookup| lookup.hash), [3, 2, 1].map(id));
        queue.lookup_done(id(3), at(4));
        assert_eq!(queue.next_lookup(at(20_004)).unwrap().source, Source::Sampled);
    }

    #[test]
    fn a_second_peer_is_tried_after_a_while_and_never_more_than_three() {
        let mut queue = queue(100);
        let peers: Vec<_> = (0..9).map(peer).collect();
        queue.add(id(1), Source::Announced, None, &peers, time(0));
        assert!(connect(&mut queue, at(0)).is_some());
        assert_eq!(connect(&mut queue, at(0)), None);
        let due = queue.next_deadline().unwrap();
        assert!(due > at(0) && due <= at(2_000));
        assert!(connect(&mut queue, due).is_some());
        assert_eq!(connect(&mut queue, due), None);
        queue.opened(id(1), peers[0], due + Duration::from_millis(1));
        let early = queue.next_deadline().unwrap() - Duration::from_millis(1);
        assert_eq!(connect(&mut queue, early), None);
        assert!(connect(&mut queue, at(9_000)).is_some());
        assert_eq!(connect(&mut queue, at(19_000)), None);
        assert_eq!(queue.stats().trying, 3);
        queue.failed(id(1), peers[1], Failure::Unreachable, at(19_500));
        assert_eq!(connect(&mut queue, at(19_500)), Some((id(1), peers[3])));
        queue.check_invariants();
    }

    #[test]
    fn good_peers_are_preferred_and_bad_ones_left_out_for_a_while() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        queue.add(id(2), Source::Sampled, None, &[peer(2)], time(0));
        assert_eq!(connect(&mut queue, at(0)), Some((id(1), peer(1))));
        assert_eq!(connect(&mut queue, at(0)), Some((id(2), peer(2))));
        queue.done(id(1), peer(1), at(1));
        queue.failed(id(2), peer(2), Failure::Unreachable, at(1));
        queue.add(id(3), Source::Sampled, None, &[peer(3), peer(4)], time(2));
        queue.add(id(4), Source::Sampled, None, &[peer(2), peer(3), peer(1)], time(2_000));
        assert_eq!(connect(&mut queue, at(2_000)), Some((id(4), peer(1))), "it has delivered before");
        queue.failed(id(4), peer(1), Failure::NotHere, at(2_001));
        assert_eq!(connect(&mut queue, at(2_001)), Some((id(4), peer(3))));
        queue.failed(id(4), peer(3), Failure::NotHere, at(2_002));
        assert_eq!(connect(&mut queue, at(2_002)), Some((id(3), peer(3))));
        queue.add(id(5), Source::Command, None, &[peer(2)], time(2_003));
        assert_eq!(connect(&mut queue, at(2_003)), Some((id(5), peer(2))), "a command tries everybody");
        queue.add(id(6), Source::Announced, None, &[peer(2)], time(302_000));
        assert_eq!(connect(&mut queue, at(302_000)), Some((id(6), peer(2))), "forgiven by now");
    }

    #[test]
    fn a_hash_that_nobody_delivers_waits_longer_each_time_and_is_given_up() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[], time(0));
        let mut now = at(0);
        let mut waits = Vec::new();
        let mut events = Vec::new();
        for _ in 0..TRIES_MAX {
            assert_eq!(queue.next_lookup(now).map(|lookup| lookup.hash), Some(id(1)));
            queue.lookup_done(id(1), now);
            queue.check_invariants();
            let unix = UnixTime(UNIX.0 + now.since(at(0)).as_secs());
            events.extend(std::iter::from_fn(|| queue.poll_event((now, unix))));
            let Some(next) = queue.waiting.first().map(|(at, _)| *at) else { break };
            assert_eq!(queue.next_lookup(next - Duration::from_millis(1)), None);
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits, RETRY_SECS);
        assert_eq!(events.pop(), Some(Event::GivenUp(id(1))));
        let Some(Event::Pending(second)) = events.get(1) else { panic!("{events:?}") };
        assert_eq!((second.tries, second.state), (2, PendingState::NoPeers));
        assert_eq!(second.not_before, UnixTime(UNIX.0 + 20 + 240));
        assert_eq!((queue.stats().pending, queue.stats().given_up), (0, 1));
    }

    #[test]
    fn what_is_our_own_fault_counts_against_nobody() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        connect(&mut queue, at(0)).unwrap();
        queue.failed(id(1), peer(1), Failure::Ours, at(1));
        assert_eq!((connect(&mut queue, at(2)), queue.next_lookup(at(2))), (None, None));
        assert_eq!(connect(&mut queue, at(1_001)), Some((id(1), peer(1))));
        queue.add(id(2), Source::Sampled, None, &[], time(1_001));
        queue.next_lookup(at(1_001)).unwrap();
        queue.lookup_refused(id(2), at(1_001));
        queue.check_invariants();
        assert_eq!(queue.next_lookup(at(1_500)), None);
        assert!(queue.next_lookup(at(2_001)).is_some());
    }

    #[test]
    fn over_the_cap_the_least_promising_is_forgotten() {
        let mut queue = queue(3);
        queue.add(id(1), Source::Announced, None, &[peer(1)], time(0));
        queue.add(id(2), Source::Sampled, None, &[], time(0));
        queue.add(id(3), Source::Sampled, None, &[], time(1_000));
        assert_eq!(queue.add(id(4), Source::Sampled, None, &[], time(2_000)), Added::Shed(id(4)));
        assert_eq!(queue.add(id(5), Source::Announced, None, &[peer(5)], time(2_000)), Added::Shed(id(3)));
        queue.next_lookup(at(2_000)).unwrap();
        queue.lookup_done(id(2), at(2_000));
        assert_eq!(queue.add(id(6), Source::Command, None, &[], time(2_000)), Added::Shed(id(2)), "it waits");
        assert!(!queue.contains(id(2)) && queue.stats().shed == 3);
        queue.check_invariants();
    }

    #[test]
    fn what_waits_long_is_saved_once_and_comes_back_after_a_restart() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[], time(0));
        queue.add(id(2), Source::Sampled, None, &[], time(0));
        queue.remove(id(2));
        queue.on_deadline(at(19_999));
        assert_eq!(queue.poll_event(time(19_999)), None);
        let due = queue.next_deadline().unwrap();
        queue.on_deadline(due);
        let Some(Event::Pending(saved)) = queue.poll_event(time(20_000)) else { panic!("not saved") };
        assert_eq!((saved.infohash, saved.first_seen, saved.tries), (id(1), UNIX, 0));
        assert_eq!(queue.poll_event(time(20_000)), None);
        queue.add(id(3), Source::Sampled, None, &[], time(20_000));
        queue.save_all();
        assert!(matches!(queue.poll_event(time(20_000)), Some(Event::Pending(row)) if row.infohash == id(3)));
        let mut again = self::queue(100);
        let row = Pending { not_before: UnixTime(UNIX.0 + 30), tries: 3, ..saved };
        assert_eq!(again.restore(&row, time(0)), Added::New);
        assert_eq!((again.next_lookup(at(29_000)), again.poll_event(time(29_000))), (None, None));
        assert!(again.next_lookup(at(30_000)).is_some());
    }

    #[test]
    fn an_announce_wakes_a_hash_that_waits() {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[], time(0));
        queue.next_lookup(at(0)).unwrap();
        queue.lookup_done(id(1), at(0));
        assert_eq!(queue.add(id(1), Source::Announced, None, &[peer(9)], time(10)), Added::Merged);
        assert_eq!(connect(&mut queue, at(10)), Some((id(1), peer(9))));
    }

    /// One random thing happens to the queue, as an engine would let it happen.
    fn step(
        queue: &mut Queue,
        rng: &mut Rng,
        open: &mut Vec<(InfoHash, SocketAddr)>,
        looking: &mut Vec<InfoHash>,
        ms: u64,
    ) {
        let hash = id(rng.below(300));
        let peers: Vec<_> = (0..rng.below(4)).map(|_| peer(rng.below(400) as u16)).collect();
        let source = [Source::Command, Source::Announced, Source::Sampled][rng.index(3)];
        match rng.below(9) {
            0 | 1 => _ = queue.add(hash, source, None, &peers, time(ms)),
            2 => queue.peers_found(hash, &peers, at(ms)),
            3 => open.extend(connect(queue, at(ms))),
            4 => looking.extend(queue.next_lookup(at(ms)).map(|lookup| lookup.hash)),
            5 if !looking.is_empty() => {
                let hash = looking.swap_remove(rng.index(looking.len()));
                if rng.percent(20) {
                    queue.lookup_refused(hash, at(ms))
                } else {
                    queue.lookup_done(hash, at(ms))
                }
            }
            6 | 7 if !open.is_empty() => {
                let (hash, addr) = open.swap_remove(rng.index(open.len()));
                let failures = [
                    Failure::Crowded,
                    Failure::Misbehaved,
                    Failure::NotHere,
                    Failure::Ours,
                    Failure::Unreachable,
                ];
                match rng.below(6) {
                    0 => _ = queue.done(hash, addr, at(ms)),
                    1 => queue.opened(hash, addr, at(ms)),
                    _ => queue.failed(hash, addr, failures[rng.index(5)], at(ms)),
                }
            }
            _ => _ = queue.poll_event(time(ms)),
        }
    }

    #[test]
    fn it_never_contradicts_itself_nor_stands_still() {
        for seed in 0..20 {
            let mut rng = Rng::seeded(seed);
            let mut queue = queue(100);
            let (mut open, mut looking, mut ms) = (Vec::new(), Vec::new(), 0);
            for _ in 0..2_000 {
                ms += rng.below(2_000);
                step(&mut queue, &mut rng, &mut open, &mut looking, ms);
                queue.check_invariants();
                queue.on_deadline(at(ms));
                assert!(queue.next_deadline().is_none_or(|due| due > at(ms)), "seed {seed}");
            }
        }
    }

    #[test]
    fn many_hashes_wait_without_trouble() {
        let mut queue = queue(200_000);
        for n in 0..250_000 {
            queue.add(id(n), Source::Sampled, None, &[], time(n / 10));
        }
        assert_eq!((queue.stats().pending, queue.stats().shed), (200_000, 50_000));
        assert_eq!(queue.next_lookup(at(25_000)).map(|lookup| lookup.hash), Some(id(0)));
    }
}
