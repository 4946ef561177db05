//! KRPC, the DHT's messages (BEP 5, 32, 33, 42, 43, 51): one datagram, one bencoded dictionary.
//!
//! Reading is lenient where real nodes are sloppy (key order, trailing bytes, fields of the
//! wrong type) and strict where a mistake could be used against us (lengths, repeated envelope
//! keys). Writing is canonical: rTorrent refuses anything else.

use std::net::{IpAddr, SocketAddr};

use super::bencode::{self, FirstKeys, Limits, List, Reader, Value, Writer};
use super::compact::{self, NODE_V4, NODE_V6, NodeAddr};
use crate::base::{Id, InfoHash, NodeId};

/// Any message, borrowed from its datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `t`, echoed byte for byte whatever its length.
    pub transaction: &'a [u8],
    /// `v`, the client's two letters and version, if given.
    pub version: Option<&'a [u8]>,
    /// `ip`: our own address as the sender sees it (BEP 42).
    pub external: Option<SocketAddr>,
    /// `bs`: libtorrent looks for nodes with `get_peers` while it bootstraps, and its target is no
    /// infohash.
    pub bootstrap: bool,
    /// What it says.
    pub body: Body<'a>,
}

/// The three kinds of message.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// `y` = `q`
    Query(Query<'a>),
    /// `y` = `r`
    Response(Response<'a>),
    /// `y` = `e`: a code and a text.
    Error(i64, &'a [u8]),
}

/// A query and who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The id of the asking node.
    pub id: NodeId,
    /// BEP 43: serve it, but do not remember or ping it.
    pub read_only: bool,
    /// BEP 32: which families of nodes it wants; `None` is the family of the transport.
    pub want: Option<Want>,
    /// What it asks.
    pub method: Method<'a>,
}

/// BEP 32 `want`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// `n4`
    pub v4: bool,
    /// `n6`
    pub v6: bool,
}

/// What a query asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// BEP 5
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// The TCP port, to be ignored if `implied_port`.
        port: u16,
        /// Use the UDP source port instead.
        implied_port: bool,
        /// What an earlier `get_peers` answered.
        token: &'a [u8],
        /// BEP 33: the peer has all of it.
        seed: bool,
    },
    /// BEP 5
    FindNode {
        /// Nodes close to this are wanted.
        target: Id,
    },
    /// BEP 5
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// BEP 33: leave seeds out of `values`.
        noseed: bool,
        /// BEP 33: answer with the two filters.
        scrape: bool,
    },
    /// BEP 5
    Ping,
    /// BEP 51
    SampleInfohashes {
        /// Steers only the `nodes` in the answer.
        target: Id,
    },
    /// A query of the future; libtorrent answers those with a target as `find_node`.
    Unknown {
        /// `target` or `info_hash`, if it has one.
        target: Option<Id>,
    },
}

/// A response, borrowed. Absent or unusable fields are `None` or empty.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The id of the answering node.
    pub id: NodeId,
    /// Needed to announce here (BEP 5). Absent from a full store (BEP 33).
    pub token: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: Option<List<'a>>,
    /// BEP 51; `None` means that the node does not speak it.
    pub samples: Option<Samples<'a>>,
    /// BEP 33: the filters of seeds and of peers.
    pub scrape: Option<(&'a [u8; FILTER_BYTES], &'a [u8; FILTER_BYTES])>,
}

/// The BEP 51 part of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    /// Seconds before the same node may be asked again, at most [`INTERVAL_MAX`].
    pub interval_secs: u32,
    /// How many infohashes the node has, if it says so.
    pub num: Option<u64>,
    hashes: &'a [u8],
}

/// Why a datagram is not processed, and whether its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject<'a> {
    /// Not a KRPC message; never answered.
    Drop(bencode::Error),
    /// Bencode, but no message; never answered.
    NotKrpc,
    /// A query that can be told what is wrong with it.
    Answer {
        /// To be echoed.
        transaction: &'a [u8],
        /// 203 protocol error or 204 unknown method.
        code: i64,
        /// In words.
        text: &'static str,
    },
}

/// What goes into a response of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// Our id.
    pub id: NodeId,
    /// For `get_peers`.
    pub token: Option<&'a [u8]>,
    /// IPv4 nodes, if that family is to be answered.
    pub nodes: Option<&'a [NodeAddr]>,
    /// IPv6 nodes, if that family is to be answered.
    pub nodes6: Option<&'a [NodeAddr]>,
    /// Peers of the asked torrent; left out if empty.
    pub values: &'a [SocketAddr],
    /// For `sample_infohashes`: interval in seconds, number of hashes stored, and some of them.
    pub samples: Option<(u32, u64, &'a [InfoHash])>,
    /// For a scrape: filter of seeds, filter of peers.
    pub scrape: Option<(&'a [u8; FILTER_BYTES], &'a [u8; FILTER_BYTES])>,
}

/// Decodes one datagram.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, Reject<'_>> {
    let envelope = Envelope::read(&mut Reader::new(datagram, &Limits::KRPC))?;
    let transaction = envelope.transaction.ok_or(Reject::NotKrpc)?;
    let body = match envelope.kind {
        Some(b"q") => Body::Query(envelope.query(transaction)?),
        Some(b"r") => Body::Response(envelope.response().ok_or(Reject::NotKrpc)?),
        Some(b"e") => envelope.error().ok_or(Reject::NotKrpc)?,
        _ => return Err(Reject::NotKrpc),
    };
    let bootstrap = envelope.bootstrap || envelope.arguments.as_ref().is_some_and(|it| it.bootstrap);
    let (version, external) = (envelope.version, envelope.external);
    Ok(Message { transaction, version, external, bootstrap, body })
}

