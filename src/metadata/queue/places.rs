//! Where each item belongs by its state, and what moves it from place to place.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::credit::Belief;
use super::item::{Item, PeerState, Place};
use super::turns::Line;
use super::{GIVEN_UP_MAX, PEERS_MAX, Queue, RETRY_SECS, Source, TRIES_MAX};
use crate::base::{InfoHash, Instant, Network, Token};
use crate::model::PendingState;

impl Queue {
    /// Panics if the queue contradicts itself. For tests and simulations: it visits every item.
    pub fn check_invariants(&self) {
        let (mut trying, mut looking) = (0, 0);
        assert_eq!(self.items.len(), self.by_hash.len());
        assert!(self.items.len() <= self.config.pending_max);
        for (token, item) in self.items.iter() {
            assert_eq!(self.by_hash.get(&item.hash), Some(&token));
            let line = item.line();
            let in_its_set = match item.place {
                Place::Idle => item.in_flight > 0 || item.looking,
                Place::Ready(rank) => self.ready.contains(line, (rank, token)),
                Place::Staggered(at) => self.staggered.contains(&(at, token)) && item.in_flight > 0,
                Place::Waiting(at) => self.waiting.contains(&(at, token)) && item.in_flight == 0,
                Place::WantPeers(rank) => self.want_peers.contains(line, (rank, token)) && !item.looking,
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
        assert_eq!(self.named.values().map(|count| *count as usize).sum::<usize>(), self.items.len());
        self.shares.check_invariants(trying, looking);
        self.ready.check_invariants();
        self.want_peers.check_invariants();
    }

    pub(super) fn insert(&mut self, item: Item) -> Token {
        let (hash, from) = (item.hash, item.from);
        let token = self.items.insert(item);
        self.by_hash.insert(hash, token);
        *self.named.entry(Network::around(from)).or_default() += 1;
        token
    }

    pub(super) fn take_out(&mut self, token: Token, now: Instant) -> Option<Item> {
        self.put(token, Place::Idle, now);
        let item = self.items.remove(token)?;
        self.by_hash.remove(&item.hash);
        self.stats.trying -= usize::from(item.in_flight);
        self.stats.looking -= usize::from(item.looking);
        for peer in item.peers.iter().filter(|peer| peer.state == PeerState::Trying) {
            self.end_connection(item.hash, peer.addr, now);
        }
        self.end_look_up(item.hash);
        self.unname(item.from);
        Some(item)
    }

    /// Another address answers for an item that is in no set.
    pub(super) fn adopt(&mut self, token: Token, from: IpAddr) {
        if let Some(item) = self.items.get_mut(token) {
            let old = std::mem::replace(&mut item.from, from);
            item.forget_hint();
            *self.named.entry(Network::around(from)).or_default() += 1;
            self.unname(old);
        }
    }

    fn unname(&mut self, from: IpAddr) {
        let network = Network::around(from);
        if let Some(count) = self.named.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(&network);
            }
        }
    }

    /// The token of a hash and the index of its peer, if that peer is being tried.
    pub(super) fn trying(&self, hash: InfoHash, addr: SocketAddr) -> Option<(Token, usize)> {
        let token = *self.by_hash.get(&hash)?;
        let peers = &self.items.get(token)?.peers;
        let at = peers.iter().position(|peer| peer.addr == addr && peer.state == PeerState::Trying)?;
        Some((token, at))
    }

    /// A connection is over: others of its line may have its place.
    pub(super) fn end_connection(&mut self, hash: InfoHash, addr: SocketAddr, now: Instant) -> Option<Line> {
        let (line, held) = self.shares.disconnect(hash, addr, now)?;
        let from = line.1;
        if !from.is_unspecified() {
            self.credit.charge(from, held, now);
        }
        let due = self.credit.due(from, now);
        for source in Source::ALL {
            self.ready.charge((source, from), due);
            self.ready.park((source, from), false);
        }
        Some(line)
    }

    fn end_look_up(&mut self, hash: InfoHash) {
        let Some((_, from)) = self.shares.looked_up(hash) else { return };
        for source in Source::ALL {
            self.want_peers.park((source, from), false);
        }
    }

    pub(super) fn end_lookup(&mut self, hash: InfoHash) -> Option<Token> {
        let token = *self.by_hash.get(&hash)?;
        let item = self.items.get_mut(token)?;
        if !item.looking {
            return None;
        }
        item.looking = false;
        self.stats.looking -= 1;
        self.end_look_up(hash);
        Some(token)
    }

    /// Lets go of entries whose items are gone, before there are too many.
    pub(super) fn tidy_behind(&mut self) {
        if self.behind.len() > 2 * self.config.pending_max {
            let waits = |token| self.items.get(token).map(|item| matches!(item.place, Place::Waiting(_)));
            self.behind.retain(|(_, _, token)| waits(*token) == Some(true));
        }
    }

