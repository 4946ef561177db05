//! `--bytes-out` on streams. Datagrams spend from the same bucket a hundred bytes at a time, so
//! streams that have to wait put aside up to half of what comes in, until a write is worth it.

use std::collections::VecDeque;
use std::time::Duration;

use super::io::LinkId;
use crate::base::{Instant, TokenBucket};

/// Who waits, in order, and what was put aside for them.
#[derive(Default)]
pub(super) struct Pace {
    held: VecDeque<LinkId>,
    purse: u64,
    since: Instant,
    /// How many may go on before more is put aside: those given back have yet to write.
    grants: u64,
}

impl Pace {
    /// How many of `wanted` bytes may be written now.
    pub(super) fn allowance(&self, bucket: &TokenBucket, wanted: usize, now: Instant) -> usize {
        let free = if self.held.is_empty() { bucket.available(now) } else { 0 };
        let allowed = self.purse.saturating_add(free).min(wanted as u64);
        // A few bytes are not worth a packet, unless they are all there is.
        if allowed < STEP.min(wanted as u64) { 0 } else { allowed as usize }
    }

    /// A link has more to write than it may. To be called once until it is given back.
    pub(super) fn hold(&mut self, id: LinkId, now: Instant) {
        if self.held.is_empty() {
            self.since = now;
        }
        self.held.push_back(id);
    }

    /// So much was written.
    pub(super) fn spend(&mut self, bucket: &mut TokenBucket, written: usize, now: Instant) {
        let put_aside = self.purse.min(written as u64);
        self.purse -= put_aside;
        bucket.take_up_to(now, written as u64 - put_aside);
    }

    /// A link that may write again.
    pub(super) fn pop_due(&mut self, bucket: &mut TokenBucket, now: Instant) -> Option<LinkId> {
        if self.held.is_empty() {
            self.purse = 0;
            return None;
        }
        let gained = u128::from(bucket.rate()) * now.since(self.since).as_nanos() / 1_000_000_000;
        let half = u64::try_from(gained / 2).unwrap_or(u64::MAX);
        // What datagrams leave over is not theirs alone.
        let spare = bucket.available(now).saturating_sub(bucket.burst() / 2);
        let share = half.max(spare).min(PURSE_MAX - self.purse);
        if share > 0 {
            self.since = now;
            self.purse += bucket.take_up_to(now, share);
            self.grants = self.purse / STEP;
        }
        // What is put aside counts against the burst, so that the rate holds over every window.
        let beyond = bucket.available(now).saturating_add(self.purse).saturating_sub(bucket.burst());
        bucket.take_up_to(now, beyond);
        if bucket.rate() > 0 {
            self.grants = self.grants.checked_sub(1)?;
        }
        self.held.pop_front()
    }

    /// When [`Pace::pop_due`] will have one.
    pub(super) fn next_deadline(&self, bucket: &TokenBucket) -> Option<Instant> {
        if self.held.is_empty() {
            return None;
        }
        let missing = u128::from(STEP.saturating_sub(self.purse)) * 2 * 1_000_000_000;
        let nanos = missing.checked_div(u128::from(bucket.rate())).unwrap_or(0);
        Some(self.since + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// A full segment of TCP on Ethernet.
const STEP: u64 = 1_460;
/// Eleven of those: what half of 10 MB/s brings in three milliseconds.
const PURSE_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that always has more and datagrams that take all they get, for ten seconds.
    fn contest(rate: u64, datagrams: bool) -> (u64, u64) {
        let mut bucket = TokenBucket::new(rate, 65_536);
        let mut pace = Pace::default();
        let (mut now, link) = (Instant::from_millis(1_000), LinkId::FIRST);
        let (mut streamed, mut sent) = (0, 0);
        bucket.take_up_to(now, u64::MAX);
        (0..100).for_each(|_| pace.hold(link, now));
        while now < Instant::from_millis(11_000) {
            now += Duration::from_millis(1);
            // All are given back before the first of them writes, as the engine's drivers do.
            let mut due = Vec::new();
            due.extend(std::iter::from_fn(|| pace.pop_due(&mut bucket, now)));
            assert!(due.len() as u64 <= PURSE_MAX / STEP);
            for id in due {
                let written = pace.allowance(&bucket, 50_000, now);
                pace.spend(&mut bucket, written, now);
                streamed += written as u64;
                pace.hold(id, now);
            }
            while datagrams && bucket.take(now, 100) {
                sent += 100;
            }
        }
        (streamed, sent)
    }

    #[test]
    fn streams_and_datagrams_share_what_there_is() {
        for rate in [10_000, 250_000, 10_000_000] {
            let (streamed, sent) = contest(rate, true);
            assert!(streamed + sent <= rate * 10, "{streamed} and {sent} of {rate}");
            assert!(streamed >= rate * 4 && sent >= rate * 4, "{streamed} and {sent} of {rate}");
            let (alone, _) = contest(rate, false);
            assert!(alone >= rate * 9 - 65_536, "{alone} of {rate}");
        }
    }

    #[test]
    fn without_a_limit_nobody_waits_and_whoever_waited_goes_on() {
        let mut bucket = TokenBucket::new(100, 1);
        let (mut pace, now) = (Pace::default(), Instant::from_millis(5));
        bucket.take(now, 1);
        assert_eq!(pace.allowance(&bucket, 500, now), 0);
        pace.hold(LinkId::FIRST, now);
        assert_eq!(pace.pop_due(&mut bucket, now), None);
        bucket.set_rate(now, 0, 1);
        assert_eq!(pace.pop_due(&mut bucket, now), Some(LinkId::FIRST));
        assert_eq!(pace.allowance(&bucket, 500, now), 500);
    }
}
