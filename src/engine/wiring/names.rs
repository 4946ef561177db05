//! `dns` meets the driver, the commands and the DHT: its sockets and connections are opened, and
//! what it finds goes to whoever asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Cx, Instant, Path, Slots, SocketId, Token};
use crate::dns::{self, Dns, Event, Looked, User, Variant, Wish};
use crate::engine::Engine;
use crate::engine::io::{
    Answer, BindFault, CommandId, Event as Live, LinkId, NameQuestion, Output, Reason, Setting,
};
use crate::engine::links::Machine;
use crate::engine::wiring::local::Awaited;
use crate::model::TlsWish;
use crate::preconnect::{Key, Protocol};
use crate::wire::dns::{Kind, Name};

/// The room and what of it belongs to the engine's other parts.
pub(in crate::engine) struct Names {
    pub(in crate::engine) dns: Dns,
    pub(in crate::engine) awaited: Awaited,
    /// Zones of which the archive lost something.
    pub(in crate::engine) lost: BTreeSet<Box<[u8]>>,
    /// The link of each connection to a forwarder.
    conns: BTreeMap<Token, LinkId>,
    /// Bytes of answers that waited and were handed to connections, and at which time.
    pub(in crate::engine) frames: (Instant, usize),
    /// What is waited for before names are answered.
    starting: Option<Starting>,
    /// What look-ups under way are for.
    wanted: Slots<Wanted>,
    /// Bootstrap hosts that have no address yet.
    hosts: Vec<(String, u16)>,
    hosts_at: Instant,
    pause: Duration,
}

/// A start at which not everything is in place yet.
struct Starting {
    until: Instant,
    /// Servers, search suffixes and the hosts file are known.
    has_system: bool,
    /// Zones and lists are in use.
    has_local: bool,
}

enum Wanted {
    Command(CommandId),
    Bootstrap(String, u16),
    Download(Token),
    /// A connection is to be opened.
    Dial(Token),
}

impl Names {
    /// `waits`: since when zones, lists and servers are waited for.
    pub(in crate::engine) fn new(dns: Dns, waits: Option<Instant>) -> Self {
        let starting =
            waits.map(|now| Starting { until: now + START_WITHIN, has_system: false, has_local: false });
        Self {
            dns,
            frames: (Instant(0), 0),
            starting,
            awaited: Awaited::default(),
            lost: BTreeSet::new(),
            conns: BTreeMap::new(),
            wanted: Slots::default(),
            hosts: Vec::new(),
            hosts_at: Instant::FAR,
            pause: FIRST_RETRY,
        }
    }

    /// When something is to be done.
    pub(in crate::engine) fn next_deadline(&self) -> Option<Instant> {
        let hosts = Some(self.hosts_at).filter(|at| *at < Instant::FAR);
        let download = self.dns.next_download();
        let starting = self.starting.as_ref().map(|starting| starting.until);
        let settled =
            self.dns.listener.as_ref().filter(|listener| listener.has_settled()).map(|_| Instant(0));
        self.dns
            .resolver
            .next_deadline()
            .into_iter()
            .chain(hosts)
            .chain(download)
            .chain(starting)
            .chain(settled)
            .min()
    }

    /// Whether what answers names is in place, or did not come in time.
    pub(in crate::engine) fn is_in_place(&self, now: Instant) -> bool {
        self.starting.as_ref().is_none_or(|starting| now >= starting.until)
    }

    /// Zones and lists are in use: true if that ends a start.
    pub(in crate::engine) fn local_is_in_place(&mut self) -> bool {
        let Some(starting) = &mut self.starting else { return false };
        let first = !std::mem::replace(&mut starting.has_local, true);
        self.end_start();
        first
    }

    fn end_start(&mut self) {
        self.starting.take_if(|starting| starting.has_system && starting.has_local);
    }

    fn begin(&mut self, wanted: Wanted) -> u64 {
        self.wanted.insert(wanted).pack()
    }

    /// Whoever is there to be asked now may know the bootstrap hosts that are still wanted.
    fn try_hosts_now(&mut self, now: Instant) {
        if !self.hosts.is_empty() {
            self.hosts_at = self.hosts_at.min(now);
        }
    }
}

impl Engine {
    /// A datagram came to a socket that is not of the DHT.
    pub(in crate::engine) fn on_names_datagram(&mut self, path: Path, data: &[u8]) {
        let (names, mut cx) = self.names_cx();
        names.dns.resolver.on_datagram(&mut cx, path, data);
        self.drain_names();
    }

