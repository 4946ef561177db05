//! Streams under TLS, over a network that is made up, with rustls from the other side.

use super::*;

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{AlertDescription, Error, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use crate::model::{TlsVersion, TlsWish};

/// An authority, and what it signed for a.test.
struct World {
    roots: Roots,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// The server on the other end of a made-up stream.
struct Server {
    tls: ServerConnection,
    /// So much of what was written to the stream was read.
    read: usize,
    heard: Vec<u8>,
    to_say: Vec<u8>,
    fault: Option<Error>,
}

impl World {
    /// The certificate is valid in 2023 only; the clock of the network starts on 14 November.
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2023, 1, 1), date_time_ymd(2024, 1, 1));
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &authority).unwrap();
        Self {
            roots: Roots::Pem(authority.pem().into_bytes()),
            chain: vec![leaf.der().clone()],
            key: key.serialize_der().into(),
        }
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        let provider = rustls::crypto::aws_lc_rs::default_provider().into();
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let mut config = builder.with_single_cert(self.chain.clone(), key).unwrap();
        config.alpn_protocols = vec![b"dot".to_vec(), b"h2".to_vec()];
        Arc::new(config)
    }
}

impl Server {
    fn new(config: &Arc<ServerConfig>, to_say: Vec<u8>) -> Self {
        let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
        tls.set_buffer_limit(None);
        Self { tls, read: 0, heard: Vec::new(), to_say, fault: None }
    }

    /// Reads what was written to the stream; what it says to that is on its way.
    fn pump<const EDGES: bool>(&mut self, net: &mut FakeNet<EDGES>, id: LinkId) {
        let stream = net.stream(id);
        let written = &stream.written[self.read..];
        let mut rest = written;
        while !rest.is_empty() && self.fault.is_none() {
            self.tls.read_tls(&mut rest).unwrap();
            self.fault = self.tls.process_new_packets().err();
            let before = self.heard.len();
            self.heard.resize(before + 20_000, 0);
            let count = self.tls.reader().read(&mut self.heard[before..]).unwrap_or(0);
            self.heard.truncate(before + count);
        }
        self.read = stream.written.len();
        if !self.tls.is_handshaking() && !self.to_say.is_empty() {
            self.tls.writer().write_all(&std::mem::take(&mut self.to_say)).unwrap();
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut stream.coming).unwrap();
        }
    }
}

fn secure(index: u64, alpn: &[&str]) -> Output {
    let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tls = Some(Box::new(TlsWish { server: "a.test".to_owned(), alpn }));
    Output::Connect { link: link(index), from: None, to: peer(), tls }
}

fn received(seen: &[Seen], id: LinkId) -> Vec<u8> {
    let parts = seen.iter().filter_map(|seen| match seen {
        Seen::Received(from, data) if *from == id => Some(&data[..]),
        _ => None,
    });
    parts.collect::<Vec<_>>().concat()
}

/// Two streams whose bytes come and go in pieces, with delays, interrupts and spurious events, and
/// an engine that wants little at a time. What it is handed is never more than it allowed: the
/// script counts.
fn chaos<const EDGES: bool>(world: &World, seed: u64) {
    let mut reactor = fake_trusting::<EDGES>(world.roots.clone());
    let mut rng = Rng::seeded(seed);
    let version = [&version::TLS12, &version::TLS13][rng.index(2)];
    let config = world.config(version);
    let mut sent = vec![0; 100_000];
    rng.fill(&mut sent);
    reactor.engine.greeting = sent.chunks(1 + rng.index(30_000)).map(Bytes::copy_from_slice).collect();
    let mut coming = Vec::new();
    let mut servers = Vec::new();
    for index in 0..2 {
        let mut bytes = vec![0; 1 + rng.index(100_000)];
        rng.fill(&mut bytes);
        reactor.engine.outputs.push_back(secure(index, &["h2"]));
        servers.push(Server::new(&config, bytes.clone()));
        coming.push(bytes);
    }
    reactor.turn();
    for index in 0..2 {
        reactor.net.stream(link(index)).room = 0;
    }
    reactor.net.chaos = Some(rng.fork());
    turn_until(&mut reactor, |reactor| {
        reactor.engine.deaf = rng.percent(20);
        reactor.engine.allowance = Some(rng.index(40_000));
        let mut done = true;
        for (index, server) in (0..).zip(&mut servers) {
            let id = link(index);
            server.pump(&mut reactor.net, id);
            assert_eq!(server.fault, None, "seed {seed}");
            let all = server.heard.len() == sent.len();
            let stream = reactor.net.stream(id);
            if all && !stream.ended {
                // Half of them say that it is the end, which TLS wants.
                stream.ended = true;
                if seed.is_multiple_of(2) {
                    server.tls.send_close_notify();
                    server.tls.write_tls(&mut stream.coming).unwrap();
                }
            }
            done &= reactor.engine.seen.contains(&Seen::Eof(id));
        }
        done
    });
    for (index, server) in (0..).zip(&servers) {
        let id = link(index);
        assert!(server.heard == sent, "seed {seed}: what left is not what was queued");
        let got = received(&reactor.engine.seen, id);
        assert!(got == coming[index as usize], "seed {seed}: what was read is not what came");
        let seen = |what: &Seen| reactor.engine.seen.iter().position(|seen| seen == what);
        assert!(seen(&Seen::Opened(id)) < seen(&Seen::Secured(id)), "seed {seed}");
        let tickets = reactor.engine.seen.iter().filter(|seen| **seen == Seen::Ticket(id)).count();
        assert_eq!(tickets, if version == &version::TLS12 { 1 } else { 2 }, "seed {seed}");
    }
    assert_eq!(reactor.engine.facts[0].alpn.as_deref(), Some(&b"h2"[..]));
}

