//! Zones that Knot DNS signs, through a listener of ours: `dig` sees the same records as from Knot
//! itself, and `delv` and unbound, which validate, find all of it good.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dht_hunter::wire::dns::Kind;

use crate::servers::{self, Foreign, free_pair, is_installed};
use crate::support::{Running, program, until};

/// `ZONE` is the zone itself.
const ZONE: &str = "$TTL 900\n@ SOA ns root 7 3600 600 86400 600\n@ NS ns\nns A 127.0.0.53\n@ MX 10 a\n\
    a A 127.0.1.1\na A 127.0.1.2\na AAAA fd00::1\ntext TXT \"some\" \"text\"\nwww CNAME a\nthird CNAME second\n\
    second CNAME www\n*.wild A 127.0.1.9\n*.wildalias CNAME www\nbelow.ent A 127.0.1.3\ngone CNAME none\n\
    far A 127.0.1.4\ndown DNAME sub\nx.sub A 127.0.1.5\n";
/// What leads out of the zone: Knot gives it in part.
const OUT: &str = "out CNAME third.other.\n*.wildout CNAME x.wild.other.\nlost CNAME none.other.\n*.away CNAME none.other.\n";

/// Below each of both zones.
const ASKED: [(&str, &str); 24] = [
    ("a", "A"),
    ("a", "AAAA"),
    ("", "MX"),
    ("text", "TXT"),
    ("www", "A"),
    ("www", "CNAME"),
    ("third", "AAAA"),
    ("q.wild", "A"),
    ("q.wildalias", "A"),
    ("x.down", "A"),
    ("", "DNSKEY"),
    ("", "SOA"),
    ("", "NS"),
    ("a", "NSEC"),
    // What is not there: the type, below a wildcard, behind aliases, with nothing but others below; the name.
    ("a", "MX"),
    ("a", "DS"),
    ("q.wild", "MX"),
    ("q.wildalias", "MX"),
    ("third", "TXT"),
    ("ent", "A"),
    ("none", "A"),
    ("x.none.a", "TXT"),
    ("gone", "A"),
    ("y.down", "A"),
];
/// Of these, each in a way of its own.
const VALIDATED: [(&str, &str); 11] = [
    ("a", "A"),
    ("", "MX"),
    ("www", "A"),
    ("q.wild", "A"),
    ("q.wildalias", "A"),
    ("x.down", "A"),
    ("a", "MX"),
    ("q.wild", "MX"),
    ("ent", "A"),
    ("none", "A"),
    ("gone", "A"),
];
/// A name of ours, and what it leads to in the other zone.
const LEADING: [(&str, &str); 4] = [
    ("out.test", "third.other"),
    ("q.wildout.test", "x.wild.other"),
    ("lost.test", "none.other"),
    ("q.away.test", "none.other"),
];

/// What a server says to `dig`.
#[derive(Clone, Debug, Default)]
struct Said {
    status: String,
    flags: String,
    edns_flags: String,
    /// Section, owner, type and data; and the TTL.
    records: Vec<(String, u32)>,
}

impl Said {
    fn bare(&self) -> Vec<&str> {
        self.records.iter().map(|(record, _)| record.as_str()).collect()
    }

    /// The types of the records.
    fn kinds(&self) -> impl Iterator<Item = &str> {
        self.bare().into_iter().filter_map(|record| record.trim_start_matches("- ").split(' ').nth(1))
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|other| other == flag)
    }
}

/// Several questions to one server, by one `dig`.
fn dig(at: SocketAddr, options: &[&str], questions: &[(String, &str)]) -> Vec<Said> {
    let (ip, port) = (format!("@{}", at.ip()), at.port().to_string());
    let mut command = Command::new("dig");
    command.args(["+tries=2", "+timeout=8", "+noall", "+comments", "+answer", "+authority"]).args(options);
    command.args([&ip, "-p", &port]);
    questions.iter().for_each(|(name, kind)| _ = command.args(["-q", name, "-t", kind]));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all: Vec<_> = text.split(";; Got answer:").skip(1).map(read).collect();
    assert_eq!(all.len(), questions.len(), "{command:?}: {text}");
    all
}

