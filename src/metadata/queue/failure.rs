//! What the end of a fetch means for the peer and for its other torrents.

use crate::metadata::fetch::{Step, Why};

/// Why a peer did not deliver, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It closed before its handshake while another connection to its address was open, has its
    /// share of what all may have, or was silent for once though it delivers: no try, and tried again
    /// when that address has room. A peer is excused so only three times.
    Crowded,
    /// It did what honest software never does: avoided for minutes, longer when repeated.
    Misbehaved,
    /// It answers, but not for this torrent.
    NotHere,
    /// Not its fault: no socket, no memory, no budget. Tried again soon.
    Ours,
    /// No connection, which may be our own fault: avoided for five minutes, unless it has delivered
    /// since the last time; what was under way to it then is `Crowded`.
    Unreachable,
    /// Nobody listens there: as `Unreachable`, and the port with its bytes swapped is tried as well.
    Refused,
    /// A connection, but no answer in time: avoided for seconds, longer when repeated, and forgiven
    /// in the same way.
    Silent,
}

impl From<Why> for Failure {
    fn from(why: Why) -> Self {
        match why {
            Why::NoRoom => Self::Ours,
            Why::OverShare => Self::Crowded,
            Why::Chatter | Why::WrongHash => Self::Misbehaved,
            Why::Refused => Self::Refused,
            Why::TimedOut(Step::Connect) | Why::Unreachable => Self::Unreachable,
            Why::TimedOut(_) | Why::TooSlow => Self::Silent,
            Why::Closed(_)
            | Why::EmptyPiece
            | Why::NoMetadata
            | Why::OtherTorrent
            | Why::Protocol(_)
            | Why::Rejected
            | Why::SelfConnection
            | Why::TooLarge => Self::NotHere,
        }
    }
}
