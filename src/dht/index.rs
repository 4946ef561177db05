//! Which slot of the directory a key is in: many small hash tables, so that growth of one is short.
//!
//! One table of millions would stand still for a tenth of a second when it grows, and hold the old
//! and the new one at once. Here a share of the hash picks the table, and each grows by itself.

use hashbrown::HashTable;

/// Slots by the hash of what is in them. The caller has the hashes and the slots.
pub(super) struct Index {
    parts: Box<[HashTable<u32>]>,
    len: usize,
}

impl Index {
    /// Empty; it holds no room for slots yet.
    pub(super) fn new() -> Self {
        Self { parts: vec![HashTable::new(); PARTS].into_boxed_slice(), len: 0 }
    }

    /// How many slots.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All slots with this hash, and hardly any others.
    pub(super) fn with_hash(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        self.parts[part_of(hash)].iter_hash(hash).copied()
    }

    /// The slot with this hash that fits.
    pub(super) fn find(&self, hash: u64, fits: impl Fn(u32) -> bool) -> Option<u32> {
        self.parts[part_of(hash)].find(hash, |slot| fits(*slot)).copied()
    }

    /// Adds a slot that is not there. `hash_of` gives the hash of any slot that is.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        self.parts[part_of(hash)].insert_unique(hash, slot, |slot| hash_of(*slot));
        self.len += 1;
    }

    /// Removes a slot; false if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) -> bool {
        let Ok(found) = self.parts[part_of(hash)].find_entry(hash, |other| *other == slot) else {
            return false;
        };
        found.remove();
        self.len -= 1;
        true
    }
}

/// Neither the lowest bits, which choose the place within a table, nor the topmost, which are its
/// tags.
fn part_of(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

/// Four million nodes are 2,000 each, which take some 0.1 ms to move; empty ones 64 KiB in all.
const PARTS: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Rng, hash};
    use std::hash::BuildHasher;

    #[test]
    fn it_holds_what_a_map_holds_through_growth_and_removal() {
        let key = hash::state(&mut Rng::seeded(1));
        // Several slots share a hash, as the ports of one address do.
        let hash_of = |slot: u32| key.hash_one(slot / 3);
        let mut index = Index::new();
        (0..30_000).for_each(|slot| index.insert(hash_of(slot), slot, hash_of));
        for slot in (0..30_000).filter(|slot| slot % 2 == 0) {
            assert!(index.remove(hash_of(slot), slot) && !index.remove(hash_of(slot), slot));
        }
        assert_eq!(index.len(), 15_000);
        for slot in 0..30_000 {
            assert_eq!(index.find(hash_of(slot), |other| other == slot).is_some(), slot % 2 == 1);
            let mut same: Vec<u32> = index.with_hash(hash_of(slot)).filter(|it| it / 3 == slot / 3).collect();
            same.sort_unstable();
            let first = slot / 3 * 3;
            let odd: Vec<u32> = (first..first + 3).filter(|slot| slot % 2 == 1).collect();
            assert_eq!(same, odd);
        }
    }

    #[test]
    fn no_part_grows_much_larger_than_others() {
        let key = hash::state(&mut Rng::seeded(2));
        let mut index = Index::new();
        (0..400_000u32).for_each(|slot| index.insert(key.hash_one(slot), slot, |slot| key.hash_one(slot)));
        let largest = index.parts.iter().map(HashTable::len).max().unwrap();
        assert!(largest < 2 * 400_000 / PARTS, "{largest}");
    }
}
