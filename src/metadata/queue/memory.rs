//! Addresses and the like remembered for a while, in bounded number: those that answered well, and
//! those that did not.

use std::collections::VecDeque;
use std::hash::Hash;

use crate::base::hash::{self, Map};
use crate::base::{Instant, Rng};

/// Keys, each until its time is over; the one remembered longest ago makes room.
pub struct Memory<K> {
    until: Map<K, Instant>,
    /// Oldest first. An entry counts only while it says the same as the map.
    order: VecDeque<(K, Instant)>,
    cap: usize,
}

impl<K: Hash + Eq + Copy> Memory<K> {
    /// Remembers at most `cap` keys.
    pub fn new(cap: usize, rng: &mut Rng) -> Self {
        Self { until: hash::map(rng), order: VecDeque::new(), cap }
    }

    /// Remembers `key` until then, in place of what was remembered of it.
    pub fn put(&mut self, key: K, until: Instant) {
        self.until.insert(key, until);
        self.order.push_back((key, until));
        while self.until.len() > self.cap || self.order.len() > 2 * self.cap {
            let Some((oldest, said)) = self.order.pop_front() else { return };
            if self.until.get(&oldest) == Some(&said) {
                self.until.remove(&oldest);
            }
        }
    }

    /// Forgets `key`; whether there was something to forget.
    pub fn forget(&mut self, key: &K) -> bool {
        self.until.remove(key).is_some()
    }

    /// Until when `key` is remembered, as it was last put.
    pub fn until(&self, key: &K) -> Option<Instant> {
        self.until.get(key).copied()
    }

    /// True if `key` is remembered still.
    pub fn has(&self, key: &K, now: Instant) -> bool {
        self.until.get(key).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_longest_remembered_make_room_and_time_ends_it() {
        let mut memory = Memory::new(3, &mut Rng::seeded(1));
        (1..=4).for_each(|port| memory.put(addr(port), Instant(10)));
        assert!(!memory.has(&addr(1), Instant(0)));
        assert!(
            (2..=4).all(|port| memory.has(&addr(port), Instant(9)) && !memory.has(&addr(port), Instant(10)))
        );
        memory.put(addr(2), Instant(20));
        memory.put(addr(5), Instant(20));
        assert!(memory.has(&addr(2), Instant(15)), "remembered again later than 3");
        assert!(!memory.has(&addr(3), Instant(0)));
    }

    #[test]
    fn the_same_address_over_and_over_takes_no_more_room() {
        let mut memory = Memory::new(4, &mut Rng::seeded(1));
        (0..1_000).for_each(|at| memory.put(addr(7), Instant(at)));
        assert!(memory.order.len() <= 8 && memory.has(&addr(7), Instant(0)));
        memory.forget(&addr(7));
        assert_eq!((memory.until.len(), memory.has(&addr(7), Instant(0))), (0, false));
    }
}
