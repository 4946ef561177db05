//! A resolver for other programs, and the commands that need one, against DNS servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dht_hunter::Resolver;
use dht_hunter::embed::{
    Failure, ForwarderConfig, OpenError, ResolveFailure, ResolverConfig, Source, StartFailure,
};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Rcode, Section, Writer};
use serde_json::Value;
use support::program;

/// What a server says.
#[derive(Clone)]
enum Says {
    /// These addresses, for so many seconds.
    Has(u32, Vec<IpAddr>),
    /// There is no such name.
    Missing,
    /// There is, with nothing.
    Nothing,
    /// This code.
    Code(Rcode),
    /// Others are to be asked.
    Referral,
    /// A question that has nothing to do with it.
    Garbage,
    Silence,
}

/// A DNS server on loopback, and how often each name was asked for.
struct Server {
    addr: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Who comes over TCP is let in and told nothing.
    _tcp: TcpListener,
}

/// The same port for both.
fn pair() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

impl Server {
    fn start(says: impl Fn(&str) -> Says + Send + 'static) -> Self {
        let (udp, tcp) = pair();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let addr = udp.local_addr().unwrap();
        let (asked, stop): (Arc<Mutex<BTreeMap<_, _>>>, Arc<AtomicBool>) = Default::default();
        let (counts, end) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut data = [0; 2_048];
            while !end.load(SeqCst) {
                let Ok((len, from)) = udp.recv_from(&mut data) else { continue };
                let question = Message::parse(&data[..len]).unwrap().question.unwrap();
                let name = Name::from_wire(question.name).unwrap().to_string().to_ascii_lowercase();
                *counts.lock().unwrap().entry(name.clone()).or_default() += 1;
                if let Some(answer) = answer(&data[..len], &says(&name)) {
                    drop(udp.send_to(&answer, from));
                }
            }
        });
        Self { addr, asked, stop, thread: Some(thread), _tcp: tcp }
    }

    fn forwarders(&self) -> Vec<ForwarderConfig> {
        vec![ForwarderConfig::plain(self.addr)]
    }

    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let message = Message::parse(query).ok()?;
    let asked = message.question?;
    let code = match says {
        Says::Missing => Rcode::NXDOMAIN.0,
        Says::Code(rcode) => rcode.0,
        Says::Silence => return None,
        _ => 0,
    };
    let mut out = vec![0; 4_096];
    let flags = Flags(Flags::QR | Flags::RD | Flags::RA | code);
    let mut writer = Writer::new(&mut out, message.header.id, flags).unwrap();
    writer.question(asked.name, asked.kind, CLASS_IN).unwrap();
    let fits = |ip: &&IpAddr| (asked.kind == Kind::A) == ip.is_ipv4();
    match says {
        Says::Has(ttl, ips) => {
            for ip in ips.iter().filter(fits).filter(|_| matches!(asked.kind, Kind::A | Kind::AAAA)) {
                let data = match ip {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                writer.record(Section::Answer, asked.name, asked.kind, *ttl, &data).unwrap();
            }
        }
        Says::Referral => {
            writer.record(Section::Authority, b"\x04test\0", Kind::NS, 60, b"\x02ns\x04test\0").unwrap();
        }
        // A record that ends behind the message.
        Says::Garbage => {
            let mut cut = query.to_vec();
            cut[2] |= 0x80;
            cut[6..8].copy_from_slice(&[0, 9]);
            cut.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 200, 1]);
            return Some(cut);
        }
        Says::Missing | Says::Nothing | Says::Code(_) | Says::Silence => {}
    }
    let len = writer.finish();
    out.truncate(len);
    Some(out)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn has(ttl: u32, ips: &[&str]) -> Says {
    Says::Has(ttl, ips.iter().map(|text| ip(text)).collect())
}

fn resolver(server: &Server) -> Resolver {
    let forwarders = server.forwarders();
    let search = Some(Vec::new());
    Resolver::with(ResolverConfig { forwarders, search, ..ResolverConfig::default() }).unwrap()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap()
}

