//! `resolve`: what names have, where the answer came from and how long it took; one, or a file of
//! millions.

mod bar;
mod lines;
mod servers;
mod shown;
mod window;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::Path;

use super::args;
use super::failure::{Failure, Outcome};
use super::launch::{self, entropy};
use super::names::{parse_forwarder, system};
use super::print::Out;
use super::units::human_count;
use crate::base::{Instant, TokenBucket};
use crate::dns::{self, Strategy, cache};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, Event, NameQuestion};
use crate::model::Recovered;
use crate::model::dns::Source;
use crate::reactor::{Clock, Gauges, KeepNothing, Observer, Reactor, ReactorConfig, listen};
use crate::wire::dns::{Kind, Name, idn};
use bar::Bar;
use lines::{Lines, Next};
use servers::Servers;
use shown::Shown;
pub use shown::why;
use window::Window;

/// Looks up every name, from the command line or a file.
pub fn run(args: &args::Resolve, json: bool) -> Result<Outcome, Failure> {
    let wanted = Wanted::of(args)?;
    let clock = Clock::start();
    let reactor = ReactorConfig { signals: true, ..ReactorConfig::default() };
    let listening = listen(&reactor, clock).map_err(|fault| launch::start_failure(fault, &[]))?;
    let mut config = Config::one_off(Vec::new());
    config.dns = wanted.resolver();
    let servers = Servers::new(&config.dns.forwarders);
    let engine = Engine::new(config, Recovered::default(), entropy()?, clock.now(), clock.unix());
    let archive = KeepNothing::new(listening.wake());
    let session = Session::new(wanted, servers, json || args.file.is_some(), clock.now());
    let mut reactor = Reactor::new(listening, engine, archive, session);
    reactor.run();
    let (_, _, session) = reactor.into_parts();
    session.end()
}

/// What is asked, of whom, and how fast.
struct Wanted {
    names: Names,
    kind: Option<Kind>,
    server: Vec<dns::ForwarderConfig>,
    rate: u64,
}

enum Names {
    Given(std::vec::IntoIter<String>),
    File(Lines),
}

impl Wanted {
    fn of(args: &args::Resolve) -> Result<Self, Failure> {
        let (servers, names): (Vec<String>, Vec<String>) =
            args.names.iter().cloned().partition(|name| name.starts_with('@'));
        let server = servers.iter().map(|text| parse_forwarder(&text[1..]).map_err(Failure::usage));
        let server = server.collect::<Result<Vec<_>, _>>()?;
        let unknown =
            |text: &str| Failure::usage(format!("`{text}` is no record type; give one like A, MX or TYPE65"));
        let kind = args.r#type.as_deref().map(|text| text.parse().map_err(|()| unknown(text))).transpose()?;
        let names = match (&args.file, names.len()) {
            (None, 0) => return Err(Failure::usage("no name is given; give NAMEs, or --file NAMES")),
            (None, _) => Names::Given(names.into_iter()),
            (Some(_), 1..) => return Err(Failure::usage("give names or --file, not both")),
            (Some(path), 0) => Names::File(open(path)?),
        };
        Ok(Self { names, kind, server, rate: args.rate.unwrap_or(0) })
    }

    fn resolver(&self) -> dns::Config {
        let system = system(&self.server);
        dns::Config {
            hosts: system.hosts,
            search: system.search,
            ndots: system.ndots,
            strategy: Strategy::Strict,
            cache: CACHE,
            unsaved_max: 0,
            ..dns::Config::new(system.forwarders)
        }
    }

    fn is_bulk(&self) -> bool {
        matches!(self.names, Names::File(_))
    }
}

fn open(path: &Path) -> Result<Lines, Failure> {
    Lines::open(path).map_err(|fault| {
        Failure::failed(format!("cannot read {}: {fault}; give a file with one name a line", path.display()))
    })
}

impl Names {
    /// Puts the next one in the place of `name`; a failure if the file cannot be read on.
    fn next(&mut self, name: &mut String) -> Result<Next, Failure> {
        match self {
            Self::Given(names) => Ok(match names.next() {
                None => Next::End,
                Some(next) => {
                    *name = next;
                    Next::Name
                }
            }),
            Self::File(lines) => {
                let broken = |fault| Failure::failed(format!("cannot read on: {fault}; try again"));
                lines.next(name).map_err(broken)
            }
        }
    }
}

impl Names {
    /// What was not asked.
    fn rest(&self) -> String {
        match self {
            Self::Given(_) => "ask for the others again".to_owned(),
            Self::File(lines) => format!(
                "what follows line {} of the file was not read; to go on, give the lines behind it",
                human_count(lines.number)
            ),
        }
    }

    /// How far it is: bytes of a file, or names.
    fn position(&self, ended: u64) -> u64 {
        match self {
            Self::Given(_) => ended,
            Self::File(lines) => lines.read,
        }
    }
}

