//! `demo`: a whole DHT on loopback, and the engine crawling it.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::Demo;
use super::failure::{Failure, Outcome};
use super::launch::{self, launch};
use super::live::{self, Live};
use super::print::Out;
use super::units::{human_count, human_duration};
use super::{archive, run as run_command, swarm};
use crate::base::InfoHash;
use crate::engine::config::{Config, Rates};
use crate::engine::io::{Command, Event};
use crate::engine::{Engine, Whereabouts};
use crate::reactor::{self, Handle, Listen, Observer, ReactorConfig};
use crate::store::{Archive, StoreConfig};

/// Crawls a swarm of its own until Ctrl-C, then names the commands to try next. With `json` standard
/// output has nothing but JSON, one value a line.
pub fn run(args: &Demo, json: bool) -> Result<Outcome, Failure> {
    if args.nodes == 0 || args.torrents == 0 {
        return Err(Failure::usage(
            "a swarm has at least one node and one torrent; give --nodes and --torrents from 1",
        ));
    }
    run_command::start_log("warn", false)?;
    if args.http.as_ref().is_some_and(|http| !super::keys::is_off(http)) {
        log::warn!("--http has no effect yet: that part is not built");
    }
    swarm::small(args.nodes, "--nodes")?;
    swarm::small(args.torrents, "--torrents")?;
    let place = Place::new(args.db.as_deref())?;
    say(&format!("building {} nodes and {} torrents", human_count(args.nodes), human_count(args.torrents)));
    let stop = Arc::new(AtomicBool::new(false));
    let (thread, bootstrap, reachable) = raise(args, &stop)?;
    let tally = Tally::new(&reachable, &place.db);
    if json {
        print_json(&json!({
            "bootstrap": bootstrap.to_string(),
            "db": place.db.display().to_string(),
            "nodes": args.nodes,
            "torrents": args.torrents,
            "reachable": reachable.len(),
            "stored_before": tally.before,
        }))?;
    }
    say(&format!("crawling them from {bootstrap} into {}; Ctrl-C ends it", place.db.display()));
    let crawled = crawl(&place, bootstrap, tally, json);
    stop.store(true, Ordering::Relaxed);
    drop(thread.join());
    let watch = crawled?;
    let since = watch.started.elapsed();
    let (stored, words) = findings(&place.db)?;
    if json {
        let mut value = watch.tally.to_json(since);
        value["torrents"] = stored.into();
        value["db_is_kept"] = place.temporary.is_none().into();
        print_json(&json!({ "done": value }))?;
        return Ok(Outcome::Done);
    }
    say(&watch.tally.sentence(since));
    let mut out = Out::new();
    for line in farewell(stored, &words, &place) {
        out.line(&line)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// The archive of a demo that runs, or of the last that was killed, if there is one.
pub fn latest() -> Option<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).ok()?;
    let of_demo = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER));
    let archives = of_demo.map(|entry| entry.path().join(ARCHIVE));
    let dated = archives.filter_map(|db| Some((db.metadata().ok()?.modified().ok()?, db)));
    dated.max().map(|(_, db)| db)
}

fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let mut out = Out::new();
    out.json(value)?;
    out.flush()
}

/// Where the archive lies. A temporary one is removed in the end.
struct Place {
    db: PathBuf,
    temporary: Option<PathBuf>,
}

impl Place {
    fn new(db: Option<&Path>) -> Result<Self, Failure> {
        if let Some(db) = db {
            run_command::create_folder(db)?;
            return Ok(Self { db: db.to_owned(), temporary: None });
        }
        let mut fault = None;
        for number in 0..FOLDERS_TRIED {
            let name = format!("{FOLDER}{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            // Not one that is there: it may be somebody else's.
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { db: folder.join(ARCHIVE), temporary: Some(folder) }),
                Err(error) => fault = Some(error),
            }
        }
        let why = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
        let folder = std::env::temp_dir();
        Err(Failure::failed(format!("cannot make a folder in {}{why}; give --db PATH", folder.display())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary
            && let Err(fault) = std::fs::remove_dir_all(folder)
        {
            log::warn!("{} could not be removed: {fault}", folder.display());
        }
    }
}

/// Which of the reachable torrents the archive has acknowledged.
struct Tally {
    reachable: BTreeSet<InfoHash>,
    stored: BTreeSet<InfoHash>,
    /// How many of those an earlier demo had stored.
    before: usize,
    /// Handed to the archive, in this order, and not acknowledged yet. A hybrid may come twice.
    waiting: VecDeque<InfoHash>,
    acknowledged: u64,
}

impl Tally {
    /// What an archive of an earlier demo holds is stored, but not by this one.
    fn new(reachable: &[InfoHash], db: &Path) -> Self {
        let reachable: BTreeSet<_> = reachable.iter().copied().collect();
        let before = Archive::open_read_only(db).ok();
        let before = before.iter().flat_map(Archive::export).filter_map(Result::ok);
        let stored: BTreeSet<_> =
            before.map(|torrent| torrent.infohash).filter(|hash| reachable.contains(hash)).collect();
        Self { before: stored.len(), reachable, stored, waiting: VecDeque::new(), acknowledged: 0 }
    }

