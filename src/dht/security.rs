//! Ids that are bound to addresses (BEP 42), and the vote on which address is ours.

use std::net::{IpAddr, SocketAddr};

use crate::base::{NodeId, Rng, Scope};

/// A random id that is valid for `ip`. Only the low three bits of `r` count; all of it becomes
/// the last byte (BEP 42).
pub fn id_for(ip: IpAddr, r: u8, rng: &mut Rng) -> NodeId {
    let mut id = NodeId::random(rng);
    let [a, b, c, _] = checksum(ip, r).to_be_bytes();
    id.0[0] = a;
    id.0[1] = b;
    id.0[2] = c & !REST_OF_BYTE | id.0[2] & REST_OF_BYTE;
    id.0[19] = r;
    id
}

/// May a node at `ip` have this id (BEP 42)? Addresses that are not global may have any.
pub fn is_valid(id: NodeId, ip: IpAddr) -> bool {
    if Scope::of(ip) != Scope::Global {
        return true;
    }
    let [a, b, c, _] = checksum(ip, id.0[19]).to_be_bytes();
    id.0[0] == a && id.0[1] == b && (id.0[2] ^ c) & !REST_OF_BYTE == 0
}

/// Finds out our address of one family from what answering nodes say it is.
///
/// Every voter has one vote, its latest; the oldest votes are forgotten. So a liar who repeats
/// himself counts once, and a new address wins as soon as most of those who answer see it.
#[derive(Clone, Debug, Default)]
pub struct Voter {
    votes: Vec<Vote>,
    /// The vote to be overwritten next once there are [`VOTES_MAX`].
    oldest: usize,
    elected: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    voter: IpAddr,
    for_ip: IpAddr,
}

impl Voter {
    /// Nobody has voted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts what the node at `from`, which answered a query of ours, says our address is.
    /// Returns an address when it is elected and differs from the one elected before.
    pub fn vote(&mut self, from: IpAddr, external: SocketAddr) -> Option<IpAddr> {
        let for_ip = external.ip();
        if Scope::of(for_ip) != Scope::Global || for_ip.is_ipv4() != from.is_ipv4() {
            return None;
        }
        self.cast(Vote { voter: voter_key(from), for_ip });
        let wanted = if self.elected.is_some() { VOTES_TO_CHANGE } else { VOTES_TO_ELECT };
        let votes = self.votes.iter().filter(|vote| vote.for_ip == for_ip).count();
        if self.elected == Some(for_ip) || votes < wanted || votes * 3 < self.votes.len() * 2 {
            return None;
        }
        self.elected = Some(for_ip);
        Some(for_ip)
    }

    /// The address elected last.
    pub fn elected(&self) -> Option<IpAddr> {
        self.elected
    }

    fn cast(&mut self, vote: Vote) {
        if let Some(known) = self.votes.iter_mut().find(|known| known.voter == vote.voter) {
            known.for_ip = vote.for_ip;
        } else if self.votes.len() < VOTES_MAX {
            self.votes.push(vote);
        } else {
            self.votes[self.oldest] = vote;
            self.oldest = (self.oldest + 1) % VOTES_MAX;
        }
    }
}

