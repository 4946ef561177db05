//! Who the nodes are: ids, addresses and characters, all derived from the seed, and what each of
//! them would have in its routing table.
//!
//! Nothing is kept per node but its place in the keyspace: 12 bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use super::hostile::Lie;
use super::{Config, hits, mix};
use crate::base::{Id, NodeId};
use crate::wire::compact::NodeAddr;

/// All nodes, in the order of their ids.
pub(crate) struct Population {
    config: Config,
    places: Places,
    /// First 64 bits of the ids, ascending.
    prefixes: Vec<u64>,
    /// Which node has the prefix at the same position.
    order: Vec<u32>,
    /// How often each node came back, and whether it is away; empty where none ever goes.
    lives: Vec<Life>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Life {
    number: u32,
    away: bool,
}

/// Where nodes are reached.
#[derive(Clone, Debug)]
pub(crate) enum Places {
    /// Each on its own address, all on one port.
    OnePort(u16),
    /// Each on its own port of 127.0.0.1.
    Ports(Vec<u16>),
}

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never answers.
    Dead,
    /// Answers, but not truthfully.
    Hostile(Lie),
    /// As the BEPs want it.
    Honest(Sampling),
}

/// What an honest node makes of `sample_infohashes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Answers as BEP 51 says.
    Spoken,
    /// Answers as to `find_node`, without `samples` (libtorrent does so with unknown queries).
    AsFindNode,
    /// Does not answer (Transmission).
    Silent,
}

impl Population {
    /// The nodes of `config`, reached at `places`.
    pub(crate) fn new(config: Config, places: Places) -> Self {
        let mut it = Self { config, places, prefixes: Vec::new(), order: Vec::new(), lives: Vec::new() };
        it.sort();
        it
    }

    /// `pct` of the nodes go away, drawn by `turn`; those that were away come back under new ids.
    pub(crate) fn churn(&mut self, pct: f64, turn: u64) {
        self.lives.resize(self.config.nodes as usize, Life::default());
        for (life, node) in self.lives.iter_mut().zip(0u64..) {
            let draw = mix(self.config.seed, SALT_CHURN, mix(turn, SALT_CHURN, node));
            life.number += u32::from(life.away);
            life.away = !life.away && hits(draw, pct);
        }
        self.sort();
    }

    /// The id of `node`.
    pub(crate) fn id(&self, node: u32) -> NodeId {
        id(self.config.seed, node, self.life(node).number)
    }

    /// The character of `node`.
    pub(crate) fn kind(&self, node: u32) -> Kind {
        let draw = |salt| mix(self.config.seed, salt, u64::from(node));
        if self.life(node).away || hits(draw(SALT_DEAD), self.config.dead_pct) {
            return Kind::Dead;
        }
        if hits(draw(SALT_HOSTILE), self.config.hostile_pct) {
            return Kind::Hostile(Lie::drawn(draw(SALT_LIE)));
        }
        let (mute, pct) = (draw(SALT_MUTE), self.config.no_sampling_pct);
        Kind::Honest(if hits(mute, pct / 2.0) {
            Sampling::Silent
        } else if hits(mute, pct) {
            Sampling::AsFindNode
        } else {
            Sampling::Spoken
        })
    }

    /// Where `node` is reached.
    pub(crate) fn addr(&self, node: u32) -> SocketAddr {
        match &self.places {
            Places::OnePort(port) => SocketAddr::new(ip(node), *port),
            Places::Ports(ports) => {
                let port = ports.get(node as usize).copied().unwrap_or_default();
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
            }
        }
    }

    /// An address that looks like a node's, where no node is.
    pub(crate) fn vacant(&self, draw: u64) -> SocketAddr {
        let beyond = u64::from(NODES_MAX - self.config.nodes);
        match &self.places {
            Places::OnePort(port) => {
                SocketAddr::new(ip(self.config.nodes + (draw % beyond.max(1)) as u32), *port)
            }
            Places::Ports(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1),
        }
    }

    /// The node whose address is `ip`, where each has its own.
    pub(crate) fn at(&self, ip: IpAddr) -> Option<u32> {
        let IpAddr::V4(ip) = ip else { return None };
        let node = u32::from(ip).checked_sub(u32::from(FIRST_IP))?;
        (node < self.config.nodes).then_some(node)
    }

    /// `node` as others name it.
    pub(crate) fn named(&self, node: u32) -> NodeAddr {
        NodeAddr { id: self.id(node), addr: self.addr(node) }
    }

