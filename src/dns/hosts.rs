//! The hosts file (hosts(5)): addresses of names that nobody is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::base::text::without_bom;
use crate::base::{Rng, hash};
use crate::wire::dns::{Kind, Name};

/// Names and their addresses, both ways.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    addresses: hash::Map<Box<[u8]>, Vec<IpAddr>>,
    /// By the name below `in-addr.arpa` or `ip6.arpa`.
    names: hash::Map<Box<[u8]>, Box<[u8]>>,
}

impl Default for Tables {
    fn default() -> Self {
        // Whoever writes the file writes it for himself: the hashes need not be secret.
        let mut rng = Rng::seeded(0);
        Self { addresses: hash::map(&mut rng), names: hash::map(&mut rng) }
    }
}

impl Hosts {
    /// Reads the text of a hosts file. Lines that cannot be understood are passed over, as all who
    /// read that file do; so is what comes after a hundred thousand names.
    pub fn parse(text: &str) -> Self {
        let mut tables = Tables::default();
        for line in without_bom(text).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            // What stands behind a % is an interface, which no record can hold.
            let Some(Ok(ip)) = words.next().map(|word| word.split('%').next().unwrap_or(word).parse()) else {
                continue;
            };
            for name in words.filter_map(|word| Name::parse(word).ok()) {
                if tables.addresses.len() >= NAMES_MAX {
                    return Self(Arc::new(tables));
                }
                tables.names.entry(reverse(ip).wire().into()).or_insert_with(|| name.wire().into());
                let known = tables.addresses.entry(name.wire().into()).or_default();
                if !known.contains(&ip) && known.len() < ADDRESSES_MAX {
                    known.push(ip);
                }
            }
        }
        Self(Arc::new(tables))
    }

    /// The record data of a name's records; `None` if the name is not in the file, empty if it is
    /// but not with such records. `localhost` and what is below it needs no file (RFC 6761, section
    /// 6.3).
    pub fn find(&self, name: &Name, kind: Kind) -> Option<Vec<Vec<u8>>> {
        if let Some(addresses) = self.0.addresses.get(name.wire()) {
            return Some(data(addresses, kind));
        }
        if name.is_within(LOCALHOST) {
            return Some(data(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], kind));
        }
        let named = name.is_within(ARPA).then(|| self.0.names.get(name.wire()))??;
        Some(if kind == Kind::PTR { vec![named.to_vec()] } else { Vec::new() })
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.0.addresses.len()
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.0.addresses.is_empty()
    }
}

/// The name under which an address's own name is found (RFC 1035, section 3.5; RFC 3596, section 2.5).
pub fn reverse(ip: IpAddr) -> Name {
    let text = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    };
    Name::parse(&text).expect("digits and dots are a name")
}

fn data(addresses: &[IpAddr], kind: Kind) -> Vec<Vec<u8>> {
    let of_kind = |ip: &IpAddr| match (ip, kind) {
        (IpAddr::V4(ip), Kind::A) => Some(ip.octets().to_vec()),
        (IpAddr::V6(ip), Kind::AAAA) => Some(ip.octets().to_vec()),
        _ => None,
    };
    addresses.iter().filter_map(of_kind).collect()
}

const LOCALHOST: &[u8] = b"\x09localhost\x00";
const ARPA: &[u8] = b"\x04arpa\x00";
/// Block lists in hosts files have some hundred thousand lines; they belong into a policy.
const NAMES_MAX: usize = 100_000;
/// Addresses of one name.
const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hosts: &Hosts, name: &str, kind: Kind) -> Option<Vec<Vec<u8>>> {
        hosts.find(&Name::parse(name).unwrap(), kind)
    }

    #[test]
    fn a_file_is_read_as_others_read_it() {
        let hosts = Hosts::parse(
            "\u{feff}10.0.0.3 marked\n# mine\n10.0.0.1 Box box.lan # here\n\n10.0.0.2\tbox\nfe80::1%eth0 box\nnonsense x\n10.0.0.9 a..b ok",
        );
        assert_eq!(found(&hosts, "BOX", Kind::A), Some(vec![vec![10, 0, 0, 1], vec![10, 0, 0, 2]]));
        assert_eq!(found(&hosts, "box", Kind::AAAA).unwrap().len(), 1);
        assert_eq!(found(&hosts, "box.lan", Kind::AAAA), Some(vec![]), "it is there, but has no such record");
        assert_eq!(found(&hosts, "ok", Kind::A).unwrap().len(), 1);
        assert_eq!((found(&hosts, "x", Kind::A), hosts.len()), (None, 4));
        assert_eq!(found(&hosts, "marked", Kind::A), Some(vec![vec![10, 0, 0, 3]]));
        assert_eq!(found(&hosts, "1.0.0.10.in-addr.arpa", Kind::PTR), Some(vec![b"\x03box\x00".to_vec()]));
    }

    #[test]
    fn localhost_needs_no_file() {
        let hosts = Hosts::default();
        assert_eq!(found(&hosts, "a.localhost", Kind::A), Some(vec![vec![127, 0, 0, 1]]));
        assert_eq!(found(&hosts, "localhost", Kind::MX), Some(vec![]));
        assert_eq!(found(&hosts, "notlocalhost", Kind::A), None);
    }

    #[test]
    fn addresses_have_names() {
        assert_eq!(reverse("192.0.2.7".parse().unwrap()).to_string(), "7.2.0.192.in-addr.arpa.");
        let six = reverse("2001:db8::1".parse().unwrap()).to_string();
        assert!(six.starts_with("1.0.0.0.") && six.ends_with("8.b.d.0.1.0.0.2.ip6.arpa.") && six.len() == 73);
    }
}
