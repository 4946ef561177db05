//! One datagram for one system call, for every system that std knows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::UdpSocket;

use super::{DATAGRAM_MAX, Received};

/// Room for one datagram, and a byte more that tells a longer one apart.
pub(super) struct Recv {
    buffer: Box<[u8]>,
    len: usize,
    remote: SocketAddr,
    local: Option<IpAddr>,
}

impl Recv {
    pub(super) fn new() -> Self {
        let buffer = vec![0; DATAGRAM_MAX + 1].into_boxed_slice();
        Self { buffer, len: 0, remote: (Ipv4Addr::UNSPECIFIED, 0).into(), local: None }
    }

    pub(super) fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        match recv(socket, &mut self.buffer) {
            Ok((len, remote, local)) => {
                (self.len, self.remote, self.local) = (len, remote, local);
                Ok(1)
            }
            Err(error) if is_too_long(&error) => {
                self.len = self.buffer.len();
                Ok(1)
            }
            Err(error) if is_of_one_datagram(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(super) fn message(&self) -> Received<'_> {
        let data = &self.buffer[..self.len.min(DATAGRAM_MAX)];
        Received { data, remote: self.remote, local: self.local, truncated: self.len > DATAGRAM_MAX }
    }
}

/// Sends `data` to `remote`; from `local`, if that is given and the system lets us choose.
pub(super) fn send(
    socket: &UdpSocket,
    data: &[u8],
    remote: SocketAddr,
    local: Option<IpAddr>,
) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(local) = local {
        return socket.try_io(|| super::pktinfo::send(socket.into(), data, remote, local));
    }
    let _ = local;
    socket.send_to(data, remote).map(|_| ())
}

#[cfg(unix)]
fn recv(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    socket.try_io(|| super::pktinfo::recv(socket.into(), buffer))
}

#[cfg(not(unix))]
fn recv(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    socket.recv_from(buffer).map(|(len, remote)| (len, remote, None))
}

/// Windows fails (WSAEMSGSIZE) where others cut the datagram.
fn is_too_long(error: &io::Error) -> bool {
    cfg!(windows) && error.raw_os_error() == Some(10_040)
}

/// Errors that report an earlier datagram's fate or a signal, and say nothing about the socket. On Linux
/// the first come only to sockets that were asked for them ([`super::keep_undelivered`]), and are passed
/// on.
fn is_of_one_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    if cfg!(target_os = "linux") {
        return error.kind() == Interrupted;
    }
    matches!(
        error.kind(),
        Interrupted | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}
