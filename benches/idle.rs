//! What it costs to do nothing: an engine in its reactor that knows 100,000 nodes, none of which
//! is due, and has 10,000 connections on which nothing happens.
//!
//! `cargo bench --bench idle -- --port PORT [--links N] [--nodes N]`
//!
//! Whoever listens at 127.0.0.1:PORT accepts and is silent. The connections are fetches whose peer
//! does not say a word: the longest that the engine leaves a stream alone, until its patience of
//! four seconds ends. Measured are two seconds of that. One JSON line.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints what it measured")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dht_hunter::base::{Id, Rng};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Command, CommandId};
use dht_hunter::model::{Recovered, SavedNode};
use dht_hunter::reactor::{
    Clock, Gauges, Handle, KeepNothing, Listen, Observer, Reactor, ReactorConfig, listen,
};

fn main() {
    let (mut port, mut links, mut nodes) = (0, 10_000, 100_000);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("every option has a value").parse::<u32>().unwrap();
        match arg.as_str() {
            "--port" => port = value() as u16,
            "--links" => links = value() as usize,
            "--nodes" => nodes = value(),
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ReactorConfig { listen: vec![Listen { addr, explicit: true }], ..ReactorConfig::default() };
    let clock = Clock::start();
    let listening = listen(&config, clock).unwrap();
    let mut config =
        Config::new(listening.bound().to_vec(), Rates { fetches: 0, half_open: 0, ..Rates::MAX });
    config.ports_below_1024 = true;
    let unix = clock.unix();
    let mut rng = Rng::seeded(1);
    let node = |at: u32| SavedNode {
        id: Id::random(&mut rng),
        // Nobody is there, but nobody is due either.
        addr: SocketAddr::from((Ipv4Addr::from(u32::from(FIRST_NODE) + at), 9)),
        answered: unix,
        sample_after: dht_hunter::base::UnixTime(unix.0 + 21_600),
    };
    let recovered = Recovered { nodes: (0..nodes).map(node).collect(), ..Recovered::default() };
    let engine = Engine::new(config, recovered, [7; 32], clock.now(), unix);
    let handle = listening.handle();
    let archive = KeepNothing::new(listening.wake());
    let peer = SocketAddr::from(([127, 0, 0, 1], port));
    let watch = Watch { links, peer, handle, stage: Stage::Resting(Instant::now()) };
    Reactor::new(listening, engine, archive, watch).run();
}

struct Watch {
    links: usize,
    peer: SocketAddr,
    handle: Handle,
    stage: Stage,
}

enum Stage {
    /// What the start brought is over soon.
    Resting(Instant),
    /// Memory before, and how many were open at once.
    Opening {
        rss: u64,
        since: Instant,
        most: usize,
    },
    /// All links are open.
    Idle {
        rss: u64,
        since: Instant,
        cpu_ns: u64,
    },
    Over,
}

impl Observer<Engine> for Watch {
    fn on_gauges(&mut self, engine: &mut Engine, gauges: &Gauges) {
        let stats = engine.stats();
        if let Stage::Opening { since, most, .. } = &mut self.stage {
            *most = (*most).max(stats.fetches_open - stats.half_open);
            assert!(since.elapsed() < OPEN_WITHIN, "at most {most} links were open at once: {stats:?}");
        }
        match &mut self.stage {
            Stage::Resting(since) if since.elapsed() > REST => {
                let (links, peer, handle) = (self.links, self.peer, self.handle.clone());
                std::thread::spawn(move || ask_for(links, peer, &handle));
                self.stage = Stage::Opening { rss: rss_bytes(), since: Instant::now(), most: 0 };
            }
            Stage::Opening { rss, .. } if stats.fetches_open == self.links && stats.half_open == 0 => {
                self.stage = Stage::Idle { rss: *rss, since: Instant::now(), cpu_ns: cpu_ns() };
            }
            Stage::Idle { rss, since, cpu_ns: before } if since.elapsed() > MEASURED => {
                let spent = (cpu_ns() - *before) as f64 / since.elapsed().as_nanos() as f64;
                let each = rss_bytes().saturating_sub(*rss) as f64 / self.links as f64;
                println!(
                    r#"{{"links":{},"links_still_open":{},"nodes":{},"core_percent":{:.3},"bytes_a_link":{each:.0},"seconds":{:.2}}}"#,
                    self.links,
                    gauges.links,
                    stats.nodes_known,
                    spent * 100.0,
                    since.elapsed().as_secs_f64(),
                );
                self.stage = Stage::Over;
                let _ = self.handle.send(Command::Stop);
            }
            _ => {}
        }
    }
}

/// The gauges come too seldom to do it there.
fn ask_for(links: usize, peer: SocketAddr, handle: &Handle) {
    for number in 0..links as u64 {
        let mut hash = [7; 20];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        while handle.send(Command::Fetch(CommandId(number), Id(hash), vec![peer])).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// CPU time of all threads of this process, from the scheduler's own account (proc(5)).
fn cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = tasks.map(|task| {
        let line = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        line.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
    });
    spent.sum()
}

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

const FIRST_NODE: Ipv4Addr = Ipv4Addr::new(127, 32, 0, 1);
const REST: Duration = Duration::from_secs(3);
const OPEN_WITHIN: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(2);
