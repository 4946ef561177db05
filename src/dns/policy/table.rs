//! Very many names in little room: one arena of names, one table of where they stand.
//!
//! A name of 20 bytes takes 21 in the arena and 5 in the table. What a name means is in its first
//! byte; only where that is data of its own, four more follow the name.

use std::hash::BuildHasher;

use super::Action;
use crate::base::Rng;
use crate::base::hash::{self, State};
use crate::wire::dns::{Name, parent};

/// Names, and names of which all that is below is meant, with what is done about them.
pub(super) struct Table {
    /// First byte, name in wire form, number of local data if it has any; one after the other.
    arena: Vec<u8>,
    /// Where entries start, plus one; 0 is free. Linear probing.
    slots: Vec<u32>,
    /// Entries, and those of them that are rules.
    len: usize,
    rules: usize,
    hasher: State,
}

/// Where an entry starts.
pub(super) type Offset = u32;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    /// What of the name is meant.
    pub(super) scope: Scope,
    pub(super) name: &'t [u8],
    pub(super) action: Action,
    /// The number of its data, if the action is [`Action::Local`].
    pub(super) local: u32,
}

/// What of a name an entry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// The name itself.
    Itself = 0,
    /// All that is below it: the trigger is `*.` and the name.
    Below = 1,
    /// Nothing: there are names below it in a zone, so that no wildcard reaches past it.
    Between = 2,
}

