//! What a node that lies in its samples can have sent to others: counted from the packets on the
//! wire, per infohash that it made up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use dht_hunter::base::{Id, Rng, hash};
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::Command;
use dht_hunter::sim::{Crowd, Link, Sent, World};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Body, Method, Query, Reply};

/// Honest nodes in networks of their own, and liars that all sit in one network.
struct Liars {
    rng: Rng,
    honest: Vec<NodeAddr>,
    liars: Vec<NodeAddr>,
    lies: Rc<Cell<u64>>,
    /// Queries that honest nodes got for infohashes that were made up.
    misled: Rc<Cell<u64>>,
    made_up: Rc<RefCell<BTreeMap<Id, ()>>>,
    /// Made-up `get_peers` a second, each from another address.
    floods: u32,
    sent: u32,
    host: SocketAddr,
}

impl Liars {
    fn lie(&mut self) -> Id {
        let id = Id::random(&mut self.rng);
        self.made_up.borrow_mut().insert(id, ());
        self.lies.set(self.lies.get() + 1);
        id
    }
}

impl Crowd for Liars {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let message = krpc::decode(data).ok()?;
        let Body::Query(query) = message.body else { return None };
        let all = self.honest.iter().chain(&self.liars);
        let own = *all.clone().find(|node| node.addr == at)?;
        let lies = self.liars.contains(&own);
        let target = match query.method {
            Method::FindNode { target } | Method::SampleInfohashes { target } => target,
            Method::GetPeers { info_hash, .. } => info_hash,
            _ => own.id,
        };
        if !lies && self.made_up.borrow().contains_key(&target) {
            self.misled.set(self.misled.get() + 1);
        }
        let mut near: Vec<NodeAddr> = all.copied().collect();
        near.sort_by_key(|node| node.id.distance(target));
        near.truncate(8);
        let victims: Vec<_> =
            (0..31u32).map(|n| SocketAddr::from(((0x0d00_0000 + (n << 8)).to_be_bytes(), 6881))).collect();
        let mut reply = Reply { id: own.id, nodes: Some(&near), token: Some(b"token"), ..Reply::default() };
        let hashes: Vec<Id> = match query.method {
            Method::SampleInfohashes { .. } if lies => (0..20).map(|_| self.lie()).collect(),
            _ => Vec::new(),
        };
        match query.method {
            Method::SampleInfohashes { .. } => reply.samples = Some((0, 1_000, &hashes)),
            Method::GetPeers { .. } if lies => reply.values = &victims,
            _ => {}
        }
        let mut out = vec![0; 2_048];
        let len = krpc::write_reply(&mut out, message.transaction, from, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        false
    }

    fn acts_every(&self) -> Option<Duration> {
        (self.floods > 0).then_some(Duration::from_secs(1))
    }

    fn act(&mut self, _: dht_hunter::base::Instant) -> Vec<Sent> {
        let flood = (0..self.floods).map(|_| {
            self.sent += 1;
            let from = SocketAddr::from(((0x1000_0000 + (self.sent << 8)).to_be_bytes(), 6881));
            let method = Method::GetPeers { info_hash: self.lie(), noseed: false, scrape: false };
            let query = Query { id: Id::random(&mut self.rng), read_only: false, want: None, method };
            let mut out = vec![0; 512];
            let len = krpc::write_query(&mut out, b"aa", &query).unwrap_or_default();
            out.truncate(len);
            (from, self.host, out)
        });
        flood.collect()
    }
}

/// Lies told, queries to honest nodes for what does not exist, connections to third parties.
fn run(liars: u8, floods: u32, minutes: u64) -> (u64, u64, u64) {
    let node = |ip: [u8; 4]| {
        let addr = SocketAddr::from((ip, 6_881));
        NodeAddr { id: Id(hash::sha1(addr.to_string().as_bytes())), addr }
    };
    let (lies, misled) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let host = SocketAddr::from(([11, 200, 0, 1], 6_881));
    let mut world = World::new(5, Link::default());
    let honest: Vec<_> = (0..60).map(|n| node([11, 1, n, 1])).collect();
    let door = honest[0].addr;
    world.set_crowd(Liars {
        rng: Rng::seeded(6),
        honest,
        liars: (0..liars).map(|n| node([12, 7, 7, n + 1])).collect(),
        lies: Rc::clone(&lies),
        misled: Rc::clone(&misled),
        made_up: Rc::default(),
        floods,
        sent: 0,
        host,
    });
    let streams = Rc::new(Cell::new(0));
    let seen = Rc::clone(&streams);
    world.set_tap(move |packet| seen.set(seen.get() + u64::from(packet.stream.is_some() && !packet.inbound)));
    let host = world.add(host, Config::new(Vec::new(), Rates::SERVER));
    world.command(host, Command::Bootstrap(vec![door]));
    world.run(Duration::from_secs(60 * minutes), |_| false);
    world.engine_of(host).check_invariants();
    (lies.get(), misled.get(), streams.get())
}

#[test]
fn liars_of_one_network_cost_others_less_the_more_they_lie() {
    let (lies, queries, connections) = run(24, 0, 20);
    assert!(lies >= 500, "{lies}");
    // Forty infohashes before anything is known of them, then one in thirty seconds.
    let looked_into = 40 + 20 * 2;
    assert!(queries <= looked_into * 3 * 16, "{queries} queries for {lies} lies");
    assert!(connections <= looked_into * 3 * 20, "{connections} connections for {lies} lies");
    assert!(queries + connections <= lies * 5, "{queries} and {connections} for {lies} lies");
}

#[test]
fn a_flood_of_made_up_get_peers_is_not_multiplied() {
    let (lies, queries, connections) = run(0, 300, 3);
    assert!(lies >= 50_000, "{lies}");
    assert!(
        queries <= lies * 2 && connections == 0,
        "{queries} queries, {connections} connections for {lies}"
    );
    // Twenty new ones a second, each looked up a few times over minutes.
    assert!(queries <= 3 * 16 * (200 + 20 * 180), "{queries}");
}
