//! Foreign programs: libtorrent, qBittorrent, rTorrent, Transmission, aria2 and WebTorrent. What is not
//! installed, or needs root, is skipped with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.

mod clients;
mod libtorrent;
mod namespace;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod torrents;

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtorrent::{Libtorrent, python};
use namespace::{Namespace, Place};
use serde_json::json;
use support::{Running, assert_sound, has, skipped, until};

/// What a test needs, or a skip.
macro_rules! need {
    ($test:literal, $what:expr) => {
        match $what {
            Ok(there) => there,
            Err(why) => return missing($test, &why),
        }
    };
}

#[test]
fn libtorrent_is_discovered_by_its_samples() {
    let python = need!("libtorrent over IPv4", python());
    let crawled = Crawl { place: Place::Here, address: "127.0.0.1", port: free_port(), sweep: true };
    crawled.finds_everything(&python, &["127.0.0.1"; 14]);
}

#[test]
fn libtorrent_is_discovered_by_its_announce() {
    let python = need!("libtorrent's announce over IPv4", python());
    let crawled = Crawl { place: Place::Here, address: "127.0.0.1", port: free_port(), sweep: false };
    crawled.finds_everything(&python, &["127.0.0.1"; FEW]);
}

#[test]
fn libtorrent_is_discovered_over_ipv6() {
    let python = need!("libtorrent over IPv6", python());
    let namespace = need!("libtorrent over IPv6", ipv6());
    let addresses: Vec<_> = (0x10..0x10 + FEW).map(|nth| format!("fd00:1::{nth:x}")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let place = Place::In(&namespace);
    Crawl { place, address: "fd00:1::1", port: 7001, sweep: true }.finds_everything(&python, &addresses);
    Crawl { place, address: "fd00:1::2", port: 7002, sweep: false }.finds_everything(&python, &addresses);
}

#[test]
fn the_id_follows_the_votes_and_passes_libtorrents_check() {
    let python = need!("BEP 42 with libtorrent", python());
    let theirs: Vec<_> = (1..=10).map(|nth| format!("11.2.{nth}.1")).collect();
    let cables: Vec<_> = theirs.iter().map(|address| format!("{address}/8")).collect();
    let pair = Namespace::pair(&["11.1.0.1/8".to_owned()], &cables);
    let (here, there) = need!("BEP 42 with libtorrent", pair);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wish = json!({"addresses": theirs, "enforce": true});
    let mut nodes = Libtorrent::start(Place::In(&there), &python, &wish);
    let listen = "11.1.0.1:7001";
    let running = run(Place::In(&here), &[listen], &nodes.nodes[..1], folder.path(), &[]);
    let mut last = (0, Vec::new(), false);
    // An address must have led for a minute before the id follows it.
    until(Duration::from_secs(180), "a fitting id in most tables", || {
        nodes.add_node("11.1.0.1", 7001);
        last = nodes.live_nodes("11.1.0.1", 7001);
        last.0 >= 8 && last.2
    });
    assert_eq!(last.1.len(), 1, "one id everywhere: {last:?}");
    running.stop();
}

#[test]
fn transmission_finds_a_peer_that_was_announced_to_us() {
    let python = need!("Transmission", python());
    need!("Transmission", tool("transmission-daemon"));
    need!("Transmission", tool("transmission-remote"));
    let cables = Cables::new();
    let cables = need!("Transmission", cables);
    let dht = cables.dht(&python);
    let config = dht.folder.path().join("transmission");
    std::fs::create_dir(&config).expect("a new folder");
    let settings = json!({
        "dht-enabled": true, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "bind-address-ipv4": CLIENT, "peer-port": 6999,
        "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": 9091,
        "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false,
        "download-dir": config.join("got"), "encryption": 0,
    });
    std::fs::write(config.join("settings.json"), settings.to_string()).expect("a new file");
    let hosts: Vec<_> = ours().iter().map(|address| address.replace(':', " ")).collect();
    std::fs::write(config.join("dht.bootstrap"), hosts.join("\n") + "\n").expect("a new file");
    let mut daemon = Place::In(&cables.there).command("transmission-daemon");
    daemon.args(["-f", "--log-debug", "-g"]).arg(&config).env("HOME", &config);
    let daemon = Running::start(&mut daemon, &dht.folder.path().join("transmission.log"));
    let remote = |args: &[&str]| {
        let mut command = Place::In(&cables.there).command("transmission-remote");
        let output = command.arg("127.0.0.1:9091").args(args).env("HOME", &config).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let magnet = format!("magnet:?xt=urn:btih:{}", dht.infohash);
    until(Duration::from_secs(20), "transmission-daemon to answer", || {
        remote(&["-a", &magnet]).contains("success")
    });
    let what = format!("Transmission to meet {PEER}");
    until(Duration::from_secs(120), &what, || {
        remote(&["-t", "all", "-ip"]).contains(PEER) || remote(&["-t", "all", "-i"]).contains("100%")
    });
    drop(daemon);
}

#[test]
fn aria2_finds_a_peer_that_was_announced_to_us() {
    let python = need!("aria2", python());
    need!("aria2", tool("aria2c"));
    let cables = need!("aria2", Cables::new());
    let dht = cables.dht(&python);
    let home = dht.folder.path().join("aria2");
    std::fs::create_dir(&home).expect("a new folder");
    let mut aria2 = Place::In(&cables.there).command("aria2c");
    aria2.current_dir(&home).env("HOME", &home).args([
        "--no-conf",
        "--enable-dht=true",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--dht-listen-port=6998",
        "--listen-port=6997",
        "--seed-time=0",
        "--console-log-level=info",
        "--summary-interval=0",
        "--bt-stop-timeout=120",
    ]);
    aria2
        .arg(format!("--dht-entry-point={}", ours()[0]))
        .arg(format!("--dht-file-path={}", home.join("dht").display()));
    aria2.arg(format!("magnet:?xt=urn:btih:{}", dht.infohash));
    let aria2 = Running::start(&mut aria2, &dht.folder.path().join("aria2.log"));
    let (status, _, words) = aria2.ended(Duration::from_secs(150));
    assert!(status.success() && words.contains(PEER), "{status}: {words}");
    assert!(home.join(&dht.name).join("file 0.bin").exists(), "{words}");
}

/// Our nodes crawl a DHT of libtorrent's, which seeds a torrent of every kind.
struct Crawl<'a> {
    place: Place<'a>,
    address: &'a str,
    port: u16,
    sweep: bool,
}

impl Crawl<'_> {
    fn finds_everything(&self, python: &PathBuf, theirs: &[&str]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let seeds = folder.path().join("seeds");
        std::fs::create_dir(&seeds).expect("a new folder");
        let wish = json!({"addresses": theirs, "seeds": seeds});
        let mut nodes = Libtorrent::start(self.place, python, &wish);
        assert_eq!(nodes.torrents.len(), 3);
        let listen = host_and_port(self.address, self.port);
        if self.sweep {
            // A node that is sampled too early is left alone for an interval.
            nodes.announce();
            let all = nodes.torrents.len() as u64;
            until(Duration::from_secs(60), "libtorrent's announces", || nodes.announced() == all);
        }
        let more = [if self.sweep { "--no-passive" } else { "--no-sweep" }];
        let running = run(self.place, &[&listen], &nodes.nodes[1..2], folder.path(), &more);
        let db = folder.path().join("peers.db");
        let torrents = nodes.torrents.clone();
        let mut asked = 0_u32;
        until(Duration::from_secs(60), "all three torrents", || {
            // An announce goes to the eight closest that a lookup finds, and libtorrent needs a while to know us.
            if !self.sweep && asked.is_multiple_of(50) {
                nodes.announce();
            }
            asked += 1;
            torrents.iter().all(|torrent| has(&db, torrent.infohash))
        });
        let mut last = (0, Vec::new(), false);
        until(Duration::from_secs(60), "our node in libtorrent's routing tables", || {
            last = nodes.live_nodes(self.address, self.port);
            last.0 > 0
        });
        for _ in 0..LOOKS {
            last = nodes.live_nodes(self.address, self.port);
            assert!(last.0 > 0, "our node has left every routing table");
        }
        assert_eq!(last.1.len(), 1, "one id everywhere: {last:?}");
        running.stop();
        assert_sound(&db);
        for torrent in &torrents {
            let shown =
                support::said(&["show", &torrent.infohash.to_string(), "--db", &db.to_string_lossy()]);
            assert!(
                shown.contains(&torrent.name) && shown.contains("file 2.bin"),
                "{}: {shown}",
                torrent.kind
            );
        }
    }
}

