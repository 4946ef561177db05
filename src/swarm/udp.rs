//! The nodes' sockets: one for all of them where the asked address can be learnt from each
//! datagram (Linux), else one for each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::answers::Answers;
use super::population::Places;
use super::{Stats, hits};
use crate::base::Rng;
use crate::reactor::sys::udp::{self, BATCH_MAX, RecvBatch, SendBatch, UdpOptions};

/// Bound sockets, not yet polled.
pub(crate) struct Sockets {
    sockets: Vec<UdpSocket>,
    /// Indexes of sockets that may hold datagrams.
    ready: Vec<usize>,
    /// The socket stands for all nodes.
    shared: bool,
    recv: RecvBatch,
    send: SendBatch,
}

impl Sockets {
    /// Binds for `nodes` nodes. `port` is only used where all nodes share it; 0 lets the system
    /// choose.
    pub(crate) fn bind(nodes: u32, port: u16) -> io::Result<(Self, Places)> {
        if cfg!(target_os = "linux") { Self::bind_shared(port) } else { Self::bind_each(nodes) }
    }

    /// One socket for all nodes. It can be reached from this machine alone where the system allows
    /// to say so; what comes from or for elsewhere is dropped in any case.
    fn bind_shared(port: u16) -> io::Result<(Self, Places)> {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let socket = udp::bind(any, UdpOptions { pktinfo: true, ..UdpOptions::default() })?;
        _ = only_loopback((&socket).into());
        let port = socket.local_addr()?.port();
        let batches = (RecvBatch::new(BATCH_MAX), SendBatch::new(BATCH_MAX));
        Ok((Self::new(vec![socket], true, batches), Places::OnePort(port)))
    }

    /// One socket for each node, so at most [`EACH_MAX`] nodes.
    pub(crate) fn bind_each(nodes: u32) -> io::Result<(Self, Places)> {
        if nodes > EACH_MAX {
            let why = "more nodes than this system has sockets for";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (mut sockets, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
            let socket =
                udp::bind(own, UdpOptions { buffer_bytes: EACH_BUFFER_BYTES, ..UdpOptions::default() })?;
            ports.push(socket.local_addr()?.port());
            sockets.push(socket);
        }
        Ok((Self::new(sockets, false, (RecvBatch::new(1), SendBatch::new(1))), Places::Ports(ports)))
    }

    /// Polls all sockets under the tokens from 0 on; how many tokens that took.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<usize> {
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            registry.register(socket, Token(index), Interest::READABLE)?;
        }
        Ok(self.sockets.len())
    }

    /// The socket under that token has datagrams.
    pub(crate) fn on_readable(&mut self, index: usize) {
        if !self.ready.contains(&index) {
            self.ready.push(index);
        }
    }

    /// Receives and answers, a bounded number of batches; true if there may be more.
    pub(crate) fn serve(
        &mut self,
        answers: &mut Answers,
        loss: &mut Loss,
        now_secs: u64,
        stats: &mut Stats,
    ) -> io::Result<bool> {
        let budget = if self.shared { BATCHES_PER_TURN } else { BATCHES_PER_TURN * BATCH_MAX };
        for _ in 0..budget {
            let Some(index) = self.ready.last().copied() else { return Ok(false) };
            match self.recv.recv(&self.sockets[index]) {
                Ok(count) => {
                    (0..count).for_each(|at| self.answer(index, at, answers, loss, now_secs, stats));
                    let report = self.send.flush(&self.sockets[index])?;
                    stats.answered += report.sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => _ = self.ready.pop(),
                // A port-unreachable for an earlier answer: its asker is gone, the next is not.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!self.ready.is_empty())
    }

    /// Has nodes ask something, up to `count` times.
    pub(crate) fn ask(&mut self, count: u32, answers: &mut Answers, loss: &mut Loss) -> io::Result<()> {
        for _ in 0..count {
            let Some(out) = self.send.buffer() else { return Ok(()) };
            let Some((node, to, len)) = answers.ask(out) else { continue };
            if loss.hits() {
                continue;
            }
            let local = answers.nodes.addr(node).ip();
            self.send.commit(to, self.shared.then_some(local), len);
            let index = if self.shared { 0 } else { node as usize };
            self.send.flush(&self.sockets[index])?;
        }
        Ok(())
    }

    fn new(sockets: Vec<UdpSocket>, shared: bool, (recv, send): (RecvBatch, SendBatch)) -> Self {
        Self { sockets, ready: Vec::new(), shared, recv, send }
    }

    fn answer(
        &mut self,
        index: usize,
        at: usize,
        answers: &mut Answers,
        loss: &mut Loss,
        now_secs: u64,
        stats: &mut Stats,
    ) {
        let message = self.recv.message(at);
        let local = message.local.filter(|_| self.shared);
        let asked = if self.shared { local } else { Some(Ipv4Addr::LOCALHOST.into()) };
        let Some(asked) = asked.filter(IpAddr::is_loopback) else { return };
        if !message.remote.ip().is_loopback() || message.truncated {
            return;
        }
        stats.received += 1;
        if loss.hits() {
            stats.lost += 1;
            return;
        }
        let node = if self.shared { answers.nodes.at(asked) } else { Some(index as u32) };
        let (Some(node), Some(out)) = (node, self.send.buffer()) else {
            stats.to_the_dead += 1;
            return;
        };
        let len = answers.answer(node, message.remote, message.data, now_secs, out, stats);
        if len == 0 {
            return;
        }
        if loss.hits() {
            stats.lost += 1;
            return;
        }
        self.send.commit(message.remote, local, len);
    }
}

/// Packets that never arrive.
pub(crate) struct Loss {
    pct: f64,
    rng: Rng,
}

impl Loss {
    /// Loses `pct` of a hundred packets.
    pub(crate) fn new(pct: f64, rng: Rng) -> Self {
        Self { pct, rng }
    }

    fn hits(&mut self) -> bool {
        self.pct > 0.0 && hits(self.rng.u64(), self.pct)
    }
}

/// Binds a wildcard socket to the loopback interface; false where that is not possible.
pub(crate) fn only_loopback(socket: socket2::SockRef<'_>) -> bool {
    #[cfg(target_os = "linux")]
    return socket.bind_device(Some(b"lo")).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        _ = socket;
        false
    }
}

/// 1,024 datagrams, about two milliseconds, before streams get their turn.
const BATCHES_PER_TURN: usize = 16;
/// Where each node needs a socket, the crawler needs some descriptors too.
const EACH_MAX: u32 = 2_000;
/// Each node is asked seldom.
const EACH_BUFFER_BYTES: usize = 64 * 1024;
