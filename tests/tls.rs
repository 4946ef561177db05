//! TLS against a program that nobody here wrote: `openssl s_server`, on loopback.
#![cfg(all(unix, feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "tls/script.rs"]
mod script;
#[path = "tls/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use dht_hunter::engine::io::Reason;
use dht_hunter::model::{TlsCause, TlsVersion};

use script::{Plan, Rig, Seen, cause, facts, failure};
use server::Authority;

/// An authority and a good certificate.
fn authority() -> Authority {
    let authority = Authority::new("test-authority");
    authority.sign("good", "DNS:localhost,IP:127.0.0.1", PAST, FUTURE);
    authority
}

fn talk(to: SocketAddr, tickets: usize) -> Plan {
    let say = Bytes::from_static(b"hello\n");
    Plan { say, enough: 6, tickets, ..Plan::greet(to, "localhost") }
}

#[test]
fn it_talks_tls_1_3_gets_its_tickets_and_resumes() {
    let authority = authority();
    let server = authority.serve("good", "-rev -tls1_3 -num_tickets 2");
    let mut rig = Rig::new(authority.pem());
    let seen = rig.one(talk(server.addr, 2));
    let first = facts(&seen);
    assert_eq!((first.version, first.alpn.as_ref()), (TlsVersion::V13, None));
    assert!(first.cipher.starts_with("TLS_AES_"), "{}", first.cipher);
    assert_eq!((first.group, first.resumed, first.retried), (Some("x25519"), false, false));
    let certificate = first.certificate.clone().unwrap();
    assert_eq!((certificate.subject.as_str(), certificate.issuer.as_str()), ("CN=good", "CN=test-authority"));
    assert_eq!(certificate.names, ["localhost", "127.0.0.1"]);
    assert_eq!((certificate.not_before, certificate.not_after), (1_577_836_800, 2_208_988_800));
    assert!(seen.contains(&Seen::Received(b"olleh\n".to_vec())));
    let again = rig.one(talk(server.addr, 1));
    assert!(facts(&again).resumed && facts(&again).certificate == first.certificate);
    // By its address it is another server, whose tickets are others.
    let seen = rig.one(Plan::greet(server.addr, "127.0.0.1"));
    assert!(!facts(&seen).resumed);
}

