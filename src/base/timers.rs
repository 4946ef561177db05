//! A queue of deadlines across many machines: one binary heap, one live entry a key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slots::Token;
use super::time::Instant;

/// Deadlines of slots. An entry is re-checked by the owner when it is popped, so that moving a
/// deadline later costs nothing and moving it earlier costs one push.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64, Token)>>,
    sequence: u64,
}

impl Timers {
    /// Wakes `token` at `at`.
    pub fn push(&mut self, at: Instant, token: Token) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, token)));
    }

    /// The next deadline, which may turn out to be stale.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes one entry that is due at `now`; equal deadlines come out in the order they went in.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Token)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, token))| (at, token))
    }

    /// How many entries wait, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    #[test]
    fn due_entries_come_in_order_and_others_stay() {
        let mut slots = Slots::default();
        let (a, b, c) = (slots.insert(()), slots.insert(()), slots.insert(()));
        let mut timers = Timers::default();
        timers.push(Instant(20), a);
        timers.push(Instant(10), b);
        timers.push(Instant(10), c);
        assert_eq!(timers.pop_due(Instant(10)), Some((Instant(10), b)));
        assert_eq!(timers.pop_due(Instant(10)), Some((Instant(10), c)));
        assert_eq!(timers.pop_due(Instant(10)), None);
        assert_eq!((timers.next(), timers.len()), (Some(Instant(20)), 1));
    }

    quickcheck::quickcheck! {
        /// Against a map ordered by time and arrival.
        fn entries_come_out_as_from_a_sorted_map(steps: Vec<(bool, u8)>) -> bool {
            let (mut timers, mut slots) = (Timers::default(), Slots::default());
            let mut model = std::collections::BTreeMap::new();
            for (sequence, (push, at)) in steps.into_iter().enumerate() {
                let at = Instant(u64::from(at % 16));
                if push {
                    let token = slots.insert(());
                    timers.push(at, token);
                    model.insert((at, sequence), token);
                } else {
                    let due = model.first_key_value().filter(|((due, _), _)| *due <= at);
                    let due = due.map(|(key, token)| (*key, *token));
                    if let Some((key, _)) = due {
                        model.remove(&key);
                    }
                    if timers.pop_due(at) != due.map(|((due, _), token)| (due, token)) {
                        return false;
                    }
                }
                let next = model.first_key_value().map(|((at, _), _)| *at);
                if (timers.next(), timers.len(), timers.is_empty()) != (next, model.len(), model.is_empty()) {
                    return false;
                }
            }
            true
        }
    }
}
