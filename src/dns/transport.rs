//! How questions leave and answers arrive: over UDP from random sockets, over TCP or TLS where that
//! is not enough.

use std::time::Duration;

use super::exchange::{Asked, Doubt, Verdict};
use super::query::{Try, Via};
use super::resolver::Resolver;
use super::sockets::Pick;
use super::streams::{self, Broken, Waiting};
use super::{Failure, Wish};
use crate::base::{Cx, Instant, Path, SendQueue, SocketId, Token};
use crate::wire::dns::UDP_MIN;

impl Resolver {
    /// Whether datagrams of this socket are for the resolver.
    pub fn owns(&self, socket: SocketId) -> bool {
        self.sockets.owns(socket)
    }

    /// A datagram arrived at one of the resolver's sockets. What does not fit a question exactly is
    /// counted, and the wait goes on.
    pub fn on_datagram(&mut self, cx: &mut Cx<'_>, path: Path, data: &[u8]) {
        let id = data.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let known = id.and_then(|id| self.by_id.get(&(path.socket, id)).copied());
        let Some((token, number)) = known else { return self.stats.foreign += 1 };
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(one) = query.find(number) else { return };
        let Some(forwarder) = self.forwarders.get_mut(one.forwarder) else { return };
        let Some(asked) = one.asked.filter(|_| forwarder.config.addr == path.remote) else {
            return self.stats.foreign += 1;
        };
        let index = one.forwarder;
        match asked.judge(query.question(), forwarder, (data, false), cx.now) {
            Verdict::Foreign | Verdict::Cut => self.stats.foreign += 1,
            Verdict::Fits(message, rcode) => {
                forwarder.learn_edns(asked, rcode, cx.now);
                self.on_answer(cx, token, number, &message, rcode);
            }
            Verdict::Truncated => self.replace_try(cx, token, number, index, true),
            Verdict::BadCookie => self.replace_try(cx, token, number, index, false),
            Verdict::NoEdns => {
                query.no_edns |= 1 << index;
                self.replace_try(cx, token, number, index, false);
            }
            Verdict::Doubtful(doubt) => {
                self.stats.foreign += 1;
                query.case_lost |= if doubt == Doubt::Case { 1 << index } else { 0 };
                // Asked over TCP as well, where nothing is forged; the wait for the right one goes on.
                let first = query.find(number).is_some_and(|one| !std::mem::replace(&mut one.doubted, true));
                if first {
                    if !query.waits_over_stream(index, None) {
                        self.begin_try(cx, token, index, true);
                    }
                    self.schedule(token);
                }
            }
        }
    }

    /// The system says that nothing listens where a datagram of this socket went, or that no way leads
    /// there. It brings back how the datagram began: whoever made that up would have to guess the id as
    /// well as the port.
    pub fn on_undelivered(&mut self, cx: &mut Cx<'_>, path: Path, sent: &[u8], failure: Failure) {
        let id = sent.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let known = id.and_then(|id| self.by_id.get(&(path.socket, id)).copied());
        let Some((token, number)) = known else { return };
        let one = self.queries.get_mut(token).and_then(|query| query.find(number));
        let Some(index) = one.map(|one| one.forwarder) else { return };
        let forwarder = self.forwarders.get(index);
        if forwarder.is_some_and(|forwarder| forwarder.config.addr == path.remote) {
            self.refused_by(cx.now, index);
            self.try_failed(cx, token, number, failure);
        }
    }

    /// Nothing listens where a forwarder should.
    fn refused_by(&mut self, now: Instant, index: u8) {
        let Some(known) = self.forwarders.get_mut(index) else { return };
        if known.on_refused(now) {
            self.tell_down(index);
        }
    }

    /// What came of [`Wish::Bind`]; `in_use` if only the port was taken.
    pub fn on_bound(&mut self, cx: &mut Cx<'_>, socket: SocketId, bound: Result<(), bool>) {
        self.sockets.on_bound(socket, bound, cx.now, cx.rng);
    }

    /// The next question over UDP: which way, and how many bytes of `out` it takes. `out` holds at
    /// least 512.
    pub fn poll_transmit(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        while let Some((token, number)) = self.to_send.pop_front() {
            let Some(query) = self.queries.get_mut(token) else { continue };
            let Some(index) = query.find(number).map(|one| one.forwarder) else { continue };
            let without = query.without(index);
            let Some(one) = query.find(number).filter(|one| one.via == Via::Queued) else { continue };
            let Some(forwarder) = self.forwarders.get_mut(one.forwarder) else { continue };
            let remote = forwarder.config.addr;
            let socket = match self.sockets.pick(remote.ip(), cx.now, cx.rng) {
                Pick::Ready(socket) => socket,
                Pick::Wait => {
                    self.to_send.push_front((token, number));
                    return None;
                }
                Pick::Never => {
                    self.try_failed(cx, token, number, Failure::Unreachable);
                    continue;
                }
            };
            let ids = (0..ID_TRIES).map(|_| cx.rng.u32() as u16);
            let free = ids.into_iter().find(|id| !self.by_id.contains_key(&(socket, *id)));
            let Some(id) = free else {
                self.try_failed(cx, token, number, Failure::Overloaded);
                continue;
            };
            let asked = Asked::new(id, forwarder, without, cx.now, cx.rng);
            (one.asked, one.via, one.sent_at) = (Some(asked), Via::Udp(socket), cx.now);
            let len = asked.write(query.question(), forwarder, out);
            forwarder.stats.asked += 1;
            self.by_id.insert((socket, id), (token, number));
            self.sockets.sent(socket, cx.now);
            cx.buckets.packets_out.take_up_to(cx.now, 1);
            return Some((Path { socket, local: None, remote }, len));
        }
        None
    }

