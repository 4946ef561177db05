//! A fetch that is fed well-formed messages and nonsense, whole and in pieces: it comes to the same
//! end, asks only for what there is, holds what it reserved, and never takes a wrong dictionary.
#![no_main]

use std::time::Duration;

use dht_hunter::base::{InfoHash, Instant, SendQueue};
use dht_hunter::metadata::{
    AT_ONCE_MAX, Budget, Event, Fetch, Limits, METADATA_MAX, Timeouts, UNCONSUMED_MAX, verify,
};
use dht_hunter::wire::peer::{ExtendedHandshake, Frame, HANDSHAKE_LEN, Handshake, Metadata, PIECE, frame};
use dht_hunter_fuzz::heap::{self, held_by};
use dht_hunter_fuzz::stream::{Inbox, drain, in_pieces};
use dht_hunter_fuzz::{Feed, peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut feed = Feed::new(input);
    let library = peer::library();
    let info = &library[feed.below(library.len())];
    let hash = peer::hash_of(info);
    let budget_bytes = if feed.one_in(16) { 10 } else { 20 << 20 };
    let room = if feed.one_in(4) { feed.below(400) } else { 64 << 10 };
    let cuts = feed.bytes(40);
    let steps = script(&mut feed, info);
    let whole = run(hash, budget_bytes, room, &steps, None);
    let split = run(hash, budget_bytes, room, &steps, Some(cuts));
    assert_eq!(whole, split, "what comes in pieces means what it means in one");
});

/// One thing that happens to a fetch.
enum Step {
    Said(Vec<u8>),
    Eof,
    Later(Duration),
}

fn script(feed: &mut Feed<'_>, info: &[u8]) -> Vec<Step> {
    let mut pieces = 0;
    let mut steps = vec![];
    if !feed.one_in(8) {
        let mut said = Vec::new();
        peer::handshake(feed, peer::hash_of(info), &mut said);
        peer::hello(feed, info.len(), &mut said);
        steps.push(Step::Said(said));
    }
    while !feed.is_empty() && steps.len() < 40 {
        match feed.u8() % 32 {
            0 => steps.push(Step::Eof),
            1..=2 => steps.push(Step::Later(Duration::from_millis(u64::from(feed.u16())))),
            many => {
                let mut said = Vec::new();
                (0..=many % 3).for_each(|_| peer::say(feed, info, &mut pieces, &mut said));
                steps.push(Step::Said(said));
            }
        }
    }
    steps
}

/// What a fetch came to: its peers, its dictionary or why not, and how long it held out.
#[derive(Debug, PartialEq)]
struct End {
    peers: usize,
    outcome: Option<Event>,
    at: usize,
}

fn run(hash: InfoHash, budget_bytes: u64, room: usize, steps: &[Step], cuts: Option<&[u8]>) -> End {
    let (mut now, budget) = (Instant::from_millis(1_000), Budget::new(budget_bytes));
    let mut fetch = Fetch::new(hash, OURS, (TIMEOUTS, LIMITS), &budget, now);
    let (mut inbox, mut asked, mut end) =
        (Inbox::default(), Asked::default(), End { peers: 0, outcome: None, at: 0 });
    assert!(fetch.next_deadline().is_some_and(|at| at > now));
    fetch.on_opened(now);
    let mut queue = SendQueue::new(room);
    fetch.poll_write(&mut queue);
    asked.read(&drain(&mut queue, usize::MAX));
    for (at, step) in steps.iter().enumerate() {
        if fetch.step().is_some() {
            end.at = at;
        }
        match step {
            Step::Eof => fetch.on_eof(),
            Step::Later(wait) => {
                now += *wait;
                fetch.on_deadline(now);
            }
            Step::Said(said) => {
                let pieces = cuts.map_or(vec![&said[..]], |cuts| in_pieces(said, cuts));
                let before = heap::live();
                let left_before = budget.left();
                let (_, held) = held_by(|| {
                    for piece in pieces {
                        if inbox.read(piece, UNCONSUMED_MAX, |data| fetch.on_bytes(now, data)).is_err() {
                            break;
                        }
                    }
                });
                // What is reserved may be allocated, twice while it grows; beside it the inbox and lists
                // of peers.
                let reserved = left_before.saturating_sub(budget.left()) as usize;
                assert!(held.peak <= 2 * reserved + 4 * UNCONSUMED_MAX + 32_768, "{held:?} of {before}");
            }
        }
        assert!(fetch.next_deadline().is_none_or(|at| at > now), "a deadline lies ahead");
        let mut queue = SendQueue::new(room);
        fetch.poll_write(&mut queue);
        asked.read(&drain(&mut queue, usize::MAX));
        events(&mut fetch, hash, &mut end);
    }
    drop(fetch);
    let in_hand = matches!(end.outcome, Some(Event::Verified(..) | Event::Assembled(..)));
    assert!(in_hand || budget.left() == budget_bytes, "what was reserved is given back");
    end
}

