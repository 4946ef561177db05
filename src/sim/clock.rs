//! The two clocks of a host, which are not the world's: the monotonic one begins with the process
//! and stands still while the machine sleeps, the wall clock jumps.

use std::time::Duration;

use crate::base::{Instant, UnixTime};

/// The clocks of one host.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the world's time is ahead of the monotonic clock.
    behind: Duration,
    /// What the wall clock is ahead of true time, in seconds.
    ahead_secs: i64,
    /// Until when the host does nothing, in the world's time.
    asleep_until: Instant,
    /// Meanwhile the monotonic clock stands still.
    suspended_at: Option<Instant>,
}

impl Clock {
    /// Clocks of a process that starts at `now`.
    pub(super) fn new(now: Instant, ahead_secs: i64) -> Self {
        let behind = now.since(ORIGIN);
        Self { behind, ahead_secs, asleep_until: Instant(0), suspended_at: None }
    }

    /// What the monotonic clock shows when the world's time is `now`.
    pub(super) fn local(&self, now: Instant) -> Instant {
        self.suspended_at.unwrap_or(now) - self.behind
    }

    /// The world's time at which the monotonic clock will show `local`.
    pub(super) fn world(&self, local: Instant) -> Instant {
        local + self.behind
    }

    /// What the wall clock shows.
    pub(super) fn unix(&self, now: Instant) -> UnixTime {
        UnixTime((EPOCH + u64::from(now.secs())).saturating_add_signed(self.ahead_secs))
    }

    /// What the wall clock is ahead of true time, in seconds.
    pub(super) fn ahead_secs(&self) -> i64 {
        self.ahead_secs
    }

    /// Moves the wall clock.
    pub(super) fn jump(&mut self, secs: i64) {
        self.ahead_secs = self.ahead_secs.saturating_add(secs);
    }

    /// The host does nothing until `until`; with `suspend` its monotonic clock stands still.
    pub(super) fn sleep(&mut self, now: Instant, until: Instant, suspend: bool) {
        self.wake(now);
        self.asleep_until = until;
        self.suspended_at = suspend.then_some(now);
    }

    /// Until when it sleeps, if it does at `now`.
    pub(super) fn asleep(&self, now: Instant) -> Option<Instant> {
        Some(self.asleep_until).filter(|until| *until > now)
    }

    /// It sleeps as a whole machine does: nothing reaches it.
    pub(super) fn is_suspended(&self, now: Instant) -> bool {
        self.suspended_at.is_some() && self.asleep(now).is_some()
    }

    /// If its sleep is over at `now`, the monotonic clock goes on.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.asleep(now).is_none()
            && let Some(since) = self.suspended_at.take()
        {
            self.behind += self.asleep_until.since(since);
        }
    }
}

/// What a monotonic clock shows when its process starts.
const ORIGIN: Instant = Instant::from_millis(1_000);
/// A day in 2026; nothing depends on which.
const EPOCH: u64 = 1_790_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_begins_with_the_process_and_stands_still_while_suspended() {
        let at = Instant::from_millis;
        let mut clock = Clock::new(at(61_000), 0);
        assert_eq!(clock.local(at(61_000)), ORIGIN);
        assert_eq!(clock.world(at(2_000)), at(62_000));
        clock.sleep(at(62_000), at(72_000), true);
        assert!(clock.is_suspended(at(70_000)));
        assert_eq!(clock.local(at(70_000)), at(2_000));
        clock.wake(at(72_000));
        assert_eq!(clock.local(at(73_000)), at(3_000));
        clock.sleep(at(73_000), at(75_000), false);
        assert_eq!((clock.asleep(at(74_000)), clock.is_suspended(at(74_000))), (Some(at(75_000)), false));
        clock.wake(at(75_000));
        assert_eq!(clock.local(at(75_000)), at(5_000), "a stopped process has lost no time");
    }

    #[test]
    fn the_wall_clock_jumps_both_ways() {
        let mut clock = Clock::new(ORIGIN, 0);
        let before = clock.unix(ORIGIN);
        clock.jump(-3_600);
        assert_eq!(clock.unix(ORIGIN).0, before.0 - 3_600);
        clock.jump(7_200);
        assert_eq!((clock.unix(ORIGIN).0, clock.ahead_secs()), (before.0 + 3_600, 3_600));
    }
}
