//! DNS servers that nobody here wrote, on loopback.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Writer};
use tempfile::TempDir;

use crate::support::skipped;

/// Writes a program's files into a folder and says with what arguments it serves on a port there.
pub type Prepare<'a> = &'a dyn Fn(&Path, u16) -> Vec<String>;

/// A running server; it ends with its owner.
pub struct Foreign {
    pub name: &'static str,
    pub addr: SocketAddr,
    pub folder: TempDir,
    args: Vec<String>,
    child: Child,
}

impl Foreign {
    /// Starts it and waits until it knows `a.test`; nothing, with a line, if it is not installed.
    /// Somebody else may take its port before it does: then it is started on another.
    pub fn start(program: &'static str, prepare: Prepare<'_>) -> Option<Self> {
        if !is_installed(program) {
            return None;
        }
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().unwrap();
            let addr = free_pair().0.local_addr().unwrap();
            let args = prepare(folder.path(), addr.port());
            let child = spawn(program, &args, folder.path());
            let mut it = Self { name: program, addr, folder, args, child };
            if it.is_ready() {
                return Some(it);
            }
            if it.words().to_ascii_lowercase().contains("in use") {
                continue;
            }
            panic!("{program} does not answer:\n{}", it.words());
        }
        panic!("{program} finds no free port");
    }

    /// As an argument of `resolve`.
    pub fn at(&self) -> String {
        format!("@{}", self.addr)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same again, after [`Foreign::kill`].
    pub fn start_again(&mut self) {
        self.child = spawn(self.name, &self.args, self.folder.path());
        assert!(self.is_ready(), "{} does not come back:\n{}", self.name, self.words());
    }

    /// What it said.
    pub fn words(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn is_ready(&mut self) -> bool {
        let begun = Instant::now();
        while !self.knows_its_zone() {
            let ended = self.child.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || begun.elapsed() >= READY_WITHIN {
                return false;
            }
        }
        true
    }

    fn knows_its_zone(&self) -> bool {
        let name = Name::parse("a.test").unwrap();
        let answer = ask(self.addr, name.wire(), Kind::A, Duration::from_millis(200));
        let known = |answer: &[u8]| Message::parse(answer).is_ok_and(|message| message.header.counts[0] > 0);
        answer.is_some_and(|answer| known(&answer))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a program is there; if not, that is said, or a failure where it is required.
pub fn is_installed(program: &str) -> bool {
    // Not by starting it: some of them would serve at once, as the system has configured them.
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let missing = !std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if missing {
        assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "{program} is not installed");
        skipped(program, "it is not installed");
    }
    !missing
}

/// The same port for datagrams and streams.
pub fn free_pair() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

/// One question over UDP; the answer, if there is one in time.
pub fn ask(to: SocketAddr, name: &[u8], kind: Kind, within: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(within)).unwrap();
    let mut query = [0; 512];
    let mut writer = Writer::new(&mut query, 7, Flags(Flags::RD)).unwrap();
    writer.question(name, kind, CLASS_IN).unwrap();
    let len = writer.finish();
    let pause = || std::thread::sleep(Duration::from_millis(20));
    if socket.send(&query[..len]).is_err() {
        pause();
        return None;
    }
    let mut answer = vec![0; 4_096];
    let len = socket.recv(&mut answer).inspect_err(|_| pause()).ok()?;
    answer.truncate(len);
    Some(answer)
}

/// NSD with these zones: each a name and its file's text.
pub fn nsd(zones: &[(&str, &str)]) -> Option<Foreign> {
    Foreign::start("nsd", &|folder, port| {
        let at = folder.display();
        let mut config = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  rrl-ratelimit: 0\n  username: \"\"\n  \
             zonesdir: \"{at}\"\n  database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"{at}/xfrd\"\n  zonelistfile: \"{at}/list\"\n  \
             xfrdir: \"{at}\"\nremote-control:\n  control-enable: no\n"
        );
        for (zone, text) in zones {
            fs::write(folder.join(zone), text).unwrap();
            config += &format!("zone:\n  name: {zone}\n  zonefile: {zone}\n");
        }
        fs::write(folder.join("conf"), config).unwrap();
        words(&["-d", "-c", &format!("{at}/conf")])
    })
}

/// Knot DNS with these zones, and its module for cookies.
pub fn knot(zones: &[(&str, &str)]) -> Option<Foreign> {
    let zones: Vec<_> = zones.iter().map(|(zone, text)| (*zone, *text, "")).collect();
    knot_with("", &zones)
}

/// Knot DNS that signs these zones with new keys: each a name, its file's text, and whether what is
/// not there is proven with hashes (NSEC3).
pub fn knot_signing(zones: &[(&str, &str, bool)]) -> Option<Foreign> {
    let policies = "policy:\n  - id: plain\n    nsec3: off\n  - id: hashed\n    nsec3: on\n";
    let line = |hashed| if hashed { "    dnssec-policy: hashed\n" } else { "    dnssec-policy: plain\n" };
    let lines: Vec<_> = zones.iter().map(|(_, _, hashed)| SIGNING.to_owned() + line(*hashed)).collect();
    let zones: Vec<_> =
        zones.iter().zip(&lines).map(|((zone, text, _), lines)| (*zone, *text, lines.as_str())).collect();
    knot_with(policies, &zones)
}

