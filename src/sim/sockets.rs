//! The sockets that hosts open besides their first one.

use std::net::SocketAddr;

use super::event::HostId;
use super::world::{Host, World};
use crate::base::SocketId;
use crate::engine::io::{BindFault, Input};

impl World {
    /// A host wants a socket.
    pub(super) fn bind(&mut self, host: HostId, id: SocketId, addr: SocketAddr) {
        let bound = self.place(host, id, addr);
        self.note(host, || format!("binds {id:?} at {addr}: {bound:?}"));
        if let Ok(at) = bound {
            let open = self.hosts[host.0].sockets.len() + 1;
            if let Some(oracle) = &mut self.oracle {
                oracle.bound(host, self.now, at, open);
            }
            let here = &mut self.hosts[host.0];
            here.sockets.insert(id, at);
            if here.behind.is_none() && !at.ip().is_loopback() {
                self.bound.insert(at, (host, id));
            }
        }
        let here = &mut self.hosts[host.0];
        let (now, unix) = (here.clock.local(self.now), here.clock.unix(self.now));
        here.engine.handle(now, unix, Input::Bound(id, bound), &mut []);
    }

    /// A host closes a socket.
    pub(super) fn unbind(&mut self, host: HostId, id: SocketId) {
        let Some(at) = self.hosts[host.0].sockets.remove(&id) else { return };
        self.note(host, || format!("unbinds {id:?}"));
        if self.bound.get(&at) == Some(&(host, id)) {
            self.bound.remove(&at);
        }
    }

    /// A host is dead: its system closes what it had open.
    pub(super) fn close_sockets(&mut self, host: HostId) {
        self.hosts[host.0].sockets.clear();
        self.bound.retain(|_, (of, _)| *of != host);
    }

    /// How many sockets a host has opened besides its first one.
    pub fn sockets_of(&self, host: HostId) -> usize {
        self.hosts[host.0].sockets.len()
    }

    /// The address of one of its sockets, as a host sees it.
    pub(super) fn address_of(&self, host: HostId, id: SocketId) -> Option<SocketAddr> {
        let here = &self.hosts[host.0];
        if id == DHT { Some(here.addr) } else { here.sockets.get(&id).copied() }
    }

    /// The socket at a public address.
    pub(super) fn socket_at(&self, addr: SocketAddr) -> Option<(HostId, SocketId)> {
        let first = self.by_addr.get(&addr).map(|host| (*host, DHT));
        first.or_else(|| self.bound.get(&addr).copied())
    }

    /// Where a socket would be bound.
    fn place(&mut self, host: HostId, id: SocketId, addr: SocketAddr) -> Result<SocketAddr, BindFault> {
        let here = &self.hosts[host.0];
        let own = here.addr.ip();
        let ip = match addr.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() == own.is_ipv4() => own,
            ip if ip == own || ip.is_loopback() => ip,
            _ => return Err(BindFault::NotAvailable),
        };
        if id == DHT || here.sockets.contains_key(&id) {
            return Err(BindFault::InUse);
        }
        if here.sockets.len() >= SOCKETS_MAX {
            return Err(BindFault::NoResources);
        }
        if addr.port() != 0 {
            let at = SocketAddr::new(ip, addr.port());
            return if here.socket_at(at).is_some() { Err(BindFault::InUse) } else { Ok(at) };
        }
        for _ in 0..TRIES {
            let at = SocketAddr::new(ip, DYNAMIC + self.rng.below(u64::from(u16::MAX - DYNAMIC)) as u16);
            if self.hosts[host.0].socket_at(at).is_none() {
                return Ok(at);
            }
        }
        Err(BindFault::InUse)
    }
}

impl Host {
    /// Its socket at one of its addresses, as it sees them.
    pub(super) fn socket_at(&self, at: SocketAddr) -> Option<SocketId> {
        let others = || self.sockets.iter().find(|(_, addr)| **addr == at).map(|(id, _)| *id);
        if self.addr == at { Some(DHT) } else { others() }
    }
}

