//! The listener with a forwarder played by hand: what is answered at once, what waits, what is held
//! back and what is told.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::{Buckets, Cx, Instant, SocketId, UnixTime};
use crate::dns::policy::List;
use crate::dns::zones::{ZoneChange, Zones};
use crate::dns::{Config as ResolverConfig, Dns, ForwarderConfig, Resolver, Wish};
use crate::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, OptionCode, Rcode, Section, UDP_MIN, Writer};

const FORWARDER: &str = "127.0.0.9:53";
const ZONE: &str = "$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\na A 192.0.2.1\nout CNAME far.example.\n\
    toforged CNAME forged.example.\ntogone CNAME gone.example.\nlets.through CNAME forged.example.\nonion CNAME x.onion.\n";
const POLICY: &str = "$TTL 5\n@ SOA . . 1 2 3 4 5\nbad.example CNAME .\nempty.example CNAME *.\n\
    gone.example CNAME rpz-drop.\ntcp.example CNAME rpz-tcp-only.\nforged.example A 192.0.2.66\n\
    alias.example CNAME far.example.\nhome.example CNAME a.zone.test.\nfurther.example CNAME out.zone.test.\n\
    lets.through.zone.test CNAME rpz-passthru.\n";

struct World {
    dns: Dns,
    now: Instant,
    rng: Rng,
    buckets: Buckets,
}

impl World {
    fn new(config: Config) -> Self {
        let mut rng = Rng::seeded(5);
        let buckets = Buckets::unlimited(&mut rng);
        let resolver = ResolverConfig::new(vec![ForwarderConfig::plain(FORWARDER.parse().unwrap())]);
        let mut dns = Dns::new(Resolver::new(resolver, 256, &mut rng));
        dns.listener = Some(Box::new(Listener::new(config, &mut rng)));
        let origin = Name::parse("zone.test").unwrap();
        let mut zones = Zones::new();
        zones.apply(ZoneChange::Create { origin, text: ZONE.to_owned() }).unwrap();
        dns.serve_zones(zones);
        let list = List::parse("blocked", POLICY.as_bytes()).unwrap();
        dns.policy.replace(Arc::new(list)).unwrap();
        Self { dns, now: Instant::from_millis(1_000), rng, buckets }
    }

    fn cx<'w>(now: Instant, rng: &'w mut Rng, buckets: &'w mut Buckets) -> Cx<'w> {
        Cx { now, unix: UnixTime(1_700_000_000), rng, buckets }
    }

    fn ask_from(&mut self, client: &str, query: &[u8]) -> Option<Vec<u8>> {
        let path = Path { socket: SocketId(1), local: None, remote: client.parse().unwrap() };
        let mut reply = [0; 1_500];
        let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
        let len = self.dns.on_query(&mut cx, path, query, &mut reply);
        self.dns.listener.as_ref().unwrap().check_invariants();
        (len > 0).then(|| reply[..len].to_vec())
    }

    fn ask(&mut self, name: &str, kind: Kind) -> Option<String> {
        self.ask_from("127.0.0.1:4000", &query(name, kind, true)).map(|answer| brief(&answer))
    }

    /// What the resolver sends; the sockets that it wishes for are there at once.
    fn sent(&mut self) -> Option<(Path, Vec<u8>)> {
        let mut out = [0; 1_500];
        loop {
            let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
            if let Some((path, len)) = self.dns.resolver.poll_transmit(&mut cx, &mut out) {
                return Some((path, out[..len].to_vec()));
            }
            if let Wish::Bind(socket, _) = self.dns.resolver.poll_wish()? {
                self.dns.resolver.on_bound(&mut cx, socket, Ok(()));
            }
        }
    }

    /// The forwarder answers the next question with these addresses, or that there is no such name.
    fn forward(&mut self, addresses: &[[u8; 4]]) {
        let (path, question) = self.sent().expect("the forwarder is asked");
        let answer = answer_to(&question, addresses);
        let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
        self.dns.resolver.on_datagram(&mut cx, path, &answer);
        let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
        while self.dns.poll_event(&mut cx).is_some() {}
    }

