//! The OPT record (RFC 6891, section 6.1.2): how it is written.

use super::kind::{Kind, Rcode};
use super::message::OptionCode;

/// What an OPT record says.
#[derive(Clone, Copy, Debug)]
pub struct Opt<'a> {
    /// The largest datagram that the sender takes, in bytes.
    pub payload: u16,
    /// The response code, of which the header has the lower four bits.
    pub rcode: Rcode,
    /// DNSSEC's records are wanted, or were (RFC 3225).
    pub dnssec_ok: bool,
    /// Codes and values.
    pub options: &'a [(OptionCode, &'a [u8])],
}

impl Opt<'_> {
    /// How many bytes it takes.
    pub fn len(&self) -> usize {
        FIXED_LEN + self.options_len()
    }

    /// Never: it has a head.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes it at the start of `out`; how many bytes it took. `None`: there is no room, and nothing
    /// of use is written.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let length = u16::try_from(self.options_len()).ok()?;
        let (fixed, mut rest) = out.get_mut(..self.len())?.split_first_chunk_mut::<FIXED_LEN>()?;
        let [kind_high, kind_low] = Kind::OPT.0.to_be_bytes();
        let [payload_high, payload_low] = self.payload.to_be_bytes();
        let [length_high, length_low] = length.to_be_bytes();
        let (rcode, flags) = ((self.rcode.0 >> 4) as u8, u8::from(self.dnssec_ok) << 7);
        *fixed =
            [0, kind_high, kind_low, payload_high, payload_low, rcode, 0, flags, 0, length_high, length_low];
        for (code, value) in self.options {
            let (head, after) = rest.split_first_chunk_mut::<4>()?;
            head[..2].copy_from_slice(&code.0.to_be_bytes());
            head[2..].copy_from_slice(&(value.len() as u16).to_be_bytes());
            let (room, after) = after.split_at_mut_checked(value.len())?;
            room.copy_from_slice(value);
            rest = after;
        }
        Some(self.len())
    }

    fn options_len(&self) -> usize {
        self.options.iter().map(|(_, value)| 4 + value.len()).sum()
    }
}

/// Root as the owner, type, class, TTL and the length of the options.
const FIXED_LEN: usize = 11;
