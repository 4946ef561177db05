//! One target, from its name to a connection that can be used: name, connection, handshake, and a
//! short wait for the ticket that makes the next handshake cheaper.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::race::{self, Fault, Outcome, Race, Turn};
use super::report::{Cause, Failure, NameFault, Report, Stage};
use super::target::Target;
use crate::base::Instant;
use crate::model::dns::Source;
use crate::model::tls::{TlsCause, TlsFacts, TlsFailure, TlsVersion, TlsWish};

/// The longest that each stage may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until an address is known.
    pub dns: Duration,
    /// Until one of the addresses answers.
    pub tcp: Duration,
    /// Until TLS is agreed on.
    pub tls: Duration,
    /// How much longer than a round trip a ticket of TLS 1.3 is waited for; zero: not at all.
    pub ticket: Duration,
}

/// What is known of a target's name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its addresses, in the order to be tried (RFC 6724).
    pub addresses: Vec<IpAddr>,
    /// Who knew them.
    pub source: Option<Source>,
    /// No more will come.
    pub complete: bool,
    /// Why there are none.
    pub fault: NameFault,
}

/// One target on its way.
#[derive(Debug)]
pub struct Probe {
    tls: Option<Vec<Vec<u8>>>,
    timeouts: Timeouts,
    state: State,
    began: Instant,
    /// When the state ends by itself.
    until: Instant,
    /// Since when a limit holds its first attempt back.
    held_since: Option<Instant>,
    race: Race,
    report: Report,
    closing: VecDeque<u8>,
    /// How it ended, until somebody asks.
    ended: Option<Option<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its name is looked up.
    Naming,
    /// Its addresses are tried, the first since then.
    Connecting {
        known: Instant,
        first: Option<Instant>,
    },
    /// This attempt is to be made secure.
    Securing(u8, Instant),
    /// This attempt is secure, and a ticket is waited for.
    Settling(u8),
    Over,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { dns: STAGE, tcp: STAGE, tls: STAGE, ticket: TICKET }
    }
}

impl Probe {
    /// Begins with the name, which is to be looked up now. `tls`: make it secure, and offer these
    /// protocols (RFC 7301).
    pub fn new(
        target: Target,
        tls: Option<Vec<Vec<u8>>>,
        (timeouts, race): (Timeouts, race::Config),
        now: Instant,
    ) -> Self {
        Self {
            tls,
            timeouts,
            state: State::Naming,
            began: now,
            until: now + timeouts.dns,
            race: Race::new(race),
            held_since: None,
            report: Report::new(target),
            closing: VecDeque::new(),
            ended: None,
        }
    }

    /// Whom it is for.
    pub fn target(&self) -> &Target {
        &self.report.target
    }

    /// What each attempt is asked to become once it is open.
    pub fn wish(&self) -> Option<TlsWish> {
        let alpn = self.tls.clone()?;
        Some(TlsWish { server: self.report.target.host.clone(), alpn })
    }

    /// Addresses of its name, or none. May come again with more.
    pub fn on_found(&mut self, now: Instant, found: &Found) {
        match self.state {
            State::Naming if !found.addresses.is_empty() => {
                self.report.dns = Some(now.since(self.began));
                self.report.source.clone_from(&found.source);
                self.state = State::Connecting { known: now, first: None };
                self.until = now + self.timeouts.tcp;
            }
            State::Naming if found.complete => {
                self.report.source.clone_from(&found.source);
                return self.fail(now, Stage::Dns, Cause::Name(found.fault));
            }
            State::Connecting { .. } => {}
            _ => return,
        }
        self.race.on_addresses(now, &found.addresses, found.complete);
        self.after_race(now);
    }

    /// True if [`Probe::poll_attempt`] has one now.
    pub fn wants_attempt(&self, now: Instant) -> bool {
        matches!(self.state, State::Connecting { .. }) && self.race.wants_attempt(now)
    }

    /// A limit of ours holds its attempt back: it is told of with the report.
    pub fn on_held(&mut self, now: Instant) {
        self.held_since.get_or_insert(now);
    }

