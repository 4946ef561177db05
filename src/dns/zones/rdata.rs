//! Record data: from the tokens of a master file to wire form, and back to text.
//!
//! What data of a type consists of is in the table of types ([`Kind::fields`]); here each field is read
//! and written, once for all types. Whatever has no text of its own goes as `\# length hex` (RFC 3597,
//! section 5).

mod encode;
mod service;
mod special;
#[cfg(test)]
mod vectors;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::master::{Reader, Reason, Token, read_name, read_ttl};
use crate::wire::dns::{self, CLASS_IN, Field, HEADER_LEN, Kind, Message, Name};
use encode::{number, number_of, put_base32, put_base64, put_hex, put_text, quote, unescape};
use special::take_name;

/// Data in wire form, names written out and in lower case.
pub fn parse(kind: Kind, tokens: &[Token<'_>], origin: Option<&Name>) -> Result<Box<[u8]>, Reason> {
    let data = match tokens {
        [mark, rest @ ..] if mark.text == br"\#" && !mark.quoted => parse_generic(rest)?,
        _ if !kind.has_text() => return Err(Reason::NoText),
        _ => {
            let (mut tokens, mut out) = (tokens.iter().copied(), Vec::new());
            for field in kind.fields() {
                parse_field(*field, &mut tokens, origin, &mut out)?;
            }
            if tokens.next().is_some() {
                return Err(Reason::Data);
            }
            out
        }
    };
    canonical(kind, &data).ok_or(Reason::Data)
}

/// Data as text that `parse` reads back to the same bytes.
pub fn print(kind: Kind, data: &[u8]) -> String {
    let text = if kind.has_text() { print_fields(kind.fields(), data) } else { None };
    text.filter(|text| reads_back(kind, text, data)).unwrap_or_else(|| print_generic(data))
}

/// Reads what one field takes of the tokens.
fn parse_field(
    field: Field,
    tokens: &mut dyn Iterator<Item = Token<'_>>,
    origin: Option<&Name>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    match field {
        Field::Types => return special::parse_types(tokens, out),
        Field::Location => return special::parse_location(tokens, out),
        Field::Prefixes => return special::parse_prefixes(tokens, out),
        Field::IpsecGateway => return special::parse_ipsec_gateway(tokens, origin, out),
        Field::AmtRelay => return special::parse_amt_relay(tokens, origin, out),
        Field::HostIdentity => return special::parse_host_identity(tokens, origin, out),
        Field::Parameters => return service::parse(tokens, out),
        Field::Hex => return put_hex(tokens.flat_map(|token| token.text.iter().copied()), out),
        Field::Base64 | Field::Base64IfAny => {
            return put_base64(tokens.flat_map(|token| token.text.iter().copied()), out);
        }
        Field::TextIfAny => return tokens.next().map_or(Ok(()), |token| put_text(token, out)),
        Field::Opaque => return Err(Reason::NoText),
        _ => {}
    }
    let token = tokens.next().ok_or(Reason::Data)?;
    match field {
        Field::Texts => {
            put_text(token, out)?;
            for token in tokens {
                put_text(token, out)?;
            }
            Ok(())
        }
        Field::Base64OrDash if token.text == b"-" => Ok(()),
        Field::Base64OrDash => {
            let more = tokens.flat_map(|token| token.text.iter().copied());
            put_base64(token.text.iter().copied().chain(more), out)
        }
        _ => parse_single(field, token, origin, out),
    }
}

/// Reads a field of one token.
fn parse_single(
    field: Field,
    token: Token<'_>,
    origin: Option<&Name>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    match field {
        Field::U8 => out.push(number(token)?),
        Field::U16 => out.extend_from_slice(&number::<u16>(token)?.to_be_bytes()),
        Field::U32 => out.extend_from_slice(&number::<u32>(token)?.to_be_bytes()),
        Field::Ttl => out.extend_from_slice(&read_ttl(token.text).ok_or(Reason::Data)?.to_be_bytes()),
        Field::Time => out.extend_from_slice(&encode::time(token.text)?.to_be_bytes()),
        Field::Name | Field::PlainName => out.extend_from_slice(read_name(token, origin)?.wire()),
        Field::Text | Field::Tag => put_text(token, out)?,
        Field::Tail => unescape(token.text, out)?,
        Field::A => out.extend_from_slice(&number::<Ipv4Addr>(token)?.octets()),
        Field::Aaaa => out.extend_from_slice(&number::<Ipv6Addr>(token)?.octets()),
        Field::Salt if token.text == b"-" => out.push(0),
        Field::Salt => put_counted(out, |out| put_hex(token.text.iter().copied(), out))?,
        Field::HashedName => put_counted(out, |out| put_base32(token.text, out))?,
        Field::Covered => {
            let kind: Result<Kind, ()> = std::str::from_utf8(token.text).map_err(|_| ()).and_then(str::parse);
            out.extend_from_slice(&kind.map_err(|()| Reason::Kind)?.0.to_be_bytes());
        }
        Field::Algorithm => out.push(named(ALGORITHMS, token)?),
        Field::DigestType => out.push(named(DIGESTS, token)?),
        Field::CertType => out.extend_from_slice(&named::<u16>(CERTIFICATES, token)?.to_be_bytes()),
        Field::Eui48 => put_groups(token.text, b'-', (6, 1), out)?,
        Field::Eui64 => put_groups(token.text, b'-', (8, 1), out)?,
        Field::Groups => put_groups(token.text, b':', (4, 2), out)?,
        Field::Nsap => {
            let start = token.text.get(..2).filter(|start| start.eq_ignore_ascii_case(b"0x"));
            let digits = start.map(|_| &token.text[2..]).ok_or(Reason::Data)?;
            put_hex(digits.iter().copied().filter(|digit| *digit != b'.'), out)?;
        }
        _ => return Err(Reason::Data),
    }
    Ok(())
}

/// Bytes with their number before them.
fn put_counted(
    out: &mut Vec<u8>,
    put: impl FnOnce(&mut Vec<u8>) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let at = out.len();
    out.push(0);
    put(out)?;
    out[at] = u8::try_from(out.len() - at - 1).map_err(|_| Reason::Data)?;
    Ok(())
}

/// So many groups of so many bytes in hexadecimal.
fn put_groups(
    text: &[u8],
    mark: u8,
    (groups, bytes): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut count = 0;
    for group in text.split(|byte| *byte == mark) {
        let is_fixed = bytes == 1;
        if group.is_empty() || group.len() > 2 * bytes || is_fixed && group.len() != 2 {
            return Err(Reason::Data);
        }
        let zeros = std::iter::repeat_n(b'0', 2 * bytes - group.len());
        put_hex(zeros.chain(group.iter().copied()), out)?;
        count += 1;
    }
    if count == groups { Ok(()) } else { Err(Reason::Data) }
}

/// A number, by itself or by its name.
fn named<T: std::str::FromStr + TryFrom<u16>>(names: &[(u16, &str)], token: Token<'_>) -> Result<T, Reason> {
    let known = names.iter().find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(token.text));
    match known.and_then(|(number, _)| T::try_from(*number).ok()) {
        Some(number) => Ok(number),
        None => number_of(token.text),
    }
}

