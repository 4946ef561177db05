//! Zones and policy beside servers that nobody here wrote: NSD and unbound answer from the same
//! files what we answer, but for what [`DIFFERENCES`] argues.
//!
//! What is not installed is skipped with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht_hunter::base::{Instant as EngineInstant, Rng};
use dht_hunter::dns::policy::{Action, List, Policy};
use dht_hunter::dns::zones::{ZoneChange, Zones};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Rcode, Section, Writer, expand};
use tempfile::TempDir;

/// What an oracle does otherwise, and why we do not.
struct Difference {
    oracle: &'static str,
    /// The name, or how it ends if this starts with a dot.
    name: &'static str,
    /// Empty: any.
    kinds: &'static [Kind],
    /// The part that differs.
    part: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        oracle: "unbound",
        name: ".away.test",
        kinds: &[],
        part: "answers",
        why: "the CNAME that a DNAME makes has its TTL, not 0 (RFC 6672, section 3.1)",
    },
    Difference { oracle: "unbound", name: ".down.test", kinds: &[], part: "answers", why: DNAME_IS_FOLLOWED },
    Difference { oracle: "unbound", name: ".down.test", kinds: &[], part: "rcode", why: DNAME_IS_FOLLOWED },
    Difference { oracle: "unbound", name: ".down.test", kinds: &[], part: "soa", why: DNAME_IS_FOLLOWED },
    Difference {
        oracle: "unbound",
        name: "todown.test",
        kinds: &[],
        part: "answers",
        why: DNAME_IS_FOLLOWED,
    },
    Difference { oracle: "unbound", name: "todown.test", kinds: &[], part: "soa", why: DNAME_IS_FOLLOWED },
    Difference { oracle: "unbound", name: "www.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: "alias.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: "deep.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: "nodata.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference {
        oracle: "unbound",
        name: "y.target.test",
        kinds: &[],
        part: "soa",
        why: CHAIN_ENDS_WITH_SOA,
    },
    Difference { oracle: "unbound", name: ".walias.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: "nx.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: ".wnx.test", kinds: &[], part: "soa", why: CHAIN_ENDS_WITH_SOA },
    Difference { oracle: "unbound", name: "nx.test", kinds: &[], part: "rcode", why: CHAIN_ENDS_WITH_RCODE },
    Difference {
        oracle: "unbound",
        name: ".wnx.test",
        kinds: &[],
        part: "rcode",
        why: CHAIN_ENDS_WITH_RCODE,
    },
    Difference {
        oracle: "unbound",
        name: "intosub.test",
        kinds: &[],
        part: "referral",
        why: CHAIN_ENDS_IN_REFERRAL,
    },
    Difference {
        oracle: "unbound",
        name: "intosub.test",
        kinds: &[],
        part: "glue",
        why: CHAIN_ENDS_IN_REFERRAL,
    },
    Difference {
        oracle: "unbound",
        name: "test",
        kinds: &[Kind::DS],
        part: "rcode",
        why: "it asks the zone above for a DS, which is not there; an authority denies it, as NSD does",
    },
    Difference { oracle: "unbound", name: "test", kinds: &[Kind::DS], part: "aa", why: "as before" },
    Difference { oracle: "unbound", name: "test", kinds: &[Kind::DS], part: "soa", why: "as before" },
    Difference {
        oracle: "unbound-rpz",
        name: ".test",
        kinds: &[],
        part: "list soa",
        why: "unbound 1.17 denies without a SOA; BIND, and unbound later, put the list's beside the answer",
    },
    Difference {
        oracle: "unbound-rpz",
        name: "long.short.block.test",
        kinds: &[],
        part: "rcode",
        why: "*.long.short is there, so long.short is too, and *.short does not stand for it (RFC 4592, section \
              2.2.2); unbound sees names between only if they sort before",
    },
    Difference {
        oracle: "unbound-rpz",
        name: "long.short.block.test",
        kinds: &[],
        part: "answers",
        why: "as before",
    },
];

const DNAME_IS_FOLLOWED: &str = "a CNAME that leads below a DNAME, or comes of one, is followed within the zone \
                                 (RFC 6672, section 3.2), as NSD does";
