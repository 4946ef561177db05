//! The DHT node as its neighbours see it: what is answered to which datagram, what is asked of
//! whom and when, and what nobody can make it do. Everything is read from the packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dht_hunter::base::{Buckets, Cx, Id, Instant, Path, Rng, SocketId, TokenBucket, UnixTime};
use dht_hunter::dht::{Config as DhtConfig, Dht, Event, Goal, User, security};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Body, Message, Method, Query, Reply, Want};

const UNIX: UnixTime = UnixTime(1_790_000_000);
const HASH: Id = Id(*b"mnopqrstuvwxyz123456");
const ASKER: Id = Id(*b"abcdefghij0123456789");
const SECOND: Duration = Duration::from_secs(1);

/// A DHT alone on a table: what goes in and out is done by hand.
struct Bench {
    dht: Dht,
    rng: Rng,
    buckets: Buckets,
    now: Instant,
}

impl Bench {
    fn new(listen: &[&str]) -> Self {
        Self::with(listen, |_| {})
    }

    fn with(listen: &[&str], change: impl FnOnce(&mut DhtConfig)) -> Self {
        let mut config = DhtConfig {
            listen: listen.iter().map(|ip| ip.parse().unwrap()).collect(),
            read_only: false,
            sweep: false,
            passive: true,
            sweep_window: 32,
            nodes_max: 10_000,
            answers: (0, 0),
        };
        change(&mut config);
        let mut rng = Rng::seeded(1);
        let now = Instant::from_millis(1_000);
        let dht = Dht::new(config, now, &mut rng);
        let buckets = Buckets::unlimited(&mut rng);
        Self { dht, rng, buckets, now }
    }

    fn own(&self) -> Id {
        self.dht.id(SocketId(0)).unwrap()
    }

    fn put(&mut self, socket: u16, from: SocketAddr, data: &[u8]) -> Vec<u8> {
        let mut out = [0; 2_048];
        let path = Path { socket: SocketId(socket), local: None, remote: from };
        let mut cx = Cx { now: self.now, unix: UNIX, rng: &mut self.rng, buckets: &mut self.buckets };
        let len = self.dht.on_datagram(&mut cx, path, data, &mut out);
        self.dht.check_invariants();
        out[..len].to_vec()
    }

    fn ask(&mut self, socket: u16, from: SocketAddr, query: Query<'_>) -> Vec<u8> {
        let mut out = [0; 2_048];
        let len = krpc::write_query(&mut out, b"tx", &query).unwrap();
        self.put(socket, from, &out[..len])
    }

    fn sent(&mut self) -> Vec<(Path, Vec<u8>)> {
        let mut all = Vec::new();
        let mut out = [0; 1_500];
        let mut cx = Cx { now: self.now, unix: UNIX, rng: &mut self.rng, buckets: &mut self.buckets };
        while let Some((path, len)) = self.dht.poll_transmit(&mut cx, &mut out) {
            all.push((path, out[..len].to_vec()));
            assert!(all.len() < 100_000, "it never stops");
        }
        all
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut cx = Cx { now: self.now, unix: UNIX, rng: &mut self.rng, buckets: &mut self.buckets };
        self.dht.on_deadline(&mut cx);
        self.dht.check_invariants();
        assert!(self.dht.next_deadline(self.now).is_some_and(|(at, _)| at > self.now));
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.dht.poll_event()).collect()
    }

    /// Has `addr` stand in the table as `id`.
    fn befriend(&mut self, addr: SocketAddr, id: Id) {
        assert!(self.dht.ping(7, addr));
        for (path, data) in self.sent().into_iter().filter(|(path, _)| path.remote == addr) {
            let answer = reply_to(&data, path.remote, Reply { id, ..Reply::default() });
            self.put(path.socket.0, path.remote, &answer);
        }
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn global(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 6881))
}

fn id_of(addr: SocketAddr) -> Id {
    Id(dht_hunter::base::hash::sha1(addr.to_string().as_bytes()))
}

fn query(method: Method<'_>) -> Query<'_> {
    Query { id: ASKER, read_only: false, want: None, method }
}

fn get_peers(scrape: bool) -> Query<'static> {
    query(Method::GetPeers { info_hash: HASH, noseed: false, scrape })
}

