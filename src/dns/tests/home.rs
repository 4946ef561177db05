//! Aliases of others that lead here, special names, forwarders of suffixes, private addresses.

use super::*;
use crate::dns::zones::{ZoneChange, Zones};

const ZONE: &str = "$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\nnas A 192.0.2.77\n\
    away CNAME far.example.\nsub NS ns.elsewhere.\n";

/// A room with a zone `home.lan`, a hosts file and one forwarder.
struct Room {
    world: World,
    dns: Dns,
}

impl Room {
    fn new(config: Config) -> Self {
        let mut world = World::with(config);
        let mut dns = Dns::new(std::mem::replace(
            &mut world.resolver,
            Resolver::new(Config::new(Vec::new()), 0, &mut Rng::seeded(2)),
        ));
        let mut zones = Zones::new();
        zones.apply(ZoneChange::Create { origin: name("home.lan"), text: ZONE.to_owned() }).unwrap();
        dns.serve_zones(zones);
        Self { world, dns }
    }

    /// What comes of a question if forwarders answer as `serve` says, and what they were asked.
    fn ask(
        &mut self,
        text: &str,
        kind: Kind,
        serve: &dyn Fn(&mut Writer<'_>, &str),
    ) -> (String, Vec<String>) {
        let user = User::Command(1);
        let dns = &mut self.dns;
        self.world.with_cx(|_, cx| dns.resolve(cx, (&name(text), kind, Variant::default()), user));
        let mut asked = Vec::new();
        for _ in 0..30 {
            let dns = &mut self.dns;
            if let Some(event) = self.world.with_cx(|_, cx| dns.poll_event(cx)) {
                let Event::Resolved(_, resolved) = event else { continue };
                let told = match &resolved.result {
                    Ok(given) => {
                        let all: Vec<_> = given.answer.records().map(|record| brief(&record)).collect();
                        format!("{} {all:?} {}", given.answer.rcode, given.source)
                    }
                    Err(failure) => format!("{failure:?}"),
                };
                return (told, asked);
            }
            std::mem::swap(&mut self.world.resolver, &mut self.dns.resolver);
            for left in self.world.turn() {
                let question = Message::parse(&left.data).unwrap().question.unwrap();
                let at = Name::from_wire(question.name).unwrap().to_string();
                self.world.receive(left.path, &response(&left.data, 0, &|writer| serve(writer, &at)));
                asked.push(format!("{at} {}", left.path.remote.ip()));
            }
            std::mem::swap(&mut self.world.resolver, &mut self.dns.resolver);
        }
        panic!("the question does not end: {asked:?}");
    }
}

fn config() -> Config {
    Config { hosts: Hosts::parse("10.0.0.9 box"), ..Config::new(vec![forwarder(1)]) }
}

#[test]
fn a_forwarders_alias_into_what_is_ours_is_answered_here() {
    for (target, expected) in [
        ("nas.home.lan", "NOERROR [0, 77] zone"),
        ("none.home.lan", "NXDOMAIN [0] zone"),
        ("box", "NOERROR [0, 9] hosts"),
        ("localhost", "NOERROR [0, 1] hosts"),
        ("x.onion", "NXDOMAIN [0] zone"),
        ("x.invalid", "NXDOMAIN [0] zone"),
        ("7.1.168.192.in-addr.arpa", "NXDOMAIN [0] zone"),
        ("nas.home.arpa", "NXDOMAIN [0] zone"),
    ] {
        // With and without what the forwarder thinks is there.
        for with_end in [false, true] {
            let mut room = Room::new(config());
            let serve = |writer: &mut Writer<'_>, at: &str| {
                cname(writer, at, target);
                if with_end {
                    a(target, 60, 66)(writer);
                }
            };
            let (told, asked) = room.ask("www.example", Kind::A, &serve);
            assert_eq!(
                (told.as_str(), asked),
                (expected, vec!["www.example. 127.0.0.1".to_owned()]),
                "{target}"
            );
            // The same again, from memory.
            let (told, asked) = room.ask("www.example", Kind::A, &serve);
            assert_eq!((told.as_str(), asked.len()), (expected, 0), "{target}");
        }
    }
}

/// A zone that has the name, but not of this type, is not asked past.
#[test]
fn a_type_that_ours_lacks_is_not_asked_of_others() {
    let mut room = Room::new(config());
    let (told, asked) = room.ask("www.example", Kind::AAAA, &|writer, at| cname(writer, at, "nas.home.lan"));
    assert_eq!((told.as_str(), asked.len()), ("NOERROR [0] zone", 1));
}

#[test]
fn what_a_zone_gave_away_is_asked_for() {
    let mut room = Room::new(config());
    let (told, asked) = room.ask("www.example", Kind::A, &|writer, at| match at {
        "www.example." => cname(writer, at, "a.sub.home.lan"),
        _ => a(at, 60, 7)(writer),
    });
    assert_eq!(told, "NOERROR [0, 7] 127.0.0.1:53");
    assert_eq!(asked, ["www.example. 127.0.0.1", "a.sub.home.lan. 127.0.0.1"]);
}

