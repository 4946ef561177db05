//! Record data with a language of its own: places, prefixes, gateways, relays, host identities, sets of
//! types.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use super::encode::{base64, hex, number, number_of, put_base64, put_hex};
use crate::dns::zones::master::{Reason, Token, read_name};
use crate::wire::dns::{Kind, Name};

type Tokens<'t, 'a> = &'t mut dyn Iterator<Item = Token<'a>>;

/// A set of types in blocks of 256 (RFC 4034, section 4.1.2).
pub(super) fn parse_types(tokens: Tokens<'_, '_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut kinds = Vec::new();
    for token in tokens {
        let kind: Kind =
            str::from_utf8(token.text).ok().and_then(|text| text.parse().ok()).ok_or(Reason::Kind)?;
        kinds.push(kind.0);
    }
    kinds.sort_unstable();
    for block in kinds.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0; 32];
        block.iter().for_each(|kind| bits[usize::from(kind >> 3 & 31)] |= 0x80 >> (kind & 7));
        let length = usize::from(block[block.len() - 1] >> 3 & 31) + 1;
        out.extend_from_slice(&[(block[0] >> 8) as u8, length as u8]);
        out.extend_from_slice(&bits[..length]);
    }
    Ok(())
}

pub(super) fn print_types(mut data: &[u8], out: &mut String) -> Option<()> {
    let mut last = None;
    while let [window, length, rest @ ..] = data {
        let (bits, rest) = rest.split_at_checked(usize::from(*length))?;
        let is_last_used = bits.last().is_some_and(|byte| *byte != 0);
        if bits.len() > 32 || !is_last_used || last.is_some_and(|last| last >= *window) {
            return None;
        }
        last = Some(*window);
        for at in 0..bits.len() * 8 {
            if bits[at / 8] & 0x80 >> (at % 8) != 0 {
                write!(out, "{} ", Kind(u16::from(*window) << 8 | at as u16)).ok()?;
            }
        }
        data = rest;
    }
    data.is_empty().then_some(())
}

