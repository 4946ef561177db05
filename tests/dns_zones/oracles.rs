//! The servers that are compared, on loopback: those that nobody here wrote, and ours.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dht_hunter::wire::dns::Kind;
use tempfile::TempDir;

use crate::asking::{Question, Seen};
use crate::servers::{Foreign, free_pair, nsd};
use crate::support::{Running, program};

/// Writes a server's files, of which one is `conf`, into a folder for a port; the program.
pub type Prepare<'a> = &'a dyn Fn(&Path, u16) -> &'static str;

/// A server on loopback that ends with its owner.
pub struct Oracle {
    pub name: &'static str,
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// The program itself, with a listener.
pub struct Ours {
    address: SocketAddr,
    _running: Running,
    _folder: TempDir,
}

impl Oracle {
    /// Starts it, or says why not. Somebody else may take its port before it does: then on another.
    pub fn start(name: &'static str, prepare: Prepare<'_>) -> Option<Self> {
        let mut words = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(name, prepare)? {
                Ok(oracle) => return Some(oracle),
                Err(log) => words = log,
            }
        }
        panic!("{name} does not answer:\n{words}");
    }

    pub fn ask(&self, question: &Question) -> Option<Seen> {
        question.put(self.address)
    }

    /// What it said.
    pub fn words(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it logged, if it ends or does not answer; nothing, if it is not installed.
    fn try_start(name: &'static str, prepare: Prepare<'_>) -> Option<Result<Self, String>> {
        let folder = tempfile::tempdir().unwrap();
        let address = free_pair().0.local_addr().unwrap();
        let program = prepare(folder.path(), address.port());
        let config = folder.path().join("conf");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        let foreground: &[&str] = if program == "named" { &["-g", "-4", "-n", "1"] } else { &["-d"] };
        command.args(foreground).arg("-c").arg(&config).stdin(Stdio::null());
        let child = match command.stdout(log.try_clone().unwrap()).stderr(log).spawn() {
            Ok(child) => child,
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "{program} is not installed");
                drop(writeln!(std::io::stderr(), "skipped: {program} is not installed"));
                return None;
            }
            Err(fault) => panic!("{command:?}: {fault}"),
        };
        let mut oracle = Self { name, child, address, folder };
        let is_running = |oracle: &mut Self| oracle.child.try_wait().is_ok_and(|ended| ended.is_none());
        if !is_ready(address, || is_running(&mut oracle)) {
            return Some(Err(oracle.words()));
        }
        Some(Ok(oracle))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ours {
    /// With these zones and lists; what it does not know it asks of `forwarder`.
    pub fn start(zones: &[(&str, &str)], lists: &[&str], forwarder: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let address = free_pair().0.local_addr().unwrap();
        let mut command = program();
        command.args(["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--http", "off"]);
        command.arg("--data-dir").arg(at("data"));
        command.args(["--dns", &address.to_string(), "--dns-forwarder", &forwarder.to_string()]);
        for (origin, text) in zones {
            fs::write(at(origin), format!("$ORIGIN {origin}.\n{text}")).unwrap();
            command.arg("--dns-zone").arg(at(origin));
        }
        for (nth, text) in lists.iter().enumerate() {
            fs::write(at(&format!("{nth}.rpz")), text).unwrap();
            command.arg("--dns-policy").arg(at(&format!("{nth}.rpz")));
        }
        let mut running = Running::start(&mut command, &at("log"));
        let is_there = is_ready(address, || running.is_running());
        assert!(is_there, "the listener does not answer:\n{}", running.words());
        Self { address, _running: running, _folder: folder }
    }

    pub fn ask(&self, question: &Question) -> Option<Seen> {
        question.put(self.address)
    }
}

/// Waits until it knows `a.test`, as long as it runs.
fn is_ready(address: SocketAddr, mut is_running: impl FnMut() -> bool) -> bool {
    let client = Ipv4Addr::LOCALHOST;
    let question =
        Question { client, name: "a.test".to_owned(), kind: Kind::A, recursive: true, payload: 1_232 };
    let start = Instant::now();
    while question.put(address).is_none_or(|seen| seen.answers.is_empty()) {
        if !is_running() || start.elapsed() >= READY_WITHIN {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The rest of the world, as far as names of the zone lead there. What it says of `test` itself is not
/// what the zone says.
pub fn forwarder() -> Option<Foreign> {
    nsd(&[("example.org", ORG), ("test", "$TTL 60\n@ SOA wrong wrong 1 1 1 1 1\n@ NS a\na A 203.0.113.1\n")])
}

pub fn nsd_files(folder: &Path, port: u16, zones: &[(&str, &str)]) -> &'static str {
    let at = folder.display();
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  rrl-ratelimit: 0\n  username: \"\"\n  zonesdir: \"{at}\"\n  \
         database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"{at}/xfrd\"\n  zonelistfile: \"{at}/list\"\n  xfrdir: \"{at}\"\n\
         remote-control:\n  control-enable: no\n"
    );
    for (zone, text) in zones {
        fs::write(folder.join(zone), text).unwrap();
        writeln!(config, "zone:\n  name: {zone}\n  zonefile: {zone}").unwrap();
    }
    fs::write(folder.join("conf"), config).unwrap();
    "nsd"
}

/// unbound with a zone, as its authority.
pub fn unbound_files(folder: &Path, port: u16, zone: &str) -> &'static str {
    write_unbound(folder, port, zone, ("iterator", "yes"), "");
    "unbound"
}

/// unbound that resolves for others, and finds the zone in the file; what lies below `example.org` at
/// `org`.
pub fn unbound_resolving(
    folder: &Path,
    port: u16,
    zone: &str,
    lists: &[&str],
    org: SocketAddr,
) -> &'static str {
    let port_of_org = org.port();
    let mut more = format!(
        "stub-zone:\n  name: \"example.org.\"\n  stub-addr: 127.0.0.1@{port_of_org}\n  stub-prime: no\n"
    );
    for (nth, text) in lists.iter().enumerate() {
        let file = format!("{nth}.rpz");
        fs::write(folder.join(&file), text).unwrap();
        writeln!(more, "rpz:\n  name: \"rpz{nth}.example.\"\n  zonefile: \"{file}\"").unwrap();
    }
    let modules = if lists.is_empty() { "iterator" } else { "respip iterator" };
    write_unbound(folder, port, zone, (modules, "no"), &more);
    "unbound"
}

