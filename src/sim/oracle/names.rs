//! What is judged of names: every look-up ends, once and in time, with the truth or a clear error;
//! whom questions go to, how often, and that nobody can guess their numbers.

mod truth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::{HostId, Oracle, Rule, Times};
use crate::base::{Instant, Path, SocketId};
use crate::dns;
use crate::engine::io::{Answer, CommandId, NameQuestion};
use crate::sim::names::{HONEST, SECURE, Truth, server};
use crate::wire::dns::{Flags, Kind, Message, Name, Rcode};

/// What all hosts have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sim) struct Rules {
    pub(in crate::sim) truth: Truth,
    /// Nothing delays or loses what is said, but that servers flap; honest ones do not.
    pub(in crate::sim) calm: bool,
}

/// The questions of one host.
pub(super) struct Book {
    forwarders: Vec<SocketAddr>,
    strategy: dns::Strategy,
    search: Vec<Name>,
    ndots: usize,
    deadline: Duration,
    ttl_max: u32,
    stale_max: Duration,
    open: BTreeMap<u64, LookUp>,
    /// Questions on the wire that nobody has answered.
    flights: Vec<Flight>,
    /// What went over each stream to a server and is no whole message yet: out, in.
    frames: BTreeMap<u64, [Vec<u8>; 2]>,
    /// When each question, wherever its aliases lead, was wanted and was sent.
    budgets: BTreeMap<(Box<[u8]>, Kind), Budget>,
    /// Whom nothing was heard of since these questions, each however often it was sent.
    silent: BTreeMap<SocketAddr, Vec<(Question, Instant)>>,
    /// How long it has slept, in all its lives: whatever waited is so much older.
    slept: Duration,
    /// From when until when, by the world's clock.
    sleeps: Vec<(Instant, Instant)>,
    /// The settings had no server at some time.
    had_none: bool,
    numbers: Numbers,
}

/// A look-up under way.
#[derive(Clone, Debug)]
struct LookUp {
    wanted: Wanted,
    /// When it was asked for, by the host's clock and by the world's.
    at: Instant,
    began: Instant,
    /// How long it may take while the host is awake.
    within: Duration,
    /// An honest server was among those asked, all the time.
    honest: bool,
    /// A time-out for each server that may be dead, among those asked at some time: over UDP, and
    /// over streams.
    doubtful: [Duration; 2],
    told: bool,
}

/// What is asked: a name and a type.
type Question = (Name, Kind);

#[derive(Clone, Debug)]
enum Wanted {
    /// Addresses of one of these, in this order.
    Host(Vec<Name>),
    Records(Box<Name>, Kind),
}

/// A question on its way: until an answer to it comes, its stream is gone, or it was waited for as
/// long as the shortest time-out. One good answer ends it wherever it was sent, one of no use (cut,
/// refused, failed) all that the same server was asked: it is asked otherwise now, or not at all.
struct Flight {
    to: SocketAddr,
    via: Via,
    id: u16,
    question: Question,
    at: Instant,
    /// It is not waited for; an answer may still be taken.
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Socket(SocketId),
    Stream(u64),
}

#[derive(Default)]
struct Budget {
    wanted: VecDeque<Instant>,
    sent: VecDeque<Instant>,
}

/// Ids and ports that were used: none may be foretold from those before.
#[derive(Default)]
struct Numbers {
    ids: usize,
    last: Option<u16>,
    /// Ids that are near the one before.
    near: usize,
    /// How often each bit was set.
    bits: [usize; 16],
    /// The socket and the time of the last question over UDP: what leaves at one time may share it.
    left: Option<(SocketId, Instant)>,
    /// How often each socket was picked.
    sockets: BTreeMap<SocketId, usize>,
    ports: BTreeSet<u16>,
    binds: usize,
}

