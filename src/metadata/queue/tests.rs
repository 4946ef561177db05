//! What the queue promises, by its public face and its sets.

mod fair;

use super::*;
use crate::base::Id;
use crate::metadata::fetch::Why;
use crate::model::PendingState;

const UNIX: UnixTime = UnixTime(1_700_000_000);

fn at(ms: u64) -> Instant {
    Instant::from_millis(1_000_000 + ms)
}

fn time(ms: u64) -> (Instant, UnixTime) {
    (at(ms), UnixTime(UNIX.0 + ms / 1_000))
}

fn id(n: u64) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Id(bytes)
}

fn peer(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
}

fn connect(queue: &mut Queue, now: Instant) -> Option<(InfoHash, SocketAddr)> {
    queue.next_connect(now, |_| false)
}

fn queue(pending_max: usize) -> Queue {
    Queue::new(Config { pending_max, ..Config::default() }, &mut Rng::seeded(1))
}

#[test]
fn commands_come_first_then_announcers_and_samples_with_many_peers_first_take_turns() {
    let mut queue = queue(100);
    let several = [peer(7), peer(8), peer(9)];
    queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
    queue.add(id(2), Source::Sampled, None, &several, time(1_000));
    queue.add(id(3), Source::Announced, None, &[peer(3)], time(2_000));
    queue.add(id(4), Source::Announced, None, &[peer(4)], time(3_000));
    queue.add(id(5), Source::Command, None, &[peer(5)], time(4_000));
    queue.add(id(6), Source::Sampled, None, &[peer(6)], time(5_000));
    let order: Vec<_> = std::iter::from_fn(|| connect(&mut queue, at(5_000))).map(|(hash, _)| hash).collect();
    assert_eq!(order, [5, 3, 2, 4, 1, 6].map(id));
    queue.check_invariants();
}

#[test]
fn lookups_run_for_hashes_without_peers_and_carry_their_hint() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
    assert_eq!(connect(&mut queue, at(0)), None);
    let lookup = Lookup { hash: id(1), hint: Some(peer(50)), source: Source::Sampled };
    assert_eq!(queue.next_lookup(at(0)), Some(lookup));
    assert_eq!((queue.next_lookup(at(0)), queue.stats().looking), (None, 1));
    queue.peers_found(id(1), &[peer(1), peer(1), peer(2)], at(5));
    assert_eq!(connect(&mut queue, at(5)), Some((id(1), peer(1))));
    queue.lookup_done(id(1), at(6));
    queue.check_invariants();
    queue.failed(id(1), peer(1), Failure::NotHere, at(7));
    assert_eq!(connect(&mut queue, at(7)), Some((id(1), peer(2))));
    let done = queue.done(id(1), peer(2), at(8)).unwrap();
    assert_eq!((done.peers, done.first_seen, queue.stats().pending), (2, UNIX, 0));
    queue.failed(id(1), peer(2), Failure::NotHere, at(9));
    queue.check_invariants();
}

#[test]
fn a_hint_without_peers_is_followed_by_a_full_lookup_at_once() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
    assert_eq!(queue.next_lookup(at(0)).map(|lookup| lookup.hint), Some(Some(peer(50))));
    queue.lookup_done(id(1), at(10));
    assert_eq!(queue.next_lookup(at(10)).map(|lookup| lookup.hint), Some(None));
    queue.peers_found(id(1), &[peer(1)], at(20));
    queue.lookup_done(id(1), at(20));
    assert_eq!(connect(&mut queue, at(20)), Some((id(1), peer(1))));
    queue.failed(id(1), peer(1), Failure::NotHere, at(21));
    assert_eq!((queue.next_lookup(at(22)), queue.stats().waiting), (None, 1), "the round is over");
    queue.check_invariants();
}

