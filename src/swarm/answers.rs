//! What a node answers: one datagram in, at most one out. No sockets, no clock.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::doors::Doors;
use super::hostile::Lie;
use super::population::{K, Kind, Population, Sampling};
use super::torrents::Library;
use super::{Config, Stats, mix};
use crate::base::{Id, InfoHash, Rng, hash};
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::{self, Body, FILTER_BYTES, Method, Query, Reject, Reply, Response};

/// All that the nodes know.
pub(crate) struct Answers {
    config: Config,
    pub(crate) nodes: Population,
    doors: Doors,
    /// Which node holds which torrent under which of its hashes, ascending.
    held: Vec<(u32, Holding)>,
    announced: BTreeMap<(u32, InfoHash), Vec<SocketAddr>>,
    /// Who asked lately, and may be asked in turn.
    askers: Vec<SocketAddr>,
    /// A bit for each node that was ever asked something.
    asked: Vec<u64>,
    rng: Rng,
    scratch: Scratch,
}

/// A torrent by one of its hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holding {
    /// The infohash that it was announced under.
    pub(crate) hash: InfoHash,
    torrent: u32,
}

#[derive(Default)]
struct Scratch {
    nodes: Vec<NodeAddr>,
    values: Vec<SocketAddr>,
    hashes: Vec<InfoHash>,
}

/// What a reply will carry beside its lists, which wait in the scratch.
#[derive(Clone, Copy, Default)]
struct Parts {
    nodes: bool,
    token: Option<[u8; 8]>,
    /// Interval and number.
    samples: Option<(u32, u64)>,
    /// The peers are told as filters (BEP 33), not as addresses.
    scrape: bool,
}

impl Answers {
    /// Announces every torrent to the nodes closest to it, as its peers would have done.
    pub(crate) fn new(config: Config, nodes: Population, library: &Library, doors: Doors) -> Self {
        let rng = Rng::seeded(mix(config.seed, SALT_RNG, 0));
        let (announced, askers, scratch) = (BTreeMap::new(), Vec::new(), Scratch::default());
        let asked = vec![0; (config.nodes as usize).div_ceil(64)];
        let mut it = Self { config, nodes, doors, held: Vec::new(), announced, askers, asked, rng, scratch };
        it.hand_out(library);
        it
    }

    /// Some nodes go and others come back ([`Population::churn`]); the torrents' peers announce
    /// themselves to those that are closest now.
    pub(crate) fn churn(&mut self, pct: f64, turn: u64, library: &Library) {
        self.nodes.churn(pct, turn);
        self.hand_out(library);
    }

    /// Answers what `from` sent to `node`, at `now_secs` of any clock; the length of the answer
    /// in `out`, 0 for none.
    pub(crate) fn answer(
        &mut self,
        node: u32,
        from: SocketAddr,
        datagram: &[u8],
        now_secs: u64,
        out: &mut [u8],
        stats: &mut Stats,
    ) -> usize {
        let kind = self.nodes.kind(node);
        if kind == Kind::Dead {
            stats.to_the_dead += 1;
            return 0;
        }
        let message = match krpc::decode(datagram) {
            Ok(message) => message,
            Err(Reject::Answer { transaction, code, text }) => {
                stats.unreadable += 1;
                return krpc::write_error(out, transaction, from, code, text).unwrap_or_default();
            }
            Err(Reject::Drop(_) | Reject::NotKrpc) => {
                stats.unreadable += 1;
                return 0;
            }
        };
        let query = match message.body {
            Body::Query(query) => query,
            Body::Response(response) => return self.follow_up(node, message.transaction, &response, out),
            Body::Error(..) => return 0,
        };
        stats.count(&query.method);
        if query.method != Method::Ping {
            stats.nodes_asked += u64::from(self.first_asked(node));
        }
        if !query.read_only {
            self.heard(from);
        }
        match kind {
            Kind::Dead => 0,
            Kind::Hostile(lie) => {
                stats.lies += 1;
                self.lie(lie, node, from, datagram, message.transaction, &query, now_secs, out)
            }
            Kind::Honest(sampling) => {
                let reply = self.gather(sampling, node, from, &query, now_secs);
                self.write(reply, node, from, message.transaction, &query, out)
            }
        }
    }

