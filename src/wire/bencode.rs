//! Bencode (BEP 3): a borrowed view over bytes that were checked once, and a writer.
//!
//! [`decode`] walks the input a single time and enforces form and [`Limits`]; the [`Value`] it
//! returns is a view, and walking it afterwards allocates nothing and cannot fail.

use std::fmt;

/// Why bytes are not bencode, or not the bencode that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A digit was expected.
    BadDigit,
    /// Nested deeper than the limit.
    Depth,
    /// A length that no buffer could have.
    LengthOverflow,
    /// `i01e`, `i-0e` or `01:x`; strict only.
    LeadingZero,
    /// A dictionary ends after a key.
    MissingValue,
    /// A dictionary key that is not a string.
    NonStringKey,
    /// An integer outside of i64.
    IntOverflow,
    /// More values than the limit.
    Tokens,
    /// Bytes after the value; strict only.
    Trailing,
    /// No value begins with this byte.
    UnexpectedByte,
    /// The input ends inside a value.
    UnexpectedEnd,
    /// Dictionary keys out of order or twice; strict only.
    UnsortedKey,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadDigit => "a digit was expected",
            Self::Depth => "nested too deeply",
            Self::LengthOverflow => "impossible string length",
            Self::LeadingZero => "leading zero",
            Self::MissingValue => "dictionary key without a value",
            Self::NonStringKey => "dictionary key is not a string",
            Self::IntOverflow => "integer does not fit in 64 bits",
            Self::Tokens => "too many values",
            Self::Trailing => "bytes after the end",
            Self::UnexpectedByte => "unexpected byte",
            Self::UnexpectedEnd => "unexpected end",
            Self::UnsortedKey => "dictionary keys not in order",
        })
    }
}

impl std::error::Error for Error {}

/// How much nesting and how many values are read, and whether only the canonical form passes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Refuse unsorted or repeated keys, leading zeros and trailing bytes.
    pub strict: bool,
    /// Containers inside containers, the outermost included.
    pub depth: u32,
    /// Values and keys in all.
    pub tokens: u32,
}

impl Limits {
    /// Canonical bencode, as signatures and hashes need it.
    pub const STRICT: Self = Self { strict: true, depth: 100, tokens: u32::MAX };
    /// DHT packets, with libtorrent's bounds: real nodes send unsorted keys and trailing bytes.
    pub const KRPC: Self = Self { strict: false, depth: 10, tokens: 500 };
    /// Info dictionaries whose hash is already known to be right: real ones break the rules.
    pub const INFO: Self = Self { strict: false, depth: 100, tokens: u32::MAX };
}

/// One bencoded value, borrowed from its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `i…e`
    Int(i64),
    /// `N:…`
    Bytes(&'a [u8]),
    /// `l…e`
    List(List<'a>),
    /// `d…e`
    Dict(Dict<'a>),
}

/// A checked list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    raw: &'a [u8],
}

/// A checked dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dict<'a> {
    raw: &'a [u8],
}

/// Decodes the whole of `input`. Lenient limits ignore what follows the value.
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Value<'a>, Error> {
    let (value, used) = decode_prefix(input, limits)?;
    if limits.strict && used != input.len() {
        return Err(Error::Trailing);
    }
    Ok(value)
}

/// Decodes one value at the start of `input`; also returns how many bytes it took.
pub fn decode_prefix<'a>(input: &'a [u8], limits: &Limits) -> Result<(Value<'a>, usize), Error> {
    let mut reader = Reader::new(input, limits);
    let value = reader.value()?;
    Ok((value, reader.at))
}

impl<'a> Value<'a> {
    /// The integer, if it is one.
    pub fn int(self) -> Option<i64> {
        if let Value::Int(int) = self { Some(int) } else { None }
    }

