//! Compact node and peer lists (BEP 5, BEP 23, BEP 32): an address and a port, big-endian.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::NodeId;

/// Bytes of a peer over IPv4 and IPv6.
pub const PEER_V4: usize = 4 + 2;
/// Bytes of a peer over IPv6.
pub const PEER_V6: usize = 16 + 2;
/// Bytes of a node over IPv4: its id, then a peer.
pub const NODE_V4: usize = 20 + PEER_V4;
/// Bytes of a node over IPv6.
pub const NODE_V6: usize = 20 + PEER_V6;

/// A node as others name it: unverified until it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeAddr {
    /// The id it is said to have.
    pub id: NodeId,
    /// Where it is said to listen.
    pub addr: SocketAddr,
}

/// 6 or 18 bytes as an address, by their length.
pub fn peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Writes `addr` into the front of `out` (18 bytes are always enough); how many it took.
pub fn write_peer(addr: SocketAddr, out: &mut [u8; PEER_V6]) -> usize {
    let len = match addr.ip() {
        IpAddr::V4(ip) => {
            out[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            out[..16].copy_from_slice(&ip.octets());
            16
        }
    };
    out[len..len + 2].copy_from_slice(&addr.port().to_be_bytes());
    len + 2
}

/// The nodes of a `nodes` (v4) or `nodes6` string; nothing if its length is not a multiple of a
/// node's, since then no boundary can be trusted.
pub fn nodes(bytes: &[u8], v6: bool) -> impl Iterator<Item = NodeAddr> {
    let size = if v6 { NODE_V6 } else { NODE_V4 };
    let whole = if bytes.len().is_multiple_of(size) { bytes } else { &[] };
    whole.chunks_exact(size).filter_map(|chunk| {
        let (id, addr) = chunk.split_first_chunk::<20>()?;
        Some(NodeAddr { id: crate::base::Id(*id), addr: peer(addr)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_round_trip_in_both_families() {
        for text in ["97.120.106.101:11893", "[2001:db8::7]:6881"] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut out = [0; PEER_V6];
            let len = write_peer(addr, &mut out);
            assert_eq!(peer(&out[..len]), Some(addr));
        }
        assert_eq!(peer(b"axje.u"), Some("97.120.106.101:11893".parse().unwrap()));
        assert_eq!((peer(b""), peer(b"x"), peer(b"12345")), (None, None, None));
    }

    #[test]
    fn a_chopped_list_names_no_node() {
        let list = [7; NODE_V4 * 2];
        assert_eq!(nodes(&list, false).count(), 2);
        assert_eq!(nodes(&list[..NODE_V4 * 2 - 1], false).count(), 0);
        assert_eq!(nodes(&list, true).count(), 0);
    }

    quickcheck::quickcheck! {
        fn whole_lists_are_read_to_the_same_bytes_and_others_to_none(bytes: Vec<u8>, v6: bool, cut: u8) -> bool {
            let size = if v6 { NODE_V6 } else { NODE_V4 };
            // Whole more often than not.
            let list: Vec<u8> = bytes.iter().copied().cycle().take(bytes.len().min(9) * size).collect();
            let list = &list[..list.len() - (usize::from(cut) % size).min(list.len()) * usize::from(cut > 200)];
            let mut written = Vec::new();
            for node in nodes(list, v6) {
                let mut out = [0; PEER_V6];
                let len = write_peer(node.addr, &mut out);
                written.extend_from_slice(&node.id.0);
                written.extend_from_slice(&out[..len]);
            }
            written == if list.len().is_multiple_of(size) { list } else { &[] }
        }

        fn an_address_is_read_by_its_length_alone(bytes: Vec<u8>) -> bool {
            (0..=bytes.len().min(20)).all(|len| {
                let read = peer(&bytes[..len]);
                let same = |addr| {
                    let mut out = [0; PEER_V6];
                    let written = write_peer(addr, &mut out);
                    out[..written] == bytes[..len]
                };
                read.is_some() == (len == PEER_V4 || len == PEER_V6) && read.is_none_or(same)
            })
        }
    }
}
