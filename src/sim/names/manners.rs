//! How one server behaves, drawn from the seed: what it knows, and what goes wrong with it.

use std::time::Duration;

use crate::base::{Instant, Rng};
use crate::sim::faults::{Fault, Faults};

/// How one server behaves.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Manners {
    /// It knows EDNS (RFC 6891).
    pub(in crate::sim) edns: bool,
    /// It hands out cookies (RFC 7873).
    pub(in crate::sim) cookies: bool,
    /// It repeats a name in the case it came in.
    pub(in crate::sim) keeps_case: bool,
    /// It follows aliases to their end.
    pub(in crate::sim) follows: bool,
    /// Questions answered with nonsense, in a hundred.
    pub(in crate::sim) lies_pct: u8,
    /// Questions over which a stranger races in forged answers, in a hundred.
    pub(in crate::sim) forged_pct: u8,
    /// Questions answered late or never, in a hundred.
    pub(in crate::sim) stalls_pct: u8,
    /// Answers cut over UDP, in a hundred.
    pub(in crate::sim) cut_pct: u8,
    /// Questions over TCP that end badly, in a hundred.
    pub(in crate::sim) breaks_pct: u8,
    /// A connection to it while it is down is refused, not unanswered.
    pub(in crate::sim) refuses: bool,
    /// When it does not answer at all.
    pub(in crate::sim) down: Vec<(Instant, Instant)>,
}

impl Manners {
    /// Those of server `n`.
    pub(in crate::sim) fn drawn(n: usize, seed: u64, faults: Faults) -> Self {
        let honest = n < super::HONEST;
        let mut rng = Rng::seeded(seed.wrapping_mul(SPREAD) ^ n as u64);
        let mut knows = |percent: u8| rng.percent(percent);
        let (edns, cookies, keeps_case) = (knows(85), knows(50), knows(85));
        let (follows, refuses) = (knows(60), knows(50));
        let bad = |fault: Fault, most: u64| {
            let on = faults.has(fault) && (!honest || fault == Fault::ForgedNames);
            if on { 1 + fault.rng(seed.wrapping_add(n as u64)).below(most) as u8 } else { 0 }
        };
        let down = if faults.has(Fault::FlappingNames) { outages(n, seed, honest) } else { Vec::new() };
        Self {
            edns,
            cookies,
            keeps_case,
            follows,
            lies_pct: bad(Fault::LyingNames, 60),
            forged_pct: bad(Fault::ForgedNames, 80),
            stalls_pct: bad(Fault::StallingNames, 60),
            cut_pct: bad(Fault::CutNames, 90),
            breaks_pct: bad(Fault::CutNames, 50),
            refuses,
            down,
        }
    }

    /// It does not answer now.
    pub(in crate::sim) fn is_down(&self, now: Instant) -> bool {
        self.down.iter().any(|(from, until)| *from <= now && now < *until)
    }
}

/// Up and down all the time; half of the dishonest ones for minutes.
fn outages(n: usize, seed: u64, honest: bool) -> Vec<(Instant, Instant)> {
    if honest {
        return Vec::new();
    }
    let mut rng = Fault::FlappingNames.rng(seed.wrapping_add(n as u64));
    let long = if rng.percent(50) { 200 } else { 20 };
    let mut at = Instant::from_millis(1_000);
    let mut down = Vec::new();
    while down.len() < OUTAGES_MAX {
        let from = at + Duration::from_secs(1 + rng.below(60));
        at = from + Duration::from_secs(1 + rng.below(long));
        down.push((from, at));
    }
    down
}

/// More than fit into most runs; afterwards it stays up.
const OUTAGES_MAX: usize = 60;
/// Odd, so that no two seeds share what they draw.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
