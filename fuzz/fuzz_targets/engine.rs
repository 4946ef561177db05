//! The whole engine under a driver that keeps the contract and decides everything else by the
//! input: datagrams, streams that open, stall, lie and break, an archive that is late or fails, a
//! clock that jumps. After every step its invariants hold and it is drained; at the end it stops.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dht_hunter::base::{InfoHash, Instant, Path, Scope, SocketId, UnixTime};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{AcceptorId, BindFault, Command, Input, Job, LinkId, Output, Reason};
use dht_hunter::model::archive::StoreFault;
use dht_hunter::model::{Recovered, SavedNode, StoreOp, StoreResult};
use dht_hunter_fuzz::commands::{Commands, forwarders, rates};
use dht_hunter_fuzz::crowd::Crowd;
use dht_hunter_fuzz::heap;
use dht_hunter_fuzz::limits::Window;
use dht_hunter_fuzz::remote::Remote;
use dht_hunter_fuzz::stream::front;
use dht_hunter_fuzz::{Feed, dns, peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    heap::within(HELD_MAX, ONCE_MAX, || {
        let mut world = World::new(Feed::new(input));
        while !world.feed.is_empty() && world.steps < STEPS_MAX {
            world.step();
        }
        world.stop();
    });
});

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    unix: UnixTime,
    listen: Vec<IpAddr>,
    rates: Rates,
    engine: Engine,
    crowd: Crowd,
    commands: Commands,
    packets: Window,
    streams: BTreeMap<LinkId, Stream>,
    /// Sockets besides those of the DHT.
    sockets: BTreeMap<SocketId, SocketAddr>,
    servers: Vec<SocketAddr>,
    /// Questions about names that wait for an answer.
    asked: VecDeque<(Path, Vec<u8>)>,
    /// What the archive was given and has not acknowledged; `None` for what is no torrent.
    archive: VecDeque<Option<InfoHash>>,
    /// Work that is under way.
    jobs: Vec<Job>,
    stored: BTreeMap<InfoHash, usize>,
    lost: usize,
    shutting: bool,
    stopped: bool,
    steps: usize,
}

struct Stream {
    remote: Remote,
    open: bool,
    /// The engine said [`Output::Write`] and the stream has not taken all of it.
    writing: bool,
    eof: bool,
    accepted: bool,
    /// It leads to a DNS server, which has heard this.
    names: Option<Vec<u8>>,
}

