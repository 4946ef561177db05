//! Where an infohash is on its way into the archive, for showing why it is not there.

use std::time::Duration;

use super::Engine;
use crate::base::InfoHash;

/// How far an infohash has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It was never heard of.
    Unheard,
    /// Its peers are being looked for or asked.
    UnderWay,
    /// No peer gave it; it is tried again after this time.
    Waiting(Duration),
    /// It is stored, under this hash or another, or given up, refused or deleted.
    Settled,
}

impl Engine {
    /// How far this infohash has come.
    pub fn whereabouts(&self, hash: &InfoHash) -> Whereabouts {
        match self.queue.wait_of(*hash, self.now) {
            Some(wait) if wait.is_zero() => Whereabouts::UnderWay,
            Some(wait) => Whereabouts::Waiting(wait),
            None if self.known.contains(hash) => Whereabouts::Settled,
            None => Whereabouts::Unheard,
        }
    }
}
