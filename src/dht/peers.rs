//! Who announced which torrent to us: the peers we hand out (BEP 5), count (BEP 33) and sample
//! (BEP 51).
//!
//! An address, and a network, may be a peer of so many torrents here. Full, the store forgets a
//! torrent with the fewest peers, of those the one whose latest announce is the oldest; and within a
//! torrent the peer whose announce is the oldest, which would expire first anyway.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::hash::{self, Map};
use crate::base::{InfoHash, Instant, NetGroup, Rng};
use crate::dht::bloom::{Bits, Filter};
use crate::wire::krpc::PACKET_MAX;

/// Peers over IPv4 that fit in a response beside two lists of nodes.
pub const VALUES_V4_MAX: usize = (PACKET_MAX - REPLY_BYTES) / VALUE_V4_BYTES;
/// Peers over IPv6 that fit in a response beside two lists of nodes.
pub const VALUES_V6_MAX: usize = (PACKET_MAX - REPLY_BYTES) / VALUE_V6_BYTES;
/// Infohashes in a sample, as libtorrent and mldht send (BEP 51).
pub const SAMPLES_MAX: usize = 20;

/// The peers of all torrents announced here.
pub struct Peers {
    /// In no order, so that a random one is found at once.
    swarms: Vec<Swarm>,
    places: Map<InfoHash, u32>,
    /// The torrent whose latest announce is the oldest, and the one announced last.
    oldest: u32,
    newest: u32,
    peers: usize,
    /// Torrents by number of peers, then by the latest announce.
    by_size: BTreeSet<(usize, Instant, InfoHash)>,
    /// In how many torrents each address and each network is a peer.
    of_address: Map<IpAddr, usize>,
    of_network: Map<NetGroup, usize>,
    limits: Limits,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Torrents.
    pub torrents: usize,
    /// Peers of one torrent.
    pub peers_of_torrent: usize,
    /// Peers of all torrents together.
    pub peers: usize,
    /// Torrents of one address.
    pub of_address: usize,
    /// Torrents of one network (/24, /48), each address counted for itself.
    pub of_network: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            torrents: TORRENTS_MAX,
            peers_of_torrent: PEERS_OF_TORRENT_MAX,
            peers: PEERS_MAX,
            of_address: TORRENTS_MAX / ADDRESS_SHARE,
            of_network: TORRENTS_MAX / NETWORK_SHARE,
        }
    }
}

impl Peers {
    /// Nobody announced anything yet. Every limit is at least 1.
    pub fn new(limits: Limits, rng: &mut Rng) -> Self {
        let limits = Limits {
            torrents: limits.torrents.max(1),
            peers_of_torrent: limits.peers_of_torrent.max(1),
            peers: limits.peers.max(limits.peers_of_torrent).max(1),
            ..limits
        };
        Self {
            swarms: Vec::new(),
            places: hash::map(rng),
            oldest: NONE,
            newest: NONE,
            peers: 0,
            by_size: BTreeSet::new(),
            of_address: hash::map(rng),
            of_network: hash::map(rng),
            limits,
        }
    }

    /// Remembers for half an hour that `addr` has a part of `hash`, or all of it if `seed`. An IP
    /// address counts once in a torrent; its latest port and kind hold. Port 0 is ignored, and so is
    /// a torrent beyond what an address or its network may have here.
    pub fn announce(&mut self, hash: InfoHash, addr: SocketAddr, seed: bool, now: Instant) {
        let known = self.peers_of(&hash).iter().any(|peer| peer.addr.ip() == addr.ip());
        if addr.port() == 0 || !known && !self.has_share(addr.ip()) {
            return;
        }
        let place = self.touch(hash, now);
        let swarm = &mut self.swarms[place];
        let before = swarm.peers.len();
        let gone = swarm.announce(addr, seed, now, self.limits.peers_of_torrent);
        if swarm.peers.len() != before || swarm.latest.since(swarm.filed) >= FILED_FOR {
            self.by_size.remove(&(before, swarm.filed, hash));
            swarm.filed = swarm.latest;
            self.by_size.insert((swarm.peers.len(), swarm.filed, hash));
        }
        self.peers += usize::from(!known);
        if !known {
            self.hold(addr.ip());
        }
        for ip in gone {
            self.peers -= 1;
            self.release(ip);
        }
        while self.peers > self.limits.peers {
            self.forget(self.oldest);
        }
    }

