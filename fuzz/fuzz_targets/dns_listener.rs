//! The listener with clients over UDP and TCP that send anything, zones and lists of all kinds, and
//! forwarders that answer well or badly. Every question has one answer, or a rule or limit that
//! explains its silence; every answer fits its question and what the client takes.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dht_hunter::base::{Buckets, Cx, Instant, Path, Rng, SendQueue, SocketId, Token, UnixTime};
use dht_hunter::dns::listener::{self, Client, Listener, Outgoing, Served, Stats};
use dht_hunter::dns::policy::{List, Override, Policy};
use dht_hunter::dns::zones::{ZoneChange, Zones};
use dht_hunter::dns::{Config, Dns, ForwarderConfig, Hosts, Resolver, Wish, cache};
use dht_hunter::wire::dns::{Edns, Flags, HEADER_LEN, Kind, Message, Name, Rcode, UDP_MIN, UDP_PAYLOAD};
use dht_hunter_fuzz::stream::{Inbox, drain};
use dht_hunter_fuzz::{Feed, dns, heap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    LazyLock::force(&LOCAL);
    heap::within(HELD_MAX, ONCE_MAX, || {
        let mut world = World::new(Feed::new(input));
        let mut steps = 0;
        while !world.feed.is_empty() && steps < STEPS_MAX {
            world.step();
            steps += 1;
        }
        world.end();
    });
});

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    unix: UnixTime,
    rng: Rng,
    buckets: Buckets,
    dns: Dns,
    /// Questions to forwarders.
    asked: VecDeque<(Path, Vec<u8>)>,
    /// Datagrams of clients that were not answered yet, with who sent them.
    open: Vec<(SocketAddr, Vec<u8>)>,
    conns: BTreeMap<Token, Conn>,
    /// How many of those have no answer; which ones is not told.
    silenced: usize,
    /// Questions of connections that are gone.
    orphans: usize,
    next_conn: u64,
    next_id: u16,
    /// A cookie of the listener, as a client got it.
    cookie: Vec<u8>,
}

struct Conn {
    client: Client,
    ip: IpAddr,
    inbox: Inbox,
    out: SendQueue,
    /// Bytes that the client got.
    heard: Vec<u8>,
    /// Questions without an answer, in the order in which they came.
    open: Vec<Vec<u8>>,
    ended: bool,
}

impl<'a> World<'a> {
    fn new(mut feed: Feed<'a>) -> Self {
        let flags = feed.u8();
        let cache = cache::Config {
            entries_max: 1 + feed.below(40),
            bytes_max: 300 + feed.below(30_000),
            ttl_max: 3_600,
            stale_max: Duration::from_secs(u64::from(feed.u8())),
        };
        let forwarders =
            (0..flags & 3).map(|nth| ForwarderConfig::plain(([127, 0, 0, 9 + nth], 53).into())).collect();
        let hosts = Hosts::parse("10.0.0.1 box a.b\n::5 box");
        let config = Config { cache, hosts, ..Config::new(forwarders) };
        let mut rng = Rng::new([feed.u8(); 32]);
        let mut dns = Dns::new(Resolver::new(config, FIRST_SOCKET, &mut rng));
        let rate = [0, 10, 1_000][usize::from(flags >> 2) % 3];
        let config = listener::Config { rate, ..listener::Config::local() };
        dns.listener = Some(Box::new(Listener::new(config, &mut rng)));
        if flags & 0x10 == 0 {
            dns.serve_zones(LOCAL.0.clone());
        }
        for (nth, list) in LOCAL.1.iter().enumerate() {
            if flags >> 5 & 1 << nth == 0 {
                dns.policy.replace(list.clone()).expect("there is room");
            }
        }
        let instead = [Override::AsGiven, Override::LogOnly][usize::from(feed.u8() == 255)];
        dns.policy.set_override("hosts", instead);
        let buckets = Buckets::unlimited(&mut rng);
        Self {
            feed,
            now: Instant::from_millis(1_000),
            unix: UnixTime(1_790_000_000),
            rng,
            buckets,
            dns,
            asked: VecDeque::new(),
            open: Vec::new(),
            conns: BTreeMap::new(),
            silenced: 0,
            orphans: 0,
            next_conn: 1,
            next_id: 0,
            cookie: Vec::new(),
        }
    }

