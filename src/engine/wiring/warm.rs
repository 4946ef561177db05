//! `preconnect` meets the engine: targets are kept warm, parked connections are watched and handed
//! to clients, and commands have targets measured.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Instant;
use crate::engine::Engine;
use crate::engine::io::{Answer, CommandId, LinkId, Output, PreconnectWish, Reason, Warmth};
use crate::engine::links::Machine;
use crate::engine::wiring::dial::{Caller, Dialled, Wanted, Warm};
use crate::model::{TlsFacts, TlsFailure};
use crate::preconnect::{Key, Report, Target, Timeouts};

impl Engine {
    /// Targets whose time has come are dialled.
    pub(in crate::engine) fn start_warming(&mut self) {
        while let Some((entry, target)) = self.pool.poll_due() {
            let tls = target.key().tls;
            self.dial(Wanted { target, tls, timeouts: Timeouts::default(), caller: Caller::Pool(entry) });
        }
    }

    /// A dial has come to its end.
    pub(in crate::engine) fn on_dialled(&mut self, caller: Caller, target: &Target, dialled: Dialled) {
        match (caller, dialled) {
            (Caller::Pool(entry), Dialled::Opened(link, report)) => {
                let remote = report.reached.unwrap_or_else(|| self.remote(link));
                if self.pool.on_warmed(self.now, entry, link.0, remote) {
                    log::debug!("{target} is warm, over {remote}");
                    self.links.change(link, Machine::Warm(Warm::Parked(entry)));
                } else {
                    self.close(link);
                }
            }
            (Caller::Pool(entry), Dialled::Failed(failure, _)) => {
                let level = if self.pool.on_failed(self.now, entry, failure) {
                    log::Level::Warn
                } else {
                    log::Level::Debug
                };
                log::log!(
                    level,
                    "{target} cannot be warmed now: {}: {:?}",
                    failure.stage.name(),
                    failure.cause
                );
            }
            (Caller::Measure(id), Dialled::Opened(link, report)) => {
                self.close(link);
                self.answer_preconnect(id, report, None);
            }
            (Caller::Park(id), Dialled::Opened(link, report)) => {
                self.park(link, target.clone());
                self.answer_preconnect(id, report, None);
            }
            (Caller::Measure(id) | Caller::Park(id), Dialled::Failed(_, report)) => {
                self.answer_preconnect(id, report, None);
            }
        }
    }

    /// The link of a parked connection for this key, to this address if one is given, and for how
    /// long it was parked. It is the caller's, who gives it a machine with `Links::change` and hands
    /// that what was received meanwhile.
    pub(in crate::engine) fn take_parked(
        &mut self,
        key: &Key,
        to: Option<SocketAddr>,
    ) -> Option<(LinkId, Duration)> {
        let (conn, age) = self.pool.take(self.now, key, to)?;
        log::debug!("a connection to {}:{} that was warm for {age:?} is used", key.host, key.port);
        Some((LinkId(conn), age))
    }

    /// Measures a target for a command, or has it kept.
    pub(in crate::engine) fn preconnect(&mut self, id: CommandId, wish: PreconnectWish) {
        let PreconnectWish { target, timeouts, park } = wish;
        if park && let Some((age, remote)) = self.pool.peek(self.now, &target.key()) {
            let mut report = Box::new(Report::new(target));
            report.reached = Some(remote);
            return self.answer_preconnect(id, report, Some(age));
        }
        let protocol = target.protocol;
        let alpn = if park { protocol.spoken_by_us() } else { protocol.offered() };
        let tls = protocol.is_secure().then_some(alpn);
        let caller = if park { Caller::Park(id) } else { Caller::Measure(id) };
        self.dial(Wanted { target, tls, timeouts, caller });
    }

