//! The commands on an archive as people use them: what they print and where, what they refuse, and
//! what can be taken back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use dht_hunter::base::{Id, UnixTime, hash};
use dht_hunter::model::{FileList, StoreOp, Torrent, TorrentFlags};
use dht_hunter::store::{Store, StoreConfig};
use serde_json::Value;

/// A torrent of one file, or of several that are not named like it.
fn torrent(number: u64, name: &str, files: &[&str]) -> Torrent {
    let mut list = FileList::default();
    for file in files {
        list.push(1 << 20, [b"folder", file.as_bytes()].into_iter());
    }
    if files.is_empty() {
        list.push(1 << 20, [name.as_bytes()].into_iter());
    }
    let raw = format!(
        "d6:lengthi1048576e4:name{}:{name}12:piece lengthi16384e6:pieces0:1:xi{number}ee",
        name.len()
    );
    Torrent {
        infohash: Id(hash::sha1(raw.as_bytes())),
        v2: None,
        name: name.as_bytes().to_vec(),
        size_bytes: (files.len().max(1) as u64) << 20,
        files: list,
        piece_length: 1 << 14,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(1_700_000_000),
        fetched: UnixTime(1_700_000_100 + number),
        peers: 3,
        raw: Bytes::from(raw),
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn with(torrents: Vec<Torrent>) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let config = StoreConfig { db: place.db(), keep_info: true, ..StoreConfig::default() };
        let (mut store, _) = Store::open(config, || {}).unwrap();
        for torrent in torrents {
            let mut op = Some(StoreOp::Torrent(Box::new(torrent)));
            while let Some(again) = op.take() {
                while store.poll().is_some() {}
                op = store.submit(again).err();
            }
        }
        store.close();
        place
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("a.db")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("TMPDIR", self.path());
        command.env("DB_PATH", "a.db").stdin(Stdio::null());
        Ran::of(command.output().unwrap())
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

fn harbours() -> Vec<Torrent> {
    vec![
        torrent(1, "Blue Harbour 2019", &[]),
        torrent(2, "Blue Harbour 2020", &[]),
        torrent(3, "Collected works", &["blue harbour.txt", "other.txt"]),
        torrent(4, "Green Meadow", &[]),
    ]
}

#[test]
fn a_deletion_looks_at_names_and_wants_a_yes() {
    let place = Place::with(harbours());
    let refused = place.run(&["delete", "blue", "harbour"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.out.starts_with("2 torrents, 2.00 MiB:\n") && refused.out.contains("Blue Harbour 2019"));
    assert!(refused.err.contains("--yes") && refused.err.contains("2 torrents"), "{}", refused.err);
    let json = place.run(&["delete", "blue", "--json"]);
    assert!(json.code == 2 && json.out.is_empty(), "{}", json.out);
    let dry = place.run(&["delete", "harbour", "--dry-run", "--json"]).json();
    assert_eq!(
        (dry.len(), dry[2]["deleted"].as_u64(), dry[2]["size_bytes"].as_u64()),
        (3, Some(2), Some(2 << 20))
    );
    let all = place.run(&["delete", "harbour", "--files", "--dry-run"]);
    assert!(all.out.ends_with("3 would be deleted\n"), "{}", all.out);
    assert_eq!(place.run(&["stats", "--json"]).json()[0]["torrents"], 4, "nothing was deleted so far");
    let done = place.run(&["delete", "harbour", "--yes"]);
    assert!(done.code == 0 && done.out.contains("2 deleted; `dht-hunter delete --undo`"), "{}", done.out);
    let stats = &place.run(&["stats", "--json"]).json()[0];
    assert_eq!((stats["torrents"].as_u64(), stats["deleted"].as_u64()), (Some(2), Some(2)));
    let none = place.run(&["delete", "harbour", "--yes"]);
    assert!(none.code == 3 && none.out.is_empty() && none.err.contains("--files"), "{}", none.err);
}

#[test]
fn a_deletion_can_be_undone_once_each_the_last_first() {
    let place = Place::with(harbours());
    let before = place.run(&["export"]).out;
    assert_eq!(place.run(&["delete", "blue", "--yes"]).code, 0);
    assert_eq!(place.run(&["delete", "meadow", "--yes"]).code, 0);
    let first = place.run(&["delete", "--undo"]);
    assert!(first.code == 0 && first.out.starts_with("1 torrent back in the archive"), "{}", first.out);
    assert_eq!(place.run(&["search", "meadow", "--json"]).json()[1]["total"], 1, "the index knows it again");
    let second = place.run(&["delete", "--undo", "--json"]).json();
    assert_eq!(second[0]["restored"], 2);
    let third = place.run(&["delete", "--undo"]);
    assert!(third.code == 3 && third.err.contains("7 days"), "{}", third.err);
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&place.run(&["export"]).out), lines(&before), "all of it is as it was");
    let stats = &place.run(&["stats", "--json"]).json()[0];
    assert_eq!((stats["deleted"].as_u64(), stats["raw"].as_u64()), (Some(0), Some(4)));
    let check = place.run(&["db", "check"]);
    assert!(check.code == 0, "{} {}", check.out, check.err);
    assert_eq!(place.run(&["delete", "blue", "--undo"]).code, 2, "words and --undo contradict each other");
}

#[test]
fn without_words_or_with_a_star_the_newest_come() {
    let place =
        Place::with((1..=30).map(|number| torrent(number, &format!("number {number}"), &[])).collect());
    for args in [&["search", "--json"][..], &["search", "*", "--json"], &["search", "", "--json"]] {
        let found = place.run(args).json();
        assert_eq!((found.len(), found[20]["total"].as_u64()), (21, Some(30)), "{args:?}");
        assert_eq!(
            (found[0]["name"].as_str(), found[19]["name"].as_str()),
            (Some("number 30"), Some("number 11"))
        );
    }
    let text = place.run(&["search"]);
    assert_eq!(
        (text.code, text.out.lines().count(), text.err.trim()),
        (0, 21, "30 found; more with --offset 20")
    );
}

#[test]
fn what_is_no_result_is_not_on_standard_output() {
    let place = Place::with(harbours());
    let missing = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    for args in [
        &["search", "nowhere"][..],
        &["show", missing],
        &["delete", "nowhere", "--yes"],
        &["export", missing],
    ] {
        let ran = place.run(args);
        assert!(
            ran.code == 3 && ran.out.is_empty() && !ran.err.is_empty(),
            "{args:?}: {} {}",
            ran.out,
            ran.err
        );
    }
}

#[test]
fn a_slip_of_the_fingers_gives_the_nearest_words() {
    let place = Place::with(harbours());
    for (typed, meant) in
        [("harbuor", "harbour"), ("harbor", "harbour"), ("meadwo", "meadow"), ("bleu", "blue")]
    {
        let ran = place.run(&["search", typed]);
        assert!(ran.code == 3 && ran.err.contains(typed) && ran.err.contains(meant), "{typed}: {}", ran.err);
    }
    let apart = place.run(&["search", "blue", "meadow"]);
    assert!(apart.code == 3 && apart.err.contains("no torrent has all of them"), "{}", apart.err);
}

#[test]
fn a_size_has_two_ends_and_the_matching_file_is_shown() {
    let place = Place::with(harbours());
    let total = |args: &[&str]| {
        let found = place.run(&[&["search", "harbour", "--json"], args].concat()).json();
        found.last().unwrap()["total"].as_u64().unwrap()
    };
    assert_eq!((total(&[]), total(&["--max-size", "1MiB"]), total(&["--min-size", "2MiB"])), (3, 2, 1));
    assert_eq!(
        (total(&["--max-size", "1KiB"]), total(&["--min-size", "1MiB", "--max-size", "2MiB"])),
        (0, 3)
    );
    let text = place.run(&["search", "harbour"]);
    let lines: Vec<&str> = text.out.lines().collect();
    let at = lines.iter().position(|line| line.ends_with("Collected works")).unwrap();
    assert!(lines[at + 1].ends_with("folder/blue harbour.txt"), "{}", text.out);
    assert_eq!(lines.len(), 5, "none under those that match by name: {}", text.out);
}

#[test]
fn a_torrent_is_shown_by_the_beginning_of_its_hash() {
    let mut all: Vec<Torrent> =
        (1..=400).map(|number| torrent(number, &format!("number {number}"), &[])).collect();
    all[0].flags.private = true;
    let first = all[0].infohash.to_string();
    let place = Place::with(all);
    let start = (4..40).find(|len| place.run(&["show", &first[..*len]]).code == 0).unwrap();
    let shown = place.run(&["show", &first[..start].to_uppercase()]);
    assert!(shown.out.contains(&first) && shown.out.contains("(BEP 27)"), "{}", shown.out);
    assert_eq!(place.run(&["show", "123"]).code, 2, "too few digits");
    let unknown = place.run(&["show", &format!("{}{}", &first[..20], "zz")]);
    assert_eq!(unknown.code, 2, "no digits");
}

#[test]
fn several_of_one_beginning_are_named() {
    let mut all: Vec<Torrent> = (1..=3).map(|number| torrent(number, "twin", &[])).collect();
    for (last, one) in all.iter_mut().enumerate() {
        one.infohash = Id([&[0xab; 19][..], &[last as u8]].concat().try_into().unwrap());
    }
    let place = Place::with(all);
    let ran = place.run(&["show", "abababab"]);
    assert!(
        ran.code == 1 && ran.out.is_empty() && ran.err.contains("several hashes begin with"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains(&format!("{}00", "ab".repeat(19))) && ran.err.trim().lines().count() == 1);
    assert_eq!(place.run(&["show", &format!("{}02", "ab".repeat(19))]).code, 0);
}

#[test]
fn numbers_add_up_and_a_file_can_be_named() {
    let place = Place::with(harbours());
    place.run(&["delete", "meadow", "--yes"]);
    let stats = &place.run(&["stats", "a.db", "--json"]).json()[0];
    let number = |name: &str| stats[name].as_u64().unwrap();
    let parts = ["torrents", "pending", "given_up", "refused", "evicted", "deleted"].map(number);
    assert_eq!((number("found"), parts.iter().sum::<u64>()), (4, 4));
    let text = place.run(&["stats", "a.db"]).out;
    assert!(text.lines().any(|line| line.split_whitespace().eq(["found", "4"])), "{text}");
    assert_eq!(place.run(&["stats", "none.db"]).code, 1);
}

#[test]
fn an_export_is_compared_and_replaced_as_a_whole() {
    let place = Place::with(harbours());
    std::fs::create_dir(place.path().join("out")).unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(place.path().join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    assert_eq!(place.run(&["export", "--format", "torrent", "-o", "out"]).code, 0);
    let files = names();
    assert_eq!(files.len(), 4);
    let whole = std::fs::read(&files[0]).unwrap();
    for broken in [&b""[..], &whole[..whole.len() - 3]] {
        std::fs::write(&files[0], broken).unwrap();
        assert_eq!(place.run(&["export", "--format", "torrent", "-o", "out"]).code, 0);
        assert_eq!(std::fs::read(&files[0]).unwrap(), whole);
    }
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::create_dir(&files[0]).unwrap();
    let folder = place.run(&["export", "--format", "torrent", "-o", "out"]);
    assert!(folder.code == 1 && folder.err.contains("is a folder"), "{}", folder.err);
    std::fs::write(place.path().join("list.csv"), "old").unwrap();
    assert_eq!(place.run(&["export", "--format", "csv", "-o", "list.csv"]).code, 0);
    assert_eq!(std::fs::read_to_string(place.path().join("list.csv")).unwrap().lines().count(), 5);
    assert_eq!(names(), files, "nothing else is left there");
}

#[test]
fn an_export_says_which_hash_each_answer_belongs_to() {
    let mut hybrid = torrent(9, "hybrid", &[]);
    hybrid.v2 = Some([7; 32]);
    hybrid.flags.hybrid = true;
    let (v1, v2) = (hybrid.infohash.to_string(), "07".repeat(32));
    let place = Place::with(vec![hybrid]);
    let both = place.run(&["export", &v1, &v2]).json();
    assert_eq!(both.len(), 1, "one torrent is one line");
    assert_eq!(both[0]["asked"], serde_json::json!([v1, v2]));
    let missing = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
    let some = place.run(&["export", &v2, missing]);
    assert!(some.code == 1 && some.err.contains(&format!("{missing} is not in the archive")), "{}", some.err);
    assert_eq!(some.json()[0]["asked"], serde_json::json!([v2]));
    let magnet = place.run(&["export", &v2, "--format", "magnet"]);
    assert!(magnet.err.contains(&format!("{v2} is the torrent {v1}")), "{}", magnet.err);
}

#[cfg(unix)]
#[test]
fn an_export_replaces_a_link_and_does_not_follow_it() {
    let place = Place::with(harbours());
    let (link, other) = (place.path().join("list.csv"), place.path().join("precious"));
    std::fs::write(&other, "precious").unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    assert_eq!(place.run(&["export", "--format", "csv", "-o", "list.csv"]).code, 0);
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
    assert!(link.symlink_metadata().unwrap().is_file());
}

/// A full disk fails the command, and the file that was there stays.
#[cfg(target_os = "linux")]
#[test]
fn a_device_is_written_to_as_it_is_and_a_full_one_fails() {
    let place = Place::with(harbours());
    assert_eq!(place.run(&["export", "-o", "/dev/null"]).code, 0);
    let full = place.run(&["export", "-o", "/dev/full"]);
    assert!(full.code == 1 && full.err.contains("/dev/full"), "{}", full.err);
    assert!(Path::new("/dev/null").exists() && !Path::new("/dev/null").is_file());
}

#[test]
fn too_small_a_limit_of_the_disk_is_refused() {
    let place = Place::with(harbours());
    for (value, part) in [("200", "GiB"), ("999999", "GiB"), ("200B", "at least"), ("100kB", "at least")] {
        let ran =
            place.run(&["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--disk-max", value]);
        assert!(
            ran.code == 2 && ran.err.contains("--disk-max") && ran.err.contains(part),
            "{value}: {}",
            ran.err
        );
    }
    std::fs::write(place.path().join("c.toml"), "disk-max = \"500\"\n").unwrap();
    let ran =
        place.run(&["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--config", "c.toml"]);
    assert!(ran.code == 2 && ran.err.contains("disk-max"), "{}", ran.err);
    assert_eq!(place.run(&["stats", "--json"]).json()[0]["torrents"], 4);
}

#[test]
fn a_log_is_kept_by_commands_that_are_asked_to() {
    let place = Place::with(harbours());
    let quiet = place.run(&["search", "harbour"]);
    assert_eq!(quiet.err, "3 found\n");
    let loud = place.run(&["search", "harbour", "--log", "debug"]);
    assert!(!loud.err.contains("tantivy") && loud.err.ends_with("3 found\n"), "{}", loud.err);
    let ping = place.run(&["ping", "127.0.0.1:9", "--timeout", "1s", "--log", "debug"]);
    assert!(ping.err.lines().any(|line| line.contains("DEBUG")), "{}", ping.err);
}

/// A command that goes on until it is interrupted.
struct Running {
    child: std::process::Child,
    said: PathBuf,
}

impl Running {
    fn start(place: &Place, args: &[&str]) -> Self {
        let said = place.path().join("stderr");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
        command.args(args).current_dir(place.path()).env_clear().env("HOME", place.path());
        command.env("TMPDIR", place.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        Self { child, said }
    }

    /// Waits until standard error has this; the rest of the test would be in vain otherwise.
    fn says(&mut self, part: &str) {
        for _ in 0..3_000 {
            if std::fs::read_to_string(&self.said).unwrap().contains(part) {
                return;
            }
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "{}",
                std::fs::read_to_string(&self.said).unwrap()
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("never said `{part}`: {}", std::fs::read_to_string(&self.said).unwrap());
    }

    /// As Ctrl-C ends it.
    fn end(mut self) -> Ran {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let mut out = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut out).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        Ran { code, out, err: std::fs::read_to_string(&self.said).unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_at_the_warning_keeps_everything() {
    let name = |number: u64| format!("{number} {}", "a long name of a torrent ".repeat(30));
    let place = Place::with((1..=1_500).map(|number| torrent(number, &name(number), &[])).collect());
    let listen = ["--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--db", "a.db"];
    let mut running = Running::start(&place, &[&["run", "--disk-max", "1MiB"], &listen[..]].concat());
    running.says("of 1,500 torrents go");
    let ran = running.end();
    assert!(ran.code == 0 && ran.err.contains("stopped; 0 new torrents"), "{}", ran.err);
    let stats = &place.run(&["stats", "--json"]).json()[0];
    assert_eq!((stats["torrents"].as_u64(), stats["evicted"].as_u64()), (Some(1_500), Some(0)));
}

#[cfg(unix)]
#[test]
fn a_new_archive_begins_without_a_word_about_its_schema() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let args =
        ["run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--db", "new.db", "--log", "debug"];
    let mut running = Running::start(&place, &args);
    running.says("the archive is");
    let ran = running.end();
    assert!(ran.code == 0 && !ran.err.contains("schema") && !ran.err.contains("tantivy"), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn a_demo_prints_nothing_but_json_if_asked_and_counts_only_what_is_new() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let demo = ["demo", "--nodes", "100", "--torrents", "40", "--db", "d.db", "--json"];
    let run = || {
        let mut running = Running::start(&place, &demo);
        running.says("dht-hunter search --db d.db");
        running.end()
    };
    let first = run();
    let rows = first.json();
    let (begun, done) = (&rows[0], &rows[rows.len() - 1]["done"]);
    assert_eq!((begun["stored_before"].as_u64(), begun["db"].as_str()), (Some(0), Some("d.db")));
    let stored = done["stored"].as_u64().unwrap();
    assert!(stored >= 39 && stored + done["missing"].as_u64().unwrap() == 40, "{done}");
    let again = run().json();
    let done = &again[again.len() - 1]["done"];
    assert_eq!(again[0]["stored_before"].as_u64(), Some(stored));
    assert_eq!(done["stored_before"].as_u64(), Some(stored), "what was there before is not new: {done}");
    assert!(done["stored"].as_u64().unwrap() <= 40 - stored, "{done}");
}

#[cfg(unix)]
#[test]
fn whoever_asks_beside_a_demo_is_told_where_its_archive_is() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let mut running = Running::start(&place, &["demo", "--nodes", "50", "--torrents", "20"]);
    running.says("in another terminal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
    command.arg("stats").current_dir(place.path()).env_clear().env("HOME", place.path());
    let ran = Ran::of(command.env("TMPDIR", place.path()).output().unwrap());
    assert!(ran.code == 1 && ran.err.contains("dht-hunter-demo-"), "{}", ran.err);
    let (_, db) = ran.err.trim().rsplit_once("--db ").unwrap();
    assert_eq!(place.run(&["stats", db]).code, 0, "{db}");
    assert_eq!(running.end().code, 0);
}

#[test]
fn names_come_before_the_names_of_files() {
    let mut all: Vec<Torrent> = (1..=60)
        .map(|number| torrent(number, &format!("{number}"), &["amber comet.mp3", "amber", "comet"]))
        .collect();
    let long = format!("{} amber {} comet", "many words of a name ".repeat(5), "and more of them ".repeat(5));
    all.insert(20, torrent(100, &long, &[]));
    all.insert(40, torrent(101, "Comet, Amber", &["x.mp3"]));
    all.insert(50, torrent(102, "Amber alone", &["comet.mp3"]));
    let place = Place::with(all);
    for words in [&["amber", "comet"][..], &["amber", "com"]] {
        let found = place.run(&[&["search", "--json", "--limit", "5"], words].concat()).json();
        let names: Vec<&str> = found[..2].iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"Comet, Amber") && names.contains(&long.as_str()), "{words:?}: {names:?}");
        assert_eq!(found[5]["total"], 63);
    }
    let page = |offset: &str| {
        let found =
            place.run(&["search", "amber", "comet", "--json", "--limit", "10", "--offset", offset]).json();
        found[..found.len() - 1]
            .iter()
            .map(|row| row["infohash"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut every: Vec<String> =
        ["0", "10", "20", "30", "40", "50", "60"].iter().flat_map(|at| page(at)).collect();
    every.sort();
    every.dedup();
    assert_eq!(every.len(), 63, "pages neither repeat nor lose a hit");
}