    fn cx(&mut self) -> (&mut Dns, Cx<'_>) {
        let cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        (&mut self.dns, cx)
    }

    fn listener(&self) -> &Listener {
        self.dns.listener.as_ref().expect("it stays")
    }

    fn step(&mut self) {
        match self.feed.u8() % 16 {
            0..=4 => self.datagram(),
            5 => self.accept(),
            6..=8 => self.stream(),
            9 => self.stream_ends(),
            10..=12 => self.forwarder(),
            13 => self.allow(),
            _ => self.wait(),
        }
        self.settle();
    }

    fn datagram(&mut self) {
        let query = self.query();
        let ip = self.client();
        let remote = SocketAddr::new(ip, 1_024 + u16::from(self.feed.u8() % 4));
        let (before, waited) = (self.listener().stats, self.listener().waiting());
        let mut reply = [0; 1_500];
        let path = Path { socket: SocketId(1), local: None, remote };
        let (dns, mut cx) = self.cx();
        let len = dns.on_query(&mut cx, path, &query, &mut reply);
        let (after, waiting) = (self.listener().stats, self.listener().waiting());
        assert_eq!(after.queries, before.queries + 1);
        if len > 0 {
            assert_eq!(waiting, waited, "answered, and yet it waits");
            self.check(&query, &reply[..len], false);
        } else if waiting > waited {
            self.open.push((remote, query));
        } else {
            assert!(silent(after) > silent(before), "nothing explains the silence");
        }
    }

    fn client(&mut self) -> IpAddr {
        match self.feed.u8() % 8 {
            0..=3 => IpAddr::from([127, 0, 0, 1]),
            4 => IpAddr::from([192, 168, 0, 9]),
            5 => IpAddr::from([127, 0, 0, 7]),
            6 => "fd00::9".parse().expect("an address"),
            _ => IpAddr::from([198, 51, 100, 1]),
        }
    }

    /// A message of a client with an id of its own, so that its answer is known again.
    fn query(&mut self) -> Vec<u8> {
        let mut query = self.any_query();
        self.next_id = self.next_id.wrapping_add(1);
        if let Some(id) = query.first_chunk_mut::<2>() {
            *id = self.next_id.to_be_bytes();
        }
        query
    }

    /// Mostly a question, with choices to be anything else.
    fn any_query(&mut self) -> Vec<u8> {
        let feed = &mut self.feed;
        if feed.one_in(16) {
            return feed.bytes(80).to_vec();
        }
        let flaw = feed.u8();
        let opcode = if flaw == 255 { u16::from(feed.u8() & 15) << 11 } else { 0 };
        let rd = if flaw % 16 == 3 { 0 } else { Flags::RD };
        let qr = if flaw == 254 { Flags::QR } else { 0 };
        let cd = if flaw % 32 == 5 { Flags::CD | Flags::AD } else { 0 };
        let mut out = vec![0; 2];
        out.extend_from_slice(&(opcode | rd | qr | cd).to_be_bytes());
        let questions = if flaw == 253 { u16::from(feed.u8() % 4) } else { 1 };
        for count in [questions, u16::from(flaw == 252), u16::from(flaw == 251), 0] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        for nth in 0..questions {
            let case = feed.u8();
            match case {
                250.. => out.extend_from_slice(&[0xc0, feed.u8()]),
                _ => {
                    let name = name(feed);
                    let is_upper = |at: usize| case >> (at % 8) & 1 == 1;
                    let wire = name.wire().iter().enumerate();
                    // Lengths of labels are below all letters.
                    out.extend(wire.map(|(at, byte)| match byte.is_ascii_lowercase() && is_upper(at) {
                        true => byte.to_ascii_uppercase(),
                        false => *byte,
                    }));
                }
            }
            let kind = match feed.u8() {
                0..=219 => dns::kind(feed),
                220..=229 => Kind(u16::from(feed.u8())),
                230..=239 => Kind::DNAME,
                _ => Kind(feed.u16()),
            };
            out.extend_from_slice(&kind.0.to_be_bytes());
            let class = if flaw == 250 + nth as u8 { feed.u16() } else { 1 };
            out.extend_from_slice(&class.to_be_bytes());
        }
        self.extras(&mut out);
        let feed = &mut self.feed;
        match flaw {
            240..=244 => {
                let at = feed.below(out.len());
                out[at] = feed.u8();
            }
            245..=247 => out.truncate(feed.below(out.len())),
            248 => out.extend_from_slice(feed.bytes(600)),
            _ => {}
        }
        out
    }

