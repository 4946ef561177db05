//! What all sessions share: whom to trust, what to offer, which sessions may go on, the time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue, WebPkiServerVerifier,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as PkiTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    NamedGroup, PeerMisbehaved, RootCertStore, SignatureScheme,
};

use super::{Session, certificate};
use crate::base::UnixTime;
use crate::model::{TlsCause, TlsFailure, TlsWish};
use crate::reactor::config::Roots;

/// What all sessions share.
pub(in crate::reactor) struct Tls {
    roots: Roots,
    clock: Arc<DriverClock>,
    /// Made when it is first needed: to read 145 roots takes 3 ms, and ten times that or more when
    /// their file is not in memory.
    made: Option<Made>,
}

struct Made {
    base: ClientConfig,
    /// One for each list of protocols that was offered lately, the latest last.
    by_alpn: Vec<Arc<ClientConfig>>,
    verifier: Arc<Verifier>,
    sessions: Arc<Sessions>,
}

impl Tls {
    pub(in crate::reactor) fn new(roots: Roots) -> Self {
        Self { roots, clock: Arc::default(), made: None }
    }

    /// What time it is, for certificates and tickets.
    pub(in crate::reactor) fn set_clock(&self, now: UnixTime) {
        self.clock.0.store(now.0, Relaxed);
    }

    /// Reads the roots, if that was not done yet.
    pub(in crate::reactor) fn prepare(&mut self) {
        if self.made.is_none() {
            self.made = Made::new(&self.roots, &self.clock);
        }
    }

    /// A session that is to begin with its handshake.
    pub(in crate::reactor) fn open(&mut self, wish: &TlsWish) -> Result<Session, TlsCause> {
        let server = ServerName::try_from(wish.server.clone()).map_err(|_| TlsCause::BadServerName)?;
        if wish.alpn.len() > ALPN_MAX || wish.alpn.iter().any(|it| it.is_empty() || it.len() > 255) {
            return Err(TlsCause::NoCommonAlpn);
        }
        self.prepare();
        let made = self.made.as_mut().ok_or(TlsCause::UnknownIssuer)?;
        let connection = ClientConnection::new(made.offering(&wish.alpn), server);
        connection.map(Session::new).map_err(|_| TlsCause::Protocol)
    }

    /// How many TLS 1.2 sessions were given out to be resumed, so far.
    pub(super) fn sessions_kept(&self) -> u64 {
        self.made.as_ref().map_or(0, |made| made.sessions.given_out.load(Relaxed))
    }

    /// What an error means. Right after it was made: it is about the certificate seen last.
    pub(super) fn explain(&self, error: &Error, secured: bool) -> TlsFailure {
        let refused = match error {
            Error::InvalidCertificate(_) => self.made.as_ref().and_then(|made| made.verifier.take_refused()),
            _ => None,
        };
        let self_signed = || refused.as_deref().is_some_and(certificate::is_self_signed);
        let cause = match error {
            Error::InvalidCertificate(error) => certificate_cause(error, self_signed),
            Error::AlertReceived(alert) => alert_cause(*alert, secured),
            Error::PeerIncompatible(_) => TlsCause::NoCommonVersionOrCipher,
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                TlsCause::NoCommonAlpn
            }
            Error::NoCertificatesPresented => TlsCause::BadCertificate,
            _ => TlsCause::Protocol,
        };
        TlsFailure { cause, certificate: refused.as_deref().and_then(certificate::describe) }
    }
}

impl Made {
    fn new(roots: &Roots, clock: &Arc<DriverClock>) -> Option<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(store_of(roots));
        let verifier = match WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()
        {
            Ok(inner) => Arc::new(Verifier { inner, refused: Mutex::default() }),
            Err(error) => {
                log::error!("no certificate can be verified: {error}");
                return None;
            }
        };
        let sessions = Arc::new(Sessions {
            kept: ClientSessionMemoryCache::new(SESSIONS_MAX),
            given_out: AtomicU64::new(0),
        });
        let clock: Arc<dyn TimeProvider> = Arc::<DriverClock>::clone(clock);
        let builder = ClientConfig::builder_with_details(provider, clock);
        let mut base = builder
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier))
            .with_no_client_auth();
        base.resumption = Resumption::store(Arc::<Sessions>::clone(&sessions));
        Some(Self { base, by_alpn: Vec::new(), verifier, sessions })
    }

    /// What offers these protocols. Copies share everything else, so that one resumes what another
    /// began.
    fn offering(&mut self, alpn: &[Vec<u8>]) -> Arc<ClientConfig> {
        if let Some(at) = self.by_alpn.iter().position(|config| config.alpn_protocols == alpn) {
            return Arc::clone(&self.by_alpn[at]);
        }
        let mut config = self.base.clone();
        config.alpn_protocols = alpn.to_vec();
        let config = Arc::new(config);
        if self.by_alpn.len() >= CONFIGS_MAX {
            self.by_alpn.remove(0);
        }
        self.by_alpn.push(Arc::clone(&config));
        config
    }
}

