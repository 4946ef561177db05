//! `search`: torrents by words of their names and files.

use serde_json::json;

use super::archive::{self, LIST_HEAD};
use super::args::{Search, Sort};
use super::failure::{Failure, Outcome};
use super::print::{Out, note, table};
use super::units::{human_count, human_size};
use crate::model::text::{NAME_CHARS_MAX, shortened};
use crate::store::search::tokenize::{self, Term, Words};
use crate::store::{Archive, Found, Query, Stored};

/// Prints a page of hits and how many there are. Without words, or with `*`, these are all torrents,
/// the newest first.
pub fn run(args: &Search, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let words: Vec<&str> = args.words.iter().map(|word| word.trim()).filter(|word| !is_any(word)).collect();
    let query = Query {
        words: words.join(" "),
        size_min_bytes: args.min_size.unwrap_or(0),
        size_max_bytes: args.max_size,
        sort: match args.sort {
            Sort::Relevance if words.is_empty() => crate::store::Sort::New,
            other => sort(other),
        },
        offset: args.offset as usize,
        limit: args.limit as usize,
        ..Query::default()
    };
    let found = opened.search(&query).map_err(|fault| archive::failure(&db, fault))?;
    found.notes.iter().for_each(|about| note(&archive::note(about)));
    let mut out = Out::new();
    let asked = tokenize::query(&query.words);
    if json {
        print_json(&mut out, &found, args, &asked)?;
    } else {
        print_text(&mut out, &found, args, &asked)?;
    }
    out.flush()?;
    if found.total == 0 {
        note(&why_nothing(&opened, &db, &asked.all, args)?);
    } else if !json {
        let shown = found.hits.len() as u64 + u64::from(args.offset);
        let total = human_count(found.total);
        note(&match found.total > shown {
            true => format!("{total} found; more with --offset {shown}"),
            false => format!("{total} found"),
        });
    }
    Ok(Outcome::found(found.total > 0))
}

/// The order as the archive names it.
pub fn sort(sort: Sort) -> crate::store::Sort {
    match sort {
        Sort::Relevance => crate::store::Sort::Relevance,
        Sort::Seeders => crate::store::Sort::Seeders,
        Sort::Size => crate::store::Sort::Size,
        Sort::New => crate::store::Sort::New,
    }
}

fn is_any(word: &str) -> bool {
    word.chars().all(|c| c == '*')
}

fn print_json(out: &mut Out, found: &Found, args: &Search, words: &Words) -> Result<(), Failure> {
    for hit in &found.hits {
        let mut value = archive::to_json(hit, args.files);
        if let Some((_, path)) = files_of(hit, words).next() {
            value["matching_file"] = path.into();
        }
        out.json(&value)?;
    }
    out.json(&json!({"total": found.total}))
}

fn print_text(out: &mut Out, found: &Found, args: &Search, words: &Words) -> Result<(), Failure> {
    if found.hits.is_empty() {
        return Ok(());
    }
    let now = archive::unix_now();
    let rows: Vec<_> = found.hits.iter().map(|hit| archive::list_row(hit, now)).collect();
    for (index, line) in table(LIST_HEAD, &rows).iter().enumerate() {
        out.line(line)?;
        let Some(hit) = index.checked_sub(1).map(|index| &found.hits[index]) else { continue };
        let matching: Vec<(u64, String)> = match args.files {
            true => hit
                .files
                .iter()
                .map(|file| (file.size_bytes, file.display_path()))
                .filter(|(_, path)| words.any_in(path))
                .take(FILES_SHOWN_MAX)
                .collect(),
            false => files_of(hit, words).take(1).collect(),
        };
        for (size, path) in matching {
            out.line(&format!("    {:>10}  {}", human_size(size), shortened(&path, NAME_CHARS_MAX)))?;
        }
    }
    Ok(())
}

/// The files for which a torrent was found, if its name alone does not have all of the words: those
/// with one that the name lacks.
fn files_of(hit: &Stored, words: &Words) -> impl Iterator<Item = (u64, String)> {
    let lacking = words.lacking_in(&hit.display_name());
    let files = hit.files.iter().filter(move |_| !words.all.is_empty());
    let files = files.map(|file| (file.size_bytes, file.display_path()));
    files.filter(move |(_, path)| lacking.any_in(path))
}

/// What to try instead.
fn why_nothing(
    opened: &Archive,
    db: &std::path::Path,
    terms: &[Term],
    args: &Search,
) -> Result<String, Failure> {
    if args.min_size.is_some() || args.max_size.is_some() {
        return Ok("nothing found; try other sizes, or fewer or shorter words".to_owned());
    }
    if args.words.is_empty() {
        return Ok("nothing found: the archive is empty".to_owned());
    }
    let mut instead = Vec::new();
    for term in terms.iter().take(WORDS_MAX) {
        let (Term::Word(word) | Term::Starts(word)) = term;
        let query = Query { words: word.clone(), limit: 1, ..Query::default() };
        if opened.search(&query).map_err(|fault| archive::failure(db, fault))?.total > 0 {
            continue;
        }
        // An archive without an index has no list of words.
        let near = opened.nearest(word, NEAREST_MAX).unwrap_or_default();
        instead.push(match near.is_empty() {
            true => format!("`{word}` is nowhere"),
            false => format!("`{word}` is nowhere, near it are {}", near.join(", ")),
        });
    }
    Ok(match instead.is_empty() {
        true if terms.len() > 1 => {
            "nothing found: each word occurs, but no torrent has all of them".to_owned()
        }
        true => "nothing found; try fewer or shorter words".to_owned(),
        false => format!("nothing found: {}", instead.join("; ")),
    })
}

/// Files shown of one torrent; `show` lists them all.
const FILES_SHOWN_MAX: usize = 10;
/// Words of a query for which others are looked for.
const WORDS_MAX: usize = 8;
/// Words shown in place of one.
const NEAREST_MAX: usize = 3;
