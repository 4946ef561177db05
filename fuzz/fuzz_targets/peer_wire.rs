//! The peer wire: handshakes, frames whole and in pieces, extension messages and back.
#![no_main]

use dht_hunter::wire::bencode::{self, Limits};
use dht_hunter::wire::peer::{
    ExtendedHandshake, FRAME_MAX, Frame, HANDSHAKE_LEN, Handshake, Head, Metadata, frame, head, pex_added,
};
use dht_hunter_fuzz::Feed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    handshake(input);
    extended(input);
    metadata(input);
    if let Ok(added) = pex_added(input) {
        let added: Vec<_> = added.collect();
        assert!(added.len() <= 400 && 6 * added.len() <= input.len());
        assert!(added.iter().all(|peer| peer.port() != 0));
    }
    frames(input);
});

fn handshake(input: &[u8]) {
    if let Ok(Some(theirs)) = Handshake::decode(input) {
        assert_eq!(&theirs.encode()[..], &input[..HANDSHAKE_LEN]);
        assert!((0..HANDSHAKE_LEN).all(|len| Handshake::decode(&input[..len]) == Ok(None)));
    }
}

fn extended(input: &[u8]) {
    let Ok(theirs) = ExtendedHandshake::decode(input) else { return };
    assert!(theirs.ut_metadata != Some(0) && theirs.ut_pex != Some(0));
    let mut out = [0; 256];
    let len = theirs.encode(&mut out).expect("there is room");
    let Ok(Some((Frame::Extended(0, payload), taken))) = frame(&out[..len]) else { panic!("no frame") };
    assert_eq!((ExtendedHandshake::decode(payload), taken), (Ok(theirs), len));
    assert!(bencode::decode(payload, &Limits::STRICT).is_ok(), "canonical");
}

fn metadata(input: &[u8]) {
    let Ok(message) = Metadata::decode(input) else { return };
    let mut out = vec![0; input.len() + 256];
    let len = message.encode(7, &mut out).expect("there is room");
    let written = match message {
        Metadata::Data { payload, .. } if payload.len() > FRAME_MAX - 256 => return,
        _ => &out[..len],
    };
    let Ok(Some((Frame::Extended(7, payload), taken))) = frame(written) else { panic!("no frame") };
    assert_eq!(taken, len);
    assert_eq!(Metadata::decode(payload), Ok(message));
    let (_, used) = bencode::decode_prefix(payload, &Limits::STRICT).expect("canonical");
    let follows = if let Metadata::Data { payload, .. } = message { payload } else { &[] };
    assert_eq!(&payload[used..], follows);
}

/// What comes in pieces means what it means in one; half a frame is nothing yet.
fn frames(input: &[u8]) {
    let mut feed = Feed::new(input);
    let cuts = feed.bytes(16);
    let stream = feed.rest();
    let (whole, broken) = all_frames(stream);
    let (mut split, mut split_broken) = (Vec::new(), false);
    let (mut start, mut end) = (0, 0);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([stream.len()]) {
        end = stream.len().min(end + cut);
        let (some, failed) = all_frames(&stream[start..end]);
        start += some.iter().map(|(_, taken)| taken).sum::<usize>();
        split.extend(some);
        split_broken = failed;
        if failed {
            break;
        }
    }
    assert_eq!((whole, broken), (split, split_broken));
}

fn all_frames(stream: &[u8]) -> (Vec<(Frame<'_>, usize)>, bool) {
    let (mut found, mut rest) = (Vec::new(), stream);
    loop {
        let head = head(rest);
        match frame(rest) {
            Ok(None) => {
                assert!(head.is_none_or(|(head, at)| rest.len() < at + head.payload_len()));
                return (found, false);
            }
            Err(_) => {
                assert!(head.is_some_and(|(head, _)| head.payload_len() > FRAME_MAX));
                return (found, true);
            }
            Ok(Some((frame, taken))) => {
                let (head, at) = head.expect("a frame has a head");
                assert_eq!(at + head.payload_len(), taken);
                match (frame, head) {
                    (Frame::KeepAlive, Head::KeepAlive) => assert_eq!(taken, 4),
                    (Frame::Extended(id, payload), Head::Extended { id: same, .. }) => {
                        assert_eq!((id, payload), (same, &rest[at..taken]));
                        assert!(payload.len() <= FRAME_MAX);
                    }
                    (Frame::Other(id), Head::Other { id: same, .. }) => assert_eq!(id, same),
                    (frame, head) => panic!("{head:?} became {frame:?}"),
                }
                found.push((frame, taken));
                rest = &rest[taken..];
            }
        }
    }
}
