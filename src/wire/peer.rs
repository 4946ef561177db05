//! The peer wire as far as metadata needs it: BEP 3 handshake and framing, BEP 10 extended
//! handshake, BEP 9 `ut_metadata`, BEP 11 `ut_pex`.

use std::net::SocketAddr;

use super::bencode::{self, Dict, Limits, Value, Writer};
use super::compact::{self, PEER_V4, PEER_V6};
use crate::base::{Id, InfoHash};

/// The BEP 3 handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Capability bits: see [`Handshake::extended`].
    pub reserved: [u8; 8],
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer's own id.
    pub peer_id: [u8; 20],
}

/// Why a peer's bytes are refused. Every one of these ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The extension dictionary is not bencode.
    Bencode(bencode::Error),
    /// A frame longer than [`FRAME_MAX`].
    FrameTooLong,
    /// Not a BitTorrent handshake.
    NotBitTorrent,
    /// A required field is missing, of the wrong type or out of bounds.
    OutOfBounds,
}

/// One message of the stream after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Four zero bytes.
    KeepAlive,
    /// BEP 10: the sub-id, then its payload.
    Extended(u8, &'a [u8]),
    /// Any other message id; its payload does not matter here.
    Other(u8),
}

/// How a message begins: enough to decide whether to wait for it, to stream it or to skip it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Four zero bytes.
    KeepAlive,
    /// BEP 10.
    Extended {
        /// The sub-id.
        id: u8,
        /// Bytes that follow it.
        payload_len: usize,
    },
    /// Any other message.
    Other {
        /// Its id.
        id: u8,
        /// Bytes that follow it.
        payload_len: usize,
    },
}

/// The BEP 10 handshake, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// The sub-id under which the sender wants `ut_metadata`; 0 or absent: it does not speak it.
    pub ut_metadata: Option<u8>,
    /// The sub-id under which the sender wants `ut_pex`.
    pub ut_pex: Option<u8>,
    /// `metadata_size`, as claimed: not yet held against any cap.
    pub metadata_size: Option<i64>,
}

/// A BEP 9 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata<'a> {
    /// msg_type 0
    Request {
        /// From 0, each 16 KiB.
        piece: u32,
    },
    /// msg_type 1
    Data {
        /// From 0.
        piece: u32,
        /// The whole dictionary's size, as claimed here.
        total_size: i64,
        /// What follows the bencoded part.
        payload: &'a [u8],
    },
    /// msg_type 2
    Reject {
        /// From 0.
        piece: u32,
    },
    /// A type of the future; to be ignored.
    Unknown,
}

impl Handshake {
    /// Ours: extended messages (BEP 10) and the DHT (BEP 5).
    pub fn new(info_hash: InfoHash, peer_id: [u8; 20]) -> Self {
        Self { reserved: [0, 0, 0, 0, 0, LTEP, 0, DHT], info_hash, peer_id }
    }

    /// Reads the first [`HANDSHAKE_LEN`] bytes; `None` if there are not enough yet. Bytes that
    /// can no longer become a handshake are refused at once.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let known = bytes.len().min(PROTOCOL.len());
        if bytes[..known] != PROTOCOL[..known] {
            return Err(Error::NotBitTorrent);
        }
        let Some(rest) = bytes.get(PROTOCOL.len()..HANDSHAKE_LEN) else { return Ok(None) };
        let (mut reserved, mut peer_id) = ([0; 8], [0; 20]);
        reserved.copy_from_slice(&rest[..8]);
        peer_id.copy_from_slice(&rest[28..]);
        let info_hash = Id::from_slice(&rest[8..28]).ok_or(Error::NotBitTorrent)?;
        Ok(Some(Self { reserved, info_hash, peer_id }))
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id);
        out
    }

    /// BEP 10 is spoken.
    pub fn extended(&self) -> bool {
        self.reserved[5] & LTEP != 0
    }
}

