//! What the system says about names: resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::base::text::without_bom;
use crate::wire::dns::Name;

/// The settings of a resolv.conf file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in order.
    pub servers: Vec<SocketAddr>,
    /// Suffixes for short names, in order.
    pub search: Vec<Name>,
    /// A name with so many dots is tried as it is first.
    pub ndots: u8,
    /// Seconds to wait for a server, if stated.
    pub timeout_secs: Option<u8>,
    /// The servers are to be asked in turn.
    pub rotate: bool,
    /// Servers that cannot be asked as they are written, and why.
    pub unusable: Vec<(String, BadServer)>,
}

/// Why a text is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadServer {
    /// It is no address, or its port is 0.
    Address,
    /// It is a link-local address, which means nothing without its interface (RFC 4007).
    NoScope,
    /// This machine has no interface of the name behind the `%`.
    Interface,
}

impl ResolvConf {
    /// Reads the text of the file. As everywhere, what is not understood is passed over, and of
    /// `domain` and `search` the last one counts. `index_of` knows the numbers of interfaces.
    pub fn parse(text: &str, index_of: impl Fn(&str) -> Option<u32>) -> Self {
        let mut read = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout_secs: None,
            rotate: false,
            unusable: Vec::new(),
        };
        for line in without_bom(text).lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if read.servers.len() < SERVERS_MAX => {
                    let Some(word) = words.next() else { continue };
                    match server(word, PORT, &index_of) {
                        Ok(server) => read.servers.push(server),
                        Err(_) if read.unusable.len() >= SERVERS_MAX => {}
                        Err(bad) => read.unusable.push((word.to_owned(), bad)),
                    }
                }
                Some("domain") => {
                    read.search = words.take(1).filter_map(|word| Name::parse(word).ok()).collect()
                }
                Some("search") => {
                    read.search = words.take(SEARCH_MAX).filter_map(|word| Name::parse(word).ok()).collect();
                }
                Some("options") => words.for_each(|word| read.option(word)),
                _ => {}
            }
        }
        read.search.retain(|suffix| *suffix != Name::ROOT);
        read
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match name {
            "ndots" => self.ndots = value.parse().unwrap_or(self.ndots).min(NDOTS_MAX),
            "timeout" => self.timeout_secs = value.parse().ok().map(|secs: u8| secs.clamp(1, TIMEOUT_MAX)),
            "rotate" => self.rotate = true,
            _ => {}
        }
    }
}

/// Where a server is: an address, perhaps with an interface (`fe80::1%eth0`, `fe80::1%2`) or a port
/// (`[::1]:5353`), which else is `port`. The unspecified address means this machine.
pub fn server(
    word: &str,
    port: u16,
    index_of: impl Fn(&str) -> Option<u32>,
) -> Result<SocketAddr, BadServer> {
    let mut addr = address(word, port, index_of)?;
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    if addr.port() == 0 { Err(BadServer::Address) } else { Ok(addr) }
}

/// The same for any address: the unspecified one and port 0 are left as they are.
pub fn address(
    word: &str,
    port: u16,
    index_of: impl Fn(&str) -> Option<u32>,
) -> Result<SocketAddr, BadServer> {
    let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, port),
        Some((host, rest)) => {
            let written = rest.strip_prefix(':').and_then(|port| port.parse().ok());
            (host, written.ok_or(BadServer::Address)?)
        }
        None => match word.split_once(':') {
            // More than one colon: an IPv6 address.
            Some((host, written)) if !written.contains(':') => {
                (host, written.parse().map_err(|_| BadServer::Address)?)
            }
            _ => (word, port),
        },
    };
    let (ip, scope) = host.split_once('%').map_or((host, None), |(ip, scope)| (ip, Some(scope)));
    match (ip.parse().map_err(|_| BadServer::Address)?, scope) {
        (IpAddr::V6(ip), Some(scope)) => {
            let scope = index_of(scope).ok_or(BadServer::Interface)?;
            Ok(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        (IpAddr::V6(ip), None) if ip.is_unicast_link_local() => Err(BadServer::NoScope),
        (IpAddr::V4(_), Some(_)) => Err(BadServer::Address),
        (ip, None) => Ok(SocketAddr::new(ip, port)),
    }
}

/// Where DNS is asked for.
pub const PORT: u16 = 53;
/// glibc takes three; other systems write more.
const SERVERS_MAX: usize = 8;
/// glibc before 2.26 took six.
const SEARCH_MAX: usize = 16;
/// As glibc caps them.
const NDOTS_MAX: u8 = 15;
const TIMEOUT_MAX: u8 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_glibc_reads_it() {
        let index_of = |name: &str| name.parse().ok().or_else(|| (name == "eth0").then_some(2));
        let read = ResolvConf::parse(
            "; made by hand\n# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver fe80::1%3\nnameserver nonsense\n\
             nameserver [::1]:5353\nnameserver 0.0.0.0\nnameserver fe80::2%eth0\n\
             nameserver fe80::2%eth1\nnameserver fe80::2\ndomain old.test\nsearch a.test b.test. . \noptions ndots:99 timeout:0 rotate edns0\n",
            index_of,
        );
        let servers: Vec<_> = read.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            servers,
            ["127.0.0.53:53", "[fe80::1%3]:53", "[::1]:5353", "127.0.0.1:53", "[fe80::2%2]:53"]
        );
        let bad = [
            ("nonsense", BadServer::Address),
            ("fe80::2%eth1", BadServer::Interface),
            ("fe80::2", BadServer::NoScope),
        ];
        assert_eq!(read.unusable, bad.map(|(text, why)| (text.to_owned(), why)));
        let search: Vec<_> = read.search.iter().map(Name::to_string).collect();
        assert_eq!(search, ["a.test.", "b.test."]);
        assert_eq!((read.ndots, read.timeout_secs, read.rotate), (15, Some(1), true));
        let empty = ResolvConf::parse("", index_of);
        assert_eq!((empty.servers.len(), empty.ndots), (0, 1));
    }
}
