//! What people ask of an engine, by choice.

use std::collections::BTreeMap;

use dht_hunter::base::Id;
use dht_hunter::dns::{ForwarderConfig, Hosts, System};
use dht_hunter::engine::config::Rates;
use dht_hunter::engine::io::{Answer, Command, CommandId, NameQuestion};
use dht_hunter::metadata::Filter;

use crate::crowd::Crowd;
use crate::{Feed, dns, peer};

/// Makes commands up, and holds the engine to answering each as it should.
#[derive(Default)]
pub struct Commands {
    made: u64,
    /// Under way.
    open: BTreeMap<u64, Kind>,
    /// Torrents that were asked for by command, so that they may come again.
    pub fetches: usize,
    /// What is sent was limited at some time.
    pub limits_bytes: bool,
    /// Names are asked for as well.
    names: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Announce,
    Fetch,
    Lookup,
    Name,
    Ping,
}

impl Commands {
    /// Those about names as well, for who plays DNS servers.
    pub fn with_names() -> Self {
        Self { names: true, ..Self::default() }
    }

    /// One command.
    pub fn some(&mut self, feed: &mut Feed<'_>, crowd: &Crowd) -> Command {
        self.made += 1;
        let id = CommandId(self.made);
        let hash = match feed.u8() % 8 {
            at @ 0..=4 => peer::hash_of(&peer::library()[usize::from(at)]),
            _ => Id(feed.array()),
        };
        let v6 = feed.one_in(4);
        let addr = crowd.addr(feed, v6);
        let (kind, command) = match feed.u8() % if self.names { 20 } else { 16 } {
            0..=1 => return Command::Bootstrap(vec![addr]),
            2 => (Kind::Ping, Command::Ping(id, addr)),
            3 => (Kind::Lookup, Command::FindNode(id, hash)),
            4 => (Kind::Lookup, Command::Peers(id, hash)),
            5..=6 => (Kind::Announce, Command::Announce(id, hash, u16::from(feed.u8()))),
            7..=8 => (Kind::Lookup, Command::Scrape(id, hash)),
            9..=12 => {
                self.fetches += 1;
                let peers = (0..1 + feed.below(4)).map(|_| crowd.addr(feed, v6)).collect();
                (Kind::Fetch, Command::Fetch(id, hash, peers))
            }
            13 => {
                let rates = rates(feed);
                self.limits_bytes |= rates.bytes_out > 0;
                return Command::SetRates(rates);
            }
            14 => {
                let text = if feed.one_in(2) {
                    ""
                } else {
                    "larger 10\nhash 0101010101010101010101010101010101010101\n"
                };
                return Command::SetFilter(Filter::parse(text).expect("rules"));
            }
            15 => return Command::Pause(feed.one_in(2)),
            16 => {
                let system = System {
                    forwarders: forwarders(feed),
                    hosts: Hosts::parse("10.0.0.1 box"),
                    search: vec![dns::name(feed)],
                    ndots: 1,
                    local: Vec::new(),
                    networks: Vec::new(),
                };
                return Command::SetNames(Box::new(system));
            }
            17 => return Command::BootstrapHosts(vec![(dns::name(feed).to_string(), 6_881)]),
            18 => (Kind::Name, Command::Resolve(id, NameQuestion::Host(dns::name(feed).to_string()))),
            _ => {
                let (name, kind) = (Box::new(dns::name(feed)), dns::kind(feed));
                (Kind::Name, Command::Resolve(id, NameQuestion::Records(name, kind)))
            }
        };
        self.open.insert(id.0, kind);
        command
    }

    /// An answer: only to what was asked, nothing after the end, and only what fits.
    pub fn answered(&mut self, id: CommandId, answer: &Answer) {
        let kind = *self.open.get(&id.0).expect("nothing follows the end");
        match answer {
            Answer::Announced(_) => assert!(kind == Kind::Announce),
            Answer::Torrent(torrent) => {
                assert!(kind == Kind::Fetch);
                assert!(peer::library().contains(&torrent.raw), "nobody has that");
            }
            Answer::Scraped { seeds, peers } => {
                assert!(kind == Kind::Lookup && *seeds >= 0.0 && *peers >= 0.0);
            }
            Answer::Hop { .. } | Answer::Peers(_) | Answer::NodeError(..) => assert!(kind != Kind::Name),
            Answer::PeerFailed(..) | Answer::NotKept(_) | Answer::Round(_) => assert!(kind == Kind::Fetch),
            Answer::Looked(_) | Answer::Records(_) => assert!(kind == Kind::Name),
            Answer::Cache(_)
            | Answer::Downloaded(_)
            | Answer::Local(_)
            | Answer::Preconnected(..)
            | Answer::Warmth(_) => panic!("nobody asks for these here"),
            Answer::Done { .. } => {
                self.open.remove(&id.0);
            }
        }
    }
}

/// DNS servers, some of them asked over TLS.
pub fn forwarders(feed: &mut Feed<'_>) -> Vec<ForwarderConfig> {
    let one = |feed: &mut Feed<'_>| {
        let choice = feed.u8();
        let tls = (choice & 0xc0 == 0xc0).then(|| "names.test".into());
        ForwarderConfig { tls, ..ForwarderConfig::plain(([80, 9, 9, choice % 4], 53).into()) }
    };
    (0..feed.below(4)).map(|_| one(feed)).collect()
}

/// Rates, some of them without a limit.
pub fn rates(feed: &mut Feed<'_>) -> Rates {
    let mut some = |least: u64| match feed.u8() {
        0..=127 => 0,
        number => least + u64::from(number - 128),
    };
    let (packets_out, bytes_out, bytes_in) = (some(1), some(1) * 1_000, some(1) * 1_000);
    let (flows, half_open, fetches) = (some(1) as usize, some(1) as usize % 4, some(1) as usize % 16);
    let (answers_per_address, answers_burst) = (some(1) as u32, 10);
    Rates { packets_out, bytes_out, bytes_in, flows, half_open, fetches, answers_per_address, answers_burst }
}
