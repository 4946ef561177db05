//! Datagrams in batches: many for one system call where the system can (Linux), one for one
//! call elsewhere. Both ways have the same face, and Linux can use either; built with
//! `--cfg portable`, it has only what the others have.

#[cfg(all(target_os = "linux", not(portable)))]
mod mmsg;
#[cfg(unix)]
mod pktinfo;
mod single;
#[cfg(target_os = "linux")]
mod undelivered;

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

/// A datagram as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its bytes, at most [`DATAGRAM_MAX`].
    pub data: &'a [u8],
    /// Who sent it.
    pub remote: SocketAddr,
    /// The address it was sent to, if the socket was opened with `pktinfo`.
    pub local: Option<IpAddr>,
    /// The datagram was longer, and its tail is lost.
    pub truncated: bool,
}

/// A datagram that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Where it went.
    pub remote: SocketAddr,
    /// How many of its first bytes came back.
    pub len: usize,
    /// Nothing listens there. Else the way there is missing.
    pub refused: bool,
}

/// What became of the datagrams of one [`SendBatch::flush`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Handed to the system.
    pub sent: usize,
    /// Refused by the system one by one (no route, not permitted, no buffers, too long).
    pub dropped: usize,
    /// Still in the batch: the socket takes no more until it is writable again.
    pub waiting: usize,
    /// Earlier ones came back (`undelivered`).
    pub came_back: bool,
}

/// What a UDP socket is opened with.
#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    /// Learn the address each datagram was sent to, and let replies leave from it
    /// (`IP_PKTINFO`, RFC 3542 `IPV6_PKTINFO`), where the system can.
    pub pktinfo: bool,
    /// The receive and send buffers to ask for, bytes each; less is accepted.
    pub buffer_bytes: usize,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self { pktinfo: false, buffer_bytes: BUFFER_BYTES }
    }
}

/// Opens a non-blocking UDP socket on `addr`, an IPv6 one for IPv6 only. Port 0: the system's choice.
pub fn bind(addr: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
    bind_on(None, addr, options)
}

/// [`bind`], on the network interface of this name only.
pub fn bind_on(interface: Option<&str>, addr: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    interface.map_or(Ok(()), |name| super::interface::bind(&socket, name))?;
    socket.set_nonblocking(true)?;
    size_buffers(&socket, options.buffer_bytes);
    #[cfg(all(target_os = "linux", not(portable)))]
    if addr.is_ipv4() {
        mmsg::send_whole(&socket);
    }
    #[cfg(unix)]
    if options.pktinfo {
        pktinfo::enable(&socket, addr.is_ipv6())?;
    }
    socket.bind(&addr.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Has the system keep what comes back of a socket's datagrams, where it can (Linux).
pub fn keep_undelivered(socket: &UdpSocket, v6: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return undelivered::enable(socket, v6);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, v6);
        Ok(())
    }
}

/// The next datagram that came back, its beginning in `buffer`; `None` if there is none.
pub fn take_undelivered(socket: &UdpSocket, buffer: &mut [u8]) -> Option<Undelivered> {
    #[cfg(target_os = "linux")]
    return undelivered::take(socket.into(), buffer).ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, buffer);
        None
    }
}

/// Datagrams that found the receive buffer full (`SO_MEMINFO`, Linux; elsewhere 0). It wraps at 2^32.
pub fn lost(socket: &UdpSocket) -> u64 {
    #[cfg(target_os = "linux")]
    return super::meminfo(socket).map_or(0, |info| u64::from(info[DROPS]));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        0
    }
}

/// Room for the datagrams of one receive.
pub struct RecvBatch(Recv);

enum Recv {
    #[cfg(all(target_os = "linux", not(portable)))]
    Many(mmsg::Recv),
    Single(single::Recv),
}

impl RecvBatch {
    /// Room for `batch` datagrams, 1 to [`BATCH_MAX`]. With 1, and off Linux, they come one by one.
    pub fn new(batch: usize) -> Self {
        #[cfg(all(target_os = "linux", not(portable)))]
        if batch > 1 {
            return Self(Recv::Many(mmsg::Recv::new(batch.min(BATCH_MAX))));
        }
        let _ = batch;
        Self(Recv::Single(single::Recv::new()))
    }

