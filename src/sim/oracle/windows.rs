//! Rates over every window, and the table of a router, counted from packets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Instant;

/// Holds `rate` a second and `burst` at once over every window; a rate of zero is no limit.
pub(super) struct Window {
    rate: u64,
    burst: u64,
    /// What may still come now, in billionths; below zero the limit is broken.
    level: i128,
    at: Instant,
}

impl Window {
    pub(super) fn new(rate: u64, burst: u64, now: Instant) -> Self {
        Self { rate, burst, level: i128::from(burst) * NANOS, at: now }
    }

    pub(super) fn set_rate(&mut self, now: Instant, rate: u64, burst: u64) {
        self.fill(now);
        let unlimited = self.rate == 0;
        (self.rate, self.burst) = (rate, burst);
        let full = i128::from(burst) * NANOS;
        self.level = if unlimited { full } else { self.level.min(full) };
    }

    /// True if there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.rate > 0
    }

    /// So much came. False: more than any limit allows.
    pub(super) fn take(&mut self, now: Instant, amount: u64) -> bool {
        if self.rate == 0 {
            return true;
        }
        self.fill(now);
        self.level -= i128::from(amount) * NANOS;
        self.level > -NANOS
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.since(self.at).as_nanos() as i128 * i128::from(self.rate);
        self.level = (self.level + gained).min(i128::from(self.burst) * NANOS);
        self.at = self.at.max(now);
    }
}

/// What a router tells flows apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlowKey {
    Stream(u64),
    Datagrams(SocketAddr),
}

/// Live flows: each until 30 s after its last packet if only one side has spoken, else 180 s, by
/// the host's clock: a host that was suspended believes in flows that have ended meanwhile. A flow
/// that the other side began counts as a conversation from its second packet on.
///
/// Others may begin any number of flows; the host opens none beyond its share of seven eighths.
pub(super) struct Router {
    cap: usize,
    live: BTreeMap<FlowKey, Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    last: Instant,
    answered: bool,
    inbound: bool,
}

impl Router {
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, live: BTreeMap::new() }
    }

    pub(super) fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    pub(super) fn is_limited(&self) -> bool {
        self.cap > 0
    }

    /// How many are live.
    pub(super) fn count(&mut self, now: Instant) -> usize {
        self.live.retain(|_, flow| flow.is_live(now));
        self.live.len()
    }

    /// A packet. False if it opens a flow of the host's own too many.
    pub(super) fn see(&mut self, now: Instant, key: FlowKey, inbound: bool) -> bool {
        if self.cap == 0 {
            return true;
        }
        if let Some(flow) = self.live.get_mut(&key).filter(|flow| flow.is_live(now)) {
            (flow.last, flow.answered) = (now, flow.answered || inbound);
            return true;
        }
        self.live.insert(key, Seen { last: now, answered: false, inbound });
        let share = self.cap - (self.cap / INBOUND_SHARE).max(1).min(self.cap - 1);
        let own = |live: &BTreeMap<FlowKey, Seen>| live.values().filter(|flow| !flow.inbound).count();
        if inbound || self.live.len() <= share || own(&self.live) <= share {
            return true;
        }
        self.live.retain(|_, flow| flow.is_live(now));
        own(&self.live) <= share
    }
}

impl Seen {
    fn is_live(&self, now: Instant) -> bool {
        now.since(self.last) < if self.answered { ANSWERED } else { UNANSWERED }
    }
}

const NANOS: i128 = 1_000_000_000;
/// nf_conntrack_udp_timeout_stream before 2019.
const ANSWERED: Duration = Duration::from_secs(180);
/// nf_conntrack_udp_timeout.
const UNANSWERED: Duration = Duration::from_secs(30);
/// An eighth is for flows that others begin.
const INBOUND_SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_its_burst_and_its_rate_and_no_more() {
        let at = Instant::from_millis;
        let mut window = Window::new(10, 5, at(0));
        assert!((0..5).all(|_| window.take(at(0), 1)));
        assert!(window.take(at(100), 1));
        assert!(!window.take(at(100), 1), "the sixth within a tenth of a second is one too many");
        let mut window = Window::new(10, 5, at(0));
        assert!((1..=100).all(|n| window.take(at(n * 100), 1)));
        assert!(Window::new(0, 0, at(0)).take(at(0), 1_000_000));
    }

    #[test]
    fn a_router_counts_what_is_live() {
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        let udp = |port: u16| FlowKey::Datagrams(SocketAddr::from(([11, 0, 0, 1], port)));
        let mut router = Router::new(3);
        assert!(router.see(at(0), udp(1), false) && router.see(at(1), FlowKey::Stream(1), false));
        assert!(router.see(at(2), udp(1), true), "an answer opens nothing");
        assert!(router.see(at(2), udp(7), true), "others may begin what they like");
        assert!(!router.see(at(3), udp(2), false));
        let mut router = Router::new(2);
        assert!(router.see(at(0), udp(1), false));
        assert!(router.see(at(30), udp(2), false), "the first was never answered");
        assert!(router.see(at(31), udp(2), true));
        assert!(!router.see(at(200), udp(3), false));
        assert!(router.see(at(200), udp(4), true));
        assert_eq!(router.count(at(209)), 3);
        assert_eq!(router.count(at(231)), 0);
    }
}
