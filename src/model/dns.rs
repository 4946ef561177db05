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
