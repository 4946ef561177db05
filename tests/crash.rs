//! `kill -9` in the middle of a crawl, ten times over: the archive opens and is sound, and the
//! next start goes on without a bootstrap host and without fetching again what is stored.

mod support;

use std::path::Path;
use std::time::Duration;

use dht_hunter::store::{Archive, Stored};
use dht_hunter::swarm::Config;
use support::{LiveSwarm, assert_sound, crawl, has, numbers, stored, until};

const KILLS: u64 = 10;
/// The hundred fetches that may be open, and as many that ended since the last commit. Were stored
/// torrents fetched again, a late start would pass this several times over.
const AT_A_KILL_MAX: u64 = 200;
/// Fetches at once, and what a debug build fetches between two commits.
const ON_THE_WAY_MAX: u64 = 100;

#[test]
fn ten_kills_lose_no_torrent_and_fetch_none_twice() {
    let config = Config { nodes: 1_000, torrents: 1_000, peers_per_torrent: 1, seed: 6, ..Config::default() };
    let swarm = LiveSwarm::start(config);
    let all = swarm.reachable.len() as u64;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (db, log) = (folder.path().join("crash.db"), folder.path().join("log"));
    // The first start knows the way in; the others are given one that leads nowhere.
    let closed = closed_port();
    let mut bootstrap = swarm.bootstrap.as_str();
    for kill in 1..=KILLS {
        let (before, served) = (stored(&db), swarm.served());
        // An even share of what is left, this start's and that of those to come.
        let wanted = before + (all - before) / (KILLS + 2 - kill);
        let running = crawl(&db, bootstrap, &["--packets-out", "1200", "--flows", "off"], &log);
        until(Duration::from_secs(20), &format!("{wanted} torrents at kill {kill}"), || {
            numbers(&db).is_some_and(|now| now.torrents >= wanted && now.nodes > 0)
        });
        let seen = stored(&db);
        running.kill();
        let after = stored(&db);
        assert!(after >= seen, "kill {kill}: {seen} torrents were written, {after} are left");
        assert!(after < all, "kill {kill} came after the crawl, not in its middle");
        // What was on its way is fetched again later; what was stored before this start is not.
        let wasted = (swarm.served() - served).saturating_sub(after - before);
        assert!(
            wasted <= AT_A_KILL_MAX,
            "kill {kill}: {wasted} fetches too many, {before} were stored before"
        );
        assert_sound(&db);
        bootstrap = &closed;
    }
    let (before, served) = (stored(&db), swarm.served());
    let running = crawl(&db, bootstrap, &["--packets-out", "1200", "--flows", "off"], &log);
    until(Duration::from_secs(30), "the rest", || stored(&db) >= all);
    running.stop();
    // A hybrid is heard of under two hashes, and may be under way for both before it is known.
    let fetched = swarm.served() - served;
    let excused = new_hybrids(&db, before);
    assert!(fetched <= all - before + excused, "{fetched} fetched, but only {} were missing", all - before);
    // What was on its way at a kill is fetched again, and only that.
    let wasted = swarm.served() - all;
    assert!(wasted <= KILLS * ON_THE_WAY_MAX, "{wasted} of {all} were fetched again");
    let missing: Vec<_> = swarm.reachable.iter().filter(|hash| !has(&db, **hash)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_sound(&db);
}

/// How many of the torrents but for the first `known` are hybrids.
fn new_hybrids(db: &Path, known: u64) -> u64 {
    let archive = Archive::open_read_only(db).expect("there is an archive");
    let rows = archive.export().map(|row| row.expect("a sound archive"));
    let hybrid = |row: &Stored| row.v2.is_some_and(|v2| v2[..20] != row.infohash.0);
    rows.skip(known as usize).filter(hybrid).count() as u64
}

/// An address where nobody listens.
fn closed_port() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").to_string()
}
