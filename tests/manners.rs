//! What the crawler does to others and lets others do to it, over virtual hours, read from the
//! packets: nobody is asked before its interval, nobody is contacted who must not be, rates hold
//! in every window, and nothing grows however much is thrown at it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use dht_hunter::base::{Id, Instant, Path, Rng, Scope, SocketId, UnixTime};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Command, CommandId, Input, LinkId, Output, Reason};
use dht_hunter::model::{Recovered, StoreResult};
use dht_hunter::sim::{Crowd, Link, World};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Body, Method, Query, Reply};
use dht_hunter::wire::peer::Handshake;

/// The sub-id under which our extended handshake asks for `ut_pex`.
const OUR_PEX: u8 = 2;
const UNIX: UnixTime = UnixTime(1_790_000_000);

fn id_of(addr: SocketAddr) -> Id {
    Id(dht_hunter::base::hash::sha1(addr.to_string().as_bytes()))
}

fn global(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 6881))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Answers what it does not know as `find_node`, so never with samples.
    AsFindNode,
    Dead,
    /// BEP 51, with this interval.
    Sampling(u32),
    /// 16 nodes in every answer, and samples.
    Router,
    /// Transmission: silent to `sample_infohashes`.
    Silent,
}

/// What one node saw.
#[derive(Clone, Debug, Default)]
struct Visits {
    samples: Vec<Instant>,
    find_node: u64,
}

/// A small network of honest nodes of every kind.
struct Village {
    nodes: Vec<(SocketAddr, Kind)>,
    named: Vec<NodeAddr>,
    now: Rc<Cell<Instant>>,
    seen: Rc<RefCell<BTreeMap<SocketAddr, Visits>>>,
}

impl Village {
    fn kind(n: u32) -> Kind {
        match n % 10 {
            0 => Kind::Dead,
            1 | 2 => Kind::Silent,
            3 | 4 => Kind::AsFindNode,
            5 => Kind::Router,
            6 => Kind::Sampling(0),
            7 => Kind::Sampling(900),
            _ => Kind::Sampling(krpc::INTERVAL_MAX),
        }
    }
}

impl Crowd for Village {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let kind = self.nodes.iter().find(|(addr, _)| *addr == at)?.1;
        let message = krpc::decode(data).ok()?;
        let Body::Query(query) = message.body else { return None };
        let mut seen = self.seen.borrow_mut();
        let visits = seen.entry(at).or_default();
        let (target, sample) = match query.method {
            Method::SampleInfohashes { target } => (target, true),
            Method::FindNode { target } => (target, false),
            Method::GetPeers { info_hash, .. } => (info_hash, false),
            _ => (query.id, false),
        };
        if sample {
            visits.samples.push(self.now.get());
        } else {
            visits.find_node += 1;
        }
        if kind == Kind::Dead || kind == Kind::Silent && sample {
            return None;
        }
        let most = if kind == Kind::Router { 16 } else { 8 };
        self.named.select_nth_unstable_by_key(most - 1, |node| node.id.distance(target));
        let nodes = &self.named[..most];
        let hashes: Vec<_> = (0..5).map(|n| Id([n; 20])).collect();
        let interval = if let Kind::Sampling(interval) = kind { interval } else { 600 };
        let speaks = sample && kind != Kind::AsFindNode;
        let samples = speaks.then_some((interval, 5, &hashes[..]));
        let reply = Reply { id: id_of(at), nodes: Some(nodes), samples, ..Reply::default() };
        let mut out = vec![0; 2_048];
        let len = krpc::write_reply(&mut out, message.transaction, from, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        true
    }
}

