//! The routing table of one node id in one address family (BEP 5, BEP 32).
//!
//! Only nodes that answered a query of ours stand in it, one for each address. Bucket `i` holds
//! nodes that share exactly `i` leading bits with our id: what BEP 5's splitting comes to, since
//! only the bucket around our own id is ever split.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::hash::{self, Map};
use crate::base::{Id, Instant, NetGroup, NodeId, Rng};
use crate::wire::compact::NodeAddr;

/// Nodes of a bucket, and nodes in an answer (BEP 5).
pub const K: usize = 8;

/// The table.
pub struct Table {
    own: NodeId,
    rules: Rules,
    buckets: Vec<Bucket>,
    /// Where each address stands, by [`Rules::key`].
    places: Map<SocketAddr, u8>,
    /// Buckets from here on are empty.
    deepest: usize,
}

/// What may stand in a table.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// IPv6 or IPv4.
    pub v6: bool,
    /// One node for each IP address; otherwise one for each address and port.
    pub one_per_ip: bool,
    /// One node in each bucket for each /24 (IPv4) or /48 (IPv6) of global addresses.
    pub one_per_network: bool,
}

/// How far a node is to be relied on (BEP 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answered within 15 minutes, or once answered and asked us something within 15 minutes.
    Good,
    /// It has been silent for longer, or did not answer lately.
    Questionable,
    /// It left several queries in a row without an answer.
    Bad,
}

/// A node of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Who and where.
    pub node: NodeAddr,
    /// When it last answered us.
    pub answered: Instant,
    /// The latest round trip.
    pub rtt: Duration,
    /// When it last asked us something.
    queried: Option<Instant>,
    /// When it was last handed out to be pinged.
    tried: Option<Instant>,
    /// Queries in a row that it did not answer.
    failures: u8,
}

/// What became of a node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It stands in the table now.
    New,
    /// It stood there already.
    Updated,
    /// Its bucket is full, but one node in it should be pinged: if that fails, this one takes
    /// its place.
    Full {
        /// The node to ping.
        questionable: NodeAddr,
    },
    /// Its bucket is full of good nodes, its address or id is taken, or it may not stand here.
    Refused,
}

impl Rules {
    /// The ordinary rules for one family.
    pub fn new(v6: bool) -> Self {
        Self { v6, one_per_ip: true, one_per_network: true }
    }

    fn key(&self, addr: SocketAddr) -> SocketAddr {
        SocketAddr::new(addr.ip(), if self.one_per_ip { 0 } else { addr.port() })
    }
}

impl Entry {
    /// Its state at `now`.
    pub fn state(&self, now: Instant) -> State {
        let heard = self.queried.map_or(self.answered, |queried| queried.max(self.answered));
        if self.failures >= FAILURES_MAX {
            State::Bad
        } else if self.failures == 0 && now.since(heard) < GOOD_FOR {
            State::Good
        } else {
            State::Questionable
        }
    }

    fn wants_ping(&self, now: Instant) -> bool {
        let rested = |pause| self.tried.is_none_or(|tried| now.since(tried) >= pause);
        match self.state(now) {
            State::Good => false,
            State::Questionable => rested(PING_PAUSE),
            State::Bad => rested(GOOD_FOR),
        }
    }
}

impl Table {
    /// An empty table around `own`.
    pub fn new(own: NodeId, rules: Rules, rng: &mut Rng) -> Self {
        let mut buckets = Vec::new();
        buckets.resize_with(Id::BITS as usize, Bucket::default);
        Self { own, rules, buckets, places: hash::map(rng), deepest: 0 }
    }

    /// The id around which it is built.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// Builds it around another id (BEP 42: our address became known). Nodes for which the new
    /// buckets have no room are forgotten.
    pub fn set_own(&mut self, own: NodeId) {
        let mut old: Vec<Entry> = self.iter().copied().collect();
        old.sort_by_key(|entry| (entry.failures, std::cmp::Reverse(entry.answered)));
        self.own = own;
        self.places.clear();
        self.buckets.iter_mut().for_each(|bucket| *bucket = Bucket::default());
        self.deepest = 0;
        for entry in old {
            if self.may_stand(entry.node) && self.has_place(&entry) {
                self.place(entry, entry.answered);
            }
        }
    }

