//! Standard output: lines, tables and JSON lines.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use serde_json::Value;

use super::failure::Failure;
use crate::model::text;

/// Standard output, buffered; a reader that went away ends the command quietly.
pub struct Out {
    inner: BufWriter<StdoutLock<'static>>,
}

impl Out {
    /// Locks standard output.
    pub fn new() -> Self {
        Self { inner: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()) }
    }

    /// One line for people. Whatever of it came from strangers, it does not move the cursor, hide or
    /// go on for megabytes.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(text::terminal(line).as_bytes())?;
        self.write(b"\n")
    }

    /// One JSON value on a line of its own.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.json_text(&value.to_string())
    }

    /// The same, written as text already.
    pub fn json_text(&mut self, json: &str) -> Result<(), Failure> {
        self.write(text::json_line(json).as_bytes())?;
        self.write(b"\n")
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.inner.write_all(bytes).map_err(|fault| output_failed(&fault))
    }

    /// What was written so far becomes visible.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.inner.flush().map_err(|fault| output_failed(&fault))
    }
}

impl Default for Out {
    fn default() -> Self {
        Self::new()
    }
}

/// One line on standard error: what is said beside the results. A terminal that went away is no
/// reason to stop.
pub fn note(line: &str) {
    drop(writeln!(io::stderr(), "{}", text::terminal(line)));
}

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows with columns as wide as their widest cell, two spaces apart. The last column is not padded.
pub fn table<const N: usize>(head: [(&str, Align); N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = head.map(|(title, _)| width(title));
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    let titles = head.map(|(title, _)| title.to_owned());
    let all = std::iter::once(&titles).chain(rows);
    all.map(|row| {
        let cells: Vec<String> =
            (0..N).map(|column| pad(&row[column], widths[column], head[column].1, column + 1 == N)).collect();
        cells.join("  ").trim_end().to_owned()
    })
    .collect()
}

fn pad(cell: &str, wide: usize, align: Align, last: bool) -> String {
    let space = " ".repeat(wide.saturating_sub(width(cell)));
    match align {
        Align::Left if last => cell.to_owned(),
        Align::Left => format!("{cell}{space}"),
        Align::Right => format!("{space}{cell}"),
    }
}

/// Columns on a terminal, near enough: East Asian letters and emoji take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd) { 2 } else { 1 }).sum()
}

fn output_failed(fault: &io::Error) -> Failure {
    match fault.kind() {
        ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::failed(format!("cannot write to standard output: {fault}")),
    }
}

/// So that millions of lines are few system calls.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["7".to_owned(), "a".to_owned()], ["1,000".to_owned(), "日本".to_owned()]];
        let lines = table([("size", Align::Right), ("name", Align::Left)], &rows);
        assert_eq!(lines, [" size  name", "    7  a", "1,000  日本"]);
        let lines =
            table([("name", Align::Left), ("n", Align::Right)], &[["日本".to_owned(), "1".to_owned()]]);
        assert_eq!(lines, ["name  n", "日本  1"]);
    }
}
