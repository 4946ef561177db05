//! Fetches as a whole engine makes them, driven by hand in virtual time: every setting changes what
//! comes out, and who claims much and sends little takes nothing from others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dht_hunter::base::{Id, InfoHash, Instant, Path, Rng, SocketId, UnixTime, hash};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{
    AcceptorId, Command, CommandId, DownloadWish, Input, LinkId, NameQuestion, Output, Reason,
};
use dht_hunter::metadata::{FailureKind, Filter};
use dht_hunter::model::{Recovered, StoreResult};
use dht_hunter::preconnect::{Protocol, Target};
use dht_hunter::web::Limits;
use dht_hunter::wire::http::Validators;
use dht_hunter::wire::krpc::{self, Body, Method, Query, Reply};
use dht_hunter::wire::peer::{Handshake, PIECE};

const UNIX: UnixTime = UnixTime(1_790_000_000);
const TICK: Duration = Duration::from_millis(10);

/// An info dictionary of about so many bytes, and its hash.
fn info(len: usize) -> (Vec<u8>, InfoHash) {
    let mut pieces = vec![0; (len / 20).max(1) * 20];
    Rng::seeded(len as u64).fill(&mut pieces);
    let head = format!("d6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces{}:", pieces.len());
    let raw = [head.as_bytes(), &pieces, b"e"].concat();
    let hash = Id(hash::sha1(&raw));
    (raw, hash)
}

fn framed(id: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32 + 2).to_be_bytes().to_vec();
    frame.extend([20, id]);
    frame.extend(body);
    frame
}

fn hello(size: usize) -> Vec<u8> {
    framed(0, format!("d1:md11:ut_metadatai3ee13:metadata_sizei{size}ee").as_bytes())
}

fn piece(at: usize, size: usize, payload: &[u8]) -> Vec<u8> {
    let head = format!("d8:msg_typei1e5:piecei{at}e10:total_sizei{size}ee");
    framed(1, &[head.as_bytes(), payload].concat())
}

/// An engine driven by hand, and what it did.
struct Hand {
    engine: Engine,
    now: Instant,
    connects: Vec<(LinkId, SocketAddr)>,
    closes: Vec<LinkId>,
    queries: Vec<(Path, Vec<u8>)>,
    /// What was asked for on each link, from the handshakes that were written.
    handshakes: BTreeMap<LinkId, InfoHash>,
    told: String,
}

