//! Compact lists of nodes and peers: what is read is written to the same bytes.
#![no_main]

use dht_hunter::wire::compact::{NODE_V4, NODE_V6, PEER_V6, nodes, peer, write_peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for v6 in [false, true] {
        let size = if v6 { NODE_V6 } else { NODE_V4 };
        let mut written = Vec::new();
        for node in nodes(input, v6) {
            assert_eq!(node.addr.is_ipv6(), v6);
            let mut out = [0; PEER_V6];
            let len = write_peer(node.addr, &mut out);
            written.extend_from_slice(&node.id.0);
            written.extend_from_slice(&out[..len]);
        }
        let whole = input.len().is_multiple_of(size);
        assert_eq!(written, if whole { input } else { &[] });
    }
    for len in 0..=input.len().min(PEER_V6 + 1) {
        let read = peer(&input[..len]);
        assert_eq!(read.is_some(), len == 6 || len == PEER_V6);
        if let Some(addr) = read {
            let mut out = [0; PEER_V6];
            let written = write_peer(addr, &mut out);
            assert_eq!(&out[..written], &input[..len]);
        }
    }
});
