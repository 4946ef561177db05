//! The walk around the keyspace: which node is asked next.

use std::net::SocketAddr;

use crate::base::{Id, Rng};
use crate::wire::compact::NodeAddr;

use super::directory::{Directory, Outcome, Turn};

/// The directories of both families.
pub(super) struct Sweep {
    v4: Directory<[u8; 4]>,
    v6: Directory<[u8; 16]>,
    open: usize,
    v4_next: bool,
}

impl Sweep {
    pub(super) fn new(nodes_max: usize, rng: &mut Rng) -> Self {
        Self {
            v4: Directory::new(nodes_max, rng),
            v6: Directory::new(nodes_max, rng),
            open: 0,
            v4_next: false,
        }
    }

    pub(super) fn candidate(&mut self, node: NodeAddr) -> bool {
        match node.addr {
            SocketAddr::V4(_) => self.v4.candidate(node),
            SocketAddr::V6(_) => self.v6.candidate(node),
        }
    }

    /// The same for a node that has answered something else.
    pub(super) fn met(&mut self, node: NodeAddr, now_secs: u32) -> bool {
        match node.addr {
            SocketAddr::V4(_) => self.v4.met(node, now_secs),
            SocketAddr::V6(_) => self.v6.met(node, now_secs),
        }
    }

    /// True if the node at `addr` has answered the walk.
    pub(super) fn is_verified(&self, addr: SocketAddr) -> bool {
        if addr.is_ipv4() { self.v4.is_verified(addr) } else { self.v6.is_verified(addr) }
    }

    /// Others still name it, but the walk has found nobody there.
    pub(super) fn is_lost(&self, addr: SocketAddr) -> bool {
        if addr.is_ipv4() { self.v4.is_lost(addr) } else { self.v6.is_lost(addr) }
    }

    pub(super) fn restore(&mut self, node: NodeAddr, answered: i64, due_secs: u32) {
        match node.addr {
            SocketAddr::V4(_) => self.v4.restore(node, answered, due_secs),
            SocketAddr::V6(_) => self.v6.restore(node, answered, due_secs),
        }
    }

    /// Whose turn it is, and whether that is in the directory of IPv4. The families take turns, so
    /// that the larger one does not keep the other waiting.
    pub(super) fn next_turn(&mut self, now_secs: u32) -> Option<(bool, Turn)> {
        self.v4_next = !self.v4_next;
        for v4 in [self.v4_next, !self.v4_next] {
            let turn = if v4 { self.v4.next_turn(now_secs) } else { self.v6.next_turn(now_secs) };
            if let Some(turn) = turn {
                self.open += 1;
                return Some((v4, turn));
            }
        }
        None
    }

    pub(super) fn put_back(&mut self, v4: bool, slot: u32) {
        self.open -= 1;
        if v4 { self.v4.put_back(slot) } else { self.v6.put_back(slot) }
    }

    pub(super) fn answered(&mut self, v4: bool, slot: u32, outcome: Outcome, now_secs: u32) {
        self.open -= 1;
        if v4 { self.v4.answered(slot, outcome, now_secs) } else { self.v6.answered(slot, outcome, now_secs) }
    }

    pub(super) fn silent(&mut self, v4: bool, slot: u32, sampled: bool, now_secs: u32) {
        self.open -= 1;
        if v4 { self.v4.silent(slot, sampled, now_secs) } else { self.v6.silent(slot, sampled, now_secs) }
    }

    /// We were cut off from the network: it is asked again later, and nothing was learned of it.
    pub(super) fn postpone(&mut self, v4: bool, slot: u32, now_secs: u32) {
        self.open -= 1;
        if v4 { self.v4.postpone(slot, now_secs) } else { self.v6.postpone(slot, now_secs) }
    }

    /// Where to steer the answer of `node`: into its own neighbourhood, which it knows best. Now
    /// and then, and while little is known, anywhere.
    pub(super) fn target(&self, node: Id, rng: &mut Rng) -> Id {
        let known = self.verified() as u32;
        if known < FEW || rng.below(WANDER) == 0 {
            return Id::random(rng);
        }
        node.random_at_depth(known.ilog2().saturating_sub(NEIGHBOURHOOD_BITS), rng)
    }

    pub(super) fn freshest(&self, count: usize) -> Vec<(NodeAddr, i64, u32)> {
        let mut all = self.v4.freshest(count);
        all.extend(self.v6.freshest(count));
        all.sort_by_key(|(node, answered, _)| (std::cmp::Reverse(*answered), node.id));
        all.truncate(count);
        all
    }

    pub(super) fn next_due(&self, v4: bool) -> Option<u32> {
        if v4 { self.v4.next_due() } else { self.v6.next_due() }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn verified(&self) -> usize {
        self.v4.verified() + self.v6.verified()
    }

    pub(super) fn verified_of(&self, v4: bool) -> usize {
        if v4 { self.v4.verified() } else { self.v6.verified() }
    }

    pub(super) fn known(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn passes(&self) -> u64 {
        self.v4.passes().max(self.v6.passes())
    }

    pub(super) fn check_invariants(&self) {
        self.v4.check_invariants();
        self.v6.check_invariants();
    }
}

/// Below this the neighbourhood of anybody is the whole network.
const FEW: u32 = 64;
/// One answer in so many is steered anywhere, or parts of a split network would never be met.
const WANDER: u64 = 32;
/// Targets are spread over some 2^3 nodes around the asked one.
const NEIGHBOURHOOD_BITS: u32 = 3;