impl Hand {
    fn new(config: Config) -> Self {
        let now = Instant::from_millis(5_000);
        let engine = Engine::new(config, Recovered::default(), [7; 32], now, UNIX);
        let (connects, closes, queries) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, now, connects, closes, queries, handshakes: BTreeMap::new(), told: String::new() }
    }

    fn input(&mut self, input: Input<'_>) -> usize {
        let mut reply = [0; 2_048];
        let len = self.engine.handle(self.now, UNIX, input, &mut reply);
        if len > 0 {
            writeln!(self.told, "reply {:?}", &reply[..len]).unwrap();
        }
        self.drain();
        len
    }

    fn drain(&mut self) {
        let mut scratch = [0; 2_048];
        for _ in 0..100_000 {
            let output = self.engine.poll(self.now, UNIX, &mut scratch);
            match &output {
                Output::Idle(_) => return,
                Output::Datagram(path, len) => {
                    writeln!(self.told, "sent {path:?} {:?}", &scratch[..*len]).unwrap();
                    self.queries.push((*path, scratch[..*len].to_vec()));
                    continue;
                }
                Output::Connect { link, to, .. } => self.connects.push((*link, *to)),
                Output::Close(link) => self.closes.push(*link),
                Output::Store(_) => {
                    let stored = Input::Stored(StoreResult::Committed(1));
                    self.engine.handle(self.now, UNIX, stored, &mut []);
                }
                Output::Write(link) => {
                    let allowed = self.engine.write_allowance(self.now, *link);
                    let mut slices = [std::io::IoSlice::new(&[]); 8];
                    let filled = self.engine.send_queue(*link).map_or(0, |queue| queue.slices(&mut slices));
                    let said: Vec<u8> = slices[..filled].iter().flat_map(|part| part.to_vec()).collect();
                    if let Ok(Some(ours)) = Handshake::decode(&said) {
                        self.handshakes.insert(*link, ours.info_hash);
                    }
                    self.engine.wrote(self.now, *link, allowed);
                }
                _ => {}
            }
            writeln!(self.told, "{output:?}").unwrap();
        }
        panic!("it never idles");
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            self.drain();
        }
    }

    /// A query from elsewhere.
    fn ask(&mut self, from: SocketAddr, method: Method<'_>) {
        let mut out = [0; 1_500];
        let query = Query { id: Id([9; 20]), read_only: false, want: None, method };
        let len = krpc::write_query(&mut out, b"tx", &query).unwrap();
        self.input(Input::Datagram(Path { socket: SocketId(0), local: None, remote: from }, &out[..len]));
    }

    /// Answers what it has asked of nodes.
    fn answer(&mut self) {
        for (path, data) in std::mem::take(&mut self.queries) {
            let Ok(message) = krpc::decode(&data) else { continue };
            if path.socket != SocketId(0) || !matches!(message.body, Body::Query(_)) {
                continue;
            }
            let id = Id(hash::sha1(path.remote.to_string().as_bytes()));
            let reply = Reply { id, nodes: Some(&[]), ..Reply::default() };
            let mut out = [0; 1_500];
            let len = krpc::write_reply(&mut out, message.transaction, path.remote, &reply).unwrap();
            self.input(Input::Datagram(path, &out[..len]));
        }
    }

    /// Opens the connections to this peer, which says its handshake and these bytes.
    fn peer_says(&mut self, to: SocketAddr, hash: InfoHash, said: &[Vec<u8>]) {
        let here: Vec<LinkId> =
            self.connects.iter().filter(|(_, addr)| *addr == to).map(|(link, _)| *link).collect();
        self.connects.retain(|(_, addr)| *addr != to);
        for link in here {
            self.input(Input::Opened(link));
            self.input(Input::Received(link, &Handshake::new(hash, [8; 20]).encode()));
            said.iter().for_each(|bytes| _ = self.input(Input::Received(link, bytes)));
        }
    }
}

fn peer(n: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([11, n, 0, 1], port))
}

/// What an engine of these settings says, sends and opens through a fixed course of events.
fn course(config: Config) -> String {
    let names_socket = SocketId(config.listen.len() as u16);
    let mut hand = Hand::new(config);
    hand.told = format!("{}\n", hand.engine.reads(names_socket));
    let nodes = (1..=60).map(|n| SocketAddr::from(([12, n, 0, 1], 6_881))).collect();
    hand.input(Input::Command(Command::Bootstrap(nodes)));
    for _ in 0..20 {
        hand.pass(TICK * 10);
        hand.answer();
    }
    let other = SocketAddr::from(([13, 0, 0, 1], 6_881));
    hand.ask(other, Method::GetPeers { info_hash: Id([77; 20]), noseed: false, scrape: false });
    hand.pass(Duration::from_secs(15));
    let (raw, whole) = info(20_000);
    let sent: Vec<_> = raw.chunks(PIECE).enumerate().map(|(at, part)| piece(at, raw.len(), part)).collect();
    hand.input(Input::Command(Command::Fetch(CommandId(1), whole, vec![peer(1, 6_881)])));
    hand.pass(TICK);
    hand.peer_says(peer(1, 6_881), whole, &[vec![hello(raw.len())], sent].concat());
    hand.input(Input::Command(Command::Fetch(CommandId(2), Id([2; 20]), vec![peer(2, 80)])));
    for n in 3..20 {
        let fetch = Command::Fetch(CommandId(u64::from(n)), Id([n; 20]), vec![peer(n, 6_881)]);
        hand.input(Input::Command(fetch));
    }
    hand.pass(TICK);
    let large = [hello(1 << 20), piece(0, 1 << 20, &[5; PIECE]), piece(1, 1 << 20, &[5; PIECE])];
    hand.peer_says(peer(3, 6_881), Id([3; 20]), &large);
    let name = NameQuestion::Host("somewhere.test.".to_owned());
    hand.input(Input::Command(Command::Resolve(CommandId(30), name)));
    hand.pass(TICK);
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
    let path = Path { socket: names_socket, local: None, remote: SocketAddr::from(([127, 0, 0, 1], 5_353)) };
    hand.input(Input::Datagram(path, question));
    let accepted = hand.engine.admit(hand.now, AcceptorId(0), path.remote);
    hand.engine.check_invariants();
    let stats = hand.engine.stats();
    format!("{}\n{accepted:?}\n{stats:?}", hand.told)
}

