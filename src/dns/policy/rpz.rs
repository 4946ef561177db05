//! Response policy zones (draft-vixie-dnsop-dns-rpz-00): telling them from other lists, triggers, actions.

use std::net::{IpAddr, Ipv6Addr};
use std::str;

use super::Action;
use super::build::{Builder, LOCAL_TTL, LocalData, Trigger};
use super::list::{Rank, bits_of, mask};
use super::report::PolicyFault;
use super::table::{RULES_MAX, Scope};
use crate::dns::zones::{Entry, Reader, RrSet, expand_generate, parse_data};
use crate::wire::dns::{Kind, Name, parent};

/// Why a record of a zone makes no rule.
enum Skip {
    Unsupported,
    NotUnderstood,
}

/// Whether one of the first lines with content can only be a zone's: `$TTL`, `$ORIGIN`, or an owner
/// with a type and data. Comments of no format count.
pub(super) fn is_zone(text: &[u8]) -> bool {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let is_comment = |line: &str| line.trim_start().starts_with([';', '#', '!', '[']);
    let content = lines.filter(|line| !line.trim().is_empty() && !is_comment(line));
    content.take(DETECT_LINES).any(is_record)
}

fn is_record(line: &str) -> bool {
    let is_indented = line.starts_with([' ', '\t']);
    let line = line.split(';').next().unwrap_or_default();
    let mut words = line.split_ascii_whitespace().peekable();
    let Some(first) = words.peek().copied() else { return false };
    if ["$TTL", "$ORIGIN"].iter().any(|directive| directive.eq_ignore_ascii_case(first)) {
        return !is_indented;
    }
    if !is_indented {
        words.next();
    }
    if first.parse::<IpAddr>().is_ok() || first.contains(['|', '=', '/', '^']) {
        return false;
    }
    let is_head =
        |word: &&str| word.eq_ignore_ascii_case("IN") || word.starts_with(|c: char| c.is_ascii_digit());
    let kind = words.by_ref().find(|word| !is_head(word)).and_then(|word| word.parse::<Kind>().ok());
    let data = words.next();
    match kind {
        Some(Kind::CNAME | Kind::NS) => data.is_some() && words.next().is_none(),
        Some(Kind::A | Kind::AAAA) => data.is_some_and(|data| data.parse::<IpAddr>().is_ok()),
        Some(Kind::SOA) => data.is_some() && words.next().is_some(),
        _ => false,
    }
}

pub(super) fn read(builder: &mut Builder, text: &[u8]) -> Result<(), PolicyFault> {
    let mut apex = Name::ROOT;
    let expanded = expand_generate(text, TEXT_MAX).unwrap_or_else(|fault| {
        builder.skip(fault.line);
        None
    });
    let mut reader = match &expanded {
        Some(expanded) => Reader::of_expanded(expanded, Some(&Name::ROOT)),
        None => Reader::new(text, Some(&Name::ROOT)),
    };
    while let Some(line) = reader.next_line() {
        let line = match line {
            Ok(line) => line,
            Err(fault) => {
                builder.skip(fault.line);
                continue;
            }
        };
        let (number, kind) = (line.line, line.kind);
        let Ok(data) = parse_data(kind, line.data, line.origin) else {
            builder.skip(number);
            continue;
        };
        let ttl = line.ttl.unwrap_or(LOCAL_TTL);
        if kind == Kind::SOA && builder.list.soa.is_none() {
            apex = line.owner.clone();
            let set = RrSet { kind, ttl, records: vec![Entry { id: 0, data }] };
            builder.list.soa = Some((apex.clone(), set));
            continue;
        }
        if *line.owner == apex {
            continue;
        }
        match trigger_of(line.owner, &apex).and_then(|trigger| {
            let action = action_of(kind, &data, &trigger)?;
            Ok((trigger, action))
        }) {
            Ok((trigger, action)) => {
                let local = (action == Action::Local).then_some(LocalData { kind, ttl, data });
                builder.add(trigger, action, local)?;
            }
            Err(Skip::Unsupported) => builder.list.report.unsupported += 1,
            Err(Skip::NotUnderstood) => builder.skip(number),
        }
    }
    Ok(())
}