fn events(fetch: &mut Fetch, hash: InfoHash, end: &mut End) {
    while let Some(event) = fetch.poll_event() {
        assert!(end.outcome.is_none(), "after {:?} comes {event:?}", end.outcome);
        match event {
            Event::PexPeers(peers) => {
                end.peers += peers.len();
                assert!(end.peers <= 200 && peers.iter().all(|peer| peer.port() != 0));
            }
            Event::Verified(raw, hashes) => {
                assert_eq!(verify(hash, &raw), Some(hashes));
                assert!(raw.len() <= METADATA_MAX);
                end.outcome = Some(Event::Verified(raw, hashes));
            }
            Event::Assembled(all) => {
                assert_eq!(all.hash, hash);
                assert!(all.raw.len() > AT_ONCE_MAX && all.raw.len() <= METADATA_MAX);
                end.outcome = Some(Event::Assembled(all));
            }
            failed => end.outcome = Some(failed),
        }
    }
    assert_eq!(fetch.step().is_none(), end.outcome.is_some());
    assert_eq!(fetch.next_deadline().is_none(), end.outcome.is_some());
}

/// What the fetch says: both handshakes, one after the other, then requests for pieces in order, each once.
#[derive(Default)]
struct Asked {
    rest: Vec<u8>,
    greeted: bool,
    extended: bool,
    next: u32,
}

impl Asked {
    fn read(&mut self, said: &[u8]) {
        self.rest.extend_from_slice(said);
        if !self.greeted {
            let Ok(Some(_)) = Handshake::decode(&self.rest) else { return assert!(self.rest.is_empty()) };
            self.rest.drain(..HANDSHAKE_LEN);
            self.greeted = true;
        }
        if !self.extended {
            let Ok(Some((hello, taken))) = frame(&self.rest) else { return assert!(self.rest.is_empty()) };
            let Frame::Extended(0, payload) = hello else { panic!("{hello:?}") };
            let hello = ExtendedHandshake::decode(payload).expect("it can be read");
            assert_eq!((hello.ut_metadata, hello.metadata_size), (Some(1), None));
            self.rest.drain(..taken);
            self.extended = true;
        }
        let mut rest = &self.rest[..];
        while let Some((Frame::Extended(_, payload), taken)) = frame(rest).expect("a frame") {
            assert_eq!(Metadata::decode(payload), Ok(Metadata::Request { piece: self.next }));
            self.next += 1;
            rest = &rest[taken..];
        }
        assert!(rest.is_empty(), "requests come whole");
        assert!(self.next as usize <= METADATA_MAX / PIECE);
        self.rest.clear();
    }
}

const OURS: [u8; 20] = [b'o'; 20];
const LIMITS: Limits =
    Limits { from: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), size_max: METADATA_MAX };
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    handshake: Duration::from_secs(3),
    extended: Duration::from_secs(3),
    piece: Duration::from_secs(4),
};
