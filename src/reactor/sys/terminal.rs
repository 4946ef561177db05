//! How wide the terminal is.

/// Columns of the terminal behind standard error (TIOCGWINSZ); `None` if it is none.
#[cfg(unix)]
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid place for the answer.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Columns of the terminal behind standard error.
#[cfg(not(unix))]
pub fn columns() -> Option<usize> {
    None
}
