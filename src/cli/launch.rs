//! Brings the rooms together in one process: archive, engine, reactor.

use std::net::SocketAddr;

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::archive::{exposed, open_failure};
use super::failure::Failure;
use super::settings::RunSettings;
use crate::dns;
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::metadata::Filter;
use crate::model::Recovered;
use crate::preconnect::Target;
use crate::reactor::{
    Clock, Exit, Handle, Listen, Observer, Reactor, ReactorConfig, StartError, listen, sys,
};
use crate::store::{Store, StoreConfig};

/// A crawler that is ready to run on the calling thread.
pub struct Crawler<O> {
    /// The loop.
    pub reactor: Reactor<Engine, Store, O>,
    /// Reaches it from other threads.
    pub handle: Handle,
    /// Where DHT nodes listen.
    pub bound: Vec<SocketAddr>,
    /// Where questions about names are answered.
    pub answering: Vec<SocketAddr>,
}

/// Opens sockets and archive, and puts an engine between them. `observer` is handed what the
/// archive keeps of settings, by name.
pub fn launch<O: Observer<Engine>>(
    mut config: Config,
    reactor: &ReactorConfig,
    store: StoreConfig,
    observer: impl FnOnce(Handle, &[(String, String)]) -> O,
) -> Result<Crawler<O>, Failure> {
    let clock = Clock::start();
    let listening = listen(reactor, clock).map_err(|fault| start_failure(fault, &config.dns_listen))?;
    let wake = listening.wake();
    let db = store.db.clone();
    let opened = Store::open(store, move || wake.wake());
    let (store, recovered): (Store, Recovered) = opened.map_err(|fault| open_failure(&db, fault))?;
    exposed(&db).iter().for_each(|line| log::warn!("{line}"));
    // Those of the listener for names come last, and are bound if anything is.
    let nodes = listening.bound_of_first(reactor.listen.len() - config.dns_listen.len());
    let (bound, dns) = listening.bound().split_at(nodes);
    (config.listen, config.dns_listen) = (bound.to_vec(), dns.to_vec());
    let (bound, answering) = (bound.to_vec(), dns.to_vec());
    let handle = listening.handle();
    let observer = observer(handle.clone(), &recovered.settings);
    let engine = Engine::new(config, recovered, entropy()?, clock.now(), clock.unix());
    Ok(Crawler { reactor: Reactor::new(listening, engine, store, observer), handle, bound, answering })
}

/// What is left of a crawler, to be asked for its numbers.
pub struct Ended<O> {
    /// The engine.
    pub engine: Engine,
    /// What looked on.
    pub observer: O,
    /// Torrents that made room in the archive.
    pub evicted: u64,
}

/// Turns until told to stop; then everything acknowledged is written.
pub fn run<O: Observer<Engine>>(mut crawler: Crawler<O>) -> Result<Ended<O>, Failure> {
    let exit = crawler.reactor.run();
    let (engine, store, observer) = crawler.reactor.into_parts();
    match exit {
        Exit::Stopped => {
            let evicted = store.close();
            Ok(Ended { engine, observer, evicted })
        }
        Exit::Forced => Err(Failure::failed(
            "stopped before everything was written; what was acknowledged is safe, start again to go on",
        )),
        Exit::Broken(kind) => {
            Err(Failure::failed(format!("waiting for the network failed ({kind}); start again")))
        }
    }
}

/// The engine's configuration; it learns its addresses when they are bound.
pub fn engine_config(settings: &RunSettings, filter: Filter, targets: Vec<Target>) -> Config {
    Config {
        sweep: settings.sweep,
        passive: settings.passive,
        keep_info: settings.keep_info,
        metadata_max: settings.metadata_bytes_max,
        ports_below_1024: settings.low_ports,
        filter,
        dns_listen: settings.dns.iter().map(|listen| listen.addr).collect(),
        dns_waits: true,
        dns_clients: settings.dns_clients.clone(),
        targets,
        dns: dns::Config {
            strategy: settings.dns_strategy,
            rebinding: settings.dns_rebinding.clone(),
            ..dns::Config::new(Vec::new())
        },
        ..Config::new(Vec::new(), settings.rates)
    }
}

