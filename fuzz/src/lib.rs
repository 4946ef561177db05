//! What the fuzz targets share: choices read from bytes, and a count of the memory in use.
//!
//! A target states properties, not only that nothing panics: what was decoded is encoded to the
//! same again, bytes that come in pieces mean what they mean in one, caps hold.

pub mod commands;
pub mod crowd;
pub mod dns;
pub mod feed;
pub mod heap;
pub mod limits;
pub mod peer;
pub mod remote;
pub mod stream;

pub use feed::Feed;
