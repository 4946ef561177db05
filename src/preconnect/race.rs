//! Which of a host's addresses answers first (Happy Eyeballs, RFC 8305): each is given a head start
//! over the next, families take turns, and the losers are closed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::Instant;

/// How long to wait for what (RFC 8305, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The head start of an address over the next.
    pub attempt_delay: Duration,
    /// How long IPv4 waits for IPv6 addresses that are still looked up.
    pub resolution_delay: Duration,
    /// So many addresses of the preferred family come first, at least one.
    pub first_family_count: usize,
}

/// One connection at most, over one of many addresses.
#[derive(Debug)]
pub struct Race {
    config: Config,
    /// To be tried, in this order.
    waiting: VecDeque<IpAddr>,
    attempts: Vec<Attempt>,
    /// No more addresses will come.
    complete: bool,
    /// When the next attempt may begin.
    next_at: Instant,
    outcome: Outcome,
    losers: VecDeque<u8>,
}

/// One address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub ip: IpAddr,
    /// Since when.
    pub began: Instant,
    /// How long it took, once it is over.
    pub took: Duration,
    /// What came of it.
    pub turn: Turn,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing yet.
    Trying,
    /// A connection.
    Opened,
    /// None.
    Failed(Fault),
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other end refused it.
    Refused,
    /// The other end reset it, or the network broke it.
    Reset,
    /// No route, no address of this family, not permitted.
    Unreachable,
    /// This machine has no socket, port or memory left for it.
    NoResources,
    /// Its time was over.
    TimedOut,
    /// Another address was faster.
    Slower,
}

/// How the race stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Running,
    /// The attempt of this number has a connection.
    Won(u8),
    /// Every address failed, or it was stopped.
    Lost,
}

impl Default for Config {
    fn default() -> Self {
        Self { attempt_delay: ATTEMPT_DELAY, resolution_delay: RESOLUTION_DELAY, first_family_count: 1 }
    }
}

impl Race {
    /// Before any address is known.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            attempts: Vec::new(),
            complete: false,
            next_at: Instant::FAR,
            outcome: Outcome::Running,
            losers: VecDeque::new(),
        }
    }

    /// All addresses that are known now, the best first (RFC 6724); `complete` if no more will
    /// come. May be called again with more: what was tried is not tried again. At most
    /// [`ADDRESSES_MAX`] are tried at all.
    pub fn on_addresses(&mut self, now: Instant, sorted: &[IpAddr], complete: bool) {
        if self.outcome != Outcome::Running {
            return;
        }
        self.complete |= complete;
        let mut fresh: VecDeque<IpAddr> = VecDeque::new();
        for ip in interleave(sorted, self.config.first_family_count) {
            if !fresh.contains(&ip) && !self.attempts.iter().any(|attempt| attempt.ip == ip) {
                fresh.push_back(ip);
            }
        }
        fresh.truncate(ADDRESSES_MAX.saturating_sub(self.attempts.len()));
        self.waiting = fresh;
        let at_once = self.complete || self.waiting.iter().any(IpAddr::is_ipv6);
        if self.attempts.is_empty() && at_once {
            self.next_at = now;
        } else if self.attempts.is_empty() && !self.waiting.is_empty() {
            self.next_at = self.next_at.min(now + self.config.resolution_delay);
        }
        self.settle();
    }

    /// True if [`Race::begin`] has an address now.
    pub fn wants_attempt(&self, now: Instant) -> bool {
        self.outcome == Outcome::Running && !self.waiting.is_empty() && self.next_at <= now
    }

    /// The next attempt: its number, and where it goes to.
    pub fn begin(&mut self, now: Instant) -> Option<(u8, IpAddr)> {
        if !self.wants_attempt(now) {
            return None;
        }
        let ip = self.waiting.pop_front()?;
        let number = u8::try_from(self.attempts.len()).ok()?;
        self.attempts.push(Attempt { ip, began: now, took: Duration::ZERO, turn: Turn::Trying });
        self.next_at = now + self.config.attempt_delay;
        Some((number, ip))
    }

    /// An attempt has a connection. True if that wins; else it is of no use.
    pub fn on_opened(&mut self, now: Instant, number: u8) -> bool {
        if self.outcome != Outcome::Running || !self.end(now, number, Turn::Opened) {
            return false;
        }
        self.outcome = Outcome::Won(number);
        self.end_others(now, Fault::Slower);
        true
    }

    /// An attempt has come to nothing. The next address need not wait any longer.
    pub fn on_failed(&mut self, now: Instant, number: u8, fault: Fault) {
        if self.end(now, number, Turn::Failed(fault)) && self.outcome == Outcome::Running {
            self.next_at = self.next_at.min(now);
            self.settle();
        }
    }

    /// Ends a race that goes on: what is under way fails for this reason.
    pub fn stop(&mut self, now: Instant, fault: Fault) {
        if self.outcome == Outcome::Running {
            self.outcome = Outcome::Lost;
            self.end_others(now, fault);
        }
    }

    /// An attempt that is to be closed.
    pub fn poll_loser(&mut self) -> Option<u8> {
        self.losers.pop_front()
    }

    /// How it stands.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// All attempts so far, in the order of their numbers.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// When [`Race::begin`] will have an address, if it has none now.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let waits = self.outcome == Outcome::Running && !self.waiting.is_empty();
        Some(self.next_at).filter(|at| waits && *at > now)
    }

    /// Ends one attempt; false if it is over already.
    fn end(&mut self, now: Instant, number: u8, turn: Turn) -> bool {
        let attempt = self.attempts.get_mut(usize::from(number));
        let Some(attempt) = attempt.filter(|attempt| attempt.turn == Turn::Trying) else { return false };
        (attempt.took, attempt.turn) = (now.since(attempt.began), turn);
        true
    }

    fn end_others(&mut self, now: Instant, fault: Fault) {
        for number in 0..self.attempts.len() as u8 {
            if self.end(now, number, Turn::Failed(fault)) {
                self.losers.push_back(number);
            }
        }
    }

    /// It is lost when nothing is under way and nothing is left to be tried.
    fn settle(&mut self) {
        let trying = self.attempts.iter().any(|attempt| attempt.turn == Turn::Trying);
        if self.complete && self.waiting.is_empty() && !trying {
            self.outcome = Outcome::Lost;
        }
    }
}

