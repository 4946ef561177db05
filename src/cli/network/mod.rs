//! `network`: targets are connected to, measured and shown.

pub mod args;
mod show;
mod targets;
mod why;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::network_info;
use super::print::Out;
use crate::embed::preconnect::{CannotStart, Options, Step, preconnect_each};
use crate::preconnect::{Report, Stats, Target, Timeouts};
use crate::reactor::network::network_info;

use args::{How, NetworkCommand};
pub use targets::{of_run as targets_of_run, try_of_run as try_targets_of_run};

/// Does what the words say.
pub fn run(command: &NetworkCommand, json: bool) -> Result<Outcome, Failure> {
    match command {
        NetworkCommand::Preconnect(args) => {
            connect(targets::of(&args.how.settings)?, &args.how, Shape::Rows, json)
        }
        NetworkCommand::Warmup(args) => {
            if args.parallel.is_some() && args.how.sequential {
                return Err(Failure::usage("`parallel` and --sequential exclude each other; leave one out"));
            }
            connect(targets::of(&args.how.settings)?, &args.how, Shape::Pairs, json)
        }
        NetworkCommand::Status(args) => status(&args.how, json),
        NetworkCommand::Test(args) => {
            let target = targets::one(&args.host, &args.port, &args.protocol)?;
            connect(vec![target], &args.how, Shape::Single, json)
        }
        NetworkCommand::Nat => Err(Failure::not_built("network nat")),
    }
}

/// How the result is shown to people.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A row for each target.
    Rows,
    /// Cold beside warm.
    Pairs,
    /// One target, in full.
    Single,
}

/// What this machine has of a network, and which targets can be reached.
fn status(how: &How, as_json: bool) -> Result<Outcome, Failure> {
    let targets = targets::of(&how.settings)?;
    let info = network_info();
    let mut out = Out::new();
    if as_json {
        out.json(&json!({"network": network_info::json(&info)}))?;
    } else {
        network_info::lines(&info).iter().try_for_each(|line| out.line(line))?;
        out.line("")?;
    }
    out.flush()?;
    // Standard output is locked by whoever writes to it.
    drop(out);
    connect(targets, how, Shape::Rows, as_json)
}

/// Connects to all targets, in as many rounds as are wanted, and shows what came of it.
fn connect(targets: Vec<Target>, how: &How, shape: Shape, as_json: bool) -> Result<Outcome, Failure> {
    let rounds = how.repeat.unwrap_or(if shape == Shape::Pairs { 2 } else { 1 });
    if shape == Shape::Pairs && rounds < 2 {
        return Err(Failure::usage("a warm-up takes two rounds at least; give --repeat 2 or more"));
    }
    let settings = how.settings.settings()?;
    let options = Options {
        parallel: !how.sequential,
        rounds,
        timeouts: timeouts(how),
        forwarders: settings.forwarders,
        ..Options::default()
    };
    let mut teller = Teller::new(&targets, rounds, how.verbose || shape == Shape::Single, as_json);
    preconnect_each(&targets, &options, &mut |step| teller.told(step)).map_err(start_failure)?;
    teller.end(shape)
}

/// `off` is no limit.
fn timeouts(how: &How) -> Timeouts {
    let stage = |time: Duration| if time.is_zero() { NO_LIMIT } else { time };
    Timeouts {
        dns: stage(how.dns_timeout),
        tcp: stage(how.tcp_timeout),
        tls: stage(how.tls_timeout),
        ticket: how.ticket_timeout,
    }
}

fn start_failure(fault: CannotStart) -> Failure {
    match fault {
        CannotStart::Start(fault) => super::launch::start_failure(fault, &[]),
        CannotStart::NoRandomness => {
            Failure::failed("the system has no randomness to give; try again a little later")
        }
    }
}

/// Takes reports in as they come, and shows them.
struct Teller {
    out: Out,
    json: bool,
    verbose: bool,
    bar: Option<ProgressBar>,
    /// Every report of every round, by round and target.
    reports: Vec<Vec<Report>>,
    failure: Option<Failure>,
}

impl Teller {
    fn new(targets: &[Target], rounds: u32, verbose: bool, json: bool) -> Self {
        let all = targets.len() as u64 * u64::from(rounds);
        let bar = (all > 1 && !verbose && !json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{pos} of {len} connections {wide_bar} {elapsed}");
            ProgressBar::new(all).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let none: Vec<Report> = targets.iter().cloned().map(Report::new).collect();
        Self { out: Out::new(), json, verbose, bar, reports: vec![none; 1], failure: None }
    }

    fn told(&mut self, step: Step<'_>) -> ControlFlow<()> {
        let round = step.round as usize;
        if round >= self.reports.len() {
            let blank = self.reports[0].iter().map(|report| Report::new(report.target.clone())).collect();
            self.reports.push(blank);
        }
        self.reports[round][step.index] = step.report.clone();
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        match self.show(step) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn show(&mut self, step: Step<'_>) -> Result<(), Failure> {
        if self.json {
            self.out.json(&show::json(step))?;
        } else if self.verbose {
            show::details(step.report).iter().try_for_each(|line| self.out.line(line))?;
        } else {
            return Ok(());
        }
        self.out.flush()
    }

    fn end(mut self, shape: Shape) -> Result<Outcome, Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let stats = Stats::of(self.reports.iter().flatten());
        if self.json {
            self.out.json(&json!({"summary": show::stats_json(&stats)}))?;
        } else {
            self.tables(shape)?;
            if stats.total > 1 {
                self.out.line(&show::last_line(&stats))?;
            }
        }
        self.out.flush()?;
        let last = self.reports.last().map(Vec::as_slice).unwrap_or_default();
        match last {
            [report] if shape == Shape::Single => single(report),
            reports => Ok(Outcome::found(reports.iter().any(Report::is_good))),
        }
    }

    fn tables(&mut self, shape: Shape) -> Result<(), Failure> {
        let (first, last) = (&self.reports[0], &self.reports[self.reports.len() - 1]);
        let mut lines = match shape {
            Shape::Rows => show::rows(last),
            Shape::Pairs => show::pairs(first, last),
            Shape::Single => Vec::new(),
        };
        if self.reports.len() > 1 && (shape != Shape::Pairs || self.reports.len() > 2) {
            let each = |index: usize| {
                let of_one = self.reports.iter().map(|round| &round[index]);
                (first[index].target.to_string(), Stats::of(of_one))
            };
            let all: Vec<_> = (0..first.len()).map(each).collect();
            lines.extend(show::repeated(&all));
        }
        lines.iter().try_for_each(|line| self.out.line(line))
    }
}

/// One target that was tested: a failure is the command's.
fn single(report: &Report) -> Result<Outcome, Failure> {
    let Some(failure) = report.failure else { return Ok(Outcome::Done) };
    let (cause, advice) = why::why(report, failure);
    let stage = failure.stage.name();
    Err(Failure::failed(format!("{} failed at {stage}: {cause}; {advice}", report.target)))
}

/// Longer than anybody waits.
const NO_LIMIT: Duration = Duration::from_secs(86_400);
