//! The whole room: operations in, what can be read and searched out.

use super::*;
use crate::base::{Id, UnixTime};
use crate::model::{FileList, Torrent, TorrentFlags};
use bytes::Bytes;

/// A torrent whose hash, sizes and files follow from `number`.
pub fn torrent(number: u64, name: &str, files: usize) -> Torrent {
    let mut list = FileList::default();
    for file in 0..files {
        if files == 1 {
            list.push(1_000 + number, [name.as_bytes()].into_iter());
        } else {
            let file_name = format!("{name} - chapter {file:03}.mp3");
            list.push(1_000, [&b"disc one"[..], file_name.as_bytes()].into_iter());
        }
    }
    let raw = format!("info {number}").into_bytes();
    Torrent {
        infohash: Id(crate::base::hash::sha1(&raw)),
        v2: None,
        name: name.as_bytes().to_vec(),
        size_bytes: if files == 1 { 1_000 + number } else { 1_000 * files as u64 },
        files: list,
        piece_length: 1 << 18,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000),
        fetched: UnixTime(1_700_000_100),
        peers: 3,
        raw: raw.into(),
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db");
    (dir, db)
}

fn config(db: &Path) -> StoreConfig {
    StoreConfig { db: db.to_owned(), commit_ms: 0, ..StoreConfig::default() }
}

/// Runs operations through a store that is closed afterwards; what it said.
fn run(config: StoreConfig, ops: Vec<StoreOp>) -> Vec<StoreResult> {
    let (mut store, _) = Store::open(config, || {}).unwrap();
    for op in ops.into_iter().chain([StoreOp::Shutdown]) {
        let mut op = Some(op);
        while let Some(again) = op.take() {
            op = store.submit(again).err();
        }
    }
    drain(store)
}

fn drain(mut store: Store) -> Vec<StoreResult> {
    let mut all = Vec::new();
    while all.last() != Some(&StoreResult::Closed) {
        all.extend(store.poll());
    }
    all
}

fn committed(results: &[StoreResult]) -> u32 {
    results.iter().map(|result| if let StoreResult::Committed(count) = result { *count } else { 0 }).sum()
}

fn put(torrent: Torrent) -> StoreOp {
    StoreOp::Torrent(Box::new(torrent))
}

fn names(found: &Found) -> Vec<String> {
    found.hits.iter().map(|hit| String::from_utf8_lossy(&hit.name).into_owned()).collect()
}

/// Without an index all rows are read, not only the newest, and the order is the same.
#[test]
fn rows_that_are_not_indexed_are_all_found_in_order() {
    let (_dir, db) = place();
    let mut all: Vec<StoreOp> =
        (0..2_500).map(|number| put(torrent(number, &format!("bird {number}"), 1))).collect();
    let mut lie = torrent(9_000, "bird that lies", 1);
    lie.flags.overstated = true;
    lie.size_bytes = 1 << 62;
    all.push(put(lie));
    run(StoreConfig { search: false, ..config(&db) }, all);
    let archive = Archive::open_read_only(&db).unwrap();
    let find = |text: &str, sort, offset| {
        let found = archive.search(&Query { sort, offset, limit: 3, ..words(text) }).unwrap();
        assert_eq!(found.notes, [Note::Unindexed(IndexError::Missing)]);
        (found.total, names(&found))
    };
    let three = |first, second, third| [first, second, third].map(|number| format!("bird {number}")).to_vec();
    assert_eq!(find("bird", Sort::Size, 0), (2_501, three(2_499, 2_498, 2_497)));
    assert_eq!(find("bird", Sort::Size, 2_400), (2_501, three(99, 98, 97)));
    assert_eq!(find("bird", Sort::New, 1), (2_501, three(2_499, 2_498, 2_497)));
    assert_eq!(find("bird -lies", Sort::Relevance, 0), (2_500, three(2_499, 2_498, 2_497)));
    assert_eq!(find("\"bird 7\"", Sort::Relevance, 0), (1, vec!["bird 7".to_owned()]));
    assert_eq!(archive.search(&Query { size_min_bytes: 3_400, ..words("bird") }).unwrap().total, 100);
    assert_eq!(archive.matching(&words("bird -lies")).unwrap().len(), 2_500);
}

fn words(words: &str) -> Query {
    Query { words: words.to_owned(), limit: 10, ..Query::default() }
}

