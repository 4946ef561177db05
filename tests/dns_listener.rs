//! The listener as other programs see it: `dig`, `dnsperf` and the C library through a resolv.conf of
//! ours, and what it answers after a restart and when nobody is left to be asked.
//!
//! What is not installed is skipped with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/servers.rs"]
mod servers;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use servers::{Foreign, free_pair, is_installed, nsd};
use support::{PROGRAM, Running, program, skipped, until};
use tempfile::TempDir;

/// What the forwarder knows: it is the authority for it.
const FAR: &str = "$TTL 300\n@ SOA ns root 7 3600 600 86400 60\n@ NS ns\nns A 127.0.0.53\na A 127.0.1.1\n\
    a AAAA fd00::1\nbrief 1 A 127.0.1.2\nwww CNAME a\nads A 127.0.1.3\ntracker CNAME ads\n@ MX 10 a\n";
const OWN: &str = "$ORIGIN own.home.\n$TTL 60\n@ SOA ns root 3 1 1 1 30\n@ NS ns\nns A 192.0.2.53\nbox A 192.0.2.7\n\
    box AAAA 2001:db8::7\nfar CNAME a.test.\n*.wild A 192.0.2.8\n";
const BLOCKED: &str = "ads.test\n||doubleclick.example^\n";

/// A `run` with a listener, on loopback.
struct Listening {
    running: Option<Running>,
    dns: SocketAddr,
    folder: TempDir,
}

impl Listening {
    fn start(forwarder: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("own.zone"), OWN).unwrap();
        fs::write(folder.path().join("blocked"), BLOCKED).unwrap();
        let dns = free_pair().0.local_addr().unwrap();
        let mut it = Self { running: None, dns, folder };
        it.start_again(forwarder);
        it
    }

    fn start_again(&mut self, forwarder: SocketAddr) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = program();
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--bootstrap",
            "127.0.0.1:9",
            "--data-dir",
            &at("data"),
        ]);
        command.args(["--dns", &self.dns.to_string(), "--dns-forwarder", &forwarder.to_string()]);
        command.args(["--dns-zone", &at("own.zone"), "--dns-policy", &at("blocked")]);
        let running = Running::start(&mut command, &self.folder.path().join("log"));
        until(Duration::from_secs(20), "the listener answers", || {
            self.dig(&["box.own.home", "A", "+short"]).contains("192.0.2.7")
        });
        self.running = Some(running);
    }

    fn stop(&mut self) {
        drop(self.running.take().unwrap().stop());
    }

    fn dig(&self, args: &[&str]) -> String {
        let (port, server) = (self.dns.port().to_string(), format!("@{}", self.dns.ip()));
        let output = Command::new("dig")
            .args([&server, "-p", &port, "+tries=1", "+timeout=8"])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The response code, and the lines of the answer section without their TTLs, which count down.
    fn answer(&self, args: &[&str]) -> (String, Vec<String>) {
        let said = self.dig(args);
        let status = said.split("status: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("none");
        let section = said.split(";; ANSWER SECTION:\n").nth(1).unwrap_or_default();
        let lines = section.lines().take_while(|line| !line.is_empty());
        let tidy = lines.map(|line| {
            let mut words: Vec<_> = line.split_whitespace().collect();
            words.remove(1);
            words.join(" ")
        });
        (status.to_owned(), tidy.collect())
    }
}

/// The forwarder and the listener; nothing, with a line, where a program is missing.
fn world() -> Option<(Foreign, Listening)> {
    if !is_installed("dig") {
        return None;
    }
    let forwarder = nsd(&[("test", FAR)])?;
    let listening = Listening::start(forwarder.addr);
    Some((forwarder, listening))
}

/// Asked again and again from before it starts: nothing fails before it is right, in each of several
/// starts.
#[test]
fn no_question_fails_while_it_starts() {
    let query = |name: &[u8]| [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 1, 0, 1]].concat();
    let questions =
        [query(b"\x03box\x03own\x04home\0"), query(b"\x09localhost\0"), query(b"\x03ads\x04test\0")];
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        // Many records take their time to be read.
        let many: String = (0..20_000).map(|nth| format!("n{nth} A 192.0.2.1\n")).collect();
        fs::write(at("own.zone"), format!("{OWN}{many}")).unwrap();
        fs::write(at("blocked"), BLOCKED).unwrap();
        let dns = free_pair().0.local_addr().unwrap();
        let mut command = program();
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--bootstrap",
            "127.0.0.1:9",
            "--data-dir",
            &at("data"),
        ]);
        command.args(["--dns", &dns.to_string(), "--dns-forwarder", "127.0.0.1:9"]);
        command.args(["--dns-zone", &at("own.zone"), "--dns-policy", &at("blocked")]);
        let running = Running::start(&mut command, &folder.path().join("log"));
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (mut answered, mut buffer) = (0, [0; 512]);
        until(Duration::from_secs(60), "all of it is answered", || {
            for question in &questions {
                let _ = client.send_to(question, dns);
            }
            while let Ok(len) = client.recv(&mut buffer) {
                let rcode = buffer[3] & 15;
                // What is blocked does not exist.
                let expected = if buffer[..len].windows(4).any(|bytes| bytes == b"\x03ads") { 3 } else { 0 };
                assert_eq!(rcode, expected, "after {answered} answers: {:?}", &buffer[..len]);
                answered += 1;
            }
            answered >= 30
        });
        drop(running.stop());
    }
}

