//! DHT operations: an engine that asks and goes, and what it says on its way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::args::Dht;
use super::contact;
use super::failure::Failure;
use super::launch::{self, entropy};
use super::names;
use super::run::log_if_asked;
use super::settings::{LISTEN_DEFAULT, RunSettings};
use crate::base::{InfoHash, NodeId};
use crate::dns::{ForwarderConfig, Looked};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, NameQuestion, Round};
use crate::model::Recovered;
use crate::reactor::{Clock, Gauges, Handle, KeepNothing, Listen, Observer, Reactor, ReactorConfig, listen};

/// One DHT operation.
#[derive(Clone, Debug)]
pub enum Operation {
    /// One `ping`.
    Ping(SocketAddr),
    /// An iterative `find_node`.
    FindNode(NodeId),
    /// An iterative `get_peers`.
    Peers(InfoHash),
    /// `get_peers`, then `announce_peer`; port 0 is the port that the DHT sees.
    Announce(InfoHash, u16),
    /// The size of a swarm (BEP 33).
    Scrape(InfoHash),
    /// Metadata, from these peers first.
    Fetch(InfoHash, Vec<SocketAddr>),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// It found or did something.
    pub found: bool,
    /// Nodes that answered.
    pub answered: u32,
}

/// How all operations of a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// In the order of the operations; `None` for one whose time was over.
    pub ended: Vec<Option<Ended>>,
    /// Replies that came from the DHT at all.
    pub replies: u64,
    /// Errors that came from the DHT in place of replies.
    pub errors: u64,
}

/// How a single operation reaches the DHT.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Where it asks from; port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// Whom it asks first.
    pub bootstrap: Vec<(String, u16)>,
    /// Nobody said whom to ask first.
    pub bootstrap_is_default: bool,
    /// Who is asked for the addresses of those; nobody: whom the system asks.
    pub forwarders: Vec<ForwarderConfig>,
    /// When it gives up.
    pub timeout: Duration,
}

impl Reach {
    /// From a command's flags; without `--bootstrap` the hosts of the settings are asked, `first`
    /// (the address that the command is about) tells which family and scope to ask from. Fails if
    /// an address was given that can never be contacted.
    pub fn new(dht: &Dht, settings: &RunSettings, first: Option<SocketAddr>) -> Result<Self, Failure> {
        let bootstrap =
            if dht.bootstrap.is_empty() { settings.bootstrap.clone() } else { dht.bootstrap.clone() };
        let literals: Vec<SocketAddr> = dht.bootstrap.iter().filter_map(literal).collect();
        let target = first.or_else(|| literals.first().copied());
        let listen = match (dht.listen, target.and_then(contact::local_for)) {
            (Some(listen), _) => vec![listen],
            (None, Some(own)) => vec![SocketAddr::new(own, 0)],
            (None, None) => LISTEN_DEFAULT.map(|addr| SocketAddr::new(addr.ip(), 0)).to_vec(),
        };
        log_if_asked(dht.log.as_deref().or_else(|| settings.given_log()))?;
        literals.into_iter().chain(first).try_for_each(|addr| contact::check(&listen, addr))?;
        Ok(Self {
            listen,
            bootstrap,
            bootstrap_is_default: dht.bootstrap.is_empty(),
            forwarders: settings.forwarders.clone(),
            timeout: dht.timeout,
        })
    }
}

/// The address of a host that is an IP literal.
pub fn literal((host, port): &(String, u16)) -> Option<SocketAddr> {
    Some(SocketAddr::new(host.parse().ok()?, *port))
}

