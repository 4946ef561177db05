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
