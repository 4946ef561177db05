//! The resolver against forwarders that are played by hand.

mod aliases;
mod home;
mod hostile;
mod learnt;

use super::*;
use crate::base::{Buckets, Cx, Flows, Instant, Path, Rng, SendQueue, TokenBucket, UnixTime};
use crate::wire::dns::{
    CLASS_IN, Flags, Message, OptionCode, Question, Record, Section, UDP_PAYLOAD, Writer,
};

/// One resolver, and everything that is around it.
struct World {
    resolver: Resolver,
    now: Instant,
    rng: Rng,
    buckets: Buckets,
    connects: Vec<(Token, SocketAddr, Option<Arc<str>>)>,
    writes: Vec<Token>,
    asked: u64,
}

/// A question that left over UDP.
struct Left {
    path: Path,
    data: Vec<u8>,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn forwarder(host: u8) -> ForwarderConfig {
    ForwarderConfig::plain(([127, 0, 0, host], 53).into())
}

impl World {
    fn new(hosts: &[u8]) -> Self {
        Self::with(Config::new(hosts.iter().map(|host| forwarder(*host)).collect()))
    }

    fn with(config: Config) -> Self {
        let mut rng = Rng::seeded(1);
        let none = || TokenBucket::new(0, 0);
        let flows = Flows::new(0, &mut rng);
        let buckets = Buckets { packets_out: none(), bytes_out: none(), bytes_in: none(), flows };
        let resolver = Resolver::new(config, 10, &mut rng);
        let now = Instant::from_millis(1_000_000);
        Self { resolver, now, rng, buckets, connects: Vec::new(), writes: Vec::new(), asked: 0 }
    }

    fn with_cx<T>(&mut self, what: impl FnOnce(&mut Resolver, &mut Cx<'_>) -> T) -> T {
        let unix = UnixTime(1_700_000_000 + u64::from(self.now.secs()));
        let mut cx = Cx { now: self.now, unix, rng: &mut self.rng, buckets: &mut self.buckets };
        let done = what(&mut self.resolver, &mut cx);
        self.resolver.check_invariants();
        done
    }

    fn ask(&mut self, text: &str) {
        self.ask_for(text, Kind::A);
    }

    fn ask_for(&mut self, text: &str, kind: Kind) {
        self.asked += 1;
        let user = User::Command(self.asked);
        self.with_cx(|resolver, cx| resolver.resolve(cx, (&name(text), kind, Variant::default()), user));
    }

    /// Does what the resolver wishes, and takes what it sends.
    fn turn(&mut self) -> Vec<Left> {
        let mut left = Vec::new();
        loop {
            self.grant();
            let mut out = [0; 512];
            match self.with_cx(|resolver, cx| resolver.poll_transmit(cx, &mut out)) {
                Some((path, len)) => left.push(Left { path, data: out[..len].to_vec() }),
                None if self.grant() => {}
                None => return left,
            }
        }
    }

    /// Does what the resolver wishes; true if there was something.
    fn grant(&mut self) -> bool {
        let mut wished = false;
        while let Some(wish) = self.resolver.poll_wish() {
            wished = true;
            match wish {
                Wish::Bind(id, _) => self.with_cx(|resolver, cx| resolver.on_bound(cx, id, Ok(()))),
                Wish::Connect { conn, to, tls } => self.connects.push((conn, to, tls)),
                Wish::Write(conn) => self.writes.push(conn),
                Wish::Unbind(_) | Wish::Close(_) => {}
            }
        }
        wished
    }

    fn one(&mut self) -> Left {
        let mut left = self.turn();
        assert_eq!(left.len(), 1, "one question leaves");
        left.remove(0)
    }

    fn receive(&mut self, path: Path, data: &[u8]) {
        self.with_cx(|resolver, cx| resolver.on_datagram(cx, path, data));
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.with_cx(|resolver, cx| resolver.on_deadline(cx));
        assert!(self.resolver.next_deadline().is_none_or(|at| at > self.now), "deadlines move forward");
    }

    /// Goes to the next deadline.
    fn wait(&mut self) {
        let at = self.resolver.next_deadline().expect("something is waited for");
        self.pass(at.since(self.now).as_millis() as u64 + 1);
    }

    /// Waits until a question leaves.
    fn wait_for_one(&mut self) -> Left {
        for _ in 0..50 {
            self.wait();
            let mut left = self.turn();
            assert!(left.len() <= 1, "one question at a time");
            if let Some(left) = left.pop() {
                return left;
            }
        }
        panic!("nothing leaves");
    }

    /// What the users were told: the addresses or the failure, and the source.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = self.resolver.poll_event() {
            told.push(match event {
                Event::Forwarder { name, up, .. } => format!("{name} {}", if up { "up" } else { "down" }),
                Event::Threat(facts) => format!("{facts:?}"),
                Event::Resolved(_, resolved) => match &resolved.result {
                    Ok(given) => {
                        let data: Vec<_> = given.answer.records().map(|record| brief(&record)).collect();
                        format!("{} {:?} {} {}", given.answer.rcode, data, given.ttl(), given.source)
                    }
                    Err(failure) => format!("{failure:?}"),
                },
            });
        }
        told
    }