/// The socket that every host has, on which the DHT talks.
pub(super) const DHT: SocketId = SocketId(0);
/// As the reactor has it, about.
const SOCKETS_MAX: usize = 512;
/// The first dynamic port (RFC 6335).
const DYNAMIC: u16 = 49_152;
/// With half of the ports taken one in a million fails; far fewer are.
const TRIES: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::base::{Path, Token};
    use crate::engine::config::{Config, Rates};
    use crate::engine::io::LinkId;
    use crate::sim::{Dependence, Kill, Link, NatConfig, Overflow, Packet};

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    fn config() -> Config {
        Config { sweep: false, ..Config::new(Vec::new(), Rates::MAX) }
    }

    /// A world whose packets are written down.
    fn world() -> (World, Rc<RefCell<Vec<Packet>>>) {
        let mut world = World::new(1, Link::default());
        let packets = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&packets);
        world.set_tap(move |packet| tap.borrow_mut().push(packet));
        (world, packets)
    }

    fn sent(world: &mut World, from: HostId, socket: u16, to: SocketAddr) {
        let path = Path { socket: SocketId(socket), local: None, remote: to };
        world.send(from, path, b"hello", false);
        world.run(Duration::from_secs(2), |_| false);
    }

    #[test]
    fn a_socket_is_reached_at_its_address_while_it_is_open() {
        let (mut world, packets) = world();
        let (a, b) = (world.add(at("10.0.0.1:6881"), config()), world.add(at("10.0.0.2:6881"), config()));
        world.bind(a, SocketId(7), at("0.0.0.0:5300"));
        world.bind(b, SocketId(9), at("0.0.0.0:0"));
        let own = world.address_of(b, SocketId(9)).unwrap();
        assert!(own.port() >= DYNAMIC && own.ip() == at("10.0.0.2:1").ip());
        sent(&mut world, b, 9, at("10.0.0.1:5300"));
        let got: Vec<_> = packets.borrow_mut().drain(..).filter(|it| it.inbound && it.len == 5).collect();
        assert_eq!((got.len(), got[0].host, got[0].remote), (1, a, own));
        sent(&mut world, a, 7, own);
        assert_eq!(packets.borrow_mut().drain(..).filter(|it| it.inbound && it.len == 5).count(), 1);

        world.unbind(a, SocketId(7));
        sent(&mut world, b, 9, at("10.0.0.1:5300"));
        sent(&mut world, a, 7, own);
        world.kill(b, Kill::Process);
        world.start(b);
        assert_eq!(world.sockets_of(b), 0);
        sent(&mut world, a, 0, own);
        assert!(packets.borrow().iter().all(|it| !it.inbound || it.len != 5));
    }

    #[test]
    fn a_box_lets_answers_in_to_the_socket_that_asked() {
        let (mut world, packets) = world();
        let nat = world.add_box(NatConfig {
            outside: at("9.0.0.1:0").ip(),
            mapping: Dependence::Endpoint,
            filtering: Dependence::AddressAndPort,
            entries_max: 100,
            overflow: Overflow::DropNew,
            timeout: Duration::from_secs(60),
        });
        let inside = world.add_behind(nat, at("192.168.0.2:6881"), config());
        let outside = world.add(at("10.0.0.2:6881"), config());
        world.bind(inside, SocketId(4), at("0.0.0.0:5300"));
        world.bind(outside, SocketId(4), at("10.0.0.2:53"));
        sent(&mut world, inside, 4, at("10.0.0.2:53"));
        let seen = packets.borrow_mut().drain(..).find(|it| it.inbound && it.host == outside).unwrap().remote;
        assert_eq!(seen.ip(), at("9.0.0.1:0").ip());
        sent(&mut world, outside, 4, seen);
        assert!(packets.borrow().iter().any(|it| it.inbound && it.host == inside && it.len == 5));
    }

    #[test]
    fn what_cannot_be_bound_says_why() {
        let (mut world, _) = world();
        let host = world.add(at("10.0.0.1:6881"), config());
        let mut place = |id, addr| world.place(host, SocketId(id), at(addr));
        assert_eq!(place(0, "0.0.0.0:1"), Err(BindFault::InUse));
        assert_eq!(place(1, "0.0.0.0:6881"), Err(BindFault::InUse));
        assert_eq!(place(1, "10.0.0.3:1"), Err(BindFault::NotAvailable));
        assert_eq!(place(1, "[::]:1"), Err(BindFault::NotAvailable));
        assert_eq!(place(1, "127.0.0.1:53"), Ok(at("127.0.0.1:53")));
        world.bind(host, SocketId(1), at("127.0.0.1:53"));
        assert_eq!(world.place(host, SocketId(2), at("127.0.0.1:53")), Err(BindFault::InUse));
        assert_eq!(world.place(host, SocketId(1), at("0.0.0.0:54")), Err(BindFault::InUse));
        for id in 2..1_000 {
            world.bind(host, SocketId(id), at("0.0.0.0:0"));
        }
        assert_eq!(world.sockets_of(host), SOCKETS_MAX);
    }

    /// A handshake that does nothing takes a round trip, during which nothing else passes.
    #[test]
    fn a_stream_is_secured_after_it_is_open_and_before_it_talks() {
        let mut world = World::new(1, Link::default());
        world.keep_tail();
        let (a, b) = (world.add(at("10.0.0.1:6881"), config()), world.add(at("10.0.0.2:6881"), config()));
        world.engine_of(b).share(bytes::Bytes::from_static(b"d4:name1:xe"));
        let link = LinkId(Token::unpack(5));
        world.connect(a, link, at("10.0.0.2:6881"), true);
        assert!(world.run(Duration::from_secs(2), |world| {
            world.streams.get(&(a, link)).is_some_and(|stream| stream.secured)
        }));
        let said = world.tail_of(Some(a), 9);
        let place = |what: &str| said.iter().position(|line| line.contains(what));
        assert!(place("is open").is_some() && place("is open") < place("is secured"), "{said:?}");
    }
}
