//! Every setting of the engine: one row for its flag, its environment variable, its key in the
//! configuration file, its default and its help.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::names::parse_forwarder;
use super::units;
use crate::base::Network;
use crate::dns;
use crate::embed::system::why_not;
use crate::reactor::Listen;
use crate::reactor::sys::interface;
use crate::wire::dns::idn;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The flag without dashes, which is also the key in the file; the environment variable is
    /// `DHT_HUNTER_` and this in capitals.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// The default as one would write it; empty for none. [`super::settings`] knows those that
    /// depend on the profile or on the machine.
    pub default: &'static str,
    /// The heading it stands under in `--help`.
    pub group: Group,
    /// `--help` shows it; `--help --all` shows the others too.
    pub everyday: bool,
    /// Its room exists. Otherwise the value is checked, and said once to be without effect.
    pub built: bool,
    /// One line of help.
    pub help: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `IP:PORT`.
    Address,
    /// `IP:PORT` or `off`.
    AddressOrOff,
    /// Several `IP:PORT`, or ports alone, or `off`.
    AddressesOrOff,
    /// Several `IP:PORT`.
    Addresses,
    /// Bytes per second; 0 is no limit.
    ByteRate,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number; 0 is no limit.
    Count,
    /// A time of the day to another.
    DailySpan,
    /// A span of time.
    Duration,
    /// Several `HOST:PORT`.
    Hosts,
    /// Several networks, `IP/BITS`.
    Networks,
    /// A file or folder.
    Path,
    /// A share of 100.
    Percent,
    /// A number per second; 0 is no limit.
    Rate,
    /// A number per second, and how many at once.
    RateAndBurst,
    /// Bytes on a disk, with a unit if there are few; 0 is no limit.
    DiskSize,
    /// Bytes; 0 is no limit.
    Size,
    /// On or off; the flag stands alone.
    Switch,
    /// A DNS server; may be given several times.
    Servers,
    /// Any words.
    Text,
    /// Several of any words.
    Texts,
}

/// A heading of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where things lie and listen.
    Place,
    /// How much of the line and the router is used.
    Rate,
    /// What is looked for.
    Crawl,
    /// What is stored.
    Keep,
    /// HTTP and WebSocket.
    Serve,
    /// The resolver.
    Dns,
    /// Gateway, other boxes, Redis.
    Others,
    /// Logs and knobs.
    Look,
}

impl Key {
    /// The row of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The environment variable that stands in for the flag.
    pub fn variable(&self) -> String {
        format!("DHT_HUNTER_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// May be given several times.
    pub fn repeats(&self) -> bool {
        use Kind::{Addresses, AddressesOrOff, Hosts, Networks, Servers, Texts};
        matches!(self.kind, Addresses | AddressesOrOff | Hosts | Networks | Servers | Texts)
    }

    /// What stands for the value in `--help`.
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Address | Kind::AddressOrOff | Kind::Addresses | Kind::AddressesOrOff => "ADDR",
            Kind::ByteRate => "BYTES/s",
            Kind::Choice(_) => "WORD",
            Kind::Count => "N",
            Kind::DailySpan => "HH:MM-HH:MM",
            Kind::Duration => "TIME",
            Kind::Hosts => "HOST:PORT",
            Kind::Networks => "IP/BITS",
            Kind::Path => "PATH",
            Kind::Percent => "PERCENT",
            Kind::Rate => "N/s",
            Kind::RateAndBurst => "N/s,BURST",
            Kind::Servers => "ADDR[#NAME]",
            Kind::DiskSize | Kind::Size => "SIZE",
            Kind::Switch => "on|off",
            Kind::Text | Kind::Texts => "TEXT",
        }
    }

    /// Whether `text` can be a value; the error is a sentence.
    pub fn check(&self, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::Address | Kind::Addresses => parse_address(text).map(drop),
            Kind::AddressOrOff | Kind::AddressesOrOff if is_off(text) => Ok(()),
            Kind::AddressesOrOff => parse_addresses(text).map(drop),
            Kind::AddressOrOff => parse_address(text).map(drop),
            Kind::ByteRate => units::parse_byte_rate(text).map(drop),
            Kind::Choice(words) if words.contains(&text) => Ok(()),
            Kind::Choice(words) => Err(format!("`{text}` is none of {}", words.join(", "))),
            Kind::Count => units::parse_count(text).map(drop),
            Kind::Percent => units::parse_share(text).map(drop),
            Kind::DailySpan => units::parse_daily_span(text).map(drop),
            Kind::Duration => units::parse_duration(text).map(drop),
            Kind::Hosts => parse_host(text).map(drop),
            Kind::Networks => parse_network(text).map(drop),
            Kind::Rate => units::parse_rate(text).map(drop),
            Kind::Servers => parse_forwarder(text).map(drop),
            Kind::RateAndBurst => units::parse_rate_and_burst(text).map(drop),
            Kind::DiskSize => units::parse_disk_size(text).map(drop),
            Kind::Size => units::parse_size(text).map(drop),
            Kind::Switch => parse_switch(text).map(drop),
            Kind::Path | Kind::Text | Kind::Texts if text.is_empty() => Err("the value is empty".to_owned()),
            Kind::Path | Kind::Text | Kind::Texts => Ok(()),
        }
    }
}

