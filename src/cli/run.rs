//! `run`: the engine on the real network, until it is told to stop.

use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::contact;
use super::failure::{Failure, Outcome};
use super::flags::RunFlags;
use super::launch::{self, Ended, engine_config, launch, reactor_config, store_config};
use super::names::Follow;
use super::network::targets_of_run as targets_of;
use super::reload::filter_of;
use super::session::literal;
use super::settings::RunSettings;
use super::units::{human_count, human_duration, human_size};
use super::watch::Watch;
use super::zones::{FollowLists, Reading};
use crate::dns::keeper::{ListFile, ZoneFiles};
use crate::engine::io::Command;
use crate::model::text::log_line;
use crate::reactor::Handle;
use crate::store::{Archive, EVICTION_GRACE};

/// Crawls until SIGINT or SIGTERM.
pub fn run(flags: &RunFlags) -> Result<Outcome, Failure> {
    let settings = flags.settings_of_run()?;
    start_log(&settings.log, settings.log_json)?;
    for line in settings.without_effect() {
        log::warn!("{line}");
    }
    check_bootstrap(&settings)?;
    let filter = filter_of(&settings)?;
    warn_of_eviction(&settings);
    let (reading, zones, lists) = Reading::start(settings.dns_local.clone())?;
    create_folder(&settings.db)?;
    let reload = (flags.clone(), reading.clone());
    let crawler = launch(
        engine_config(&settings, filter, targets_of(&settings)),
        &reactor_config(&settings),
        store_config(&settings),
        |handle, kept| Watch::new(&settings, reload, handle, kept),
    )?;
    log::info!("the archive is {}", settings.db.display());
    for addr in &crawler.answering {
        log::info!("questions about names are answered on {addr}");
    }
    let _names = begin(&settings, &crawler.handle)?;
    let _lists = begin_local(reading, (zones, lists), &crawler.handle)?;
    let Ended { mut engine, observer: mut watch, evicted } = launch::run(crawler)?;
    watch.live.end();
    let stored = human_count(engine.stats().stored);
    match evicted {
        0 => log::info!("stopped; {stored} new torrents are in the archive"),
        _ => log::info!(
            "stopped; {stored} torrents were stored and {} made room, the oldest of all, for --disk-max",
            human_count(evicted)
        ),
    }
    Ok(Outcome::Done)
}

/// Logs to standard error; `filter` is in env_logger's syntax.
pub fn start_log(filter: &str, json: bool) -> Result<(), Failure> {
    let mut builder = env_logger::Builder::new();
    // Its warnings are of what others said, who could fill the log with them.
    builder.filter_module("rustls", log::LevelFilter::Error);
    // It tells of every merge and every file; `tantivy=debug` in the filter brings that back.
    builder.filter_module("tantivy", log::LevelFilter::Warn);
    builder.parse_filters(filter);
    // A line that renews itself may stand there: it comes again below.
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    builder.format(move |out, record| {
        // Much of what is logged is what others said.
        let message = record.args().to_string();
        let (time, level, message) = (out.timestamp_seconds(), record.level(), log_line(&message));
        if json {
            let level = level.as_str().to_ascii_lowercase();
            let value = json!({"time": time.to_string(), "level": level, "message": message});
            return writeln!(out, "{value}");
        }
        writeln!(out, "{clear}{time} {level:<5} {message}")
    });
    let started = builder.try_init();
    started.map_err(|_| Failure::failed("a log is open already; start only one engine"))
}

/// Logs to standard error if a command that says little by itself was asked to; several calls are as
/// good as one.
pub fn log_if_asked(filter: Option<&str>) -> Result<(), Failure> {
    static STARTED: std::sync::Once = std::sync::Once::new();
    let mut started = Ok(());
    if let Some(filter) = filter {
        STARTED.call_once(|| started = start_log(filter, false));
    }
    started
}

/// Says what `--disk-max` will cost, while there is time to stop.
fn warn_of_eviction(settings: &RunSettings) {
    let max = settings.disk_bytes_max;
    let opened = Archive::open_read_only(&settings.db).ok().filter(|_| max > 0);
    let Some(excess) = opened.and_then(|archive| archive.excess(max).ok().flatten()) else { return };
    log::warn!(
        "the archive takes {} and --disk-max allows {}: about {} of {} torrents go, the oldest first, beginning in {}; Ctrl-C before that keeps them all",
        human_size(excess.used_bytes),
        human_size(max),
        human_count(excess.torrents),
        human_count(excess.torrents_all),
        human_duration(EVICTION_GRACE),
    );
}

/// Bootstrap nodes that were given as addresses must be within reach.
fn check_bootstrap(settings: &RunSettings) -> Result<(), Failure> {
    settings.bootstrap.iter().filter_map(literal).try_for_each(|addr| contact::check(&settings.listen, addr))
}

/// The folder of a database that may not exist yet.
pub fn create_folder(db: &Path) -> Result<(), Failure> {
    let Some(folder) = db.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new().recursive(true).create(folder).map_err(|fault| {
        Failure::failed(format!(
            "cannot create {}: {fault}; give another place with --data-dir or --db",
            folder.display()
        ))
    })
}

/// Hands over what was read of zones and lists, and goes on looking at the lists' files.
fn begin_local(
    reading: Reading,
    (zones, lists): (ZoneFiles, Vec<ListFile>),
    handle: &Handle,
) -> Result<FollowLists, Failure> {
    let sent = handle.send(Command::SetZones(Box::new(zones)));
    sent.and_then(|()| handle.send(Command::SetLists(lists)))
        .and_then(|()| handle.send(Command::Reloaded))
        .map_err(|_| Failure::failed("the engine did not start; try again"))?;
    FollowLists::spawn(reading, handle.clone()).map_err(no_thread)
}

fn no_thread(fault: std::io::Error) -> Failure {
    Failure::failed(format!("cannot start a thread: {fault}; free some memory and try again"))
}

/// Tells the engine whom to ask about names, and whom to contact first.
fn begin(settings: &RunSettings, handle: &Handle) -> Result<Follow, Failure> {
    let own = settings.dns.iter().map(|listen| listen.addr).collect();
    let follow = Follow::spawn(settings.forwarders.clone(), own, handle.clone()).map_err(no_thread)?;
    let (literals, names): (Vec<_>, Vec<_>) =
        settings.bootstrap.iter().cloned().partition(|host| literal(host).is_some());
    let literals = literals.iter().filter_map(literal).collect();
    let sent = handle.send(Command::Bootstrap(literals));
    sent.and_then(|()| handle.send(Command::BootstrapHosts(names)))
        .map_err(|_| Failure::failed("the engine did not start; try again"))?;
    Ok(follow)
}
