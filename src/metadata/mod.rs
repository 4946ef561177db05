//! From infohash to verified info dictionary: who to try next, one fetch from one peer, the
//! check, the parse, what is never kept; and the seeding side of the same protocol.
//!
//! Nothing here owns a socket or a clock. `Queue` decides, `Fetch` talks, `verify` judges,
//! `torrent::parse` reads (`Assembled` does both, on any thread); the engine carries results from one to the other.

mod budget;
mod fetch;
mod filter;
mod glob;
mod prove;
pub mod queue;
mod serve;
pub mod torrent;
mod verify;

pub use budget::{Budget, Exhausted, METADATA_MAX, Reservation};
pub use fetch::{Event, FailureKind, Failures, Fetch, Limits, Progress, Step, Timeouts, UNCONSUMED_MAX, Why};
pub use filter::{Filter, FilterError, FilterErrorKind, RULE_LEN_MAX, RULES_MAX};
pub use prove::{AT_ONCE_MAX, Assembled, Proved, read};
pub use queue::Queue;
pub use serve::{Fault, Library, Serve};
pub use verify::{Hashes, verify};
