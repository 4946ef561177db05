//! How much room is left on a disk.

use std::io;
use std::path::Path;

/// The bytes that an ordinary user may still write to the file system that holds `path`
/// (`statvfs`). `Unsupported` where the system cannot tell.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::ffi::CString;
    use std::mem::MaybeUninit;
    use std::os::unix::ffi::OsStrExt;

    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero byte and `stat` has room for the answer.
    let stat = match unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } {
        // SAFETY: the call succeeded, so the answer is complete.
        0 => unsafe { stat.assume_init() },
        _ => return Err(io::Error::last_os_error()),
    };
    Ok((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
}

/// The bytes that an ordinary user may still write to the file system that holds `path`.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn free_bytes_of_what_is_there_and_what_is_not() {
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        let missing = free_bytes(Path::new("/no/such/place")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
