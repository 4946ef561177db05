//! The seeding side of BEP 9: one connection of a peer that wants an info dictionary. Pieces are
//! slices of the dictionary itself; nothing is copied.

use std::time::Duration;

use bytes::Bytes;

use crate::base::{InfoHash, Instant, SendQueue};
use crate::wire::peer::{Error, ExtendedHandshake, Frame, HANDSHAKE_LEN, Handshake, Metadata, PIECE, frame};

/// Where the dictionaries are.
pub trait Library {
    /// The raw info dictionary under this hash, which may be a truncated v2 one.
    fn info(&self, hash: &InfoHash) -> Option<Bytes>;
}

impl<F: Fn(&InfoHash) -> Option<Bytes>> Library for F {
    fn info(&self, hash: &InfoHash) -> Option<Bytes> {
        self(hash)
    }
}

/// Why the connection of a peer is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It asks faster than it reads: more than 2,300 pieces.
    Flood,
    /// It asks for a torrent that is not here.
    UnknownTorrent,
    /// It broke BEP 3, 9 or 10.
    Protocol(Error),
}

/// One accepted connection.
#[derive(Debug)]
pub struct Serve {
    peer_id: [u8; 20],
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    Handshaking,
    Serving {
        hash: InfoHash,
        info: Bytes,
        /// Our handshakes are queued.
        greeted: bool,
        /// The id under which the peer wants `ut_metadata`.
        id: Option<u8>,
        /// Pieces asked for and not yet answered.
        asked: Vec<u32>,
    },
    Over,
}

impl Serve {
    /// A connection that was just accepted. `peer_id` is ours.
    pub fn new(peer_id: [u8; 20], now: Instant) -> Self {
        Self { peer_id, state: State::Handshaking, deadline: now + IDLE_MAX }
    }

    /// Bytes from the peer; how many were consumed. At most [`super::UNCONSUMED_MAX`] are left.
    pub fn on_bytes(&mut self, now: Instant, data: &[u8], library: &impl Library) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            match self.take(now, &data[used..], library) {
                Ok(0) => return Ok(used),
                Ok(taken) => used += taken,
                Err(fault) => {
                    self.state = State::Over;
                    return Err(fault);
                }
            }
        }
    }

    /// Queues answers while there is room.
    pub fn poll_write(&mut self, out: &mut SendQueue) {
        let State::Serving { hash, info, greeted, id, asked } = &mut self.state else { return };
        if !*greeted {
            *greeted = out.push(greeting(*hash, self.peer_id, info.len())).is_ok();
        }
        let Some(id) = id.filter(|_| *greeted) else { return };
        let answered = asked.iter().take_while(|piece| answer(id, **piece, info, out)).count();
        asked.drain(..answered);
    }

    /// False while answers wait: the driver stops reading.
    pub fn wants_read(&self) -> bool {
        !matches!(&self.state, State::Serving { asked, .. } if asked.len() >= READ_UNTIL)
    }

    /// True once it refused the peer or its time ran out: close the connection.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// When [`Serve::on_deadline`] is to be called; `None` once it is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.is_over()).then_some(self.deadline)
    }

    /// Ends a connection on which nothing was asked for too long; else does nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.deadline <= now {
            self.state = State::Over;
        }
    }

    fn take(&mut self, now: Instant, data: &[u8], library: &impl Library) -> Result<usize, Fault> {
        match &mut self.state {
            State::Over => Ok(data.len()),
            State::Handshaking => {
                let Some(theirs) = Handshake::decode(data).map_err(Fault::Protocol)? else { return Ok(0) };
                let info = library.info(&theirs.info_hash).ok_or(Fault::UnknownTorrent)?;
                let hash = theirs.info_hash;
                self.state = State::Serving { hash, info, greeted: false, id: None, asked: Vec::new() };
                self.deadline = now + IDLE_MAX;
                Ok(HANDSHAKE_LEN)
            }
            State::Serving { id, asked, .. } => {
                let Some((frame, taken)) = frame(data).map_err(Fault::Protocol)? else { return Ok(0) };
                match frame {
                    Frame::Extended(0, payload) => {
                        let theirs = ExtendedHandshake::decode(payload).map_err(Fault::Protocol)?;
                        *id = theirs.ut_metadata.or(*id);
                    }
                    Frame::Extended(OUR_METADATA, payload) => {
                        if let Metadata::Request { piece } =
                            Metadata::decode(payload).map_err(Fault::Protocol)?
                        {
                            if asked.len() >= ASKED_MAX {
                                return Err(Fault::Flood);
                            }
                            asked.push(piece);
                            self.deadline = now + IDLE_MAX;
                        }
                    }
                    _ => {}
                }
                Ok(taken)
            }
        }
    }
}

