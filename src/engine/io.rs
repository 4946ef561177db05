//! The contract between the engine and whatever drives it: what goes in, what comes out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Id, InfoHash, Instant, NodeId, Path, SocketId, Token};
use crate::model::{StoreOp, StoreResult, TlsFacts, TlsFailure, TlsWish, Torrent};

use crate::dns;
use crate::dns::policy::{HitFacts, RpzUpdate};
use crate::dns::zones::ZoneEvent;
use crate::preconnect::{Counts, Report, Row, Target, Timeouts};
use crate::wire::dns::{Kind, Name};

pub use super::wiring::download::{DownloadFailure, DownloadWish, Downloaded, REDIRECTS_MAX};
pub use super::work::{Job, Proving, Unpacking, Worked};

/// A stream, by the name the engine gave it. Stale names reach nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub Token);

impl LinkId {
    /// Not after any other link.
    pub const FIRST: Self = Self(Token::FIRST);
    /// Not before any other link.
    pub const LAST: Self = Self(Token::LAST);
}

/// A place where streams are accepted, in the order of the driver's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcceptorId(pub u16);

/// One thing that happened to the driver.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived. The direct reply, if any, is written into `reply`.
    Datagram(Path, &'a [u8]),
    /// A datagram of ours came back: where it went, how it began, and why.
    Undelivered(Path, &'a [u8], Reason),
    /// What [`Output::Bind`] came to: the address with the port that it really has.
    Bound(SocketId, Result<SocketAddr, BindFault>),
    /// `Connect` succeeded, as far as TCP goes. Bytes that are to be secured wait for `Secured`.
    Opened(LinkId),
    /// The TLS handshake is done. From here on bytes come and go, in the clear to the engine.
    Secured(LinkId, Box<TlsFacts>),
    /// The server handed out one more ticket, with which a later handshake may be resumed. With
    /// TLS 1.2 there is at most one, right after `Secured`.
    Ticket(LinkId),
    /// TLS failed, in the handshake or later. Nothing else follows for this link.
    Insecure(LinkId, Box<TlsFailure>),
    /// Bytes arrived on a stream, in order; with TLS, plaintext.
    Received(LinkId, &'a [u8]),
    /// The other end will send no more.
    Eof(LinkId),
    /// The stream is gone, or was never opened. Nothing else follows for this link.
    Closed(LinkId, Reason),
    /// The archive answered.
    Stored(StoreResult),
    /// What came of [`Output::Work`].
    Worked(Worked),
    /// Somebody wants something done.
    Command(Command),
}

/// One thing the engine wants the driver to do.
#[derive(Debug)]
pub enum Output {
    /// Send this many bytes of the scratch buffer. If the socket is not there it is dropped, and
    /// counted.
    Datagram(Path, usize),
    /// Open a UDP socket under a name that no socket has now, on an address with a port; port 0 is
    /// the system's choice. `Bound` answers. The listen sockets have the first names from the start.
    Bind(SocketId, SocketAddr),
    /// Close a socket of `Bind`. What it has not handed in is lost; its name is free.
    Unbind(SocketId),
    /// Accept streams, or leave them where they wait. At the start they are accepted.
    Accept(bool),
    /// Open a stream.
    Connect {
        /// Its name from now on.
        link: LinkId,
        /// The local address to leave from, if it is not a wildcard.
        from: Option<IpAddr>,
        /// Where to.
        to: SocketAddr,
        /// TLS once it is open; `Secured` or `Insecure` tells what came of it.
        tls: Option<Box<TlsWish>>,
    },
    /// The link's send queue is no longer empty: write it when the stream is writable.
    Write(LinkId),
    /// Close the stream. No further input for it is accepted, `Closed` is not expected.
    Close(LinkId),
    /// Hand this to the writer thread.
    Store(StoreOp),
    /// Do this on another thread: it takes too long for the loop.
    Work(Job),
    /// A command's answer.
    Answer(CommandId, Answer),
    /// A torrent is new in the archive's queue: for what follows it live.
    Event(Event),
    /// Everything is drained and acknowledged after [`Command::Stop`]; the driver may end.
    Stopped,
    /// Nothing more now; call again at this time, or when something happens.
    Idle(Option<(Instant, Why)>),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A link waits too long for its peer.
    Link,
    /// A query has no answer yet.
    Query,
    /// A connection is being opened, or has been open for long enough.
    Warm,
    /// A question about a name has no answer yet, or a server is to be asked again.
    Name,
    /// A bucket will have refilled.
    Rate,
    /// A lookup, a sweep or a torrent is to be tried (again).
    Retry,
    /// Routing tables and secrets want care.
    Upkeep,
    /// Something is to be saved.
    Save,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The other end refused it.
    Refused,
    /// The other end reset it, or the network broke it.
    Reset,
    /// No route, no address of this family, not permitted.
    Unreachable,
    /// This machine has no socket, port or memory left for it.
    NoResources,
}

/// Why a UDP socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindFault {
    /// The port or the name is taken.
    InUse,
    /// No interface has the address, or the host lacks its family.
    NotAvailable,
    /// The system does not allow it.
    NotPermitted,
    /// This machine has no socket or memory left for it, or too many are open.
    NoResources,
}

/// Correlates a command and its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub u64);

/// What people and other programs ask of a running engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// Contact these as bootstrap nodes.
    Bootstrap(Vec<SocketAddr>),
    /// The same by name and port: looked up until there is an answer.
    BootstrapHosts(Vec<(String, u16)>),
    /// What a name has.
    Resolve(CommandId, NameQuestion),
    /// What is remembered of names.
    CacheSummary(CommandId),
    /// A thing over HTTP.
    Download(CommandId, Box<DownloadWish>),
    /// A connection to a target, to be measured or kept.
    Preconnect(CommandId, Box<PreconnectWish>),
    /// What is warm.
    PreconnectStatus(CommandId),
    /// What is to be warm from now on.
    SetTargets(Vec<Target>),
    /// Whom to ask about names, and which need nobody.
    SetNames(Box<dns::System>),
    /// Local zones and policy: to be told, or to be changed and kept. [`Answer::Local`] comes when
    /// what was changed is durable.
    Local(CommandId, Box<dns::keeper::Ask>),
    /// The zones of all files, in place of those before.
    SetZones(Box<dns::keeper::ZoneFiles>),
    /// The policy lists of the settings in their order, in place of those before.
    SetLists(Vec<dns::keeper::ListFile>),
    /// All that a reload brings was handed in; [`Event::Reloaded`] comes when it is in use.
    Reloaded,
    /// One `ping`.
    Ping(CommandId, SocketAddr),
    /// An iterative `find_node`.
    FindNode(CommandId, Id),
    /// An iterative `get_peers`.
    Peers(CommandId, InfoHash),
    /// `get_peers`, then `announce_peer` to the closest nodes with a token. Port 0: implied.
    Announce(CommandId, InfoHash, u16),
    /// Swarm size by BEP 33, over the closest nodes.
    Scrape(CommandId, InfoHash),
    /// Metadata of one torrent, from these peers first; known ones are fetched all the same.
    Fetch(CommandId, InfoHash, Vec<SocketAddr>),
    /// Change a rate while running.
    SetRates(super::config::Rates),
    /// Replace the filter.
    SetFilter(crate::metadata::Filter),
    /// Pause or resume the crawl; serving goes on.
    Pause(bool),
    /// Save, drain, close; then comes [`Output::Stopped`].
    Stop,
}

