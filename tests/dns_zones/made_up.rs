//! Zones made up from a seed: wildcards, names between, aliases, delegations and renamed parts, in
//! each other's way.

use std::collections::{BTreeMap, BTreeSet};

use dht_hunter::base::Rng;

/// A zone's text, without its `$ORIGIN`.
pub fn zone(rng: &mut Rng) -> String {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..6 + rng.index(20) {
        let owner = owner(rng);
        let records = records(rng, owner.contains('*'));
        owners.entry(owner).or_insert(records);
    }
    // Below what was renamed there may be nothing (RFC 6672, section 2.4).
    let is_dname = |records: &[String]| records.iter().any(|record| record.starts_with("DNAME"));
    let renamed: BTreeSet<String> = owners
        .iter()
        .filter(|(_, records)| is_dname(records))
        .map(|(owner, _)| format!(".{owner}"))
        .collect();
    owners.retain(|owner, _| !renamed.iter().any(|renamed| owner.ends_with(renamed)));
    let mut text =
        "$TTL 300\n@ 900 IN SOA ns root 7 3600 600 86400 60\n@ IN NS ns\n@ IN NS ns.example.org.\n\
        ns IN A 127.0.0.1\n"
            .to_owned();
    for (owner, records) in &owners {
        records.iter().for_each(|record| text += &format!("{owner} IN {record}\n"));
    }
    text
}

fn owner(rng: &mut Rng) -> String {
    let mut labels: Vec<&str> = (0..1 + rng.index(3)).map(|_| LABELS[rng.index(LABELS.len())]).collect();
    if rng.percent(25) {
        labels[0] = "*";
    }
    labels.join(".")
}

fn records(rng: &mut Rng, is_wildcard: bool) -> Vec<String> {
    let target = |rng: &mut Rng| match rng.index(10) {
        0 => "www.example.org.".to_owned(),
        1 => "nothing".to_owned(),
        _ => owner(rng).replace('*', "w"),
    };
    match rng.index(10) {
        0..=2 => vec![format!("CNAME {}", target(rng))],
        3 if !is_wildcard => vec![format!("DNAME {}", target(rng))],
        4 | 5 if !is_wildcard => {
            let mut all = vec![format!("NS {}", target(rng)), "NS ns.example.org.".to_owned()];
            if rng.percent(30) {
                all.push(
                    "DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
                );
            }
            all
        }
        _ => {
            let mut all: BTreeSet<String> = BTreeSet::new();
            for _ in 0..1 + rng.index(3) {
                all.insert(match rng.index(6) {
                    0 => format!("MX {} {}", rng.index(3), target(rng)),
                    1 => format!("TXT \"{}\"", "t".repeat(rng.index(250))),
                    2 => "AAAA 2001:db8::7".to_owned(),
                    3 => format!("SRV 1 2 3 {}", target(rng)),
                    _ => format!("A 192.0.2.{}", rng.index(250)),
                });
            }
            all.into_iter().collect()
        }
    }
}

const LABELS: [&str; 6] = ["a", "b", "c", "d", "e", "w"];
