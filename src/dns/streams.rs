//! Connections to forwarders, over TCP or TLS (RFC 7766, RFC 7858): many questions on each, answers
//! in any order, closed when they were idle for a while.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Instant, Rng, SendQueue, Slots, Token};

/// Every connection.
#[derive(Default)]
pub struct Streams {
    conns: Slots<Conn>,
}

/// One connection to one forwarder.
pub struct Conn {
    /// Which.
    pub forwarder: u8,
    ready: bool,
    waiting: BTreeMap<u16, Waiting>,
    /// Questions that wait to leave, with their ids.
    unsent: VecDeque<(u16, Bytes)>,
    unsent_len: usize,
    /// Answers that may still come: one for each question that has left.
    owed: u64,
    /// When the last answer to somebody who waits came.
    heard_at: Option<Instant>,
    /// When it is given up: it does not open, or nothing was asked for long.
    deadline: Instant,
}

/// Who waits for an answer: a query, and which of its tries.
pub type Waiting = (Token, u32);

/// The bytes are no stream of DNS messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Streams {
    /// A connection to a forwarder that takes another question; `None` if one is to be opened.
    pub fn pick(&self, forwarder: u8) -> Option<Token> {
        let own = self.conns.iter().filter(|(_, conn)| conn.forwarder == forwarder);
        let (count, best) = own.fold((0, None::<(usize, Token)>), |(count, best), (token, conn)| {
            let load = conn.waiting.len();
            let better = best.is_none_or(|(least, _)| load < least);
            (count + 1, if better { Some((load, token)) } else { best })
        });
        best.filter(|(load, _)| *load < PIPELINE || (count >= CONNS_MAX && *load < WAITING_MAX))
            .map(|(_, token)| token)
    }

    /// Whether another connection to a forwarder may be opened.
    pub fn may_open(&self, forwarder: u8) -> bool {
        self.conns.iter().filter(|(_, conn)| conn.forwarder == forwarder).count() < CONNS_MAX
    }

    /// A connection that is being opened.
    pub fn open(&mut self, forwarder: u8, now: Instant) -> Token {
        let deadline = now + OPEN_WITHIN;
        self.conns.insert(Conn {
            forwarder,
            ready: false,
            waiting: BTreeMap::new(),
            unsent: VecDeque::new(),
            unsent_len: 0,
            owed: 0,
            heard_at: None,
            deadline,
        })
    }

    /// An id that no question on this connection has.
    pub fn free_id(&self, conn: Token, rng: &mut Rng) -> Option<u16> {
        let conn = self.conns.get(conn)?;
        let ids = std::iter::repeat_with(|| rng.u32() as u16);
        ids.take(ID_TRIES).find(|id| !conn.waiting.contains_key(id))
    }

    /// Queues a question; true if it may leave at once. The message is shorter than 64 KiB.
    pub fn ask(&mut self, conn: Token, id: u16, message: &[u8], waiting: Waiting) -> bool {
        let Some(conn) = self.conns.get_mut(conn) else { return false };
        let mut frame = Vec::with_capacity(2 + message.len());
        frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
        frame.extend_from_slice(message);
        conn.unsent_len += frame.len();
        conn.unsent.push_back((id, frame.into()));
        conn.waiting.insert(id, waiting);
        if conn.ready {
            conn.deadline = Instant::FAR;
        }
        conn.ready
    }

    /// A whole message came. Nobody answers more often than he is asked.
    pub fn on_frame(&mut self, conn: Token) -> Result<(), Broken> {
        let Some(conn) = self.conns.get_mut(conn) else { return Ok(()) };
        conn.owed = conn.owed.checked_sub(1).ok_or(Broken)?;
        Ok(())
    }

    /// The message was an answer to somebody who waits.
    pub fn on_heard(&mut self, conn: Token, now: Instant) {
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.heard_at = Some(now);
        }
    }

    /// A question of `asked_at` had no answer in time, and nor had any other since: the other end is
    /// gone, or does not open.
    pub fn is_dead(&self, conn: Token, asked_at: Instant) -> bool {
        self.conns.get(conn).is_some_and(|conn| conn.heard_at.is_none_or(|at| at <= asked_at))
    }

    /// Whose connection it is, if it was asked and never answered, or never opened.
    pub fn never_answered(&self, conn: Token) -> Option<u8> {
        let conn = self.conns.get(conn)?;
        (conn.heard_at.is_none() && (conn.owed > 0 || !conn.ready)).then_some(conn.forwarder)
    }

    /// It is open, and secured if it is to be: questions may leave.
    pub fn on_ready(&mut self, conn: Token) {
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.ready = true;
            if !conn.waiting.is_empty() {
                conn.deadline = Instant::FAR;
            }
        }
    }

    /// Bytes of the questions that may leave.
    pub fn unsent(&self, conn: Token) -> usize {
        let conn = self.conns.get(conn).filter(|conn| conn.ready);
        conn.map_or(0, |conn| conn.unsent_len)
    }

    /// Whether the question with this id might have left, but has not.
    pub fn is_unsent(&self, conn: Token, id: u16) -> bool {
        let conn = self.conns.get(conn).filter(|conn| conn.ready);
        conn.is_some_and(|conn| conn.unsent.iter().any(|(unsent, _)| *unsent == id))
    }

    /// The id of the next question that may leave, and whose it is.
    pub fn next_unsent(&self, conn: Token) -> Option<(u16, Waiting)> {
        let conn = self.conns.get(conn).filter(|conn| conn.ready)?;
        let (id, _) = conn.unsent.front()?;
        Some((*id, *conn.waiting.get(id)?))
    }

    /// Moves the next question into the connection's queue; false if there is no room.
    pub fn put_next(&mut self, conn: Token, out: &mut SendQueue) -> bool {
        let Some(conn) = self.conns.get_mut(conn) else { return false };
        let Some((_, frame)) = conn.unsent.front() else { return false };
        if out.push(frame.clone()).is_err() {
            return false;
        }
        conn.unsent_len -= frame.len();
        conn.unsent.pop_front();
        conn.owed += 1;
        true
    }

    /// Who waits for the answer with this id on a connection; it is not waited for any more. If the
    /// question has not left yet, it does not.
    pub fn take(&mut self, conn: Token, id: u16, now: Instant) -> Option<Waiting> {
        let conn = self.conns.get_mut(conn)?;
        let waiting = conn.waiting.remove(&id)?;
        let at = conn.unsent.iter().position(|(unsent, _)| *unsent == id);
        if let Some((_, frame)) = at.and_then(|at| conn.unsent.remove(at)) {
            conn.unsent_len -= frame.len();
        }
        if conn.waiting.is_empty() && conn.ready {
            conn.deadline = now + IDLE_FOR;
        }
        Some(waiting)
    }

    /// Who waits for the answer with this id.
    pub fn waiting(&self, conn: Token, id: u16) -> Option<Waiting> {
        self.conns.get(conn)?.waiting.get(&id).copied()
    }

    /// It is gone; those who waited for answers.
    pub fn remove(&mut self, conn: Token) -> Vec<Waiting> {
        let conn = self.conns.remove(conn);
        conn.map(|conn| conn.waiting.into_values().collect()).unwrap_or_default()
    }

    /// A connection that was idle for long enough, or that nobody waits for any more.
    pub fn pop_due(&mut self, now: Instant) -> Option<Token> {
        self.conns.iter().find(|(_, conn)| conn.deadline <= now).map(|(token, _)| token)
    }

    /// When [`Streams::pop_due`] has something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.conns.iter().map(|(_, conn)| conn.deadline).min().filter(|at| *at < Instant::FAR)
    }

    /// All that are there.
    pub fn all(&self) -> Vec<Token> {
        self.conns.iter().map(|(token, _)| token).collect()
    }
}

