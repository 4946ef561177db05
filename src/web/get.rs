//! One thing is got over one connection, which ends with it.
//!
//! Made when the connection is begun. [`Get::on_opened`] when it may be written on, then bytes until
//! there is an event, after which nothing is to be handed in.

use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use crate::base::{Instant, SendQueue};
use crate::wire::http::{self, Framing, Head, Validators, chunk_size, request, response_head};

#[cfg(doc)]
use crate::wire::http::HEAD_MAX;
use crate::wire::http::Url;

/// How much and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body, as they come.
    pub body_bytes_max: usize,
    /// Until the connection may be written on.
    pub connect: Duration,
    /// From there until the head is whole.
    pub head: Duration,
    /// From the start to the end.
    pub total: Duration,
    /// So many bytes of the body must come in every [`Limits::pace_window`], but for the last.
    pub pace_bytes_min: usize,
    /// The time for them.
    pub pace_window: Duration,
}

impl Limits {
    /// For lists of names, the largest of which have some 30 MB.
    pub const DEFAULT: Self = Self {
        body_bytes_max: 64 << 20,
        connect: Duration::from_secs(10),
        head: Duration::from_secs(15),
        total: Duration::from_secs(600),
        pace_bytes_min: 16 << 10,
        pace_window: Duration::from_secs(10),
    };
}

/// What came of it. Said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An answer.
    Done(Reply),
    /// None.
    Failed(Fault),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The thing itself, and how to ask for it the next time.
    Content(Body, Validators),
    /// It is still what was known.
    NotModified,
    /// It is elsewhere: as the server wrote it.
    Moved(String),
    /// Another status than we can do anything with.
    Status(u16),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What came is no HTTP that we take.
    Http(http::Error),
    /// A redirect that does not say where to.
    NoLocation,
    /// The body is longer than allowed.
    TooLong,
    /// The connection ended before the answer did.
    Cut,
    /// It took too long.
    Timeout(Stage),
    /// It came too slowly.
    TooSlow,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection.
    Connect,
    /// The head.
    Head,
    /// All of it.
    Total,
}

/// A request and its answer.
pub struct Get {
    limits: Limits,
    request: Option<Bytes>,
    state: State,
    event: Option<Event>,
    began: Instant,
    /// The stage's own deadline.
    stage_at: Instant,
    /// Bytes of interim answers (RFC 9110, section 15.2).
    interim_bytes: usize,
}

enum State {
    Connecting,
    Head,
    Body(Receiving),
    Over,
}

/// A body on its way.
struct Receiving {
    validators: Validators,
    body: Body,
    part: Part,
    /// The length of the body when the window began.
    window_len: usize,
}

/// What comes next of a body.
#[derive(Clone, Copy)]
enum Part {
    /// So many bytes, then the end.
    Plain(u64),
    /// Bytes until the connection ends.
    UntilClose,
    /// The line before a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of the line behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk, of which so many bytes have come (RFC 9112, section 7.1.2).
    Trailers(usize),
}

