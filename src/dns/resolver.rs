//! Questions and their answers: from the hosts file, from memory, else from forwarders. Equal
//! questions are asked once, whoever waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashTable;

use super::aliases::Led;
use super::answer::{Answer, Chain, Reading, Terms, Useless, leads_inside};
use super::cache::{self, Cache, Freshness, Key, Variant};
use super::config::{Config, Rebinding};
use super::forwarders::Forwarders;
use super::query::{Query, Via};
use super::sockets::{self, Sockets};
use super::streams::Streams;
use super::{Event, Failure, Given, Resolved, Stats, System, User, Wish};
use crate::base::hash::{self, Map};
use crate::base::{Cx, Instant, Rng, Slots, SocketId, Timers, Token, UnixTime};
use crate::model::dns::{SavedAnswer, Source};
use crate::wire::dns::{Kind, Message, Name, Rcode, Record, is_within};

/// The resolver: no socket, no clock; datagrams, bytes and time are handed in.
pub struct Resolver {
    pub(super) config: Config,
    pub(super) forwarders: Forwarders,
    pub(super) cache: Cache,
    pub(super) queries: Slots<Query>,
    /// Questions under way, by the hashes of their keys.
    by_key: HashTable<Token>,
    pub(super) by_id: Map<(SocketId, u16), (Token, u32)>,
    pub(super) sockets: Sockets,
    pub(super) streams: Streams,
    timers: Timers,
    /// Tries that wait to leave over UDP.
    pub(super) to_send: VecDeque<(Token, u32)>,
    pub(super) wishes: VecDeque<Wish>,
    events: VecDeque<Event>,
    /// Queries that are to learn what became of those that their aliases lead to.
    pub(super) led: VecDeque<Led>,
    /// When those are led on that were too many at once.
    pub(super) led_at: Instant,
    pub(super) leading: bool,
    /// Zones of ours, by their names in wire form.
    pub(super) own_zones: Map<Box<[u8]>, ()>,
    /// Keys of answers that the archive does not have yet.
    unsaved: Vec<Box<[u8]>>,
    pub(super) stats: Stats,
    stopped: bool,
}

impl Resolver {
    /// A resolver that knows nothing yet. Its sockets have ids from `first_socket` on.
    pub fn new(config: Config, first_socket: u16, rng: &mut Rng) -> Self {
        Self {
            forwarders: Forwarders::new(&config.forwarders, config.strategy, config.extras, rng),
            cache: Cache::new(config.cache, rng),
            queries: Slots::default(),
            by_key: HashTable::new(),
            by_id: hash::map(rng),
            sockets: Sockets::new(first_socket),
            streams: Streams::default(),
            timers: Timers::default(),
            to_send: VecDeque::new(),
            wishes: VecDeque::new(),
            events: VecDeque::new(),
            led: VecDeque::new(),
            led_at: Instant::FAR,
            leading: false,
            own_zones: hash::map(rng),
            unsaved: Vec::new(),
            stats: Stats::default(),
            stopped: false,
            config,
        }
    }

    /// Wants the records of a name. The answer is an event, at once if it is known.
    pub fn resolve(&mut self, cx: &mut Cx<'_>, question: (&Name, Kind, Variant), user: User) {
        let (name, kind, variant) = question;
        self.stats.asked += 1;
        if let Some(records) = self.config.hosts.find(name, kind) {
            return self.give(user, (name, kind), Ok(hosts_answer((name, kind), &records)));
        }
        let key = Key::new(name, kind, variant);
        match self.cached(&key, cx.now) {
            Some((given, renew)) => {
                self.give(user, (name, kind), Ok(given));
                if renew {
                    self.join(cx, &key, question, None);
                }
            }
            None => self.join(cx, &key, question, Some(user)),
        }
    }