    /// Moves an item to where its state says it belongs.
    pub(super) fn settle(&mut self, token: Token, now: Instant) {
        let Some(item) = self.items.get_mut(token) else { return };
        let belief = self.credit.belief(item.from, now);
        let may_try = usize::from(item.tried) < item.peers_allowed(belief);
        let place = if may_try && item.has_untried() && item.in_flight < self.config.parallel {
            if item.connect_at <= now {
                Place::Ready(item.rank(&self.peers, now))
            } else if item.in_flight > 0 {
                Place::Staggered(item.connect_at)
            } else {
                Place::Waiting(item.connect_at)
            }
        } else if item.in_flight > 0 || item.looking {
            Place::Idle
        } else if !item.looked && now < item.lookup_at {
            return self.rest(token, now);
        } else if !item.looked && may_try && item.may_be_looked_up(belief) {
            Place::WantPeers(item.rank(&self.peers, now))
        } else {
            return self.end_round(token, now);
        };
        self.put(token, place, now);
    }

    pub(super) fn put(&mut self, token: Token, place: Place, now: Instant) {
        let Some(item) = self.items.get_mut(token) else { return };
        if item.place == place {
            return;
        }
        let line = item.line();
        match std::mem::replace(&mut item.place, place) {
            Place::Idle => false,
            Place::Ready(rank) => self.ready.remove(line, (rank, token)),
            Place::Staggered(at) => self.staggered.remove(&(at, token)),
            Place::Waiting(at) => self.waiting.remove(&(at, token)),
            Place::WantPeers(rank) => self.want_peers.remove(line, (rank, token)),
        };
        let credit = &self.credit;
        match place {
            Place::Idle => {}
            Place::Ready(rank) => {
                let fresh = || (credit.belief(line.1, now), credit.due(line.1, now));
                self.ready.insert(line, (rank, token), fresh);
            }
            Place::Staggered(at) => _ = self.staggered.insert((at, token)),
            Place::Waiting(at) => _ = self.waiting.insert((at, token)),
            Place::WantPeers(rank) => {
                self.want_peers.insert(line, (rank, token), || (credit.belief(line.1, now), now));
            }
        }
    }

    /// The time for its next look-up has not come: what was tried before it counts as no try.
    fn rest(&mut self, token: Token, now: Instant) {
        self.put(token, Place::Idle, now);
        let Some(item) = self.items.get_mut(token) else { return };
        item.end_of_peers();
        let at = item.lookup_at;
        self.put(token, Place::Waiting(at), now);
    }

    /// No peer delivered: the hash waits, longer each time, or is given up.
    fn end_round(&mut self, token: Token, now: Instant) {
        self.put(token, Place::Idle, now);
        let Some(item) = self.items.get_mut(token) else { return };
        item.failure = if item.peers.is_empty() { PendingState::NoPeers } else { PendingState::PeersFailed };
        item.tries += 1;
        self.credit.spend(item.from, 1, now);
        // The next round asks the DHT again; peers that were tried in vain are only in the way.
        item.end_of_peers();
        item.looked = false;
        let (tries, hash) = (item.tries, item.hash);
        if tries < TRIES_MAX {
            let secs = RETRY_SECS[usize::from(tries - 1).min(RETRY_SECS.len() - 1)];
            item.lookup_at = now + Duration::from_secs(secs);
            let at = item.lookup_at;
            self.put(token, Place::Waiting(at), now);
            return self.mark(token);
        }
        self.take_out(token, now);
        self.stats.given_up += 1;
        self.given_up.push_back(hash);
        if self.given_up.len() > GIVEN_UP_MAX {
            self.given_up.pop_front();
        }
    }

    /// Notes that an item is to be saved.
    pub(super) fn mark(&mut self, token: Token) {
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

    /// Over the cap, forgets the least promising of some that are drawn and of the one that came
    /// last: what nobody else has named, of the network that has named most. What is under way stays
    /// if it can.
    pub(super) fn make_room(&mut self, latest: Token, now: Instant) -> Option<InfoHash> {
        if self.items.len() <= self.config.pending_max {
            return None;
        }
        let mut worst = latest;
        let places = self.items.places();
        for n in 0..DRAWN {
            let start = if places <= DRAWN { n } else { self.rng.index(places) };
            if let Some((drawn, _)) = self.items.live_from(start)
                && self.worth(drawn, now) > self.worth(worst, now)
            {
                worst = drawn;
            }
        }
        let shed = self.take_out(worst, now)?;
        self.stats.shed += 1;
        Some(shed.hash)
    }

    fn worth(&self, token: Token, now: Instant) -> impl Ord + use<> {
        self.items.get(token).map(|item| {
            let named = self.named.get(&Network::around(item.from)).map_or(0, |count| *count as usize);
            item.worth(self.credit.belief(item.from, now), named)
        })
    }
}

impl Item {
    /// A look-up asks many nodes; what a doubted address names is worth asking that address alone.
    pub(super) fn may_be_looked_up(&self, belief: Belief) -> bool {
        belief != Belief::Doubted
            || self.has_hint()
            || matches!(self.source(), Source::Command | Source::Wanted)
    }
}

/// Items of which the least promising is forgotten.
const DRAWN: usize = 8;
