//! Every type of record, aliases, what is not there, what is too long: each answer as `dig` has it
//! from the same server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::time::Instant;

use dht_hunter::dns::{ForwarderConfig, Resolved, Strategy};
use dht_hunter::model::dns::Source;
use dht_hunter::wire::dns::{Kind, Name, Rcode};

use crate::servers::{self, Foreign, is_installed};
use crate::session::{Seen, Session, records};

/// What a server says to `dig`.
#[derive(Debug, Default)]
struct Dug {
    status: String,
    truncated: bool,
    answers: BTreeSet<Seen>,
    /// For how long what is not there is not there.
    negative_ttl: Option<u32>,
}

fn dig(at: SocketAddr, name: &str, kind: Kind, more: &[&str]) -> Dug {
    let (ip, port) = (format!("@{}", at.ip()), at.port().to_string());
    let mut command = Command::new("dig");
    command.args([&ip, "-p", &port, "+unknownformat", "+noall", "+answer", "+authority", "+comments"]);
    command.args(more).args(["-q", name, "-t", &format!("TYPE{}", kind.0)]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut dug = Dug::default();
    for line in text.lines() {
        if let Some((_, status)) = line.split_once("status: ") {
            dug.status = status.split(',').next().unwrap().to_owned();
        }
        if let Some((_, flags)) = line.split_once("flags: ") {
            dug.truncated |= flags.split(';').next().unwrap().split(' ').any(|flag| flag == "tc");
        }
        let words: Vec<_> = line.split_whitespace().collect();
        if line.starts_with(';') || words.len() < 6 {
            continue;
        }
        assert_eq!((words[2], words[4]), ("CLASS1", "\\#"), "{text}");
        let kind: u16 = words[3].strip_prefix("TYPE").unwrap().parse().unwrap();
        let data = words[6..].concat().to_ascii_lowercase();
        let (owner, ttl) = (words[0].to_ascii_lowercase(), words[1].parse().unwrap());
        if kind == Kind::SOA.0 && dug.status != "NOERROR" || text_is_authority(&text, line) {
            let minimum = u32::from_str_radix(&data[data.len() - 8..], 16).unwrap();
            dug.negative_ttl = (kind == Kind::SOA.0).then_some(minimum.min(ttl)).or(dug.negative_ttl);
            continue;
        }
        dug.answers.insert(Seen { owner, kind, data, ttl });
    }
    assert!(!dug.status.is_empty(), "{command:?}: {text}");
    dug
}

/// The line stands behind the heading of the authority section.
fn text_is_authority(text: &str, line: &str) -> bool {
    text.find(";; AUTHORITY SECTION").is_some_and(|at| text[at..].contains(line))
}

/// Where the aliases in an answer lead from a name.
fn end_of_chain(name: &str, answers: &BTreeSet<Seen>) -> String {
    let mut at = Name::parse(name).unwrap().to_string();
    for _ in 0..answers.len() {
        let Some(alias) = answers.iter().find(|seen| seen.kind == Kind::CNAME.0 && seen.owner == at) else {
            break;
        };
        at = Name::from_wire(&bytes(&alias.data)).unwrap().to_string();
    }
    at
}

/// What is there: `dig` asks again for the end of a chain that it was given in part. How often it had
/// to.
fn dig_on(at: SocketAddr, name: &str, kind: Kind) -> (Dug, u32) {
    let (mut dug, mut more) = (dig(at, name, kind, &[]), 0);
    while dug.status == "NOERROR" && kind != Kind::CNAME && more < 5 {
        let end = end_of_chain(name, &dug.answers);
        let is_whole = dug.answers.iter().any(|seen| seen.owner == end && seen.kind == kind.0);
        if is_whole || dug.negative_ttl.is_some() || dug.answers.is_empty() {
            break;
        }
        let rest = dig(at, &end, kind, &[]);
        dug.answers.extend(rest.answers);
        (dug.status, dug.negative_ttl, more) = (rest.status, rest.negative_ttl, more + 1);
    }
    (dug, more)
}

/// How a server's TTLs compare with those that it gave a moment before.
#[derive(Clone, Copy, PartialEq)]
enum Ttls {
    /// An authority: they are the zone's, and what we remember of them has run down since this time
    /// at the earliest.
    Fixed(Instant),
    /// They run down.
    Run,
}

impl Ttls {
    /// What ours may be when the server says `theirs` just after.
    fn around(self, theirs: u32) -> RangeInclusive<u32> {
        match self {
            // A second that has begun counts.
            Self::Fixed(since) => theirs.saturating_sub(since.elapsed().as_secs() as u32 + 1)..=theirs,
            Self::Run => theirs..=theirs + RUN_DOWN_MAX,
        }
    }
}

/// Data that consists of names, in one case: servers repeat the case in which a name was asked for.
fn folded(seen: &Seen) -> String {
    let of_names = [Kind::NS, Kind::CNAME, Kind::SOA, Kind::PTR, Kind::MX, Kind::RP, Kind::SRV, Kind::DNAME];
    let of_names = of_names.into_iter().chain([Kind::NAPTR, Kind::SVCB, Kind::HTTPS]);
    if !of_names.into_iter().any(|kind| kind.0 == seen.kind) {
        return seen.data.clone();
    }
    bytes(&seen.data).iter().map(|byte| format!("{:02x}", byte.to_ascii_lowercase())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The same records, one by one.
fn compare(server: &Foreign, question: &str, ours: &Resolved, dug: &Dug, ttls: Ttls) {
    let context = format!("{} {question}", server.name);
    let given = ours.result.as_ref().unwrap_or_else(|why| panic!("{context}: {why:?}; dig: {dug:?}"));
    assert_eq!(given.answer.rcode.to_string(), dug.status, "{context}");
    let found = records(ours);
    let without_ttl = |seen: &Seen| Seen { ttl: 0, data: folded(seen), ..seen.clone() };
    // dnsmasq keeps the CNAME that a DNAME makes, and not the DNAME itself.
    let is_kept =
        |seen: &&Seen| server.name != "dnsmasq" || ours.kind == Kind::DNAME || seen.kind != Kind::DNAME.0;
    let ours_bare: BTreeSet<_> = found.iter().filter(is_kept).map(without_ttl).collect();
    let theirs_bare: BTreeSet<_> = dug.answers.iter().filter(is_kept).map(without_ttl).collect();
    assert_eq!(ours_bare, theirs_bare, "{context}");
    assert_eq!(found.iter().filter(is_kept).count(), ours_bare.len(), "{context}: none twice");
    for theirs in &dug.answers {
        let same = found.iter().find(|seen| without_ttl(seen) == without_ttl(theirs)).unwrap();
        assert!(ttls.around(theirs.ttl).contains(&same.ttl), "{context}: {} for {theirs:?}", same.ttl);
    }
    assert_eq!(given.answer.negative, dug.negative_ttl.is_some(), "{context}: {dug:?}");
    if let Some(negative) = dug.negative_ttl {
        let least = found.iter().map(|seen| seen.ttl).min().unwrap_or(u32::MAX).min(negative);
        assert!(ttls.around(least).contains(&given.ttl()), "{context}: {} for {dug:?}", given.ttl());
    }
}

/// Asks everything of one server, then of `dig`, then again: the second time out of memory.
fn asks_everything(server: &Foreign, ttls: Ttls) {
    let mut session = Session::start(vec![ForwarderConfig::plain(server.addr)], Strategy::Strict);
    let mut followed = 0;
    for (name, kind) in questions() {
        let ours = session.ask(name, kind);
        let (dug, more) = dig_on(server.addr, name, kind);
        followed += more;
        compare(server, &format!("{name} {kind}"), &ours, &dug, ttls);
        let given = ours.result.as_ref().unwrap();
        let from = |source: &Source| matches!(source, Source::Forwarder(_));
        // A part of a chain may be known already.
        assert!(from(&given.source) || given.answer.records().next().is_some(), "{name} {kind}");
        if given.ttl() > 30 {
            let again = session.ask(name, kind);
            let known = again.result.as_ref().unwrap();
            assert_eq!(known.source, Source::Memory, "{name} {kind} is kept");
            assert_eq!(
                (known.answer.rcode, known.answer.negative),
                (given.answer.rcode, given.answer.negative)
            );
        }
    }
    if server.name == "knotd" {
        assert!(followed > 0, "knot gives what leads out of a zone in part");
    }
    long_answers(server, &mut session);
}

/// Sixty addresses fit into the datagrams that we take, 100 (the most that BIND takes) do not; without EDNS not even sixty.
fn long_answers(server: &Foreign, session: &mut Session) {
    for (name, count) in [("big.test", 60), ("huge.test", 100)] {
        let over_udp = dig(server.addr, name, Kind::A, &["+ignore", "+notcp", "+bufsize=1232"]);
        assert_eq!(over_udp.truncated, count == 100, "{} {name}", server.name);
        let ours = session.ask(name, Kind::A);
        let dug = dig(server.addr, name, Kind::A, &["+tcp"]);
        assert_eq!((records(&ours).len(), dug.answers.len()), (count, count), "{} {name}", server.name);
        compare(server, name, &ours, &dug, Ttls::Run);
    }
    let plain = dht_hunter::dns::Config { extras: false, ..dht_hunter::dns::Config::new(Vec::new()) };
    let forwarders = vec![ForwarderConfig::plain(server.addr)];
    let mut bare = Session::with(dht_hunter::dns::Config { forwarders, ..plain });
    let cut = dig(server.addr, "big.test", Kind::A, &["+ignore", "+notcp", "+noedns"]);
    assert!(cut.truncated, "{}", server.name);
    assert_eq!(records(&bare.ask("big.test", Kind::A)).len(), 60, "{}", server.name);
}

fn questions() -> Vec<(&'static str, Kind)> {
    let at_all = [
        Kind::A,
        Kind::AAAA,
        Kind::MX,
        Kind::TXT,
        Kind::SRV,
        Kind::PTR,
        Kind::CAA,
        Kind::HTTPS,
        Kind::SVCB,
        Kind::NAPTR,
        Kind::SSHFP,
        Kind::TLSA,
        Kind::LOC,
        Kind::HINFO,
        Kind::RP,
        Kind(256),
        Kind(65_280),
    ];
    let mut all: Vec<_> = at_all.into_iter().map(|kind| ("all.test", kind)).collect();
    all.extend([("test", Kind::SOA), ("test", Kind::NS), ("test", Kind::MX), ("down.test", Kind::DNAME)]);
    all.extend([("ALL.test", Kind::A), ("q.wild.test", Kind::A)]);
    // Aliases: one, three, out of the zone, below a DNAME; and the alias itself.
    for name in ["alias.test", "third.test", "out.test", "outer.test", "x.down.test"] {
        all.extend([(name, Kind::A), (name, Kind::CNAME)]);
    }
    all.extend([("third.test", Kind::AAAA), ("outer.test", Kind::AAAA), ("x.down.test", Kind::TXT)]);
    // What is not there, at once or behind an alias.
    for name in ["no.test", "all.test", "ent.test", "text.test", "nx.test", "nodata.test", "nowhere.test"] {
        all.push((name, Kind::DS));
    }
    all.extend([
        ("no.test", Kind::A),
        ("nx.test", Kind::A),
        ("nodata.test", Kind::A),
        ("nowhere.test", Kind::A),
    ]);
    all.extend([("outer.test", Kind::MX), ("below.ent.test", Kind::AAAA)]);
    all
}

/// Both zones, with the long answers.
pub fn zones() -> [(&'static str, String); 2] {
    let mut test = include_str!("test.zone").to_owned();
    for (name, count) in [("big", 60), ("huge", 100)] {
        (1..=count).for_each(|host| test += &format!("{name} IN A 198.51.100.{host}\n"));
    }
    [("test", test), ("other", include_str!("other.zone").to_owned())]
}

/// An authority for both zones, and whether `dig` is there to compare with.
fn authority() -> Option<Foreign> {
    let zones = zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    is_installed("dig").then(|| servers::nsd(&zones))?
}

#[test]
fn nsd_and_dig_agree() {
    let Some(nsd) = authority() else { return };
    asks_everything(&nsd, Ttls::Fixed(Instant::now()));
}

#[test]
fn knot_and_dig_agree() {
    let zones = zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let Some(knot) = is_installed("dig").then(|| servers::knot(&zones)).flatten() else { return };
    asks_everything(&knot, Ttls::Fixed(Instant::now()));
}

#[test]
fn bind_and_dig_agree() {
    let zones = zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let Some(bind) = is_installed("dig").then(|| servers::bind(&zones)).flatten() else { return };
    asks_everything(&bind, Ttls::Fixed(Instant::now()));
}

#[test]
fn bind_as_a_resolver_and_dig_agree() {
    let Some(nsd) = authority() else { return };
    let Some(bind) = servers::bind_forwarding(nsd.addr) else { return };
    asks_everything(&bind, Ttls::Run);
}

#[test]
fn unbound_and_dig_agree() {
    let Some(nsd) = authority() else { return };
    let Some(unbound) = servers::unbound(&["test", "other"], nsd.addr, "") else { return };
    asks_everything(&unbound, Ttls::Run);
}

#[test]
fn dnsmasq_and_dig_agree() {
    let Some(nsd) = authority() else { return };
    let Some(dnsmasq) = servers::dnsmasq(nsd.addr) else { return };
    asks_everything(&dnsmasq, Ttls::Run);
}

#[test]
fn a_circle_is_no_answer_whoever_gives_it() {
    let Some(nsd) = authority() else { return };
    let Some(unbound) = servers::unbound(&["test", "other"], nsd.addr, "") else { return };
    for server in [&nsd, &unbound] {
        let mut session = Session::start(vec![ForwarderConfig::plain(server.addr)], Strategy::Strict);
        let came = session.ask("loop1.test", Kind::A);
        let why = came.result.as_ref().err().copied();
        use dht_hunter::dns::Failure;
        let expected = [Some(Failure::Chain), Some(Failure::Rcode(Rcode::SERVFAIL))];
        assert!(expected.contains(&why), "{}: {why:?}", server.name);
        assert!(session.ask("a.test", Kind::A).result.is_ok(), "and others are still answered");
    }
}

/// How long a question may take between us and `dig`, in seconds.
const RUN_DOWN_MAX: u32 = 30;