fn parse_generic(tokens: &[Token<'_>]) -> Result<Vec<u8>, Reason> {
    let (length, pieces) = tokens.split_first().ok_or(Reason::Data)?;
    let (length, mut out) = (number::<u16>(*length)?, Vec::new());
    put_hex(pieces.iter().flat_map(|token| token.text.iter().copied()), &mut out)?;
    if out.len() == usize::from(length) { Ok(out) } else { Err(Reason::Data) }
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

/// What is not names: texts are whole, numbers are there, parameters are in order and once.
fn well_formed(kind: Kind, data: &[u8]) -> bool {
    !kind.has_text() || print_fields(kind.fields(), data).is_some()
}

fn reads_back(kind: Kind, text: &str, data: &[u8]) -> bool {
    let line = [b"x. 0 ".as_slice(), kind.to_string().as_bytes(), b" ", text.as_bytes()].concat();
    let mut reader = Reader::new(&line, None);
    let read = reader.next_line().and_then(Result::ok).map(|line| parse(kind, line.data, None));
    matches!(read, Some(Ok(read)) if *read == *data)
}

/// `None` if the data is of another form.
fn print_fields(fields: &[Field], mut data: &[u8]) -> Option<String> {
    let mut out = String::new();
    for field in fields {
        data = print_field(*field, data, &mut out)?;
        out.push(' ');
    }
    let length = out.trim_end_matches(' ').len();
    out.truncate(length);
    data.is_empty().then_some(out)
}

/// Writes a field; what is left of the data.
fn print_field<'a>(field: Field, data: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    match field {
        Field::U8 | Field::Algorithm | Field::DigestType => {
            let (byte, rest) = data.split_first()?;
            out.push_str(&byte.to_string());
            Some(rest)
        }
        Field::U16 | Field::CertType => {
            let (bytes, rest) = data.split_first_chunk::<2>()?;
            out.push_str(&u16::from_be_bytes(*bytes).to_string());
            Some(rest)
        }
        Field::Covered => {
            let (bytes, rest) = data.split_first_chunk::<2>()?;
            out.push_str(&Kind(u16::from_be_bytes(*bytes)).to_string());
            Some(rest)
        }
        Field::U32 | Field::Ttl | Field::Time => {
            let (bytes, rest) = data.split_first_chunk::<4>()?;
            let number = u32::from_be_bytes(*bytes);
            let text = if field == Field::Time { encode::time_text(number) } else { number.to_string() };
            out.push_str(&text);
            Some(rest)
        }
        Field::Name | Field::PlainName => {
            let (name, rest) = take_name(data)?;
            out.push_str(&name.to_string());
            Some(rest)
        }
        Field::A => {
            let (octets, rest) = data.split_first_chunk::<4>()?;
            out.push_str(&Ipv4Addr::from(*octets).to_string());
            Some(rest)
        }
        Field::Aaaa => {
            let (octets, rest) = data.split_first_chunk::<16>()?;
            out.push_str(&Ipv6Addr::from(*octets).to_string());
            Some(rest)
        }
        Field::Text | Field::Tag | Field::TextIfAny | Field::Texts => print_texts(field, data, out),
        Field::Salt | Field::HashedName => {
            let (length, rest) = data.split_first()?;
            let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
            out.push_str(&match (field, bytes) {
                (Field::Salt, []) => "-".to_owned(),
                (Field::Salt, _) => encode::hex(bytes),
                (_, []) => return None,
                _ => encode::base32(bytes),
            });
            Some(rest)
        }
        Field::Eui48 => print_groups(data, '-', (6, 1), out),
        Field::Eui64 => print_groups(data, '-', (8, 1), out),
        Field::Groups => print_groups(data, ':', (4, 2), out),
        _ => print_rest(field, data, out).map(|()| &[][..]),
    }
}