impl<'a> Response<'a> {
    /// The nodes of `nodes`, then those of `nodes6`, at most 16 of each.
    pub fn nodes(self) -> impl Iterator<Item = NodeAddr> + 'a {
        let v4 = compact::nodes(self.nodes.unwrap_or_default(), false).take(NODES_MAX);
        v4.chain(compact::nodes(self.nodes6.unwrap_or_default(), true).take(NODES_MAX))
    }

    /// True if it says nothing about nodes, not even that it knows none: rTorrent gives peers or
    /// nodes, never both.
    pub fn lacks_nodes(self) -> bool {
        let is_empty = |list: Option<&[u8]>| list.is_some_and(<[u8]>::is_empty);
        self.nodes().next().is_none() && !is_empty(self.nodes) && !is_empty(self.nodes6)
    }

    /// The peers of `values`, of either family, those with an odd length left out.
    pub fn peers(self) -> impl Iterator<Item = SocketAddr> + 'a {
        let values = self.values.into_iter().flat_map(List::iter);
        values.filter_map(Value::bytes).filter_map(compact::peer).filter(|peer| peer.port() != 0)
    }
}

impl Samples<'_> {
    /// The sampled infohashes; of a field that was cut, or has bytes left over, the whole ones.
    pub fn hashes(&self) -> impl Iterator<Item = InfoHash> + '_ {
        self.hashes.chunks_exact(20).filter_map(Id::from_slice)
    }
}

/// The top level of a message, before it is known what it is.
#[derive(Default)]
struct Envelope<'a> {
    transaction: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    external: Option<SocketAddr>,
    bootstrap: bool,
    read_only: bool,
    method: Option<&'a [u8]>,
    arguments: Option<Arguments<'a>>,
    returned: Option<Returned<'a>>,
    failure: Option<Value<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject<'a>> {
        let mut it = Self::default();
        let (mut seen, mut repeated) = (0u16, false);
        if !reader.enter_dict().map_err(Reject::Drop)? {
            return Err(Reject::NotKrpc);
        }
        while let Some(key) = reader.key().map_err(Reject::Drop)? {
            let flag = match key {
                b"t" => 1,
                b"y" => 2,
                b"q" => 4,
                b"a" => 8,
                b"r" => 16,
                b"e" => 32,
                b"v" => 64,
                b"ip" => 128,
                b"ro" => 256,
                _ => 0,
            };
            let again = seen & flag != 0;
            seen |= flag;
            repeated |= again && flag <= 16;
            if again {
                reader.value().map_err(Reject::Drop)?;
                continue;
            }
            it.take(key, reader).map_err(Reject::Drop)?;
        }
        if repeated { Err(Reject::NotKrpc) } else { Ok(it) }
    }

    fn take(&mut self, key: &[u8], reader: &mut Reader<'a>) -> Result<(), bencode::Error> {
        match key {
            b"t" => self.transaction = reader.value()?.bytes(),
            b"y" => self.kind = reader.value()?.bytes(),
            b"q" => self.method = reader.value()?.bytes(),
            b"a" => self.arguments = Arguments::read(reader)?,
            b"r" => self.returned = Returned::read(reader)?,
            b"e" => self.failure = Some(reader.value()?),
            b"v" => self.version = reader.value()?.bytes(),
            b"ip" => self.external = reader.value()?.bytes().and_then(compact::peer),
            b"bs" => self.bootstrap = reader.value()?.int() == Some(1),
            b"ro" => self.read_only = reader.value()?.int() == Some(1),
            _ => _ = reader.value()?,
        }
        Ok(())
    }

    fn query(&self, transaction: &'a [u8]) -> Result<Query<'a>, Reject<'a>> {
        let refuse = |text| Reject::Answer { transaction, code: PROTOCOL_ERROR, text };
        let (no_name, no_arguments) = (refuse("missing 'q' key"), refuse("missing 'a' key"));
        let (no_id, no_token) = (refuse("missing 'id' key"), refuse("missing 'token' key"));
        let no_port = refuse("missing or invalid 'port' key");
        let (no_target, no_hash) = (refuse("missing 'target' key"), refuse("missing 'info_hash' key"));
        let name = self.method.ok_or(no_name)?;
        let arguments = self.arguments.as_ref().ok_or(no_arguments)?;
        let id = arguments.id.ok_or(no_id)?;
        let method = match name {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: arguments.target.ok_or(no_target)? },
            b"sample_infohashes" => Method::SampleInfohashes { target: arguments.target.ok_or(no_target)? },
            b"get_peers" => Method::GetPeers {
                info_hash: arguments.info_hash.ok_or(no_hash)?,
                noseed: arguments.noseed,
                scrape: arguments.scrape,
            },
            b"announce_peer" => {
                let port = if arguments.implied_port { Some(0) } else { arguments.port };
                Method::AnnouncePeer {
                    info_hash: arguments.info_hash.ok_or(no_hash)?,
                    port: port.ok_or(no_port)?,
                    implied_port: arguments.implied_port,
                    token: arguments.token.ok_or(no_token)?,
                    seed: arguments.seed,
                }
            }
            _ => Method::Unknown { target: arguments.target.or(arguments.info_hash) },
        };
        Ok(Query { id, read_only: self.read_only, want: arguments.want, method })
    }

    fn response(&self) -> Option<Response<'a>> {
        let it = self.returned.as_ref()?;
        let whole = |hashes: &'a [u8]| &hashes[..hashes.len() - hashes.len() % 20];
        let interval_secs = it.interval.clamp(0, i64::from(INTERVAL_MAX)) as u32;
        let samples = it.samples.map(|hashes| Samples { interval_secs, num: it.num, hashes: whole(hashes) });
        let scrape = it.seeds.zip(it.peers);
        let (token, nodes, nodes6, values) = (it.token, it.nodes, it.nodes6, it.values);
        Some(Response { id: it.id?, token, nodes, nodes6, values, samples, scrape })
    }

    fn error(&self) -> Option<Body<'a>> {
        let mut parts = self.failure?.list()?.iter();
        let code = parts.next()?.int()?;
        Some(Body::Error(code, parts.next().and_then(Value::bytes).unwrap_or_default()))
    }
}

/// The arguments of every query that exists, in one pass.
#[derive(Default)]
struct Arguments<'a> {
    id: Option<NodeId>,
    target: Option<Id>,
    info_hash: Option<InfoHash>,
    port: Option<u16>,
    implied_port: bool,
    token: Option<&'a [u8]>,
    seed: bool,
    noseed: bool,
    scrape: bool,
    bootstrap: bool,
    want: Option<Want>,
}