#[test]
fn a_host_has_addresses_of_both_families_and_is_remembered() {
    let server = Server::start(|_| has(300, &["127.0.0.1", "127.0.0.2", "::1"]));
    let resolver = resolver(&server);
    let first = resolver.resolve_hostname("both.test", false).unwrap();
    assert_eq!((first.hostname.as_str(), first.ipv4.len(), first.ipv6.len()), ("both.test", 2, 1));
    assert_eq!((first.cached, first.ttl, first.addresses.len()), (false, Some(300), 3));
    assert_eq!(first.source, Source::Forwarder(server.addr.to_string().into()));
    let again = resolver.resolve_hostname("BOTH.test", true).unwrap();
    assert_eq!((again.cached, again.source, again.ipv4), (true, Source::Memory, first.ipv4));
    assert!(again.ttl.is_some_and(|ttl| (1..=300).contains(&ttl)));
    assert_eq!(server.asked("both.test."), 2, "one question for each family");
    let cache = resolver.cache().unwrap();
    assert_eq!((cache.hosts, cache.names, cache.answers), (1, vec!["both.test".to_owned()], 2));
    assert_eq!((cache.stats.hits, cache.stats.misses), (2, 2));
}

#[test]
fn every_way_to_have_no_address_is_told_apart() {
    let server = Server::start(|name| match name {
        "missing.test." => Says::Missing,
        "nothing.test." => Says::Nothing,
        "refused.test." => Says::Code(Rcode::REFUSED),
        "referral.test." => Says::Referral,
        _ => Says::Silence,
    });
    let resolver = resolver(&server);
    for (name, failure) in [
        ("missing.test", ResolveFailure::NoSuchName),
        ("nothing.test", ResolveFailure::NoAddress),
        ("refused.test", ResolveFailure::Dns(Failure::Rcode(Rcode::REFUSED))),
        ("referral.test", ResolveFailure::Dns(Failure::Referral)),
        ("a..b", ResolveFailure::Dns(Failure::BadName)),
        ("", ResolveFailure::Dns(Failure::BadName)),
    ] {
        assert_eq!(resolver.resolve_hostname(name, true), Err(failure), "{name}");
    }
    let timeout = Duration::from_millis(300);
    let forwarders = server.forwarders();
    let hasty = ResolverConfig { forwarders, timeout, search: Some(Vec::new()), ..ResolverConfig::default() };
    let hasty = Resolver::with(hasty).unwrap();
    assert_eq!(hasty.resolve_hostname("silent.test", false), Err(ResolveFailure::Dns(Failure::Timeout)));
}

#[test]
fn hosts_and_suffixes_of_ones_own_are_used_and_addresses_need_nobody() {
    let server =
        Server::start(
            |name| if name == "short.inner.test." { has(60, &["127.0.0.3"]) } else { Says::Missing },
        );
    let config = ResolverConfig {
        forwarders: server.forwarders(),
        hosts: Some("127.0.0.4 own.test alias.test".to_owned()),
        search: Some(vec!["inner.test".to_owned()]),
        ..ResolverConfig::default()
    };
    let resolver = Resolver::with(config).unwrap();
    let own = resolver.resolve_hostname("alias.test", false).unwrap();
    assert_eq!(
        (own.ipv4[0].to_string(), own.source, own.cached),
        ("127.0.0.4".to_owned(), Source::Hosts, false)
    );
    let short = resolver.resolve_hostname("short", false).unwrap();
    assert_eq!(
        (short.hostname.as_str(), short.ipv4[0].to_string()),
        ("short.inner.test", "127.0.0.3".to_owned())
    );
    let literal = resolver.resolve_hostname("::1", true).unwrap();
    assert_eq!((literal.ipv6.len(), literal.ttl, literal.source), (1, None, Source::Literal));
}

#[test]
fn with_a_database_the_memory_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let db = Some(folder.path().join("names.db"));
    let server = Server::start(|_| has(600, &["127.0.0.9"]));
    let config = |forwarders| ResolverConfig {
        forwarders,
        db: db.clone(),
        search: Some(Vec::new()),
        ..ResolverConfig::default()
    };
    let first = Resolver::with(config(server.forwarders())).unwrap();
    assert!(!first.resolve_hostname("kept.test", false).unwrap().cached);
    let second = Resolver::with(config(server.forwarders()));
    assert_eq!(second.err(), Some(StartFailure::Archive(OpenError::Locked)));
    drop(first);
    let later = Resolver::with(config(vec![ForwarderConfig::plain(nobody())])).unwrap();
    let kept = later.resolve_hostname("kept.test", false).unwrap();
    assert_eq!(
        (kept.cached, kept.source, kept.ipv4[0].to_string()),
        (true, Source::Database, "127.0.0.9".to_owned())
    );
    assert_eq!(later.cache().unwrap().names, ["kept.test"]);
}

