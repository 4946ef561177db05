//! The reactor, with the real engine in it, over a network that does what networks do: it takes and
//! gives in parts, interrupts, refuses, resets, has no room, tells of nothing and of what is gone.
//! No byte is lost, doubled or handed to the wrong link, nothing that waits is forgotten, nothing
//! spins, and a stop ends.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use dht_hunter::base::{Instant, Path, SendQueue, SocketId, Token, UnixTime};
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{AcceptorId, Answer, CommandId, Input, LinkId, Output};
use dht_hunter::model::archive::StoreFault;
use dht_hunter::model::{Recovered, StoreOp, StoreResult};
use dht_hunter::reactor::net::{Net, Ready, UdpBatch};
use dht_hunter::reactor::start::Listening;
use dht_hunter::reactor::sys::signals::Arrived;
use dht_hunter::reactor::sys::udp::{DATAGRAM_MAX, Received, SendReport};
use dht_hunter::reactor::{
    Archive, Drive, Exit, Gauges, Handle, Listen, Observer, Reactor, ReactorConfig, Wake,
};
use dht_hunter_fuzz::Feed;
use dht_hunter_fuzz::commands::{Commands, rates};
use dht_hunter_fuzz::crowd::Crowd;
use dht_hunter_fuzz::remote::Remote;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut feed = Feed::new(input);
    if feed.one_in(2) { run::<false>(feed) } else { run::<true>(feed) }
});

/// With `EDGES` as epoll tells, without as mio does over poll(2): see `reactor::net`.
fn run<const EDGES: bool>(mut feed: Feed<'_>) {
    let listen = [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(80, 1, 2, 3).into()];
    let listen = &listen[..1 + feed.below(2)];
    let at: Vec<_> = listen.iter().map(|ip| SocketAddr::new(*ip, 6_881)).collect();
    let rates = if feed.one_in(4) { rates(&mut feed) } else { Rates::MAX };
    let config = Config { nodes_max: 200, pending_max: 50, ..Config::new(at.clone(), rates) };
    let (now, unix) = (Instant::from_millis(1_000), UnixTime(UNIX));
    let limits_bytes = rates.bytes_out > 0;
    let engine = Engine::new(config, Recovered::default(), [feed.u8(); 32], now, unix);
    let outside = Rc::new(RefCell::new(Outside::new(feed, EDGES, listen)));
    let net = FuzzNet::<EDGES> { outside: Rc::clone(&outside) };
    let at: Vec<_> = at.into_iter().map(|addr| Listen { addr, explicit: true }).collect();
    let accept = vec![Listen { addr: SocketAddr::new(listen[0], 6_882), explicit: true }];
    let config = ReactorConfig { listen: at, accept, ..ReactorConfig::default() };
    let listening = Listening::on(net, &config).expect("it binds");
    outside.borrow_mut().handle = Some(listening.handle());
    outside.borrow_mut().commands.limits_bytes = limits_bytes;
    let driven = Watched { engine, outside: Rc::clone(&outside) };
    let archive = Model { outside: Rc::clone(&outside) };
    let mut reactor = Reactor::new(listening, driven, archive, Watcher { outside: Rc::clone(&outside) });
    assert_eq!(reactor.run(), Exit::Stopped);
    let gauges = reactor.gauges();
    assert_eq!((gauges.links, gauges.stuck_ops), (0, 0));
    let outside = outside.borrow();
    assert_eq!(gauges.datagrams_out, outside.datagrams_sent);
    assert_eq!(gauges.datagrams_refused, outside.datagrams_refused);
    assert!(outside.streams.is_empty(), "a stream is left open");
}

/// Everything that is not the reactor.
struct Outside<'a> {
    feed: Feed<'a>,
    now: Instant,
    crowd: Crowd,
    commands: Commands,
    handle: Option<Handle>,
    /// The listen sockets, from 0, and those that were bound besides, from [`BOUND`].
    sockets: BTreeMap<u16, Socket>,
    listening: u16,
    lives: u32,
    /// What is to be asked for besides what the engine asks for.
    wishes: VecDeque<Wish>,
    binding: VecDeque<SocketId>,
    accepting: bool,
    knocking: u32,
    /// Somebody knocked, or the last look said that nobody does: tell of it.
    door_armed: bool,
    streams: BTreeMap<LinkId, Stream>,
    /// Links that were closed, for stale events.
    gone: Vec<LinkId>,
    archive: Shelf,
    datagrams_sent: u64,
    datagrams_refused: u64,
    /// When the engine wants to be called at the latest, as it last said.
    deadline: Option<Instant>,
    /// What the engine is to be told of the links: nothing, opened, or ended.
    told: BTreeMap<LinkId, Told>,
    /// Links that were reported as closed.
    gone_early: BTreeSet<LinkId>,
    edges: bool,
    /// What the engine wants sent and the reactor has not passed on.
    to_send: VecDeque<(SocketId, SocketAddr, Vec<u8>)>,
    /// Polls after the chaos that waited, and those in a row that did not.
    idle: u32,
    spins: u32,
    polls: u32,
    /// The last poll waited: nothing was left to be done.
    waited: bool,
    signals: Arrived,
    stop_sent: bool,
    woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Opened,
    Eof,
}