impl<'a> Arguments<'a> {
    /// `None` if it is no dictionary.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, bencode::Error> {
        let (mut it, mut keys) = (Self::default(), FirstKeys::default());
        if !reader.enter_dict()? {
            return Ok(None);
        }
        while let Some(key) = reader.key()? {
            let value = reader.value()?;
            let id = || value.bytes().and_then(Id::from_slice);
            let on = || value.int().is_some_and(|int| int != 0);
            match key {
                b"id" if keys.is_first(0) => it.id = id(),
                b"target" if keys.is_first(1) => it.target = id(),
                b"info_hash" if keys.is_first(2) => it.info_hash = id(),
                b"port" if keys.is_first(3) => {
                    it.port = value.int().and_then(|port| u16::try_from(port).ok())
                }
                b"implied_port" if keys.is_first(4) => it.implied_port = on(),
                b"token" if keys.is_first(5) => it.token = value.bytes(),
                b"seed" if keys.is_first(6) => it.seed = on(),
                b"noseed" if keys.is_first(7) => it.noseed = on(),
                b"scrape" if keys.is_first(8) => it.scrape = on(),
                b"want" if keys.is_first(9) => it.want = value.list().map(Want::read),
                b"bs" if keys.is_first(10) => it.bootstrap = on(),
                _ => {}
            }
        }
        Ok(Some(it))
    }
}

/// The fields of every response that exists, in one pass.
#[derive(Default)]
struct Returned<'a> {
    id: Option<NodeId>,
    token: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: Option<List<'a>>,
    interval: i64,
    num: Option<u64>,
    samples: Option<&'a [u8]>,
    seeds: Option<&'a [u8; FILTER_BYTES]>,
    peers: Option<&'a [u8; FILTER_BYTES]>,
}

impl<'a> Returned<'a> {
    /// `None` if it is no dictionary.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, bencode::Error> {
        let (mut it, mut keys) = (Self::default(), FirstKeys::default());
        if !reader.enter_dict()? {
            return Ok(None);
        }
        while let Some(key) = reader.key()? {
            let value = reader.value()?;
            match key {
                b"id" if keys.is_first(0) => it.id = value.bytes().and_then(Id::from_slice),
                b"token" if keys.is_first(1) => {
                    it.token = value.bytes().filter(|token| token.len() <= TOKEN_MAX)
                }
                b"nodes" if keys.is_first(2) => it.nodes = value.bytes(),
                b"nodes6" if keys.is_first(3) => it.nodes6 = value.bytes(),
                b"values" if keys.is_first(4) => it.values = value.list(),
                b"interval" if keys.is_first(5) => it.interval = value.int().unwrap_or_default(),
                b"num" if keys.is_first(6) => it.num = value.int().and_then(|num| u64::try_from(num).ok()),
                b"samples" if keys.is_first(7) => it.samples = value.bytes(),
                b"BFsd" if keys.is_first(8) => {
                    it.seeds = value.bytes().and_then(|filter| filter.try_into().ok())
                }
                b"BFpe" if keys.is_first(9) => {
                    it.peers = value.bytes().and_then(|filter| filter.try_into().ok())
                }
                _ => {}
            }
        }
        Ok(Some(it))
    }
}

impl Want {
    fn read(list: List<'_>) -> Self {
        let has = |name: &[u8]| list.iter().any(|value| value.bytes() == Some(name));
        Self { v4: has(b"n4"), v6: has(b"n6") }
    }
}

/// Writes a query; its length, or `None` if `out` is too small.
pub fn write_query(out: &mut [u8], transaction: &[u8], query: &Query<'_>) -> Option<usize> {
    let mut w = Writer::new(out);
    w.raw(b"d1:ad2:id20:").raw(&query.id.0);
    let name: &[u8] = match query.method {
        Method::Ping | Method::Unknown { .. } => b"ping",
        Method::FindNode { target } => {
            w.raw(b"6:target20:").raw(&target.0);
            b"find_node"
        }
        Method::SampleInfohashes { target } => {
            w.raw(b"6:target20:").raw(&target.0);
            b"sample_infohashes"
        }
        Method::GetPeers { info_hash, noseed, scrape } => {
            w.raw(b"9:info_hash20:").raw(&info_hash.0);
            if noseed {
                w.raw(b"6:noseedi1e");
            }
            if scrape {
                w.raw(b"6:scrapei1e");
            }
            b"get_peers"
        }
        Method::AnnouncePeer { info_hash, port, implied_port, token, seed } => {
            w.raw(b"12:implied_port").int(i64::from(implied_port));
            w.raw(b"9:info_hash20:").raw(&info_hash.0);
            w.raw(b"4:port").int(i64::from(port));
            w.raw(b"4:seed").int(i64::from(seed));
            w.raw(b"5:token").bytes(token);
            b"announce_peer"
        }
    };
    if let Some(want) = query.want {
        w.raw(b"4:wantl");
        w.raw(if want.v4 { b"2:n4" } else { b"" }).raw(if want.v6 { b"2:n6" } else { b"" });
        w.raw(b"e");
    }
    w.raw(b"e1:q").bytes(name);
    if query.read_only {
        w.raw(b"2:roi1e");
    }
    w.raw(b"1:t").bytes(transaction).raw(VERSION).raw(b"1:y1:qe");
    w.finish()
}

