//! Things got over HTTP from played servers that are malicious in every way, and from nginx.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dht_hunter::engine::Engine;
use dht_hunter::engine::config::Config;
use dht_hunter::engine::io::{
    Answer, Command, CommandId, DownloadFailure, DownloadWish, Downloaded, REDIRECTS_MAX, Reason,
};
use dht_hunter::model::Recovered;
use dht_hunter::reactor::{Clock, Handle, KeepNothing, Observer, Reactor, ReactorConfig, Roots, listen};
use dht_hunter::web::{Body, BodyFault, Fault, Limits, Stage};
use dht_hunter::wire::http::{Error, Validators};
use flate2::Compression;
use flate2::write::GzEncoder;
use support::skipped;

/// An engine that gets things.
struct Getter {
    handle: Handle,
    answers: Receiver<Downloaded>,
    thread: Option<JoinHandle<()>>,
}

struct Told(Sender<Downloaded>);

impl Observer<Engine> for Told {
    fn on_answer(&mut self, _command: CommandId, answer: Answer) {
        if let Answer::Downloaded(downloaded) = answer {
            drop(self.0.send(*downloaded));
        }
    }
}

impl Getter {
    fn start(roots: Roots) -> Self {
        let clock = Clock::start();
        let listening = listen(&ReactorConfig { roots, ..ReactorConfig::default() }, clock).unwrap();
        let mut config = Config::one_off(Vec::new());
        config.dns.forwarders.clear();
        let engine = Engine::new(config, Recovered::default(), [7; 32], clock.now(), clock.unix());
        let (handle, archive) = (listening.handle(), KeepNothing::new(listening.wake()));
        let (sender, answers) = channel();
        let mut reactor = Reactor::new(listening, engine, archive, Told(sender));
        let thread = std::thread::spawn(move || {
            reactor.run();
            reactor.into_parts().0.check_invariants();
        });
        Self { handle, answers, thread: Some(thread) }
    }

    fn wish(&self, wish: DownloadWish) {
        self.handle.send(Command::Download(CommandId(1), Box::new(wish))).unwrap();
    }

    fn get(&self, url: &str) -> Downloaded {
        self.known(url, Validators::default(), HASTY)
    }

    fn known(&self, url: &str, known: Validators, limits: Limits) -> Downloaded {
        self.wish(DownloadWish { url: url.to_owned(), known, limits });
        self.answers.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn failure(&self, url: &str) -> DownloadFailure {
        match self.get(url) {
            Downloaded::Failed(failure) => failure,
            other => panic!("{url}: {other:?}"),
        }
    }
}

impl Drop for Getter {
    fn drop(&mut self) {
        // It may have been stopped before.
        let _ = self.handle.send(Command::Stop);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

const HASTY: Limits = Limits {
    body_bytes_max: 1 << 20,
    connect: Duration::from_secs(20),
    head: Duration::from_secs(2),
    total: Duration::from_secs(60),
    pace_bytes_min: 1_000,
    pace_window: Duration::from_secs(2),
};

fn body(downloaded: Downloaded) -> (Body, Validators, String) {
    match downloaded {
        Downloaded::Content { body, validators, url } => (body, validators, url),
        other => panic!("{other:?}"),
    }
}

fn text(downloaded: Downloaded) -> String {
    String::from_utf8(body(downloaded).0.decode(1 << 20).unwrap()).unwrap()
}

/// A server that does as it is told with each connection, once the request has come.
struct Server {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(
        play: impl Fn(&str, &mut TcpStream, &AtomicBool) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let (heard, end) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                while !end.load(SeqCst) {
                    let Ok((mut stream, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    let (play, heard, end) = (&play, &heard, &end);
                    scope.spawn(move || {
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
                        let request = read_request(&mut stream);
                        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                        heard.lock().unwrap().push(request);
                        // Whoever has heard enough goes away, and the rest cannot be said.
                        drop(play(&path, &mut stream, end));
                    });
                }
            });
        });
        Self { addr, requests, stop, thread: Some(thread) }
    }

