//! What the engine is told at its start. Everything in [`Rates`] can change while it runs.

use std::net::SocketAddr;

use crate::dht;
use crate::dns;
use crate::metadata::Filter;
use crate::metadata::queue::{self, Caps};
use crate::preconnect::Target;

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP listen addresses, one DHT node for each (BEP 45). Sockets are numbered in this order.
    pub listen: Vec<SocketAddr>,
    /// UDP addresses where questions about names are answered, whose sockets follow those of
    /// `listen`; and as many places where streams are accepted for the same.
    pub dns_listen: Vec<SocketAddr>,
    /// Nothing is read there before zones, lists and servers were handed in ([`Command::Reloaded`] comes
    /// behind the first two) and are in use.
    ///
    /// [`Command::Reloaded`]: crate::engine::io::Command::Reloaded
    pub dns_waits: bool,
    /// Who may ask there, and how much.
    pub dns_clients: dns::listener::Config,
    /// Rates and caps.
    pub rates: Rates,
    /// BEP 43: ask only. For one-off commands.
    pub read_only: bool,
    /// Walk the keyspace (BEP 51).
    pub sweep: bool,
    /// Learn infohashes from the queries of others.
    pub passive: bool,
    /// Fetch metadata of what is found.
    pub fetch: bool,
    /// Hand raw info dictionaries to the archive too. Without, they are let go as soon as they
    /// are read, which halves what waits for the archive.
    pub keep_info: bool,
    /// The largest info dictionary that is fetched, in bytes.
    pub metadata_max: u64,
    /// Bytes that all fetches together may hold.
    pub metadata_in_flight: u64,
    /// Hashes that may wait to be fetched.
    pub pending_max: usize,
    /// Nodes kept in the directory of each address family.
    pub nodes_max: usize,
    /// Contact peers that claim a port below 1024: hardly ever BitTorrent, sometimes an attack.
    pub ports_below_1024: bool,
    /// What is never kept.
    pub filter: Filter,
    /// Whom to ask about names, and how.
    pub dns: dns::Config,
    /// Connections that are kept open for whoever will need one.
    pub targets: Vec<Target>,
}

/// Rates and caps; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Datagrams sent per second.
    pub packets_out: u64,
    /// Bytes sent per second.
    pub bytes_out: u64,
    /// Bytes received per second.
    pub bytes_in: u64,
    /// Entries in the router's connection table.
    pub flows: usize,
    /// TCP connections not yet established.
    pub half_open: usize,
    /// Fetches at once.
    pub fetches: usize,
    /// Answers per second to one address.
    pub answers_per_address: u32,
    /// Answers at once to one address.
    pub answers_burst: u32,
}

impl Rates {
    /// For a machine behind a home router.
    pub const HOME: Self = Self {
        packets_out: 400,
        bytes_out: 250_000,
        bytes_in: 1_000_000,
        flows: 2_000,
        half_open: 50,
        fetches: 100,
        answers_per_address: 20,
        answers_burst: 100,
    };

    /// For a rented server.
    pub const SERVER: Self = Self {
        packets_out: 20_000,
        bytes_out: 10_000_000,
        bytes_in: 50_000_000,
        flows: 100_000,
        half_open: 1_000,
        fetches: 2_000,
        answers_per_address: 100,
        answers_burst: 500,
    };

    /// As fast as the machine goes.
    pub const MAX: Self = Self {
        packets_out: 0,
        bytes_out: 0,
        bytes_in: 0,
        flows: 0,
        half_open: 4_000,
        fetches: 4_000,
        answers_per_address: 0,
        answers_burst: 0,
    };
}

impl Rates {
    /// What the queue of hashes gives shares of.
    pub(super) fn shares(&self) -> Caps {
        Caps { half_open: self.half_open, fetches: self.fetches }
    }
}

