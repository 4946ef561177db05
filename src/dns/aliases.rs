//! Where aliases lead. What they stand for is a question of its own, so that it is asked once,
//! whoever's aliases lead there, and whoever asks for it himself.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::answer::{Answer, CHAIN_MAX, Chain, Reading};
use super::cache::{Freshness, Key};
use super::forwarders::Set;
use super::query::Lead;
use super::resolver::{ROUNDS, Resolver, WAITERS_MAX};
use crate::base::{Cx, Instant, Token};
use crate::model::dns::Source;
use crate::wire::dns::{Message, Name};

/// A query learns what became of the one that its aliases lead to.
pub(super) struct Led {
    query: Token,
    to: Token,
    outcome: Result<(Arc<Answer>, Source), Failure>,
    /// Who led that one astray.
    distrusted: Set,
}

impl Led {
    /// It is about this query.
    pub(super) fn is_of(&self, query: Token) -> bool {
        self.query == query
    }
}

impl Resolver {
    /// The answer was only aliases, by this try's or from what is remembered: what they lead to is
    /// asked for, unless it is known.
    pub(super) fn follow(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        number: Option<u32>,
        (chain, source): (Chain, Source),
        target: &Name,
    ) {
        let Some(query) = self.queries.get(token) else { return };
        if self.is_here(target, query.kind) {
            // What is looked for on this machine is no forwarder's business.
            let aliases =
                Name::from_wire(query.name()).and_then(|name| Answer::of_aliases((&name, query.kind), chain));
            return match aliases {
                Some(aliases) => self.answered(cx, token, number, (aliases, source)),
                None => self.useless(cx, token, number, Failure::Malformed),
            };
        }
        let key = Key::new(target, query.kind, query.variant);
        let known = match self.cache.find(&key, cx.now) {
            Some((entry, Freshness::Fresh(_) | Freshness::Renew(_))) => {
                let mut copy = vec![0; entry.answer.message().len()];
                entry.answer.copy_to(&mut copy, entry.age(cx.now), 0).map(|_| copy)
            }
            _ => None,
        };
        if let Some(Ok(message)) = known.as_deref().map(Message::parse) {
            self.drop_tries(cx.now, token);
            return self.read_on(cx, token, chain, &message, Source::Memory);
        }
        let hash = self.cache.hash(key.bytes());
        let there = self.under_way(key.bytes(), hash);
        let Some(depth) = self.queries.get(token).map(|query| query.depth + 1) else { return };
        if depth > CHAIN_MAX || there.is_some_and(|there| self.leads_to(there, token)) {
            return self.useless(cx, token, number, Failure::Chain);
        }
        self.drop_tries(cx.now, token);
        let Some(to) = there.or_else(|| self.begin(cx, &key, hash)) else {
            return self.end(cx, token, Err(Failure::Overloaded));
        };
        let Some(other) = self.queries.get_mut(to) else { return };
        if other.followers.len() >= WAITERS_MAX {
            return self.end(cx, token, Err(Failure::Overloaded));
        }
        other.followers.push(token);
        let Some(query) = self.queries.get_mut(token) else { return };
        query.lead = Some(Box::new(Lead { to, chain }));
        let (distrusted, silent) = (query.distrusted, query.silent);
        if there.is_none()
            && let Some(other) = self.queries.get_mut(to)
        {
            (other.depth, other.distrusted, other.silent) = (depth, distrusted, silent);
            // Who is dead costs the whole chain one time-out.
            other.asked = distrusted | silent;
            self.ask_next(cx, to);
        }
    }

    /// Whether one query waits for another, in the end, or for more than anybody follows.
    fn leads_to(&self, from: Token, to: Token) -> bool {
        let next = |token: &Token| self.queries.get(*token)?.lead.as_ref().map(|lead| lead.to);
        let mut way = std::iter::successors(Some(from), next);
        way.by_ref().take(CHAIN_MAX).any(|token| token == to) || way.next().is_some()
    }