    /// The frames that leave on a connection, without their lengths.
    fn written(&mut self, conn: Token) -> Vec<u8> {
        let mut out = SendQueue::new(1 << 16);
        self.resolver.poll_write(self.now, conn, usize::MAX, &mut out);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let count = out.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice[2..].iter().copied()).collect()
    }
}

/// An address by its last byte, an alias by 0.
fn brief(record: &Record<'_>) -> u8 {
    if record.kind == Kind::CNAME { 0 } else { record.data().last().copied().unwrap_or_default() }
}

type Fill<'a> = &'a dyn Fn(&mut Writer<'_>);

/// A response to a question, with these flags and records.
fn response(query: &[u8], flags: u16, fill: Fill<'_>) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let question = message.question.unwrap();
    let mut out = vec![0; 4_096];
    let flags = Flags(Flags::QR | Flags::RD | Flags::RA | flags);
    let mut writer = Writer::new(&mut out, message.header.id, flags).unwrap();
    writer.question(question.name, question.kind, CLASS_IN).unwrap();
    fill(&mut writer);
    let len = writer.finish();
    out.truncate(len);
    out
}

fn a(owner: &str, ttl: u32, host: u8) -> impl Fn(&mut Writer<'_>) {
    let owner = name(owner);
    move |writer| writer.record(Section::Answer, owner.wire(), Kind::A, ttl, &[127, 0, 0, host]).unwrap()
}

fn cname(writer: &mut Writer<'_>, owner: &str, target: &str) {
    writer.record(Section::Answer, name(owner).wire(), Kind::CNAME, 60, name(target).wire()).unwrap();
}

fn soa(writer: &mut Writer<'_>, zone: &str, ttl: u32) {
    let data = [name("ns.test").wire(), name("root.test").wire(), &[0; 16], &ttl.to_be_bytes()].concat();
    writer.record(Section::Authority, name(zone).wire(), Kind::SOA, 3_600, &data).unwrap();
}

#[test]
fn equal_questions_are_asked_once_and_remembered() {
    let mut world = World::new(&[1]);
    (0..3).for_each(|_| world.ask("Www.Test"));
    let left = world.one();
    assert_eq!(left.path.remote, forwarder(1).addr);
    world.receive(left.path, &response(&left.data, 0, &a("www.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"; 3]);
    world.pass(10_000);
    world.ask("www.test");
    assert_eq!((world.turn().len(), world.told()), (0, vec!["NOERROR [7] 50 memory".to_owned()]));
    assert_eq!((world.resolver.stats.asked, world.resolver.stats.shared), (4, 2));
    world.receive(left.path, &response(&left.data, 0, &a("www.test", 60, 9)));
    assert_eq!(world.resolver.stats.foreign, 1, "a duplicate changes nothing");
}

#[test]
fn what_does_not_fit_is_passed_over_and_the_wait_goes_on() {
    let mut world = World::new(&[1]);
    world.ask("www.test");
    let left = world.one();
    let good = response(&left.data, 0, &a("www.test", 60, 7));
    let other = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = good.clone();
        change(&mut data);
        data
    };
    let to = |remote: &str, socket: u16| Path {
        remote: remote.parse().unwrap(),
        socket: SocketId(socket),
        ..left.path
    };
    world.receive(left.path, &other(&|data| data[0] ^= 1));
    world.receive(left.path, &other(&|data| data[2] &= 0x7f));
    world.receive(left.path, &other(&|data| data[13] ^= 1));
    world.receive(left.path, &other(&|data| data[22] ^= 3));
    world.receive(left.path, &good[..11]);
    world.receive(left.path, &[]);
    world.receive(to("127.0.0.1:54", left.path.socket.0), &good);
    world.receive(to("127.0.0.2:53", left.path.socket.0), &good);
    world.receive(to("127.0.0.1:53", left.path.socket.0 ^ 1), &good);
    assert_eq!((world.told().len(), world.resolver.stats.foreign), (0, 9));
    world.receive(left.path, &good);
    assert_eq!(world.told().len(), 1);
}

#[test]
fn a_dead_forwarder_costs_one_time_out_and_is_asked_again_when_it_is_back() {
    let mut world = World::new(&[1, 2]);
    for round in 0..3 {
        world.ask(&format!("a{round}.test"));
        assert_eq!(world.one().path.remote, forwarder(1).addr);
        let left = world.wait_for_one();
        assert_eq!(left.path.remote, forwarder(2).addr);
        world.receive(left.path, &response(&left.data, 0, &a(&format!("a{round}.test"), 60, 7)));
    }
    let told = world.told();
    assert_eq!((told.len(), &*told[2]), (4, "127.0.0.1:53 down"));
    world.ask("b.test");
    let left = world.one();
    assert_eq!(left.path.remote, forwarder(2).addr, "nobody waits for it any more");
    world.receive(left.path, &response(&left.data, 0, &a("b.test", 60, 7)));
    world.told();
    world.pass(1_000);
    let probe = world.one();
    assert_eq!(probe.path.remote, forwarder(1).addr);
    world.receive(probe.path, &response(&probe.data, Rcode::REFUSED.0, &|_| {}));
    assert_eq!(world.told(), ["127.0.0.1:53 up"]);
    world.ask("c.test");
    assert_eq!(world.one().path.remote, forwarder(1).addr);
}

#[test]
fn every_look_up_ends() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let mut sent = 0;
    for _ in 0..100 {
        sent += world.turn().len();
        if let Some(told) = world.told().pop().filter(|told| !told.ends_with("down")) {
            assert_eq!(told, "Timeout");
            // Two forwarders in three rounds, and probes of those that went down.
            assert!((6..=10).contains(&sent), "{sent}");
            assert!(world.now.since(Instant::from_millis(1_000_000)) < Duration::from_millis(10_002));
            return;
        }
        world.wait();
    }
    panic!("it waits for ever");
}

