//! Response policy: lists of names and clients that are answered otherwise, and how.
//!
//! Lists are asked in their order; the first rule that matches decides. What is unblocked for a
//! while is asked first.

mod adblock;
mod build;
mod lines;
mod list;
mod names;
mod read;
mod report;
mod rpz;
mod servers;
mod table;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::Instant;
use crate::dns::zones::{Outcome, RrSet, YXDOMAIN, put_set, soa_minimum};
use crate::wire::dns::{Full, Kind, Name, Rcode, Section, Writer, parent};

pub use list::{List, Rank, Rule};
pub use report::{Format, LeftOut, PolicyFault, Report};

/// What is done to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The answer is that there is no such name.
    NxDomain = 0,
    /// The answer is that the name has nothing of that type.
    NoData = 1,
    /// It is answered as if there were no policy.
    Passthru = 2,
    /// It is not answered.
    Drop = 3,
    /// Over UDP the answer is to ask over TCP; over TCP it is answered as if there were no policy.
    TcpOnly = 4,
    /// The answer is data of the list.
    Local = 5,
}

/// What is done instead of what a list's rules say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Override {
    /// Nothing else.
    #[default]
    AsGiven,
    /// Nothing at all but telling of it; later lists are asked.
    LogOnly,
    /// This, whatever the rule says, unless it lets through.
    Always(Action),
}

/// A rule that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which list, in their order.
    pub list: u16,
    /// Which of its rules.
    pub rule: Rule,
    /// What to do.
    pub action: Action,
}

/// What the lists say of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that decides.
    pub hit: Option<Hit>,
    /// The first rule that would have, in a list that is there to be watched only.
    pub watched: Option<Hit>,
}

/// All lists, in order.
#[derive(Default)]
pub struct Policy {
    lists: Vec<Listed>,
    /// Names that are let through until then, with all that is below them; by name.
    allowed: Vec<(Box<[u8]>, Instant)>,
    hits: u64,
}

/// A list and what belongs to it.
struct Listed {
    list: Arc<List>,
    action: Override,
    hits: u64,
}

/// What is told of a list that was read anew (event `rpz_update`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpzUpdate {
    /// What the list is called.
    pub list: String,
    /// How many rules it has now.
    pub rules: usize,
    /// Rules that are new or do something else now.
    pub added: usize,
    /// Rules that are gone or did something else.
    pub removed: usize,
}

/// What is told of a hit (events `threat_detected` and `security_alert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitFacts {
    /// Who asked.
    pub client: IpAddr,
    /// For what.
    pub name: Name,
    /// What the list is called.
    pub list: String,
    /// The trigger as one would write it.
    pub rule: String,
    /// What was done.
    pub action: Action,
}

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Action {
    pub(self) const ALL: [Self; 6] =
        [Self::NxDomain, Self::NoData, Self::Passthru, Self::Drop, Self::TcpOnly, Self::Local];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NxDomain => "nxdomain",
            Self::NoData => "nodata",
            Self::Passthru => "passthru",
            Self::Drop => "drop",
            Self::TcpOnly => "tcp-only",
            Self::Local => "local-data",
        }
    }
}

impl Override {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsGiven => "as-given",
            Self::LogOnly => "log-only",
            Self::Always(action) => action.name(),
        }
    }

    /// By its name; local data belongs to single rules and cannot stand for all.
    pub fn named(name: &str) -> Option<Self> {
        let always = Action::ALL.into_iter().filter(|action| *action != Action::Local).map(Self::Always);
        [Self::AsGiven, Self::LogOnly].into_iter().chain(always).find(|action| action.name() == name)
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("name", &self.name).field("rules", &self.rules()).finish_non_exhaustive()
    }
}

impl Policy {
    /// Takes up a list in place of the one of the same name, else after all others. The one it
    /// replaces comes back, to be compared and dropped where that may take its time.
    pub fn replace(&mut self, list: Arc<List>) -> Result<Option<Arc<List>>, TooMany> {
        if let Some(listed) = self.lists.iter_mut().find(|listed| listed.list.name() == list.name()) {
            return Ok(Some(std::mem::replace(&mut listed.list, list)));
        }
        if self.lists.len() >= LISTS_MAX {
            return Err(TooMany);
        }
        self.lists.push(Listed { list, action: Override::AsGiven, hits: 0 });
        Ok(None)
    }

    /// The list of this name.
    pub fn list(&self, name: &str) -> Option<&Arc<List>> {
        self.lists.iter().map(|listed| &listed.list).find(|list| list.name() == name)
    }

