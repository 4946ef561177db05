//! What waits to be written to one stream: shared segments under a byte cap.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Segments of bytes in the order they will leave, and how much of them may wait.
pub struct SendQueue {
    segments: VecDeque<Bytes>,
    len: usize,
    cap: usize,
}

/// The queue's cap would be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl SendQueue {
    /// An empty queue that holds at most `cap` bytes.
    pub fn new(cap: usize) -> Self {
        Self { segments: VecDeque::new(), len: 0, cap }
    }

    /// Appends a segment; [`Full`] if it does not fit, and then nothing is queued.
    pub fn push(&mut self, segment: Bytes) -> Result<(), Full> {
        if segment.len() > self.cap - self.len {
            return Err(Full);
        }
        self.len += segment.len();
        if !segment.is_empty() {
            self.segments.push_back(segment);
        }
        Ok(())
    }

    /// The bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that could still be queued.
    pub fn room(&self) -> usize {
        self.cap - self.len
    }

    /// Fills `out` with the first segments, for `writev`; how many it filled.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.slices_within(self.len, out)
    }

    /// The same, of at most the first `most` bytes.
    pub fn slices_within<'a>(&'a self, most: usize, out: &mut [IoSlice<'a>]) -> usize {
        let (mut filled, mut left) = (0, most);
        for (slot, segment) in out.iter_mut().zip(&self.segments) {
            if left == 0 {
                break;
            }
            let taken = segment.len().min(left);
            *slot = IoSlice::new(&segment[..taken]);
            left -= taken;
            filled += 1;
        }
        filled
    }

    /// Forgets the first `written` bytes, at most all of them.
    pub fn advance(&mut self, written: usize) {
        let mut left = written.min(self.len);
        self.len -= left;
        while left > 0 {
            let Some(first) = self.segments.front_mut() else { return };
            if first.len() > left {
                first.advance(left);
                return;
            }
            left -= first.len();
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            // An idle stream holds no buffer.
            self.segments = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_and_partial_writes_keep_the_rest() {
        let mut queue = SendQueue::new(8);
        queue.push(Bytes::from_static(b"hello")).unwrap();
        assert_eq!(queue.push(Bytes::from_static(b"world")), Err(Full));
        queue.push(Bytes::from_static(b"abc")).unwrap();
        queue.advance(6);
        let mut out = [IoSlice::new(&[]); 4];
        assert_eq!(queue.slices(&mut out), 1);
        assert_eq!((&*out[0], queue.len(), queue.room()), (&b"bc"[..], 2, 6));
        queue.push(Bytes::from_static(b"xyz")).unwrap();
        for (most, lens) in [(0, vec![]), (1, vec![1]), (3, vec![2, 1]), (99, vec![2, 3])] {
            let mut out = [IoSlice::new(&[]); 4];
            let filled = queue.slices_within(most, &mut out);
            assert_eq!(out[..filled].iter().map(|slice| slice.len()).collect::<Vec<_>>(), lens);
        }
        queue.advance(99);
        assert!(queue.is_empty());
    }

    quickcheck::quickcheck! {
        /// Against one vector of bytes.
        fn bytes_leave_in_order_each_once_and_within_the_cap(cap: u8, steps: Vec<(bool, u8)>) -> bool {
            let (mut queue, mut model) = (SendQueue::new(usize::from(cap)), Vec::<u8>::new());
            for (number, (push, len)) in steps.into_iter().enumerate() {
                let len = usize::from(len) % 40;
                if push {
                    let segment = vec![number as u8; len];
                    let fits = model.len() + len <= usize::from(cap);
                    if queue.push(segment.clone().into()).is_ok() != fits {
                        return false;
                    }
                    model.extend(segment.iter().filter(|_| fits));
                } else {
                    queue.advance(len);
                    model.drain(..len.min(model.len()));
                }
                let mut slices = [IoSlice::new(&[]); 300];
                let filled = queue.slices(&mut slices);
                let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                let counts = (queue.len(), queue.room(), queue.is_empty());
                if bytes != model || counts != (model.len(), usize::from(cap) - model.len(), model.is_empty()) {
                    return false;
                }
                if slices[..filled].iter().any(|slice| slice.is_empty()) {
                    return false;
                }
            }
            true
        }
    }
}
