//! One iterative lookup (BEP 5): ask the closest nodes known, learn of closer ones, stop when
//! the closest have answered.

use std::net::SocketAddr;

use crate::base::{Id, NetGroup, NodeId, SocketId};
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::FILTER_BYTES;

use super::bloom::Filter;

/// Who wants a lookup; its events carry this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// A command, by a number of the caller's choosing.
    Command(u64),
    /// A torrent without peers.
    Metadata,
    /// A stored torrent whose numbers are old.
    Refresh,
    /// The routing table.
    Upkeep,
    /// The estimate of the network's size.
    Census,
}

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// `get_peers`, then `announce_peer` with this port to the closest; 0: implied.
    Announce(u16),
    /// `find_node`
    Nodes,
    /// `get_peers` until the closest have answered.
    Peers,
    /// The same for an infohash that may well not exist: until the very closest have answered.
    PeersBriefly,
    /// `get_peers` at the nodes given and nowhere else.
    PeersAt,
    /// `get_peers` with the BEP 33 filters.
    Scrape,
}

pub(super) struct Lookup {
    pub(super) target: Id,
    pub(super) goal: Goal,
    pub(super) user: User,
    pub(super) socket: SocketId,
    /// Sorted by distance, the closest first; at most [`CANDIDATES_MAX`].
    candidates: Vec<Candidate>,
    pub(super) open: usize,
    pub(super) answered: u32,
    /// Peers that were reported, with repetition.
    pub(super) peers: u32,
    /// The same, but no single node's word counts for more than half of what is enough.
    credited: u32,
    /// Nodes that the sweep had met when this began; of use to the census.
    pub(super) verified: usize,
    /// Queries sent.
    asked: u32,
    /// Nodes whose answers were of no help, and what else they are to be asked.
    again: Vec<(SocketAddr, Again)>,
    /// How often that was because of a crowd.
    crowds: u32,
    /// Unions of the filters that came in: seeds, peers.
    filters: Option<Box<(Filter, Filter)>>,
}

struct Candidate {
    node: NodeAddr,
    distance: Id,
    state: Progress,
    /// It had answered the sweep before this lookup met it.
    was_known: bool,
}

/// What a node is asked besides the lookup's own query: `find_node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// For the target itself.
    Target,
    /// For a random id that shares so many bits with the target.
    Beside(u32),
}

enum Progress {
    New,
    Asked,
    Answered { token: Option<Box<[u8]>> },
}

impl Lookup {
    pub(super) fn new(target: Id, goal: Goal, user: User, socket: SocketId) -> Self {
        Self {
            target,
            goal,
            user,
            socket,
            candidates: Vec::new(),
            open: 0,
            answered: 0,
            peers: 0,
            credited: 0,
            verified: 0,
            asked: 0,
            again: Vec::new(),
            crowds: 0,
            filters: None,
        }
    }

    /// A node worth asking, if it is among the closest so far. One a network: ids next to the
    /// target are easily made up, and whoever has one address of a network has others.
    pub(super) fn offer(&mut self, node: NodeAddr) {
        self.offer_met(node, false);
    }

    /// The same for a node of which it is known whether it has answered the sweep.
    pub(super) fn offer_met(&mut self, node: NodeAddr, was_known: bool) {
        let group = NetGroup::of(node.addr);
        if !self.candidates.iter().any(|other| NetGroup::of(other.node.addr) == group) {
            self.insert(node, was_known);
        }
    }

    /// A host whose id is not known yet. Several of one network are all asked.
    pub(super) fn offer_host(&mut self, addr: SocketAddr) {
        let mut id = self.target;
        id.0.iter_mut().for_each(|byte| *byte = !*byte);
        // Made distinct, or two hosts would pass for one node at two addresses.
        id.0[19] ^= self.candidates.len() as u8;
        if !self.candidates.iter().any(|other| other.node.addr == addr) {
            self.insert(NodeAddr { id, addr }, false);
        }
    }