fn announce(port: u16, implied_port: bool, token: &[u8], seed: bool) -> Query<'_> {
    query(Method::AnnouncePeer { info_hash: HASH, port, implied_port, token, seed })
}

fn reply_to(data: &[u8], to: SocketAddr, reply: Reply<'_>) -> Vec<u8> {
    let message = krpc::decode(data).unwrap();
    let mut out = vec![0; 2_048];
    let len = krpc::write_reply(&mut out, message.transaction, to, &reply).unwrap();
    out.truncate(len);
    out
}

fn response<'a>(message: &Message<'a>) -> krpc::Response<'a> {
    assert_eq!(message.transaction, b"tx");
    let Body::Response(response) = message.body else { panic!("{message:?}") };
    response
}

fn error(data: &[u8]) -> (i64, String) {
    let message = krpc::decode(data).unwrap();
    let Body::Error(code, text) = message.body else { panic!("{message:?}") };
    (code, String::from_utf8(text.to_vec()).unwrap())
}

fn token_of(data: &[u8]) -> Vec<u8> {
    response(&krpc::decode(data).unwrap()).token.unwrap().to_vec()
}

#[test]
fn b23_a_query_that_lacks_its_target_is_told_so() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let packet = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t1:x1:y1:qe";
    let answer = bench.put(0, global(1), packet);
    assert_eq!(error(&answer), (203, "missing 'target' key".to_owned()));
    assert_eq!(krpc::decode(&answer).unwrap().transaction, b"x");
    assert_eq!(bench.put(0, global(2), &answer), b"", "an error is never answered");
}

#[test]
fn b26_a_known_address_with_another_id_loses_its_place() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.befriend(global(1), Id([1; 20]));
    assert_eq!(bench.dht.table_len(), 1);
    bench.befriend(global(1), Id([2; 20]));
    assert_eq!(bench.dht.table_len(), 0);
}

#[test]
fn b27_a_known_id_from_elsewhere_changes_nothing() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.befriend(global(1), Id([1; 20]));
    bench.befriend(global(2), Id([1; 20]));
    let answer = bench.ask(0, global(3), query(Method::FindNode { target: HASH }));
    let message = krpc::decode(&answer).unwrap();
    let nodes: Vec<_> = response(&message).nodes().map(|node| node.addr).collect();
    assert_eq!(nodes, [global(1)]);
}

#[test]
fn b32_our_own_query_that_comes_back_is_dropped() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.dht.ping(1, global(1));
    let sent = bench.sent();
    assert_eq!(bench.put(0, global(1), &sent[0].1), b"");
    assert_eq!((bench.dht.stats.dropped_stray, bench.dht.nodes_known()), (1, 0));
}

#[test]
fn b33_whoever_answers_with_our_own_id_has_not_answered_and_nothing_leaks() {
    let mut bench = Bench::with(&["11.0.0.1"], |config| config.sweep = true);
    let own = bench.own();
    for n in 1..200 {
        let heard = Query { id: id_of(global(n)), ..query(Method::Ping) };
        bench.ask(0, global(n), heard);
    }
    bench.befriend(global(500), Id([9; 20]));
    assert_eq!(bench.dht.look_up(HASH, Goal::Peers, User::Metadata, &[], bench.now), 1);
    for _ in 0..100 {
        for (path, data) in bench.sent() {
            let mirrored = reply_to(&data, path.remote, Reply { id: own, ..Reply::default() });
            bench.put(0, path.remote, &mirrored);
        }
        bench.pass(SECOND);
    }
    assert_eq!(bench.dht.lookups(), 0, "it ended by time-out");
    assert!(bench.events().contains(&Event::Done(User::Metadata, HASH, 0, 0, None)));
    assert_eq!((bench.dht.table_len(), bench.dht.nodes_verified()), (1, 0));
    bench.pass(Duration::from_secs(60));
    assert!(bench.dht.queries() <= 32);
}

