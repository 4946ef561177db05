//! Far more datagrams than can be answered, from one address and from many, while a crawl runs:
//! the crawl comes to its end, what is too much is dropped and counted, and nothing grows.

#![allow(clippy::unwrap_used, reason = "in a test a surprise is a failure")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use dht_hunter::base::{Id, InfoHash, Rng};
use dht_hunter::cli::launch::launch;
use dht_hunter::dht::Stats as Counted;
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Command, Event};
use dht_hunter::reactor::{Exit, Gauges, Handle, Listen, Observer, ReactorConfig};
use dht_hunter::store::StoreConfig;
use dht_hunter::swarm::{self, Swarm};
use dht_hunter::wire::krpc::{self, Method, Query, Reply};

/// The rates that a flood meets. Answers are kept to half of the packets.
const RATES: Rates =
    Rates { packets_out: 2_000, flows: 4_000, answers_per_address: 20, answers_burst: 100, ..Rates::MAX };
/// Small, so that a flood of infohashes reaches it.
const PENDING_MAX: usize = 2_000;
/// So much is sent at least, and ten times what was answered.
const FLOOD_MIN: u64 = 100_000;

/// What grew to which size while it was watched.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    pending: usize,
    nodes_known: usize,
    flows: usize,
    links: usize,
    stuck_ops: usize,
    /// Resident bytes beyond those when the flood had begun to be felt.
    grown: u64,
    descriptors: usize,
}

/// Stops the crawl when nearly everything is stored and the flood was large enough.
struct Watch {
    handle: Handle,
    wanted: BTreeSet<InfoHash>,
    enough: usize,
    until: Instant,
    flood: Arc<Flood>,
    first_resident: Option<u64>,
    most: Most,
    last: (Counted, Gauges),
    stopping: bool,
}

impl Observer<Engine> for Watch {
    fn on_event(&mut self, event: Event) {
        let Event::Torrent(infohash) = event else { return };
        self.wanted.remove(&infohash);
    }

    fn on_gauges(&mut self, engine: &mut Engine, gauges: &Gauges) {
        let stats = engine.stats();
        self.last = (stats.dht, *gauges);
        let most = &mut self.most;
        most.pending = most.pending.max(stats.pending);
        most.nodes_known = most.nodes_known.max(stats.nodes_known);
        most.flows = most.flows.max(stats.flows);
        most.links = most.links.max(gauges.links);
        most.stuck_ops = most.stuck_ops.max(gauges.stuck_ops);
        most.descriptors = most.descriptors.max(descriptors());
        if gauges.datagrams_in > FLOOD_MIN / 2 {
            let first = *self.first_resident.get_or_insert_with(resident);
            most.grown = most.grown.max(resident().saturating_sub(first));
        }
        let sent = self.flood.sent.load(SeqCst);
        let enough = sent >= FLOOD_MIN && sent >= stats.dht.answered * 10;
        if enough && self.wanted.len() <= self.enough {
            self.flood.stop.store(true, SeqCst);
        }
        // What was sent last may still be in the socket's buffer.
        let settled = self.flood.ended.load(SeqCst) && gauges.datagrams_in + gauges.datagrams_lost >= sent;
        if !self.stopping && (settled || Instant::now() > self.until) {
            engine.check_invariants();
            self.stopping = true;
            self.handle.send(Command::Stop).unwrap();
        }
    }
}

#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    ended: AtomicBool,
    sent: AtomicU64,
}

impl Flood {
    /// Sends to `to` from `sources` addresses by turns, a burst a millisecond or without a pause.
    fn run(&self, to: SocketAddr, sources: u8, pause: Duration) {
        let bind = |nth| UdpSocket::bind((Ipv4Addr::new(127, 66, 0, nth), 0)).unwrap();
        let sockets: Vec<_> = (1..=sources).map(bind).collect();
        let mut rng = Rng::seeded(u64::from(sources));
        let mut out = [0; 1_500];
        let mut nth = 0;
        while !self.stop.load(SeqCst) {
            for _ in 0..BURST {
                nth += 1;
                let len = datagram(nth, &mut rng, &mut out);
                let sent = sockets[nth % sockets.len()].send_to(&out[..len], to);
                self.sent.fetch_add(u64::from(sent.is_ok()), SeqCst);
            }
            thread::sleep(pause);
        }
        self.ended.store(true, SeqCst);
    }
}

/// Every kind of message that a node can be bothered with.
fn datagram(nth: usize, rng: &mut Rng, out: &mut [u8]) -> usize {
    let (id, target) = (Id::random(rng), Id::random(rng));
    let method = match nth % 8 {
        0 => {
            return krpc::write_reply(
                out,
                b"zz",
                SocketAddr::from(([127, 0, 0, 1], 1)),
                &Reply { id, ..Reply::default() },
            )
            .unwrap();
        }
        1 => {
            rng.fill(&mut out[..60]);
            return 60;
        }
        2 => Method::AnnouncePeer {
            info_hash: target,
            port: 7,
            implied_port: false,
            token: b"none",
            seed: false,
        },
        3 => Method::SampleInfohashes { target },
        4 => Method::FindNode { target },
        5 => Method::Ping,
        _ => Method::GetPeers { info_hash: target, noseed: false, scrape: nth % 16 == 6 },
    };
    krpc::write_query(out, b"aa", &Query { id, read_only: false, want: None, method }).unwrap()
}

