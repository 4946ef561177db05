//! Hosts, what they have on their disks and their clocks, and one heap of events.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::clock::Clock;
use super::event::{Digest, End, Event, HostId, What};
use super::link::{Link, Partition};
use super::manners::{PeerManners, Shaking};
use super::names::Servers;
use super::nat::{NatBox, NatConfig};
use super::oracle::{Oracle, Rule};
use super::store::ModelStore;
use crate::base::{Instant, Rng, SocketId};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, Input, LinkId, Output, Why, Worked};
use crate::model::Recovered;

/// One NAT box, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoxId(pub(super) usize);

/// A datagram that the crowd sends: from, to, bytes.
pub type Sent = (SocketAddr, SocketAddr, Vec<u8>);

/// Everybody who is not an engine: whoever sits at an address that no host has.
pub trait Crowd {
    /// A datagram came to `at`; what is answered from there, if anything.
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>>;

    /// A connection to `at` is wanted: refused at once, or (false) never answered.
    fn refuses(&mut self, at: SocketAddr) -> bool;

    /// How often it acts of its own accord; by default it only answers.
    fn acts_every(&self) -> Option<Duration> {
        None
    }

    /// What it sends of its own accord.
    fn act(&mut self, _now: Instant) -> Vec<Sent> {
        Vec::new()
    }
}

/// One thing on the wire, as an observer between host and network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// The host it leaves or reaches.
    pub host: HostId,
    /// The other end.
    pub remote: SocketAddr,
    /// A stream's number; `None` for a datagram.
    pub stream: Option<u64>,
    /// It came in.
    pub inbound: bool,
    /// Bytes of payload.
    pub len: usize,
}

/// How a host ends without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// `kill -9`: the system closes its streams.
    Process,
    /// The power fails: nobody hears of it.
    Power,
}

/// The whole simulation.
pub struct World {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) link: Link,
    pub(super) hosts: Vec<Host>,
    pub(super) by_addr: BTreeMap<SocketAddr, HostId>,
    /// Sockets that hosts with public addresses have opened besides.
    pub(super) bound: BTreeMap<SocketAddr, (HostId, SocketId)>,
    pub(super) boxes: Vec<NatBox>,
    pub(super) partitions: Vec<Partition>,
    events: BinaryHeap<Event>,
    sequence: u64,
    /// Both ends of every stream between hosts, and the streams of each host by link.
    pub(super) streams: BTreeMap<(HostId, LinkId), Stream>,
    pub(super) streams_made: u64,
    pub(super) manners: BTreeMap<HostId, PeerManners>,
    pub(super) shaking: BTreeMap<(HostId, LinkId), Shaking>,
    pub(super) crowd: Option<Box<dyn Crowd>>,
    pub(super) servers: Option<Box<Servers>>,
    pub(super) oracle: Option<Box<Oracle>>,
    pub(super) tap: Option<Box<dyn FnMut(Packet)>>,
    digest: Digest,
    steps: u64,
    /// The host that was at work last.
    latest: Option<HostId>,
    /// The last events, for people, if they are to be kept.
    tail: Option<VecDeque<(Instant, HostId, String)>>,
}

