//! Names in lists.

use std::net::IpAddr;

use hickory_proto::rr::Name as HickoryName;

use crate::wire::dns::Name;

/// A domain as lists have it: letters, digits, hyphens, underscores; others in their ASCII form.
pub(super) fn domain(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_ascii() {
        let name = HickoryName::from_utf8(text).ok()?;
        return domain(&name.to_ascii());
    }
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let name = Name::parse(text).ok().filter(|_| is_plain)?;
    text.parse::<IpAddr>().is_err().then_some(name)
}

/// `localhost` and all below it is this computer (RFC 6761, section 6.3); no list takes it away.
pub(super) fn is_own(name: &Name) -> bool {
    name.is_within(b"\x09localhost\0")
}

/// A name that a hosts file has for the computer itself.
pub(super) fn is_of_computer(name: &Name) -> bool {
    OWN_NAMES.iter().any(|own| is_named(name, own))
}

/// Whether a name is this text of lower-case letters.
fn is_named(name: &Name, text: &str) -> bool {
    let mut rest = name.wire();
    for label in text.split('.') {
        let Some(after) = rest.split_first().filter(|(len, _)| usize::from(**len) == label.len()) else {
            return false;
        };
        match after.1.strip_prefix(label.as_bytes()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest == [0]
}

/// Names that stand in a hosts file for the computer itself, beside `localhost`.
const OWN_NAMES: [&str; 17] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "localdomain",
    "loopback",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];
