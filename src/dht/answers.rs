//! Answers that the rate holds back: they leave a little later instead of not at all, for a client
//! that starts asks about everything it has at once and takes a lost answer for a dead node.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Instant, Path};

/// Answers in the order in which they were asked for.
#[derive(Default)]
pub(super) struct HeldAnswers {
    held: VecDeque<Held>,
}

struct Held {
    path: Path,
    data: Box<[u8]>,
    /// Of no use to the other end after that.
    until: Instant,
}

impl HeldAnswers {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.held.len() < HELD_MAX
    }

    /// Takes one more; false if there is no room.
    pub(super) fn push(&mut self, path: Path, data: &[u8], now: Instant) -> bool {
        let room = self.has_room();
        if room {
            self.held.push_back(Held { path, data: data.into(), until: now + HELD_FOR });
        }
        room
    }

    /// Where the next one goes and its length, after those that are too old; how many of those there
    /// were.
    pub(super) fn peek(&mut self, now: Instant) -> (Option<(Path, usize)>, u64) {
        let mut expired = 0;
        while self.held.front().is_some_and(|held| held.until <= now) {
            self.held.pop_front();
            expired += 1;
        }
        (self.held.front().map(|held| (held.path, held.data.len())), expired)
    }

    /// Drops the next one.
    pub(super) fn skip(&mut self) {
        self.held.pop_front();
    }

    /// Takes the next one out, into `out`.
    pub(super) fn pop(&mut self, out: &mut [u8]) -> Option<(Path, usize)> {
        let held = self.held.pop_front()?;
        let len = held.data.len();
        out.get_mut(..len)?.copy_from_slice(&held.data);
        Some((held.path, len))
    }
}

/// What `home` answers in a second, and a bit; 100 KiB at most.
const HELD_MAX: usize = 256;
/// The shortest time after which clients ask somebody else.
const HELD_FOR: Duration = Duration::from_secs(1);
