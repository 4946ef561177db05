//! Who waits for which answer, and which names are to be kept at hand.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Instant;
use crate::dns::Looked;
use crate::dns::cache::Summary;
use crate::engine::Engine;
use crate::engine::io::{Answer, Command, CommandId, NameQuestion};
use crate::reactor::{Clock, Gauges, Handle, Observer};

/// What comes back from the engine.
pub(super) enum Reply {
    Looked(Box<Looked>),
    Cache(Box<Summary>),
}

/// What the callers' threads and the engine's share.
pub(super) struct Calls {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<u64, Waiting>,
    next: u64,
    /// The names to be kept at hand.
    prefetched: BTreeMap<String, Kept>,
    stop: bool,
    closed: bool,
}

/// A name to be kept at hand.
#[derive(Clone, Copy)]
struct Kept {
    /// When it is to be looked up again.
    at: Instant,
    /// Its place in the order in which they were wanted.
    wanted: u64,
}

enum Waiting {
    Caller(SyncSender<Reply>),
    /// Nobody waits; the name is to stay at hand.
    Prefetch(String),
}

impl Calls {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    /// A call of somebody who waits; `None` after the end.
    pub(super) fn begin(&self, caller: SyncSender<Reply>) -> Option<CommandId> {
        self.lock().begin(Waiting::Caller(caller))
    }

    /// A look-up that nobody waits for; `None` after the end.
    pub(super) fn begin_prefetch(&self, name: &str) -> Option<CommandId> {
        let mut inner = self.lock();
        inner.keep_at_hand(name, Instant::FAR);
        inner.begin(Waiting::Prefetch(name.to_owned()))
    }

    /// The command could not be sent.
    pub(super) fn forget(&self, id: CommandId) {
        let mut inner = self.lock();
        if let Some(Waiting::Prefetch(name)) = inner.open.remove(&id.0) {
            inner.prefetched.remove(&name);
        }
    }

    /// Looks a name up again before its `ttl` seconds are over.
    pub(super) fn prefetch_again(&self, name: &str, ttl: u32) {
        let at = self.again_at(ttl);
        self.lock().keep_at_hand(name, at);
    }

    /// The engine is to end, and is told so again if it could not be told now.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
    }

    /// The engine has ended: nobody waits any longer.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.open.clear();
    }

    fn again_at(&self, ttl: u32) -> Instant {
        self.clock.now() + (Duration::from_secs(u64::from(ttl)) * 23 / 25).max(AGAIN_MIN)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin(&mut self, waiting: Waiting) -> Option<CommandId> {
        if self.closed {
            return None;
        }
        self.next += 1;
        self.open.insert(self.next, waiting);
        Some(CommandId(self.next))
    }

    /// If there are too many, the one that was wanted first has to go.
    fn keep_at_hand(&mut self, name: &str, at: Instant) {
        if self.prefetched.len() >= PREFETCHED_MAX && !self.prefetched.contains_key(name) {
            let first = self.prefetched.iter().min_by_key(|(_, kept)| kept.wanted);
            let first = first.map(|(name, _)| name.clone());
            first.and_then(|first| self.prefetched.remove(&first));
        }
        self.next += 1;
        self.prefetched.insert(name.to_owned(), Kept { at, wanted: self.next });
    }

    fn put_off(&mut self, name: &str, at: Instant) {
        if let Some(kept) = self.prefetched.get_mut(name) {
            kept.at = at;
        }
    }
}

/// Looks on from the engine's thread.
pub(super) struct Watch {
    calls: Arc<Calls>,
    handle: Handle,
}

impl Watch {
    pub(super) fn new(calls: Arc<Calls>, handle: Handle) -> Self {
        Self { calls, handle }
    }

    /// Asks for what expires soon, as often as marks it as wanted and so to be renewed.
    fn prefetch(&mut self) {
        let now = self.calls.clock.now();
        let mut inner = self.calls.lock();
        let due = inner.prefetched.iter().filter(|(_, kept)| kept.at <= now);
        let due: Vec<String> = due.take(AT_ONCE_MAX).map(|(name, _)| name.clone()).collect();
        for name in due {
            inner.put_off(&name, Instant::FAR);
            for _ in 0..ASK {
                let Some(id) = inner.begin(Waiting::Prefetch(name.clone())) else { return };
                let question = NameQuestion::Host(name.clone());
                if self.handle.send(Command::Resolve(id, question)).is_err() {
                    inner.open.remove(&id.0);
                    inner.put_off(&name, now + AGAIN_MIN);
                }
            }
        }
    }
}

impl Observer<Engine> for Watch {
    fn on_answer(&mut self, command: CommandId, answer: Answer) {
        let reply = match answer {
            Answer::Looked(looked) => Reply::Looked(looked),
            Answer::Cache(summary) => Reply::Cache(summary),
            _ => return,
        };
        let waiting = self.calls.lock().open.remove(&command.0);
        match (waiting, reply) {
            // There is room for the one reply; a caller who is gone does not want it.
            (Some(Waiting::Caller(caller)), reply) => drop(caller.try_send(reply)),
            (Some(Waiting::Prefetch(name)), Reply::Looked(looked)) => {
                let ttl = looked.addresses.iter().map(|(_, ttl)| *ttl).min();
                let at = self.calls.again_at(ttl.unwrap_or(RETRY_SECS));
                self.calls.lock().put_off(&name, at);
            }
            (Some(Waiting::Prefetch(_)) | None, _) => {}
        }
    }

    fn on_gauges(&mut self, _engine: &mut Engine, _gauges: &Gauges) {
        if self.calls.lock().stop {
            if self.handle.send(Command::Stop).is_err() {
                log::debug!("the resolver is told to stop a little later");
            }
            return;
        }
        self.prefetch();
    }
}

/// Names that are kept at hand: some thousand questions an hour.
const PREFETCHED_MAX: usize = 1_000;
/// Of names that are due at the same time, so many go at once: a quarter of what the engine takes.
const AT_ONCE_MAX: usize = 80;
/// What is asked for so often is renewed before it expires (`dns::cache`).
const ASK: usize = 3;
/// Answers that hold for a moment only are not chased.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// A name without an address is looked at again after this.
const RETRY_SECS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_hand_are_bounded_and_the_one_wanted_first_goes() {
        let calls = Calls::new(Clock::start());
        for number in 0..=PREFETCHED_MAX {
            calls.prefetch_again(&format!("n{number}"), 60);
            calls.prefetch_again("n1", 60);
        }
        let inner = calls.lock();
        let known = |name: &str| inner.prefetched.contains_key(name);
        assert_eq!(inner.prefetched.len(), PREFETCHED_MAX);
        assert!(!known("n0") && known("n1") && known("n2") && known(&format!("n{PREFETCHED_MAX}")));
    }

    #[test]
    fn after_the_end_nobody_waits() {
        let calls = Calls::new(Clock::start());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        assert!(calls.begin(sender.clone()).is_some());
        calls.close();
        assert!(calls.begin(sender).is_none());
        assert!(receiver.recv().is_err());
    }
}
