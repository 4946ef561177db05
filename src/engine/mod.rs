//! The composition of all rooms, and the one thing that a driver knows.
//!
//! A driver calls [`Engine::handle`] with what happened and then [`Engine::poll`] until it
//! answers `Idle`, doing what each [`Output`] says. Nothing here touches a socket, a clock, a
//! thread or a file, so the same inputs always give the same outputs.

pub mod config;
mod credit;
mod gauges;
mod hosts;
pub mod io;
pub mod known;
mod links;
mod pace;
mod persist;
pub mod stats;
mod whereabouts;
mod wiring;
mod work;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::base::{
    Buckets, Cx, Flows, Id, InfoHash, Instant, Rng, SendQueue, SocketId, TokenBucket, UnixTime, hash,
};
use crate::dht::{self, Dht};
use crate::dns::listener::Listener;
use crate::dns::{Dns, Resolver};
use crate::metadata::queue::{self, Queue};
use crate::metadata::{Budget, Failures, Serve, verify};
use crate::model::{Recovered, SavedId, StoreOp, TlsFacts, TlsFailure};
use crate::preconnect::{Pool, PoolConfig};

use config::{Config, Current, Parts, Rates, window};
use credit::Credit;
pub use gauges::FAILURES_NAME;
use gauges::failures_before;
use io::{AcceptorId, Input, LinkId, NotKept, Output, Reason, Why, Worked};
use known::Known;
use links::{Link, Links, Machine, Shelf};
use pace::Pace;
use persist::Persist;
use stats::{LimitedBy, Stats};
use wiring::commands::Running;
use wiring::dial::Dials;
use wiring::download::{DownloadFailure, Downloads};
use wiring::names::Names;
use wiring::refresh::Refresh;

pub use whereabouts::Whereabouts;

/// Everything that a crawler does, without doing any of it itself.
pub struct Engine {
    config: Current,
    rng: Rng,
    buckets: Buckets,
    pace: Pace,
    dht: Dht,
    names: Names,
    downloads: Downloads,
    dials: Dials,
    pool: Pool,
    queue: Queue,
    credit: Credit,
    links: Links,
    known: Known,
    /// Infohashes that were given up; a new peer brings them back.
    given_up: Known,
    persist: Persist,
    budget: Budget,
    /// Why fetches failed before this start.
    failures_before: Failures,
    /// How many the archive knows of since.
    failures_kept: u64,
    shelf: Shelf,
    running: Vec<Running>,
    refresh: Refresh,
    outbox: VecDeque<Output>,
    stats: Stats,
    now: Instant,
    unix: UnixTime,
    flush_at: Instant,
    save_at: Instant,
    save_every: Duration,
    /// When memory for dictionaries may be looked at again.
    evict_at: Instant,
    paused: bool,
    stopping: bool,
    stopped: bool,
    /// When deadlines were looked at last.
    looked_at: Instant,
    /// Something happened since, so that a deadline may have come nearer.
    changed: bool,
}

