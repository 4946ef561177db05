//! How `run` ends, and why it does not start: within two seconds of Ctrl-C with everything
//! written; else with one clear sentence, the right exit code, and nothing lost.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dht_hunter::swarm::Config;
use support::{LiveSwarm, Mounted, Running, assert_sound, crawl, numbers, program, skipped, stored, until};

#[test]
fn ctrl_c_ends_within_two_seconds_with_everything_written() {
    let config = Config { nodes: 1_000, torrents: 2_000, peers_per_torrent: 1, seed: 7, ..Config::default() };
    let swarm = LiveSwarm::start(config);
    let (_folder, db, log) = place();
    let running = crawl(&db, &swarm.bootstrap, &[], &log);
    until(Duration::from_secs(20), "a crawl that is under way", || stored(&db) >= 100);
    running.interrupt();
    let (status, took, words) = running.ended(Duration::from_secs(10));
    assert!(status.success(), "{status}: {words}");
    assert!(took < Duration::from_secs(2), "{} ms", took.as_millis());
    let acknowledged = words.lines().find_map(|line| {
        let (_, rest) = line.split_once("stopped; ")?;
        rest.split_once(" new torrents")?.0.replace(',', "").parse().ok()
    });
    assert_eq!(Some(stored(&db)), acknowledged, "{words}");
    assert!(numbers(&db).is_some_and(|numbers| numbers.nodes > 0), "no nodes were saved");
    assert_sound(&db);
}

#[test]
fn a_doubled_sigterm_is_one() {
    let config = Config { nodes: 500, torrents: 1_000, peers_per_torrent: 1, seed: 3, ..Config::default() };
    let swarm = LiveSwarm::start(config);
    let (_folder, db, log) = place();
    let running = crawl(&db, &swarm.bootstrap, &[], &log);
    until(Duration::from_secs(20), "a crawl that is under way", || stored(&db) >= 50);
    running.terminate_twice();
    let (status, _, words) = running.ended(Duration::from_secs(10));
    assert!(status.success() && words.contains("stopped; "), "{status}: {words}");
    assert_sound(&db);
}

#[test]
fn a_second_engine_on_the_same_port_or_archive_does_not_start() {
    let (folder, db, log) = place();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let addr = socket.local_addr().expect("it is bound").to_string();
    refuses(
        &["run", "--listen", &addr, "--db", &text(&db)],
        1,
        &["another program listens on", &addr, "--listen"],
    );
    assert!(!db.exists(), "an archive was made for an engine that never ran");
    drop(socket);
    let running = crawl(&db, "127.0.0.1:9", &[], &log);
    until(Duration::from_secs(10), "an archive", || numbers(&db).is_some());
    let other = ["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--db", &text(&db)];
    refuses(&other, 1, &["another process writes to", "--db"]);
    running.stop();
    assert_sound(&db);
    drop(folder);
}

#[test]
fn bad_usage_is_exit_code_2() {
    refuses(&["run", "--packets-uot", "3"], 2, &["--packets-uot"]);
    refuses(&["run", "--listen", "here"], 2, &["here"]);
}

#[test]
fn an_archive_of_a_newer_program_is_left_alone() {
    let (_folder, db, log) = place();
    let running = crawl(&db, "127.0.0.1:9", &[], &log);
    until(Duration::from_secs(10), "an archive", || numbers(&db).is_some());
    running.stop();
    let conn = rusqlite::Connection::open(&db).expect("it opens");
    conn.pragma_update(None, "user_version", 999).expect("it can be written");
    conn.close().expect("it closes");
    let before = std::fs::read(&db).expect("it is a file");
    let flags = ["--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--db"];
    refuses(&[&["run"], &flags[..], &[&text(&db)]].concat(), 1, &["schema 999", "newer"]);
    assert!(std::fs::read(&db).expect("it is a file") == before, "it was changed");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let (folder, ..) = place();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("a new file");
    let flags = ["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--db"];
    let under = text(&file.join("x.db"));
    refuses(&[&flags[..], &[&under]].concat(), 1, &[&text(&file)]);
    let mounted = Mounted::new(folder.path(), "ro");
    let Some(mounted) = mounted else { return skipped("a read-only folder", "mounting needs root") };
    let db = text(&mounted.0.join("x.db"));
    refuses(&[&flags[..], &[&db]].concat(), 1, &[&db, "may not be written", "--db"]);
}

