//! What takes too long for the loop.

use std::sync::Arc;

use bytes::Bytes;

use super::RecordsPage;
use crate::dns::policy::{List, PolicyFault, RpzUpdate};
use crate::dns::zones::{Zone, ZoneEvent, ZoneFault, is_ahead, next_serial};
use crate::model::dns::SavedZone;
use crate::wire::dns::{Kind, Name};

/// A piece of work. It only reads what is served.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, in a box")]
pub enum Job {
    /// Get a zone ready to be served after `old`.
    Renew {
        /// What is to be served.
        new: Content,
        /// What is served.
        old: Option<Arc<Zone>>,
        /// What was served last under its name, if that is not `old`.
        last: Option<LastSerial>,
        /// It is to be kept in the archive.
        keep: bool,
    },
    /// Whose record this is.
    Find {
        /// In which zone.
        zone: Arc<Zone>,
        /// Which record.
        id: u64,
    },
    /// A page of records.
    Records {
        /// Of which zone.
        zone: Arc<Zone>,
        /// How many to pass over.
        skip: usize,
        /// How many then.
        limit: usize,
    },
    /// A zone as the archive keeps it.
    Save(Arc<Zone>),
    /// Read a list, and tell what differs.
    ReadList {
        /// What it is called.
        name: Arc<str>,
        /// Its text.
        text: Bytes,
        /// What stands there now.
        old: Option<Arc<List>>,
        /// Percent of its rules that it may lose.
        shrink_percent_max: u8,
    },
    /// Tell what differs.
    CompareLists {
        /// What stands there now.
        old: Arc<List>,
        /// What is to stand there.
        new: Arc<List>,
    },
    /// Let go of a zone.
    DropZone(Arc<Zone>),
    /// Let go of a list.
    DropList(Arc<List>),
}

/// What a zone is made from.
#[derive(Debug)]
pub enum Content {
    /// The text that a command created it with.
    Created(Name, String),
    /// Another text for a zone that is there.
    Text(Name, String),
    /// It was read already.
    Zone(Arc<Zone>),
}

/// The serial that was served last under a zone's name.
#[derive(Clone, Copy, Debug)]
pub struct LastSerial {
    pub(super) serial: u32,
    /// It was served of the very text that is to be served now.
    pub(super) is_same: bool,
}

/// What came of a [`Job`].
#[derive(Debug)]
pub enum Worked {
    /// A zone that is ready, or why it is none.
    Renewed(Result<Renewed, ZoneFault>),
    /// Whose record it is, if there is such a record.
    Found(Option<(Name, Kind)>),
    /// A page of records.
    Records(RecordsPage),
    /// A zone as it is to be kept.
    Saved(SavedZone),
    /// A list and what differs, or why it is none.
    List(Result<(Arc<List>, RpzUpdate), PolicyFault>),
    /// Something is gone.
    Dropped,
}

/// A zone ready to be served.
#[derive(Debug)]
pub struct Renewed {
    pub(super) zone: Arc<Zone>,
    pub(super) events: Vec<ZoneEvent>,
    pub(super) saved: Option<SavedZone>,
}

impl Job {
    /// Does it; a second or more with what is large.
    pub fn run(self) -> Worked {
        match self {
            Self::Renew { new, old, last, keep } => Worked::Renewed(renew(new, old.as_deref(), last, keep)),
            Self::Find { zone, id } => Worked::Found(zone.find(id)),
            Self::Records { zone, skip, limit } => Worked::Records(RecordsPage {
                serial: zone.serial(),
                total: zone.records_count(),
                records: zone.records().skip(skip).take(limit).collect(),
            }),
            Self::Save(zone) => Worked::Saved(zone.saved()),
            Self::ReadList { name, text, old, shrink_percent_max } => {
                Worked::List(List::parse(&name, &text).and_then(|new| {
                    new.check_shrink(old.as_deref(), shrink_percent_max)?;
                    let update = RpzUpdate::between(old.as_deref(), &new);
                    Ok((Arc::new(new), update))
                }))
            }
            Self::CompareLists { old, new } => {
                let update = RpzUpdate::between(Some(&old), &new);
                Worked::List(Ok((new, update)))
            }
            Self::DropZone(_) | Self::DropList(_) => Worked::Dropped,
        }
    }
}

impl LastSerial {
    /// Sees to it that a zone is not behind what was served, and ahead of it if it is another.
    pub(super) fn settle(self, zone: &mut Zone) {
        let is_ahead = is_ahead(zone.serial(), self.serial);
        match self.is_same {
            _ if is_ahead => {}
            true => zone.set_serial(self.serial),
            false => zone.set_serial(next_serial(self.serial)),
        }
    }
}

fn renew(
    new: Content,
    old: Option<&Zone>,
    last: Option<LastSerial>,
    keep: bool,
) -> Result<Renewed, ZoneFault> {
    let mut zone = match new {
        Content::Created(origin, text) => Zone::create(&origin, &text)?,
        Content::Text(origin, text) => Zone::parse(&text, Some(&origin))?,
        Content::Zone(zone) => Arc::unwrap_or_clone(zone),
    };
    if let Some(last) = last {
        last.settle(&mut zone);
    }
    let (zone, events) = zone.renewing(old);
    let saved = keep.then(|| zone.saved());
    Ok(Renewed { zone: Arc::new(zone), events, saved })
}
