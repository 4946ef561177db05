//! One connection of a client (RFC 7766): questions as they come, answers in the order in which they
//! are known, closed when nothing was asked for a while.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Instant, SendQueue};
use crate::dns::streams::{self, Broken};

/// An accepted connection.
#[derive(Debug)]
pub struct Client {
    /// Who asks.
    pub ip: IpAddr,
    /// Questions without an answer yet.
    waiting: usize,
    /// Answers that were not handed on yet.
    answers: VecDeque<Bytes>,
    answers_bytes: usize,
    /// For how long nothing may happen.
    idle_max: Duration,
    deadline: Instant,
    /// When something happened last.
    active_at: Instant,
    /// The client asks nothing more.
    ending: bool,
    over: bool,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(ip: IpAddr, now: Instant) -> Self {
        Self {
            ip,
            waiting: 0,
            answers: VecDeque::new(),
            answers_bytes: 0,
            idle_max: IDLE_MAX,
            deadline: now + IDLE_MAX,
            active_at: now,
            ending: false,
            over: false,
        }
    }

    /// Bytes of the client; how many were used. `serve` is handed each message and gives the answer
    /// if it is known at once; `Err`: there will be none. At most [`streams::FRAME_MAX`] bytes are
    /// left, unless [`Client::wants_read`] is false.
    pub fn on_bytes(
        &mut self,
        now: Instant,
        data: &[u8],
        mut serve: impl FnMut(&[u8]) -> Served,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        while self.wants_read() {
            let Some((message, len)) = streams::frame(&data[used..])? else { break };
            used += len;
            self.touch(now);
            match serve(message) {
                Served::Now(answer) => self.queue(answer),
                Served::Later => self.waiting += 1,
                Served::Never => {}
            }
        }
        Ok(used)
    }

    /// An answer that had to wait. Ends the connection if too many others lie there unread.
    pub fn on_answer(&mut self, now: Instant, answer: Option<Bytes>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.touch(now);
        if answer.is_some() && self.answers_bytes >= ANSWERS_MAX {
            // So much was asked for, and nothing is read.
            (self.over, self.answers, self.answers_bytes) = (true, VecDeque::new(), 0);
            return;
        }
        answer.into_iter().for_each(|answer| self.queue(answer));
    }

    /// The client sends nothing more; what it asked is answered.
    pub fn on_eof(&mut self) {
        self.ending = true;
    }

    /// Moves answers into the queue as long as there is room.
    pub fn poll_write(&mut self, out: &mut SendQueue) {
        while let Some(answer) = self.answers.front() {
            let len = answer.len();
            if out.push(answer.clone()).is_err() {
                return;
            }
            self.answers_bytes -= len;
            self.answers.pop_front();
        }
        if self.answers.is_empty() {
            // An idle connection holds no buffer.
            self.answers = VecDeque::new();
        }
        self.over |= self.ending && self.waiting == 0 && out.is_empty();
    }

    /// False while too much waits, of questions or of answers: the driver stops reading.
    pub fn wants_read(&self) -> bool {
        !self.over && self.waiting < PIPELINE && self.answers_bytes < ANSWERS_MAX
    }

    /// Close it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// When [`Client::on_deadline`] is to be called; `None` once it is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.over).then_some(self.deadline)
    }

    /// Ends a connection on which nothing happened for too long; else does nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        self.over |= self.deadline <= now;
    }

    /// Since when nothing is under way on it; `None` if something is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.waiting == 0 && self.answers.is_empty()).then_some(self.active_at)
    }

    /// Changes for how long nothing may happen, from what happened last on.
    pub fn set_idle_max(&mut self, idle_max: Duration, now: Instant) {
        self.idle_max = idle_max;
        self.deadline = (self.active_at + idle_max).max(now);
    }

    fn touch(&mut self, now: Instant) {
        (self.deadline, self.active_at) = (now + self.idle_max, now);
    }

    fn queue(&mut self, answer: Bytes) {
        self.answers_bytes += answer.len();
        self.answers.push_back(answer);
    }
}