    /// How the targets stand.
    pub(in crate::engine) fn warmth(&mut self, id: CommandId) {
        let warmth = Warmth { counts: self.pool.counts(), rows: self.pool.rows(self.now) };
        self.outbox.push_back(Output::Answer(id, Answer::Warmth(Box::new(warmth))));
        self.outbox.push_back(Output::Answer(id, Answer::Done { found: true, answered: 0 }));
    }

    /// Changes what is to be warm.
    pub(in crate::engine) fn set_targets(&mut self, targets: Vec<Target>) {
        self.pool.set_targets(self.now, targets);
        self.close_unwanted();
    }

    pub(in crate::engine) fn warm_deadline(&mut self, now: Instant) {
        self.dials_deadline(now);
        self.pool.on_deadline(now);
        self.close_unwanted();
    }

    pub(in crate::engine) fn warm_next_deadline(&self) -> Option<Instant> {
        self.dials.next_deadline().into_iter().chain(self.pool.next_deadline()).min()
    }

    pub(in crate::engine) fn stop_warm(&mut self) {
        self.pool.stop();
        self.stop_dials();
        self.close_unwanted();
    }

    pub(in crate::engine) fn warm_opened(&mut self, warm: Warm) {
        if let Warm::Dialling(dial, number) = warm {
            self.dial_opened(dial, number);
        }
    }

    pub(in crate::engine) fn warm_secured(&mut self, warm: Warm, facts: Box<TlsFacts>) {
        if let Warm::Dialling(dial, number) = warm {
            self.dial_secured(dial, number, facts);
        }
    }

    pub(in crate::engine) fn warm_ticket(&mut self, warm: Warm) {
        if let Warm::Dialling(dial, number) = warm {
            self.dial_ticket(dial, number);
        }
    }

    /// What was received before there was somebody to read it is kept for him, unless it is a
    /// farewell or far too much.
    pub(in crate::engine) fn warm_received(&mut self, id: LinkId, warm: Warm, data: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let fits = link.unread() + data.len() <= UNREAD_MAX;
        if fits {
            link.feed(data, |_, _| Some(0));
        }
        match warm {
            Warm::Dialling(dial, number) if !fits => self.dial_flooded(dial, number),
            Warm::Dialling(..) => {}
            Warm::Parked(entry) => {
                if !fits || self.pool.client_speaks_first(entry) {
                    self.close(id);
                    self.pool.on_lost(self.now, entry);
                }
            }
        }
    }

    pub(in crate::engine) fn warm_eof(&mut self, id: LinkId, warm: Warm) {
        match warm {
            Warm::Dialling(dial, number) => self.dial_eof(dial, number),
            Warm::Parked(entry) => {
                self.close(id);
                self.pool.on_lost(self.now, entry);
            }
        }
    }

    /// The link is gone already.
    pub(in crate::engine) fn warm_closed(&mut self, warm: Warm, reason: Reason) {
        match warm {
            Warm::Dialling(dial, number) => self.dial_closed(dial, number, reason),
            Warm::Parked(entry) => self.pool.on_lost(self.now, entry),
        }
    }

    /// The link is gone already.
    pub(in crate::engine) fn warm_insecure(&mut self, warm: Warm, failure: TlsFailure) {
        match warm {
            Warm::Dialling(dial, number) => self.dial_insecure(dial, number, failure),
            Warm::Parked(entry) => self.pool.on_lost(self.now, entry),
        }
    }

    fn park(&mut self, link: LinkId, target: Target) {
        let remote = self.remote(link);
        match self.pool.park(self.now, target, link.0, remote) {
            Some(entry) => self.links.change(link, Machine::Warm(Warm::Parked(entry))),
            None => self.close(link),
        }
    }

    fn close_unwanted(&mut self) {
        while let Some(conn) = self.pool.poll_close() {
            self.close(LinkId(conn));
        }
    }