/// Writes a response to a query from `to`; its length, or `None` if `out` is too small.
pub fn write_reply(out: &mut [u8], transaction: &[u8], to: SocketAddr, reply: &Reply<'_>) -> Option<usize> {
    let mut w = Writer::new(out);
    w.raw(b"d");
    write_external(&mut w, to);
    w.raw(b"1:rd");
    if let Some((seeds, peers)) = reply.scrape {
        w.raw(b"4:BFpe").bytes(peers).raw(b"4:BFsd").bytes(seeds);
    }
    w.raw(b"2:id20:").raw(&reply.id.0);
    if let Some((interval_secs, ..)) = reply.samples {
        w.raw(b"8:interval").int(i64::from(interval_secs));
    }
    if let Some(nodes) = reply.nodes {
        write_nodes(w.raw(b"5:nodes"), nodes, NODE_V4);
    }
    if let Some(nodes) = reply.nodes6 {
        write_nodes(w.raw(b"6:nodes6"), nodes, NODE_V6);
    }
    if let Some((_, num, hashes)) = reply.samples {
        w.raw(b"3:num").int(i64::try_from(num).unwrap_or(i64::MAX));
        w.raw(b"7:samples").prefix(hashes.len() * 20);
        hashes.iter().for_each(|hash| _ = w.raw(&hash.0));
    }
    if let Some(token) = reply.token {
        w.raw(b"5:token").bytes(token);
    }
    if !reply.values.is_empty() {
        w.raw(b"6:valuesl");
        reply.values.iter().for_each(|peer| write_address(&mut w, *peer));
        w.raw(b"e");
    }
    w.raw(b"e1:t").bytes(transaction).raw(VERSION).raw(b"1:y1:re");
    w.finish()
}

/// Writes an error to a query from `to`; its length, or `None` if `out` is too small.
pub fn write_error(
    out: &mut [u8],
    transaction: &[u8],
    to: SocketAddr,
    code: i64,
    text: &str,
) -> Option<usize> {
    let mut w = Writer::new(out);
    w.raw(b"d1:el").int(code).bytes(text.as_bytes()).raw(b"e");
    write_external(&mut w, to);
    w.raw(b"1:t").bytes(transaction).raw(VERSION).raw(b"1:y1:ee");
    w.finish()
}

fn write_external(w: &mut Writer<'_>, to: SocketAddr) {
    w.raw(b"2:ip");
    write_address(w, to);
}

/// As a string of 6 or 18 bytes.
fn write_address(w: &mut Writer<'_>, addr: SocketAddr) {
    let port = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => {
            let mut bytes = *b"6:iiiipp";
            bytes[2..6].copy_from_slice(&ip.octets());
            bytes[6..].copy_from_slice(&port);
            w.raw(&bytes);
        }
        IpAddr::V6(ip) => {
            let mut bytes = *b"18:iiiiiiiiiiiiiiiipp";
            bytes[3..19].copy_from_slice(&ip.octets());
            bytes[19..].copy_from_slice(&port);
            w.raw(&bytes);
        }
    }
}

/// Nodes of the other family are left out: a compact list has one size of entry.
fn write_nodes(w: &mut Writer<'_>, nodes: &[NodeAddr], size: usize) {
    let fits = |node: &&NodeAddr| node.addr.is_ipv4() == (size == NODE_V4);
    w.prefix(nodes.iter().filter(fits).count() * size);
    for node in nodes.iter().filter(fits) {
        let mut bytes = [0; NODE_V6];
        bytes[..20].copy_from_slice(&node.id.0);
        match node.addr.ip() {
            IpAddr::V4(ip) => bytes[20..24].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[20..36].copy_from_slice(&ip.octets()),
        }
        bytes[size - 2..size].copy_from_slice(&node.addr.port().to_be_bytes());
        w.raw(&bytes[..size]);
    }
}

/// BEP 5: generic, server and protocol errors, and an unknown method.
pub const GENERIC_ERROR: i64 = 201;
/// BEP 5
pub const SERVER_ERROR: i64 = 202;
/// BEP 5; also for a bad token.
pub const PROTOCOL_ERROR: i64 = 203;
/// BEP 5
pub const UNKNOWN_METHOD: i64 = 204;
/// BEP 51: six hours.
pub const INTERVAL_MAX: u32 = 21_600;
/// BEP 33: 2,048 bits.
pub const FILTER_BYTES: usize = 256;
/// BEP 32: what is sent is at most this long; longer ones are accepted.
pub const PACKET_MAX: usize = 1_024;

/// BitTorrent's own routers answer with 16 nodes instead of 8.
const NODES_MAX: usize = 16;
/// Longer tokens are not seen in the wild, and an announce must still fit in a packet.
const TOKEN_MAX: usize = 128;
/// `v`: two letters for the client, two bytes for the version.
const VERSION: &[u8] = b"1:v4:DH\x00\x01";

#[cfg(test)]
mod tests {
    use quickcheck::{Gen, QuickCheck};

    use super::*;
    use crate::base::Rng;

    const ID: Id = Id(*b"abcdefghij0123456789");
    const OTHER: Id = Id(*b"mnopqrstuvwxyz123456");

    fn query(packet: &[u8]) -> (&[u8], Query<'_>) {
        let message = decode(packet).unwrap();
        let Body::Query(query) = message.body else { panic!("{message:?}") };
        (message.transaction, query)
    }

    fn response(packet: &[u8]) -> (&[u8], Response<'_>) {
        let message = decode(packet).unwrap();
        let Body::Response(response) = message.body else { panic!("{message:?}") };
        (message.transaction, response)
    }