#[test]
fn who_refuses_is_followed_by_the_next_and_nothing_of_it_is_kept() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, Rcode::SERVFAIL.0, &|_| {}));
    let left = world.one();
    assert_eq!(left.path.remote, forwarder(2).addr);
    for _ in 0..20 {
        let Some(left) = world.turn().pop() else { break };
        world.receive(left.path, &response(&left.data, Rcode::REFUSED.0, &|_| {}));
    }
    world.receive(left.path, &response(&left.data, Rcode::REFUSED.0, &|_| {}));
    while let Some(left) = world.turn().pop() {
        world.receive(left.path, &response(&left.data, Rcode::REFUSED.0, &|_| {}));
    }
    assert_eq!(world.told(), [format!("{:?}", Failure::Rcode(Rcode::REFUSED))]);
    world.ask("www.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, 0, &a("www.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"], "it recovered at once");
}

#[test]
fn nothing_is_kept_as_long_as_its_soa_says() {
    let mut world = World::new(&[1]);
    for (text, rcode, ttl) in [("no.test", Rcode::NXDOMAIN, 30), ("data.test", Rcode::NOERROR, 40)] {
        world.ask(text);
        let left = world.one();
        world.receive(left.path, &response(&left.data, rcode.0, &|writer| soa(writer, "test", ttl)));
        assert_eq!(world.told(), [format!("{rcode} [] {ttl} 127.0.0.1:53")]);
        world.ask(text);
        assert_eq!(world.told(), [format!("{rcode} [] {ttl} memory")]);
    }
    world.ask("bare.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, Rcode::NXDOMAIN.0, &|writer| soa(writer, "other", 30)));
    assert_eq!(world.told(), ["NXDOMAIN [] 0 127.0.0.1:53"], "an SOA of another zone is none");
    world.ask("bare.test");
    assert_eq!(world.turn().len(), 1, "without an SOA it is not kept");
}

#[test]
fn aliases_are_followed_in_order_and_no_further() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    let left = world.one();
    world.receive(
        left.path,
        &response(&left.data, 0, &|writer| {
            cname(writer, "a.test", "b.test");
            a("evil.test", 60, 66)(writer);
            cname(writer, "b.test", "c.test");
        }),
    );
    let left = world.one();
    assert_eq!(
        Message::parse(&left.data).unwrap().question.unwrap().name.to_ascii_lowercase(),
        b"\x01c\x04test\x00"
    );
    world.receive(left.path, &response(&left.data, 0, &a("c.test", 30, 7)));
    let told = world.told();
    assert_eq!(told, ["NOERROR [0, 0, 7] 30 127.0.0.1:53"], "both aliases, then the address");
    world.ask("evil.test");
    assert_eq!(world.turn().len(), 1, "what was not asked for is not remembered");
}

