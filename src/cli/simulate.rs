//! `simulate`: whole networks of engines in virtual time, a row a seed, until one of them breaks a
//! rule; that one is made as small as it gets and told.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::Simulate;
use super::failure::{Failure, Outcome};
use super::print::Out;
use super::units::human_count;
use crate::sim::{Failure as Broken, Fault, Faults, Report, Rule, Scenario, run as run_scenario, shrink};

/// Runs the seeds on all cores and prints them in order; fails with the first that breaks a rule.
pub fn run(args: &Simulate, json: bool) -> Result<Outcome, Failure> {
    let plan = Plan::of(args)?;
    // An engine that panics is a finding, and told as one.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = std::thread::scope(|scope| {
        let (sender, rows) = mpsc::channel();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
        for _ in 0..cores.min(plan.seeds) {
            let (sender, plan) = (sender.clone(), &plan);
            scope.spawn(move || plan.work(|row| sender.send(row).is_ok()));
        }
        drop(sender);
        let outcome = plan.print(&rows, json);
        plan.over.store(true, Ordering::Relaxed);
        outcome
    });
    std::panic::set_hook(before);
    outcome
}

/// What is to be run, and how far that has come.
struct Plan {
    first: u64,
    seeds: u64,
    engines: usize,
    time: Duration,
    loss_pct: u8,
    faults: Option<Faults>,
    next: AtomicU64,
    over: AtomicBool,
}

/// One seed's run and how long it took.
struct Row {
    report: Report,
    wall: Duration,
}

