//! One connection to one peer for one info dictionary: BEP 3 handshake, BEP 10 handshake, all
//! pieces asked for at once (BEP 9), assembled in place, verified.
//!
//! Drive: `new`, `on_opened`, then `on_bytes` as they come; after each call `poll_write`,
//! `poll_event` until `None`, `next_deadline`. After the one `Verified`, `Assembled` or `Failed`
//! it is over.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::budget::{Budget, METADATA_MAX, Reservation};
use super::prove::{AT_ONCE_MAX, Assembled};
use super::verify::{Hashes, verify};
use crate::base::{InfoHash, Instant, SendQueue};
use crate::wire::bencode;
use crate::wire::peer::{
    self, ExtendedHandshake, FRAME_MAX, HANDSHAKE_LEN, Handshake, Head, Metadata, PIECE, frame, head,
    pex_added,
};

/// How long a peer may take for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From `Connect` to open.
    pub connect: Duration,
    /// From open to the whole BEP 3 handshake.
    pub handshake: Duration,
    /// From there to the BEP 10 handshake.
    pub extended: Duration,
    /// From one piece to the next.
    pub piece: Duration,
}

/// What a fetch came to, or learnt on the way.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// All is here, and it is so much that [`Assembled::prove`] is work for another thread. Close
    /// the connection.
    Assembled(Assembled),
    /// Other peers of the same torrent (BEP 11), at most 200 over the life of a fetch.
    PexPeers(Vec<SocketAddr>),
    /// The dictionary, proved to be the one asked for. Close the connection.
    Verified(Bytes, Hashes),
    /// It ends here. Close the connection.
    Failed(Why),
}

/// Why a fetch ended without a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The peer sent more than 2 MiB or 16,384 frames of what was not asked for.
    Chatter,
    /// The peer closed, or the network did.
    Closed,
    /// Its handshake is for another torrent.
    OtherTorrent,
    /// It does not speak BEP 10, or not `ut_metadata`, or has no metadata to give.
    NoMetadata,
    /// Ours: the budget of all fetches is used up; try again when others are done.
    NoRoom,
    /// It broke BEP 3, 9 or 10.
    Protocol(peer::Error),
    /// It refused a piece.
    Rejected,
    /// It is us.
    SelfConnection,
    /// It was too slow in this step.
    TimedOut(Step),
    /// It claims a dictionary larger than [`METADATA_MAX`].
    TooLarge,
    /// All pieces came, and are something else.
    WrongHash,
}

/// The steps of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not connected yet.
    Connect,
    /// No BEP 3 handshake yet.
    Handshake,
    /// No BEP 10 handshake yet.
    Extended,
    /// Pieces are missing.
    Pieces,
}

/// One fetch.
#[derive(Debug)]
pub struct Fetch {
    hash: InfoHash,
    peer_id: [u8; 20],
    timeouts: Timeouts,
    budget: Budget,
    state: State,
    inside: Inside,
    greeted: bool,
    started: Instant,
    took: Option<(Step, Duration)>,
    deadline: Instant,
    junk_bytes: usize,
    junk_frames: u32,
    pex_left: usize,
    pex: Vec<SocketAddr>,
    outcome: Option<Event>,
}

#[derive(Debug)]
enum State {
    Connecting,
    Handshaking,
    Extending,
    Assembling(Box<Assembly>),
    Over,
}

/// Where in the stream of frames the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// Before a frame's head.
    Between,
    /// Inside a frame that does not matter.
    Skipped { left: usize },
    /// Inside the payload of a piece: bytes go straight to their place.
    Piece { piece: usize, at: usize, left: usize },
}

#[derive(Debug)]
struct Assembly {
    /// What the peer says the dictionary has, in bytes.
    size: usize,
    /// Empty until the first piece comes, for many never do.
    buffer: Vec<u8>,
    /// The peer's id for `ut_metadata`.
    id: u8,
    /// A bit for each piece whose payload has begun to arrive.
    seen: [u64; PIECES_MAX / 64],
    asked: usize,
    arrived: usize,
    /// The whole dictionary must be here by then, however steadily it drips.
    hard_deadline: Instant,
    share: Reservation,
}

