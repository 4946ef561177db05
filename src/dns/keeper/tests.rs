//! Changes as people and files make them, with the worker and the archive played: what is answered,
//! kept and served.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::base::Rng;
use crate::dns::policy::Action;
use crate::dns::{Config, Resolver};
use crate::model::dns::{SavedList, SavedSet, SavedZone};

/// The room, an archive in memory, and what was said.
struct World {
    dns: Dns,
    at: At,
    kept: SavedLocal,
    answers: Vec<(u64, Result<Said, Refusal>)>,
    events: Vec<ZoneEvent>,
    updates: Vec<RpzUpdate>,
    reloads: usize,
    jobs: Vec<Job>,
    shrink_percent_max: u8,
}

impl World {
    fn new(kept: SavedLocal) -> Self {
        let resolver = Resolver::new(Config::new(Vec::new()), 256, &mut Rng::seeded(1));
        let (mut dns, at) = (Dns::new(resolver), (Instant(0), UnixTime(1_000)));
        dns.restore_local(kept.clone(), at);
        let (answers, events, updates, jobs) = Default::default();
        let shrink_percent_max = 50;
        let mut world =
            Self { dns, at, kept, answers, events, updates, reloads: 0, jobs, shrink_percent_max };
        world.settle();
        world
    }

    /// The same after a restart.
    fn again(&self) -> Self {
        Self::new(self.kept.clone())
    }

    fn ask(&mut self, ask: Ask) -> Result<Said, Refusal> {
        self.dns.on_ask(self.at, 7, ask);
        self.settle();
        let (user, said) = self.answers.pop().expect("everything is answered");
        assert_eq!(user, 7);
        said
    }

    fn change(&mut self, change: ZoneChange) -> Result<Vec<ZoneEvent>, Refusal> {
        self.ask(Ask::Zone(change)).map(|said| match said {
            Said::Zone(events) => events,
            other => panic!("{other:?}"),
        })
    }

    /// Does what waits until nothing is left.
    fn settle(&mut self) {
        loop {
            self.drain();
            let Some(job) = self.jobs.pop() else { return };
            self.dns.on_local_worked(self.at, job.run());
        }
    }

    fn drain(&mut self) {
        while let Some(told) = self.dns.poll_local() {
            match told {
                Told::Work(job) => self.jobs.insert(0, *job),
                Told::Keep(op) => self.keep(op),
                Told::Answer(user, said, op) => {
                    op.into_iter().for_each(|op| self.keep(*op));
                    self.answers.push((user, *said));
                }
                Told::Zone(event) => self.events.push(*event),
                Told::Policy(update) => self.updates.push(*update),
                Told::Reloaded(..) => self.reloads += 1,
            }
        }
    }

    fn keep(&mut self, op: LocalOp) {
        let kept = &mut self.kept;
        match op {
            LocalOp::Zone(zone) => {
                kept.zones.retain(|other| other.origin != zone.origin);
                kept.zones.push(zone);
            }
            LocalOp::Sets(origin, sets) => {
                let zone = kept.zones.iter_mut().find(|zone| zone.origin == origin).expect("it is kept");
                for set in sets {
                    zone.sets.retain(|other| (&other.name, other.kind) != (&set.name, set.kind));
                    zone.sets.extend(Some(set).filter(|set| !set.records.is_empty()));
                }
            }
            LocalOp::ZoneGone(origin) => kept.zones.retain(|zone| zone.origin != origin),
            LocalOp::Serial(saved) => {
                kept.serials.retain(|other| other.origin != saved.origin);
                kept.serials.push(saved);
            }
            LocalOp::List(list) => match kept.lists.iter_mut().find(|other| other.name == list.name) {
                Some(other) => *other = list,
                None => kept.lists.push(list),
            },
            LocalOp::ListGone(name) => kept.lists.retain(|list| list.name != name),
            LocalOp::Override(name, action) => {
                kept.overrides.retain(|(other, _)| *other != name);
                kept.overrides.extend(action.map(|action| (name, action)));
            }
            LocalOp::Allowed(name, until) => {
                kept.allowed.retain(|(other, _)| *other != name);
                kept.allowed.extend(until.map(|until| (name, until)));
            }
        }
    }

