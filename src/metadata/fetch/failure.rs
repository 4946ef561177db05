//! Why fetches end without a dictionary: exactly, for what comes next, and by kind, for counting.

use super::Step;
use crate::wire::peer;

/// Why a fetch ended without a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The peer sent more than 2 MiB or 16,384 frames of what was not asked for.
    Chatter,
    /// The peer closed in this step, or the network did. Before the handshake: perhaps it wants
    /// encryption.
    Closed(Step),
    /// A piece came without a byte (rTorrent before 0.16.23 sends the last one so when the size is a
    /// multiple of 16,384).
    EmptyPiece,
    /// It does not speak BEP 10, or not `ut_metadata`.
    NoMetadata,
    /// Ours: the budget of all fetches is used up; try again when others are done.
    NoRoom,
    /// Its handshake is for another torrent.
    OtherTorrent,
    /// The fetches from its address or its network have their share of the budget.
    OverShare,
    /// It broke BEP 3, 9 or 10.
    Protocol(peer::Error),
    /// It refused the connection.
    Refused,
    /// It refused a piece.
    Rejected,
    /// It is us.
    SelfConnection,
    /// It took too long for this step.
    TimedOut(Step),
    /// It claims a larger dictionary than is fetched.
    TooLarge,
    /// It sends, but less than the least that is worth a connection.
    TooSlow,
    /// The network has no way to it.
    Unreachable,
    /// All pieces came, and are something else.
    WrongHash,
}

/// What is counted as one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The connection was closed before the peer's handshake.
    ClosedAtHandshake,
    /// The connection was closed later.
    ClosedLater,
    /// The connection was not established in time.
    ConnectTimedOut,
    /// The peer has no metadata, or does not speak of it.
    NoMetadata,
    /// The peer does not have this torrent.
    OtherTorrent,
    /// No memory, no socket, or the address has its share.
    Ours,
    /// What came is not the protocol, or far too much of what was not asked for.
    Protocol,
    /// The connection was refused.
    Refused,
    /// The peer rejected a request.
    Rejected,
    /// The peer answered too slowly, or not at all once it was connected to.
    Slow,
    /// The dictionary is larger than is fetched.
    TooLarge,
    /// The network has no way to the peer.
    Unreachable,
    /// What came is not what was asked for.
    WrongHash,
}

/// Failures by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures([u64; FailureKind::ALL.len()]);

impl Why {
    /// What it is counted as.
    pub fn kind(self) -> FailureKind {
        match self {
            Self::Chatter | Self::Protocol(_) => FailureKind::Protocol,
            Self::Closed(Step::Connect | Step::Handshake) => FailureKind::ClosedAtHandshake,
            Self::Closed(Step::Extended | Step::Pieces) => FailureKind::ClosedLater,
            Self::EmptyPiece | Self::Rejected => FailureKind::Rejected,
            Self::NoMetadata => FailureKind::NoMetadata,
            Self::NoRoom | Self::OverShare => FailureKind::Ours,
            Self::OtherTorrent | Self::SelfConnection => FailureKind::OtherTorrent,
            Self::Refused => FailureKind::Refused,
            Self::TimedOut(Step::Connect) => FailureKind::ConnectTimedOut,
            Self::TimedOut(_) | Self::TooSlow => FailureKind::Slow,
            Self::TooLarge => FailureKind::TooLarge,
            Self::Unreachable => FailureKind::Unreachable,
            Self::WrongHash => FailureKind::WrongHash,
        }
    }
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::ClosedAtHandshake,
        Self::ClosedLater,
        Self::ConnectTimedOut,
        Self::NoMetadata,
        Self::OtherTorrent,
        Self::Ours,
        Self::Protocol,
        Self::Refused,
        Self::Rejected,
        Self::Slow,
        Self::TooLarge,
        Self::Unreachable,
        Self::WrongHash,
    ];

    /// As programs read it: in JSON, in metrics, in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClosedAtHandshake => "closed_at_handshake",
            Self::ClosedLater => "closed_later",
            Self::ConnectTimedOut => "connect_timed_out",
            Self::NoMetadata => "no_metadata",
            Self::OtherTorrent => "other_torrent",
            Self::Ours => "ours",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
            Self::Unreachable => "unreachable",
            Self::WrongHash => "wrong_hash",
        }
    }

    /// As people read it, after a number or a share.
    pub fn words(self) -> &'static str {
        match self {
            Self::ClosedAtHandshake => "closed at handshake: perhaps encryption required",
            Self::ClosedLater => "closed after the handshake",
            Self::ConnectTimedOut => "timed out in connect",
            Self::NoMetadata => "no metadata",
            Self::OtherTorrent => "another torrent",
            Self::Ours => "no memory or socket here",
            Self::Protocol => "broke the protocol",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Slow => "too slow or silent",
            Self::TooLarge => "too large",
            Self::Unreachable => "unreachable",
            Self::WrongHash => "wrong hash",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Failures {
    /// One more.
    pub fn add(&mut self, kind: FailureKind) {
        self.0[kind as usize] += 1;
    }

    /// How many of this kind.
    pub fn count(&self, kind: FailureKind) -> u64 {
        self.0[kind as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that happened, the most frequent first, each with its share of all: 0 to 1.
    pub fn shares(&self) -> Vec<(FailureKind, f64)> {
        let total = self.total().max(1) as f64;
        let mut shares: Vec<_> = FailureKind::ALL.into_iter().filter(|kind| self.count(*kind) > 0).collect();
        shares.sort_by_key(|kind| std::cmp::Reverse(self.count(*kind)));
        shares.into_iter().map(|kind| (kind, self.count(kind) as f64 / total)).collect()
    }

    /// As the archive keeps them: names and numbers.
    pub fn to_text(&self) -> String {
        let some = FailureKind::ALL.into_iter().filter(|kind| self.count(*kind) > 0);
        some.map(|kind| format!("{} {}", kind.name(), self.count(kind))).collect::<Vec<_>>().join(" ")
    }

    /// The inverse; what it does not know is left out.
    pub fn from_text(text: &str) -> Self {
        let mut failures = Self::default();
        let words: Vec<&str> = text.split(' ').collect();
        for pair in words.chunks_exact(2) {
            if let (Some(kind), Ok(count)) = (FailureKind::named(pair[0]), pair[1].parse()) {
                failures.0[kind as usize] = count;
            }
        }
        failures
    }
}

/// The sum of both.
impl std::ops::Add for Failures {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_the_largest_first_and_text_gives_them_back() {
        let mut failures = Failures::default();
        assert!(failures.shares().is_empty() && failures.to_text().is_empty());
        for why in [Why::Refused, Why::TimedOut(Step::Connect), Why::Refused, Why::Closed(Step::Handshake)] {
            failures.add(why.kind());
        }
        let shares = failures.shares();
        assert_eq!(shares[0], (FailureKind::Refused, 0.5));
        assert_eq!((shares.len(), failures.total()), (3, 4));
        assert_eq!(Failures::from_text(&failures.to_text()), failures);
        assert_eq!(Failures::from_text("refused x nonsense 3 slow 2 odd").to_text(), "slow 2");
        assert_eq!((failures + failures).count(FailureKind::Refused), 4);
    }

    #[test]
    fn names_are_distinct_and_indices_right() {
        for (at, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, FailureKind::named(kind.name())), (at, Some(kind)));
        }
    }
}
