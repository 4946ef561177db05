//! `scrape`: how large is a swarm (BEP 33).

use super::args::OneHash;
use super::failure::{Failure, Outcome};
use super::operation::perform;
use super::session::Operation;

/// Walks towards the infohash and prints the estimate.
pub fn run(args: &OneHash, json: bool) -> Result<Outcome, Failure> {
    perform(Operation::Scrape(args.infohash.infohash), &args.dht, json)
}
