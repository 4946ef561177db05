//! The whole resolver under a driver that keeps the contract: datagrams and bytes, fitting and not,
//! sockets that cannot be opened, connections that break, time, other settings, and questions. Every
//! question ends once and in time, nothing forged is believed, and memory stays bounded.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use dht_hunter::base::{Buckets, Cx, Instant, Path, Rng, SendQueue, SocketId, Token, UnixTime};
use dht_hunter::dns::{
    Config, Dns, Event, FRAME_MAX, Failure, ForwarderConfig, Hosts, Resolver, SOCKET_IDS, Strategy, System,
    User, Variant, Wish, cache,
};
use dht_hunter::model::dns::Source;
use dht_hunter::wire::dns::{Kind, Message, Name};
use dht_hunter_fuzz::stream::{Inbox, drain};
use dht_hunter_fuzz::{Feed, dns, heap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    heap::within(HELD_MAX, ONCE_MAX, || {
        let mut world = World::new(Feed::new(input));
        while !world.feed.is_empty() && world.steps < STEPS_MAX {
            world.step();
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
    deadline: Duration,
    forwarders: Vec<SocketAddr>,
    sockets: BTreeMap<SocketId, SocketAddr>,
    conns: BTreeMap<Token, Conn>,
    /// Questions over UDP that wait for an answer, the oldest first.
    asked: VecDeque<(Path, Vec<u8>)>,
    /// The same and those that were answered.
    sent: VecDeque<(Path, Vec<u8>)>,
    /// What users wait for, by when it must have come, and whether signatures are wanted.
    open: BTreeMap<u64, (Instant, bool)>,
    hosts: BTreeMap<u64, Instant>,
    next: u64,
    steps: usize,
}

struct Conn {
    open: bool,
    out: SendQueue,
    inbox: Inbox,
    /// Questions that came on it.
    asked: VecDeque<Vec<u8>>,
    heard: Vec<u8>,
    /// What is said on it and has not arrived.
    said: Vec<u8>,
}

impl<'a> World<'a> {
    fn new(mut feed: Feed<'a>) -> Self {
        let flags = feed.u8();
        let forwarders = forwarders(&mut feed);
        let cache = cache::Config {
            entries_max: 1 + feed.below(40),
            bytes_max: 300 + feed.below(30_000),
            ttl_max: [5, 60, 3_600, u32::MAX][usize::from(flags & 3)],
            stale_max: Duration::from_secs(u64::from(feed.u8())),
        };
        let config = Config {
            strategy: [Strategy::Strict, Strategy::Parallel, Strategy::Fastest][usize::from(flags >> 2) % 3],
            extras: flags & 0x10 == 0,
            deadline: Duration::from_secs(1 + u64::from(flags >> 5)),
            cache,
            ..Config::new(forwarders.clone())
        };
        let deadline = config.deadline;
        let mut rng = Rng::new([feed.u8(); 32]);
        let resolver = Resolver::new(config, FIRST_SOCKET, &mut rng);
        let buckets = Buckets::unlimited(&mut rng);
        Self {
            feed,
            now: Instant::from_millis(1_000),
            unix: UnixTime(1_790_000_000),
            rng,
            buckets,
            dns: Dns::new(resolver),
            deadline,
            forwarders: forwarders.iter().map(|it| it.addr).collect(),
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            asked: VecDeque::new(),
            sent: VecDeque::new(),
            open: BTreeMap::new(),
            hosts: BTreeMap::new(),
            next: 0,
            steps: 0,
        }
    }

    fn cx(&mut self) -> (&mut Dns, Cx<'_>) {
        let cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        (&mut self.dns, cx)
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.feed.u8() % 32 {
            0..=5 => self.ask(),
            6..=7 => self.look_up(),
            8..=15 => self.reply(),
            16 => self.nonsense(),
            17..=19 => self.stream_opens(),
            20..=22 => self.stream_talks(),
            23 => self.stream_ends(),
            24..=28 => self.wait(),
            29 => self.settings(),
            30 => self.saves(),
            _ => self.due(),
        }
        self.settle();
    }

    fn ask(&mut self) {
        let (name, kind) = (dns::name(&mut self.feed), dns::kind(&mut self.feed));
        let flags = self.feed.u8();
        let variant = Variant { dnssec_ok: flags & 0xc0 == 0xc0, checking_disabled: flags & 0x30 == 0x30 };
        for _ in 0..1 + flags % 3 {
            self.next += 1;
            self.open.insert(self.next, (self.now + self.deadline, variant.dnssec_ok));
            let user = User::Command(self.next);
            let (dns, mut cx) = self.cx();
            dns.resolver.resolve(&mut cx, (&name, kind, variant), user);
        }
    }

    fn look_up(&mut self) {
        let text = match self.feed.u8() % 8 {
            0 => String::from_utf8_lossy(self.feed.bytes(30)).into_owned(),
            1 => "127.0.0.1".to_owned(),
            2 => "box".to_owned(),
            _ => dns::name(&mut self.feed).to_string(),
        };
        self.next += 1;
        // As it is, and with two suffixes.
        self.hosts.insert(self.next, self.now + self.deadline * 3);
        let user = self.next;
        let (dns, mut cx) = self.cx();
        dns.look_up(&mut cx, &text, user);
    }

    /// An answer to one of the questions, from the right place or not.
    fn reply(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.feed.below(self.asked.len());
        let Some((mut path, query)) = self.asked.get(at).cloned() else { return };
        match self.feed.u8() {
            0..=199 => {}
            200..=215 => path.remote.set_port(path.remote.port() ^ 1),
            216..=230 => path.remote = ([127, 0, 0, 99], 53).into(),
            other => path.socket = SocketId(FIRST_SOCKET + u16::from(other) % SOCKET_IDS),
        }
        if self.feed.one_in(2) {
            self.asked.remove(at);
        }
        let Some(data) = dns::reply(&mut self.feed, &query, 1_232) else { return };
        self.datagram(path, &data);
    }

    fn datagram(&mut self, path: Path, data: &[u8]) {
        let fits = self.fits(path, data);
        let (dns, mut cx) = self.cx();
        dns.resolver.on_datagram(&mut cx, path, data);
        assert!(fits || self.dns.resolver.poll_event().is_none(), "a stranger's message ended a question");
    }

    /// Whether it may be an answer at all: from the server, to the socket, with the id and the
    /// question of something that was asked.
    fn fits(&self, path: Path, data: &[u8]) -> bool {
        let Ok(message) = Message::parse(data) else { return false };
        self.sent.iter().any(|(asked, query)| {
            let query = Message::parse(query).expect("a question");
            let question = query.question.expect("a question");
            let same = message.question.is_none_or(|other| {
                other.name.eq_ignore_ascii_case(question.name) && other.kind == question.kind
            });
            let here = asked.socket == path.socket && asked.remote == path.remote;
            here && query.header.id == message.header.id && same
        })
    }

    fn nonsense(&mut self) {
        let socket = SocketId(FIRST_SOCKET + self.feed.below(usize::from(SOCKET_IDS)) as u16);
        let remote = self.forwarders.first().copied().unwrap_or(([127, 0, 0, 9], 53).into());
        let data = self.feed.bytes(60);
        self.datagram(Path { socket, local: None, remote }, data);
    }

    fn some_conn(&mut self, open: bool) -> Option<Token> {
        let conns: Vec<_> =
            self.conns.iter().filter(|(_, it)| it.open == open).map(|(conn, _)| *conn).collect();
        let at = self.feed.below(conns.len());
        conns.get(at).copied()
    }

    fn stream_opens(&mut self) {
        let Some(conn) = self.some_conn(false) else { return };
        self.conns.get_mut(&conn).expect("it is there").open = true;
        self.dns.resolver.on_ready(conn);
        self.write(conn);
    }

    fn stream_talks(&mut self) {
        let Some(conn) = self.some_conn(true) else { return };
        let at = self.conns.get_mut(&conn).expect("it is there");
        let query = at.asked.pop_front();
        if let Some(reply) = query.and_then(|query| dns::reply(&mut self.feed, &query, 3_000)) {
            at.said.extend_from_slice(&(reply.len() as u16).to_be_bytes());
            at.said.extend_from_slice(&reply);
        }
        if self.feed.one_in(16) {
            at.said.extend_from_slice(self.feed.bytes(20));
        }
        let most = [usize::MAX, 1, 2, 13][self.feed.below(4)].min(at.said.len());
        let piece: Vec<u8> = at.said.drain(..most).collect();
        if piece.is_empty() {
            return;
        }
        let mut inbox = std::mem::take(&mut at.inbox);
        let (dns, mut cx) = self.cx();
        let read = inbox.read(&piece, FRAME_MAX, |bytes| dns.resolver.on_bytes(&mut cx, conn, bytes));
        match (read, self.conns.get_mut(&conn)) {
            (Ok(()), Some(at)) => at.inbox = inbox,
            (Ok(()), None) => {}
            (Err(_), _) => self.lose(conn),
        }
    }

    fn stream_ends(&mut self) {
        let open = self.feed.one_in(2);
        if let Some(conn) = self.some_conn(open) {
            self.lose(conn);
        }
    }

    fn lose(&mut self, conn: Token) {
        self.conns.remove(&conn);
        let (dns, mut cx) = self.cx();
        dns.resolver.conn_lost(&mut cx, conn, false);
    }

    fn write(&mut self, conn: Token) {
        let Some(at) = self.conns.get_mut(&conn).filter(|at| at.open) else { return };
        let mut left = 1;
        while left > 0 {
            self.dns.resolver.poll_write(self.now, conn, usize::MAX, &mut at.out);
            left = at.out.len();
            at.heard.extend(drain(&mut at.out, usize::MAX));
        }
        while let Some((len, rest)) = at.heard.split_first_chunk::<2>() {
            let (frame, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)));
            let message = Message::parse(frame).expect("a question");
            assert!(message.question.is_some() && at.asked.len() < ASKED_MAX);
            at.asked.push_back(frame.to_vec());
            at.heard = rest.to_vec();
        }
        assert!(at.heard.is_empty(), "half a question");
    }

    fn wait(&mut self) {
        let by = match self.feed.u8() % 8 {
            0 => Duration::from_secs(u64::from(self.feed.u8())),
            1 => Duration::from_secs(u64::from(self.feed.u8() % 16)),
            _ => Duration::from_millis(4 * u64::from(self.feed.u8())),
        };
        let until = self.now + by;
        for _ in 0..TURNS_MAX {
            match self.dns.resolver.next_deadline() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.due();
            self.settle();
        }
        self.now = self.now.max(until);
        self.unix.0 += by.as_secs();
        self.due();
    }

    /// A call that may be for nothing.
    fn due(&mut self) {
        let (dns, mut cx) = self.cx();
        dns.resolver.on_deadline(&mut cx);
        let next = self.dns.resolver.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "a deadline that does not lie ahead");
    }

    fn settings(&mut self) {
        let forwarders = forwarders(&mut self.feed);
        self.forwarders = forwarders.iter().map(|it| it.addr).collect();
        let search =
            (0..self.feed.below(3)).map(|_| dns::name(&mut self.feed)).filter(|it| *it != Name::ROOT);
        let search = search.collect();
        let hosts = Hosts::parse("10.0.0.1 box\n::5 box");
        let ndots = self.feed.u8() % 3;
        let system = System { forwarders, hosts, search, ndots, local: Vec::new(), networks: Vec::new() };
        let (dns, mut cx) = self.cx();
        dns.resolver.set_system(&mut cx, system);
    }

    /// The archive is handed what is new, and hands it back.
    fn saves(&mut self) {
        let back = self.feed.u8();
        for saved in self.dns.resolver.take_unsaved(self.now, self.unix) {
            let message = Message::parse(&saved.message).expect("a message");
            assert!(message.records().all(|record| record.is_ok()));
            let later = UnixTime(self.unix.0 + u64::from(back));
            self.dns.resolver.restore(&saved, self.now, later);
        }
    }

    /// Does what is wished until there is nothing more, and looks at what came of it.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            let mut out = [0; 1_500];
            let (dns, mut cx) = self.cx();
            if let Some((path, len)) = dns.resolver.poll_transmit(&mut cx, &mut out) {
                self.send(path, &out[..len]);
                idle = false;
            }
            // What cannot leave is perhaps put to another, over a new connection.
            while let Some(wish) = self.dns.resolver.poll_wish() {
                self.grant(wish);
                idle = false;
            }
            idle &= !self.events();
            if idle {
                break;
            }
        }
        let late = self.open.values().map(|(due, _)| due).chain(self.hosts.values()).min();
        assert!(late.is_none_or(|due| *due >= self.now || self.next_is_due()), "somebody waits too long");
        assert!(self.sockets.len() <= usize::from(SOCKET_IDS));
        assert!(self.conns.len() <= 2 * FORWARDERS_MAX, "{} connections", self.conns.len());
        self.dns.resolver.check_invariants();
    }

    /// The driver is late, not the resolver.
    fn next_is_due(&self) -> bool {
        self.dns.resolver.next_deadline().is_some_and(|at| at <= self.now)
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Bind(socket, addr) => {
                let bound = match self.feed.u8() {
                    0..=239 => Ok(()),
                    240..=250 => Err(true),
                    _ => Err(false),
                };
                if bound.is_ok() {
                    assert!(addr.port() > 0 && self.sockets.insert(socket, addr).is_none(), "bound twice");
                }
                let (dns, mut cx) = self.cx();
                dns.resolver.on_bound(&mut cx, socket, bound);
            }
            // One that was wished for and never opened may be closed as well.
            Wish::Unbind(socket) => _ = self.sockets.remove(&socket),
            Wish::Connect { conn, to, .. } => {
                assert!(self.forwarders.contains(&to), "{to} is no server of ours");
                let new = Conn {
                    open: false,
                    out: SendQueue::new(1 << 16),
                    inbox: Inbox::default(),
                    asked: VecDeque::new(),
                    heard: Vec::new(),
                    said: Vec::new(),
                };
                assert!(self.conns.insert(conn, new).is_none(), "a name that is taken");
            }
            Wish::Write(conn) => self.write(conn),
            Wish::Close(conn) => _ = self.conns.remove(&conn),
        }
    }

    fn send(&mut self, path: Path, data: &[u8]) {
        assert!(self.sockets.contains_key(&path.socket), "a socket that is not there");
        assert!(self.forwarders.contains(&path.remote), "{} is no server of ours", path.remote);
        let message = Message::parse(data).expect("a question");
        assert!(message.question.is_some() && message.edns().is_ok() && data.len() <= 512);
        if self.sent.len() == SENT_KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back((path, data.to_vec()));
        self.asked.push_back((path, data.to_vec()));
        if self.asked.len() > SENT_KEPT {
            self.asked.pop_front();
        }
    }

    /// Takes what has ended; true if there was something.
    fn events(&mut self) -> bool {
        let mut some = false;
        loop {
            let (dns, mut cx) = self.cx();
            let Some(event) = dns.poll_event(&mut cx) else { break };
            some = true;
            let Event::Resolved(User::Command(id), resolved) = event else { continue };
            let (_, dnssec_ok) = self.open.remove(&id).expect("nobody is answered twice");
            let Ok(given) = resolved.result else { continue };
            let mut copy = vec![0; given.answer.message().len()];
            given.copy_to(&mut copy).expect("it has room");
            let message = Message::parse(&copy).expect("an answer can be read");
            let question = message.question.expect("it says what was asked");
            assert_eq!((question.name, question.kind), (resolved.name.wire(), resolved.kind));
            let may_be = dnssec_ok || resolved.kind == Kind::ANY;
            assert!(message.records().all(|record| {
                let kind = record.expect("a record").kind;
                may_be || kind != Kind::RRSIG && kind != Kind::NSEC
            }));
            let source = given.source != Source::Literal && given.source != Source::Zone;
            assert!(source && (given.ttl() <= u32::MAX >> 1 || given.answer.ttl > u32::MAX >> 1));
        }
        while let Some((id, looked)) = self.dns.poll_looked() {
            some = true;
            assert!(self.hosts.remove(&id).is_some(), "{id} is answered twice");
            assert!(looked.failure.is_none_or(|failure| failure != Failure::Overloaded));
        }
        some
    }

    fn end(&mut self) {
        self.dns.resolver.stop(self.now);
        self.settle();
        assert!(self.open.is_empty() && self.hosts.is_empty(), "somebody was not told");
        assert!(self.sockets.is_empty() && self.conns.is_empty(), "something is left open");
        assert!(self.dns.is_empty());
    }
}

fn forwarders(feed: &mut Feed<'_>) -> Vec<ForwarderConfig> {
    let one = |feed: &mut Feed<'_>| {
        let choice = feed.u8();
        let host = choice % 5;
        let addr: SocketAddr = match host {
            4 => "[::1]:53".parse().expect("an address"),
            _ => ([127, 0, 0, 1 + host], 53).into(),
        };
        let tls = (choice & 0xc0 == 0xc0).then(|| "names.test".into());
        ForwarderConfig { tls, ..ForwarderConfig::plain(addr) }
    };
    (0..feed.below(FORWARDERS_MAX + 1)).map(|_| one(feed)).collect()
}

const FIRST_SOCKET: u16 = 7;
const FORWARDERS_MAX: usize = 4;
const STEPS_MAX: usize = 400;
/// More deadlines than any wait has.
const TURNS_MAX: usize = 20_000;
/// Questions that may still be answered.
const SENT_KEPT: usize = 4_096;
const ASKED_MAX: usize = 4_096;
/// Questions, their answers, and what the test itself keeps of both.
const HELD_MAX: usize = 16 << 20;
/// What libraries make once, at first use.
const ONCE_MAX: usize = 1_024;
