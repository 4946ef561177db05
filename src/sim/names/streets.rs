//! How questions reach the servers and what they say comes back: over the same links, through the
//! same boxes, in the same pieces as everything else.

use std::net::SocketAddr;

use super::Said;
use super::servers::Knock;
use crate::engine::io::Reason;
use crate::sim::event::{End, What};
use crate::sim::world::World;

impl World {
    /// Whether a DNS server is there.
    pub(in crate::sim) fn is_server(&self, at: SocketAddr) -> bool {
        self.servers.as_ref().is_some_and(|servers| servers.has(at))
    }

    /// A datagram reaches a server.
    pub(in crate::sim) fn on_question(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        let Some(servers) = &mut self.servers else { return };
        for said in servers.on_datagram(self.now, to, from, data) {
            let Said::Datagram { after, from: source, to, data } = said else { continue };
            // Behind a box that port may be the same socket's too: then it is no wrong port.
            if to != from && self.box_at(to.ip()).is_some() {
                continue;
            }
            for passage in self.link.arrivals(data.len(), &mut self.rng) {
                let data = data.clone();
                self.push(self.now + after + passage, What::Datagram { from: source, to, data });
            }
        }
    }

    /// A host wants a stream to a server.
    pub(in crate::sim) fn knock(&mut self, from: End, to: SocketAddr) {
        let Some(servers) = &mut self.servers else { return };
        let knock = servers.on_knock(self.now, to);
        let at = self.now + self.link.passage(&mut self.rng) + self.link.passage(&mut self.rng);
        match knock {
            Knock::Ignores => {}
            Knock::Refuses => self.push(at, What::Failed { end: from, reason: Reason::Refused }),
            Knock::Accepts => {
                let shaken = at + self.link.passage(&mut self.rng) + self.link.passage(&mut self.rng);
                let Some(stream) = self.streams.get_mut(&(from.host, from.link)) else { return };
                let secured = stream.secured;
                (stream.server, stream.back_at) = (Some(to), if secured { at } else { shaken });
                self.push(at, What::Opened(from));
                if !secured {
                    self.push(shaken, What::Secured(from));
                }
            }
        }
    }

    /// A host has written on a stream to a server.
    pub(in crate::sim) fn write_to_server(&mut self, end: End, data: &[u8]) {
        let Some(stream) = self.streams.get_mut(&(end.host, end.link)) else { return };
        let at = stream.clear_at.max(self.now + self.link.delay);
        stream.clear_at = at;
        match self.link.pipe.breaks(data.len(), &mut self.rng) {
            Some(_) => self.push(at, What::Failed { end, reason: Reason::Reset }),
            None => self.push(at, What::Asked { end, data: data.to_vec() }),
        }
    }

    /// Bytes reach a server.
    pub(in crate::sim) fn on_asked(&mut self, end: End, data: &[u8]) {
        let Some(stream) = self.live(end) else { return };
        let (Some(at), Some(servers)) = (stream.server, &mut self.servers) else { return };
        let said = servers.on_bytes(self.now, (at, end.number), data);
        for said in said {
            match said {
                Said::Bytes { after, data } => self.say(end, self.now + after, &data),
                Said::Close { resets: true } => {
                    self.push(self.now + self.link.delay, What::Failed { end, reason: Reason::Reset });
                }
                Said::Close { resets: false } => self.push(self.now + self.link.delay, What::Eof(end)),
                Said::Datagram { .. } => {}
            }
        }
    }

    /// What a server says, in order and in pieces.
    fn say(&mut self, end: End, from: crate::base::Instant, data: &[u8]) {
        let Some(stream) = self.streams.get_mut(&(end.host, end.link)) else { return };
        let mut at = stream.back_at.max(from + self.link.passage(&mut self.rng));
        let mut rest = data;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(self.link.pipe.piece(rest.len(), &mut self.rng));
            self.push(at, What::Bytes { end, data: piece.to_vec() });
            at += self.link.pipe.pause(&mut self.rng);
            rest = tail;
        }
        if let Some(stream) = self.streams.get_mut(&(end.host, end.link)) {
            stream.back_at = at;
        }
    }
}