/// What came of a message.
#[derive(Clone, Debug)]
pub enum Served {
    /// Its answer, with its length before it.
    Now(Bytes),
    /// The answer comes later.
    Later,
    /// There is none.
    Never,
}

/// RFC 7766, section 6.2.3: some seconds. A question is answered within ten.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(15);
/// Idle for so long, a connection gives its place up when there is no other: whoever opens one asks within
/// a round trip.
pub(super) const IDLE_EVICTED: Duration = Duration::from_millis(250);
/// When there are no places left: some round trips.
pub(super) const IDLE_MIN: Duration = Duration::from_secs(1);
/// Questions of one connection that wait at once.
const PIPELINE: usize = 128;
/// Bytes of answers that the client does not read: one of the longest, and then some.
const ANSWERS_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = &[0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn client() -> (Client, Instant) {
        let now = Instant::from_millis(1_000);
        (Client::new(IpAddr::from([127, 0, 0, 1]), now), now)
    }

    #[test]
    fn questions_are_taken_until_too_many_wait() {
        let (mut client, now) = client();
        let many = QUERY.repeat(PIPELINE + 10);
        assert_eq!(client.on_bytes(now, &many, |_| Served::Later), Ok(PIPELINE * QUERY.len()));
        assert!(!client.wants_read());
        client.on_answer(now, Some(Bytes::from_static(b"answer")));
        assert!(client.wants_read());
        assert_eq!(client.on_bytes(now, &many, |_| Served::Later), Ok(QUERY.len()));
        let mut out = SendQueue::new(100);
        client.poll_write(&mut out);
        assert_eq!((out.len(), client.is_over()), (6, false));
    }

    #[test]
    fn who_does_not_read_is_not_read() {
        let (mut client, now) = client();
        let mut out = SendQueue::new(70_000);
        let long = || Served::Now(Bytes::from(vec![0; 60_000]));
        let used = client.on_bytes(now, &QUERY.repeat(99), |_| long()).unwrap();
        assert_eq!(used, 3 * QUERY.len(), "as many as make {ANSWERS_MAX} bytes");
        client.poll_write(&mut out);
        assert_eq!((out.len(), client.wants_read()), (60_000, true));
        client.on_deadline(now + IDLE_MAX);
        assert!(client.is_over() && client.next_deadline().is_none());
    }

    #[test]
    fn who_has_asked_for_much_and_reads_nothing_is_cut_off() {
        let (mut client, now) = client();
        let many = QUERY.repeat(PIPELINE);
        assert_eq!(client.on_bytes(now, &many, |_| Served::Later), Ok(many.len()));
        let mut most = 0;
        for _ in 0..PIPELINE {
            client.on_answer(now, Some(Bytes::from(vec![0; 60_000])));
            most = most.max(client.answers_bytes);
        }
        assert!(client.is_over() && client.answers.is_empty());
        assert!(most < ANSWERS_MAX + 60_000, "{most} bytes");
    }

    #[test]
    fn what_was_asked_before_the_end_is_answered() {
        let (mut client, now) = client();
        let mut out = SendQueue::new(100);
        assert_eq!(client.on_bytes(now, &QUERY[..5], |_| Served::Never), Ok(0));
        assert_eq!(client.on_bytes(now, QUERY, |_| Served::Later), Ok(QUERY.len()));
        client.on_eof();
        client.poll_write(&mut out);
        assert!(!client.is_over());
        client.on_answer(now, Some(Bytes::from_static(b"answer")));
        client.poll_write(&mut out);
        assert!(!client.is_over(), "it is not written yet");
        out.advance(6);
        client.poll_write(&mut out);
        assert!(client.is_over());
        assert_eq!(client.on_bytes(now, &[0, 1, 2], |_| Served::Never), Ok(0));
    }

    #[test]
    fn what_is_no_message_ends_it() {
        let (mut client, now) = client();
        assert_eq!(client.on_bytes(now, &[0, 3, 1, 2, 3], |_| Served::Never), Err(Broken));
    }
}
