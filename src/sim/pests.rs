//! Nodes that are no engines: they lie, mirror, change their names, forge replies, steal tokens,
//! flood, and vote many at a time from one network. What is true of an engine must be true among them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::world::{Crowd, Sent};
use crate::base::{Id, InfoHash, Instant, Rng};
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::{self, Body, Method, Query, Reply};

/// A handful of hostile nodes.
pub(super) struct Pests {
    rng: Rng,
    at: Vec<SocketAddr>,
    /// Whom they pester.
    hosts: Vec<SocketAddr>,
    /// What they claim to have.
    hashes: Vec<InfoHash>,
    /// Addresses where nobody is, or where nobody may be contacted.
    nowhere: Vec<NodeAddr>,
    /// Tokens that they were given: by whom, to whom, for what.
    tokens: BTreeMap<(SocketAddr, SocketAddr), (InfoHash, Vec<u8>)>,
    floods: bool,
    /// What a connection to them comes to.
    refuses: bool,
}

impl Pests {
    pub(super) fn new(mut rng: Rng, hosts: Vec<SocketAddr>) -> Self {
        let count = 4 + rng.index(6);
        let single = (0..count).map(|n| SocketAddr::from(([12, 0, n as u8, 1], 6_881)));
        let at = single.chain((1..=SYBILS).map(|n| SocketAddr::from((sybil(n), 6_881)))).collect();
        let hashes = (0..4).map(|_| Id::random(&mut rng)).collect();
        let nowhere: Vec<_> = (0..40u8)
            .map(|n| if n % 4 == 0 { [10, 0, 0, n] } else { [13, 0, n, 1] })
            .map(|ip| SocketAddr::from((ip, if ip[3] == 4 { 0 } else { 6_881 })))
            .map(|addr| NodeAddr { id: Id::random(&mut rng), addr })
            .collect();
        let (floods, refuses) = (rng.percent(50), rng.percent(50));
        Self { rng, at, hosts, hashes, nowhere, tokens: BTreeMap::new(), floods, refuses }
    }

    /// Two of them, to begin at.
    pub(super) fn doors(&self) -> Vec<SocketAddr> {
        self.at.iter().take(2).copied().collect()
    }

    fn id_of(at: SocketAddr) -> Id {
        Id(crate::base::hash::sha1(at.to_string().as_bytes()))
    }

    /// An answer by the character of whoever sits there.
    fn answer(&mut self, place: usize, from: SocketAddr, t: &[u8], query: &Query<'_>) -> Option<Vec<u8>> {
        let at = self.at[place];
        let mut out = vec![0; 2_048];
        let first = self.rng.index(self.nowhere.len() - 8);
        let mut nodes = self.nowhere[first..first + 8].to_vec();
        let friend = self.at[self.rng.index(self.at.len())];
        nodes[0] = NodeAddr { id: Self::id_of(friend), addr: friend };
        let interval = [0, 30, 120, 21_600][self.rng.index(4)];
        let sampled = matches!(query.method, Method::SampleInfohashes { .. });
        let samples = sampled.then_some((interval, self.hashes.len() as u64, &self.hashes[..]));
        let peers = if matches!(query.method, Method::GetPeers { .. }) { &[at, from][..] } else { &[] };
        let plain = Reply {
            id: Self::id_of(at),
            nodes: Some(&nodes),
            samples,
            values: peers,
            token: Some(b"tokentok"),
            ..Reply::default()
        };
        let reply = match place % 6 {
            0 | 1 => plain,
            2 => Reply { id: query.id, ..plain },
            3 => Reply { id: Id::random(&mut self.rng), ..plain },
            4 => {
                let len = krpc::write_error(&mut out, t, from, 201, "no")?;
                out.truncate(len);
                return Some(out);
            }
            _ => {
                let mut junk = vec![0; 1 + self.rng.index(200)];
                self.rng.fill(&mut junk);
                return Some(junk);
            }
        };
        // The address that it claims to see is written where the asker's would stand.
        let seen = if is_sybil(at) { SocketAddr::from((FALSE_IP, 6_881)) } else { from };
        let reply = if is_sybil(at) { plain } else { reply };
        let len = krpc::write_reply(&mut out, t, seen, &reply)?;
        out.truncate(len);
        Some(out)
    }

    fn ask(&mut self, from: SocketAddr, to: SocketAddr, method: Method<'_>) -> Option<Sent> {
        let mut out = vec![0; 1_024];
        let query = Query { id: Self::id_of(from), read_only: false, want: None, method };
        let len = krpc::write_query(&mut out, b"pp", &query)?;
        out.truncate(len);
        Some((from, to, out))
    }

