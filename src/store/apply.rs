//! Operations as SQL, inside whatever transaction the caller holds.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::answers;
use super::archive::sorted_bytes;
use super::category::Category;
use super::limits::{RULE_BYTES_MAX, RULES_MAX};
use super::local;
use super::recover::compact;
use super::row::Packer;
use super::search::Entry;
use super::search::tokenize::Indexed;
use crate::base::{InfoHash, UnixTime};
use crate::model::{Drop, Pending, PendingState, SavedId, SavedNode, Sighting, StoreOp, Torrent};

/// What stays between operations: buffers and the next row id.
pub struct Apply {
    packer: Packer,
    indexed: Option<Indexed>,
    keep_info: bool,
    nodes_max: usize,
    next_id: i64,
}

/// Why a hash is known although there is no torrent. The number is what the column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Fetching was given up.
    GivenUp = 1,
    /// It was stored and had to make room.
    Evicted = 2,
    /// The filter refused it.
    Refused = 3,
    /// Somebody deleted it.
    Deleted = 4,
}

impl Apply {
    /// `search`: also make the text for the index.
    pub fn new(
        conn: &Connection,
        (keep_info, search): (bool, bool),
        nodes_max: u64,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            nodes_max: usize::try_from(nodes_max).unwrap_or(usize::MAX),
            packer: Packer::new(),
            indexed: search.then(Indexed::new),
            keep_info,
            next_id: next_id(conn)?,
        })
    }

    /// Applies one operation. Returns what the index shall add once it is committed.
    pub fn apply(
        &mut self,
        conn: &Connection,
        op: &StoreOp,
        now: UnixTime,
    ) -> rusqlite::Result<Option<Entry>> {
        match op {
            StoreOp::Torrent(torrent) => return self.torrent(conn, torrent),
            StoreOp::Seen(sightings) => sightings.iter().try_for_each(|sighting| seen(conn, sighting))?,
            StoreOp::Pending(all) => all.iter().try_for_each(|one| pending(conn, one))?,
            StoreOp::GivenUp(all) => all.iter().try_for_each(|hash| given_up(conn, *hash, now))?,
            StoreOp::Dropped(drop) => dropped(conn, drop)?,
            StoreOp::Nodes(nodes) => save_nodes(conn, &nodes[..nodes.len().min(self.nodes_max)])?,
            StoreOp::OwnId(SavedId { listen, id }) => {
                let sql = "INSERT OR REPLACE INTO own_ids VALUES (?1, ?2)";
                conn.prepare_cached(sql)?.execute(params![listen.to_string(), id.0])?;
            }
            StoreOp::Answers(all) => answers::save(conn, all)?,
            StoreOp::Local(op) => local::save(conn, op, now)?,
            StoreOp::Setting(name, value) => setting(conn, name, value)?,
            StoreOp::Shutdown => {}
        }
        Ok(None)
    }

    /// To be called when a transaction was undone: its ids are free again.
    pub fn undone(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.next_id = next_id(conn)?;
        Ok(())
    }

    fn torrent(&mut self, conn: &Connection, torrent: &Torrent) -> rusqlite::Result<Option<Entry>> {
        let short = torrent.v2.as_ref().map_or(torrent.infohash.0, truncated);
        if stays_away(conn, torrent.infohash.0, short)? {
            return Ok(None);
        }
        forget(conn, torrent.infohash.0)?;
        if short != torrent.infohash.0 {
            forget(conn, short)?;
        }
        let rows = same_torrent(conn, torrent, short)?;
        let Some(&(id, exact)) = rows.first() else {
            return self.insert(conn, torrent).map(Some);
        };
        let mut heard = conn.prepare_cached(
            "UPDATE torrents SET first_seen = min(first_seen, ?2), \
             fetched = fetched + first_seen - min(first_seen, ?2), \
             seen = max(seen, ?3 - first_seen - fetched) WHERE id = ?1",
        )?;
        heard.execute(params![id, moment(torrent.first_seen), moment(torrent.fetched)])?;
        if rows.len() > 1 || !exact {
            self.merge(conn, torrent, &rows)?;
        }
        self.raw(conn, id, torrent)?;
        Ok(None)
    }

    fn insert(&mut self, conn: &Connection, torrent: &Torrent) -> rusqlite::Result<Entry> {
        let id = self.next_id;
        let mut insert = conn.prepare_cached(INSERT)?;
        self.bind(&mut insert, id, torrent)?;
        insert.raw_execute()?;
        self.next_id += 1;
        self.raw(conn, id, torrent)?;
        let text = self.indexed.as_mut().map(|indexed| indexed.text(&torrent.name, &torrent.files));
        Ok(Entry {
            id,
            text: text.unwrap_or_default(),
            size_bytes: sorted_bytes(torrent.size_bytes, &torrent.flags),
            popularity: torrent.peers,
        })
    }

    /// Rows of one torrent under its two hashes become the oldest of them, under the right key.
    fn merge(&mut self, conn: &Connection, torrent: &Torrent, rows: &[(i64, bool)]) -> rusqlite::Result<()> {
        let id = rows[0].0;
        for &(other, _) in &rows[1..] {
            let mut select = conn.prepare_cached("SELECT first_seen FROM torrents WHERE id = ?1")?;
            let before: i64 = select.query_row([other], |row| row.get(0))?;
            let older = "UPDATE torrents SET first_seen = min(first_seen, ?2), \
                         fetched = fetched + first_seen - min(first_seen, ?2) WHERE id = ?1";
            conn.prepare_cached(older)?.execute([id, before])?;
            remove_row(conn, other)?;
        }
        let mut update = conn.prepare_cached(MERGE)?;
        self.bind(&mut update, id, torrent)?;
        update.raw_execute()?;
        stale(conn, id)
    }

    fn bind(
        &mut self,
        statement: &mut CachedStatement<'_>,
        id: i64,
        torrent: &Torrent,
    ) -> rusqlite::Result<()> {
        let size = i64::try_from(torrent.size_bytes).unwrap_or(i64::MAX);
        let flags = &torrent.flags;
        let flags = [flags.private, flags.hybrid, flags.v2_only, flags.overstated];
        let bits = flags.iter().enumerate().map(|(bit, flag)| u32::from(*flag) << bit).sum::<u32>();
        let flags = bits | torrent.files.charset().number() << CHARSET_SHIFT;
        statement.raw_bind_parameter(1, id)?;
        statement.raw_bind_parameter(2, torrent.infohash.0.as_slice())?;
        statement.raw_bind_parameter(3, torrent.v2.as_ref().map(|v2| v2.as_slice()))?;
        statement.raw_bind_parameter(4, torrent.name.as_slice())?;
        statement.raw_bind_parameter(5, size)?;
        statement.raw_bind_parameter(6, torrent.files.len())?;
        statement.raw_bind_parameter(7, piece_column(torrent.piece_length))?;
        statement.raw_bind_parameter(8, Category::of(torrent) as u8)?;
        statement.raw_bind_parameter(9, flags)?;
        statement.raw_bind_parameter(10, moment(torrent.first_seen))?;
        statement.raw_bind_parameter(11, moment(torrent.fetched))?;
        statement.raw_bind_parameter(12, torrent.peers)?;
        statement.raw_bind_parameter(13, self.packer.pack(torrent))
    }

    fn raw(&self, conn: &Connection, id: i64, torrent: &Torrent) -> rusqlite::Result<()> {
        if self.keep_info && !torrent.raw.is_empty() {
            let sql = "INSERT OR IGNORE INTO raw VALUES (?1, ?2)";
            conn.prepare_cached(sql)?.execute(params![id, &torrent.raw[..]])?;
        }
        Ok(())
    }
}