impl Command {
    /// The name of a command that runs for a while and is counted as long as it does.
    pub(super) fn runs(&self) -> Option<CommandId> {
        match self {
            Self::Ping(id, _)
            | Self::FindNode(id, _)
            | Self::Peers(id, _)
            | Self::Announce(id, ..)
            | Self::Scrape(id, _)
            | Self::Fetch(id, ..) => Some(*id),
            _ => None,
        }
    }
}

/// What is wanted of a target.
#[derive(Clone, Debug)]
pub struct PreconnectWish {
    /// Which.
    pub target: Target,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// Keep the connection for clients of ours, and use one that is kept already. Otherwise it is
    /// closed once it is measured.
    pub park: bool,
}

/// How the targets stand that are to be warm.
#[derive(Clone, Debug)]
pub struct Warmth {
    /// What was counted.
    pub counts: Counts,
    /// Each target.
    pub rows: Vec<Row>,
}

/// What is wanted of a name.
#[derive(Clone, Debug)]
pub enum NameQuestion {
    /// Its addresses, in the order to be tried. Search suffixes are tried.
    Host(String),
    /// Its records of one type; the name is taken as it is.
    Records(Box<Name>, Kind),
}

/// What a command came to.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A node answered a query of this command's.
    Hop {
        /// Who.
        node: NodeId,
        /// Where.
        addr: SocketAddr,
        /// How many leading bits it shares with the target.
        common_bits: u32,
        /// Round trip in microseconds.
        rtt_us: u64,
    },
    /// Peers, as they come in.
    Peers(Vec<SocketAddr>),
    /// A peer did not give the metadata.
    PeerFailed(SocketAddr, crate::metadata::Why),
    /// An announce was accepted by this node.
    Announced(SocketAddr),
    /// Estimated seeds and peers (BEP 33).
    Scraped {
        /// Peers that have everything.
        seeds: f64,
        /// Peers that do not.
        peers: f64,
    },
    /// The metadata.
    Torrent(Box<Torrent>),
    /// The metadata will not come, or is not kept.
    NotKept(Box<NotKept>),
    /// A round of asking for the metadata is over without it; the next comes later.
    Round(Round),
    /// A node answered a query of this command's with an error: its code and words (BEP 5).
    NodeError(i64, Box<str>),
    /// A host's addresses.
    Looked(Box<dns::Looked>),
    /// A name's records.
    Records(Box<dns::Resolved>),
    /// What is remembered of names.
    Cache(Box<dns::cache::Summary>),
    /// What came over HTTP.
    Downloaded(Box<Downloaded>),
    /// What came of a question or a change of local zones and policy, or why it was not made.
    Local(Box<Result<dns::keeper::Said, dns::keeper::Refusal>>),
    /// A target was connected to, or not. With an age: one was parked already, since so long, and
    /// nothing was measured.
    Preconnected(Box<Report>, Option<Duration>),
    /// What is warm.
    Warmth(Box<Warmth>),
    /// The command is done; nothing else follows.
    Done {
        /// It found or did something.
        found: bool,
        /// The nodes that answered.
        answered: u32,
    },
}