#[test]
fn bytes_under_tls_survive_whatever_the_system_does() {
    let world = World::new();
    for seed in 0..15 {
        chaos::<true>(&world, seed);
        chaos::<false>(&world, seed);
    }
}

/// A reactor with one link that is opening, and the server at its other end.
fn pair(world: &World) -> (Faked<true>, Server) {
    let mut reactor = fake_trusting::<true>(world.roots.clone());
    reactor.engine.outputs.push_back(secure(0, &[]));
    reactor.turn();
    reactor.net.tell(link(0), false);
    reactor.turn();
    let server = Server::new(&world.config(&version::TLS13), Vec::new());
    (reactor, server)
}

/// What the server said arrives.
fn arrives(reactor: &mut Faked<true>, server: &mut Server) {
    server.pump(&mut reactor.net, link(0));
    let stream = reactor.net.stream(link(0));
    stream.incoming.append(&mut stream.coming);
    reactor.net.tell(link(0), false);
    reactor.turn();
}

#[test]
fn the_facts_of_a_handshake_are_told() {
    let (mut reactor, mut server) = pair(&World::new());
    arrives(&mut reactor, &mut server);
    arrives(&mut reactor, &mut server);
    let told = [Seen::Opened(link(0)), Seen::Secured(link(0)), Seen::Ticket(link(0)), Seen::Ticket(link(0))];
    assert_eq!(reactor.engine.seen, told);
    let facts = &reactor.engine.facts[0];
    assert_eq!((facts.version, facts.group), (TlsVersion::V13, Some("X25519MLKEM768")));
    assert_eq!((facts.cipher, facts.resumed), ("TLS_AES_256_GCM_SHA384", false));
    assert_eq!(facts.certificate.as_ref().unwrap().names, ["a.test"]);
    // A close says so to the other end.
    reactor.engine.outputs.push_back(Output::Close(link(0)));
    reactor.turn();
    server.pump(&mut reactor.net, link(0));
    assert!(server.tls.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn the_drivers_clock_decides_what_is_expired() {
    for (later, cause) in [(0, None), (60 * 86_400, Some(TlsCause::Expired))] {
        let (mut reactor, mut server) = pair(&World::new());
        reactor.net.now += Duration::from_secs(later);
        reactor.busy = true;
        arrives(&mut reactor, &mut server);
        let expected = match cause {
            None => vec![Seen::Opened(link(0)), Seen::Secured(link(0))],
            Some(cause) => vec![Seen::Opened(link(0)), Seen::Insecure(link(0), cause)],
        };
        assert_eq!(reactor.engine.seen, expected);
        let Some(_) = cause else { continue };
        // The other end is told why, nothing else is said of the link, and it is closed once.
        server.pump(&mut reactor.net, link(0));
        assert_eq!(server.fault, Some(Error::AlertReceived(AlertDescription::CertificateExpired)));
        reactor.net.tell(link(0), true);
        reactor.turn();
        reactor.engine.outputs.extend([Output::Write(link(0)), Output::Close(link(0))]);
        reactor.turn();
        assert_eq!((reactor.engine.seen.len(), &reactor.net.closed[..]), (2, &[link(0)][..]));
    }
}

#[test]
fn a_stream_that_ends_or_breaks_in_the_handshake_says_which() {
    let world = World::new();
    let (mut reactor, _) = pair(&world);
    reactor.net.stream(link(0)).ended = true;
    reactor.net.tell(link(0), true);
    reactor.turn();
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0)), Seen::Insecure(link(0), TlsCause::Ended)]);

    let (mut reactor, _) = pair(&world);
    reactor.net.stream(link(0)).read_error = Some(io::ErrorKind::ConnectionReset.into());
    reactor.net.tell(link(0), true);
    reactor.turn();
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0)), Seen::Closed(link(0), Reason::Reset)]);

    let mut reactor = fake_trusting::<true>(world.roots.clone());
    reactor.engine.outputs.push_back(secure(0, &[]));
    reactor.turn();
    reactor.net.stream(link(0)).outcome = Some(io::ErrorKind::ConnectionRefused.into());
    reactor.net.tell(link(0), true);
    reactor.turn();
    assert_eq!(reactor.engine.seen, [Seen::Closed(link(0), Reason::Refused)]);
}

/// What the server says may not be read while the engine wants nothing; the handshake goes on.
#[test]
fn a_deaf_engine_has_its_handshake_and_nothing_more() {
    let (mut reactor, mut server) = pair(&World::new());
    reactor.engine.deaf = true;
    server.to_say = b"hello".to_vec();
    arrives(&mut reactor, &mut server);
    arrives(&mut reactor, &mut server);
    assert_eq!(reactor.engine.seen, [Seen::Opened(link(0)), Seen::Secured(link(0))]);
    reactor.turn();
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&SLEEP_MAX));
    reactor.engine.deaf = false;
    reactor.engine.allowance = Some(3);
    turn_until(&mut reactor, |reactor| reactor.engine.seen.len() > 3);
    turn_until(&mut reactor, |reactor| {
        reactor.engine.seen.last() == Some(&Seen::Received(link(0), b"hel".to_vec()))
    });
    reactor.turn();
    assert_eq!(reactor.net.slept.last(), Some(&RETRY_AFTER));
    reactor.engine.allowance = None;
    reactor.turn();
    assert_eq!(received(&reactor.engine.seen, link(0)), b"hello");
}
