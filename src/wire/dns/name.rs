//! Domain names in wire form (RFC 1035, section 3.1): length and label, ended by the empty label.

use std::fmt;

/// The longest name in wire form, in bytes (RFC 1035, section 2.3.4).
pub const NAME_MAX: usize = 255;
/// The longest label, in bytes (RFC 1035, section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// A whole name, uncompressed and in lower case, so that equal names are equal bytes (RFC 4343).
/// It lies on the stack; what keeps many of them keeps `Box<[u8]>`.
pub struct Name {
    len: u8,
    bytes: [u8; NAME_MAX],
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// A label is empty: two dots follow each other, or one leads.
    EmptyLabel,
    /// A label has more than 63 bytes.
    LabelTooLong,
    /// The name has more than 255 bytes.
    TooLong,
    /// A backslash is followed by neither a character nor three digits up to 255.
    Escape,
}

impl Name {
    /// The root: one empty label.
    pub const ROOT: Self = Self { len: 1, bytes: [0; NAME_MAX] };

    /// From text, as a whole name whether or not it ends with a dot (RFC 1035, section 5.1).
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Self::parse_bytes(text.as_bytes())
    }

    /// [`Name::parse`] of text in any encoding: labels are bytes.
    pub fn parse_bytes(text: &[u8]) -> Result<Self, NameFault> {
        let mut name = Self { len: 0, bytes: [0; NAME_MAX] };
        if text.is_empty() || text == b"." {
            return if text.is_empty() { Err(NameFault::EmptyLabel) } else { Ok(Self::ROOT) };
        }
        let mut rest = text;
        while !rest.is_empty() {
            rest = name.parse_label(rest)?;
        }
        name.push(0)?;
        Ok(name)
    }

    /// From wire form that stands by itself; `None` if it is not exactly one whole name.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut name = Self::unfinished();
        name.set_wire(wire).then_some(name)
    }

    /// [`Name::from_wire`] in place of what it was; false, and nothing is changed, if that is no name.
    pub fn set_wire(&mut self, wire: &[u8]) -> bool {
        let mut at = 0;
        loop {
            let Some(len) = wire.get(at) else { return false };
            at += 1 + usize::from(*len);
            match usize::from(*len) {
                0 if at == wire.len() && at <= NAME_MAX => break,
                1..=LABEL_MAX if at < NAME_MAX => {}
                _ => return false,
            }
        }
        self.len = at as u8;
        self.bytes[..at].copy_from_slice(wire);
        self.bytes[..at].make_ascii_lowercase();
        true
    }

    /// The wire form, in lower case.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &[u8]) -> bool {
        is_within(self.wire(), other)
    }

    /// How many labels it has, without the root.
    pub fn labels(&self) -> usize {
        std::iter::successors(parent(self.wire()), |name| parent(name)).count()
    }

    /// Takes up one label of `length` bytes; for the reader of messages.
    pub(super) fn push_label(&mut self, label: &[u8]) -> Result<(), NameFault> {
        let at = usize::from(self.len);
        let end = at + 1 + label.len();
        if end > NAME_MAX {
            return Err(NameFault::TooLong);
        }
        self.bytes[at] = label.len() as u8;
        self.bytes[at + 1..end].copy_from_slice(label);
        self.bytes[at + 1..end].make_ascii_lowercase();
        self.len = end as u8;
        Ok(())
    }

    /// As text if nothing in it needs an escape, as in almost all names.
    fn plain_text<'t>(&self, text: &'t mut [u8; NAME_MAX]) -> Option<&'t str> {
        let (mut at, len) = (0, usize::from(self.len) - 1);
        while at < len {
            let end = at + 1 + usize::from(self.bytes[at]);
            let label = self.bytes.get(at + 1..end)?;
            if !label.iter().all(|byte| PLAIN[usize::from(*byte)]) {
                return None;
            }
            text[at..end - 1].copy_from_slice(label);
            text[end - 1] = b'.';
            at = end;
        }
        std::str::from_utf8(&text[..len]).ok()
    }

    /// A name without any label yet, not even the root's.
    pub(super) fn unfinished() -> Self {
        Self { len: 0, bytes: [0; NAME_MAX] }
    }

    /// One label and the dot behind it; what is left.
    fn parse_label<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], NameFault> {
        let end = text.iter().position(|byte| matches!(byte, b'.' | b'\\')).unwrap_or(text.len());
        let plain = text.get(end) != Some(&b'\\');
        if plain && (1..=LABEL_MAX).contains(&end) {
            self.push_label(&text[..end])?;
            return Ok(text.get(end + 1..).unwrap_or_default());
        }
        let (mut label, mut len, mut rest) = ([0; LABEL_MAX], 0, text);
        loop {
            let byte = match rest {
                [] => break,
                [b'.', after @ ..] => {
                    rest = after;
                    break;
                }
                [b'\\', after @ ..] => {
                    let (byte, after) = unescape(after)?;
                    rest = after;
                    byte
                }
                [byte, after @ ..] => {
                    rest = after;
                    *byte
                }
            };
            *label.get_mut(len).ok_or(NameFault::LabelTooLong)? = byte;
            len += 1;
        }
        if len == 0 {
            return Err(NameFault::EmptyLabel);
        }
        self.push_label(&label[..len])?;
        Ok(rest)
    }

    fn push(&mut self, byte: u8) -> Result<(), NameFault> {
        *self.bytes.get_mut(usize::from(self.len)).ok_or(NameFault::TooLong)? = byte;
        self.len += 1;
        Ok(())
    }
}

