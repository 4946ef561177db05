//! What the commands for one DHT operation share: how their answers are shown.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Dht;
use super::failure::{Failure, Outcome};
use super::flags::RunFlags;
use super::print::{Out, note};
use super::session::{self, Ended, Operation, Reach, Watcher, literal};
use super::units::{counted, human_duration, three_digits};
use crate::embed::{ResolveFailure, Resolver, ResolverConfig};
use crate::engine::io::Answer;

/// Does `operation` and prints what comes of it as it comes.
pub fn perform(operation: Operation, dht: &Dht, json: bool) -> Result<Outcome, Failure> {
    let settings = RunFlags::default().settings()?;
    let first = match operation {
        Operation::Ping(addr) => Some(addr),
        _ => None,
    };
    let reach = Reach::new(dht, &settings, first)?;
    let mut printer = Printer {
        out: Out::new(),
        json,
        hops_are_results: matches!(operation, Operation::Ping(_) | Operation::FindNode(_)),
        peers: BTreeSet::new(),
        announced: 0,
        hops: 0,
    };
    let wanted = operation.clone();
    let session = session::operate(vec![operation], &reach, &mut printer)?;
    if first.is_none() && session.replies == 0 {
        return Err(nobody_answered(session.errors));
    }
    let ended = session.ended.first().copied().flatten();
    let late = Ended { found: printer.found(&wanted), answered: printer.hops };
    printer.end(&wanted, ended.unwrap_or(late), (ended.is_none()).then_some(reach.timeout))?;
    Ok(Outcome::found(ended.unwrap_or(late).found))
}

/// The network is not there, or lets no UDP through; or nodes answered with nothing but errors.
pub fn nobody_answered(errors: u64) -> Failure {
    if errors > 0 {
        return Failure::failed(format!(
            "no DHT node gave an answer, but {} came; ask other nodes with --bootstrap IP:PORT",
            counted(errors, "error")
        ));
    }
    Failure::failed(
        "no DHT node answered; check the network and whether UDP gets out, or ask others with --bootstrap IP:PORT",
    )
}

/// The address of HOST:PORT; a literal is not looked up.
pub fn resolve(host: &(String, u16)) -> Result<SocketAddr, Failure> {
    if let Some(addr) = literal(host) {
        return Ok(addr);
    }
    let (name, port) = host;
    let forwarders = RunFlags::default().settings()?.forwarders;
    let config = ResolverConfig { forwarders, timeout: super::names::DEADLINE, ..ResolverConfig::default() };
    let resolver = Resolver::with(config).map_err(|failure| {
        Failure::failed(format!("the name {name} cannot be looked up ({failure}); give an IP address"))
    })?;
    let resolved = resolver.resolve_hostname(name, false).map_err(|failure| match failure {
        ResolveFailure::Dns(dns) => Failure::failed(format!(
            "the name {name} cannot be looked up: {}; give an IP address",
            super::resolve::why(dns)
        )),
        _ => Failure::failed(format!("the name {name} has no address; check it, or give an IP address")),
    })?;
    resolved.addresses.first().map(|ip| SocketAddr::new(*ip, *port)).ok_or_else(|| {
        Failure::failed(format!("the name {name} has no address; check it, or give an IP address"))
    })
}

struct Printer {
    out: Out,
    json: bool,
    /// Nodes that answer are the result, not the way to it.
    hops_are_results: bool,
    peers: BTreeSet<SocketAddr>,
    announced: u32,
    hops: u32,
}

impl Watcher for Printer {
    fn said(&mut self, _index: usize, said: &Answer) -> Result<(), Failure> {
        let fresh: Vec<SocketAddr> = match said {
            Answer::Peers(peers) => peers.iter().copied().filter(|peer| self.peers.insert(*peer)).collect(),
            _ => Vec::new(),
        };
        self.announced += u32::from(matches!(said, Answer::Announced(_)));
        self.hops += u32::from(matches!(said, Answer::Hop { .. }));
        let aside = match said {
            Answer::Hop { .. } => !self.hops_are_results,
            Answer::NodeError(..) => true,
            _ => false,
        };
        if !self.json && !fresh.is_empty() && self.peers.len() == fresh.len() {
            self.out.line("peers:")?;
        }
        for line in if self.json { as_json(said, &fresh) } else { as_text(said, &fresh) } {
            match (aside, self.json) {
                (true, _) => note(&line),
                (false, true) => self.out.json_text(&line)?,
                (false, false) => self.out.line(&line)?,
            }
        }
        self.out.flush()
    }
}

