//! The main job over real sockets: a swarm on loopback is crawled, fetched and stored, and
//! nothing else gets into the archive than what the swarm really has.

#![allow(clippy::unwrap_used, reason = "in a test a surprise is a failure")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dht_hunter::base::InfoHash;
use dht_hunter::cli::launch::launch;
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Command, Event};
use dht_hunter::reactor::{Exit, Gauges, Handle, Listen, Observer, ReactorConfig};
use dht_hunter::store::{Archive, Query, Sort, StoreConfig};
use dht_hunter::swarm::{self, Swarm};

/// Stops the crawl when enough of what is wanted has come, or time is up.
struct Watch {
    handle: Handle,
    wanted: BTreeSet<InfoHash>,
    enough: usize,
    until: Instant,
    left: usize,
    stopping: bool,
}

impl Observer<Engine> for Watch {
    fn on_event(&mut self, event: Event) {
        let Event::Torrent(infohash) = event else { return };
        self.wanted.remove(&infohash);
        self.left = self.wanted.len();
    }

    fn on_gauges(&mut self, engine: &mut Engine, _: &Gauges) {
        if !self.stopping && (self.left <= self.enough || Instant::now() > self.until) {
            engine.check_invariants();
            self.stopping = true;
            self.handle.send(Command::Stop).unwrap();
        }
    }
}

struct Crawl {
    reachable: usize,
    missed: usize,
    stored: Vec<InfoHash>,
    everything: BTreeSet<InfoHash>,
    dir: tempfile::TempDir,
}

/// Crawls such a swarm until at most `missable` percent of its reachable torrents are missing.
fn crawl(config: swarm::Config, udp_batch: usize, missable: usize, limit: Duration) -> Crawl {
    let mut swarm = Swarm::start(config).unwrap();
    let (entry, everything) = (swarm.bootstrap(), swarm.infohashes().into_iter().collect());
    let wanted: BTreeSet<_> = swarm.reachable().into_iter().collect();
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let served = thread::spawn(move || swarm.run(|_| end.load(Ordering::Relaxed)));
    let dir = tempfile::tempdir().unwrap();
    let listen = vec![Listen { addr: "127.0.0.1:0".parse().unwrap(), explicit: true }];
    let reactor = ReactorConfig { listen, udp_batch, ..ReactorConfig::default() };
    let store = StoreConfig { db: dir.path().join("crawl.db"), ..StoreConfig::default() };
    let reachable = wanted.len();
    let watch = |handle, _: &_| Watch {
        handle,
        enough: reachable * missable / 100,
        until: Instant::now() + limit,
        left: reachable,
        wanted,
        stopping: false,
    };
    let mut crawler = launch(Config::new(Vec::new(), Rates::MAX), &reactor, store, watch).unwrap();
    crawler.handle.send(Command::Bootstrap(entry)).unwrap();
    assert_eq!(crawler.reactor.run(), Exit::Stopped);
    let (_, store, watch) = crawler.reactor.into_parts();
    store.close();
    over.store(true, Ordering::Relaxed);
    served.join().unwrap().unwrap();
    let archive = Archive::open_read_only(&dir.path().join("crawl.db")).unwrap();
    let stored = archive.export().map(|row| row.unwrap().infohash).collect();
    Crawl { reachable, missed: watch.left, stored, everything, dir }
}

fn nothing_wrong(crawl: &Crawl) {
    let distinct: BTreeSet<_> = crawl.stored.iter().collect();
    assert_eq!(distinct.len(), crawl.stored.len(), "a torrent is stored once");
    let wrong = distinct.into_iter().find(|infohash| !crawl.everything.contains(infohash));
    assert_eq!(wrong, None, "no torrent that the swarm does not have");
}

#[test]
fn a_peaceful_swarm_is_stored_and_found_again() {
    let config = swarm::Config { nodes: 1_500, torrents: 1_000, seed: 11, ..swarm::Config::default() };
    let crawl = crawl(config, 64, 1, Duration::from_secs(60));
    assert!(crawl.missed * 100 <= crawl.reachable, "{} of {} missed", crawl.missed, crawl.reachable);
    nothing_wrong(&crawl);
    if !cfg!(feature = "search") {
        return;
    }
    let archive = Archive::open_read_only(&crawl.dir.path().join("crawl.db")).unwrap();
    let first = archive.export().next().unwrap().unwrap();
    let name = first.display_name();
    let query = Query { words: name, sort: Sort::Relevance, limit: 50, ..Query::default() };
    let found = archive.search(&query).unwrap();
    assert!(found.hits.iter().any(|hit| hit.infohash == first.infohash), "found by its name");
}

#[test]
fn a_hostile_lossy_half_dead_swarm_yields_what_is_alive_and_nothing_false() {
    let config = swarm::Config {
        nodes: 2_000,
        torrents: 1_000,
        peers_per_torrent: 4,
        dead_pct: 30.0,
        dead_peers_pct: 50.0,
        loss_pct: 5.0,
        hostile_pct: 5.0,
        seed: 12,
        ..swarm::Config::default()
    };
    let crawl = crawl(config, 64, 5, Duration::from_secs(120));
    assert!(crawl.missed * 100 <= crawl.reachable * 5, "{} of {} missed", crawl.missed, crawl.reachable);
    nothing_wrong(&crawl);
}

/// As among real ones: some take one handshake at a time, some hang up on who speaks first.
#[test]
fn peers_of_every_manner_give_what_they_have() {
    let config = swarm::Config {
        nodes: 1_000,
        torrents: 1_000,
        one_handshake_pct: 30.0,
        bare_handshake_pct: 10.0,
        seed: 14,
        ..swarm::Config::default()
    };
    // Each torrent has one peer: who is given up there is missed.
    let config = swarm::Config { peers_per_torrent: 1, ..config };
    let crawl = crawl(config, 64, 1, Duration::from_secs(90));
    assert!(crawl.missed * 100 <= crawl.reachable, "{} of {} missed", crawl.missed, crawl.reachable);
    nothing_wrong(&crawl);
}

#[test]
fn one_datagram_a_system_call_does_the_same() {
    let config = swarm::Config { nodes: 500, torrents: 300, seed: 13, ..swarm::Config::default() };
    let crawl = crawl(config, 1, 1, Duration::from_secs(60));
    assert!(crawl.missed * 100 <= crawl.reachable, "{} of {} missed", crawl.missed, crawl.reachable);
    nothing_wrong(&crawl);
}
