//! Counts what is allocated, so that a target can hold a decoder or a machine to the memory that it
//! may use. One thread only: libFuzzer runs a target on one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes that were held at once while `run` ran, on top of those held before; and the
/// bytes that are held still.
pub fn held_by<T>(run: impl FnOnce() -> T) -> (T, Held) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = run();
    let peak = PEAK.load(Relaxed).saturating_sub(before);
    (result, Held { peak, left: LIVE.load(Relaxed).saturating_sub(before) })
}

/// Panics if more than `peak_max` bytes are held at once while `run` runs, or more than `left_max`
/// afterwards.
pub fn within(peak_max: usize, left_max: usize, run: impl FnOnce()) {
    // Made once, and not to be counted.
    crate::peer::library();
    let ((), held) = held_by(run);
    assert!(held.peak <= peak_max, "{held:?}");
    assert!(held.left <= left_max, "{held:?}");
}

/// Bytes that are held now.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// Bytes of heap.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// At most, at any time.
    pub peak: usize,
    /// At the end.
    pub left: usize,
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}
