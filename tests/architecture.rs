//! The plan of the house as code: who may import whom, and what a room must not touch.
//!
//! Reads every file under `src/` as text. A rule here is changed together with the map in
//! `src/lib.rs`; an exception carries its reason, and one that is no longer needed fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "architecture/lex.rs"]
mod lex;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lex::Source;

/// Rooms by storey. A room may import from the storeys below its own, never from its own.
const STOREYS: [&[&str]; 8] = [
    &["base", "guide"],
    &["model"],
    &["wire"],
    &["cluster", "dht", "dns", "events", "mesh", "metadata", "nat", "preconnect", "web"],
    &["engine"],
    &["reactor", "sim", "store"],
    &["embed", "swarm"],
    &["cli"],
];

/// What only some rooms may touch.
struct Rule {
    what: &'static str,
    /// A path that holds one of these runs of segments breaks the rule.
    patterns: &'static [&'static [&'static str]],
    /// Path prefixes under `src/` that are free of the rule, each with its reason.
    free: &'static [(&'static str, &'static str)],
    /// Unit tests keep the rule too.
    in_tests: bool,
}

const RULES: [Rule; 9] = [
    Rule {
        what: "reads the clock",
        patterns: &[
            &["Instant", "now"],
            &["SystemTime", "now"],
            &["std", "time", "Instant"],
            &["std", "time", "SystemTime"],
            &["std", "time", "*"],
        ],
        free: &[
            ("reactor/", "the driver: reads it once a turn and hands it down"),
            ("store/", "the writer's commit timer and its report of how long a commit took"),
            ("swarm/", "a program of its own on real sockets; measures the engine from outside"),
            ("embed/", "when a file of the system was changed"),
            ("cli/", "progress lines, and the age of what is shown"),
        ],
        in_tests: true,
    },
    Rule {
        what: "draws randomness from the system",
        patterns: &[
            &["thread_rng"],
            &["ThreadRng"],
            &["rand", "rng"],
            &["rand", "random"],
            &["OsRng"],
            &["SysRng"],
            &["getrandom"],
            &["from_os_rng"],
            &["from_entropy"],
            &["SystemRandom"],
        ],
        free: &[
            ("reactor/", "the driver seeds the engine"),
            ("swarm/", "seeds itself when no --seed is given"),
            ("cli/", "makes seeds and keys"),
        ],
        in_tests: true,
    },
    Rule {
        what: "uses a hash map whose order differs from run to run (base::hash::Map does not)",
        patterns: &[&["HashMap"], &["HashSet"], &["RandomState"], &["DefaultHasher"]],
        free: &[
            ("base/hash.rs", "where the seeded ones are made"),
            ("reactor/", "not replayed"),
            ("store/", "not replayed"),
            ("swarm/", "not replayed"),
            ("cli/", "not replayed"),
        ],
        in_tests: false,
    },
    Rule {
        what: "sleeps",
        patterns: &[&["thread", "sleep"], &["thread", "park_timeout"]],
        free: &[
            ("store/", "the writer naps between looks at its queue while a batch is open"),
            ("swarm/", "paces its stalling peers from a thread of its own"),
            ("cli/", "waits for people"),
        ],
        in_tests: true,
    },
    Rule {
        what: "names a socket type",
        patterns: &[
            &["UdpSocket"],
            &["TcpStream"],
            &["TcpListener"],
            &["UnixStream"],
            &["UnixDatagram"],
            &["UnixListener"],
            &["mio"],
            &["socket2"],
            &["std", "net", "*"],
        ],
        free: &[
            ("reactor/", "the driver with sockets"),
            ("swarm/", "a DHT on real sockets"),
            ("cli/", "the check of a port before the engine starts"),
        ],
        in_tests: true,
    },
    Rule {
        what: "starts a thread",
        patterns: &[&["thread", "spawn"], &["thread", "Builder"], &["thread", "scope"]],
        free: &[
            ("reactor/", "workers"),
            ("store/", "the writer and the readers"),
            ("swarm/", "runs beside the engine"),
            ("embed/", "an engine behind calls that wait for it"),
            ("cli/", "starts all of these"),
        ],
        in_tests: false,
    },
    Rule {
        what: "calls the operating system past the standard library",
        patterns: &[&["libc"], &["nix"], &["std", "os"]],
        free: &[("reactor/sys/", "the one place for it")],
        in_tests: true,
    },
    Rule {
        what: "has the system look up a name (the engine does)",
        patterns: &[&["ToSocketAddrs"], &["to_socket_addrs"], &["getaddrinfo"], &["lookup_host"]],
        free: &[],
        in_tests: true,
    },
    Rule {
        what: "is unsafe",
        patterns: &[&["unsafe"]],
        free: &[("reactor/sys/", "the one place for it")],
        in_tests: true,
    },
];

/// `(rule, file, reason)`: single files that break a rule for now. The list only shrinks.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// Longest function, from `fn` to its closing brace: one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file without its tests.
const FILE_LINES_MAX: usize = 800;

#[test]
fn the_house_keeps_its_plan() {
    let files = read_sources();
    assert!(files.len() > 10, "found only {} files: is the checker looking in the right place?", files.len());
    let mut broken: Vec<String> = files.iter().flat_map(check).collect();
    broken.extend(cycle(&files));
    broken.extend(unused_exceptions(&files));
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_storey_names_a_room_once() {
    let all: Vec<&str> = STOREYS.iter().copied().flatten().copied().collect();
    let distinct: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), distinct.len());
    for file in read_sources() {
        if let Some(room) = file.room() {
            assert!(all.contains(&room), "src/{}: the plan has no room `{room}`", file.path);
        }
    }
}

