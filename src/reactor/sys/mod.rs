//! What only the operating system can do, and the only `unsafe` of the program.
#![expect(unsafe_code, reason = "system calls that no safe library offers; each block says why it holds")]

pub mod disk;
pub mod errors;
pub mod interface;
pub mod limits;
pub mod local_time;
pub mod network;
pub mod rights;
pub mod signals;
pub mod tcp;
pub mod terminal;
pub mod udp;

/// Sets a whole-number socket option that `socket2` does not know.
#[cfg(unix)]
fn set_option(socket: &impl std::os::fd::AsRawFd, level: i32, name: i32, value: i32) -> std::io::Result<()> {
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

/// What the kernel keeps of a socket's memory, by the `SK_MEMINFO_…` of linux/sock_diag.h.
#[cfg(target_os = "linux")]
fn meminfo(socket: &impl std::os::fd::AsRawFd) -> Option<[u32; MEMINFO_VARS]> {
    let mut info = [0_u32; MEMINFO_VARS];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` and `len` live through the call, and the length given is that of `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (result == 0 && len as usize == size_of_val(&info)).then_some(info)
}

/// `SK_MEMINFO_VARS`
#[cfg(target_os = "linux")]
const MEMINFO_VARS: usize = 9;
