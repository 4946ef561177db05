//! Ids that are bound to addresses (BEP 42), and the vote on which address is ours.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::{Instant, NetGroup, NodeId, Rng, Scope};

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
/// Every network (/24 or /48) has one vote, its latest, for half an hour. An address is elected once
/// it has had a clear lead for minutes on end: neither many addresses of one network nor answers
/// that come in a burst decide, and a new address of ours still wins soon.
#[derive(Clone, Debug, Default)]
pub struct Voter {
    votes: Vec<Vote>,
    /// The address that leads clearly, and since when.
    leader: Option<(IpAddr, Instant)>,
    /// The address elected last, and when.
    elected: Option<(IpAddr, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    network: NetGroup,
    for_ip: IpAddr,
    at: Instant,
}

impl Voter {
    /// Without votes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts what the node at `from`, which answered a query of ours, says our address is.
    /// Returns an address when it is elected and differs from the one elected before.
    pub fn vote(&mut self, now: Instant, from: SocketAddr, external: SocketAddr) -> Option<IpAddr> {
        let for_ip = external.ip();
        if Scope::of(for_ip) != Scope::Global || for_ip.is_ipv4() != from.is_ipv4() {
            return None;
        }
        self.cast(Vote { network: NetGroup::of(from), for_ip, at: now });
        let wanted = if self.elected.is_some() { VOTES_TO_CHANGE } else { VOTES_TO_ELECT };
        let (ip, votes) = self.favourite()?;
        if votes < wanted || votes * 4 < self.votes.len() * 3 {
            self.leader = None;
            return None;
        }
        let since = match self.leader {
            Some((leader, since)) if leader == ip => since,
            Some(_) | None => now,
        };
        self.leader = Some((ip, since));
        let (lead, pause) = match self.elected {
            Some((elected, _)) if elected == ip => return None,
            Some((_, at)) => (LEAD_TO_CHANGE, CHANGE_PAUSE.saturating_sub(now.since(at))),
            None => (LEAD_TO_ELECT, Duration::ZERO),
        };
        if now.since(since) < lead || !pause.is_zero() {
            return None;
        }
        self.elected = Some((ip, now));
        Some(ip)
    }

    /// The address elected last.
    pub fn elected(&self) -> Option<IpAddr> {
        self.elected.map(|(ip, _)| ip)
    }

    /// The address with most votes, and how many.
    fn favourite(&self) -> Option<(IpAddr, usize)> {
        let count = |ip: IpAddr| self.votes.iter().filter(|vote| vote.for_ip == ip).count();
        self.votes.iter().map(|vote| (vote.for_ip, count(vote.for_ip))).max_by_key(|(_, count)| *count)
    }

    fn cast(&mut self, vote: Vote) {
        self.votes.retain(|old| old.network != vote.network && vote.at.since(old.at) < VOTE_FOR);
        if self.votes.len() == VOTES_MAX {
            self.votes.remove(0);
        }
        self.votes.push(vote);
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

/// BEP 42. Its text hashes eight bytes, but its vectors need the four of the address.
const MASK_V4: u32 = 0x030f_3fff;
/// BEP 42, for the upper half of the address.
const MASK_V6: u64 = 0x0103_070f_1f3f_7fff;
/// BEP 42: r is a number from 0 to 7.
const R_BITS: u8 = 7;
/// BEP 42 binds the first 21 bits, so three bits of the third byte are free.
const REST_OF_BYTE: u8 = 7;
/// Votes of so many networks are remembered, the latest ones.
const VOTES_MAX: usize = 32;
/// An address changes within this, and networks that are not asked again lose their vote.
const VOTE_FOR: Duration = Duration::from_secs(30 * 60);
/// Few, because a young node must not stay long without a valid id.
const VOTES_TO_ELECT: usize = 4;
/// More, because a change throws away our place in other nodes' tables.
const VOTES_TO_CHANGE: usize = 8;
/// For so long three quarters of all votes are for the same address: longer than a burst of answers
/// takes, and then as long as it takes to ask most other networks.
const LEAD_TO_ELECT: Duration = Duration::from_secs(60);
const LEAD_TO_CHANGE: Duration = Duration::from_secs(5 * 60);
/// The least time between two changes. Providers that change addresses do it once a day.
const CHANGE_PAUSE: Duration = Duration::from_secs(30 * 60);

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

    /// A node of the `n`th network, at one of its addresses.
    fn voter(n: u8, host: u8) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(11, 1, n, host).into(), 6881)
    }