    /// What is remembered of a question and may be given without asking anybody; true if it is to be
    /// asked for again meanwhile.
    pub fn cached(&mut self, key: &Key, now: Instant) -> Option<(Given, bool)> {
        let (entry, freshness) = self.cache.find(key, now)?;
        match freshness {
            Freshness::Stale if now >= entry.retry_at => None,
            Freshness::Stale => {
                let given = Given::stale(entry);
                self.cache.stats.stale += 1;
                Some((given, false))
            }
            Freshness::Fresh(_) | Freshness::Renew(_) => {
                let source = if entry.from_archive { Source::Database } else { Source::Memory };
                let age = entry.age(now);
                let given = Given { answer: entry.answer.clone(), age, source };
                Some((given, matches!(freshness, Freshness::Renew(_))))
            }
        }
    }

    /// What can be answered without asking anybody: from the hosts file, else as [`Resolver::cached`].
    pub fn known(&mut self, key: &Key, asked: (&Name, Kind), now: Instant) -> Option<(Given, bool)> {
        self.stats.asked += 1;
        match self.config.hosts.find(asked.0, asked.1) {
            Some(records) => Some((hosts_answer(asked, &records), false)),
            None => self.cached(key, now),
        }
    }

    /// Asks for what is known already, so that it is known for longer.
    pub fn renew(&mut self, cx: &mut Cx<'_>, question: (&Name, Kind, Variant)) {
        let (name, kind, variant) = question;
        self.join(cx, &Key::new(name, kind, variant), question, None);
    }

    /// Whether one of our own questions carried this cookie.
    pub fn is_own_cookie(&self, cookie: [u8; 8]) -> bool {
        self.forwarders.iter().any(|forwarder| forwarder.cookie == cookie)
    }

    /// What is remembered, in figures and some names.
    pub fn summary(&self) -> cache::Summary {
        self.cache.summary()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next thing for the driver to do with sockets and connections.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        let socket = self.sockets.poll_wish().map(|wish| match wish {
            sockets::Wish::Bind(id, addr) => Wish::Bind(id, addr),
            sockets::Wish::Unbind(id) => Wish::Unbind(id),
        });
        socket.or_else(|| self.wishes.pop_front())
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Answers that the archive does not have yet.
    pub fn take_unsaved(&mut self, now: Instant, unix: UnixTime) -> Vec<SavedAnswer> {
        let keys = std::mem::take(&mut self.unsaved);
        keys.into_iter().filter_map(|key| self.saved(key, now, unix)).collect()
    }

    /// Takes up an answer that the archive kept.
    pub fn restore(&mut self, saved: &SavedAnswer, now: Instant, unix: UnixTime) {
        let Some(answer) = Answer::restore(saved.message.as_ref().into()) else { return };
        if let Some(Rebinding { allowed }) = &self.config.rebinding {
            let inside = |record: Record<'_>| {
                record.owner.read().is_ok_and(|owner| leads_inside(&owner, &record, allowed))
            };
            if answer.records().any(inside) {
                // The protection may be newer than the answer.
                return;
            }
        }
        let age = unix.secs_since(saved.resolved_at);
        let ttl = u64::from(answer.ttl);
        let (left, stale) = (ttl.saturating_sub(age), age.saturating_sub(ttl));
        self.cache.restore(&saved.key, answer, Duration::from_secs(left), Duration::from_secs(stale), now);
    }

    /// Changes whom to ask and what needs no asking; true if it is others now who are asked. Questions
    /// under way are put to them.
    pub fn set_system(&mut self, cx: &mut Cx<'_>, system: System) -> bool {
        (self.config.hosts, self.config.search) = (system.hosts, system.search);
        self.config.ndots = system.ndots;
        let same = self.forwarders.iter().map(|forwarder| &forwarder.config).eq(&system.forwarders);
        if same {
            return false;
        }
        self.forwarders.replace(&system.forwarders, self.config.extras, cx.rng);
        self.cache.retry_all(cx.now);
        for conn in self.streams.all() {
            self.streams.remove(conn);
            self.wishes.push_back(Wish::Close(conn));
        }
        let all: Vec<_> = self.queries.iter().map(|(token, _)| token).collect();
        for token in all {
            self.begin_again(cx, token);
        }
        true
    }

