//! From a client's message to its answer: policy, zones, hosts, memory, forwarders, in this order.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::asked::{Asked, Unfit};
use super::client::Served;
use super::explain::{Explained, InfoCode};
use super::limits::Leave;
use super::log::{Facts, From};
use super::reply::{self, Reply, Written, put_records};
use super::{Listener, QUERY_MAX, THREATS_MAX, Via, frame};
use crate::base::{Cx, Instant, Path, Scope, Token};
use crate::dns::cache::{Key, Variant};
use crate::dns::local::Local;
use crate::dns::lookup::Dns;
use crate::dns::policy::{Action, Hit, HitFacts};
use crate::dns::{Failure, Given, Resolved, User};
use crate::model::dns::Source;
use crate::wire::dns::{Flags, HEADER_LEN, Kind, Message, Name, Rcode, Record, Section};

/// A question that waits for the resolver.
pub(in crate::dns) struct Pending {
    via: Via,
    /// As it came.
    query: Box<[u8]>,
    /// What is answered before what the resolver finds.
    head: Option<Head>,
    began: Instant,
}

/// The beginning of an answer, which leads to another name.
struct Head {
    /// Its records, as a message.
    message: Box<[u8]>,
    flags: u16,
    from: From,
    explained: Explained,
}

/// An answer that had to wait.
#[derive(Debug)]
pub enum Outgoing {
    /// Send so many bytes of the buffer.
    Datagram(Path, usize),
    /// This is for a connection, with its length before it; `None`: it will have no answer.
    Frame(Token, Option<Bytes>),
}

/// What came of a message.
enum Said {
    /// The answer is written.
    Now(Written, From),
    /// It comes later.
    Later,
    /// There is none.
    Never(From),
}

/// A question on its way, with what it takes to answer it.
struct Question<'q> {
    via: Via,
    data: &'q [u8],
    asked: &'q Asked<'q>,
    /// The client's cookie and ours, if it sent one.
    cookie: Option<[u8; 24]>,
    began: Instant,
}

impl Pending {
    pub(super) fn client(&self) -> IpAddr {
        self.via.client()
    }
}

impl Via {
    fn client(self) -> IpAddr {
        match self {
            Self::Udp(path) => path.remote.ip(),
            Self::Stream(_, ip) => ip,
        }
    }

    fn over_stream(self) -> bool {
        matches!(self, Self::Stream(..))
    }
}

impl Dns {
    /// A datagram of a client: the length of the direct answer, 0 if it comes later or never. `reply`
    /// has room for a datagram.
    pub fn on_query(&mut self, cx: &mut Cx<'_>, path: Path, data: &[u8], reply: &mut [u8]) -> usize {
        let Some(mut listener) = self.listener.take() else { return 0 };
        let said = self.serve(&mut listener, cx, Via::Udp(path), data, reply);
        self.listener = Some(listener);
        if let Said::Now(written, _) = said { written.len } else { 0 }
    }

    /// The same on a connection of a client.
    pub fn on_stream_query(&mut self, cx: &mut Cx<'_>, conn: Token, client: IpAddr, data: &[u8]) -> Served {
        let Some(mut listener) = self.listener.take() else { return Served::Never };
        listener.stats.over_stream += 1;
        let mut out = std::mem::take(&mut listener.scratch);
        if out.is_empty() {
            out = vec![0; usize::from(u16::MAX)].into_boxed_slice();
        }
        let served = match self.serve(&mut listener, cx, Via::Stream(conn, client), data, &mut out) {
            Said::Now(written, _) if written.len > 0 => Served::Now(frame(&out[..written.len])),
            Said::Now(..) | Said::Never(_) => Served::Never,
            Said::Later => Served::Later,
        };
        listener.scratch = out;
        self.listener = Some(listener);
        served
    }

