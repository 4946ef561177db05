//! What takes too long for the loop: a driver runs it wherever it likes, and hands in what came
//! of it.

use std::sync::Arc;

use bytes::Bytes;

use super::io::LinkId;
use crate::dns::keeper;
use crate::metadata::{Assembled, Filter, Proved};
use crate::web::{Body, BodyFault};

/// A piece of work.
#[derive(Debug)]
pub enum Job {
    /// See what fetched bytes are. As many are under way at once as fit into the fetches' budget.
    Prove(Proving),
    /// Zones and lists. One is under way at a time, beside what is only let go of.
    Names(Box<keeper::Job>),
    /// Unpack what a list's URL had. At most two at once, as many as are got at once.
    Unpack(Unpacking),
}

/// Bytes that may be a torrent's metadata.
#[derive(Debug)]
pub struct Proving {
    pub(super) link: LinkId,
    pub(super) assembled: Assembled,
    pub(super) filter: Filter,
}

/// What a list's URL had, perhaps packed.
#[derive(Debug)]
pub struct Unpacking {
    pub(super) url: Arc<str>,
    pub(super) body: Body,
    pub(super) etag: Option<String>,
}

/// What came of a [`Job`].
#[derive(Debug)]
pub enum Worked {
    /// What the bytes of a link are.
    Proved(LinkId, Proved),
    /// Zones and lists.
    Names(keeper::Worked),
    /// What a list's URL had, and what the server calls it.
    Unpacked(Arc<str>, Result<Bytes, BodyFault>, Option<String>),
}

impl Job {
    /// Does it; some milliseconds, and a second or more for what is large among zones and lists.
    pub fn run(self) -> Worked {
        match self {
            Self::Prove(Proving { link, assembled, filter }) => {
                Worked::Proved(link, assembled.prove(&filter))
            }
            Self::Names(job) => Worked::Names(job.run()),
            Self::Unpack(Unpacking { url, body, etag }) => {
                Worked::Unpacked(url, body.decode(LIST_BYTES_MAX).map(Bytes::from), etag)
            }
        }
    }
}

/// As much as a list may have in a file.
const LIST_BYTES_MAX: usize = 64 << 20;