/// Asks, prints, and stops the engine when every name has had its answer.
struct Session {
    names: Names,
    kind: Option<Kind>,
    out: Out,
    json: bool,
    line: Vec<u8>,
    shown: Shown,
    bar: Option<Bar>,
    servers: Servers,
    window: Window,
    rate: TokenBucket,
    /// Names that have no answer yet. A command's id is the place of its name.
    places: Vec<Place>,
    free: Vec<usize>,
    /// Names that had no answer from a server that may be back.
    again: VecDeque<usize>,
    /// Under way in the engine.
    open: usize,
    /// Of the last turn.
    now: Instant,
    /// There is no other name.
    over: bool,
    /// There may be names, though none was asked for.
    busy: bool,
    stopping: Stopping,
    timeouts: u64,
    found: u64,
    ended: u64,
    failure: Option<Failure>,
}

#[derive(Default)]
struct Place {
    name: String,
    /// How often it was asked for.
    tries: u8,
    /// It was asked for, and nothing is told of it yet.
    open: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    Wanted,
    Begun,
}

impl Session {
    fn new(wanted: Wanted, servers: Servers, json: bool, now: Instant) -> Self {
        let most = if wanted.kind.is_some() { UNDER_WAY_MAX } else { UNDER_WAY_MAX / 2 };
        let bar = match &wanted.names {
            Names::File(lines) => Bar::new(lines.size),
            Names::Given(names) if names.len() > 1 => Bar::new(Some(names.len() as u64)),
            Names::Given(_) => None,
        };
        let mut rate = TokenBucket::new(wanted.rate, 1 + wanted.rate / BURST_SHARE);
        // Nothing was saved up before the start.
        rate.take(now, wanted.rate / BURST_SHARE);
        Self {
            bar,
            servers: if wanted.is_bulk() { servers } else { Servers::default() },
            names: wanted.names,
            kind: wanted.kind,
            out: Out::new(),
            json,
            line: Vec::new(),
            shown: Shown::default(),
            window: Window::new(most),
            rate,
            places: Vec::new(),
            free: Vec::new(),
            again: VecDeque::new(),
            open: 0,
            now,
            over: false,
            busy: false,
            stopping: Stopping::No,
            timeouts: 0,
            found: 0,
            ended: 0,
            failure: None,
        }
    }

    /// The place of the next name to ask for.
    fn next_name(&mut self) -> Option<usize> {
        if let Some(place) = self.again.pop_front() {
            return Some(place);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let mut name = std::mem::take(&mut self.places[place].name);
        let mut next = self.names.next(&mut name);
        let mut bad = 0;
        while let Ok(Next::Bad(why)) = next {
            self.shown.set_failed(why);
            self.tell(&name);
            bad += 1;
            if bad == BAD_PER_TURN {
                self.busy = true;
                break;
            }
            next = self.names.next(&mut name);
        }
        self.places[place] = Place { name, tries: 0, open: false };
        match next {
            Ok(Next::Name) => return Some(place),
            Ok(Next::Bad(_)) => {}
            Ok(Next::End) => self.over = true,
            Err(failure) => self.fail(failure),
        }
        self.free.push(place);
        None
    }

    /// The command that asks for a name; `None` if it is none, which is told.
    fn ask(&mut self, place: usize) -> Option<Command> {
        let at = &mut self.places[place];
        let address =
            at.name.parse::<IpAddr>().ok().filter(|_| self.kind.is_none_or(|kind| kind == Kind::PTR));
        let question = match (self.kind, address) {
            (_, Some(ip)) => NameQuestion::Records(Box::new(dns::hosts::reverse(ip)), Kind::PTR),
            (None, None) => NameQuestion::Host(at.name.clone()),
            (Some(kind), None) => {
                match idn::to_ascii(&at.name).map_err(drop).and_then(|name| Name::parse(&name).map_err(drop))
                {
                    Ok(name) => NameQuestion::Records(Box::new(name), kind),
                    Err(_) => {
                        self.shown.set_failed(shown::NO_NAME);
                        self.end_place(place);
                        return None;
                    }
                }
            }
        };
        (at.tries, at.open) = (at.tries + 1, true);
        self.open += 1;
        Some(Command::Resolve(CommandId(place as u64), question))
    }

    /// Tells what came of a name, and gives its place away.
    fn end_place(&mut self, place: usize) {
        let name = std::mem::take(&mut self.places[place].name);
        self.tell(&name);
        (self.places[place].name, self.places[place].open) = (name, false);
        self.free.push(place);
    }

    /// Prints what is in `shown`.
    fn tell(&mut self, name: &str) {
        self.ended += 1;
        self.found += u64::from(self.shown.is_found());
        let told = if self.json {
            self.line.clear();
            self.shown.write_json(name, &mut self.line);
            self.out.write(&self.line)
        } else {
            self.shown.lines(name).iter().try_for_each(|line| self.out.line(line))
        };
        self.take(told);
    }

    fn take(&mut self, told: Result<(), Failure>) {
        if let Err(failure) = told {
            self.fail(failure);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.stop();
    }

    fn stop(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Wanted;
        }
    }

    fn is_complete(&self) -> bool {
        self.over && self.open == 0 && self.again.is_empty()
    }

    /// Every name that was read has a line, whatever ended it all.
    fn end(mut self) -> Result<Outcome, Failure> {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        let (complete, answered) = (self.is_complete(), self.ended);
        for place in 0..self.places.len() {
            if self.places[place].open {
                self.shown.set_failed("stopped before there was an answer");
                self.end_place(place);
            }
        }
        self.out.flush()?;
        match self.failure {
            Some(failure) => Err(failure),
            None if complete => Ok(Outcome::found(self.found > 0)),
            None => {
                let rest = self.names.rest();
                Err(Failure::failed(format!("stopped after {} names; {rest}", human_count(answered))))
            }
        }
    }
}

impl Observer<Engine> for Session {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        let place = command.0 as usize;
        if self.places.get(place).is_none_or(|place| !place.open) {
            return;
        }
        let (failure, source, took) = match &answer {
            Answer::Looked(looked) => {
                self.shown.set_host(looked);
                let failure = looked.failure.filter(|_| looked.addresses.is_empty());
                (failure, looked.source.as_ref(), looked.elapsed)
            }
            Answer::Records(resolved) => {
                self.shown.set_records(resolved);
                let source = resolved.result.as_ref().map(|given| &given.source);
                (resolved.result.as_ref().err().copied(), source.ok(), resolved.elapsed)
            }
            // `Done` follows each; nothing else comes here.
            _ => return,
        };
        if matches!(source, Some(Source::Forwarder(_))) {
            self.window.on_answer(took, self.open >= self.window.size());
        }
        self.open -= 1;
        if failure == Some(dns::Failure::Stopped) {
            // A signal stops the engine, and only this tells of it.
            self.stop();
        }
        use dns::Failure::{Refused, Timeout, Unreachable};
        let silent = matches!(failure, Some(Timeout | Unreachable | Refused));
        if silent && self.servers.are_known() && self.places[place].tries < TRIES_MAX {
            self.again.push_back(place);
        } else {
            self.end_place(place);
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Forwarder { addr, up, .. } = event {
            self.servers.on_change(addr, up, self.now);
        }
    }