    /// A node answered a query of ours.
    ///
    /// A known address with another id loses its entry; a known id elsewhere keeps its entry
    /// and the newcomer is refused, unless the old one stopped answering.
    pub fn insert_verified(&mut self, node: NodeAddr, now: Instant, rtt: Duration) -> Inserted {
        let fresh = Entry { node, answered: now, rtt, queried: None, tried: None, failures: 0 };
        if !self.may_stand(node) {
            return Inserted::Refused;
        }
        if let Some(known) = self.at_place(node.addr) {
            return self.meet_again(known.node, known.state(now), fresh);
        }
        let index = self.index(node.id);
        if let Some(known) = self.buckets[index].nodes.iter().find(|entry| entry.node.id == node.id) {
            if known.failures == 0 {
                return Inserted::Refused;
            }
            self.remove(known.node.addr);
        }
        self.admit(fresh, now)
    }

    /// A node asked us something. Only one that stands here with this id and address gains.
    pub fn on_query(&mut self, node: NodeAddr, now: Instant) {
        if let Some(entry) = self.entry_mut(node.addr).filter(|entry| entry.node.id == node.id) {
            entry.queried = Some(now);
        }
    }

    /// Whether there is a free place for `node`, which is not here yet: then it is worth a `ping`.
    pub fn has_place_for(&self, node: NodeAddr) -> bool {
        let known = self.places.contains_key(&self.rules.key(node.addr));
        !known && node.id != self.own && self.buckets[self.index(node.id)].nodes.len() < K
    }

    /// A query to `addr` was not answered. A node that failed too often makes room for one that
    /// waited for its place; while nobody waits it stays, so that an outage empties nothing.
    pub fn on_timeout(&mut self, addr: SocketAddr, now: Instant) {
        let Some(entry) = self.entry_mut(addr) else { return };
        entry.failures = entry.failures.saturating_add(1);
        entry.tried = Some(now);
        let (id, state) = (entry.node.id, entry.state(now));
        if state == State::Bad && !self.buckets[self.index(id)].waiting.is_empty() {
            self.remove(addr);
            self.promote(self.index(id), now);
        }
    }

    /// Forgets a node; false if none stands there. Whoever waits may take the place later.
    pub fn remove(&mut self, addr: SocketAddr) -> bool {
        if self.entry_mut(addr).is_none() {
            return false;
        }
        let Some(index) = self.places.remove(&self.rules.key(addr)) else { return false };
        self.buckets[usize::from(index)].nodes.retain(|entry| entry.node.addr != addr);
        while self.deepest > 0 && self.buckets[self.deepest - 1].nodes.is_empty() {
            self.deepest -= 1;
        }
        true
    }

    /// Fills `out` with the nodes closest to `target`, the closest first: good ones, and if
    /// those are fewer than eight then questionable ones after them, never bad ones. Returns
    /// how many there are.
    pub fn closest(&self, target: Id, out: &mut [NodeAddr; K], now: Instant) -> usize {
        let mut found = self.gather(target, State::Good, out, 0, now);
        if found < K {
            found = self.gather(target, State::Questionable, out, found, now);
        }
        found
    }

    /// The next node to ping because it is questionable, the one silent for longest first. The
    /// same is not named again for some seconds; a bad one is tried every 15 minutes.
    pub fn questionable(&mut self, now: Instant) -> Option<NodeAddr> {
        let entries = self.buckets[..self.deepest].iter_mut().flat_map(|bucket| &mut bucket.nodes);
        let due = entries.filter(|entry| entry.wants_ping(now));
        let entry = due.min_by_key(|entry| (entry.failures, entry.answered))?;
        entry.tried = Some(now);
        Some(entry.node)
    }

