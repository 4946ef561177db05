//! Reading lists: response policy zones, hosts files, plain lists of domains.
//!
//! What is not understood is counted and skipped: one odd line must not unprotect a network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str;

use hickory_proto::rr::Name as HickoryName;

use super::Action;
use super::list::{Format, List, Network, Networks, Report, bits_of, mask};
use super::table::{Entry, Scope, Table};
use crate::base::hash::sha256;
use crate::dns::zones::{Entry as Data, Reader, RrSet, parse_data};
use crate::wire::dns::{Kind, Name, parent};

/// Why a text is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// It holds no rule, and this line, from 1, is the first that could not be read; 0 if there is
    /// none at all.
    Nothing(u32),
    /// More text or more rules than a list may have.
    TooLarge,
}

impl List {
    /// Reads a list of any known format.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, PolicyFault> {
        if text.len() > TEXT_MAX {
            return Err(PolicyFault::TooLarge);
        }
        let format = detect(text);
        let mut builder = Builder::new(name, text, format);
        match format {
            Format::Rpz => builder.read_zone(text)?,
            Format::Lines => builder.read_lines(text)?,
        }
        builder.finish()
    }
}

struct Builder {
    list: List,
}

/// What a rule is for.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Trigger {
    Name { scope: Scope, name: Name },
    Client { prefix: u8, bits: u128 },
}

/// Why a record of a zone makes no rule.
enum Skip {
    Unsupported,
    NotUnderstood,
}

impl Builder {
    fn new(name: &str, text: &[u8], format: Format) -> Self {
        // What it is keyed with follows from all of the text, so that nobody can aim.
        let digest = sha256(text);
        let (skipped_lines, networks) = (Vec::new(), Networks::default());
        let report = Report { format, skipped: 0, skipped_lines, adblock: 0, unsupported: 0, doubles: 0 };
        let names = Table::new(digest);
        // Local data number 0 is none.
        let locals = vec![Vec::new()];
        Self { list: List { name: name.into(), digest, names, networks, locals, soa: None, report } }
    }

    fn finish(mut self) -> Result<List, PolicyFault> {
        self.list.report.doubles += self.list.networks.sort();
        self.list.names.shrink();
        let report = &self.list.report;
        let is_zone = self.list.soa.is_some();
        if self.list.rules() == 0 && report.unsupported + report.adblock == 0 && !is_zone {
            return Err(PolicyFault::Nothing(report.skipped_lines.first().copied().unwrap_or(0)));
        }
        Ok(self.list)
    }

    fn skip(&mut self, line: u32) {
        let report = &mut self.list.report;
        report.skipped += 1;
        if report.skipped_lines.len() < SKIPPED_LINES_MAX {
            report.skipped_lines.push(line);
        }
    }

    fn read_zone(&mut self, text: &[u8]) -> Result<(), PolicyFault> {
        let mut apex = Name::ROOT;
        let mut reader = Reader::new(text, Some(&Name::ROOT));
        while let Some(line) = reader.next_line() {
            let line = match line {
                Ok(line) => line,
                Err(fault) => {
                    self.skip(fault.line);
                    continue;
                }
            };
            let (number, kind) = (line.line, line.kind);
            let Ok(data) = parse_data(kind, line.data, line.origin) else {
                self.skip(number);
                continue;
            };
            let ttl = line.ttl.unwrap_or(LOCAL_TTL);
            if kind == Kind::SOA && self.list.soa.is_none() {
                apex = line.owner.clone();
                let set = RrSet { kind, ttl, records: vec![Data { id: 0, data }] };
                self.list.soa = Some((apex.clone(), set));
                continue;
            }
            if *line.owner == apex {
                continue;
            }
            match trigger_of(line.owner, &apex).and_then(|trigger| {
                let action = action_of(kind, &data, &trigger)?;
                Ok((trigger, action))
            }) {
                Ok((trigger, action)) => self.add(trigger, action, kind, ttl, data)?,
                Err(Skip::Unsupported) => self.list.report.unsupported += 1,
                Err(Skip::NotUnderstood) => self.skip(number),
            }
        }
        Ok(())
    }

    fn read_lines(&mut self, text: &[u8]) -> Result<(), PolicyFault> {
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = str::from_utf8(line).unwrap_or("\u{fffd}");
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with(['!', '[', ';']) {
                continue;
            }
            let (first, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let first = first.split('%').next().unwrap_or_default();
            match first.parse::<IpAddr>() {
                Ok(address) if !rest.is_empty() => self.read_hosts(address, rest, number)?,
                Err(_) if rest.is_empty() => self.read_domain(line, number)?,
                _ => self.skip(number),
            }
        }
        Ok(())
    }

    fn read_hosts(&mut self, address: IpAddr, names: &str, line: u32) -> Result<(), PolicyFault> {
        let is_block = address.is_unspecified() || address.is_loopback();
        for name in names.split_ascii_whitespace() {
            if OWN_NAMES.contains(&name) || name.parse::<IpAddr>().is_ok() {
                continue;
            }
            let Some(name) = domain(name) else {
                self.skip(line);
                continue;
            };
            let trigger = Trigger::Name { scope: Scope::Itself, name };
            let (kind, data): (_, Box<[u8]>) = match address {
                IpAddr::V4(address) => (Kind::A, Box::new(address.octets())),
                IpAddr::V6(address) => (Kind::AAAA, Box::new(address.octets())),
            };
            let action = if is_block { Action::NxDomain } else { Action::Local };
            self.add(trigger, action, kind, LOCAL_TTL, data)?;
        }
        Ok(())
    }

