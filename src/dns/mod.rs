//! Names: a resolver that asks forwarders and remembers what they say.
//!
//! [`Resolver`] is the machine. A question of a user ends as one [`Event::Resolved`]; sockets and
//! connections are asked for with [`Wish`]es; datagrams, bytes and time are handed in. [`Dns`] puts
//! host names on top: both families, search suffixes, the order of addresses.

mod aliases;
pub mod answer;
pub mod cache;
pub mod config;
pub mod exchange;
pub mod forwarders;
pub mod hosts;
pub mod keeper;
pub mod listener;
mod local;
pub mod lookup;
pub mod order;
pub mod policy;
mod query;
mod resolver;
mod signatures;
mod sockets;
mod special;
mod streams;
pub mod system;
mod transport;
pub mod zones;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{SocketId, Token};
use crate::model::dns::Source;
use crate::wire::dns::{Kind, Name, Rcode};

pub use answer::Answer;
pub use cache::{Cache, Key, Variant};
pub use config::{Config, ForwarderConfig, Rebinding, Strategy, System};
pub use hosts::Hosts;
pub use lookup::{Dns, Looked};
pub use resolver::Resolver;
pub use sockets::IDS as SOCKET_IDS;
pub use streams::{Broken, FRAME_MAX};
pub use system::ResolvConf;

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// A command, by its id.
    Command(u64),
    /// A host name of the engine's own, by the id of its look-up.
    Host(Token),
    /// A client of the listener, by its question.
    Client(Token),
    /// An alias of a local zone, which leads out of it.
    Alias(Token),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A question has come to its end.
    Resolved(User, Box<Resolved>),
    /// A forwarder stopped answering, or answers again.
    Forwarder {
        /// How it is called.
        name: Arc<str>,
        /// Where it is.
        addr: SocketAddr,
        /// It answers.
        up: bool,
    },
    /// A policy rule matched.
    Threat(Box<policy::HitFacts>),
}

/// What a question came to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What was asked.
    pub name: Name,
    /// Its type.
    pub kind: Kind,
    /// The answer, negative ones included.
    pub result: Result<Given, Failure>,
    /// How long it took.
    pub elapsed: Duration,
}

/// An answer as it is handed out.
#[derive(Clone, Debug)]
pub struct Given {
    /// What is known.
    pub answer: Arc<Answer>,
    /// Seconds since it was given.
    pub age: u32,
    /// Who gave it.
    pub source: Source,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No forwarder is known.
    NoForwarder,
    /// None answered in time.
    Timeout,
    /// None can be reached from here.
    Unreachable,
    /// Nothing listens where they should be.
    Refused,
    /// All answered, and this is what the last one said.
    Rcode(Rcode),
    /// They name other servers instead of asking them.
    Referral,
    /// The aliases lead in a circle, or to too many others.
    Chain,
    /// What they answer cannot be read.
    Malformed,
    /// It is no name.
    BadName,
    /// Too much is asked at once.
    Overloaded,
    /// The resolver was stopped.
    Stopped,
}

/// What the driver is to do for the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Open a UDP socket here.
    Bind(SocketId, SocketAddr),
    /// Close it.
    Unbind(SocketId),
    /// Open a connection, with TLS if the certificate's name is given.
    Connect {
        /// Its name from now on.
        conn: Token,
        /// Where to.
        to: SocketAddr,
        /// Whose certificate it must have.
        tls: Option<Arc<str>>,
    },
    /// There may be something to write on a connection.
    Write(Token),
    /// Close it; nothing more is said of it.
    Close(Token),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Questions of all users.
    pub asked: u64,
    /// Questions that another one's answer served.
    pub shared: u64,
    /// Questions without an answer.
    pub failed: u64,
    /// Tries without an answer in time.
    pub timeouts: u64,
    /// Messages that fit no question: late, lost their way, or forged.
    pub foreign: u64,
    /// Answers of which private addresses were left out (DNS rebinding).
    pub rebinding: u64,
}

impl Given {
    /// What expired, for want of better.
    fn stale(entry: &cache::Entry) -> Self {
        Self { answer: entry.answer.clone(), age: u32::MAX, source: Source::Stale }
    }

    /// Seconds for which it still holds.
    pub fn ttl(&self) -> u32 {
        if self.source == Source::Stale { STALE_TTL } else { self.answer.ttl.saturating_sub(self.age) }
    }

    /// Copies the message to `out` with the TTLs of now; `None` if there is no room.
    pub fn copy_to(&self, out: &mut [u8]) -> Option<usize> {
        let floor = if self.source == Source::Stale { STALE_TTL } else { 0 };
        self.answer.copy_to(out, self.age, floor)
    }
}

/// RFC 8767, section 4: 30 seconds.
const STALE_TTL: u32 = 30;
