//! Changing zones while they are served, and what is told of it.
//!
//! The serial that we serve never goes back (RFC 1982): each change of content raises it by one. A
//! zone that is read anew brings its own serial if that is ahead of ours; if it is not, a zone of
//! the same content changes nothing, and one of other content gets ours, raised by one.

use std::sync::Arc;

use super::Zones;
use super::master::{Reader, Reason, ZoneFault};
use super::rdata;
use super::zone::{Entry, RecordFacts, RrSet, Zone, canonical_key, soa_serial};
use crate::wire::dns::{Kind, Name};

/// Something to be done with the zones.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "few at a time: somebody typed each")]
pub enum ZoneChange {
    /// A new zone from a master file; from an empty text, one with a SOA and an NS only.
    Create {
        /// Its name.
        origin: Name,
        /// The master file.
        text: String,
    },
    /// No longer serve a zone.
    Delete {
        /// Its name.
        origin: Name,
    },
    /// Other content for a zone that is there, from a master file.
    Rewrite {
        /// Its name.
        origin: Name,
        /// The master file.
        text: String,
    },
    /// Serve this instead of the zone of the same name, if there is one.
    Replace {
        /// What was read.
        zone: Box<Zone>,
    },
    /// One more record. The others of its set take over its TTL.
    AddRecord {
        /// In which zone.
        zone: Name,
        /// Whose.
        name: Name,
        /// Of what type.
        kind: Kind,
        /// In seconds.
        ttl: u32,
        /// As in a master file; relative names belong to the zone.
        data: String,
    },
    /// Other data for a record. The others of its set take over its TTL.
    ReplaceRecord {
        /// In which zone.
        zone: Name,
        /// Which record.
        id: u64,
        /// In seconds.
        ttl: u32,
        /// As in a master file; relative names belong to the zone.
        data: String,
    },
    /// One record less.
    RemoveRecord {
        /// In which zone.
        zone: Name,
        /// Which record.
        id: u64,
    },
}

/// What became of the zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneEvent {
    /// There is a new one.
    ZoneCreated(ZoneFacts),
    /// One has another content. It comes after the events of its records.
    ZoneUpdated(ZoneFacts),
    /// One is gone.
    ZoneDeleted(ZoneFacts),
    /// A zone has a new record.
    RecordCreated(Name, RecordFacts),
    /// A record of a zone has another TTL or other data.
    RecordUpdated(Name, RecordFacts),
    /// A record of a zone is gone.
    RecordDeleted(Name, RecordFacts),
}

/// What is told of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub serial: u32,
    /// How many records it has.
    pub records_count: usize,
    /// How many records are new, changed and gone. At most [`RECORD_EVENTS_MAX`] of them are told
    /// one by one.
    pub changes: [usize; 3],
}

impl ZoneChange {
    /// The zone that it is about.
    pub fn origin(&self) -> &Name {
        match self {
            Self::Create { origin, .. } | Self::Delete { origin } | Self::Rewrite { origin, .. } => origin,
            Self::Replace { zone } => zone.origin(),
            Self::AddRecord { zone, .. }
            | Self::ReplaceRecord { zone, .. }
            | Self::RemoveRecord { zone, .. } => zone,
        }
    }
}

impl ZoneEvent {
    /// What subscribers know it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ZoneCreated(_) => "zone_created",
            Self::ZoneUpdated(_) => "zone_updated",
            Self::ZoneDeleted(_) => "zone_deleted",
            Self::RecordCreated(..) => "record_created",
            Self::RecordUpdated(..) => "record_updated",
            Self::RecordDeleted(..) => "record_deleted",
        }
    }
}

impl ZoneFacts {
    /// What we are for every zone here.
    pub const TYPE: &str = "master";

    pub(in crate::dns) fn of(zone: &Zone, changes: [usize; 3]) -> Self {
        let (name, serial) = (zone.origin().clone(), zone.serial());
        Self { name, serial, records_count: zone.records_count(), changes }
    }
}

