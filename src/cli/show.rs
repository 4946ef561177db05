//! `show`: one torrent of the archive, with all its files.

use super::archive;
use super::args::Show;
use super::failure::{Failure, Outcome};
use super::print::{Out, note};
use super::target::{Start, Target, parse_target};
use super::torrent_json::hex;
use super::units::{counted, human_count, human_size};
use crate::base::UnixTime;
use crate::model::text::{NAME_CHARS_MAX, shortened};
use crate::store::Stored;

/// Prints it.
pub fn run(args: &Show, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let fail = |fault| archive::failure(&db, fault);
    let found = match &args.infohash {
        Start::Whole(Target { v2: Some(v2), .. }) => opened.torrent_v2(*v2).map_err(fail)?,
        Start::Whole(target) => opened.torrent(target.infohash).map_err(fail)?,
        Start::Digits(digits) => {
            let mut found = opened.starting_with(digits, SEVERAL_MAX + 1).map_err(fail)?;
            if found.len() > 1 {
                return Err(several(digits, &found));
            }
            if found.is_empty()
                && let Ok(target) = parse_target(digits)
            {
                found.extend(opened.torrent(target.infohash).map_err(fail)?);
            }
            found.pop()
        }
    };
    let mut out = Out::new();
    let Some(stored) = found else {
        note(&match &args.infohash {
            Start::Whole(target) => format!("{} is not in the archive", target.infohash),
            Start::Digits(digits) => {
                format!("no torrent of the archive has a hash that begins with {digits}")
            }
        });
        return Ok(Outcome::NothingFound);
    };
    if json {
        out.json(&archive::to_json(&stored, true))?
    } else {
        print(&mut out, &stored)?
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn several(digits: &str, found: &[Stored]) -> Failure {
    let some: Vec<String> = found.iter().take(SEVERAL_MAX).map(|one| one.infohash.to_string()).collect();
    let more = if found.len() > SEVERAL_MAX { " and others" } else { "" };
    Failure::failed(format!(
        "several hashes begin with {digits}: {}{more}; give more digits",
        some.join(", ")
    ))
}

fn print(out: &mut Out, stored: &Stored) -> Result<(), Failure> {
    let now = archive::unix_now();
    let ago = |then: UnixTime| format!("{} ago", archive::age(then, now));
    let kind = match stored.flags {
        flags if flags.v2_only => "v2",
        flags if flags.hybrid => "v1 and v2",
        _ => "v1",
    };
    let count = |(number, what)| counted(u64::from(number), what);
    let swarm = match (stored.seeders, stored.leechers) {
        (Some(seeders), Some(leechers)) => {
            let [seeders, leechers] = [(seeders, "seeder"), (leechers, "leecher")].map(count);
            format!("about {seeders}, {leechers}")
        }
        (Some(seeders), None) => format!("about {}", count((seeders, "seeder"))),
        (None, Some(peers)) => {
            format!("{} seen; how many of them are seeders is not known", count((peers, "peer")))
        }
        (None, None) => "not known".to_owned(),
    };
    let mut lines = vec![
        ("name", shortened(&stored.display_name(), SHOWN_CHARS_MAX).into_owned()),
        ("infohash", stored.infohash.to_string()),
    ];
    lines.extend(stored.v2.map(|v2| ("v2", hex(&v2))));
    lines.extend([
        ("size", size(stored)),
        ("files", human_count(u64::from(stored.file_count))),
        ("pieces", human_size(stored.piece_length)),
        ("kind", kind.to_owned()),
        ("category", stored.category.name().to_owned()),
        ("first seen", ago(stored.first_seen)),
        ("fetched", ago(stored.fetched)),
        ("last seen", ago(stored.last_seen)),
        ("swarm", swarm),
        ("magnet", archive::magnet(stored)),
    ]);
    if stored.flags.private {
        let at = lines.iter().position(|(name, _)| *name == "category").unwrap_or(lines.len());
        lines.insert(at, ("private", PRIVATE.to_owned()));
    }
    for (name, value) in lines {
        out.line(&format!("{name:<10}  {value}"))?;
    }
    for file in stored.files.iter() {
        out.line(&format!(
            "{:>10}  {}",
            human_size(file.size_bytes),
            shortened(&file.display_path(), SHOWN_CHARS_MAX)
        ))?;
    }
    Ok(())
}

fn size(stored: &Stored) -> String {
    let size = human_size(stored.size_bytes);
    match stored.flags.overstated {
        true => format!("{size} claimed; its hashes cover less, so it sorts as 0"),
        false => size,
    }
}

/// Characters of a name or a path: as long as file systems allow, four times over.
const SHOWN_CHARS_MAX: usize = 4 * NAME_CHARS_MAX;
/// BEP 27.
const PRIVATE: &str = "yes: its clients take peers from its own tracker alone, not from the DHT (BEP 27)";
/// Hashes that are named when several begin alike.
const SEVERAL_MAX: usize = 5;
