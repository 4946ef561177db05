//! Policy as a whole: from the text of lists to what is answered.

use super::*;
use crate::wire::dns::{CLASS_IN, Flags, Message, expand};

mod forms;

const RPZ: &str = "$TTL 60
$ORIGIN rpz.example.
@ SOA localhost. root.localhost. 1 3600 600 86400 30
@ NS localhost.
nx.test CNAME .
*.nx.test CNAME .
nodata.test CNAME *.
drop.test CNAME rpz-drop.
tcp.test CNAME rpz-tcp-only.
good.nx.test CNAME rpz-passthru.
old.test CNAME old.test.
local.test A 192.0.2.99
local.test A 192.0.2.98
local.test TXT why
walled.test CNAME garden.example.
*.walled.test CNAME *.garden.example.
32.7.0.0.127.rpz-client-ip CNAME rpz-drop.
24.0.2.0.10.rpz-client-ip CNAME .
8.0.0.0.10.rpz-client-ip A 192.0.2.1
128.1.zz.db8.2001.rpz-client-ip CNAME rpz-passthru.
32.zz.db8.2001.rpz-client-ip CNAME .
24.0.2.0.192.rpz-ip CNAME .
ns.evil.rpz-nsdname CNAME .
x.test CNAME rpz-future.
24.1.2.0.10.rpz-client-ip CNAME .
bad..name CNAME .
nx.test CNAME *.
";

fn list(name: &str, text: &str) -> Arc<List> {
    Arc::new(List::parse(name, text.as_bytes()).unwrap())
}

