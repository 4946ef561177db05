//! Live flows: an estimate of the entries that a router's connection table holds for us.
//!
//! A flow counts until 30 s after its last packet if the other side never answered, else 180 s:
//! the time-outs of Linux conntrack, which home routers keep. The number is what kills them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use super::hash::{Map, map};
use super::path::SocketId;
use super::rng::Rng;
use super::time::Instant;

/// What a router tells flows apart by, as far as it differs within one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Every TCP connection has a local port of its own, and so is a flow of its own.
    Tcp(u64),
    /// All datagrams between a socket of ours and one remote address.
    Udp(SocketId, SocketAddr),
}

/// The flows that are live, and how many may be.
#[derive(Clone)]
pub struct Flows {
    cap: usize,
    live: Map<Flow, State>,
    /// Those of `live` that the other side began.
    inbound: usize,
    /// One entry a flow; it is checked against `live` when it comes up.
    expiries: BinaryHeap<Reverse<(Instant, Flow)>>,
}

#[derive(Clone, Copy)]
struct State {
    last: Instant,
    answered: bool,
    inbound: bool,
}

impl Flows {
    /// At most `cap` flows at once; 0 for no limit, and then nothing is tracked.
    pub fn new(cap: usize, rng: &mut Rng) -> Self {
        Self { cap, live: map(rng), inbound: 0, expiries: BinaryHeap::new() }
    }

    /// Changes the limit. Flows above it live out their time; no new one is opened meanwhile.
    pub fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
        if cap == 0 {
            self.live.clear();
            self.inbound = 0;
            self.expiries.clear();
        }
    }

    /// A packet is about to go out. False if that would open a flow too many.
    ///
    /// A tenth of the flows is left to those who contact us.
    pub fn send(&mut self, now: Instant, flow: Flow) -> bool {
        self.touch(now, flow, self.cap - self.cap / INBOUND_SHARE, false)
    }

    /// A packet came in. False if it would open a flow too many: then it is not answered. Those
    /// who contact us get no more than half of all flows, or a flood would end all our own work.
    pub fn receive(&mut self, now: Instant, flow: Flow) -> bool {
        self.touch(now, flow, self.cap, true)
    }

    /// True if sending on `flow` opens nothing new.
    pub fn is_warm(&self, now: Instant, flow: Flow) -> bool {
        self.cap == 0 || self.live.get(&flow).is_some_and(|state| state.expires() > now)
    }

    /// True if a new outgoing flow may be opened.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.cap == 0 || self.live.len() < self.cap - self.cap / INBOUND_SHARE
    }

    /// The earliest time at which a flow may end.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiries.peek().map(|Reverse((at, _))| *at)
    }

    /// How many are live.
    pub fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.live.len()
    }

    /// How many are remembered: those that are live, and those that ended since the last packet.
    pub fn remembered(&self) -> usize {
        self.live.len()
    }

    fn touch(&mut self, now: Instant, flow: Flow, cap: usize, inbound: bool) -> bool {
        if self.cap == 0 {
            return true;
        }
        self.expire(now);
        if let Some(state) = self.live.get_mut(&flow) {
            state.last = now;
            state.answered |= inbound;
            return true;
        }
        if self.live.len() >= cap || inbound && self.inbound * 2 >= cap {
            return false;
        }
        // Whoever writes first is not answered yet: a flow that came in becomes an answered one
        // with our reply, so it is counted as such from the start.
        let state = State { last: now, answered: inbound, inbound };
        self.inbound += usize::from(inbound);
        self.live.insert(flow, state);
        self.expiries.push(Reverse((state.expires(), flow)));
        true
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&Reverse((at, flow))) = self.expiries.peek() {
            if at > now {
                return;
            }
            self.expiries.pop();
            let Some(state) = self.live.get(&flow) else { continue };
            if state.expires() <= now {
                self.inbound -= usize::from(state.inbound);
                self.live.remove(&flow);
            } else {
                self.expiries.push(Reverse((state.expires(), flow)));
            }
        }
    }
}