/// Reads how a frame begins: the head and the bytes it took. The payload that follows may not
/// have arrived, and its length is as claimed: not yet held against any cap. `None`: not enough
/// bytes to tell.
pub fn head(bytes: &[u8]) -> Option<(Head, usize)> {
    let (length, body) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    match (length, body) {
        (0, _) => Some((Head::KeepAlive, 4)),
        (2.., [EXTENDED, id, ..]) => Some((Head::Extended { id: *id, payload_len: length - 2 }, 6)),
        (2.., [EXTENDED]) => None,
        (_, [id, ..]) => Some((Head::Other { id: *id, payload_len: length - 1 }, 5)),
        _ => None,
    }
}

/// Takes one frame off the front: the frame and its length on the wire, or `None` if it is not
/// complete yet.
pub fn frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Error> {
    let Some((head, at)) = head(bytes) else { return Ok(None) };
    let len = head.payload_len();
    if len > FRAME_MAX {
        return Err(Error::FrameTooLong);
    }
    let Some(payload) = bytes.get(at..at + len) else { return Ok(None) };
    let frame = match head {
        Head::KeepAlive => Frame::KeepAlive,
        Head::Extended { id, .. } => Frame::Extended(id, payload),
        Head::Other { id, .. } => Frame::Other(id),
    };
    Ok(Some((frame, at + len)))
}

impl Head {
    /// How many bytes of the frame follow the head.
    pub fn payload_len(self) -> usize {
        match self {
            Self::KeepAlive => 0,
            Self::Extended { payload_len, .. } | Self::Other { payload_len, .. } => payload_len,
        }
    }
}

impl ExtendedHandshake {
    /// Reads the payload of sub-id 0.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let (dict, _) = dict(payload)?;
        let m = dict.get(b"m").and_then(Value::dict);
        let id = |name: &[u8]| {
            let id = m.and_then(|m| m.get(name)).and_then(Value::int);
            id.and_then(|id| u8::try_from(id).ok()).filter(|id| *id != 0)
        };
        Ok(Self {
            ut_metadata: id(b"ut_metadata"),
            ut_pex: id(b"ut_pex"),
            metadata_size: dict.get(b"metadata_size").and_then(Value::int),
        })
    }

    /// Writes the whole frame; its length, or `None` if `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        framed(out, 0, |w| {
            w.raw(b"d1:md");
            if let Some(id) = self.ut_metadata {
                w.raw(b"11:ut_metadata").int(i64::from(id));
            }
            if let Some(id) = self.ut_pex {
                w.raw(b"6:ut_pex").int(i64::from(id));
            }
            w.raw(b"e");
            if let Some(size) = self.metadata_size {
                w.raw(b"13:metadata_size").int(size);
            }
            w.raw(b"4:reqqi250e1:v14:dht-hunter 0.1e");
        })
    }
}

impl<'a> Metadata<'a> {
    /// Reads the payload of a `ut_metadata` message.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Error> {
        let (dict, used) = dict(payload)?;
        let int = |key: &[u8]| dict.get(key).and_then(Value::int);
        let kind = int(b"msg_type").ok_or(Error::OutOfBounds)?;
        let piece = int(b"piece").and_then(|piece| u32::try_from(piece).ok());
        let piece = piece.ok_or(Error::OutOfBounds)?;
        Ok(match kind {
            0 => Self::Request { piece },
            1 => {
                Self::Data { piece, total_size: int(b"total_size").unwrap_or(-1), payload: &payload[used..] }
            }
            2 => Self::Reject { piece },
            _ => Self::Unknown,
        })
    }

    /// Writes the whole frame for a peer that wants `ut_metadata` under `id`; its length, or
    /// `None` if `out` is too small.
    pub fn encode(&self, id: u8, out: &mut [u8]) -> Option<usize> {
        framed(out, id, |w| {
            let (kind, piece) = match self {
                Self::Request { piece } => (0, *piece),
                Self::Data { piece, .. } => (1, *piece),
                Self::Reject { piece } => (2, *piece),
                Self::Unknown => (3, 0),
            };
            w.raw(b"d8:msg_type").int(kind).raw(b"5:piece").int(i64::from(piece));
            if let Self::Data { total_size, payload, .. } = self {
                w.raw(b"10:total_size").int(*total_size).raw(b"e").raw(payload);
            } else {
                w.raw(b"e");
            }
        })
    }
}

