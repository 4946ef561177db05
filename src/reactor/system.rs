//! The real [`Net`]: mio and the system's sockets.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token as MioToken, Waker};

use super::clock::Clock;
use super::config::ReactorConfig;
use super::handle::Wake;
use super::net::{Net, Ready, UdpBatch};
use super::sys::signals::{Arrived, Signals};
use super::sys::tcp;
use super::sys::udp::{
    self, DATAGRAM_MAX, Received, RecvBatch, SendBatch, SendReport, UdpOptions, Undelivered,
};
use crate::base::{Instant, SocketId, Token, UnixTime};
use crate::engine::io::{AcceptorId, LinkId};

/// mio's poll and what it watches besides sockets.
pub struct SystemNet {
    poll: Poll,
    events: Events,
    clock: Clock,
    wake: Wake,
    signals: Option<Signals>,
    signalled: bool,
    udp_batch: usize,
    interface: Option<Box<str>>,
    /// What the last receive brought; one for all sockets, since each batch is handed in at once.
    recv: RecvBatch,
    /// Takes a reply that finds its batch full.
    spare: Box<[u8]>,
}

/// A UDP socket and what waits to leave.
pub struct Udp {
    socket: UdpSocket,
    id: SocketId,
    /// Its buffers are memory only as far as they were used.
    send: SendBatch,
    /// Writability is watched only while something waits: UDP reports it after every datagram.
    blocked: bool,
}

impl SystemNet {
    /// A poll on `clock`. With `signals`, SIGINT, SIGTERM and SIGHUP come here; one reactor of a
    /// process may have them. What to listen on is not looked at.
    pub fn new(clock: Clock, config: &ReactorConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let wake = Wake::new(move || {
            // It fails only when the system is out of memory; then the next turn sees what came.
            let _ = waker.wake();
        });
        #[cfg_attr(not(unix), expect(unused_mut, reason = "there is nothing to register"))]
        let mut signals = config.signals.then(Signals::install).transpose()?;
        #[cfg(unix)]
        if let Some(signals) = &mut signals {
            poll.registry().register(signals.source(), SIGNALS, Interest::READABLE)?;
        }
        let events = Events::with_capacity(EVENTS_PER_POLL);
        Ok(Self {
            poll,
            events,
            clock,
            wake,
            signals,
            signalled: false,
            udp_batch: config.udp_batch,
            interface: config.interface.as_deref().map(Box::from),
            recv: RecvBatch::new(config.udp_batch),
            spare: vec![0; DATAGRAM_MAX].into_boxed_slice(),
        })
    }
}

impl Net for SystemNet {
    type Udp = Udp;
    type Tcp = TcpStream;
    type Acceptor = TcpListener;
    type Accepted = TcpStream;

    const SHORT_READ_MEANS_EMPTY: bool = EPOLL;
    const WRITABLE_MEANS_OPEN: bool = EPOLL;

    fn now(&mut self) -> (Instant, UnixTime) {
        (self.clock.now(), self.clock.unix())
    }

    fn poll(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        self.signalled |= self.events.iter().any(|event| event.token() == SIGNALS);
        ready.extend(self.events.iter().filter_map(ready_of));
        Ok(())
    }

    fn wake(&self) -> Wake {
        self.wake.clone()
    }

    fn signals(&mut self) -> Arrived {
        if !std::mem::take(&mut self.signalled) {
            return Arrived::default();
        }
        self.signals.as_mut().map(Signals::take).unwrap_or_default()
    }

    fn udp_bind(&mut self, id: SocketId, addr: SocketAddr) -> io::Result<(Udp, SocketAddr)> {
        // A wildcard socket must answer from the address it was asked at.
        let options = UdpOptions { pktinfo: addr.ip().is_unspecified(), ..UdpOptions::default() };
        let mut socket = udp::bind_on(self.interface.as_deref(), addr, options)?;
        let bound = socket.local_addr()?;
        self.poll.registry().register(&mut socket, udp_token(id), Interest::READABLE)?;
        Ok((Udp { socket, id, send: SendBatch::new(self.udp_batch), blocked: false }, bound))
    }

    fn udp_recv(&mut self, udp: &mut Udp) -> io::Result<UdpBatch> {
        let count = self.recv.recv(&udp.socket)?;
        Ok(UdpBatch { count, emptied: EPOLL && count > 0 && count < self.recv.capacity() })
    }

    fn udp_keep_undelivered(&mut self, udp: &Udp) {
        let v6 = udp.socket.local_addr().is_ok_and(|addr| addr.is_ipv6());
        if let Err(error) = udp::keep_undelivered(&udp.socket, v6) {
            log::debug!("what comes back of datagrams is not told: {error}");
        }
    }

    fn udp_take_undelivered(&mut self, udp: &Udp, buffer: &mut [u8]) -> Option<Undelivered> {
        udp::take_undelivered(&udp.socket, buffer)
    }