#[test]
fn an_alias_that_stays_outside_is_followed_as_before() {
    let mut room = Room::new(config());
    let (told, asked) = room.ask("www.example", Kind::A, &|writer, at| match at {
        "www.example." => cname(writer, at, "end.example"),
        _ => a(at, 60, 7)(writer),
    });
    assert_eq!((told.as_str(), asked.len()), ("NOERROR [0, 7] 127.0.0.1:53", 2));
}

#[test]
fn aliases_to_and_fro_come_to_an_end() {
    let mut room = Room::new(config());
    let (told, asked) = room.ask("away.home.lan", Kind::A, &|writer, at| cname(writer, at, "away.home.lan"));
    assert_eq!(told, "Chain");
    assert!(asked.len() < 20, "{asked:?}");
}

#[test]
fn a_suffix_has_forwarders_of_its_own() {
    let own = |host, suffix: &str| ForwarderConfig { suffix: Some(name(suffix)), ..forwarder(host) };
    let mut room = Room::new(Config::new(vec![forwarder(1), own(2, "corp.test"), own(3, "10.in-addr.arpa")]));
    for (text, server) in [("a.corp.test", 2), ("a.test", 1), ("1.0.0.10.in-addr.arpa", 3)] {
        let (_, asked) = room.ask(text, Kind::A, &|writer, at| a(at, 60, 7)(writer));
        assert_eq!(asked, [format!("{text}. 127.0.0.{server}")]);
    }
    // Where an alias leads is asked of those who are responsible there.
    let (told, asked) = room.ask("www.example", Kind::A, &|writer, at| match at {
        "www.example." => cname(writer, at, "b.corp.test"),
        _ => a(at, 60, 7)(writer),
    });
    assert_eq!(told, "NOERROR [0, 7] memory", "what was asked for just now");
    assert_eq!(asked, ["www.example. 127.0.0.1", "b.corp.test. 127.0.0.2"]);
    // What others say of it does not count.
    let (told, asked) = room.ask("more.example", Kind::A, &|writer, at| match at {
        "more.example." => {
            cname(writer, at, "c.corp.test");
            a("c.corp.test", 60, 66)(writer);
        }
        _ => a(at, 60, 8)(writer),
    });
    assert_eq!(told, "NOERROR [0, 8] 127.0.0.2:53");
    assert_eq!(asked, ["more.example. 127.0.0.1", "c.corp.test. 127.0.0.2"]);
}

#[test]
fn without_a_forwarder_for_it_a_name_fails_at_once() {
    let own = ForwarderConfig { suffix: Some(name("corp.test")), ..forwarder(1) };
    let mut room = Room::new(Config::new(vec![own]));
    assert_eq!(room.ask("www.example", Kind::A, &|_, _| {}), ("NoForwarder".to_owned(), Vec::new()));
}

#[test]
fn private_addresses_of_public_names_are_left_out_where_that_is_wanted() {
    let private = |writer: &mut Writer<'_>, at: &str| {
        let mut put =
            |ip: [u8; 4]| writer.record(Section::Answer, name(at).wire(), Kind::A, 60, &ip).unwrap();
        put([192, 168, 1, 1]);
        put([9, 9, 9, 7]);
        put([100, 64, 0, 2]);
        put([169, 254, 169, 254]);
    };
    let all = "NOERROR [1, 7, 2, 254] 127.0.0.1:53";
    assert_eq!(Room::new(config()).ask("www.example", Kind::A, &private).0, all, "off by default");
    let rebinding = Some(Rebinding { allowed: vec![name("plex.direct")] });
    let own = ForwarderConfig { suffix: Some(name("corp.test")), ..forwarder(2) };
    let config = Config { rebinding, ..Config::new(vec![forwarder(1), own]) };
    let mut room = Room::new(config);
    assert_eq!(room.ask("www.example", Kind::A, &private).0, "NOERROR [7] 127.0.0.1:53");
    assert_eq!(room.ask("a.plex.direct", Kind::A, &private).0, all);
    assert_eq!(room.ask("a.corp.test", Kind::A, &private).0, all.replace("0.1:53", "0.2:53"));
    for six in ["fd00::1", "fe80::1", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"] {
        let ip: std::net::Ipv6Addr = six.parse().unwrap();
        let serve = |writer: &mut Writer<'_>, at: &str| {
            writer.record(Section::Answer, name(at).wire(), Kind::AAAA, 60, &ip.octets()).unwrap();
        };
        let (told, _) = room.ask(&format!("n{}.example", ip.to_bits() % 97), Kind::AAAA, &serve);
        assert_eq!(told, "NOERROR [] 127.0.0.1:53", "{six}");
    }
    // An alias leads to a private address all the same.
    let (told, _) = room.ask("alias.example", Kind::A, &|writer, at| {
        cname(writer, at, "in.example");
        private(writer, "in.example");
    });
    assert_eq!(told, "NOERROR [0, 7] 127.0.0.1:53");
    let hint = [&[0, 1, 0, 0, 4, 0, 8][..], &[9, 9, 9, 9, 10, 0, 0, 1]].concat();
    let (told, _) = room.ask("svc.example", Kind::HTTPS, &|writer, at| {
        writer.record(Section::Answer, name(at).wire(), Kind::HTTPS, 60, &hint).unwrap();
    });
    assert_eq!(told, "NOERROR [] 127.0.0.1:53");
    assert_eq!(room.dns.resolver.stats().rebinding, 8);
}
