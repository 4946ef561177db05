//! What is asked: made from the zones and lists themselves and a seed.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dht_hunter::base::Rng;
use dht_hunter::wire::dns::Kind;

use crate::asking::Question;

/// Of everything that is drawn here.
pub fn seed() -> u64 {
    std::env::var("DHT_HUNTER_SEED").map_or(SEED, |seed| seed.parse().unwrap())
}

/// Every owner of the zone, what lies between, above, beside and below, in all types and cases.
pub fn zone_questions(origin: &str, zone: &str) -> BTreeSet<Question> {
    let mut rng = Rng::seeded(seed());
    let mut names: BTreeSet<String> = zone
        .lines()
        .filter(|line| !line.starts_with([' ', '$', ';']))
        .filter_map(|line| line.split_whitespace().next())
        .map(|owner| if owner == "@" { origin.to_owned() } else { format!("{owner}.{origin}") })
        .collect();
    for name in names.clone() {
        if let Some((_, above)) = name.split_once('.') {
            names.insert(above.to_owned());
        }
        names.extend([format!("x.{name}"), format!("no.{name}"), format!("a.b.{name}"), format!("*.{name}")]);
    }
    names.retain(|name| name.ends_with(origin));
    let mut questions = BTreeSet::new();
    for name in names {
        let first = rng.index(KINDS.len());
        let kinds = [
            Kind::A,
            Kind::CNAME,
            Kind::NS,
            Kind::DS,
            Kind::DNAME,
            KINDS[first],
            KINDS[(first + 5) % KINDS.len()],
        ];
        for kind in kinds {
            let payload = PAYLOADS[rng.index(PAYLOADS.len())];
            let (client, name) = (Ipv4Addr::LOCALHOST, in_some_case(&name, &mut rng));
            questions.insert(Question { client, name, kind, recursive: false, payload });
        }
    }
    questions
}

/// Every trigger, what lies above, beside and below, from clients that have rules and others.
pub fn policy_questions(lists: &[&str], more: Vec<String>) -> BTreeSet<Question> {
    let mut rng = Rng::seeded(seed());
    let lines = lists.iter().flat_map(|text| text.lines());
    let owners = lines
        .filter(|line| !line.starts_with([' ', '$', ';', '@']))
        .filter_map(|line| line.split_whitespace().next());
    let mut names: BTreeSet<String> =
        owners.filter(|owner| !owner.contains("rpz-")).map(str::to_owned).collect();
    for name in names.clone() {
        let plain = name.trim_start_matches("*.").to_owned();
        names.extend([format!("x.{plain}"), format!("a.b.{plain}"), plain.clone()]);
        names.extend(plain.split_once('.').map(|(_, above)| above.to_owned()));
    }
    names.extend(more);
    names.retain(|name| !name.contains('*'));
    let mut questions = BTreeSet::new();
    // Each rule about a client decides about something.
    for last in [1, 6, 7, 8, 9] {
        for (name, kind) in [
            ("nx.block.test", Kind::A),
            ("local.block.test", Kind::TXT),
            ("www.test", Kind::A),
            ("test", Kind::MX),
            ("tcp.block.test", Kind::MX),
            ("long.short.block.test", Kind::A),
            ("dropped.test", Kind::A),
            ("ruledwild.test", Kind::CNAME),
            ("x.ruledwilds.test", Kind::CNAME),
        ] {
            let (client, name) = (Ipv4Addr::new(127, 0, 0, last), in_some_case(name, &mut rng));
            questions.insert(Question { client, name, kind, recursive: true, payload: 1_232 });
        }
    }
    for name in names {
        for kind in [Kind::A, Kind::AAAA, Kind::TXT, Kind::CNAME, Kind::MX] {
            let last = if rng.percent(15) { 1 + rng.index(9) as u8 } else { 1 };
            let (client, name) = (Ipv4Addr::new(127, 0, 0, last), in_some_case(&name, &mut rng));
            let payload = PAYLOADS[rng.index(PAYLOADS.len())];
            questions.insert(Question { client, name, kind, recursive: true, payload });
        }
    }
    questions
}

fn in_some_case(name: &str, rng: &mut Rng) -> String {
    name.chars().map(|letter| if rng.percent(30) { letter.to_ascii_uppercase() } else { letter }).collect()
}

const SEED: u64 = 20;
const PAYLOADS: [u16; 4] = [0, 512, 1_232, 4_096];
const KINDS: [Kind; 13] = [
    Kind::A,
    Kind::AAAA,
    Kind::NS,
    Kind::CNAME,
    Kind::SOA,
    Kind::MX,
    Kind::TXT,
    Kind::SRV,
    Kind::DNAME,
    Kind::CAA,
    Kind::HTTPS,
    Kind::PTR,
    Kind(731),
];
