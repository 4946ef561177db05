//! One question under way: who waits for it, whom it was put to, where its aliases lead.

use std::time::Duration;

use super::answer::Chain;
use super::cache::{self, Key, Variant};
use super::config::FORWARDERS_MAX;
use super::exchange::{Asked, Question, Without};
use super::forwarders::{Set, TIMEOUT_MIN};
use super::{Failure, User};
use crate::base::{Instant, SocketId, Token};
use crate::wire::dns::Kind;

/// A question that is being put to forwarders.
pub(super) struct Query {
    /// As it is known to the cache: what was asked for.
    pub(super) key: Box<[u8]>,
    /// Of the key, in the table of questions under way.
    pub(super) hash: u64,
    pub(super) kind: Kind,
    pub(super) variant: Variant,
    /// The answer was aliases, and another query asks for what they lead to.
    pub(super) lead: Option<Box<Lead>>,
    pub(super) waiters: Waiters,
    /// Queries whose aliases lead here.
    pub(super) followers: Vec<Token>,
    /// Aliases that led here from a question that somebody asked.
    pub(super) depth: usize,
    pub(super) tries: Vec<Try>,
    next_try: u32,
    /// How often each forwarder was asked.
    tries_of: [u8; FORWARDERS_MAX],
    /// Who was asked in this round.
    pub(super) asked: Set,
    /// Who gave nonsense for an answer: not asked again, whatever the others say.
    pub(super) distrusted: Set,
    /// Everybody was asked often enough.
    pub(super) hopes: bool,
    /// Who left it unanswered for too long.
    pub(super) silent: Set,
    /// Forwarders that may be asked.
    pub(super) among: Set,
    /// Those that refused it with EDNS.
    pub(super) no_edns: Set,
    /// Those whose answers over UDP lost the case.
    pub(super) case_lost: Set,
    /// Those of them that cannot be asked over TCP.
    pub(super) no_case: Set,
    pub(super) round: u8,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// When those who wait are given what expired, if there is something.
    pub(super) stale_at: Instant,
    pub(super) timer_at: Instant,
    /// Only to see whether this forwarder is back: nobody else may wait for it.
    pub(super) probe: Option<u8>,
    /// Why the last try came to nothing.
    pub(super) fault: Failure,
}

/// Where aliases lead.
pub(super) struct Lead {
    /// The query of their target.
    pub(super) to: Token,
    pub(super) chain: Chain,
}

/// Those who wait for an answer; mostly it is one.
#[derive(Default)]
pub(super) struct Waiters {
    first: Option<User>,
    others: Vec<User>,
}

/// A question put to one forwarder once.
pub(super) struct Try {
    pub(super) number: u32,
    pub(super) forwarder: u8,
    pub(super) via: Via,
    /// As it was sent; nothing before.
    pub(super) asked: Option<Asked>,
    pub(super) sent_at: Instant,
    /// It was put anew, in another way, so often.
    pub(super) changes: u8,
    /// When it is not waited for any more. An answer still counts if it comes before the query's end.
    pub(super) timeout_at: Instant,
    /// Its answer was doubtful, and it was put over TCP as well.
    pub(super) doubted: bool,
}

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// It waits to be sent.
    Queued,
    /// From this socket.
    Udp(SocketId),
    /// On this connection.
    Stream(Token),
}

