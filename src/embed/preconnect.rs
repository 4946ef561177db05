//! Connections before they are needed: each call waits until its targets were connected to, or not.
//!
//! ```
//! use dht_hunter::embed::preconnect::{
//!     Options, Protocol, Target, preconnect_all, preconnect_host, preconnect_stats,
//! };
//! # // Two servers on loopback, so that the example needs nobody else.
//! # let api = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let metrics = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let (api_port, metrics_port) = (api.local_addr()?.port(), metrics.local_addr()?.port());
//!
//! // Preconnect to a single host
//! let report = preconnect_host(&Target::new("127.0.0.1", api_port, Protocol::Http))?;
//! assert!(report.is_good());
//!
//! // Preconnect to many
//! let targets = [
//!     Target::new("127.0.0.1", api_port, Protocol::Http),
//!     Target::new("127.0.0.1", metrics_port, Protocol::Tcp),
//! ];
//! let options = Options { parallel: true, ..Options::default() };
//! let reports = preconnect_all(&targets, &options)?;
//!
//! // Get statistics
//! let stats = preconnect_stats(&reports);
//! assert_eq!((stats.total, stats.connected, stats.failed), (2, 2, 0));
//! let latency = stats.latency.expect("two were connected to");
//! println!("average {:?}, min {:?}, max {:?}", latency.average, latency.min, latency.max);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::ops::ControlFlow;

use super::system;
use crate::dns::{self, ForwarderConfig, Strategy};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, PreconnectWish};
use crate::model::Recovered;
use crate::reactor::{
    Clock, Handle, KeepNothing, Observer, Reactor, ReactorConfig, Roots, StartError, listen,
};

pub use crate::preconnect::{
    Attempt, Cause, Failure, Fault, NameFault, Protocol, Report, Stage, Stats, Summary, Target, Timeouts,
    Turn,
};

/// How targets are connected to.
#[derive(Clone, Debug)]
pub struct Options {
    /// All at once; else each after the one before it.
    pub parallel: bool,
    /// How often each is connected to. What is remembered of the first time (addresses, TLS
    /// tickets) makes the others cheaper.
    pub rounds: u32,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// Whom to ask for names; nobody: whom the system asks.
    pub forwarders: Vec<ForwarderConfig>,
    /// Whose signature makes a server's certificate good.
    pub roots: Roots,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: true,
            rounds: 1,
            timeouts: Timeouts::default(),
            forwarders: Vec::new(),
            roots: Roots::System,
        }
    }
}

/// Why nothing could be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// The system has no poll or socket for us.
    Start(StartError),
    /// The system has no randomness to give.
    NoRandomness,
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(fault) => write!(f, "the system has no poll or socket left: {fault:?}"),
            Self::NoRandomness => f.write_str("the system has no randomness to give"),
        }
    }
}

impl std::error::Error for CannotStart {}

/// One target was connected to, or not.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The round, from 0.
    pub round: u32,
    /// The target's place in the list.
    pub index: usize,
    /// What was met.
    pub report: &'a Report,
}

/// Connects to one target and closes the connection.
pub fn preconnect_host(target: &Target) -> Result<Report, CannotStart> {
    let reports = preconnect_all(std::slice::from_ref(target), &Options::default())?;
    Ok(reports.into_iter().next().unwrap_or_else(|| Report::new(target.clone())))
}

/// Connects to all targets; the reports of the last round, in the targets' order.
pub fn preconnect_all(targets: &[Target], options: &Options) -> Result<Vec<Report>, CannotStart> {
    let mut reports: Vec<_> = targets.iter().cloned().map(Report::new).collect();
    preconnect_each(targets, options, &mut |step| {
        reports[step.index] = step.report.clone();
        ControlFlow::Continue(())
    })?;
    Ok(reports)
}

/// The same, and `on_step` is told of each target as soon as it is known what came of it. It can
/// break everything off.
pub fn preconnect_each(
    targets: &[Target],
    options: &Options,
    on_step: &mut dyn FnMut(Step<'_>) -> ControlFlow<()>,
) -> Result<(), CannotStart> {
    if targets.is_empty() {
        return Ok(());
    }
    let clock = Clock::start();
    let reactor = ReactorConfig { roots: options.roots.clone(), ..ReactorConfig::default() };
    let listening = listen(&reactor, clock).map_err(CannotStart::Start)?;
    let mut config = Config::one_off(Vec::new());
    let system = system::system(&options.forwarders);
    config.dns = dns::Config {
        hosts: system.hosts.clone(),
        search: system.search.clone(),
        ndots: system.ndots,
        strategy: Strategy::Strict,
        ..dns::Config::new(system.forwarders.clone())
    };
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| CannotStart::NoRandomness)?;
    let engine = Engine::new(config, Recovered::default(), seed, clock.now(), clock.unix());
    let archive = KeepNothing::new(listening.wake());
    let handle = listening.handle();
    let secure = targets.iter().any(|target| target.protocol.is_secure());
    let mut session =
        Session { targets, options, on_step, handle, round: 0, next: 0, open: 0, stopped: false };
    // This machine's addresses decide about the order of others'.
    session.send(Command::SetNames(Box::new(system)));
    session.send_next();
    let mut reactor = Reactor::new(listening, engine, archive, session);
    if secure {
        // Else what is measured first has that in it.
        reactor.prepare_tls();
    }
    reactor.run();
    Ok(())
}

/// What reports come to.
pub fn preconnect_stats(reports: &[Report]) -> Stats {
    Stats::of(reports)
}

/// Hands out targets, and stops the engine after the last.
struct Session<'a> {
    targets: &'a [Target],
    options: &'a Options,
    on_step: &'a mut dyn FnMut(Step<'_>) -> ControlFlow<()>,
    handle: Handle,
    round: u32,
    next: usize,
    open: usize,
    stopped: bool,
}

impl Session<'_> {
    fn send_next(&mut self) {
        let at_once = if self.options.parallel { UNDER_WAY_MAX } else { 1 };
        if self.next == self.targets.len() && self.open == 0 && self.round + 1 < self.options.rounds {
            (self.round, self.next) = (self.round + 1, 0);
        }
        while !self.stopped && self.open < at_once && self.next < self.targets.len() {
            let target = self.targets[self.next].clone();
            let wish = PreconnectWish { target, timeouts: self.options.timeouts, park: false };
            self.send(Command::Preconnect(CommandId(self.next as u64), Box::new(wish)));
            self.next += 1;
            self.open += 1;
        }
        if self.open == 0 {
            self.stop();
        }
    }

    fn send(&mut self, command: Command) {
        // There is always room: fewer than the channel holds are under way, and this thread is the
        // one that takes them out.
        let sent = self.handle.send(command);
        if let Err(fault) = sent {
            log::error!("a target is left out: {fault:?}");
            self.stop();
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) && self.handle.send(Command::Stop).is_err() {
            log::debug!("the engine stops already");
        }
    }
}

impl Observer<Engine> for Session<'_> {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        let index = command.0 as usize;
        match answer {
            Answer::Preconnected(report, _) if !self.stopped => {
                let step = Step { round: self.round, index, report: &report };
                if (self.on_step)(step).is_break() {
                    self.stop();
                }
            }
            Answer::Done { .. } => {
                self.open -= 1;
                if !self.stopped {
                    self.send_next();
                }
            }
            _ => {}
        }
    }
}

/// Below what the engine's channel of commands holds.
const UNDER_WAY_MAX: usize = 1_000;
