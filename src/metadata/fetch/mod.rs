//! One connection to one peer for one info dictionary: BEP 3 handshake, BEP 10 handshake, all
//! pieces asked for at once (BEP 9), assembled as they arrive, verified.
//!
//! Nothing but the 68 bytes of the BEP 3 handshake is sent before the peer's: some clients ban what
//! speaks on. The extended handshake follows in the same segment as the first requests, if the peer
//! sends its own at once as most do, so that costs no round trip.
//!
//! Drive: `new`, `on_opened`, then `on_bytes` as they come; after each call `poll_write`,
//! `poll_event` until `None`, `next_deadline`. After the one `Verified`, `Assembled` or `Failed`
//! it is over.

mod assembly;
mod failure;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use self::assembly::{Assembly, Place};
use super::budget::{Budget, Exhausted};
use super::prove::{AT_ONCE_MAX, Assembled};
use super::verify::{Hashes, verify};
use crate::base::{InfoHash, Instant, SendQueue};
use crate::wire::bencode;
use crate::wire::peer::{
    self, ExtendedHandshake, FRAME_MAX, HANDSHAKE_LEN, Handshake, Head, Metadata, frame, head, pex_added,
};

pub use self::failure::{FailureKind, Failures, Why};

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

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of payload.
    pub arrived_bytes: usize,
    /// As the peer says; `None` until it does.
    pub size_bytes: Option<usize>,
    /// When the first piece was wanted.
    pub since: Instant,
}

/// One fetch.
#[derive(Debug)]
pub struct Fetch {
    hash: InfoHash,
    peer_id: [u8; 20],
    timeouts: Timeouts,
    limits: Limits,
    budget: Budget,
    state: State,
    inside: Inside,
    sent: Sent,
    started: Instant,
    took: Option<(Step, Duration)>,
    deadline: Instant,
    /// Of the time that it may be held back by us without running out of its own.
    held_left: Duration,
    junk_bytes: usize,
    junk_frames: u32,
    pex_left: usize,
    pex: Vec<SocketAddr>,
    outcome: Option<Event>,
}

/// What bounds a fetch beside its time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The peer's address, whose share of the budget it takes.
    pub from: IpAddr,
    /// The largest dictionary that is fetched, in bytes; at most [`super::METADATA_MAX`].
    pub size_max: usize,
}

#[derive(Debug)]
enum State {
    Connecting,
    Handshaking,
    Extending,
    Assembling(Box<Assembly>),
    Over,
}

/// How much of what comes before requests has been queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Handshake,
    Extended,
}

/// Where in the stream of frames the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// Before a frame's head.
    Between,
    /// Inside a frame that does not matter.
    Skipped { left: usize },
    /// Inside the payload of a piece: bytes go straight to their place.
    Piece { at: usize, left: usize },
}