fn read(text: &str) -> Said {
    let (mut said, mut section) = (Said::default(), "");
    let until = |text: &str, end| text.split(end).next().unwrap_or_default().to_owned();
    for line in text.lines() {
        if let Some((_, status)) = line.split_once("status: ") {
            said.status = until(status, ',');
        } else if let Some(flags) = line.strip_prefix(";; flags: ") {
            said.flags = until(flags, ';');
        } else if let Some((_, flags)) = line.split_once("; EDNS: version: 0, flags:") {
            said.edns_flags = until(flags, ';').trim().to_owned();
        } else if let Some(name) = line.strip_suffix(" SECTION:") {
            section = if name == ";; ANSWER" { "" } else { "- " };
        } else if !line.starts_with(';') && !line.is_empty() {
            let words: Vec<_> = line.split_whitespace().collect();
            let record = format!("{section}{} {}", words[0].to_lowercase(), words[3..].join(" "));
            said.records.push((record, words[1].parse().unwrap()));
        }
    }
    said.records.sort();
    said
}

/// Knot, and a `run` of ours that asks it.
struct World {
    knot: Foreign,
    ours: SocketAddr,
    /// The key of each zone that signs the others, as a record.
    keys: [String; 2],
    _running: Running,
    folder: tempfile::TempDir,
    since: Instant,
}

impl World {
    fn new() -> Option<Self> {
        if !["dig", "delv", "unbound"].into_iter().all(is_installed) {
            return None;
        }
        let big: String = (1..=80).map(|host| format!("big A 198.51.100.{host}\n")).collect();
        let [test, other] = [[ZONE, OUT, &big].concat(), ZONE.to_owned()];
        let knot = servers::knot_signing(&[("test", &test, false), ("other", &other, true)])?;
        let keys = ["test", "other"].map(|zone| key(&knot, zone));
        let folder = tempfile::tempdir().unwrap();
        let ours = free_pair().0.local_addr().unwrap();
        let mut command = program();
        command.args(["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--data-dir"]);
        command.arg(folder.path().join("data")).args(["--dns", &ours.to_string()]);
        command.args(["--dns-forwarder", &knot.addr.to_string()]);
        let running = Running::start(&mut command, &folder.path().join("log"));
        until(Duration::from_secs(20), "the listener answers", || {
            servers::ask(ours, b"\x02ns\x04test\0", Kind::A, Duration::from_millis(200)).is_some()
        });
        Some(Self { knot, ours, keys, _running: running, folder, since: Instant::now() })
    }

    /// The same records, and TTLs that have run down since they were first asked for, at most.
    fn compare(&self, questions: &[(String, &str)], theirs: &[Said], options: &[&str]) {
        let ours = dig(self.ours, options, questions);
        // A second that has begun counts: until an alias led to what was known, and since then.
        let run_down = self.since.elapsed().as_secs() as u32 + 2;
        for ((question, ours), theirs) in questions.iter().zip(&ours).zip(theirs) {
            assert_eq!(
                (&ours.status, ours.bare()),
                (&theirs.status, theirs.bare()),
                "{question:?} {options:?}"
            );
            let wants_all = options.contains(&"+dnssec");
            assert_eq!(ours.edns_flags, if wants_all { "do" } else { "" }, "{question:?} {options:?}");
            assert!(!ours.has_flag("ad") && !ours.has_flag("tc"), "{question:?}: {ours:?}");
            for ((record, ttl), (_, most)) in ours.records.iter().zip(&theirs.records) {
                assert!((*most - run_down..=*most).contains(ttl), "{record}: {ttl} of {most}");
            }
        }
    }

    /// What `delv` says of a name, with the key of a zone for the only one to be trusted.
    fn delv(&self, zone: &str, key: &str, name: &str, kind: &str) -> String {
        let words: Vec<_> = key.split(' ').collect();
        let text = format!(
            "trust-anchors {{ \"{zone}.\" static-key {} {} {} \"{}\"; }};\n",
            words[2],
            words[3],
            words[4],
            words[5..].concat()
        );
        let file = self.folder.path().join("anchors");
        fs::write(&file, text).unwrap();
        let (ip, port) = (format!("@{}", self.ours.ip()), self.ours.port().to_string());
        let mut command = Command::new("delv");
        command.args([&ip, "-p", &port, "-a"]).arg(&file).arg(format!("+root={zone}"));
        let output = command.args(["-q", name, "-t", kind]).stdin(Stdio::null()).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    }
}

