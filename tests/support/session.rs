//! The engine's resolver over real sockets, on a thread of its own.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use dht_hunter::dns::{self, ForwarderConfig, Resolved, Strategy};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::Config;
use dht_hunter::engine::io::{Answer, Command, CommandId, Event, NameQuestion};
use dht_hunter::model::Recovered;
use dht_hunter::reactor::{Clock, Handle, KeepNothing, Observer, Reactor, ReactorConfig, Roots, listen};
use dht_hunter::wire::dns::{Kind, Name, expand};

/// What was told.
pub enum Told {
    /// A question by its number, and what came of it.
    Resolved(u64, Box<Resolved>),
    /// A forwarder by its name, and whether it answers.
    Forwarder(String, bool),
}

/// A resolver that asks these; it ends with its owner.
pub struct Session {
    handle: Handle,
    told: Receiver<Told>,
    thread: Option<JoinHandle<()>>,
    next: u64,
}

/// A record: owner, type, TTL, data in hexadecimal digits with all names written out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub owner: String,
    pub kind: u16,
    pub data: String,
    pub ttl: u32,
}

struct Watch(Sender<Told>);

impl Observer<Engine> for Watch {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        if let Answer::Records(resolved) = answer {
            drop(self.0.send(Told::Resolved(command.0, resolved)));
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Forwarder { name, up, .. } = event {
            drop(self.0.send(Told::Forwarder(name.to_string(), up)));
        }
    }
}

impl Session {
    pub fn start(forwarders: Vec<ForwarderConfig>, strategy: Strategy) -> Self {
        Self::trusting(Roots::Pem(Vec::new()), forwarders, strategy)
    }

    /// With these authorities for certificates.
    pub fn trusting(roots: Roots, forwarders: Vec<ForwarderConfig>, strategy: Strategy) -> Self {
        Self::begin(roots, dns::Config { strategy, ..dns::Config::new(forwarders) })
    }

    /// With these settings.
    pub fn with(config: dns::Config) -> Self {
        Self::begin(Roots::Pem(Vec::new()), config)
    }

    fn begin(roots: Roots, names: dns::Config) -> Self {
        let forwarders = &names.forwarders;
        assert!(forwarders.iter().all(|forwarder| forwarder.addr.ip().is_loopback()), "only loopback");
        let (tell, told) = channel();
        let (give, given) = channel();
        let thread = std::thread::spawn(move || {
            let clock = Clock::start();
            let reactor = ReactorConfig { roots, ..ReactorConfig::default() };
            let listening = listen(&reactor, clock).unwrap();
            let mut config = Config::one_off(Vec::new());
            config.dns = names;
            // Another in each process, so that they do not all want the same ports.
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&std::process::id().to_le_bytes());
            let engine = Engine::new(config, Recovered::default(), seed, clock.now(), clock.unix());
            let archive = KeepNothing::new(listening.wake());
            give.send(listening.handle()).unwrap();
            Reactor::new(listening, engine, archive, Watch(tell)).run();
        });
        Self { handle: given.recv().unwrap(), told, thread: Some(thread), next: 0 }
    }

    /// Asks; its number.
    pub fn send(&mut self, name: &str, kind: Kind) -> u64 {
        let question = NameQuestion::Records(Box::new(Name::parse(name).unwrap()), kind);
        self.next += 1;
        let mut tries = 0;
        while self.handle.send(Command::Resolve(CommandId(self.next), question.clone())).is_err() {
            tries += 1;
            assert!(tries < 1_000, "the engine takes no more questions");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.next
    }

    /// The next thing that is told, if anything is in time.
    pub fn told(&self, within: Duration) -> Option<Told> {
        self.told.recv_timeout(within).ok()
    }

    /// Asks and waits for what comes of it.
    pub fn ask(&mut self, name: &str, kind: Kind) -> Box<Resolved> {
        let number = self.send(name, kind);
        loop {
            match self.told(ANSWER_WITHIN).expect("every question ends") {
                Told::Resolved(other, resolved) if other == number => return resolved,
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.handle.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the engine panicked");
        }
    }
}

/// The records of an answer.
pub fn records(resolved: &Resolved) -> Vec<Seen> {
    let given = resolved.result.as_ref().unwrap_or_else(|why| panic!("{}: {why:?}", resolved.name));
    let seen = |record: dht_hunter::wire::dns::Record<'_>| {
        let mut data = Vec::new();
        expand(&record, &mut data).unwrap();
        let data = data.iter().map(|byte| format!("{byte:02x}")).collect();
        Seen { owner: record.owner.read().unwrap().to_string(), kind: record.kind.0, data, ttl: record.ttl }
    };
    let mut all: Vec<_> = given.answer.records().map(seen).collect();
    all.sort();
    all
}

/// IPv4 addresses of an answer as text; the failure, if it is one.
pub fn brief(resolved: &Resolved) -> String {
    match &resolved.result {
        Err(why) => format!("{why:?}"),
        Ok(given) => {
            let of =
                |data: &[u8]| <[u8; 4]>::try_from(data).map(|ip| std::net::Ipv4Addr::from(ip).to_string());
            let addresses = given.answer.records().filter(|record| record.kind == Kind::A);
            let found: Vec<_> = addresses.filter_map(|record| of(record.data()).ok()).collect();
            format!("{} {}", given.answer.rcode, found.join(" "))
        }
    }
}

/// Longer than any look-up may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
