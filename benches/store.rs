//! What keeping a torrent costs: bytes on disk beside magnetico's schema with the same torrents,
//! torrents a second with and without the search index, and how long a search takes.
//!
//! `cargo bench --bench store -- [TORRENTS] [--single] [--no-magnetico] [--no-plain] [--keep FOLDER]`
//!
//! Torrents are mixed, 15 files on average; `--single`: one file each. With `--keep` the archive is
//! left in the folder, and taken as it is the next time. The last line is for programs.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints what it measured")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dht_hunter::base::{Id, Rng, UnixTime, hash};
use dht_hunter::model::{FileList, StoreOp, StoreResult, Torrent, TorrentFlags};
use dht_hunter::store::{Archive, Query, Sort, Store, StoreConfig};
use serde_json::{Value, json};

fn main() {
    let options = Options::parse();
    let folder = tempfile::tempdir().unwrap();
    let place = options.keep.clone().unwrap_or_else(|| folder.path().to_owned());
    std::fs::create_dir_all(&place).unwrap();
    let db = place.join("a.db");
    let what = if options.single { "one file each" } else { "mixed" };
    println!("{} torrents, {what}, of words by Zipf's law", options.count);
    let mut line =
        json!({"bench": "store", "torrents": options.count, "files": what, "versions": versions()});
    if !db.exists() {
        let spent = ours(&db, &options, true);
        spent.print("with the search index");
        line["inserts_per_s"] = spent.per_second().into();
        line["insert_cpu_us"] = spent.cpu_us_each().into();
        line["insert_writer_cpu_us"] = spent.writer_us_each().into();
    }
    if options.plain {
        let spent = ours(&folder.path().join("plain.db"), &options, false);
        spent.print("without it");
        line["inserts_per_s_without_index"] = spent.per_second().into();
        line["insert_cpu_us_without_index"] = spent.cpu_us_each().into();
        line["insert_writer_cpu_us_without_index"] = spent.writer_us_each().into();
    }
    let (database, index) = sizes(&db);
    println!("  database {} and index {} bytes a torrent", database / options.count, index / options.count);
    line["database_bytes"] = database.into();
    line["index_bytes"] = index.into();
    if options.magnetico {
        let theirs = magnetico(&folder.path().join("m.db"), &options);
        let ratio = (database + index) as f64 / theirs as f64;
        println!("  {} in magnetico's schema: {ratio:.3} of it here", theirs / options.count);
        line["magnetico_bytes"] = theirs.into();
        line["bytes_ratio"] = ratio.into();
    }
    line["search"] = search(&db);
    println!("{line}");
}

struct Options {
    count: u64,
    single: bool,
    magnetico: bool,
    plain: bool,
    keep: Option<PathBuf>,
}

impl Options {
    fn parse() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let keep = arguments.iter().position(|argument| argument == "--keep");
        Self {
            count: arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(100_000),
            single: has("--single"),
            magnetico: !has("--no-magnetico"),
            plain: !has("--no-plain"),
            keep: keep.and_then(|at| arguments.get(at + 1)).map(PathBuf::from),
        }
    }

    /// The torrents, some at a time: ten million at once would not fit into memory.
    fn torrents(&self) -> impl Iterator<Item = Vec<Torrent>> + '_ {
        let starts = (0..self.count).step_by(CHUNK as usize);
        starts.map(|start| {
            (start..self.count.min(start + CHUNK)).map(|number| torrent(number, self.single)).collect()
        })
    }
}

fn versions() -> Value {
    #[cfg(feature = "search")]
    let tantivy = tantivy::version_string();
    #[cfg(not(feature = "search"))]
    let tantivy = "none";
    json!({"dht-hunter": env!("CARGO_PKG_VERSION"), "sqlite": rusqlite::version(), "tantivy": tantivy,
        "magnetico's schema": "3"})
}

/// What storing took, making up the torrents not included.
struct Spent {
    count: u64,
    time: Duration,
    /// Of all threads of the archive, and of its writer alone.
    cpu_us: u64,
    writer_us: u64,
}

impl Spent {
    fn per_second(&self) -> u64 {
        (self.count as f64 / self.time.as_secs_f64()) as u64
    }

    fn cpu_us_each(&self) -> f64 {
        self.cpu_us as f64 / self.count as f64
    }

    fn writer_us_each(&self) -> f64 {
        self.writer_us as f64 / self.count as f64
    }

