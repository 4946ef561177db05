//! Lists with a rule on each line: hosts files, domains, rules of ad blockers, configurations of dnsmasq
//! and unbound. Each line is taken for what it is, so that formats may be mixed; what begins a comment
//! depends on the format of the line.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Action;
use super::adblock::{self, Parsed};
use super::build::{Builder, LOCAL_TTL, LocalData, Trigger};
use super::list::Rank;
use super::names::{domain, is_of_computer, is_own};
use super::report::{Format, LeftOut, PolicyFault};
use super::servers::{self, Effect, Unbound, ZoneType};
use super::table::Scope;
use crate::base::Network;
use crate::wire::dns::{Kind, Name};

pub(super) fn read(builder: &mut Builder, text: &[u8]) -> Result<(), PolicyFault> {
    let mut lines = Lines::new(builder, text);
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        lines.read(String::from_utf8_lossy(line).trim(), number)?;
    }
    lines.finish()
}

struct Lines<'b> {
    builder: &'b mut Builder,
    /// Some line can only be an ad blocker's: those that could be read in two ways are too.
    is_adblock: bool,
    /// Rules that another one takes back.
    cancelled: BTreeSet<(Rank, Box<str>)>,
    /// Zones of unbound: its data goes before them.
    zones: Vec<(Box<[u8]>, ZoneType)>,
    /// Lines of each of [`Format::OF_LINES`].
    seen: [usize; Format::OF_LINES.len()],
}

impl<'b> Lines<'b> {
    fn new(builder: &'b mut Builder, text: &[u8]) -> Self {
        let lines = || text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
        let is_adblock = |line: &[u8]| {
            [&b"||"[..], b"@@||", b"[Adblock", b"! "].iter().any(|start| line.starts_with(start))
        };
        let is_adblock = lines().filter(|line| !line.is_empty()).take(DETECT_LINES).any(is_adblock);
        let mut cancelled = BTreeSet::new();
        for line in lines().filter(|_| is_adblock).filter(|line| line.ends_with(b"badfilter")) {
            if let Ok(line) = std::str::from_utf8(line)
                && let Parsed::Rule(rule) = adblock::read(line)
                && cancelled.len() < CANCELLED_MAX
            {
                cancelled.insert((rule.rank, rule.name.into()));
            }
        }
        Self { builder, is_adblock, cancelled, zones: Vec::new(), seen: [0; Format::OF_LINES.len()] }
    }

    fn read(&mut self, line: &str, number: u32) -> Result<(), PolicyFault> {
        let is_page_rule = adblock::is_page_rule(line);
        if line.starts_with('#') && !(is_page_rule && self.is_adblock) || is_comment(line) {
            return Ok(());
        }
        if is_page_rule {
            self.saw(Format::Adblock);
            self.builder.leave_out(LeftOut::PageElements);
            return Ok(());
        }
        let line = without_comment(line);
        if let Some((domains, effect)) = servers::dnsmasq(line) {
            self.saw(Format::Dnsmasq);
            return self.read_dnsmasq(domains, &effect, number);
        }
        if let Some(read) = servers::unbound(line) {
            self.saw(Format::Unbound);
            return self.take_unbound(read, number);
        }
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let address = first.split('%').next().unwrap_or_default().parse::<IpAddr>();
        match address {
            Ok(address) if !rest.is_empty() => {
                self.saw(Format::Hosts);
                self.read_hosts(address, rest, number)
            }
            Ok(_) => {
                self.builder.leave_out(LeftOut::Addresses);
                Ok(())
            }
            Err(_) if rest.is_empty() => self.read_word(line, number),
            Err(_) => {
                self.builder.skip(number);
                Ok(())
            }
        }
    }

    /// Takes up the zones of unbound; says how most lines are written.
    fn finish(mut self) -> Result<(), PolicyFault> {
        for (name, kind) in std::mem::take(&mut self.zones) {
            let Some(name) = Name::from_wire(&name) else { continue };
            self.add_zone(&name, kind)?;
        }
        let most = Format::OF_LINES.into_iter().zip(self.seen).rev().max_by_key(|(_, lines)| *lines);
        let format = most.filter(|(_, lines)| *lines > 0).map(|(format, _)| format);
        self.builder.list.report.format = format.unwrap_or(Format::Domains);
        Ok(())
    }

