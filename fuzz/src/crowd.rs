//! The other nodes of a DHT: they answer what they are asked, well or badly, ask themselves, and
//! look at everything that a node sends.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dht_hunter::base::hash::sha1;
use dht_hunter::base::{Id, InfoHash, Path, Scope, SocketId};
use dht_hunter::wire::bencode::{self, Limits};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{
    Body, Message, Method, PACKET_MAX, Query, Reply, Want, decode, write_error, write_query, write_reply,
};

use crate::{Feed, peer};

/// Whoever sits around the node under test.
pub struct Crowd {
    /// The addresses that the node listens on, by socket.
    listen: Vec<IpAddr>,
    /// Its queries that were not answered yet, the oldest first.
    asked: VecDeque<Asked>,
    /// What it was told last, for answers that come later.
    said: VecDeque<(Path, Vec<u8>)>,
    /// The tokens it gave out, and when (by [`Crowd::at`]).
    tokens: BTreeMap<(IpAddr, InfoHash), Vec<(Vec<u8>, u64)>>,
    /// Seconds of the test's clock.
    pub at: u64,
}

/// A query of the node under test.
struct Asked {
    path: Path,
    transaction: Vec<u8>,
    id: Id,
    target: Id,
}

impl Crowd {
    /// Around a node that listens on these addresses.
    pub fn new(listen: Vec<IpAddr>) -> Self {
        Self { listen, asked: VecDeque::new(), said: VecDeque::new(), tokens: BTreeMap::new(), at: 0 }
    }

