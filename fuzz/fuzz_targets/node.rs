//! A DHT node among others that answer its queries well and badly, ask it, and lie. Its invariants
//! hold after every step, its rates over every window, and everything it began comes to an end.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use dht_hunter::base::{Buckets, Cx, Flows, Id, Instant, Rng, TokenBucket, UnixTime};
use dht_hunter::dht::{Config, Dht, Event, Goal, User};
use dht_hunter_fuzz::crowd::Crowd;
use dht_hunter_fuzz::heap::{self, held_by};
use dht_hunter_fuzz::limits::Window;
use dht_hunter_fuzz::{Feed, peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    heap::within(HELD_MAX, ONCE_MAX, || {
        let mut world = World::new(Feed::new(input));
        while !world.feed.is_empty() && world.steps < STEPS_MAX {
            world.step();
        }
        world.finish();
    });
});

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    rng: Rng,
    buckets: Buckets,
    packets: Window,
    flows_max: usize,
    dht: Dht,
    crowd: Crowd,
    /// Commands under way, and how many ends of each are to come.
    commands: BTreeMap<u64, usize>,
    /// Those of them that are pings.
    pings: BTreeSet<u64>,
    /// Lookups for metadata that have not ended.
    metadata: BTreeMap<Id, usize>,
    steps: usize,
}

impl<'a> World<'a> {
    fn new(mut feed: Feed<'a>) -> Self {
        let mut rng = Rng::seeded(u64::from(feed.u8()));
        let now = Instant::from_millis(1_000);
        let mut listen: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into()];
        match feed.u8() % 4 {
            0 => listen.push(Ipv6Addr::UNSPECIFIED.into()),
            1 => listen.push(Ipv4Addr::new(80, 1, 2, 3).into()),
            _ => {}
        }
        let flags = feed.u8();
        let config = Config {
            listen: listen.clone(),
            read_only: flags & 7 == 7,
            sweep: flags & 8 == 0,
            passive: flags & 16 == 0,
            sweep_window: 1 + feed.below(40),
            nodes_max: 4 + feed.below(300),
            answers: if flags & 32 == 0 { (0, 0) } else { (1 + u32::from(feed.u8() % 8), 10) },
        };
        let (rate, burst) =
            if flags & 64 == 0 { (0, 1) } else { (1 + u64::from(feed.u8()), 1 + u64::from(feed.u8())) };
        let flows_max = if flags & 128 == 0 { 0 } else { 1 + feed.below(60) };
        let mut buckets = Buckets::unlimited(&mut rng);
        buckets.packets_out = TokenBucket::new(rate, burst);
        buckets.flows = Flows::new(flows_max, &mut rng);
        let dht = Dht::new(config, now, &mut rng);
        Self {
            feed,
            now,
            rng,
            buckets,
            packets: Window::new(rate, burst),
            flows_max,
            dht,
            crowd: Crowd::new(listen),
            commands: BTreeMap::new(),
            pings: BTreeSet::new(),
            metadata: BTreeMap::new(),
            steps: 0,
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.feed.u8() % 32 {
            0..=21 => self.datagram(),
            22..=25 => {
                let by = match self.feed.u8() % 4 {
                    0 => Duration::from_secs(u64::from(self.feed.u16())),
                    1 => Duration::from_secs(u64::from(self.feed.u8())),
                    _ => Duration::from_millis(u64::from(self.feed.u8())),
                };
                self.wait(by);
            }
            26..=27 => {
                if let Some((at, _)) = self.dht.next_deadline(self.now) {
                    self.wait(at.since(self.now));
                }
            }
            _ => self.command(),
        }
        self.transmit();
        if self.steps.is_multiple_of(CHECK_EVERY) {
            self.dht.check_invariants();
        }
        assert!(self.flows_max == 0 || self.buckets.flows.len(self.now) <= self.flows_max);
    }

    fn cx(&mut self) -> (&mut Dht, Cx<'_>) {
        let unix = UnixTime(1_790_000_000 + u64::from(self.now.secs()));
        (&mut self.dht, Cx { now: self.now, unix, rng: &mut self.rng, buckets: &mut self.buckets })
    }

    fn datagram(&mut self) {
        let (path, said) = self.crowd.says(&mut self.feed);
        let mut reply = [0; 2_048];
        let (dht, mut cx) = self.cx();
        let (len, held) = held_by(|| dht.on_datagram(&mut cx, path, &said, &mut reply));
        assert!(held.peak <= DATAGRAM_HELD_MAX, "{held:?} for one datagram");
        if len > 0 {
            self.packets.sent(self.now);
            self.crowd.answered(path, &said, &reply[..len]);
        }
        self.events();
    }

