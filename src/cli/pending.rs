//! `pending`: what waits to be fetched, why, and what was given up. `retry`: has it tried again.

use clap::Args;
use serde_json::json;

use super::archive;
use super::failure::{Failure, Outcome};
use super::flags::PlaceFlags;
use super::print::{Align, Out, table};
use super::target::{Target, parse_target};
use super::units::human_count;
use crate::base::UnixTime;
use crate::model::{Pending, PendingState};
use crate::store::{Keeper, Retried};

/// `pending`
#[derive(Debug, Args)]
pub struct PendingArgs {
    /// What was given up instead: it is tried again if a new peer announces itself, or by `retry`
    #[arg(long)]
    pub given_up: bool,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 100)]
    pub limit: u32,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `retry`
#[derive(Debug, Args)]
pub struct Retry {
    /// Hex, base32, magnet or v2; may be given several times
    #[arg(value_name = "INFOHASH", value_parser = parse_target, required_unless_present = "all", conflicts_with = "all")]
    pub infohashes: Vec<Target>,
    /// Everything that waits or was given up
    #[arg(long)]
    pub all: bool,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Lists one or the other, and says how many there are in all.
pub fn list(args: &PendingArgs, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let fail = |fault| archive::failure(&db, fault);
    let now = archive::unix_now();
    let mut out = Out::new();
    let shown = if args.given_up {
        let rows = opened.given_up(args.limit).map_err(fail)?;
        let line = |(infohash, at): &(crate::base::InfoHash, UnixTime)| {
            [infohash.to_string(), format!("{} ago", archive::age(*at, now))]
        };
        if json {
            rows.iter().try_for_each(|(infohash, at)| {
                out.json(&json!({"infohash": infohash.to_string(), "given_up": at.0}))
            })?;
        } else if !rows.is_empty() {
            let lines: Vec<_> = rows.iter().map(line).collect();
            table([("infohash", Align::Left), ("given up", Align::Left)], &lines)
                .iter()
                .try_for_each(|line| out.line(line))?;
        }
        rows.len()
    } else {
        let rows = opened.pending(args.limit).map_err(fail)?;
        if json {
            rows.iter().try_for_each(|row| out.json(&to_json(row)))?;
        } else if !rows.is_empty() {
            let lines: Vec<_> = rows.iter().map(|row| to_row(row, now)).collect();
            table(HEAD, &lines).iter().try_for_each(|line| out.line(line))?;
        }
        rows.len()
    };
    if !json {
        let (waiting, given_up) = opened.waiting().map_err(fail)?;
        let (waiting, given_up) = (human_count(waiting), human_count(given_up));
        out.line(&format!("{waiting} wait to be fetched, {given_up} were given up"))?;
    }
    out.flush()?;
    Ok(Outcome::found(shown > 0))
}

/// Has hashes tried again at the next start of the engine.
pub fn retry(args: &Retry, json: bool) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let mut keeper = Keeper::open(&db).map_err(|fault| archive::open_failure(&db, fault))?;
    let fail = |fault| archive::failure(&db, fault);
    let mut sum = Retried::default();
    let mut unknown = Vec::new();
    if args.all {
        sum = keeper.retry_all().map_err(fail)?;
    }
    for target in &args.infohashes {
        let one = keeper.retry(target.infohash).map_err(fail)?;
        if one == Retried::default() {
            unknown.push(target.infohash.to_string());
        }
        sum.given_up += one.given_up;
        sum.waiting += one.waiting;
    }
    let mut out = Out::new();
    if json {
        out.json(&json!({
            "given_up": sum.given_up, "waiting": sum.waiting, "left": sum.left, "unknown": unknown,
        }))?;
    } else {
        for infohash in &unknown {
            out.line(&format!("{infohash} neither waits nor was given up; `fetch` gets it at once"))?;
        }
        let (given_up, waiting) = (human_count(sum.given_up), human_count(sum.waiting));
        out.line(&format!(
            "{given_up} that were given up and {waiting} that waited are tried from the next start of `run` on"
        ))?;
        if sum.left > 0 {
            out.line(&format!("{} stay given up: no more can wait at once", human_count(sum.left)))?;
        }
    }
    out.flush()?;
    Ok(Outcome::found(sum.given_up + sum.waiting > 0))
}

fn to_row(row: &Pending, now: UnixTime) -> [String; 5] {
    let next = match row.not_before.secs_since(now) {
        0 => "now".to_owned(),
        _ => format!("in {}", archive::age(now, row.not_before)),
    };
    let seen = format!("{} ago", archive::age(row.first_seen, now));
    [row.infohash.to_string(), reason(row.state).to_owned(), row.tries.to_string(), next, seen]
}

fn to_json(row: &Pending) -> serde_json::Value {
    json!({
        "infohash": row.infohash.to_string(),
        "reason": reason(row.state),
        "tries": row.tries,
        "not_before": row.not_before.0,
        "first_seen": row.first_seen.0,
    })
}

fn reason(state: PendingState) -> &'static str {
    match state {
        PendingState::New => "not tried yet",
        PendingState::NoPeers => "no peers found",
        PendingState::PeersFailed => "no peer delivered",
    }
}

const HEAD: [(&str, Align); 5] = [
    ("infohash", Align::Left),
    ("why", Align::Left),
    ("tries", Align::Right),
    ("next", Align::Left),
    ("heard of", Align::Left),
];
