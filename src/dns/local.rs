//! Names that need no forwarder: those of local zones, and those that are special by decree.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::cache::Variant;
use super::zones::{Reason, Zone, Zones};
use super::{Dns, Event, Failure, Given, Resolved, User};
use crate::base::{Cx, Slots, Token};
use crate::model::dns::Source;
use crate::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Rcode, Writer};

/// Questions whose answer was begun here and leads to another's name, while that is asked for.
#[derive(Default)]
pub(super) struct Aliases {
    open: Slots<Alias>,
    /// Ends of questions that nothing more is to be done about here.
    ended: VecDeque<Event>,
}

struct Alias {
    user: User,
    name: Name,
    kind: Kind,
    variant: Variant,
    /// The aliases up to there.
    begun: Answer,
    /// How often they led from here to another's name or back.
    turns: usize,
}

/// What is known here of a question.
pub(super) enum Local {
    Whole(Result<Answer, Failure>),
    /// Aliases that lead to a name which is not ours.
    Alias(Answer, Box<Name>),
}

impl Aliases {
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.ended.pop_front()
    }
}

impl Dns {
    /// Wants the records of a name: from the hosts file, a local zone, what is special, memory, and
    /// else from forwarders. The answer is an event.
    pub fn resolve(&mut self, cx: &mut Cx<'_>, question: (&Name, Kind, Variant), user: User) {
        let (name, kind, variant) = question;
        match self.find_local(name, kind) {
            None => self.resolver.resolve(cx, question, user),
            Some(Local::Whole(found)) => self.resolver.give(user, (name, kind), found.map(of_zone)),
            Some(Local::Alias(begun, target)) => {
                let alias = Alias { user, name: name.clone(), kind, variant, begun, turns: 0 };
                self.go_to(cx, alias, &target);
            }
        }
    }

    /// An answer of others may lead here, or end where they were not asked: then it goes on from there.
    pub(super) fn come_home(
        &mut self,
        cx: &mut Cx<'_>,
        user: User,
        resolved: Box<Resolved>,
    ) -> Option<(User, Box<Resolved>)> {
        let (kind, variant) = (resolved.kind, Variant::default());
        let cut = resolved.result.as_ref().ok().and_then(|given| self.cut_at_alias(given, kind));
        let Some((begun, target)) = cut else { return Some((user, resolved)) };
        let alias = Alias { user, name: resolved.name, kind, variant, begun, turns: 1 };
        self.go_to(cx, alias, &target);
        None
    }

    /// Where an answer of others leads to a name that is looked for here, or that other forwarders are
    /// asked for.
    pub(super) fn cut_at_alias(&self, given: &Given, kind: Kind) -> Option<(Answer, Box<Name>)> {
        let of_others = !matches!(given.source, Source::Zone | Source::Hosts | Source::Literal);
        if !of_others || !given.answer.aliased {
            return None;
        }
        let question = Message::parse(given.answer.message()).ok()?.question?;
        Answer::cut_at_alias(given, kind, |name| {
            self.resolver.is_here(name, kind) || self.resolver.is_of_others(name, question.name)
        })
    }

    /// Looks for what the aliases lead to: here, else at a forwarder.
    fn go_to(&mut self, cx: &mut Cx<'_>, mut alias: Alias, target: &Name) {
        let (mut target, kind) = (target.clone(), alias.kind);
        loop {
            alias.turns += 1;
            if alias.turns > TURNS_MAX {
                return self.conclude_alias(&alias, Err(Failure::Chain));
            }
            match self.find_local(&target, kind) {
                None => break,
                Some(Local::Whole(found)) => {
                    let found = found.map(of_zone);
                    return self.conclude_alias(&alias, found.as_ref().map_err(|failure| *failure));
                }
                Some(Local::Alias(more, next)) => {
                    let joined = Answer::join((&alias.name, kind), &alias.begun, &more, 0);
                    let Some(begun) = joined else {
                        return self.conclude_alias(&alias, Err(Failure::Malformed));
                    };
                    (alias.begun, target) = (begun, *next);
                }
            }
        }
        if self.aliases.open.len() >= ALIASES_MAX {
            return self.conclude_alias(&alias, Err(Failure::Overloaded));
        }
        let variant = alias.variant;
        let token = self.aliases.open.insert(alias);
        self.resolver.resolve(cx, (&target, kind, variant), User::Alias(token));
    }

