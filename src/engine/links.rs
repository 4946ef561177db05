//! The engine's streams: which machine talks on which link, what it left unread, and when it
//! wants to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::base::{Flow, InfoHash, Instant, Scope, SendQueue, Slots, Timers, Token};
use crate::dns::listener::Client;
use crate::metadata::{Fetch, Library, Serve};
use crate::web::Get;

use super::io::LinkId;
use super::wiring::dial::Warm;

/// Every stream.
#[derive(Default)]
pub(super) struct Links {
    slots: Slots<Link>,
    timers: Timers,
    by_hash: BTreeSet<(InfoHash, LinkId)>,
    /// Fetches by address, of the global ones.
    by_host: BTreeMap<IpAddr, u16>,
    pub(super) half_open: usize,
    pub(super) fetches: usize,
}

pub(super) struct Link {
    pub(super) machine: Machine,
    pub(super) remote: SocketAddr,
    pub(super) out: SendQueue,
    /// Bytes that the machine has not consumed yet, at most what it states.
    rest: Vec<u8>,
    pub(super) open: bool,
    /// The driver has closed it: it waits for what its bytes turn out to be.
    pub(super) proving: bool,
    /// It waits for `--bytes-out`.
    pub(super) held: bool,
    /// When the one timer entry that counts will fire.
    timer_at: Instant,
}

/// What may sit on a stream.
pub(super) enum Machine {
    /// We want metadata from a peer.
    Fetch(Box<Fetch>),
    /// A peer wants metadata from us.
    Serve(Box<Serve>),
    /// A connection to a DNS server, by its name in that room; true if it is to be secured.
    Names(Token, bool),
    /// Somebody asks us for names.
    Client(Box<Client>),
    /// Something is got over HTTP.
    Get {
        /// What talks.
        get: Box<Get>,
        /// For which download.
        token: Token,
        /// It is to be secured first.
        tls: bool,
    },
    /// Nobody uses it yet: it is being opened for somebody, or parked.
    Warm(Warm),
}

/// Info dictionaries that we serve, by every hash they go by.
pub(super) type Shelf = crate::base::hash::Map<InfoHash, Bytes>;

impl Library for Shelf {
    fn info(&self, hash: &InfoHash) -> Option<Bytes> {
        self.get(hash).cloned()
    }
}

impl Links {
    pub(super) fn insert(&mut self, machine: Machine, remote: SocketAddr, open: bool) -> LinkId {
        self.half_open += usize::from(!open);
        self.fetches += usize::from(matches!(machine, Machine::Fetch(_)));
        let link = Link {
            machine,
            remote,
            out: SendQueue::new(SEND_MAX),
            rest: Vec::new(),
            open,
            proving: false,
            held: false,
            timer_at: Instant::FAR,
        };
        let hash = link.machine.fetching();
        if hash.is_some() && Scope::of(remote.ip()) == Scope::Global {
            *self.by_host.entry(remote.ip()).or_default() += 1;
        }
        let id = LinkId(self.slots.insert(link));
        self.by_hash.extend(hash.map(|hash| (hash, id)));
        self.schedule(id);
        id
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.slots.remove(id.0)?;
        if let Some(hash) = link.machine.fetching() {
            self.by_hash.remove(&(hash, id));
            self.leave_host(link.remote.ip());
        }
        self.half_open -= usize::from(!link.open);
        self.fetches -= usize::from(matches!(link.machine, Machine::Fetch(_)));
        Some(link)
    }

