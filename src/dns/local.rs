//! Names that need no forwarder: those of local zones, and those that are special by decree.

use std::sync::Arc;

use super::answer::Answer;
use super::cache::Variant;
use super::{Dns, Failure, Given, Resolved, User};
use crate::base::{Cx, Slots, Token};
use crate::model::dns::Source;
use crate::wire::dns::{CLASS_IN, Flags, Kind, Name, Rcode, Writer};

/// Questions that an alias of ours leads out of our zones, while its target is asked for.
#[derive(Default)]
pub(super) struct Aliases(Slots<Alias>);

struct Alias {
    user: User,
    name: Name,
    kind: Kind,
    /// The aliases up to there.
    begun: Answer,
}

/// What is known here of a question.
pub(super) enum Local {
    Whole(Result<Answer, Failure>),
    /// Aliases that lead to a name which is not ours.
    Alias(Answer, Box<Name>),
}

impl Dns {
    /// Wants the records of a name: from the hosts file, a local zone, what is special, memory, and
    /// else from forwarders. The answer is an event.
    pub fn resolve(&mut self, cx: &mut Cx<'_>, question: (&Name, Kind, Variant), user: User) {
        let (name, kind, variant) = question;
        match self.find_local(name, kind) {
            None => self.resolver.resolve(cx, question, user),
            Some(Local::Whole(found)) => {
                let given =
                    found.map(|answer| Given { answer: Arc::new(answer), age: 0, source: Source::Zone });
                self.resolver.give(user, (name, kind), given);
            }
            Some(Local::Alias(begun, target)) if self.is_nowhere(&target, kind) => {
                let nothing = Answer::no_such_name((&target, kind));
                let joined = Answer::join((name, kind), &begun, &nothing, 0).ok_or(Failure::Malformed);
                let given =
                    joined.map(|answer| Given { answer: Arc::new(answer), age: 0, source: Source::Zone });
                self.resolver.give(user, (name, kind), given);
            }
            Some(Local::Alias(begun, target)) => {
                if self.aliases.0.len() >= ALIASES_MAX {
                    return self.resolver.give(user, (name, kind), Err(Failure::Overloaded));
                }
                let alias = Alias { user, name: name.clone(), kind, begun };
                let token = self.aliases.0.insert(alias);
                self.resolver.resolve(cx, (&target, kind, variant), User::Alias(token));
            }
        }
    }

    /// The target of an alias of ours has been asked for.
    pub(super) fn on_target(&mut self, token: Token, resolved: &Resolved) {
        let Some(Alias { user, name, kind, begun }) = self.aliases.0.remove(token) else { return };
        let joined = resolved.result.as_ref().map_err(|failure| *failure).and_then(|given| {
            let age = given.answer.ttl.saturating_sub(given.ttl());
            let joined = Answer::join((&name, kind), &begun, &given.answer, age);
            let answer = Arc::new(joined.ok_or(Failure::Malformed)?);
            Ok(Given { answer, age: 0, source: given.source.clone() })
        });
        self.resolver.give(user, (&name, kind), joined);
    }

    pub(super) fn find_local(&self, name: &Name, kind: Kind) -> Option<Local> {
        if self.zones.is_empty() && !self.is_special(name)
            || self.resolver.config.hosts.find(name, kind).is_some()
        {
            return None;
        }
        self.find_in_zones(name, kind, SMALL).or_else(|| {
            let is_special = self.is_special(name);
            is_special.then(|| Local::Whole(Ok(Answer::no_such_name((name, kind)))))
        })
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

    /// A name that is special, and not in the hosts file.
    fn is_nowhere(&self, name: &Name, kind: Kind) -> bool {
        self.is_special(name) && self.resolver.config.hosts.find(name, kind).is_none()
    }

    /// Names for which no forwarder is to be asked: they do not exist in the DNS. `localhost` is
    /// answered like the hosts file (RFC 6761, section 6.3). `local.` is multicast's (RFC 6762,
    /// section 22.1), unless the system searches in it: then somebody serves it all the same.
    pub(super) fn is_special(&self, name: &Name) -> bool {
        let searched = || self.resolver.config.search.iter().any(|suffix| suffix.is_within(LOCAL));
        name.is_within(INVALID) || name.is_within(ONION) || name.is_within(LOCAL) && !searched()
    }
}

/// RFC 6761, section 6.4.
const INVALID: &[u8] = b"\x07invalid\0";
/// RFC 7686, section 2.
const ONION: &[u8] = b"\x05onion\0";
const LOCAL: &[u8] = b"\x05local\0";
/// Most answers fit.
const SMALL: usize = 1_232;
/// All that are answers do.
const LARGE: usize = 65_535;
/// As many as there may be questions under way.
const ALIASES_MAX: usize = 32_768;