    fn text(&self, origin: &str) -> Option<String> {
        self.dns.zones.zone(&name(origin)).map(|zone| zone.to_master_file())
    }

    fn serial(&self, origin: &str) -> Option<u32> {
        self.dns.zones.zone(&name(origin)).map(|zone| zone.serial())
    }

    fn files(&mut self, files: &[(&str, &str)]) {
        let zones = files.iter().map(|(file, text)| FileZone::parse(file, text).unwrap()).collect();
        assert!(self.dns.set_zones(self.at, ZoneFiles { zones, unread: Vec::new() }));
        self.settle();
    }

    fn lists(&mut self, lists: &[(&str, Option<&str>)]) {
        let file = |(name, text): &(&str, Option<&str>)| ListFile {
            name: (*name).into(),
            list: text.map(|text| Arc::new(List::parse(name, text.as_bytes()).unwrap())),
            is_download: name.starts_with("https:"),
            shrink_percent_max: self.shrink_percent_max,
        };
        assert!(self.dns.set_lists(self.at, lists.iter().map(file).collect()));
        self.settle();
    }

    fn names(&self) -> Vec<String> {
        self.dns.policy.lists().map(|(list, ..)| list.name().to_owned()).collect()
    }

    fn blocks(&self, wanted: &str) -> bool {
        let client = IpAddr::from([127, 0, 0, 1]);
        let hit = self.dns.policy.judge(self.at.0, &name(wanted), client).hit;
        hit.is_some_and(|hit| hit.action == Action::NxDomain)
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn zone(origin: &str, serial: u32, rest: &str) -> String {
    format!("$ORIGIN {origin}.\n$TTL 60\n@ SOA ns root {serial} 2 3 4 5\n@ NS ns\n{rest}")
}

fn create(origin: &str, text: &str) -> ZoneChange {
    ZoneChange::Create { origin: name(origin), text: text.to_owned() }
}

fn add(origin: &str, owner: &str, kind: Kind, data: &str) -> ZoneChange {
    ZoneChange::AddRecord { zone: name(origin), name: name(owner), kind, ttl: 60, data: data.to_owned() }
}

#[test]
fn what_commands_make_of_zones_is_there_after_a_restart() {
    let mut world = World::new(SavedLocal::default());
    assert_eq!(world.change(create("a.test", "")).unwrap().len(), 1);
    let zone_exists = world.change(create("a.test", "")).unwrap_err();
    assert_eq!(zone_exists, Refusal::zone(Reason::ZoneExists));
    world.change(add("a.test", "x.a.test", Kind::A, "192.0.2.1")).unwrap();
    let events = world.change(add("a.test", "x.a.test", Kind::A, "192.0.2.2")).unwrap();
    let [ZoneEvent::RecordCreated(_, facts), ZoneEvent::ZoneUpdated(_)] = &events[..] else {
        panic!("{events:?}")
    };
    let id = facts.id;
    let change = ZoneChange::ReplaceRecord { zone: name("a.test"), id, ttl: 9, data: "192.0.2.9".into() };
    world.change(change).unwrap();
    assert_eq!(world.serial("a.test"), Some(4));
    let mut again = world.again();
    assert_eq!((again.text("a.test"), again.serial("a.test")), (world.text("a.test"), Some(4)));
    // The record is still known by its id.
    again.change(ZoneChange::RemoveRecord { zone: name("a.test"), id }).unwrap();
    let text = again.text("a.test").unwrap();
    assert!(text.contains("192.0.2.1") && !text.contains("192.0.2.9") && text.contains(" 5 "), "{text}");
    assert_eq!(again.again().text("a.test"), again.text("a.test"));
    again.change(ZoneChange::Delete { origin: name("a.test") }).unwrap();
    let mut last = again.again();
    assert_eq!((last.text("a.test"), last.dns.keeper.records), (None, 0));
    // Made again, it is newer than the one that is gone.
    last.change(create("a.test", "")).unwrap();
    assert_eq!(last.serial("a.test"), Some(6));
    assert_eq!(last.again().serial("a.test"), Some(6));
}

#[test]
fn a_change_of_one_record_copies_no_zone() {
    let mut world = World::new(SavedLocal::default());
    world.change(create("a.test", &zone("a.test", 1, "x A 192.0.2.1\n"))).unwrap();
    let before = Arc::as_ptr(world.dns.zones.zone(&name("a.test")).unwrap());
    world.change(add("a.test", "y.a.test", Kind::TXT, "y")).unwrap();
    let many: String = (0..3_000).map(|n| format!("n{n} A 192.0.2.1\n")).collect();
    world.change(create("b.test", &zone("b.test", 1, &many))).unwrap();
    let large = Arc::as_ptr(world.dns.zones.zone(&name("b.test")).unwrap());
    let page = world.ask(Ask::Records { zone: name("b.test"), skip: 1_500, limit: 2 }).unwrap();
    let Said::Records(page) = page else { panic!("{page:?}") };
    assert_eq!((page.total, page.records.len()), (3_002, 2));
    // It is searched for on the worker.
    let id = page.records[0].id;
    world.change(ZoneChange::RemoveRecord { zone: name("b.test"), id }).unwrap();
    assert_eq!(
        world.change(ZoneChange::RemoveRecord { zone: name("b.test"), id }).unwrap_err(),
        Refusal::zone(Reason::NoRecord)
    );
    for (origin, before) in [("a.test", before), ("b.test", large)] {
        assert_eq!(Arc::as_ptr(world.dns.zones.zone(&name(origin)).unwrap()), before, "{origin}");
    }
}

#[test]
fn a_zone_of_a_file_is_the_files_and_gives_back_what_commands_had() {
    let mut world = World::new(SavedLocal::default());
    world.change(create("a.test", &zone("a.test", 5, "own A 192.0.2.1\n"))).unwrap();
    world.files(&[("f", &zone("a.test", 1, "file A 192.0.2.2\n")), ("g", &zone("b.test", 1, ""))]);
    assert!(world.text("a.test").unwrap().contains("file.a.test."));
    assert_eq!(world.serial("a.test"), Some(6), "never back");
    let refused = world.change(add("a.test", "x.a.test", Kind::A, "192.0.2.1")).unwrap_err();
    assert_eq!(refused, Refusal::OfFile("f".into()));
    assert!(refused.to_string().contains("comes from f"), "{refused}");
    // A restart changes nothing of that, the archive still has the other.
    let mut again = world.again();
    assert!(again.text("a.test").unwrap().contains("own.a.test."));
    again.files(&[("f", &zone("a.test", 1, "file A 192.0.2.2\n")), ("g", &zone("b.test", 1, ""))]);
    assert_eq!((again.text("a.test"), again.serial("a.test")), (world.text("a.test"), Some(6)));
    again.events.clear();
    again.files(&[("g", &zone("b.test", 1, ""))]);
    assert!(again.text("a.test").unwrap().contains("own.a.test."));
    assert_eq!(again.serial("a.test"), Some(7), "never back");
    assert!(matches!(again.events.last(), Some(ZoneEvent::ZoneUpdated(_))), "{:?}", again.events);
    assert_eq!(again.again().serial("a.test"), Some(7));
    again.change(add("a.test", "x.a.test", Kind::A, "192.0.2.1")).unwrap();
    again.files(&[]);
    assert!(matches!(again.events.last(), Some(ZoneEvent::ZoneDeleted(_))), "{:?}", again.events);
    assert_eq!((again.text("b.test"), again.serial("a.test")), (None, Some(8)));
}

#[test]
fn the_serial_of_a_file_goes_on_over_restarts() {
    let mut world = World::new(SavedLocal::default());
    let (one, two) = (zone("a.test", 9, "x A 192.0.2.1\n"), zone("a.test", 9, "x A 192.0.2.2\n"));
    world.files(&[("f", &one)]);
    assert_eq!(world.serial("a.test"), Some(9));
    world.files(&[("f", &two)]);
    assert_eq!(world.serial("a.test"), Some(10));
    let mut again = world.again();
    again.files(&[("f", &two)]);
    assert_eq!(again.serial("a.test"), Some(10), "the same text has the same serial");
    let mut other = world.again();
    other.files(&[("f", &one)]);
    assert_eq!(other.serial("a.test"), Some(11), "another text has a later one");
    other.files(&[("f", &zone("a.test", 50, ""))]);
    assert_eq!(other.serial("a.test"), Some(50));
}

#[test]
fn what_cannot_be_read_stays_as_it_is() {
    let mut world = World::new(SavedLocal::default());
    world.files(&[("f", &zone("a.test", 1, ""))]);
    world.lists(&[("l", Some("one.test\n"))]);
    world.dns.set_zones(world.at, ZoneFiles { zones: Vec::new(), unread: vec!["f".into()] });
    world.lists(&[("l", None)]);
    world.dns.mark_reload(world.at);
    world.settle();
    assert!(world.text("a.test").is_some() && world.blocks("one.test"));
    assert_eq!(world.reloads, 1);
}

#[test]
fn lists_stand_in_the_order_of_the_settings_before_those_of_commands() {
    let mut world = World::new(SavedLocal::default());
    let put = |name: &str, text: &'static str| {
        Ask::Policy(PolicyChange::Put { name: name.into(), text: Bytes::from_static(text.as_bytes()) })
    };
    assert!(matches!(world.ask(put("mine", "mine.test\n")), Ok(Said::List(update)) if update.rules == 1));
    world.lists(&[("b", Some("b.test\n")), ("https://c", None), ("a", Some("a.test\n"))]);
    assert_eq!(world.names(), ["b", "a", "mine"]);
    assert_eq!(world.ask(put("a", "x.test\n")).unwrap_err(), Refusal::OfSettings);
    assert!(matches!(world.ask(put("empty", "# nothing\n")), Err(Refusal::List(_))));
    // The download comes, in its place.
    let (url, etag) = world.dns.poll_download(world.at.0).expect("it is due at once");
    assert_eq!((&*url, etag), ("https://c", None));
    assert!(world.dns.poll_download(world.at.0).is_none() && world.dns.next_download().is_none());
    let text = Bytes::from_static(b"c.test\n");
    world.dns.on_download(world.at, &url, Fetched::Text(text, Some("v1".into())));
    world.settle();
    assert_eq!(world.names(), ["b", "https://c", "a", "mine"]);
    assert!(world.blocks("c.test") && world.blocks("mine.test"));
    // A restart without network has it, and asks with its ETag when it is due.
    let mut again = world.again();
    assert_eq!(again.names(), ["mine"]);
    again.lists(&[("https://c", None), ("b", Some("b.test\n"))]);
    assert_eq!(again.names(), ["https://c", "b", "mine"]);
    let due = again.dns.next_download().expect("it is fetched again some time");
    assert_eq!(due, again.at.0 + std::time::Duration::from_secs(REFRESH_SECS));
    assert_eq!(again.dns.poll_download(due), Some((url.clone(), Some("v1".into()))));
    again.dns.on_download((due, UnixTime(9)), &url, Fetched::Nothing);
    assert!(again.dns.next_download().is_some_and(|next| next > due));
    // Nobody names it any more: it need not be kept.
    again.lists(&[("b", None)]);
    assert_eq!(again.names(), ["b", "mine"]);
    assert_eq!(again.kept.lists.iter().map(|list| &*list.name).collect::<Vec<_>>(), ["mine"]);
    assert!(again.ask(Ask::Policy(PolicyChange::Remove { name: "mine".into() })).is_ok());
    assert_eq!(
        again.ask(Ask::Policy(PolicyChange::Remove { name: "mine".into() })).unwrap_err(),
        Refusal::NoList
    );
    assert_eq!(again.again().names(), [""; 0]);
}

#[test]
fn a_good_list_is_not_replaced_by_nothing_or_by_little() {
    let long: &'static str = (0..100).map(|n| format!("n{n}.test\n")).collect::<String>().leak();
    let bad: [&'static [u8]; 7] = [
        b"",
        b"<html><body>log in first\nn1.test\n</body></html>",
        b"domain-needed\nserver=/lan/192.0.2.1\n",
        b"$TTL 5\n@ SOA a. b. 1 2 3 4 5\n@ NS a.\n",
        b"\x1f\x8b\x08\0\0",
        b"n1.test\nn2.test\n",
        &long.as_bytes()[..400],
    ];
    let mut world = World::new(SavedLocal::default());
    world.lists(&[("https://c", None), ("l", Some(long))]);
    let mut due = world.at.0;
    let mut fetch = |world: &mut World, text: &'static [u8]| {
        let (url, _) = world.dns.poll_download(due).expect("it is due");
        let text = Bytes::from_static(text);
        world.dns.on_download((due, UnixTime(1_000)), &url, Fetched::Text(text, Some("v".into())));
        world.settle();
        due = world.dns.next_download().expect("it is fetched again");
    };
    fetch(&mut world, long.as_bytes());
    for text in bad {
        fetch(&mut world, text);
        assert!(world.blocks("n99.test"));
        let mut again = world.again();
        again.lists(&[("https://c", None)]);
        assert!(again.blocks("n99.test"), "what is kept is the good one");
    }
    // Of a file that became short; the settings may say that it is meant.
    world.lists(&[("l", Some("n1.test\n"))]);
    assert!(world.blocks("n99.test"));
    world.shrink_percent_max = 100;
    world.lists(&[("l", Some("n1.test\n"))]);
    assert!(!world.blocks("n99.test") && world.blocks("n1.test"));
    world.lists(&[("https://c", None)]);
    fetch(&mut world, b"n1.test\n");
    assert!(!world.blocks("n99.test") && world.blocks("n1.test"));
}

