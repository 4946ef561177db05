//! The binary as people meet it: exit codes, sentences, settings and where they come from.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the binary in an empty folder of its own, with nothing but `variables` set.
fn run(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
    command.args(args).current_dir(home).env_clear().env("HOME", home).envs(variables.iter().copied());
    command.output().unwrap()
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit code and the one sentence on standard error.
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said}");
    for part in parts {
        assert!(said.contains(part), "wants `{part}`: {said}");
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn wrong_usage_is_exit_code_2_and_a_sentence() {
    let home = home();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["run", "--flowz", "7"], &["--flowz", "--help"]),
        (&["run", "--flows", "many"], &["`many` is not a number", "20k"]),
        (&["run", "--listen", "6881"], &["6881", "0.0.0.0:6881"]),
        (&["run", "--config", "missing.toml"], &["missing.toml"]),
        (&["run", "--metadata-max", "17MiB"], &["16MiB"]),
        (&["peers", "nonsense"], &["is not an infohash", "magnet"]),
        (&["serch", "x"], &["serch"]),
        (&["swarm", "--nodes", "0"], &["--nodes"]),
        (&[], &["say what to do"]),
        (&["run", "--disk-max", "200"], &["--disk-max", "200GiB"]),
    ];
    for (args, parts) in cases {
        fails(&run(home.path(), args, &[]), 2, parts);
    }
}

#[test]
fn what_is_not_built_says_so() {
    let home = home();
    for args in [&["doctor"][..], &["network", "nat"], &["user", "add", "x"]] {
        fails(&run(home.path(), args, &[]), 1, &[args[0], "not built yet"]);
    }
}

#[test]
fn a_question_never_makes_an_archive() {
    let home = home();
    let db = home.path().join("sub/none.db");
    let db = db.to_str().unwrap();
    let hash = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    for args in [
        &["search", "x", "--db", db][..],
        &["show", hash, "--db", db],
        &["stats", "--db", db],
        &["export", "--db", db],
        &["delete", "x", "--db", db],
        &["db", "check", "--db", db],
        &["db", "reindex", "--db", db],
        &["health", "--db", db],
    ] {
        fails(&run(home.path(), args, &[]), 1, &["there is no archive at", "none.db"]);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    let other =
        write(home.path(), "other.db", "this is not a database, whatever its name says, and long enough\n");
    fails(&run(home.path(), &["stats", "--db", other.to_str().unwrap()], &[]), 1, &["is not an archive"]);
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let home = home();
    write(
        home.path(),
        "c.toml",
        "flows = 70\nfetches = 71\npackets-out = \"72/s\"\nlisten = [\"127.0.0.1:7\"]\n",
    );
    let variables = [
        ("DHT_HUNTER_FETCHES", "80"),
        ("DHT_HUNTER_PACKETS_OUT", "81"),
        ("DB_PATH", "/x/y.db"),
        ("PORT", "8080"),
    ];
    let args = ["config", "show", "--config", "c.toml", "--packets-out", "90", "--profile", "server"];
    let output = run(home.path(), &args, &variables);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for [name, value, origin] in [
        ["packets-out", "90", "flag"],
        ["fetches", "80", "environment DHT_HUNTER_FETCHES"],
        ["db", "/x/y.db", "environment DB_PATH"],
        ["http", "127.0.0.1:8080", "environment PORT"],
        ["flows", "70", "file c.toml"],
        ["listen", "127.0.0.1:7", "file c.toml"],
        ["half-open", "1000", "profile server"],
        ["disk-free-min", "2GiB", "default"],
    ] {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), format!("{name} {value} {origin}"));
    }
}

#[test]
fn config_show_as_json_is_a_value_a_line() {
    let home = home();
    let output = run(home.path(), &["config", "show", "--json"], &[("STATE_DIRECTORY", "/var/lib/d")]);
    let rows: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| row["name"] == "db").unwrap();
    assert_eq!(
        (row["value"].as_str(), row["origin"].as_str()),
        (Some("/var/lib/d/dht-hunter.db"), Some("default"))
    );
    assert!(rows.len() > 35);
}

