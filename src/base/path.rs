//! Where a datagram came from or goes to, and which addresses a socket may talk to at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One UDP socket of the engine: first those of its listen addresses, in their order, then those
/// that it has opened itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

/// One way through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The socket that it leaves from or arrived at.
    pub socket: SocketId,
    /// The local address, where the driver knows it.
    pub local: Option<IpAddr>,
    /// The other end.
    pub remote: SocketAddr,
}

/// The kind of address, as far as it decides who may contact whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reachable from anywhere.
    Global,
    /// This machine only (127/8, ::1).
    Loopback,
    /// Private, shared or unique local: 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7.
    Private,
    /// Never a peer: unspecified, multicast, broadcast, link-local, reserved.
    Unusable,
}

impl Scope {
    /// The scope of an address (RFC 6890, RFC 6598, RFC 4193).
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(_) => Self::Unusable,
                None => Self::of_v6(ip),
            },
        }
    }

    /// May a socket listening on `listen` contact `remote`? A wildcard or global address
    /// contacts global ones only; an explicit loopback or private one also its own kind.
    pub fn may_contact(listen: IpAddr, remote: SocketAddr) -> bool {
        if remote.port() == 0 || listen.is_ipv4() != remote.is_ipv4() {
            return false;
        }
        match Self::of(remote.ip()) {
            Self::Global => Self::of(listen) != Self::Loopback,
            Self::Unusable => false,
            kind => kind == Self::of(listen),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] => Self::Private,
            [172, b, ..] if b & 0xf0 == 16 => Self::Private,
            [100, b, ..] if b & 0xc0 == 64 => Self::Private,
            [0, ..] | [169, 254, ..] | [224..=255, ..] => Self::Unusable,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let [first, b, c, ..] = ip.segments();
        if ip.is_loopback() {
            Self::Loopback
        } else if first & 0xfe00 == 0xfc00 {
            Self::Private
        } else if first & 0xe000 != 0x2000 {
            // All that is global was given out of 2000::/3. This leaves out 64:ff9b::/96, by which a
            // private IPv4 address behind a translator could be named.
            Self::Unusable
        } else if first == 0x2002
            && Self::of_v4(Ipv4Addr::from(u32::from(b) << 16 | u32::from(c))) != Self::Global
        {
            // 6to4 (RFC 3056) leads to the IPv4 address within.
            Self::Unusable
        } else {
            Self::Global
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(listen: &str, remote: &str) -> bool {
        Scope::may_contact(listen.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn a_wildcard_contacts_global_addresses_only() {
        assert!(may("0.0.0.0", "8.8.8.8:1"));
        assert!(may("::", "[2001:db9::1]:1"));
        for target in ["127.0.0.1:1", "10.0.0.1:1", "172.31.0.1:1", "192.168.1.1:1", "100.64.0.1:1"] {
            assert!(!may("0.0.0.0", target), "{target}");
        }
        for target in ["169.254.1.1:1", "224.0.0.1:1", "255.255.255.255:1", "0.1.2.3:1", "8.8.8.8:0"] {
            assert!(!may("0.0.0.0", target), "{target}");
        }
        for target in ["[::1]:1", "[fd00::1]:1", "[fe80::1]:1", "[ff02::1]:1", "[::ffff:8.8.8.8]:1"] {
            assert!(!may("::", target), "{target}");
        }
        for target in
            ["[::]:1", "[::127.0.0.1]:1", "[64:ff9b::a00:1]:1", "[2002:7f00:1::]:1", "[2002:a00:1::1]:1"]
        {
            assert!(!may("::", target), "{target}");
        }
        assert!(may("::", "[2002:808:808::1]:1"));
    }

    #[test]
    fn an_explicit_local_address_contacts_its_own_kind() {
        assert!(may("127.0.0.1", "127.16.0.9:6881"));
        assert!(!may("127.0.0.1", "10.0.0.1:1"));
        assert!(!may("127.0.0.1", "8.8.8.8:1"));
        assert!(may("10.0.0.1", "10.0.0.2:1"));
        assert!(may("10.0.0.1", "8.8.8.8:1"));
        assert!(may("fd00:1::1", "[fd00:1::2]:1"));
        assert!(!may("fd00:1::1", "127.0.0.1:1"));
    }
}