#[test]
fn overrides_and_what_is_let_through_hold_over_a_restart() {
    let mut world = World::new(SavedLocal::default());
    world.lists(&[("l", Some("||one.test^\ntwo.test\n"))]);
    let watch = PolicyChange::Override { name: "l".into(), action: Override::LogOnly };
    assert!(world.blocks("two.test"));
    world.ask(Ask::Policy(watch)).unwrap();
    assert!(!world.blocks("two.test"));
    let mut again = world.again();
    again.lists(&[("l", Some("||one.test^\ntwo.test\n"))]);
    assert!(!again.blocks("two.test"));
    let given = PolicyChange::Override { name: "l".into(), action: Override::AsGiven };
    again.ask(Ask::Policy(given)).unwrap();
    again.ask(Ask::Policy(PolicyChange::Allow { name: name("one.test"), secs: 60 })).unwrap();
    assert!(again.blocks("two.test") && !again.blocks("sub.one.test"));
    let Said::Lists(lists, allowed) = again.ask(Ask::Lists).unwrap() else { panic!() };
    assert_eq!((lists[0].rules, lists[0].source, lists[0].action), (3, ListSource::File, Override::AsGiven));
    assert_eq!(allowed, [(name("one.test"), 60)]);
    let mut last = again.again();
    last.lists(&[("l", Some("||one.test^\ntwo.test\n"))]);
    assert!(!last.blocks("one.test"));
    last.at.0 += std::time::Duration::from_secs(61);
    assert!(last.blocks("one.test"));
    again.ask(Ask::Policy(PolicyChange::Forbid { name: name("one.test") })).unwrap();
    assert!(again.blocks("one.test") && again.kept.allowed.is_empty() && again.kept.overrides.is_empty());
}

