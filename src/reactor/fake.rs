//! A network without a system, for tests: it does what networks do, on command or by a seed. Its
//! clock moves only when the reactor sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::handle::Wake;
use super::net::{Net, Ready, UdpBatch};
use super::sys::signals::Arrived;
use super::sys::udp::{DATAGRAM_MAX, Received, SendReport};
use crate::base::{Instant, Rng, SocketId, UnixTime};
use crate::engine::io::{AcceptorId, LinkId};

/// With `EDGES`, arrivals are told as epoll does: each once. Without, as mio does over poll(2):
/// once, and again only after a `WouldBlock`.
pub(super) struct FakeNet<const EDGES: bool = true> {
    pub(super) now: Instant,
    pub(super) slept: Vec<Duration>,
    pub(super) events: Vec<Ready>,
    pub(super) signals: Arrived,
    pub(super) inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) sent: Vec<(SocketAddr, Vec<u8>)>,
    /// What the next receives come to.
    pub(super) recv_errors: VecDeque<io::Error>,
    /// How many more datagrams the system takes.
    pub(super) send_room: usize,
    /// What the next connects come to; open streams when there is nothing.
    pub(super) connects: VecDeque<io::Error>,
    pub(super) streams: BTreeMap<LinkId, Stream>,
    pub(super) closed: Vec<LinkId>,
    /// What the next binds come to; sockets when there is nothing.
    pub(super) binds: VecDeque<io::Error>,
    pub(super) unbound: Vec<SocketId>,
    /// Who knocks, and what letting the next in comes to first.
    pub(super) knocking: VecDeque<SocketAddr>,
    pub(super) accept_errors: VecDeque<io::Error>,
    pub(super) accepts: usize,
    /// Splits, delays and interrupts everything.
    pub(super) chaos: Option<Rng>,
}

/// One stream as the system sees it.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) outcome: Option<io::Error>,
    /// Arrived and not read.
    pub(super) incoming: Vec<u8>,
    /// Under way: arrives piece by piece in chaos.
    pub(super) coming: Vec<u8>,
    pub(super) ended: bool,
    pub(super) read_error: Option<io::Error>,
    pub(super) written: Vec<u8>,
    /// How many more bytes it takes.
    pub(super) room: usize,
    pub(super) write_error: Option<io::Error>,
    pub(super) reads: usize,
    read_armed: bool,
    write_armed: bool,
    told_end: bool,
    opened: bool,
}

impl Stream {
    fn fresh() -> Self {
        Self { room: usize::MAX, read_armed: true, write_armed: true, ..Self::default() }
    }
}

pub(super) struct FakeUdp {
    id: SocketId,
    batch: Vec<(SocketAddr, Vec<u8>)>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
    reply: Box<[u8]>,
}

impl<const EDGES: bool> FakeNet<EDGES> {
    pub(super) fn new() -> Self {
        Self {
            now: Instant::from_millis(1_000),
            slept: Vec::new(),
            events: Vec::new(),
            signals: Arrived::default(),
            inbox: VecDeque::new(),
            sent: Vec::new(),
            recv_errors: VecDeque::new(),
            send_room: usize::MAX,
            connects: VecDeque::new(),
            streams: BTreeMap::new(),
            closed: Vec::new(),
            binds: VecDeque::new(),
            unbound: Vec::new(),
            knocking: VecDeque::new(),
            accept_errors: VecDeque::new(),
            accepts: 0,
            chaos: None,
        }
    }

    /// The next poll says that `link` is readable and writable.
    pub(super) fn tell(&mut self, link: LinkId, ending: bool) {
        self.events.push(Ready::Tcp { link, readable: true, writable: true, ending });
    }

    pub(super) fn stream(&mut self, link: LinkId) -> &mut Stream {
        self.streams.get_mut(&link).unwrap()
    }

