//! Master files (RFC 1035, section 5): from bytes to entries, to lines with owner, TTL and type.
//!
//! hickory-proto's own reader of these files does not know `@` in data, quoted texts within
//! parentheses, `\DDD`, `\#` or DNAME, and tells no line; so the splitting is done here.

use std::fmt;
use std::str;

use hickory_proto::serialize::txt::parse_ttl;

use crate::wire::dns::{Kind, Name, NameFault};

/// Why a text is no zone, or a change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneFault {
    /// The line where the faulty entry starts, from 1; 0 if no one line is at fault.
    pub line: u32,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a zone, a record or a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A CNAME stands beside other data, or beside another CNAME (RFC 1034, section 3.6.2).
    CnameAndOther,
    /// A class other than IN.
    Class,
    /// The data does not fit its type.
    Data,
    /// A directive other than `$ORIGIN`, `$TTL` and `$GENERATE`.
    Directive,
    /// A DNAME beside another DNAME, or beside the NS of a delegation (RFC 6672, section 2.4).
    Dname,
    /// A `$GENERATE` that is none, or makes a number below 0.
    Generate,
    /// `$INCLUDE`: no other file is read.
    Include,
    /// An unknown type, or one that is no data.
    Kind,
    /// A name is none.
    Name(NameFault),
    /// Data of a type that has no text of its own here.
    NoText,
    /// No NS at the apex (RFC 1035, section 5.2).
    NoNs,
    /// A relative name, and nothing said to what.
    NoOrigin,
    /// The first entry has no owner.
    NoOwner,
    /// The record is not there.
    NoRecord,
    /// No SOA at the apex, or not as the first record where nothing else tells the apex.
    NoSoa,
    /// No TTL of its own, and none to take over.
    NoTtl,
    /// There is no such zone.
    NoZone,
    /// The owner is not within the zone.
    OutOfZone,
    /// A parenthesis that was never opened or is never closed.
    Parenthesis,
    /// A quote that is never closed.
    Quote,
    /// The record is there already.
    RecordExists,
    /// The zone cannot be without it: its SOA, its last NS.
    Needed,
    /// A TTL that is none, or above 2^31 - 1 (RFC 2181, section 8).
    Ttl,
    /// More than a zone may hold.
    TooLarge,
    /// More than one SOA, or one elsewhere than at the apex (RFC 1035, section 5.2).
    TwoSoas,
    /// There is such a zone already.
    ZoneExists,
}

/// A piece of an entry with its escapes as they stand, without quotes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it says.
    pub text: &'a [u8],
    /// It stood in quotes.
    pub quoted: bool,
}

/// One record's line, up to its data.
#[derive(Debug)]
pub struct Line<'r, 'a> {
    /// Where it starts, from 1.
    pub line: u32,
    /// Whose record it is.
    pub owner: &'r Name,
    /// As far as anything says it; an SOA may do without.
    pub ttl: Option<u32>,
    /// Its type.
    pub kind: Kind,
    /// What its data is made of.
    pub data: &'r [Token<'a>],
    /// To what relative names in the data belong.
    pub origin: Option<&'r Name>,
}

/// Reads a master file line by line. After a fault it goes on with the next line.
pub struct Reader<'a> {
    entries: Entries<'a>,
    tokens: Vec<Token<'a>>,
    origin: Option<Name>,
    owner: Option<Name>,
    ttl_default: Option<u32>,
    ttl_last: Option<u32>,
}

impl<'a> Reader<'a> {
    /// Relative names belong to `origin` until `$ORIGIN` says otherwise.
    pub fn new(text: &'a [u8], origin: Option<&Name>) -> Self {
        Self::over(Entries::new(text), origin)
    }

    /// Of a text in which `$GENERATE` was expanded.
    pub fn of_expanded(text: &'a [u8], origin: Option<&Name>) -> Self {
        Self::over(Entries { is_expanded: true, ..Entries::new(text) }, origin)
    }

    fn over(entries: Entries<'a>, origin: Option<&Name>) -> Self {
        Self {
            entries,
            tokens: Vec::new(),
            origin: origin.cloned(),
            owner: None,
            ttl_default: None,
            ttl_last: None,
        }
    }

    /// The next record's line.
    pub fn next_line(&mut self) -> Option<Result<Line<'_, 'a>, ZoneFault>> {
        loop {
            let (line, indented) = match self.entries.next_entry(&mut self.tokens)? {
                Ok(found) => found,
                Err(fault) => return Some(Err(fault)),
            };
            let fault = |reason| ZoneFault { line, reason };
            let first = self.tokens[0];
            if !indented && !first.quoted && first.text.starts_with(b"$") {
                match self.directive() {
                    Ok(()) => continue,
                    Err(reason) => return Some(Err(fault(reason))),
                }
            }
            return Some(match self.head(indented) {
                Ok((ttl, kind, at)) => Ok(self.line(line, ttl, kind, at)),
                Err(reason) => Err(fault(reason)),
            });
        }
    }

