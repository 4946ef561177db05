//! What others do must not use up our patience, our connections or our packets.

use super::super::credit::Belief;
use super::*;
use std::net::IpAddr;

/// The node or announcer `n`, in a network of its own.
fn far(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0b00_0000 + n * 256 + 1).to_be_bytes(), 6_881))
}

/// Looks a hash up in vain.
fn round_in_vain(queue: &mut Queue, hash: InfoHash, ms: u64) {
    assert_eq!(queue.next_lookup(at(ms)).map(|lookup| lookup.hash), Some(hash));
    queue.lookup_done(hash, at(ms));
}

fn tries(queue: &Queue, hash: InfoHash) -> u8 {
    queue.items.get(queue.by_hash[&hash]).unwrap().tries
}

#[test]
fn announces_in_a_waiting_period_count_as_no_try() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Wanted, Some(far(1)), &[], time(0));
    round_in_vain(&mut queue, id(1), 5_000);
    assert_eq!(tries(&queue, id(1)), 1);
    for n in 0..12 {
        let (ms, peer) = (5_100 + u64::from(n) * 1_000, far(10 + n));
        queue.add(id(1), Source::Announced, Some(peer), &[peer], time(ms));
        assert_eq!(connect(&mut queue, at(ms)), Some((id(1), peer)), "each is tried at once");
        assert_eq!(queue.next_lookup(at(ms)), None, "and nobody else is asked");
        queue.failed(id(1), peer, Failure::NotHere, at(ms + 100));
        queue.check_invariants();
        assert_eq!(tries(&queue, id(1)), 1, "announce {n}");
    }
    round_in_vain(&mut queue, id(1), 25_000);
    assert_eq!(tries(&queue, id(1)), 2, "one for each waiting period");
    queue.add(id(1), Source::Announced, Some(far(99)), &[far(99)], time(65_000));
    assert_eq!(connect(&mut queue, at(65_000)), Some((id(1), far(99))), "the seeder");
    assert!(queue.done(id(1), far(99), at(65_100)).is_some());
}

#[test]
fn the_same_announce_again_is_no_news() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Announced, Some(far(1)), &[far(1)], time(0));
    let failures = (0..100).filter(|n| {
        let ms = n * 600;
        queue.add(id(1), Source::Announced, Some(far(1)), &[far(1)], time(ms));
        let Some((hash, addr)) = connect(&mut queue, at(ms)) else { return false };
        assert!(!queue.is_news(id(1), addr, at(ms)) || *n == 0);
        queue.failed(hash, addr, Failure::NotHere, at(ms));
        true
    });
    assert_eq!(failures.count(), 1, "within a minute");
    assert!(queue.is_news(id(1), far(2), at(60_000)) && queue.is_news(id(1), far(1), at(60_100)));
}

#[test]
fn a_get_peers_waits_for_the_announce_that_follows() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Wanted, Some(far(1)), &[], time(0));
    queue.add(id(2), Source::Wanted, Some(far(2)), &[], time(0));
    assert_eq!(queue.next_lookup(at(2_000)), None);
    queue.add(id(1), Source::Announced, Some(far(1)), &[far(1)], time(2_000));
    assert_eq!(connect(&mut queue, at(2_000)), Some((id(1), far(1))));
    assert!(queue.done(id(1), far(1), at(2_100)).is_some(), "no node was asked");
    assert_eq!(queue.next_lookup(at(4_999)), None);
    assert_eq!(queue.next_deadline(), Some(at(5_000)));
    assert_eq!(queue.next_lookup(at(5_000)).map(|lookup| lookup.hash), Some(id(2)));
}