fn settings() -> Config {
    Config::new(vec![SocketAddr::from(([0, 0, 0, 0], 6_881))], Rates::HOME)
}

/// Without `..`: a setting that is added has to be shown to matter too.
#[test]
fn every_setting_changes_what_the_engine_does() {
    let Config {
        listen,
        dns_listen: _,
        dns_clients,
        rates: _,
        read_only: _,
        sweep: _,
        passive: _,
        fetch: _,
        keep_info: _,
        metadata_max: _,
        metadata_in_flight: _,
        pending_max: _,
        nodes_max: _,
        ports_below_1024: _,
        filter: _,
        dns: _,
        targets: _,
        dns_waits: _,
    } = settings();
    let dns_listen = vec![SocketAddr::from(([127, 0, 0, 1], 5_300))];
    let forwarder = dht_hunter::dns::ForwarderConfig::plain(([14, 0, 0, 1], 53).into());
    let target = Target::new("15.0.0.1", 443, Protocol::Tcp);
    let second = SocketAddr::from(([0, 0, 0, 0], 6_882));
    let with_names = Config { dns_listen: dns_listen.clone(), ..settings() };
    let nobody = dht_hunter::dns::listener::Config { allow: Vec::new(), ..dns_clients };
    let changed = [
        ("listen", Config { listen: [listen, vec![second]].concat(), ..settings() }),
        ("dns_listen", with_names.clone()),
        ("rates", Config { rates: Rates { half_open: 2, ..Rates::HOME }, ..settings() }),
        ("read_only", Config { read_only: true, ..settings() }),
        ("sweep", Config { sweep: false, ..settings() }),
        ("passive", Config { passive: false, ..settings() }),
        ("fetch", Config { fetch: false, ..settings() }),
        ("keep_info", Config { keep_info: false, ..settings() }),
        ("metadata_max", Config { metadata_max: 100_000, ..settings() }),
        ("metadata_in_flight", Config { metadata_in_flight: 20_000, ..settings() }),
        ("pending_max", Config { pending_max: 5, ..settings() }),
        ("nodes_max", Config { nodes_max: 10, ..settings() }),
        ("ports_below_1024", Config { ports_below_1024: true, ..settings() }),
        ("filter", Config { filter: Filter::parse("word x").unwrap(), ..settings() }),
        ("dns", Config { dns: dht_hunter::dns::Config::new(vec![forwarder]), ..settings() }),
        ("targets", Config { targets: vec![target], ..settings() }),
    ];
    let plain = course(settings());
    assert_eq!(plain, course(settings()), "the same settings, the same course");
    for (name, config) in changed {
        assert!(course(config) != plain, "{name} changes nothing");
    }
    let waits = Config { dns_waits: !with_names.dns_waits, ..with_names.clone() };
    assert!(course(waits) != course(with_names.clone()), "dns_waits changes nothing");
    let refused = course(Config { dns_clients: nobody, ..with_names.clone() });
    assert!(refused != course(with_names), "dns_clients changes nothing");
}

/// A connection of the crowd below.
struct Talk {
    to: SocketAddr,
    opened: bool,
    next: usize,
    at: Instant,
}

