//! The part of the turn that deals with UDP: binding, receiving, sending.

use std::io;
use std::net::SocketAddr;

use super::*;
use crate::engine::io::BindFault;
use crate::reactor::sys::udp::Undelivered;

impl<E: Drive, A: Archive, O: Observer<E>, N: Net> Reactor<E, A, O, N> {
    pub(super) fn receive_datagrams(&mut self) {
        for index in 0..self.sockets.len() {
            self.busy |= (0..BATCHES_PER_TURN).all(|_| self.receive_batch(index));
        }
    }

    /// One batch of one socket; true if there may be another.
    fn receive_batch(&mut self, index: usize) -> bool {
        let socket = self.sockets.at(index);
        if !socket.readable || !self.engine.reads(socket.id) {
            return false;
        }
        if std::mem::take(&mut socket.came_back) {
            self.take_undelivered(index);
        }
        let socket = self.sockets.at(index);
        let batch = match self.net.udp_recv(&mut socket.udp) {
            Ok(batch) => batch,
            Err(error) if is_of_earlier(&error) => {
                socket.came_back = true;
                return true;
            }
            Err(error) => {
                // What waits is told of only once: after a lack of memory it is asked for again.
                let blocked = error.kind() == io::ErrorKind::WouldBlock;
                socket.readable = !blocked && !errors::is_broken_descriptor(&error);
                if !blocked && !std::mem::replace(&mut socket.failing, true) {
                    log::warn!("receiving failed: {error}");
                }
                return false;
            }
        };
        (socket.readable, socket.failing) = (!batch.emptied, false);
        for message in 0..batch.count {
            let (received, reply) = self.net.udp_message(&mut socket.udp, message);
            if received.truncated {
                self.gauges.datagrams_too_long += 1;
                continue;
            }
            self.gauges.datagrams_in += 1;
            self.gauges.datagram_bytes += received.data.len() as u64;
            let (remote, local) = (received.remote, received.local);
            let path = Path { socket: socket.id, local, remote };
            let input = Input::Datagram(path, received.data);
            let len = self.engine.handle(self.now, self.unix, input, reply);
            if len == 0 {
                continue;
            }
            self.gauges.datagram_bytes += len as u64;
            if !self.net.udp_commit(&mut socket.udp, remote, local, len) {
                self.gauges.datagrams_no_room += 1;
            }
            socket.dirty = true;
            // Room for the next reply must be there before the engine writes it.
            if self.net.udp_is_full(&socket.udp) && !socket.blocked {
                flush(&mut self.net, socket, &mut self.gauges);
            }
        }
        socket.readable
    }

    /// What came back of a socket's datagrams.
    fn take_undelivered(&mut self, index: usize) {
        for _ in 0..UNDELIVERED_PER_TURN {
            let socket = self.sockets.at(index);
            let buffer = &mut self.scratch;
            let Some(undelivered) = self.net.udp_take_undelivered(&socket.udp, buffer) else { return };
            let Undelivered { remote, len, refused } = undelivered;
            let path = Path { socket: socket.id, local: None, remote };
            let reason = if refused { Reason::Refused } else { Reason::Unreachable };
            let data = &self.scratch[..len.min(self.scratch.len())];
            self.engine.handle(self.now, self.unix, Input::Undelivered(path, data, reason), &mut []);
        }
        self.sockets.at(index).came_back = true;
    }

    pub(super) fn send_datagram(&mut self, path: Path, len: usize) {
        let Some(socket) = self.sockets.get_mut(path.socket) else {
            self.gauges.datagrams_no_socket += 1;
            return;
        };
        let data = &self.scratch[..len.min(DATAGRAM_MAX)];
        self.gauges.datagram_bytes += data.len() as u64;
        if self.net.udp_is_full(&socket.udp) && !socket.blocked {
            flush(&mut self.net, socket, &mut self.gauges);
        }
        if !self.net.udp_push(&mut socket.udp, path.remote, path.local, data) {
            self.gauges.datagrams_no_room += 1;
        }
        socket.dirty = true;
    }

    pub(super) fn flush_sockets(&mut self) {
        for socket in self.sockets.iter_mut() {
            if socket.dirty && !socket.blocked {
                flush(&mut self.net, socket, &mut self.gauges);
            }
        }
    }

    pub(super) fn bind(&mut self, id: SocketId, addr: SocketAddr) {
        let bound = if self.sockets.contains(id) {
            Err(BindFault::InUse)
        } else if self.sockets.len() >= SOCKETS_MAX {
            Err(BindFault::NoResources)
        } else {
            match self.net.udp_bind(id, addr) {
                Ok((udp, at)) => {
                    self.net.udp_keep_undelivered(&udp);
                    self.sockets.insert(id, udp);
                    Ok(at)
                }
                Err(error) => Err(errors::bind_fault_of(&error)),
            }
        };
        self.input(Input::Bound(id, bound));
    }

    /// It is closed at once, so that its port is free. No batch of its lies about: each is handed in
    /// as it is received.
    pub(super) fn unbind(&mut self, id: SocketId) {
        let Some(mut socket) = self.sockets.remove(id) else { return };
        if socket.dirty && !socket.blocked {
            flush(&mut self.net, &mut socket, &mut self.gauges);
        }
        self.lost_before += self.net.udp_lost(&socket.udp);
        self.net.udp_close(socket.udp);
    }
}

fn flush<N: Net>(net: &mut N, socket: &mut Socket<N::Udp>, gauges: &mut Gauges) {
    match net.udp_flush(&mut socket.udp) {
        Ok(report) => {
            gauges.datagrams_out += report.sent as u64;
            gauges.datagrams_refused += report.dropped as u64;
            socket.blocked = report.waiting > 0;
            socket.dirty = socket.blocked;
            if report.came_back {
                // It is told when the socket is read.
                (socket.came_back, socket.readable) = (true, true);
            }
        }
        Err(error) => {
            log::warn!("sending failed: {error}");
            socket.dirty = false;
        }
    }
}

/// An error of receiving that is about datagrams that left before.
fn is_of_earlier(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// A few microseconds each.
const UNDELIVERED_PER_TURN: usize = 64;
/// 16 batches of 64 datagrams: about 5 ms of work, after which the streams have their turn.
pub(super) const BATCHES_PER_TURN: usize = 16;
/// The listen sockets and more than one resolver asks from; a few files of the thousand that a
/// process may have at the least.
const SOCKETS_MAX: usize = 512;