    /// The next answer that had to wait. A datagram is written into `out`, which has room for one.
    pub fn poll_reply(&mut self, cx: &mut Cx<'_>, out: &mut [u8]) -> Option<Outgoing> {
        let mut listener = self.listener.take()?;
        let mut outgoing = None;
        while outgoing.is_none()
            && let Some((pending, resolved)) = listener.settled.pop_front()
        {
            outgoing = self.conclude(&mut listener, cx, &pending, *resolved, out);
        }
        self.listener = Some(listener);
        outgoing
    }

    /// A question of a client has come to its end.
    pub(in crate::dns) fn on_client_resolved(&mut self, token: Token, resolved: Box<Resolved>) {
        let Some(listener) = &mut self.listener else { return };
        if let Some(pending) = listener.unkeep(token) {
            listener.settled.push_back((pending, resolved));
        }
    }

    fn serve(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        via: Via,
        data: &[u8],
        out: &mut [u8],
    ) -> Said {
        listener.stats.queries += 1;
        if !listener.limits.take(via.client(), cx.now) {
            listener.stats.limited += 1;
            return Said::Never(From::Nobody);
        }
        let mut name = Name::ROOT;
        let asked = match Asked::parse(data, &mut name) {
            Ok(asked) => asked,
            Err(unfit) => return listener.turn_down(cx, via, data, &unfit, out),
        };
        let question = listener.question(cx, via, data, &asked);
        let said = self.decide(listener, cx, &question, out);
        listener.settle(cx, &question, said, out)
    }

    fn decide(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        out: &mut [u8],
    ) -> Said {
        let asked = question.asked;
        if !listener.limits.may_ask(question.via.client()) {
            let reply = question
                .reply(Explained::new(InfoCode::Prohibited, "ask somebody who knows you (--dns-allow)"));
            listener.stats.refused += 1;
            return Said::Now(reply.empty(Rcode::REFUSED, 0, out), From::Nobody);
        }
        if let Some(said) = self.by_policy(listener, cx, question, asked.name, None, out) {
            return said;
        }
        if let Some(said) = self.by_zones(listener, cx, question, out) {
            return said;
        }
        if !asked.flags.has(Flags::RD) {
            let reply =
                question.reply(Explained::new(InfoCode::NotAuthoritative, "recursion is not desired"));
            return Said::Now(reply.empty(Rcode::REFUSED, 0, out), From::Nobody);
        }
        if asked.question.kind == Kind::ANY {
            return Said::Now(question.reply(Explained::default()).any(out), From::Zone);
        }
        if self.is_loop(asked) {
            listener.stats.loops += 1;
            return Said::Never(From::Nobody);
        }
        if let Some(answer) = self.resolver.special(asked.name, asked.question.kind) {
            let given = Given { answer: Arc::new(answer), age: 0, source: Source::Zone };
            return self.hand_out(listener, cx, question, None, &given, out);
        }
        let key = Key::new(asked.name, asked.question.kind, variant(asked));
        match self.resolver.known(&key, (asked.name, asked.question.kind), cx.now) {
            Some((given, renew)) => {
                if renew {
                    self.resolver.renew(cx, (asked.name, asked.question.kind, variant(asked)));
                    listener.is_dirty = true;
                }
                self.hand_out(listener, cx, question, None, &given, out)
            }
            None => self.put(listener, cx, question, None, asked.name),
        }
    }

