//! Zones and policy beside servers that nobody here wrote: the running program is asked what NSD and
//! unbound are asked, who have the same files, and answers the same, but for what [`DIFFERENCES`]
//! argues.
//!
//! What is not installed is skipped with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.
//! `DHT_HUNTER_SEED` asks other questions, and makes up other zones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "dns_zones/asking.rs"]
mod asking;
#[path = "dns_zones/made_up.rs"]
mod made_up;
#[path = "dns_zones/oracles.rs"]
mod oracles;
#[path = "dns_zones/questions.rs"]
mod questions;
#[path = "support/servers.rs"]
mod servers;
mod support;
#[path = "dns_zones/types.rs"]
mod types;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use asking::{Question, Seen, parts};
use dht_hunter::base::Rng;
use dht_hunter::wire::dns::Kind;
use oracles::{Oracle, Ours, forwarder};
use questions::{policy_questions, seed, zone_questions};

/// What an oracle does otherwise, and why we do not.
struct Difference {
    oracle: &'static str,
    /// The name, or how it ends if this starts with a dot, or after an @ who asks; empty: any.
    name: &'static str,
    /// Empty: any.
    kinds: &'static [Kind],
    /// The part that differs.
    part: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    differs("unbound", ".away.test", &[], "answers", DNAME_TTL),
    differs("unbound", ".down.test", &[], "answers", DNAME_IS_FOLLOWED),
    differs("unbound", ".down.test", &[], "rcode", DNAME_IS_FOLLOWED),
    differs("unbound", ".down.test", &[], "soa", DNAME_IS_FOLLOWED),
    differs("unbound", "todown.test", &[], "answers", DNAME_IS_FOLLOWED),
    differs("unbound", "todown.test", &[], "soa", DNAME_IS_FOLLOWED),
    differs("unbound", "www.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "alias.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "deep.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "nodata.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "y.target.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", ".walias.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "nx.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", ".wnx.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", "nx.test", &[], "rcode", CHAIN_ENDS_WITH_RCODE),
    differs("unbound", ".wnx.test", &[], "rcode", CHAIN_ENDS_WITH_RCODE),
    differs("unbound", "intosub.test", &[], "referral", CHAIN_ENDS_IN_REFERRAL),
    differs("unbound", "intosub.test", &[], "glue", CHAIN_ENDS_IN_REFERRAL),
    differs("unbound", "test", &[Kind::DS], "rcode", DS_IS_ABOVE),
    differs("unbound", "test", &[Kind::DS], "aa", DS_IS_ABOVE),
    differs("unbound", "test", &[Kind::DS], "soa", DS_IS_ABOVE),
    differs("unbound", ".to.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound", ".wblocked.test", &[], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound-resolving", ".away.test", &[], "answers", DNAME_TTL),
    differs("unbound-resolving", ".down.test", &[], "answers", DNAME_TTL),
    differs("unbound-resolving", "todown.test", &[], "answers", DNAME_TTL),
    differs("unbound-resolving", ".down.test", &[Kind::DNAME], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound-resolving", ".away.test", &[Kind::DNAME], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound-resolving", "todown.test", &[Kind::DNAME], "soa", CHAIN_ENDS_WITH_SOA),
    differs("unbound-rpz", "@127.0.0.8", &[], "cut", CLIENT_IS_FIRST),
    differs("unbound-rpz", ".ruledwilds.test", &[], "answers", WILD_ALIAS),
    differs("unbound-rpz", "ruledwild.test", &[], "answers", WILD_ALIAS),
    differs("unbound-rpz", "@127.0.0.8", &[], "soa", CLIENT_IS_FIRST),
    differs("unbound-rpz", "", &[], "list soa", NO_LIST_SOA),
    differs("unbound-rpz", "long.short.block.test", &[], "any", BETWEEN),
    differs("unbound-rpz", "long.short.block.test", &[], "rcode", BETWEEN),
    differs("unbound-rpz", "long.short.block.test", &[], "answers", BETWEEN),
    differs("unbound-rpz", "@127.0.0.8", &[], "rcode", CLIENT_IS_FIRST),
    differs("unbound-rpz", "@127.0.0.8", &[], "answers", CLIENT_IS_FIRST),
    differs("unbound-rpz", "@127.0.0.8", &[], "any", CLIENT_IS_FIRST),
    differs("unbound-rpz", "x.away.test", &[], "answers", DNAME_TTL),
    differs("unbound-rpz", "x.down.test", &[], "answers", DNAME_TTL),
    differs("bind-rpz", ".ruledwilds.test", &[Kind::CNAME], "rcode", CNAME_IS_ALL),
    differs("bind-rpz", ".ruledwilds.test", &[Kind::CNAME], "soa", CNAME_IS_ALL),
    differs("bind-rpz", "ruledwild.test", &[Kind::CNAME], "rcode", CNAME_IS_ALL),
    differs("bind-rpz", "ruledwild.test", &[Kind::CNAME], "soa", CNAME_IS_ALL),
];

const fn differs(
    oracle: &'static str,
    name: &'static str,
    kinds: &'static [Kind],
    part: &'static str,
    why: &'static str,
) -> Difference {
    Difference { oracle, name, kinds, part, why }
}

const DS_IS_ABOVE: &str =
    "it asks the zone above for a DS, which is not there; an authority denies it, as NSD does";
const NO_LIST_SOA: &str =
    "unbound 1.17 denies without a SOA; BIND, and unbound later, put the list's beside the answer";
const BETWEEN: &str = "*.long.short is there, so long.short is too, and *.short does not stand for it (RFC 4592, \
                       section 2.2.2), as BIND has it; unbound sees names between only if they sort before";
const DNAME_TTL: &str = "the CNAME that a DNAME makes has its TTL, not 0 (RFC 6672, section 3.1)";
const CNAME_IS_ALL: &str =
    "who asks for the alias has it, and nothing is said of where it leads, as NSD does";
const WILD_ALIAS: &str = "the alias that a rule makes for a name has the TTL of the rule, and is that name's when asked \
                          for, as BIND has it";
const CLIENT_IS_FIRST: &str = "within a list a rule about the client goes before those about names, as BIND has it \
                               (draft-vixie-dnsop-dns-rpz, section 5.2)";
const DNAME_IS_FOLLOWED: &str = "a CNAME that leads below a DNAME, or comes of one, is followed within the zone \
                                 (RFC 6672, section 3.2), as NSD does";
const CHAIN_ENDS_WITH_SOA: &str = "a chain that ends with nothing has the SOA that says for how long (RFC 2308, \
                                   section 2.1), as NSD does";
const CHAIN_ENDS_WITH_RCODE: &str = "the response code is that of the end of the chain (RFC 6604, section 3)";
const CHAIN_ENDS_IN_REFERRAL: &str = "a chain that ends in a delegation tells whom to ask (RFC 1034, section \
                                      4.3.2, step 3), as NSD does";

const ZONE: &str = include_str!("dns_zones/test.zone");
const RPZ: [&str; 2] = [include_str!("dns_zones/first.rpz"), include_str!("dns_zones/second.rpz")];

#[test]
fn nsd_answers_the_same_zone_alike() {
    let oracle = Oracle::start("nsd", &|folder, port| oracles::nsd_files(folder, port, &[("test", ZONE)]));
    let Some((oracle, forwarder)) = oracle.zip(forwarder()) else { return };
    let ours = Ours::start(&[("test", ZONE)], &[], forwarder.addr);
    compare(&oracle, &ours, &zone_questions("test", ZONE));
}

#[test]
fn nsd_answers_made_up_zones_alike() {
    let mut rng = Rng::seeded(seed());
    let zones: Vec<_> = (0..ZONES).map(|nth| (format!("z{nth}"), made_up::zone(&mut rng))).collect();
    let mut all: Vec<_> = zones.iter().map(|(origin, text)| (origin.as_str(), text.as_str())).collect();
    all.push(("test", ZONE));
    let oracle = Oracle::start("nsd", &|folder, port| oracles::nsd_files(folder, port, &all));
    let Some((oracle, forwarder)) = oracle.zip(forwarder()) else { return };
    let ours = Ours::start(&all, &[], forwarder.addr);
    for (origin, text) in &zones {
        let questions = zone_questions(origin, text);
        let differences = differences(&oracle, &ours, &questions, &mut BTreeSet::new());
        assert!(differences.is_empty(), "seed {}:{differences}\n{text}", seed());
    }
}

#[test]
fn unbound_answers_the_same_zone_alike() {
    let oracle = Oracle::start("unbound", &|folder, port| oracles::unbound_files(folder, port, ZONE));
    let Some((oracle, forwarder)) = oracle.zip(forwarder()) else { return };
    let ours = Ours::start(&[("test", ZONE)], &[], forwarder.addr);
    compare(&oracle, &ours, &zone_questions("test", ZONE));
}

/// For who asks it to (RD): aliases are followed out of the zone.
#[test]
fn unbound_resolves_the_same_names_alike() {
    let Some(forwarder) = forwarder() else { return };
    let prepare = |folder: &Path, port| oracles::unbound_resolving(folder, port, ZONE, &[], forwarder.addr);
    let Some(oracle) = Oracle::start("unbound-resolving", &prepare) else { return };
    let ours = Ours::start(&[("test", ZONE)], &[], forwarder.addr);
    // Servers of parts that were given away are not there to be asked, nor are those above the zone; of a
    // loop it says that it failed; and by what it has in its memory it has the TTL of a SOA from a denial,
    // and follows an alias that was itself asked for.
    let away = ["sub.test", "lame.test", "intosub.test", "onion.test", "loop1.test", "loop2.test"];
    let is_there = |question: &Question| {
        let name = question.name.to_ascii_lowercase();
        let is_renamed = [".away.test", ".down.test"].iter().any(|renamed| name.ends_with(renamed));
        let is_above = name == "test" && matches!(question.kind, Kind::DS | Kind::SOA);
        let is_away = away.iter().any(|away| name.ends_with(away));
        !(is_away || is_above || is_renamed && question.kind == Kind::CNAME)
    };
    let questions = zone_questions("test", ZONE).into_iter().filter(is_there);
    let questions = questions.map(|question| Question { recursive: true, ..question }).collect();
    compare(&oracle, &ours, &questions);
}

#[test]
fn unbound_keeps_the_same_policy_alike() {
    let Some(forwarder) = forwarder() else { return };
    let prepare = |folder: &Path, port| oracles::unbound_resolving(folder, port, ZONE, &RPZ, forwarder.addr);
    let Some(oracle) = Oracle::start("unbound-rpz", &prepare) else { return };
    let ours = Ours::start(&[("test", ZONE)], &RPZ, forwarder.addr);
    // unbound looks at where an alias leads or not, by what it has in its memory: BIND is asked for those.
    let more = "a none www alias x.away out chainout many long long.to text deep nx nodata x.down";
    let more: Vec<_> = more.split(' ').map(|name| format!("{name}.test")).collect();
    let mut questions = policy_questions(&RPZ, more);
    questions.retain(|question| !question.name.eq_ignore_ascii_case("ruled.test"));
    compare(&oracle, &ours, &questions);
}

/// Rules about where aliases lead.
#[test]
fn bind_keeps_the_same_policy_alike() {
    let Some(forwarder) = forwarder() else { return };
    let prepare = |folder: &Path, port| oracles::bind_files(folder, port, ZONE, &RPZ, forwarder.addr);
    let Some(oracle) = Oracle::start("bind-rpz", &prepare) else { return };
    let ours = Ours::start(&[("test", ZONE)], &RPZ, forwarder.addr);
    let more = "a none www alias x.away out chainout blocked.to via.to q.wblocked passed.to passedby.to forged.to \
                dropped.to empty.to tcponly.to moved.to blockedout movedout many long long.to text deep nx nodata x.down";
    let more: Vec<_> = more.split(' ').map(|name| format!("{name}.test")).collect();
    compare(&oracle, &ours, &policy_questions(&RPZ, more));
}

/// Asks both, and fails with what differs and is not argued, and with what is argued and no longer so.
fn compare(oracle: &Oracle, ours: &Ours, questions: &BTreeSet<Question>) {
    assert!(questions.len() >= 200, "only {} questions", questions.len());
    let mut used = BTreeSet::new();
    let differences = differences(oracle, ours, questions, &mut used);
    assert!(differences.is_empty(), "{} and we differ, seed {}:{differences}", oracle.name, seed());
    for (number, known) in DIFFERENCES.iter().enumerate().filter(|(_, known)| known.oracle == oracle.name) {
        assert!(
            used.contains(&number),
            "no longer so: {} {} {}: {}",
            known.oracle,
            known.name,
            known.part,
            known.why
        );
    }
}

impl Oracle {
    /// Who resolves for others says AA of nothing, or of what policy made up: the listener's choice. BIND
    /// names a list, and shows its servers, by the name of the zone that it has for it; we have none.
    fn leaves_to_others(&self, part: &str) -> bool {
        match self.name {
            "bind-rpz" => matches!(part, "aa" | "list soa" | "referral"),
            "unbound-rpz" | "unbound-resolving" => part == "aa",
            _ => false,
        }
    }
}

/// What differs and is not argued; `used` is what is.
fn differences(
    oracle: &Oracle,
    ours: &Ours,
    questions: &BTreeSet<Question>,
    used: &mut BTreeSet<usize>,
) -> String {
    let mut differences = String::new();
    for question in questions {
        let (ours, theirs) = ask_both(oracle, ours, question);
        for (part, ours, theirs) in parts(ours.as_ref(), theirs.as_ref()) {
            if oracle.leaves_to_others(part) {
                continue;
            }
            let is_of = |difference: &Difference| {
                difference.oracle == oracle.name
                    && is_meant(difference.name, question)
                    && (difference.kinds.is_empty() || difference.kinds.contains(&question.kind))
                    && difference.part == part
            };
            let known: Vec<_> = (0..DIFFERENCES.len()).filter(|nth| is_of(&DIFFERENCES[*nth])).collect();
            match known.is_empty() {
                false => used.extend(known),
                true => {
                    let Question { client, name, kind, payload, .. } = question;
                    write!(
                        differences,
                        "\n{name} {kind} from {client} for {payload} bytes, {part}:\n  ours   {ours}\n  theirs {theirs}"
                    )
                    .unwrap();
                }
            }
        }
    }
    differences
}

/// Both answers. Silence is believed at once only where both keep it: the machine may be busy.
fn ask_both(oracle: &Oracle, ours: &Ours, question: &Question) -> (Option<Seen>, Option<Seen>) {
    let (mut mine, mut theirs) = std::thread::scope(|scope| {
        let mine = scope.spawn(|| ours.ask(question));
        let theirs = oracle.ask(question);
        (mine.join().unwrap(), theirs)
    });
    for _ in 1..TRIES {
        if mine.is_some() == theirs.is_some() {
            break;
        }
        mine = mine.or_else(|| ours.ask(question));
        theirs = theirs.or_else(|| oracle.ask(question));
    }
    (mine, theirs)
}

fn is_meant(pattern: &str, question: &Question) -> bool {
    let name = question.name.to_ascii_lowercase();
    match pattern.strip_prefix('@') {
        Some(client) => question.client.to_string() == client,
        None => name == pattern || !pattern.starts_with(char::is_alphanumeric) && name.ends_with(pattern),
    }
}

/// How many zones are made up.
const ZONES: usize = 8;
/// How often a question is asked that ought to be answered.
const TRIES: usize = 10;
