//! Addresses of things to get: `http` and `https` (RFC 9110, section 4.2).

use std::fmt;
use std::net::Ipv6Addr;

/// An absolute address, without the fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `https`
    pub tls: bool,
    /// A name or an address, an IPv6 one without its brackets.
    pub host: String,
    /// The port, which the scheme has if the address has none.
    pub port: u16,
    /// Path and query, as they are asked for.
    pub target: String,
}

impl Url {
    /// Reads an address; `None` if it is not an absolute one of ours, has a user in it, or bytes
    /// that must be escaped (RFC 3986, section 2).
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > URL_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let tls = scheme.eq_ignore_ascii_case("https");
        if !tls && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some("") | None => default_port(tls),
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            Some(_) => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/".to_owned() } else { without_dots(path) };
        (port != 0).then(|| Self { tls, host: host.to_ascii_lowercase(), port, target: path + query })
    }

    /// The address that `location` means, seen from here (RFC 3986, section 5.2).
    pub fn join(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.tls { "https" } else { "http" };
        // A scheme ends before any of the signs that begin another part.
        let has_scheme = location.find(':').is_some_and(|at| !location[..at].contains(['/', '?']));
        if has_scheme {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let (path, _) = split_query(&self.target);
        let target = match location {
            "" => self.target.clone(),
            _ if location.starts_with('/') => location.to_owned(),
            _ if location.starts_with('?') => format!("{path}{location}"),
            _ => format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Self::parse(&format!("{scheme}://{}{target}", self.authority()))
    }

    /// Host and port as the `Host` header has them (RFC 9110, section 7.2).
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some((host, port));
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    ((1..=HOST_MAX).contains(&host.len()) && host.bytes().all(fits)).then_some((host, port))
}

fn split_query(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Browsers take 2,083 and more, proxies often no more than 2,048.
const URL_MAX: usize = 2_048;
/// RFC 1035, section 2.3.4.
const HOST_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("http://a.test", "http://a.test/"),
            ("HTTPS://A.Test:443/x?y#z", "https://a.test/x?y"),
            ("http://[::1]:8080?q", "http://[::1]:8080/?q"),
            ("http://127.0.0.1:/a/../b/./c/..", "http://127.0.0.1/b/"),
            ("https://a.test:80/../../x", "https://a.test:80/x"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(Url::parse(shown), Some(url));
        }
        for bad in [
            "",
            "a.test/x",
            "ftp://a.test/",
            "http://",
            "http:///x",
            "http://u@a.test/",
            "http://a.test:0/",
            "http://a.test:99999/",
            "http://a.test:8x/",
            "http://a b/",
            "http://a.test/\r\nHost: b",
            "http://[::1/",
            "http://[::1]x/",
            "http://[a.test]/",
            "http://é.test/",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
        assert_eq!(Url::parse(&format!("http://a.test/{}", "x".repeat(URL_MAX))), None);
    }

    #[test]
    fn places_are_seen_from_where_they_were_named() {
        let base = Url::parse("https://a.test/b/c/d?q").unwrap();
        for (location, shown) in [
            ("http://x.test/y", "http://x.test/y"),
            ("//x.test", "https://x.test/"),
            ("/y", "https://a.test/y"),
            ("y", "https://a.test/b/c/y"),
            ("../y?z", "https://a.test/b/y?z"),
            ("?z", "https://a.test/b/c/d?z"),
            ("", "https://a.test/b/c/d?q"),
            ("./y:z", "https://a.test/b/c/y:z"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), shown, "{location}");
        }
        for bad in ["mailto:x", "file:///etc/passwd", "//", "\r\n", "//u@x.test/"] {
            assert_eq!(base.join(bad), None, "{bad}");
        }
    }

    quickcheck::quickcheck! {
        fn what_is_read_is_read_again_the_same(text: String, location: String) -> bool {
            let base = Url::parse(&format!("http://h.test/{text}")).or_else(|| Url::parse("http://h.test/a/b"));
            let all = [base.clone(), base.and_then(|base| base.join(&location)), Url::parse(&text)];
            all.into_iter().flatten().all(|url| Url::parse(&url.to_string()) == Some(url))
        }
    }
}
