//! KRPC: everything that can be read of a datagram, within its bounds, and written again.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dht_hunter::base::InfoHash;
use dht_hunter::wire::bencode::{self, Limits};
use dht_hunter::wire::compact::NodeAddr;
use dht_hunter::wire::krpc::{
    Body, INTERVAL_MAX, Message, Method, PROTOCOL_ERROR, Query, Reject, Reply, Response, decode, write_error,
    write_query, write_reply,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let message = match decode(input) {
        Ok(message) => message,
        Err(Reject::Answer { transaction, code, text }) => {
            assert!(!text.is_empty() && (201..=204).contains(&code));
            return refused(transaction, code, text);
        }
        Err(Reject::Drop(_) | Reject::NotKrpc) => return,
    };
    assert!(message.transaction.len() <= input.len());
    // What we write is canonical: to read it and write it again changes nothing.
    let first = written(&message, input.len());
    let again = decode(&first).expect("what was written can be read");
    assert_eq!(written(&again, input.len()), first);
    assert!(bencode::decode(&first, &Limits::STRICT).is_ok(), "canonical");
    assert_eq!(message.transaction, again.transaction);
    match (message.body, again.body) {
        (Body::Query(read), Body::Query(again)) => same_query(read, again),
        (Body::Response(read), Body::Response(again)) => same_response(read, again, input.len()),
        (Body::Error(code, text), Body::Error(code_again, text_again)) => {
            assert_eq!((code, String::from_utf8_lossy(text).as_bytes()), (code_again, text_again));
        }
        (read, again) => panic!("{read:?} became {again:?}"),
    }
    assert!(decode_prefix_is_refused(&first), "a part of a message is no message");
});

fn written(message: &Message<'_>, room: usize) -> Vec<u8> {
    // Room for our version, the sender's address, and defaults that were not there.
    let mut out = vec![0; 4 * room + 1_024];
    let to = message.external.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1));
    let transaction = message.transaction;
    let len = match message.body {
        Body::Query(query) => write_query(&mut out, transaction, &query),
        Body::Error(code, text) => {
            write_error(&mut out, transaction, to, code, &String::from_utf8_lossy(text))
        }
        Body::Response(response) => {
            let (v6, v4): (Vec<NodeAddr>, Vec<_>) = response.nodes().partition(|node| node.addr.is_ipv6());
            let values: Vec<_> = response.peers().collect();
            let hashes: Vec<InfoHash> = response.samples.iter().flat_map(|it| it.hashes()).collect();
            let samples = response.samples.map(|it| (it.interval_secs, it.num.unwrap_or(0), &hashes[..]));
            let reply = Reply {
                id: response.id,
                token: response.token,
                nodes: Some(&v4),
                nodes6: Some(&v6),
                values: &values,
                samples,
                scrape: response.scrape,
            };
            write_reply(&mut out, transaction, to, &reply)
        }
    };
    out.truncate(len.expect("there is room"));
    out
}

fn same_query(read: Query<'_>, again: Query<'_>) {
    // A method that nobody knows is never written.
    if !matches!(read.method, Method::Unknown { .. }) {
        assert_eq!(read, again);
    }
    assert_eq!((read.id, read.read_only, read.want), (again.id, again.read_only, again.want));
}

fn same_response(read: Response<'_>, again: Response<'_>, len: usize) {
    assert_eq!((read.id, read.token, read.scrape), (again.id, again.token, again.scrape));
    assert!(read.nodes().eq(again.nodes()) && read.peers().eq(again.peers()));
    assert!(read.nodes().count() <= 32 && 6 * read.peers().count() <= len);
    assert!(read.token.is_none_or(|token| token.len() <= 128));
    assert!(read.peers().all(|peer| peer.port() != 0));
    let Some((samples, samples_again)) = read.samples.zip(again.samples) else {
        return assert_eq!(read.samples, again.samples);
    };
    assert!(samples.hashes().eq(samples_again.hashes()) && 20 * samples.hashes().count() <= len);
    assert_eq!(samples.interval_secs, samples_again.interval_secs);
    assert!(samples.interval_secs <= INTERVAL_MAX);
}

fn decode_prefix_is_refused(packet: &[u8]) -> bool {
    [packet.len() - 1, packet.len() / 2].into_iter().all(|len| decode(&packet[..len]).is_err())
}

fn refused(transaction: &[u8], code: i64, text: &'static str) {
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    let mut out = vec![0; transaction.len() + 256];
    let len = write_error(&mut out, transaction, to, code, text).expect("there is room");
    let Ok(Message { transaction: echoed, body: Body::Error(code, words), .. }) = decode(&out[..len]) else {
        panic!("an error that cannot be read")
    };
    assert_eq!((echoed, code, words), (transaction, PROTOCOL_ERROR, text.as_bytes()));
}