/// The peers that a `ut_pex` payload adds, of both families (BEP 11).
pub fn pex_added(payload: &[u8]) -> Result<impl Iterator<Item = SocketAddr> + '_, Error> {
    let (dict, _) = dict(payload)?;
    let list = |key: &[u8]| dict.get(key).and_then(Value::bytes).unwrap_or_default();
    let v4 = list(b"added").chunks_exact(PEER_V4).take(PEX_MAX);
    let v6 = list(b"added6").chunks_exact(PEER_V6).take(PEX_MAX);
    Ok(v4.chain(v6).filter_map(compact::peer).filter(|peer| peer.port() != 0))
}

fn dict(payload: &[u8]) -> Result<(Dict<'_>, usize), Error> {
    let (value, used) = bencode::decode_prefix(payload, &EXTENSION).map_err(Error::Bencode)?;
    Ok((value.dict().ok_or(Error::OutOfBounds)?, used))
}

/// Writes an extended message around what `body` writes.
fn framed(out: &mut [u8], id: u8, body: impl FnOnce(&mut Writer<'_>)) -> Option<usize> {
    let (head, rest) = out.split_first_chunk_mut::<6>()?;
    let mut w = Writer::new(rest);
    body(&mut w);
    let len = w.finish()?;
    head[..4].copy_from_slice(&u32::try_from(len + 2).ok()?.to_be_bytes());
    (head[4], head[5]) = (EXTENDED, id);
    Some(6 + len)
}

/// Length of the BEP 3 handshake.
pub const HANDSHAKE_LEN: usize = 1 + 19 + 8 + 20 + 20;
/// BEP 9: every piece but the last has this many bytes.
pub const PIECE: usize = 16_384;
/// The longest payload that is read as a whole: a piece with its dictionary fits three times
/// over. Longer frames (a bitfield of half a million pieces) can be skipped by their [`head`].
pub const FRAME_MAX: usize = 64 * 1024;

/// BEP 11 says 50 at a time; some clients send more at first.
const PEX_MAX: usize = 200;
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// BEP 10, in reserved byte 5.
const LTEP: u8 = 0x10;
/// BEP 5, in reserved byte 7.
const DHT: u8 = 0x01;
/// BEP 10 message id.
const EXTENDED: u8 = 20;
/// Extension dictionaries are small; these bounds leave room for fields of the future.
const EXTENSION: Limits = Limits { strict: false, depth: 10, tokens: 500 };

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Error = Error::OutOfBounds;

    /// The bencoded part of a frame that we wrote must be canonical; where the payload begins.
    fn dict_len(frame: &[u8]) -> usize {
        bencode::decode_prefix(&frame[6..], &Limits::STRICT).unwrap().1
    }

    #[test]
    fn c1_the_smallest_extended_handshake() {
        let bytes = b"\x00\x00\x00\x1a\x14\x00d1:md11:ut_metadatai1eee";
        let (found, used) = frame(bytes).unwrap().unwrap();
        assert_eq!(used, 4 + 26);
        let Frame::Extended(0, payload) = found else { panic!("{found:?}") };
        let expected = ExtendedHandshake { ut_metadata: Some(1), ut_pex: None, metadata_size: None };
        assert_eq!(ExtendedHandshake::decode(payload), Ok(expected));
        assert!((0..bytes.len()).all(|len| frame(&bytes[..len]) == Ok(None)));
        assert_eq!(head(bytes), Some((Head::Extended { id: 0, payload_len: 24 }, 6)));
    }

    #[test]
    fn c3_data_begins_right_after_its_dictionary() {
        let payload = b"d8:msg_typei1e5:piecei0e10:total_sizei3425eeexx";
        let data = Metadata::Data { piece: 0, total_size: 3_425, payload: b"exx" };
        assert_eq!(Metadata::decode(payload), Ok(data));
        let mut out = [0; 100];
        let len = data.encode(3, &mut out).unwrap();
        assert_eq!((out[4], out[5], dict_len(&out[..len])), (20, 3, len - 6 - 3));
        assert_eq!(frame(&out[..len]), Ok(Some((Frame::Extended(3, &payload[..]), len))));
    }

    #[test]
    fn c4_reject_is_2_whatever_bep_9_prints() {
        assert_eq!(Metadata::decode(b"d8:msg_typei2e5:piecei0ee"), Ok(Metadata::Reject { piece: 0 }));
        assert_eq!(
            Metadata::decode(b"d8:msg_typei0e5:piecei4294967295ee"),
            Ok(Metadata::Request { piece: u32::MAX })
        );
        assert_eq!(Metadata::decode(b"d8:msg_typei3e5:piecei0ee"), Ok(Metadata::Unknown));
        for message in
            [Metadata::Reject { piece: 7 }, Metadata::Request { piece: u32::MAX }, Metadata::Unknown]
        {
            let mut out = [0; 64];
            let len = message.encode(9, &mut out).unwrap();
            assert_eq!(dict_len(&out[..len]), len - 6);
            assert_eq!(Metadata::decode(&out[6..len]), Ok(message));
            assert_eq!(message.encode(9, &mut out[..len - 1]), None);
        }
    }

    /// The rest of C6, which needs the size, is in `metadata::fetch`.
    #[test]
    fn c6_what_can_be_refused_without_the_size() {
        for bad in ["d8:msg_typei1e5:piecei-1ee", "d8:msg_typei1e5:piecei4294967296ee", "d8:msg_typei1ee"] {
            assert_eq!(Metadata::decode(bad.as_bytes()), Err(BOUNDS), "{bad}");
        }
        for bad in ["d5:piecei0ee", "d8:msg_type1:15:piecei0ee", "le", "i1e"] {
            assert_eq!(Metadata::decode(bad.as_bytes()), Err(BOUNDS), "{bad}");
        }
        let unsized_data = Metadata::decode(b"d8:msg_typei1e5:piecei0eex");
        assert_eq!(unsized_data, Ok(Metadata::Data { piece: 0, total_size: -1, payload: b"x" }));
        for (m, id) in [("0", None), ("1", Some(1)), ("255", Some(255)), ("256", None), ("-1", None)] {
            let hello = format!("d1:md11:ut_metadatai{m}eee");
            assert_eq!(ExtendedHandshake::decode(hello.as_bytes()).unwrap().ut_metadata, id, "{m}");
        }
        assert_eq!(ExtendedHandshake::decode(b"5:hello"), Err(BOUNDS));
        let deep = [vec![b'd'], b"1:ad".repeat(20)].concat();
        assert_eq!(ExtendedHandshake::decode(&deep), Err(Error::Bencode(bencode::Error::Depth)));
    }

    #[test]
    fn c7_reserved_bits() {
        let ours = Handshake::new(Id([1; 20]), [2; 20]);
        assert!(ours.extended());
        assert_eq!((ours.reserved[5] & 0x10, ours.reserved[7] & 0x01), (0x10, 0x01));
        assert_eq!(ours.reserved[7] & (0x04 | 0x10), 0, "neither Fast nor a v2 upgrade is offered");
        let plain = Handshake { reserved: [0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xff], ..ours };
        assert!(!plain.extended());
    }

    #[test]
    fn handshakes_round_trip_and_nonsense_is_refused_at_its_first_byte() {
        let ours = Handshake::new(Id([1; 20]), [2; 20]);
        let bytes = ours.encode();
        assert_eq!(Handshake::decode(&bytes), Ok(Some(ours)));
        assert!((0..HANDSHAKE_LEN).all(|len| Handshake::decode(&bytes[..len]) == Ok(None)));
        assert_eq!(Handshake::decode(b"\x12"), Err(Error::NotBitTorrent));
        assert_eq!(Handshake::decode(b"\x13BitTorrent protocoL"), Err(Error::NotBitTorrent));
    }

    #[test]
    fn extended_handshakes_round_trip_canonically() {
        for metadata_size in [None, Some(1), Some(i64::MAX)] {
            let ours = ExtendedHandshake { ut_metadata: Some(255), ut_pex: Some(1), metadata_size };
            let mut out = [0; 160];
            let len = ours.encode(&mut out).unwrap();
            assert_eq!(dict_len(&out[..len]), len - 6);
            assert_eq!(ExtendedHandshake::decode(&out[6..len]), Ok(ours));
        }
    }

    #[test]
    fn frames_of_every_kind_are_told_apart() {
        assert_eq!(frame(&[0; 4]), Ok(Some((Frame::KeepAlive, 4))));
        assert_eq!(frame(&[0, 0, 0, 1, 20, 9]), Ok(Some((Frame::Other(20), 5))), "no sub-id");
        assert_eq!(frame(&[0, 0, 0, 3, 5, 1, 2, 9]), Ok(Some((Frame::Other(5), 7))));
        assert_eq!(frame(&[0, 0, 0, 2, 20]), Ok(None));
        assert_eq!(frame(&[0xff, 0xff, 0xff, 0xff, 5]), Err(Error::FrameTooLong));
        let head_of_long = Head::Other { id: 5, payload_len: 0xffff_fffe };
        assert_eq!(head(&[0xff, 0xff, 0xff, 0xff, 5]), Some((head_of_long, 5)));
    }

    #[test]
    fn pex_lists_leave_out_odd_ends_and_port_0() {
        let body = b"d5:added14:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\0\0xx6:added618:0123456789abcdef\x1a\xe17:added.f2:\0\0e";
        let peers: Vec<_> = pex_added(body).unwrap().collect();
        let v6 = "[3031:3233:3435:3637:3839:6162:6364:6566]:6881";
        assert_eq!(peers, ["10.0.0.1:6881".parse().unwrap(), v6.parse().unwrap()]);
        assert_eq!(pex_added(b"d5:addedi5ee").unwrap().count(), 0);
        assert!(pex_added(b"").is_err());
    }

    quickcheck::quickcheck! {
        fn no_bytes_can_make_it_panic(bytes: Vec<u8>) -> bool {
            _ = (Handshake::decode(&bytes), frame(&bytes), head(&bytes), ExtendedHandshake::decode(&bytes));
            _ = (Metadata::decode(&bytes), pex_added(&bytes).map(Iterator::count));
            true
        }

        fn extended_handshakes_of_any_content_round_trip(metadata: u8, pex: u8, size: Option<i64>) -> bool {
            let some = |id: u8| (id > 0).then_some(id);
            let ours = ExtendedHandshake { ut_metadata: some(metadata), ut_pex: some(pex), metadata_size: size };
            let mut out = [0; 160];
            let len = ours.encode(&mut out).unwrap();
            let Ok(Some((Frame::Extended(0, payload), taken))) = frame(&out[..len]) else { return false };
            taken == len && ExtendedHandshake::decode(payload) == Ok(ours) && dict_len(&out[..len]) == len - 6
        }

        fn metadata_messages_of_any_content_round_trip(
            kind: u8, id: u8, piece: u32, total_size: i64, payload: Vec<u8>
        ) -> bool {
            let message = match kind % 4 {
                0 => Metadata::Request { piece },
                1 => Metadata::Data { piece, total_size, payload: &payload },
                2 => Metadata::Reject { piece },
                _ => Metadata::Unknown,
            };
            let mut out = vec![0; payload.len() + 100];
            let len = message.encode(id, &mut out).unwrap();
            let Ok(Some((Frame::Extended(same, body), taken))) = frame(&out[..len]) else { return false };
            (same, taken, Metadata::decode(body)) == (id, len, Ok(message))
        }

        fn a_stream_of_frames_is_the_same_however_it_is_cut(payloads: Vec<(u8, Vec<u8>)>, cuts: Vec<u8>) -> bool {
            let mut stream = Vec::new();
            for (id, payload) in &payloads {
                stream.extend_from_slice(&(payload.len() as u32 + 1).to_be_bytes());
                stream.push(*id);
                stream.extend_from_slice(payload);
            }
            let read = |ends: &[usize]| {
                let (mut found, mut at) = (Vec::new(), 0);
                for end in ends {
                    while let Ok(Some((frame, taken))) = frame(&stream[at..*end]) {
                        found.push((frame, taken));
                        at += taken;
                    }
                }
                found
            };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut).min(stream.len())).collect();
            ends.sort_unstable();
            ends.push(stream.len());
            let whole = read(&[stream.len()]);
            whole.len() == payloads.len() && read(&ends) == whole
        }
    }
}