impl Fetch {
    /// A fetch whose connection is being opened. `peer_id` is ours.
    pub fn new(hash: InfoHash, peer_id: [u8; 20], timeouts: Timeouts, budget: &Budget, now: Instant) -> Self {
        Self {
            hash,
            peer_id,
            timeouts,
            budget: budget.clone(),
            state: State::Connecting,
            inside: Inside::Between,
            greeted: false,
            started: now,
            took: None,
            deadline: now + timeouts.connect,
            junk_bytes: 0,
            junk_frames: 0,
            pex_left: PEX_TAKEN_MAX,
            pex: Vec::new(),
            outcome: None,
        }
    }

    /// The infohash it was made for.
    pub fn hash(&self) -> InfoHash {
        self.hash
    }

    /// The step it is in; `None` once it is over.
    pub fn step(&self) -> Option<Step> {
        match self.state {
            State::Connecting => Some(Step::Connect),
            State::Handshaking => Some(Step::Handshake),
            State::Extending => Some(Step::Extended),
            State::Assembling(_) => Some(Step::Pieces),
            State::Over => None,
        }
    }

    /// How long the connection or the BEP 3 handshake took, once for each: what
    /// [`super::Queue::observe`] learns time-outs from.
    pub fn poll_took(&mut self) -> Option<(Step, Duration)> {
        self.took.take()
    }

    /// The connection is open.
    pub fn on_opened(&mut self, now: Instant) {
        if matches!(self.state, State::Connecting) {
            self.enter(State::Handshaking, now, self.timeouts.handshake);
        }
    }

    /// Bytes from the peer; how many were consumed. What is left, at most [`UNCONSUMED_MAX`],
    /// comes again in front of what arrives next. An error is also the [`Event::Failed`].
    pub fn on_bytes(&mut self, now: Instant, data: &[u8]) -> Result<usize, Why> {
        let mut used = 0;
        while !matches!(self.state, State::Over) {
            match self.take(now, &data[used..]) {
                Ok(0) => return Ok(used),
                Ok(taken) => used += taken,
                Err(why) => {
                    self.fail(why);
                    return Err(why);
                }
            }
        }
        Ok(data.len())
    }

    /// The peer sends no more, or the connection is gone.
    pub fn on_eof(&mut self) {
        self.fail(Why::Closed);
    }

    /// Queues what there is to say. What does not fit is queued by a later call.
    pub fn poll_write(&mut self, out: &mut SendQueue) {
        if !self.greeted && !matches!(self.state, State::Connecting | State::Over) {
            self.greeted = out.push(greeting(self.hash, self.peer_id)).is_ok();
        }
        if let State::Assembling(assembly) = &mut self.state
            && self.greeted
        {
            assembly.ask(out);
        }
    }

    /// What happened, in order; `None` when there is nothing more.
    pub fn poll_event(&mut self) -> Option<Event> {
        if !self.pex.is_empty() {
            return Some(Event::PexPeers(std::mem::take(&mut self.pex)));
        }
        self.outcome.take()
    }

