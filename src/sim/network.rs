//! How datagrams and streams get from host to host: through the link, through NAT boxes, past
//! partitions, to hosts that sleep or are dead.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::event::HostId;
use super::event::{End, What};
use super::oracle::Rule;
use super::sockets::DHT;
use super::world::{BoxId, DATAGRAM_MAX, Packet, Stream, World};
use crate::base::{Instant, Path, SocketId};
use crate::engine::io::{AcceptorId, Input, LinkId, Reason};
use crate::model::{TlsFacts, TlsVersion};

impl World {
    /// A datagram leaves a host.
    pub(super) fn send(&mut self, host: HostId, path: Path, data: &[u8], direct: bool) {
        let (socket, to) = (path.socket, path.remote);
        let Some(inside) = self.address_of(host, socket) else {
            return self.note(host, || format!("sends to {to} by a socket that is not there"));
        };
        self.tap(host, to, None, false, data.len());
        self.note(host, || format!("sends to {to}: {}", super::event::describe_datagram(data)));
        if let Some(oracle) = &mut self.oracle {
            let local = self.hosts[host.0].clock.local(self.now);
            if socket == DHT {
                oracle.sent(host, (self.now, local), to, data, direct);
            } else {
                oracle.asked(host, (self.now, local), path, data);
            }
        }
        let Some(from) = self.seen_from(host, inside, to) else { return };
        self.travel(Some(host), from, to, data.to_vec());
    }

    /// A datagram is on its way, seen as coming `from`.
    pub(super) fn travel(&mut self, host: Option<HostId>, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let target = self.socket_at(to).map(|(host, _)| host);
        if let (Some(host), Some(target)) = (host, target)
            && self.parted(host, target).is_some()
        {
            return;
        }
        let somebody = target.is_some() || self.box_at(to.ip()).is_some() || self.is_server(to);
        for after in self.link.arrivals(data.len(), &mut self.rng) {
            let at = self.now + after;
            if somebody {
                self.push(at, What::Datagram { from, to, data: data.clone() });
            } else if let Some(answer) =
                self.crowd.as_mut().and_then(|crowd| crowd.on_datagram(to, from, &data))
            {
                for back in self.link.arrivals(answer.len(), &mut self.rng) {
                    self.push(at + back, What::Datagram { from: to, to: from, data: answer.clone() });
                }
            }
        }
        if somebody && self.link.echoes(&mut self.rng) {
            let stranger = SocketAddr::from(([STRANGERS, 0, 0, self.rng.below(250) as u8 + 1], 7_777));
            let at = self.now + self.link.passage(&mut self.rng) / 2;
            self.push(at, What::Datagram { from: stranger, to, data });
        }
    }

    /// A datagram reaches the address that it is for.
    pub(super) fn arrive(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        if self.is_server(to) {
            return self.on_question(from, to, &data);
        }
        let found = match self.box_at(to.ip()) {
            Some(id) => {
                let inside = self.boxes[id.0].inbound(self.now, to.port(), from);
                inside.and_then(|inside| self.behind(id, inside))
            }
            None => self.socket_at(to),
        };
        let Some((host, socket)) = found.filter(|(host, _)| !self.hosts[host.0].down) else { return };
        let here = &mut self.hosts[host.0];
        if let Some(until) = here.clock.asleep(self.now) {
            here.backlog += 1;
            if !here.clock.is_suspended(self.now) && here.backlog <= BACKLOG_MAX {
                self.push(until, What::Datagram { from, to, data });
            }
            return;
        }
        here.backlog = 0;
        self.deliver(host, socket, from, &data);
    }

