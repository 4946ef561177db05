//! What takes too long for the loop: a driver runs it wherever it likes, and hands in what came
//! of it.

use super::io::LinkId;
use crate::dns::keeper;
use crate::metadata::{Assembled, Filter, Proved};

/// A piece of work.
#[derive(Debug)]
pub enum Job {
    /// See what fetched bytes are. As many are under way at once as fit into the fetches' budget.
    Prove(Proving),
    /// Zones and lists. One is under way at a time, beside what is only let go of.
    Names(Box<keeper::Job>),
}

/// Bytes that may be a torrent's metadata.
#[derive(Debug)]
pub struct Proving {
    pub(super) link: LinkId,
    pub(super) assembled: Assembled,
    pub(super) filter: Filter,
}

/// What came of a [`Job`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few at a time, and moved twice")]
pub enum Worked {
    /// What the bytes of a link are.
    Proved(LinkId, Proved),
    /// Zones and lists.
    Names(keeper::Worked),
}

impl Job {
    /// Does it; some milliseconds, and a second or more for what is large among zones and lists.
    pub fn run(self) -> Worked {
        match self {
            Self::Prove(Proving { link, assembled, filter }) => {
                Worked::Proved(link, assembled.prove(&filter))
            }
            Self::Names(job) => Worked::Names(job.run()),
        }
    }
}