#[test]
fn everybody_is_found_and_nobody_is_asked_before_its_interval() {
    const NODES: u32 = 400;
    let mut world = World::new(11, Link::default());
    let (now, seen) = (Rc::new(Cell::new(Instant(0))), Rc::new(RefCell::new(BTreeMap::new())));
    let clock = Rc::clone(&now);
    world.set_tap(move |packet| clock.set(packet.at));
    let nodes: Vec<_> = (0..NODES).map(|n| (global(n * 1_000), Village::kind(n))).collect();
    let named = nodes.iter().map(|(addr, _)| NodeAddr { id: id_of(*addr), addr: *addr }).collect();
    world.set_crowd(Village { nodes: nodes.clone(), named, now, seen: Rc::clone(&seen) });
    let config = Config { fetch: false, ..Config::new(Vec::new(), Rates::SERVER) };
    let host = world.add("11.200.0.1:6881".parse().unwrap(), config);
    world.command(host, Command::Bootstrap(vec![nodes[5].0]));
    world.run(Duration::from_secs(120), |_| false);
    let early = world.engine_of(host).stats().nodes_verified;
    world.run(Duration::from_secs(13 * 3_600), |_| false);
    world.engine_of(host).check_invariants();
    let alive = nodes.iter().filter(|(_, kind)| *kind != Kind::Dead).count();
    assert!(early >= alive * 95 / 100, "{early} of {alive} after two minutes");
    assert_eq!(world.engine_of(host).stats().nodes_verified, alive, "and none is lost for its silence");
    let (size, coverage) =
        (world.engine_of(host).stats().network_size, world.engine_of(host).stats().coverage);
    assert!(
        size.is_some_and(|size| (alive as u64 / 2..alive as u64 * 2).contains(&size)),
        "{size:?} {coverage:?}"
    );
    for (addr, kind) in nodes {
        let seen = seen.borrow();
        let visits = seen.get(&addr).cloned().unwrap_or_default();
        let pauses = visits.samples.windows(2).map(|pair| pair[1].since(pair[0]).as_secs());
        match kind {
            Kind::Sampling(interval) => {
                let least = u64::from(interval.max(300));
                assert!(pauses.min().unwrap() >= least, "{addr} {kind:?} {:?}", visits.samples);
                let expected = 13 * 3_600 / (least + 60);
                assert!(visits.samples.len() as u64 >= expected.min(100), "{addr} {}", visits.samples.len());
            }
            Kind::Router => assert!(pauses.min().unwrap() >= 600),
            Kind::AsFindNode | Kind::Silent => {
                assert!(visits.samples.len() <= 20, "{addr} {kind:?} {}", visits.samples.len());
                assert!(visits.find_node >= 50, "{addr} {kind:?} {}", visits.find_node);
            }
            Kind::Dead => assert!(visits.samples.len() as u64 + visits.find_node <= 300, "{visits:?}"),
        }
    }
}

/// Names only addresses where nobody must be contacted, and one where it may go on.
struct Tempter {
    rng: Rng,
    fair: fn(u32) -> SocketAddr,
}

