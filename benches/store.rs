//! What keeping a torrent costs: CPU of all threads and bytes on disk, beside magnetico's schema.
//!
//! `cargo bench --bench store -- [torrents]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints what it measured")]

use std::path::Path;
use std::time::Instant;

use dht_hunter::base::{Id, Rng, UnixTime, hash};
use dht_hunter::model::{FileList, StoreOp, StoreResult, Torrent, TorrentFlags};
use dht_hunter::store::{Archive, Query, Sort, Store, StoreConfig};

fn main() {
    let count = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    for (what, files) in [("one file", 1), ("mixed, 16 files on average", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("a.db");
        let mut rng = Rng::seeded(1);
        let torrents: Vec<Torrent> = (0..count).map(|number| torrent(&mut rng, number, files)).collect();
        println!("{count} torrents, {what}");
        let theirs = magnetico(&dir.path().join("m.db"), &torrents);
        let ours = ours(&db, torrents);
        println!(
            "  bytes a torrent: {} here, {} in magnetico's schema: {:.2}",
            ours / count,
            theirs / count,
            ours as f64 / theirs as f64
        );
        search(&db);
        if let Ok(keep) = std::env::var("KEEP") {
            std::fs::rename(dir.path(), format!("{keep}-{files}")).unwrap();
        }
    }
}

fn ours(db: &Path, torrents: Vec<Torrent>) -> u64 {
    let config = StoreConfig { db: db.to_owned(), ..StoreConfig::default() };
    let (mut store, _) = Store::open(config, || {}).unwrap();
    let count = torrents.len();
    let (before, began) = (cpu_us(), Instant::now());
    for torrent in torrents {
        let mut op = Some(StoreOp::Torrent(Box::new(torrent)));
        while let Some(again) = op.take() {
            op = store.submit(again).err();
            while store.poll().is_some() {}
            if op.is_some() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
    store.submit(StoreOp::Shutdown).unwrap();
    while store.poll() != Some(StoreResult::Closed) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    store.close();
    println!(
        "  {:.1} us CPU and {:.1} us time a torrent",
        (cpu_us() - before) as f64 / count as f64,
        began.elapsed().as_micros() as f64 / count as f64
    );
    let index = std::fs::read_dir(db.with_extension("db.index")).unwrap();
    let index: u64 = index.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let database = std::fs::metadata(db).unwrap().len();
    println!("  database {} and index {} bytes a torrent", database / count as u64, index / count as u64);
    database + index
}

fn search(db: &Path) {
    let archive = Archive::open_read_only(db).unwrap();
    for (words, sort) in [
        ("bluray web", Sort::Relevance),
        ("bluray web", Sort::Seeders),
        ("bluray dts", Sort::Size),
        ("bluray dts", Sort::New),
    ] {
        let began = Instant::now();
        let query = Query { words: words.to_owned(), sort, limit: 20, ..Query::default() };
        let found = archive.search(&query).unwrap();
        println!(
            "  {words:?} by {sort:?}: {} hits in {} us, opening included",
            found.total,
            began.elapsed().as_micros()
        );
    }
}

/// The same torrents as magnetico keeps them.
fn magnetico(db: &Path, torrents: &[Torrent]) -> u64 {
    let mut conn = rusqlite::Connection::open(db).unwrap();
    conn.execute_batch(MAGNETICO).unwrap();
    let before = cpu_us();
    let tx = conn.transaction().unwrap();
    for (id, torrent) in (1i64..).zip(torrents) {
        let name = String::from_utf8_lossy(&torrent.name);
        tx.prepare_cached("INSERT INTO torrents VALUES (?1, ?2, ?3, ?4, ?5)")
            .unwrap()
            .execute((id, torrent.infohash.0, &name, torrent.size_bytes as i64, torrent.fetched.0 as i64))
            .unwrap();
        tx.prepare_cached("INSERT INTO torrents_idx (rowid, name) VALUES (?1, ?2)")
            .unwrap()
            .execute((id, &name))
            .unwrap();
        for file in torrent.files.iter() {
            tx.prepare_cached("INSERT INTO files (torrent_id, size, path) VALUES (?1, ?2, ?3)")
                .unwrap()
                .execute((id, file.size_bytes as i64, file.display_path()))
                .unwrap();
        }
    }
    tx.commit().unwrap();
    println!(
        "  magnetico's schema: {:.1} us CPU a torrent, in one transaction",
        (cpu_us() - before) as f64 / torrents.len() as f64
    );
    std::fs::metadata(db).unwrap().len()
}

/// A torrent as they are out there: a scene name, and now and then a season or an album.
fn torrent(rng: &mut Rng, number: u64, files: usize) -> Torrent {
    let mut title: Vec<String> = (0..2 + rng.index(3)).map(|_| word(rng)).collect();
    title.push((1980 + rng.below(46)).to_string());
    title.extend(pick(rng, TAGS, 4).map(str::to_owned));
    let kind = if files == 1 { 0 } else { rng.below(10) };
    let end = if kind < 5 { ".mkv" } else { "" };
    let name = format!("{}-{}{end}", title.join("."), word(rng).to_uppercase());
    let mut list = FileList::default();
    let mut size_bytes = 0;
    let many = match kind {
        0..5 => 1,
        5..8 => 4 + rng.below(8),
        _ => 10 + rng.below(100),
    };
    let album = format!("{} ({}) [FLAC]", title[..2].join(" "), 1980 + rng.below(40));
    for file in 1..=many {
        let size = rng.below(1 << 32);
        size_bytes += size;
        let own: Vec<String> = (0..1 + rng.index(4)).map(|_| word(rng)).collect();
        if many == 1 {
            list.push(size, [name.as_bytes()].into_iter());
        } else if kind % 2 == 0 {
            let track = format!("{file:02} - {} - {}.flac", title[0], own.join(" "));
            list.push(size, [album.as_bytes(), track.as_bytes()].into_iter());
        } else {
            let tags = title[title.len() - 4..].join(".");
            let episode = format!("{}.S01E{file:02}.{}.{tags}.mkv", title[..2].join("."), own.join("."));
            list.push(size, [episode.as_bytes()].into_iter());
        }
    }
    Torrent {
        infohash: Id(hash::sha1(&number.to_le_bytes())),
        v2: None,
        name: name.into_bytes(),
        size_bytes,
        files: list,
        piece_length: 1 << 20,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000 + number / 10),
        fetched: UnixTime(1_700_000_100 + number / 10),
        peers: rng.below(30) as u32,
        raw: bytes::Bytes::new(),
    }
}

/// Words of a language that does not exist, common ones much more often than rare ones.
fn word(rng: &mut Rng) -> String {
    let bits = rng.below(16).max(3);
    let rank = rng.below(1 << bits);
    let mut own = Rng::seeded(rank);
    (0..2 + own.index(2))
        .map(|_| ["ka", "lo", "min", "ter", "sa", "vor", "el", "du", "ri", "on", "est", "ba"][own.index(12)])
        .collect()
}

fn pick<'a>(rng: &mut Rng, from: &'a [&'a str], count: usize) -> impl Iterator<Item = &'a str> {
    let start = rng.index(from.len());
    (0..count).map(move |index| from[(start + index * 3) % from.len()])
}

/// CPU time of all threads of this process, user and system; Linux only, else 0.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

const TAGS: &[&str] =
    &["1080p", "BluRay", "x264", "720p", "WEB-DL", "HEVC", "DTS", "AAC", "HDTV", "REMUX", "MULTi"];

/// As in magnetico 0.12, without what it keeps beside the torrents.
const MAGNETICO: &str = "
CREATE TABLE torrents (id INTEGER PRIMARY KEY, info_hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
  total_size INTEGER NOT NULL CHECK(total_size > 0), discovered_on INTEGER NOT NULL CHECK(discovered_on > 0));
CREATE TABLE files (id INTEGER PRIMARY KEY, torrent_id INTEGER REFERENCES torrents ON DELETE CASCADE,
  size INTEGER NOT NULL, path TEXT NOT NULL);
CREATE VIRTUAL TABLE torrents_idx USING fts5(name, content='torrents', content_rowid='id',
  tokenize=\"porter unicode61 separators ' !\"\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~'\");
";
