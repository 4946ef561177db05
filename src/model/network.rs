//! What this machine has of a network: name, interfaces, addresses, ways out.

use std::net::IpAddr;

/// The network as this machine sees it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    /// The machine's name; `None` if the system does not tell.
    pub hostname: Option<String>,
    /// Every interface, in the system's order; `None` if the system does not tell.
    pub interfaces: Option<Vec<Interface>>,
    /// Ways to whatever has no way of its own, the preferred first; `None` if the system does not
    /// tell.
    pub default_routes: Option<Vec<DefaultRoute>>,
    /// The address from which a packet to the Internet would leave, by IPv4; `None`: there is no way.
    pub source_v4: Option<IpAddr>,
    /// The same by IPv6.
    pub source_v6: Option<IpAddr>,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It is switched on and has a carrier.
    pub up: bool,
    /// It leads to this machine only.
    pub loopback: bool,
    /// Its addresses, in the system's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: IpAddr,
    /// How many leading bits it shares with its network.
    pub prefix_bits: u8,
}

/// A way to everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// By which interface.
    pub interface: String,
    /// Over whom; `None`: everybody is on the link itself.
    pub gateway: Option<IpAddr>,
    /// True for IPv6.
    pub v6: bool,
    /// The smallest is preferred.
    pub metric: u32,
}

impl NetworkInfo {
    /// IPv4 addresses by which others may reach this machine, the one that is used first.
    pub fn ipv4(&self) -> Vec<IpAddr> {
        self.addresses(self.source_v4, |ip| ip.is_ipv4())
    }

    /// IPv6 addresses by which others may reach this machine, the one that is used first.
    pub fn ipv6(&self) -> Vec<IpAddr> {
        self.addresses(self.source_v6, |ip| ip.is_ipv6())
    }

    /// Nobody but this machine itself can be reached: no interface that is up has another address.
    pub fn is_loopback_only(&self) -> bool {
        self.ipv4().is_empty() && self.ipv6().is_empty() && self.source_v4.or(self.source_v6).is_none()
    }

    /// Of interfaces that are up. Loopback and link-local ones (which mean nothing without the name
    /// of an interface) are left out.
    fn addresses(&self, first: Option<IpAddr>, of_family: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
        let up = self.interfaces.iter().flatten().filter(|interface| interface.up);
        let all = up.flat_map(|interface| interface.addresses.iter().map(|address| address.ip));
        let mut found: Vec<IpAddr> = Vec::new();
        for ip in first.into_iter().chain(all).filter(|ip| of_family(ip) && is_of_use(*ip)) {
            if !found.contains(&ip) {
                found.push(ip);
            }
        }
        found
    }
}

fn is_of_use(ip: IpAddr) -> bool {
    !ip.is_loopback()
        && !ip.is_unspecified()
        && match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, up: bool, addresses: &[&str]) -> Interface {
        let address = |text: &&str| InterfaceAddress { ip: text.parse().unwrap(), prefix_bits: 24 };
        let addresses: Vec<_> = addresses.iter().map(address).collect();
        let loopback = addresses.iter().any(|address| address.ip.is_loopback());
        Interface { name: name.to_owned(), up, loopback, addresses }
    }

    fn texts(ips: &[IpAddr]) -> Vec<String> {
        ips.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_address_that_is_used_comes_first_and_only_those_that_others_reach() {
        let info = NetworkInfo {
            interfaces: Some(vec![
                interface("lo", true, &["127.0.0.1", "::1"]),
                interface("a", true, &["192.168.1.5", "fe80::1", "2001:db8::5"]),
                interface("b", true, &["10.0.0.5", "169.254.3.4"]),
                interface("c", false, &["10.9.9.9"]),
            ]),
            source_v4: "10.0.0.5".parse().ok(),
            ..NetworkInfo::default()
        };
        assert_eq!(texts(&info.ipv4()), ["10.0.0.5", "192.168.1.5"]);
        assert_eq!(texts(&info.ipv6()), ["2001:db8::5"]);
        assert!(!info.is_loopback_only());
    }

    #[test]
    fn a_machine_with_nothing_but_itself_says_so() {
        let up = |up| NetworkInfo {
            interfaces: Some(vec![interface("lo", true, &["127.0.0.1"]), interface("a", up, &["10.0.0.1"])]),
            ..NetworkInfo::default()
        };
        assert!(up(false).is_loopback_only() && !up(true).is_loopback_only());
        assert!(NetworkInfo::default().is_loopback_only());
    }
}