/// What is asked for in the engine's place.
enum Wish {
    Bind(u16),
    Unbind(u16),
    Send(u16),
    Accept(bool),
}

#[derive(Default)]
struct Socket {
    /// No two have the same, whatever their names; what comes to one says it.
    life: u32,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Something arrived, or the last look said that there was nothing: tell of arrivals.
    armed: bool,
    /// It said that it takes no more.
    blocked: bool,
    /// How many more it takes.
    room: usize,
    /// The next receive fails with this.
    error: Option<io::ErrorKind>,
}

struct Stream {
    remote: Remote,
    /// What has arrived and was not read.
    incoming: VecDeque<u8>,
    /// What was read, and is to be seen by the engine.
    read: VecDeque<u8>,
    outcome: Outcome,
    told_open: bool,
    ended: bool,
    told_end: bool,
    error: Option<io::ErrorKind>,
    room: usize,
    read_armed: bool,
    write_armed: bool,
    /// There is something new to tell of, where edges are told.
    edge: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Open,
    Failed(io::ErrorKind),
}

/// The archive's side: what it was given, and its answers.
#[derive(Default)]
struct Shelf {
    given: u32,
    refuses: bool,
    results: VecDeque<StoreResult>,
    /// It took the shutdown, and it said that it is closed.
    shut: bool,
    closed: bool,
}

impl<'a> Outside<'a> {
    fn new(feed: Feed<'a>, edges: bool, listen: &[IpAddr]) -> Self {
        let socket = || Socket { armed: true, room: usize::MAX, ..Socket::default() };
        Self {
            feed,
            now: Instant::from_millis(1_000),
            crowd: Crowd::new(listen.to_vec()),
            commands: Commands::default(),
            handle: None,
            sockets: (0..).zip(listen).map(|(id, _)| (id, socket())).collect(),
            listening: listen.len() as u16,
            lives: 0,
            wishes: VecDeque::new(),
            binding: VecDeque::new(),
            accepting: true,
            knocking: 0,
            door_armed: true,
            streams: BTreeMap::new(),
            gone: Vec::new(),
            archive: Shelf::default(),
            datagrams_sent: 0,
            datagrams_refused: 0,
            deadline: None,
            told: BTreeMap::new(),
            gone_early: BTreeSet::new(),
            edges,
            to_send: VecDeque::new(),
            idle: 0,
            spins: 0,
            polls: 0,
            waited: false,
            signals: Arrived::default(),
            stop_sent: false,
            woken: false,
        }
    }

    /// Chaos is over; what is under way arrives, what waits is taken.
    fn is_quiet(&self) -> bool {
        self.feed.is_empty() || self.stop_sent
    }

    fn interrupts(&mut self) -> bool {
        !self.is_quiet() && self.feed.u8() >= 0xf0
    }

    /// Something happens, by choice.
    fn happen(&mut self, ready: &mut Vec<Ready>) {
        for _ in 0..1 + self.feed.below(4) {
            match self.feed.u8() % 32 {
                0..=9 => self.arrive(),
                10..=21 => self.stir(),
                22 => self.spurious(ready),
                23 => {
                    let room = self.feed.below(8);
                    self.any_socket().room = room;
                }
                24 => {
                    self.any_socket().error = Some(io::ErrorKind::OutOfMemory);
                }
                25..=26 => self.archive.refuses = self.feed.one_in(2),
                27..=29 => {
                    let command = self.commands.some(&mut self.feed, &self.crowd);
                    let handle = self.handle.as_ref().expect("it was handed over");
                    handle.send(command).expect("there is room");
                    self.woken = true;
                }
                30 => {
                    let by = u64::from(self.feed.u16());
                    let by = if self.feed.one_in(8) { by * 100 } else { by };
                    self.advance(Duration::from_millis(by));
                }
                _ => match self.feed.u8() {
                    0xff => self.stop(),
                    0xfe => self.signals.reload = true,
                    0xf0..0xfe => self.wish(),
                    _ => self.acknowledge(),
                },
            }
        }
    }