    /// Those whose aliases lead to a query that is over are to learn what became of it.
    pub(super) fn tell_followers(
        &mut self,
        followers: Vec<Token>,
        to: Token,
        outcome: &Result<(Arc<Answer>, Source), Failure>,
        distrusted: Set,
    ) {
        let led = followers.into_iter().map(|query| Led { query, to, outcome: outcome.clone(), distrusted });
        self.led.extend(led);
    }

    /// Those who are to learn something learn it, one after the other however long the chain is.
    pub(super) fn lead_on(&mut self, cx: &mut Cx<'_>) {
        // What is left over of the last time comes first, and then these.
        if self.led_at < Instant::FAR || std::mem::replace(&mut self.leading, true) {
            return;
        }
        let mut bytes = 0;
        while bytes < LED_AT_ONCE
            && let Some(Led { query: token, to, outcome, distrusted }) = self.led.pop_front()
        {
            bytes += outcome.as_ref().map_or(0, |(answer, _)| answer.size());
            let Some(query) = self.queries.get_mut(token) else { continue };
            let Some(lead) = query.lead.take_if(|lead| lead.to == to) else { continue };
            match outcome {
                Ok((answer, source)) => match Message::parse(answer.message()) {
                    Ok(message) => self.read_on(cx, token, lead.chain, &message, source),
                    Err(_) => self.end(cx, token, Err(Failure::Malformed)),
                },
                Err(Failure::Chain) => {
                    query.distrusted |= distrusted;
                    self.astray(cx, token);
                }
                Err(failure) => self.end(cx, token, Err(failure)),
            }
        }
        self.leading = false;
        self.led_at = if self.led.is_empty() { Instant::FAR } else { cx.now + LED_PAUSE };
    }

    /// Reads what is known of where the aliases lead.
    fn read_on(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        chain: Chain,
        message: &Message<'_>,
        source: Source,
    ) {
        let Some(query) = self.queries.get(token) else { return };
        let at = message.question.and_then(|question| Name::from_wire(question.name));
        let Some((name, at)) = Name::from_wire(query.name()).zip(at) else { return };
        match Answer::read(message, (&name, query.kind), chain, &at, self.terms(false)) {
            Reading::Whole(answer) => self.answered(cx, token, None, (answer, source)),
            Reading::Follow(chain, target) => self.follow(cx, token, None, (chain, source), &target),
            Reading::Useless(useless) => self.useless(cx, token, None, useless.into()),
        }
    }

    /// What a try came to, or what is remembered, is of no use.
    pub(super) fn useless(&mut self, cx: &mut Cx<'_>, token: Token, number: Option<u32>, fault: Failure) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(number) = number else { return self.end(cx, token, Err(fault)) };
        if let Some(forwarder) = query.find(number).map(|one| one.forwarder) {
            query.distrusted |= 1 << forwarder;
        }
        self.try_failed(cx, token, number, fault);
    }

    /// All who were asked lead in a circle, or further than anybody follows. Whoever gave the first
    /// alias may be the one who is wrong: another is asked there, not here.
    pub(super) fn astray(&mut self, cx: &mut Cx<'_>, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        query.fault = Failure::Chain;
        query.asked |= query.distrusted;
        // Once more, those who are not to blame.
        query.round = query.round.max(ROUNDS - 2);
        let (followers, distrusted) = (std::mem::take(&mut query.followers), query.distrusted);
        let among = query.among;
        let forlorn = query.waiters.is_empty() && !followers.is_empty();
        self.tell_followers(followers, token, &Err(Failure::Chain), distrusted);
        if forlorn || self.forwarders.choose(among, distrusted, cx.rng) == 0 {
            self.end(cx, token, Err(Failure::Chain));
        } else {
            self.ask_next(cx, token);
        }
        self.lead_on(cx);
    }
}

/// Bytes of answers that are read in one go for queries whose aliases lead to them: so many may wait
/// for one that all of them together would take a second. Reading takes some 10 ns a byte.
const LED_AT_ONCE: usize = 64 << 10;
const LED_PAUSE: Duration = Duration::from_millis(1);
