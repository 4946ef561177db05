//! What is changed of local zones and policy lists while they are served: by commands, by files that
//! are read again, by downloads.
//!
//! Everything waits in one queue and is done in its order. What takes long (parsing, comparing,
//! searching, dropping) is a [`Job`] for another thread; while one is under way nothing else is
//! begun, so that nobody changes what is being read. What is served is exchanged as a whole.

mod lists;
#[cfg(test)]
mod tests;
mod work;
mod zones;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::Dns;
use super::policy::{List, Override, PolicyFault, Report, RpzUpdate};
use super::zones::{FileZone, Reason, RecordFacts, Zone, ZoneChange, ZoneEvent, ZoneFacts, ZoneFault};
use crate::base::{Instant, UnixTime};
use crate::model::dns::{LocalOp, SavedLocal, SavedSerial};
use crate::wire::dns::{Kind, Name};

pub use lists::{Fetched, REFRESH_SECS};
pub use work::{Job, Worked};

use lists::{Lists, Origin};
use work::Renewed;

/// The time as both clocks show it.
pub type At = (Instant, UnixTime);

/// What somebody wants to know or to have changed.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "few at a time: somebody typed each")]
pub enum Ask {
    /// Another zone, or other records.
    Zone(ZoneChange),
    /// Zones by name, those after `after`, at most so many, and no more than [`PAGE_MAX`].
    Zones {
        /// The last one of the page before.
        after: Option<Name>,
        /// How many.
        limit: usize,
    },
    /// Records of a zone in canonical order.
    Records {
        /// Which zone.
        zone: Name,
        /// How many to pass over.
        skip: usize,
        /// How many then, no more than [`PAGE_MAX`].
        limit: usize,
    },
    /// Other lists, or something else done about them.
    Policy(PolicyChange),
    /// All lists, and which names are let through.
    Lists,
}

/// Something to be done with policy.
#[derive(Clone, Debug)]
pub enum PolicyChange {
    /// A new list after all others, or another text for one that came this way.
    Put {
        /// What it is called.
        name: String,
        /// The list, in any known format.
        text: Bytes,
    },
    /// No longer a list that came this way.
    Remove {
        /// What it is called.
        name: String,
    },
    /// What is done about a list's rules.
    Override {
        /// What the list is called.
        name: String,
        /// What is done.
        action: Override,
    },
    /// Lets a name and all below it through for a while.
    Allow {
        /// The name.
        name: Name,
        /// For how long; at most a year.
        secs: u64,
    },
    /// No longer lets a name through.
    Forbid {
        /// The name.
        name: Name,
    },
}

/// What an [`Ask`] came to.
#[derive(Clone, Debug)]
pub enum Said {
    /// The change is made and kept.
    Done,
    /// The same, and this is what it did to zones; nothing, if all was so already.
    Zone(Vec<ZoneEvent>),
    /// A page of zones.
    Zones(Vec<ZoneListing>),
    /// A page of records.
    Records(RecordsPage),
    /// A list was taken up and kept.
    List(RpzUpdate),
    /// All lists in their order, and names that are let through with the seconds for which they are.
    Lists(Vec<ListListing>, Vec<(Name, u64)>),
}

/// A zone as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneListing {
    /// What it is.
    pub facts: ZoneFacts,
    /// The file that it belongs to; only a change of that changes it.
    pub file: Option<Arc<str>>,
}

/// Records of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsPage {
    /// The zone's serial.
    pub serial: u32,
    /// How many records the zone has.
    pub total: usize,
    /// Those of this page.
    pub records: Vec<RecordFacts>,
}

/// A policy list as it is listed.
#[derive(Clone, Debug)]
pub struct ListListing {
    /// What it is called.
    pub name: String,
    /// Who it comes from.
    pub source: ListSource,
    /// How many rules it has.
    pub rules: usize,
    /// How often one of them matched.
    pub hits: u64,
    /// What is done about them.
    pub action: Override,
    /// What of it could not be read.
    pub report: Report,
}

/// Who a list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// A command.
    Command,
    /// A URL among the settings.
    Download,
    /// A file among the settings.
    File,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too much waits already.
    Busy,
    /// A list's text is none.
    List(PolicyFault),
    /// A list's name is empty or longer than 255 bytes.
    ListName,
    /// There is no such list.
    NoList,
    /// It is done, but the archive could not keep it.
    NotKept,
    /// The list belongs to the settings.
    OfSettings,
    /// The zone belongs to this file.
    OfFile(Arc<str>),
    /// There are as many lists, or names let through, as there may be.
    TooMany,
    /// The change of a zone cannot be made.
    Zone(ZoneFault),
}

