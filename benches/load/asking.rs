//! The closed loop: so many queries on their way, and each answer is followed by another query.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use dht_hunter::base::{Id, InfoHash, NodeId, Rng};
use dht_hunter::reactor::sys::udp::{self, BATCH_MAX, Received, RecvBatch, SendBatch, UdpOptions};
use dht_hunter::wire::krpc::{self, Body, Message, Method, Query, Response};

use crate::Options;
use crate::check::{Ask, Check, PEERS_PER_TORRENT};
use crate::nodes::{self, DEPTHS, K, Nodes};

/// All nodes and their socket.
pub struct Load {
    poll: Poll,
    events: Events,
    readable: bool,
    recv: RecvBatch,
    asking: Asking,
}

/// What came of one measurement.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Right answers.
    pub answered: u64,
    /// Answers that are not.
    pub wrong: u64,
    /// Queries without an answer.
    pub lost: u64,
    /// How long it took.
    pub took: Duration,
    /// Length of the last query.
    pub query_bytes: usize,
    /// Length of all right answers, on average.
    pub reply_bytes: u64,
    /// A right answer.
    pub reply: Vec<u8>,
    /// A wrong one.
    pub wrong_reply: Vec<u8>,
}

/// Queries on their way and what they are for.
struct Asking {
    to: SocketAddr,
    port: u16,
    parrot: bool,
    socket: UdpSocket,
    send: SendBatch,
    rng: Rng,
    nodes: Nodes,
    check: Check,
    /// The node under test has said who it is.
    met: bool,
    renamed: u32,
    slots: Vec<Slot>,
    /// Who asks next; whose answer it is, where that cannot be told.
    asker: usize,
    answered: usize,
    /// Who announces what, and with which token.
    announces: Vec<Announce>,
    next_announce: usize,
    /// Nodes that were told in answer to probes.
    told: BTreeSet<NodeId>,
    run: Run,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    purpose: Purpose,
    serial: u16,
    sent: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Nothing is on its way.
    Idle,
    /// A query that counts.
    Measured(Ask),
    /// For the token of an announce.
    Token(usize),
    /// For what stands in the table at this depth.
    Probe(u32),
}

struct Announce {
    node: usize,
    hash: InfoHash,
    token: Option<Box<[u8]>>,
}

impl Load {
    /// Opens the socket.
    pub fn new(options: &Options) -> Self {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), options.port);
        let mut socket = udp::bind(any, UdpOptions { pktinfo: true, ..UdpOptions::default() }).unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
        let asking = Asking::new(options, socket);
        let (events, recv) = (Events::with_capacity(4), RecvBatch::new(BATCH_MAX));
        Self { poll, events, readable: true, recv, asking }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.asking.nodes.len()
    }

    /// Waits for the node under test to come up, and learns its id. Panics if it does not.
    pub fn meet(&mut self) {
        let until = Instant::now() + MEET_WITHIN;
        while !self.asking.met {
            assert!(Instant::now() < until, "nobody answers at {}", self.asking.to);
            self.asking.issue(0, Purpose::Probe(0));
            self.asking.flush();
            self.turn(Duration::from_millis(200), None);
        }
    }

    /// Lets the node under test learn our nodes until all of its buckets that have nodes are full,
    /// or for a while: how many are.
    pub fn fill(&mut self) -> u32 {
        let until = Instant::now() + FILL_WITHIN;
        loop {
            // Who asks is asked in turn, and so comes into the table.
            let rest = Instant::now() + PROBE_EVERY;
            while Instant::now() < rest {
                for slot in 0..8.min(self.asking.slots.len()) {
                    let depth = self.asking.rng.below(u64::from(DEPTHS)) as u32;
                    self.asking.issue(slot, Purpose::Probe(depth));
                }
                self.asking.flush();
                self.turn(Duration::from_millis(20), None);
            }
            let full = (0..DEPTHS).filter(|depth| self.told_at(*depth) >= K).count() as u32;
            if full == DEPTHS || Instant::now() > until {
                return full;
            }
        }
    }

    /// Gets a token for every announce, and announces. Panics if tokens are refused for long.
    pub fn announce_all(&mut self) {
        let until = Instant::now() + FILL_WITHIN;
        loop {
            let announces = self.asking.announces.iter().enumerate();
            let missing: Vec<_> =
                announces.filter(|(_, it)| it.token.is_none()).map(|(at, _)| Purpose::Token(at)).collect();
            if missing.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "{} announces have no token", missing.len());
            self.issue_all(missing);
        }
        self.issue_all(vec![Purpose::Measured(Ask::Announce); self.asking.announces.len()]);
    }

    /// Only answers, for a while.
    pub fn rest(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(Duration::from_millis(50), None);
        }
    }

    /// Asks for so long, as many at once as there are slots.
    pub fn run(&mut self, ask: Ask, time: Duration) -> Run {
        (self.asking.run, self.asking.bytes) = (Run::default(), 0);
        let began = Instant::now();
        let (mut now, mut checked) = (began, began);
        for slot in 0..self.asking.slots.len() {
            self.asking.issue(slot, Purpose::Measured(ask));
        }
        self.asking.flush();
        while now.duration_since(began) < time {
            self.turn(Duration::from_millis(50), Some(ask));
            now = Instant::now();
            if now.duration_since(checked) > LOST_AFTER {
                checked = now;
                self.asking.replace_lost(ask, now);
            }
        }
        let mut run = std::mem::take(&mut self.asking.run);
        run.took = now.duration_since(began);
        run.reply_bytes = self.asking.bytes / run.answered.max(1);
        self.settle();
        run
    }

    /// As many different nodes as are told at this distance.
    fn told_at(&mut self, depth: u32) -> usize {
        self.asking.told.clear();
        self.issue_all(vec![Purpose::Probe(depth); 4]);
        self.asking.told.len()
    }

    /// Sends these queries, a window at a time.
    fn issue_all(&mut self, purposes: Vec<Purpose>) {
        for window in purposes.chunks(self.asking.slots.len()) {
            for (slot, purpose) in window.iter().enumerate() {
                self.asking.issue(slot, *purpose);
            }
            self.asking.flush();
            self.settle();
        }
    }

    /// Waits for what is on its way.
    fn settle(&mut self) {
        let until = Instant::now() + LOST_AFTER;
        while self.asking.slots.iter().any(|slot| slot.purpose != Purpose::Idle) {
            if Instant::now() > until {
                self.asking.slots.iter_mut().for_each(|slot| slot.purpose = Purpose::Idle);
            }
            self.turn(Duration::from_millis(10), None);
        }
    }

    /// Takes a batch of what came; with `again`, another query follows each answer.
    fn turn(&mut self, timeout: Duration, again: Option<Ask>) {
        if !self.readable {
            self.poll.poll(&mut self.events, Some(timeout)).unwrap();
            self.readable = !self.events.is_empty();
        }
        match self.recv.recv(&self.asking.socket) {
            Ok(count) => (0..count).for_each(|at| self.asking.take(self.recv.message(at), again)),
            Err(_) => self.readable = false,
        }
        self.asking.flush();
    }
}

