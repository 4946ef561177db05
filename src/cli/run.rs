//! `run`: the engine on the real network, until it is told to stop.

use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::contact;
use super::failure::{Failure, Outcome};
use super::filter::read_filter;
use super::flags::RunFlags;
use super::launch::{self, engine_config, launch, reactor_config, store_config};
use super::live::Gauges;
use super::session::literal;
use super::settings::RunSettings;
use super::units::human_count;
use super::watch::Watch;
use crate::engine::Engine;
use crate::engine::config::Rates;
use crate::engine::io::Command;
use crate::metadata::Filter;
use crate::reactor::resolve::{Host, Resolver};
use crate::reactor::{self, Handle};

/// Crawls until SIGINT or SIGTERM.
pub fn run(flags: &RunFlags) -> Result<Outcome, Failure> {
    let settings = flags.settings(&[])?;
    start_log(&settings.log, settings.log_json)?;
    for line in settings.without_effect() {
        log::warn!("{line}");
    }
    check_bootstrap(&settings)?;
    let filter = filter_of(&settings)?;
    create_folder(&settings.db)?;
    let reload = flags.clone();
    let crawler = launch(
        engine_config(&settings, filter),
        &reactor_config(&settings),
        store_config(&settings),
        |handle, kept| Watch::new(&settings, reload, handle, kept),
    )?;
    log::info!("the archive is {}", settings.db.display());
    let hosts: Vec<Host> = settings.bootstrap.iter().filter_map(host).collect();
    let _resolver = Resolver::spawn(&hosts, crawler.handle.clone()).map_err(|fault| {
        Failure::failed(format!("cannot start a thread: {fault}; free some memory and try again"))
    })?;
    let (mut engine, mut watch) = launch::run(crawler)?;
    watch.live.end();
    log::info!("stopped; {} new torrents are in the archive", human_count(engine.stats().stored));
    Ok(Outcome::Done)
}

/// Logs to standard error; `filter` is in env_logger's syntax.
pub fn start_log(filter: &str, json: bool) -> Result<(), Failure> {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter);
    // A line that renews itself may stand there: it comes again below.
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    builder.format(move |out, record| {
        let (time, level, message) = (out.timestamp_seconds(), record.level(), record.args());
        if json {
            let level = level.as_str().to_ascii_lowercase();
            let value = json!({"time": time.to_string(), "level": level, "message": message.to_string()});
            return writeln!(out, "{value}");
        }
        writeln!(out, "{clear}{time} {level:<5} {message}")
    });
    let started = builder.try_init();
    started.map_err(|_| Failure::failed("a log is open already; start only one engine"))
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

/// The engine's numbers as the live line shows them.
pub fn gauges(engine: &mut Engine, counted: &reactor::Gauges) -> Gauges {
    let stats = engine.stats();
    Gauges {
        nodes_known: stats.nodes_verified as u64,
        coverage: stats.coverage.unwrap_or(0.0),
        packets: counted.datagrams_in + counted.datagrams_out,
        hashes_found: stats.hashes_found,
        torrents_stored: stats.stored,
        torrents_wanted: None,
        fetches_open: stats.fetches_open as u64,
        fetches_succeeded: stats.fetched,
        fetches_failed: stats.fetches_failed,
        limited_by: Some(stats.limited_by.name()),
    }
}

/// Rates and filter can change while running; the rest takes effect at the next start. Without
/// `with_rates` the caller sets those. The rates as they are configured now.
pub fn reload(flags: &RunFlags, handle: &Handle, with_rates: bool) -> Option<Rates> {
    let read = flags.settings(&[]).and_then(|settings| Ok((settings.rates, filter_of(&settings)?)));
    let (rates, filter) = read
        .inspect_err(|failure| log::error!("not reloaded, everything stays as it was: {failure}"))
        .ok()?;
    let first = if with_rates { handle.send(Command::SetRates(rates)) } else { Ok(()) };
    match first.and_then(|()| handle.send(Command::SetFilter(filter))) {
        Ok(()) => log::info!("reloaded rates and filter; other settings take effect at the next start"),
        Err(_) => log::error!("not reloaded: the engine is too busy; try again"),
    }
    Some(rates)
}

fn filter_of(settings: &RunSettings) -> Result<Filter, Failure> {
    settings.filter.as_deref().map_or_else(|| Ok(Filter::default()), read_filter)
}

fn host((name, port): &(String, u16)) -> Option<Host> {
    match name.parse() {
        Ok(ip) => Some(Host::Literal(std::net::SocketAddr::new(ip, *port))),
        Err(_) => Host::parse(&format!("{name}:{port}")),
    }
}