/// BIND with a zone and lists, that asks `org` for everything else.
pub fn bind_files(folder: &Path, port: u16, zone: &str, lists: &[&str], org: SocketAddr) -> &'static str {
    let (at, org) = (folder.display(), org.port());
    let (mut clauses, mut policies) = (String::new(), String::new());
    for (nth, text) in lists.iter().enumerate() {
        fs::write(folder.join(format!("{nth}.rpz")), text).unwrap();
        write!(policies, "zone \"rpz{nth}.example\"; ").unwrap();
        writeln!(
            clauses,
            "zone \"rpz{nth}.example\" {{ type primary; file \"{nth}.rpz\"; allow-query {{ none; }}; }};"
        )
        .unwrap();
    }
    let config = format!(
        "controls {{ }};\noptions {{ directory \"{at}\"; pid-file none; lock-file none; session-keyfile none; \
         listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; notify no; querylog no; \
         managed-keys-directory \"{at}\"; recursion yes; allow-recursion {{ 127.0.0.0/8; }}; forward only; \
         forwarders {{ 127.0.0.1 port {org}; }}; empty-zones-enable no; max-udp-size 1232; minimal-responses no; \
         response-policy {{ {policies} }} break-dnssec yes max-policy-ttl 3600 qname-wait-recurse no; }};\n\
         zone \".\" {{ type hint; file \"hints\"; }};\nzone \"test\" {{ type primary; file \"test.zone\"; }};\n{clauses}"
    );
    fs::write(folder.join("conf"), config).unwrap();
    fs::write(folder.join("hints"), ". 60 IN NS root.invalid.\nroot.invalid. 60 IN A 127.0.0.1\n").unwrap();
    fs::write(folder.join("test.zone"), zone).unwrap();
    "named"
}

fn write_unbound(folder: &Path, port: u16, zone: &str, how: (&str, &str), more: &str) {
    // Nothing leaves this machine: the root is said to be on loopback, where nobody answers for it, and
    // the addresses of the zone are not asked.
    fs::write(folder.join("hints"), ". 60 IN NS root.invalid.\nroot.invalid. 60 IN A 127.0.0.1\n").unwrap();
    let (modules, downstream) = how;
    let at = folder.display();
    let config = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  \
         pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  access-control: 127.0.0.0/8 allow\n  \
         module-config: \"{modules}\"\n  local-zone: \"test.\" nodefault\n  num-threads: 1\n  root-hints: \"hints\"\n  \
         do-not-query-localhost: no\n  do-not-query-address: 192.0.2.0/24\n  do-not-query-address: 2001:db8::/32\n  \
         max-udp-size: 1232\n\
         remote-control:\n  control-enable: no\nauth-zone:\n  name: \"test.\"\n  zonefile: \"test.zone\"\n  \
         for-downstream: {downstream}\n  for-upstream: yes\n  fallback-enabled: no\n\
         stub-zone:\n  name: \".\"\n  stub-addr: 127.0.0.1@9\n{more}"
    );
    fs::write(folder.join("conf"), config).unwrap();
    fs::write(folder.join("test.zone"), format!("$ORIGIN test.\n{zone}")).unwrap();
}

const ORG: &str = "$TTL 300\n@ SOA ns root 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.100\n\
    www AAAA 2001:db8::100\nx CNAME www\nb.x TXT far\n";
/// Ports are hardly ever taken; so often in a row it is something else.
const STARTS_MAX: usize = 5;
const READY_WITHIN: Duration = Duration::from_secs(20);
