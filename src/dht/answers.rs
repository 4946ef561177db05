//! Answers that the rate holds back: they leave a little later instead of not at all, for a client
//! that starts asks about everything it has at once and takes a lost answer for a dead node.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Instant, Network, Path};

/// Answers in the order in which they were asked for: those to proved announces, then all others.
#[derive(Default)]
pub(super) struct HeldAnswers {
    by_rank: [VecDeque<Held>; 2],
}

/// Which answers leave first while they have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// To an `announce_peer` with a valid token: it leads to a torrent more often than any other query.
    Announce,
    Other,
}

struct Held {
    path: Path,
    data: Box<[u8]>,
    /// Of no use to the other end after that.
    until: Instant,
}

impl HeldAnswers {
    pub(super) fn len(&self) -> usize {
        self.by_rank.iter().map(VecDeque::len).sum()
    }

    /// Whether one more announce from there may go first: those of one network have an eighth of the
    /// places.
    pub(super) fn has_announce_room(&self, from: IpAddr) -> bool {
        let announces = &self.by_rank[Rank::Announce as usize];
        let network = Network::around(from);
        let of_network = announces.iter().filter(|held| Network::around(held.path.remote.ip()) == network);
        announces.len() < HELD_MAX[Rank::Announce as usize] && of_network.count() < ANNOUNCES_PER_NETWORK
    }

    pub(super) fn has_room(&self, rank: Rank) -> bool {
        self.by_rank[rank as usize].len() < HELD_MAX[rank as usize]
    }

    /// Whether others of this rank or a better one wait already.
    pub(super) fn has_turn_before(&self, rank: Rank) -> bool {
        self.by_rank[..=rank as usize].iter().any(|held| !held.is_empty())
    }

    /// Takes one more; false if there is no room.
    pub(super) fn push(&mut self, path: Path, data: &[u8], rank: Rank, now: Instant) -> bool {
        let room = self.has_room(rank);
        if room {
            self.by_rank[rank as usize].push_back(Held { path, data: data.into(), until: now + HELD_FOR });
        }
        room
    }

    /// Where the next one goes and its length, after those that are too old; how many of those there
    /// were.
    pub(super) fn peek(&mut self, now: Instant) -> (Option<(Path, usize)>, u64) {
        let mut expired = 0;
        for held in &mut self.by_rank {
            while held.pop_front_if(|held| held.until <= now).is_some() {
                expired += 1;
            }
        }
        let next = self.next().and_then(|held| held.front());
        (next.map(|held| (held.path, held.data.len())), expired)
    }

    /// Drops the next one.
    pub(super) fn skip(&mut self) {
        self.next().and_then(VecDeque::pop_front);
    }

    /// Takes the next one out, into `out`.
    pub(super) fn pop(&mut self, out: &mut [u8]) -> Option<(Path, usize)> {
        let held = self.next()?.pop_front()?;
        let len = held.data.len();
        out.get_mut(..len)?.copy_from_slice(&held.data);
        Some((held.path, len))
    }

    fn next(&mut self) -> Option<&mut VecDeque<Held>> {
        self.by_rank.iter_mut().find(|held| !held.is_empty())
    }
}

/// What `home` answers in a second, and a bit; 130 KiB at most.
const HELD_MAX: [usize; 2] = [64, 256];
const ANNOUNCES_PER_NETWORK: usize = 8;
/// The shortest time after which clients ask somebody else.
const HELD_FOR: Duration = Duration::from_secs(1);