#[test]
fn what_the_archive_lost_is_written_again() {
    let mut world = World::new(SavedLocal::default());
    world.change(create("a.test", &zone("a.test", 5, "x A 192.0.2.1\n"))).unwrap();
    let whole = world.again().text("a.test");
    world.kept = SavedLocal::default();
    world.dns.on_not_kept(world.at, name("a.test").wire());
    world.settle();
    assert_eq!(world.again().text("a.test"), whole);
    world.change(ZoneChange::Delete { origin: name("a.test") }).unwrap();
    world.kept.zones.push(SavedZone { origin: name("a.test").wire().into(), ..SavedZone::default() });
    world.dns.on_not_kept(world.at, name("a.test").wire());
    world.settle();
    assert!(world.kept.zones.is_empty());
}

/// Any sequence of changes, with files that come and go: what was kept gives the same zones again,
/// and no serial ever goes back.
#[test]
fn any_changes_kept_and_recovered_give_the_same_zones() {
    for seed in 0..150 {
        let mut rng = Rng::seeded(seed);
        let mut world = World::new(SavedLocal::default());
        let mut serials: BTreeMap<&str, u32> = BTreeMap::new();
        let mut files = Vec::new();
        for step in 0..40 {
            some_step(&mut world, &mut files, &mut rng);
            if rng.index(8) == 0 {
                world = world.again();
                world.files(&as_files(&files));
            }
            let mut again = world.again();
            again.files(&as_files(&files));
            for origin in ORIGINS {
                assert_eq!(again.text(origin), world.text(origin), "seed {seed}, step {step}: {origin}");
                let now = world.serial(origin);
                let before = now.and_then(|now| serials.insert(origin, now));
                let ahead = before.zip(now).is_none_or(|(before, now)| before <= now);
                assert!(ahead, "seed {seed}, step {step}: {origin} went from {before:?} to {now:?}");
            }
            let own = ORIGINS.iter().filter_map(|origin| world.dns.keeper.aside.get(name(origin).wire()));
            let own = own.map(|zone| zone.records_count()).sum::<usize>();
            let served = world.dns.zones.iter();
            let served = served.filter(|zone| !world.dns.keeper.files.contains_key(zone.origin().wire()));
            let served = served.map(|zone| zone.records_count()).sum::<usize>();
            assert_eq!(world.dns.keeper.records, own + served, "seed {seed}, step {step}");
        }
    }
}