    /// Takes this TTL for records that have none, as if `$TTL` had said so.
    pub fn set_ttl(&mut self, ttl: u32) {
        self.ttl_default = Some(ttl);
    }

    fn line(&self, line: u32, ttl: Option<u32>, kind: Kind, at: usize) -> Line<'_, 'a> {
        let owner = self.owner.as_ref().unwrap_or(&Name::ROOT);
        Line { line, owner, ttl, kind, data: &self.tokens[at..], origin: self.origin.as_ref() }
    }

    fn directive(&mut self) -> Result<(), Reason> {
        let [directive, argument] = self.tokens[..] else {
            let include = self.tokens[0].text.eq_ignore_ascii_case(b"$INCLUDE");
            return Err(if include { Reason::Include } else { Reason::Directive });
        };
        match directive.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => self.origin = Some(read_name(argument, self.origin.as_ref())?),
            b"$TTL" => self.ttl_default = Some(read_ttl(argument.text).ok_or(Reason::Ttl)?),
            b"$INCLUDE" => return Err(Reason::Include),
            _ => return Err(Reason::Directive),
        }
        Ok(())
    }

    /// Owner, TTL, class and type; returns where the data starts.
    fn head(&mut self, indented: bool) -> Result<(Option<u32>, Kind, usize), Reason> {
        let mut at = 0;
        if !indented {
            // A line whose owner is none leaves none for the lines that lean on it.
            self.owner = None;
            self.owner = Some(read_name(self.tokens[0], self.origin.as_ref())?);
            at = 1;
        }
        if self.owner.is_none() {
            return Err(Reason::NoOwner);
        }
        let (mut ttl, mut class) = (None, false);
        loop {
            let token = self.tokens.get(at).filter(|token| !token.quoted).ok_or(Reason::Kind)?;
            at += 1;
            if ttl.is_none() && token.text[0].is_ascii_digit() {
                ttl = Some(read_ttl(token.text).ok_or(Reason::Ttl)?);
            } else if !class && is_class(token.text) {
                if !token.text.eq_ignore_ascii_case(b"IN") && !token.text.eq_ignore_ascii_case(b"CLASS1") {
                    return Err(Reason::Class);
                }
                class = true;
            } else {
                let kind: Kind = text(token.text)?.parse().map_err(|()| Reason::Kind)?;
                if kind.is_meta() || kind.0 == 0 {
                    return Err(Reason::Kind);
                }
                self.ttl_last = ttl.or(self.ttl_last);
                return Ok((ttl.or(self.ttl_default).or(self.ttl_last), kind, at));
            }
        }
    }
}

/// A name, relative to `origin` if it does not end with a dot; `@` is the origin itself.
pub fn read_name(token: Token<'_>, origin: Option<&Name>) -> Result<Name, Reason> {
    if token.text == b"@" && !token.quoted {
        return origin.cloned().ok_or(Reason::NoOrigin);
    }
    let name = Name::parse_bytes(token.text).map_err(Reason::Name)?;
    if is_absolute(token.text) {
        return Ok(name);
    }
    let origin = origin.ok_or(Reason::NoOrigin)?;
    join(&name, origin).ok_or(Reason::Name(NameFault::TooLong))
}

/// `name` below `origin`; `None` if that is too long.
pub fn join(name: &Name, origin: &Name) -> Option<Name> {
    let labels = name.wire().len() - 1;
    let len = labels + origin.wire().len();
    let mut wire = [0; NAME_ROOM];
    wire[..labels].copy_from_slice(&name.wire()[..labels]);
    wire[labels..len].copy_from_slice(origin.wire());
    Name::from_wire(&wire[..len])
}

/// Seconds, or a number of weeks, days, hours, minutes and seconds such as `1h30m`.
pub fn read_ttl(token: &[u8]) -> Option<u32> {
    let text = str::from_utf8(token).ok()?;
    parse_ttl(text).ok().filter(|ttl| *ttl <= TTL_MAX)
}

fn text(bytes: &[u8]) -> Result<&str, Reason> {
    str::from_utf8(bytes).map_err(|_| Reason::Data)
}

/// The dot at its end is one, not an escaped character.
fn is_absolute(text: &[u8]) -> bool {
    let Some((b'.', before)) = text.split_last() else { return false };
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
}

fn is_class(text: &[u8]) -> bool {
    let number = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"CLASS"));
    number || [b"IN", b"CH", b"HS", b"CS"].iter().any(|class| text.eq_ignore_ascii_case(*class))
}

