//! Datagrams that came back: what the network says of them (ICMP) lies in the socket's error queue, with
//! their beginnings (ip(7), `IP_RECVERR`; Linux).

use std::io;
use std::mem::size_of;
use std::net::{Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{MaybeUninitSlice, MsgHdrMut, SockAddr, SockRef};

use super::Undelivered;
use super::pktinfo::to_be_filled;

/// Has the system keep what comes back.
pub(super) fn enable(socket: &UdpSocket, v6: bool) -> io::Result<()> {
    if v6 {
        return super::super::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1);
    }
    super::super::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
}

/// The next that came back, its beginning in `buffer`. `WouldBlock`: there is none.
pub(super) fn take(socket: SockRef<'_>, buffer: &mut [u8]) -> io::Result<Undelivered> {
    let mut name = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let mut control = [0; CONTROL_BYTES];
    let mut buffers = [MaybeUninitSlice::new(to_be_filled(buffer))];
    let mut header = MsgHdrMut::new()
        .with_addr(&mut name)
        .with_buffers(&mut buffers)
        .with_control(to_be_filled(&mut control));
    let len = socket.recvmsg(&mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
    let filled = header.control_len();
    let errno = errno_of(control.get(..filled).unwrap_or_default());
    let remote = name.as_socket().unwrap_or_else(|| SocketAddr::from(([0; 4], 0)));
    Ok(Undelivered { remote, len, refused: errno == Some(libc::ECONNREFUSED) })
}

/// `ee_errno` of the `sock_extended_err` in a control message.
fn errno_of(control: &[u8]) -> Option<i32> {
    let at = |at: usize| Some(i32::from_ne_bytes(*control.get(at..)?.first_chunk()?));
    let level_at = size_of::<libc::size_t>();
    let kind = (at(level_at)?, at(level_at + 4)?);
    let is_error = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    is_error.contains(&kind).then(|| at(size_of::<libc::cmsghdr>())).flatten()
}

/// A header, the error and the address of whoever reported it (`SO_EE_OFFENDER`).
const CONTROL_BYTES: usize = 128;
