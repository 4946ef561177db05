//! The turn, over a network that is made up.

#[cfg(feature = "tls")]
mod secure;

use super::datagrams::BATCHES_PER_TURN;
use super::*;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use bytes::Bytes;

use crate::base::{Rng, SendQueue, Token};
use crate::engine::io::{AcceptorId, Answer, BindFault, CommandId, Why};
use crate::model::archive::StoreResult;
use crate::model::{TlsCause, TlsFacts};
use crate::reactor::fake::{FAKE_BATCH, FakeNet};
use crate::reactor::sys::signals::Arrived;
use crate::reactor::{Clock, Handle, Listen, ReactorConfig, Roots, listen};

/// What the scripted engine was told.
#[derive(Debug, PartialEq)]
enum Seen {
    Datagram(Vec<u8>),
    Undelivered(SocketAddr, Vec<u8>, Reason),
    Bound(SocketId, Result<SocketAddr, BindFault>),
    Opened(LinkId),
    Secured(LinkId),
    Ticket(LinkId),
    Insecure(LinkId, TlsCause),
    Received(LinkId, Vec<u8>),
    Eof(LinkId),
    Closed(LinkId, Reason),
    Stored(StoreResult),
    Stop,
    Bootstrap,
}

/// An engine that does what it is told: it says `outputs`, answers a datagram with the same, and
/// queues `greeting` on every link that opens.
#[derive(Default)]
struct Script {
    outputs: VecDeque<Output>,
    seen: Vec<Seen>,
    queues: BTreeMap<LinkId, SendQueue>,
    greeting: Vec<Bytes>,
    deaf: bool,
    /// No socket is to be read, and nothing accepted.
    unready: bool,
    allowance: Option<usize>,
    writable: Option<usize>,
    polls: usize,
    deadline: Option<Instant>,
    facts: Vec<TlsFacts>,
    /// The names of what is accepted next, and what asked for one.
    admits: VecDeque<LinkId>,
    asked: Vec<(AcceptorId, SocketAddr)>,
}

impl Drive for Script {
    fn handle(&mut self, _: Instant, _: UnixTime, input: Input<'_>, reply: &mut [u8]) -> usize {
        let seen = match input {
            Input::Datagram(_, data) => {
                reply[..data.len()].copy_from_slice(data);
                self.seen.push(Seen::Datagram(data.to_vec()));
                return data.len();
            }
            Input::Undelivered(path, data, reason) => Seen::Undelivered(path.remote, data.to_vec(), reason),
            Input::Bound(socket, bound) => Seen::Bound(socket, bound),
            Input::Secured(link, facts) => {
                self.facts.push(*facts);
                Seen::Secured(link)
            }
            Input::Ticket(link) => Seen::Ticket(link),
            Input::Insecure(link, failure) => Seen::Insecure(link, failure.cause),
            Input::Opened(link) => {
                let queue = self.queues.entry(link).or_insert_with(|| SendQueue::new(1 << 20));
                for part in &self.greeting {
                    queue.push(part.clone()).unwrap();
                }
                self.outputs.push_back(Output::Write(link));
                Seen::Opened(link)
            }
            Input::Received(link, data) => {
                self.allowance = self.allowance.map(|left| left.checked_sub(data.len()).unwrap());
                if let Some(Seen::Received(last, bytes)) = self.seen.last_mut()
                    && *last == link
                {
                    bytes.extend_from_slice(data);
                    return 0;
                }
                Seen::Received(link, data.to_vec())
            }
            Input::Eof(link) => Seen::Eof(link),
            Input::Closed(link, reason) => Seen::Closed(link, reason),
            Input::Stored(result) => Seen::Stored(result),
            Input::Worked(_) => panic!("no work was given"),
            Input::Command(Command::Stop) => Seen::Stop,
            Input::Command(_) => Seen::Bootstrap,
        };
        self.seen.push(seen);
        0
    }

    fn poll(&mut self, _: Instant, _: UnixTime, scratch: &mut [u8]) -> Output {
        self.polls += 1;
        scratch[0] = b'x';
        self.outputs.pop_front().unwrap_or_else(|| Output::Idle(self.deadline.map(|at| (at, Why::Query))))
    }

    fn admit(&mut self, _: Instant, acceptor: AcceptorId, remote: SocketAddr) -> Option<LinkId> {
        self.asked.push((acceptor, remote));
        self.admits.pop_front()
    }

    fn send_queue(&self, link: LinkId) -> Option<&SendQueue> {
        self.queues.get(&link)
    }

    fn write_allowance(&mut self, _: Instant, link: LinkId) -> usize {
        let waits = self.queues.get(&link).map_or(0, SendQueue::len);
        self.writable.map_or(waits, |most| most.min(waits))
    }

    fn wrote(&mut self, _: Instant, link: LinkId, count: usize) {
        self.writable = self.writable.map(|most| most.checked_sub(count).unwrap());
        self.queues.get_mut(&link).unwrap().advance(count);
    }

    fn reads(&self, _: SocketId) -> bool {
        !self.unready
    }

    fn accepts(&self, _: AcceptorId) -> bool {
        !self.unready
    }

