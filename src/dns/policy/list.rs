//! One list: what it has rules for, and what is done about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Action;
use super::report::{Format, Report};
use super::table::{Entry, Offset, RULES_MAX, Scope, Table};
use crate::base::text::human_count;
use crate::dns::zones::RrSet;
use crate::wire::dns::Name;

/// A list as it was read: it never changes.
pub struct List {
    pub(super) name: Box<str>,
    pub(super) digest: [u8; 32],
    /// Rules about names, by [`Rank`].
    pub(super) tables: [Table; Rank::HIGHEST_FIRST.len()],
    pub(super) networks: Networks,
    /// Data that rules answer with, by number.
    pub(super) locals: Vec<Vec<RrSet>>,
    /// The SOA and its owner, if it is a zone.
    pub(super) soa: Option<(Name, RrSet)>,
    pub(super) report: Report,
}

/// One rule of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// For a name, or all below one.
    Name(Rank, Offset),
    /// For clients of a network, by number.
    Client(u32),
}

/// Which rules about names go before which, whatever their names. Only ad blockers have more than one
/// rank: their exceptions hold for all below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Any rule.
    Plain,
    /// `@@||…^`.
    Exception,
    /// `||…^$important`.
    Important,
    /// `@@||…^$important`.
    ImportantException,
}

/// Networks of clients, longest prefixes first.
#[derive(Default)]
pub(super) struct Networks(Vec<Network>);

/// Clients whose address starts with these bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// Of 128: IPv4 counts as IPv4-mapped IPv6.
    pub(super) prefix: u8,
    pub(super) bits: u128,
    pub(super) action: Action,
    pub(super) local: u32,
}

impl List {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rules it has.
    pub fn rules(&self) -> usize {
        self.tables.iter().map(Table::rules).sum::<usize>() + self.networks.0.len()
    }

    /// SHA-256 of the text it was read from.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What it is and what of it makes no rule, in one line.
    pub fn summary(&self) -> String {
        let (format, rules) = (self.report.format.name(), human_count(self.rules() as u64));
        format!("{}: {format}, {rules} rules{}", self.name, self.report)
    }

    /// What could not be read.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Bytes on the heap, without local data.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(Table::bytes).sum::<usize>()
            + self.networks.0.capacity() * size_of::<Network>()
    }

    /// The rule for a client and a name: clients first, then the name, then the longest wildcard
    /// above it; in a zone, wildcards stand for what they stand for in zones.
    pub fn find(&self, name: &Name, client: IpAddr) -> Option<Rule> {
        let client = || self.networks.find(bits_of(client)).map(Rule::Client);
        let is_zone = self.report.format == Format::Rpz;
        let by_name = || {
            Rank::HIGHEST_FIRST.into_iter().find_map(|rank| {
                let table = &self.tables[rank as usize];
                let found = if is_zone { table.find_in_zone(name) } else { table.find_nearest(name) };
                found.map(|offset| Rule::Name(rank, offset))
            })
        };
        client().or_else(by_name)
    }

    /// What a rule does.
    pub fn action(&self, rule: Rule) -> Action {
        match rule {
            Rule::Name(rank, offset) => self.tables[rank as usize].entry(offset).action,
            Rule::Client(nth) => {
                self.networks.0.get(nth as usize).map_or(Action::Passthru, |rule| rule.action)
            }
        }
    }

    /// The trigger as one would write it.
    pub fn rule_text(&self, rule: Rule) -> String {
        match rule {
            Rule::Name(rank, offset) => name_text(self.tables[rank as usize].entry(offset)),
            Rule::Client(nth) => self.networks.0.get(nth as usize).map_or_else(String::new, Network::text),
        }
    }

    /// Rules that this list has and `other` does not have in the same way.
    pub fn added_to(&self, other: &Self) -> usize {
        let is_new = |(own, others): (&Table, &Table)| {
            own.iter()
                .filter(|entry| {
                    let found = others.find(entry.scope, entry.name).map(|at| others.entry(at));
                    found.is_none_or(|found| {
                        found.action != entry.action || self.local(entry.local) != other.local(found.local)
                    })
                })
                .count()
        };
        let networks = self.networks.0.iter().filter(|network| {
            other.networks.exact(network.prefix, network.bits).is_none_or(|found| {
                found.action != network.action || self.local(network.local) != other.local(found.local)
            })
        });
        self.tables.iter().zip(&other.tables).map(is_new).sum::<usize>() + networks.count()
    }

    /// The data that a rule answers with.
    pub(super) fn local_of(&self, rule: Rule) -> &[RrSet] {
        match rule {
            Rule::Name(rank, offset) => self.local(self.tables[rank as usize].entry(offset).local),
            Rule::Client(nth) => self.networks.0.get(nth as usize).map_or(&[], |rule| self.local(rule.local)),
        }
    }

    fn local(&self, number: u32) -> &[RrSet] {
        self.locals.get(number as usize).map_or(&[], |sets| sets)
    }
}