    /// The forwarder answers the next question with an alias, and an address there.
    fn forward_alias(&mut self, from: &str, to: &str) {
        let (path, question) = self.sent().expect("the forwarder is asked");
        let asked = Message::parse(&question).unwrap();
        let mut out = [0; 512];
        let mut writer = Writer::new(&mut out, asked.header.id, Flags(Flags::QR | Flags::RA)).unwrap();
        writer.question(asked.question.unwrap().name, Kind::A, CLASS_IN).unwrap();
        let [from, to] = [from, to].map(|name| Name::parse(name).unwrap());
        writer.record(Section::Answer, from.wire(), Kind::CNAME, 300, to.wire()).unwrap();
        writer.record(Section::Answer, to.wire(), Kind::A, 300, &[192, 0, 2, 9]).unwrap();
        let len = writer.finish();
        let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
        self.dns.resolver.on_datagram(&mut cx, path, &out[..len]);
        while self.dns.poll_event(&mut cx).is_some() {}
    }

    fn later(&mut self) -> Option<String> {
        let mut out = [0; 1_500];
        let mut cx = Self::cx(self.now, &mut self.rng, &mut self.buckets);
        match self.dns.poll_reply(&mut cx, &mut out)? {
            Outgoing::Datagram(_, len) => Some(brief(&out[..len])),
            Outgoing::Frame(_, frame) => frame.map(|frame| brief(&frame[2..])),
        }
    }

    fn stats(&self) -> Stats {
        self.dns.listener.as_ref().unwrap().stats
    }
}

fn world() -> World {
    World::new(Config::local())
}

fn query(name: &str, kind: Kind, edns: bool) -> Vec<u8> {
    let mut out = [0; 512];
    let mut writer = Writer::new(&mut out, 77, Flags(Flags::RD)).unwrap();
    let wire = wire_of(name);
    writer.question(&wire, kind, CLASS_IN).unwrap();
    if edns {
        writer.edns(4_096, Rcode::NOERROR, false, &[]).unwrap();
    }
    let len = writer.finish();
    out[..len].to_vec()
}

/// In the case as it is written.
fn wire_of(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn answer_to(question: &[u8], addresses: &[[u8; 4]]) -> Vec<u8> {
    let asked = Message::parse(question).unwrap();
    let (id, name) = (asked.header.id, asked.question.unwrap());
    let rcode = if addresses.is_empty() { 3 } else { 0 };
    let mut out = vec![0; 8_000];
    let mut writer = Writer::new(&mut out, id, Flags(Flags::QR | Flags::RD | Flags::RA | rcode)).unwrap();
    writer.question(name.name, name.kind, CLASS_IN).unwrap();
    let owner = Name::from_wire(name.name).unwrap();
    for address in addresses {
        writer.record(Section::Answer, owner.wire(), Kind::A, 300, address).unwrap();
    }
    if addresses.is_empty() {
        let soa = [b"\0\0".as_slice(), &[0; 16], &[0, 0, 0, 60]].concat();
        writer.record(Section::Authority, b"\0", Kind::SOA, 60, &soa).unwrap();
    }
    let len = writer.finish();
    out[..len].to_vec()
}

/// Response code, flags of interest, records of the answer section, and what is explained.
fn brief(answer: &[u8]) -> String {
    let message = Message::parse(answer).unwrap();
    assert_eq!(message.header.id, 77);
    assert!(message.header.flags.has(Flags::QR | Flags::RA));
    let mut text = message.header.flags.rcode().to_string();
    for (flag, name) in [(Flags::AA, " aa"), (Flags::TC, " tc")] {
        text += if message.header.flags.has(flag) { name } else { "" };
    }
    for record in message.records().map(Result::unwrap).filter(|record| record.section == Section::Answer) {
        let owner = record.owner.read().unwrap();
        let data = match record.kind {
            Kind::CNAME => record.name_in_data(0).read().unwrap().to_string(),
            _ => format!("{:?}", record.data()),
        };
        text += &format!(" {owner} {} {} {data};", record.ttl, record.kind);
    }
    let edns = message.edns().unwrap();
    if let Some(error) = edns.and_then(|edns| edns.option(OptionCode::EXTENDED_ERROR)) {
        text += &format!(" ({} {})", error[1], String::from_utf8_lossy(&error[2..]));
    }
    text
}

#[test]
fn what_nobody_knows_is_asked_for_once_and_remembered() {
    let mut world = world();
    assert_eq!(world.ask("far.example", Kind::A), None);
    assert_eq!(world.ask("FAR.example", Kind::A), None, "it shares the question");
    world.forward(&[[192, 0, 2, 9]]);
    assert!(world.sent().is_none(), "asked once");
    let answer = "NOERROR far.example. 300 A [192, 0, 2, 9];";
    assert_eq!(
        (world.later(), world.later(), world.later()),
        (Some(answer.into()), Some(answer.into()), None)
    );
    world.now += Duration::from_secs(100);
    assert_eq!(world.ask("far.example", Kind::A).unwrap(), "NOERROR far.example. 200 A [192, 0, 2, 9];");
    assert_eq!((world.stats().asked, world.stats().from_memory, world.stats().answered), (2, 1, 3));
    let log: Vec<_> =
        world.dns.listener.as_ref().unwrap().log.iter().map(|one| one.facts.from.name()).collect();
    assert_eq!(log, ["memory", "forwarder", "forwarder"]);
}

#[test]
fn the_name_comes_back_in_the_case_it_was_asked_in() {
    let mut world = world();
    let _ = world.ask("far.example", Kind::A);
    world.forward(&[[192, 0, 2, 9]]);
    let _ = world.later();
    for edns in [true, false] {
        let asked = query("FaR.eXample", Kind::A, edns);
        let answer = world.ask_from("127.0.0.1:4000", &asked).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.question.unwrap().name, wire_of("FaR.eXample"));
        assert_eq!(message.edns().unwrap().is_some(), edns);
    }
}