    fn wants_read(&self, _: LinkId) -> bool {
        !self.deaf
    }

    fn read_allowance(&mut self, _: Instant, _: LinkId, wanted: usize) -> usize {
        self.allowance.map_or(wanted, |left| left.min(wanted))
    }
}

/// An archive with a small queue that a test empties.
#[derive(Default)]
struct Model {
    queue: Vec<String>,
    room: usize,
    results: VecDeque<StoreResult>,
}

impl Archive for Model {
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        if self.room == 0 {
            return Err(op);
        }
        self.room -= 1;
        let StoreOp::Setting(_, value) = op else { panic!("only settings are submitted here") };
        self.queue.push(value);
        Ok(())
    }

    fn poll(&mut self) -> Option<StoreResult> {
        self.results.pop_front()
    }
}

#[derive(Default)]
struct Watch {
    reloads: usize,
    answers: usize,
    published: usize,
    /// Bootstrap commands that it has to give: at once, and one for each answer.
    wants: usize,
    wants_at: Option<Instant>,
}

impl Observer<Script> for Watch {
    fn on_answer(&mut self, _: CommandId, _: Answer) {
        self.answers += 1;
        self.wants += 1;
    }
    fn poll_command(&mut self, now: Instant) -> Option<Command> {
        self.wants += usize::from(self.wants_at.take_if(|at| *at <= now).is_some());
        self.wants = self.wants.checked_sub(1)?;
        Some(Command::Bootstrap(Vec::new()))
    }
    fn next_deadline(&self) -> Option<Instant> {
        self.wants_at
    }
    fn on_gauges(&mut self, _: &mut Script, _: &Gauges) {
        self.published += 1;
    }
    fn on_reload(&mut self) {
        self.reloads += 1;
    }
}

type Faked<const EDGES: bool> = Reactor<Script, Model, Watch, FakeNet<EDGES>>;

fn fake<const EDGES: bool>() -> Faked<EDGES> {
    fake_trusting(Roots::System)
}

fn fake_trusting<const EDGES: bool>(roots: Roots) -> Faked<EDGES> {
    let at = Listen { addr: "127.0.0.1:6881".parse().unwrap(), explicit: true };
    let accept = ["127.0.0.1:1", "127.0.0.1:2"]
        .map(|text| Listen { addr: text.parse().unwrap(), explicit: true })
        .to_vec();
    let config = ReactorConfig { listen: vec![at], accept, roots, ..ReactorConfig::default() };
    let listening = Listening::on(FakeNet::<EDGES>::new(), &config).unwrap();
    Reactor::new(listening, Script::default(), Model::default(), Watch::default())
}

type Real = Reactor<Script, Model, Watch>;

fn real_at(addr: &str, udp_batch: usize, signals: bool) -> (Real, SocketAddr, Handle) {
    let at = Listen { addr: addr.parse().unwrap(), explicit: true };
    let config = ReactorConfig { listen: vec![at], udp_batch, signals, ..ReactorConfig::default() };
    let listening = listen(&config, Clock::start()).unwrap();
    let (bound, handle) = (listening.bound()[0], listening.handle());
    (Reactor::new(listening, Script::default(), Model::default(), Watch::default()), bound, handle)
}

fn real(udp_batch: usize, signals: bool) -> (Real, SocketAddr, Handle) {
    real_at("127.0.0.1:0", udp_batch, signals)
}

fn link(index: u64) -> LinkId {
    LinkId(Token::unpack(7 << 32 | index))
}

fn peer() -> SocketAddr {
    "127.0.0.9:9".parse().unwrap()
}

fn connect_to(to: SocketAddr, index: u64) -> Output {
    Output::Connect { link: link(index), from: None, to, tls: None }
}

/// Turns until `done`; a test that gets stuck fails instead of hanging.
fn turn_until<E: Drive, A: Archive, O: Observer<E>, N: Net>(
    reactor: &mut Reactor<E, A, O, N>,
    mut done: impl FnMut(&mut Reactor<E, A, O, N>) -> bool,
) {
    let began = reactor.now;
    for _ in 0..10_000 {
        if done(reactor) {
            return;
        }
        assert!(reactor.now.since(began) < Duration::from_secs(60), "it never came to that");
        assert_eq!(reactor.turn(), None);
    }
    panic!("it never came to that");
}

#[test]
fn datagrams_are_answered_over_real_sockets() {
    for batch in [1, 64] {
        let (mut reactor, bound, _) = real(batch, false);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for index in 0..200_u8 {
            client.send_to(&[index; 50], bound).unwrap();
        }
        turn_until(&mut reactor, |reactor| reactor.gauges.datagrams_out == 200);
        let mut buffer = [0; 100];
        for index in 0..200_u8 {
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&[index; 50][..], bound));
        }
        let path = Path { socket: SocketId(0), local: None, remote: client.local_addr().unwrap() };
        reactor.engine().outputs.push_back(Output::Datagram(path, 1));
        reactor.busy = true;
        turn_until(&mut reactor, |reactor| reactor.gauges.datagrams_out == 201);
        assert_eq!(client.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], b'x');
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_wildcard_socket_answers_from_the_address_it_was_asked_at() {
    for batch in [1, 64] {
        let (mut reactor, bound, _) = real_at("0.0.0.0:0", batch, false);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let asked = SocketAddr::new("127.55.5.5".parse().unwrap(), bound.port());
        client.send_to(b"who", asked).unwrap();
        turn_until(&mut reactor, |reactor| reactor.gauges.datagrams_out == 1);
        assert_eq!(client.recv_from(&mut [0; 9]).unwrap(), (3, asked));
    }
}