#[test]
fn aliases_in_a_circle_or_without_end_are_given_up() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    for round in 0..40 {
        let Some(left) = world.turn().pop() else { break };
        let question = Message::parse(&left.data).unwrap().question.unwrap();
        let at = Name::from_wire(question.name).unwrap().to_string();
        let next = format!("n{round}.test");
        world.receive(left.path, &response(&left.data, 0, &|writer| cname(writer, &at, &next)));
    }
    assert_eq!(world.told(), ["Chain"]);
    world.ask("x.test");
    let left = world.one();
    let circle = |writer: &mut Writer<'_>| {
        cname(writer, "x.test", "y.test");
        cname(writer, "y.test", "x.test");
    };
    world.receive(left.path, &response(&left.data, 0, &circle));
    for _ in 0..5 {
        if let Some(left) = world.turn().pop() {
            world.receive(left.path, &response(&left.data, 0, &circle));
        }
    }
    assert_eq!(world.told(), ["Chain"]);
}

#[test]
fn what_is_cut_comes_over_tcp() {
    let mut world = World::new(&[1]);
    world.ask("big.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, Flags::TC, &a("big.test", 60, 66)));
    assert_eq!((world.turn().len(), world.connects.len()), (0, 1));
    let (conn, to, tls) = world.connects.remove(0);
    assert_eq!((to, tls), (forwarder(1).addr, None));
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let answer = response(&query, 0, &a("big.test", 60, 7));
    let frame = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
    for cut in 0..frame.len() {
        assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame[..cut])), Ok(0));
    }
    let used = world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame));
    assert_eq!((used, world.told()), (Ok(frame.len()), vec!["NOERROR [7] 60 127.0.0.1:53".to_owned()]));
    world.ask("big2.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, Flags::TC, &|_| {}));
    world.turn();
    assert!(world.connects.is_empty(), "the connection is used again");
    world.with_cx(|resolver, cx| resolver.conn_lost(cx, conn, false));
    assert_eq!(world.turn().len(), 1, "it closed: asked anew");
}