impl Engine {
    /// An engine at `now`, with what the archive remembers. The seed decides every random choice.
    pub fn new(config: Config, recovered: Recovered, seed: [u8; 32], now: Instant, unix: UnixTime) -> Self {
        let mut rng = Rng::new(seed);
        let Parts { dht, queue, dns, clients, dns_waits, targets, metadata_in_flight, current: config } =
            config.into_parts();
        let buckets = buckets(&config.rates, &mut rng);
        let mut dht = Dht::new(dht, now, &mut rng);
        let known = Known::of(&recovered.known, &mut rng);
        let mut given_up = Known::of(&recovered.given_up, &mut rng);
        let mut queue = Queue::new(queue, &mut rng);
        queue.set_caps(config.rates.shares());
        for row in recovered.pending.iter().filter(|row| !known.contains(&row.infohash)) {
            given_up.remove(&row.infohash);
            queue.restore(row, (now, unix));
        }
        let mut persist = Persist::new();
        let failures_before = failures_before(&recovered);
        set_own_ids(&mut dht, &config, &recovered.ids, &mut persist);
        dht.restore(&recovered.nodes, now, unix);
        let mut resolver = Resolver::new(dns, NAMES_SOCKETS, &mut rng);
        recovered.answers.iter().for_each(|saved| resolver.restore(saved, now, unix));
        let mut dns = Dns::new(resolver);
        dns.restore_local(recovered.local, (now, unix));
        dns.listener = clients.map(|clients| Box::new(Listener::new(clients, &mut rng)));
        let mut pool = Pool::new(PoolConfig::default());
        pool.set_targets(now, targets);
        Self {
            buckets,
            pace: Pace::default(),
            dht,
            names: Names::new(dns, dns_waits.then_some(now)),
            downloads: Downloads::default(),
            dials: Dials::default(),
            pool,
            queue,
            credit: Credit::new(&mut rng),
            links: Links::default(),
            known,
            given_up,
            persist,
            budget: Budget::new(metadata_in_flight),
            failures_before,
            failures_kept: 0,
            shelf: hash::map(&mut rng),
            running: Vec::new(),
            refresh: Refresh::default(),
            outbox: VecDeque::new(),
            stats: Stats::default(),
            now,
            unix,
            flush_at: now + FLUSH_EVERY,
            save_at: now + SAVE_FIRST,
            save_every: SAVE_FIRST,
            evict_at: now,
            paused: false,
            stopping: false,
            stopped: false,
            looked_at: now,
            changed: true,
            rng,
            config,
        }
    }

    /// Something happened. Returns the length of the direct reply to a datagram, else 0.
    pub fn handle(&mut self, now: Instant, unix: UnixTime, input: Input<'_>, reply: &mut [u8]) -> usize {
        self.tick(now, unix);
        let now = self.now;
        if let Input::Datagram(path, data) = input
            && (self.config.listen.len()..usize::from(NAMES_SOCKETS)).contains(&usize::from(path.socket.0))
        {
            // Most are answered at once, and change nothing else.
            self.buckets.bytes_in.take_up_to(now, data.len() as u64);
            return self.on_client_datagram(path, data, reply);
        }
        self.changed = true;
        match input {
            Input::Datagram(path, data) => {
                self.buckets.bytes_in.take_up_to(now, data.len() as u64);
                if path.socket.0 >= NAMES_SOCKETS {
                    self.on_names_datagram(path, data);
                    return 0;
                }
                let (dht, mut cx) = self.dht_cx();
                let len = dht.on_datagram(&mut cx, path, data, reply);
                self.drain_dht(now);
                return len;
            }
            Input::Undelivered(path, data, reason) => self.on_undelivered(path, data, reason),
            Input::Bound(socket, bound) => self.on_bound(socket, bound),
            Input::Secured(link, facts) => self.on_secured(link, facts),
            Input::Ticket(link) => self.on_ticket(link),
            Input::Opened(link) => self.on_opened(link, now),
            Input::Received(link, data) => self.on_received(link, data, now),
            Input::Eof(link) => self.on_eof(link, now),
            Input::Closed(id, reason) => self.on_closed(id, reason, now),
            Input::Insecure(id, failure) => self.on_insecure(id, *failure, now),
            Input::Stored(result) => {
                for lost in self.persist.on_result(result) {
                    self.known.remove(&lost);
                }
                self.on_local_stored();
            }
            Input::Worked(Worked::Proved(link, proved)) => self.on_bytes_proved(link, proved, now),
            Input::Worked(Worked::Names(worked)) => self.on_names_worked(worked),
            Input::Worked(Worked::Unpacked(url, text, etag)) => self.on_list_unpacked(&url, text, etag),
            Input::Command(command) => self.on_command(command, now),
        }
        0
    }

