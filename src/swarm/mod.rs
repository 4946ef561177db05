//! A whole DHT on loopback: N nodes, H torrents, and the peers that serve their metadata, on real
//! sockets. For `demo`, for tests and benches, and for pointing any program at.
//!
//! Everything but the timing follows from the seed. Nothing here leaves the machine: whatever
//! comes from or for an address outside of 127/8 is dropped.

mod answers;
mod doors;
mod farm;
mod hostile;
mod names;
mod population;
mod torrents;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::base::{InfoHash, Rng};
use crate::wire::krpc::Method;
use answers::Answers;
use doors::{Doors, PeerKind};
use farm::Farm;
use population::{Kind, Places, Population, Sampling};
use torrents::Library;
use udp::{Loss, Sockets};

/// What swarm there shall be.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// DHT nodes, the dead ones included; 1 to 3,145,727.
    pub nodes: u32,
    /// At most 500,000; 1,000 cost about 4 MB.
    pub torrents: u32,
    /// Peers that are announced for each torrent.
    pub peers_per_torrent: u32,
    /// Nodes that never answer, in percent.
    pub dead_pct: f64,
    /// Peers that cannot be connected to, in percent.
    pub dead_peers_pct: f64,
    /// Datagrams that are lost, in each direction, in percent.
    pub loss_pct: f64,
    /// Live nodes that lie, and live peers that misbehave, in percent.
    pub hostile_pct: f64,
    /// Honest peers that take one handshake from an address at a time, as Transmission does, and those
    /// that hang up when more than the BEP 3 handshake comes before their own, as aria2 does; in
    /// percent of all. Linux only.
    pub one_handshake_pct: f64,
    /// See [`Config::one_handshake_pct`].
    pub bare_handshake_pct: f64,
    /// Honest nodes that do not speak BEP 51, in percent: half of them do not answer such a
    /// query at all, the others answer it like `find_node`.
    pub no_sampling_pct: f64,
    /// The BEP 51 `interval` of every node, in seconds.
    pub interval_secs: u32,
    /// Queries per second that nodes send to whoever asked them (BEP 43: and did not say that it
    /// is read-only): `get_peers`, then `announce_peer` if that brought a token. At most 10,000.
    pub asks_per_second: u32,
    /// Nodes that go away every ten seconds, in percent; ten seconds later they come back under
    /// other ids.
    pub churn_pct: f64,
    /// UDP port of all nodes and TCP port of honest peers; 0 lets the system choose.
    pub port: u16,
    /// Where everything but the torrents is derived from.
    pub seed: u64,
    /// Where the torrents are derived from.
    pub torrents_seed: u64,
}

/// A swarm that is ready to run.
pub struct Swarm {
    config: Config,
    poll: Poll,
    sockets: Sockets,
    udp_tokens: usize,
    answers: Answers,
    farm: Farm,
    doors: Doors,
    library: Library,
    loss: Loss,
    /// How often nodes went away and came back.
    turns: u64,
    stats: Stats,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that arrived, the ones counted as lost included.
    pub received: u64,
    /// Datagrams sent in answer.
    pub answered: u64,
    /// Datagrams dropped on purpose, in both directions.
    pub lost: u64,
    /// Datagrams to dead nodes and vacant addresses.
    pub to_the_dead: u64,
    /// Datagrams that are not KRPC, or not a query that can be answered.
    pub unreadable: u64,
    /// Queries answered by hostile nodes.
    pub lies: u64,
    /// Live nodes that were asked anything but `ping`, each counted once.
    pub nodes_asked: u64,
    /// `ping` queries.
    pub pings: u64,
    /// `find_node` queries.
    pub find_nodes: u64,
    /// `get_peers` queries.
    pub get_peers: u64,
    /// `sample_infohashes` queries.
    pub samples: u64,
    /// `announce_peer` queries.
    pub announces: u64,
    /// Queries of any other name.
    pub others: u64,
    /// TCP connections accepted.
    pub accepted: u64,
    /// TCP connections open now.
    pub open: u64,
    /// Metadata pieces served.
    pub pieces: u64,
    /// Times that a torrent's metadata was served in full.
    pub metadata_served: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes: 5_000,
            torrents: 5_000,
            peers_per_torrent: 3,
            dead_pct: 0.0,
            dead_peers_pct: 0.0,
            loss_pct: 0.0,
            hostile_pct: 0.0,
            one_handshake_pct: 0.0,
            bare_handshake_pct: 0.0,
            no_sampling_pct: 25.0,
            interval_secs: 60,
            asks_per_second: 0,
            churn_pct: 0.0,
            port: 0,
            seed: 1,
            torrents_seed: 1,
        }
    }
}

