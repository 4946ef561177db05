//! The asking side: what is sent next, and what becomes of the answers.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Cx, Flow, Instant, NodeId, Path, Scope, SocketId, Token};
use crate::wire::compact::NodeAddr;
use crate::wire::krpc::{self, Body, Message, Method, Query, Response, Want};

use super::directory::Outcome;
use super::lookup::{Again, Goal, Lookup, User};
use super::table::Inserted;
use super::transactions::{self, Purpose};
use super::{Dht, Event, Limit, Single, SingleKind};

impl Dht {
    /// The next datagram, a held answer or one of our own accord: its path and its length in `out`. `None` when there
    /// is nothing to send, or a limit holds it back; [`Dht::next_deadline`] then says until when.
    pub fn poll_transmit(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        if let Some(held) = self.send_held(cx, out) {
            return Some(held);
        }
        if self.blocked_until.is_some_and(|at| at > cx.now) {
            return None;
        }
        self.blocked_until = None;
        let mut sent = self.send_single(cx, out);
        if self.since_sweep >= SWEEP_SHARE {
            // Lookups of made-up infohashes must not keep us from meeting other nodes.
            sent = sent.or_else(|| self.send_sweep(cx, out));
        }
        let sent = sent.or_else(|| self.send_lookup(cx, out));
        let sent = sent.or_else(|| self.send_sweep(cx, out))?;
        self.stats.sent += 1;
        Some(sent)
    }

    /// When a node waits to be asked by the sweep and nothing but time stands in the way.
    pub(super) fn next_turn_at(&self, now: Instant) -> Option<Instant> {
        if !self.config.sweep || self.blocked_until.is_some() || self.sweep.open() >= self.window(now) {
            return None;
        }
        let due = self.families().filter_map(|v4| self.sweep.next_due(v4)).min()?;
        if due == 0 {
            return Some(now);
        }
        Some(Instant::from_millis(u64::from(due.max(now.secs() + 1)) * 1_000))
    }

    pub(super) fn on_response(
        &mut self,
        cx: &mut Cx<'_>,
        path: Path,
        message: &Message<'_>,
        response: Response<'_>,
    ) {
        let own = self.nodes[usize::from(path.socket.0)].id;
        // Whoever answers with our own id has not answered: the query goes on waiting.
        let mirrored = response.id == own;
        let query = if mirrored {
            None
        } else {
            self.open.close(cx.now, path.socket, path.remote, message.transaction)
        };
        let Some(query) = query else {
            self.stats.dropped_stray += 1;
            return;
        };
        self.stats.replies += 1;
        (self.heard_at, self.unheard) = (cx.now, 0);
        let node = NodeAddr { id: response.id, addr: path.remote };
        let slot = usize::from(path.socket.0);
        if query.id.is_none_or(|id| id == response.id) {
            self.meet(path.socket, node, cx.now, cx.now.since(query.sent));
        } else {
            // Someone else lives there now (or answers in another's name): start over with it.
            self.nodes[slot].table.remove(path.remote);
        }
        if let Some(external) = message.external {
            self.on_vote(cx, path, external);
        }
        if !matches!(query.purpose, Purpose::Sweep { .. }) {
            // The walk is to visit it too; a bootstrap host may be named by no other node.
            self.sweep.met(node, cx.now.secs());
        }
        match query.purpose {
            Purpose::Sweep { slot, sampled } => self.on_turn_answered(cx, &query, slot, sampled, response),
            Purpose::Lookup(token) => self.on_lookup_answered(cx, &query, token, response),
            Purpose::LookupNodes(token) => self.on_nodes_answered(&query, token, Some(response)),
            Purpose::Ping(user) => {
                let common = response.id.common_bits(own);
                self.events.push_back(Event::Hop(user, node, common, cx.now.since(query.sent)));
            }
            Purpose::Announce(user) => {
                self.events.push_back(Event::Accepted(user, path.remote));
                self.announce_ended(user);
            }
            Purpose::Check => {}
        }
    }

