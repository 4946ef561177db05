//! Five clients on one bridge whose only DHT node to begin with is ours.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use dht_hunter::base::InfoHash;
use dht_hunter::store::Archive;

use crate::clients::{Client, Encryption, Task};
use crate::namespace::{Namespace, Place};
use crate::support::{Running, assert_sound, until};
use crate::torrents::Made;
use crate::{missing, run, tool};

#[test]
fn what_five_clients_seed_is_fetched_within_half_a_minute() {
    let test = "what five clients seed";
    let together = match Together::new([10, 77]) {
        Ok(together) => together,
        Err(why) => return missing(test, &why),
    };
    let seeds: Vec<_> = Client::ALL.iter().map(|client| together.torrents(*client, SEEDS, "seed")).collect();
    let listening = together.listen();
    let engine = together.engine();
    let clients = together.start(&seeds, &[const { Vec::new() }; 5]);
    let mut times = Times::default();
    // rTorrent announces each torrent to three nodes, which need not be ours: it seeds, and is not counted.
    let mut seeds = seeds;
    seeds[Client::RTorrent as usize].clear();
    let wanted: usize = seeds.iter().map(Vec::len).sum();
    let started = Instant::now();
    while times.settled() < wanted && started.elapsed() < READY_WITHIN {
        times.look(&listening.words(), &together, &seeds);
        std::thread::sleep(LOOK_EVERY);
    }
    let report = together.report(&times, &seeds);
    let passed_by = times.passed_by().len();
    let all = times.stored.len() + passed_by == wanted && passed_by <= PASSED_BY_MAX;
    assert!(times.late().is_empty() && all, "{report}");
    drop(clients);
    engine.stop();
    assert_sound(&together.db());
}

#[test]
fn five_clients_find_each_other_by_our_node() {
    let together = match Together::new([10, 78]) {
        Ok(together) => together,
        Err(why) => return missing("clients that find each other", &why),
    };
    let seeds: Vec<_> = Client::ALL.iter().map(|client| together.torrents(*client, 1, "given")).collect();
    let mut wants = seeds.clone();
    wants.rotate_right(1);
    let _engine = together.engine();
    let _clients = together.start(&seeds, &wants);
    let missing = || {
        let pairs = Client::ALL.iter().zip(&wants);
        let missing =
            pairs.filter(|(client, wants)| !wants[0].is_whole(&together.folder(**client).join("data")));
        missing
            .map(|(client, wants)| format!("{} has no {:?}", client.name(), wants[0].name))
            .collect::<Vec<_>>()
    };
    let mut last = Vec::new();
    let started = Instant::now();
    while started.elapsed() < READY_WITHIN {
        last = missing();
        if last.is_empty() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("{}", last.join(", "));
}

/// The networks: ours first, then each client's. The addresses are private ones, for which no id has to be
/// changed (BEP 42): rTorrent drops what a node says whose id is another than before.
struct Together {
    /// The first two numbers of every address.
    prefix: [u8; 2],
    bridge: Namespace,
    networks: Vec<Namespace>,
    folder: tempfile::TempDir,
}

/// When something was first seen, by infohash.
#[derive(Default)]
struct Times {
    announced: HashMap<InfoHash, Instant>,
    /// The same for announces to other nodes than ours.
    elsewhere: HashMap<InfoHash, Instant>,
    stored: HashMap<InfoHash, Instant>,
}

impl Together {
    fn new(prefix: [u8; 2]) -> Result<Self, String> {
        Client::ALL.into_iter().try_for_each(Client::is_there)?;
        tool("python3")?;
        let [a, b] = prefix;
        let mut addresses = vec![(0..OURS).map(|nth| format!("{a}.{b}.{}.1/16", 10 + nth)).collect()];
        addresses.extend((0..Client::ALL.len()).map(|nth| vec![format!("{a}.{b}.{}.1/16", 100 + nth)]));
        let (bridge, networks) = Namespace::bridged(&addresses)?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        Ok(Self { prefix, bridge, networks, folder })
    }

    /// Where our nodes are: with the clients' own enough for Transmission, which trusts no DHT of less than nine.
    fn nodes(&self) -> Vec<String> {
        let [a, b] = self.prefix;
        (0..OURS).map(|nth| format!("{a}.{b}.{}.1:6881", 10 + nth)).collect()
    }

    fn address(&self, client: Client) -> String {
        let [a, b] = self.prefix;
        format!("{a}.{b}.{}.1", 100 + client as usize)
    }

    fn folder(&self, client: Client) -> std::path::PathBuf {
        self.folder.path().join(client.name())
    }

    fn db(&self) -> std::path::PathBuf {
        self.folder.path().join("ours/peers.db")
    }

    fn torrents(&self, client: Client, count: usize, what: &str) -> Vec<Made> {
        let formats = client.formats().iter().cycle();
        let node = &self.nodes()[0];
        let host = node.trim_end_matches(":6881");
        let numbered = formats.take(count).enumerate();
        numbered
            .map(|(nth, format)| {
                Made::new(&format!("{} {what} {nth} {format:?}", client.name()), *format, (host, 6881))
            })
            .collect()
    }

    /// Tells of every announce that crosses the bridge.
    fn listen(&self) -> Running {
        let mut command = Place::In(&self.bridge).command("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/announces.py"));
        let listening = Running::start(&mut command, &self.folder.path().join("announces"));
        until(Duration::from_secs(30), "a raw socket", || listening.words().contains("listening"));
        listening
    }

    fn engine(&self) -> Running {
        let nodes = self.nodes();
        let folder = self.folder.path().join("ours");
        std::fs::create_dir(&folder).expect("a new folder");
        let own: Vec<_> = nodes.iter().map(String::as_str).collect();
        // It has nothing to begin with: the first client to ask is its first node.
        let nobody = [nodes[0].replace(":6881", ":6882")];
        run(Place::In(&self.networks[0]), &own, &nobody, &folder, &["--log", "debug"])
    }

    fn start(&self, seeds: &[Vec<Made>], wants: &[Vec<Made>]) -> Vec<Running> {
        let each = Client::ALL.iter().zip(&self.networks[1..]).zip(seeds.iter().zip(wants));
        each.map(|((client, network), (seeds, wants))| {
            let task = Task {
                place: Place::In(network),
                address: &self.address(*client),
                nodes: &self.nodes(),
                folder: self.folder(*client),
                encryption: Encryption::Possible,
                seeds,
                wants,
            };
            client.start(&task)
        })
        .collect()
    }

    fn report(&self, times: &Times, seeds: &[Vec<Made>]) -> String {
        let mut report = String::new();
        for (client, seeds) in Client::ALL.iter().zip(seeds) {
            let hashes: Vec<_> = seeds.iter().map(|made| made.infohash).collect();
            let announced = hashes.iter().filter(|hash| times.announced.contains_key(*hash)).count();
            let stored = hashes.iter().filter(|hash| times.stored.contains_key(*hash)).count();
            let longest = hashes.iter().filter_map(|hash| times.took(*hash)).max().unwrap_or_default();
            let of = seeds.len();
            let name = client.name();
            report +=
                &format!("{name}: {announced} of {of} announced, {stored} stored, within {longest:?}\n");
        }
        report
    }
}