    /// A query that some node sends of its own accord, looking for a torrent at somebody who asked
    /// lately: the node, whom it asks, the length of the query in `out`.
    pub(crate) fn ask(&mut self, out: &mut [u8]) -> Option<(u32, SocketAddr, usize)> {
        if self.askers.is_empty() || self.held.is_empty() {
            return None;
        }
        let to = self.askers[self.rng.index(self.askers.len())];
        let index = self.rng.index(self.held.len());
        let node = self.rng.below(u64::from(self.config.nodes)) as u32;
        if !matches!(self.nodes.kind(node), Kind::Honest(_)) {
            return None;
        }
        let info_hash = self.held[index].1.hash;
        let method = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let query = Query { id: self.nodes.id(node), read_only: false, want: None, method };
        let len = krpc::write_query(out, &(index as u32).to_be_bytes(), &query)?;
        Some((node, to, len))
    }

    /// The holders of a torrent's hash.
    pub(crate) fn holders(&self, hash: InfoHash) -> impl Iterator<Item = u32> + '_ {
        let mut closest = Vec::new();
        let live = |node| self.nodes.kind(node) != Kind::Dead;
        self.nodes.closest(hash.prefix64(), K, &mut closest, live);
        closest.into_iter()
    }

    /// A node that was given a token says that it has the torrent, and it has: honest peers listen
    /// on every node's address too.
    fn follow_up(&self, node: u32, transaction: &[u8], response: &Response<'_>, out: &mut [u8]) -> usize {
        let index = transaction.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
        let (Some((_, holding)), Some(token)) = (self.held.get(index as usize), response.token) else {
            return 0;
        };
        let port = self.doors.honest_port();
        let info_hash = holding.hash;
        let method = Method::AnnouncePeer { info_hash, port, implied_port: false, token, seed: true };
        let query = Query { id: self.nodes.id(node), read_only: false, want: None, method };
        krpc::write_query(out, b"an", &query).unwrap_or_default()
    }

    fn hand_out(&mut self, library: &Library) {
        let nodes = &self.nodes;
        let mut closest = Vec::new();
        self.held.clear();
        for torrent in 0..library.len() {
            let info = library.info(torrent);
            // Every fourth hybrid is known under both of its hashes.
            let second = info.second.filter(|_| torrent % 4 == 0);
            for hash in std::iter::once(info.infohash).chain(second) {
                closest.clear();
                nodes.closest(hash.prefix64(), K, &mut closest, |node| nodes.kind(node) != Kind::Dead);
                self.held.extend(closest.iter().map(|node| (*node, Holding { hash, torrent })));
            }
        }
        self.held.sort_unstable();
    }

    /// Notes that `node` was asked; true the first time.
    fn first_asked(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.asked[node as usize / 64], 1 << (node % 64));
        let first = *word & bit == 0;
        *word |= bit;
        first
    }

    fn heard(&mut self, from: SocketAddr) {
        if self.askers.contains(&from) {
            return;
        }
        if self.askers.len() == ASKERS_MAX {
            self.askers.remove(0);
        }
        self.askers.push(from);
    }

    /// What an honest node says; the lists are left in the scratch.
    fn gather(
        &mut self,
        sampling: Sampling,
        node: u32,
        from: SocketAddr,
        query: &Query<'_>,
        now_secs: u64,
    ) -> Result<Parts, Refusal> {
        self.scratch.clear();
        let mut parts = Parts::default();
        match query.method {
            Method::Ping => {}
            Method::FindNode { target } => parts.nodes = self.gather_nodes(node, target, query),
            Method::GetPeers { info_hash, noseed, scrape } => {
                parts.nodes = self.gather_nodes(node, info_hash, query);
                parts.token = Some(self.token(node, from));
                self.gather_peers(node, info_hash, noseed && !scrape);
                parts.scrape = scrape && !self.scratch.values.is_empty();
            }
            Method::SampleInfohashes { target } => match sampling {
                Sampling::Silent => return Err(Refusal::Silence),
                Sampling::AsFindNode => parts.nodes = self.gather_nodes(node, target, query),
                Sampling::Spoken => {
                    parts.nodes = self.gather_nodes(node, target, query);
                    parts.samples = Some((self.config.interval_secs, self.gather_samples(node, now_secs)));
                }
            },
            Method::AnnouncePeer { info_hash, port, implied_port, token, .. } => {
                let port = if implied_port { from.port() } else { port };
                if token != self.token(node, from) || port == 0 {
                    return Err(Refusal::Protocol);
                }
                self.announce(node, info_hash, SocketAddr::new(from.ip(), port));
            }
            Method::Unknown { target: Some(target) } => {
                parts.nodes = self.gather_nodes(node, target, query);
            }
            Method::Unknown { target: None } => return Err(Refusal::Unknown),
        }
        Ok(parts)
    }

    fn write(
        &self,
        reply: Result<Parts, Refusal>,
        node: u32,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
        out: &mut [u8],
    ) -> usize {
        let written = match reply {
            Ok(parts) => self.write_as(self.nodes.id(node), parts, from, transaction, out),
            Err(Refusal::Silence) => None,
            Err(Refusal::Protocol) => {
                let text = if query.read_only { "bad token" } else { "invalid token or port" };
                krpc::write_error(out, transaction, from, krpc::PROTOCOL_ERROR, text)
            }
            Err(Refusal::Unknown) => {
                krpc::write_error(out, transaction, from, krpc::UNKNOWN_METHOD, "unknown method")
            }
        };
        written.unwrap_or_default()
    }

    fn write_as(
        &self,
        id: Id,
        parts: Parts,
        from: SocketAddr,
        transaction: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let scratch = &self.scratch;
        // Every second peer is a seed.
        let seeds = scratch.values.iter().step_by(2);
        let others = scratch.values.iter().skip(1).step_by(2);
        let filters = parts.scrape.then(|| (filter(seeds), filter(others)));
        let reply = Reply {
            id,
            token: parts.token.as_ref().map(<[u8; 8]>::as_slice),
            nodes: parts.nodes.then_some(&scratch.nodes),
            values: if parts.scrape { &[] } else { &scratch.values },
            samples: parts.samples.map(|(interval, num)| (interval, num, scratch.hashes.as_slice())),
            scrape: filters.as_ref().map(|(seeds, others)| (seeds, others)),
            ..Reply::default()
        };
        krpc::write_reply(out, transaction, from, &reply)
    }

    /// False if the asker wants only the other family (BEP 32).
    fn gather_nodes(&mut self, node: u32, target: Id, query: &Query<'_>) -> bool {
        let mut known = [0; K];
        let len = self.nodes.known(node, target, &mut known);
        self.scratch.nodes.extend(known[..len].iter().map(|other| self.nodes.named(*other)));
        query.want.is_none_or(|want| want.v4)
    }

    fn gather_peers(&mut self, node: u32, hash: InfoHash, noseed: bool) {
        let at = self.held.binary_search_by(|(holder, holding)| (*holder, holding.hash).cmp(&(node, hash)));
        if let Ok(at) = at {
            let torrent = self.held[at].1.torrent;
            let wanted = |nth: &u32| !noseed || nth % 2 == 1;
            let peers = (0..self.config.peers_per_torrent).filter(wanted).take(VALUES_MAX);
            self.scratch.values.extend(peers.map(|nth| self.doors.peer(torrent, nth).0));
        }
        if let Some(peers) = self.announced.get(&(node, hash)) {
            let room = VALUES_MAX - self.scratch.values.len();
            self.scratch.values.extend(peers.iter().take(room));
        }
    }

    /// How many infohashes the node has. Which of them it shows changes once an interval.
    fn gather_samples(&mut self, node: u32, now_secs: u64) -> u64 {
        let start = self.held.partition_point(|(holder, _)| *holder < node);
        let count = self.held[start..].partition_point(|(holder, _)| *holder == node);
        let announced = self.announced.range((node, Id([0; 20]))..=(node, Id([255; 20])));
        let own = self.held[start..start + count].iter().map(|(_, holding)| holding.hash);
        let all = own.chain(announced.map(|((_, hash), _)| *hash));
        let num = all.clone().count();
        let turn = now_secs / u64::from(self.config.interval_secs.max(1));
        let skip = if num > SAMPLES_MAX { (turn as usize % num) * SAMPLES_MAX % num } else { 0 };
        let shown = all.clone().chain(all).skip(skip).take(num.min(SAMPLES_MAX));
        self.scratch.hashes.extend(shown);
        num as u64
    }

    fn announce(&mut self, node: u32, hash: InfoHash, peer: SocketAddr) {
        if self.announced.len() >= ANNOUNCED_MAX && !self.announced.contains_key(&(node, hash)) {
            self.announced.pop_first();
        }
        let peers = self.announced.entry((node, hash)).or_default();
        peers.retain(|known| *known != peer);
        if peers.len() >= ANNOUNCED_PEERS_MAX {
            peers.remove(0);
        }
        peers.push(peer);
    }

    /// Bound to the asker's address (BEP 5); it holds as long as the swarm.
    fn token(&self, node: u32, from: SocketAddr) -> [u8; 8] {
        let ip = match from.ip() {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip) as u64,
        };
        mix(mix(self.config.seed, SALT_TOKEN, u64::from(node)), ip, 0).to_be_bytes()
    }

    #[expect(clippy::too_many_arguments, reason = "all of a query, and where the answer goes")]
    fn lie(
        &mut self,
        lie: Lie,
        node: u32,
        from: SocketAddr,
        datagram: &[u8],
        transaction: &[u8],
        query: &Query<'_>,
        now_secs: u64,
        out: &mut [u8],
    ) -> usize {
        let mut id = self.nodes.id(node);
        let mut echoed = transaction.to_vec();
        let Ok(mut parts) = self.gather(Sampling::Spoken, node, from, query, now_secs) else { return 0 };
        let target = match query.method {
            Method::FindNode { target } | Method::SampleInfohashes { target } => target,
            Method::GetPeers { info_hash, .. } | Method::AnnouncePeer { info_hash, .. } => info_hash,
            Method::Ping | Method::Unknown { .. } => query.id,
        };
        match lie {
            Lie::FalseNodes => self.false_nodes(target, query.id),
            Lie::FalsePeers if matches!(query.method, Method::GetPeers { .. }) => self.false_peers(),
            Lie::FalsePeers => {}
            Lie::FalseSamples => {
                if matches!(query.method, Method::SampleInfohashes { .. }) {
                    self.scratch.hashes = (0..SAMPLES_MAX).map(|_| Id::random(&mut self.rng)).collect();
                    parts.samples = Some((self.rng.below(8) as u32 * 3_000, u64::MAX >> 1));
                }
            }
            Lie::Garbage => return self.garbage(datagram, out),
            Lie::SpoofedId => id = target.random_at_depth(120 + self.rng.below(39) as u32, &mut self.rng),
            Lie::WrongTransaction => match echoed.first_mut() {
                Some(first) => *first ^= 0x55,
                None => echoed.push(0),
            },
        }
        self.write_as(id, parts, from, &echoed, out).unwrap_or_default()
    }

    fn false_nodes(&mut self, target: Id, asker: Id) {
        let Self { nodes, rng, scratch, config, .. } = self;
        scratch.nodes.clear();
        for _ in 0..K {
            let near = target.random_at_depth(rng.below(158) as u32, rng);
            let live = nodes.addr(rng.below(u64::from(config.nodes)) as u32);
            let vacant = nodes.vacant(rng.u64());
            scratch.nodes.push(match rng.below(6) {
                0 => {
                    NodeAddr { id: near, addr: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), vacant.port()) }
                }
                1 => NodeAddr { id: near, addr: SocketAddr::new(vacant.ip(), 0) },
                2 => NodeAddr { id: near, addr: live },
                3 => NodeAddr { id: asker, addr: vacant },
                _ => NodeAddr { id: near, addr: vacant },
            });
        }
    }

    fn false_peers(&mut self) {
        self.scratch.values.clear();
        let count = 1 + self.rng.index(VALUES_MAX);
        for _ in 0..count {
            let draw = self.rng.u64();
            self.scratch.values.push(self.doors.useless(draw));
        }
    }

    fn garbage(&mut self, datagram: &[u8], out: &mut [u8]) -> usize {
        let len = match self.rng.below(3) {
            // A reflection of the query.
            0 => {
                let len = datagram.len().min(out.len());
                out[..len].copy_from_slice(&datagram[..len]);
                return len;
            }
            1 => 1,
            _ => 1 + self.rng.index(300),
        };
        let len = len.min(out.len());
        self.rng.fill(&mut out[..len]);
        if self.rng.percent(50) {
            out[0] = b'd';
        }
        len
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.nodes.clear();
        self.values.clear();
        self.hashes.clear();
    }
}