const CHAIN_ENDS_WITH_SOA: &str = "a chain that ends with nothing has the SOA that says for how long (RFC 2308, \
                                   section 2.1), as NSD does";
const CHAIN_ENDS_WITH_RCODE: &str = "the response code is that of the end of the chain (RFC 6604, section 3)";
const CHAIN_ENDS_IN_REFERRAL: &str = "a chain that ends in a delegation tells whom to ask (RFC 1034, section \
                                      4.3.2, step 3), as NSD does";

const ZONE: &str = include_str!("dns_zones/test.zone");
const RPZ: [&str; 2] = [include_str!("dns_zones/first.rpz"), include_str!("dns_zones/second.rpz")];
const SEED: u64 = 20;

#[test]
fn nsd_answers_the_same_zone_alike() {
    let Some(oracle) = Oracle::start("nsd", nsd_files) else { return };
    compare(&oracle, &zone_questions(), ask_zones);
}

#[test]
fn unbound_answers_the_same_zone_alike() {
    let Some(oracle) = Oracle::start("unbound", unbound_files) else { return };
    compare(&oracle, &zone_questions(), ask_zones);
}

#[test]
fn unbound_keeps_the_same_policy_alike() {
    let Some(oracle) = Oracle::start("unbound-rpz", unbound_rpz_files) else { return };
    compare(&oracle, &policy_questions(), ask_policy);
}

/// A question, and from where it is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    client: Ipv4Addr,
    /// In any case.
    name: String,
    kind: Kind,
}

/// What can be compared of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// With TC and AA.
    rcode: String,
    authoritative: bool,
    answers: BTreeSet<String>,
    soa: BTreeSet<String>,
    /// That of a policy list.
    list_soa: BTreeSet<String>,
    /// NS of a delegation.
    referral: BTreeSet<String>,
    /// Addresses of those.
    glue: BTreeSet<String>,
}

