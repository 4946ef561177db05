//! Stored torrents meet the DHT again: how many seeds and peers they have, by BEP 33, at most
//! once a day each and only while nothing more urgent is to be asked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::base::{InfoHash, Instant};
use crate::dht::{Goal, User};
use crate::engine::Engine;
use crate::model::Sighting;

/// Torrents by the time at which they are due.
#[derive(Default)]
pub(in crate::engine) struct Refresh {
    due: BinaryHeap<Reverse<(Instant, InfoHash)>>,
    /// Scrapes under way, each of one family or of both.
    open: usize,
    /// Nothing is begun before this: no node could be asked.
    held_until: Instant,
}

impl Refresh {
    /// A torrent was stored.
    pub(in crate::engine) fn add(&mut self, hash: InfoHash, now: Instant) {
        self.push(hash, now + FIRST_AFTER);
    }

    /// When the next torrent is due, if another scrape may be begun at all.
    pub(in crate::engine) fn next_deadline(&self) -> Option<Instant> {
        let next = self.due.peek().filter(|_| self.open < OPEN_MAX);
        next.map(|Reverse((at, _))| (*at).max(self.held_until))
    }

    fn push(&mut self, hash: InfoHash, at: Instant) {
        if self.due.len() < DUE_MAX {
            self.due.push(Reverse((at, hash)));
        }
    }
}

impl Engine {
    pub(in crate::engine) fn start_refreshes(&mut self, now: Instant) {
        while self.wants_work() && self.refresh.next_deadline().is_some_and(|at| at <= now) {
            // Through an outage the torrents stay due.
            if self.dht.is_cut_off(now) {
                self.refresh.held_until = now + HOLD;
                return;
            }
            let Some(Reverse((_, hash))) = self.refresh.due.pop() else { return };
            if self.dht.look_up(hash, Goal::Scrape, User::Refresh, &[], now) == 0 {
                self.refresh.push(hash, now);
                self.refresh.held_until = now + HOLD;
                return;
            }
            self.refresh.open += 1;
        }
    }

    /// A scrape is over; its torrent is due again in a day, or soon if no node answered.
    pub(in crate::engine) fn on_refreshed(
        &mut self,
        hash: InfoHash,
        (answered, peers): (u32, u32),
        estimate: Option<(f64, f64)>,
    ) {
        self.refresh.open -= 1;
        let (seeders, leechers) = swarm_size(peers, estimate);
        if seeders.is_some() || leechers.is_some() {
            self.persist.seen(Sighting { infohash: hash, at: self.unix, seeders, leechers });
        }
        let pause = if answered == 0 { RETRY_AFTER } else { AGAIN_AFTER };
        self.refresh.push(hash, self.now + pause);
    }
}

/// Seeders and other peers, as far as a scrape tells. Most clients do not say in their announces that
/// they seed, and then their seeds are among the others: without any known seed it is not known which.
fn swarm_size(peers: u32, estimate: Option<(f64, f64)>) -> (Option<u32>, Option<u32>) {
    match estimate.map(|(seeds, others)| (seeds.round() as u32, others.round() as u32)) {
        Some((0, others)) if others > 0 => (None, Some(others)),
        Some((seeds, others)) => (Some(seeds), Some(others)),
        None => (None, (peers > 0).then_some(peers)),
    }
}

/// By then the first rush is over and its peers have announced themselves.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3_600);
const RETRY_AFTER: Duration = Duration::from_secs(600);
/// Between two looks whether the network is back.
const HOLD: Duration = Duration::from_secs(30);
/// 28 bytes each; what does not fit keeps the estimate it has.
const DUE_MAX: usize = 500_000;
/// Some ten packets each: a trickle beside the crawl.
const OPEN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    #[test]
    fn peers_that_did_not_say_whether_they_seed_are_not_counted_as_leechers() {
        assert_eq!(swarm_size(0, Some((0.0, 7.2))), (None, Some(7)));
        assert_eq!(swarm_size(3, None), (None, Some(3)));
        assert_eq!(swarm_size(0, Some((2.1, 7.2))), (Some(2), Some(7)));
        assert_eq!(swarm_size(0, Some((0.0, 0.0))), (Some(0), Some(0)));
        assert_eq!(swarm_size(0, None), (None, None));
    }

    #[test]
    fn a_new_torrent_does_not_wait_behind_one_that_is_due_tomorrow() {
        let (now, mut refresh) = (Instant::from_millis(1_000), Refresh::default());
        refresh.push(Id([1; 20]), now + AGAIN_AFTER);
        refresh.add(Id([2; 20]), now);
        assert_eq!(refresh.next_deadline(), Some(now + FIRST_AFTER));
        refresh.held_until = now + FIRST_AFTER + HOLD;
        assert_eq!(refresh.next_deadline(), Some(now + FIRST_AFTER + HOLD));
    }
}
