//! 160-bit identifiers: node ids and infohashes share one keyspace under the XOR metric (BEP 5).

use std::fmt;

use super::rng::Rng;

/// 20 bytes, most significant first. Printed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub [u8; 20]);

/// The id of a DHT node.
pub type NodeId = Id;

/// SHA-1 of an info dictionary (BEP 3), or the first 20 bytes of its SHA-256 (BEP 52).
pub type InfoHash = Id;

impl Id {
    /// The number of bits.
    pub const BITS: u32 = 160;

    /// `bytes` as an id if they are exactly 20.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// Parses 40 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 40 {
            return None;
        }
        let mut id = [0; 20];
        for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(id))
    }

    /// A uniformly random id.
    pub fn random(rng: &mut Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// A random id that shares exactly the first `bits` bits with `self` (at most 159).
    pub fn random_at_depth(self, bits: u32, rng: &mut Rng) -> Self {
        let bits = bits.min(Self::BITS - 1);
        let mut id = Self::random(rng);
        for bit in 0..bits {
            id.set_bit(bit, self.bit(bit));
        }
        id.set_bit(bits, !self.bit(bits));
        id
    }

    /// The XOR distance to `other`, comparable as a big-endian number.
    pub fn distance(self, other: Self) -> Self {
        let mut out = [0; 20];
        for (o, (a, b)) in out.iter_mut().zip(self.0.iter().zip(other.0.iter())) {
            *o = a ^ b;
        }
        Self(out)
    }

    /// How many leading bits are the same; 160 if the ids are equal.
    pub fn common_bits(self, other: Self) -> u32 {
        let mut bits = 0;
        for (a, b) in self.0.iter().zip(other.0.iter()) {
            let differing = (a ^ b).leading_zeros();
            bits += differing;
            if differing < 8 {
                break;
            }
        }
        bits
    }

    /// Bit `index`, counted from the most significant.
    pub fn bit(self, index: u32) -> bool {
        self.0[(index / 8) as usize] & (0x80 >> (index % 8)) != 0
    }

    /// The first 64 bits as a number: the position in the keyspace at a coarser grain.
    pub fn prefix64(self) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(head)
    }

    fn set_bit(&mut self, index: u32, on: bool) {
        let mask = 0x80 >> (index % 8);
        let byte = &mut self.0[(index / 8) as usize];
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_nonsense() {
        let text = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
        assert_eq!(Id::from_hex(text).unwrap().to_string(), text);
        assert_eq!(Id::from_hex(&text[1..]), None);
        assert_eq!(Id::from_hex(&text.replace('a', "g")), None);
    }

    #[test]
    fn distance_of_the_mainline_vector() {
        let a = Id::from_hex("0639a1e24fbb8ab277df033476ab0de10fab3bdc").unwrap();
        let b = Id::from_hex("035b1aeb9737ade1a80933594f405d3f772aa08e").unwrap();
        assert_eq!(Id::BITS - a.common_bits(b), 155);
        assert_eq!(a.distance(b).distance(b), a);
    }

    #[test]
    fn random_at_depth_shares_exactly_that_many_bits() {
        let mut rng = Rng::seeded(7);
        let own = Id::random(&mut rng);
        for depth in [0, 1, 7, 8, 63, 159] {
            assert_eq!(own.common_bits(own.random_at_depth(depth, &mut rng)), depth);
        }
    }
}
