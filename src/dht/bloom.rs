//! The Bloom filters of a scrape (BEP 33): who is in a swarm, in 256 bytes that can be united.
//!
//! A filter of several nodes' answers united still counts everyone once, which is what makes a
//! swarm's size readable from a DHT where no node knows all of it.

use std::net::IpAddr;

use crate::base::hash::sha1;
use crate::wire::krpc::FILTER_BYTES;

/// A set of addresses, 2,048 bits with two bits set for each (BEP 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter([u8; FILTER_BYTES]);

/// The two bits of one address, so that the hash can be taken once and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits([u16; 2]);

impl Bits {
    /// The bits of `ip`: the first two little-endian words of its SHA-1 (BEP 33).
    pub fn of(ip: IpAddr) -> Self {
        let hash = match ip {
            IpAddr::V4(ip) => sha1(&ip.octets()),
            IpAddr::V6(ip) => sha1(&ip.octets()),
        };
        let word = |low: u8, high: u8| u16::from_le_bytes([low, high]) % BITS;
        Self([word(hash[0], hash[1]), word(hash[2], hash[3])])
    }
}

impl Filter {
    /// Nobody.
    pub const EMPTY: Self = Self([0; FILTER_BYTES]);

    /// As it came in `BFsd` or `BFpe`.
    pub fn from_bytes(bytes: &[u8; FILTER_BYTES]) -> Self {
        Self(*bytes)
    }

    /// As it goes into `BFsd` or `BFpe`.
    pub fn as_bytes(&self) -> &[u8; FILTER_BYTES] {
        &self.0
    }

    /// Adds an address.
    pub fn insert(&mut self, ip: IpAddr) {
        self.insert_bits(Bits::of(ip));
    }

    /// Adds an address whose bits are known already.
    pub fn insert_bits(&mut self, bits: Bits) {
        for bit in bits.0 {
            self.0[usize::from(bit / 8)] |= 1 << (bit % 8);
        }
    }

    /// Adds everyone in `other`.
    pub fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }

    /// How many addresses were added, estimated (BEP 33). Good to about 6,000; never negative.
    pub fn estimate(&self) -> f64 {
        let m = f64::from(BITS);
        let ones: u32 = self.0.iter().map(|byte| byte.count_ones()).sum();
        // No zero bit left, or none set: the formula's ends are cut off at one bit.
        let zeros = f64::from((u32::from(BITS) - ones).max(1)).min(m - 1.0);
        if ones == 0 {
            return 0.0;
        }
        (zeros / m).ln() / (HASHES * (-1.0 / m).ln_1p())
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// BEP 33: m, 256 bytes of eight bits.
const BITS: u16 = 8 * FILTER_BYTES as u16;
/// BEP 33: k, the bits set for each address.
const HASHES: f64 = 2.0;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::base::hash::sha256;

    const VECTOR: &str = "F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAEFE5EEDB1FBFAFF67F6ABFF5E43DDBCA3FD9B9FFDF4FFD3E9DFF12D1BDF59DB53DBE9FA5B7FF3B8FDFCDE1AFB8BEDD7BE2F3EE71EBBBFE93BCDEEFE148246C2BC5DBFF7E7EFDCF24FD8DC7ADFFD8FFFDFDDFFF7A4BBEEDF5CB95CE81FC7FCFF1FF4FFFFDFE5F7FDCBB7FD79B3FA1FC77BFE07FFF905B7B7FFC7FEFEFFE0B8370BB0CD3F5B7F2BD93FEB4386CFDD6F7FD5BFAF2E9EBFFFFEECD67ADBF7C67F17EFD5D75EBA6FFEBA7FFF47A91EB1BFBB53E8ABFB5762ABE8FF237279BFEFBFEEF5FFC5FEBFDFE5ADFFADFEE1FB737FFFFBFD9F6AEFFEEE76B6FD8F72EF";

    fn upper_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn vector() -> (Filter, Filter) {
        let (mut v4, mut v6) = (Filter::EMPTY, Filter::EMPTY);
        (0..=255).for_each(|last| v4.insert(Ipv4Addr::new(192, 0, 2, last).into()));
        let six = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        (0..=0x3e7).for_each(|last| v6.insert(six(last).into()));
        (v4, v6)
    }

    #[test]
    fn the_filter_of_bep_33() {
        let (mut all, v6) = vector();
        all.unite(&v6);
        assert_eq!(upper_hex(all.as_bytes()), VECTOR);
        let digest = upper_hex(&sha256(all.as_bytes())).to_lowercase();
        assert_eq!(digest, "462ba3f17929325cb8d21231802c7b564058f741af9e54af8d74c88c3fd53325");
        assert!((all.estimate() - 1_224.930_889_8).abs() < 1e-6, "{}", all.estimate());
        assert_eq!(Filter::from_bytes(all.as_bytes()), all);
    }

    #[test]
    fn estimates_at_both_ends_are_finite() {
        assert_eq!(Filter::EMPTY.estimate(), 0.0);
        let full = Filter([0xff; FILTER_BYTES]).estimate();
        assert!(full.is_finite() && full > 6_000.0, "{full}");
        let mut one = Filter::default();
        one.insert(Ipv4Addr::new(192, 0, 2, 1).into());
        assert!((one.estimate() - 1.0).abs() < 0.01, "{}", one.estimate());
    }

    #[test]
    fn a_union_counts_everyone_once() {
        let (v4, v6) = vector();
        let mut twice = v4;
        twice.unite(&v4);
        assert_eq!(twice, v4);
        let mut all = v4;
        all.unite(&v6);
        assert!(all.estimate() > v4.estimate() && all.estimate() > v6.estimate());
    }
}