    /// When [`Fetch::on_deadline`] is to be called; `None` once it is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Over => None,
            State::Assembling(assembly) => Some(self.deadline.min(assembly.hard_deadline)),
            _ => Some(self.deadline),
        }
    }

    /// Gives up if the deadline has passed; else does nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        if let (Some(deadline), Some(step)) = (self.next_deadline(), self.step())
            && deadline <= now
        {
            self.fail(Why::TimedOut(step));
        }
    }

    fn enter(&mut self, state: State, now: Instant, limit: Duration) {
        if let Some(step @ (Step::Connect | Step::Handshake)) = self.step() {
            self.took = Some((step, now.since(self.started)));
        }
        self.state = state;
        self.started = now;
        self.deadline = now + limit;
    }

    fn fail(&mut self, why: Why) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.outcome = Some(Event::Failed(why));
        }
    }

    /// Consumes one element of the stream; 0 if it is not all there yet.
    fn take(&mut self, now: Instant, data: &[u8]) -> Result<usize, Why> {
        if data.is_empty() {
            return Ok(0);
        }
        if matches!(self.state, State::Connecting | State::Handshaking) {
            return self.take_handshake(now, data);
        }
        match self.inside {
            Inside::Between => self.take_frame(now, data),
            Inside::Skipped { left } => {
                let taken = left.min(data.len());
                self.inside =
                    if taken == left { Inside::Between } else { Inside::Skipped { left: left - taken } };
                Ok(taken)
            }
            Inside::Piece { piece, at, left } => self.take_payload(now, data, (piece, at, left)),
        }
    }

    fn take_handshake(&mut self, now: Instant, data: &[u8]) -> Result<usize, Why> {
        let Some(theirs) = Handshake::decode(data).map_err(Why::Protocol)? else { return Ok(0) };
        if theirs.info_hash != self.hash {
            return Err(Why::OtherTorrent);
        }
        if theirs.peer_id == self.peer_id {
            return Err(Why::SelfConnection);
        }
        if !theirs.extended() {
            return Err(Why::NoMetadata);
        }
        self.enter(State::Extending, now, self.timeouts.extended);
        Ok(HANDSHAKE_LEN)
    }

    fn take_frame(&mut self, now: Instant, data: &[u8]) -> Result<usize, Why> {
        let Some((head, at)) = head(data) else { return Ok(0) };
        match head {
            Head::Extended { id: OUR_METADATA, payload_len } => {
                self.take_piece_head(&data[at..], (at, payload_len))
            }
            Head::Extended { id: 0 | OUR_PEX, .. } => {
                let Some((frame, taken)) = frame(data).map_err(Why::Protocol)? else { return Ok(0) };
                self.count_junk(taken)?;
                match frame {
                    peer::Frame::Extended(0, payload) => self.on_extended(now, payload)?,
                    peer::Frame::Extended(_, payload) => self.on_pex(payload)?,
                    _ => {}
                }
                Ok(taken)
            }
            Head::KeepAlive | Head::Extended { .. } | Head::Other { .. } => {
                self.count_junk(at + head.payload_len())?;
                if head.payload_len() > 0 {
                    self.inside = Inside::Skipped { left: head.payload_len() };
                }
                Ok(at)
            }
        }
    }

    fn count_junk(&mut self, bytes: usize) -> Result<(), Why> {
        self.junk_bytes = self.junk_bytes.saturating_add(bytes);
        self.junk_frames += 1;
        let too_much = self.junk_bytes > JUNK_BYTES_MAX || self.junk_frames > JUNK_FRAMES_MAX;
        if too_much { Err(Why::Chatter) } else { Ok(()) }
    }

    /// The peer may repeat its BEP 10 handshake; the first one counts.
    fn on_extended(&mut self, now: Instant, payload: &[u8]) -> Result<(), Why> {
        let theirs = ExtendedHandshake::decode(payload).map_err(Why::Protocol)?;
        if !matches!(self.state, State::Extending) {
            return Ok(());
        }
        let (Some(id), Some(size)) = (theirs.ut_metadata, theirs.metadata_size) else {
            return Err(Why::NoMetadata);
        };
        let size = usize::try_from(size).ok().filter(|size| *size > 0);
        let size = size.ok_or(Why::Protocol(peer::Error::OutOfBounds))?;
        if size > METADATA_MAX {
            return Err(Why::TooLarge);
        }
        let share = self.budget.reserve(size as u64).ok_or(Why::NoRoom)?;
        let slowest = Duration::from_secs(size as u64 / RATE_MIN);
        let assembly = Assembly {
            size,
            buffer: Vec::new(),
            id,
            seen: [0; PIECES_MAX / 64],
            asked: 0,
            arrived: 0,
            hard_deadline: now + self.timeouts.piece * 2 + slowest,
            share,
        };
        self.enter(State::Assembling(Box::new(assembly)), now, self.timeouts.piece);
        Ok(())
    }

    fn on_pex(&mut self, payload: &[u8]) -> Result<(), Why> {
        let added = pex_added(payload).map_err(Why::Protocol)?;
        let before = self.pex.len();
        self.pex.extend(added.take(self.pex_left));
        self.pex_left -= self.pex.len() - before;
        Ok(())
    }

    /// The dictionary of a `ut_metadata` message, and for a piece the check of all its bounds.
    fn take_piece_head(&mut self, rest: &[u8], (at, len): (usize, usize)) -> Result<usize, Why> {
        if len > FRAME_MAX {
            return Err(Why::Protocol(peer::Error::FrameTooLong));
        }
        // Whether the rest is here yet must not decide what becomes of a long dictionary.
        let readable = len.min(DICT_MAX);
        let arrived = &rest[..rest.len().min(readable)];
        let message = match Metadata::decode(arrived) {
            Err(peer::Error::Bencode(bencode::Error::UnexpectedEnd)) if arrived.len() < readable => {
                return Ok(0);
            }
            other => other.map_err(Why::Protocol)?,
        };
        let (piece, total_size, dict_len) = match message {
            Metadata::Data { piece, total_size, payload } => {
                (piece as usize, total_size, arrived.len() - payload.len())
            }
            Metadata::Reject { .. } => return Err(Why::Rejected),
            Metadata::Request { .. } | Metadata::Unknown => {
                self.count_junk(at + len)?;
                self.inside = Inside::Skipped { left: len };
                return Ok(at);
            }
        };
        let State::Assembling(assembly) = &mut self.state else {
            return Err(Why::Protocol(peer::Error::OutOfBounds));
        };
        let place = assembly.begin(piece, total_size, len - dict_len);
        let place = place.ok_or(Why::Protocol(peer::Error::OutOfBounds))?;
        self.inside = Inside::Piece { piece, at: place, left: len - dict_len };
        Ok(at + dict_len)
    }

    fn take_payload(
        &mut self,
        now: Instant,
        data: &[u8],
        place: (usize, usize, usize),
    ) -> Result<usize, Why> {
        let (piece, at, left) = place;
        let State::Assembling(assembly) = &mut self.state else {
            return Err(Why::Protocol(peer::Error::OutOfBounds));
        };
        let taken = left.min(data.len());
        if assembly.buffer.is_empty() {
            assembly.buffer = vec![0; assembly.size];
        }
        assembly.buffer[at..at + taken].copy_from_slice(&data[..taken]);
        if taken < left {
            self.inside = Inside::Piece { piece, at: at + taken, left: left - taken };
            return Ok(taken);
        }
        self.inside = Inside::Between;
        assembly.arrived += 1;
        self.deadline = now + self.timeouts.piece;
        if assembly.arrived == assembly.pieces() {
            self.complete()?;
        }
        Ok(taken)
    }

    /// The last piece is here.
    fn complete(&mut self) -> Result<(), Why> {
        let State::Assembling(assembly) = &mut self.state else { return Ok(()) };
        let raw = Bytes::from(std::mem::take(&mut assembly.buffer));
        if raw.len() <= AT_ONCE_MAX {
            let hashes = verify(self.hash, &raw).ok_or(Why::WrongHash)?;
            self.outcome = Some(Event::Verified(raw, hashes));
            self.state = State::Over;
        } else if let State::Assembling(assembly) = std::mem::replace(&mut self.state, State::Over) {
            let (hash, share) = (self.hash, assembly.share);
            self.outcome = Some(Event::Assembled(Assembled { hash, raw, share }));
        }
        Ok(())
    }
}