fn forbidden() -> Vec<SocketAddr> {
    let texts = [
        "127.0.0.1:80",
        "127.5.5.5:6881",
        "10.0.0.1:6881",
        "172.16.0.1:6881",
        "192.168.1.1:6881",
        "100.64.0.1:6881",
        "100.127.255.255:6881",
        "169.254.169.254:6881",
        "224.0.0.251:5353",
        "239.255.255.250:1900",
        "255.255.255.255:6881",
        "0.0.0.0:6881",
        "0.1.2.3:6881",
        "8.8.8.8:0",
    ];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Crowd for Tempter {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let message = krpc::decode(data).ok()?;
        let Body::Query(query) = message.body else { return None };
        let fresh = (self.fair)(self.rng.below(5_000) as u32);
        let elsewhere = [fresh, "8.8.8.8:6881".parse().unwrap()];
        let all: Vec<_> = forbidden().into_iter().chain(elsewhere).collect();
        let nodes: Vec<_> =
            all.iter().map(|addr| NodeAddr { id: Id::random(&mut self.rng), addr: *addr }).collect();
        let hashes: Vec<_> = (0..5).map(|_| Id::random(&mut self.rng)).collect();
        let mut reply = Reply { id: id_of(at), nodes: Some(&nodes), ..Reply::default() };
        match query.method {
            Method::GetPeers { .. } => reply.values = &all,
            Method::SampleInfohashes { .. } => reply.samples = Some((300, 5, &hashes)),
            _ => {}
        }
        let mut out = vec![0; 2_048];
        let len = krpc::write_reply(&mut out, message.transaction, from, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        true
    }
}

fn contacted(listen: &str, fair: fn(u32) -> SocketAddr) -> BTreeMap<(SocketAddr, bool), u64> {
    let mut world = World::new(3, Link::default());
    let seen = Rc::new(RefCell::new(BTreeMap::new()));
    let log = Rc::clone(&seen);
    world.set_tap(move |packet| {
        if !packet.inbound {
            *log.borrow_mut().entry((packet.remote, packet.stream.is_some())).or_insert(0) += 1;
        }
    });
    world.set_crowd(Tempter { rng: Rng::seeded(4), fair });
    let config = Config { ports_below_1024: true, ..Config::new(Vec::new(), Rates::HOME) };
    let host = world.add(listen.parse().unwrap(), config);
    world.command(host, Command::Bootstrap(forbidden()));
    world.command(host, Command::Bootstrap(vec![fair(1), fair(2)]));
    world.command(host, Command::Fetch(CommandId(1), Id([5; 20]), forbidden()));
    for (n, to) in forbidden().into_iter().enumerate() {
        world.command(host, Command::Ping(CommandId(10 + n as u64), to));
    }
    world.run(Duration::from_secs(300), |_| false);
    world.engine_of(host).check_invariants();
    seen.borrow().clone()
}

#[test]
fn a_wildcard_contacts_global_addresses_only_however_they_are_named() {
    let contacted = contacted("0.0.0.0:6881", global);
    for ((remote, _), packets) in &contacted {
        assert_eq!(Scope::of(remote.ip()), Scope::Global, "{remote}: {packets} packets");
        assert_ne!(remote.port(), 0);
    }
    let tcp = contacted.keys().filter(|(_, tcp)| *tcp).count();
    assert!(tcp > 10 && contacted.len() - tcp > 100, "{tcp} of {}", contacted.len());
}

#[test]
fn an_explicit_loopback_address_contacts_loopback_only() {
    let fair = |n: u32| SocketAddr::from(((0x7f10_0000 + n).to_be_bytes(), 6881));
    let contacted = contacted("127.0.0.1:6881", fair);
    for (remote, _) in contacted.keys() {
        assert_eq!(Scope::of(remote.ip()), Scope::Loopback, "{remote}");
    }
    assert!(contacted.len() > 100, "{}", contacted.len());
}

/// An engine driven by hand.
struct Hand {
    engine: Engine,
    now: Instant,
    sent: Vec<(Instant, SocketAddr, usize)>,
    /// Its own queries.
    asked: Vec<(SocketAddr, Vec<u8>)>,
    connects: Vec<(LinkId, SocketAddr)>,
    closes: Vec<LinkId>,
    reply: Vec<u8>,
}

impl Hand {
    fn new(listen: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(vec![listen.parse().unwrap()], Rates::HOME);
        change(&mut config);
        let now = Instant::from_millis(5_000);
        let engine = Engine::new(config, Recovered::default(), [7; 32], now, UNIX);
        let (sent, connects, closes) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, now, sent, asked: Vec::new(), connects, closes, reply: Vec::new() }
    }

    fn input(&mut self, input: Input<'_>) {
        let mut reply = [0; 2_048];
        let from = if let Input::Datagram(path, _) = &input { Some(path.remote) } else { None };
        let len = self.engine.handle(self.now, UNIX, input, &mut reply);
        self.reply = reply[..len].to_vec();
        if let Some(from) = from.filter(|_| len > 0) {
            self.sent.push((self.now, from, len));
        }
    }

    fn datagram(&mut self, from: SocketAddr, data: &[u8]) {
        self.input(Input::Datagram(Path { socket: SocketId(0), local: None, remote: from }, data));
    }

    fn ask(&mut self, from: SocketAddr, id: Id, method: Method<'_>) {
        let mut out = [0; 1_500];
        let query = Query { id, read_only: false, want: None, method };
        let len = krpc::write_query(&mut out, b"tx", &query).unwrap();
        self.datagram(from, &out[..len]);
    }

    /// Does what it wants until it is idle; when it wants to be called again.
    fn drain(&mut self) -> Instant {
        let mut scratch = [0; 2_048];
        for _ in 0..100_000 {
            match self.engine.poll(self.now, UNIX, &mut scratch) {
                Output::Datagram(path, len) => {
                    self.sent.push((self.now, path.remote, len));
                    self.asked.push((path.remote, scratch[..len].to_vec()));
                }
                Output::Connect { link, to, .. } => self.connects.push((link, to)),
                Output::Close(link) => self.closes.push(link),
                Output::Store(_) => self.input(Input::Stored(StoreResult::Committed(1))),
                Output::Idle(at) => return at.map_or(Instant::FAR, |(at, _)| at),
                _ => {}
            }
        }
        panic!("it never idles");
    }
}