impl Rank {
    pub(super) const HIGHEST_FIRST: [Self; 4] =
        [Self::ImportantException, Self::Important, Self::Exception, Self::Plain];
}

impl Networks {
    /// Takes up one more; `None` if there is no room. To be sorted when all are in.
    pub(super) fn insert(&mut self, network: Network) -> Option<()> {
        (self.0.len() < RULES_MAX).then(|| self.0.push(network))
    }

    /// In the order in which they are looked for; of doubles the first one stays. How many were
    /// dropped.
    pub(super) fn sort(&mut self) -> usize {
        let before = self.0.len();
        self.0.sort_by_key(Network::order);
        self.0.dedup_by_key(|network| network.order());
        self.0.shrink_to_fit();
        before - self.0.len()
    }

    /// The entry being built for this network.
    pub(super) fn last_mut(&mut self, prefix: u8, bits: u128) -> Option<&mut Network> {
        self.0.iter_mut().rev().take(RECENT).find(|network| (network.prefix, network.bits) == (prefix, bits))
    }

    fn find(&self, client: u128) -> Option<u32> {
        let mut rest = &self.0[..];
        let mut start = 0;
        while let Some(first) = rest.first() {
            let end = rest.partition_point(|network| network.prefix >= first.prefix);
            let bits = client & mask(first.prefix);
            if let Ok(at) = rest[..end].binary_search_by_key(&bits, |network| network.bits) {
                return Some((start + at) as u32);
            }
            (rest, start) = (&rest[end..], start + end);
        }
        None
    }

    fn exact(&self, prefix: u8, bits: u128) -> Option<&Network> {
        let order = (u8::MAX - prefix, bits);
        let at = self.0.binary_search_by_key(&order, Network::order).ok()?;
        self.0.get(at)
    }
}

impl Network {
    fn order(&self) -> (u8, u128) {
        (u8::MAX - self.prefix, self.bits)
    }

    /// As a trigger of a response policy zone.
    fn text(&self) -> String {
        let address = Ipv6Addr::from(self.bits);
        if let (Some(address), 96..) = (address.to_ipv4_mapped(), self.prefix) {
            let [a, b, c, d] = address.octets();
            return format!("{}.{d}.{c}.{b}.{a}.rpz-client-ip", self.prefix - 96);
        }
        let groups: Vec<String> = address.segments().iter().rev().map(|group| format!("{group:x}")).collect();
        format!("{}.{}.rpz-client-ip", self.prefix, groups.join("."))
    }
}

/// An address as 128 bits.
pub(super) fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address).to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

pub(super) fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

fn name_text(entry: Entry<'_>) -> String {
    let name = Name::from_wire(entry.name).map_or_else(String::new, |name| name.to_string());
    let name = if name.len() > 1 { name.trim_end_matches('.') } else { &name };
    match (entry.scope, name) {
        (Scope::Below, ".") => "*".to_owned(),
        (Scope::Below, name) => format!("*.{name}"),
        (Scope::Itself | Scope::Between, name) => name.to_owned(),
    }
}

/// How far back a network is looked for that one more record of local data belongs to.
const RECENT: usize = 16;
