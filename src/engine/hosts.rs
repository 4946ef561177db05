//! How many streams each address may have: of fetches at once, of handshakes at once as learnt from
//! what that address does, of peers that are served.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Instant, Network, TokenBucket};

/// Every address with streams of ours, and what was learnt of some without.
#[derive(Default)]
pub(super) struct Hosts {
    fetched: BTreeMap<IpAddr, Fetched>,
    served: BTreeMap<IpAddr, u16>,
    served_networks: BTreeMap<Network, u16>,
    learnt: BTreeMap<IpAddr, Learnt>,
    /// Oldest first. An entry counts only while the map has the same time.
    order: VecDeque<(IpAddr, Instant)>,
}

/// Fetches from one address.
struct Fetched {
    open: u16,
    /// Those whose BEP 3 handshake is not done.
    handshakes: u16,
    /// Its share of `--bytes-in`.
    bytes_in: TokenBucket,
}

/// What an address takes that does not take as many handshakes at once as others.
#[derive(Clone, Copy)]
struct Learnt {
    at_once: u16,
    /// Handshakes done since it last closed early.
    done: u16,
    /// As many have to be done before one more is tried at once.
    needed: u16,
    closed_at: Instant,
}

impl Hosts {
    /// One more fetch from there would be too much for it. Whoever seeds thousands of torrents is
    /// not to be hammered for all of them.
    pub(super) fn is_busy(&self, host: IpAddr, now: Instant) -> bool {
        let Some(fetched) = self.fetched.get(&host) else { return false };
        fetched.open >= PER_HOST || fetched.handshakes >= self.at_once(host, now)
    }

    /// A connection is being opened.
    pub(super) fn fetch_begins(&mut self, host: IpAddr) {
        let bytes_in = TokenBucket::unlimited();
        let fetched = self.fetched.entry(host).or_insert(Fetched { open: 0, handshakes: 0, bytes_in });
        (fetched.open, fetched.handshakes) = (fetched.open + 1, fetched.handshakes + 1);
    }

    /// The handshake of one of its fetches is done.
    pub(super) fn handshake_done(&mut self, host: IpAddr) {
        if let Some(fetched) = self.fetched.get_mut(&host) {
            fetched.handshakes -= 1;
        }
        let Some(learnt) = self.learnt.get_mut(&host) else { return };
        learnt.done += 1;
        if learnt.done >= learnt.needed {
            (learnt.at_once, learnt.done) = (learnt.at_once * 2, 0);
            if learnt.at_once >= PER_HOST {
                self.learnt.remove(&host);
            }
        }
    }

    /// One of its fetches is over, whose handshake was done or not.
    pub(super) fn fetch_ends(&mut self, host: IpAddr, handshake_done: bool) {
        if let Some(fetched) = self.fetched.get_mut(&host) {
            fetched.open -= 1;
            fetched.handshakes -= u16::from(!handshake_done);
            if fetched.open == 0 {
                self.fetched.remove(&host);
            }
        }
    }

    /// It closed a connection before the handshake; true if another to it is open, so that this
    /// may be why. From then on it is asked for one handshake at a time, until that went well so
    /// often that more may be tried, each time later than before.
    pub(super) fn closed_early(&mut self, host: IpAddr, now: Instant) -> bool {
        if !self.fetched.contains_key(&host) {
            return false;
        }
        let before = self.learnt.get(&host).filter(|learnt| !learnt.is_old(now));
        let needed = match before {
            // One after the other: that was learnt already, and it is no sign against it.
            Some(learnt) if learnt.at_once == 1 => learnt.needed,
            Some(learnt) => (learnt.needed * 2).min(NEEDED_MAX),
            None => NEEDED_FIRST,
        };
        self.learnt.insert(host, Learnt { at_once: 1, done: 0, needed, closed_at: now });
        self.order.push_back((host, now));
        while self.learnt.len() > LEARNT_MAX || self.order.len() > 2 * LEARNT_MAX {
            let Some((oldest, at)) = self.order.pop_front() else { break };
            if self.learnt.get(&oldest).is_some_and(|learnt| learnt.closed_at == at) {
                self.learnt.remove(&oldest);
            }
        }
        true
    }

