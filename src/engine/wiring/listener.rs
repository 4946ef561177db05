//! Clients that ask for names meet the driver: their datagrams and connections, and the answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::{Cx, Instant, Path};
use crate::dns::listener::{Client, Listener, Outgoing};
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
        if self.stopping {
            return None;
        }
        self.make_place(now, remote.ip());
        let listener = self.names.dns.listener.as_mut()?;
        if !listener.admit(remote.ip()) {
            return None;
        }
        let mut client = Client::new(remote.ip(), now);
        client.set_idle_max(listener.idle_max(), now);
        Some(self.links.insert(Machine::Client(Box::new(client)), remote, true))
    }

    /// If all places are taken, closes connections that were idle for longest among those of the client
    /// with the most.
    fn make_place(&mut self, now: Instant, ip: IpAddr) {
        let listener = self.names.dns.listener.as_ref();
        let Some((of, idle)) = listener.and_then(|listener| listener.crowded_by(ip)) else { return };
        let others =
            self.links.clients().filter(|(_, client)| of.is_none_or(|of| Listener::is_of(of, client.ip)));
        let idle_since = others.filter_map(|(id, client)| Some((client.idle_since()?, id)));
        let mut idle: Vec<_> = idle_since.filter(|(since, _)| *since + idle <= now).collect();
        idle.sort_unstable();
        // Looking for them takes its time: several at once.
        let most = (idle.len() / 2).clamp(1, PLACES_AT_ONCE);
        idle.into_iter().take(most).for_each(|(_, id)| self.close(id));
    }

    pub(in crate::engine) fn client_received(&mut self, id: LinkId, data: &[u8], now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let dns = &mut self.names.dns;
        let idle_max = dns.listener.as_ref().map_or(Duration::ZERO, |listener| listener.idle_max());
        let mut cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        let goes_on = link.feed(data, |machine, bytes| {
            let Machine::Client(client) = machine else { return None };
            let ip = client.ip;
            client.set_idle_max(idle_max, now);
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
        if self.names.frames.0 != self.now {
            self.names.frames = (self.now, 0);
        }
        // So many may wait for one large answer that all of them take their time: the others' turn comes
        // in between ([`Listener::has_settled`]).
        while self.names.frames.1 < FRAMES_AT_ONCE {
            let (names, mut cx) = self.names_cx();
            match names.dns.poll_reply(&mut cx, scratch)? {
                Outgoing::Datagram(path, len) => return Some((path, len)),
                Outgoing::Frame(conn, answer) => {
                    self.names.frames.1 += answer.as_ref().map_or(0, |answer| answer.len());
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
        None
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

/// Bytes of answers over TCP that had to wait and are written at one time.
const FRAMES_AT_ONCE: usize = 256 << 10;
/// Connections that are closed in one go to make room.
const PLACES_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::base::UnixTime;
    use crate::engine::config::Config;
    use crate::engine::io::{AcceptorId, Input, Output};
    use crate::model::Recovered;

    const QUERY: &[u8] = b"\0\x1b\0\x09\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";

    struct World {
        engine: Engine,
        now: Instant,
        closed: Vec<LinkId>,
    }

    impl World {
        fn new() -> Self {
            let (now, unix) = (Instant::from_millis(1_000), UnixTime(1_000));
            let config =
                Config { dns_listen: vec![([127, 0, 0, 1], 53).into()], ..Config::one_off(Vec::new()) };
            let engine = Engine::new(config, Recovered::default(), [7; 32], now, unix);
            Self { engine, now, closed: Vec::new() }
        }

        fn open(&mut self, ip: [u8; 4], port: u16) -> Option<LinkId> {
            let link = self.engine.admit(self.now, AcceptorId(0), (ip, port).into());
            self.drain();
            link
        }

        fn drain(&mut self) {
            loop {
                match self.engine.poll(self.now, UnixTime(1_000), &mut [0; 2_048]) {
                    Output::Idle(_) => return,
                    Output::Close(id) => self.closed.push(id),
                    _ => {}
                }
            }
        }

        /// Asks on a connection; whether an answer is written.
        fn ask(&mut self, id: LinkId) -> bool {
            let before = self.engine.send_queue(id).map_or(0, crate::base::SendQueue::len);
            self.engine.handle(self.now, UnixTime(1_000), Input::Received(id, QUERY), &mut []);
            self.drain();
            self.engine.send_queue(id).is_some_and(|queue| queue.len() > before)
        }
    }

    #[test]
    fn idle_connections_give_their_places_to_those_that_ask() {
        let mut world = World::new();
        let mut taken = 0;
        for port in 0..1_100 {
            taken += usize::from(world.open([10, 0, 0, (port % 64) as u8], 1_000 + port).is_some());
        }
        assert!(taken > 1_000, "{taken} places are taken");
        // Ten households come, and each of them asks.
        for host in 0..10 {
            let id = world.open([10, 1, 0, host], 4_000).expect("there is a place");
            assert!(world.ask(id), "and an answer");
        }
        assert!(world.closed.len() <= PLACES_AT_ONCE, "no more are closed than came: {}", world.closed.len());
        // Those that ask keep their places when the idle ones come again.
        for port in 0..1_100 {
            world.open([10, 2, (port >> 8) as u8, port as u8], 1_000);
        }
        let asking =
            world.engine.links.clients().filter(|(_, client)| client.ip.to_string().starts_with("10.1."));
        assert_eq!(asking.count(), 10);
    }

    /// However many addresses they come from.
    #[test]
    fn idle_connections_of_a_thousand_addresses_keep_none_out_for_long() {
        let mut world = World::new();
        let crowd = |world: &mut World, round: u8| {
            (0..1_100_u16)
                .for_each(|host| _ = world.open([10, 3 + round, (host >> 8) as u8, host as u8], 1_000));
        };
        crowd(&mut world, 0);
        assert!(world.open([10, 1, 0, 1], 4_000).is_none(), "they may be about to ask");
        for round in 1..20 {
            world.now += Duration::from_millis(300);
            let id = world.open([10, 1, 0, round], 4_000).expect("there is a place");
            assert!(world.ask(id));
            crowd(&mut world, round);
        }
    }

    #[test]
    fn when_places_are_few_idle_ones_end_sooner() {
        let mut world = World::new();
        let first = world.open([10, 0, 0, 1], 1).unwrap();
        for port in 0..1_000 {
            world.open([10, 0, 1, (port % 64) as u8], 1_000 + port);
        }
        let open = |world: &World| world.engine.links.clients().count();
        let before = open(&world);
        world.now += Duration::from_secs(10);
        world.drain();
        assert!(open(&world) < before * 3 / 4, "{} of {before} are left", open(&world));
        assert!(!world.closed.contains(&first), "it came when there was room for all");
    }
}