    fn some_hash(&mut self) -> InfoHash {
        self.hashes[self.rng.index(self.hashes.len())]
    }

    /// An announce: with the token that was given for it, or with one that was not.
    fn announce(&mut self, from: SocketAddr, to: SocketAddr, honest: bool) -> Option<Sent> {
        let given = self.tokens.get(&(to, from)).cloned();
        let (mut hash, mut token) = given.unwrap_or_else(|| (self.hashes[0], b"guessed!".to_vec()));
        let mut sender = from;
        if !honest {
            match self.rng.below(4) {
                // Another's token, another torrent's, or one bit wrong.
                0 => sender = self.at[self.rng.index(self.at.len())],
                1 => hash = self.some_hash(),
                2 => token[0] ^= 1 << self.rng.index(8),
                _ => token.truncate(7),
            }
        }
        let method = Method::AnnouncePeer {
            info_hash: hash,
            port: 6_881,
            implied_port: false,
            token: &token,
            seed: true,
        };
        self.ask(sender, to, method)
    }

    /// A reply to a question that was asked of somebody else, or of nobody.
    fn forge(&mut self, from: SocketAddr, to: SocketAddr) -> Option<Sent> {
        let mut t = [0; 4];
        let tag = self.rng.u32() as u16;
        t[1] = self.rng.below(8) as u8;
        t[2..].copy_from_slice(&tag.to_be_bytes());
        let mut out = vec![0; 1_024];
        let samples = Some((0, 4, &self.hashes[..]));
        let reply = Reply { id: Self::id_of(from), samples, ..Reply::default() };
        let len = krpc::write_reply(&mut out, &t, to, &reply)?;
        out.truncate(len);
        Some((from, to, out))
    }
}

/// Sybil `n`: all of one network.
fn sybil(n: u8) -> [u8; 4] {
    [12, 9, 9, n]
}

fn is_sybil(at: SocketAddr) -> bool {
    matches!(at.ip(), std::net::IpAddr::V4(ip) if ip.octets()[..3] == sybil(0)[..3])
}

/// More than the votes that change an id.
const SYBILS: u8 = 24;
/// What all sybils say our address is.
const FALSE_IP: [u8; 4] = [66, 66, 66, 66];

impl Crowd for Pests {
    fn on_datagram(&mut self, at: SocketAddr, from: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let place = self.at.iter().position(|pest| *pest == at)?;
        let message = krpc::decode(data).ok()?;
        match message.body {
            Body::Query(query) => {
                let (t, query) = (message.transaction.to_vec(), query);
                self.answer(place, from, &t, &query)
            }
            Body::Response(response) => {
                if let (Some(token), Some((hash, _))) = (response.token, self.tokens.get(&(from, at))) {
                    let hash = *hash;
                    self.tokens.insert((from, at), (hash, token.to_vec()));
                }
                None
            }
            Body::Error(..) => None,
        }
    }

    fn refuses(&mut self, _: SocketAddr) -> bool {
        self.refuses
    }

    fn acts_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }

    fn act(&mut self, _: Instant) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..3 {
            let from = self.at[self.rng.index(self.at.len())];
            let to = self.hosts[self.rng.index(self.hosts.len())];
            let random = Id::random(&mut self.rng);
            match self.rng.below(12) {
                0..=3 => {
                    let info_hash = self.some_hash();
                    self.tokens.entry((to, from)).or_insert_with(|| (info_hash, b"guessed!".to_vec()));
                    let info_hash = self.tokens[&(to, from)].0;
                    sent.extend(self.ask(
                        from,
                        to,
                        Method::GetPeers { info_hash, noseed: false, scrape: false },
                    ));
                }
                4 | 5 => sent.extend(self.announce(from, to, true)),
                6 | 7 => sent.extend(self.announce(from, to, false)),
                8 => sent.extend(self.forge(from, to)),
                9 => sent.extend(self.ask(from, to, Method::FindNode { target: random })),
                10 if self.floods => {
                    for _ in 0..60 {
                        sent.extend(self.ask(from, to, Method::SampleInfohashes { target: random }));
                    }
                }
                _ => {
                    let mut junk = vec![b'd'; 1 + self.rng.index(100)];
                    self.rng.fill(&mut junk[1..]);
                    sent.push((from, to, junk));
                }
            }
        }
        sent
    }
}
