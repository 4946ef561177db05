//! How nodes lie and how peers misbehave, who of them does what, and what honest peers insist on.

use super::hits;

/// What a hostile node does with every query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// `nodes` that are not there: vacant addresses, 0.0.0.0, port 0, live nodes under wrong ids.
    FalseNodes,
    /// `values` for every infohash, naming dead and hostile peers.
    FalsePeers,
    /// `samples` of infohashes that do not exist.
    FalseSamples,
    /// Bytes that are not KRPC, or the query itself.
    Garbage,
    /// The truth under an id right beside the target.
    SpoofedId,
    /// The truth under another transaction id.
    WrongTransaction,
}

impl Lie {
    /// Each as likely as the others.
    pub(crate) fn drawn(draw: u64) -> Self {
        match draw % 6 {
            0 => Self::FalseNodes,
            1 => Self::FalsePeers,
            2 => Self::FalseSamples,
            3 => Self::Garbage,
            4 => Self::SpoofedId,
            _ => Self::WrongTransaction,
        }
    }
}

/// What an honest peer insists on, as some real ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Nothing.
    Easy,
    /// aria2: no byte after the BEP 3 handshake before its own, which takes it a while.
    BareHandshake,
    /// Transmission: one handshake from an address at a time; others are closed at once.
    OneHandshake,
}

impl Manners {
    /// By two draws of 64 bits, the one that hits first.
    pub(crate) fn drawn((one, bare): (u64, u64), (one_pct, bare_pct): (f64, f64)) -> Self {
        if hits(one, one_pct) {
            Self::OneHandshake
        } else if hits(bare, bare_pct / (1.0 - one_pct.min(99.0) / 100.0)) {
            // Of those that are left, so many that they are `bare_pct` of all.
            Self::BareHandshake
        } else {
            Self::Easy
        }
    }
}

/// What a peer does once it accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Hangs up at once.
    Close,
    /// Serves, a byte a second.
    Drip,
    /// Sends bytes that are not the protocol.
    Garbage,
    /// Serves what is asked for.
    Honest,
    /// Claims a metadata size that is none: see [`CLAIMS`].
    Claim(i64),
    /// Rejects every request (BEP 9 msg_type 2).
    Reject,
    /// Never says a word.
    Silent,
    /// Shakes hands, then no more.
    Stall,
    /// Answers with pieces that were not asked for, outside of the dictionary, of wrong lengths.
    WrongPieces,
    /// Sends as many bytes as promised, but others.
    WrongMetadata,
    /// Shakes hands for another torrent.
    WrongTorrent,
}

impl Behaviour {
    /// Every hostile one; each has addresses of its own.
    pub(crate) const HOSTILE: [Self; 13] = [
        Self::Claim(CLAIMS[0]),
        Self::Claim(CLAIMS[1]),
        Self::Claim(CLAIMS[2]),
        Self::Claim(CLAIMS[3]),
        Self::Close,
        Self::Drip,
        Self::Garbage,
        Self::Reject,
        Self::Silent,
        Self::Stall,
        Self::WrongMetadata,
        Self::WrongPieces,
        Self::WrongTorrent,
    ];
}

/// Nothing, less than nothing, the largest that fits in 32 bits, the largest that fits in 64.
pub(crate) const CLAIMS: [i64; 4] = [0, -1, i32::MAX as i64, i64::MAX];
