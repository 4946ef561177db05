//! What a TLS connection is asked to be, what it came to be, and why it did not.

/// What is wanted of a link that is to speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsWish {
    /// Whom the certificate must name: a DNS name, sent as the server name (RFC 6066, section 3),
    /// or an IP address, which is not sent.
    pub server: String,
    /// Protocols to offer, the best first (RFC 7301); none: the extension is left out.
    pub alpn: Vec<Vec<u8>>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The key exchange group by its IANA name, where one was used (X25519MLKEM768, say).
    pub group: Option<&'static str>,
    /// The protocol that the server chose (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// An earlier session went on.
    pub resumed: bool,
    /// The server asked for another key share (HelloRetryRequest, RFC 8446, section 4.1.4).
    pub retried: bool,
    /// The server's own certificate. In a resumed session that of the first one.
    pub certificate: Option<Certificate>,
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// A server's own certificate, as far as people want to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Valid up to this second, since 1970-01-01 UTC.
    pub not_after: i64,
    /// Valid from this second on, since 1970-01-01 UTC.
    pub not_before: i64,
    /// Whose it is (RFC 4514), at most [`TEXT_MAX`] bytes.
    pub subject: String,
    /// Who signed it (RFC 4514), at most [`TEXT_MAX`] bytes.
    pub issuer: String,
    /// DNS names and IP addresses that it is for, at most [`NAMES_MAX`] of at most [`TEXT_MAX`]
    /// bytes each.
    pub names: Vec<String>,
    /// SHA-256 of its DER bytes.
    pub sha256: [u8; 32],
}

/// Why a link is not secure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// The cause.
    pub cause: TlsCause,
    /// The server's own certificate, if it was refused and could be read.
    pub certificate: Option<Certificate>,
}

/// What went wrong with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsCause {
    /// The certificate was valid once.
    Expired,
    /// The certificate will be valid later.
    NotYetValid,
    /// The certificate names others.
    WrongName,
    /// Nobody that we trust has signed it.
    UnknownIssuer,
    /// It is signed by itself.
    SelfSigned,
    /// It cannot be read, is signed wrongly, or is not for servers.
    BadCertificate,
    /// It was taken back.
    Revoked,
    /// The other end speaks no version, cipher suite or key exchange of ours.
    NoCommonVersionOrCipher,
    /// The other end speaks none of the protocols that were offered.
    NoCommonAlpn,
    /// The other end said why it gives up, by an alert of this number (RFC 8446, section 6).
    Alert(u8),
    /// What came was no TLS, or broke its rules.
    Protocol,
    /// The stream ended during the handshake.
    Ended,
    /// This program was built without TLS.
    NotBuilt,
    /// [`TlsWish::server`] is neither a DNS name nor an IP address.
    BadServerName,
}

/// As many names as people read; the longest certificates have some hundred.
pub const NAMES_MAX: usize = 32;
/// The longest DNS name (RFC 1035, section 2.3.4).
pub const TEXT_MAX: usize = 255;
