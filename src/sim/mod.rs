//! The driver without sockets: whole engines in one process, in virtual time, over links that
//! delay and lose. Everything random comes from one seed, so a seed is a run, byte for byte.

mod link;
mod store;
mod world;

pub use link::Link;
pub use store::ModelStore;
pub use world::{Crowd, HostId, Packet, World};
