//! Fetches metadata from peers that are known beforehand, and nothing else: by the engine, or by
//! the least that can fetch at all.
//!
//! `cargo bench --bench fetch -- engine|bare --hashes FILE --port PORT --open N`
//!
//! PORT is where the peers of `dht-hunter swarm` listen, on every address; each torrent is asked
//! for at one of them. One JSON line: how many were fetched, and the CPU time of this process.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints what it measured")]

mod bare;
mod engine;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use dht_hunter::base::InfoHash;

/// What is wished for.
pub struct Wish {
    /// Each torrent and where it is.
    pub torrents: Vec<(InfoHash, SocketAddr)>,
    /// Connections at once.
    pub open: usize,
}

fn main() {
    let (mut how, mut hashes, mut port, mut open) = (String::new(), String::new(), 0, 50);
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("every option has a value");
        match arg.as_str() {
            "--hashes" => hashes = std::fs::read_to_string(value()).unwrap(),
            "--port" => port = value().parse().unwrap(),
            "--open" => open = value().parse().unwrap(),
            _ => how = arg,
        }
    }
    let hashes = hashes.lines().map(|line| InfoHash::from_hex(line).unwrap());
    let torrents = hashes.zip(0..).map(|(hash, at)| (hash, peer(at, port))).collect();
    let wish = Wish { torrents, open };
    let (began, before) = (Instant::now(), cpu_seconds());
    let fetched = match how.as_str() {
        "engine" => engine::fetch(&wish),
        "bare" => bare::fetch(&wish),
        other => panic!("`{other}` is neither engine nor bare"),
    };
    let cpu = cpu_seconds() - before;
    println!(
        r#"{{"how":"{how}","open":{open},"wanted":{},"fetched":{fetched},"seconds":{:.3},"cpu_seconds":{cpu:.2},"per_cpu_second":{:.0}}}"#,
        wish.torrents.len(),
        began.elapsed().as_secs_f64(),
        fetched as f64 / cpu.max(0.01),
    );
}

/// As in the swarm, several torrents share a peer.
fn peer(torrent: u32, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(u32::from(FIRST_PEER) + torrent / TORRENTS_PER_PEER).into(), port)
}

/// CPU time of all threads of this process, user and system, in ticks of 10 ms (proc(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks() + ticks()) / TICKS_PER_SECOND
}

const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(127, 128, 0, 1);
const TORRENTS_PER_PEER: u32 = 3;
/// `USER_HZ`, the same on every Linux that is in use.
const TICKS_PER_SECOND: f64 = 100.0;