impl Zones {
    /// Does it, or leaves everything as it was. Without a change of content nothing is told.
    pub fn apply(&mut self, change: ZoneChange) -> Result<Vec<ZoneEvent>, ZoneFault> {
        self.apply_at(change, None)
    }

    /// The same for who has found out already whose record it is about: the search looks at all.
    pub(in crate::dns) fn apply_at(
        &mut self,
        change: ZoneChange,
        at: Option<(Name, Kind)>,
    ) -> Result<Vec<ZoneEvent>, ZoneFault> {
        let whole = |reason| ZoneFault { line: 0, reason };
        match change {
            ZoneChange::Create { origin, text } => self.create(origin, &text),
            ZoneChange::Delete { origin } => self.delete(&origin).map_err(whole),
            ZoneChange::Rewrite { origin, text } => {
                self.zone_mut(&origin).map_err(whole)?;
                self.replace(Zone::parse(&text, Some(&origin))?).map_err(whole)
            }
            ZoneChange::Replace { zone } => self.replace(*zone).map_err(whole),
            ZoneChange::AddRecord { zone, name, kind, ttl, data } => {
                let zone = self.zone_mut(&zone).map_err(whole)?;
                let data = read_data(kind, &data, zone.origin()).map_err(whole)?;
                zone.add(&name, kind, ttl, data).map_err(whole)
            }
            ZoneChange::ReplaceRecord { zone, id, ttl, data } => {
                let zone = self.zone_mut(&zone).map_err(whole)?;
                let at = at.or_else(|| zone.find(id));
                let (name, kind) = at.ok_or_else(|| whole(Reason::NoRecord))?;
                let data = read_data(kind, &data, zone.origin()).map_err(whole)?;
                zone.exchange(&name, kind, id, ttl, data).map_err(whole)
            }
            ZoneChange::RemoveRecord { zone, id } => {
                let zone = self.zone_mut(&zone).map_err(whole)?;
                let at = at.or_else(|| zone.find(id));
                let (name, kind) = at.ok_or_else(|| whole(Reason::NoRecord))?;
                zone.take_out(&name, kind, id).map_err(whole)
            }
        }
    }

    fn zone_mut(&mut self, origin: &Name) -> Result<&mut Zone, Reason> {
        self.by_origin.get_mut(origin.wire()).map(Arc::make_mut).ok_or(Reason::NoZone)
    }

    fn create(&mut self, origin: Name, text: &str) -> Result<Vec<ZoneEvent>, ZoneFault> {
        let whole = |reason| ZoneFault { line: 0, reason };
        if self.zone(&origin).is_some() {
            return Err(whole(Reason::ZoneExists));
        }
        self.replace(Zone::create(&origin, text)?).map_err(whole)
    }

    fn delete(&mut self, origin: &Name) -> Result<Vec<ZoneEvent>, Reason> {
        let zone = self.take(origin).ok_or(Reason::NoZone)?;
        Ok(vec![ZoneEvent::ZoneDeleted(ZoneFacts::of(&zone, [0, 0, zone.records_count()]))])
    }
}

impl Zones {
    fn replace(&mut self, zone: Zone) -> Result<Vec<ZoneEvent>, Reason> {
        let old = self.zone(zone.origin()).cloned();
        let (zone, events) = zone.renewing(old.as_deref());
        self.put(Arc::new(zone)).map(|_| events)
    }
}

impl Zone {
    /// What [`ZoneChange::Create`] makes.
    pub(in crate::dns) fn create(origin: &Name, text: &str) -> Result<Self, ZoneFault> {
        let text = if text.trim().is_empty() { EMPTY_ZONE } else { text };
        Self::parse(text, Some(origin))
    }

    /// It as it is to be served after `old`, and what that changes. Takes its time with large zones.
    pub(in crate::dns) fn renewing(mut self, old: Option<&Self>) -> (Self, Vec<ZoneEvent>) {
        let events = match old {
            Some(old) => self.succeed(old),
            None => vec![ZoneEvent::ZoneCreated(ZoneFacts::of(&self, [self.records_count(), 0, 0]))],
        };
        (self, events)
    }
}

