//! `announce`: say that a torrent is to be had here.

use super::args::Announce;
use super::failure::{Failure, Outcome};
use super::operation::perform;
use super::session::Operation;

/// Walks towards the infohash and announces to the closest nodes.
pub fn run(args: &Announce, json: bool) -> Result<Outcome, Failure> {
    perform(Operation::Announce(args.infohash.infohash, args.port), &args.dht, json)
}
