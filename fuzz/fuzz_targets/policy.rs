//! Response policy: any list, what its rules say, and what is answered for them.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;

use dht_hunter::base::Instant;
use dht_hunter::dns::policy::{Action, List, Policy, RpzUpdate};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let zone = [b"$TTL 5\n".as_slice(), input].concat();
    for text in [input, &zone] {
        let Ok(list) = List::parse("list", text) else { continue };
        if text.starts_with(b"\x1f\x8b") {
            continue;
        }
        let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count();
        let report = list.report();
        assert!(report.skipped_lines.iter().all(|line| (1..=lines).contains(&(*line as usize))));
        assert!(list.rules() <= text.len() && report.skipped_lines.len() <= report.skipped);
        assert_eq!((list.added_to(&list), list.bytes() <= 600 * text.len() + 4_096), (0, true));
        judge(list, text);
    }
});

fn judge(list: List, text: &[u8]) {
    let list = Arc::new(list);
    let again = List::parse("list", text).expect("as before");
    assert_eq!(RpzUpdate::between(Some(&list), &again).added, 0);
    let mut policy = Policy::default();
    policy.replace(list).expect("there is room");
    let words = text.split(|byte| byte.is_ascii_whitespace() || *byte == b'|' || *byte == b'^');
    let names = words.filter_map(|word| Name::parse(std::str::from_utf8(word).ok()?).ok());
    for name in
        names.take(30).flat_map(|name| [Name::from_wire(&[b"\x01x", name.wire()].concat()), Some(name)])
    {
        let Some(name) = name else { continue };
        for client in
            ["127.0.0.1", "::1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect("an address"))
        {
            let verdict = policy.judge(Instant(0), &name, client);
            policy.count(&verdict);
            let Some(hit) = verdict.hit else { continue };
            assert!(!policy.facts(&hit, &name, client).rule.is_empty());
            let mut out = [0; 512];
            let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).expect("there is room");
            writer.question(name.wire(), Kind::A, CLASS_IN).expect("there is room");
            let outcome = policy.answer(&hit, &name, Kind::A, &mut writer);
            assert_eq!(outcome.is_none(), matches!(hit.action, Action::Passthru | Action::Drop));
            let len = writer.finish();
            assert!(Message::parse(&out[..len]).expect("a message").records().all(|record| record.is_ok()));
        }
        policy.allow(Instant(0), &name, Instant(9)).expect("there is room");
        assert!(policy.judge(Instant(0), &name, IpAddr::from([127, 0, 0, 1])).hit.is_none());
        policy.forbid(&name);
    }
}