    /// A datagram of ours came back; others than questions about names are not told of.
    pub(in crate::engine) fn on_undelivered(&mut self, path: Path, sent: &[u8], reason: Reason) {
        let (names, mut cx) = self.names_cx();
        let failure = match reason {
            Reason::Refused => dns::Failure::Refused,
            Reason::Reset | Reason::Unreachable | Reason::NoResources => dns::Failure::Unreachable,
        };
        names.dns.resolver.on_undelivered(&mut cx, path, sent, failure);
        self.drain_names();
    }

    pub(in crate::engine) fn on_bound(&mut self, socket: SocketId, bound: Result<SocketAddr, BindFault>) {
        let bound = bound.map(|_| ()).map_err(|fault| fault == BindFault::InUse);
        let (names, mut cx) = self.names_cx();
        names.dns.resolver.on_bound(&mut cx, socket, bound);
        self.drain_names();
    }

    /// A connection to a forwarder may be written on.
    pub(in crate::engine) fn names_ready(&mut self, conn: Token) {
        self.names.dns.resolver.on_ready(conn);
        self.drain_names();
    }

    /// Bytes of a connection to a forwarder; it is closed if they are no DNS.
    pub(in crate::engine) fn names_received(&mut self, id: LinkId, conn: Token, data: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let resolver = &mut self.names.dns.resolver;
        let mut cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        let goes_on = link.feed(data, |_, bytes| resolver.on_bytes(&mut cx, conn, bytes).ok());
        if !goes_on {
            self.close(id);
            self.names_lost(conn, false);
        }
        self.drain_names();
    }

    /// A connection to a forwarder is gone.
    pub(in crate::engine) fn names_lost(&mut self, conn: Token, refused: bool) {
        self.names.conns.remove(&conn);
        let (names, mut cx) = self.names_cx();
        names.dns.resolver.conn_lost(&mut cx, conn, refused);
        self.drain_names();
    }

    pub(in crate::engine) fn names_deadline(&mut self, now: Instant) {
        let (names, mut cx) = self.names_cx();
        if names.starting.take_if(|starting| starting.until <= now).is_some() {
            log::warn!("zones and lists are still being read: names are answered without them meanwhile");
        }
        names.dns.resolver.on_deadline(&mut cx);
        if self.names.hosts_at <= now {
            self.names.hosts_at = Instant::FAR;
            let hosts = std::mem::take(&mut self.names.hosts);
            hosts
                .into_iter()
                .for_each(|(host, port)| self.look_up_host(&host.clone(), Wanted::Bootstrap(host, port)));
        }
        self.drain_names();
        if self.names.dns.next_download().is_some_and(|at| at <= now) {
            self.fetch_lists(now);
        }
    }

    /// The next question to a forwarder.
    pub(in crate::engine) fn names_transmit(&mut self, scratch: &mut [u8]) -> Option<(Path, usize)> {
        if let Some(sent) = self.client_transmit(scratch) {
            return Some(sent);
        }
        let (names, mut cx) = self.names_cx();
        let sent = names.dns.resolver.poll_transmit(&mut cx, scratch);
        self.drain_names();
        sent
    }

    /// Bootstrap nodes by name: looked up until each has had an answer.
    pub(in crate::engine) fn bootstrap_hosts(&mut self, hosts: Vec<(String, u16)>) {
        for (host, port) in hosts.into_iter().take(HOSTS_MAX) {
            self.look_up_host(&host.clone(), Wanted::Bootstrap(host, port));
        }
        self.drain_names();
    }

    pub(in crate::engine) fn resolve(&mut self, id: CommandId, question: NameQuestion) {
        match question {
            NameQuestion::Host(host) => self.look_up_host(&host, Wanted::Command(id)),
            NameQuestion::Records(name, kind) => self.ask_records(id, &name, kind),
        }
        self.drain_names();
    }

    /// The host of something that is to be got.
    pub(in crate::engine) fn look_up_download(&mut self, host: &str, download: Token) {
        self.look_up_host(host, Wanted::Download(download));
        self.drain_names();
    }

    /// What is remembered of names.
    pub(in crate::engine) fn summarise_names(&mut self, id: CommandId) {
        let summary = Box::new(self.names.dns.resolver.summary());
        self.outbox.push_back(Output::Answer(id, Answer::Cache(summary)));
        self.end_command(id, true);
    }

