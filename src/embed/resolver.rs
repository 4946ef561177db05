//! Names for other programs.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::archive::Keep;
use super::system::{Follow, system};
use super::watch::{Calls, Reply, Watch};
use crate::dns::cache::{Config as CacheConfig, Summary};
use crate::dns::{self, Failure, ForwarderConfig, Hosts, Looked, Strategy, System};
use crate::engine::Engine;
use crate::engine::config::Config;
use crate::engine::io::{Command, CommandId, NameQuestion};
use crate::model::dns::Source;
use crate::model::{NetworkInfo, Recovered};
use crate::reactor::handle::SendError;
use crate::reactor::network::network_info;
use crate::reactor::{Clock, Handle, KeepNothing, Reactor, ReactorConfig, StartError, listen};
use crate::store::{OpenError, Store, StoreConfig};
use crate::wire::dns::Name;

/// A resolver with a memory, on a thread of its own. Its calls wait; any number of threads may make
/// them at once. Dropping it ends what is under way and saves what is to be saved.
pub struct Resolver {
    handle: Handle,
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
    _follow: Follow,
}

/// Whom a [`Resolver`] asks, and what it keeps.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Who is asked, in order of preference; nobody: those that the system asks.
    pub forwarders: Vec<ForwarderConfig>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// The text of a hosts file, in place of the system's.
    pub hosts: Option<String>,
    /// Suffixes for short names, in place of the system's. What is no name is left out.
    pub search: Option<Vec<String>>,
    /// Where the memory outlives the program: an archive of this program, or a new one.
    pub db: Option<PathBuf>,
    /// Bounds and lifetimes of the memory.
    pub cache: CacheConfig,
    /// When a name with one suffix has failed if nothing else ended it.
    pub timeout: Duration,
}

/// The addresses of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name as it was found: with its suffix.
    pub hostname: String,
    /// Its addresses of both families, in the order to be tried (RFC 6724).
    pub addresses: Vec<IpAddr>,
    /// Its IPv4 addresses, in the order to be tried.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, in the order to be tried.
    pub ipv6: Vec<Ipv6Addr>,
    /// Nobody had to be asked: it was remembered, from before the start too.
    pub cached: bool,
    /// The seconds for which all of them hold; `None`: for ever.
    pub ttl: Option<u32>,
    /// Where they came from.
    pub source: Source,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveFailure {
    /// There is no such name.
    NoSuchName,
    /// There is, but without an address.
    NoAddress,
    /// Nobody could tell.
    Dns(Failure),
    /// Too many calls wait already.
    Overloaded,
    /// The engine has ended.
    Stopped,
}

/// Why a resolver cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The network.
    Network(StartError),
    /// The database.
    Archive(OpenError),
    /// The system has no randomness to give.
    Randomness,
    /// The system has no thread to give.
    Thread(io::ErrorKind),
}

impl Default for ResolverConfig {
    fn default() -> Self {
        let plain = dns::Config::new(Vec::new());
        Self {
            forwarders: Vec::new(),
            strategy: plain.strategy,
            hosts: None,
            search: None,
            db: None,
            cache: plain.cache,
            timeout: plain.deadline,
        }
    }
}

impl Resolver {
    /// Asks whom the system asks, and keeps nothing beyond its own life.
    pub fn new() -> Result<Self, StartFailure> {
        Self::with(ResolverConfig::default())
    }

