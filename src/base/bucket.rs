//! Token buckets: rates that hold over every window, changeable while running.

use std::time::Duration;

use super::flows::Flows;
use super::rng::Rng;
use super::time::Instant;

/// `rate` tokens a second and at most `burst` at once. A rate of zero means no limit.
///
/// Fractions are carried, so that a slow rate polled often is still exact.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: u64,
    burst: u64,
    /// Tokens times [`NANOS`]; at most `burst * NANOS`.
    level: u128,
    filled_at: Instant,
}

/// The buckets that the whole engine shares; each spends where a thing is sent.
#[derive(Clone)]
pub struct Buckets {
    /// Datagrams sent.
    pub packets_out: TokenBucket,
    /// Bytes sent over UDP and TCP.
    pub bytes_out: TokenBucket,
    /// Bytes received over TCP (UDP cannot be held back, only asked for less).
    pub bytes_in: TokenBucket,
    /// Entries in the router's connection table.
    pub flows: Flows,
}

impl TokenBucket {
    /// A full bucket. `rate` is tokens per second, 0 for no limit; `burst` is at least 1.
    pub fn new(rate: u64, burst: u64) -> Self {
        let burst = burst.max(1);
        Self { rate, burst, level: u128::from(burst) * NANOS, filled_at: Instant(0) }
    }

    /// Never refuses.
    pub fn unlimited() -> Self {
        Self::new(0, 1)
    }

    /// Changes the rate from `now` on; what had been saved up stays, within the new burst.
    pub fn set_rate(&mut self, now: Instant, rate: u64, burst: u64) {
        self.fill(now);
        self.rate = rate;
        self.burst = burst.max(1);
        self.level = self.level.min(u128::from(self.burst) * NANOS);
    }

    /// Tokens per second, 0 if unlimited.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// The most at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Takes `tokens` if they are there.
    pub fn take(&mut self, now: Instant, tokens: u64) -> bool {
        if self.rate == 0 {
            return true;
        }
        self.fill(now);
        let cost = u128::from(tokens.min(self.burst)) * NANOS;
        if cost > self.level {
            return false;
        }
        self.level -= cost;
        true
    }

    /// Takes as many of `tokens` as are there; how many that was.
    pub fn take_up_to(&mut self, now: Instant, tokens: u64) -> u64 {
        if self.rate == 0 {
            return tokens;
        }
        self.fill(now);
        let whole = u64::try_from(self.level / NANOS).unwrap_or(u64::MAX).min(tokens);
        self.level -= u128::from(whole) * NANOS;
        whole
    }

    /// How many tokens could be taken at `now`.
    pub fn available(&self, now: Instant) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        u64::try_from(self.level_at(now) / NANOS).unwrap_or(u64::MAX)
    }

    /// When `tokens` will be there if nobody else takes any; `now` if they are there already.
    pub fn ready_at(&self, now: Instant, tokens: u64) -> Instant {
        if self.rate == 0 {
            return now;
        }
        let cost = u128::from(tokens.min(self.burst)) * NANOS;
        let level = self.level_at(now);
        if cost <= level {
            return now;
        }
        let nanos = (cost - level).div_ceil(u128::from(self.rate));
        now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn level_at(&self, now: Instant) -> u128 {
        let gained = now.since(self.filled_at).as_nanos() * u128::from(self.rate);
        (self.level + gained).min(u128::from(self.burst) * NANOS)
    }

    fn fill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.filled_at = self.filled_at.max(now);
    }
}

impl Buckets {
    /// No limits at all.
    pub fn unlimited(rng: &mut Rng) -> Self {
        let free = TokenBucket::unlimited;
        Self { packets_out: free(), bytes_out: free(), bytes_in: free(), flows: Flows::new(0, rng) }
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_a_long_window_polled_often() {
        let mut bucket = TokenBucket::new(3, 1);
        let mut now = Instant(0);
        let mut taken = 0;
        while now < Instant::from_millis(10_000) {
            taken += u32::from(bucket.take(now, 1));
            now += Duration::from_micros(777);
        }
        assert!((30..=31).contains(&taken), "{taken}");
    }

    #[test]
    fn ready_at_is_the_first_instant_that_succeeds() {
        let mut bucket = TokenBucket::new(7, 2);
        let now = Instant::from_millis(5);
        assert!(bucket.take(now, 2));
        let ready = bucket.ready_at(now, 1);
        assert!(!bucket.clone().take(ready - Duration::from_nanos(1), 1));
        assert!(bucket.take(ready, 1));
    }

    #[test]
    fn zero_is_no_limit_and_a_change_takes_effect() {
        let mut bucket = TokenBucket::unlimited();
        assert!((0..1_000).all(|_| bucket.take(Instant(0), 1 << 40)));
        bucket.set_rate(Instant(0), 1, 1);
        assert!(bucket.take(Instant(0), 1));
        assert!(!bucket.take(Instant(0), 1));
    }

    quickcheck::quickcheck! {
        /// Against exact arithmetic: over no window is more taken than the burst and what the rate
        /// gives meanwhile, and never is a token withheld that both would allow.
        fn over_every_window_the_rate_holds_and_nothing_is_withheld(
            rate: u16, burst: u16, steps: Vec<(u32, u16)>
        ) -> bool {
            let (rate, burst) = (u128::from(rate) + 1, u128::from(burst) + 1);
            let mut bucket = TokenBucket::new(rate as u64, burst as u64);
            let mut now = Instant(0);
            // What may be taken at once, exactly; full at first.
            let mut level = burst * NANOS;
            let mut taken: Vec<(u128, u128)> = Vec::new();
            for (wait_us, wanted) in steps {
                let (wait, wanted) = (u128::from(wait_us) * 1_000, u128::from(wanted) % (burst + 1));
                now += Duration::from_nanos(wait as u64);
                level = (level + wait * rate).min(burst * NANOS);
                let allowed = level >= wanted * NANOS;
                let ready = bucket.ready_at(now, wanted as u64);
                if bucket.available(now) != (level / NANOS) as u64 || (ready == now) != allowed {
                    return false;
                }
                if bucket.take(now, wanted as u64) != allowed {
                    return false;
                }
                if allowed {
                    level -= wanted * NANOS;
                    taken.push((u128::from(now.0), wanted));
                }
            }
            (0..taken.len()).all(|from| {
                let mut sum = 0;
                taken[from..].iter().all(|(at, tokens)| {
                    sum += tokens;
                    sum * NANOS <= burst * NANOS + (at - taken[from].0) * rate
                })
            })
        }

        fn ready_at_is_neither_early_nor_late(rate: u16, burst: u16, took: u16, wanted: u16) -> bool {
            let mut bucket = TokenBucket::new(u64::from(rate) + 1, u64::from(burst) + 1);
            let now = Instant(77);
            bucket.take_up_to(now, u64::from(took));
            let ready = bucket.ready_at(now, u64::from(wanted));
            let early = ready > now && bucket.clone().take(ready - Duration::from_nanos(1), u64::from(wanted));
            bucket.take(ready, u64::from(wanted)) && !early
        }
    }
}
