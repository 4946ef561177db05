//! Connections by name: `dns` finds the addresses, a [`Probe`] of `preconnect` races them and makes
//! the winner secure, limits hold back what is too much, and whoever wanted it is handed the link.

use std::collections::VecDeque;

use crate::base::{Instant, Slots, Timers, Token};
use crate::dns::{self, Looked};
use crate::engine::io::{CommandId, LinkId, Output, Reason};
use crate::engine::links::{Link, Machine};
use crate::engine::stats::LimitedBy;
use crate::engine::{Engine, LINKS_MAX};
use crate::model::{TlsFacts, TlsFailure};
use crate::preconnect::{Failure, Fault, Found, NameFault, Probe, RaceConfig, Report, Target, Timeouts};
use crate::wire::dns::Rcode;

/// Connections on their way.
#[derive(Default)]
pub(in crate::engine) struct Dials {
    slots: Slots<Dial>,
    timers: Timers,
    /// Those that wait for a limit, in order.
    held: VecDeque<Token>,
}

struct Dial {
    probe: Probe,
    caller: Caller,
    /// The links of its attempts.
    links: Vec<(u8, LinkId)>,
    held: bool,
    timer_at: Instant,
}

/// Who wants a connection. Its end comes to [`Engine::on_dialled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Caller {
    /// A command that measures it.
    Measure(CommandId),
    /// A command that wants it kept.
    Park(CommandId),
    /// A target that is to be warm.
    Pool(Token),
}

/// What is wanted of a connection.
pub(in crate::engine) struct Wanted {
    pub(in crate::engine) target: Target,
    /// With TLS, the protocols to offer.
    pub(in crate::engine) tls: Option<Vec<Vec<u8>>>,
    pub(in crate::engine) timeouts: Timeouts,
    pub(in crate::engine) caller: Caller,
}

/// How a connection came about, or why it did not.
pub(in crate::engine) enum Dialled {
    /// The link is the caller's, who gives it a machine with `Links::change`.
    Opened(LinkId, Box<Report>),
    /// There is none.
    Failed(Failure, Box<Report>),
}

/// Where a link stands that nobody uses yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Warm {
    /// It is an attempt of a dial.
    Dialling(Token, u8),
    /// It is parked.
    Parked(Token),
}

impl Dials {
    pub(in crate::engine) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.slots.len()
    }

    fn schedule(&mut self, token: Token, now: Instant) {
        let Some(dial) = self.slots.get_mut(token) else { return };
        let Some(at) = dial.probe.next_deadline(now) else { return };
        if at < dial.timer_at {
            dial.timer_at = at;
            self.timers.push(at, token);
        }
    }

    fn pop_due(&mut self, now: Instant) -> Option<Token> {
        while let Some((at, token)) = self.timers.pop_due(now) {
            let Some(dial) = self.slots.get_mut(token).filter(|dial| dial.timer_at == at) else { continue };
            dial.timer_at = Instant::FAR;
            return Some(token);
        }
        None
    }
}

impl Engine {
    /// Wants a new connection: the name is looked up, its addresses are raced and the winner is made
    /// secure. [`Engine::on_dialled`] has the end, which may come before this returns. Whoever can
    /// do with a parked one asks [`Engine::take_parked`] first.
    pub(in crate::engine) fn dial(&mut self, wanted: Wanted) {
        let Wanted { target, tls, timeouts, caller } = wanted;
        let host = target.host.clone();
        let mut probe = Probe::new(target, tls, (timeouts, RaceConfig::default()), self.now);
        if self.dials.len() >= DIALS_MAX {
            let found =
                Found { addresses: Vec::new(), source: None, complete: true, fault: NameFault::Overloaded };
            probe.on_found(self.now, &found);
        }
        let dial = Dial { probe, caller, links: Vec::new(), held: false, timer_at: Instant::FAR };
        let token = self.dials.slots.insert(dial);
        self.drain_dial(token);
        if self.dials.slots.get(token).is_some() {
            self.look_up_dial(&host, token);
        }
    }

    /// The addresses of a dial's name are known, or half of them.
    pub(in crate::engine) fn dial_looked(&mut self, token: Token, looked: &Looked) {
        let now = self.now;
        let Some(dial) = self.dials.slots.get_mut(token) else { return };
        let found = Found {
            addresses: looked.addresses.iter().map(|(ip, _)| *ip).collect(),
            source: looked.source.clone(),
            complete: looked.complete,
            fault: fault_of(looked),
        };
        dial.probe.on_found(now, &found);
        self.drain_dial(token);
    }

    /// Dials that waited for a limit go on as far as they may.
    pub(in crate::engine) fn start_dials(&mut self) {
        for _ in 0..self.dials.held.len() {
            if !self.may_connect() {
                return;
            }
            let Some(token) = self.dials.held.pop_front() else { return };
            if let Some(dial) = self.dials.slots.get_mut(token) {
                dial.held = false;
                self.drain_dial(token);
            }
        }
    }

    pub(in crate::engine) fn dials_deadline(&mut self, now: Instant) {
        while let Some(token) = self.dials.pop_due(now) {
            if let Some(dial) = self.dials.slots.get_mut(token) {
                dial.probe.on_deadline(now);
            }
            self.drain_dial(token);
        }
    }

    pub(in crate::engine) fn dial_opened(&mut self, token: Token, number: u8) {
        self.with_dial(token, |dial, now| dial.probe.on_opened(now, number));
    }

    pub(in crate::engine) fn dial_secured(&mut self, token: Token, number: u8, facts: Box<TlsFacts>) {
        self.with_dial(token, |dial, now| dial.probe.on_secured(now, number, facts));
    }