impl Group {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Place => "Place",
            Self::Rate => "Rate (0 or off: no limit)",
            Self::Crawl => "Crawl",
            Self::Keep => "Keep",
            Self::Serve => "Serve",
            Self::Dns => "DNS",
            Self::Others => "Others",
            Self::Look => "Look inside",
        }
    }
}

/// `IP:PORT`, IPv6 in brackets.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let problem = |why: &str| {
        format!("`{text}` is not an address with a port{why}; write for example 0.0.0.0:6881 or [::]:6881")
    };
    let plain = text.trim();
    if let Some(addr) = plain.parse().ok().filter(|addr: &SocketAddr| !lacks_scope(addr)) {
        return Ok(addr);
    }
    let has_port = plain.starts_with('[') && !plain.ends_with(']');
    match dns::system::address(plain, 0, interface::index) {
        Ok(addr) if has_port => Ok(addr),
        Err(bad) if bad != dns::system::BadServer::Address => Err(problem(&format!(" ({})", why_not(bad)))),
        _ => Err(problem("")),
    }
}

/// A link-local address, which means nothing without its interface.
fn lacks_scope(addr: &SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(addr) if addr.ip().is_unicast_link_local() && addr.scope_id() == 0)
}

/// `IP:PORT`, or a port alone: there on every address of both families.
pub fn parse_addresses(text: &str) -> Result<Vec<Listen>, String> {
    match text.trim().parse::<u16>() {
        Ok(0) => Err("port 0 is none; give one, for example 53".to_owned()),
        Ok(port) => {
            let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            Ok(any.map(|ip| Listen { addr: SocketAddr::new(ip, port), explicit: false }).into())
        }
        Err(_) => parse_address(text).map(|addr| vec![Listen { addr, explicit: true }]),
    }
}

/// `IP/BITS`, or an address alone.
pub fn parse_network(text: &str) -> Result<Network, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is no network; write for example 192.168.0.0/16 or 2001:db8::/32"))
}

/// A host name or IP literal and a port.
pub fn parse_host(text: &str) -> Result<(String, u16), String> {
    let text = text.trim();
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return match addr.port() {
            0 => Err(format!("`{text}` has port 0, where nobody listens; give its real port")),
            port => Ok((addr.ip().to_string(), port)),
        };
    }
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((idn::to_ascii(host).ok()?, port.parse().ok()?)));
    match parts {
        Some((host, port)) if port != 0 && is_host_name(&host) => Ok((host.into_owned(), port)),
        _ => Err(format!(
            "`{text}` is not HOST:PORT; write for example dht.libtorrent.org:25401 or 192.0.2.1:6881"
        )),
    }
}

/// `on`, `off` and their like.
pub fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither on nor off")),
    }
}

/// `off` and `0` both mean that a thing is not wanted.
pub fn is_off(text: &str) -> bool {
    let text = text.trim();
    text.eq_ignore_ascii_case("off") || text == "0"
}

/// RFC 1123 in so far as it keeps mistakes out; IP literals are told apart before.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    host.len() <= 253 && (host.parse::<IpAddr>().is_ok() || host.trim_end_matches('.').split('.').all(label))
}