#[test]
fn a_stream_is_opened_written_read_and_closed_over_real_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let answer: Vec<u8> = (0..300_000_u32).map(|i| (i / 3) as u8).collect();
    let (expected, other) = (answer.clone(), b"hello, ".to_vec());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 12];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&answer).unwrap();
        greeting
    });
    let (mut reactor, ..) = real(64, false);
    reactor.engine().greeting = vec![other.into(), Bytes::from_static(b"world")];
    reactor.engine().outputs.push_back(Output::Connect { link: link(0), from: Some(to.ip()), to, tls: None });
    turn_until(&mut reactor, |reactor| reactor.engine.seen.last() == Some(&Seen::Eof(link(0))));
    assert_eq!(&server.join().unwrap(), b"hello, world");
    let received = Seen::Received(link(0), expected);
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0)), received, Seen::Eof(link(0))]);
    reactor.engine().outputs.push_back(Output::Close(link(0)));
    reactor.busy = true;
    turn_until(&mut reactor, |reactor| reactor.links.len() == 0 && reactor.closing.is_empty());
}

#[test]
fn a_refused_stream_says_so_over_real_sockets() {
    let to = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut reactor, ..) = real(64, false);
    reactor.engine().outputs.push_back(connect_to(to, 0));
    turn_until(&mut reactor, |reactor| !reactor.engine.seen.is_empty());
    assert_eq!(reactor.engine.seen, [Seen::Closed(link(0), Reason::Refused)]);
    assert_eq!(reactor.links.len(), 0);
}

#[test]
fn commands_from_another_thread_end_the_sleep() {
    let (mut reactor, _, handle) = real(64, false);
    let sender = std::thread::spawn(move || handle.send(Command::Bootstrap(Vec::new())));
    turn_until(&mut reactor, |reactor| reactor.engine.seen == [Seen::Bootstrap]);
    assert_eq!(sender.join().unwrap(), Ok(()));
}

#[cfg(unix)]
#[test]
fn signals_reach_the_loop() {
    use crate::reactor::StartError;
    use crate::reactor::sys::signals::{raise_hangup, raise_interrupt, raise_terminate};

    let (mut reactor, ..) = real(64, true);
    let second = ReactorConfig { signals: true, ..ReactorConfig::default() };
    assert_eq!(listen(&second, Clock::start()).err(), Some(StartError::SignalsTaken));
    raise_hangup();
    turn_until(&mut reactor, |reactor| reactor.observer.reloads == 1);
    assert_eq!(reactor.engine.seen, []);
    raise_terminate();
    raise_terminate();
    turn_until(&mut reactor, |reactor| reactor.engine.seen == [Seen::Stop]);
    // As if the first had come some time ago.
    reactor.signalled_at = reactor.signalled_at.map(|at| at - SAME_STOP);
    raise_interrupt();
    assert_eq!(reactor.run(), Exit::Forced);
    drop(reactor);
    drop(real(64, true));
}

#[test]
fn a_stop_is_drained_or_ends_by_force() {
    let stop = Arrived { stops: 1, reload: false };
    let mut drained = fake::<true>();
    drained.net.signals = stop;
    assert_eq!(drained.turn(), None);
    drained.engine.outputs.push_back(Output::Stopped);
    assert_eq!((drained.run(), &drained.engine.seen[..]), (Exit::Stopped, &[Seen::Stop][..]));

    let mut hanging = fake::<true>();
    hanging.net.signals = stop;
    let began = hanging.net.now;
    assert_eq!(hanging.run(), Exit::Forced);
    assert_eq!(hanging.net.now.since(began), STOP_WITHIN);

    for (later, exit) in [
        (Duration::ZERO, None),
        (SAME_STOP - Duration::from_millis(1), None),
        (SAME_STOP, Some(Exit::Forced)),
    ] {
        let mut twice = fake::<true>();
        twice.net.signals = Arrived { stops: 2, reload: false };
        assert_eq!(twice.turn(), None, "two at once are one");
        twice.net.now = twice.now + later;
        twice.net.signals = stop;
        twice.busy = true;
        assert_eq!(twice.turn(), exit, "{later:?}");
    }
}