#[test]
fn a_torrent_comes_back_as_it_went_in() {
    let (_dir, db) = place();
    let wanted = torrent(1, "Some.Album", 12);
    let config = StoreConfig { keep_info: true, ..config(&db) };
    let results = run(config, vec![put(wanted.clone()), put(torrent(2, "Other", 1))]);
    assert_eq!(committed(&results), 2);
    let archive = Archive::open_read_only(&db).unwrap();
    let stored = archive.torrent(wanted.infohash).unwrap().unwrap();
    assert_eq!(stored.files, wanted.files);
    assert_eq!((stored.name, stored.size_bytes, stored.file_count), (wanted.name, wanted.size_bytes, 12));
    assert_eq!((stored.category, stored.leechers), (Category::Audio, Some(3)));
    assert_eq!(archive.raw(stored.id).unwrap().as_deref(), Some(&wanted.raw[..]));
    assert_eq!(archive.torrent(Id([0; 20])).unwrap(), None);
    assert_eq!(archive.export().count(), 2);
}

#[test]
fn search_finds_by_name_and_by_file() {
    let (_dir, db) = place();
    let ops = vec![
        put(torrent(1, "Amélie.2001.[1080p]", 1)),
        put(torrent(2, "三体全集", 1)),
        put(torrent(3, "War_and_Peace", 20)),
    ];
    run(config(&db), ops);
    let archive = Archive::open_read_only(&db).unwrap();
    let search = |text: &str| names(&archive.search(&words(text)).unwrap());
    assert_eq!(search("amelie 1080P"), ["Amélie.2001.[1080p]"]);
    assert_eq!(search("体全"), ["三体全集"]);
    assert_eq!(search("peace chapter 019"), ["War_and_Peace"]);
    assert_eq!(search("peace chapter 020"), [""; 0]);
    assert_eq!(search("amel"), ["Amélie.2001.[1080p]"], "the beginning of a word, if nothing else is found");
    assert_eq!(search("..."), [""; 0]);
    assert_eq!(search("").len(), 3);
}

#[test]
fn each_order_sorts_and_pages_and_counts() {
    let (_dir, db) = place();
    let ops = (1..=30u64).map(|number| {
        let mut torrent = torrent(number, &format!("common part{number}"), 1);
        torrent.size_bytes = (number * 7) % 31;
        torrent.peers = (number * 11) as u32 % 31;
        put(torrent)
    });
    run(config(&db), ops.collect());
    let archive = Archive::open_read_only(&db).unwrap();
    let page = |sort, offset| {
        let query = Query { sort, offset, limit: 4, ..words("common") };
        let found = archive.search(&query).unwrap();
        assert_eq!(found.total, 30);
        found.hits
    };
    let sizes: Vec<u64> =
        page(Sort::Size, 0).iter().chain(&page(Sort::Size, 4)).map(|hit| hit.size_bytes).collect();
    assert_eq!(sizes, [30, 29, 28, 27, 26, 25, 24, 23]);
    assert_eq!(page(Sort::Seeders, 2).iter().map(|hit| hit.leechers).next(), Some(Some(28)));
    assert_eq!(page(Sort::New, 0).iter().map(|hit| hit.id).collect::<Vec<_>>(), [30, 29, 28, 27]);
    assert_eq!(page(Sort::Relevance, 28).len(), 2);
    let large = Query { size_min_bytes: 29, ..words("common") };
    assert_eq!(archive.search(&large).unwrap().total, 2);
    assert_eq!(archive.search(&words("common part7")).unwrap().hits[0].name, b"common part7");
}

#[test]
fn a_name_weighs_more_than_a_file() {
    let (_dir, db) = place();
    let mut in_file = torrent(1, "something else entirely", 0);
    in_file.files.push(1, [&b"wanted.txt"[..]].into_iter());
    in_file.files.push(1, [&b"more.txt"[..]].into_iter());
    run(config(&db), vec![put(in_file), put(torrent(2, "the wanted one here now", 1))]);
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(names(&archive.search(&words("wanted")).unwrap())[0], "the wanted one here now");
}

#[test]
fn what_is_not_in_the_index_yet_is_found_too() {
    let (_dir, db) = place();
    run(config(&db), vec![put(torrent(1, "early bird", 1))]);
    let (mut store, recovered) = Store::open(config(&db), || {}).unwrap();
    assert_eq!(recovered.torrents, 1);
    store.submit(put(torrent(2, "late bird", 1))).unwrap();
    while store.poll() != Some(StoreResult::Committed(1)) {}
    let archive = Archive::open_read_only(&db).unwrap();
    let found = archive.search(&words("bird")).unwrap();
    assert_eq!((found.total, names(&found)), (2, vec!["late bird".to_owned(), "early bird".to_owned()]));
    assert!(matches!(Keeper::open(&db), Err(OpenError::Locked)));
    store.close();
    assert_eq!(archive.search(&words("bird")).unwrap().total, 2);
}