/// What is for others to do, and what they are told.
#[derive(Debug)]
pub enum Told {
    /// To be done on another thread.
    Work(Box<Job>),
    /// To be kept.
    Keep(LocalOp),
    /// An answer to who asked; if something is to be kept, for when that is durable.
    Answer(u64, Box<Result<Said, Refusal>>, Option<Box<LocalOp>>),
    /// A zone or a record was changed.
    Zone(Box<ZoneEvent>),
    /// A list was changed.
    Policy(Box<RpzUpdate>),
    /// All that was handed in before [`Dns::mark_reload`] is done: so many zones, so many lists.
    Reloaded(usize, usize),
}

/// All zones of files, as they were read.
#[derive(Clone, Debug, Default)]
pub struct ZoneFiles {
    /// Those that could be read.
    pub zones: Vec<FileZone>,
    /// Files that could not: what is served of them stays.
    pub unread: Vec<Arc<str>>,
}

/// A list among the settings.
#[derive(Clone, Debug)]
pub struct ListFile {
    /// What it is called: the file or URL as it was given.
    pub name: Arc<str>,
    /// What was read; `None` if it is to stay as it is, or comes by download.
    pub list: Option<Arc<List>>,
    /// It is a URL.
    pub is_download: bool,
    /// A text with which it would lose more percent of its rules at once is not taken up.
    pub shrink_percent_max: u8,
}

/// The machine's state; what it does is done by [`Dns`], which has the zones and the policy.
#[derive(Default)]
pub struct Keeper {
    queue: VecDeque<Wish>,
    busy: Option<Busy>,
    out: VecDeque<Told>,
    /// Zones that belong to files, by name.
    files: BTreeMap<Box<[u8]>, FileFacts>,
    /// Zones of commands in whose place a file's is served.
    aside: BTreeMap<Box<[u8]>, Arc<Zone>>,
    /// What was served last, of files and of zones that are gone.
    serials: BTreeMap<Box<[u8]>, SavedSerial>,
    /// Records of all zones of commands.
    records: usize,
    lists: Lists,
}

struct FileFacts {
    file: Arc<str>,
    digest: [u8; 32],
}

/// What waits for its turn.
#[expect(clippy::large_enum_variant, reason = "the large ones are what somebody asked for")]
enum Wish {
    Ask(u64, Ask),
    File(FileZone),
    /// The names of all zones that files have, and files that could not be read.
    FilesEnd(BTreeSet<Box<[u8]>>, Vec<Arc<str>>),
    /// The archive lost something of a zone.
    Save(Name),
    /// A list of a file, and the percent of its rules that it may lose.
    List(Arc<List>, u8),
    /// All lists among the settings.
    ListsEnd(Vec<ListFile>),
    Downloaded(Arc<str>, Bytes, Option<String>),
    Reloaded,
}

/// What the job under way is for.
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Busy {
    /// A zone of a command, created or changed as a whole.
    Zone(u64, Name),
    /// A zone of a file.
    File(Name, FileFacts),
    /// A command's zone that is served again because no file has one of its name any more.
    Back(Name),
    Find(u64, ZoneChange),
    Records(u64),
    Save,
    List(Origin),
}

impl Dns {
    /// Takes up what was kept. For the start: parses lists, so that it takes its time.
    pub fn restore_local(&mut self, saved: SavedLocal, at: At) {
        for zone in &saved.zones {
            let Some(zone) = Zone::restore(zone) else {
                log::error!("a zone in the archive cannot be read, and is not served");
                continue;
            };
            self.keeper.records += zone.records_count();
            if self.put_zone(Arc::new(zone)).is_err() {
                log::error!("there are more zones in the archive than can be served");
            }
        }
        self.keeper.serials = saved.serials.into_iter().map(|saved| (saved.origin.clone(), saved)).collect();
        self.restore_lists(saved.lists, saved.overrides);
        for (name, until) in saved.allowed {
            let left = std::time::Duration::from_secs(until.0.saturating_sub(at.1.0));
            if let Some(name) = Name::from_wire(&name).filter(|_| !left.is_zero()) {
                // As many as were let through before have room.
                let _ = self.policy.allow(at.0, &name, at.0 + left);
            }
        }
    }

