//! How many infohashes of a source are looked into: each costs packets to others, so a source whose
//! infohashes lead nowhere is soon listened to only now and then.
//!
//! Samples (BEP 51) come from an address that has answered us: each network has credit of its own.
//! The sender of a `get_peers` may be made up, so all those together have one credit too. Each
//! infohash that is new takes one, time brings a few back, and one that leads to a torrent brings
//! back several.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::hash::{self, Map};
use crate::base::{InfoHash, Instant, Limiter, NetGroup, Rng};

/// The credit of all sources.
pub(super) struct Credit {
    sampled: Limiter,
    wanted: Limiter,
    all_wanted: Limiter,
    /// Where infohashes that are looked into came from, and the order in which they came.
    origins: Map<InfoHash, Origin>,
    order: VecDeque<InfoHash>,
}

/// How an infohash was heard of, as far as somebody has to answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In a sample of this node.
    Sampled(SocketAddr),
    /// In a `get_peers` that bore this address.
    Wanted(SocketAddr),
}

impl Credit {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            sampled: Limiter::every(SAMPLED_EVERY, SAMPLED_MAX, rng),
            wanted: Limiter::every(WANTED_EVERY, WANTED_MAX, rng),
            all_wanted: Limiter::every(ALL_WANTED_EVERY, ALL_WANTED_MAX, rng),
            origins: hash::map(rng),
            order: VecDeque::new(),
        }
    }

    /// Takes one for an infohash that is new; false if the source has none left.
    pub(super) fn take(&mut self, hash: InfoHash, origin: Origin, now: Instant) -> bool {
        let has = match origin {
            Origin::Sampled(node) => self.sampled.allow_for(NetGroup::of(node), now),
            Origin::Wanted(from) => {
                self.wanted.allow_for(NetGroup::of(from), now) && self.all_wanted.allow_for((), now)
            }
        };
        if has && self.origins.insert(hash, origin).is_none() {
            self.order.push_back(hash);
            if self.order.len() > ORIGINS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.origins.remove(&oldest);
            }
        }
        has
    }

    /// An infohash has led to a torrent.
    pub(super) fn repay(&mut self, hash: &InfoHash, now: Instant) {
        match self.origins.remove(hash) {
            Some(Origin::Sampled(node)) => self.sampled.refund_for(NetGroup::of(node), REWARD, now),
            Some(Origin::Wanted(from)) => {
                self.wanted.refund_for(NetGroup::of(from), REWARD, now);
                self.all_wanted.refund_for((), REWARD, now);
            }
            None => {}
        }
    }
}

/// Two full samples before anything has come of them.
const SAMPLED_MAX: u32 = 40;
const SAMPLED_EVERY: Duration = Duration::from_secs(30);
/// Somebody who opens a client with many torrents.
const WANTED_MAX: u32 = 20;
const WANTED_EVERY: Duration = Duration::from_secs(1);
/// A busy node hears of some twenty new ones a second.
const ALL_WANTED_MAX: u32 = 200;
const ALL_WANTED_EVERY: Duration = Duration::from_millis(50);
/// A quarter to a third of all infohashes lead to a torrent.
const REWARD: u32 = 4;
/// Infohashes whose source is remembered; 60 bytes each.
const ORIGINS_MAX: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    fn node(net: u8, host: u8) -> SocketAddr {
        SocketAddr::from(([11, 0, net, host], 6881))
    }

    fn hash(n: u32) -> InfoHash {
        Id::random(&mut Rng::seeded(u64::from(n)))
    }

    fn made_up(n: u32) -> InfoHash {
        let mut id = [1; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Id(id)
    }

    #[test]
    fn a_source_that_leads_nowhere_is_listened_to_now_and_then() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        // A /24 of liars that sample without end for ten minutes.
        let lies = (0..60_000u32).filter(|n| {
            let origin = Origin::Sampled(node(1, (n % 256) as u8));
            credit.take(hash(*n), origin, at(u64::from(n / 100)))
        });
        assert_eq!(lies.count(), 40 + 600 / 30 - 1);
        assert!(credit.take(hash(70_000), Origin::Sampled(node(2, 1)), at(600)), "others are not held to it");
    }

    #[test]
    fn a_source_of_which_one_in_three_leads_to_a_torrent_is_not_held_back() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        for n in 0..3_000 {
            assert!(credit.take(hash(n), Origin::Sampled(node(1, 1)), at(1)), "{n}");
            if n % 3 == 0 {
                credit.repay(&hash(n), at(1));
            }
        }
    }

    #[test]
    fn a_flood_of_made_up_queries_is_bounded_whatever_addresses_it_bears() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        let mut taken = 0;
        for n in 0..600_000u32 {
            let from = SocketAddr::from(((0x0b00_0000 + (n << 8)).to_be_bytes(), 6881));
            let now = at(u64::from(n / 5_000));
            taken += u32::from(credit.take(made_up(n), Origin::Wanted(from), now));
        }
        assert!((2_300..=2_600).contains(&taken), "two minutes at twenty a second: {taken}");
        assert!(credit.order.len() <= ORIGINS_MAX);
    }

    #[test]
    fn on_loopback_each_node_answers_for_itself() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        let at_port = |port| Origin::Sampled(SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!((0..100).filter(|n| credit.take(hash(*n), at_port(1), at(1))).count(), 40);
        assert!(credit.take(hash(100), at_port(2), at(1)));
    }
}