    fn wait(&mut self, by: Duration) {
        self.now += by;
        self.crowd.at = u64::from(self.now.secs());
        let (dht, mut cx) = self.cx();
        dht.on_deadline(&mut cx);
        self.events();
        assert!(
            self.dht.next_deadline(self.now).is_none_or(|(at, _)| at > self.now),
            "a deadline lies ahead"
        );
    }

    fn transmit(&mut self) {
        for _ in 0..TRANSMIT_MAX {
            let mut out = [0; 2_048];
            let (dht, mut cx) = self.cx();
            let sent = dht.poll_transmit(&mut cx, &mut out);
            self.events();
            let Some((path, len)) = sent else { return };
            self.packets.sent(self.now);
            self.crowd.sees(path, &out[..len]);
        }
    }

    fn command(&mut self) {
        let number = self.steps as u64;
        let target = match self.feed.u8() % 8 {
            at @ 0..=4 => peer::hash_of(&peer::library()[usize::from(at)]),
            _ => Id(self.feed.array()),
        };
        let v6 = self.feed.one_in(4);
        let addr = self.crowd.addr(&mut self.feed, v6);
        let goal = match self.feed.u8() % 8 {
            0 => return self.dht.bootstrap(&[addr], self.now),
            1 => {
                if self.dht.ping(number, addr) {
                    self.commands.insert(number, 1);
                    self.pings.insert(number);
                }
                return;
            }
            2 => Goal::Nodes,
            3 => Goal::Scrape,
            4 => Goal::Announce(u16::from(self.feed.u8())),
            5 => {
                // One at a time for one torrent, as the queue does it.
                if self.metadata.get(&target).is_some_and(|left| *left > 0) {
                    return;
                }
                let goal = if self.feed.one_in(2) { Goal::PeersAt } else { Goal::Peers };
                let started = self.dht.look_up(target, goal, User::Metadata, &[addr], self.now);
                *self.metadata.entry(target).or_default() += started.min(1);
                return;
            }
            6 => {
                self.dht.set_sweep(self.feed.one_in(2));
                return self.dht.set_window(1 + self.feed.below(40));
            }
            _ => Goal::Peers,
        };
        let started = self.dht.look_up(target, goal, User::Command(number), &[addr], self.now);
        if started > 0 {
            self.commands.insert(number, started);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.dht.poll_event() {
            match event {
                Event::Done(User::Command(number), ..) => self.ended(number),
                Event::NoAnswer(number) => self.ended(number),
                // A ping ends with its answer; the hops of a lookup do not end it.
                Event::Hop(number, ..) if self.pings.contains(&number) => self.ended(number),
                Event::Done(User::Metadata, target, ..) => {
                    let left = self.metadata.get_mut(&target).expect("a lookup that was begun");
                    *left = left.checked_sub(1).expect("it ends once");
                }
                Event::Announced(_, peer) => assert_ne!(peer.port(), 0),
                Event::Accepted(number, _) | Event::Hop(number, ..) => {
                    assert!(self.commands.contains_key(&number), "{event:?} after the end");
                }
                _ => {}
            }
        }
    }

    fn ended(&mut self, number: u64) {
        let left = self.commands.get_mut(&number).expect("a command that was given");
        *left -= 1;
        if *left == 0 {
            self.commands.remove(&number);
        }
    }

    /// Nobody answers any more and nothing new is wanted: all that was begun ends.
    fn finish(&mut self) {
        self.dht.set_sweep(false);
        for _ in 0..SECONDS_TO_END {
            if self.commands.is_empty() && self.metadata.values().all(|left| *left == 0) {
                break;
            }
            self.buckets.packets_out = TokenBucket::unlimited();
            self.buckets.flows.set_cap(0);
            self.packets = Window::new(0, 1);
            self.wait(Duration::from_secs(1));
            self.transmit();
        }
        self.dht.check_invariants();
        assert!(self.commands.is_empty(), "never answered: {:?}", self.commands);
        assert!(self.metadata.values().all(|left| *left == 0), "never done: {:?}", self.metadata);
    }
}

/// Looking at everything takes longer than most steps; what is broken stays so.
const CHECK_EVERY: usize = 4;
const STEPS_MAX: usize = 300;
/// More packets at once than the window and all lookups of one input ask for.
const TRANSMIT_MAX: usize = 400;
/// A lookup asks some dozens of nodes, a few at a time, and each may keep silent for five seconds.
const SECONDS_TO_END: usize = 600;
/// Two directories, two tables and what a few hundred steps can bring.
const HELD_MAX: usize = 8 << 20;
/// Nodes, peers and hashes of one packet, and a chunk of the directory.
const DATAGRAM_HELD_MAX: usize = 256 << 10;
/// What libraries make once, at first use.
const ONCE_MAX: usize = 1_024;
