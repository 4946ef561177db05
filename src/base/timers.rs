//! A queue of deadlines across many machines: one live entry a key, in a row as far as they come in
//! order, else in a binary heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::slots::Token;
use super::time::Instant;

/// Deadlines of slots. An entry is re-checked by the owner when it is popped, so that moving a
/// deadline later costs nothing and moving it earlier costs one push.
#[derive(Default)]
pub struct Timers {
    /// Each not before the one in front of it. Time-outs of one length come in like that, and cost
    /// nothing to sort.
    row: VecDeque<Entry>,
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

/// When, the how manieth it was, and whom to wake.
type Entry = (Instant, u64, Token);

impl Timers {
    /// Wakes `token` at `at`.
    pub fn push(&mut self, at: Instant, token: Token) {
        self.sequence += 1;
        let entry = (at, self.sequence, token);
        // A late one in the row would send all that are due before it into the heap.
        if self.row.back().is_none_or(|(last, ..)| (*last..*last + STEP_MAX).contains(&at)) {
            self.row.push_back(entry);
        } else {
            self.heap.push(Reverse(entry));
        }
    }

    /// The next deadline, which may turn out to be stale.
    pub fn next(&self) -> Option<Instant> {
        let heap = self.heap.peek().map(|Reverse((at, ..))| *at);
        self.row.front().map(|(at, ..)| *at).into_iter().chain(heap).min()
    }

    /// Takes one entry that is due at `now`; equal deadlines come out in the order they went in.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Token)> {
        if self.next()? > now {
            return None;
        }
        let in_row = match (self.row.front(), self.heap.peek()) {
            (Some(row), Some(Reverse(heap))) => row < heap,
            (row, _) => row.is_some(),
        };
        let popped = if in_row { self.row.pop_front() } else { self.heap.pop().map(|Reverse(entry)| entry) };
        popped.map(|(at, _, token)| (at, token))
    }

    /// How many entries wait, stale ones included.
    pub fn len(&self) -> usize {
        self.row.len() + self.heap.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// So much later than the last one an entry may be and still take its place in the row.
const STEP_MAX: Duration = Duration::from_millis(20);

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
                let at = Instant(u64::from(at % 16) * 5_000_000);
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
