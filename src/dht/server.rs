//! The answering side: queries of others (BEP 5, 32, 33, 51).

use std::net::SocketAddr;

use crate::base::{Cx, Id, Instant, NodeId, Path, Scope, SocketId};
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::{self, Message, Method, Query, Reply, Want};

use super::answers::Rank;
use super::peers::{SAMPLES_MAX, VALUES_V4_MAX, VALUES_V6_MAX};
use super::table::K;
use super::{Dht, Event, Single, SingleKind};

/// What a reply needs to know of its query.
#[derive(Clone, Copy)]
struct Asked<'a> {
    now: Instant,
    path: Path,
    transaction: &'a [u8],
    want: Option<Want>,
    /// Our id on the socket that was asked.
    own: NodeId,
}

impl Dht {
    /// A node that asked us something is heard. A new one is a candidate, and checked at once if
    /// the table has a place; senders can be made up, so only so many a second.
    fn hear_from(&mut self, node: NodeAddr, socket: SocketId, now: Instant) {
        let own = &mut self.nodes[usize::from(socket.0)];
        own.table.on_query(node, now);
        if self.strangers.available(now) == 0 {
            return;
        }
        let place = own.table.has_place_for(node) && Scope::may_contact(own.listen, node.addr);
        let new = self.sweep.candidate(node);
        // The walk asks a new one soon enough.
        let check = place
            && !(new && self.config.sweep)
            && self.single.len() < MEETINGS_MAX
            && self.single.iter().all(|single| single.to != node.addr);
        if new || check {
            self.strangers.take(now, 1);
        }
        if check {
            self.queue_single(Single { socket, to: node.addr, id: Some(node.id), kind: SingleKind::Check });
        }
    }

