//! Parameters of SVCB and HTTPS records (RFC 9460): two layers of escapes, an order on the wire, and
//! which of them need which others.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str;

use super::encode::{base64, number_of, put_base64, quote, unescape};
use crate::dns::zones::master::{Reason, Token};

/// Reads parameters in any order.
pub(super) fn parse(tokens: &mut dyn Iterator<Item = Token<'_>>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut values = BTreeMap::new();
    for token in tokens {
        if token.quoted {
            return Err(Reason::Data);
        }
        let split = token.text.iter().position(|byte| *byte == b'=');
        let (name, value) = match split {
            Some(at) => (&token.text[..at], Some(&token.text[at + 1..])),
            None => (token.text, None),
        };
        let (key, is_generic) = key_of(name)?;
        let mut text = Vec::new();
        if let Some(value) = value {
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            unescape(quoted.unwrap_or(value), &mut text)?;
        }
        let data = if is_generic { text } else { value_of(key, text)? };
        if values.insert(key, data).is_some() {
            return Err(Reason::Data);
        }
    }
    for (key, data) in values {
        let length = u16::try_from(data.len()).map_err(|_| Reason::Data)?;
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&data);
    }
    Ok(())
}

/// Writes parameters; `None` if they are not of the form that section 2.2 demands, are empty where they
/// may not be, or lack one that is needed.
pub(super) fn print(data: &[u8], out: &mut String) -> Option<()> {
    let values = split(data)?;
    let has = |key: u16| values.iter().any(|(other, _)| *other == key);
    for (key, value) in &values {
        let needed = match *key {
            MANDATORY => u16s(value)?,
            NO_DEFAULT_ALPN => vec![ALPN],
            _ => Vec::new(),
        };
        if !is_valid(*key, value) || !needed.into_iter().all(has) {
            return None;
        }
        out.push_str(&name_of(*key));
        if !value.is_empty() {
            out.push('=');
            put_value(&text_of(*key, value), out);
        }
        out.push(' ');
    }
    Some(())
}

/// Keys in ascending order, each once.
fn split(mut data: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut values: Vec<(u16, &[u8])> = Vec::new();
    while !data.is_empty() {
        let (head, rest) = data.split_first_chunk::<4>()?;
        let key = u16::from_be_bytes([head[0], head[1]]);
        if values.last().is_some_and(|(last, _)| *last >= key) {
            return None;
        }
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        values.push((key, value));
        data = rest;
    }
    Some(values)
}

/// A key's number, and whether it was written as one.
fn key_of(name: &[u8]) -> Result<(u16, bool), Reason> {
    if let Some((key, _)) = NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name)) {
        return Ok((*key, false));
    }
    let digits = name.get(..3).filter(|start| start.eq_ignore_ascii_case(b"key")).map(|_| &name[3..]);
    let digits = digits.filter(|digits| *digits == b"0" || !digits.starts_with(b"0")).ok_or(Reason::Data)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::Data);
    }
    Ok((number_of(digits)?, true))
}

fn name_of(key: u16) -> String {
    let known = NAMES.iter().find(|(other, _)| *other == key);
    known.map_or_else(|| format!("key{key}"), |(_, name)| (*name).to_owned())
}

/// A value on the wire, from its text without the outer escapes.
fn value_of(key: u16, text: Vec<u8>) -> Result<Vec<u8>, Reason> {
    let items = || text.split(|byte| *byte == b',');
    let mut out = Vec::new();
    match key {
        MANDATORY => {
            let keys: Result<Vec<u16>, _> = items().map(|name| Ok(key_of(name)?.0)).collect();
            let mut keys = keys?;
            keys.sort_unstable();
            keys.iter().for_each(|key| out.extend_from_slice(&key.to_be_bytes()));
        }
        ALPN => {
            for id in list_of(&text)? {
                out.push(u8::try_from(id.len()).map_err(|_| Reason::Data)?);
                out.extend_from_slice(&id);
            }
        }
        PORT => out.extend_from_slice(&number_of::<u16>(&text)?.to_be_bytes()),
        IPV4HINT => {
            for item in items() {
                out.extend_from_slice(&number_of::<Ipv4Addr>(item)?.octets());
            }
        }
        IPV6HINT => {
            for item in items() {
                out.extend_from_slice(&number_of::<Ipv6Addr>(item)?.octets());
            }
        }
        ECH => put_base64(text.iter().copied(), &mut out)?,
        _ => return Ok(text),
    }
    Ok(out)
}