#[test]
fn wrong_environment_and_file_name_their_place() {
    let home = home();
    fails(
        &run(home.path(), &["config", "show"], &[("DHT_HUNTER_FLOWS", "x")]),
        2,
        &["DHT_HUNTER_FLOWS", "`x`"],
    );
    write(home.path(), "c.toml", "profile = \"max\"\nflowz = 1\n");
    fails(&run(home.path(), &["run", "--config", "c.toml"], &[]), 2, &["c.toml", "flowz", "config show"]);
}

#[test]
fn help_shows_the_everyday_flags_and_all_of_them() {
    let home = home();
    let short = stdout(&run(home.path(), &["run", "--help"], &[]));
    let long = stdout(&run(home.path(), &["run", "--help", "--all"], &[]));
    assert!(short.contains("--profile") && short.contains("--help --all") && !short.contains("--udp-batch"));
    for flag in ["--profile", "--udp-batch", "--dns-forwarder", "--no-nat", "--redis"] {
        assert!(long.contains(flag), "{flag}");
    }
    assert!(short.lines().all(|line| line.chars().count() <= 110), "fits a terminal");
    let commands = stdout(&run(home.path(), &["--help"], &[]));
    for command in ["run", "demo", "search", "find-node", "completions"] {
        assert!(commands.contains(command), "{command}");
    }
}

#[test]
fn whoever_types_only_the_name_sees_what_there_is() {
    let home = home();
    let alone = stdout(&run(home.path(), &[], &[]));
    for args in [&["help"][..], &["--help"]] {
        let output = run(home.path(), args, &[]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), alone.clone()), "{args:?}");
    }
    assert!(alone.contains("Archive:\n  search ") && !alone.contains("not built"), "{alone}");
    for hidden in ["doctor", "import", "client", "user", "node"] {
        assert!(!alone.contains(&format!("\n  {hidden} ")), "{hidden}: {alone}");
    }
    let of_run = stdout(&run(home.path(), &["help", "run"], &[]));
    assert!(of_run.contains("--profile") && !of_run.contains("--udp-batch"));
    assert!(stdout(&run(home.path(), &["help", "run", "--all"], &[])).contains("--udp-batch"));
    let db = run(home.path(), &["db"], &[]);
    assert!(db.status.code() == Some(2) && stdout(&db).contains("reindex"));
}