fn knot_with(clauses: &str, zones: &[(&str, &str, &str)]) -> Option<Foreign> {
    Foreign::start("knotd", &|folder, port| {
        let at = folder.display();
        let mut config = format!(
            "server:\n  listen: 127.0.0.1@{port}\n  rundir: {at}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {at}/db\nlog:\n  - target: stderr\n    any: warning\nmod-cookies:\n  - id: default\n\
             {clauses}template:\n  - id: default\n    storage: {at}\n    global-module: mod-cookies/default\nzone:\n"
        );
        // Where its keys are.
        fs::create_dir(folder.join("db")).unwrap();
        for (zone, text, lines) in zones {
            fs::write(folder.join(zone), text).unwrap();
            config += &format!("  - domain: {zone}\n    file: {zone}\n{lines}");
        }
        fs::write(folder.join("conf"), config).unwrap();
        words(&["-c", &format!("{at}/conf")])
    })
}

/// BIND with these zones and no recursion.
pub fn bind(zones: &[(&str, impl AsRef<[u8]>)]) -> Option<Foreign> {
    Foreign::start("named", &|folder, port| {
        let mut more = "recursion no; check-names primary ignore; check-integrity no; };\n".to_owned();
        for (zone, text) in zones {
            fs::write(folder.join(zone), text).unwrap();
            more += &format!("zone \"{zone}\" {{ type primary; file \"{zone}\"; }};\n");
        }
        bind_files(folder, port, &more)
    })
}

/// BIND that forwards everything to `to`: nothing is asked anywhere else.
pub fn bind_forwarding(to: SocketAddr) -> Option<Foreign> {
    Foreign::start("named", &|folder, port| {
        let more = format!(
            "recursion yes; allow-recursion {{ 127.0.0.0/8; }}; forward only; \
             forwarders {{ 127.0.0.1 port {}; }}; empty-zones-enable no; }};\n",
            to.port()
        );
        bind_files(folder, port, &more)
    })
}

fn bind_files(folder: &Path, port: u16, more: &str) -> Vec<String> {
    let at = folder.display();
    let config = format!(
        "controls {{ }};\noptions {{ directory \"{at}\"; pid-file none; lock-file none; session-keyfile none; \
         listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; notify no; \
         answer-cookie yes; querylog no; managed-keys-directory \"{at}\"; {more}"
    );
    fs::write(folder.join("conf"), config + "zone \".\" { type hint; file \"hints\"; };\n").unwrap();
    // It knows no root but one on loopback, so that nothing leaves this machine whatever happens.
    fs::write(folder.join("hints"), ". 60 IN NS root.invalid.\nroot.invalid. 60 IN A 127.0.0.1\n").unwrap();
    words(&["-g", "-4", "-n", "1", "-c", &format!("{at}/conf")])
}

/// unbound that resolves what is below `zones` by asking the authority at `authority`, and knows of
/// no other server: the root is said to be there too.
pub fn unbound(zones: &[&str], authority: SocketAddr, server: &str) -> Option<Foreign> {
    Foreign::start("unbound", &|folder, port| {
        let stub = |zone: &str| {
            format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: 127.0.0.1@{}\n", authority.port())
        };
        let local: String =
            zones.iter().map(|zone| format!("  local-zone: \"{zone}.\" nodefault\n")).collect();
        let stubs: String = zones.iter().copied().chain(["."]).map(stub).collect();
        unbound_files(folder, port, &format!("{local}{server}"), &stubs)
    })
}

/// unbound that asks `to` alone and validates what it says by these keys, each a record as in a zone.
pub fn unbound_validating(to: SocketAddr, keys: &[String]) -> Option<Foreign> {
    Foreign::start("unbound", &|folder, port| {
        let keys: String = keys.iter().map(|key| format!("  trust-anchor: \"{key}\"\n")).collect();
        let server =
            format!("  module-config: \"validator iterator\"\n  local-zone: \"test.\" nodefault\n{keys}");
        let clauses = format!("forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{}\n", to.port());
        unbound_files(folder, port, &server, &clauses)
    })
}

/// The files of an unbound on a port of loopback, with more lines of `server:` and more clauses.
pub fn unbound_files(folder: &Path, port: u16, server: &str, clauses: &str) -> Vec<String> {
    let at = folder.display();
    let config = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  pidfile: \"\"\n  \
         use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  \
         num-threads: 1\n  module-config: \"iterator\"\n{server}remote-control:\n  control-enable: no\n{clauses}"
    );
    fs::write(folder.join("conf"), config).unwrap();
    words(&["-d", "-c", &format!("{at}/conf")])
}

/// dnsmasq that forwards everything to `to`.
pub fn dnsmasq(to: SocketAddr) -> Option<Foreign> {
    Foreign::start("dnsmasq", &|_, port| {
        words(&[
            "-k",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
            "--no-poll",
            &format!("--port={port}"),
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            &format!("--server=127.0.0.1#{}", to.port()),
            "--user=root",
            "--log-facility=-",
        ])
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn spawn(program: &str, args: &[String], folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"))
}

/// Its file stays as it is.
const SIGNING: &str = "    dnssec-signing: on\n    zonefile-sync: -1\n    journal-content: none\n";
/// Ports are hardly ever taken; so often in a row it is something else.
const STARTS_MAX: usize = 5;
const READY_WITHIN: Duration = Duration::from_secs(20);