/// How long it takes until so many honest peers have given what they have, beside attackers at three
/// addresses, each of which has many torrents, claims 16 MiB for each and sends a piece every two
/// seconds.
fn time_for(honest: u32, attackers: u8) -> Duration {
    let (raw, _) = info(40_000);
    let rates = Rates { fetches: 400, half_open: 0, flows: 0, ..Rates::MAX };
    let mut hand = Hand::new(Config { sweep: false, passive: false, rates, ..settings() });
    let mut hashes = BTreeMap::new();
    // Every honest torrent is another one, of the same length.
    let torrent = |n: u32| {
        let mut raw = raw.clone();
        let at = raw.len() - 10;
        raw[at..at + 4].copy_from_slice(&n.to_be_bytes());
        raw
    };
    for n in 0..200_u32 {
        for who in 0..attackers {
            let hash = Id(hash::sha1(&[&n.to_be_bytes()[..], &[who]].concat()));
            let to = SocketAddr::from(([90 + who, 0, 0, 1], 6_881));
            let id = CommandId(1_000_000 + u64::from(n) * 256 + u64::from(who));
            hand.input(Input::Command(Command::Fetch(id, hash, vec![to])));
        }
    }
    for n in 0..honest {
        let (hash, [_, a, b, c]) = (Id(hash::sha1(&torrent(n))), (n * 256 + 1).to_be_bytes());
        let to = SocketAddr::from(([20, a, b, c], 6_881));
        hashes.insert(to, (n, hash));
    }
    let mut waiting = hashes.iter().map(|(to, (_, hash))| (*to, *hash)).collect::<Vec<_>>().into_iter();
    let mut given = 0;
    let (began, mut fetched) = (hand.now + HEAD_START, 0);
    let mut talks: BTreeMap<LinkId, Talk> = BTreeMap::new();
    while fetched < u64::from(honest) && hand.now.since(began) < LONGEST {
        hand.now += TICK;
        hand.drain();
        // Twenty at a time.
        fetched = hand.engine.stats().fetched;
        while hand.now >= began && given < fetched + 20 {
            let Some((to, hash)) = waiting.next() else { break };
            given += 1;
            hand.input(Input::Command(Command::Fetch(CommandId(given), hash, vec![to])));
        }
        for (link, to) in std::mem::take(&mut hand.connects) {
            talks.insert(link, Talk { to, opened: false, next: 0, at: hand.now + TICK });
        }
        for link in std::mem::take(&mut hand.closes) {
            talks.remove(&link);
        }
        let due: Vec<LinkId> = talks.iter().filter(|(_, it)| it.at <= hand.now).map(|(id, _)| *id).collect();
        for link in due {
            let Some(talk) = talks.get_mut(&link) else { continue };
            if !talk.opened {
                (talk.opened, talk.at) = (true, hand.now + TICK);
                hand.input(Input::Opened(link));
                continue;
            }
            let (to, next) = (talk.to, talk.next);
            talk.next += 1;
            if let Some((n, hash)) = hashes.get(&to) {
                // Three pieces, one every tenth of a second.
                let raw = torrent(*n);
                talk.at = hand.now + TICK * 10;
                let said = match next {
                    0 => [Handshake::new(*hash, [8; 20]).encode().to_vec(), hello(raw.len())].concat(),
                    at => match raw.chunks(PIECE).nth(at - 1) {
                        Some(part) => piece(at - 1, raw.len(), part),
                        None => continue,
                    },
                };
                hand.input(Input::Received(link, &said));
            } else {
                talk.at = hand.now + Duration::from_secs(2);
                let said = match next {
                    0 => {
                        // Attackers answer for whatever is asked of them.
                        let Some(hash) = wanted_of(&hand, link) else { continue };
                        [Handshake::new(hash, [8; 20]).encode().to_vec(), hello(16 << 20)].concat()
                    }
                    at => piece(at - 1, 16 << 20, &[1; PIECE]),
                };
                hand.input(Input::Received(link, &said));
            }
            for link in std::mem::take(&mut hand.closes) {
                talks.remove(&link);
            }
            let later = std::mem::take(&mut hand.connects);
            let at = hand.now + TICK;
            talks.extend(later.into_iter().map(|(id, to)| (id, Talk { to, opened: false, next: 0, at })));
        }
    }
    hand.engine.check_invariants();
    hand.now.since(began)
}