#[test]
fn b35_b36_tokens_and_ports_that_are_not_valid_are_refused() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let token = token_of(&bench.ask(0, global(1), get_peers(false)));
    let longer = [&token[..], b"x"].concat();
    for wrong in [&token[1..], &longer, b"", &[0; 100]] {
        let answer = bench.ask(0, global(1), announce(1_024, false, wrong, false));
        assert_eq!(error(&answer), (203, "bad token".to_owned()));
    }
    let other = Method::AnnouncePeer {
        info_hash: Id([3; 20]),
        port: 1_024,
        implied_port: false,
        token: &token,
        seed: false,
    };
    assert_eq!(error(&bench.ask(0, global(1), query(other))).0, 203);
    assert_eq!(error(&bench.ask(0, global(2), announce(1_024, false, &token, false))).0, 203);
    assert_eq!(error(&bench.ask(0, global(1), announce(0, false, &token, false))).0, 203);
    assert_eq!(bench.dht.announced(), (0, 0));
}

#[test]
fn bep5_all_four_queries_and_an_announced_peer_is_handed_out() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    (0..20).for_each(|n| bench.befriend(global(65_536 * n), id_of(global(65_536 * n))));
    let own = bench.own();
    let pong = bench.ask(0, global(1), query(Method::Ping));
    assert_eq!(response(&krpc::decode(&pong).unwrap()).id, own);
    assert_eq!(krpc::decode(&pong).unwrap().external, Some(global(1)), "BEP 42: ip");
    let found = bench.ask(0, global(1), query(Method::FindNode { target: HASH }));
    let nodes: Vec<_> = response(&krpc::decode(&found).unwrap()).nodes().map(|node| node.id).collect();
    assert_eq!(nodes.len(), 8);
    assert!(nodes.is_sorted_by_key(|id| id.distance(HASH)));
    let first = bench.ask(0, global(1), get_peers(false));
    assert_eq!(response(&krpc::decode(&first).unwrap()).peers().count(), 0);
    let token = token_of(&first);
    response(&krpc::decode(&bench.ask(0, global(1), announce(9, true, &token, false))).unwrap());
    let peer = addr("11.0.0.2:7000");
    let token = token_of(&bench.ask(0, peer, get_peers(false)));
    response(&krpc::decode(&bench.ask(0, peer, announce(7_777, false, &token, false))).unwrap());
    let second = bench.ask(0, global(3), get_peers(false));
    let message = krpc::decode(&second).unwrap();
    let peers: BTreeSet<_> = response(&message).peers().collect();
    assert_eq!(peers, BTreeSet::from([global(1), addr("11.0.0.2:7777")]));
    assert_eq!(response(&message).nodes().count(), 8, "peers and nodes");
    let unknown = query(Method::Unknown { target: None });
    let mut out = [0; 200];
    let len = krpc::write_query(&mut out, b"tx", &unknown).unwrap();
    let vote = String::from_utf8_lossy(&out[..len]).replace("4:ping", "4:vote");
    assert_eq!(error(&bench.put(0, global(1), vote.as_bytes())).0, 204);
    let heard = bench.events();
    assert!(heard.contains(&Event::Announced(HASH, addr("11.0.0.2:7777"))));
    assert!(heard.contains(&Event::Wanted(HASH, global(1))));
}

#[test]
fn bep32_each_family_is_served_as_wanted() {
    let mut bench = Bench::new(&["11.0.0.1", "2a00::1"]);
    let six = addr("[2a01::1]:6881");
    bench.befriend(global(1), Id([1; 20]));
    bench.befriend(six, Id([2; 20]));
    let both = Some(Want { v4: true, v6: true });
    let only4 = Some(Want { v4: true, v6: false });
    let unknown = Some(Want { v4: false, v6: false });
    for (socket, from, want, expected) in [
        (0, global(9), None, vec![global(1)]),
        (0, global(9), both, vec![global(1), six]),
        (1, addr("[2a01::9]:1"), None, vec![six]),
        (1, addr("[2a01::9]:1"), only4, vec![global(1)]),
        (1, addr("[2a01::9]:1"), unknown, vec![six]),
    ] {
        let asked = Query { want, ..query(Method::FindNode { target: HASH }) };
        let answer = bench.ask(socket, from, asked);
        let message = krpc::decode(&answer).unwrap();
        let nodes: Vec<_> = response(&message).nodes().map(|node| node.addr).collect();
        assert_eq!(nodes, expected, "{from} {want:?}");
    }
    assert_ne!(bench.dht.id(SocketId(0)), bench.dht.id(SocketId(1)));
    bench.dht.look_up(HASH, Goal::Nodes, User::Command(1), &[], bench.now);
    let sent = bench.sent();
    let lookups = sent.iter().map(|(_, data)| asked(data)).filter(|(name, _)| *name != "ping");
    let wants: Vec<_> = lookups.map(|(_, want)| want).collect();
    assert_eq!(wants, [both, both]);
}

