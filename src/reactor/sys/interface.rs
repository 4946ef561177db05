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
    fn a_name_that_no_interface_has_is_missing() {
        let error = check("no-such-if0").unwrap_err();
        assert!(is_missing(&error) || error.kind() == io::ErrorKind::PermissionDenied, "{error}");
    }
}