/// Removes a torrent's row for good; the index follows. Its id is never used again.
pub fn remove_row(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    let top: Option<i64> =
        conn.prepare_cached("SELECT max(id) FROM torrents")?.query_row([], |row| row.get(0))?;
    if top == Some(id) {
        let high = conn.prepare_cached(HIGH_ID)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
        setting(conn, HIGH_ID_NAME, &high.unwrap_or(0).max(id).to_string())?;
    }
    conn.prepare_cached("DELETE FROM raw WHERE id = ?1")?.execute([id])?;
    conn.prepare_cached("DELETE FROM torrents WHERE id = ?1")?.execute([id])?;
    stale(conn, id)
}

/// Removes a stored torrent and remembers its hashes, so that it is not fetched again.
pub fn banish(
    conn: &Connection,
    id: i64,
    why: Reason,
    at: UnixTime,
    rule: Option<i64>,
) -> rusqlite::Result<()> {
    let mut select = conn.prepare_cached("SELECT infohash, v2 FROM torrents WHERE id = ?1")?;
    let hashes =
        select.query_row([id], |row| Ok((row.get::<_, [u8; 20]>(0)?, row.get::<_, Option<[u8; 32]>>(1)?)));
    let Some((infohash, v2)) = hashes.optional()? else { return Ok(()) };
    remember(conn, infohash, why, at, rule)?;
    if let Some(v2) = v2 {
        remember(conn, truncated(&v2), why, at, rule)?;
    }
    remove_row(conn, id)
}

