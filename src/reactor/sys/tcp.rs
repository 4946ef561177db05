//! TCP streams that are opened without waiting.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// Begins to connect to `to`, from the address `from` if that is given (with any free port, which
/// is chosen only then, so that ports are shared between destinations). The stream is open once
/// it is writable. Small writes leave at once (TCP_NODELAY).
pub fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    connect_on(None, from, to)
}

/// [`connect`], over the network interface of this name only.
pub fn connect_on(interface: Option<&str>, from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(Domain::for_address(to))?;
    interface.map_or(Ok(()), |name| super::interface::bind(&socket, name))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        #[cfg(all(target_os = "linux", not(portable)))]
        super::set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        socket.bind(&SocketAddr::new(from, 0).into()).map_err(not_ours)?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Listens for streams on `addr`, over the network interface of this name only; on an IPv6 address
/// for IPv6 only. Port 0: the system's choice.
pub fn listen_on(interface: Option<&str>, addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(Domain::for_address(addr))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Elsewhere than on Unix it would let others take the port from us. There it lets a new start
    // not wait for what the last one left behind (TIME-WAIT).
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    interface.map_or(Ok(()), |name| super::interface::bind(&socket, name))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A non-blocking socket, in one system call where that is possible.
fn open(domain: Domain) -> io::Result<Socket> {
    #[cfg(all(target_os = "linux", not(portable)))]
    return Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
    #[cfg(not(all(target_os = "linux", not(portable))))]
    {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

/// A source address that is not ours is no lack of ports, though both have one error number.
fn not_ours(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => io::ErrorKind::NetworkUnreachable.into(),
        _ => error,
    }
}

/// Streams that wait to be accepted: a second's worth at eight a turn, where the system has room.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::TcpListener;

    #[test]
    fn the_source_address_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let from = "127.9.8.7".parse().unwrap();
        let stream = connect(Some(from), listener.local_addr().unwrap()).unwrap();
        let (_, remote) = listener.accept().unwrap();
        assert_eq!(remote.ip(), from);
        assert_eq!(stream.local_addr().unwrap(), remote);
    }

    #[test]
    fn a_source_that_is_not_ours_is_unreachable() {
        // TEST-NET-1 is no machine's address; bind fails before anything is sent.
        let error = connect(Some("192.0.2.1".parse().unwrap()), "127.0.0.1:9".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    }
}