    /// A target in a bucket where nothing happened for 15 minutes: a lookup of it refreshes the
    /// bucket (BEP 5). Naming it counts as something.
    pub fn bucket_to_refresh(&mut self, now: Instant, rng: &mut Rng) -> Option<Id> {
        let buckets = self.buckets[..self.deepest].iter_mut();
        let idle = |bucket: &Bucket| now.since(bucket.changed) >= GOOD_FOR;
        let (index, bucket) = buckets.enumerate().find(|(_, bucket)| idle(bucket))?;
        bucket.changed = now;
        Some(self.own.random_at_depth(index as u32, rng))
    }

    /// How many nodes stand here, in whatever state.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many nodes are good.
    pub fn good(&self, now: Instant) -> usize {
        self.iter().filter(|entry| entry.state(now) == State::Good).count()
    }

    /// The node at this address and port.
    pub fn get(&self, addr: SocketAddr) -> Option<&Entry> {
        self.at_place(addr).filter(|entry| entry.node.addr == addr)
    }

    /// Every node, the farthest buckets first: what is saved.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets[..self.deepest].iter().flat_map(|bucket| &bucket.nodes)
    }

    /// Panics if the table contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.nodes.len() <= K && bucket.waiting.len() <= WAITING_MAX);
            assert!(bucket.nodes.is_empty() || index < self.deepest);
            for (at, entry) in bucket.nodes.iter().enumerate() {
                count += 1;
                assert_eq!(self.index(entry.node.id), index);
                assert_eq!(self.places.get(&self.rules.key(entry.node.addr)), Some(&(index as u8)));
                let others = &bucket.nodes[at + 1..];
                assert!(others.iter().all(|other| other.node.id != entry.node.id));
                let network = self.network(entry.node.addr);
                assert!(network.is_none() || others.iter().all(|it| self.network(it.node.addr) != network));
            }
        }
        assert_eq!(count, self.places.len());
        assert!(self.deepest == 0 || !self.buckets[self.deepest - 1].nodes.is_empty());
    }

    /// A node answered from an address that is taken.
    fn meet_again(&mut self, known: NodeAddr, state: State, fresh: Entry) -> Inserted {
        if known == fresh.node {
            let index = self.index(known.id);
            self.buckets[index].changed = fresh.answered;
            if let Some(entry) = self.entry_mut(known.addr) {
                *entry = Entry { queried: entry.queried, ..fresh };
            }
            return Inserted::Updated;
        }
        if known.addr == fresh.node.addr {
            // One address, two ids: either is as doubtful as the other (libtorrent does the same).
            self.remove(known.addr);
            return Inserted::Refused;
        }
        // The same IP address and another port: another program behind it, or a new mapping.
        let elsewhere = self.by_id(fresh.node.id).is_some_and(|other| other.addr != known.addr);
        if state == State::Good || elsewhere {
            return Inserted::Refused;
        }
        self.remove(known.addr);
        self.admit(fresh, fresh.answered)
    }

    /// Finds a place for a node whose address and id are free.
    fn admit(&mut self, fresh: Entry, now: Instant) -> Inserted {
        if self.has_place(&fresh) {
            self.place(fresh, now);
            return Inserted::New;
        }
        let index = self.index(fresh.node.id);
        let network = self.network(fresh.node.addr);
        let nodes = &self.buckets[index].nodes;
        let rival = nodes.iter().find(|it| network.is_some() && self.network(it.node.addr) == network);
        let worst = match rival {
            Some(rival) => Some(rival),
            None => nodes.iter().max_by_key(|it| (it.failures, std::cmp::Reverse(it.answered))),
        };
        let Some(&worst) = worst else { return Inserted::Refused };
        if worst.state(now) == State::Bad {
            self.remove(worst.node.addr);
            self.place(fresh, now);
            return Inserted::New;
        }
        self.wait(index, fresh);
        // Not the one with most failures: it may be good, while one without any is only silent.
        let silent = self.buckets[index].nodes.iter_mut().filter(|it| it.wants_ping(now));
        match silent.min_by_key(|it| it.answered) {
            Some(entry) => {
                entry.tried = Some(now);
                Inserted::Full { questionable: entry.node }
            }
            None => Inserted::Refused,
        }
    }

    /// Is there room for it in its bucket, by number and by network?
    fn has_place(&self, entry: &Entry) -> bool {
        let network = self.network(entry.node.addr);
        let nodes = &self.buckets[self.index(entry.node.id)].nodes;
        let crowded = network.is_some() && nodes.iter().any(|it| self.network(it.node.addr) == network);
        nodes.len() < K && !crowded
    }

    fn place(&mut self, entry: Entry, now: Instant) {
        let index = self.index(entry.node.id);
        self.places.insert(self.rules.key(entry.node.addr), index as u8);
        self.stop_waiting(index, entry.node);
        let bucket = &mut self.buckets[index];
        bucket.nodes.push(entry);
        bucket.changed = bucket.changed.max(now);
        self.deepest = self.deepest.max(index + 1);
    }

    /// Remembers a node for when a place becomes free, the freshest [`WAITING_MAX`] of them.
    fn wait(&mut self, index: usize, fresh: Entry) {
        self.stop_waiting(index, fresh.node);
        let waiting = &mut self.buckets[index].waiting;
        if waiting.len() == WAITING_MAX {
            waiting.remove(0);
        }
        waiting.push(fresh);
    }

    fn stop_waiting(&mut self, index: usize, node: NodeAddr) {
        let (rules, key) = (self.rules, self.rules.key(node.addr));
        let other = |it: &Entry| it.node.id != node.id && rules.key(it.node.addr) != key;
        self.buckets[index].waiting.retain(other);
    }

    /// Gives a free place to the freshest node that waits and may have it.
    fn promote(&mut self, index: usize, now: Instant) {
        while let Some(entry) = self.buckets[index].waiting.pop() {
            let taken = self.at_place(entry.node.addr).is_some() || self.by_id(entry.node.id).is_some();
            if !taken && self.has_place(&entry) {
                self.place(entry, now);
                return;
            }
        }
    }

    /// Appends to `out[from..]` the nodes in `state` closest to `target`. Walks the buckets in
    /// the order of their distance: seen from the target, a bucket whose bit differs between our
    /// id and the target lies nearer than all deeper ones, any other bucket lies farther.
    fn gather(&self, target: Id, state: State, out: &mut [NodeAddr; K], from: usize, now: Instant) -> usize {
        let apart = self.own.distance(target);
        let near = (0..self.deepest).filter(|&index| apart.bit(index as u32));
        let far = (0..self.deepest).rev().filter(|&index| !apart.bit(index as u32));
        let mut filled = from;
        let prefix = target.prefix64();
        for index in near.chain(far) {
            let nodes = &self.buckets[index].nodes;
            let whole = |at: usize| target.distance(nodes[at].node.id);
            let mut sorted = [(0, 0); K];
            let mut count = 0;
            for (at, entry) in nodes.iter().enumerate().filter(|(_, entry)| entry.state(now) == state) {
                let distance = prefix ^ entry.node.id.prefix64();
                let mut place = count;
                // Two that share 64 bits of distance hardly exist, but may be made.
                while place > 0
                    && (distance < sorted[place - 1].0
                        || distance == sorted[place - 1].0 && whole(at) < whole(sorted[place - 1].1))
                {
                    sorted[place] = sorted[place - 1];
                    place -= 1;
                }
                sorted[place] = (distance, at);
                count += 1;
            }
            for (slot, (_, at)) in out[filled..].iter_mut().zip(&sorted[..count]) {
                *slot = nodes[*at].node;
                filled += 1;
            }
            if filled == K {
                break;
            }
        }
        filled
    }

    fn may_stand(&self, node: NodeAddr) -> bool {
        let right_family = node.addr.is_ipv6() == self.rules.v6;
        node.id != self.own && right_family && node.addr.port() != 0
    }

    /// The bucket of an id. Our own has none; it is refused before.
    fn index(&self, id: NodeId) -> usize {
        self.own.common_bits(id).min(Id::BITS - 1) as usize
    }

    /// Whoever stands at this address, on whatever port the rules let stand.
    fn at_place(&self, addr: SocketAddr) -> Option<&Entry> {
        let key = self.rules.key(addr);
        let bucket = &self.buckets[usize::from(*self.places.get(&key)?)];
        bucket.nodes.iter().find(|entry| self.rules.key(entry.node.addr) == key)
    }

    fn entry_mut(&mut self, addr: SocketAddr) -> Option<&mut Entry> {
        let index = *self.places.get(&self.rules.key(addr))?;
        self.buckets[usize::from(index)].nodes.iter_mut().find(|entry| entry.node.addr == addr)
    }

    fn by_id(&self, id: NodeId) -> Option<NodeAddr> {
        let nodes = &self.buckets[self.index(id)].nodes;
        nodes.iter().find(|entry| entry.node.id == id).map(|entry| entry.node)
    }

    /// The network of which a bucket takes one node; `None` if it takes any number.
    fn network(&self, addr: SocketAddr) -> Option<NetGroup> {
        NetGroup::of_ip(addr.ip()).filter(|_| self.rules.one_per_network)
    }
}

