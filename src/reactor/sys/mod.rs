//! What only the operating system can do, and the only `unsafe` of the program.
#![expect(unsafe_code, reason = "system calls that no safe library offers; each block says why it holds")]

pub mod disk;
pub mod errors;
pub mod interface;
pub mod limits;
pub mod local_time;
pub mod signals;
pub mod tcp;
pub mod terminal;
pub mod udp;

/// Sets a whole-number socket option that `socket2` does not know.
#[cfg(unix)]
fn set_option(socket: &socket2::Socket, level: i32, name: i32, value: i32) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: `value` lives through the call, and the length given is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
