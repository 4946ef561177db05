//! How much one address is answered: so many replies a second, in a table that never grows.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::time::Duration;

use super::hash::{self, State};
use super::rng::Rng;
use super::time::Instant;

/// A rate per address (per /64 for IPv6).
///
/// An address is kept as a keyed hash in one of the eight places where it may stand; a new one
/// takes the place of the one idle for longest. Forgetting an address forgives it, never others.
pub struct Limiter {
    key: State,
    /// Nanoseconds that one reply costs; zero if there is no limit.
    cost: u64,
    /// How far ahead of now an address may run up its debt.
    slack: u64,
    slots: Vec<Slot>,
}

/// A virtual clock for each address: each reply moves it on by its cost, and an address is
/// answered as long as its clock is not too far ahead.
#[derive(Clone, Copy, Default)]
struct Slot {
    address: u64,
    clock: u64,
}

impl Limiter {
    /// `rate` replies per second, 0 for no limit, and at most `burst` (at least 1) at once.
    pub fn new(rate: u32, burst: u32, rng: &mut Rng) -> Self {
        let mut limiter = Self { key: hash::state(rng), cost: 0, slack: 0, slots: Vec::new() };
        limiter.set_rate(rate, burst);
        limiter
    }

    /// One every `interval`, and at most `burst` (at least 1) at once.
    pub fn every(interval: Duration, burst: u32, rng: &mut Rng) -> Self {
        let cost = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let slots = vec![Slot::default(); SETS * WAYS];
        Self { key: hash::state(rng), cost, slack: cost.saturating_mul(u64::from(burst.max(1) - 1)), slots }
    }

    /// Changes both from now on.
    pub fn set_rate(&mut self, rate: u32, burst: u32) {
        self.cost = NANOS.checked_div(u64::from(rate)).unwrap_or(0);
        self.slack = self.cost * u64::from(burst.max(1) - 1);
        if self.cost > 0 && self.slots.is_empty() {
            self.slots.resize(SETS * WAYS, Slot::default());
        }
    }

    /// Takes one reply off the allowance of `ip`; false if nothing is left of it.
    pub fn allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.allow_for(network(ip), now)
    }

    /// The same for whatever shares an allowance.
    pub fn allow_for(&mut self, who: impl Hash, now: Instant) -> bool {
        if self.cost == 0 {
            return true;
        }
        let address = self.key.hash_one(who);
        let first = (address as usize % SETS) * WAYS;
        let set = &mut self.slots[first..first + WAYS];
        let place = set.iter().position(|slot| slot.address == address);
        let slot = match place {
            Some(place) => &mut set[place],
            None => {
                let idle = set.iter_mut().min_by_key(|slot| slot.clock).expect("a set has places");
                *idle = Slot { address, clock: 0 };
                idle
            }
        };
        let clock = slot.clock.max(now.0);
        if clock - now.0 > self.slack {
            return false;
        }
        slot.clock = clock.saturating_add(self.cost);
        true
    }

    /// Gives back what `times` replies cost, up to the burst.
    pub fn refund_for(&mut self, who: impl Hash, times: u32, now: Instant) {
        let address = self.key.hash_one(who);
        let first = (address as usize % SETS) * WAYS;
        if let Some(slot) = self.slots.iter_mut().skip(first).take(WAYS).find(|slot| slot.address == address)
        {
            slot.clock = slot.clock.saturating_sub(self.cost * u64::from(times)).max(now.0);
        }
    }
}

fn network(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        // The odd number keeps the two families apart.
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64 | 1 << 40,
    }
}

const NANOS: u64 = Duration::from_secs(1).as_nanos() as u64;
/// 8,192 addresses, four times the queries per second that a busy node sees; 128 KiB.
const SETS: usize = 1_024;
/// Two cache lines of sixteen-byte slots.
const WAYS: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn burst_then_rate_over_a_long_window() {
        let mut limiter = Limiter::new(5, 10, &mut Rng::seeded(1));
        let start = Instant::from_millis(3);
        let now = (0..20).filter(|_| limiter.allow(v4(1), start)).count();
        assert_eq!(now, 10);
        let mut allowed = 0;
        for step in 1..=1_000u32 {
            allowed += u32::from(limiter.allow(v4(1), start + SECOND * step / 100));
        }
        assert_eq!(allowed, 50, "ten seconds at five a second");
    }

    #[test]
    fn zero_is_off_and_a_change_takes_effect() {
        let mut limiter = Limiter::new(0, 1, &mut Rng::seeded(2));
        assert!((0..1_000).all(|_| limiter.allow(v4(1), Instant(0))));
        limiter.set_rate(1, 1);
        assert!(limiter.allow(v4(1), Instant(0)));
        assert!(!limiter.allow(v4(1), Instant(0)));
        limiter.set_rate(0, 0);
        assert!(limiter.allow(v4(1), Instant(0)));
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_up_to_the_burst() {
        let mut limiter = Limiter::every(SECOND * 10, 3, &mut Rng::seeded(6));
        let now = Instant::from_millis(1);
        let left = |limiter: &mut Limiter| (0..9).filter(|_| limiter.allow_for(1, now)).count();
        assert_eq!(left(&mut limiter), 3);
        limiter.refund_for(1, 2, now);
        assert_eq!(left(&mut limiter), 2);
        limiter.refund_for(1, 100, now);
        assert_eq!(left(&mut limiter), 3);
        limiter.refund_for(2, 100, now);
        assert!(limiter.allow_for(1, now + SECOND * 10) && !limiter.allow_for(1, now + SECOND * 10));
    }

    #[test]
    fn one_address_does_not_spend_what_is_anothers() {
        let mut limiter = Limiter::new(1, 2, &mut Rng::seeded(3));
        let now = Instant::from_millis(1);
        (0..100).for_each(|_| _ = limiter.allow(v4(1), now));
        assert!(limiter.allow(v4(2), now) && limiter.allow(v4(2), now));
        assert!(!limiter.allow(v4(2), now));
    }

    #[test]
    fn an_ipv6_network_shares_one_allowance() {
        let mut limiter = Limiter::new(1, 1, &mut Rng::seeded(4));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(limiter.allow(ip("2001:db8::1"), Instant(0)));
        assert!(!limiter.allow(ip("2001:db8::2:3:4:5"), Instant(0)));
        assert!(limiter.allow(ip("2001:db8:0:1::1"), Instant(0)));
        assert!(limiter.allow(ip("0.0.0.1"), Instant(0)));
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_it_nor_frees_a_busy_one() {
        let mut limiter = Limiter::new(1, 1, &mut Rng::seeded(5));
        let (places, room) = (limiter.slots.len(), limiter.slots.capacity());
        let mut now = Instant::from_millis(1);
        let mut busy = 0;
        for n in 0..50_000 {
            now += Duration::from_micros(100);
            busy += u32::from(limiter.allow(v4(7), now));
            assert!(limiter.allow(v4(1_000 + n), now), "a new address is always answered once");
        }
        assert_eq!((limiter.slots.len(), limiter.slots.capacity()), (places, room));
        assert!(busy <= 20, "five seconds at one a second, forgotten now and then: {busy}");
    }
}