#[test]
fn what_grows_beyond_a_message_is_refused() {
    let mut world = World::new(&[1]);
    world.ask_for("srv.test", Kind::SRV);
    let left = world.one();
    world.receive(left.path, &response(&left.data, Flags::TC, &|_| {}));
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let mut answer = response(&query, 0, &|_| {});
    // The first record's target is long, all others point to it.
    let long = [&[63; 1][..], &[b'a'; 63], &[63], &[b'b'; 63], &[63], &[b'c'; 63], &[0]].concat();
    let target_at = answer.len() + 12 + 6;
    for round in 0..1_000 {
        let target =
            if round == 0 { long.clone() } else { vec![0xc0 | (target_at >> 8) as u8, target_at as u8] };
        answer.extend_from_slice(&[
            0xc0,
            12,
            0,
            33,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            6 + target.len() as u8,
            0,
            1,
            0,
            2,
            0,
            3,
        ]);
        answer.extend_from_slice(&target);
    }
    answer[6..8].copy_from_slice(&1_000_u16.to_be_bytes());
    let frame = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame)), Ok(frame.len()));
    assert_eq!((world.told().len(), world.turn().len()), (0, 1), "it is of no use: asked again");
}

#[test]
fn tls_forwarders_are_never_asked_in_the_clear() {
    let mut world =
        World::with(Config::new(vec![ForwarderConfig { tls: Some("dns.test".into()), ..forwarder(1) }]));
    world.ask("www.test");
    assert_eq!(world.turn().len(), 0);
    assert_eq!(world.connects[0].2.as_deref(), Some("dns.test"));
}