/// `D [M [S]] N|S D [M [S]] E|W ALT [SIZE [HP [VP]]]` (RFC 1876, section 3).
pub(super) fn parse_location(tokens: Tokens<'_, '_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let latitude = angle(tokens, [b"N", b"S"], 90)?;
    let longitude = angle(tokens, [b"E", b"W"], 180)?;
    let altitude = centimetres(tokens.next().ok_or(Reason::Data)?)?;
    let altitude = u32::try_from(altitude + ALTITUDE_BASE).map_err(|_| Reason::Data)?;
    let mut sizes = [0x12, 0x16, 0x13];
    for size in &mut sizes {
        let Some(token) = tokens.next() else { break };
        *size = precision(centimetres(token)?)?;
    }
    out.push(0);
    out.extend_from_slice(&sizes);
    for number in [latitude, longitude, altitude] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// Thousandths of a second of arc, from 2^31.
fn angle(tokens: Tokens<'_, '_>, sides: [&[u8]; 2], degrees_max: u32) -> Result<u32, Reason> {
    // Of a degree, a minute, a second; and how many of each there may be.
    let units = [(3_600_000, degrees_max + 1), (60_000, 60), (1_000, 60)];
    let mut total = 0;
    for nth in 0.. {
        let token = tokens.next().ok_or(Reason::Data)?;
        if let Some(side) = sides.iter().position(|side| side.eq_ignore_ascii_case(token.text))
            && nth > 0
        {
            let is_fine = total <= degrees_max * 3_600_000;
            let angle = if side == 0 { EQUATOR + total } else { EQUATOR - total };
            return if is_fine { Ok(angle) } else { Err(Reason::Data) };
        }
        let (unit, end) = *units.get(nth).ok_or(Reason::Data)?;
        let thousandths = decimal(token.text, if nth == 2 { 3 } else { 0 })?;
        let part = u32::try_from(thousandths).map_err(|_| Reason::Data)?;
        match nth {
            2 if part < end * unit => total += part,
            0 | 1 if part < end => total += part * unit,
            _ => return Err(Reason::Data),
        }
    }
    Err(Reason::Data)
}

fn centimetres(token: Token<'_>) -> Result<i64, Reason> {
    let text = token.text.strip_suffix(b"m").or_else(|| token.text.strip_suffix(b"M")).unwrap_or(token.text);
    match text.strip_prefix(b"-") {
        Some(text) => Ok(-decimal(text, 2)?),
        None => decimal(text, 2),
    }
}

/// A number with at most so many decimals, as a whole number of the last of them.
fn decimal(text: &[u8], places: usize) -> Result<i64, Reason> {
    let (whole, part) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    if part.len() > places || whole.is_empty() && part.is_empty() {
        return Err(Reason::Data);
    }
    let digits = whole.iter().chain(part).copied().chain(std::iter::repeat_n(b'0', places - part.len()));
    let digits: Vec<u8> = digits.collect();
    match digits.iter().all(u8::is_ascii_digit) {
        true => number_of(&digits),
        false => Err(Reason::Data),
    }
}

/// A digit and a power of ten of centimetres.
fn precision(centimetres: i64) -> Result<u8, Reason> {
    let mut mantissa = u64::try_from(centimetres).map_err(|_| Reason::Data)?;
    let mut exponent = 0;
    while mantissa > 9 {
        (mantissa, exponent) = (mantissa / 10, exponent + 1);
    }
    if exponent > 9 { Err(Reason::Data) } else { Ok((mantissa as u8) << 4 | exponent) }
}

pub(super) fn print_location(data: &[u8], out: &mut String) -> Option<()> {
    let data: &[u8; 16] = data.try_into().ok()?;
    let number = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    let is_precision = |byte: &u8| byte >> 4 <= 9 && byte & 15 <= 9 && (byte >> 4 > 0 || byte & 15 == 0);
    if data[0] != 0 || !data[1..4].iter().all(is_precision) {
        return None;
    }
    for (at, sides, degrees_max) in [(4, ['N', 'S'], 90), (8, ['E', 'W'], 180)] {
        let angle = number(at).abs_diff(EQUATOR);
        let side = sides[usize::from(number(at) < EQUATOR)];
        let (seconds, thousandths) = (angle / 1_000, angle % 1_000);
        if angle > degrees_max * 3_600_000 {
            return None;
        }
        let (degrees, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(out, "{degrees} {minutes} {seconds}.{thousandths:03} {side} ").ok()?;
    }
    let altitude = i64::from(number(12)) - ALTITUDE_BASE;
    let sign = if altitude < 0 { "-" } else { "" };
    write!(out, "{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100).ok()?;
    for byte in &data[1..4] {
        let centimetres = u64::from(byte >> 4) * 10_u64.pow(u32::from(byte & 15));
        write!(out, " {}.{:02}m", centimetres / 100, centimetres % 100).ok()?;
    }
    Some(())
}

/// `[!]FAMILY:ADDRESS/PREFIX` (RFC 3123, section 5).
pub(super) fn parse_prefixes(tokens: Tokens<'_, '_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    for token in tokens {
        let text = str::from_utf8(token.text).map_err(|_| Reason::Data)?;
        let (is_not, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text));
        let (family, text) = text.split_once(':').ok_or(Reason::Data)?;
        let (address, prefix) = text.split_once('/').ok_or(Reason::Data)?;
        let (octets, prefix): (Vec<u8>, u8) = match (family, address.parse(), number_of(prefix.as_bytes())?) {
            ("1", Ok(IpAddr::V4(address)), prefix @ 0..=32) => (address.octets().to_vec(), prefix),
            ("2", Ok(IpAddr::V6(address)), prefix @ 0..=128) => (address.octets().to_vec(), prefix),
            _ => return Err(Reason::Data),
        };
        let length = octets.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        out.extend_from_slice(&[
            0,
            family.as_bytes()[0] - b'0',
            prefix,
            u8::from(is_not) << 7 | length as u8,
        ]);
        out.extend_from_slice(&octets[..length]);
    }
    Ok(())
}

pub(super) fn print_prefixes(mut data: &[u8], out: &mut String) -> Option<()> {
    while let [0, family, prefix, length, rest @ ..] = data {
        let (part, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        let mut octets = [0; 16];
        octets.get_mut(..part.len())?.copy_from_slice(part);
        let address = match (family, prefix) {
            (1, 0..=32) if part.len() <= 4 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            (2, 0..=128) => IpAddr::from(octets),
            _ => return None,
        };
        if part.last() == Some(&0) {
            return None;
        }
        write!(out, "{}{family}:{address}/{prefix} ", if length & 0x80 != 0 { "!" } else { "" }).ok()?;
        data = rest;
    }
    data.is_empty().then_some(())
}

/// A gateway or relay of a sort: none, IPv4, IPv6, a name.
fn put_gateway(sort: u8, token: Token<'_>, origin: Option<&Name>, out: &mut Vec<u8>) -> Result<(), Reason> {
    match sort {
        0 if token.text == b"." => {}
        1 => out.extend_from_slice(&number::<Ipv4Addr>(token)?.octets()),
        2 => out.extend_from_slice(&number::<Ipv6Addr>(token)?.octets()),
        3 => out.extend_from_slice(read_name(token, origin)?.wire()),
        _ => return Err(Reason::Data),
    }
    Ok(())
}

fn print_gateway<'a>(sort: u8, data: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    let (text, rest) = match sort {
        0 => (".".to_owned(), data),
        1 => {
            data.split_first_chunk::<4>().map(|(octets, rest)| (Ipv4Addr::from(*octets).to_string(), rest))?
        }
        2 => data
            .split_first_chunk::<16>()
            .map(|(octets, rest)| (Ipv6Addr::from(*octets).to_string(), rest))?,
        3 => take_name(data).map(|(name, rest)| (name.to_string(), rest))?,
        _ => return None,
    };
    out.push_str(&text);
    Some(rest)
}

pub(super) fn parse_ipsec_gateway(
    tokens: Tokens<'_, '_>,
    origin: Option<&Name>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut next = || tokens.next().ok_or(Reason::Data);
    let (sort, algorithm): (u8, u8) = (number(next()?)?, number(next()?)?);
    out.extend_from_slice(&[sort, algorithm]);
    put_gateway(sort, next()?, origin, out)?;
    put_base64(tokens.flat_map(|token| token.text).copied(), out)
}

pub(super) fn print_ipsec_gateway(data: &[u8], out: &mut String) -> Option<()> {
    let [sort, algorithm, rest @ ..] = data else { return None };
    write!(out, "{sort} {algorithm} ").ok()?;
    let key = print_gateway(*sort, rest, out)?;
    // An algorithm and its key are there, or neither (RFC 4025, section 2.4).
    (key.is_empty() == (*algorithm == 0)).then(|| out.extend([" ", &base64(key)]))
}

pub(super) fn parse_amt_relay(
    tokens: Tokens<'_, '_>,
    origin: Option<&Name>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut next = || tokens.next().ok_or(Reason::Data);
    let (optional, sort): (u8, u8) = (number(next()?)?, number(next()?)?);
    if optional > 1 || sort > 3 {
        return Err(Reason::Data);
    }
    out.push(optional << 7 | sort);
    put_gateway(sort, next()?, origin, out)
}

pub(super) fn print_amt_relay(data: &[u8], out: &mut String) -> Option<()> {
    let (first, rest) = data.split_first()?;
    write!(out, "{} {} ", first >> 7, first & 0x7f).ok()?;
    print_gateway(first & 0x7f, rest, out)?.is_empty().then_some(())
}

/// An algorithm, a tag in hexadecimal, a key, names of servers.
pub(super) fn parse_host_identity(
    tokens: Tokens<'_, '_>,
    origin: Option<&Name>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut next = || tokens.next().ok_or(Reason::Data);
    let (algorithm, mut tag, mut key): (u8, _, _) = (number(next()?)?, Vec::new(), Vec::new());
    put_hex(next()?.text.iter().copied(), &mut tag)?;
    put_base64(next()?.text.iter().copied(), &mut key)?;
    let length = u8::try_from(tag.len()).ok().filter(|length| *length > 0).ok_or(Reason::Data)?;
    out.extend_from_slice(&[length, algorithm]);
    out.extend_from_slice(&u16::try_from(key.len()).map_err(|_| Reason::Data)?.to_be_bytes());
    out.extend_from_slice(&[tag, key].concat());
    for token in tokens {
        out.extend_from_slice(read_name(token, origin)?.wire());
    }
    Ok(())
}

pub(super) fn print_host_identity(data: &[u8], out: &mut String) -> Option<()> {
    let ([length, algorithm, high, low], rest) = data.split_first_chunk::<4>()?;
    let (tag, rest) = rest.split_at_checked(usize::from(*length))?;
    let (key, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    if tag.is_empty() || key.is_empty() {
        return None;
    }
    write!(out, "{algorithm} {} {}", hex(tag), base64(key)).ok()?;
    while !rest.is_empty() {
        let (name, after) = take_name(rest)?;
        write!(out, " {name}").ok()?;
        rest = after;
    }
    Some(())
}

/// The name in front and what is behind it.
pub(super) fn take_name(data: &[u8]) -> Option<(Name, &[u8])> {
    let mut at = 0;
    while *data.get(at)? != 0 {
        at += 1 + usize::from(data[at]);
    }
    let (name, rest) = data.split_at(at + 1);
    Some((Name::from_wire(name)?, rest))
}

/// The equator, and the meridian.
const EQUATOR: u32 = 1 << 31;
/// Centimetres of the reference below the sea.
const ALTITUDE_BASE: i64 = 10_000_000;