fn store_of(roots: &Roots) -> RootCertStore {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Pem(pem) => {
            store.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        }
        Roots::System => {
            let native = rustls_native_certs::load_native_certs();
            let (good, bad) = store.add_parsable_certificates(native.certs);
            log::debug!("{good} roots of this system, {bad} not understood, {} errors", native.errors.len());
            if good == 0 {
                log::info!("this system has no root certificates: Mozilla's are used");
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    store
}

fn certificate_cause(error: &CertificateError, self_signed: impl Fn() -> bool) -> TlsCause {
    use CertificateError as It;
    match error {
        It::Expired | It::ExpiredContext { .. } => TlsCause::Expired,
        It::NotValidYet | It::NotValidYetContext { .. } => TlsCause::NotYetValid,
        It::NotValidForName | It::NotValidForNameContext { .. } => TlsCause::WrongName,
        It::Revoked => TlsCause::Revoked,
        // A certificate that signs others is refused as a server's before its issuer is looked for.
        It::UnknownIssuer | It::Other(_) if self_signed() => TlsCause::SelfSigned,
        It::UnknownIssuer => TlsCause::UnknownIssuer,
        _ => TlsCause::BadCertificate,
    }
}

fn alert_cause(alert: AlertDescription, secured: bool) -> TlsCause {
    use AlertDescription as Alert;
    match alert {
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity if !secured => {
            TlsCause::NoCommonVersionOrCipher
        }
        Alert::NoApplicationProtocol => TlsCause::NoCommonAlpn,
        other => TlsCause::Alert(other.into()),
    }
}

/// The driver's wall clock as rustls asks for it, in seconds since 1970.
#[derive(Debug, Default)]
struct DriverClock(AtomicU64);

impl TimeProvider for DriverClock {
    fn current_time(&self) -> Option<PkiTime> {
        Some(PkiTime::since_unix_epoch(Duration::from_secs(self.0.load(Relaxed))))
    }
}

/// Sessions that may be resumed, and how many of TLS 1.2 there were: rustls tells only of 1.3's.
#[derive(Debug)]
struct Sessions {
    kept: ClientSessionMemoryCache,
    given_out: AtomicU64,
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.given_out.fetch_add(1, Relaxed);
        self.kept.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.kept.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.take_tls13_ticket(server)
    }
}

/// webpki's verifier, which keeps the certificate that it refused last: rustls forgets it.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    refused: Mutex<Option<Vec<u8>>>,
}

impl Verifier {
    fn take_refused(&self) -> Option<Vec<u8>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, leaf: &CertificateDer<'_>, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaf.to_vec());
        }
        result
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: PkiTime,
    ) -> Result<ServerCertVerified, Error> {
        self.note(leaf, self.inner.verify_server_cert(leaf, chain, server, ocsp, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(leaf, self.inner.verify_tls12_signature(message, leaf, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(leaf, self.inner.verify_tls13_signature(message, leaf, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Lists of protocols in use: "h2, http/1.1", "http/1.1", "dot", none; and what a user wishes.
const CONFIGS_MAX: usize = 16;
/// More than there are protocols that one server could speak.
const ALPN_MAX: usize = 16;
/// Servers whose sessions are kept: twice a long list of warm targets, at up to eight tickets of
/// about 2 KB each.
const SESSIONS_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_protocols_are_kept_up_to_a_bound_and_their_configurations_shared() {
        let mut made = Made::new(&Roots::System, &Arc::default()).unwrap();
        let h2 = made.offering(&[b"h2".to_vec()]);
        assert!(Arc::ptr_eq(&h2, &made.offering(&[b"h2".to_vec()])));
        assert!(!Arc::ptr_eq(&h2, &made.offering(&[])));
        for number in 0..100 {
            made.offering(&[vec![number]]);
        }
        assert_eq!(made.by_alpn.len(), CONFIGS_MAX);
        assert!(!Arc::ptr_eq(&h2, &made.offering(&[b"h2".to_vec()])));
    }

    #[test]
    fn a_wish_that_cannot_be_said_is_refused() {
        let mut tls = Tls::new(Roots::System);
        let mut cause =
            |server: &str, alpn: Vec<Vec<u8>>| tls.open(&TlsWish { server: server.to_owned(), alpn }).err();
        assert_eq!(cause("a..b", Vec::new()), Some(TlsCause::BadServerName));
        for alpn in [vec![Vec::new()], vec![vec![0; 256]], vec![b"x".to_vec(); ALPN_MAX + 1]] {
            assert_eq!(cause("a.test", alpn), Some(TlsCause::NoCommonAlpn));
        }
        assert_eq!(cause("a.test", vec![vec![0; 255]]), None);
        assert_eq!(cause("2001:db8::1", Vec::new()), None);
    }
}
