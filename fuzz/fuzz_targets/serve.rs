//! The serving side, whole and in pieces: it answers what was asked, in order, with the right bytes,
//! or hangs up.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use dht_hunter::base::{InfoHash, Instant, SendQueue};
use dht_hunter::metadata::{Fault, Serve, UNCONSUMED_MAX};
use dht_hunter::wire::peer::{ExtendedHandshake, Frame, HANDSHAKE_LEN, Handshake, Metadata, PIECE, frame};
use dht_hunter_fuzz::heap::held_by;
use dht_hunter_fuzz::stream::{Inbox, drain, in_pieces};
use dht_hunter_fuzz::{Feed, peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut feed = Feed::new(input);
    let library = peer::library();
    let info = library[feed.below(library.len())].clone();
    let room = if feed.one_in(4) { feed.below(20_000) } else { 256 << 10 };
    let cuts = feed.bytes(40);
    let steps = script(&mut feed, &info);
    let whole = run(&info, room, &steps, None);
    let split = run(&info, room, &steps, Some(cuts));
    assert_eq!(whole, split, "what comes in pieces means what it means in one");
});

enum Step {
    Said(Vec<u8>),
    Drained(usize),
    Later(Duration),
}

fn script(feed: &mut Feed<'_>, info: &[u8]) -> Vec<Step> {
    let mut pieces = 0;
    let mut steps = Vec::new();
    if !feed.one_in(8) {
        let mut said = Vec::new();
        peer::handshake(feed, peer::hash_of(info), &mut said);
        peer::hello(feed, info.len(), &mut said);
        steps.push(Step::Said(said));
    }
    while !feed.is_empty() && steps.len() < 60 {
        let mut said = Vec::new();
        match feed.u8() % 16 {
            0 => steps.push(Step::Later(Duration::from_millis(u64::from(feed.u16())))),
            1..=3 => steps.push(Step::Drained(feed.below(40_000))),
            4..=6 => {
                peer::say(feed, info, &mut pieces, &mut said);
                steps.push(Step::Said(said));
            }
            _ => {
                let times = if feed.one_in(16) { feed.below(3_000) } else { 1 + feed.below(4) };
                peer::small(feed, &mut said);
                steps.push(Step::Said(said.repeat(times)));
            }
        }
    }
    steps
}

#[derive(Debug, PartialEq)]
struct End {
    said: Vec<u8>,
    fault: Option<Fault>,
    at: usize,
}

fn run(info: &Bytes, room: usize, steps: &[Step], cuts: Option<&[u8]>) -> End {
    let asked_for = peer::hash_of(info);
    let shelf = |hash: &InfoHash| (*hash == asked_for).then(|| info.clone());
    let mut now = Instant::from_millis(1_000);
    let mut serve = Serve::new([b's'; 20], now);
    let (mut inbox, mut queue) = (Inbox::default(), SendQueue::new(room));
    let mut end = End { said: Vec::new(), fault: None, at: 0 };
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Later(wait) => {
                now += *wait;
                serve.on_deadline(now);
            }
            Step::Drained(most) => end.said.extend(drain(&mut queue, *most)),
            // The driver leaves what comes where it is while the server does not want it.
            Step::Said(_) if !serve.wants_read() => {}
            Step::Said(said) => {
                let pieces = cuts.map_or(vec![&said[..]], |cuts| in_pieces(said, cuts));
                let (_, held) = held_by(|| {
                    for piece in pieces {
                        let read = |data: &[u8]| serve.on_bytes(now, data, &shelf);
                        if let Err(fault) = inbox.read(piece, UNCONSUMED_MAX, read) {
                            end.fault.get_or_insert(fault);
                            break;
                        }
                    }
                });
                assert!(held.peak <= 3 * said.len() + 4 * UNCONSUMED_MAX, "{held:?}");
            }
        }
        serve.poll_write(&mut queue);
        assert!(queue.len() <= room);
        assert!(serve.next_deadline().is_none_or(|at| at > now), "a deadline lies ahead");
        assert!(end.fault.is_none() || serve.is_over());
        end.at = at;
        if serve.is_over() {
            break;
        }
    }
    end.said.extend(drain(&mut queue, usize::MAX));
    answered(&end.said, info, steps);
    end
}

/// What was sent is a handshake, then whole messages: pieces with their bytes, or rejects.
fn answered(said: &[u8], info: &Bytes, steps: &[Step]) {
    let Ok(Some(ours)) = Handshake::decode(said) else { return assert!(said.is_empty()) };
    assert_eq!(ours.info_hash, peer::hash_of(info));
    let mut rest = &said[HANDSHAKE_LEN..];
    let mut answers = 0;
    while let Some((Frame::Extended(id, payload), taken)) = frame(rest).expect("a frame") {
        rest = &rest[taken..];
        if id == 0 {
            let hello = ExtendedHandshake::decode(payload).expect("it can be read");
            assert_eq!(hello.metadata_size, Some(info.len() as i64));
            continue;
        }
        answers += 1;
        match Metadata::decode(payload).expect("it can be read") {
            Metadata::Data { piece, total_size, payload } => {
                let at = piece as usize * PIECE;
                assert_eq!(payload, &info[at..info.len().min(at + PIECE)]);
                assert_eq!(total_size, info.len() as i64);
            }
            Metadata::Reject { piece } => assert!(piece as usize * PIECE >= info.len()),
            other => panic!("{other:?}"),
        }
    }
    assert!(rest.is_empty(), "messages leave whole");
    let said: usize = steps.iter().map(|it| if let Step::Said(said) = it { said.len() } else { 0 }).sum();
    assert!(answers <= said / 29, "nothing is answered that was not asked");
}
