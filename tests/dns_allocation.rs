//! Neither an answer from a zone nor a look into policy lists allocates.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::sync::Arc;

use allocation_counter::measure;
use dht_hunter::base::Instant;
use dht_hunter::dns::policy::{List, Policy};
use dht_hunter::dns::zones::{ZoneChange, Zones};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Name, Writer};

const ZONE: &str =
    "$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\n@ MX 1 a\na A 192.0.2.1\n*.w A 192.0.2.2\nsub NS ns.sub\n";
const LISTS: [&str; 2] =
    ["$TTL 5\n*.blocked.test CNAME .\n32.9.0.0.127.rpz-client-ip CNAME .\n", "||ads.test^\n"];

#[test]
fn an_answer_from_a_zone_allocates_nothing() {
    let mut zones = Zones::new();
    let origin = Name::parse("test").unwrap();
    zones.apply(ZoneChange::Create { origin, text: ZONE.to_owned() }).unwrap();
    let questions = [
        ("a.test", Kind::A),
        ("test", Kind::MX),
        ("x.w.test", Kind::A),
        ("no.test", Kind::A),
        ("x.sub.test", Kind::A),
    ];
    for (name, kind) in questions {
        let name = Name::parse(name).unwrap();
        let mut out = [0; 512];
        let mut len = 0;
        let allocated = measure(|| {
            let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).unwrap();
            writer.question(name.wire(), kind, CLASS_IN).unwrap();
            assert!(zones.answer(&name, kind, &mut writer).is_some());
            len = writer.finish();
        });
        assert!(len > 30 && allocated.count_total == 0, "{name} {kind}: {allocated:?}");
    }
}

#[test]
fn a_look_into_the_lists_allocates_nothing() {
    let mut policy = Policy::default();
    for (nth, text) in LISTS.into_iter().enumerate() {
        policy.replace(Arc::new(List::parse(&nth.to_string(), text.as_bytes()).unwrap())).unwrap();
    }
    let client: IpAddr = "127.0.0.1".parse().unwrap();
    for (name, is_hit) in [("a.blocked.test", true), ("x.y.ads.test", true), ("fine.test", false)] {
        let name = Name::parse(name).unwrap();
        let mut verdict = None;
        let allocated = measure(|| verdict = Some(policy.judge(Instant(0), &name, client)));
        assert_eq!((verdict.unwrap().hit.is_some(), allocated.count_total), (is_hit, 0), "{name}");
    }
}
