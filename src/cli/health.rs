//! `health`: an exit code for container health checks.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::archive;
use super::args::Health;
use super::failure::{Failure, Outcome};
use super::print::Out;
use super::units::human_duration;

/// Healthy: the archive opens, and its engine wrote to it a short while ago. The engine saves what
/// it knows at least every few minutes, so silence means that it hangs or is gone.
pub fn run(args: &Health, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    drop(archive::open(&args.place)?);
    let silent = silence(&db);
    let healthy = silent.is_some_and(|silent| silent <= args.within);
    let mut out = Out::new();
    if json {
        out.json(&json!({"healthy": healthy, "last_write_s": silent.map(|silent| silent.as_secs())}))?;
        out.flush()?;
    }
    match silent {
        Some(_) if healthy => Ok(Outcome::Done),
        Some(silent) => Err(Failure::failed(format!(
            "the engine wrote nothing for {}; see its log, or allow more with --within",
            human_duration(silent)
        ))),
        None => {
            Err(Failure::failed(format!("{} has no time of writing; check the file system", db.display())))
        }
    }
}

/// Time since the database or its WAL was written.
fn silence(db: &Path) -> Option<Duration> {
    let mut wal = db.as_os_str().to_owned();
    wal.push("-wal");
    let written = |path: &Path| std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let last = written(db).max(written(Path::new(&wal)))?;
    Some(SystemTime::now().duration_since(last).unwrap_or_default())
}