#[test]
fn dig_is_content() {
    let Some((_forwarder, listening)) = world() else { return };
    let noerror = |args: &[&str], expected: &[&str]| {
        let (status, lines) = listening.answer(args);
        assert_eq!(
            (status.as_str(), lines),
            ("NOERROR", expected.iter().map(|line| (*line).to_owned()).collect()),
            "{args:?}"
        );
    };
    noerror(&["a.test", "A"], &["a.test. IN A 127.0.1.1"]);
    noerror(&["www.test", "AAAA", "+tcp"], &["www.test. IN CNAME a.test.", "a.test. IN AAAA fd00::1"]);
    noerror(&["test", "MX", "+noedns"], &["test. IN MX 10 a.test."]);
    noerror(&["box.own.home", "AAAA"], &["box.own.home. IN AAAA 2001:db8::7"]);
    noerror(&["x.wild.own.home", "A"], &["x.wild.own.home. IN A 192.0.2.8"]);
    noerror(&["far.own.home", "A"], &["far.own.home. IN CNAME a.test.", "a.test. IN A 127.0.1.1"]);
    noerror(&["localhost", "A"], &["localhost. IN A 127.0.0.1"]);
    noerror(&["a.test", "ANY", "+notcp"], &["a.test. IN HINFO \"RFC8482\" \"\""]);
    for (args, status) in [
        (&["none.test", "A"][..], "NXDOMAIN"),
        (&["none.own.home", "A"], "NXDOMAIN"),
        (&["some.invalid", "A"], "NXDOMAIN"),
        (&["some.onion", "A"], "NXDOMAIN"),
        (&["box.own.home", "MX"], "NOERROR"),
        (&["own.home", "AXFR", "+noall", "+comments", "+notcp"], "REFUSED"),
        (&["version.bind", "TXT", "CH"], "REFUSED"),
        (&["far.example", "A", "+norecurse"], "REFUSED"),
    ] {
        let (said, lines) = listening.answer(args);
        assert_eq!((said.as_str(), lines.len()), (status, 0), "{args:?}: {}", listening.dig(args));
    }
    let denied = listening.dig(&["none.own.home", "A"]);
    assert!(denied.contains("own.home.\t\t30\tIN\tSOA"), "{denied}");
    let cookie = listening.dig(&["a.test", "A", "+cookie=0123456789abcdef"]);
    assert!(cookie.contains("(good)"), "{cookie}");
    let version = listening.dig(&["a.test", "A", "+edns=1", "+noednsnegotiation"]);
    assert!(version.contains("BADVERS"), "{version}");
    let opcode = listening.dig(&["a.test", "A", "+opcode=status"]);
    assert!(opcode.contains("NOTIMP"), "{opcode}");
}

#[test]
fn dig_shows_why_a_name_is_blocked() {
    let Some((_forwarder, listening)) = world() else { return };
    for (name, rule) in [("ads.test", "ads.test"), ("x.doubleclick.example", "*.doubleclick.example")] {
        let said = listening.dig(&[name, "A"]);
        assert!(said.contains("status: NXDOMAIN") && said.contains("EDE: 15 (Blocked)"), "{said}");
        assert!(said.contains(rule), "{said}");
    }
    let alias = listening.dig(&["tracker.test", "A"]);
    assert!(alias.contains("status: NXDOMAIN") && alias.contains("EDE: 15 (Blocked)"), "{alias}");
    assert!(!alias.contains("127.0.1.3"), "{alias}");
}

