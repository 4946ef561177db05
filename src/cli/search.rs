//! `search`: torrents by words of their names and files.

use std::io::Write;

use serde_json::json;

use super::archive::{self, LIST_HEAD};
use super::args::{Search, Sort};
use super::failure::{Failure, Outcome};
use super::print::{Out, table};
use super::units::{human_count, human_size};
use crate::model::text::{NAME_CHARS_MAX, shortened};
use crate::store::search::tokenize;
use crate::store::{Found, Query};

/// Prints a page of hits and how many there are.
pub fn run(args: &Search, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let query = Query {
        words: args.words.join(" "),
        size_min_bytes: args.min_size.unwrap_or(0),
        sort: sort(args.sort),
        offset: args.offset as usize,
        limit: args.limit as usize,
    };
    let found = opened.search(&query).map_err(|fault| archive::failure(&db, fault))?;
    for note in &found.notes {
        drop(writeln!(std::io::stderr(), "{}", archive::note(note)));
    }
    let mut out = Out::new();
    if json {
        print_json(&mut out, &found, args.files)?
    } else {
        print_text(&mut out, &found, args)?
    }
    out.flush()?;
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

fn print_json(out: &mut Out, found: &Found, files: bool) -> Result<(), Failure> {
    for hit in &found.hits {
        out.json(&archive::to_json(hit, files))?;
    }
    out.json(&json!({"total": found.total}))
}

fn print_text(out: &mut Out, found: &Found, args: &Search) -> Result<(), Failure> {
    if found.total == 0 {
        return out.line("nothing found; try fewer or shorter words");
    }
    let now = archive::unix_now();
    let rows: Vec<_> = found.hits.iter().map(|hit| archive::list_row(hit, now)).collect();
    let lines = table(LIST_HEAD, &rows);
    let words = tokenize::query(&args.words.join(" "));
    for (index, line) in lines.iter().enumerate() {
        out.line(line)?;
        let Some(hit) = index.checked_sub(1).map(|index| &found.hits[index]).filter(|_| args.files) else {
            continue;
        };
        let matching = hit.files.iter().map(|file| (file.size_bytes, file.display_path()));
        for (size, path) in matching.filter(|(_, path)| words.any_in(path)).take(FILES_SHOWN_MAX) {
            out.line(&format!("    {:>10}  {}", human_size(size), shortened(&path, NAME_CHARS_MAX)))?;
        }
    }
    let shown = found.hits.len() as u64 + u64::from(args.offset);
    match found.total > shown {
        true => out.line(&format!("{} found; more with --offset {shown}", human_count(found.total))),
        false => out.line(&format!("{} found", human_count(found.total))),
    }
}

/// Files shown of one torrent; `show` lists them all.
const FILES_SHOWN_MAX: usize = 10;
