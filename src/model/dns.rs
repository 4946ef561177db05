//! Where answers about names come from, and what of them survives a restart.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::UnixTime;

/// Who gave an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was an address already.
    Literal,
    /// The hosts file.
    Hosts,
    /// A zone of our own.
    Zone,
    /// Asked for before, since the start.
    Memory,
    /// Asked for before the start, kept in the archive.
    Database,
    /// Expired, and no better was to be had (RFC 8767).
    Stale,
    /// The forwarder of this name.
    Forwarder(Arc<str>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal => "literal",
            Self::Hosts => "hosts",
            Self::Zone => "zone",
            Self::Memory => "memory",
            Self::Database => "database",
            Self::Stale => "stale",
            Self::Forwarder(name) => name,
        })
    }
}

/// An answer as the archive keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAnswer {
    /// The question: name in wire form, type, flags.
    pub key: Box<[u8]>,
    /// The response: header with id 0, question, records.
    pub message: Bytes,
    /// When it was given.
    pub resolved_at: UnixTime,
    /// For how long it is fresh, in seconds.
    pub ttl: u32,
}

/// One thing to be kept of local zones and policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalOp {
    /// A zone, in place of what is kept of it.
    Zone(SavedZone),
    /// Some sets of a zone that is kept, by its name in wire form.
    Sets(Box<[u8]>, Vec<SavedSet>),
    /// No longer a zone of this name.
    ZoneGone(Box<[u8]>),
    /// The serial that a zone was served with.
    Serial(SavedSerial),
    /// A policy list.
    List(SavedList),
    /// No longer a list of this name.
    ListGone(String),
    /// What is done instead of what a list says; `None`: what it says.
    Override(String, Option<String>),
    /// A name in wire form that is let through until then; `None`: not any more.
    Allowed(Box<[u8]>, Option<UnixTime>),
}

impl LocalOp {
    /// The name in wire form of the zone whose records it is about.
    pub fn zone(&self) -> Option<&[u8]> {
        match self {
            Self::Zone(zone) => Some(&zone.origin),
            Self::Sets(origin, _) | Self::ZoneGone(origin) => Some(origin),
            Self::Serial(_) | Self::List(_) | Self::ListGone(_) | Self::Override(..) | Self::Allowed(..) => {
                None
            }
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Zone(zone) => zone.bytes,
            Self::Sets(_, sets) => sets.iter().map(SavedSet::bytes).sum(),
            Self::List(list) => list.text.len(),
            Self::ZoneGone(_)
            | Self::Serial(_)
            | Self::ListGone(_)
            | Self::Override(..)
            | Self::Allowed(..) => 0,
        }
    }
}

/// A zone that was made or changed by a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedZone {
    /// Its name in wire form.
    pub origin: Box<[u8]>,
    /// All that it has.
    pub sets: Vec<SavedSet>,
    /// Bytes of its names and records.
    pub bytes: usize,
}

/// Records of one owner and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSet {
    /// Their owner in wire form.
    pub name: Box<[u8]>,
    /// Their type's number.
    pub kind: u16,
    /// In seconds.
    pub ttl: u32,
    /// Each with its id (8 bytes), the length of its data (4) and its data in wire form.
    pub records: Box<[u8]>,
}

impl SavedSet {
    /// Bytes of its name and records.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.records.len()
    }
}

/// The serial that a zone was served with last, so that it never goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSerial {
    /// The zone's name in wire form.
    pub origin: Box<[u8]>,
    /// Its serial.
    pub serial: u32,
    /// SHA-256 of the file it came from; zeros if it is no file's.
    pub digest: [u8; 32],
}

/// A policy list that no file has: a command's, or the last good text of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedList {
    /// What it is called; the URL if it came from one.
    pub name: String,
    /// It came from a URL.
    pub is_download: bool,
    /// What the server calls this version of it.
    pub etag: Option<String>,
    /// When it was handed in or downloaded.
    pub taken: UnixTime,
    /// The list.
    pub text: Bytes,
}

/// What was kept of local zones and policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedLocal {
    /// Zones, by name.
    pub zones: Vec<SavedZone>,
    /// Serials of zones of files, and of those that are gone.
    pub serials: Vec<SavedSerial>,
    /// Lists, in the order in which they came first.
    pub lists: Vec<SavedList>,
    /// What is done instead of what lists say.
    pub overrides: Vec<(String, String)>,
    /// Names in wire form that are let through until then.
    pub allowed: Vec<(Box<[u8]>, UnixTime)>,
}