    fn insert(&mut self, node: NodeAddr, was_known: bool) {
        let distance = node.id.distance(self.target);
        let at = self.candidates.partition_point(|other| other.distance < distance);
        let full = self.candidates.len() >= CANDIDATES_MAX;
        let spoofed = |other: &Candidate| other.node.id == node.id;
        if full && at >= CANDIDATES_MAX - ALPHA || self.candidates.get(at).is_some_and(spoofed) {
            return;
        }
        self.candidates.insert(at, Candidate { node, distance, state: Progress::New, was_known });
        if self.candidates.len() > CANDIDATES_MAX {
            // One that is being asked stays until it has answered or has not.
            let last = self.candidates.iter().rposition(|one| matches!(one.state, Progress::New));
            self.candidates.remove(last.unwrap_or(CANDIDATES_MAX));
        }
    }

    /// The next node to ask, if one should be asked now.
    pub(super) fn next(&mut self) -> Option<NodeAddr> {
        if !self.may_ask() {
            return None;
        }
        let close = if self.goal == Goal::PeersBriefly { CLOSEST_BRIEFLY } else { CLOSEST };
        let mut close = self.candidates.iter().take(close);
        close.find(|one| matches!(one.state, Progress::New)).map(|one| one.node)
    }

    /// The next node to ask for nodes because its answer was of no help, and for which target: with
    /// [`Again::Beside`] one that shares so many bits with the lookup's.
    pub(super) fn next_again(&self) -> Option<(SocketAddr, Again)> {
        self.again.last().copied().filter(|_| self.may_ask())
    }

    /// `addr`, which [`Lookup::next_again`] named, is being asked.
    pub(super) fn asked_again(&mut self, addr: SocketAddr) {
        self.again.retain(|(other, _)| *other != addr);
        self.open += 1;
        self.asked += 1;
    }

    /// That query has ended.
    pub(super) fn again_ended(&mut self) {
        self.open -= 1;
    }

    /// `addr` answered and named `nodes`. If it named none at all it is asked for nodes. If most are
    /// of one network they crowd the target, and hide the others from all that name only the
    /// closest: it is asked for the closest to some place beside it.
    pub(super) fn look_beyond(&mut self, addr: SocketAddr, nodes: &[NodeAddr], lacks_nodes: bool) {
        if lacks_nodes {
            self.again.push((addr, Again::Target));
            return;
        }
        let mut groups: Vec<_> = nodes.iter().map(|node| NetGroup::of(node.addr)).collect();
        groups.sort_unstable();
        groups.dedup();
        if nodes.len() < 2 || groups.len() * 2 > nodes.len() || self.crowds >= CROWDS_MAX {
            return;
        }
        let others = self.candidates.iter().filter(|one| !groups.contains(&NetGroup::of(one.node.addr)));
        let closest = others.map(|one| one.node.id.common_bits(self.target)).max().unwrap_or(0);
        // Some of those nearer than the closest one, then some farther away.
        let bits = (closest + 1).saturating_sub(self.crowds % 3);
        self.crowds += 1;
        self.again.push((addr, Again::Beside(bits)));
    }

    fn may_ask(&self) -> bool {
        let most = if self.goal == Goal::PeersBriefly { ASKED_BRIEFLY_MAX } else { ASKED_MAX };
        self.open < ALPHA && self.asked < most && !self.is_sated()
    }

    /// `addr` is being asked.
    pub(super) fn asked(&mut self, addr: SocketAddr) {
        if let Some(one) = self.candidates.iter_mut().find(|one| one.node.addr == addr) {
            one.state = Progress::Asked;
            self.open += 1;
            self.asked += 1;
        }
    }

    /// `addr` answered as `id`. False if it had not been asked.
    pub(super) fn answered(&mut self, addr: SocketAddr, id: NodeId, token: Option<&[u8]>) -> bool {
        let Some(at) = self.asked_at(addr) else { return false };
        let mut one = self.candidates.remove(at);
        self.open -= 1;
        self.answered += 1;
        (one.node.id, one.distance) = (id, id.distance(self.target));
        one.state = Progress::Answered { token: token.map(Box::from) };
        let at = self.candidates.partition_point(|other| other.distance < one.distance);
        self.candidates.insert(at, one);
        true
    }

