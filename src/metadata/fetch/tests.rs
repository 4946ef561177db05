//! Tests of a whole fetch: against the seeding side, against every bound, against time.

use super::super::budget::METADATA_MAX;
use super::super::serve::Serve;
use super::*;
use crate::base::{Id, Rng, hash};
use crate::wire::bencode::Writer;
use crate::wire::peer::PIECE;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    handshake: Duration::from_secs(3),
    extended: Duration::from_secs(3),
    piece: Duration::from_secs(4),
};
const LIMITS: Limits =
    Limits { from: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), size_max: METADATA_MAX };
const OURS: [u8; 20] = [b'o'; 20];
const THEIRS: [u8; 20] = [b't'; 20];
const T0: Instant = Instant::from_millis(1_000);

fn info(len: usize) -> Vec<u8> {
    let mut rng = Rng::seeded(len as u64);
    let mut pieces = vec![0; len];
    rng.fill(&mut pieces);
    let mut out = vec![0; len + 64];
    let mut w = Writer::new(&mut out);
    w.raw(b"d6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces").bytes(&pieces).raw(b"e");
    let len = w.finish().unwrap();
    out.truncate(len);
    out
}

/// A fetch that was just connected, for `raw`.
fn opened(raw: &[u8]) -> (Fetch, Budget) {
    let budget = Budget::new(64 << 20);
    let mut fetch = Fetch::new(Id(hash::sha1(raw)), OURS, (TIMEOUTS, LIMITS), &budget, T0);
    fetch.on_opened(T0);
    (fetch, budget)
}

fn drain(out: &mut SendQueue) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    while !out.is_empty() {
        let filled = out.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        let taken = bytes.len() - before;
        slices = [std::io::IoSlice::new(&[]); 64];
        out.advance(taken);
    }
    bytes
}

/// One direction of a connection: bytes on the way, and what the reader left unconsumed.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    seen: usize,
}

impl Wire {
    /// Makes up to `more` bytes visible and hands the reader all it has not consumed.
    fn read(&mut self, more: usize, reader: impl FnOnce(&[u8]) -> usize) {
        self.seen = self.bytes.len().min(self.seen + more);
        let used = reader(&self.bytes[..self.seen]);
        assert!(self.seen - used <= UNCONSUMED_MAX);
        self.bytes.drain(..used);
        self.seen -= used;
    }
}

/// Lets a fetch and a server talk through pipes that split anywhere; the fetch's events.
fn talk(fetch: &mut Fetch, library: impl Fn(&InfoHash) -> Option<Bytes>, seed: u64) -> Vec<Event> {
    let mut rng = Rng::seeded(seed);
    let mut serve = Serve::new(THEIRS, T0);
    let (mut up, mut down) = (Wire::default(), Wire::default());
    let mut events = Vec::new();
    let most = if seed % 7 < 4 && rng.percent(40) { 3 } else { 40_000 };
    for _ in 0..100_000 {
        let mut out = SendQueue::new(1_000 + rng.index(60_000));
        fetch.poll_write(&mut out);
        up.bytes.extend(drain(&mut out));
        let mut out = SendQueue::new(17_000 + rng.index(60_000));
        serve.poll_write(&mut out);
        down.bytes.extend(drain(&mut out));
        up.read(1 + rng.index(most), |data| serve.on_bytes(T0, data, &library).unwrap_or(data.len()));
        if serve.is_over() {
            fetch.on_eof();
        }
        down.read(1 + rng.index(most), |data| fetch.on_bytes(T0, data).unwrap_or(data.len()));
        events.extend(std::iter::from_fn(|| fetch.poll_event()));
        if fetch.step().is_none() {
            return events;
        }
    }
    panic!("no end with seed {seed}");
}

