//! Clients that ask for names meet the driver: their datagrams and connections, and the answers.

use std::net::SocketAddr;

use crate::base::{Cx, Instant, Path};
use crate::dns::listener::{Client, Outgoing};
use crate::engine::Engine;
use crate::engine::io::LinkId;
use crate::engine::links::Machine;

impl Engine {
    /// A datagram came to a socket of the listener: the length of the direct answer.
    pub(in crate::engine) fn on_client_datagram(
        &mut self,
        path: Path,
        data: &[u8],
        reply: &mut [u8],
    ) -> usize {
        let (names, mut cx) = self.names_cx();
        let len = names.dns.on_query(&mut cx, path, data, reply);
        self.drain_clients();
        len
    }

    /// Somebody opened a connection to the listener.
    pub(in crate::engine) fn admit_client(&mut self, now: Instant, remote: SocketAddr) -> Option<LinkId> {
        let listener = self.names.dns.listener.as_mut().filter(|_| !self.stopping)?;
        if !listener.admit(remote.ip()) {
            return None;
        }
        let client = Machine::Client(Box::new(Client::new(remote.ip(), now)));
        Some(self.links.insert(client, remote, true))
    }

    pub(in crate::engine) fn client_received(&mut self, id: LinkId, data: &[u8], now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let dns = &mut self.names.dns;
        let mut cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        let goes_on = link.feed(data, |machine, bytes| {
            let Machine::Client(client) = machine else { return None };
            let ip = client.ip;
            client.on_bytes(now, bytes, |query| dns.on_stream_query(&mut cx, id.0, ip, query)).ok()
        });
        self.after_machine(id, now);
        if !goes_on {
            self.close(id);
        }
        self.drain_clients();
    }

    /// Some of the answers were written: there is room for more of them, and for more questions.
    pub(in crate::engine) fn client_wrote(&mut self, id: LinkId, now: Instant) {
        self.after_machine(id, now);
        let Some(link) = self.links.get(id) else { return };
        if link.has_rest() && link.machine.wants_read() {
            self.client_received(id, &[], now);
        }
    }

    /// A connection is gone; what still comes for it reaches nothing.
    pub(in crate::engine) fn client_gone(&mut self, client: &Client) {
        if let Some(listener) = &mut self.names.dns.listener {
            listener.gone(client.ip);
        }
    }

    /// The next answer that had to wait, as a datagram; those for connections are handed on.
    pub(in crate::engine) fn client_transmit(&mut self, scratch: &mut [u8]) -> Option<(Path, usize)> {
        loop {
            let (names, mut cx) = self.names_cx();
            match names.dns.poll_reply(&mut cx, scratch)? {
                Outgoing::Datagram(path, len) => return Some((path, len)),
                Outgoing::Frame(conn, answer) => {
                    let (id, now) = (LinkId(conn), self.now);
                    if let Some(Machine::Client(client)) =
                        self.links.get_mut(id).map(|link| &mut link.machine)
                    {
                        client.on_answer(now, answer);
                        self.client_wrote(id, now);
                    }
                }
            }
        }
    }

    /// What the listener's questions led to in the rest of the room.
    fn drain_clients(&mut self) {
        let Some(listener) = &mut self.names.dns.listener else { return };
        if std::mem::take(&mut listener.is_dirty) {
            self.changed = true;
            self.drain_names();
        }
    }
}
