//! What is judged by datagrams: who is contacted, how often, what a reply does, what a token is
//! worth, and whom answers name.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::windows::{FlowKey, Window};
use super::{HostId, Oracle, Rule, Times};
use crate::base::{Instant, NetGroup, Scope, SocketId};
use crate::dht::security;
use crate::engine::Engine;
use crate::engine::stats::Tallies;
use crate::wire::krpc::{self, Body, Message, Method, Query, Reject, Response};

/// The queries of one host.
#[derive(Default)]
pub(super) struct Queries {
    open: BTreeMap<Key, Asked>,
    order: VecDeque<(Instant, Key)>,
    sent: u64,
    errors: u64,
    /// Queries of others whose answers are held back by the rate, in their order.
    held: VecDeque<Held>,
    /// Datagrams that left, and that were handed in.
    left: u64,
    came: u64,
}

type Key = (SocketAddr, Vec<u8>);

struct Held {
    from: SocketAddr,
    query: Vec<u8>,
    at: Instant,
}

#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    sampled: bool,
}

impl Oracle {
    /// A datagram leaves; `direct` if it is the reply to one that came just now.
    pub(in crate::sim) fn sent(
        &mut self,
        host: HostId,
        times: Times,
        to: SocketAddr,
        data: &[u8],
        direct: bool,
    ) {
        let now = times.0;
        self.check_limits(host, times, to, data.len(), direct);
        let book = &mut self.books[host.index()];
        book.queries.left += 1;
        if direct {
            return;
        }
        if book.stopping {
            return self.fail(Rule::Drained, host, now, format!("it asks {to} after it was told to stop"));
        }
        let (transaction, query) = match krpc::decode(data) {
            Ok(Message { transaction, body: Body::Query(query), .. }) => (transaction, query),
            Ok(message) => return self.held_answer(host, times, (to, data), message.transaction),
            Err(_) => {
                return self.fail(Rule::Queries, host, now, format!("what it sends to {to} is no KRPC"));
            }
        };
        let sampled = matches!(query.method, Method::SampleInfohashes { .. });
        let key = (to, transaction.to_vec());
        book.queries.sent += 1;
        book.queries.order.push_back((times.1, key.clone()));
        book.queries.open.insert(key, Asked { at: times.1, sampled });
        if sampled && let Some(until) = book.wait.get(&to).copied() {
            self.note(Rule::Interval);
            if now < until {
                let early = until.since(now);
                self.fail(Rule::Interval, host, now, format!("{to} was asked {early:?} too early"));
            }
        }
    }

    /// A datagram is about to be handed in: the counters before it.
    pub(in crate::sim) fn receiving(
        &mut self,
        host: HostId,
        _times: Times,
        _from: SocketAddr,
        _data: &[u8],
        engine: &Engine,
    ) -> Tallies {
        let book = &mut self.books[host.index()];
        book.queries.came += 1;
        book.own = engine.node_id(SocketId(0));
        engine.tallies()
    }

    /// It was handed in, and this is the reply.
    pub(in crate::sim) fn received(
        &mut self,
        host: HostId,
        times: Times,
        (from, data): (SocketAddr, &[u8]),
        before: Tallies,
        reply: &[u8],
        engine: &Engine,
    ) {
        let after = engine.tallies();
        let book = &mut self.books[host.index()];
        let refused =
            after.dht.dropped_flows > before.dht.dropped_flows || !Scope::may_contact(book.listen, from);
        if !refused && book.router.is_limited() {
            book.router.see(times.1, FlowKey::Datagrams(from), true);
            let live = book.router.count(times.1) + book.served.count(times.1);
            if after.flows > live {
                let detail = format!("it counts {} flows, of which {live} are live", after.flows);
                return self.fail(Rule::Flows, host, times.0, detail);
            }
            self.note(Rule::Flows);
        }
        self.check_votes(host, times.0, (from, data), engine);
        if after.dht.held > before.dht.held {
            self.books[host.index()].queries.held.push_back(Held { from, query: data.to_vec(), at: times.1 });
        }
        match krpc::decode(data).map(|message| (message, message.body)) {
            Ok((message, Body::Query(query))) => {
                self.on_query(host, times, (from, &query), message.transaction, reply);
            }
            Ok((message, Body::Response(response))) => {
                let counted = after.dht.replies - before.dht.replies;
                let mirrored = self.books[host.index()].own == Some(response.id);
                let ended =
                    self.on_reply(host, times, (from, message.transaction), counted, !refused && !mirrored);
                if counted == 0 {
                    self.expect_no_change(host, times.0, from, (&before, &after), reply);
                } else if let Some(ended) = ended {
                    self.learn(host, times.0, from, ended, response);
                }
            }
            Ok((message, Body::Error(..))) => {
                let stray = after.dht.dropped_stray > before.dht.dropped_stray;
                let counted = u64::from(!stray && !refused);
                self.books[host.index()].queries.errors += counted;
                self.on_reply(host, times, (from, message.transaction), counted, !refused);
                if counted == 0 {
                    self.expect_no_change(host, times.0, from, (&before, &after), reply);
                }
            }
            Err(_) => {}
        }
    }

