//! `find-node`: the nodes closest to an id.

use super::args::FindNode;
use super::failure::{Failure, Outcome};
use super::operation::perform;
use super::session::Operation;

/// Walks towards the id and prints every node that answered on the way.
pub fn run(args: &FindNode, json: bool) -> Result<Outcome, Failure> {
    perform(Operation::FindNode(args.target.infohash), &args.dht, json)
}