    /// An OPT record, or another, or several.
    fn extras(&mut self, out: &mut Vec<u8>) {
        let feed = &mut self.feed;
        let count = [0, 1, 1, 1, 1, 1, 1, 2][feed.below(8)];
        for _ in 0..count {
            let flaw = feed.u8();
            let owner: &[u8] = if flaw == 255 { b"\x01a\0" } else { b"\0" };
            let kind = if flaw == 254 { Kind::TXT } else { Kind::OPT };
            let payload = [0, 512, 1_232, 4_096, 65_535, 600][feed.below(6)];
            let version = if flaw == 253 { feed.u8() } else { 0 };
            let dnssec_ok = if flaw % 4 == 1 { 0x80 } else { 0 };
            let mut options = Vec::new();
            for _ in 0..feed.below(3) {
                let code = if feed.one_in(8) { feed.u16() } else { 10 };
                let value = match feed.u8() % 8 {
                    0..=2 => vec![9; 8],
                    3..=5 if !self.cookie.is_empty() => self.cookie.clone(),
                    6 => [vec![9; 8], feed.bytes(40).to_vec()].concat(),
                    _ => feed.bytes(20).to_vec(),
                };
                options.extend_from_slice(&code.to_be_bytes());
                options.extend_from_slice(&(value.len() as u16).to_be_bytes());
                options.extend_from_slice(&value);
            }
            if flaw == 252 {
                options.truncate(feed.below(options.len()));
            }
            out.extend_from_slice(owner);
            out.extend_from_slice(&kind.0.to_be_bytes());
            out.extend_from_slice(&u16::to_be_bytes(payload));
            out.extend_from_slice(&[0, version, dnssec_ok, 0]);
            out.extend_from_slice(&(options.len() as u16).to_be_bytes());
            out.extend_from_slice(&options);
        }
        if let Some(counts) = out.get_mut(10..HEADER_LEN) {
            counts.copy_from_slice(&u16::to_be_bytes(count));
        }
    }

    fn accept(&mut self) {
        let ip = self.client();
        let admitted = self.dns.listener.as_mut().expect("it stays").admit(ip);
        assert!(admitted == (ip != IpAddr::from([198, 51, 100, 1])) || !admitted && self.conns.len() > 60);
        if !admitted {
            return;
        }
        let conn = Conn {
            client: Client::new(ip, self.now),
            ip,
            inbox: Inbox::default(),
            out: SendQueue::new([100, 3_000, 70_000][self.feed.below(3)]),
            heard: Vec::new(),
            open: Vec::new(),
            ended: false,
        };
        self.next_conn += 1;
        self.conns.insert(Token::unpack(self.next_conn), conn);
    }

    fn some_conn(&mut self) -> Option<Token> {
        let at = self.feed.below(self.conns.len());
        self.conns.keys().nth(at).copied()
    }