    /// A node that answered stands in the table, or waits there until another was pinged.
    fn meet(&mut self, socket: SocketId, node: NodeAddr, now: Instant, rtt: Duration) {
        let table = &mut self.nodes[usize::from(socket.0)].table;
        if let Inserted::Full { questionable } = table.insert_verified(node, now, rtt) {
            let (to, id) = (questionable.addr, Some(questionable.id));
            self.queue_single(Single { socket, to, id, kind: SingleKind::Check });
        }
    }

    /// An error is an answer of a kind: somebody is there, but of no use for this.
    pub(super) fn on_error(&mut self, cx: &mut Cx<'_>, path: Path, message: &Message<'_>) {
        let Some(query) = self.open.close(cx.now, path.socket, path.remote, message.transaction) else {
            self.stats.dropped_stray += 1;
            return;
        };
        // Who enforces BEP 42 refuses every id that does not fit, and says here what would.
        if let Some(external) = message.external {
            self.on_vote(cx, path, external);
        }
        self.stats.errors += 1;
        // Whoever refuses is there all the same, and so is the network.
        (self.heard_at, self.unheard) = (cx.now, 0);
        if let (Some(user), Body::Error(code, words)) = (self.command_of(&query.purpose), &message.body) {
            let words: String = String::from_utf8_lossy(words).chars().take(ERROR_WORDS_MAX).collect();
            self.events.push_back(Event::Refused(user, *code, words.into()));
        }
        self.on_silence(cx, &query);
    }

    /// The command that a query of ours was sent for.
    fn command_of(&self, purpose: &Purpose) -> Option<u64> {
        match purpose {
            Purpose::Ping(user) | Purpose::Announce(user) => Some(*user),
            Purpose::Lookup(token) | Purpose::LookupNodes(token) => match self.lookups.get(*token)?.user {
                User::Command(user) => Some(user),
                _ => None,
            },
            Purpose::Check | Purpose::Sweep { .. } => None,
        }
    }

    /// A query of ours came to nothing.
    pub(super) fn on_silence(&mut self, cx: &mut Cx<'_>, query: &transactions::Query) {
        if !matches!(query.purpose, Purpose::Sweep { sampled: true, .. }) {
            // Transmission's silence to a query it does not know says nothing about it.
            self.nodes[usize::from(query.socket.0)].table.on_timeout(query.to, cx.now);
        }
        match query.purpose {
            Purpose::Sweep { slot, .. } if self.is_cut_off(cx.now) => {
                self.sweep.postpone(query.to.is_ipv4(), slot, cx.now.secs());
            }
            Purpose::Sweep { slot, sampled } => {
                self.sweep.silent(query.to.is_ipv4(), slot, sampled, cx.now.secs());
            }
            Purpose::Lookup(token) => {
                if let Some(lookup) = self.lookups.get_mut(token) {
                    lookup.failed(query.to);
                    self.ready.push_back(token);
                }
            }
            Purpose::LookupNodes(token) => self.on_nodes_answered(query, token, None),
            Purpose::Ping(user) => self.events.push_back(Event::NoAnswer(user)),
            Purpose::Announce(user) => self.announce_ended(user),
            Purpose::Check => {}
        }
    }

    fn on_turn_answered(
        &mut self,
        cx: &mut Cx<'_>,
        query: &transactions::Query,
        slot: u32,
        sampled: bool,
        response: Response<'_>,
    ) {
        // A node with more than fits into one sample is worth coming back to when it allows it.
        let interval_secs = response.samples.map_or(PASS_SECS, |samples| {
            let more = samples.num.is_none_or(|num| num > samples.hashes().count() as u64);
            samples.interval_secs.max(if more { MORE_SECS } else { PASS_SECS })
        });
        let spoke = sampled.then_some(response.samples.is_some());
        let outcome = Outcome { id: response.id, sampled: spoke, interval_secs };
        self.sweep.answered(query.to.is_ipv4(), slot, outcome, cx.now.secs());
        for hash in response.samples.iter().flat_map(|samples| samples.hashes()).take(SAMPLES_MAX) {
            self.stats.sampled += 1;
            if self.events.len() < EVENTS_MAX {
                self.events.push_back(Event::Sampled(hash, query.to));
            }
        }
        self.hear_of(response);
    }

