//! What some peers insist on when they are connected to, as real ones do: Transmission takes one
//! handshake from an address at a time, aria2 hangs up on whoever says more than that before its own.

use std::net::IpAddr;
use std::time::Duration;

use super::event::{End, HostId, What};
use super::world::World;
use crate::base::Instant;
use crate::engine::io::{LinkId, Reason};
use crate::wire::peer::HANDSHAKE_LEN;

/// What a host insists on as a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerManners {
    /// No byte after the BEP 3 handshake before its own, which takes it a second.
    BareHandshake,
    /// One handshake from an address at a time; other connections are closed at once.
    OneHandshake,
}

/// An accepted stream whose handshake is not done.
pub(super) struct Shaking {
    number: u64,
    from: IpAddr,
    heard: Vec<u8>,
    /// When a peer that takes a while hands on what it heard.
    until: Option<Instant>,
}

impl World {
    /// Has a host insist on something.
    pub fn set_manners(&mut self, host: HostId, manners: PeerManners) {
        self.manners.insert(host, manners);
    }

    /// A connection from there is closed as soon as it is open.
    pub(super) fn turns_away(&self, host: HostId, from: IpAddr) -> bool {
        let streams = self.shaking.range((host, LinkId::FIRST)..=(host, LinkId::LAST));
        self.manners.get(&host) == Some(&PeerManners::OneHandshake)
            && streams.into_iter().any(|(_, shaking)| shaking.from == from)
    }

    /// A stream was accepted.
    pub(super) fn begin_shaking(&mut self, end: End, from: IpAddr) {
        if self.manners.contains_key(&end.host) {
            let shaking = Shaking { number: end.number, from, heard: Vec::new(), until: None };
            self.shaking.insert((end.host, end.link), shaking);
        }
    }

    /// Bytes came to an end; false if they are not handed on now.
    pub(super) fn heeds_manners(&mut self, end: End, data: &[u8]) -> bool {
        let key = (end.host, end.link);
        let manners = self.manners.get(&end.host).copied();
        let Some(shaking) = self.shaking.get_mut(&key).filter(|it| it.number == end.number) else {
            return true;
        };
        if shaking.until.is_some_and(|until| until <= self.now) && data == shaking.heard {
            self.shaking.remove(&key);
            return true;
        }
        shaking.heard.extend_from_slice(data);
        let heard = shaking.heard.len();
        if manners != Some(PeerManners::BareHandshake) {
            if heard >= HANDSHAKE_LEN {
                self.shaking.remove(&key);
            }
            return true;
        }
        if heard > HANDSHAKE_LEN {
            let peer = self.live(end).and_then(|stream| stream.peer);
            if let Some(peer) = peer.and_then(|(host, link)| self.end(host, link)) {
                self.push(self.now + self.link.delay, What::Eof(peer));
            }
            self.on_failed(end, Reason::Reset);
        } else if heard == HANDSHAKE_LEN {
            let at = self.now + TAKES;
            shaking.until = Some(at);
            let data = shaking.heard.clone();
            self.push(at, What::Bytes { end, data });
        }
        false
    }
}

/// aria2 1.36 takes 0.9 to 1.2 s.
const TAKES: Duration = Duration::from_millis(900);