/// Runs a queue with half-open 50 for 20 s: every second `announce` may add hashes. Peers of 11/8
/// answer within 20 ms, others never; hashes of 200 honest nodes are always there. Returns how many
/// were fetched, and most half-open connections to others at once after the first ten seconds.
fn crawl(mut announce: impl FnMut(&mut Queue, u64)) -> (u64, usize) {
    let mut queue = queue(200_000);
    queue.set_caps(Caps { half_open: 50, fetches: 100 });
    let mut open: Vec<(u64, InfoHash, SocketAddr)> = Vec::new();
    let (mut fetched, mut most, mut next) = (0, 0, 1 << 40);
    let there = |addr: &SocketAddr| matches!(addr.ip(), IpAddr::V4(ip) if ip.octets()[0] == 11);
    let sampled = |queue: &Queue| {
        let beliefs = [Belief::Proved, Belief::Unknown, Belief::Doubted];
        beliefs.map(|belief| queue.ready.count(Source::Sampled, belief)).iter().sum::<usize>()
    };
    for ms in (0..20_000).step_by(20) {
        if ms % 1_000 == 0 {
            announce(&mut queue, ms);
        }
        let due: Vec<_> = open.extract_if(.., |(at, ..)| *at <= ms).collect();
        for (_, hash, addr) in due {
            if there(&addr) {
                fetched += u64::from(queue.done(hash, addr, at(ms)).is_some());
            } else {
                queue.failed(hash, addr, Failure::Unreachable, at(ms));
            }
        }
        while sampled(&queue) < 400 {
            next += 1;
            let node = far(next as u32 % 200);
            queue.add(id(next), Source::Sampled, Some(node), &[far(1_000 + next as u32 % 5_000)], time(ms));
        }
        while open.len() < 50
            && let Some((hash, addr)) = connect(&mut queue, at(ms))
        {
            open.push((ms + if there(&addr) { 20 } else { 4_000 }, hash, addr));
        }
        let dead = open.iter().filter(|(_, _, addr)| !there(addr)).count();
        most = most.max(if ms >= 10_000 { dead } else { 0 });
        if ms % 5_000 == 0 {
            queue.check_invariants();
        }
    }
    (fetched, most)
}

/// An address that is not there, in network `net`.
fn nowhere(net: u8, host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([12, 0, net, host], port))
}

#[test]
fn announces_to_nowhere_do_not_take_the_connections_of_others() {
    let (alone, _) = crawl(|_, _| {});
    assert!(alone > 40_000, "{alone}");
    for (networks, per_network) in [(40, 1), (2, 20), (200, 1)] {
        let mut hash = 0;
        let (fetched, most) = crawl(|queue, ms| {
            for n in 0..networks * per_network {
                hash += 1;
                let peer =
                    nowhere((n / per_network) as u8, (n % per_network) as u8, 1_000 + (hash % 60_000) as u16);
                queue.add(id(hash), Source::Announced, Some(peer), &[peer], time(ms));
            }
        });
        assert!(fetched * 8 >= alone * 5, "{networks} networks of {per_network}: {fetched} of {alone}");
        assert!(most <= 50 / 4 + 50 / 8, "{most} half-open to nowhere");
    }
}

#[test]
fn honest_announces_are_served_beside_dead_ones() {
    let (mut hash, mut waits) = (0, Vec::new());
    crawl(|queue, ms| {
        for n in 0..40 {
            hash += 1;
            let peer = nowhere(n, 1, 1_000 + (hash % 60_000) as u16);
            queue.add(id(hash), Source::Announced, Some(peer), &[peer], time(ms));
        }
        waits.retain(|(_, hash)| queue.contains(*hash));
        hash += 1;
        let peer = far(20_000 + hash as u32 % 50);
        queue.add(id(hash), Source::Announced, Some(peer), &[peer], time(ms));
        waits.push((ms, id(hash)));
        // At first nothing is known of anybody.
        let most = if ms < 15_000 { 14_000 } else { 1_000 };
        assert!(waits.iter().all(|(since, _)| ms - since <= most), "{waits:?} at {ms}");
    });
}

