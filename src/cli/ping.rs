//! `ping`: is a DHT node there.

use super::args::Ping;
use super::failure::{Failure, Outcome};
use super::operation::{perform, resolve};
use super::session::Operation;

/// Sends one query and prints the answer's id and round trip.
pub fn run(args: &Ping, json: bool) -> Result<Outcome, Failure> {
    perform(Operation::Ping(resolve(&args.node)?), &args.dht, json)
}
