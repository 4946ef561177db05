//! `resolve`: what names have, where the answer came from and how long it took; one, or a file of
//! millions.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args;
use super::failure::{Failure, Outcome};
use super::launch::{self, entropy};
use super::names::{parse_forwarder, system};
use super::print::Out;
use super::units::three_digits;
use crate::base::hash::Map;
use crate::base::{Rng, hash};
use crate::dns::{self, Looked, Resolved, Strategy};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, NameQuestion};
use crate::model::Recovered;
use crate::reactor::{Clock, Gauges, Handle, KeepNothing, Observer, Reactor, ReactorConfig, listen};
use crate::wire::dns::{Kind, Name};

/// Looks up every name, from the command line or a file.
pub fn run(args: &args::Resolve, json: bool) -> Result<Outcome, Failure> {
    let wanted = Wanted::of(args)?;
    let clock = Clock::start();
    let listening =
        listen(&ReactorConfig::default(), clock).map_err(|fault| launch::start_failure(fault, &[]))?;
    let mut config = Config::one_off(Vec::new());
    config.dns = wanted.resolver();
    let engine = Engine::new(config, Recovered::default(), entropy()?, clock.now(), clock.unix());
    let archive = KeepNothing::new(listening.wake());
    let handle = listening.handle();
    let mut session = Session::new(wanted, handle, json || args.file.is_some())?;
    session.send_next();
    let mut reactor = Reactor::new(listening, engine, archive, session);
    reactor.run();
    let (_, _, session) = reactor.into_parts();
    session.end()
}

/// What is asked, of whom, and how fast.
struct Wanted {
    names: Names,
    /// How many there are, if that is known.
    count: Option<u64>,
    kind: Option<Kind>,
    server: Vec<dns::ForwarderConfig>,
    rate: u64,
}

enum Names {
    Given(std::vec::IntoIter<String>),
    File(BufReader<File>),
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
        let (names, count) = match (&args.file, names.len()) {
            (None, 0) => return Err(Failure::usage("no name is given; give NAMEs, or --file NAMES")),
            (None, count) => (Names::Given(names.into_iter()), Some(count as u64)),
            (Some(_), 1..) => return Err(Failure::usage("give names or --file, not both")),
            (Some(path), 0) => (Names::File(open(path)?), None),
        };
        Ok(Self { names, count, kind, server, rate: args.rate.unwrap_or(0) })
    }

    fn resolver(&self) -> dns::Config {
        let system = system(&self.server);
        dns::Config {
            hosts: system.hosts,
            search: system.search,
            ndots: system.ndots,
            strategy: Strategy::Strict,
            ..dns::Config::new(system.forwarders)
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path).map_err(|fault| {
        Failure::failed(format!("cannot read {}: {fault}; give a file with one name a line", path.display()))
    })?;
    Ok(BufReader::new(file))
}

impl Names {
    /// The next name; an error if the file cannot be read on, or has a line that is longer than any
    /// name.
    fn next(&mut self) -> Option<Result<String, Failure>> {
        match self {
            Self::Given(names) => names.next().map(Ok),
            Self::File(file) => loop {
                let mut line = Vec::new();
                match std::io::Read::take(&mut *file, LINE_MAX).read_until(b'\n', &mut line) {
                    Ok(0) => return None,
                    Ok(len) if len as u64 == LINE_MAX => {
                        return Some(Err(Failure::failed(
                            "a line is longer than 4 KiB; give a file with one name a line",
                        )));
                    }
                    Ok(_) => {
                        let text = String::from_utf8_lossy(&line);
                        let name = text.trim();
                        if !name.is_empty() && !name.starts_with('#') {
                            return Some(Ok(name.to_owned()));
                        }
                    }
                    Err(fault) => {
                        return Some(Err(Failure::failed(format!("cannot read on: {fault}; try again"))));
                    }
                }
            },
        }
    }
}

