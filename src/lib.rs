//! dht-hunter: one program for one crawler box.

pub mod base;
pub mod cli;
pub mod dht;
pub mod engine;
pub mod guide;
pub mod metadata;
pub mod model;
pub mod reactor;
pub mod sim;
pub mod store;
pub mod swarm;
pub mod wire;
