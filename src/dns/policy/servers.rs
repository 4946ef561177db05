//! Lists as dnsmasq and unbound have them in their configuration.

use std::net::IpAddr;

use super::Action;
use super::build::LocalData;
use super::names::domain;
use super::report::LeftOut;
use crate::dns::zones::{Reader, parse_data};
use crate::wire::dns::{Kind, Name};

/// What a line of dnsmasq does about its domains.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Act(Action),
    /// The answer is this address.
    Address(IpAddr),
    LeftOut(LeftOut),
}

/// `address=/a/b/value`, `local=/a/`, `server=/a/`: the domains between slashes, and what is done about
/// them. `None` if it is none of these.
pub(super) fn dnsmasq(line: &str) -> Option<(&str, Effect)> {
    let (key, rest) = line.split_once('=')?;
    let (domains, value) = rest.trim().strip_prefix('/')?.rsplit_once('/')?;
    let value = value.trim();
    let effect = match (key.trim(), value) {
        ("address", "" | "#") | ("server" | "local", "") => Effect::Act(Action::NxDomain),
        ("server" | "local", "#") => Effect::Act(Action::Passthru),
        ("address", value) => value.parse().map_or(Effect::LeftOut(LeftOut::Settings), Effect::Address),
        ("server" | "local" | "rev-server" | "ipset" | "nftset" | "rebind-domain-ok", _) => {
            Effect::LeftOut(LeftOut::Settings)
        }
        _ => return None,
    };
    Some((domains, effect))
}

/// What a line of unbound says.
pub(super) enum Unbound {
    Zone(Name, ZoneType),
    Record(Name, LocalData),
    LeftOut(LeftOut),
    /// The head of a clause.
    Clause,
    NotUnderstood,
}

/// What a `local-zone` does about its names (unbound.conf(5)).
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ZoneType {
    Act(Action),
    /// What is said of the name is said of all below it.
    Redirect,
}

/// `None` if it is no `key: value`.
pub(super) fn unbound(line: &str) -> Option<Unbound> {
    let (key, value) = line.split_once(':')?;
    let is_key = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_key || !(value.is_empty() || value.starts_with([' ', '\t', '"', '\''])) {
        return None;
    }
    let value = value.trim();
    Some(match key {
        _ if value.is_empty() => Unbound::Clause,
        "local-zone" => local_zone(value),
        "local-data" => local_data(unquoted(value)).unwrap_or(Unbound::NotUnderstood),
        _ => Unbound::LeftOut(LeftOut::Settings),
    })
}

fn local_zone(value: &str) -> Unbound {
    let Some((name, kind)) = value.rsplit_once([' ', '\t']) else { return Unbound::NotUnderstood };
    let kind = match unquoted(kind.trim()) {
        "static" | "refuse" | "always_refuse" | "always_nxdomain" | "always_null" => {
            ZoneType::Act(Action::NxDomain)
        }
        "always_nodata" => ZoneType::Act(Action::NoData),
        "deny" | "always_deny" | "inform_deny" => ZoneType::Act(Action::Drop),
        "redirect" | "inform_redirect" => ZoneType::Redirect,
        "transparent" | "always_transparent" | "typetransparent" | "inform" => {
            ZoneType::Act(Action::Passthru)
        }
        "nodefault" | "noview" | "block_a" | "ipset" => return Unbound::LeftOut(LeftOut::Settings),
        _ => return Unbound::NotUnderstood,
    };
    let name = domain(unquoted(name.trim()));
    name.map_or(Unbound::NotUnderstood, |name| Unbound::Zone(name, kind))
}

/// The record of a master file's line.
fn local_data(text: &str) -> Option<Unbound> {
    let mut reader = Reader::new(text.as_bytes(), Some(&Name::ROOT));
    let line = reader.next_line()?.ok()?;
    let data = parse_data(line.kind, line.data, line.origin).ok()?;
    let is_data = !matches!(line.kind, Kind::SOA | Kind::NS | Kind::DNAME) && *line.owner != Name::ROOT;
    let ttl = line.ttl.unwrap_or(super::build::LOCAL_TTL);
    is_data.then(|| Unbound::Record(line.owner.clone(), LocalData { kind: line.kind, ttl, data }))
}

fn unquoted(text: &str) -> &str {
    let between = |mark| text.strip_prefix(mark).and_then(|text| text.strip_suffix(mark));
    between('"').or_else(|| between('\'')).unwrap_or(text)
}
