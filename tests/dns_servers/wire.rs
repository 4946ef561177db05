//! What questions look like on the wire, read back with tshark: random case, ids, ports and cookies.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use dht_hunter::dns::{ForwarderConfig, Strategy};
use dht_hunter::wire::dns::Kind;

use crate::records;
use crate::servers::{self, Foreign, is_installed};
use crate::session::{Session, brief};
use crate::support::skipped;

/// One message as tshark shows it.
#[derive(Debug)]
struct Shown {
    is_answer: bool,
    name: String,
    id: String,
    /// The port that is not the server's.
    port: String,
    client_cookie: String,
    server_cookie: String,
}

/// A running tshark; it ends with its owner.
struct Capture(Child);

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Captures what goes over a port of loopback; nothing if this user may not.
fn capture(at: SocketAddr, count: usize) -> Option<Capture> {
    if !is_installed("tshark") {
        return None;
    }
    let port = at.port().to_string();
    let mut command = Command::new("tshark");
    command.args(["-i", "lo", "-f", &format!("udp port {port}"), "-d", &format!("udp.port=={port},dns")]);
    command.args(["-l", "-c", &count.to_string(), "-a", "duration:30", "-T", "fields", "-E", "separator=|"]);
    for field in [
        "dns.flags.response",
        "dns.qry.name",
        "dns.id",
        "udp.srcport",
        "udp.dstport",
        "dns.opt.cookie.client",
        "dns.opt.cookie.server",
    ] {
        command.args(["-e", field]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Capture(command.spawn().unwrap());
    let mut said = BufReader::new(running.0.stderr.take().unwrap());
    let mut all = String::new();
    loop {
        let mut line = String::new();
        if said.read_line(&mut line).unwrap() == 0 {
            let why = "this user may not capture";
            assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "tshark ended: {all}");
            skipped("questions on the wire", why);
            return None;
        }
        if line.contains("Capture started") || line.contains("Capturing on") && line.contains("lo") {
            // It must not be stopped by a full pipe.
            std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
            return Some(running);
        }
        all += &line;
    }
}

/// Everything that was captured, once it is `count` messages or the time is over.
fn shown(mut capture: Capture, server: SocketAddr) -> Vec<Shown> {
    let mut text = String::new();
    capture.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let read = |line: &str| {
        let words: Vec<_> = line.split('|').map(|word| word.replace("<MISSING>", "")).collect();
        let [response, name, id, from, to, client, own] = words.try_into().unwrap();
        let port = if from == server.port().to_string() { to } else { from };
        let is_answer = response == "1" || response == "True";
        Shown { is_answer, name, id, port, client_cookie: client, server_cookie: own }
    };
    text.lines().map(read).collect()
}

/// Asks for ever new names of 20 letters, and shows what passed.
fn watched(server: &Foreign) -> Option<Vec<Shown>> {
    let capture = capture(server.addr, 2 * NAMES)?;
    // The capture itself starts a little later than it says.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut session = Session::start(vec![ForwarderConfig::plain(server.addr)], Strategy::Strict);
    for at in 0..NAMES as u8 {
        let name = format!("abcdefghijklmnopqrst{}.load.test", char::from(b'a' + at));
        assert_eq!(brief(&session.ask(&name, Kind::A)), "NOERROR 192.0.2.5");
    }
    let shown = shown(capture, server.addr);
    assert!(shown.len() >= 2 * NAMES, "{} of {} messages were seen", shown.len(), 2 * NAMES);
    Some(shown)
}

/// Case, ids and ports of questions differ, and answers keep the case.
fn looks_random(shown: &[Shown]) {
    let questions: Vec<_> = shown.iter().filter(|shown| !shown.is_answer).collect();
    let patterns: BTreeSet<Vec<bool>> = questions
        .iter()
        .map(|shown| shown.name.bytes().take(20).map(|letter| letter.is_ascii_uppercase()).collect())
        .collect();
    // Twenty letters in the same case twice, or all in one case: once in some ten thousand runs.
    assert_eq!(patterns.len(), questions.len(), "{questions:?}");
    for pattern in &patterns {
        assert!(pattern.contains(&true) && pattern.contains(&false), "{pattern:?}");
    }
    let ids: BTreeSet<_> = questions.iter().map(|shown| &shown.id).collect();
    let ports: BTreeSet<_> = questions.iter().map(|shown| &shown.port).collect();
    assert!(ids.len() + 2 >= questions.len(), "{ids:?}");
    assert!(ports.len() >= 4, "{ports:?}");
    for answer in shown.iter().filter(|shown| shown.is_answer) {
        assert!(
            questions.iter().any(|asked| asked.name == answer.name && asked.id == answer.id),
            "{answer:?}"
        );
    }
}

/// The client's cookie is always the same for one server, and its own comes back to it.
fn cookies_come_back(shown: &[Shown]) {
    let mut known = String::new();
    let client = &shown[0].client_cookie;
    assert_eq!(client.len(), 16, "{:?}", shown[0]);
    for message in shown {
        assert_eq!(&message.client_cookie, client, "{message:?}");
        if message.is_answer {
            assert!(message.server_cookie.len() >= 16, "{message:?}");
            known.clone_from(&message.server_cookie);
        } else {
            assert_eq!(message.server_cookie, known, "what it sent last: {message:?}");
        }
    }
    assert!(!known.is_empty());
}

#[test]
fn bind_sees_random_case_and_gets_its_cookie_back() {
    let zones = records::zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let Some(bind) = servers::bind(&zones) else { return };
    let Some(shown) = watched(&bind) else { return };
    looks_random(&shown);
    cookies_come_back(&shown);
}

#[test]
fn knot_sees_random_case_and_gets_its_cookie_back() {
    let zones = records::zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let Some(knot) = servers::knot(&zones) else { return };
    let Some(shown) = watched(&knot) else { return };
    looks_random(&shown);
    cookies_come_back(&shown);
}

const NAMES: usize = 12;
