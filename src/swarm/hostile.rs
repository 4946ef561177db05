//! How nodes lie and how peers misbehave, and who of them does what.

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
