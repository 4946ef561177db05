//! Names that no forwarder is asked for: they do not exist in the DNS, or mean something else in each
//! network.

use super::answer::{Answer, Kept};
use super::resolver::Resolver;
use crate::wire::dns::{Kind, Name, Rcode, is_within, parent};

impl Resolver {
    /// The answer to a question about a special name; `None` if it is none, or if the hosts file or a
    /// forwarder's suffix has it. `localhost` is answered like the hosts file (RFC 6761, section 6.3).
    pub(super) fn special(&self, name: &Name, kind: Kind) -> Option<Answer> {
        let special = Special::of(name.wire())?;
        let config = &self.config;
        let searched = || config.search.iter().any(|suffix| suffix.is_within(LOCAL));
        if special == Special::Multicast && searched()
            || self.forwarders.have_suffix_of(name.wire())
            || config.hosts.find(name, kind).is_some()
        {
            return None;
        }
        special.answer(name, kind)
    }

    /// Whether a name that an alias leads to is answered here: by the hosts file, a zone of ours, or
    /// because it is special.
    pub(super) fn is_here(&self, name: &Name, kind: Kind) -> bool {
        let mut suffixes = std::iter::successors(Some(name.wire()), |name| parent(name));
        !self.own_zones.is_empty() && suffixes.any(|suffix| self.own_zones.contains_key(suffix))
            || self.config.hosts.find(name, kind).is_some()
            || self.special(name, kind).is_some()
    }

    /// Whether a name that an alias leads to has a suffix whose forwarders are not those of `from`: what
    /// others say of it does not count.
    pub(super) fn is_of_others(&self, name: &Name, from: &[u8]) -> bool {
        let forwarders = &self.forwarders;
        let from = from.to_ascii_lowercase();
        forwarders.have_suffix_of(name.wire())
            && forwarders.responsible_for(name.wire()) != forwarders.responsible_for(&from)
    }
}