    fn deliver(&mut self, host: HostId, socket: SocketId, from: SocketAddr, data: &[u8]) {
        self.tap(host, from, None, true, data.len());
        self.note(host, || format!("receives from {from}: {}", super::event::describe_datagram(data)));
        let mut reply = [0; DATAGRAM_MAX];
        let path = Path { socket, local: None, remote: from };
        let here = &mut self.hosts[host.0];
        here.clock.wake(self.now);
        let (now, unix) = (here.clock.local(self.now), here.clock.unix(self.now));
        let before = self.oracle.as_mut().filter(|_| socket == DHT).map(|oracle| {
            // A deadline that is due by now comes first, so that only the datagram itself is judged.
            oracle.receiving(host, (self.now, now), from, data, &here.engine)
        });
        if let Some(oracle) = self.oracle.as_mut().filter(|_| socket != DHT) {
            oracle.told(host, path, data);
        }
        let len = here.engine.handle(now, unix, Input::Datagram(path, data), &mut reply);
        if let (Some(oracle), Some(before)) = (&mut self.oracle, before) {
            oracle.received(host, (self.now, now), (from, data), before, &reply[..len], &here.engine);
        }
        if len > 0 {
            self.send(host, path, &reply[..len], true);
        }
        self.drain(host);
    }

    /// A host wants a stream.
    pub(super) fn connect(&mut self, host: HostId, link: LinkId, to: SocketAddr, tls: bool) {
        self.streams_made += 1;
        let number = self.streams_made;
        let (clear_at, back_at) = (self.now, self.now);
        let stream =
            Stream { number, remote: to, peer: None, clear_at, secured: !tls, server: None, back_at };
        self.streams.insert((host, link), stream);
        self.tap_stream(host, link, false, 0);
        self.note(host, || format!("opens stream {number} to {to}"));
        if let Some(oracle) = &mut self.oracle {
            let local = self.hosts[host.0].clock.local(self.now);
            oracle.connecting(host, (self.now, local), link, number, to);
        }
        let from = End { host, link, number };
        let at = self.now + self.link.passage(&mut self.rng);
        let inside = self.hosts[host.0].addr;
        let Some(seen) = self.seen_from(host, inside, to) else { return };
        if self.is_server(to) {
            self.knock(from, to);
        } else if self.owner(to).is_some() || self.box_at(to.ip()).is_some() {
            self.push(at, What::Connect { from, seen, to });
        } else if self.crowd.as_mut().is_none_or(|crowd| crowd.refuses(to)) {
            self.push(at + self.link.delay, What::Failed { end: from, reason: Reason::Refused });
        }
    }

    /// A connection reaches the address that it is for.
    pub(super) fn on_connect(&mut self, from: End, seen: SocketAddr, to: SocketAddr) {
        let Some(stream) = self.live(from) else { return };
        let host = match self.box_at(to.ip()) {
            Some(id) => {
                let inside = self.boxes[id.0].inbound_stream(self.now, to.port(), seen);
                let found = inside.and_then(|inside| self.behind(id, inside));
                found.filter(|(_, socket)| *socket == DHT).map(|(host, _)| host)
            }
            None => self.by_addr.get(&to).copied(),
        };
        // Nobody answers from behind a box.
        let Some(host) = host else { return };
        if let Some(until) = self.hosts[host.0].clock.asleep(self.now) {
            return self.push(until, What::Connect { from, seen, to });
        }
        if self.parted(from.host, host).is_some() {
            return;
        }
        if !self.hosts[host.0].accepting && !self.hosts[host.0].down {
            return self.push(self.now + KNOCKS_AGAIN, What::Connect { from, seen, to });
        }
        let at = self.now + self.link.passage(&mut self.rng);
        let local = self.local(host);
        let down = self.hosts[host.0].down;
        if !down && self.turns_away(host, seen.ip()) {
            self.push(at, What::Opened(from));
            return self.push(at + self.link.delay, What::Eof(from));
        }
        let engine = &mut self.hosts[host.0].engine;
        let Some(accepted) = (!down).then(|| engine.admit(local, AcceptorId(0), seen)).flatten() else {
            return self.push(at, What::Failed { end: from, reason: Reason::Refused });
        };
        let secured_at = match stream.secured {
            true => at,
            false => at + self.link.passage(&mut self.rng) + self.link.passage(&mut self.rng),
        };
        let peer = Some((from.host, from.link));
        let here = Stream { remote: seen, peer, clear_at: secured_at, secured: true, ..stream };
        self.streams.insert((host, accepted), here);
        self.begin_shaking(End { host, link: accepted, number: stream.number }, seen.ip());
        if let Some(oracle) = &mut self.oracle {
            oracle.accepted(host, (self.now, local), accepted, stream.number, seen);
        }
        if let Some(there) = self.streams.get_mut(&(from.host, from.link)) {
            (there.peer, there.clear_at) = (Some((host, accepted)), at);
        }
        self.push(at, What::Opened(from));
        if !stream.secured {
            self.push(secured_at, What::Secured(from));
        }
        self.drain(host);
    }