    /// Receives what is there, in place of what was received before: how many. It may be none
    /// without an error. `WouldBlock`: the socket is empty.
    pub fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        match &mut self.0 {
            #[cfg(all(target_os = "linux", not(portable)))]
            Recv::Many(recv) => recv.recv(socket),
            Recv::Single(recv) => recv.recv(socket),
        }
    }

    /// The most that one receive brings.
    pub fn capacity(&self) -> usize {
        match &self.0 {
            #[cfg(all(target_os = "linux", not(portable)))]
            Recv::Many(recv) => recv.capacity(),
            Recv::Single(_) => 1,
        }
    }

    /// The datagram at `index`, which must be below what the last [`RecvBatch::recv`] returned.
    pub fn message(&self, index: usize) -> Received<'_> {
        match &self.0 {
            #[cfg(all(target_os = "linux", not(portable)))]
            Recv::Many(recv) => recv.message(index),
            Recv::Single(recv) => {
                debug_assert_eq!(index, 0, "one datagram at a time");
                recv.message()
            }
        }
    }
}

/// Datagrams that leave together. What the socket does not take stays for the next flush.
pub struct SendBatch {
    buffers: Box<[u8]>,
    outgoing: Vec<Outgoing>,
    sent: usize,
    many: bool,
}

/// Where the datagram of one buffer goes.
#[derive(Clone, Copy)]
struct Outgoing {
    remote: SocketAddr,
    local: Option<IpAddr>,
    len: usize,
}

impl SendBatch {
    /// Room for `batch` datagrams, 1 to [`BATCH_MAX`]. With 1, and off Linux, each is one system
    /// call.
    pub fn new(batch: usize) -> Self {
        let batch = batch.clamp(1, BATCH_MAX);
        Self {
            buffers: vec![0; batch * DATAGRAM_MAX].into_boxed_slice(),
            outgoing: Vec::with_capacity(batch),
            sent: 0,
            many: batch > 1 && cfg!(all(target_os = "linux", not(portable))),
        }
    }

    /// The buffer that the next [`SendBatch::commit`] sends, [`DATAGRAM_MAX`] long; `None` if the
    /// batch is full.
    pub fn buffer(&mut self) -> Option<&mut [u8]> {
        let start = self.outgoing.len() * DATAGRAM_MAX;
        self.buffers.get_mut(start..start + DATAGRAM_MAX)
    }

    /// Takes the first `len` bytes of [`SendBatch::buffer`] as a datagram to `remote`, from `local`
    /// if that is given. True if the batch is full now. Nothing is taken if it was full before.
    pub fn commit(&mut self, remote: SocketAddr, local: Option<IpAddr>, len: usize) -> bool {
        if !self.is_full() {
            self.outgoing.push(Outgoing { remote, local, len: len.min(DATAGRAM_MAX) });
        }
        self.is_full()
    }

    /// Adds a copy of `data`. False, and nothing is added, if the batch is full or `data` is
    /// longer than [`DATAGRAM_MAX`].
    #[must_use = "a datagram that does not fit is lost"]
    pub fn push(&mut self, remote: SocketAddr, local: Option<IpAddr>, data: &[u8]) -> bool {
        let Some(buffer) = self.buffer().and_then(|buffer| buffer.get_mut(..data.len())) else {
            return false;
        };
        buffer.copy_from_slice(data);
        self.commit(remote, local, data.len());
        true
    }

    /// True if there is no room before the next flush.
    pub fn is_full(&self) -> bool {
        (self.outgoing.len() + 1) * DATAGRAM_MAX > self.buffers.len()
    }

    /// True if nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Sends what is in the batch. A datagram that the system refuses is dropped and the others go
    /// on. An error means that the socket itself is broken, and then the batch is emptied.
    pub fn flush(&mut self, socket: &UdpSocket) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        while self.sent < self.outgoing.len() {
            match self.send_some(socket) {
                Ok(count) => {
                    report.sent += count;
                    self.sent += count;
                }
                Err(error) => match SendError::of(&error) {
                    SendError::Again => {}
                    SendError::Earlier => report.came_back = true,
                    SendError::Blocked => {
                        report.waiting = self.outgoing.len() - self.sent;
                        return Ok(report);
                    }
                    SendError::Datagram => {
                        report.dropped += 1;
                        self.sent += 1;
                    }
                    SendError::Socket => {
                        self.clear();
                        return Err(error);
                    }
                },
            }
        }
        self.clear();
        Ok(report)
    }

    fn send_some(&self, socket: &UdpSocket) -> io::Result<usize> {
        let waiting = &self.outgoing[self.sent..];
        let buffers = &self.buffers[self.sent * DATAGRAM_MAX..];
        #[cfg(all(target_os = "linux", not(portable)))]
        if self.many {
            return mmsg::send(socket, waiting, buffers);
        }
        debug_assert!(!self.many, "batches are for Linux");
        let Outgoing { remote, local, len } = waiting[0];
        single::send(socket, &buffers[..len], remote, local).map(|()| 1)
    }

    fn clear(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }
}