    /// `addr` did not answer, or with an error.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        if let Some(at) = self.asked_at(addr) {
            self.candidates.remove(at);
            self.open -= 1;
        }
    }

    /// A node named so many peers.
    pub(super) fn found(&mut self, peers: u32) {
        self.peers += peers;
        self.credited += peers.min(PEERS_ENOUGH.div_ceil(2));
    }

    /// BEP 33 filters of one node.
    pub(super) fn filters(&mut self, seeds: &[u8; FILTER_BYTES], peers: &[u8; FILTER_BYTES]) {
        let both = self.filters.get_or_insert_default();
        both.0.unite(&Filter::from_bytes(seeds));
        both.1.unite(&Filter::from_bytes(peers));
    }

    /// Estimated seeds and other peers, if any node answered with filters.
    pub(super) fn estimate(&self) -> Option<(f64, f64)> {
        self.filters.as_ref().map(|both| (both.0.estimate(), both.1.estimate()))
    }

    /// The closest nodes that gave a token, and the token.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (NodeAddr, &[u8])> {
        let answered = self.candidates.iter().filter_map(|one| match &one.state {
            Progress::Answered { token: Some(token) } => Some((one.node, &token[..])),
            Progress::Answered { token: None } | Progress::Asked | Progress::New => None,
        });
        answered.take(CLOSEST)
    }

    /// Of the closest nodes that answered: how many, how many of them had answered the sweep
    /// before, and how much of the keyspace they take up. `None` if too few answered.
    pub(super) fn neighbourhood(&self) -> Option<(u32, u32, f64)> {
        let answered = self.candidates.iter().filter(|one| matches!(one.state, Progress::Answered { .. }));
        let closest: Vec<_> = answered.take(CLOSEST).collect();
        let furthest = closest.last().filter(|_| closest.len() == CLOSEST)?;
        let known = closest.iter().filter(|one| one.was_known).count() as u32;
        Some((CLOSEST as u32, known, furthest.distance.prefix64() as f64 / 2f64.powi(64)))
    }

    /// Takes over what the lookup of another family found for the same torrent.
    pub(super) fn unite(&mut self, other: &Self) {
        self.answered += other.answered;
        self.peers += other.peers;
        if let Some(theirs) = &other.filters {
            let ours = self.filters.get_or_insert_default();
            ours.0.unite(&theirs.0);
            ours.1.unite(&theirs.1);
        }
    }

    /// How many of so many peers that a node named are worth passing on: of an infohash that may not
    /// exist only a few, since they may be anybody.
    pub(super) fn worth(&self, peers: usize) -> usize {
        match self.goal {
            Goal::PeersAt => peers.min(PEERS_AT_ENOUGH),
            Goal::PeersBriefly => peers.min(PEERS_ENOUGH.saturating_sub(self.peers) as usize),
            Goal::Announce(_) | Goal::Nodes | Goal::Peers | Goal::Scrape => peers,
        }
    }

    /// Enough peers to try: asking on would cost more than it brings.
    fn is_sated(&self) -> bool {
        self.user == User::Metadata
            && matches!(self.goal, Goal::Peers | Goal::PeersBriefly)
            && self.credited >= PEERS_ENOUGH
    }

    fn asked_at(&self, addr: SocketAddr) -> Option<usize> {
        let asked = |one: &Candidate| one.node.addr == addr && matches!(one.state, Progress::Asked);
        self.candidates.iter().position(asked)
    }
}