/// Two networks: our nodes and a peer in one, somebody else's client in the other.
struct Cables {
    here: Namespace,
    there: Namespace,
}

/// What the client shall find.
struct Dht {
    infohash: String,
    name: String,
    folder: tempfile::TempDir,
    _seeder: Libtorrent,
    _running: [Running; 2],
}

impl Cables {
    fn new() -> Result<Self, String> {
        let mut left: Vec<_> =
            ours().iter().map(|node| format!("{}/16", node.trim_end_matches(":6881"))).collect();
        left.push(format!("{PEER}/16"));
        let (here, there) = Namespace::pair(&left, &[format!("{CLIENT}/16")])?;
        Ok(Self { here, there })
    }

    /// Two engines with eight nodes each, and a seeder outside the DHT that `announce` announces.
    fn dht(&self, python: &PathBuf) -> Dht {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let seeds = folder.path().join("seeds");
        std::fs::create_dir(&seeds).expect("a new folder");
        let here = Place::In(&self.here);
        let wish = json!({"addresses": [PEER], "port": PEER_PORT, "dht": false, "seeds": seeds});
        let seeder = Libtorrent::start(here, python, &wish);
        let nodes = ours();
        let (some, others) = nodes.split_at(nodes.len() / 2);
        let running = [(some, others), (others, some)].map(|(own, known)| {
            let place = folder.path().join(own[0].replace(':', "-"));
            std::fs::create_dir(&place).expect("a new folder");
            let own: Vec<_> = own.iter().map(String::as_str).collect();
            run(here, &own, &known[..1], &place, &["--no-sweep"])
        });
        let torrent = seeder.torrents.iter().find(|torrent| torrent.kind == "v1").expect("it made one");
        let (infohash, name) = (torrent.infohash.to_string(), torrent.name.clone());
        until(Duration::from_secs(30), "an announce that nodes of both engines accept", || {
            let mut announce = here.program();
            let port = PEER_PORT.to_string();
            let from = format!("{PEER}:0");
            announce.args(["announce", &infohash, &port, "--bootstrap", &nodes[0], "--listen", &from]);
            let output = announce.output().expect("the program starts");
            let words = String::from_utf8_lossy(&output.stdout).into_owned();
            words.matches("announced to").count() > 4
        });
        Dht { infohash, name, folder, _seeder: seeder, _running: running }
    }
}

