//! What to try next. Hashes that wait to be fetched: those asked for by command first, then others
//! in turns by how they were heard of (`turns`), within shares (`shares`) that depend on what
//! the address that named them has earned (`credit`).
//!
//! A hash goes round: look up peers (unless some are known), try them in staggered parallel, and
//! if none delivers wait, longer each time, until it is given up. A peer that announces itself in
//! between is tried at once, and that counts as no try.
//! Drive: `next_connect`, `next_lookup` while there are slots; `on_deadline`, `poll_event`.

mod avoided;
mod credit;
mod failure;
mod item;
mod memory;
mod places;
mod reputation;
mod shares;
mod timing;
mod turns;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::credit::{Account, Credit, Terms};
use self::item::{Item, PeerSource, PeerState, Place, address_of};
use self::memory::Memory;
use self::reputation::Reputation;
use self::shares::Shares;
use self::turns::Turns;
use super::fetch::{Step, Timeouts};
use crate::base::hash::{self, Map};
use crate::base::{InfoHash, Instant, Network, Rng, Slots, Token, UnixTime};
use crate::model::Pending;

pub use self::failure::Failure;
pub use self::shares::Caps;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Source {
    /// All of them, the better first.
    pub const ALL: [Self; 4] = [Self::Command, Self::Announced, Self::Sampled, Self::Wanted];
    const COUNT: usize = Self::ALL.len();
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
    ready: Turns,
    want_peers: Turns,
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
    peers: Reputation,
    /// Peers that did not deliver this hash of late: an announce by them is no news.
    futile: Memory<(InfoHash, SocketAddr)>,
    credit: Credit,
    /// What hashes that are only asked for have earned all together: their senders may be forged.
    asked_for: Account,
    shares: Shares,
    /// How many hashes each network has named.
    named: Map<Network, u32>,
    timing: Timing,
    rng: Rng,
    stats: Stats,
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
            ready: Turns::new(rng),
            want_peers: Turns::new(rng),
            staggered: BTreeSet::new(),
            waiting: BTreeSet::new(),
            behind: BTreeSet::new(),
            unsaved: VecDeque::new(),
            to_save: VecDeque::new(),
            given_up: VecDeque::new(),
            peers: Reputation::new(rng),
            futile: Memory::new(FUTILE_MAX, rng),
            credit: Credit::new(rng),
            asked_for: Account::new(ASKED_FOR, Instant(0)),
            shares: Shares::new(rng),
            named: hash::map(rng),
            timing: Timing::default(),
            rng: rng.fork(),
            stats: Stats::default(),
        }
    }

    /// What the engine may have under way at once from now on: shares are parts of it.
    pub fn set_caps(&mut self, caps: Caps) {
        self.shares.set_caps(caps);
    }

    /// A hash was heard of; `unix` is when. `from` is the address that named it: the node that was
    /// sampled and knows peers, the peer that announced itself, the sender of a `get_peers`. `peers`
    /// are said to have it.
    pub fn add(
        &mut self,
        hash: InfoHash,
        source: Source,
        from: Option<SocketAddr>,
        peers: &[SocketAddr],
        (now, unix): (Instant, UnixTime),
    ) -> Added {
        if let Some(&token) = self.by_hash.get(&hash) {
            self.merge(token, (source, from), peers, now);
            return Added::Merged;
        }
        let mut item = Item::new(hash, source, from, now, unix);
        item.add_peers(peers, peer_source(source));
        item.heard_as(source);
        if source == Source::Wanted {
            // An announce follows within seconds where the asker has peers to offer.
            item.lookup_at = now + WANTED_WAITS;
        }
        let token = self.insert(item);
        self.unsaved.push_back((now, token));
        if self.unsaved.len() > 2 * self.config.pending_max {
            self.unsaved.retain(|(_, token)| self.items.get(*token).is_some());
        }
        self.settle(token, now);
        self.make_room(token, now).map_or(Added::New, Added::Shed)
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
        let wait = Duration::from_secs(pending.not_before.secs_since(unix).min(RETRY_SECS_MAX));
        item.lookup_at = now + wait;
        let token = self.insert(item);
        self.settle(token, now);
        self.make_room(token, now).map_or(Added::New, Added::Shed)
    }

    /// Whether an announce by this peer says something new of a hash that was given up: it is not
    /// one that did not deliver it, or was not there, a short while ago.
    pub fn is_news(&self, hash: InfoHash, peer: SocketAddr, now: Instant) -> bool {
        !self.peers.is_left_alone(peer, now) && !self.futile.has(&(hash, peer), now)
    }

    /// Peers of a hash, from a lookup that goes on, or from other peers. Unknown hashes and
    /// known peers are ignored.
    pub fn peers_found(&mut self, hash: InfoHash, peers: &[SocketAddr], now: Instant) {
        let Some(&token) = self.by_hash.get(&hash) else { return };
        let item = self.items.get_mut(token).expect("by_hash names live items");
        if item.add_peers(peers, PeerSource::Found) > 0 {
            self.settle(token, now);
        }
    }

    /// The next hash whose peers are to be looked up; then comes [`Queue::lookup_done`] or
    /// [`Queue::lookup_refused`].
    pub fn next_lookup(&mut self, now: Instant) -> Option<Lookup> {
        self.on_deadline(now);
        loop {
            let (shares, ready) = (&self.shares, &self.ready);
            let asked_for = self.asked_for.left(ASKED_FOR, now) > 0;
            let may = |source, belief| {
                (source != Source::Wanted || asked_for)
                    && (source == Source::Command || ready.count(source, belief) < shares.ahead(belief))
                    && shares.may_look_up(source, belief)
            };
            let (line, belief, token) = self.want_peers.first(may)?;
            let current = self.credit.belief(line.1, now);
            if current != belief {
                self.want_peers.believe(line, current);
                continue;
            }
            if !self.shares.has_lookup_room(line, belief) {
                self.want_peers.park(line, true);
                continue;
            }
            let item = self.items.get_mut(token).expect("sets hold live items");
            if !item.may_be_looked_up(self.credit.belief(item.from, now)) {
                self.settle(token, now);
                continue;
            }
            let lookup = item.look_up();
            self.stats.looking += 1;
            if line.0 == Source::Wanted {
                self.asked_for.change(-1, ASKED_FOR, now);
            }
            self.shares.look_up(lookup.hash, (line, belief), now);
            self.want_peers.served(line, now + TURN);
            self.settle(token, now);
            return Some(lookup);
        }
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
            let item = self.items.get_mut(token).expect("just found");
            item.lookup_at = now + HOLD;
            self.settle(token, now);
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
            let shares = &self.shares;
            let (line, belief, token) =
                self.ready.first(|source, belief| shares.may_connect(source, belief, now))?;
            let current = self.credit.belief(line.1, now);
            if current != belief {
                self.ready.believe(line, current);
                continue;
            }
            if !self.shares.has_room(line, belief) {
                self.ready.park(line, true);
                continue;
            }
            self.put(token, Place::Idle, now);
            let item = self.items.get_mut(token).expect("sets hold live items");
            if usize::from(item.tried) >= item.peers_allowed(self.credit.belief(item.from, now)) {
                self.settle(token, now);
                continue;
            }
            if let Some(addr) = item.choose(&self.peers, now, &busy) {
                item.in_flight += 1;
                item.tried = item.tried.saturating_add(1);
                item.connect_at = now + stagger;
                let hash = item.hash;
                self.stats.trying += 1;
                self.shares.connect(hash, addr, (line, belief), now);
                self.ready.served(line, now + TURN);
                self.settle(token, now);
                return Some((hash, addr));
            }
            if let Some(peer) = item.peers.iter().find(|peer| peer.state == PeerState::Untried) {
                self.behind.insert((peer.addr.ip(), item.rank(&self.peers, now), token));
                item.connect_at = now + HOLD;
                self.tidy_behind();
            }
            self.settle(token, now);
        }
    }

    /// A peer at this address may be connected to again: one of those that wait for it goes on.
    pub fn host_has_room(&mut self, host: IpAddr, now: Instant) {
        let of_host = (host, 0, Token::FIRST)..=(host, u64::MAX, Token::LAST);
        while let Some(&entry) = self.behind.range(of_host.clone()).next() {
            self.behind.remove(&entry);
            if let Some(item) = self.items.get_mut(entry.2)
                && matches!(item.place, Place::Waiting(_))
                && item.has_untried()
            {
                item.connect_at = now;
                return self.settle(entry.2, now);
            }
        }
    }

    /// The connection is open: whoever else has the hash may wait a little longer.
    pub fn opened(&mut self, hash: InfoHash, addr: SocketAddr, now: Instant) {
        self.peers.opened(addr, now);
        self.shares.opened(hash, addr);
        let stagger = self.timing.stagger();
        if let Some((token, _)) = self.trying(hash, addr) {
            self.items.get_mut(token).expect("just found").connect_at = now + stagger;
            self.settle(token, now);
        }
    }

    /// The peer did not deliver.
    pub fn failed(&mut self, hash: InfoHash, addr: SocketAddr, failure: Failure, now: Instant) {
        let failure = self.peers.failed(addr, failure, self.shares.begun_at(hash, addr), now);
        let Some((token, at)) = self.trying(hash, addr) else { return };
        let line = self.end_connection(hash, addr, now);
        self.put(token, Place::Idle, now);
        let item = self.items.get_mut(token).expect("just found");
        item.in_flight -= 1;
        self.stats.trying -= 1;
        if item.in_flight == 0 {
            item.connect_at = now;
        }
        let peer = &mut item.peers[at];
        let excused = failure == Failure::Crowded && peer.excused < EXCUSED_MAX;
        peer.excused += u8::from(excused);
        if failure == Failure::Ours || excused {
            peer.state = PeerState::Untried;
            item.tried = item.tried.saturating_sub(1);
        }
        if failure == Failure::Ours {
            item.connect_at = now + HOLD;
        } else if !excused {
            item.peers[at].state = PeerState::Tried;
            if failure == Failure::Refused && item.peers[at].source == PeerSource::Found {
                item.add_peers(swapped(addr).as_slice(), PeerSource::Found);
            }
            self.futile.put((hash, addr), now + FUTILE_FOR);
            if at == 0 {
                item.announced = false;
            }
            if let Some((Source::Announced, announcer)) = line {
                self.credit.spend(announcer, ANNOUNCE_COSTS, now);
            }
        }
        self.settle(token, now);
    }

    /// The peer delivered. The hash waits no more; other connections for it are to be closed,
    /// and nothing is to be reported of them.
    pub fn done(&mut self, hash: InfoHash, addr: SocketAddr, now: Instant) -> Option<Done> {
        self.peers.delivered(addr, now);
        if let Some(item) = self.by_hash.get(&hash).and_then(|token| self.items.get(*token)) {
            self.credit.earn(item.from, now);
            let line = self.shares.line_of(hash, addr);
            if let Some((_, from)) = line.filter(|(_, from)| *from != item.from) {
                self.credit.earn(from, now);
            }
            if item.best_source() == Source::Wanted {
                self.asked_for.change(ASKED_FOR_EARNS, ASKED_FOR, now);
            }
        }
        self.remove(hash, now)
    }

    /// The hash waits no more: it was deleted, refused, or fetched by other means.
    pub fn remove(&mut self, hash: InfoHash, now: Instant) -> Option<Done> {
        let token = *self.by_hash.get(&hash)?;
        let item = self.take_out(token, now)?;
        Some(Done {
            first_seen: UnixTime(u64::from(item.first_seen)),
            peers: u32::try_from(item.peers.len()).unwrap_or(u32::MAX),
            source: item.best_source(),
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

    /// When [`Queue::on_deadline`] has something to do, or more may be looked up.
    pub fn next_deadline(&self) -> Option<Instant> {
        let save_at = self.unsaved.front().map(|(added, _)| *added + self.config.save_after);
        let staggered = self.staggered.first().map(|(at, _)| *at);
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let held = self.want_peers.has(Source::Wanted) && self.asked_for.is_empty();
        let asked_for = held.then(|| self.asked_for.ready_at(1, ASKED_FOR));
        [save_at, staggered, waiting, asked_for].into_iter().flatten().min()
    }

    /// Brings back what has waited long enough.
    pub fn on_deadline(&mut self, now: Instant) {
        self.asked_for.change(0, ASKED_FOR, now);
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

    /// A hash that waits already was heard of once more.
    fn merge(
        &mut self,
        token: Token,
        (source, from): (Source, Option<SocketAddr>),
        peers: &[SocketAddr],
        now: Instant,
    ) {
        let announced = source == Source::Announced;
        let item = self.items.get_mut(token).expect("by_hash names live items");
        let (hash, was) = (item.hash, item.source());
        let (old, new) = (item.from, address_of(from));
        let elsewhere = !new.is_unspecified() && Network::around(new) != Network::around(old);
        // A get_peers proves nothing: its sender may be forged.
        let proves = elsewhere && !old.is_unspecified() && source.max(was) != Source::Wanted;
        if announced && was == source && item.has_all(peers) && (item.proved || !proves) {
            // Clients announce again and again.
            return item.set_hint(source, from);
        }
        if announced {
            // Its line changes with its first peer.
            self.put(token, Place::Idle, now);
        }
        let item = self.items.get_mut(token).expect("by_hash names live items");
        let news: Vec<_> =
            peers.iter().copied().filter(|peer| !self.futile.has(&(hash, *peer), now)).collect();
        let fresh = item.add_peers(&news, peer_source(source));
        let adopts = !announced
            && !new.is_unspecified()
            && new != old
            && self.credit.belief(new, now) < self.credit.belief(old, now);
        let commanded = source == Source::Command;
        if !(fresh > 0 || source < was || adopts || commanded || announced || proves && !item.proved) {
            return item.set_hint(source, from);
        }
        self.put(token, Place::Idle, now);
        if adopts {
            self.adopt(token, new);
        }
        let item = self.items.get_mut(token).expect("by_hash names live items");
        item.proved |= proves || commanded;
        if commanded || source == Source::Sampled && was == Source::Wanted && item.tries == 0 {
            item.lookup_at = now;
        }
        if !announced || fresh > 0 {
            item.heard_as(source);
        }
        item.set_hint(source, from);
        if announced && fresh > 0 {
            // Whatever others have named: this one is there.
            item.tried = item.tried.saturating_sub(u8::try_from(fresh).unwrap_or(u8::MAX));
            if item.in_flight == 0 {
                item.connect_at = now;
            }
        }
        self.settle(token, now);
    }
}

fn peer_source(source: Source) -> PeerSource {
    if source == Source::Announced { PeerSource::Announced } else { PeerSource::Given }
}

/// The address with the bytes of its port swapped: rTorrent's DHT node gives the ports of other peers
/// in the wrong order.
fn swapped(peer: SocketAddr) -> Option<SocketAddr> {
    let port = peer.port().swap_bytes();
    (port >= 1_024 && port != peer.port()).then(|| SocketAddr::new(peer.ip(), port))
}

/// Rounds after which a hash is given up: waiting in between 20 s, 4 min, 1 h, 6 h and twice 24 h.
pub const TRIES_MAX: u8 = 7;

/// How long a hash waits after its first, second ... round.
const RETRY_SECS: [u64; 6] = [20, 4 * 60, 3_600, 6 * 3_600, 24 * 3_600, 24 * 3_600];
/// No saved time is believed beyond this: clocks jump.
const RETRY_SECS_MAX: u64 = 24 * 3_600;
/// Between a `get_peers` and the announce that follows it: libtorrent announces when its lookup is
/// over, after 1 to 4 s.
const WANTED_WAITS: Duration = Duration::from_secs(5);
/// Peers kept for one hash; no DHT node returns more in one packet.
const PEERS_MAX: usize = 32;
/// When something of ours was missing.
const HOLD: Duration = Duration::from_secs(1);
/// An address that had a turn comes after all that wait by then.
const TURN: Duration = Duration::from_millis(1);
/// Look-ups for what is only asked for: at most 10 a second if they lead nowhere, and 16 more for
/// each that leads to a torrent.
const ASKED_FOR: Terms = Terms { start: 200, per_minute: 600, least: 0, most: 2_000 };
const ASKED_FOR_EARNS: i32 = 16;
const FUTILE_MAX: usize = 65_536;
/// Once while many connections to its address are made, twice more while the crawl learns how many
/// that address takes; a peer that closes every time does not keep its hash waiting for ever.
const EXCUSED_MAX: u8 = 3;
/// An announce is about the address that sent it: one that leads nowhere is doubt enough for a while.
const ANNOUNCE_COSTS: i32 = 4;
/// A peer that has nothing yet may have it a little later.
const FUTILE_FOR: Duration = Duration::from_secs(60);
/// Given-up hashes that nobody fetched from [`Queue::poll_event`]; the oldest would be dropped,
/// and heard of again some day.
const GIVEN_UP_MAX: usize = 65_536;

#[cfg(test)]
mod tests;
