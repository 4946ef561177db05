//! The archive's parts, one at a time: a batch of torrents stored, a name and file list packed and
//! unpacked, a search.
//!
//! `cargo bench --bench store_parts`
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on fails")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dht_hunter::base::{Id, Rng, UnixTime, hash};
use dht_hunter::model::{FileList, StoreOp, StoreResult, Torrent, TorrentFlags};
use dht_hunter::store::row::{Packer, unpack};
use dht_hunter::store::{Archive, Query, Sort, Store, StoreConfig};

criterion_group!(parts, packing, storing, searching);
criterion_main!(parts);

fn packing(criterion: &mut Criterion) {
    let mut packer = Packer::new();
    for (what, files) in [("one file", 1), ("20 files", 20)] {
        let torrent = torrent(7, files);
        criterion.bench_function(&format!("row/pack/{what}"), |bench| {
            bench.iter(|| packer.pack(black_box(&torrent)).len());
        });
        let mut other = Packer::new();
        let column = other.pack(&torrent);
        criterion.bench_function(&format!("row/unpack/{what}"), |bench| {
            bench.iter(|| unpack(&torrent.name, torrent.size_bytes, black_box(column)));
        });
    }
}

/// The thread's work and its answer, as the engine waits for it.
fn storing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH));
    for search in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = open(&folder.path().join("a.db"), search);
        let mut next = 0;
        let batch = || {
            next += BATCH;
            (next - BATCH..next)
                .map(|number| StoreOp::Torrent(Box::new(torrent(number, 5))))
                .collect::<Vec<_>>()
        };
        let name = format!("batch of {BATCH}, {} index", if search { "with" } else { "without" });
        let mut run = |batch| put(&mut store, batch);
        let mut batch = batch;
        group.bench_function(&name, |bench| bench.iter_batched(&mut batch, &mut run, BatchSize::LargeInput));
    }
}

fn searching(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("a.db");
    let (mut store, _) = open(&db, true);
    for start in (0..SEARCHED).step_by(BATCH as usize) {
        put(
            &mut store,
            (start..start + BATCH).map(|number| StoreOp::Torrent(Box::new(torrent(number, 5)))).collect(),
        );
    }
    store.close();
    let archive = Archive::open_read_only(&db).unwrap();
    for (name, sort) in [("relevance", Sort::Relevance), ("seeders", Sort::Seeders), ("age", Sort::New)] {
        let query = Query { words: "word1 word2".to_owned(), sort, limit: 20, ..Query::default() };
        criterion.bench_function(&format!("search/two common words by {name}"), |bench| {
            bench.iter(|| archive.search(black_box(&query)).unwrap().total);
        });
    }
}

fn open(db: &Path, search: bool) -> (Store, dht_hunter::model::Recovered) {
    Store::open(StoreConfig { db: db.to_owned(), search, ..StoreConfig::default() }, || {}).unwrap()
}

fn put(store: &mut Store, torrents: Vec<StoreOp>) {
    let mut open = torrents.len() as u32;
    for torrent in torrents {
        let mut op = Some(torrent);
        while let Some(again) = op.take() {
            op = store.submit(again).err();
            listen(store, &mut open);
        }
    }
    while open > 0 {
        listen(store, &mut open);
    }
}

fn listen(store: &mut Store, open: &mut u32) {
    if let Some(StoreResult::Committed(count)) = store.poll() {
        *open -= count;
    } else {
        std::thread::yield_now();
    }
}

fn torrent(number: u64, count: u64) -> Torrent {
    let mut rng = Rng::seeded(number);
    // The lower a word's number, the more common it is.
    let mut word = || format!("word{}", rng.below(1 << 16).min(rng.below(1 << 16)) >> rng.below(16));
    let name = format!("{}.{}.{}.1080p.WEB-DL.x264-{}.mkv", word(), word(), word(), word());
    let mut files = FileList::default();
    for file in 1..=count {
        let path = if count == 1 { name.clone() } else { format!("{file:02} - {} {}.mp3", word(), word()) };
        files.push(1_000_000 + number * file, [path.as_bytes()].into_iter());
    }
    Torrent {
        infohash: Id(hash::sha1(&number.to_le_bytes())),
        v2: None,
        name: name.into_bytes(),
        size_bytes: files.iter().map(|file| file.size_bytes).sum(),
        files,
        piece_length: 1 << 20,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000),
        fetched: UnixTime(1_700_000_100),
        peers: number as u32 % 30,
        raw: bytes::Bytes::new(),
    }
}

/// What the writer commits at once by default.
const BATCH: u64 = 1_000;

/// Torrents in the archive that is searched.
const SEARCHED: u64 = 50_000;
