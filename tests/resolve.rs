//! `resolve` against servers on loopback: one that is played here and misbehaves as told, and
//! unbound. What is not installed is skipped with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a
//! failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/played.rs"]
mod played;
#[path = "support/servers.rs"]
mod servers;
mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use played::{Manner, Server};
use serde_json::Value;
use servers::Foreign;
use support::program;

fn resolve(args: &[&str]) -> Output {
    program().arg("resolve").args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_name_its_addresses_ttl_source_and_time() {
    let server = Server::start(Manner::Good);
    let shown = resolve(&["n9.test.", &server.at()]);
    let words = text(&shown);
    assert!(shown.status.success(), "{words}");
    assert!(words.contains("A  127.0.0.9  TTL 300") && words.contains("AAAA  fd00::9  TTL 200"), "{words}");
    assert!(words.contains(&server.addr.to_string()) && words.trim_end().ends_with(" ms"), "{words}");
    let json = lines(&resolve(&["--json", "n9.test.", &server.at()]));
    assert_eq!((&json[0]["ipv4"][0], &json[0]["ipv6"][0]), (&"127.0.0.9".into(), &"fd00::9".into()));
    assert_eq!(json[0]["source"], server.addr.to_string());
    let mx = text(&resolve(&["n9.test.", "--type", "mx", &server.at()]));
    assert!(mx.contains("MX  10 mail.test.  TTL 100"), "{mx}");
}

#[test]
fn what_is_not_there_says_so_and_exits_with_3() {
    let server = Server::start(Manner::Good);
    for (args, words) in [
        (["no.test.", "--type", "A"], "there is no such name"),
        (["n9.test.", "--type", "TXT"], "it has no TXT record"),
        (["other.test.", "--type", "AAAA"], "it has no AAAA record"),
    ] {
        let shown = resolve(&[args.as_slice(), &[&server.at()]].concat());
        assert_eq!(shown.status.code(), Some(3));
        assert!(text(&shown).contains(words), "{}", text(&shown));
    }
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for (args, words) in [
        (vec![], "no name is given"),
        (vec!["a.test", "--type", "NOPE"], "no record type"),
        (vec!["a.test", "@nowhere"], "no address of a server"),
        (vec!["a.test", "@127.0.0.1:0"], "no address of a server"),
        (vec!["a.test", "--file", "x"], "not both"),
    ] {
        let shown = resolve(&args);
        assert_eq!(shown.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&shown.stderr).contains(words), "{args:?}");
    }
}

#[test]
fn a_cut_answer_comes_over_tcp() {
    let server = Server::start(Manner::Cut);
    let shown = text(&resolve(&["n5.test.", "--type", "A", &server.at()]));
    assert!(shown.contains("127.0.0.5"), "{shown}");
}

#[test]
fn whatever_a_server_does_the_good_one_answers() {
    let good = Server::start(Manner::Good);
    for manner in [Manner::Silent, Manner::Garbage, Manner::Endless, Manner::HugeNonsense, Manner::Forged] {
        let bad = Server::start(manner);
        let shown = resolve(&["n7.test.", "--type", "A", &bad.at(), &good.at()]);
        let words = text(&shown);
        assert!(words.contains("127.0.0.7") && !words.contains("6.6.6.6"), "{manner:?}: {words}");
        assert!(shown.status.success(), "{manner:?}");
    }
}

#[test]
fn without_any_good_server_it_fails_in_its_time_and_says_why() {
    for (manner, words) in [
        (Manner::Silent, "no DNS server answered in time"),
        (Manner::Endless, "its aliases lead in a circle, or too far"),
    ] {
        let bad = Server::start(manner);
        let shown = resolve(&["n7.test.", "--type", "A", &bad.at()]);
        assert_eq!(shown.status.code(), Some(3), "{manner:?}");
        assert!(text(&shown).contains(words), "{manner:?}: {}", text(&shown));
    }
}