#[derive(Default)]
struct Bucket {
    nodes: Vec<Entry>,
    /// Verified nodes that found no place, the freshest last.
    waiting: Vec<Entry>,
    /// When a node in it last answered or came in.
    changed: Instant,
}

/// BEP 5: good for 15 minutes; a bucket untouched for as long is refreshed.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// BEP 5 tries once more before it gives a node up; with 5 % loss each way a third try keeps
/// 999 live nodes of 1,000 instead of 990.
const FAILURES_MAX: u8 = 3;
/// Longer than any query waits for its answer, so that nobody is pinged twice at once.
const PING_PAUSE: Duration = Duration::from_secs(20);
/// One for each node that could fail.
const WAITING_MAX: usize = K;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use quickcheck::{Gen, QuickCheck};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const RTT: Duration = Duration::from_millis(50);
    const START: Instant = Instant::from_millis(3_600_000);
    const NOBODY: NodeAddr =
        NodeAddr { id: Id([0; 20]), addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) };

    fn own() -> NodeId {
        Id([0x55; 20])
    }

    fn table() -> Table {
        Table::new(own(), Rules::new(false), &mut Rng::seeded(1))
    }

    /// A node of bucket `depth`; every `n` has a network of its own.
    fn node(depth: u32, n: u16) -> NodeAddr {
        let mut id = own().random_at_depth(depth, &mut Rng::seeded(u64::from(n)));
        id.0[18..].copy_from_slice(&n.to_be_bytes());
        let [high, low] = n.to_be_bytes();
        NodeAddr { id, addr: SocketAddr::new(Ipv4Addr::new(60, high, low, 1).into(), 6881) }
    }

    fn at(node: NodeAddr, addr: &str) -> NodeAddr {
        NodeAddr { addr: addr.parse().unwrap(), ..node }
    }

    fn closest(table: &Table, target: Id, now: Instant) -> Vec<NodeAddr> {
        let mut out = [NOBODY; K];
        let len = table.closest(target, &mut out, now);
        out[..len].to_vec()
    }

    fn quickcheck() -> QuickCheck {
        QuickCheck::new().rng(Gen::from_size_and_seed(100, 7)).tests(200)
    }

    #[test]
    fn a_full_bucket_of_good_nodes_refuses_and_remembers() {
        let mut table = table();
        for n in 0..8 {
            assert_eq!(table.insert_verified(node(0, n), START, RTT), Inserted::New);
        }
        assert_eq!(table.insert_verified(node(0, 8), START, RTT), Inserted::Refused);
        assert_eq!(table.insert_verified(node(3, 9), START, RTT), Inserted::New);
        let gone = node(0, 2).addr;
        for failures in 1..=FAILURES_MAX {
            assert!(table.get(gone).is_some(), "after {} failures", failures - 1);
            table.on_timeout(gone, START + SECOND * u32::from(failures));
        }
        assert!(table.get(gone).is_none());
        assert!(table.get(node(0, 8).addr).is_some(), "who waited has the place");
        table.check_invariants();
    }

    #[test]
    fn a_full_bucket_names_its_questionable_node_once() {
        let mut table = table();
        (0..8).for_each(|n| _ = table.insert_verified(node(0, n), START + SECOND * u32::from(n), RTT));
        let later = START + MINUTE * 15 + SECOND;
        let questionable = node(0, 0);
        assert_eq!(table.insert_verified(node(0, 8), later, RTT), Inserted::Full { questionable });
        let questionable = node(0, 1);
        assert_eq!(table.insert_verified(node(0, 9), later, RTT), Inserted::Full { questionable });
        assert_eq!(table.insert_verified(node(0, 10), later, RTT), Inserted::Refused, "both are asked");
        table.check_invariants();
    }

    #[test]
    fn bad_nodes_stay_until_somebody_comes() {
        let mut table = table();
        (0..8).for_each(|n| _ = table.insert_verified(node(0, n), START, RTT));
        for n in 0..8 {
            (0..FAILURES_MAX).for_each(|_| table.on_timeout(node(0, n).addr, START));
        }
        assert_eq!((table.len(), table.good(START), closest(&table, own(), START).len()), (8, 0, 0));
        assert_eq!(table.questionable(START + SECOND), None);
        assert!(table.questionable(START + MINUTE * 15).is_some(), "an outage ends one day");
        assert_eq!(table.insert_verified(node(0, 8), START, RTT), Inserted::New);
        assert_eq!(table.len(), 8);
        table.check_invariants();
    }

    #[test]
    fn states_follow_bep_5() {
        let mut table = table();
        let it = node(1, 1);
        table.insert_verified(it, START, RTT);
        let state = |table: &Table, now| table.get(it.addr).unwrap().state(now);
        assert_eq!(state(&table, START + MINUTE * 15 - SECOND), State::Good);
        assert_eq!(state(&table, START + MINUTE * 15), State::Questionable);
        let asked = START + MINUTE * 40;
        table.on_query(it, asked);
        assert_eq!(state(&table, asked + MINUTE * 14), State::Good, "it once answered and asks us");
        table.on_query(NodeAddr { id: Id([9; 20]), ..it }, asked + MINUTE * 14);
        assert_eq!(state(&table, asked + MINUTE * 15), State::Questionable, "another's query is not its own");
        table.on_timeout(it.addr, asked);
        assert_eq!(state(&table, asked), State::Questionable);
        table.on_timeout(it.addr, asked);
        table.on_timeout(it.addr, asked);
        assert_eq!(state(&table, asked), State::Bad);
        assert_eq!(table.insert_verified(it, asked, RTT), Inserted::Updated);
        assert_eq!(state(&table, asked), State::Good);
    }

    #[test]
    fn queries_put_nobody_into_the_table() {
        let mut table = table();
        table.on_query(node(0, 1), START);
        table.on_timeout(node(0, 1).addr, START);
        assert!(table.is_empty());
    }

    #[test]
    fn another_id_at_a_known_address_removes_the_entry() {
        let mut table = table();
        table.insert_verified(node(0, 1), START, RTT);
        let impostor = NodeAddr { id: node(2, 7).id, ..node(0, 1) };
        assert_eq!(table.insert_verified(impostor, START, RTT), Inserted::Refused);
        assert!(table.is_empty());
        assert_eq!(table.insert_verified(impostor, START, RTT), Inserted::New, "it may come back alone");
        table.check_invariants();
    }

    #[test]
    fn a_known_id_at_another_address_keeps_the_old_entry() {
        let mut table = table();
        let first = node(0, 1);
        table.insert_verified(first, START, RTT);
        let moved = at(first, "61.0.0.1:6881");
        assert_eq!(table.insert_verified(moved, START + MINUTE, RTT), Inserted::Refused);
        assert_eq!(table.iter().next().unwrap().node, first);
        table.on_timeout(first.addr, START + MINUTE);
        assert_eq!(table.insert_verified(moved, START + MINUTE, RTT), Inserted::New, "the old one is silent");
        assert_eq!(table.len(), 1);
        table.check_invariants();
    }

    #[test]
    fn one_node_for_an_address_whatever_its_port() {
        let mut table = table();
        table.insert_verified(at(node(0, 1), "60.0.0.1:1"), START, RTT);
        let second = at(node(3, 2), "60.0.0.1:2");
        assert_eq!(table.insert_verified(second, START, RTT), Inserted::Refused);
        let later = START + MINUTE * 16;
        assert_eq!(table.insert_verified(second, later, RTT), Inserted::New);
        assert_eq!((table.len(), table.get(second.addr).map(|entry| entry.node)), (1, Some(second)));
        let rules = Rules { one_per_ip: false, ..Rules::new(false) };
        let mut loose = Table::new(own(), rules, &mut Rng::seeded(1));
        for n in 0..8 {
            let at = at(node(0, n), &format!("127.0.0.1:{}", 1_000 + n));
            assert_eq!(loose.insert_verified(at, START, RTT), Inserted::New);
        }
        loose.check_invariants();
    }

    #[test]
    fn a_bucket_takes_one_node_of_a_network_unless_it_is_local() {
        let mut table = table();
        assert_eq!(table.insert_verified(at(node(0, 1), "60.1.1.1:1"), START, RTT), Inserted::New);
        assert_eq!(table.insert_verified(at(node(0, 2), "60.1.1.2:1"), START, RTT), Inserted::Refused);
        assert_eq!(table.insert_verified(at(node(1, 3), "60.1.1.2:1"), START, RTT), Inserted::New);
        assert_eq!(table.insert_verified(at(node(0, 4), "127.0.0.1:1"), START, RTT), Inserted::New);
        assert_eq!(table.insert_verified(at(node(0, 5), "127.0.0.2:1"), START, RTT), Inserted::New);
        table.check_invariants();
        let mut six = Table::new(own(), Rules::new(true), &mut Rng::seeded(1));
        assert_eq!(six.insert_verified(at(node(0, 1), "[2001:db9::1]:1"), START, RTT), Inserted::New);
        assert_eq!(six.insert_verified(at(node(0, 2), "[2001:db9::2]:1"), START, RTT), Inserted::Refused);
        assert_eq!(six.insert_verified(at(node(0, 3), "[fd00::2]:1"), START, RTT), Inserted::New);
        assert_eq!(six.insert_verified(at(node(0, 4), "[fd00::3]:1"), START, RTT), Inserted::New);
        six.check_invariants();
    }

    #[test]
    fn ourselves_port_zero_and_the_other_family_are_refused() {
        let mut table = table();
        let us = NodeAddr { id: own(), ..node(0, 1) };
        let six = NodeAddr { addr: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 1), ..node(0, 1) };
        for refused in [us, six, at(node(0, 1), "60.0.0.1:0")] {
            assert_eq!(table.insert_verified(refused, START, RTT), Inserted::Refused);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn the_longest_silent_is_pinged_first_and_not_again_at_once() {
        let mut table = table();
        (0..3).for_each(|n| _ = table.insert_verified(node(n, n as u16), START + SECOND * n, RTT));
        assert_eq!(table.questionable(START + MINUTE), None);
        let later = START + MINUTE * 16;
        let order: Vec<_> = std::iter::from_fn(|| table.questionable(later)).collect();
        assert_eq!(order, [node(0, 0), node(1, 1), node(2, 2)]);
        assert_eq!(table.questionable(later + PING_PAUSE), Some(node(0, 0)));
    }

    #[test]
    fn idle_buckets_are_refreshed_once_each() {
        let mut table = table();
        let mut rng = Rng::seeded(4);
        table.insert_verified(node(0, 0), START, RTT);
        table.insert_verified(node(2, 2), START, RTT);
        let later = START + MINUTE * 15;
        table.insert_verified(node(2, 2), later - SECOND, RTT);
        assert_eq!(
            table.bucket_to_refresh(START + MINUTE, &mut rng).map(|id| own().common_bits(id)),
            Some(1)
        );
        let first = table.bucket_to_refresh(later, &mut rng).unwrap();
        assert_eq!(own().common_bits(first), 0);
        assert_eq!(table.bucket_to_refresh(later, &mut rng), None);
        assert_eq!(
            table.bucket_to_refresh(later + MINUTE * 14, &mut rng).map(|id| own().common_bits(id)),
            Some(1)
        );
    }

    #[test]
    fn a_new_own_id_keeps_what_has_room() {
        let mut table = table();
        (0..200).for_each(|n| _ = table.insert_verified(node(u32::from(n % 12), n), START, RTT));
        let before = table.len();
        table.set_own(Id([0xaa; 20]));
        table.check_invariants();
        assert!(!table.is_empty() && table.len() <= before);
        assert_eq!(table.own(), Id([0xaa; 20]));
    }

    /// A table after a random history; `steps` decides what happens to whom.
    fn lived(seed: u64, steps: &[(u8, u16)]) -> (Table, Instant) {
        let (mut table, mut now) = (table(), START);
        let mut rng = Rng::seeded(seed);
        for &(action, who) in steps {
            now += SECOND * u32::from(action);
            let who = node(u32::from(who % 13), who % 500);
            match action % 8 {
                0 => table.on_timeout(who.addr, now),
                1 => table.on_query(who, now),
                2 => _ = table.remove(who.addr),
                3 => _ = table.insert_verified(NodeAddr { id: Id::random(&mut rng), ..who }, now, RTT),
                4 => _ = table.questionable(now),
                _ => _ = table.insert_verified(who, now, RTT),
            }
            table.check_invariants();
        }
        (table, now)
    }

    #[test]
    fn closest_is_what_sorting_everybody_gives() {
        fn property(seed: u64, steps: Vec<(u8, u16)>) -> bool {
            let (table, now) = lived(seed, &steps);
            let mut rng = Rng::seeded(seed);
            let near = own().random_at_depth(rng.below(20) as u32, &mut rng);
            [near, own(), Id::random(&mut rng)].into_iter().all(|target| {
                let mut all: Vec<_> = table.iter().filter(|it| it.state(now) != State::Bad).collect();
                all.sort_by_key(|it| (it.state(now) != State::Good, target.distance(it.node.id)));
                let expected: Vec<_> = all.iter().take(K).map(|it| it.node).collect();
                closest(&table, target, now) == expected
            })
        }
        quickcheck().quickcheck(property as fn(u64, Vec<(u8, u16)>) -> bool);
        let mut rng = Rng::seeded(11);
        let many: Vec<_> = (0..3_000).map(|_| (5 + 8 * (rng.below(2) as u8), rng.u32() as u16)).collect();
        assert!(property(5, many));
    }

    #[test]
    fn no_history_breaks_the_invariants_or_the_cap() {
        fn property(seed: u64, steps: Vec<(u8, u16)>) -> bool {
            let (mut table, now) = lived(seed, &steps);
            table.set_own(Id::random(&mut Rng::seeded(seed)));
            table.check_invariants();
            table.len() <= 500 && table.good(now) <= table.len()
        }
        quickcheck().quickcheck(property as fn(u64, Vec<(u8, u16)>) -> bool);
    }
}