    /// Questions on a connection, whole and in pieces.
    fn stream(&mut self) {
        let Some(token) = self.some_conn() else { return };
        let mut data = Vec::new();
        for _ in 0..self.feed.below(4) {
            let query = self.query();
            data.extend_from_slice(&(query.len() as u16).to_be_bytes());
            data.extend_from_slice(&query);
        }
        if self.feed.one_in(16) {
            data.extend_from_slice(self.feed.bytes(30));
        }
        let cut = [usize::MAX, 1, 2, 13][self.feed.below(4)];
        for piece in data.chunks(cut.min(data.len().max(1))) {
            if !self.receive(token, piece) {
                return;
            }
        }
    }

    /// Hands bytes to a connection; false if it has ended.
    fn receive(&mut self, token: Token, piece: &[u8]) -> bool {
        let Some(mut conn) = self.conns.remove(&token) else { return false };
        if conn.ended {
            self.conns.insert(token, conn);
            return true;
        }
        let (mut inbox, mut told) = (std::mem::take(&mut conn.inbox), Vec::new());
        let (ip, now) = (conn.ip, self.now);
        let (before, waited) = (self.listener().stats, self.listener().waiting());
        let (dns, mut cx) = self.cx();
        // What is not read while too much waits stays with the driver.
        let read = inbox.read(piece, usize::MAX, |bytes| {
            conn.client.on_bytes(now, bytes, |query| {
                let served = dns.on_stream_query(&mut cx, token, ip, query);
                told.push((query.to_vec(), served.clone()));
                served
            })
        });
        conn.inbox = inbox;
        let (mut later, mut never) = (0, 0);
        for (query, served) in told {
            match served {
                Served::Now(answer) => {
                    assert_eq!(answer[..2], u16::to_be_bytes(answer.len() as u16 - 2));
                    self.check(&query, &answer[2..], true);
                }
                Served::Later => {
                    later += 1;
                    conn.open.push(query);
                }
                Served::Never => never += 1,
            }
        }
        let (after, waiting) = (self.listener().stats, self.listener().waiting());
        assert_eq!(waiting, waited + later);
        assert!(silent(after) >= silent(before) + never, "nothing explains the silence");
        if read.is_err() {
            self.gone(&conn);
            return false;
        }
        self.conns.insert(token, conn);
        self.write(token);
        self.conns.contains_key(&token)
    }

    /// What the client reads.
    fn write(&mut self, token: Token) {
        let most = [usize::MAX, 1, 700][self.feed.below(3)];
        let Some(mut conn) = self.conns.remove(&token) else { return };
        conn.client.poll_write(&mut conn.out);
        let bytes = drain(&mut conn.out, most);
        conn.heard.extend_from_slice(&bytes);
        conn.client.poll_write(&mut conn.out);
        conn.heard.clear();
        if conn.client.is_over() {
            assert!(conn.open.is_empty() || !conn.ended || conn.client.next_deadline().is_none());
            return self.gone(&conn);
        }
        self.conns.insert(token, conn);
    }

    fn gone(&mut self, conn: &Conn) {
        self.orphans += conn.open.len();
        self.dns.listener.as_mut().expect("it stays").gone(conn.ip);
    }

    fn stream_ends(&mut self) {
        let Some(token) = self.some_conn() else { return };
        if self.feed.one_in(2) {
            let conn = self.conns.get_mut(&token).expect("it is there");
            conn.client.on_eof();
            conn.ended = true;
            return self.write(token);
        }
        let conn = self.conns.remove(&token).expect("it is there");
        self.gone(&conn);
    }

    /// A forwarder's answer to one of the questions.
    fn forwarder(&mut self) {
        let at = self.feed.below(self.asked.len());
        let Some((path, query)) = self.asked.remove(at) else { return };
        let Some(data) = dns::reply(&mut self.feed, &query, 1_232) else { return };
        let (dns, mut cx) = self.cx();
        dns.resolver.on_datagram(&mut cx, path, &data);
    }

    /// Somebody lets a name through for a while.
    fn allow(&mut self) {
        let (name, until) = (name(&mut self.feed), self.now + Duration::from_secs(5));
        let now = self.now;
        self.dns.policy.allow(now, &name, until).expect("there are few");
    }