/// Rates without a default here have the profile's.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    everyday("data-dir", Kind::Path, "", Group::Place, "Folder of the database, the index and the keys [default: $STATE_DIRECTORY, else the user's data folder]"),
    everyday("db", Kind::Path, "", Group::Place, "The database, if not in the data folder [env also: DB_PATH]"),
    everyday("config", Kind::Path, "", Group::Place, "Read settings from this TOML file, keys named as the flags"),
    everyday("listen", Kind::Addresses, "0.0.0.0:6881 [::]:6881", Group::Place, "Where the DHT node listens; may be given several times"),
    later("http", Kind::AddressOrOff, "127.0.0.1:3000", Group::Place, "Where the API listens, or off [env also: PORT]"),
    everyday("dns", Kind::AddressesOrOff, "off", Group::Place, "Where questions about names are answered (UDP and TCP): ADDR:PORT, or PORT for all addresses; may be given several times"),
    detail("interface", Kind::Text, "", Group::Place, "Use only this network interface"),
    detail("bootstrap", Kind::Hosts, "dht.libtorrent.org:25401 dht.transmissionbt.com:6881 router.bt.ouinet.work:6881 router.silotis.us:6881", Group::Place, "Nodes to ask first; may be given several times"),

    everyday("profile", Kind::Choice(&["home", "server", "max"]), "home", Group::Rate, "Sets the limits below: home spares a small router, max lifts them"),
    everyday("packets-out", Kind::Rate, "", Group::Rate, "Packets sent a second"),
    everyday("bytes-out", Kind::ByteRate, "", Group::Rate, "Bytes sent a second"),
    everyday("bytes-in", Kind::ByteRate, "", Group::Rate, "Bytes received a second"),
    everyday("flows", Kind::Count, "", Group::Rate, "Live flows, an estimate of the router's connection table"),
    detail("half-open", Kind::Count, "", Group::Rate, "TCP connections being opened at once"),
    everyday("fetches", Kind::Count, "", Group::Rate, "Torrents being fetched at once"),
    detail("answers-per-address", Kind::RateAndBurst, "", Group::Rate, "Queries answered a second for each address, and how many at once"),
    detail("traffic-month", Kind::Size, "off", Group::Rate, "Pace the crawl to stay below this many bytes a month"),

    detail("no-sweep", Kind::Switch, "off", Group::Crawl, "Do not walk the DHT for infohashes (BEP 51)"),
    detail("no-passive", Kind::Switch, "off", Group::Crawl, "Do not learn infohashes from incoming queries"),
    detail("metadata-max", Kind::Size, "16MiB", Group::Crawl, "Largest info dictionary that is fetched, at most 16MiB"),
    everyday("filter", Kind::Path, "", Group::Crawl, "File of words, patterns, sizes and hashes never to keep"),
    detail("pause-between", Kind::DailySpan, "", Group::Crawl, "Pause the crawl at this time of the day, local time"),
    detail("peer-ports-below-1024", Kind::Switch, "off", Group::Crawl, "Contact peers on ports below 1024 too"),

    everyday("keep", Kind::Choice(&["list", "info"]), "list", Group::Keep, "list: names, sizes, files; info: the raw info dictionary too, for instant .torrent files"),
    everyday("disk-max", Kind::DiskSize, "off", Group::Keep, "Most disk space for the database, the index and histories together, at least 1MiB; the oldest torrents go first"),
    detail("disk-free-min", Kind::DiskSize, "2GiB", Group::Keep, "Stop fetching while less than this is free on the disk"),
    detail("commit-rows", Kind::Count, "1000", Group::Keep, "Rows in one transaction at most"),
    detail("commit-ms", Kind::Count, "200", Group::Keep, "Milliseconds until a transaction is committed at the latest"),

    later("auth", Kind::Switch, "off", Group::Serve, "Ask who it is, even on loopback"),
    later("tls-cert", Kind::Path, "", Group::Serve, "Certificate chain for HTTPS (PEM)"),
    later("tls-key", Kind::Path, "", Group::Serve, "Its private key (PEM)"),
    later("trust-proxy", Kind::Texts, "", Group::Serve, "Believe X-Forwarded-For from these networks (CIDR)"),
    later("public-url", Kind::Text, "", Group::Serve, "The address that clients see"),
    later("origins", Kind::Texts, "", Group::Serve, "Origins whose pages may use the API"),
    later("requests-per-client", Kind::Rate, "", Group::Serve, "Requests a second for each client; 0 lifts every cap per client"),
    later("connections-per-client", Kind::Count, "64", Group::Serve, "Connections of each client address"),
    later("requests-per-connection", Kind::Count, "1000", Group::Serve, "Requests until a connection is closed"),
    later("ws-message-max", Kind::Size, "64KiB", Group::Serve, "Largest WebSocket message"),
    later("demo-endpoints", Kind::Switch, "off", Group::Serve, "Serve the endpoints that examples use"),
    later("health-interval", Kind::Duration, "30s", Group::Serve, "Time between health broadcasts"),
    later("system-interval", Kind::Duration, "60s", Group::Serve, "Time between system broadcasts"),

    everyday("dns-forwarder", Kind::Servers, "", Group::Dns, "DNS server to ask, ADDR[#NAME] or tls://ADDR[#NAME], with /SUFFIX/ before it only for names in that; may be given several times [default: resolv.conf]"),
    detail("dns-strategy", Kind::Choice(&["strict", "parallel", "fastest"]), "fastest", Group::Dns, "How forwarders are chosen"),
    detail("dns-zone", Kind::Texts, "", Group::Dns, "Zone file to answer from; may be given several times"),
    detail("dns-policy", Kind::Texts, "", Group::Dns, "RPZ zone, hosts file or list of names to block, file or URL; may be given several times"),
    detail("dns-policy-shrink", Kind::Percent, "50", Group::Dns, "Percent of its rules that a list of --dns-policy may lose at once; more, and the one before stays"),
    detail("dns-allow", Kind::Networks, "", Group::Dns, "Networks that may ask; may be given several times [default: private, loopback, and those of this machine's interfaces]"),
    detail("dns-rate", Kind::Rate, "1000/s", Group::Dns, "Answers a second for each client address, loopback exempt"),
    detail("dns-rebind-protect", Kind::Switch, "off", Group::Dns, "Leave private addresses out of answers about public names (DNS rebinding)"),
    detail("dns-rebind-allow", Kind::Texts, "", Group::Dns, "Domain whose names may have private addresses all the same; may be given several times"),
    detail("preconnect", Kind::Switch, "off", Group::Dns, "Keep connections to the targets warm; on if --targets is given"),
    everyday("targets", Kind::Path, "", Group::Dns, "File of targets, HOST PORT PROTOCOL on each line"),

    later("nat", Kind::Switch, "on", Group::Others, "Open the router's ports (PCP, NAT-PMP, UPnP)"),
    later("map-http", Kind::Switch, "off", Group::Others, "Open a port for the API too"),
    later("mesh", Kind::AddressOrOff, "off", Group::Others, "Where other boxes of ours reach this one, or off"),
    later("peer", Kind::Texts, "", Group::Others, "Another box of ours"),
    later("multicast", Kind::Switch, "off", Group::Others, "Find other boxes on the local network"),
    later("dns-seed", Kind::Text, "", Group::Others, "Find other boxes by this DNS name"),
    later("redis", Kind::Text, "", Group::Others, "Share the work with other boxes over this Redis"),

    everyday("log", Kind::Text, "info", Group::Look, "What is logged: a level, or env_logger's syntax"),
    detail("log-format", Kind::Choice(&["text", "json"]), "text", Group::Look, "How it is logged"),
    detail("udp-batch", Kind::Count, "64", Group::Look, "Datagrams per system call at most, 1 to 64"),
];

