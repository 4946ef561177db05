//! Which infohashes need no second look: stored, dropped or deleted ones, and apart from them those
//! that were given up.

use crate::base::hash::{Set, State, set, state};
use crate::base::{InfoHash, Rng};
use std::hash::BuildHasher;

/// A set of 64-bit keyed fingerprints, some 12 bytes a hash. Among ten million hashes a new one
/// is mistaken for a known one once in 10^12, and since the key is secret nobody can arrange it.
///
/// It is in many parts that grow one by one: a single set of ten million would stand still for half
/// a second when it grows.
pub struct Known {
    parts: Box<[Set<u64>]>,
    len: usize,
    key: State,
}

impl Known {
    /// Nothing is known yet.
    pub fn new(rng: &mut Rng) -> Self {
        let parts = (0..PARTS).map(|_| set(rng)).collect();
        Self { parts, len: 0, key: state(rng) }
    }

    /// These are known.
    pub fn of(hashes: &[InfoHash], rng: &mut Rng) -> Self {
        let mut known = Self::new(rng);
        hashes.iter().for_each(|hash| known.insert(hash));
        known
    }

    /// It needs no second look from now on.
    pub fn insert(&mut self, hash: &InfoHash) {
        if self.len < KNOWN_MAX {
            let fingerprint = self.key.hash_one(hash);
            self.len += usize::from(self.parts[part_of(fingerprint)].insert(fingerprint));
        }
    }

    /// It may be looked at again.
    pub fn remove(&mut self, hash: &InfoHash) {
        let fingerprint = self.key.hash_one(hash);
        self.len -= usize::from(self.parts[part_of(fingerprint)].remove(&fingerprint));
    }

    /// Whether it needs no second look.
    pub fn contains(&self, hash: &InfoHash) -> bool {
        let fingerprint = self.key.hash_one(hash);
        self.parts[part_of(fingerprint)].contains(&fingerprint)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if every hash is new.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn part_of(fingerprint: u64) -> usize {
    fingerprint as usize % PARTS
}

/// Ten million hashes are 10,000 each, which take some 0.2 ms to move; empty ones 48 KiB in all.
const PARTS: usize = 1_024;
/// Beyond this, some 1.2 GB, what is not remembered is fetched again and merged by the archive.
const KNOWN_MAX: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    #[test]
    fn it_knows_what_went_in_and_nothing_else() {
        let mut rng = Rng::seeded(1);
        let mut known = Known::new(&mut rng);
        let hashes: Vec<_> = (0..2_000).map(|_| Id::random(&mut rng)).collect();
        hashes[..1_000].iter().for_each(|hash| known.insert(hash));
        assert!(hashes[..1_000].iter().all(|hash| known.contains(hash)));
        assert!(!hashes[1_000..].iter().any(|hash| known.contains(hash)));
        known.insert(&hashes[0]);
        assert_eq!(known.len(), 1_000);
        known.remove(&hashes[0]);
        known.remove(&hashes[0]);
        assert!(!known.contains(&hashes[0]) && known.len() == 999);
    }
}