    /// As `config` says.
    pub fn with(config: ResolverConfig) -> Result<Self, StartFailure> {
        let clock = Clock::start();
        let listening = listen(&ReactorConfig::default(), clock).map_err(StartFailure::Network)?;
        let (archive, recovered) = match &config.db {
            None => (Keep::Nothing(KeepNothing::new(listening.wake())), Recovered::default()),
            Some(db) => {
                let wake = listening.wake();
                let store = StoreConfig { db: db.clone(), search: false, ..StoreConfig::default() };
                let opened = Store::open(store, move || wake.wake()).map_err(StartFailure::Archive)?;
                (Keep::Store(opened.0), opened.1)
            }
        };
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| StartFailure::Randomness)?;
        let mut engine = Config::one_off(Vec::new());
        engine.dns = config.dns();
        let engine = Engine::new(engine, recovered, seed, clock.now(), clock.unix());
        let (handle, calls) = (listening.handle(), Arc::new(Calls::new(clock)));
        let system = move || config.system();
        let follow = Follow::spawn_with(system, handle.clone()).map_err(no_thread)?;
        let watch = Watch::new(Arc::clone(&calls), handle.clone());
        let end = Arc::clone(&calls);
        let thread = Builder::new().name("resolver".into()).spawn(move || {
            let mut reactor = Reactor::new(listening, engine, archive, watch);
            let exit = reactor.run();
            log::debug!("the resolver has ended: {exit:?}");
            let (_, archive, _) = reactor.into_parts();
            end.close();
            if let Keep::Store(store) = archive {
                store.close();
            }
        });
        Ok(Self { handle, calls, thread: Some(thread.map_err(no_thread)?), _follow: follow })
    }

    /// What this machine has of a network: host name, addresses, interfaces, routes. Nobody is asked.
    pub fn network_info(&self) -> NetworkInfo {
        network_info()
    }

    /// The addresses of a host, both families. Waits until they are known, or somebody has said that
    /// there are none. With `prefetch` the name is looked up again each time before its addresses
    /// expire, as by [`Resolver::prefetch`].
    pub fn resolve_hostname(&self, name: &str, prefetch: bool) -> Result<Resolved, ResolveFailure> {
        let question = |id| Command::Resolve(id, NameQuestion::Host(name.to_owned()));
        let Reply::Looked(looked) = self.call(question)? else { return Err(ResolveFailure::Stopped) };
        let resolved = resolved(&looked)?;
        if let Some(ttl) = resolved.ttl.filter(|_| prefetch) {
            self.calls.prefetch_again(name, ttl);
        }
        Ok(resolved)
    }

    /// Looks a name up without waiting, so that it is known when it is wanted; and again each time
    /// before it expires, for as long as it is among the latest 1,000.
    pub fn prefetch(&self, name: &str) -> Result<(), ResolveFailure> {
        let id = self.calls.begin_prefetch(name).ok_or(ResolveFailure::Stopped)?;
        let sent = self.send(Command::Resolve(id, NameQuestion::Host(name.to_owned())));
        sent.inspect_err(|_| self.calls.forget(id))
    }

    /// What is remembered: how many names, some of them, hits and misses (of answers, of which a
    /// host has one for each family).
    pub fn cache(&self) -> Result<Summary, ResolveFailure> {
        match self.call(Command::CacheSummary)? {
            Reply::Cache(summary) => Ok(*summary),
            Reply::Looked(_) => Err(ResolveFailure::Stopped),
        }
    }

    fn call(&self, command: impl FnOnce(CommandId) -> Command) -> Result<Reply, ResolveFailure> {
        let (sender, receiver) = sync_channel(1);
        let id = self.calls.begin(sender).ok_or(ResolveFailure::Stopped)?;
        if let Err(failure) = self.send(command(id)) {
            self.calls.forget(id);
            return Err(failure);
        }
        // Every look-up has an end, and when the engine ends nobody holds the other side any more.
        receiver.recv().map_err(|_| ResolveFailure::Stopped)
    }

    fn send(&self, command: Command) -> Result<(), ResolveFailure> {
        self.handle.send(command).map_err(|error| match error {
            SendError::Full => ResolveFailure::Overloaded,
            SendError::Gone => ResolveFailure::Stopped,
        })
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.calls.stop();
        if self.handle.send(Command::Stop) == Err(SendError::Full) {
            // Whoever looks on sends it when there is room.
            log::debug!("the resolver is told to stop a little later");
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the resolver's thread ended with a panic");
        }
    }
}

impl ResolverConfig {
    fn system(&self) -> System {
        let mut system = system(&self.forwarders);
        if let Some(text) = &self.hosts {
            system.hosts = Hosts::parse(text);
        }
        if let Some(search) = &self.search {
            system.search = search.iter().filter_map(|suffix| Name::parse(suffix).ok()).collect();
        }
        system
    }

    fn dns(&self) -> dns::Config {
        let system = self.system();
        dns::Config {
            strategy: self.strategy,
            hosts: system.hosts,
            search: system.search,
            ndots: system.ndots,
            cache: self.cache,
            deadline: self.timeout,
            ..dns::Config::new(system.forwarders)
        }
    }
}

fn no_thread(error: io::Error) -> StartFailure {
    StartFailure::Thread(error.kind())
}

fn resolved(looked: &Looked) -> Result<Resolved, ResolveFailure> {
    if looked.addresses.is_empty() {
        return Err(match looked.failure {
            Some(Failure::Overloaded) => ResolveFailure::Overloaded,
            Some(Failure::Stopped) => ResolveFailure::Stopped,
            Some(failure) => ResolveFailure::Dns(failure),
            None if looked.exists => ResolveFailure::NoAddress,
            None => ResolveFailure::NoSuchName,
        });
    }
    let source = looked.source.clone().expect("addresses come from somewhere");
    let ips = looked.addresses.iter().map(|(ip, _)| *ip);
    let name = looked.name.to_string();
    Ok(Resolved {
        hostname: name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(&name).to_owned(),
        addresses: ips.clone().collect(),
        ipv4: ips.clone().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }).collect(),
        ipv6: ips.filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }).collect(),
        cached: matches!(source, Source::Memory | Source::Database | Source::Stale),
        ttl: looked.addresses.iter().map(|(_, ttl)| *ttl).min().filter(|ttl| *ttl < u32::MAX),
        source,
        elapsed: looked.elapsed,
    })
}

impl fmt::Display for ResolveFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("there is no such name"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::Dns(failure) => write!(f, "the name could not be looked up: {failure:?}"),
            Self::Overloaded => f.write_str("too much is asked at once"),
            Self::Stopped => f.write_str("the resolver has ended"),
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(f, "the network cannot be used: {error:?}"),
            Self::Archive(error) => write!(f, "the database cannot be used: {error:?}"),
            Self::Randomness => f.write_str("the system has no randomness to give"),
            Self::Thread(kind) => write!(f, "the system has no thread to give: {kind}"),
        }
    }
}

impl std::error::Error for ResolveFailure {}
impl std::error::Error for StartFailure {}