fn read_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut files: Vec<Source> = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        files.push(Source::new(&name, &text));
    }
    lex::mark_test_files(&mut files);
    files
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

/// Everything wrong with one file, a sentence each.
fn check(file: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    if !file.starts_with_purpose {
        broken.push(format!("src/{}:1: does not say what it is for (`//!`)", file.path));
    }
    if file.code_lines > FILE_LINES_MAX {
        broken.push(format!(
            "src/{}: {} lines without tests, at most {FILE_LINES_MAX}",
            file.path, file.code_lines
        ));
    }
    for function in &file.functions {
        if function.lines > FUNCTION_LINES_MAX {
            broken.push(format!(
                "src/{}:{}: `{}` has {} lines, at most {FUNCTION_LINES_MAX}",
                file.path, function.line, function.name, function.lines
            ));
        }
    }
    for fault in &file.faults {
        broken.push(format!("src/{}:{}: {}", file.path, fault.line, fault.what));
    }
    broken.extend(check_arrows(file));
    broken.extend(RULES.iter().flat_map(|rule| check_rule(file, rule)));
    broken
}

fn check_arrows(file: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, target) in file.arrows() {
        let allowed = match file.room() {
            None => file.path != "main.rs" || target == "cli",
            Some(own) => own == target || storey(own) > storey(target),
        };
        if storey(target).is_none() {
            broken.push(format!("src/{}:{line}: the plan has no room `{target}`", file.path));
        } else if !allowed {
            let own = file.room().unwrap_or("main");
            broken.push(format!("src/{}:{line}: `{own}` may not import `{target}`", file.path));
        }
    }
    broken
}

fn check_rule(file: &Source, rule: &Rule) -> Vec<String> {
    if rule.free.iter().any(|(prefix, _)| file.path.starts_with(prefix)) || excepted(rule, file) {
        return Vec::new();
    }
    let hits = breaches(file, rule);
    hits.into_iter().map(|(line, path)| format!("src/{}:{line}: `{path}` {}", file.path, rule.what)).collect()
}

fn breaches(file: &Source, rule: &Rule) -> Vec<(usize, String)> {
    let mut hits = Vec::new();
    for path in file.paths.iter().filter(|path| rule.in_tests || !path.in_test) {
        let breaks = |pattern: &&[&str]| path.segments.windows(pattern.len()).any(|run| run == *pattern);
        if rule.patterns.iter().any(breaks) {
            hits.push((path.line, path.segments.join("::")));
        }
    }
    hits
}

fn excepted(rule: &Rule, file: &Source) -> bool {
    EXCEPTIONS.iter().any(|(what, path, _)| *what == rule.what && *path == file.path)
}

fn unused_exceptions(files: &[Source]) -> Vec<String> {
    let mut unused = Vec::new();
    for (what, path, _) in EXCEPTIONS {
        let rule = RULES.iter().find(|rule| rule.what == what);
        let file = files.iter().find(|file| file.path == path);
        let used = rule.zip(file).is_some_and(|(rule, file)| !breaches(file, rule).is_empty());
        if !used {
            unused.push(format!("src/{path}: the exception for a file that `{what}` is no longer needed"));
        }
    }
    unused
}