#[test]
fn peers_of_a_hint_that_fail_are_followed_by_a_full_lookup_in_the_same_round() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, Some(peer(50)), &[], time(0));
    queue.next_lookup(at(0)).unwrap();
    queue.peers_found(id(1), &[peer(1)], at(1));
    queue.lookup_done(id(1), at(1));
    assert_eq!((connect(&mut queue, at(1)), queue.next_lookup(at(1))), (Some((id(1), peer(1))), None));
    queue.failed(id(1), peer(1), Failure::Unreachable, at(2));
    assert_eq!(queue.next_lookup(at(2)).map(|lookup| lookup.hint), Some(None));
    queue.check_invariants();
}

#[test]
fn who_delivered_is_forgiven_one_timeout_and_nobody_a_lie() {
    for (failure, forgiven) in [(Failure::Unreachable, true), (Failure::Misbehaved, false)] {
        let mut queue = queue(100);
        let mut next = 0;
        // A torrent that this peer alone has: is it tried?
        let mut tried = |queue: &mut Queue, now| {
            next += 1;
            queue.add(id(next), Source::Sampled, None, &[peer(1)], time(now));
            connect(queue, at(now)).map(|(hash, _)| hash)
        };
        let first = tried(&mut queue, 0).unwrap();
        queue.done(first, peer(1), at(1)).unwrap();
        let second = tried(&mut queue, 2).unwrap();
        queue.failed(second, peer(1), failure, at(3));
        let third = tried(&mut queue, 4);
        assert_eq!(third.is_some(), forgiven);
        if let Some(third) = third {
            queue.failed(third, peer(1), failure, at(5));
            assert_eq!(tried(&mut queue, 6), None, "twice in a row is avoided");
        }
        queue.check_invariants();
    }
}

#[test]
fn busy_peers_are_left_alone_for_a_while_and_not_blamed() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
    queue.add(id(2), Source::Sampled, None, &[peer(1), peer(2)], time(0));
    let busy = |addr| addr == peer(1);
    assert_eq!(queue.next_connect(at(0), busy), Some((id(2), peer(2))));
    assert_eq!(queue.next_connect(at(0), busy), None);
    queue.check_invariants();
    assert_eq!(queue.next_connect(at(999), |_| false), None);
    let both = [0, 1].map(|_| connect(&mut queue, at(2_001)).unwrap().0);
    assert_eq!(both, [id(1), id(2)]);
}

#[test]
fn what_was_only_asked_for_comes_last_and_a_vain_announce_loses_its_rank() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Wanted, None, &[], time(0));
    queue.add(id(2), Source::Sampled, None, &[], time(1));
    queue.add(id(3), Source::Announced, None, &[peer(3)], time(2));
    assert_eq!(connect(&mut queue, at(2)), Some((id(3), peer(3))));
    queue.failed(id(3), peer(3), Failure::Unreachable, at(3));
    let order = [3, 3, 5_000].map(|ms| queue.next_lookup(at(ms)).unwrap());
    assert_eq!(order.map(|lookup| lookup.hash), [3, 2, 1].map(id));
    queue.lookup_done(id(3), at(4));
    assert_eq!(queue.next_lookup(at(20_004)).unwrap().source, Source::Sampled);
}

#[test]
fn a_second_peer_is_tried_after_a_while_and_never_more_than_three() {
    let mut queue = queue(100);
    let peers: Vec<_> = (0..9).map(peer).collect();
    queue.add(id(1), Source::Announced, None, &peers, time(0));
    assert!(connect(&mut queue, at(0)).is_some());
    assert_eq!(connect(&mut queue, at(0)), None);
    let due = queue.next_deadline().unwrap();
    assert!(due > at(0) && due <= at(2_000));
    assert!(connect(&mut queue, due).is_some());
    assert_eq!(connect(&mut queue, due), None);
    queue.opened(id(1), peers[0], due + Duration::from_millis(1));
    let early = queue.next_deadline().unwrap() - Duration::from_millis(1);
    assert_eq!(connect(&mut queue, early), None);
    assert!(connect(&mut queue, at(9_000)).is_some());
    assert_eq!(connect(&mut queue, at(19_000)), None);
    assert_eq!(queue.stats().trying, 3);
    queue.failed(id(1), peers[1], Failure::Unreachable, at(19_500));
    assert_eq!(connect(&mut queue, at(19_500)), Some((id(1), peers[3])));
    queue.check_invariants();
}

