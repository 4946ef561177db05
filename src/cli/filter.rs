//! `filter test`: what of the archive a filter would catch.

use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::archive;
use super::args::FilterTest;
use super::failure::{Failure, Outcome};
use super::print::Out;
use super::units::human_count;
use crate::base::text::without_bom;
use crate::metadata::Filter;
use crate::model::Torrent;
use crate::store::Stored;

/// Prints each torrent that would be caught, with the rule.
pub fn test(args: &FilterTest, json: bool) -> Result<Outcome, Failure> {
    let filter = read_filter(&args.file)?;
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let mut out = Out::new();
    let (mut caught, mut all) = (0, 0);
    for stored in opened.export() {
        let stored = stored.map_err(|fault| archive::failure(&db, fault))?;
        all += 1;
        let torrent = as_torrent(stored);
        let Some(rule) = filter.matches(&torrent) else { continue };
        caught += 1;
        let name = torrent.display_name();
        if json {
            out.json(&json!({"infohash": torrent.infohash.to_string(), "name": name, "rule": rule}))?;
        } else {
            out.line(&format!("{}  {name}  <- {rule}", torrent.infohash))?;
        }
    }
    if json {
        out.json(&json!({"caught": caught, "torrents": all}))?;
    } else {
        out.line(&format!("{} of {} torrents would be caught", human_count(caught), human_count(all)))?;
    }
    out.flush()?;
    Ok(Outcome::found(caught > 0))
}

/// Reads and parses a filter file.
pub fn read_filter(path: &Path) -> Result<Filter, Failure> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_or(0, |facts| facts.len());
    if size > FILTER_BYTES_MAX {
        return Err(Failure::usage(format!(
            "the filter {shown} is larger than 128 MiB; split or shorten it"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|fault| {
        Failure::usage(format!("cannot read the filter {shown}: {fault}; give another with --filter"))
    })?;
    Filter::parse(without_bom(&text))
        .map_err(|fault| Failure::usage(format!("in the filter {shown}, {fault}; mend that line")))
}

/// As the filter looks at it; the raw bytes are not needed for that.
fn as_torrent(stored: Stored) -> Torrent {
    Torrent {
        infohash: stored.infohash,
        v2: stored.v2,
        name: stored.name,
        size_bytes: stored.size_bytes,
        files: stored.files,
        piece_length: stored.piece_length,
        flags: stored.flags,
        first_seen: stored.first_seen,
        fetched: stored.fetched,
        peers: 0,
        raw: Bytes::new(),
    }
}

/// A hundred thousand rules of a thousand bytes, the most that a filter takes.
const FILTER_BYTES_MAX: u64 = 128 << 20;