/// The reactor's configuration, with the process's signals.
pub fn reactor_config(settings: &RunSettings) -> ReactorConfig {
    let explicit = !settings.listen_is_default;
    let nodes = settings.listen.iter().map(|addr| Listen { addr: *addr, explicit });
    ReactorConfig {
        listen: nodes.chain(settings.dns.iter().copied()).collect(),
        accept: settings.dns.clone(),
        udp_batch: settings.udp_batch,
        interface: settings.interface.clone(),
        signals: true,
        ..ReactorConfig::default()
    }
}

/// The archive's configuration.
pub fn store_config(settings: &RunSettings) -> StoreConfig {
    let limit = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    let defaults = StoreConfig::default();
    // The WAL counts as well: a small archive has a small one.
    let most = limit(settings.disk_bytes_max).map_or(u64::MAX, |max| max / WAL_SHARE);
    StoreConfig {
        checkpoint_bytes: defaults.checkpoint_bytes.min(most),
        db: settings.db.clone(),
        commit_rows: settings.commit_rows,
        commit_ms: u64::from(settings.commit_ms),
        keep_info: settings.keep_info,
        disk_max: limit(settings.disk_bytes_max),
        disk_free_min: limit(settings.disk_free_bytes_min),
        free_bytes: Box::new(|path| sys::disk::free_bytes(path).ok()),
        ..defaults
    }
}

/// The share of `--disk-max` that the WAL may take.
const WAL_SHARE: u64 = 8;

/// 32 bytes of the system's randomness. The system is asked itself: the crypto library measures the
/// processor's jitter for 40 ms of CPU time before it gives the first.
pub fn entropy() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    let drawn = SysRng.try_fill_bytes(&mut seed);
    drawn.map_err(|_| Failure::failed("the system has no randomness to give; try again a little later"))?;
    Ok(seed)
}

/// Why the sockets cannot be opened, and what to do. `dns`: those that were asked for with `--dns`.
pub fn start_failure(fault: StartError, dns: &[SocketAddr]) -> Failure {
    let ask = match fault {
        StartError::AddressInUse(addr)
        | StartError::NotPermitted(addr)
        | StartError::AddressNotAvailable(addr)
        | StartError::Bind(addr, _)
            if dns.contains(&addr) =>
        {
            "give another with --dns ADDR:PORT"
        }
        _ => "give another with --listen ADDR:PORT",
    };
    Failure::failed(match fault {
        StartError::AddressInUse(addr) => {
            format!("another program listens on {addr}; stop it, or {ask}")
        }
        StartError::NotPermitted(addr) => {
            format!(
                "the system does not allow to listen on {addr}; {ask}, above 1023, or give this program CAP_NET_BIND_SERVICE"
            )
        }
        StartError::AddressNotAvailable(addr) => {
            format!("this machine does not have the address {addr}; {ask}")
        }
        StartError::Bind(addr, kind) => format!("cannot listen on {addr} ({kind}); {ask}"),
        StartError::InterfaceMissing => {
            "this machine has no network interface of the name given as --interface; `ip link` lists them"
                .to_owned()
        }
        StartError::InterfaceRefused(kind) => {
            format!(
                "the system does not let this program choose a network interface ({kind}); leave --interface out, or give it CAP_NET_RAW"
            )
        }
        StartError::NoAddress => format!("there is no address to listen on; {ask}"),
        StartError::TooManyAddresses => "more than 64 addresses to listen on; give fewer --listen".to_owned(),
        StartError::SignalsTaken => "another engine runs in this process; start only one".to_owned(),
        StartError::System(kind) => {
            format!("the system has no poll, wake-up or pipe left ({kind}); raise the limit of open files")
        }
    })
}