    /// The archive has acknowledged this many torrents since the start.
    fn acknowledge(&mut self, count: u64) {
        let fresh = usize::try_from(count.saturating_sub(self.acknowledged)).unwrap_or(usize::MAX);
        let done = self.waiting.drain(..fresh.min(self.waiting.len()));
        self.stored.extend(done.filter(|hash| self.reachable.contains(hash)));
        self.acknowledged = count;
    }

    /// The last line of progress that was passed.
    fn milestone(&self) -> Option<f64> {
        MILESTONES.into_iter().rfind(|milestone| self.share() >= *milestone)
    }

    /// Why those that are missing are.
    fn missing(&self, whereabouts: impl Fn(&InfoHash) -> Whereabouts) -> String {
        let [mut unheard, mut waiting, mut under_way, mut given_up] = [0u64; 4];
        let mut soonest: Option<Duration> = None;
        for hash in self.reachable.difference(&self.stored) {
            match whereabouts(hash) {
                Whereabouts::Unheard => unheard += 1,
                Whereabouts::UnderWay => under_way += 1,
                Whereabouts::Settled => given_up += 1,
                Whereabouts::Waiting(wait) => {
                    waiting += 1;
                    soonest = Some(soonest.map_or(wait, |other| other.min(wait)));
                }
            }
        }
        let next =
            soonest.map_or_else(String::new, |wait| format!(", the first in {}", human_duration(wait)));
        let parts = [
            (
                unheard,
                "not named by any node yet: nodes name 20 of their torrents at a time, others a minute later"
                    .to_owned(),
            ),
            (under_way, "being looked up or fetched".to_owned()),
            (waiting, format!("to be tried again because no peer gave them{next}")),
            (given_up, "stored under their other hash, or deleted, refused or given up".to_owned()),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", human_count(*count)))
            .collect();
        let missing = (self.reachable.len() - self.stored.len()) as u64;
        format!("{} missing: {}", human_count(missing), parts.join("; "))
    }

    fn share(&self) -> f64 {
        self.stored.len() as f64 / self.reachable.len().max(1) as f64
    }

    /// Stored by this demo.
    fn fresh(&self) -> u64 {
        (self.stored.len() - self.before) as u64
    }

    fn to_json(&self, since: Duration) -> serde_json::Value {
        json!({
            "stored": self.fresh(),
            "stored_before": self.before,
            "reachable": self.reachable.len(),
            "missing": self.reachable.len() - self.stored.len(),
            "seconds": (since.as_secs_f64() * 10.0).round() / 10.0,
        })
    }

    fn sentence(&self, since: Duration) -> String {
        let (stored, all) = (self.stored.len() as u64, self.reachable.len() as u64);
        // Rounded down: 100 % is all of them.
        let percent = (self.share() * 1000.0).floor() / 10.0;
        let (stored, all) = (human_count(stored), human_count(all));
        let seconds = since.as_secs_f64();
        if self.before == 0 {
            return format!("{stored} of {all} reachable torrents stored ({percent} %) after {seconds:.1} s");
        }
        format!(
            "{stored} of {all} reachable torrents are in the archive ({percent} %): {} from before, {} new after {seconds:.1} s",
            human_count(self.before as u64),
            human_count(self.fresh()),
        )
    }
}

/// The swarm on a thread of its own, a node to enter by, and the torrents that can be had.
fn raise(
    args: &Demo,
    stop: &Arc<AtomicBool>,
) -> Result<(JoinHandle<()>, SocketAddr, Vec<InfoHash>), Failure> {
    let config = crate::swarm::Config {
        nodes: swarm::small(args.nodes, "--nodes")?,
        torrents: swarm::small(args.torrents, "--torrents")?,
        seed: args.seed,
        torrents_seed: args.seed,
        ..crate::swarm::Config::default()
    };
    let mut swarm = swarm::start(&config)?;
    let (bootstrap, reachable) = (swarm::entry(&swarm)?, swarm.reachable());
    let stop = Arc::clone(stop);
    let work = move || {
        if let Err(fault) = swarm.run(|_| stop.load(Ordering::Relaxed)) {
            log::error!("the swarm broke down: {fault}");
        }
    };
    let thread = std::thread::Builder::new().name("swarm".to_owned()).spawn(work);
    let thread =
        thread.map_err(|fault| Failure::failed(format!("cannot start a thread: {fault}; try again")))?;
    Ok((thread, bootstrap, reachable))
}

fn crawl(place: &Place, bootstrap: SocketAddr, tally: Tally, json: bool) -> Result<Watch, Failure> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let reactor = ReactorConfig {
        listen: vec![Listen { addr, explicit: true }],
        signals: true,
        ..ReactorConfig::default()
    };
    let db = place.db.clone();
    let store = StoreConfig { db: db.clone(), ..StoreConfig::default() };
    let config = Config::new(Vec::new(), Rates::MAX);
    let told = tally.milestone().unwrap_or(0.0);
    let watch = |handle, _: &[_]| Watch {
        live: Live::new(),
        started: Instant::now(),
        tally,
        told,
        named: false,
        moved: (0, Duration::ZERO),
        explained: None,
        json,
        db,
        handle,
    };
    let crawler = launch(config, &reactor, store, watch)?;
    let told = crawler.handle.send(Command::Bootstrap(vec![bootstrap]));
    told.map_err(|_| Failure::failed("the engine did not start; try again"))?;
    let mut watch = launch::run(crawler)?.observer;
    watch.live.end();
    // Stopping has written everything that was handed over.
    watch.tally.acknowledge(u64::MAX);
    Ok(watch)
}

struct Watch {
    live: Live,
    started: Instant,
    tally: Tally,
    /// The share that was told last.
    told: f64,
    /// A search was named.
    named: bool,
    /// How many were stored when that last changed, and when that was.
    moved: (usize, Duration),
    /// When it was last said what is missing.
    explained: Option<Duration>,
    json: bool,
    db: PathBuf,
    handle: Handle,
}

impl Observer<Engine> for Watch {
    fn on_event(&mut self, event: Event) {
        let Event::Torrent(infohash) = event else { return };
        self.tally.waiting.push_back(infohash);
    }

