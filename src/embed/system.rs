//! What the system says about names, read again when it changes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

use crate::base::Network;
use crate::dns::system::BadServer;
use crate::dns::{ForwarderConfig, Hosts, ResolvConf, System};
use crate::engine::io::Command;
use crate::reactor::Handle;
use crate::reactor::sys::interface;

/// What the system says now: its resolvers (unless some are given), hosts, suffixes, addresses.
pub fn system(given: &[ForwarderConfig]) -> System {
    let conf = ResolvConf::parse(&read(RESOLV_CONF), interface::index);
    let mut forwarders = given.to_vec();
    if given.iter().all(|forwarder| forwarder.suffix.is_some()) {
        for (server, bad) in &conf.unusable {
            log::warn!("the DNS server `{server}` of {RESOLV_CONF} is not asked: {}", why_not(*bad));
        }
        let servers = if conf.servers.is_empty() { &[LOCAL_SERVER][..] } else { &conf.servers };
        forwarders.extend(servers.iter().copied().map(ForwarderConfig::plain));
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let local = interfaces.iter().map(|interface| interface.ip()).collect();
    let networks = interfaces.iter().filter_map(|interface| network_of(&interface.addr)).collect();
    let (hosts, search, ndots) = (Hosts::parse(&read(HOSTS)), conf.search, conf.ndots);
    System { forwarders, hosts, search, ndots, local, networks }
}

/// The network that an interface is in, by its address.
fn network_of(addr: &if_addrs::IfAddr) -> Option<Network> {
    let prefix = match addr {
        if_addrs::IfAddr::V4(addr) => addr.prefixlen,
        if_addrs::IfAddr::V6(addr) => addr.prefixlen,
    };
    Network::of(addr.ip(), prefix).filter(|_| prefix > 0)
}

/// Why a text is no server's address, in words.
pub fn why_not(bad: BadServer) -> &'static str {
    match bad {
        BadServer::Address => "it is no IP address, or its port is none",
        BadServer::NoScope => "a link-local address needs its interface, like fe80::1%eth0",
        BadServer::Interface => "this machine has no interface of that name; `ip link` lists them",
    }
}

/// Hands over what the system says, and again whenever it says something else. Dropping it ends that.
pub struct Follow {
    _stop: SyncSender<()>,
}

impl Follow {
    /// Begins at once; `given` takes the place of the system's resolvers, if there are any, and what
    /// listens on `own` is not asked.
    pub fn spawn(given: Vec<ForwarderConfig>, own: Vec<SocketAddr>, handle: Handle) -> io::Result<Self> {
        let without_own = move || {
            let mut system = system(&given);
            own.iter().for_each(|own| leave_out(*own, &mut system));
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
