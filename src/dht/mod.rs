//! A DHT node on every listen address (BEP 5, 32, 33, 42, 43, 45, 51), and the crawl that walks
//! the network from them. No socket, no clock: datagrams, deadlines and randomness are handed in.
//!
//! [`Dht::on_datagram`] answers queries directly and takes in replies; [`Dht::poll_transmit`]
//! says what to send next: commands and lookups first, then the routing table's care, then the
//! sweep. What was learned comes out of [`Dht::poll_event`].

mod answers;
mod census;
mod client;
mod directory;
mod index;
mod lookup;
mod server;
mod sweep;
mod transactions;

pub mod bloom;
pub mod peers;
pub mod security;
pub mod table;
pub mod tokens;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::{
    Cx, Flow, Id, InfoHash, Instant, Limiter, NodeId, Path, Rng, Scope, Slots, SocketId, Token, TokenBucket,
    UnixTime,
};
use crate::model::SavedNode;
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::{self, Body, Reject};

use answers::{HeldAnswers, Rank};
use census::Census;
pub use census::Estimate;
use lookup::Lookup;
pub use lookup::{Goal, User};
use peers::Peers;
use security::Voter;
use sweep::Sweep;
use table::{Rules, Table};
use tokens::Tokens;
use transactions::{Purpose, Transactions};

/// How the DHT is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// One node for each, in the order of their sockets. The port is not needed here.
    pub listen: Vec<IpAddr>,
    /// BEP 43: ask, but do not serve.
    pub read_only: bool,
    /// Walk the keyspace.
    pub sweep: bool,
    /// Learn from the queries of others.
    pub passive: bool,
    /// Sweep queries on their way at once.
    pub sweep_window: usize,
    /// Nodes kept in the directory of each family.
    pub nodes_max: usize,
    /// Answers per remote address: per second (0: no limit) and at once.
    pub answers: (u32, u32),
}

/// What others need to know about.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A node has this infohash (BEP 51): it is the first to be asked for peers.
    Sampled(InfoHash, SocketAddr),
    /// A node asked us for peers of this, from this address, which may be forged.
    Wanted(InfoHash, SocketAddr),
    /// A peer announced itself to us.
    Announced(InfoHash, SocketAddr),
    /// Peers that a lookup found.
    Peers(User, InfoHash, Vec<SocketAddr>),
    /// A node answered a command's query: node, common bits with the target, round trip.
    Hop(u64, NodeAddr, u32, Duration),
    /// A command's announce was accepted.
    Accepted(u64, SocketAddr),
    /// A lookup for this target is over: nodes that answered, peers found, BEP 33 estimate.
    Done(User, Id, u32, u32, Option<(f64, f64)>),
    /// A command's ping was not answered.
    NoAnswer(u64),
    /// A node answered a query of this command's with an error: its code and words.
    Refused(u64, i64, Box<str>),
    /// The id on a socket changed (BEP 42) and wants saving.
    Renamed(SocketId, NodeId),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A query times out.
    Query,
    /// A bucket will have refilled.
    Rate,
    /// A node may be asked again.
    Sweep,
    /// Secrets and tables.
    Upkeep,
}

/// Counts since the start, and gauges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Datagrams handed in.
    pub received: u64,
    /// Queries and replies that went out.
    pub sent: u64,
    /// Queries of others that were answered.
    pub answered: u64,
    /// Queries of ours that went out.
    pub asked: u64,
    /// Replies of others that fitted a query of ours.
    pub replies: u64,
    /// Queries of ours that were answered with an error.
    pub errors: u64,
    /// Queries of ours that timed out.
    pub timeouts: u64,
    /// Not KRPC, or from an address that is never contacted.
    pub dropped_malformed: u64,
    /// From an address that asks too much.
    pub dropped_limited: u64,
    /// Answers that wait for the rate now.
    pub held: u64,
    /// Replies that no query of ours waits for, and echoes of our own packets.
    pub dropped_stray: u64,
    /// Would have opened a flow too many.
    pub dropped_flows: u64,
    /// Infohashes in samples, with repetition.
    pub sampled: u64,
    /// What held the last packet back.
    pub limited_by: Option<Limit>,
}

