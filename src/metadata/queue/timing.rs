//! How long to wait for peers, learnt from how long those take that do answer.

use std::time::Duration;

use super::super::fetch::{Step, Timeouts};

/// Estimates from the last answers, one per kind of wait.
#[derive(Clone, Debug)]
pub struct Timing {
    connect: Recent,
    reply: Recent,
}

impl Default for Timing {
    fn default() -> Self {
        Self { connect: Recent::new(CONNECT), reply: Recent::new(REPLY) }
    }
}

impl Timing {
    /// A peer took `took` for this step.
    pub fn observe(&mut self, step: Step, took: Duration) {
        match step {
            Step::Connect => self.connect.add(took),
            Step::Handshake | Step::Extended | Step::Pieces => self.reply.add(took),
        }
    }

    /// Twice what 19 of 20 need, within bounds: an answer that comes later is rarer than a free
    /// slot is useful.
    pub fn timeouts(&self) -> Timeouts {
        let (connect, reply) = (self.connect.limit(), self.reply.limit());
        Timeouts { connect, handshake: reply, extended: reply, piece: (reply * 2).min(REPLY.max) }
    }

    /// How long one peer has to itself before a second one of the same torrent is tried.
    pub fn stagger(&self) -> Duration {
        (self.connect.limit() / 4).clamp(STAGGER_MIN, STAGGER_MAX)
    }
}

#[derive(Clone, Debug)]
struct Recent {
    samples: [u32; SAMPLES],
    count: usize,
    limit: Duration,
    bounds: Bounds,
}

/// Of one kind of wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Before anything is known.
    start: Duration,
    min: Duration,
    max: Duration,
}

impl Recent {
    fn new(bounds: Bounds) -> Self {
        Self { samples: [0; SAMPLES], count: 0, limit: bounds.start, bounds }
    }

    fn add(&mut self, took: Duration) {
        self.samples[self.count % SAMPLES] = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.count += 1;
        if self.count.is_multiple_of(LEARN_EVERY) {
            let mut sorted = self.samples;
            let known = &mut sorted[..self.count.min(SAMPLES)];
            known.sort_unstable();
            let most = Duration::from_micros(u64::from(known[known.len() * 95 / 100]));
            self.limit = (2 * most).clamp(self.bounds.min, self.bounds.max);
        }
    }

    fn limit(&self) -> Duration {
        self.limit
    }
}

/// Below a second, one lost SYN (retransmitted after a second) would lose the peer. bitmagnet dials for
/// 3 s, magnetico's whole deadline is 5 s.
const CONNECT: Bounds =
    Bounds { start: Duration::from_secs(4), min: Duration::from_millis(1_500), max: Duration::from_secs(8) };
/// aria2 answers once a second, and stands still for four when it looks for peers. libtorrent waits for
/// a handshake for 10 s.
const REPLY: Bounds =
    Bounds { start: Duration::from_secs(8), min: Duration::from_secs(5), max: Duration::from_secs(10) };
const STAGGER_MIN: Duration = Duration::from_millis(300);
const STAGGER_MAX: Duration = Duration::from_secs(2);
const SAMPLES: usize = 128;
const LEARN_EVERY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_slow_answers_and_stay_in_bounds() {
        let mut timing = Timing::default();
        assert_eq!(timing.timeouts().connect, CONNECT.start);
        (0..128).for_each(|n| timing.observe(Step::Connect, Duration::from_millis(10 * n)));
        assert_eq!(timing.timeouts().connect, Duration::from_millis(2 * 1_210));
        assert_eq!(timing.timeouts().handshake, REPLY.start);
        (0..128).for_each(|_| timing.observe(Step::Handshake, Duration::from_micros(5)));
        (0..128).for_each(|_| timing.observe(Step::Connect, Duration::from_secs(100)));
        let timeouts = timing.timeouts();
        assert_eq!((timeouts.connect, timeouts.extended), (CONNECT.max, REPLY.min));
        assert_eq!((timeouts.piece, timing.stagger()), (REPLY.max, STAGGER_MAX));
    }
}