    /// What is to be done next. Datagrams are written into `scratch`, at least 1,500 bytes.
    pub fn poll(&mut self, now: Instant, unix: UnixTime, scratch: &mut [u8]) -> Output {
        self.tick(now, unix);
        let now = self.now;
        if let Some(output) = self.outbox.pop_front() {
            return output;
        }
        // At one time everything is due once; and it is asked once for each thing that is to be done.
        if std::mem::take(&mut self.changed) || self.looked_at != now {
            self.looked_at = now;
            self.on_deadlines(now);
        }
        if let Some(output) = self.outbox.pop_front() {
            return output;
        }
        if let Some(op) = self.persist.poll() {
            return Output::Store(op);
        }
        if self.stopping {
            return self.poll_stopping(now);
        }
        // Before the questions leave: these have some.
        self.start_warming();
        self.start_dials();
        self.start_held_downloads();
        if let Some((path, len)) = self.names_transmit(scratch) {
            return Output::Datagram(path, len);
        }
        self.start_lookups(now);
        self.start_fetches(now);
        self.start_refreshes(now);
        if let Some(output) = self.outbox.pop_front() {
            return output;
        }
        let (dht, mut cx) = self.dht_cx();
        let sent = dht.poll_transmit(&mut cx, scratch);
        let ended = self.drain_dht(now);
        if let Some((path, len)) = sent {
            return Output::Datagram(path, len);
        }
        if let Some(output) = self.outbox.pop_front() {
            return output;
        }
        self.drain_queue();
        let mut next = self.next_deadline(now);
        if ended {
            // A lookup ended without a packet and left room for another: that one starts next.
            next = (now + TURN_MIN, Why::Retry);
        }
        Output::Idle(Some(next))
    }

    /// Whether a socket is to be read: those that answer names only once what answers is in place.
    pub fn reads(&self, socket: SocketId) -> bool {
        let at = usize::from(socket.0);
        self.names.is_in_place(self.now) || at < self.config.listen.len() || socket.0 >= NAMES_SOCKETS
    }

    /// The same of a place where streams are accepted.
    pub fn accepts(&self, acceptor: AcceptorId) -> bool {
        self.names.is_in_place(self.now) || usize::from(acceptor.0) >= self.config.dns_listen.len()
    }

    /// A stream was accepted. `None`: it is not wanted, close it. The first acceptors are for questions
    /// about names, one for each of [`Config::dns_listen`]; others are for peers that want metadata.
    pub fn admit(&mut self, now: Instant, acceptor: AcceptorId, remote: SocketAddr) -> Option<LinkId> {
        self.changed = true;
        if usize::from(acceptor.0) < self.config.dns_listen.len() {
            return self.admit_client(now, remote);
        }
        if self.shelf.is_empty()
            || self.links.len() >= LINKS_MAX
            || !self.links.hosts.serve_begins(remote.ip())
        {
            return None;
        }
        let mut peer_id = [0; 20];
        self.rng.fill(&mut peer_id);
        let serve = Machine::Serve(Box::new(Serve::new(peer_id, now)));
        Some(self.links.insert(serve, remote, true))
    }

    /// Offers an info dictionary to peers that ask for it; returns its infohash.
    pub fn share(&mut self, info: Bytes) -> InfoHash {
        let v1 = Id(hash::sha1(&info));
        let v2 = Id::from_slice(&hash::sha256(&info)[..20]).unwrap_or_default();
        if verify(v2, &info).is_some() {
            self.shelf.insert(v2, info.clone());
        }
        self.shelf.insert(v1, info);
        v1
    }

    /// What waits to be written to a stream.
    pub fn send_queue(&self, link: LinkId) -> Option<&SendQueue> {
        self.links.get(link).map(|link| &link.out)
    }

    /// How many of the bytes that wait may be written to a stream now. If not all, then
    /// [`Output::Write`] comes again when more may be.
    pub fn write_allowance(&mut self, now: Instant, id: LinkId) -> usize {
        let Some(link) = self.links.get_mut(id) else { return 0 };
        let resolver = &mut self.names.dns.resolver;
        let conn = if let Machine::Names(conn, _) = link.machine { Some(conn) } else { None };
        let wanted = link.out.len() + conn.map_or(0, |conn| resolver.unsent(conn));
        let allowed = self.pace.allowance(&self.buckets.bytes_out, wanted, now);
        if let Some(conn) = conn {
            resolver.poll_write(now, conn, allowed, &mut link.out);
        }
        if allowed < wanted && !std::mem::replace(&mut link.held, true) {
            self.stats.limited_by = LimitedBy::Rate;
            self.pace.hold(id, now);
            self.changed = true;
        }
        allowed.min(link.out.len())
    }

