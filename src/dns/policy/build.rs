//! A list under construction: rules come in one by one, of doubles the first one stays.

use super::Action;
use super::list::{List, Network, Networks, Rank};
use super::report::{Format, LeftOut, PolicyFault, Report};
use super::table::{Entry, Scope, Table};
use crate::base::hash::sha256;
use crate::dns::zones::{Entry as Data, RrSet};
use crate::wire::dns::{Kind, Name};

pub(super) struct Builder {
    pub(super) list: List,
}

/// What a rule is for.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Trigger {
    Name { rank: Rank, scope: Scope, name: Name },
    Client { prefix: u8, bits: u128 },
}

/// One record that a rule answers with.
pub(super) struct LocalData {
    pub(super) kind: Kind,
    pub(super) ttl: u32,
    pub(super) data: Box<[u8]>,
}

impl Builder {
    /// `raw` is what the list was read from, as it came.
    pub(super) fn new(name: &str, raw: &[u8], format: Format) -> Self {
        // What it is keyed with follows from all of the text, so that nobody can aim.
        let digest = sha256(raw);
        let tables = std::array::from_fn(|_| Table::new(digest));
        // Local data number 0 is none.
        let locals = vec![Vec::new()];
        let (networks, report) = (Networks::default(), Report::new(format));
        Self { list: List { name: name.into(), digest, tables, networks, locals, soa: None, report } }
    }

    /// The list, if it has a rule.
    pub(super) fn finish(mut self) -> Result<List, PolicyFault> {
        self.list.report.doubles += self.list.networks.sort();
        self.list.tables.iter_mut().for_each(Table::shrink);
        match self.list.rules() {
            0 => Err(PolicyFault::Nothing(Box::new(self.list.report))),
            _ => Ok(self.list),
        }
    }

    pub(super) fn skip(&mut self, line: u32) {
        self.list.report.skip(line);
    }

    pub(super) fn leave_out(&mut self, reason: LeftOut) {
        self.list.report.leave_out(reason);
    }

    /// A rule without data of its own.
    pub(super) fn add_name(
        &mut self,
        rank: Rank,
        scope: Scope,
        name: &Name,
        action: Action,
    ) -> Result<(), PolicyFault> {
        self.add(Trigger::Name { rank, scope, name: name.clone() }, action, None)
    }

    /// `local` belongs to [`Action::Local`] alone.
    pub(super) fn add(
        &mut self,
        trigger: Trigger,
        action: Action,
        local: Option<LocalData>,
    ) -> Result<(), PolicyFault> {
        let known = match &trigger {
            Trigger::Name { rank, scope, name } => {
                let table = &self.list.tables[*rank as usize];
                let at = table.find(*scope, name.wire());
                at.map(|at| table.entry(at)).map(|entry| (entry.action, entry.local))
            }
            Trigger::Client { prefix, bits } => {
                self.list.networks.last_mut(*prefix, *bits).map(|rule| (rule.action, rule.local))
            }
        };
        if let Some((known, number)) = known {
            let grows = known == Action::Local && local.is_some_and(|local| self.grow(number, local));
            self.list.report.doubles += usize::from(!grows);
            return Ok(());
        }
        let mut number = 0;
        if let Some(LocalData { kind, ttl, data }) = local {
            number = self.list.locals.len() as u32;
            self.list.locals.push(vec![RrSet { kind, ttl, records: vec![Data { id: 0, data }] }]);
        }
        self.insert(trigger, action, number)
    }

    /// The action and the number of local data of a rule that is there.
    pub(super) fn known(&self, scope: Scope, name: &Name) -> Option<(Action, u32)> {
        let table = &self.list.tables[Rank::Plain as usize];
        let entry = table.entry(table.find(scope, name.wire())?);
        Some((entry.action, entry.local))
    }

    /// A rule that is not there yet, with local data that is.
    pub(super) fn insert(&mut self, trigger: Trigger, action: Action, local: u32) -> Result<(), PolicyFault> {
        let added = match trigger {
            Trigger::Name { rank, scope, name } => {
                let names = &mut self.list.tables[rank as usize];
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
    fn grow(&mut self, number: u32, local: LocalData) -> bool {
        let LocalData { kind, ttl, data } = local;
        let Some(sets) = self.list.locals.get_mut(number as usize) else { return false };
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

/// Seconds for data that has no TTL of its own: a change of the list is seen soon.
pub(super) const LOCAL_TTL: u32 = 60;
/// Records that one rule answers with: what fits into 1,232 bytes, at 16 each.
const LOCAL_RECORDS_MAX: usize = 76;