    /// Nodes that somebody named become candidates of the sweep.
    fn hear_of(&mut self, response: Response<'_>) {
        for node in response.nodes() {
            let mine = self.nodes.iter().any(|own| own.id == node.id);
            if !mine && self.nodes.iter().any(|own| Scope::may_contact(own.listen, node.addr)) {
                self.sweep.candidate(node);
            }
        }
    }

    fn on_lookup_answered(
        &mut self,
        cx: &mut Cx<'_>,
        query: &transactions::Query,
        token: Token,
        response: Response<'_>,
    ) {
        let Some(lookup) = self.lookups.get_mut(token) else { return self.hear_of(response) };
        if !lookup.answered(query.to, response.id, response.token) {
            return self.hear_of(response);
        }
        if lookup.goal != Goal::PeersAt {
            let nodes: Vec<_> = response.nodes().collect();
            lookup.look_beyond(query.to, &nodes, response.lacks_nodes());
        }
        self.offer_nodes(query, token, response);
        let Some(lookup) = self.lookups.get_mut(token) else { return };
        if let (Goal::Scrape, Some((seeds, peers))) = (lookup.goal, response.scrape) {
            lookup.filters(seeds, peers);
        }
        let mut peers: Vec<SocketAddr> = response.peers().take(VALUES_MAX).collect();
        peers.truncate(lookup.worth(peers.len()));
        lookup.found(peers.len() as u32);
        let (user, target) = (lookup.user, lookup.target);
        if let User::Command(command) = user {
            let node = NodeAddr { id: response.id, addr: query.to };
            let common = response.id.common_bits(target);
            self.events.push_back(Event::Hop(command, node, common, cx.now.since(query.sent)));
        }
        if !peers.is_empty() {
            self.events.push_back(Event::Peers(user, target, peers));
        }
        self.ready.push_back(token);
    }

    /// The nodes of an answer become candidates of the lookup, and then of the walk.
    fn offer_nodes(&mut self, query: &transactions::Query, token: Token, response: Response<'_>) {
        let listen = self.nodes[usize::from(query.socket.0)].listen;
        if let Some(lookup) = self.lookups.get_mut(token).filter(|lookup| lookup.goal != Goal::PeersAt) {
            for node in response.nodes().filter(|node| Scope::may_contact(listen, node.addr)) {
                if !self.sweep.is_lost(node.addr) {
                    lookup.offer_met(node, self.sweep.is_verified(node.addr));
                }
            }
        }
        self.hear_of(response);
    }

    /// A node whose answer was of no help was asked for nodes, and answered or did not.
    fn on_nodes_answered(
        &mut self,
        query: &transactions::Query,
        token: Token,
        response: Option<Response<'_>>,
    ) {
        if let Some(response) = response {
            self.offer_nodes(query, token, response);
        }
        if let Some(lookup) = self.lookups.get_mut(token) {
            lookup.again_ended();
            self.ready.push_back(token);
        }
    }

    /// BEP 42: others tell us our address; when enough agree, the id is made to fit it.
    fn on_vote(&mut self, cx: &mut Cx<'_>, path: Path, external: SocketAddr) {
        let node = &mut self.nodes[usize::from(path.socket.0)];
        if external.is_ipv4() != node.listen.is_ipv4() {
            return;
        }
        let Some(ip) = node.voter.vote(cx.now, path.remote, external) else { return };
        node.external = Some(ip);
        if super::security::is_valid(node.id, ip) {
            return;
        }
        let id = super::security::id_for(ip, cx.rng.u32() as u8, cx.rng);
        node.rename(id);
        self.events.push_back(Event::Renamed(path.socket, id));
    }

