//! Everything impure that the reactor needs: sockets, readiness, time, signals. The real one is
//! [`super::system::SystemNet`]; tests put one in its place that injects what networks do.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::handle::Wake;
use super::sys::signals::Arrived;
use super::sys::udp::{Received, SendReport, Undelivered};
use crate::base::{Instant, SocketId, UnixTime};
use crate::engine::io::{AcceptorId, LinkId};

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A UDP socket.
    Udp {
        /// Which.
        socket: SocketId,
        /// Datagrams wait.
        readable: bool,
        /// There is room to send.
        writable: bool,
    },
    /// A stream.
    Tcp {
        /// Which; it may be closed by now.
        link: LinkId,
        /// Bytes, the end, or an error wait.
        readable: bool,
        /// It is open and there is room to send.
        writable: bool,
        /// It may have ended or failed; an operation will tell.
        ending: bool,
    },
    /// A stream may be accepted.
    Acceptor(AcceptorId),
}

/// What one receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpBatch {
    /// How many datagrams; it may be none.
    pub count: usize,
    /// There were no more, and the next one is told anew.
    pub emptied: bool,
}

/// The operating system, as far as the reactor knows it. Readiness is edge-triggered: it is told
/// once, and again only after an operation returned `WouldBlock`.
pub trait Net {
    /// A UDP socket with its batches.
    type Udp;
    /// A stream.
    type Tcp;
    /// A socket that accepts streams.
    type Acceptor;
    /// A stream that was accepted and has no name yet. Dropped, it is closed.
    type Accepted;

    /// A read that fills less than its buffer has taken all there was, and a new arrival is told
    /// anew (epoll(7)), so that the read that would only say `WouldBlock` is spared.
    const SHORT_READ_MEANS_EMPTY: bool;
    /// A connecting stream that is told to be writable and not to be ending is open.
    const WRITABLE_MEANS_OPEN: bool;

    /// The clocks.
    fn now(&mut self) -> (Instant, UnixTime);

    /// Waits until something is ready, for at most `timeout`, and appends it to `ready`.
    fn poll(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends a [`Net::poll`] that waits, from another thread.
    fn wake(&self) -> Wake;

    /// The signals since the last call.
    fn signals(&mut self) -> Arrived;

    /// Opens a UDP socket: it, and its address with the port that it really has.
    fn udp_bind(&mut self, socket: SocketId, addr: SocketAddr) -> io::Result<(Self::Udp, SocketAddr)>;

    /// Receives a batch. `WouldBlock`: there is nothing.
    fn udp_recv(&mut self, udp: &mut Self::Udp) -> io::Result<UdpBatch>;

    /// Keeps what comes back of a socket's datagrams, where the system can.
    fn udp_keep_undelivered(&mut self, _udp: &Self::Udp) {}

    /// The next datagram that came back, its beginning in `buffer`.
    fn udp_take_undelivered(&mut self, _udp: &Self::Udp, _buffer: &mut [u8]) -> Option<Undelivered> {
        None
    }

    /// Datagrams that came faster than they were received, as far as the system counts them.
    fn udp_lost(&self, _udp: &Self::Udp) -> u64 {
        0
    }

    /// A datagram of the last batch, and the buffer for its reply, which [`Net::udp_commit`] sends.
    fn udp_message<'a>(&'a mut self, udp: &'a mut Self::Udp, index: usize) -> (Received<'a>, &'a mut [u8]);

    /// Takes the first `len` bytes of the reply buffer as a datagram; false if there is no room.
    fn udp_commit(&mut self, udp: &mut Self::Udp, to: SocketAddr, from: Option<IpAddr>, len: usize) -> bool;

    /// Takes a copy of `data` as a datagram; false if there is no room.
    fn udp_push(&mut self, udp: &mut Self::Udp, to: SocketAddr, from: Option<IpAddr>, data: &[u8]) -> bool;

    /// True if nothing more is taken before a flush.
    fn udp_is_full(&self, udp: &Self::Udp) -> bool;

    /// Sends what was taken. What still waits is to be flushed when the socket is writable.
    fn udp_flush(&mut self, udp: &mut Self::Udp) -> io::Result<SendReport>;

    /// Closes; what it has taken and not sent is lost.
    fn udp_close(&mut self, udp: Self::Udp);

    /// Begins to connect. Readiness will come under `link`.
    fn tcp_connect(&mut self, link: LinkId, from: Option<IpAddr>, to: SocketAddr) -> io::Result<Self::Tcp>;

    /// What became of connecting: true if the stream is open, false if that is not decided.
    fn tcp_outcome(&mut self, tcp: &mut Self::Tcp) -> io::Result<bool>;

    /// Reads; 0 at the end.
    fn tcp_read(&mut self, tcp: &mut Self::Tcp, into: &mut [u8]) -> io::Result<usize>;

    /// Writes from several buffers.
    fn tcp_write(&mut self, tcp: &mut Self::Tcp, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Closes.
    fn tcp_close(&mut self, tcp: Self::Tcp);

    /// Opens a socket that accepts streams: it, and its address with the port that it really has.
    fn tcp_listen(&mut self, id: AcceptorId, addr: SocketAddr) -> io::Result<(Self::Acceptor, SocketAddr)>;

    /// Accepts one stream: it, and who it is from. `WouldBlock`: none waits.
    fn tcp_accept(&mut self, acceptor: &mut Self::Acceptor) -> io::Result<(Self::Accepted, SocketAddr)>;

    /// Names a stream that was accepted, which is open. Readiness will come under `link`.
    fn tcp_adopt(&mut self, link: LinkId, accepted: Self::Accepted) -> io::Result<Self::Tcp>;
}
