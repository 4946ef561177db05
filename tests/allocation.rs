//! Neither answering a query nor taking in a sample allocates, once everything has its room: the
//! engine is driven through its one door with every allocation of this thread counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use dht_hunter::base::{Id, Instant, Path, Rng, SocketId, UnixTime};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{AcceptorId, Command, Input, Output};
use dht_hunter::model::{Recovered, StoreResult};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Body, Method, Query, Reply, Want};
use dht_hunter::wire::peer::Handshake;

/// An engine, and a network of [`NODES`] that answers what it asks.
struct Bench {
    engine: Engine,
    now: Instant,
    rng: Rng,
    nodes: Vec<NodeAddr>,
    hashes: Vec<Id>,
    reply: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let mut rng = Rng::seeded(1);
        let now = Instant::from_millis(1_000);
        let mut config = Config::new(vec!["127.0.0.1:6881".parse().unwrap()], Rates::MAX);
        config.rates.fetches = 1;
        let mut engine = Engine::new(config, Recovered::default(), [7; 32], now, UnixTime(1_000_000));
        let node = |index: usize| NodeAddr {
            id: Id::random(&mut rng),
            addr: SocketAddr::from(([127, 1, (index >> 8) as u8, index as u8], 6_881)),
        };
        let nodes: Vec<_> = (0..NODES).map(node).collect();
        let hashes = (0..HASHES).map(|_| Id::random(&mut rng)).collect();
        let mut reply = vec![0; 2_048];
        let hosts = nodes.iter().take(8).map(|node| node.addr).collect();
        let input = Input::Command(Command::Bootstrap(hosts));
        engine.handle(now, UnixTime(1_000_000), input, &mut reply);
        Self { engine, now, rng, nodes, hashes, reply }
    }

    fn unix(&self) -> UnixTime {
        UnixTime(1_000_000 + u64::from(self.now.secs()))
    }

    fn handle(&mut self, from: SocketAddr, data: &[u8]) -> usize {
        let path = Path { socket: SocketId(0), local: None, remote: from };
        let unix = self.unix();
        self.engine.handle(self.now, unix, Input::Datagram(path, data), &mut self.reply)
    }

    /// Sends one query, and gives the length of its reply and what was allocated on the way.
    fn ask(&mut self, from: SocketAddr, method: Method<'_>) -> (usize, u64) {
        let mut packet = [0; 512];
        let id = self.nodes.iter().find(|node| node.addr == from).map_or(Id([9; 20]), |node| node.id);
        let query = Query { id, read_only: false, want: Some(Want { v4: true, v6: true }), method };
        let len = krpc::write_query(&mut packet, b"aaaa", &query).unwrap();
        let mut answered = 0;
        let counted = measure(|| answered = self.handle(from, &packet[..len]));
        (answered, counted.count_total)
    }

    fn token(&mut self, from: SocketAddr, info_hash: Id) -> Vec<u8> {
        let method = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let (len, _) = self.ask(from, method);
        let message = krpc::decode(&self.reply[..len]).unwrap();
        let Body::Response(response) = message.body else { panic!("{message:?}") };
        response.token.unwrap().to_vec()
    }

    /// The engine has its turns for `secs` seconds and the network answers; the hashes of each
    /// sample are drawn by `draw`. Gives the allocations and the number of the sample replies.
    fn run(&mut self, secs: u64, draw: impl Fn(&mut Rng, &[Id]) -> Id) -> (u64, u64) {
        let (mut allocated, mut samples) = (0, 0);
        let end = self.now + Duration::from_secs(secs);
        let (mut scratch, mut packet) = ([0; 2_048], [0; 2_048]);
        while self.now < end {
            let unix = self.unix();
            match self.engine.poll(self.now, unix, &mut scratch) {
                Output::Datagram(path, len) => {
                    let Some((reply, sample)) = self.answer(path.remote, &scratch[..len], &mut packet, &draw)
                    else {
                        continue;
                    };
                    let counted = measure(|| _ = self.handle(path.remote, &packet[..reply]));
                    if sample {
                        (allocated, samples) = (allocated + counted.count_total, samples + 1);
                    }
                }
                Output::Store(_) => {
                    let input = Input::Stored(StoreResult::Committed(1));
                    self.engine.handle(self.now, unix, input, &mut []);
                }
                Output::Idle(_) => self.now += Duration::from_millis(20),
                _ => {}
            }
        }
        (allocated, samples)
    }

    /// What the node at `at` answers; true if that is a sample.
    fn answer(
        &mut self,
        at: SocketAddr,
        query: &[u8],
        out: &mut [u8],
        draw: impl Fn(&mut Rng, &[Id]) -> Id,
    ) -> Option<(usize, bool)> {
        let message = krpc::decode(query).unwrap();
        let Body::Query(query) = message.body else { panic!("{message:?}") };
        let node = *self.nodes.iter().find(|node| node.addr == at)?;
        let rng = &mut self.rng;
        let near: [NodeAddr; 8] = std::array::from_fn(|_| self.nodes[rng.index(NODES)]);
        let hashes: [Id; 20] = std::array::from_fn(|_| draw(rng, &self.hashes));
        let sample = matches!(query.method, Method::SampleInfohashes { .. });
        let asked: SocketAddr = "127.0.0.1:6881".parse().unwrap();
        let token = matches!(query.method, Method::GetPeers { .. }).then_some(&b"token"[..]);
        let samples = sample.then_some((0, 1_000, &hashes[..]));
        let reply = Reply { id: node.id, nodes: Some(&near), token, samples, ..Reply::default() };
        Some((krpc::write_reply(out, message.transaction, asked, &reply)?, sample))
    }
}

