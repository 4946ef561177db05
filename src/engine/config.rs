//! What the engine is told at its start. Everything in [`Rates`] can change while it runs.

use std::net::SocketAddr;

use crate::dns;
use crate::metadata::Filter;
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

/// The largest real ones are some 10 MiB; anacrolix/torrent draws the same line.
const METADATA_MAX: u64 = 16 << 20;
/// Four of the largest at once, or many thousand ordinary ones.
const METADATA_IN_FLIGHT: u64 = 64 << 20;
/// Some 150 bytes each.
const PENDING_MAX: usize = 1_000_000;
/// The whole network, some 16 million nodes, does not fit: about 55 bytes each.
const NODES_MAX: usize = 4_000_000;