impl Config {
    /// A crawler on these addresses.
    pub fn new(listen: Vec<SocketAddr>, rates: Rates) -> Self {
        Self {
            listen,
            dns_listen: Vec::new(),
            dns_waits: false,
            dns_clients: dns::listener::Config::local(),
            rates,
            read_only: false,
            sweep: true,
            passive: true,
            fetch: true,
            keep_info: true,
            metadata_max: METADATA_MAX,
            metadata_in_flight: METADATA_IN_FLIGHT,
            pending_max: PENDING_MAX,
            nodes_max: NODES_MAX,
            ports_below_1024: false,
            filter: Filter::default(),
            dns: dns::Config::new(Vec::new()),
            targets: Vec::new(),
        }
    }

    /// A client that asks and goes: no crawl, no serving.
    pub fn one_off(listen: Vec<SocketAddr>) -> Self {
        Self { read_only: true, sweep: false, passive: false, ..Self::new(listen, Rates::SERVER) }
    }
}

/// The settings by the room that reads them. What nothing reads is a warning of the compiler, for none
/// of this is public.
pub(super) struct Parts {
    pub(super) dht: dht::Config,
    pub(super) queue: queue::Config,
    pub(super) dns: dns::Config,
    /// Where names are asked for, and the limits there; `None` if nowhere.
    pub(super) clients: Option<dns::listener::Config>,
    pub(super) dns_waits: bool,
    pub(super) targets: Vec<Target>,
    pub(super) metadata_in_flight: u64,
    pub(super) current: Current,
}

/// Settings that are looked at while the engine runs.
pub(super) struct Current {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) dns_listen: Vec<SocketAddr>,
    pub(super) rates: Rates,
    pub(super) sweep: bool,
    pub(super) fetch: bool,
    pub(super) keep_info: bool,
    pub(super) metadata_max: u64,
    pub(super) ports_below_1024: bool,
    pub(super) filter: Filter,
}

impl Config {
    /// Every setting goes to who reads it; one that is added does not compile until it does.
    pub(super) fn into_parts(self) -> Parts {
        let Self {
            listen,
            dns_listen,
            dns_clients,
            rates,
            read_only,
            sweep,
            passive,
            fetch,
            keep_info,
            metadata_max,
            metadata_in_flight,
            pending_max,
            nodes_max,
            ports_below_1024,
            filter,
            dns,
            targets,
            dns_waits,
        } = self;
        let dht = dht::Config {
            listen: listen.iter().map(SocketAddr::ip).collect(),
            read_only,
            sweep,
            passive,
            sweep_window: window(&rates),
            nodes_max,
            answers: (rates.answers_per_address, rates.answers_burst),
        };
        let clients = (!dns_listen.is_empty()).then_some(dns_clients);
        let queue = queue::Config { pending_max, ..queue::Config::default() };
        let current = Current {
            listen,
            dns_listen,
            rates,
            sweep,
            fetch,
            keep_info,
            metadata_max,
            ports_below_1024,
            filter,
        };
        Parts { dht, queue, dns, clients, dns_waits, targets, metadata_in_flight, current }
    }
}

/// A fifth of a second's worth of packets on their way is what a round trip needs.
pub(super) fn window(rates: &Rates) -> usize {
    let window = if rates.packets_out == 0 { SWEEP_WINDOW_MAX } else { rates.packets_out as usize / 5 };
    window.clamp(SWEEP_WINDOW_MIN, SWEEP_WINDOW_MAX)
}

const SWEEP_WINDOW_MIN: usize = 32;
const SWEEP_WINDOW_MAX: usize = 2_048;
/// The largest real ones are some 10 MiB; anacrolix/torrent draws the same line.
const METADATA_MAX: u64 = 16 << 20;
/// Four of the largest at once, or many thousand ordinary ones.
const METADATA_IN_FLIGHT: u64 = 64 << 20;
/// Some 150 bytes each.
const PENDING_MAX: usize = 1_000_000;
/// The whole network, some 16 million nodes, does not fit: about 55 bytes each.
const NODES_MAX: usize = 4_000_000;
