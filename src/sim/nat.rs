//! A NAT box by RFC 4787: what it maps, what it lets in, and how it behaves when its table is
//! full, which is what kills home routers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::Instant;

/// What a mapping or a filter depends on (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// Endpoint-independent.
    Endpoint,
    /// Address-dependent.
    Address,
    /// Address- and port-dependent.
    AddressAndPort,
}

/// What a full table does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Packets that would need a new entry vanish.
    DropNew,
    /// The entry idle for longest makes room.
    EvictOldest,
}

/// How a box behaves.
#[derive(Clone, Copy, Debug)]
pub struct NatConfig {
    /// Its address as seen from outside.
    pub outside: IpAddr,
    /// Which packets leave from the same port.
    pub mapping: Dependence,
    /// Whose packets come in to such a port.
    pub filtering: Dependence,
    /// Entries of its table, one for each inside address, outside port and remote address.
    pub entries_max: usize,
    /// What happens when there are as many.
    pub overflow: Overflow,
    /// An entry is forgotten after so long without a packet.
    pub timeout: Duration,
}

/// A box and its table.
#[derive(Clone, Debug)]
pub struct NatBox {
    config: NatConfig,
    /// The outside port of what was sent from inside, as far as the mapping depends on it.
    ports: BTreeMap<(SocketAddr, Option<IpAddr>, Option<u16>), u16>,
    inside: BTreeMap<u16, SocketAddr>,
    /// Last packet of each entry.
    entries: BTreeMap<(u16, SocketAddr), Instant>,
    /// Ports that let everybody in to this inside address.
    forwards: BTreeMap<u16, SocketAddr>,
    next_port: u16,
    /// Packets that found no room.
    pub choked: u64,
}

impl NatBox {
    /// A box with an empty table.
    pub fn new(config: NatConfig) -> Self {
        Self {
            config,
            ports: BTreeMap::new(),
            inside: BTreeMap::new(),
            entries: BTreeMap::new(),
            forwards: BTreeMap::new(),
            next_port: FIRST_PORT,
            choked: 0,
        }
    }

    /// Its address as seen from outside.
    pub fn outside(&self) -> IpAddr {
        self.config.outside
    }

    /// Lets everybody in on `port`, to `inside`: a port mapping made by hand or by UPnP.
    pub fn forward(&mut self, port: u16, inside: SocketAddr) {
        self.forwards.insert(port, inside);
        self.inside.insert(port, inside);
    }

    /// A packet leaves; the source address that the world sees. `None`: it choked.
    pub fn outbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let port = self.port_for(now, from, to)?;
        self.touch(now, (port, to)).then(|| SocketAddr::new(self.config.outside, port))
    }

    /// A packet came to `port` from outside; who inside gets it.
    pub fn inbound(&mut self, now: Instant, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let inside = *self.inside.get(&port)?;
        let live = |at: &Instant| now.since(*at) < self.config.timeout;
        let mut here = self.entries.range((port, LOWEST)..).take_while(|((of, _), _)| *of == port);
        let may = self.forwards.contains_key(&port)
            || here.any(|((_, remote), at)| {
                let same = match self.config.filtering {
                    Dependence::Endpoint => true,
                    Dependence::Address => remote.ip() == from.ip(),
                    Dependence::AddressAndPort => *remote == from,
                };
                same && live(at)
            });
        (may && self.touch(now, (port, from))).then_some(inside)
    }

    /// A connection from outside; who inside gets it. Only through a forwarded port.
    pub fn inbound_stream(&mut self, now: Instant, port: u16, from: SocketAddr) -> Option<SocketAddr> {
        let inside = *self.forwards.get(&port)?;
        self.touch(now, (port, from)).then_some(inside)
    }

    /// Entries of its table.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn port_for(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<u16> {
        if let Some((port, _)) = self.forwards.iter().find(|(_, inside)| **inside == from) {
            return Some(*port);
        }
        let key = match self.config.mapping {
            Dependence::Endpoint => (from, None, None),
            Dependence::Address => (from, Some(to.ip()), None),
            Dependence::AddressAndPort => (from, Some(to.ip()), Some(to.port())),
        };
        if let Some(port) = self.ports.get(&key) {
            return Some(*port);
        }
        if self.ports.len() >= PORTS_MAX {
            self.expire(now);
        }
        let preserved = Some(from.port()).filter(|port| !self.inside.contains_key(port));
        let port = match preserved {
            Some(port) => port,
            None => self.free_port()?,
        };
        self.ports.insert(key, port);
        self.inside.insert(port, from);
        Some(port)
    }

    fn free_port(&mut self) -> Option<u16> {
        for _ in 0..PORTS_MAX {
            let port = self.next_port;
            self.next_port = if port == u16::MAX { FIRST_PORT } else { port + 1 };
            if !self.inside.contains_key(&port) {
                return Some(port);
            }
        }
        None
    }

    /// Notes a packet of an entry; false if there is no room for a new one.
    fn touch(&mut self, now: Instant, entry: (u16, SocketAddr)) -> bool {
        if !self.entries.contains_key(&entry) && self.entries.len() >= self.config.entries_max {
            self.expire(now);
            if self.entries.len() >= self.config.entries_max && !self.evict() {
                self.choked += 1;
                return false;
            }
        }
        self.entries.insert(entry, now);
        true
    }

    fn evict(&mut self) -> bool {
        if self.config.overflow == Overflow::DropNew {
            return false;
        }
        let oldest = self.entries.iter().min_by_key(|(_, at)| **at).map(|(entry, _)| *entry);
        oldest.is_some_and(|entry| self.entries.remove(&entry).is_some())
    }

    /// Forgets entries that were idle for too long, and the ports that have none left.
    fn expire(&mut self, now: Instant) {
        let timeout = self.config.timeout;
        self.entries.retain(|_, at| now.since(*at) < timeout);
        let live =
            |port: u16| self.entries.range((port, LOWEST)..).next().is_some_and(|(it, _)| it.0 == port);
        self.ports.retain(|_, port| live(*port));
        let forwards = &self.forwards;
        self.inside.retain(|port, _| forwards.contains_key(port) || live(*port));
    }
}