pub(super) struct Host {
    pub(super) engine: Engine,
    config: Config,
    pub(super) addr: SocketAddr,
    pub(super) behind: Option<BoxId>,
    pub(super) store: ModelStore,
    pub(super) clock: Clock,
    answers: Vec<(CommandId, Answer)>,
    stopped: bool,
    pub(super) down: bool,
    life: u32,
    /// The wake-up that counts; earlier ones in the heap are stale.
    wake_at: Instant,
    /// Datagrams that wait in the socket while it sleeps.
    pub(super) backlog: u32,
    /// The sockets that it has opened besides the first, as it sees their addresses.
    pub(super) sockets: BTreeMap<SocketId, SocketAddr>,
    pub(super) accepting: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) number: u64,
    pub(super) remote: SocketAddr,
    /// The other end, once it is there.
    pub(super) peer: Option<(HostId, LinkId)>,
    /// Nothing arrives before what was sent before it.
    pub(super) clear_at: Instant,
    /// Bytes may leave: no handshake is under way.
    pub(super) secured: bool,
    /// The DNS server at the other end, and when it may go on talking.
    pub(super) server: Option<SocketAddr>,
    pub(super) back_at: Instant,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            rng: Rng::seeded(seed),
            link,
            hosts: Vec::new(),
            by_addr: BTreeMap::new(),
            bound: BTreeMap::new(),
            boxes: Vec::new(),
            partitions: Vec::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            streams: BTreeMap::new(),
            streams_made: 0,
            manners: BTreeMap::new(),
            shaking: BTreeMap::new(),
            crowd: None,
            servers: None,
            oracle: None,
            tap: None,
            digest: Digest::default(),
            steps: 0,
            latest: None,
            tail: None,
        }
    }

    /// Puts somebody at all addresses that no host has.
    pub fn set_crowd(&mut self, crowd: impl Crowd + 'static) {
        if let Some(every) = crowd.acts_every() {
            self.push(self.now + every, What::Crowd);
        }
        self.crowd = Some(Box::new(crowd));
    }

    /// Shows every packet to `tap` as it leaves or reaches a host.
    pub fn set_tap(&mut self, tap: impl FnMut(Packet) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// The crowd falls silent for good.
    pub fn dismiss_crowd(&mut self) {
        self.crowd = None;
    }

    /// Puts DNS servers into the world.
    pub(super) fn set_servers(&mut self, servers: Servers) {
        self.servers = Some(Box::new(servers));
    }

    /// Has every host judged from now on. Before the first host is added.
    pub fn set_oracle(&mut self, oracle: Oracle) {
        self.oracle = Some(Box::new(oracle));
    }

    /// Who judges.
    pub fn oracle(&self) -> Option<&Oracle> {
        self.oracle.as_deref()
    }

    /// A rule was broken.
    pub fn has_failed(&self) -> bool {
        self.oracle.as_ref().is_some_and(|oracle| oracle.failure().is_some())
    }

    /// Keeps the last events in words.
    pub fn keep_tail(&mut self) {
        self.tail = Some(VecDeque::new());
    }

    /// The last events that touched `host`, the latest last.
    pub fn tail_of(&self, host: Option<HostId>, most: usize) -> Vec<String> {
        let tail = self.tail.iter().flatten();
        let here = tail.filter(|(_, of, _)| host.is_none_or(|host| host == *of));
        let lines: Vec<_> =
            here.map(|(at, of, text)| format!("{:10.3} s  host {:2}  {text}", seconds(*at), of.0)).collect();
        lines[lines.len().saturating_sub(most)..].to_vec()
    }

    /// A new host at `addr`.
    pub fn add(&mut self, addr: SocketAddr, mut config: Config) -> HostId {
        config.listen = vec![addr];
        self.add_host(addr, None, config)
    }

    /// A NAT box.
    pub fn add_box(&mut self, config: NatConfig) -> BoxId {
        self.boxes.push(NatBox::new(config));
        BoxId(self.boxes.len() - 1)
    }

    /// A new host behind a box, at the private address `addr`, listening on the wildcard.
    pub fn add_behind(&mut self, behind: BoxId, addr: SocketAddr, mut config: Config) -> HostId {
        config.listen = vec![SocketAddr::new([0, 0, 0, 0].into(), addr.port())];
        self.add_host(addr, Some(behind), config)
    }

    /// A box and its table.
    pub fn box_of(&mut self, id: BoxId) -> &mut NatBox {
        &mut self.boxes[id.0]
    }

    /// Parts the world for a while.
    pub fn part(&mut self, partition: Partition) {
        self.partitions.retain(|old| old.until > self.now);
        self.partitions.push(partition);
    }

    /// Ends the engine at once; what its disk has stays.
    pub fn kill(&mut self, host: HostId, how: Kill) {
        if std::mem::replace(&mut self.hosts[host.0].down, true) {
            return;
        }
        self.note(host, || format!("dies: {how:?}"));
        for link in self.links_of(host) {
            match how {
                Kill::Process => self.hang_up(host, link),
                Kill::Power => self.fall_silent(host, link),
            }
        }
        self.close_sockets(host);
        self.hosts[host.0].store.crash(&mut self.rng);
        if let Some(oracle) = &mut self.oracle {
            oracle.died(host);
        }
    }

    /// Starts an engine on what the disk of a dead host has.
    pub fn start(&mut self, host: HostId) {
        let recovered = self.hosts[host.0].store.recovered();
        let here = &mut self.hosts[host.0];
        let config = here.config.clone();
        here.clock = Clock::new(self.now, here.clock.ahead_secs());
        here.life += 1;
        (here.down, here.stopped, here.wake_at, here.backlog) = (false, false, Instant::FAR, 0);
        here.accepting = true;
        self.note(host, || "starts".to_owned());
        self.hosts[host.0].engine = self.engine(host, config, recovered);
        self.drain(host);
    }

    /// Ends the engine at once, as `kill -9` does, and starts another on what its disk has.
    pub fn restart(&mut self, host: HostId, config: Config) {
        self.kill(host, Kill::Process);
        let listen = self.hosts[host.0].config.listen.clone();
        self.hosts[host.0].config = Config { listen, ..config };
        self.start(host);
    }

    /// Hands a command to a host.
    pub fn command(&mut self, host: HostId, command: Command) {
        if self.hosts[host.0].down {
            return;
        }
        self.note(host, || format!("is told {command:?}"));
        if let Some(oracle) = &mut self.oracle {
            let local = self.hosts[host.0].clock.local(self.now);
            oracle.commanded(host, (self.now, local), &command);
        }
        self.input(host, Input::Command(command));
    }

    /// The wall clock of a host jumps.
    pub fn jump(&mut self, host: HostId, secs: i64) {
        self.note(host, || format!("wall clock jumps by {secs} s"));
        self.hosts[host.0].clock.jump(secs);
        if let Some(oracle) = &mut self.oracle {
            oracle.jumped(host);
        }
    }

    /// A host does nothing for a while; with `suspend` its monotonic clock stands still and the
    /// network does not reach it.
    pub fn sleep(&mut self, host: HostId, time: Duration, suspend: bool) {
        if self.hosts[host.0].down {
            return;
        }
        self.note(host, || format!("sleeps for {time:?}, suspended: {suspend}"));
        let until = self.now + time;
        if let Some(oracle) = &mut self.oracle {
            oracle.slept(host, self.now, time);
        }
        self.hosts[host.0].clock.sleep(self.now, until, suspend);
        // Whatever it waited for is looked at when it wakes.
        self.hosts[host.0].wake_at = until;
        self.push(until, What::Wake(host));
    }

    /// The engine of a host.
    pub fn engine_of(&mut self, host: HostId) -> &mut Engine {
        &mut self.hosts[host.0].engine
    }

    /// What a host has stored.
    pub fn store_of(&self, host: HostId) -> &ModelStore {
        &self.hosts[host.0].store
    }

    /// The same, to make it slow or full.
    pub fn disk_of(&mut self, host: HostId) -> &mut ModelStore {
        &mut self.hosts[host.0].store
    }

    /// What commands of a host were answered, in order.
    pub fn answers(&self, host: HostId) -> &[(CommandId, Answer)] {
        &self.hosts[host.0].answers
    }

    /// True after [`Command::Stop`] came to its end.
    pub fn stopped(&self, host: HostId) -> bool {
        self.hosts[host.0].stopped
    }

    /// True between [`World::kill`] and [`World::start`].
    pub fn is_down(&self, host: HostId) -> bool {
        self.hosts[host.0].down
    }

    /// Streams of a host.
    pub fn streams_of(&self, host: HostId) -> usize {
        self.links_of(host).len()
    }

    /// The host that was at work last.
    pub fn latest(&self) -> Option<HostId> {
        self.latest
    }

    /// Events that have not happened yet.
    pub fn events_left(&self) -> usize {
        self.events.len()
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Events that happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A digest of every event so far, with its time and all its bytes.
    pub fn digest(&self) -> [u8; 20] {
        self.digest.value()
    }

    /// Lets virtual time pass until `done`, at most for `limit`. False if the time ran out, or the
    /// oracle has seen enough.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + limit;
        while !done(self) {
            if self.has_failed() {
                return false;
            }
            match self.events.peek() {
                Some(event) if event.at <= until => self.step(),
                _ => {
                    self.now = until;
                    return done(self);
                }
            }
        }
        true
    }

    pub(super) fn local(&self, host: HostId) -> Instant {
        self.hosts[host.0].clock.local(self.now)
    }

    pub(super) fn push(&mut self, at: Instant, what: What) {
        self.sequence += 1;
        self.events.push(Event { at, sequence: self.sequence, what });
    }

    pub(super) fn note(&mut self, host: HostId, text: impl FnOnce() -> String) {
        if let Some(tail) = &mut self.tail {
            if tail.len() == TAIL_MAX {
                tail.pop_front();
            }
            tail.push_back((self.now, host, text()));
        }
    }

    /// An input for a host that is awake.
    pub(super) fn input(&mut self, host: HostId, input: Input<'_>) {
        let here = &mut self.hosts[host.0];
        here.clock.wake(self.now);
        let (now, unix) = (here.clock.local(self.now), here.clock.unix(self.now));
        here.engine.handle(now, unix, input, &mut []);
        self.drain(host);
    }

    /// Does what the engine wants until it is idle.
    pub(super) fn drain(&mut self, host: HostId) {
        let mut scratch = [0; DATAGRAM_MAX];
        self.hosts[host.0].clock.wake(self.now);
        self.latest = Some(host);
        for _ in 0..OUTPUTS_MAX {
            let here = &mut self.hosts[host.0];
            let (now, unix) = (here.clock.local(self.now), here.clock.unix(self.now));
            match here.engine.poll(now, unix, &mut scratch) {
                Output::Datagram(path, len) => self.send(host, path, &scratch[..len], false),
                Output::Bind(id, addr) => self.bind(host, id, addr),
                Output::Unbind(id) => self.unbind(host, id),
                Output::Accept(on) => self.hosts[host.0].accepting = on,
                Output::Connect { link, to, tls, .. } => self.connect(host, link, to, tls.is_some()),
                Output::Write(link) => self.write(host, link),
                Output::Close(link) => self.hang_up(host, link),
                Output::Store(op) => self.hand_in(host, op),
                Output::Work(job) => {
                    let (at, life) = (self.now + WORK, self.hosts[host.0].life);
                    self.push(at, What::Worked { host, life, worked: job.run() });
                }
                Output::Answer(id, answer) => {
                    if let Some(oracle) = &mut self.oracle {
                        let local = self.hosts[host.0].clock.local(self.now);
                        oracle.answered(host, (self.now, local), id, &answer);
                    }
                    self.hosts[host.0].answers.push((id, answer));
                }
                Output::Event(_) => {}
                Output::Stopped => {
                    self.note(host, || "has stopped".to_owned());
                    self.hosts[host.0].stopped = true;
                }
                Output::Idle(deadline) => return self.idle(host, deadline),
            }
        }
        self.fail(Rule::Deadline, host, "it never idles");
    }

    pub(super) fn fail(&mut self, rule: Rule, host: HostId, detail: &str) {
        match &mut self.oracle {
            Some(oracle) => oracle.fail(rule, host, self.now, detail.to_owned()),
            None => panic!("{}: {detail}", rule.sentence()),
        }
    }

    /// Something that must be true of all hosts together.
    pub(super) fn judge(&mut self, rule: Rule, holds: bool, detail: impl FnOnce() -> String) {
        if let Some(oracle) = &mut self.oracle {
            oracle.judge(rule, self.now, holds, detail);
        }
    }

    /// After the end: nothing of this host is left, and its disk tells of everything.
    pub(super) fn expect_end(&mut self, host: HostId) {
        let (streams, here) = (self.links_of(host).len(), &self.hosts[host.0]);
        let (waiting, tallies) = (here.store.waiting(), here.engine.tallies());
        let left = (streams, waiting, tallies.links, tallies.fetches_open, tallies.half_open);
        let stopped = here.stopped;
        self.judge(Rule::Drained, stopped, || format!("host {} never stopped", host.0));
        self.judge(Rule::Drained, left == (0, 0, 0, 0, 0), || {
            format!("host {} has left: streams, operations, links, fetches, half-open {left:?}", host.0)
        });
        let sockets = self.sockets_of(host);
        self.judge(Rule::Sockets, sockets == 0, || format!("host {} has left {sockets} sockets", host.0));
        if let Some(oracle) = &mut self.oracle {
            oracle.settle_names(host, self.now);
            oracle.check_invariants(host, self.now, &self.hosts[host.0].engine);
            oracle.settle(host, self.now, &self.hosts[host.0].store, tallies.pending);
        }
    }

    fn add_host(&mut self, addr: SocketAddr, behind: Option<BoxId>, config: Config) -> HostId {
        let id = HostId(self.hosts.len());
        let store = ModelStore::default();
        if behind.is_none() {
            self.by_addr.insert(addr, id);
        }
        let clock = Clock::new(self.now, 0);
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let (now, unix) = (clock.local(self.now), clock.unix(self.now));
        let engine = Engine::new(config.clone(), Recovered::default(), seed, now, unix);
        if let Some(oracle) = &mut self.oracle {
            oracle.started(id, self.now, &config, &Recovered::default(), unix);
        }
        self.hosts.push(Host {
            engine,
            config,
            addr,
            behind,
            store,
            clock,
            answers: Vec::new(),
            stopped: false,
            down: false,
            life: 0,
            wake_at: Instant::FAR,
            backlog: 0,
            sockets: BTreeMap::new(),
            accepting: true,
        });
        self.drain(id);
        id
    }

    fn engine(&mut self, host: HostId, config: Config, recovered: Recovered) -> Engine {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let clock = &self.hosts[host.0].clock;
        let (now, unix) = (clock.local(self.now), clock.unix(self.now));
        if let Some(oracle) = &mut self.oracle {
            oracle.started(host, self.now, &config, &recovered, unix);
        }
        let engine = Engine::new(config, recovered, seed, now, unix);
        if let (Some(oracle), Some(id)) = (&mut self.oracle, engine.node_id(SocketId(0))) {
            oracle.named(host, self.now, id);
        }
        engine
    }

    fn step(&mut self) {
        let Some(event) = self.events.pop() else { return };
        self.now = self.now.max(event.at);
        if let Some(host) = event.what.host() {
            if let Some(until) = self.hosts[host.0].clock.asleep(self.now) {
                return self.push(until, event.what);
            }
            if self.tail.is_some() && !matches!(event.what, What::Wake(_)) {
                let text = event.what.describe();
                self.note(host, || text);
            }
        }
        self.steps += 1;
        self.digest.add(&event);
        match event.what {
            What::Wake(host) => {
                let here = &mut self.hosts[host.0];
                if here.wake_at == event.at && !here.down {
                    here.wake_at = Instant::FAR;
                    if let Some(oracle) = &mut self.oracle {
                        oracle.woke(host, self.now);
                    }
                    self.drain(host);
                }
            }
            What::Datagram { from, to, data } => self.arrive(from, to, data),
            What::Connect { from, seen, to } => self.on_connect(from, seen, to),
            What::Opened(end) => self.on_opened(end),
            What::Secured(end) => self.on_secured(end),
            What::Bytes { end, data } => self.on_bytes(end, &data),
            What::Eof(end) => self.on_eof(end),
            What::Failed { end, reason } => self.on_failed(end, reason),
            What::Commit { host, life } => self.on_commit(host, life),
            What::Worked { host, life, worked } => self.on_worked(host, life, worked),
            What::Crowd => self.on_crowd(),
            What::Asked { end, data } => self.on_asked(end, &data),
        }
    }

    fn on_crowd(&mut self) {
        let Some(crowd) = &mut self.crowd else { return };
        let (sent, every) = (crowd.act(self.now), crowd.acts_every());
        for (from, to, data) in sent {
            self.travel(None, from, to, data);
        }
        if let Some(every) = every {
            self.push(self.now + every, What::Crowd);
        }
    }

    fn on_commit(&mut self, host: HostId, life: u32) {
        if self.hosts[host.0].life != life || self.hosts[host.0].down {
            return;
        }
        for (result, ops) in self.hosts[host.0].store.commit_batch() {
            if let Some(oracle) = &mut self.oracle {
                oracle.acknowledged(host, result, &ops);
            }
            self.input(host, Input::Stored(result));
        }
    }

    fn on_worked(&mut self, host: HostId, life: u32, worked: Worked) {
        if self.hosts[host.0].life == life && !self.hosts[host.0].down {
            self.input(host, Input::Worked(worked));
        }
    }

    fn hand_in(&mut self, host: HostId, op: crate::model::StoreOp) {
        if let Some(oracle) = &mut self.oracle {
            oracle.handed_in(host, self.now, &op);
        }
        let here = &mut self.hosts[host.0];
        if here.store.hand_in(op) {
            let (at, life) = (self.now + here.store.commit, here.life);
            self.push(at, What::Commit { host, life });
        }
    }

    fn idle(&mut self, host: HostId, deadline: Option<(Instant, Why)>) {
        let local = self.local(host);
        if let Some((at, why)) = deadline {
            if at <= local {
                return self.fail(
                    Rule::Deadline,
                    host,
                    &format!("{why:?} is due at {at:?}, which is no later"),
                );
            }
            // What a suspended clock will show is not known before it goes on.
            let clock = &self.hosts[host.0].clock;
            let at = clock.asleep(self.now).unwrap_or_else(|| clock.world(at));
            if at != self.hosts[host.0].wake_at {
                self.hosts[host.0].wake_at = at;
                self.push(at, What::Wake(host));
            }
        }
        if let Some(oracle) = &mut self.oracle {
            let stopped = self.hosts[host.0].stopped;
            oracle.drained(host, (self.now, local), &self.hosts[host.0].engine, stopped);
        }
    }

    pub(super) fn links_of(&self, host: HostId) -> Vec<LinkId> {
        let (first, last) = ((host, LinkId::FIRST), (host, LinkId::LAST));
        self.streams.range(first..=last).map(|((_, link), _)| *link).collect()
    }

    pub(super) fn end(&self, host: HostId, link: LinkId) -> Option<End> {
        self.streams.get(&(host, link)).map(|stream| End { host, link, number: stream.number })
    }
}

impl HostId {
    /// Its place in the order in which hosts were added.
    pub fn index(self) -> usize {
        self.0
    }
}

fn seconds(at: Instant) -> f64 {
    at.0 as f64 / 1e9
}

pub(super) const DATAGRAM_MAX: usize = 2_048;
/// No engine has so much to say at one moment.
const OUTPUTS_MAX: usize = 1_000_000;
/// The largest dictionary takes a slow machine about so long.
const WORK: Duration = Duration::from_millis(50);
/// Events kept in words.
const TAIL_MAX: usize = 100_000;