#[test]
fn a_machine_without_descriptors_or_ports_says_so() {
    let mut reactor = fake::<true>();
    use io::ErrorKind::{AddrNotAvailable, NetworkUnreachable, OutOfMemory, PermissionDenied};
    let errors = [AddrNotAvailable, OutOfMemory, NetworkUnreachable, PermissionDenied];
    for (index, error) in errors.into_iter().enumerate() {
        reactor.net.connects.push_back(error.into());
        reactor.engine.outputs.push_back(connect_to(peer(), index as u64));
    }
    reactor.turn();
    let reasons = reactor.engine.seen.iter().map(|seen| match seen {
        Seen::Closed(_, reason) => *reason,
        other => panic!("{other:?}"),
    });
    use Reason::{NoResources, Unreachable};
    let expected = [NoResources, NoResources, Unreachable, Unreachable];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    assert_eq!((reactor.links.len(), reactor.gauges.no_resources), (0, 2));
}

#[test]
fn failures_of_a_stream_are_told_once() {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut};
    for (error, reason) in [(ConnectionRefused, Reason::Refused), (TimedOut, Reason::Unreachable)] {
        let mut reactor = fake::<true>();
        reactor.engine.outputs.push_back(connect_to(peer(), 0));
        reactor.turn();
        reactor.net.stream(link(0)).outcome = Some(error.into());
        reactor.net.tell(link(0), true);
        reactor.net.tell(link(0), true);
        reactor.turn();
        assert_eq!(reactor.engine.seen, [Seen::Closed(link(0), reason)]);
        assert_eq!(reactor.net.closed, [link(0)]);
    }
    for write in [false, true] {
        let mut reactor = fake::<true>();
        reactor.engine.greeting = vec![Bytes::from_static(b"x")];
        reactor.engine.outputs.push_back(connect_to(peer(), 0));
        reactor.turn();
        let stream = reactor.net.stream(link(0));
        match write {
            true => stream.write_error = Some(BrokenPipe.into()),
            false => stream.read_error = Some(ConnectionReset.into()),
        }
        reactor.net.tell(link(0), false);
        reactor.turn();
        reactor.turn();
        assert_eq!(reactor.engine.seen, [Seen::Opened(link(0)), Seen::Closed(link(0), Reason::Reset)]);
        assert_eq!((reactor.links.len(), reactor.net.closed.len()), (0, 1));
    }
}

#[test]
fn stale_and_unknown_events_reach_nobody() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.extend([connect_to(peer(), 0), Output::Close(link(0))]);
    reactor.turn();
    assert_eq!(reactor.net.closed, [link(0)]);
    let newer = LinkId(Token::unpack(8 << 32));
    reactor.engine.outputs.push_back(Output::Connect { link: newer, from: None, to: peer(), tls: None });
    reactor.engine.outputs.extend([Output::Write(link(0)), Output::Close(link(0))]);
    reactor.net.events.push(Ready::Udp { socket: SocketId(9), readable: true, writable: true });
    reactor.net.tell(link(0), true);
    reactor.net.tell(link(40_000), false);
    reactor.turn();
    reactor.net.tell(link(0), true);
    reactor.turn();
    assert_eq!((&reactor.engine.seen[..], reactor.links.len()), (&[][..], 1));
    reactor.net.tell(newer, false);
    reactor.turn();
    assert_eq!(reactor.engine.seen, [Seen::Opened(newer)]);
}

#[test]
fn what_is_queued_before_a_close_still_leaves() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.push_back(connect_to(peer(), 0));
    reactor.turn();
    reactor.net.tell(link(0), false);
    reactor.turn();
    reactor.engine.queues.get_mut(&link(0)).unwrap().push(Bytes::from_static(b"bye")).unwrap();
    reactor.engine.outputs.extend([Output::Write(link(0)), Output::Close(link(0))]);
    reactor.turn();
    assert_eq!(reactor.net.stream(link(0)).written, b"bye");
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0))]);
}

#[test]
fn a_link_that_is_not_wanted_is_not_read_and_goes_on_without_an_event() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.push_back(connect_to(peer(), 0));
    reactor.turn();
    reactor.engine.deaf = true;
    reactor.net.stream(link(0)).incoming = b"later".to_vec();
    reactor.net.tell(link(0), false);
    reactor.turn();
    reactor.turn();
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0))]);
    assert_eq!(reactor.net.slept.last(), Some(&SLEEP_MAX));
    reactor.engine.deaf = false;
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&Duration::ZERO));
    assert_eq!(reactor.engine.seen.last(), Some(&Seen::Received(link(0), b"later".to_vec())));
}

#[test]
fn the_byte_rate_holds_reading_back_without_spinning() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.push_back(connect_to(peer(), 0));
    reactor.turn();
    reactor.engine.allowance = Some(3);
    reactor.net.stream(link(0)).incoming = b"abcdef".to_vec();
    reactor.net.tell(link(0), false);
    reactor.turn();
    assert_eq!(reactor.engine.seen.last(), Some(&Seen::Received(link(0), b"abc".to_vec())));
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&RETRY_AFTER));
    reactor.engine.allowance = Some(100);
    reactor.turn();
    assert_eq!(reactor.engine.seen.last(), Some(&Seen::Received(link(0), b"abcdef".to_vec())));
    assert_eq!(reactor.net.stream(link(0)).reads, 2);
}

