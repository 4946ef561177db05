//! Records as people write them.

use crate::dns::Given;
use crate::dns::zones::data_text;
use crate::wire::dns::{Kind, Record, expand};

/// Type, data and TTL of every record of an answer. The text is ASCII: other bytes are escaped, since
/// data is somebody else's and may be meant for a terminal.
pub fn texts(given: &Given) -> Vec<(Kind, String, u32)> {
    let ttl = given.ttl();
    given.answer.records().map(|record| (record.kind, text(&record), ttl)).collect()
}

fn text(record: &Record<'_>) -> String {
    let mut data = Vec::new();
    match expand(record, &mut data) {
        Ok(()) => data_text(record.kind, &data),
        Err(_) => data_text(record.kind, record.data()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_reaches_the_terminal_but_ascii() {
        let text = |text: &str| data_text(Kind::TXT, &[&[text.len() as u8], text.as_bytes()].concat());
        assert_eq!(text("v=spf1 -all"), "\"v=spf1 -all\"");
        assert_eq!(text("a\u{1b}[2J\r\nb\u{7f}"), r#""a\027[2J\013\010b\127""#);
        assert_eq!(text("\u{9b}1m\u{202e}x"), r#""\194\1551m\226\128\174x""#);
        // Data that does not fit its type, and a type without a text.
        assert_eq!(data_text(Kind::A, b"\x1b[2"), r"\# 3 1b5b32");
        assert_eq!(data_text(Kind(65_280), b"\x1b[2"), r"\# 3 1b5b32");
    }
}
