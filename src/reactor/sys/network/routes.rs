//! Linux tells its routes in files under /proc/net.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::DefaultRoute;

/// Of both families, the preferred first; `None` if neither file can be read.
pub(super) fn default_routes() -> Option<Vec<DefaultRoute>> {
    let (v4, v6) = (read("/proc/net/route"), read("/proc/net/ipv6_route"));
    if v4.is_none() && v6.is_none() {
        return None;
    }
    Some(defaults(&v4.unwrap_or_default(), &v6.unwrap_or_default()))
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn defaults(v4: &str, v6: &str) -> Vec<DefaultRoute> {
    let mut found: Vec<_> = v4.lines().filter_map(route_v4).chain(v6.lines().filter_map(route_v6)).collect();
    found.sort_by_key(|route| (route.v6, route.metric));
    found
}

/// Interface, destination, gateway, flags, two counters, metric, mask: addresses as the number that
/// the four bytes are in memory.
fn route_v4(line: &str) -> Option<DefaultRoute> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, to, gateway, flags, _, _, metric, mask, ..] = words[..] else { return None };
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    if (hex(to)?, hex(mask)?) != (0, 0) || !leads_out(hex(flags)?) {
        return None;
    }
    let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
    Some(DefaultRoute {
        interface: interface.to_owned(),
        gateway: (!gateway.is_unspecified()).then_some(gateway.into()),
        v6: false,
        metric: metric.parse().ok()?,
    })
}

/// Destination and its bits, source and its bits, next hop, metric, two counters, flags, interface:
/// all in hex.
fn route_v6(line: &str) -> Option<DefaultRoute> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [to, bits, _, from_bits, hop, metric, _, _, flags, interface] = words[..] else { return None };
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from);
    let everywhere = address(to)?.is_unspecified() && (hex(bits)?, hex(from_bits)?) == (0, 0);
    if !everywhere || !leads_out(hex(flags)?) {
        return None;
    }
    let gateway = address(hop)?;
    Some(DefaultRoute {
        interface: interface.to_owned(),
        gateway: (!gateway.is_unspecified()).then_some(IpAddr::V6(gateway)),
        v6: true,
        metric: hex(metric)?,
    })
}

/// A route that is up and does not say that there is no way.
fn leads_out(flags: u32) -> bool {
    flags & RTF_UP != 0 && flags & RTF_REJECT == 0
}

/// linux/route.h
const RTF_UP: u32 = 0x1;
const RTF_REJECT: u32 = 0x200;
/// A router with the whole Internet's routes has some hundred MB of them; ours are the first lines.
const FILE_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0
none\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0
tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
    const V6: &str = "\
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    // The numbers are as a little-endian machine prints them.
    #[cfg(target_endian = "little")]
    #[test]
    fn default_routes_are_found_in_their_order() {
        let found: Vec<_> = defaults(V4, V6)
            .into_iter()
            .map(|route| (route.interface, route.gateway.map(|ip| ip.to_string()), route.metric))
            .collect();
        let want =
            |name: &str, over: Option<&str>, metric| (name.to_owned(), over.map(str::to_owned), metric);
        assert_eq!(
            found,
            [
                want("eth0", Some("192.0.2.1"), 100),
                want("wlan0", Some("192.168.1.1"), 600),
                want("ppp0", None, 700),
                want("eth0", Some("fe80::1"), 1_024),
            ]
        );
    }

    #[test]
    fn nonsense_is_no_route() {
        assert_eq!(defaults("a b\n\neth0 zz 0 1 0 0 0 0\n", "00 00\n\u{fffd}"), []);
    }
}
