//! `metadata` meets the archive: connections are opened, torrents are verified, parsed,
//! filtered and handed over.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{InfoHash, Instant, Scope};
use crate::engine::io::{Event as Live, Job, LinkId, NotKept, Output, Proving};
use crate::engine::links::{Link, Machine};
use crate::engine::stats::LimitedBy;
use crate::engine::{Engine, io::Reason};
use crate::metadata::queue::Failure;
use crate::metadata::{Assembled, Event, Fetch, Limits, METADATA_MAX, Progress, Proved, Step, Why, read};
use crate::model::{Drop, Torrent};

impl Engine {
    /// Opens as many connections as limits and work allow.
    pub(in crate::engine) fn start_fetches(&mut self, now: Instant) {
        while self.may_fetch(now) {
            let half_open = self.config.rates.half_open;
            let busy = |peer: SocketAddr| {
                self.links.hosts.is_busy(peer.ip(), now) || self.links.is_crowded(peer, half_open)
            };
            let Some((hash, to)) = self.queue.next_connect(now, busy) else { return };
            let mut from = self.config.listen.iter().map(|listen| listen.ip());
            let from = from.find(|ip| Scope::may_contact(*ip, to) && !ip.is_unspecified());
            let size_max = usize::try_from(self.config.metadata_max).unwrap_or(METADATA_MAX);
            let limits = Limits { from: to.ip(), size_max: size_max.min(METADATA_MAX) };
            let within = (self.queue.timeouts(), limits);
            let fetch = Fetch::new(hash, self.peer_id(), within, &self.budget, now);
            let link = self.links.insert(Machine::Fetch(Box::new(fetch)), to, false);
            self.buckets.flows.send(now, Link::flow(link));
            self.stats.fetches += 1;
            self.outbox.push_back(Output::Connect { link, from, to, tls: None });
        }
    }

    pub(in crate::engine) fn wants_work(&self) -> bool {
        self.config.fetch
            && !self.paused
            && !self.stopping
            && !self.persist.disk_low
            && !self.persist.disk_full
    }

    /// What a fetch has to say after its machine was touched.
    pub(in crate::engine) fn drain_fetch(&mut self, id: LinkId, now: Instant) {
        loop {
            let Some(link) = self.links.get_mut(id) else { return };
            let remote = link.remote;
            let Machine::Fetch(fetch) = &mut link.machine else { return };
            let hash = fetch.hash();
            let took = fetch.poll_took();
            let event = fetch.poll_event();
            if let Some((step, took)) = took {
                self.queue.observe(step, took);
                if step == Step::Handshake {
                    self.links.handshake_done(id);
                    self.queue.host_has_room(remote.ip(), now);
                }
            }
            match event {
                None => return,
                Some(Event::PexPeers(peers)) => {
                    let peers = self.contactable(&peers);
                    self.queue.peers_found(hash, &peers, now);
                }
                Some(Event::Verified(raw, hashes)) => {
                    self.close(id);
                    let proved = read(raw, hashes, &self.config.filter);
                    self.on_proved(hash, remote, proved, now);
                }
                Some(Event::Assembled(assembled)) => return self.begin_proof(id, assembled),
                Some(Event::Failed(why)) => {
                    self.close(id);
                    self.fetch_failed(hash, remote, why, now);
                }
            }
        }
    }

    /// The driver lost the stream of a fetch, or never had it.
    pub(in crate::engine) fn fetch_closed(&mut self, link: &Link, reason: Reason, now: Instant) {
        let Machine::Fetch(fetch) = &link.machine else { return };
        let why = match (reason, fetch.step()) {
            (Reason::NoResources, _) => Why::NoRoom,
            (Reason::Refused | Reason::Reset, _) if !link.open => Why::Refused,
            (Reason::Unreachable, _) if !link.open => Why::Unreachable,
            (_, step) => Why::Closed(step.unwrap_or(Step::Pieces)),
        };
        self.fetch_failed(fetch.hash(), link.remote, why, now);
    }

    fn fetch_failed(&mut self, hash: InfoHash, remote: SocketAddr, why: Why, now: Instant) {
        let early = why == Why::Closed(Step::Handshake);
        if early && self.links.hosts.closed_early(remote.ip(), now) {
            // Some take one handshake from an address at a time.
            self.stats.fetches_crowded += 1;
            self.queue.failed(hash, remote, Failure::Crowded, now);
        } else {
            self.stats.fetches_failed += 1;
            self.stats.fetch_failures.add(why.kind());
            self.stats.wrong_metadata += u64::from(why == Why::WrongHash);
            self.queue.failed(hash, remote, why.into(), now);
            self.answer_failure(&hash, remote, why);
        }
        self.queue.host_has_room(remote.ip(), now);
    }

