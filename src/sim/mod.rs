//! The driver without sockets: whole engines in one process, in virtual time, over links that
//! delay and lose, behind NAT boxes, on disks and clocks that fail. Everything random comes from
//! one seed, so a seed is a run, byte for byte. An oracle outside the engines judges what crosses
//! their boundary.

mod clock;
mod event;
mod faults;
mod link;
mod manners;
mod names;
mod nat;
mod network;
mod oracle;
mod pests;
mod pipe;
mod scenario;
mod sockets;
mod store;
mod trial;
mod world;

pub use clock::Clock;
pub use event::HostId;
pub use faults::{Fault, Faults};
pub use link::{Link, Partition};
pub use manners::PeerManners;
pub use nat::{Dependence, NatBox, NatConfig, Overflow};
pub use oracle::{Checked, Failure, Oracle, Rule};
pub use pipe::Pipe;
pub use scenario::Scenario;
pub use store::ModelStore;
pub use trial::{Report, run, shrink};
pub use world::{BoxId, Crowd, Kill, Packet, Sent, World};
