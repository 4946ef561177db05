//! Queries on their way: which reply belongs to which, and which will never come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Instant, NodeId, Rng, SocketId, Token};

/// Queries that wait for an answer. A slot is reused only after its query has ended, under a
/// new random tag: a duplicated or late reply matches nothing.
pub(super) struct Transactions {
    slots: Vec<Option<Query>>,
    free: Vec<u16>,
    /// By the time at which they time out: the time-out follows the round trips, so that a later
    /// query may end before an earlier one.
    timeouts: BinaryHeap<Reverse<(Instant, u16, u16)>>,
    /// Smoothed round trip and its deviation (RFC 6298), in nanoseconds.
    srtt: u64,
    rttvar: u64,
}

/// What was asked of whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    tag: u16,
    /// When it times out. Tells it from an earlier query that had the same slot and, by chance, tag.
    deadline: Instant,
    pub(super) socket: SocketId,
    pub(super) to: SocketAddr,
    /// The id that the node is expected to have, if it is known for sure.
    pub(super) id: Option<NodeId>,
    pub(super) sent: Instant,
    pub(super) purpose: Purpose,
}

/// What a new query is about.
pub(super) struct Open {
    pub(super) socket: SocketId,
    pub(super) to: SocketAddr,
    pub(super) id: Option<NodeId>,
    pub(super) purpose: Purpose,
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A peer is announced for a command.
    Announce(u64),
    /// A `ping` for the routing table's sake.
    Check,
    /// One query of a lookup.
    Lookup(Token),
    /// A `find_node` for a lookup, to a node whose answer to its query named no useful nodes.
    LookupNodes(Token),
    /// A `ping` by a command.
    Ping(u64),
    /// A turn of the sweep: its place in the directory, and whether it was `sample_infohashes`.
    Sweep { slot: u32, sampled: bool },
}

impl Transactions {
    pub(super) fn new() -> Self {
        let initial = INITIAL_RTT.as_nanos() as u64;
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            timeouts: BinaryHeap::new(),
            srtt: initial,
            rttvar: initial / 2,
        }
    }

    /// Registers a query; the transaction id to send it under. `None` if too many are open.
    pub(super) fn open(&mut self, now: Instant, rng: &mut Rng, open: Open) -> Option<[u8; 4]> {
        let Open { socket, to, id, purpose } = open;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len()).ok().filter(|slot| *slot < OPEN_MAX)?;
                self.slots.push(None);
                slot
            }
        };
        let tag = rng.u32() as u16;
        let deadline = now + self.timeout();
        let query = Query { tag, deadline, socket, to, id, sent: now, purpose };
        self.slots[usize::from(slot)] = Some(query);
        self.timeouts.push(Reverse((deadline, slot, tag)));
        let ([a, b], [c, d]) = (slot.to_be_bytes(), tag.to_be_bytes());
        Some([a, b, c, d])
    }

    /// Ends the query that a reply from `from` answers; `None` if there is no such query.
    pub(super) fn close(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<Query> {
        let [a, b, c, d] = transaction.try_into().ok()?;
        let (slot, tag) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let place = self.slots.get_mut(usize::from(slot))?;
        let query = place.take_if(|query| query.tag == tag && query.to == from && query.socket == socket)?;
        self.free.push(slot);
        self.learn(now.since(query.sent));
        Some(query)
    }

    /// Ends a query that was not sent after all.
    pub(super) fn cancel(&mut self, transaction: [u8; 4]) {
        let slot = u16::from_be_bytes([transaction[0], transaction[1]]);
        if self.slots[usize::from(slot)].take().is_some() {
            self.free.push(slot);
        }
    }

    /// Ends one query whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Query> {
        while let Some(&Reverse((deadline, slot, tag))) = self.timeouts.peek() {
            let place = &mut self.slots[usize::from(slot)];
            let same = |query: &Query| query.tag == tag && query.deadline == deadline;
            if !place.as_ref().is_some_and(same) {
                self.timeouts.pop();
                continue;
            }
            if deadline > now {
                return None;
            }
            self.timeouts.pop();
            self.free.push(slot);
            return place.take();
        }
        None
    }

    /// When the next query times out; it may have been answered.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timeouts.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many are open for this kind of purpose. For tests and the simulator.
    pub(super) fn count(&self, of: impl Fn(Purpose) -> bool) -> usize {
        self.slots.iter().flatten().filter(|query| of(query.purpose)).count()
    }

    /// How long an answer is waited for at present.
    pub(super) fn timeout(&self) -> Duration {
        let nanos = self.srtt + 6 * self.rttvar;
        Duration::from_nanos(nanos).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
    }

    fn learn(&mut self, rtt: Duration) {
        let rtt = rtt.as_nanos() as u64;
        self.rttvar = (3 * self.rttvar + self.srtt.abs_diff(rtt)) / 4;
        self.srtt = (7 * self.srtt + rtt) / 8;
    }
}

