//! DNS over TLS (RFC 7858) to unbound.

use std::fs;
use std::net::SocketAddr;

use dht_hunter::dns::{Failure, ForwarderConfig, Strategy};
use dht_hunter::model::dns::Source;
use dht_hunter::reactor::Roots;
use dht_hunter::wire::dns::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::records;
use crate::servers::{self, Foreign};
use crate::session::{Session, brief, records as records_of};

/// An authority's certificate, and a certificate and key for `dns.test`, in PEM.
struct Certified {
    authority: String,
    certificate: String,
    key: String,
}

fn certified() -> Certified {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["dns.test".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &authority).unwrap();
    Certified { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

/// unbound that speaks TLS on a port of its own, over NSD; where TLS is.
fn unbound_with_tls(certified: &Certified) -> Option<(Foreign, Foreign, SocketAddr)> {
    let zones = records::zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let nsd = servers::nsd(&zones)?;
    let secret = tempfile::tempdir().unwrap();
    let (key, pem) = (secret.path().join("key"), secret.path().join("pem"));
    fs::write(&key, &certified.key).unwrap();
    fs::write(&pem, &certified.certificate).unwrap();
    let tls = servers::free_pair().1.local_addr().unwrap();
    let more = format!(
        "  interface: 127.0.0.1@{port}\n  tls-port: {port}\n  tls-service-key: \"{}\"\n  tls-service-pem: \"{}\"\n",
        key.display(),
        pem.display(),
        port = tls.port()
    );
    let unbound = servers::unbound(&["test", "other"], nsd.addr, &more)?;
    Some((nsd, unbound, tls))
}

fn over_tls(addr: SocketAddr, name: &str) -> ForwarderConfig {
    ForwarderConfig { tls: Some(name.into()), name: "secret".into(), ..ForwarderConfig::plain(addr) }
}

#[test]
fn unbound_answers_over_tls_and_only_under_its_name() {
    let certified = certified();
    let Some((nsd, unbound, tls)) = unbound_with_tls(&certified) else { return };
    let roots = Roots::Pem(certified.authority.clone().into_bytes());
    let good = vec![over_tls(tls, "dns.test")];
    let mut session = Session::trusting(roots.clone(), good.clone(), Strategy::Strict);
    let came = session.ask("a.test", Kind::A);
    assert_eq!(brief(&came), "NOERROR 192.0.2.1");
    assert_eq!(came.result.as_ref().unwrap().source, Source::Forwarder("secret".into()));
    assert_eq!(records_of(&session.ask("huge.test", Kind::A)).len(), 100);
    assert_eq!(records_of(&session.ask("all.test", Kind::HTTPS)).len(), 2);
    // Many at once share a connection or two.
    let numbers: Vec<_> = (0..200).map(|at| session.send(&format!("n{at}.load.test"), Kind::A)).collect();
    let mut answered = 0;
    while answered < numbers.len() {
        match session.told(std::time::Duration::from_secs(20)).expect("every question ends") {
            crate::session::Told::Resolved(_, resolved) => {
                assert_eq!(brief(&resolved), "NOERROR 192.0.2.5");
                answered += 1;
            }
            crate::session::Told::Forwarder(name, up) => panic!("{name} {up}"),
        }
    }
    // Another name, another authority: refused, and never asked in the clear.
    let wrong_name = vec![over_tls(tls, "other.test")];
    let mut session = Session::trusting(roots.clone(), wrong_name.clone(), Strategy::Strict);
    let came = session.ask("a.test", Kind::A);
    assert!(matches!(came.result, Err(Failure::Unreachable)), "{}", brief(&came));
    let stranger = Roots::Pem(self::certified().authority.into_bytes());
    let mut session = Session::trusting(stranger, good, Strategy::Strict);
    let came = session.ask("a.test", Kind::A);
    assert!(matches!(came.result, Err(Failure::Unreachable)), "{}", brief(&came));
    // Beside another forwarder that one answers.
    let other = ForwarderConfig { name: "other".into(), ..ForwarderConfig::plain(nsd.addr) };
    let both = [wrong_name, vec![other]].concat();
    let mut session = Session::trusting(roots, both, Strategy::Strict);
    for name in ["a.test", "all.test", "mail.test", "ns.test", "q.wild.test"] {
        let came = session.ask(name, Kind::A);
        let given = came.result.as_ref().unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(given.source, Source::Forwarder("other".into()), "{name}");
    }
    drop(unbound);
}

/// The same from the command line, which trusts what `SSL_CERT_FILE` names.
#[test]
fn resolve_asks_over_tls() {
    let certified = certified();
    let Some((_nsd, _unbound, tls)) = unbound_with_tls(&certified) else { return };
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots");
    fs::write(&roots, &certified.authority).unwrap();
    for (name, code, words) in
        [("dns.test", 0, "192.0.2.1"), ("other.test", 3, "no DNS server can be reached")]
    {
        let mut command = crate::support::program();
        command.env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR");
        command.args(["resolve", "a.test.", "--type", "A", &format!("@tls://{tls}#{name}")]);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