    fn send_single(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        let mut passed_over = 0;
        while let Some(single) = self.single.pop_front() {
            if !self.may_send(cx, single.socket, single.to) {
                self.single.push_back(single);
                passed_over += 1;
                // Without room for another flow, one that is warm may still be used.
                if self.stats.limited_by == Some(Limit::Rate)
                    || passed_over >= self.single.len().min(PASS_OVER)
                {
                    return None;
                }
                continue;
            }
            self.blocked_until = None;
            let (method, purpose) = match &single.kind {
                SingleKind::Check => (Method::Ping, Purpose::Check),
                SingleKind::Ping(user) => (Method::Ping, Purpose::Ping(*user)),
                SingleKind::Announce { user, info_hash, port, token } => {
                    let (info_hash, port, implied_port) = (*info_hash, *port, *port == 0);
                    let method = Method::AnnouncePeer { info_hash, port, implied_port, token, seed: false };
                    (method, Purpose::Announce(*user))
                }
            };
            let sent = self.send(cx, single.socket, single.to, single.id, method, purpose, out);
            if sent.is_some() {
                return sent;
            }
            if let SingleKind::Announce { user, .. } = single.kind {
                self.announce_ended(user);
            }
        }
        None
    }

    fn send_lookup(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        let mut passed_over = 0;
        while let Some(token) = self.ready.pop_front() {
            let Some(lookup) = self.lookups.get_mut(token) else { continue };
            let again = lookup.next_again();
            let next = again.map(|(to, _)| to).or_else(|| lookup.next().map(|node| node.addr));
            let Some(to) = next else {
                if lookup.open == 0 {
                    self.finish(token, cx.now);
                }
                continue;
            };
            let socket = lookup.socket;
            if !self.may_send(cx, socket, to) {
                // Without room for another flow, a lookup may still go on at a node that is warm.
                passed_over += 1;
                if self.stats.limited_by != Some(Limit::Flows)
                    || passed_over >= (self.ready.len() + 1).min(PASS_OVER)
                {
                    self.ready.push_front(token);
                    return None;
                }
                self.ready.push_back(token);
                continue;
            }
            self.blocked_until = None;
            self.since_sweep = self.since_sweep.saturating_add(1);
            let sent = self.ask_for_lookup(cx, token, to, again.map(|(_, what)| what), out);
            if sent.is_some() {
                return sent;
            }
        }
        None
    }

    /// Sends one query of a lookup.
    fn ask_for_lookup(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        to: SocketAddr,
        again: Option<Again>,
        out: &mut [u8],
    ) -> Option<(Path, usize)> {
        let lookup = self.lookups.get_mut(token)?;
        let (socket, target, goal) = (lookup.socket, lookup.target, lookup.goal);
        self.census[usize::from(to.is_ipv6())].sent += u64::from(lookup.user == User::Census);
        let beside = match again {
            Some(Again::Beside(bits)) => Some(target.random_at_depth(bits, cx.rng)),
            Some(Again::Target) | None => None,
        };
        let method = match goal {
            _ if again.is_some() => Method::FindNode { target: beside.unwrap_or(target) },
            Goal::Nodes => Method::FindNode { target },
            Goal::Announce(_) | Goal::Peers | Goal::PeersAt | Goal::PeersBriefly => {
                Method::GetPeers { info_hash: target, noseed: false, scrape: false }
            }
            Goal::Scrape => Method::GetPeers { info_hash: target, noseed: false, scrape: true },
        };
        let purpose = if again.is_some() { Purpose::LookupNodes(token) } else { Purpose::Lookup(token) };
        let sent = self.send(cx, socket, to, None, method, purpose, out);
        let lookup = self.lookups.get_mut(token)?;
        if again.is_some() {
            lookup.asked_again(to);
        } else {
            lookup.asked(to);
        }
        match sent {
            Some(_) => {}
            None if again.is_some() => lookup.again_ended(),
            None => lookup.failed(to),
        }
        self.ready.push_back(token);
        sent
    }