#[test]
fn a_busy_link_leaves_the_others_their_turn() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.extend([connect_to(peer(), 0), connect_to(peer(), 1)]);
    reactor.turn();
    reactor.net.stream(link(0)).incoming = vec![7; 5 * READ_BUDGET];
    reactor.net.stream(link(1)).incoming = b"me too".to_vec();
    reactor.net.tell(link(0), false);
    reactor.net.tell(link(1), false);
    reactor.turn();
    assert_eq!(reactor.engine.seen.last(), Some(&Seen::Received(link(1), b"me too".to_vec())));
    assert_eq!(reactor.gauges.stream_bytes_in, READ_BUDGET as u64 + 6);
    turn_until(&mut reactor, |reactor| reactor.gauges.stream_bytes_in == 5 * READ_BUDGET as u64 + 6);
    reactor.turn();
    assert!(reactor.net.slept.iter().skip(3).take(4).all(Duration::is_zero));
}

#[test]
fn a_full_archive_holds_nothing_else_up_and_loses_nothing() {
    let mut reactor = fake::<true>();
    let op = |number: usize| Output::Store(StoreOp::Setting("n", number.to_string()));
    reactor.engine.outputs.extend((0..200).map(op));
    reactor.archive.room = 10;
    for _ in 0..5 {
        reactor.turn();
    }
    assert_eq!((reactor.archive.queue.len(), reactor.stuck.len()), (10, 190));
    assert_eq!(reactor.net.slept.last(), Some(&RETRY_AFTER));
    // What comes behind them in the engine is not held up.
    reactor.engine.outputs.push_back(connect_to(peer(), 0));
    reactor.busy = true;
    reactor.turn();
    assert_eq!((reactor.gauges.connects, reactor.stuck.len()), (1, 190));
    reactor.archive.results.push_back(StoreResult::Committed(10));
    turn_until(&mut reactor, |reactor| {
        reactor.archive.room = 7;
        reactor.archive.queue.len() == 200
    });
    assert_eq!(reactor.engine.seen, [Seen::Stored(StoreResult::Committed(10))]);
    assert_eq!(reactor.archive.queue, (0..200).map(|n: usize| n.to_string()).collect::<Vec<_>>());
}

/// Nothing listens at a port of loopback: the system says so.
#[cfg(target_os = "linux")]
#[test]
fn a_refused_datagram_is_told_of_with_its_beginning() {
    for batch in [1, 64] {
        let (mut reactor, _, _) = real(batch, false);
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        reactor.engine.outputs.push_back(Output::Bind(SocketId(300), at("127.0.0.1:0")));
        reactor.busy = true;
        turn_until(&mut reactor, |reactor| {
            reactor.engine.seen.iter().any(|seen| matches!(seen, Seen::Bound(_, Ok(_))))
        });
        reactor.engine.seen.clear();
        // Several: the first must not be in the way of the others.
        for number in 0..3_u8 {
            let path = Path { socket: SocketId(300), local: None, remote: closed };
            reactor.scratch[..4].copy_from_slice(&[number, 1, 2, 3]);
            reactor.send_datagram(path, 4);
            reactor.flush_sockets();
        }
        let told = |reactor: &Real| {
            let refused = |seen: &&Seen| matches!(seen, Seen::Undelivered(remote, _, Reason::Refused) if *remote == closed);
            reactor.engine.seen.iter().filter(refused).count()
        };
        turn_until(&mut reactor, |reactor| told(reactor) == 3);
        let expected = |number| Seen::Undelivered(closed, vec![number, 1, 2, 3], Reason::Refused);
        assert!(
            (0..3).all(|number| reactor.engine.seen.contains(&expected(number))),
            "{:?}",
            reactor.engine.seen
        );
        assert_eq!(reactor.gauges.datagrams_refused, 0);
    }
}

#[test]
fn a_socket_is_read_only_when_the_engine_wants_it() {
    let (mut reactor, bound, _) = real(64, false);
    reactor.engine.unready = true;
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"early", bound).unwrap();
    for _ in 0..20 {
        assert_eq!(reactor.turn(), None);
    }
    assert_eq!(reactor.gauges.datagrams_in, 0);
    reactor.engine.unready = false;
    turn_until(&mut reactor, |reactor| reactor.gauges.datagrams_in == 1);
}

#[test]
fn datagrams_are_not_forgotten_when_receiving_fails_for_a_while() {
    let mut reactor = fake::<false>();
    let errors = (0..3).map(|_| io::ErrorKind::OutOfMemory.into());
    reactor.net.recv_errors.extend(errors);
    reactor.net.inbox.push_back((peer(), vec![7]));
    for waits in [Duration::ZERO, RETRY_AFTER, RETRY_AFTER, RETRY_AFTER] {
        assert_eq!(reactor.gauges.datagrams_in, 0);
        reactor.turn();
        assert_eq!(reactor.net.slept.last(), Some(&waits));
    }
    assert_eq!(reactor.gauges.datagrams_in, 1);
}