#[test]
fn it_talks_tls_1_2_and_resumes() {
    let authority = authority();
    let server = authority.serve("good", "-rev -tls1_2");
    let mut rig = Rig::new(authority.pem());
    let seen = rig.one(talk(server.addr, 1));
    let first = facts(&seen);
    assert_eq!((first.version, first.resumed), (TlsVersion::V12, false));
    assert!(first.cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"), "{}", first.cipher);
    assert_eq!(seen[2], Seen::Ticket);
    assert!(facts(&rig.one(talk(server.addr, 0))).resumed);
    let none = authority.serve("good", "-rev -tls1_2 -no_ticket -no_cache");
    let seen = rig.one(Plan { server: "127.0.0.1", ..talk(none.addr, 0) });
    assert!(!seen.contains(&Seen::Ticket), "{seen:?}");
}

#[test]
fn a_protocol_is_agreed_on_or_not() {
    let authority = authority();
    let server = authority.serve("good", "-rev -alpn h2,http/1.1");
    let mut rig = Rig::new(authority.pem());
    for (offered, chosen) in
        [(&["http/1.1", "h2"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let seen = rig.one(Plan { alpn: offered, ..Plan::greet(server.addr, "localhost") });
        assert_eq!(facts(&seen).alpn.as_deref(), chosen.map(str::as_bytes));
    }
    let seen = rig.one(Plan { alpn: &["dot"], ..Plan::greet(server.addr, "localhost") });
    assert_eq!(cause(&seen), TlsCause::NoCommonAlpn);
    let without = authority.serve("good", "-rev");
    let seen = rig.one(Plan { alpn: &["dot"], ..Plan::greet(without.addr, "localhost") });
    assert_eq!(facts(&seen).alpn, None);
}

/// Whatever is offered, one list's session is resumed with another list.
#[test]
fn sessions_are_shared_by_all_lists_of_protocols() {
    let authority = authority();
    let server = authority.serve("good", "-rev -tls1_3");
    let mut rig = Rig::new(authority.pem());
    rig.one(talk(server.addr, 1));
    let seen = rig.one(Plan { alpn: &["h2"], ..talk(server.addr, 0) });
    assert!(facts(&seen).resumed);
}

#[test]
fn a_certificate_that_is_refused_is_told_of() {
    let authority = authority();
    authority.sign("old", "DNS:localhost", "200101000000Z", "210101000000Z");
    authority.sign("young", "DNS:localhost", "400101000000Z", "410101000000Z");
    authority.sign("other", "DNS:example.org,DNS:*.example.net", PAST, FUTURE);
    authority.self_sign("own", "DNS:localhost");
    let mut rig = Rig::new(authority.pem());
    for (file, expected) in [
        ("old", TlsCause::Expired),
        ("young", TlsCause::NotYetValid),
        ("other", TlsCause::WrongName),
        ("own", TlsCause::SelfSigned),
        ("ca", TlsCause::SelfSigned),
    ] {
        let server = authority.serve(file, "-rev");
        let seen = rig.one(Plan::greet(server.addr, "localhost"));
        assert_eq!(cause(&seen), expected, "{file}");
        let certificate = failure(&seen).certificate.clone().unwrap();
        let subject = if file == "ca" { "CN=test-authority".to_owned() } else { format!("CN={file}") };
        assert_eq!(certificate.subject, subject);
        if file == "other" {
            assert_eq!(certificate.names, ["example.org", "*.example.net"]);
        }
    }
    let server = authority.serve("good", "-rev");
    let mut stranger = Rig::new(Authority::new("other-authority").pem());
    let seen = stranger.one(Plan::greet(server.addr, "localhost"));
    assert_eq!(cause(&seen), TlsCause::UnknownIssuer);
    assert_eq!(failure(&seen).certificate.as_ref().unwrap().subject, "CN=good");
    // Nobody at all is trusted.
    let seen = Rig::new(Vec::new()).one(Plan::greet(server.addr, "localhost"));
    assert_eq!(cause(&seen), TlsCause::UnknownIssuer);
    for name in ["", "no name", "a..b"] {
        let seen = rig.one(Plan::greet(server.addr, name));
        assert_eq!(cause(&seen), TlsCause::BadServerName, "{name:?}");
    }
}

#[test]
fn what_is_not_agreed_on_says_so() {
    let authority = authority();
    let mut rig = Rig::new(authority.pem());
    for more in
        ["-tls1_2 -cipher AES128-SHA", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-groups brainpoolP256r1 -tls1_3"]
    {
        let server = authority.serve("good", &format!("-rev {more}"));
        let seen = rig.one(Plan::greet(server.addr, "localhost"));
        assert_eq!(cause(&seen), TlsCause::NoCommonVersionOrCipher, "{more}");
    }
    let server = authority.serve("good", "-rev -groups P-384 -tls1_3");
    let seen = rig.one(Plan::greet(server.addr, "localhost"));
    assert_eq!((facts(&seen).retried, facts(&seen).group), (true, Some("secp384r1")));
    // It wants a certificate of ours, and says so only after the handshake (RFC 8446, 4.4.2.4).
    let server = authority.serve("good", "-rev -tls1_3 -Verify 1");
    let seen = rig.one(Plan { enough: 1, ..Plan::greet(server.addr, "localhost") });
    match &seen[..] {
        [Seen::Opened, Seen::Secured(_), Seen::Insecure(failure)] => {
            assert_eq!(failure.cause, TlsCause::Alert(116));
        }
        other => panic!("{other:?}"),
    }
}

/// A server that does something else than TLS.
fn odd(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
    addr
}

#[test]
fn what_is_no_tls_ends_with_its_cause() {
    let mut rig = Rig::new(authority().pem());
    let hello = |stream: &mut std::net::TcpStream| stream.read(&mut [0; 4_096]).unwrap();
    let to = odd(move |mut stream| {
        hello(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0; 4_096]);
    });
    assert_eq!(cause(&rig.one(Plan::greet(to, "localhost"))), TlsCause::Protocol);
    let to = odd(move |mut stream| {
        hello(&mut stream);
    });
    assert_eq!(cause(&rig.one(Plan::greet(to, "localhost"))), TlsCause::Ended);
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(rig.one(Plan::greet(refused, "localhost")), [Seen::Closed(Reason::Refused)]);
}

#[test]
fn who_accepts_and_never_answers_costs_nothing() {
    let mut rig = Rig::new(authority().pem());
    let to = odd(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let before = rig.gauges().turns;
    let course = rig.follow(&[Plan::greet(to, "localhost")], Duration::from_millis(500)).remove(0);
    assert_eq!(course.seen, [Seen::Opened]);
    assert!(rig.gauges().turns - before < 30, "{} turns", rig.gauges().turns - before);
}

/// More than any buffer holds, both ways and at every pace.
#[test]
fn much_comes_through_whole_and_in_order() {
    let authority = authority();
    let file: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 7 / 5) as u8).collect();
    std::fs::write(authority.path().join("file.bin"), &file).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = authority.serve("good", &format!("-WWW {version}"));
        for slow in [None, Some(10_000)] {
            let mut rig = Rig::new(authority.pem());
            rig.reactor.engine().slow = slow;
            let say = Bytes::from_static(b"GET /file.bin HTTP/1.0\r\n\r\n");
            let plan = Plan { say, enough: usize::MAX, ..Plan::greet(server.addr, "localhost") };
            let seen = rig.one(plan);
            let Some(Seen::Received(got)) = seen.iter().find(|it| matches!(it, Seen::Received(_))) else {
                panic!("{:?}", &seen[..2]);
            };
            assert!(got.ends_with(&file), "{version} {slow:?}: {} bytes", got.len());
            assert_eq!(seen.last(), Some(&Seen::Eof), "{version} {slow:?}");
        }
        let server = authority.serve("good", &format!("-rev {version}"));
        let mut rig = Rig::new(authority.pem());
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let say = Bytes::from(line.repeat(2_000));
        let plan = Plan { enough: say.len(), say, ..Plan::greet(server.addr, "localhost") };
        let seen = rig.one(plan);
        let got: Vec<u8> = seen
            .iter()
            .flat_map(|it| if let Seen::Received(it) = it { &it[..] } else { &[] })
            .copied()
            .collect();
        assert!(got == line.repeat(2_000), "{version}: {} bytes", got.len());
    }
}

/// What a parked connection holds: the session, its buffers and the chain it was shown.
#[test]
fn an_idle_link_holds_little() {
    let authority = authority();
    let to = many(&authority);
    let mut rig = Rig::new(authority.pem());
    rig.one(Plan { tickets: 2, ..Plan::greet(to, "localhost") });
    rig.reactor.engine().keeps = true;
    let plans = vec![Plan { tickets: 2, ..Plan::greet(to, "localhost") }; IDLE];
    let held = allocation_counter::measure(|| {
        let courses = rig.follow(&plans, Duration::from_secs(60));
        assert!(courses.iter().all(|course| course.seen.len() == 4), "{:?}", courses[0].seen);
    });
    let each = held.bytes_current / IDLE as i64;
    assert!(each < IDLE_BYTES_MAX, "{each} bytes a link");
}

/// Many connections at once, which `s_server` does not serve: rustls from the other side.
fn many(authority: &Authority) -> SocketAddr {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::from_pem_file(authority.path().join("good.pem")).unwrap();
    let key = std::fs::read(authority.path().join("good.key")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
            while server.is_handshaking() || server.wants_write() {
                if server.complete_io(&mut stream).is_err() {
                    break;
                }
            }
            all.push((stream, server));
        }
    });
    addr
}

const PAST: &str = "200101000000Z";
const FUTURE: &str = "20400101000000Z";
const IDLE: usize = 50;
/// 7,300 were measured, more than half of which is rustls's read buffer; what aws-lc has for the
/// keys is not counted.
const IDLE_BYTES_MAX: i64 = 9_000;