/// Whom an error of sending is about.
enum SendError {
    /// Nobody: a signal came in between.
    Again,
    /// Datagrams that left before: they came back, which is told once.
    Earlier,
    /// The socket's buffer is full.
    Blocked,
    /// The first datagram alone.
    Datagram,
    /// The socket.
    Socket,
}

impl SendError {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::Again,
            io::ErrorKind::WouldBlock => Self::Blocked,
            io::ErrorKind::ConnectionRefused => Self::Earlier,
            _ if super::errors::is_broken_descriptor(error) => Self::Socket,
            _ => Self::Datagram,
        }
    }
}

/// Asks for large buffers, past the system's limit where we may (`CAP_NET_ADMIN`), and takes
/// what it gives: the crawl works with small ones, it only loses more in a burst.
fn size_buffers(socket: &Socket, bytes: usize) {
    #[cfg(all(target_os = "linux", not(portable)))]
    if mmsg::force_buffers(socket, bytes) {
        return;
    }
    let mut size = bytes;
    while size >= BUFFER_BYTES_MIN && socket.set_recv_buffer_size(size).is_err() {
        size /= 2;
    }
    size = bytes;
    while size >= BUFFER_BYTES_MIN && socket.set_send_buffer_size(size).is_err() {
        size /= 2;
    }
}