    fn any_socket(&mut self) -> &mut Socket {
        let at = self.feed.below(self.sockets.len());
        self.sockets.values_mut().nth(at).expect("just counted")
    }

    /// Something about sockets that the engine has no part in.
    fn wish(&mut self) {
        let id = BOUND + self.feed.below(3) as u16;
        match self.feed.u8() % 8 {
            0..=1 => self.wishes.push_back(Wish::Bind(id)),
            2 => self.wishes.push_back(Wish::Unbind(id)),
            3 => self.wishes.push_back(Wish::Send(id)),
            4 => self.wishes.push_back(Wish::Accept(self.feed.one_in(2))),
            5 => {
                self.knocking += 1;
                self.door_armed |= self.edges;
            }
            _ => {
                let (edges, many) = (self.edges, self.feed.below(100));
                let Some(socket) = self.sockets.get_mut(&id) else { return };
                let said = socket.life.to_be_bytes().to_vec();
                let from = SocketAddr::from(([80, 9, 9, 9], 53));
                socket.inbox.extend((0..many).map(|_| (from, said.clone())));
                socket.armed |= edges;
            }
        }
        self.woken = true;
    }

    fn stop(&mut self) {
        self.stop_sent = true;
        self.signals.stops = 1;
    }

    fn arrive(&mut self) {
        let (path, said) = self.crowd.says(&mut self.feed);
        let Some(socket) = self.sockets.get_mut(&path.socket.0) else { return };
        if socket.inbox.len() < 64 {
            let mut said = said;
            if self.feed.u8() == 0xff {
                said.resize(DATAGRAM_MAX + 1, b'x');
            }
            socket.inbox.push_back((path.remote, said));
            // A new arrival is an edge.
            socket.armed |= self.edges;
        }
    }