impl Zone {
    fn add(&mut self, name: &Name, kind: Kind, ttl: u32, data: Box<[u8]>) -> Result<Vec<ZoneEvent>, Reason> {
        check(kind, ttl)?;
        let before = self.set(name, kind).cloned();
        if before.as_ref().is_some_and(|set| set.records.iter().any(|entry| entry.data == data)) {
            return Err(Reason::RecordExists);
        }
        self.insert(name, kind, ttl, data)?;
        self.set_ttl(name, kind, ttl);
        Ok(self.changed(name, kind, before))
    }

    fn exchange(
        &mut self,
        name: &Name,
        kind: Kind,
        id: u64,
        ttl: u32,
        data: Box<[u8]>,
    ) -> Result<Vec<ZoneEvent>, Reason> {
        check(kind, ttl)?;
        let before = self.set(name, kind).cloned().ok_or(Reason::NoRecord)?;
        let old = before.records.iter().find(|entry| entry.id == id).ok_or(Reason::NoRecord)?;
        if old.data != data {
            if before.records.iter().any(|entry| entry.data == data) {
                return Err(Reason::RecordExists);
            }
            // What stands beside it was admitted with a record of this type, so that it may again;
            // only room can be short, and is not once the old one is back.
            self.remove(name, kind, id);
            if let Err(reason) = self.insert(name, kind, ttl, data) {
                self.insert(name, kind, before.ttl, old.data.clone())?;
                self.put_back(name, before);
                return Err(reason);
            }
        }
        self.set_ttl(name, kind, ttl);
        Ok(self.changed(name, kind, Some(before)))
    }

    fn take_out(&mut self, name: &Name, kind: Kind, id: u64) -> Result<Vec<ZoneEvent>, Reason> {
        let before = self.set(name, kind).cloned().ok_or(Reason::NoRecord)?;
        let is_last_ns = kind == Kind::NS && name == self.origin() && before.records.len() == 1;
        if kind == Kind::SOA || is_last_ns {
            return Err(Reason::Needed);
        }
        self.remove(name, kind, id).ok_or(Reason::NoRecord)?;
        Ok(self.changed(name, kind, Some(before)))
    }

    /// Takes over the ids of a zone's records that are here too, and its serial unless ours is
    /// ahead; tells what differs.
    fn succeed(&mut self, old: &Self) -> Vec<ZoneEvent> {
        let (wanted, served) = (self.serial(), old.serial());
        self.set_serial(served);
        let mut names: Vec<Box<[u8]>> = Vec::new();
        for (wire, node) in &mut self.nodes {
            match old.nodes.get(wire) {
                // Equal but for the ids, which are the old one's.
                Some(before) if before.sets == node.sets => {
                    for (set, old) in node.sets.iter_mut().zip(&before.sets) {
                        set.records.iter_mut().zip(&old.records).for_each(|(entry, was)| entry.id = was.id);
                    }
                }
                _ => names.push(wire.clone()),
            }
        }
        names.extend(old.nodes.keys().filter(|wire| !self.nodes.contains_key(*wire)).cloned());
        names.sort_by_cached_key(|wire| canonical_key(wire));
        let mut tally = Tally::of(self);
        for wire in names {
            let name = Name::from_wire(&wire).expect("owners are names");
            let before = old.nodes.get(&wire).map_or(&[][..], |node| &node.sets);
            let mut none = Vec::new();
            let after = self.nodes.get_mut(&wire).map_or(&mut none, |node| &mut node.sets);
            for set in before.iter().filter(|set| after.iter().all(|other| other.kind != set.kind)) {
                tally.compare(&name, Some(set), None);
            }
            for set in after {
                tally.compare(&name, before.iter().find(|other| other.kind == set.kind), Some(set));
            }
        }
        self.settle(wanted, served, tally)
    }

    /// Tells what differs in one set.
    fn changed(&mut self, name: &Name, kind: Kind, mut before: Option<RrSet>) -> Vec<ZoneEvent> {
        let wanted = self.serial();
        let served = match &mut before {
            Some(set) if kind == Kind::SOA => soa_serial(&set.records[0].data),
            _ => wanted,
        };
        self.set_serial(served);
        let mut tally = Tally::of(self);
        tally.compare(name, before.as_ref(), self.set_mut(name, kind));
        self.settle(wanted, served, tally)
    }

