//! What the system says about names, read again when it changes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

use crate::dns::{ForwarderConfig, Hosts, ResolvConf, System};
use crate::engine::io::Command;
use crate::reactor::Handle;

/// What the system says now: its resolvers (unless some are given), hosts, suffixes, addresses.
pub fn system(given: &[ForwarderConfig]) -> System {
    let conf = ResolvConf::parse(&read(RESOLV_CONF));
    let forwarders = match given {
        [] if conf.servers.is_empty() => vec![ForwarderConfig::plain(LOCAL_SERVER)],
        [] => conf.servers.iter().copied().map(ForwarderConfig::plain).collect(),
        given => given.to_vec(),
    };
    let local = if_addrs::get_if_addrs().unwrap_or_default();
    let local = local.into_iter().map(|interface| interface.ip()).collect();
    System { forwarders, hosts: Hosts::parse(&read(HOSTS)), search: conf.search, ndots: conf.ndots, local }
}

/// Hands over what the system says, and again whenever it says something else. Dropping it ends that.
pub struct Follow {
    _stop: SyncSender<()>,
}

impl Follow {
    /// Begins at once; `given` takes the place of the system's resolvers, if there are any, and what
    /// listens on `own` is not asked.
    pub fn spawn(given: Vec<ForwarderConfig>, own: Option<SocketAddr>, handle: Handle) -> io::Result<Self> {
        let without_own = move || {
            let mut system = system(&given);
            own.into_iter().for_each(|own| leave_out(own, &mut system));
            system
        };
        Self::spawn_with(without_own, handle)
    }

    /// Begins at once, with what `now` makes of what the system says.
    pub fn spawn_with(now: impl Fn() -> System + Send + 'static, handle: Handle) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        Builder::new().name("names".into()).spawn(move || follow(&now, &handle, &stopped))?;
        Ok(Self { _stop: stop })
    }
}

fn follow(system: &dyn Fn() -> System, handle: &Handle, stopped: &Receiver<()>) {
    let mut known = None;
    loop {
        let now = [RESOLV_CONF, HOSTS].map(changed);
        if known != Some(now) && handle.send(Command::SetNames(Box::new(system()))).is_ok() {
            known = Some(now);
        }
        if stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Whoever asks itself waits for itself: our own listener is no forwarder, whatever resolv.conf says.
fn leave_out(own: SocketAddr, system: &mut System) {
    let local = &system.local;
    let is_here = |ip: IpAddr| ip.is_loopback() || local.contains(&ip);
    let is_own = |addr: SocketAddr| {
        let same = addr.ip() == own.ip() || own.ip().is_unspecified() && is_here(addr.ip());
        same && addr.port() == own.port()
    };
    let before = system.forwarders.len();
    system.forwarders.retain(|forwarder| !is_own(forwarder.addr));
    if system.forwarders.len() < before {
        let left =
            if system.forwarders.is_empty() { "; nobody is left to ask: give --dns-forwarder" } else { "" };
        log::warn!("the DNS server {own} is this program itself, and is not asked{left}");
    }
}

/// When a file was changed, and how long it is.
fn changed(path: &str) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Nothing, if it is not there or is no text.
fn read(path: &str) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
    read.inspect_err(|fault| log::debug!("cannot read {path}: {fault}"))
        .map_or_else(|_| String::new(), |_| text)
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// resolv.conf(5): without a server the one on this machine is asked.
const LOCAL_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// The largest block lists in hosts form are some 5 MB.
const FILE_MAX: u64 = 16 << 20;
/// A network changes seldom; two calls of stat(2) cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_no_forwarder() {
        let left = |own: &str, forwarders: &[&str]| {
            let forwarders =
                forwarders.iter().map(|text| ForwarderConfig::plain(text.parse().unwrap())).collect();
            let local = vec![IpAddr::from([192, 0, 2, 7])];
            let mut system = System { forwarders, local, ..System::default() };
            leave_out(own.parse().unwrap(), &mut system);
            system.forwarders.iter().map(|forwarder| forwarder.addr.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            left("127.0.0.1:53", &["127.0.0.1:53", "127.0.0.1:54", "9.9.9.9:53"]),
            ["127.0.0.1:54", "9.9.9.9:53"]
        );
        assert_eq!(left("0.0.0.0:53", &["127.0.0.53:53", "192.0.2.7:53", "192.0.2.8:53"]), ["192.0.2.8:53"]);
        assert_eq!(left("127.0.0.1:53", &["127.0.0.53:53"]), ["127.0.0.53:53"]);
    }
}