    /// What `node` answers to a query for `target`: the closest it knows, at most [`K`]; how many.
    ///
    /// Its table has one bucket for every number of leading bits that others share with it, and
    /// each holds [`K`] nodes that it came upon, not the ones that suit the asker. Only where
    /// fewer than that exist does it know them all.
    pub(crate) fn known(&self, node: u32, target: Id, out: &mut [u32; K]) -> usize {
        let depth = self.id(node).common_bits(target);
        let bucket = self.subtree(target.prefix64(), depth + 1);
        if bucket.len() < K * 2 {
            let mut found = Vec::with_capacity(K);
            self.closest(target.prefix64(), K, &mut found, |other| {
                other != node && self.remembers(node, other)
            });
            out[..found.len()].copy_from_slice(&found);
            return found.len();
        }
        let own = mix(self.config.seed, SALT_BUCKET + u64::from(depth), u64::from(node));
        let mut len = 0;
        for draw in 0..BUCKET_DRAWS {
            let rank = bucket.start + (mix(own, draw, 0) % bucket.len() as u64) as usize;
            let other = self.order[rank];
            if !out[..len].contains(&other) && self.remembers(node, other) {
                out[len] = other;
                len += 1;
            }
            if len == K {
                break;
            }
        }
        len
    }

    /// Appends the `count` nodes closest to the keyspace position `target` that `accept` takes,
    /// closest first.
    pub(crate) fn closest(
        &self,
        target: u64,
        count: usize,
        out: &mut Vec<u32>,
        accept: impl Fn(u32) -> bool,
    ) {
        // A subtree of that depth holds a few nodes on average; each step up doubles it.
        let mut depth = (self.prefixes.len().max(1)).ilog2().saturating_sub(2);
        loop {
            let range = self.subtree(target, depth);
            let mut near: Vec<(u64, u32)> = range
                .filter(|rank| accept(self.order[*rank]))
                .map(|rank| (self.prefixes[rank] ^ target, self.order[rank]))
                .collect();
            if near.len() >= count || depth == 0 {
                near.sort_unstable();
                out.extend(near.iter().take(count).map(|(_, node)| *node));
                return;
            }
            depth -= 1;
        }
    }

    /// The ranks of all nodes that share the first `bits` bits with `target`.
    fn subtree(&self, target: u64, bits: u32) -> Range<usize> {
        if bits == 0 {
            return 0..self.prefixes.len();
        }
        let below = u64::MAX.checked_shr(bits).unwrap_or_default();
        let (low, high) = (target & !below, target | below);
        let start = self.prefixes.partition_point(|prefix| *prefix < low);
        let len = self.prefixes[start..].partition_point(|prefix| *prefix <= high);
        start..start + len
    }

    fn life(&self, node: u32) -> Life {
        self.lives.get(node as usize).copied().unwrap_or_default()
    }

    fn sort(&mut self) {
        let mut sorted: Vec<(u64, u32)> =
            (0..self.config.nodes).map(|node| (self.id(node).prefix64(), node)).collect();
        sorted.sort_unstable();
        (self.prefixes, self.order) = sorted.into_iter().unzip();
    }

    /// Live nodes drop most of the dead ones they knew, but not all at once.
    fn remembers(&self, node: u32, other: u32) -> bool {
        let draw = mix(self.config.seed, u64::from(node), u64::from(other));
        self.kind(other) != Kind::Dead || draw.is_multiple_of(2)
    }
}

/// Twenty bytes that look random.
fn id(seed: u64, node: u32, life: u32) -> NodeId {
    let mut id = [0; 20];
    for (part, chunk) in id.chunks_mut(8).enumerate() {
        let word = mix(seed, SALT_ID + part as u64, u64::from(life) << 32 | u64::from(node)).to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Id(id)
}

fn ip(node: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(FIRST_IP) + node).into()
}

/// BEP 5
pub(crate) const K: usize = 8;
/// Up to 127.63.255.255; torrents' peers have the addresses above.
pub(crate) const NODES_MAX: u32 = 48 << 16;