/// The id of a rule's words; `None` if there are too many rules already.
pub fn rule_id(conn: &Connection, rule: &str) -> rusqlite::Result<Option<i64>> {
    let rule = &rule[..rule.floor_char_boundary(RULE_BYTES_MAX)];
    let mut find = conn.prepare_cached("SELECT id FROM rules WHERE rule = ?1")?;
    if let Some(id) = find.query_row([rule], |row| row.get(0)).optional()? {
        return Ok(Some(id));
    }
    let count: u64 = conn.prepare_cached("SELECT count(*) FROM rules")?.query_row([], |row| row.get(0))?;
    if count >= RULES_MAX {
        return Ok(None);
    }
    conn.prepare_cached("INSERT INTO rules (rule) VALUES (?1)")?.execute([rule])?;
    Ok(Some(conn.last_insert_rowid()))
}

/// Writes a setting.
pub fn setting(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO settings VALUES (?1, ?2)")?.execute([name, value])?;
    Ok(())
}

/// What [`piece_column`] meant.
pub fn piece_length(column: i64) -> u64 {
    match column {
        // One byte a piece is a power of two as well.
        -63..=0 => 1 << -column,
        other => other.unsigned_abs(),
    }
}

/// The 20 bytes under which a v2 torrent goes through the DHT (BEP 52).
pub fn truncated(v2: &[u8; 32]) -> [u8; 20] {
    let mut short = [0; 20];
    short.copy_from_slice(&v2[..20]);
    short
}

/// The range of v2 hashes that `short` may be the beginning of.
pub fn v2_range(short: [u8; 20]) -> ([u8; 32], [u8; 32]) {
    let (mut low, mut high) = ([0; 32], [0xff; 32]);
    low[..20].copy_from_slice(&short);
    high[..20].copy_from_slice(&short);
    (low, high)
}

/// The id of the next row: none that was ever given away.
pub fn next_id(conn: &Connection) -> rusqlite::Result<i64> {
    let top: Option<i64> = conn.query_row("SELECT max(id) FROM torrents", [], |row| row.get(0))?;
    let high: Option<i64> = conn.query_row(HIGH_ID, [], |row| row.get(0)).optional()?;
    Ok(top.unwrap_or(0).max(high.unwrap_or(0)) + 1)
}

fn stale(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR IGNORE INTO stale VALUES (?1)")?.execute([id])?;
    Ok(())
}

/// True if it was refused or deleted under either hash.
fn stays_away(conn: &Connection, infohash: [u8; 20], short: [u8; 20]) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM known WHERE infohash IN (?1, ?2) AND why >= 3";
    conn.prepare_cached(sql)?.exists(params![infohash, short])
}

/// It neither waits nor is given up any longer.
fn forget(conn: &Connection, infohash: [u8; 20]) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pending WHERE infohash = ?1")?.execute([infohash])?;
    conn.prepare_cached("DELETE FROM known WHERE infohash = ?1")?.execute([infohash])?;
    Ok(())
}

/// Rows that hold this torrent, the oldest first; true: under the same hashes.
fn same_torrent(conn: &Connection, torrent: &Torrent, short: [u8; 20]) -> rusqlite::Result<Vec<(i64, bool)>> {
    let read = |row: &rusqlite::Row<'_>| {
        let exact = row.get::<_, [u8; 20]>(1)? == torrent.infohash.0
            && row.get::<_, Option<[u8; 32]>>(2)? == torrent.v2;
        Ok((row.get(0)?, exact))
    };
    let mut by_key = conn.prepare_cached("SELECT id, infohash, v2 FROM torrents WHERE infohash = ?1")?;
    let mut rows: Vec<(i64, bool)> =
        by_key.query_row([torrent.infohash.0], read).optional()?.into_iter().collect();
    if let Some(v2) = &torrent.v2 {
        if short != torrent.infohash.0 {
            rows.extend(by_key.query_row([short], read).optional()?);
        }
        let mut by_v2 = conn.prepare_cached("SELECT id, infohash, v2 FROM torrents WHERE v2 = ?1")?;
        rows.extend(by_v2.query_row([v2], read).optional()?);
    }
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}

fn seen(conn: &Connection, sighting: &Sighting) -> rusqlite::Result<()> {
    let mut by_key = conn.prepare_cached("SELECT id, seeders FROM torrents WHERE infohash = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<u32>>(1)?));
    let mut found = by_key.query_row([sighting.infohash.0], read).optional()?;
    if found.is_none() {
        let (low, high) = v2_range(sighting.infohash.0);
        let mut by_v2 = conn.prepare_cached("SELECT id, seeders FROM torrents WHERE v2 BETWEEN ?1 AND ?2")?;
        found = by_v2.query_row([low, high], read).optional()?;
    }
    let Some((id, seeders_before)) = found else { return Ok(()) };
    let mut update = conn.prepare_cached(SEEN)?;
    update.execute(params![id, moment(sighting.at), sighting.seeders, sighting.leechers])?;
    // A new entry in the index costs more than the order gains by one seeder among a hundred.
    let moved = |now: u32| seeders_before.is_none_or(|before| now.abs_diff(before) > before / 4);
    if sighting.seeders.is_some_and(moved) { stale(conn, id) } else { Ok(()) }
}

fn pending(conn: &Connection, one: &Pending) -> rusqlite::Result<()> {
    let state = match one.state {
        PendingState::New => 0,
        PendingState::NoPeers => 1,
        PendingState::PeersFailed => 2,
    };
    let mut upsert = conn.prepare_cached(PENDING)?;
    upsert.execute(params![one.infohash.0, secs(one.first_seen), one.tries, secs(one.not_before), state])?;
    // What waits was given up at most before.
    conn.prepare_cached("DELETE FROM known WHERE infohash = ?1 AND why = ?2")?
        .execute(params![one.infohash.0, Reason::GivenUp as u8])?;
    Ok(())
}

fn given_up(conn: &Connection, infohash: InfoHash, now: UnixTime) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pending WHERE infohash = ?1")?.execute([infohash.0])?;
    remember(conn, infohash.0, Reason::GivenUp, now, None)
}