/// Items between commas, in which a backslash stands before commas and backslashes (appendix A.1).
fn list_of(text: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
    let (mut items, mut rest) = (vec![Vec::new()], text);
    loop {
        let last = items.len() - 1;
        rest = match rest {
            [] => return Ok(items),
            [b'\\', byte @ (b',' | b'\\'), rest @ ..] => {
                items[last].push(*byte);
                rest
            }
            [b'\\', ..] => return Err(Reason::Data),
            [b',', rest @ ..] => {
                items.push(Vec::new());
                rest
            }
            [byte, rest @ ..] => {
                items[last].push(*byte);
                rest
            }
        };
    }
}

/// Whether a value on the wire is one of its key (sections 7 and 8; RFC 9461, section 5; RFC 9540).
fn is_valid(key: u16, value: &[u8]) -> bool {
    match key {
        MANDATORY => u16s(value).is_some_and(|keys| keys.is_sorted_by(|a, b| a < b) && keys[0] != MANDATORY),
        ALPN => !value.is_empty() && alpns(value).is_some(),
        NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
        PORT => value.len() == 2,
        IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH => !value.is_empty(),
        DOHPATH => str::from_utf8(value).is_ok_and(|path| path.starts_with('/') && path.contains("{?dns}")),
        _ => true,
    }
}

/// Two bytes each, at least one.
fn u16s(value: &[u8]) -> Option<Vec<u16>> {
    let is_whole = !value.is_empty() && value.len().is_multiple_of(2);
    is_whole.then(|| value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

fn alpns(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    while let Some((length, rest)) = value.split_first() {
        let (id, rest) = rest.split_at_checked(usize::from(*length)).filter(|(id, _)| !id.is_empty())?;
        ids.push(id);
        value = rest;
    }
    Some(ids)
}

/// The text of a valid value, without the outer escapes.
fn text_of(key: u16, value: &[u8]) -> Vec<u8> {
    match key {
        MANDATORY => {
            let names: Vec<_> = u16s(value).unwrap_or_default().into_iter().map(name_of).collect();
            names.join(",").into_bytes()
        }
        ALPN => {
            let ids = alpns(value).unwrap_or_default();
            let escaped = |id: &[u8]| {
                id.iter().fold(Vec::new(), |mut out, byte| {
                    out.extend(Some(b'\\').filter(|_| matches!(byte, b',' | b'\\')));
                    out.push(*byte);
                    out
                })
            };
            ids.into_iter().map(escaped).collect::<Vec<_>>().join(&b',')
        }
        PORT => u16s(value).map_or_else(Vec::new, |port| port[0].to_string().into_bytes()),
        IPV4HINT => addresses(value, |octets: [u8; 4]| Ipv4Addr::from(octets).to_string()),
        IPV6HINT => addresses(value, |octets: [u8; 16]| Ipv6Addr::from(octets).to_string()),
        ECH => base64(value).into_bytes(),
        _ => value.to_vec(),
    }
}

fn addresses<const LEN: usize>(value: &[u8], text: impl Fn([u8; LEN]) -> String) -> Vec<u8> {
    let texts: Vec<_> =
        value.chunks_exact(LEN).filter_map(|octets| Some(text(octets.try_into().ok()?))).collect();
    texts.join(",").into_bytes()
}

/// In quotes if anything in it needs that.
fn put_value(text: &[u8], out: &mut String) {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:,/+={}?&%*!".contains(byte);
    match str::from_utf8(text) {
        Ok(plain) if text.iter().all(is_plain) => out.push_str(plain),
        _ => quote(text, out),
    }
}

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;
/// The registry of keys (RFC 9460, section 14.3.2, and its successors).
const NAMES: [(u16, &str); 9] = [
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6HINT, "ipv6hint"),
    (DOHPATH, "dohpath"),
    (OHTTP, "ohttp"),
];
