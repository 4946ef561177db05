//! dht-hunter: one program for one crawler box.
//!
//! On one thread, over one `mio::Poll`, it walks the BitTorrent Mainline DHT, fetches and
//! verifies the metadata of what it finds, keeps it in SQLite and lets people search it. Users
//! read the [`guide`]; this page is for those who change the program.
//!
//! # The map
//!
//! | room | what it is |
//! |---|---|
//! | [`base`] | what has no opinion: time, ids, rates, flows, slots, timers, hashing |
//! | [`model`] | plain data that rooms hand each other: torrents, what goes into the archive; and what names are made of: words and folding, encodings, text on its way out |
//! | [`wire`] | codecs without state: bencode, KRPC, compact lists, the peer wire, DNS, HTTP |
//! | [`dht`] | a DHT node on every listen address, and the crawl: directory, sweep, lookups |
//! | [`metadata`] | from infohash to verified info dictionary: queue, fetch, verify, parse; serving |
//! | [`dns`] | names: resolver, forwarders, memory; local zones and response policy; the listener that answers others |
//! | [`preconnect`] | connections before they are needed: the race of addresses, probes, what is parked |
//! | [`web`] | HTTP; so far only what gets things from servers |
//! | [`engine`] | the composition: configuration, links, what is known, the archive's credits; `wiring/` holds a file for each pair of rooms that meet |
//! | [`store`] | SQLite and the search index: writer thread, readers, care |
//! | [`reactor`] | the driver with sockets; `sys/` has the only `unsafe` |
//! | [`sim`] | the driver without: virtual time, faults drawn from a seed, an oracle outside the engines |
//! | [`swarm`] | a DHT of N nodes and their torrents on loopback, for `demo`, tests and benches |
//! | [`embed`] | parts of this for other programs: a resolver on a thread of its own, targets connected to |
//! | [`cli`] | one file for each command |
//!
//! Rooms import downwards only: `base <- model <- wire <- {dht metadata dns preconnect web} <- engine <-
//! {reactor sim store} <- {embed swarm} <- cli`, and those in braces not each other. `tests/architecture.rs` keeps
//! that, and the lengths of functions and files, and who may touch clocks, sockets and `unsafe`.
//!
//! # The contract
//!
//! The engine does no I/O. A driver hands it what happened ([`engine::io::Input`]) with the time,
//! then asks what to do ([`engine::Engine::poll`]) until the answer is `Idle` with the next
//! deadline. Two drivers run the same engine: [`reactor`] with real sockets and real time,
//! [`sim`] in virtual time, where one seed always gives the same run.
//!
//! Inside, every machine has the same verbs: `on_…` takes something in, `poll_…` gives something
//! out, `next_deadline` and `on_deadline` are its only notion of time. None owns a socket, a
//! clock, a thread or a source of randomness ([`base::Cx`] brings them).
//!
//! # The life of a torrent
//!
//! [`reactor`] receives a datagram, `dht::client` reads samples from it, `engine::wiring::found`
//! drops what is known, [`metadata::queue`] ranks the rest and wants peers, a lookup asks the node
//! that gave the sample and then the network, [`metadata::Fetch`] talks to a peer,
//! [`metadata::verify`](metadata::verify()) judges, [`metadata::torrent::parse`] reads, the filter
//! is asked (all three on a worker thread if it is large), `engine::wiring::fetches` hands it to
//! the archive's writer thread, which feeds the search index.
//!
//! # Where to change what
//!
//! A new message: [`wire`]. A new way to find infohashes: [`dht`], and an event that
//! `engine::wiring::found` takes in. Whom to try first: [`metadata::queue`]. A column: a numbered
//! file in `store/migrations`. A flag: a row in `cli/keys.rs`.
//!
//! What shows that it still works: `scripts/test`; longer, `simulate --seeds N`, `scripts/fuzz`
//! and `scripts/soak`. What it costs: `scripts/bench` and `scripts/profile`.

pub mod base;
pub mod cli;
pub mod dht;
pub mod dns;
pub mod embed;
pub mod engine;
pub mod guide;
pub mod metadata;
pub mod model;
pub mod preconnect;
pub mod reactor;
pub mod sim;
pub mod store;
pub mod swarm;
pub mod web;
pub mod wire;

pub use embed::Resolver;