/// Why a name is special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// It does not exist, by decree.
    Nowhere,
    /// `local.` is multicast's (RFC 6762, section 22.1), unless the system searches in it: then a
    /// server has it all the same.
    Multicast,
    /// It lies in a zone that every network has for itself: an empty one, of this name.
    Private(&'static [u8]),
    /// There is such a name, without any record (RFC 9462, section 6.4).
    Nothing(&'static [u8]),
}

impl Special {
    fn of(name: &[u8]) -> Option<Self> {
        if is_within(name, b"\x07invalid\0") || is_within(name, b"\x05onion\0") {
            // RFC 6761, section 6.4; RFC 7686, section 2.
            return Some(Self::Nowhere);
        }
        if is_within(name, LOCAL) {
            return Some(Self::Multicast);
        }
        if !is_within(name, b"\x04arpa\0") {
            return None;
        }
        let private = PRIVATE.iter().copied().find(|zone| is_within(name, zone));
        let resolver = || Some(RESOLVER_ARPA).filter(|zone| is_within(name, zone)).map(Self::Nothing);
        private.map(Self::Private).or_else(resolver).or_else(|| shared(name))
    }

    /// `None` for what stands above the zone: its delegation's key (RFC 4035, section 3.1.4.1).
    fn answer(self, name: &Name, kind: Kind) -> Option<Answer> {
        let (zone, exists) = match self {
            Self::Nowhere | Self::Multicast => return Some(Answer::no_such_name((name, kind))),
            Self::Private(zone) => (zone, false),
            Self::Nothing(zone) => (zone, true),
        };
        let at_apex = name.wire() == zone;
        if at_apex && kind == Kind::DS {
            return None;
        }
        let record = |kind, data: Vec<u8>| Kept {
            owner: Name::from_wire(zone).expect("zones of this file are names"),
            kind,
            ttl: TTL,
            data,
        };
        let soa = [zone, NOBODY, &SOA_NUMBERS].concat();
        let found = match kind {
            Kind::SOA if at_apex => Some(record(Kind::SOA, soa.clone())),
            Kind::NS if at_apex => Some(record(Kind::NS, zone.to_vec())),
            Kind::PTR if LOOPBACK.contains(&name.wire()) => {
                Some(Kept { owner: name.clone(), ..record(Kind::PTR, LOCALHOST.to_vec()) })
            }
            _ => None,
        };
        let exists = exists || at_apex || LOOPBACK.contains(&name.wire());
        let rcode = if exists { Rcode::NOERROR } else { Rcode::NXDOMAIN };
        Answer::of_records((name, kind), rcode, found, || record(Kind::SOA, soa))
    }
}

/// 172.16.0.0/12 (RFC 1918) and 100.64.0.0/10 (RFC 6598, RFC 7793): the zones are those of the second
/// byte.
fn shared(name: &[u8]) -> Option<Special> {
    let zones = if is_within(name, b"\x03172\x07in-addr\x04arpa\0") {
        &PRIVATE_172[..]
    } else if is_within(name, b"\x03100\x07in-addr\x04arpa\0") {
        &SHARED_100[..]
    } else {
        return None;
    };
    zones.iter().copied().find(|zone| is_within(name, zone)).map(Special::Private)
}

const LOCAL: &[u8] = b"\x05local\0";
const RESOLVER_ARPA: &[u8] = b"\x08resolver\x04arpa\0";
const LOCALHOST: &[u8] = b"\x09localhost\0";
/// The SOA record's mailbox, and serial, refresh, retry, expire, minimum (RFC 6303, section 3).
const NOBODY: &[u8] = b"\x06nobody\x07invalid\0";
const SOA_NUMBERS: [u8; 20] =
    [0, 0, 0, 1, 0, 0, 0x0e, 0x10, 0, 0, 0x04, 0xb0, 0, 9, 0x3a, 0x80, 0, 0, 0x2a, 0x30];
const TTL: u32 = 10_800;

/// The zones of RFC 6303, section 4 but for 172.16.0.0/12, and that of RFC 8375.
const PRIVATE: [&[u8]; 18] = [
    b"\x0210\x07in-addr\x04arpa\0",
    b"\x03168\x03192\x07in-addr\x04arpa\0",
    b"\x010\x07in-addr\x04arpa\0",
    b"\x03127\x07in-addr\x04arpa\0",
    b"\x03254\x03169\x07in-addr\x04arpa\0",
    b"\x012\x010\x03192\x07in-addr\x04arpa\0",
    b"\x03100\x0251\x03198\x07in-addr\x04arpa\0",
    b"\x03113\x010\x03203\x07in-addr\x04arpa\0",
    b"\x03255\x03255\x03255\x03255\x07in-addr\x04arpa\0",
    UNSPECIFIED_6,
    LOOPBACK_6,
    b"\x01d\x01f\x03ip6\x04arpa\0",
    b"\x018\x01e\x01f\x03ip6\x04arpa\0",
    b"\x019\x01e\x01f\x03ip6\x04arpa\0",
    b"\x01a\x01e\x01f\x03ip6\x04arpa\0",
    b"\x01b\x01e\x01f\x03ip6\x04arpa\0",
    b"\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\0",
    b"\x04home\x04arpa\0",
];
const UNSPECIFIED_6: &[u8] = b"\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x03ip6\x04arpa\0";
const LOOPBACK_6: &[u8] = b"\x011\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x03ip6\x04arpa\0";
/// Names of which it is known what they stand for.
const LOOPBACK: [&[u8]; 2] = [b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0", LOOPBACK_6];
const PRIVATE_172: [&[u8]; 16] = [
    b"\x0216\x03172\x07in-addr\x04arpa\0",
    b"\x0217\x03172\x07in-addr\x04arpa\0",
    b"\x0218\x03172\x07in-addr\x04arpa\0",
    b"\x0219\x03172\x07in-addr\x04arpa\0",
    b"\x0220\x03172\x07in-addr\x04arpa\0",
    b"\x0221\x03172\x07in-addr\x04arpa\0",
    b"\x0222\x03172\x07in-addr\x04arpa\0",
    b"\x0223\x03172\x07in-addr\x04arpa\0",
    b"\x0224\x03172\x07in-addr\x04arpa\0",
    b"\x0225\x03172\x07in-addr\x04arpa\0",
    b"\x0226\x03172\x07in-addr\x04arpa\0",
    b"\x0227\x03172\x07in-addr\x04arpa\0",
    b"\x0228\x03172\x07in-addr\x04arpa\0",
    b"\x0229\x03172\x07in-addr\x04arpa\0",
    b"\x0230\x03172\x07in-addr\x04arpa\0",
    b"\x0231\x03172\x07in-addr\x04arpa\0",
];
const SHARED_100: [&[u8]; 64] = [
    b"\x0264\x03100\x07in-addr\x04arpa\0",
    b"\x0265\x03100\x07in-addr\x04arpa\0",
    b"\x0266\x03100\x07in-addr\x04arpa\0",
    b"\x0267\x03100\x07in-addr\x04arpa\0",
    b"\x0268\x03100\x07in-addr\x04arpa\0",
    b"\x0269\x03100\x07in-addr\x04arpa\0",
    b"\x0270\x03100\x07in-addr\x04arpa\0",
    b"\x0271\x03100\x07in-addr\x04arpa\0",
    b"\x0272\x03100\x07in-addr\x04arpa\0",
    b"\x0273\x03100\x07in-addr\x04arpa\0",
    b"\x0274\x03100\x07in-addr\x04arpa\0",
    b"\x0275\x03100\x07in-addr\x04arpa\0",
    b"\x0276\x03100\x07in-addr\x04arpa\0",
    b"\x0277\x03100\x07in-addr\x04arpa\0",
    b"\x0278\x03100\x07in-addr\x04arpa\0",
    b"\x0279\x03100\x07in-addr\x04arpa\0",
    b"\x0280\x03100\x07in-addr\x04arpa\0",
    b"\x0281\x03100\x07in-addr\x04arpa\0",
    b"\x0282\x03100\x07in-addr\x04arpa\0",
    b"\x0283\x03100\x07in-addr\x04arpa\0",
    b"\x0284\x03100\x07in-addr\x04arpa\0",
    b"\x0285\x03100\x07in-addr\x04arpa\0",
    b"\x0286\x03100\x07in-addr\x04arpa\0",
    b"\x0287\x03100\x07in-addr\x04arpa\0",
    b"\x0288\x03100\x07in-addr\x04arpa\0",
    b"\x0289\x03100\x07in-addr\x04arpa\0",
    b"\x0290\x03100\x07in-addr\x04arpa\0",
    b"\x0291\x03100\x07in-addr\x04arpa\0",
    b"\x0292\x03100\x07in-addr\x04arpa\0",
    b"\x0293\x03100\x07in-addr\x04arpa\0",
    b"\x0294\x03100\x07in-addr\x04arpa\0",
    b"\x0295\x03100\x07in-addr\x04arpa\0",
    b"\x0296\x03100\x07in-addr\x04arpa\0",
    b"\x0297\x03100\x07in-addr\x04arpa\0",
    b"\x0298\x03100\x07in-addr\x04arpa\0",
    b"\x0299\x03100\x07in-addr\x04arpa\0",
    b"\x03100\x03100\x07in-addr\x04arpa\0",
    b"\x03101\x03100\x07in-addr\x04arpa\0",
    b"\x03102\x03100\x07in-addr\x04arpa\0",
    b"\x03103\x03100\x07in-addr\x04arpa\0",
    b"\x03104\x03100\x07in-addr\x04arpa\0",
    b"\x03105\x03100\x07in-addr\x04arpa\0",
    b"\x03106\x03100\x07in-addr\x04arpa\0",
    b"\x03107\x03100\x07in-addr\x04arpa\0",
    b"\x03108\x03100\x07in-addr\x04arpa\0",
    b"\x03109\x03100\x07in-addr\x04arpa\0",
    b"\x03110\x03100\x07in-addr\x04arpa\0",
    b"\x03111\x03100\x07in-addr\x04arpa\0",
    b"\x03112\x03100\x07in-addr\x04arpa\0",
    b"\x03113\x03100\x07in-addr\x04arpa\0",
    b"\x03114\x03100\x07in-addr\x04arpa\0",
    b"\x03115\x03100\x07in-addr\x04arpa\0",
    b"\x03116\x03100\x07in-addr\x04arpa\0",
    b"\x03117\x03100\x07in-addr\x04arpa\0",
    b"\x03118\x03100\x07in-addr\x04arpa\0",
    b"\x03119\x03100\x07in-addr\x04arpa\0",
    b"\x03120\x03100\x07in-addr\x04arpa\0",
    b"\x03121\x03100\x07in-addr\x04arpa\0",
    b"\x03122\x03100\x07in-addr\x04arpa\0",
    b"\x03123\x03100\x07in-addr\x04arpa\0",
    b"\x03124\x03100\x07in-addr\x04arpa\0",
    b"\x03125\x03100\x07in-addr\x04arpa\0",
    b"\x03126\x03100\x07in-addr\x04arpa\0",
    b"\x03127\x03100\x07in-addr\x04arpa\0",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::dns::{Config, ForwarderConfig};

    fn said(resolver: &Resolver, name: &str, kind: Kind) -> Option<String> {
        let answer = resolver.special(&Name::parse(name).unwrap(), kind)?;
        let records: Vec<_> = answer.records().map(|record| record.kind.to_string()).collect();
        Some(format!("{} {} {}", answer.rcode, records.join(","), answer.ttl))
    }

    fn resolver(suffixes: &[&str]) -> Resolver {
        let with = |text: &&str| ForwarderConfig {
            suffix: Name::parse(text).ok(),
            ..ForwarderConfig::plain(([127, 0, 0, 1], 53).into())
        };
        Resolver::new(Config::new(suffixes.iter().map(with).collect()), 0, &mut Rng::seeded(1))
    }

    #[test]
    fn names_of_every_network_are_answered_here() {
        let resolver = resolver(&["."]);
        let nothing = Some("NXDOMAIN  10800".to_owned());
        for name in [
            "7.1.168.192.in-addr.arpa",
            "1.2.3.10.in-addr.arpa",
            "1.0.16.172.in-addr.arpa",
            "1.0.31.172.in-addr.arpa",
            "1.0.64.100.in-addr.arpa",
            "1.0.127.100.in-addr.arpa",
            "1.1.254.169.in-addr.arpa",
            "9.2.0.192.in-addr.arpa",
            "1.0.d.f.ip6.arpa",
            "0.8.e.f.ip6.arpa",
            "0.b.e.f.ip6.arpa",
            "0.8.b.d.0.1.0.0.2.ip6.arpa",
            "nas.home.arpa",
        ] {
            assert_eq!(said(&resolver, name, Kind::PTR), nothing, "{name}");
        }
        for name in [
            "1.0.15.172.in-addr.arpa",
            "1.0.32.172.in-addr.arpa",
            "1.0.63.100.in-addr.arpa",
            "1.0.128.100.in-addr.arpa",
            "9.9.9.9.in-addr.arpa",
            "0.0.c.f.ip6.arpa",
            "0.c.e.f.ip6.arpa",
            "arpa",
            "xhome.arpa",
            "www.test",
        ] {
            assert_eq!(said(&resolver, name, Kind::PTR), None, "{name}");
        }
        assert_eq!(said(&resolver, "home.arpa", Kind::SOA).unwrap(), "NOERROR SOA 10800");
        assert_eq!(said(&resolver, "10.in-addr.arpa", Kind::NS).unwrap(), "NOERROR NS 10800");
        assert_eq!(said(&resolver, "10.in-addr.arpa", Kind::A).unwrap(), "NOERROR  10800");
        assert_eq!(said(&resolver, "home.arpa", Kind::DS), None, "the parent has it");
        assert_eq!(said(&resolver, "1.0.0.127.in-addr.arpa", Kind::PTR).unwrap(), "NOERROR PTR 10800");
        assert_eq!(said(&resolver, "2.0.0.127.in-addr.arpa", Kind::PTR), nothing);
        assert_eq!(said(&resolver, "_dns.resolver.arpa", Kind::SVCB).unwrap(), "NOERROR  10800");
        for name in ["x.onion", "invalid", "printer.local"] {
            assert_eq!(said(&resolver, name, Kind::A).unwrap(), "NXDOMAIN  0");
        }
    }

    #[test]
    fn a_forwarder_of_a_suffix_has_its_names() {
        let resolver = resolver(&["168.192.in-addr.arpa", "home.arpa", "local"]);
        for name in ["7.1.168.192.in-addr.arpa", "nas.home.arpa", "printer.local"] {
            assert_eq!(said(&resolver, name, Kind::PTR), None, "{name}");
        }
        assert!(said(&resolver, "1.2.3.10.in-addr.arpa", Kind::PTR).is_some());
    }
}
