//! Record data: from the tokens of a master file to wire form, and back to text.
//!
//! Most types are a row of fields, written down once for both directions. What has a language of
//! its own (SVCB and HTTPS, CERT, CSYNC, OPENPGPKEY) is hickory-proto's; whatever else there may
//! be goes as `\# length hex` (RFC 3597, section 5).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str;

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, Restrict};

use super::master::{Reason, Token, read_name, read_ttl};
use crate::wire::dns::{self, CLASS_IN, HEADER_LEN, Kind, Message, Name};

/// Data in wire form, names written out and in lower case.
pub fn parse(kind: Kind, tokens: &[Token<'_>], origin: Option<&Name>) -> Result<Box<[u8]>, Reason> {
    let data = match tokens {
        [mark, rest @ ..] if mark.text == br"\#" && !mark.quoted => parse_generic(rest)?,
        _ => match fields(kind) {
            Some(fields) => parse_fields(fields, tokens, origin)?,
            None if by_hickory(kind) => parse_by_hickory(kind, tokens, origin)?,
            None => return Err(Reason::Data),
        },
    };
    canonical(kind, &data).ok_or(Reason::Data)
}

/// Data as text that [`parse`] reads back to the same bytes.
pub fn print(kind: Kind, data: &[u8]) -> String {
    let text = match fields(kind) {
        Some(fields) => print_fields(fields, data),
        None if by_hickory(kind) => print_by_hickory(kind, data),
        None => None,
    };
    // hickory-proto writes some texts as they are, and they may be meant for a terminal.
    let is_plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    text.filter(|text| is_plain(text) && reads_back(kind, text, data)).unwrap_or_else(|| print_generic(data))
}

/// What data is made of.
#[derive(Clone, Copy)]
enum Field {
    U8,
    U16,
    U32,
    /// Seconds, with units if one likes.
    Ttl,
    Name,
    /// One text of at most 255 bytes with its length before it.
    Text,
    /// One such text or more.
    Texts,
    /// The rest, without a length.
    Tail,
    A,
    Aaaa,
    /// The rest, in hexadecimal, split at will.
    Hex,
}

fn fields(kind: Kind) -> Option<&'static [Field]> {
    use Field::{A, Aaaa, Hex, Name, Tail, Text, Texts, Ttl, U8, U16, U32};
    Some(match kind {
        Kind::A => &[A],
        Kind::AAAA => &[Aaaa],
        // MD, MF, MB, MG, MR.
        Kind::NS | Kind::CNAME | Kind::PTR | Kind::DNAME | Kind(3 | 4 | 7 | 8 | 9) => &[Name],
        // AFSDB, RT, KX.
        Kind::MX | Kind(18 | 21 | 36) => &[U16, Name],
        Kind::SRV => &[U16, U16, U16, Name],
        Kind::SOA => &[Name, Name, U32, Ttl, Ttl, Ttl, Ttl],
        // SPF, NINFO, AVC.
        Kind::TXT | Kind(99 | 56 | 258) => &[Texts],
        Kind::HINFO => &[Text, Text],
        // MINFO.
        Kind::RP | Kind(14) => &[Name, Name],
        Kind::NAPTR => &[U16, U16, Text, Text, Text, Name],
        Kind::CAA => &[U8, Text, Tail],
        // URI.
        Kind(256) => &[U16, U16, Tail],
        // CDS.
        Kind::DS | Kind(59) => &[U16, U8, U8, Hex],
        Kind::SSHFP => &[U8, U8, Hex],
        // SMIMEA.
        Kind::TLSA | Kind(53) => &[U8, U8, U8, Hex],
        _ => return None,
    })
}