    fn saw(&mut self, format: Format) {
        let place = Format::OF_LINES.iter().position(|other| *other == format);
        place.into_iter().for_each(|place| self.seen[place] += 1);
    }

    fn read_hosts(&mut self, address: IpAddr, names: &str, line: u32) -> Result<(), PolicyFault> {
        // Names of groups and of the network belong to the computer.
        if address.is_multicast() || address == IpAddr::from([255; 4]) {
            return Ok(());
        }
        for name in names.split('#').next().unwrap_or_default().split_whitespace() {
            if name.parse::<IpAddr>().is_ok() {
                continue;
            }
            match domain(name) {
                Some(name) if is_of_computer(&name) => {}
                Some(name) => self.add_address(&[Scope::Itself], &name, address)?,
                None => self.builder.skip(line),
            }
        }
        Ok(())
    }

    fn read_dnsmasq(&mut self, domains: &str, effect: &Effect, line: u32) -> Result<(), PolicyFault> {
        for text in domains.split('/') {
            let (name, scopes): (_, &[Scope]) = match text.strip_prefix("*.") {
                Some(name) => (name, &[Scope::Below]),
                None => (text, &[Scope::Itself, Scope::Below]),
            };
            match (domain(name), effect) {
                // All names, or those without a dot.
                (None, _) if matches!(text, "" | "#") => self.builder.leave_out(LeftOut::Settings),
                (None, _) => self.builder.skip(line),
                (_, Effect::LeftOut(reason)) => self.builder.leave_out(*reason),
                (Some(name), Effect::Act(action)) => self.add(Rank::Plain, scopes, &name, *action)?,
                (Some(name), Effect::Address(address)) => self.add_address(scopes, &name, *address)?,
            }
        }
        Ok(())
    }

    fn take_unbound(&mut self, read: Unbound, line: u32) -> Result<(), PolicyFault> {
        match read {
            Unbound::Zone(name, kind) => self.zones.push((name.wire().into(), kind)),
            Unbound::Record(name, local) if is_own(&name) => drop(local),
            Unbound::Record(name, local) => match address_of(&local).filter(is_block) {
                Some(_) => self.add(Rank::Plain, &[Scope::Itself], &name, Action::NxDomain)?,
                None => {
                    let trigger = Trigger::Name { rank: Rank::Plain, scope: Scope::Itself, name };
                    self.builder.add(trigger, Action::Local, Some(local))?;
                }
            },
            Unbound::LeftOut(reason) => self.builder.leave_out(reason),
            Unbound::Clause => {}
            Unbound::NotUnderstood => self.builder.skip(line),
        }
        Ok(())
    }

    /// A zone of unbound, after all of its data.
    fn add_zone(&mut self, name: &Name, kind: ZoneType) -> Result<(), PolicyFault> {
        if is_own(name) {
            return Ok(());
        }
        let own = self.builder.known(Scope::Itself, name);
        let below = self.builder.known(Scope::Below, name);
        let (action, local) = match (kind, own) {
            (ZoneType::Act(action), _) => (action, 0),
            (ZoneType::Redirect, Some(own)) => own,
            (ZoneType::Redirect, None) => (Action::NxDomain, 0),
        };
        for (scope, known) in [(Scope::Itself, own), (Scope::Below, below)] {
            if known.is_none() {
                let trigger = Trigger::Name { rank: Rank::Plain, scope, name: name.clone() };
                self.builder.insert(trigger, action, local)?;
            }
        }
        self.builder.list.report.doubles += usize::from(below.is_some());
        Ok(())
    }