    fn addrs<const N: usize>(texts: [&str; N]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn node_addrs(response: Response<'_>) -> Vec<SocketAddr> {
        response.nodes().map(|node| node.addr).collect()
    }

    fn quickcheck(seed: u64) -> QuickCheck {
        QuickCheck::new().rng(Gen::from_size_and_seed(100, seed)).tests(500)
    }

    /// A response of `id` whose `r` ends with `rest`.
    fn with(rest: &[u8]) -> Vec<u8> {
        [b"d1:rd2:id20:0123456789abcdefghij", rest, b"e1:t2:aa1:y1:re"].concat()
    }

    fn nodes_field(bytes: &[u8]) -> Vec<u8> {
        with(&[format!("5:nodes{}:", bytes.len()).as_bytes(), bytes].concat())
    }

    // The names b2 ... b38 are the rows of a collection of packets from other projects' tests,
    // from the BEPs and from captures.

    #[test]
    fn b2_reply_with_a_binary_transaction() {
        let (t, reply) = response(b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:\x00\x041:y1:re");
        assert_eq!((t, reply.id), (&b"\x00\x04"[..], OTHER));
        assert_eq!((reply.nodes().count(), reply.peers().count(), reply.samples), (0, 0, None));
    }

    #[test]
    fn b3_find_node() {
        let packet = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:\x09\x0a1:y1:qe";
        let (t, query) = query(packet);
        assert_eq!(t, b"\x09\x0a");
        let method = Method::FindNode { target: OTHER };
        assert_eq!(query, Query { id: ID, read_only: false, want: None, method });
    }

    #[test]
    fn b5_one_node() {
        let packet = nodes_field(b"abcdefghijklmnopqrst\x8b\x82\x8e\xf5\x0ca");
        let (_, reply) = response(&packet);
        let nodes: Vec<_> = reply.nodes().collect();
        let [addr] = addrs(["139.130.142.245:3169"])[..] else { unreachable!() };
        assert_eq!(nodes, [NodeAddr { id: Id(*b"abcdefghijklmnopqrst"), addr }]);
        assert_eq!(reply.id, Id(*b"0123456789abcdefghij"));
    }

    #[test]
    fn b6_nodes_of_no_whole_number_are_dropped() {
        let packet = with(b"5:nodes9:def456...");
        assert_eq!(response(&packet).1.nodes().count(), 0);
    }

    #[test]
    fn b8_values_and_a_token() {
        let packet =
            b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
        let (t, reply) = response(packet);
        assert_eq!((t, reply.id, reply.token), (&b"aa"[..], ID, Some(&b"aoeusnth"[..])));
        let peers: Vec<_> = reply.peers().collect();
        assert_eq!(peers, addrs(["97.120.106.101:11893", "105.100.104.116:28269"]));
    }

    /// No `t`, no `y`, no `id`: a lenient reader finds two peers and two nodes. We drop it, since
    /// it answers no transaction of ours, and nobody it names is contacted.
    #[test]
    fn b9_a_bare_result_parses_but_is_dropped() {
        let packet = [
            &b"d1:rd6:valuesl6:\x01\x02\x03\x04\x05\x066:\x07\x08\x09\x0a\x0b\x0ce5:nodes52:"[..],
            &[7; 52],
            b"ee",
        ]
        .concat();
        let outer = bencode::decode(&packet, &Limits::KRPC).unwrap().dict().unwrap();
        let r = outer.get(b"r").and_then(Value::dict).unwrap();
        let values = r.get(b"values").and_then(Value::list).unwrap();
        let peers: Vec<_> = values.iter().filter_map(Value::bytes).filter_map(compact::peer).collect();
        assert_eq!(peers, addrs(["1.2.3.4:1286", "7.8.9.10:2828"]));
        let nodes = r.get(b"nodes").and_then(Value::bytes).unwrap();
        assert_eq!(compact::nodes(nodes, false).count(), 2);
        assert_eq!(bencode::decode(&packet, &Limits::STRICT), Err(bencode::Error::UnsortedKey));
        assert!(matches!(decode(&packet), Err(Reject::NotKrpc)));
    }

    fn announce(port: u16, implied_port: bool) -> Method<'static> {
        Method::AnnouncePeer { info_hash: OTHER, port, implied_port, token: b"aoeusnth", seed: false }
    }

    #[test]
    fn b10_announce_with_an_implied_port() {
        let packet = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
        assert_eq!(query(packet).1.method, announce(0, true));
    }

    #[test]
    fn b11_announce_without_an_implied_port() {
        let packet = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
        assert_eq!(query(packet).1.method, announce(6881, false));
    }

    #[test]
    fn b12_an_error() {
        let message = decode(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee").unwrap();
        assert_eq!(message.transaction, b"aa");
        let Body::Error(code, text) = message.body else { panic!("{message:?}") };
        assert_eq!((code, text), (GENERIC_ERROR, &b"A Generic Error Ocurred"[..]));
    }

    #[test]
    fn b14_b15_malformed_errors_are_dropped() {
        for packet in [
            &b"d1:el5:helloe1:t2:aa1:y1:ee"[..],
            b"d1:e15:Malformed Error1:y1:ee",
            b"d1:e15:Malformed Error1:t2:aa1:y1:ee",
        ] {
            assert!(matches!(decode(packet), Err(Reject::NotKrpc)));
        }
        let alone = decode(b"d1:eli203ee1:t2:aa1:y1:ee").unwrap();
        assert!(matches!(alone.body, Body::Error(PROTOCOL_ERROR, b"")));
    }

    #[test]
    fn b17_no_samples_is_still_bep_51() {
        let packet = b"d1:rd2:id20:hellohellohellohello8:intervali420e7:samples0:e1:t5:hello1:y1:re";
        let (t, reply) = response(packet);
        assert_eq!(t, b"hello");
        let samples = reply.samples.unwrap();
        assert_eq!((samples.interval_secs, samples.num, samples.hashes().count()), (420, None, 0));
    }

    #[test]
    fn b18_nodes_without_samples_is_not_bep_51() {
        let packet = with(&[b"8:intervali1e3:numi7e5:nodes26:".as_slice(), &[7; 26]].concat());
        let (_, reply) = response(&packet);
        assert_eq!((reply.samples, reply.nodes().count()), (None, 1));
    }

    #[test]
    fn bs_marks_a_bootstrap_target_wherever_it_stands() {
        let asks = |inner: &str, outer: &str| {
            let text = format!(
                "d1:ad{inner}2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e{outer}1:q9:get_peers1:t2:aa1:y1:qe"
            );
            decode(text.as_bytes()).unwrap().bootstrap
        };
        assert!(asks("2:bsi1e", "") && asks("", "2:bsi1e"));
        assert!(!asks("", "") && !asks("2:bsi0e", ""));
    }

    #[test]
    fn a_reply_without_nodes_is_told_from_one_that_knows_none() {
        let lacks = |rest: &[u8]| response(&with(rest)).1.lacks_nodes();
        assert!(lacks(b"6:valuesl6:axje.ue") && lacks(b"5:nodes3:abc"));
        assert!(!lacks(b"5:nodes0:6:valuesl6:axje.ue") && !lacks(b"6:nodes60:"));
        assert!(!lacks(&[&b"5:nodes26:"[..], &[7; 26]].concat()));
    }

    #[test]
    fn b20_b21_bencode_that_is_no_message() {
        let damaged = b"d1:rd6:\xd4/\xe2F\x00\x01i42ee1:t3:\x9a\x87\x011:v4:TR%=1:y1:re";
        let empty = b"d1:t0:1:y0:e";
        for packet in [&damaged[..], empty] {
            assert!(bencode::decode(packet, &Limits::STRICT).is_ok());
            assert!(matches!(decode(packet), Err(Reject::NotKrpc)));
        }
    }

    #[test]
    fn b23_what_a_query_lacks_is_told() {
        let cases = [
            (&b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t1:x1:y1:qe"[..], "missing 'target' key"),
            (
                b"d1:ad2:id20:abcdefghij0123456789e1:q17:sample_infohashes1:t1:x1:y1:qe",
                "missing 'target' key",
            ),
            (b"d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t1:x1:y1:qe", "missing 'info_hash' key"),
            (b"d1:ade1:q4:ping1:t1:x1:y1:qe", "missing 'id' key"),
            (b"d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t1:x1:y1:qe", "missing 'id' key"),
            (b"d1:q4:ping1:t1:x1:y1:qe", "missing 'a' key"),
            (b"d1:ad2:id20:abcdefghij0123456789e1:t1:x1:y1:qe", "missing 'q' key"),
        ];
        for (packet, expected) in cases {
            let Err(Reject::Answer { transaction, code, text }) = decode(packet) else {
                panic!("{expected}")
            };
            assert_eq!((transaction, code, text), (&b"x"[..], PROTOCOL_ERROR, expected));
        }
        let start = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456";
        for (rest, expected) in [
            (&b"4:porti1e"[..], "missing 'token' key"),
            (b"5:token1:x", "missing or invalid 'port' key"),
            (b"4:porti65536e5:token1:x", "missing or invalid 'port' key"),
            (b"4:porti-1e5:token1:x", "missing or invalid 'port' key"),
        ] {
            let packet = [start, rest, b"e1:q13:announce_peer1:t1:x1:y1:qe"].concat();
            let Err(Reject::Answer { text, .. }) = decode(&packet) else { panic!("{expected}") };
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn b24_a_chopped_node_names_nobody() {
        let packet = nodes_field(&[7; 25]);
        assert_eq!(response(&packet).1.nodes().count(), 0);
        let packet = with(&[b"6:nodes637:".as_slice(), &[7; 37]].concat());
        assert_eq!(response(&packet).1.nodes().count(), 0);
    }

    #[test]
    fn b29_unsorted_keys_are_read() {
        let packet = b"d1:y1:q1:q9:find_node1:t2:\x00\x091:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456ee";
        let (t, query) = query(packet);
        assert_eq!((t, query.method), (&b"\x00\x09"[..], Method::FindNode { target: OTHER }));
        assert_eq!(bencode::decode(packet, &Limits::STRICT), Err(bencode::Error::UnsortedKey));
    }

    #[test]
    fn b30_one_node_eight_times_is_one_node() {
        let packet = nodes_field(&b"abcdefghijklmnopqrst\x8b\x82\x8e\xf5\x0ca".repeat(8));
        let mut nodes = node_addrs(response(&packet).1);
        assert_eq!(nodes.len(), 8);
        nodes.dedup();
        assert_eq!(nodes.len(), 1);
    }

    #[test]
    fn b38_an_address_too_short() {
        for bytes in [&b""[..], b"1", b"12", b"12345"] {
            assert_eq!(compact::peer(bytes), None);
        }
        let packet = b"d2:ip1:x1:rd2:id20:abcdefghij0123456789e1:t1:x1:y1:re";
        assert_eq!(decode(packet).unwrap().external, None);
    }

    #[test]
    fn sixteen_nodes_are_taken_and_no_more() {
        let packet = nodes_field(&[7; 26 * 17]);
        assert_eq!(response(&packet).1.nodes().count(), NODES_MAX);
    }

    #[test]
    fn odd_values_and_port_zero_are_left_out() {
        let packet = with(b"6:valuesl5:abcdei7e6:axje.u6:axje\x00\x0018:0123456789abcdef.ulee");
        let peers: Vec<_> = response(&packet).1.peers().collect();
        assert_eq!(peers, addrs(["97.120.106.101:11893", "[3031:3233:3435:3637:3839:6162:6364:6566]:11893"]));
    }

    #[test]
    fn fields_of_the_wrong_type_count_as_absent() {
        let packet = with(
            b"4:BFpe3:abc4:BFsdi1e8:interval1:x5:nodesi1e6:nodes6le3:numi-1e\
            7:samples21:0123456789012345678905:tokeni7e6:values3:abc",
        );
        let (_, reply) = response(&packet);
        let samples = reply.samples.unwrap();
        let hashes: Vec<_> = samples.hashes().collect();
        assert_eq!(
            (samples.interval_secs, samples.num, &hashes[..]),
            (0, None, &[Id(*b"01234567890123456789")][..])
        );
        assert_eq!((reply.token, reply.scrape), (None, None));
        assert_eq!((reply.nodes().count(), reply.peers().count()), (0, 0));
    }

    #[test]
    fn intervals_stay_within_bep_51() {
        for (said, taken) in
            [("-5", 0), ("21600", 21_600), ("21601", INTERVAL_MAX), ("9223372036854775807", INTERVAL_MAX)]
        {
            let packet = with(format!("8:intervali{said}e7:samples0:").as_bytes());
            assert_eq!(response(&packet).1.samples.unwrap().interval_secs, taken);
        }
    }

    #[test]
    fn of_other_repeated_keys_the_first_counts() {
        let (one, two) = ("1".repeat(20), "2".repeat(20));
        let packet = format!(
            "d1:ad2:id20:{one}2:id20:{two}9:info_hash20:{one}9:info_hash20:{two}4:porti1e4:porti2e5:token1:a5:token1:be\
             1:q13:announce_peer2:roi1e2:roi0e1:t1:x1:v2:AA1:v2:BB1:y1:qe"
        );
        let query = query(packet.as_bytes()).1;
        assert_eq!(query.id.0, [b'1'; 20]);
        let Method::AnnouncePeer { info_hash, port, token, .. } = query.method else { panic!("{packet}") };
        assert_eq!((info_hash.0, port, token), ([b'1'; 20], 1, &b"a"[..]));
    }

    #[test]
    fn repeated_envelope_keys_are_dropped() {
        for twice in ["1:t1:x1:t1:x", "1:t1:x1:y1:q", "1:q4:ping1:t1:x", "1:ade1:t1:x", "1:rde1:rde1:t1:x"] {
            let packet = format!("d1:ad2:id20:abcdefghij0123456789e1:q4:ping{twice}1:y1:qe");
            assert!(matches!(decode(packet.as_bytes()), Err(Reject::NotKrpc)), "{twice}");
        }
    }

    #[test]
    fn tails_that_do_not_belong_are_ignored() {
        let packet = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t1:x1:y1:re";
        for tail in [&b"\0\0\0"[..], b"e", b"d1:t1:ye"] {
            assert_eq!(response(&[packet, tail].concat()).1.id, OTHER);
        }
        for len in 0..packet.len() {
            let mut cut = packet.to_vec();
            cut[len..].fill(0);
            assert!(matches!(decode(&packet[..len]), Err(Reject::Drop(_))), "cut at {len}");
            assert!(decode(&cut).is_err(), "zeroes from {len}");
        }
    }

    #[test]
    fn queries_of_the_future_keep_their_target() {
        let start = "d1:ad2:id20:abcdefghij0123456789";
        let rest = "20:mnopqrstuvwxyz123456e1:q3:new1:t1:x1:y1:qe";
        for name in ["9:info_hash", "6:target"] {
            let packet = format!("{start}{name}{rest}");
            assert_eq!(query(packet.as_bytes()).1.method, Method::Unknown { target: Some(OTHER) });
        }
        let packet = b"d1:ad2:id20:abcdefghij0123456789e1:q3:new1:t1:x1:y1:qe";
        assert_eq!(query(packet).1.method, Method::Unknown { target: None });
    }

    #[test]
    fn flags_and_wants_are_read() {
        let packet = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1e4:wantl2:n62:xx2:n4i7eee1:q9:get_peers2:roi1e1:t1:x1:y1:qe";
        let (_, query) = query(packet);
        let method = Method::GetPeers { info_hash: OTHER, noseed: true, scrape: true };
        assert_eq!(query, Query { id: ID, read_only: true, want: Some(Want { v4: true, v6: true }), method });
    }

    fn any_id(rng: &mut Rng) -> Id {
        Id::random(rng)
    }

    fn any_addr(rng: &mut Rng, v6: bool) -> SocketAddr {
        let port = 1 + rng.below(65_535) as u16;
        let bits = u128::from(rng.u64()) << 64 | u128::from(rng.u64());
        if v6 {
            SocketAddr::new(std::net::Ipv6Addr::from_bits(bits).into(), port)
        } else {
            SocketAddr::new(std::net::Ipv4Addr::from_bits(bits as u32).into(), port)
        }
    }

    fn any_query<'a>(rng: &mut Rng, token: &'a [u8]) -> Query<'a> {
        let coin = |rng: &mut Rng| rng.percent(50);
        let implied_port = coin(rng);
        let method = match rng.below(5) {
            0 => Method::Ping,
            1 => Method::FindNode { target: any_id(rng) },
            2 => Method::SampleInfohashes { target: any_id(rng) },
            3 => Method::GetPeers { info_hash: any_id(rng), noseed: coin(rng), scrape: coin(rng) },
            _ => Method::AnnouncePeer {
                info_hash: any_id(rng),
                // Ignored and not read where it is implied.
                port: if implied_port { 0 } else { rng.u32() as u16 },
                implied_port,
                token,
                seed: coin(rng),
            },
        };
        let want = coin(rng).then(|| Want { v4: coin(rng), v6: coin(rng) });
        Query { id: any_id(rng), read_only: coin(rng), want, method }
    }

    /// What a reply is made of, owned.
    struct Parts {
        nodes: Vec<NodeAddr>,
        nodes6: Vec<NodeAddr>,
        values: Vec<SocketAddr>,
        hashes: Vec<InfoHash>,
        filters: ([u8; FILTER_BYTES], [u8; FILTER_BYTES]),
    }

    impl Parts {
        fn any(rng: &mut Rng) -> Self {
            let mut node = |v6| NodeAddr { id: any_id(rng), addr: any_addr(rng, v6) };
            let nodes = (0..8).map(|_| node(false)).collect();
            let nodes6 = (0..8).map(|_| node(true)).collect();
            let values = (0..20).map(|n| any_addr(rng, n % 2 == 0)).collect();
            let hashes = (0..20).map(|_| any_id(rng)).collect();
            let mut filters = ([0; FILTER_BYTES], [0; FILTER_BYTES]);
            rng.fill(&mut filters.0);
            rng.fill(&mut filters.1);
            Self { nodes, nodes6, values, hashes, filters }
        }

        fn reply<'a>(&'a self, rng: &mut Rng, token: &'a [u8]) -> Reply<'a> {
            let mut some = |len: usize| rng.index(len + 1);
            let (nodes, nodes6) = (&self.nodes[..some(8)], &self.nodes6[..some(8)]);
            let (values, hashes) = (&self.values[..some(20)], &self.hashes[..some(20)]);
            let interval = rng.below(u64::from(INTERVAL_MAX) + 1) as u32;
            Reply {
                id: any_id(rng),
                token: rng.percent(50).then_some(token),
                nodes: rng.percent(50).then_some(nodes),
                nodes6: rng.percent(50).then_some(nodes6),
                values: if rng.percent(50) { values } else { &[] },
                samples: rng.percent(50).then_some((interval, rng.u64() >> 1, hashes)),
                scrape: rng.percent(50).then_some((&self.filters.0, &self.filters.1)),
            }
        }
    }

    fn canonical(packet: &[u8]) -> bool {
        bencode::decode(packet, &Limits::STRICT).is_ok_and(|value| value.dict().is_some())
    }

    #[test]
    fn queries_round_trip_and_are_canonical() {
        fn property(seed: u64, t: Vec<u8>, token: Vec<u8>) -> bool {
            let sent = any_query(&mut Rng::seeded(seed), &token);
            let mut out = [0; PACKET_MAX];
            let len = write_query(&mut out, &t, &sent).unwrap();
            let message = decode(&out[..len]).unwrap();
            let Body::Query(read) = message.body else { return false };
            canonical(&out[..len])
                && read == sent
                && message.transaction == t
                && message.version == Some(b"DH\x00\x01")
        }
        quickcheck(1).quickcheck(property as fn(u64, Vec<u8>, Vec<u8>) -> bool);
    }

    #[test]
    fn replies_round_trip_and_are_canonical() {
        fn property(seed: u64, t: Vec<u8>, token: Vec<u8>) -> bool {
            let mut rng = Rng::seeded(seed);
            let parts = Parts::any(&mut rng);
            let sent = parts.reply(&mut rng, &token);
            let to = any_addr(&mut rng, seed.is_multiple_of(2));
            let mut out = [0; 4 * PACKET_MAX];
            let len = write_reply(&mut out, &t, to, &sent).unwrap();
            let message = decode(&out[..len]).unwrap();
            let Body::Response(read) = message.body else { return false };
            let nodes = [sent.nodes.unwrap_or_default(), sent.nodes6.unwrap_or_default()].concat();
            let samples = read.samples.map(|it| (it.interval_secs, it.num, it.hashes().collect::<Vec<_>>()));
            canonical(&out[..len])
                && (message.transaction, message.external) == (&t[..], Some(to))
                && (read.id, read.token, read.scrape) == (sent.id, sent.token, sent.scrape)
                && read.nodes().collect::<Vec<_>>() == nodes
                && read.peers().collect::<Vec<_>>() == sent.values
                && samples
                    == sent.samples.map(|(interval, num, hashes)| (interval, Some(num), hashes.to_vec()))
        }
        quickcheck(2).quickcheck(property as fn(u64, Vec<u8>, Vec<u8>) -> bool);
    }

    #[test]
    fn errors_round_trip_and_are_canonical() {
        fn property(t: Vec<u8>, code: i64, text: String) -> bool {
            let [to] = addrs(["192.0.2.7:1"])[..] else { unreachable!() };
            let mut out = [0; 2 * PACKET_MAX];
            let len = write_error(&mut out, &t, to, code, &text).unwrap();
            let message = decode(&out[..len]).unwrap();
            let same = matches!(message.body, Body::Error(c, words) if (c, words) == (code, text.as_bytes()));
            same && canonical(&out[..len]) && (message.transaction, message.external) == (&t[..], Some(to))
        }
        quickcheck(3).quickcheck(property as fn(Vec<u8>, i64, String) -> bool);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let [to] = addrs(["192.0.2.7:1"])[..] else { unreachable!() };
        let ping = Query { id: ID, read_only: false, want: None, method: Method::Ping };
        let mut out = [0; PACKET_MAX];
        let len = write_query(&mut out, b"aaaa", &ping).unwrap();
        assert!((0..len).all(|room| write_query(&mut out[..room], b"aaaa", &ping).is_none()));
        let reply = Reply { id: ID, ..Reply::default() };
        let len = write_reply(&mut out, b"aa", to, &reply).unwrap();
        assert!((0..len).all(|room| write_reply(&mut out[..room], b"aa", to, &reply).is_none()));
        let long = [b't'; PACKET_MAX];
        assert_eq!(write_reply(&mut out, &long, to, &reply), None);
        assert_eq!(write_error(&mut out, &long, to, PROTOCOL_ERROR, "no"), None);
    }

    #[test]
    fn nodes_of_the_other_family_are_not_written() {
        let [v4, v6] = addrs(["192.0.2.7:1", "[2001:db8::7]:2"])[..] else { unreachable!() };
        let both = [NodeAddr { id: ID, addr: v4 }, NodeAddr { id: OTHER, addr: v6 }];
        let reply = Reply { id: ID, nodes: Some(&both), nodes6: Some(&both), ..Reply::default() };
        let mut out = [0; PACKET_MAX];
        let len = write_reply(&mut out, b"aa", v4, &reply).unwrap();
        assert_eq!(node_addrs(response(&out[..len]).1), [v4, v6]);
    }

    /// Reads everything there is to read, within its bounds; whether it was a message.
    fn read_all(packet: &[u8]) -> bool {
        let Ok(message) = decode(packet) else { return false };
        if let Body::Response(response) = message.body {
            assert!(response.nodes().count() <= 2 * NODES_MAX);
            let hashes = response.samples.map_or(0, |samples| samples.hashes().count());
            assert!(20 * hashes + 6 * response.peers().count() <= packet.len());
        }
        true
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        fn property(bytes: Vec<u8>) {
            read_all(&bytes);
            read_all(&[b"d", &bytes[..], b"1:t1:x1:y1:qe"].concat());
            read_all(&[b"d1:rd2:id20:mnopqrstuvwxyz123456", &bytes[..], b"e1:t1:x1:y1:re"].concat());
        }
        quickcheck(4).tests(5_000).quickcheck(property as fn(Vec<u8>));
    }

    #[test]
    fn damaged_messages_do_no_harm() {
        let mut rng = Rng::seeded(5);
        let mut survived = 0;
        for _ in 0..2_000 {
            let parts = Parts::any(&mut rng);
            let reply = parts.reply(&mut rng, b"token");
            let mut packet = [0; 4 * PACKET_MAX];
            let to = any_addr(&mut rng, false);
            let len = if rng.percent(50) {
                write_reply(&mut packet, b"aa", to, &reply)
            } else {
                write_query(&mut packet, b"aa", &any_query(&mut rng, b"token"))
            };
            let len = len.unwrap();
            for _ in 0..=rng.below(4) {
                packet[rng.index(len)] = b"deil0123456789:\xff"[rng.index(16)];
            }
            survived += u32::from(read_all(&packet[..rng.index(len + 1)]));
            survived += u32::from(read_all(&packet[..len]));
        }
        assert!((100..3_900).contains(&survived), "both ends are reached: {survived}");
    }
}