    fn send_sweep(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<(Path, usize)> {
        if !self.config.sweep {
            return None;
        }
        if self.sweep.open() >= self.window(cx.now) {
            self.stats.limited_by = Some(Limit::Window);
            return None;
        }
        let (v4, turn) = self.sweep.next_turn(cx.now.secs())?;
        let to = turn.node.addr;
        let Some(socket) = self.socket_of_turn(turn.slot, to) else {
            self.sweep.silent(v4, turn.slot, false, cx.now.secs());
            return None;
        };
        if !self.may_send(cx, socket, to) {
            self.sweep.put_back(v4, turn.slot);
            return None;
        }
        let target = self.sweep.target(turn.node.id, cx.rng);
        let method =
            if turn.samples { Method::SampleInfohashes { target } } else { Method::FindNode { target } };
        let purpose = Purpose::Sweep { slot: turn.slot, sampled: turn.samples };
        let sent = self.send(cx, socket, to, None, method, purpose, out);
        match sent {
            Some(_) => self.since_sweep = 0,
            None => self.sweep.put_back(v4, turn.slot),
        }
        sent
    }

    /// Nodes are shared out among the sockets that may contact them (BEP 45), each always to the
    /// same one.
    fn socket_of_turn(&self, slot: u32, to: SocketAddr) -> Option<SocketId> {
        let may = |socket: &SocketId| Scope::may_contact(self.nodes[usize::from(socket.0)].listen, to);
        let count = self.sockets().filter(may).count();
        self.sockets().filter(may).nth(slot as usize % count.max(1))
    }

    /// Whether a packet may go to `to` now; if not, when to try again is noted.
    fn may_send(&mut self, cx: &mut Cx<'_>, socket: SocketId, to: SocketAddr) -> bool {
        let buckets = &mut *cx.buckets;
        let packets = buckets.packets_out.ready_at(cx.now, 1 + ANSWERS_RESERVED);
        let bytes = buckets.bytes_out.ready_at(cx.now, QUERY_BYTES + ANSWERS_RESERVED * ANSWER_BYTES);
        let ready = packets.max(bytes);
        if ready > cx.now {
            self.stats.limited_by = Some(Limit::Rate);
            self.blocked_until = Some(ready);
            return false;
        }
        if !buckets.flows.send(cx.now, Flow::Udp(socket, to)) {
            self.stats.limited_by = Some(Limit::Flows);
            // Not much later, since what is warm may be wanted by then.
            let (soon, late) = (cx.now + FLOW_RETRY, cx.now + FLOW_RETRY_MAX);
            self.blocked_until =
                Some(buckets.flows.next_room(cx.now).map_or(late, |at| at.clamp(soon, late)));
            return false;
        }
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one query has this many parts, and this is where they meet"
    )]
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        socket: SocketId,
        to: SocketAddr,
        expected: Option<NodeId>,
        method: Method<'_>,
        purpose: Purpose,
        out: &mut [u8],
    ) -> Option<(Path, usize)> {
        let open = transactions::Open { socket, to, id: expected, purpose };
        let t = self.open.open(cx.now, cx.rng, open)?;
        let both = self.has_both_families();
        let want = both.then_some(Want { v4: true, v6: true }).filter(|_| !matches!(method, Method::Ping));
        let id = self.nodes[usize::from(socket.0)].id;
        let query = Query { id, read_only: self.config.read_only, want, method };
        let Some(len) = krpc::write_query(out, &t, &query) else {
            self.open.cancel(t);
            return None;
        };
        cx.buckets.packets_out.take(cx.now, 1);
        cx.buckets.bytes_out.take(cx.now, len as u64);
        self.stats.asked += 1;
        Some((Path { socket, local: None, remote: to }, len))
    }

    fn has_both_families(&self) -> bool {
        self.nodes.iter().any(|node| node.listen.is_ipv4())
            && self.nodes.iter().any(|node| node.listen.is_ipv6())
    }

    fn finish(&mut self, token: Token, now: Instant) {
        let Some(lookup) = self.lookups.remove(token) else { return };
        if lookup.user == User::Census {
            let v6 = self.nodes[usize::from(lookup.socket.0)].listen.is_ipv6();
            return self.census[usize::from(v6)].end(now, lookup.neighbourhood(), lookup.verified);
        }
        let (Goal::Announce(port), User::Command(user)) = (lookup.goal, lookup.user) else {
            return self.report(&lookup);
        };
        let to: Vec<_> = lookup.tokens().map(|(node, token)| (node, Box::from(token))).collect();
        if to.is_empty() {
            return self.report(&lookup);
        }
        let (socket, info_hash) = (lookup.socket, lookup.target);
        self.announcing.push((lookup, to.len()));
        for (node, token) in to {
            let kind = SingleKind::Announce { user, info_hash, port, token };
            self.queue_single(Single { socket, to: node.addr, id: Some(node.id), kind });
        }
    }

    /// One announce of a command's has ended; with the last one the command's lookup is over.
    pub(super) fn announce_ended(&mut self, user: u64) {
        let mine = |(lookup, _): &(Lookup, usize)| lookup.user == User::Command(user);
        let Some(at) = self.announcing.iter().position(mine) else { return };
        self.announcing[at].1 -= 1;
        if self.announcing[at].1 == 0 {
            let (lookup, _) = self.announcing.swap_remove(at);
            self.report(&lookup);
        }
    }

    fn report(&mut self, lookup: &Lookup) {
        if matches!(lookup.user, User::Metadata | User::Refresh) && self.goes_on_elsewhere(lookup) {
            return;
        }
        if lookup.user != User::Upkeep {
            let (user, target) = (lookup.user, lookup.target);
            self.events.push_back(Event::Done(
                user,
                target,
                lookup.answered,
                lookup.peers,
                lookup.estimate(),
            ));
        }
    }

    /// The lookup of the other family for the same torrent takes over what this one found: it is
    /// over when both are.
    fn goes_on_elsewhere(&mut self, lookup: &Lookup) -> bool {
        let same = |other: &Lookup| other.user == lookup.user && other.target == lookup.target;
        let Some(token) = self.lookups.iter().find(|(_, other)| same(other)).map(|(token, _)| token) else {
            return false;
        };
        if let Some(other) = self.lookups.get_mut(token) {
            other.unite(lookup);
        }
        true
    }
}

