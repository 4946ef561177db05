//! Connections to targets as users see them: `network`, `run --targets`, against `openssl s_server`,
//! nginx and servers that behave badly, all on loopback. What is not installed is skipped with a
//! line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.
#![cfg(all(unix, feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "tls/server.rs"]
mod server;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use server::Authority;
use support::{crawl, program, skipped, until};

/// A server whose every connection is treated like this.
fn odd(treat: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let treat = Arc::new(treat);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = Arc::clone(&treat);
            std::thread::spawn(move || treat(stream));
        }
    });
    addr
}

/// A server that closes what it has just agreed on, and hands out no ticket before.
fn leaves_after_the_handshake(authority: &Authority) -> SocketAddr {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::from_pem_file(authority.path().join("good.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path().join("good.key")).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.send_tls13_tickets = 0;
    let config = Arc::new(config);
    odd(move |mut stream| {
        let mut server = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        while server.is_handshaking() && server.complete_io(&mut stream).is_ok() {}
    })
}

/// A port where nobody listens.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A DNS server to which no name exists.
fn knows_nothing() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            let Some(end) = query[12..len].iter().position(|byte| *byte == 0).map(|at| 12 + at + 5) else {
                continue;
            };
            query[2..12].copy_from_slice(&[0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
            drop(socket.send_to(&query[..end], from));
        }
    });
    addr
}

fn network(args: &[&str], roots: Option<&Path>) -> Output {
    let mut command = program();
    if let Some(roots) = roots {
        command.env("SSL_CERT_FILE", roots);
    }
    command.arg("network").args(args).output().unwrap()
}

/// The reports of a run with `--json`, and its summary.
fn reports(output: &Output) -> (Vec<Value>, Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].clone();
    lines.sort_by_key(|line| line["service"].as_str().unwrap().to_owned());
    (lines, summary)
}

fn authority() -> Authority {
    let authority = Authority::new("test-authority");
    authority.sign("good", "DNS:localhost,DNS:a.localhost,IP:127.0.0.1", PAST, FUTURE);
    authority.sign("expired", "DNS:localhost,IP:127.0.0.1", PAST, "210101000000Z");
    authority.sign("other", "DNS:elsewhere.test", PAST, FUTURE);
    authority.self_sign("self", "DNS:localhost,IP:127.0.0.1");
    authority
}