#[test]
fn good_peers_are_preferred_and_bad_ones_left_out_for_a_while() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
    queue.add(id(2), Source::Sampled, None, &[peer(2)], time(0));
    assert_eq!(connect(&mut queue, at(0)), Some((id(1), peer(1))));
    assert_eq!(connect(&mut queue, at(0)), Some((id(2), peer(2))));
    queue.done(id(1), peer(1), at(1));
    queue.failed(id(2), peer(2), Failure::Unreachable, at(1));
    queue.add(id(3), Source::Sampled, None, &[peer(3), peer(4)], time(2));
    queue.add(id(4), Source::Sampled, None, &[peer(2), peer(3), peer(1)], time(2_000));
    assert_eq!(connect(&mut queue, at(2_000)), Some((id(4), peer(1))), "it has delivered before");
    queue.failed(id(4), peer(1), Failure::NotHere, at(2_001));
    assert_eq!(connect(&mut queue, at(2_001)), Some((id(4), peer(3))));
    queue.failed(id(4), peer(3), Failure::NotHere, at(2_002));
    assert_eq!(connect(&mut queue, at(2_002)), Some((id(3), peer(3))));
    queue.add(id(5), Source::Command, None, &[peer(2)], time(2_003));
    assert_eq!(connect(&mut queue, at(2_003)), Some((id(5), peer(2))), "a command tries everybody");
    queue.add(id(6), Source::Announced, None, &[peer(2)], time(302_000));
    assert_eq!(connect(&mut queue, at(302_000)), Some((id(6), peer(2))), "forgiven by now");
}

#[test]
fn who_waits_for_an_address_goes_on_as_soon_as_it_has_room() {
    let mut queue = queue(100);
    for n in 1..=3 {
        queue.add(id(n), Source::Sampled, None, &[peer(1)], time(n));
    }
    assert_eq!(connect(&mut queue, at(5)), Some((id(1), peer(1))));
    assert_eq!(queue.next_connect(at(5), |_| true), None);
    for n in 2..=3 {
        queue.host_has_room(peer(9).ip(), at(6));
        assert_eq!(connect(&mut queue, at(6)), None, "that is another address");
        queue.host_has_room(peer(1).ip(), at(6));
        assert_eq!(connect(&mut queue, at(6)), Some((id(n), peer(1))), "one at a time, in order");
    }
    queue.host_has_room(peer(1).ip(), at(6));
    assert_eq!(connect(&mut queue, at(6)), None);
    queue.check_invariants();
}

#[test]
fn a_peer_that_was_crowded_is_tried_again_at_once_but_not_for_ever() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
    for n in 0..=u64::from(EXCUSED_MAX) {
        assert_eq!(connect(&mut queue, at(n)), Some((id(1), peer(1))));
        queue.failed(id(1), peer(1), Failure::Crowded, at(n));
    }
    assert_eq!(connect(&mut queue, at(9)), None);
    let lookup = queue.next_lookup(at(9)).map(|lookup| lookup.hash);
    assert_eq!(lookup, Some(id(1)), "its peers are looked up as after any other failure");
}

#[test]
fn a_peer_that_delivers_one_torrent_while_others_wait_is_not_unreachable() {
    let mut queue = queue(100);
    (1..=4).for_each(|n| _ = queue.add(id(n), Source::Sampled, None, &[peer(1)], time(0)));
    (1..=4).for_each(|n| assert_eq!(connect(&mut queue, at(0)), Some((id(n), peer(1)))));
    queue.done(id(1), peer(1), at(3_000)).unwrap();
    (2..=3).for_each(|n| queue.failed(id(n), peer(1), Failure::Unreachable, at(4_000)));
    (2..=3).for_each(|n| assert_eq!(connect(&mut queue, at(4_001)), Some((id(n), peer(1)))));
    assert_eq!(queue.stats().waiting, 0, "neither counts as a try");
    queue.check_invariants();
    // Silent to all: that is one silence, and what was begun after it is another.
    (2..=3).for_each(|n| queue.failed(id(n), peer(1), Failure::Unreachable, at(8_000)));
    (2..=3).for_each(|n| assert_eq!(connect(&mut queue, at(8_001)), Some((id(n), peer(1)))));
    queue.failed(id(2), peer(1), Failure::Unreachable, at(12_000));
    queue.add(id(5), Source::Sampled, None, &[peer(1)], time(12_001));
    assert_eq!(connect(&mut queue, at(12_001)), None);
}

