//! Is this the dictionary that was asked for? BEP 3: SHA-1 of its raw bytes. BEP 52: the first
//! 20 bytes of their SHA-256.

use crate::base::{Id, InfoHash, hash};
use crate::wire::bencode::{Cursor, FirstKeys, Kind};

/// What was proved of an info dictionary. `verify` fills in the hash that matched;
/// [`super::torrent::parse`], which reads the dictionary anyway, adds the other one of a hybrid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-1.
    pub v1: Option<InfoHash>,
    /// SHA-256, whole.
    pub v2: Option<[u8; 32]>,
}

/// Holds `raw` against the hash it was asked for by; `None` if it is something else.
pub fn verify(asked: InfoHash, raw: &[u8]) -> Option<Hashes> {
    let v1 = Id(hash::sha1(raw));
    if v1 == asked {
        return Some(Hashes { v1: Some(v1), v2: None });
    }
    let v2 = hash::sha256(raw);
    let matches = v2[..20] == asked.0 && meta_version(raw) == Some(2);
    matches.then_some(Hashes { v1: None, v2: Some(v2) })
}

impl Hashes {
    /// The first 20 bytes of the SHA-256: the key of a v2 torrent in the DHT.
    pub fn v2_truncated(&self) -> Option<InfoHash> {
        self.v2.and_then(|v2| Id::from_slice(&v2[..20]))
    }
}

/// Read as [`super::torrent::parse`] reads it: of two such keys the first counts, and damage in what
/// is not looked at is none.
fn meta_version(raw: &[u8]) -> Option<i64> {
    let (mut cursor, mut version) = (Cursor::new(raw), None);
    let mut keys = FirstKeys::default();
    if !cursor.enter(Kind::Dict).ok()? {
        return None;
    }
    while let Some(key) = cursor.key().ok()? {
        if key == b"meta version" && keys.is_first(0) {
            version = cursor.int().ok()?;
        } else {
            cursor.skip().ok()?;
        }
    }
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_hash_is_accepted_and_nothing_else() {
        let v2 = b"d9:file treede12:meta versioni2e4:name1:xe";
        let v1_hash = Id(hash::sha1(v2));
        let long = hash::sha256(v2);
        let v2_hash = Id::from_slice(&long[..20]).unwrap();
        assert_eq!(verify(v1_hash, v2), Some(Hashes { v1: Some(v1_hash), v2: None }));
        let both = verify(v2_hash, v2).unwrap();
        assert_eq!((both.v1, both.v2, both.v2_truncated()), (None, Some(long), Some(v2_hash)));
        assert_eq!(verify(v2_hash, &v2[1..]), None);
        assert_eq!(verify(Id([0; 20]), v2), None);
    }

    #[test]
    fn a_truncated_sha_256_counts_for_meta_version_2_only() {
        for raw in [&b"d12:meta versioni1e4:name1:xe"[..], b"d4:name1:xe", b"junk", b""] {
            let long = hash::sha256(raw);
            assert_eq!(verify(Id::from_slice(&long[..20]).unwrap(), raw), None);
        }
    }
    /// Found by fuzzing: what was proved by its v2 hash was then read as a v1 torrent, or the other
    /// way round.
    #[test]
    fn the_proof_and_the_parse_read_the_version_alike() {
        let twice = b"d9:file treed1:ad0:d6:lengthi5eeee12:meta versioni2e12:meta versioni1e4:name1:xe";
        let last = b"d9:file treed1:ad0:d6:lengthi5eeee12:meta versioni1e12:meta versioni2e4:name1:xe";
        let damaged = b"d9:file treed1:ad0:d6:lengthi5eeee12:meta versioni2e4:name1:x1:zi1-2ee";
        for (raw, v2) in [(&twice[..], true), (damaged, true), (&last[..], false)] {
            let by_v1 = verify(Id(hash::sha1(raw)), raw).unwrap();
            let by_v2 = verify(Id::from_slice(&hash::sha256(raw)[..20]).unwrap(), raw);
            assert_eq!(by_v2.is_some(), v2);
            let torrent = super::super::torrent::parse(raw.to_vec().into(), by_v1, Default::default());
            assert_eq!(torrent.map(|torrent| torrent.v2.is_some()).unwrap_or_default(), v2);
        }
    }
}
