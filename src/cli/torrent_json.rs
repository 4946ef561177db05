//! Torrents as JSON.

use serde_json::{Value, json};

use crate::model::Torrent;

/// Everything that is known about a torrent, with its files.
pub fn torrent(torrent: &Torrent) -> Value {
    let files: Vec<Value> = torrent
        .files
        .iter()
        .map(|file| json!({"path": file.display_path(), "size_bytes": file.size_bytes}))
        .collect();
    json!({
        "infohash": torrent.infohash.to_string(),
        "v2": torrent.v2.map(|hash| hex(&hash)),
        "name": torrent.display_name(),
        "size_bytes": torrent.size_bytes,
        "piece_length": torrent.piece_length,
        "private": torrent.flags.private,
        "hybrid": torrent.flags.hybrid,
        "overstated": torrent.flags.overstated,
        "first_seen": torrent.first_seen.0,
        "fetched": torrent.fetched.0,
        "files": files,
    })
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
