//! TLS as a filter over bytes (rustls): what all sessions share, and one session.
//!
//! Sessions are driven by `turn/secure.rs`. Nothing here touches a socket or reads a clock.

mod certificate;
mod shared;

use std::io::{self, IoSlice, Read, Write};

use rustls::{ClientConnection, HandshakeKind, ProtocolVersion};

use crate::model::{TlsCause, TlsFacts, TlsFailure, TlsVersion};

pub(super) use shared::Tls;

/// One connection's TLS.
pub(super) struct Session {
    connection: ClientConnection,
    secured: bool,
    /// The stream has ended.
    ended: bool,
    /// The other end has said that it will send no more.
    closed: bool,
    /// Bytes that were deciphered and not taken.
    waiting: usize,
    /// Tickets that were told of.
    tickets: u32,
}

/// What a session came to.
pub(super) struct Progress {
    /// The handshake is done.
    pub(super) secured: Option<Box<TlsFacts>>,
    /// So many more tickets came.
    pub(super) tickets: u32,
}

impl Session {
    fn new(mut connection: ClientConnection) -> Self {
        connection.set_buffer_limit(Some(ENCIPHERED_MAX));
        Self { connection, secured: false, ended: false, closed: false, waiting: 0, tickets: 0 }
    }

    /// The handshake is done.
    pub(super) fn is_secured(&self) -> bool {
        self.secured
    }

    /// Nothing more will come in, once what waits is taken.
    pub(super) fn is_over(&self) -> bool {
        self.ended || self.closed
    }

    /// Reads once; [`Session::process`] is to follow. Not while something waits.
    pub(super) fn read(&mut self, from: &mut dyn Read) -> io::Result<usize> {
        let count = self.connection.read_tls(from)?;
        self.ended |= count == 0;
        Ok(count)
    }

    /// Looks at what was read. After a failure there may be an alert to be written.
    pub(super) fn process(&mut self, tls: &Tls) -> Result<Progress, Box<TlsFailure>> {
        let sessions_before = tls.sessions_kept();
        let state = match self.connection.process_new_packets() {
            Ok(state) => state,
            Err(error) => return Err(Box::new(tls.explain(&error, self.secured))),
        };
        self.waiting = state.plaintext_bytes_to_read();
        self.closed |= state.peer_has_closed();
        let mut progress = Progress { secured: None, tickets: 0 };
        if !self.secured && !self.connection.is_handshaking() {
            self.secured = true;
            progress.secured = Some(Box::new(self.facts()));
            // TLS 1.2 gives its session out within the handshake.
            progress.tickets += u32::from(tls.sessions_kept() > sessions_before);
        }
        if self.is_over() && !self.secured {
            return Err(Box::new(TlsFailure { cause: TlsCause::Ended, certificate: None }));
        }
        let tickets = self.connection.tls13_tickets_received();
        progress.tickets += tickets.saturating_sub(std::mem::replace(&mut self.tickets, tickets));
        Ok(progress)
    }

    /// Bytes that were deciphered and not taken, at most a few records (16 KiB each).
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes some of what waits.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        // What waits is there, so that it can neither block nor end.
        let count = self.connection.reader().read(into).unwrap_or(0);
        self.waiting = if count == 0 { 0 } else { self.waiting.saturating_sub(count) };
        count
    }

    /// Enciphers some of this, if nothing is still to be written.
    pub(super) fn put(&mut self, from: &[IoSlice<'_>]) -> usize {
        self.connection.writer().write_vectored(from).unwrap_or(0)
    }

    /// There is something to be written.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes once.
    pub(super) fn write(&mut self, to: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(to)
    }

    /// Nothing more will be sent: has that said.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    fn facts(&self) -> TlsFacts {
        let it = &self.connection;
        let leaf = it.peer_certificates().and_then(|chain| chain.first());
        TlsFacts {
            version: match it.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => TlsVersion::V12,
                _ => TlsVersion::V13,
            },
            cipher: it.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            group: it.negotiated_key_exchange_group().map(|group| group_name(group.name())),
            alpn: it.alpn_protocol().map(<[u8]>::to_vec),
            resumed: it.handshake_kind() == Some(HandshakeKind::Resumed),
            retried: it.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
            certificate: leaf.and_then(|leaf| certificate::describe(leaf)),
        }
    }
}

/// IANA's name; rustls marks those of TLS 1.3 in its own way.
fn cipher_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as Suite;
    match suite {
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite.as_str().unwrap_or(""),
    }
}

fn group_name(group: rustls::NamedGroup) -> &'static str {
    match group {
        rustls::NamedGroup::X25519 => "x25519",
        group => group.as_str().unwrap_or(""),
    }
}

/// What the engine wrote and the system has not taken yet: four records of 16 KiB, so that one
/// `writev` takes what a socket's buffer has room for.
const ENCIPHERED_MAX: usize = 64 << 10;