impl Waiters {
    pub(super) fn push(&mut self, user: User) {
        match &mut self.first {
            None => self.first = Some(user),
            Some(_) => self.others.push(user),
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// In the order in which they came.
    pub(super) fn into_iter(self) -> impl Iterator<Item = User> {
        self.first.into_iter().chain(self.others)
    }
}

impl Query {
    pub(super) fn new(key: &Key, hash: u64, now: Instant, within: Duration) -> Self {
        let (_, kind, variant) = key.question();
        Self {
            key: key.bytes().into(),
            hash,
            kind,
            variant,
            lead: None,
            waiters: Waiters::default(),
            followers: Vec::new(),
            depth: 0,
            tries: Vec::new(),
            next_try: 0,
            asked: 0,
            distrusted: 0,
            silent: 0,
            among: 0,
            no_edns: 0,
            case_lost: 0,
            no_case: 0,
            hopes: false,
            tries_of: [0; FORWARDERS_MAX],
            round: 0,
            started: now,
            deadline: now + within,
            stale_at: Instant::FAR,
            timer_at: Instant::FAR,
            probe: None,
            fault: Failure::NoForwarder,
        }
    }

    /// The name that was asked for, in wire form.
    pub(super) fn name(&self) -> &[u8] {
        cache::name_of(&self.key)
    }

    /// What forwarders are asked.
    pub(super) fn question(&self) -> Question<'_> {
        (self.name(), self.kind, self.variant)
    }

    /// Another try; its number, unless there were too many.
    pub(super) fn begin_try(
        &mut self,
        forwarder: u8,
        via: Via,
        now: Instant,
        timeout: Duration,
    ) -> Option<u32> {
        let tries = self.tries_of.get_mut(usize::from(forwarder)).filter(|tries| **tries < TRIES_MAX)?;
        *tries += 1;
        let number = self.next_try;
        self.next_try += 1;
        let timeout_at = now + timeout;
        self.tries.push(Try {
            number,
            forwarder,
            via,
            asked: None,
            sent_at: now,
            changes: 0,
            timeout_at,
            doubted: false,
        });
        Some(number)
    }

    /// Whoever is asked from now on is another one.
    pub(super) fn forget_tries(&mut self) {
        (self.tries_of, self.silent, self.hopes) = ([0; FORWARDERS_MAX], 0, false);
        (self.no_edns, self.case_lost, self.no_case) = (0, 0, 0);
    }

    /// What it goes without when it is put to this forwarder.
    pub(super) fn without(&self, forwarder: u8) -> Without {
        let has = |set: Set| set & 1 << forwarder != 0;
        Without { edns: has(self.no_edns), case: has(self.no_case) }
    }

    pub(super) fn find(&mut self, number: u32) -> Option<&mut Try> {
        self.tries.iter_mut().find(|one| one.number == number)
    }

    /// A try is still waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.tries.iter().any(|one| one.timeout_at < Instant::FAR)
    }

    /// Whose tries are still waited for.
    pub(super) fn waited_for(&self) -> Set {
        let waited = self.tries.iter().filter(|one| one.timeout_at < Instant::FAR);
        waited.fold(0, |all, one| all | 1 << one.forwarder)
    }

    /// A forwarder's answer over a stream is waited for, by another try than this.
    pub(super) fn waits_over_stream(&self, forwarder: u8, but: Option<u32>) -> bool {
        self.tries.iter().any(|one| {
            let waits = matches!(one.via, Via::Stream(_)) && one.timeout_at < Instant::FAR;
            one.forwarder == forwarder && waits && Some(one.number) != but
        })
    }

    /// An answer of a forwarder over UDP is waited for, by another try than this, that has not come in
    /// doubtful form already.
    pub(super) fn waits_over_udp(&self, forwarder: u8, but: u32) -> bool {
        self.tries.iter().any(|one| {
            let waits = !matches!(one.via, Via::Stream(_)) && one.timeout_at < Instant::FAR;
            one.forwarder == forwarder && waits && !one.doubted && one.number != but
        })
    }

    /// Until when an answer may still be hoped for, if any question is out.
    pub(super) fn hopes_until(&self) -> Option<Instant> {
        let sent = self.tries.iter().filter(|one| one.asked.is_some()).map(|one| one.sent_at);
        sent.max().filter(|_| self.probe.is_none()).map(|sent_at| sent_at + PATIENCE)
    }

    /// So near its end that no answer to another question would be waited for.
    pub(super) fn is_ending(&self, now: Instant) -> bool {
        self.deadline.since(now) < TIMEOUT_MIN.min(self.deadline.since(self.started) / 4)
    }

    /// Why it fails now: somebody was there, if only the time was lacking.
    pub(super) fn failure(&self, now: Instant) -> Failure {
        if self.fault == Failure::NoForwarder && self.is_ending(now) { Failure::Timeout } else { self.fault }
    }

    /// When something is to be done about it.
    pub(super) fn next_deadline(&self) -> Instant {
        let tries = self.tries.iter().map(|one| one.timeout_at);
        tries.chain([self.deadline, self.stale_at]).min().unwrap_or(self.deadline)
    }
}

/// As long as glibc waits for each question: some names take a resolver seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// All rounds, aliases and changes of transport together: a forwarder that always says "over TCP" or
/// "another cookie" must not be asked for ever. Each has its own, so that it takes nothing from others.
const TRIES_MAX: u8 = 24;