impl Fetch {
    /// A fetch whose connection is being opened. `peer_id` is ours.
    pub fn new(
        hash: InfoHash,
        peer_id: [u8; 20],
        (timeouts, limits): (Timeouts, Limits),
        budget: &Budget,
        now: Instant,
    ) -> Self {
        Self {
            hash,
            peer_id,
            timeouts,
            limits,
            budget: budget.clone(),
            state: State::Connecting,
            inside: Inside::Between,
            sent: Sent::Nothing,
            started: now,
            took: None,
            deadline: now + timeouts.connect,
            held_left: HELD_BACK_MAX,
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

    /// Bytes of dictionary that have arrived, of how many the peer says there are, and since when it
    /// sends; `None` while no piece was asked for.
    pub fn progress(&self) -> Option<Progress> {
        let State::Assembling(assembly) = &self.state else { return None };
        let (arrived_bytes, size_bytes) = (assembly.received(), assembly.size());
        Some(Progress { arrived_bytes, size_bytes, since: assembly.began() })
    }

    /// Bytes of memory it has reserved.
    pub fn reserved_bytes(&self) -> u64 {
        if let State::Assembling(assembly) = &self.state { assembly.reserved() } else { 0 }
    }

    /// Ends it in favour of others: it is the slowest of them.
    pub fn evict(&mut self) {
        self.fail(Why::TooSlow);
    }

    /// What the peer sent was left unread for want of `--bytes-in`: none of that time is its fault.
    pub fn on_held_back(&mut self, held: Duration) {
        let held = held.min(self.held_left);
        self.held_left -= held;
        self.deadline += held;
        if let State::Assembling(assembly) = &mut self.state {
            assembly.held_back(held);
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
        if let Some(step) = self.step() {
            self.fail(Why::Closed(step));
        }
    }

    /// Queues what there is to say. What does not fit is queued by a later call.
    pub fn poll_write(&mut self, out: &mut SendQueue) {
        if self.sent == Sent::Nothing && !matches!(self.state, State::Connecting | State::Over) {
            let ours = Handshake::new(self.hash, self.peer_id).encode();
            if out.push(Bytes::copy_from_slice(&ours)).is_ok() {
                self.sent = Sent::Handshake;
            }
        }
        if self.sent == Sent::Handshake
            && matches!(self.state, State::Extending | State::Assembling(_))
            && out.push(extended_handshake()).is_ok()
        {
            self.sent = Sent::Extended;
        }
        if let State::Assembling(assembly) = &mut self.state
            && self.sent == Sent::Extended
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
            State::Assembling(assembly) => Some(self.deadline.min(assembly.floor_deadline())),
            _ => Some(self.deadline),
        }
    }

    /// Gives up if the deadline has passed; else does nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        if let (Some(deadline), Some(step)) = (self.next_deadline(), self.step())
            && deadline <= now
        {
            let silent = self.deadline <= now;
            self.fail(if silent { Why::TimedOut(step) } else { Why::TooSlow });
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
            Inside::Piece { at, left } => self.take_payload(now, data, (at, left)),
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
                    peer::Frame::Extended(_, payload) => self.on_pex(payload),
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

    /// The peer may repeat its BEP 10 handshake; the size counts until pieces are laid out by it.
    /// Without one the first piece is asked for all the same, and brings it as `total_size`.
    fn on_extended(&mut self, now: Instant, payload: &[u8]) -> Result<(), Why> {
        let theirs = ExtendedHandshake::decode(payload).map_err(Why::Protocol)?;
        let size = theirs.metadata_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        if size.is_some_and(|size| size > self.limits.size_max) {
            return Err(Why::TooLarge);
        }
        match &mut self.state {
            State::Extending => {
                let id = theirs.ut_metadata.ok_or(Why::NoMetadata)?;
                let share = self.budget.empty_share(self.limits.from);
                let floor = (now, now + self.timeouts.piece * 2);
                let assembly = Assembly::new(id, size, share, floor);
                self.enter(State::Assembling(Box::new(assembly)), now, self.timeouts.piece);
            }
            State::Assembling(assembly) => assembly.on_extended(theirs.ut_metadata, size),
            _ => {}
        }
        Ok(())
    }

    /// Peers that cannot be read are no reason to go without the dictionary.
    fn on_pex(&mut self, payload: &[u8]) {
        if let Ok(added) = pex_added(payload) {
            let before = self.pex.len();
            self.pex.extend(added.take(self.pex_left));
            self.pex_left -= self.pex.len() - before;
        }
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
        let sizes = (total_size, self.limits.size_max);
        match assembly.begin(piece, len - dict_len, sizes).map_err(refused)? {
            Place::At(place) => self.inside = Inside::Piece { at: place, left: len - dict_len },
            Place::Empty => return Err(Why::EmptyPiece),
            Place::TooLarge => return Err(Why::TooLarge),
            Place::None => return Err(Why::Protocol(peer::Error::OutOfBounds)),
        }
        Ok(at + dict_len)
    }

    fn take_payload(&mut self, now: Instant, data: &[u8], (at, left): (usize, usize)) -> Result<usize, Why> {
        let State::Assembling(assembly) = &mut self.state else {
            return Err(Why::Protocol(peer::Error::OutOfBounds));
        };
        let taken = left.min(data.len());
        assembly.fill(at, &data[..taken]);
        if taken < left {
            self.inside = Inside::Piece { at: at + taken, left: left - taken };
            return Ok(taken);
        }
        self.inside = Inside::Between;
        self.deadline = now + self.timeouts.piece;
        if assembly.end_piece() {
            self.complete()?;
        }
        Ok(taken)
    }

    /// The last piece is here.
    fn complete(&mut self) -> Result<(), Why> {
        let State::Assembling(assembly) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(());
        };
        let (raw, share) = assembly.into_parts();
        let hash = self.hash;
        if raw.len() > AT_ONCE_MAX {
            self.outcome = Some(Event::Assembled(Assembled { hash, raw, share }));
            return Ok(());
        }
        self.outcome = Some(match verify(hash, &raw) {
            Some(hashes) => Event::Verified(raw, hashes),
            None => Event::Failed(Why::WrongHash),
        });
        if matches!(self.outcome, Some(Event::Failed(_))) { Err(Why::WrongHash) } else { Ok(()) }
    }
}

fn refused(exhausted: Exhausted) -> Why {
    match exhausted {
        Exhausted::All => Why::NoRoom,
        Exhausted::Share => Why::OverShare,
    }
}

fn extended_handshake() -> Bytes {
    let mut out = [0; EXTENDED_LEN_MAX];
    let ours =
        ExtendedHandshake { ut_metadata: Some(OUR_METADATA), ut_pex: Some(OUR_PEX), metadata_size: None };
    let len = ours.encode(&mut out).expect("our handshake fits in EXTENDED_LEN_MAX");
    Bytes::copy_from_slice(&out[..len])
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
/// A BEP 10 handshake of ours has about 80.
const EXTENDED_LEN_MAX: usize = 128;
/// A connection that waits longer for `--bytes-in` is of more use to another.
const HELD_BACK_MAX: Duration = Duration::from_secs(60);
/// Dictionaries in front of a payload have about 45 bytes; this leaves room for fields of the
/// future without reading 64 KiB again and again.
const DICT_MAX: usize = 1_024;
/// The ids under which peers are to send us what they say (BEP 10: the receiver chooses).
const OUR_METADATA: u8 = 1;
const OUR_PEX: u8 = 2;

#[cfg(test)]
mod tests;