#[test]
fn every_kind_of_server_gets_its_stage_and_its_cause() {
    let authority = authority();
    let new = authority.serve("good", "-rev -tls1_3 -alpn h2,http/1.1");
    let old = authority.serve("good", "-rev -tls1_2");
    let expired = authority.serve("expired", "-rev");
    let other = authority.serve("other", "-rev");
    let itself = authority.serve("self", "-rev");
    let brief = leaves_after_the_handshake(&authority);
    let silent = odd(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let garbage = odd(|mut stream| drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")));
    let closes = odd(drop);
    let behind = new.addr;
    let slow = odd(move |near| {
        std::thread::sleep(SLOW);
        let far = TcpStream::connect(behind).unwrap();
        let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
        drop(std::io::copy(&mut &far, &mut &near));
    });
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("targets");
    let line = |addr: SocketAddr, protocol: &str, name: &str| {
        format!("127.0.0.1 {} {protocol} {name}\n", addr.port())
    };
    let text = [
        line(new.addr, "https", "a-new"),
        line(old.addr, "tls", "b-old"),
        line(expired.addr, "https", "c-expired"),
        line(other.addr, "wss", "d-other"),
        line(itself.addr, "https", "e-self"),
        line(brief, "tls", "f-brief"),
        line(silent, "https", "g-silent"),
        line(garbage, "https", "h-garbage"),
        line(closes, "https", "i-closes"),
        line(slow, "https", "j-slow"),
        format!("127.0.0.1 {} http k-refused\n", nobody()),
        format!("missing.test {} http l-missing\n", silent.port()),
        line(silent, "ws", "m-clear"),
    ]
    .concat();
    fs::write(&list, text).unwrap();
    let forwarder = knows_nothing().to_string();
    let args = ["preconnect", "--json", "--targets", list.to_str().unwrap(), "--dns-forwarder", &forwarder];
    let output =
        network(&[&args[..], &["--tls-timeout", "3s"]].concat(), Some(&authority.path().join("ca.pem")));
    assert!(output.status.success(), "{output:?}");
    let (reports, summary) = reports(&output);
    let told: Vec<(String, String)> = reports
        .iter()
        .map(|it| {
            let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (said(&it["error"]["stage"]), said(&it["error"]["cause"]))
        })
        .collect();
    let told: Vec<(&str, &str)> =
        told.iter().map(|(stage, cause)| (stage.as_str(), cause.as_str())).collect();
    // A server that closes at once may have its end seen as a reset.
    assert!(told[8].0 == "tls" && (told[8].1.contains("ended") || told[8].1.contains("reset")), "{told:?}");
    let expected = [
        ("", ""),
        ("", ""),
        ("tls", "its certificate has expired"),
        ("tls", "its certificate is for other names"),
        ("tls", "its certificate is signed by itself"),
        ("open", "it was closed right after it was opened"),
        ("tls", "the TLS handshake took too long"),
        ("tls", "what it says is no TLS"),
        told[8],
        ("", ""),
        ("tcp", "nothing listens on this port"),
        ("dns", "there is no such name"),
        ("", ""),
    ];
    assert_eq!(told, expected);
    let (new, old, slow) = (&reports[0], &reports[1], &reports[9]);
    assert_eq!((new["tls"]["version"].as_str(), new["tls"]["alpn"].as_str()), (Some("1.3"), Some("h2")));
    assert!(new["tickets"].as_u64() > Some(0) && new["tls"]["resumed"] == false);
    assert_eq!(new["tls"]["certificate"]["expires"], "2040-01-01");
    assert_eq!((old["tls"]["version"].as_str(), old["tls"]["alpn"].as_str()), (Some("1.2"), None));
    assert!(slow["tls_ms"].as_f64().unwrap() >= SLOW.as_secs_f64() * 1e3, "{slow}");
    assert_eq!(reports[3]["refused_certificate"]["names"][0], "elsewhere.test");
    assert_eq!((summary["total"].as_u64(), summary["connected"].as_u64()), (Some(13), Some(4)));
}

#[test]
fn a_second_handshake_resumes_the_first() {
    let authority = authority();
    let server = authority.serve("good", "-rev -tls1_3");
    let port = server.addr.port().to_string();
    let ca = authority.path().join("ca.pem");
    let output = network(&["test", "127.0.0.1", &port, "tls", "--repeat", "3", "--json"], Some(&ca));
    let (rounds, summary) = reports(&output);
    let resumed: Vec<_> = rounds.iter().map(|it| it["tls"]["resumed"].as_bool().unwrap()).collect();
    assert_eq!(resumed, [false, true, true]);
    assert_eq!((summary["connected"].as_u64(), summary["latency_ms"]["count"].as_u64()), (Some(3), Some(3)));
    let list = authority.path().join("targets");
    fs::write(&list, format!("127.0.0.1 {port} tls\n")).unwrap();
    for how in [&["parallel"][..], &["--sequential"]] {
        let args = [&["warmup", "--targets", list.to_str().unwrap()][..], how].concat();
        let output = network(&args, Some(&ca));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("cold ms") && said.contains("resumed"),
            "{output:?}"
        );
    }
}

#[test]
fn a_dead_address_beside_a_living_one_costs_its_head_start() {
    let living = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = living.local_addr().unwrap().port();
    let dead = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    dead.set_only_v6(true).unwrap();
    let at: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    if dead.bind(&at.into()).is_err() {
        return skipped(
            "a_dead_address_beside_a_living_one_costs_its_head_start",
            "this machine has no IPv6",
        );
    }
    // Once its queue is full, whoever else knocks hears nothing.
    dead.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(100)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue never fills");
    }
    let port = port.to_string();
    let output = network(&["test", "both.localhost", &port, "tcp", "--json"], None);
    let (rounds, _) = reports(&output);
    let attempts = rounds[0]["attempts"].as_array().unwrap();
    assert_eq!(
        (attempts[0]["address"].as_str(), attempts[0]["result"].as_str()),
        (Some("::1"), Some("slower"))
    );
    assert_eq!(
        (attempts[1]["address"].as_str(), attempts[1]["result"].as_str()),
        (Some("127.0.0.1"), Some("open"))
    );
    let took = rounds[0]["tcp_ms"].as_f64().unwrap();
    assert!(took >= 250.0, "{took} ms");
}