/// Rooms that reach themselves over others, whatever the table says.
fn cycle(files: &[Source]) -> Option<String> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let Some(room) = file.room() else { continue };
        let targets = file.arrows().into_iter().map(|(_, target)| target).filter(|target| *target != room);
        edges.entry(room).or_default().extend(targets);
    }
    // Peel off rooms that import nothing that is left; what cannot be peeled is a cycle.
    loop {
        let rooms: BTreeSet<&str> = edges.keys().copied().collect();
        let before = edges.len();
        edges.retain(|_, targets| targets.iter().any(|target| rooms.contains(target)));
        if edges.is_empty() {
            return None;
        }
        if edges.len() == before {
            let rooms: Vec<&str> = edges.into_keys().collect();
            return Some(format!("rooms import each other in a circle: {}", rooms.join(", ")));
        }
    }
}

fn storey(room: &str) -> Option<usize> {
    STOREYS.iter().position(|rooms| rooms.contains(&room))
}

// The checker checked: a check that cannot fail is a defect.

fn faults(path: &str, text: &str) -> Vec<String> {
    check(&Source::new(path, &format!("//! Purpose.\n{text}")))
}

fn assert_caught(path: &str, text: &str, part: &str) {
    let faults = faults(path, text);
    assert!(
        faults.iter().any(|fault| fault.contains(part)),
        "{path}: {text}\nwants `{part}`, got {faults:?}"
    );
}