/// The method's name and what is wanted.
fn asked(data: &[u8]) -> (&'static str, Option<Want>) {
    let Body::Query(query) = krpc::decode(data).unwrap().body else { panic!("no query") };
    let name = match query.method {
        Method::AnnouncePeer { .. } => "announce_peer",
        Method::FindNode { .. } => "find_node",
        Method::GetPeers { .. } => "get_peers",
        Method::Ping => "ping",
        Method::SampleInfohashes { .. } => "sample_infohashes",
        Method::Unknown { .. } => "unknown",
    };
    (name, query.want)
}

#[test]
fn bep33_a_scrape_is_answered_with_both_filters() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    for n in 0..300 {
        let token = token_of(&bench.ask(0, global(n), get_peers(false)));
        bench.ask(0, global(n), announce(0, true, &token, n % 3 == 0));
    }
    let answer = bench.ask(0, global(999), get_peers(true));
    assert!(answer.len() <= krpc::PACKET_MAX);
    let message = krpc::decode(&answer).unwrap();
    let (seeds, others) = response(&message).scrape.unwrap();
    let estimate = |bytes| dht_hunter::dht::bloom::Filter::from_bytes(bytes).estimate();
    assert!((estimate(seeds) - 100.0).abs() < 10.0 && (estimate(others) - 200.0).abs() < 15.0);
    assert_eq!(response(&message).peers().count(), 0);
}

/// Node `n` answers a ping and says that our address is `ip`.
fn vote(bench: &mut Bench, n: u32, ip: &str) {
    bench.dht.ping(1, global(n));
    for (path, data) in bench.sent() {
        let mut answer = reply_to(&data, path.remote, Reply { id: id_of(path.remote), ..Reply::default() });
        let external: std::net::Ipv4Addr = ip.parse().unwrap();
        answer[7..11].copy_from_slice(&external.octets());
        bench.put(0, path.remote, &answer);
    }
}

#[test]
fn bep42_the_id_follows_the_votes_of_many_networks_and_never_of_one() {
    let mut bench = Bench::new(&["0.0.0.0"]);
    let before = bench.own();
    (0..1_000).for_each(|n| vote(&mut bench, n % 250, "21.75.31.124"));
    assert_eq!((bench.own(), bench.dht.external(SocketId(0))), (before, None), "liars of one network");
    // Over two minutes, as the answers to a crawl come.
    for n in 2..32 {
        vote(&mut bench, n * 65_536, "124.31.75.21");
        bench.pass(SECOND * 4);
    }
    let ip: IpAddr = "124.31.75.21".parse().unwrap();
    assert_eq!(bench.dht.external(SocketId(0)), Some(ip));
    assert!(security::is_valid(bench.own(), ip));
    assert!(bench.dht.table_len() >= 8, "its table came along");
    let settled = bench.own();
    assert!(bench.events().contains(&Event::Renamed(SocketId(0), settled)));
    for n in 0..1_000 {
        vote(&mut bench, n % 250, "21.75.31.124");
        vote(&mut bench, (40 + n % 10) * 65_536, "10.1.2.3");
        bench.pass(SECOND);
    }
    assert_eq!(bench.own(), settled, "nor liars of one network later, nor many for what cannot be");
}

#[test]
fn bep43_who_only_asks_is_served_and_forgotten() {
    let mut bench = Bench::with(&["11.0.0.1"], |config| config.sweep = true);
    let quiet = Query { read_only: true, ..query(Method::Ping) };
    assert!(!bench.ask(0, global(1), quiet).is_empty());
    assert_eq!((bench.dht.nodes_known(), bench.sent().len()), (0, 0));
    bench.ask(0, global(1), query(Method::Ping));
    assert_eq!((bench.dht.nodes_known(), bench.sent().len()), (1, 1));
    let mut ours = Bench::with(&["11.0.0.1"], |config| config.read_only = true);
    assert_eq!(ours.ask(0, global(1), query(Method::Ping)), b"");
    assert_eq!(ours.put(0, global(1), b"d1:q4:ping1:t1:x1:y1:qe"), b"");
    ours.dht.ping(1, global(1));
    let sent = ours.sent();
    let Body::Query(asked) = krpc::decode(&sent[0].1).unwrap().body else { panic!("no query") };
    assert!(asked.read_only);
}