    /// What the policy says of a name that was asked for, or that an alias leads to.
    fn by_policy(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        name: &Name,
        before: Option<&Message<'_>>,
        out: &mut [u8],
    ) -> Option<Said> {
        let client = question.via.client();
        let verdict = self.policy.judge(cx.now, name, client);
        if verdict.hit.is_none() && verdict.watched.is_none() {
            return None;
        }
        self.policy.count(&verdict);
        for hit in [verdict.watched, verdict.hit].into_iter().flatten() {
            listener.tell(self.policy.facts(&hit, name, client));
        }
        let hit = verdict.hit.filter(|hit| hit.action != Action::Passthru)?;
        let from = From::Policy(hit.list);
        if hit.action == Action::Drop {
            listener.stats.from_policy += 1;
            return Some(Said::Never(from));
        }
        if hit.action == Action::TcpOnly && question.via.over_stream() {
            return None;
        }
        listener.stats.from_policy += 1;
        let reply = question.reply(self.explain(&hit, name, client));
        let mut follow = None;
        let written = reply.write(out, |writer| {
            if before.is_some_and(|before| put_records(writer, before).is_none()) {
                return (Flags::TC, Rcode::NOERROR);
            }
            let Some(outcome) = self.policy.answer(&hit, name, question.asked.question.kind, writer) else {
                return (0, Rcode::SERVFAIL);
            };
            follow = outcome.follow.clone();
            outcome.said()
        });
        Some(match follow {
            None => Said::Now(written, from),
            Some(target) => {
                let explained = reply.explained;
                let head = Head::of(&out[..written.len], from, explained);
                self.go_on(listener, cx, question, head, &target, out)
            }
        })
    }

    fn by_zones(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        out: &mut [u8],
    ) -> Option<Said> {
        if self.zones.is_empty() {
            return None;
        }
        let asked = question.asked;
        let reply = question.reply(Explained::default());
        let mut outcome = None;
        let written = reply.write(out, |writer| {
            outcome = self.zones.answer(asked.name, asked.question.kind, writer);
            outcome.as_ref().map_or((0, Rcode::NOERROR), |outcome| outcome.said())
        });
        let outcome = outcome?;
        let recursive = asked.flags.has(Flags::RD);
        if outcome.referral && recursive && outcome.follow.is_none() {
            // Whoever it was given to is asked.
            return None;
        }
        listener.stats.from_zones += 1;
        if let Some(said) = self.by_policy_of_aliases(listener, cx, question, written, out) {
            return Some(said);
        }
        Some(match outcome.follow.filter(|_| recursive && !outcome.truncated) {
            None => Said::Now(written, From::Zone),
            Some(target) => {
                let head = Head::of(&out[..written.len], From::Zone, Explained::default());
                self.go_on(listener, cx, question, head, &target, out)
            }
        })
    }

    /// An answer of ours leads to another's name.
    fn go_on(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        head: Head,
        target: &Name,
        out: &mut [u8],
    ) -> Said {
        let kind = question.asked.question.kind;
        if Message::parse(&head.message).is_ok_and(|message| message.header.counts[0] > HEAD_MAX) {
            return listener.fail(question, Failure::Chain, out);
        }
        match self.find_local(target, kind) {
            Some(Local::Whole(Ok(answer))) => {
                let given = Given { answer: Arc::new(answer), age: 0, source: Source::Zone };
                return self.hand_out(listener, cx, question, Some(&head), &given, out);
            }
            Some(Local::Whole(Err(failure))) => return listener.fail(question, failure, out),
            Some(Local::Alias(begun, next)) => {
                let given = Given { answer: Arc::new(begun), age: 0, source: Source::Zone };
                let Ok(message) = Message::parse(&head.message) else { return Said::Never(From::Nobody) };
                let reply = question.reply(head.explained.clone());
                let written = reply.joined(&message, head.flags, &given, out);
                let head = Head::of(&out[..written.len], head.from, reply.explained);
                return self.go_on(listener, cx, question, head, &next, out);
            }
            None => {}
        }
        let key = Key::new(target, kind, variant(question.asked));
        match self.resolver.known(&key, (target, kind), cx.now) {
            Some((given, _)) => self.hand_out(listener, cx, question, Some(&head), &given, out),
            None => self.put(listener, cx, question, Some(head), target),
        }
    }

    /// Puts a question to the resolver; its answer comes with [`Dns::poll_reply`].
    fn put(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        head: Option<Head>,
        name: &Name,
    ) -> Said {
        let (via, began, data) = (question.via, question.began, question.data);
        let kept = (data.len() <= QUERY_MAX)
            .then(|| listener.keep(Pending { via, query: data.into(), head, began }))
            .flatten();
        let Some(token) = kept else {
            listener.stats.overloaded += 1;
            return Said::Never(From::Nobody);
        };
        listener.stats.asked += 1;
        listener.is_dirty = true;
        let asked = (name, question.asked.question.kind, variant(question.asked));
        self.resolver.resolve(cx, asked, User::Client(token));
        Said::Later
    }

