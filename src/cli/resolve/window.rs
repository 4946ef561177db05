//! How many names may be under way: more as long as the servers keep up, half as many when answers
//! stay out. Who asks faster than a server answers only makes it drop questions.

use std::time::Duration;

use crate::base::Instant;

/// Grows by one with each answer at first, which doubles it in a round trip, then by one in a round
/// trip (as TCP does, RFC 5681).
pub(super) struct Window {
    size: f64,
    most: usize,
    /// Up to here it grows fast.
    threshold: f64,
    /// The shortest that an answer took.
    fastest: Duration,
    cut_at: Instant,
}

impl Window {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(LEAST);
        Self {
            size: FIRST.min(most) as f64,
            most,
            threshold: most as f64,
            fastest: Duration::MAX,
            cut_at: Instant(0),
        }
    }

    /// How many may be under way.
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// A server answered after `took`; `full`: the window was what held others back.
    pub(super) fn on_answer(&mut self, took: Duration, full: bool) {
        self.fastest = self.fastest.min(took);
        // Questions wait in line at the server, or here: more of them only wait longer.
        let in_line = took > self.fastest + PATIENCE;
        // No more than we could ask for in a round trip; a full batch for each socket is worth it.
        let useful = (self.fastest.as_secs_f64() * RATE_MAX).max(ENOUGH);
        if full && !in_line && self.size < useful {
            let step = if self.size < self.threshold { 1.0 } else { 1.0 / self.size };
            self.size = (self.size + step).min(self.most as f64);
        }
    }

    /// Answers stayed out: half as many, once for all that were asked at the same time.
    pub(super) fn on_silence(&mut self, now: Instant) {
        if now.since(self.cut_at) >= CUT_PAUSE {
            self.cut_at = now;
            self.size = (self.size / 2.0).max(LEAST as f64);
            self.threshold = self.size;
        }
    }
}

/// Names a second that one thread reaches at best.
const RATE_MAX: f64 = 400_000.0;
/// More is only more to keep in the processor's caches.
const ENOUGH: f64 = 1_024.0;
/// A small router's forwarder takes 150 at once (dnsmasq's default).
const FIRST: usize = 64;
const LEAST: usize = 8;
/// Longer than the resolvers of a provider take for what they know.
const PATIENCE: Duration = Duration::from_millis(50);
/// About what the shortest time-out is.
const CUT_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(10_000 + ms)
    }

    #[test]
    fn it_doubles_in_a_round_trip_up_to_its_most() {
        let mut window = Window::new(1_000);
        for expected in [128, 256, 512, 1_000, 1_000] {
            (0..window.size()).for_each(|_| window.on_answer(MS, true));
            assert_eq!(window.size(), expected);
        }
        (0..1_000).for_each(|_| window.on_answer(MS, false));
        assert_eq!(window.size(), 1_000);
    }

    #[test]
    fn silence_halves_it_once_and_then_it_grows_slowly() {
        let mut window = Window::new(512);
        (0..448).for_each(|_| window.on_answer(MS, true));
        (0..50).for_each(|_| window.on_silence(at(0)));
        assert_eq!(window.size(), 256);
        (0..257).for_each(|_| window.on_answer(MS, true));
        assert_eq!(window.size(), 257);
        (1..100).for_each(|cut| window.on_silence(at(cut * 1_000)));
        assert_eq!(window.size(), LEAST);
    }

    #[test]
    fn it_stays_where_more_would_only_wait_longer() {
        let mut window = Window::new(4_000);
        (0..4_000).for_each(|_| window.on_answer(MS, true));
        assert_eq!(window.size(), 1_024);
        let mut window = Window::new(4_000);
        (0..8_000).for_each(|_| window.on_answer(MS * 5, true));
        assert_eq!(window.size(), 2_000);
        let mut window = Window::new(1_000);
        window.on_answer(MS * 5, true);
        (0..500).for_each(|_| window.on_answer(MS * 56, true));
        assert_eq!(window.size(), FIRST + 1);
        // Not asked for because nobody wanted it.
        (0..500).for_each(|_| window.on_answer(MS * 5, false));
        assert_eq!(window.size(), FIRST + 1);
    }
}