#[test]
fn a_full_disk_loses_nothing_and_says_so_once() {
    let (folder, ..) = place();
    let Some(mounted) = Mounted::new(folder.path(), "size=6m") else {
        return skipped("a full disk", "mounting needs root");
    };
    let config = Config { nodes: 1_000, torrents: 4_000, peers_per_torrent: 1, seed: 8, ..Config::default() };
    let swarm = LiveSwarm::start(config);
    let (db, log) = (mounted.0.join("full.db"), folder.path().join("log"));
    let flags = ["--disk-free-min", "0", "--packets-out", "off", "--keep", "info"];
    let running = crawl(&db, &swarm.bootstrap, &flags, &log);
    until(Duration::from_secs(60), "a disk that is full", || running.words().contains("the disk is full"));
    let before = stored(&db);
    running.interrupt();
    let (status, _, words) = running.ended(Duration::from_secs(10));
    assert!(status.success(), "{status}: {words}");
    assert!(stored(&db) >= before && before > 0, "{before} torrents were written, {} are left", stored(&db));
    assert_eq!(words.matches("the disk is full").count(), 1, "{words}");
    assert!(words.lines().count() < 15, "it goes on and on: {words}");
    assert_sound(&db);
}

#[test]
fn a_disk_that_is_nearly_full_pauses_fetching() {
    let (folder, ..) = place();
    let Some(mounted) = Mounted::new(folder.path(), "size=8m") else {
        return skipped("a nearly full disk", "mounting needs root");
    };
    let config = Config { nodes: 200, torrents: 200, seed: 9, ..Config::default() };
    let swarm = LiveSwarm::start(config);
    let (db, log) = (mounted.0.join("low.db"), folder.path().join("log"));
    // The default leaves 2 GiB to others: here there never was so much.
    let running = crawl(&db, &swarm.bootstrap, &[], &log);
    until(Duration::from_secs(20), "a sentence about space", || running.words().contains("space"));
    let words = running.stop();
    assert_eq!(words.lines().filter(|line| line.contains("space")).count(), 1, "{words}");
    assert_sound(&db);
}

#[test]
fn without_a_network_it_says_so_and_goes_on() {
    let (_folder, db, log) = place();
    let mut running = crawl(&db, "127.0.0.1:9", &[], &log);
    until(Duration::from_secs(40), "a sentence", || running.words().contains("no DHT node has answered"));
    assert!(running.is_running());
    let words = running.stop();
    assert_eq!(words.matches("no DHT node has answered").count(), 1, "{words}");
}

#[test]
fn a_machine_without_any_network_is_not_flooded_with_complaints() {
    let (_folder, db, log) = place();
    let name = format!("dht-hunter-stop-{}", std::process::id());
    let Some(namespace) = Alone::new(&name) else {
        return skipped("a machine without network", "a network namespace needs `ip` and root");
    };
    let ours = program();
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &namespace.0])
        .arg(ours.get_program())
        .args(["run", "--http", "off", "--db"]);
    // An address of nobody (RFC 5737), and there is no way to it.
    command.arg(&db).args(["--bootstrap", "192.0.2.1:6881"]);
    let mut running = Running::start(&mut command, &log);
    until(Duration::from_secs(40), "a sentence", || running.words().contains("no DHT node has answered"));
    assert!(running.is_running());
    let words = running.stop();
    assert!(words.lines().count() < 15, "{words}");
}

/// A folder, an archive and a log in it.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (db, log) = (folder.path().join("stop.db"), folder.path().join("log"));
    (folder, db, log)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// It ends by itself with this code and one sentence; what the log said before does not count.
fn refuses(args: &[&str], code: i32, parts: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(program().args(args), &folder.path().join("log"));
    let (status, _, words) = running.ended(Duration::from_secs(10));
    assert_eq!(status.code(), Some(code), "{words}");
    let sentences: Vec<_> = words.lines().filter(|line| line.starts_with("dht-hunter: ")).collect();
    assert_eq!(sentences.len(), 1, "one sentence: {words}");
    for part in parts {
        assert!(sentences[0].contains(part), "wants `{part}`: {words}");
    }
}

/// A network namespace with nothing in it.
struct Alone(String);

impl Alone {
    fn new(name: &str) -> Option<Self> {
        let output = Command::new("ip").args(["netns", "add", name]).output();
        output.is_ok_and(|output| output.status.success()).then(|| Self(name.to_owned()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).status());
    }
}
