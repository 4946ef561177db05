//! Counters and gauges, as one plain snapshot.

use crate::dht;
use crate::metadata::Failures;

/// The engine at one moment. Counters count from the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// The DHT's own counters.
    pub dht: dht::Stats,
    /// Nodes known, by hearsay too.
    pub nodes_known: usize,
    /// Nodes that have answered.
    pub nodes_verified: usize,
    /// Nodes in the routing tables.
    pub nodes_table: usize,
    /// Estimated live nodes in the network.
    pub network_size: Option<u64>,
    /// The share of them that has answered, 0 to 1.
    pub coverage: Option<f64>,
    /// The standard error of that share.
    pub coverage_error: Option<f64>,
    /// Completed walks around the keyspace.
    pub passes: u64,
    /// Distinct infohashes heard of that were not known.
    pub hashes_found: u64,
    /// Infohashes known: stored, dropped, deleted or given up.
    pub hashes_known: usize,
    /// Infohashes that wait.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Fetches under way.
    pub fetches_open: usize,
    /// Connections not established yet.
    pub half_open: usize,
    /// Fetches begun.
    pub fetches: u64,
    /// Fetches that ended with verified metadata.
    pub fetched: u64,
    /// Fetches that ended without.
    pub fetches_failed: u64,
    /// Why.
    pub fetch_failures: Failures,
    /// Connections that were closed before the handshake while another to the address was open, and
    /// made again.
    pub fetches_crowded: u64,
    /// Bytes of verified metadata.
    pub metadata_bytes: u64,
    /// Peers whose metadata did not match the infohash.
    pub wrong_metadata: u64,
    /// Torrents refused by the filter.
    pub filtered: u64,
    /// Verified metadata that is no torrent.
    pub unparsable: u64,
    /// Torrents that the archive has acknowledged.
    pub stored: u64,
    /// Torrents that the archive has lost.
    pub store_failed: u64,
    /// Live flows.
    pub flows: usize,
    /// Bytes sent over TCP.
    pub tcp_bytes_out: u64,
    /// Bytes received over TCP.
    pub tcp_bytes_in: u64,
    /// What holds the engine back at present.
    pub limited_by: LimitedBy,
}

/// What can be counted without looking at everything: for whoever checks the engine from outside
/// at every step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tallies {
    /// The DHT's own counters.
    pub dht: dht::Stats,
    /// Nodes known, by hearsay too.
    pub nodes_known: usize,
    /// Nodes that have answered.
    pub nodes_verified: usize,
    /// Nodes in the routing tables.
    pub nodes_table: usize,
    /// Distinct infohashes heard of that were not known.
    pub hashes_found: u64,
    /// Infohashes that wait.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Queries on their way.
    pub queries: usize,
    /// Streams, accepted ones too.
    pub links: usize,
    /// Fetches under way.
    pub fetches_open: usize,
    /// Connections not established yet.
    pub half_open: usize,
    /// Torrents that the archive has acknowledged.
    pub stored: u64,
    /// Torrents that the archive has lost.
    pub store_failed: u64,
    /// Flows that are remembered.
    pub flows: usize,
    /// Bytes sent over TCP.
    pub tcp_bytes_out: u64,
    /// Bytes received over TCP.
    pub tcp_bytes_in: u64,
}

/// The limit that the engine met last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitedBy {
    /// The archive has no credit left.
    Archive,
    /// Too little disk is free.
    Disk,
    /// `--fetches`
    Fetches,
    /// `--flows`
    Flows,
    /// `--half-open`
    HalfOpen,
    /// Answers that are waited for.
    Network,
    /// Nothing: there is nothing to do.
    #[default]
    Nothing,
    /// `--packets-out` or `--bytes-out`
    Rate,
}

impl LimitedBy {
    /// As shown to people and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Disk => "disk",
            Self::Fetches => "fetches",
            Self::Flows => "flows",
            Self::HalfOpen => "half-open",
            Self::Network => "network",
            Self::Nothing => "nothing",
            Self::Rate => "rate",
        }
    }
}
