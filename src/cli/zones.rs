//! Zone files and policy lists: read here, off the loop, at the start and whenever they change.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

use super::failure::Failure;
use super::units::human_count;
use crate::dns::keeper::{ListFile, ZoneFiles};
use crate::dns::policy::List;
use crate::dns::zones::FileZone;
use crate::engine::io::Command;
use crate::reactor::Handle;

/// What the settings name: zone files, and lists as files or URLs, each in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Zone files.
    pub zones: Vec<String>,
    /// Policy lists.
    pub lists: Vec<String>,
    /// Percent of its rules that a list may lose at once.
    pub shrink_percent_max: u8,
}

/// What is used of it, and how the files were when they were read. Whoever reads holds the lock, so
/// that what was read later is also handed in later.
#[derive(Clone, Default)]
pub struct Reading(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    named: Named,
    /// When a list's file was changed, and how long it was.
    lists: BTreeMap<String, Option<(SystemTime, u64)>>,
}

impl Reading {
    /// Reads everything for the start. A zone that cannot be read is fatal; a list that cannot is left
    /// out, and read when its file changes.
    pub fn start(named: Named) -> Result<(Self, ZoneFiles, Vec<ListFile>), Failure> {
        let mut state = State { named, ..State::default() };
        let (zones, faults) = read_zones(&state.named.zones);
        let (lists, more) = state.read_lists(true);
        for fault in more {
            log::error!("{fault}; the start goes on without this list");
        }
        match faults.into_iter().next() {
            Some(fault) => Err(Failure::failed(fault)),
            None => Ok((Self(Arc::new(Mutex::new(state))), zones, lists)),
        }
    }

    /// Reads everything again and hands it in. Of what cannot be read, what is in use stays.
    pub fn again(&self, named: Named, handle: &Handle) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.named = named;
        let (zones, faults) = read_zones(&state.named.zones);
        let (lists, more) = state.read_lists(true);
        for fault in faults.into_iter().chain(more) {
            log::error!("{fault}; what was read of it before stays in use");
        }
        let sent = handle
            .send(Command::SetZones(Box::new(zones)))
            .and_then(|()| handle.send(Command::SetLists(lists)))
            .and_then(|()| handle.send(Command::Reloaded));
        if sent.is_err() {
            log::error!("zones and lists are not reloaded: the engine is too busy; try again");
        }
    }

    /// Reads the lists whose files have changed, and hands all in if there is one.
    fn look(&self, handle: &Handle) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.lists.iter().any(|(file, known)| changed(file) != *known) {
            return;
        }
        let (lists, faults) = state.read_lists(false);
        for fault in faults {
            log::error!("{fault}; what was read of it before stays in use");
        }
        if handle.send(Command::SetLists(lists)).is_err() {
            // Looked at again next time.
            state.lists.values_mut().for_each(|known| *known = None);
        }
    }
}

impl State {
    /// The lists of the settings: read all of them, or only those whose files have changed.
    fn read_lists(&mut self, all: bool) -> (Vec<ListFile>, Vec<String>) {
        let (mut lists, mut faults) = (Vec::new(), Vec::new());
        let before = std::mem::take(&mut self.lists);
        for name in &self.named.lists {
            if lists.iter().any(|list: &ListFile| *list.name == **name) {
                continue;
            }
            let is_download = is_url(name);
            let mut list = None;
            if !is_download {
                let now = changed(name);
                if all || before.get(name) != Some(&now) {
                    match read_list(name) {
                        Ok(read) => list = Some(Arc::new(read)),
                        Err(fault) => faults.push(fault),
                    }
                }
                self.lists.insert(name.clone(), now);
            }
            let shrink_percent_max = self.named.shrink_percent_max;
            lists.push(ListFile { name: name.as_str().into(), list, is_download, shrink_percent_max });
        }
        (lists, faults)
    }
}

/// Looks now and then whether lists have changed. Dropping it ends that.
pub struct FollowLists {
    _stop: SyncSender<()>,
}

impl FollowLists {
    /// Begins with a pause.
    pub fn spawn(reading: Reading, handle: Handle) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let work = move || follow(&reading, &handle, &stopped);
        Builder::new().name("lists".into()).spawn(work)?;
        Ok(Self { _stop: stop })
    }
}

fn follow(reading: &Reading, handle: &Handle, stopped: &Receiver<()>) {
    while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        reading.look(handle);
    }
}

/// It is to be fetched, not opened.
pub fn is_url(name: &str) -> bool {
    let starts = |start: &str| name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    starts("http://") || starts("https://")
}

/// Zones of these files, and why some are none.
fn read_zones(files: &[String]) -> (ZoneFiles, Vec<String>) {
    let (mut read, mut faults) = (ZoneFiles::default(), Vec::new());
    for file in files {
        match read_zone(file) {
            Ok(zone) => match read.zones.iter().find(|other| other.zone.origin() == zone.zone.origin()) {
                Some(other) if *other.file == **file => {}
                Some(other) => {
                    faults.push(format!(
                        "{file} and {} both hold the zone {}; name one of them",
                        other.file,
                        zone.zone.origin()
                    ));
                    read.unread.push(file.as_str().into());
                }
                None => read.zones.push(zone),
            },
            Err(fault) => {
                faults.push(fault);
                read.unread.push(file.as_str().into());
            }
        }
    }
    (read, faults)
}

fn read_zone(file: &str) -> Result<FileZone, String> {
    let text = read(file, ZONE_BYTES_MAX)?;
    let zone = FileZone::parse(file, &text).map_err(|fault| match fault.line {
        0 => format!("{file}: {}", fault.reason),
        line => format!("{file}, line {line}: {}", fault.reason),
    })?;
    log::info!(
        "{file}: zone {}, {} records, serial {}",
        zone.zone.origin(),
        human_count(zone.zone.records_count() as u64),
        zone.zone.serial()
    );
    Ok(zone)
}

fn read_list(file: &str) -> Result<List, String> {
    let text = read(file, LIST_BYTES_MAX)?;
    let list = List::parse(file, &text).map_err(|fault| format!("{file}: {fault}"))?;
    log::info!("{}", list.summary());
    Ok(list)
}

fn read(file: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let opened = File::open(file).and_then(|opened| opened.take(bytes_max + 1).read_to_end(&mut text));
    opened.map_err(|fault| format!("cannot read {file}: {fault}"))?;
    if text.len() as u64 > bytes_max {
        return Err(format!("{file} is larger than {} MiB", bytes_max >> 20));
    }
    Ok(text)
}

/// When a file was changed, and how long it is.
fn changed(file: &str) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// As much as a zone may have.
const ZONE_BYTES_MAX: u64 = 128_000_000;
/// As much as a list may have.
const LIST_BYTES_MAX: u64 = 250_000_000;
/// Programs that fetch lists do so hourly at most; people look whether it worked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
