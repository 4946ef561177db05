//! The contract, proved without a socket: engines meet in virtual time over links that lose,
//! delay and split, and a seed is a run.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dht_hunter::base::{Id, hash};
use dht_hunter::engine::config::{Config, Rates};
use dht_hunter::engine::io::{Answer, Command, CommandId, NotKept, Round};
use dht_hunter::metadata::{Filter, torrent};
use dht_hunter::sim::{HostId, Link, World};

const PING: CommandId = CommandId(1);
const FETCH: CommandId = CommandId(2);

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6881))
}

fn config() -> Config {
    Config::new(Vec::new(), Rates::MAX)
}

/// An info dictionary of `pieces` times 16 KiB and a bit.
fn info(pieces: usize) -> Bytes {
    let hashes = vec![7; 20 * 819 * pieces];
    let head = format!("d6:lengthi1048576e4:name9:test.file12:piece lengthi16384e6:pieces{}:", hashes.len());
    Bytes::from([head.as_bytes(), &hashes, b"e"].concat())
}

fn done(world: &World, host: HostId, id: CommandId) -> Option<bool> {
    world.answers(host).iter().find_map(|(of, answer)| match answer {
        Answer::Done { found, .. } if *of == id => Some(*found),
        _ => None,
    })
}

/// Two engines; the second serves a torrent, the first pings it and fetches the torrent.
fn meeting(seed: u64, link: Link) -> (World, HostId) {
    let mut world = World::new(seed, link);
    let (a, b) = (world.add(addr(1), config()), world.add(addr(2), config()));
    let hash = world.engine_of(b).share(info(3));
    world.command(a, Command::Ping(PING, addr(2)));
    world.command(a, Command::Fetch(FETCH, hash, vec![addr(2)]));
    world.run(Duration::from_secs(120), |world| {
        let asked = done(world, a, PING).is_some() && done(world, a, FETCH).is_some();
        asked && !world.store_of(a).torrents.is_empty()
    });
    (world, a)
}

#[test]
fn two_engines_ping_and_one_fetches_from_the_other() {
    for seed in 0..20 {
        let (mut world, a) = meeting(seed, Link::default());
        assert_eq!(done(&world, a, PING), Some(true), "seed {seed}");
        assert_eq!(done(&world, a, FETCH), Some(true), "seed {seed}");
        let torrent = world.store_of(a).torrents.values().next().expect("stored");
        assert_eq!(torrent.name, b"test.file", "seed {seed}");
        world.engine_of(a).check_invariants();
    }
}

/// v1 and v2 in one dictionary (BEP 52), and its two hashes in the DHT.
fn hybrid() -> (Bytes, [Id; 2]) {
    let root = "r".repeat(32);
    let text = format!(
        "d9:file treed1:ad0:d6:lengthi5e11:pieces root32:{root}eee6:lengthi5e12:meta versioni2e4:name1:a12:piece \
         lengthi16384e6:pieces20:{}e",
        "p".repeat(20)
    );
    let v2 = Id::from_slice(&hash::sha256(text.as_bytes())[..20]).expect("20 bytes");
    (Bytes::from(text.clone()), [Id(hash::sha1(text.as_bytes())), v2])
}

fn said(world: &World, host: HostId, id: CommandId, wanted: impl Fn(&Answer) -> bool) -> bool {
    world.answers(host).iter().any(|(of, answer)| *of == id && wanted(answer))
}

#[test]
fn whoever_waits_for_either_hash_of_a_hybrid_is_answered() {
    for (seed, filtered) in [(0, false), (1, false), (2, true)] {
        let mut world = World::new(seed, Link::default());
        let filter = if filtered { Filter::parse("word a").expect("a filter") } else { Filter::default() };
        let a = world.add(addr(1), Config { filter, ..config() });
        let b = world.add(addr(2), config());
        let (info, [v1, v2]) = hybrid();
        assert_eq!(world.engine_of(b).share(info), v1);
        world.command(a, Command::Fetch(PING, v1, vec![addr(2)]));
        world.command(a, Command::Fetch(FETCH, v2, vec![addr(2)]));
        let both = |world: &mut World| done(world, a, PING).is_some() && done(world, a, FETCH).is_some();
        assert!(world.run(Duration::from_secs(60), both), "seed {seed}: one is never told");
        for id in [PING, FETCH] {
            assert_eq!(done(&world, a, id), Some(!filtered), "seed {seed}");
            let came = said(&world, a, id, |answer| match answer {
                Answer::Torrent(torrent) => torrent.infohash == v1,
                Answer::NotKept(why) => filtered && matches!(**why, NotKept::Filtered(_)),
                _ => false,
            });
            assert!(came, "seed {seed}");
        }
    }
}

