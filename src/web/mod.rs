//! HTTP. So far the client's side: one thing got over one connection.

mod body;
mod get;

pub use body::{Body, BodyFault};
pub use get::{Event, Fault, Get, Limits, Reply, Stage};
