//! The resolver against DNS servers that nobody here wrote (unbound, BIND, dnsmasq, NSD, Knot DNS),
//! and one that is played and hostile. Everything stays on loopback. What is not installed is skipped
//! with a line; with `DHT_HUNTER_REQUIRE_PEERS=1` it is a failure.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hostile;
#[path = "../support/played.rs"]
mod played;
mod records;
mod restore;
#[path = "../support/servers.rs"]
mod servers;
#[path = "../support/session.rs"]
mod session;
mod signed;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod wire;
