//! Connections that are kept open for those who will need one: which targets want one, when the
//! next is to be opened, how long one is kept, and who takes it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::report::Failure;
use super::target::{Key, TARGETS_MAX, Target};
use crate::base::{Instant, Slots, Timers, Token};

/// How connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most that are kept at once.
    pub parked_max: usize,
    /// One that nobody took for so long is closed, and opened anew if its target is to stay warm.
    pub age_max: Duration,
    /// The first pause after a failure or a loss. Each further one in a row doubles it.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

/// The targets that are to be warm, and what is parked.
pub struct Pool {
    config: Config,
    entries: Slots<Entry>,
    by_key: BTreeMap<Key, Vec<Token>>,
    timers: Timers,
    due: VecDeque<Token>,
    closing: VecDeque<Token>,
    counts: Counts,
}

/// What was counted, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened and parked.
    pub warmed: u64,
    /// Tries without a connection.
    pub failed: u64,
    /// Parked ones that somebody took.
    pub used: u64,
    /// Parked ones that grew too old, or were not wanted any more.
    pub wasted: u64,
    /// Parked ones that the other end closed.
    pub lost: u64,
    /// Parked now.
    pub parked: usize,
    /// Targets that are to be warm.
    pub targets: usize,
}

/// One target as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub target: Target,
    /// How it stands.
    pub state: RowState,
    /// What the last try came to, if it failed.
    pub failure: Option<Failure>,
}

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// A connection is open, since so long, to this address.
    Parked(Duration, SocketAddr),
    /// One is being opened.
    Warming,
    /// One will be opened in so long.
    Waiting(Duration),
}

#[derive(Debug)]
struct Entry {
    target: Target,
    key: Key,
    state: State,
    /// It is opened again when it is gone.
    stays: bool,
    pause: Duration,
    failure: Option<Failure>,
    timer_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Warming,
    Parked { conn: Token, remote: SocketAddr, since: Instant },
}

impl Default for Config {
    fn default() -> Self {
        Self { parked_max: TARGETS_MAX, age_max: AGE_MAX, pause_min: PAUSE_MIN, pause_max: PAUSE_MAX }
    }
}

impl Pool {
    /// Without any target.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            entries: Slots::default(),
            by_key: BTreeMap::new(),
            timers: Timers::default(),
            due: VecDeque::new(),
            closing: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The targets that are to be warm from now on, [`TARGETS_MAX`] at most; the others are let go.
    pub fn set_targets(&mut self, now: Instant, targets: Vec<Target>) {
        let tokens: Vec<Token> = self.entries.iter().map(|(token, _)| token).collect();
        let mut wanted: BTreeMap<Key, Target> = BTreeMap::new();
        for target in targets.into_iter().take(TARGETS_MAX) {
            wanted.entry(target.key()).or_insert(target);
        }
        for token in tokens {
            let Some(entry) = self.entries.get_mut(token).filter(|entry| entry.stays) else { continue };
            match wanted.remove(&entry.key) {
                Some(target) => entry.target = target,
                None => self.forget(token),
            }
        }
        for target in wanted.into_values() {
            let token = self.insert(target, State::Waiting(now), true);
            self.due.push_back(token);
        }
    }

    /// A target that wants a connection now. [`Pool::on_warmed`] or [`Pool::on_failed`] is to follow.
    pub fn poll_due(&mut self) -> Option<(Token, Target)> {
        loop {
            let token = self.due.pop_front()?;
            if let Some(entry) = self.entries.get_mut(token)
                && matches!(entry.state, State::Waiting(_))
            {
                entry.state = State::Warming;
                return Some((token, entry.target.clone()));
            }
        }
    }

    /// A connection for a target is open. False if it is not wanted any more.
    pub fn on_warmed(&mut self, now: Instant, token: Token, conn: Token, remote: SocketAddr) -> bool {
        if self.counts.parked >= self.config.parked_max {
            self.wait(now, token, None);
            return false;
        }
        let Some(entry) = self.entries.get_mut(token).filter(|entry| entry.state == State::Warming) else {
            return false;
        };
        entry.state = State::Parked { conn, remote, since: now };
        entry.failure = None;
        self.counts.warmed += 1;
        self.counts.parked += 1;
        self.schedule(token, now + self.config.age_max);
        true
    }

    /// No connection for a target came about. True if the last try had gone well.
    pub fn on_failed(&mut self, now: Instant, token: Token, failure: Failure) -> bool {
        let Some(entry) = self.entries.get(token) else { return false };
        let is_new = entry.failure.is_none();
        self.counts.failed += 1;
        self.wait(now, token, Some(failure));
        is_new
    }