/// The torrent that the engine asks for on a link: in its handshake, which was written by now.
fn wanted_of(hand: &Hand, link: LinkId) -> Option<InfoHash> {
    hand.handshakes.get(&link).copied()
}

/// Until then the attackers are alone.
const HEAD_START: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(60);

#[test]
fn three_addresses_that_claim_much_and_send_little_take_nothing_from_others() {
    let (alone, attacked) = (time_for(300, 0), time_for(300, 3));
    assert!(attacked < LONGEST && attacked <= alone * 5 / 4, "{alone:?} alone, {attacked:?} under attack");
}

/// One peer, many torrents: Transmission closes all connections but the one whose handshake goes on.
#[test]
fn a_peer_of_one_handshake_at_a_time_gives_all_it_has_and_soon() {
    // Private addresses are no exception.
    let listen = vec![SocketAddr::from(([10, 0, 0, 1], 6_881))];
    let mut hand = Hand::new(Config { sweep: false, listen, ..settings() });
    let to = SocketAddr::from(([10, 0, 0, 7], 51_413));
    let torrents: Vec<_> = (1..=20).map(|n| info(1_000 * n)).collect();
    for (n, (_, hash)) in (0..).zip(&torrents) {
        hand.input(Input::Command(Command::Fetch(CommandId(n), *hash, vec![to])));
    }
    let began = hand.now;
    let mut most = 0;
    while hand.engine.stats().fetched < 20 && hand.now.since(began) < Duration::from_secs(30) {
        hand.pass(TICK);
        let opened = std::mem::take(&mut hand.connects);
        most = most.max(opened.len());
        opened.iter().for_each(|(link, _)| _ = hand.input(Input::Opened(*link)));
        for (at, (link, _)) in opened.into_iter().enumerate() {
            if at > 0 {
                hand.input(Input::Eof(link));
                continue;
            }
            let hash = hand.handshakes[&link];
            let (raw, _) = torrents.iter().find(|(_, other)| *other == hash).unwrap();
            let mut said = [Handshake::new(hash, [8; 20]).encode().to_vec(), hello(raw.len())].concat();
            hand.input(Input::Received(link, &said));
            for (at, part) in raw.chunks(PIECE).enumerate() {
                said = piece(at, raw.len(), part);
                hand.input(Input::Received(link, &said));
            }
        }
    }
    let stats = hand.engine.stats();
    assert_eq!((stats.fetched, stats.fetches_failed), (20, 0), "after {:?}", hand.now.since(began));
    assert!(hand.now.since(began) < Duration::from_secs(2), "{:?}", hand.now.since(began));
    // Once more when two are tried again after sixteen went well.
    assert_eq!((most, stats.fetches_crowded), (8, 8), "eight at first, then one by one");
}

#[test]
fn reasons_are_counted_each_as_its_own() {
    let mut hand = Hand::new(Config { sweep: false, ..settings() });
    for n in 1..=5 {
        let fetch = Command::Fetch(CommandId(u64::from(n)), Id([n; 20]), vec![peer(n, 6_881)]);
        hand.input(Input::Command(fetch));
    }
    hand.pass(TICK);
    let link = |hand: &Hand, n: u8| hand.connects.iter().find(|(_, to)| *to == peer(n, 6_881)).unwrap().0;
    let links: Vec<LinkId> = (1..=5).map(|n| link(&hand, n)).collect();
    hand.input(Input::Closed(links[0], Reason::Refused));
    hand.input(Input::Opened(links[1]));
    hand.input(Input::Eof(links[1]));
    for (n, said) in [(3, framed(0, b"d1:mdee")), (4, framed(1, b"d8:msg_typei2e5:piecei0ee"))] {
        let said = if n == 4 { [hello(9), said].concat() } else { said };
        hand.input(Input::Opened(links[n - 1]));
        let theirs = Handshake::new(Id([n as u8; 20]), [8; 20]).encode();
        hand.input(Input::Received(links[n - 1], &theirs));
        hand.input(Input::Received(links[n - 1], &said));
    }
    hand.pass(Duration::from_secs(5));
    let failures = hand.engine.stats().fetch_failures;
    let kinds = [
        FailureKind::Refused,
        FailureKind::ClosedAtHandshake,
        FailureKind::NoMetadata,
        FailureKind::Rejected,
        FailureKind::ConnectTimedOut,
    ];
    for kind in kinds {
        assert_eq!(failures.count(kind), 1, "{kind:?}: {}", failures.to_text());
    }
    assert_eq!(failures.total(), hand.engine.stats().fetches_failed);
    assert!(hand.told.contains("PeerFailed(11.2.0.1:6881, Closed(Handshake))"), "and told who asked");
}