    /// The node under test sent a datagram of its own accord: a canonical query to where it may go.
    pub fn sees(&mut self, path: Path, packet: &[u8]) {
        let listen = self.listen[usize::from(path.socket.0)];
        assert!(Scope::may_contact(listen, path.remote), "{path:?}");
        assert!(packet.len() <= PACKET_MAX && bencode::decode(packet, &Limits::STRICT).is_ok());
        let message = decode(packet).expect("what it sends can be read");
        let Body::Query(query) = message.body else {
            return self.answered_late(path, &message);
        };
        let target = match query.method {
            Method::FindNode { target } | Method::SampleInfohashes { target } => target,
            Method::GetPeers { info_hash, .. } | Method::AnnouncePeer { info_hash, .. } => info_hash,
            Method::Ping | Method::Unknown { .. } => query.id,
        };
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { path, transaction: message.transaction.to_vec(), id: query.id, target });
    }

    /// A datagram for the node under test.
    pub fn says(&mut self, feed: &mut Feed<'_>) -> (Path, Vec<u8>) {
        let (path, said) = match feed.u8() % 16 {
            0..=8 if !self.asked.is_empty() => self.answers(feed),
            9 => {
                let path = self.path(feed);
                (path, feed.bytes(256).to_vec())
            }
            _ => self.asks(feed),
        };
        if self.said.len() >= SAID_MAX {
            self.said.pop_front();
        }
        self.said.push_back((path, said.clone()));
        (path, said)
    }

    /// What the node under test answered directly to `said`; an answer tells nothing but what it
    /// is about, and its transaction is the one that was asked with.
    pub fn answered(&mut self, path: Path, said: &[u8], answer: &[u8]) {
        let message = decode(answer).expect("what it answers can be read");
        assert!(answer.len() <= PACKET_MAX && bencode::decode(answer, &Limits::STRICT).is_ok());
        assert_eq!(message.external, Some(path.remote));
        let token = match message.body {
            Body::Query(_) => panic!("an answer is no query"),
            Body::Error(code, _) => return assert!((201..=204).contains(&code)),
            Body::Response(response) => response.token,
        };
        let asked = decode(said).expect("only what can be read gets a response");
        assert_eq!(asked.transaction, message.transaction);
        let Body::Query(asked) = asked.body else { panic!("nothing was asked") };
        match asked.method {
            Method::GetPeers { info_hash, .. } => {
                let token = token.expect("whoever asks for peers may announce").to_vec();
                let (at, issued) = (self.at, self.tokens.entry((path.remote.ip(), info_hash)).or_default());
                issued.retain(|(other, issued_at)| *other != token && at - issued_at <= TOKEN_SECS_MAX);
                issued.push((token, at));
            }
            Method::AnnouncePeer { info_hash, token, .. } => {
                // What was said may have waited: it need not be the last one.
                let issued = self.tokens.get(&(path.remote.ip(), info_hash));
                let issued = issued.and_then(|all| all.iter().find(|(issued, _)| issued == token));
                let (_, at) = issued.expect("an announce is accepted with a token that was given out");
                assert!(self.at - at <= TOKEN_SECS_MAX, "the token is {} s old", self.at - at);
            }
            _ => assert_eq!(token, None),
        }
    }

    /// An answer that had to wait for its share. Several queries may have had its transaction.
    fn answered_late(&mut self, path: Path, answer: &Message<'_>) {
        assert_eq!(answer.external, Some(path.remote));
        let Body::Response(response) = &answer.body else { return };
        let token = response.token;
        let from_there =
            self.said.iter().filter(|(from, _)| (from.socket, from.remote) == (path.socket, path.remote));
        let asked = from_there.filter_map(|(_, said)| decode(said).ok());
        let asked: Vec<_> = asked.filter(|said| said.transaction == answer.transaction).collect();
        assert!(!asked.is_empty(), "{answer:?} to what was not asked");
        let Some(token) = token else { return };
        for said in asked {
            let Body::Query(Query { method: Method::GetPeers { info_hash, .. }, .. }) = said.body else {
                continue;
            };
            let issued = self.tokens.entry((path.remote.ip(), info_hash)).or_default();
            issued.push((token.to_vec(), self.at));
        }
    }

    /// An address of the crowd; at times one that is nobody's.
    pub fn addr(&self, feed: &mut Feed<'_>, v6: bool) -> SocketAddr {
        let number = feed.u8();
        let port = 6_881 + u16::from(number % 3);
        let ip: IpAddr = match (number, v6) {
            (0xff, false) => Ipv4Addr::from_bits(feed.u32()).into(),
            (0xff, true) => Ipv6Addr::from_bits(u128::from_le_bytes(feed.array())).into(),
            (0xfe, false) => Ipv4Addr::LOCALHOST.into(),
            (0xfe, true) => Ipv6Addr::LOCALHOST.into(),
            (0xfd, _) => return SocketAddr::new(self.addr(feed, v6).ip(), 0),
            (number, false) => Ipv4Addr::new(5, number / 4, number / 2, 1).into(),
            (number, true) => {
                Ipv6Addr::new(0x2001, 0xdb9, u16::from(number / 4), 0, 0, 0, 0, u16::from(number / 2)).into()
            }
        };
        SocketAddr::new(ip, port)
    }

    fn path(&self, feed: &mut Feed<'_>) -> Path {
        let socket = feed.below(self.listen.len());
        let remote = self.addr(feed, self.listen[socket].is_ipv6());
        // A socket that does not exist, or an address of the other family.
        let socket = if feed.u8() == 0xff { 99 } else { socket as u16 };
        Path { socket: SocketId(socket), local: None, remote }
    }

    fn answers(&mut self, feed: &mut Feed<'_>) -> (Path, Vec<u8>) {
        let index = feed.below(self.asked.len());
        let keep = feed.u8() == 0xff;
        let asked = &self.asked[index];
        let (mut path, own, target) = (asked.path, asked.id, asked.target);
        let mut transaction = asked.transaction.clone();
        let from = path.remote;
        let mut packet = vec![0; 4 * PACKET_MAX];
        let external = if feed.u8() == 0xff { self.addr(feed, from.is_ipv6()) } else { self.external(path) };
        let len = match feed.u8() {
            0xff => write_error(&mut packet, &transaction, external, 201, "no"),
            choice => {
                if choice == 0xfe {
                    transaction.push(0);
                }
                let (id, parts) = (id_of(from, own, feed), Parts::some(self, feed, own, target));
                write_reply(&mut packet, &transaction, external, &parts.reply(id))
            }
        };
        packet.truncate(len.expect("there is room"));
        damage(feed, &mut packet);
        if feed.u8() == 0xff {
            path.remote = self.addr(feed, from.is_ipv6());
        }
        if !keep {
            self.asked.remove(index);
        }
        (path, packet)
    }

    fn asks(&mut self, feed: &mut Feed<'_>) -> (Path, Vec<u8>) {
        let path = self.path(feed);
        let info_hash = some_hash(feed);
        let last = |all: &Vec<(Vec<u8>, u64)>| all.last().map(|(token, _)| token.clone());
        let issued = self.tokens.get(&(path.remote.ip(), info_hash)).and_then(last);
        let any = self.tokens.values().next().and_then(last);
        let token = if feed.one_in(8) { any } else { issued }.unwrap_or_default();
        let method = match feed.u8() % 8 {
            0 => Method::Ping,
            1 => Method::FindNode { target: Id(feed.array()) },
            2 => Method::SampleInfohashes { target: Id(feed.array()) },
            3..=4 => {
                let (noseed, scrape) = (feed.one_in(4), feed.one_in(4));
                Method::GetPeers { info_hash, noseed, scrape }
            }
            _ => {
                let (implied_port, seed) = (feed.one_in(2), feed.one_in(2));
                let port = if implied_port { 0 } else { feed.u16() };
                Method::AnnouncePeer { info_hash, port, implied_port, token: &token, seed }
            }
        };
        let want = feed.one_in(3).then(|| Want { v4: feed.one_in(2), v6: feed.one_in(2) });
        let id = id_of(path.remote, Id::default(), feed);
        let query = Query { id, read_only: feed.one_in(8), want, method };
        let mut packet = vec![0; PACKET_MAX];
        let transaction = feed.bytes(4);
        let len = write_query(&mut packet, transaction, &query).expect("there is room");
        packet.truncate(len);
        damage(feed, &mut packet);
        (path, packet)
    }

    /// What the crowd agrees on as the address of the node under test.
    fn external(&self, path: Path) -> SocketAddr {
        match path.remote {
            SocketAddr::V4(_) => SocketAddr::from(([80, 1, 2, 3], 6_881)),
            SocketAddr::V6(_) => SocketAddr::from(([0x2a00, 1, 0, 0, 0, 0, 0, 3], 6_881)),
        }
    }
}