fn known(rng: &mut Rng, hashes: &[Id]) -> Id {
    hashes[rng.index(hashes.len())]
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(vec![1u8; 100])).count_total, 1);
    assert_eq!(measure(|| ()).count_total, 0);
}

#[test]
fn no_query_costs_an_allocation() {
    let mut bench = Bench::new();
    bench.run(30, known);
    let (popular, absent) = (Id([1; 20]), Id([2; 20]));
    let peers: Vec<SocketAddr> =
        (0..200u8).map(|last| SocketAddr::from(([127, 9, 0, last], 7_000))).collect();
    for peer in &peers {
        let token = bench.token(*peer, popular);
        let method = Method::AnnouncePeer {
            info_hash: popular,
            port: 7_000,
            implied_port: false,
            token: &token,
            seed: false,
        };
        assert!(bench.ask(*peer, method).0 > 0);
    }
    for last in 0..200 {
        let token = bench.token(peers[0], Id([last; 20]));
        let method = Method::AnnouncePeer {
            info_hash: Id([last; 20]),
            port: 7_000,
            implied_port: true,
            token: &token,
            seed: true,
        };
        assert!(bench.ask(peers[0], method).0 > 0);
    }
    let (stranger, node) = (SocketAddr::from(([127, 9, 9, 9], 7_000)), bench.nodes[5].addr);
    let token = bench.token(peers[3], popular);
    let kinds = [
        ("ping", Method::Ping),
        ("find_node", Method::FindNode { target: popular }),
        ("get_peers, values", Method::GetPeers { info_hash: popular, noseed: false, scrape: false }),
        ("get_peers, nodes", Method::GetPeers { info_hash: absent, noseed: true, scrape: false }),
        ("scrape", Method::GetPeers { info_hash: popular, noseed: false, scrape: true }),
        ("sample_infohashes", Method::SampleInfohashes { target: absent }),
    ];
    for (name, method) in kinds {
        for from in [stranger, node, peers[3]] {
            // The first may make room: for the stranger in the directory, for the hash in the queue.
            bench.ask(from, method);
            let (len, allocated) = bench.ask(from, method);
            assert!(len > 0, "{name} is answered");
            assert_eq!(allocated, 0, "{name} from {from}");
        }
    }
    let (info_hash, port) = (popular, 7_000);
    let announce = Method::AnnouncePeer { info_hash, port, implied_port: false, token: &token, seed: true };
    let bad = Method::AnnouncePeer { info_hash, port, implied_port: false, token: b"bad", seed: true };
    for method in [announce, bad] {
        // The first may be of a peer that others have replaced in the queue.
        bench.ask(peers[3], method);
        for _ in 0..3 {
            let (len, allocated) = bench.ask(peers[3], method);
            assert_eq!((len > 0, allocated), (true, 0), "announce_peer");
        }
    }
    for malformed in
        [&b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q9:find_node1:t2:aa1:y1:qe"[..], b"d1:t", b"", b"x"]
    {
        let counted = measure(|| _ = bench.handle(stranger, malformed));
        assert_eq!(counted.count_total, 0, "{malformed:?}");
    }
    bench.engine.check_invariants();
}

#[test]
fn a_sample_of_what_is_known_costs_no_allocation() {
    let mut bench = Bench::new();
    // All hashes are heard of, all nodes met, and every list has had its longest.
    bench.run(400, known);
    let (allocated, samples) = bench.run(300, known);
    assert!(samples > 1_000, "{samples}");
    assert_eq!(allocated, 0, "in {samples} samples");
    bench.engine.check_invariants();
}

#[test]
fn new_hashes_cost_their_place_in_the_queue_and_no_more() {
    let mut bench = Bench::new();
    bench.run(200, known);
    let (allocated, samples) = bench.run(100, |rng, _| Id::random(rng));
    let hashes = samples * 20;
    assert!(hashes > 10_000, "{hashes}");
    assert!(allocated * 2 < hashes, "{allocated} allocations for {hashes} new hashes");
}

#[test]
fn a_parked_link_takes_less_than_a_kibibyte() {
    let mut bench = Bench::new();
    let hash = bench.engine.share(b"d4:name1:xe".as_slice().into());
    let hello = Handshake::new(hash, [1; 20]).encode();
    let now = bench.now;
    let open = |bench: &mut Bench, count: usize| {
        for index in 0..count {
            let remote = SocketAddr::from(([127, 2, (index >> 8) as u8, index as u8], 7_000));
            let link = bench.engine.admit(now, AcceptorId(0), remote).unwrap();
            let unix = bench.unix();
            bench.engine.handle(now, unix, Input::Received(link, &hello), &mut []);
            while let Output::Write(link) = bench.engine.poll(now, unix, &mut [0; 2_048]) {
                let queued = bench.engine.send_queue(link).unwrap().len();
                bench.engine.wrote(now, link, queued);
            }
        }
    };
    let counted = measure(|| open(&mut bench, LINKS));
    let each = counted.bytes_current / LINKS as i64;
    assert!((200..900).contains(&each), "{each} bytes, and some 40 in the reactor");
    bench.engine.check_invariants();
}

const LINKS: usize = 10_000;
const NODES: usize = 400;
const HASHES: usize = 2_000;