#[test]
fn dictionaries_of_many_sizes_arrive_through_any_splitting() {
    for seed in 0..60 {
        let size = [1, 300, PIECE - 70, PIECE, PIECE + 1, 100_000, 1_400_000][seed as usize % 7];
        let raw = info(size);
        let (mut fetch, budget) = opened(&raw);
        let copy = Bytes::from(raw.clone());
        let events = talk(&mut fetch, move |_| Some(copy.clone()), seed);
        let got = match events.as_slice() {
            [Event::Verified(got, hashes)] if size <= AT_ONCE_MAX => {
                assert_eq!(hashes.v1, Some(fetch.hash()), "seed {seed}");
                got
            }
            [Event::Assembled(all)] if size > AT_ONCE_MAX => {
                assert_eq!(budget.left(), (64 << 20) - raw.len() as u64, "its share is still held");
                assert_eq!(all.hash, fetch.hash());
                &all.raw
            }
            other => panic!("seed {seed}: {other:?}"),
        };
        assert_eq!(got[..], raw[..], "seed {seed}");
        drop(events);
        assert_eq!((fetch.next_deadline(), budget.left()), (None, 64 << 20));
    }
}

#[test]
fn a_dictionary_of_exactly_one_piece_arrives() {
    let mut raw = info(PIECE);
    let longer = raw.len() - PIECE;
    raw = info(PIECE - longer);
    assert_eq!(raw.len(), PIECE);
    let (mut fetch, _) = opened(&raw);
    assert!(matches!(talk(&mut fetch, move |_| Some(raw.clone().into()), 1)[..], [Event::Verified(..)]));
}

#[test]
fn a_truncated_sha_256_is_verified_too() {
    let raw = b"d9:file treede12:meta versioni2e4:name1:xe";
    let long = hash::sha256(raw);
    let asked = Id::from_slice(&long[..20]).unwrap();
    let mut fetch = Fetch::new(asked, OURS, (TIMEOUTS, LIMITS), &Budget::new(1 << 20), T0);
    fetch.on_opened(T0);
    let events = talk(&mut fetch, |_| Some(Bytes::from_static(raw)), 5);
    let expected = Event::Verified(Bytes::from_static(raw), Hashes { v1: None, v2: Some(long) });
    assert_eq!(events, [expected]);
}

#[test]
fn wrong_metadata_and_unknown_torrents_fail() {
    let raw = info(40_000);
    let (mut fetch, budget) = opened(&raw);
    assert_eq!(talk(&mut fetch, |_| Some(info(40_000 - 1).into()), 1), [Event::Failed(Why::WrongHash)]);
    assert_eq!(budget.left(), 64 << 20);
    let (mut fetch, _) = opened(&raw);
    assert_eq!(talk(&mut fetch, |_| None, 1), [Event::Failed(Why::Closed(Step::Handshake))]);
}

fn handshake(fetch: &Fetch) -> Vec<u8> {
    Handshake::new(fetch.hash(), THEIRS).encode().to_vec()
}

fn framed(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    out.extend([20, id]);
    out.extend_from_slice(payload);
    out
}

fn hello(size: usize) -> Vec<u8> {
    framed(0, format!("d1:md11:ut_metadatai9ee13:metadata_sizei{size}ee").as_bytes())
}

fn piece(piece: i64, total: usize, payload: &[u8]) -> Vec<u8> {
    let mut body = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total}ee").into_bytes();
    body.extend_from_slice(payload);
    framed(OUR_METADATA, &body)
}

fn feed(fetch: &mut Fetch, bytes: &[u8]) -> Result<usize, Why> {
    let used = fetch.on_bytes(T0, bytes)?;
    let mut out = SendQueue::new(1 << 20);
    fetch.poll_write(&mut out);
    Ok(used)
}

/// What a fetch of a dictionary of two pieces comes to when the peer says this.
fn after(say: impl FnOnce(&Fetch) -> Vec<Vec<u8>>) -> Option<Why> {
    let (mut fetch, budget) = opened(&info(20_000));
    let said = say(&fetch);
    let failed = said.iter().find_map(|bytes| feed(&mut fetch, bytes).err());
    let event = fetch.poll_event();
    assert_eq!(event, failed.map(Event::Failed));
    assert!(failed.is_none() || budget.left() == 64 << 20);
    failed
}

