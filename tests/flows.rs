//! A home router must survive us: live flows are counted here from the packets on the wire, by
//! the definition that routers use, never from the engine's own counter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use dht_hunter::base::{Id, Instant, Rng};
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::Command;
use dht_hunter::sim::{Crowd, Link, Packet, World};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Body, Method, Reply};

/// An endless network: every answer names nodes, infohashes and peers never heard of before, so
/// there is always more to do than a router can bear. Some never answer.
struct Endless {
    rng: Rng,
    next: u32,
}

impl Endless {
    fn fresh(&mut self) -> SocketAddr {
        self.next += 1;
        // Each in a network of its own.
        SocketAddr::from(((0x0b00_0000 + (self.next << 8)).to_be_bytes(), 6881))
    }
}

impl Crowd for Endless {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let message = krpc::decode(data).ok()?;
        let Body::Query(query) = message.body else { return None };
        if self.rng.percent(30) {
            return None;
        }
        let nodes: Vec<_> =
            (0..8).map(|_| NodeAddr { id: Id::random(&mut self.rng), addr: self.fresh() }).collect();
        let peers: Vec<_> = (0..10).map(|_| self.fresh()).collect();
        let hashes: Vec<_> = (0..20).map(|_| Id::random(&mut self.rng)).collect();
        let mut reply =
            Reply { id: Id(dht_hunter::base::hash::sha1(at.to_string().as_bytes())), ..Reply::default() };
        match query.method {
            Method::GetPeers { .. } => (reply.values, reply.nodes) = (&peers, Some(&nodes[..])),
            Method::SampleInfohashes { .. } => {
                (reply.samples, reply.nodes) = (Some((300, 20, &hashes[..])), Some(&nodes[..]));
            }
            _ => reply.nodes = Some(&nodes[..]),
        }
        let mut out = vec![0; 2_048];
        let len = krpc::write_reply(&mut out, message.transaction, from, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        self.rng.percent(50)
    }
}

#[derive(Default)]
struct Router {
    /// Per flow: its last packet, and whether both sides have spoken.
    table: BTreeMap<(SocketAddr, Option<u64>), (Instant, bool)>,
    most: usize,
    packets: u64,
}

impl Router {
    fn see(&mut self, packet: Packet) {
        self.packets += 1;
        let flow = self.table.entry((packet.remote, packet.stream)).or_insert((packet.at, false));
        flow.0 = packet.at;
        flow.1 |= packet.inbound;
        if self.packets.is_multiple_of(64) {
            let live = |(last, answered): &(Instant, bool)| {
                packet.at.since(*last) < Duration::from_secs(if *answered { 180 } else { 30 })
            };
            self.table.retain(|_, flow| live(flow));
            self.most = self.most.max(self.table.len());
        }
    }
}

fn most_flows(rates: Rates, minutes: u64) -> (usize, u64) {
    let mut world = World::new(1, Link::default());
    let router = Rc::new(RefCell::new(Router::default()));
    let seen = Rc::clone(&router);
    world.set_tap(move |packet| seen.borrow_mut().see(packet));
    world.set_crowd(Endless { rng: Rng::seeded(2), next: 0 });
    let host = world.add(SocketAddr::from(([11, 200, 0, 1], 6881)), Config::new(Vec::new(), rates));
    world.command(host, Command::Bootstrap(vec![SocketAddr::from(([11, 0, 0, 0], 6881))]));
    world.run(Duration::from_secs(60 * minutes), |_| false);
    world.engine_of(host).check_invariants();
    let router = router.borrow();
    (router.most, router.packets)
}

#[test]
fn home_never_opens_more_than_two_thousand_flows() {
    let (most, packets) = most_flows(Rates::HOME, 10);
    assert!(most <= 2_000, "{most} flows at once");
    assert!(most >= 1_500, "only {most} flows: the crawl is not busy, so nothing is shown");
    assert!(packets >= 10_000, "{packets}");
}

#[test]
fn without_the_limit_the_same_network_would_take_many_more() {
    let (most, _) = most_flows(Rates { flows: 0, ..Rates::HOME }, 2);
    assert!(most > 4_000, "the test above must be able to fail: {most}");
}