    /// Something happens to a stream.
    fn stir(&mut self) {
        let Some(link) = self.any_stream() else { return };
        let stream = self.streams.get_mut(&link).expect("just chosen");
        stream.edge = true;
        match self.feed.u8() % 16 {
            0 => stream.ended = true,
            1 => {
                let kinds =
                    [io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut, io::ErrorKind::BrokenPipe];
                stream.error = Some(kinds[self.feed.below(kinds.len())]);
            }
            2 if stream.outcome == Outcome::Pending => {
                let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable];
                stream.outcome = Outcome::Failed(kinds[self.feed.below(kinds.len())]);
            }
            3..=6 if stream.outcome == Outcome::Pending => {
                stream.outcome = Outcome::Open;
                stream.room = self.feed.below(2_000);
            }
            7 => stream.remote.speaks(&mut self.feed),
            8..=9 => stream.room = stream.room.saturating_add(self.feed.below(2_000)),
            _ => {
                let data = stream.remote.arrives(&mut self.feed, usize::MAX);
                stream.ended |= data.is_empty() && stream.remote.hung_up;
                stream.incoming.extend(data);
            }
        }
    }

    /// What is asked for in the engine's place.
    fn wished(&mut self, scratch: &mut [u8]) -> Option<Output> {
        let wish = self.wishes.pop_front()?;
        assert!(self.to_send.is_empty(), "a datagram was not passed on");
        let at = SocketAddr::from(([0, 0, 0, 0], 5_353));
        Some(match wish {
            Wish::Bind(id) => {
                self.binding.push_back(SocketId(id));
                Output::Bind(SocketId(id), at)
            }
            Wish::Unbind(id) => Output::Unbind(SocketId(id)),
            Wish::Send(id) => {
                scratch[0] = b's';
                if self.sockets.contains_key(&id) {
                    self.to_send.push_back((SocketId(id), at, vec![b's']));
                }
                Output::Datagram(Path { socket: SocketId(id), local: None, remote: at }, 1)
            }
            Wish::Accept(on) => {
                self.accepting = on;
                Output::Accept(on)
            }
        })
    }

    fn any_stream(&mut self) -> Option<LinkId> {
        let links: Vec<_> = self.streams.keys().copied().collect();
        (!links.is_empty()).then(|| links[self.feed.below(links.len())])
    }

    /// Events that say nothing, of what is there, was there, or never was.
    fn spurious(&mut self, ready: &mut Vec<Ready>) {
        let link = match self.feed.u8() % 4 {
            0 => self.any_stream(),
            1 => self.gone.last().copied(),
            2 => self.gone.first().copied(),
            _ => Some(LinkId(Token::unpack(self.feed.u64()))),
        };
        let readable = self.feed.one_in(2);
        // Of a stream that is not open it may be told that it ended; that is looked into.
        let open = link.and_then(|link| self.streams.get(&link)).is_none_or(|it| it.told_open);
        if let Some(link) = link {
            let writable = open && self.feed.one_in(2);
            ready.push(Ready::Tcp { link, readable, writable, ending: self.feed.one_in(2) });
        }
        let socket = SocketId(u16::from(self.feed.u8() % 4));
        ready.push(Ready::Udp { socket, readable, writable: false });
    }

    fn acknowledge(&mut self) {
        let count = self.feed.below(self.archive.given as usize + 1) as u32;
        self.archive.given -= count;
        self.archive.results.push_back(match self.feed.u8() {
            0xff => StoreResult::Failed(count, StoreFault::Other),
            _ => StoreResult::Committed(count),
        });
    }

    /// What was under way arrives, and there is room for all.
    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.crowd.at = u64::from(self.now.secs());
    }

    fn settle(&mut self) {
        for stream in self.streams.values_mut() {
            if stream.outcome == Outcome::Pending {
                stream.outcome = Outcome::Open;
                stream.edge = true;
            }
            if stream.room < usize::MAX {
                (stream.room, stream.edge) = (usize::MAX, true);
            }
            if !stream.remote.said.is_empty() {
                stream.incoming.extend(stream.remote.said.drain(..));
                stream.edge = true;
            }
            if stream.remote.hung_up && !stream.ended && !stream.told_end {
                (stream.ended, stream.edge) = (true, true);
            }
        }
        self.sockets.values_mut().for_each(|socket| socket.room = usize::MAX);
        self.archive.refuses = false;
        let given = std::mem::take(&mut self.archive.given);
        if given > 0 {
            self.archive.results.push_back(StoreResult::Committed(given));
        }
        if self.archive.shut && !std::mem::replace(&mut self.archive.closed, true) {
            self.archive.results.push_back(StoreResult::Closed);
        }
    }

    /// Tells of what is ready.
    fn tell<const EDGES: bool>(&mut self, ready: &mut Vec<Ready>) {
        for (index, socket) in &mut self.sockets {
            let readable = socket.armed && !socket.inbox.is_empty();
            let writable = socket.blocked && socket.room > 0;
            if readable || writable {
                socket.armed &= !readable;
                socket.blocked &= !writable;
                ready.push(Ready::Udp { socket: SocketId(*index), readable, writable });
            }
        }
        if self.knocking > 0 && std::mem::take(&mut self.door_armed) {
            ready.push(Ready::Acceptor(AcceptorId(0)));
        }
        for (link, stream) in &mut self.streams {
            let failed = matches!(stream.outcome, Outcome::Failed(_)) || stream.error.is_some();
            let opens = stream.outcome == Outcome::Open && !stream.told_open;
            let comes = !stream.incoming.is_empty() || stream.ended || failed;
            let readable = stream.outcome != Outcome::Pending && stream.read_armed && comes;
            let writable = stream.outcome == Outcome::Open && stream.write_armed && stream.room > 0;
            let said = if EDGES { stream.edge && (comes || writable) } else { readable || writable };
            if !(said || opens) || stream.outcome == Outcome::Pending {
                continue;
            }
            stream.edge = false;
            stream.told_open |= stream.outcome == Outcome::Open;
            if !EDGES {
                stream.read_armed &= !readable;
                stream.write_armed &= !(writable || opens);
            }
            let readable = if EDGES { comes } else { readable };
            let writable = opens || stream.outcome == Outcome::Open && stream.room > 0 && (EDGES || writable);
            let ending = failed || stream.ended;
            ready.push(Ready::Tcp { link: *link, readable, writable, ending: ending && (readable || EDGES) });
        }
    }

    /// Nothing is left to be done: nothing that waits was forgotten.
    fn nothing_forgotten(&self, engine: &mut Engine) {
        assert!(!self.accepting || self.knocking == 0, "somebody knocks and nobody opens");
        assert!(self.binding.is_empty(), "a bind was never answered");
        for (index, socket) in &self.sockets {
            assert!(socket.inbox.is_empty(), "datagrams lie in socket {index}");
            assert!(!socket.blocked, "socket {index} was never flushed");
        }
        for (link, stream) in self.streams.iter().filter(|(_, stream)| stream.told_open) {
            assert_ne!(self.told.get(link), Some(&Told::Nothing), "{link:?} was never opened");
            let may_read = engine.read_allowance(self.now, *link, usize::MAX) == usize::MAX;
            assert!(!may_read || stream.incoming.is_empty(), "bytes lie in {link:?}");
            assert!(stream.error.is_none(), "{link:?} has failed and nobody noticed");
            assert!(!may_read || !stream.ended, "{link:?} has ended and nobody noticed");
            let waits = engine.send_queue(*link).map_or(0, |queue| queue.len());
            assert!(self.commands.limits_bytes || waits == 0, "{link:?} was never written");
        }
    }
}