    /// The target of aliases that were begun here has been asked for.
    pub(super) fn on_target(&mut self, cx: &mut Cx<'_>, token: Token, resolved: &Resolved) {
        let Some(mut alias) = self.aliases.open.remove(token) else { return };
        let cut = resolved.result.as_ref().ok().and_then(|given| self.cut_at_alias(given, alias.kind));
        let Some((more, target)) = cut else {
            return self.conclude_alias(&alias, resolved.result.as_ref().map_err(|failure| *failure));
        };
        match Answer::join((&alias.name, alias.kind), &alias.begun, &more, 0) {
            Some(begun) => {
                alias.begun = begun;
                self.go_to(cx, alias, &target);
            }
            None => self.conclude_alias(&alias, Err(Failure::Malformed)),
        }
    }

    /// Tells what aliases and their target are together.
    fn conclude_alias(&mut self, alias: &Alias, target: Result<&Given, Failure>) {
        let (name, kind) = (&alias.name, alias.kind);
        let result = target.and_then(|given| {
            let age = given.answer.ttl.saturating_sub(given.ttl());
            let joined = Answer::join((name, kind), &alias.begun, &given.answer, age);
            let answer = Arc::new(joined.ok_or(Failure::Malformed)?);
            Ok(Given { answer, age: 0, source: given.source.clone() })
        });
        let resolved = Resolved { name: name.clone(), kind, result, elapsed: Duration::ZERO };
        self.aliases.ended.push_back(Event::Resolved(alias.user, Box::new(resolved)));
    }

    /// Serves these zones and no others.
    pub fn serve_zones(&mut self, zones: Zones) {
        self.resolver.own_zones.clear();
        self.resolver.own_zones.extend(zones.iter().map(|zone| (zone.origin().wire().into(), ())));
        self.zones = zones;
    }

    /// Serves a zone; its names are not asked of others from now on.
    pub(super) fn put_zone(&mut self, zone: Arc<Zone>) -> Result<Option<Arc<Zone>>, Reason> {
        let origin = zone.origin().wire().into();
        let old = self.zones.put(zone)?;
        self.resolver.own_zones.insert(origin, ());
        Ok(old)
    }

    /// No longer serves a zone.
    pub(super) fn take_zone(&mut self, origin: &Name) -> Option<Arc<Zone>> {
        self.resolver.own_zones.remove(origin.wire());
        self.zones.take(origin)
    }

    pub(super) fn find_local(&self, name: &Name, kind: Kind) -> Option<Local> {
        let in_zones = || {
            let is_host = self.resolver.config.hosts.find(name, kind).is_some();
            if is_host { None } else { self.find_in_zones(name, kind, SMALL) }
        };
        let found = if self.zones.is_empty() { None } else { in_zones() };
        found.or_else(|| self.resolver.special(name, kind).map(|answer| Local::Whole(Ok(answer))))
    }

    fn find_in_zones(&self, name: &Name, kind: Kind, room: usize) -> Option<Local> {
        let mut message = vec![0; room];
        let flags = Flags(Flags::QR | Flags::RD | Flags::RA);
        let mut writer = Writer::new(&mut message, 0, flags).ok()?;
        writer.question(name.wire(), kind, CLASS_IN).ok()?;
        let outcome = self.zones.answer(name, kind, &mut writer)?;
        if outcome.truncated && room < LARGE {
            return self.find_in_zones(name, kind, LARGE);
        }
        if outcome.referral && outcome.follow.is_none() {
            // Somebody else has it, and whoever we ask knows how to find them.
            return None;
        }
        let is_answer = matches!(outcome.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        if !is_answer {
            return Some(Local::Whole(Err(Failure::Rcode(outcome.rcode))));
        }
        let len = writer.finish();
        message.truncate(len);
        message[2..4].copy_from_slice(&(flags.0 | outcome.flags()).to_be_bytes());
        let Some(answer) = Answer::of_zone(message.into(), kind) else {
            return Some(Local::Whole(Err(Failure::Malformed)));
        };
        Some(match outcome.follow {
            Some(target) => Local::Alias(answer, Box::new(target)),
            None => Local::Whole(Ok(answer)),
        })
    }
}

fn of_zone(answer: Answer) -> Given {
    Given { answer: Arc::new(answer), age: 0, source: Source::Zone }
}

/// Most answers fit.
const SMALL: usize = 1_232;
/// All that are answers do.
const LARGE: usize = 65_535;
/// As many as there may be questions under way.
const ALIASES_MAX: usize = 32_768;
/// Aliases from here to others and back, for one question.
const TURNS_MAX: usize = 16;