    /// So many fetches from this address are under way that one more would be impolite. Whoever
    /// seeds thousands of torrents is not to be hammered for all of them.
    pub(super) fn is_busy(&self, peer: SocketAddr) -> bool {
        self.by_host.get(&peer.ip()).is_some_and(|fetches| *fetches >= PER_HOST)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.0)
    }

    pub(super) fn opened(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.slots.get_mut(id.0)?;
        if !link.open {
            link.open = true;
            self.half_open -= 1;
        }
        Some(link)
    }

    /// Gives a link of [`Machine::Warm`] to somebody else.
    pub(super) fn change(&mut self, id: LinkId, machine: Machine) {
        if let Some(link) = self.slots.get_mut(id.0) {
            debug_assert!(matches!(link.machine, Machine::Warm(_)), "others are counted");
            link.machine = machine;
        }
    }

    /// The links on which this torrent is being fetched.
    pub(super) fn fetching(&self, hash: InfoHash) -> Vec<LinkId> {
        self.by_hash.range((hash, LinkId::FIRST)..=(hash, LinkId::LAST)).map(|(_, id)| *id).collect()
    }

    /// Connections of those that ask us for names.
    pub(super) fn clients(&self) -> impl Iterator<Item = (LinkId, &Client)> {
        self.slots.iter().filter_map(|(token, link)| match &link.machine {
            Machine::Client(client) => Some((LinkId(token), &**client)),
            _ => None,
        })
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.slots.iter().map(|(token, _)| LinkId(token)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Sees to it that a link is woken at its deadline: one live entry a link, pushed again only
    /// when the deadline has moved forward in time.
    pub(super) fn schedule(&mut self, id: LinkId) {
        let Some(link) = self.slots.get_mut(id.0) else { return };
        let Some(at) = link.machine.next_deadline() else { return };
        if at < link.timer_at {
            link.timer_at = at;
            self.timers.push(at, id.0);
        }
    }

    /// A link whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<LinkId> {
        while let Some((at, token)) = self.timers.pop_due(now) {
            let Some(link) = self.slots.get_mut(token) else { continue };
            if link.timer_at != at {
                continue;
            }
            link.timer_at = Instant::FAR;
            if link.machine.next_deadline().is_some_and(|deadline| deadline <= now) {
                return Some(LinkId(token));
            }
            self.schedule(LinkId(token));
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn check_invariants(&self) {
        let half_open = self.slots.iter().filter(|(_, link)| !link.open).count();
        assert_eq!(half_open, self.half_open, "half-open");
        let fetches = self.slots.iter().filter(|(_, link)| matches!(link.machine, Machine::Fetch(_))).count();
        assert_eq!(fetches, self.fetches, "fetches");
        let hosts: usize = self.by_host.values().map(|fetches| usize::from(*fetches)).sum();
        assert!(hosts <= fetches && self.by_host.values().all(|fetches| (1..=PER_HOST).contains(fetches)));
    }

    fn leave_host(&mut self, host: IpAddr) {
        if let Some(fetches) = self.by_host.get_mut(&host) {
            *fetches -= 1;
            if *fetches == 0 {
                self.by_host.remove(&host);
            }
        }
    }
}

impl Link {
    /// Hands bytes to the machine through `consume`, which says how many it used; what it leaves is
    /// kept and comes first the next time. False if the stream is to be closed.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        consume: impl FnOnce(&mut Machine, &[u8]) -> Option<usize>,
    ) -> bool {
        if self.rest.is_empty() {
            let Some(used) = consume(&mut self.machine, data) else { return false };
            self.rest.extend_from_slice(&data[used..]);
        } else {
            self.rest.extend_from_slice(data);
            let Some(used) = consume(&mut self.machine, &self.rest) else { return false };
            self.rest.drain(..used);
        }
        if self.rest.is_empty() {
            // An idle link holds no buffer.
            self.rest = Vec::new();
        }
        true
    }

    /// The machine has left bytes that it may take by now.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// How many received bytes wait for a machine that wants them.
    pub(super) fn unread(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn flow(id: LinkId) -> Flow {
        Flow::Tcp(id.0.pack())
    }
}

impl Machine {
    /// How many bytes it used; `None` if the stream is to be closed. What belongs to names goes to its
    /// room instead.
    pub(super) fn on_bytes(&mut self, now: Instant, data: &[u8], shelf: &Shelf) -> Option<usize> {
        match self {
            Self::Fetch(fetch) => fetch.on_bytes(now, data).ok(),
            Self::Serve(serve) => serve.on_bytes(now, data, shelf).ok(),
            Self::Get { get, .. } => get.on_bytes(now, data).ok(),
            Self::Names(..) | Self::Client(_) | Self::Warm(_) => None,
        }
    }

    fn fetching(&self) -> Option<InfoHash> {
        if let Self::Fetch(fetch) = self { Some(fetch.hash()) } else { None }
    }

    pub(super) fn poll_write(&mut self, out: &mut SendQueue) {
        match self {
            Self::Fetch(fetch) => fetch.poll_write(out),
            Self::Serve(serve) => serve.poll_write(out),
            Self::Client(client) => client.poll_write(out),
            Self::Get { get, .. } => get.poll_write(out),
            Self::Names(..) | Self::Warm(_) => {}
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant) {
        match self {
            Self::Fetch(fetch) => fetch.on_deadline(now),
            Self::Serve(serve) => serve.on_deadline(now),
            Self::Client(client) => client.on_deadline(now),
            Self::Get { get, .. } => get.on_deadline(now),
            Self::Names(..) | Self::Warm(_) => {}
        }
    }

    pub(super) fn wants_read(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Get { .. } | Self::Names(..) | Self::Warm(_) => true,
            Self::Serve(serve) => serve.wants_read(),
            Self::Client(client) => client.wants_read(),
        }
    }

    /// It has come to its end of its own accord: close the stream.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Serve(serve) => serve.is_over(),
            Self::Client(client) => client.is_over(),
            Self::Fetch(_) | Self::Get { .. } | Self::Names(..) | Self::Warm(_) => false,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Fetch(fetch) => fetch.next_deadline(),
            Self::Serve(serve) => serve.next_deadline(),
            Self::Client(client) => client.next_deadline(),
            Self::Get { get, .. } => get.next_deadline(),
            // Its room wakes it.
            Self::Names(..) | Self::Warm(_) => None,
        }
    }
}

/// What qBittorrent lets one address have; several torrents behind one NAT still come along.
const PER_HOST: u16 = 8;
/// A fetch sends requests of 40 bytes, a server at most a few pieces at a time.
const SEND_MAX: usize = 256 * 1024;
