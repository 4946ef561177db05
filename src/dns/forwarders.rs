//! Whom to ask: how fast each forwarder answers, which are down, and what each turned out not to
//! know.

use std::time::Duration;

use super::config::{ForwarderConfig, Strategy};
use crate::base::{Instant, Rng};
use crate::wire::dns::is_within;

/// One resolver that is asked.
pub struct Forwarder {
    /// Who it is.
    pub config: ForwarderConfig,
    /// Smoothed round trip and its deviation (RFC 6298); none before the first answer.
    rtt: Option<(Duration, Duration)>,
    /// Questions without an answer since the last answer.
    silent: u32,
    /// It has lost races since, without any answer.
    quiet_since: Option<Instant>,
    state: State,
    /// Our cookie for it (RFC 7873, section 4.1).
    pub cookie: [u8; 8],
    /// Its cookie for us, of the last answer.
    pub server_cookie: Vec<u8>,
    /// Cookies, random case and EDNS are used at all.
    extras: bool,
    /// Until then it is taken for a server that does not copy the case of names.
    no_case_until: Instant,
    /// Until then it is taken for a server without EDNS.
    no_edns_until: Instant,
    /// Queries in a row, since the last OPT record, that were answered only without EDNS.
    edns_refused: u8,
    /// What was counted.
    pub stats: ForwarderStats,
}

/// What was counted of a forwarder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwarderStats {
    /// Questions sent, over anything.
    pub asked: u64,
    /// Answers that fitted.
    pub answered: u64,
    /// Questions without an answer in time.
    pub timeouts: u64,
    /// Answers that were of no use: SERVFAIL, REFUSED, referrals, nonsense.
    pub useless: u64,
    /// Questions asked again over TCP.
    pub over_tcp: u64,
    /// Times it went down.
    pub went_down: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down {
        /// When it is asked again, to see.
        probe_at: Instant,
        /// The pause after that.
        pause: Duration,
    },
}

/// All of them, in the order of preference.
pub struct Forwarders {
    all: Vec<Forwarder>,
    strategy: Strategy,
}

/// Which forwarders, by their place in the list.
pub type Set = u16;

impl Forwarder {
    fn new(config: ForwarderConfig, extras: bool, rng: &mut Rng) -> Self {
        let mut cookie = [0; 8];
        rng.fill(&mut cookie);
        Self {
            config,
            rtt: None,
            silent: 0,
            quiet_since: None,
            state: State::Up,
            cookie,
            server_cookie: Vec::new(),
            extras,
            no_case_until: Instant(0),
            no_edns_until: Instant(0),
            edns_refused: 0,
            stats: ForwarderStats::default(),
        }
    }

    /// How long to wait for it the `round`th time, from 0.
    pub fn timeout(&self, round: u8) -> Duration {
        let (smoothed, deviation) = self.rtt.unwrap_or((FIRST_TIMEOUT, Duration::ZERO));
        let once = (smoothed + deviation * 4).clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        (once * (1 << round.min(2))).min(TIMEOUT_MAX)
    }

