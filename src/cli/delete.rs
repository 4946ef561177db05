//! `delete`: removes what matches, after it was shown and confirmed, and brings it back.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::json;

use super::archive::{self, LIST_HEAD};
use super::args::Delete;
use super::export::Meant;
use super::failure::{Failure, Outcome};
use super::print::{Out, note, table};
use super::units::{human_count, human_size};
use crate::store::{Archive, Keeper, Scope, Stored, UNDO_DAYS};

/// Shows how many torrents match, how large they are and some of them, asks, and removes them. Their
/// hashes are kept, so that they stay away.
pub fn run(args: &Delete, json: bool) -> Result<Outcome, Failure> {
    if args.undo {
        return undo(args, json);
    }
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let scope = if args.files { Scope::Everything } else { Scope::Names };
    let meant = Meant::within(&opened, &db, &args.query, scope)?;
    meant.missing.iter().for_each(|asked| note(&format!("{asked} is not in the archive")));
    let ids: Vec<i64> = meant.rows().map(|(id, _)| id).collect();
    let bytes = opened.content_bytes(&ids).map_err(|fault| archive::failure(&db, fault))?;
    let mut out = Out::new();
    if ids.is_empty() {
        if json {
            out.json(&json!({"deleted": 0, "size_bytes": 0, "dry_run": args.dry_run}))?;
        } else {
            note(nothing(args, &meant));
        }
        out.flush()?;
        return Ok(Outcome::NothingFound);
    }
    let what = format!("{}, {}", counted(ids.len() as u64), human_size(bytes));
    if args.dry_run || !json {
        show(&mut out, &opened, &db, (&ids, &what), (args.dry_run, json))?;
    }
    out.flush()?;
    drop(opened);
    let deleted = match args.dry_run {
        true => ids.len() as u64,
        false if !confirmed(args, &what)? => return Err(Failure::failed("nothing was deleted")),
        false => {
            let mut keeper = Keeper::open(&db).map_err(|fault| archive::open_failure(&db, fault))?;
            let rule = format!("delete {}", args.query.join(" "));
            keeper.delete_rows(&ids, &rule).map_err(|fault| archive::failure(&db, fault))?
        }
    };
    if json {
        out.json(&json!({"deleted": deleted, "size_bytes": bytes, "dry_run": args.dry_run}))?;
    } else if args.dry_run {
        out.line(&format!("{} would be deleted", human_count(deleted)))?;
    } else {
        out.line(&format!(
            "{} deleted; `dht-hunter delete --undo` brings them back, for {UNDO_DAYS} days",
            human_count(deleted)
        ))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Brings back what the last deletion took.
fn undo(args: &Delete, json: bool) -> Result<Outcome, Failure> {
    let settings = args.place.settings()?;
    let db = settings.db.clone();
    let mut keeper = archive::keeper(&db, &settings)?;
    let undone = keeper.undo().map_err(|fault| archive::failure(&db, fault))?;
    let mut out = Out::new();
    let restored = undone.map_or(0, |undone| undone.restored);
    if json {
        out.json(&json!({"restored": restored, "deleted_at": undone.map(|undone| undone.deleted_at.0)}))?;
    } else if let Some(undone) = undone {
        let ago = archive::age(undone.deleted_at, archive::unix_now());
        out.line(&format!("{} back in the archive, deleted {ago} ago", counted(undone.restored)))?;
    } else {
        note(&format!("nothing was deleted within the last {UNDO_DAYS} days"));
    }
    out.flush()?;
    Ok(Outcome::found(undone.is_some()))
}

/// How many there are, their size, and examples: ten, or for a dry run all up to a limit.
fn show(
    out: &mut Out,
    opened: &Archive,
    db: &std::path::Path,
    (ids, what): (&[i64], &str),
    (dry_run, json): (bool, bool),
) -> Result<(), Failure> {
    let most = if dry_run { SHOWN_MAX } else { EXAMPLES };
    let mut shown: Vec<Stored> = Vec::new();
    for id in ids.iter().take(most) {
        shown.extend(opened.row(*id).map_err(|fault| archive::failure(db, fault))?);
    }
    if json {
        return shown.iter().try_for_each(|stored| out.json(&archive::to_json(stored, false)));
    }
    let some = if shown.len() < ids.len() { format!("; {} of them", shown.len()) } else { String::new() };
    out.line(&format!("{what}{some}:"))?;
    let now = archive::unix_now();
    let rows: Vec<_> = shown.iter().map(|stored| archive::list_row(stored, now)).collect();
    table(LIST_HEAD, &rows).iter().try_for_each(|line| out.line(line))
}

/// Whether it is to be done: by `--yes`, or by who sits at the terminal.
fn confirmed(args: &Delete, what: &str) -> Result<bool, Failure> {
    if args.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "{what}: nothing was deleted, because nobody can be asked here; give --yes to delete, --dry-run to see all of them"
        )));
    }
    let mut stderr = std::io::stderr();
    drop(write!(stderr, "delete {what}? [y/N] ").and_then(|()| stderr.flush()));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn nothing(args: &Delete, meant: &Meant) -> &'static str {
    match (args.files, meant.by_hash) {
        (_, true) => "nothing to delete",
        (true, false) => "nothing to delete: no name and no file has all of these words",
        (false, false) => {
            "nothing to delete: no torrent has all of these words in its name; --files looks at the names of files, too"
        }
    }
}

fn counted(number: u64) -> String {
    format!("{} torrent{}", human_count(number), if number == 1 { "" } else { "s" })
}

/// Torrents that are shown before they are deleted.
const EXAMPLES: usize = 10;
/// Torrents that a dry run lists; the count is of all.
const SHOWN_MAX: usize = 1_000;