impl Asking {
    fn new(options: &Options, socket: UdpSocket) -> Self {
        let port = socket.local_addr().unwrap().port();
        let mut rng = Rng::seeded(SEED);
        let own = Id::random(&mut rng);
        let mut nodes = Nodes::new(port);
        nodes.surround(own, &mut rng);
        let mut hashes: Vec<_> = (0..TORRENTS).map(|_| Id::random(&mut rng)).collect();
        hashes.sort_unstable();
        let peers = hashes.iter().flat_map(|hash| std::iter::repeat_n(*hash, PEERS_PER_TORRENT)).enumerate();
        // 4,096 is not a multiple of 1,001: each torrent has other peers, and none twice.
        let announces =
            peers.map(|(at, hash)| Announce { node: at * 1_001 % nodes.len(), hash, token: None });
        Self {
            to: options.to,
            port,
            parrot: options.parrot,
            socket,
            send: SendBatch::new(BATCH_MAX),
            rng,
            announces: announces.collect(),
            nodes,
            check: Check { own, hashes },
            met: false,
            renamed: 0,
            slots: vec![
                Slot { purpose: Purpose::Idle, serial: 0, sent: Instant::now() };
                options.outstanding
            ],
            asker: 0,
            answered: 0,
            next_announce: 0,
            told: BTreeSet::new(),
            run: Run::default(),
            bytes: 0,
        }
    }

    /// Sends a query from the next node.
    fn issue(&mut self, slot: usize, purpose: Purpose) {
        if self.send.is_full() {
            self.flush();
        }
        self.asker = (self.asker + 1) % self.nodes.len();
        let mut node = self.asker;
        let method = match purpose {
            Purpose::Idle => return,
            Purpose::Probe(depth) => {
                Method::FindNode { target: self.check.own.random_at_depth(depth, &mut self.rng) }
            }
            Purpose::Token(at) => {
                node = self.announces[at].node;
                Method::GetPeers { info_hash: self.announces[at].hash, noseed: false, scrape: false }
            }
            Purpose::Measured(Ask::FindNode) => Method::FindNode { target: Id::random(&mut self.rng) },
            Purpose::Measured(Ask::Sample) => Method::SampleInfohashes { target: Id::random(&mut self.rng) },
            Purpose::Measured(Ask::GetPeers) => {
                let info_hash = self.check.hashes[self.rng.index(TORRENTS)];
                Method::GetPeers { info_hash, noseed: false, scrape: false }
            }
            Purpose::Measured(Ask::Announce) => {
                let announce = &self.announces[self.next_announce];
                self.next_announce = (self.next_announce + 1) % self.announces.len();
                node = announce.node;
                let token = announce.token.as_deref().unwrap_or(b"none");
                let (info_hash, port) = (announce.hash, self.port);
                Method::AnnouncePeer { info_hash, port, implied_port: false, token, seed: false }
            }
        };
        let query = Query { id: self.nodes.id(node), read_only: false, want: None, method };
        let it = &mut self.slots[slot];
        *it = Slot { purpose, serial: it.serial.wrapping_add(1), sent: Instant::now() };
        let transaction = (slot as u32) << 16 | u32::from(it.serial);
        let out = self.send.buffer().expect("it was flushed when full");
        let len = krpc::write_query(out, &transaction.to_be_bytes(), &query).expect("queries are short");
        self.run.query_bytes = len;
        self.send.commit(self.to, Some(nodes::ip(node)), len);
    }