#[test]
fn everything_is_remembered() {
    let (_dir, db) = place();
    let mut hybrid = torrent(1, "hybrid", 2);
    hybrid.v2 = Some([9; 32]);
    hybrid.flags.hybrid = true;
    let pending = |byte: u8, tries| crate::model::Pending {
        infohash: Id([byte; 20]),
        first_seen: UnixTime(u64::from(tries) + writer::unix_now().0),
        tries,
        not_before: UnixTime(5),
        state: crate::model::PendingState::NoPeers,
    };
    let node = |byte: u8, addr: &str| crate::model::SavedNode {
        id: Id([byte; 20]),
        addr: addr.parse().unwrap(),
        answered: UnixTime(7),
        sample_after: UnixTime(u64::MAX),
    };
    let drop =
        crate::model::Drop { infohash: Id([3; 20]), rule: "word: bad".to_owned(), at: writer::unix_now() };
    let id = crate::model::SavedId { listen: "::".parse().unwrap(), id: Id([8; 20]) };
    let nodes = vec![node(1, "1.2.3.4:5"), node(2, "[2001:db8::1]:6")];
    let ops = vec![
        put(hybrid.clone()),
        StoreOp::Pending(vec![pending(1, 1), pending(2, 1), hybrid_waits(&hybrid)]),
        StoreOp::Pending(vec![pending(1, 9)]),
        StoreOp::GivenUp(vec![Id([2; 20])]),
        StoreOp::Dropped(drop),
        StoreOp::Nodes(vec![node(5, "9.9.9.9:9")]),
        StoreOp::Nodes(nodes.clone()),
        StoreOp::OwnId(id),
        StoreOp::Setting("a", "1".to_owned()),
        StoreOp::Setting("a", "2".to_owned()),
        put(hybrid.clone()),
    ];
    assert_eq!(committed(&run(config(&db), ops)), 11);
    let (store, mut recovered) = Store::open(config(&db), || {}).unwrap();
    store.close();
    recovered.known.sort_unstable();
    assert_eq!(recovered.given_up, [Id([2; 20])]);
    let mut known = vec![Id([3; 20]), Id([9; 20]), hybrid.infohash];
    known.sort_unstable();
    assert_eq!(recovered.known, known);
    assert_eq!(recovered.pending.len(), 1);
    assert_eq!((recovered.pending[0].tries, recovered.pending[0].infohash), (9, Id([1; 20])));
    assert_eq!(
        recovered.nodes.iter().map(|node| node.addr).collect::<Vec<_>>(),
        nodes.iter().map(|node| node.addr).collect::<Vec<_>>()
    );
    assert_eq!((recovered.ids, recovered.torrents), (vec![id], 1));
    assert_eq!(recovered.settings, [("a".to_owned(), "2".to_owned())]);
}

#[test]
fn what_waits_and_what_was_given_up_is_listed_and_tried_again() {
    let (_dir, db) = place();
    let now = writer::unix_now();
    let row = |byte: u8, in_secs: u64| crate::model::Pending {
        infohash: Id([byte; 20]),
        first_seen: now,
        tries: 3,
        not_before: UnixTime(now.0 + in_secs),
        state: crate::model::PendingState::PeersFailed,
    };
    let given_up = vec![Id([3; 20]), Id([4; 20]), Id([5; 20])];
    let ops = vec![
        StoreOp::Pending(vec![row(1, 600), row(2, 60), row(3, 0)]),
        StoreOp::GivenUp(given_up),
        // A new peer announced itself.
        StoreOp::Pending(vec![row(5, 20)]),
    ];
    assert_eq!(committed(&run(config(&db), ops)), 3);
    let bytes =
        |rows: Vec<crate::model::Pending>| rows.iter().map(|row| row.infohash.0[0]).collect::<Vec<_>>();
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(bytes(archive.pending(10).unwrap()), [5, 2, 1], "those first that are due first");
    let gone = |archive: &Archive| {
        let mut gone: Vec<_> = archive.given_up(10).unwrap().iter().map(|(hash, _)| hash.0[0]).collect();
        gone.sort_unstable();
        gone
    };
    assert_eq!((gone(&archive), archive.waiting().unwrap()), (vec![3, 4], (3, 2)));
    let mut keeper = Keeper::open(&db).unwrap();
    assert_eq!(keeper.retry(Id([3; 20])).unwrap(), Retried { given_up: 1, waiting: 0, left: 0 });
    assert_eq!(keeper.retry(Id([1; 20])).unwrap(), Retried { given_up: 0, waiting: 1, left: 0 });
    assert_eq!(keeper.retry(Id([77; 20])).unwrap(), Retried::default());
    assert_eq!(gone(&archive), [4]);
    assert_eq!(keeper.retry_all().unwrap(), Retried { given_up: 1, waiting: 4, left: 0 });
    drop(keeper);
    let (store, recovered) = Store::open(config(&db), || {}).unwrap();
    store.close();
    assert!(recovered.given_up.is_empty() && recovered.pending.len() == 5);
    let at_once = |row: &crate::model::Pending| row.tries == 0 && row.not_before <= writer::unix_now();
    assert!(recovered.pending.iter().all(at_once), "{:?}", recovered.pending);
}

