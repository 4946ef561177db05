//! One hash that waits: its peers, how it was heard of, and how far its round has come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::credit::Belief;
use super::reputation::Reputation;
use super::{Lookup, PEERS_MAX, Source};
use crate::base::{InfoHash, Instant, UnixTime};
use crate::model::{Pending, PendingState};

/// A hash that waits.
pub struct Item {
    pub hash: InfoHash,
    /// The address that named it; unspecified if none is known.
    pub from: IpAddr,
    /// The port of the node at `from` that knows peers of it; 0 if there is none, or it was asked.
    hint_port: u16,
    pub peers: Vec<Peer>,
    pub place: Place,
    /// No connection is made before this.
    pub connect_at: Instant,
    /// No look-up is made before this: the end of the period in which it waits.
    pub lookup_at: Instant,
    pub first_seen: u32,
    /// Seconds of the driver's clock.
    added_secs: u32,
    pub tries: u8,
    /// Peers tried in this round.
    pub tried: u8,
    pub in_flight: u8,
    /// How it was heard of, but for announces.
    source: Source,
    /// The first of its peers announced itself, and was not tried in vain.
    pub announced: bool,
    pub failure: PendingState,
    pub looking: bool,
    /// What is looked up at present are the peers that one node knows of.
    pub at_hint: bool,
    /// This round's look-up is over.
    pub looked: bool,
    /// It is to be saved, and noted as such.
    pub to_save: bool,
    pub saved: bool,
    /// Two networks have named it.
    pub proved: bool,
}

/// Which of the ordered sets an item is in, and under which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In none: something is under way for it.
    Idle,
    Ready(u64),
    Staggered(Instant),
    Waiting(Instant),
    WantPeers(u64),
}

/// A peer that is said to have it.
#[derive(Clone, Copy)]
pub struct Peer {
    pub addr: SocketAddr,
    pub state: PeerState,
    /// How often it was tried without counting.
    pub excused: u8,
    pub source: PeerSource,
}

/// How a peer was heard of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PeerSource {
    /// It announced itself.
    Announced,
    /// Whoever asked for the hash gave its address.
    Given,
    /// Nodes or other peers gave its address.
    Found,
}

/// What was done about a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    Untried,
    Trying,
    Tried,
}

impl Item {
    /// One that was heard of now, from `from` if that is known.
    pub fn new(
        hash: InfoHash,
        source: Source,
        from: Option<SocketAddr>,
        now: Instant,
        first_seen: UnixTime,
    ) -> Self {
        let mut item = Self {
            hash,
            from: address_of(from),
            hint_port: 0,
            peers: Vec::new(),
            place: Place::Idle,
            connect_at: now,
            lookup_at: now,
            first_seen: u32::try_from(first_seen.0).unwrap_or(u32::MAX),
            added_secs: now.secs(),
            tries: 0,
            tried: 0,
            in_flight: 0,
            source: if source == Source::Announced { Source::Sampled } else { source },
            announced: false,
            failure: PendingState::New,
            looking: false,
            at_hint: false,
            looked: false,
            to_save: false,
            saved: false,
            proved: source == Source::Command,
        };
        item.set_hint(source, from);
        item
    }

    /// A node that was sampled has peers of what it named.
    pub fn set_hint(&mut self, source: Source, from: Option<SocketAddr>) {
        if let (Source::Sampled, Some(node)) = (source, from)
            && node.ip().to_canonical() == self.from
        {
            self.hint_port = node.port();
        }
    }

    /// How good it is at present.
    pub fn source(&self) -> Source {
        match self.source {
            Source::Command => Source::Command,
            _ if self.announcer().is_some() => Source::Announced,
            source => source,
        }
    }

    /// The peer that announced itself, until it is tried.
    fn announcer(&self) -> Option<SocketAddr> {
        let first = self.peers.first().filter(|peer| peer.state == PeerState::Untried)?;
        self.announced.then_some(first.addr)
    }

    /// The best way in which it was heard of in this round.
    pub fn best_source(&self) -> Source {
        if self.announced { self.source.min(Source::Announced) } else { self.source }
    }

    /// Heard of in another way: the better one counts. Not while it is in an ordered set.
    pub fn heard_as(&mut self, source: Source) {
        match source {
            Source::Announced => self.announced = !self.peers.is_empty(),
            _ => self.source = self.source.min(source),
        }
    }

    /// Its line among those that take turns: the peer that announced itself answers for itself, for
    /// everything else the address that named the hash.
    pub fn line(&self) -> (Source, IpAddr) {
        let source = self.source();
        let announcer = self.announcer().filter(|_| source == Source::Announced);
        (source, announcer.map_or(self.from, |peer| peer.ip().to_canonical()))
    }

    /// Its peers are used up, the one that announced itself as well. Not while it is in an ordered
    /// set.
    pub fn end_of_peers(&mut self) {
        self.peers = Vec::new();
        self.tried = 0;
        self.announced = false;
    }

    /// What is to be looked up; the hint is used up by it.
    pub fn look_up(&mut self) -> Lookup {
        let hint = self.has_hint().then(|| SocketAddr::new(self.from, self.hint_port));
        self.hint_port = 0;
        self.looking = true;
        self.at_hint = hint.is_some();
        Lookup { hash: self.hash, hint, source: self.source() }
    }

