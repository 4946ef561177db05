//! A disk that fills up while torrents are stored, and has room again later: what was
//! acknowledged stays, what was not is said, the same writer goes on, and the index catches up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use dht_hunter::base::{Id, Rng, UnixTime, hash};
use dht_hunter::model::archive::StoreFault;
use dht_hunter::model::{FileList, StoreOp, StoreResult, Torrent, TorrentFlags};
use dht_hunter::store::{Archive, Query, Store, StoreConfig};

use support::{Mounted, skipped, until};

#[test]
fn a_writer_goes_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(folder.path(), "size=8m") else {
        return skipped("room on a disk that was full", "mounting needs root");
    };
    let (db, ballast) = (mounted.0.join("full.db"), mounted.0.join("ballast"));
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let config = || StoreConfig {
        db: db.clone(),
        commit_rows: 5,
        commit_ms: 1,
        keep_info: true,
        index_rows: 20,
        ..StoreConfig::default()
    };
    let (store, _) = Store::open(config(), || {}).unwrap();
    let mut client = Client { store, next: 0, waiting: VecDeque::new(), kept: Vec::new(), lost: Vec::new() };
    until(Duration::from_secs(60), "a disk that is full", || {
        client.step();
        client.lost.len() >= 100
    });
    // Whole batches were refused, one after the other, and none after that was taken for granted.
    assert!(client.kept.len() >= 20, "{} were stored before", client.kept.len());
    client.settle();
    let (before, all_lost) = (client.kept.len(), std::mem::take(&mut client.lost));
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(archive.export().count(), before, "acknowledged, and nothing else");
    drop(archive);
    std::fs::remove_file(&ballast).unwrap();
    all_lost.iter().for_each(|&number| client.put(number));
    for _ in 0..30 {
        client.step();
    }
    client.settle();
    assert_eq!(client.lost, [0; 0], "there was room");
    client.store.close();
    let (store, recovered) = Store::open(config(), || {}).unwrap();
    assert_eq!(recovered.torrents as usize, client.kept.len());
    store.close();
    let archive = Archive::open_read_only(&db).unwrap();
    let report = archive.check(&mut |_, _| {}).unwrap();
    assert!(report.is_good() && report.raw_checked as usize == client.kept.len(), "{report:?}");
    client.kept.sort_unstable();
    assert_eq!(client.kept, (0..client.next).collect::<Vec<_>>());
    assert!(client.kept.iter().all(|&number| archive.torrent(torrent(number).infohash).unwrap().is_some()));
    let query = Query { words: "bird".to_owned(), limit: 1, ..Query::default() };
    assert_eq!(archive.search(&query).unwrap().total as usize, client.kept.len());
}

/// Knows what became of each torrent it handed over.
struct Client {
    store: Store,
    next: u64,
    waiting: VecDeque<u64>,
    kept: Vec<u64>,
    lost: Vec<u64>,
}

impl Client {
    /// One torrent more, and what is known by now.
    fn step(&mut self) {
        self.put(self.next);
        self.next += 1;
    }

    fn put(&mut self, number: u64) {
        let mut op = Some(StoreOp::Torrent(Box::new(torrent(number))));
        self.waiting.push_back(number);
        while let Some(again) = op.take() {
            op = self.store.submit(again).err();
            self.listen();
        }
    }

    /// Waits for every answer.
    fn settle(&mut self) {
        until(Duration::from_secs(20), "answers", || {
            self.listen();
            self.waiting.is_empty()
        });
    }

    fn listen(&mut self) {
        while let Some(result) = self.store.poll() {
            match result {
                StoreResult::Committed(count) => self.kept.extend(self.waiting.drain(..count as usize)),
                StoreResult::Failed(count, fault) => {
                    assert_eq!(fault, StoreFault::DiskFull);
                    self.lost.extend(self.waiting.drain(..count as usize));
                }
                StoreResult::DiskLow(_) | StoreResult::Closed => panic!("{result:?}"),
            }
        }
    }
}

/// With an info dictionary of some thousand bytes that do not compress.
fn torrent(number: u64) -> Torrent {
    let mut raw = vec![0; 6_000];
    Rng::seeded(number).fill(&mut raw);
    let name = format!("bird number{number}x");
    let mut files = FileList::default();
    files.push(number, [name.as_bytes()].into_iter());
    Torrent {
        infohash: Id(hash::sha1(&raw)),
        v2: None,
        name: name.into_bytes(),
        size_bytes: number,
        files,
        piece_length: 1 << 18,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000),
        fetched: UnixTime(1_700_000_100),
        peers: 3,
        raw: raw.into(),
    }
}