/// The first whole message of a stream's bytes and how many bytes it takes; `None` if more are
/// needed, at most [`FRAME_MAX`]. A message shorter than its header ends the stream.
pub fn frame(data: &[u8]) -> Result<Option<(&[u8], usize)>, Broken> {
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*head));
    if len < crate::wire::dns::HEADER_LEN {
        return Err(Broken);
    }
    Ok(rest.get(..len).map(|message| (message, 2 + len)))
}

/// The most bytes of a message that has not arrived as a whole.
pub const FRAME_MAX: usize = 2 + u16::MAX as usize;
/// Connections to one forwarder at once (RFC 7766, section 6.2.2 asks for few).
const CONNS_MAX: usize = 2;
/// Questions on a connection before another one is opened.
const PIPELINE: usize = 32;
/// Questions on a connection before none is taken any more.
const WAITING_MAX: usize = 1_024;
/// So sparse that the first is nearly always free.
const ID_TRIES: usize = 64;
/// As long as the look-ups that wait for it.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// Servers close after some seconds: we before them (RFC 7766, section 6.2.3).
const IDLE_FOR: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes leave.
    fn written(streams: &mut Streams, conn: Token) -> usize {
        let mut out = SendQueue::new(1 << 16);
        while streams.put_next(conn, &mut out) {}
        out.len()
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let message = [7; 20];
        let stream = [[0, 20].as_slice(), &message, &[0, 20], &message].concat();
        for cut in 0..22 {
            assert_eq!(frame(&stream[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(frame(&stream), Ok(Some((&message[..], 22))));
        assert_eq!(frame(&[0, 11, 1]), Err(Broken));
    }

    #[test]
    fn questions_share_connections_and_none_is_left_waiting() {
        let (mut streams, now) = (Streams::default(), Instant(0));
        assert!(streams.pick(0).is_none() && streams.may_open(0));
        let (first, query) = (streams.open(0, now), Token::FIRST);
        (0..PIPELINE as u16).for_each(|id| assert!(!streams.ask(first, id, &[1; 12], (query, 0))));
        assert!(streams.pick(0).is_none() && streams.may_open(0), "a second one shares the load");
        let second = streams.open(0, now);
        assert_eq!((streams.pick(0), streams.may_open(0), streams.pick(1)), (Some(second), false, None));
        assert_eq!((streams.unsent(first), streams.next_unsent(first)), (0, None), "not before it is open");
        streams.on_ready(first);
        assert_eq!(streams.unsent(first), PIPELINE * 14);
        assert_eq!(written(&mut streams, first), PIPELINE * 14);
        assert_eq!(streams.take(first, 3, now), Some((query, 0)));
        assert_eq!(streams.take(first, 3, now), None, "an answer counts once");
        assert_eq!(streams.remove(first).len(), PIPELINE - 1);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked() {
        let (mut streams, now) = (Streams::default(), Instant(0));
        let conn = streams.open(0, now);
        (0..3).for_each(|id| assert!(!streams.ask(conn, id, &[1; 12], (Token::FIRST, 0))));
        assert_eq!(streams.take(conn, 1, now), Some((Token::FIRST, 0)));
        streams.on_ready(conn);
        assert!(streams.is_unsent(conn, 0) && !streams.is_unsent(conn, 1));
        assert_eq!(streams.on_frame(conn), Err(Broken), "nothing has left that could be answered");
        assert_eq!(streams.unsent(conn), 2 * 14);
        assert_eq!(written(&mut streams, conn), 2 * 14);
        assert!(!streams.is_unsent(conn, 0));
        assert_eq!([streams.on_frame(conn), streams.on_frame(conn)], [Ok(()); 2]);
        assert_eq!(streams.on_frame(conn), Err(Broken), "nobody owes an answer to it");
    }

    #[test]
    fn a_connection_that_does_not_open_ends_whoever_has_answered_meanwhile() {
        let (mut streams, now) = (Streams::default(), Instant(0));
        let conn = streams.open(0, now);
        for id in 0..9 {
            let at = now + OPEN_WITHIN / 10 * u32::from(id);
            streams.ask(conn, id, &[0; 12], (Token::FIRST, 0));
            streams.take(conn, id, at);
        }
        assert_eq!(streams.pop_due(now + OPEN_WITHIN), Some(conn));
    }

    #[test]
    fn an_idle_connection_ends() {
        let (mut streams, now) = (Streams::default(), Instant(0));
        let conn = streams.open(0, now);
        streams.ask(conn, 1, &[0; 12], (Token::FIRST, 0));
        assert_eq!(streams.next_deadline(), Some(now + OPEN_WITHIN), "it opens in time, whoever waits");
        streams.on_ready(conn);
        assert_eq!(streams.next_deadline(), None, "somebody waits, and has a deadline of his own");
        streams.take(conn, 1, now);
        assert_eq!(streams.next_deadline(), Some(now + IDLE_FOR));
        assert_eq!((streams.pop_due(now), streams.pop_due(now + IDLE_FOR)), (None, Some(conn)));
    }
}