    fn has_share(&self, ip: IpAddr) -> bool {
        let of_address = self.of_address.get(&ip).copied().unwrap_or(0);
        let of_network =
            NetGroup::of_ip(ip).and_then(|group| self.of_network.get(&group)).copied().unwrap_or(0);
        of_address < self.limits.of_address && of_network < self.limits.of_network
    }

    /// An address has become a peer of one more torrent.
    fn hold(&mut self, ip: IpAddr) {
        *self.of_address.entry(ip).or_default() += 1;
        if let Some(group) = NetGroup::of_ip(ip) {
            *self.of_network.entry(group).or_default() += 1;
        }
    }

    fn release(&mut self, ip: IpAddr) {
        take_one(&mut self.of_address, ip);
        if let Some(group) = NetGroup::of_ip(ip) {
            take_one(&mut self.of_network, group);
        }
    }

    /// Fills `out` with peers of one family, without seeds if `noseed`, one after the other from
    /// a random one on; how many.
    pub fn values(
        &self,
        hash: &InfoHash,
        v6: bool,
        noseed: bool,
        now: Instant,
        rng: &mut Rng,
        out: &mut [SocketAddr],
    ) -> usize {
        let peers = self.peers_of(hash);
        if peers.is_empty() {
            return 0;
        }
        let (before, from) = peers.split_at(rng.index(peers.len()));
        let mut places = out.iter_mut();
        let most = places.len();
        let fits = |it: &&Peer| it.addr.is_ipv6() == v6 && !(noseed && it.seed) && it.is_live(now);
        for (peer, place) in from.iter().chain(before).filter(fits).zip(&mut places) {
            *place = peer.addr;
        }
        most - places.len()
    }

    /// The filters of seeds (`BFsd`) and of other peers (`BFpe`), if anybody announced (BEP 33).
    pub fn scrape(&self, hash: &InfoHash, now: Instant) -> Option<(Filter, Filter)> {
        let (mut seeds, mut others) = (Filter::EMPTY, Filter::EMPTY);
        let mut found = false;
        for peer in self.live(hash, now) {
            found = true;
            if peer.seed { &mut seeds } else { &mut others }.insert_bits(peer.bits);
        }
        found.then_some((seeds, others))
    }

    /// Fills `out` with distinct random infohashes, as many as there are (BEP 51); how many, at
    /// most [`SAMPLES_MAX`].
    pub fn sample(&self, rng: &mut Rng, out: &mut [InfoHash]) -> usize {
        let all = self.swarms.len();
        let count = out.len().min(all).min(SAMPLES_MAX);
        let mut drawn = [NONE; SAMPLES_MAX];
        // Floyd's algorithm: `count` distinct indices with as many draws.
        for (filled, last) in (all - count..all).enumerate() {
            let random = ((u64::from(rng.u32()) * (last as u64 + 1)) >> 32) as u32;
            let twice = drawn[..filled].contains(&random);
            drawn[filled] = if twice { last as u32 } else { random };
            out[filled] = self.swarms[drawn[filled] as usize].hash;
        }
        count
    }

    /// Torrents that somebody announced.
    pub fn len(&self) -> usize {
        self.swarms.len()
    }

    /// True without torrents.
    pub fn is_empty(&self) -> bool {
        self.swarms.is_empty()
    }