#[test]
fn zones_are_answered_and_their_aliases_followed_outside() {
    let mut world = world();
    assert_eq!(world.ask("a.zone.test", Kind::A).unwrap(), "NOERROR aa a.zone.test. 60 A [192, 0, 2, 1];");
    assert_eq!(world.ask("no.zone.test", Kind::A).unwrap(), "NXDOMAIN aa");
    assert_eq!(world.ask("out.zone.test", Kind::A), None);
    world.forward(&[[192, 0, 2, 9]]);
    let whole = "NOERROR aa out.zone.test. 60 CNAME far.example.; far.example. 300 A [192, 0, 2, 9];";
    assert_eq!(world.later().unwrap(), whole);
    assert_eq!(world.ask("out.zone.test", Kind::A).unwrap(), whole, "from memory, at once");
    assert_eq!(
        world.ask("out.zone.test", Kind::CNAME).unwrap(),
        "NOERROR aa out.zone.test. 60 CNAME far.example.;"
    );
}

#[test]
fn policy_is_done_explained_and_told() {
    let mut world = world();
    let mut told = Vec::new();
    for (name, expected) in [
        ("bad.example", Some("NXDOMAIN aa (15 blocked: bad.example)")),
        ("empty.example", Some("NOERROR aa (15 blocked: empty.example)")),
        ("gone.example", None),
        ("tcp.example", Some("NOERROR aa tc (15 blocked: tcp.example)")),
        (
            "forged.example",
            Some("NOERROR aa forged.example. 5 A [192, 0, 2, 66]; (4 blocked: forged.example)"),
        ),
    ] {
        assert_eq!(world.ask(name, Kind::A).as_deref(), expected, "{name}");
        let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
        while let Some(event) = world.dns.poll_event(&mut cx) {
            let Event::Threat(facts) = event else { panic!("{event:?}") };
            told.push(format!("{} {} {}", facts.name, facts.rule, facts.action.name()));
        }
    }
    assert_eq!(told.len(), 5);
    assert_eq!(told[2], "gone.example. gone.example drop");
    assert!(world.sent().is_none(), "nobody else is asked");
    assert_eq!(world.ask("alias.example", Kind::A), None);
    world.forward(&[[192, 0, 2, 9]]);
    assert_eq!(
        world.later().unwrap(),
        "NOERROR aa alias.example. 5 CNAME far.example.; far.example. 300 A [192, 0, 2, 9]; (4 blocked: alias.example)"
    );
}