    /// Answers with `said`, and then ends the stream.
    fn saying(said: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |path, stream, _| {
            stream.write_all(&said(path))?;
            stream.shutdown(Shutdown::Write)
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn with_head(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat()
}

#[test]
fn a_list_comes_with_its_length_in_chunks_packed_or_to_the_end() {
    let server = Server::saying(|path| match path {
        "/length" => with_head("Content-Length: 5\r\nETag: \"v1\"\r\n", b"hello"),
        "/chunks" => with_head("Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        "/packed" => with_head("Content-Encoding: gzip\r\n", &packed(b"hello")),
        _ => with_head("", b"hello"),
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    for path in ["/length", "/chunks", "/packed", "/close"] {
        assert_eq!(text(getter.get(&server.url(path))), "hello", "{path}");
    }
    let (_, validators, url) = body(getter.get(&server.url("/length")));
    assert_eq!((validators.etag.as_deref(), url), (Some("\"v1\""), server.url("/length")));
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("GET /length HTTP/1.1\r\n"), "{request}");
    for header in [&format!("Host: {}", server.addr), "Accept-Encoding: gzip", "Connection: close"] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{request}");
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let server =
        Server::start(|_, stream, _| stream.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n"));
    let getter = Getter::start(Roots::Pem(Vec::new()));
    let known = Validators { etag: Some("\"v1\"".to_owned()), last_modified: Some("then".to_owned()) };
    assert_eq!(getter.known(&server.url("/"), known, HASTY), Downloaded::NotModified);
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.contains("\r\nIf-None-Match: \"v1\"\r\nIf-Modified-Since: then\r\n"), "{request}");
    // Nobody said that anything was known.
    assert_eq!(getter.failure(&server.url("/")), DownloadFailure::Status(304));
}

#[test]
fn redirects_are_followed_a_few_times_and_in_circles_never() {
    let server = Server::saying(|path| {
        let to = |place: &str| {
            format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        };
        match path.strip_prefix("/far/").map(|left| left.parse::<usize>().unwrap()) {
            Some(0) => with_head("Content-Length: 2\r\n", b"ok"),
            Some(left) => to(&format!("{}", left - 1)),
            None if path == "/circle" => to("/circle"),
            None if path == "/file" => to("file:///etc/passwd"),
            None => b"HTTP/1.1 302 Found\r\n\r\n".to_vec(),
        }
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    let (got, _, url) = body(getter.get(&server.url(&format!("/far/{REDIRECTS_MAX}"))));
    assert_eq!((got.decode(9).unwrap(), url), (b"ok".to_vec(), server.url("/far/0")));
    let further = server.url(&format!("/far/{}", REDIRECTS_MAX + 1));
    assert_eq!(getter.failure(&further), DownloadFailure::TooManyRedirects);
    let before = server.requests.lock().unwrap().len();
    assert_eq!(getter.failure(&server.url("/circle")), DownloadFailure::TooManyRedirects);
    assert_eq!(server.requests.lock().unwrap().len() - before, REDIRECTS_MAX + 1);
    assert_eq!(getter.failure(&server.url("/file")), DownloadFailure::BadRedirect);
    assert_eq!(getter.failure(&server.url("/nowhere")), DownloadFailure::Http(Fault::NoLocation));
}

/// Says something again and again until nobody listens, or much more was said than may be taken.
fn endless(stream: &mut TcpStream, again: &[u8]) -> std::io::Result<()> {
    let again = again.repeat(1 + 4_096 / again.len());
    (0..16_384).try_for_each(|_| stream.write_all(&again))
}

#[test]
fn whatever_a_malicious_server_says_is_bounded_and_named() {
    let server = Server::start(|path, stream, _| {
        match path {
            "/head" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                return endless(stream, b"a: b\r\n");
            }
            "/header" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\na: ")?;
                return endless(stream, b"b");
            }
            "/interim" => return endless(stream, b"HTTP/1.1 100 Continue\r\n\r\n"),
            "/chunks" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                return endless(stream, b"1\r\nx\r\n");
            }
            "/line" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")?;
                return endless(stream, b"x");
            }
            "/trailers" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")?;
                return endless(stream, b"a: b\r\n");
            }
            "/close" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                return endless(stream, b"x");
            }
            "/long" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n")?,
            "/short" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")?,
            "/both" => stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n")?,
            "/garbage" => stream.write_all(&[0xff; 4_000])?,
            "/nothing" => {}
            "/teapot" => stream.write_all(b"HTTP/1.1 418 Short\r\n\r\n")?,
            _ => {}
        }
        stream.shutdown(Shutdown::Write)
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    for (path, fault) in [
        ("/head", Fault::Http(Error::HeadTooLong)),
        ("/header", Fault::Http(Error::HeadTooLong)),
        ("/interim", Fault::Http(Error::NotHttp)),
        ("/chunks", Fault::TooLong),
        ("/line", Fault::Http(Error::BadChunk)),
        ("/trailers", Fault::Http(Error::HeadTooLong)),
        ("/close", Fault::TooLong),
        ("/long", Fault::TooLong),
        ("/short", Fault::Cut),
        ("/both", Fault::Http(Error::Ambiguous)),
        ("/garbage", Fault::Cut),
        ("/nothing", Fault::Cut),
    ] {
        assert_eq!(getter.failure(&server.url(path)), DownloadFailure::Http(fault), "{path}");
    }
    assert_eq!(getter.failure(&server.url("/teapot")), DownloadFailure::Status(418));
}

#[test]
fn a_bomb_is_not_let_out() {
    let bomb = packed(&vec![0; 64 << 20]);
    let (len, said) = (bomb.len(), with_head("Content-Encoding: gzip\r\n", &bomb));
    assert!(len < 1 << 20, "it fits on the way");
    let server = Server::saying(
        move |path| if path == "/cut" { said[..said.len() / 2].to_vec() } else { said.clone() },
    );
    let getter = Getter::start(Roots::Pem(Vec::new()));
    let (bomb, ..) = body(getter.get(&server.url("/")));
    assert_eq!(bomb.len(), len);
    assert_eq!(bomb.decode(1 << 20), Err(BodyFault::TooLong));
    let (cut, ..) = body(getter.get(&server.url("/cut")));
    assert_eq!(cut.decode(256 << 20), Err(BodyFault::BadGzip));
}

/// Says a byte at a time until nobody listens, for a quarter of a minute at most.
fn trickle(stream: &mut TcpStream, stop: &AtomicBool, text: &[u8]) -> std::io::Result<()> {
    for byte in text.iter().cycle().take(150) {
        if stop.load(SeqCst) {
            return Ok(());
        }
        stream.write_all(&[*byte])?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn whoever_is_slow_is_left() {
    let server = Server::start(|path, stream, stop| match path {
        "/head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nA: ")?;
            trickle(stream, stop, b"a")
        }
        "/body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")?;
            trickle(stream, stop, b"a")
        }
        _ => {
            while !stop.load(SeqCst) && stream.peek(&mut [0]).is_ok_and(|len| len > 0) {}
            Ok(())
        }
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    for (path, fault) in [
        ("/head", Fault::Timeout(Stage::Head)),
        ("/silence", Fault::Timeout(Stage::Head)),
        ("/body", Fault::TooSlow),
    ] {
        assert_eq!(getter.failure(&server.url(path)), DownloadFailure::Http(fault), "{path}");
    }
}

#[test]
fn what_cannot_be_reached_says_why() {
    let closed = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap();
    let getter = Getter::start(Roots::Pem(Vec::new()));
    assert_eq!(getter.failure(&format!("http://{closed}/")), DownloadFailure::Connect(Reason::Refused));
    assert_eq!(getter.failure("ftp://127.0.0.1/"), DownloadFailure::BadUrl);
    assert_eq!(getter.failure("http://a..b/"), DownloadFailure::Name(dht_hunter::dns::Failure::BadName));
    let nobody = getter.failure("http://name.test/");
    assert_eq!(nobody, DownloadFailure::Name(dht_hunter::dns::Failure::NoForwarder));
}

#[test]
fn a_name_with_a_dead_address_is_reached_by_the_other() {
    // `localhost` is ::1 and 127.0.0.1; only one of them has somebody.
    let server = Server::saying(|_| with_head("Content-Length: 2\r\n", b"ok"));
    let getter = Getter::start(Roots::Pem(Vec::new()));
    assert_eq!(text(getter.get(&format!("http://localhost:{}/", server.addr.port()))), "ok");
}

#[test]
fn two_at_once_the_others_wait_and_too_many_are_refused() {
    let open = Arc::new(AtomicUsize::new(0));
    let (count, most) = (Arc::clone(&open), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let server = Server::start(move |_, stream, _| {
        peak.fetch_max(count.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        count.fetch_sub(1, SeqCst);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    for _ in 0..80 {
        getter.wish(DownloadWish { url: server.url("/"), known: Validators::default(), limits: HASTY });
    }
    let all: Vec<Downloaded> =
        (0..80).map(|_| getter.answers.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
    let refused = all.iter().filter(|one| **one == Downloaded::Failed(DownloadFailure::Overloaded)).count();
    let good = all.iter().filter(|one| matches!(one, Downloaded::Content { .. })).count();
    assert!(good >= 64 && good + refused == 80, "{good} good, {refused} refused");
    assert!(most.load(SeqCst) <= 2, "{} at once", most.load(SeqCst));
}

#[test]
fn what_is_under_way_ends_with_the_engine() {
    let server = Server::start(|_, stream, stop| {
        while !stop.load(SeqCst) && stream.peek(&mut [0]).is_ok_and(|len| len > 0) {}
        Ok(())
    });
    let getter = Getter::start(Roots::Pem(Vec::new()));
    for _ in 0..4 {
        getter.wish(DownloadWish {
            url: server.url("/"),
            known: Validators::default(),
            limits: Limits::DEFAULT,
        });
    }
    let began = Instant::now();
    while server.requests.lock().unwrap().len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    getter.handle.send(Command::Stop).unwrap();
    for _ in 0..4 {
        let ended = getter.answers.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(ended, Downloaded::Failed(DownloadFailure::Stopped));
    }
}

/// nginx on two ports of loopback, one of them with TLS.
struct Nginx {
    child: Child,
    plain: u16,
    tls: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap().port()
}

/// Somebody else may take its ports before it does: then it is started on others.
fn nginx(folder: &Path) -> Option<Nginx> {
    for _ in 0..5 {
        let (plain, tls) = (free_port(), free_port());
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp: String = temp.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
        let config = format!(
            "daemon off; master_process off; pid pid; error_log stderr;\nevents {{}}\nhttp {{\n{temp}access_log off;\n\
             types {{ text/plain txt; }}\ngzip on; gzip_types text/plain; gzip_min_length 10; gzip_http_version 1.1;\n\
             server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate cert.pem;\n\
             ssl_certificate_key key.pem; root {};\n\
             location /moved {{ return 301 /list.txt; }}\n\
             location /down {{ return 302 http://127.0.0.1:{plain}/list.txt; }}\n\
             location /up {{ return 307 https://127.0.0.1:{tls}/list.txt; }} }}\n}}\n",
            folder.display()
        );
        fs::write(folder.join("conf"), config).unwrap();
        let mut command = Program::new("nginx");
        command.arg("-p").arg(folder).args(["-c", "conf", "-e", "stderr"]);
        let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            assert!(std::env::var_os("DHT_HUNTER_REQUIRE_PEERS").is_none(), "nginx is not installed");
            skipped("lists from nginx", "it is not installed");
            return None;
        };
        let mut running = Nginx { child, plain, tls };
        for _ in 0..200 {
            if running.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            if TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], tls))).is_ok() {
                return Some(running);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
    panic!("nginx does not start");
}

/// The certificate of an authority of this name, and one for 127.0.0.1 in the folder.
fn certify(folder: &Path, authority: &str) -> Vec<u8> {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, authority);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    authority.pem().into_bytes()
}

#[test]
fn nginx_serves_lists_packed_over_both_and_says_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let roots = certify(folder.path(), "good");
    let list: String = (0..20_000).map(|number| format!("0.0.0.0 n{number}.test\n")).collect();
    fs::write(folder.path().join("list.txt"), &list).unwrap();
    let Some(nginx) = nginx(folder.path()) else { return };
    let getter = Getter::start(Roots::Pem(roots));
    let plain = format!("http://127.0.0.1:{}", nginx.plain);
    let tls = format!("https://127.0.0.1:{}", nginx.tls);
    let secure = cfg!(feature = "tls");
    for base in [Some(&plain), Some(&tls).filter(|_| secure)].into_iter().flatten() {
        let (packed, validators, _) = body(getter.get(&format!("{base}/list.txt")));
        assert!(packed.len() < list.len() / 2, "it came packed: {} bytes", packed.len());
        assert_eq!(packed.decode(list.len()).unwrap(), list.as_bytes());
        assert!(validators.etag.is_some() && validators.last_modified.is_some());
        let again = getter.known(&format!("{base}/list.txt"), validators, HASTY);
        assert_eq!(again, Downloaded::NotModified);
        assert_eq!(text(getter.get(&format!("{base}/moved"))), list);
        assert_eq!(getter.failure(&format!("{base}/none")), DownloadFailure::Status(404));
    }
    if !secure {
        return;
    }
    assert_eq!(text(getter.get(&format!("{plain}/up"))), list);
    assert_eq!(getter.failure(&format!("{tls}/down")), DownloadFailure::Downgrade);
    let by_name = getter.failure(&format!("https://localhost:{}/list.txt", nginx.tls));
    assert_eq!(by_name, DownloadFailure::Tls(dht_hunter::model::TlsCause::WrongName));
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Getter::start(Roots::Pem(certify(elsewhere.path(), "stranger")));
    let unknown = stranger.failure(&format!("{tls}/list.txt"));
    assert_eq!(unknown, DownloadFailure::Tls(dht_hunter::model::TlsCause::UnknownIssuer));
}