    fn answer_preconnect(&mut self, id: CommandId, report: Box<Report>, age: Option<Duration>) {
        let found = report.is_good();
        self.outbox.push_back(Output::Answer(id, Answer::Preconnected(report, age)));
        self.outbox.push_back(Output::Answer(id, Answer::Done { found, answered: 0 }));
    }

    fn remote(&self, link: LinkId) -> SocketAddr {
        self.links.get(link).map_or_else(|| SocketAddr::from(([0; 4], 0)), |link| link.remote)
    }
}

/// A greeting, or the first frames of a session; what says more wants a reader.
const UNREAD_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::base::UnixTime;
    use crate::dns::ForwarderConfig;
    use crate::engine::config::Config;
    use crate::engine::io::{Command, Input, NameQuestion};
    use crate::engine::stats::LimitedBy;
    use crate::model::{Recovered, TlsVersion, TlsWish};
    use crate::preconnect::{Cause, Counts, Fault, Protocol, RowState, Stage};
    use crate::wire::dns::{Kind, Name};

    const TICK: Duration = Duration::from_millis(5);

    /// An engine without sockets, its time, and what it wanted lately.
    struct Rig {
        engine: Engine,
        now: Instant,
        connects: Vec<(LinkId, SocketAddr, Option<Box<TlsWish>>)>,
        closed: Vec<LinkId>,
        writes: Vec<LinkId>,
        answers: Vec<Answer>,
    }

    impl Rig {
        fn new(targets: &str, change: impl FnOnce(&mut Config)) -> Self {
            let mut config = Config::one_off(Vec::new());
            config.targets = crate::preconnect::parse_list(targets).unwrap();
            change(&mut config);
            let now = Instant::from_millis(1_000);
            let engine = Engine::new(config, Recovered::default(), [7; 32], now, UnixTime(1_000));
            let mut rig = Self {
                engine,
                now,
                connects: Vec::new(),
                closed: Vec::new(),
                writes: Vec::new(),
                answers: Vec::new(),
            };
            rig.poll();
            rig
        }

        fn poll(&mut self) {
            let mut scratch = [0; 2_048];
            for _ in 0..10_000 {
                match self.engine.poll(self.now, UnixTime(1_000), &mut scratch) {
                    Output::Idle(_) => return self.engine.check_invariants(),
                    Output::Connect { link, to, tls, .. } => self.connects.push((link, to, tls)),
                    Output::Close(link) => self.closed.push(link),
                    Output::Write(link) => self.writes.push(link),
                    Output::Answer(_, answer) => self.answers.push(answer),
                    Output::Stopped => return,
                    _ => {}
                }
            }
            panic!("it never rests");
        }

        fn give(&mut self, input: Input<'_>) {
            self.engine.handle(self.now, UnixTime(1_000), input, &mut []);
            self.poll();
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now = (self.now + TICK).min(until);
                self.poll();
            }
        }

        /// The only connection that was wanted since the last look.
        fn connect(&mut self) -> (LinkId, SocketAddr, Option<Box<TlsWish>>) {
            assert_eq!(self.connects.len(), 1, "{:?}", self.connects);
            self.connects.remove(0)
        }

        fn secure(&mut self, link: LinkId) {
            self.give(Input::Opened(link));
            self.give(Input::Secured(link, facts()));
            self.give(Input::Ticket(link));
        }

        fn counts(&self) -> Counts {
            self.engine.pool.counts()
        }
    }

    fn facts() -> Box<TlsFacts> {
        Box::new(TlsFacts {
            version: TlsVersion::V13,
            cipher: "",
            group: None,
            alpn: None,
            resumed: false,
            retried: false,
            certificate: None,
        })
    }

    fn measure(target: Target, park: bool) -> Command {
        let wish = PreconnectWish { target, timeouts: Timeouts::default(), park };
        Command::Preconnect(CommandId(1), Box::new(wish))
    }

    #[test]
    fn targets_are_warm_from_the_start_and_warmed_again_when_they_are_lost() {
        let mut rig = Rig::new("127.0.0.1 7001 tcp", |_| {});
        let (link, to, tls) = rig.connect();
        assert_eq!((to, tls), ("127.0.0.1:7001".parse().unwrap(), None));
        rig.give(Input::Opened(link));
        assert_eq!((rig.counts().parked, rig.counts().warmed), (1, 1));
        rig.pass(Duration::from_secs(10));
        rig.give(Input::Eof(link));
        assert_eq!((rig.closed.as_slice(), rig.counts().lost), ([link].as_slice(), 1));
        assert!(rig.connects.is_empty());
        rig.pass(Duration::from_secs(1));
        let (link, ..) = rig.connect();
        rig.give(Input::Closed(link, Reason::Refused));
        assert_eq!((rig.counts().failed, rig.counts().parked), (1, 0));
        let row = rig.engine.pool.rows(rig.now).remove(0);
        let failure = row.failure.unwrap();
        assert_eq!((failure.stage, failure.cause), (Stage::Tcp, Cause::Connect(Fault::Refused)));
        assert_eq!(row.state, RowState::Waiting(Duration::from_secs(2)));
    }

    #[test]
    fn a_farewell_ends_what_is_parked_and_a_greeting_is_kept() {
        let mut rig = Rig::new("127.0.0.1 80 http", |_| {});
        let (link, ..) = rig.connect();
        rig.give(Input::Opened(link));
        rig.give(Input::Received(link, b"HTTP/1.0 408 Request Time-out\r\n\r\n"));
        assert_eq!((rig.closed.as_slice(), rig.counts().lost), ([link].as_slice(), 1));
        let mut rig = Rig::new("127.0.0.1 22 tcp", |_| {});
        let (link, ..) = rig.connect();
        rig.give(Input::Opened(link));
        rig.give(Input::Received(link, &[b'x'; 1_000]));
        assert_eq!((rig.counts().parked, rig.engine.links.get(link).unwrap().unread()), (1, 1_000));
        rig.give(Input::Received(link, &[b'x'; 25]));
        assert_eq!((rig.closed.as_slice(), rig.counts().lost), ([link].as_slice(), 1));
    }

    #[test]
    fn limits_hold_and_nobody_is_forgotten() {
        let targets: String = (0..5).map(|port| format!("127.0.0.1 {} tcp\n", 7_000 + port)).collect();
        let mut rig = Rig::new(&targets, |config| config.rates.half_open = 2);
        assert_eq!(rig.connects.len(), 2);
        assert_eq!(rig.engine.stats().limited_by, LimitedBy::HalfOpen);
        let mut opened = 0;
        while let Some((link, ..)) = rig.connects.pop() {
            rig.give(Input::Opened(link));
            opened += 1;
            assert!(rig.engine.links.half_open <= 2);
        }
        assert_eq!((opened, rig.counts().parked), (5, 5));
        // A limit that never lifts ends the wait.
        let mut rig = Rig::new(&targets, |config| config.rates.half_open = 2);
        rig.pass(Duration::from_secs(11));
        assert!(rig.counts().failed >= 5, "{:?}", rig.counts());
        assert!(rig.engine.dials.len() <= 5 && rig.engine.links.half_open <= 2);
    }

    #[test]
    fn dns_over_tls_takes_the_connection_that_is_warm() {
        let to: SocketAddr = "127.0.0.1:8853".parse().unwrap();
        let mut rig = Rig::new("dns.localhost 8853 dot", |config| {
            let tls = Some("dns.localhost".into());
            config.dns.forwarders = vec![ForwarderConfig { tls, ..ForwarderConfig::plain(to) }];
        });
        // Both families are raced; IPv4 wins.
        rig.pass(Duration::from_millis(300));
        let four = rig.connects.iter().find(|(_, at, _)| *at == to).cloned().unwrap();
        rig.connects.clear();
        assert_eq!(four.2.as_ref().map(|wish| wish.alpn.clone()), Some(vec![b"dot".to_vec()]));
        rig.secure(four.0);
        assert_eq!((rig.counts().parked, rig.closed.len()), (1, 1), "the loser is closed");
        let name = Box::new(Name::parse("a.test.").unwrap());
        rig.give(Input::Command(Command::Resolve(CommandId(3), NameQuestion::Records(name, Kind::A))));
        assert_eq!((rig.connects.len(), rig.counts().used), (0, 1));
        assert_eq!(rig.writes, [four.0], "the question leaves on it");
        assert!(rig.engine.write_allowance(rig.now, four.0) > 0);
        rig.pass(Duration::from_millis(1_300));
        assert!(rig.connects.iter().any(|(_, at, _)| *at == to), "the next one is opened");
    }

    #[test]
    fn a_command_measures_and_closes() {
        let mut rig = Rig::new("", |_| {});
        rig.give(Input::Command(measure(Target::new("127.0.0.1", 443, Protocol::Https), false)));
        let (link, _, tls) = rig.connect();
        assert_eq!(tls.unwrap().alpn.len(), 2);
        rig.pass(Duration::from_millis(20));
        rig.secure(link);
        let Answer::Preconnected(report, None) = rig.answers.remove(0) else { panic!("no report") };
        assert_eq!(
            (report.tcp, report.tickets, report.is_good()),
            (Some(Duration::from_millis(20)), 1, true)
        );
        assert!(matches!(rig.answers.remove(0), Answer::Done { found: true, .. }));
        assert_eq!((rig.closed.as_slice(), rig.engine.links.len()), ([link].as_slice(), 0));
    }

    #[test]
    fn a_command_has_one_parked_and_then_finds_it() {
        let mut rig = Rig::new("", |_| {});
        let target = Target::new("127.0.0.1", 443, Protocol::Https);
        rig.give(Input::Command(measure(target.clone(), true)));
        let (link, _, tls) = rig.connect();
        assert_eq!(tls.unwrap().alpn, [b"http/1.1".to_vec()]);
        rig.secure(link);
        assert!(matches!(rig.answers.remove(0), Answer::Preconnected(_, None)));
        rig.answers.clear();
        rig.pass(Duration::from_secs(3));
        rig.give(Input::Command(measure(target.clone(), true)));
        let Answer::Preconnected(report, Some(age)) = rig.answers.remove(0) else { panic!("no report") };
        assert_eq!((age, report.reached), (Duration::from_secs(3), Some("127.0.0.1:443".parse().unwrap())));
        assert!(rig.connects.is_empty() && rig.closed.is_empty());
        assert_eq!(rig.engine.take_parked(&target.key(), None).map(|(taken, _)| taken), Some(link));
        assert_eq!(rig.engine.take_parked(&target.key(), None), None);
    }

    #[test]
    fn an_end_of_the_engine_is_an_end_of_everything() {
        let mut rig = Rig::new("127.0.0.1 7001 tcp\n127.0.0.1 7002 tls", |_| {});
        let parked = rig.connects[0].0;
        rig.give(Input::Opened(parked));
        rig.give(Input::Command(measure(Target::new("127.0.0.1", 7_003, Protocol::Tcp), false)));
        assert_eq!(rig.connects.len(), 3);
        rig.give(Input::Command(Command::Stop));
        assert_eq!((rig.closed.len(), rig.engine.dials.len(), rig.counts().parked), (3, 0, 0));
        let stopped = |answer: &Answer| match answer {
            Answer::Preconnected(report, _) => report.failure.is_some_and(|it| it.cause == Cause::Stopped),
            _ => false,
        };
        assert!(rig.answers.iter().any(stopped), "{:?}", rig.answers);
        rig.connects.clear();
        rig.pass(Duration::from_secs(5));
        assert!(rig.connects.is_empty(), "nothing is begun any more");
    }
}
