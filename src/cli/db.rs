//! `db`: care of the archive.

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::archive;
use super::args::{DbCommand, DbFile, DbPlace};
use super::failure::{Failure, Outcome};
use super::print::Out;
use super::units::{human_count, human_size};
use crate::store::{ArchiveError, CheckReport, restore};

/// Does one of them.
pub fn run(command: &DbCommand, json: bool) -> Result<Outcome, Failure> {
    match command {
        DbCommand::Check(args) => check(args, json),
        DbCommand::Compact(args) => compact(args, json),
        DbCommand::Backup(args) => backup(args),
        DbCommand::Restore(args) => put_back(args, json),
        DbCommand::Reindex(args) => reindex(args, json),
    }
}

fn check(args: &DbPlace, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    archive::exposed(&db).iter().for_each(|line| drop(writeln!(std::io::stderr(), "{line}")));
    let bar = bar("checking");
    let report = opened.check(&mut |done, total| advance(&bar, done, total));
    bar.finish_and_clear();
    let report = report.map_err(|fault| archive::failure(&db, fault))?;
    let mut out = Out::new();
    if json {
        out.json(&json!({
            "good": report.is_good(),
            "damage": report.damage,
            "file_lists_damaged": report.file_lists_damaged,
            "index_missing": report.index_missing,
            "index_extra": report.index_extra,
            "index_unreadable": report.index_unreadable,
            "raw_checked": report.raw_checked,
            "raw_wrong": report.raw_wrong.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        faults(&report).iter().try_for_each(|line| out.line(line))?;
        if report.is_good() {
            out.line(&format!("good; {} raw info dictionaries hashed", human_count(report.raw_checked)))?;
        }
    }
    out.flush()?;
    match report.is_good() {
        true => Ok(Outcome::Done),
        false => Err(Failure::failed(remedy(&report))),
    }
}

fn faults(report: &CheckReport) -> Vec<String> {
    let mut lines: Vec<String> = report.damage.clone();
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            lines.push(format!("{} {what}", human_count(number)));
        }
    };
    count(report.file_lists_damaged, "torrents have a damaged file list");
    count(report.index_missing, "torrents are missing from the search index");
    count(report.index_extra, "entries of the search index have no torrent");
    count(u64::from(report.index_unreadable), "search index cannot be read");
    lines.extend(
        report.raw_wrong.iter().map(|infohash| format!("{infohash}: its info dictionary has another hash")),
    );
    lines
}

fn remedy(report: &CheckReport) -> &'static str {
    let only_index =
        report.damage.is_empty() && report.raw_wrong.is_empty() && report.file_lists_damaged == 0;
    if only_index {
        "the search index differs from the archive; stop the engine and run `dht-hunter db reindex`"
    } else {
        "the archive is damaged; stop the engine and put a copy back with `dht-hunter db restore FILE`"
    }
}

fn compact(args: &DbPlace, json: bool) -> Result<Outcome, Failure> {
    let settings = args.place.settings()?;
    let db = settings.db.clone();
    let (before, after) =
        archive::keeper(&db, &settings)?.compact().map_err(|fault| archive::failure(&db, fault))?;
    let mut out = Out::new();
    if json {
        out.json(&json!({"before_bytes": before, "after_bytes": after}))?;
    } else {
        out.line(&format!("{} before, {} now", human_size(before), human_size(after)))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn backup(args: &DbFile) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let fail = |fault| archive::failure(&db, fault);
    if args.file == Path::new("-") {
        opened.backup_to(&mut std::io::stdout().lock()).map_err(fail)?;
        return Ok(Outcome::Done);
    }
    if args.file.exists() {
        return Err(Failure::failed(format!("{} exists already; give a new name", args.file.display())));
    }
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Failure::failed(format!("there is no folder {}; create it first", folder.display())));
    }
    opened.backup(&args.file).map_err(fail)?;
    Ok(Outcome::Done)
}

fn put_back(args: &DbFile, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    if let (Ok(from), Ok(to)) = (args.file.canonicalize(), db.canonicalize())
        && from == to
    {
        return Err(Failure::usage(format!(
            "{} is the archive itself; give a copy to restore",
            db.display()
        )));
    }
    restore(&db, &args.file).map_err(|fault| match fault {
        ArchiveError::Database(fault) => archive::open_failure(&blamed(&db, &args.file, fault), fault),
        other => archive::failure(&db, other),
    })?;
    let (from, to) = (args.file.display(), db.display());
    let mut out = Out::new();
    if json {
        out.json(&json!({"restored": from.to_string(), "db": to.to_string()}))?;
    } else {
        out.line(&format!("{from} is in place of {to}; the search index is made anew at the next start"))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Which of the two files a fault is about: only the archive's place can be locked or denied.
fn blamed(db: &Path, copy: &Path, fault: crate::store::OpenError) -> PathBuf {
    use crate::store::OpenError::{Denied, DiskFull, Locked, Missing, Newer, NotArchive, Other};
    match fault {
        Denied | DiskFull | Locked | Other => db.to_owned(),
        Missing | Newer { .. } | NotArchive => copy.to_owned(),
    }
}

fn reindex(args: &DbPlace, json: bool) -> Result<Outcome, Failure> {
    let settings = args.place.settings()?;
    let db = settings.db.clone();
    let bar = bar("indexing");
    let done = archive::keeper(&db, &settings)?.reindex(&mut |done, total| advance(&bar, done, total));
    bar.finish_and_clear();
    let count = done.map_err(|fault| archive::failure(&db, fault))?;
    let mut out = Out::new();
    if json {
        out.json(&json!({"indexed": count}))?;
    } else {
        out.line(&format!("{} torrents indexed", human_count(count)))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Shown on a terminal only.
fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn advance(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}