/// Does all operations, a bounded number at once, each within the time that `reach` allows, and hands
/// `watcher` what comes of them. The first begins when a bootstrap host is known.
pub fn operate(
    operations: Vec<Operation>,
    reach: &Reach,
    watcher: &mut dyn Watcher,
) -> Result<Session, Failure> {
    let explicit = reach.listen.len() == 1;
    let addresses = reach.listen.iter().map(|addr| Listen { addr: *addr, explicit }).collect();
    let reactor = ReactorConfig { listen: addresses, ..ReactorConfig::default() };
    let clock = Clock::start();
    let listening = listen(&reactor, clock).map_err(|fault| launch::start_failure(fault, &[]))?;
    let mut config = Config::one_off(listening.bound().to_vec());
    config.ports_below_1024 = true;
    config.dns = names::one_off(&reach.forwarders);
    let engine = Engine::new(config, Recovered::default(), entropy()?, clock.now(), clock.unix());
    let handle = listening.handle();
    let archive = KeepNothing::new(listening.wake());
    let hosts = Hosts::of(&operations, reach);
    let mut watch = Watch::new(operations, watcher, handle, reach.timeout, hosts);
    watch.begin()?;
    let mut reactor = Reactor::new(listening, engine, archive, watch);
    reactor.run();
    let (mut engine, _, watch) = reactor.into_parts();
    let dht = engine.stats().dht;
    match watch.failure {
        Some(failure) => Err(failure),
        None => Ok(Session {
            ended: watch.tasks.iter().map(Task::ended).collect(),
            replies: dht.replies,
            errors: dht.errors,
        }),
    }
}

/// Told what happens while operations are under way.
pub trait Watcher {
    /// Something came of the operation at `index`. A failure ends everything.
    fn said(&mut self, index: usize, answer: &Answer) -> Result<(), Failure>;

    /// The operation at `index` is over; `None`: its time was.
    fn over(&mut self, _index: usize, _ended: Option<Ended>) -> Result<(), Failure> {
        Ok(())
    }

    /// Comes at most ten times a second.
    fn tick(&mut self) {}
}

impl Operation {
    fn command(self, index: usize) -> Command {
        let id = CommandId(index as u64);
        match self {
            Self::Ping(addr) => Command::Ping(id, addr),
            Self::FindNode(target) => Command::FindNode(id, target),
            Self::Peers(infohash) => Command::Peers(id, infohash),
            Self::Announce(infohash, port) => Command::Announce(id, infohash, port),
            Self::Scrape(infohash) => Command::Scrape(id, infohash),
            Self::Fetch(infohash, peers) => Command::Fetch(id, infohash, peers),
        }
    }
}

/// Bootstrap hosts: known by address, or being looked up.
struct Hosts {
    known: Vec<SocketAddr>,
    names: Vec<(String, u16)>,
    /// Names without an answer yet.
    asked: usize,
    /// Nothing can be done without any.
    needed: bool,
}

impl Hosts {
    fn of(operations: &[Operation], reach: &Reach) -> Self {
        if matches!(operations, [Operation::Ping(_)]) {
            return Self { known: Vec::new(), names: Vec::new(), asked: 0, needed: false };
        }
        let direct = |operation: &Operation| match operation {
            Operation::Ping(_) => true,
            Operation::Fetch(_, peers) => !peers.is_empty(),
            _ => false,
        };
        let needed = !operations.iter().all(direct);
        // Those of the Internet are of no use on loopback, so nobody is asked for them.
        let loopback = reach.listen.iter().all(|own| own.ip().is_loopback());
        if reach.bootstrap_is_default && loopback && !needed {
            return Self { known: Vec::new(), names: Vec::new(), asked: 0, needed };
        }
        let known = reach.bootstrap.iter().filter_map(literal).collect();
        let named = reach.bootstrap.iter().filter(|host| literal(host).is_none());
        let names: Vec<_> = named.take(NAMES_MAX).cloned().collect();
        Self { known, asked: names.len(), names, needed }
    }

    /// Nothing is to be begun yet.
    fn are_awaited(&self) -> bool {
        self.needed && self.known.is_empty() && self.asked > 0
    }

    fn are_missing(&self) -> bool {
        self.needed && self.known.is_empty() && self.asked == 0
    }
}

fn no_host(bootstrap: &[(String, u16)]) -> Failure {
    let names: Vec<&str> = bootstrap.iter().map(|(host, _)| host.as_str()).collect();
    let names = names.join(", ");
    Failure::failed(format!("none of {names} has an address; check the network, or give --bootstrap IP:PORT"))
}