/// A limit that holds packets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Datagrams or bytes per second.
    Rate,
    /// Live flows.
    Flows,
    /// Sweep queries on their way.
    Window,
}

/// All DHT nodes of the engine.
pub struct Dht {
    config: Config,
    nodes: Vec<Node>,
    sweep: Sweep,
    /// By family: IPv4, IPv6.
    census: [Census; 2],
    open: Transactions,
    lookups: Slots<Lookup>,
    /// Lookups that may have somebody to ask.
    ready: VecDeque<Token>,
    /// Single queries that wait to be sent: routing table, commands, announces.
    single: VecDeque<Single>,
    /// Lookups whose announces are on their way, and how many of them.
    announcing: Vec<(Lookup, usize)>,
    limiter: Limiter,
    /// Announces of infohashes from one address that are believed at once.
    announcers: Limiter,
    /// What all answers together may take of the packets per second.
    answering: TokenBucket,
    /// Answers that wait for that, and when the next may leave.
    held: HeldAnswers,
    held_until: Option<Instant>,
    /// Nodes that are taken up only because they asked us something.
    strangers: TokenBucket,
    tokens: Tokens,
    peers: Peers,
    events: VecDeque<Event>,
    hosts: Vec<SocketAddr>,
    /// When hosts are asked next, if nobody else is known.
    bootstrap_at: Instant,
    upkeep_at: Instant,
    /// Sending is held back until then.
    blocked_until: Option<Instant>,
    /// Packets of lookups since the last one of the sweep.
    since_sweep: u8,
    /// When a node last answered us, and queries that were not answered since.
    heard_at: Instant,
    unheard: u32,
    /// Counters and gauges.
    pub stats: Stats,
}

/// One node, on one socket.
struct Node {
    id: NodeId,
    listen: IpAddr,
    table: Table,
    voter: Voter,
    /// Our address as it is seen from outside.
    external: Option<IpAddr>,
}

/// A query outside of lookups and sweep.
struct Single {
    socket: SocketId,
    to: SocketAddr,
    id: Option<NodeId>,
    kind: SingleKind,
}

enum SingleKind {
    Announce { user: u64, info_hash: InfoHash, port: u16, token: Box<[u8]> },
    Check,
    Ping(u64),
}

impl Dht {
    /// A node for every listen address, under fresh random ids.
    pub fn new(config: Config, now: Instant, rng: &mut Rng) -> Self {
        let node = |listen: &IpAddr, rng: &mut Rng| {
            let id = Id::random(rng);
            // On one machine or one private network many nodes share an address.
            let one_per_ip = Scope::of(*listen) != Scope::Loopback;
            let rules = Rules { one_per_ip, ..Rules::new(listen.is_ipv6()) };
            Node {
                id,
                listen: *listen,
                table: Table::new(id, rules, rng),
                voter: Voter::new(),
                external: None,
            }
        };
        Self {
            nodes: config.listen.iter().map(|listen| node(listen, rng)).collect(),
            sweep: Sweep::new(config.nodes_max, rng),
            census: Default::default(),
            open: Transactions::new(),
            lookups: Slots::default(),
            ready: VecDeque::new(),
            single: VecDeque::new(),
            announcing: Vec::new(),
            limiter: Limiter::new(config.answers.0, config.answers.1, rng),
            announcers: Limiter::new(ANNOUNCES_PER_SEC, ANNOUNCES_BURST, rng),
            answering: TokenBucket::unlimited(),
            held: HeldAnswers::default(),
            held_until: None,
            strangers: TokenBucket::new(STRANGERS_PER_SEC, STRANGERS_BURST),
            tokens: Tokens::new(now, rng),
            peers: Peers::new(peers::Limits::default(), rng),
            events: VecDeque::new(),
            hosts: Vec::new(),
            bootstrap_at: now,
            upkeep_at: now + UPKEEP_EVERY,
            blocked_until: None,
            since_sweep: 0,
            heard_at: now,
            unheard: 0,
            stats: Stats::default(),
            config,
        }
    }