#[test]
fn a_rule_minds_where_an_alias_leads() {
    let mut world = world();
    let _ = world.ask("www.example", Kind::A);
    world.forward_alias("www.example", "bad.example");
    let denied = "NXDOMAIN aa www.example. 300 CNAME bad.example.; (15 blocked: bad.example)";
    assert_eq!(world.later().unwrap(), denied);
    assert_eq!(world.ask("www.example", Kind::A).unwrap(), denied, "from memory as well");
}

/// A client that validates for himself.
fn validating(name: &str, kind: Kind) -> Vec<u8> {
    let mut out = [0; 512];
    let mut writer = Writer::new(&mut out, 77, Flags(Flags::RD | Flags::CD | Flags::AD)).unwrap();
    writer.question(&wire_of(name), kind, CLASS_IN).unwrap();
    writer.edns(4_096, Rcode::NOERROR, true, &[]).unwrap();
    let len = writer.finish();
    out[..len].to_vec()
}

/// Two aliases and an address, each with a signature of example; all of it validated, it says.
fn signed_alias(question: &[u8], to: &str) -> Vec<u8> {
    let asked = Message::parse(question).unwrap();
    let question = asked.question.unwrap();
    let [first, to] = ["first.example", to].map(|name| Name::parse(name).unwrap());
    let owner = Name::from_wire(question.name).unwrap();
    let mut out = [0; 1_000];
    let mut writer =
        Writer::new(&mut out, asked.header.id, Flags(Flags::QR | Flags::RA | Flags::AD)).unwrap();
    writer.question(question.name, question.kind, CLASS_IN).unwrap();
    for (owner, kind, data) in [
        (&owner, Kind::CNAME, first.wire()),
        (&first, Kind::CNAME, to.wire()),
        (&to, Kind::A, &[192, 0, 2, 9]),
    ] {
        let signature = [&[0, kind.0 as u8, 13, 2], &[0; 14][..], b"\x07example\0", &[7; 64]].concat();
        writer.record(Section::Answer, owner.wire(), kind, 300, data).unwrap();
        writer.record(Section::Answer, owner.wire(), Kind::RRSIG, 300, &signature).unwrap();
    }
    let len = writer.finish();
    out[..len].to_vec()
}

#[test]
fn who_validates_for_himself_has_signatures_and_nobodys_word() {
    let mut world = world();
    let client = "127.0.0.1:4000";
    let forward = |world: &mut World, to| {
        let (path, question) = world.sent().expect("the forwarder is asked");
        let answer = signed_alias(&question, to);
        let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
        world.dns.resolver.on_datagram(&mut cx, path, &answer);
        while world.dns.poll_event(&mut cx).is_some() {}
        let edns = Message::parse(&question).unwrap().edns().unwrap();
        (edns.unwrap().dnssec_ok, world.later().expect("it is answered"))
    };
    for (name, kind, to, expected) in [
        ("www.example", Kind::A, "far.example", "CNAME RRSIG CNAME RRSIG A RRSIG OPT"),
        ("out.zone.test", Kind::A, "more.example", "CNAME CNAME RRSIG CNAME RRSIG A RRSIG OPT"),
        ("www.example", Kind::RRSIG, "far.example", "CNAME CNAME RRSIG OPT"),
        // A rule minds where it leads; what it says is not signed.
        ("sub.example", Kind::A, "bad.example", "CNAME RRSIG CNAME SOA OPT"),
        ("sub.example", Kind::RRSIG, "bad.example", "CNAME CNAME SOA OPT"),
    ] {
        assert_eq!(world.ask_from(client, &validating(name, kind)), None);
        assert!(forward(&mut world, to).0, "DO is handed on");
        let answer = world.ask_from(client, &validating(name, kind)).expect("it is remembered");
        let message = Message::parse(&answer).unwrap();
        let flags = message.header.flags;
        assert!(flags.has(Flags::CD) && !flags.has(Flags::AD), "we have not validated it: {flags:?}");
        assert!(message.edns().unwrap().unwrap().dnssec_ok, "DO comes back (RFC 3225)");
        let found: Vec<_> = message.records().map(|record| record.unwrap().kind.to_string()).collect();
        assert_eq!(found.join(" "), expected, "{name} {kind}");
        if kind == Kind::A {
            assert_eq!(world.ask_from(client, &query(name, kind, true)), None, "others are answered apart");
            let (dnssec_ok, answer) = forward(&mut world, to);
            assert!(!dnssec_ok && !answer.contains("RRSIG"), "nobody asked for it: {answer}");
        }
    }
}