    /// The string, if it is one.
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The list, if it is one.
    pub fn list(self) -> Option<List<'a>> {
        if let Value::List(list) = self { Some(list) } else { None }
    }

    /// The dictionary, if it is one.
    pub fn dict(self) -> Option<Dict<'a>> {
        if let Value::Dict(dict) = self { Some(dict) } else { None }
    }
}

impl<'a> List<'a> {
    /// The items in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = body(self.raw);
        std::iter::from_fn(move || next_value(&mut rest))
    }

    /// The bytes of the list itself, `l` and `e` included.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
}

impl<'a> Dict<'a> {
    /// The entries in the order they were written.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = body(self.raw);
        std::iter::from_fn(move || {
            let key = next_value(&mut rest)?.bytes()?;
            Some((key, next_value(&mut rest)?))
        })
    }

    /// The first value under `key`.
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The bytes of the dictionary itself, `d` and `e` included: what a hash is taken of.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
}

/// Which keys of a dictionary were read: of repeated ones the first counts, as for [`Dict::get`] and
/// in libtorrent, whatever its type is.
#[derive(Debug, Default)]
pub struct FirstKeys(u32);

impl FirstKeys {
    /// True the first time for this number, which is below 32.
    #[inline]
    pub fn is_first(&mut self, key: u32) -> bool {
        let bit = 1 << key;
        let is_first = self.0 & bit == 0;
        self.0 |= bit;
        is_first
    }
}

/// Reads values front to back, each byte once: for large input whose shape is known. Form is
/// checked as far as it is read, leniently; nesting is bounded by [`Limits::INFO`].
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// What a [`Cursor`] stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Bytes,
    /// A dictionary.
    Dict,
    /// The end of the container.
    End,
    /// An integer.
    Int,
    /// A list.
    List,
}

impl<'a> Cursor<'a> {
    /// Before the first value of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What comes next.
    pub fn kind(&self) -> Result<Kind, Error> {
        match self.rest.first() {
            Some(b'0'..=b'9') => Ok(Kind::Bytes),
            Some(b'd') => Ok(Kind::Dict),
            Some(b'e') => Ok(Kind::End),
            Some(b'i') => Ok(Kind::Int),
            Some(b'l') => Ok(Kind::List),
            Some(_) => Err(Error::UnexpectedByte),
            None => Err(Error::UnexpectedEnd),
        }
    }

    /// Steps into a list or dictionary; false, and the value is skipped, if it is not a `kind`.
    pub fn enter(&mut self, kind: Kind) -> Result<bool, Error> {
        let enters = self.kind()? == kind;
        if enters {
            self.rest = &self.rest[1..];
        } else {
            self.skip()?;
        }
        Ok(enters)
    }

    /// Inside a container: true, and steps out of it, if it ends here.
    pub fn leave(&mut self) -> Result<bool, Error> {
        let ends = self.kind()? == Kind::End;
        if ends {
            self.rest = &self.rest[1..];
        }
        Ok(ends)
    }

    /// Inside a dictionary: the next key; at its end `None`, and steps out of it.
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.kind()? {
            Kind::End => self.leave().map(|_| None),
            Kind::Bytes => self.string().map(Some),
            _ => Err(Error::NonStringKey),
        }
    }

    /// The next value; `None`, and it is skipped, if it is not a string.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        if self.kind()? == Kind::Bytes { self.string().map(Some) } else { self.skip().map(|()| None) }
    }

    /// The next value; `None`, and it is skipped, if it is not an integer.
    pub fn int(&mut self) -> Result<Option<i64>, Error> {
        if self.kind()? != Kind::Int {
            return self.skip().map(|()| None);
        }
        self.digits().and_then(parse_int).map(Some)
    }

    /// Steps over the next value, whatever it is.
    pub fn skip(&mut self) -> Result<(), Error> {
        let mut depth = 0u32;
        loop {
            match self.kind()? {
                Kind::Bytes => _ = self.string()?,
                Kind::Int => _ = self.digits()?,
                Kind::Dict | Kind::List if depth == Limits::INFO.depth => return Err(Error::Depth),
                Kind::Dict | Kind::List => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                }
                Kind::End => {
                    depth = depth.checked_sub(1).ok_or(Error::MissingValue)?;
                    self.rest = &self.rest[1..];
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let (start, len) = string_span(self.rest)?;
        let end = start.checked_add(len).ok_or(Error::LengthOverflow)?;
        let (taken, rest) = self.rest.split_at_checked(end).ok_or(Error::UnexpectedEnd)?;
        self.rest = rest;
        Ok(&taken[start..])
    }

    /// What stands between `i` and `e`.
    fn digits(&mut self) -> Result<&'a [u8], Error> {
        let end = self.rest.iter().position(|&byte| byte == b'e').ok_or(Error::UnexpectedEnd)?;
        let digits = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        Ok(digits)
    }
}

