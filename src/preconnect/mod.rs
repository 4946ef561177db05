//! Warm connections: how fast a host is reached, over which address and with what TLS; and
//! connections that are open before they are needed.
//!
//! [`Race`] finds the address of a host that answers first. [`Probe`] takes one target from its
//! name to a connection that can be used, and [`Report`] tells what it met. [`Pool`] keeps such
//! connections to targets. [`Summary`] is what many durations come to.
//!
//! None of them opens anything. A probe wants its name looked up when it is made; then
//! [`Probe::poll_attempt`] says where to connect to, [`Probe::poll_close`] what to close, and
//! [`Probe::poll_end`] how it ended.

mod pool;
mod probe;
mod race;
mod report;
mod summary;
mod target;

pub use pool::{Config as PoolConfig, Counts, Pool, Row, RowState};
pub use probe::{Found, Probe, Timeouts};
pub use race::{ADDRESSES_MAX, Attempt, Config as RaceConfig, Fault, Outcome, Race, Turn, interleave};
pub use report::{Cause, Failure, NameFault, Report, Stage};
pub use summary::{Stats, Summary};
pub use target::{BadTarget, DEFAULTS, Key, Protocol, TARGETS_MAX, Target, parse_list};