    fn udp_lost(&self, udp: &Udp) -> u64 {
        udp::lost(&udp.socket)
    }

    fn udp_message<'a>(&'a mut self, udp: &'a mut Udp, index: usize) -> (Received<'a>, &'a mut [u8]) {
        (self.recv.message(index), udp.send.buffer().unwrap_or(&mut self.spare))
    }

    fn udp_commit(&mut self, udp: &mut Udp, to: SocketAddr, from: Option<IpAddr>, len: usize) -> bool {
        let room = !udp.send.is_full();
        udp.send.commit(to, from, len);
        room
    }

    fn udp_push(&mut self, udp: &mut Udp, to: SocketAddr, from: Option<IpAddr>, data: &[u8]) -> bool {
        udp.send.push(to, from, data)
    }

    fn udp_is_full(&self, udp: &Udp) -> bool {
        udp.send.is_full()
    }

    fn udp_flush(&mut self, udp: &mut Udp) -> io::Result<SendReport> {
        let report = udp.send.flush(&udp.socket)?;
        let blocked = report.waiting > 0;
        if blocked != udp.blocked {
            let interest = if blocked { BOTH } else { Interest::READABLE };
            self.poll.registry().reregister(&mut udp.socket, udp_token(udp.id), interest)?;
            udp.blocked = blocked;
        }
        Ok(report)
    }

    fn udp_close(&mut self, mut udp: Udp) {
        // Closing it takes it from the poll as well, but for poll(2), which must be told.
        let _ = self.poll.registry().deregister(&mut udp.socket);
    }

    fn tcp_connect(&mut self, link: LinkId, from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = tcp::connect_on(self.interface.as_deref(), from, to)?;
        self.poll.registry().register(&mut stream, MioToken(link.0.pack() as usize), BOTH)?;
        Ok(stream)
    }

    fn tcp_outcome(&mut self, tcp: &mut TcpStream) -> io::Result<bool> {
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tcp_read(&mut self, tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        tcp.read(into)
    }

    fn tcp_write(&mut self, tcp: &mut TcpStream, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match from {
            [one] => tcp.write(one),
            many => tcp.write_vectored(many),
        }
    }

    fn tcp_close(&mut self, tcp: TcpStream) {
        drop(tcp);
    }

    fn tcp_listen(&mut self, id: AcceptorId, addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        let mut listener = tcp::listen_on(self.interface.as_deref(), addr)?;
        let bound = listener.local_addr()?;
        let token = MioToken(FIRST_ACCEPTOR.0 - usize::from(id.0));
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        Ok((listener, bound))
    }

    fn tcp_accept(&mut self, acceptor: &mut TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        acceptor.accept()
    }

    fn tcp_adopt(&mut self, link: LinkId, mut accepted: TcpStream) -> io::Result<TcpStream> {
        accepted.set_nodelay(true)?;
        self.poll.registry().register(&mut accepted, MioToken(link.0.pack() as usize), BOTH)?;
        Ok(accepted)
    }
}

fn ready_of(event: &Event) -> Option<Ready> {
    let token = event.token();
    if token == WAKE || token == SIGNALS {
        return None;
    }
    let (readable, writable) = (event.is_readable(), event.is_writable());
    if let Some(index) = FIRST_ACCEPTOR.0.checked_sub(token.0)
        && let Ok(index) = u16::try_from(index)
    {
        return Some(Ready::Acceptor(AcceptorId(index)));
    }
    if let Some(index) = FIRST_UDP.0.checked_sub(token.0)
        && let Ok(index) = u16::try_from(index)
    {
        // Receiving tells of what came back, and so does the error's own readiness.
        let readable = readable || event.is_error();
        return Some(Ready::Udp { socket: SocketId(index), readable, writable });
    }
    let ending = event.is_error() || event.is_read_closed() || event.is_write_closed();
    Some(Ready::Tcp { link: LinkId(Token::unpack(token.0 as u64)), readable, writable, ending })
}

fn udp_token(socket: SocketId) -> MioToken {
    MioToken(FIRST_UDP.0 - usize::from(socket.0))
}

/// mio's back end is epoll, whose edges we may rely on.
const EPOLL: bool =
    cfg!(all(any(target_os = "linux", target_os = "android"), not(mio_unsupported_force_poll_poll)));

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// 12 bytes each; as many as there may be busy links in one turn without a second call.
const EVENTS_PER_POLL: usize = 1024;

// Tokens from the top downwards. A link's would have to be of generation 2^32 - 1 to meet them.
const WAKE: MioToken = MioToken(usize::MAX - 1);
const SIGNALS: MioToken = MioToken(usize::MAX - 2);
const FIRST_UDP: MioToken = MioToken(usize::MAX - 3);
const FIRST_ACCEPTOR: MioToken = MioToken(FIRST_UDP.0 - (1 << 16));

// A link's index and generation, 32 bits each, must fit a poll token.
const _: () = assert!(usize::BITS >= 64, "built for 64-bit systems");