#[test]
fn a_database_that_cannot_be_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "no database, ".repeat(1_000)).unwrap();
    let config = ResolverConfig { db: Some(path), ..ResolverConfig::default() };
    assert_eq!(Resolver::with(config).err(), Some(StartFailure::Archive(OpenError::NotArchive)));
}

#[test]
fn many_threads_ask_at_once() {
    let server = Server::start(|name| {
        let number: u8 = name.trim_start_matches('n').split('.').next().unwrap().parse().unwrap();
        Says::Has(60, vec![IpAddr::from([127, 0, 1, number])])
    });
    let resolver = resolver(&server);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let resolver = &resolver;
            scope.spawn(move || {
                for number in 0..100_u8 {
                    let number = number.wrapping_add(thread * 10) % 100;
                    let resolved = resolver.resolve_hostname(&format!("n{number}.test"), false).unwrap();
                    assert_eq!(resolved.ipv4, [std::net::Ipv4Addr::new(127, 0, 1, number)]);
                }
            });
        }
    });
    assert_eq!(resolver.cache().unwrap().hosts, 100);
}

#[test]
fn what_is_prefetched_is_known_when_it_is_wanted_and_looked_up_again() {
    let server = Server::start(|_| has(1, &["127.0.0.5"]));
    let resolver = resolver(&server);
    resolver.prefetch("ahead.test").unwrap();
    resolver.resolve_hostname("once.test", false).unwrap();
    // Nobody asks for it meanwhile, and it holds for a second.
    let began = Instant::now();
    while server.asked("ahead.test.") < 6 {
        assert!(began.elapsed() < Duration::from_secs(20), "asked {} times", server.asked("ahead.test."));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.asked("once.test."), 2);
}

#[test]
fn the_network_is_told() {
    let server = Server::start(|_| Says::Silence);
    let info = resolver(&server).network_info();
    assert!(cfg!(not(unix)) || info.hostname.is_some());
    assert!(info.ipv4().iter().all(|ip| ip.is_ipv4()) && info.ipv6().iter().all(|ip| ip.is_ipv6()));
}