/// Two to the sixteen minus a margin: the slot is two of the transaction id's four bytes.
const OPEN_MAX: u16 = 60_000;
/// RFC 6298's first guess.
const INITIAL_RTT: Duration = Duration::from_millis(500);
/// Below this a busy peer's scheduler decides, not the network.
const TIMEOUT_MIN: Duration = Duration::from_millis(750);
/// Nodes that need longer exist, but waiting for them costs more than they bring.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn query(purpose: Purpose) -> Open {
        Open { socket: SocketId(0), to: addr(1), id: None, purpose }
    }

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 6881))
    }

    #[test]
    fn only_the_right_reply_from_the_right_place_closes_and_only_once() {
        let (mut open, mut rng) = (Transactions::new(), Rng::seeded(1));
        let socket = SocketId(0);
        let t = open.open(Instant(0), &mut rng, query(Purpose::Check)).unwrap();
        let mut wrong = t;
        wrong[3] ^= 1;
        assert!(open.close(Instant(1), socket, addr(1), &wrong).is_none());
        assert!(open.close(Instant(1), socket, addr(2), &t).is_none());
        assert!(open.close(Instant(1), SocketId(1), addr(1), &t).is_none());
        assert!(open.close(Instant(1), socket, addr(1), &t[..3]).is_none());
        assert!(open.close(Instant(1), socket, addr(1), &t).is_some());
        assert!(open.close(Instant(1), socket, addr(1), &t).is_none(), "duplicate");
        assert_eq!(open.len(), 0);
    }

    #[test]
    fn silence_ends_a_query_once_and_a_late_reply_is_nothing() {
        let (mut open, mut rng) = (Transactions::new(), Rng::seeded(1));
        let t = open.open(Instant(0), &mut rng, query(Purpose::Ping(7))).unwrap();
        let late = open.next_deadline().unwrap();
        assert!(open.expire(late - Duration::from_nanos(1)).is_none());
        assert_eq!(open.expire(late).unwrap().purpose, Purpose::Ping(7));
        assert!(open.expire(late).is_none());
        assert!(open.close(late, SocketId(0), addr(1), &t).is_none());
    }

    #[test]
    fn a_later_query_with_a_shorter_timeout_ends_first() {
        let (mut open, mut rng) = (Transactions::new(), Rng::seeded(1));
        let slow = open.timeout();
        open.open(Instant(0), &mut rng, query(Purpose::Ping(1))).unwrap();
        // Answers within a millisecond teach a shorter time-out.
        for _ in 0..64 {
            let t = open.open(Instant(0), &mut rng, query(Purpose::Check)).unwrap();
            open.close(Instant::from_millis(1), SocketId(0), addr(1), &t).unwrap();
        }
        let quick = open.timeout();
        assert!(quick + Duration::from_millis(500) < slow);
        open.open(Instant::from_millis(1), &mut rng, query(Purpose::Ping(2))).unwrap();
        let due = Instant::from_millis(1) + quick;
        assert_eq!(open.expire(due).map(|query| query.purpose), Some(Purpose::Ping(2)));
        assert!(open.expire(due).is_none() && open.next_deadline() == Some(Instant(0) + slow));
    }

    #[test]
    fn a_query_is_not_ended_by_the_time_of_one_that_had_its_name_before() {
        let mut open = Transactions::new();
        let t = open.open(Instant(0), &mut Rng::seeded(1), query(Purpose::Check)).unwrap();
        let early = open.next_deadline().unwrap();
        assert!(open.close(Instant(1), SocketId(0), addr(1), &t).is_some());
        let again = open.open(Instant(2), &mut Rng::seeded(1), query(Purpose::Check)).unwrap();
        assert_eq!(t, again, "one in 65,536 times");
        assert!(open.expire(early).is_none());
        assert!(open.close(early, SocketId(0), addr(1), &again).is_some());
    }

    #[test]
    fn the_number_of_open_queries_is_bounded() {
        let (mut open, mut rng) = (Transactions::new(), Rng::seeded(1));
        let opened = (0..70_000).filter(|_| open.open(Instant(0), &mut rng, query(Purpose::Check)).is_some());
        assert_eq!(opened.count(), usize::from(OPEN_MAX));
    }
}