    fn read_domain(&mut self, text: &str, line: u32) -> Result<(), PolicyFault> {
        let adblock = text.strip_prefix("||").and_then(|rest| rest.strip_suffix('^'));
        let wildcard = text.strip_prefix("*.");
        let (name, forms): (_, &[Scope]) = match (adblock, wildcard) {
            (Some(name), _) => (domain(name), &[Scope::Itself, Scope::Below]),
            (None, Some(name)) => (domain(name), &[Scope::Below]),
            (None, None) => (domain(text).filter(|name| name.labels() > 1), &[Scope::Itself]),
        };
        let Some(name) = name else {
            if is_adblock(text) {
                self.list.report.adblock += 1;
            } else {
                self.skip(line);
            }
            return Ok(());
        };
        for scope in forms {
            let trigger = Trigger::Name { scope: *scope, name: name.clone() };
            self.add(trigger, Action::NxDomain, Kind::A, 0, Box::default())?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        trigger: Trigger,
        action: Action,
        kind: Kind,
        ttl: u32,
        data: Box<[u8]>,
    ) -> Result<(), PolicyFault> {
        let known = match &trigger {
            Trigger::Name { scope, name } => {
                let at = self.list.names.find(*scope, name.wire());
                at.map(|at| self.list.names.entry(at)).map(|entry| (entry.action, entry.local))
            }
            Trigger::Client { prefix, bits } => {
                self.list.networks.last_mut(*prefix, *bits).map(|rule| (rule.action, rule.local))
            }
        };
        if let Some((known, local)) = known {
            let grows = (known, action) == (Action::Local, Action::Local);
            if !(grows && self.grow(local, kind, ttl, data)) {
                self.list.report.doubles += 1;
            }
            return Ok(());
        }
        let mut local = 0;
        if action == Action::Local {
            local = self.list.locals.len() as u32;
            self.list.locals.push(vec![RrSet { kind, ttl, records: vec![Data { id: 0, data }] }]);
        }
        let added = match trigger {
            Trigger::Name { scope, name } => {
                let names = &mut self.list.names;
                let added = names.insert(Entry { scope, name: name.wire(), action, local });
                let is_zone = self.list.report.format == Format::Rpz;
                added.and_then(|_| if is_zone { names.mark_above(scope, &name) } else { Some(()) })
            }
            Trigger::Client { prefix, bits } => {
                self.list.networks.insert(Network { prefix, bits, action, local })
            }
        };
        added.ok_or(PolicyFault::TooLarge)
    }

    /// One more record of local data; false if it cannot stand there.
    fn grow(&mut self, local: u32, kind: Kind, ttl: u32, data: Box<[u8]>) -> bool {
        let Some(sets) = self.list.locals.get_mut(local as usize) else { return false };
        let is_alias = kind == Kind::CNAME || sets.iter().any(|set| set.kind == Kind::CNAME);
        let records: usize = sets.iter().map(|set| set.records.len()).sum();
        if is_alias || records >= LOCAL_RECORDS_MAX {
            return false;
        }
        match sets.iter_mut().find(|set| set.kind == kind) {
            Some(set) if set.records.iter().any(|entry| entry.data == data) => return false,
            Some(set) => {
                set.ttl = set.ttl.min(ttl);
                set.records.push(Data { id: 0, data });
            }
            None => sets.push(RrSet { kind, ttl, records: vec![Data { id: 0, data }] }),
        }
        true
    }
}

/// A zone says so within its first lines.
fn detect(text: &[u8]) -> Format {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let is_zone = |line: &str| {
        let line = line.split(';').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        line.starts_with("$TTL")
            || line.starts_with("$ORIGIN")
            || words.any(|word| word == "SOA" || word == "CNAME")
    };
    if lines.take(DETECT_LINES).any(is_zone) { Format::Rpz } else { Format::Lines }
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
    Ok(Trigger::Name { scope, name })
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
        _ if matches!(trigger, Trigger::Name { scope: Scope::Itself, name } if name.wire() == data) => {
            Action::Passthru
        }
        _ => Action::Local,
    })
}

/// A domain as lists have it: letters, digits, hyphens, underscores; others in their ASCII form.
fn domain(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_ascii() {
        let name = HickoryName::from_utf8(text).ok()?;
        return domain(&name.to_ascii());
    }
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let name = Name::parse(text).ok().filter(|_| is_plain)?;
    text.parse::<IpAddr>().is_err().then_some(name)
}

/// It looks like a rule that an adblocker would take.
fn is_adblock(text: &str) -> bool {
    text.starts_with(['|', '@', '/', '&', '.', '-', '?', '~']) || text.contains(['^', '$', '*', '/', '@'])
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(0) => f.write_str("there is no rule in it"),
            Self::Nothing(line) => {
                write!(f, "line {line}: neither a zone's record, a hosts line nor a domain")
            }
            Self::TooLarge => f.write_str("more than a list may hold"),
        }
    }
}

/// Names that stand in a hosts file for the computer itself.
const OWN_NAMES: [&str; 12] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
];
/// Bytes of one list's text: 50 for each of the most rules.
const TEXT_MAX: usize = 50 * super::table::RULES_MAX;
/// Lines that are told one by one.
const SKIPPED_LINES_MAX: usize = 8;
/// Lines in which a zone says that it is one: a licence comes first at times.
const DETECT_LINES: usize = 200;
/// Seconds for data that has no TTL of its own: a change of the list is seen soon.
const LOCAL_TTL: u32 = 60;
/// Records that one rule answers with: what fits into 1,232 bytes, at 16 each.
const LOCAL_RECORDS_MAX: usize = 76;
