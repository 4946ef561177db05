//! Reading the archive, in any process, while another may write: by hash, by words, as a whole.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};

use super::apply::{CHARSET_SHIFT, piece_length, v2_range};
use super::category::Category;
use super::row;
use super::schema::{OpenError, beside, canonical, open_reader};
use super::search::index::Searcher;
use super::search::tokenize::{self, Indexed, Term, Words};
use super::search::{Entry, IndexError, Query, Scope, Sort};
use crate::base::{Id, InfoHash, UnixTime};
use crate::model::torrent::name_or_hash;
use crate::model::{Charset, FileList, TorrentFlags};

/// An archive opened for reading.
pub struct Archive {
    conn: Connection,
    db: PathBuf,
    /// The index as the last search found it: opening its files takes longer than most searches.
    searcher: RefCell<Option<Searcher>>,
}

/// A torrent as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Row id: the order of storing.
    pub id: i64,
    /// SHA-1, or the truncated SHA-256 of torrents that are v2 alone.
    pub infohash: InfoHash,
    /// SHA-256 of v2 and hybrid torrents.
    pub v2: Option<[u8; 32]>,
    /// As in the info dictionary; [`Stored::display_name`] makes it fit to show.
    pub name: Vec<u8>,
    /// Sum of the files.
    pub size_bytes: u64,
    /// How many files.
    pub file_count: u32,
    /// `piece length`
    pub piece_length: u64,
    /// Guessed from the files.
    pub category: Category,
    /// What kind it is.
    pub flags: TorrentFlags,
    /// When its infohash was first heard of.
    pub first_seen: UnixTime,
    /// When its metadata was verified.
    pub fetched: UnixTime,
    /// When it was last heard of.
    pub last_seen: UnixTime,
    /// Estimate of seeders, if somebody scraped.
    pub seeders: Option<u32>,
    /// Estimate of other peers, or peers met while fetching.
    pub leechers: Option<u32>,
    /// The files; empty if the column is damaged.
    pub files: FileList,
}

/// A hit is a stored torrent.
pub type Hit = Stored;

/// One page of hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order asked for.
    pub hits: Vec<Hit>,
    /// Hits in all.
    pub total: u64,
    /// Why not all of it came from the index, or not all was searched.
    pub notes: Vec<Note>,
}

/// What a search could not do as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The index could not be used; every row was read instead.
    Unindexed(IndexError),
    /// So many torrents have more words than the index takes; it has the first ones.
    Partial(u64),
    /// Only the first so many torrents with all words of a phrase were looked at.
    Candidates(usize),
    /// The index lacks the newest so many torrents; they were read one by one.
    Behind(u64),
}

impl Stored {
    /// The name for people: decoded and harmless; the infohash if nothing of it can be seen.
    pub fn display_name(&self) -> String {
        name_or_hash(&self.name, self.files.charset(), &self.infohash)
    }

    /// The size by which it is sorted: 0 if the hashes do not cover what it claims.
    pub fn sorted_bytes(&self) -> u64 {
        sorted_bytes(self.size_bytes, &self.flags)
    }
}

/// See [`Stored::sorted_bytes`].
pub fn sorted_bytes(size_bytes: u64, flags: &TorrentFlags) -> u64 {
    if flags.overstated { 0 } else { size_bytes }
}

/// What is in the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Torrents stored.
    pub torrents: u64,
    /// Sum of their sizes.
    pub content_bytes: u64,
    /// Sum of their files.
    pub files: u64,
    /// Raw info dictionaries kept.
    pub raw: u64,
    /// Hashes that wait to be fetched.
    pub pending: u64,
    /// Hashes given up, evicted, refused, deleted.
    pub known: [u64; 4],
    /// Nodes saved for the next start.
    pub nodes: u64,
    /// Torrents by category, by its number.
    pub categories: [u64; Category::ALL.len()],
    /// When the first and the last were fetched.
    pub fetched: Option<(UnixTime, UnixTime)>,
    /// The database and its WAL.
    pub database_bytes: u64,
    /// The search index.
    pub index_bytes: u64,
}