    /// Forgets whom a question was put to, and puts it to those who are there now.
    fn begin_again(&mut self, cx: &mut Cx<'_>, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        if query.probe.is_some() {
            return self.end(cx, token, Err(Failure::Stopped));
        }
        (query.asked, query.distrusted, query.round) = (0, 0, 0);
        query.among = self.forwarders.responsible_for(cache::name_of(&query.key));
        if query.lead.is_some() {
            return;
        }
        query.forget_tries();
        self.drop_tries(cx.now, token);
        self.ask_next(cx, token);
    }

    fn saved(&self, key: Box<[u8]>, now: Instant, unix: UnixTime) -> Option<SavedAnswer> {
        let entry = self.cache.usable(&key, now)?;
        let resolved_at = UnixTime(unix.0.saturating_sub(u64::from(entry.age(now))));
        let message = Bytes::copy_from_slice(entry.answer.message());
        Some(SavedAnswer { key, message, resolved_at, ttl: entry.answer.ttl })
    }

    /// When [`Resolver::on_deadline`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let led = Some(self.led_at).filter(|at| *at < Instant::FAR);
        let own = [self.timers.next(), self.forwarders.next_probe(), self.streams.next_deadline(), led];
        own.into_iter().flatten().min()
    }

    /// Time-outs, probes, idle connections.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>) {
        while let Some((at, token)) = self.timers.pop_due(cx.now) {
            let Some(query) = self.queries.get_mut(token) else { continue };
            if query.timer_at == at {
                query.timer_at = Instant::FAR;
                self.on_due(cx, token);
            }
        }
        if self.led_at <= cx.now {
            self.led_at = Instant::FAR;
            self.lead_on(cx);
        }
        while let Some(conn) = self.streams.pop_due(cx.now) {
            self.wishes.push_back(Wish::Close(conn));
            self.conn_lost(cx, conn, false);
        }
        while let Some(forwarder) = self.forwarders.pop_probe(cx.now) {
            self.probe(cx, forwarder);
        }
    }

    /// Ends everything: whoever waits is told, and whoever asks later.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = true;
        let all: Vec<_> = self.queries.iter().map(|(token, _)| token).collect();
        for token in all {
            self.close(now, token, Err(Failure::Stopped));
        }
        for conn in self.streams.all() {
            self.streams.remove(conn);
            self.wishes.push_back(Wish::Close(conn));
        }
        self.sockets.close();
    }

    /// Panics if anything does not fit together. For tests and the simulator.
    pub fn check_invariants(&self) {
        self.cache.check_invariants();
        let named = || self.queries.iter().filter(|(_, query)| query.probe.is_none());
        for (token, query) in named() {
            let found = self.under_way(&query.key, query.hash);
            assert_eq!(found, Some(token), "a question is under way once");
        }
        assert_eq!(named().count(), self.by_key.len(), "nothing else is known as under way");
        let udp = |query: &Query| query.tries.iter().filter(|one| matches!(one.via, Via::Udp(_))).count();
        let sent: usize = self.queries.iter().map(|(_, query)| udp(query)).sum();
        assert_eq!(sent, self.by_id.len(), "every id belongs to a try");
        for (token, query) in named() {
            let Some(lead) = &query.lead else { continue };
            let there = self.queries.get(lead.to).is_some_and(|other| other.followers.contains(&token))
                || self.led.iter().any(|led| led.is_of(token));
            assert!(there && query.tries.is_empty(), "whoever is led somewhere waits there, and asks nobody");
        }
        assert!(
            self.led.is_empty() == (self.led_at == Instant::FAR) && !self.leading,
            "nobody is left waiting"
        );
        assert!(
            self.queries.iter().all(|(_, query)| query.timer_at <= query.next_deadline()),
            "nobody oversleeps"
        );
    }

    /// Takes part in the question if it is under way, else begins it.
    fn join(&mut self, cx: &mut Cx<'_>, key: &Key, question: (&Name, Kind, Variant), user: Option<User>) {
        let (name, kind, _) = question;
        let hash = self.cache.hash(key.bytes());
        if let Some(token) = self.under_way(key.bytes(), hash) {
            self.stats.shared += 1;
            let Some(query) = self.queries.get_mut(token) else { return };
            let Some(user) = user else { return };
            if query.waiters.len() < WAITERS_MAX {
                query.waiters.push(user);
                if query.stale_at == Instant::FAR && self.cache.usable(key.bytes(), cx.now).is_some() {
                    query.stale_at = cx.now + STALE_AFTER;
                    self.schedule(token);
                }
                return;
            }
            return self.give(user, (name, kind), Err(Failure::Overloaded));
        }
        let Some(token) = self.begin(cx, key, hash) else {
            let failure = if self.stopped { Failure::Stopped } else { Failure::Overloaded };
            user.into_iter().for_each(|user| self.give(user, (name, kind), Err(failure)));
            return;
        };
        let usable = user.is_some() && self.cache.usable(key.bytes(), cx.now).is_some();
        if let Some(query) = self.queries.get_mut(token) {
            user.into_iter().for_each(|user| query.waiters.push(user));
            query.stale_at = if usable { cx.now + STALE_AFTER } else { Instant::FAR };
        }
        self.ask_next(cx, token);
    }

    /// A query of a question that is not under way, for which nobody waits yet; `None` if there are
    /// too many.
    pub(super) fn begin(&mut self, cx: &Cx<'_>, key: &Key, hash: u64) -> Option<Token> {
        if self.stopped || self.queries.len() >= QUERIES_MAX {
            return None;
        }
        let mut query = Query::new(key, hash, cx.now, self.config.deadline);
        query.among = self.forwarders.responsible_for(query.name());
        let token = self.queries.insert(query);
        let queries = &self.queries;
        let hash_of = |token: &Token| queries.get(*token).map_or(0, |query| query.hash);
        self.by_key.insert_unique(hash, token, hash_of);
        Some(token)
    }

    /// The query of a question that is under way.
    pub(super) fn under_way(&self, key: &[u8], hash: u64) -> Option<Token> {
        let same = |token: &Token| self.queries.get(*token).is_some_and(|query| *query.key == *key);
        self.by_key.find(hash, same).copied()
    }

    /// Puts a question to whoever is next, or gives it up.
    pub(super) fn ask_next(&mut self, cx: &mut Cx<'_>, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let among = query.among;
        let mut chosen = self.forwarders.choose(among, query.asked, cx.rng);
        if query.probe.is_some() {
            chosen = 0;
        } else if chosen == 0 && query.round + 1 < ROUNDS && query.asked != 0 {
            (query.round, query.asked) = (query.round + 1, query.distrusted);
            chosen = self.forwarders.choose(among, query.asked, cx.rng);
            if chosen == 0 {
                // Nobody else is left.
                query.asked = 0;
                chosen = self.forwarders.choose(among, 0, cx.rng);
            }
        }
        query.asked |= chosen;
        // Whoever still has time to answer is not asked once more.
        let waited = query.waited_for();
        let mut begun = false;
        for forwarder in (0..16).filter(|forwarder| (chosen & !waited) & 1 << forwarder != 0) {
            begun |= self.begin_try(cx, token, forwarder, false);
        }
        let Some(query) = self.queries.get(token) else { return };
        if begun || query.is_waiting() {
            return self.schedule(token);
        }
        let fault = query.failure(cx.now);
        // All were asked often enough, but a slow answer is better than none.
        match query.hopes_until().filter(|until| *until > cx.now) {
            Some(until) => self.hope(cx, token, until),
            None => self.end(cx, token, Err(fault)),
        }
    }

    /// Waits for what may still come, and asks once more where no datagram is lost.
    fn hope(&mut self, cx: &mut Cx<'_>, token: Token, until: Instant) {
        let Some(query) = self.queries.get_mut(token) else { return };
        query.deadline = query.deadline.min(until);
        let silent = (0..16).find(|forwarder| query.silent & 1 << forwarder != 0);
        if let Some(forwarder) = silent
            && !std::mem::replace(&mut query.hopes, true)
        {
            self.begin_try(cx, token, forwarder, true);
        }
        self.schedule(token);
    }

    /// Sees to it that the query is woken in time.
    pub(super) fn schedule(&mut self, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let at = query.next_deadline();
        if at < query.timer_at {
            query.timer_at = at;
            self.timers.push(at, token);
        }
    }

    fn on_due(&mut self, cx: &mut Cx<'_>, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        if query.stale_at <= cx.now {
            query.stale_at = Instant::FAR;
            self.give_stale(cx.now, token);
        }
        let Some(query) = self.queries.get_mut(token) else { return };
        if query.deadline <= cx.now {
            let fault = query.failure(cx.now);
            return self.end(cx, token, Err(fault));
        }
        let due = |one: &super::query::Try| one.timeout_at <= cx.now;
        let silent: Vec<(u8, u32)> =
            query.tries.iter().filter(|one| due(one)).map(|one| (one.forwarder, one.number)).collect();
        if silent.is_empty() {
            return self.schedule(token);
        }
        query.fault = Failure::Timeout;
        let mut dead = Vec::new();
        for (forwarder, number) in silent {
            // It may still answer before the end of the query.
            let Some(one) = self.queries.get_mut(token).and_then(|query| query.find(number)) else {
                continue;
            };
            one.timeout_at = Instant::FAR;
            if let (Via::Stream(conn), Some(asked)) = (one.via, one.asked) {
                if self.streams.is_unsent(conn, asked.id) {
                    // We were too slow ourselves.
                    self.drop_try(cx.now, token, number);
                    continue;
                } else if self.streams.is_dead(conn, one.sent_at) {
                    dead.push(conn);
                }
            }
            self.stats.timeouts += 1;
            let Some(query) = self.queries.get_mut(token) else { continue };
            // A name that nobody can find out must not make a forwarder look dead.
            if query.silent & 1 << forwarder == 0 {
                query.silent |= 1 << forwarder;
                self.on_silence(cx.now, forwarder);
            }
        }
        let mut waited = Vec::new();
        for conn in dead {
            self.wishes.push_back(Wish::Close(conn));
            waited.append(&mut self.streams.remove(conn));
        }
        self.ask_next(cx, token);
        self.ask_again(cx, waited, Failure::Timeout);
    }

    /// A forwarder did not answer.
    pub(super) fn on_silence(&mut self, now: Instant, forwarder: u8) {
        if self.forwarders.get_mut(forwarder).is_some_and(|known| known.on_silence(now)) {
            self.tell_down(forwarder);
        }
    }

    /// Tells that a forwarder went down.
    pub(super) fn tell_down(&mut self, forwarder: u8) {
        let Some(known) = self.forwarders.get(forwarder) else { return };
        let (name, addr) = (known.config.name.clone(), known.config.addr);
        self.events.push_back(Event::Forwarder { name, addr, up: false });
    }

    /// A forwarder has answered a try: what it says.
    pub(super) fn on_answer(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        number: u32,
        message: &Message<'_>,
        rcode: Rcode,
    ) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(one) = query.find(number) else { return };
        let forwarder = one.forwarder;
        let rtt = Some(cx.now.since(one.sent_at));
        let mut source = Source::Memory;
        if let Some(known) = self.forwarders.get_mut(forwarder) {
            source = Source::Forwarder(known.config.name.clone());
            if known.on_answer(rtt) {
                let (name, addr) = (known.config.name.clone(), known.config.addr);
                self.events.push_back(Event::Forwarder { name, addr, up: true });
            }
        }
        if self.queries.get(token).is_some_and(|query| query.probe.is_some()) {
            return self.end(cx, token, Err(Failure::Stopped));
        }
        if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
            return self.try_failed(cx, token, number, Failure::Rcode(rcode));
        }
        self.read(cx, token, number, message, source);
    }

    /// Reads a forwarder's response.
    fn read(&mut self, cx: &mut Cx<'_>, token: Token, number: u32, message: &Message<'_>, source: Source) {
        let Some(query) = self.queries.get(token) else { return };
        let rebinds = self.rebinds(query, number, message);
        let ttl_max = self.config.cache.ttl_max;
        if !rebinds && let Some(answer) = Answer::plain(message, (query.name(), query.kind), ttl_max) {
            return self.answered(cx, token, Some(number), (answer, source));
        }
        let Some(name) = Name::from_wire(query.name()) else { return };
        let chain = Chain::new(query.variant.dnssec_ok);
        let read = Answer::read(message, (&name, query.kind), chain, &name, self.terms(rebinds));
        self.stats.rebinding += u64::from(rebinds);
        match read {
            Reading::Whole(answer) => self.answered(cx, token, Some(number), (answer, source)),
            Reading::Follow(chain, target) => {
                self.follow(cx, token, Some(number), (chain, source), &target);
            }
            Reading::Useless(useless) => self.useless(cx, token, Some(number), useless.into()),
        }
    }

    /// What is taken of a response, or of what is remembered.
    pub(super) fn terms(&self, rebinds: bool) -> Terms<'_> {
        let public = self.config.rebinding.as_ref().filter(|_| rebinds);
        Terms { ttl_max: self.config.cache.ttl_max, public: public.map(|rebinding| &*rebinding.allowed) }
    }

    /// Whether private addresses of a response are to be left out. A forwarder of a suffix may have
    /// them, and so may names that are allowed to.
    fn rebinds(&self, query: &Query, number: u32, message: &Message<'_>) -> bool {
        let Some(Rebinding { allowed }) = &self.config.rebinding else { return false };
        let one = query.tries.iter().find(|one| one.number == number);
        let forwarder = one.and_then(|one| self.forwarders.get(one.forwarder));
        let is_own = forwarder.is_some_and(|forwarder| forwarder.config.suffix.is_some());
        if is_own || allowed.iter().any(|suffix| is_within(query.name(), suffix.wire())) {
            return false;
        }
        let leads_inside = |record: &Record<'_>| {
            record.owner.read().is_ok_and(|owner| leads_inside(&owner, record, allowed))
        };
        let rebinds = message.records().flatten().any(|record| leads_inside(&record));
        if rebinds {
            let name = super::exchange::readable(query.name());
            log::debug!("private addresses of {name} are left out (--dns-rebind-protect)");
        }
        rebinds
    }

    /// Somebody, by the number of his try, or what is remembered, has the whole answer.
    pub(super) fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        winner: Option<u32>,
        given: (Answer, Source),
    ) {
        self.see_to_losers(cx, token, winner);
        self.end(cx, token, Ok((Arc::new(given.0), given.1)));
    }

    /// Those whose answers come too late to be seen must not be asked for ever if they are gone.
    fn see_to_losers(&mut self, cx: &mut Cx<'_>, token: Token, winner: Option<u32>) {
        let Some(query) = self.queries.get(token) else { return };
        let waiting = |one: &&super::query::Try| one.timeout_at < Instant::FAR && Some(one.number) != winner;
        let losers: Vec<u8> = query.tries.iter().filter(waiting).map(|one| one.forwarder).collect();
        for index in losers {
            if self.forwarders.get_mut(index).is_some_and(|forwarder| forwarder.on_race_lost(cx.now)) {
                self.probe(cx, index);
            }
        }
    }

    /// A try came to nothing before its time.
    pub(super) fn try_failed(&mut self, cx: &mut Cx<'_>, token: Token, number: u32, fault: Failure) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(forwarder) = query.find(number).map(|one| one.forwarder) else { return };
        query.fault = fault;
        if let Some(forwarder) = self.forwarders.get_mut(forwarder) {
            forwarder.stats.useless += 1;
        }
        self.drop_try(cx.now, token, number);
        if self.queries.get(token).is_none_or(Query::is_waiting) {
            return;
        }
        match fault {
            Failure::Chain => self.astray(cx, token),
            _ => self.ask_next(cx, token),
        }
    }

    /// Ends a query and tells all who wait, and those whose aliases lead to it.
    pub(super) fn end(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        result: Result<(Arc<Answer>, Source), Failure>,
    ) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let (followers, distrusted) = (std::mem::take(&mut query.followers), query.distrusted);
        self.tell_followers(followers, token, &result, distrusted);
        self.close(cx.now, token, result);
        self.lead_on(cx);
    }

    /// Ends a query and tells all who wait.
    fn close(&mut self, now: Instant, token: Token, result: Result<(Arc<Answer>, Source), Failure>) {
        self.drop_tries(now, token);
        let Some(query) = self.queries.remove(token) else { return };
        if query.probe.is_some() {
            return;
        }
        if let Ok(entry) = self.by_key.find_entry(query.hash, |other| *other == token) {
            entry.remove();
        }
        let Some((name, kind, _)) = cache::split_key(&query.key) else { return };
        let given = match result {
            Ok((answer, source)) => {
                self.remember(query.key, &answer, now);
                Ok(Given { answer, age: 0, source })
            }
            Err(failure) => {
                self.stats.failed += 1;
                self.cache.not_renewed(&query.key, now).map(Given::stale).ok_or(failure)
            }
        };
        if given.as_ref().is_ok_and(|given| given.source == Source::Stale) {
            self.cache.stats.stale += query.waiters.len() as u64;
        }
        let elapsed = now.since(query.started);
        for user in query.waiters.into_iter() {
            let resolved = Resolved { name: name.clone(), kind, result: given.clone(), elapsed };
            self.events.push_back(Event::Resolved(user, Box::new(resolved)));
        }
    }

    fn remember(&mut self, key: Box<[u8]>, answer: &Arc<Answer>, now: Instant) {
        if answer.ttl > 0 && self.unsaved.len() < self.config.unsaved_max {
            self.unsaved.push(key.clone());
        }
        self.cache.insert_owned(key, answer.clone(), now);
    }

    /// Who waits long enough gets what expired; the question goes on (RFC 8767, section 5).
    fn give_stale(&mut self, now: Instant, token: Token) {
        let Some(query) = self.queries.get_mut(token) else { return };
        let Some(given) = self.cache.usable(&query.key, now).map(Given::stale) else { return };
        let Some((name, kind, _)) = cache::split_key(&query.key) else { return };
        let elapsed = now.since(query.started);
        for user in std::mem::take(&mut query.waiters).into_iter() {
            self.cache.stats.stale += 1;
            let result = Ok(given.clone());
            let resolved = Resolved { name: name.clone(), kind, result, elapsed };
            self.events.push_back(Event::Resolved(user, Box::new(resolved)));
        }
    }

    pub(super) fn give(&mut self, user: User, question: (&Name, Kind), result: Result<Given, Failure>) {
        let resolved =
            Resolved { name: question.0.clone(), kind: question.1, result, elapsed: Duration::ZERO };
        self.events.push_back(Event::Resolved(user, Box::new(resolved)));
    }

    /// Whether a forwarder that was down is back: the least that can be asked.
    fn probe(&mut self, cx: &mut Cx<'_>, forwarder: u8) {
        let same = |query: &Query| query.probe == Some(forwarder);
        if self.stopped || self.queries.iter().any(|(_, query)| same(query)) {
            return;
        }
        let key = Key::new(&Name::ROOT, Kind::NS, Variant::default());
        let mut query = Query::new(&key, 0, cx.now, PROBE_WITHIN);
        query.probe = Some(forwarder);
        let token = self.queries.insert(query);
        if !self.begin_try(cx, token, forwarder, false) {
            self.queries.remove(token);
        }
        self.schedule(token);
    }
}