/// What a response is made of.
struct Parts {
    nodes: Vec<NodeAddr>,
    nodes6: Vec<NodeAddr>,
    values: Vec<SocketAddr>,
    samples: Option<(u32, u64, Vec<InfoHash>)>,
    token: Option<Vec<u8>>,
    scrape: Option<([u8; 256], [u8; 256])>,
}

impl Parts {
    fn some(crowd: &Crowd, feed: &mut Feed<'_>, own: Id, target: Id) -> Self {
        let node = |feed: &mut Feed<'_>, v6| {
            let addr = crowd.addr(feed, v6);
            // Close to what is wanted, close to the node under test, or anywhere.
            let id = match feed.u8() {
                close @ 0xf0.. => near(target, close, feed),
                close @ 0xe0.. => near(own, close, feed),
                _ => id_of(addr, own, feed),
            };
            NodeAddr { id, addr }
        };
        let nodes = (0..feed.below(10)).map(|_| node(feed, false)).collect();
        let nodes6 = (0..feed.below(4)).map(|_| node(feed, true)).collect();
        let values = (0..feed.below(6)).map(|n| crowd.addr(feed, n % 2 == 1)).collect();
        let samples = feed.one_in(2).then(|| {
            let hashes = (0..feed.below(6)).map(|_| some_hash(feed)).collect();
            (u32::from(feed.u16()), u64::from(feed.u8()), hashes)
        });
        let token = feed.one_in(2).then(|| feed.bytes(200).to_vec());
        let scrape = feed.one_in(4).then(|| ([feed.u8(); 256], [feed.u8(); 256]));
        Self { nodes, nodes6, values, samples, token, scrape }
    }

    fn reply(&self, id: Id) -> Reply<'_> {
        Reply {
            id,
            token: self.token.as_deref(),
            nodes: Some(&self.nodes),
            nodes6: Some(&self.nodes6),
            values: &self.values,
            samples: self.samples.as_ref().map(|(interval, num, hashes)| (*interval, *num, &hashes[..])),
            scrape: self.scrape.as_ref().map(|(seeds, peers)| (seeds, peers)),
        }
    }
}

/// The id of whoever lives at an address, the same as before as a rule.
fn id_of(addr: SocketAddr, own: Id, feed: &mut Feed<'_>) -> Id {
    match feed.u8() {
        0xff => own,
        0xfe => Id(feed.array()),
        _ => Id(sha1(addr.to_string().as_bytes())),
    }
}

fn near(id: Id, close: u8, feed: &mut Feed<'_>) -> Id {
    let mut near = id;
    let from = usize::from(close % 16) + 1;
    near.0[from..].copy_from_slice(&feed.array::<20>()[from..]);
    near
}

fn some_hash(feed: &mut Feed<'_>) -> InfoHash {
    let number = feed.u8();
    match peer::library().get(usize::from(number % 8)) {
        Some(info) => peer::hash_of(info),
        None => Id([number; 20]),
    }
}

/// Changes some bytes, at times.
fn damage(feed: &mut Feed<'_>, packet: &mut Vec<u8>) {
    let changes = feed.u8().saturating_sub(0xf8);
    for _ in 0..changes {
        let at = feed.below(packet.len());
        packet[at] = feed.u8();
    }
    if changes == 7 {
        packet.truncate(feed.below(packet.len()));
    }
}

/// Enough to answer late and out of order.
const ASKED_MAX: usize = 64;
/// More than it keeps queries to be answered later.
const SAID_MAX: usize = 1_024;
/// BEP 5: tokens up to ten minutes old are accepted.
const TOKEN_SECS_MAX: u64 = 600;