#[test]
fn one_command_too_many_is_answered_once() {
    let mut hand = Hand::new(Config { sweep: false, fetch: false, ..settings() });
    for n in 0..1_100 {
        hand.input(Input::Command(Command::Fetch(CommandId(n), Id([(n % 256) as u8; 20]), vec![])));
    }
    let (from, nobody) = (SocketAddr::from(([13, 0, 0, 1], 6_881)), hand.queries.len());
    hand.input(Input::Command(Command::Ping(CommandId(5_000), from)));
    hand.input(Input::Command(Command::Peers(CommandId(5_001), Id([3; 20]))));
    assert_eq!(hand.queries.len(), nobody, "nothing is begun for it");
    for id in [5_000, 5_001, 1_099] {
        let answers = hand.told.matches(&format!("Answer(CommandId({id}), ")).count();
        assert_eq!(answers, 1, "{id}");
    }
}

#[test]
fn a_download_waits_for_the_same_limits_as_everything_else() {
    let rates = Rates { half_open: 1, ..Rates::HOME };
    let mut hand = Hand::new(Config { sweep: false, rates, ..settings() });
    hand.input(Input::Command(Command::Fetch(CommandId(1), Id([1; 20]), vec![peer(1, 6_881)])));
    let wish = DownloadWish {
        url: "http://16.0.0.1/list.txt".to_owned(),
        known: Validators::default(),
        limits: Limits {
            body_bytes_max: 1_000,
            connect: Duration::from_secs(5),
            head: Duration::from_secs(5),
            total: Duration::from_secs(60),
            pace_bytes_min: 0,
            pace_window: Duration::from_secs(60),
        },
    };
    hand.input(Input::Command(Command::Download(CommandId(2), Box::new(wish))));
    hand.pass(TICK * 10);
    let to: Vec<_> = hand.connects.iter().map(|(_, to)| *to).collect();
    assert_eq!(to, [peer(1, 6_881)], "one half-open connection is all there may be");
    hand.input(Input::Opened(hand.connects[0].0));
    hand.pass(TICK);
    let last = hand.connects.last().map(|(_, to)| *to);
    assert_eq!(last, Some(SocketAddr::from(([16, 0, 0, 1], 80))));
    hand.engine.check_invariants();
}

#[test]
fn one_address_does_not_take_all_streams_that_are_served() {
    let mut hand = Hand::new(settings());
    hand.engine.share(info(100).0.into());
    let admitted = |hand: &mut Hand, ip: IpAddr| {
        let all = (1..=200).map(|port| hand.engine.admit(hand.now, AcceptorId(0), SocketAddr::new(ip, port)));
        all.flatten().count()
    };
    assert_eq!(admitted(&mut hand, [11, 0, 0, 1].into()), 32);
    assert_eq!(admitted(&mut hand, [12, 0, 0, 1].into()), 32);
    let crowd: usize = (1..=100).map(|last| admitted(&mut hand, [13, 0, 0, last].into())).sum();
    assert_eq!(crowd, 256, "nor one network");
    hand.engine.check_invariants();
}