/// The key-signing key that Knot has made for a zone.
fn key(knot: &Foreign, zone: &str) -> String {
    let mut found = None;
    until(Duration::from_secs(20), "the zone is signed", || {
        let said = dig(knot.addr, &[], &[(format!("{zone}."), "DNSKEY")]).remove(0);
        found = said.bare().into_iter().find(|record| record.contains(" DNSKEY 257 ")).map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

fn questions() -> Vec<(String, &'static str)> {
    let below = |zone: &'static str| {
        ASKED.iter().map(move |(label, kind)| {
            let dot = if label.is_empty() { "" } else { "." };
            (format!("{label}{dot}{zone}."), *kind)
        })
    };
    ["test", "other"].into_iter().flat_map(below).collect()
}

/// What an authority says of both zones, as a resolver puts it together: the second part's word on
/// whether there is something holds.
fn put_together(knot: SocketAddr, options: &[&str]) -> Vec<Said> {
    let of = |names: [&str; 4]| dig(knot, options, &names.map(|name| (format!("{name}."), "A")));
    let parts = of(LEADING.map(|it| it.0)).into_iter().zip(of(LEADING.map(|it| it.1)));
    let put = |(first, second): (Said, Said)| {
        let mut records = [first.records, second.records].concat();
        records.sort();
        Said { records, ..second }
    };
    parts.map(put).collect()
}

#[test]
fn signed_zones_are_as_good_through_us() {
    let Some(mut world) = World::new() else { return };
    let (questions, knot) = (questions(), world.knot.addr);
    let leading: Vec<_> = LEADING.iter().map(|(name, _)| (format!("{name}."), "A")).collect();
    let theirs = [dig(knot, &["+dnssec"], &questions), put_together(knot, &["+dnssec"])].concat();
    let signed =
        theirs.iter().filter(|said| said.bare().iter().any(|record| record.contains(" RRSIG "))).count();
    assert_eq!(signed, theirs.len(), "Knot signs everything: {theirs:?}");
    let bare = [dig(knot, &[], &questions), put_together(knot, &[])].concat();
    let questions = [questions, leading].concat();
    world.compare(&questions, &theirs, &["+dnssec"]);
    world.compare(&questions[..4], &theirs, &["+dnssec", "+cdflag"]);
    // Answers without signatures are kept apart.
    world.compare(&questions, &bare, &[]);
    for (question, said) in questions.iter().zip(dig(world.ours, &[], &questions)) {
        let is_signed = |kind| kind == "RRSIG" || kind == "NSEC" && question.1 != "NSEC" || kind == "NSEC3";
        assert!(!said.kinds().any(is_signed), "{question:?}: {said:?}");
    }
    is_valid(&world);
    is_cut(&world);
    // Out of memory alone, and over TCP.
    world.knot.kill();
    world.compare(&questions, &theirs, &["+dnssec"]);
    world.compare(&questions, &theirs, &["+dnssec", "+tcp"]);
    world.compare(&questions, &bare, &["+tcp"]);
}

/// `delv` and unbound validate what comes through us.
fn is_valid(world: &World) {
    for (zone, key) in ["test", "other"].into_iter().zip(&world.keys) {
        // Each is a program of its own; unbound is asked for all of them.
        for (label, kind) in VALIDATED {
            let name = if label.is_empty() { format!("{zone}.") } else { format!("{label}.{zone}.") };
            let said = world.delv(zone, key, &name, kind);
            let words: Vec<_> =
                said.lines().filter(|line| line.starts_with("; ") && line.contains("validated")).collect();
            assert!(
                !words.is_empty() && !said.contains("unsigned") && !said.contains("authoritative"),
                "{name} {kind}: {said}"
            );
        }
    }
    let [_, wrong] = &world.keys;
    let said = world.delv("test", wrong, "a.test.", "A");
    assert!(!said.contains("fully validated"), "by another's key: {said}");
    let Some(unbound) = servers::unbound_validating(world.ours, &world.keys) else { return };
    let leading = LEADING.iter().map(|(name, _)| (format!("{name}."), "A"));
    let questions: Vec<_> = questions().into_iter().chain(leading).collect();
    for (question, said) in questions.iter().zip(dig(unbound.addr, &["+dnssec"], &questions)) {
        assert!(
            said.has_flag("ad") && ["NOERROR", "NXDOMAIN"].contains(&&*said.status),
            "{question:?}: {said:?}"
        );
    }
}

/// What does not fit into a datagram comes over TCP, whole.
fn is_cut(world: &World) {
    let question = [("big.test.".to_owned(), "A")];
    let cut = dig(world.ours, &["+dnssec", "+ignore"], &question).remove(0);
    assert!(cut.has_flag("tc") && cut.records.is_empty(), "{cut:?}");
    let theirs = dig(world.knot.addr, &["+dnssec", "+tcp"], &question);
    assert_eq!(theirs[0].records.len(), 81);
    world.compare(&question, &theirs, &["+dnssec"]);
}
