//! The part of the turn that accepts streams.

use std::io;

use super::*;
use crate::engine::io::AcceptorId;

/// What accepts streams, and whether it may.
pub(super) struct Acceptors<A> {
    all: Vec<Acceptor<A>>,
    /// The engine wants more.
    wanted: bool,
    /// The system had nothing left for a stream: there is no use in asking before then.
    resume_at: Option<Instant>,
    /// That was said.
    failing: bool,
}

struct Acceptor<A> {
    acceptor: A,
    /// A stream may wait.
    ready: bool,
}

/// What one attempt came to.
enum Accepted {
    /// There may be more.
    One,
    /// None waits.
    None,
    /// Nobody can be let in for now.
    Exhausted,
}

impl<A> Acceptors<A> {
    pub(super) fn new(acceptors: Vec<A>) -> Self {
        // Somebody may have come since they were opened.
        let all = acceptors.into_iter().map(|acceptor| Acceptor { acceptor, ready: true }).collect();
        Self { all, wanted: true, resume_at: None, failing: false }
    }

    pub(super) fn note(&mut self, id: AcceptorId) {
        if let Some(acceptor) = self.all.get_mut(usize::from(id.0)) {
            acceptor.ready = true;
        }
    }

    pub(super) fn set(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// When to try again what the system had no room for.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.resume_at.filter(|_| self.wanted)
    }
}

impl<E: Drive, A: Archive, O: Observer<E>, N: Net> Reactor<E, A, O, N> {
    pub(super) fn accept_streams(&mut self) {
        if !self.acceptors.wanted || self.acceptors.resume_at.is_some_and(|at| self.now < at) {
            return;
        }
        self.acceptors.resume_at = None;
        for index in 0..self.acceptors.all.len() {
            if !self.engine.accepts(AcceptorId(index as u16)) {
                continue;
            }
            for _ in 0..ACCEPTS_PER_TURN {
                match self.accept(index) {
                    Ok(Accepted::One) => {}
                    Ok(Accepted::None) => break,
                    Ok(Accepted::Exhausted) => {
                        self.acceptors.resume_at = Some(self.now + ACCEPT_AGAIN);
                        return;
                    }
                    Err(error) => log::debug!("a stream was gone before it was accepted: {error}"),
                }
            }
            self.busy |= self.acceptors.all[index].ready;
        }
    }

    /// One stream. An error is of that stream only.
    fn accept(&mut self, index: usize) -> io::Result<Accepted> {
        let acceptor = &mut self.acceptors.all[index];
        if !acceptor.ready {
            return Ok(Accepted::None);
        }
        let (accepted, remote) = match self.net.tcp_accept(&mut acceptor.acceptor) {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                acceptor.ready = false;
                return Ok(Accepted::None);
            }
            Err(error) if errors::is_broken_descriptor(&error) => {
                log::error!("streams are no longer accepted: {error}");
                acceptor.ready = false;
                return Ok(Accepted::None);
            }
            Err(error) if errors::is_exhaustion(&error) => {
                self.gauges.no_resources += 1;
                if !std::mem::replace(&mut self.acceptors.failing, true) {
                    log::warn!("a stream cannot be accepted: {error}");
                }
                return Ok(Accepted::Exhausted);
            }
            Err(error) => return Err(error),
        };
        self.acceptors.failing = false;
        // The engine has something new to say.
        self.busy = true;
        match self.engine.admit(self.now, AcceptorId(index as u16), remote) {
            Some(id) => self.adopt(id, accepted),
            None => self.gauges.turned_away += 1,
        }
        Ok(Accepted::One)
    }

    fn adopt(&mut self, id: LinkId, accepted: N::Accepted) {
        self.gauges.accepted += 1;
        match self.net.tcp_adopt(id, accepted) {
            Ok(stream) => self.insert_link(id, Link::accepted(stream)),
            Err(error) => self.report_closed(id, errors::reason_of(&error)),
        }
    }
}

/// Whoever is there already goes first: a turn lets few in.
const ACCEPTS_PER_TURN: usize = 8;
/// Descriptors come free when streams end, which nothing tells of here. Meanwhile who knocks waits
/// in the system's queue; a tenth of a second is little to them, and ten calls a second little to us.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