fn dropped(conn: &Connection, drop: &Drop) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pending WHERE infohash = ?1")?.execute([drop.infohash.0])?;
    let rule = rule_id(conn, &drop.rule)?;
    remember(conn, drop.infohash.0, Reason::Refused, drop.at, rule)
}

/// A stronger reason (a higher number) is never replaced by a weaker one.
fn remember(
    conn: &Connection,
    hash: [u8; 20],
    why: Reason,
    at: UnixTime,
    rule: Option<i64>,
) -> rusqlite::Result<()> {
    conn.prepare_cached(REMEMBER)?.execute(params![hash, why as u8, secs(at), rule])?;
    Ok(())
}

/// Of a torrent, so that sums with others stay far from overflowing.
fn moment(at: UnixTime) -> i64 {
    secs(at).min(MOMENT_MAX)
}

/// Most are powers of two: those are kept as a small negative number.
fn piece_column(piece_length: u64) -> i64 {
    match piece_length.is_power_of_two() {
        true => -i64::from(piece_length.ilog2()),
        false => i64::try_from(piece_length).unwrap_or(i64::MAX),
    }
}

/// As a column holds it; "never" in 64 bits stays far away.
fn secs(at: UnixTime) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn save_nodes(conn: &Connection, nodes: &[SavedNode]) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM nodes")?.execute([])?;
    let mut insert = conn.prepare_cached("INSERT INTO nodes VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (rank, node) in nodes.iter().enumerate() {
        insert.execute(params![
            rank,
            node.id.0,
            compact(node.addr),
            secs(node.answered),
            secs(node.sample_after)
        ])?;
    }
    Ok(())
}

const INSERT: &str = "INSERT INTO torrents (id, infohash, v2, name, size, files, piece_length, category, flags, \
    first_seen, fetched, seen, leechers, file_list) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 - ?10, 0, ?12, ?13)";

const MERGE: &str = "UPDATE torrents SET infohash = ?2, v2 = ?3, name = ?4, size = ?5, files = ?6, \
    piece_length = ?7, category = ?8, flags = ?9, first_seen = min(first_seen, ?10), \
    fetched = fetched + first_seen - min(first_seen, ?10), \
    seen = max(seen, ?11 - first_seen - fetched), leechers = coalesce(leechers, ?12), file_list = ?13 WHERE id = ?1";

/// Without an estimate, a time that moves by less than an hour is not worth a page.
const SEEN: &str = "UPDATE torrents SET seen = max(seen, ?2 - first_seen - fetched), seeders = coalesce(?3, seeders), \
    leechers = coalesce(?4, leechers), scraped = iif(?3 IS NULL, scraped, ?2) \
    WHERE id = ?1 AND (?3 IS NOT NULL OR first_seen + fetched + seen + 3600 <= ?2)";

const PENDING: &str = "INSERT INTO pending VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (infohash) DO UPDATE SET \
    first_seen = min(first_seen, excluded.first_seen), tries = excluded.tries, \
    not_before = excluded.not_before, state = excluded.state";

const REMEMBER: &str = "INSERT INTO known VALUES (?1, ?2, ?3, ?4) ON CONFLICT (infohash) DO UPDATE SET \
    why = excluded.why, at = excluded.at, rule = excluded.rule WHERE excluded.why >= why";

/// Column `flags`: 1 private, 2 hybrid, 4 v2 only, 8 overstated; from 16 on the number of the charset
/// that names are encoded in, 0 for UTF-8. Nearly all rows need no byte for it.
pub const CHARSET_SHIFT: u32 = 4;

/// The year 36,812.
const MOMENT_MAX: i64 = 1 << 40;

const HIGH_ID_NAME: &str = "store.high_id";
const HIGH_ID: &str = "SELECT CAST(value AS INTEGER) FROM settings WHERE name = 'store.high_id'";
