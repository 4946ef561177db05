//! What names have: every answer as it came in `answers`, for the next start, and the addresses of
//! hosts in `dns_cache`, for people and for other programs.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use rusqlite::{Connection, params};
use serde_json::json;

use crate::base::UnixTime;
use crate::dns::cache::split_key;
use crate::model::dns::SavedAnswer;
use crate::wire::dns::{Kind, Message, Name, Section};

/// Writes answers in place of those that were there.
pub fn save(conn: &Connection, answers: &[SavedAnswer]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached("INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3, ?4)")?;
    for SavedAnswer { key, message, resolved_at, ttl } in answers {
        insert.execute(params![&key[..], &message[..], resolved_at.0, ttl])?;
    }
    answers.iter().try_for_each(|answer| save_addresses(conn, answer))
}

/// The newest answers that are fresh at `now`, or expired since then by at most [`STALE_SECS`].
pub fn load(conn: &Connection, now: UnixTime) -> rusqlite::Result<Vec<SavedAnswer>> {
    let sql = "SELECT question, message, resolved_at, ttl FROM answers WHERE resolved_at + ttl > ?1
        ORDER BY resolved_at DESC LIMIT ?2";
    let mut select = conn.prepare(sql)?;
    let since = now.0.saturating_sub(STALE_SECS);
    let rows = select.query_map(params![since, ANSWERS_LOADED], |row| {
        Ok(SavedAnswer {
            key: row.get_ref(0)?.as_blob()?.into(),
            message: Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?),
            resolved_at: UnixTime(row.get(2)?),
            ttl: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Removes what is too old to be of use, and what is too much.
pub fn bound(conn: &Connection, now: UnixTime) -> rusqlite::Result<()> {
    let before = now.0.saturating_sub(STALE_SECS);
    conn.execute("DELETE FROM answers WHERE resolved_at + ttl < ?1", [before])?;
    let excess = "DELETE FROM answers WHERE resolved_at < (SELECT resolved_at FROM answers ORDER BY resolved_at DESC LIMIT 1 OFFSET ?1)";
    conn.execute(excess, [ANSWERS_MAX])?;
    Ok(())
}

/// One row a host, as the seed has it: both families side by side, each renewed by itself.
fn save_addresses(conn: &Connection, answer: &SavedAnswer) -> rusqlite::Result<()> {
    let Some((name, kind, _)) = split_key(&answer.key) else { return Ok(()) };
    let column = match kind {
        Kind::A => "ipv4",
        Kind::AAAA => "ipv6",
        _ => return Ok(()),
    };
    let sql = format!(
        "INSERT INTO dns_cache (hostname, {column}, resolved_at, ttl) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (hostname) DO UPDATE SET {column} = ?2, resolved_at = ?3, ttl = ?4"
    );
    let addresses = json!(addresses(&answer.message, kind)).to_string();
    let at = answer.resolved_at.0;
    conn.prepare_cached(&sql)?.execute(params![hostname(&name), addresses, at, answer.ttl])?;
    Ok(())
}

/// As people write it, without the dot at the end.
fn hostname(name: &Name) -> String {
    let mut text = name.to_string();
    if text.len() > 1 {
        text.pop();
    }
    text
}

fn addresses(message: &[u8], kind: Kind) -> Vec<String> {
    let Ok(message) = Message::parse(message) else { return Vec::new() };
    let answers = message.records().flatten();
    let of_kind = answers.filter(|record| record.section == Section::Answer && record.kind == kind);
    let text = |data: &[u8]| match data.len() {
        4 => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).to_string()),
        _ => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).to_string()),
    };
    of_kind.filter_map(|record| text(record.data())).collect()
}

/// A day: as long as the resolver gives stale answers.
const STALE_SECS: u64 = 86_400;
/// Answers kept: some 200 bytes each.
const ANSWERS_MAX: u64 = 500_000;
/// Answers taken up at a start, the newest first: as many as the resolver's memory holds.
const ANSWERS_LOADED: u64 = 100_000;
