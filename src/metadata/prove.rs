//! From all bytes of an info dictionary to a torrent: verified, read, held against the filter.
//! For a large one that takes milliseconds, so it is one piece of work that any thread can do.

use bytes::Bytes;

use super::budget::Reservation;
use super::filter::Filter;
use super::torrent::{self, Heard};
use super::verify::{Hashes, verify};
use crate::base::InfoHash;
use crate::model::Torrent;

/// A dictionary that is all there and that nobody has looked into.
#[derive(Debug)]
pub struct Assembled {
    /// What it was asked for by.
    pub hash: InfoHash,
    /// Its bytes.
    pub raw: Bytes,
    /// Its share of the fetches' budget, held until it is proved.
    pub share: Reservation,
}

/// What a dictionary turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proved {
    /// The one that was asked for, of so many bytes, but no torrent can be made of it.
    NoTorrent(usize, torrent::Error),
    /// A torrent, of so many bytes of dictionary, and the rule it falls under, if there is one.
    Torrent(usize, Box<Torrent>, Option<String>),
    /// Not what was asked for.
    WrongHash,
}

impl Assembled {
    /// Verifies, reads, filters. What was heard of the torrent is to be added.
    pub fn prove(self, filter: &Filter) -> Proved {
        match verify(self.hash, &self.raw) {
            Some(hashes) => read(self.raw, hashes, filter),
            None => Proved::WrongHash,
        }
    }
}

/// Its share does not count.
impl PartialEq for Assembled {
    fn eq(&self, other: &Self) -> bool {
        (self.hash, &self.raw) == (other.hash, &other.raw)
    }
}

impl Eq for Assembled {}

/// Reads and filters a dictionary that [`verify`] has passed.
pub fn read(raw: Bytes, hashes: Hashes, filter: &Filter) -> Proved {
    let len = raw.len();
    match torrent::parse(raw, hashes, Heard::default()) {
        Ok(torrent) => {
            let rule = filter.matches(&torrent).map(str::to_owned);
            Proved::Torrent(len, Box::new(torrent), rule)
        }
        Err(error) => Proved::NoTorrent(len, error),
    }
}

/// Up to here it is done on the loop: SHA-1 of so much takes a third of a millisecond where the
/// processor does not help, and reading some two thousand files about as long; handing it to
/// another thread costs a hundredth of that, but a copy of the caches too.
pub const AT_ONCE_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use crate::base::{Id, hash};

    fn prove(hash: InfoHash, raw: &'static [u8], filter: &str) -> (Proved, u64) {
        let budget = Budget::new(1_000);
        let mut share = budget.empty_share([192, 0, 2, 1].into());
        share.grow_to(raw.len() as u64).unwrap();
        let proved =
            Assembled { hash, raw: Bytes::from_static(raw), share }.prove(&Filter::parse(filter).unwrap());
        (proved, budget.left())
    }

    #[test]
    fn every_end_gives_its_share_back() {
        let raw = b"d6:lengthi42e4:name5:a.iso12:piece lengthi16384e6:pieces2:xxe";
        let hash = Id(hash::sha1(raw));
        let (Proved::Torrent(len, torrent, None), 1_000) = prove(hash, raw, "word b") else { panic!() };
        assert_eq!((len, torrent.infohash, torrent.size_bytes), (raw.len(), hash, 42));
        let (Proved::Torrent(.., rule), 1_000) = prove(hash, raw, "word iso") else { panic!() };
        assert_eq!(rule.as_deref(), Some("word iso"));
        assert_eq!(prove(Id([0; 20]), raw, ""), (Proved::WrongHash, 1_000));
        let none = b"d4:name1:xe";
        let expected = Proved::NoTorrent(none.len(), torrent::Error::NoFiles);
        assert_eq!(prove(Id(hash::sha1(none)), none, ""), (expected, 1_000));
    }
}