impl Plan {
    fn of(args: &Simulate) -> Result<Self, Failure> {
        if !(2..=ENGINES_MAX).contains(&args.engines) {
            let sentence = format!("--engines {} cannot be; give 2 to {ENGINES_MAX}", args.engines);
            return Err(Failure::usage(sentence));
        }
        if args.minutes == 0 || args.minutes > MINUTES_MAX || args.seeds == 0 {
            return Err(Failure::usage(format!(
                "nothing to run; give --seeds from 1 and --minutes from 1 to {MINUTES_MAX}"
            )));
        }
        Ok(Self {
            first: args.seed,
            seeds: args.seeds,
            engines: usize::try_from(args.engines).unwrap_or(2),
            time: Duration::from_secs(60 * args.minutes),
            loss_pct: (args.loss * 100.0).round() as u8,
            faults: args.faults.as_deref().map(parse_faults).transpose()?,
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let drawn = Scenario::drawn(seed, self.engines, self.time);
        Scenario { loss_pct: self.loss_pct, faults: self.faults.unwrap_or(drawn.faults), ..drawn }
    }

    /// Runs one seed after the other until there are none left, or nobody wants them.
    fn work(&self, mut done: impl FnMut(Row) -> bool) {
        while !self.over.load(Ordering::Relaxed) {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.seeds {
                return;
            }
            let started = Instant::now();
            let report = run_scenario(&self.scenario(self.first.wrapping_add(nth)), false);
            if !done(Row { report, wall: started.elapsed() }) {
                return;
            }
        }
    }

    fn print(&self, rows: &Receiver<Row>, json: bool) -> Result<Outcome, Failure> {
        let mut out = Out::new();
        let mut early = BTreeMap::new();
        if !json {
            out.line(HEAD)?;
            out.flush()?;
        }
        for nth in 0..self.seeds {
            let seed = self.first.wrapping_add(nth);
            while !early.contains_key(&seed) {
                let row =
                    rows.recv().map_err(|_| Failure::failed("the simulator itself failed; report this"))?;
                early.insert(row.report.scenario.seed, row);
            }
            let Some(row) = early.remove(&seed) else { continue };
            let failed = row.report.failure.is_some();
            if failed {
                self.over.store(true, Ordering::Relaxed);
            }
            if !json {
                out.line(&text_row(&row))?;
                row.report.failure.iter().flat_map(sentences).try_for_each(|line| out.line(&line))?;
                out.flush()?;
            }
            let small = failed.then(|| shrink_for_a_while(&row.report));
            if json {
                out.json(&json_row(&row, small.as_ref()))?;
            } else {
                small.iter().flat_map(story).try_for_each(|line| out.line(&line))?;
            }
            out.flush()?;
            if let Some(failure) = &row.report.failure {
                let rule = failure.rule.name();
                return Err(Failure::failed(format!(
                    "seed {seed} broke the rule \"{rule}\"; run `{}` to see it again",
                    command_of(small.as_ref().unwrap_or(&row.report))
                )));
            }
        }
        Ok(Outcome::Done)
    }
}

fn parse_faults(list: &str) -> Result<Faults, Failure> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    names.into_iter().try_fold(Faults::NONE, |all, name| {
        let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        let fault = fault.ok_or_else(|| {
            let known: Vec<_> = Fault::ALL.into_iter().map(Fault::name).collect();
            Failure::usage(format!("no fault is named {name}; there are {}", known.join(", ")))
        })?;
        Ok(all.with(fault))
    })
}

fn shrink_for_a_while(report: &Report) -> Report {
    let started = Instant::now();
    shrink(report, || started.elapsed() < SHRINK_MAX)
}

/// The command that runs a scenario again.
fn command_of(report: &Report) -> String {
    let Scenario { seed, engines, time, faults, loss_pct } = report.scenario;
    let minutes = time.as_secs() / 60;
    let loss = if loss_pct > 0 { format!(" --loss {loss_pct}") } else { String::new() };
    format!(
        "dht-hunter simulate --seed {seed} --engines {engines} --minutes {minutes}{loss} --faults {faults}"
    )
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_row(row: &Row) -> String {
    let Row { report, wall } = row;
    format!(
        "{:>7}  {:>9}  {:>5} of {:>5}  {:>7.1}  {:>7}  {}  {}",
        report.scenario.seed,
        human_count(report.steps),
        report.stored,
        report.wanted,
        report.time.as_secs_f64(),
        wall.as_millis(),
        &hex(&report.digest)[..16],
        report.scenario.faults,
    )
}

/// What is told of a failure: the rule, who broke it and how.
fn sentences(failure: &Broken) -> [String; 3] {
    let host = failure.host.map_or_else(|| "the world".to_owned(), |host| format!("host {}", host.index()));
    let seconds = failure.at.0 as f64 / 1e9;
    let rule = format!("rule: {} ({})", failure.rule.sentence(), failure.rule.name());
    [String::new(), rule, format!("{host} at {seconds:.3} s: {}", failure.detail)]
}

/// The smallest run that shows it, and its last events.
fn story(small: &Report) -> Vec<String> {
    let Some(failure) = &small.failure else {
        return vec!["it does not fail a second time: report this".to_owned()];
    };
    let mut lines = vec![String::new(), format!("the smallest run that shows it: {}", command_of(small))];
    lines.extend(sentences(failure).into_iter().skip(2));
    lines.extend(small.tail.iter().cloned());
    lines
}

fn json_row(row: &Row, small: Option<&Report>) -> Value {
    let Row { report, wall } = row;
    let checked: serde_json::Map<_, _> =
        Rule::ALL.iter().zip(report.checked).map(|(rule, n)| (rule.name().to_owned(), n.into())).collect();
    let mut value = json!({
        "seed": report.scenario.seed,
        "faults": report.scenario.faults.iter().map(Fault::name).collect::<Vec<_>>(),
        "steps": report.steps,
        "stored": report.stored,
        "wanted": report.wanted,
        "virtual_ms": report.time.as_millis() as u64,
        "wall_ms": wall.as_millis() as u64,
        "digest": hex(&report.digest),
        "checked": checked,
        "failure": Value::Null,
    });
    if let (Some(small), Some(failure)) = (small, &report.failure) {
        value["failure"] = json!({
            "rule": failure.rule.name(),
            "sentence": failure.rule.sentence(),
            "host": failure.host.map(|host| host.index()),
            "at_ms": failure.at.0 / 1_000_000,
            "detail": failure.detail,
            "smallest": command_of(small),
            "tail": small.tail,
        });
    }
    value
}

const HEAD: &str = "   seed      steps  stored         virtual s  wall ms  digest            faults";
/// Addresses of hosts are made of two bytes.
const ENGINES_MAX: u64 = 250;
/// A day.
const MINUTES_MAX: u64 = 1_440;
/// A failure is made smaller for so long at most.
const SHRINK_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_run_gives_the_same_run() {
        let scenario = Scenario {
            seed: 7,
            engines: 5,
            time: Duration::from_secs(120),
            faults: parse_faults("crash,loss").unwrap(),
            loss_pct: 3,
        };
        let report = run_scenario(&scenario, false);
        let line = command_of(&report);
        assert!(line.ends_with("--seed 7 --engines 5 --minutes 2 --loss 3 --faults crash,loss"), "{line}");
        assert_eq!(parse_faults("none").unwrap(), Faults::NONE);
        assert!(parse_faults("rain").unwrap_err().to_string().contains("slow-disk"));
    }
}
