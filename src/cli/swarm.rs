//! `swarm`: a DHT and its torrents on loopback, for pointing any program at.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::Swarm as SwarmArgs;
use super::failure::{Failure, Outcome};
use super::files;
use super::print::Out;
use super::units::human_count;
use crate::base::InfoHash;
use crate::swarm::{Config, Stats, Swarm};

/// Keeps a swarm up until it is killed; it has nothing to lose.
pub fn run(args: &SwarmArgs, json: bool) -> Result<Outcome, Failure> {
    let mut swarm = start(&config(args)?)?;
    if let Some(list) = &args.list {
        write_list(list, &swarm.infohashes())?;
    }
    let bootstrap = entry(&swarm)?;
    announce(args, bootstrap, swarm.reachable().len() as u64, json)?;
    let live = swarm.live();
    let mut told = Instant::now();
    let mut tell = |stats: &Stats| {
        if let Some(path) = args.stats.as_deref().filter(|_| told.elapsed() >= TELL_EVERY) {
            told = Instant::now();
            if let Err(fault) = write_stats(path, live, stats) {
                log::warn!("cannot write {}: {fault}", path.display());
            }
        }
        false
    };
    swarm
        .run(&mut tell)
        .map_err(|fault| Failure::failed(format!("the swarm broke down: {fault}; start it again")))?;
    Ok(Outcome::Done)
}

/// Generates a swarm and binds its sockets.
pub fn start(config: &Config) -> Result<Swarm, Failure> {
    Swarm::start(*config).map_err(|fault| {
        Failure::failed(format!(
            "cannot start the swarm: {fault}; try fewer --nodes or --torrents, or another --port"
        ))
    })
}

/// A node to bootstrap from.
pub fn entry(swarm: &Swarm) -> Result<SocketAddr, Failure> {
    let first = swarm.bootstrap().first().copied();
    first.ok_or_else(|| {
        Failure::usage("no node of this swarm is alive and honest; give a smaller --dead or --hostile")
    })
}

/// A number of the command line as the swarm takes it.
pub fn small(number: u64, flag: &str) -> Result<u32, Failure> {
    u32::try_from(number)
        .map_err(|_| Failure::usage(format!("{flag} {number} is too large; give a smaller number")))
}

fn config(args: &SwarmArgs) -> Result<Config, Failure> {
    if args.nodes == 0 {
        return Err(Failure::usage("a swarm has at least one node; give --nodes from 1"));
    }
    Ok(Config {
        nodes: small(args.nodes, "--nodes")?,
        torrents: small(args.torrents, "--torrents")?,
        peers_per_torrent: small(args.peers, "--peers")?,
        dead_pct: args.dead * 100.0,
        dead_peers_pct: args.dead_peers * 100.0,
        loss_pct: args.loss * 100.0,
        hostile_pct: args.hostile * 100.0,
        one_handshake_pct: args.one_handshake * 100.0,
        bare_handshake_pct: args.bare_handshake * 100.0,
        churn_pct: args.churn * 100.0,
        port: args.port,
        seed: args.seed,
        torrents_seed: args.torrents_seed.unwrap_or(args.seed),
        ..Config::default()
    })
}

fn announce(args: &SwarmArgs, bootstrap: SocketAddr, reachable: u64, json: bool) -> Result<(), Failure> {
    let mut out = Out::new();
    if json {
        out.json(&json!({
            "bootstrap": bootstrap.to_string(),
            "nodes": args.nodes,
            "torrents": args.torrents,
            "reachable": reachable,
        }))?;
    } else {
        out.line(&format!(
            "{} nodes and {} torrents are up, {} of them can be reached; Ctrl-C ends them. Crawl them with",
            human_count(args.nodes),
            human_count(args.torrents),
            human_count(reachable),
        ))?;
        out.line(&format!(
            "  dht-hunter run --listen 127.0.0.1:0 --bootstrap {bootstrap} --profile max --db swarm.db"
        ))?;
    }
    out.flush()
}

fn write_list(path: &Path, infohashes: &[InfoHash]) -> Result<(), Failure> {
    let cannot = |fault| {
        Failure::failed(format!("cannot write {}: {fault}; give another with --list", path.display()))
    };
    let lines: String = infohashes.iter().map(|infohash| format!("{infohash}\n")).collect();
    files::put(path, lines.as_bytes()).map(drop).map_err(cannot)
}

/// In one piece, so that whoever reads it never sees half of it.
fn write_stats(path: &Path, live: u32, stats: &Stats) -> std::io::Result<()> {
    let said = json!({
        "live": live,
        "nodes_asked": stats.nodes_asked,
        "received": stats.received,
        "answered": stats.answered,
        "accepted": stats.accepted,
        "open": stats.open,
        "metadata_served": stats.metadata_served,
    });
    let draft = path.with_extension("new");
    std::fs::write(&draft, said.to_string())?;
    std::fs::rename(&draft, path)
}

const TELL_EVERY: Duration = Duration::from_millis(200);