fn policy(texts: &[&str]) -> Policy {
    let mut policy = Policy::default();
    for (nth, text) in texts.iter().enumerate() {
        assert!(policy.replace(list(&format!("list{nth}"), text)).unwrap().is_none());
    }
    policy
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const NOW: Instant = Instant(1_000);
const CLIENT: &str = "198.51.100.1";

/// `list rule action` of the rule that decides.
fn judge(policy: &Policy, asked: &str, client: &str) -> String {
    let client = client.parse().unwrap();
    let Some(hit) = policy.judge(NOW, &name(asked), client).hit else { return String::new() };
    let facts = policy.facts(&hit, &name(asked), client);
    format!("{} {} {}", facts.list, facts.rule, facts.action.name())
}

/// Response code, then records.
fn answer(policy: &Policy, asked: &str, kind: Kind) -> Vec<String> {
    let hit = policy.judge(NOW, &name(asked), CLIENT.parse().unwrap()).hit.unwrap();
    let mut out = [0; 512];
    let mut writer = Writer::new(&mut out, 1, Flags(0)).unwrap();
    writer.question(name(asked).wire(), kind, CLASS_IN).unwrap();
    let Some(outcome) = policy.answer(&hit, &name(asked), kind, &mut writer) else { return Vec::new() };
    let len = writer.finish();
    let follow = outcome.follow.map_or_else(String::new, |name| format!(" {name}"));
    let mut lines = vec![format!("{}{follow}", outcome.rcode)];
    for record in Message::parse(&out[..len]).unwrap().records() {
        let record = record.unwrap();
        let mut data = Vec::new();
        expand(&record, &mut data).unwrap();
        lines.push(format!("{} {} {} {data:?}", record.owner.read().unwrap(), record.ttl, record.kind));
    }
    lines
}

#[test]
fn a_zone_says_what_is_done_about_names_and_clients() {
    let policy = policy(&[RPZ]);
    for (asked, client, expected) in [
        ("nx.test", CLIENT, "nx.test nxdomain"),
        ("a.b.nx.test", CLIENT, "*.nx.test nxdomain"),
        ("good.nx.test", CLIENT, "good.nx.test passthru"),
        ("nodata.test", CLIENT, "nodata.test nodata"),
        ("drop.test", CLIENT, "drop.test drop"),
        ("tcp.test", CLIENT, "tcp.test tcp-only"),
        ("old.test", CLIENT, "old.test passthru"),
        ("local.test", CLIENT, "local.test local-data"),
        ("good.nx.test", "127.0.0.7", "32.7.0.0.127.rpz-client-ip drop"),
        ("any.where", "10.0.2.9", "24.0.2.0.10.rpz-client-ip nxdomain"),
        ("any.where", "10.9.2.9", "8.0.0.0.10.rpz-client-ip local-data"),
        ("any.where", "::ffff:10.9.2.9", "8.0.0.0.10.rpz-client-ip local-data"),
        ("any.where", "2001:db8::1", "128.1.0.0.0.0.0.db8.2001.rpz-client-ip passthru"),
        ("any.where", "2001:db8::2", "32.0.0.0.0.0.0.db8.2001.rpz-client-ip nxdomain"),
    ] {
        assert_eq!(judge(&policy, asked, client), format!("list0 {expected}"), "{asked} {client}");
    }
    for (asked, client) in
        [("any.where", CLIENT), ("test", CLIENT), ("x.test", CLIENT), ("any.where", "2001:db9::1")]
    {
        assert_eq!(judge(&policy, asked, client), "", "{asked}");
    }
    let report = policy.lists().next().unwrap().0.report().clone();
    assert_eq!((report.format, report.unsupported, report.doubles), (Format::Rpz, 3, 1));
    // Bits behind the prefix, and a name that is none.
    assert_eq!((report.skipped, report.skipped_lines), (2, vec![25, 26]));
}

#[test]
fn what_a_zone_says_is_written() {
    let policy = policy(&[RPZ]);
    let soa = |lines: &[String]| lines.iter().filter(|line| line.starts_with("rpz.example. 30 SOA")).count();
    let lines = answer(&policy, "nx.test", Kind::A);
    assert_eq!((lines[0].as_str(), lines.len(), soa(&lines)), ("NXDOMAIN", 2, 1));
    let lines = answer(&policy, "nodata.test", Kind::A);
    assert_eq!((lines[0].as_str(), lines.len(), soa(&lines)), ("NOERROR", 2, 1));
    let lines = answer(&policy, "local.test", Kind::AAAA);
    assert_eq!((lines[0].as_str(), lines.len(), soa(&lines)), ("NOERROR", 2, 1));
    assert_eq!(answer(&policy, "drop.test", Kind::A), Vec::<String>::new());
    assert_eq!(answer(&policy, "tcp.test", Kind::A), ["NOERROR"]);
    assert_eq!(
        answer(&policy, "local.test", Kind::A),
        ["NOERROR", "local.test. 60 A [192, 0, 2, 99]", "local.test. 60 A [192, 0, 2, 98]"]
    );
    let alias = |target: &str| format!("CNAME {:?}", name(target).wire());
    assert_eq!(
        answer(&policy, "walled.test", Kind::A),
        ["NOERROR garden.example.".to_owned(), format!("walled.test. 60 {}", alias("garden.example"))]
    );
    assert_eq!(
        answer(&policy, "a.walled.test", Kind::A),
        [
            "NOERROR a.walled.test.garden.example.".to_owned(),
            format!("a.walled.test. 60 {}", alias("a.walled.test.garden.example"))
        ]
    );
}

#[test]
fn hosts_files_and_plain_lists_are_read_line_by_line() {
    let text = "# title\r\n127.0.0.1 localhost\n::1 localhost ip6-loopback\n0.0.0.0 0.0.0.0\n\
                0.0.0.0 Ads.Example tracker.example # both\n:: six.example\n192.0.2.7 nas.home\n2001:db8::7 nas.home\n\
                fe80::1%lo0 localhost\n! adblock\n[Adblock Plus 2.0]\nplain.example\n*.wild.example.\n||below.example^\n\
                ||path.example/x^\n@@||good.example^\n##.ad\nmünchen.example\nword\ntwo words\n1.2.3.4\n0.0.0.0 a/b\n\
                <html>\nplain.example\n";
    let policy = policy(&[text]);
    for (asked, expected) in [
        ("ads.example", "ads.example nxdomain"),
        ("tracker.example", "tracker.example nxdomain"),
        ("six.example", "six.example nxdomain"),
        ("nas.home", "nas.home local-data"),
        ("good.example", "good.example passthru"),
        ("plain.example", "plain.example nxdomain"),
        ("a.wild.example", "*.wild.example nxdomain"),
        ("below.example", "below.example nxdomain"),
        ("a.b.below.example", "*.below.example nxdomain"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example nxdomain"),
    ] {
        assert_eq!(judge(&policy, asked, CLIENT), format!("list0 {expected}"));
    }
    for asked in ["a.ads.example", "wild.example", "a.plain.example", "localhost", "path.example", "word"] {
        assert_eq!(judge(&policy, asked, CLIENT), "", "{asked}");
    }
    assert_eq!(answer(&policy, "nas.home", Kind::A), ["NOERROR", "nas.home. 60 A [192, 0, 2, 7]"]);
    let lines = answer(&policy, "ads.example", Kind::A);
    assert!(lines[0] == "NXDOMAIN" && lines[1].starts_with("ads.example. 60 SOA"), "{lines:?}");
    let report = policy.lists().next().unwrap().0.report().clone();
    // `##.ad`, and a path twice.
    assert_eq!((report.left_out, report.doubles), ([1, 0, 1, 1, 0, 0], 1));
    assert_eq!((report.skipped, report.skipped_lines), (4, vec![19, 20, 22, 23]));
}

#[test]
fn the_first_list_decides_unless_it_is_only_watched() {
    let mut policy = policy(&["nx.test\n", RPZ, "drop.test\nonly.here\n"]);
    assert_eq!(judge(&policy, "nx.test", CLIENT), "list0 nx.test nxdomain");
    assert_eq!(judge(&policy, "nx.test", "127.0.0.7"), "list0 nx.test nxdomain");
    assert_eq!(judge(&policy, "drop.test", CLIENT), "list1 drop.test drop");
    assert!(
        policy.set_override("list0", Override::LogOnly) && !policy.set_override("none", Override::LogOnly)
    );
    let verdict = policy.judge(NOW, &name("nx.test"), CLIENT.parse().unwrap());
    assert_eq!((verdict.hit.map(|hit| hit.list), verdict.watched.map(|hit| hit.list)), (Some(1), Some(0)));
    policy.count(&verdict);
    let verdict = policy.judge(NOW, &name("only.here"), CLIENT.parse().unwrap());
    policy.count(&verdict);
    assert_eq!(policy.lists().map(|(_, _, hits)| hits).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(policy.hits(), 2);
    policy.set_override("list1", Override::Always(Action::Drop));
    assert_eq!(judge(&policy, "nx.test", CLIENT), "list1 nx.test drop");
    assert_eq!(judge(&policy, "good.nx.test", CLIENT), "list1 good.nx.test passthru");
    assert!(policy.remove("list1").is_some() && policy.remove("list1").is_none());
    assert_eq!(judge(&policy, "drop.test", CLIENT), "list2 drop.test nxdomain");
}

#[test]
fn a_name_is_let_through_for_a_while() {
    let mut policy = policy(&[RPZ]);
    let later = Instant(2_000);
    policy.allow(NOW, &name("nx.test"), later).unwrap();
    assert_eq!(judge(&policy, "nx.test", CLIENT), "");
    assert_eq!(judge(&policy, "a.nx.test", CLIENT), "");
    assert_eq!(judge(&policy, "drop.test", CLIENT), "list0 drop.test drop");
    assert!(policy.judge(later, &name("nx.test"), CLIENT.parse().unwrap()).hit.is_some());
    policy.forbid(&name("nx.test"));
    assert_eq!(judge(&policy, "nx.test", CLIENT), "list0 nx.test nxdomain");
    for nth in 0..ALLOWED_MAX {
        policy.allow(NOW, &name(&format!("n{nth}")), later).unwrap();
    }
    assert_eq!(policy.allow(NOW, &name("more"), later), Err(TooMany));
    // Those that are over make room.
    assert_eq!(policy.allow(later, &name("more"), Instant(3_000)), Ok(()));
}

#[test]
fn a_list_is_replaced_and_what_differs_is_told() {
    let mut policy = policy(&[RPZ, "a.example\nb.example\n"]);
    let new = list("list1", "b.example\nc.example\nd.example\n192.0.2.1 a.example\n");
    let old = policy.replace(new.clone()).unwrap();
    let update = RpzUpdate::between(old.as_deref(), &new);
    assert_eq!(update, RpzUpdate { list: "list1".to_owned(), rules: 4, added: 3, removed: 1 });
    assert_eq!(judge(&policy, "c.example", CLIENT), "list1 c.example nxdomain");
    let rpz = policy.lists().next().unwrap().0.clone();
    let other = list(
        "list0",
        &RPZ.replace("192.0.2.98", "192.0.2.97").replace("10.rpz-client-ip A", "11.rpz-client-ip A"),
    );
    assert_eq!(RpzUpdate::between(Some(&rpz), &other).added, 2);
    assert_eq!(RpzUpdate::between(Some(&rpz), &rpz.clone()).added, 0);
    assert_eq!(RpzUpdate::between(None, &rpz).added, rpz.rules());
}

#[test]
fn a_name_takes_its_length_and_few_bytes_more() {
    // 34 to 35 bytes of name each, one before it, five in the table.
    let names: String =
        (0..50_000).map(|nth| format!("0.0.0.0 host-{nth}.tracker{}.example.com\n", nth % 997)).collect();
    let list = List::parse("many", names.as_bytes()).unwrap();
    assert_eq!(list.rules(), 50_000);
    assert!(list.bytes() < 42 * 50_000, "{} bytes", list.bytes());
    assert!(list.find(&name("host-49999.tracker149.example.com"), CLIENT.parse().unwrap()).is_some());
}

quickcheck::quickcheck! {
    fn no_text_makes_it_panic(lines: Vec<String>, bytes: Vec<u8>) -> bool {
        let zone = format!("$TTL 5\n{}", lines.join("\n"));
        let parsed = [List::parse("x", &bytes), List::parse("x", zone.as_bytes()), List::parse("x", lines.join("\n").as_bytes())];
        parsed.iter().flatten().all(|list| list.rules() <= zone.len() + bytes.len())
    }
}