    fn poll_command(&mut self, now: Instant) -> Option<Command> {
        self.now = now;
        self.busy = false;
        if self.is_complete() {
            self.stop();
        }
        match self.stopping {
            Stopping::No => {}
            Stopping::Begun => return None,
            Stopping::Wanted => {
                self.stopping = Stopping::Begun;
                return Some(Command::Stop);
            }
        }
        while self.open < self.window.size() && !self.servers.are_down() && !self.over_all() {
            if !self.rate.take(now, 1) {
                return None;
            }
            let place = self.next_name()?;
            if let Some(command) = self.ask(place) {
                return Some(command);
            }
        }
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waits = self.open < self.window.size() && !self.over_all();
        match self.stopping {
            Stopping::Begun => None,
            Stopping::Wanted => Some(self.now),
            Stopping::No if self.busy || self.is_complete() => Some(self.now),
            Stopping::No if self.servers.are_down() => self.servers.give_up_at(),
            Stopping::No => waits.then(|| self.rate.ready_at(self.now, 1)),
        }
    }

    fn on_gauges(&mut self, engine: &mut Engine, _gauges: &Gauges) {
        let timeouts = engine.names_stats().timeouts;
        if std::mem::replace(&mut self.timeouts, timeouts) < timeouts {
            self.window.on_silence(self.now);
        }
        if self.servers.give_up_at().is_some_and(|at| at <= self.now) {
            let (server, rest) = (self.servers.names(), self.names.rest());
            let told = human_count(self.ended);
            self.fail(Failure::failed(format!(
                "no answer from {server}; check the address and the network; {told} names are done, {rest}"
            )));
        }
        if let Some(bar) = &mut self.bar {
            let waits = self.servers.are_down();
            bar.show(self.names.position(self.ended), (self.ended, self.found), waits, self.now);
        }
        let flushed = self.out.flush();
        self.take(flushed);
    }

    /// The terminal is gone.
    fn on_reload(&mut self) {
        self.stop();
    }
}

impl Session {
    /// No name is left that was not asked for.
    fn over_all(&self) -> bool {
        self.over && self.again.is_empty()
    }
}

/// What a bulk run asks for twice is mostly close together. The whole of it would not be in the
/// processor's caches.
const CACHE: cache::Config =
    cache::Config { entries_max: 4_096, bytes_max: 4 << 20, ..cache::Config::DEFAULT };
/// Names under way at once. Two questions each, they are half of what a resolver takes.
const UNDER_WAY_MAX: usize = 8_192;
/// A name that nobody answers is asked for so often, each time of all servers and three rounds.
const TRIES_MAX: u8 = 3;
/// So many names may leave at once, as a share of a second's: the system wakes nobody more often than
/// once a millisecond.
const BURST_SHARE: u64 = 50;
/// Lines of a file that are no names, read in one turn.
const BAD_PER_TURN: usize = 1_000;
