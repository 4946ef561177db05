//! Whether an answer is right. A node that answers something else has answered nothing.

use dht_hunter::base::{InfoHash, NodeId};
use dht_hunter::wire::krpc::Response;

use crate::nodes::{K, Nodes};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// BEP 5
    FindNode,
    /// BEP 5, for a torrent that has peers.
    GetPeers,
    /// BEP 51
    Sample,
    /// BEP 5, with a token that holds.
    Announce,
}

impl Ask {
    /// Every one, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::FindNode, Self::GetPeers, Self::Sample, Self::Announce];

    /// As in KRPC.
    pub fn name(self) -> &'static str {
        match self {
            Self::FindNode => "find_node",
            Self::GetPeers => "get_peers",
            Self::Sample => "sample_infohashes",
            Self::Announce => "announce_peer",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ask| ask.name() == name)
    }
}

/// What an answer must hold.
pub struct Check {
    /// The id of the node under test.
    pub own: NodeId,
    /// The torrents that were announced, ascending.
    pub hashes: Vec<InfoHash>,
}

impl Check {
    /// True if `response` answers `ask`.
    pub fn is_right(&self, ask: Ask, response: Response<'_>, nodes: &Nodes) -> bool {
        response.id == self.own
            && match ask {
                Ask::FindNode => Self::has_nodes(response, nodes),
                Ask::GetPeers => {
                    response.token.is_some_and(|token| !token.is_empty())
                        && response.peers().count() >= VALUES_MIN
                        && response.peers().all(|peer| nodes.at(peer.ip()).is_some())
                }
                Ask::Sample => response.samples.is_some_and(|samples| {
                    let known = |hash| self.hashes.binary_search(&hash).is_ok();
                    samples.hashes().count() == SAMPLES && samples.hashes().all(known)
                }),
                Ask::Announce => true,
            }
    }

    /// Eight nodes, all of which exist.
    fn has_nodes(response: Response<'_>, nodes: &Nodes) -> bool {
        let exists = |node: &dht_hunter::wire::compact::NodeAddr| {
            nodes.at(node.addr.ip()).is_some_and(|at| nodes.id(at) == node.id)
        };
        response.nodes().filter(exists).count() >= K && response.nodes().all(|node| exists(&node))
    }
}

/// Of the [`PEERS_PER_TORRENT`] that were announced; `mainline` gives a random part of them.
const VALUES_MIN: usize = 8;
/// As BEP 51's implementations answer.
const SAMPLES: usize = 20;
/// Peers that are announced for each torrent.
pub const PEERS_PER_TORRENT: usize = 20;