#[test]
fn bep45_two_sockets_are_two_nodes_and_both_walk() {
    let mut bench = Bench::with(&["11.0.0.1", "11.0.0.2", "2a00::1"], |config| {
        (config.sweep, config.sweep_window) = (true, 1_000);
    });
    let ids: BTreeSet<_> = (0..3).map(|socket| bench.dht.id(SocketId(socket)).unwrap()).collect();
    assert_eq!(ids.len(), 3);
    let asker = |socket| bench.dht.id(SocketId(socket));
    let (first, second) = (asker(0), asker(1));
    for n in 0..200 {
        bench.ask(
            0,
            global(n * 65_536 + 7),
            Query { id: Id::random(&mut Rng::seeded(u64::from(n) + 9)), ..query(Method::Ping) },
        );
        let six = SocketAddr::new(IpAddr::V6((0x2a01_u128 << 112 | u128::from(n) << 80).into()), 6881);
        bench.ask(2, six, Query { id: id_of(six), ..query(Method::Ping) });
    }
    let sent = bench.sent();
    let by = |socket| sent.iter().filter(|(path, _)| path.socket == SocketId(socket)).count();
    assert!((50..150).contains(&by(0)) && by(0) + by(1) == 200, "{} {}", by(0), by(1));
    assert_eq!(by(2), 200);
    let early = sent[..100].iter().filter(|(path, _)| path.remote.is_ipv6()).count();
    assert_eq!(early, 50, "neither family waits for the other");
    for (path, data) in &sent {
        let Body::Query(asked) = krpc::decode(data).unwrap().body else { panic!("no query") };
        assert_eq!(Some(asked.id), [first, second, bench.dht.id(SocketId(2))][usize::from(path.socket.0)]);
        let expected = bench.dht.id(path.socket).unwrap();
        let pong = bench.put(path.socket.0, path.remote, data);
        assert!(pong.is_empty() && asked.id == expected);
    }
}

#[test]
fn bep51_what_was_announced_is_sampled() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let sample = query(Method::SampleInfohashes { target: HASH });
    let answer = bench.ask(0, global(1), sample);
    let message = krpc::decode(&answer).unwrap();
    let none = response(&message).samples.unwrap();
    assert_eq!((none.num, none.hashes().count()), (Some(0), 0), "no samples are still samples");
    for n in 0..50 {
        let info_hash = Id([n; 20]);
        let wanted = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let token = token_of(&bench.ask(0, global(1), query(wanted)));
        let told = Method::AnnouncePeer { info_hash, port: 0, implied_port: true, token: &token, seed: true };
        bench.ask(0, global(1), query(told));
    }
    let answer = bench.ask(0, global(1), sample);
    assert!(answer.len() <= krpc::PACKET_MAX);
    let message = krpc::decode(&answer).unwrap();
    let samples = response(&message).samples.unwrap();
    let distinct: BTreeSet<_> = samples.hashes().collect();
    assert_eq!((samples.num, distinct.len()), (Some(50), 20));
    assert!(samples.interval_secs <= krpc::INTERVAL_MAX);
}

#[test]
fn duplicates_and_late_answers_change_nothing() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.dht.ping(1, global(1));
    let sent = bench.sent();
    let answer = reply_to(&sent[0].1, global(1), Reply { id: Id([1; 20]), ..Reply::default() });
    bench.put(0, global(1), &answer);
    assert_eq!(bench.events().len(), 1);
    for _ in 0..10 {
        bench.put(0, global(1), &answer);
    }
    bench.dht.ping(2, global(2));
    let sent = bench.sent();
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.events(), [Event::NoAnswer(2)]);
    let late = reply_to(&sent[0].1, global(2), Reply { id: Id([2; 20]), ..Reply::default() });
    bench.put(0, global(2), &late);
    assert_eq!((bench.events(), bench.dht.table_len()), (Vec::new(), 1));
    assert_eq!((bench.dht.stats.replies, bench.dht.stats.dropped_stray), (1, 11));
}

