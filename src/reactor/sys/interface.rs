//! Sockets that use one network interface only.

use std::io;

use socket2::{Domain, Protocol, Socket, Type};

/// Ties `socket` to the interface of this name (SO_BINDTODEVICE, Linux). Before Linux 5.7 that
/// needs CAP_NET_RAW. `Unsupported` on other systems.
pub fn bind(socket: &Socket, name: &str) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return socket.bind_device(Some(name.as_bytes()));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, name);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Tries [`bind`] on a socket that is thrown away.
pub fn check(name: &str) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)))?;
    bind(&socket, name)
}

/// The number by which the system knows an interface of this name, or that is written as one; `None`
/// if there is none.
pub fn index(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number).filter(|number| *number > 0);
    }
    #[cfg(unix)]
    {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: `name` ends with a NUL byte and lives through the call.
        let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
        Some(number).filter(|number| *number > 0)
    }
    #[cfg(not(unix))]
    None
}

/// The system knows no interface of this name (ENODEV).
pub fn is_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL));
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::NotFound;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_numbers() {
        assert_eq!(
            (index("lo"), index("7"), index("0"), index("no-such-if0")),
            (Some(1), Some(7), None, None)
        );
    }

    #[test]
    fn a_name_that_no_interface_has_is_missing() {
        let error = check("no-such-if0").unwrap_err();
        assert!(is_missing(&error) || error.kind() == io::ErrorKind::PermissionDenied, "{error}");
    }
}