    /// Changes whom the resolver asks, and what it need not ask for.
    pub(in crate::engine) fn set_names(&mut self, system: dns::System) {
        let (names, mut cx) = self.names_cx();
        names.dns.local.clone_from(&system.local);
        if let Some(listener) = &mut names.dns.listener {
            listener.set_own_networks(system.networks.clone());
        }
        let others = names.dns.resolver.set_system(&mut cx, system);
        names.try_hosts_now(cx.now);
        if let Some(starting) = &mut names.starting {
            starting.has_system = true;
        }
        names.end_start();
        if others {
            self.tell_setting(Setting::Forwarders);
        }
        self.drain_names();
    }

    /// Ends every look-up and closes what belongs to them.
    pub(in crate::engine) fn stop_names(&mut self, now: Instant) {
        self.names.dns.resolver.stop(now);
        self.drain_names();
        self.names.hosts_at = Instant::FAR;
    }

    /// Hands the archive the answers that it does not have yet.
    pub(in crate::engine) fn save_answers(&mut self) {
        let answers = self.names.dns.resolver.take_unsaved(self.now, self.unix);
        self.persist.answers(answers);
    }

    /// The name of a connection that is to be opened.
    pub(in crate::engine) fn look_up_dial(&mut self, host: &str, dial: Token) {
        let user = self.names.begin(Wanted::Dial(dial));
        let (names, mut cx) = self.names_cx();
        names.dns.look_up_early(&mut cx, host, user);
        self.drain_names();
    }

    fn ask_records(&mut self, id: CommandId, name: &Name, kind: Kind) {
        let (names, mut cx) = self.names_cx();
        names.dns.resolve(&mut cx, (name, kind, Variant::default()), User::Command(id.0));
    }

    fn look_up_host(&mut self, host: &str, wanted: Wanted) {
        let user = self.names.begin(wanted);
        let (names, mut cx) = self.names_cx();
        names.dns.look_up(&mut cx, host, user);
    }

    /// What the resolver wishes, and what it has found.
    pub(in crate::engine) fn drain_names(&mut self) {
        while let Some(wish) = self.names.dns.resolver.poll_wish() {
            self.grant(wish);
        }
        loop {
            let (names, mut cx) = self.names_cx();
            let Some(event) = names.dns.poll_event(&mut cx) else { break };
            match event {
                Event::Resolved(User::Command(id), resolved) => {
                    let found = resolved.result.as_ref().is_ok_and(|given| !given.answer.negative);
                    self.outbox.push_back(Output::Answer(CommandId(id), Answer::Records(resolved)));
                    self.end_command(CommandId(id), found);
                }
                Event::Resolved(User::Host(_) | User::Client(_) | User::Alias(_), _) => {}
                Event::Threat(facts) => self.outbox.push_back(Output::Event(Live::Threat(facts))),
                Event::Forwarder { name, addr, up } => {
                    let state = if up { "answers again" } else { "does not answer" };
                    log::warn!("the DNS server {name} ({addr}) {state}");
                    if up {
                        self.names.try_hosts_now(self.now);
                    }
                    self.outbox.push_back(Output::Event(Live::Forwarder { name, addr, up }));
                }
            }
        }
        while let Some((user, looked)) = self.names.dns.poll_looked() {
            self.on_looked(user, looked);
        }
        while let Some(wish) = self.names.dns.resolver.poll_wish() {
            self.grant(wish);
        }
    }