    /// Notes whom a message says to have seen, and that an id changes only to fit an address that
    /// several networks have named: one vote a network.
    fn check_votes(
        &mut self,
        host: HostId,
        now: Instant,
        (from, data): (SocketAddr, &[u8]),
        engine: &Engine,
    ) {
        let book = &mut self.books[host.index()];
        if let Some(external) = krpc::decode(data).ok().and_then(|message| message.external) {
            book.votes.entry(external.ip()).or_default().insert(NetGroup::of(from));
        }
        let (before, after) = (book.own, engine.node_id(SocketId(0)));
        let agreed = |id| {
            let mut named = book.votes.iter().filter(|(_, networks)| networks.len() >= VOTES_MIN);
            named.any(|(ip, _)| security::is_valid(id, *ip))
        };
        let broken = before != after && !after.is_some_and(agreed);
        self.note(Rule::Votes);
        if broken {
            self.fail(Rule::Votes, host, now, format!("its id became {after:?} after a packet of {from}"));
        }
    }

    /// A reply or an error came: whether it may count, and whether it must. The query that it ended.
    fn on_reply(
        &mut self,
        host: HostId,
        (now, local): Times,
        (from, transaction): (SocketAddr, &[u8]),
        counted: u64,
        usable: bool,
    ) -> Option<Asked> {
        let queries = &mut self.books[host.index()].queries;
        let key = (from, transaction.to_vec());
        let asked = queries.open.get(&key).copied();
        if counted > 0 {
            queries.open.remove(&key);
        }
        match asked {
            None if counted > 0 => {
                let detail =
                    format!("a reply from {from} counted, though nothing was asked there that waits");
                self.fail(Rule::Duplicate, host, now, detail);
            }
            Some(asked) if counted == 0 && usable && local.since(asked.at) < SURELY_WAITS => {
                let detail = format!("a reply from {from} came in time and did not count");
                self.fail(Rule::Queries, host, now, detail);
            }
            _ if counted > 1 => {
                self.fail(Rule::Queries, host, now, format!("one reply from {from} counted {counted} times"));
            }
            Some(_) | None => {}
        }
        asked.filter(|_| counted > 0)
    }

    /// A reply that nobody waits for may move no counter but those of what is dropped.
    fn expect_no_change(
        &mut self,
        host: HostId,
        now: Instant,
        from: SocketAddr,
        (before, after): (&Tallies, &Tallies),
        reply: &[u8],
    ) {
        self.note(Rule::Duplicate);
        let plain = |tallies: &Tallies| {
            let mut plain = *tallies;
            (plain.flows, plain.dht.received) = (0, 0);
            plain.dht.dropped_stray = 0;
            plain.dht.dropped_flows = 0;
            plain.dht.dropped_malformed = 0;
            format!("{plain:?}")
        };
        if !reply.is_empty() {
            self.fail(Rule::Duplicate, host, now, format!("it answers a reply from {from}"));
        } else if plain(before) != plain(after) {
            let detail = format!("a reply from {from} changed {before:?} to {after:?}");
            self.fail(Rule::Duplicate, host, now, detail);
        }
    }

