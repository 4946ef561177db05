//! One datagram for one system call, for every system that std knows.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::UdpSocket;

use super::{DATAGRAM_MAX, Received};

/// Room for one datagram, and a byte more that tells a longer one apart.
pub(super) struct Recv {
    buffer: Box<[u8]>,
    len: usize,
    remote: SocketAddr,
}

impl Recv {
    pub(super) fn new() -> Self {
        let buffer = vec![0; DATAGRAM_MAX + 1].into_boxed_slice();
        Self { buffer, len: 0, remote: (Ipv4Addr::UNSPECIFIED, 0).into() }
    }

    pub(super) fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        match socket.recv_from(&mut self.buffer) {
            Ok((len, remote)) => {
                (self.len, self.remote) = (len, remote);
                Ok(1)
            }
            Err(error) if is_of_one_datagram(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(super) fn message(&self) -> Received<'_> {
        let data = &self.buffer[..self.len.min(DATAGRAM_MAX)];
        Received { data, remote: self.remote, local: None, truncated: self.len > DATAGRAM_MAX }
    }
}

/// Errors that report an earlier datagram's fate or a signal, and say nothing about the socket.
fn is_of_one_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        Interrupted | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}