/// The name without its first label, in wire form; `None` for the root.
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    match wire.split_first() {
        None | Some((0, _)) => None,
        Some((len, rest)) => rest.get(usize::from(*len)..),
    }
}

/// Whether a name in wire form is `other` or lies below it.
pub fn is_within(wire: &[u8], other: &[u8]) -> bool {
    wire.ends_with(other) && std::iter::successors(Some(wire), |name| parent(name)).any(|name| name == other)
}

/// Stands for itself in text.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')')
}

/// [`is_plain`] of every byte.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < 256 {
        plain[byte] = is_plain(byte as u8);
        byte += 1;
    }
    plain
};

/// What follows a backslash (RFC 1035, section 5.1), and what is left.
fn unescape(text: &[u8]) -> Result<(u8, &[u8]), NameFault> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let number = [a, b, c].iter().fold(0, |sum: u16, digit| sum * 10 + u16::from(*digit - b'0'));
            Ok((u8::try_from(number).map_err(|_| NameFault::Escape)?, rest))
        }
        [b'0'..=b'9', ..] | [] => Err(NameFault::Escape),
        [byte, rest @ ..] => Ok((*byte, rest)),
    }
}

impl Clone for Name {
    fn clone(&self) -> Self {
        Self { len: self.len, bytes: self.bytes }
    }

    /// Copies no more than there is.
    fn clone_from(&mut self, other: &Self) {
        self.len = other.len;
        self.bytes[..usize::from(self.len)].copy_from_slice(other.wire());
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    /// With a dot at the end, and what is not plain escaped (RFC 1035, section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str(".");
        }
        let mut text = [0; NAME_MAX];
        if let Some(text) = self.plain_text(&mut text) {
            return f.write_str(text);
        }
        let mut rest = self.wire();
        while let Some((len, after)) = rest.split_first().filter(|(len, _)| **len > 0) {
            let (mut label, after) = after.split_at(usize::from(*len));
            while let Some(first) = label.first() {
                let plain = label.iter().position(|byte| !is_plain(*byte)).unwrap_or(label.len());
                if plain > 0 {
                    f.write_str(std::str::from_utf8(&label[..plain]).map_err(|_| fmt::Error)?)?;
                } else if first.is_ascii_graphic() {
                    write!(f, "\\{}", char::from(*first))?;
                } else {
                    write!(f, "\\{first:03}")?;
                }
                label = &label[plain.max(1)..];
            }
            f.write_str(".")?;
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn text_and_wire_form_say_the_same() {
        assert_eq!(name("WWW.Example.com").wire(), b"\x03www\x07example\x03com\x00");
        assert_eq!(name("www.example.com."), name("www.example.com"));
        assert_eq!((name(".").wire(), name(".").to_string()), (&b"\0"[..], ".".to_owned()));
        assert_eq!(name(r"a\.b\065\\.c").wire(), b"\x05a.ba\\\x01c\x00");
        assert_eq!(name(r"a\.b.c").to_string(), r"a\.b.c.");
        assert_eq!(name("ä.de").to_string(), r"\195\164.de.");
    }

    #[test]
    fn a_text_that_is_no_name_says_why() {
        let long = "a".repeat(64);
        let whole = [&"a".repeat(63); 4].map(String::as_str).join(".");
        for (text, fault) in [
            ("", NameFault::EmptyLabel),
            (".a", NameFault::EmptyLabel),
            ("a..b", NameFault::EmptyLabel),
            ("..", NameFault::EmptyLabel),
            (&long, NameFault::LabelTooLong),
            (&whole, NameFault::TooLong),
            (r"a\", NameFault::Escape),
            (r"a\25", NameFault::Escape),
            (r"a\256", NameFault::Escape),
        ] {
            assert_eq!(Name::parse(text).err(), Some(fault), "{text}");
        }
        // 253 characters are 255 bytes: the longest.
        assert_eq!(name(&whole[..253]).wire().len(), NAME_MAX);
        assert_eq!(Name::parse(&whole[..254]).err(), Some(NameFault::TooLong));
    }

    #[test]
    fn above_and_below() {
        let www = name("www.example.com");
        assert!(www.is_within(name("example.com").wire()) && www.is_within(www.wire()));
        assert!(www.is_within(b"\0") && !www.is_within(name("ample.com").wire()));
        assert_eq!((www.labels(), Name::ROOT.labels()), (3, 0));
        assert_eq!((parent(b"\0"), parent(b""), parent(b"\x05ab")), (None, None, None));
    }

    quickcheck::quickcheck! {
        fn every_name_survives_its_text(labels: Vec<Vec<u8>>) -> bool {
            let mut wire = Vec::new();
            for label in labels.iter().filter(|label| !label.is_empty()) {
                let label = &label[..label.len().min(LABEL_MAX)];
                if wire.len() + label.len() + 2 <= NAME_MAX {
                    wire.push(label.len() as u8);
                    wire.extend_from_slice(label);
                }
            }
            wire.push(0);
            let read = Name::from_wire(&wire).unwrap();
            read.wire().eq_ignore_ascii_case(&wire) && name(&read.to_string()) == read
        }

        fn only_whole_names_are_taken_from_wire_form(bytes: Vec<u8>) -> bool {
            Name::from_wire(&bytes).is_none_or(|name| name.wire().eq_ignore_ascii_case(&bytes) && bytes.ends_with(&[0]))
        }
    }
}