    /// The id on a socket.
    pub fn id(&self, socket: SocketId) -> Option<NodeId> {
        self.nodes.get(usize::from(socket.0)).map(|node| node.id)
    }

    /// Takes up an id from an earlier run, before anything is sent.
    pub fn set_id(&mut self, socket: SocketId, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(usize::from(socket.0)) {
            node.rename(id);
        }
    }

    /// Nodes from an earlier run: with them no bootstrap host is needed.
    pub fn restore(&mut self, saved: &[SavedNode], now: Instant, unix: UnixTime) {
        for node in saved {
            let wait_secs = node.sample_after.secs_since(unix).min(u64::from(krpc::INTERVAL_MAX)) as u32;
            let addr = NodeAddr { id: node.id, addr: node.addr };
            if self.nodes.iter().any(|own| Scope::may_contact(own.listen, node.addr)) {
                let ago = i64::try_from(unix.secs_since(node.answered)).unwrap_or(i64::MAX);
                self.sweep.restore(addr, i64::from(now.secs()).saturating_sub(ago), now.secs() + wait_secs);
            }
        }
        for socket in self.sockets() {
            let own = self.nodes[usize::from(socket.0)].id;
            let mut near: Vec<_> =
                saved.iter().map(|node| NodeAddr { id: node.id, addr: node.addr }).collect();
            near.sort_by_key(|node| node.id.distance(own));
            let lookup = Lookup::new(own, Goal::Nodes, User::Upkeep, socket);
            self.start(lookup, near.into_iter().take(REJOIN_FROM));
        }
    }

    /// The nodes that answered last, for the next start. What was heard of after `settled` may not
    /// outlive a crash: whoever told it is then asked again without waiting for its interval.
    pub fn saved(&self, count: usize, now: Instant, unix: UnixTime, settled: Instant) -> Vec<SavedNode> {
        let at = |secs: i64| {
            let zero = i64::try_from(unix.0).unwrap_or(i64::MAX).saturating_sub(i64::from(now.secs()));
            UnixTime(zero.saturating_add(secs).max(0).unsigned_abs())
        };
        let freshest = self.sweep.freshest(count).into_iter();
        let saved = freshest.map(|(node, answered, due)| SavedNode {
            id: node.id,
            addr: node.addr,
            answered: at(answered),
            sample_after: if answered < i64::from(settled.secs()) { at(i64::from(due)) } else { UnixTime(0) },
        });
        saved.collect()
    }

    /// Hosts to ask when nobody else is known; asked at once.
    pub fn bootstrap(&mut self, hosts: &[SocketAddr], now: Instant) {
        let new = hosts.iter().filter(|host| !self.hosts.contains(host)).take(HOSTS_MAX);
        let new: Vec<_> = new.copied().collect();
        self.hosts.extend(new);
        self.hosts.truncate(HOSTS_MAX);
        self.bootstrap_at = now;
        self.join(now);
    }

    /// Pings one address from the first socket of its family. False if there is none, or the
    /// address is one that is never contacted.
    pub fn ping(&mut self, user: u64, to: SocketAddr) -> bool {
        let Some(socket) = self.socket_for(to) else { return false };
        self.queue_single(Single { socket, to, id: None, kind: SingleKind::Ping(user) });
        true
    }

    /// Starts a lookup on every family where there is somebody to ask; how many were started.
    /// `first` are asked before others. For [`User::Metadata`] one [`Event::Done`] follows, for a
    /// command one for each. While a table is as good as empty, commands begin at the hosts.
    pub fn look_up(
        &mut self,
        target: Id,
        goal: Goal,
        user: User,
        first: &[SocketAddr],
        now: Instant,
    ) -> usize {
        let mut families = Vec::with_capacity(2);
        for socket in self.sockets() {
            let node = &self.nodes[usize::from(socket.0)];
            let family = node.listen.is_ipv4();
            if families.contains(&family) {
                continue;
            }
            // A crawl's many lookups would overrun the hosts; it joins by itself.
            let from_hosts = self.config.read_only || matches!(user, User::Command(_));
            let lonely = from_hosts && goal != Goal::PeersAt && node.table.len() < LONELY;
            let hosts = self.hosts.iter().filter(|_| lonely);
            let first = first.iter().chain(hosts).filter(|addr| Scope::may_contact(node.listen, **addr));
            let first: Vec<_> = first.copied().collect();
            let near = if goal == Goal::PeersAt { Vec::new() } else { self.near(socket, target, now) };
            if near.is_empty() && first.is_empty() {
                continue;
            }
            families.push(family);
            let mut lookup = Lookup::new(target, goal, user, socket);
            first.into_iter().for_each(|host| lookup.offer_host(host));
            self.start(lookup, near.into_iter());
        }
        families.len()
    }