    fn print(&self, how: &str) {
        let (each, writer) = (self.cpu_us_each(), self.writer_us_each());
        println!(
            "  {how}: {} torrents a second, {each:.1} us CPU each, {writer:.1} of them the writer's",
            self.per_second()
        );
    }
}

fn ours(db: &Path, options: &Options, search: bool) -> Spent {
    let config = StoreConfig { db: db.to_owned(), search, ..StoreConfig::default() };
    let (mut store, _) = Store::open(config, || {}).unwrap();
    let before = others_cpu_us();
    let mut time = Duration::ZERO;
    for torrents in options.torrents() {
        let began = Instant::now();
        let mut open = torrents.len() as u64;
        for torrent in torrents {
            submit(&mut store, StoreOp::Torrent(Box::new(torrent)), &mut open);
        }
        while open > 0 {
            listen(&mut store, &mut open);
        }
        time += began.elapsed();
    }
    let began = Instant::now();
    let writer_us = writer_cpu_ns() / 1_000;
    store.close();
    time += began.elapsed();
    Spent { count: options.count, time, cpu_us: others_cpu_us() - before, writer_us }
}

fn submit(store: &mut Store, op: StoreOp, open: &mut u64) {
    let mut op = Some(op);
    while let Some(again) = op.take() {
        op = store.submit(again).err();
        if op.is_some() {
            listen(store, open);
        }
    }
}

fn listen(store: &mut Store, open: &mut u64) {
    match store.poll() {
        Some(StoreResult::Committed(count)) => *open -= u64::from(count),
        Some(other) => panic!("{other:?}"),
        None => std::thread::sleep(Duration::from_micros(500)),
    }
}

fn sizes(db: &Path) -> (u64, u64) {
    let index = std::fs::read_dir(db.with_extension("db.index")).unwrap();
    let index = index.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    (std::fs::metadata(db).unwrap().len(), index)
}

/// Every pair of the commonest words, in every order, each with the count of its hits. On a machine
/// that does other things as well, the fastest round of each pair says what the search itself takes.
fn search(db: &Path) -> Value {
    let archive = Archive::open_read_only(db).unwrap();
    let words: Vec<String> =
        (0..COMMON_WORDS).map(word).chain(TAGS[..COMMON_TAGS].iter().map(|tag| tag.to_lowercase())).collect();
    let pairs: Vec<String> = (0..words.len())
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| format!("{} {}", words[a], words[b]))
        .collect();
    let mut line = json!({});
    for (name, sort) in
        [("relevance", Sort::Relevance), ("seeders", Sort::Seeders), ("age", Sort::New), ("size", Sort::Size)]
    {
        let (mut times, mut hits) = (Vec::new(), 0);
        let mut quiet = vec![Duration::MAX; pairs.len()];
        // The first round fills the caches.
        for round in 0..=SEARCH_ROUNDS {
            for (words, quiet) in pairs.iter().zip(&mut quiet) {
                let query = Query { words: words.clone(), sort, limit: 20, ..Query::default() };
                let began = Instant::now();
                let found = archive.search(&query).unwrap();
                if round > 0 {
                    times.push(began.elapsed());
                    *quiet = began.elapsed().min(*quiet);
                    hits += found.total;
                }
            }
        }
        let hits = hits / times.len() as u64;
        let [p50, p99] = percentiles(times);
        let [quiet_p50, quiet_p99] = percentiles(quiet);
        println!(
            "  two common words by {name}: {p50:.2} ms at the median, {p99:.2} at the 99th percentile \
             ({quiet_p50:.2} and {quiet_p99:.2} of each pair's fastest round), {hits} hits on average"
        );
        line[name] = json!({"p50_ms": p50, "p99_ms": p99, "quiet_p50_ms": quiet_p50, "quiet_p99_ms": quiet_p99,
            "hits": hits});
    }
    line
}

/// Milliseconds at the median and at the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|part| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0)
}

