//! Extended errors (RFC 8914): why an answer is as it is, for whoever looks with `dig`.

use crate::dns::Failure;

/// An INFO-CODE and a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    bytes: Vec<u8>,
}

/// The INFO-CODEs that are said here (RFC 8914, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum InfoCode {
    Other = 0,
    StaleAnswer = 3,
    ForgedAnswer = 4,
    NotReady = 14,
    Blocked = 15,
    Prohibited = 18,
    StaleNxDomainAnswer = 19,
    NotAuthoritative = 20,
    NoReachableAuthority = 22,
    NetworkError = 23,
}

impl Explained {
    pub(super) fn new(code: InfoCode, text: &str) -> Self {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self { bytes: [&(code as u16).to_be_bytes(), &text.as_bytes()[..end]].concat() }
    }

    /// Why there is no answer.
    pub(super) fn failure(failure: Failure) -> Self {
        let (code, text) = match failure {
            Failure::NoForwarder => (InfoCode::NoReachableAuthority, "no forwarder is known"),
            Failure::Timeout => (InfoCode::NoReachableAuthority, "no forwarder answered in time"),
            Failure::Unreachable => (InfoCode::NetworkError, "no forwarder can be reached"),
            Failure::Refused => (InfoCode::NetworkError, "nothing listens where the forwarder should be"),
            Failure::Rcode(rcode) => {
                return Self::new(
                    InfoCode::NoReachableAuthority,
                    &format!("the last forwarder said {rcode}"),
                );
            }
            Failure::Referral => (InfoCode::NoReachableAuthority, "the forwarder does not resolve"),
            Failure::Chain => (InfoCode::Other, "the aliases lead in a circle, or too far"),
            Failure::Malformed => (InfoCode::Other, "what the forwarder says cannot be read"),
            Failure::BadName => (InfoCode::Other, "it is no name"),
            Failure::Overloaded => (InfoCode::NotReady, "too much is asked at once"),
            Failure::Stopped => (InfoCode::NotReady, "shutting down"),
        };
        Self::new(code, text)
    }

    /// As an option's value; empty if there is nothing to explain.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Enough for a rule and its list, and little in a datagram.
const TEXT_MAX: usize = 160;