    /// The smoothed round trip, once there was an answer.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(smoothed, _)| smoothed)
    }

    /// False: it is only asked to see whether it is back, or if all are down.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// It answered, whatever; true if it was down until now.
    pub fn on_answer(&mut self, rtt: Option<Duration>) -> bool {
        self.stats.answered += 1;
        (self.silent, self.quiet_since) = (0, None);
        if let Some(sample) = rtt {
            // A network that became slower is followed, one slow name is not.
            let sample = sample.min(self.timeout(0) * 2);
            self.rtt = Some(match self.rtt {
                None => (sample, sample / 2),
                Some((smoothed, deviation)) => {
                    (smoothed * 7 / 8 + sample / 8, deviation * 3 / 4 + sample.abs_diff(smoothed) / 4)
                }
            });
        }
        std::mem::replace(&mut self.state, State::Up) != State::Up
    }

    /// Another was faster, and nobody will know whether it would have answered. True if it has not
    /// for so long that it is to be probed, which must be done then.
    pub fn on_race_lost(&mut self, now: Instant) -> bool {
        let due = *self.quiet_since.get_or_insert(now) + QUIET_MAX <= now;
        if due {
            self.quiet_since = Some(now);
        }
        due && self.is_up()
    }

    /// It did not answer in time; true if that makes it one that is down.
    pub fn on_silence(&mut self, now: Instant) -> bool {
        self.stats.timeouts += 1;
        self.silent += 1;
        // It may have forgotten, or be another one now.
        self.server_cookie.clear();
        match &mut self.state {
            State::Up if self.silent >= DOWN_AFTER => {
                self.stats.went_down += 1;
                self.state = State::Down { probe_at: now + PROBE_FIRST, pause: PROBE_FIRST };
                true
            }
            _ => false,
        }
    }

    /// Nothing listens there; true if that makes it one that is down.
    pub fn on_refused(&mut self, now: Instant) -> bool {
        let down = self.on_silence(now);
        self.stats.timeouts -= 1;
        self.stats.useless += 1;
        down
    }

    /// Names go out in random case (draft-vixie-dnsext-dns0x20).
    pub fn mixes_case(&self, now: Instant) -> bool {
        self.extras && now >= self.no_case_until
    }

    /// Queries go out with an OPT record.
    pub fn uses_edns(&self, now: Instant) -> bool {
        self.extras && now >= self.no_edns_until
    }

    /// It lost the case over UDP, and over TCP, where the answer cannot be forged: for a while names
    /// go out in lower case.
    pub fn on_case_lost(&mut self, now: Instant) {
        self.no_case_until = now + LEARNT_FOR;
    }

    /// It refused a query with EDNS and answered the same without. One query may do that to a server
    /// that knows EDNS: several in a row, without any OPT record between them, are taken for the
    /// server's, for a while.
    pub fn on_edns_refused(&mut self, now: Instant) {
        self.edns_refused += 1;
        if self.edns_refused >= EDNS_REFUSED_MAX {
            (self.edns_refused, self.no_edns_until) = (0, now + LEARNT_FOR);
        }
    }

    /// It has sent an OPT record.
    pub fn on_edns(&mut self) {
        self.edns_refused = 0;
    }

    /// The length of its suffix that `name` lies in, in wire form; `None` if it is not asked for that.
    fn serves(&self, name: &[u8]) -> Option<usize> {
        match &self.config.suffix {
            None => Some(0),
            Some(suffix) => is_within(name, suffix.wire()).then_some(suffix.wire().len()),
        }
    }
}

impl Forwarders {
    /// These, of which nothing is known yet.
    pub fn new(configs: &[ForwarderConfig], strategy: Strategy, extras: bool, rng: &mut Rng) -> Self {
        let configs = configs.iter().take(super::config::FORWARDERS_MAX);
        Self { all: configs.map(|config| Forwarder::new(config.clone(), extras, rng)).collect(), strategy }
    }

    /// Replaces the list; what is known of those that stay is kept. Answers that are under way
    /// belong to places in the old list: the caller asks them anew.
    pub fn replace(&mut self, configs: &[ForwarderConfig], extras: bool, rng: &mut Rng) {
        let mut old = std::mem::take(&mut self.all);
        for config in configs.iter().take(super::config::FORWARDERS_MAX) {
            let known = old.iter().position(|forwarder| forwarder.config == *config);
            let known = known.map(|at| old.swap_remove(at));
            self.all.push(known.unwrap_or_else(|| Forwarder::new(config.clone(), extras, rng)));
        }
    }

    /// The one at a place.
    pub fn get_mut(&mut self, index: u8) -> Option<&mut Forwarder> {
        self.all.get_mut(usize::from(index))
    }