impl<'a> World<'a> {
    fn new(mut feed: Feed<'a>) -> Self {
        let flags = feed.u8();
        let mut listen: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into()];
        match flags & 3 {
            0 => listen.push(Ipv6Addr::UNSPECIFIED.into()),
            1 => listen.push(Ipv4Addr::new(80, 1, 2, 3).into()),
            _ => {}
        }
        let rates = if flags & 4 == 0 { Rates::MAX } else { rates(&mut feed) };
        let sockets = listen.iter().map(|ip| SocketAddr::new(*ip, 6_881)).collect();
        let names = dht_hunter::dns::Config::new(forwarders(&mut feed));
        let servers = names.forwarders.iter().map(|server| server.addr).collect();
        let config = Config {
            read_only: flags & 0x18 == 0x18,
            sweep: flags & 0x20 == 0,
            passive: flags & 0x40 == 0,
            metadata_in_flight: if flags & 0x80 == 0 { 1 << 20 } else { 40_000 },
            pending_max: 1 + feed.below(40),
            nodes_max: 4 + feed.below(300),
            ports_below_1024: false,
            dns: names,
            ..Config::new(sockets, rates)
        };
        let crowd = Crowd::new(listen.clone());
        let recovered = recovered(&mut feed, &crowd);
        let (now, unix) = (Instant::from_millis(1_000), UnixTime(UNIX));
        let mut engine = Engine::new(config, recovered, [feed.u8(); 32], now, unix);
        if feed.one_in(2) {
            peer::library().iter().for_each(|info| _ = engine.share(info.clone()));
        }
        let mut world = Self {
            feed,
            now,
            unix,
            listen,
            rates,
            engine,
            crowd,
            commands: Commands::with_names(),
            packets: Window::new(rates.packets_out, (rates.packets_out / 10).max(1)),
            streams: BTreeMap::new(),
            sockets: BTreeMap::new(),
            servers,
            asked: VecDeque::new(),
            archive: VecDeque::new(),
            jobs: Vec::new(),
            stored: BTreeMap::new(),
            lost: 0,
            shutting: false,
            stopped: false,
            steps: 0,
        };
        world.drain();
        world
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.feed.u8() % 64 {
            0..=16 => self.datagram(),
            17..=20 => self.names_datagram(),
            21..=25 => self.on_some(|stream| !stream.open, Self::open),
            26..=41 => self.on_some(|stream| stream.open, Self::deliver),
            42..=43 => self.on_some(|stream| stream.open, Self::misspeak),
            44 => self.on_some(|stream| stream.open && !stream.eof, Self::eof),
            45..=46 => self.on_some(|_| true, Self::lose),
            47..=48 => self.on_some(|stream| stream.writing, Self::write),
            49..=51 => self.acknowledge(),
            52..=55 => self.wait(),
            56 => self.accept(),
            58..=59 => self.work(),
            57 => {
                // Names that reach nothing.
                let link = LinkId(dht_hunter::base::Token::unpack(self.feed.u64()));
                if !self.streams.contains_key(&link) {
                    self.input(Input::Received(link, b"x"));
                    self.input(Input::Closed(link, Reason::Reset));
                }
            }
            _ => self.command(),
        }
        self.drain();
        self.check();
    }

    fn input(&mut self, input: Input<'_>) {
        let used = self.engine.handle(self.now, self.unix, input, &mut []);
        assert_eq!(used, 0, "only a datagram is answered directly");
    }

    fn datagram(&mut self) {
        let (path, said) = self.crowd.says(&mut self.feed);
        let mut reply = [0; 2_048];
        let len = self.engine.handle(self.now, self.unix, Input::Datagram(path, &said), &mut reply);
        if len > 0 {
            self.packets.sent(self.now);
            self.crowd.answered(path, &said, &reply[..len]);
        }
    }

    /// What a DNS server says to one of the questions, or something in its place.
    fn names_datagram(&mut self) {
        let at = self.feed.below(self.asked.len());
        let Some((mut path, query)) = self.asked.get(at).cloned() else { return };
        if self.feed.one_in(8) {
            path.remote.set_port(54);
        }
        if let Some(said) = dns::reply(&mut self.feed, &query, 1_232) {
            self.input(Input::Datagram(path, &said));
        }
    }

    /// A DNS server hears something on a stream, and answers.
    fn names_hear(&mut self, link: LinkId, data: &[u8]) {
        let stream = self.streams.get_mut(&link).expect("a stream that is there");
        let heard = stream.names.as_mut().expect("it leads to a server");
        heard.extend_from_slice(data);
        while let Some((len, rest)) = heard.split_first_chunk::<2>()
            && let Some((frame, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        {
            if let Some(said) = dns::reply(&mut self.feed, frame, 2_000) {
                stream.remote.said.extend_from_slice(&(said.len() as u16).to_be_bytes());
                stream.remote.said.extend_from_slice(&said);
            }
            *heard = rest.to_vec();
        }
    }

    fn on_some(&mut self, which: impl Fn(&Stream) -> bool, act: fn(&mut Self, LinkId)) {
        let links: Vec<_> = self.streams.iter().filter(|(_, it)| which(it)).map(|(link, _)| *link).collect();
        if !links.is_empty() {
            let link = links[self.feed.below(links.len())];
            act(self, link);
        }
    }

    fn open(&mut self, link: LinkId) {
        self.stream(link).open = true;
        self.input(Input::Opened(link));
        if self.streams.contains_key(&link) {
            self.write(link);
        }
    }

    fn stream(&mut self, link: LinkId) -> &mut Stream {
        self.streams.get_mut(&link).expect("a stream that is there")
    }

    fn deliver(&mut self, link: LinkId) {
        let wanted = self.engine.wants_read(link);
        let allowed = self.engine.read_allowance(self.now, link, READ_MAX);
        let stream = self.streams.get_mut(&link).expect("a stream that is there");
        if !wanted || allowed == 0 || stream.eof {
            return;
        }
        let data = stream.remote.arrives(&mut self.feed, allowed);
        if !data.is_empty() {
            self.input(Input::Received(link, &data));
        } else if self.stream(link).remote.hung_up {
            self.eof(link);
        }
    }

    fn misspeak(&mut self, link: LinkId) {
        let stream = self.streams.get_mut(&link).expect("a stream that is there");
        stream.remote.speaks(&mut self.feed);
    }

    fn eof(&mut self, link: LinkId) {
        self.stream(link).eof = true;
        self.input(Input::Eof(link));
    }

    fn lose(&mut self, link: LinkId) {
        let reasons = [Reason::Refused, Reason::Reset, Reason::Unreachable, Reason::NoResources];
        let reason = reasons[self.feed.below(reasons.len())];
        self.streams.remove(&link);
        self.input(Input::Closed(link, reason));
        assert!(self.engine.send_queue(link).is_none() && !self.engine.wants_read(link));
    }

    /// The stream takes some of what the engine has to say, or all.
    fn write(&mut self, link: LinkId) {
        let mut most = if self.feed.one_in(4) { 1 + self.feed.below(100) } else { usize::MAX };
        loop {
            let allowed = self.engine.write_allowance(self.now, link);
            let Some(queue) = self.engine.send_queue(link) else {
                // It is to be closed as soon as the driver comes to that.
                return self.stream(link).writing = false;
            };
            assert!(allowed <= queue.len());
            let data = front(queue, most.min(allowed));
            if data.is_empty() {
                // Where the rate holds it back, the engine says when it goes on.
                self.stream(link).writing = allowed > 0;
                return;
            }
            most -= data.len();
            self.engine.wrote(self.now, link, data.len());
            let now = self.now;
            if self.stream(link).names.is_some() {
                self.names_hear(link, &data);
            } else {
                self.stream(link).remote.hears(now, &data);
            }
        }
    }

    fn work(&mut self) {
        if !self.jobs.is_empty() {
            let job = self.jobs.swap_remove(self.feed.below(self.jobs.len()));
            self.input(Input::Worked(job.run()));
        }
    }

    fn acknowledge(&mut self) {
        let count = self.feed.below(self.archive.len().min(20) + 1) as u32;
        let result = match self.feed.u8() {
            0xff => StoreResult::Failed(count, StoreFault::Other),
            0xfe => StoreResult::Failed(count, StoreFault::DiskFull),
            0xfd => {
                let low = self.feed.one_in(2);
                return self.input(Input::Stored(StoreResult::DiskLow(low)));
            }
            _ => StoreResult::Committed(count),
        };
        for torrent in self.archive.drain(..count as usize).flatten() {
            if let StoreResult::Failed(..) = result {
                self.lost += 1;
                *self.stored.entry(torrent).or_default() -= 1;
            }
        }
        self.input(Input::Stored(result));
    }

    fn wait(&mut self) {
        let by = match self.feed.u8() % 8 {
            0 => Duration::from_secs(u64::from(self.feed.u16())),
            1 => Duration::from_secs(u64::from(self.feed.u8())),
            2 => {
                // Both clocks may jump; the engine's own never runs backwards.
                let back = Instant(self.now.0 / 2);
                self.engine.handle(back, UnixTime(self.feed.u32().into()), Input::Eof(NOBODY), &mut []);
                return;
            }
            _ => Duration::from_millis(u64::from(self.feed.u8())),
        };
        self.now += by;
        self.unix.0 += by.as_secs();
        self.crowd.at = u64::from(self.now.secs());
    }

    fn accept(&mut self) {
        let remote = self.crowd.addr(&mut self.feed, false);
        if let Some(link) = self.engine.admit(self.now, AcceptorId(0), remote) {
            let mut stream = Stream {
                remote: Remote::new(self.now, true),
                open: true,
                writing: false,
                eof: false,
                accepted: true,
                names: None,
            };
            stream.remote.asks(&mut self.feed);
            assert!(self.streams.insert(link, stream).is_none(), "a name that is taken");
        }
    }

    fn command(&mut self) {
        let command = self.commands.some(&mut self.feed, &self.crowd);
        if let Command::SetRates(rates) = command {
            self.rates = rates;
            self.packets = Window::new(rates.packets_out, (rates.packets_out / 10).max(1));
        }
        if let Command::SetNames(system) = &command {
            self.servers = system.forwarders.iter().map(|server| server.addr).collect();
        }
        self.input(Input::Command(command));
    }

    /// Does what the engine wants until it is idle.
    fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let mut scratch = [0; 2_048];
            match self.engine.poll(self.now, self.unix, &mut scratch) {
                Output::Datagram(path, len) => self.send(path, &scratch[..len]),
                Output::Connect { link, from, to, .. } => self.connect(link, from, to),
                Output::Write(link) => {
                    let stream = self.stream(link);
                    stream.writing = true;
                    if stream.open {
                        self.write(link);
                    }
                }
                Output::Bind(socket, addr) => {
                    let bound = match self.feed.u8() {
                        0..=239 => Ok(addr),
                        240..=247 => Err(BindFault::InUse),
                        _ => Err(BindFault::NotAvailable),
                    };
                    if bound.is_ok() {
                        assert!(self.sockets.insert(socket, addr).is_none(), "a name that is taken");
                    }
                    self.input(Input::Bound(socket, bound));
                }
                Output::Unbind(socket) => _ = self.sockets.remove(&socket),
                Output::Accept(_) => panic!("nothing asks for that yet"),
                Output::Close(link) => {
                    assert!(self.streams.remove(&link).is_some(), "{link:?} is closed twice");
                }
                Output::Store(op) => self.store(&op),
                Output::Work(job) => self.jobs.push(job),
                Output::Answer(id, answer) => self.commands.answered(id, &answer),
                Output::Event(_) => {}
                Output::Stopped => {
                    assert!(self.shutting && self.archive.is_empty(), "stopped too early");
                    self.stopped = true;
                }
                Output::Idle(Some((at, why))) => {
                    return assert!(at > self.now, "a deadline for {why:?} does not lie ahead");
                }
                Output::Idle(None) => return assert!(self.stopped),
            }
        }
        panic!("it is never idle");
    }

    fn send(&mut self, path: Path, packet: &[u8]) {
        assert!(!self.shutting, "nothing is asked any more");
        if usize::from(path.socket.0) >= self.listen.len() {
            // It may have left just before the settings changed, but not after.
            assert!(self.sockets.contains_key(&path.socket) && self.servers.contains(&path.remote));
            self.asked.push_back((path, packet.to_vec()));
            if self.asked.len() > ASKED_KEPT {
                self.asked.pop_front();
            }
            return;
        }
        self.packets.sent(self.now);
        self.crowd.sees(path, packet);
    }

    fn connect(&mut self, link: LinkId, from: Option<IpAddr>, to: SocketAddr) {
        let names = to.port() == 53;
        if names {
            assert!(!self.shutting, "nobody is asked after the stop");
            let mut stream = Stream::new(self.now);
            stream.names = Some(Vec::new());
            assert!(self.streams.insert(link, stream).is_none(), "a name that is taken");
            return;
        }
        assert!(self.listen.iter().any(|listen| Scope::may_contact(*listen, to)) && to.port() >= 1_024);
        assert!(from.is_none_or(|from| self.listen.contains(&from) && !from.is_unspecified()));
        let ours = self.streams.values().filter(|stream| !stream.accepted);
        let within = |count: usize, cap: usize| cap == 0 || count < cap;
        let fetches = ours.clone().filter(|stream| stream.names.is_none());
        assert!(within(fetches.count(), self.rates.fetches));
        assert!(within(ours.filter(|stream| !stream.open).count(), self.rates.half_open));
        assert!(self.streams.insert(link, Stream::new(self.now)).is_none(), "a name that is taken");
    }

    fn store(&mut self, op: &StoreOp) {
        assert!(!self.shutting, "{op:?} follows the shutdown");
        let mut torrent_stored = None;
        match op {
            StoreOp::Torrent(torrent) => {
                assert!(peer::library().contains(&torrent.raw), "nobody has that");
                let times = self.stored.entry(torrent.infohash).or_default();
                *times += 1;
                assert!(*times <= 1 + self.commands.fetches, "fetched again, {} lost", self.lost);
                torrent_stored = Some(torrent.infohash);
            }
            StoreOp::Shutdown => {
                self.shutting = true;
                return;
            }
            _ => {}
        }
        self.archive.push_back(torrent_stored);
    }

    fn check(&mut self) {
        if self.stopped || self.steps.is_multiple_of(CHECK_EVERY) {
            self.engine.check_invariants();
        }
        let stats = self.engine.stats();
        let ours = self.streams.values().filter(|stream| !stream.accepted);
        // A fetch whose bytes are being looked at is closed already, and still counts.
        let fetches = ours.clone().filter(|stream| stream.names.is_none());
        let (open, proving) = (fetches.count(), self.jobs.len());
        assert!((open..=open + proving).contains(&stats.fetches_open));
        assert_eq!(stats.half_open, ours.filter(|stream| !stream.open).count());
    }

    /// It stops: streams are closed, all is handed over, and after the last word of the archive
    /// there is nothing more.
    fn stop(&mut self) {
        self.input(Input::Command(Command::Stop));
        self.drain();
        assert!(
            self.streams.is_empty() && self.sockets.is_empty() && self.shutting,
            "what was open is closed"
        );
        let waiting = self.archive.len() as u32;
        self.archive.clear();
        self.input(Input::Stored(StoreResult::Committed(waiting)));
        self.drain();
        assert!(!self.stopped);
        self.input(Input::Stored(StoreResult::Closed));
        self.drain();
        assert!(self.stopped, "it does not stop");
        // Whatever still comes finds nobody.
        self.work();
        self.now += Duration::from_secs(3_600);
        self.datagram();
        self.drain();
        self.check();
    }
}