#[test]
fn run_starts_although_every_target_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let (list, log) = (folder.path().join("targets"), folder.path().join("log"));
    let silent = odd(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let text = format!("127.0.0.1 {} tcp\n127.0.0.1 {} https\nmissing.test 1 tcp\n", nobody(), silent.port());
    fs::write(&list, text).unwrap();
    let forwarder = knows_nothing().to_string();
    let more = ["--dns-forwarder", &forwarder, "--targets"];
    for file in [list.to_str().unwrap(), "/nowhere/targets"] {
        let mut running =
            crawl(&folder.path().join("db"), "127.0.0.1:9", &[&more[..], &[file]].concat(), &log);
        let word = if file == "/nowhere/targets" { "nothing is kept warm" } else { "cannot be warmed now" };
        until(Duration::from_secs(30), "the log to speak of it", || running.words().contains(word));
        assert!(running.is_running());
        running.stop();
    }
}

#[test]
fn run_notices_what_is_closed_and_renews_it() {
    let folder = tempfile::tempdir().unwrap();
    let (list, log) = (folder.path().join("targets"), folder.path().join("log"));
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let server = odd(move |_stream| {
        count.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(50));
    });
    fs::write(&list, format!("127.0.0.1 {} http\n", server.port())).unwrap();
    let more = ["--dns-forwarder", "127.0.0.1:9", "--targets", list.to_str().unwrap()];
    let running = crawl(&folder.path().join("db"), "127.0.0.1:9", &more, &log);
    until(Duration::from_secs(30), "the third connection", || accepted.load(SeqCst) >= 3);
    running.stop();
    let off = [&more[..], &["--preconnect=off"]].concat();
    let before = accepted.load(SeqCst);
    let running = crawl(&folder.path().join("db"), "127.0.0.1:9", &off, &log);
    until(Duration::from_secs(30), "a start", || running.words().contains("the archive is"));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(accepted.load(SeqCst), before);
    running.stop();
}

/// nginx with these lines in its server.
struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, server: &str) -> Option<Self> {
        let at = folder.display();
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
            .collect();
        let text = format!(
            "daemon off; worker_processes 1; worker_rlimit_nofile 4096; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 3000; }}\nhttp {{ access_log off; {temp} server {{ {server} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok();
        if child.is_none() {
            assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "nginx is not installed");
        }
        child.map(Self)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = self.0.id();
        drop(Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status());
        drop(self.0.wait());
    }
}