#[test]
fn a_verified_dictionary_that_is_no_torrent_is_told_as_such() {
    let mut world = World::new(1, Link::default());
    let (a, b) = (world.add(addr(1), config()), world.add(addr(2), config()));
    let hash = world.engine_of(b).share(Bytes::from_static(b"d4:name1:xe"));
    world.command(a, Command::Fetch(FETCH, hash, vec![addr(2)]));
    assert!(world.run(Duration::from_secs(60), |world| done(world, a, FETCH).is_some()));
    assert_eq!(done(&world, a, FETCH), Some(false));
    let told = |answer: &Answer| matches!(answer, Answer::NotKept(why) if matches!(**why, NotKept::NoTorrent(torrent::Error::NoFiles)));
    assert!(said(&world, a, FETCH, told));
}

#[test]
fn a_filter_that_comes_while_a_command_waits_ends_it() {
    let mut world = World::new(2, Link::default());
    let a = world.add(addr(1), config());
    let hash = Id([5; 20]);
    world.command(a, Command::Fetch(FETCH, hash, vec![addr(9)]));
    world.run(Duration::from_secs(3), |_| false);
    assert_eq!(done(&world, a, FETCH), None);
    world.command(a, Command::SetFilter(Filter::parse(&format!("hash {hash}")).expect("a filter")));
    assert!(world.run(Duration::from_secs(1), |world| done(world, a, FETCH).is_some()));
    assert!(said(&world, a, FETCH, |answer| matches!(answer, Answer::NotKept(_))));
}

#[test]
fn a_command_is_told_when_there_is_nothing_left_to_ask() {
    let mut world = World::new(3, Link::default());
    let hosts: Vec<_> = (1..=10).map(|last| world.add(addr(last), config())).collect();
    let alone = world.add(addr(100), config());
    for host in &hosts[1..] {
        world.command(*host, Command::Bootstrap(vec![addr(1)]));
    }
    world.run(Duration::from_secs(30), |_| false);
    world.command(hosts[2], Command::Fetch(FETCH, Id([7; 20]), Vec::new()));
    world.command(hosts[3], Command::Fetch(FETCH, Id([7; 20]), vec![addr(200)]));
    world.command(alone, Command::Fetch(FETCH, Id([7; 20]), vec![addr(200)]));
    for (host, round) in [(hosts[2], Round::NoPeers), (hosts[3], Round::PeersFailed), (alone, Round::NoNodes)]
    {
        let told = |world: &mut World| {
            said(world, host, FETCH, |answer| matches!(answer, Answer::Round(how) if *how == round))
        };
        assert!(world.run(Duration::from_secs(60), told), "{round:?}");
    }
}

/// Reading it is work for another thread, and serving it takes more than fits into a send queue.
#[test]
fn a_large_dictionary_is_served_and_proved_apart_from_the_loop() {
    for seed in 0..3 {
        let mut world = World::new(seed, Link::default());
        let (a, b) = (world.add(addr(1), config()), world.add(addr(2), config()));
        let hash = world.engine_of(b).share(info(100));
        world.command(a, Command::Fetch(FETCH, hash, vec![addr(2)]));
        let limit = Duration::from_secs(20);
        assert!(world.run(limit, |world| done(world, a, FETCH).is_some()), "seed {seed}");
        world.engine_of(a).check_invariants();
        assert_eq!(world.engine_of(a).stats().fetches_open, 0);
        assert!(world.run(limit, |world| !world.store_of(a).torrents.is_empty()), "seed {seed}");
        assert_eq!(world.store_of(a).torrents[&hash].raw, info(100));
    }
}

