//! Rates as an observer outside measures them.

use dht_hunter::base::Instant;

/// Holds whoever sends to a rate and a burst, over every window.
pub struct Window {
    rate: u64,
    burst: u64,
    /// What was sent beyond the rate, times a billion.
    level: u128,
    at: Instant,
}

impl Window {
    /// So many a second, 0 for no limit, and so many at once.
    pub fn new(rate: u64, burst: u64) -> Self {
        Self { rate, burst, level: 0, at: Instant(0) }
    }

    /// One was sent.
    pub fn sent(&mut self, now: Instant) {
        if self.rate == 0 {
            return;
        }
        let passed = now.since(self.at).as_nanos() * u128::from(self.rate);
        self.level = self.level.saturating_sub(passed) + NANOS;
        self.at = now;
        assert!(self.level <= u128::from(self.burst) * NANOS, "more than {} a second", self.rate);
    }
}

const NANOS: u128 = 1_000_000_000;
