//! A file of names, one a line, however long it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The file, read as far as names were asked for.
pub(super) struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    /// Bytes read so far.
    pub(super) read: u64,
    /// Bytes of the file; `None` if it is no plain file.
    pub(super) size: Option<u64>,
    /// The number of the line that was read last, from 1.
    pub(super) number: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line that may be a name.
    Name,
    /// A line that is none, and why; as much of it as is to be shown.
    Bad(&'static str),
    /// Nothing more.
    End,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, line: Vec::new(), read: 0, size, number: 0 })
    }

    /// Puts the next line that is neither blank nor a comment in the place of `name`.
    pub(super) fn next(&mut self, name: &mut String) -> io::Result<Next> {
        name.clear();
        loop {
            self.line.clear();
            let len = Read::take(&mut self.file, LINE_MAX).read_until(b'\n', &mut self.line)? as u64;
            if len == 0 {
                return Ok(Next::End);
            }
            (self.read, self.number) = (self.read + len, self.number + 1);
            if len == LINE_MAX && !self.line.ends_with(b"\n") {
                self.skip_line()?;
                name.push_str(&String::from_utf8_lossy(&self.line[..SHOWN_MAX]));
                return Ok(Next::Bad("the line is longer than any name"));
            }
            let mut line = self.line.as_slice();
            if self.number == 1 {
                // Editors of Windows begin a file with it.
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            }
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let Ok(text) = std::str::from_utf8(line) else {
                name.push_str(&String::from_utf8_lossy(line));
                return Ok(Next::Bad("it is no name: not UTF-8"));
            };
            name.push_str(text);
            return Ok(Next::Name);
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.file.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |at| at + 1);
            self.file.consume(used);
            self.read += used as u64;
            if used == 0 || end.is_some() {
                return Ok(());
            }
        }
    }
}

/// Far longer than any name, escapes included.
const LINE_MAX: u64 = 4_096;
/// As much of a line that is too long as one can recognize it by.
const SHOWN_MAX: usize = 64;
/// So that a read of a disk is worth it.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let (mut lines, mut name, mut all) = (Lines::open(file.path()).unwrap(), String::new(), Vec::new());
        loop {
            match lines.next(&mut name).unwrap() {
                Next::Name => all.push(name.clone()),
                Next::Bad(why) => all.push(format!("{}: {name} ({why})", lines.number)),
                Next::End => break,
            }
        }
        assert_eq!((lines.read, lines.size), (content.len() as u64, Some(content.len() as u64)));
        all
    }

    #[test]
    fn lines_of_any_system_with_blanks_and_comments() {
        let names = read("\u{feff}a.test\r\n\r\n# c\n \t b.test \n\nlast.test".as_bytes());
        assert_eq!(names, ["a.test", "b.test", "last.test"]);
        assert!(read(b"").is_empty() && read(b"\n\r\n#\n").is_empty());
    }

    #[test]
    fn a_line_that_is_no_text_or_too_long_costs_no_other() {
        let long = "x".repeat(20_000);
        let content = [b"a.test\n", long.as_bytes(), b"\nb\xff\nc.test\n"].concat();
        let shown = "x".repeat(64);
        assert_eq!(
            read(&content),
            [
                "a.test".to_owned(),
                format!("2: {shown} (the line is longer than any name)"),
                "3: b\u{fffd} (it is no name: not UTF-8)".to_owned(),
                "c.test".to_owned(),
            ]
        );
        // As long as a line may be with its end, and one byte more.
        for more in 0..2 {
            let line = ["y".repeat(LINE_MAX as usize - 1 + more), "\nz.test\n".to_owned()].concat();
            assert_eq!(read(line.as_bytes()).last().unwrap(), "z.test");
        }
    }
}
