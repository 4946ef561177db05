//! Opening the sockets, before there is an engine: it wants to know what was bound.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;

use super::clock::Clock;
use super::config::{Listen, ReactorConfig, Roots};
use super::handle::{Handle, Wake};
use super::net::Net;
use super::sys::{errors, interface, limits};
use super::system::SystemNet;
use crate::base::SocketId;
use crate::engine::io::{AcceptorId, Command};

/// Why the reactor cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Another program listens there.
    AddressInUse(SocketAddr),
    /// The system does not allow it (ports below 1024).
    NotPermitted(SocketAddr),
    /// No interface has the address, or the host lacks its family.
    AddressNotAvailable(SocketAddr),
    /// Another error of binding.
    Bind(SocketAddr, io::ErrorKind),
    /// There is no network interface of this name.
    InterfaceMissing,
    /// The system does not let us choose an interface: no right to, or it cannot.
    InterfaceRefused(io::ErrorKind),
    /// Nothing to listen on is left.
    NoAddress,
    /// More addresses than [`LISTEN_MAX`].
    TooManyAddresses,
    /// Another reactor of this process has the signals.
    SignalsTaken,
    /// The system has no poll, wake-up or pipe for us.
    System(io::ErrorKind),
}

/// Open sockets that nobody reads yet.
pub struct Listening<N: Net = SystemNet> {
    pub(super) net: N,
    pub(super) sockets: Vec<N::Udp>,
    pub(super) acceptors: Vec<N::Acceptor>,
    pub(super) commands: Receiver<Command>,
    pub(super) roots: Roots,
    bound: Vec<SocketAddr>,
    /// Of each, its place in the configuration.
    places: Vec<usize>,
    accepting: Vec<SocketAddr>,
    handle: Handle,
}

/// Opens the sockets on the real network, raises the limit of open files, ignores SIGPIPE and has
/// the allocator give back what is large.
pub fn listen(config: &ReactorConfig, clock: Clock) -> Result<Listening, StartError> {
    limits::ignore_broken_pipes();
    limits::give_back_memory();
    if let Some(files) = limits::raise_open_files() {
        log::debug!("up to {files} open files");
    }
    if let Some(name) = &config.interface {
        interface::check(name).map_err(|error| match interface::is_missing(&error) {
            true => StartError::InterfaceMissing,
            false => StartError::InterfaceRefused(error.kind()),
        })?;
    }
    let net = SystemNet::new(clock, config).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StartError::SignalsTaken,
        kind => StartError::System(kind),
    })?;
    Listening::on(net, config)
}

impl<N: Net> Listening<N> {
    /// Opens the sockets on any network.
    pub fn on(mut net: N, config: &ReactorConfig) -> Result<Self, StartError> {
        if config.listen.len() > LISTEN_MAX || config.accept.len() > LISTEN_MAX {
            return Err(StartError::TooManyAddresses);
        }
        let (mut sockets, mut bound, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (place, Listen { addr, explicit }) in config.listen.iter().copied().enumerate() {
            match net.udp_bind(SocketId(sockets.len() as u16), addr) {
                Ok((socket, at)) => {
                    sockets.push(socket);
                    bound.push(at);
                    places.push(place);
                }
                Err(error) if !explicit && errors::is_family_missing(&error) => {
                    log::warn!("not listening on {addr}: this host lacks the address family ({error})");
                }
                Err(error) => return Err(bind_error(addr, &error)),
            }
        }
        if sockets.is_empty() && !config.listen.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (mut acceptors, mut accepting) = (Vec::new(), Vec::new());
        for Listen { addr, explicit } in config.accept.iter().copied() {
            match net.tcp_listen(AcceptorId(acceptors.len() as u16), addr) {
                Ok((acceptor, at)) => {
                    acceptors.push(acceptor);
                    accepting.push(at);
                }
                Err(error) if !explicit && errors::is_family_missing(&error) => {
                    log::warn!("no streams on {addr}: this host lacks the address family ({error})");
                }
                Err(error) => return Err(bind_error(addr, &error)),
            }
        }
        let (handle, commands) = Handle::new(net.wake());
        let roots = config.roots.clone();
        Ok(Self { net, sockets, acceptors, commands, roots, bound, places, accepting, handle })
    }

    /// The addresses that were really bound, in the order of their [`SocketId`]s.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// How many of the first `places` of the configuration were bound.
    pub fn bound_of_first(&self, places: usize) -> usize {
        self.places.iter().filter(|place| **place < places).count()
    }

    /// The addresses where streams are really accepted, in the order of their [`AcceptorId`]s.
    pub fn accepting(&self) -> &[SocketAddr] {
        &self.accepting
    }

    /// Reaches the reactor once it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// For the archive's threads, so that their answers end the reactor's sleep.
    pub fn wake(&self) -> Wake {
        self.net.wake()
    }
}

fn bind_error(addr: SocketAddr, error: &io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse(addr),
        io::ErrorKind::PermissionDenied => StartError::NotPermitted(addr),
        _ if errors::is_family_missing(error) => StartError::AddressNotAvailable(addr),
        kind => StartError::Bind(addr, kind),
    }
}

/// The most addresses to listen on for datagrams, each of which has its node id and its routing
/// table; and as many for streams.
pub const LISTEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn start(listen_on: &[(&str, bool)]) -> Result<Listening, StartError> {
        let listen_on = listen_on
            .iter()
            .map(|(addr, explicit)| Listen { addr: addr.parse().unwrap(), explicit: *explicit });
        listen(&ReactorConfig { listen: listen_on.collect(), ..ReactorConfig::default() }, Clock::start())
    }

    #[test]
    fn port_zero_is_resolved() {
        let listening = start(&[("127.0.0.1:0", true), ("127.0.0.2:0", true)]).unwrap();
        let bound = listening.bound();
        assert_eq!((bound.len(), bound[0].ip().to_string()), (2, "127.0.0.1".into()));
        assert!(bound.iter().all(|addr| addr.port() != 0));
    }

    #[test]
    fn what_cannot_be_bound_says_why() {
        let first = start(&[("127.0.0.1:0", true)]).unwrap();
        let taken = first.bound()[0];
        for explicit in [true, false] {
            let again = start(&[(&taken.to_string(), explicit)]);
            assert_eq!(again.err(), Some(StartError::AddressInUse(taken)));
        }
        // TEST-NET-1 belongs to no interface.
        let foreign = "192.0.2.1:0".parse().unwrap();
        let explicit = start(&[("192.0.2.1:0", true), ("127.0.0.1:0", true)]);
        assert_eq!(explicit.err(), Some(StartError::AddressNotAvailable(foreign)));
        let skipped = start(&[("192.0.2.1:0", false), ("127.0.0.1:0", true)]).unwrap();
        assert_eq!(skipped.bound().len(), 1);
        assert_eq!(start(&[("192.0.2.1:0", false)]).err(), Some(StartError::NoAddress));
        assert_eq!(start(&[]).map(|listening| listening.bound().len()).ok(), Some(0));
    }
}