    /// Lookups that are under way.
    pub fn lookups(&self) -> usize {
        self.lookups.len()
    }

    /// True if nobody has answered for a while, however many were asked: the fault is ours, and
    /// silence says nothing about those who were asked.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        self.unheard >= CUT_OFF_QUERIES && now.since(self.heard_at) > CUT_OFF_AFTER
    }

    /// Torrents and peers that were announced to us.
    pub fn announced(&self) -> (usize, usize) {
        (self.peers.len(), self.peers.peers())
    }

    /// Queries on their way.
    pub fn queries(&self) -> usize {
        self.open.len()
    }

    /// How many queries of the sweep may be on their way at once.
    pub fn set_window(&mut self, window: usize) {
        self.config.sweep_window = window;
    }

    /// Pauses or resumes the walk.
    pub fn set_sweep(&mut self, on: bool) {
        self.config.sweep = on;
    }

    /// Changes the limits on what is answered.
    pub fn set_answers(&mut self, rate: u32, burst: u32) {
        self.limiter.set_rate(rate, burst);
    }

    /// Nodes that have answered and were not lost since.
    pub fn nodes_verified(&self) -> usize {
        self.sweep.verified()
    }

    /// Nodes known, by hearsay too.
    pub fn nodes_known(&self) -> usize {
        self.sweep.known()
    }

    /// How large the network is estimated to be, and how much of it is known.
    pub fn estimate(&self) -> Option<Estimate> {
        let families = self.census.iter().zip([true, false]);
        let each = families.filter_map(|(census, v4)| census.estimate(self.sweep.verified_of(v4)));
        census::sum(each)
    }

    /// Nodes in the routing tables.
    pub fn table_len(&self) -> usize {
        self.nodes.iter().map(|node| node.table.len()).sum()
    }

    /// Completed walks around the keyspace.
    pub fn passes(&self) -> u64 {
        self.sweep.passes()
    }

    /// Our address on a socket as others see it (BEP 42).
    pub fn external(&self, socket: SocketId) -> Option<IpAddr> {
        self.nodes.get(usize::from(socket.0)).and_then(|node| node.external)
    }

    /// A datagram arrived; its direct reply is written into `reply` and its length returned.
    pub fn on_datagram(&mut self, cx: &mut Cx<'_>, path: Path, data: &[u8], reply: &mut [u8]) -> usize {
        self.stats.received += 1;
        let Some(node) = self.nodes.get(usize::from(path.socket.0)) else { return 0 };
        if !Scope::may_contact(node.listen, path.remote) {
            self.stats.dropped_malformed += 1;
            return 0;
        }
        if !cx.buckets.flows.receive(cx.now, Flow::Udp(path.socket, path.remote)) {
            self.stats.dropped_flows += 1;
            return 0;
        }
        let mut rank = Rank::Other;
        let len = match krpc::decode(data) {
            Ok(message) => match message.body {
                Body::Query(query) => {
                    rank = self.rank(query.method, path.remote, cx.now);
                    self.on_query(cx, path, &message, (query, rank), reply)
                }
                Body::Response(response) => {
                    self.on_response(cx, path, &message, response);
                    0
                }
                Body::Error(..) => {
                    self.on_error(cx, path, &message);
                    0
                }
            },
            Err(Reject::Answer { transaction, code, text }) if !self.config.read_only => {
                self.refuse(cx, path, transaction, code, text, reply)
            }
            Err(_) => {
                self.stats.dropped_malformed += 1;
                0
            }
        };
        if len == 0 {
            return 0;
        }
        // In their turn: what came before waits, too.
        if self.held.has_turn_before(rank) || !self.may_answer(cx, len) {
            self.stats.dropped_limited += u64::from(!self.held.push(path, &reply[..len], rank, cx.now));
            self.stats.held = self.held.len() as u64;
            return 0;
        }
        self.stats.sent += 1;
        self.stats.answered += 1;
        len
    }

    /// What was learned since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Dht::on_deadline`] wants to be called next.
    pub fn next_deadline(&self, now: Instant) -> Option<(Instant, Why)> {
        let query = self.open.next_deadline().map(|at| (at, Why::Query));
        let rate = self.blocked_until.into_iter().chain(self.held_until).min().map(|at| (at, Why::Rate));
        let sweep = self.next_turn_at(now).map(|at| (at, Why::Sweep));
        let census = self.families().filter_map(|v4| self.census[usize::from(!v4)].next_deadline()).min();
        let census = census.filter(|_| self.config.sweep).map(|at| (at, Why::Upkeep));
        let all = [query, rate, sweep, census, Some((self.upkeep_at, Why::Upkeep))];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Ends queries whose time is over, and takes care of tables and secrets.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>) {
        while let Some(query) = self.open.expire(cx.now) {
            self.stats.timeouts += 1;
            self.unheard = self.unheard.saturating_add(1);
            self.on_silence(cx, &query);
        }
        self.blocked_until = self.blocked_until.filter(|at| *at > cx.now);
        self.take_census(cx);
        self.held_until = self.held_until.filter(|at| *at > cx.now);
        if self.upkeep_at <= cx.now {
            self.upkeep_at = cx.now + UPKEEP_EVERY;
            self.upkeep(cx);
        }
    }

    /// Panics if anything does not fit together. For tests and the simulator.
    pub fn check_invariants(&self) {
        self.sweep.check_invariants();
        self.nodes.iter().for_each(|node| node.table.check_invariants());
        self.peers.check_invariants();
        let asked: usize = self.lookups.iter().map(|(_, lookup)| lookup.open).sum();
        let of_lookups = |purpose| match purpose {
            Purpose::Lookup(token) | Purpose::LookupNodes(token) => self.lookups.get(token).is_some(),
            _ => false,
        };
        assert_eq!(asked, self.open.count(of_lookups), "queries of lookups");
        let of_sweep = |purpose| matches!(purpose, Purpose::Sweep { .. });
        assert_eq!(self.sweep.open(), self.open.count(of_sweep), "queries of the sweep");
        let announces = self.announcing.iter().map(|(_, left)| left).sum::<usize>();
        let of_announces = |purpose| matches!(purpose, Purpose::Announce(_));
        let waiting = self.single.iter().filter(|it| matches!(it.kind, SingleKind::Announce { .. })).count();
        assert_eq!(announces, waiting + self.open.count(of_announces), "announces");
        assert!(self.single.len() <= SINGLE_MAX && self.events.len() <= client::EVENTS_MAX);
    }

    fn upkeep(&mut self, cx: &mut Cx<'_>) {
        if self.tokens.next_deadline() <= cx.now {
            self.tokens.on_deadline(cx.now, cx.rng);
        }
        self.peers.on_deadline(cx.now);
        self.join(cx.now);
        for socket in self.sockets() {
            let node = &mut self.nodes[usize::from(socket.0)];
            let stale = node.table.bucket_to_refresh(cx.now, cx.rng);
            let questionable = node.table.questionable(cx.now);
            if let Some(target) = stale {
                let near = self.near(socket, target, cx.now);
                self.start(Lookup::new(target, Goal::Nodes, User::Upkeep, socket), near.into_iter());
            }
            if let Some(node) = questionable {
                let check = Single { socket, to: node.addr, id: Some(node.id), kind: SingleKind::Check };
                self.queue_single(check);
            }
        }
    }

    /// Begins a lookup of a random place in each family, if the last one there is over and packets
    /// may be spent on it.
    fn take_census(&mut self, cx: &mut Cx<'_>) {
        if !self.config.sweep {
            return;
        }
        let free = if cx.buckets.flows.is_limited() { CENSUS_FREE_LIMITED } else { CENSUS_FREE };
        for v4 in [true, false] {
            let own =
                self.sockets().filter(|socket| self.nodes[usize::from(socket.0)].listen.is_ipv4() == v4);
            let own: Vec<SocketId> = own.collect();
            let census = &self.census[usize::from(!v4)];
            if own.is_empty() || census.next_deadline().is_none_or(|at| at > cx.now) {
                continue;
            }
            let may = census.is_due(cx.now, self.stats.sent, free) && !self.is_cut_off(cx.now);
            let (socket, target) = (own[cx.rng.index(own.len())], Id::random(cx.rng));
            let near = if may { self.near(socket, target, cx.now) } else { Vec::new() };
            if near.is_empty() {
                self.census[usize::from(!v4)].postpone(cx.now);
                continue;
            }
            let mut lookup = Lookup::new(target, Goal::Nodes, User::Census, socket);
            lookup.verified = self.sweep.verified_of(v4);
            near.into_iter().for_each(|node| lookup.offer_met(node, self.sweep.is_verified(node.addr)));
            self.census[usize::from(!v4)].begin();
            self.start(lookup, std::iter::empty());
        }
    }

    /// The address families that are listened on; true for IPv4.
    fn families(&self) -> impl Iterator<Item = bool> + '_ {
        let has = |v4: &bool| self.nodes.iter().any(|node| node.listen.is_ipv4() == *v4);
        [true, false].into_iter().filter(has)
    }

    /// Looks up our own ids from the bootstrap hosts while the tables are empty.
    fn join(&mut self, now: Instant) {
        if self.hosts.is_empty() || self.bootstrap_at > now {
            return;
        }
        self.bootstrap_at = now + BOOTSTRAP_EVERY;
        for socket in self.sockets() {
            let node = &self.nodes[usize::from(socket.0)];
            if node.table.len() >= LONELY {
                continue;
            }
            let mut lookup = Lookup::new(node.id, Goal::Nodes, User::Upkeep, socket);
            let hosts = self.hosts.iter().filter(|host| Scope::may_contact(node.listen, **host));
            hosts.for_each(|host| lookup.offer_host(*host));
            self.start(lookup, std::iter::empty());
        }
    }

    /// The closest nodes in the table of a socket.
    fn near(&self, socket: SocketId, target: Id, now: Instant) -> Vec<NodeAddr> {
        let node = &self.nodes[usize::from(socket.0)];
        let mut near = [NodeAddr { id: target, addr: SocketAddr::new(node.listen, 0) }; table::K];
        let count = node.table.closest(target, &mut near, now);
        near[..count].to_vec()
    }

    fn start(&mut self, mut lookup: Lookup, from: impl Iterator<Item = NodeAddr>) {
        let listen = self.nodes[usize::from(lookup.socket.0)].listen;
        from.filter(|node| Scope::may_contact(listen, node.addr)).for_each(|node| lookup.offer(node));
        let token = self.lookups.insert(lookup);
        self.ready.push_back(token);
    }

    fn queue_single(&mut self, single: Single) {
        if self.single.len() < SINGLE_MAX {
            self.single.push_back(single);
            return;
        }
        match single.kind {
            SingleKind::Announce { user, .. } => self.announce_ended(user),
            SingleKind::Ping(user) => self.events.push_back(Event::NoAnswer(user)),
            SingleKind::Check => {}
        }
    }

    fn sockets(&self) -> impl Iterator<Item = SocketId> + use<> {
        (0..self.nodes.len() as u16).map(SocketId)
    }

    /// Sweep queries that may be on their way at once.
    fn window(&self, now: Instant) -> usize {
        if self.is_cut_off(now) { CUT_OFF_WINDOW } else { self.config.sweep_window }
    }

    fn socket_for(&self, to: SocketAddr) -> Option<SocketId> {
        let may = |socket: &SocketId| Scope::may_contact(self.nodes[usize::from(socket.0)].listen, to);
        self.sockets().find(may)
    }

    /// Whether any answer may leave now, or wait.
    fn may_answer_any(&self, cx: &Cx<'_>, rank: Rank) -> bool {
        let free = self.answering.available(cx.now) > 0 && cx.buckets.packets_out.available(cx.now) > 0;
        free || self.held.has_room(rank)
    }

    /// The next answer that was held back, if it may leave now; if not, when to try again is noted.
    fn send_held(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        self.held_until = None;
        let (flow, len) = loop {
            let (next, expired) = self.held.peek(cx.now);
            self.stats.dropped_limited += expired;
            self.stats.held = self.held.len() as u64;
            let (path, len) = next?;
            let flow = Flow::Udp(path.socket, path.remote);
            if cx.buckets.flows.is_warm(cx.now, flow) {
                break (flow, len);
            }
            // Its flow has made room for others meanwhile.
            self.held.skip();
            self.stats.dropped_flows += 1;
        };
        if !self.may_answer(cx, len) {
            let (packets, bytes) = (&cx.buckets.packets_out, &cx.buckets.bytes_out);
            let ready = packets.ready_at(cx.now, 1).max(bytes.ready_at(cx.now, len as u64));
            self.held_until = Some(ready.max(self.answering.ready_at(cx.now, 1)).max(cx.now + HELD_RETRY));
            return None;
        }
        cx.buckets.flows.send(cx.now, flow);
        self.stats.sent += 1;
        self.stats.answered += 1;
        self.stats.held -= 1;
        self.held.pop(out)
    }

    /// Whether an answer of this length is within the limits. A flood of queries gets at most half
    /// of what we may send, so that it does not end the crawl.
    fn may_answer(&mut self, cx: &mut Cx<'_>, len: usize) -> bool {
        let share = cx.buckets.packets_out.rate().div_ceil(ANSWERS_SHARE);
        if share != self.answering.rate() {
            self.answering = TokenBucket::new(share, share.div_ceil(BURST_SHARE));
        }
        let (now, buckets, len) = (cx.now, &mut *cx.buckets, len as u64);
        let free = self.answering.available(now) > 0
            && buckets.packets_out.available(now) > 0
            && buckets.bytes_out.available(now) >= len;
        if free {
            self.answering.take(now, 1);
            buckets.packets_out.take(now, 1);
            buckets.bytes_out.take(now, len);
        }
        free
    }
}