    /// What a reply that counted says.
    fn learn(&mut self, host: HostId, now: Instant, from: SocketAddr, asked: Asked, response: Response<'_>) {
        let book = &mut self.books[host.index()];
        book.verified.insert((from, response.id));
        if let (true, Some(samples)) = (asked.sampled, response.samples) {
            book.wait.insert(from, now + Duration::from_secs(u64::from(samples.interval_secs)));
            samples.hashes().take(SAMPLES_TAKEN).for_each(|hash| book.hear_from(from, hash));
        }
    }

    fn on_query(
        &mut self,
        host: HostId,
        times: Times,
        (from, query): (SocketAddr, &Query<'_>),
        transaction: &[u8],
        reply: &[u8],
    ) {
        if reply.is_empty() {
            return;
        }
        let Ok(message) = krpc::decode(reply) else {
            return self.fail(Rule::Queries, host, times.0, format!("what it answers {from} is no KRPC"));
        };
        if message.transaction != transaction {
            let detail = format!("its answer to {from} has another transaction id");
            return self.fail(Rule::Queries, host, times.0, detail);
        }
        match (query.method, message.body) {
            (Method::AnnouncePeer { info_hash, token, .. }, body) => {
                self.on_announce(host, times, (from, info_hash, token), matches!(body, Body::Response(_)));
            }
            (Method::GetPeers { info_hash, .. }, Body::Response(response)) => {
                let book = &mut self.books[host.index()];
                // A target beside the asker's own id is no infohash.
                let wanted = info_hash.common_bits(query.id) < NEAR_BITS;
                if book.passive && wanted && book.owed(from) {
                    book.hear(info_hash);
                }
                if let Some(token) = response.token.and_then(|token| <[u8; 8]>::try_from(token).ok()) {
                    let given = book.tokens.entry((from.ip(), info_hash)).or_default();
                    given.retain(|(other, at)| *other != token && times.1.since(*at) <= TOKEN_AGE_MAX);
                    given.push((token, times.1));
                }
                self.expect_verified(host, times.0, response);
            }
            (_, Body::Response(response)) => self.expect_verified(host, times.0, response),
            _ => {}
        }
    }

    /// An answer leaves that was held back: to a query that came, and after those to earlier ones.
    fn held_answer(
        &mut self,
        host: HostId,
        times: Times,
        (to, answer): (SocketAddr, &[u8]),
        transaction: &[u8],
    ) {
        let held = &mut self.books[host.index()].queries.held;
        while held.pop_front_if(|held| times.1.since(held.at) >= HELD_FOR).is_some() {}
        let is_of = |held: &Held| {
            let of = match krpc::decode(&held.query) {
                Ok(message) => message.transaction,
                Err(Reject::Answer { transaction, .. }) => transaction,
                Err(_) => return false,
            };
            held.from == to && of == transaction
        };
        let Some(place) = held.iter().position(is_of) else {
            return self.fail(Rule::Queries, host, times.0, format!("what it sends to {to} answers nothing"));
        };
        // Not in their order: announces come first, and some were dropped, their flows being closed.
        let Some(Held { query, .. }) = held.remove(place) else { return };
        if let Ok(Message { body: Body::Query(query), .. }) = krpc::decode(&query) {
            self.on_query(host, times, (to, &query), transaction, answer);
        }
    }

    fn on_announce(
        &mut self,
        host: HostId,
        (now, local): Times,
        (from, hash, token): (SocketAddr, crate::base::InfoHash, &[u8]),
        accepted: bool,
    ) {
        self.note(Rule::Token);
        let book = &mut self.books[host.index()];
        let given = book.tokens.get(&(from.ip(), hash)).into_iter().flatten();
        let age = given.filter(|(given, _)| given == token).map(|(_, at)| local.since(*at)).min();
        if accepted && book.passive {
            book.hear(hash);
        }
        if accepted && age.is_none_or(|age| age > TOKEN_AGE_MAX) {
            let detail = format!("{from} announced {hash} with a token of age {age:?} and was believed");
            self.fail(Rule::Token, host, now, detail);
        } else if !accepted && age.is_some_and(|age| age < TOKEN_AGE_MIN) {
            let detail = format!("{from} announced {hash} with a token of age {age:?} and was refused");
            self.fail(Rule::Token, host, now, detail);
        }
    }

    /// Every node of an answer has answered this host from there, under that id.
    fn expect_verified(&mut self, host: HostId, now: Instant, response: Response<'_>) {
        self.note(Rule::Unverified);
        let book = &self.books[host.index()];
        let stranger = response.nodes().find(|node| !book.verified.contains(&(node.addr, node.id)));
        if let Some(node) = stranger {
            self.fail(Rule::Unverified, host, now, format!("{} at {}", node.id, node.addr));
        }
    }

    /// Addresses, rates and flows of a datagram that leaves.
    fn check_limits(&mut self, host: HostId, (now, local): Times, to: SocketAddr, len: usize, direct: bool) {
        let book = &mut self.books[host.index()];
        let (rate, most) = (u64::from(book.rates.answers_per_address), u64::from(book.rates.answers_burst));
        let answers =
            direct.then(|| book.answers.entry(to.ip()).or_insert_with(|| Window::new(rate, most, now)));
        let broken = if !Scope::may_contact(book.listen, to) {
            Some((Rule::Address, format!("a datagram to {to}")))
        } else if !book.packets.take(now, 1) {
            Some((Rule::Rates, format!("more than {} packets a second", book.rates.packets_out)))
        } else if !book.bytes.take(now, len as u64) {
            Some((Rule::Rates, format!("more than {} bytes a second", book.rates.bytes_out)))
        } else if answers.is_some_and(|window| !window.take(now, 1)) {
            Some((Rule::Rates, format!("more than {rate} answers a second to {to}")))
        } else if !book.router.see(local, FlowKey::Datagrams(to), false) {
            Some((Rule::Flows, format!("{to} was contacted over the limit")))
        } else {
            None
        };
        let (limited, flows) =
            (book.packets.is_limited() || book.bytes.is_limited(), book.router.is_limited());
        self.note(Rule::Address);
        self.checked[Rule::Rates as usize] += u64::from(limited);
        self.checked[Rule::Flows as usize] += u64::from(flows);
        if let Some((rule, detail)) = broken {
            self.fail(rule, host, now, detail);
        }
    }

    /// What was asked minus what ended is what is open, and nothing of that is too old.
    pub(super) fn check_queries(&mut self, host: HostId, (now, local): Times, tallies: &Tallies) {
        self.note(Rule::Queries);
        let queries = &mut self.books[host.index()].queries;
        queries.forget(local);
        let ended = tallies.dht.replies + queries.errors + tallies.dht.timeouts;
        let detail = if queries.sent.checked_sub(ended) != Some(tallies.queries as u64) {
            format!("{} asked, {ended} ended, {} are said to be open", queries.sent, tallies.queries)
        } else if tallies.queries > queries.open.len() {
            format!("{} are open, of which only {} can be", tallies.queries, queries.open.len())
        } else if tallies.dht.sent != queries.left || tallies.dht.received != queries.came {
            let (sent, received) = (tallies.dht.sent, tallies.dht.received);
            let (left, came) = (queries.left, queries.came);
            format!("{left} datagrams left and {came} came, but it counts {sent} and {received}")
        } else {
            return;
        };
        self.fail(Rule::Queries, host, now, detail);
    }
}

impl Queries {
    /// Forgets what cannot wait any more.
    fn forget(&mut self, local: Instant) {
        while let Some((at, _)) = self.order.front()
            && local.since(*at) > WAITS_MAX
        {
            if let Some((at, key)) = self.order.pop_front()
                && self.open.get(&key).is_some_and(|asked| asked.at == at)
            {
                self.open.remove(&key);
            }
        }
    }
}

/// Networks that agree before an id is changed for the first time.
const VOTES_MIN: usize = 4;
/// An answer is held back for less than that.
const HELD_FOR: Duration = Duration::from_secs(1);
/// A query waits at least so long for its reply.
const SURELY_WAITS: Duration = Duration::from_millis(750);
/// And at most so long, with a turn of lateness.
const WAITS_MAX: Duration = Duration::from_millis(5_002);
/// BEP 5: tokens up to ten minutes old are accepted, and secrets change every five; upkeep comes
/// every two seconds.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(603);
const TOKEN_AGE_MIN: Duration = Duration::from_secs(300);
/// One infohash in 4,096 has so many bits in common with an id.
const NEAR_BITS: u32 = 12;
/// Of one answer.
const SAMPLES_TAKEN: usize = 64;
