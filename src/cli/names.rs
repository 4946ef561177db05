//! Whom to ask about names, as people write it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dns::{self, ForwarderConfig, Strategy};

pub use crate::embed::system::{Follow, system};

/// A forwarder from `ADDR[#NAME]` or `tls://ADDR[#NAME]`; the port is 53, or 853 with TLS (RFC 7858),
/// unless given. With TLS the name is whose certificate it must have, else the address itself.
pub fn parse_forwarder(text: &str) -> Result<ForwarderConfig, String> {
    let (tls, rest) = text.strip_prefix("tls://").map_or((false, text), |rest| (true, rest));
    let (addr, name) = rest.split_once('#').map_or((rest, None), |(addr, name)| (addr, Some(name)));
    let port = if tls { TLS_PORT } else { dns::system::PORT };
    let bare = addr.trim_start_matches('[').trim_end_matches(']');
    let addr = match (bare.parse::<IpAddr>(), addr.parse::<SocketAddr>()) {
        (Ok(ip), _) => SocketAddr::new(ip, port),
        (_, Ok(addr)) if addr.port() != 0 => addr,
        _ => {
            return Err(format!(
                "`{text}` is no address of a server; give one like 9.9.9.9, 127.0.0.1:5353 or tls://9.9.9.9#dns.quad9.net"
            ));
        }
    };
    if name.is_some_and(|name| name.is_empty() || name.len() > NAME_MAX) {
        return Err(format!("`{text}` has no name behind the #; give one, or leave the # out"));
    }
    let shown = if tls { format!("tls://{addr}") } else { addr.to_string() };
    Ok(ForwarderConfig {
        addr,
        name: name.map_or(shown, str::to_owned).into(),
        tls: tls.then(|| name.map_or_else(|| addr.ip().to_string(), str::to_owned).into()),
    })
}

/// The resolver of a command that asks and goes; `given` takes the place of the system's servers.
pub fn one_off(given: &[ForwarderConfig]) -> dns::Config {
    let system = system(given);
    dns::Config {
        hosts: system.hosts,
        search: system.search,
        ndots: system.ndots,
        strategy: Strategy::Strict,
        deadline: DEADLINE,
        ..dns::Config::new(system.forwarders)
    }
}

/// Somebody waits at a terminal: one round of glibc.
pub const DEADLINE: Duration = Duration::from_secs(5);
const TLS_PORT: u16 = 853;
const NAME_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarders_are_read_as_they_are_written() {
        let read = |text: &str| {
            parse_forwarder(text).map(|read| format!("{} {} {:?}", read.addr, read.name, read.tls))
        };
        assert_eq!(read("9.9.9.9").unwrap(), "9.9.9.9:53 9.9.9.9:53 None");
        assert_eq!(read("127.0.0.1:5301#mine").unwrap(), "127.0.0.1:5301 mine None");
        assert_eq!(read("::1").unwrap(), "[::1]:53 [::1]:53 None");
        assert_eq!(read("[::1]:5353").unwrap(), "[::1]:5353 [::1]:5353 None");
        assert_eq!(
            read("tls://9.9.9.9#dns.quad9.net").unwrap(),
            "9.9.9.9:853 dns.quad9.net Some(\"dns.quad9.net\")"
        );
        assert_eq!(
            read("tls://127.0.0.1:8853").unwrap(),
            "127.0.0.1:8853 tls://127.0.0.1:8853 Some(\"127.0.0.1\")"
        );
        for bad in ["", "dns.example", "1.2.3.4#", "1.2.3.4:0", "tls://", "1.2.3.4:99999"] {
            assert!(parse_forwarder(bad).is_err(), "{bad}");
        }
    }
}