/// A Bloom filter of the peers' addresses (BEP 33).
fn filter<'a>(peers: impl Iterator<Item = &'a SocketAddr>) -> [u8; FILTER_BYTES] {
    let mut filter = [0; FILTER_BYTES];
    for peer in peers {
        let digest = match peer.ip() {
            IpAddr::V4(ip) => hash::sha1(&ip.octets()),
            IpAddr::V6(ip) => hash::sha1(&ip.octets()),
        };
        for pair in digest.chunks_exact(2).take(2) {
            let bit = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % (FILTER_BYTES * 8);
            filter[bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// Why a query gets no response.
enum Refusal {
    Protocol,
    Silence,
    Unknown,
}

/// BEP 51 as libtorrent and mldht do it.
const SAMPLES_MAX: usize = 20;
/// 40 peers of 8 bytes beside eight nodes and a token stay well below [`krpc::PACKET_MAX`].
pub(crate) const VALUES_MAX: usize = 40;
/// Announced infohashes over all nodes; the swarm is for tests, and a test announces few.
const ANNOUNCED_MAX: usize = 100_000;
/// Whoever is pointed at the swarm: one crawler, or a few.
const ASKERS_MAX: usize = 16;
/// More than fit in one answer would never be seen.
const ANNOUNCED_PEERS_MAX: usize = VALUES_MAX;
const SALT_RNG: u64 = 0x40;
const SALT_TOKEN: u64 = 0x41;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::doors::{Honest, PeerKind};
    use crate::swarm::hostile::Behaviour;
    use crate::swarm::population::Places;
    use crate::wire::krpc::Samples;

    const CONFIG: Config = Config {
        nodes: 400,
        torrents: 300,
        peers_per_torrent: 4,
        dead_pct: 0.0,
        dead_peers_pct: 0.0,
        loss_pct: 0.0,
        hostile_pct: 0.0,
        one_handshake_pct: 0.0,
        bare_handshake_pct: 0.0,
        no_sampling_pct: 0.0,
        interval_secs: 60,
        asks_per_second: 0,
        churn_pct: 0.0,
        port: 7,
        seed: 21,
        torrents_seed: 21,
    };

    fn answers(config: Config) -> (Answers, Library) {
        let library = Library::generate(config.seed, config.torrents);
        let doors = Doors {
            seed: config.seed,
            dead_pct: config.dead_peers_pct,
            hostile_pct: config.hostile_pct,
            honest: Honest::Everywhere(7, Doors::addresses(&config)),
            hostile: vec![(Behaviour::Silent, "127.100.0.1:8".parse().unwrap())],
            mute: Vec::new(),
            refusing_port: 9,
        };
        let nodes = Population::new(config, Places::OnePort(7));
        (Answers::new(config, nodes, &library, doors), library)
    }

    fn from() -> SocketAddr {
        "127.0.0.1:5000".parse().unwrap()
    }

    /// The raw answer of `node` at second `now_secs`.
    fn raw(answers: &mut Answers, node: u32, method: Method<'_>, now_secs: u64) -> Vec<u8> {
        let (mut query, mut out) = ([0; 512], [0; 2_048]);
        let asks = Query { id: Id([3; 20]), read_only: true, want: None, method };
        let len = krpc::write_query(&mut query, b"ab", &asks).unwrap();
        let mut stats = Stats::default();
        let len = answers.answer(node, from(), &query[..len], now_secs, &mut out, &mut stats);
        out[..len].to_vec()
    }

    fn response(bytes: &[u8]) -> Response<'_> {
        let Body::Response(response) = krpc::decode(bytes).unwrap().body else { panic!("no response") };
        response
    }

    fn samples(bytes: &[u8]) -> Samples<'_> {
        response(bytes).samples.unwrap()
    }

    #[test]
    fn every_torrent_is_held_by_the_eight_closest_live_nodes_and_by_no_other() {
        let (mut answers, library) = answers(Config { dead_pct: 30.0, ..CONFIG });
        for torrent in (0..300).step_by(37) {
            let info_hash = library.info(torrent).infohash;
            let mut live: Vec<u32> =
                (0..400).filter(|node| answers.nodes.kind(*node) != Kind::Dead).collect();
            live.sort_by_key(|node| answers.nodes.id(*node).distance(info_hash));
            for (rank, node) in live.iter().enumerate() {
                let ask = Method::GetPeers { info_hash, noseed: false, scrape: false };
                let answer = raw(&mut answers, *node, ask, 0);
                let peers: Vec<_> = response(&answer).peers().collect();
                let told: Vec<_> = (0..4).map(|nth| answers.doors.peer(torrent, nth).0).collect();
                assert_eq!(peers, if rank < 8 { told } else { Vec::new() });
                assert!(response(&answer).token.is_some());
                assert_eq!(response(&answer).nodes().count(), 8);
            }
        }
    }

    #[test]
    fn samples_are_twenty_of_what_is_held_and_move_on_after_an_interval() {
        let (mut answers, _) = answers(Config { nodes: 9, ..CONFIG });
        let ask = Method::SampleInfohashes { target: Id([1; 20]) };
        let first = raw(&mut answers, 0, ask, 59);
        let num = samples(&first).num.unwrap();
        assert!(num > 200, "{num}");
        assert_eq!((samples(&first).hashes().count(), samples(&first).interval_secs), (20, 60));
        assert_eq!(first, raw(&mut answers, 0, ask, 0));
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..num.div_ceil(20) {
            seen.extend(samples(&raw(&mut answers, 0, ask, turn * 60)).hashes());
        }
        assert_eq!(seen.len() as u64, num);
    }

    #[test]
    fn who_does_not_speak_bep_51_keeps_silent_or_names_nodes() {
        let (mut answers, _) = answers(Config { no_sampling_pct: 100.0, ..CONFIG });
        let (mut silent, mut without) = (0, 0);
        for node in 0..400 {
            let answer = raw(&mut answers, node, Method::SampleInfohashes { target: Id([1; 20]) }, 0);
            if answer.is_empty() {
                silent += 1;
                continue;
            }
            assert!(response(&answer).samples.is_none());
            without += u32::from(response(&answer).nodes().count() == 8);
        }
        assert!(silent > 150 && without > 150 && silent + without == 400, "{silent} {without}");
    }

    #[test]
    fn a_scrape_tells_filters_and_no_addresses() {
        let (mut answers, library) = answers(CONFIG);
        let info_hash = library.info(0).infohash;
        let node = answers.holders(info_hash).next().unwrap();
        let answer = raw(&mut answers, node, Method::GetPeers { info_hash, noseed: false, scrape: true }, 0);
        assert_eq!(response(&answer).peers().count(), 0);
        let (seeds, others) = response(&answer).scrape.unwrap();
        let bits = |filter: &[u8; 256]| filter.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert!((1..=4).contains(&bits(seeds)) && (1..=4).contains(&bits(others)));
        let noseed = raw(&mut answers, node, Method::GetPeers { info_hash, noseed: true, scrape: false }, 0);
        assert_eq!(response(&noseed).peers().count(), 2);
    }

    /// BEP 33's own vector.
    #[test]
    fn the_filter_of_bep_33() {
        let v4 = (0..=255u8).map(|last| SocketAddr::new([192, 0, 2, last].into(), 1));
        let v6 = (0..=0x3e7u16).map(|last| SocketAddr::new([0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into(), 1));
        let peers: Vec<_> = v4.chain(v6).collect();
        let filter = filter(peers.iter());
        assert_eq!(filter[..8], [0xf6, 0xc3, 0xf5, 0xea, 0xa0, 0x7f, 0xfd, 0x91]);
        assert_eq!(filter[252..], [0xfd, 0x8f, 0x72, 0xef]);
    }

    #[test]
    fn hostile_nodes_tell_every_lie_and_all_fit_in_a_packet() {
        let (mut answers, library) = answers(Config { hostile_pct: 100.0, dead_peers_pct: 30.0, ..CONFIG });
        let truth = |answer: &[u8]| krpc::decode(answer).is_ok_and(|message| message.transaction == b"ab");
        let mut told = BTreeMap::new();
        for node in 0..400 {
            let Kind::Hostile(lie) = answers.nodes.kind(node) else { panic!("all are hostile") };
            let info_hash = library.info(node % 300).infohash;
            for method in [
                Method::Ping,
                Method::FindNode { target: info_hash },
                Method::GetPeers { info_hash, noseed: false, scrape: false },
                Method::SampleInfohashes { target: info_hash },
            ] {
                let answer = raw(&mut answers, node, method, 0);
                assert!(!answer.is_empty() && answer.len() <= krpc::PACKET_MAX);
                match (lie, method) {
                    (Lie::WrongTransaction, _) => assert!(!truth(&answer)),
                    (Lie::FalsePeers, Method::GetPeers { .. }) => {
                        let useless = response(&answer).peers().all(|peer| peer.port() != 7);
                        assert!(useless && response(&answer).token.is_some());
                    }
                    (Lie::FalseSamples, Method::SampleInfohashes { .. }) => {
                        assert!(samples(&answer).hashes().all(|hash| library.find(hash).is_none()));
                    }
                    (Lie::SpoofedId, _) => assert_ne!(response(&answer).id, answers.nodes.id(node)),
                    _ => {}
                }
            }
            *told.entry(format!("{lie:?}")).or_insert(0) += 1;
        }
        assert_eq!(told.len(), 6, "{told:?}");
        let honest = (0..300).flat_map(|torrent| (0..4).map(move |nth| (torrent, nth)));
        let kinds = honest.map(|(torrent, nth)| answers.doors.peer(torrent, nth).1);
        assert!(kinds.into_iter().all(|kind| kind != PeerKind::Honest));
    }

    #[test]
    fn nonsense_gets_an_error_or_no_answer() {
        let (mut answers, _) = answers(CONFIG);
        let (mut stats, mut out) = (Stats::default(), [0; 2_048]);
        for nonsense in
            [&b""[..], b"d", b"i1e", b"d1:t1:a1:y1:qe", b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t1:a1:y1:re"]
        {
            let len = answers.answer(0, from(), nonsense, 0, &mut out, &mut stats);
            assert!(len == 0 || matches!(krpc::decode(&out[..len]).unwrap().body, Body::Error(..)));
        }
        assert_eq!(stats.received, 0);
    }
}