#[test]
fn a_blocked_socket_keeps_one_batch_and_counts_the_rest() {
    let mut reactor = fake::<true>();
    reactor.net.send_room = 2;
    reactor.net.inbox = (0..20_u8).map(|index| (peer(), vec![index])).collect();
    reactor.net.inbox.push_back((peer(), vec![9; 5_000]));
    reactor.turn();
    let counted = (reactor.gauges.datagrams_in, reactor.gauges.datagrams_too_long);
    assert_eq!(counted, (20, 1));
    assert_eq!(reactor.net.sent.len(), 2);
    assert_eq!(reactor.gauges.datagrams_no_room, 20 - 2 - FAKE_BATCH as u64);
    reactor.net.send_room = 100;
    reactor.turn();
    assert_eq!(reactor.net.sent.len(), 2, "nothing is tried before the system says so");
    reactor.net.events.push(Ready::Udp { socket: SocketId(0), readable: false, writable: true });
    reactor.turn();
    assert_eq!(reactor.net.sent.len(), 2 + FAKE_BATCH);
    assert_eq!(reactor.gauges.datagrams_out, 2 + FAKE_BATCH as u64);
}

#[test]
fn it_sleeps_until_the_deadline_and_publishes_sparingly() {
    let mut reactor = fake::<true>();
    reactor.turn();
    let began = reactor.now;
    reactor.engine.deadline = Some(began + Duration::from_millis(40));
    reactor.busy = true;
    reactor.turn();
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&Duration::from_millis(40)));
    assert_eq!(reactor.observer.published, 0);
    reactor.engine.deadline = None;
    reactor.busy = true;
    let done = Answer::Done { found: false, answered: 0 };
    reactor.engine.outputs.push_back(Output::Answer(CommandId(1), done));
    reactor.turn();
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&SLEEP_MAX));
    assert_eq!((reactor.observer.published, reactor.observer.answers), (1, 1));
}

/// Two streams whose bytes come and go in pieces, with delays, interrupts and spurious events.
fn chaos<const EDGES: bool>(seed: u64) {
    let mut reactor = fake::<EDGES>();
    let mut rng = Rng::seeded(seed);
    let mut sent = vec![0; 200_000];
    rng.fill(&mut sent);
    reactor.engine.greeting = sent.chunks(1 + rng.index(30_000)).map(Bytes::copy_from_slice).collect();
    let mut coming = BTreeMap::new();
    for index in 0..2 {
        let mut bytes = vec![0; 1 + rng.index(300_000)];
        rng.fill(&mut bytes);
        reactor.engine.outputs.push_back(connect_to(peer(), index));
        coming.insert(link(index), bytes);
    }
    reactor.turn();
    for (id, bytes) in &coming {
        let stream = reactor.net.stream(*id);
        (stream.coming, stream.ended, stream.room) = (bytes.clone(), true, 0);
    }
    reactor.net.chaos = Some(rng.fork());
    turn_until(&mut reactor, |reactor| {
        reactor.engine.deaf = rng.percent(20);
        let ends = reactor.engine.seen.iter().filter(|seen| matches!(seen, Seen::Eof(_))).count();
        ends == 2 && reactor.net.streams.values().all(|stream| stream.written.len() == sent.len())
    });
    for (id, bytes) in coming {
        let mut got = Vec::new();
        for seen in &reactor.engine.seen {
            match seen {
                Seen::Received(from, data) if *from == id => got.extend_from_slice(data),
                Seen::Closed(..) => panic!("seed {seed}: {seen:?}"),
                _ => {}
            }
        }
        assert!(got == bytes, "seed {seed}: what was read is not what came");
        assert!(reactor.net.stream(id).written == sent, "seed {seed}: what left is not what was queued");
    }
}

#[test]
fn bytes_survive_whatever_the_system_does() {
    for seed in 0..60 {
        chaos::<true>(seed);
        chaos::<false>(seed);
    }
}