#[test]
fn a_silent_peer_is_left_alone_for_seconds_first_and_longer_when_it_stays_silent() {
    let mut queue = queue(100);
    let mut next = 0;
    let mut silent_at = |queue: &mut Queue, now: u64| {
        next += 2;
        for n in [next, next + 1] {
            queue.add(id(n), Source::Sampled, None, &[peer(1)], time(now));
        }
        let tried = std::iter::from_fn(|| connect(queue, at(now))).map(|(hash, _)| hash);
        let tried: Vec<_> = tried.collect();
        tried.iter().for_each(|hash| queue.failed(*hash, peer(1), Failure::Silent, at(now)));
        tried.len()
    };
    let tried = [0, 9_999, 10_000, 29_999, 30_000].map(|now| silent_at(&mut queue, now));
    assert_eq!(tried, [2, 0, 2, 0, 2], "10 s, then 20 s, however many were silent at once");
    queue.add(id(100), Source::Command, None, &[peer(1)], time(30_001));
    assert_eq!(connect(&mut queue, at(30_001)), Some((id(100), peer(1))), "what is asked for is tried");
    queue.done(id(100), peer(1), at(30_002)).unwrap();
    assert_eq!(silent_at(&mut queue, 30_003), 2, "and it is forgiven for what it gave");
    queue.check_invariants();
}

#[test]
fn a_port_where_nobody_listens_is_tried_with_its_bytes_swapped_once() {
    let at_port = |port| SocketAddr::new(peer(1).ip(), port);
    let after = |port: u16, is_found: bool, failure: Failure| {
        let mut queue = queue(100);
        let peers = [at_port(port)];
        queue.add(id(1), Source::Command, None, if is_found { &[] } else { &peers }, time(0));
        if is_found {
            queue.next_lookup(at(0)).unwrap();
            queue.peers_found(id(1), &peers, at(0));
            queue.lookup_done(id(1), at(0));
        }
        assert_eq!(connect(&mut queue, at(0)), Some((id(1), at_port(port))));
        queue.failed(id(1), at_port(port), failure, at(1));
        let second = connect(&mut queue, at(1));
        if let Some((hash, addr)) = second {
            queue.failed(hash, addr, Failure::Refused, at(2));
            assert_eq!(connect(&mut queue, at(2)), None);
        }
        queue.check_invariants();
        second.map(|(_, addr)| addr.port())
    };
    assert_eq!(after(57_626, true, Failure::Refused), Some(6_881));
    assert_eq!(after(57_626, true, Failure::Unreachable), None);
    assert_eq!(after(57_626, false, Failure::Refused), None, "whoever asks knows what for");
    assert_eq!(after(0x5000, true, Failure::Refused), None, "ports below 1,024 are other people's servers");
}

#[test]
fn an_odd_peer_is_no_enemy() {
    let odd = [
        Why::Closed(Step::Handshake),
        Why::EmptyPiece,
        Why::NoMetadata,
        Why::OtherTorrent,
        Why::Protocol(crate::wire::peer::Error::OutOfBounds),
        Why::Rejected,
        Why::TooLarge,
    ];
    for why in odd {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        connect(&mut queue, at(0)).unwrap();
        queue.failed(id(1), peer(1), why.into(), at(1));
        queue.add(id(2), Source::Sampled, None, &[peer(1)], time(2));
        assert_eq!(connect(&mut queue, at(2)), Some((id(2), peer(1))), "{why:?}");
    }
    for why in [Why::Chatter, Why::WrongHash] {
        let mut queue = queue(100);
        queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
        connect(&mut queue, at(0)).unwrap();
        queue.failed(id(1), peer(1), why.into(), at(1));
        queue.add(id(2), Source::Sampled, None, &[peer(1)], time(2));
        assert_eq!(connect(&mut queue, at(2)), None, "{why:?}");
        queue.add(id(3), Source::Sampled, None, &[peer(1)], time(300_001));
        assert_eq!(connect(&mut queue, at(300_001)), Some((id(3), peer(1))), "after five minutes");
    }
}

