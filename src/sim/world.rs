//! Hosts, the packets between them, and one heap of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use super::link::Link;
use super::store::ModelStore;
use crate::base::hash::sha1;
use crate::base::{Instant, Path, Rng, SocketId, UnixTime};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Answer, Command, CommandId, Input, LinkId, Output, Reason, Worked};
use crate::model::{Recovered, StoreResult};

/// One engine, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(usize);

/// Everybody who is not an engine: whoever sits at an address that no host has.
pub trait Crowd {
    /// A datagram came to `at`; what is answered from there, if anything.
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>>;

    /// A connection to `at` is wanted: refused at once, or (false) never answered.
    fn refuses(&mut self, at: SocketAddr) -> bool;
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

/// The whole simulation.
pub struct World {
    now: Instant,
    rng: Rng,
    link: Link,
    hosts: Vec<Host>,
    by_addr: BTreeMap<SocketAddr, HostId>,
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
    /// Both ends of every stream between hosts, and the streams of each host by link.
    streams: BTreeMap<(HostId, LinkId), Stream>,
    streams_made: u64,
    crowd: Option<Box<dyn Crowd>>,
    tap: Option<Box<dyn FnMut(Packet)>>,
    digest: [u8; 20],
    steps: u64,
    /// What came of work, until the time that it takes is over.
    worked: BTreeMap<u64, Worked>,
}

struct Host {
    engine: Engine,
    addr: SocketAddr,
    store: ModelStore,
    answers: Vec<(CommandId, Answer)>,
    stopped: bool,
    /// The wake-up that counts; earlier ones in the heap are stale.
    wake_at: Instant,
}

#[derive(Clone, Copy)]
struct Stream {
    number: u64,
    remote: SocketAddr,
    /// The other end, once it is there.
    peer: Option<(HostId, LinkId)>,
    /// Nothing arrives before what was sent before it.
    clear_at: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Instant,
    sequence: u64,
    host: HostId,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake,
    Datagram { from: SocketAddr, data: Vec<u8> },
    Connect { from: HostId, link: LinkId },
    Opened(LinkId),
    Bytes { link: LinkId, data: Vec<u8> },
    Eof(LinkId),
    Failed { link: LinkId, refused: bool },
    Stored { count: u32 },
    StoreClosed,
    Worked(u64),
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
            events: BinaryHeap::new(),
            sequence: 0,
            streams: BTreeMap::new(),
            streams_made: 0,
            crowd: None,
            tap: None,
            digest: [0; 20],
            steps: 0,
            worked: BTreeMap::new(),
        }
    }

    /// Puts somebody at all addresses that no host has.
    pub fn set_crowd(&mut self, crowd: impl Crowd + 'static) {
        self.crowd = Some(Box::new(crowd));
    }

    /// Shows every packet to `tap` as it leaves or reaches a host.
    pub fn set_tap(&mut self, tap: impl FnMut(Packet) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// A new host at `addr`.
    pub fn add(&mut self, addr: SocketAddr, mut config: Config) -> HostId {
        config.listen = vec![addr];
        self.add_with(addr, config, ModelStore::default())
    }

    /// Ends the engine at once, as `kill -9` does, and starts another on what its disk has.
    pub fn restart(&mut self, host: HostId, config: Config) {
        let Host { addr, store, .. } = &self.hosts[host.0];
        let (addr, recovered) = (*addr, store.recovered());
        let ended: Vec<LinkId> = self.links_of(host);
        ended.into_iter().for_each(|link| self.hang_up(host, link));
        let config = Config { listen: vec![addr], ..config };
        self.hosts[host.0].engine = self.engine(config, recovered);
        self.hosts[host.0].stopped = false;
        self.hosts[host.0].wake_at = Instant::FAR;
        self.drain(host);
    }

    /// Hands a command to a host.
    pub fn command(&mut self, host: HostId, command: Command) {
        self.input(host, Input::Command(command));
    }

    /// The engine of a host.
    pub fn engine_of(&mut self, host: HostId) -> &mut Engine {
        &mut self.hosts[host.0].engine
    }

    /// What a host has stored.
    pub fn store_of(&self, host: HostId) -> &ModelStore {
        &self.hosts[host.0].store
    }

    /// What commands of a host were answered, in order.
    pub fn answers(&self, host: HostId) -> &[(CommandId, Answer)] {
        &self.hosts[host.0].answers
    }

    /// True after [`Command::Stop`] came to its end.
    pub fn stopped(&self, host: HostId) -> bool {
        self.hosts[host.0].stopped
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
        self.digest
    }

    /// Lets virtual time pass until `done`, at most for `limit`. False if the time ran out.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + limit;
        while !done(self) {
            match self.events.peek() {
                Some(Reverse(event)) if event.at <= until => self.step(),
                _ => {
                    self.now = until;
                    return done(self);
                }
            }
        }
        true
    }

    fn add_with(&mut self, addr: SocketAddr, config: Config, store: ModelStore) -> HostId {
        let id = HostId(self.hosts.len());
        let engine = self.engine(config, store.recovered());
        self.by_addr.insert(addr, id);
        self.hosts.push(Host {
            engine,
            addr,
            store,
            answers: Vec::new(),
            stopped: false,
            wake_at: Instant::FAR,
        });
        self.drain(id);
        id
    }

    fn engine(&mut self, config: Config, recovered: Recovered) -> Engine {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        Engine::new(config, recovered, seed, self.now, self.unix())
    }

    fn unix(&self) -> UnixTime {
        UnixTime(EPOCH + u64::from(self.now.secs()))
    }

    fn step(&mut self) {
        let Some(Reverse(event)) = self.events.pop() else { return };
        self.now = self.now.max(event.at);
        self.steps += 1;
        self.record(&event);
        let host = event.host;
        match event.what {
            What::Wake => {
                if self.hosts[host.0].wake_at == event.at {
                    self.hosts[host.0].wake_at = Instant::FAR;
                    self.drain(host);
                }
            }
            What::Datagram { from, data } => self.deliver(host, from, &data),
            What::Connect { from, link } => self.on_connect(host, from, link),
            What::Opened(link) => {
                self.tap_stream(host, link, true, 0);
                self.input(host, Input::Opened(link));
            }
            What::Bytes { link, data } => {
                if self.streams.contains_key(&(host, link)) {
                    self.tap_stream(host, link, true, data.len());
                    self.input(host, Input::Received(link, &data));
                }
            }
            What::Eof(link) => {
                if self.streams.contains_key(&(host, link)) {
                    self.input(host, Input::Eof(link));
                }
            }
            What::Failed { link, refused } => {
                if self.streams.remove(&(host, link)).is_some() {
                    let reason = if refused { Reason::Refused } else { Reason::Unreachable };
                    self.input(host, Input::Closed(link, reason));
                }
            }
            What::Stored { count } => self.input(host, Input::Stored(StoreResult::Committed(count))),
            What::StoreClosed => self.input(host, Input::Stored(StoreResult::Closed)),
            What::Worked(number) => {
                if let Some(worked) = self.worked.remove(&number) {
                    self.input(host, Input::Worked(worked));
                }
            }
        }
    }

    fn deliver(&mut self, host: HostId, from: SocketAddr, data: &[u8]) {
        self.tap(host, from, None, true, data.len());
        let mut reply = [0; DATAGRAM_MAX];
        let path = Path { socket: SocketId(0), local: None, remote: from };
        let (now, unix) = (self.now, self.unix());
        let len = self.hosts[host.0].engine.handle(now, unix, Input::Datagram(path, data), &mut reply);
        if len > 0 {
            self.send(host, from, &reply[..len]);
        }
        self.drain(host);
    }

    fn input(&mut self, host: HostId, input: Input<'_>) {
        let (now, unix) = (self.now, self.unix());
        self.hosts[host.0].engine.handle(now, unix, input, &mut []);
        self.drain(host);
    }

    /// Does what the engine wants until it is idle.
    fn drain(&mut self, host: HostId) {
        let mut scratch = [0; DATAGRAM_MAX];
        loop {
            let (now, unix) = (self.now, self.unix());
            match self.hosts[host.0].engine.poll(now, unix, &mut scratch) {
                Output::Datagram(path, len) => self.send(host, path.remote, &scratch[..len]),
                Output::Connect { link, to, .. } => self.connect(host, link, to),
                Output::Write(link) => self.write(host, link),
                Output::Close(link) => self.hang_up(host, link),
                Output::Store(op) => {
                    let (result, after) = self.hosts[host.0].store.apply(op);
                    let what = match result {
                        StoreResult::Closed => What::StoreClosed,
                        _ => What::Stored { count: 1 },
                    };
                    self.push(now + after, host, what);
                }
                Output::Work(job) => {
                    self.worked.insert(self.sequence, job.run());
                    self.push(now + WORK, host, What::Worked(self.sequence));
                }
                Output::Answer(id, answer) => self.hosts[host.0].answers.push((id, answer)),
                Output::Event(_) => {}
                Output::Stopped => self.hosts[host.0].stopped = true,
                Output::Idle(deadline) => {
                    if let Some((at, why)) = deadline {
                        assert!(at > now, "a deadline for {why:?} does not move time forward");
                        if at != self.hosts[host.0].wake_at {
                            self.hosts[host.0].wake_at = at;
                            self.push(at, host, What::Wake);
                        }
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, host: HostId, to: SocketAddr, data: &[u8]) {
        self.tap(host, to, None, false, data.len());
        let from = self.hosts[host.0].addr;
        for after in self.link.arrivals(&mut self.rng) {
            let at = self.now + after;
            if let Some(target) = self.by_addr.get(&to).copied() {
                self.push(at, target, What::Datagram { from, data: data.to_vec() });
            } else if let Some(answer) =
                self.crowd.as_mut().and_then(|crowd| crowd.on_datagram(to, from, data))
            {
                let back = self.link.passage(&mut self.rng);
                self.push(at + back, host, What::Datagram { from: to, data: answer });
            }
        }
    }

    fn connect(&mut self, host: HostId, link: LinkId, to: SocketAddr) {
        self.streams_made += 1;
        let stream = Stream { number: self.streams_made, remote: to, peer: None, clear_at: self.now };
        self.streams.insert((host, link), stream);
        self.tap_stream(host, link, false, 0);
        let at = self.now + self.link.passage(&mut self.rng);
        if let Some(target) = self.by_addr.get(&to).copied() {
            self.push(at, target, What::Connect { from: host, link });
        } else if self.crowd.as_mut().is_none_or(|crowd| crowd.refuses(to)) {
            self.push(at + self.link.delay, host, What::Failed { link, refused: true });
        }
    }

    fn on_connect(&mut self, host: HostId, from: HostId, link: LinkId) {
        let Some(stream) = self.streams.get(&(from, link)).copied() else { return };
        let remote = self.hosts[from.0].addr;
        let now = self.now;
        let at = now + self.link.passage(&mut self.rng);
        let Some(accepted) = self.hosts[host.0].engine.admit(now, remote) else {
            return self.push(at, from, What::Failed { link, refused: true });
        };
        let here = Stream { remote, peer: Some((from, link)), clear_at: at, ..stream };
        self.streams.insert((host, accepted), here);
        if let Some(there) = self.streams.get_mut(&(from, link)) {
            (there.peer, there.clear_at) = (Some((host, accepted)), at);
        }
        self.push(at, from, What::Opened(link));
        self.drain(host);
    }

    /// Takes what waits on a link and sends it in pieces, in order.
    fn write(&mut self, host: HostId, link: LinkId) {
        let now = self.now;
        let engine = &mut self.hosts[host.0].engine;
        let allowed = engine.write_allowance(now, link);
        let Some(queue) = engine.send_queue(link) else { return };
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = queue.slices_within(allowed, &mut slices);
        let data: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        if data.is_empty() {
            return;
        }
        engine.wrote(now, link, data.len());
        self.tap_stream(host, link, false, data.len());
        let Some(stream) = self.streams.get(&(host, link)).copied() else { return };
        let Some((peer, peer_link)) = stream.peer else { return };
        let mut rest = &data[..];
        let mut at = stream.clear_at.max(self.now + self.link.delay);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(self.link.piece(rest.len(), &mut self.rng));
            self.push(at, peer, What::Bytes { link: peer_link, data: piece.to_vec() });
            at += Duration::from_micros(1 + self.rng.below(500));
            rest = tail;
        }
        if let Some(stream) = self.streams.get_mut(&(host, link)) {
            stream.clear_at = at;
        }
        self.write(host, link);
    }

    fn hang_up(&mut self, host: HostId, link: LinkId) {
        self.write(host, link);
        let Some(stream) = self.streams.remove(&(host, link)) else { return };
        if let Some((peer, peer_link)) = stream.peer {
            let at = stream.clear_at.max(self.now + self.link.delay);
            self.push(at, peer, What::Eof(peer_link));
        }
    }

    fn links_of(&self, host: HostId) -> Vec<LinkId> {
        self.streams.keys().filter(|(owner, _)| *owner == host).map(|(_, link)| *link).collect()
    }

    fn push(&mut self, at: Instant, host: HostId, what: What) {
        self.sequence += 1;
        self.events.push(Reverse(Event { at, sequence: self.sequence, host, what }));
    }

    fn tap_stream(&mut self, host: HostId, link: LinkId, inbound: bool, len: usize) {
        let Some(stream) = self.streams.get(&(host, link)) else { return };
        let (number, remote) = (stream.number, stream.remote);
        self.tap(host, remote, Some(number), inbound, len);
    }

    fn tap(&mut self, host: HostId, remote: SocketAddr, stream: Option<u64>, inbound: bool, len: usize) {
        if let Some(tap) = &mut self.tap {
            tap(Packet { at: self.now, host, remote, stream, inbound, len });
        }
    }

    fn record(&mut self, event: &Event) {
        let mut line = self.digest.to_vec();
        line.extend(event.at.0.to_be_bytes());
        line.extend((event.host.0 as u64).to_be_bytes());
        match &event.what {
            What::Datagram { data, .. } | What::Bytes { data, .. } => line.extend(data),
            What::Wake => line.push(1),
            What::Connect { .. } => line.push(2),
            What::Opened(_) => line.push(3),
            What::Eof(_) => line.push(4),
            What::Failed { .. } => line.push(5),
            What::Stored { .. } | What::StoreClosed => line.push(6),
            What::Worked(_) => line.push(7),
        }
        self.digest = sha1(&line);
    }
}

/// A day in 2026; nothing depends on which.
const EPOCH: u64 = 1_790_000_000;
const DATAGRAM_MAX: usize = 2_048;
/// The largest dictionary takes a slow machine about so long.
const WORK: Duration = Duration::from_millis(50);