impl Node {
    /// Another id: the table is built around it anew, from the nodes it had.
    fn rename(&mut self, id: NodeId) {
        self.id = id;
        self.table.set_own(id);
    }
}

const UPKEEP_EVERY: Duration = Duration::from_secs(2);
const BOOTSTRAP_EVERY: Duration = Duration::from_secs(20);
/// Queries of the census that are free: fifty lookups, or six where every one opens a flow.
const CENSUS_FREE: u64 = 1_000;
const CENSUS_FREE_LIMITED: u64 = 120;
/// With fewer nodes than one bucket holds, a table is as good as empty.
const LONELY: usize = 8;
const HOSTS_MAX: usize = 64;
/// Half of those saved may have gone.
const REJOIN_FROM: usize = 24;
/// Half of the packets are for questions of our own.
const ANSWERS_SHARE: u64 = 2;
/// A tenth of a second's worth of answers at once.
const BURST_SHARE: u64 = 10;
/// Held answers are looked at a hundred times a second at most.
const HELD_RETRY: Duration = Duration::from_millis(10);
/// Of the torrents that one client announces few fall to us; whoever announces many makes them up.
const ANNOUNCES_PER_SEC: u32 = 1;
const ANNOUNCES_BURST: u32 = 30;
/// A busy node meets some ten strangers a second; a flood of spoofed queries would fill the
/// directory with addresses where nobody lives.
const STRANGERS_PER_SEC: u64 = 50;
const STRANGERS_BURST: u64 = 1_000;
/// Longer than any query waits.
const CUT_OFF_AFTER: Duration = Duration::from_secs(15);
/// With half of all contacts dead, so many in a row are one in 65,536.
const CUT_OFF_QUERIES: u32 = 16;
/// Enough to notice that the network is back.
const CUT_OFF_WINDOW: usize = 4;
/// Checks and pings that wait; more are not worth remembering.
const SINGLE_MAX: usize = 1_024;