    /// A peer at this address wants to be served; false if it has as many streams as one may have.
    pub(super) fn serve_begins(&mut self, host: IpAddr) -> bool {
        let network = Network::around(host);
        let of = |count: Option<&u16>| count.copied().unwrap_or(0);
        if of(self.served.get(&host)) >= SERVED_PER_HOST
            || of(self.served_networks.get(&network)) >= SERVED_PER_NETWORK
        {
            return false;
        }
        *self.served.entry(host).or_default() += 1;
        *self.served_networks.entry(network).or_default() += 1;
        true
    }

    /// A peer at this address is served no more.
    pub(super) fn serve_ends(&mut self, host: IpAddr) {
        reduce(&mut self.served, host);
        reduce(&mut self.served_networks, Network::around(host));
    }

    /// Bytes came from fetches of an address, when `--bytes-in` is this.
    pub(super) fn received(&mut self, host: IpAddr, bytes: usize, bytes_in: &TokenBucket, now: Instant) {
        if bytes_in.rate() == 0 {
            return;
        }
        if let Some(fetched) = self.fetched.get_mut(&host) {
            let (rate, burst) = (bytes_in.rate() / BYTES_IN_SHARE, bytes_in.burst() / BYTES_IN_SHARE);
            if fetched.bytes_in.rate() != rate.max(1) {
                fetched.bytes_in = TokenBucket::new(rate.max(1), burst);
            }
            fetched.bytes_in.take_up_to(now, bytes as u64);
        }
    }

    /// It has received its share of `--bytes-in` of late.
    pub(super) fn is_over_its_share(&self, host: IpAddr, now: Instant) -> bool {
        self.fetched.get(&host).is_some_and(|fetched| fetched.bytes_in.available(now) == 0)
    }

    /// Panics unless so many fetches are open, so many of them with handshakes to come, and so many
    /// peers are served.
    pub(super) fn check_invariants(&self, fetches: usize, handshakes: usize, served: usize) {
        let sum = |counts: &mut dyn Iterator<Item = u16>| counts.map(usize::from).sum::<usize>();
        assert_eq!(sum(&mut self.fetched.values().map(|host| host.open)), fetches, "fetches by address");
        let done_not = sum(&mut self.fetched.values().map(|host| host.handshakes));
        assert_eq!(done_not, handshakes, "handshakes by address");
        assert_eq!(sum(&mut self.served.values().copied()), served, "served by address");
        assert_eq!(sum(&mut self.served_networks.values().copied()), served, "served by network");
        assert!(self.fetched.values().all(|host| (1..=PER_HOST).contains(&host.open)));
        assert!(self.learnt.len() <= LEARNT_MAX && self.order.len() <= 2 * LEARNT_MAX);
    }

    fn at_once(&self, host: IpAddr, now: Instant) -> u16 {
        self.learnt.get(&host).filter(|learnt| !learnt.is_old(now)).map_or(PER_HOST, |learnt| learnt.at_once)
    }
}

impl Learnt {
    fn is_old(self, now: Instant) -> bool {
        now.since(self.closed_at) > LEARNT_FOR
    }
}

