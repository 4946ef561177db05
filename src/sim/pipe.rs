//! What happens to a stream of bytes: it is cut anywhere, it stalls, it breaks in the middle.

use std::time::Duration;

use crate::base::Rng;

/// The streams between all hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// Streams are cut into pieces of random length, down to single bytes.
    pub split: bool,
    /// Pieces before which the stream stalls, in a thousand.
    pub stall_permille: u16,
    /// For how long at most.
    pub stall_max: Duration,
    /// Writes in whose middle the stream breaks, in a thousand.
    pub reset_permille: u16,
}

impl Default for Pipe {
    fn default() -> Self {
        Self { split: true, stall_permille: 0, stall_max: Duration::ZERO, reset_permille: 0 }
    }
}

impl Pipe {
    /// The length of the next piece of `len` bytes of a stream, at least 1.
    pub(super) fn piece(&self, len: usize, rng: &mut Rng) -> usize {
        if !self.split {
            return len;
        }
        match rng.below(8) {
            0 => 1,
            1 => 1 + rng.index(len.min(16)),
            2 => 1 + rng.index(len),
            _ => len,
        }
    }

    /// How long after the piece before the next one comes.
    pub(super) fn pause(&self, rng: &mut Rng) -> Duration {
        let pause = Duration::from_micros(1 + rng.below(500));
        if self.stall_permille == 0 || rng.below(1_000) >= u64::from(self.stall_permille) {
            return pause;
        }
        pause + Duration::from_nanos(rng.below(self.stall_max.as_nanos() as u64 + 1))
    }

    /// After how many of `len` bytes this write breaks the stream, if it does.
    pub(super) fn breaks(&self, len: usize, rng: &mut Rng) -> Option<usize> {
        let breaks = self.reset_permille > 0 && rng.below(1_000) < u64::from(self.reset_permille);
        breaks.then(|| rng.index(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_every_length_and_never_none() {
        let (pipe, mut rng) = (Pipe::default(), Rng::seeded(1));
        let mut seen = [false; 21];
        for _ in 0..2_000 {
            let piece = pipe.piece(20, &mut rng);
            assert!((1..=20).contains(&piece));
            seen[piece] = true;
        }
        assert!(seen[1..].iter().all(|seen| *seen));
        let whole = Pipe { split: false, ..pipe };
        assert_eq!(whole.piece(20, &mut rng), 20);
    }

    #[test]
    fn stalls_and_breaks_come_only_when_asked_for() {
        let mut rng = Rng::seeded(2);
        let calm = Pipe::default();
        assert!((0..1_000).all(|_| calm.pause(&mut rng) <= Duration::from_millis(1)));
        assert!((0..1_000).all(|_| calm.breaks(10, &mut rng).is_none()));
        let rough =
            Pipe { stall_permille: 100, stall_max: Duration::from_secs(5), reset_permille: 100, ..calm };
        let stalls = (0..1_000).filter(|_| rough.pause(&mut rng) > Duration::from_millis(10)).count();
        let breaks = (0..1_000).filter(|_| rough.breaks(10, &mut rng).is_some_and(|at| at < 10)).count();
        assert!((60..140).contains(&stalls) && (60..140).contains(&breaks), "{stalls} {breaks}");
    }
}