    pub(super) fn on_opened(&mut self, end: End) {
        if self.live(end).is_none() {
            return;
        }
        self.tap_stream(end.host, end.link, true, 0);
        if let Some(oracle) = &mut self.oracle {
            let local = self.hosts[end.host.0].clock.local(self.now);
            oracle.opened(end.host, (self.now, local), end.link);
        }
        self.input(end.host, Input::Opened(end.link));
    }

    /// A handshake that never was is done.
    pub(super) fn on_secured(&mut self, end: End) {
        if self.live(end).is_none() {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&(end.host, end.link)) {
            stream.secured = true;
        }
        let facts = TlsFacts {
            version: TlsVersion::V13,
            cipher: "TLS_AES_128_GCM_SHA256",
            group: None,
            alpn: None,
            resumed: false,
            retried: false,
            certificate: None,
        };
        self.input(end.host, Input::Secured(end.link, Box::new(facts)));
        self.write(end.host, end.link);
    }

    pub(super) fn on_bytes(&mut self, end: End, data: &[u8]) {
        if self.live(end).is_none() {
            return;
        }
        if !self.heeds_manners(end, data) {
            return;
        }
        self.tap_stream(end.host, end.link, true, data.len());
        if let Some(oracle) = &mut self.oracle {
            let local = self.hosts[end.host.0].clock.local(self.now);
            oracle.bytes_in(end.host, (self.now, local), end.link, data);
        }
        self.input(end.host, Input::Received(end.link, data));
    }

    pub(super) fn on_eof(&mut self, end: End) {
        if self.live(end).is_some() {
            self.input(end.host, Input::Eof(end.link));
            if self.live(end).is_some() {
                self.fail(Rule::Lifetime, end.host, "a stream is held open that the other end has closed");
            }
        }
    }

    pub(super) fn on_failed(&mut self, end: End, reason: Reason) {
        if self.live(end).is_some() {
            self.forget(end.host, end.link);
            self.input(end.host, Input::Closed(end.link, reason));
        }
    }

