//! The pieces of one dictionary: which are asked for, where each belongs, and memory for those that
//! have begun to arrive.

use std::time::Duration;

use bytes::Bytes;

use super::super::budget::{Exhausted, METADATA_MAX, Reservation};
use crate::base::{Instant, SendQueue};
use crate::wire::peer::{Metadata, PIECE};

/// A dictionary whose pieces are being fetched.
#[derive(Debug)]
pub(super) struct Assembly {
    /// What the peer says the dictionary has, in bytes; `None` until it says something usable.
    size: Option<usize>,
    /// Up to the end of the farthest piece that has begun to arrive.
    buffer: Vec<u8>,
    /// The peer's id for `ut_metadata`.
    id: u8,
    /// A bit for each piece whose payload has begun to arrive.
    seen: [u64; PIECES_MAX / 64],
    asked: usize,
    arrived: usize,
    received: usize,
    began: Instant,
    /// By when it must have received something, and each [`RATE_MIN`] bytes a second later.
    floor_from: Instant,
    share: Reservation,
}

/// Where the payload of a piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From this byte of the dictionary on.
    At(usize),
    /// The piece has no byte, where it should have some.
    Empty,
    /// Nowhere: it was not asked for, came before, or has not the length of its place.
    None,
    /// The dictionary is larger than is fetched.
    TooLarge,
}

impl Assembly {
    /// Nothing asked for yet. The peer has to send [`RATE_MIN`] bytes a second from `floor_from` on.
    pub(super) fn new(
        id: u8,
        size: Option<usize>,
        share: Reservation,
        (began, floor_from): (Instant, Instant),
    ) -> Self {
        Self {
            size,
            buffer: Vec::new(),
            id,
            seen: [0; PIECES_MAX / 64],
            asked: 0,
            arrived: 0,
            received: 0,
            began,
            floor_from,
            share,
        }
    }

    /// The peer has sent another BEP 10 handshake.
    pub(super) fn on_extended(&mut self, id: Option<u8>, size: Option<usize>) {
        self.id = id.unwrap_or(self.id);
        if self.received == 0 && self.seen == [0; PIECES_MAX / 64] {
            self.size = size.or(self.size);
        }
    }

    /// As the peer says.
    pub(super) fn size(&self) -> Option<usize> {
        self.size
    }

    /// Bytes of payload so far.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    /// Bytes of memory.
    pub(super) fn reserved(&self) -> u64 {
        self.share.bytes()
    }

    /// When it was made.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When it has received too little for the time that has passed.
    pub(super) fn floor_deadline(&self) -> Instant {
        self.floor_from + Duration::from_secs(self.received as u64 / RATE_MIN)
    }

    /// So much of the time was not the peer's fault.
    pub(super) fn held_back(&mut self, held: Duration) {
        self.floor_from += held;
    }

    /// Where the payload of this piece belongs. Takes the size from `total_size` if the peer has not
    /// told it, or if the first piece fits that and not what it told before; later ones do not
    /// matter, for some clients give the size of the piece. Reserves memory up to the piece's end.
    pub(super) fn begin(
        &mut self,
        piece: usize,
        len: usize,
        (total_size, size_max): (i64, usize),
    ) -> Result<Place, Exhausted> {
        if piece >= self.asked {
            return Ok(Place::None);
        }
        if self.seen == [0; PIECES_MAX / 64] && self.size.and_then(|size| len_at(piece, size)) != Some(len) {
            let total = usize::try_from(total_size).ok().filter(|total| *total > 0);
            if self.size.is_none() && total.is_some_and(|total| total > size_max) {
                return Ok(Place::TooLarge);
            }
            let fits = |total: &usize| *total <= size_max && len_at(piece, *total) == Some(len);
            self.size = total.filter(fits).or(self.size);
        }
        let (word, bit) = (piece / 64, 1u64 << (piece % 64));
        match self.size.and_then(|size| len_at(piece, size)) {
            Some(due) if due == len && self.seen[word] & bit == 0 => {}
            Some(_) if len == 0 => return Ok(Place::Empty),
            _ => return Ok(Place::None),
        }
        let at = piece * PIECE;
        self.make_room(at + len)?;
        self.seen[word] |= bit;
        Ok(Place::At(at))
    }

    /// Puts bytes where [`Assembly::begin`] said.
    pub(super) fn fill(&mut self, at: usize, bytes: &[u8]) {
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        self.received += bytes.len();
    }

    /// A piece is complete; true if it was the last.
    pub(super) fn end_piece(&mut self) -> bool {
        self.arrived += 1;
        self.size.is_some_and(|size| self.arrived == size.div_ceil(PIECE))
    }

    /// The dictionary and its share of the budget.
    pub(super) fn into_parts(self) -> (Bytes, Reservation) {
        (self.buffer.into(), self.share)
    }

    /// Asks for as many pieces as the window allows, in one segment; a window that is not half
    /// empty is left to drain, so that few writes carry many requests.
    pub(super) fn ask(&mut self, out: &mut SendQueue) {
        let waiting = self.asked - self.arrived;
        // The first piece brings the size if nothing else does.
        let pieces = self.size.map_or(1, |size| size.div_ceil(PIECE));
        let left = pieces.saturating_sub(self.asked);
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

    /// Memory follows what arrives, doubled each time so that little is copied, never beyond the size.
    fn make_room(&mut self, end: usize) -> Result<(), Exhausted> {
        let size = self.size.unwrap_or(end);
        if end > self.buffer.capacity() {
            let capacity = end.max(2 * self.buffer.capacity()).min(size);
            self.share.grow_to(capacity as u64)?;
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        self.buffer.resize(self.buffer.len().max(end), 0);
        Ok(())
    }
}

/// The length that a piece has in a dictionary of `size` bytes, if it has that piece.
fn len_at(piece: usize, size: usize) -> Option<usize> {
    size.checked_sub(piece * PIECE).filter(|left| *left > 0).map(|left| left.min(PIECE))
}

const PIECES_MAX: usize = METADATA_MAX / PIECE;
/// Transmission queues 64 requests of one peer and rejects the rest.
const WINDOW: usize = 64;
/// 6 of frame, `d8:msg_typei0e5:piecei` 22, ten digits, `ee` 2.
const REQUEST_LEN_MAX: usize = 6 + 22 + 10 + 2;
/// Bytes per second below which a peer is not worth its connection, beside the time for each piece.
const RATE_MIN: u64 = 16 * 1_024;
