//! The engine's only source of randomness: a CSPRNG that the driver seeds.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};

/// A cryptographically strong generator. The same seed gives the same sequence.
pub struct Rng(StdRng);

impl Rng {
    /// From 32 bytes that the driver drew from the system, or a simulator from its seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// From a small number: for simulations and tests.
    pub fn seeded(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A uniformly random number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniformly random number.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number in `0..n`, with a bias below `n / 2^64`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(n);
        (wide >> 64) as u64
    }

    /// An index into a slice of `len` elements; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True with a probability of `percent` in a hundred.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// An independent generator that continues from this one.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Self::new(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut a, mut b) = (Rng::seeded(1), Rng::seeded(1));
        assert_eq!([a.u64(), a.u64(), a.u64()], [b.u64(), b.u64(), b.u64()]);
        assert_ne!(Rng::seeded(1).u64(), Rng::seeded(2).u64());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::seeded(3);
        assert!((0..1_000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