impl Get {
    /// Begins at `now`, when the connection does.
    pub fn new(url: &Url, known: &Validators, limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            request: Some(request(url, known).into()),
            state: State::Connecting,
            event: None,
            began: now,
            stage_at: now + limits.connect,
            interim_bytes: 0,
        }
    }

    /// The connection may be written on: with TLS, when it is secure.
    pub fn on_opened(&mut self, now: Instant) {
        if matches!(self.state, State::Connecting) {
            self.state = State::Head;
            self.stage_at = now + self.limits.head;
        }
    }

    /// Bytes came; how many of them were used. It leaves at most [`HEAD_MAX`]. On a fault the
    /// connection is to be closed, and the event says why.
    pub fn on_bytes(&mut self, now: Instant, data: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let step = match &mut self.state {
                State::Connecting => Err(Fault::Http(http::Error::NotHttp)),
                State::Head => self.on_head(now, &data[used..]),
                State::Body(receiving) => receiving.on_bytes(&data[used..], self.limits.body_bytes_max),
                // What comes behind the end is of no interest.
                State::Over => return Ok(data.len()),
            };
            match step {
                Ok(Step::Used(count)) => used += count,
                Ok(Step::Wait) => return Ok(used),
                Ok(Step::End) => self.complete(),
                Err(fault) => {
                    self.fail(fault);
                    return Err(fault);
                }
            }
        }
    }

    /// The other end sends no more.
    pub fn on_eof(&mut self) {
        match &self.state {
            State::Body(Receiving { part: Part::UntilClose, .. }) => self.complete(),
            State::Over => {}
            State::Connecting | State::Head | State::Body(_) => self.fail(Fault::Cut),
        }
    }

    /// What is to be written.
    pub fn poll_write(&mut self, out: &mut SendQueue) {
        if matches!(self.state, State::Connecting) {
            return;
        }
        if let Some(request) = self.request.take()
            && out.push(request.clone()).is_err()
        {
            self.request = Some(request);
        }
    }

    /// What came of it.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// When it has taken too long, or is looked at again.
    pub fn next_deadline(&self) -> Option<Instant> {
        let over = matches!(self.state, State::Over);
        (!over).then(|| self.stage_at.min(self.began + self.limits.total))
    }

    /// The deadline may have come.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        if now >= self.began + self.limits.total {
            return self.fail(Fault::Timeout(Stage::Total));
        }
        match &mut self.state {
            State::Connecting => self.fail(Fault::Timeout(Stage::Connect)),
            State::Head => self.fail(Fault::Timeout(Stage::Head)),
            State::Body(receiving) if receiving.came() < self.limits.pace_bytes_min => {
                self.fail(Fault::TooSlow)
            }
            State::Body(receiving) => {
                receiving.window_len = receiving.body.len();
                self.stage_at = now + self.limits.pace_window;
            }
            State::Over => {}
        }
    }

    /// It has been written on.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Connecting)
    }

    fn on_head(&mut self, now: Instant, data: &[u8]) -> Result<Step, Fault> {
        let Some((head, used)) = response_head(data).map_err(Fault::Http)? else { return Ok(Step::Wait) };
        if head.status < 200 {
            // Nobody asked for 101, and we have nothing to be told to go on with.
            self.interim_bytes += used;
            let endless = head.status == 101 || self.interim_bytes > http::HEAD_MAX;
            return if endless { Err(Fault::Http(http::Error::NotHttp)) } else { Ok(Step::Used(used)) };
        }
        match head.status {
            200 => self.begin_body(head, now)?,
            304 => self.done(Reply::NotModified),
            301 | 302 | 303 | 307 | 308 => self.done(Reply::Moved(head.location.ok_or(Fault::NoLocation)?)),
            status => self.done(Reply::Status(status)),
        }
        Ok(Step::Used(used))
    }

    fn begin_body(&mut self, head: Head, now: Instant) -> Result<(), Fault> {
        let part = match head.framing {
            Framing::Length(length) if length > self.limits.body_bytes_max as u64 => {
                return Err(Fault::TooLong);
            }
            Framing::Length(length) => Part::Plain(length),
            Framing::None => Part::Plain(0),
            Framing::Chunked => Part::ChunkSize,
            Framing::Close => Part::UntilClose,
        };
        self.stage_at = now + self.limits.pace_window;
        let body = Body::new(head.gzip);
        self.state = State::Body(Receiving { validators: head.validators, body, part, window_len: 0 });
        Ok(())
    }

    fn complete(&mut self) {
        if let State::Body(Receiving { validators, body, .. }) =
            std::mem::replace(&mut self.state, State::Over)
        {
            self.done(Reply::Content(body, validators));
        }
    }

    fn done(&mut self, reply: Reply) {
        self.state = State::Over;
        self.event = Some(Event::Done(reply));
    }

    fn fail(&mut self, fault: Fault) {
        self.state = State::Over;
        self.event = Some(Event::Failed(fault));
    }
}

/// What was done with bytes.
enum Step {
    Used(usize),
    /// There are too few to do anything.
    Wait,
    End,
}

impl Receiving {
    fn came(&self) -> usize {
        self.body.len() - self.window_len
    }

    fn on_bytes(&mut self, data: &[u8], bytes_max: usize) -> Result<Step, Fault> {
        match self.part {
            Part::Plain(0) => Ok(Step::End),
            _ if data.is_empty() => Ok(Step::Wait),
            Part::Plain(left) => {
                let taken = self.take(data, left, bytes_max)?;
                self.part = Part::Plain(left - taken as u64);
                Ok(Step::Used(taken))
            }
            Part::UntilClose => self.take(data, u64::MAX, bytes_max).map(Step::Used),
            Part::ChunkSize => {
                let Some(line) = chunk_size(data).map_err(Fault::Http)? else { return Ok(Step::Wait) };
                if line.size > (bytes_max - self.body.len()) as u64 {
                    return Err(Fault::TooLong);
                }
                self.part = if line.size == 0 { Part::Trailers(0) } else { Part::Chunk(line.size) };
                Ok(Step::Used(line.line_bytes))
            }
            Part::Chunk(left) => {
                let taken = self.take(data, left, bytes_max)?;
                let left = left - taken as u64;
                self.part = if left == 0 { Part::ChunkEnd } else { Part::Chunk(left) };
                Ok(Step::Used(taken))
            }
            Part::ChunkEnd if data.len() < 2 && data[0] == b'\r' => Ok(Step::Wait),
            Part::ChunkEnd if data.starts_with(b"\r\n") => {
                self.part = Part::ChunkSize;
                Ok(Step::Used(2))
            }
            Part::ChunkEnd => Err(Fault::Http(http::Error::BadChunk)),
            Part::Trailers(before) => self.on_trailer(data, before),
        }
    }

    /// Lines that nobody reads, up to an empty one.
    fn on_trailer(&mut self, data: &[u8], before: usize) -> Result<Step, Fault> {
        let within = &data[..data.len().min(http::HEAD_MAX - before)];
        let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
            let full = before + within.len() >= http::HEAD_MAX;
            return if full { Err(Fault::Http(http::Error::HeadTooLong)) } else { Ok(Step::Wait) };
        };
        match within[..end].strip_suffix(b"\r") {
            None => Err(Fault::Http(http::Error::BadChunk)),
            Some([]) => Ok(Step::End),
            Some(_) => {
                self.part = Part::Trailers(before + end + 1);
                Ok(Step::Used(end + 1))
            }
        }
    }

    /// Takes up to `left` bytes; how many.
    fn take(&mut self, data: &[u8], left: u64, bytes_max: usize) -> Result<usize, Fault> {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        if taken > bytes_max - self.body.len() {
            return Err(Fault::TooLong);
        }
        self.body.push(&data[..taken]);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