impl Stream {
    /// One that the engine wants.
    fn new(now: Instant) -> Self {
        let remote = Remote::new(now, true);
        Self { remote, open: false, writing: false, eof: false, accepted: false, names: None }
    }
}

fn recovered(feed: &mut Feed<'_>, crowd: &Crowd) -> Recovered {
    let nodes = (0..feed.below(6)).map(|_| SavedNode {
        id: dht_hunter::base::Id([feed.u8(); 20]),
        addr: crowd.addr(feed, false),
        answered: UnixTime(u64::from(feed.u8()) * 10_000_000),
        sample_after: UnixTime(u64::from(feed.u8()) * 10_000_000),
    });
    Recovered { nodes: nodes.collect(), ..Recovered::default() }
}

/// No link has it: the engine counts up.
const NOBODY: LinkId = LinkId(dht_hunter::base::Token::LAST);
/// Looking at everything takes longer than most steps; what is broken stays so.
const CHECK_EVERY: usize = 4;
const STEPS_MAX: usize = 400;
/// Questions about names that may still be answered.
const ASKED_KEPT: usize = 64;
const READ_MAX: usize = 64 << 10;
/// More than one step can lead to.
const OUTPUTS_MAX: usize = 20_000;
const UNIX: u64 = 1_790_000_000;
/// The budget of all fetches, what is on its way on some dozens of connections, and directories.
const HELD_MAX: usize = 64 << 20;
/// What libraries make once, at first use.
const ONCE_MAX: usize = 1_024;