impl Printer {
    /// Whether what came so far is what `operation` was for.
    fn found(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Ping(_) | Operation::FindNode(_) => self.hops > 0,
            Operation::Peers(_) | Operation::Scrape(_) => !self.peers.is_empty(),
            Operation::Announce(..) => self.announced > 0,
            Operation::Fetch(..) => false,
        }
    }

    /// The last line; `late` is the time that was over before the end.
    fn end(&mut self, operation: &Operation, ended: Ended, late: Option<Duration>) -> Result<(), Failure> {
        let Ended { found, answered } = ended;
        if self.json {
            let mut done = json!({"found": found, "answered": answered, "in_time": late.is_none()});
            match operation {
                Operation::Peers(_) | Operation::Scrape(_) => done["peers_found"] = self.peers.len().into(),
                Operation::Announce(..) => done["announced_to"] = self.announced.into(),
                Operation::Ping(_) | Operation::FindNode(_) | Operation::Fetch(..) => {}
            }
            self.out.json(&json!({ "done": done }))?;
            return self.out.flush();
        }
        let late = late.map_or_else(String::new, |timeout| format!(" within {}", human_duration(timeout)));
        let mut line = format!("{} answered{late}", counted(u64::from(answered), "node"));
        if !self.peers.is_empty() {
            line += &format!(", {} found", counted(self.peers.len() as u64, "peer"));
        }
        if self.announced > 0 {
            line += &format!(", announced to {}", self.announced);
        }
        if !found {
            line += "; nothing found";
        }
        // That an announce was accepted is what it is for.
        if matches!(operation, Operation::Announce(..)) {
            self.out.line(&line)?;
            return self.out.flush();
        }
        self.out.flush()?;
        note(&line);
        Ok(())
    }
}

fn as_text(said: &Answer, fresh: &[SocketAddr]) -> Vec<String> {
    match said {
        Answer::Hop { node, addr, common_bits, rtt_us } => {
            vec![format!(
                "{node}  {common_bits:>3} bits  {:>7} ms  {addr}",
                three_digits(*rtt_us as f64 / 1000.0)
            )]
        }
        Answer::Peers(_) => fresh.iter().map(|peer| format!("peer {peer}")).collect(),
        Answer::Announced(addr) => vec![format!("announced to {addr}")],
        Answer::Scraped { seeds, peers } => {
            vec![format!("about {seeds:.0} seeds and {peers:.0} other peers")]
        }
        Answer::NodeError(code, words) => vec![format!("a node answered with an error: {code} {words}")],
        // Names and targets have commands of their own.
        Answer::Done { .. }
        | Answer::NotKept(_)
        | Answer::Round(_)
        | Answer::Cache(_)
        | Answer::Downloaded(_)
        | Answer::Local(_)
        | Answer::Looked(_)
        | Answer::PeerFailed(..)
        | Answer::Preconnected(..)
        | Answer::Records(_)
        | Answer::Warmth(_) => Vec::new(),
        Answer::Torrent(torrent) => {
            vec![format!("{}  {}", torrent.infohash, torrent.display_name())]
        }
    }
}

fn as_json(said: &Answer, fresh: &[SocketAddr]) -> Vec<String> {
    let lines: Vec<Value> = match said {
        Answer::Hop { node, addr, common_bits, rtt_us } => {
            vec![
                json!({"node": node.to_string(), "addr": addr.to_string(), "common_bits": common_bits, "rtt_us": rtt_us}),
            ]
        }
        Answer::Peers(_) => fresh.iter().map(|peer| json!({"peer": peer.to_string()})).collect(),
        Answer::Announced(addr) => vec![json!({"announced": addr.to_string()})],
        Answer::Scraped { seeds, peers } => {
            vec![json!({"seeders": seeds.round() as u64, "leechers": peers.round() as u64})]
        }
        Answer::NodeError(code, words) => vec![json!({"error": code, "message": words})],
        Answer::Done { .. }
        | Answer::NotKept(_)
        | Answer::Round(_)
        | Answer::Cache(_)
        | Answer::Downloaded(_)
        | Answer::Local(_)
        | Answer::Looked(_)
        | Answer::PeerFailed(..)
        | Answer::Preconnected(..)
        | Answer::Records(_)
        | Answer::Warmth(_) => Vec::new(),
        Answer::Torrent(torrent) => vec![super::torrent_json::torrent(torrent)],
    };
    lines.iter().map(Value::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::InfoHash;

    #[test]
    fn a_hop_is_one_line_in_both_forms() {
        let addr = "10.0.0.1:6881".parse().unwrap();
        let hop = Answer::Hop { node: InfoHash::default(), addr, common_bits: 7, rtt_us: 12_300 };
        assert_eq!(as_text(&hop, &[]), [format!("{}    7 bits     12.3 ms  10.0.0.1:6881", "0".repeat(40))]);
        let value: Value = serde_json::from_str(&as_json(&hop, &[])[0]).unwrap();
        assert_eq!((value["common_bits"].as_u64(), value["rtt_us"].as_u64()), (Some(7), Some(12_300)));
    }

    #[test]
    fn literals_are_not_looked_up() {
        assert_eq!(resolve(&("::1".to_owned(), 5)).unwrap(), "[::1]:5".parse().unwrap());
    }
}
