//! Which addresses can be contacted from where, said in a sentence before anything is tried.

use std::net::{IpAddr, SocketAddr};

use super::failure::Failure;
use crate::base::Scope;
use crate::reactor::network::source_for;

/// Fails if none of `listen` may ever contact `remote`.
pub fn check(listen: &[SocketAddr], remote: SocketAddr) -> Result<(), Failure> {
    if listen.iter().any(|own| Scope::may_contact(own.ip(), remote)) {
        return Ok(());
    }
    let from = listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ");
    let family = |addr: &SocketAddr| addr.is_ipv4() == remote.is_ipv4();
    Err(Failure::usage(match Scope::of(remote.ip()) {
        _ if remote.port() == 0 => format!("{remote} has port 0, where nobody listens; give its real port"),
        Scope::Unusable => format!(
            "{remote} is no address of a node (unspecified, multicast, link-local or reserved); give another"
        ),
        _ if !listen.iter().any(family) => {
            format!("{remote} is of another address family than {from}; give --listen with one of its own")
        }
        Scope::Loopback => {
            format!("{remote} is on this machine, which {from} never contacts; give --listen 127.0.0.1:0")
        }
        Scope::Private => format!(
            "{remote} is a private address, which {from} never contacts; give --listen with this machine's own address in that network"
        ),
        Scope::Global => {
            format!("{remote} is on the Internet, which {from} never contacts; give --listen 0.0.0.0:6881")
        }
    }))
}

/// The local address from which `remote`, a loopback or private one, is contacted: that kind is
/// never contacted from a wildcard. `None` if a wildcard will do, or the system knows no way.
pub fn local_for(remote: SocketAddr) -> Option<IpAddr> {
    match Scope::of(remote.ip()) {
        Scope::Loopback => Some(remote.ip()),
        Scope::Private => source_for(remote).filter(|own| Scope::may_contact(*own, remote)),
        Scope::Global | Scope::Unusable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(listen: &str, remote: &str) -> String {
        let listen: Vec<SocketAddr> = listen.split(' ').map(|addr| addr.parse().unwrap()).collect();
        check(&listen, remote.parse().unwrap()).map_or_else(|failure| failure.to_string(), |()| String::new())
    }

    #[test]
    fn each_reason_has_its_own_sentence() {
        assert_eq!(said("0.0.0.0:0 [::]:0", "8.8.8.8:1"), "");
        assert_eq!(said("127.0.0.1:0", "127.16.0.1:1"), "");
        for (listen, remote, part) in [
            ("0.0.0.0:0", "8.8.8.8:0", "port 0"),
            ("0.0.0.0:0 [::]:0", "224.0.0.1:5", "no address of a node"),
            ("0.0.0.0:0", "[2001:db9::1]:5", "another address family"),
            ("0.0.0.0:0", "127.0.0.1:5", "on this machine"),
            ("0.0.0.0:0", "10.0.0.1:5", "private address"),
            ("127.0.0.1:0", "8.8.8.8:5", "on the Internet"),
        ] {
            assert!(said(listen, remote).contains(part), "{}", said(listen, remote));
        }
    }

    #[test]
    fn loopback_is_left_from_itself() {
        assert_eq!(local_for("127.16.0.1:5".parse().unwrap()), Some("127.16.0.1".parse().unwrap()));
        assert_eq!(local_for("8.8.8.8:5".parse().unwrap()), None);
    }
}
