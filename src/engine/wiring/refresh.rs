//! Stored torrents meet the DHT again: how many seeds and peers they have, by BEP 33, at most
//! once a day each and only while nothing more urgent is to be asked.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{InfoHash, Instant};
use crate::dht::{Goal, User};
use crate::engine::Engine;
use crate::model::Sighting;

/// Torrents in the order in which they are due.
#[derive(Default)]
pub(in crate::engine) struct Refresh {
    due: VecDeque<(Instant, InfoHash)>,
    open: usize,
}

impl Refresh {
    /// A torrent was stored.
    pub(in crate::engine) fn add(&mut self, hash: InfoHash, now: Instant) {
        if self.due.len() < DUE_MAX {
            self.due.push_back((now + FIRST_AFTER, hash));
        }
    }

    /// When the next torrent is due, if another scrape may be begun at all.
    pub(in crate::engine) fn next_deadline(&self) -> Option<Instant> {
        self.due.front().filter(|_| self.open < OPEN_MAX).map(|(at, _)| *at)
    }
}

impl Engine {
    pub(in crate::engine) fn start_refreshes(&mut self, now: Instant) {
        while self.wants_work() && self.refresh.next_deadline().is_some_and(|at| at <= now) {
            let Some((_, hash)) = self.refresh.due.pop_front() else { return };
            self.refresh.open += self.dht.look_up(hash, Goal::Scrape, User::Refresh, &[], now);
        }
    }

    /// A scrape is over; its torrent is due again in a day.
    pub(in crate::engine) fn on_refreshed(
        &mut self,
        hash: InfoHash,
        peers: u32,
        estimate: Option<(f64, f64)>,
    ) {
        self.refresh.open -= 1;
        let (seeders, leechers) = match estimate {
            Some((seeds, others)) => (Some(seeds.round() as u32), Some(others.round() as u32)),
            None => (None, (peers > 0).then_some(peers)),
        };
        if seeders.is_some() || leechers.is_some() {
            self.persist.seen(Sighting { infohash: hash, at: self.unix, seeders, leechers });
        }
        if self.refresh.due.len() < DUE_MAX {
            self.refresh.due.push_back((self.now + AGAIN_AFTER, hash));
        }
    }
}

/// By then the first rush is over and its peers have announced themselves.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// 28 bytes each; what does not fit keeps the estimate it has.
const DUE_MAX: usize = 500_000;
/// Some ten packets each: a trickle beside the crawl.
const OPEN_MAX: usize = 4;
