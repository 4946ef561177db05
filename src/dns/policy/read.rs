//! Reading lists: from bytes as they came to text, and to the reader of its format.
//!
//! What is not understood is counted and skipped: one odd line must not unprotect a network. A text that
//! gives no rule at all is no list, whatever it was meant to be.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::bufread::GzDecoder;

use super::build::Builder;
use super::list::List;
use super::report::{Format, PolicyFault};
use super::{lines, rpz};
use crate::base::text::bytes_without_bom;

impl List {
    /// Reads a list of any known format, compressed with gzip or not.
    pub fn parse(name: &str, raw: &[u8]) -> Result<Self, PolicyFault> {
        let text = text_of(raw)?;
        let format = if rpz::is_zone(&text) { Format::Rpz } else { Format::Domains };
        let mut builder = Builder::new(name, raw, format);
        match format {
            Format::Rpz => rpz::read(&mut builder, &text)?,
            _ => lines::read(&mut builder, &text)?,
        }
        builder.finish()
    }

    /// Refuses a list that lost more than so many percent of its rules, unless there were few.
    pub fn check_shrink(&self, before: Option<&Self>, shrink_percent_max: u8) -> Result<(), PolicyFault> {
        let (before, after) = (before.map_or(0, Self::rules), self.rules());
        let lost = before.saturating_sub(after);
        let is_much = lost as u64 * 100 > before as u64 * u64::from(shrink_percent_max);
        match before >= SHRINK_RULES_MIN && is_much {
            true => Err(PolicyFault::Shrunk { before, after }),
            false => Ok(()),
        }
    }
}

/// Unpacked, without byte order marks, in lines.
fn text_of(raw: &[u8]) -> Result<Cow<'_, [u8]>, PolicyFault> {
    let bytes = match raw.starts_with(GZIP) {
        true => Cow::Owned(unpack(raw)?),
        false => Cow::Borrowed(raw),
    };
    if bytes.len() > TEXT_MAX {
        return Err(PolicyFault::TooLarge);
    }
    if let Some((_, what)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(PolicyFault::NotText(what));
    }
    let text = match &*bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(from_utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(from_utf16(rest, u16::from_be_bytes)),
        plain if bytes_without_bom(plain).len() < plain.len() => {
            Cow::Owned(bytes_without_bom(plain).to_vec())
        }
        _ => bytes,
    };
    if text.contains(&0) {
        return Err(PolicyFault::NotText("binary data"));
    }
    if text.trim_ascii_start().starts_with(b"<") {
        return Err(PolicyFault::Page);
    }
    // Lines that only carriage returns end.
    if text.contains(&b'\r') && !text.contains(&b'\n') {
        let ended = text.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte });
        return Ok(Cow::Owned(ended.collect()));
    }
    Ok(text)
}

/// All members of a gzip file (RFC 1952, section 2.2); padding after them is passed over.
fn unpack(mut packed: &[u8]) -> Result<Vec<u8>, PolicyFault> {
    let mut text = Vec::new();
    while packed.starts_with(GZIP) {
        let mut decoder = GzDecoder::new(packed);
        let room = (TEXT_MAX + 1 - text.len()) as u64;
        decoder.by_ref().take(room).read_to_end(&mut text).map_err(|_| PolicyFault::Damaged)?;
        if text.len() > TEXT_MAX {
            return Err(PolicyFault::TooLarge);
        }
        packed = decoder.into_inner();
    }
    Ok(text)
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    letters.collect::<String>().into_bytes()
}

const GZIP: &[u8] = b"\x1f\x8b";
/// How other files begin that end up where a list should be.
const OTHERS: [(&[u8], &str); 8] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\0", "data compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "data compressed with zstd"),
    (b"BZh9", "data compressed with bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"%PDF-", "a PDF file"),
    (b"\x1f\x9d", "data compressed with compress"),
];
/// Bytes of one list's text: 50 for each of the most rules.
const TEXT_MAX: usize = 50 * super::table::RULES_MAX;
/// A list of fewer rules is somebody's own, and may be halved by taking out a few.
const SHRINK_RULES_MIN: usize = 10;