#[test]
fn cookies_are_kept_sent_back_and_insisted_on() {
    let mut world = World::new(&[1]);
    let cookie_of = |data: &[u8]| {
        let message = Message::parse(data).unwrap();
        message.edns().unwrap().unwrap().option(OptionCode::COOKIE).unwrap().to_vec()
    };
    let with_cookie = |query: &[u8], cookie: &[u8], text: &str| {
        response(query, 0, &|writer| {
            a(text, 60, 7)(writer);
            writer.edns(UDP_PAYLOAD, Rcode::NOERROR, false, &[(OptionCode::COOKIE, cookie)]).unwrap();
        })
    };
    world.ask("a.test");
    let left = world.one();
    let client = cookie_of(&left.data);
    assert_eq!(client.len(), 8);
    let both = [client.as_slice(), &[9; 8]].concat();
    world.receive(left.path, &with_cookie(&left.data, &[[1; 8], [9; 8]].concat(), "a.test"));
    assert_eq!(world.told().len(), 0, "not our cookie");
    world.receive(left.path, &with_cookie(&left.data, &both, "a.test"));
    assert_eq!(world.told().len(), 1);
    world.ask("b.test");
    let left = world.one();
    assert_eq!(cookie_of(&left.data), both);
    world.receive(left.path, &response(&left.data, 0, &a("b.test", 60, 66)));
    assert_eq!(world.told().len(), 0, "who has sent a cookie sends it always");
    let left = world.wait_for_one();
    assert_eq!(cookie_of(&left.data), client, "it may have forgotten");
    world.receive(left.path, &response(&left.data, 0, &a("b.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn who_knows_no_edns_is_asked_without() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    let left = world.one();
    let bare = [&left.data[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    world.receive(left.path, &bare);
    let left = world.one();
    assert_eq!(Message::parse(&left.data).unwrap().header.counts, [0, 0, 0]);
    world.receive(left.path, &response(&left.data, 0, &a("a.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn what_expired_is_given_when_nobody_answers() {
    let mut world = World::new(&[1, 2]);
    world.ask("a.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, 0, &a("a.test", 60, 7)));
    world.told();
    world.pass(100_000);
    world.ask("a.test");
    assert_eq!((world.turn().len(), world.told().len()), (1, 0));
    let asked_at = world.now;
    while world.told().is_empty() {
        world.wait();
        world.turn();
        assert!(world.now.since(asked_at) < Duration::from_secs(2), "at the latest after 1.8 s");
    }
    assert!(world.now.since(asked_at) >= Duration::from_millis(1_800));
    while !world.resolver.queries.is_empty() {
        world.wait();
        world.turn();
    }
    world.told();
    world.ask("a.test");
    assert_eq!(world.told(), ["NOERROR [7] 30 stale"], "at once, for a while");
    let system = System { forwarders: vec![forwarder(3)], ..System::default() };
    world.with_cx(|resolver, cx| resolver.set_system(cx, system));
    world.ask("a.test");
    assert_eq!((world.one().path.remote, world.told().len()), (forwarder(3).addr, 0), "it was not asked");
    world.pass(86_400_000);
    world.told();
    world.ask("a.test");
    assert_eq!(world.told().len(), 0, "too old");
}

#[test]
fn hosts_come_first_and_without_forwarders_it_fails_at_once() {
    let mut config = Config::new(Vec::new());
    config.hosts = Hosts::parse("10.0.0.9 box");
    let mut world = World::with(config);
    world.ask("BOX");
    world.ask("www.test");
    assert_eq!(world.told(), ["NOERROR [9] 60 hosts", "NoForwarder"]);
}

#[test]
fn parallel_takes_the_first_good_answer() {
    let mut config = Config::new(vec![forwarder(1), forwarder(2), forwarder(3)]);
    config.strategy = Strategy::Parallel;
    let mut world = World::with(config);
    world.ask("a.test");
    let left = world.turn();
    assert_eq!(left.len(), 3);
    world.receive(left[0].path, &response(&left[0].data, Rcode::SERVFAIL.0, &|_| {}));
    assert!(world.told().is_empty() && world.turn().is_empty());
    world.receive(left[2].path, &response(&left[2].data, 0, &a("a.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.3:53"]);
}

quickcheck::quickcheck! {
    /// Whatever forwarders say, every question ends, and once.
    fn hostile_forwarders_end_no_more_than_questions(seed: u64) -> bool {
        let mut world = World::new(&[1, 2]);
        let mut chance = Rng::seeded(seed);
        for round in 0..20 {
            world.ask(&format!("n{}.test", chance.below(6)));
            for left in world.turn() {
                let kind = chance.below(8);
                let mut data = match kind {
                    0 | 1 => response(&left.data, 0, &a(&format!("n{}.test", round % 6), 1, 7)),
                    2 => response(&left.data, Flags::TC, &|_| {}),
                    3 => response(&left.data, chance.below(16) as u16, &|_| {}),
                    4 => response(&left.data, 0, &|writer| cname(writer, "n1.test", "n2.test")),
                    _ => left.data.clone(),
                };
                if kind == 7 {
                    let at = chance.index(data.len());
                    data[at] = chance.u32() as u8;
                    data[2] |= 0x80;
                }
                world.receive(left.path, &data);
            }
            world.pass(chance.below(3_000));
            for (conn, _, _) in std::mem::take(&mut world.connects) {
                match chance.below(3) {
                    0 => world.with_cx(|resolver, cx| resolver.conn_lost(cx, conn, false)),
                    1 => {
                        world.resolver.on_ready(conn);
                        let query = world.written(conn);
                        let data = if query.len() > 12 { query } else { vec![0; 40] };
                        let frame = [&(data.len() as u16).to_be_bytes()[..], &data].concat();
                        let _ = world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame));
                    }
                    _ => {}
                }
            }
        }
        for _ in 0..2_000 {
            if world.resolver.queries.iter().all(|(_, query)| query.probe.is_some()) {
                break;
            }
            world.wait();
            world.turn();
        }
        world.told().iter().filter(|told| !told.ends_with(" up") && !told.ends_with(" down")).count() == 20
    }
}

#[test]
fn a_host_is_looked_up_in_both_families_and_with_suffixes() {
    let mut config = Config::new(vec![forwarder(1)]);
    config.search = vec![name("one.test"), name("two.test")];
    let mut world = World::with(config);
    let mut dns = Dns::new(std::mem::replace(
        &mut world.resolver,
        Resolver::new(Config::new(Vec::new()), 0, &mut Rng::seeded(2)),
    ));
    dns.local = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let mut asked = Vec::new();
    let found = world.look(&mut dns, "box", &mut asked, &|writer, question| {
        let at = Name::from_wire(question.name).unwrap();
        match (at.to_string().as_str(), question.kind) {
            ("box.two.test.", Kind::A) => {
                writer.record(Section::Answer, at.wire(), Kind::A, 60, &[10, 0, 0, 7])
            }
            ("box.two.test.", _) => writer.record(Section::Answer, at.wire(), Kind::AAAA, 30, &[0x20; 16]),
            _ => {
                soa(writer, "test", 5);
                Ok(())
            }
        }
        .unwrap();
    });
    assert_eq!(asked, ["box.one.test. A", "box.one.test. AAAA", "box.two.test. A", "box.two.test. AAAA"]);
    assert_eq!((found.name.to_string(), found.failure, found.exists), ("box.two.test.".into(), None, true));
    let addresses: Vec<_> = found.addresses.iter().map(|(ip, ttl)| format!("{ip} {ttl}")).collect();
    assert_eq!(addresses, ["2020:2020:2020:2020:2020:2020:2020:2020 30", "10.0.0.7 60"]);

    let literal = world.look(&mut dns, "192.0.2.1", &mut asked, &|_, _| {});
    assert_eq!(
        (literal.addresses[0].0.to_string(), literal.source),
        ("192.0.2.1".into(), Some(Source::Literal))
    );
    let bad = world.look(&mut dns, "a..b", &mut asked, &|_, _| {});
    assert_eq!((bad.addresses.len(), bad.failure), (0, Some(Failure::BadName)));
    asked.clear();
    let absolute = world.look(&mut dns, "box.", &mut asked, &|writer, _| soa(writer, ".", 5));
    assert_eq!((asked.len(), absolute.addresses.len()), (2, 0), "no suffix is tried");
}

/// A suffix that is left is not tried any more.
#[test]
fn who_is_stopped_asks_nothing_more() {
    let mut config = Config::new(vec![ForwarderConfig { tls: Some("dns.test".into()), ..forwarder(1) }]);
    config.search = vec![name("one.test")];
    let mut world = World::new(&[]);
    let mut dns = Dns::new(Resolver::new(config, 0, &mut Rng::seeded(2)));
    world.with_cx(|_, cx| dns.look_up(cx, "box", 9));
    dns.resolver.stop(world.now);
    while world.with_cx(|_, cx| dns.poll_event(cx)).is_some() {}
    let looked = dns.poll_looked().unwrap().1;
    assert_eq!((looked.failure, dns.len()), (Some(Failure::Stopped), 0));
    let wishes: Vec<_> = std::iter::from_fn(|| dns.resolver.poll_wish()).collect();
    let connects = wishes.iter().filter(|wish| matches!(wish, Wish::Connect { .. })).count();
    assert_eq!(connects, 1, "{wishes:?}");
}

/// Nor does it look whether a server that was down is back.
#[test]
fn who_is_stopped_probes_nobody() {
    let mut world = World::new(&[1]);
    for round in 0..3 {
        world.ask(&format!("n{round}.test"));
        world.turn();
    }
    while !world.told().contains(&"127.0.0.1:53 down".to_owned()) {
        world.wait();
        world.turn();
    }
    world.resolver.stop(world.now);
    world.pass(60_000);
    assert_eq!((world.turn().len(), world.resolver.queries.len()), (0, 0));
}

impl World {
    /// Looks a host up with forwarders that answer as `serve` says.
    fn look(
        &mut self,
        dns: &mut Dns,
        host: &str,
        asked: &mut Vec<String>,
        serve: &dyn Fn(&mut Writer<'_>, Question<'_>),
    ) -> Looked {
        self.with_cx(|_, cx| dns.look_up(cx, host, 9));
        for _ in 0..50 {
            while self.with_cx(|_, cx| dns.poll_event(cx)).is_some() {}
            if let Some((9, looked)) = dns.poll_looked() {
                return *looked;
            }
            std::mem::swap(&mut self.resolver, &mut dns.resolver);
            let mut left = self.turn();
            left.sort_by_key(|left| Message::parse(&left.data).unwrap().question.unwrap().kind);
            for left in left {
                let question = Message::parse(&left.data).unwrap().question.unwrap();
                asked.push(format!("{} {}", Name::from_wire(question.name).unwrap(), question.kind));
                self.receive(left.path, &response(&left.data, 0, &|writer| serve(writer, question)));
            }
            std::mem::swap(&mut self.resolver, &mut dns.resolver);
        }
        panic!("the look-up does not end");
    }
}