impl Assembly {
    fn pieces(&self) -> usize {
        self.size.div_ceil(PIECE)
    }

    /// Where the payload of this piece belongs, if it was asked for, is new, and has exactly the
    /// length that its place has.
    fn begin(&mut self, piece: usize, total_size: i64, len: usize) -> Option<usize> {
        let size = self.size;
        if total_size != size as i64 || piece >= self.asked {
            return None;
        }
        let at = piece * PIECE;
        let (word, bit) = (piece / 64, 1u64 << (piece % 64));
        if len != PIECE.min(size - at) || self.seen[word] & bit != 0 {
            return None;
        }
        self.seen[word] |= bit;
        Some(at)
    }

    /// Asks for as many pieces as the window allows, in one segment; a window that is not half
    /// empty is left to drain, so that few writes carry many requests.
    fn ask(&mut self, out: &mut SendQueue) {
        let waiting = self.asked - self.arrived;
        let left = self.pieces() - self.asked;
        if left == 0 || waiting > WINDOW / 2 {
            return;
        }
        let count = left.min(WINDOW - waiting).min(out.room() / REQUEST_LEN_MAX);
        let mut requests = Vec::with_capacity(count * REQUEST_LEN_MAX);
        for piece in self.asked..self.asked + count {
            let mut request = [0; REQUEST_LEN_MAX];
            let message = Metadata::Request { piece: piece as u32 };
            let len = message.encode(self.id, &mut request).expect("a request fits in REQUEST_LEN_MAX");
            requests.extend_from_slice(&request[..len]);
        }
        if out.push(requests.into()).is_ok() {
            self.asked += count;
        }
    }
}