struct FuzzNet<'a, const EDGES: bool> {
    outside: Rc<RefCell<Outside<'a>>>,
}

struct Udp {
    id: SocketId,
    batch: Vec<(SocketAddr, Vec<u8>)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    reply: Box<[u8]>,
}

impl<const EDGES: bool> Net for FuzzNet<'_, EDGES> {
    type Udp = Udp;
    type Tcp = LinkId;
    type Acceptor = AcceptorId;
    type Accepted = ();

    const SHORT_READ_MEANS_EMPTY: bool = EDGES;
    const WRITABLE_MEANS_OPEN: bool = EDGES;

    fn now(&mut self) -> (Instant, UnixTime) {
        let now = self.outside.borrow().now;
        (now, UnixTime(UNIX + u64::from(now.secs())))
    }

    fn poll(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.expect("the reactor always says when to wake");
        let it = &mut *self.outside.borrow_mut();
        let due = it.deadline.map_or(Duration::ZERO, |at| at.since(it.now)).max(RETRY_AFTER);
        assert!(it.deadline.is_none() || timeout <= due, "it oversleeps by {:?}", timeout - due);
        if it.is_quiet() {
            it.settle()
        } else {
            it.happen(ready)
        }
        it.tell::<EDGES>(ready);
        (it.waited, it.polls) = (false, it.polls + 1);
        assert!(it.polls < POLLS_MAX, "it never ends");
        let woken = std::mem::take(&mut it.woken) | !it.archive.results.is_empty();
        if !ready.is_empty() || woken {
            return Ok(());
        }
        it.advance(timeout);
        if !it.is_quiet() {
            return Ok(());
        }
        it.spins = if timeout.is_zero() { it.spins + 1 } else { 0 };
        assert!(it.spins < SPINS_MAX, "it spins");
        it.waited = !timeout.is_zero();
        it.idle += u32::from(it.waited);
        Ok(())
    }

    fn wake(&self) -> Wake {
        Wake::new(|| {})
    }

    fn signals(&mut self) -> Arrived {
        std::mem::take(&mut self.outside.borrow_mut().signals)
    }

    fn udp_bind(&mut self, id: SocketId, addr: SocketAddr) -> io::Result<(Udp, SocketAddr)> {
        if id.0 >= BOUND {
            let it = &mut *self.outside.borrow_mut();
            if it.interrupts() {
                return Err(io::Error::from_raw_os_error([24, 98, 99][it.feed.below(3)]));
            }
            it.lives += 1;
            let socket = Socket { life: it.lives, armed: true, room: usize::MAX, ..Socket::default() };
            assert!(it.sockets.insert(id.0, socket).is_none(), "{id:?} is bound twice");
        }
        let reply = vec![0; DATAGRAM_MAX].into_boxed_slice();
        Ok((Udp { id, batch: Vec::new(), outgoing: VecDeque::new(), reply }, addr))
    }

    fn udp_recv(&mut self, udp: &mut Udp) -> io::Result<UdpBatch> {
        let it = &mut *self.outside.borrow_mut();
        let interrupted = it.interrupts();
        let socket = it.sockets.get_mut(&udp.id.0).expect("a socket that is there");
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        if socket.inbox.is_empty() {
            socket.armed = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if interrupted {
            return Ok(UdpBatch { count: 0, emptied: false });
        }
        let count = socket.inbox.len().min(BATCH);
        udp.batch = socket.inbox.drain(..count).collect();
        Ok(UdpBatch { count, emptied: EDGES && count < BATCH })
    }

    fn udp_message<'a>(&'a mut self, udp: &'a mut Udp, index: usize) -> (Received<'a>, &'a mut [u8]) {
        let (remote, data) = &udp.batch[index];
        let truncated = data.len() > DATAGRAM_MAX;
        let data = &data[..data.len().min(DATAGRAM_MAX)];
        (Received { data, remote: *remote, local: None, truncated }, &mut udp.reply)
    }

    fn udp_commit(&mut self, udp: &mut Udp, to: SocketAddr, _: Option<IpAddr>, len: usize) -> bool {
        let data = udp.reply[..len].to_vec();
        self.take(udp, to, &data)
    }

    fn udp_push(&mut self, udp: &mut Udp, to: SocketAddr, _: Option<IpAddr>, data: &[u8]) -> bool {
        self.take(udp, to, data)
    }

    fn udp_is_full(&self, udp: &Udp) -> bool {
        udp.outgoing.len() >= BATCH
    }

    fn udp_flush(&mut self, udp: &mut Udp) -> io::Result<SendReport> {
        let it = &mut *self.outside.borrow_mut();
        let socket = &it.sockets[&udp.id.0];
        assert!(!socket.blocked, "it was told that there is no room");
        let mut report = SendReport::default();
        let mut room = socket.room;
        while room > 0 && !udp.outgoing.is_empty() {
            room -= 1;
            let (to, data) = udp.outgoing.pop_front().expect("just looked");
            if it.interrupts() {
                // No buffers, no route, not permitted: this one is lost.
                report.dropped += 1;
                continue;
            }
            report.sent += 1;
            let path = Path { socket: udp.id, local: None, remote: to };
            if data.windows(6).any(|it| it == b"1:y1:q") {
                it.crowd.sees(path, &data);
            }
        }
        report.waiting = udp.outgoing.len();
        it.datagrams_sent += report.sent as u64;
        it.datagrams_refused += report.dropped as u64;
        let socket = it.sockets.get_mut(&udp.id.0).expect("a socket that is there");
        socket.room = if socket.room == usize::MAX { room.max(usize::MAX - BATCH) } else { room };
        socket.blocked = report.waiting > 0;
        Ok(report)
    }

    fn tcp_connect(&mut self, link: LinkId, _: Option<IpAddr>, _: SocketAddr) -> io::Result<LinkId> {
        let it = &mut *self.outside.borrow_mut();
        if it.interrupts() {
            // EMFILE, ENOBUFS, no port, no route.
            let errors = [24, 105, 99, 113];
            return Err(io::Error::from_raw_os_error(errors[it.feed.below(errors.len())]));
        }
        let stream = Stream {
            remote: Remote::new(it.now, false),
            incoming: VecDeque::new(),
            read: VecDeque::new(),
            outcome: Outcome::Pending,
            told_open: false,
            ended: false,
            told_end: false,
            error: None,
            room: 0,
            read_armed: true,
            write_armed: true,
            edge: false,
        };
        assert!(it.streams.insert(link, stream).is_none(), "a name that is taken");
        Ok(link)
    }

    fn tcp_outcome(&mut self, tcp: &mut LinkId) -> io::Result<bool> {
        let it = self.outside.borrow();
        match it.streams[tcp].outcome {
            Outcome::Pending => Ok(false),
            Outcome::Open => Ok(true),
            Outcome::Failed(kind) => Err(kind.into()),
        }
    }

    fn tcp_read(&mut self, tcp: &mut LinkId, into: &mut [u8]) -> io::Result<usize> {
        let it = &mut *self.outside.borrow_mut();
        if it.interrupts() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // Only without edges may a read leave something: there a short read means nothing.
        let part = !EDGES && it.interrupts();
        let stream = it.streams.get_mut(tcp).expect("an open stream");
        assert!(stream.outcome == Outcome::Open, "read before it is open");
        assert!(!into.is_empty() && !stream.told_end, "a read that cannot say anything");
        let count = stream.incoming.len().min(if part { 1 } else { into.len() });
        if count > 0 {
            let read: Vec<u8> = stream.incoming.drain(..count).collect();
            into[..count].copy_from_slice(&read);
            stream.read.extend(read);
            return Ok(count);
        }
        if let Some(error) = stream.error.take() {
            return Err(error.into());
        }
        if std::mem::take(&mut stream.ended) {
            stream.told_end = true;
            return Ok(0);
        }
        stream.read_armed = true;
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn tcp_write(&mut self, tcp: &mut LinkId, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let it = &mut *self.outside.borrow_mut();
        if it.interrupts() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let now = it.now;
        let stream = it.streams.get_mut(tcp).expect("an open stream");
        assert!(stream.outcome == Outcome::Open, "written before it is open");
        if let Some(error) = stream.error.take() {
            return Err(error.into());
        }
        let data: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).take(stream.room).collect();
        assert!(from.iter().any(|slice| !slice.is_empty()), "nothing to write");
        if data.is_empty() {
            stream.write_armed = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if stream.room < usize::MAX {
            stream.room -= data.len();
        }
        stream.remote.hears(now, &data);
        Ok(data.len())
    }

    fn udp_close(&mut self, udp: Udp) {
        let it = &mut *self.outside.borrow_mut();
        assert!(udp.id.0 >= it.listening, "the listen sockets stay open");
        assert!(it.sockets.remove(&udp.id.0).is_some(), "{:?} is closed twice", udp.id);
    }

    fn tcp_listen(&mut self, id: AcceptorId, addr: SocketAddr) -> io::Result<(AcceptorId, SocketAddr)> {
        Ok((id, addr))
    }

    fn tcp_accept(&mut self, _: &mut AcceptorId) -> io::Result<((), SocketAddr)> {
        let it = &mut *self.outside.borrow_mut();
        assert!(it.accepting, "nobody is to be let in");
        if it.interrupts() {
            // EMFILE, ECONNABORTED, EINTR.
            return Err(io::Error::from_raw_os_error([24, 103, 4][it.feed.below(3)]));
        }
        if it.knocking == 0 {
            it.door_armed = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        it.knocking -= 1;
        Ok(((), SocketAddr::from(([80, 9, 9, 9], 5_000))))
    }

    fn tcp_adopt(&mut self, _: LinkId, (): ()) -> io::Result<LinkId> {
        panic!("nobody was let in");
    }

    fn tcp_close(&mut self, tcp: LinkId) {
        let it = &mut *self.outside.borrow_mut();
        assert!(it.streams.remove(&tcp).is_some(), "{tcp:?} is closed twice");
        it.gone.push(tcp);
    }
}

impl<const EDGES: bool> FuzzNet<'_, EDGES> {
    /// What leaves is what the engine said, each once and in order.
    fn take(&mut self, udp: &mut Udp, to: SocketAddr, data: &[u8]) -> bool {
        let said = self.outside.borrow_mut().to_send.pop_front();
        assert_eq!(said, Some((udp.id, to, data.to_vec())));
        let room = !self.udp_is_full(udp);
        if room {
            udp.outgoing.push_back((to, data.to_vec()));
        }
        room
    }
}

