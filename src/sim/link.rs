//! What happens to packets and bytes on their way.

use std::time::Duration;

use crate::base::Rng;

/// The network between all hosts.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added to each packet, so that packets overtake each other.
    pub jitter: Duration,
    /// Datagrams lost, in a hundred.
    pub loss_pct: u8,
    /// Datagrams that arrive twice, in a hundred.
    pub duplicate_pct: u8,
    /// Streams are cut into pieces of random length, down to single bytes.
    pub split: bool,
}

impl Default for Link {
    fn default() -> Self {
        let delay = Duration::from_millis(20);
        Self { delay, jitter: Duration::from_millis(5), loss_pct: 0, duplicate_pct: 0, split: true }
    }
}

impl Link {
    /// When the copies of a datagram arrive: none, one or two.
    pub(super) fn arrivals(&self, rng: &mut Rng) -> Vec<Duration> {
        if rng.percent(self.loss_pct) {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.percent(self.duplicate_pct));
        (0..copies).map(|_| self.passage(rng)).collect()
    }

    pub(super) fn passage(&self, rng: &mut Rng) -> Duration {
        self.delay + Duration::from_nanos(rng.below(self.jitter.as_nanos() as u64 + 1))
    }

    /// The length of the next piece of `len` bytes of a stream, at least 1.
    pub(super) fn piece(&self, len: usize, rng: &mut Rng) -> usize {
        if !self.split {
            return len;
        }
        match rng.below(4) {
            0 => 1,
            1 => 1 + rng.index(len.min(16)),
            2 => 1 + rng.index(len),
            _ => len,
        }
    }
}
