//! Zones: those of commands, which are kept, and those of files, which belong to their files.

use super::work::{Content, LastSerial};
use super::*;

impl Dns {
    pub(super) fn change_zone(&mut self, user: u64, change: ZoneChange) {
        let origin = change.origin().clone();
        if let Some(facts) = self.keeper.files.get(origin.wire()) {
            return self.keeper.refuse(user, Refusal::OfFile(facts.file.clone()));
        }
        let is_there = self.zones.zone(&origin).is_some();
        let new = match change {
            ZoneChange::Create { .. } if is_there => {
                return self.keeper.refuse(user, Refusal::zone(Reason::ZoneExists));
            }
            ZoneChange::Create { text, .. } => Content::Created(origin.clone(), text),
            ZoneChange::Replace { zone } => Content::Zone(Arc::new(*zone)),
            _ if !is_there => return self.keeper.refuse(user, Refusal::zone(Reason::NoZone)),
            ZoneChange::Rewrite { text, .. } => Content::Text(origin.clone(), text),
            ZoneChange::Delete { .. } => return self.delete_zone(user, &origin),
            change => return self.find_record(user, change),
        };
        let old = self.zones.zone(&origin).cloned();
        let last = self.last_serial(&origin, NO_FILE).filter(|_| old.is_none());
        self.keeper.work(Busy::Zone(user, origin), Job::Renew { new, old, last, keep: true });
    }

    /// A zone of a command is ready.
    pub(super) fn zone_renewed(&mut self, user: u64, origin: &Name, renewed: Result<Renewed, ZoneFault>) {
        let Renewed { zone, events, saved } = match renewed {
            Ok(renewed) => renewed,
            Err(fault) => return self.keeper.refuse(user, Refusal::Zone(fault)),
        };
        let before = self.zones.zone(origin).map(|old| old.records_count());
        let records = self.keeper.records - before.unwrap_or(0) + zone.records_count();
        if records > RECORDS_MAX || before.is_none() && self.zones.is_full() {
            self.keeper.discard_zone(zone);
            return self.keeper.refuse(user, Refusal::zone(Reason::TooLarge));
        }
        self.keeper.records = records;
        self.exchange_zone(zone);
        self.keeper.tell(&events);
        // Without an event it is what was kept already.
        let keep = saved.filter(|_| !events.is_empty()).map(LocalOp::Zone);
        self.keeper.answer(user, Said::Zone(events), keep);
    }

    fn delete_zone(&mut self, user: u64, origin: &Name) {
        let Some(zone) = self.take_zone(origin) else { return };
        let events = vec![ZoneEvent::ZoneDeleted(ZoneFacts::of(&zone, [0, 0, zone.records_count()]))];
        self.keeper.records -= zone.records_count();
        // If it is ever made again, nobody who knew it shall think that it is the older one.
        self.keep_serial(origin, zone.serial(), NO_FILE);
        self.keeper.discard_zone(zone);
        self.keeper.tell(&events);
        self.keeper.answer(user, Said::Zone(events), Some(LocalOp::ZoneGone(origin.wire().into())));
    }

    /// Finds the record that is to be changed, elsewhere if there are many.
    fn find_record(&mut self, user: u64, change: ZoneChange) {
        let id = match &change {
            ZoneChange::ReplaceRecord { id, .. } | ZoneChange::RemoveRecord { id, .. } => *id,
            _ => return self.change_record(user, change, None),
        };
        let Some(zone) = self.zones.zone(change.origin()) else { return };
        if zone.records_count() > SEARCHED_MAX {
            let job = Job::Find { zone: zone.clone(), id };
            return self.keeper.work(Busy::Find(user, change), job);
        }
        match zone.find(id) {
            Some(found) => self.change_record(user, change, Some(found)),
            None => self.keeper.refuse(user, Refusal::zone(Reason::NoRecord)),
        }
    }