/// The engine, and a look at how it is driven.
struct Watched<'a> {
    engine: Engine,
    outside: Rc<RefCell<Outside<'a>>>,
}

impl Watched<'_> {
    fn look(&self, input: &Input<'_>) {
        let it = &mut *self.outside.borrow_mut();
        match input {
            Input::Opened(link) => {
                assert_eq!(it.told.insert(*link, Told::Opened), Some(Told::Nothing), "{link:?} opened");
            }
            Input::Received(link, data) => {
                assert_eq!(it.told.get(link), Some(&Told::Opened), "{link:?} received");
                let stream = it.streams.get_mut(link).expect("a stream that is there");
                assert!(!data.is_empty() && data.len() <= stream.read.len());
                assert!(stream.read.drain(..data.len()).eq(data.iter().copied()), "other bytes");
            }
            Input::Eof(link) => {
                assert_eq!(it.told.insert(*link, Told::Eof), Some(Told::Opened), "{link:?} eof");
            }
            Input::Closed(link, _) => {
                assert!(it.told.remove(link).is_some(), "{link:?} closed");
                it.gone_early.insert(*link);
            }
            Input::Bound(id, bound) => {
                assert_eq!(it.binding.pop_front(), Some(*id), "bound");
                assert!(bound.is_err() || it.sockets.contains_key(&id.0), "{id:?} is not there");
            }
            Input::Secured(..) | Input::Ticket(_) | Input::Insecure(..) | Input::Undelivered(..) => {
                panic!("{input:?} was not asked for");
            }
            Input::Datagram(..) | Input::Stored(_) | Input::Worked(_) | Input::Command(_) => {}
        }
    }
}

