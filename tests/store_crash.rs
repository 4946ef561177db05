//! The archive on a disk that crashes at any write. A process stores torrents under strace; what
//! it did to its files is then cut off at one point after another, with what was not synced kept,
//! lost or torn, and the archive that is left is held to what had been acknowledged. The search
//! index is among those files: it catches up after every crash, and holds each torrent once.
//!
//! `STORE_CRASH_CUTS=all` cuts at every write, in every way; a number cuts at so many.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "store_crash/disk.rs"]
mod disk;
mod support;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dht_hunter::base::{Id, Rng, UnixTime, hash};
use dht_hunter::model::{FileList, StoreOp, StoreResult, Torrent, TorrentFlags};
use dht_hunter::store::{Archive, Keeper, OpenError, Query, Store, StoreConfig, Stored};

use disk::{Crash, Step, Trace};
use support::{skipped, until};

#[test]
fn every_cut_leaves_an_archive_with_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(trace) = recorded(folder.path()) else {
        return skipped("crashes at any write", "strace cannot trace here");
    };
    env_logger::init();
    let acts = acts();
    let (synced, said) = promises(&trace);
    assert_eq!(said.last(), Some(&acts.len()), "the recorded run did not do all it should");
    assert!(synced.iter().any(|&count| count > 0 && count < acts.len()), "it never synced in between");
    for (number, (cut, crash)) in cuts(&trace).into_iter().enumerate() {
        let left = folder.path().join(format!("cut{number}"));
        trace.replay(cut, crash, &left);
        let required = if crash == Crash::Killed { said[cut] } else { synced[cut] };
        let words = || format!("cut at step {cut} of {}, {crash:?}", trace.steps.len());
        check(&left.join("a.db"), &acts, required, &words());
        // A merge that was given up may still be at work there.
        drop(std::fs::remove_dir_all(&left));
    }
}

#[test]
fn an_index_killed_at_any_moment_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let (db, said) = (folder.path().join("a.db"), folder.path().join("said"));
    let mut rng = Rng::seeded(11);
    let acts: Vec<Act> = (0..TORRENTS_MAX).map(Act::Put).collect();
    let mut before = 0;
    for kill in 0..KILLS {
        File::create(&said).unwrap();
        let mut child = child("stores_until_killed", &db, &said).spawn().unwrap();
        let wanted = before + 1 + rng.index(STORED_A_KILL);
        until(Duration::from_secs(20), "torrents in a child", || acknowledged(&said) > wanted);
        // Anywhere in what it does: the time that the next few commits take.
        std::thread::sleep(Duration::from_micros(rng.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        before = check(&db, &acts, acknowledged(&said), &format!("kill {kill}"));
    }
}

/// The most that a child says it has stored.
fn acknowledged(said: &Path) -> usize {
    let words = std::fs::read_to_string(said).unwrap();
    let whole = words.rfind('\n').map_or("", |end| &words[..end]);
    whole.lines().last().map_or(0, |line| line.parse().unwrap())
}

/// What a run does, one after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(usize),
    Delete(usize),
}

/// Three starts; each stores, and then two are deleted.
fn acts() -> Vec<Act> {
    let start = |start: usize| {
        let puts = (0..PUTS).map(move |number| Act::Put(start * PUTS + number));
        puts.chain([3, PUTS - 1].map(|number| Act::Delete(start * PUTS + number)))
    };
    (0..STARTS).flat_map(start).collect()
}

/// How many acts are on the disk for sure, and how many were acknowledged, before each step. On
/// the disk is what was acknowledged before the WAL was synced.
fn promises(trace: &Trace) -> (Vec<usize>, Vec<usize>) {
    let (mut synced, mut said) = (vec![0], vec![0usize]);
    for step in &trace.steps {
        let (mut sure, mut told) = (synced[synced.len() - 1], said[said.len() - 1]);
        match step {
            Step::Said(words) => told = words.parse().unwrap(),
            Step::Sync(file, before) if trace.name(*file).to_string_lossy().ends_with("-wal") => {
                sure = sure.max(said[*before]);
            }
            _ => {}
        }
        synced.push(sure);
        said.push(told);
    }
    (synced, said)
}