/// BEP 5: K.
const CLOSEST: usize = 8;
/// An announce goes to the eight closest: of three that answer one has it.
const CLOSEST_BRIEFLY: usize = 3;
/// Kademlia's 3, and one for the node that is likely to be dead.
const ALPHA: usize = 4;
/// Nodes that are asked for a way around a crowd.
const CROWDS_MAX: u32 = 12;
/// What K closest nodes may name, with room for those that turn out dead.
const CANDIDATES_MAX: usize = 32;
/// Three times what a lookup among half-dead neighbours takes: whoever names ever closer nodes that
/// do not exist does not keep one going for ever.
const ASKED_MAX: u32 = 96;
/// The way to the closest, with a few dead ones on it.
const ASKED_BRIEFLY_MAX: u32 = 16;
/// One in three or four peers can be reached and has the metadata.
const PEERS_ENOUGH: u32 = 12;
/// Of the node that sampled the infohash; the network is asked next.
const PEERS_AT_ENOUGH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn node(rng: &mut Rng, last: u16) -> NodeAddr {
        NodeAddr {
            id: Id::random(rng),
            addr: SocketAddr::from(([127, 0, (last >> 8) as u8, last as u8], 6881)),
        }
    }

    #[test]
    fn nobody_is_asked_twice_and_never_too_many_at_once() {
        let mut rng = Rng::seeded(1);
        let target = Id::random(&mut rng);
        let mut lookup = Lookup::new(target, Goal::Nodes, User::Metadata, SocketId(0));
        let nodes: Vec<_> = (0..100).map(|i| node(&mut rng, i)).collect();
        nodes.iter().for_each(|node| lookup.offer(*node));
        let mut asked = Vec::new();
        while let Some(next) = lookup.next() {
            lookup.asked(next.addr);
            assert!(lookup.open <= ALPHA);
            asked.push(next.addr);
            if lookup.open == ALPHA {
                lookup.failed(next.addr);
            }
        }
        let distinct: std::collections::BTreeSet<_> = asked.iter().collect();
        assert_eq!(distinct.len(), asked.len());
        assert!(asked.len() > CLOSEST);
    }

    #[test]
    fn closest_first_and_done_after_eight_answers() {
        let mut rng = Rng::seeded(2);
        let target = Id::random(&mut rng);
        let mut lookup = Lookup::new(target, Goal::Peers, User::Command(1), SocketId(0));
        let mut nodes: Vec<_> = (0..30).map(|i| node(&mut rng, i)).collect();
        nodes.iter().for_each(|node| lookup.offer(*node));
        nodes.sort_by_key(|node| node.id.distance(target));
        for expected in &nodes[..CLOSEST] {
            assert_eq!(lookup.open, 0);
            assert_eq!(lookup.next(), Some(*expected));
            lookup.asked(expected.addr);
            assert!(lookup.answered(expected.addr, expected.id, Some(b"token")));
            assert!(!lookup.answered(expected.addr, expected.id, None), "a duplicate changes nothing");
        }
        assert_eq!(lookup.next(), None);
        let tokens: Vec<_> = lookup.tokens().map(|(node, _)| node).collect();
        assert_eq!(tokens, nodes[..CLOSEST]);
    }

    #[test]
    fn a_global_network_has_one_candidate_and_the_next_only_if_that_is_silent() {
        let mut rng = Rng::seeded(4);
        let target = Id::random(&mut rng);
        let mut lookup = Lookup::new(target, Goal::Peers, User::Metadata, SocketId(0));
        let sybil = |host: u8, rng: &mut Rng| NodeAddr {
            id: target.random_at_depth(150, rng),
            addr: SocketAddr::from(([11, 0, 0, host], 6881)),
        };
        (1..=8).for_each(|host| lookup.offer(sybil(host, &mut rng)));
        assert_eq!(lookup.candidates.len(), 1);
        let first = lookup.next().unwrap();
        lookup.asked(first.addr);
        lookup.failed(first.addr);
        lookup.offer(sybil(9, &mut rng));
        assert_eq!(lookup.next().map(|node| node.addr), Some(SocketAddr::from(([11, 0, 0, 9], 6881))));
        (1..=3).for_each(|host| lookup.offer_host(SocketAddr::from(([11, 0, 1, host], 1))));
        assert_eq!(lookup.candidates.len(), 4, "hosts that were given are all asked");
        let private = |host| NodeAddr {
            addr: SocketAddr::from(([10, 0, 0, host], 6881)),
            ..sybil(host, &mut Rng::seeded(u64::from(host)))
        };
        (1..=8).for_each(|host| lookup.offer(private(host)));
        assert_eq!(lookup.candidates.len(), 12, "a house holds any number");
    }

    #[test]
    fn one_address_is_one_candidate_and_the_list_is_bounded() {
        let mut rng = Rng::seeded(3);
        let mut lookup = Lookup::new(Id::random(&mut rng), Goal::Peers, User::Metadata, SocketId(0));
        for _ in 0..1_000 {
            let spoofed = NodeAddr { id: Id::random(&mut rng), ..node(&mut rng, 1) };
            lookup.offer(spoofed);
        }
        assert_eq!(lookup.candidates.len(), 1);
        (2..1_000).for_each(|i| lookup.offer(node(&mut rng, i)));
        assert_eq!(lookup.candidates.len(), CANDIDATES_MAX);
    }
}