    fn wait(&mut self) {
        let by = match self.feed.u8() % 4 {
            0 => Duration::from_secs(u64::from(self.feed.u8())),
            _ => Duration::from_millis(8 * u64::from(self.feed.u8())),
        };
        self.pass(by);
    }

    fn pass(&mut self, by: Duration) {
        let until = self.now + by;
        for _ in 0..TURNS_MAX {
            match self.dns.resolver.next_deadline() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.due();
        }
        self.now = self.now.max(until);
        self.unix.0 += by.as_secs();
        self.due();
    }

    fn due(&mut self) {
        let (dns, mut cx) = self.cx();
        dns.resolver.on_deadline(&mut cx);
        for token in self.conns.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let conn = self.conns.get_mut(&token).expect("it is there");
            conn.client.on_deadline(now);
            if conn.client.is_over() {
                let conn = self.conns.remove(&token).expect("it is there");
                self.gone(&conn);
            }
        }
        self.settle();
    }

    /// Does what is wished, and hands on the answers that had to wait.
    fn settle(&mut self) {
        let mut out = [0; 1_500];
        loop {
            let mut idle = true;
            while let Some(wish) = self.dns.resolver.poll_wish() {
                let (dns, mut cx) = self.cx();
                match wish {
                    Wish::Bind(socket, _) => dns.resolver.on_bound(&mut cx, socket, Ok(())),
                    Wish::Connect { conn, .. } => dns.resolver.conn_lost(&mut cx, conn, false),
                    Wish::Unbind(_) | Wish::Write(_) | Wish::Close(_) => {}
                }
                idle = false;
            }
            let (dns, mut cx) = self.cx();
            if let Some((path, len)) = dns.resolver.poll_transmit(&mut cx, &mut out) {
                self.asked.push_back((path, out[..len].to_vec()));
                if self.asked.len() > ASKED_KEPT {
                    self.asked.pop_front();
                }
                idle = false;
            }
            let (dns, mut cx) = self.cx();
            while dns.poll_event(&mut cx).is_some() {
                idle = false;
            }
            if self.hand_on() {
                idle = false;
            }
            if idle {
                break;
            }
        }
        self.listener().check_invariants();
        self.dns.resolver.check_invariants();
        assert_eq!(self.waits(), self.listener().waiting(), "somebody waits, and nobody knows of them");
    }

    /// Questions that have no answer and may still have one.
    fn waits(&self) -> usize {
        let held: usize = self.conns.values().map(|conn| conn.open.len()).sum();
        self.open.len() + held + self.orphans - self.silenced
    }

    /// Answers that had to wait; true if there was one.
    fn hand_on(&mut self) -> bool {
        let mut some = false;
        let before = (self.listener().stats, self.listener().waiting());
        let mut told = 0;
        loop {
            let mut out = [0; 1_500];
            let (dns, mut cx) = self.cx();
            let Some(outgoing) = dns.poll_reply(&mut cx, &mut out) else { break };
            (some, told) = (true, told + 1);
            match outgoing {
                Outgoing::Datagram(path, len) => {
                    let at = self.asked_by(path.remote, &out[..len]);
                    let (_, query) = self.open.remove(at);
                    self.check(&query, &out[..len], false);
                }
                Outgoing::Frame(token, answer) => self.on_frame(token, answer.as_deref()),
            }
        }
        // Those datagrams that a rule or a limit has silenced since.
        let quiet = silent(self.listener().stats) - silent(before.0);
        let waiting = self.listener().waiting();
        let lost = self.waits().checked_sub(waiting).expect("the resolver is asked for somebody");
        assert!(lost as u64 <= quiet, "{lost} have no answer, and {quiet} are silenced");
        self.silenced += lost;
        some
    }

    /// The oldest question that this can be the answer to.
    fn asked_by(&self, remote: SocketAddr, answer: &[u8]) -> usize {
        let fits = |(from, query): &(SocketAddr, Vec<u8>)| *from == remote && is_answer(query, answer);
        self.open.iter().position(fits).expect("somebody has asked that")
    }

    fn on_frame(&mut self, token: Token, answer: Option<&[u8]>) {
        let Some(mut conn) = self.conns.remove(&token) else { return self.orphans -= 1 };
        if let Some(answer) = answer {
            let at = conn.open.iter().position(|query| is_answer(query, &answer[2..]));
            let query = conn.open.remove(at.expect("it has asked that"));
            self.check(&query, &answer[2..], true);
        } else {
            // Which one it was is not said.
            assert!(!conn.open.is_empty(), "it has asked nothing");
            conn.open.remove(0);
        }
        conn.client.on_answer(self.now, answer.map(|answer| answer.to_vec().into()));
        self.conns.insert(token, conn);
        self.write(token);
    }

    fn end(&mut self) {
        // Longer than anything is waited for.
        for _ in 0..4 {
            self.pass(Duration::from_secs(10));
            self.settle();
        }
        assert_eq!((self.listener().waiting(), self.open.len()), (0, self.silenced), "somebody still waits");
        assert!(self.conns.is_empty(), "a connection on which nothing happens");
    }

    /// What must be true of every answer.
    fn check(&mut self, query: &[u8], answer: &[u8], over_stream: bool) {
        let message = Message::parse(answer).expect("it can be read");
        let flags = message.header.flags;
        let asked = Flags(u16::from_be_bytes([query[2], query[3]]));
        assert!(!asked.has(Flags::QR) && flags.has(Flags::QR), "an answer to an answer");
        assert_eq!((answer[..2] == query[..2], flags.opcode()), (true, asked.opcode()));
        let edns = message.edns().expect("it can be read");
        let high = edns.map_or(0, |edns| u16::from(edns.rcode_high) << 4);
        let rcode = Rcode(high | flags.rcode().0);
        assert!(RCODES.contains(&rcode.0), "{rcode}");
        let asked_edns = Message::parse(query).ok().and_then(|query| query.edns().ok()).flatten();
        assert!(answer.len() <= room(asked_edns, over_stream), "{} bytes", answer.len());
        assert!(message.records().all(|record| record.is_ok()));
        match message.question {
            None => assert!(answer.len() == HEADER_LEN && matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP)),
            Some(question) => {
                let end = HEADER_LEN + question.name.len() + 4;
                assert_eq!(answer[HEADER_LEN..end], query[HEADER_LEN..end]);
                assert_eq!(edns.is_some(), asked_edns.is_some());
            }
        }
        if let Some(cookies) = edns.and_then(|edns| edns.cookies()) {
            assert!(
                asked_edns.and_then(|edns| edns.cookies()).is_some_and(|own| own.client == cookies.client)
            );
            self.cookie = [&cookies.client[..], cookies.server].concat();
        }
        let plain = |kind| PLAIN.contains(&kind);
        if message.records().flatten().all(|record| plain(record.kind)) {
            use hickory_proto::op::Message as Theirs;
            let theirs = Theirs::from_vec(answer).unwrap_or_else(|fault| panic!("{fault}: {answer:?}"));
            let records = message.records().filter(|record| record.is_ok_and(|it| it.kind != Kind::OPT));
            let count = theirs.answers.len() + theirs.authorities.len() + theirs.additionals.len();
            assert_eq!(records.count(), count);
        }
    }
}