    /// A rule of an ad blocker, the address of a page, a domain.
    fn read_word(&mut self, line: &str, number: u32) -> Result<(), PolicyFault> {
        if line.parse::<Network>().is_ok() {
            self.builder.leave_out(LeftOut::Addresses);
            return Ok(());
        }
        match adblock::read(line) {
            Parsed::Rule(rule) => {
                self.saw(if line.starts_with(['|', '@']) { Format::Adblock } else { Format::Domains });
                let address = rule.name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
                match domain(rule.name) {
                    _ if rule.cancels || self.cancelled.contains(&(rule.rank, rule.name.into())) => Ok(()),
                    Some(name) => self.add(rule.rank, rule.scopes, &name, action_of(rule.rank)),
                    None => {
                        let is_address = address.is_ok();
                        self.builder.leave_out(if is_address {
                            LeftOut::Addresses
                        } else {
                            LeftOut::Patterns
                        });
                        Ok(())
                    }
                }
            }
            Parsed::LeftOut(reason) => {
                let is_page = reason == LeftOut::Urls;
                self.saw(if is_page { Format::Domains } else { Format::Adblock });
                self.builder.leave_out(reason);
                Ok(())
            }
            Parsed::No => self.read_domain(line, number),
        }
    }

    /// `name`, `*.name` for all below it, `.name` for both.
    fn read_domain(&mut self, line: &str, number: u32) -> Result<(), PolicyFault> {
        let line = line.split('#').next().unwrap_or_default();
        let (name, scopes): (_, &[Scope]) = match (line.strip_prefix("*."), line.strip_prefix('.')) {
            (Some(name), _) => (domain(name), &[Scope::Below]),
            (None, Some(_)) if self.is_adblock => {
                self.builder.leave_out(LeftOut::Patterns);
                return Ok(());
            }
            (None, Some(name)) => (domain(name), &[Scope::Itself, Scope::Below]),
            (None, None) => (domain(line).filter(|name| name.labels() > 1 || is_own(name)), &[Scope::Itself]),
        };
        match name {
            Some(name) => {
                self.saw(Format::Domains);
                self.add(Rank::Plain, scopes, &name, Action::NxDomain)
            }
            None => {
                self.builder.skip(number);
                Ok(())
            }
        }
    }

    fn add(&mut self, rank: Rank, scopes: &[Scope], name: &Name, action: Action) -> Result<(), PolicyFault> {
        let scopes = scopes.iter().filter(|_| !is_own(name));
        scopes.into_iter().try_for_each(|scope| self.builder.add_name(rank, *scope, name, action))
    }

    /// No address, or this machine's, blocks; any other is the answer.
    fn add_address(&mut self, scopes: &[Scope], name: &Name, address: IpAddr) -> Result<(), PolicyFault> {
        if is_block(&address) {
            return self.add(Rank::Plain, scopes, name, Action::NxDomain);
        }
        for scope in scopes.iter().filter(|_| !is_own(name)) {
            let (kind, data): (_, Box<[u8]>) = match address {
                IpAddr::V4(address) => (Kind::A, Box::new(address.octets())),
                IpAddr::V6(address) => (Kind::AAAA, Box::new(address.octets())),
            };
            let trigger = Trigger::Name { rank: Rank::Plain, scope: *scope, name: name.clone() };
            self.builder.add(trigger, Action::Local, Some(LocalData { kind, ttl: LOCAL_TTL, data }))?;
        }
        Ok(())
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with(['!', ';', '[']) || line == "//" || line.starts_with("// ")
}

/// The line up to a comment that white space sets apart.
fn without_comment(line: &str) -> &str {
    let marks = [" #", "\t#", " ;", "\t;", " // ", "\t// "];
    let end = marks.iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
    line[..end].trim_end()
}

fn action_of(rank: Rank) -> Action {
    match rank {
        Rank::Plain | Rank::Important => Action::NxDomain,
        Rank::Exception | Rank::ImportantException => Action::Passthru,
    }
}

fn is_block(address: &IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

fn address_of(local: &LocalData) -> Option<IpAddr> {
    match local.kind {
        Kind::A => <[u8; 4]>::try_from(&*local.data).ok().map(IpAddr::from),
        Kind::AAAA => <[u8; 16]>::try_from(&*local.data).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Lines in which an ad blocker's list shows what it is.
const DETECT_LINES: usize = 200;
/// Rules that others take back: the largest lists have some hundred.
const CANCELLED_MAX: usize = 10_000;