/// Writes a field that takes all that is left.
fn print_rest(field: Field, data: &[u8], out: &mut String) -> Option<()> {
    match field {
        Field::Tail => quote(data, out),
        Field::Hex => out.push_str(&encode::hex(data)),
        Field::Nsap if !data.is_empty() => out.extend(["0x", &encode::hex(data)]),
        Field::Base64 if data.is_empty() => return None,
        Field::Base64OrDash if data.is_empty() => out.push('-'),
        Field::Base64 | Field::Base64IfAny | Field::Base64OrDash => out.push_str(&encode::base64(data)),
        Field::Types => special::print_types(data, out)?,
        Field::Location => special::print_location(data, out)?,
        Field::Prefixes => special::print_prefixes(data, out)?,
        Field::IpsecGateway => special::print_ipsec_gateway(data, out)?,
        Field::AmtRelay => special::print_amt_relay(data, out)?,
        Field::HostIdentity => special::print_host_identity(data, out)?,
        Field::Parameters => service::print(data, out)?,
        _ => return None,
    }
    Some(())
}

fn print_texts<'a>(field: Field, mut data: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    if field == Field::TextIfAny && data.is_empty() {
        return Some(data);
    }
    loop {
        let (length, rest) = data.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        if field == Field::Tag {
            // Without quotes, which BIND does not take here.
            let is_tag = !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric);
            out.extend(text.iter().copied().map(char::from));
            return Some(rest).filter(|_| is_tag);
        }
        quote(text, out);
        if field != Field::Texts || rest.is_empty() {
            return Some(rest);
        }
        out.push(' ');
        data = rest;
    }
}