/// The most that an answer may take.
fn room(asked: Option<Edns<'_>>, over_stream: bool) -> usize {
    match asked {
        _ if over_stream => usize::from(u16::MAX),
        Some(edns) => usize::from(edns.payload.min(UDP_PAYLOAD)).max(UDP_MIN),
        None => UDP_MIN,
    }
}

fn is_answer(query: &[u8], answer: &[u8]) -> bool {
    let question = Message::parse(answer).expect("it can be read").question.expect("it has one");
    let end = HEADER_LEN + question.name.len() + 4;
    query[..2] == answer[..2] && query.get(HEADER_LEN..end) == Some(&answer[HEADER_LEN..end])
}

/// What explains that there is no answer.
fn silent(stats: Stats) -> u64 {
    stats.limited + stats.malformed + stats.from_policy + stats.loops + stats.overloaded
}

/// A name that something is known of here, or any.
fn name(feed: &mut Feed<'_>) -> Name {
    let at = feed.below(2 * NAMES.len());
    match NAMES.get(at) {
        Some(name) => Name::parse(name).expect("a name"),
        None => dns::name(feed),
    }
}

static LOCAL: LazyLock<(Zones, Vec<Arc<List>>)> = LazyLock::new(|| {
    let mut zones = Zones::new();
    let many: String = (0..100).map(|nth| format!("many A 192.0.2.{nth}\n")).collect();
    for (origin, text) in [("test", format!("{ZONE}{many}")), ("a.b", ZONE.to_owned())] {
        let origin = Name::parse(origin).expect("a name");
        zones.apply(ZoneChange::Create { origin, text }).expect("a zone");
    }
    let lists = [("rpz", RPZ), ("hosts", HOSTS), ("plain", PLAIN_LIST)];
    let lists = lists.map(|(name, text)| Arc::new(List::parse(name, text.as_bytes()).expect("a list")));
    let mut policy = Policy::default();
    lists.iter().for_each(|list| _ = policy.replace(list.clone()).expect("there is room"));
    (zones, lists.to_vec())
});