/// What a query takes at most on the wire (announce with a long token left aside).
const QUERY_BYTES: u64 = 160;
/// The least time between two questions to one node, however short an interval it states, if it
/// has said all it has and if it has not.
const PASS_SECS: u32 = 300;
const MORE_SECS: u32 = 30;
/// BEP 51 packets hold some 20; a jumbo answer is cut.
const SAMPLES_MAX: usize = 64;
/// Characters of an error's words that a person reads.
const ERROR_WORDS_MAX: usize = 100;
const VALUES_MAX: usize = 200;
/// The engine drains events after every datagram; this is the bound if it ever did not.
pub(super) const EVENTS_MAX: usize = 65_536;
/// Single queries that are looked through for one that opens no flow.
const PASS_OVER: usize = 16;
/// One packet in so many is the sweep's, whatever else there is to ask.
const SWEEP_SHARE: u8 = 7;
/// What we ask leaves this much of the budget alone, or a busy crawl would answer nobody and be
/// forgotten by everybody.
const ANSWERS_RESERVED: u64 = 8;
const ANSWER_BYTES: u64 = krpc::PACKET_MAX as u64;
/// With the table of flows full, one look in so often is enough.
const FLOW_RETRY: Duration = Duration::from_millis(20);
const FLOW_RETRY_MAX: Duration = Duration::from_millis(200);