impl Table {
    /// `seed` keeps whoever wrote the names from choosing which of them collide.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            arena: Vec::new(),
            slots: Vec::new(),
            len: 0,
            rules: 0,
            hasher: hash::state(&mut Rng::new(seed)),
        }
    }

    /// How many rules there are.
    pub(super) fn rules(&self) -> usize {
        self.rules
    }

    pub(super) fn find(&self, scope: Scope, name: &[u8]) -> Option<Offset> {
        let mut at = self.slot(scope, name)?;
        loop {
            let offset = self.slots[at].checked_sub(1)?;
            if self.is_at(offset, scope, name) {
                return Some(offset);
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// The entry for a name: its own, else the longest wildcard above it.
    pub(super) fn find_nearest(&self, name: &Name) -> Option<Offset> {
        let mut above = std::iter::successors(parent(name.wire()), |name| parent(name));
        self.find(Scope::Itself, name.wire()).or_else(|| above.find_map(|name| self.find(Scope::Below, name)))
    }

    /// The entry that a zone would answer from: as above, but that a wildcard stands only for what
    /// is not there, and nothing below that (RFC 4592, section 3.3.1).
    pub(super) fn find_in_zone(&self, name: &Name) -> Option<Offset> {
        if let Some(exact) = self.find(Scope::Itself, name.wire()) {
            return Some(exact);
        }
        let mut names = std::iter::successors(Some(name.wire()), |name| parent(name));
        let encloser = names.find(|name| {
            self.find(Scope::Between, name).is_some() || self.find(Scope::Itself, name).is_some()
        })?;
        self.find(Scope::Below, encloser).filter(|_| encloser.len() < name.wire().len())
    }

    /// Marks all names above one that was taken up, for [`Table::find_in_zone`].
    pub(super) fn mark_above(&mut self, scope: Scope, name: &Name) -> Option<()> {
        let start = if scope == Scope::Below { Some(name.wire()) } else { parent(name.wire()) };
        for name in std::iter::successors(start, |name| parent(name)) {
            // What is there has all above it marked.
            if self.find(Scope::Between, name).or_else(|| self.find(Scope::Itself, name)).is_some() {
                break;
            }
            let action = Action::Passthru;
            self.insert(Entry { scope: Scope::Between, name, action, local: 0 })?;
        }
        Some(())
    }

    /// Takes up what is not there yet; where it stands, or `None` if there is no room.
    pub(super) fn insert(&mut self, entry: Entry<'_>) -> Option<Offset> {
        // In a zone every rule may bring a name above it.
        if self.rules >= RULES_MAX || self.len >= 2 * RULES_MAX || self.arena.len() + ENTRY_MAX > ARENA_MAX {
            return None;
        }
        if self.len + self.len / 4 + 1 >= self.slots.len() {
            self.index(2 * self.slots.len() + 64);
        }
        let offset = self.arena.len() as u32;
        self.arena.push((entry.scope as u8) << 6 | entry.action as u8);
        self.arena.extend_from_slice(entry.name);
        if entry.action == Action::Local {
            self.arena.extend_from_slice(&entry.local.to_be_bytes());
        }
        self.len += 1;
        self.rules += usize::from(entry.scope != Scope::Between);
        self.put(offset);
        Some(offset)
    }

    pub(super) fn entry(&self, offset: Offset) -> Entry<'_> {
        self.read(offset).0
    }

    /// Every rule, in the order they came in.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut offset = 0;
        let entries = std::iter::from_fn(move || {
            ((offset as usize) < self.arena.len()).then(|| {
                let (entry, end) = self.read(offset);
                offset = end;
                entry
            })
        });
        entries.filter(|entry| entry.scope != Scope::Between)
    }

    /// Gives back what is not needed once all names are in.
    pub(super) fn shrink(&mut self) {
        self.index(self.len + self.len / 4 + 1);
        self.slots.shrink_to_fit();
        self.arena.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.arena.capacity() + size_of::<u32>() * self.slots.capacity()
    }

    fn read(&self, offset: Offset) -> (Entry<'_>, Offset) {
        let head = self.arena[offset as usize];
        let rest = &self.arena[offset as usize + 1..];
        let end = std::iter::successors(Some(rest), |rest| parent(rest)).last().unwrap_or_default();
        let (name, after) = rest.split_at(rest.len() - end.len() + end.len().min(1));
        let action = Action::ALL[usize::from(head & 0x3f)];
        let local = after.first_chunk::<4>().filter(|_| action == Action::Local);
        let length = 1 + name.len() + local.map_or(0, |local| local.len());
        let local = local.map_or(0, |local| u32::from_be_bytes(*local));
        let scope = [Scope::Itself, Scope::Below, Scope::Between][usize::from(head >> 6)];
        (Entry { scope, name, action, local }, offset + length as u32)
    }

    fn is_at(&self, offset: Offset, scope: Scope, name: &[u8]) -> bool {
        let rest = &self.arena[offset as usize..];
        rest[0] >> 6 == scope as u8 && rest[1..].starts_with(name)
    }

    /// Where a name's entry is looked for first; `None` without any slots.
    fn slot(&self, scope: Scope, name: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one((scope, name));
        let at = (u128::from(hash) * self.slots.len() as u128) >> 64;
        (!self.slots.is_empty()).then_some(at as usize)
    }

    fn index(&mut self, slots: usize) {
        self.slots = vec![0; slots];
        let mut offset = 0;
        while (offset as usize) < self.arena.len() {
            let end = self.read(offset).1;
            self.put(offset);
            offset = end;
        }
    }

    fn put(&mut self, offset: Offset) {
        let entry = self.entry(offset);
        let Some(mut at) = self.slot(entry.scope, entry.name) else { return };
        while self.slots[at] != 0 {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = offset + 1;
    }
}

/// Rules of one list: the largest lists that are published have two million.
pub(super) const RULES_MAX: usize = 5_000_000;
/// Bytes of one list's names: 80 for each of the most rules, and less than an [`Offset`] can say.
const ARENA_MAX: usize = 80 * RULES_MAX;
/// The first byte, the longest name, the number of local data.
const ENTRY_MAX: usize = 1 + 255 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut table = Table::new([7; 32]);
        assert_eq!((table.find(Scope::Itself, b"\0"), table.iter().count()), (None, 0));
        let name = |nth: u32| Name::parse(&format!("n{nth}.x{}.test", nth % 7)).unwrap();
        let scope = |nth| if nth % 2 == 0 { Scope::Itself } else { Scope::Below };
        for nth in 0..10_000 {
            let action = if nth % 3 == 0 { Action::Local } else { Action::NxDomain };
            let (scope, name) = (scope(nth), name(nth));
            table.insert(Entry { scope, name: name.wire(), action, local: nth }).unwrap();
        }
        table.shrink();
        for nth in 0..10_000 {
            let (name, scope, other) = (name(nth), scope(nth), scope(nth + 1));
            let entry = table.entry(table.find(scope, name.wire()).unwrap());
            assert_eq!((entry.name, entry.scope), (name.wire(), scope));
            assert_eq!(entry.local, if nth % 3 == 0 { nth } else { 0 });
            assert_eq!(table.find(other, name.wire()), None);
        }
        assert_eq!((table.rules(), table.iter().count()), (10_000, 10_000));
        // Names of 16 bytes here: 17, a third of them 21, and 5.
        assert!(table.bytes() < 25 * 10_000, "{}", table.bytes());
    }

    #[test]
    fn the_nearest_is_the_name_itself_then_the_longest_wildcard() {
        use Scope::{Below, Itself};
        let mut table = Table::new([7; 32]);
        for (scope, name) in
            [(Below, "test"), (Below, "b.test"), (Itself, "a.b.test"), (Itself, "x.y.test"), (Below, ".")]
        {
            let name = Name::parse(name).unwrap();
            table.insert(Entry { scope, name: name.wire(), action: Action::Drop, local: 0 }).unwrap();
            table.mark_above(scope, &name).unwrap();
        }
        assert_eq!((table.rules(), table.iter().count()), (5, 5));
        let shown = |offset: Option<Offset>| {
            let entry = offset.map(|offset| table.entry(offset));
            let name = entry.and_then(|entry| Name::from_wire(entry.name)).map(|name| name.to_string());
            entry.map(|entry| entry.scope).zip(name)
        };
        for (name, scope, nearest, in_zone) in [
            ("a.b.test", Itself, "a.b.test.", true),
            ("c.b.test", Below, "b.test.", true),
            ("c.a.b.test", Below, "b.test.", false),
            ("b.test", Below, "test.", false),
            ("y.test", Below, "test.", false),
            ("z.y.test", Below, "test.", false),
            ("z.test", Below, "test.", true),
            ("test", Below, ".", false),
            ("other", Below, ".", true),
        ] {
            let asked = Name::parse(name).unwrap();
            let expected = Some((scope, nearest.to_owned()));
            assert_eq!(shown(table.find_nearest(&asked)), expected, "{name}");
            assert_eq!(shown(table.find_in_zone(&asked)), expected.filter(|_| in_zone), "{name}");
        }
        assert_eq!((table.find_nearest(&Name::ROOT), table.find_in_zone(&Name::ROOT)), (None, None));
    }
}
