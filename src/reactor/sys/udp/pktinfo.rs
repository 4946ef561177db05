//! The local address of a datagram in a control message: `IP_PKTINFO` (Linux, Android, Apple) and
//! RFC 3542 `IPV6_PKTINFO` (every Unix); and with it one datagram for one system call.

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ptr;

use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockAddr, SockRef, Socket};

/// How many bytes of a datagram fit into `buffer`, who sent it, and the address it was sent to if
/// the system tells.
pub(super) fn recv(
    socket: SockRef<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    // Its length has room for either family, and the kernel writes its own family into it.
    let mut name = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let mut control = Control::EMPTY;
    let mut buffers = [MaybeUninitSlice::new(to_be_filled(buffer))];
    let mut header = MsgHdrMut::new()
        .with_addr(&mut name)
        .with_buffers(&mut buffers)
        .with_control(to_be_filled(&mut control.0));
    let len = socket.recvmsg(&mut header, libc::MSG_DONTWAIT)?;
    let filled = header.control_len();
    let nobody = SocketAddr::from(([0; 4], 0));
    Ok((len, name.as_socket().unwrap_or(nobody), control.local(filled)))
}

/// Sends `data` to `remote`, from `local`.
pub(super) fn send(socket: SockRef<'_>, data: &[u8], remote: SocketAddr, local: IpAddr) -> io::Result<()> {
    let mut control = Control::EMPTY;
    let len = control.write_local(local);
    let (name, buffers) = (SockAddr::from(remote), [IoSlice::new(data)]);
    let header = MsgHdr::new().with_addr(&name).with_buffers(&buffers).with_control(&control.0[..len]);
    socket.sendmsg(&header, libc::MSG_DONTWAIT).map(|_| ())
}

/// Has the system tell the local address of each datagram, where it can.
pub(super) fn enable(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 {
        return super::super::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    }
    v4::enable(socket)
}

/// Room for the control message of either family, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

impl Control {
    /// Nothing but zeroes.
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// The local address in the first `filled` bytes, which a system call has written.
    pub(super) fn local(&self, filled: usize) -> Option<IpAddr> {
        local_of(&self.0[..filled.min(CONTROL_BYTES)])
    }

    /// Writes the message that sends from `local`; its length, 0 where the system knows none.
    pub(super) fn write_local(&mut self, local: IpAddr) -> usize {
        match local {
            IpAddr::V4(ip) => v4::write(self, ip),
            IpAddr::V6(ip) => {
                let address = libc::in6_addr { s6_addr: ip.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
                self.write(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }

    fn write<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, info: T) -> usize {
        const { assert!(DATA_AT + size_of::<T>() <= CONTROL_BYTES) };
        // SAFETY: a plain structure of numbers.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = (DATA_AT + size_of::<T>()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let start = self.0.as_mut_ptr();
        // SAFETY: both writes lie within the array, as the assertion above shows.
        unsafe {
            start.cast::<libc::cmsghdr>().write_unaligned(header);
            start.add(DATA_AT).cast::<T>().write_unaligned(info);
        }
        DATA_AT + size_of::<T>().next_multiple_of(WORD)
    }
}

/// The same bytes with a weaker promise, as system calls take them.
pub(super) fn to_be_filled(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layout is the same, and a system call writes nothing uninitialised.
    unsafe { &mut *(ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}

/// The local address among received control messages.
fn local_of(mut control: &[u8]) -> Option<IpAddr> {
    while control.len() >= DATA_AT {
        // SAFETY: so many bytes are there, and every bit pattern is a `cmsghdr`.
        let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        let stated: usize = header.cmsg_len as _;
        let len = stated.clamp(DATA_AT, control.len());
        let data = &control[DATA_AT..len];
        if (header.cmsg_level, header.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
            let octets: [u8; 16] = data.get(..16)?.try_into().ok()?;
            return Some(octets.into());
        }
        if let Some(ip) = v4::read(&header, data) {
            return Some(ip.into());
        }
        control = control.get(len.next_multiple_of(WORD)..)?;
    }
    None
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod v4 {
    use std::io;
    use std::mem::offset_of;
    use std::net::Ipv4Addr;

    use socket2::Socket;

    use super::Control;

    pub(super) fn enable(socket: &Socket) -> io::Result<()> {
        super::super::super::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }

    pub(super) fn write(control: &mut Control, ip: Ipv4Addr) -> usize {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        control.write(libc::IPPROTO_IP, libc::IP_PKTINFO, info)
    }

    pub(super) fn read(header: &libc::cmsghdr, data: &[u8]) -> Option<Ipv4Addr> {
        if (header.cmsg_level, header.cmsg_type) != (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            return None;
        }
        // Linux says here which of its addresses it is, for broadcasts too; Apple leaves it empty.
        let at = if cfg!(target_vendor = "apple") {
            offset_of!(libc::in_pktinfo, ipi_addr)
        } else {
            offset_of!(libc::in_pktinfo, ipi_spec_dst)
        };
        let octets: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    }
}

/// Where IPv4 knows no such option the system chooses the address that a reply leaves from.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod v4 {
    use std::io;
    use std::net::Ipv4Addr;

    use socket2::Socket;

    pub(super) fn enable(_: &Socket) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn write(_: &mut super::Control, _: Ipv4Addr) -> usize {
        0
    }

    pub(super) fn read(_: &libc::cmsghdr, _: &[u8]) -> Option<Ipv4Addr> {
        None
    }
}

/// What control messages are padded to: Apple's `__DARWIN_ALIGN32`, elsewhere a whole word.
const WORD: usize = if cfg!(target_vendor = "apple") { 4 } else { size_of::<usize>() };
/// Where the data of a control message begins.
const DATA_AT: usize = size_of::<libc::cmsghdr>().next_multiple_of(WORD);
/// The longer message, `in6_pktinfo`, is 16 + 20 bytes, in whole words 40; with slack.
const CONTROL_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel would hand back: the first message is of a kind that is not looked for.
    #[test]
    fn a_local_address_is_found_behind_other_messages_and_never_past_the_end() {
        for ip in ["127.3.2.1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let (mut own, mut other) = (Control::EMPTY, Control::EMPTY);
            let len = own.write_local(ip);
            assert_eq!((own.local(len), own.local(0)), (Some(ip), None));
            let other_len = other.write(libc::SOL_SOCKET, 99, 7_u32);
            let both = [&other.0[..other_len], &own.0[..len]].concat();
            assert_eq!(local_of(&both), Some(ip));
            for cut in 0..other_len + DATA_AT {
                assert_eq!(local_of(&both[..cut]), None);
            }
        }
    }
}
