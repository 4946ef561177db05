//! Live flows: an estimate of the entries that a router's connection table holds for us.
//!
//! A flow counts until 30 s after its last packet while only one side has spoken, then until
//! 180 s after it: the time-outs of Linux conntrack, which home routers keep. The number is what
//! kills them. Flows of our own and flows that others began have separate shares, so that neither
//! can use up the other's.

use std::collections::BTreeSet;
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
    /// Flows that we began, and those that others began, by a time before which they do not
    /// expire; each flow is in one of the two.
    own: BTreeSet<(Instant, Flow)>,
    inbound: BTreeSet<(Instant, Flow)>,
    pace: Pace,
}

#[derive(Clone, Copy)]
struct State {
    last: Instant,
    /// Both sides have spoken; for a flow that others began: a second packet of theirs came.
    answered: bool,
    inbound: bool,
    /// Its key in `own` or `inbound`.
    filed: Instant,
}

/// Spreads the opening of own flows over the time that they live (a token bucket): all at once they
/// would fill the table within seconds, and leave nothing to open until they expire.
#[derive(Clone, Copy)]
struct Pace {
    /// Flows that could be opened at once at `filled_at`; `None` before the first one.
    level: Option<f64>,
    filled_at: Instant,
    /// Own flows opened of late, and how many of them were answered.
    opened: u32,
    answered: u32,
}

impl Flows {
    /// At most `cap` flows at once; 0 for no limit, and then nothing is tracked.
    pub fn new(cap: usize, rng: &mut Rng) -> Self {
        let pace = Pace { level: None, filled_at: Instant(0), opened: PACE_PRIOR * 2, answered: PACE_PRIOR };
        Self { cap, live: map(rng), own: BTreeSet::new(), inbound: BTreeSet::new(), pace }
    }