impl Times {
    fn look(&mut self, announces: &str, together: &Together, seeds: &[Vec<Made>]) {
        let now = Instant::now();
        let own: HashSet<_> = seeds.iter().flatten().map(|made| made.infohash).collect();
        for line in announces.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(to), Some(hash)) = (words.next(), words.next().and_then(InfoHash::from_hex)) else {
                continue;
            };
            let ours = together.nodes().contains(&format!("{to}:6881"));
            let seen = if ours { &mut self.announced } else { &mut self.elsewhere };
            if own.contains(&hash) {
                seen.entry(hash).or_insert(now);
            }
        }
        let Ok(archive) = Archive::open_read_only(&together.db()) else { return };
        for hash in own {
            let waits = !self.stored.contains_key(&hash);
            if waits && archive.torrent(hash).is_ok_and(|found| found.is_some()) {
                self.stored.insert(hash, now);
            }
        }
    }

    /// From the announce to the archive; zero for what was fetched before its announce.
    fn took(&self, hash: InfoHash) -> Option<Duration> {
        let (announced, stored) = (self.announced.get(&hash)?, self.stored.get(&hash)?);
        Some(stored.saturating_duration_since(*announced))
    }

    /// What is stored, is too late, or was announced to others only.
    fn settled(&self) -> usize {
        let late = self.late().into_iter().filter(|hash| !self.stored.contains_key(hash)).count();
        self.stored.len() + late + self.passed_by().len()
    }

    /// What only others were told of.
    fn passed_by(&self) -> Vec<InfoHash> {
        let to_others = self.elsewhere.iter().filter(|(_, at)| at.elapsed() > FETCHED_WITHIN);
        let known = |hash: &InfoHash| self.announced.contains_key(hash) || self.stored.contains_key(hash);
        to_others.map(|(hash, _)| *hash).filter(|hash| !known(hash)).collect()
    }

    /// What was not stored in time.
    fn late(&self) -> Vec<InfoHash> {
        let late = |hash: &InfoHash, announced: &Instant| match self.took(*hash) {
            Some(took) => took > FETCHED_WITHIN,
            None => announced.elapsed() > FETCHED_WITHIN,
        };
        self.announced
            .iter()
            .filter(|(hash, announced)| late(hash, announced))
            .map(|(hash, _)| *hash)
            .collect()
    }
}

/// Torrents of each client.
const SEEDS: usize = 20;
/// From an announce that reaches us to the archive.
const FETCHED_WITHIN: Duration = Duration::from_secs(30);
/// Until everything is announced and fetched: rTorrent and Transmission take most of a minute.
const READY_WITHIN: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Nodes of our engine.
const OURS: usize = 6;
/// A client's lookup may end before it has heard of one of ours.
const PASSED_BY_MAX: usize = 6;