    pub fn forget_hint(&mut self) {
        self.hint_port = 0;
    }

    pub fn has_hint(&self) -> bool {
        self.hint_port != 0
    }

    /// Adds peers that are not there yet; how many. Those that announced themselves come first, in
    /// place of others if need be.
    pub fn add_peers(&mut self, peers: &[SocketAddr], source: PeerSource) -> usize {
        let announced = source == PeerSource::Announced;
        let before = self.peers.len();
        let (mut replaced, mut first) = (0, 0);
        for &addr in peers {
            let of_host = self.peers.iter().filter(|known| known.addr.ip() == addr.ip()).count();
            if of_host >= PEERS_PER_HOST || self.peers.iter().any(|known| known.addr == addr) {
                continue;
            }
            let peer = Peer { addr, state: PeerState::Untried, excused: 0, source };
            let full = self.peers.len() >= PEERS_MAX;
            if announced && full {
                let other = self.peers.iter().rposition(|known| known.state != PeerState::Trying);
                let Some(other) = other.filter(|other| *other >= first) else { continue };
                self.peers.remove(other);
                replaced += 1;
            } else if full {
                continue;
            }
            let at = if announced { first } else { self.peers.len() };
            self.peers.insert(at, peer);
            first += 1;
        }
        self.peers.len() + replaced - before
    }

    /// Each of these is among its peers.
    pub fn has_all(&self, peers: &[SocketAddr]) -> bool {
        peers.iter().all(|addr| self.peers.iter().any(|known| known.addr == *addr))
    }

    /// Peers that may be tried in one round: few for what only one address has named, fewer still
    /// if that address is doubted.
    pub fn peers_allowed(&self, belief: Belief) -> usize {
        match belief {
            _ if self.source == Source::Command => PEERS_MAX,
            Belief::Proved => PEERS_MAX,
            Belief::Unknown if self.proved || self.from.is_unspecified() => PEERS_MAX,
            Belief::Unknown => PEERS_UNPROVED,
            Belief::Doubted if self.proved => PEERS_UNPROVED,
            Belief::Doubted => 1,
        }
    }

    pub fn has_untried(&self) -> bool {
        self.peers.iter().any(|peer| peer.state == PeerState::Untried)
    }

    /// Takes the most promising untried peer; passes over those to be avoided, unless this very
    /// hash was asked for.
    pub fn choose(
        &mut self,
        known: &Reputation,
        now: Instant,
        busy: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let mut chosen: Option<usize> = None;
        for at in 0..self.peers.len() {
            let Peer { addr, state, .. } = self.peers[at];
            if state != PeerState::Untried || busy(addr) {
                continue;
            }
            if known.is_good(addr, now) {
                chosen = Some(at);
                break;
            }
            if self.source != Source::Command && known.is_avoided(addr, now) {
                self.peers[at].state = PeerState::Tried;
            } else if chosen.is_none() {
                chosen = Some(at);
            }
        }
        let peer = &mut self.peers[chosen?];
        peer.state = PeerState::Trying;
        Some(peer.addr)
    }

    /// The order among hashes that one address named, smallest first: a peer that has delivered
    /// before, tries (connections under way count as such), number of peers, age. Of announced
    /// hashes the newest comes first, since its peer is surely there; of others the oldest.
    pub fn rank(&self, known: &Reputation, now: Instant) -> u64 {
        let is_good = |peer: &Peer| peer.state == PeerState::Untried && known.is_good(peer.addr, now);
        let unknown = !self.peers.iter().any(is_good);
        let tries = (u64::from(self.tries) + 2 * u64::from(self.in_flight)).min(31);
        let peers = PEERS_MAX - self.peers.len().min(PEERS_MAX);
        u64::from(unknown) << 48 | tries << 40 | (peers as u64) << 32 | u64::from(self.age_order())
    }

    /// How dear it is, the dearest first: what is to be forgotten when there is no room is the last.
    pub fn worth(&self, belief: Belief, named: usize) -> impl Ord + use<> {
        let unproved = !self.proved && belief != Belief::Proved;
        let doubted = belief == Belief::Doubted;
        let busy = self.in_flight > 0 || self.looking;
        let command = self.source == Source::Command;
        (!command, !busy, unproved, doubted, named, self.source(), self.tries, self.age_order())
    }

    pub fn pending(&self, now: Instant, unix: UnixTime) -> Pending {
        let wait = if let Place::Waiting(at) = self.place { at.since(now).as_secs() } else { 0 };
        Pending {
            infohash: self.hash,
            first_seen: UnixTime(u64::from(self.first_seen)),
            tries: u16::from(self.tries),
            not_before: UnixTime(unix.0.saturating_add(wait)),
            state: self.failure,
        }
    }

    fn age_order(&self) -> u32 {
        if self.source() == Source::Announced { u32::MAX - self.added_secs } else { self.added_secs }
    }
}

/// Without the port; unspecified if there is none.
pub fn address_of(from: Option<SocketAddr>) -> IpAddr {
    from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.ip().to_canonical())
}

/// Peers tried in a round of a hash that one unknown address has named, and nobody else.
const PEERS_UNPROVED: usize = 4;
/// Peers kept for one hash at one address: it may run several clients.
const PEERS_PER_HOST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_hash_is_small() {
        assert!(size_of::<Item>() <= 128, "{}", size_of::<Item>());
    }
}
