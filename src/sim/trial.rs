//! Runs a scenario to its end under the oracle's eyes, and makes a failing one smaller.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::event::HostId;
use super::faults::Fault;
use super::oracle::{Checked, Failure, Oracle, Rule, words_of};
use super::scenario::{Scenario, Stage, is_forbidden};
use crate::base::Instant;
use crate::engine::io::Command;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub scenario: Scenario,
    /// Events that happened.
    pub steps: u64,
    /// Torrents stored, on all disks together.
    pub stored: u64,
    /// As many as could be if everybody who crawls had everything that is shared and that its filter
    /// lets through.
    pub wanted: u64,
    /// Virtual time at the end.
    pub time: Duration,
    /// Of everything that happened.
    pub digest: [u8; 20],
    /// How often each rule had something to judge.
    pub checked: Checked,
    /// The first thing that was wrong.
    pub failure: Option<Failure>,
    /// The last events of the host at fault, if they were kept.
    pub tail: Vec<String>,
}

/// Runs a scenario. With `tail` the last events are kept in words.
pub fn run(scenario: &Scenario, tail: bool) -> Report {
    let mut stage = scenario.stage(Oracle::default());
    if tail {
        stage.world.keep_tail();
    }
    let panic = catch_unwind(AssertUnwindSafe(|| play(scenario, &mut stage))).err();
    let world = &stage.world;
    let failure = match panic {
        Some(panic) => Some(Failure {
            rule: Rule::Panic,
            host: world.latest(),
            at: world.now(),
            detail: words_of(&*panic),
        }),
        None => world.oracle().and_then(|oracle| oracle.failure().cloned()),
    };
    let tail = match &failure {
        Some(failure) if tail => world.tail_of(failure.host, TAIL),
        _ => Vec::new(),
    };
    Report {
        scenario: *scenario,
        steps: world.steps(),
        stored: stage.hosts.iter().map(|role| world.store_of(role.host).torrents.len() as u64).sum(),
        wanted: stage.wanted() as u64,
        time: world.now().since(START),
        digest: world.digest(),
        checked: world.oracle().map(|oracle| *oracle.checked()).unwrap_or_default(),
        failure,
        tail,
    }
}

/// A smaller scenario that breaks the same rule, and its run, with the last events.
pub fn shrink(report: &Report, mut goes_on: impl FnMut() -> bool) -> Report {
    let Some(failure) = &report.failure else { return report.clone() };
    let mut best = report.scenario;
    let mut try_out = |smaller: Scenario| {
        let same = goes_on() && run(&smaller, false).failure.is_some_and(|other| other.rule == failure.rule);
        same.then_some(smaller)
    };
    loop {
        let before = best;
        for fault in Fault::ALL.into_iter().filter(|fault| before.faults.has(*fault)) {
            let smaller = Scenario { faults: best.faults.without(fault), ..best };
            best = try_out(smaller).unwrap_or(best);
        }
        for engines in [best.engines / 4, best.engines / 2, best.engines * 3 / 4] {
            if engines >= 2 && engines < best.engines {
                best = try_out(Scenario { engines, ..best }).unwrap_or(best);
            }
        }
        let minutes = best.time.as_secs() / 60;
        for minutes in [minutes / 4, minutes / 2, minutes.saturating_sub(1)] {
            let time = Duration::from_secs(60 * minutes);
            if minutes > 0 && time < best.time {
                best = try_out(Scenario { time, ..best }).unwrap_or(best);
            }
        }
        if best == before {
            return run(&best, true);
        }
    }
}

fn play(scenario: &Scenario, stage: &mut Stage) {
    let end = START + scenario.time;
    while let Some((at, _)) = stage.plan.last()
        && START + *at < end
    {
        let at = START + *at;
        stage.world.run(at.since(stage.world.now()), |_| false);
        if stage.world.has_failed() {
            return;
        }
        if let Some((_, action)) = stage.plan.pop() {
            stage.act(action);
        }
    }
    stage.world.run(end.since(stage.world.now()), |_| false);
    if stage.world.has_failed() {
        return;
    }
    // Whoever is dead when a shortened run ends comes back for its end.
    stage.revive();
    if scenario.faults.are_light() && scenario.time >= FAIR {
        stage.expect_alive();
    }
    stage.expect_drained();
}

impl Stage {
    fn revive(&mut self) {
        for role in &self.hosts {
            self.world.disk_of(role.host).full = false;
            if self.world.is_down(role.host) {
                self.world.start(role.host);
            }
        }
    }

    /// How many torrents all crawlers together would keep.
    fn wanted(&self) -> usize {
        let all: BTreeSet<&[u8]> =
            self.hosts.iter().flat_map(|role| &role.shares).map(AsRef::as_ref).collect();
        let allowed = all.iter().filter(|info| !is_forbidden(info)).count();
        let crawlers = self.hosts.iter().filter(|role| role.crawls);
        crawlers.map(|role| if role.filters { allowed } else { all.len() }).sum()
    }

    /// Everybody knows others, and most torrents are where they should be.
    fn expect_alive(&mut self) {
        let now = self.world.now();
        let hosts: Vec<HostId> = self.hosts.iter().map(|role| role.host).collect();
        let others = hosts.len() - 1;
        for host in &hosts {
            let nodes = self.world.engine_of(*host).tallies().nodes_table;
            if nodes < others.min(TABLE_LEAST) {
                self.world.fail(Rule::Alive, *host, &format!("only {nodes} nodes in its table at {now:?}"));
            }
        }
        let crawlers: Vec<HostId> =
            self.hosts.iter().filter(|role| role.crawls).map(|role| role.host).collect();
        let stored: usize = crawlers.iter().map(|host| self.world.store_of(*host).torrents.len()).sum();
        let wanted = self.wanted();
        self.world.judge(Rule::Alive, stored * 100 >= wanted * STORED_PCT, || {
            format!("{stored} of {wanted} torrents stored by {} crawlers", crawlers.len())
        });
    }

    /// Everybody is told to stop, and then nothing is left.
    fn expect_drained(&mut self) {
        let hosts: Vec<HostId> = self.hosts.iter().map(|role| role.host).collect();
        self.world.dismiss_crowd();
        hosts.iter().for_each(|host| self.world.command(*host, Command::Stop));
        let all = |world: &mut super::World| hosts.iter().all(|host| world.stopped(*host));
        self.world.run(STOP_MAX, all);
        self.world.run(SETTLE_MAX, |world| world.events_left() == 0);
        for host in hosts {
            self.world.expect_end(host);
        }
        let left = self.world.events_left();
        self.world.judge(Rule::Drained, left == 0, || format!("{left} events are left in the world"));
    }
}

/// When a world begins.
const START: Instant = Instant::from_millis(1_000);
/// The slowest disk takes 15 s, and may have begun just before.
const STOP_MAX: Duration = Duration::from_secs(40);
/// What is on its way arrives, streams that were never opened are given up.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// Less than this is too short for everybody to have met.
const FAIR: Duration = Duration::from_secs(540);
/// One bucket's worth.
const TABLE_LEAST: usize = 8;
/// Of what could be stored; the worst of 300 seeds comes to 45, where streams often break. Who met
/// all others before the announces hears of torrents only by chance until the interval of ten
/// minutes is over; without faults everybody has everything after thirty (`tests/simulate.rs`).
const STORED_PCT: usize = 35;
/// Events that a failure shows.
const TAIL: usize = 40;