#[test]
fn bytes_out_hold_over_streams_in_every_window_and_the_stream_comes_to_its_end() {
    let rate = 100_000;
    let mut world = World::new(4, Link::default());
    let slow = Config::new(Vec::new(), Rates { bytes_out: rate, ..Rates::MAX });
    let (a, b) = (world.add(addr(1), config()), world.add(addr(2), slow));
    let sent = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sent);
    world.set_tap(move |packet| {
        if packet.host == b && !packet.inbound {
            seen.borrow_mut().push((packet.at, packet.len as u64));
        }
    });
    let hash = world.engine_of(b).share(info(100));
    world.command(a, Command::Fetch(FETCH, hash, vec![addr(2)]));
    assert!(world.run(Duration::from_secs(120), |world| done(world, a, FETCH).is_some()));
    assert_eq!(done(&world, a, FETCH), Some(true));
    let sent = sent.borrow();
    let total: u64 = sent.iter().map(|(_, len)| len).sum();
    assert!(total as usize > info(100).len());
    for (at, (start, _)) in sent.iter().enumerate() {
        let mut window = 0;
        for (end, len) in &sent[at..] {
            window += len;
            let allowed = rate * (end.since(*start).as_millis() as u64 + 1) / 1_000;
            assert!(window <= allowed + (64 << 10), "{window} bytes after {start:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_byte_for_byte() {
    let lossy = Link { loss_pct: 10, duplicate_pct: 10, ..Link::default() };
    let run = |seed| {
        let (world, _) = meeting(seed, lossy);
        (world.digest(), world.steps(), world.now())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn a_crowd_of_engines_finds_an_announced_torrent_and_keeps_its_tables() {
    let mut world = World::new(3, Link { loss_pct: 5, ..Link::default() });
    let hosts: Vec<_> = (1..=40).map(|last| world.add(addr(last), config())).collect();
    for host in &hosts[1..] {
        world.command(*host, Command::Bootstrap(vec![addr(1)]));
    }
    world.run(Duration::from_secs(60), |_| false);
    let hash = world.engine_of(hosts[7]).share(info(1));
    world.command(hosts[7], Command::Announce(PING, hash, 0));
    let everywhere = |world: &mut World| {
        hosts.iter().filter(|host| **host != hosts[7]).all(|host| !world.store_of(*host).torrents.is_empty())
    };
    let limit = Duration::from_secs(3_600);
    assert!(world.run(limit, everywhere), "passive and BEP 51 discovery bring it to everybody");
    for host in &hosts {
        world.engine_of(*host).check_invariants();
        assert!(world.engine_of(*host).stats().nodes_table >= 8);
    }
}

#[test]
fn a_restart_needs_no_bootstrap_and_fetches_nothing_twice() {
    let mut world = World::new(5, Link::default());
    let hosts: Vec<_> = (1..=12).map(|last| world.add(addr(last), config())).collect();
    for host in &hosts[1..] {
        world.command(*host, Command::Bootstrap(vec![addr(1)]));
    }
    world.run(Duration::from_secs(30), |_| false);
    let hash = world.engine_of(hosts[3]).share(info(1));
    world.command(hosts[3], Command::Announce(PING, hash, 0));
    assert!(world.run(Duration::from_secs(3_600), |world| !world.store_of(hosts[5]).torrents.is_empty()));
    world.run(Duration::from_secs(70), |_| false);
    let before =
        (world.store_of(hosts[5]).writes, world.engine_of(hosts[5]).node_id(dht_hunter::base::SocketId(0)));
    world.restart(hosts[5], config());
    world.run(Duration::from_secs(900), |_| false);
    assert!(world.engine_of(hosts[5]).stats().nodes_table >= 8, "it found its way back alone");
    let after =
        (world.store_of(hosts[5]).writes, world.engine_of(hosts[5]).node_id(dht_hunter::base::SocketId(0)));
    assert_eq!(before, after, "the same id, and nothing written again");
}

#[test]
fn a_stored_torrent_learns_how_many_have_it() {
    let mut world = World::new(9, Link::default());
    let hosts: Vec<_> = (1..=20).map(|last| world.add(addr(last), config())).collect();
    for host in &hosts[1..] {
        world.command(*host, Command::Bootstrap(vec![addr(1)]));
    }
    world.run(Duration::from_secs(30), |_| false);
    let info = info(1);
    for host in &hosts[3..9] {
        let hash = world.engine_of(*host).share(info.clone());
        world.command(*host, Command::Announce(PING, hash, 0));
    }
    let estimated =
        |world: &mut World| world.store_of(hosts[0]).seen.values().any(|seen| seen.leechers.is_some());
    assert!(world.run(Duration::from_secs(3_000), estimated), "BEP 33 by itself, some ten minutes later");
    let leechers = world.store_of(hosts[0]).seen.values().find_map(|seen| seen.leechers).unwrap();
    assert!((4..=8).contains(&leechers), "six announced, {leechers} estimated");
}

#[test]
fn stop_is_acknowledged() {
    let mut world = World::new(1, Link::default());
    let host = world.add(addr(1), config());
    world.command(host, Command::Stop);
    assert!(world.run(Duration::from_secs(2), |world| world.stopped(host)));
}