/// Both handshakes in one segment: a peer that speaks BEP 10 understands the second, and one
/// that does not is of no use.
fn greeting(hash: InfoHash, peer_id: [u8; 20]) -> Bytes {
    let mut out = [0; GREETING_LEN_MAX];
    out[..HANDSHAKE_LEN].copy_from_slice(&Handshake::new(hash, peer_id).encode());
    let ours =
        ExtendedHandshake { ut_metadata: Some(OUR_METADATA), ut_pex: Some(OUR_PEX), metadata_size: None };
    let len = ours.encode(&mut out[HANDSHAKE_LEN..]).expect("our handshake fits in GREETING_LEN_MAX");
    Bytes::copy_from_slice(&out[..HANDSHAKE_LEN + len])
}

/// The most that [`Fetch::on_bytes`] leaves unconsumed: a BEP 10 handshake or PEX frame short of
/// its last byte.
pub const UNCONSUMED_MAX: usize = 6 + FRAME_MAX;

/// A bitfield of 16 million pieces, or as many `have` as [`JUNK_FRAMES_MAX`] allows.
const JUNK_BYTES_MAX: usize = 2 << 20;
/// Clients that still download send a `have` for each piece they hold; few hold more.
const JUNK_FRAMES_MAX: u32 = 16_384;
/// BEP 11 sends at most 50 at a time; four times that is plenty from one peer.
const PEX_TAKEN_MAX: usize = 200;
const PIECES_MAX: usize = METADATA_MAX / PIECE;
/// Transmission queues 64 requests of one peer and rejects the rest.
const WINDOW: usize = 64;
/// 6 of frame, `d8:msg_typei0e5:piecei` 22, ten digits, `ee` 2.
const REQUEST_LEN_MAX: usize = 6 + 22 + 10 + 2;
/// 68 of handshake, and a BEP 10 one of about 80.
const GREETING_LEN_MAX: usize = HANDSHAKE_LEN + 128;
/// Dictionaries in front of a payload have about 45 bytes; this leaves room for fields of the
/// future without reading 64 KiB again and again.
const DICT_MAX: usize = 1_024;
/// Bytes per second below which a peer is not worth its slot, beside the time for each piece.
const RATE_MIN: u64 = 16 * 1_024;
/// The ids under which peers are to send us what they say (BEP 10: the receiver chooses).
const OUR_METADATA: u8 = 1;
const OUR_PEX: u8 = 2;

