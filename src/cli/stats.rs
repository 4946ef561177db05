//! `stats`: what the archive holds.

use serde_json::{Value, json};

use super::archive;
use super::args::Stats;
use super::failure::{Failure, Outcome};
use super::print::Out;
use super::reasons;
use super::units::{human_count, human_size};
use crate::engine::FAILURES_NAME;
use crate::metadata::Failures;
use crate::store::{Category, Numbers};

/// Prints it.
pub fn run(args: &Stats, json: bool) -> Result<Outcome, Failure> {
    let settings = args.place.settings()?;
    let db = args.file.clone().unwrap_or_else(|| settings.db.clone());
    let opened = archive::open_at(&db, &settings)?;
    let numbers = opened.stats().map_err(|fault| archive::failure(&db, fault))?;
    let kept = opened.settings().map_err(|fault| archive::failure(&db, fault))?;
    let failures = kept.iter().find(|(name, _)| name == FAILURES_NAME);
    let failures = failures.map(|(_, text)| Failures::from_text(text)).unwrap_or_default();
    let mut out = Out::new();
    if json {
        let mut value = to_json(&numbers);
        value["fetch_failures"] = reasons::as_json(&failures);
        out.json(&value)?;
    } else {
        for (name, value) in lines(&numbers) {
            out.line(&format!("{name:<12}  {value}"))?;
        }
        // Each is a connection to one peer; most torrents come from another.
        if failures.total() > 0 {
            let total = human_count(failures.total());
            out.line(&format!(
                "{:<12}  {total}: {}",
                "peers failed",
                reasons::shares(&failures, usize::MAX)
            ))?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn lines(numbers: &Numbers) -> Vec<(&'static str, String)> {
    let [given_up, evicted, refused, deleted] = numbers.known.map(human_count);
    let mut lines = vec![
        ("found", human_count(numbers.found())),
        ("  stored", human_count(numbers.torrents)),
        ("  waiting", human_count(numbers.pending)),
        ("  given up", given_up),
        ("  refused", refused),
        ("  evicted", evicted),
        ("  deleted", deleted),
        ("torrents", human_count(numbers.torrents)),
        ("files", human_count(numbers.files)),
        ("content", human_size(numbers.content_bytes)),
    ];
    for category in Category::ALL {
        let count = numbers.categories[category as usize];
        if count > 0 {
            lines.push((category.name(), human_count(count)));
        }
    }
    lines.extend([
        ("raw kept", human_count(numbers.raw)),
        ("nodes saved", human_count(numbers.nodes)),
        ("database", human_size(numbers.database_bytes)),
        ("index", human_size(numbers.index_bytes)),
    ]);
    if let Some((_, last)) = numbers.fetched {
        lines.push(("last fetched", format!("{} ago", archive::age(last, archive::unix_now()))));
    }
    lines
}

fn to_json(numbers: &Numbers) -> Value {
    let [given_up, evicted, refused, deleted] = numbers.known;
    let categories: serde_json::Map<String, Value> = Category::ALL
        .iter()
        .map(|category| (category.name().to_owned(), numbers.categories[*category as usize].into()))
        .collect();
    json!({
        "found": numbers.found(),
        "torrents": numbers.torrents,
        "files": numbers.files,
        "content_bytes": numbers.content_bytes,
        "categories": categories,
        "raw": numbers.raw,
        "pending": numbers.pending,
        "given_up": given_up,
        "evicted": evicted,
        "refused": refused,
        "deleted": deleted,
        "nodes": numbers.nodes,
        "database_bytes": numbers.database_bytes,
        "index_bytes": numbers.index_bytes,
        "first_fetched": numbers.fetched.map(|(first, _)| first.0),
        "last_fetched": numbers.fetched.map(|(_, last)| last.0),
    })
}