    /// Takes what waits on a link and sends it in pieces, in order.
    pub(super) fn write(&mut self, host: HostId, link: LinkId) {
        if self.streams.get(&(host, link)).is_some_and(|stream| !stream.secured) {
            return;
        }
        let local = self.local(host);
        let engine = &mut self.hosts[host.0].engine;
        let allowed = engine.write_allowance(local, link);
        let Some(queue) = engine.send_queue(link) else { return };
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = queue.slices_within(allowed, &mut slices);
        let data: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        if data.is_empty() {
            return;
        }
        engine.wrote(local, link, data.len());
        self.tap_stream(host, link, false, data.len());
        if let Some(oracle) = &mut self.oracle {
            oracle.bytes_out(host, (self.now, local), link, &data);
        }
        let Some(stream) = self.streams.get(&(host, link)).copied() else { return };
        if stream.server.is_some() {
            return self.write_to_server(End { host, link, number: stream.number }, &data);
        }
        let Some(peer) = stream.peer.and_then(|(peer, peer_link)| self.end(peer, peer_link)) else { return };
        if peer.number != stream.number {
            return;
        }
        let mut rest = &data[..];
        let mut at = stream.clear_at.max(self.now + self.link.delay);
        at = at.max(self.parted(host, peer.host).unwrap_or(at));
        let breaks = self.link.pipe.breaks(rest.len(), &mut self.rng);
        rest = &rest[..breaks.unwrap_or(rest.len())];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(self.link.pipe.piece(rest.len(), &mut self.rng));
            self.push(at, What::Bytes { end: peer, data: piece.to_vec() });
            at += self.link.pipe.pause(&mut self.rng);
            rest = tail;
        }
        if let Some(stream) = self.streams.get_mut(&(host, link)) {
            stream.clear_at = at;
        }
        if breaks.is_some() {
            let end = End { host, link, number: stream.number };
            self.push(at, What::Failed { end: peer, reason: Reason::Reset });
            self.push(at, What::Failed { end, reason: Reason::Reset });
        } else {
            self.write(host, link);
        }
    }

    /// A host closes its end, or its system does.
    pub(super) fn hang_up(&mut self, host: HostId, link: LinkId) {
        self.write(host, link);
        let Some(stream) = self.forget(host, link) else { return };
        if let Some(peer) = stream.peer.and_then(|(peer, link)| self.end(peer, link)) {
            let at = stream.clear_at.max(self.now + self.link.delay);
            let at = at.max(self.parted(host, peer.host).unwrap_or(at));
            if peer.number == stream.number {
                self.push(at, What::Eof(peer));
            }
        }
    }

    /// A host is gone and nobody hears of it.
    pub(super) fn fall_silent(&mut self, host: HostId, link: LinkId) {
        let Some(stream) = self.forget(host, link) else { return };
        if let Some(there) = stream.peer.and_then(|peer| self.streams.get_mut(&peer))
            && there.number == stream.number
        {
            there.peer = None;
        }
    }

    fn forget(&mut self, host: HostId, link: LinkId) -> Option<Stream> {
        let stream = self.streams.remove(&(host, link))?;
        self.shaking.remove(&(host, link));
        self.note(host, || format!("stream {} is closed here", stream.number));
        if let Some(servers) = self.servers.as_mut().filter(|_| stream.server.is_some()) {
            servers.on_gone(stream.number);
        }
        if let Some(oracle) = &mut self.oracle {
            oracle.closed(host, link);
        }
        Some(stream)
    }

    /// The stream of an end, if that is still the same.
    pub(super) fn live(&self, end: End) -> Option<Stream> {
        self.streams.get(&(end.host, end.link)).copied().filter(|stream| stream.number == end.number)
    }

    /// Where packets from a host's address to `to` seem to come from. `None`: its box has no room.
    fn seen_from(&mut self, host: HostId, inside: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        match self.hosts[host.0].behind {
            None => Some(inside),
            Some(id) => self.boxes[id.0].outbound(self.now, inside, to),
        }
    }

    /// The host at a public address.
    fn owner(&self, addr: SocketAddr) -> Option<HostId> {
        self.by_addr.get(&addr).copied()
    }

    pub(super) fn box_at(&self, ip: IpAddr) -> Option<BoxId> {
        self.boxes.iter().position(|it| it.outside() == ip).map(BoxId)
    }

    /// The socket at a private address.
    fn behind(&self, id: BoxId, inside: SocketAddr) -> Option<(HostId, SocketId)> {
        let mut hosts = self.hosts.iter().enumerate().filter(|(_, host)| host.behind == Some(id));
        hosts.find_map(|(index, host)| host.socket_at(inside).map(|socket| (HostId(index), socket)))
    }

    /// Until when nothing passes between two hosts.
    fn parted(&self, one: HostId, other: HostId) -> Option<Instant> {
        self.partitions.iter().filter_map(|it| it.parts(self.now, one.0, other.0)).max()
    }

    fn tap_stream(&mut self, host: HostId, link: LinkId, inbound: bool, len: usize) {
        let Some(stream) = self.streams.get(&(host, link)) else { return };
        let (number, remote) = (stream.number, stream.remote);
        self.tap(host, remote, Some(number), inbound, len);
    }

    fn tap(&mut self, host: HostId, remote: SocketAddr, stream: Option<u64>, inbound: bool, len: usize) {
        if let Some(tap) = &mut self.tap {
            tap(Packet { at: self.now, host, remote, stream, inbound, len });
        }
    }
}

/// First byte of the addresses from which copies come that nobody there has sent.
const STRANGERS: u8 = 66;
/// What a socket's buffer holds while nobody reads it.
const BACKLOG_MAX: u32 = 200;
/// Who is not let in waits; a host that accepts again finds them there.
const KNOCKS_AGAIN: Duration = Duration::from_millis(50);