    /// Writes an answer that was remembered or found, unless the policy minds where it leads.
    fn hand_out(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        head: Option<&Head>,
        given: &Given,
        out: &mut [u8],
    ) -> Said {
        let from = match &given.source {
            Source::Zone => From::Zone,
            Source::Hosts | Source::Literal => From::Hosts,
            Source::Memory | Source::Database => From::Memory,
            Source::Stale => From::Stale,
            Source::Forwarder(_) => From::Forwarder,
        };
        if let Some((begun, target)) = self.cut_at_alias(given, question.asked.question.kind) {
            let given = Given { answer: Arc::new(begun), age: 0, source: given.source.clone() };
            let reply = question.reply(head.map_or_else(Explained::default, |head| head.explained.clone()));
            let written = match head.map(|head| (head, Message::parse(&head.message))) {
                Some((head, Ok(message))) => reply.joined(&message, head.flags, &given, out),
                _ => reply.given(&given, out),
            };
            let head = Head::of(&out[..written.len], head.map_or(from, |head| head.from), reply.explained);
            return self.go_on(listener, cx, question, head, &target, out);
        }
        listener.stats.from_memory += u64::from(matches!(from, From::Memory | From::Stale));
        let explained = match (head, from, given.answer.rcode) {
            (Some(head), ..) if !head.explained.bytes().is_empty() => head.explained.clone(),
            (_, From::Stale, Rcode::NXDOMAIN) => Explained::new(InfoCode::StaleNxDomainAnswer, STALE),
            (_, From::Stale, _) => Explained::new(InfoCode::StaleAnswer, STALE),
            _ => Explained::default(),
        };
        let reply = question.reply(explained);
        let written = match head.map(|head| (head, Message::parse(&head.message))) {
            Some((head, Ok(message))) => reply.joined(&message, head.flags, given, out),
            _ => reply.given(given, out),
        };
        // Where a rule leads is what the rule wants.
        if !head.is_some_and(|head| matches!(head.from, From::Policy(_)))
            && let Some(said) = self.by_policy_of_aliases(listener, cx, question, written, out)
        {
            return said;
        }
        Said::Now(written, head.map_or(from, |head| head.from))
    }

    /// A rule may be about a name that an alias in the answer leads to: then what came before it
    /// stays, and the rule decides about the rest. Who is let through is so with all aliases.
    fn by_policy_of_aliases(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        question: &Question<'_>,
        written: Written,
        out: &mut [u8],
    ) -> Option<Said> {
        if self.policy.is_empty() {
            return None;
        }
        let (client, wanted) = (question.via.client(), question.asked.question.kind);
        let answer = Message::parse(out.get(..written.len)?).ok()?;
        let (mut aliases, mut found) = (0, None);
        for record in answer.records().flatten() {
            if record.section != Section::Answer || record.kind == wanted {
                break;
            }
            aliases += 1;
            if record.kind == Kind::CNAME
                && let Ok(target) = record.name_in_data(0).read()
                && self.policy.judge(cx.now, &target, client).hit.is_some()
            {
                found = Some(target);
                break;
            }
        }
        let target = found.filter(|_| !self.policy.lets_through(cx.now, question.asked.name, client))?;
        // Of the records, those up to the alias.
        let mut before = out[..written.len].to_vec();
        before[6..HEADER_LEN].fill(0);
        before[6..8].copy_from_slice(&u16::to_be_bytes(aliases));
        let before = Message::parse(&before).ok()?;
        self.by_policy(listener, cx, question, &target, Some(&before), out)
    }

