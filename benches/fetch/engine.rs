//! The engine in its reactor, without a crawl and without an archive.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dht_hunter::base::Rng;
use dht_hunter::engine::Engine;
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Answer, Command, CommandId};
use dht_hunter::model::Recovered;
use dht_hunter::reactor::{
    Clock, Gauges, Handle, KeepNothing, Listen, Observer, Reactor, ReactorConfig, listen,
};

use crate::Wish;

/// How many were fetched before all were, or nothing came any more.
pub fn fetch(wish: &Wish) -> u64 {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let reactor = ReactorConfig { listen: vec![Listen { addr, explicit: true }], ..ReactorConfig::default() };
    let clock = Clock::start();
    let listening = listen(&reactor, clock).unwrap();
    let mut config = Config::one_off(listening.bound().to_vec());
    config.rates = Rates { fetches: wish.open, ..Rates::MAX };
    let seed = [7; 32];
    let engine = Engine::new(config, Recovered::default(), seed, clock.now(), clock.unix());
    let handle = listening.handle();
    let archive = KeepNothing::new(listening.wake());
    let ended = AtomicU64::new(0);
    let watch = Watch {
        wanted: wish.torrents.len() as u64,
        fetched: 0,
        at: Instant::now(),
        handle: handle.clone(),
        ended: &ended,
    };
    let mut reactor = Reactor::new(listening, engine, archive, watch);
    std::thread::scope(|scope| {
        scope.spawn(|| feed(wish, &handle, &ended));
        reactor.run();
        // Nothing is taken any more.
        ended.store(u64::MAX / 2, Ordering::Relaxed);
    });
    reactor.observer().fetched
}

/// Hands over all torrents, in a random order, as fast as they are taken.
fn feed(wish: &Wish, handle: &Handle, ended: &AtomicU64) {
    let mut order: Vec<_> = wish.torrents.clone();
    let mut rng = Rng::seeded(1);
    (1..order.len()).for_each(|at| order.swap(at, rng.index(at + 1)));
    for (id, (hash, peer)) in (0..).zip(order) {
        while id >= ended.load(Ordering::Relaxed) + AT_ONCE
            || handle.send(Command::Fetch(CommandId(id), hash, vec![peer])).is_err()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

struct Watch<'a> {
    wanted: u64,
    fetched: u64,
    /// When the last one came.
    at: Instant,
    handle: Handle,
    /// Commands that came to their end.
    ended: &'a AtomicU64,
}

impl Observer<Engine> for Watch<'_> {
    fn on_answer(&mut self, _: CommandId, answer: Answer) {
        if let Answer::Done { .. } = answer {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_gauges(&mut self, engine: &mut Engine, _: &Gauges) {
        let stats = engine.stats();
        if stats.fetched > self.fetched {
            (self.fetched, self.at) = (stats.fetched, Instant::now());
        }
        if self.fetched >= self.wanted || self.at.elapsed() > STALLED_AFTER {
            let _ = self.handle.send(Command::Stop);
        }
    }
}

/// Commands that run at once; the engine takes 1,024.
const AT_ONCE: u64 = 1_000;
/// Longer than the engine waits for any peer.
const STALLED_AFTER: Duration = Duration::from_secs(20);