#[test]
fn a_file_of_names_is_answered_line_by_line_and_each_is_asked_once() {
    let server = Server::start(Manner::Good);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names");
    let names: Vec<String> = (0..2_000_u16).map(|number| format!("n{}.test", number % 1_500)).collect();
    fs::write(&file, format!("# names\n\n{}\na..b\n", names.join("\n"))).unwrap();
    let shown = resolve(&["--file", file.to_str().unwrap(), "--type", "A", &server.at()]);
    let lines = lines(&shown);
    assert_eq!(lines.len(), names.len() + 1);
    for line in &lines {
        let name = line["name"].as_str().unwrap();
        if name == "a..b" {
            assert_eq!(line["error"], "it is no name");
            continue;
        }
        let number: u16 = name.strip_prefix('n').unwrap().strip_suffix(".test").unwrap().parse().unwrap();
        let [high, low] = number.to_be_bytes();
        assert_eq!(line["ipv4"][0], format!("127.0.{high}.{low}"), "{line}");
    }
    let asked = server.asked.lock().unwrap();
    let again = asked.values().filter(|count| **count > 1).count();
    // A datagram that a busy machine lost is asked for again.
    assert!(asked.len() == 1_500 && again <= 150, "{} names, {again} more than once", asked.len());
}

#[test]
fn a_rate_is_kept() {
    let server = Server::start(Manner::Good);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names");
    let names: Vec<String> = (0..60).map(|number| format!("n{number}.test")).collect();
    fs::write(&file, names.join("\n")).unwrap();
    let began = std::time::Instant::now();
    let shown = resolve(&["--file", file.to_str().unwrap(), "--type", "A", "--rate", "40", &server.at()]);
    // 60 names at 40 a second: the last may leave after 1.475 s.
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{:?}", began.elapsed());
    assert_eq!(lines(&shown).len(), 60);
}

/// unbound with the records of a zone of every common type.
fn unbound() -> Option<Foreign> {
    Foreign::start("unbound", &|folder, port| {
        let data: String = RECORDS.iter().map(|(record, _)| format!("  local-data: '{record}'\n")).collect();
        let more = format!("  do-not-query-localhost: yes\n  local-zone: \"test.\" static\n{data}");
        servers::unbound_files(folder, port, &more, "")
    })
}

/// A record as unbound reads it, and its data as it is to be shown.
const RECORDS: &[(&str, &str)] = &[
    ("a.test. 300 IN A 192.0.2.1", "192.0.2.1"),
    ("a.test. 300 IN AAAA 2001:db8::1", "2001:db8::1"),
    ("a.test. 300 IN MX 10 mail.test.", "10 mail.test."),
    ("a.test. 300 IN NS ns.test.", "ns.test."),
    ("a.test. 300 IN PTR b.test.", "b.test."),
    ("a.test. 300 IN SRV 1 2 443 b.test.", "1 2 443 b.test."),
    ("a.test. 300 IN TXT \"two words\"", "two words"),
    ("a.test. 300 IN CAA 0 issue \"ca.test\"", "issue \"ca.test\""),
    ("a.test. 300 IN HTTPS 1 . alpn=h2", "alpn="),
    ("a.test. 300 IN SVCB 1 b.test. port=8443", "port=8443"),
    ("a.test. 300 IN SSHFP 1 1 0123456789abcdef0123456789abcdef01234567", "0123456789abcdef"),
];

#[test]
fn every_common_type_comes_through_from_unbound() {
    let Some(unbound) = unbound() else { return };
    let at = unbound.at();
    for (record, shown) in RECORDS {
        let kind = record.split(' ').nth(3).unwrap();
        let output = resolve(&["a.test.", "--type", kind, &at]);
        let words = text(&output).to_ascii_lowercase();
        let expected = shown.to_ascii_lowercase();
        assert!(words.contains(&expected) && words.contains("ttl 300"), "{kind}: {words}");
    }
    let none = resolve(&["none.test.", &at]);
    assert_eq!((none.status.code(), text(&none).contains("there is no such name")), (Some(3), true));
}

/// A file of names, one a line.
fn file_of(folder: &Path, lines: &[u8]) -> String {
    let file = folder.join("names");
    fs::write(&file, lines).unwrap();
    file.to_str().unwrap().to_owned()
}

fn numbered(count: u16) -> Vec<u8> {
    (0..count).map(|number| format!("n{number}.test\n")).collect::<String>().into_bytes()
}