    /// The answer to a question that waited.
    fn conclude(
        &mut self,
        listener: &mut Listener,
        cx: &mut Cx<'_>,
        pending: &Pending,
        resolved: Resolved,
        out: &mut [u8],
    ) -> Option<Outgoing> {
        let mut buffer = std::mem::take(&mut listener.scratch);
        if pending.via.over_stream() && buffer.is_empty() {
            buffer = vec![0; usize::from(u16::MAX)].into_boxed_slice();
        }
        let room = if pending.via.over_stream() { &mut *buffer } else { &mut *out };
        let mut name = Name::ROOT;
        let len = Asked::parse(&pending.query, &mut name).map_or(Some(0), |asked| {
            let question = listener.question(cx, pending.via, &pending.query, &asked);
            let question = Question { began: pending.began, ..question };
            let said = match resolved.result {
                Ok(given) => self.hand_out(listener, cx, &question, pending.head.as_ref(), &given, room),
                Err(failure) => listener.fail(&question, failure, room),
            };
            match listener.settle(cx, &question, said, room) {
                Said::Now(written, _) => Some(written.len),
                Said::Never(_) => Some(0),
                // A rule led on to another name, which is asked for now.
                Said::Later => None,
            }
        });
        let framed = len.filter(|len| *len > 0).map(|len| frame(&room[..len]));
        listener.scratch = buffer;
        let len = len?;
        match pending.via {
            Via::Stream(conn, _) => Some(Outgoing::Frame(conn, framed)),
            Via::Udp(path) => (len > 0).then_some(Outgoing::Datagram(path, len)),
        }
    }

    /// Our own question, come back: by the cookie that we sent with it.
    fn is_loop(&self, asked: &Asked<'_>) -> bool {
        let cookie = asked.edns.and_then(|edns| edns.cookie);
        cookie.is_some_and(|cookie| self.resolver.is_own_cookie(cookie))
    }

    fn explain(&self, hit: &Hit, name: &Name, client: IpAddr) -> Explained {
        let facts = self.policy.facts(hit, name, client);
        let code = if hit.action == Action::Local { InfoCode::ForgedAnswer } else { InfoCode::Blocked };
        Explained::new(code, &format!("{}: {}", public_name(&facts.list), facts.rule))
    }
}

impl Question<'_> {
    fn reply(&self, explained: Explained) -> Reply<'_> {
        let (asked, over_stream, cookie) = (self.asked, self.via.over_stream(), self.cookie);
        Reply { asked, over_stream, cookie, explained }
    }
}

impl Listener {
    fn question<'q>(&self, cx: &Cx<'_>, via: Via, data: &'q [u8], asked: &'q Asked<'q>) -> Question<'q> {
        let client = asked.edns.and_then(|edns| edns.cookie);
        let cookie = client.map(|client| {
            let mut both = [0; 24];
            both[..8].copy_from_slice(&client);
            both[8..].copy_from_slice(&self.cookies.issue(client, via.client(), cx.unix));
            both
        });
        Question { via, data, asked, cookie, began: cx.now }
    }

    /// Nobody could say what was asked.
    fn fail(&mut self, question: &Question<'_>, failure: Failure, out: &mut [u8]) -> Said {
        self.stats.failed += 1;
        let reply = question.reply(Explained::failure(failure));
        Said::Now(reply.empty(Rcode::SERVFAIL, 0, out), From::Nobody)
    }

    /// What there is to say to what cannot be answered.
    fn turn_down(
        &mut self,
        cx: &mut Cx<'_>,
        via: Via,
        data: &[u8],
        unfit: &Unfit<'_>,
        out: &mut [u8],
    ) -> Said {
        self.stats.malformed += 1;
        match unfit {
            Unfit::Silent => Said::Never(From::Nobody),
            Unfit::Bare(_) if !self.limits.may_ask(via.client()) => Said::Never(From::Nobody),
            Unfit::Bare(rcode) => {
                Said::Now(Written { len: reply::bare(data, *rcode, out), rcode: *rcode }, From::Nobody)
            }
            Unfit::Refused(asked, rcode) => {
                let question = self.question(cx, via, data, asked);
                let reply = question.reply(Explained::default());
                let said = Said::Now(reply.empty(*rcode, 0, out), From::Nobody);
                self.settle(cx, &question, said, out)
            }
        }
    }