#[test]
fn a_thousand_targets_of_nginx() {
    let authority = Authority::new("test-authority");
    authority.sign("many", "DNS:*.w.localhost", PAST, FUTURE);
    let (port, at) = (nobody(), authority.path().display().to_string());
    let server = format!(
        "listen 127.0.0.1:{port} ssl http2 backlog=2048; ssl_protocols TLSv1.3; \
         ssl_certificate {at}/many.pem; ssl_certificate_key {at}/many.key; return 200 ok;"
    );
    let Some(_nginx) = Nginx::start(authority.path(), &server) else {
        return skipped("a_thousand_targets_of_nginx", "nginx is not installed");
    };
    until(Duration::from_secs(10), "nginx", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let list = authority.path().join("targets");
    let text: String = (0..1_000).map(|it| format!("t{it}.w.localhost {port} https t{it}\n")).collect();
    fs::write(&list, text).unwrap();
    let args = ["preconnect", "--json", "--targets", list.to_str().unwrap(), "--tcp-timeout", "30s"];
    let output =
        network(&[&args[..], &["--tls-timeout", "30s"]].concat(), Some(&authority.path().join("ca.pem")));
    let (reports, summary) = reports(&output);
    assert_eq!((reports.len(), summary["connected"].as_u64()), (1_000, Some(1_000)), "{summary}");
    assert!(reports.iter().all(|it| it["tls"]["alpn"] == "h2" && it["tls"]["version"] == "1.3"));
}

#[test]
fn mistakes_get_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (wrong, empty) = (file("wrong", "# fine\na.test 1 tcp\nb.test one tcp\n"), file("empty", "# none\n"));
    let cases: [(&[&str], i32, &str); 13] = [
        (&[], 2, "say what to do"),
        (&["fly"], 2, "fly"),
        (&["test"], 2, "HOST"),
        (&["test", "localhost", "99999", "http"], 2, "from 1 to 65535"),
        (&["test", "localhost", "80", "gopher"], 2, "http, https, ws, wss, dot, tcp, tls"),
        (&["test", "a..b", "80", "tcp"], 2, "neither a name nor an IP address"),
        (&["test", "a b", "80", "tcp"], 2, "neither a name nor an IP address"),
        (&["warmup", "parallel", "--sequential"], 2, "exclude each other"),
        (&["warmup", "--repeat", "1", "--targets", &wrong], 1, "line 3"),
        (&["preconnect", "--repeat", "0"], 2, "repeat"),
        (&["preconnect", "--targets", "/nowhere/x"], 1, "/nowhere/x"),
        (&["status", "--targets", &empty], 1, "has no target"),
        (&["nat"], 1, "not built yet"),
    ];
    for (args, code, part) in cases {
        let output = network(args, None);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{args:?}: {output:?}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    for args in
        [&["preconnect", "--help"][..], &["warmup", "--help"], &["status", "--help"], &["test", "--help"]]
    {
        let output = network(args, None);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("--targets") && said.contains("--tls-timeout"),
            "{said}"
        );
    }
}

#[test]
fn the_seeds_spelling_works_and_what_fails_says_so() {
    let port = nobody().to_string();
    let output = program().args(["network:test", "127.0.0.1", &port, "http"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("failed at tcp: nothing listens on this port; start the service"), "{said}");
    let living = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("targets");
    let (live, dead) = (living.local_addr().unwrap().port(), nobody());
    fs::write(&list, format!("127.0.0.1 {live} http mine\n127.0.0.1 {dead} http\n")).unwrap();
    // The file may come from the environment, as every setting.
    for words in [&["network:preconnect"][..], &["network:warmup", "parallel"], &["network:status", "-v"]] {
        let output = program().env("DHT_HUNTER_TARGETS", &list).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {output:?}");
        assert!(said.contains("nothing listens on this port") && said.contains(" connected, "), "{said}");
    }
    let output = network(&["status", "--targets", list.to_str().unwrap()], None);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("host name ") && said.contains("\ndefault route "), "{said}");
    let output = network(&["status", "--json", "--targets", list.to_str().unwrap()], None);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(first["network"]["ipv4"].is_array() && said.lines().count() == 4, "{said}");
    fs::write(&list, format!("127.0.0.1 {dead} http\n")).unwrap();
    let output = network(&["preconnect", "--targets", list.to_str().unwrap()], None);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

const PAST: &str = "200101000000Z";
const FUTURE: &str = "20400101000000Z";
const SLOW: Duration = Duration::from_millis(300);
