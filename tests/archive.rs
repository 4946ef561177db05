//! The archive as people search it: odd names, odd places, other users.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dht_hunter::base::{Id, hash};
use dht_hunter::metadata::torrent::{Heard, parse};
use dht_hunter::metadata::verify;
use dht_hunter::model::StoreOp;
use dht_hunter::store::{Store, StoreConfig};

/// The info dictionary of one file of that name, with more keys before the name.
fn info(keys: &str, name: &[u8]) -> Vec<u8> {
    let mut info = format!("d{keys}6:lengthi5e4:name{}:", name.len()).into_bytes();
    info.extend_from_slice(name);
    info.extend_from_slice(b"12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    info
}

fn archive(folder: &Path, infos: &[Vec<u8>]) -> PathBuf {
    let db = folder.join("a.db");
    let config = StoreConfig { db: db.clone(), keep_info: true, ..StoreConfig::default() };
    let (mut store, _) = Store::open(config, || {}).unwrap();
    for info in infos {
        let proved = verify(Id(hash::sha1(info)), info).unwrap();
        let torrent = parse(info.clone().into(), proved, Heard::default()).unwrap();
        store.submit(StoreOp::Torrent(torrent.into())).unwrap();
    }
    store.close();
    db
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
    command.args(args).env_clear().env("HOME", "/nonexistent");
    command
}

fn run(db: &Path, args: &[&str]) -> Output {
    command(args).arg("--db").arg(db).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// How many torrents a search finds, and what it says beside.
fn found(db: &Path, words: &[&str]) -> (u64, String) {
    let output = run(db, &[&["--json", "search"], words].concat());
    let text = out(&output);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or("{}")).unwrap();
    (last["total"].as_u64().unwrap_or_else(|| panic!("{}{}", text, err(&output))), err(&output))
}

#[test]
fn names_are_found_as_people_type_them() {
    let folder = tempfile::tempdir().unwrap();
    let names: [&[u8]; 7] = [
        "Władysław Szpilman".as_bytes(),
        "\u{130}STANBUL".as_bytes(),
        "Ocean\u{2019}s Eleven".as_bytes(),
        b"The.Big.Short.2015",
        b"Short Big",
        "concert 🎸".as_bytes(),
        b"\xb5\xe7\xd3\xb0",
    ];
    let mut infos: Vec<Vec<u8>> = names[..6].iter().map(|name| info("", name)).collect();
    infos.push(info("8:encoding3:GBK", names[6]));
    let db = archive(folder.path(), &infos);
    for (words, count) in [
        (&["wladyslaw"][..], 1),
        (&["istanbul"], 1),
        (&["oceans"], 1),
        (&["ocean's"], 1),
        (&["big", "short"], 2),
        (&["\"big short\""], 1),
        (&["short", "-2015"], 1),
        (&["short", "-\"big short\""], 1),
        (&["-2015", "short"], 1),
        (&["-short"], 5),
        (&["🎸"], 1),
        (&["电影"], 1),
    ] {
        assert_eq!(found(&db, words), (count, String::new()), "{words:?}");
    }
    let typo = run(&db, &["search", "short", "--flies"]);
    assert_eq!((typo.status.code(), err(&typo).contains("--flies")), (Some(2), true), "{}", err(&typo));
}

#[test]
fn a_word_of_the_last_of_many_files_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut info = b"d5:filesl".to_vec();
    for number in 0..12_000 {
        let name = format!("Some rather long name of a file, number {number:x}, and what it is about.bin");
        info.extend_from_slice(format!("d6:lengthi1e4:pathl{}:{name}ee", name.len()).as_bytes());
    }
    info.extend_from_slice(
        b"d6:lengthi1e4:pathl9:haystackseee4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
    );
    let db = archive(folder.path(), &[info]);
    assert_eq!(found(&db, &["haystacks"]), (1, String::new()));
}

/// What hides, turns the line around or goes on for megabytes, in every way out.
#[test]
fn odd_names_do_no_harm_where_they_come_out() {
    let folder = tempfile::tempdir().unwrap();
    let odd = "odd\u{61c}\u{2028}\u{200b}\u{e0041}\u{1b}[2J\u{202e}".to_owned() + &"x".repeat(2 << 20);
    let db = archive(
        folder.path(),
        &[info("", odd.as_bytes()), info("", " =1+1 odd".as_bytes()), info("", b"odd \xe9\xff")],
    );
    let harmful =
        |text: &str| text.contains(['\u{61c}', '\u{2028}', '\u{200b}', '\u{e0041}', '\u{1b}', '\u{202e}']);
    for args in [
        &["search", "odd"][..],
        &["search", "odd", "--files"],
        &["--json", "search", "odd"],
        &["export", "odd", "--format", "csv", "-o", "-"],
        &["export", "odd", "--format", "jsonl", "-o", "-"],
        &["export", "odd", "--format", "magnet", "-o", "-"],
    ] {
        let output = run(&db, args);
        let text = out(&output);
        assert!(text.lines().count() >= 3 && !harmful(&text), "{args:?}: {}", err(&output));
        for line in
            text.lines().filter(|_| !args.contains(&"csv") && !args.contains(&"jsonl") && args[0] != "--json")
        {
            assert!(line.len() < 4_000, "{args:?}: {} bytes", line.len());
        }
    }
    let csv = out(&run(&db, &["export", "odd", "--format", "csv", "-o", "-"]));
    assert!(csv.contains(",\"' =1+1 odd\","), "a formula");
    let magnets = out(&run(&db, &["export", "odd", "--format", "magnet", "-o", "-"]));
    let encoded = magnets.lines().filter_map(|line| line.split("dn=").nth(1));
    for name in encoded {
        let bytes: Vec<u8> = percent_decoded(name);
        assert!(String::from_utf8(bytes).is_ok(), "{name}");
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}

#[test]
fn sizes_that_no_hash_covers_do_not_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let lie = b"d6:lengthi4611686018427387904e4:name8:size lie12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let db = archive(folder.path(), &[info("", b"size true"), lie.to_vec()]);
    let text = out(&run(&db, &["--json", "search", "size", "--sort", "size"]));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["name"], &lines[0]["overstated"]), (&"size true".into(), &false.into()));
    assert_eq!((&lines[1]["name"], &lines[1]["overstated"]), (&"size lie".into(), &true.into()));
}