fn parse_fields(fields: &[Field], tokens: &[Token<'_>], origin: Option<&Name>) -> Result<Vec<u8>, Reason> {
    let (mut out, mut tokens) = (Vec::new(), tokens.iter().copied());
    for field in fields {
        let token = tokens.next().ok_or(Reason::Data)?;
        match field {
            Field::U8 => out.push(number(token)?),
            Field::U16 => out.extend_from_slice(&number::<u16>(token)?.to_be_bytes()),
            Field::U32 => out.extend_from_slice(&number::<u32>(token)?.to_be_bytes()),
            Field::Ttl => {
                out.extend_from_slice(&read_ttl(token.text).ok_or(Reason::Data)?.to_be_bytes());
            }
            Field::Name => out.extend_from_slice(read_name(token, origin)?.wire()),
            Field::Text => put_text(token, &mut out)?,
            Field::Texts => {
                put_text(token, &mut out)?;
                for token in tokens.by_ref() {
                    put_text(token, &mut out)?;
                }
            }
            Field::Tail => unescape(token.text, &mut out)?,
            Field::A => out.extend_from_slice(&number::<Ipv4Addr>(token)?.octets()),
            Field::Aaaa => out.extend_from_slice(&number::<Ipv6Addr>(token)?.octets()),
            Field::Hex => {
                let pieces = std::iter::once(token).chain(tokens.by_ref());
                put_hex(pieces, &mut out)?;
            }
        }
    }
    if tokens.next().is_some() { Err(Reason::Data) } else { Ok(out) }
}

fn number<T: str::FromStr>(token: Token<'_>) -> Result<T, Reason> {
    let text = str::from_utf8(token.text).ok().filter(|text| !text.starts_with('+'));
    text.and_then(|text| text.parse().ok()).ok_or(Reason::Data)
}

fn put_text(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let at = out.len();
    out.push(0);
    unescape(token.text, out)?;
    out[at] = u8::try_from(out.len() - at - 1).map_err(|_| Reason::Data)?;
    Ok(())
}

/// A text without its escapes (RFC 1035, section 5.1).
fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    loop {
        text = match text {
            [] => return Ok(()),
            [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
                let (digits, rest) = digits.split_at_checked(3).ok_or(Reason::Data)?;
                out.push(number(Token { text: digits, quoted: false })?);
                rest
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

fn put_hex<'a>(pieces: impl Iterator<Item = Token<'a>>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut high = None;
    for byte in pieces.flat_map(|piece| piece.text) {
        let digit = char::from(*byte).to_digit(16).ok_or(Reason::Data)? as u8;
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

fn parse_generic(tokens: &[Token<'_>]) -> Result<Vec<u8>, Reason> {
    let (length, pieces) = tokens.split_first().ok_or(Reason::Data)?;
    let (length, mut out) = (number::<u16>(*length)?, Vec::new());
    put_hex(pieces.iter().copied(), &mut out)?;
    if out.len() == usize::from(length) { Ok(out) } else { Err(Reason::Data) }
}

/// CERT, OPENPGPKEY, CSYNC, SVCB, HTTPS.
fn by_hickory(kind: Kind) -> bool {
    matches!(kind, Kind::SVCB | Kind::HTTPS | Kind(37 | 61 | 62))
}

fn parse_by_hickory(kind: Kind, tokens: &[Token<'_>], origin: Option<&Name>) -> Result<Vec<u8>, Reason> {
    let mut line = String::new();
    for (nth, token) in tokens.iter().enumerate() {
        // It knows no origin.
        if nth == 1 && matches!(kind, Kind::SVCB | Kind::HTTPS) {
            write!(line, "{} ", read_name(*token, origin)?).expect("a string takes everything");
            continue;
        }
        let text = str::from_utf8(token.text).map_err(|_| Reason::Data)?;
        line.extend([text, " "]);
    }
    let data = RData::try_from_str(RecordType::from(kind.0), &line).map_err(|_| Reason::Data)?;
    data.to_bytes().map_err(|_| Reason::Data)
}

fn print_by_hickory(kind: Kind, data: &[u8]) -> Option<String> {
    let length = Restrict::new(u16::try_from(data.len()).ok()?);
    let read = RData::read(&mut BinDecoder::new(data), RecordType::from(kind.0), length).ok()?;
    Some(read.to_string())
}

/// The data with its names in lower case, if it is of the form that its type demands.
fn canonical(kind: Kind, data: &[u8]) -> Option<Box<[u8]>> {
    let length = u16::try_from(data.len()).ok()?;
    // A message that holds this one record, for the root.
    let mut message = vec![0; HEADER_LEN];
    message[7] = 1;
    message.push(0);
    message.extend_from_slice(&kind.0.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(data);
    let record = Message::parse(&message).ok()?.records().next()?.ok()?;
    let mut out = Vec::with_capacity(data.len());
    dns::expand(&record, &mut out).ok()?;
    (well_formed(kind, &out)).then(|| out.into_boxed_slice())
}

/// What is not names: texts are whole, parameters in order and once (RFC 9460, section 2.2).
fn well_formed(kind: Kind, data: &[u8]) -> bool {
    match fields(kind) {
        Some(fields) => print_fields(fields, data).is_some(),
        None if matches!(kind, Kind::SVCB | Kind::HTTPS) => has_parameters_in_order(data).is_some(),
        None => true,
    }
}

fn has_parameters_in_order(data: &[u8]) -> Option<()> {
    let (_, mut rest) = take_name(data.get(2..)?)?;
    let mut last = None;
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let key = u16::from_be_bytes([head[0], head[1]]);
        if last.is_some_and(|last| last >= key) {
            return None;
        }
        last = Some(key);
        rest = after.get(usize::from(u16::from_be_bytes([head[2], head[3]]))..)?;
    }
    Some(())
}

fn reads_back(kind: Kind, text: &str, data: &[u8]) -> bool {
    let line = [b"x. 0 ".as_slice(), kind.to_string().as_bytes(), b" ", text.as_bytes()].concat();
    let mut reader = super::master::Reader::new(&line, None);
    let read = reader.next_line().and_then(Result::ok).map(|line| parse(kind, line.data, None));
    matches!(read, Some(Ok(read)) if *read == *data)
}

/// `None` if the data is of another form.
fn print_fields(fields: &[Field], mut data: &[u8]) -> Option<String> {
    let mut out = String::new();
    for field in fields {
        match field {
            Field::U8 => {
                let (byte, rest) = data.split_first()?;
                (_, data) = (out.extend([byte.to_string().as_str(), " "]), rest);
            }
            Field::U16 => {
                let (bytes, rest) = data.split_first_chunk::<2>()?;
                (_, data) = (out.extend([u16::from_be_bytes(*bytes).to_string().as_str(), " "]), rest);
            }
            Field::U32 | Field::Ttl => {
                let (bytes, rest) = data.split_first_chunk::<4>()?;
                (_, data) = (out.extend([u32::from_be_bytes(*bytes).to_string().as_str(), " "]), rest);
            }
            Field::Name => {
                let (name, rest) = take_name(data)?;
                (_, data) = (out.extend([name.to_string().as_str(), " "]), rest);
            }
            Field::Text => data = print_text(data, &mut out)?,
            Field::Texts => {
                data = print_text(data, &mut out)?;
                while !data.is_empty() {
                    data = print_text(data, &mut out)?;
                }
            }
            Field::Tail => {
                quote(data, &mut out);
                data = &[];
            }
            Field::A => out
                .push_str(&Ipv4Addr::from(<[u8; 4]>::try_from(std::mem::take(&mut data)).ok()?).to_string()),
            Field::Aaaa => {
                out.push_str(
                    &Ipv6Addr::from(<[u8; 16]>::try_from(std::mem::take(&mut data)).ok()?).to_string(),
                );
            }
            Field::Hex => print_hex(std::mem::take(&mut data), &mut out),
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    data.is_empty().then_some(out)
}

fn take_name(data: &[u8]) -> Option<(Name, &[u8])> {
    let mut at = 0;
    while *data.get(at)? != 0 {
        at += 1 + usize::from(data[at]);
    }
    let (name, rest) = data.split_at(at + 1);
    Some((Name::from_wire(name)?, rest))
}

fn print_text<'a>(data: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    quote(text, out);
    Some(rest)
}

fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => write!(out, "\\{byte:03}").expect("a string takes everything"),
        }
    }
    out.push_str("\" ");
}

fn print_hex(data: &[u8], out: &mut String) {
    for byte in data {
        write!(out, "{byte:02x}").expect("a string takes everything");
    }
}

fn print_generic(data: &[u8]) -> String {
    let mut out = format!(r"\# {} ", data.len());
    print_hex(data, &mut out);
    out.truncate(out.trim_end_matches(' ').len());
    out
}

#[cfg(test)]
mod tests {
    use super::super::master::Reader;
    use super::*;

    fn read(kind: &str, text: &str) -> Result<Box<[u8]>, Reason> {
        let line = format!("x 1 {kind} {text}");
        let origin = Name::parse("Test").unwrap();
        let mut reader = Reader::new(line.as_bytes(), Some(&origin));
        let line = reader.next_line().unwrap().unwrap();
        parse(line.kind, line.data, line.origin)
    }

    #[test]
    fn text_becomes_wire_form_and_plain_text_again() {
        for (kind, text, plain) in [
            ("A", "192.0.2.1", "192.0.2.1"),
            ("AAAA", "2001:DB8::0:1", "2001:db8::1"),
            ("MX", "10 Mail", "10 mail.test."),
            ("CNAME", "@", "test."),
            ("TXT", r#"( "a b" c\;d "\"\\\200" )"#, r#""a b" "c;d" "\"\\\200""#),
            ("SOA", "ns root 7 1h 2m 3 4w", "ns.test. root.test. 7 3600 120 3 2419200"),
            ("SRV", "0 5 5060 sip.example.", "0 5 5060 sip.example."),
            (
                "NAPTR",
                r#"100 10 "u" "E2U+sip" "!^.*$!sip:a@b!" ."#,
                r#"100 10 "u" "E2U+sip" "!^.*$!sip:a@b!" ."#,
            ),
            ("CAA", r#"0 issue "ca.example; x=1""#, r#"0 "issue" "ca.example; x=1""#),
            ("DS", "1 8 2 AB cd", "1 8 2 abcd"),
            ("TLSA", "3 1 1 00", "3 1 1 00"),
            (
                "HTTPS",
                "1 . alpn=\"h2,h3\" port=443 ipv4hint=192.0.2.1",
                "1 . alpn=h2,h3 port=443 ipv4hint=192.0.2.1",
            ),
            ("SVCB", "0 svc", "0 svc.test."),
            ("TYPE731", r"\# 3 ab CDef", r"\# 3 abcdef"),
            ("A", r"\# 4 7f000001", "127.0.0.1"),
            ("TYPE731", r"\# 0", r"\# 0"),
            ("HINFO", "PC UNIX", r#""PC" "UNIX""#),
            ("RP", "a. b", "a. b.test."),
        ] {
            let data = read(kind, text).unwrap_or_else(|reason| panic!("{kind} {text}: {reason:?}"));
            let kind: Kind = kind.parse().unwrap();
            let back = print(kind, &data);
            assert!(reads_back(kind, &back, &data), "{kind} {text} became {back}");
            if !by_hickory(kind) {
                assert_eq!(back, plain, "{kind} {text}");
            }
        }
    }

    #[test]
    fn data_that_does_not_fit_its_type_is_refused() {
        let long = format!("\"{}\"", "a".repeat(256));
        for (kind, text) in [
            ("A", "192.0.2"),
            ("A", "192.0.2.1 2"),
            ("A", r"\# 3 7f0000"),
            ("A", r"\# 4 7f00000"),
            ("MX", "mail"),
            ("MX", "+1 mail"),
            ("MX", r"\# 4 0001 0361"),
            ("TXT", ""),
            ("TXT", &long),
            ("TXT", r#""\25""#),
            ("TXT", r"\# 2 0561"),
            ("SOA", "a b 1 2 3 4"),
            ("DS", "1 8 2 abc"),
            ("HTTPS", "1 . port=x"),
            ("HTTPS", "1 . port=1 alpn=h2 port=2"),
            ("TYPE731", "x"),
            ("NSEC", "a. A"),
        ] {
            assert_eq!(read(kind, text), Err(Reason::Data), "{kind} {text}");
        }
    }

    quickcheck::quickcheck! {
        fn any_data_survives_its_text(kind: u16, data: Vec<u8>) -> bool {
            let kind = Kind([1, 2, 6, 13, 15, 16, 33, 35, 43, 52, 64, 65, 37, 61, 62, 257, kind][usize::from(kind) % 17]);
            // Types that no record of a zone can have are refused before their data is looked at.
            let is_record = !kind.is_meta() && kind.0 != 0;
            !is_record || canonical(kind, &data).is_none_or(|data| reads_back(kind, &print(kind, &data), &data))
        }
    }
}