fn body(raw: &[u8]) -> &[u8] {
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
}

/// Takes one value off the front of checked bytes.
fn next_value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let first = *rest.first()?;
    match first {
        b'i' => {
            let end = rest.iter().position(|&byte| byte == b'e')?;
            let int = parse_int(&rest[1..end]).ok()?;
            *rest = &rest[end + 1..];
            Some(Value::Int(int))
        }
        b'0'..=b'9' => {
            let (start, len) = string_span(rest).ok()?;
            let bytes = rest.get(start..start + len)?;
            *rest = &rest[start + len..];
            Some(Value::Bytes(bytes))
        }
        b'l' | b'd' => {
            let len = skip(rest)?;
            let (raw, tail) = rest.split_at(len);
            *rest = tail;
            Some(if first == b'l' { Value::List(List { raw }) } else { Value::Dict(Dict { raw }) })
        }
        _ => None,
    }
}

/// The length of the checked value at the front.
fn skip(input: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0u32);
    loop {
        match *input.get(at)? {
            b'i' => at += input[at..].iter().position(|&byte| byte == b'e')? + 1,
            b'l' | b'd' => {
                depth += 1;
                at += 1;
            }
            b'e' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => {
                let (start, len) = string_span(&input[at..]).ok()?;
                at += start + len;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the string at the front begins, and its length.
#[inline]
fn string_span(input: &[u8]) -> Result<(usize, usize), Error> {
    // Nearly all are shorter than a hundred bytes.
    let digit = |byte: u8| usize::from(byte - b'0');
    match *input {
        [a @ b'0'..=b'9', b':', ..] => return Ok((2, digit(a))),
        [a @ b'0'..=b'9', b @ b'0'..=b'9', b':', ..] => return Ok((3, digit(a) * 10 + digit(b))),
        _ => {}
    }
    long_string_span(input)
}

fn long_string_span(input: &[u8]) -> Result<(usize, usize), Error> {
    let mut len = 0usize;
    for (at, &byte) in input.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = usize::from(byte - b'0');
                len = len.checked_mul(10).and_then(|n| n.checked_add(digit)).ok_or(Error::LengthOverflow)?;
            }
            b':' if at > 0 => return Ok((at + 1, len)),
            _ => return Err(Error::BadDigit),
        }
    }
    Err(Error::UnexpectedEnd)
}

/// Digits with an optional minus sign, any number of leading zeros.
fn parse_int(digits: &[u8]) -> Result<i64, Error> {
    let (negative, digits) = match digits.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, digits),
    };
    if digits.is_empty() {
        return Err(Error::BadDigit);
    }
    // Summed below zero, because i64::MIN has no positive counterpart.
    let mut sum = 0i64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Error::BadDigit);
        }
        let digit = i64::from(byte - b'0');
        sum = sum.checked_mul(10).and_then(|n| n.checked_sub(digit)).ok_or(Error::IntOverflow)?;
    }
    if negative { Ok(sum) } else { sum.checked_neg().ok_or(Error::IntOverflow) }
}