/// Splits text into entries: lines, but for parentheses.
pub(super) struct Entries<'a> {
    text: &'a [u8],
    /// Where it has come to.
    pub(super) at: usize,
    /// Where the last entry starts.
    pub(super) start: usize,
    line: u32,
    /// [`ENTRY_END`] ends an entry within a line.
    is_expanded: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, start: 0, line: 1, is_expanded: false }
    }

    /// Fills `tokens` with the next entry that has any; says in which line it starts, and whether
    /// with white space. After a fault the rest of its line is skipped.
    pub(super) fn next_entry(
        &mut self,
        tokens: &mut Vec<Token<'a>>,
    ) -> Option<Result<(u32, bool), ZoneFault>> {
        loop {
            tokens.clear();
            let (line, first) = (self.line, *self.text.get(self.at)?);
            self.start = self.at;
            match self.fill(tokens) {
                Err(reason) => {
                    self.skip_line();
                    return Some(Err(ZoneFault { line, reason }));
                }
                Ok(()) if tokens.is_empty() => {}
                Ok(()) => return Some(Ok((line, matches!(first, b' ' | b'\t')))),
            }
        }
    }

    fn fill(&mut self, tokens: &mut Vec<Token<'a>>) -> Result<(), Reason> {
        let mut open = false;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if !open {
                        return Ok(());
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                &ENTRY_END if self.is_expanded && !open => {
                    self.at += 1;
                    return Ok(());
                }
                b';' => self.at = self.line_end(),
                b'(' if !open => (open, self.at) = (true, self.at + 1),
                b')' if open => (open, self.at) = (false, self.at + 1),
                b'(' | b')' => return Err(Reason::Parenthesis),
                b'"' => {
                    let end = self.quote_end(self.at + 1).ok_or(Reason::Quote)?;
                    tokens.push(Token { text: &self.text[self.at + 1..end], quoted: true });
                    self.at = end + 1;
                }
                _ => {
                    let end = self.word_end()?;
                    tokens.push(Token { text: &self.text[self.at..end], quoted: false });
                    self.at = end;
                }
            }
            if tokens.len() > TOKENS_MAX {
                return Err(Reason::TooLarge);
            }
        }
        if open { Err(Reason::Parenthesis) } else { Ok(()) }
    }

    /// Where a word ends; quotes within it (`alpn="h2,h3"`) hold it together.
    fn word_end(&self) -> Result<usize, Reason> {
        let mut at = self.at;
        while let Some(byte) = self.text.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' => break,
                &ENTRY_END if self.is_expanded => break,
                b'\\' if self.text.get(at + 1).is_some_and(|next| *next != b'\n') => at += 2,
                b'"' => at = self.quote_end(at + 1).ok_or(Reason::Quote)? + 1,
                _ => at += 1,
            }
        }
        Ok(at)
    }

    /// Where the closing quote stands, on the same line.
    fn quote_end(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.text.get(at)? {
                b'"' => return Some(at),
                b'\n' => return None,
                b'\\' if self.text.get(at + 1).is_some_and(|next| *next != b'\n') => at += 2,
                _ => at += 1,
            }
        }
    }

    fn line_end(&self) -> usize {
        let rest = &self.text[self.at..];
        self.at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
    }

    fn skip_line(&mut self) {
        self.at = self.line_end();
        if self.at < self.text.len() {
            self.at += 1;
            self.line += 1;
        }
    }
}

impl fmt::Display for ZoneFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CnameAndOther => "a CNAME beside other records of the same name",
            Self::Class => "a class other than IN",
            Self::Data => "the data does not fit the type",
            Self::Directive => "only $ORIGIN NAME, $TTL TIME and $GENERATE are known here",
            Self::Generate => "not a $GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA",
            Self::Dname => "a DNAME beside another one, or beside the NS of a delegation",
            Self::Include => "$INCLUDE is not followed: put the records into one file",
            Self::Kind => {
                "not a type that a record can have; one without a name here is written TYPE65280 \\# LENGTH HEX (RFC 3597)"
            }
            Self::NoText => {
                "this type has no text of its own here; write it as TYPEnnn \\# LENGTH HEX (RFC 3597)"
            }
            Self::Name(NameFault::EmptyLabel) => "a name with an empty label",
            Self::Name(NameFault::LabelTooLong) => "a label of more than 63 bytes",
            Self::Name(NameFault::TooLong) => "a name of more than 255 bytes",
            Self::Name(NameFault::Escape) => "a backslash that escapes nothing",
            Self::NoNs => "the zone has no NS record at its apex",
            Self::NoOrigin => "a relative name, and no $ORIGIN before it",
            Self::NoOwner => "the first record has no owner",
            Self::NoRecord => "there is no such record",
            Self::NoSoa => "the zone does not begin with its SOA record",
            Self::NoTtl => "no TTL, and no $TTL before it",
            Self::NoZone => "there is no such zone",
            Self::OutOfZone => "the name is not within the zone",
            Self::Parenthesis => "a parenthesis without its other one",
            Self::Quote => "a quote that is not closed on its line",
            Self::RecordExists => "the record is there already",
            Self::Needed => "the zone cannot be without its SOA and its last NS record",
            Self::Ttl => "not a TTL: seconds, or such as 1h30m, at most 2147483647",
            Self::TooLarge => "more than a zone may hold",
            Self::TwoSoas => "a second SOA, or one that is not at the apex",
            Self::ZoneExists => "there is such a zone already",
        })
    }
}