#[test]
fn dnsperf_loses_nothing() {
    let Some((_forwarder, listening)) = world() else { return };
    if !is_installed("dnsperf") {
        return;
    }
    let questions = listening.folder.path().join("questions");
    fs::write(&questions, "a.test A\nwww.test A\nbox.own.home A\nnone.test A\nads.test A\na.test AAAA\n")
        .unwrap();
    let (port, server) = (listening.dns.port().to_string(), listening.dns.ip().to_string());
    for mode in ["udp", "tcp"] {
        let output = Command::new("dnsperf")
            .args([
                "-s", &server, "-p", &port, "-m", mode, "-n", "400", "-c", "8", "-q", "50", "-t", "5", "-d",
            ])
            .arg(&questions)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let has = |text: &str| said.split_whitespace().collect::<Vec<_>>().join(" ").contains(text);
        assert!(has("Queries sent: 2400") && has("Queries completed: 2400 (100.00%)"), "{mode}: {said}");
        assert!(has("NOERROR 1600 (66.67%), NXDOMAIN 800 (33.33%)"), "{mode}: {said}");
    }
}

/// A network of its own, in which the C library asks us as resolv.conf says.
#[test]
fn getent_is_content_through_a_resolv_conf_of_ours() {
    if !is_installed("unshare") || !is_installed("getent") || !is_installed("nsd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("own.zone"), OWN).unwrap();
    fs::write(at("test"), FAR).unwrap();
    fs::write(at("resolv.conf"), "nameserver 127.0.0.1\nsearch own.home\noptions timeout:3 attempts:2\n")
        .unwrap();
    fs::write(at("script"), script(folder.path())).unwrap();
    let output = Command::new("unshare").args(["--net", "--mount", "sh"]).arg(at("script")).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if told.contains("unshare: unshare failed") {
        assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "no namespace of our own: {told}");
        return skipped("getent", "no network namespace may be made");
    }
    let lines: Vec<_> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let log = fs::read_to_string(at("log")).unwrap_or_default();
    let has = |line: &str| {
        assert!(lines.iter().any(|other| other.starts_with(line)), "{line}: {said}\n{told}\n{log}")
    };
    // The name stands behind the first address only.
    for address in ["127.0.1.1", "fd00::1", "192.0.2.7", "2001:db8::7"] {
        has(&format!("{address} STREAM"));
    }
    assert!(said.contains("STREAM a.test\n") && said.contains("STREAM box.own.home\n"), "{said}");
    has("2 none.test");
    has("it is this program itself");
}

fn script(folder: &Path) -> String {
    let at = folder.display();
    format!(
        "ip link set lo up
mount --make-rprivate /
mount --bind {at}/resolv.conf /etc/resolv.conf
cat > {at}/conf <<END
server:
  ip-address: 127.0.0.1@5304
  server-count: 1
  rrl-ratelimit: 0
  username: \"\"
  zonesdir: \"{at}\"
  database: \"\"
  pidfile: \"\"
  xfrdfile: \"{at}/xfrd\"
  zonelistfile: \"{at}/list\"
  xfrdir: \"{at}\"
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: test
END
nsd -d -c {at}/conf > {at}/nsd.log 2>&1 & nsd=$!
{PROGRAM} run --listen 127.0.0.1:6881 --bootstrap 127.0.0.1:9 --data-dir {at}/data --dns 127.0.0.1:53 \
  --dns-zone {at}/own.zone --dns-forwarder 127.0.0.1 --dns-forwarder 127.0.0.1:5304 > {at}/log 2>&1 & ours=$!
for turn in $(seq 100); do getent ahosts a.test > {at}/first && break; sleep 0.1; done
getent ahosts a.test
getent ahosts box
getent ahosts none.test; echo \"$? none.test\"
grep -q 'is this program itself' {at}/log && echo it is this program itself
kill -INT $ours; wait $ours
kill $nsd; wait $nsd
"
    )
}

#[test]
fn answers_outlive_a_restart_and_the_forwarder() {
    let Some((mut forwarder, mut listening)) = world() else { return };
    let (status, lines) = listening.answer(&["a.test", "A"]);
    assert_eq!((status.as_str(), lines.len()), ("NOERROR", 1));
    assert_eq!(listening.answer(&["none.test", "A"]).0, "NXDOMAIN");
    assert_eq!(listening.answer(&["brief.test", "A"]).1.len(), 1);
    listening.stop();
    forwarder.kill();
    listening.start_again(forwarder.addr);
    let (status, lines) = listening.answer(&["a.test", "A"]);
    assert_eq!(status, "NOERROR");
    assert!(lines[0].ends_with(" IN A 127.0.1.1"), "{lines:?}");
    assert_eq!(listening.answer(&["none.test", "A"]).0, "NXDOMAIN", "what is not there is remembered too");
    until(Duration::from_secs(20), "an answer after its time, told as such", || {
        let said = listening.dig(&["brief.test", "A"]);
        said.contains("127.0.1.2") && said.contains("EDE: 3 (Stale Answer)")
    });
    let unknown = listening.dig(&["other.test", "A"]);
    assert!(unknown.contains("status: SERVFAIL") && unknown.contains("EDE: 2"), "{unknown}");
}