    /// The other end closed a parked connection.
    pub fn on_lost(&mut self, now: Instant, token: Token) {
        let Some(entry) = self.entries.get_mut(token) else { return };
        let State::Parked { since, .. } = entry.state else { return };
        // One that lived longer than the pause before it is worth as much again.
        if now.since(since) > entry.pause {
            entry.pause = Duration::ZERO;
        }
        self.counts.lost += 1;
        self.counts.parked -= 1;
        self.leave(now, token);
    }

    /// Keeps a connection that was opened for something else, until it grows too old. `None` if
    /// there is no room, else the name under which it is parked.
    pub fn park(&mut self, now: Instant, target: Target, conn: Token, remote: SocketAddr) -> Option<Token> {
        if self.counts.parked >= self.config.parked_max {
            return None;
        }
        let token = self.insert(target, State::Warming, false);
        self.on_warmed(now, token, conn, remote).then_some(token)
    }

    /// Takes the connection that was parked last for this key, to this address if one is given.
    pub fn take(&mut self, now: Instant, key: &Key, to: Option<SocketAddr>) -> Option<(Token, Duration)> {
        let (since, token, conn, _) = self.parked(key, to)?;
        self.counts.used += 1;
        self.counts.parked -= 1;
        if let Some(entry) = self.entries.get_mut(token) {
            entry.pause = Duration::ZERO;
        }
        self.leave(now, token);
        Some((conn, now.since(since)))
    }

    /// For how long the youngest connection for this key is parked, and where to.
    pub fn peek(&self, now: Instant, key: &Key) -> Option<(Duration, SocketAddr)> {
        let (since, _, _, remote) = self.parked(key, None)?;
        Some((now.since(since), remote))
    }

    /// True if whoever is at the other end of a parked connection is to keep silent.
    pub fn client_speaks_first(&self, token: Token) -> bool {
        self.entries.get(token).is_some_and(|entry| entry.target.protocol.client_speaks_first())
    }

    /// A connection that is to be closed.
    pub fn poll_close(&mut self) -> Option<Token> {
        self.closing.pop_front()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let targets = self.entries.iter().filter(|(_, entry)| entry.stays).count();
        Counts { targets, ..self.counts }
    }

    /// Every target that is to be warm, and what else is parked.
    pub fn rows(&self, now: Instant) -> Vec<Row> {
        let row = |entry: &Entry| Row {
            target: entry.target.clone(),
            state: match entry.state {
                State::Waiting(at) => RowState::Waiting(at.since(now)),
                State::Warming => RowState::Warming,
                State::Parked { since, remote, .. } => RowState::Parked(now.since(since), remote),
            },
            failure: entry.failure,
        };
        self.entries.iter().map(|(_, entry)| row(entry)).collect()
    }