#[test]
fn rates_hold_in_every_window_and_neither_asking_nor_answering_starves() {
    let (packets, bytes) = (200, 60_000);
    let mut hand = Hand::new("11.0.0.1:6881", |config| {
        config.rates =
            Rates { packets_out: packets, bytes_out: bytes, flows: 0, answers_per_address: 5, ..Rates::HOME };
    });
    let mut rng = Rng::seeded(5);
    let (mut own, mut answers, mut n) = (0, 0, 1_000);
    for _ in 0..20_000 {
        hand.now += Duration::from_millis(1);
        n += 1;
        let random = Id::random(&mut rng);
        // A thousand queries a second, each from somewhere else.
        hand.ask(
            global(n * 256),
            random,
            Method::GetPeers { info_hash: random, noseed: false, scrape: false },
        );
        answers += u64::from(!hand.reply.is_empty());
        hand.drain();
        for (from, data) in std::mem::take(&mut hand.asked) {
            let message = krpc::decode(&data).unwrap();
            if matches!(message.body, Body::Response(_)) {
                // It was held back for a moment.
                answers += 1;
                continue;
            }
            own += 1;
            let transaction = message.transaction.to_vec();
            let nodes: Vec<_> = (0..8).map(|_| global(rng.below(1 << 24) as u32)).collect();
            let nodes: Vec<_> = nodes.iter().map(|addr| NodeAddr { id: id_of(*addr), addr: *addr }).collect();
            let reply = Reply { id: id_of(from), nodes: Some(&nodes), ..Reply::default() };
            let mut out = [0; 1_500];
            let len = krpc::write_reply(&mut out, &transaction, from, &reply).unwrap();
            hand.datagram(from, &out[..len]);
        }
    }
    assert_eq!(own + answers, hand.sent.len() as u64);
    assert!(own >= 20 * packets * 45 / 100, "{own} questions, {answers} answers");
    assert!(answers >= 20 * packets * 30 / 100, "{own} questions, {answers} answers");
    for (rate, burst, weigh) in
        [(packets as f64, 20.0, (|_| 1.0) as fn(usize) -> f64), (bytes as f64, 65_536.0, |len| len as f64)]
    {
        // The largest excess over the rate in any window, by Kadane's algorithm.
        let (mut excess, mut last) = (0.0f64, hand.sent[0].0);
        for (at, _, len) in &hand.sent {
            excess = (excess - rate * at.since(last).as_secs_f64()).max(0.0) + weigh(*len);
            last = *at;
            assert!(excess <= burst + 1.0, "{excess} over at {at:?}");
        }
    }
}

/// The same junk everywhere: samples that lead nowhere, so that there are always lookups to do.
struct Junk {
    rng: Rng,
    methods: Rc<RefCell<BTreeMap<&'static str, u64>>>,
    silent: Rc<Cell<bool>>,
}