/// Node i is 127.(16 + i>>16).(i>>8 & 255).(i & 255).
const FIRST_IP: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);
/// Enough to fill a bucket of sixteen candidates, half of them dead and forgotten, most times.
const BUCKET_DRAWS: u64 = 40;
const SALT_ID: u64 = 0x10;
const SALT_CHURN: u64 = 0x24;
const SALT_DEAD: u64 = 0x20;
const SALT_HOSTILE: u64 = 0x21;
const SALT_LIE: u64 = 0x22;
const SALT_MUTE: u64 = 0x23;
/// One for each of the 160 depths.
const SALT_BUCKET: u64 = 0x100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn population(config: Config) -> Population {
        Population::new(config, Places::OnePort(7))
    }

    /// Looks `target` up as BEP 5 says, one round of three queries at a time; the rounds it took
    /// and the closest nodes it ended with.
    fn lookup(nodes: &Population, from: u32, target: Id) -> (u32, Vec<u32>) {
        let distance = |node: &u32| nodes.id(*node).distance(target);
        let (mut asked, mut near) = (vec![from], Vec::new());
        let mut out = [0; K];
        let len = nodes.known(from, target, &mut out);
        near.extend_from_slice(&out[..len]);
        for round in 1.. {
            near.sort_by_key(distance);
            near.dedup();
            let next: Vec<u32> =
                near.iter().take(K).filter(|node| !asked.contains(node)).take(3).copied().collect();
            if next.is_empty() {
                near.truncate(K);
                return (round, near);
            }
            for node in next {
                asked.push(node);
                if nodes.kind(node) != Kind::Dead {
                    let len = nodes.known(node, target, &mut out);
                    near.extend_from_slice(&out[..len]);
                }
            }
        }
        unreachable!("the loop returns")
    }

    #[test]
    fn a_lookup_converges_in_logarithmic_rounds_on_the_closest_nodes() {
        let nodes = population(Config { nodes: 1_000, ..Config::default() });
        let mut rng = Rng::seeded(1);
        for _ in 0..200 {
            let (from, target) = (rng.index(1_000) as u32, Id::random(&mut rng));
            let (rounds, found) = lookup(&nodes, from, target);
            assert!(rounds <= 10 + 3, "{rounds} rounds");
            let mut truth: Vec<u32> = (0..1_000).filter(|node| *node != from).collect();
            truth.sort_by_key(|node| nodes.id(*node).distance(target));
            assert_eq!(found[..3], truth[..3]);
        }
    }

    #[test]
    fn no_node_knows_the_closest_from_afar() {
        let nodes = population(Config { nodes: 4_000, ..Config::default() });
        let mut rng = Rng::seeded(2);
        let mut knew = 0;
        for _ in 0..100 {
            let (node, target) = (rng.index(4_000) as u32, Id::random(&mut rng));
            let mut closest = Vec::new();
            nodes.closest(target.prefix64(), 1, &mut closest, |_| true);
            let mut out = [0; K];
            let len = nodes.known(node, target, &mut out);
            assert_eq!(len, K);
            knew += u32::from(out.contains(&closest[0]));
        }
        assert!(knew < 10, "{knew} of 100 asked knew the closest");
    }

    #[test]
    fn a_walk_that_asks_each_node_once_finds_nearly_all() {
        let nodes = population(Config { nodes: 5_000, dead_pct: 30.0, ..Config::default() });
        let mut rng = Rng::seeded(3);
        let first = (0..5_000).find(|node| nodes.kind(*node) != Kind::Dead).unwrap();
        let (mut queue, mut known) = (vec![first], vec![false; 5_000]);
        known[first as usize] = true;
        let mut out = [0; K];
        while let Some(node) = queue.pop() {
            if nodes.kind(node) == Kind::Dead {
                continue;
            }
            let depth = rng.below(11) as u32;
            let len = nodes.known(node, nodes.id(node).random_at_depth(depth, &mut rng), &mut out);
            for other in &out[..len] {
                if !std::mem::replace(&mut known[*other as usize], true) {
                    queue.push(*other);
                }
            }
        }
        let live: Vec<u32> = (0..5_000).filter(|node| nodes.kind(*node) != Kind::Dead).collect();
        let found = live.iter().filter(|node| known[**node as usize]).count();
        assert!(found * 100 > live.len() * 97, "{found} of {}", live.len());
    }

    #[test]
    fn who_went_away_comes_back_as_somebody_else() {
        let mut nodes = population(Config { nodes: 1_000, ..Config::default() });
        let first: Vec<Id> = (0..1_000).map(|node| nodes.id(node)).collect();
        nodes.churn(10.0, 1);
        let away: Vec<u32> = (0..1_000).filter(|node| nodes.kind(*node) == Kind::Dead).collect();
        assert!((70..130).contains(&away.len()), "{}", away.len());
        assert!((0..1_000).all(|node| nodes.id(node) == first[node as usize]));
        nodes.churn(10.0, 2);
        for node in 0..1_000 {
            let back = away.contains(&node);
            assert_eq!(nodes.id(node) != first[node as usize], back);
            assert!(!back || nodes.kind(node) != Kind::Dead);
        }
        let mut found = Vec::new();
        nodes.closest(nodes.id(away[0]).prefix64(), 1, &mut found, |_| true);
        assert_eq!(found, [away[0]], "found under its new id");
    }

    #[test]
    fn addresses_and_shares_are_as_configured() {
        let config = Config { nodes: 70_000, dead_pct: 30.0, hostile_pct: 10.0, ..Config::default() };
        let nodes = population(config);
        assert_eq!(nodes.addr(65_536 + 258), "127.17.1.2:7".parse().unwrap());
        assert!((0..70_000).step_by(997).all(|node| nodes.at(nodes.addr(node).ip()) == Some(node)));
        assert_eq!(nodes.at("127.15.255.255".parse().unwrap()), None);
        assert_eq!(nodes.at(nodes.vacant(12_345).ip()), None);
        let kinds: Vec<Kind> = (0..70_000).map(|node| nodes.kind(node)).collect();
        let share = |is: fn(&Kind) -> bool| kinds.iter().filter(|kind| is(kind)).count() * 1_000 / 70_000;
        assert!((290..310).contains(&share(|kind| *kind == Kind::Dead)));
        assert!((65..75).contains(&share(|kind| matches!(kind, Kind::Hostile(_)))));
        assert!((70..90).contains(&share(|kind| *kind == Kind::Honest(Sampling::Silent))));
    }
}