    fn on_looked(&mut self, user: u64, looked: Box<Looked>) {
        if let Some(Wanted::Dial(dial)) = self.names.wanted.get(Token::unpack(user)) {
            let dial = *dial;
            if looked.complete {
                self.names.wanted.remove(Token::unpack(user));
            }
            return self.dial_looked(dial, &looked);
        }
        match self.names.wanted.remove(Token::unpack(user)) {
            Some(Wanted::Command(id)) => {
                let found = !looked.addresses.is_empty();
                self.outbox.push_back(Output::Answer(id, Answer::Looked(looked)));
                self.end_command(id, found);
            }
            Some(Wanted::Bootstrap(host, port)) if looked.addresses.is_empty() => {
                log::debug!("bootstrap host {host} has no address now: {:?}", looked.failure);
                if self.names.hosts_at == Instant::FAR {
                    self.names.hosts_at = self.now + self.names.pause;
                    self.names.pause = (self.names.pause * 2).min(RETRY_MAX);
                }
                self.names.hosts.push((host, port));
            }
            Some(Wanted::Bootstrap(_, port)) => {
                let addresses = looked.addresses.iter().take(ADDRESSES_MAX);
                let found: Vec<_> = addresses.map(|(ip, _)| SocketAddr::new(*ip, port)).collect();
                self.dht.bootstrap(&found, self.now);
            }
            Some(Wanted::Download(token)) => self.download_looked(token, &looked),
            Some(Wanted::Dial(_)) | None => {}
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Bind(socket, addr) => self.outbox.push_back(Output::Bind(socket, addr)),
            Wish::Unbind(socket) => self.outbox.push_back(Output::Unbind(socket)),
            Wish::Connect { conn, to, tls } => {
                if let Some(server) = &tls
                    && self.adopt_for_names(conn, to, server)
                {
                    return;
                }
                let link = self.links.insert(Machine::Names(conn, tls.is_some()), to, false);
                self.names.conns.insert(conn, link);
                let tls = tls.map(|server| {
                    Box::new(TlsWish { server: server.to_string(), alpn: vec![b"dot".to_vec()] })
                });
                self.outbox.push_back(Output::Connect { link, from: None, to, tls });
            }
            Wish::Write(conn) => {
                let link = self.names.conns.get(&conn).copied();
                self.outbox.extend(link.map(Output::Write));
            }
            Wish::Close(conn) => {
                if let Some(id) = self.names.conns.remove(&conn) {
                    self.close(id);
                }
            }
        }
    }

    /// Takes a parked connection to a forwarder; false if there is none.
    fn adopt_for_names(&mut self, conn: Token, to: SocketAddr, server: &str) -> bool {
        let key = Key { host: server.to_owned(), port: to.port(), tls: Some(Protocol::Dot.spoken_by_us()) };
        let Some((link, _)) = self.take_parked(&key, Some(to)) else { return false };
        self.links.change(link, Machine::Names(conn, true));
        self.names.conns.insert(conn, link);
        self.names.dns.resolver.on_ready(conn);
        true
    }

    pub(in crate::engine) fn end_command(&mut self, id: CommandId, found: bool) {
        self.outbox.push_back(Output::Answer(id, Answer::Done { found, answered: 0 }));
    }

    pub(in crate::engine) fn names_cx(&mut self) -> (&mut Names, Cx<'_>) {
        let cx = Cx { now: self.now, unix: self.unix, rng: &mut self.rng, buckets: &mut self.buckets };
        (&mut self.names, cx)
    }
}

/// Zones and lists of a million lines are read by then; whoever asks has given up.
const START_WITHIN: Duration = Duration::from_secs(10);
/// The most bootstrap hosts that are taken; the default list has fewer than ten.
const HOSTS_MAX: usize = 64;
/// The most addresses of one name; those known have one or two.
const ADDRESSES_MAX: usize = 16;
/// A laptop's network is usually there within seconds of waking.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// Without these hosts there may be no way into the network; a few questions a minute burden nobody.
const RETRY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    use crate::base::UnixTime;
    use crate::dns::{ForwarderConfig, System};
    use crate::engine::config::Config;
    use crate::engine::io::{Command, Input};
    use crate::model::Recovered;

    #[test]
    fn whom_to_ask_is_a_setting_and_told_when_it_changes() {
        let (now, unix) = (Instant::from_millis(1_000), UnixTime(1_000));
        let config = Config::one_off(Vec::new());
        let mut engine = Engine::new(config, Recovered::default(), [7; 32], now, unix);
        let mut told = |host: u8| {
            let forwarders = vec![ForwarderConfig::plain(([127, 0, 0, host], 53).into())];
            let system = System { forwarders, ..System::default() };
            engine.handle(now, unix, Input::Command(Command::SetNames(Box::new(system))), &mut []);
            let outputs = std::iter::from_fn(|| Some(engine.poll(now, unix, &mut [0; 2_048])));
            outputs
                .take_while(|output| !matches!(output, Output::Idle(_)))
                .filter(|output| matches!(output, Output::Event(Live::Setting(Setting::Forwarders))))
                .count()
        };
        assert_eq!([told(1), told(1), told(2)], [1, 0, 1]);
    }
}
