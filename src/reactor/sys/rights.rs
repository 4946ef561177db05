//! Which other users may read what this process makes.

use std::path::Path;

/// Files and folders that the process makes from now on are its own user's alone: 0600 and 0700.
/// The database, its log, the index and copies of them are all made by libraries with the rights
/// that the process gives.
#[cfg(unix)]
pub fn keep_to_own_user() {
    // SAFETY: sets a number of the process and cannot fail.
    unsafe { libc::umask(0o077) };
}

/// Files and folders that the process makes from now on are its own user's alone.
#[cfg(not(unix))]
pub fn keep_to_own_user() {}

/// The rights of a file or folder (such as 0o644) if others than its owner may read, write or enter
/// it; `None` if they may not, and where that cannot be told.
#[cfg(unix)]
pub fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let rights = path.metadata().ok()?.permissions().mode() & 0o777;
    (rights & 0o077 != 0).then_some(rights)
}

/// Always `None` here.
#[cfg(not(unix))]
pub fn open_to_others(_path: &Path) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn rights_of_others_are_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (rights, told) in
            [(0o600, None), (0o640, Some(0o640)), (0o604, Some(0o604)), (0o620, Some(0o620))]
        {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(rights)).unwrap();
            assert_eq!(open_to_others(file.path()), told);
        }
        assert_eq!(open_to_others(Path::new("/no/such/file")), None);
    }
}