#[test]
fn a_rule_that_leads_on_owes_a_connection_its_answer_once() {
    let mut world = world();
    let mut client = Client::new([127, 0, 0, 1].into(), world.now);
    let asked = query("www.example", Kind::A, true);
    let framed = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
    let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
    let dns = &mut world.dns;
    let serve = |query: &[u8]| dns.on_stream_query(&mut cx, Token::FIRST, [127, 0, 0, 1].into(), query);
    assert_eq!(client.on_bytes(world.now, &framed, serve), Ok(framed.len()));
    client.on_eof();
    world.forward_alias("www.example", "alias.example");
    let mut sent = crate::base::SendQueue::new(2_000);
    let mut hand_on = |world: &mut World| {
        let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
        while let Some(Outgoing::Frame(_, answer)) = world.dns.poll_reply(&mut cx, &mut []) {
            client.on_answer(world.now, answer);
        }
        client.poll_write(&mut sent);
        (!sent.is_empty(), client.is_over())
    };
    assert_eq!(hand_on(&mut world), (false, false), "where the rule leads is asked for first");
    world.forward(&[[192, 0, 2, 9]]);
    assert_eq!(hand_on(&mut world), (true, false));
}

#[test]
fn rules_mind_aliases_of_zones_and_lead_into_zones() {
    let mut world = world();
    for (name, expected) in [
        (
            "toforged.zone.test",
            "NOERROR aa toforged.zone.test. 60 CNAME forged.example.; forged.example. 5 A [192, 0, 2, 66]; \
             (4 blocked: forged.example)",
        ),
        (
            "home.example",
            "NOERROR aa home.example. 5 CNAME a.zone.test.; a.zone.test. 60 A [192, 0, 2, 1]; (4 blocked: home.example)",
        ),
        ("onion.zone.test", "NXDOMAIN aa onion.zone.test. 60 CNAME x.onion.;"),
    ] {
        assert_eq!(world.ask(name, Kind::A).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(world.ask("togone.zone.test", Kind::A), None);
    assert!(world.sent().is_none(), "nobody else is asked");
    assert_eq!(world.ask("lets.through.zone.test", Kind::A), None, "with where it leads");
    world.forward(&[[192, 0, 2, 9]]);
    assert_eq!(
        world.later().unwrap(),
        "NOERROR aa lets.through.zone.test. 60 CNAME forged.example.; forged.example. 300 A [192, 0, 2, 9];"
    );
    // Out of the zone again.
    assert_eq!(world.ask("further.example", Kind::A), None);
    world.forward(&[[192, 0, 2, 9]]);
    assert_eq!(
        world.later().unwrap(),
        "NOERROR aa further.example. 5 CNAME out.zone.test.; out.zone.test. 60 CNAME far.example.; \
         far.example. 300 A [192, 0, 2, 9]; (4 blocked: further.example)"
    );
}

#[test]
fn what_is_no_query_is_refused_or_not_answered() {
    let mut world = world();
    let good = query("far.example", Kind::A, true);
    let mut ask = |data: &[u8]| world.ask_from("127.0.0.1:4000", data);
    let rcode = |answer: Option<Vec<u8>>| answer.map(|answer| answer[3] & 15);
    for len in 0..12 {
        assert_eq!(ask(&good[..len]), None, "no header");
    }
    let changed = |at: usize, byte: u8| {
        let mut data = good.clone();
        data[at] = byte;
        data
    };
    assert_eq!(ask(&changed(2, 0x81)), None, "a response");
    assert_eq!(rcode(ask(&changed(2, 0x29))), Some(4), "UPDATE");
    assert_eq!(rcode(ask(&changed(5, 0))), Some(1), "no question");
    assert_eq!(rcode(ask(&changed(5, 2))), Some(1), "two questions");
    assert_eq!(rcode(ask(&changed(7, 1))), Some(1), "an answer in it");
    for len in 12..good.len() {
        assert_eq!(rcode(ask(&good[..len])), Some(1), "cut at {len}");
    }
    for (kind, expected) in [(Kind::AXFR, 5), (Kind(251), 5), (Kind::OPT, 4), (Kind(250), 4)] {
        assert_eq!(rcode(ask(&query("far.example", kind, true))), Some(expected), "{kind}");
    }
    let class = good.len() - 11 - 1;
    assert_eq!(rcode(ask(&changed(class, 3))), Some(5), "CHAOS");
    let version = good.len() - 11 + 6;
    let answer = ask(&changed(version, 1)).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().edns().unwrap().unwrap().rcode_high, 1, "BADVERS");
    assert!(world.sent().is_none());
}

#[test]
fn only_who_may_ask_is_answered() {
    let mut world = world();
    let asked = query("a.zone.test", Kind::A, true);
    let strange = world.ask_from("198.51.100.1:4000", &asked).unwrap();
    assert!(brief(&strange).starts_with("REFUSED (18"), "{}", brief(&strange));
    assert_eq!(world.ask_from("198.51.100.1:4000", &asked[..20]), None);
    assert!(world.ask_from("192.168.7.7:4000", &asked).is_some());
    assert_eq!(world.stats().refused, 1);
    let no_recursion = [&asked[..2], &[0], &asked[3..]].concat();
    assert!(world.ask_from("127.0.0.1:1", &no_recursion).is_some_and(|answer| answer[3] & 15 == 0));
    let mut other = query("far.example", Kind::A, true);
    other[2] = 0;
    assert!(
        world.ask_from("127.0.0.1:1", &other).is_some_and(|answer| brief(&answer).starts_with("REFUSED (20"))
    );
}

#[test]
fn answers_are_cut_to_what_the_client_takes() {
    let mut world = world();
    let _ = world.ask("big.example", Kind::A);
    let many: Vec<_> = (0..60).map(|nth| [192, 0, 2, nth]).collect();
    world.forward(&many);
    assert!(world.later().is_some_and(|answer| !answer.contains("tc")), "992 bytes fit into 1232");
    let plain = world.ask_from("127.0.0.1:1", &query("big.example", Kind::A, false)).unwrap();
    assert_eq!((brief(&plain).as_str(), plain.len() <= UDP_MIN), ("NOERROR tc", true));
    let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
    let client = [127, 0, 0, 1].into();
    let served =
        world.dns.on_stream_query(&mut cx, Token::FIRST, client, &query("big.example", Kind::A, false));
    let Served::Now(whole) = served else { panic!("{served:?}") };
    assert_eq!(Message::parse(&whole[2..]).unwrap().header.counts[0], 60);
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let mut world = world();
    assert_eq!(world.ask("far.example", Kind::A), None);
    let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
    world.dns.resolver.stop(cx.now);
    while world.dns.poll_event(&mut cx).is_some() {}
    assert_eq!(world.later().unwrap(), "SERVFAIL (14 shutting down)");
}

#[test]
fn a_client_that_asks_too_much_is_held_back_unless_it_proves_itself() {
    let mut world = World::new(Config { rate: 100, ..Config::local() });
    let asked = query("a.zone.test", Kind::A, true);
    let answers = |world: &mut World, asked: &[u8], count: usize| {
        let all = (0..count).filter_map(|_| world.ask_from("192.168.0.9:4000", asked));
        all.fold((0, 0), |(whole, cut), answer| match answer[2] & 2 {
            0 => (whole + 1, cut),
            _ => (whole, cut + 1),
        })
    };
    assert_eq!(
        answers(&mut world, &asked, 50),
        (10, 20),
        "the same answer, a tenth of the rate; half are cut"
    );
    assert_eq!(answers(&mut world, &asked, 99), (0, 25), "no more than the rate is looked at");
    world.now += Duration::from_secs(10);
    let mut with_cookie = [0; 512];
    let mut cookie = vec![9; 8];
    for _ in 0..2 {
        let mut writer = Writer::new(&mut with_cookie, 77, Flags(Flags::RD)).unwrap();
        writer.question(&wire_of("a.zone.test"), Kind::A, CLASS_IN).unwrap();
        writer.edns(1_232, Rcode::NOERROR, false, &[(OptionCode::COOKIE, &cookie)]).unwrap();
        let len = writer.finish();
        let answer = world.ask_from("192.168.0.9:4000", &with_cookie[..len]).unwrap();
        let edns = Message::parse(&answer).unwrap().edns().unwrap().unwrap();
        cookie = edns.option(OptionCode::COOKIE).unwrap().to_vec();
        if len > 60 {
            assert_eq!(answers(&mut world, &with_cookie[..len], 90), (90, 0), "with our cookie");
        }
    }
}

#[test]
fn names_made_up_below_a_zone_are_one_answer() {
    let mut world = World::new(Config { rate: 100, ..Config::local() });
    let mut ask = |name: String| world.ask_from("192.168.0.9:4000", &query(&name, Kind::A, true));
    let whole = |answer: Option<Vec<u8>>| answer.is_some_and(|answer| answer[2] & 2 == 0);
    let denied = (0..40).filter(|nth| whole(ask(format!("a.n{nth}.none.zone.test")))).count();
    assert_eq!(denied, 10, "a tenth of the rate");
}

#[test]
fn nobody_takes_all_the_room_to_wait() {
    let mut world = World::new(Config { rate: 0, ..Config::local() });
    let flood = |world: &mut World, client: &str, count: usize| {
        let path = Path { socket: SocketId(1), local: None, remote: client.parse().unwrap() };
        let before = world.dns.listener.as_ref().unwrap().waiting();
        for nth in 0..count {
            let asked = query(&format!("n{nth}.far.example"), Kind::A, false);
            let mut cx = World::cx(world.now, &mut world.rng, &mut world.buckets);
            assert_eq!(world.dns.on_query(&mut cx, path, &asked, &mut [0; 1_500]), 0);
        }
        let listener = world.dns.listener.as_ref().unwrap();
        listener.check_invariants();
        listener.waiting() - before
    };
    assert_eq!(flood(&mut world, "127.0.0.1:4000", PENDING_MAX), PENDING_MAX / 2, "as many as are left");
    assert_eq!(flood(&mut world, "[fd00::1]:4000", PENDING_MAX), PENDING_MAX / 4);
    assert_eq!(flood(&mut world, "[fd00::2]:4000", 9), 0, "of the same network");
    assert_eq!(flood(&mut world, "192.168.0.9:4000", 9), 9, "others ask on");
}

#[test]
fn nobody_takes_all_connections() {
    let mut world = world();
    let listener = world.dns.listener.as_mut().unwrap();
    let mut take = |ip: &str, count: usize| {
        let taken = (0..count).filter(|_| listener.admit(ip.parse().unwrap())).count();
        listener.check_invariants();
        taken
    };
    assert_eq!(take("127.0.0.1", 2_000), CONNECTIONS_MAX / 2, "as many as are left");
    assert_eq!(take("fd00::1", 2_000), CONNECTIONS_PER_CLIENT);
    assert_eq!((take("fd00::2", 9), take("fd00:0:0:1::1", 9)), (0, 9), "a /64 is one client");
    assert_eq!(take("192.0.2.1", 1), 0, "who may not ask");
    let others: usize = (1..200).map(|nth| take(&format!("10.0.0.{nth}"), 2_000)).sum();
    assert_eq!(
        others + CONNECTIONS_MAX / 2 + CONNECTIONS_PER_CLIENT + 9,
        CONNECTIONS_MAX,
        "and the last is somebody's"
    );
}

#[test]
fn what_is_cut_is_no_longer_than_its_question() {
    let mut world = world();
    assert_eq!(world.ask("far.example", Kind::A), None);
    world.forward(&[[192, 0, 2, 9]; 200]);
    world.later().unwrap();
    let origin = Name::parse("big.test").unwrap();
    let many: String = (0..200)
        .map(|nth| format!("all A 192.0.2.{nth}\nsub NS ns{nth}.sub\nns{nth}.sub A 192.0.2.1\n"))
        .collect();
    let mut zones = Zones::new();
    zones
        .apply(ZoneChange::Create {
            origin,
            text: format!("$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n{many}"),
        })
        .unwrap();
    world.dns.serve_zones(zones);
    for (name, edns) in [("far.example", true), ("all.big.test", true), ("all.big.test", false)] {
        let asked = query(name, Kind::A, edns);
        let answer = world.ask_from("127.0.0.1:4000", &asked).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert!(message.header.flags.has(Flags::TC), "{name}");
        assert_eq!(message.header.counts[..2], [0, 0], "{name}");
        assert_eq!(answer.len(), asked.len(), "{name}");
    }
    // Where the zone was given away, to who asks for that.
    let mut asked = query("x.sub.big.test", Kind::A, false);
    asked[2] &= !1;
    let answer = world.ask_from("127.0.0.1:4000", &asked).unwrap();
    assert_eq!(answer.len(), asked.len());
}

#[test]
fn where_a_list_lies_is_not_told() {
    for (list, told) in [
        ("/home/me/secret/ads.txt", "ads.txt"),
        ("ads", "ads"),
        ("https://me:word@lists.example/token-77/ads?key=1", "lists.example"),
        ("C:\\Users\\me\\ads", "ads"),
    ] {
        assert_eq!(serve::public_name(list), told);
    }
    let list = List::parse("/home/me/secret/ads.txt", b"gone.test\n").unwrap();
    let mut world = world();
    world.dns.policy.replace(Arc::new(list)).unwrap();
    let said = world.ask("gone.test", Kind::A).unwrap();
    assert!(said.contains("ads.txt: ") && !said.contains("secret"), "{said}");
}

#[test]
fn a_cookie_of_a_wrong_length_is_a_mistake() {
    let mut world = world();
    for len in 0..48_usize {
        let mut out = [0; 512];
        let mut writer = Writer::new(&mut out, 77, Flags(Flags::RD)).unwrap();
        writer.question(&wire_of("a.zone.test"), Kind::A, CLASS_IN).unwrap();
        writer.edns(1_232, Rcode::NOERROR, false, &[(OptionCode::COOKIE, &[7; 48][..len])]).unwrap();
        let size = writer.finish();
        let answer = world.ask_from("127.0.0.1:4000", &out[..size]).unwrap();
        let rcode = Message::parse(&answer).unwrap().header.flags.rcode();
        let is_right = len == 8 || (16..=40).contains(&len);
        assert_eq!(rcode, if is_right { Rcode::NOERROR } else { Rcode::FORMERR }, "{len}");
    }
}

#[test]
fn our_own_question_come_back_is_noticed() {
    let mut world = world();
    assert_eq!(world.ask("far.example", Kind::A), None);
    let (_, question) = world.sent().unwrap();
    assert_eq!(world.ask_from("127.0.0.1:4000", &question), None);
    assert_eq!(world.stats().loops, 1);
}

quickcheck::quickcheck! {
    fn whatever_comes_is_answered_soundly_or_not_at_all(bytes: Vec<u8>, at: usize, cut: usize) -> bool {
        let mut world = world();
        let mut data = query("a.zone.test", Kind::A, true);
        let start = at % data.len();
        let end = data.len().min(start + bytes.len());
        data[start..end].copy_from_slice(&bytes[..end - start]);
        data.truncate(data.len() - cut % 3);
        match world.ask_from("127.0.0.1:4000", &data) {
            None => true,
            Some(answer) => {
                let message = Message::parse(&answer).unwrap();
                answer[..2] == data[..2]
                    && message.header.flags.has(Flags::QR)
                    && message.records().all(|record| record.is_ok())
            }
        }
    }
}