#[test]
fn one_address_is_answered_so_often_and_no_more() {
    let mut bench = Bench::with(&["11.0.0.1"], |config| config.answers = (5, 10));
    let answered = |bench: &mut Bench, n: u32| {
        (0..100).filter(|_| !bench.ask(0, global(n), query(Method::Ping)).is_empty()).count()
    };
    assert_eq!(answered(&mut bench, 1), 10);
    assert_eq!(answered(&mut bench, 2), 10, "others are not held liable");
    bench.pass(SECOND);
    assert_eq!(answered(&mut bench, 1), 5);
    let broken = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t1:x1:y1:qe";
    assert_eq!(bench.put(0, global(1), broken), b"", "errors are answers, too");
}

#[test]
fn a_client_that_asks_all_at_once_is_answered_a_little_later_and_a_flood_is_not() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.buckets.packets_out = TokenBucket::new(400, 40);
    let at_once = |bench: &mut Bench, queries: u32| {
        (0..queries).filter(|n| !bench.ask(0, global(n % 3), query(Method::Ping)).is_empty()).count()
    };
    let later = |bench: &mut Bench, steps: u32| {
        let mut answers = 0;
        for _ in 0..steps {
            bench.pass(Duration::from_millis(10));
            let sent = bench.sent();
            let is_answer = |data: &[u8]| matches!(krpc::decode(data).unwrap().body, Body::Response(_));
            answers += sent.iter().filter(|(_, data)| is_answer(data)).count();
        }
        answers
    };
    let first = at_once(&mut bench, 150);
    assert!((20..=40).contains(&first), "{first} of a burst at once");
    assert_eq!(first + later(&mut bench, 80), 150, "the others within their time");
    assert_eq!(bench.dht.stats.dropped_limited, 0);
    assert_eq!(later(&mut bench, 100), 0);
    let first = at_once(&mut bench, 3_000);
    let answers = first + later(&mut bench, 200);
    assert!(answers <= 20 + 200, "{answers}: half of the rate, for as long as an answer is of use");
    assert_eq!(answers as u64 + bench.dht.stats.dropped_limited, 3_000);
    assert_eq!(at_once(&mut bench, 20), 20, "the next client");
}

#[test]
fn an_announce_with_a_good_token_does_not_wait_behind_a_flood() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let asked = bench.ask(0, global(1), get_peers(false));
    let token = response(&krpc::decode(&asked).unwrap()).token.unwrap().to_vec();
    bench.events();
    bench.buckets.packets_out = TokenBucket::new(400, 40);
    let flood =
        |bench: &mut Bench| (0..1_000).for_each(|n| _ = bench.ask(0, global(100 + n), get_peers(false)));
    flood(&mut bench);
    // The second with another's token.
    for asker in [global(1), global(2)] {
        let answer = bench.ask(0, asker, announce(7_000, false, &token, false));
        assert!(answer.is_empty(), "{asker} waits");
    }
    let announced = bench.events();
    let peer = SocketAddr::new(global(1).ip(), 7_000);
    assert!(announced.contains(&Event::Announced(HASH, peer)), "but it is not lost");
    flood(&mut bench);
    bench.pass(Duration::from_millis(50));
    let sent = bench.sent();
    assert_eq!(sent.first().map(|(path, _)| path.remote), Some(global(1)), "and answered first");
    assert!(sent.iter().all(|(path, _)| path.remote != global(2)), "{sent:?}");
}

#[test]
fn announces_of_one_network_leave_room_for_those_of_others() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let token_of = |bench: &mut Bench, asker: SocketAddr| {
        let asked = bench.ask(0, asker, get_peers(false));
        response(&krpc::decode(&asked).unwrap()).token.unwrap().to_vec()
    };
    let (flooder, honest) = (|n: u32| global(1 + n % 200), global(70_000));
    let tokens: Vec<_> = (0..200).map(|n| token_of(&mut bench, flooder(n))).collect();
    let token = token_of(&mut bench, honest);
    bench.events();
    bench.buckets.packets_out = TokenBucket::new(400, 40);
    for (n, token) in (0..).zip(tokens.iter().cycle()).take(2_000) {
        bench.ask(0, flooder(n), announce(7_000, false, token, false));
    }
    bench.events();
    bench.ask(0, honest, announce(7_000, false, &token, false));
    let peer = SocketAddr::new(honest.ip(), 7_000);
    assert!(bench.events().contains(&Event::Announced(HASH, peer)));
    bench.pass(Duration::from_millis(50));
    let sent = bench.sent();
    let place = sent.iter().position(|(path, _)| path.remote == honest);
    assert!(place.is_some_and(|place| place <= 8), "{place:?}");
}