/// `run` on these addresses, its archive and words in `folder`.
fn run(place: Place<'_>, listen: &[&str], bootstrap: &[String], folder: &Path, more: &[&str]) -> Running {
    let mut command = place.program();
    command.args(["run", "--http", "off", "--db"]).arg(folder.join("peers.db")).args(more);
    for addr in listen {
        command.args(["--listen", addr]);
    }
    for node in bootstrap {
        command.args(["--bootstrap", node]);
    }
    Running::start(&mut command, &folder.join("run.log"))
}

fn ipv6() -> Result<Namespace, String> {
    let namespace = Namespace::new()?;
    // A local route lets a program receive on every address, but not bind one.
    for nth in (1..=2).chain(0x10..0x10 + FEW) {
        namespace.ip(&["addr", "add", &format!("fd00:1::{nth:x}/64"), "dev", "lo", "nodad"])?;
    }
    namespace.ip(&["route", "add", "local", "fd00:1::/64", "dev", "lo"])?;
    Ok(namespace)
}

fn missing(test: &str, why: &str) {
    assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "{test}: {why}");
    skipped(test, why);
}

fn tool(name: &str) -> Result<(), String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    if found { Ok(()) } else { Err(format!("there is no {name}; scripts/test --install installs it")) }
}

fn host_and_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").port()
}

/// Where our nodes listen in the cabled networks: Transmission trusts no DHT of less than nine.
fn ours() -> Vec<String> {
    (1..=16).map(|nth| format!("10.77.0.{nth}:6881")).collect()
}

/// So few that every node is among the eight closest to every infohash.
const FEW: usize = 6;
/// Looks into the routing tables, half a second each.
const LOOKS: usize = 40;
/// The peer that is announced.
const PEER: &str = "10.77.1.1";
const PEER_PORT: u16 = 7777;
/// Where the foreign client is.
const CLIENT: &str = "10.77.2.1";