    /// A connection is open, and secured if it was to be.
    pub fn on_ready(&mut self, conn: Token) {
        self.streams.on_ready(conn);
        self.wishes.push_back(Wish::Write(conn));
    }

    /// Bytes of a connection; how many were used. What is left is less than [`streams::FRAME_MAX`].
    pub fn on_bytes(&mut self, cx: &mut Cx<'_>, conn: Token, data: &[u8]) -> Result<usize, Broken> {
        let mut used = 0;
        while let Some((message, len)) = streams::frame(&data[used..])? {
            used += len;
            self.streams.on_frame(conn)?;
            self.on_frame(cx, conn, message);
        }
        Ok(used)
    }

    /// Bytes of the questions that are to leave on a connection.
    pub fn unsent(&self, conn: Token) -> usize {
        self.streams.unsent(conn)
    }

    /// Moves questions into a connection's queue until it holds `most` bytes. What is in it cannot be
    /// taken back, so this is to be called when they may really leave.
    pub fn poll_write(&mut self, now: Instant, conn: Token, most: usize, out: &mut SendQueue) {
        while out.len() < most
            && let Some((id, waiting)) = self.streams.next_unsent(conn)
        {
            if !self.leaves(now, waiting) {
                self.streams.take(conn, id, now);
            } else if !self.streams.put_next(conn, out) {
                return;
            }
        }
    }

    /// A question leaves on a stream: its server has at least the time of an answer from now on,
    /// however long it waited for the connection. False: its answer would not be waited for.
    fn leaves(&mut self, now: Instant, (token, number): Waiting) -> bool {
        let Some(query) = self.queries.get_mut(token) else { return false };
        let (round, is_ending) = (query.round, query.is_ending(now));
        let Some(one) = query.find(number) else { return false };
        if is_ending {
            (one.via, one.asked) = (Via::Queued, None);
            return false;
        }
        let timeout = self.forwarders.get(one.forwarder).map_or(Duration::ZERO, |one| one.timeout(round));
        (one.sent_at, one.timeout_at) = (now, one.timeout_at.max(now + timeout));
        true
    }

    /// A connection is gone, or was never opened; `refused` if nothing listens there. What waited on
    /// it is asked anew.
    pub fn conn_lost(&mut self, cx: &mut Cx<'_>, conn: Token, refused: bool) {
        // Who is asked over TLS alone is as good as silent if that does not come about.
        if let Some(index) = self.streams.never_answered(conn)
            && self.forwarders.get(index).is_some_and(|forwarder| forwarder.config.tls.is_some())
        {
            if refused {
                self.refused_by(cx.now, index);
            } else {
                self.on_silence(cx.now, index);
            }
        }
        let waited = self.streams.remove(conn);
        self.ask_again(cx, waited, if refused { Failure::Refused } else { Failure::Unreachable });
    }

    /// Those who waited on a connection that is gone ask anew.
    pub(super) fn ask_again(&mut self, cx: &mut Cx<'_>, waited: Vec<Waiting>, fault: Failure) {
        for (token, number) in waited {
            let Some(query) = self.queries.get_mut(token) else { continue };
            if let Some(one) = query.find(number) {
                one.via = Via::Queued;
                let forwarder = one.forwarder;
                // Whoever waited there as long as another need not find out for himself.
                query.silent |= if fault == Failure::Timeout { 1 << forwarder } else { 0 };
                // A server without TCP, or whose TCP fails, that loses the case: this query goes
                // without, and the next one finds out anew.
                let is_known = query.case_lost & !query.no_case & 1 << forwarder != 0;
                if is_known && !query.waits_over_stream(forwarder, Some(number)) {
                    query.no_case |= 1 << forwarder;
                    if !query.waits_over_udp(forwarder, number) {
                        self.begin_try(cx, token, forwarder, false);
                        self.schedule(token);
                    }
                }
            }
            self.try_failed(cx, token, number, fault);
        }
    }