impl From<Useless> for Failure {
    fn from(useless: Useless) -> Self {
        match useless {
            Useless::Rcode(rcode) => Self::Rcode(rcode),
            Useless::Referral => Self::Referral,
            Useless::Chain => Self::Chain,
            Useless::Malformed(_) => Self::Malformed,
        }
    }
}

fn hosts_answer(asked: (&Name, Kind), records: &[Vec<u8>]) -> Given {
    let answer = Arc::new(Answer::local(asked, HOSTS_TTL, records));
    Given { answer, age: 0, source: Source::Hosts }
}

/// Those who wait are bounded: so many for one question are an attack, or a mistake.
pub(super) const WAITERS_MAX: usize = 1_024;
/// Questions under way at once; some 700 bytes each.
const QUERIES_MAX: usize = 32_768;
/// Every forwarder is asked so often before a question is given up.
pub(super) const ROUNDS: u8 = 3;
/// The "client response timer" of RFC 8767, section 5.
const STALE_AFTER: Duration = Duration::from_millis(1_800);
/// Only a bound: the time-outs of its tries end it, however often it is put in another way, and no
/// other begins while one of them is waited for.
const PROBE_WITHIN: Duration = Duration::from_secs(20);
/// What a hosts file says holds as long as the file: it is read again when it changes.
const HOSTS_TTL: u32 = 60;