/// The families in turn, after the first `count` addresses of the first one's (RFC 8305, section 4).
pub fn interleave(sorted: &[IpAddr], count: usize) -> Vec<IpAddr> {
    let Some(first) = sorted.first() else { return Vec::new() };
    let (own, other): (Vec<_>, Vec<_>) =
        sorted.iter().copied().partition(|ip| ip.is_ipv4() == first.is_ipv4());
    let (head, own) = own.split_at(count.clamp(1, own.len()) - 1);
    let mut turns = head.to_vec();
    for at in 0..own.len().max(other.len()) {
        turns.extend(own.get(at).into_iter().chain(other.get(at)));
    }
    turns
}

/// RFC 8305, section 8.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// RFC 8305, section 8.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Hosts with more are known; whom sixteen addresses do not reach is not there.
pub const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn racing(addresses: &str) -> Race {
        let mut race = Race::new(Config::default());
        race.on_addresses(ms(0), &all(addresses), true);
        race
    }

    #[test]
    fn families_take_turns() {
        let sorted = all("2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1");
        let turns = |count| interleave(&sorted, count);
        assert_eq!(turns(1), all("2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3"));
        assert_eq!(turns(2), all("2001:db8::1 2001:db8::2 192.0.2.1 2001:db8::3"));
        assert_eq!((turns(0), turns(9)), (turns(1), sorted.clone()));
        assert!(interleave(&[], 1).is_empty());
    }

    #[test]
    fn each_address_has_its_head_start_and_the_first_connection_wins() {
        let mut race = racing("2001:db8::1 192.0.2.1 192.0.2.2");
        assert_eq!(race.begin(ms(0)).unwrap(), (0, all("2001:db8::1")[0]));
        assert!(race.begin(ms(249)).is_none());
        assert_eq!(race.next_deadline(ms(249)), Some(ms(250)));
        assert_eq!(race.begin(ms(250)).unwrap().0, 1);
        assert!(race.on_opened(ms(270), 1));
        assert_eq!((race.outcome(), race.poll_loser(), race.poll_loser()), (Outcome::Won(1), Some(0), None));
        assert!(!race.on_opened(ms(271), 0), "too late");
        assert!(race.begin(ms(900)).is_none() && race.next_deadline(ms(900)).is_none());
        let turns: Vec<_> = race.attempts().iter().map(|it| (it.turn, it.took.as_millis())).collect();
        assert_eq!(turns, [(Turn::Failed(Fault::Slower), 270), (Turn::Opened, 20)]);
    }

    #[test]
    fn a_refusal_calls_the_next_at_once() {
        let mut race = racing("2001:db8::1 192.0.2.1");
        race.begin(ms(0)).unwrap();
        race.on_failed(ms(5), 0, Fault::Refused);
        assert_eq!(race.begin(ms(5)).unwrap().0, 1);
        race.on_failed(ms(9), 1, Fault::Unreachable);
        assert_eq!((race.outcome(), race.poll_loser()), (Outcome::Lost, None));
    }

    #[test]
    fn ipv4_waits_a_little_for_ipv6_and_no_longer() {
        let mut race = Race::new(Config::default());
        race.on_addresses(ms(100), &all("192.0.2.1 192.0.2.2"), false);
        assert_eq!((race.begin(ms(149)), race.next_deadline(ms(149))), (None, Some(ms(150))));
        assert_eq!(race.begin(ms(150)).unwrap().1, all("192.0.2.1")[0]);
        // IPv6 comes in late and has the next turn; nothing is tried twice.
        race.on_addresses(ms(160), &all("2001:db8::1 192.0.2.1 192.0.2.2"), true);
        assert_eq!(race.begin(ms(399)), None);
        assert_eq!(race.begin(ms(400)).unwrap().1, all("2001:db8::1")[0]);
        assert_eq!(race.begin(ms(650)).unwrap().1, all("192.0.2.2")[0]);
        assert_eq!(race.begin(ms(5_000)), None);
        for sorted in ["2001:db8::1", "2001:db8::1 192.0.2.1"] {
            let mut race = Race::new(Config::default());
            race.on_addresses(ms(100), &all(sorted), false);
            assert!(race.begin(ms(100)).is_some(), "IPv6 waits for nobody: {sorted}");
        }
        let mut race = Race::new(Config::default());
        race.on_addresses(ms(100), &all("192.0.2.1"), false);
        race.on_addresses(ms(110), &all("192.0.2.1"), true);
        assert!(race.begin(ms(110)).is_some(), "there is no IPv6 to wait for");
    }

    #[test]
    fn a_race_with_hope_left_is_not_lost() {
        let mut race = Race::new(Config::default());
        race.on_addresses(ms(0), &all("2001:db8::1"), false);
        race.begin(ms(0)).unwrap();
        race.on_failed(ms(1), 0, Fault::Refused);
        assert_eq!(race.outcome(), Outcome::Running, "IPv4 is still looked up");
        race.on_addresses(ms(40), &all("2001:db8::1 192.0.2.1"), true);
        assert_eq!(race.begin(ms(40)).unwrap().1, all("192.0.2.1")[0]);
        race.stop(ms(60), Fault::TimedOut);
        assert_eq!((race.outcome(), race.poll_loser()), (Outcome::Lost, Some(1)));
        let mut none = Race::new(Config::default());
        none.on_addresses(ms(0), &[], true);
        assert_eq!(none.outcome(), Outcome::Lost);
    }

    quickcheck::quickcheck! {
        /// Over any hosts, fates and orders: no address twice, no more than allowed, never two
        /// begun closer than the delay unless one failed in between, exactly one winner if any
        /// address answers, and everything else closed or over.
        fn every_race_ends_well(fates: Vec<(bool, u16, bool)>, split: usize) -> bool {
            run(&fates, split)
        }
    }

    /// Each address: IPv6, the milliseconds until something happens, whether that is a connection.
    fn run(fates: &[(bool, u16, bool)], split: usize) -> bool {
        let ip = |index: usize| -> IpAddr {
            let last = index as u8;
            if fates[index].0 {
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into()
            } else {
                [192, 0, 2, last].into()
            }
        };
        let fates = &fates[..fates.len().min(40)];
        let sorted: Vec<IpAddr> = (0..fates.len()).map(ip).collect();
        let early = split % (sorted.len() + 1);
        let mut race = Race::new(Config::default());
        race.on_addresses(ms(0), &sorted[..early], false);
        let mut last_begun: Option<u64> = None;
        let mut failed_since = false;
        let mut alive: Vec<(u64, u8, bool)> = Vec::new();
        for now in 0..70_000 {
            if now == 20 {
                race.on_addresses(ms(now), &sorted, true);
            }
            alive.sort_unstable();
            while race.outcome() == Outcome::Running && alive.first().is_some_and(|(at, ..)| *at <= now) {
                let (_, number, good) = alive.remove(0);
                if good {
                    assert!(race.on_opened(ms(now), number));
                } else {
                    race.on_failed(ms(now), number, Fault::Refused);
                    failed_since = true;
                }
            }
            while let Some((number, at)) = race.begin(ms(now)) {
                let spaced = last_begun.is_none_or(|last| now - last >= 250);
                assert!(spaced || failed_since, "too early");
                (last_begun, failed_since) = (Some(now), false);
                let fate = sorted.iter().position(|ip| *ip == at).map(|index| fates[index]).unwrap();
                alive.push((now + u64::from(fate.1 % 3_000), number, fate.2));
            }
            if race.outcome() != Outcome::Running {
                break;
            }
            assert!(race.next_deadline(ms(now)).is_none_or(|at| at > ms(now)));
        }
        let tried: std::collections::BTreeSet<_> = race.attempts().iter().map(|it| it.ip).collect();
        assert!(tried.len() == race.attempts().len() && tried.len() <= ADDRESSES_MAX);
        let losers: Vec<u8> = std::iter::from_fn(|| race.poll_loser()).collect();
        match race.outcome() {
            Outcome::Running => false,
            Outcome::Won(number) => {
                let open: Vec<u8> = alive.iter().map(|(_, number, _)| *number).collect();
                losers.iter().all(|loser| open.contains(loser))
                    && losers.len() == open.len()
                    && !open.contains(&number)
            }
            Outcome::Lost => {
                let reachable = race.attempts().iter().any(|it| it.turn == Turn::Opened);
                !reachable && tried.len() == sorted.len().min(ADDRESSES_MAX) && losers.is_empty()
            }
        }
    }
}