#[test]
fn settings_that_are_not_built_are_not_shown_unless_they_were_given() {
    let home = home();
    let shown = |args: &[&str]| {
        let text = stdout(&run(home.path(), &[&["config", "show"], args].concat(), &[]));
        text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let names = shown(&[]);
    assert!(names.contains(&"flows".to_owned()) && !names.contains(&"redis".to_owned()), "{names:?}");
    assert!(shown(&["--redis", "redis://x"]).contains(&"redis".to_owned()));
}

#[test]
fn packagers_get_completions_and_a_manual_page() {
    let home = home();
    for shell in ["bash", "fish", "zsh"] {
        let output = run(home.path(), &["completions", shell], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("packets-out"), "{shell}");
    }
    let page = stdout(&run(home.path(), &["man"], &[]));
    assert!(page.contains(".TH") && page.contains("COMMAND RUN") && page.contains("udp\\-batch"));
}

#[test]
fn the_version_is_printed() {
    let home = home();
    let output = run(home.path(), &["--version"], &[]);
    assert_eq!(stdout(&output).trim_end(), concat!("dht-hunter ", env!("CARGO_PKG_VERSION")));
}

/// A swarm of the binary's own; killed when dropped.
struct Swarm {
    child: std::process::Child,
    bootstrap: String,
    infohashes: Vec<String>,
}

impl Swarm {
    fn start(home: &Path) -> Self {
        use std::io::{BufRead, BufReader};
        let list = home.join("list");
        let mut child = Command::new(env!("CARGO_BIN_EXE_dht-hunter"))
            .args(["--json", "swarm", "--nodes", "200", "--torrents", "20", "--list"])
            .arg(&list)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let infohashes = std::fs::read_to_string(list).unwrap().lines().map(str::to_owned).collect();
        Self { child, bootstrap: told["bootstrap"].as_str().unwrap().to_owned(), infohashes }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn single_operations_end_by_what_was_asked() {
    let home = home();
    let swarm = Swarm::start(home.path());
    let (known, unknown) = (swarm.infohashes[0].as_str(), "0000000000000000000000000000000000000001");
    let dht = ["--bootstrap", swarm.bootstrap.as_str()];
    let code = |args: &[&str]| {
        let output = run(home.path(), &[args, &dht].concat(), &[]);
        (output.status.code().unwrap(), stdout(&output))
    };
    assert_eq!(code(&["ping", &swarm.bootstrap]).0, 0);
    assert_eq!(code(&["find-node", unknown]).0, 0);
    let (found, said) = code(&["peers", known]);
    assert!(found == 0 && said.contains("\npeer 127."), "{said}");
    assert_eq!(code(&["peers", unknown]).0, 3);
    assert_eq!(code(&["scrape", known]).0, 0);
    assert_eq!(code(&["scrape", unknown]).0, 3);
    let json = run(home.path(), &[&["peers", known, "--json"], &dht[..]].concat(), &[]);
    let rows: Vec<serde_json::Value> =
        stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let peers = rows.iter().filter(|row| row["peer"].is_string()).count();
    assert!(peers > 0 && rows.len() == peers + 1, "nothing but the answer: {rows:?}");
    assert_eq!(rows[peers]["done"]["peers_found"], peers);
    let json = run(home.path(), &[&["scrape", known, "--json"], &dht[..]].concat(), &[]);
    let rows: Vec<serde_json::Value> =
        stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let estimate = rows.iter().find(|row| row["leechers"].is_u64()).unwrap();
    assert!(estimate["seeders"].is_u64() && estimate["peers"].is_null(), "{rows:?}");
    let (announced, said) = code(&["announce", unknown, "7000"]);
    assert!(announced == 0 && said.contains("announced to 8"), "{said}");
    let all: Vec<&str> = swarm.infohashes.iter().map(String::as_str).collect();
    assert_eq!(code(&[&["fetch", "-o", "all"], all.as_slice()].concat()).0, 0);
    assert_eq!(std::fs::read_dir(home.path().join("all")).unwrap().count(), all.len());
    let some = run(home.path(), &[&["fetch", known, unknown, "--timeout", "3s"], &dht[..]].concat(), &[]);
    let said = String::from_utf8(some.stderr.clone()).unwrap();
    assert!(some.status.code() == Some(1) && said.contains("1 of 2 torrents were fetched"), "{said}");
    assert_eq!(code(&["fetch", unknown, "--timeout", "2s"]).0, 3);
    // Nothing is left to be asked long before that: this ends by itself.
    let (given_up, _) = code(&["fetch", unknown, "--timeout", "off"]);
    assert_eq!(given_up, 3);
    files_are_compared(home.path(), &swarm, known);
}

/// A file of that name is no proof that the torrent is there.
fn files_are_compared(home: &Path, swarm: &Swarm, known: &str) {
    let fetch = || {
        let args = ["fetch", known, "-o", "some", "--json", "--bootstrap", swarm.bootstrap.as_str()];
        let output = run(home, &args, &[]);
        let row: serde_json::Value =
            serde_json::from_str(stdout(&output).lines().next().unwrap_or("null")).unwrap();
        (output, row)
    };
    let (first, row) = fetch();
    assert_eq!((first.status.code(), row["asked"].as_str()), (Some(0), Some(known)));
    let path = home.join(row["file"].as_str().unwrap());
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.starts_with(b"d4:info"));
    for broken in [&b""[..], &whole[..whole.len() / 2], &[b'x'; 4_000]] {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(fetch().0.status.code(), Some(0));
        assert_eq!(std::fs::read(&path).unwrap(), whole, "made whole again");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (folder, row) = fetch();
    assert_eq!((folder.status.code(), row["found"].as_bool()), (Some(1), Some(false)));
    assert!(row["why"].as_str().is_some_and(|why| why.contains("is a folder")), "{row}");
}

/// Answers every datagram with a KRPC error for as long as the test runs; its address.
fn refusing_node() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..len];
            // The transaction id is the last string before `1:y`.
            let Some(at) = query.windows(3).rposition(|part| part == b"1:t") else { continue };
            let digits = query[at + 3..].iter().take_while(|c| c.is_ascii_digit()).count();
            let size: usize = String::from_utf8_lossy(&query[at + 3..at + 3 + digits]).parse().unwrap();
            let id = &query[at + 3..at + 4 + digits + size];
            let reply = [&b"d1:eli202e12:Server Errore1:t"[..], id, b"1:y1:ee"].concat();
            socket.send_to(&reply, from).unwrap();
        }
    });
    addr
}