impl Crowd for Junk {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let message = krpc::decode(data).ok()?;
        let Body::Query(query) = message.body else { return None };
        let name = match query.method {
            Method::SampleInfohashes { .. } => "sample",
            Method::GetPeers { .. } => "get_peers",
            _ => "other",
        };
        *self.methods.borrow_mut().entry(name).or_insert(0) += 1;
        if self.silent.get() {
            return None;
        }
        let rng = &mut self.rng;
        let nodes: Vec<_> = (0..8)
            .map(|_| global(rng.below(1 << 20) as u32))
            .map(|addr| NodeAddr { id: id_of(addr), addr })
            .collect();
        let hashes: Vec<_> = (0..20).map(|_| Id::random(rng)).collect();
        let samples = (name == "sample").then_some((300, 20, &hashes[..]));
        let reply = Reply { id: id_of(at), nodes: Some(&nodes), samples, ..Reply::default() };
        let mut out = vec![0; 2_048];
        let len = krpc::write_reply(&mut out, message.transaction, from, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        true
    }
}

#[test]
fn lookups_of_junk_do_not_end_the_walk_and_an_outage_gives_nothing_up() {
    let mut world = World::new(9, Link::default());
    let (methods, silent) = (Rc::new(RefCell::new(BTreeMap::new())), Rc::new(Cell::new(false)));
    world.set_crowd(Junk { rng: Rng::seeded(1), methods: Rc::clone(&methods), silent: Rc::clone(&silent) });
    let rates = Rates { flows: 0, ..Rates::HOME };
    let config = Config { pending_max: 2_000, nodes_max: 20_000, ..Config::new(Vec::new(), rates) };
    let host = world.add("11.200.0.1:6881".parse().unwrap(), config);
    world.command(host, Command::Bootstrap(vec![global(1)]));
    world.run(Duration::from_secs(120), |_| false);
    let counts = methods.borrow().clone();
    let all: u64 = counts.values().sum();
    assert!(counts["sample"] * 10 >= all, "{counts:?}");
    assert!(counts["get_peers"] * 2 >= all, "{counts:?}");
    let tries = |world: &World| -> u64 {
        world.store_of(host).recovered().pending.iter().map(|row| u64::from(row.tries)).sum()
    };
    let before = world.engine_of(host).stats();
    silent.set(true);
    world.run(Duration::from_secs(60), |_| false);
    let (tried, sent) = (tries(&world), world.engine_of(host).stats().dht.sent);
    world.run(Duration::from_secs(6 * 3_600), |_| false);
    world.engine_of(host).check_invariants();
    let after = world.engine_of(host).stats();
    assert!(tries(&world) <= tried + 20, "nobody answers, and that counts against no torrent");
    assert!(after.nodes_verified * 100 >= before.nodes_verified * 95, "nor against any node: {after:?}");
    assert!(after.dht.sent - sent <= 6 * 3_600 * 20, "{} packets into the void", after.dht.sent - sent);
    silent.set(false);
    world.run(Duration::from_secs(120), |_| false);
    let back = world.engine_of(host).stats();
    assert!(back.dht.replies >= after.dht.replies + 1_000, "it goes on by itself");
    assert!(before.pending >= 1_000 && back.pending >= 1_000);
}

