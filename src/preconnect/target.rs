//! Where connections go to, and lists of that as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::base::text::without_bom;
use crate::wire::dns::{Name, idn};

/// One place to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The TCP port, not 0.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What it is, in people's words; may be empty.
    pub service: String,
}

/// What is spoken at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// WebSocket in the clear.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// DNS over TLS (RFC 7858).
    Dot,
    /// Anything in the clear.
    Tcp,
    /// Anything over TLS.
    Tls,
}

/// What connections can be told apart by: those with one key can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The host as it was written; with TLS also whose certificate it must have.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// With TLS, the protocols that are offered (RFC 7301), the best first; may be none.
    pub tls: Option<Vec<Vec<u8>>>,
}

/// Why a line is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// It has fewer than three words.
    TooShort,
    /// The first word is neither a host name nor an IP address.
    Host,
    /// The second word is no port from 1 to 65535.
    Port,
    /// The third word is no protocol that is known.
    Protocol,
    /// It has more than a thousand bytes.
    TooLong,
    /// There are more than [`TARGETS_MAX`].
    TooMany,
}

impl Target {
    /// A target without a description.
    pub fn new(host: &str, port: u16, protocol: Protocol) -> Self {
        Self { host: host.to_owned(), port, protocol, service: String::new() }
    }

    /// Reads `HOST PORT PROTOCOL [SERVICE]`; the service may have spaces in it.
    pub fn parse(line: &str) -> Result<Self, BadTarget> {
        if line.len() > LINE_MAX {
            return Err(BadTarget::TooLong);
        }
        let mut words = line.split_whitespace();
        let (Some(host), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(BadTarget::TooShort);
        };
        Ok(Self {
            host: parse_host(host)?,
            port: port.parse().ok().filter(|port| *port != 0).ok_or(BadTarget::Port)?,
            protocol: protocol.parse()?,
            service: words.collect::<Vec<_>>().join(" "),
        })
    }

    /// What its connection can be told apart by when it is kept for clients of ours.
    pub fn key(&self) -> Key {
        let tls = self.protocol.is_secure().then(|| self.protocol.spoken_by_us());
        Key { host: self.host.clone(), port: self.port, tls }
    }
}

/// A list of targets: one on each line, as [`Target::parse`] reads it; `#` begins a comment, empty
/// lines are passed over. The error has the number of its line.
pub fn parse_list(text: &str) -> Result<Vec<Target>, (usize, BadTarget)> {
    let mut targets = Vec::new();
    for (index, line) in without_bom(text).lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if targets.len() >= TARGETS_MAX {
            return Err((index + 1, BadTarget::TooMany));
        }
        targets.push(Target::parse(line).map_err(|fault| (index + 1, fault))?);
    }
    Ok(targets)
}

fn parse_host(text: &str) -> Result<String, BadTarget> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) if bare.is_some() => Err(BadTarget::Host),
        Err(_) => {
            let ascii = idn::to_ascii(text).map_err(|_| BadTarget::Host)?;
            if is_host_name(&ascii) { Ok(ascii.into_owned()) } else { Err(BadTarget::Host) }
        }
    }
}

/// A name that may be a host's: letters, digits, `-` and `_` (RFC 1123, and what is met).
fn is_host_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // Digits and dots that are no address are a mistake of one.
    let address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain && !address && Name::parse(text).is_ok()
}

impl Protocol {
    /// All, in the order in which they are listed to people.
    pub const ALL: [Self; 7] =
        [Self::Http, Self::Https, Self::Ws, Self::Wss, Self::Dot, Self::Tcp, Self::Tls];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Dot => "dot",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// True if it is spoken over TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss | Self::Dot | Self::Tls)
    }

    /// True if a server says nothing before it was asked: what it says nevertheless is a farewell.
    pub fn client_speaks_first(self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls)
    }

    /// What a server may be asked for to see what it can do (RFC 7301).
    pub fn offered(self) -> Vec<Vec<u8>> {
        match self {
            Self::Https => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            other => other.spoken_by_us(),
        }
    }

    /// What clients of ours speak (RFC 7301).
    pub fn spoken_by_us(self) -> Vec<Vec<u8>> {
        match self {
            Self::Https | Self::Wss => vec![b"http/1.1".to_vec()],
            Self::Dot => vec![b"dot".to_vec()],
            Self::Http | Self::Ws | Self::Tcp | Self::Tls => Vec::new(),
        }
    }
}