/// Where to cut, and how the machine goes down there.
fn cuts(trace: &Trace) -> Vec<(usize, Crash)> {
    let ways = |seed: u64| {
        [Crash::Killed, Crash::Lost, Crash::Some(seed), Crash::Torn(seed, 512), Crash::Torn(seed, 4_096)]
    };
    let writes: Vec<usize> =
        (1..=trace.steps.len()).filter(|&cut| !matches!(trace.steps[cut - 1], Step::Said(_))).collect();
    let wanted = std::env::var("STORE_CRASH_CUTS").unwrap_or_default();
    if wanted == "all" {
        return writes.iter().flat_map(|&cut| ways(cut as u64).map(|crash| (cut, crash))).collect();
    }
    let count = wanted.parse().unwrap_or(CUTS);
    let mut rng = Rng::seeded(5);
    let cut = |number: usize| {
        // Spread over the run, so that a start, a checkpoint and an end are always among them.
        let at = (number * writes.len() + rng.index(writes.len())) / count;
        (writes[at.min(writes.len() - 1)], ways(rng.u64())[number % 5])
    };
    (0..count).map(cut).collect()
}

/// Holds an archive after a crash to what it must be; how many acts are in it.
fn check(db: &Path, acts: &[Act], required: usize, words: &str) -> usize {
    match Archive::open_read_only(db) {
        // Search works before the next start has mended anything.
        Ok(archive) => {
            let rows: Vec<Stored> = archive.export().map(Result::unwrap).collect();
            every_row_is_found_once(&archive, &rows, false, words);
        }
        Err(OpenError::Missing | OpenError::NotArchive) if required == 0 => {}
        Err(error) => panic!("{words}: {error:?}"),
    }
    let opened = Store::open(config(db), || {});
    let (store, recovered) = opened.map_err(|error| format!("{words}: {error:?}")).unwrap();
    store.close();
    let archive = Archive::open_read_only(db).unwrap();
    let report = archive.check(&mut |_, _| {}).unwrap();
    assert!(report.is_good(), "{words}: {report:?}");
    let rows: Vec<Stored> = archive.export().map(Result::unwrap).collect();
    assert_eq!(rows.len() as u64, recovered.torrents, "{words}");
    let done = (required..=acts.len()).find(|&count| is_state(&rows, &acts[..count]));
    let done =
        done.unwrap_or_else(|| panic!("{words}: {} torrents, {required} acts acknowledged", rows.len()));
    every_row_is_found_once(&archive, &rows, true, words);
    done
}

/// Exactly the torrents that are there after these acts, each whole.
fn is_state(rows: &[Stored], acts: &[Act]) -> bool {
    let mut wanted = Vec::new();
    for act in acts {
        match act {
            Act::Put(number) => wanted.push(*number),
            Act::Delete(number) => wanted.retain(|other| other != number),
        }
    }
    rows.len() == wanted.len() && rows.iter().zip(wanted).all(|(row, number)| is_whole(row, number))
}

fn is_whole(row: &Stored, number: usize) -> bool {
    let torrent = torrent(number);
    row.infohash == torrent.infohash && row.name == torrent.name && row.files == torrent.files
}

/// Before the index has caught up its count may hold what was just deleted; the hits never do.
fn every_row_is_found_once(archive: &Archive, rows: &[Stored], caught_up: bool, words: &str) {
    let found = |text: &str| {
        let query = Query { words: text.to_owned(), limit: 10_000, ..Query::default() };
        let found = archive.search(&query).unwrap();
        let mut ids: Vec<i64> = found.hits.iter().map(|hit| hit.id).collect();
        let more = found.total.checked_sub(ids.len() as u64).expect("all hits are counted");
        assert!(more == 0 || !caught_up && more <= 2, "{words}: {more} hits too many are counted");
        ids.sort_unstable();
        ids
    };
    assert_eq!(found("bird"), rows.iter().map(|row| row.id).collect::<Vec<_>>(), "{words}");
    // An id that was given away twice would be found by another torrent's words: by the newest's.
    for row in rows.iter().rev().take(3) {
        let name = String::from_utf8_lossy(&row.name);
        assert_eq!(found(name.split(' ').nth(1).unwrap()), [row.id], "{words}: {name}");
    }
}

