//! Local zones: what the listener is the authority for (RFC 1034, section 4.3.2).
//!
//! A zone is read from a master file, answered from as it stands, and changed record by record or
//! as a whole while it is served. Signed zones are data like any other: nothing is proved.

mod answer;
mod change;
mod file;
mod generate;
mod master;
mod rdata;
mod saved;
mod zone;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::base::Rng;
use crate::base::hash::{self, Map};
use crate::wire::dns::{Flags, Kind, Name, Rcode, Writer, parent};

use answer::Step;
pub use change::{RECORD_EVENTS_MAX, ZoneChange, ZoneEvent, ZoneFacts};
pub use file::FileZone;
pub use master::{Reason, ZoneFault};
pub use rdata::print as data_text;
pub use zone::{RecordFacts, Zone};

pub(super) use answer::{YXDOMAIN, put_set};
pub(super) use change::{is_ahead, next_serial};
pub(super) use generate::expand as expand_generate;
pub(super) use master::Reader;
pub(super) use rdata::parse as parse_data;
pub(super) use zone::{Entry, RrSet, soa_minimum};

/// All zones that we are the authority for.
///
/// A zone may be read elsewhere while it is served; it is not to be changed meanwhile, since all of
/// it would be copied for that.
#[derive(Clone, Debug)]
pub struct Zones {
    by_origin: Map<Box<[u8]>, Arc<Zone>>,
    /// The same names in order, for who lists them.
    order: BTreeSet<Box<[u8]>>,
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
        Self { by_origin: hash::map(&mut Rng::seeded(0)), order: BTreeSet::new() }
    }

    /// Writes the answer's records; `None` if no zone of ours covers the name, and nothing is
    /// written. Flags and response code are the caller's to set ([`Outcome::flags`]).
    pub fn answer(&self, name: &Name, kind: Kind, writer: &mut Writer<'_>) -> Option<Outcome> {
        let mut zone = self.covering(name, kind)?;
        let mut outcome = Outcome::answer();
        let (mut owner, mut seen) = (name.clone(), Vec::new());
        loop {
            let target = match zone.step(self, (&owner, &seen), kind, writer, &mut outcome) {
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
    pub fn zone(&self, origin: &Name) -> Option<&Arc<Zone>> {
        self.by_origin.get(origin.wire())
    }

    /// Every zone, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.order.iter().filter_map(|origin| self.by_origin.get(origin)).map(|zone| &**zone)
    }

    /// The zones that come after this one, by name.
    pub fn after(&self, origin: &Name) -> impl Iterator<Item = &Zone> {
        let range = self.order.range::<[u8], _>((Bound::Excluded(origin.wire()), Bound::Unbounded));
        range.filter_map(|origin| self.by_origin.get(origin)).map(|zone| &**zone)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }

    /// Serves a zone as it stands, in place of the one of the same name, which comes back to be
    /// dropped where that may take its time.
    pub fn put(&mut self, zone: Arc<Zone>) -> Result<Option<Arc<Zone>>, Reason> {
        let origin: Box<[u8]> = zone.origin().wire().into();
        if let Some(old) = self.by_origin.get_mut(&origin) {
            return Ok(Some(std::mem::replace(old, zone)));
        }
        if self.is_full() {
            return Err(Reason::TooLarge);
        }
        self.order.insert(origin.clone());
        self.by_origin.insert(origin, zone);
        Ok(None)
    }

    /// There is no room for a zone of another name.
    pub fn is_full(&self) -> bool {
        self.by_origin.len() >= ZONES_MAX
    }

    /// No longer serves a zone.
    pub fn take(&mut self, origin: &Name) -> Option<Arc<Zone>> {
        self.order.remove(origin.wire());
        self.by_origin.remove(origin.wire())
    }

    /// The nearest zone at or above a name. What is said of a delegation's key stands above it
    /// (RFC 4035, section 3.1.4.1).
    fn covering(&self, name: &Name, kind: Kind) -> Option<&Arc<Zone>> {
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
/// Zones; each question looks for a few of them by name, so that many cost no more.
const ZONES_MAX: usize = 100_000;
