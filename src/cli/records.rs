//! Records as people write them: types that have no text of ours go through hickory-proto.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Message;

use crate::dns::Given;
use crate::model::text::is_harmful;
use crate::wire::dns::{Kind, Name, Record};

/// Type, data and TTL of every record of an answer.
pub fn texts(given: &Given) -> Vec<(Kind, String, u32)> {
    let mut message = vec![0; given.answer.message().len()];
    let Some(_) = given.copy_to(&mut message) else { return Vec::new() };
    let ttl = given.ttl();
    let plain: Option<Vec<_>> =
        given.answer.records().map(|record| Some((record.kind, plain(&record)?, ttl))).collect();
    plain.unwrap_or_else(|| decoded(&message))
}

/// The types that most answers consist of.
fn plain(record: &Record<'_>) -> Option<String> {
    match record.kind {
        Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data()).ok()?).to_string()),
        Kind::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data()).ok()?).to_string()),
        Kind::CNAME | Kind::NS | Kind::PTR => {
            let name: Name = record.name_in_data(0).read().ok()?;
            Some(name.to_string())
        }
        _ => None,
    }
}

/// What would move the cursor, change colours or turn the line around is written as numbers, byte by
/// byte (RFC 1035, section 5.1): data is somebody else's.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "\\{byte:03}");
            }
        } else {
            out.push(letter);
        }
    }
    out
}

fn decoded(message: &[u8]) -> Vec<(Kind, String, u32)> {
    let Ok(message) = Message::from_vec(message) else { return Vec::new() };
    let text = |record: &hickory_proto::rr::Record| {
        (Kind(u16::from(record.record_type())), harmless(&record.data.to_string()), record.ttl)
    };
    message.answers.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_reaches_the_terminal_but_letters() {
        assert_eq!(harmless("v=spf1 \u{e4} -all"), "v=spf1 \u{e4} -all");
        assert_eq!(harmless("a\u{1b}[2J\r\nb\u{7f}"), r"a\027[2J\013\010b\127");
        assert_eq!(harmless("\u{9b}1m\u{202e}x"), r"\194\1551m\226\128\174x");
    }
}