    /// Settles the serial: the one that came with the content if that is ahead of what was served.
    fn settle(&mut self, wanted: u32, served: u32, tally: Tally) -> Vec<ZoneEvent> {
        let Tally { changes, mut events, .. } = tally;
        let serial = match changes {
            _ if is_ahead(wanted, served) => wanted,
            [0, 0, 0] => served,
            _ => next_serial(served),
        };
        self.set_serial(serial);
        for event in &mut events {
            if let ZoneEvent::RecordUpdated(_, facts) = event
                && facts.kind == Kind::SOA
            {
                facts.data = rdata::print(Kind::SOA, &self.soa().records[0].data);
            }
        }
        if serial != served {
            events.push(ZoneEvent::ZoneUpdated(ZoneFacts::of(self, changes)));
        }
        events
    }

    fn set(&self, name: &Name, kind: Kind) -> Option<&RrSet> {
        self.nodes.get(name.wire())?.set(kind)
    }

    fn set_mut(&mut self, name: &Name, kind: Kind) -> Option<&mut RrSet> {
        self.nodes.get_mut(name.wire())?.sets.iter_mut().find(|set| set.kind == kind)
    }

    fn set_ttl(&mut self, name: &Name, kind: Kind, ttl: u32) {
        if let Some(set) = self.set_mut(name, kind) {
            set.ttl = ttl;
        }
    }

    /// The set as it was, ids and TTL too; it has the same records.
    fn put_back(&mut self, name: &Name, before: RrSet) {
        if let Some(set) = self.set_mut(name, before.kind) {
            *set = before;
        }
    }
}

/// What differs, told and counted.
struct Tally {
    zone: Name,
    kind: Kind,
    changes: [usize; 3],
    events: Vec<ZoneEvent>,
}

#[derive(Clone, Copy)]
enum Change {
    Created,
    Updated,
    Deleted,
}

impl Tally {
    fn of(zone: &Zone) -> Self {
        Self { zone: zone.origin().clone(), kind: Kind::SOA, changes: [0; 3], events: Vec::new() }
    }

    /// Gives records that were there before their ids. One that went where one came is changed.
    fn compare(&mut self, name: &Name, before: Option<&RrSet>, after: Option<&mut RrSet>) {
        let Some(kind) = after.as_deref().or(before).map(|set| set.kind) else { return };
        self.kind = kind;
        let mut none = Vec::new();
        let (new, ttl) = match after {
            Some(set) => (&mut set.records, set.ttl),
            None => (&mut none, 0),
        };
        let old = before.map_or(&[][..], |set| &set.records);
        let gone: Vec<_> = old.iter().filter(|entry| find(new, entry).is_none()).collect();
        let come = new.iter().filter(|entry| find(old, entry).is_none()).count();
        let exchanged = gone.first().copied().filter(|_| gone.len() == 1 && come == 1);
        let is_other_ttl = before.is_some_and(|set| set.ttl != ttl);
        for entry in new {
            let (was, change) = match (find(old, entry), exchanged) {
                (Some(was), _) if !is_other_ttl => {
                    entry.id = was.id;
                    continue;
                }
                (Some(was), _) | (None, Some(was)) => (was.id, Change::Updated),
                (None, None) => (entry.id, Change::Created),
            };
            entry.id = was;
            self.tell(change, name, ttl, entry);
        }
        for entry in gone.into_iter().filter(|_| exchanged.is_none()) {
            self.tell(Change::Deleted, name, before.map_or(0, |set| set.ttl), entry);
        }
    }