const fn everyday(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    group: Group,
    help: &'static str,
) -> Key {
    Key { name, kind, default, group, everyday: true, built: true, help }
}

const fn detail(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    group: Group,
    help: &'static str,
) -> Key {
    Key { name, kind, default, group, everyday: false, built: true, help }
}

/// For a room that does not exist yet.
const fn later(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    group: Group,
    help: &'static str,
) -> Key {
    Key { name, kind, default, group, everyday: false, built: false, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_holds_together() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[index + 1..].iter().all(|other| other.name != key.name), "{} twice", key.name);
            assert!(!key.help.is_empty() && !key.help.ends_with('.'), "{}", key.name);
            let defaults = if key.repeats() { key.default.split(' ').collect() } else { vec![key.default] };
            for default in defaults.into_iter().filter(|default| !default.is_empty()) {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
            }
            assert_eq!(Key::named(key.name).map(|found| found.name), Some(key.name));
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(parse_host("dht.libtorrent.org:25401"), Ok(("dht.libtorrent.org".to_owned(), 25_401)));
        assert_eq!(parse_host("[2001:db8::1]:6881"), Ok(("2001:db8::1".to_owned(), 6_881)));
        for text in ["dht.libtorrent.org", "a b:1", "x:0", ":1", "x:70000", "..:1", "127.0.0.1:0", "[::1]:0"]
        {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(
            parse_network(" 10.1.2.3/8").map(|network| network.to_string()),
            Ok("10.0.0.0/8".to_owned())
        );
        assert!(parse_network("10.0.0.0/33").is_err_and(|fault| fault.contains("10.0.0.0/33")));
    }

    #[test]
    fn values_are_checked_by_kind() {
        let check = |name: &str, text: &str| Key::named(name).unwrap().check(text).is_ok();
        assert!(check("http", "off") && check("http", "127.0.0.1:80") && !check("http", "localhost"));
        assert!(check("profile", "max") && !check("profile", "maximum"));
        assert!(check("nat", "true") && !check("nat", "maybe"));
        assert!(!check("db", ""));
    }
}
