//! What has no opinion: time, ids, paths, randomness, rate, timers, slots, queues of bytes, hashing.
//!
//! Nothing here knows a protocol, and nothing here reads a clock, opens a socket or draws
//! entropy of its own accord.

pub mod bucket;
pub mod flows;
pub mod hash;
pub mod id;
pub mod limiter;
pub mod network;
pub mod path;
pub mod rng;
pub mod send_queue;
pub mod slots;
pub mod text;
pub mod time;
pub mod timers;
pub mod varint;

pub use bucket::{Buckets, TokenBucket};
pub use flows::{Flow, Flows};
pub use id::{Id, InfoHash, NodeId};
pub use limiter::Limiter;
pub use network::{NetGroup, Network};
pub use path::{Path, Scope, SocketId};
pub use rng::Rng;
pub use send_queue::SendQueue;
pub use slots::{Slots, Token};
pub use time::{Instant, UnixTime};
pub use timers::Timers;

/// What every machine is handed with each call: the time, randomness and the budget.
pub struct Cx<'a> {
    /// The driver's monotonic clock.
    pub now: Instant,
    /// The wall clock, for what must survive a restart.
    pub unix: UnixTime,
    /// The only source of randomness.
    pub rng: &'a mut Rng,
    /// The token buckets that bound what may be sent.
    pub buckets: &'a mut Buckets,
}