    /// Puts the question to a forwarder; false if nothing came of it. What would not be waited for is
    /// not asked.
    pub(super) fn begin_try(&mut self, cx: &mut Cx<'_>, token: Token, index: u8, over_stream: bool) -> bool {
        let Some(query) = self.queries.get_mut(token).filter(|query| !query.is_ending(cx.now)) else {
            return false;
        };
        let Some(forwarder) = self.forwarders.get_mut(index) else { return false };
        let stream = over_stream || forwarder.config.tls.is_some();
        let wait = forwarder.timeout(query.round) + if stream { OPEN_ALLOWANCE } else { Duration::ZERO };
        let Some(number) = query.begin_try(index, Via::Queued, cx.now, wait) else { return false };
        if !stream {
            self.to_send.push_back((token, number));
            return true;
        }
        let conn = match self.streams.pick(index) {
            Some(conn) => conn,
            None if self.streams.may_open(index) => {
                let conn = self.streams.open(index, cx.now);
                let (to, tls) = (forwarder.config.addr, forwarder.config.tls.clone());
                self.wishes.push_back(Wish::Connect { conn, to, tls });
                conn
            }
            None => {
                self.drop_try(cx.now, token, number);
                return false;
            }
        };
        let Some(id) = self.streams.free_id(conn, cx.rng) else {
            self.drop_try(cx.now, token, number);
            return false;
        };
        let asked = Asked::new(id, forwarder, query.without(index), cx.now, cx.rng);
        let mut out = [0; UDP_MIN];
        let len = asked.write(query.question(), forwarder, &mut out);
        forwarder.stats.asked += 1;
        forwarder.stats.over_tcp += 1;
        if self.streams.ask(conn, id, &out[..len], (token, number)) {
            self.wishes.push_back(Wish::Write(conn));
        }
        if let Some(one) = query.find(number) {
            (one.asked, one.via) = (Some(asked), Via::Stream(conn));
        }
        true
    }

    /// Forgets a try: its answer is not waited for any more.
    pub(super) fn drop_try(&mut self, now: Instant, token: Token, number: u32) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(at) = query.tries.iter().position(|one| one.number == number) else { return };
        let one = query.tries.swap_remove(at);
        self.settle(now, &one);
    }

    /// Forgets all tries of a query.
    pub(super) fn drop_tries(&mut self, now: Instant, token: Token) {
        while let Some(one) = self.queries.get_mut(token).and_then(|query| query.tries.pop()) {
            self.settle(now, &one);
        }
    }

    fn settle(&mut self, now: Instant, one: &Try) {
        let Some(asked) = one.asked else { return };
        match one.via {
            Via::Udp(socket) => {
                self.by_id.remove(&(socket, asked.id));
                self.sockets.settled(socket);
            }
            Via::Stream(conn) => drop(self.streams.take(conn, asked.id, now)),
            Via::Queued => {}
        }
    }

    /// The same forwarder is asked again in another way, unless it is asked over a stream already. It
    /// would say the same to all that it was asked over UDP.
    fn replace_try(&mut self, cx: &mut Cx<'_>, token: Token, number: u32, index: u8, over_stream: bool) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let same = || query.tries.iter().filter(|one| one.forwarder == index);
        let changes = same().map(|one| one.changes).max().unwrap_or(0) + 1;
        if changes > CHANGES_MAX {
            return self.try_failed(cx, token, number, Failure::Malformed);
        }
        let asked_already = query.waits_over_stream(index, Some(number));
        let void = same().filter(|one| one.number == number || !matches!(one.via, Via::Stream(_)));
        let void: Vec<u32> = void.map(|one| one.number).collect();
        void.into_iter().for_each(|number| self.drop_try(cx.now, token, number));
        if asked_already {
            self.schedule(token);
        } else if self.begin_try(cx, token, index, over_stream) {
            let newest = self.queries.get_mut(token).and_then(|query| query.tries.last_mut());
            newest.into_iter().for_each(|one| one.changes = changes);
            self.schedule(token);
        } else if self.queries.get(token).is_some_and(|query| !query.is_waiting()) {
            self.ask_next(cx, token);
        }
    }

    fn on_frame(&mut self, cx: &mut Cx<'_>, conn: Token, data: &[u8]) {
        let id = data.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let waiting = id.and_then(|id| self.streams.waiting(conn, id));
        let Some((token, number)) = waiting else { return self.stats.foreign += 1 };
        self.streams.on_heard(conn, cx.now);
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(one) = query.find(number) else { return };
        let Some(forwarder) = self.forwarders.get_mut(one.forwarder) else { return };
        let Some(asked) = one.asked else { return };
        let index = one.forwarder;
        match asked.judge(query.question(), forwarder, (data, true), cx.now) {
            Verdict::Fits(message, rcode) => {
                forwarder.learn_edns(asked, rcode, cx.now);
                self.on_answer(cx, token, number, &message, rcode);
            }
            Verdict::NoEdns => {
                query.no_edns |= 1 << index;
                self.replace_try(cx, token, number, index, true);
            }
            Verdict::BadCookie => self.replace_try(cx, token, number, index, true),
            Verdict::Cut => self.try_failed(cx, token, number, Failure::Malformed),
            Verdict::Foreign | Verdict::Truncated | Verdict::Doubtful(_) => self.stats.foreign += 1,
        }
    }
}

/// Without EDNS, with a cookie, over TCP: each once.
const CHANGES_MAX: u8 = 3;
/// Ids tried before a socket counts as full: it has some thousand questions under way at most.
const ID_TRIES: usize = 32;
/// A connection needs a round trip or two more, and a cold server its time.
const OPEN_ALLOWANCE: Duration = Duration::from_millis(1_000);
