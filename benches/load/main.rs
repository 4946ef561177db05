//! Asks a DHT node on loopback as fast as it answers and prints, for each kind of query, how many
//! it answered rightly for each second of its CPU time.
//!
//! `cargo bench --bench load -- --to ADDR --pid PID --port OWN [--ask KINDS] [--seconds S]
//! [--rounds N] [--outstanding N] [--capture DIR] [--parrot]`
//!
//! 4,096 nodes, each on an address of its own, ask in turn; the node under test may ask them too
//! and put them into its table, which is full before anything is measured. One JSON line for each
//! measurement. `--capture` keeps an answer of each kind; `--parrot` is for a responder that says
//! always the same: then its answers are not matched with their queries.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench prints what it measured"
)]

mod asking;
mod check;
mod nodes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use check::Ask;

/// What is wished for.
pub struct Options {
    /// The node under test.
    pub to: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// The port of all our nodes.
    pub port: u16,
    /// Queries on their way at once.
    pub outstanding: usize,
    /// Answers always the same.
    pub parrot: bool,
    asks: Vec<Ask>,
    time: Duration,
    rounds: u32,
    capture: Option<PathBuf>,
}

fn main() {
    let options = Options::read();
    let mut load = asking::Load::new(&options);
    let began = Instant::now();
    if !options.parrot {
        load.meet();
        let full = load.fill();
        println!(
            r#"{{"full_buckets":{full},"of":{},"nodes":{},"seconds":{:.1}}}"#,
            nodes::DEPTHS,
            load.nodes(),
            began.elapsed().as_secs_f64()
        );
        if options.asks.iter().any(|ask| *ask != Ask::FindNode) {
            load.announce_all();
        }
        load.rest(SETTLE);
    }
    for round in 0..options.rounds {
        for ask in &options.asks {
            let before = cpu_seconds(options.pid);
            let run = load.run(*ask, options.time);
            let cpu = cpu_seconds(options.pid) - before;
            println!(
                r#"{{"ask":"{}","round":{round},"answered":{},"wrong":{},"lost":{},"seconds":{:.3},"cpu_seconds":{cpu:.2},"per_cpu_second":{:.0},"query_bytes":{},"reply_bytes":{}}}"#,
                ask.name(),
                run.answered,
                run.wrong,
                run.lost,
                run.took.as_secs_f64(),
                run.answered as f64 / cpu.max(0.01),
                run.query_bytes,
                run.reply_bytes,
            );
            if run.wrong > 0 {
                eprintln!("wrong, for example: {}", run.wrong_reply.escape_ascii());
            }
            if let Some(dir) = options.capture.as_ref().filter(|_| !run.reply.is_empty()) {
                std::fs::write(dir.join(ask.name()), &run.reply).unwrap();
            }
        }
    }
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            to: SocketAddr::from(([127, 0, 0, 1], 0)),
            pid: 0,
            port: 0,
            outstanding: 256,
            parrot: false,
            asks: Ask::ALL.to_vec(),
            time: Duration::from_secs(4),
            rounds: 1,
            capture: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().expect("every option but --parrot has a value");
            match arg.as_str() {
                "--to" => options.to = value().parse().unwrap(),
                "--pid" => options.pid = value().parse().unwrap(),
                "--port" => options.port = value().parse().unwrap(),
                "--outstanding" => options.outstanding = value().parse().unwrap(),
                "--seconds" => options.time = Duration::from_secs_f64(value().parse().unwrap()),
                "--rounds" => options.rounds = value().parse().unwrap(),
                "--capture" => options.capture = Some(value().into()),
                "--ask" => options.asks = value().split(',').map(|name| Ask::named(name).unwrap()).collect(),
                "--parrot" => options.parrot = true,
                "--bench" => {}
                other => panic!("unknown option {other}"),
            }
        }
        assert!(options.to.ip().is_loopback(), "only nodes on this machine are asked");
        options
    }
}

/// CPU time of all threads of a process, user and system, in ticks of 10 ms (proc(5)).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks() + ticks()) / TICKS_PER_SECOND
}

/// `USER_HZ`, the same on every Linux that is in use.
const TICKS_PER_SECOND: f64 = 100.0;
/// What the node under test does of its own accord after so many announces is mostly over then.
const SETTLE: Duration = Duration::from_secs(3);
