//! How large the network is, and how much of it the walk has met: lookups of random places.
//!
//! The eight nodes found closest to a random place are a sample that owes nothing to the walk. The
//! share of them that the walk had met before is its coverage (capture and recapture), and how far
//! away they are tells how densely the keyspace is populated. The first is exact where much is
//! known, the second where little is; they are weighed by their variances.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::Instant;

/// What is believed about the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Live nodes.
    pub nodes: f64,
    /// The share of them that has answered the walk, 0 to 1.
    pub coverage: f64,
    /// The standard error of that share.
    pub error: f64,
}

/// The latest samples.
#[derive(Debug, Default)]
pub(super) struct Census {
    samples: VecDeque<Sample>,
    /// When the next lookup may begin.
    due: Instant,
    open: bool,
    /// Queries sent for it so far.
    pub(super) sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    found: u32,
    known: u32,
    /// Share of the keyspace that those found take up.
    span: f64,
    /// Nodes that the walk had met when the lookup began.
    verified: f64,
}

impl Census {
    /// Whether a lookup is to begin. `sent` are the packets of all kinds so far: a share of them may
    /// be the census's, besides `free` ones.
    pub(super) fn is_due(&self, now: Instant, sent: u64, free: u64) -> bool {
        !self.open && self.due <= now && self.sent <= free + sent / SHARE
    }

    /// When to look again, unless a lookup is under way.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.open).then_some(self.due)
    }

    pub(super) fn begin(&mut self) {
        self.open = true;
    }

    /// Puts off the next look.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + PAUSE_HELD;
    }

    /// A lookup is over; `neighbourhood` is what [`super::lookup::Lookup::neighbourhood`] says.
    pub(super) fn end(&mut self, now: Instant, neighbourhood: Option<(u32, u32, f64)>, verified: usize) {
        self.open = false;
        self.due = now + if self.samples.len() < SAMPLES_MAX { PAUSE } else { PAUSE_LATER };
        let Some((found, known, span)) = neighbourhood else { return };
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { found, known, span, verified: verified as f64 });
    }

    /// The present estimate, with `verified` nodes met by now.
    pub(super) fn estimate(&self, verified: usize) -> Option<Estimate> {
        let verified = verified as f64;
        let sum = |of: fn(&Sample) -> f64| self.samples.iter().map(of).sum::<f64>();
        let (found, known) = (sum(|it| f64::from(it.found)), sum(|it| f64::from(it.known)));
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        // The k-th nearest of n points lies k/n away on average; minus one makes it unbiased.
        let by_span = (found - 1.0) / sum(|it| it.span).max(f64::MIN_POSITIVE);
        // No more can be learnt from distances than there are nodes.
        let span_variance = 1.0 / found.min(by_span).max(1.0);
        let (nodes, variance) = if known > 0.0 {
            let by_known = sum(|it| f64::from(it.found) * it.verified) / known;
            // Smoothed, or a sample without a stranger would claim to be sure.
            let share = (known + 1.0) / (found + 2.0);
            let known_variance = (1.0 - share) / known;
            let weight = span_variance / (span_variance + known_variance);
            (by_known * weight + by_span * (1.0 - weight), known_variance * weight)
        } else {
            (by_span, span_variance)
        };
        let nodes = nodes.max(verified).max(1.0);
        let coverage = verified / nodes;
        Some(Estimate { nodes, coverage, error: coverage * variance.sqrt() })
    }
}

/// The estimate for both families together.
pub(super) fn sum(families: impl Iterator<Item = Estimate>) -> Option<Estimate> {
    let add = |a: Estimate, b: Estimate| {
        let nodes = a.nodes + b.nodes;
        let (share_a, share_b) = (a.nodes / nodes, b.nodes / nodes);
        let coverage = a.coverage * share_a + b.coverage * share_b;
        Estimate { nodes, coverage, error: (a.error * share_a).hypot(b.error * share_b) }
    };
    families.reduce(add)
}

/// Enough that a share of nine in ten is known to one in a hundred.
const SAMPLES_MAX: usize = 192;
const SAMPLES_MIN: usize = 4;
/// Between two lookups while the samples are few, and later.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_LATER: Duration = Duration::from_secs(10);
/// Until packets may be spent again, or a node is known.
const PAUSE_HELD: Duration = Duration::from_secs(1);
/// One packet in so many may be the census's.
const SHARE: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Id, Rng};

    /// Samples a network of `nodes` random ids while the first of them, a growing number, are known.
    fn error_of(nodes: usize, known: impl Fn(usize) -> usize, rng: &mut Rng) -> (f64, f64) {
        let ids: Vec<u64> = (0..nodes).map(|_| Id::random(rng).prefix64()).collect();
        let mut census = Census::default();
        for nth in 0..SAMPLES_MAX {
            let target = Id::random(rng).prefix64();
            let mut near: Vec<(u64, usize)> =
                ids.iter().enumerate().map(|(at, id)| (id ^ target, at)).collect();
            near.select_nth_unstable(8);
            near.truncate(8);
            let met = known(nth);
            let hits = near.iter().filter(|(_, at)| *at < met).count() as u32;
            let span = near.iter().map(|(distance, _)| *distance).max().unwrap() as f64 / 2f64.powi(64);
            census.begin();
            census.end(Instant(0), Some((8, hits, span)), met);
        }
        let verified = known(SAMPLES_MAX);
        let estimate = census.estimate(verified).unwrap();
        (estimate.coverage - verified as f64 / nodes as f64, estimate.error)
    }

    #[test]
    fn coverage_is_within_three_points_at_any_size_and_any_share() {
        let mut rng = Rng::seeded(7);
        for (nodes, rounds) in [(300, 40), (5_000, 20), (50_000, 5)] {
            for share in [2, 20, 50, 75, 90, 97, 100] {
                let (mut beyond, mut within_two_errors) = (0, 0);
                for _ in 0..rounds {
                    let (off, error) = error_of(nodes, |_| nodes * share / 100, &mut rng);
                    beyond += usize::from(off.abs() > 0.03);
                    within_two_errors += usize::from(off.abs() <= 2.0 * error + 0.005);
                }
                assert!(beyond * 20 <= rounds, "{nodes} nodes, {share} %: {beyond} of {rounds}");
                assert!(
                    within_two_errors * 10 >= rounds * 8,
                    "{nodes}, {share} %: {within_two_errors} of {rounds}"
                );
            }
        }
    }

    #[test]
    fn a_share_that_grows_meanwhile_is_told_as_it_is_now() {
        let mut rng = Rng::seeded(8);
        for _ in 0..10 {
            let (off, _) = error_of(5_000, |nth| (nth * 60).min(4_500), &mut rng);
            assert!(off.abs() <= 0.03, "{off}");
        }
    }

    #[test]
    fn it_keeps_to_its_share_of_the_packets() {
        let mut census = Census::default();
        assert!(census.is_due(Instant(0), 0, 100));
        census.sent = 101;
        assert!(!census.is_due(Instant(0), 5, 100) && census.is_due(Instant(0), 6, 100));
        census.begin();
        assert!(!census.is_due(Instant(0), 1_000, 100) && census.next_deadline().is_none());
        census.end(Instant(0), None, 5);
        assert!(census.estimate(5).is_none() && census.next_deadline() == Some(Instant(0) + PAUSE));
    }
}
