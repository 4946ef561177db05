//! One question under way: who waits for it, whom it was put to, where its aliases have led.

use std::time::Duration;

use super::answer::Chain;
use super::cache::Variant;
use super::exchange::Asked;
use super::forwarders::Set;
use crate::base::{Instant, SocketId, Token};
use crate::wire::dns::{Kind, Name};

/// A question that is being put to forwarders.
pub(super) struct Query {
    /// As it is known to the cache; empty for a probe, which nobody else may wait for.
    pub(super) key: Box<[u8]>,
    /// What was asked for.
    pub(super) name: Name,
    /// Where the aliases have led: what forwarders are asked for now.
    pub(super) at: Name,
    pub(super) kind: Kind,
    pub(super) variant: Variant,
    pub(super) chain: Chain,
    pub(super) waiters: Vec<super::User>,
    pub(super) tries: Vec<Try>,
    next_try: u32,
    /// Who was asked in this round.
    pub(super) asked: Set,
    pub(super) round: u8,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// When those who wait are given what expired, if there is something.
    pub(super) stale_at: Instant,
    pub(super) timer_at: Instant,
    /// Only to see whether this forwarder is back.
    pub(super) probe: Option<u8>,
    /// Why the last try came to nothing.
    pub(super) fault: super::Failure,
}

/// A question put to one forwarder once.
pub(super) struct Try {
    pub(super) number: u32,
    pub(super) forwarder: u8,
    pub(super) via: Via,
    /// As it was sent; nothing before.
    pub(super) asked: Option<Asked>,
    pub(super) sent_at: Instant,
    /// When it is not waited for any more. An answer still counts if it comes before the query's end.
    pub(super) timeout_at: Instant,
    pub(super) case_lost: bool,
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

impl Query {
    pub(super) fn new(key: &[u8], question: (&Name, Kind, Variant), now: Instant, within: Duration) -> Self {
        let (name, kind, variant) = question;
        Self {
            key: key.into(),
            name: name.clone(),
            at: name.clone(),
            kind,
            variant,
            chain: Chain::default(),
            waiters: Vec::new(),
            tries: Vec::new(),
            next_try: 0,
            asked: 0,
            round: 0,
            started: now,
            deadline: now + within,
            stale_at: Instant::FAR,
            timer_at: Instant::FAR,
            probe: None,
            fault: super::Failure::NoForwarder,
        }
    }

    /// Another try; its number, unless there were too many.
    pub(super) fn begin_try(
        &mut self,
        forwarder: u8,
        via: Via,
        now: Instant,
        timeout: Duration,
    ) -> Option<u32> {
        let number = self.next_try;
        if number >= TRIES_MAX {
            return None;
        }
        self.next_try += 1;
        let timeout_at = now + timeout;
        self.tries.push(Try {
            number,
            forwarder,
            via,
            asked: None,
            sent_at: now,
            timeout_at,
            case_lost: false,
        });
        Some(number)
    }

    pub(super) fn find(&mut self, number: u32) -> Option<&mut Try> {
        self.tries.iter_mut().find(|one| one.number == number)
    }

    /// A try is still waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.tries.iter().any(|one| one.timeout_at < Instant::FAR)
    }

    /// When something is to be done about it.
    pub(super) fn next_deadline(&self) -> Instant {
        let tries = self.tries.iter().map(|one| one.timeout_at);
        tries.chain([self.deadline, self.stale_at]).min().unwrap_or(self.deadline)
    }
}

/// All forwarders, all rounds and changes of transport together: a forwarder that always says "over
/// TCP" or "another cookie" must not be asked for ever.
const TRIES_MAX: u32 = 24;