/// Ends an entry that `$GENERATE` made, without a new line.
pub(super) const ENTRY_END: u8 = 0x1e;
/// RFC 2181, section 8.
const TTL_MAX: u32 = i32::MAX as u32;
/// Tokens of one entry. The longest data is 65,535 bytes, and in hexadecimal a token need hold no
/// more than one of them.
const TOKENS_MAX: usize = 65_535 + 8;
/// Two names, one after the other.
const NAME_ROOM: usize = 2 * 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line as `owner ttl type data`, or its fault.
    fn lines(text: &str, origin: Option<&str>) -> Vec<String> {
        let origin = origin.map(|origin| Name::parse(origin).unwrap());
        let mut reader = Reader::new(text.as_bytes(), origin.as_ref());
        let mut out = Vec::new();
        while let Some(line) = reader.next_line() {
            out.push(match line {
                Ok(line) => {
                    let data: Vec<_> =
                        line.data.iter().map(|token| String::from_utf8_lossy(token.text)).collect();
                    let ttl = line.ttl.map_or_else(|| "-".to_owned(), |ttl| ttl.to_string());
                    format!("{} {} {ttl} {} {}", line.line, line.owner, line.kind, data.join("|"))
                }
                Err(fault) => format!("{} {:?}", fault.line, fault.reason),
            });
        }
        out
    }

    #[test]
    fn entries_span_lines_in_parentheses_and_lean_on_what_came_before() {
        let text = "; comment\n$ORIGIN Test.\n@ 1h IN SOA ns root (\n 1 ; serial\n 2 3 4 5 )\n\tNS ns\n\
                    $TTL 60\nwww IN 5 A 192.0.2.1\n    TXT \"a;b\" c\\ d ( \"(\" )\r\nsub.test. mx 1 @\n";
        let expected = [
            "3 test. 3600 SOA ns|root|1|2|3|4|5",
            "6 test. 3600 NS ns",
            "8 www.test. 5 A 192.0.2.1",
            "9 www.test. 60 TXT a;b|c\\ d|(",
            "10 sub.test. 60 MX 1|@",
        ];
        assert_eq!(lines(text, None), expected);
    }

    #[test]
    fn a_faulty_line_is_told_and_the_next_one_is_read() {
        let text = "a A 1.1.1.1\na.b 5 A 1\n$INCLUDE x\n$GENERATE 1-2 a A 1\nb. CH A 1\nc. NONE 1\n\
                    d. A \"x\ne..f. A 1\ng. 9999999999 A 1\nh. ANY\n ) A\n 5 A 2";
        let expected = [
            "1 NoOrigin",
            "2 NoOrigin",
            "3 Include",
            "4 Directive",
            "5 Class",
            "6 Kind",
            "7 Quote",
            "8 Name(EmptyLabel)",
            "9 Ttl",
            "10 Kind",
            "11 Parenthesis",
            "12 h. 5 A 2",
        ];
        assert_eq!(lines(text, None), expected);
        assert_eq!(lines(" A 1", Some(".")), ["1 NoOwner"]);
        assert_eq!(lines("a A ( 1\n\n", Some(".")), ["1 Parenthesis"]);
    }

    #[test]
    fn a_name_is_absolute_by_its_last_dot_unless_that_is_escaped() {
        let origin = Name::parse("o").unwrap();
        let read = |text: &str| {
            read_name(Token { text: text.as_bytes(), quoted: false }, Some(&origin)).unwrap().to_string()
        };
        assert_eq!(
            (read("a."), read("a"), read(r"a\."), read(r"a\\.")),
            ("a.".into(), "a.o.".into(), r"a\..o.".into(), r"a\\.".into())
        );
        assert_eq!((read("@"), read("."), read(r"\@")), ("o.".into(), ".".into(), r"\@.o.".into()));
        let long = Token { text: &[b'a'; 63], quoted: false };
        let near = Name::parse(&[&"b".repeat(63); 3].map(String::as_str).join(".")).unwrap();
        assert_eq!(
            read_name(long, Some(&near)).err(),
            Some(Reason::Name(NameFault::TooLong)).filter(|_| 64 + near.wire().len() > 255)
        );
    }
}
