//! What the resolver is told at its start, and may be told again while it runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::cache;
use super::hosts::Hosts;
use crate::base::Network;
use crate::wire::dns::Name;

/// The resolver's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is asked, in order of preference.
    pub forwarders: Vec<ForwarderConfig>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// Names that need nobody to be asked.
    pub hosts: Hosts,
    /// Suffixes to try for short names, in order.
    pub search: Vec<Name>,
    /// A name with so many dots is tried as it is first.
    pub ndots: u8,
    /// Bounds and lifetimes of the memory.
    pub cache: cache::Config,
    /// When a look-up has failed if nothing else ended it.
    pub deadline: Duration,
    /// Answers that may wait to be handed to the archive; 0 if there is none.
    pub unsaved_max: usize,
    /// Cookies, random case and EDNS are used, except while a forwarder turned out not to know them.
    pub extras: bool,
    /// Private addresses of public names are left out of answers; `None`: they are not.
    pub rebinding: Option<Rebinding>,
}

/// Protection against names of strangers that lead into one's own network (DNS rebinding).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebinding {
    /// Names that may have private addresses, with all that is below them.
    pub allowed: Vec<Name>,
}

/// What may change while the resolver runs: what the system says, and its user.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// Who is asked, in order of preference.
    pub forwarders: Vec<ForwarderConfig>,
    /// Names that need nobody to be asked.
    pub hosts: Hosts,
    /// Suffixes to try for short names, in order.
    pub search: Vec<Name>,
    /// A name with so many dots is tried as it is first.
    pub ndots: u8,
    /// This machine's addresses.
    pub local: Vec<IpAddr>,
    /// The networks of its interfaces.
    pub networks: Vec<Network>,
}

/// One resolver to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwarderConfig {
    /// Where it is.
    pub addr: SocketAddr,
    /// How it is called in answers and statistics.
    pub name: Arc<str>,
    /// Ask over TLS, and whose certificate it must have (RFC 7858).
    pub tls: Option<Arc<str>>,
    /// Asked only for this name and what is below it, and alone for that; `None`: for everything else.
    pub suffix: Option<Name>,
}

/// How a forwarder is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that is up.
    #[default]
    Strict,
    /// All that are up at once; the first good answer counts.
    Parallel,
    /// The one that answered fastest lately; a share of questions goes to the others as well.
    Fastest,
}

impl Config {
    /// These forwarders and nothing else.
    pub fn new(forwarders: Vec<ForwarderConfig>) -> Self {
        Self {
            forwarders,
            strategy: Strategy::Strict,
            hosts: Hosts::default(),
            search: Vec::new(),
            ndots: 1,
            cache: cache::Config::DEFAULT,
            deadline: DEADLINE,
            unsaved_max: UNSAVED_MAX,
            extras: true,
            rebinding: None,
        }
    }
}

impl ForwarderConfig {
    /// Asked over UDP, and over TCP where that is not enough.
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, name: addr.to_string().into(), tls: None, suffix: None }
    }
}

/// glibc gives up after two rounds of five seconds each.
const DEADLINE: Duration = Duration::from_secs(10);
/// The archive is asked once a second; more come again when they are renewed.
const UNSAVED_MAX: usize = 4_000;
/// The most forwarders that are kept; resolv.conf has three.
pub const FORWARDERS_MAX: usize = 16;