    /// Somebody wants something; the answer is [`Told::Answer`] with this `user`.
    pub fn on_ask(&mut self, at: At, user: u64, ask: Ask) {
        if self.keeper.queue.len() >= QUEUE_MAX {
            return self.keeper.refuse(user, Refusal::Busy);
        }
        self.keeper.queue.push_back(Wish::Ask(user, ask));
        self.pump(at);
    }

    /// What files have now, in place of all that they had before. False if too much waits already.
    pub fn set_zones(&mut self, at: At, read: ZoneFiles) -> bool {
        if !self.keeper.has_room(|wish| matches!(wish, Wish::FilesEnd(..))) {
            read.zones.into_iter().for_each(|read| self.keeper.discard_zone(read.zone));
            return false;
        }
        let names = read.zones.iter().map(|read| read.zone.origin().wire().into()).collect();
        self.keeper.queue.extend(read.zones.into_iter().map(Wish::File));
        self.keeper.queue.push_back(Wish::FilesEnd(names, read.unread));
        self.pump(at);
        true
    }

    /// The lists among the settings, in their order, in place of those before. False if too much
    /// waits already.
    pub fn set_lists(&mut self, at: At, lists: Vec<ListFile>) -> bool {
        if !self.keeper.has_room(|wish| matches!(wish, Wish::ListsEnd(_))) {
            lists.into_iter().filter_map(|file| file.list).for_each(|list| self.keeper.discard_list(list));
            return false;
        }
        let names = lists.iter().map(|file| ListFile { list: None, ..file.clone() }).collect();
        let read = lists.into_iter().filter_map(|file| Some(Wish::List(file.list?, file.shrink_percent_max)));
        self.keeper.queue.extend(read);
        self.keeper.queue.push_back(Wish::ListsEnd(names));
        self.pump(at);
        true
    }

    /// Wants to be told when all that was handed in so far is done.
    pub fn mark_reload(&mut self, at: At) {
        if self.keeper.has_room(|wish| matches!(wish, Wish::Reloaded)) {
            self.keeper.queue.push_back(Wish::Reloaded);
            self.pump(at);
        }
    }

    /// A job is done.
    pub fn on_local_worked(&mut self, at: At, worked: Worked) {
        let busy = match worked {
            Worked::Dropped => return,
            _ => self.keeper.busy.take(),
        };
        match (busy, worked) {
            (Some(Busy::Zone(user, origin)), Worked::Renewed(renewed)) => {
                self.zone_renewed(user, &origin, renewed);
            }
            (Some(Busy::File(origin, facts)), Worked::Renewed(Ok(renewed))) => {
                self.file_renewed(&origin, facts, renewed);
            }
            (Some(Busy::Back(origin)), Worked::Renewed(Ok(renewed))) => self.zone_back(&origin, renewed),
            (Some(Busy::Find(user, change)), Worked::Found(found)) => match found {
                Some(found) => self.change_record(user, change, Some(found)),
                None => self.keeper.refuse(user, Refusal::zone(Reason::NoRecord)),
            },
            (Some(Busy::Records(user)), Worked::Records(page)) => {
                self.keeper.answer(user, Said::Records(page), None);
            }
            (Some(Busy::Save), Worked::Saved(zone)) => {
                self.keeper.out.push_back(Told::Keep(LocalOp::Zone(zone)));
            }
            (Some(Busy::List(origin)), Worked::List(read)) => self.list_read(at, origin, read),
            (busy, _) => debug_assert!(busy.is_none(), "a job ends as it began"),
        }
        self.pump(at);
    }

    /// The archive has lost an operation on the zone of this name in wire form.
    pub fn on_not_kept(&mut self, at: At, origin: &[u8]) {
        let Some(origin) = Name::from_wire(origin) else { return };
        let waits = |wish: &Wish| matches!(wish, Wish::Save(waiting) if *waiting == origin);
        if !self.keeper.queue.iter().any(waits) {
            self.keeper.queue.push_back(Wish::Save(origin));
            self.pump(at);
        }
    }

    /// What is to be done or told next.
    pub fn poll_local(&mut self) -> Option<Told> {
        self.keeper.out.pop_front()
    }