    /// When memory is short, the slowest of those that have had time makes room.
    pub(in crate::engine) fn evict_slowest(&mut self, now: Instant) {
        if self.evict_at > now || !self.budget.is_short() {
            return;
        }
        self.evict_at = now + EVICT_EVERY;
        let slowest =
            self.links.fetch_progress().filter(|(_, progress)| now.since(progress.since) >= EVICT_AFTER);
        let rate = |progress: Progress| {
            progress.arrived_bytes as u64 * 1_000 / now.since(progress.since).as_millis().max(1) as u64
        };
        let Some(id) = slowest.min_by_key(|(_, progress)| rate(*progress)).map(|(id, _)| id) else { return };
        if let Some(Machine::Fetch(fetch)) = self.links.get_mut(id).map(|link| &mut link.machine) {
            fetch.evict();
        }
        self.drain_fetch(id, now);
    }

    /// Ends what else was tried for a torrent that has come.
    pub(in crate::engine) fn close_others(&mut self, hash: InfoHash) {
        for id in self.links.fetching(hash) {
            self.close(id);
        }
    }

    /// Closes the stream but keeps its link, so that what comes of the work finds its way back, or
    /// nobody if the torrent has come from elsewhere.
    fn begin_proof(&mut self, id: LinkId, assembled: Assembled) {
        if let Some(link) = self.links.get_mut(id) {
            link.proving = true;
        }
        self.outbox.push_back(Output::Close(id));
        let filter = self.config.filter.clone();
        self.outbox.push_back(Output::Work(Job::Prove(Proving { link: id, assembled, filter })));
    }

    /// What the bytes of a link turned out to be.
    pub(in crate::engine) fn on_bytes_proved(&mut self, link: LinkId, proved: Proved, now: Instant) {
        let Some(link) = self.links.remove(link) else { return };
        self.queue.host_has_room(link.remote.ip(), now);
        let Machine::Fetch(fetch) = &link.machine else { return };
        self.on_proved(fetch.hash(), link.remote, proved, now);
    }

    fn on_proved(&mut self, hash: InfoHash, from: SocketAddr, proved: Proved, now: Instant) {
        let (len, torrent) = match proved {
            Proved::WrongHash => return self.fetch_failed(hash, from, Why::WrongHash, now),
            Proved::NoTorrent(len, error) => (len, Err(error)),
            Proved::Torrent(len, torrent, rule) => (len, Ok((torrent, rule))),
        };
        self.stats.fetched += 1;
        self.credit.repay(&hash, now);
        self.stats.metadata_bytes += len as u64;
        let pending = self.queue.done(hash, from, now);
        self.close_others(hash);
        self.known.insert(&hash);
        self.given_up.remove(&hash);
        match torrent {
            Ok((mut torrent, rule)) => {
                torrent.first_seen = pending.map_or(self.unix, |pending| pending.first_seen);
                torrent.peers = pending.map_or(0, |pending| pending.peers);
                torrent.fetched = self.unix;
                self.keep(hash, torrent, rule);
            }
            Err(error) => {
                log::debug!("{hash} is verified, but no torrent: {error:?}");
                self.stats.unparsable += 1;
                self.persist.given_up(hash);
                self.answer_fetch(&hash, Err(NotKept::NoTorrent(error)));
            }
        }
    }

    fn keep(&mut self, asked: InfoHash, mut torrent: Box<Torrent>, rule: Option<String>) {
        let (merges, names) = self.recognise(asked, &torrent);
        if let Some(rule) = rule {
            self.stats.filtered += 1;
            for name in &names {
                self.answer_fetch(name, Err(NotKept::Filtered(rule.clone())));
            }
            let drop = Drop { infohash: torrent.infohash, rule, at: self.unix };
            self.persist.control(crate::model::StoreOp::Dropped(drop));
            return;
        }
        names.iter().for_each(|name| self.answer_fetch(name, Ok(&torrent)));
        if !merges {
            self.outbox.push_back(Output::Event(Live::Torrent(torrent.infohash)));
            self.refresh.add(torrent.infohash, self.now);
        }
        if !self.config.keep_info {
            torrent.raw = Bytes::new();
        }
        self.persist.torrent(torrent, merges);
    }

    /// A hybrid may have been heard of under both its hashes: neither is fetched again. True if
    /// it was kept under the other before; and all its hashes, since somebody may wait for each.
    fn recognise(&mut self, asked: InfoHash, torrent: &Torrent) -> (bool, Vec<InfoHash>) {
        let v2 = torrent.v2.and_then(|v2| InfoHash::from_slice(&v2[..20]));
        let (mut merges, mut names) = (false, vec![asked]);
        for other in [Some(torrent.infohash), v2].into_iter().flatten().filter(|name| *name != asked) {
            names.push(other);
            merges |= self.known.contains(&other);
            self.known.insert(&other);
            if self.queue.remove(other, self.now).is_some() {
                self.close_others(other);
            }
        }
        (merges, names)
    }