    /// Holds back what is too much, counts, and keeps in the log what became of a question.
    fn settle(&mut self, cx: &mut Cx<'_>, question: &Question<'_>, said: Said, out: &mut [u8]) -> Said {
        let (mut rcode, from) = match &said {
            Said::Later => return said,
            Said::Now(written, from) => (Some(written.rcode), *from),
            Said::Never(from) => (None, *from),
        };
        let client = question.via.client();
        let mut said = said;
        if let Said::Now(written, _) = said
            && !question.via.over_stream()
            && !self.is_proven(cx, question)
        {
            let denied = || denied_by(out.get(..written.len).unwrap_or_default());
            match self.limits.leave(client, (question.asked.name, written.rcode), denied, cx.now) {
                Leave::Whole => {}
                Leave::Cut => {
                    self.stats.limited += 1;
                    let reply = question.reply(Explained::default());
                    said = Said::Now(reply.cut(Rcode::NOERROR, out), from);
                }
                Leave::Nothing => {
                    self.stats.limited += 1;
                    (said, rcode) = (Said::Never(from), None);
                }
            }
        }
        if let Said::Now(written, _) = said {
            self.stats.answered += 1;
            if Scope::of(client) == Scope::Global {
                // Through the router, like everything else that is limited there.
                cx.buckets.packets_out.take_up_to(cx.now, 1);
                cx.buckets.bytes_out.take_up_to(cx.now, written.len as u64);
            }
        }
        let facts = Facts {
            at: cx.unix,
            client,
            over_stream: question.via.over_stream(),
            kind: question.asked.question.kind,
            rcode,
            from,
            elapsed: cx.now.since(question.began),
        };
        self.log.push(question.asked.name, facts);
        said
    }

    /// The client brought back a cookie of ours, so that it is where it says it is.
    fn is_proven(&self, cx: &Cx<'_>, question: &Question<'_>) -> bool {
        let Some(edns) = question.asked.edns else { return false };
        let cookies = edns.cookie.zip(edns.server_cookie);
        cookies.is_some_and(|(client, server)| {
            self.cookies.is_ours(client, server, question.via.client(), cx.unix)
        })
    }

    fn tell(&mut self, facts: HitFacts) {
        if self.threats.len() >= THREATS_MAX {
            self.threats.pop_front();
        }
        self.threats.push_back(facts);
        self.is_dirty = true;
    }
}

impl Head {
    fn of(message: &[u8], from: From, explained: Explained) -> Self {
        let flags = message.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]));
        let mut message: Box<[u8]> = message.into();
        // OPT is written anew, and nothing else stands behind the aliases.
        if let Some(counts) = message.get_mut(8..HEADER_LEN) {
            counts.fill(0);
        }
        Self { message, flags: flags & Flags::AA, from, explained }
    }
}

/// What clients are told of a list: neither where its file lies nor what its URL holds.
pub(super) fn public_name(list: &str) -> &str {
    match list.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            host.rsplit('@').next().unwrap_or_default()
        }
        None => list.rsplit(['/', '\\']).next().unwrap_or_default(),
    }
}

/// The zone that says that there is no such name.
fn denied_by(answer: &[u8]) -> Option<Name> {
    let message = Message::parse(answer).ok()?;
    let is_soa = |record: &Record<'_>| record.section == Section::Authority && record.kind == Kind::SOA;
    message.records().flatten().find(is_soa)?.owner.read().ok()
}

fn variant(asked: &Asked<'_>) -> Variant {
    Variant {
        dnssec_ok: asked.edns.is_some_and(|edns| edns.dnssec_ok),
        checking_disabled: asked.flags.has(Flags::CD),
    }
}

/// Records before the end of an answer: aliases from here to others and back, and their signatures.
const HEAD_MAX: u16 = 48;
const STALE: &str = "no forwarder answers; this is from before";