fn trigger_of(owner: &Name, apex: &Name) -> Result<Trigger, Skip> {
    if !owner.is_within(apex.wire()) {
        return Err(Skip::NotUnderstood);
    }
    let labels = owner.wire().len() - apex.wire().len();
    let whole = [&owner.wire()[..labels], &[0]].concat();
    let last =
        std::iter::successors(Some(&whole[..]), |name| parent(name)).filter(|name| name.len() > 1).last();
    let last = last.ok_or(Skip::NotUnderstood)?;
    match &last[1..last.len() - 1] {
        b"rpz-client-ip" => {
            let network = read_network(&whole[..whole.len() - last.len()]).ok_or(Skip::NotUnderstood)?;
            return Ok(Trigger::Client { prefix: network.0, bits: network.1 });
        }
        b"rpz-ip" | b"rpz-nsdname" | b"rpz-nsip" => return Err(Skip::Unsupported),
        _ => {}
    }
    let is_wildcard = whole.starts_with(b"\x01*");
    let name = if is_wildcard { &whole[2..] } else { &whole[..] };
    let name = Name::from_wire(name).ok_or(Skip::NotUnderstood)?;
    let scope = if is_wildcard { Scope::Below } else { Scope::Itself };
    Ok(Trigger::Name { rank: Rank::Plain, scope, name })
}

/// `prefix.B.B.B.B`, or `prefix.W.W…` with one `zz` for a run of zeros; backwards either way
/// (draft, section 4.1.1).
fn read_network(mut wire: &[u8]) -> Option<(u8, u128)> {
    let mut labels = Vec::new();
    while let Some((len, rest)) = wire.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        labels.push(str::from_utf8(label).ok()?);
        wire = rest;
        if labels.len() > 9 {
            return None;
        }
    }
    let (prefix, groups) = labels.split_first()?;
    let prefix: u8 = prefix.parse().ok()?;
    let is_v4 = groups.len() == 4 && !groups.contains(&"zz");
    let (prefix, bits) = if is_v4 {
        let mut octets = [0; 4];
        for (octet, group) in octets.iter_mut().rev().zip(groups) {
            *octet = group.parse().ok()?;
        }
        (prefix.checked_add(96)?, bits_of(IpAddr::from(octets)))
    } else {
        let text: Vec<&str> =
            groups.iter().rev().map(|group| if *group == "zz" { "" } else { group }).collect();
        let mut text = text.join(":");
        if text.starts_with(':') {
            text.insert(0, ':');
        }
        if text.ends_with(':') {
            text.push(':');
        }
        let text = if text == "::::" { "::".to_owned() } else { text };
        (prefix, text.parse::<Ipv6Addr>().ok()?.to_bits())
    };
    // Bits behind the prefix are a mistake that might mean anything (draft, section 4.1.1).
    (prefix <= 128 && bits & !mask(prefix) == 0).then_some((prefix, bits))
}

fn action_of(kind: Kind, data: &[u8], trigger: &Trigger) -> Result<Action, Skip> {
    if kind != Kind::CNAME {
        let is_data = !matches!(kind, Kind::SOA | Kind::DNAME | Kind::RRSIG | Kind::NSEC | Kind::NSEC3);
        return if is_data { Ok(Action::Local) } else { Err(Skip::NotUnderstood) };
    }
    Ok(match data {
        b"\0" => Action::NxDomain,
        b"\x01*\0" => Action::NoData,
        b"\x0crpz-passthru\0" => Action::Passthru,
        b"\x08rpz-drop\0" => Action::Drop,
        b"\x0crpz-tcp-only\0" => Action::TcpOnly,
        // Special names of a later day.
        _ if data[1..].starts_with(b"rpz-") && parent(data) == Some(b"\0") => return Err(Skip::Unsupported),
        // How one said PASSTHRU before (draft, section 3.3).
        _ if matches!(trigger, Trigger::Name { scope: Scope::Itself, name, .. } if name.wire() == data) => {
            Action::Passthru
        }
        _ => Action::Local,
    })
}

/// Lines with content in which a zone says that it is one.
const DETECT_LINES: usize = 200;
/// Bytes with all that `$GENERATE` makes.
const TEXT_MAX: usize = 50 * RULES_MAX;