#[test]
fn pings_that_find_no_room_are_answered_all_the_same() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    (0..3_000).for_each(|n| _ = bench.dht.ping(u64::from(n), global(n)));
    let refused = bench.events().len();
    assert_eq!(bench.sent().len() + refused, 3_000);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.events().len() + refused, 3_000);
}

#[test]
fn a_lookup_cannot_be_kept_going_or_taken_over_by_one_host() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    bench.befriend(global(1), id_of(global(1)));
    bench.dht.look_up(HASH, Goal::Nodes, User::Command(3), &[], bench.now);
    let mut asked = 0;
    for round in 0..10_000_u32 {
        let sent = bench.sent();
        for (path, data) in sent {
            asked += u32::from(data.windows(20).any(|part| part == HASH.0));
            // Ever closer nodes: on other ports of the same host, and at addresses never seen.
            let near = |n: u32| {
                let mut id = HASH;
                id.0[16..].copy_from_slice(&(u32::MAX - round * 16 - n).to_be_bytes());
                id
            };
            let port = |n: u32| SocketAddr::new(path.remote.ip(), 1_000 + n as u16);
            let mut nodes: Vec<_> = (0..8).map(|n| NodeAddr { id: near(n), addr: port(n) }).collect();
            nodes.push(NodeAddr { id: near(9), addr: global(1_000 + round) });
            let reply = Reply { id: near(15), nodes: Some(&nodes), ..Reply::default() };
            bench.put(0, path.remote, &reply_to(&data, path.remote, reply));
        }
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(bench.dht.lookups(), 0);
    assert!(asked <= 100, "{asked}");
}

#[test]
fn a_command_for_which_there_is_no_network_ends() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    assert_eq!(bench.dht.look_up(HASH, Goal::Peers, User::Command(1), &[], bench.now), 0);
    assert_eq!(bench.dht.look_up(HASH, Goal::PeersAt, User::Metadata, &[global(1)], bench.now), 1);
}

#[test]
fn a_get_peers_that_looks_for_nodes_names_no_infohash() {
    let mut bench = Bench::new(&["11.0.0.1"]);
    let asks = |bench: &mut Bench, text: &[u8]| {
        assert!(!bench.put(0, global(1), text).is_empty(), "it is answered all the same");
        bench.events().iter().any(|event| matches!(event, Event::Wanted(..)))
    };
    let packet = |bs: &str, target: &[u8; 20]| {
        let head = format!("d1:ad{bs}2:id20:abcdefghij01234567899:info_hash20:");
        [head.as_bytes(), target, b"e1:q9:get_peers1:t2:tx1:y1:qe"].concat()
    };
    assert!(asks(&mut bench, &packet("", &HASH.0)));
    assert!(!asks(&mut bench, &packet("2:bsi1e", &HASH.0)), "libtorrent bootstraps");
    let mut near = ASKER.0;
    near[8..].fill(0x77);
    assert!(!asks(&mut bench, &packet("", &near)), "it refreshes a bucket of its own");
    let own = bench.own().0;
    assert!(!asks(&mut bench, &packet("", &own)));
}

/// Has every query answered by `answer` until none is left; peers that were found.
fn play(
    bench: &mut Bench,
    answer: impl Fn(SocketAddr, &Query<'_>, &mut [u8], &[u8]) -> usize,
) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for _ in 0..400 {
        for (path, data) in bench.sent() {
            let message = krpc::decode(&data).unwrap();
            let Body::Query(query) = message.body else { panic!("{message:?}") };
            let mut out = [0; 2_048];
            let len = answer(path.remote, &query, &mut out, message.transaction);
            bench.put(path.socket.0, path.remote, &out[..len]);
        }
        bench.pass(Duration::from_millis(100));
        for event in bench.events() {
            if let Event::Peers(_, _, peers) = event {
                found.extend(peers);
            }
        }
        if bench.dht.lookups() == 0 {
            break;
        }
    }
    assert_eq!(bench.dht.lookups(), 0);
    found
}