    /// A connection that is to be opened: its number, and where to.
    pub fn poll_attempt(&mut self, now: Instant) -> Option<(u8, SocketAddr)> {
        let State::Connecting { known, first } = &mut self.state else { return None };
        let (number, ip) = self.race.begin(now)?;
        if first.is_none() {
            *first = Some(now);
            self.report.held = self.held_since.map_or(Duration::ZERO, |since| now.since(since.max(*known)));
            self.until = now + self.timeouts.tcp;
        }
        Some((number, SocketAddr::new(ip, self.report.target.port)))
    }

    /// An attempt has a connection.
    pub fn on_opened(&mut self, now: Instant, number: u8) {
        let State::Connecting { first, .. } = self.state else { return };
        if !self.race.on_opened(now, number) {
            return;
        }
        self.close_losers();
        self.report.tcp = first.map(|first| now.since(first));
        self.report.reached = self
            .race
            .attempts()
            .get(usize::from(number))
            .map(|attempt| SocketAddr::new(attempt.ip, self.report.target.port));
        if self.tls.is_some() {
            self.state = State::Securing(number, now);
            self.until = now + self.timeouts.tls;
        } else {
            self.end(now, Some(number));
        }
    }

    /// An attempt has come to nothing, or its connection is gone.
    pub fn on_failed(&mut self, now: Instant, number: u8, fault: Fault) {
        match self.state {
            State::Connecting { .. } => {
                self.race.on_failed(now, number, fault);
                self.after_race(now);
            }
            State::Securing(current, _) if current == number => {
                self.fail(now, Stage::Tls, Cause::Connect(fault));
            }
            State::Settling(current) if current == number => self.fail(now, Stage::Open, Cause::Closed),
            _ => {}
        }
    }

    /// The connection is secure.
    pub fn on_secured(&mut self, now: Instant, number: u8, facts: Box<TlsFacts>) {
        let State::Securing(current, since) = self.state else { return };
        if current != number {
            return;
        }
        self.report.tls = Some(now.since(since));
        // It comes half a round trip after the server has our half of the handshake.
        let round_trip = self.race.attempts().get(usize::from(number)).map_or(Duration::ZERO, |it| it.took);
        let waits = facts.version == TlsVersion::V13 && !self.timeouts.ticket.is_zero();
        self.until = if waits { now + round_trip + self.timeouts.ticket } else { now };
        self.state = State::Settling(number);
        self.report.facts = Some(facts);
    }

    /// TLS failed. The connection is gone.
    pub fn on_insecure(&mut self, now: Instant, number: u8, failure: TlsFailure) {
        let stage = match self.state {
            State::Securing(current, _) if current == number => Stage::Tls,
            State::Settling(current) if current == number => Stage::Open,
            _ => return,
        };
        self.report.refused = failure.certificate.map(Box::new);
        self.fail(now, stage, Cause::Tls(failure.cause));
    }

    /// The server handed out one more ticket. Others may come in the same moment.
    pub fn on_ticket(&mut self, now: Instant, number: u8) {
        if self.state == State::Settling(number) {
            self.report.tickets += 1;
            self.until = self.until.min(now);
        }
    }

    /// The other end will send no more.
    pub fn on_eof(&mut self, now: Instant, number: u8) {
        match self.state {
            State::Securing(current, _) if current == number => {
                self.closing.push_back(number);
                self.fail(now, Stage::Tls, Cause::Tls(TlsCause::Ended));
            }
            State::Settling(current) if current == number => {
                self.closing.push_back(number);
                self.fail(now, Stage::Open, Cause::Closed);
            }
            _ => {}
        }
    }

    /// The other end says more than is waited for.
    pub fn on_flood(&mut self, now: Instant, number: u8) {
        if self.state == State::Settling(number) {
            self.closing.push_back(number);
            self.fail(now, Stage::Open, Cause::Talked);
        }
    }

    /// It is not wanted any more.
    pub fn stop(&mut self, now: Instant) {
        let stage = match self.state {
            State::Naming => Stage::Dns,
            State::Connecting { .. } => Stage::Tcp,
            State::Securing(..) => Stage::Tls,
            State::Settling(_) => Stage::Open,
            State::Over => return,
        };
        self.give_up(now, stage, Cause::Stopped);
    }

