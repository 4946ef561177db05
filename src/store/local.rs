//! Local zones and response policy: what is kept of them, and read again at the start.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use crate::base::UnixTime;
use crate::model::dns::{LocalOp, SavedList, SavedLocal, SavedSerial, SavedSet, SavedZone};

/// Keeps one thing.
pub fn save(conn: &Connection, op: &LocalOp, now: UnixTime) -> rusqlite::Result<()> {
    match op {
        LocalOp::Zone(zone) => {
            remove_zone(conn, &zone.origin)?;
            zone.sets.iter().try_for_each(|set| save_set(conn, &zone.origin, set))
        }
        LocalOp::Sets(origin, sets) => sets.iter().try_for_each(|set| save_set(conn, origin, set)),
        LocalOp::ZoneGone(origin) => remove_zone(conn, origin),
        LocalOp::Serial(SavedSerial { origin, serial, digest }) => {
            let sql = "INSERT OR REPLACE INTO zone_serials VALUES (?1, ?2, ?3)";
            conn.prepare_cached(sql)?.execute(params![&origin[..], serial, digest]).map(drop)
        }
        LocalOp::List(list) => save_list(conn, list),
        LocalOp::ListGone(name) => {
            conn.prepare_cached("DELETE FROM policy_lists WHERE name = ?1")?.execute([name]).map(drop)
        }
        LocalOp::Override(name, Some(action)) => {
            let sql = "INSERT OR REPLACE INTO policy_overrides VALUES (?1, ?2)";
            conn.prepare_cached(sql)?.execute([name, action]).map(drop)
        }
        LocalOp::Override(name, None) => {
            conn.prepare_cached("DELETE FROM policy_overrides WHERE list = ?1")?.execute([name]).map(drop)
        }
        LocalOp::Allowed(name, until) => {
            conn.prepare_cached("DELETE FROM policy_allowed WHERE name = ?1 OR until <= ?2")?
                .execute(params![&name[..], now.0])?;
            let Some(until) = until else { return Ok(()) };
            let sql = "INSERT INTO policy_allowed VALUES (?1, ?2)";
            conn.prepare_cached(sql)?.execute(params![&name[..], until.0]).map(drop)
        }
    }
}

/// Everything that was kept.
pub fn load(conn: &Connection, now: UnixTime) -> rusqlite::Result<SavedLocal> {
    Ok(SavedLocal {
        zones: zones(conn)?,
        serials: all(conn, "SELECT zone, serial, digest FROM zone_serials LIMIT 1000000", |row| {
            Ok(SavedSerial { origin: blob(row, 0)?, serial: row.get(1)?, digest: row.get(2)? })
        })?,
        lists: all(
            conn,
            "SELECT name, download, etag, taken, text FROM policy_lists ORDER BY id LIMIT 1000",
            |row| {
                Ok(SavedList {
                    name: row.get(0)?,
                    is_download: row.get(1)?,
                    etag: row.get(2)?,
                    taken: UnixTime(row.get(3)?),
                    text: Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?),
                })
            },
        )?,
        overrides: all(conn, "SELECT list, action FROM policy_overrides LIMIT 10000", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?,
        allowed: all(conn, "SELECT name, until FROM policy_allowed LIMIT 10000", |row| {
            Ok((blob(row, 0)?, UnixTime(row.get(1)?)))
        })?
        .into_iter()
        .filter(|(_, until)| *until > now)
        .collect(),
    })
}

fn zones(conn: &Connection) -> rusqlite::Result<Vec<SavedZone>> {
    let mut zones: Vec<SavedZone> = Vec::new();
    let mut select =
        conn.prepare("SELECT zone, name, type, ttl, records FROM zone_sets ORDER BY zone, name, type")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let origin = row.get_ref(0)?.as_blob()?;
        if zones.last().is_none_or(|zone| *zone.origin != *origin) {
            zones.push(SavedZone { origin: origin.into(), ..SavedZone::default() });
        }
        let set =
            SavedSet { name: blob(row, 1)?, kind: row.get(2)?, ttl: row.get(3)?, records: blob(row, 4)? };
        if let Some(zone) = zones.last_mut() {
            zone.bytes += set.bytes();
            zone.sets.push(set);
        }
    }
    Ok(zones)
}

fn remove_zone(conn: &Connection, origin: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM zone_sets WHERE zone = ?1")?.execute([origin]).map(drop)
}

fn save_set(conn: &Connection, origin: &[u8], set: &SavedSet) -> rusqlite::Result<()> {
    let SavedSet { name, kind, ttl, records } = set;
    if records.is_empty() {
        let sql = "DELETE FROM zone_sets WHERE zone = ?1 AND name = ?2 AND type = ?3";
        return conn.prepare_cached(sql)?.execute(params![origin, &name[..], kind]).map(drop);
    }
    let sql = "INSERT OR REPLACE INTO zone_sets VALUES (?1, ?2, ?3, ?4, ?5)";
    conn.prepare_cached(sql)?.execute(params![origin, &name[..], kind, ttl, &records[..]]).map(drop)
}

/// A list that is there keeps its place.
fn save_list(conn: &Connection, list: &SavedList) -> rusqlite::Result<()> {
    let sql = "INSERT INTO policy_lists (name, download, etag, taken, text) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (name) DO UPDATE SET download = ?2, etag = ?3, taken = ?4, text = ?5";
    let SavedList { name, is_download, etag, taken, text } = list;
    conn.prepare_cached(sql)?.execute(params![name, is_download, etag, taken.0, &text[..]]).map(drop)
}

fn all<T>(
    conn: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    conn.prepare(sql)?.query_map([], |row| read(row))?.collect()
}

fn blob(row: &Row<'_>, index: usize) -> rusqlite::Result<Box<[u8]>> {
    Ok(row.get_ref(index)?.as_blob()?.into())
}