#[test]
fn a_liar_in_samples_is_asked_alone_after_a_few_lies() {
    let mut queue = queue(10_000);
    let (liar, mut elsewhere, mut tried) = (far(1), 0, 0);
    for n in 0..200 {
        let ms = n * 1_000;
        queue.add(id(n), Source::Sampled, Some(liar), &[], time(ms));
        while let Some(lookup) = queue.next_lookup(at(ms)) {
            elsewhere += u32::from(lookup.hint.is_none());
            let peers: Vec<_> = (0..30).map(|k| nowhere(k, n as u8, 7_000)).collect();
            queue.peers_found(lookup.hash, &peers, at(ms));
            queue.lookup_done(lookup.hash, at(ms));
            while let Some((hash, addr)) = connect(&mut queue, at(ms)) {
                tried += 1;
                queue.failed(hash, addr, Failure::Unreachable, at(ms));
            }
        }
        queue.check_invariants();
    }
    assert!(elsewhere <= 8, "{elsewhere} look-ups among others for 200 lies");
    assert!(tried <= 200 + 4 * 8, "{tried} connections for 200 lies");
    let honest = far(2);
    queue.add(id(1_000), Source::Sampled, Some(honest), &[], time(200_000));
    let lookup = queue.next_lookup(at(200_000)).unwrap();
    assert_eq!(lookup.hash, id(1_000), "whatever the liar has left");
}

#[test]
fn a_network_where_nothing_answers_is_left_alone_whoever_names_it() {
    let (mut queue, mut tried) = (queue(10_000), 0);
    for ms in (0..60_000).step_by(100) {
        // Each node names one hash, with peers all over one network.
        let n = ms / 100;
        let peers: Vec<_> = (0..32).map(|k| nowhere(7, (n * 32 + k) as u8, 1_024 + n as u16)).collect();
        queue.add(id(n), Source::Sampled, Some(far(n as u32)), &peers, time(ms));
        while let Some((hash, addr)) = connect(&mut queue, at(ms)) {
            tried += 1;
            queue.failed(hash, addr, Failure::Unreachable, at(ms));
        }
    }
    assert!((30..=32 + 30).contains(&tried), "{tried} connections to one network within a minute");
    let peer = nowhere(8, 1, 7_000);
    queue.add(id(9_999), Source::Sampled, Some(far(1)), &[peer], time(60_000));
    assert_eq!(connect(&mut queue, at(60_000)), Some((id(9_999), peer)));
}

#[test]
fn made_up_hashes_that_are_asked_for_cost_few_lookups_and_real_ones_many_more() {
    let run = |real: bool| {
        let (mut queue, mut lookups) = (queue(100_000), 0);
        for ms in (0..60_000u64).step_by(20) {
            // From anywhere: the sender of a datagram is easily forged.
            (0..10).for_each(|n| {
                _ = queue.add(id(ms * 10 + n), Source::Wanted, Some(far((ms * 10 + n) as u32)), &[], time(ms))
            });
            while let Some(lookup) = queue.next_lookup(at(ms)) {
                lookups += 1;
                if real && lookups % 10 == 0 {
                    queue.peers_found(lookup.hash, &[far(77)], at(ms));
                    queue.lookup_done(lookup.hash, at(ms));
                    let (hash, addr) = connect(&mut queue, at(ms)).unwrap();
                    queue.done(hash, addr, at(ms)).unwrap();
                } else {
                    queue.lookup_done(lookup.hash, at(ms));
                }
            }
            assert!(queue.next_deadline().is_none_or(|due| due > at(ms)));
        }
        queue.check_invariants();
        lookups
    };
    let (made_up, real) = (run(false), run(true));
    assert!(made_up <= 200 + 10 * 60, "{made_up}");
    assert!(real > 20 * made_up, "{real}");
}

#[test]
fn a_flood_sheds_itself() {
    let mut queue = queue(1_000);
    for n in 0..800 {
        queue.add(id(n), Source::Sampled, Some(far(n as u32 % 100)), &[], time(n));
    }
    for n in 0..20_000 {
        let from = SocketAddr::from(([12, 0, 0, n as u8], 6_881));
        queue.add(id(1 << 32 | n), Source::Sampled, Some(from), &[], time(1_000 + n));
    }
    let honest = (0..800).filter(|n| queue.contains(id(*n))).count();
    assert!(honest >= 790, "{honest} of 800 wait still");
    queue.check_invariants();
}
