//! Which infohashes need no second look: stored, dropped, deleted or given up.

use crate::base::hash::{Set, State, set, state};
use crate::base::{InfoHash, Rng};
use std::hash::BuildHasher;

/// A set of 64-bit keyed fingerprints, some 12 bytes a hash. Among ten million hashes a new one
/// is mistaken for a known one once in 10^12, and since the key is secret nobody can arrange it.
pub(super) struct Known {
    fingerprints: Set<u64>,
    key: State,
}

impl Known {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { fingerprints: set(rng), key: state(rng) }
    }

    pub(super) fn insert(&mut self, hash: &InfoHash) {
        if self.fingerprints.len() < KNOWN_MAX {
            self.fingerprints.insert(self.key.hash_one(hash));
        }
    }

    pub(super) fn remove(&mut self, hash: &InfoHash) {
        self.fingerprints.remove(&self.key.hash_one(hash));
    }

    pub(super) fn contains(&self, hash: &InfoHash) -> bool {
        self.fingerprints.contains(&self.key.hash_one(hash))
    }

    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }
}

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
        assert_eq!(known.len(), 1_000);
    }
}
