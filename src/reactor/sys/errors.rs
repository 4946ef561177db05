//! What an error of the system means to us, where its portable kind does not tell.

use std::io;

use crate::engine::io::{BindFault, Reason};

/// Why a stream ended, by the error that ended it.
pub fn reason_of(error: &io::Error) -> Reason {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable, PermissionDenied,
        TimedOut, Unsupported,
    };
    match error.kind() {
        ConnectionRefused => Reason::Refused,
        HostUnreachable | NetworkUnreachable | NetworkDown | PermissionDenied | TimedOut => {
            Reason::Unreachable
        }
        InvalidInput | Unsupported => Reason::Unreachable,
        _ if is_exhaustion(error) => Reason::NoResources,
        _ if is_family_missing(error) => Reason::Unreachable,
        _ => Reason::Reset,
    }
}

/// Why a socket could not be opened and bound.
pub fn bind_fault_of(error: &io::Error) -> BindFault {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindFault::InUse,
        io::ErrorKind::PermissionDenied => BindFault::NotPermitted,
        _ if is_family_missing(error) => BindFault::NotAvailable,
        _ if is_exhaustion(error) => BindFault::NoResources,
        _ => BindFault::NotAvailable,
    }
}

/// True if the descriptor itself is unusable, so that trying again makes no sense.
pub fn is_broken_descriptor(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT));
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::NotConnected;
}

/// True if this machine, not the other end, had nothing left: descriptors, ports, memory.
pub fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EAGAIN) = error.raw_os_error() {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::AddrNotAvailable)
}

/// True if the host has no such address family (IPv6 switched off, say).
pub fn is_family_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) = error.raw_os_error() {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn reason(errno: i32) -> Reason {
        reason_of(&io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn what_ran_out_here_is_told_from_what_failed_there() {
        for errno in
            [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL, libc::EAGAIN]
        {
            assert_eq!(reason(errno), Reason::NoResources, "{errno}");
        }
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::ENETDOWN, libc::EACCES, libc::EPERM] {
            assert_eq!(reason(errno), Reason::Unreachable, "{errno}");
        }
        for errno in [libc::ETIMEDOUT, libc::EINVAL, libc::EAFNOSUPPORT] {
            assert_eq!(reason(errno), Reason::Unreachable, "{errno}");
        }
        assert_eq!(reason(libc::ECONNREFUSED), Reason::Refused);
        for errno in [libc::ECONNRESET, libc::EPIPE, libc::EPROTO] {
            assert_eq!(reason(errno), Reason::Reset, "{errno}");
        }
    }
}