    pub(super) fn change_record(&mut self, user: u64, change: ZoneChange, at: Option<(Name, Kind)>) {
        let origin = change.origin().clone();
        let is_more = matches!(change, ZoneChange::AddRecord { .. });
        if is_more && self.keeper.records >= RECORDS_MAX {
            return self.keeper.refuse(user, Refusal::zone(Reason::TooLarge));
        }
        let count = |dns: &Self| dns.zones.zone(&origin).map_or(0, |zone| zone.records_count());
        let before = count(self);
        let events = match self.zones.apply_at(change, at) {
            Ok(events) => events,
            Err(fault) => return self.keeper.refuse(user, Refusal::Zone(fault)),
        };
        self.keeper.records = self.keeper.records - before + count(self);
        self.keeper.tell(&events);
        let keep = self.touched(&origin, &events).map(|sets| LocalOp::Sets(origin.wire().into(), sets));
        self.keeper.answer(user, Said::Zone(events), keep);
    }

    /// The sets that are not as they were, the SOA with its serial among them.
    fn touched(&self, origin: &Name, events: &[ZoneEvent]) -> Option<Vec<crate::model::dns::SavedSet>> {
        let zone = self.zones.zone(origin).filter(|_| !events.is_empty())?;
        let facts = events.iter().filter_map(|event| match event {
            ZoneEvent::RecordCreated(_, facts)
            | ZoneEvent::RecordUpdated(_, facts)
            | ZoneEvent::RecordDeleted(_, facts) => Some((&facts.name, facts.kind)),
            ZoneEvent::ZoneCreated(_) | ZoneEvent::ZoneUpdated(_) | ZoneEvent::ZoneDeleted(_) => None,
        });
        // All of them are of one set.
        let mut facts = facts;
        let set = facts.next_back().filter(|set| *set != (origin, Kind::SOA));
        let sets = set.into_iter().chain([(origin, Kind::SOA)]);
        Some(sets.map(|(name, kind)| zone.saved_set(name, kind)).collect())
    }