fn reduce<K: Ord>(counts: &mut BTreeMap<K, u16>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// What qBittorrent lets one address have; several torrents behind one NAT still come along.
const PER_HOST: u16 = 8;
/// As many handshakes in a row are done before two are tried at once again.
const NEEDED_FIRST: u16 = 16;
const NEEDED_MAX: u16 = 1_024;
const LEARNT_FOR: Duration = Duration::from_secs(3_600);
/// Some 80 bytes each, map and order.
const LEARNT_MAX: usize = 16_384;
/// Four crawlers like this one behind one NAT.
const SERVED_PER_HOST: u16 = 32;
const SERVED_PER_NETWORK: u16 = 256;
/// An address has an eighth of `--bytes-in` while others want more than there is.
const BYTES_IN_SHARE: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const NOW: Instant = Instant::from_millis(1_000);

    /// How many connections may be opened to it at once.
    fn room(hosts: &mut Hosts, now: Instant) -> u16 {
        let mut count = 0;
        while !hosts.is_busy(HOST, now) {
            hosts.fetch_begins(HOST);
            count += 1;
        }
        (0..count).for_each(|_| hosts.fetch_ends(HOST, false));
        count
    }

    /// So many connections, one after the other, whose handshakes are done.
    fn handshakes(hosts: &mut Hosts, count: u16) {
        for _ in 0..count {
            hosts.fetch_begins(HOST);
            hosts.handshake_done(HOST);
            hosts.fetch_ends(HOST, true);
        }
    }

    fn crowd(hosts: &mut Hosts, now: Instant) -> bool {
        hosts.fetch_begins(HOST);
        let crowded = hosts.closed_early(HOST, now);
        hosts.fetch_ends(HOST, false);
        crowded
    }

    #[test]
    fn one_handshake_at_a_time_after_an_early_close_and_more_again_later() {
        let mut hosts = Hosts::default();
        assert_eq!(room(&mut hosts, NOW), PER_HOST);
        assert!(!hosts.closed_early(HOST, NOW), "nothing else was open");
        assert_eq!(room(&mut hosts, NOW), PER_HOST);
        assert!(crowd(&mut hosts, NOW));
        assert_eq!(room(&mut hosts, NOW), 1);
        hosts.fetch_begins(HOST);
        hosts.handshake_done(HOST);
        assert!(!hosts.is_busy(HOST, NOW), "those whose handshake is done do not count");
        hosts.fetch_ends(HOST, true);
        handshakes(&mut hosts, 14);
        assert_eq!(room(&mut hosts, NOW), 1);
        handshakes(&mut hosts, 1);
        assert_eq!(room(&mut hosts, NOW), 2);
        assert!(crowd(&mut hosts, NOW), "two are too many still");
        handshakes(&mut hosts, 31);
        assert_eq!(room(&mut hosts, NOW), 1, "twice as long as before");
        handshakes(&mut hosts, 1 + 32 + 32);
        assert_eq!(room(&mut hosts, NOW), PER_HOST);
        assert!(crowd(&mut hosts, NOW));
        assert_eq!(room(&mut hosts, NOW + Duration::from_secs(3_601)), PER_HOST, "nothing is for ever");
        hosts.check_invariants(0, 0, 0);
    }

    #[test]
    fn what_is_learnt_is_bounded() {
        let mut hosts = Hosts::default();
        for n in 0..3 * LEARNT_MAX as u32 {
            let host = IpAddr::from((0x0b00_0000 + n).to_be_bytes());
            hosts.fetch_begins(host);
            hosts.closed_early(host, NOW + Duration::from_millis(u64::from(n)));
            hosts.fetch_ends(host, false);
        }
        hosts.check_invariants(0, 0, 0);
    }

    #[test]
    fn an_address_and_a_network_are_served_on_so_many_streams_and_no_more() {
        let mut hosts = Hosts::default();
        assert_eq!((0..100).filter(|_| hosts.serve_begins(HOST)).count(), 32);
        let others = (0..=255).flat_map(|last| [IpAddr::from([192, 0, 2, last]); 2]);
        assert_eq!(others.filter(|other| hosts.serve_begins(*other)).count(), 256 - 32);
        assert!(hosts.serve_begins([198, 51, 100, 1].into()));
        hosts.serve_ends(HOST);
        assert!(hosts.serve_begins(HOST));
        hosts.check_invariants(0, 0, 257);
    }

    #[test]
    fn a_share_of_the_rate_is_an_eighth() {
        let (mut hosts, bytes_in) = (Hosts::default(), TokenBucket::new(800_000, 80_000));
        hosts.fetch_begins(HOST);
        assert!(!hosts.is_over_its_share(HOST, NOW));
        hosts.received(HOST, 5_000, &bytes_in, NOW);
        assert!(!hosts.is_over_its_share(HOST, NOW));
        hosts.received(HOST, 50_000, &bytes_in, NOW);
        assert!(hosts.is_over_its_share(HOST, NOW));
        assert!(!hosts.is_over_its_share(HOST, NOW + Duration::from_millis(100)));
        hosts.received(HOST, 50_000, &TokenBucket::unlimited(), NOW);
    }
}
