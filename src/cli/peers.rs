//! `peers`: who has a torrent.

use super::args::OneHash;
use super::failure::{Failure, Outcome};
use super::operation::perform;
use super::session::Operation;

/// Walks towards the infohash and prints each peer once.
pub fn run(args: &OneHash, json: bool) -> Result<Outcome, Failure> {
    perform(Operation::Peers(args.infohash.infohash), &args.dht, json)
}
