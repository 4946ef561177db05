//! Zones as the archive keeps them: a row for each set of records, ids included.

use super::zone::{RrSet, Zone};
use crate::model::dns::{SavedSet, SavedZone};
use crate::wire::dns::{Kind, Name};

impl Zone {
    /// All of it. Takes its time with large zones.
    pub(in crate::dns) fn saved(&self) -> SavedZone {
        let sets = self.nodes.iter().flat_map(|(name, node)| node.sets.iter().map(|set| set.saved(name)));
        let sets: Vec<_> = sets.collect();
        let bytes = sets.iter().map(SavedSet::bytes).sum();
        SavedZone { origin: self.origin().wire().into(), sets, bytes }
    }

    /// One set; without records if it is not there any more.
    pub(in crate::dns) fn saved_set(&self, name: &Name, kind: Kind) -> SavedSet {
        let set = self.nodes.get(name.wire()).and_then(|node| node.set(kind));
        let gone = SavedSet { name: name.wire().into(), kind: kind.0, ttl: 0, records: Box::default() };
        set.map_or(gone, |set| set.saved(name.wire()))
    }

    /// The zone that was saved; `None` if that is none.
    pub(in crate::dns) fn restore(saved: &SavedZone) -> Option<Self> {
        let mut zone = Self::empty(&Name::from_wire(&saved.origin)?);
        for set in &saved.sets {
            let (owner, kind) = (Name::from_wire(&set.name)?, Kind(set.kind));
            let mut rest = &set.records[..];
            while !rest.is_empty() {
                let (id, after) = rest.split_first_chunk::<8>()?;
                let (len, after) = after.split_first_chunk::<4>()?;
                let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
                let (data, after) = after.split_at_checked(len)?;
                zone.insert(&owner, kind, set.ttl, data.into()).ok()?;
                zone.set_id(&owner, kind, data, u64::from_be_bytes(*id));
                rest = after;
            }
        }
        let apex = zone.apex();
        let soa = &apex.set(Kind::SOA)?.records.first()?.data;
        let is_whole = apex.set(Kind::NS).is_some() && soa.len() >= SOA_LEN_MIN;
        is_whole.then_some(zone)
    }

    fn set_id(&mut self, owner: &Name, kind: Kind, data: &[u8], id: u64) {
        let node = self.nodes.get_mut(owner.wire());
        let set = node.and_then(|node| node.sets.iter_mut().find(|set| set.kind == kind));
        let Some(set) = set else { return };
        if let Ok(at) = set.records.binary_search_by(|entry| (*entry.data).cmp(data)) {
            set.records[at].id = id;
        }
    }
}

impl RrSet {
    /// Each record is its id, the length of its data, and its data.
    fn saved(&self, name: &[u8]) -> SavedSet {
        let mut records = Vec::new();
        for entry in &self.records {
            records.extend_from_slice(&entry.id.to_be_bytes());
            records.extend_from_slice(&(entry.data.len() as u32).to_be_bytes());
            records.extend_from_slice(&entry.data);
        }
        SavedSet { name: name.into(), kind: self.kind.0, ttl: self.ttl, records: records.into() }
    }
}

/// Two names of one byte each, five numbers of four.
const SOA_LEN_MIN: usize = 2 + 5 * 4;