#[test]
fn a_hash_that_nobody_delivers_waits_longer_each_time_and_is_given_up() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[], time(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    let mut events = Vec::new();
    for _ in 0..TRIES_MAX {
        assert_eq!(queue.next_lookup(now).map(|lookup| lookup.hash), Some(id(1)));
        queue.lookup_done(id(1), now);
        queue.check_invariants();
        let unix = UnixTime(UNIX.0 + now.since(at(0)).as_secs());
        events.extend(std::iter::from_fn(|| queue.poll_event((now, unix))));
        let Some(next) = queue.waiting.first().map(|(at, _)| *at) else { break };
        assert_eq!(queue.next_lookup(next - Duration::from_millis(1)), None);
        waits.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(waits, RETRY_SECS);
    assert_eq!(events.pop(), Some(Event::GivenUp(id(1))));
    let Some(Event::Pending(second)) = events.get(1) else { panic!("{events:?}") };
    assert_eq!((second.tries, second.state), (2, PendingState::NoPeers));
    assert_eq!(second.not_before, UnixTime(UNIX.0 + 20 + 240));
    assert_eq!((queue.stats().pending, queue.stats().given_up), (0, 1));
}

#[test]
fn what_is_our_own_fault_counts_against_nobody() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[peer(1)], time(0));
    connect(&mut queue, at(0)).unwrap();
    queue.failed(id(1), peer(1), Failure::Ours, at(1));
    assert_eq!((connect(&mut queue, at(2)), queue.next_lookup(at(2))), (None, None));
    assert_eq!(connect(&mut queue, at(1_001)), Some((id(1), peer(1))));
    queue.add(id(2), Source::Sampled, None, &[], time(1_001));
    queue.next_lookup(at(1_001)).unwrap();
    queue.lookup_refused(id(2), at(1_001));
    queue.check_invariants();
    assert_eq!(queue.next_lookup(at(1_500)), None);
    assert!(queue.next_lookup(at(2_001)).is_some());
}

#[test]
fn over_the_cap_the_least_promising_is_forgotten() {
    let mut queue = queue(3);
    queue.add(id(1), Source::Announced, None, &[peer(1)], time(0));
    queue.add(id(2), Source::Sampled, None, &[], time(0));
    queue.add(id(3), Source::Sampled, None, &[], time(1_000));
    assert_eq!(queue.add(id(4), Source::Sampled, None, &[], time(2_000)), Added::Shed(id(4)));
    assert_eq!(queue.add(id(5), Source::Announced, None, &[peer(5)], time(2_000)), Added::Shed(id(3)));
    queue.next_lookup(at(2_000)).unwrap();
    queue.lookup_done(id(2), at(2_000));
    assert_eq!(queue.add(id(6), Source::Command, None, &[], time(2_000)), Added::Shed(id(2)), "it waits");
    assert!(!queue.contains(id(2)) && queue.stats().shed == 3);
    queue.check_invariants();
}