/// Asks, prints, and stops the engine when every name has had its answer.
struct Session {
    wanted: Wanted,
    handle: Handle,
    out: Out,
    json: bool,
    bar: Option<ProgressBar>,
    /// The names under way, by their commands.
    open: Map<u64, String>,
    next: u64,
    started: Instant,
    over: bool,
    stopped: bool,
    found: u64,
    ended: u64,
    failure: Option<Failure>,
}

impl Session {
    fn new(wanted: Wanted, handle: Handle, json: bool) -> Result<Self, Failure> {
        let many = wanted.count.is_none_or(|count| count > 1) && std::io::stderr().is_terminal();
        let bar = many.then(|| wanted.count.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        if let Some(bar) = &bar {
            let style =
                ProgressStyle::with_template("{pos} names, {per_sec}, {msg} found {wide_bar} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        Ok(Self {
            wanted,
            handle,
            out: Out::new(),
            json,
            bar,
            open: hash::map(&mut Rng::new(entropy()?)),
            next: 0,
            started: Instant::now(),
            over: false,
            stopped: false,
            found: 0,
            ended: 0,
            failure: None,
        })
    }

    /// Asks for as many more names as may be under way, and as the rate allows.
    fn send_next(&mut self) {
        while !self.over && self.open.len() < UNDER_WAY_MAX && self.may_ask() {
            match self.wanted.names.next() {
                None => self.over = true,
                Some(Err(failure)) => return self.fail(failure),
                Some(Ok(name)) => self.ask(name),
            }
        }
        if self.over && self.open.is_empty() {
            self.stop();
        }
    }

    fn may_ask(&self) -> bool {
        let rate = self.wanted.rate;
        rate == 0 || self.next < 1 + (self.started.elapsed().as_secs_f64() * rate as f64) as u64
    }

    fn ask(&mut self, name: String) {
        let question = match self.wanted.kind {
            None => Ok(NameQuestion::Host(name.clone())),
            Some(kind) => Name::parse(&name).map(|name| NameQuestion::Records(Box::new(name), kind)),
        };
        let Ok(question) = question else {
            self.ended += 1;
            let told = self.tell(&name, &Shown::failed("it is no name"));
            return self.take(told);
        };
        let id = self.next;
        self.next += 1;
        if self.handle.send(Command::Resolve(CommandId(id), question)).is_err() {
            return self.fail(Failure::failed("the engine did not start; try again"));
        }
        self.open.insert(id, name);
    }

    fn tell(&mut self, name: &str, shown: &Shown) -> Result<(), Failure> {
        self.found += u64::from(!shown.data.is_empty());
        if self.json {
            return self.out.json(&shown.json(name));
        }
        shown.lines(name).iter().try_for_each(|line| self.out.line(line))
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
        if !std::mem::replace(&mut self.stopped, true) && self.handle.send(Command::Stop).is_err() {
            log::debug!("the engine stops already");
        }
    }

    fn end(mut self) -> Result<Outcome, Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.out.flush()?;
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Outcome::found(self.found > 0)),
        }
    }
}

impl Observer<Engine> for Session {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        let shown = match &answer {
            Answer::Looked(looked) => Shown::host(looked),
            Answer::Records(resolved) => Shown::records(resolved),
            _ => {
                self.ended += u64::from(self.open.remove(&command.0).is_some());
                return self.send_next();
            }
        };
        let Some(name) = self.open.get(&command.0).cloned() else { return };
        let told = self.tell(&name, &shown);
        self.take(told);
    }

    fn on_gauges(&mut self, _engine: &mut Engine, _gauges: &Gauges) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.ended);
            bar.set_message(self.found.to_string());
        }
        let flushed = self.out.flush();
        self.take(flushed);
        self.send_next();
    }
}

/// What is shown of one name.
struct Shown {
    /// The name as it was found, if with another suffix.
    as_name: Option<String>,
    /// Type, data, TTL in seconds.
    data: Vec<(Kind, String, u32)>,
    source: String,
    elapsed: Duration,
    failure: Option<String>,
}

impl Shown {
    fn failed(why: &str) -> Self {
        let failure = Some(why.to_owned());
        Self { as_name: None, data: Vec::new(), source: String::new(), elapsed: Duration::ZERO, failure }
    }

