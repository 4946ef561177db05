//! Codecs only. They borrow what they read, write into what they are given, and keep no state.

pub mod bencode;
pub mod compact;
pub mod dns;
pub mod http;
pub mod krpc;
pub mod peer;