#[test]
fn what_waits_long_is_saved_once_and_comes_back_after_a_restart() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[], time(0));
    queue.add(id(2), Source::Sampled, None, &[], time(0));
    queue.remove(id(2), at(0));
    queue.on_deadline(at(19_999));
    assert_eq!(queue.poll_event(time(19_999)), None);
    let due = queue.next_deadline().unwrap();
    queue.on_deadline(due);
    let Some(Event::Pending(saved)) = queue.poll_event(time(20_000)) else { panic!("not saved") };
    assert_eq!((saved.infohash, saved.first_seen, saved.tries), (id(1), UNIX, 0));
    assert_eq!(queue.poll_event(time(20_000)), None);
    queue.add(id(3), Source::Sampled, None, &[], time(20_000));
    queue.save_all();
    assert!(matches!(queue.poll_event(time(20_000)), Some(Event::Pending(row)) if row.infohash == id(3)));
    let mut again = self::queue(100);
    let row = Pending { not_before: UnixTime(UNIX.0 + 30), tries: 3, ..saved };
    assert_eq!(again.restore(&row, time(0)), Added::New);
    assert_eq!((again.next_lookup(at(29_000)), again.poll_event(time(29_000))), (None, None));
    assert!(again.next_lookup(at(30_000)).is_some());
}

#[test]
fn an_announce_wakes_a_hash_that_waits() {
    let mut queue = queue(100);
    queue.add(id(1), Source::Sampled, None, &[], time(0));
    queue.next_lookup(at(0)).unwrap();
    queue.lookup_done(id(1), at(0));
    assert_eq!(queue.add(id(1), Source::Announced, None, &[peer(9)], time(10)), Added::Merged);
    assert_eq!(connect(&mut queue, at(10)), Some((id(1), peer(9))));
}

/// One random thing happens to the queue, as an engine would let it happen.
fn step(
    queue: &mut Queue,
    rng: &mut Rng,
    open: &mut Vec<(InfoHash, SocketAddr)>,
    looking: &mut Vec<InfoHash>,
    ms: u64,
) {
    let hash = id(rng.below(300));
    let peers: Vec<_> = (0..rng.below(4)).map(|_| peer(rng.below(400) as u16)).collect();
    let source = Source::ALL[rng.index(4)];
    let from = rng.percent(80).then(|| peer(rng.below(300) as u16));
    match rng.below(9) {
        0 | 1 => _ = queue.add(hash, source, from, &peers, time(ms)),
        2 => queue.peers_found(hash, &peers, at(ms)),
        3 => open.extend(connect(queue, at(ms))),
        4 => looking.extend(queue.next_lookup(at(ms)).map(|lookup| lookup.hash)),
        5 if !looking.is_empty() => {
            let hash = looking.swap_remove(rng.index(looking.len()));
            if rng.percent(20) { queue.lookup_refused(hash, at(ms)) } else { queue.lookup_done(hash, at(ms)) }
        }
        6 | 7 if !open.is_empty() => {
            let (hash, addr) = open.swap_remove(rng.index(open.len()));
            let failures = [
                Failure::Crowded,
                Failure::Misbehaved,
                Failure::NotHere,
                Failure::Ours,
                Failure::Unreachable,
                Failure::Refused,
                Failure::Silent,
            ];
            match rng.below(6) {
                0 => _ = queue.done(hash, addr, at(ms)),
                1 => queue.opened(hash, addr, at(ms)),
                _ => queue.failed(hash, addr, failures[rng.index(failures.len())], at(ms)),
            }
        }
        _ => _ = queue.poll_event(time(ms)),
    }
}

#[test]
fn it_never_contradicts_itself_nor_stands_still() {
    for seed in 0..20 {
        let mut rng = Rng::seeded(seed);
        let mut queue = queue(100);
        let (mut open, mut looking, mut ms) = (Vec::new(), Vec::new(), 0);
        for _ in 0..2_000 {
            ms += rng.below(2_000);
            step(&mut queue, &mut rng, &mut open, &mut looking, ms);
            queue.check_invariants();
            queue.on_deadline(at(ms));
            assert!(queue.next_deadline().is_none_or(|due| due > at(ms)), "seed {seed}");
        }
    }
}

#[test]
fn many_hashes_wait_without_trouble() {
    let mut queue = queue(200_000);
    for n in 0..250_000 {
        queue.add(id(n), Source::Sampled, None, &[], time(n / 10));
    }
    assert_eq!((queue.stats().pending, queue.stats().shed), (200_000, 50_000));
    assert_eq!(queue.next_lookup(at(25_000)).map(|lookup| lookup.hash), Some(id(0)));
}
