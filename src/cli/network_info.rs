//! What is shown of this machine's network.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::print::{Align, table};
use crate::base::Scope;
use crate::model::{DefaultRoute, Interface, NetworkInfo};

/// For people: what it is called, how it gets out, and a table of its interfaces.
pub fn lines(info: &NetworkInfo) -> Vec<String> {
    let unknown = || "the system does not tell".to_owned();
    let list = |ips: Vec<IpAddr>| {
        let texts: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
    };
    let mut lines = vec![
        format!("host name      {}", info.hostname.clone().unwrap_or_else(unknown)),
        format!("IPv4           {}", list(info.ipv4())),
        format!("IPv6           {}", list(info.ipv6())),
        format!("IPv4 Internet  {}", way_out(info.source_v4)),
        format!("IPv6 Internet  {}", way_out(info.source_v6)),
    ];
    match info.default_routes.as_deref() {
        None => lines.push(format!("default route  {}", unknown())),
        Some([]) => lines.push("default route  none".to_owned()),
        Some(routes) => lines.extend(routes.iter().map(|route| format!("default route  {}", way(route)))),
    }
    if info.is_loopback_only() {
        lines.push(
            "this machine reaches nobody but itself; check its cable, Wi-Fi or network settings".to_owned(),
        );
    }
    if let Some(interfaces) = &info.interfaces {
        lines.push(String::new());
        let head = [("interface", Align::Left), ("state", Align::Left), ("addresses", Align::Left)];
        let rows: Vec<_> = interfaces.iter().map(row).collect();
        lines.extend(table(head, &rows));
    }
    lines
}

/// For programs; `hostname`, `ipv4` and `ipv6` first of all, `null` where the system does not tell.
pub fn json(info: &NetworkInfo) -> Value {
    let texts = |ips: Vec<IpAddr>| -> Vec<String> { ips.iter().map(IpAddr::to_string).collect() };
    let internet = |source: Option<IpAddr>| json!({"routed": source.is_some(), "source": source.map(|ip| ip.to_string()), "scope": source.map(scope)});
    let interface = |one: &Interface| json!({"name": one.name, "up": one.up, "loopback": one.loopback, "addresses": addresses(one)});
    let route = |one: &DefaultRoute| {
        json!({
            "family": family(one),
            "interface": one.interface,
            "gateway": one.gateway.map(|ip| ip.to_string()),
            "metric": one.metric,
        })
    };
    json!({
        "hostname": info.hostname,
        "ipv4": texts(info.ipv4()),
        "ipv6": texts(info.ipv6()),
        "interfaces": info.interfaces.as_ref().map(|all| all.iter().map(interface).collect::<Vec<_>>()),
        "default_routes": info.default_routes.as_ref().map(|all| all.iter().map(route).collect::<Vec<_>>()),
        "internet": {"ipv4": internet(info.source_v4), "ipv6": internet(info.source_v6)},
        "loopback_only": info.is_loopback_only(),
    })
}

fn way_out(source: Option<IpAddr>) -> String {
    match source {
        None => "no way".to_owned(),
        Some(ip) if scope(ip) == "global" => format!("from {ip}"),
        Some(ip) => format!("from {ip}, which needs a router that translates it"),
    }
}

fn way(route: &DefaultRoute) -> String {
    let over = route.gateway.map_or_else(|| "to everybody on the link".to_owned(), |ip| format!("over {ip}"));
    format!("{} {over} by {}, metric {}", family(route), route.interface, route.metric)
}

fn family(route: &DefaultRoute) -> &'static str {
    if route.v6 { "ipv6" } else { "ipv4" }
}

fn scope(ip: IpAddr) -> &'static str {
    match Scope::of(ip) {
        Scope::Global => "global",
        Scope::Loopback => "loopback",
        Scope::Private => "private",
        Scope::Unusable => "reserved",
    }
}

fn addresses(interface: &Interface) -> Vec<String> {
    interface.addresses.iter().map(|address| format!("{}/{}", address.ip, address.prefix_bits)).collect()
}

fn row(interface: &Interface) -> [String; 3] {
    let state = match (interface.up, interface.loopback) {
        (false, _) => "down",
        (true, true) => "up, loopback",
        (true, false) => "up",
    };
    let addresses = addresses(interface).join(" ");
    let addresses = if addresses.is_empty() { "none".to_owned() } else { addresses };
    [interface.name.clone(), state.to_owned(), addresses]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InterfaceAddress;

    fn info() -> NetworkInfo {
        let at = |text: &str, prefix_bits| InterfaceAddress { ip: text.parse().unwrap(), prefix_bits };
        let interface = |name: &str, up, loopback, addresses| Interface {
            name: name.to_owned(),
            up,
            loopback,
            addresses,
        };
        NetworkInfo {
            hostname: Some("your-hostname".to_owned()),
            interfaces: Some(vec![
                interface("lo", true, true, vec![at("127.0.0.1", 8), at("::1", 128)]),
                interface("eth0", true, false, vec![at("192.168.1.100", 24), at("2001:db8::1", 64)]),
                interface("wlan0", false, false, Vec::new()),
            ]),
            default_routes: Some(vec![DefaultRoute {
                interface: "eth0".to_owned(),
                gateway: "192.168.1.1".parse().ok(),
                v6: false,
                metric: 100,
            }]),
            source_v4: "192.168.1.100".parse().ok(),
            source_v6: None,
        }
    }

    #[test]
    fn json_has_the_names_that_programs_know() {
        let value = json(&info());
        assert_eq!(value["hostname"], "your-hostname");
        assert_eq!(value["ipv4"], json!(["192.168.1.100"]));
        assert_eq!(value["ipv6"], json!(["2001:db8::1"]));
        assert_eq!(value["interfaces"][1]["addresses"][0], "192.168.1.100/24");
        let route = json!({"family": "ipv4", "interface": "eth0", "gateway": "192.168.1.1", "metric": 100});
        assert_eq!(value["default_routes"], json!([route]));
        assert_eq!(
            value["internet"]["ipv4"],
            json!({"routed": true, "source": "192.168.1.100", "scope": "private"})
        );
        assert_eq!(value["internet"]["ipv6"]["routed"], false);
    }

    #[test]
    fn people_are_told_what_works_and_what_does_not() {
        let text = lines(&info()).join("\n");
        for part in [
            "host name      your-hostname",
            "IPv4 Internet  from 192.168.1.100, which needs a router that translates it",
            "IPv6 Internet  no way",
            "default route  ipv4 over 192.168.1.1 by eth0, metric 100",
            "wlan0      down          none",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let none = NetworkInfo::default();
        assert!(lines(&none).join("\n").contains("nobody but itself"));
        assert_eq!(
            (json(&none)["loopback_only"].clone(), json(&none)["interfaces"].clone()),
            (json!(true), Value::Null)
        );
    }
}
