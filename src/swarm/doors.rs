//! Where the torrents' peers are: which address serves, which one misbehaves, and how the dead
//! ones are dead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::hostile::Behaviour;
use super::{Config, hits, mix};

/// The addresses of all peers. Derived from the seed; nothing is kept per peer.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) seed: u64,
    pub(crate) dead_pct: f64,
    pub(crate) hostile_pct: f64,
    pub(crate) honest: Honest,
    /// Listeners of peers that misbehave.
    pub(crate) hostile: Vec<(Behaviour, SocketAddr)>,
    /// Addresses that do not even refuse a connection; there may be none.
    pub(crate) mute: Vec<SocketAddr>,
    /// A port that refuses every connection.
    pub(crate) refusing_port: u16,
}

/// Where honest peers listen.
#[derive(Clone, Debug)]
pub(crate) enum Honest {
    /// On one port of any loopback address: so many of them are used.
    Everywhere(u16, u32),
    /// At these.
    Listeners(Vec<SocketAddr>),
}

/// What becomes of a connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// It is never established, or nothing comes of it.
    Dead,
    /// As [`Behaviour`] says.
    Hostile,
    /// It serves.
    Honest,
}

impl Doors {
    /// How many addresses `config`'s honest peers share: one that has several torrents is usual.
    pub(crate) fn addresses(config: &Config) -> u32 {
        let peers = u64::from(config.torrents) * u64::from(config.peers_per_torrent);
        peers.div_ceil(TORRENTS_PER_PEER).clamp(1, ADDRESSES_MAX) as u32
    }

    /// Peer `nth` of a torrent: its address and what it is.
    pub(crate) fn peer(&self, torrent: u32, nth: u32) -> (SocketAddr, PeerKind) {
        let draw = mix(self.seed, SALT_PEER + u64::from(nth), u64::from(torrent));
        if hits(mix(draw, SALT_ROLL, 0), self.dead_pct) {
            return (self.dead(draw), PeerKind::Dead);
        }
        if hits(mix(draw, SALT_ROLL, 1), self.hostile_pct) {
            return (self.misbehaving(draw).1, PeerKind::Hostile);
        }
        let addr = match &self.honest {
            Honest::Everywhere(port, count) => {
                SocketAddr::new(loopback(FIRST_HONEST, draw % u64::from(*count)), *port)
            }
            Honest::Listeners(listeners) => listeners[(draw % listeners.len() as u64) as usize],
        };
        (addr, PeerKind::Honest)
    }

    /// The port of an honest peer.
    pub(crate) fn honest_port(&self) -> u16 {
        match &self.honest {
            Honest::Everywhere(port, _) => *port,
            Honest::Listeners(listeners) => listeners.first().map_or(0, SocketAddr::port),
        }
    }

    /// An address from which no metadata will come.
    pub(crate) fn useless(&self, draw: u64) -> SocketAddr {
        match draw % 4 {
            0 => self.misbehaving(draw >> 2).1,
            1 => SocketAddr::new(loopback(FIRST_REFUSED, (draw >> 2) % ADDRESSES_MAX), 0),
            _ => self.dead(draw >> 2),
        }
    }

    /// Half of the dead do not answer at all, the others refuse; where an address cannot be mute,
    /// half of them accept and keep silent.
    fn dead(&self, draw: u64) -> SocketAddr {
        if draw.is_multiple_of(2) {
            let quiet = |(behaviour, _): &&(Behaviour, SocketAddr)| *behaviour == Behaviour::Silent;
            let silent: Vec<SocketAddr> = self.hostile.iter().filter(quiet).map(|(_, addr)| *addr).collect();
            let mute = if self.mute.is_empty() { &silent } else { &self.mute };
            if !mute.is_empty() {
                return mute[(draw / 2 % mute.len() as u64) as usize];
            }
        }
        match self.honest {
            Honest::Everywhere(..) => {
                SocketAddr::new(loopback(FIRST_REFUSED, draw % ADDRESSES_MAX), self.refusing_port)
            }
            Honest::Listeners(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.refusing_port),
        }
    }

    fn misbehaving(&self, draw: u64) -> (Behaviour, SocketAddr) {
        self.hostile[(draw % self.hostile.len() as u64) as usize]
    }
}

/// The address `offset` after `first`.
pub(crate) fn loopback(first: Ipv4Addr, offset: u64) -> IpAddr {
    Ipv4Addr::from(u32::from(first) + offset as u32).into()
}

/// Listeners of peers that misbehave: four for each way of doing so.
pub(crate) const FIRST_HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 100, 0, 1);
/// Addresses that do not answer.
pub(crate) const FIRST_MUTE: Ipv4Addr = Ipv4Addr::new(127, 101, 0, 1);
/// Listeners of honest peers where one cannot stand for all.
pub(crate) const FIRST_LISTENER: Ipv4Addr = Ipv4Addr::new(127, 102, 0, 1);

/// Honest peers that share one listener: 127.128.0.0 and up.
const FIRST_HONEST: Ipv4Addr = Ipv4Addr::new(127, 128, 0, 0);
/// Peers that are gone: 127.112.0.0 to 127.127.255.255.
const FIRST_REFUSED: Ipv4Addr = Ipv4Addr::new(127, 112, 0, 0);
/// 16 times 65,536: what lies between two of the bases above.
const ADDRESSES_MAX: u64 = 1 << 20;
const TORRENTS_PER_PEER: u64 = 3;
/// One for each `nth`.
const SALT_PEER: u64 = 0x1_0000;
const SALT_ROLL: u64 = 0x50;