    /// The one at a place.
    pub fn get(&self, index: u8) -> Option<&Forwarder> {
        self.all.get(usize::from(index))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Forwarder> {
        self.all.iter()
    }

    /// Those that are asked about a name: of the longest suffix that it lies in.
    pub fn responsible_for(&self, name: &[u8]) -> Set {
        let lengths = || self.all.iter().map(|forwarder| forwarder.serves(name));
        let longest = lengths().flatten().max();
        lengths()
            .enumerate()
            .filter(|(_, len)| longest.is_some() && *len == longest)
            .map(|(at, _)| 1 << at)
            .sum()
    }

    /// A suffix that the name lies in has forwarders of its own.
    pub fn have_suffix_of(&self, name: &[u8]) -> bool {
        self.all.iter().any(|forwarder| forwarder.serves(name).is_some_and(|len| len > 1))
    }

    /// Those of `among` to ask next that are not in `asked`: none if that is all of them.
    pub fn choose(&self, among: Set, asked: Set, rng: &mut Rng) -> Set {
        let left = || (0..self.all.len()).filter(|index| among & !asked & 1 << index != 0);
        let up = || left().filter(|index| self.all[*index].is_up());
        let Some(first) = up().next() else {
            // Better one that seems down than none. The first to be probed was the first to go.
            let down = left().min_by_key(|index| self.all[*index].probe_at());
            return down.map_or(0, |index| 1 << index);
        };
        match self.strategy {
            Strategy::Strict => 1 << first,
            Strategy::Parallel => up().take(PARALLEL_MAX).map(|index| 1 << index).sum(),
            Strategy::Fastest => {
                // Who was never measured is asked first.
                let best = up().min_by_key(|index| self.all[*index].rtt().unwrap_or_default());
                let other = rng.percent(EXPLORE_PERCENT).then(|| up().nth(rng.index(up().count()))).flatten();
                other.or(best).map_or(0, |index| 1 << index)
            }
        }
    }

    /// A forwarder that is down and due to be asked again; its next time is set.
    pub fn pop_probe(&mut self, now: Instant) -> Option<u8> {
        let due = |forwarder: &Forwarder| forwarder.probe_at() <= now;
        let index = self.all.iter().position(due)?;
        if let State::Down { probe_at, pause } = &mut self.all[index].state {
            *pause = (*pause * 2).min(PROBE_MAX);
            *probe_at = now + *pause;
        }
        Some(index as u8)
    }

    /// When [`Forwarders::pop_probe`] has something.
    pub fn next_probe(&self) -> Option<Instant> {
        self.all.iter().map(Forwarder::probe_at).min().filter(|at| *at < Instant::FAR)
    }
}

impl Forwarder {
    fn probe_at(&self) -> Instant {
        if let State::Down { probe_at, .. } = self.state { probe_at } else { Instant::FAR }
    }
}

/// Before anything is known: most resolvers answer within 0.2 s, a cold one needs more.
const FIRST_TIMEOUT: Duration = Duration::from_millis(800);
/// As c-ares: a busy machine must not look like a dead one.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(250);
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// One lost datagram is no sign, three in a row are.
const DOWN_AFTER: u32 = 3;
const PROBE_FIRST: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(30);
/// Somewhat more than the shortest time-out.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// What a server turned out not to do is tried again after this: as long as unbound believes what it
/// knows of a server (`infra-host-ttl`).
const LEARNT_FOR: Duration = Duration::from_secs(900);
/// Queries in a row.
const EDNS_REFUSED_MAX: u8 = 3;
/// Asking more at once is impolite and gains nothing.
const PARALLEL_MAX: usize = 4;
/// Questions that go to another than the fastest, to see how fast that one is now.
const EXPLORE_PERCENT: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dns::Name;

    const MS: Duration = Duration::from_millis(1);

