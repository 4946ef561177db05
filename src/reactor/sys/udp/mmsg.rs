//! `recvmmsg` and `sendmmsg` (Linux), with the local address in `IP_PKTINFO`.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use mio::net::UdpSocket;
use socket2::Socket;

use super::super::set_option;
use super::pktinfo::Control;
use super::{BATCH_MAX, DATAGRAM_MAX, Outgoing, Received};

/// Buffers for a batch, and what is known of the datagrams in them.
pub(super) struct Recv {
    buffers: Box<[u8]>,
    /// For the kernel to write into; kept so that they are not cleared for each call.
    names: Vec<libc::sockaddr_in6>,
    controls: Vec<Control>,
    arrived: Vec<Arrived>,
}

#[derive(Clone, Copy)]
struct Arrived {
    remote: SocketAddr,
    local: Option<IpAddr>,
    len: usize,
    truncated: bool,
}

impl Recv {
    pub(super) fn new(batch: usize) -> Self {
        let buffers = vec![0; batch * DATAGRAM_MAX].into_boxed_slice();
        let (names, controls) = (vec![EMPTY_NAME; batch], vec![Control::EMPTY; batch]);
        Self { buffers, names, controls, arrived: Vec::with_capacity(batch) }
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffers.len() / DATAGRAM_MAX
    }

    pub(super) fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.arrived.clear();
        let mut iovecs = [const { MaybeUninit::uninit() }; BATCH_MAX];
        let mut headers = [const { MaybeUninit::uninit() }; BATCH_MAX];
        let (buffers, places) =
            (self.buffers.chunks_exact_mut(DATAGRAM_MAX), self.names.iter_mut().zip(&mut self.controls));
        for ((buffer, (name, control)), (iovec, header)) in
            buffers.zip(places).zip(iovecs.iter_mut().zip(&mut headers))
        {
            let iov_base = buffer.as_mut_ptr().cast();
            let iovec = iovec.write(libc::iovec { iov_base, iov_len: DATAGRAM_MAX });
            let header = &mut header.write(EMPTY_HEADER).msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: as many were written just now as there are buffers, names and controls.
        let headers = unsafe { written(&mut headers[..self.names.len()]) };
        let arrived = match socket.try_io(|| recvmmsg(socket, headers)) {
            Ok(arrived) => arrived,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        };
        for ((header, name), control) in headers[..arrived].iter().zip(&self.names).zip(&self.controls) {
            self.arrived.push(Arrived {
                remote: address_of(name, header.msg_hdr.msg_namelen),
                local: control.local(header.msg_hdr.msg_controllen as _),
                len: (header.msg_len as usize).min(DATAGRAM_MAX),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(arrived)
    }

    pub(super) fn message(&self, index: usize) -> Received<'_> {
        let Arrived { remote, local, len, truncated } = self.arrived[index];
        let data = &self.buffers[index * DATAGRAM_MAX..][..len];
        Received { data, remote, local, truncated }
    }
}

/// Sends the datagrams of `outgoing`, each from its [`DATAGRAM_MAX`] bytes of `buffers`: how many
/// of them, from the front. An error is about the first.
pub(super) fn send(socket: &UdpSocket, outgoing: &[Outgoing], buffers: &[u8]) -> io::Result<usize> {
    let mut places =
        [const { MaybeUninit::<(libc::sockaddr_in6, libc::iovec, Control)>::uninit() }; BATCH_MAX];
    let mut headers = [const { MaybeUninit::uninit() }; BATCH_MAX];
    let count = outgoing.len().min(BATCH_MAX).min(buffers.len() / DATAGRAM_MAX);
    for ((out, buffer), (place, header)) in
        outgoing.iter().zip(buffers.chunks_exact(DATAGRAM_MAX)).zip(places.iter_mut().zip(&mut headers))
    {
        let data = &buffer[..out.len];
        // The kernel only reads what a sending iovec points to; the type has no const form.
        let iovec = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let (name, iovec, control) = place.write((EMPTY_NAME, iovec, Control::EMPTY));
        let header = &mut header.write(EMPTY_HEADER).msg_hdr;
        header.msg_name = ptr::from_mut(name).cast();
        header.msg_namelen = write_name(name, out.remote);
        header.msg_iov = iovec;
        header.msg_iovlen = 1;
        if let Some(local) = out.local {
            header.msg_controllen = control.write_local(local) as _;
            header.msg_control = ptr::from_mut(control).cast();
        }
    }
    // SAFETY: so many were written just now.
    let headers = unsafe { written(&mut headers[..count]) };
    socket.try_io(|| sendmmsg(socket, headers))
}

/// Sizes both buffers past the system's limit; false without the right to.
pub(super) fn force_buffers(socket: &Socket, bytes: usize) -> bool {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_ok()
        && set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_ok()
}

/// Never has the system cut a datagram to pieces: none of ours is longer than BEP 32's 1,024 bytes.
/// Without, Linux draws an identification for each that leaves over IPv4, in case a router should
/// cut it, and that is a twentieth of what an answer costs. Who forges ICMP does not shrink the
/// path for us either, which is why it is `PROBE` and not `DO`.
pub(super) fn send_whole(socket: &Socket) {
    // Refused, it costs speed only.
    let _ = set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
}

/// Headers that were written.
///
/// # Safety
///
/// All of `headers` were.
unsafe fn written(headers: &mut [MaybeUninit<libc::mmsghdr>]) -> &mut [libc::mmsghdr] {
    // SAFETY: by the contract; the memory of the two types is laid out alike.
    unsafe { &mut *(ptr::from_mut(headers) as *mut [libc::mmsghdr]) }
}

fn recvmmsg(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: every header points to a name, a control buffer and one iovec that the caller holds
    // alive and sized as it says; `headers` is valid for its length, and a null time-out is allowed.
    let result = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn sendmmsg(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: as in `recvmmsg`; the kernel writes nothing but `msg_len` of each header.
    let result = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The address in `name`. What is not an internet address becomes 0.0.0.0:0, which nobody answers.
fn address_of(name: &libc::sockaddr_in6, len: libc::socklen_t) -> SocketAddr {
    let family = libc::c_int::from(name.sin6_family);
    if family == libc::AF_INET6 && len as usize >= size_of::<libc::sockaddr_in6>() {
        let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
        let port = u16::from_be(name.sin6_port);
        return SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into();
    }
    if family == libc::AF_INET && len as usize >= size_of::<libc::sockaddr_in>() {
        // SAFETY: a `sockaddr_in6` is longer than a `sockaddr_in` and at least as aligned, both are
        // plain numbers, and the kernel says that it wrote the latter.
        let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
        return SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into();
    }
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into()
}

/// Writes `remote` as the kernel reads it; its length there.
fn write_name(name: &mut libc::sockaddr_in6, remote: SocketAddr) -> libc::socklen_t {
    match remote {
        SocketAddr::V4(remote) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: remote.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(remote.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: as in `address_of`, the longer type has room for the shorter one.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in>().write(v4) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(remote) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = remote.port().to_be();
            name.sin6_flowinfo = 0;
            name.sin6_addr = libc::in6_addr { s6_addr: remote.ip().octets() };
            name.sin6_scope_id = remote.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

// SAFETY: null pointers and zero lengths are what an unused header holds.
const EMPTY_HEADER: libc::mmsghdr = unsafe { zeroed() };
// SAFETY: a plain structure of numbers.
const EMPTY_NAME: libc::sockaddr_in6 = unsafe { zeroed() };