/// The same torrents as magnetico keeps them; the bytes.
fn magnetico(db: &Path, options: &Options) -> u64 {
    let mut conn = rusqlite::Connection::open(db).unwrap();
    conn.execute_batch(MAGNETICO).unwrap();
    let mut ids = 1i64..;
    for torrents in options.torrents() {
        let tx = conn.transaction().unwrap();
        for (torrent, id) in torrents.iter().zip(&mut ids) {
            let name = String::from_utf8_lossy(&torrent.name);
            tx.prepare_cached("INSERT INTO torrents (id, info_hash, name, total_size, discovered_on, modified_on) VALUES (?1, ?2, ?3, ?4, ?5, ?5)")
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
    }
    std::fs::metadata(db).unwrap().len()
}

/// A torrent as they are out there: a scene name, and now and then a season or an album.
fn torrent(number: u64, single: bool) -> Torrent {
    let rng = &mut Rng::seeded(number);
    let mut title: Vec<String> = (0..2 + rng.index(3)).map(|_| zipf(rng)).collect();
    title.push((1980 + rng.below(46)).to_string());
    title.extend(pick(rng, TAGS, 4).map(str::to_owned));
    let kind = if single { 0 } else { rng.below(10) };
    let end = if kind < 5 { ".mkv" } else { "" };
    let name = format!("{}-{}{end}", title.join("."), zipf(rng).to_uppercase());
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
        let own: Vec<String> = (0..1 + rng.index(4)).map(|_| zipf(rng)).collect();
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

/// Word number `r` of a million comes with a probability in proportion to `1/r`.
fn zipf(rng: &mut Rng) -> String {
    let part = rng.below(1 << 52) as f64 / (1u64 << 52) as f64;
    word((VOCABULARY.powf(part)) as u64 - 1)
}

/// Words of a language that does not exist: all different, common ones shorter than rare ones.
fn word(mut number: u64) -> String {
    let mut word = String::new();
    loop {
        let digit = (number % SYLLABLES) as usize;
        word.push(b"tsrnlmdkpbcfghvwjzxq"[digit / 6] as char);
        word.push(b"eaioyu"[digit % 6] as char);
        number /= SYLLABLES;
        if number == 0 {
            return word;
        }
        number -= 1;
    }
}

fn pick<'a>(rng: &mut Rng, from: &'a [&'a str], count: usize) -> impl Iterator<Item = &'a str> {
    let start = rng.index(from.len());
    (0..count).map(move |index| from[(start + index * 3) % from.len()])
}

/// CPU time of the writer thread, the one that all torrents go through; Linux only, else 0.
fn writer_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |file: PathBuf| std::fs::read_to_string(file).unwrap_or_default();
    let mut writers = tasks.filter(|task| of(task.path().join("comm")).trim() == "store");
    let stat = writers.next().map(|task| of(task.path().join("schedstat"))).unwrap_or_default();
    stat.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// CPU time of all threads but this one, user and system; Linux only, else 0.
fn others_cpu_us() -> u64 {
    let of = |path: String| {
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        (ticks(11) + ticks(12)) * 10_000
    };
    let all = of("/proc/self/stat".to_owned());
    all.saturating_sub(of(format!("/proc/self/task/{}/stat", std::process::id())))
}

const TAGS: &[&str] =
    &["1080p", "BluRay", "x264", "720p", "WEB-DL", "HEVC", "DTS", "AAC", "HDTV", "REMUX", "MULTi"];

/// As in natural languages; a million words fit what tens of millions of names hold.
const VOCABULARY: f64 = 1_000_000.0;

/// Twenty consonants by six vowels.
const SYLLABLES: u64 = 120;

/// Torrents made up at a time.
const CHUNK: u64 = 50_000;

/// What is searched for: all pairs of these. "WEB-DL" is two words and is left out.
const COMMON_WORDS: u64 = 10;
const COMMON_TAGS: usize = 4;
const SEARCH_ROUNDS: usize = 4;

/// Tables and indexes of magnetico's last schema (its `pkg/persistence/sqlite3.go`, version 3);
/// triggers and checks, which take no space, are left out.
const MAGNETICO: &str = "
CREATE TABLE torrents (id INTEGER PRIMARY KEY, info_hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
  total_size INTEGER NOT NULL, discovered_on INTEGER NOT NULL, updated_on INTEGER, n_seeders INTEGER,
  n_leechers INTEGER, modified_on INTEGER);
CREATE TABLE files (id INTEGER PRIMARY KEY, torrent_id INTEGER REFERENCES torrents ON DELETE CASCADE,
  size INTEGER NOT NULL, path TEXT NOT NULL, is_readme INTEGER, content TEXT);
CREATE UNIQUE INDEX info_hash_index ON torrents (info_hash);
CREATE UNIQUE INDEX readme_index ON files (torrent_id, is_readme);
CREATE INDEX modified_on_index ON torrents (modified_on);
CREATE VIRTUAL TABLE torrents_idx USING fts5(name, content='torrents', content_rowid='id',
  tokenize=\"porter unicode61 separators ' !\"\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~'\");
";