    fn tell(&mut self, change: Change, name: &Name, ttl: u32, entry: &Entry) {
        self.changes[change as usize] += 1;
        if self.events.len() >= RECORD_EVENTS_MAX {
            return;
        }
        let (zone, kind) = (self.zone.clone(), self.kind);
        let data = rdata::print(kind, &entry.data);
        let facts = RecordFacts { id: entry.id, name: name.clone(), kind, ttl, data };
        self.events.push(match change {
            Change::Created => ZoneEvent::RecordCreated(zone, facts),
            Change::Updated => ZoneEvent::RecordUpdated(zone, facts),
            Change::Deleted => ZoneEvent::RecordDeleted(zone, facts),
        });
    }
}

/// The entry with the same data.
fn find<'e>(records: &'e [Entry], entry: &Entry) -> Option<&'e Entry> {
    let at = records.binary_search_by(|other| other.data.cmp(&entry.data)).ok()?;
    Some(&records[at])
}

/// What can be added one by one.
fn check(kind: Kind, ttl: u32) -> Result<(), Reason> {
    match () {
        () if kind.is_meta() || kind.0 == 0 => Err(Reason::Kind),
        () if ttl > TTL_MAX => Err(Reason::Ttl),
        () => Ok(()),
    }
}

/// The data of exactly one record.
fn read_data(kind: Kind, data: &str, origin: &Name) -> Result<Box<[u8]>, Reason> {
    if data.len() > DATA_TEXT_MAX {
        return Err(Reason::TooLarge);
    }
    let line = format!(". 0 {kind} {data}");
    let mut reader = Reader::new(line.as_bytes(), Some(origin));
    let read = match reader.next_line() {
        Some(Ok(line)) if line.kind == kind => rdata::parse(kind, line.data, line.origin),
        Some(Err(fault)) => Err(fault.reason),
        _ => Err(Reason::Data),
    }?;
    if reader.next_line().is_some() { Err(Reason::Data) } else { Ok(read) }
}

/// Whether `serial` comes after `other` (RFC 1982, section 3.2).
pub(in crate::dns) fn is_ahead(serial: u32, other: u32) -> bool {
    (1..1 << 31).contains(&serial.wrapping_sub(other))
}

/// The serial after this one; never 0, which some take for none.
pub(in crate::dns) fn next_serial(serial: u32) -> u32 {
    serial.wrapping_add(1).max(1)
}

