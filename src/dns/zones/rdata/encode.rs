//! Pieces of record data between text and bytes: numbers, texts, hexadecimal, base64, base32, times.

use std::fmt::Write as _;
use std::str;

use crate::dns::zones::master::{Reason, Token};

pub(super) fn number<T: str::FromStr>(token: Token<'_>) -> Result<T, Reason> {
    number_of(token.text)
}

pub(super) fn number_of<T: str::FromStr>(text: &[u8]) -> Result<T, Reason> {
    let text = str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
    text.and_then(|text| text.parse().ok()).ok_or(Reason::Data)
}

/// A text of at most 255 bytes, its length before it.
pub(super) fn put_text(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let at = out.len();
    out.push(0);
    unescape(token.text, out)?;
    out[at] = u8::try_from(out.len() - at - 1).map_err(|_| Reason::Data)?;
    Ok(())
}

/// A text without its escapes (RFC 1035, section 5.1).
pub(super) fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    loop {
        text = match text {
            [] => return Ok(()),
            [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
                let (digits, rest) = digits.split_at_checked(3).ok_or(Reason::Data)?;
                out.push(number_of(digits)?);
                rest
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

/// A text in quotes.
pub(super) fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => write!(out, "\\{byte:03}").expect("a string takes everything"),
        }
    }
    out.push('"');
}

pub(super) fn put_hex(digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut high = None;
    for byte in digits {
        let digit = char::from(byte).to_digit(16).ok_or(Reason::Data)? as u8;
        high = match high {
            None => Some(digit),
            Some(high) => {
                out.push(high << 4 | digit);
                None
            }
        };
    }
    if high.is_some() { Err(Reason::Data) } else { Ok(()) }
}

pub(super) fn hex(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(2 * data.len()), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}

/// RFC 4648, section 4, with its padding.
pub(super) fn put_base64(letters: impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let (mut bits, mut count, mut padding) = (0_u32, 0_usize, 0_usize);
    for letter in letters {
        if letter == b'=' {
            padding += 1;
            continue;
        }
        let value =
            BASE64.iter().position(|other| *other == letter).filter(|_| padding == 0).ok_or(Reason::Data)?;
        bits = bits << 6 | value as u32;
        count += 1;
        if count.is_multiple_of(4) {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    // What is left are 2 letters for a byte or 3 for two; bits behind them are 0.
    match (count % 4, padding) {
        (0, 0) => return Ok(()),
        (2, 2) if bits & 0xf == 0 => out.push((bits >> 4) as u8),
        (3, 1) if bits & 0x3 == 0 => out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => return Err(Reason::Data),
    }
    Ok(())
}

pub(super) fn base64(data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * at)) as usize & 0x3f];
            out.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// RFC 4648, section 7, without padding (RFC 5155, section 3.3).
pub(super) fn put_base32(letters: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let (mut bits, mut count) = (0_u64, 0);
    for letter in letters {
        let letter = letter.to_ascii_lowercase();
        let value = BASE32.iter().position(|other| *other == letter).ok_or(Reason::Data)?;
        bits = (bits << 5 | value as u64) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    // Bits that make no byte are fewer than those of a letter, and 0.
    if count < 5 && bits & ((1 << count) - 1) == 0 { Ok(()) } else { Err(Reason::Data) }
}

pub(super) fn base32(data: &[u8]) -> String {
    let bit = |at: usize| data.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter =
        |at: usize| BASE32[(0..5).fold(0, |value, more| value << 1 | usize::from(bit(5 * at + more)))];
    (0..(8 * data.len()).div_ceil(5)).map(|at| char::from(letter(at))).collect()
}

/// `YYYYMMDDHHmmSS`, or seconds since 1970 (RFC 4034, section 3.2).
pub(super) fn time(text: &[u8]) -> Result<u32, Reason> {
    if text.len() != 14 {
        return number_of(text);
    }
    let part = |from: usize, to: usize| number_of::<i64>(&text[from..to]);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let days = days_of(year, month, day);
    let is_date = year >= 1970 && (1..=12).contains(&month) && date_of(days) == (year, month, day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return Err(Reason::Data);
    }
    Ok((days * 86_400 + hour * 3_600 + minute * 60 + second) as u32)
}

pub(super) fn time_text(seconds: u32) -> String {
    let (year, month, day) = date_of(i64::from(seconds / 86_400));
    let rest = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Days since 1970 of a day in the Gregorian calendar, counted in years that begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

/// Year, month and day of a day since 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days / 366;
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_of(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_of(year, month, 1) + 1)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_seconds() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20000229235959", 951_868_799),
            ("20380119031408", 0x8000_0000),
            ("21060207062815", u32::MAX),
            ("951868799", 951_868_799),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(seconds), "{text}");
            assert_eq!(time(time_text(seconds).as_bytes()), Ok(seconds));
        }
        for text in
            ["20010229000000", "20001301000000", "20000100000000", "20000101240000", "2000010100000x", ""]
        {
            assert_eq!(time(text.as_bytes()), Err(Reason::Data), "{text}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (text, base64_text, base32_text) in [
            ("", "", ""),
            ("f", "Zg==", "co"),
            ("fo", "Zm8=", "cpng"),
            ("foo", "Zm9v", "cpnmu"),
            ("foobar", "Zm9vYmFy", "cpnmuoj1e8"),
        ] {
            assert_eq!(
                (base64(text.as_bytes()), base32(text.as_bytes())),
                (base64_text.into(), base32_text.into())
            );
            let (mut a, mut b) = (Vec::new(), Vec::new());
            put_base64(base64_text.bytes(), &mut a).unwrap();
            put_base32(base32_text.as_bytes(), &mut b).unwrap();
            assert_eq!((&a[..], &b[..]), (text.as_bytes(), text.as_bytes()));
        }
        for bad in ["Z", "Zg", "Zg=", "Zh==", "Zm9v=", "Z*==", "=Zg="] {
            assert_eq!(put_base64(bad.bytes(), &mut Vec::new()), Err(Reason::Data), "{bad}");
        }
        for bad in ["c", "cp", "w0", "cpnmu7"] {
            assert_eq!(put_base32(bad.as_bytes(), &mut Vec::new()), Err(Reason::Data), "{bad}");
        }
    }

    quickcheck::quickcheck! {
        fn every_time_has_a_text(seconds: u32) -> bool {
            time(time_text(seconds).as_bytes()) == Ok(seconds)
        }
    }
}