/// Queues the piece, or a reject if there is no such piece; false if it does not fit now.
fn answer(id: u8, piece: u32, info: &Bytes, out: &mut SendQueue) -> bool {
    let at = (piece as usize).saturating_mul(PIECE);
    let mut dict = [0; DICT_LEN_MAX];
    if at >= info.len() {
        let len = Metadata::Reject { piece }.encode(id, &mut dict).expect("a reject fits in DICT_LEN_MAX");
        return out.push(Bytes::copy_from_slice(&dict[..len])).is_ok();
    }
    let payload = info.slice(at..info.len().min(at + PIECE));
    let total_size = info.len() as i64;
    let head = Metadata::Data { piece, total_size, payload: &[] };
    let len = head.encode(id, &mut dict).expect("a dictionary fits in DICT_LEN_MAX");
    let frame_len = (len - 4 + payload.len()) as u32;
    dict[..4].copy_from_slice(&frame_len.to_be_bytes());
    if out.room() < len + payload.len() {
        return false;
    }
    out.push(Bytes::copy_from_slice(&dict[..len])).is_ok() && out.push(payload).is_ok()
}

fn greeting(hash: InfoHash, peer_id: [u8; 20], size: usize) -> Bytes {
    let mut out = [0; HANDSHAKE_LEN + 128];
    out[..HANDSHAKE_LEN].copy_from_slice(&Handshake::new(hash, peer_id).encode());
    let metadata_size = Some(size as i64);
    let ours = ExtendedHandshake { ut_metadata: Some(OUR_METADATA), ut_pex: None, metadata_size };
    let len = ours.encode(&mut out[HANDSHAKE_LEN..]).expect("our handshake fits in 128 bytes");
    Bytes::copy_from_slice(&out[..HANDSHAKE_LEN + len])
}

