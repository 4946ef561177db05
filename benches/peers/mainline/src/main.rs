//! A DHT node of the crate `mainline` on 127.0.0.1:  mainline-node PORT BOOTSTRAP
//!
//! Looks for nodes at every distance until the first line of standard input, and ends with it.

use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainline::{Dht, Id, ServerSettings};

fn main() {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|arg| arg.parse().ok()).expect("a port");
    let bootstrap = args.next().expect("a bootstrap node");
    // As many as it is told of, as with the others.
    let settings = ServerSettings { max_info_hashes: 10_000, max_peers_per_info_hash: 500, ..ServerSettings::default() };
    let dht = Dht::builder()
        .server_mode()
        .server_settings(settings)
        .bootstrap(&[bootstrap])
        .bind_address(Ipv4Addr::LOCALHOST)
        .port(port)
        .build()
        .expect("a node");
    println!("mainline");
    let full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&full);
    let seeker = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            let own = *dht.info().id();
            (0..DEPTHS).for_each(|depth| drop(dht.find_node(near(&own, depth))));
        }
        dht
    });
    let mut line = [0];
    let _ = std::io::stdin().read(&mut line);
    full.store(true, Ordering::Relaxed);
    let _dht = seeker.join();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A target that shares `depth` leading bits with `own`, and not one more.
fn near(own: &Id, depth: usize) -> Id {
    let mut id = *own.as_bytes();
    id[depth / 8] ^= 0x80 >> (depth % 8);
    let random = *Id::random().as_bytes();
    id[depth / 8 + 1..].copy_from_slice(&random[depth / 8 + 1..]);
    Id::from_bytes(id).expect("twenty bytes")
}

const DEPTHS: usize = 16;
