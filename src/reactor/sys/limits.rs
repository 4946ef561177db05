//! What the process may use.

/// Raises the limit of open files as far as an ordinary user may: the limit now in force.
/// `None` where there is no such limit or it cannot be read.
#[cfg(unix)]
pub fn raise_open_files() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return None;
    }
    // macOS says "infinite" and then refuses more than this.
    let most = if cfg!(target_os = "macos") { 10_240.min(limit.rlim_max) } else { limit.rlim_max };
    let raised = libc::rlimit { rlim_cur: most, rlim_max: limit.rlim_max };
    // SAFETY: `raised` lives through the call.
    if limit.rlim_cur < most && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    Some(limit.rlim_cur as _)
}

/// Raises the limit of open files as far as an ordinary user may.
#[cfg(not(unix))]
pub fn raise_open_files() -> Option<u64> {
    None
}

/// Has a write to a broken pipe fail with an error instead of ending the process.
pub fn ignore_broken_pipes() {
    #[cfg(unix)]
    // SAFETY: SIG_IGN is a valid disposition, and no handler of ours is replaced.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Has large pieces of memory (info dictionaries, batches) go back to the system when they are
/// freed. Left alone, glibc learns from the first one freed to keep all of its size in the heap,
/// between longer-lived ones: 15 MB of 80 at 20,000 torrents.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: two parameters of the allocator, which it may refuse to no harm.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE_BYTES);
    }
}

/// glibc's own first guess, which setting it makes the last one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 128 << 10;
/// What may lie free at the end of the heap: the 128 KiB that come with the former would have it
/// grow and shrink all the time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SPARE_BYTES: libc::c_int = 2 << 20;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn raising_twice_changes_nothing_more() {
        let first = raise_open_files().unwrap();
        assert!(first > 0);
        assert_eq!(raise_open_files(), Some(first));
    }
}