fn assert_clean(path: &str, text: &str) {
    assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn arrows_that_the_plan_forbids_are_caught() {
    let cases = [
        ("dht/a.rs", "use crate::metadata::Fetch;", "`dht` may not import `metadata`"),
        (
            "dht/a.rs",
            "use crate::{base::Id, wire::{self, krpc}, metadata};",
            "`dht` may not import `metadata`",
        ),
        ("base/id.rs", "fn f() -> crate::model::Torrent { todo!() }", "`base` may not import `model`"),
        ("base/id.rs", "use super::super::wire::krpc;", "`base` may not import `wire`"),
        ("base/mod.rs", "use super::{model, wire};", "`base` may not import `wire`"),
        ("wire/a.rs", "mod inner { use super::super::super::dht::Table; }", "`wire` may not import `dht`"),
        ("wire/a.rs", "mod inner { fn f() { self::super::super::super::dht::x() } }", "may not import `dht`"),
        ("store/a.rs", "#[cfg(test)] mod tests { use crate::reactor::Net; }", "may not import `reactor`"),
        ("sim/a.rs", "type S = Vec<crate::store::Archive>;", "`sim` may not import `store`"),
        ("engine/a.rs", "pub(in crate::engine) fn f(_: &crate::cli::Args) {}", "may not import `cli`"),
        ("dht/a.rs", "use dht_hunter::engine::Engine;", "`dht` may not import `engine`"),
        ("main.rs", "fn main() { dht_hunter::store::open() }", "`main` may not import `store`"),
        ("dht/a.rs", "use crate::helper::x;", "no room `helper`"),
        ("dht/a.rs", "use crate as c;", "under another name"),
        ("dht/a.rs", "use crate::*;", "everything"),
        ("dht/a.rs", "use super::super as root;", "under another name"),
        ("dht/a.rs", "extern crate self as c;", "extern crate"),
        ("dht/a.rs", "#[path = \"../store/mod.rs\"] mod store;", "#[path]"),
        ("dht/a.rs", "include!(\"../store/mod.rs\");", "include!"),
    ];
    for (path, text, part) in cases {
        assert_caught(path, text, part);
    }
}

#[test]
fn arrows_that_the_plan_allows_are_not() {
    assert_clean(
        "dht/a.rs",
        "use crate::{base::Id, wire::{self, krpc as k}, model::*};\nuse super::table::Table;",
    );
    assert_clean("engine/wiring/found.rs", "use super::super::io::Output;\nuse crate::{dht, metadata};");
    assert_clean(
        "dht/a.rs",
        "// crate::metadata\n/* /* crate::engine */ crate::store */ const S: &str = \"crate::web\";",
    );
    assert_clean(
        "dht/a.rs",
        "const S: &str = r#\"\"crate::web\"\"#; const C: char = '\"'; fn f<'a>(_: &'a crate::base::Id) {}",
    );
    assert_clean("main.rs", "fn main() -> std::process::ExitCode { dht_hunter::cli::main() }");
    assert_clean("wire/a.rs", "mod inner { use super::super::krpc; }");
}

#[test]
fn forbidden_things_are_caught() {
    let cases = [
        ("dht/a.rs", "fn f() { let _ = std::time::Instant::now(); }", "reads the clock"),
        ("dht/a.rs", "use std::time::{Duration, SystemTime as Wall};", "reads the clock"),
        ("sim/a.rs", "fn f() { time::Instant::now(); }", "reads the clock"),
        ("dht/a.rs", "fn f() { rand::rng().next_u32(); }", "draws randomness"),
        ("engine/a.rs", "use rand::rngs::SysRng;", "draws randomness"),
        ("dht/a.rs", "use std::collections::{BTreeMap, HashMap};", "hash map"),
        ("sim/a.rs", "fn f() { let s = std::hash::RandomState::new(); }", "hash map"),
        ("reactor/a.rs", "fn f() { std::thread::sleep(D); }", "sleeps"),
        ("dht/a.rs", "use std::{net::{SocketAddr, UdpSocket}, fmt};", "socket type"),
        ("wire/a.rs", "use std::net::*;", "socket type"),
        ("store/a.rs", "use mio::Waker;", "socket type"),
        ("dht/a.rs", "fn f() { std::thread::spawn(|| ()); }", "starts a thread"),
        ("reactor/turn.rs", "use std::os::fd::AsRawFd;", "past the standard library"),
        ("store/a.rs", "fn f() { libc::getpid(); }", "past the standard library"),
        ("reactor/turn.rs", "fn f() { unsafe { g() } }", "is unsafe"),
        ("cli/a.rs", "fn f() { (\"host\", 1).to_socket_addrs(); }", "look up a name"),
        ("reactor/sys/a.rs", "use std::net::{SocketAddr, ToSocketAddrs as _};", "look up a name"),
        ("reactor/sys/a.rs", "fn f() { unsafe { libc::getaddrinfo() } }", "look up a name"),
        ("embed/a.rs", "use crate::swarm::Swarm;", "`embed` may not import `swarm`"),
    ];
    for (path, text, part) in cases {
        assert_caught(path, text, part);
    }
}

#[test]
fn every_rule_has_a_free_room_that_it_lets_through() {
    assert_clean("reactor/turn.rs", "use mio::net::UdpSocket;\nfn f() { std::time::Instant::now(); }");
    assert_clean("reactor/sys/linux.rs", "use std::os::fd::RawFd;\nfn f() { unsafe { libc::getpid() } }");
    assert_clean(
        "dht/a.rs",
        "use crate::base::Instant;\n#[cfg(test)] mod tests { use std::collections::HashSet; }",
    );
    for rule in &RULES {
        assert!(rule.free.iter().all(|(_, reason)| !reason.is_empty()), "{}", rule.what);
    }
}

#[test]
fn length_is_counted_without_tests() {
    let long = |lines: usize| format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2));
    assert_clean("dht/a.rs", &long(FUNCTION_LINES_MAX));
    assert_caught("dht/a.rs", &long(FUNCTION_LINES_MAX + 1), "`long` has 71 lines");
    let nested =
        format!("impl A {{\n    const fn a<'x>(b: [u8; 3]) -> [u8; {{ 2 }}] where A: B {}}}", "{\n\n}\n");
    assert_clean("dht/a.rs", &nested);
    assert_clean("dht/a.rs", &format!("#[cfg(test)]\nmod tests {{\n    #[test]\n{}}}", long(200)));
    assert_caught("dht/a.rs", &format!("#[cfg(not(test))]\nmod real {{\n{}}}", long(200)), "200 lines");
    let many = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX);
    assert_caught("dht/a.rs", &many, "801 lines without tests");
    assert_clean("dht/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{many}}}\n"));
    assert!(
        check(&Source::new("dht/a.rs", "fn f() {}")).iter().any(|fault| fault.contains("what it is for"))
    );
}

#[test]
fn a_test_file_of_its_own_counts_as_tests() {
    let mut files = vec![
        Source::new("dht/mod.rs", "//! P\n#[cfg(test)]\nmod tests;\nmod real;"),
        Source::new("dht/tests.rs", "//! P\nuse std::collections::HashMap;"),
        Source::new("dht/real.rs", "//! P\nuse std::collections::HashMap;"),
    ];
    lex::mark_test_files(&mut files);
    let broken: Vec<usize> = files.iter().map(|file| check(file).len()).collect();
    assert_eq!(broken, [0, 0, 1]);
}

#[test]
fn a_circle_of_rooms_is_caught() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let line = [source("wire/a.rs", "use crate::base::X;"), source("base/a.rs", "use super::b;")];
    assert_eq!(cycle(&line), None);
    let circle = [
        source("wire/a.rs", "use crate::base::X;"),
        source("base/a.rs", "use crate::model::Y;"),
        source("model/a.rs", "fn f() { crate::wire::z() }"),
    ];
    assert!(cycle(&circle).unwrap().contains("base, model, wire"));
}