#[test]
fn a_file_may_come_from_anywhere() {
    let server = Server::start(Manner::Good);
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(10_000);
    let content =
        [b"\xef\xbb\xbfn1.test\r\n\r\n  # n2.test\r\n", long.as_bytes(), b"\r\n\xff.test\n\tn3.test "]
            .concat();
    let shown = resolve(&["--file", &file_of(folder.path(), &content), "--type", "A", &server.at()]);
    let mut said: Vec<_> = lines(&shown)
        .iter()
        .map(|line| format!("{} {} {}", line["name"].as_str().unwrap(), line["ipv4"], line["error"]))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "n1.test [\"127.0.0.1\"] null".to_owned(),
            "n3.test [\"127.0.0.3\"] null".to_owned(),
            format!("{} [] \"the line is longer than any name\"", "x".repeat(64)),
            "\u{fffd}.test [] \"it is no name: not UTF-8\"".to_owned(),
        ]
    );
    assert!(shown.status.success());
}

#[test]
fn a_server_that_fails_now_and_then_costs_only_those_names() {
    let server = Server::start(Manner::Failing);
    let folder = tempfile::tempdir().unwrap();
    let shown = resolve(&["--file", &file_of(folder.path(), &numbered(1_000)), "--type", "A", &server.at()]);
    let all = lines(&shown);
    assert_eq!(all.len(), 1_000);
    for line in &all {
        let failed = line["name"].as_str().unwrap().ends_with("7.test");
        let error = if failed { Value::from("the DNS servers answer SERVFAIL") } else { Value::Null };
        assert_eq!(line["error"], error, "{line}");
    }
}

#[test]
fn a_server_that_is_slower_than_we_could_ask_loses_no_name_and_is_not_flooded() {
    let server = Server::start(Manner::Slow);
    let folder = tempfile::tempdir().unwrap();
    let shown = resolve(&["--file", &file_of(folder.path(), &numbered(2_000)), "--type", "A", &server.at()]);
    let all = lines(&shown);
    assert_eq!(all.len(), 2_000);
    let lost = all.iter().filter(|line| !line["error"].is_null()).count();
    let asked: u32 = server.asked.lock().unwrap().values().sum();
    assert!(lost == 0 && asked < 4_000, "{lost} without an answer, {asked} questions");
}

#[test]
fn a_server_that_goes_away_for_seconds_loses_no_name() {
    let server = Server::start(Manner::Late);
    let folder = tempfile::tempdir().unwrap();
    let shown = resolve(&["--file", &file_of(folder.path(), &numbered(500)), "--type", "A", &server.at()]);
    let all = lines(&shown);
    assert_eq!((all.len(), all.iter().filter(|line| line["error"].is_null()).count()), (500, 500));
    assert!(shown.status.success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_prints_what_is_done_and_says_where_to_go_on() {
    let server = Server::start(Manner::Good);
    let folder = tempfile::tempdir().unwrap();
    let names = file_of(folder.path(), &numbered(5_000));
    let mut command = program();
    command.args(["resolve", "--file", &names, "--type", "A", "--rate", "100", &server.at()]);
    let running = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while server.asked.lock().unwrap().len() < 50 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    let shown = running.wait_with_output().unwrap();
    let (all, words) = (lines(&shown), String::from_utf8_lossy(&shown.stderr).into_owned());
    let asked = server.asked.lock().unwrap().len();
    assert!(all.len() >= 50 && all.len() >= asked && all.len() < 5_000, "{} lines, {asked} asked", all.len());
    assert_eq!(shown.status.code(), Some(1));
    assert!(words.contains(&format!("line {} of the file", all.len())), "{words}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let server = Server::start(Manner::Good);
    let folder = tempfile::tempdir().unwrap();
    let names = file_of(folder.path(), &numbered(60_000));
    let mut command = program();
    command.args(["resolve", "--file", &names, "--type", "A", "--rate", "1000", &server.at()]);
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    running.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let began = std::time::Instant::now();
    drop(running.stdout.take());
    let shown = running.wait_with_output().unwrap();
    assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "at this rate all names take a minute");
}