impl State {
    fn expires(self) -> Instant {
        self.last + if self.answered { ANSWERED } else { UNANSWERED }
    }
}

/// nf_conntrack_udp_timeout_stream is 120 s on Linux, 180 s before 2019 and on many routers.
const ANSWERED: Duration = Duration::from_secs(180);
/// nf_conntrack_udp_timeout.
const UNANSWERED: Duration = Duration::from_secs(30);
/// A tenth, so that a node that only asks still serves.
const INBOUND_SHARE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(last: u8) -> Flow {
        Flow::Udp(SocketId(0), SocketAddr::from(([127, 0, 0, last], 1)))
    }

    #[test]
    fn the_cap_holds_and_unanswered_flows_end_first() {
        let mut flows = Flows::new(10, &mut Rng::seeded(1));
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        assert!((0..9).all(|i| flows.send(at(0), udp(i))));
        assert!(!flows.send(at(0), udp(9)), "the tenth is for inbound");
        assert!(flows.receive(at(0), udp(9)));
        assert!(!flows.receive(at(0), udp(10)));
        assert!(flows.receive(at(1), udp(0)), "an answer");
        assert!(flows.send(at(29), udp(1)), "warm");
        assert_eq!(flows.len(at(30)), 3);
        assert_eq!(flows.len(at(59)), 2);
        assert_eq!(flows.len(at(180)), 1);
        assert_eq!(flows.len(at(181)), 0);
    }

    #[test]
    fn a_flood_from_outside_leaves_half_for_us() {
        let mut flows = Flows::new(100, &mut Rng::seeded(1));
        let now = Instant::from_millis(1);
        assert_eq!((0..=255).filter(|i| flows.receive(now, udp(*i))).count(), 50);
        let ours = |i: u8| Flow::Udp(SocketId(1), SocketAddr::from(([127, 0, 1, i], 1)));
        assert_eq!((0..=255).filter(|i| flows.send(now, ours(*i))).count(), 40);
        assert_eq!(flows.len(Instant::from_millis(180_001)), 0);
        assert!(flows.receive(Instant::from_millis(180_001), udp(200)));
    }

    #[test]
    fn without_a_cap_nothing_is_tracked() {
        let mut flows = Flows::new(0, &mut Rng::seeded(1));
        assert!((0..=255).all(|i| flows.send(Instant(0), udp(i))));
        assert_eq!(flows.len(Instant(0)), 0);
    }

    quickcheck::quickcheck! {
        /// Against a list of every flow with its last packet, by the rules at the head of this file.
        fn what_is_live_is_what_the_rules_say(cap: u8, steps: Vec<(bool, u8, u8)>) -> bool {
            let cap = usize::from(cap % 24) + 1;
            let mut flows = Flows::new(cap, &mut Rng::seeded(1));
            // Flow, its last packet, whether it was answered, whether it came from outside.
            let mut model: Vec<(Flow, u64, bool, bool)> = Vec::new();
            let mut secs = 0;
            for (inbound, wait, which) in steps {
                secs += u64::from(wait % 64);
                let (now, flow) = (Instant::from_millis(secs * 1_000), udp(which % 32));
                model.retain(|(_, last, answered, _)| last + if *answered { 180 } else { 30 } > secs);
                let known = model.iter().position(|(known, ..)| *known == flow);
                let from_outside = model.iter().filter(|(.., inbound)| *inbound).count();
                let room = match inbound {
                    true => model.len() < cap && from_outside * 2 < cap,
                    false => model.len() < cap - cap / 10,
                };
                if flows.is_warm(now, flow) != known.is_some() {
                    return false;
                }
                let passes = if inbound { flows.receive(now, flow) } else { flows.send(now, flow) };
                if passes != (known.is_some() || room) {
                    return false;
                }
                match known {
                    Some(at) => (model[at].1, model[at].2) = (secs, model[at].2 | inbound),
                    None if room => model.push((flow, secs, inbound, inbound)),
                    None => {}
                }
                if flows.len(now) != model.len() || model.len() > cap {
                    return false;
                }
            }
            true
        }
    }
}