/// Runs the recorded run; nothing where processes cannot be traced.
fn recorded(folder: &Path) -> Option<Trace> {
    let (root, said, log) = (folder.join("recorded"), folder.join("said"), folder.join("log"));
    std::fs::create_dir(&root).unwrap();
    let run = child("stores_and_deletes", &root.join("a.db"), &said);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-s", "16777216", "-e", "signal=none", "-e"]);
    strace.arg(format!("trace={CALLS}")).arg("-o").arg(&log).arg(run.get_program()).args(run.get_args());
    strace.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = strace.stdin(Stdio::null()).output().ok()?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    if !output.status.success() && !text.contains("openat(") {
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Some(Trace::read(&text, &root, &said))
}

/// This very program, to run one of the parts below.
fn child(part: &str, db: &Path, said: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([part, "--exact", "--ignored", "--test-threads=1"]);
    command.env("STORE_CRASH_DB", db).env("STORE_CRASH_SAID", said);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
#[ignore = "a part of the tests above, run in a process of its own"]
fn stores_and_deletes() {
    let (db, mut said) = orders();
    let acts = acts();
    let mut done = 0;
    for start in acts.chunk_by(|a, b| !matches!((a, b), (Act::Delete(_), Act::Put(_)))) {
        let puts: Vec<usize> = start
            .iter()
            .filter_map(|act| if let Act::Put(number) = act { Some(*number) } else { None })
            .collect();
        let (mut store, _) = Store::open(config(&db), || {}).unwrap();
        for group in puts.chunks(GROUP) {
            put(&mut store, group);
            done += group.len();
            said.write_all(format!("{done}\n").as_bytes()).unwrap();
        }
        store.close();
        let mut keeper = Keeper::open(&db).unwrap();
        for number in
            start.iter().filter_map(|act| if let Act::Delete(number) = act { Some(number) } else { None })
        {
            let query = Query { words: unique(*number), ..Query::default() };
            assert_eq!(keeper.delete(&query, "test").unwrap(), 1);
            done += 1;
            said.write_all(format!("{done}\n").as_bytes()).unwrap();
        }
    }
}

#[test]
#[ignore = "a part of the tests above, run in a process of its own"]
fn stores_until_killed() {
    let (db, mut said) = orders();
    let (mut store, recovered) = Store::open(config(&db), || {}).unwrap();
    for number in recovered.torrents as usize..TORRENTS_MAX {
        put(&mut store, &[number]);
        said.write_all(format!("{}\n", number + 1).as_bytes()).unwrap();
    }
}

fn orders() -> (PathBuf, File) {
    let path = |name| PathBuf::from(std::env::var_os(name).expect("its tests start this"));
    (path("STORE_CRASH_DB"), File::create(path("STORE_CRASH_SAID")).unwrap())
}

/// Hands torrents over and waits until they are acknowledged.
fn put(store: &mut Store, numbers: &[usize]) {
    for number in numbers {
        store.submit(StoreOp::Torrent(Box::new(torrent(*number)))).unwrap();
    }
    let mut left = numbers.len() as u32;
    while left > 0 {
        match store.poll() {
            Some(StoreResult::Committed(count)) => left -= count,
            Some(other) => panic!("{other:?}"),
            None => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Small batches, and what comes seldom comes often.
fn config(db: &Path) -> StoreConfig {
    StoreConfig {
        db: db.to_owned(),
        commit_rows: GROUP as u32,
        commit_ms: 1,
        keep_info: true,
        checkpoint_bytes: 256 << 10,
        index_rows: 15,
        ..StoreConfig::default()
    }
}

/// Some rows have pages of their own, most share one.
fn torrent(number: usize) -> Torrent {
    let mut rng = Rng::seeded(number as u64);
    let mut raw = vec![0; if number.is_multiple_of(7) { 20_000 } else { 200 }];
    rng.fill(&mut raw);
    let name = format!("bird {}", unique(number));
    let mut files = FileList::default();
    let count = 1 + rng.index(20);
    for file in 0..count {
        files.push(number as u64, [format!("{:x} part {file}", rng.u64()).as_bytes()].into_iter());
    }
    Torrent {
        infohash: Id(hash::sha1(&raw)),
        v2: None,
        name: name.into_bytes(),
        size_bytes: (number * count) as u64,
        files,
        piece_length: 1 << 18,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000),
        fetched: UnixTime(1_700_000_100),
        peers: 3,
        raw: raw.into(),
    }
}

/// A word that no other torrent has.
fn unique(number: usize) -> String {
    format!("unique{number}x")
}

/// What can change a file or a folder, and what must be known to follow that.
const CALLS: &str = "openat,open,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,\
    fsync,fdatasync,sync_file_range,msync,lseek,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,\
    link,linkat,symlink,symlinkat,mmap,dup,dup2,dup3,copy_file_range,sendfile,splice";

/// Torrents stored by each start of the recorded run, starts, and torrents in a batch.
const PUTS: usize = 48;
const STARTS: usize = 3;
const GROUP: usize = 4;

/// Cuts tried if nobody asks for more.
const CUTS: usize = 150;

/// Children killed, the most that one stores before, and more than all of them store.
const KILLS: usize = 12;
const STORED_A_KILL: usize = 60;
const TORRENTS_MAX: usize = 100_000;
