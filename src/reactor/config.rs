//! What the reactor is told at its start.

use std::net::SocketAddr;

use super::sys::udp;
#[cfg(doc)]
use crate::engine::io::AcceptorId;

/// What the reactor is started with.
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// Where to listen for datagrams.
    pub listen: Vec<Listen>,
    /// Where to accept streams, in the order of their [`AcceptorId`]s.
    pub accept: Vec<Listen>,
    /// Datagrams for one system call, 1 to [`udp::BATCH_MAX`].
    pub udp_batch: usize,
    /// Use this network interface only (Linux).
    pub interface: Option<String>,
    /// Take SIGINT, SIGTERM and SIGHUP. One reactor of a process may.
    pub signals: bool,
    /// Whose signature makes a server's certificate good.
    pub roots: Roots,
}

impl Default for ReactorConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            accept: Vec::new(),
            udp_batch: udp::BATCH_MAX,
            interface: None,
            signals: false,
            roots: Roots::System,
        }
    }
}

/// Whose signature makes a server's certificate good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Whom this system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others); whom Mozilla
    /// trusts, where it has nobody.
    System,
    /// Those in this PEM text and nobody else.
    Pem(Vec<u8>),
}

/// One address to listen on. IPv6 ones are for IPv6 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where; port 0 is the system's choice.
    pub addr: SocketAddr,
    /// Somebody asked for it, so that its failure is fatal. Otherwise it is skipped with a
    /// warning if the host lacks its family.
    pub explicit: bool,
}