    pub(super) fn on_query(
        &mut self,
        cx: &mut Cx<'_>,
        path: Path,
        message: &Message<'_>,
        (query, rank): (Query<'_>, Rank),
        out: &mut [u8],
    ) -> usize {
        let transaction = message.transaction;
        let own = self.nodes[usize::from(path.socket.0)].id;
        if query.id == own {
            self.stats.dropped_stray += 1;
            return 0;
        }
        if self.config.read_only || transaction.len() > TRANSACTION_MAX || !self.within_limit(cx, path, rank)
        {
            return 0;
        }
        if !query.read_only {
            let node = NodeAddr { id: query.id, addr: path.remote };
            self.hear_from(node, path.socket, cx.now);
        }
        let asked = Asked { now: cx.now, path, transaction, want: query.want, own };
        let plain = Reply { id: own, ..Reply::default() };
        let written = match query.method {
            Method::Ping => asked.reply(&plain, out),
            Method::FindNode { target } | Method::Unknown { target: Some(target) } => {
                self.reply_nodes(asked, target, plain, out)
            }
            Method::GetPeers { info_hash, .. } => {
                let wanted = !message.bootstrap && is_infohash(info_hash, query.id, own);
                if self.config.passive && wanted {
                    self.events.push_back(Event::Wanted(info_hash, path.remote));
                }
                self.on_get_peers(cx, asked, query.method, out)
            }
            Method::AnnouncePeer { .. } => self.on_announce(cx, asked, query.method, out),
            Method::SampleInfohashes { target } => {
                let mut hashes = [Id::default(); SAMPLES_MAX];
                let count = self.peers.sample(cx.rng, &mut hashes);
                let samples = Some((SAMPLE_INTERVAL_SECS, self.peers.len() as u64, &hashes[..count]));
                self.reply_nodes(asked, target, Reply { samples, ..plain }, out)
            }
            Method::Unknown { target: None } => asked.error(krpc::UNKNOWN_METHOD, "unknown method", out),
        };
        written.unwrap_or(0)
    }

    /// Tells the sender of a malformed query what is wrong with it.
    pub(super) fn refuse(
        &mut self,
        cx: &mut Cx<'_>,
        path: Path,
        transaction: &[u8],
        code: i64,
        text: &str,
        out: &mut [u8],
    ) -> usize {
        if transaction.len() > TRANSACTION_MAX || !self.within_limit(cx, path, Rank::Other) {
            return 0;
        }
        krpc::write_error(out, transaction, path.remote, code, text).unwrap_or(0)
    }

    fn on_get_peers(
        &mut self,
        cx: &mut Cx<'_>,
        asked: Asked<'_>,
        method: Method<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let Method::GetPeers { info_hash, noseed, scrape } = method else { return None };
        let from = asked.path.remote;
        let token = self.tokens.issue(from.ip(), &info_hash);
        let reply = Reply { id: asked.own, token: Some(&token), ..Reply::default() };
        if scrape && let Some((seeds, peers)) = self.peers.scrape(&info_hash, cx.now) {
            let scrape = Some((seeds.as_bytes(), peers.as_bytes()));
            return self.reply_nodes(asked, info_hash, Reply { scrape, ..reply }, out);
        }
        let mut values = [SocketAddr::from(([0, 0, 0, 0], 0)); VALUES_V4_MAX];
        let most = if from.is_ipv4() { VALUES_V4_MAX } else { VALUES_V6_MAX };
        let values = &mut values[..most];
        let count = self.peers.values(&info_hash, from.is_ipv6(), noseed, cx.now, cx.rng, values);
        self.reply_nodes(asked, info_hash, Reply { values: &values[..count], ..reply }, out)
    }

    fn on_announce(
        &mut self,
        cx: &mut Cx<'_>,
        asked: Asked<'_>,
        method: Method<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let Method::AnnouncePeer { info_hash, port, implied_port, token, seed } = method else { return None };
        let from = asked.path.remote;
        if !self.tokens.valid(token, from.ip(), &info_hash, cx.now) {
            return asked.error(krpc::PROTOCOL_ERROR, "bad token", out);
        }
        let port = if implied_port { from.port() } else { port };
        if port == 0 {
            return asked.error(krpc::PROTOCOL_ERROR, "port 0 cannot be announced", out);
        }
        let peer = SocketAddr::new(from.ip(), port);
        self.peers.announce(info_hash, peer, seed, cx.now);
        if self.config.passive {
            let believed = Scope::of(peer.ip()) != Scope::Global || self.announcers.allow(peer.ip(), cx.now);
            let event =
                if believed { Event::Announced(info_hash, peer) } else { Event::Wanted(info_hash, from) };
            self.events.push_back(event);
        }
        asked.reply(&Reply { id: asked.own, ..Reply::default() }, out)
    }

    /// A reply with the nodes closest to `target`, of the families that are wanted (BEP 32).
    fn reply_nodes(&self, asked: Asked<'_>, target: Id, reply: Reply<'_>, out: &mut [u8]) -> Option<usize> {
        let from = asked.path.remote;
        let own = Want { v4: from.is_ipv4(), v6: from.is_ipv6() };
        let want = asked.want.filter(|want| want.v4 || want.v6).unwrap_or(own);
        let none = NodeAddr { id: target, addr: from };
        let (mut v4, mut v6) = ([none; K], [none; K]);
        let count_v4 = if want.v4 { self.closest(asked, true, target, &mut v4) } else { None };
        let count_v6 = if want.v6 { self.closest(asked, false, target, &mut v6) } else { None };
        let nodes = count_v4.map(|count| &v4[..count]);
        let nodes6 = count_v6.map(|count| &v6[..count]);
        asked.reply(&Reply { nodes, nodes6, ..reply }, out)
    }

    /// From the table of the asked socket if it is of that family, else of the first that is.
    fn closest(&self, asked: Asked<'_>, v4: bool, target: Id, out: &mut [NodeAddr; K]) -> Option<usize> {
        let here = &self.nodes[usize::from(asked.path.socket.0)];
        let fits = |node: &&super::Node| node.listen.is_ipv4() == v4;
        let node = Some(here).filter(fits).or_else(|| self.nodes.iter().find(fits))?;
        Some(node.table.closest(target, out, asked.now))
    }

    /// Where the answer to this query would wait. While none waits, the token need not be looked at.
    pub(super) fn rank(&self, method: Method<'_>, from: SocketAddr, now: Instant) -> Rank {
        match method {
            Method::AnnouncePeer { info_hash, token, .. }
                if self.held.len() > 0
                    && self.held.has_announce_room(from.ip())
                    && self.tokens.valid(token, from.ip(), &info_hash, now) =>
            {
                Rank::Announce
            }
            _ => Rank::Other,
        }
    }

    /// Looked at before anything is done about a query: a flood that cannot be answered costs little.
    fn within_limit(&mut self, cx: &Cx<'_>, path: Path, rank: Rank) -> bool {
        let within = self.may_answer_any(cx, rank) && self.limiter.allow(path.remote.ip(), cx.now);
        self.stats.dropped_limited += u64::from(!within);
        within
    }
}

impl Asked<'_> {
    fn reply(&self, reply: &Reply<'_>, out: &mut [u8]) -> Option<usize> {
        krpc::write_reply(out, self.transaction, self.path.remote, reply)
    }

    fn error(&self, code: i64, text: &str, out: &mut [u8]) -> Option<usize> {
        krpc::write_error(out, self.transaction, self.path.remote, code, text)
    }
}

/// False if a `get_peers` asks for nodes rather than for peers: libtorrent refreshes its buckets with
/// targets that share the first bits with its own id, which of infohashes only one in
/// 4,096 does; and ids of nodes are no infohashes.
fn is_infohash(target: Id, asker: NodeId, own: NodeId) -> bool {
    target.common_bits(asker) < NEAR_BITS && target != own
}

/// See [`is_infohash`].
const NEAR_BITS: u32 = 12;
/// Echoed whatever it is, but nobody needs more: libtorrent sends 2 bytes, mldht up to 8.
const TRANSACTION_MAX: usize = 64;
/// What is stored here turns over within half an hour.
const SAMPLE_INTERVAL_SECS: u32 = 600;
/// Checks of new nodes that may wait: more would make others wait, and they will ask again.
const MEETINGS_MAX: usize = 32;