    /// Peers of all torrents together.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// When the next torrent has lost its last peer.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.swarms.get(self.oldest as usize).map(|swarm| swarm.latest + LIFETIME)
    }

    /// Forgets torrents that nobody announced for half an hour, a bounded number of them.
    pub fn on_deadline(&mut self, now: Instant) {
        for _ in 0..FORGET_MAX {
            if self.next_deadline().is_none_or(|due| due > now) {
                return;
            }
            self.forget(self.oldest);
        }
    }

    /// Panics if the store contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        assert_eq!(self.swarms.len(), self.places.len());
        assert_eq!(self.peers, self.swarms.iter().map(|swarm| swarm.peers.len()).sum::<usize>());
        assert!(self.peers <= self.limits.peers && self.swarms.len() <= self.limits.torrents);
        for (at, swarm) in self.swarms.iter().enumerate() {
            assert_eq!(self.places.get(&swarm.hash), Some(&(at as u32)));
            assert!((1..=self.limits.peers_of_torrent).contains(&swarm.peers.len()));
        }
        let (mut at, mut before, mut listed) = (self.oldest, NONE, 0);
        while let Some(swarm) = self.swarms.get(at as usize) {
            assert_eq!(swarm.older, before);
            assert!(self.swarms.get(before as usize).is_none_or(|older| older.latest <= swarm.latest));
            (before, at, listed) = (at, swarm.newer, listed + 1);
        }
        assert_eq!((before, listed), (self.newest, self.swarms.len()), "every torrent is in the list");
        assert_eq!(self.by_size.len(), self.swarms.len(), "every torrent has its size");
        let sized = |it: &Swarm| self.by_size.contains(&(it.peers.len(), it.filed, it.hash));
        assert!(self.swarms.iter().all(sized), "of its size");
        assert_eq!(self.of_address.values().sum::<usize>(), self.peers, "every peer is counted");
        assert!(self.of_address.values().all(|count| (1..=self.limits.of_address).contains(count)));
        assert!(self.of_network.values().all(|count| (1..=self.limits.of_network).contains(count)));
    }

    /// The place of a torrent that is announced now, made if need be.
    fn touch(&mut self, hash: InfoHash, now: Instant) -> usize {
        if let Some(&place) = self.places.get(&hash) {
            let swarm = &mut self.swarms[place as usize];
            swarm.latest = swarm.latest.max(now);
            if place != self.newest {
                self.unlink(place);
                self.link_newest(place);
            }
            return place as usize;
        }
        if self.swarms.len() >= self.limits.torrents
            && let Some((_, _, smallest)) = self.by_size.first()
            && let Some(&place) = self.places.get(smallest)
        {
            self.forget(place);
        }
        let place = self.swarms.len() as u32;
        let (older, newer, peers) = (NONE, NONE, Vec::new());
        self.swarms.push(Swarm { hash, latest: now, filed: now, oldest: now, older, newer, peers });
        self.by_size.insert((0, now, hash));
        self.places.insert(hash, place);
        self.link_newest(place);
        place as usize
    }

    fn link_newest(&mut self, place: u32) {
        let swarm = &mut self.swarms[place as usize];
        (swarm.older, swarm.newer) = (self.newest, NONE);
        match self.swarms.get_mut(self.newest as usize) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Swarm { older, newer, .. } = self.swarms[place as usize];
        self.join(older, newer);
    }

    /// Makes `older` and `newer` neighbours; either may be the end.
    fn join(&mut self, older: u32, newer: u32) {
        match self.swarms.get_mut(older as usize) {
            Some(swarm) => swarm.newer = newer,
            None => self.oldest = newer,
        }
        match self.swarms.get_mut(newer as usize) {
            Some(swarm) => swarm.older = older,
            None => self.newest = older,
        }
    }

    fn forget(&mut self, place: u32) {
        let Some(swarm) = self.swarms.get_mut(place as usize) else { return };
        self.peers -= swarm.peers.len();
        self.by_size.remove(&(swarm.peers.len(), swarm.filed, swarm.hash));
        let gone = std::mem::take(&mut swarm.peers);
        gone.iter().for_each(|peer| self.release(peer.addr.ip()));
        let swarm = &self.swarms[place as usize];
        let placed = self.places.remove(&swarm.hash);
        debug_assert_eq!(placed, Some(place), "every torrent has its place");
        self.unlink(place);
        self.swarms.swap_remove(place as usize);
        if let Some(&Swarm { hash, older, newer, .. }) = self.swarms.get(place as usize) {
            self.places.insert(hash, place);
            // Whoever knew the last one by its old place knows it by the new one.
            self.join(older, place);
            self.join(place, newer);
        }
    }

    fn peers_of(&self, hash: &InfoHash) -> &[Peer] {
        self.places.get(hash).map_or(&[], |&place| &self.swarms[place as usize].peers)
    }

    fn live(&self, hash: &InfoHash, now: Instant) -> impl Iterator<Item = &Peer> {
        self.peers_of(hash).iter().filter(move |peer| peer.is_live(now))
    }
}

struct Swarm {
    hash: InfoHash,
    /// The latest announce.
    latest: Instant,
    /// An earlier one, at most [`FILED_FOR`] before, as it stands in `by_size`.
    filed: Instant,
    /// No announce is older than this.
    oldest: Instant,
    /// Neighbours by the latest announce, or [`NONE`].
    older: u32,
    newer: u32,
    peers: Vec<Peer>,
}

#[derive(Clone, Copy)]
struct Peer {
    addr: SocketAddr,
    seed: bool,
    announced: Instant,
    bits: Bits,
}

