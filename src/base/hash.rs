//! Hashing: SHA-1 and SHA-256 for content, and keyed hash maps whose order no peer can choose.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::rng::Rng;

/// A hasher that is keyed by the engine's seed: the same seed gives the same order.
pub type State = SeedableRandomState;
/// A hash map with a [`State`]; iterate over it only where order cannot matter.
pub type Map<K, V> = HashMap<K, V, State>;
/// A hash set with a [`State`].
pub type Set<K> = HashSet<K, State>;

/// A hasher keyed from `rng`.
pub fn state(rng: &mut Rng) -> State {
    SeedableRandomState::with_seed(rng.u64(), SharedSeed::global_fixed())
}

/// An empty map keyed from `rng`.
pub fn map<K, V>(rng: &mut Rng) -> Map<K, V> {
    Map::with_hasher(state(rng))
}

/// An empty set keyed from `rng`.
pub fn set<K>(rng: &mut Rng) -> Set<K> {
    Set::with_hasher(state(rng))
}

/// SHA-1 of `bytes` (BEP 3 infohash).
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().expect("SHA-1 is 20 bytes")
}

/// SHA-256 of `bytes` (BEP 52 infohash).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_of_the_empty_string() {
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