fn at(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

/// What the last `Bind` came to.
fn bound<N: Net>(reactor: &mut Reactor<Script, Model, Watch, N>) -> Result<SocketAddr, BindFault> {
    reactor.turn();
    match reactor.engine.seen.pop() {
        Some(Seen::Bound(_, bound)) => bound,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sockets_are_bound_named_and_closed() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.push_back(Output::Bind(SocketId(7), at("127.0.0.1:53")));
    assert_eq!(bound(&mut reactor), Ok(at("127.0.0.1:53")));
    for taken in [7, 0] {
        reactor.engine.outputs.push_back(Output::Bind(SocketId(taken), at("127.0.0.1:54")));
        assert_eq!(bound(&mut reactor), Err(BindFault::InUse));
    }
    let path = |socket| Path { socket: SocketId(socket), local: None, remote: peer() };
    reactor.engine.outputs.extend([7, 8].map(|socket| Output::Datagram(path(socket), 1)));
    reactor.turn();
    assert_eq!(reactor.net.sent, [(peer(), b"x".to_vec())]);
    assert_eq!((reactor.gauges().sockets, reactor.gauges.datagrams_no_socket), (2, 1));
    // What was said before still leaves.
    reactor.engine.outputs.extend([Output::Datagram(path(7), 1), Output::Unbind(SocketId(7))]);
    reactor.engine.outputs.push_back(Output::Datagram(path(7), 1));
    reactor.engine.outputs.push_back(Output::Unbind(SocketId(0)));
    reactor.turn();
    assert_eq!((reactor.net.sent.len(), &reactor.net.unbound[..]), (2, &[SocketId(7)][..]));
    assert_eq!((reactor.gauges().sockets, reactor.gauges.datagrams_no_socket), (1, 2));
    assert_eq!(reactor.engine.seen, []);
    // A word of the old socket reaches the new one, and does no harm.
    reactor.engine.outputs.push_back(Output::Bind(SocketId(7), at("127.0.0.1:55")));
    reactor.net.events.push(Ready::Udp { socket: SocketId(7), readable: true, writable: true });
    assert_eq!(bound(&mut reactor), Ok(at("127.0.0.1:55")));
}

#[test]
fn a_socket_that_cannot_be_bound_says_why() {
    let mut reactor = fake::<true>();
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory, PermissionDenied};
    for (error, fault) in [
        (AddrInUse, BindFault::InUse),
        (AddrNotAvailable, BindFault::NotAvailable),
        (PermissionDenied, BindFault::NotPermitted),
        (OutOfMemory, BindFault::NoResources),
    ] {
        reactor.net.binds.push_back(error.into());
        reactor.engine.outputs.push_back(Output::Bind(SocketId(9), at("127.0.0.1:53")));
        assert_eq!(bound(&mut reactor), Err(fault));
    }
    let many = (1..1_000).map(|id| Output::Bind(SocketId(id), at("127.0.0.1:53")));
    reactor.engine.outputs.extend(many);
    assert_eq!(bound(&mut reactor), Err(BindFault::NoResources));
    assert_eq!(reactor.gauges().sockets, 512);
}

/// A name that is given away again never brings what was for its first owner, though it waits.
#[test]
fn a_name_brings_only_what_its_own_socket_received() {
    let (mut reactor, ..) = real(1, false);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = SocketId(300);
    reactor.engine.outputs.push_back(Output::Bind(name, at("127.0.0.1:0")));
    let mut to = bound(&mut reactor).unwrap();
    for life in 0..10_u8 {
        // More than one turn takes: the rest waits when the socket is closed.
        for _ in 0..2 * BATCHES_PER_TURN {
            client.send_to(&[life], to).unwrap();
        }
        reactor.engine.outputs.extend([Output::Unbind(name), Output::Bind(name, at("127.0.0.1:0"))]);
        to = bound(&mut reactor).unwrap();
        assert!(reactor.engine.seen.drain(..).all(|seen| seen == Seen::Datagram(vec![life])));
        let seen = reactor.gauges.datagrams_in;
        reactor.turn();
        assert_eq!(reactor.gauges.datagrams_in, seen, "life {life}");
    }
    reactor.engine.outputs.push_back(Output::Bind(SocketId(301), to));
    reactor.busy = true;
    assert_eq!(bound(&mut reactor), Err(BindFault::InUse));
    // Closed and bound again within one turn.
    reactor.engine.outputs.extend([Output::Unbind(name), Output::Bind(SocketId(301), to)]);
    reactor.busy = true;
    assert_eq!(bound(&mut reactor), Ok(to));
    client.send_to(b"x", to).unwrap();
    turn_until(&mut reactor, |reactor| reactor.engine.seen == [Seen::Datagram(b"x".to_vec())]);
}

#[test]
fn streams_are_accepted_a_few_a_turn_and_only_if_they_are_wanted() {
    let mut reactor = fake::<true>();
    reactor.turn();
    reactor.engine.admits.extend((0..15).map(link));
    reactor.net.knocking.extend((1..=20).map(|port| SocketAddr::new(peer().ip(), port)));
    reactor.net.events.push(Ready::Acceptor(AcceptorId(1)));
    reactor.net.events.push(Ready::Acceptor(AcceptorId(9)));
    reactor.turn();
    assert_eq!((reactor.gauges.accepted, reactor.gauges().links), (8, 8));
    reactor.turn();
    assert_eq!((reactor.gauges.accepted, reactor.gauges.turned_away), (15, 1));
    reactor.turn();
    assert_eq!((reactor.gauges.accepted, reactor.gauges.turned_away), (15, 5));
    assert!(reactor.engine.asked.iter().all(|(acceptor, _)| *acceptor == AcceptorId(1)));
    assert_eq!(reactor.engine.asked[19].1.port(), 20);
    // They are open without being told so, and talk both ways.
    let queue = reactor.engine.queues.entry(link(3)).or_insert_with(|| SendQueue::new(100));
    queue.push(Bytes::from_static(b"hello")).unwrap();
    reactor.engine.outputs.push_back(Output::Write(link(3)));
    reactor.net.stream(link(3)).incoming = b"you".to_vec();
    reactor.net.tell(link(3), false);
    reactor.turn();
    assert_eq!(reactor.net.stream(link(3)).written, b"hello");
    assert_eq!(reactor.engine.seen, [Seen::Received(link(3), b"you".to_vec())]);
    // A lack of descriptors at the last step ends that stream only.
    reactor.net.connects.push_back(io::ErrorKind::OutOfMemory.into());
    reactor.net.knocking.push_back(peer());
    reactor.engine.admits.push_back(link(20));
    reactor.net.events.push(Ready::Acceptor(AcceptorId(0)));
    reactor.turn();
    assert_eq!(reactor.engine.seen.last(), Some(&Seen::Closed(link(20), Reason::NoResources)));
}

#[test]
fn nobody_is_let_in_while_the_engine_does_not_want_it() {
    let mut reactor = fake::<true>();
    reactor.engine.outputs.push_back(Output::Accept(false));
    reactor.engine.admits.push_back(link(0));
    reactor.net.knocking.push_back(peer());
    reactor.net.events.push(Ready::Acceptor(AcceptorId(0)));
    for _ in 0..3 {
        reactor.turn();
    }
    assert_eq!((reactor.net.accepts, reactor.net.slept.last()), (0, Some(&SLEEP_MAX)));
    reactor.engine.outputs.push_back(Output::Accept(true));
    reactor.turn();
    assert_eq!((reactor.gauges.accepted, reactor.gauges().links), (1, 1));
}

#[test]
fn a_lack_of_descriptors_pauses_accepting_without_spinning() {
    let mut reactor = fake::<true>();
    reactor.turn();
    let errors = (0..3).map(|_| io::ErrorKind::OutOfMemory.into());
    reactor.net.accept_errors = errors.collect();
    reactor.net.accept_errors.push_back(io::ErrorKind::ConnectionAborted.into());
    reactor.net.accept_errors.push_back(io::ErrorKind::Interrupted.into());
    reactor.engine.admits.push_back(link(0));
    reactor.net.knocking.push_back(peer());
    reactor.net.events.push(Ready::Acceptor(AcceptorId(0)));
    let (began, slept) = (reactor.net.now, reactor.net.slept.len());
    let before = reactor.net.accepts;
    turn_until(&mut reactor, |reactor| reactor.gauges.accepted == 1);
    assert_eq!(reactor.net.now.since(began), Duration::from_millis(300));
    assert!(reactor.net.slept.len() - slept < 12, "{:?}", reactor.net.slept);
    assert!(reactor.net.accepts - before < 9);
    assert_eq!(reactor.gauges.no_resources, 3);
}

#[test]
fn streams_are_accepted_over_real_sockets() {
    let at = Listen { addr: at("127.0.0.1:0"), explicit: true };
    let accept = vec![at; 2];
    let config = ReactorConfig { listen: vec![at], accept, ..ReactorConfig::default() };
    let listening = listen(&config, Clock::start()).unwrap();
    let accepting = listening.accepting().to_vec();
    let taken = ReactorConfig { accept: vec![Listen { addr: accepting[0], explicit: true }], ..config };
    let error = listen(&taken, Clock::start()).err();
    assert_eq!(error, Some(crate::reactor::StartError::AddressInUse(accepting[0])));
    let mut reactor: Real = Reactor::new(listening, Script::default(), Model::default(), Watch::default());
    reactor.engine.admits.extend((0..30).map(link));
    let mut clients: Vec<_> =
        (0..31).map(|index| std::net::TcpStream::connect(accepting[index % 2]).unwrap()).collect();
    turn_until(&mut reactor, |reactor| reactor.engine.asked.len() == 31);
    assert_eq!((reactor.gauges.accepted, reactor.gauges.turned_away), (30, 1));
    let who = clients[3].local_addr().unwrap();
    let index = reactor.engine.asked.iter().position(|(_, remote)| *remote == who).unwrap();
    if index < 30 {
        clients[3].write_all(b"ping").unwrap();
        turn_until(&mut reactor, |reactor| !reactor.engine.seen.is_empty());
        assert_eq!(reactor.engine.seen, [Seen::Received(link(index as u64), b"ping".to_vec())]);
        let queue = reactor.engine.queues.entry(link(index as u64)).or_insert_with(|| SendQueue::new(100));
        queue.push(Bytes::from_static(b"pong")).unwrap();
        reactor.engine.outputs.push_back(Output::Write(link(index as u64)));
        reactor.engine.outputs.push_back(Output::Close(link(index as u64)));
        reactor.busy = true;
        reactor.turn();
        let mut answer = String::new();
        clients[3].read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "pong");
    }
}

#[test]
fn what_the_observer_wants_is_asked_in_the_same_turn_and_at_its_time() {
    let mut reactor = fake::<true>();
    reactor.observer.wants = 3;
    let answer = Answer::Done { found: true, answered: 0 };
    reactor.engine().outputs.push_back(Output::Answer(CommandId(1), answer));
    assert_eq!(reactor.turn(), None);
    let asked = |reactor: &mut Faked<true>| {
        reactor.engine.seen.iter().filter(|seen| **seen == Seen::Bootstrap).count()
    };
    assert_eq!((asked(&mut reactor), reactor.observer.answers), (4, 1));
    let at = reactor.now + Duration::from_millis(50);
    reactor.observer.wants_at = Some(at);
    assert!(reactor.sleep() <= Duration::from_millis(50));
    turn_until(&mut reactor, |reactor| asked(reactor) == 5);
    assert!(reactor.now >= at && reactor.now < at + Duration::from_millis(50));
}