    pub(in crate::engine) fn dial_ticket(&mut self, token: Token, number: u8) {
        self.with_dial(token, |dial, now| dial.probe.on_ticket(now, number));
    }

    pub(in crate::engine) fn dial_eof(&mut self, token: Token, number: u8) {
        self.with_dial(token, |dial, now| dial.probe.on_eof(now, number));
    }

    pub(in crate::engine) fn dial_flooded(&mut self, token: Token, number: u8) {
        self.with_dial(token, |dial, now| dial.probe.on_flood(now, number));
    }

    pub(in crate::engine) fn dial_insecure(&mut self, token: Token, number: u8, failure: TlsFailure) {
        self.with_dial(token, |dial, now| dial.probe.on_insecure(now, number, failure));
    }

    pub(in crate::engine) fn dial_closed(&mut self, token: Token, number: u8, reason: Reason) {
        let fault = match reason {
            Reason::Refused => Fault::Refused,
            Reason::Reset => Fault::Reset,
            Reason::Unreachable => Fault::Unreachable,
            Reason::NoResources => Fault::NoResources,
        };
        self.with_dial(token, |dial, now| dial.probe.on_failed(now, number, fault));
    }

    /// Ends every dial.
    pub(in crate::engine) fn stop_dials(&mut self) {
        let tokens: Vec<Token> = self.dials.slots.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.with_dial(token, |dial, now| dial.probe.stop(now));
        }
    }

    fn with_dial(&mut self, token: Token, change: impl FnOnce(&mut Dial, Instant)) {
        let now = self.now;
        if let Some(dial) = self.dials.slots.get_mut(token) {
            change(dial, now);
            self.drain_dial(token);
        }
    }

    /// What a dial wants after it was touched: attempts, as far as limits allow; ends of attempts;
    /// its own end.
    fn drain_dial(&mut self, token: Token) {
        let now = self.now;
        self.begin_attempts(token);
        let Some(dial) = self.dials.slots.get_mut(token) else { return };
        let mut closing = Vec::new();
        while let Some(number) = dial.probe.poll_close() {
            closing.extend(dial.links.iter().find(|(other, _)| *other == number).map(|(_, id)| *id));
        }
        let ended = dial.probe.poll_end();
        closing.into_iter().for_each(|id| self.close(id));
        match ended {
            None => self.dials.schedule(token, now),
            Some(open) => self.end_dial(token, open),
        }
    }

    fn begin_attempts(&mut self, token: Token) {
        let now = self.now;
        while self.dials.slots.get(token).is_some_and(|dial| dial.probe.wants_attempt(now)) {
            let may = self.may_connect();
            let Some(dial) = self.dials.slots.get_mut(token) else { return };
            if !may {
                dial.probe.on_held(now);
                if !std::mem::replace(&mut dial.held, true) {
                    self.dials.held.push_back(token);
                }
                return;
            }
            let Some((number, to)) = dial.probe.poll_attempt(now) else { return };
            let tls = dial.probe.wish().map(Box::new);
            let link = self.links.insert(Machine::Warm(Warm::Dialling(token, number)), to, false);
            self.buckets.flows.send(now, Link::flow(link));
            dial.links.push((number, link));
            self.outbox.push_back(Output::Connect { link, from: None, to, tls });
        }
    }

    fn end_dial(&mut self, token: Token, open: Option<u8>) {
        let Some(dial) = self.dials.slots.remove(token) else { return };
        if dial.held {
            self.dials.held.retain(|other| *other != token);
        }
        let link = dial.links.iter().find(|(number, _)| Some(*number) == open).map(|(_, id)| *id);
        let report = Box::new(dial.probe.into_report());
        let target = report.target.clone();
        let dialled = match (link, report.failure) {
            (Some(link), None) => Dialled::Opened(link, report),
            (_, failure) => {
                let failure = failure.expect("a probe without a connection says why");
                Dialled::Failed(failure, report)
            }
        };
        self.on_dialled(dial.caller, &target, dialled);
    }

    /// Whether limits allow one more connection of our own.
    pub(in crate::engine) fn may_connect(&mut self) -> bool {
        let cap = self.config.rates.half_open;
        let limit = if cap != 0 && self.links.half_open >= cap {
            LimitedBy::HalfOpen
        } else if self.links.len() >= LINKS_MAX || !self.buckets.flows.has_room(self.now) {
            LimitedBy::Flows
        } else {
            return true;
        };
        self.stats.limited_by = limit;
        false
    }
}

/// Why a look-up found no address.
fn fault_of(looked: &Looked) -> NameFault {
    use dns::Failure as It;
    match looked.failure {
        None if looked.exists => NameFault::NoAddress,
        None => NameFault::NotThere,
        Some(It::Rcode(Rcode::NXDOMAIN)) => NameFault::NotThere,
        Some(It::NoForwarder) => NameFault::NoServer,
        Some(It::Timeout | It::Stopped) => NameFault::NoAnswer,
        Some(It::Unreachable) => NameFault::Unreachable,
        Some(It::Refused) => NameFault::Refused,
        Some(It::Rcode(rcode)) => NameFault::Rcode(rcode),
        Some(It::Referral | It::Chain | It::Malformed) => NameFault::Useless,
        Some(It::BadName) => NameFault::BadName,
        Some(It::Overloaded) => NameFault::Overloaded,
    }
}

/// All targets twice over; some two kilobytes each.
const DIALS_MAX: usize = 8_192;