impl Drive for Watched<'_> {
    fn admit(&mut self, now: Instant, acceptor: AcceptorId, remote: SocketAddr) -> Option<LinkId> {
        self.engine.admit(now, acceptor, remote)
    }

    fn handle(&mut self, now: Instant, unix: UnixTime, input: Input<'_>, reply: &mut [u8]) -> usize {
        assert!(now <= self.outside.borrow().now);
        self.look(&input);
        if let Input::Datagram(path, data) = &input
            && path.socket.0 >= BOUND
        {
            let it = &mut *self.outside.borrow_mut();
            assert_eq!(*data, it.sockets[&path.socket.0].life.to_be_bytes(), "for another life");
            reply[0] = b'r';
            it.to_send.push_back((path.socket, path.remote, vec![b'r']));
            return 1;
        }
        let datagram = match &input {
            Input::Datagram(path, data) => Some((*path, data.to_vec())),
            _ => None,
        };
        let len = self.engine.handle(now, unix, input, reply);
        if let Some((path, said)) = datagram.filter(|_| len > 0) {
            let it = &mut *self.outside.borrow_mut();
            it.crowd.answered(path, &said, &reply[..len]);
            it.to_send.push_back((path.socket, path.remote, reply[..len].to_vec()));
        }
        len
    }

    fn poll(&mut self, now: Instant, unix: UnixTime, scratch: &mut [u8]) -> Output {
        if let Some(output) = self.outside.borrow_mut().wished(scratch) {
            return output;
        }
        let output = self.engine.poll(now, unix, scratch);
        let it = &mut *self.outside.borrow_mut();
        assert!(it.to_send.is_empty(), "a datagram was not passed on");
        match &output {
            Output::Datagram(path, len) => {
                it.to_send.push_back((path.socket, path.remote, scratch[..*len].to_vec()));
            }
            Output::Connect { link, .. } => assert!(it.told.insert(*link, Told::Nothing).is_none()),
            // It may have failed meanwhile: the engine wanted it closed before it was drained.
            Output::Close(link) => assert!(it.told.remove(link).is_some() || it.gone_early.remove(link)),
            Output::Idle(deadline) => {
                if it.polls.is_multiple_of(CHECK_EVERY) {
                    self.engine.check_invariants();
                }
                it.deadline = deadline.map(|(at, _)| at);
            }
            _ => {}
        }
        output
    }

    fn send_queue(&self, link: LinkId) -> Option<&SendQueue> {
        self.engine.send_queue(link)
    }

    fn write_allowance(&mut self, now: Instant, link: LinkId) -> usize {
        self.engine.write_allowance(now, link)
    }

    fn wrote(&mut self, now: Instant, link: LinkId, count: usize) {
        self.engine.wrote(now, link, count);
    }

    fn wants_read(&self, link: LinkId) -> bool {
        self.engine.wants_read(link)
    }

    fn read_allowance(&mut self, now: Instant, link: LinkId, wanted: usize) -> usize {
        self.engine.read_allowance(now, link, wanted)
    }
}