impl Swarm {
    /// Generates the torrents and binds all sockets. Fails if there are no nodes or too many
    /// nodes or torrents (`InvalidInput`), or if a socket cannot be had.
    pub fn start(config: Config) -> io::Result<Self> {
        if config.nodes == 0 || config.nodes >= population::NODES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "between 1 and 3,145,727 nodes"));
        }
        if config.torrents > TORRENTS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "at most 500,000 torrents"));
        }
        let (sockets, places, farm, doors) = bind(&config)?;
        Self::assemble(config, sockets, places, farm, doors)
    }
    /// Serves on the calling thread until `until` says so; it is asked at least ten times a
    /// second. May be called again. Fails only if the system does.
    pub fn run(&mut self, mut until: impl FnMut(&Stats) -> bool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let started = Instant::now();
        let mut ticked_secs = 0;
        let mut busy = false;
        while !until(&self.stats) {
            let timeout = if busy { Duration::ZERO } else { TURN_MAX };
            if let Err(error) = self.poll.poll(&mut events, Some(timeout)) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            let now_secs = started.elapsed().as_secs();
            for event in &events {
                if event.token().0 < self.udp_tokens {
                    self.sockets.on_readable(event.token().0);
                } else {
                    let registry = self.poll.registry();
                    self.farm.on_event(event.token(), registry, &self.library, &mut self.stats);
                }
            }
            busy = self.sockets.serve(&mut self.answers, &mut self.loss, now_secs, &mut self.stats)?;
            busy |= self.farm.accept(self.poll.registry(), &mut self.stats);
            if now_secs != ticked_secs {
                ticked_secs = now_secs;
                self.farm.tick(now_secs);
                self.farm.answer_late(self.poll.registry(), &self.library, &mut self.stats);
                let count = self.config.asks_per_second.min(ASKS_MAX);
                self.sockets.ask(count, &mut self.answers, &mut self.loss)?;
                if self.config.churn_pct > 0.0 && now_secs.is_multiple_of(CHURN_EVERY_SECS) {
                    self.turns += 1;
                    self.answers.churn(self.config.churn_pct, self.turns, &self.library);
                }
            }
            self.farm.reap(&mut self.stats);
        }
        Ok(())
    }

    /// Some honest live nodes, to enter by; the same every time.
    pub fn bootstrap(&self) -> Vec<SocketAddr> {
        let nodes = &self.answers.nodes;
        let honest = (0..self.config.nodes).filter(|node| matches!(nodes.kind(*node), Kind::Honest(_)));
        honest.take(BOOTSTRAP_NODES).map(|node| nodes.addr(node)).collect()
    }

    /// The infohash of every torrent; of a hybrid, the one of its v1 half.
    pub fn infohashes(&self) -> Vec<InfoHash> {
        (0..self.library.len()).map(|torrent| self.library.info(torrent).infohash).collect()
    }

    /// The infohashes of those torrents that can be found and fetched: an honest node samples
    /// them, and they have an honest live peer.
    pub fn reachable(&self) -> Vec<InfoHash> {
        let torrents = (0..self.library.len()).filter(|torrent| {
            let peers = 0..self.config.peers_per_torrent.min(answers::VALUES_MAX as u32);
            let hash = self.library.info(*torrent).infohash;
            let sampled = |node| self.answers.nodes.kind(node) == Kind::Honest(Sampling::Spoken);
            peers.into_iter().any(|nth| self.doors.peer(*torrent, nth).1 == PeerKind::Honest)
                && self.answers.holders(hash).any(sampled)
        });
        torrents.map(|torrent| self.library.info(torrent).infohash).collect()
    }

    /// How many nodes answer at present.
    pub fn live(&self) -> u32 {
        let nodes = &self.answers.nodes;
        (0..self.config.nodes).filter(|node| nodes.kind(*node) != Kind::Dead).count() as u32
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn assemble(
        config: Config,
        mut sockets: Sockets,
        places: Places,
        mut farm: Farm,
        doors: Doors,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let udp_tokens = sockets.register(poll.registry())?;
        farm.register(poll.registry(), udp_tokens)?;
        let library = Library::generate(config.torrents_seed, config.torrents);
        let population = Population::new(config, places);
        let answers = Answers::new(config, population, &library, doors.clone());
        let loss = Loss::new(config.loss_pct, Rng::seeded(mix(config.seed, SALT_LOSS, 0)));
        let stats = Stats::default();
        Ok(Self { config, poll, sockets, udp_tokens, answers, farm, doors, library, loss, turns: 0, stats })
    }
}

