//! Files that commands write: a name holds what was meant to be written, or what it held before.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What [`put`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// A new file, or one with other contents, was written.
    Written,
    /// The same bytes were there already.
    Unchanged,
}

/// Makes `path` a file of these bytes. One that holds them already is left alone; anything else is
/// replaced as a whole, so that no reader and no crash finds half of it. A folder is an error, and
/// a symbolic link is replaced, not followed.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<Put> {
    if holds(path, bytes)? {
        return Ok(Put::Unchanged);
    }
    let mut draft = Draft::beside(path)?;
    draft.write_all(bytes)?;
    draft.keep()?;
    Ok(Put::Written)
}

/// A file that gets its name once it is complete. Dropped before, it leaves nothing.
pub struct Draft {
    /// Declared first: closed before the file is removed.
    file: Option<BufWriter<File>>,
    /// `None` if the target is a device or a pipe, which is written to as it is.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Draft {
    /// Begins one for `path`. A device or a pipe of that name is written to directly.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let facts = match path.symlink_metadata() {
            // What a link leads to counts only if it is a device, such as /dev/stdout.
            Ok(facts) if facts.is_symlink() => path.metadata().ok(),
            Ok(facts) => Some(facts),
            Err(_) => None,
        };
        if facts.as_ref().is_some_and(|facts| facts.is_dir()) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if facts.is_some_and(|facts| !facts.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Self { file: Some(BufWriter::new(file)), temporary: None, path: path.to_owned() });
        }
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut fault = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..NAMES_TRIED {
            let mut draft = std::ffi::OsString::from(".");
            // A name may be as long as the file system allows, and this one is longer.
            draft.push(name.to_string_lossy().chars().take(NAME_CHARS).collect::<String>());
            draft.push(format!(".{}-{number}.part", std::process::id()));
            let temporary = path.with_file_name(draft);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    let file = Some(BufWriter::new(file));
                    return Ok(Self { file, temporary: Some(temporary), path: path.to_owned() });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fault = error,
                Err(error) => return Err(error),
            }
        }
        Err(fault)
    }

    /// Gives it its name, in place of what had it.
    pub fn keep(mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        self.file = None;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        std::fs::rename(&temporary, &self.path).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::Error::from(io::ErrorKind::NotConnected)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What is buffered is not wanted, and a full disk would fail it again.
            if let Some(file) = self.file.take() {
                drop(file.into_parts());
            }
            drop(std::fs::remove_file(temporary));
        }
    }
}

/// Whether a regular file of this name has exactly these bytes.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let facts = match path.symlink_metadata() {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !facts.is_file() || facts.len() != bytes.len() as u64 {
        return Ok(false);
    }
    // One that cannot be read is as good as another one: it is replaced if that is allowed.
    let Ok(file) = File::open(path) else { return Ok(false) };
    let mut found = Vec::with_capacity(bytes.len());
    let read = file.take(bytes.len() as u64 + 1).read_to_end(&mut found);
    Ok(read.is_ok() && found == bytes)
}

/// Names of drafts that are tried; others are left over from processes that were killed.
const NAMES_TRIED: u32 = 16;
/// Of a draft's name: 40 hex digits and `.torrent` fit, and four bytes a character stay below 255.
const NAME_CHARS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_is_compared_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.torrent");
        assert_eq!(put(&path, b"content").unwrap(), Put::Written);
        assert_eq!(put(&path, b"content").unwrap(), Put::Unchanged);
        for other in [&b""[..], b"cont", b"CONTENT", b"content and more"] {
            std::fs::write(&path, other).unwrap();
            assert_eq!(put(&path, b"content").unwrap(), Put::Written, "{other:?}");
            assert_eq!(std::fs::read(&path).unwrap(), b"content");
        }
        assert_eq!(names(folder.path()), ["a.torrent"]);
    }

    #[test]
    fn a_folder_of_that_name_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(put(&path, b"x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_is_not_completed_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "old").unwrap();
        let mut draft = Draft::beside(&path).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(folder.path())),
            (b"old".to_vec(), vec!["a.csv".to_owned()])
        );
        let mut draft = Draft::beside(&path).unwrap();
        draft.write_all(b"new").unwrap();
        draft.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