    /// Puts lists into the order of these names, before all others, which keep theirs.
    pub fn arrange(&mut self, names: &[Arc<str>]) {
        let place = |listed: &Listed| names.iter().position(|name| **name == *listed.list.name());
        self.lists.sort_by_key(|listed| place(listed).unwrap_or(names.len()));
    }

    /// Takes a list out; the numbers of those after it fall by one.
    pub fn remove(&mut self, name: &str) -> Option<Arc<List>> {
        let at = self.lists.iter().position(|listed| listed.list.name() == name)?;
        Some(self.lists.remove(at).list)
    }

    /// What is done about a list's rules; false if there is no such list.
    pub fn set_override(&mut self, name: &str, action: Override) -> bool {
        let listed = self.lists.iter_mut().find(|listed| listed.list.name() == name);
        listed.map(|listed| listed.action = action).is_some()
    }

    /// Every list in order, what is done instead, and how often one of its rules matched.
    pub fn lists(&self) -> impl Iterator<Item = (&Arc<List>, Override, u64)> {
        self.lists.iter().map(|listed| (&listed.list, listed.action, listed.hits))
    }

    /// True if there is no list.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How often a rule decided.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Lets a name and all below it through until then.
    pub fn allow(&mut self, now: Instant, name: &Name, until: Instant) -> Result<(), TooMany> {
        self.allowed.retain(|(allowed, until)| *until > now && **allowed != *name.wire());
        if self.allowed.len() >= ALLOWED_MAX {
            return Err(TooMany);
        }
        let at = self.allowed.partition_point(|(allowed, _)| **allowed < *name.wire());
        self.allowed.insert(at, (name.wire().into(), until));
        Ok(())
    }

    /// Names that are let through for now, and until when.
    pub fn allowed(&self, now: Instant) -> impl Iterator<Item = (Name, Instant)> {
        let live = self.allowed.iter().filter(move |(_, until)| *until > now);
        live.filter_map(|(name, until)| Some((Name::from_wire(name)?, *until)))
    }

    /// No longer lets a name through.
    pub fn forbid(&mut self, name: &Name) {
        self.allowed.retain(|(allowed, _)| **allowed != *name.wire());
    }

    /// Whether somebody let this name through for now.
    pub fn is_allowed(&self, now: Instant, name: &Name) -> bool {
        let mut above = std::iter::successors(Some(name.wire()), |name| parent(name));
        !self.allowed.is_empty()
            && above.any(|name| {
                let at = self.allowed.binary_search_by(|(allowed, _)| (**allowed).cmp(name));
                at.is_ok_and(|at| self.allowed[at].1 > now)
            })
    }

    /// What the lists say.
    pub fn judge(&self, now: Instant, name: &Name, client: IpAddr) -> Verdict {
        let mut verdict = Verdict::default();
        if self.lists.is_empty() || self.is_allowed(now, name) {
            return verdict;
        }
        for (number, listed) in self.lists.iter().enumerate() {
            let Some(rule) = listed.list.find(name, client) else { continue };
            let action = listed.list.action(rule);
            let hit = Hit { list: number as u16, rule, action };
            match listed.action {
                Override::LogOnly => {
                    verdict.watched.get_or_insert(hit);
                    continue;
                }
                Override::Always(instead) if action != Action::Passthru => {
                    verdict.hit = Some(Hit { action: instead, ..hit });
                }
                Override::Always(_) | Override::AsGiven => verdict.hit = Some(hit),
            }
            return verdict;
        }
        verdict
    }

    /// Whether a name was let through, by a rule or for a while.
    pub fn lets_through(&self, now: Instant, name: &Name, client: IpAddr) -> bool {
        let is_let_through = |hit: Hit| hit.action == Action::Passthru;
        self.is_allowed(now, name) || self.judge(now, name, client).hit.is_some_and(is_let_through)
    }

    /// Counts what was judged.
    pub fn count(&mut self, verdict: &Verdict) {
        for hit in [verdict.hit, verdict.watched].into_iter().flatten() {
            if let Some(listed) = self.lists.get_mut(usize::from(hit.list)) {
                listed.hits += 1;
            }
        }
        self.hits += u64::from(verdict.hit.is_some());
    }

