//! What takes too long for the loop: a driver runs it wherever it likes, and hands in what came
//! of it.

use super::io::LinkId;
use crate::metadata::{Assembled, Filter, Proved};

/// A piece of work. As many are under way at once as fit into the fetches' budget.
#[derive(Debug)]
pub struct Job {
    pub(super) link: LinkId,
    pub(super) assembled: Assembled,
    pub(super) filter: Filter,
}

/// What came of a [`Job`].
#[derive(Debug)]
pub struct Worked {
    pub(super) link: LinkId,
    pub(super) proved: Proved,
}

impl Job {
    /// Does it; some milliseconds.
    pub fn run(self) -> Worked {
        Worked { link: self.link, proved: self.assembled.prove(&self.filter) }
    }
}
