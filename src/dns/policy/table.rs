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
    len: usize,
    hasher: State,
}

/// Where an entry starts.
pub(super) type Offset = u32;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    /// The trigger is `*.` and the name.
    pub(super) is_wildcard: bool,
    pub(super) name: &'t [u8],
    pub(super) action: Action,
    /// The number of its data, if the action is [`Action::Local`].
    pub(super) local: u32,
}

impl Table {
    /// `seed` keeps whoever wrote the names from choosing which of them collide.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { arena: Vec::new(), slots: Vec::new(), len: 0, hasher: hash::state(&mut Rng::new(seed)) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, is_wildcard: bool, name: &[u8]) -> Option<Offset> {
        let mut at = self.slot(is_wildcard, name)?;
        loop {
            let offset = self.slots[at].checked_sub(1)?;
            if self.is_at(offset, is_wildcard, name) {
                return Some(offset);
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// The entry for a name: its own, else the longest wildcard above it.
    pub(super) fn find_nearest(&self, name: &Name) -> Option<Offset> {
        let above = std::iter::successors(parent(name.wire()), |name| parent(name));
        self.find(false, name.wire()).or_else(|| above.into_iter().find_map(|name| self.find(true, name)))
    }

    /// Takes up what is not there yet; where it stands, or `None` if there is no room.
    pub(super) fn insert(&mut self, entry: Entry<'_>) -> Option<Offset> {
        if self.len >= RULES_MAX || self.arena.len() + ENTRY_MAX > ARENA_MAX {
            return None;
        }
        if self.len + self.len / 4 + 1 >= self.slots.len() {
            self.index(2 * self.slots.len() + 64);
        }
        let offset = self.arena.len() as u32;
        self.arena.push(u8::from(entry.is_wildcard) << 7 | entry.action as u8);
        self.arena.extend_from_slice(entry.name);
        if entry.action == Action::Local {
            self.arena.extend_from_slice(&entry.local.to_be_bytes());
        }
        self.len += 1;
        self.put(offset);
        Some(offset)
    }

    pub(super) fn entry(&self, offset: Offset) -> Entry<'_> {
        self.read(offset).0
    }

    /// Every entry, in the order they came in.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            ((offset as usize) < self.arena.len()).then(|| {
                let (entry, end) = self.read(offset);
                offset = end;
                entry
            })
        })
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
        let action = Action::ALL[usize::from(head & 0x7f)];
        let local = after.first_chunk::<4>().filter(|_| action == Action::Local);
        let length = 1 + name.len() + local.map_or(0, |local| local.len());
        let local = local.map_or(0, |local| u32::from_be_bytes(*local));
        (Entry { is_wildcard: head >> 7 == 1, name, action, local }, offset + length as u32)
    }

    fn is_at(&self, offset: Offset, is_wildcard: bool, name: &[u8]) -> bool {
        let rest = &self.arena[offset as usize..];
        rest[0] >> 7 == u8::from(is_wildcard) && rest[1..].starts_with(name)
    }

    /// Where a name's entry is looked for first; `None` without any slots.
    fn slot(&self, is_wildcard: bool, name: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one((is_wildcard, name));
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
        let Some(mut at) = self.slot(entry.is_wildcard, entry.name) else { return };
        while self.slots[at] != 0 {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = offset + 1;
    }
}

/// Rules of one list: the largest lists that are published have two million.
pub(super) const RULES_MAX: usize = 5_000_000;
/// Bytes of one list's names: 40 for each of the most rules, and less than an [`Offset`] can say.
const ARENA_MAX: usize = 40 * RULES_MAX;
/// The first byte, the longest name, the number of local data.
const ENTRY_MAX: usize = 1 + 255 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut table = Table::new([7; 32]);
        assert_eq!((table.find(false, b"\0"), table.iter().count()), (None, 0));
        let name = |nth: u32| Name::parse(&format!("n{nth}.x{}.test", nth % 7)).unwrap();
        for nth in 0..10_000 {
            let action = if nth % 3 == 0 { Action::Local } else { Action::NxDomain };
            let (is_wildcard, name) = (nth % 2 == 0, name(nth));
            table.insert(Entry { is_wildcard, name: name.wire(), action, local: nth }).unwrap();
        }
        table.shrink();
        for nth in 0..10_000 {
            let (name, is_wildcard) = (name(nth), nth % 2 == 0);
            let entry = table.entry(table.find(is_wildcard, name.wire()).unwrap());
            assert_eq!((entry.name, entry.is_wildcard), (name.wire(), is_wildcard));
            assert_eq!(entry.local, if nth % 3 == 0 { nth } else { 0 });
            assert_eq!(table.find(!is_wildcard, name.wire()), None);
        }
        assert_eq!((table.len(), table.iter().count()), (10_000, 10_000));
        // Names of 16 bytes here: 17, a third of them 21, and 5.
        assert!(table.bytes() < 25 * 10_000, "{}", table.bytes());
    }

    #[test]
    fn the_nearest_is_the_name_itself_then_the_longest_wildcard() {
        let mut table = Table::new([7; 32]);
        for (is_wildcard, name) in [(true, "test"), (true, "b.test"), (false, "a.b.test"), (true, ".")] {
            let name = Name::parse(name).unwrap();
            table.insert(Entry { is_wildcard, name: name.wire(), action: Action::Drop, local: 0 }).unwrap();
        }
        let nearest = |name: &str| {
            let entry = table.entry(table.find_nearest(&Name::parse(name).unwrap()).unwrap());
            (entry.is_wildcard, Name::from_wire(entry.name).unwrap().to_string())
        };
        assert_eq!(nearest("a.b.test"), (false, "a.b.test.".to_owned()));
        assert_eq!(nearest("c.a.b.test"), (true, "b.test.".to_owned()));
        assert_eq!(nearest("b.test"), (true, "test.".to_owned()));
        assert_eq!(nearest("test"), (true, ".".to_owned()));
        assert_eq!(table.find_nearest(&Name::ROOT), None);
    }
}
