//! What a probe met on its way.

use std::net::SocketAddr;
use std::time::Duration;

use super::race::{Attempt, Fault};
use super::target::Target;
use crate::model::dns::Source;
use crate::model::tls::{Certificate, TlsCause, TlsFacts};
use crate::wire::dns::Rcode;

/// One probe, measured. A stage that was not reached or did not end well has no time.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whom it was for.
    pub target: Target,
    /// Until the first address was known.
    pub dns: Option<Duration>,
    /// From the first attempt until a connection was there, failed attempts included.
    pub tcp: Option<Duration>,
    /// The handshake alone.
    pub tls: Option<Duration>,
    /// How long it had to wait for a limit of ours before the first attempt.
    pub held: Duration,
    /// From the beginning to the end, the wait for a ticket included.
    pub total: Duration,
    /// Who knew the addresses.
    pub source: Option<Source>,
    /// Each address that was tried.
    pub attempts: Vec<Attempt>,
    /// The one that answered.
    pub reached: Option<SocketAddr>,
    /// What the handshake agreed on.
    pub facts: Option<Box<TlsFacts>>,
    /// Tickets with which a later handshake may be resumed.
    pub tickets: u32,
    /// The certificate that was refused.
    pub refused: Option<Box<Certificate>>,
    /// Why it did not end with a connection.
    pub failure: Option<Failure>,
}

/// Where it ended, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
}

/// What is done one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its name is looked up.
    Dns,
    /// Its addresses are tried.
    Tcp,
    /// TLS is agreed on.
    Tls,
    /// The connection is open and should stay so.
    Open,
}

/// Why a stage did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name has no address that could be found.
    Name(NameFault),
    /// No address could be connected to; what the most telling one met.
    Connect(Fault),
    /// A limit of our own (`--half-open`, `--flows`) held it back for too long.
    Held,
    /// TLS failed.
    Tls(TlsCause),
    /// The time for the stage was over.
    TimedOut,
    /// The other end closed the connection.
    Closed,
    /// The other end said something before it was asked, or far too much.
    Talked,
    /// It was given up.
    Stopped,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// There is no such name.
    NotThere,
    /// It has no address.
    NoAddress,
    /// It is no name.
    BadName,
    /// No DNS server is known.
    NoServer,
    /// No DNS server answered in time.
    NoAnswer,
    /// No DNS server can be reached from here.
    Unreachable,
    /// Nothing listens where the DNS server should be.
    Refused,
    /// What the servers answered.
    Rcode(Rcode),
    /// What the servers answered is of no use.
    Useless,
    /// Too much is asked at once.
    Overloaded,
}

impl Report {
    /// Before anything was done.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            dns: None,
            tcp: None,
            tls: None,
            held: Duration::ZERO,
            total: Duration::ZERO,
            source: None,
            attempts: Vec::new(),
            reached: None,
            facts: None,
            tickets: 0,
            refused: None,
            failure: None,
        }
    }

    /// True if there was a connection that stayed.
    pub fn is_good(&self) -> bool {
        self.failure.is_none()
    }

    /// What a client has to wait for before it can say something: name, connection and handshake,
    /// without waits of our own making. `None` if there was no connection.
    pub fn latency(&self) -> Option<Duration> {
        self.is_good().then(|| [self.dns, self.tcp, self.tls].into_iter().flatten().sum())
    }
}

impl Stage {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Open => "open",
        }
    }
}