    fn may_fetch(&mut self, now: Instant) -> bool {
        let rates = &self.config.rates;
        let within = |count: usize, cap: usize| cap == 0 || count < cap;
        let limit = if self.persist.disk_low {
            LimitedBy::Disk
        } else if !self.persist.has_credit() {
            LimitedBy::Archive
        } else if !within(self.links.fetches, rates.fetches) {
            LimitedBy::Fetches
        } else if !within(self.links.half_open, rates.half_open) {
            LimitedBy::HalfOpen
        } else if !self.buckets.flows.has_room(now) {
            LimitedBy::Flows
        } else {
            return self.wants_work();
        };
        self.stats.limited_by = limit;
        false
    }

    /// Azureus style, fresh for every connection: nobody can follow us by it.
    fn peer_id(&mut self) -> [u8; 20] {
        let mut id = *b"-DH0001-............";
        self.rng.fill(&mut id[8..]);
        id
    }
}

/// A fetch that has had so long may be compared with others.
const EVICT_AFTER: Duration = Duration::from_secs(2);
/// All fetches are looked at for it.
const EVICT_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    use crate::base::{Id, Path, Rng, SocketId, UnixTime};
    use crate::engine::config::Config;
    use crate::engine::io::{Input, Output};
    use crate::model::archive::{QUEUE_BYTES, QUEUE_OPS};
    use crate::model::{FileList, Recovered, StoreOp, StoreResult, TorrentFlags};

    /// An A query for `localhost`.
    const QUERY: &[u8] = b"\x01\x01\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";

    /// An engine that answers names, and an archive that takes what it has room for and says nothing.
    struct World {
        engine: Engine,
        now: Instant,
        taken: Vec<StoreOp>,
        bytes: u64,
    }

    impl World {
        fn new() -> Self {
            let (now, unix) = (Instant::from_millis(1_000), UnixTime(1_000));
            let dns_listen = vec![([127, 0, 0, 1], 53).into()];
            let config = Config { dns_listen, keep_info: true, ..Config::one_off(Vec::new()) };
            let engine = Engine::new(config, Recovered::default(), [7; 32], now, unix);
            Self { engine, now, taken: Vec::new(), bytes: 0 }
        }

        fn drain(&mut self) {
            loop {
                match self.engine.poll(self.now, UnixTime(1_000), &mut [0; 2_048]) {
                    Output::Idle(_) => return,
                    Output::Store(op) => {
                        self.bytes += op.weight();
                        self.taken.push(op);
                    }
                    _ => {}
                }
            }
        }

        /// Whether a question about a name is answered at once.
        fn answers(&mut self) -> bool {
            let path = Path { socket: SocketId(0), local: None, remote: ([127, 0, 0, 1], 4_000).into() };
            let input = Input::Datagram(path, QUERY);
            let len = self.engine.handle(self.now, UnixTime(1_000), input, &mut [0; 1_500]);
            self.drain();
            len > QUERY.len()
        }
    }

    fn torrent(rng: &mut Rng) -> Box<Torrent> {
        Box::new(Torrent {
            infohash: Id::random(rng),
            v2: None,
            name: b"x".to_vec(),
            size_bytes: 1,
            files: FileList::default(),
            piece_length: 1,
            flags: TorrentFlags::default(),
            first_seen: UnixTime(0),
            fetched: UnixTime(0),
            peers: 0,
            raw: vec![0; 20_000].into(),
        })
    }

    /// For ten minutes, once with a filter that drops everything and once with dictionaries that fill
    /// the queue by their bytes.
    #[test]
    fn an_archive_that_is_stuck_stops_fetching_and_no_name() {
        for dropped in [true, false] {
            let (mut world, mut rng) = (World::new(), Rng::seeded(3));
            let (mut asked, mut answered, mut kept) = (0, 0, 0);
            for _ in 0..60_000 {
                world.now += Duration::from_millis(10);
                // As many torrents as are fetched at once, all of which come.
                let come = if world.engine.persist.has_credit() { 30 } else { 0 };
                for _ in 0..come {
                    let torrent = torrent(&mut rng);
                    world.engine.keep(torrent.infohash, torrent, dropped.then(|| "word x".to_owned()));
                    kept += 1;
                }
                let lost = Id::random(&mut rng);
                world.engine.persist.given_up(lost);
                asked += 1;
                answered += usize::from(world.answers());
            }
            assert_eq!(answered, asked, "every question is answered");
            assert!(world.taken.len() <= QUEUE_OPS && world.bytes <= QUEUE_BYTES, "{}", world.taken.len());
            assert!(!world.engine.persist.has_credit());
            // It goes on: all that was kept arrives, and fetching begins again.
            let mut arrived = 0;
            while !world.engine.persist.is_drained() {
                let count = world.taken.len() as u32;
                let is_torrent = |op: &StoreOp| matches!(op, StoreOp::Torrent(_) | StoreOp::Dropped(_));
                arrived += world.taken.drain(..).filter(is_torrent).count();
                let result = Input::Stored(StoreResult::Committed(count));
                world.engine.handle(world.now, UnixTime(1_000), result, &mut []);
                world.drain();
            }
            assert_eq!(arrived, kept);
            assert!(world.engine.persist.has_credit());
        }
    }
}