    fn on_gauges(&mut self, engine: &mut Engine, counted: &reactor::Gauges) {
        let since = self.started.elapsed();
        let mut gauges = live::Gauges::of(engine, counted);
        self.tally.acknowledge(gauges.torrents_stored);
        gauges.torrents_stored = self.tally.fresh();
        gauges.torrents_wanted = Some((self.tally.reachable.len() - self.tally.before) as u64);
        let milestone = self.tally.milestone().filter(|milestone| *milestone > self.told);
        if self.live.is_due(since) || milestone.is_some() {
            self.live.show(since, &gauges);
            engine.reset_limited_by();
        }
        if let Some(milestone) = milestone {
            self.told = milestone;
            self.live.end();
            say(&self.tally.sentence(since));
            if self.json
                && let Err(failure) = print_json(&self.tally.to_json(since))
            {
                log::debug!("standard output: {failure}");
            }
        }
        if !self.named && self.tally.share() >= MILESTONES[0] {
            self.named = true;
            self.name_a_search();
        }
        self.explain(engine, since);
    }

    /// The terminal went away.
    fn on_reload(&mut self) {
        if self.handle.send(Command::Stop).is_err() {
            log::debug!("the engine stops already");
        }
    }
}

impl Watch {
    /// Says what is missing when nothing has come for a while.
    fn explain(&mut self, engine: &Engine, since: Duration) {
        let stored = self.tally.stored.len();
        if stored != self.moved.0 {
            self.moved = (stored, since);
        }
        let still = since.saturating_sub(self.moved.1) >= STILL;
        let due = self.explained.is_none_or(|at| at <= self.moved.1 || since >= at + EXPLAIN_EVERY);
        if stored == self.tally.reachable.len() || !still || !due {
            return;
        }
        self.explained = Some(since);
        self.live.end();
        say(&self.tally.missing(|hash| engine.whereabouts(hash)));
    }

