//! What is known of peers: who has delivered, who is left alone and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use super::avoided::{Avoided, Backoff};
use super::credit::{Recent, Terms};
use super::failure::Failure;
use super::memory::Memory;
use crate::base::{Instant, Network, Rng};

/// The reputation of every peer that something is remembered of.
pub struct Reputation {
    good: Memory<SocketAddr>,
    /// Good peers whose connections failed of late.
    forgiven: Memory<SocketAddr>,
    unreachable: Memory<SocketAddr>,
    /// Those that took a connection and then said nothing in time.
    silent: Avoided,
    misbehaved: Avoided,
    /// How well the networks of peers can be reached: one where hardly anything answers is left alone,
    /// whoever names its addresses.
    reached: Recent<Network>,
}

impl Reputation {
    /// Nothing is known.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            good: Memory::new(GOOD_MAX, rng),
            forgiven: Memory::new(FORGIVEN_MAX, rng),
            unreachable: Memory::new(UNREACHABLE_MAX, rng),
            silent: Avoided::new(SILENT, rng),
            misbehaved: Avoided::new(MISBEHAVED, rng),
            reached: Recent::new(rng),
        }
    }

    /// It has delivered of late, and was not lost since.
    pub fn is_good(&self, peer: SocketAddr, now: Instant) -> bool {
        self.good.has(&peer, now)
    }

    /// It cannot be connected to, was silent or misbehaved of late.
    pub fn is_left_alone(&self, peer: SocketAddr, now: Instant) -> bool {
        self.unreachable.has(&peer, now) || self.silent.has(peer, now) || self.misbehaved.has(peer, now)
    }

    /// The same, or hardly anything in its network can be connected to.
    pub fn is_avoided(&self, peer: SocketAddr, now: Instant) -> bool {
        let network = self.reached.get(&Network::around(peer.ip()));
        self.is_left_alone(peer, now) || network.is_some_and(|account| account.left(REACHED, now) < 1)
    }

    /// A connection to it is open.
    pub fn opened(&mut self, peer: SocketAddr, now: Instant) {
        self.unreachable.forget(&peer);
        self.count(peer, REACHED_EARNS, now);
    }

    /// It delivered.
    pub fn delivered(&mut self, peer: SocketAddr, now: Instant) {
        self.good.put(peer, now + GOOD_FOR);
        self.silent.forgive(peer);
        self.unreachable.forget(&peer);
    }

    /// A connection to it that was begun at `begun_at` failed; what that counts as.
    pub fn failed(
        &mut self,
        peer: SocketAddr,
        failure: Failure,
        begun_at: Option<Instant>,
        now: Instant,
    ) -> Failure {
        match failure {
            Failure::Misbehaved => {
                self.good.forget(&peer);
                self.misbehaved.offended(peer, now);
            }
            Failure::Unreachable | Failure::Refused | Failure::Silent
                if self.is_forgiven(peer, begun_at, now) =>
            {
                return Failure::Crowded;
            }
            Failure::Unreachable | Failure::Refused => {
                self.unreachable.put(peer, now + AVOID_UNREACHABLE);
                self.count(peer, -1, now);
            }
            // All that wait for it at one time are silent together.
            Failure::Silent if !self.silent.has(peer, now) => self.silent.offended(peer, now),
            Failure::Silent | Failure::Crowded | Failure::NotHere | Failure::Ours => {}
        }
        failure
    }

    /// The peer has delivered since the connection was begun, or the connection was begun before the
    /// first failure after it had delivered: that is forgiven, and all that failed beside it.
    fn is_forgiven(&mut self, peer: SocketAddr, begun_at: Option<Instant>, now: Instant) -> bool {
        let Some(begun_at) = begun_at else { return false };
        let since =
            |until: Option<Instant>, kept: Duration| until.is_some_and(|until| until >= begun_at + kept);
        if since(self.good.until(&peer), GOOD_FOR) || since(self.forgiven.until(&peer), FORGIVEN_FOR) {
            return true;
        }
        let was_good = self.good.forget(&peer);
        if was_good {
            self.forgiven.put(peer, now + FORGIVEN_FOR);
        }
        was_good
    }

    fn count(&mut self, peer: SocketAddr, change: i32, now: Instant) {
        self.reached.entry(Network::around(peer.ip()), REACHED, now).change(change, REACHED, now);
    }
}

/// 65,536 addresses of about 100 bytes each, map and order: 6 MiB.
const GOOD_MAX: usize = 65_536;
const FORGIVEN_MAX: usize = 4_096;
const UNREACHABLE_MAX: usize = 65_536;
const GOOD_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Longer than any connection takes.
const FORGIVEN_FOR: Duration = Duration::from_secs(60);
const AVOID_UNREACHABLE: Duration = Duration::from_secs(5 * 60);
/// aria2 stands still for seconds whenever it looks for peers.
const SILENT: Backoff = Backoff {
    first: Duration::from_secs(10),
    max: Duration::from_secs(5 * 60),
    forgotten_after: Duration::from_secs(10 * 60),
    count_max: 65_536,
};
/// Minutes are long enough to be of use to the crawl, short enough for an address that changes hands.
const MISBEHAVED: Backoff = Backoff {
    first: Duration::from_secs(5 * 60),
    max: Duration::from_secs(6 * 3_600),
    forgotten_after: Duration::from_secs(6 * 3_600),
    count_max: 65_536,
};
/// Connections to one network (/24, /48) that do not open: 32 at first, and one more every two
/// seconds; each that opens is worth eight.
const REACHED: Terms = Terms { start: 32, per_minute: 30, least: 0, most: 512 };
const REACHED_EARNS: i32 = 8;