fn checksum(ip: IpAddr, r: u8) -> u32 {
    let r = r & R_BITS;
    match ip {
        IpAddr::V4(ip) => {
            let masked = ip.to_bits() & MASK_V4 | u32::from(r) << 29;
            crc32c::crc32c(&masked.to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let masked = (ip.to_bits() >> 64) as u64 & MASK_V6 | u64::from(r) << 61;
            crc32c::crc32c(&masked.to_be_bytes())
        }
    }
}

/// An IPv4 address, or an IPv6 network: within it anybody has as many addresses as he likes.
fn voter_key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

/// BEP 42. Its text hashes eight bytes, but its vectors need the four of the address.
const MASK_V4: u32 = 0x030f_3fff;
/// BEP 42, for the upper half of the address.
const MASK_V6: u64 = 0x0103_070f_1f3f_7fff;
/// BEP 42: r is a number from 0 to 7.
const R_BITS: u8 = 7;
/// BEP 42 binds the first 21 bits, so three bits of the third byte are free.
const REST_OF_BYTE: u8 = 7;
/// Enough that a handful of liars stays below the third they would need to block a change.
const VOTES_MAX: usize = 32;
/// Few, because a young node must not stay long without a valid id.
const VOTES_TO_ELECT: usize = 4;
/// More, because a change throws away our place in other nodes' tables.
const VOTES_TO_CHANGE: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const VECTORS: [(&str, u8, &str); 6] = [
        ("124.31.75.21", 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ("2001:b829:2123:be84:e16c:d6ae:5290:49f1", 4, "0a8ad123be84e16cd6ae529049f1f1bbe9ebb304"),
    ];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn id(text: &str) -> NodeId {
        NodeId::from_hex(text).unwrap()
    }

    #[test]
    fn the_ids_of_bep_42() {
        let mut rng = Rng::seeded(1);
        for (address, r, expected) in VECTORS {
            let expected = id(expected);
            assert!(is_valid(expected, ip(address)), "{address}");
            let own = id_for(ip(address), r, &mut rng);
            assert!(own.common_bits(expected) >= 21, "{address}: {own}");
            assert_eq!(own.0[19], r);
            assert!(is_valid(own, ip(address)));
        }
    }

    #[test]
    fn verdicts_on_altered_ids() {
        let verdicts = [
            ("124.31.75.21", "5fbfbff10c5d7a4ec8a88e4c6ab4c28b95eee401", true),
            ("21.75.31.124", "5a3ce1c14e7a08645677bbd1cfe7d8f956d53256", false),
            ("65.23.51.170", "a5d43620bc8f112a3d426c84764f8c2a1150e616", true),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01fe01", true),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51303e", false),
            ("10.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a", true),
            ("192.168.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a", true),
            ("12.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a", false),
        ];
        for (address, text, valid) in verdicts {
            assert_eq!(is_valid(id(text), ip(address)), valid, "{address} {text}");
        }
    }

    fn voter(n: u8) -> IpAddr {
        Ipv4Addr::new(198, 51, 100, n).into()
    }

    fn says(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 6881)
    }

    #[test]
    fn four_that_agree_elect_and_say_so_once() {
        let mut votes = Voter::new();
        assert!((0..3).all(|n| votes.vote(voter(n), says("203.0.113.1")).is_none()));
        assert_eq!(votes.vote(voter(3), says("203.0.113.1")), Some(ip("203.0.113.1")));
        assert_eq!(votes.vote(voter(4), says("203.0.113.1")), None);
        assert_eq!(votes.elected(), Some(ip("203.0.113.1")));
    }

    #[test]
    fn a_liar_who_repeats_himself_counts_once() {
        let mut votes = Voter::new();
        assert!((0..1_000).all(|_| votes.vote(voter(9), says("203.0.113.66")).is_none()));
        (0..4).for_each(|n| _ = votes.vote(voter(n), says("203.0.113.1")));
        assert_eq!(votes.elected(), Some(ip("203.0.113.1")));
        assert!((0..1_000).all(|_| votes.vote(voter(9), says("203.0.113.66")).is_none()));
        let mut six = Voter::new();
        let of = |n: u16| format!("2001:db8::{n:x}").parse::<IpAddr>().unwrap();
        assert!((0..99).all(|n| six.vote(of(n), says("2001:db9::1")).is_none()), "one network, one vote");
    }

    #[test]
    fn a_minority_changes_nothing_and_a_new_address_wins() {
        let mut votes = Voter::new();
        (0..32).for_each(|n| _ = votes.vote(voter(n), says("203.0.113.1")));
        (32..42).for_each(|n| assert_eq!(votes.vote(voter(n), says("203.0.113.66")), None));
        (100..132).for_each(|n| _ = votes.vote(voter(n), says("203.0.113.2")));
        assert_eq!(votes.elected(), Some(ip("203.0.113.2")));
        assert_eq!(votes.votes.len(), VOTES_MAX);
    }

    #[test]
    fn local_and_foreign_family_addresses_are_no_candidates() {
        let mut votes = Voter::new();
        for candidate in ["10.0.0.1", "127.0.0.1", "0.0.0.0", "2001:db9::1", "100.64.0.1"] {
            assert!((0..32).all(|n| votes.vote(voter(n), says(candidate)).is_none()));
        }
        assert_eq!(votes.votes.len(), 0);
    }
}