/// Not after any address.
const LOWEST: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
const FIRST_PORT: u16 = 20_000;
/// Dynamic ports from [`FIRST_PORT`] up.
const PORTS_MAX: usize = (u16::MAX - FIRST_PORT) as usize;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(mapping: Dependence, filtering: Dependence) -> NatBox {
        let outside = addr("20.0.0.1:1").ip();
        let overflow = Overflow::DropNew;
        NatBox::new(NatConfig { outside, mapping, filtering, entries_max: 4, overflow, timeout: MINUTE })
    }

    #[test]
    fn the_three_mappings_give_one_port_or_one_for_each_remote() {
        let (inside, now) = (addr("192.168.0.2:6881"), Instant(0));
        let to = [addr("30.0.0.1:1"), addr("30.0.0.1:2"), addr("30.0.0.2:1")];
        for (mapping, expected) in
            [(Dependence::Endpoint, 1), (Dependence::Address, 2), (Dependence::AddressAndPort, 3)]
        {
            let mut nat = nat(mapping, Dependence::Endpoint);
            let seen: std::collections::BTreeSet<_> =
                to.iter().map(|to| nat.outbound(now, inside, *to).unwrap()).collect();
            assert_eq!(seen.len(), expected, "{mapping:?}");
            assert!(seen.iter().all(|seen| seen.ip() == nat.outside()));
            assert!(seen.contains(&addr("20.0.0.1:6881")), "the first keeps its port");
        }
    }

    #[test]
    fn the_three_filters_let_in_everybody_or_one_address_or_one_port() {
        let inside = addr("192.168.0.2:6881");
        let others = [addr("30.0.0.1:1"), addr("30.0.0.1:2"), addr("30.0.0.2:1")];
        for (filtering, expected) in
            [(Dependence::Endpoint, 3), (Dependence::Address, 2), (Dependence::AddressAndPort, 1)]
        {
            let mut nat = nat(Dependence::Endpoint, filtering);
            let now = Instant(0);
            assert_eq!(nat.inbound(now, 6881, others[0]), None, "nothing was sent yet");
            nat.outbound(now, inside, others[0]);
            let let_in = others.iter().filter(|from| nat.inbound(now, 6881, **from).is_some()).count();
            assert_eq!(let_in, expected, "{filtering:?}");
            assert_eq!(nat.inbound(now + MINUTE, 6881, others[0]), None, "the mapping timed out");
            assert_eq!(nat.inbound_stream(now, 6881, others[0]), None, "streams go out only");
        }
    }

    #[test]
    fn a_forwarded_port_lets_everybody_in_and_is_what_the_world_sees() {
        let mut nat = nat(Dependence::AddressAndPort, Dependence::AddressAndPort);
        let (inside, other) = (addr("192.168.0.2:6881"), addr("30.0.0.1:1"));
        nat.forward(7000, inside);
        assert_eq!(nat.inbound(Instant(0), 7000, other), Some(inside));
        assert_eq!(nat.inbound_stream(Instant(0), 7000, other), Some(inside));
        assert_eq!(nat.outbound(Instant(0), inside, other), Some(addr("20.0.0.1:7000")));
    }

    #[test]
    fn a_full_table_chokes_or_forgets_the_oldest() {
        for overflow in [Overflow::DropNew, Overflow::EvictOldest] {
            let mut nat = nat(Dependence::Endpoint, Dependence::AddressAndPort);
            nat.config.overflow = overflow;
            let inside = addr("192.168.0.2:6881");
            let remote = |port: u16| SocketAddr::from(([30, 0, 0, 1], port));
            for port in 1..=4 {
                assert!(nat.outbound(Instant(u64::from(port)), inside, remote(port)).is_some());
            }
            let fifth = nat.outbound(Instant(9), inside, remote(5)).is_some();
            assert_eq!(fifth, overflow == Overflow::EvictOldest);
            assert_eq!(nat.inbound(Instant(9), 6881, remote(1)).is_some(), !fifth);
            assert_eq!(nat.len(), 4);
            assert!(nat.outbound(Instant(9) + MINUTE, inside, remote(6)).is_some(), "all timed out");
            assert_eq!(nat.len(), 1);
        }
    }
}