    fn says(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 6881)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    const OURS: &str = "203.0.113.1";
    const FALSE: &str = "203.0.113.66";

    #[test]
    fn four_networks_that_agree_for_a_minute_elect_and_say_so_once() {
        let mut votes = Voter::new();
        assert!((0..4).all(|n| votes.vote(at(1), voter(n, 1), says(OURS)).is_none()));
        assert_eq!(votes.vote(at(60), voter(4, 1), says(OURS)), None);
        assert_eq!(votes.vote(at(61), voter(5, 1), says(OURS)), Some(ip(OURS)));
        assert_eq!(votes.vote(at(62), voter(6, 1), says(OURS)), None);
        assert_eq!(votes.elected(), Some(ip(OURS)));
    }

    #[test]
    fn a_network_counts_once_however_many_of_its_addresses_answer() {
        let mut votes = Voter::new();
        for secs in 0..3_600 {
            assert_eq!(votes.vote(at(secs), voter(9, (secs % 250) as u8), says(FALSE)), None);
        }
        let mut six = Voter::new();
        let of = |n: u64| SocketAddr::new(format!("2a01:db8:7:{:x}::{n:x}", n % 999).parse().unwrap(), 1);
        assert!((0..3_600).all(|n| six.vote(at(n), of(n), says("2001:db9::1")).is_none()));
    }

    /// A crawl of thirty networks a minute, and sixty sybils of one /24 that answer in bursts.
    #[test]
    fn sixty_sybils_of_one_network_change_nothing_in_an_hour() {
        let mut votes = Voter::new();
        let mut changes = Vec::new();
        for secs in 0..3_600u64 {
            if secs.is_multiple_of(2) {
                changes.extend(votes.vote(at(secs), voter((secs / 2 % 200) as u8, 1), says(OURS)));
            }
            if secs % 600 > 590 {
                let burst = (0..60).filter_map(|host| votes.vote(at(secs), voter(250, host), says(FALSE)));
                changes.extend(burst.collect::<Vec<_>>());
            }
        }
        assert_eq!(changes, [ip(OURS)]);
    }

    #[test]
    fn networks_that_answer_in_bursts_do_not_decide_while_others_answer_too() {
        let mut votes = Voter::new();
        let mut changes = Vec::new();
        for secs in 0..7_200u64 {
            changes.extend(votes.vote(at(secs), voter((secs % 100) as u8, 1), says(OURS)));
            if secs > 600 && secs.is_multiple_of(120) {
                // As many networks as are remembered, all at once.
                let burst = (100..140).filter_map(|n| votes.vote(at(secs), voter(n, 1), says(FALSE)));
                changes.extend(burst.collect::<Vec<_>>());
            }
        }
        assert_eq!(changes, [ip(OURS)]);
    }

    #[test]
    fn a_new_address_of_ours_wins_in_minutes_and_the_next_only_after_a_pause() {
        let mut votes = Voter::new();
        let mut changes = Vec::new();
        let addresses = [OURS, "203.0.113.2", "203.0.113.3"];
        for secs in 0..3 * 3_600u64 {
            let seen = if secs < 3_600 {
                0
            } else if secs < 3_600 + 600 {
                1
            } else {
                2
            };
            let changed = votes.vote(at(secs), voter((secs * 7 % 199) as u8, 1), says(addresses[seen]));
            changes.extend(changed.map(|ip| (secs, ip)));
        }
        let elected: Vec<_> = changes.iter().map(|(_, ip)| *ip).collect();
        assert_eq!(elected, addresses.map(ip));
        let times: Vec<_> = changes.iter().map(|(secs, _)| *secs).collect();
        assert!(times[1] < 3_600 + 400 && times[2] - times[1] >= 1_800, "{times:?}");
    }

    #[test]
    fn local_and_foreign_family_addresses_are_no_candidates() {
        let mut votes = Voter::new();
        for candidate in ["10.0.0.1", "127.0.0.1", "0.0.0.0", "2001:db9::1", "100.64.0.1"] {
            assert!((0..32).all(|n| votes.vote(at(1), voter(n, 1), says(candidate)).is_none()));
        }
        assert_eq!(votes.votes.len(), 0);
    }
}