    fn host(looked: &Looked) -> Self {
        let kind = |ip: &std::net::IpAddr| if ip.is_ipv4() { Kind::A } else { Kind::AAAA };
        let data = looked.addresses.iter().map(|(ip, ttl)| (kind(ip), ip.to_string(), *ttl)).collect();
        let failure = match (&looked.failure, looked.addresses.is_empty()) {
            (Some(failure), true) => Some(why(*failure)),
            (None, true) if looked.exists => Some("it has no address".to_owned()),
            (None, true) => Some("there is no such name".to_owned()),
            (_, false) => None,
        };
        let source = looked.source.to_string();
        Self { as_name: Some(looked.name.to_string()), data, source, elapsed: looked.elapsed, failure }
    }

    fn records(resolved: &Resolved) -> Self {
        let as_name = Some(resolved.name.to_string());
        match &resolved.result {
            Err(failure) => Self { as_name, elapsed: resolved.elapsed, ..Self::failed(&why(*failure)) },
            Ok(given) => {
                let data = super::records::texts(given);
                let failure = match given.answer.rcode {
                    _ if data
                        .iter()
                        .any(|(kind, ..)| *kind == resolved.kind || resolved.kind == Kind::ANY) =>
                    {
                        None
                    }
                    crate::wire::dns::Rcode::NXDOMAIN => Some("there is no such name".to_owned()),
                    _ => Some(format!("it has no {} record", resolved.kind)),
                };
                Self { as_name, data, source: given.source.to_string(), elapsed: resolved.elapsed, failure }
            }
        }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let ms = three_digits(self.elapsed.as_secs_f64() * 1_000.0);
        let source = if self.source.is_empty() { String::new() } else { format!("  {}", self.source) };
        let mut lines: Vec<String> = self
            .data
            .iter()
            .map(|(kind, data, ttl)| {
                let ttl = if *ttl == u32::MAX { String::new() } else { format!("  TTL {ttl}") };
                format!("{name}  {kind}  {data}{ttl}{source}  {ms} ms")
            })
            .collect();
        lines.extend(self.failure.iter().map(|failure| format!("{name}  {failure}{source}  {ms} ms")));
        lines
    }

    fn json(&self, name: &str) -> Value {
        let of = |wanted: Kind| -> Vec<&str> {
            self.data.iter().filter(|(kind, ..)| *kind == wanted).map(|(_, data, _)| data.as_str()).collect()
        };
        let records: Vec<Value> = self
            .data
            .iter()
            .map(|(kind, data, ttl)| json!({"type": kind.to_string(), "data": data, "ttl": ttl}))
            .collect();
        json!({
            "name": name,
            "as": self.as_name,
            "ipv4": of(Kind::A),
            "ipv6": of(Kind::AAAA),
            "records": records,
            "source": self.source,
            "ms": (self.elapsed.as_secs_f64() * 1e6).round() / 1e3,
            "error": self.failure,
        })
    }
}

/// A failure in words.
pub fn why(failure: dns::Failure) -> String {
    match failure {
        dns::Failure::NoForwarder => "no DNS server is known; give one as @SERVER".to_owned(),
        dns::Failure::Timeout => "no DNS server answered in time".to_owned(),
        dns::Failure::Unreachable => "no DNS server can be reached from here".to_owned(),
        dns::Failure::Rcode(rcode) => format!("the DNS servers answer {rcode}"),
        dns::Failure::Referral => "the DNS servers name others instead of asking them".to_owned(),
        dns::Failure::Chain => "its aliases lead in a circle, or too far".to_owned(),
        dns::Failure::Malformed => "the DNS servers' answers cannot be read".to_owned(),
        dns::Failure::BadName => "it is no name".to_owned(),
        dns::Failure::Overloaded => "too much is asked at once".to_owned(),
        dns::Failure::Stopped => "stopped before there was an answer".to_owned(),
    }
}

/// Far longer than any name.
const LINE_MAX: u64 = 4_096;
/// Names under way at once: what the engine takes in one turn.
const UNDER_WAY_MAX: usize = 1_000;
