//! `delete`: removes what matches, for ever.

use serde_json::json;

use super::archive::{self, LIST_HEAD};
use super::args::Delete;
use super::export::matching;
use super::failure::{Failure, Outcome};
use super::print::{Out, table};
use super::units::human_count;
use crate::store::Keeper;

/// Removes torrents, and keeps their hashes so that they stay away; with `--dry-run` says which.
pub fn run(args: &Delete, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let ids = matching(&opened, &db, &args.query)?;
    let mut out = Out::new();
    let count = if args.dry_run {
        let mut shown = Vec::new();
        for id in ids.iter().take(SHOWN_MAX) {
            shown.extend(opened.row(*id).map_err(|fault| archive::failure(&db, fault))?);
        }
        if json {
            shown.iter().try_for_each(|stored| out.json(&archive::to_json(stored, false)))?;
        } else if !shown.is_empty() {
            let now = archive::unix_now();
            let rows: Vec<_> = shown.iter().map(|stored| archive::list_row(stored, now)).collect();
            table(LIST_HEAD, &rows).iter().try_for_each(|line| out.line(line))?;
        }
        ids.len() as u64
    } else {
        drop(opened);
        let mut keeper = Keeper::open(&db).map_err(|fault| archive::open_failure(&db, fault))?;
        let rule = format!("delete {}", args.query.join(" "));
        keeper.delete_rows(&ids, &rule).map_err(|fault| archive::failure(&db, fault))?
    };
    let verb = if args.dry_run { "would be deleted" } else { "deleted" };
    if json {
        out.json(&json!({"deleted": count, "dry_run": args.dry_run}))?;
    } else {
        out.line(&format!("{} {verb}", human_count(count)))?;
    }
    out.flush()?;
    Ok(Outcome::found(count > 0))
}

/// Torrents that a dry run lists; the count is of all.
const SHOWN_MAX: usize = 1_000;