    /// The first bytes of what waited were written to a stream.
    pub fn wrote(&mut self, now: Instant, id: LinkId, count: usize) {
        self.changed = true;
        self.stats.tcp_bytes_out += count as u64;
        self.pace.spend(&mut self.buckets.bytes_out, count, now);
        let Some(link) = self.links.get_mut(id) else { return };
        let was_full = link.out.room() < ROOM_MIN;
        link.out.advance(count);
        match link.machine {
            Machine::Client(_) => self.client_wrote(id, now),
            _ if was_full => link.machine.poll_write(&mut link.out),
            _ => {}
        }
    }

    /// False: leave what arrives on this stream where it is for now.
    pub fn wants_read(&self, link: LinkId) -> bool {
        self.links.get(link).is_some_and(|link| link.machine.wants_read())
    }

    /// How many of `wanted` bytes may be read from a stream now; 0: ask again later. They are
    /// charged when they come in.
    pub fn read_allowance(&mut self, now: Instant, id: LinkId, wanted: usize) -> usize {
        let bucket = &self.buckets.bytes_in;
        let available = usize::try_from(bucket.available(now)).unwrap_or(usize::MAX);
        if bucket.rate() == 0 || !self.links.is_fetch(id) {
            return available.min(wanted);
        }
        // Large dictionaries, and addresses that have had their share, leave half of what may come at
        // once to others.
        let kept = usize::try_from(bucket.burst() / 2).unwrap_or(usize::MAX);
        let kept = if self.links.yields(id, now) { kept } else { 0 };
        let allowed = available.saturating_sub(kept).min(wanted);
        self.links.note_unread(id, allowed == 0, now);
        allowed
    }

    /// What the resolver counted.
    pub fn names_stats(&self) -> crate::dns::Stats {
        self.names.dns.resolver.stats()
    }

    /// Has the archive keep a value for the next start.
    pub fn keep_setting(&mut self, name: &'static str, value: String) {
        if !self.stopping {
            self.persist.control(StoreOp::Setting(name, value));
        }
    }

    /// The id of the node on a socket.
    pub fn node_id(&self, socket: SocketId) -> Option<Id> {
        self.dht.id(socket)
    }

    /// Our address on a socket as others see it (BEP 42).
    pub fn external(&self, socket: SocketId) -> Option<IpAddr> {
        self.dht.external(socket)
    }

    /// Panics if anything does not fit together. For tests and the simulator.
    pub fn check_invariants(&self) {
        self.dht.check_invariants();
        self.queue.check_invariants();
        self.names.dns.resolver.check_invariants();
        self.links.check_invariants();
        self.downloads.check_invariants();
        self.pool.check_invariants();
        assert!(self.queue.stats().looking <= self.dht.lookups(), "every lookup that is waited for goes on");
    }

    /// Time never runs backwards in here, whatever the driver's clock does.
    fn tick(&mut self, now: Instant, unix: UnixTime) {
        self.now = self.now.max(now);
        self.unix = unix;
    }

    fn dht_cx(&mut self) -> (&mut Dht, Cx<'_>) {
        let cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        (&mut self.dht, cx)
    }

    fn on_opened(&mut self, id: LinkId, now: Instant) {
        self.buckets.flows.receive(now, Link::flow(id));
        let Some(link) = self.links.opened(id) else { return };
        match &mut link.machine {
            Machine::Warm(warm) => {
                let warm = *warm;
                return self.warm_opened(warm);
            }
            Machine::Fetch(fetch) => {
                fetch.on_opened(now);
                let (hash, remote) = (fetch.hash(), link.remote);
                self.queue.opened(hash, remote, now);
            }
            Machine::Names(conn, false) => {
                let conn = *conn;
                self.names_ready(conn);
            }
            Machine::Get { .. } => return self.get_opened(id, false),
            Machine::Names(_, true) | Machine::Serve(_) | Machine::Client(_) => {}
        }
        self.after_machine(id, now);
    }

