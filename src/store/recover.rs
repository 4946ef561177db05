//! What the archive remembers from before, read once at start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rusqlite::{Connection, Row};

use super::limits::{NODES_MAX, PENDING_MAX};
use super::{answers, local};
use crate::base::{Id, InfoHash, UnixTime};
use crate::model::{Pending, PendingState, Recovered, SavedId, SavedNode};

/// Reads everything. The hashes are read out of the rows: 10 million take some ten seconds.
pub fn load(conn: &Connection, now: UnixTime) -> rusqlite::Result<Recovered> {
    let torrents: u64 = conn.query_row("SELECT count(*) FROM torrents", [], |row| row.get(0))?;
    Ok(Recovered {
        known: known(conn, torrents)?,
        given_up: hashes(conn, &["SELECT infohash FROM known WHERE why = 1"], 0)?,
        pending: collect(conn, PENDING, PENDING_MAX, pending)?,
        nodes: collect(
            conn,
            "SELECT id, addr, answered, sample_after FROM nodes ORDER BY rank LIMIT ?1",
            NODES_MAX,
            node,
        )?,
        ids: collect(conn, "SELECT listen, id FROM own_ids LIMIT ?1", IDS_MAX, own_id)?,
        settings: settings(conn)?,
        answers: answers::load(conn, now)?,
        local: local::load(conn, now)?,
        torrents,
    })
}

/// Settings by name.
pub fn settings(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    collect(conn, "SELECT name, value FROM settings LIMIT ?1", SETTINGS_MAX, |row| {
        Ok(Some((row.get(0)?, row.get(1)?)))
    })
}

/// An address in compact form.
pub fn compact(addr: SocketAddr) -> Vec<u8> {
    let mut bytes = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend_from_slice(&addr.port().to_be_bytes());
    bytes
}

fn known(conn: &Connection, torrents: u64) -> rusqlite::Result<Vec<InfoHash>> {
    let tables = [
        "SELECT infohash FROM torrents",
        "SELECT v2 FROM torrents WHERE v2 IS NOT NULL",
        "SELECT infohash FROM known WHERE why <> 1",
    ];
    hashes(conn, &tables, torrents)
}

fn hashes(conn: &Connection, tables: &[&str], expected: u64) -> rusqlite::Result<Vec<InfoHash>> {
    let mut all = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    for sql in tables {
        let mut query = conn.prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_blob()?;
            all.extend(bytes.get(..20).and_then(Id::from_slice));
        }
    }
    Ok(all)
}

/// Rows that make sense; one that does not is left out, it is no reason not to start.
fn collect<T>(
    conn: &Connection,
    sql: &str,
    max: u64,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query([max])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.extend(read(row)?);
    }
    Ok(all)
}

pub(super) fn pending(row: &Row<'_>) -> rusqlite::Result<Option<Pending>> {
    let Some(infohash) = Id::from_slice(row.get_ref(0)?.as_blob()?) else { return Ok(None) };
    Ok(Some(Pending {
        infohash,
        first_seen: UnixTime(row.get(1)?),
        tries: row.get(2)?,
        not_before: UnixTime(row.get(3)?),
        state: match row.get(4)? {
            0u8 => PendingState::New,
            1 => PendingState::NoPeers,
            _ => PendingState::PeersFailed,
        },
    }))
}

fn node(row: &Row<'_>) -> rusqlite::Result<Option<SavedNode>> {
    let id = Id::from_slice(row.get_ref(0)?.as_blob()?);
    let addr = expand(row.get_ref(1)?.as_blob()?);
    let (Some(id), Some(addr)) = (id, addr) else { return Ok(None) };
    Ok(Some(SavedNode { id, addr, answered: UnixTime(row.get(2)?), sample_after: UnixTime(row.get(3)?) }))
}

fn own_id(row: &Row<'_>) -> rusqlite::Result<Option<SavedId>> {
    let listen = row.get_ref(0)?.as_str()?.parse().ok();
    let id = Id::from_slice(row.get_ref(1)?.as_blob()?);
    Ok(listen.zip(id).map(|(listen, id)| SavedId { listen, id }))
}

fn expand(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match *ip {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

const PENDING: &str = "SELECT infohash, first_seen, tries, not_before, state FROM pending LIMIT ?1";

/// A listen address each.
const IDS_MAX: u64 = 10_000;

/// Written by this program under fixed names.
const SETTINGS_MAX: u64 = 10_000;