#[test]
fn a_node_that_gives_peers_but_no_nodes_is_asked_for_nodes_too() {
    // As rTorrent: `values` and nothing else, or nodes to those who ask for nodes.
    let only = global(65_536);
    let others: Vec<_> = (2..8).map(|n| global(65_536 * n)).collect();
    for goal in [Goal::Peers, Goal::Announce(1), Goal::Scrape] {
        let mut bench = Bench::new(&["11.0.0.1"]);
        bench.dht.look_up(HASH, goal, User::Command(1), &[only], bench.now);
        let found = play(&mut bench, |at, query, out, t| {
            let nodes: Vec<_> =
                others.iter().map(|addr| NodeAddr { id: id_of(*addr), addr: *addr }).collect();
            let peer = [SocketAddr::new(at.ip(), 7_000)];
            let plain = Reply { id: id_of(at), token: Some(b"token"), ..Reply::default() };
            let reply = match query.method {
                Method::GetPeers { .. } => Reply { values: &peer, ..plain },
                _ => Reply { nodes: Some(&nodes), ..plain },
            };
            krpc::write_reply(out, t, at, &reply).unwrap()
        });
        let distinct: BTreeSet<_> = found.iter().map(SocketAddr::ip).collect();
        assert_eq!(distinct.len(), 1 + others.len(), "{goal:?}: {found:?}");
    }
}

#[test]
fn sybils_of_one_network_beside_a_hash_do_not_hide_its_peers() {
    let honest: Vec<_> = (0..200).map(|n| global(65_536 + 256 * n)).collect();
    let mut finds = 0;
    for hash in 0..3u8 {
        let hash = Id(dht_hunter::base::hash::sha1(&[hash]));
        let mut rng = Rng::seeded(9);
        let sybils: Vec<_> = (0..8u8)
            .map(|n| SocketAddr::from(([12, 1, 1, n + 1], 6_881)))
            .map(|addr| NodeAddr { id: hash.random_at_depth(100, &mut rng), addr })
            .collect();
        let mut all: Vec<_> = honest.iter().map(|addr| NodeAddr { id: id_of(*addr), addr: *addr }).collect();
        all.extend(&sybils);
        let mut bench = Bench::new(&["11.0.0.1"]);
        honest[..20].iter().for_each(|addr| bench.befriend(*addr, id_of(*addr)));
        bench.dht.look_up(hash, Goal::Peers, User::Metadata, &[], bench.now);
        let peer = [addr("13.0.0.1:7000")];
        let found = play(&mut bench, |at, query, out, t| {
            let lies = sybils.iter().find(|sybil| sybil.addr == at);
            let id = lies.map_or_else(|| id_of(at), |sybil| sybil.id);
            let (target, asks_peers) = match query.method {
                Method::GetPeers { info_hash, .. } => (info_hash, true),
                Method::FindNode { target } => (target, false),
                _ => return 0,
            };
            let mut near = all.clone();
            near.sort_by_key(|node| node.id.distance(target));
            let mut holders = near.iter().filter(|node| !sybils.contains(node)).take(8);
            let holds = asks_peers && holders.any(|node| node.addr == at);
            // A sybil names only its own kind.
            let nodes = if lies.is_some() { &sybils[..] } else { &near[..8] };
            let values = if holds { &peer[..] } else { &[] };
            krpc::write_reply(out, t, at, &Reply { id, values, nodes: Some(nodes), ..Reply::default() })
                .unwrap()
        });
        finds += usize::from(found.contains(&peer[0]));
    }
    assert_eq!(finds, 3);
}

#[test]
fn forged_pings_do_not_keep_new_clients_from_an_answer() {
    let mut bench = Bench::new(&["0.0.0.0"]);
    bench.buckets.flows = dht_hunter::base::Flows::new(2_000, &mut Rng::seeded(1));
    let (mut asked, mut answered) = (0, 0);
    for tenth in 0..1_500u32 {
        bench.now += Duration::from_millis(100);
        // Never the same address twice: one packet each, as their senders are made up.
        bench.ask(0, global(0x0100_0000 + tenth * 256), query(Method::Ping));
        if tenth.is_multiple_of(20) {
            asked += 1;
            answered +=
                usize::from(!bench.ask(0, global(0x0200_0000 + tenth * 256), query(Method::Ping)).is_empty());
        }
    }
    assert_eq!((asked, answered), (75, 75));
    assert_eq!(bench.dht.stats.dropped_flows, 0);
}
