//! The listener: what others ask us over UDP and TCP, answered from policy, local zones, the hosts
//! file, memory, else from forwarders.
//!
//! A datagram that can be answered at once is answered in place ([`Dns::on_query`]); what has to wait
//! is kept as it came and read again when there is an answer ([`Dns::poll_reply`]). Over TCP each
//! connection is a [`Client`], whose questions go the same way.

mod asked;
mod client;
mod cookies;
mod explain;
mod limits;
mod log;
mod reply;
mod serve;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Network, Path, Rng, Slots, Token, hash};
#[cfg(doc)]
use crate::dns::Dns;
use crate::dns::policy::HitFacts;
use crate::dns::{Event, Resolved};

pub use client::{Client, Served};
use cookies::Cookies;
use limits::Limits;
pub use log::{Facts, From, LOGGED_MAX, Log, Logged};
pub use serve::Outgoing;
use serve::Pending;

/// The listener's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Networks that may ask.
    pub allow: Vec<Network>,
    /// So may those of this machine's interfaces.
    pub own_networks: bool,
    /// Answers a second for each client address but loopback; 0 is no limit.
    pub rate: u32,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that came.
    pub queries: u64,
    /// Those over TCP among them.
    pub over_stream: u64,
    /// Answers that were sent, at once or later.
    pub answered: u64,
    /// Those from local zones.
    pub from_zones: u64,
    /// Those that a policy rule decided, dropped ones included.
    pub from_policy: u64,
    /// Those that were remembered.
    pub from_memory: u64,
    /// Questions that went to the resolver.
    pub asked: u64,
    /// Answers that say that something failed (SERVFAIL).
    pub failed: u64,
    /// Questions of those who may not ask.
    pub refused: u64,
    /// Messages that are no query or cannot be read.
    pub malformed: u64,
    /// Questions and answers beyond a rate.
    pub limited: u64,
    /// Questions for which there was no room.
    pub overloaded: u64,
    /// Our own questions, come back to us.
    pub loops: u64,
}

/// Everything that belongs to the clients of this room.
pub struct Listener {
    limits: Limits,
    cookies: Cookies,
    pending: Slots<Pending>,
    /// How many of those each client has.
    waiting_of: hash::Map<IpAddr, u32>,
    /// Questions that have come to their end, and nobody was told yet.
    settled: VecDeque<(Pending, Box<Resolved>)>,
    threats: VecDeque<HitFacts>,
    /// Connections of each address.
    clients: BTreeMap<IpAddr, u16>,
    connections: usize,
    /// There may be something to be polled from the room.
    pub is_dirty: bool,
    /// The last questions.
    pub log: Log,
    /// What was counted.
    pub stats: Stats,
    scratch: Box<[u8]>,
}

impl Config {
    /// For those behind the same router, or on this machine.
    pub fn local() -> Self {
        let networks = LOCAL.iter().filter_map(|text| text.parse().ok());
        Self { allow: networks.collect(), own_networks: true, rate: RATE }
    }
}

impl Listener {
    /// Without any client yet.
    pub fn new(config: Config, rng: &mut Rng) -> Self {
        Self {
            limits: Limits::new(&config, rng),
            cookies: Cookies::new(rng),
            pending: Slots::default(),
            waiting_of: hash::map(rng),
            settled: VecDeque::new(),
            threats: VecDeque::new(),
            clients: BTreeMap::new(),
            connections: 0,
            is_dirty: false,
            log: Log::default(),
            stats: Stats::default(),
            scratch: Box::default(),
        }
    }

    /// Changes who may ask, and how much.
    pub fn set_config(&mut self, config: Config, rng: &mut Rng) {
        let own = self.limits.take_own();
        self.limits = Limits::new(&config, rng);
        self.limits.set_own(own);
    }

    /// What the networks of this machine's interfaces are now.
    pub fn set_own_networks(&mut self, networks: Vec<Network>) {
        self.limits.set_own(networks);
    }

    /// Somebody opened a connection; false if it is not wanted.
    pub fn admit(&mut self, ip: IpAddr) -> bool {
        let who = subscriber(ip);
        let own = self.clients.get(&who).map_or(0, |own| usize::from(*own));
        let most = if ip.is_loopback() { CONNECTIONS_MAX } else { CONNECTIONS_PER_CLIENT };
        // As many as are free yet: so nobody, nor any number of them together, leaves others none.
        if own >= most.min(CONNECTIONS_MAX - self.connections) || !self.limits.may_ask(ip) {
            return false;
        }
        *self.clients.entry(who).or_default() += 1;
        self.connections += 1;
        true
    }

