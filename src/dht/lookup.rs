//! One iterative lookup (BEP 5): ask the closest nodes known, learn of closer ones, stop when
//! the closest have answered.

use std::net::SocketAddr;

use crate::base::{Id, NodeId, Scope, SocketId};
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
    /// Queries sent.
    asked: u32,
    /// Unions of the filters that came in: seeds, peers.
    filters: Option<Box<(Filter, Filter)>>,
}

struct Candidate {
    node: NodeAddr,
    distance: Id,
    state: Progress,
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
            asked: 0,
            filters: None,
        }
    }

    /// A node worth asking, if it is among the closest so far. One an address: ids next to the
    /// target are easily made up.
    pub(super) fn offer(&mut self, node: NodeAddr) {
        let distance = node.id.distance(self.target);
        let at = self.candidates.partition_point(|other| other.distance < distance);
        let full = self.candidates.len() >= CANDIDATES_MAX;
        if full && at >= CANDIDATES_MAX - ALPHA
            || self.candidates.iter().any(|other| is_same_host(other.node.addr, node.addr))
        {
            return;
        }
        let spoofed = |other: &Candidate| other.node.id == node.id;
        if self.candidates.get(at).is_some_and(spoofed) {
            return;
        }
        self.candidates.insert(at, Candidate { node, distance, state: Progress::New });
        if self.candidates.len() > CANDIDATES_MAX {
            // One that is being asked stays until it has answered or has not.
            let last = self.candidates.iter().rposition(|one| matches!(one.state, Progress::New));
            self.candidates.remove(last.unwrap_or(CANDIDATES_MAX));
        }
    }

    /// A host whose id is not known yet.
    pub(super) fn offer_host(&mut self, addr: SocketAddr) {
        let mut id = self.target;
        id.0.iter_mut().for_each(|byte| *byte = !*byte);
        // Made distinct, or two hosts would pass for one node at two addresses.
        id.0[19] ^= self.candidates.len() as u8;
        self.offer(NodeAddr { id, addr });
    }

    /// The next node to ask, if one should be asked now.
    pub(super) fn next(&mut self) -> Option<NodeAddr> {
        if self.open >= ALPHA || self.asked >= ASKED_MAX {
            return None;
        }
        let close = self.candidates.iter().take(CLOSEST);
        let next = close.filter(|one| matches!(one.state, Progress::New)).map(|one| one.node).next();
        next.filter(|_| !self.is_sated())
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

    /// Enough peers to try: asking on would cost more than it brings.
    fn is_sated(&self) -> bool {
        matches!((self.user, self.goal), (User::Metadata, Goal::Peers)) && self.credited >= PEERS_ENOUGH
    }

    fn asked_at(&self, addr: SocketAddr) -> Option<usize> {
        let asked = |one: &Candidate| one.node.addr == addr && matches!(one.state, Progress::Asked);
        self.candidates.iter().position(asked)
    }
}

/// Behind one global address sits one liar with many ports at least as often as many nodes.
fn is_same_host(a: SocketAddr, b: SocketAddr) -> bool {
    if Scope::of(a.ip()) == Scope::Global { a.ip() == b.ip() } else { a == b }
}

/// BEP 5: K.
const CLOSEST: usize = 8;
/// Kademlia's 3, and one for the node that is likely to be dead.
const ALPHA: usize = 4;
/// What K closest nodes may name, with room for those that turn out dead.
const CANDIDATES_MAX: usize = 32;
/// Three times what a lookup among half-dead neighbours takes: whoever names ever closer nodes that
/// do not exist does not keep one going for ever.
const ASKED_MAX: u32 = 96;
/// One in three or four peers can be reached and has the metadata.
const PEERS_ENOUGH: u32 = 12;

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
