//! The part of the turn that deals with TCP: connecting, reading, writing, closing.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::model::TlsWish;

/// What is to become of a link that was looked at.
pub(super) enum Next {
    /// Nothing until it is ready again.
    Rest,
    /// Its budget is used up: the next turn goes on.
    Again,
    /// The engine does not want it read now, or nothing may be read now.
    Parked,
}

impl<E: Drive, A: Archive, O: Observer<E>, N: Net> Reactor<E, A, O, N> {
    pub(super) fn connect(
        &mut self,
        id: LinkId,
        (from, to): (Option<IpAddr>, SocketAddr),
        tls: Option<Box<TlsWish>>,
    ) {
        self.gauges.connects += 1;
        let stream = match self.net.tcp_connect(id, from, to) {
            Ok(stream) => stream,
            Err(error) => return self.report_closed(id, errors::reason_of(&error)),
        };
        self.insert_link(id, Link::connecting(stream, tls.map_or(Filter::Clear, Filter::Wanted)));
    }

    pub(super) fn insert_link(&mut self, id: LinkId, link: Link<N::Tcp>) {
        match self.links.insert(id, link) {
            Ok(None) => {}
            Ok(Some(old)) => self.closing.push(old.stream),
            Err(link) => {
                self.closing.push(link.stream);
                self.report_closed(id, Reason::NoResources);
            }
        }
    }

    pub(super) fn close(&mut self, id: LinkId) {
        // What was queued just before the end still leaves, as far as the system takes it.
        // If that fails it no longer matters to anybody.
        let _ = self.write_queue(id);
        self.say_goodbye(id);
        if let Some(link) = self.links.remove(id) {
            self.closing.push(link.stream);
        }
    }

    pub(super) fn want_write(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !link.writing {
            link.writing = true;
            self.writing.push(id);
        }
    }

    pub(super) fn read_links(&mut self) {
        // The list is taken first: what is listed meanwhile waits for the next turn.
        let mut taken = std::mem::replace(&mut self.reading, std::mem::take(&mut self.spare));
        for id in taken.drain(..) {
            let next = self.read_link(id);
            let Some(link) = self.links.get_mut(id) else { continue };
            match next {
                Next::Rest => link.listed = false,
                Next::Parked => self.reading.push(id),
                Next::Again => {
                    self.reading.push(id);
                    self.busy = true;
                }
            }
        }
        self.spare = taken;
    }

    /// Writes what waits, as far as the streams take it; true if that changed anything for the
    /// engine.
    pub(super) fn write_links(&mut self) -> bool {
        let mut changed = false;
        let mut taken = std::mem::replace(&mut self.writing, std::mem::take(&mut self.spare));
        for id in taken.drain(..) {
            changed |= self.write_link(id);
        }
        self.spare = taken;
        changed
    }

    fn read_link(&mut self, id: LinkId) -> Next {
        if !self.is_open(id) {
            return Next::Rest;
        }
        let mut left = READ_BUDGET;
        loop {
            let Some(link) = self.links.get_mut(id) else { return Next::Rest };
            if let Filter::Tls(_) = link.filter {
                return self.read_secure(id);
            }
            if !link.readable || link.eof {
                return Next::Rest;
            }
            if left == 0 {
                return Next::Again;
            }
            if !self.engine.wants_read(id) {
                return Next::Parked;
            }
            let allowed = self.engine.read_allowance(self.now, id, left).min(left);
            if allowed == 0 {
                return Next::Parked;
            }
            match self.net.tcp_read(&mut link.stream, &mut self.buffer[..allowed]) {
                Ok(0) => {
                    link.eof = true;
                    self.input(Input::Eof(id));
                    return Next::Rest;
                }
                Ok(count) => {
                    if count < allowed && N::SHORT_READ_MEANS_EMPTY && !link.ending {
                        link.readable = false;
                    }
                    left -= count;
                    self.gauges.stream_bytes_in += count as u64;
                    let input = Input::Received(id, &self.buffer[..count]);
                    self.engine.handle(self.now, self.unix, input, &mut []);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => (link.readable, link.ending) = (false, false),
                    io::ErrorKind::Interrupted => return Next::Again,
                    _ => return self.fail(id, &error),
                },
            }
        }
    }

    /// True if the link is open; the engine is told when it becomes so.
    fn is_open(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        if link.open {
            return true;
        }
        if !link.writable && !link.ending {
            return false;
        }
        if link.ending || !N::WRITABLE_MEANS_OPEN {
            match self.net.tcp_outcome(&mut link.stream) {
                Ok(true) => {}
                Ok(false) => {
                    (link.writable, link.ending, link.readable) = (false, false, false);
                    return false;
                }
                Err(error) => {
                    self.fail(id, &error);
                    return false;
                }
            }
        }
        link.open = true;
        self.input(Input::Opened(id));
        self.begin_tls(id)
    }

    /// True if bytes left, or the link failed.
    fn write_link(&mut self, id: LinkId) -> bool {
        let before = self.gauges.stream_bytes_out;
        if let Err(error) = self.write_queue(id) {
            self.fail(id, &error);
            return true;
        }
        self.gauges.stream_bytes_out > before
    }

    /// Writes until the queue is empty, the stream takes no more, or a budget is used up.
    fn write_queue(&mut self, id: LinkId) -> io::Result<()> {
        let mut left = WRITE_BUDGET;
        while left > 0 {
            let Some(link) = self.links.get_mut(id) else { return Ok(()) };
            if !link.open || !link.writable {
                return Ok(());
            }
            if let Filter::Tls(_) = link.filter {
                return self.write_secure(id);
            }
            let allowed = self.engine.write_allowance(self.now, id);
            let queue = self.engine.send_queue(id).filter(|queue| !queue.is_empty() && allowed > 0);
            let Some(queue) = queue else {
                // Empty, or the engine says when to go on.
                link.writing = false;
                return Ok(());
            };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = queue.slices_within(allowed, &mut slices);
            match self.net.tcp_write(&mut link.stream, &slices[..filled]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.engine.wrote(self.now, id, count);
                    left = left.saturating_sub(count);
                    self.gauges.stream_bytes_out += count as u64;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => link.writable = false,
                    io::ErrorKind::Interrupted => left = 0,
                    _ => return Err(error),
                },
            }
        }
        self.writing.push(id);
        self.busy = true;
        Ok(())
    }

    pub(super) fn fail(&mut self, id: LinkId, error: &io::Error) -> Next {
        if let Some(link) = self.links.remove(id) {
            self.closing.push(link.stream);
        }
        self.report_closed(id, errors::reason_of(error));
        Next::Rest
    }

    pub(super) fn report_closed(&mut self, id: LinkId, reason: Reason) {
        self.gauges.no_resources += u64::from(reason == Reason::NoResources);
        self.input(Input::Closed(id, reason));
    }
}

/// The most that one link is written in one turn.
pub(super) const WRITE_BUDGET: usize = 256 << 10;
/// Segments for one `writev`: a handshake and the requests that follow it are fewer.
pub(super) const SLICES_MAX: usize = 16;