    fn interrupted(&mut self) -> io::Result<()> {
        let interrupt = self.chaos.as_mut().is_some_and(|rng| rng.percent(10));
        if interrupt { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// Lets some of what is under way arrive, and some of what was written leave.
    fn move_streams(&mut self, ready: &mut Vec<Ready>) {
        let Some(rng) = &mut self.chaos else { return };
        for (link, stream) in &mut self.streams {
            let arriving = rng.index(stream.coming.len().min(40_000) + 1);
            stream.incoming.extend(stream.coming.drain(..arriving));
            let leaving = rng.index(20_000);
            stream.room = (stream.room + leaving).min(50_000);
            let all_here = stream.coming.is_empty() && stream.ended;
            let ending = all_here && !stream.told_end;
            let (readable, writable) = if EDGES {
                (arriving > 0 || ending, leaving > 0 && stream.write_armed || !stream.opened)
            } else {
                let some = !stream.incoming.is_empty() || all_here;
                (stream.read_armed && some, stream.write_armed && stream.room > 0 || !stream.opened)
            };
            let spurious = rng.percent(5);
            if readable || writable || spurious {
                stream.opened = true;
                stream.told_end |= ending;
                stream.read_armed &= !readable;
                stream.write_armed &= !writable;
                ready.push(Ready::Tcp { link: *link, readable, writable, ending: ending || spurious });
            }
        }
    }
}

impl<const EDGES: bool> Net for FakeNet<EDGES> {
    type Udp = FakeUdp;
    type Tcp = LinkId;
    type Acceptor = AcceptorId;
    type Accepted = ();

    const SHORT_READ_MEANS_EMPTY: bool = EDGES;
    const WRITABLE_MEANS_OPEN: bool = EDGES;

    fn now(&mut self) -> (Instant, UnixTime) {
        (self.now, UnixTime(1_700_000_000 + u64::from(self.now.secs())))
    }

    fn poll(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.expect("the reactor always says when to wake");
        ready.append(&mut self.events);
        self.move_streams(ready);
        if ready.is_empty() {
            self.now += timeout;
        }
        self.slept.push(timeout);
        Ok(())
    }

    fn wake(&self) -> Wake {
        Wake::new(|| {})
    }

    fn signals(&mut self) -> Arrived {
        std::mem::take(&mut self.signals)
    }

    fn udp_bind(&mut self, id: SocketId, addr: SocketAddr) -> io::Result<(FakeUdp, SocketAddr)> {
        if let Some(error) = self.binds.pop_front() {
            return Err(error);
        }
        let reply = vec![0; DATAGRAM_MAX].into_boxed_slice();
        Ok((FakeUdp { id, batch: Vec::new(), outgoing: Vec::new(), reply }, addr))
    }

    fn udp_recv(&mut self, udp: &mut FakeUdp) -> io::Result<UdpBatch> {
        if let Some(error) = self.recv_errors.pop_front() {
            return Err(error);
        }
        if self.inbox.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.inbox.len().min(FAKE_BATCH);
        udp.batch = self.inbox.drain(..count).collect();
        Ok(UdpBatch { count, emptied: EDGES && count < FAKE_BATCH })
    }

    fn udp_message<'a>(&'a mut self, udp: &'a mut FakeUdp, index: usize) -> (Received<'a>, &'a mut [u8]) {
        let (remote, data) = &udp.batch[index];
        let truncated = data.len() > DATAGRAM_MAX;
        (Received { data, remote: *remote, local: None, truncated }, &mut udp.reply)
    }

    fn udp_commit(&mut self, udp: &mut FakeUdp, to: SocketAddr, _: Option<IpAddr>, len: usize) -> bool {
        let room = !self.udp_is_full(udp);
        if room {
            udp.outgoing.push((to, udp.reply[..len].to_vec()));
        }
        room
    }

    fn udp_push(&mut self, udp: &mut FakeUdp, to: SocketAddr, _: Option<IpAddr>, data: &[u8]) -> bool {
        let room = !self.udp_is_full(udp);
        if room {
            udp.outgoing.push((to, data.to_vec()));
        }
        room
    }

    fn udp_is_full(&self, udp: &FakeUdp) -> bool {
        udp.outgoing.len() >= FAKE_BATCH
    }

    fn udp_flush(&mut self, udp: &mut FakeUdp) -> io::Result<SendReport> {
        let sent = udp.outgoing.len().min(self.send_room);
        self.send_room -= sent;
        self.sent.extend(udp.outgoing.drain(..sent));
        Ok(SendReport { sent, waiting: udp.outgoing.len(), ..SendReport::default() })
    }

    fn udp_close(&mut self, udp: FakeUdp) {
        self.unbound.push(udp.id);
    }

    fn tcp_connect(&mut self, link: LinkId, _: Option<IpAddr>, _: SocketAddr) -> io::Result<LinkId> {
        if let Some(error) = self.connects.pop_front() {
            return Err(error);
        }
        self.streams.entry(link).or_insert_with(Stream::fresh);
        Ok(link)
    }

    fn tcp_outcome(&mut self, tcp: &mut LinkId) -> io::Result<bool> {
        self.stream(*tcp).outcome.take().map_or(Ok(true), Err)
    }

    fn tcp_read(&mut self, tcp: &mut LinkId, into: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        let most = match &mut self.chaos {
            // Only without edges may a read leave something: there a short read means nothing.
            Some(rng) if !EDGES => 1 + rng.index(into.len()),
            _ => into.len(),
        };
        let stream = self.stream(*tcp);
        stream.reads += 1;
        let count = stream.incoming.len().min(most);
        if count > 0 {
            into[..count].copy_from_slice(&stream.incoming[..count]);
            stream.incoming.drain(..count);
            return Ok(count);
        }
        if let Some(error) = stream.read_error.take() {
            return Err(error);
        }
        if stream.ended && stream.coming.is_empty() {
            return Ok(0);
        }
        stream.read_armed = true;
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn tcp_write(&mut self, tcp: &mut LinkId, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.interrupted()?;
        let stream = self.stream(*tcp);
        if let Some(error) = stream.write_error.take() {
            return Err(error);
        }
        let before = stream.written.len();
        for slice in from {
            let count = slice.len().min(stream.room);
            stream.written.extend_from_slice(&slice[..count]);
            stream.room -= count;
        }
        match stream.written.len() - before {
            0 => {
                stream.write_armed = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            count => Ok(count),
        }
    }

    fn tcp_close(&mut self, tcp: LinkId) {
        self.closed.push(tcp);
    }

    fn tcp_listen(&mut self, id: AcceptorId, addr: SocketAddr) -> io::Result<(AcceptorId, SocketAddr)> {
        Ok((id, addr))
    }

    fn tcp_accept(&mut self, _: &mut AcceptorId) -> io::Result<((), SocketAddr)> {
        self.accepts += 1;
        if let Some(error) = self.accept_errors.pop_front() {
            return Err(error);
        }
        self.knocking.pop_front().map(|from| ((), from)).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn tcp_adopt(&mut self, link: LinkId, (): ()) -> io::Result<LinkId> {
        if let Some(error) = self.connects.pop_front() {
            return Err(error);
        }
        self.streams.entry(link).or_insert_with(Stream::fresh);
        Ok(link)
    }
}

/// Small, so that tests fill it.
pub(super) const FAKE_BATCH: usize = 4;
