//! One side of a TCP stream: what has arrived and was not consumed, and what was queued.

use std::io::IoSlice;

use dht_hunter::base::SendQueue;

/// Bytes that came, in front of those that come, as a link keeps them.
#[derive(Default)]
pub struct Inbox {
    rest: Vec<u8>,
}

impl Inbox {
    /// Hands `data` to the reader behind what it left; `None` once it refused.
    pub fn read<E>(
        &mut self,
        data: &[u8],
        left_max: usize,
        read: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.rest.extend_from_slice(data);
        let used = read(&self.rest)?;
        assert!(used <= self.rest.len(), "it consumed more than there was");
        self.rest.drain(..used);
        assert!(self.rest.len() <= left_max, "it left {} bytes", self.rest.len());
        Ok(())
    }
}

/// Takes up to `most` bytes out of a queue, as a socket would.
pub fn drain(queue: &mut SendQueue, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !queue.is_empty() && bytes.len() < most {
        let some = front(queue, most - bytes.len());
        queue.advance(some.len());
        bytes.extend(some);
    }
    bytes
}

/// The first bytes of a queue, up to `most` and no more than one call writes.
pub fn front(queue: &SendQueue, most: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 16];
    let filled = queue.slices(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(most).collect()
}

/// Hands `data` over in the pieces that `cuts` say, in order, the last one being what is left.
pub fn in_pieces<'a>(data: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    for cut in cuts {
        // Small ones and large ones; an empty piece is none.
        let len = if *cut < 128 { usize::from(*cut) } else { usize::from(*cut - 127) * 512 };
        let (piece, tail) = rest.split_at(len.min(rest.len()));
        if !piece.is_empty() {
            pieces.push(piece);
        }
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}