#[test]
fn without_an_index_every_row_is_read_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let db = archive(folder.path(), &[info("", b"first"), info("", b"second")]);
    let index = folder.path().join("a.db.index");
    let list = index.join("meta.json");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text.replace("\"2:2\"", "\"1:2\"")).unwrap();
    let (count, said) = found(&db, &["first"]);
    assert!(count == 1 && said.contains("another version") && said.lines().count() == 1, "{said}");
    std::fs::write(&list, "{").unwrap();
    let (count, said) = found(&db, &["first"]);
    assert!(count == 1 && said.contains("damaged") && said.lines().count() == 1, "{said}");
    std::fs::remove_dir_all(&index).unwrap();
    let (count, said) = found(&db, &["first"]);
    assert!(count == 1 && said.contains("there is none") && said.lines().count() == 1, "{said}");
    // The next writer makes it.
    archive(folder.path(), &[]);
    assert_eq!(found(&db, &["first"]), (1, String::new()));
}

#[cfg(unix)]
mod unix {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;

    use super::*;

    fn rights(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_link_to_the_archive_finds_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let db = archive(folder.path(), &[info("", b"first")]);
        let link = folder.path().join("link");
        symlink(&db, &link).unwrap();
        assert_eq!(found(&link, &["first"]), (1, String::new()));
    }

    /// Another user, a folder that may not be written.
    #[test]
    fn an_index_is_read_where_nothing_may_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let db = archive(folder.path(), &[info("", b"first"), info("", b"second")]);
        let program = folder.path().join("dht-hunter");
        std::fs::copy(env!("CARGO_BIN_EXE_dht-hunter"), &program).unwrap();
        let index = folder.path().join("a.db.index");
        for entry in std::fs::read_dir(&index).unwrap() {
            let path = entry.unwrap().path();
            match path.to_string_lossy().ends_with(".lock") {
                true => std::fs::remove_file(path).unwrap(),
                false => std::fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap(),
            }
        }
        for (path, mode) in [(&db, 0o444), (&index, 0o555), (&folder.path().to_owned(), 0o555)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let mut search = Command::new(&program);
        search.args(["--json", "search", "first", "--db"]).arg(&db).env_clear().env("HOME", "/nonexistent");
        if std::fs::metadata(&db).unwrap().uid() == 0 {
            // The administrator may write everywhere; somebody else may not.
            search.uid(65_534).gid(65_534);
        }
        let output = search.output().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(out(&output).ends_with("{\"total\":1}\n"), "{}{}", out(&output), err(&output));
        assert_eq!(err(&output), "");
    }

    #[test]
    fn what_is_made_is_the_users_own_and_else_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let db = archive(folder.path(), &[info("", b"first")]);
        std::fs::set_permissions(&db, Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(folder.path().join("a.db.index"), Permissions::from_mode(0o755)).unwrap();
        let copy = folder.path().join("copy.db");
        let made = run(&db, &["db", "backup", copy.to_str().unwrap()]);
        assert!(made.status.success() && rights(&copy) == 0o600, "{}", err(&made));
        let said = err(&run(&db, &["db", "check"]));
        assert!(
            said.contains("0644") && said.contains("chmod 0600") && said.contains("chmod 0700"),
            "{said}"
        );
        std::fs::remove_dir_all(folder.path().join("a.db.index")).unwrap();
        assert!(run(&db, &["db", "reindex"]).status.success());
        assert_eq!(rights(&folder.path().join("a.db.index")), 0o700);
        let exported = folder.path().join("list.csv");
        assert!(run(&db, &["export", "--format", "csv", "-o", exported.to_str().unwrap()]).status.success());
        assert_ne!(rights(&exported), 0o600, "what is exported is for others");
    }

    #[test]
    fn a_new_archive_is_its_users_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let args =
            ["run", "--no-sweep", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--http", "off"];
        let mut child =
            command(&args).arg("--data-dir").arg(&home).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let log = std::io::BufReader::new(child.stderr.take().unwrap());
        let line =
            std::io::BufRead::lines(log).map_while(Result::ok).find(|line| line.contains("the archive is"));
        let names: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
        let all: Vec<_> = names.iter().map(|path| (path.is_dir(), rights(path))).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.is_some() && all.len() >= 3, "{names:?}");
        assert_eq!(rights(&home), 0o700);
        assert!(
            all.iter().all(|(is_dir, rights)| *rights == if *is_dir { 0o700 } else { 0o600 }),
            "{names:?} {all:?}"
        );
    }
}