    fn on_secured(&mut self, id: LinkId, facts: Box<TlsFacts>) {
        match self.links.get(id).map(|link| &link.machine) {
            Some(Machine::Names(conn, true)) => {
                let conn = *conn;
                self.names_ready(conn);
            }
            Some(Machine::Get { .. }) => self.get_opened(id, true),
            Some(Machine::Warm(warm)) => {
                let warm = *warm;
                self.warm_secured(warm, facts);
            }
            Some(Machine::Names(_, false) | Machine::Fetch(_) | Machine::Serve(_) | Machine::Client(_))
            | None => {}
        }
    }

    fn on_ticket(&mut self, id: LinkId) {
        if let Some(Machine::Warm(warm)) = self.links.get(id).map(|link| &link.machine) {
            let warm = *warm;
            self.warm_ticket(warm);
        }
    }

    fn on_insecure(&mut self, id: LinkId, failure: TlsFailure, now: Instant) {
        match self.links.get(id).map(|link| &link.machine) {
            Some(Machine::Get { .. }) => {
                if let Some(link) = self.links.remove(id) {
                    self.get_closed(&link, DownloadFailure::Tls(failure.cause));
                }
            }
            Some(Machine::Warm(warm)) => {
                let warm = *warm;
                self.links.remove(id);
                self.warm_insecure(warm, failure);
            }
            _ => self.on_closed(id, Reason::Reset, now),
        }
    }

    fn on_received(&mut self, id: LinkId, data: &[u8], now: Instant) {
        self.stats.tcp_bytes_in += data.len() as u64;
        self.buckets.bytes_in.take_up_to(now, data.len() as u64);
        self.buckets.flows.receive(now, Link::flow(id));
        let Some(link) = self.links.get_mut(id) else { return };
        match &link.machine {
            Machine::Names(conn, _) => {
                let conn = *conn;
                return self.names_received(id, conn, data);
            }
            Machine::Client(_) => return self.client_received(id, data, now),
            Machine::Warm(warm) => {
                let warm = *warm;
                return self.warm_received(id, warm, data);
            }
            Machine::Fetch(_) | Machine::Get { .. } | Machine::Serve(_) => {}
        }
        let fetched = matches!(link.machine, Machine::Fetch(_)).then_some(link.remote.ip());
        let shelf = &self.shelf;
        let goes_on = link.feed(data, |machine, bytes| machine.on_bytes(now, bytes, shelf));
        self.after_machine(id, now);
        if !goes_on {
            self.close(id);
        }
        if let Some(host) = fetched {
            self.links.hosts.received(host, data.len(), &self.buckets.bytes_in, now);
            self.evict_slowest(now);
        }
    }

    fn on_eof(&mut self, id: LinkId, now: Instant) {
        match self.links.get_mut(id).map(|link| &mut link.machine) {
            Some(Machine::Fetch(fetch)) => {
                fetch.on_eof();
                self.after_machine(id, now);
            }
            Some(Machine::Get { get, .. }) => {
                get.on_eof();
                self.after_machine(id, now);
            }
            Some(Machine::Serve(_)) => self.close(id),
            Some(Machine::Client(client)) => {
                client.on_eof();
                self.after_machine(id, now);
            }
            Some(Machine::Warm(warm)) => {
                let warm = *warm;
                self.warm_eof(id, warm);
            }
            Some(Machine::Names(conn, _)) => {
                let conn = *conn;
                self.close(id);
                self.names_lost(conn, false);
            }
            None => {}
        }
    }

    fn on_closed(&mut self, id: LinkId, reason: Reason, now: Instant) {
        let Some(link) = self.links.remove(id) else { return };
        match link.machine {
            Machine::Names(conn, _) => self.names_lost(conn, reason == Reason::Refused),
            Machine::Client(client) => self.client_gone(&client),
            Machine::Get { .. } => self.get_closed(&link, DownloadFailure::Connect(reason)),
            Machine::Warm(warm) => self.warm_closed(warm, reason),
            Machine::Fetch(_) | Machine::Serve(_) => self.fetch_closed(&link, reason, now),
        }
    }

    /// After a machine was touched: its events, its bytes, its deadline.
    fn after_machine(&mut self, id: LinkId, now: Instant) {
        self.drain_fetch(id, now);
        self.drain_get(id);
        let Some(link) = self.links.get_mut(id) else { return };
        let before = link.out.len();
        link.machine.poll_write(&mut link.out);
        let over = link.machine.is_over();
        if link.out.len() > before {
            self.outbox.push_back(Output::Write(id));
        }
        if over {
            self.close(id);
        } else {
            self.links.schedule(id);
        }
    }