#[test]
fn a_hundred_thousand_hostile_datagrams_fill_nothing() {
    let mut hand = Hand::new("11.0.0.1:6881", |config| {
        (config.nodes_max, config.pending_max) = (2_000, 3_000);
        config.rates = Rates { packets_out: 2_000, answers_per_address: 100, ..Rates::HOME };
    });
    let mut rng = Rng::seeded(6);
    let one = global(77);
    for n in 0..100_000_u32 {
        let random = Id::random(&mut rng);
        let from = global(rng.below(1 << 22) as u32);
        match n % 5 {
            0 => {
                let mut junk = vec![0; rng.index(300)];
                rng.fill(&mut junk);
                junk.insert(0, b'd');
                hand.datagram(from, &junk);
            }
            1 => hand.ask(from, random, Method::GetPeers { info_hash: random, noseed: false, scrape: true }),
            2 => hand.ask(from, random, Method::FindNode { target: random }),
            3 => {
                hand.ask(one, random, Method::GetPeers { info_hash: random, noseed: false, scrape: false });
                let token = krpc::decode(&hand.reply).ok().and_then(|message| match message.body {
                    Body::Response(response) => response.token.map(<[u8]>::to_vec),
                    _ => None,
                });
                let token = &token.unwrap_or_default();
                let method = Method::AnnouncePeer {
                    info_hash: random,
                    port: 9,
                    implied_port: true,
                    token,
                    seed: true,
                };
                hand.ask(one, random, method);
            }
            _ => {
                let mut out = [0; 500];
                let t = (rng.u32() % 64).to_be_bytes();
                let len =
                    krpc::write_reply(&mut out, &t, from, &Reply { id: random, ..Reply::default() }).unwrap();
                hand.datagram(from, &out[..len]);
            }
        }
        if n % 50 == 0 {
            hand.now += Duration::from_millis(20);
            hand.drain();
        }
    }
    hand.engine.check_invariants();
    let stats = hand.engine.stats();
    assert!(stats.nodes_known <= 2_000 && stats.pending <= 3_000, "{stats:?}");
    assert!(stats.flows <= 2_000 && stats.fetches_open <= 8 && stats.lookups <= 512, "{stats:?}");
    assert_eq!((stats.nodes_verified, stats.nodes_table), (0, 0), "nobody ever answered");
    // Announces of one address are believed only so often: those are the ones tried at once.
    assert!(stats.fetches <= 8, "{stats:?}");
}

#[test]
fn one_host_is_not_hammered() {
    let mut hand = Hand::new("11.0.0.1:6881", |config| config.sweep = false);
    let seedbox = global(9);
    for n in 0..100 {
        hand.input(Input::Command(Command::Fetch(CommandId(u64::from(n)), Id([n; 20]), vec![seedbox])));
    }
    hand.drain();
    assert_eq!(hand.connects.len(), 8);
    for _ in 0..200 {
        let Some((link, to)) = hand.connects.pop() else {
            hand.now += Duration::from_millis(500);
            hand.drain();
            continue;
        };
        assert_eq!(to, seedbox);
        hand.input(Input::Closed(link, Reason::Refused));
        hand.drain();
        hand.engine.check_invariants();
        assert!(hand.engine.stats().fetches_open <= 8);
    }
    assert!(hand.engine.stats().fetches >= 90, "{}", hand.engine.stats().fetches);
}

#[test]
fn peers_that_a_peer_names_are_contacted_only_where_one_may() {
    let mut hand = Hand::new("0.0.0.0:6881", |config| config.sweep = false);
    let hash = Id([5; 20]);
    hand.input(Input::Command(Command::Fetch(CommandId(1), hash, vec![global(1)])));
    hand.drain();
    let (link, _) = hand.connects.pop().unwrap();
    hand.input(Input::Opened(link));
    hand.drain();
    hand.input(Input::Received(link, &Handshake::new(hash, [8; 20]).encode()));
    let mut framed = |id: u8, body: &[u8]| {
        let mut frame = (body.len() as u32 + 2).to_be_bytes().to_vec();
        frame.extend([20, id]);
        frame.extend(body);
        hand.input(Input::Received(link, &frame));
    };
    framed(0, b"d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei16000ee");
    let named: Vec<_> = forbidden().into_iter().chain([global(2), global(3)]).collect();
    let mut added = Vec::new();
    for peer in &named {
        let mut bytes = [0; 18];
        let len = dht_hunter::wire::compact::write_peer(*peer, &mut bytes);
        added.extend(&bytes[..len]);
    }
    framed(OUR_PEX, &[format!("d5:added{}:", added.len()).as_bytes(), &added, b"e"].concat());
    for _ in 0..100 {
        hand.now += Duration::from_millis(200);
        hand.drain();
    }
    let to: Vec<_> = hand.connects.iter().map(|(_, to)| *to).collect();
    assert!(to.contains(&global(2)) && to.contains(&global(3)), "{to:?}");
    assert!(to.iter().all(|to| [global(1), global(2), global(3)].contains(to)), "{to:?}");
}