impl Numbers {
    /// Infohashes found: the torrents stored, and the hashes that wait, or were given up, evicted,
    /// refused or deleted. A hybrid that is stored counts once.
    pub fn found(&self) -> u64 {
        self.torrents + self.pending + self.known.iter().sum::<u64>()
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// SQLite could not; the log has the words.
    Database(OpenError),
    /// The search index could not.
    Index(IndexError),
    /// A file could not be read or written.
    File,
}

impl Archive {
    /// Opens an archive that exists; never creates or changes one.
    pub fn open_read_only(db: &Path) -> Result<Self, OpenError> {
        let db = canonical(db);
        Ok(Self { conn: open_reader(&db)?, db, searcher: RefCell::new(None) })
    }

    /// The torrent with this hash: SHA-1, or the first 20 bytes of its SHA-256.
    pub fn torrent(&self, infohash: InfoHash) -> Result<Option<Stored>, ArchiveError> {
        let (low, high) = v2_range(infohash.0);
        let by_infohash = format!("{SELECT} WHERE infohash = ?1");
        let by_v2 = format!("{SELECT} WHERE v2 BETWEEN ?1 AND ?2");
        let found = self.conn.prepare_cached(&by_infohash)?.query_row([infohash.0], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
        Ok(self.conn.prepare_cached(&by_v2)?.query_row([low, high], read).optional()?)
    }

    /// The torrent with this SHA-256.
    pub fn torrent_v2(&self, v2: [u8; 32]) -> Result<Option<Stored>, ArchiveError> {
        let sql = format!("{SELECT} WHERE v2 = ?1");
        Ok(self.conn.prepare_cached(&sql)?.query_row([v2], read).optional()?)
    }

    /// The raw info dictionary, if it was kept.
    pub fn raw(&self, id: i64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut select = self.conn.prepare_cached("SELECT info FROM raw WHERE id = ?1")?;
        Ok(select.query_row([id], |row| row.get(0)).optional()?)
    }

    /// Torrents with all of the query's words, rows that are not yet in the index included. If
    /// there is none, the last word may also be the beginning of one.
    pub fn search(&self, query: &Query) -> Result<Found, ArchiveError> {
        let mut words = tokenize::query(&query.words);
        if words.is_empty() && !query.words.trim().is_empty() {
            return Ok(Found::default());
        }
        let found = self.search_words(&words, query)?;
        if let (0, Some(Term::Word(last))) = (found.total, words.all.last_mut()) {
            let start = Term::Starts(std::mem::take(last));
            words.all.pop();
            words.all.push(start);
            return self.search_words(&words, query);
        }
        Ok(found)
    }

    /// The row ids of all torrents with exactly all of the query's words, whatever its order and
    /// page; none for a query that asks for nothing. What a deletion would take.
    pub fn matching(&self, query: &Query) -> Result<Vec<i64>, ArchiveError> {
        matching(&self.conn, &self.db, query)
    }

    /// Up to `most` words of the index that differ little from this one, which is as a query's
    /// terms are: what may have been meant.
    pub fn nearest(&self, word: &str, most: usize) -> Result<Vec<String>, ArchiveError> {
        let mut kept = self.searcher.borrow_mut();
        let searcher = current(&mut kept, &beside(&self.db, ".index")).map_err(ArchiveError::Index)?;
        searcher.nearest(word, most).map_err(ArchiveError::Index)
    }

    /// The sum of the sizes of the torrents in these rows.
    pub fn content_bytes(&self, ids: &[i64]) -> Result<u64, ArchiveError> {
        let mut select = self.conn.prepare_cached("SELECT size FROM torrents WHERE id = ?1")?;
        let mut sum = 0u64;
        for id in ids {
            let size: Option<i64> = select.query_row([id], |row| row.get(0)).optional()?;
            sum = sum.saturating_add(size.unwrap_or(0).unsigned_abs());
        }
        Ok(sum)
    }

    /// The first `limit` torrents whose SHA-1 or SHA-256 begins with these hexadecimal digits, at
    /// most 64; none if there are no digits, or others.
    pub fn starting_with(&self, digits: &str, limit: usize) -> Result<Vec<Stored>, ArchiveError> {
        let mut found: Vec<Stored> = Vec::new();
        for (column, digits_max) in [("infohash", 40), ("v2", 64)] {
            let Some((low, high)) = hex_range(digits, digits_max) else { continue };
            let sql = format!("{SELECT} WHERE {column} BETWEEN ?1 AND ?2 ORDER BY {column} LIMIT ?3");
            let mut select = self.conn.prepare_cached(&sql)?;
            for stored in select.query_map((low, high, limit), read)? {
                let stored = stored?;
                if found.iter().all(|known| known.id != stored.id) {
                    found.push(stored);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The torrent in this row.
    pub fn row(&self, id: i64) -> Result<Option<Stored>, ArchiveError> {
        let sql = format!("{SELECT} WHERE id = ?1");
        Ok(self.conn.prepare_cached(&sql)?.query_row([id], read).optional()?)
    }

    /// Every torrent in the order of storing, read in pages: nothing is held open in between.
    pub fn export(&self) -> impl Iterator<Item = Result<Stored, ArchiveError>> + '_ {
        let mut page = Vec::new().into_iter();
        let mut last = 0;
        std::iter::from_fn(move || {
            if page.len() == 0 {
                page = match self.after(last) {
                    Ok(next) => next.into_iter(),
                    Err(error) => {
                        last = i64::MAX;
                        return Some(Err(error));
                    }
                };
            }
            let stored: Stored = page.next()?;
            last = stored.id;
            Some(Ok(stored))
        })
    }

    /// What it keeps of settings, by name.
    pub fn settings(&self) -> Result<Vec<(String, String)>, ArchiveError> {
        Ok(super::recover::settings(&self.conn)?)
    }

    /// Counts and sizes. Reads the whole table.
    pub fn stats(&self) -> Result<Numbers, ArchiveError> {
        let mut numbers = Numbers {
            raw: self.count("raw")?,
            pending: self.count("pending")?,
            nodes: self.count("nodes")?,
            database_bytes: file_bytes(&self.db) + file_bytes(&beside(&self.db, "-wal")),
            index_bytes: super::bounds::folder_bytes(&beside(&self.db, ".index")),
            ..Numbers::default()
        };
        let sql = "SELECT category, count(*), CAST(total(iif(flags & 8, 0, size)) AS INTEGER), CAST(total(files) AS INTEGER), min(first_seen + fetched), max(first_seen + fetched) FROM torrents GROUP BY 1";
        let mut query = self.conn.prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let count: u64 = row.get(1)?;
            numbers.categories[Category::from_number(row.get(0)?) as usize] += count;
            numbers.torrents += count;
            numbers.content_bytes = numbers.content_bytes.saturating_add(row.get(2)?);
            numbers.files = numbers.files.saturating_add(row.get(3)?);
            let (first, last) = (UnixTime(row.get(4)?), UnixTime(row.get(5)?));
            let (before, after) = numbers.fetched.unwrap_or((first, last));
            numbers.fetched = Some((before.min(first), after.max(last)));
        }
        let mut query = self.conn.prepare("SELECT why, count(*) FROM known GROUP BY 1")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(count) = numbers.known.get_mut(row.get::<_, usize>(0)?.wrapping_sub(1)) {
                *count = row.get(1)?;
            }
        }
        Ok(numbers)
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn db(&self) -> &Path {
        &self.db
    }

    fn search_words(&self, words: &Words, query: &Query) -> Result<Found, ArchiveError> {
        let limit = query.limit.min(PAGE_MAX);
        let wanted = query.offset.min(OFFSET_MAX) + limit;
        let mut kept = self.searcher.borrow_mut();
        let mut found = Found::default();
        let mut last = 0;
        match current(&mut kept, &beside(&self.db, ".index")) {
            Ok(searcher) => {
                found = self.search_index(searcher, words, query, wanted)?;
                last = searcher.last_indexed();
            }
            Err(error) => found.notes.push(Note::Unindexed(error)),
        }
        let Scan { mut hits, total, rows } = scan(&self.conn, last, words, query, wanted)?;
        hits.append(&mut found.hits);
        if rows > USUALLY_BEHIND && !matches!(found.notes.first(), Some(Note::Unindexed(_))) {
            found.notes.push(Note::Behind(rows));
        }
        match query.sort {
            // Those that are not in the index yet are the newest, so they stand at the beginning of
            // those whose names have all of the words, and of the others.
            Sort::Relevance => hits.sort_by_cached_key(|hit| !words.all_in(&hit.display_name())),
            sort => hits.sort_by_key(|hit| std::cmp::Reverse(sort_key(sort, hit))),
        }
        found.hits = hits.into_iter().skip(query.offset).take(limit).collect();
        found.total += total;
        Ok(found)
    }

    /// The first `wanted` hits in the index, and how many there are.
    fn search_index(
        &self,
        searcher: &Searcher,
        words: &Words,
        query: &Query,
        wanted: usize,
    ) -> Result<Found, ArchiveError> {
        let mut found = Found::default();
        let partial = if words.is_empty() { 0 } else { searcher.partial() };
        found.notes.extend((partial > 0).then_some(Note::Partial(partial)));
        let limit = if words.phrases.is_empty() { wanted } else { CANDIDATES_MAX };
        let page = searcher.search(words, query, limit).map_err(ArchiveError::Index)?;
        if words.phrases.is_empty() {
            found.total = page.total;
            for id in page.ids {
                found.hits.extend(self.row(id)?);
            }
            return Ok(found);
        }
        found.notes.extend((page.total > limit as u64).then_some(Note::Candidates(limit)));
        for id in page.ids {
            let Some(stored) = self.row(id)? else { continue };
            if words.phrases_match(&stored.name, &stored.files) {
                found.total += 1;
                if found.hits.len() < wanted {
                    found.hits.push(stored);
                }
            }
        }
        Ok(found)
    }

    fn after(&self, last: i64) -> Result<Vec<Stored>, ArchiveError> {
        let mut select = self.conn.prepare_cached(&format!("{SELECT} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
        let rows = select.query_map([last, EXPORT_ROWS], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn count(&self, table: &str) -> Result<u64, ArchiveError> {
        Ok(self.conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    }
}

impl From<rusqlite::Error> for ArchiveError {
    fn from(error: rusqlite::Error) -> Self {
        log::error!("the archive: {error}");
        Self::Database(super::schema::fault(&error))
    }
}

impl From<OpenError> for ArchiveError {
    fn from(error: OpenError) -> Self {
        Self::Database(error)
    }
}

/// The smallest and the largest hash of `digits_max` hexadecimal digits that begin with these.
fn hex_range(digits: &str, digits_max: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    if digits.is_empty() || digits.len() > digits_max || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: char| -> Option<Vec<u8>> {
        let all: String = digits.chars().chain(std::iter::repeat(with)).take(digits_max).collect();
        (0..digits_max).step_by(2).map(|at| u8::from_str_radix(&all[at..at + 2], 16).ok()).collect()
    };
    Some((filled('0')?, filled('f')?))
}

/// The index as it is now.
fn current<'a>(kept: &'a mut Option<Searcher>, dir: &Path) -> Result<&'a Searcher, IndexError> {
    let searcher = match kept.take().filter(|searcher| searcher.is_current(dir)) {
        Some(searcher) => searcher,
        None => Searcher::open(dir)?,
    };
    Ok(kept.insert(searcher))
}

/// The rows that [`Archive::matching`] speaks of.
pub fn matching(conn: &Connection, db: &Path, query: &Query) -> Result<Vec<i64>, ArchiveError> {
    let words = tokenize::query(&query.words);
    let any_size = query.size_min_bytes == 0 && query.size_max_bytes.is_none();
    if words.is_empty() && (!query.words.trim().is_empty() || any_size) {
        return Ok(Vec::new());
    }
    let (mut ids, last) = match Searcher::open(&beside(db, ".index")) {
        Ok(searcher) => {
            let ids = searcher.matching(&words, query).map_err(ArchiveError::Index)?;
            (ids, searcher.last_indexed())
        }
        Err(_) => (Vec::new(), 0),
    };
    if !words.phrases.is_empty() {
        let mut right = Vec::new();
        let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
        for id in ids {
            let stored = select.query_row([id], read).optional()?;
            right
                .extend(stored.filter(|stored| words.phrases_match(&stored.name, &stored.files)).map(|_| id));
        }
        ids = right;
    }
    each_match(conn, last, &words, query, &mut |stored| ids.push(stored.id))?;
    if query.scope == Scope::Names {
        ids = in_names(conn, ids, &words)?;
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Those of these rows whose names alone have all of the words.
fn in_names(conn: &Connection, ids: Vec<i64>, words: &Words) -> Result<Vec<i64>, ArchiveError> {
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut kept = Vec::new();
    for id in ids {
        let Some(stored) = select.query_row([id], read).optional()? else { continue };
        let mut no_files = FileList::default();
        no_files.set_charset(stored.files.charset());
        if words.all_in(&stored.display_name()) && words.phrases_match(&stored.name, &no_files) {
            kept.push(id);
        }
    }
    Ok(kept)
}

/// What the index takes for the rows after `last`, in order, at most `rows`.
pub fn entries_after(conn: &Connection, last: i64, rows: u32) -> rusqlite::Result<Vec<Entry>> {
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    let mut indexed = Indexed::new();
    let mut all = Vec::new();
    let mut found = select.query([last, i64::from(rows)])?;
    while let Some(row) = found.next()? {
        all.push(entry(&mut indexed, &read(row)?));
    }
    Ok(all)
}

/// What the index takes for those of these rows that exist.
pub fn entries_of(conn: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Entry>> {
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut indexed = Indexed::new();
    let mut all = Vec::new();
    for id in ids {
        let stored = select.query_row([id], read).optional()?;
        all.extend(stored.map(|stored| entry(&mut indexed, &stored)));
    }
    Ok(all)
}

/// Ids whose entry in the index is out of date, at most `rows`.
pub fn stale(conn: &Connection, rows: u32) -> rusqlite::Result<Vec<i64>> {
    conn.prepare_cached("SELECT id FROM stale LIMIT ?1")?.query_map([rows], |row| row.get(0))?.collect()
}

/// Says that the index has these right.
pub fn unstale(conn: &mut Connection, ids: &[i64]) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    for id in ids {
        tx.prepare_cached("DELETE FROM stale WHERE id = ?1")?.execute([id])?;
    }
    tx.commit()
}

/// The first `wanted` of the rows after `last` that match, in the order asked for (the newest first
/// for relevance), and how many match in all.
fn scan(
    conn: &Connection,
    last: i64,
    words: &Words,
    query: &Query,
    wanted: usize,
) -> Result<Scan, ArchiveError> {
    let (mut best, mut total) = (Vec::new(), 0);
    let by_name = query.sort == Sort::Relevance && !words.is_empty();
    let by_key = |hit: &Stored| {
        let named = by_name && words.all_in(&hit.display_name());
        std::cmp::Reverse((named, sort_key(query.sort, hit)))
    };
    let rows = each_match(conn, last, words, query, &mut |stored| {
        total += 1;
        best.push(stored);
        if best.len() >= 2 * wanted.max(SCAN_ROWS_MIN) {
            best.sort_by_cached_key(by_key);
            best.truncate(wanted);
        }
    })?;
    best.sort_by_cached_key(by_key);
    best.truncate(wanted);
    Ok(Scan { hits: best, total, rows })
}

/// What [`scan`] found.
struct Scan {
    hits: Vec<Stored>,
    total: u64,
    /// Rows that were read.
    rows: u64,
}

/// Hands over the rows after `last` that match, the newest first. Returns how many rows were read.
fn each_match(
    conn: &Connection,
    last: i64,
    words: &Words,
    query: &Query,
    each: &mut impl FnMut(Stored),
) -> Result<u64, ArchiveError> {
    let (mut indexed, mut read_rows) = (Indexed::new(), 0);
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id > ?1 ORDER BY id DESC"))?;
    let mut rows = select.query([last])?;
    while let Some(row) = rows.next()? {
        let stored = read(row)?;
        read_rows += 1;
        if !query.wants_size(stored.sorted_bytes()) {
            continue;
        }
        let text = if words.is_empty() { String::new() } else { indexed.text(&stored.name, &stored.files) };
        if words.matches(&text, &stored.name, &stored.files) {
            each(stored);
        }
    }
    Ok(read_rows)
}

/// What hits are sorted by, the largest first.
fn sort_key(sort: Sort, hit: &Stored) -> u64 {
    match sort {
        Sort::Relevance | Sort::New => hit.id.unsigned_abs(),
        Sort::Seeders => u64::from(popularity(hit.seeders, hit.leechers)),
        Sort::Size => hit.sorted_bytes(),
    }
}

fn entry(indexed: &mut Indexed, stored: &Stored) -> Entry {
    Entry {
        id: stored.id,
        text: indexed.text(&stored.name, &stored.files),
        size_bytes: stored.sorted_bytes(),
        popularity: popularity(stored.seeders, stored.leechers),
    }
}

fn popularity(seeders: Option<u32>, leechers: Option<u32>) -> u32 {
    seeders.or(leechers).unwrap_or(0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let number = |index| Ok::<_, rusqlite::Error>(row.get::<_, i64>(index)?.unsigned_abs());
    let size_bytes = number(4)?;
    let name = row.get_ref(3)?.as_blob()?.to_vec();
    let flags: u32 = row.get(8)?;
    let mut files = row::unpack(&name, size_bytes, row.get_ref(14)?.as_blob()?).unwrap_or_default();
    let charset = Charset::from_number(flags >> CHARSET_SHIFT);
    files.set_charset(charset);
    if charset == Charset::UTF_8 {
        // Rows of older versions do not have it.
        files.find_charset(&name, None);
    }
    Ok(Stored {
        id: row.get(0)?,
        infohash: Id(row.get(1)?),
        v2: row.get(2)?,
        name,
        size_bytes,
        file_count: row.get(5)?,
        piece_length: piece_length(row.get(6)?),
        category: Category::from_number(row.get(7)?),
        flags: TorrentFlags {
            private: flags & 1 != 0,
            hybrid: flags & 2 != 0,
            v2_only: flags & 4 != 0,
            overstated: flags & 8 != 0,
        },
        first_seen: UnixTime(number(9)?),
        fetched: UnixTime(number(10)?),
        last_seen: UnixTime(number(11)?),
        seeders: row.get(12)?,
        leechers: row.get(13)?,
        files,
    })
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

const SELECT: &str = "SELECT id, infohash, v2, name, size, files, piece_length, category, flags, first_seen, \
    first_seen + fetched, first_seen + fetched + seen, seeders, leechers, file_list FROM torrents";

/// Hits on one page.
const PAGE_MAX: usize = 10_000;

/// How deep pages go; each page costs the index all pages before it.
const OFFSET_MAX: usize = 100_000;

/// Rows read at once while exporting.
const EXPORT_ROWS: i64 = 256;

/// Torrents with all words of a phrase that are looked at: some seconds.
const CANDIDATES_MAX: usize = 300_000;

/// More than what is committed to the table between two commits of the index (50,000).
const USUALLY_BEHIND: u64 = 60_000;

/// Rows kept at least before those that are not among the first are let go.
const SCAN_ROWS_MIN: usize = 1_000;