struct Model<'a> {
    outside: Rc<RefCell<Outside<'a>>>,
}

impl Archive for Model<'_> {
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        let archive = &mut self.outside.borrow_mut().archive;
        if archive.refuses {
            return Err(op);
        }
        assert!(!archive.shut, "{op:?} follows the shutdown");
        match op {
            StoreOp::Shutdown => archive.shut = true,
            _ => archive.given += 1,
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<StoreResult> {
        self.outside.borrow_mut().archive.results.pop_front()
    }
}

struct Watcher<'a> {
    outside: Rc<RefCell<Outside<'a>>>,
}

impl Observer<Watched<'_>> for Watcher<'_> {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        self.outside.borrow_mut().commands.answered(command, &answer);
    }

    fn on_gauges(&mut self, watched: &mut Watched<'_>, _: &Gauges) {
        let it = &mut *self.outside.borrow_mut();
        if it.is_quiet() && it.waited && it.idle >= IDLE_ENOUGH && !it.stop_sent {
            it.nothing_forgotten(&mut watched.engine);
            it.stop();
        }
    }
}

/// The names of sockets that are bound while it runs.
const BOUND: u16 = 100;
const UNIX: u64 = 1_790_000_000;
/// Small, so that it is filled.
const BATCH: usize = 4;
/// The reactor's own pause when it has to try again.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// Turns without a pause and without an event, which a budget that ran out may need.
const SPINS_MAX: u32 = 1_000;
/// Sleeps, after which everything that can happen by itself has happened.
const IDLE_ENOUGH: u32 = 40;
/// Looking at everything takes longer than most turns; what is broken stays so.
const CHECK_EVERY: u32 = 16;
/// Far more turns than any input leads to.
const POLLS_MAX: u32 = 200_000;