fn compare(oracle: &Oracle, questions: &BTreeSet<Question>, ours: fn(&Question) -> Option<Vec<u8>>) {
    assert!(questions.len() >= 200, "only {} questions", questions.len());
    let (mut differences, mut used) = (String::new(), BTreeSet::new());
    for question in questions {
        let ours = ours(question).map(|answer| see(&answer));
        // Silence is believed at once only where it is expected: the machine may be busy.
        let tries = if ours.is_some() { TRIES } else { 1 };
        let theirs = (0..tries).find_map(|_| oracle.ask(question)).map(|answer| see(&answer));
        for (part, ours, theirs) in parts(ours.as_ref(), theirs.as_ref()) {
            // Who resolves for others says AA of nothing, or of what policy made up: the listener's choice.
            if part == "aa" && oracle.name == "unbound-rpz" {
                continue;
            }
            let is_of = |difference: &Difference| {
                difference.oracle == oracle.name
                    && is_meant(difference.name, &question.name.to_ascii_lowercase())
                    && (difference.kinds.is_empty() || difference.kinds.contains(&question.kind))
                    && difference.part == part
            };
            match DIFFERENCES.iter().position(is_of) {
                Some(known) => drop(used.insert(known)),
                None => {
                    let Question { client, name, kind } = question;
                    write!(
                        differences,
                        "\n{name} {kind} from {client}, {part}:\n  ours   {ours}\n  theirs {theirs}"
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} and we differ, seed {SEED}:{differences}", oracle.name);
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

fn is_meant(pattern: &str, name: &str) -> bool {
    name == pattern || pattern.starts_with('.') && name.ends_with(pattern)
}

/// The parts of two answers that differ: which, ours, theirs.
fn parts(ours: Option<&Seen>, theirs: Option<&Seen>) -> Vec<(&'static str, String, String)> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        let text = |seen: Option<&Seen>| seen.map_or("no answer", |seen| &seen.rcode).to_owned();
        let both = ours.is_none() && theirs.is_none();
        return if both { Vec::new() } else { vec![("any", text(ours), text(theirs))] };
    };
    let shown = |set: &BTreeSet<String>| format!("{set:?}");
    [
        ("rcode", ours.rcode.clone(), theirs.rcode.clone()),
        ("aa", ours.authoritative.to_string(), theirs.authoritative.to_string()),
        ("answers", shown(&ours.answers), shown(&theirs.answers)),
        ("soa", shown(&ours.soa), shown(&theirs.soa)),
        ("list soa", shown(&ours.list_soa), shown(&theirs.list_soa)),
        ("referral", shown(&ours.referral), shown(&theirs.referral)),
        ("glue", shown(&ours.glue), shown(&theirs.glue)),
    ]
    .into_iter()
    .filter(|(_, ours, theirs)| ours != theirs)
    .collect()
}

fn see(answer: &[u8]) -> Seen {
    let message = Message::parse(answer).unwrap();
    let flags = message.header.flags;
    let truncated = if flags.has(Flags::TC) { " TC" } else { "" };
    let mut seen = Seen {
        rcode: format!("{}{truncated}", flags.rcode()),
        authoritative: flags.has(Flags::AA),
        ..Seen::default()
    };
    let mut additional = BTreeSet::new();
    for record in message.records() {
        let record = record.unwrap();
        if record.kind == Kind::OPT {
            continue;
        }
        let mut data = Vec::new();
        expand(&record, &mut data).unwrap();
        let owner = record.owner.read().unwrap();
        let ttl = record.ttl.next_multiple_of(TTL_STEP);
        let text = format!("{owner} {ttl} {} {}", record.kind, show(record.kind, &data));
        let set = match (record.section, record.kind) {
            (Section::Answer, _) => &mut seen.answers,
            (_, Kind::SOA) if data.starts_with(b"\x09localhost") => &mut seen.list_soa,
            (_, Kind::SOA) => &mut seen.soa,
            // Servers of the zone itself beside an answer are a courtesy.
            (Section::Authority, Kind::NS) if owner.to_string() == "test." => continue,
            (Section::Authority, Kind::NS) => &mut seen.referral,
            (Section::Authority, _) => &mut seen.referral,
            (Section::Additional, _) => &mut additional,
        };
        set.insert(text);
    }
    // And so are addresses beside anything but a referral.
    if !seen.referral.is_empty() {
        seen.glue = additional;
    }
    seen
}

fn show(kind: Kind, data: &[u8]) -> String {
    match kind {
        Kind::CNAME | Kind::NS | Kind::DNAME => Name::from_wire(data).unwrap().to_string(),
        _ => data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

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

/// Every owner of the zone, what lies between, above, beside and below, in all types and cases.
fn zone_questions() -> BTreeSet<Question> {
    let mut rng = Rng::seeded(SEED);
    let mut names: BTreeSet<String> = ZONE
        .lines()
        .filter(|line| !line.starts_with([' ', '$', ';']))
        .filter_map(|line| line.split_whitespace().next())
        .map(|owner| if owner == "@" { "test".to_owned() } else { format!("{owner}.test") })
        .collect();
    for name in names.clone() {
        if let Some((_, above)) = name.split_once('.') {
            names.insert(above.to_owned());
        }
        names.extend([format!("x.{name}"), format!("no.{name}"), format!("a.b.{name}"), format!("*.{name}")]);
    }
    names.retain(|name| name.ends_with("test"));
    let mut questions = BTreeSet::new();
    for name in names {
        let first = rng.index(KINDS.len());
        let kinds =
            [Kind::A, Kind::CNAME, Kind::NS, Kind::DS, KINDS[first], KINDS[(first + 5) % KINDS.len()]];
        for kind in kinds {
            let name =
                name.chars().map(|letter| if rng.percent(30) { letter.to_ascii_uppercase() } else { letter });
            questions.insert(Question { client: Ipv4Addr::LOCALHOST, name: name.collect(), kind });
        }
    }
    questions
}

/// Every trigger, what lies above, beside and below, from clients that have rules and others.
fn policy_questions() -> BTreeSet<Question> {
    let mut rng = Rng::seeded(SEED);
    let lines = RPZ.iter().flat_map(|text| text.lines());
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
    names.extend(["a.test", "none.test", "www.test", "alias.test"].map(str::to_owned));
    names.retain(|name| !name.contains('*'));
    let mut questions = BTreeSet::new();
    for name in names {
        for kind in [Kind::A, Kind::AAAA, Kind::TXT, Kind::CNAME, Kind::MX] {
            let last = if rng.percent(15) { 1 + rng.index(9) as u8 } else { 1 };
            let name =
                name.chars().map(|letter| if rng.percent(30) { letter.to_ascii_uppercase() } else { letter });
            questions.insert(Question { client: Ipv4Addr::new(127, 0, 0, last), name: name.collect(), kind });
        }
    }
    questions
}

fn zones(text: &str) -> Zones {
    let mut zones = Zones::new();
    let origin = Name::parse("test").unwrap();
    zones.apply(ZoneChange::Create { origin, text: text.to_owned() }).unwrap();
    zones
}

fn ask_zones(question: &Question) -> Option<Vec<u8>> {
    let zones = zones(ZONE);
    let name = Name::parse(&question.name).unwrap();
    let mut out = vec![0; usize::from(PAYLOAD)];
    let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).unwrap();
    writer.question(name.wire(), question.kind, CLASS_IN).unwrap();
    let outcome = zones.answer(&name, question.kind, &mut writer);
    writer.set_flags(outcome.map_or(Rcode::REFUSED.0, |outcome| outcome.flags()));
    let len = writer.finish();
    out.truncate(len);
    Some(out)
}

/// As a listener does it: policy, then zones, which stand for the rest of the world here.
fn ask_policy(question: &Question) -> Option<Vec<u8>> {
    let (mut policy, zones) = (Policy::default(), zones(ZONE));
    for (nth, text) in RPZ.iter().enumerate() {
        let list = List::parse(&format!("list{nth}"), text.as_bytes()).unwrap();
        policy.replace(Arc::new(list)).unwrap();
    }
    let name = Name::parse(&question.name).unwrap();
    let kind = question.kind;
    let mut out = vec![0; usize::from(PAYLOAD)];
    let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).unwrap();
    writer.question(name.wire(), kind, CLASS_IN).unwrap();
    let verdict = policy.judge(EngineInstant(0), &name, IpAddr::V4(question.client));
    let outcome = match verdict.hit {
        Some(hit) if hit.action == Action::Drop => return None,
        Some(hit) => policy.answer(&hit, &name, kind, &mut writer),
        None => None,
    };
    let outcome = match outcome {
        None => zones.answer(&name, kind, &mut writer).unwrap(),
        Some(outcome) => match &outcome.follow {
            Some(target) => zones.answer(target, kind, &mut writer).unwrap_or(outcome),
            None => outcome,
        },
    };
    writer.set_flags(outcome.flags());
    let len = writer.finish();
    out.truncate(len);
    Some(out)
}

/// A server on loopback that ends with its owner.
struct Oracle {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Oracle {
    /// Starts it, or says why not. Somebody else may take its port before it does: then on another.
    fn start(name: &'static str, files: fn(&Path, u16) -> &'static str) -> Option<Self> {
        let mut words = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(name, files)? {
                Ok(oracle) => return Some(oracle),
                Err(log) => words = log,
            }
        }
        panic!("{name} does not answer:\n{words}");
    }

    /// What it logged, if it ends or does not answer; nothing, if it is not installed.
    fn try_start(name: &'static str, files: fn(&Path, u16) -> &'static str) -> Option<Result<Self, String>> {
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let program = files(folder.path(), port);
        let config = folder.path().join("conf");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config).stdin(Stdio::null());
        let child = match command.stdout(log.try_clone().unwrap()).stderr(log).spawn() {
            Ok(child) => child,
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "{program} is not installed");
                drop(writeln!(std::io::stderr(), "skipped: {program} is not installed"));
                return None;
            }
            Err(fault) => panic!("{command:?}: {fault}"),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut oracle = Self { name, child, address, folder };
        let ready = Question { client: Ipv4Addr::LOCALHOST, name: "a.test".to_owned(), kind: Kind::A };
        let start = Instant::now();
        while oracle.ask(&ready).is_none_or(|answer| see(&answer).answers.is_empty()) {
            let ended = oracle.child.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || start.elapsed() >= READY_WITHIN {
                return Some(Err(fs::read_to_string(oracle.folder.path().join("log")).unwrap_or_default()));
            }
        }
        Some(Ok(oracle))
    }

    /// Its answer, or `None` if there is none in time.
    fn ask(&self, question: &Question) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((question.client, 0)).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut query = [0; 512];
        let mut writer = Writer::new(&mut query, 7, Flags(Flags::RD)).unwrap();
        let name = with_case(&question.name);
        writer.question(&name, question.kind, CLASS_IN).unwrap();
        writer.edns(PAYLOAD, Rcode::NOERROR, false, &[]).unwrap();
        let len = writer.finish();
        socket.send(&query[..len]).unwrap();
        let mut answer = vec![0; usize::from(PAYLOAD)];
        let len = socket.recv(&mut answer).ok()?;
        answer.truncate(len);
        Some(answer)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The wire form in the case that was typed.
fn with_case(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn nsd_files(folder: &Path, port: u16) -> &'static str {
    let at = folder.display();
    let config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  rrl-ratelimit: 0\n  username: \"\"\n  zonesdir: \"{at}\"\n  \
         database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"{at}/xfrd\"\n  zonelistfile: \"{at}/list\"\n  xfrdir: \"{at}\"\n\
         remote-control:\n  control-enable: no\nzone:\n  name: test\n  zonefile: test.zone\n"
    );
    fs::write(folder.join("conf"), config).unwrap();
    fs::write(folder.join("test.zone"), ZONE).unwrap();
    "nsd"
}

fn unbound_files(folder: &Path, port: u16) -> &'static str {
    write_unbound(folder, port, ZONE, "iterator", "");
    "unbound"
}

fn unbound_rpz_files(folder: &Path, port: u16) -> &'static str {
    let mut lists = String::new();
    for (nth, text) in RPZ.iter().enumerate() {
        let file = format!("{nth}.rpz");
        fs::write(folder.join(&file), text).unwrap();
        writeln!(lists, "rpz:\n  name: \"rpz{nth}.example.\"\n  zonefile: \"{file}\"").unwrap();
    }
    write_unbound(folder, port, ZONE, "respip iterator", &lists);
    "unbound"
}