    /// Which other client has to give a place up for a new connection, now that there is none: the one
    /// with the most, if that is more than this client would have. Otherwise any that is idle for
    /// longer than the time that comes with it.
    pub fn crowded_by(&self, ip: IpAddr) -> Option<(Option<IpAddr>, Duration)> {
        let own = self.clients.get(&subscriber(ip)).map_or(0, |own| *own);
        if self.connections < CONNECTIONS_MAX || own > 0 || !self.limits.may_ask(ip) {
            return None;
        }
        let (most, count) = self.clients.iter().max_by_key(|(_, count)| **count)?;
        Some(if *count > 1 { (Some(*most), Duration::ZERO) } else { (None, client::IDLE_EVICTED) })
    }

    /// Whether a connection's address belongs to this client.
    pub fn is_of(client: IpAddr, ip: IpAddr) -> bool {
        subscriber(ip) == client
    }

    /// For how long a connection may be idle: less when places become few (RFC 7766, section 6.2.3).
    pub fn idle_max(&self) -> Duration {
        let free = CONNECTIONS_MAX.saturating_sub(self.connections) as u32;
        let half = CONNECTIONS_MAX as u32 / 2;
        (client::IDLE_MAX * free.min(half) / half).max(client::IDLE_MIN)
    }

    /// A connection that was admitted is gone.
    pub fn gone(&mut self, ip: IpAddr) {
        let who = subscriber(ip);
        self.connections = self.connections.saturating_sub(1);
        if let Some(own) = self.clients.get_mut(&who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.clients.remove(&who);
            }
        }
    }

    /// Keeps a question until there is an answer; `None` if there is no room for this client: it may
    /// have as many there as are free yet, so that nobody leaves others none.
    fn keep(&mut self, pending: Pending) -> Option<Token> {
        let who = subscriber(pending.client());
        let own = self.waiting_of.get(&who).copied().unwrap_or(0);
        if own as usize >= PENDING_MAX.saturating_sub(self.pending.len() + self.settled.len()) {
            return None;
        }
        self.waiting_of.insert(who, own + 1);
        Some(self.pending.insert(pending))
    }

    fn unkeep(&mut self, token: Token) -> Option<Pending> {
        let pending = self.pending.remove(token)?;
        let who = subscriber(pending.client());
        if let Some(own) = self.waiting_of.get_mut(&who) {
            *own -= 1;
            if *own == 0 {
                self.waiting_of.remove(&who);
            }
        }
        Some(pending)
    }

    /// What happened.
    pub(in crate::dns) fn poll_event(&mut self) -> Option<Event> {
        self.threats.pop_front().map(|facts| Event::Threat(Box::new(facts)))
    }

    /// Questions have come to their end that were not answered yet.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Questions that wait for the resolver.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Panics if the bounds or the sums are wrong. For tests and the simulator.
    pub fn check_invariants(&self) {
        assert!(self.pending.len() + self.settled.len() <= PENDING_MAX, "questions are bounded");
        let sum: usize = self.clients.values().map(|own| usize::from(*own)).sum();
        assert_eq!(sum, self.connections, "every connection is somebody's");
        let mut waiting: BTreeMap<IpAddr, u32> = BTreeMap::new();
        self.pending.iter().for_each(|(_, one)| *waiting.entry(subscriber(one.client())).or_default() += 1);
        assert_eq!(waiting.len(), self.waiting_of.len(), "clients that wait");
        assert!(
            waiting.iter().all(|(who, count)| self.waiting_of.get(who) == Some(count)),
            "what each waits for"
        );
        assert!(self.threats.len() <= THREATS_MAX, "events are bounded");
    }
}

/// Whose address it is, as far as one can tell: a host has all of a /64 (RFC 8273).
fn subscriber(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// Where a question came from, and where its answer goes.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Via {
    /// By datagram.
    Udp(Path),
    /// On this connection, of a client at this address.
    Stream(Token, IpAddr),
}

/// A message with its length before it (RFC 1035, section 4.2.2). Messages are shorter than 64 KiB.
fn frame(message: &[u8]) -> Bytes {
    [&(message.len() as u16).to_be_bytes(), message].concat().into()
}

/// Loopback, and addresses that no router of the Internet knows (RFC 1918, RFC 3927, RFC 4193,
/// RFC 4291).
const LOCAL: [&str; 8] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];
/// A page makes some dozens of questions; a household behind one address some hundred.
const RATE: u32 = 1_000;
/// Questions that wait at once: as many as the resolver takes.
const PENDING_MAX: usize = 16_384;
/// A query is some 50 bytes; more than this is not kept while it waits.
const QUERY_MAX: usize = 1_500;
/// Connections at once, 500 bytes each while they are idle.
const CONNECTIONS_MAX: usize = 1_024;
/// Of one address (RFC 7766, section 6.2.2 asks clients for one); several clients share one behind
/// a router.
const CONNECTIONS_PER_CLIENT: usize = 64;
/// Events that wait; older ones go.
const THREATS_MAX: usize = 1_024;
