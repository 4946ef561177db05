//! Networks: addresses that begin with the same bits (RFC 4632, RFC 4291).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::path::Scope;

/// A network of either family. The bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
}

/// The text is no network: neither an address nor `ADDRESS/BITS` with so many bits as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNetwork;

/// What strangers are counted by: whoever has one address of a network usually has all of it.
///
/// Of global addresses it is the /24 (IPv4) or /48 (IPv6). On loopback and in private networks,
/// which BEP 42 exempts too, one machine or one house holds any number of honest nodes: there each
/// address and port stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetGroup {
    /// A global network: its leading bits.
    Network(u64),
    /// A single place that is not global.
    Place(SocketAddr),
}

impl NetGroup {
    /// The group of an address.
    pub fn of(addr: SocketAddr) -> Self {
        Self::of_ip(addr.ip()).unwrap_or(Self::Place(addr))
    }

    /// The network of a global address; `None` for others.
    pub fn of_ip(ip: IpAddr) -> Option<Self> {
        (Scope::of(ip) == Scope::Global).then(|| Self::Network(network_bits(ip)))
    }
}

/// The /24 or /48 of an address as a number; the two families never share one.
pub fn network_bits(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => (ip.to_bits() >> 80) as u64 | 1 << 63,
    }
}

impl Network {
    /// The network of so many bits that an address lies in; `None` if it does not have so many.
    pub fn of(ip: IpAddr, prefix: u8) -> Option<Self> {
        let ip = match ip {
            IpAddr::V4(ip) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
            _ => return None,
        };
        Some(Self { ip, prefix })
    }

    /// The /24 (IPv4) or /48 (IPv6) around an address: what one party is likely to hold as a whole.
    pub fn around(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let prefix = if ip.is_ipv4() { AROUND_V4 } else { AROUND_V6 };
        Self::of(ip, prefix).expect("both families have so many bits")
    }

    /// Whether an address lies in it. An IPv4-mapped IPv6 address counts as the IPv4 one.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Self::of(ip.to_canonical(), self.prefix) == Some(*self)
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| NoNetwork)?;
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => whole,
            Some(text) => Some(text).filter(digits).and_then(|text| text.parse().ok()).ok_or(NoNetwork)?,
        };
        Self::of(ip, prefix).ok_or(NoNetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// The longest IPv4 prefix that is routed between providers.
const AROUND_V4: u8 = 24;
/// The longest IPv6 prefix that is routed between providers.
const AROUND_V6: u8 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn an_address_lies_in_it_by_its_first_bits() {
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.1.2.3", "10.1.2.3") && !contains("10.1.2.3", "10.1.2.4"));
        assert!(contains("0.0.0.0/0", "255.255.255.255") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "2001:db8::1") && contains("fc00::/7", "fdff::1"));
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn strangers_of_one_global_network_are_one_group_and_those_of_a_house_are_not() {
        let of = |text: &str| NetGroup::of(text.parse().unwrap());
        assert_eq!(of("11.0.0.1:1"), of("11.0.0.255:9"));
        assert_ne!(of("11.0.0.1:1"), of("11.0.1.1:1"));
        assert_eq!(of("[2a01:1:2:3::4]:1"), of("[2a01:1:2:ffff::9]:2"));
        assert_ne!(of("[2a01:1:2:3::4]:1"), of("[2a01:1:3:3::4]:1"));
        for (a, b) in
            [("127.0.0.1:1", "127.0.0.1:2"), ("10.0.0.1:1", "10.0.0.2:1"), ("[fd00::1]:1", "[fd00::2]:1")]
        {
            assert_ne!(of(a), of(b));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "lan", "/8"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }

    quickcheck::quickcheck! {
        fn a_network_has_the_address_it_was_made_of(bits: u128, prefix: u8) -> bool {
            let (v4, v6) = (Ipv4Addr::from_bits(bits as u32), Ipv6Addr::from_bits(bits));
            let holds = |ip: IpAddr, prefix| Network::of(ip, prefix).unwrap().contains(ip);
            // A mapped one counts as the other family, for which the prefix is another.
            holds(v4.into(), prefix % 33) && (v6.to_ipv4_mapped().is_some() || holds(v6.into(), prefix % 129))
        }
    }

    #[test]
    fn the_network_around_an_address_is_what_one_party_is_likely_to_hold() {
        let around = |text: &str| Network::around(text.parse().unwrap()).to_string();
        assert_eq!(around("203.0.113.77"), "203.0.113.0/24");
        assert_eq!(around("2001:db8:1:2::9"), "2001:db8:1::/48");
        assert_eq!(around("::ffff:203.0.113.77"), "203.0.113.0/24", "IPv4 in another form");
    }
}
