//! Fuzzed bytes read as choices. When they are used up every choice is the first one, so that each
//! input ends.

/// Takes choices off the front of the input.
pub struct Feed<'a> {
    rest: &'a [u8],
}

impl<'a> Feed<'a> {
    /// From the whole input.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// True when nothing is left to choose with.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let number = match n {
            0..=1 => return 0,
            2..=256 => usize::from(self.u8()),
            257..=65_536 => usize::from(self.u16()),
            _ => self.u32() as usize,
        };
        number % n
    }

    /// True about once in `n` times, false when nothing is left.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.u8() % n == n - 1
    }

    /// So many bytes, the missing ones 0.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// At most so many bytes as they are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Bytes whose number, up to `max`, is a choice.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let count = self.below(max + 1);
        self.take(count)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