impl FromStr for Protocol {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text));
        found.ok_or(BadTarget::Protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, host, port) = (self.protocol, &self.host, self.port);
        if host.contains(':') {
            write!(f, "{protocol}://[{host}]:{port}")
        } else {
            write!(f, "{protocol}://{host}:{port}")
        }
    }
}

/// The list that is used when nobody gives another, in the form of [`parse_list`].
pub const DEFAULTS: &str = "\
localhost        8080  http   Headscale API
localhost        9090  http   Metrics
localhost        3000  http   Headplane UI
localhost        4000  http   API Proxy
api.example.com  443   https  Production API
100.64.0.10      8080  http   Tailscale Headscale
";
/// Each warm one is a descriptor and some kilobytes.
pub const TARGETS_MAX: usize = 4_096;
/// A host name has at most 253 bytes; the rest is for words.
const LINE_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_is_the_table_that_was_asked_for() {
        let list = parse_list(DEFAULTS).unwrap();
        let shown: Vec<_> = list.iter().map(Target::to_string).collect();
        assert_eq!(
            shown,
            [
                "http://localhost:8080",
                "http://localhost:9090",
                "http://localhost:3000",
                "http://localhost:4000",
                "https://api.example.com:443",
                "http://100.64.0.10:8080"
            ]
        );
        assert_eq!(
            (list[0].service.as_str(), list[5].service.as_str()),
            ("Headscale API", "Tailscale Headscale")
        );
    }

    #[test]
    fn lines_are_read_and_mistakes_have_their_line() {
        let list = parse_list("\u{feff}[::1] 443 HTTPS # here\n a.test\t53 dot my  resolver\n").unwrap();
        assert_eq!(list.len(), 2);
        let list = parse_list("# mine\n\n[::1] 443 HTTPS # here\n a.test\t53 dot my  resolver\n").unwrap();
        assert_eq!(list[0], Target::new("::1", 443, Protocol::Https));
        assert_eq!(list[0].to_string(), "https://[::1]:443");
        assert_eq!((list[1].service.as_str(), list[1].protocol), ("my resolver", Protocol::Dot));
        for (line, fault) in [
            ("a.test 443", BadTarget::TooShort),
            ("a..test 443 https", BadTarget::Host),
            ("[a.test] 443 https", BadTarget::Host),
            ("1.2.3 443 https", BadTarget::Host),
            ("a/b 443 https", BadTarget::Host),
            ("https://a.test 443 https", BadTarget::Host),
            ("a.test 0 https", BadTarget::Port),
            ("a.test 65536 https", BadTarget::Port),
            ("a.test 443 gopher", BadTarget::Protocol),
        ] {
            assert_eq!(parse_list(&format!("x.test 1 tcp\n{line}")), Err((2, fault)), "{line}");
        }
        assert_eq!(Target::parse(&"a ".repeat(LINE_MAX)), Err(BadTarget::TooLong));
        let many = "a.test 1 tcp\n".repeat(TARGETS_MAX + 1);
        assert_eq!(parse_list(&many), Err((TARGETS_MAX + 1, BadTarget::TooMany)));
    }

    #[test]
    fn protocols_know_their_words() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.name().parse(), Ok(protocol));
        }
        let https = Target::new("a.test", 443, Protocol::Https);
        assert_eq!(https.key().tls, Some(vec![b"http/1.1".to_vec()]));
        assert_eq!(Target::new("a.test", 80, Protocol::Http).key().tls, None);
        assert_eq!(Target::new("a.test", 1, Protocol::Tls).key().tls, Some(Vec::new()));
        assert_eq!(Protocol::Https.offered().len(), 2);
    }
}