    fn close(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(id) else { return };
        if let Machine::Client(client) = &link.machine {
            self.client_gone(client);
        }
        if !link.proving {
            self.outbox.push_back(Output::Close(id));
        }
        if let Machine::Fetch(_) = &link.machine {
            self.queue.host_has_room(link.remote.ip(), self.now);
        }
    }

    fn on_deadlines(&mut self, now: Instant) {
        while let Some(id) = self.pace.pop_due(&mut self.buckets.bytes_out, now) {
            if let Some(link) = self.links.get_mut(id) {
                link.held = false;
                self.outbox.push_back(Output::Write(id));
                // Others may go on once it has written.
                self.changed = true;
                break;
            }
        }
        while let Some(id) = self.links.pop_due(now) {
            self.links.excuse_unread(id, now);
            if let Some(link) = self.links.get_mut(id) {
                link.machine.on_deadline(now);
            }
            self.after_machine(id, now);
        }
        let (dht, mut cx) = self.dht_cx();
        dht.on_deadline(&mut cx);
        self.drain_dht(now);
        self.names_deadline(now);
        self.warm_deadline(now);
        if self.flush_at <= now {
            self.flush_at = now + FLUSH_EVERY;
            self.queue.on_deadline(now);
            self.drain_queue();
            self.save_answers();
            self.persist.flush(|hash| self.known.contains(hash));
        }
        if self.save_at <= now {
            self.save_every = (self.save_every * 2).min(SAVE_EVERY);
            self.save_at = now + self.save_every;
            self.persist.try_disk();
            self.keep_failures();
            self.save_lost_zones();
            let nodes = self.dht.saved(SAVED_NODES, now, self.unix, now - UNSETTLED);
            self.persist.nodes(nodes);
        }
    }

    fn next_deadline(&self, now: Instant) -> (Instant, Why) {
        let dht = self.dht.next_deadline(now).map(|(at, why)| {
            let why = match why {
                dht::Why::Query => Why::Query,
                dht::Why::Rate => Why::Rate,
                dht::Why::Sweep => Why::Retry,
                dht::Why::Upkeep => Why::Upkeep,
            };
            (at, why)
        });
        let refresh = self.refresh.next_deadline().filter(|_| self.wants_work()).map(|at| (at, Why::Retry));
        let name = self.names.next_deadline().map(|at| (at, Why::Name));
        let link = self.links.next_deadline().map(|at| (at, Why::Link));
        let warm = self.warm_next_deadline().map(|at| (at, Why::Warm));
        // What is overdue waits for something else than time, or for the next look at everything.
        let retry = self.queue.next_deadline().filter(|at| *at > now && self.wants_work());
        let retry = retry.map(|at| (at, Why::Retry));
        let read =
            Some(self.buckets.bytes_in.ready_at(now, 1)).filter(|at| *at > now).map(|at| (at, Why::Rate));
        let write = self.pace.next_deadline(&self.buckets.bytes_out).map(|at| (at, Why::Rate));
        let own = [Some((self.flush_at, Why::Save)), Some((self.save_at, Why::Save))];
        let all = [dht, name, link, warm, retry, refresh, read, write].into_iter().chain(own).flatten();
        let (at, why) = all.min_by_key(|(at, _)| *at).unwrap_or((self.flush_at, Why::Save));
        // A wish that a limit holds back is looked at again shortly, not at once.
        (at.max(now + TURN_MIN), why)
    }

    /// What the queue wants remembered.
    fn drain_queue(&mut self) {
        while let Some(event) = self.queue.poll_event((self.now, self.unix)) {
            match event {
                queue::Event::Pending(row) => {
                    self.answer_round(&row);
                    self.persist.pending(row);
                }
                queue::Event::GivenUp(hash) => {
                    self.given_up.insert(&hash);
                    self.persist.given_up(hash);
                    self.answer_fetch(&hash, Err(NotKept::GivenUp));
                }
            }
            if self.persist.has_batch() {
                self.persist.flush(|hash| self.known.contains(hash));
            }
        }
    }