    /// Closes everything and forgets all targets.
    pub fn stop(&mut self) {
        let tokens: Vec<Token> = self.entries.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.forget(token));
    }

    /// When [`Pool::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Lets go what is too old, and finds what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        while let Some((at, token)) = self.timers.pop_due(now) {
            let Some(entry) = self.entries.get_mut(token).filter(|entry| entry.timer_at == at) else {
                continue;
            };
            entry.timer_at = Instant::FAR;
            match entry.state {
                State::Waiting(at) if at <= now => self.due.push_back(token),
                State::Parked { conn, since, .. } if now.since(since) >= self.config.age_max => {
                    self.closing.push_back(conn);
                    self.counts.wasted += 1;
                    self.counts.parked -= 1;
                    entry.pause = Duration::ZERO;
                    self.leave(now, token);
                }
                State::Waiting(at) => self.schedule(token, at),
                State::Parked { since, .. } => self.schedule(token, since + self.config.age_max),
                State::Warming => {}
            }
        }
    }

    /// Panics if the counts are not those of what is there.
    pub fn check_invariants(&self) {
        let parked = self.entries.iter().filter(|(_, entry)| matches!(entry.state, State::Parked { .. }));
        assert_eq!(parked.count(), self.counts.parked, "parked");
        let named: usize = self.by_key.values().map(Vec::len).sum();
        assert_eq!(named, self.entries.len(), "every entry is found by its key");
        let ended = self.counts.used + self.counts.wasted + self.counts.lost;
        assert_eq!(self.counts.warmed, ended + self.counts.parked as u64, "each came to one end");
    }

    /// The youngest connection for this key, to this address if one is given.
    fn parked(&self, key: &Key, to: Option<SocketAddr>) -> Option<(Instant, Token, Token, SocketAddr)> {
        let parked = self.by_key.get(key)?.iter().filter_map(|token| {
            let State::Parked { conn, remote, since } = self.entries.get(*token)?.state else { return None };
            to.is_none_or(|to| to == remote).then_some((since, *token, conn, remote))
        });
        parked.max()
    }

    fn insert(&mut self, target: Target, state: State, stays: bool) -> Token {
        let key = target.key();
        let timer_at = Instant::FAR;
        let entry =
            Entry { target, key: key.clone(), state, stays, pause: Duration::ZERO, failure: None, timer_at };
        let token = self.entries.insert(entry);
        self.by_key.entry(key).or_default().push(token);
        token
    }

    /// Its connection is gone: it waits for the next, or goes too.
    fn leave(&mut self, now: Instant, token: Token) {
        if self.entries.get(token).is_some_and(|entry| entry.stays) {
            self.wait(now, token, None);
        } else {
            self.remove(token);
        }
    }

    fn wait(&mut self, now: Instant, token: Token, failure: Option<Failure>) {
        let Some(entry) = self.entries.get_mut(token) else { return };
        if !entry.stays {
            self.remove(token);
            return;
        }
        entry.pause = (entry.pause * 2).clamp(self.config.pause_min, self.config.pause_max);
        let at = now + entry.pause;
        entry.state = State::Waiting(at);
        entry.failure = failure;
        self.schedule(token, at);
    }

    fn schedule(&mut self, token: Token, at: Instant) {
        if let Some(entry) = self.entries.get_mut(token) {
            entry.timer_at = at;
            self.timers.push(at, token);
        }
    }

    fn forget(&mut self, token: Token) {
        if let Some(Entry { state: State::Parked { conn, .. }, .. }) = self.remove(token) {
            self.closing.push_back(conn);
            self.counts.wasted += 1;
            self.counts.parked -= 1;
        }
    }

    fn remove(&mut self, token: Token) -> Option<Entry> {
        let entry = self.entries.remove(token)?;
        if let Some(tokens) = self.by_key.get_mut(&entry.key) {
            tokens.retain(|other| *other != token);
            if tokens.is_empty() {
                self.by_key.remove(&entry.key);
            }
        }
        Some(entry)
    }
}