    fn take(&mut self, message: Received<'_>, again: Option<Ask>) {
        if message.remote != self.to {
            return;
        }
        let Ok(decoded) = krpc::decode(message.data) else {
            self.run.wrong += 1;
            return;
        };
        match decoded.body {
            // `mainline` asks under other ids than its own.
            Body::Query(query) => self.answer(message.local, decoded.transaction, &query),
            Body::Response(response) => {
                self.hear(response.id);
                self.on_answer(message.data, &decoded, Some(response), again);
            }
            Body::Error(..) => self.on_answer(message.data, &decoded, None, again),
        }
    }

    /// Learns who the node under test is, and has nodes around it. It may change its id once it
    /// knows its address (BEP 42).
    fn hear(&mut self, own: NodeId) {
        if self.parrot || (self.met && self.check.own == own) || self.renamed >= RENAMED_MAX {
            return;
        }
        self.renamed += 1;
        (self.met, self.check.own) = (true, own);
        self.nodes.surround(own, &mut self.rng);
    }

    fn answer(&mut self, local: Option<IpAddr>, transaction: &[u8], query: &Query<'_>) {
        let Some((local, node)) = local.and_then(|local| Some((local, self.nodes.at(local)?))) else {
            return;
        };
        if self.send.is_full() {
            self.flush();
        }
        let out = self.send.buffer().expect("it was flushed when full");
        let len = self.nodes.answer(node, self.to, transaction, query, out);
        if len > 0 {
            self.send.commit(self.to, Some(local), len);
        }
    }

    fn on_answer(
        &mut self,
        data: &[u8],
        message: &Message<'_>,
        response: Option<Response<'_>>,
        again: Option<Ask>,
    ) {
        let Some(slot) = self.slot_of(message.transaction) else { return };
        let purpose = std::mem::replace(&mut self.slots[slot].purpose, Purpose::Idle);
        match (purpose, response) {
            (Purpose::Token(at), Some(response)) => {
                self.announces[at].token = response.token.map(Box::from);
            }
            (Purpose::Probe(depth), Some(response)) => {
                let own = self.check.own;
                let there = response.nodes().map(|node| node.id).filter(|id| id.common_bits(own) == depth);
                self.told.extend(there);
            }
            (Purpose::Measured(ask), response) => {
                let right = |response| self.parrot || self.check.is_right(ask, response, &self.nodes);
                if response.is_some_and(right) {
                    self.run.answered += 1;
                    self.bytes += data.len() as u64;
                    if self.run.reply.is_empty() {
                        self.run.reply = data.to_vec();
                    }
                } else {
                    self.run.wrong += 1;
                    self.run.wrong_reply = data.to_vec();
                }
            }
            (Purpose::Idle | Purpose::Token(_) | Purpose::Probe(_), _) => {}
        }
        if let Some(ask) = again {
            self.issue(slot, Purpose::Measured(ask));
        }
    }

    /// The query that this answers, if it is still waited for.
    fn slot_of(&mut self, transaction: &[u8]) -> Option<usize> {
        if self.parrot {
            self.answered = (self.answered + 1) % self.slots.len();
            return Some(self.answered);
        }
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let slot = self.slots.get((transaction >> 16) as usize)?;
        let waits = slot.purpose != Purpose::Idle && u32::from(slot.serial) == transaction & 0xffff;
        waits.then_some((transaction >> 16) as usize)
    }

    fn replace_lost(&mut self, ask: Ask, now: Instant) {
        for slot in 0..self.slots.len() {
            if now.duration_since(self.slots[slot].sent) > LOST_AFTER {
                self.run.lost += 1;
                self.issue(slot, Purpose::Measured(ask));
            }
        }
    }

    fn flush(&mut self) {
        while !self.send.is_empty() {
            self.send.flush(&self.socket).unwrap();
        }
    }
}

const SEED: u64 = 7;
/// Half of what libtorrent stores at most (`dht_max_torrents`).
const TORRENTS: usize = 1_000;
const RENAMED_MAX: u32 = 4;
const MEET_WITHIN: Duration = Duration::from_secs(20);
const FILL_WITHIN: Duration = Duration::from_secs(45);
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// On loopback an answer takes a millisecond or two.
const LOST_AFTER: Duration = Duration::from_millis(500);