    fn forwarders(count: u8, strategy: Strategy) -> Forwarders {
        let config = |host| ForwarderConfig::plain(([127, 0, 0, host], 53).into());
        let configs: Vec<_> = (1..=count).map(config).collect();
        Forwarders::new(&configs, strategy, true, &mut Rng::seeded(1))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    #[test]
    fn time_outs_follow_what_was_measured() {
        let mut all = forwarders(1, Strategy::Strict);
        let one = all.get_mut(0).unwrap();
        assert_eq!(
            (one.timeout(0), one.timeout(1), one.timeout(9)),
            (FIRST_TIMEOUT, FIRST_TIMEOUT * 2, TIMEOUT_MAX)
        );
        one.on_answer(Some(MS * 200));
        assert_eq!(one.timeout(0), MS * 600);
        (0..50).for_each(|_| assert!(!one.on_answer(Some(MS)), "it was up"));
        assert_eq!(one.timeout(0), TIMEOUT_MIN);
    }

    #[test]
    fn who_is_silent_three_times_is_down_until_it_answers() {
        let mut all = forwarders(2, Strategy::Strict);
        let rng = &mut Rng::seeded(1);
        assert_eq!((all.choose(3, 0, rng), all.choose(3, 1, rng), all.choose(3, 3, rng)), (1, 2, 0));
        let first = all.get_mut(0).unwrap();
        assert!(!first.on_silence(at(0)) && !first.on_silence(at(1)) && first.on_silence(at(2)));
        assert_eq!((all.choose(3, 0, rng), all.choose(3, 2, rng)), (2, 1), "it is the last resort");
        assert_eq!((all.pop_probe(at(1_001)), all.next_probe()), (None, Some(at(1_002))));
        assert_eq!((all.pop_probe(at(1_002)), all.pop_probe(at(1_002))), (Some(0), None));
        assert_eq!(all.next_probe(), Some(at(3_002)), "then after two seconds");
        assert!(all.get_mut(0).unwrap().on_answer(None));
        assert_eq!((all.choose(3, 0, rng), all.next_probe()), (1, None));
    }

    #[test]
    fn strategies_choose_differently() {
        let rng = &mut Rng::seeded(1);
        assert_eq!(forwarders(6, Strategy::Parallel).choose(0x3f, 0b10, rng), 0b11101);
        let mut fastest = forwarders(3, Strategy::Fastest);
        for (index, ms) in [(0, 30), (1, 10), (2, 20)] {
            fastest.get_mut(index).unwrap().on_answer(Some(MS * ms));
        }
        let chosen: Vec<_> = (0..1_000).map(|_| fastest.choose(7, 0, rng)).collect();
        let second = chosen.iter().filter(|set| **set == 2).count();
        assert!((920..1_000).contains(&second), "{second} of 1,000 go to the fastest");
        assert!(chosen.contains(&1) && chosen.contains(&4));
    }

    #[test]
    fn a_new_list_keeps_what_is_known_of_the_old() {
        let mut all = forwarders(2, Strategy::Strict);
        all.get_mut(1).unwrap().on_answer(Some(MS * 7));
        let configs = [3, 2].map(|host| ForwarderConfig::plain(([127, 0, 0, host], 53).into()));
        all.replace(&configs, true, &mut Rng::seeded(2));
        let known: Vec<_> = all.iter().map(Forwarder::rtt).collect();
        assert_eq!(known, [None, Some(MS * 7)]);
    }

    #[test]
    fn the_longest_suffix_decides_whom_to_ask() {
        let suffixes = [None, Some("corp.test"), Some("168.192.in-addr.arpa"), Some("eu.corp.test"), None];
        let configs = suffixes.iter().zip(1_u8..).map(|(suffix, host)| ForwarderConfig {
            suffix: suffix.map(|text| Name::parse(text).unwrap()),
            ..ForwarderConfig::plain(([127, 0, 0, host], 53).into())
        });
        let all = Forwarders::new(&configs.collect::<Vec<_>>(), Strategy::Strict, true, &mut Rng::seeded(1));
        let among = |text: &str| all.responsible_for(Name::parse(text).unwrap().wire());
        assert_eq!((among("www.test"), among("xcorp.test"), among(".")), (0b10001, 0b10001, 0b10001));
        assert_eq!((among("corp.test"), among("a.corp.test"), among("a.eu.corp.test")), (2, 2, 8));
        assert_eq!(among("7.1.168.192.in-addr.arpa"), 4);
        assert!(all.have_suffix_of(Name::parse("corp.test").unwrap().wire()));
        assert!(!all.have_suffix_of(Name::parse("test").unwrap().wire()));
    }

    #[test]
    fn what_a_server_does_not_do_is_tried_again_later() {
        let mut all = forwarders(1, Strategy::Strict);
        let one = all.get_mut(0).unwrap();
        (0..2).for_each(|_| one.on_edns_refused(at(0)));
        one.on_edns();
        (0..2).for_each(|_| one.on_edns_refused(at(0)));
        assert!(one.uses_edns(at(0)), "it has sent an OPT record between them");
        one.on_edns_refused(at(0));
        one.on_case_lost(at(0));
        assert!(!one.uses_edns(at(899_999)) && !one.mixes_case(at(899_999)));
        assert!(one.uses_edns(at(900_000)) && one.mixes_case(at(900_000)));
    }
}