/// One operation on its way.
struct Task {
    operation: Operation,
    state: State,
    tries: u32,
    /// Rounds of a fetch for which there was no node to ask.
    without_nodes: u32,
}

enum State {
    Waiting,
    Started(Instant),
    Over(Option<Ended>),
}

impl Task {
    fn ended(&self) -> Option<Ended> {
        match self.state {
            State::Over(ended) => ended,
            State::Waiting | State::Started(_) => None,
        }
    }
}

/// Looks on, and stops the engine when every operation has ended or its time is over.
struct Watch<'a> {
    watcher: &'a mut dyn Watcher,
    handle: Handle,
    timeout: Duration,
    hosts: Hosts,
    began: Instant,
    tasks: Vec<Task>,
    /// The first task that may not have been started.
    next: usize,
    open: usize,
    stopped: bool,
    failure: Option<Failure>,
}

impl<'a> Watch<'a> {
    fn new(
        operations: Vec<Operation>,
        watcher: &'a mut dyn Watcher,
        handle: Handle,
        timeout: Duration,
        hosts: Hosts,
    ) -> Self {
        let task = |operation| Task { operation, state: State::Waiting, tries: 0, without_nodes: 0 };
        let tasks = operations.into_iter().map(task).collect();
        let began = Instant::now();
        Self {
            watcher,
            handle,
            timeout,
            hosts,
            began,
            tasks,
            next: 0,
            open: 0,
            stopped: false,
            failure: None,
        }
    }

    /// Says whom to contact first, asks for the addresses of the others, and begins if it may.
    fn begin(&mut self) -> Result<(), Failure> {
        self.handle.send(Command::Bootstrap(self.hosts.known.clone())).map_err(|_| not_started())?;
        for (index, (host, _)) in self.hosts.names.iter().enumerate() {
            let question = NameQuestion::Host(host.clone());
            let id = CommandId(FIRST_NAME + index as u64);
            self.handle.send(Command::Resolve(id, question)).map_err(|_| not_started())?;
        }
        if !self.hosts.are_awaited() {
            self.send_next();
        }
        Ok(())
    }

    /// A bootstrap host has addresses, or none. The first one that has some lets everything begin.
    fn on_host(&mut self, index: usize, looked: &Looked) {
        let Some((host, port)) = self.hosts.names.get(index) else { return };
        let awaited = self.hosts.are_awaited();
        self.hosts.asked -= 1;
        let addresses = looked.addresses.iter().take(ADDRESSES_MAX);
        let found: Vec<_> = addresses.map(|(ip, _)| SocketAddr::new(*ip, *port)).collect();
        if found.is_empty() {
            log::debug!("bootstrap host {host} has no address: {:?}", looked.failure);
        } else if self.handle.send(Command::Bootstrap(found.clone())).is_err() {
            self.failure.get_or_insert_with(not_started);
            return self.stop();
        }
        self.hosts.known.extend(found);
        if self.hosts.are_missing() {
            self.failure.get_or_insert_with(|| no_host(&self.hosts.names));
            self.stop();
        } else if awaited && !self.hosts.are_awaited() {
            self.send_next();
        }
    }

    fn send_next(&mut self) {
        while self.open < UNDER_WAY_MAX && self.next < self.tasks.len() {
            self.start(self.next);
            self.open += 1;
            self.next += 1;
        }
        if self.open == 0 {
            self.stop();
        }
    }

    fn start(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        task.tries += 1;
        if !matches!(task.state, State::Started(_)) {
            task.state = State::Started(Instant::now());
        }
        if self.handle.send(task.operation.clone().command(index)).is_err() {
            self.failure.get_or_insert_with(not_started);
            self.stop();
        }
    }

    /// A round of a fetch brought nothing. Its peers were asked, and those that the DHT knows of: the
    /// next round would ask them again. Without any node that answers there is nothing to wait for
    /// once the hosts have been asked a few times.
    fn on_round(&mut self, index: usize, round: Round) {
        let task = &mut self.tasks[index];
        task.without_nodes += u32::from(round == Round::NoNodes);
        let unasked =
            self.hosts.asked > 0 || (!self.hosts.known.is_empty() && task.without_nodes < TRIES_MAX);
        if round != Round::NoNodes || !unasked {
            self.end(index, Some(Ended { found: false, answered: 0 }));
        }
    }

