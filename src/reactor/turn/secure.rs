//! The part of the turn that deals with streams under TLS. What the filter holds back is bounded:
//! nothing is read from a stream before the engine has what was deciphered, and nothing is taken
//! from the engine before the system has what was enciphered.

use std::io::{self, IoSlice, Read, Write};

use super::streams::{Next, SLICES_MAX, WRITE_BUDGET};
use super::*;
use crate::model::TlsFailure;

/// What reading a stream once came to.
enum Step {
    /// Something was read, so many bytes.
    Read(usize),
    /// Nothing more for now, or the link is gone.
    Over(Next),
}

impl<E: Drive, A: Archive, O: Observer<E>, N: Net> Reactor<E, A, O, N> {
    /// Begins the handshake on a stream that is to have one. False if the link is gone.
    pub(super) fn begin_tls(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let Filter::Wanted(wish) = &link.filter else { return true };
        self.tls.set_clock(self.unix);
        match self.tls.open(wish) {
            Ok(session) => {
                link.filter = Filter::Tls(Box::new(session));
                self.want_write(id);
                true
            }
            Err(cause) => {
                self.insecure(id, Box::new(TlsFailure { cause, certificate: None }));
                false
            }
        }
    }

    pub(super) fn read_secure(&mut self, id: LinkId) -> Next {
        let mut left = READ_BUDGET;
        loop {
            let Some(Link { filter: Filter::Tls(session), readable, eof, .. }) = self.links.get_mut(id)
            else {
                return Next::Rest;
            };
            let (ready, secured) = (*readable && !*eof, session.is_secured());
            if session.waiting() > 0 {
                if self.hand_in(id) {
                    continue;
                }
                return Next::Parked;
            }
            if session.is_over() && !std::mem::replace(eof, true) {
                self.input(Input::Eof(id));
                return Next::Rest;
            }
            if !ready {
                return Next::Rest;
            }
            if left == 0 {
                return Next::Again;
            }
            if secured && (!self.engine.wants_read(id) || self.engine.read_allowance(self.now, id, 1) == 0) {
                return Next::Parked;
            }
            match self.receive(id) {
                Step::Read(count) => left = left.saturating_sub(count),
                Step::Over(next) => return next,
            }
        }
    }

    /// Writes until the engine has nothing more to say, the stream takes no more, or a budget is
    /// used up.
    pub(super) fn write_secure(&mut self, id: LinkId) -> io::Result<()> {
        let mut left = WRITE_BUDGET;
        while left > 0 {
            let Some(Link { filter: Filter::Tls(session), stream, writable, writing, .. }) =
                self.links.get_mut(id)
            else {
                return Ok(());
            };
            if !*writable {
                return Ok(());
            }
            let has_more = session.wants_write()
                || session.is_secured() && encipher(&mut self.engine, self.now, id, session);
            if !has_more {
                // Nothing waits, or the engine says when to go on.
                *writing = false;
                return Ok(());
            }
            match session.write(&mut Pipe::new(&mut self.net, stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.gauges.stream_bytes_out += count as u64;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => *writable = false,
                    io::ErrorKind::Interrupted => left = 0,
                    _ => return Err(error),
                },
            }
        }
        self.writing.push(id);
        self.busy = true;
        Ok(())
    }

    /// Says that nothing more will come, as far as the system takes it.
    pub(super) fn say_goodbye(&mut self, id: LinkId) {
        if let Some(Link { filter: Filter::Tls(session), .. }) = self.links.get_mut(id) {
            session.close();
            self.write_last(id);
        }
    }

    /// Hands in some of what was deciphered; false if the engine takes nothing now.
    fn hand_in(&mut self, id: LinkId) -> bool {
        if !self.engine.wants_read(id) {
            return false;
        }
        let Some(Link { filter: Filter::Tls(session), .. }) = self.links.get_mut(id) else { return false };
        let most = session.waiting().min(self.buffer.len());
        let allowed = self.engine.read_allowance(self.now, id, most).min(most);
        if allowed == 0 {
            return false;
        }
        let count = session.take(&mut self.buffer[..allowed]);
        let input = Input::Received(id, &self.buffer[..count]);
        self.engine.handle(self.now, self.unix, input, &mut []);
        count > 0
    }

    /// Reads once from the stream and lets the session see what came.
    fn receive(&mut self, id: LinkId) -> Step {
        let Some(Link { filter: Filter::Tls(session), stream, readable, ending, .. }) =
            self.links.get_mut(id)
        else {
            return Step::Over(Next::Rest);
        };
        let mut pipe = Pipe::new(&mut self.net, stream);
        let count = match session.read(&mut pipe) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    (*readable, *ending) = (false, false);
                    return Step::Over(Next::Rest);
                }
                io::ErrorKind::Interrupted => return Step::Over(Next::Again),
                _ => return Step::Over(self.fail(id, &error)),
            },
        };
        if pipe.short && N::SHORT_READ_MEANS_EMPTY && !*ending && count > 0 {
            *readable = false;
        }
        self.gauges.stream_bytes_in += count as u64;
        self.tls.set_clock(self.unix);
        let progress = match session.process(&self.tls) {
            Ok(progress) => progress,
            Err(failure) => {
                self.insecure(id, failure);
                return Step::Over(Next::Rest);
            }
        };
        if session.wants_write() || progress.secured.is_some() {
            self.want_write(id);
        }
        if let Some(facts) = progress.secured {
            self.input(Input::Secured(id, facts));
        }
        for _ in 0..progress.tickets {
            self.input(Input::Ticket(id));
        }
        Step::Read(count)
    }

    /// TLS failed: the other end is told once, as far as the system takes it, and the engine.
    fn insecure(&mut self, id: LinkId, failure: Box<TlsFailure>) {
        self.write_last(id);
        if let Some(link) = self.links.remove(id) {
            self.closing.push(link.stream);
        }
        self.input(Input::Insecure(id, failure));
    }

    /// Writes what the session has, once. If that fails it no longer matters to anybody.
    fn write_last(&mut self, id: LinkId) {
        if let Some(Link { filter: Filter::Tls(session), stream, writable: true, .. }) =
            self.links.get_mut(id)
            && session.wants_write()
        {
            let _ = session.write(&mut Pipe::new(&mut self.net, stream));
        }
    }
}

/// Takes what the engine wants said into the session; false if there is nothing.
fn encipher<E: Drive>(engine: &mut E, now: Instant, id: LinkId, session: &mut Session) -> bool {
    let allowed = engine.write_allowance(now, id);
    let Some(queue) = engine.send_queue(id).filter(|queue| !queue.is_empty() && allowed > 0) else {
        return false;
    };
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let filled = queue.slices_within(allowed, &mut slices);
    let count = session.put(&slices[..filled]);
    engine.wrote(now, id, count);
    count > 0
}

/// A stream as the session wants it.
struct Pipe<'a, N: Net> {
    net: &'a mut N,
    tcp: &'a mut N::Tcp,
    /// The last read left room.
    short: bool,
}

impl<'a, N: Net> Pipe<'a, N> {
    fn new(net: &'a mut N, tcp: &'a mut N::Tcp) -> Self {
        Self { net, tcp, short: false }
    }
}

impl<N: Net> Read for Pipe<'_, N> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.net.tcp_read(self.tcp, into)?;
        self.short = count < into.len();
        Ok(count)
    }
}

impl<N: Net> Write for Pipe<'_, N> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.net.tcp_write(self.tcp, &[IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.net.tcp_write(self.tcp, from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