impl Swarm {
    /// The addresses of those that are forgotten for it.
    fn announce(&mut self, addr: SocketAddr, seed: bool, now: Instant, cap: usize) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        if let Some(known) = self.peers.iter_mut().find(|it| it.addr.ip() == addr.ip()) {
            *known = Peer { addr, seed, announced: now, bits: known.bits };
        } else {
            let peer = Peer { addr, seed, announced: now, bits: Bits::of(addr.ip()) };
            if self.peers.len() < cap {
                self.peers.push(peer);
            } else if let Some(oldest) = self.peers.iter_mut().min_by_key(|it| it.announced) {
                gone.push(oldest.addr.ip());
                *oldest = peer;
            }
        }
        if now.since(self.oldest) >= LIFETIME {
            gone.extend(self.peers.iter().filter(|it| !it.is_live(now)).map(|it| it.addr.ip()));
            self.peers.retain(|it| it.is_live(now));
            self.oldest = self.peers.iter().map(|it| it.announced).min().unwrap_or(now);
        }
        gone
    }
}

/// Counts one less, and forgets what has come to nothing.
fn take_one<K: std::hash::Hash + Eq>(counts: &mut Map<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl Peer {
    fn is_live(&self, now: Instant) -> bool {
        now.since(self.announced) < LIFETIME
    }
}

/// No place.
const NONE: u32 = u32::MAX;
/// Clients announce again every 15 minutes or so; two in a row must be missed.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Ten times libtorrent's store: a node hears of that many in half an hour when it is busy.
const TORRENTS_MAX: usize = 20_000;
/// Ten packets full; the 500th peer of a torrent helps nobody who has the others.
const PEERS_OF_TORRENT_MAX: usize = 500;
/// 48 bytes each and growth by doubling: at most 20 MB.
const PEERS_MAX: usize = 200_000;
/// Of all torrents an address may have one in ten here: whoever seeds thousands has few near our id.
const ADDRESS_SHARE: usize = 10;
/// And a network one in four.
const NETWORK_SHARE: usize = 4;
/// Popular torrents are announced many times a second: they need not move in the order each time.
const FILED_FOR: Duration = Duration::from_secs(60);
/// Some microseconds each, so that one call stays below a millisecond.
const FORGET_MAX: usize = 256;
/// `6:` and a compact peer.
const VALUE_V4_BYTES: usize = 2 + 6;
/// `18:` and a compact peer.
const VALUE_V6_BYTES: usize = 3 + 18;
/// All else in a full response: `d2:ip18:` 8+18, `1:rd` 4, id 27, `nodes` 11+208, `nodes6` 13+304,
/// token 10+8, `6:valuesle` 10, `e1:t` 4 and a transaction of up to 3+20, `v` 9, `1:y1:re` 7.
const REPLY_BYTES: usize = 26 + 4 + 27 + 219 + 317 + 18 + 10 + 27 + 9 + 7;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};

    use quickcheck::{Gen, QuickCheck};

    use super::*;
    use crate::base::Id;
    use crate::wire::compact::NodeAddr;
    use crate::wire::krpc::{self, Reply};

    const START: Instant = Instant::from_millis(1_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    fn hash(n: u16) -> InfoHash {
        let mut id = [7; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        Id(id)
    }

    fn peer(n: u16, port: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        SocketAddr::new(Ipv4Addr::new(192, 0, high, low).into(), port)
    }

    fn six(n: u16) -> SocketAddr {
        format!("[2001:db9::{n:x}]:6881").parse().unwrap()
    }

    fn store(limits: Limits) -> Peers {
        Peers::new(limits, &mut Rng::seeded(1))
    }

    fn values(peers: &Peers, v6: bool, noseed: bool, now: Instant) -> Vec<SocketAddr> {
        let mut out = [NOWHERE; VALUES_V4_MAX];
        let len = peers.values(&hash(1), v6, noseed, now, &mut Rng::seeded(2), &mut out);
        out[..len].to_vec()
    }

    #[test]
    fn an_address_counts_once_with_its_latest_port_and_kind() {
        let mut peers = store(Limits::default());
        peers.announce(hash(1), peer(1, 1), false, START);
        peers.announce(hash(1), peer(1, 2), true, START);
        peers.announce(hash(1), peer(2, 0), true, START);
        assert_eq!(values(&peers, false, false, START), [peer(1, 2)]);
        assert_eq!(values(&peers, false, true, START), []);
        assert_eq!((peers.len(), peers.peers()), (1, 1));
        peers.check_invariants();
    }

    #[test]
    fn families_are_answered_apart_and_scraped_together() {
        let mut peers = store(Limits::default());
        peers.announce(hash(1), peer(1, 1), false, START);
        peers.announce(hash(1), six(1), true, START);
        assert_eq!(values(&peers, false, false, START), [peer(1, 1)]);
        assert_eq!(values(&peers, true, false, START), [six(1)]);
        let (seeds, others) = peers.scrape(&hash(1), START).unwrap();
        let mut expected = (Filter::EMPTY, Filter::EMPTY);
        expected.0.insert(six(1).ip());
        expected.1.insert(peer(1, 1).ip());
        assert_eq!((seeds, others), expected);
        assert!(peers.scrape(&hash(2), START).is_none());
    }

    #[test]
    fn a_peer_is_forgotten_after_half_an_hour() {
        let mut peers = store(Limits::default());
        peers.announce(hash(1), peer(1, 1), false, START);
        peers.announce(hash(1), peer(2, 1), false, START + MINUTE * 20);
        let late = START + MINUTE * 30;
        assert_eq!(values(&peers, false, false, late), [peer(2, 1)]);
        peers.on_deadline(late);
        assert_eq!(peers.len(), 1);
        let due = peers.next_deadline().unwrap();
        assert_eq!(due, START + MINUTE * 50);
        peers.on_deadline(due);
        assert!(peers.is_empty() && peers.next_deadline().is_none() && peers.scrape(&hash(1), due).is_none());
        peers.check_invariants();
    }

    #[test]
    fn dead_peers_of_a_living_torrent_make_room() {
        let mut peers = store(Limits::default());
        (0..10).for_each(|n| peers.announce(hash(1), peer(n, 1), false, START));
        peers.announce(hash(1), peer(99, 1), false, START + MINUTE * 31);
        assert_eq!(peers.peers(), 1);
        peers.check_invariants();
    }

    #[test]
    fn every_cap_holds_and_the_oldest_of_the_smallest_go_first() {
        let mut peers = store(Limits { torrents: 3, peers_of_torrent: 4, peers: 6, ..Limits::default() });
        for n in 0..6 {
            peers.announce(hash(1), peer(n, 1), false, START + MINUTE / 60 * u32::from(n));
        }
        let mut kept = values(&peers, false, false, START);
        kept.sort();
        assert_eq!(kept, [peer(2, 1), peer(3, 1), peer(4, 1), peer(5, 1)]);
        for n in 2..9 {
            peers.announce(hash(n), peer(n, 1), false, START + MINUTE * u32::from(n));
            peers.check_invariants();
        }
        assert_eq!(peers.len(), 3);
        let mut out = [Id::default(); SAMPLES_MAX];
        let len = peers.sample(&mut Rng::seeded(1), &mut out);
        out[..len].sort();
        assert_eq!(out[..len], [hash(1), hash(7), hash(8)]);
    }

    #[test]
    fn one_address_with_twenty_thousand_announces_flushes_nothing() {
        let mut peers = store(Limits::default());
        let id = |n: u32| Id([&[9; 16][..], &n.to_be_bytes()].concat().try_into().unwrap());
        // As many honest torrents as there is room for, of two peers each, then one flood.
        for n in 0..18_000u32 {
            for host in 0..2u16 {
                peers.announce(id(n), peer((n / 100) as u16 * 256 + host, 1), false, START);
            }
        }
        let flood = peer(65_000, 1);
        for n in 0..20_000u32 {
            peers.announce(id(1_000_000 + n), flood, false, START + MINUTE);
        }
        peers.check_invariants();
        assert_eq!(peers.len(), 20_000);
        let kept = (0..18_000).filter(|n| peers.peers_of(&id(*n)).len() == 2).count();
        assert_eq!(kept, 18_000, "honest torrents that are left");
        // A whole network of them takes no more than a quarter, and then from single peers first.
        for n in 0..40_000u32 {
            peers.announce(id(2_000_000 + n), peer(64_000 + (n % 200) as u16, 1), false, START + MINUTE * 2);
        }
        peers.check_invariants();
        let kept = (0..18_000).filter(|n| peers.peers_of(&id(*n)).len() == 2).count();
        assert!(kept >= 15_000, "{kept}");
    }

    #[test]
    fn those_with_fewest_peers_make_room_first() {
        let mut peers = store(Limits { torrents: 3, ..Limits::default() });
        (0..2).for_each(|host| peers.announce(hash(1), peer(host, 1), false, START));
        peers.announce(hash(2), peer(9, 1), false, START + MINUTE);
        (0..3).for_each(|host| peers.announce(hash(3), peer(host, 1), false, START));
        peers.announce(hash(4), peer(9, 1), false, START + MINUTE * 2);
        let left: Vec<_> = (1..5).filter(|n| !peers.peers_of(&hash(*n)).is_empty()).collect();
        assert_eq!(left, [1, 3, 4]);
        peers.check_invariants();
    }

    #[test]
    fn the_cap_on_all_peers_evicts_whole_torrents() {
        let mut peers = store(Limits { torrents: 100, peers_of_torrent: 4, peers: 6, ..Limits::default() });
        (0..4).for_each(|n| peers.announce(hash(1), peer(n, 1), false, START));
        (0..4).for_each(|n| peers.announce(hash(2), peer(n, 1), false, START + MINUTE));
        assert_eq!((peers.len(), peers.peers()), (1, 4));
        assert!(peers.scrape(&hash(2), START + MINUTE).is_some());
        peers.check_invariants();
    }

    #[test]
    fn samples_are_distinct_random_and_repeatable() {
        let mut peers = store(Limits::default());
        (0..100).for_each(|n| peers.announce(hash(n), peer(n, 1), false, START));
        let draw = |seed| {
            let mut out = [Id::default(); SAMPLES_MAX];
            assert_eq!(peers.sample(&mut Rng::seeded(seed), &mut out), SAMPLES_MAX);
            out
        };
        for seed in 0..50 {
            let mut drawn = draw(seed).to_vec();
            drawn.sort();
            drawn.dedup();
            assert_eq!(drawn.len(), SAMPLES_MAX);
        }
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(store(Limits::default()).sample(&mut Rng::seeded(1), &mut [Id::default(); 3]), 0);
    }

    #[test]
    fn every_peer_is_handed_out_now_and_then() {
        let mut peers = store(Limits::default());
        (0..500).for_each(|n| peers.announce(hash(1), peer(n, 1), false, START));
        let mut rng = Rng::seeded(3);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let mut out = [NOWHERE; VALUES_V4_MAX];
            let len = peers.values(&hash(1), false, false, START, &mut rng, &mut out);
            let distinct: BTreeSet<_> = out[..len].iter().copied().collect();
            assert_eq!((len, distinct.len()), (VALUES_V4_MAX, VALUES_V4_MAX));
            seen.extend(distinct);
        }
        assert_eq!(seen.len(), 500);
    }

    #[test]
    fn the_fullest_response_fits_in_a_packet() {
        let token = [0; 8];
        let node = NodeAddr { id: hash(1), addr: peer(1, 1) };
        let node6 = NodeAddr { id: hash(1), addr: six(1) };
        for (values, to) in
            [(vec![peer(1, 1); VALUES_V4_MAX], peer(1, 1)), (vec![six(1); VALUES_V6_MAX], six(1))]
        {
            let reply = Reply {
                token: Some(&token),
                nodes: Some(&[node; 8]),
                nodes6: Some(&[node6; 8]),
                values: &values,
                ..Reply::default()
            };
            assert!(krpc::write_reply(&mut [0; PACKET_MAX], &[b't'; 20], to, &reply).is_some());
        }
        const { assert!(VALUES_V4_MAX >= 40 && VALUES_V6_MAX >= 16) };
    }

    #[test]
    fn no_history_breaks_the_invariants() {
        fn property(steps: Vec<(u8, u16, u8)>) -> bool {
            let mut peers =
                store(Limits { torrents: 8, peers_of_torrent: 5, peers: 20, of_address: 6, of_network: 15 });
            let mut now = START;
            for (torrent, who, pause) in steps {
                now += MINUTE / 4 * u32::from(pause);
                peers.announce(hash(u16::from(torrent % 12)), peer(who % 9, who | 1), who % 2 == 0, now);
                if pause % 3 == 0 {
                    peers.on_deadline(now);
                }
                peers.check_invariants();
            }
            true
        }
        let gen_ = Gen::from_size_and_seed(200, 5);
        QuickCheck::new().rng(gen_).tests(200).quickcheck(property as fn(Vec<(u8, u16, u8)>) -> bool);
    }
}
