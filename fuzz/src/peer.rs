//! What peers say: well-formed messages by choice, so that a machine is led deep, and nonsense.

use std::sync::OnceLock;

use bytes::Bytes;
use dht_hunter::base::{Id, InfoHash, hash};
use dht_hunter::metadata::AT_ONCE_MAX;
use dht_hunter::wire::bencode::Writer;
use dht_hunter::wire::peer::{ExtendedHandshake, Handshake, Metadata, PIECE};

use crate::Feed;

/// Info dictionaries that exist: one of a single piece, one of three, one of v2, one that proves
/// its hash and is no torrent, and one that is so large that reading it is work for a thread.
pub fn library() -> &'static [Bytes] {
    static LIBRARY: OnceLock<Vec<Bytes>> = OnceLock::new();
    LIBRARY.get_or_init(made)
}

fn made() -> Vec<Bytes> {
    let v1 = |len: usize| {
        let mut out = vec![0; len + 80];
        let mut w = Writer::new(&mut out);
        w.raw(b"d6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces").bytes(&vec![b'p'; len]).raw(b"e");
        let written = w.finish().expect("there is room");
        Bytes::copy_from_slice(&out[..written])
    };
    let v2 = b"d9:file treed1:xd0:d6:lengthi5eeee12:meta versioni2e4:name1:x12:piece lengthi16384ee";
    vec![v1(20), v1(2 * PIECE + 100), Bytes::from_static(v2), Bytes::from_static(b"de"), v1(AT_ONCE_MAX)]
}

/// The hash by which one of [`library`] is asked for.
pub fn hash_of(info: &[u8]) -> InfoHash {
    if info.starts_with(b"d9:file tree") {
        return Id::from_slice(&hash::sha256(info)[..20]).expect("20 bytes");
    }
    Id(hash::sha1(info))
}

/// One message of a peer that has `info`, more often right than wrong. `pieces` counts those that
/// it has sent.
pub fn say(feed: &mut Feed<'_>, info: &[u8], pieces: &mut u32, out: &mut Vec<u8>) {
    match feed.u8() % 16 {
        0..=1 => handshake(feed, hash_of(info), out),
        2..=3 => hello(feed, info.len(), out),
        4..=8 => {
            data(feed, info, *pieces, out);
            *pieces += 1;
        }
        9 => {
            let piece = u32::from(feed.u8() % 16);
            data(feed, info, piece, out);
        }
        10 => small(feed, out),
        11 => junk(feed, out),
        12 => extended(1 + feed.u8() % 3, feed.bytes(300), out),
        13 => pex(feed, out),
        14 => out.extend_from_slice(feed.bytes(64)),
        _ => long_dictionary(feed, out),
    }
}

/// A BEP 3 handshake.
pub fn handshake(feed: &mut Feed<'_>, hash: InfoHash, out: &mut Vec<u8>) {
    let mut theirs = Handshake::new(hash, [b't'; 20]);
    match feed.u8() {
        0xff => theirs.info_hash = Id([9; 20]),
        0xfe => theirs.reserved = feed.array(),
        0xfd => theirs.peer_id = [b'o'; 20],
        _ => {}
    }
    out.extend_from_slice(&theirs.encode());
}

/// A BEP 10 handshake.
pub fn hello(feed: &mut Feed<'_>, len: usize, out: &mut Vec<u8>) {
    let mut theirs =
        ExtendedHandshake { ut_metadata: Some(3), ut_pex: Some(1), metadata_size: Some(len as i64) };
    match feed.u8() {
        0xff => theirs.metadata_size = Some(feed.u64() as i64),
        0xfe => theirs.ut_metadata = None,
        0xfd => theirs.metadata_size = Some(i64::from(feed.u32())),
        0xfc => theirs.metadata_size = None,
        _ => {}
    }
    encoded(|room| theirs.encode(room), out);
}

/// A piece of the dictionary, at times with another length, number or content.
pub fn data(feed: &mut Feed<'_>, info: &[u8], piece: u32, out: &mut Vec<u8>) {
    let at = (piece as usize * PIECE).min(info.len());
    let mut payload = info[at..info.len().min(at + PIECE)].to_vec();
    let (mut piece, mut total_size) = (piece, info.len() as i64);
    match feed.u8() {
        0xff => payload.truncate(feed.below(payload.len() + 1)),
        0xfe => payload.extend_from_slice(feed.bytes(20)),
        0xfd => payload.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        0xfc => piece = feed.u32(),
        0xfb => total_size = i64::from(feed.u16()),
        _ => {}
    }
    let message = Metadata::Data { piece, total_size, payload: &payload };
    encoded(|room| message.encode(1, room), out);
}

/// A request, a reject or something of the future.
pub fn small(feed: &mut Feed<'_>, out: &mut Vec<u8>) {
    let piece = if feed.one_in(8) { feed.u32() } else { u32::from(feed.u8() % 5) };
    let message = match feed.u8() % 4 {
        0..=1 => Metadata::Request { piece },
        2 => Metadata::Unknown,
        _ => Metadata::Reject { piece },
    };
    encoded(|room| message.encode(1, room), out);
}

fn junk(feed: &mut Feed<'_>, out: &mut Vec<u8>) {
    match feed.u8() % 4 {
        0 => out.extend_from_slice(&[0; 4]),
        // A `have`.
        1 => out.extend_from_slice(&[0, 0, 0, 5, 4, 0, 0, 0, 1]),
        2 => {
            // A bitfield.
            let bits = feed.below(4_000);
            out.extend_from_slice(&(bits as u32 + 1).to_be_bytes());
            out.push(5);
            out.resize(out.len() + bits, 0xff);
        }
        // A frame of whatever length, of which nothing follows.
        _ => {
            out.extend_from_slice(&feed.u32().to_be_bytes());
            out.push(feed.u8());
        }
    }
}

fn pex(feed: &mut Feed<'_>, out: &mut Vec<u8>) {
    let peers = feed.bytes(60);
    let mut payload = [0; 128];
    let mut w = Writer::new(&mut payload);
    w.raw(b"d5:added").bytes(peers).raw(b"e");
    let len = w.finish().expect("there is room");
    extended(2, &payload[..len], out);
}

/// A piece whose dictionary has a field of the future, of any length.
fn long_dictionary(feed: &mut Feed<'_>, out: &mut Vec<u8>) {
    let filler = vec![b'z'; feed.below(3_000)];
    let mut payload = vec![0; filler.len() + 200];
    let mut w = Writer::new(&mut payload);
    w.raw(b"d8:msg_typei").raw(&[b'0' + feed.u8() % 4]).raw(b"e5:piecei0e10:total_size");
    w.int(i64::from(feed.u8())).raw(b"1:z").bytes(&filler).raw(b"e").raw(feed.bytes(30));
    let len = w.finish().expect("there is room");
    extended(1, &payload[..len], out);
}

fn extended(id: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32 + 2).to_be_bytes());
    out.extend_from_slice(&[20, id]);
    out.extend_from_slice(payload);
}

fn encoded(encode: impl FnOnce(&mut [u8]) -> Option<usize>, out: &mut Vec<u8>) {
    let mut room = vec![0; PIECE + 512];
    let len = encode(&mut room).expect("there is room");
    out.extend_from_slice(&room[..len]);
}
