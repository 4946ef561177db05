//! Items that all want the same thing, in fair order: sources of hashes take turns, within a source
//! the addresses that named them, within an address the best rank goes first.
//!
//! An address that had its turn queues up again at the end, and so much further back as its turns
//! held slots: whatever one address does, another waits no longer than for those before it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Source;
use super::credit::Belief;
use crate::base::hash::{self, Map};
use crate::base::{Instant, Rng, Token};

/// Where an item queues up: how it was heard of, and which address answers for it.
pub type Line = (Source, IpAddr);

/// The items.
pub struct Turns {
    lines: Map<Line, Members>,
    lanes: [Lane; LANES],
    /// Items of each lane, those of parked lines too.
    counts: [usize; LANES],
    /// Turns that each source had, in units of its weight.
    turns: [u64; Source::COUNT],
    len: usize,
}

/// What one address named.
struct Members {
    items: BTreeSet<(u64, Token)>,
    belief: Belief,
    /// Its place in the queue: the least comes next.
    due: Instant,
    /// It has all that it may have at once, and is in no lane.
    parked: bool,
}

/// The lines of one source that are believed alike, in their order.
type Lane = BTreeSet<(Instant, IpAddr)>;

impl Turns {
    /// No items.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            lines: hash::map(rng),
            lanes: std::array::from_fn(|_| Lane::new()),
            counts: [0; LANES],
            turns: [0; Source::COUNT],
            len: 0,
        }
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if the item is here.
    pub fn contains(&self, at: Line, item: (u64, Token)) -> bool {
        self.lines.get(&at).is_some_and(|line| line.items.contains(&item))
    }

    /// Puts an item in. A line that had none until now joins with `fresh`: how far it is believed,
    /// and from when on it may have a turn.
    pub fn insert(&mut self, at: Line, item: (u64, Token), fresh: impl FnOnce() -> (Belief, Instant)) {
        let (source, from) = at;
        self.len += 1;
        if let Some(line) = self.lines.get_mut(&at) {
            line.items.insert(item);
            self.counts[lane(source, line.belief)] += 1;
            return;
        }
        let (belief, due) = fresh();
        if !self.has(source) {
            // What was not used while there was nothing to do is not saved up.
            self.turns[source as usize] = self.turns[source as usize].max(self.least_turns());
        }
        self.lanes[lane(source, belief)].insert((due, from));
        self.counts[lane(source, belief)] += 1;
        self.lines.insert(at, Members { items: BTreeSet::from([item]), belief, due, parked: false });
    }

    /// Takes an item out; false if it is not here.
    pub fn remove(&mut self, at: Line, item: (u64, Token)) -> bool {
        let Some(line) = self.lines.get_mut(&at) else { return false };
        let found = line.items.remove(&item);
        self.len -= usize::from(found);
        self.counts[lane(at.0, line.belief)] -= usize::from(found);
        if line.items.is_empty() {
            self.leave(at);
            self.lines.remove(&at);
        }
        found
    }

    /// The line and item whose turn it is, among places in lanes that `may` have one.
    pub fn first(&self, may: impl Fn(Source, Belief) -> bool) -> Option<(Line, Belief, Token)> {
        let mut best: Option<((u64, Source), Source)> = None;
        for source in Source::ALL {
            let waits =
                |belief: &Belief| !self.lanes[lane(source, *belief)].is_empty() && may(source, *belief);
            // Commands do not take turns: they are few, and somebody waits.
            let turns = if source == Source::Command { 0 } else { self.turns[source as usize] };
            if BELIEFS.iter().any(waits) && best.is_none_or(|(key, _)| (turns, source) < key) {
                best = Some(((turns, source), source));
            }
        }
        let (_, source) = best?;
        let lanes = BELIEFS.into_iter().filter(|belief| may(source, *belief));
        let firsts = lanes.filter_map(|belief| {
            let (due, from) = self.lanes[lane(source, belief)].first()?;
            Some((*due, belief, *from))
        });
        let (_, belief, from) = firsts.min()?;
        let (_, token) = self.lines.get(&(source, from))?.items.first()?;
        Some(((source, from), belief, *token))
    }

    /// The line had its turn, and queues up again as of `due`.
    pub fn served(&mut self, at: Line, due: Instant) {
        self.turns[at.0 as usize] += WEIGHTS[at.0 as usize];
        self.charge(at, due);
    }

    /// The line has no turn before those that wait since `due`.
    pub fn charge(&mut self, at: Line, due: Instant) {
        self.change(at, |line| line.due = line.due.max(due));
    }

    /// What the line holds is believed so far from now on.
    pub fn believe(&mut self, at: Line, belief: Belief) {
        if self.lines.get(&at).is_some_and(|line| line.belief != belief) {
            self.change(at, |line| line.belief = belief);
        }
    }

    /// The line has no turn until it is unparked.
    pub fn park(&mut self, at: Line, parked: bool) {
        if self.lines.get(&at).is_some_and(|line| line.parked != parked) {
            self.change(at, |line| line.parked = parked);
        }
    }

    /// True if a line of this source may have a turn.
    pub fn has(&self, source: Source) -> bool {
        BELIEFS.iter().any(|belief| !self.lanes[lane(source, *belief)].is_empty())
    }

    /// Items of such source and belief.
    pub fn count(&self, source: Source, belief: Belief) -> usize {
        self.counts[lane(source, belief)]
    }

    /// Panics if it contradicts itself.
    pub fn check_invariants(&self) {
        let lines = self.lines.iter();
        let items: usize = lines.clone().map(|(_, line)| line.items.len()).sum();
        assert_eq!((items, self.counts.iter().sum()), (self.len, self.len), "items");
        let parked = lines.clone().filter(|(_, line)| line.parked).count();
        let placed: usize = self.lanes.iter().map(|lane| lane.len()).sum();
        assert_eq!(placed + parked, self.lines.len(), "lines");
        for ((source, from), line) in lines {
            let placed = self.lanes[lane(*source, line.belief)].contains(&(line.due, *from));
            assert!(!line.items.is_empty() && placed != line.parked, "{source:?} {from}");
        }
    }

    fn change(&mut self, at: Line, change: impl FnOnce(&mut Members)) {
        self.leave(at);
        if let Some(line) = self.lines.get_mut(&at) {
            self.counts[lane(at.0, line.belief)] -= line.items.len();
            change(line);
            self.counts[lane(at.0, line.belief)] += line.items.len();
            if !line.parked {
                self.lanes[lane(at.0, line.belief)].insert((line.due, at.1));
            }
        }
    }

    fn leave(&mut self, at: Line) {
        if let Some(line) = self.lines.get(&at) {
            self.lanes[lane(at.0, line.belief)].remove(&(line.due, at.1));
        }
    }

    fn least_turns(&self) -> u64 {
        let ready = Source::ALL.into_iter().filter(|source| self.has(*source));
        ready.map(|source| self.turns[source as usize]).min().unwrap_or(0)
    }
}

