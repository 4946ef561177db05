//! What the system says about names: resolv.conf(5).

use std::net::{IpAddr, SocketAddr};

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
}

impl ResolvConf {
    /// Reads the text of the file. As everywhere, what is not understood is passed over, and of
    /// `domain` and `search` the last one counts.
    pub fn parse(text: &str) -> Self {
        let mut read =
            Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout_secs: None, rotate: false };
        for line in without_bom(text).lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if read.servers.len() < SERVERS_MAX => {
                    read.servers.extend(words.next().and_then(server));
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

/// An address, perhaps with an interface (`fe80::1%2`) or, as some systems write it, a port
/// (`[::1]:5353`).
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT));
    }
    if let Ok(addr) = word.parse() {
        return Some(addr);
    }
    format!("[{word}]:{PORT}").parse().ok()
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
        let read = ResolvConf::parse(
            "; made by hand\n# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver fe80::1%3\nnameserver nonsense\n\
             nameserver [::1]:5353\ndomain old.test\nsearch a.test b.test. . \noptions ndots:99 timeout:0 rotate edns0\n",
        );
        let servers: Vec<_> = read.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[fe80::1%3]:53", "[::1]:5353"]);
        let search: Vec<_> = read.search.iter().map(Name::to_string).collect();
        assert_eq!(search, ["a.test.", "b.test."]);
        assert_eq!((read.ndots, read.timeout_secs, read.rotate), (15, Some(1), true));
        let empty = ResolvConf::parse("");
        assert_eq!((empty.servers.len(), empty.ndots), (0, 1));
    }
}