const ORIGINS: [&str; 3] = ["a.test", "b.test", "x.a.test"];

fn as_files(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(file, text)| (&**file, &**text)).collect()
}

fn some_step(world: &mut World, files: &mut Vec<(String, String)>, rng: &mut Rng) {
    let origin = ORIGINS[rng.index(ORIGINS.len())];
    let data = format!("192.0.2.{}", rng.index(3));
    let text = zone(origin, rng.index(5) as u32 + 1, &format!("x A {data}\ny TXT z\n"));
    let owner = format!("{}.{origin}", ["x", "y", "z"][rng.index(3)]);
    let ids: Vec<u64> = match world.dns.zones.zone(&name(origin)) {
        Some(zone) => zone.records().map(|record| record.id).collect(),
        None => vec![1],
    };
    let id = ids[rng.index(ids.len())];
    let change = match rng.index(9) {
        0 => create(origin, &text),
        1 => ZoneChange::Delete { origin: name(origin) },
        2 => ZoneChange::Rewrite { origin: name(origin), text },
        3 => ZoneChange::RemoveRecord { zone: name(origin), id },
        4 => ZoneChange::ReplaceRecord { zone: name(origin), id, ttl: 7, data },
        5 => {
            let file = format!("file of {origin}");
            let had = files.iter().position(|(name, _)| *name == file);
            match had {
                Some(at) if rng.index(2) == 0 => _ = files.remove(at),
                Some(at) => files[at].1 = text,
                None => files.push((file, text)),
            }
            return world.files(&as_files(files));
        }
        _ => add(origin, &owner, Kind::A, &data),
    };
    // Many are refused; whatever they come to is checked above.
    let _ = world.change(change);
}

#[test]
fn a_saved_zone_that_is_none_is_left_out() {
    let set = |kind: Kind, records: &[u8]| SavedSet {
        name: name("a.test").wire().into(),
        kind: kind.0,
        ttl: 1,
        records: records.into(),
    };
    let origin: Box<[u8]> = name("a.test").wire().into();
    let broken = [
        vec![],
        vec![set(Kind::SOA, &[0; 12])],
        vec![set(Kind::SOA, &[0, 1, 2])],
        vec![set(Kind::SOA, &[0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0, 1])],
    ];
    for sets in broken {
        let zones = vec![SavedZone { origin: origin.clone(), sets, bytes: 0 }];
        let world = World::new(SavedLocal { zones, ..SavedLocal::default() });
        assert!(world.dns.zones.is_empty());
    }
    let list = SavedList {
        name: "x".into(),
        is_download: false,
        etag: None,
        taken: UnixTime(1),
        text: Bytes::new(),
    };
    let world = World::new(SavedLocal { lists: vec![list], ..SavedLocal::default() });
    assert_eq!(world.names(), [""; 0]);
}