/// Routers and load balancers forget a silent connection after some minutes without a word.
const AGE_MAX: Duration = Duration::from_secs(300);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preconnect::{Cause, Protocol, Stage};

    const DOWN: Failure = Failure { stage: Stage::Tcp, cause: Cause::TimedOut };

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn target(host: &str) -> Target {
        Target::new(host, 443, Protocol::Tls)
    }

    fn conn(number: u64) -> Token {
        Token::unpack(number)
    }

    fn to() -> SocketAddr {
        "192.0.2.1:443".parse().unwrap()
    }

    /// A pool whose only target is parked since 0.
    fn parked() -> Pool {
        let mut pool = Pool::new(Config::default());
        pool.set_targets(ms(0), vec![target("a.test"), target("a.test")]);
        let (token, due) = pool.poll_due().unwrap();
        assert!(due == target("a.test") && pool.poll_due().is_none(), "one key, one connection");
        assert!(pool.on_warmed(ms(0), token, conn(7), to()));
        pool
    }

    /// The pause until the target is due again.
    fn pause(pool: &mut Pool, now: Instant) -> Duration {
        assert!(pool.poll_due().is_none());
        while pool.due.is_empty() {
            let at = pool.next_deadline().unwrap();
            pool.on_deadline(at);
            if !pool.due.is_empty() {
                return at.since(now);
            }
        }
        unreachable!("it is due only later")
    }

    #[test]
    fn a_parked_connection_is_taken_once_and_another_one_is_opened() {
        let mut pool = parked();
        let key = target("a.test").key();
        assert_eq!(pool.take(ms(50), &target("b.test").key(), None), None);
        assert_eq!(pool.take(ms(50), &key, Some("192.0.2.9:443".parse().unwrap())), None);
        assert_eq!(pool.take(ms(50), &key, Some(to())), Some((conn(7), Duration::from_millis(50))));
        assert_eq!(pool.take(ms(50), &key, None), None);
        assert_eq!(pause(&mut pool, ms(50)), PAUSE_MIN);
        assert!(pool.poll_due().is_some());
        let counts = pool.counts();
        assert_eq!((counts.warmed, counts.used, counts.parked, counts.targets), (1, 1, 0, 1));
        pool.check_invariants();
    }

    #[test]
    fn what_fails_is_tried_ever_more_seldom() {
        let mut pool = Pool::new(Config::default());
        pool.set_targets(ms(0), vec![target("a.test")]);
        let (mut now, mut pauses) = (ms(0), Vec::new());
        for round in 0..12 {
            let (token, _) = pool.poll_due().unwrap();
            assert_eq!(pool.on_failed(now, token, DOWN), round == 0);
            let pause = pause(&mut pool, now);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let (token, _) = pool.poll_due().unwrap();
        assert!(pool.on_warmed(now, token, conn(1), to()));
        pool.on_lost(now + Duration::from_secs(1), token);
        assert_eq!(pause(&mut pool, now + Duration::from_secs(1)), PAUSE_MAX, "it did not last");
        let (token, _) = pool.poll_due().unwrap();
        assert!(pool.on_warmed(now, token, conn(2), to()));
        let later = now + Duration::from_secs(301);
        pool.on_lost(later, token);
        assert_eq!(pause(&mut pool, later), PAUSE_MIN, "it lasted");
        assert_eq!((pool.counts().lost, pool.counts().failed), (2, 12));
        pool.check_invariants();
    }

    #[test]
    fn an_old_one_is_closed_and_renewed() {
        let mut pool = parked();
        pool.on_deadline(ms(299_999));
        assert_eq!(pool.poll_close(), None);
        pool.on_deadline(ms(300_000));
        assert_eq!((pool.poll_close(), pool.counts().wasted), (Some(conn(7)), 1));
        assert_eq!(pause(&mut pool, ms(300_000)), PAUSE_MIN);
        pool.check_invariants();
    }

    #[test]
    fn targets_come_and_go() {
        let mut pool = parked();
        pool.set_targets(
            ms(10),
            vec![target("b.test"), Target { service: "x".to_owned(), ..target("a.test") }],
        );
        assert_eq!(pool.poll_close(), None, "what stays wanted stays open");
        let (late, due) = pool.poll_due().unwrap();
        assert_eq!((due.host.as_str(), pool.rows(ms(10))[0].target.service.as_str()), ("b.test", "x"));
        pool.set_targets(ms(20), Vec::new());
        assert_eq!((pool.poll_close(), pool.counts().targets), (Some(conn(7)), 0));
        assert!(!pool.on_warmed(ms(30), late, conn(8), to()), "nobody wants it any more");
        assert!(!pool.on_failed(ms(30), late, DOWN));
        pool.check_invariants();
    }

    #[test]
    fn guests_leave_when_they_are_taken_lost_or_old() {
        let mut pool = Pool::new(Config { parked_max: 2, ..Config::default() });
        let first = pool.park(ms(0), target("a.test"), conn(1), to()).unwrap();
        pool.park(ms(5), target("a.test"), conn(2), to()).unwrap();
        assert_eq!(pool.park(ms(5), target("a.test"), conn(3), to()), None, "no room");
        assert_eq!(pool.take(ms(6), &target("a.test").key(), None).unwrap().0, conn(2), "the youngest");
        pool.on_lost(ms(7), first);
        assert!(pool.rows(ms(7)).is_empty());
        pool.park(ms(10), target("a.test"), conn(4), to()).unwrap();
        pool.on_deadline(ms(300_010));
        assert_eq!((pool.poll_close(), pool.rows(ms(300_010)).len()), (Some(conn(4)), 0));
        pool.check_invariants();
    }

    quickcheck::quickcheck! {
        /// Whatever happens in whatever order: counts fit, and no connection is handed out twice
        /// or left behind.
        fn nothing_is_lost(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut pool = Pool::new(Config { parked_max: 3, ..Config::default() });
            let (mut now, mut number) = (ms(0), 0);
            let (mut warming, mut open) = (Vec::new(), BTreeMap::new());
            for (what, which, wait) in steps {
                now += Duration::from_millis(u64::from(wait) * 10);
                let host = |which: u8| target(&format!("{}.test", which % 5));
                match what % 6 {
                    0 => pool.set_targets(now, (0..which % 6).map(host).collect()),
                    1 => warming.extend(pool.poll_due().map(|(token, _)| token)),
                    2 | 3 => if let Some(token) = warming.pop() {
                        number += 1;
                        if what % 6 == 2 && pool.on_warmed(now, token, conn(number), to()) {
                            open.insert(conn(number), token);
                        } else if what % 6 == 3 {
                            pool.on_failed(now, token, DOWN);
                        }
                    },
                    4 => if let Some((taken, _)) = pool.take(now, &host(which).key(), None) {
                        assert!(open.remove(&taken).is_some(), "handed out twice");
                    },
                    _ => if let Some((_, token)) = open.pop_first() { pool.on_lost(now, token) },
                }
                pool.on_deadline(now);
                while let Some(closed) = pool.poll_close() {
                    assert!(open.remove(&closed).is_some(), "closed twice");
                }
                pool.check_invariants();
                assert_eq!(open.len(), pool.counts().parked);
                assert!(pool.next_deadline().is_none_or(|at| at > now));
            }
            true
        }
    }
}