struct Outcome {
    missed: usize,
    reachable: usize,
    most: Most,
    counted: Counted,
    gauges: Gauges,
    sent: u64,
}

/// Crawls a small swarm while a flood comes from so many addresses.
fn crawl_under(sources: u8, pause: Duration) -> Outcome {
    let config = swarm::Config { nodes: 400, torrents: 300, seed: 21, ..swarm::Config::default() };
    let mut swarm = Swarm::start(config).unwrap();
    let entry = swarm.bootstrap();
    let wanted: BTreeSet<_> = swarm.reachable().into_iter().collect();
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let served = thread::spawn(move || swarm.run(|_| end.load(SeqCst)));
    let dir = tempfile::tempdir().unwrap();
    let listen = vec![Listen { addr: "127.0.0.1:0".parse().unwrap(), explicit: true }];
    let reactor = ReactorConfig { listen, ..ReactorConfig::default() };
    let store = StoreConfig { db: dir.path().join("overload.db"), ..StoreConfig::default() };
    let flood = Arc::new(Flood::default());
    let (reachable, seen) = (wanted.len(), Arc::clone(&flood));
    let watch = |handle, _: &_| Watch {
        handle,
        enough: reachable / 100,
        wanted,
        until: Instant::now() + Duration::from_secs(120),
        flood: seen,
        first_resident: None,
        most: Most::default(),
        last: (Counted::default(), Gauges::default()),
        stopping: false,
    };
    let mut config = Config::new(Vec::new(), RATES);
    config.pending_max = PENDING_MAX;
    let mut crawler = launch(config, &reactor, store, watch).unwrap();
    let to = crawler.bound[0];
    crawler.handle.send(Command::Bootstrap(entry)).unwrap();
    let sender = Arc::clone(&flood);
    let flooding = thread::spawn(move || sender.run(to, sources, pause));
    let exit = crawler.reactor.run();
    flood.stop.store(true, SeqCst);
    flooding.join().unwrap();
    over.store(true, SeqCst);
    served.join().unwrap().unwrap();
    assert_eq!(exit, Exit::Stopped);
    let (_, store, watch) = crawler.reactor.into_parts();
    store.close();
    let (counted, gauges) = watch.last;
    let sent = flood.sent.load(SeqCst);
    Outcome { missed: watch.wanted.len(), reachable, most: watch.most, counted, gauges, sent }
}

/// What holds whoever floods.
fn stands(outcome: &Outcome) {
    let Outcome { missed, reachable, most, counted, gauges, sent } = outcome;
    assert!(missed * 100 <= *reachable, "{missed} of {reachable} missed: {counted:?} {gauges:?}");
    assert!(*sent >= FLOOD_MIN && counted.answered * 10 <= *sent, "{} of {sent} answered", counted.answered);
    assert!(gauges.datagrams_in + gauges.datagrams_lost >= *sent, "{gauges:?} of {sent}");
    let dropped =
        counted.dropped_malformed + counted.dropped_limited + counted.dropped_stray + counted.dropped_flows;
    assert_eq!(
        counted.received,
        counted.answered + counted.held + counted.replies + dropped,
        "each has its reason: {counted:?}"
    );
    assert!(
        counted.dropped_malformed > FLOOD_MIN / 20 && counted.dropped_stray > FLOOD_MIN / 20,
        "{counted:?}"
    );
    assert!(most.pending <= PENDING_MAX && most.flows <= RATES.flows && most.stuck_ops < 64, "{most:?}");
    // The swarm's nodes and strangers at the rate at which they are let in.
    assert!(most.nodes_known <= 400 + 1_000 + 50 * 120, "{most:?}");
    assert!(most.grown <= GROWTH_MAX, "{most:?}");
    // The swarm and the flood are in this process too.
    assert!(most.descriptors <= 3_000, "{most:?}");
}

#[test]
fn a_flood_from_one_address_is_not_answered_and_the_crawl_goes_on() {
    let outcome = crawl_under(1, PAUSE);
    stands(&outcome);
    // Its burst, and 20 a second.
    assert!(outcome.counted.answered <= 100 + 20 * 120, "{:?}", outcome.counted);
}

#[test]
fn a_flood_from_many_addresses_gets_its_share_and_the_crawl_goes_on() {
    let outcome = crawl_under(250, PAUSE);
    stands(&outcome);
    assert!(outcome.counted.dropped_limited > FLOOD_MIN / 4, "{:?}", outcome.counted);
}

#[test]
fn a_flood_as_fast_as_it_can_be_sent_does_not_end_the_crawl() {
    stands(&crawl_under(250, Duration::ZERO));
}

/// Resident bytes of this process; 0 where that is not to be had.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// Open descriptors of this process; 0 where that is not to be had.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

const PAUSE: Duration = Duration::from_millis(1);
/// 40,000 a second at most, twenty times what may be answered.
const BURST: usize = 40;
/// The tables of rates and flows fill, the archive has its cache; a flood of 100,000 datagrams
/// kept would be ten times as much.
const GROWTH_MAX: u64 = 24 << 20;