fn hybrid_waits(torrent: &Torrent) -> crate::model::Pending {
    crate::model::Pending {
        infohash: torrent.infohash,
        first_seen: writer::unix_now(),
        tries: 1,
        not_before: UnixTime(0),
        state: crate::model::PendingState::New,
    }
}

#[test]
fn a_torrent_under_its_two_hashes_becomes_one_row() {
    let (_dir, db) = place();
    let v2 = crate::base::hash::sha256(b"info");
    let mut hybrid = torrent(1, "both", 3);
    hybrid.v2 = Some(v2);
    hybrid.flags.hybrid = true;
    let mut by_v2 = hybrid.clone();
    by_v2.infohash = Id(apply::truncated(&v2));
    by_v2.first_seen = UnixTime(5);
    let mut by_v1 = hybrid.clone();
    by_v1.v2 = None;
    run(config(&db), vec![put(by_v1.clone()), put(by_v2.clone()), put(hybrid.clone()), put(hybrid.clone())]);
    let archive = Archive::open_read_only(&db).unwrap();
    let all: Vec<Stored> = archive.export().map(Result::unwrap).collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].infohash, all[0].v2, all[0].first_seen), (hybrid.infohash, Some(v2), UnixTime(5)));
    assert_eq!(archive.torrent(by_v2.infohash).unwrap().as_ref(), Some(&all[0]));
    assert_eq!(archive.torrent_v2(v2).unwrap().as_ref(), Some(&all[0]));
    assert_eq!(archive.search(&words("both")).unwrap().total, 1);
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