/// What a zone has that nothing was said of.
const EMPTY_ZONE: &str = "$TTL 1h\n@ SOA localhost. root.localhost. 1 1h 10m 1w 1m\n@ NS localhost.\n";
/// Events about single records that one change may make: what a screen can show, and more.
pub const RECORD_EVENTS_MAX: usize = 1_000;
/// RFC 2181, section 8.
const TTL_MAX: u32 = i32::MAX as u32;
/// The text of one record's data: 65,535 bytes as `\DDD`.
const DATA_TEXT_MAX: usize = 4 * 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 60\n@ SOA ns root 7 2 3 4 5\n@ NS ns\na A 192.0.2.1\na A 192.0.2.2\nb TXT x\n";

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn zones() -> Zones {
        let mut zones = Zones::new();
        let events = zones.apply(ZoneChange::Create { origin: name("test"), text: ZONE.to_owned() }).unwrap();
        assert_eq!(told(&events), ["zone_created test. 7 5 [5, 0, 0]"]);
        zones
    }

    fn told(events: &[ZoneEvent]) -> Vec<String> {
        let line = |event: &ZoneEvent| match event {
            ZoneEvent::ZoneCreated(facts) | ZoneEvent::ZoneUpdated(facts) | ZoneEvent::ZoneDeleted(facts) => {
                format!("{} {} {} {:?}", facts.name, facts.serial, facts.records_count, facts.changes)
            }
            ZoneEvent::RecordCreated(zone, facts)
            | ZoneEvent::RecordUpdated(zone, facts)
            | ZoneEvent::RecordDeleted(zone, facts) => {
                format!("{zone} {} {} {} {}", facts.name, facts.ttl, facts.kind, facts.data)
            }
        };
        events.iter().map(|event| format!("{} {}", event.name(), line(event))).collect()
    }

    fn reload(zones: &mut Zones, text: &str) -> Vec<String> {
        let zone = Box::new(Zone::parse(text, Some(&name("test"))).unwrap());
        told(&zones.apply(ZoneChange::Replace { zone }).unwrap())
    }

    fn id(zones: &Zones, data: &str) -> u64 {
        zones.zone(&name("test")).unwrap().records().find(|record| record.data == data).unwrap().id
    }

    fn add(zones: &mut Zones, owner: &str, kind: Kind, ttl: u32, data: &str) -> Result<Vec<String>, Reason> {
        let (zone, name, data) = (name("test"), name(owner), data.to_owned());
        zones
            .apply(ZoneChange::AddRecord { zone, name, kind, ttl, data })
            .map(|events| told(&events))
            .map_err(|fault| fault.reason)
    }

    fn exchange(zones: &mut Zones, id: u64, ttl: u32, data: &str) -> Result<Vec<String>, Reason> {
        let (zone, data) = (name("test"), data.to_owned());
        zones
            .apply(ZoneChange::ReplaceRecord { zone, id, ttl, data })
            .map(|events| told(&events))
            .map_err(|fault| fault.reason)
    }

    #[test]
    fn records_come_change_and_go_one_by_one() {
        let mut zones = zones();
        let events = add(&mut zones, "c.test", Kind::MX, 9, "5 a").unwrap();
        assert_eq!(
            events,
            ["record_created test. c.test. 9 MX 5 a.test.", "zone_updated test. 8 6 [1, 0, 0]"]
        );
        // The others of the set take over the TTL.
        let events = add(&mut zones, "a.test", Kind::A, 9, "192.0.2.3").unwrap();
        assert_eq!(
            events,
            [
                "record_updated test. a.test. 9 A 192.0.2.1",
                "record_updated test. a.test. 9 A 192.0.2.2",
                "record_created test. a.test. 9 A 192.0.2.3",
                "zone_updated test. 9 7 [1, 2, 0]",
            ]
        );
        let record = id(&zones, "192.0.2.2");
        let events = exchange(&mut zones, record, 9, "192.0.2.9").unwrap();
        assert_eq!(
            events,
            ["record_updated test. a.test. 9 A 192.0.2.9", "zone_updated test. 10 7 [0, 1, 0]"]
        );
        assert_eq!(id(&zones, "192.0.2.9"), record);
        assert_eq!(exchange(&mut zones, record, 9, "192.0.2.9"), Ok(vec![]));
        let change = ZoneChange::RemoveRecord { zone: name("test"), id: record };
        let events = told(&zones.apply(change.clone()).unwrap());
        assert_eq!(
            events,
            ["record_deleted test. a.test. 9 A 192.0.2.9", "zone_updated test. 11 6 [0, 0, 1]"]
        );
        assert_eq!(zones.apply(change).unwrap_err().reason, Reason::NoRecord);
        let events = told(&zones.apply(ZoneChange::Delete { origin: name("test") }).unwrap());
        assert_eq!(events, ["zone_deleted test. 11 6 [0, 0, 6]"]);
    }

    #[test]
    fn what_cannot_be_changes_nothing() {
        let mut zones = zones();
        let before = zones.zone(&name("test")).unwrap().clone();
        let soa = id(&zones, "ns.test. root.test. 7 2 3 4 5");
        let ns = id(&zones, "ns.test.");
        let text = id(&zones, "\"x\"");
        let remove = |id| ZoneChange::RemoveRecord { zone: name("test"), id };
        assert_eq!(zones.apply(remove(soa)).unwrap_err().reason, Reason::Needed);
        assert_eq!(zones.apply(remove(ns)).unwrap_err().reason, Reason::Needed);
        assert_eq!(add(&mut zones, "a.test", Kind::CNAME, 9, "b"), Err(Reason::CnameAndOther));
        assert_eq!(add(&mut zones, "a.else", Kind::A, 9, "1.1.1.1"), Err(Reason::OutOfZone));
        assert_eq!(add(&mut zones, "a.test", Kind::A, 9, "192.0.2.1"), Err(Reason::RecordExists));
        assert_eq!(add(&mut zones, "a.test", Kind::A, 9, "1.1.1.1\nx A 1.1.1.1"), Err(Reason::Data));
        assert_eq!(add(&mut zones, "a.test", Kind::ANY, 9, "1.1.1.1"), Err(Reason::Kind));
        assert_eq!(add(&mut zones, "a.test", Kind::A, 1 << 31, "1.1.1.1"), Err(Reason::Ttl));
        assert_eq!(exchange(&mut zones, text, 9, "\"a"), Err(Reason::Quote));
        let a = id(&zones, "192.0.2.1");
        assert_eq!(exchange(&mut zones, a, 9, "192.0.2.2"), Err(Reason::RecordExists));
        let create = ZoneChange::Create { origin: name("test"), text: String::new() };
        assert_eq!(zones.apply(create).unwrap_err().reason, Reason::ZoneExists);
        let delete = ZoneChange::Delete { origin: name("else") };
        assert_eq!(zones.apply(delete).unwrap_err().reason, Reason::NoZone);
        assert!(*zones.zone(&name("test")).unwrap() == before);
    }

    #[test]
    fn the_serial_never_goes_back() {
        let mut zones = zones();
        assert_eq!(reload(&mut zones, ZONE), Vec::<String>::new());
        assert_eq!(reload(&mut zones, &ZONE.replace("root 7", "root 6")), Vec::<String>::new());
        assert_eq!(zones.zone(&name("test")).unwrap().serial(), 7);
        assert_eq!(
            reload(&mut zones, &ZONE.replace("root 7", "root 20")),
            ["zone_updated test. 20 5 [0, 0, 0]"]
        );
        let events = reload(&mut zones, &ZONE.replace("TXT x", "TXT y"));
        assert_eq!(
            events,
            ["record_updated test. b.test. 60 TXT \"y\"", "zone_updated test. 21 5 [0, 1, 0]"]
        );
        let soa = id(&zones, "ns.test. root.test. 21 2 3 4 5");
        let events = exchange(&mut zones, soa, 60, "ns root 5 2 3 4 9").unwrap();
        assert_eq!(
            events,
            [
                "record_updated test. test. 60 SOA ns.test. root.test. 22 2 3 4 9",
                "zone_updated test. 22 5 [0, 1, 0]"
            ]
        );
        assert_eq!((is_ahead(1, u32::MAX), is_ahead(0, 1 << 31), is_ahead(3, 3)), (true, false, false));
        assert_eq!((next_serial(u32::MAX), next_serial(5)), (1, 6));
    }

    #[test]
    fn a_reload_tells_what_differs_and_keeps_ids() {
        let mut zones = zones();
        let (kept, changed) = (id(&zones, "192.0.2.1"), id(&zones, "\"x\""));
        exchange(&mut zones, changed, 60, "z").unwrap();
        let text =
            ZONE.replace("TXT x", "TXT z").replace("A 192.0.2.2", "AAAA ::1").replace("root 7", "root 8");
        let events = reload(&mut zones, &text);
        assert_eq!(
            events,
            [
                "record_deleted test. a.test. 60 A 192.0.2.2",
                "record_created test. a.test. 60 AAAA ::1",
                "zone_updated test. 9 5 [1, 0, 1]"
            ]
        );
        assert_eq!((id(&zones, "192.0.2.1"), id(&zones, "\"z\"")), (kept, changed));
    }

    #[test]
    fn a_zone_of_which_nothing_was_said_answers() {
        let mut zones = Zones::new();
        zones.apply(ZoneChange::Create { origin: name("new.test"), text: " \n".to_owned() }).unwrap();
        assert_eq!(zones.iter().map(Zone::records_count).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn only_so_many_events_are_told() {
        let mut zones = zones();
        let more: String = (0..2_000).map(|nth| format!("n{nth} A 192.0.2.1\n")).collect();
        let events = reload(&mut zones, &(ZONE.to_owned() + &more));
        assert_eq!(events.len(), RECORD_EVENTS_MAX + 1);
        assert_eq!(events.last().unwrap(), "zone_updated test. 8 2005 [2000, 0, 0]");
    }
}