/// Checks and reads in one pass: every byte is looked at once, and what was read may be used only
/// if all that follows turns out well too.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    limits: Limits,
    tokens: u32,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// Before the first value of `input`.
    pub fn new(input: &'a [u8], limits: &Limits) -> Self {
        Self { input, at: 0, limits: *limits, tokens: 0, depth: 0 }
    }

    /// The next value, checked whole.
    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, Error> {
        let start = self.at;
        match self.peek()? {
            b'0'..=b'9' => self.string().map(Value::Bytes),
            b'i' => self.int().map(Value::Int),
            b'l' => {
                self.list()?;
                Ok(Value::List(List { raw: &self.input[start..self.at] }))
            }
            b'd' => {
                self.dict()?;
                Ok(Value::Dict(Dict { raw: &self.input[start..self.at] }))
            }
            _ => Err(Error::UnexpectedByte),
        }
    }

    /// Steps into a dictionary, to be read with [`Reader::key`] and [`Reader::value`] in turn.
    /// False if the next value is something else, which was then read and is of no interest.
    /// The order of keys is not checked.
    pub fn enter_dict(&mut self) -> Result<bool, Error> {
        if self.peek()? != b'd' {
            return self.value().map(|_| false);
        }
        self.open()?;
        Ok(true)
    }

    /// The next key of the dictionary that was entered; at its end `None`, and steps out of it.
    #[inline]
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.peek()? {
            b'e' => {
                self.close();
                Ok(None)
            }
            b'0'..=b'9' => {
                let key = self.string()?;
                if self.peek()? == b'e' { Err(Error::MissingValue) } else { Ok(Some(key)) }
            }
            _ => Err(Error::NonStringKey),
        }
    }

    fn int(&mut self) -> Result<i64, Error> {
        self.count()?;
        let digits = &self.input[self.at + 1..];
        let end = digits.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-');
        let Some(end) = end else { return Err(Error::UnexpectedEnd) };
        if digits[end] != b'e' {
            return Err(Error::BadDigit);
        }
        let digits = &digits[..end];
        let int = parse_int(digits)?;
        let zero_first = matches!(digits, [b'0', _, ..] | [b'-', b'0', ..]);
        if self.limits.strict && zero_first {
            return Err(Error::LeadingZero);
        }
        self.at += end + 2;
        Ok(int)
    }

    #[inline]
    fn string(&mut self) -> Result<&'a [u8], Error> {
        self.count()?;
        let rest = &self.input[self.at..];
        let (start, len) = string_span(rest)?;
        if self.limits.strict && start > 2 && rest[0] == b'0' {
            return Err(Error::LeadingZero);
        }
        let end = start.checked_add(len).ok_or(Error::LengthOverflow)?;
        let bytes = rest.get(start..end).ok_or(Error::UnexpectedEnd)?;
        self.at += end;
        Ok(bytes)
    }

    fn list(&mut self) -> Result<(), Error> {
        self.open()?;
        while self.peek()? != b'e' {
            self.value()?;
        }
        self.close();
        Ok(())
    }

    fn dict(&mut self) -> Result<(), Error> {
        self.open()?;
        let mut last: Option<&[u8]> = None;
        while let Some(key) = self.key()? {
            if self.limits.strict && last.is_some_and(|last| last >= key) {
                return Err(Error::UnsortedKey);
            }
            last = Some(key);
            self.value()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.depth >= self.limits.depth {
            return Err(Error::Depth);
        }
        self.count()?;
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    #[inline]
    fn peek(&self) -> Result<u8, Error> {
        self.input.get(self.at).copied().ok_or(Error::UnexpectedEnd)
    }

    fn count(&mut self) -> Result<(), Error> {
        self.tokens += 1;
        if self.tokens > self.limits.tokens { Err(Error::Tokens) } else { Ok(()) }
    }
}

/// Writes bencode into a slice. What does not fit is left out and [`Writer::finish`] says so.
///
/// The caller writes dictionary keys in order; debug builds do not check it, the tests of each
/// encoder do, by decoding strictly.
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, overflow: false }
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match self.out.get_mut(self.at..self.at + bytes.len()) {
            Some(room) if !self.overflow => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            _ => self.overflow = true,
        }
        self
    }

    /// `N:bytes`
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.prefix(bytes.len()).raw(bytes)
    }

    /// The `N:` before a string whose bytes follow through [`Writer::raw`].
    pub fn prefix(&mut self, len: usize) -> &mut Self {
        self.decimal(len as u64).raw(b":")
    }

    /// `iNe`
    pub fn int(&mut self, int: i64) -> &mut Self {
        self.raw(if int < 0 { b"i-" } else { b"i" });
        self.decimal(int.unsigned_abs()).raw(b"e")
    }

    /// The number of bytes written, or `None` if they did not fit.
    pub fn finish(&self) -> Option<usize> {
        (!self.overflow).then_some(self.at)
    }

    /// The bytes that are still free.
    pub fn room(&self) -> usize {
        self.out.len() - self.at
    }

    fn decimal(&mut self, mut number: u64) -> &mut Self {
        if number < 10 {
            return self.raw(&[b'0' + number as u8]);
        }
        if number < 100 {
            return self.raw(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        }
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.raw(&digits[first..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    const LENIENT: Limits = Limits::INFO;

    fn strict(input: &[u8]) -> Result<Value<'_>, Error> {
        decode(input, &Limits::STRICT)
    }

    /// The canonical form of a value.
    fn encode(value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Int(int) => out.extend_from_slice(format!("i{int}e").as_bytes()),
            Value::Bytes(bytes) => {
                out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
            }
            Value::List(list) => {
                out.push(b'l');
                list.iter().for_each(|item| encode(item, out));
                out.push(b'e');
            }
            Value::Dict(dict) => {
                out.push(b'd');
                for (key, value) in dict.iter() {
                    encode(Value::Bytes(key), out);
                    encode(value, out);
                }
                out.push(b'e');
            }
        }
    }

    fn encoded(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    /// Section A of the vectors: rows that canonical decoders accept.
    #[test]
    fn vectors_that_are_canonical() {
        let rows: [(&str, &[u8]); 13] = [
            ("A1", b"i0e"),
            ("A2", b"i-3e"),
            ("A4", b"i9223372036854775807e"),
            ("A5", b"i-9223372036854775808e"),
            ("A7", b"26:abcdefghijklmnopqrstuvwxyz"),
            ("A8", b"3:\x01\x10\xff"),
            ("A10", b"de"),
            ("A11", b"ldedee"),
            ("A13", b"d0:i420ee"),
            ("A14", b"ld0:i1ee0:e"),
            ("A16", b"d3:cow3:moo4:spam4:eggse"),
            ("A17", b"d1:ai1e2:aai2ee"),
            ("A19", b"d1:ai1e1:b3:foo1:cli1ei2ee1:dd1:xi1eee"),
        ];
        for (row, input) in rows {
            for limits in [Limits::STRICT, LENIENT, Limits::KRPC] {
                assert_eq!(decode(input, &limits).map(encoded), Ok(input.to_vec()), "{row}");
            }
        }
        assert_eq!(strict(b"i9223372036854775807e").unwrap().int(), Some(i64::MAX));
        assert_eq!(strict(b"i-9223372036854775808e").unwrap().int(), Some(i64::MIN));
        assert_eq!(strict(b"3:\x01\x10\xff").unwrap().bytes(), Some(&b"\x01\x10\xff"[..]));
    }

    #[test]
    fn vectors_with_contents_to_find() {
        // A20
        let value = strict(b"d3:fool3:bari1337ee3:zzz3:baze").unwrap().dict().unwrap();
        let list: Vec<_> = value.get(b"foo").and_then(Value::list).unwrap().iter().collect();
        assert_eq!(list, [Value::Bytes(b"bar"), Value::Int(1337)]);
        assert_eq!(value.get(b"zzz"), Some(Value::Bytes(b"baz")));
        assert_eq!((value.get(b"baz"), value.iter().count()), (None, 2));
        // A73
        let mut long = b"1000000:".to_vec();
        long.resize(8 + 1_000_000, b'x');
        assert_eq!(strict(&long).unwrap().bytes().map(<[u8]>::len), Some(1_000_000));
        // A76: the bytes that an infohash is taken of
        let outer = strict(b"d4:infod4:name5:helloee").unwrap().dict().unwrap();
        assert_eq!(outer.get(b"info").and_then(Value::dict).unwrap().raw(), b"d4:name5:helloe");
        // A77: a stream of values
        let (first, used) = decode_prefix(b"i1ei2e", &Limits::STRICT).unwrap();
        let (second, rest) = decode_prefix(&b"i1ei2e"[used..], &Limits::STRICT).unwrap();
        assert_eq!((first, second, used + rest), (Value::Int(1), Value::Int(2), 6));
        assert_eq!(decode_prefix(b"", &Limits::STRICT), Err(Error::UnexpectedEnd));
    }

    /// Section A: rows that nobody accepts.
    #[test]
    fn vectors_that_are_not_bencode() {
        let rows: [(&str, &[u8], Error); 27] = [
            ("A22", b"i-e", Error::BadDigit),
            ("A23", b"i-", Error::UnexpectedEnd),
            ("A25", b"i10", Error::UnexpectedEnd),
            ("A29", b"i+0e", Error::BadDigit),
            ("A31", b"i92337203t854775807e", Error::BadDigit),
            ("A32", b"ifooe", Error::BadDigit),
            ("A34", b"i184467440737095516154e", Error::IntOverflow),
            ("A35", b"-10:foobar", Error::UnexpectedByte),
            ("A38", b"18446744073709551615:foobar", Error::LengthOverflow),
            ("A40", b"199999999:foobar", Error::UnexpectedEnd),
            ("A41", b"100:..", Error::UnexpectedEnd),
            ("A44", b"1:", Error::UnexpectedEnd),
            ("A46", b"1111111111:", Error::UnexpectedEnd),
            ("A47", b"e", Error::UnexpectedByte),
            ("A49", b"l2:..", Error::UnexpectedEnd),
            ("A50", b"l2:..0", Error::UnexpectedEnd),
            ("A52", b"di5e1:ae", Error::NonStringKey),
            ("A53", b"df00:", Error::NonStringKey),
            ("A55", b"d1000:..e", Error::UnexpectedEnd),
            ("A56", b"d3:000e", Error::MissingValue),
            ("A58", b"d1:a1919191010:11111", Error::UnexpectedEnd),
            ("A59", b"d2143289344:a4:aaaae", Error::UnexpectedEnd),
            ("A68", b"d1:ai1e1:b3:foo1:cli1ei2ee1:dd1:xi1-eee", Error::BadDigit),
            ("A70", b"d1:ai1e1:b3:foo1:cli1ei2ee-1:dd1:xi1eee", Error::NonStringKey),
            ("A74", b"i604919719469385652980544193299329427705624352086e", Error::IntOverflow),
            ("i64 + 1", b"i9223372036854775808e", Error::IntOverflow),
            ("i64 - 1", b"i-9223372036854775809e", Error::IntOverflow),
        ];
        for (row, input, error) in rows {
            assert_eq!(strict(input), Err(error), "{row}");
            assert_eq!(decode(input, &LENIENT), Err(error), "{row}");
        }
        // A71
        let deep = [[b'l'; 1024], [b'e'; 1024]].concat();
        assert_eq!((strict(&deep), decode(&deep, &LENIENT)), (Err(Error::Depth), Err(Error::Depth)));
        let just = [[b'l'; 100], [b'e'; 100]].concat();
        assert!(strict(&just).is_ok());
    }

    /// Section A: rows that real peers send and canonical decoders refuse.
    #[test]
    fn vectors_that_only_strict_decoding_refuses() {
        let rows: [(&str, &[u8], Error); 10] = [
            ("A26", b"i01e", Error::LeadingZero),
            ("A28", b"i-0e", Error::LeadingZero),
            ("A37", b"00:", Error::LeadingZero),
            ("01:x", b"01:x", Error::LeadingZero),
            ("A43", b"5:helloworld", Error::Trailing),
            ("A61", b"d2:abi1e2:aai2ee", Error::UnsortedKey),
            ("A62", b"d2:aai1e1:ai2ee", Error::UnsortedKey),
            ("A64", b"d1:ai12453e1:b3:aaa1:c3:bbb1:X10:0123456789e", Error::UnsortedKey),
            ("A65", b"d3:A005:000003:000i0ee", Error::UnsortedKey),
            ("A67", b"de|trailing", Error::Trailing),
        ];
        for (row, input, error) in rows {
            assert_eq!(strict(input), Err(error), "{row}");
            assert!(decode(input, &LENIENT).is_ok() && decode(input, &Limits::KRPC).is_ok(), "{row}");
        }
        assert_eq!(strict(b"d1:ai1e1:ai2ee"), Err(Error::UnsortedKey), "a key twice");
        let soft = decode(b"d1:ai12453e1:b3:aaa1:c3:bbb1:X10:0123456789e", &LENIENT).unwrap().dict().unwrap();
        assert_eq!(soft.get(b"X"), Some(Value::Bytes(b"0123456789")));
    }

    #[test]
    fn packets_are_bounded_in_depth_and_values() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(decode(&nested(10), &Limits::KRPC).is_ok());
        assert_eq!(decode(&nested(11), &Limits::KRPC), Err(Error::Depth));
        let many = |count: usize| [b"l".to_vec(), b"i1e".repeat(count), b"e".to_vec()].concat();
        assert!(decode(&many(499), &Limits::KRPC).is_ok());
        assert_eq!(decode(&many(500), &Limits::KRPC), Err(Error::Tokens));
    }

    #[test]
    fn a_cursor_reads_what_it_expects_and_steps_over_the_rest() {
        let mut cursor = Cursor::new(b"d1:ai7e1:bli1e1:xe1:cd1:dleee5:after");
        assert_eq!(cursor.enter(Kind::List), Ok(false), "stepped over");
        assert_eq!(cursor.bytes(), Ok(Some(&b"after"[..])));
        assert_eq!(cursor.kind(), Err(Error::UnexpectedEnd));
        let mut cursor = Cursor::new(b"d1:ai7e1:bli1e1:xe1:cd1:dleee");
        assert_eq!(cursor.enter(Kind::Dict), Ok(true));
        assert_eq!((cursor.key(), cursor.bytes()), (Ok(Some(&b"a"[..])), Ok(None)));
        assert_eq!((cursor.key(), cursor.enter(Kind::List)), (Ok(Some(&b"b"[..])), Ok(true)));
        assert_eq!((cursor.leave(), cursor.int(), cursor.int()), (Ok(false), Ok(Some(1)), Ok(None)));
        assert_eq!((cursor.leave(), cursor.key()), (Ok(true), Ok(Some(&b"c"[..]))));
        assert_eq!((cursor.skip(), cursor.key()), (Ok(()), Ok(None)));
        assert_eq!(Cursor::new(&[b'l'; 5_000]).skip(), Err(Error::Depth));
        assert_eq!(Cursor::new(b"e").skip(), Err(Error::MissingValue));
        assert_eq!(Cursor::new(b"18446744073709551615:x").bytes(), Err(Error::LengthOverflow));
    }

    #[test]
    fn the_writer_writes_canonically_and_says_when_it_is_full() {
        let mut out = [0; 64];
        let mut w = Writer::new(&mut out);
        w.raw(b"d1:a").int(i64::MIN).raw(b"1:b").bytes(b"xyz").raw(b"1:cl").int(0).raw(b"ee");
        let len = w.finish().unwrap();
        assert_eq!(&out[..len], b"d1:ai-9223372036854775808e1:b3:xyz1:cli0eee");
        assert!(strict(&out[..len]).is_ok());
        let mut w = Writer::new(&mut out[..10]);
        assert_eq!((w.bytes(b"12345678").room(), w.finish()), (0, Some(10)));
        assert_eq!(w.raw(b"x").finish(), None);
        assert_eq!(w.raw(b"").finish(), None);
    }

    /// Any canonical encoding.
    #[derive(Clone, Debug)]
    struct Canonical(Vec<u8>);

    /// Bytes that look like bencode more often than chance would have it.
    #[derive(Clone, Debug)]
    struct Soup(Vec<u8>);

    impl Arbitrary for Canonical {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut out = Vec::new();
            write_any(g, 4, &mut out);
            Self(out)
        }
    }

    impl Arbitrary for Soup {
        fn arbitrary(g: &mut Gen) -> Self {
            let parts: [&[u8]; 16] = [
                b"d", b"l", b"e", b"i", b"0", b"1", b"2", b"-", b":", b"e", b"1:a", b"0:", b"i5e", b"de",
                b"x", b"9",
            ];
            let len = usize::arbitrary(g) % 24;
            Self((0..len).flat_map(|_| g.choose(&parts).copied().unwrap_or_default().to_vec()).collect())
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
            Box::new(self.0.shrink().map(Self))
        }
    }

    fn write_any(g: &mut Gen, depth: u32, out: &mut Vec<u8>) {
        let kinds = if depth == 0 { 2 } else { 4 };
        let count = u8::arbitrary(g) % 5;
        match u8::arbitrary(g) % kinds {
            0 => encode(Value::Int(i64::arbitrary(g)), out),
            1 => encode(Value::Bytes(&Vec::<u8>::arbitrary(g)), out),
            2 => {
                out.push(b'l');
                (0..count).for_each(|_| write_any(g, depth - 1, out));
                out.push(b'e');
            }
            _ => {
                out.push(b'd');
                let keys: std::collections::BTreeSet<Vec<u8>> =
                    (0..count).map(|_| Vec::<u8>::arbitrary(g)).collect();
                for key in keys {
                    encode(Value::Bytes(&key), out);
                    write_any(g, depth - 1, out);
                }
                out.push(b'e');
            }
        }
    }

    quickcheck! {
        fn what_is_canonical_survives_decoding_and_encoding(input: Canonical) -> bool {
            strict(&input.0).map(encoded) == Ok(input.0)
        }

        fn a_beginning_of_a_value_is_never_a_value(input: Canonical) -> bool {
            (0..input.0.len()).all(|len| strict(&input.0[..len]) == Err(Error::UnexpectedEnd))
        }

        fn what_strict_decoding_accepts_is_canonical(input: Soup) -> bool {
            strict(&input.0).map_or(true, |value| encoded(value) == input.0)
        }

        fn strict_accepts_nothing_that_lenient_refuses(input: Soup) -> bool {
            strict(&input.0).is_err() || decode(&input.0, &LENIENT).is_ok()
        }

        fn a_cursor_steps_over_exactly_one_value(input: Soup) -> bool {
            let Ok((_, used)) = decode_prefix(&input.0, &LENIENT) else { return true };
            let mut cursor = Cursor::new(&input.0);
            cursor.skip().is_ok() && cursor.rest == &input.0[used..]
        }

        fn no_bytes_can_make_it_panic(input: Vec<u8>) -> bool {
            for limits in [Limits::STRICT, LENIENT, Limits::KRPC] {
                if let Ok(value) = decode(&input, &limits) {
                    encoded(value);
                }
            }
            _ = Cursor::new(&input).skip();
            true
        }
    }
}