/// Why there is no torrent although its infohash was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Its dictionary came and has the right hash, and is no torrent.
    NoTorrent(crate::metadata::torrent::Error),
    /// The filter refuses it, by this rule.
    Filtered(String),
    /// It was asked for so often in vain that it is given up, or others took its place.
    GivenUp,
}

/// How a round of asking for metadata ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// No DHT node is known that could be asked for peers, or none answered.
    NoNodes,
    /// Nodes answered, and know no peer.
    NoPeers,
    /// Peers were asked, and none gave it.
    PeersFailed,
}

/// A setting that can change while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// What is never kept.
    Filter,
    /// Whom to ask about names.
    Forwarders,
    /// How much may be sent, received and opened.
    Rates,
}

/// What happened that somebody may want to see live.
#[derive(Clone, Debug)]
pub enum Event {
    /// A torrent was verified and handed to the archive.
    Torrent(InfoHash),
    /// A DNS server stopped answering, or answers again (`forwarder_status_change`).
    Forwarder {
        /// How it is called.
        name: Arc<str>,
        /// Where it is.
        addr: SocketAddr,
        /// It answers.
        up: bool,
    },
    /// A local zone or a record of one was changed (`zone_…`, `record_…`).
    Zone(Box<ZoneEvent>),
    /// Zones and lists were read anew, and so many of each are in use (`bind_reload`).
    Reloaded {
        /// Zones.
        zones: usize,
        /// Policy lists.
        lists: usize,
    },
    /// A setting has another value now (`config_change`).
    Setting(Setting),
    /// A policy list was read anew (`rpz_update`).
    Policy(Box<RpzUpdate>),
    /// A policy rule decided about somebody's question (`threat_detected`).
    Threat(Box<HitFacts>),
}
