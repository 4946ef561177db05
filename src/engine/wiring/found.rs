//! `dht` meets `metadata`: infohashes that were heard of become work, lookups bring it peers.

use std::net::SocketAddr;

use crate::base::{InfoHash, Instant, Scope};
use crate::dht::{Event, Goal, User};
use crate::engine::Engine;
use crate::engine::credit::Origin;
use crate::metadata::queue::{Added, Source};
use crate::model::{SavedId, Sighting, StoreOp};

impl Engine {
    /// Takes in everything the DHT has learned; false if that was nothing.
    pub(in crate::engine) fn drain_dht(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.dht.poll_event() {
            any = true;
            match event {
                Event::Sampled(hash, node) => self.on_sampled(hash, node),
                Event::Wanted(hash, from) => self.on_wanted(hash, from),
                Event::Announced(hash, peer) => self.on_announced(hash, peer),
                Event::Peers(User::Metadata, hash, peers) => {
                    let peers = self.contactable(&peers);
                    self.answer_peers(&hash, &peers);
                    self.queue.peers_found(hash, &peers, now);
                }
                Event::Done(User::Metadata, hash, answered, ..) => {
                    // Without a network nothing is found, and that is no fault of the torrent.
                    if answered == 0 && self.dht.is_cut_off(now) {
                        self.queue.lookup_refused(hash, now);
                        self.answer_no_nodes(&hash);
                    } else {
                        self.queue.lookup_done(hash, now);
                    }
                }
                Event::Done(User::Refresh, hash, answered, peers, estimate) => {
                    self.on_refreshed(hash, (answered, peers), estimate);
                }
                Event::Renamed(socket, id) => {
                    if let Some(listen) = self.config.listen.get(usize::from(socket.0)) {
                        self.persist.control(StoreOp::OwnId(SavedId { listen: listen.ip(), id }));
                    }
                }
                event => self.on_command_event(event),
            }
        }
        any
    }

    /// Starts lookups for hashes that have nobody to ask.
    pub(in crate::engine) fn start_lookups(&mut self, now: Instant) {
        let most = if self.dht.is_cut_off(now) { LOOKUPS_CUT_OFF } else { LOOKUPS_MAX };
        while self.dht.lookups() < most && self.wants_work() {
            let Some(wish) = self.queue.next_lookup(now) else { return };
            // The node that sampled a hash has its peers: one query there is often enough.
            let goal = match wish.source {
                _ if wish.hint.is_some() => Goal::PeersAt,
                Source::Command | Source::Announced => Goal::Peers,
                Source::Sampled | Source::Wanted => Goal::PeersBriefly,
            };
            if self.dht.look_up(wish.hash, goal, User::Metadata, wish.hint.as_slice(), now) == 0 {
                self.queue.lookup_refused(wish.hash, now);
                if goal != Goal::PeersAt {
                    self.answer_no_nodes(&wish.hash);
                    // There is nobody to ask, and so it would be for all others.
                    return;
                }
            }
        }
    }

    fn on_sampled(&mut self, hash: InfoHash, node: SocketAddr) {
        if self.may_hear(hash, Origin::Sampled(node)) {
            self.on_heard(hash, Source::Sampled, node);
        }
    }

    fn on_wanted(&mut self, hash: InfoHash, from: SocketAddr) {
        if self.may_hear(hash, Origin::Wanted(from)) {
            self.on_heard(hash, Source::Wanted, from);
        }
    }

    fn on_announced(&mut self, hash: InfoHash, peer: SocketAddr) {
        if self.known.contains(&hash) {
            let sighting = Sighting { infohash: hash, at: self.unix, seeders: None, leechers: None };
            return self.persist.seen(sighting);
        }
        if !self.may_contact(peer) {
            // All that is known is that somebody has to do with it.
            return self.on_heard(hash, Source::Wanted, peer);
        }
        if self.given_up.contains(&hash) && self.queue.is_news(hash, peer, self.now) {
            self.given_up.remove(&hash);
            self.persist.taken_up(&hash);
        }
        self.on_heard(hash, Source::Announced, peer);
    }

    /// True if an infohash waits already, or if it is new and its source may name one more: that has
    /// to answer for it.
    fn may_hear(&mut self, hash: InfoHash, origin: Origin) -> bool {
        let wanted = self.config.fetch && !self.config.filter.refuses_hash(&hash);
        let known = self.known.contains(&hash) || self.given_up.contains(&hash);
        wanted && !known && (self.queue.contains(hash) || self.credit.take(hash, origin, self.now))
    }

    /// `from` named a hash: a node that was sampled, a peer that announced itself, or the sender of a
    /// `get_peers`.
    fn on_heard(&mut self, hash: InfoHash, source: Source, from: SocketAddr) {
        let known = self.known.contains(&hash) || self.given_up.contains(&hash);
        if known || !self.config.fetch || self.config.filter.refuses_hash(&hash) {
            return;
        }
        let peers = Some(from).filter(|_| source == Source::Announced);
        let added = self.queue.add(hash, source, Some(from), peers.as_slice(), (self.now, self.unix));
        self.stats.hashes_found += u64::from(added != Added::Merged);
        self.on_added(added);
    }

    pub(in crate::engine) fn contactable(&self, peers: &[SocketAddr]) -> Vec<SocketAddr> {
        peers.iter().copied().filter(|peer| self.may_contact(*peer)).collect()
    }

    /// Whether a TCP connection to `peer` may be opened from one of our listen addresses.
    pub(in crate::engine) fn may_contact(&self, peer: SocketAddr) -> bool {
        let port_is_fine = self.config.ports_below_1024 || peer.port() >= 1_024;
        port_is_fine && self.config.listen.iter().any(|listen| Scope::may_contact(listen.ip(), peer))
    }
}

/// Lookups under way for metadata and commands together.
const LOOKUPS_MAX: usize = 512;
/// The same while nobody answers.
const LOOKUPS_CUT_OFF: usize = 8;
