//! The only clock of the program, read once a turn.

use std::time::SystemTime;

use crate::base::{Instant, UnixTime};

/// A monotonic clock that begins at one second, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The time since the beginning, plus one second, so that nothing happens at zero.
    pub fn now(&self) -> Instant {
        Instant::from_millis(1_000) + self.origin.elapsed()
    }

    /// The wall clock; 1970 if it stands before that.
    pub fn unix(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        UnixTime(since.map_or(0, |since| since.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first >= Instant::from_millis(1_000) && clock.now() >= first);
        assert!(clock.unix() > UnixTime(1_600_000_000));
    }
}