fn run(args: &[&str], forwarder: SocketAddr) -> Output {
    program().args(args).env("DHT_HUNTER_DNS_FORWARDER", forwarder.to_string()).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn operations_have_the_engine_look_their_hosts_up() {
    let config = dht_hunter::swarm::Config { nodes: 60, torrents: 5, ..Default::default() };
    let swarm = support::LiveSwarm::start(config);
    let node: SocketAddr = swarm.bootstrap.parse().unwrap();
    let server = Server::start(move |name| match name {
        "node.test." => Says::Has(60, vec![node.ip()]),
        "missing.test." => Says::Missing,
        _ => Says::Silence,
    });
    let listen = format!("{}:0", node.ip());
    let (host, port) = (format!("node.test.:{}", node.port()), node.port());
    let target = "0000000000000000000000000000000000000001";
    let pinged = run(&["ping", &host], server.addr);
    assert!(pinged.status.success(), "{}", errors(&pinged));
    let missing = format!("missing.test.:{port}");
    let all = ["find-node", target, "--listen", &listen, "--bootstrap", &missing, "--bootstrap", &host];
    let found = run(&all, server.addr);
    assert!(found.status.success(), "{}", errors(&found));
    assert!(server.asked("node.test.") > 0 && server.asked("missing.test.") > 0);
}

#[test]
fn a_fetch_from_a_peer_on_loopback_asks_nobody_for_hosts_of_the_internet() {
    let server = Server::start(|_| Says::Missing);
    let (hash, peer) = ("0000000000000000000000000000000000000001", nobody().to_string());
    let failed = run(&["fetch", hash, "--peer", &peer, "--timeout", "1s"], server.addr);
    assert!(!failed.status.success());
    assert!(server.asked.lock().unwrap().is_empty(), "{:?}", server.asked.lock().unwrap());
}

#[test]
fn hosts_without_an_address_end_an_operation_with_one_sentence() {
    let server = Server::start(|name| if name == "silent.test." { Says::Silence } else { Says::Missing });
    let target = "0000000000000000000000000000000000000001";
    for (host, listen) in [("missing.test.", "127.0.0.1:0"), ("silent.test.", "127.0.0.1:0")] {
        let (bootstrap, other) = (format!("{host}:6881"), "also.test.:6881");
        let args = ["peers", target, "--listen", listen, "--bootstrap", &bootstrap, "--bootstrap", other];
        let failed = run(&args, server.addr);
        assert_eq!(failed.status.code(), Some(1));
        let words = errors(&failed);
        assert!(words.contains(&format!("none of {host}, also.test. has an address")), "{words}");
    }
    let ping = run(&["ping", "missing.test.:6881"], server.addr);
    assert_eq!(ping.status.code(), Some(1));
    assert!(errors(&ping).contains("the name missing.test. has no address"), "{}", errors(&ping));
    let ping = run(&["ping", "silent.test.:6881"], server.addr);
    assert!(
        errors(&ping).contains("cannot be looked up: no DNS server answered in time"),
        "{}",
        errors(&ping)
    );
}

#[test]
fn resolve_says_in_json_what_it_found_or_why_not() {
    let server = Server::start(|name| match name {
        "both.test." => has(60, &["127.0.0.1", "::1"]),
        "missing.test." => Says::Missing,
        "nothing.test." => Says::Nothing,
        "refused.test." => Says::Code(Rcode::REFUSED),
        "referral.test." => Says::Referral,
        "garbage.test." => Says::Garbage,
        _ => Says::Silence,
    });
    let at = format!("@{}", server.addr);
    let (closed, refused) = (format!("@{}", nobody()), format!("@tls://{}", nobody()));
    let json = |name: &str, at: &str| -> (Option<i32>, Value) {
        let output = program().args(["--json", "resolve", name, at]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name}: {text}")))
    };
    let (code, found) = json("both.test.", &at);
    assert_eq!((code, &found["error"]), (Some(0), &Value::Null));
    assert_eq!((&found["ipv4"][0], &found["ipv6"][0]), (&"127.0.0.1".into(), &"::1".into()));
    assert_eq!((&found["name"], &found["source"]), (&"both.test.".into(), &server.addr.to_string().into()));
    let (code, found) = json("localhost", &at);
    assert_eq!((code, &found["source"], &found["ipv4"][0]), (Some(0), &"hosts".into(), &"127.0.0.1".into()));
    // An address is looked up for its name; that of a private network is asked of nobody else.
    let (code, found) = json("127.0.0.1", &at);
    assert_eq!(
        (code, &found["records"][0]["type"], &found["ipv4"][0]),
        (Some(0), &"PTR".into(), &Value::Null)
    );
    let (code, found) = json("192.168.77.8", &at);
    assert_eq!(
        (code, &found["error"], &found["source"]),
        (Some(3), &"there is no such name".into(), &"zone".into())
    );
    for (name, at, error) in [
        ("missing.test.", &at, "there is no such name"),
        ("nothing.test.", &at, "it has no address"),
        ("refused.test.", &at, "the DNS servers answer REFUSED"),
        ("referral.test.", &at, "the DNS servers name others instead of asking them"),
        ("garbage.test.", &at, "the DNS servers' answers cannot be read"),
        ("silent.test.", &at, "no DNS server answered in time"),
        ("both.test.", &closed, "nothing listens where the DNS server should be (port refused)"),
        ("both.test.", &refused, "nothing listens where the DNS server should be (port refused)"),
        ("a..b", &at, "it is no name"),
    ] {
        let (code, failed) = json(name, at);
        assert_eq!((code, &failed["error"]), (Some(3), &error.into()), "{name}");
        assert_eq!(
            (&failed["ipv4"], &failed["ipv6"]),
            (&Value::Array(vec![]), &Value::Array(vec![])),
            "{name}"
        );
    }
}