fn lane(source: Source, belief: Belief) -> usize {
    source as usize * BELIEFS.len() + belief as usize
}

const BELIEFS: [Belief; 3] = [Belief::Proved, Belief::Unknown, Belief::Doubted];
const LANES: usize = Source::COUNT * BELIEFS.len();
/// What one turn costs each source, in the order of [`Source::ALL`]: a hash that was only asked for
/// may well not exist.
const WEIGHTS: [u64; Source::COUNT] = [1, 1, 1, 4];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Slots;

    fn ip(n: u8) -> IpAddr {
        [11, 0, n, 1].into()
    }

    fn at(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    fn fill(turns: &mut Turns, slots: &mut Slots<()>, source: Source, from: u8, count: u64) {
        for rank in 0..count {
            let token = slots.insert(());
            turns.insert((source, ip(from)), (rank, token), || (Belief::Unknown, at(0)));
        }
    }

    /// Serves `count`, one each millisecond; a turn of address `n` costs `cost(n)`.
    fn serve(turns: &mut Turns, count: u64, cost: impl Fn(u8) -> u64) -> Vec<(Source, u8)> {
        let serve = |now| {
            let (place, _, token) = turns.first(|_, _| true)?;
            let IpAddr::V4(ip) = place.1 else { panic!("{place:?}") };
            let n = ip.octets()[2];
            let rank = turns.lines[&place].items.first().unwrap().0;
            turns.served(place, at(now + cost(n)));
            assert!(turns.remove(place, (rank, token)));
            turns.check_invariants();
            Some((place.0, n))
        };
        (1..=count).filter_map(serve).collect()
    }

    #[test]
    fn one_address_with_many_hashes_does_not_keep_others_waiting() {
        let (mut turns, mut slots) = (Turns::new(&mut Rng::seeded(1)), Slots::default());
        fill(&mut turns, &mut slots, Source::Announced, 1, 1_000);
        fill(&mut turns, &mut slots, Source::Announced, 2, 3);
        let served = serve(&mut turns, 8, |_| 1);
        assert_eq!(served.iter().filter(|(_, n)| *n == 2).count(), 3, "{served:?}");
    }

    #[test]
    fn a_share_is_measured_in_time_not_in_turns() {
        let (mut turns, mut slots) = (Turns::new(&mut Rng::seeded(1)), Slots::default());
        fill(&mut turns, &mut slots, Source::Announced, 1, 1_000);
        fill(&mut turns, &mut slots, Source::Announced, 2, 1_000);
        let served = serve(&mut turns, 800, |n| if n == 1 { 400 } else { 1 });
        let slow = served.iter().filter(|(_, n)| *n == 1).count();
        assert!((1..=4).contains(&slow), "{slow} turns for the one that takes 400 times as long");
    }

    #[test]
    fn sources_take_turns_by_weight_and_save_nothing_up() {
        let (mut turns, mut slots) = (Turns::new(&mut Rng::seeded(1)), Slots::default());
        fill(&mut turns, &mut slots, Source::Sampled, 1, 1_000);
        serve(&mut turns, 500, |_| 1);
        fill(&mut turns, &mut slots, Source::Announced, 2, 1_000);
        fill(&mut turns, &mut slots, Source::Wanted, 3, 1_000);
        let served = serve(&mut turns, 90, |_| 1);
        let count = |wanted| served.iter().filter(|(source, _)| *source == wanted).count();
        assert!((38..=42).contains(&count(Source::Sampled)), "{served:?}");
        assert!((38..=42).contains(&count(Source::Announced)) && count(Source::Wanted) >= 8, "{served:?}");
        fill(&mut turns, &mut slots, Source::Command, 4, 2);
        assert_eq!(serve(&mut turns, 1, |_| 1), [(Source::Command, 4)]);
    }

    #[test]
    fn a_parked_place_has_no_turn_and_belief_moves_lines() {
        let (mut turns, mut slots) = (Turns::new(&mut Rng::seeded(1)), Slots::default());
        fill(&mut turns, &mut slots, Source::Sampled, 1, 2);
        fill(&mut turns, &mut slots, Source::Sampled, 2, 2);
        let places = [(Source::Sampled, ip(1)), (Source::Sampled, ip(2))];
        turns.park(places[0], true);
        assert_eq!(turns.first(|_, _| true).map(|(place, ..)| place), Some(places[1]));
        turns.believe(places[0], Belief::Proved);
        turns.believe(places[1], Belief::Doubted);
        assert_eq!(turns.first(|_, belief| belief != Belief::Doubted), None);
        turns.park(places[0], false);
        turns.check_invariants();
        let first = turns.first(|_, belief| belief == Belief::Proved);
        assert_eq!((first.map(|(place, ..)| place), turns.len()), (Some(places[0]), 4));
    }
}