    /// Changes the limit. Flows above it live out their time; no new one is opened meanwhile.
    pub fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
        if cap == 0 {
            self.live.clear();
            self.own.clear();
            self.inbound.clear();
        }
    }

    /// True if flows are limited at all.
    pub fn is_limited(&self) -> bool {
        self.cap > 0
    }

    /// A packet is about to go out. False if it would open a flow too many, or one too soon.
    pub fn send(&mut self, now: Instant, flow: Flow) -> bool {
        if self.cap == 0 {
            return true;
        }
        self.expire(now);
        if let Some(state) = self.live.get_mut(&flow) {
            state.last = now;
            return true;
        }
        if !self.may_open(now) {
            return false;
        }
        self.pace.open(now, self.own_share());
        self.insert(flow, State { last: now, answered: false, inbound: false, filed: now + UNANSWERED });
        true
    }

    /// A packet came in. With the share of inbound flows used up, the one that would expire first
    /// makes room: packets from made-up addresses displace each other before they displace a
    /// conversation. False only if inbound flows have no share at all.
    pub fn receive(&mut self, now: Instant, flow: Flow) -> bool {
        if self.cap == 0 {
            return true;
        }
        self.expire(now);
        if let Some(state) = self.live.get_mut(&flow) {
            state.last = now;
            if !std::mem::replace(&mut state.answered, true) && !state.inbound {
                self.pace.answered = self.pace.answered.saturating_add(1);
            }
            return true;
        }
        let share = inbound_share(self.cap);
        if share == 0 {
            return false;
        }
        while self.inbound.len() >= share {
            self.displace();
        }
        // One packet may have a made-up sender; a second one is an answer to our reply, or a habit.
        self.insert(flow, State { last: now, answered: false, inbound: true, filed: now + UNANSWERED });
        true
    }

    /// True if sending on `flow` opens nothing new.
    pub fn is_warm(&self, now: Instant, flow: Flow) -> bool {
        self.cap == 0 || self.live.get(&flow).is_some_and(|state| state.expires() > now)
    }

    /// True if a new outgoing flow may be opened.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.cap == 0 || self.may_open(now)
    }

    /// The earliest time at which [`Flows::has_room`] may become true, while it is false.
    pub fn next_room(&self, now: Instant) -> Option<Instant> {
        if self.own.len() >= self.own_share() {
            return self.own.first().map(|(at, _)| *at);
        }
        Some(self.pace.ready_at(now, self.own_share()))
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

    fn own_share(&self) -> usize {
        self.cap - inbound_share(self.cap)
    }

    fn may_open(&self, now: Instant) -> bool {
        self.own.len() < self.own_share() && self.pace.level_at(now, self.own_share()) >= 1.0
    }

    fn insert(&mut self, flow: Flow, state: State) {
        self.live.insert(flow, state);
        if state.inbound { &mut self.inbound } else { &mut self.own }.insert((state.filed, flow));
    }

    /// Forgets the inbound flow that would expire first.
    fn displace(&mut self) {
        while let Some((filed, flow)) = self.inbound.pop_first() {
            if !refile(&mut self.live, &mut self.inbound, filed, flow, |_| true) {
                return;
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        for side in [&mut self.own, &mut self.inbound] {
            while let Some((filed, flow)) = side.first().copied().filter(|(filed, _)| *filed <= now) {
                side.pop_first();
                refile(&mut self.live, side, filed, flow, |expires| expires <= now);
            }
        }
    }
}

/// Decides about a flow that was taken out of its side under the key `filed`. If it expires later
/// than that it goes back under its real time; else it is forgotten if `ends` says so. True if it
/// went back.
fn refile(
    live: &mut Map<Flow, State>,
    side: &mut BTreeSet<(Instant, Flow)>,
    filed: Instant,
    flow: Flow,
    ends: impl Fn(Instant) -> bool,
) -> bool {
    let Some(state) = live.get_mut(&flow) else { return false };
    let expires = state.expires();
    if expires > filed || !ends(expires) {
        state.filed = expires;
        side.insert((expires, flow));
        return true;
    }
    live.remove(&flow);
    false
}

impl State {
    fn expires(self) -> Instant {
        self.last + if self.answered { ANSWERED } else { UNANSWERED }
    }
}

impl Pace {
    /// Flows per second at which most of `share` are live after a while.
    fn rate(&self, share: usize) -> f64 {
        let answered = f64::from(self.answered.min(self.opened)) / f64::from(self.opened.max(1));
        let life = UNANSWERED.as_secs_f64() + (ANSWERED - UNANSWERED).as_secs_f64() * answered;
        share as f64 * PACE_SHARE / life
    }

    fn level_at(&self, now: Instant, share: usize) -> f64 {
        let burst = (share / BURST_SHARE).max(BURST_MIN) as f64;
        let gained = now.since(self.filled_at).as_secs_f64() * self.rate(share);
        self.level.map_or(burst, |level| (level + gained).min(burst))
    }

    /// When a flow may be opened.
    fn ready_at(&self, now: Instant, share: usize) -> Instant {
        let missing = 1.0 - self.level_at(now, share);
        if missing <= 0.0 { now } else { now + Duration::from_secs_f64(missing / self.rate(share)) }
    }

    fn open(&mut self, now: Instant, share: usize) {
        self.level = Some(self.level_at(now, share) - 1.0);
        self.filled_at = self.filled_at.max(now);
        self.opened += 1;
        if self.opened >= PACE_MEMORY {
            (self.opened, self.answered) = (self.opened / 2, self.answered / 2);
        }
    }
}

/// An eighth: those who contact us displace each other, so that a node that only asks still serves.
fn inbound_share(cap: usize) -> usize {
    (cap / INBOUND_SHARE).max(1).min(cap.saturating_sub(1))
}

/// nf_conntrack_udp_timeout_stream is 120 s on Linux, 180 s before 2019 and on many routers.
const ANSWERED: Duration = Duration::from_secs(180);
/// nf_conntrack_udp_timeout.
const UNANSWERED: Duration = Duration::from_secs(30);
const INBOUND_SHARE: usize = 8;
/// Own flows that may be opened at once after a pause.
const BURST_SHARE: usize = 8;
const BURST_MIN: usize = 8;
/// What is left of the share after a burst at the start, so that the even rate does not run into
/// the limit.
const PACE_SHARE: f64 = 0.85;
/// Half of the contacts of a DHT are dead, as a first guess.
const PACE_PRIOR: u32 = 16;
/// Flows over which the share of answered ones is learnt.
const PACE_MEMORY: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(last: u8) -> Flow {
        Flow::Udp(SocketId(0), SocketAddr::from(([127, 0, 0, last], 1)))
    }

    fn from(n: u32) -> Flow {
        Flow::Udp(SocketId(0), SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 1)))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    #[test]
    fn the_cap_holds_and_unanswered_flows_end_first() {
        let mut flows = Flows::new(9, &mut Rng::seeded(1));
        assert!((0..8).all(|i| flows.send(at(1), udp(i))));
        assert!(!flows.send(at(1), udp(8)), "the ninth is for inbound");
        assert!(flows.receive(at(1), udp(9)));
        assert!(flows.receive(at(2), udp(0)), "an answer");
        assert!(flows.send(at(30), udp(1)), "warm");
        assert_eq!(flows.len(at(31)), 2);
        assert_eq!(flows.len(at(60)), 1);
        assert_eq!(flows.len(at(181)), 1);
        assert_eq!(flows.len(at(182)), 0);
    }

    #[test]
    fn one_packet_is_no_conversation_and_a_second_one_is() {
        let mut flows = Flows::new(100, &mut Rng::seeded(1));
        assert!(flows.receive(at(0), udp(1)) && flows.receive(at(0), udp(2)));
        assert!(flows.send(at(1), udp(1)) && flows.send(at(1), udp(2)), "what we send proves nothing");
        assert!(flows.receive(at(20), udp(2)));
        assert_eq!(flows.len(at(31)), 1);
        assert_eq!(flows.len(at(199)), 1);
        assert_eq!(flows.len(at(200)), 0);
    }

    #[test]
    fn a_flood_from_outside_takes_neither_our_share_nor_the_place_of_a_conversation() {
        let mut flows = Flows::new(2_000, &mut Rng::seeded(1));
        assert!(flows.receive(at(1), udp(1)) && flows.receive(at(2), udp(1)));
        for n in 0..100_000 {
            assert!(flows.receive(at(3), from(n)), "each is answered");
        }
        assert!(flows.remembered() <= 250 && flows.is_warm(at(3), udp(1)));
        let ours = |n: u8| Flow::Udp(SocketId(1), SocketAddr::from(([127, 0, 1, n], 1)));
        assert_eq!((0..200).filter(|n| flows.send(at(3), ours(*n))).count(), 200);
    }

    #[test]
    fn own_flows_are_opened_evenly_after_the_first_burst() {
        let mut flows = Flows::new(2_000, &mut Rng::seeded(1));
        let mut per_ten_secs = vec![0; 90];
        for ms in 0..900_000u64 {
            let now = Instant::from_millis(1_000 + ms);
            let n = ms as u32;
            if flows.send(now, from(n)) {
                per_ten_secs[ms as usize / 10_000] += 1;
                if n.is_multiple_of(10) || n % 10 > 4 {
                    flows.receive(now, from(n));
                }
            }
            assert!(flows.remembered() <= 1_750);
        }
        let later = &per_ten_secs[1..];
        let (least, most) = (later.iter().min().unwrap(), later.iter().max().unwrap());
        assert!(*most <= 2 * *least && *least > 50, "{per_ten_secs:?}");
        assert!(flows.len(at(901)) > 1_200, "and nearly all of the share is used");
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
            let share = inbound_share(cap);
            let mut flows = Flows::new(cap, &mut Rng::seeded(1));
            // Flow, its last packet, whether both sides spoke, whether it came from outside.
            let mut model: Vec<(Flow, u64, bool, bool)> = Vec::new();
            let mut secs = 0;
            for (inbound, wait, which) in steps {
                secs += u64::from(wait % 64);
                let (now, flow) = (at(secs), udp(which % 32));
                let ends = |(_, last, answered, _): &(Flow, u64, bool, bool)| last + if *answered { 180 } else { 30 };
                model.retain(|flow| ends(flow) > secs);
                let known = model.iter().position(|(known, ..)| *known == flow);
                let of = |side: bool| model.iter().filter(|(.., from)| *from == side).count();
                let room = if inbound { share > 0 } else { of(false) < cap - share };
                if flows.is_warm(now, flow) != known.is_some() {
                    return false;
                }
                let passes = if inbound { flows.receive(now, flow) } else { flows.send(now, flow) };
                // The pace may hold an own flow back, but opens none beyond the share.
                if passes && known.is_none() && !room || !passes && (known.is_some() || inbound && room) {
                    return false;
                }
                match known {
                    Some(at) => (model[at].1, model[at].2) = (secs, model[at].2 | inbound),
                    None if passes => {
                        if inbound && of(true) >= share {
                            let first = model.iter().filter(|(.., from)| *from).map(|flow| (ends(flow), flow.0)).min();
                            model.retain(|flow| Some(flow.0) != first.map(|(_, flow)| flow));
                        }
                        model.push((flow, secs, false, inbound));
                    }
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