    fn set_rates(&mut self, rates: Rates, now: Instant) {
        self.config.rates = rates;
        let burst = |rate: u64| (rate / BURST_SHARE).max(1);
        self.buckets.packets_out.set_rate(now, rates.packets_out, burst(rates.packets_out));
        self.buckets.bytes_out.set_rate(now, rates.bytes_out, burst(rates.bytes_out).max(BYTES_BURST_MIN));
        self.buckets.bytes_in.set_rate(now, rates.bytes_in, burst(rates.bytes_in).max(BYTES_BURST_MIN));
        self.buckets.flows.set_cap(rates.flows);
        self.dht.set_answers(rates.answers_per_address, rates.answers_burst);
        self.dht.set_window(window(&rates));
        self.queue.set_caps(rates.shares());
    }

    fn stop(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.stop_downloads();
        self.stop_warm();
        self.stop_names(now);
        self.save_answers();
        self.links.ids().into_iter().for_each(|id| self.close(id));
        self.persist.close();
        self.queue.save_all();
        self.drain_queue();
        self.keep_failures();
        self.persist.flush(|hash| self.known.contains(hash));
        // Everything that waits was handed over just now.
        let nodes = self.dht.saved(SAVED_NODES, now, self.unix, now + FLUSH_EVERY);
        if !nodes.is_empty() {
            self.persist.control(StoreOp::Nodes(nodes));
        }
        self.persist.control(StoreOp::Shutdown);
    }

    fn poll_stopping(&mut self, now: Instant) -> Output {
        if self.stopped {
            return Output::Idle(None);
        }
        if self.persist.closed && self.persist.is_drained() {
            self.stopped = true;
            return Output::Stopped;
        }
        Output::Idle(Some((now + FLUSH_EVERY, Why::Save)))
    }
}

/// Each listen address goes by the node id that it had, or the archive keeps its new one.
fn set_own_ids(dht: &mut Dht, config: &Current, saved: &[SavedId], persist: &mut Persist) {
    for (index, listen) in config.listen.iter().enumerate() {
        let socket = SocketId(index as u16);
        match saved.iter().find(|saved| saved.listen == listen.ip()) {
            Some(saved) => dht.set_id(socket, saved.id),
            None => {
                let id = dht.id(socket).unwrap_or_default();
                persist.control(StoreOp::OwnId(SavedId { listen: listen.ip(), id }));
            }
        }
    }
}

fn buckets(rates: &Rates, rng: &mut Rng) -> Buckets {
    let burst = |rate: u64| rate / BURST_SHARE;
    let bytes = |rate: u64| TokenBucket::new(rate, burst(rate).max(BYTES_BURST_MIN));
    Buckets {
        packets_out: TokenBucket::new(rates.packets_out, burst(rates.packets_out)),
        bytes_out: bytes(rates.bytes_out),
        bytes_in: bytes(rates.bytes_in),
        flows: Flows::new(rates.flows, rng),
    }
}

/// Bookkeeping rows are gathered for this long.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// A hash found longer ago is in the archive: the queue's `save_after`, [`FLUSH_EVERY`], a commit.
const UNSETTLED: Duration = Duration::from_secs(22);
/// Soon after the start, so that even a short run leaves nodes behind; doubled until seldom.
const SAVE_FIRST: Duration = Duration::from_secs(1);
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Enough to find the network again after months; 50 bytes each.
const SAVED_NODES: usize = 5_000;
/// A tenth of a second's worth may leave at once.
const BURST_SHARE: u64 = 10;
/// One full segment must always fit into the bucket at once.
const BYTES_BURST_MIN: u64 = 65_536;
/// At most a thousand turns a second come from deadlines alone.
const TURN_MIN: Duration = Duration::from_millis(1);
/// A queue with less room than a piece of metadata and its frame may have been too small for what
/// there was to say.
const ROOM_MIN: usize = 32 << 10;
/// The first name of the resolver's sockets, behind those of all listen addresses.
const NAMES_SOCKETS: u16 = 256;
/// Accepted streams and fetches together.
const LINKS_MAX: usize = 20_000;
