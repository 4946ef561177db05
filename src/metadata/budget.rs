//! How much memory info dictionaries may take before they are verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all fetches together may hold; clones share one count.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicU64>);

/// A share of a [`Budget`]; dropping it gives it back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes a share, if so much is left.
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let take = |left: u64| left.checked_sub(bytes);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Bytes that are not reserved.
    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The largest dictionary that is fetched: 16 MiB, as anacrolix/torrent; libtorrent makes 4.
pub const METADATA_MAX: usize = 16 << 20;
