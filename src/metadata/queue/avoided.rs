//! Addresses that are left alone, each for a short while at first, twice as long each further time; an
//! offence is forgotten in time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::hash::{self, Map};
use crate::base::{Instant, Rng};

/// Offenders, in bounded number; the one remembered longest ago makes room.
pub struct Avoided {
    offenders: Map<SocketAddr, Offender>,
    /// Oldest first. An entry counts only while the map has the same time.
    order: VecDeque<(SocketAddr, Instant)>,
    backoff: Backoff,
}

/// For how long an address is avoided, and how many are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first offence.
    pub first: Duration,
    /// However many there were.
    pub max: Duration,
    /// One offence is forgotten for every such time without one.
    pub forgotten_after: Duration,
    /// How many are remembered.
    pub count_max: usize,
}

#[derive(Clone, Copy)]
struct Offender {
    /// Offences that are not forgotten yet, this one included.
    offences: u32,
    /// When the last one was.
    at: Instant,
}

impl Avoided {
    /// Nobody yet.
    pub fn new(backoff: Backoff, rng: &mut Rng) -> Self {
        Self { offenders: hash::map(rng), order: VecDeque::new(), backoff }
    }

    /// Counts one more offence of `addr`.
    pub fn offended(&mut self, addr: SocketAddr, now: Instant) {
        let before = self.offenders.get(&addr).map_or(0, |offender| offender.remembered(now, self.backoff));
        self.offenders.insert(addr, Offender { offences: before + 1, at: now });
        self.order.push_back((addr, now));
        let count_max = self.backoff.count_max;
        while self.offenders.len() > count_max || self.order.len() > 2 * count_max {
            let Some((oldest, at)) = self.order.pop_front() else { return };
            if self.offenders.get(&oldest).is_some_and(|offender| offender.at == at) {
                self.offenders.remove(&oldest);
            }
        }
    }

    /// True while `addr` is left alone.
    pub fn has(&self, addr: SocketAddr, now: Instant) -> bool {
        self.offenders.get(&addr).is_some_and(|offender| offender.until(self.backoff) > now)
    }

    /// Nothing is held against `addr` any more.
    pub fn forgive(&mut self, addr: SocketAddr) {
        self.offenders.remove(&addr);
    }
}

impl Offender {
    /// Offences that count still.
    fn remembered(self, now: Instant, backoff: Backoff) -> u32 {
        let forgotten = now.since(self.at).as_secs() / backoff.forgotten_after.as_secs().max(1);
        self.offences.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn until(self, backoff: Backoff) -> Instant {
        self.at + (backoff.first * 2u32.saturating_pow(self.offences.min(32) - 1)).min(backoff.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn minutes(count: u64) -> Instant {
        Instant::from_millis(1_000) + Duration::from_secs(count * 60)
    }

    fn avoided(count_max: usize) -> Avoided {
        let (first, hours) = (Duration::from_secs(300), Duration::from_secs(6 * 3_600));
        let backoff = Backoff { first, max: hours, forgotten_after: hours, count_max };
        Avoided::new(backoff, &mut Rng::seeded(1))
    }

    /// For how many minutes it is avoided from then on.
    fn avoided_for(avoided: &Avoided, from: u64) -> u64 {
        (0..10_000).find(|after| !avoided.has(addr(1), minutes(from + after))).unwrap()
    }

    #[test]
    fn minutes_at_first_longer_when_repeated_and_forgotten_in_time() {
        let mut avoided = avoided(10);
        let mut now = 0;
        let mut times = Vec::new();
        for _ in 0..9 {
            avoided.offended(addr(1), minutes(now));
            let minutes = avoided_for(&avoided, now);
            times.push(minutes);
            now += minutes;
        }
        assert_eq!(times, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
        assert!(!avoided.has(addr(2), minutes(0)));
        avoided.offended(addr(1), minutes(now + 60 * 24 * 7));
        assert_eq!(avoided_for(&avoided, now + 60 * 24 * 7), 5, "a quiet week");
        avoided.forgive(addr(1));
        assert!(!avoided.has(addr(1), minutes(now + 60 * 24 * 7)));
    }

    #[test]
    fn it_holds_so_many_and_no_more() {
        let mut avoided = avoided(4);
        (1..=5).for_each(|port| avoided.offended(addr(port), minutes(0)));
        assert!(!avoided.has(addr(1), minutes(1)) && (2..=5).all(|port| avoided.has(addr(port), minutes(1))));
        (0..1_000).for_each(|at| avoided.offended(addr(7), minutes(at)));
        assert!(avoided.order.len() <= 8 && avoided.has(addr(7), minutes(1_000)));
    }
}