    /// While it runs on, the archive can be asked; reading it must not hold up the loop.
    fn name_a_search(&self) {
        let db = self.db.clone();
        let work = move || {
            if let Ok((_, words)) = findings(&db) {
                let db = db.display();
                say(&format!(
                    "in another terminal: dht-hunter search --db {db} {words}\nCtrl-C ends the demo"
                ));
            }
        };
        let started = std::thread::Builder::new().name("search".to_owned()).spawn(work);
        drop(started.inspect_err(|fault| log::debug!("no search is named: {fault}")));
    }
}

/// How many torrents there are, and words that find one of them.
fn findings(db: &Path) -> Result<(u64, String), Failure> {
    let opened = Archive::open_read_only(db).map_err(|fault| archive::open_failure(db, fault))?;
    let stored = opened.stats().map_err(|fault| archive::failure(db, fault))?.torrents;
    let name = opened.export().next().and_then(Result::ok).map(|torrent| torrent.display_name());
    Ok((stored, words_of(&name.unwrap_or_default())))
}

/// The first two different words of a name.
fn words_of(name: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in name.split(|c: char| !c.is_alphanumeric()) {
        if word.len() > 2 && words.len() < 2 && !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" ")
}

fn farewell(stored: u64, words: &str, place: &Place) -> Vec<String> {
    let (stored, db) = (human_count(stored), place.db.display());
    let mut lines = Vec::new();
    match place.temporary {
        Some(_) => {
            lines.push(format!("the {stored} torrents in {db} are removed now; --db keeps them. Try next:"));
            lines.push("  dht-hunter demo --db demo.db".to_owned());
            lines.push(format!("  dht-hunter search --db demo.db {words}"));
        }
        None => {
            lines.push(format!("{stored} torrents are in {db}. Try next:"));
            lines.push(format!("  dht-hunter search --db {db} {words}"));
            lines.push(format!("  dht-hunter stats --db {db}"));
        }
    }
    lines.push("  dht-hunter run      (the real DHT)".to_owned());
    lines
}

fn say(line: &str) {
    // A terminal that went away is no reason to stop.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Shares of the reachable torrents that are worth a line: the goal, and all.
const MILESTONES: [f64; 2] = [0.99, 1.0];
/// Without anything new for so long it stands still.
const STILL: Duration = Duration::from_secs(5);
/// It is said again this often what is missing.
const EXPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How the names of temporary folders begin, and what the archive in them is called.
const FOLDER: &str = "dht-hunter-demo-";
const ARCHIVE: &str = "demo.db";
/// Names of temporary folders that are tried.
const FOLDERS_TRIED: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(last: u8) -> InfoHash {
        InfoHash::from_slice(&[last; 20]).unwrap()
    }

    #[test]
    fn it_ends_by_naming_what_to_try() {
        let mut place = Place { db: PathBuf::from("/tmp/d.db"), temporary: None };
        let lines = farewell(4_998, "blue harbour", &place).join("\n");
        for part in ["4,998", "search --db /tmp/d.db blue harbour", "dht-hunter run"] {
            assert!(lines.contains(part), "{lines}");
        }
        place.temporary = Some(PathBuf::from("/nonexistent/dht-hunter-demo"));
        assert!(farewell(1, "x", &place).join("\n").contains("demo --db demo.db"));
    }

    #[test]
    fn words_come_from_the_name() {
        assert_eq!(words_of("A.Blue_Harbour-2020.mkv"), "Blue Harbour");
        assert_eq!(words_of("Cinder - Cinder (1999)"), "Cinder 1999");
        assert_eq!(words_of(""), "");
    }

    #[test]
    fn a_hybrid_that_comes_twice_counts_once_and_only_when_acknowledged() {
        let mut tally = Tally::new(&[hash(1), hash(2), hash(3)], Path::new("/nonexistent/x.db"));
        tally.waiting.extend([hash(1), hash(1), hash(9), hash(2)]);
        tally.acknowledge(1);
        assert_eq!(tally.stored.len(), 1);
        tally.acknowledge(3);
        assert_eq!((tally.stored.len(), tally.waiting.len()), (1, 1));
        tally.acknowledge(4);
        let said = tally.sentence(Duration::from_millis(2_340));
        assert_eq!(said, "2 of 3 reachable torrents stored (66.6 %) after 2.3 s");
    }

    #[test]
    fn what_was_there_before_is_not_new_and_what_is_missing_is_explained() {
        let all: Vec<InfoHash> = (1..=6).map(hash).collect();
        let mut tally = Tally::new(&all, Path::new("/nonexistent/x.db"));
        tally.stored.extend([hash(1), hash(2)]);
        tally.before = 2;
        tally.waiting.push_back(hash(3));
        tally.acknowledge(1);
        assert_eq!((tally.fresh(), tally.to_json(Duration::ZERO)["missing"].as_u64()), (1, Some(3)));
        let said = tally.sentence(Duration::from_secs(2));
        assert!(said.contains("3 of 6") && said.contains("2 from before, 1 new"), "{said}");
        let said = tally.missing(|missing| match missing.0[0] {
            4 => Whereabouts::Unheard,
            5 => Whereabouts::Waiting(Duration::from_secs(20)),
            _ => Whereabouts::Settled,
        });
        for part in ["3 missing: ", "1 not named by any node", "tried again", "the first in 20 s", "given up"]
        {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_temporary_place_goes_away() {
        let place = Place::new(None).unwrap();
        let folder = place.temporary.clone().unwrap();
        assert!(folder.is_dir());
        drop(place);
        assert!(!folder.exists());
    }
}