    fn pump(&mut self, at: At) {
        while self.keeper.busy.is_none() {
            let Some(wish) = self.keeper.queue.pop_front() else { return };
            match wish {
                Wish::Ask(user, ask) => self.begin_ask(at, user, ask),
                Wish::File(read) => self.take_file(read),
                Wish::FilesEnd(names, unread) => self.end_files(names, unread),
                Wish::Save(origin) => self.save_again(&origin),
                Wish::List(list, shrink_percent_max) => self.take_list(list, shrink_percent_max),
                Wish::ListsEnd(names) => self.end_lists(at, names),
                Wish::Downloaded(name, text, etag) => self.take_download(name, text, etag),
                Wish::Reloaded => {
                    let told = Told::Reloaded(self.zones.len(), self.policy.lists().count());
                    self.keeper.out.push_back(told);
                }
            }
        }
    }

    fn begin_ask(&mut self, at: At, user: u64, ask: Ask) {
        match ask {
            Ask::Zone(change) => self.change_zone(user, change),
            Ask::Zones { after, limit } => {
                let limit = limit.min(PAGE_MAX);
                let listed = match &after {
                    Some(after) => self.list_zones(self.zones.after(after).take(limit)),
                    None => self.list_zones(self.zones.iter().take(limit)),
                };
                self.keeper.answer(user, Said::Zones(listed), None);
            }
            Ask::Records { zone, skip, limit } => match self.zones.zone(&zone) {
                Some(zone) => {
                    let job = Job::Records { zone: zone.clone(), skip, limit: limit.min(PAGE_MAX) };
                    self.keeper.work(Busy::Records(user), job);
                }
                None => self.keeper.refuse(user, Refusal::zone(Reason::NoZone)),
            },
            Ask::Policy(change) => self.change_policy(at, user, change),
            Ask::Lists => {
                let said = self.list_policy(at.0);
                self.keeper.answer(user, said, None);
            }
        }
    }
}

impl Keeper {
    fn work(&mut self, busy: Busy, job: Job) {
        self.busy = Some(busy);
        self.out.push_back(Told::Work(Box::new(job)));
    }

    fn answer(&mut self, user: u64, said: Said, keep: Option<LocalOp>) {
        self.out.push_back(Told::Answer(user, Box::new(Ok(said)), keep.map(Box::new)));
    }

    fn refuse(&mut self, user: u64, refusal: Refusal) {
        self.out.push_back(Told::Answer(user, Box::new(Err(refusal)), None));
    }

    fn keep(&mut self, op: LocalOp) {
        self.out.push_back(Told::Keep(op));
    }

    fn tell(&mut self, events: &[ZoneEvent]) {
        self.out.extend(events.iter().map(|event| Told::Zone(Box::new(event.clone()))));
    }

    /// Dropping a million records takes longer than a packet may wait.
    fn discard_zone(&mut self, zone: Arc<Zone>) {
        self.out.push_back(Told::Work(Box::new(Job::DropZone(zone))));
    }

    fn discard_list(&mut self, list: Arc<List>) {
        self.out.push_back(Told::Work(Box::new(Job::DropList(list))));
    }

    /// Whether one more of these may wait.
    fn has_room(&self, is_one: impl Fn(&Wish) -> bool) -> bool {
        self.queue.iter().filter(|wish| is_one(wish)).count() < RELOADS_MAX
    }
}

impl Refusal {
    fn zone(reason: Reason) -> Self {
        Self::Zone(ZoneFault { line: 0, reason })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many changes wait already; try again in a moment"),
            Self::List(fault) => write!(f, "{fault}"),
            Self::ListName => f.write_str("a list's name has 1 to 255 bytes"),
            Self::NoList => f.write_str("there is no such list"),
            Self::NotKept => f.write_str(
                "the change is made, but the archive could not keep it; look whether its disk is full",
            ),
            Self::OfSettings => {
                f.write_str("the list comes from --dns-policy; change its file, or that setting")
            }
            Self::OfFile(file) => {
                write!(f, "the zone comes from {file}; change that file and reload")
            }
            Self::TooMany => f.write_str("there are as many as there may be; remove some first"),
            Self::Zone(fault) => write!(f, "{fault}"),
        }
    }
}

/// What waits for its turn: people and programs wait for their answers before they ask more.
const QUEUE_MAX: usize = 256;
/// Readings of all files that wait; each holds all that was read.
const RELOADS_MAX: usize = 2;
/// Zones or records of one answer.
pub const PAGE_MAX: usize = 1_000;
