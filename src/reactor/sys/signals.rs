//! Signals, delivered into the loop: the handler counts and writes one byte into a pipe.

use std::io;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};

/// What came since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// How many SIGINT and SIGTERM.
    pub stops: u32,
    /// SIGHUP came.
    pub reload: bool,
}

/// The one receiver of the process's signals; when dropped, they do again what they did before.
#[cfg(unix)]
pub struct Signals {
    pipe: mio::unix::pipe::Receiver,
    /// Open as long as the handler may write to it.
    _sender: mio::unix::pipe::Sender,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

#[cfg(unix)]
impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGHUP. `AlreadyExists` if another receiver lives.
    pub fn install() -> io::Result<Self> {
        if INSTALLED.swap(true, SeqCst) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (sender, pipe) = mio::unix::pipe::new().inspect_err(|_| INSTALLED.store(false, SeqCst))?;
        STOPS.store(0, SeqCst);
        RELOADS.store(0, SeqCst);
        PIPE.store(std::os::fd::AsRawFd::as_raw_fd(&sender), SeqCst);
        let mut signals = Self { pipe, _sender: sender, before: Vec::new() };
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            signals.before.push((signal, handle(signal)?));
        }
        Ok(signals)
    }

    /// The end of the pipe to register for reading.
    pub fn source(&mut self) -> &mut impl mio::event::Source {
        &mut self.pipe
    }

    /// What came since the last call; empties the pipe.
    pub fn take(&mut self) -> Arrived {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut self.pipe, &mut bytes), Ok(count) if count > 0) {}
        Arrived { stops: STOPS.swap(0, SeqCst), reload: RELOADS.swap(0, SeqCst) > 0 }
    }
}

#[cfg(unix)]
impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, action) in &self.before {
            // SAFETY: `action` is what the system itself reported for this signal.
            unsafe { libc::sigaction(*signal, action, std::ptr::null_mut()) };
        }
        PIPE.store(-1, SeqCst);
        INSTALLED.store(false, SeqCst);
    }
}

/// Sends SIGHUP to this thread.
#[cfg(all(test, unix))]
pub fn raise_hangup() {
    raise(libc::SIGHUP);
}

/// Sends SIGINT to this thread.
#[cfg(all(test, unix))]
pub fn raise_interrupt() {
    raise(libc::SIGINT);
}

/// Sends SIGTERM to this thread.
#[cfg(all(test, unix))]
pub fn raise_terminate() {
    raise(libc::SIGTERM);
}

#[cfg(all(test, unix))]
fn raise(signal: libc::c_int) {
    // SAFETY: the tests raise only what they have installed a handler for.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Puts the handler in place for `signal`; what was there before.
#[cfg(unix)]
fn handle(signal: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid `sigaction`: no flags, an empty mask, the default disposition.
    let (mut action, mut before) = unsafe { std::mem::zeroed::<(libc::sigaction, libc::sigaction)>() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does only what is async-signal-safe, and both structures are valid.
    match unsafe { libc::sigaction(signal, &raw const action, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Async-signal-safe: atomics, `write`, and `_exit`; `errno` is left as it was.
#[cfg(unix)]
extern "C" fn on_signal(signal: libc::c_int) {
    if signal == libc::SIGHUP {
        RELOADS.fetch_add(1, SeqCst);
    } else if STOPS.fetch_add(1, SeqCst) >= UNHEARD_STOPS_MAX {
        // SAFETY: `_exit` may be called from a signal handler.
        unsafe { libc::_exit(128 + signal) };
    }
    let errno = io::Error::last_os_error().raw_os_error();
    // SAFETY: `write` may be called from a handler; with -1 or a full pipe it fails, which is fine,
    // since then the reader is gone or has been woken already.
    unsafe { libc::write(PIPE.load(SeqCst), [1_u8].as_ptr().cast(), 1) };
    restore_errno(errno);
}

#[cfg(unix)]
fn restore_errno(errno: Option<i32>) {
    #[cfg(target_os = "linux")]
    // SAFETY: the address is this thread's own `errno`.
    unsafe {
        *libc::__errno_location() = errno.unwrap_or(0);
    }
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: the address is this thread's own `errno`.
    unsafe {
        *libc::__error() = errno.unwrap_or(0);
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "ios", target_os = "freebsd")))]
    let _ = errno;
}

/// Where there are no signals: nothing ever comes, and Ctrl-C ends the process.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Does nothing.
    pub fn install() -> io::Result<Self> {
        Ok(Self)
    }

    /// Nothing.
    pub fn take(&mut self) -> Arrived {
        Arrived::default()
    }
}

/// After this many stops that the loop did not even look at, it hangs, and the next one ends it.
#[cfg(unix)]
const UNHEARD_STOPS_MAX: u32 = 2;

#[cfg(unix)]
static INSTALLED: AtomicBool = AtomicBool::new(false);
#[cfg(unix)]
static PIPE: AtomicI32 = AtomicI32::new(-1);
#[cfg(unix)]
static STOPS: AtomicU32 = AtomicU32::new(0);
#[cfg(unix)]
static RELOADS: AtomicU32 = AtomicU32::new(0);