    /// A connection that is to be closed.
    pub fn poll_close(&mut self) -> Option<u8> {
        self.closing.pop_front()
    }

    /// Comes once, when it has ended: with the number of the attempt that is open, or without.
    pub fn poll_end(&mut self) -> Option<Option<u8>> {
        self.ended.take()
    }

    /// What it met. All of it, once it has ended.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// When [`Probe::poll_attempt`] or [`Probe::on_deadline`] will have something to do. `None` once
    /// it is over.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        self.race.next_deadline(now).into_iter().chain([self.until]).min()
    }

    /// Ends a stage whose time is over; else does nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        if now < self.until {
            return;
        }
        match self.state {
            State::Naming => self.fail(now, Stage::Dns, Cause::TimedOut),
            State::Connecting { first: None, .. } if self.race.wants_attempt(now) => {
                self.give_up(now, Stage::Tcp, Cause::Held);
            }
            State::Connecting { .. } => self.give_up(now, Stage::Tcp, Cause::TimedOut),
            State::Securing(..) => self.give_up(now, Stage::Tls, Cause::TimedOut),
            State::Settling(number) => self.end(now, Some(number)),
            State::Over => {}
        }
    }

    fn after_race(&mut self, now: Instant) {
        if self.race.outcome() == Outcome::Lost {
            let fault = most_telling(&self.race);
            self.fail(now, Stage::Tcp, Cause::Connect(fault));
        }
    }

    fn give_up(&mut self, now: Instant, stage: Stage, cause: Cause) {
        self.race.stop(now, Fault::TimedOut);
        self.close_losers();
        if let State::Securing(number, _) | State::Settling(number) = self.state {
            self.closing.push_back(number);
        }
        self.fail(now, stage, cause);
    }

    fn close_losers(&mut self) {
        while let Some(number) = self.race.poll_loser() {
            self.closing.push_back(number);
        }
    }

    fn fail(&mut self, now: Instant, stage: Stage, cause: Cause) {
        self.report.failure = Some(Failure { stage, cause });
        self.end(now, None);
    }

    fn end(&mut self, now: Instant, open: Option<u8>) {
        self.state = State::Over;
        self.report.total = now.since(self.began);
        self.report.attempts = self.race.attempts().to_vec();
        self.ended = Some(open);
    }
}

/// Of several faults the one that says most: whoever refuses is there, whoever is silent may be, and
/// a family without a route says nothing about the host.
fn most_telling(race: &Race) -> Fault {
    let faults = race.attempts().iter().filter_map(|attempt| match attempt.turn {
        Turn::Failed(fault) => Some(fault),
        Turn::Trying | Turn::Opened => None,
    });
    let weight = |fault: &Fault| match fault {
        Fault::Refused => 5,
        Fault::Reset => 4,
        Fault::TimedOut => 3,
        Fault::NoResources => 2,
        Fault::Unreachable => 1,
        Fault::Slower => 0,
    };
    faults.max_by_key(weight).unwrap_or(Fault::Unreachable)
}