fn write_unbound(folder: &Path, port: u16, zone: &str, modules: &str, more: &str) {
    // Nothing leaves this machine: the root is said to be on loopback, where it asks nobody.
    fs::write(folder.join("hints"), ". 60 IN NS root.invalid.\nroot.invalid. 60 IN A 127.0.0.1\n").unwrap();
    // What it answers itself as an authority, or what it finds when it resolves.
    let downstream = if more.is_empty() { "yes" } else { "no" };
    let at = folder.display();
    let config = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  \
         pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  access-control: 127.0.0.0/8 allow\n  \
         module-config: \"{modules}\"\n  local-zone: \"test.\" nodefault\n  num-threads: 1\n  root-hints: \"hints\"\n\
         remote-control:\n  control-enable: no\nauth-zone:\n  name: \"test.\"\n  zonefile: \"test.zone\"\n  \
         for-downstream: {downstream}\n  for-upstream: yes\n  fallback-enabled: no\n\
         {more}"
    );
    fs::write(folder.join("conf"), config).unwrap();
    fs::write(folder.join("test.zone"), format!("$ORIGIN test.\n{zone}")).unwrap();
}

/// Ports are hardly ever taken; twice in a row they are something else.
const STARTS_MAX: usize = 5;
const READY_WITHIN: Duration = Duration::from_secs(20);
/// What all take over UDP here, so that nothing need be cut.
const PAYLOAD: u16 = 4096;
/// Seconds to which TTLs are rounded up: what unbound found runs down while it is asked more.
const TTL_STEP: u32 = 30;
/// How long an answer may take on loopback; a question that is dropped takes all of it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a question is asked that ought to be answered.
const TRIES: usize = 10;