#[test]
fn every_bound_of_the_extended_handshake_is_checked() {
    let ends = |hello: &str| {
        let body = hello.as_bytes().to_vec();
        after(move |fetch| vec![handshake(fetch), framed(0, &body)])
    };
    let bounds = Some(Why::Protocol(peer::Error::OutOfBounds));
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei20000ee"), None);
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei0ee"), None);
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei-5ee"), None);
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei16777216ee"), None);
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei16777217ee"), Some(Why::TooLarge));
    assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei9223372036854775807ee"), Some(Why::TooLarge));
    assert_eq!(ends("d1:md11:ut_metadatai0ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
    assert_eq!(ends("d1:md11:ut_metadatai256ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
    assert_eq!(ends("d1:md11:ut_metadatai-1ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
    assert_eq!(ends("d1:md11:ut_metadatai9eee"), None);
    assert_eq!(ends("d1:mi5ee"), Some(Why::NoMetadata));
    assert_eq!(ends("le"), bounds);
    assert_eq!(ends("x"), Some(Why::Protocol(peer::Error::Bencode(bencode::Error::UnexpectedByte))));
}

#[test]
fn every_bound_of_a_piece_is_checked() {
    let raw = info(20_000);
    let total = raw.len();
    let (first, last) = raw.split_at(PIECE);
    let ends = |pieces: Vec<Vec<u8>>| after(|fetch| [vec![handshake(fetch), hello(total)], pieces].concat());
    let bounds = Some(Why::Protocol(peer::Error::OutOfBounds));
    assert_eq!(ends(vec![piece(1, total, last)]), None);
    assert_eq!(ends(vec![piece(2, total, first)]), bounds, "there are two pieces");
    assert_eq!(ends(vec![piece(-1, total, first)]), bounds);
    assert_eq!(ends(vec![piece(1 << 33, total, first)]), bounds);
    assert_eq!(ends(vec![piece(i64::MAX, total, first)]), bounds);
    assert_eq!(ends(vec![piece(0, total, &first[1..])]), bounds, "short block that is not the last");
    assert_eq!(ends(vec![piece(0, total, &raw[..=PIECE])]), bounds, "more than 16 KiB");
    assert_eq!(ends(vec![piece(1, total, &last[1..])]), bounds);
    assert_eq!(ends(vec![piece(1, total, b"")]), Some(Why::EmptyPiece));
    assert_eq!(ends(vec![piece(0, total + 1, first)]), None, "total_size is not metadata_size");
    assert_eq!(ends(vec![piece(0, total, first), piece(0, total, first)]), bounds, "twice");
    let none = framed(OUR_METADATA, b"d8:msg_typei1e5:piecei0eex");
    assert_eq!(ends(vec![none]), bounds, "no total_size");
    let reject = framed(OUR_METADATA, b"d8:msg_typei2e5:piecei0ee");
    assert_eq!(ends(vec![reject]), Some(Why::Rejected));
    let future = framed(OUR_METADATA, b"d8:msg_typei7e5:piecei0ee");
    let request = framed(OUR_METADATA, b"d8:msg_typei0e5:piecei0ee");
    assert_eq!(ends(vec![future, request, piece(0, total, first)]), None);
    let untyped = framed(OUR_METADATA, b"d5:piecei0ee");
    assert_eq!(ends(vec![untyped]), bounds);
    let early = after(|fetch| vec![handshake(fetch), piece(0, total, first)]);
    assert_eq!(early, bounds, "before the size is known");
    let mut long = vec![0, 2, 0, 0, 20, OUR_METADATA];
    long.extend_from_slice(b"d8:msg_type");
    assert_eq!(ends(vec![long]), Some(Why::Protocol(peer::Error::FrameTooLong)));
    let endless = framed(OUR_METADATA, format!("d1:a60000:{}", "x".repeat(2_000)).as_bytes());
    assert!(matches!(ends(vec![endless]), Some(Why::Protocol(peer::Error::Bencode(_)))));
}

#[test]
fn a_long_dictionary_is_refused_whether_it_comes_at_once_or_not() {
    let total = info(20_000).len();
    let body = |len: usize| format!("d8:msg_typei0e5:piecei0e1:z{len}:{}e", "z".repeat(len));
    for (len, refused) in [(900, false), (1_200, true)] {
        let message = framed(OUR_METADATA, body(len).as_bytes());
        for first in [message.len(), 1_100.min(message.len()), 500] {
            let why =
                after(|fetch| vec![[handshake(fetch), hello(total), message[..first].to_vec()].concat()]);
            let broken = matches!(why, Some(Why::Protocol(peer::Error::Bencode(_))));
            assert_eq!(broken, refused && first > 1_024, "{first} bytes of a dictionary of {len}");
        }
    }
}

#[test]
fn nothing_is_asked_before_the_greeting_has_left() {
    let raw = info(20_000);
    let (mut fetch, _) = opened(&raw);
    let mut out = SendQueue::new(60);
    fetch.poll_write(&mut out);
    fetch.on_bytes(T0, &[handshake(&fetch), hello(raw.len())].concat()).unwrap();
    fetch.poll_write(&mut out);
    assert!(out.is_empty(), "a request would fit, our handshakes do not");
    let mut out = SendQueue::new(1_000);
    fetch.poll_write(&mut out);
    assert!(drain(&mut out).starts_with(&Handshake::new(fetch.hash(), OURS).encode()));
}

#[test]
fn the_handshake_must_be_for_this_torrent_from_somebody_else_with_extensions() {
    assert_eq!(
        after(|_| vec![Handshake::new(Id([1; 20]), THEIRS).encode().to_vec()]),
        Some(Why::OtherTorrent)
    );
    assert_eq!(
        after(|fetch| vec![Handshake::new(fetch.hash(), OURS).encode().to_vec()]),
        Some(Why::SelfConnection)
    );
    let plain = |fetch: &Fetch| {
        let mut bytes = handshake(fetch);
        bytes[20..28].fill(0);
        vec![bytes]
    };
    assert_eq!(after(plain), Some(Why::NoMetadata));
    assert_eq!(after(|_| vec![b"HTTP/1.1 400".to_vec()]), Some(Why::Protocol(peer::Error::NotBitTorrent)));
}

#[test]
fn a_long_bitfield_is_skipped_and_endless_chatter_is_not() {
    let field = |len: usize| {
        let mut bytes = (len as u32 + 1).to_be_bytes().to_vec();
        bytes.resize(5 + len, 5);
        bytes
    };
    let raw = info(100);
    let (mut fetch, _) = opened(&raw);
    let mut said = handshake(&fetch);
    said.extend(field(1_500_000));
    said.extend([0; 4 * 100]);
    said.extend(framed(77, &[7; 70_000]));
    said.extend(hello(raw.len()));
    for chunk in said.chunks(9_999) {
        assert!(fetch.on_bytes(T0, chunk).unwrap() > chunk.len() - 100);
    }
    assert_eq!(fetch.step(), Some(Step::Pieces));
    assert_eq!(after(|fetch| vec![handshake(fetch), field(3 << 20)]), Some(Why::Chatter));
    assert_eq!(after(|fetch| vec![handshake(fetch), [0; 4].repeat(20_000)]), Some(Why::Chatter));
    let repeated = framed(0, b"de");
    assert_eq!(
        after(|fetch| vec![handshake(fetch), hello(20_000), repeated.repeat(20_000)]),
        Some(Why::Chatter)
    );
}

#[test]
fn pex_peers_are_taken_up_to_a_bound() {
    let raw = info(20_000);
    let (mut fetch, _) = opened(&raw);
    let hello_first = handshake(&fetch);
    feed(&mut fetch, &hello_first).unwrap();
    feed(&mut fetch, &hello(raw.len())).unwrap();
    let added: Vec<u8> = (1..=150u8).flat_map(|host| [10, 0, 0, host, 0x1a, 0xe1]).collect();
    let mut body = b"d5:added900:".to_vec();
    body.extend_from_slice(&added);
    body.extend_from_slice(b"6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x1a\xe1e");
    let pex = framed(OUR_PEX, &body);
    feed(&mut fetch, &pex).unwrap();
    let Some(Event::PexPeers(peers)) = fetch.poll_event() else { panic!("no peers") };
    assert_eq!(peers.len(), 151);
    assert_eq!(peers[0], "10.0.0.1:6881".parse().unwrap());
    assert_eq!(peers[150], "[2001:db8::7]:6881".parse().unwrap());
    feed(&mut fetch, &pex).unwrap();
    let Some(Event::PexPeers(peers)) = fetch.poll_event() else { panic!("no peers") };
    assert_eq!(peers.len(), PEX_TAKEN_MAX - 151);
    feed(&mut fetch, &pex).unwrap();
    assert_eq!(fetch.poll_event(), None);
}

#[test]
fn a_byte_a_second_is_too_slow_in_every_step() {
    let raw = info(20_000);
    for (step, said) in [(Step::Handshake, 0), (Step::Extended, 1), (Step::Pieces, 2)] {
        let (mut fetch, _) = opened(&raw);
        let steps = [handshake(&fetch), hello(raw.len()), piece(0, raw.len(), &raw[..PIECE])];
        for bytes in &steps[..said] {
            feed(&mut fetch, bytes).unwrap();
        }
        let mut now = T0;
        let mut held = 0;
        for end in 0..steps[said].len() {
            now += Duration::from_secs(1);
            fetch.on_deadline(now);
            if fetch.step().is_none() {
                break;
            }
            held += fetch.on_bytes(now, &steps[said][held..end]).unwrap();
        }
        assert_eq!(fetch.poll_event(), Some(Event::Failed(Why::TimedOut(step))));
        assert!(now <= T0 + Duration::from_secs(4));
    }
}

#[test]
fn it_tells_how_long_the_first_steps_took() {
    let mut fetch = Fetch::new(Id([1; 20]), OURS, (TIMEOUTS, LIMITS), &Budget::new(0), T0);
    let opened = T0 + Duration::from_millis(30);
    fetch.on_opened(opened);
    assert_eq!(fetch.poll_took(), Some((Step::Connect, Duration::from_millis(30))));
    let said = handshake(&fetch);
    fetch.on_bytes(opened + Duration::from_millis(70), &said).unwrap();
    assert_eq!(fetch.poll_took(), Some((Step::Handshake, Duration::from_millis(70))));
    assert_eq!(fetch.poll_took(), None);
}

#[test]
fn a_spurious_deadline_does_nothing_and_connecting_has_one_too() {
    let budget = Budget::new(0);
    let mut fetch = Fetch::new(Id([1; 20]), OURS, (TIMEOUTS, LIMITS), &budget, T0);
    let due = fetch.next_deadline().unwrap();
    fetch.on_deadline(due - Duration::from_nanos(1));
    assert_eq!(fetch.step(), Some(Step::Connect));
    fetch.on_deadline(due);
    assert_eq!(fetch.poll_event(), Some(Event::Failed(Why::TimedOut(Step::Connect))));
    fetch.on_deadline(due);
    fetch.on_eof();
    assert_eq!((fetch.poll_event(), fetch.next_deadline()), (None, None));
}

/// Pieces of 4 MiB that come so long after each other: when and why it ends, and the most that was
/// reserved.
fn dripped(pause: Duration) -> (Duration, Option<Event>, u64) {
    let raw = info(4 << 20);
    let (mut fetch, budget) = opened(&raw);
    let hello_first = handshake(&fetch);
    feed(&mut fetch, &hello_first).unwrap();
    feed(&mut fetch, &hello(raw.len())).unwrap();
    assert_eq!(budget.left(), 64 << 20, "nothing is reserved for what is only claimed");
    let (mut now, mut most) = (T0, 0);
    for (index, payload) in raw.chunks(PIECE).enumerate() {
        now += pause;
        fetch.on_deadline(now);
        if fetch.step().is_none() {
            break;
        }
        fetch.on_bytes(now, &piece(index as i64, raw.len(), payload)).unwrap();
        fetch.poll_write(&mut SendQueue::new(1 << 20));
        most = most.max((64 << 20) - budget.left());
    }
    (now.since(T0), fetch.poll_event(), most)
}

#[test]
fn a_steady_drip_of_pieces_is_too_slow() {
    let (after, end, most) = dripped(TIMEOUTS.piece - Duration::from_millis(1));
    assert_eq!(end, Some(Event::Failed(Why::TooSlow)));
    assert!(after <= TIMEOUTS.piece * 3 && most <= 4 * PIECE as u64, "{after:?} {most}");
    let (after, end, most) = dripped(Duration::from_secs(2));
    assert_eq!(end, Some(Event::Failed(Why::TooSlow)));
    assert!(after <= Duration::from_secs(18) && most <= 16 * PIECE as u64, "{after:?} {most}");
    let (_, end, most) = dripped(Duration::from_millis(900));
    assert!(matches!(end, Some(Event::Assembled(_))) && most <= (4 << 20) + 64, "{end:?}");
}

#[test]
fn time_for_which_it_was_not_read_is_not_the_peers_fault() {
    let raw = info(20_000);
    let (mut fetch, _) = opened(&raw);
    let said = [handshake(&fetch), hello(raw.len())].concat();
    feed(&mut fetch, &said).unwrap();
    let due = fetch.next_deadline().unwrap();
    fetch.on_held_back(Duration::from_secs(50));
    assert_eq!(fetch.next_deadline(), Some(due + Duration::from_secs(50)));
    fetch.on_held_back(Duration::from_secs(50));
    assert_eq!(fetch.next_deadline(), Some(due + Duration::from_secs(60)), "not for ever");
}

#[test]
fn requests_stay_within_the_window_and_memory_within_the_budget() {
    let size = 200 * PIECE;
    let budget = Budget::new(3 * PIECE as u64);
    let mut fetch = Fetch::new(Id([1; 20]), OURS, (TIMEOUTS, LIMITS), &budget, T0);
    fetch.on_opened(T0);
    let said = [handshake(&fetch), hello(size)].concat();
    fetch.on_bytes(T0, &said).unwrap();
    let mut out = SendQueue::new(1 << 20);
    fetch.poll_write(&mut out);
    fetch.poll_write(&mut out);
    let asked = drain(&mut out);
    assert_eq!(asked.windows(8).filter(|bytes| *bytes == b"msg_type").count(), 64);
    assert_eq!(budget.left(), 3 * PIECE as u64);
    feed(&mut fetch, &piece(0, size, &[0; PIECE])).unwrap();
    feed(&mut fetch, &piece(1, size, &[0; PIECE])).unwrap();
    assert_eq!((budget.left(), fetch.reserved_bytes()), (PIECE as u64, 2 * PIECE as u64));
    assert_eq!(feed(&mut fetch, &piece(2, size, &[0; PIECE])), Err(Why::OverShare));
    assert_eq!(budget.left(), 3 * PIECE as u64);
}

#[test]
fn nothing_but_68_bytes_is_said_before_the_peer_speaks() {
    let raw = info(20_000);
    let (mut fetch, _) = opened(&raw);
    let mut out = SendQueue::new(1 << 20);
    fetch.poll_write(&mut out);
    let theirs = handshake(&fetch);
    for cut in 1..HANDSHAKE_LEN {
        assert_eq!(fetch.on_bytes(T0, &theirs[..cut]), Ok(0));
        fetch.poll_write(&mut out);
    }
    assert_eq!(drain(&mut out), Handshake::new(fetch.hash(), OURS).encode());
    fetch.on_bytes(T0, &theirs).unwrap();
    fetch.poll_write(&mut out);
    let hello_of_ours = drain(&mut out);
    assert!(hello_of_ours[4..].starts_with(b"\x14\0d1:m"), "then the extended handshake");
    feed(&mut fetch, &hello(raw.len())).unwrap();
}

/// What a fetch of `raw` comes to when the peer says all of this after its handshake, piece by piece
/// as it is asked.
fn end_of(raw: &[u8], said: &[Vec<u8>]) -> Option<Event> {
    let (mut fetch, _) = opened(raw);
    let first = handshake(&fetch);
    feed(&mut fetch, &first).unwrap();
    said.iter().find(|bytes| feed(&mut fetch, bytes).is_err());
    fetch.poll_event()
}

#[test]
fn a_size_that_is_none_is_learnt_from_the_first_piece_or_a_later_handshake() {
    let raw = info(40_000);
    let total = raw.len();
    let pieces: Vec<_> = raw.chunks(PIECE).zip(0..).map(|(payload, at)| piece(at, total, payload)).collect();
    let sizes = [
        "13:metadata_sizei0e",
        "13:metadata_sizei-1e",
        "13:metadata_sizei-9223372036854775808e",
        "",
        "13:metadata_size5:40096",
        "13:metadata_sizeli1ee",
        "13:metadata_sizei7e",
    ];
    for size in sizes {
        let odd = framed(0, format!("d1:md11:ut_metadatai9ee{size}e").as_bytes());
        let said = [vec![odd.clone()], pieces.clone()].concat();
        assert!(matches!(end_of(&raw, &said), Some(Event::Verified(..))), "{size}");
        // The size of the piece instead of the whole.
        let own = |(payload, at): (&[u8], i64)| piece(at, payload.len(), payload);
        let own: Vec<_> = raw.chunks(PIECE).zip(0..).map(own).collect();
        let said = [vec![odd, hello(total)], own].concat();
        assert!(matches!(end_of(&raw, &said), Some(Event::Verified(..))), "{size}, then a handshake");
    }
    let odd = framed(0, b"d1:md11:ut_metadatai9eee");
    let too_large = piece(0, METADATA_MAX + 1, &raw[..PIECE]);
    assert_eq!(end_of(&raw, &[odd.clone(), too_large]), Some(Event::Failed(Why::TooLarge)));
    let none = piece(0, 0, &raw[..PIECE]);
    let broken = Some(Event::Failed(Why::Protocol(peer::Error::OutOfBounds)));
    assert_eq!(end_of(&raw, &[odd, none]), broken);
}

#[test]
fn what_an_odd_peer_says_beside_the_dictionary_does_not_matter() {
    let raw = info(100);
    for noise in [&b"x"[..], b"le", b"d5:addedi5ee", b"d5:added6:xe", b""] {
        let said = [hello(raw.len()), framed(OUR_PEX, noise), piece(0, raw.len(), &raw)];
        assert!(matches!(end_of(&raw, &said), Some(Event::Verified(..))), "{noise:?}");
    }
    for total in [0, 1, 16_384, i64::MAX as usize] {
        let said = [hello(raw.len()), piece(0, total, &raw)];
        assert!(matches!(end_of(&raw, &said), Some(Event::Verified(..))), "{total}");
    }
}

#[test]
fn an_empty_last_piece_is_told_from_a_lie() {
    let mut raw = info(2 * PIECE);
    raw = info(2 * PIECE - (raw.len() - 2 * PIECE));
    assert_eq!(raw.len(), 2 * PIECE);
    let said = [hello(raw.len()), piece(0, raw.len(), &raw[..PIECE]), piece(1, raw.len(), b"")];
    assert_eq!(end_of(&raw, &said), Some(Event::Failed(Why::EmptyPiece)));
}

#[test]
fn a_setting_bounds_what_is_fetched() {
    let raw = info(20_000);
    let limits = Limits { size_max: 20_000, ..LIMITS };
    let mut fetch = Fetch::new(Id(hash::sha1(&raw)), OURS, (TIMEOUTS, limits), &Budget::new(1 << 20), T0);
    fetch.on_opened(T0);
    let said = [handshake(&fetch), hello(20_001)].concat();
    assert_eq!(fetch.on_bytes(T0, &said), Err(Why::TooLarge));
}

#[test]
fn no_bytes_at_all_can_make_it_panic() {
    fn holds(noise: Vec<u8>, cut: usize) -> bool {
        let (mut fetch, _) = opened(&info(20_000));
        let mut said = [handshake(&fetch), hello(20_000), piece(0, 20_000, b"")].concat();
        said.truncate(cut % (said.len() + 1));
        said.extend(noise);
        let _ = feed(&mut fetch, &said);
        true
    }
    quickcheck::quickcheck(holds as fn(Vec<u8>, usize) -> bool);
}
