//! The engine's streams: which machine talks on which link, what it left unread, and when it
//! wants to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::base::{Flow, InfoHash, Instant, Network, SendQueue, Slots, Timers, Token};
use crate::dns::listener::Client;
use crate::metadata::{Fetch, Library, Progress, Serve};
use crate::web::Get;

use super::hosts::Hosts;
use super::io::LinkId;
use super::wiring::dial::Warm;

/// Every stream.
#[derive(Default)]
pub(super) struct Links {
    slots: Slots<Link>,
    timers: Timers,
    by_hash: BTreeSet<(InfoHash, LinkId)>,
    pub(super) hosts: Hosts,
    /// Fetches that are not connected yet, by network.
    by_network: BTreeMap<Network, u16>,
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
    /// What it sent is left unread for want of `--bytes-in`, since then.
    pub(super) unread_since: Option<Instant>,
    /// The handshake of its fetch is done.
    shaken: bool,
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
            unread_since: None,
            shaken: false,
            timer_at: Instant::FAR,
        };
        let hash = link.machine.fetching();
        if hash.is_some() {
            self.hosts.fetch_begins(remote.ip());
        }
        if hash.is_some() && !open {
            *self.by_network.entry(Network::around(remote.ip())).or_default() += 1;
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
            self.hosts.fetch_ends(link.remote.ip(), link.shaken);
            if !link.open {
                leave(&mut self.by_network, Network::around(link.remote.ip()));
            }
        }
        if let Machine::Serve(_) = link.machine {
            self.hosts.serve_ends(link.remote.ip());
        }
        self.half_open -= usize::from(!link.open);
        self.fetches -= usize::from(matches!(link.machine, Machine::Fetch(_)));
        Some(link)
    }

    /// The handshake of a fetch is done.
    pub(super) fn handshake_done(&mut self, id: LinkId) {
        if let Some(link) = self.slots.get_mut(id.0)
            && !std::mem::replace(&mut link.shaken, true)
        {
            self.hosts.handshake_done(link.remote.ip());
        }
    }

    /// So many connections to the network around this address are half-open that it may well be one
    /// where nothing answers.
    pub(super) fn is_crowded(&self, peer: SocketAddr, half_open_max: usize) -> bool {
        let here = self.by_network.get(&Network::around(peer.ip())).map_or(0, |count| usize::from(*count));
        let most = if half_open_max == 0 { usize::MAX } else { half_open_max };
        here >= (most / NETWORK_PART).clamp(NETWORK_MIN, NETWORK_MAX)
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
            if link.machine.fetching().is_some() {
                leave(&mut self.by_network, Network::around(link.remote.ip()));
            }
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

    pub(super) fn is_fetch(&self, id: LinkId) -> bool {
        self.slots.get(id.0).is_some_and(|link| matches!(link.machine, Machine::Fetch(_)))
    }

    /// A fetch that leaves `--bytes-in` to others while there is too little: of a large dictionary,
    /// or from an address that has had its share.
    pub(super) fn yields(&self, id: LinkId, now: Instant) -> bool {
        let Some(link) = self.slots.get(id.0) else { return false };
        let Machine::Fetch(fetch) = &link.machine else { return false };
        let size = fetch.progress().and_then(|progress| progress.size_bytes);
        size.is_some_and(|size| size > SMALL_MAX) || self.hosts.is_over_its_share(link.remote.ip(), now)
    }

    /// What a fetch was sent is left unread for want of `--bytes-in`, or not any more.
    pub(super) fn note_unread(&mut self, id: LinkId, unread: bool, now: Instant) {
        if !unread {
            self.excuse_unread(id, now);
        }
        if let Some(link) = self.slots.get_mut(id.0) {
            link.unread_since = unread.then(|| link.unread_since.unwrap_or(now));
        }
    }

    /// The time for which a fetch was left unread does not count against its peer.
    pub(super) fn excuse_unread(&mut self, id: LinkId, now: Instant) {
        if let Some(link) = self.slots.get_mut(id.0)
            && let (Some(since), Machine::Fetch(fetch)) = (link.unread_since, &mut link.machine)
        {
            fetch.on_held_back(now.since(since));
            link.unread_since = Some(now);
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

    /// How far each fetch has come that has asked for pieces.
    pub(super) fn fetch_progress(&self) -> impl Iterator<Item = (LinkId, Progress)> + '_ {
        self.by_hash.iter().filter_map(|(_, id)| {
            let Machine::Fetch(fetch) = &self.slots.get(id.0)?.machine else { return None };
            fetch.progress().map(|progress| (*id, progress))
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
        let shaken = |link: &Link| matches!(link.machine, Machine::Fetch(_)) && !link.shaken;
        let handshakes = self.slots.iter().filter(|(_, link)| shaken(link)).count();
        let served = self.slots.iter().filter(|(_, link)| matches!(link.machine, Machine::Serve(_))).count();
        self.hosts.check_invariants(fetches, handshakes, served);
        let connecting =
            self.slots.iter().filter(|(_, link)| !link.open && link.machine.fetching().is_some()).count();
        let by_network: usize = self.by_network.values().map(|count| usize::from(*count)).sum();
        assert_eq!(connecting, by_network, "half-open fetches by network");
    }
}

/// One less of a key, if there is one.
fn leave<K: Ord>(counts: &mut BTreeMap<K, u16>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
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

/// Four pieces; four dictionaries of five are not larger.
const SMALL_MAX: usize = 64 << 10;
/// Of all half-open connections, one network (/24, /48) has an eighth, within bounds.
const NETWORK_PART: usize = 8;
const NETWORK_MIN: usize = 8;
const NETWORK_MAX: usize = 128;
/// A fetch sends requests of 40 bytes, a server at most a few pieces at a time.
const SEND_MAX: usize = 256 * 1024;