#[test]
fn sightings_move_estimates_and_the_order_follows() {
    let (_dir, db) = place();
    let (one, two) = (torrent(1, "bird one", 1), torrent(2, "bird two", 1));
    run(config(&db), vec![put(one.clone()), put(two)]);
    let sighting = |at, seeders| crate::model::Sighting {
        infohash: one.infohash,
        at: UnixTime(at),
        seeders,
        leechers: None,
    };
    let seen = vec![sighting(1_800_000_000, Some(500)), sighting(1_700_000_000, None), sighting(9, None)];
    run(config(&db), vec![StoreOp::Seen(seen)]);
    let archive = Archive::open_read_only(&db).unwrap();
    let stored = archive.torrent(one.infohash).unwrap().unwrap();
    assert_eq!(
        (stored.last_seen, stored.seeders, stored.leechers),
        (UnixTime(1_800_000_000), Some(500), Some(3))
    );
    let query = Query { sort: Sort::Seeders, ..words("bird") };
    assert_eq!(names(&archive.search(&query).unwrap()), ["bird one", "bird two"]);
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

#[test]
fn refused_and_deleted_stay_away_until_their_rule_goes() {
    let (_dir, db) = place();
    let (bad, good) = (torrent(1, "bad thing", 1), torrent(2, "good thing", 1));
    let drop = crate::model::Drop { infohash: bad.infohash, rule: "bad".to_owned(), at: UnixTime(1) };
    run(config(&db), vec![put(good.clone()), StoreOp::Dropped(drop), put(bad.clone())]);
    let mut keeper = Keeper::open(&db).unwrap();
    assert_eq!(keeper.delete(&words("good"), "delete: good").unwrap(), 1);
    assert_eq!(keeper.delete(&words(""), "nothing asked").unwrap(), 0);
    drop_and_count(keeper, &db, 0);
    run(config(&db), vec![put(bad.clone()), put(good.clone())]);
    let mut keeper = Keeper::open(&db).unwrap();
    assert_eq!(keeper.free("bad").unwrap(), 1);
    drop_and_count(keeper, &db, 0);
    run(config(&db), vec![put(bad.clone()), put(good)]);
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(names(&archive.search(&words("thing")).unwrap()), ["bad thing"]);
    assert!(archive.torrent(bad.infohash).unwrap().unwrap().id > 1, "an id is never used twice");
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

fn drop_and_count(keeper: Keeper, db: &Path, count: u64) {
    drop(keeper);
    let archive = Archive::open_read_only(db).unwrap();
    assert_eq!(archive.stats().unwrap().torrents, count);
    assert_eq!(archive.search(&words("thing")).unwrap().total, count);
}

/// Runs a writer on this thread, over a database that may not grow.
fn run_full(db: &Path, ops: Vec<StoreOp>) -> Vec<StoreResult> {
    let (conn, lock) = schema::open_writer(db).unwrap();
    let pages: u32 = conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    conn.pragma_update(None, "max_page_count", pages + 8).unwrap();
    let config = StoreConfig { commit_rows: 2, commit_ms: 1_000_000, ..config(db) };
    let (ops_in, ops_out) = sync_channel(100);
    for op in ops.into_iter().chain([StoreOp::Shutdown]) {
        ops_in.send(op).unwrap();
    }
    let (results, results_out) = sync_channel(100);
    let notice = writer::Notice { results, shared: Arc::default(), wake: Box::new(|| {}) };
    writer::Writer::new(conn, lock, config).unwrap().run(&ops_out, &notice);
    results_out.try_iter().collect()
}

#[test]
fn a_batch_that_does_not_fit_is_lost_whole_and_later_ones_go_on() {
    let (_dir, db) = place();
    let mut huge = torrent(2, "huge", 1);
    huge.name = vec![b'x'; 1 << 20];
    let ops = vec![
        StoreOp::Setting("a", "1".to_owned()),
        put(torrent(1, "first", 1)),
        StoreOp::Setting("a", "2".to_owned()),
        put(huge.clone()),
        StoreOp::Setting("b", "3".to_owned()),
        put(torrent(3, "third", 1)),
    ];
    let full = crate::model::archive::StoreFault::DiskFull;
    let expected = [
        StoreResult::Committed(2),
        StoreResult::Failed(2, full),
        StoreResult::Committed(2),
        StoreResult::Closed,
    ];
    assert_eq!(run_full(&db, ops), expected);
    let (store, recovered) = Store::open(config(&db), || {}).unwrap();
    store.close();
    assert_eq!(recovered.settings, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "3".to_owned())]);
    assert_eq!(recovered.torrents, 2);
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(archive.search(&words("third")).unwrap().total, 1);
    assert_eq!(archive.torrent(huge.infohash).unwrap(), None);
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

#[test]
fn eviction_takes_those_never_seen_again_first_and_keeps_their_hashes() {
    let (_dir, db) = place();
    let all: Vec<Torrent> = (1..=6).map(|number| torrent(number, "bird", 1)).collect();
    let seen = crate::model::Sighting {
        infohash: all[0].infohash,
        at: UnixTime(1_800_000_000),
        seeders: None,
        leechers: None,
    };
    let mut ops: Vec<StoreOp> = all.iter().cloned().map(put).collect();
    ops.push(StoreOp::Seen(vec![seen]));
    run(config(&db), ops);
    let (conn, lock) = schema::open_writer(&db).unwrap();
    assert_eq!(bounds::evict(&conn, 2, writer::unix_now()).unwrap(), 2);
    drop((conn, lock));
    let (store, recovered) = Store::open(config(&db), || {}).unwrap();
    store.close();
    let archive = Archive::open_read_only(&db).unwrap();
    let left: Vec<i64> = archive.export().map(|stored| stored.unwrap().id).collect();
    assert_eq!(left, [1, 4, 5, 6]);
    assert_eq!((recovered.torrents, recovered.known.len()), (4, 6));
    assert_eq!(archive.stats().unwrap().known, [0, 2, 0, 0]);
    assert_eq!(archive.search(&words("bird")).unwrap().total, 4);
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

#[test]
fn too_much_on_disk_makes_room_by_itself() {
    let (_dir, db) = place();
    run(config(&db), (1..=300).map(|number| put(torrent(number, "bird", 3))).collect());
    let small = StoreConfig { disk_max: Some(1), eviction_grace: Duration::ZERO, ..config(&db) };
    run(small, vec![StoreOp::Setting("a", String::new())]);
    let numbers = Archive::open_read_only(&db).unwrap().stats().unwrap();
    assert!(numbers.torrents <= 200, "{}", numbers.torrents);
    assert_eq!(numbers.torrents + numbers.known[1], 300);
}

#[test]
fn an_archive_that_is_too_large_at_the_start_stays_whole_for_a_while_and_takes_nothing_in() {
    let (_dir, db) = place();
    run(config(&db), (1..=300).map(|number| put(torrent(number, "bird", 3))).collect());
    let excess = Archive::open_read_only(&db).unwrap().excess(1).unwrap().unwrap();
    assert_eq!((excess.torrents, excess.torrents_all), (300, 300));
    assert!(Archive::open_read_only(&db).unwrap().excess(excess.used_bytes).unwrap().is_none());
    let small = StoreConfig { disk_max: Some(1), ..config(&db) };
    let said = run(small, vec![StoreOp::Setting("a", String::new())]);
    assert!(said.contains(&StoreResult::DiskLow(true)), "{said:?}");
    assert_eq!(Archive::open_read_only(&db).unwrap().stats().unwrap().torrents, 300);
}

#[test]
fn what_made_room_is_counted() {
    let (_dir, db) = place();
    run(config(&db), (1..=300).map(|number| put(torrent(number, "bird", 3))).collect());
    let small = StoreConfig { disk_max: Some(1), eviction_grace: Duration::ZERO, ..config(&db) };
    let (mut store, _) = Store::open(small, || {}).unwrap();
    store.submit(StoreOp::Setting("a", String::new())).unwrap();
    while store.poll() != Some(StoreResult::Committed(1)) {}
    let evicted = store.close();
    let left = Archive::open_read_only(&db).unwrap().stats().unwrap().torrents;
    assert_eq!(evicted + left, 300);
}

/// What a deletion keeps for an undo goes before any torrent.
#[test]
fn what_was_deleted_makes_room_first() {
    let (_dir, db) = place();
    run(config(&db), (1..=50).map(|number| put(torrent(number, "bird", 3))).collect());
    let mut keeper = Keeper::open(&db).unwrap();
    assert_eq!(keeper.delete_rows(&(1..=30).collect::<Vec<_>>(), "x").unwrap(), 30);
    drop(keeper);
    let small = StoreConfig { disk_max: Some(1), eviction_grace: Duration::ZERO, ..config(&db) };
    run(small, vec![StoreOp::Setting("a", String::new())]);
    let numbers = Archive::open_read_only(&db).unwrap().stats().unwrap();
    assert_eq!((numbers.torrents, numbers.known), (20, [0, 0, 0, 30]));
    assert_eq!(Keeper::open(&db).unwrap().undo(), Ok(None));
}

/// With a small limit of the disk, nodes and hashes do not take the place of torrents.
#[test]
fn tables_beside_the_torrents_are_bounded_by_the_limit_of_the_disk() {
    let small = bounds::RowsMax::within(Some(1 << 20));
    assert!(small.nodes * 80 <= (1 << 20) / 12 && small.pending * 80 <= (1 << 20) / 12, "{small:?}");
    assert!(small.nodes > 500 && small.known > 250, "{small:?}");
    assert_eq!(bounds::RowsMax::within(None).nodes, 1_000_000);
    let (_dir, db) = place();
    let node = |number: u16| crate::model::SavedNode {
        id: Id([1; 20]),
        addr: std::net::SocketAddr::from(([10, 0, 0, 1], number)),
        answered: UnixTime(1),
        sample_after: UnixTime(0),
    };
    let config = StoreConfig { disk_max: Some(1 << 20), ..config(&db) };
    run(config, vec![StoreOp::Nodes((1..5_000).map(node).collect())]);
    assert_eq!(Archive::open_read_only(&db).unwrap().stats().unwrap().nodes, small.nodes);
}

#[test]
fn little_free_space_is_said_once() {
    let (_dir, db) = place();
    let config = StoreConfig { disk_free_min: Some(100), free_bytes: Box::new(|_| Some(99)), ..config(&db) };
    let results = run(config, vec![StoreOp::Setting("a", String::new())]);
    assert_eq!(results.iter().filter(|&&result| result == StoreResult::DiskLow(true)).count(), 1);
    assert!(!results.contains(&StoreResult::DiskLow(false)));
}

#[test]
fn damage_to_raw_and_index_is_found_and_the_index_made_anew() {
    let (_dir, db) = place();
    let config = StoreConfig { keep_info: true, ..config(&db) };
    run(config, (1..=20).map(|number| put(torrent(number, "bird", 1))).collect());
    let archive = Archive::open_read_only(&db).unwrap();
    let report = archive.check(&mut |_, _| {}).unwrap();
    assert!(report.is_good());
    assert_eq!(report.raw_checked, 20);
    let (conn, lock) = schema::open_writer(&db).unwrap();
    conn.execute("UPDATE raw SET info = x'00' WHERE id = 3", []).unwrap();
    conn.execute("DELETE FROM raw WHERE id = 5", []).unwrap();
    conn.execute("DELETE FROM torrents WHERE id = 5", []).unwrap();
    drop((conn, lock));
    let report = archive.check(&mut |_, _| {}).unwrap();
    assert_eq!((report.raw_wrong.len(), report.index_extra, report.index_missing), (1, 1, 0));
    let mut keeper = Keeper::open(&db).unwrap();
    assert_eq!(keeper.reindex(&mut |_, _| {}).unwrap(), 19);
    assert_eq!(archive.check(&mut |_, _| {}).unwrap().index_extra, 0);
    assert_eq!(archive.search(&words("bird")).unwrap().total, 19);
    let (before, after) = keeper.compact().unwrap();
    assert!(after <= before);
    assert_eq!(archive.search(&words("bird")).unwrap().total, 19);
}

#[test]
fn without_an_index_search_still_answers_and_the_next_start_makes_one() {
    let (_dir, db) = place();
    run(config(&db), vec![put(torrent(1, "old bird", 1))]);
    std::fs::remove_dir_all(schema::beside(&db, ".index")).unwrap();
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(archive.search(&words("bird")).unwrap().total, 1);
    std::fs::create_dir(schema::beside(&db, ".index")).unwrap();
    std::fs::write(schema::beside(&db, ".index").join("meta.json"), "rubbish").unwrap();
    assert_eq!(archive.search(&words("bird")).unwrap().total, 1);
    run(config(&db), vec![put(torrent(2, "new bird", 1))]);
    assert_eq!(archive.search(&words("bird")).unwrap().total, 2);
    assert!(archive.check(&mut |_, _| {}).unwrap().is_good());
}

#[test]
fn a_backup_made_while_running_can_be_restored() {
    let (dir, db) = place();
    let (mut store, _) = Store::open(config(&db), || {}).unwrap();
    store.submit(put(torrent(1, "kept bird", 1))).unwrap();
    while store.poll() != Some(StoreResult::Committed(1)) {}
    let copy = dir.path().join("copy.db");
    let archive = Archive::open_read_only(&db).unwrap();
    archive.backup(&copy).unwrap();
    assert_eq!(archive.backup(&copy), Err(ArchiveError::File), "nothing is overwritten");
    let mut stream = Vec::new();
    archive.backup_to(&mut stream).unwrap();
    assert!(stream.starts_with(b"SQLite format 3\0"));
    assert_eq!(restore(&db, &copy), Err(ArchiveError::Database(OpenError::Locked)));
    store.close();
    drop(archive);
    run(config(&db), vec![put(torrent(2, "later bird", 1))]);
    restore(&db, &copy).unwrap();
    let archive = Archive::open_read_only(&db).unwrap();
    assert_eq!(names(&archive.search(&words("bird")).unwrap()), ["kept bird"]);
    run(config(&db), vec![put(torrent(3, "last bird", 1))]);
    assert_eq!(archive.search(&words("bird")).unwrap().total, 2);
    assert_eq!(
        Archive::open_read_only(&schema::beside(&db, ".replaced")).unwrap().stats().unwrap().torrents,
        2
    );
}

#[test]
fn tables_that_grow_are_cut_back() {
    let (_dir, db) = place();
    let (conn, _lock) = schema::open_writer(&db).unwrap();
    let now = UnixTime(2_000_000_000);
    for (first, why, at) in [(0u8, 1, 1), (1, 4, 1), (2, 1, 1_999_999_999)] {
        conn.execute("INSERT INTO known VALUES (?1, ?2, ?3, NULL)", (Id([first; 20]).0, why, at)).unwrap();
    }
    for (first, not_before) in [(255u8, 1), (254, 1_999_999_999)] {
        conn.execute("INSERT INTO pending VALUES (?1, 1, 1, ?2, 0)", (Id([first; 20]).0, not_before))
            .unwrap();
    }
    conn.execute("INSERT INTO network_events (event_type, timestamp) VALUES ('a', 1), ('b', 1999999999)", [])
        .unwrap();
    let mut sweeper = bounds::Sweeper::default();
    for _ in 0..256 {
        sweeper.step(&conn, now).unwrap();
    }
    let count = |table: &str| {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u32>(0))
    };
    assert_eq!((count("known"), count("pending"), count("network_events")), (Ok(2), Ok(1), Ok(1)));
}

#[test]
fn what_cannot_be_taken_is_given_back() {
    let (_dir, db) = place();
    let (mut store, _) = Store::open(config(&db), || {}).unwrap();
    let mut big = torrent(1, "big", 1);
    big.raw = vec![0; crate::model::archive::QUEUE_BYTES as usize + 1].into();
    store.submit(put(big.clone())).unwrap();
    big.infohash = Id([1; 20]);
    let mut refused = store.submit(put(big)).is_err();
    // The writer may have been faster.
    refused |= store.poll().is_some() || store.shared.bytes.load(Ordering::Relaxed) > 0;
    assert!(refused);
    store.submit(StoreOp::Shutdown).unwrap();
    assert!(store.submit(StoreOp::Shutdown).is_err());
}

#[test]
fn answers_come_back_at_the_next_start_and_hosts_have_a_row_of_the_seed() {
    use crate::dns::{Answer, Key, Variant};
    use crate::model::dns::SavedAnswer;
    use crate::wire::dns::{Kind, Name};

    let (_dir, db) = place();
    let now = writer::unix_now();
    let saved = |text: &str, kind: Kind, data: &[u8], age: u64| {
        let name = Name::parse(text).unwrap();
        let answer = Answer::local((&name, kind), 60, &[data.to_vec()]);
        SavedAnswer {
            key: Key::new(&name, kind, Variant::default()).bytes().into(),
            message: answer.message().to_vec().into(),
            resolved_at: UnixTime(now.0 - age),
            ttl: 60,
        }
    };
    let fresh = vec![
        saved("a.test", Kind::A, &[192, 0, 2, 7], 5),
        saved("a.test", Kind::AAAA, &[0x20; 16], 3),
        saved("a.test", Kind::TXT, b"\x02hi", 4),
        saved("stale.test", Kind::A, &[192, 0, 2, 8], 3_600),
    ];
    let old = saved("old.test", Kind::A, &[192, 0, 2, 9], 90_000);
    let first = saved("a.test", Kind::A, &[192, 0, 2, 1], 50);
    let all = fresh.iter().cloned().chain([old]).collect();
    run(config(&db), vec![StoreOp::Answers(vec![first]), StoreOp::Answers(all)]);

    let (store, recovered) = Store::open(config(&db), || {}).unwrap();
    drop(store);
    let mut expected = fresh;
    expected.sort_by_key(|answer| std::cmp::Reverse(answer.resolved_at));
    assert_eq!(recovered.answers, expected, "the newest first, what is too old not at all");

    let conn = schema::open_reader(&db).unwrap();
    let sql = "SELECT ipv4, ipv6, resolved_at, ttl FROM dns_cache WHERE hostname = 'a.test'";
    let row: (String, String, u64, u32) =
        conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    let six = r#"["2020:2020:2020:2020:2020:2020:2020:2020"]"#.to_owned();
    assert_eq!(row, (r#"["192.0.2.7"]"#.to_owned(), six, now.0 - 3, 60));
    drop(conn);

    let (mut conn, _lock) = schema::open_writer(&db).unwrap();
    let tx = conn.transaction().unwrap();
    bounds::Sweeper::default().step(&tx, now).unwrap();
    let left: u32 = tx.query_row("SELECT count(*) FROM answers", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 4);
}

#[test]
fn local_zones_and_policy_come_back_as_they_were_left() {
    use crate::model::dns::{LocalOp, SavedList, SavedLocal, SavedSerial, SavedSet, SavedZone};

    let (_dir, db) = place();
    let now = writer::unix_now();
    let set = |name: &[u8], kind, records: &[u8]| SavedSet {
        name: name.into(),
        kind,
        ttl: 60,
        records: records.into(),
    };
    let zone = |origin: &[u8], sets: Vec<SavedSet>| {
        let bytes = sets.iter().map(SavedSet::bytes).sum();
        SavedZone { origin: origin.into(), sets, bytes }
    };
    let list = |name: &str, text: &'static [u8]| SavedList {
        name: name.into(),
        is_download: name.starts_with("https:"),
        etag: Some("v1".into()),
        taken: now,
        text: Bytes::from_static(text),
    };
    let serial = |serial| SavedSerial { origin: (*b"\x01c\0").into(), serial, digest: [7; 32] };
    let later = UnixTime(now.0 + 600);
    let ops = vec![
        LocalOp::Zone(zone(b"\x01a\0", vec![set(b"\x01a\0", 6, b"soa"), set(b"\x01x\x01a\0", 1, b"gone")])),
        LocalOp::Zone(zone(b"\x01b\0", vec![set(b"\x01b\0", 6, b"soa")])),
        LocalOp::Zone(zone(b"\x01a\0", vec![set(b"\x01a\0", 6, b"soa"), set(b"\x01y\x01a\0", 1, b"y")])),
        LocalOp::Sets((*b"\x01a\0").into(), vec![set(b"\x01a\0", 6, b"later"), set(b"\x01y\x01a\0", 1, b"")]),
        LocalOp::ZoneGone((*b"\x01b\0").into()),
        LocalOp::Serial(serial(8)),
        LocalOp::Serial(serial(9)),
        LocalOp::List(list("z", b"one")),
        LocalOp::List(list("https://a", b"two")),
        LocalOp::List(list("gone", b"three")),
        LocalOp::List(list("z", b"four")),
        LocalOp::ListGone("gone".into()),
        LocalOp::Override("z".into(), Some("nodata".into())),
        LocalOp::Override("y".into(), Some("nodata".into())),
        LocalOp::Override("y".into(), None),
        LocalOp::Allowed((*b"\x01x\0").into(), Some(later)),
        LocalOp::Allowed((*b"\x01y\0").into(), Some(later)),
        LocalOp::Allowed((*b"\x01z\0").into(), Some(UnixTime(1))),
        LocalOp::Allowed((*b"\x01y\0").into(), None),
    ];
    run(config(&db), ops.into_iter().map(|op| StoreOp::Local(Box::new(op))).collect());
    let (store, recovered) = Store::open(config(&db), || {}).unwrap();
    drop(store);
    let expected = SavedLocal {
        zones: vec![zone(b"\x01a\0", vec![set(b"\x01a\0", 6, b"later")])],
        serials: vec![serial(9)],
        lists: vec![list("z", b"four"), list("https://a", b"two")],
        overrides: vec![("z".into(), "nodata".into())],
        allowed: vec![((*b"\x01x\0").into(), later)],
    };
    assert_eq!(recovered.local, expected);
}