fn print_groups<'a>(
    data: &'a [u8],
    mark: char,
    (groups, bytes): (usize, usize),
    out: &mut String,
) -> Option<&'a [u8]> {
    let (data, rest) = data.split_at_checked(groups * bytes)?;
    for (nth, group) in data.chunks(bytes).enumerate() {
        out.extend(Some(mark).filter(|_| nth > 0));
        out.push_str(&encode::hex(group));
    }
    Some(rest)
}

fn print_generic(data: &[u8]) -> String {
    let text = format!(r"\# {} {}", data.len(), encode::hex(data));
    text.trim_end_matches(' ').to_owned()
}

/// Algorithms of DNSSEC (RFC 4034, appendix A.1, and its successors).
const ALGORITHMS: &[(u16, &str)] = &[
    (1, "RSAMD5"),
    (2, "DH"),
    (3, "DSA"),
    (4, "ECC"),
    (5, "RSASHA1"),
    (6, "DSA-NSEC3-SHA1"),
    (6, "NSEC3DSA"),
    (7, "RSASHA1-NSEC3-SHA1"),
    (7, "NSEC3RSASHA1"),
    (8, "RSASHA256"),
    (10, "RSASHA512"),
    (12, "ECC-GOST"),
    (12, "ECCGOST"),
    (13, "ECDSAP256SHA256"),
    (14, "ECDSAP384SHA384"),
    (15, "ED25519"),
    (16, "ED448"),
    (252, "INDIRECT"),
    (253, "PRIVATEDNS"),
    (254, "PRIVATEOID"),
];
/// Digests of DS (RFC 4034, appendix A.2, and its successors).
const DIGESTS: &[(u16, &str)] =
    &[(1, "SHA-1"), (1, "SHA1"), (2, "SHA-256"), (2, "SHA256"), (3, "GOST"), (4, "SHA-384"), (4, "SHA384")];
/// Certificates (RFC 4398, section 2.1).
const CERTIFICATES: &[(u16, &str)] = &[
    (1, "PKIX"),
    (2, "SPKI"),
    (3, "PGP"),
    (4, "IPKIX"),
    (5, "ISPKI"),
    (6, "IPGP"),
    (7, "ACPKIX"),
    (8, "IACPKIX"),
    (253, "URI"),
    (254, "OID"),
];

#[cfg(test)]
mod tests {
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
            ("CAA", r#"0 issue "ca.example; x=1""#, r#"0 issue "ca.example; x=1""#),
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
            assert_eq!(back, plain, "{kind} {text}");
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
            ("NSEC", "a. A b"),
        ] {
            assert!(matches!(read(kind, text), Err(Reason::Data | Reason::Kind)), "{kind} {text}");
        }
        for (kind, text) in [("TYPE731", "x"), ("WKS", "192.0.2.1 tcp smtp"), ("A6", "0 ::1")] {
            assert_eq!(read(kind, text), Err(Reason::NoText), "{kind} {text}");
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
