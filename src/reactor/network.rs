//! What this machine has of a network, asked of the system. Nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::sys::network;
use crate::model::NetworkInfo;

/// The network at this moment. Takes some system calls, so it is for another thread than the loop's.
pub fn network_info() -> NetworkInfo {
    NetworkInfo {
        hostname: network::hostname(),
        interfaces: network::interfaces(),
        default_routes: network::default_routes(),
        source_v4: source_for(SocketAddr::new(SOMEWHERE_V4, 53)),
        source_v6: source_for(SocketAddr::new(SOMEWHERE_V6, 53)),
    }
}

/// The local address from which a packet to `remote` would leave; `None` if the system knows no way.
/// Connecting a UDP socket sends nothing; it only asks for the route.
pub fn source_for(remote: SocketAddr) -> Option<IpAddr> {
    let wildcard: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(wildcard, 0)).ok()?;
    socket.connect(remote).ok()?;
    let own = socket.local_addr().ok()?.ip();
    Some(own).filter(|own| !own.is_unspecified())
}

/// Two addresses far away, which are only looked up in the routing table. Those for documentation
/// would not do: some networks have routes of their own for them.
const SOMEWHERE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
const SOMEWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_left_from_loopback() {
        let to = "127.0.0.1:53".parse().unwrap();
        assert_eq!(source_for(to), Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[cfg(unix)]
    #[test]
    fn the_loopback_interface_is_found() {
        let info = network_info();
        let interfaces = info.interfaces.unwrap();
        let lo = interfaces.iter().find(|interface| interface.loopback).unwrap();
        let addresses: Vec<_> = lo.addresses.iter().map(|at| (at.ip.to_string(), at.prefix_bits)).collect();
        assert!(lo.up && addresses.contains(&("127.0.0.1".to_owned(), 8)), "{addresses:?}");
        assert!(info.hostname.is_some_and(|name| !name.is_empty()));
    }
}
