//! Addresses of the bootstrap hosts, by the system's resolver. It may block for long, so it has a
//! thread of its own; what it finds comes back as commands.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use super::handle::{Handle, SendError};
use crate::engine::io::Command;

/// Resolves until every name has had an answer. Dropping it ends that, at the next pause.
pub struct Resolver {
    _stop: SyncSender<()>,
}

/// One host to ask first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Needs no resolver.
    Literal(SocketAddr),
    /// A name and a port.
    Name(String, u16),
}

impl Host {
    /// From `HOST:PORT`, `1.2.3.4:PORT` or `[IPv6]:PORT`; `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(literal) = text.parse() {
            return Some(Self::Literal(literal));
        }
        let (name, port) = text.rsplit_once(':')?;
        let is_name = !name.is_empty() && name.len() <= NAME_MAX && !name.contains([':', '[', ']', '/', ' ']);
        is_name.then_some(Self::Name(name.to_owned(), port.parse().ok()?))
    }
}

impl Resolver {
    /// Hands literals over at once and names as they are resolved, at most [`HOSTS_MAX`] of them.
    /// A name without an answer is tried again, ever more rarely. `None`: there are no names.
    pub fn spawn(hosts: &[Host], handle: Handle) -> io::Result<Option<Self>> {
        let mut names = Vec::new();
        let mut literals = Vec::new();
        for host in hosts.iter().take(HOSTS_MAX) {
            match host {
                Host::Literal(addr) => literals.push(*addr),
                Host::Name(name, port) => names.push((name.clone(), *port)),
            }
        }
        if !literals.is_empty() && handle.send(Command::Bootstrap(literals)).is_err() {
            log::warn!("the bootstrap addresses could not be handed over");
        }
        if names.is_empty() {
            return Ok(None);
        }
        let (stop, stopped) = sync_channel(0);
        let work = move || resolve(names, system_lookup, |found| handle.send(found), &stopped, FIRST_RETRY);
        Builder::new().name("resolver".into()).spawn(work)?;
        Ok(Some(Self { _stop: stop }))
    }
}

fn system_lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
}

/// Tries `names` in rounds until all have an answer, the reactor is gone or `stopped` is.
fn resolve(
    mut names: Vec<(String, u16)>,
    mut lookup: impl FnMut(&str, u16) -> io::Result<Vec<SocketAddr>>,
    mut send: impl FnMut(Command) -> Result<(), SendError>,
    stopped: &Receiver<()>,
    mut pause: Duration,
) {
    loop {
        let mut unresolved = Vec::new();
        for (name, port) in names {
            match lookup(&name, port) {
                Ok(found) if !found.is_empty() => match send(Command::Bootstrap(found)) {
                    Ok(()) => {}
                    Err(SendError::Full) => unresolved.push((name, port)),
                    Err(SendError::Gone) => return,
                },
                Ok(_) => unresolved.push((name, port)),
                Err(error) => {
                    log::debug!("bootstrap host {name} has no address now: {error}");
                    unresolved.push((name, port));
                }
            }
        }
        if unresolved.is_empty() || stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        names = unresolved;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// The most hosts that are taken; the default list has fewer than ten.
pub const HOSTS_MAX: usize = 64;
/// The most addresses of one name; those known have one or two.
const ADDRESSES_MAX: usize = 16;
/// RFC 1035, section 2.3.4.
const NAME_MAX: usize = 253;
/// A laptop's network is usually there within seconds of waking.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_literals_are_told_apart() {
        let literal = |text: &str| Some(Host::Literal(text.parse().unwrap()));
        assert_eq!(Host::parse("127.0.0.1:6881"), literal("127.0.0.1:6881"));
        assert_eq!(Host::parse("[::1]:6881"), literal("[::1]:6881"));
        assert_eq!(Host::parse("dht.example:25401"), Some(Host::Name("dht.example".into(), 25401)));
        for bad in ["", ":1", "host", "host:", "host:99999", "::1:6881x", "[::1:1", "a b:1"] {
            assert_eq!(Host::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_tried_until_each_has_an_answer() {
        let (_stop, stopped) = sync_channel(0);
        let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let (mut asked, mut sent) = (Vec::new(), 0);
        let names = vec![("a".into(), 1), ("b".into(), 1)];
        let lookup = |name: &str, _| {
            asked.push(name.to_owned());
            if name == "b" && asked.len() < 4 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(vec![addr]) }
        };
        let send = |command| {
            assert!(matches!(command, Command::Bootstrap(found) if found == [addr]));
            sent += 1;
            Ok(())
        };
        resolve(names, lookup, send, &stopped, Duration::ZERO);
        assert_eq!((asked.join(""), sent), ("abbb".into(), 2));
    }

    #[test]
    fn it_ends_when_nobody_listens_any_more() {
        let (stop, stopped) = sync_channel(0);
        drop(stop);
        let fails = |_: &str, _| Err(io::ErrorKind::NotFound.into());
        resolve(vec![("a".into(), 1)], fails, |_| Ok(()), &stopped, RETRY_MAX);
        let (_stop, stopped) = sync_channel(0);
        let found = |_: &str, _| Ok(vec!["127.0.0.1:1".parse().unwrap()]);
        resolve(vec![("a".into(), 1)], found, |_| Err(SendError::Gone), &stopped, RETRY_MAX);
    }
}