const ZONE: &str = "$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\na A 192.0.2.1\n\
    out CNAME a.a.\nblocked CNAME bad.example.\nloop CNAME loop\n*.b CNAME c.d.example.\nd DNAME test.\n\
    e DNAME a.b.\nsub NS ns.sub\nns.sub A 192.0.2.3\nintosub CNAME x.sub\n_tcp TXT \"a\" \"b\"\nonion CNAME a.onion.\n";
const RPZ: &str = "$TTL 5\n@ SOA . . 1 2 3 4 5\nbad.example CNAME .\nempty.example CNAME *.\ngone.example CNAME rpz-drop.\n\
    tcp.example CNAME rpz-tcp-only.\nforged.example A 192.0.2.66\nalias.example CNAME far.example.\nhome.example CNAME out.test.\n\
    *.wild.example CNAME *.target.example.\nb CNAME a.a.\na.a CNAME b.\ngood.example CNAME rpz-passthru.\n\
    32.7.0.0.127.rpz-client-ip CNAME .\n";
const HOSTS: &str = "0.0.0.0 a.test b.a\n";
const PLAIN_LIST: &str = "||x.example^\nb.b\n";
const NAMES: [&str; 24] = [
    "a.test",
    "out.test",
    "blocked.test",
    "loop.test",
    "x.b.test",
    "x.d.test",
    "x.e.test",
    "x.sub.test",
    "intosub.test",
    "many.test",
    "onion.test",
    "test",
    "bad.example",
    "empty.example",
    "gone.example",
    "tcp.example",
    "forged.example",
    "alias.example",
    "home.example",
    "x.wild.example",
    "good.example",
    "x.example",
    "box",
    "a.onion",
];
/// NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN BADVERS.
const RCODES: [u16; 8] = [0, 1, 2, 3, 4, 5, 6, 16];
/// Types whose data we read too, before it is handed on.
const PLAIN: [Kind; 9] =
    [Kind::A, Kind::AAAA, Kind::NS, Kind::CNAME, Kind::PTR, Kind::MX, Kind::SOA, Kind::SRV, Kind::OPT];
const FIRST_SOCKET: u16 = 256;
const STEPS_MAX: usize = 400;
const TURNS_MAX: usize = 400;
const ASKED_KEPT: usize = 64;
/// The log, the answers that wait, the memory, and what connections keep.
const HELD_MAX: usize = 24 << 20;
/// What is made once.
const ONCE_MAX: usize = 1 << 20;