    /// What to tell of a hit.
    pub fn facts(&self, hit: &Hit, name: &Name, client: IpAddr) -> HitFacts {
        let list = self.lists.get(usize::from(hit.list)).map(|listed| &listed.list);
        HitFacts {
            client,
            name: name.clone(),
            list: list.map_or_else(String::new, |list| list.name().to_owned()),
            rule: list.map_or_else(String::new, |list| list.rule_text(hit.rule)),
            action: hit.action,
        }
    }

    /// Writes the answer that a hit asks for; `None` if that is to answer as if there were no
    /// policy, or not at all. `follow` is where an alias of the list leads.
    pub fn answer(&self, hit: &Hit, name: &Name, kind: Kind, writer: &mut Writer<'_>) -> Option<Outcome> {
        let list = &self.lists.get(usize::from(hit.list))?.list;
        let mut outcome = Outcome::answer();
        match hit.action {
            Action::Passthru | Action::Drop => return None,
            Action::TcpOnly => outcome.truncated = true,
            Action::NxDomain => {
                outcome.rcode = Rcode::NXDOMAIN;
                outcome.truncated |= list.deny(name, writer).is_err();
            }
            Action::NoData => outcome.truncated |= list.deny(name, writer).is_err(),
            Action::Local => list.answer(list.local_of(hit.rule), name, kind, writer, &mut outcome),
        }
        Some(outcome)
    }
}

impl List {
    fn answer(
        &self,
        sets: &[RrSet],
        name: &Name,
        kind: Kind,
        writer: &mut Writer<'_>,
        outcome: &mut Outcome,
    ) {
        let wanted = sets.iter().find(|set| kind == Kind::ANY || set.kind == kind || set.kind == Kind::CNAME);
        let Some(set) = wanted else {
            outcome.truncated |= self.deny(name, writer).is_err();
            return;
        };
        if set.kind != Kind::CNAME {
            outcome.truncated |= put_set(writer, Section::Answer, name.wire(), set, set.ttl).is_err();
            return;
        }
        let Some(target) = target_of(&set.records[0].data, name) else {
            outcome.rcode = YXDOMAIN;
            return;
        };
        let put = writer.record(Section::Answer, name.wire(), Kind::CNAME, set.ttl, target.wire());
        outcome.truncated |= put.is_err();
        if kind != Kind::CNAME && kind != Kind::ANY {
            outcome.follow = Some(target);
        }
    }

    /// The SOA of the list, so that one sees who denied and for how long: beside the answer, as
    /// BIND does it. A list that has no name of its own says it as the authority for the name.
    fn deny(&self, name: &Name, writer: &mut Writer<'_>) -> Result<(), Full> {
        let Some((apex, set)) = &self.soa else {
            return writer.record(Section::Authority, name.wire(), Kind::SOA, DENIAL_TTL, DENIAL_SOA);
        };
        let ttl = set.ttl.min(soa_minimum(&set.records[0].data));
        match apex.wire() {
            b"\0" => put_set(writer, Section::Authority, name.wire(), set, ttl),
            apex => put_set(writer, Section::Additional, apex, set, ttl),
        }
    }
}

impl RpzUpdate {
    /// What differs. Takes its time with long lists.
    pub fn between(old: Option<&List>, new: &List) -> Self {
        let (added, removed) = match old {
            None => (new.rules(), 0),
            Some(old) if old.digest() == new.digest() => (0, 0),
            Some(old) => (new.added_to(old), old.added_to(new)),
        };
        Self { list: new.name().to_owned(), rules: new.rules(), added, removed }
    }
}

/// Where an alias leads: `*.target` is the whole name below the target (draft, section 3.6).
fn target_of(data: &[u8], name: &Name) -> Option<Name> {
    match data.strip_prefix(b"\x01*") {
        Some(target) => {
            let labels = &name.wire()[..name.wire().len() - 1];
            Name::from_wire(&[labels, target].concat())
        }
        None => Name::from_wire(data),
    }
}

/// Lists: more than anyone subscribes to; each costs every question a look or more.
const LISTS_MAX: usize = 256;
/// Names that are let through for a while: somebody asked for each.
const ALLOWED_MAX: usize = 1_000;
/// How long a denial by a list without SOA holds, in seconds.
const DENIAL_TTL: u32 = 60;
/// `localhost. nobody.invalid. 1 3600 600 86400 60`.
const DENIAL_SOA: &[u8] = b"\x09localhost\x00\x06nobody\x07invalid\x00\x00\x00\x00\x01\x00\x00\x0e\x10\x00\x00\x02\x58\x00\x01\x51\x80\x00\x00\x00\x3c";

#[cfg(test)]
mod tests;