/// The most bytes of a datagram that are kept: above the 1,500 of an Ethernet frame, and a
/// power of two so that buffers line up.
pub const DATAGRAM_MAX: usize = 2048;
/// The most datagrams for one system call: at 64 its cost per datagram is below the copy's.
pub const BATCH_MAX: usize = 64;
/// 4 MiB: a quarter of a second of 20,000 packets/s at the 768 bytes each that the kernel charges.
const BUFFER_BYTES: usize = 4 << 20;
/// `SK_MEMINFO_DROPS` of linux/sock_diag.h.
#[cfg(target_os = "linux")]
const DROPS: usize = 8;
/// Below this the system's own default is better.
const BUFFER_BYTES_MIN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    fn local(pktinfo: bool, addr: &str) -> (UdpSocket, SocketAddr) {
        let options = UdpOptions { pktinfo, ..UdpOptions::default() };
        let socket = bind(addr.parse().unwrap(), options).unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    /// Loopback delivers within the send call, so what was sent is there to be received.
    fn drain(socket: &UdpSocket, batch: usize) -> Vec<(Vec<u8>, SocketAddr, Option<IpAddr>)> {
        let mut recv = RecvBatch::new(batch);
        let mut out = Vec::new();
        for _ in 0..1_000 {
            match recv.recv(socket) {
                Ok(count) => out.extend((0..count).map(|index| {
                    let message = recv.message(index);
                    (message.data.to_vec(), message.remote, message.local)
                })),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return out;
                }
            }
        }
        panic!("the socket never ran empty");
    }

    fn echo(batch: usize) {
        let (a, a_addr) = local(false, "127.0.0.1:0");
        let (b, b_addr) = local(false, "127.0.0.1:0");
        let mut send = SendBatch::new(batch);
        let mut expected = BTreeSet::new();
        for index in 0..200_u32 {
            let data = vec![index as u8; 1 + index as usize * 7];
            if !send.push(b_addr, None, &data) {
                send.flush(&a).unwrap();
                assert!(send.push(b_addr, None, &data));
            }
            expected.insert(data);
        }
        send.flush(&a).unwrap();
        assert!(send.is_empty());
        let got = drain(&b, batch);
        assert!(got.iter().all(|(_, remote, local)| *remote == a_addr && local.is_none()));
        assert_eq!(got.into_iter().map(|(data, ..)| data).collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn what_is_sent_arrives_in_batches() {
        echo(64);
        echo(3);
    }

    #[test]
    fn what_is_sent_arrives_one_by_one() {
        echo(1);
    }

    #[test]
    fn a_full_batch_takes_nothing_more() {
        let to = "127.0.0.1:9".parse().unwrap();
        for batch in [1, 2] {
            let mut send = SendBatch::new(batch);
            for index in 0..batch {
                send.buffer().unwrap()[0] = 7;
                assert_eq!(send.commit(to, None, 1), index + 1 == batch);
            }
            assert!(send.buffer().is_none() && !send.push(to, None, b"x"));
            assert!(send.commit(to, None, 1));
        }
        assert!(!SendBatch::new(2).push(to, None, &[0; DATAGRAM_MAX + 1]));
    }

    #[test]
    fn one_refused_datagram_does_not_hold_up_the_others() {
        for batch in [1, 8] {
            let (a, _) = local(false, "127.0.0.1:0");
            let (b, b_addr) = local(false, "127.0.0.1:0");
            let mut send = SendBatch::new(batch);
            let mut total = SendReport::default();
            // Port 0 is refused with EINVAL, and 255.255.255.255 with EACCES; nothing leaves.
            for to in [b_addr, "127.0.0.1:0".parse().unwrap(), b_addr, "[::1]:9".parse().unwrap(), b_addr] {
                assert!(send.push(to, None, b"x"));
                if send.is_full() {
                    let report = send.flush(&a).unwrap();
                    total.sent += report.sent;
                    total.dropped += report.dropped;
                }
            }
            let report = send.flush(&a).unwrap();
            assert_eq!((total.sent + report.sent, total.dropped + report.dropped), (3, 2));
            assert_eq!(drain(&b, 64).len(), 3);
        }
    }

    #[test]
    fn a_longer_datagram_is_cut_and_says_so() {
        for batch in [1, 64] {
            let (a, _) = local(false, "127.0.0.1:0");
            let (b, b_addr) = local(false, "127.0.0.1:0");
            a.send_to(&[7; DATAGRAM_MAX + 500], b_addr).unwrap();
            a.send_to(&[8; DATAGRAM_MAX - 1], b_addr).unwrap();
            let mut recv = RecvBatch::new(batch);
            let mut seen = Vec::new();
            while let Ok(count) = recv.recv(&b) {
                seen.extend((0..count).map(|i| (recv.message(i).data.len(), recv.message(i).truncated)));
            }
            assert_eq!(seen, [(DATAGRAM_MAX, true), (DATAGRAM_MAX - 1, false)]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_finds_the_buffer_full_is_counted() {
        let (a, _) = local(false, "127.0.0.1:0");
        let options = UdpOptions { pktinfo: false, buffer_bytes: BUFFER_BYTES_MIN };
        let b = bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        assert_eq!(lost(&b), 0);
        let to = b.local_addr().unwrap();
        (0..2_000).for_each(|_| assert_eq!(a.send_to(&[0; 100], to).unwrap(), 100));
        let arrived = drain(&b, 64).len();
        assert!(arrived < 2_000);
        assert_eq!(arrived as u64 + lost(&b), 2_000);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_socket_stands_for_many_addresses() {
        many_addresses(64);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_socket_stands_for_many_addresses_one_by_one() {
        many_addresses(1);
    }

    /// A wildcard socket is asked at a hundred addresses and answers from each of them.
    fn many_addresses(batch: usize) {
        let (swarm, swarm_addr) = local(true, "0.0.0.0:0");
        let (engine, engine_addr) = local(false, "127.0.0.1:0");
        let nodes: Vec<SocketAddr> =
            (1..=100).map(|i| SocketAddr::new([127, 16, 3, i].into(), swarm_addr.port())).collect();
        let mut send = SendBatch::new(batch);
        for node in &nodes {
            assert!(send.push(*node, None, node.to_string().as_bytes()));
            if send.is_full() {
                send.flush(&engine).unwrap();
            }
        }
        send.flush(&engine).unwrap();
        for (data, remote, local) in drain(&swarm, batch) {
            assert_eq!(remote, engine_addr);
            assert!(send.push(remote, local, &data));
            if send.is_full() {
                send.flush(&swarm).unwrap();
            }
        }
        send.flush(&swarm).unwrap();
        let answers = drain(&engine, batch);
        assert_eq!(answers.len(), nodes.len());
        for (data, remote, _) in answers {
            assert_eq!(data, remote.to_string().as_bytes());
        }
    }

    #[cfg(unix)]
    #[test]
    fn ipv6_tells_and_keeps_the_local_address() {
        for batch in [1, 2] {
            ipv6_local_address(batch);
        }
    }

    fn ipv6_local_address(batch: usize) {
        // A host without IPv6 has nothing to test here.
        let Ok(a) = bind("[::1]:0".parse().unwrap(), UdpOptions { pktinfo: true, ..UdpOptions::default() })
        else {
            return;
        };
        let (b, b_addr) = local(true, "[::1]:0");
        let mut send = SendBatch::new(batch);
        assert!(send.push(b_addr, Some("::1".parse().unwrap()), b"x"));
        assert_eq!(send.flush(&a).unwrap(), SendReport { sent: 1, ..SendReport::default() });
        let got = drain(&b, batch);
        assert_eq!(got, [(b"x".to_vec(), a.local_addr().unwrap(), Some("::1".parse().unwrap()))]);
    }
}