    fn end(&mut self, index: usize, ended: Option<Ended>) {
        self.tasks[index].state = State::Over(ended);
        self.open -= 1;
        let told = self.watcher.over(index, ended);
        self.take(told);
        self.send_next();
    }

    fn take(&mut self, told: Result<(), Failure>) {
        if let Err(failure) = told {
            self.failure.get_or_insert(failure);
            self.stop();
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) && self.handle.send(Command::Stop).is_err() {
            log::debug!("the engine stops already");
        }
    }
}

impl Observer<Engine> for Watch<'_> {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        if let Some(name) = command.0.checked_sub(FIRST_NAME) {
            if let Answer::Looked(looked) = &answer {
                self.on_host(name as usize, looked);
            }
            return;
        }
        let index = command.0 as usize;
        let Some(task) = self.tasks.get(index).filter(|task| matches!(task.state, State::Started(_))) else {
            return;
        };
        let Answer::Done { found, answered } = answer else {
            let told = self.watcher.said(index, &answer);
            self.take(told);
            if let Answer::Round(round) = answer {
                self.on_round(index, round);
            }
            return;
        };
        // The first packets may all be lost, or the first hosts be gone.
        let lookup = !matches!(task.operation, Operation::Ping(_) | Operation::Fetch(..));
        if lookup && answered == 0 && task.tries < TRIES_MAX {
            return self.start(index);
        }
        self.end(index, Some(Ended { found, answered }));
    }

    fn on_gauges(&mut self, _engine: &mut Engine, _gauges: &Gauges) {
        self.watcher.tick();
        if self.timeout.is_zero() {
            return;
        }
        if self.hosts.are_awaited() && self.began.elapsed() > self.timeout {
            self.failure.get_or_insert_with(|| no_host(&self.hosts.names));
            self.stop();
        }
        for index in 0..self.next {
            if matches!(self.tasks[index].state, State::Started(at) if at.elapsed() > self.timeout) {
                self.end(index, None);
            }
        }
    }
}

fn not_started() -> Failure {
    Failure::failed("the engine did not start; try again")
}

/// Half of what an engine takes at once.
const UNDER_WAY_MAX: usize = 512;
/// A lookup that nobody answered is begun anew so often in all.
const TRIES_MAX: u32 = 3;
/// Addresses taken of one name.
const ADDRESSES_MAX: usize = 16;
/// Bootstrap hosts that are looked up; the default list has four.
const NAMES_MAX: usize = 64;
/// Look-ups of bootstrap hosts have ids behind those of all operations.
const FIRST_NAME: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::layers::Layers;

    fn reach(bootstrap: &[&str], listen: Option<&str>, first: Option<&str>) -> Reach {
        let settings = RunSettings::from_layers(&Layers::default(), |_| Some("/x".to_owned())).unwrap();
        let hosts = bootstrap.iter().map(|host| crate::cli::keys::parse_host(host).unwrap()).collect();
        let listen = listen.map(|addr| addr.parse().unwrap());
        let dht = Dht { bootstrap: hosts, listen, timeout: Duration::from_secs(1), log: None };
        Reach::new(&dht, &settings, first.map(|addr| addr.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_loopback_target_is_asked_from_loopback() {
        assert_eq!(reach(&[], None, Some("127.16.0.1:5")).listen, ["127.16.0.1:0".parse().unwrap()]);
        assert_eq!(reach(&["[::1]:5"], None, None).listen, ["[::1]:0".parse().unwrap()]);
        assert_eq!(
            reach(&["127.0.0.1:5"], Some("127.0.0.9:0"), None).listen,
            ["127.0.0.9:0".parse().unwrap()]
        );
        assert_eq!(reach(&[], None, None).listen.len(), 2);
        assert_eq!(reach(&[], None, None).bootstrap.len(), 4);
    }
}
