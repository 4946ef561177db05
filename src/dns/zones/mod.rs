//! Local zones: what the listener is the authority for (RFC 1034, section 4.3.2).
//!
//! A zone is read from a master file, answered from as it stands, and changed record by record or
//! as a whole while it is served. Signed zones are data like any other: nothing is proved.

mod answer;
mod change;
mod master;
mod rdata;
mod zone;

use crate::base::Rng;
use crate::base::hash::{self, Map};
use crate::wire::dns::{Flags, Kind, Name, Rcode, Writer, parent};

use answer::Step;
pub use change::{RECORD_EVENTS_MAX, ZoneChange, ZoneEvent, ZoneFacts};
pub use master::{Reason, ZoneFault};
pub use zone::{RecordFacts, Zone};

pub(super) use answer::{YXDOMAIN, put_set};
pub(super) use master::Reader;
pub(super) use rdata::parse as parse_data;
pub(super) use zone::{Entry, RrSet, soa_minimum};

/// All zones that we are the authority for.
#[derive(Clone, Debug)]
pub struct Zones {
    by_origin: Map<Box<[u8]>, Zone>,
}

/// What came of writing an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The response code.
    pub rcode: Rcode,
    /// The first owner in the answer is ours (AA).
    pub authoritative: bool,
    /// Something that belongs there did not fit (TC).
    pub truncated: bool,
    /// The answer ends with a name that is not ours: who resolves may go on from here. The rest
    /// belongs into the answer section.
    pub follow: Option<Name>,
    /// The name lies in a part of the zone that was given away; the authority section says to whom.
    pub referral: bool,
}

impl Zones {
    /// None yet.
    pub fn new() -> Self {
        // Whoever writes zones is trusted, so that their order need not be a secret.
        Self { by_origin: hash::map(&mut Rng::seeded(0)) }
    }

    /// Writes the answer's records; `None` if no zone of ours covers the name, and nothing is
    /// written. Flags and response code are the caller's to set ([`Outcome::flags`]).
    pub fn answer(&self, name: &Name, kind: Kind, writer: &mut Writer<'_>) -> Option<Outcome> {
        let mut zone = self.covering(name, kind)?;
        let mut outcome = Outcome::answer();
        let (mut owner, mut seen) = (name.clone(), Vec::new());
        loop {
            let target = match zone.step(self, &owner, kind, writer, &mut outcome) {
                Step::Done if !outcome.referral => return Some(outcome),
                Step::Done => {
                    // The first owner decides about AA.
                    outcome.authoritative = !seen.is_empty();
                    outcome.follow = outcome.authoritative.then_some(owner);
                    return Some(outcome);
                }
                Step::Follow(target) => target,
            };
            let Some(next) = self.covering(&target, kind) else {
                outcome.follow = Some(target);
                return Some(outcome);
            };
            seen.push(std::mem::replace(&mut owner, target));
            if outcome.truncated || seen.len() >= CHAIN_MAX || seen.contains(&owner) {
                return Some(outcome);
            }
            zone = next;
        }
    }

    /// The zone of this name.
    pub fn zone(&self, origin: &Name) -> Option<&Zone> {
        self.by_origin.get(origin.wire())
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }

    /// Every zone, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        let mut zones: Vec<_> = self.by_origin.values().collect();
        zones.sort_by(|a, b| a.origin().wire().cmp(b.origin().wire()));
        zones.into_iter()
    }

    /// The nearest zone at or above a name. What is said of a delegation's key stands above it
    /// (RFC 4035, section 3.1.4.1).
    fn covering(&self, name: &Name, kind: Kind) -> Option<&Zone> {
        if self.by_origin.is_empty() {
            return None;
        }
        let mut found = None;
        for suffix in std::iter::successors(Some(name.wire()), |name| parent(name)) {
            if let Some(zone) = self.by_origin.get(suffix) {
                found = Some(zone);
                if kind != Kind::DS || suffix.len() < name.wire().len() {
                    break;
                }
            }
        }
        found
    }
}

impl Default for Zones {
    fn default() -> Self {
        Self::new()
    }
}

impl Outcome {
    /// AA, TC and the lower bits of the response code, for the header.
    pub fn flags(&self) -> u16 {
        let bit = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        bit(self.authoritative, Flags::AA) | bit(self.truncated, Flags::TC) | self.rcode.0 & 15
    }

    /// An answer of an authority, as yet without anything special.
    pub(super) fn answer() -> Self {
        let rcode = Rcode::NOERROR;
        Self { rcode, authoritative: true, truncated: false, follow: None, referral: false }
    }
}

/// CNAMEs and DNAMEs that are followed within our zones for one answer.
const CHAIN_MAX: usize = 16;