    pub(super) fn list_zones<'z>(&self, zones: impl Iterator<Item = &'z Zone>) -> Vec<ZoneListing> {
        let listed = zones.map(|zone| ZoneListing {
            facts: ZoneFacts::of(zone, [0; 3]),
            file: self.keeper.files.get(zone.origin().wire()).map(|facts| facts.file.clone()),
        });
        listed.collect()
    }

    pub(super) fn take_file(&mut self, read: FileZone) {
        let FileZone { file, digest, mut zone } = read;
        let origin = zone.origin().clone();
        let known = self.keeper.files.get_mut(origin.wire());
        let (is_file, is_same) =
            (known.is_some(), known.as_ref().is_some_and(|known| known.digest == digest));
        if let Some(known) = known.filter(|_| is_same) {
            known.file = file;
            return self.keeper.discard_zone(zone);
        }
        let facts = FileFacts { file, digest };
        // What is served of a file is not behind what was served of it before.
        let last = self.last_serial(&origin, digest).filter(|_| !is_file);
        let Some(old) = self.zones.zone(&origin).cloned() else {
            if let Some(last) = last {
                last.settle(Arc::make_mut(&mut zone));
            }
            let events = vec![ZoneEvent::ZoneCreated(ZoneFacts::of(&zone, [zone.records_count(), 0, 0]))];
            return self.serve_file(&origin, facts, zone, &events);
        };
        if !is_file {
            let file = &facts.file;
            log::warn!(
                "the zone {origin} is served from {file}; the one that commands made waits until no file has it"
            );
            self.keeper.aside.insert(origin.wire().into(), old.clone());
        }
        let job = Job::Renew { new: Content::Zone(zone), old: Some(old), last, keep: false };
        self.keeper.work(Busy::File(origin, facts), job);
    }

    pub(super) fn file_renewed(&mut self, origin: &Name, facts: FileFacts, renewed: Renewed) {
        self.serve_file(origin, facts, renewed.zone, &renewed.events);
    }

    fn serve_file(&mut self, origin: &Name, facts: FileFacts, zone: Arc<Zone>, events: &[ZoneEvent]) {
        self.keep_serial(origin, zone.serial(), facts.digest);
        if self.zones.zone(origin).is_none() && self.zones.is_full() {
            log::error!("the zone {origin} of {} is not served: there are too many", facts.file);
            return self.keeper.discard_zone(zone);
        }
        self.exchange_zone(zone);
        self.keeper.files.insert(origin.wire().into(), facts);
        self.keeper.tell(events);
    }

    /// Zones of files that are no longer named go, those that stood back for them come back.
    pub(super) fn end_files(&mut self, names: BTreeSet<Box<[u8]>>, unread: Vec<Arc<str>>) {
        let mut files = self.keeper.files.iter();
        let over = files.find(|(origin, facts)| !names.contains(*origin) && !unread.contains(&facts.file));
        let Some(origin) = over.map(|(origin, _)| origin.clone()) else { return };
        self.keeper.files.remove(&origin);
        let own = self.keeper.aside.remove(&origin);
        self.keeper.queue.push_front(Wish::FilesEnd(names, unread));
        let Some(name) = Name::from_wire(&origin) else { return };
        if let (Some(own), Some(old)) = (own, self.zones.zone(&name).cloned()) {
            let job = Job::Renew { new: Content::Zone(own), old: Some(old), last: None, keep: true };
            return self.keeper.work(Busy::Back(name), job);
        }
        if let Some(zone) = self.take_zone(&name) {
            self.keeper.tell(&[ZoneEvent::ZoneDeleted(ZoneFacts::of(&zone, [0, 0, zone.records_count()]))]);
            self.keeper.discard_zone(zone);
        }
    }

    pub(super) fn zone_back(&mut self, origin: &Name, renewed: Renewed) {
        let Renewed { zone, events, saved } = renewed;
        log::info!("the zone {origin} is served again as commands made it");
        self.exchange_zone(zone);
        self.keeper.tell(&events);
        saved.into_iter().for_each(|saved| self.keeper.keep(LocalOp::Zone(saved)));
    }

    pub(super) fn save_again(&mut self, origin: &Name) {
        let is_file = self.keeper.files.contains_key(origin.wire());
        let own = if is_file { self.keeper.aside.get(origin.wire()) } else { self.zones.zone(origin) };
        match own.cloned() {
            Some(zone) => self.keeper.work(Busy::Save, Job::Save(zone)),
            None => self.keeper.keep(LocalOp::ZoneGone(origin.wire().into())),
        }
    }

    fn exchange_zone(&mut self, zone: Arc<Zone>) {
        match self.put_zone(zone) {
            Ok(old) => old.into_iter().for_each(|old| self.keeper.discard_zone(old)),
            Err(_) => debug_assert!(false, "whoever serves a zone sees to it that there is room"),
        }
    }

    /// What was served last under this name, for a zone that comes from a text with this digest.
    fn last_serial(&self, origin: &Name, digest: [u8; 32]) -> Option<LastSerial> {
        let last = self.keeper.serials.get(origin.wire())?;
        let is_same = last.digest == digest && digest != NO_FILE;
        Some(LastSerial { serial: last.serial, is_same })
    }

    fn keep_serial(&mut self, origin: &Name, serial: u32, digest: [u8; 32]) {
        let saved = SavedSerial { origin: origin.wire().into(), serial, digest };
        let known = self.keeper.serials.insert(saved.origin.clone(), saved.clone());
        if known.as_ref() != Some(&saved) {
            self.keeper.keep(LocalOp::Serial(saved));
        }
    }
}

/// Where a serial's text is no file's.
const NO_FILE: [u8; 32] = [0; 32];
/// Records of all zones of commands together: four of the largest.
const RECORDS_MAX: usize = 4_000_000;
/// A search of this many records takes some 50 microseconds.
const SEARCHED_MAX: usize = 2_000;
