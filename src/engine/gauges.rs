//! What the engine shows of itself, and what of it the archive keeps.

use super::Engine;
use super::stats::{LimitedBy, Stats, Tallies};
use crate::dht;
use crate::metadata::Failures;
use crate::model::{Recovered, StoreOp};

impl Engine {
    /// Counters and gauges at this moment.
    pub fn stats(&mut self) -> Stats {
        let estimate = self.dht.estimate();
        let held = match self.dht.stats.limited_by {
            Some(dht::Limit::Flows) => LimitedBy::Flows,
            Some(dht::Limit::Rate) => LimitedBy::Rate,
            Some(dht::Limit::Window) => LimitedBy::Network,
            // Table upkeep and the census go on without end; they are not what anything waits for.
            None if self.links.fetches > 0 || self.queue.stats().looking > 0 => LimitedBy::Network,
            None => LimitedBy::Nothing,
        };
        let own = self.stats.limited_by;
        Stats {
            dht: self.dht.stats,
            nodes_known: self.dht.nodes_known(),
            nodes_verified: self.dht.nodes_verified(),
            nodes_table: self.dht.table_len(),
            network_size: estimate.map(|it| it.nodes as u64),
            coverage: estimate.map(|it| it.coverage),
            coverage_error: estimate.map(|it| it.error),
            passes: self.dht.passes(),
            hashes_known: self.known.len() + self.given_up.len(),
            pending: self.queue.stats().pending,
            lookups: self.dht.lookups(),
            fetches_open: self.links.fetches,
            half_open: self.links.half_open,
            stored: self.persist.stored,
            store_failed: self.persist.failed,
            flows: self.buckets.flows.len(self.now),
            limited_by: if own == LimitedBy::Nothing { held } else { own },
            ..self.stats
        }
    }

    /// The counters that cost nothing to read.
    pub fn tallies(&self) -> Tallies {
        Tallies {
            dht: self.dht.stats,
            nodes_known: self.dht.nodes_known(),
            nodes_verified: self.dht.nodes_verified(),
            nodes_table: self.dht.table_len(),
            hashes_found: self.stats.hashes_found,
            pending: self.queue.stats().pending,
            lookups: self.dht.lookups(),
            queries: self.dht.queries(),
            links: self.links.len(),
            fetches_open: self.links.fetches,
            half_open: self.links.half_open,
            stored: self.persist.stored,
            store_failed: self.persist.failed,
            flows: self.buckets.flows.remembered(),
            tcp_bytes_out: self.stats.tcp_bytes_out,
            tcp_bytes_in: self.stats.tcp_bytes_in,
        }
    }

    /// Starts a new interval for `limited_by`: what held the engine back is forgotten.
    pub fn reset_limited_by(&mut self) {
        self.stats.limited_by = LimitedBy::Nothing;
        self.dht.stats.limited_by = None;
    }

    /// Has the archive keep why fetches failed, if more did.
    pub(super) fn keep_failures(&mut self) {
        if self.stats.fetches_failed > std::mem::replace(&mut self.failures_kept, self.stats.fetches_failed) {
            let all = self.failures_before + self.stats.fetch_failures;
            self.persist.control(StoreOp::Setting(FAILURES_NAME, all.to_text()));
        }
    }
}

/// Why fetches failed before this start.
pub(super) fn failures_before(recovered: &Recovered) -> Failures {
    let kept = recovered.settings.iter().find(|(name, _)| name == FAILURES_NAME);
    kept.map(|(_, text)| Failures::from_text(text)).unwrap_or_default()
}

/// Where the archive keeps why fetches failed.
pub const FAILURES_NAME: &str = "fetch.failures";
