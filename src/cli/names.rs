//! Whom to ask about names, as people write it.

use std::time::Duration;

use crate::dns::{self, ForwarderConfig, Strategy};
use crate::embed::system::why_not;
use crate::reactor::sys::interface;
use crate::wire::dns::Name;

pub use crate::embed::system::{Follow, system};

/// A forwarder from `ADDR[#NAME]` or `tls://ADDR[#NAME]`, perhaps with `/SUFFIX/` before it; the port is
/// 53, or 853 with TLS (RFC 7858), unless given. With TLS the name is whose certificate it must have,
/// else the address itself. With a suffix it is asked only for names in that, and alone for them.
pub fn parse_forwarder(text: &str) -> Result<ForwarderConfig, String> {
    let Some((suffix, rest)) = text.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
        return parse_server(text);
    };
    let suffix = parse_suffix(suffix)?;
    if suffix == Name::ROOT {
        return Err(format!("`{text}` has no suffix between the slashes; write /corp.example/10.0.0.53"));
    }
    Ok(ForwarderConfig { suffix: Some(suffix), ..parse_server(rest)? })
}

/// The end of names that something is about.
pub fn parse_suffix(text: &str) -> Result<Name, String> {
    let plain = text.trim().trim_start_matches('.');
    let name = if plain.is_empty() { Ok(Name::ROOT) } else { Name::parse(plain) };
    name.map_err(|_| format!("`{text}` is no domain name; write it like corp.example"))
}

fn parse_server(text: &str) -> Result<ForwarderConfig, String> {
    let (tls, rest) = text.strip_prefix("tls://").map_or((false, text), |rest| (true, rest));
    let (addr, name) = rest.split_once('#').map_or((rest, None), |(addr, name)| (addr, Some(name)));
    let port = if tls { TLS_PORT } else { dns::system::PORT };
    let addr = dns::system::server(addr, port, interface::index).map_err(|bad| {
        let why = why_not(bad);
        format!(
            "`{text}` is no address of a server: {why}; give one like 9.9.9.9, 127.0.0.1:5353 or tls://9.9.9.9#dns.quad9.net"
        )
    })?;
    if name.is_some_and(|name| name.is_empty() || name.len() > NAME_MAX) {
        return Err(format!("`{text}` has no name behind the #; give one, or leave the # out"));
    }
    let shown = if tls { format!("tls://{addr}") } else { addr.to_string() };
    Ok(ForwarderConfig {
        addr,
        name: name.map_or(shown, str::to_owned).into(),
        tls: tls.then(|| name.map_or_else(|| addr.ip().to_string(), str::to_owned).into()),
        suffix: None,
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
        assert_eq!(read("0.0.0.0").unwrap(), "127.0.0.1:53 127.0.0.1:53 None");
        assert_eq!(read("[::]:5353").unwrap(), "[::1]:5353 [::1]:5353 None");
        assert_eq!(read("fe80::1%lo").unwrap(), "[fe80::1%1]:53 [fe80::1%1]:53 None");
        assert_eq!(read("tls://[fe80::1%1]:8853#box").unwrap(), "[fe80::1%1]:8853 box Some(\"box\")");
        let suffix = |text: &str| parse_forwarder(text).map(|read| read.suffix.unwrap().to_string());
        assert_eq!(suffix("/Corp.Example/10.0.0.53").unwrap(), "corp.example.");
        assert_eq!(suffix("/168.192.in-addr.arpa/tls://10.0.0.53#dns").unwrap(), "168.192.in-addr.arpa.");
        for bad in [
            "//1.2.3.4",
            "/corp.example/",
            "/a..b/1.2.3.4",
            "/corp.example",
            "fe80::1%no-such-if0",
            "fe80::1",
        ] {
            assert!(parse_forwarder(bad).is_err(), "{bad}");
        }
        for bad in ["", "dns.example", "1.2.3.4#", "1.2.3.4:0", "tls://", "1.2.3.4:99999"] {
            assert!(parse_forwarder(bad).is_err(), "{bad}");
        }
    }
}