#[test]
fn a_node_that_refuses_is_no_silent_network() {
    let home = home();
    let node = refusing_node();
    let hash = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    let ping = run(home.path(), &["ping", &node, "--timeout", "off"], &[]);
    let said = String::from_utf8(ping.stderr.clone()).unwrap();
    assert!(ping.status.code() == Some(3) && said.contains("202 Server Error"), "{said}");
    for args in [&["peers", hash][..], &["find-node", hash], &["fetch", hash]] {
        let args = [args, &["--bootstrap", &node, "--timeout", "off"]].concat();
        let output = run(home.path(), &args, &[]);
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("error"), "{args:?}: {said}");
        assert!(!said.contains("whether UDP gets out"), "{args:?}: {said}");
    }
}

#[test]
fn a_refused_connection_ends_what_has_nobody_else_to_ask() {
    let home = home();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let hash = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    let output = run(home.path(), &["fetch", hash, "--peer", &closed, "--timeout", "off"], &[]);
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("the only peer known"), "{said}");
}

#[test]
fn addresses_that_are_never_contacted_are_refused() {
    let home = home();
    let hash = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    let cases: [(&[&str], &[&str]); 6] = [
        (&["ping", "127.0.0.1:0"], &["port 0"]),
        (&["peers", hash, "--bootstrap", "127.0.0.1:0"], &["port 0"]),
        (&["fetch", hash, "--peer", "127.0.0.1:0"], &["port 0"]),
        (&["ping", "224.0.0.1:5"], &["no address of a node"]),
        (&["ping", "127.0.0.1:5", "--listen", "0.0.0.0:0"], &["on this machine", "--listen 127.0.0.1:0"]),
        (&["run", "--bootstrap", "127.0.0.1:5"], &["on this machine", "--listen"]),
    ];
    for (args, parts) in cases {
        fails(&run(home.path(), args, &[]), 2, parts);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_is_no_archive() {
    let home = home();
    std::fs::create_dir(home.path().join("d")).unwrap();
    for args in [&["stats", "--db", "d"][..], &["search", "x", "--db", "d"], &["db", "check", "--db", "d"]] {
        fails(&run(home.path(), args, &[]), 1, &["is a folder", "--db"]);
    }
}

/// A reader that has enough is no failure, and nobody is told twice.
#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_quietly() {
    use std::process::Stdio;
    let home = home();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dht-hunter"))
        .args(["completions", "zsh"])
        .env("HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn what_was_changed_while_running_counts_at_the_next_start() {
    use dht_hunter::model::StoreOp;
    use dht_hunter::store::{Store, StoreConfig};

    let home = home();
    let db = home.path().join("kept.db");
    let (mut store, _) = Store::open(StoreConfig { db, ..StoreConfig::default() }, || {}).unwrap();
    for (name, value) in [("flag.flows", "77"), ("flag.fetches", "78"), ("flag.db", "other.db"), ("x", "y")] {
        store.submit(StoreOp::Setting(name, value.to_owned())).unwrap();
    }
    store.close();
    let shown = run(home.path(), &["config", "show", "--db", "kept.db", "--fetches", "5", "--json"], &[]);
    let said = stdout(&shown);
    let line = |name: &str| {
        let found = said.lines().find(|line| line.contains(&format!("\"{name}\"")));
        found.unwrap_or_else(|| panic!("{name}: {said}")).to_owned()
    };
    assert!(line("flows").contains("\"77\"") && line("flows").contains("changed while running"), "{said}");
    assert!(line("fetches").contains("\"5\"") && line("fetches").contains("\"flag\""), "{said}");
    assert!(line("db").contains("kept.db"), "{said}");
}