/// A peer that asks for nothing for so long makes room for another.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Requests held of one peer before reading stops: as many as our own fetches ask for at once.
const READ_UNTIL: usize = 64;
/// What a read of 64 KiB can hold on top of those, at 29 bytes a request.
const ASKED_MAX: usize = READ_UNTIL + 64 * 1_024 / 29;
/// 6 of frame, `d8:msg_typei1e5:piecei` 22, 10 digits, `e10:total_sizei` 15, 20 digits, `ee` 2.
const DICT_LEN_MAX: usize = 6 + 22 + 10 + 15 + 20 + 2;
const OUR_METADATA: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    const T0: Instant = Instant::from_millis(5);
    const INFO: Bytes = Bytes::from_static(&[b'x'; PIECE + 10]);

    fn library(hash: &InfoHash) -> Option<Bytes> {
        (hash.0 == [1; 20]).then_some(INFO)
    }

    /// A server after these bytes, and what it answers within `room`.
    fn after(bytes: &[u8], room: usize) -> (Serve, Vec<u8>) {
        let mut serve = Serve::new([b's'; 20], T0);
        assert_eq!(serve.on_bytes(T0, bytes, &library), Ok(bytes.len()));
        let answer = answers(&mut serve, room);
        (serve, answer)
    }

    fn answers(serve: &mut Serve, room: usize) -> Vec<u8> {
        let mut out = SendQueue::new(room);
        serve.poll_write(&mut out);
        let mut slices = [std::io::IoSlice::new(&[]); 400];
        let filled = out.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn handshake() -> Vec<u8> {
        let mut bytes = Handshake::new(Id([1; 20]), [b'c'; 20]).encode().to_vec();
        bytes.extend_from_slice(b"\x00\x00\x00\x1a\x14\x00d1:md11:ut_metadatai7eee");
        bytes
    }

    fn request(piece: u32) -> Vec<u8> {
        let mut out = [0; 64];
        let len = Metadata::Request { piece }.encode(OUR_METADATA, &mut out).unwrap();
        out[..len].to_vec()
    }

    /// The `ut_metadata` messages in what a server sent after its BEP 3 handshake.
    fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some((Frame::Extended(id, payload), taken)) = frame(bytes).unwrap() {
            found.push((id, payload.to_vec()));
            bytes = &bytes[taken..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn it_says_the_size_and_answers_each_request_in_order() {
        let asked = [handshake(), request(1), request(2), request(u32::MAX), request(0)].concat();
        let (_, said) = after(&asked, 1 << 20);
        assert_eq!(Handshake::decode(&said), Ok(Some(Handshake::new(Id([1; 20]), [b's'; 20]))));
        let messages = messages(&said[HANDSHAKE_LEN..]);
        let hello = ExtendedHandshake::decode(&messages[0].1).unwrap();
        assert_eq!((hello.metadata_size, hello.ut_metadata), (Some(INFO.len() as i64), Some(OUR_METADATA)));
        assert!(messages[1..].iter().all(|(id, _)| *id == 7));
        let decoded: Vec<_> =
            messages[1..].iter().map(|(_, payload)| Metadata::decode(payload).unwrap()).collect();
        let total_size = INFO.len() as i64;
        assert_eq!(decoded[0], Metadata::Data { piece: 1, total_size, payload: &INFO[PIECE..] });
        assert_eq!(decoded[1..3], [Metadata::Reject { piece: 2 }, Metadata::Reject { piece: u32::MAX }]);
        assert_eq!(decoded[3], Metadata::Data { piece: 0, total_size, payload: &INFO[..PIECE] });
    }

    #[test]
    fn what_does_not_fit_waits_and_nothing_is_sent_by_halves() {
        let (mut serve, said) = after(&[handshake(), request(0), request(1)].concat(), 300);
        assert_eq!(messages(&said[HANDSHAKE_LEN..]).len(), 1);
        assert!(answers(&mut serve, PIECE).is_empty());
        assert_eq!(messages(&answers(&mut serve, PIECE + 100)).len(), 1);
        assert_eq!(messages(&answers(&mut serve, PIECE + 100)).len(), 1);
        assert!(answers(&mut serve, PIECE + 100).is_empty());
    }

    #[test]
    fn nothing_leaves_before_the_handshake() {
        let (mut serve, said) = after(&[handshake(), request(9)].concat(), 100);
        assert!(said.is_empty(), "a reject would fit, our handshake does not");
        let said = answers(&mut serve, 1_000);
        assert_eq!((Handshake::decode(&said).is_ok(), messages(&said[HANDSHAKE_LEN..]).len()), (true, 2));
    }

    #[test]
    fn a_peer_that_asks_without_end_is_held_back_then_dropped() {
        let (mut serve, _) = after(&[handshake(), request(0).repeat(READ_UNTIL)].concat(), 0);
        assert!(!serve.wants_read());
        assert_eq!(serve.on_bytes(T0, &request(0).repeat(ASKED_MAX), &library), Err(Fault::Flood));
        assert!(serve.is_over() && serve.next_deadline().is_none());
    }

    #[test]
    fn unknown_torrents_nonsense_and_idle_peers_are_dropped() {
        let mut serve = Serve::new([b's'; 20], T0);
        let unknown = Handshake::new(Id([2; 20]), [b'c'; 20]).encode();
        assert_eq!(serve.on_bytes(T0, &unknown, &library), Err(Fault::UnknownTorrent));
        let mut serve = Serve::new([b's'; 20], T0);
        assert_eq!(serve.on_bytes(T0, b"GET /", &library), Err(Fault::Protocol(Error::NotBitTorrent)));
        let (mut serve, _) = after(&handshake(), 1_000);
        let due = serve.next_deadline().unwrap();
        serve.on_deadline(due - Duration::from_nanos(1));
        assert!(!serve.is_over());
        serve.on_deadline(due);
        assert!(serve.is_over());
    }
}