impl Book {
    pub(super) fn new(config: &dns::Config, old: Option<&Self>) -> Self {
        let forwarders: Vec<_> = config.forwarders.iter().map(|forwarder| forwarder.addr).collect();
        Self {
            had_none: forwarders.is_empty(),
            forwarders,
            strategy: config.strategy,
            search: config.search.clone(),
            ndots: usize::from(config.ndots),
            deadline: config.deadline,
            ttl_max: config.cache.ttl_max,
            stale_max: config.cache.stale_max,
            open: BTreeMap::new(),
            flights: Vec::new(),
            frames: BTreeMap::new(),
            budgets: BTreeMap::new(),
            silent: BTreeMap::new(),
            slept: old.map_or(Duration::ZERO, |old| old.slept),
            sleeps: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    pub(super) fn has(&self, at: SocketAddr) -> bool {
        self.forwarders.contains(&at)
    }

    /// The host is dead: nobody waits there any more.
    pub(super) fn died(&mut self) {
        self.open.clear();
        self.flights.clear();
    }

    /// A stream is gone, and what was asked on it.
    pub(super) fn closed(&mut self, stream: u64) {
        self.frames.remove(&stream);
        self.flights.retain(|flight| flight.via != Via::Stream(stream));
    }

    /// Bytes on a stream to a server; the whole messages that they complete.
    fn framed(&mut self, stream: u64, inbound: bool, data: &[u8]) -> Vec<Vec<u8>> {
        let bytes = &mut self.frames.entry(stream).or_default()[usize::from(inbound)];
        bytes.extend_from_slice(data);
        let (mut whole, mut used) = (Vec::new(), 0);
        while let Some((len, after)) = bytes[used..].split_first_chunk::<2>()
            && let Some(frame) = after.get(..usize::from(u16::from_be_bytes(*len)))
        {
            whole.push(frame.to_vec());
            used += 2 + frame.len();
        }
        bytes.drain(..used);
        whole
    }

    /// An answer came, if it is one: what it ends.
    fn heard(&mut self, from: SocketAddr, via: Via, data: &[u8]) {
        let Ok(message) = Message::parse(data) else { return };
        let fits = |flight: &&Flight| {
            let same = message.question.is_none_or(|asked| {
                asked.kind == flight.question.1 && asked.name.eq_ignore_ascii_case(flight.question.0.wire())
            });
            flight.to == from && flight.via == via && flight.id == message.header.id && same
        };
        let Some(question) = self.flights.iter().find(fits).map(|flight| flight.question.clone()) else {
            return;
        };
        self.silent.remove(&from);
        let flags = message.header.flags;
        let is_good = matches!(flags.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) && !flags.has(Flags::TC);
        let ends = |flight: &&mut Flight| flight.question == question && (is_good || flight.to == from);
        self.flights.iter_mut().filter(ends).for_each(|flight| flight.over = true);
    }

    fn slept(&mut self, now: Instant, time: Duration) {
        self.slept += time;
        // A sleep takes the place of one that is not over.
        self.sleeps.iter_mut().for_each(|(_, until)| *until = now.min(*until));
        self.sleeps.push((now, now + time));
    }

    /// How long it has slept of late: so much later it does what is due.
    pub(super) fn slept_of_late(&self, now: Instant) -> Duration {
        let lately = self.sleeps.iter().filter(|(_, until)| now.since(*until) < SLEEP_FELT);
        lately.map(|(from, until)| until.since(*from)).sum()
    }

    /// Other settings: questions under way are put to whoever is asked now.
    pub(super) fn set_system(&mut self, system: &dns::System) {
        (self.search, self.ndots) = (system.search.clone(), usize::from(system.ndots));
        let forwarders: Vec<_> = system.forwarders.iter().map(|forwarder| forwarder.addr).collect();
        if forwarders == self.forwarders {
            return;
        }
        self.forwarders = forwarders;
        self.had_none |= self.forwarders.is_empty();
        self.flights.clear();
        self.silent.clear();
        let (honest, doubtful) = (self.has_honest(), self.doubtful());
        for look_up in self.open.values_mut() {
            look_up.honest &= honest;
            look_up.doubtful = [0, 1].map(|way| look_up.doubtful[way] + doubtful[way]);
        }
    }

    /// A look-up begins.
    pub(super) fn begin(&mut self, id: u64, question: &NameQuestion, (world, now): Times) {
        let wanted = match question {
            NameQuestion::Host(host) => Wanted::Host(self.candidates(host)),
            NameQuestion::Records(name, kind) => Wanted::Records(name.clone(), *kind),
        };
        let (names, kinds) = match &wanted {
            Wanted::Host(names) => (names.clone(), vec![Kind::A, Kind::AAAA]),
            Wanted::Records(name, kind) => (vec![(**name).clone()], vec![*kind]),
        };
        for name in &names {
            kinds.iter().for_each(|kind| self.want(name, *kind, now));
        }
        let within = self.deadline * names.len() as u32;
        let (honest, doubtful) = (self.has_honest(), self.doubtful());
        let look_up = LookUp { wanted, at: now, began: world, within, honest, doubtful, told: false };
        self.open.insert(id, look_up);
    }

    /// Hosts that the engine wants for itself.
    pub(super) fn want_hosts(&mut self, hosts: &[(String, u16)], now: Instant) {
        let names: Vec<_> = hosts.iter().flat_map(|(host, _)| self.candidates(host)).collect();
        for name in names {
            // As often as it takes.
            for kind in [Kind::A, Kind::AAAA].repeat(RETRIES) {
                self.want(&name, kind, now);
            }
        }
    }

    fn want(&mut self, name: &Name, kind: Kind, now: Instant) {
        let mut at = Some(name.clone());
        for _ in 0..ALIASES_MAX {
            let Some(name) = at.take() else { return };
            self.budgets.entry((name.wire().into(), kind)).or_default().wanted.push_back(now);
            if let crate::sim::names::Fact::Alias(target) = Truth::default().fact(&name, kind, 0) {
                at = Some(*target);
            }
        }
    }

    /// The names that a host may stand for (resolv.conf(5)).
    fn candidates(&self, host: &str) -> Vec<Name> {
        let name = |text: &str| Name::parse(text).expect("the world asks for names only");
        if host.ends_with('.') {
            return vec![name(host)];
        }
        let with = self.search.iter().map(|suffix| name(&format!("{host}.{suffix}")));
        if host.matches('.').count() >= self.ndots {
            std::iter::once(name(host)).chain(with).collect()
        } else {
            with.chain(std::iter::once(name(host))).collect()
        }
    }

    fn has_honest(&self) -> bool {
        (0..HONEST).any(|n| self.has(server(n)))
    }

    fn doubtful(&self) -> [Duration; 2] {
        let doubtful = self.forwarders.iter().filter(|at| (0..HONEST).all(|n| server(n) != **at));
        let costs = |at: &SocketAddr| {
            if *at == server(SECURE) { [STREAM_TIMEOUT; 2] } else { [TIMEOUT, STREAM_TIMEOUT] }
        };
        doubtful.map(costs).fold([Duration::ZERO; 2], |all, one| [all[0] + one[0], all[1] + one[1]])
    }
}

impl Oracle {
    /// Says what is true in this world.
    pub(in crate::sim) fn set_names(&mut self, rules: Rules) {
        self.rules = rules;
    }

    pub(in crate::sim) fn slept(&mut self, host: HostId, now: Instant, time: Duration) {
        self.books[host.index()].names.slept(now, time);
    }

    /// A socket was opened; so many are open now besides the DHT's.
    pub(in crate::sim) fn bound(&mut self, host: HostId, now: Instant, at: SocketAddr, open: usize) {
        self.note(Rule::Sockets);
        let numbers = &mut self.books[host.index()].names.numbers;
        numbers.binds += 1;
        numbers.ports.insert(at.port());
        if open > SOCKETS_MAX {
            self.fail(Rule::Sockets, host, now, format!("{open} sockets are open"));
        }
    }

    /// A question leaves over UDP.
    pub(in crate::sim) fn asked(&mut self, host: HostId, times: Times, path: Path, data: &[u8]) {
        let names = &mut self.books[host.index()].names;
        names.numbers.leave(path.socket, times.1);
        self.on_flight(host, times, (path.remote, Via::Socket(path.socket)), data);
    }

    /// Bytes leave on a stream to a server.
    pub(super) fn asked_on_stream(
        &mut self,
        host: HostId,
        times: Times,
        (to, stream): (SocketAddr, u64),
        data: &[u8],
    ) {
        for frame in self.books[host.index()].names.framed(stream, false, data) {
            self.on_flight(host, times, (to, Via::Stream(stream)), &frame);
        }
    }

    /// Bytes come in on a stream from a server.
    pub(super) fn told_on_stream(&mut self, host: HostId, (from, stream): (SocketAddr, u64), data: &[u8]) {
        let names = &mut self.books[host.index()].names;
        for frame in names.framed(stream, true, data) {
            names.heard(from, Via::Stream(stream), &frame);
        }
    }

    fn on_flight(&mut self, host: HostId, (now, local): Times, (to, via): (SocketAddr, Via), data: &[u8]) {
        self.note(Rule::Coalesced);
        self.note(Rule::Forwarders);
        let rules = self.rules;
        let book = &mut self.books[host.index()];
        let stopping = book.stopping;
        let names = &mut book.names;
        let question =
            Message::parse(data).ok().and_then(|message| Some((message.header, message.question?)));
        let read =
            question.and_then(|(header, asked)| Some((header, Name::from_wire(asked.name)?, asked.kind)));
        let Some((header, name, kind)) = read.filter(|(header, ..)| !header.flags.has(Flags::QR)) else {
            return self.fail(Rule::Forwarders, host, now, format!("what it sends to {to} is no question"));
        };
        names.flights.retain(|flight| local.since(flight.at) < FLIGHT_MAX);
        let question = (name, kind);
        let twice = names.flights.iter().any(|it| it.to == to && it.question == question && it.waits(local));
        let taken = names.flights.iter().any(|it| it.via == via && it.id == header.id && it.waits(local));
        let is_probe = question.0 == Name::ROOT;
        names.numbers.take(header.id);
        let flight = Flight { to, via, id: header.id, question: question.clone(), at: local, over: false };
        names.flights.push(flight);
        let broken = if !names.has(to) {
            Some((Rule::Forwarders, format!("{to} is asked, which is none of its servers")))
        } else if stopping {
            Some((Rule::Drained, format!("{to} is asked after the stop")))
        } else if twice {
            Some((Rule::Coalesced, format!("{to} is asked twice at once for {question:?}")))
        } else if taken {
            Some((Rule::Unpredictable, format!("id {} is used twice at once on {via:?}", header.id)))
        } else if !is_probe && !names.within_budget(&question, local) {
            Some((Rule::Forwarders, format!("{question:?} is sent too often")))
        } else if rules.calm && !is_probe && !Truth::is_endless(&question.0) && names.is_given_up(to, local) {
            // Where aliases lead nowhere nobody has an answer, and all are asked.
            Some((Rule::Forwarders, format!("{to} was silent three times, others are not, and it is asked")))
        } else {
            None
        };
        // A chain of aliases is one look-up, however many of its questions a server leaves unanswered.
        if matches!(via, Via::Socket(_)) && !Truth::is_endless(&question.0) {
            let silent = names.silent.entry(to).or_default();
            let again = |(asked, at): &(_, Instant)| *asked == question && local.since(*at) < FLIGHT_MAX;
            if !silent.iter().any(again) {
                silent.push((question, local));
            }
        }
        if let Some((rule, detail)) = broken {
            self.fail(rule, host, now, detail);
        }
    }

    /// A datagram is about to be handed in on a socket of the resolver's.
    pub(in crate::sim) fn told(&mut self, host: HostId, path: Path, data: &[u8]) {
        self.books[host.index()].names.heard(path.remote, Via::Socket(path.socket), data);
    }

    /// An answer to a look-up.
    pub(super) fn looked_up(&mut self, host: HostId, (now, local): Times, id: CommandId, answer: &Answer) {
        let book = &mut self.books[host.index()];
        let Some(look_up) = book.names.open.get_mut(&id.0) else { return };
        match answer {
            Answer::Looked(_) | Answer::Records(_) => {
                let again = std::mem::replace(&mut look_up.told, true);
                let look_up = look_up.clone();
                self.note(Rule::LookUps);
                if again {
                    return self.fail(Rule::LookUps, host, now, format!("{look_up:?} is answered twice"));
                }
                self.judge_look_up(host, (now, local), &look_up, answer);
            }
            Answer::Done { .. } => {
                let told = book.names.open.remove(&id.0).is_some_and(|look_up| look_up.told);
                if !told {
                    self.fail(Rule::LookUps, host, now, format!("{id:?} ended without an answer"));
                }
            }
            _ => self.fail(Rule::LookUps, host, now, format!("{answer:?} is no answer to {id:?}")),
        }
    }

    /// Nobody waits longer than was said.
    pub(super) fn check_look_ups(&mut self, host: HostId, (now, local): Times) {
        self.note(Rule::LookUps);
        let book = &self.books[host.index()];
        if let Some(late) = book.names.open.values().find(|it| book.names.is_late(it, now)) {
            let (late, since) = (late.clone(), local.since(late.at));
            self.fail(Rule::LookUps, host, now, format!("{late:?} has no end after {since:?}"));
        }
    }

    /// After the end: nobody waits, and nothing could be foretold.
    pub(in crate::sim) fn settle_names(&mut self, host: HostId, now: Instant) {
        self.note(Rule::Unpredictable);
        let names = &self.books[host.index()].names;
        if let Some(look_up) = names.open.values().next() {
            let detail = format!("{look_up:?} was forgotten");
            self.fail(Rule::LookUps, host, now, detail);
        } else if let Some(detail) = names.numbers.fault() {
            self.fail(Rule::Unpredictable, host, now, detail);
        }
    }
}

impl Book {
    /// So often may it be sent: so many tries for each time that it was wanted lately.
    fn within_budget(&mut self, question: &Question, now: Instant) -> bool {
        let window = self.deadline + TURN + self.slept;
        let key = (Box::from(question.0.wire()), question.1);
        let Some(budget) = self.budgets.get_mut(&key) else { return false };
        budget.sent.push_back(now);
        while budget.sent.front().is_some_and(|at| now.since(*at) > window) {
            budget.sent.pop_front();
        }
        // Whoever waited for another name before this one may have wanted it for longer.
        while budget.wanted.len() > WANTED_KEPT {
            budget.wanted.pop_front();
        }
        let lately = budget.wanted.iter().filter(|at| now.since(**at) <= window * 6).count();
        budget.sent.len() <= TRIES_MAX * lately.max(1)
    }

    /// It has taken longer than it may, without the time that the host has slept.
    fn is_late(&self, look_up: &LookUp, now: Instant) -> bool {
        let both = |(from, until): &(Instant, Instant)| now.min(*until).since(look_up.began.max(*from));
        let slept: Duration = self.sleeps.iter().map(both).sum();
        now.since(look_up.began) > look_up.within + slept + TURN
    }

    /// It has not answered three questions in a row, and another would.
    fn is_given_up(&self, to: SocketAddr, now: Instant) -> bool {
        let old = |(_, at): &&(_, Instant)| now.since(*at) > TIMEOUT_MAX;
        let silent = self.silent.get(&to).map_or(0, |asked| asked.iter().filter(old).count());
        // Whoever asks all at once takes the first answer, and learns nothing of the others.
        self.strategy != dns::Strategy::Parallel && silent >= SILENCES && self.has_honest()
    }
}

impl Flight {
    /// No time-out is as short as this: it is surely waited for.
    fn waits(&self, now: Instant) -> bool {
        !self.over && now.since(self.at) < TIMEOUT_MIN
    }
}

impl Numbers {
    fn take(&mut self, id: u16) {
        self.ids += 1;
        let gap = self.last.map_or(u16::MAX / 2, |last| id.wrapping_sub(last).min(last.wrapping_sub(id)));
        self.near += usize::from(gap < NEAR);
        self.bits.iter_mut().enumerate().for_each(|(bit, set)| *set += usize::from(id >> bit & 1));
        self.last = Some(id);
    }

    fn leave(&mut self, socket: SocketId, now: Instant) {
        if self.left.replace((socket, now)) != Some((socket, now)) {
            *self.sockets.entry(socket).or_default() += 1;
        }
    }

    /// What could be foretold. Bounds are such that chance alone breaks one of them in less than a
    /// million hosts.
    fn fault(&self) -> Option<String> {
        // Half of all, and six deviations of the square root of a quarter of all.
        let spread = 6 * self.ids.isqrt() / 2;
        let uneven = self
            .bits
            .iter()
            .find(|set| self.ids / 2 > **set + spread + 1 || **set > self.ids / 2 + spread + 1);
        // One in 1,024 is near by chance.
        let near_max = 8 + self.ids / 64;
        let picks: usize = self.sockets.values().sum();
        let busiest = self.sockets.values().max().copied().unwrap_or(0);
        if let Some(set) = uneven {
            Some(format!("a bit is set in {set} of {} ids", self.ids))
        } else if self.near > near_max {
            Some(format!("{} of {} ids are near the one before", self.near, self.ids))
        } else if picks >= SPREAD_FROM && busiest * 2 > picks {
            Some(format!("one socket was picked {busiest} of {picks} times"))
        } else if self.ports.len() + 2 + self.binds / 50 < self.binds {
            Some(format!("{} sockets had only {} ports", self.binds, self.ports.len()))
        } else {
            None
        }
    }
}

/// A turn of lateness.
const TURN: Duration = Duration::from_millis(2);
/// The least that a try is given.
const TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// The most that a try is given.
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// A question is remembered for so long: nobody waits longer for an answer.
const FLIGHT_MAX: Duration = Duration::from_secs(12);
/// What was late for a sleep, and what follows from that, is over after so long.
const SLEEP_FELT: Duration = Duration::from_secs(40);
/// The first time-out, before anything was measured; later ones are shorter where nothing is slow.
const TIMEOUT: Duration = Duration::from_millis(810);
/// The same where a connection has to be opened first.
const STREAM_TIMEOUT: Duration = Duration::from_millis(1_810);
/// Questions without an answer after which a server counts as down.
const SILENCES: usize = 3;
/// Two sets of sockets, the old one being used up.
const SOCKETS_MAX: usize = 16;
/// All tries of one question.
const TRIES_MAX: usize = 24;
/// More aliases than anybody follows.
const ALIASES_MAX: usize = 24;
/// How often a bootstrap host may be looked up again while one budget lasts.
const RETRIES: usize = 16;
const WANTED_KEPT: usize = 256;
/// Ids so close to the one before that they may be guessed from it.
const NEAR: u16 = 32;
/// From so many picks on, chance spreads them over the sockets.
const SPREAD_FROM: usize = 100;
