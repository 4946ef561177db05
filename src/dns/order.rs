//! In which order addresses are tried (RFC 6724, section 6), as far as can be known without asking
//! the system for each: from this machine's own addresses.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// Sorts `destinations`, the best first. `sources` are this machine's addresses; equal ones keep
/// their order (rule 10). What stands beside a destination goes with it.
pub fn sort<T: Copy>(destinations: &mut [(IpAddr, T)], sources: &[IpAddr]) {
    let sources = &sources[..sources.len().min(SOURCES_MAX)];
    let with_source = |(ip, beside): &(IpAddr, T)| ((*ip, source_for(*ip, sources)), *beside);
    let mut all: Vec<_> = destinations.iter().map(with_source).collect();
    all.sort_by(|(a, _), (b, _)| compare(a, b));
    for (place, ((ip, _), beside)) in destinations.iter_mut().zip(all) {
        *place = (ip, beside);
    }
}

type Candidate = (IpAddr, Option<IpAddr>);

fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    // Rule 1: without a source of its family it cannot be reached.
    let usable = |candidate: &Candidate| candidate.1.is_none();
    let same_scope =
        |candidate: &Candidate| candidate.1.is_some_and(|source| scope(source) == scope(candidate.0));
    let same_label =
        |candidate: &Candidate| candidate.1.is_some_and(|source| policy(source).1 == policy(candidate.0).1);
    usable(a)
        .cmp(&usable(b))
        // Rule 2.
        .then_with(|| same_scope(b).cmp(&same_scope(a)))
        // Rule 5.
        .then_with(|| same_label(b).cmp(&same_label(a)))
        // Rule 6.
        .then_with(|| policy(b.0).0.cmp(&policy(a.0).0))
        // Rule 8.
        .then_with(|| scope(a.0).cmp(&scope(b.0)))
        // Rule 9, for IPv6 only: it spoils the turns of round robin with IPv4.
        .then_with(|| common(b).cmp(&common(a)))
}

/// Addresses of this machine that are looked at: more are those of virtual networks.
const SOURCES_MAX: usize = 64;

/// The source that the system would most likely choose (section 5): of the same scope if there is
/// one, with the longest common prefix.
fn source_for(destination: IpAddr, sources: &[IpAddr]) -> Option<IpAddr> {
    let family = sources.iter().filter(|source| source.is_ipv4() == destination.is_ipv4());
    // A loopback address leads nowhere else, and only it leads there.
    let reach = family.filter(|source| source.is_loopback() == destination.is_loopback());
    reach.copied().max_by_key(|source| {
        let label = policy(*source).1 == policy(destination).1;
        (scope(*source) == scope(destination), label, prefix(*source, destination))
    })
}

fn common((destination, source): &Candidate) -> u32 {
    let six = source.filter(|source| source.is_ipv6() && destination.is_ipv6());
    six.map_or(0, |source| prefix(source, *destination).min(64))
}

/// Bits that both begin with.
fn prefix(a: IpAddr, b: IpAddr) -> u32 {
    (u128::from(mapped(a)) ^ u128::from(mapped(b))).leading_zeros()
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Section 3.1: 2 is link-local, 5 site-local, 14 global. Private IPv4 addresses are global.
fn scope(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => 2,
        IpAddr::V4(_) => 14,
        IpAddr::V6(ip) => match ip.segments()[0] {
            _ if ip.is_loopback() => 2,
            first if first & 0xff00 == 0xff00 => (first & 0xf) as u8,
            first if first & 0xffc0 == 0xfe80 => 2,
            first if first & 0xffc0 == 0xfec0 => 5,
            _ => 14,
        },
    }
}

/// Precedence and label by the default policy table (section 2.1).
fn policy(ip: IpAddr) -> (u8, u8) {
    let ip = mapped(ip);
    let [first, second, ..] = ip.segments();
    match first {
        _ if ip.is_loopback() => (50, 0),
        _ if ip.to_ipv4_mapped().is_some() => (35, 4),
        0x2002 => (30, 2),
        0x2001 if second == 0 => (5, 5),
        _ if first & 0xfe00 == 0xfc00 => (3, 13),
        _ if ip.segments()[..6] == [0; 6] => (1, 3),
        _ if first & 0xffc0 == 0xfec0 => (1, 11),
        0x3ffe => (1, 12),
        _ => (40, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn sorted(destinations: &str, sources: &str) -> String {
        let mut destinations: Vec<_> = all(destinations).into_iter().map(|ip| (ip, ())).collect();
        sort(&mut destinations, &all(sources));
        destinations.iter().map(|(ip, ())| ip.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_examples_of_section_10_2() {
        // The sources are those that the RFC gives as candidates.
        for (destinations, sources, expected) in [
            (
                "2001:db8:1::1 198.51.100.121",
                "2001:db8:1::2 fe80::1 169.254.13.78",
                "2001:db8:1::1 198.51.100.121",
            ),
            ("2001:db8:1::1 198.51.100.121", "fe80::1 198.51.100.117", "198.51.100.121 2001:db8:1::1"),
            ("2001:db8:1::1 10.1.2.3", "2001:db8:1::2 fe80::1 10.1.2.4", "2001:db8:1::1 10.1.2.3"),
            ("2001:db8:1::1 fe80::1", "2001:db8:1::2 fe80::2", "fe80::1 2001:db8:1::1"),
            (
                "2002:c633:6401::1 2001:db8:1::1",
                "2002:c633:6401::2 fe80::2",
                "2002:c633:6401::1 2001:db8:1::1",
            ),
            (
                "2002:c633:6401::1 2001:db8:1::1",
                "2002:c633:6401::2 2001:db8:1::2 fe80::2",
                "2001:db8:1::1 2002:c633:6401::1",
            ),
        ] {
            assert_eq!(sorted(destinations, sources), expected, "{destinations} from {sources}");
        }
    }

    #[test]
    fn a_family_that_this_machine_lacks_comes_last() {
        assert_eq!(sorted("2001:db8::1 192.0.2.1", "127.0.0.1 ::1 10.0.0.2"), "192.0.2.1 2001:db8::1");
        assert_eq!(sorted("192.0.2.2 192.0.2.1", "10.0.0.2"), "192.0.2.2 192.0.2.1", "turns are kept");
        assert_eq!(sorted("::1 127.0.0.1", "127.0.0.1"), "127.0.0.1 ::1");
    }
}