/// A lost SYN is sent again after one and after three seconds.
const STAGE: Duration = Duration::from_secs(5);
/// Servers send tickets along with the end of their handshake; those that wait for a thread of
/// theirs take some milliseconds more.
const TICKET: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preconnect::Protocol;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn probe(protocol: Protocol) -> Probe {
        let target = Target::new("a.test", 443, protocol);
        let tls = protocol.is_secure().then(|| protocol.offered());
        Probe::new(target, tls, (Timeouts::default(), race::Config::default()), ms(0))
    }

    fn found(addresses: &str, complete: bool) -> Found {
        Found {
            addresses: addresses.split_whitespace().map(|ip| ip.parse().unwrap()).collect(),
            source: Some(Source::Memory),
            complete,
            fault: NameFault::NotThere,
        }
    }

    fn facts(version: TlsVersion) -> Box<TlsFacts> {
        Box::new(TlsFacts {
            version,
            cipher: "",
            group: None,
            alpn: None,
            resumed: false,
            retried: false,
            certificate: None,
        })
    }

    /// Connected at 40 ms, by the second of two addresses.
    fn connected(protocol: Protocol) -> Probe {
        let mut probe = probe(protocol);
        probe.on_found(ms(10), &found("2001:db8::1 192.0.2.1", true));
        assert_eq!(probe.poll_attempt(ms(10)).unwrap().1, "[2001:db8::1]:443".parse().unwrap());
        probe.on_failed(ms(12), 0, Fault::Unreachable);
        assert_eq!(probe.poll_attempt(ms(12)).unwrap().0, 1);
        probe.on_opened(ms(40), 1);
        probe
    }

    fn failure(mut probe: Probe) -> (Stage, Cause) {
        assert_eq!(probe.poll_end(), Some(None));
        assert_eq!(probe.next_deadline(ms(0)), None);
        let report = probe.into_report();
        assert!(report.latency().is_none() && !report.is_good());
        report.failure.map(|failure| (failure.stage, failure.cause)).unwrap()
    }

    #[test]
    fn a_connection_in_the_clear_is_ready_when_it_is_open() {
        let mut probe = connected(Protocol::Http);
        assert!(probe.wish().is_none());
        assert_eq!(probe.poll_end(), Some(Some(1)));
        let report = probe.into_report();
        let ms = |it: Option<Duration>| it.map(|it| it.as_millis());
        assert_eq!((ms(report.dns), ms(report.tcp), ms(report.tls)), (Some(10), Some(30), None));
        assert_eq!((ms(report.latency()), report.attempts.len()), (Some(40), 2));
        assert_eq!(report.reached, Some("192.0.2.1:443".parse().unwrap()));
    }

    #[test]
    fn a_secure_one_waits_for_its_tickets_but_not_for_long() {
        let mut probe = connected(Protocol::Https);
        assert_eq!(probe.wish().unwrap().alpn.len(), 2);
        probe.on_secured(ms(70), 1, facts(TlsVersion::V13));
        assert_eq!((probe.poll_end(), probe.next_deadline(ms(70))), (None, Some(ms(70 + 28 + 200))));
        probe.on_ticket(ms(99), 1);
        probe.on_ticket(ms(99), 1);
        probe.on_deadline(ms(99));
        assert_eq!(probe.poll_end(), Some(Some(1)));
        let report = probe.into_report();
        assert_eq!(
            (report.tickets, report.tls, report.total),
            (2, Some(Duration::from_millis(30)), Duration::from_millis(99))
        );
        let mut none = connected(Protocol::Https);
        none.on_secured(ms(70), 1, facts(TlsVersion::V13));
        none.on_deadline(ms(297));
        assert_eq!(none.poll_end(), None);
        none.on_deadline(ms(298));
        assert_eq!(none.poll_end(), Some(Some(1)), "a server without tickets is a server");
        let mut old = connected(Protocol::Https);
        old.on_secured(ms(70), 1, facts(TlsVersion::V12));
        old.on_ticket(ms(70), 1);
        old.on_deadline(ms(70));
        assert_eq!((old.poll_end(), old.into_report().tickets), (Some(Some(1)), 1));
    }

    #[test]
    fn each_stage_has_its_time() {
        let mut naming = probe(Protocol::Tls);
        assert_eq!(naming.next_deadline(ms(0)), Some(ms(5_000)));
        naming.on_deadline(ms(4_999));
        naming.on_deadline(ms(5_000));
        assert_eq!(failure(naming), (Stage::Dns, Cause::TimedOut));
        // Waiting for the other family's addresses is no limit's fault.
        let mut late = probe(Protocol::Tcp);
        late.on_found(ms(10), &found("192.0.2.1", false));
        assert!(!late.wants_attempt(ms(20)));
        assert!(late.poll_attempt(ms(60)).is_some());
        assert_eq!(late.into_report().held, Duration::ZERO);
        let mut held = probe(Protocol::Tcp);
        held.on_found(ms(10), &found("192.0.2.1", true));
        held.on_held(ms(12));
        assert!(held.poll_attempt(ms(70)).is_some());
        assert_eq!(held.into_report().held, Duration::from_millis(58));
        let mut held = probe(Protocol::Tls);
        held.on_found(ms(10), &found("192.0.2.1", true));
        held.on_deadline(ms(5_010));
        assert_eq!(failure(held), (Stage::Tcp, Cause::Held));
        let mut silent = probe(Protocol::Tls);
        silent.on_found(ms(10), &found("192.0.2.1 192.0.2.2", true));
        silent.poll_attempt(ms(500)).unwrap();
        assert_eq!(silent.next_deadline(ms(500)), Some(ms(750)));
        silent.poll_attempt(ms(750)).unwrap();
        silent.on_deadline(ms(5_499));
        silent.on_deadline(ms(5_500));
        assert_eq!([silent.poll_close(), silent.poll_close(), silent.poll_close()], [Some(0), Some(1), None]);
        assert_eq!(failure(silent), (Stage::Tcp, Cause::TimedOut));
        let mut slow = connected(Protocol::Tls);
        slow.on_deadline(ms(5_040));
        assert_eq!((slow.poll_close(), failure(slow)), (Some(1), (Stage::Tls, Cause::TimedOut)));
    }

    #[test]
    fn failures_name_their_stage() {
        let mut unknown = probe(Protocol::Tls);
        unknown.on_found(ms(1), &found("", false));
        assert_eq!(unknown.poll_end(), None, "the other family may have some");
        unknown.on_found(ms(2), &found("", true));
        assert_eq!(failure(unknown), (Stage::Dns, Cause::Name(NameFault::NotThere)));
        let mut refused = probe(Protocol::Tls);
        refused.on_found(ms(1), &found("192.0.2.1 2001:db8::1", true));
        refused.poll_attempt(ms(1)).unwrap();
        refused.on_failed(ms(2), 0, Fault::Refused);
        refused.poll_attempt(ms(2)).unwrap();
        refused.on_failed(ms(3), 1, Fault::Unreachable);
        assert_eq!(failure(refused), (Stage::Tcp, Cause::Connect(Fault::Refused)));
        let mut reset = connected(Protocol::Tls);
        reset.on_failed(ms(41), 1, Fault::Reset);
        assert_eq!(failure(reset), (Stage::Tls, Cause::Connect(Fault::Reset)));
        let mut wrong = connected(Protocol::Tls);
        wrong.on_insecure(ms(41), 1, TlsFailure { cause: TlsCause::WrongName, certificate: None });
        assert_eq!(failure(wrong), (Stage::Tls, Cause::Tls(TlsCause::WrongName)));
        let mut brief = connected(Protocol::Tls);
        brief.on_secured(ms(50), 1, facts(TlsVersion::V13));
        brief.on_eof(ms(51), 1);
        assert_eq!((brief.poll_close(), failure(brief)), (Some(1), (Stage::Open, Cause::Closed)));
        let mut stopped = connected(Protocol::Tls);
        stopped.stop(ms(60));
        assert_eq!((stopped.poll_close(), failure(stopped)), (Some(1), (Stage::Tls, Cause::Stopped)));
    }

    #[test]
    fn what_is_said_of_losers_changes_nothing() {
        let mut probe = probe(Protocol::Tls);
        probe.on_found(ms(0), &found("2001:db8::1 192.0.2.1", true));
        probe.poll_attempt(ms(0)).unwrap();
        probe.poll_attempt(ms(250)).unwrap();
        probe.on_opened(ms(260), 1);
        assert_eq!((probe.poll_close(), probe.poll_close()), (Some(0), None));
        probe.on_opened(ms(261), 0);
        probe.on_failed(ms(262), 0, Fault::Reset);
        probe.on_insecure(ms(262), 0, TlsFailure { cause: TlsCause::Ended, certificate: None });
        probe.on_secured(ms(263), 0, facts(TlsVersion::V13));
        probe.on_eof(ms(263), 0);
        assert_eq!(probe.poll_end(), None);
        probe.on_secured(ms(264), 1, facts(TlsVersion::V12));
        probe.on_deadline(ms(264));
        assert_eq!(probe.poll_end(), Some(Some(1)));
    }
}
