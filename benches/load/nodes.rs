//! The nodes that the load speaks for: each on its own address of 127/8, all on one port, as many
//! at every distance from the node under test that each of its buckets can be full.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dht_hunter::base::{Id, NodeId, Rng};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{self, Method, Query, Reply};

/// All of them, in no order.
pub struct Nodes {
    ids: Vec<NodeId>,
    /// The same, ascending, and which node has it.
    sorted: Vec<(NodeId, u32)>,
    port: u16,
}

impl Nodes {
    /// None yet.
    pub fn new(port: u16) -> Self {
        Self { ids: Vec::new(), sorted: Vec::new(), port }
    }

    /// More of them, around the node `own`. Those around another id stay.
    pub fn surround(&mut self, own: NodeId, rng: &mut Rng) {
        let depths = (0..DEPTHS).cycle().take(DEPTHS as usize * PER_DEPTH);
        self.ids.extend(depths.map(|depth| own.random_at_depth(depth, rng)));
        self.sorted = self.ids.iter().copied().zip(0..).collect();
        self.sorted.sort_unstable();
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> NodeId {
        self.ids[node]
    }

    /// Where it is.
    pub fn addr(&self, node: usize) -> SocketAddr {
        SocketAddr::new(ip(node), self.port)
    }

    /// The node at this address.
    pub fn at(&self, ip: IpAddr) -> Option<usize> {
        let IpAddr::V4(ip) = ip else { return None };
        let node = u32::from(ip).checked_sub(u32::from(FIRST_IP))? as usize;
        (node < self.ids.len()).then_some(node)
    }

    /// What an honest node answers: the closest nodes, no samples, and with them an interval that
    /// outlasts the bench. Its length, 0 for none.
    pub fn answer(
        &self,
        node: usize,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
        out: &mut [u8],
    ) -> usize {
        let plain = Reply { id: self.ids[node], ..Reply::default() };
        let written = match query.method {
            Method::Ping | Method::AnnouncePeer { .. } => krpc::write_reply(out, transaction, from, &plain),
            Method::FindNode { target } | Method::Unknown { target: Some(target) } => {
                let nodes = Some(&self.closest(target)[..]);
                krpc::write_reply(out, transaction, from, &Reply { nodes, ..plain })
            }
            Method::GetPeers { info_hash, .. } => {
                let reply = Reply { nodes: Some(&self.closest(info_hash)), token: Some(b"token"), ..plain };
                krpc::write_reply(out, transaction, from, &reply)
            }
            Method::SampleInfohashes { target } => {
                let samples = Some((krpc::INTERVAL_MAX, 0, &[][..]));
                let reply = Reply { nodes: Some(&self.closest(target)), samples, ..plain };
                krpc::write_reply(out, transaction, from, &reply)
            }
            Method::Unknown { target: None } => None,
        };
        written.unwrap_or(0)
    }

    fn closest(&self, target: Id) -> Vec<NodeAddr> {
        // Those that share more leading bits are closer, and stand together.
        let mut near = &self.sorted[..];
        for bit in 0..Id::BITS {
            let half = near.partition_point(|(id, _)| !id.bit(bit));
            let (zeros, ones) = near.split_at(half);
            let with = if target.bit(bit) { ones } else { zeros };
            if with.len() < K {
                break;
            }
            near = with;
        }
        let mut near = near.to_vec();
        near.sort_unstable_by_key(|(id, _)| id.distance(target));
        near.truncate(K);
        near.into_iter().map(|(id, node)| NodeAddr { id, addr: self.addr(node as usize) }).collect()
    }
}

/// The address of a node.
pub fn ip(node: usize) -> IpAddr {
    Ipv4Addr::from(u32::from(FIRST_IP) + node as u32).into()
}

/// Distances that have nodes. A random target is farther than that once in 65,536 times.
pub const DEPTHS: u32 = 16;
/// BEP 5
pub const K: usize = 8;
/// More than the 128 places of libtorrent's largest bucket.
const PER_DEPTH: usize = 256;
const FIRST_IP: Ipv4Addr = Ipv4Addr::new(127, 128, 0, 1);
