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