#[cfg(test)]
mod tests {
    use super::super::serve::Serve;
    use super::*;
    use crate::base::{Id, Rng, hash};
    use crate::wire::bencode::Writer;

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(3),
        handshake: Duration::from_secs(3),
        extended: Duration::from_secs(3),
        piece: Duration::from_secs(4),
    };
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
        let mut fetch = Fetch::new(Id(hash::sha1(raw)), OURS, TIMEOUTS, &budget, T0);
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
        let mut fetch = Fetch::new(asked, OURS, TIMEOUTS, &Budget::new(1 << 20), T0);
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
        assert_eq!(talk(&mut fetch, |_| None, 1), [Event::Failed(Why::Closed)]);
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
        assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei0ee"), bounds);
        assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei-5ee"), bounds);
        assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei16777216ee"), None);
        assert_eq!(ends("d1:md11:ut_metadatai9ee13:metadata_sizei16777217ee"), Some(Why::TooLarge));
        assert_eq!(
            ends("d1:md11:ut_metadatai9ee13:metadata_sizei9223372036854775807ee"),
            Some(Why::TooLarge)
        );
        assert_eq!(ends("d1:md11:ut_metadatai0ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
        assert_eq!(ends("d1:md11:ut_metadatai256ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
        assert_eq!(ends("d1:md11:ut_metadatai-1ee13:metadata_sizei20000ee"), Some(Why::NoMetadata));
        assert_eq!(ends("d1:md11:ut_metadatai9eee"), Some(Why::NoMetadata));
        assert_eq!(ends("d1:mi5ee"), Some(Why::NoMetadata));
        assert_eq!(ends("le"), bounds);
        assert_eq!(ends("x"), Some(Why::Protocol(peer::Error::Bencode(bencode::Error::UnexpectedByte))));
    }

    #[test]
    fn every_bound_of_a_piece_is_checked() {
        let raw = info(20_000);
        let total = raw.len();
        let (first, last) = raw.split_at(PIECE);
        let ends =
            |pieces: Vec<Vec<u8>>| after(|fetch| [vec![handshake(fetch), hello(total)], pieces].concat());
        let bounds = Some(Why::Protocol(peer::Error::OutOfBounds));
        assert_eq!(ends(vec![piece(1, total, last)]), None);
        assert_eq!(ends(vec![piece(2, total, first)]), bounds, "there are two pieces");
        assert_eq!(ends(vec![piece(-1, total, first)]), bounds);
        assert_eq!(ends(vec![piece(1 << 33, total, first)]), bounds);
        assert_eq!(ends(vec![piece(i64::MAX, total, first)]), bounds);
        assert_eq!(ends(vec![piece(0, total, &first[1..])]), bounds, "short block that is not the last");
        assert_eq!(ends(vec![piece(0, total, &raw[..=PIECE])]), bounds, "more than 16 KiB");
        assert_eq!(ends(vec![piece(1, total, &last[1..])]), bounds);
        assert_eq!(ends(vec![piece(1, total, b"")]), bounds);
        assert_eq!(ends(vec![piece(0, total + 1, first)]), bounds, "total_size is not metadata_size");
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
        let mut out = SendQueue::new(100);
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
        assert_eq!(
            after(|_| vec![b"HTTP/1.1 400".to_vec()]),
            Some(Why::Protocol(peer::Error::NotBitTorrent))
        );
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
        let mut fetch = Fetch::new(Id([1; 20]), OURS, TIMEOUTS, &Budget::new(0), T0);
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
        let mut fetch = Fetch::new(Id([1; 20]), OURS, TIMEOUTS, &budget, T0);
        let due = fetch.next_deadline().unwrap();
        fetch.on_deadline(due - Duration::from_nanos(1));
        assert_eq!(fetch.step(), Some(Step::Connect));
        fetch.on_deadline(due);
        assert_eq!(fetch.poll_event(), Some(Event::Failed(Why::TimedOut(Step::Connect))));
        fetch.on_deadline(due);
        fetch.on_eof();
        assert_eq!((fetch.poll_event(), fetch.next_deadline()), (None, None));
    }

    #[test]
    fn a_steady_drip_of_pieces_meets_the_hard_deadline() {
        let raw = info(4 << 20);
        let (mut fetch, _) = opened(&raw);
        let hello_first = handshake(&fetch);
        feed(&mut fetch, &hello_first).unwrap();
        feed(&mut fetch, &hello(raw.len())).unwrap();
        let mut now = T0;
        for (index, payload) in raw.chunks(PIECE).enumerate() {
            now += TIMEOUTS.piece - Duration::from_millis(1);
            fetch.on_deadline(now);
            if fetch.step().is_none() {
                break;
            }
            fetch.on_bytes(now, &piece(index as i64, raw.len(), payload)).unwrap();
            fetch.poll_write(&mut SendQueue::new(1 << 20));
        }
        assert_eq!(fetch.poll_event(), Some(Event::Failed(Why::TimedOut(Step::Pieces))));
        assert!(now < T0 + Duration::from_secs(4 * 2 + 257 + 4));
    }

    #[test]
    fn requests_stay_within_the_window_and_the_budget_within_its_sum() {
        let size = 200 * PIECE;
        let budget = Budget::new(size as u64 + 5);
        let start = |budget: &Budget| {
            let mut fetch = Fetch::new(Id([1; 20]), OURS, TIMEOUTS, budget, T0);
            fetch.on_opened(T0);
            let said = [handshake(&fetch), hello(size)].concat();
            let result = fetch.on_bytes(T0, &said).map(|_| ());
            (fetch, result)
        };
        let (mut fetch, result) = start(&budget);
        assert_eq!((result, budget.left()), (Ok(()), 5));
        assert_eq!(start(&budget).1, Err(Why::NoRoom));
        let mut out = SendQueue::new(1 << 20);
        fetch.poll_write(&mut out);
        fetch.poll_write(&mut out);
        let asked = drain(&mut out);
        assert_eq!(asked.windows(8).filter(|bytes| *bytes == b"msg_type").count(), WINDOW);
        drop(fetch);
        assert_eq!(budget.left(), size as u64 + 5);
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
}