impl Stats {
    fn count(&mut self, method: &Method<'_>) {
        *match method {
            Method::AnnouncePeer { .. } => &mut self.announces,
            Method::FindNode { .. } => &mut self.find_nodes,
            Method::GetPeers { .. } => &mut self.get_peers,
            Method::Ping => &mut self.pings,
            Method::SampleInfohashes { .. } => &mut self.samples,
            Method::Unknown { .. } => &mut self.others,
        } += 1;
    }
}

/// Nodes and peers on one port. Of those that the system would choose many may be taken for a
/// minute by the connections of a crawler that just ended, so ours are others.
fn bind(config: &Config) -> io::Result<(Sockets, Places, Farm, Doors)> {
    if config.port != 0 {
        return bind_to(config, config.port);
    }
    let mut rng = Rng::seeded(u64::from(std::process::id()));
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_to(config, PORTS.start + rng.index(PORTS.len()) as u16) {
            Err(error) if tries < BIND_TRIES && error.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn bind_to(config: &Config, port: u16) -> io::Result<(Sockets, Places, Farm, Doors)> {
    let (sockets, places) = Sockets::bind(config.nodes, port)?;
    let (farm, doors) = Farm::open(config, if let Places::OnePort(port) = places { port } else { 0 })?;
    Ok((sockets, places, farm, doors))
}

/// A number that follows from three others and tells nothing of them: two rounds of SplitMix64
/// (Steele, Lea and Flood 2014).
fn mix(seed: u64, salt: u64, index: u64) -> u64 {
    scramble(scramble(seed ^ salt.rotate_left(32)) ^ index)
}

/// True for `pct` of a hundred draws.
fn hits(draw: u64, pct: f64) -> bool {
    ((draw >> 11) as f64) * 100.0 / ((1u64 << 53) as f64) < pct
}

fn scramble(number: u64) -> u64 {
    let mut number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

const SALT_LOSS: u64 = 0x60;
const BOOTSTRAP_NODES: usize = 8;
/// A turn stays short: datagrams wait at most for so many streams.
const EVENTS_PER_TURN: usize = 256;
const TURN_MAX: Duration = Duration::from_millis(100);
/// Sorting the nodes and handing out the torrents anew takes some 10 ms for each 1,000 of them.
const CHURN_EVERY_SECS: u64 = 10;
/// They leave within one turn.
const ASKS_MAX: u32 = 10_000;
/// About 2 GB.
const TORRENTS_MAX: u32 = 500_000;
const BIND_TRIES: u32 = 16;
/// Below those that Linux, the BSDs, macOS and Windows hand out by themselves.
const PORTS: Range<u16> = 20_000..32_000;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpStream, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::base::{Id, hash};
    use crate::wire::krpc::{self, Body, Query, Response};
    use crate::wire::peer::{self, ExtendedHandshake, Frame, Handshake, Metadata};

    /// Only a hang makes a test wait for so long.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Runs a swarm of `config` beside `test`.
    fn with_swarm(config: Config, test: impl FnOnce(&[SocketAddr], &[InfoHash], &Doors)) -> Stats {
        let mut swarm = Swarm::start(config).unwrap();
        let (bootstrap, reachable) = (swarm.bootstrap(), swarm.reachable());
        let doors = swarm.doors.clone();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let runner = scope.spawn(|| {
                swarm.run(|_| stop.load(Ordering::Relaxed)).unwrap();
                swarm.stats()
            });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                test(&bootstrap, &reachable, &doors);
            }));
            stop.store(true, Ordering::Relaxed);
            let stats = runner.join().unwrap();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            stats
        })
    }

    /// Asks and waits; the answer must come from the address that was asked.
    fn ask<T>(socket: &UdpSocket, to: SocketAddr, method: Method<'_>, read: impl Fn(Response<'_>) -> T) -> T {
        let (mut out, mut input) = ([0; 1_024], [0; 2_048]);
        let query = Query { id: Id([9; 20]), read_only: false, want: None, method };
        let len = krpc::write_query(&mut out, b"xy", &query).unwrap();
        socket.send_to(&out[..len], to).unwrap();
        let (len, from) = socket.recv_from(&mut input).unwrap();
        assert!(len <= krpc::PACKET_MAX);
        assert_eq!(from, to);
        let message = krpc::decode(&input[..len]).unwrap();
        assert_eq!(message.transaction, b"xy");
        assert_eq!(message.external, Some(socket.local_addr().unwrap()));
        let Body::Response(response) = message.body else { panic!("an error: {message:?}") };
        read(response)
    }

    /// Fetches a torrent's metadata as a client would; all pieces are asked for at once.
    fn fetch(peer: SocketAddr, hash: InfoHash) -> Vec<u8> {
        let mut stream = TcpStream::connect(peer).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = [0; 512];
        stream.write_all(&Handshake::new(hash, [7; 20]).encode()).unwrap();
        let ours = ExtendedHandshake { ut_metadata: Some(5), ..ExtendedHandshake::default() };
        let len = ours.encode(&mut out).unwrap();
        stream.write_all(&out[..len]).unwrap();
        let (mut input, mut chunk) = (Vec::new(), vec![0; 65_536]);
        let (mut info, mut size, mut greeted) = (Vec::new(), usize::MAX, false);
        while info.len() < size {
            let len = stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "the peer hung up");
            input.extend_from_slice(&chunk[..len]);
            if !greeted {
                let Some(theirs) = Handshake::decode(&input).unwrap() else { continue };
                assert_eq!(theirs.info_hash, hash);
                input.drain(..peer::HANDSHAKE_LEN);
                greeted = true;
            }
            while let Some((frame, len)) = peer::frame(&input).unwrap() {
                match frame {
                    Frame::Extended(0, payload) => {
                        let theirs = ExtendedHandshake::decode(payload).unwrap();
                        size = theirs.metadata_size.unwrap() as usize;
                        for piece in 0..size.div_ceil(peer::PIECE) as u32 {
                            let ask = Metadata::Request { piece };
                            let len = ask.encode(theirs.ut_metadata.unwrap(), &mut out).unwrap();
                            stream.write_all(&out[..len]).unwrap();
                        }
                    }
                    Frame::Extended(5, payload) => match Metadata::decode(payload).unwrap() {
                        Metadata::Data { piece, total_size, payload } => {
                            assert_eq!(
                                (piece as usize * peer::PIECE, total_size as usize),
                                (info.len(), size)
                            );
                            info.extend_from_slice(payload);
                        }
                        other => panic!("{other:?}"),
                    },
                    Frame::Other(1 | 5) => {}
                    other => panic!("{other:?}"),
                }
                input.drain(..len);
            }
        }
        info
    }

    /// Samples every node that can be found from `bootstrap`; infohash to a node that has it.
    fn sweep(socket: &UdpSocket, bootstrap: &[SocketAddr]) -> BTreeMap<InfoHash, SocketAddr> {
        let mut known: BTreeSet<SocketAddr> = bootstrap.iter().copied().collect();
        let mut queue: Vec<SocketAddr> = bootstrap.to_vec();
        let mut found = BTreeMap::new();
        let mut rng = Rng::seeded(6);
        while let Some(node) = queue.pop() {
            for _ in 0..4 {
                let target = Id::random(&mut rng);
                let (nodes, hashes) = ask(socket, node, Method::SampleInfohashes { target }, |response| {
                    let samples = response.samples.expect("every node samples here");
                    (response.nodes().collect::<Vec<_>>(), samples.hashes().collect::<Vec<_>>())
                });
                found.extend(hashes.into_iter().map(|hash| (hash, node)));
                let new = nodes.into_iter().map(|node| node.addr).filter(|addr| known.insert(*addr));
                queue.extend(new);
            }
        }
        found
    }

    #[test]
    fn every_torrent_can_be_sampled_asked_for_and_fetched() {
        let config = Config { nodes: 100, torrents: 120, no_sampling_pct: 0.0, seed: 5, ..Config::default() };
        let stats = with_swarm(config, |bootstrap, reachable, _| {
            assert_eq!(reachable.len(), 120);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let found = sweep(&socket, bootstrap);
            for hash in reachable {
                let node = found.get(hash).unwrap_or_else(|| panic!("{hash} was not sampled"));
                let get_peers = Method::GetPeers { info_hash: *hash, noseed: false, scrape: false };
                let peers = ask(&socket, *node, get_peers, |response| response.peers().collect::<Vec<_>>());
                assert_eq!(peers.len(), 3);
                let info = fetch(peers[0], *hash);
                assert!(hash.0 == hash::sha1(&info) || hash.0 == hash::sha256(&info)[..20]);
            }
        });
        assert_eq!(stats.metadata_served, 120);
        assert_eq!(stats.accepted, 120);
        assert_eq!((stats.answered, stats.lost), (stats.received, 0));
    }

    #[test]
    fn what_is_announced_is_found_and_a_wrong_token_is_refused() {
        let config = Config { nodes: 20, torrents: 0, no_sampling_pct: 0.0, ..Config::default() };
        with_swarm(config, |bootstrap, _, _| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let (node, info_hash) = (bootstrap[0], Id([0xab; 20]));
            let get_peers = Method::GetPeers { info_hash, noseed: false, scrape: false };
            let token = ask(&socket, node, get_peers, |response| response.token.unwrap().to_vec());
            let announce =
                |token| Method::AnnouncePeer { info_hash, port: 77, implied_port: false, token, seed: true };
            ask(&socket, node, announce(&token), |_| ());
            let peers = ask(&socket, node, get_peers, |response| response.peers().collect::<Vec<_>>());
            assert_eq!(peers, ["127.0.0.1:77".parse().unwrap()]);
            let query = Query { id: Id([9; 20]), read_only: false, want: None, method: announce(b"wrong") };
            let (mut out, mut input) = ([0; 512], [0; 512]);
            let len = krpc::write_query(&mut out, b"t", &query).unwrap();
            socket.send_to(&out[..len], node).unwrap();
            let len = socket.recv(&mut input).unwrap();
            let answer = krpc::decode(&input[..len]).unwrap();
            assert!(matches!(answer.body, Body::Error(krpc::PROTOCOL_ERROR, _)), "{answer:?}");
        });
    }

    #[test]
    fn nodes_ask_who_asked_them_and_announce_what_they_serve() {
        let config = Config { nodes: 50, torrents: 30, asks_per_second: 3, ..Config::default() };
        with_swarm(config, |bootstrap, _, _| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            ask(&socket, bootstrap[0], Method::Ping, |_| ());
            let (mut out, mut input) = ([0; 512], [0; 2_048]);
            for _ in 0..100 {
                let (len, from) = socket.recv_from(&mut input).unwrap();
                let message = krpc::decode(&input[..len]).unwrap();
                let Body::Query(query) = message.body else { panic!("{message:?}") };
                match query.method {
                    Method::GetPeers { .. } => {
                        let reply =
                            krpc::Reply { id: Id([9; 20]), token: Some(b"tok"), ..krpc::Reply::default() };
                        let len = krpc::write_reply(&mut out, message.transaction, from, &reply).unwrap();
                        socket.send_to(&out[..len], from).unwrap();
                    }
                    Method::AnnouncePeer { info_hash, port, token: b"tok", .. } => {
                        let info = fetch(SocketAddr::new(from.ip(), port), info_hash);
                        assert!(info_hash.0 == hash::sha1(&info) || info_hash.0 == hash::sha256(&info)[..20]);
                        return;
                    }
                    other => panic!("{other:?}"),
                }
            }
            panic!("no announce");
        });
    }

    #[test]
    fn a_socket_for_each_node_works_as_well() {
        let config = Config { nodes: 30, torrents: 20, no_sampling_pct: 0.0, ..Config::default() };
        let (sockets, places) = Sockets::bind_each(config.nodes).unwrap();
        let (farm, doors) = Farm::open(&config, 0).unwrap_or_else(|_| panic!("no listeners"));
        let mut swarm = Swarm::assemble(config, sockets, places, farm, doors).unwrap();
        let (bootstrap, hashes) = (swarm.bootstrap(), swarm.infohashes());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| swarm.run(|_| stop.load(Ordering::Relaxed)).unwrap());
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let found = sweep(&socket, &bootstrap);
            stop.store(true, Ordering::Relaxed);
            assert!(hashes.iter().all(|hash| found.contains_key(hash)));
        });
    }

    #[test]
    fn impossible_swarms_are_refused() {
        for (nodes, torrents) in [(0, 1), (u32::MAX, 1), (1, u32::MAX)] {
            let refused = Swarm::start(Config { nodes, torrents, ..Config::default() });
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::InvalidInput);
        }
    }

    /// Asks a hostile peer for piece 0: the hash it shook hands for, the size it claimed, and its
    /// first word on metadata.
    fn provoke(peer: SocketAddr, hash: InfoHash) -> (InfoHash, i64, String) {
        let mut stream = TcpStream::connect(peer).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = [0; 512];
        stream.write_all(&Handshake::new(hash, [7; 20]).encode()).unwrap();
        let ours = ExtendedHandshake { ut_metadata: Some(5), ..ExtendedHandshake::default() };
        let len = ours.encode(&mut out).unwrap();
        stream.write_all(&out[..len]).unwrap();
        let len = Metadata::Request { piece: 0 }.encode(3, &mut out).unwrap();
        stream.write_all(&out[..len]).unwrap();
        let (mut input, mut chunk) = (Vec::new(), vec![0; 65_536]);
        let mut claimed = i64::MIN;
        loop {
            let len = stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "the peer hung up");
            input.extend_from_slice(&chunk[..len]);
            let mut at = peer::HANDSHAKE_LEN;
            let Some(theirs) = Handshake::decode(&input).unwrap() else { continue };
            loop {
                let frame = match peer::frame(&input[at..]) {
                    Ok(Some((frame, len))) => {
                        at += len;
                        frame
                    }
                    Ok(None) => break,
                    Err(error) => return (theirs.info_hash, claimed, format!("{error:?}")),
                };
                match frame {
                    Frame::Extended(0, payload) => {
                        claimed = ExtendedHandshake::decode(payload).unwrap().metadata_size.unwrap();
                    }
                    Frame::Extended(5, payload) => {
                        let word = match Metadata::decode(payload).unwrap() {
                            Metadata::Data { piece, payload, .. } => {
                                format!("data {piece} {}", payload.len())
                            }
                            other => format!("{other:?}"),
                        };
                        return (theirs.info_hash, claimed, word);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn hostile_peers_are_as_hostile_as_they_claim() {
        let config = Config { nodes: 10, torrents: 10, ..Config::default() };
        let size = 2_000.min(peer::PIECE);
        with_swarm(config, |_, reachable, doors| {
            // A torrent of one piece.
            let (hash, info) = reachable
                .iter()
                .map(|hash| (*hash, fetch(doors.peer(0, 0).0, *hash)))
                .find(|(_, info)| (size..peer::PIECE).contains(&info.len()))
                .unwrap();
            let whole = format!("data 0 {}", info.len());
            for (behaviour, addr) in &doors.hostile {
                let mut other = hash;
                other.0[19] ^= 1;
                let len = info.len() as i64;
                let expected = match behaviour {
                    hostile::Behaviour::Claim(claim) => (hash, *claim, "Reject { piece: 0 }"),
                    hostile::Behaviour::Reject => (hash, len, "Reject { piece: 0 }"),
                    hostile::Behaviour::WrongMetadata => (hash, len, whole.as_str()),
                    hostile::Behaviour::WrongPieces => (hash, len, "data 1 16384"),
                    hostile::Behaviour::WrongTorrent => (other, len, whole.as_str()),
                    hostile::Behaviour::Garbage => (hash, i64::MIN, "FrameTooLong"),
                    _ => continue,
                };
                let (hash, claimed, word) = provoke(*addr, hash);
                assert_eq!((hash, claimed, word.as_str()), expected, "{behaviour:?}");
            }
            let close = doors.hostile.iter().find(|(who, _)| *who == hostile::Behaviour::Close).unwrap().1;
            let mut stream = TcpStream::connect(close).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
            let drip = doors.hostile.iter().find(|(who, _)| *who == hostile::Behaviour::Drip).unwrap().1;
            let mut stream = TcpStream::connect(drip).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&Handshake::new(hash, [7; 20]).encode()).unwrap();
            assert_eq!(stream.read(&mut [0; 100]).unwrap(), 1);
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn dead_peers_refuse_or_do_not_answer_and_the_swarm_has_its_share_of_each_kind() {
        let config = Config {
            nodes: 200,
            torrents: 300,
            peers_per_torrent: 4,
            dead_pct: 30.0,
            dead_peers_pct: 50.0,
            hostile_pct: 5.0,
            ..Config::default()
        };
        with_swarm(config, |_, reachable, doors| {
            assert!((270..300).contains(&reachable.len()), "{}", reachable.len());
            assert_eq!(doors.mute.len(), 16);
            let kinds: Vec<_> = (0..300).flat_map(|torrent| (0..4).map(move |nth| (torrent, nth))).collect();
            let dead: Vec<_> = kinds
                .iter()
                .map(|(torrent, nth)| doors.peer(*torrent, *nth))
                .filter(|(_, kind)| *kind == PeerKind::Dead)
                .collect();
            assert!((550..650).contains(&dead.len()), "{}", dead.len());
            let refusing = dead.iter().find(|(addr, _)| !doors.mute.contains(addr)).unwrap().0;
            let refused = TcpStream::connect_timeout(&refusing, PATIENCE);
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
            let silent = TcpStream::connect_timeout(&doors.mute[0], Duration::from_millis(50));
            assert_eq!(silent.err().unwrap().kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_swarm_can_be_moved_to_a_thread() {
        fn is_send<T: Send>() {}
        is_send::<Swarm>();
    }
}
