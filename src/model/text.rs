//! Text of strangers on its way out: to terminals, logs, JSON lines, tables and links. Each format
//! has one function here that makes it harmless there.

use std::borrow::Cow;
use std::fmt::Write;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::words::fold::Folder;

/// For people: control characters and changes of direction as `_`, without what else is invisible.
/// Borrowed if there is none of it.
pub fn visible(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(|c| harm(c).is_some()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    out.extend(text[first..].chars().filter_map(|c| match harm(c) {
        None => Some(c),
        Some(Harm::Moves) => Some('_'),
        Some(Harm::Hides) => None,
    }));
    Cow::Owned(out)
}

/// As [`visible`], for lines of this program that hold text of strangers: its line ends and tabs
/// stay, and it is cut at [`LINE_CHARS_MAX`] characters.
pub fn terminal(text: &str) -> Cow<'_, str> {
    let tame = |c: char| matches!(c, '\n' | '\t') || harm(c).is_none();
    if text.len() <= LINE_CHARS_MAX && text.chars().all(tame) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (column, cell) in line.split('\t').enumerate() {
            if column > 0 {
                out.push('\t');
            }
            out.push_str(&visible(cell));
        }
    }
    shortened(&out, LINE_CHARS_MAX).into_owned().into()
}

/// As [`visible`], all on one line.
pub fn log_line(text: &str) -> Cow<'_, str> {
    match visible(text) {
        Cow::Borrowed(text) => shortened(text, LINE_CHARS_MAX),
        Cow::Owned(text) => shortened(&text, LINE_CHARS_MAX).into_owned().into(),
    }
}

/// At most `chars` characters; of more the first ones, and how much was left out.
pub fn shortened(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}… (+{} bytes)", &text[..at], text.len() - at)),
    }
}

/// A JSON text in which nothing moves the cursor or hides: those characters are escaped, which
/// readers undo.
pub fn json_line(json: &str) -> Cow<'_, str> {
    if json.chars().all(|c| harm(c).is_none()) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match harm(c) {
            None => out.push(c),
            Some(_) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

/// A quoted cell of a table (RFC 4180). What a spreadsheet would take for a formula gets an
/// apostrophe in front.
pub fn csv_cell(text: &str) -> String {
    let text = visible(text);
    let first = Folder::new().folded(text.trim_start_matches(|c: char| c.is_whitespace() || c == '_'));
    let guard = if first.trim_start().starts_with(['=', '+', '-', '@', '\u{2212}']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// A part of a link (RFC 3986): all but the unreserved characters as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What a character does to the text around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Moves the cursor, or turns the direction.
    Moves,
    /// Cannot be seen, but makes names differ.
    Hides,
}

fn harm(c: char) -> Option<Harm> {
    if matches!(c, ' '..='~') {
        return None;
    }
    if matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
        return Some(Harm::Moves);
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
            Some(Harm::Moves)
        }
        GeneralCategory::Format => Some(Harm::Hides),
        _ if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) => Some(Harm::Hides),
        _ => None,
    }
}

/// Far more than a line of ours needs, and a screen or two.
pub const LINE_CHARS_MAX: usize = 8_192;

/// Characters of a name in lists and links.
pub const NAME_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// U+061C, U+2028, U+2029, zero-width, tag and variation characters, controls of C0 and C1.
    const HARMFUL: &str = "\u{61c}\u{2028}\u{2029}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{e0041}\u{e007f}\
        \u{fe0f}\u{ad}\u{1b}\u{7}\u{7f}\u{9b}\u{85}\u{180e}\u{fff9}\u{202e}\u{2066}\u{3164}\u{115f}";

    #[test]
    fn nothing_harmful_reaches_a_terminal_or_a_log() {
        let text = format!("a{HARMFUL}b");
        let shown = visible(&text);
        assert!(shown.starts_with("a_") && shown.ends_with('b') && !shown.contains(|c| HARMFUL.contains(c)));
        assert_eq!(visible("x\u{202e}gpj\u{200b}.exe"), "x_gpj.exe");
        assert_eq!(terminal("a\tb\nc\u{1b}[2J\r\n"), "a\tb\nc_[2J_\n");
        assert_eq!(log_line("a\nb\u{e0041}"), "a_b");
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            let shown = visible(&text);
            assert!(shown.chars().all(|c| harm(c).is_none()), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn two_megabytes_are_cut() {
        let long = "é".repeat(1 << 20);
        for shown in [terminal(&long), log_line(&long)] {
            assert!(shown.chars().count() < LINE_CHARS_MAX + 40 && shown.contains("bytes)"));
        }
        assert_eq!(shortened("abcdé", 4), "abcd… (+2 bytes)");
        assert_eq!(shortened("abcd", 4), "abcd");
    }

    #[test]
    fn json_keeps_all_and_shows_nothing_harmful() {
        let json = serde_json::json!({"name": format!("a{HARMFUL}\"b")}).to_string();
        let line = json_line(&json);
        assert!(!line.contains(|c| HARMFUL.contains(c)));
        let again: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(again["name"], format!("a{HARMFUL}\"b"));
    }

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(csv_cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        for formula in [
            "=1+1",
            " =1",
            "\t=1",
            "\r=1",
            "＝1",
            "　＋1",
            "﹢1",
            "＠x",
            "-1",
            "+1",
            "@x",
            "\u{200b}=1",
            "\u{a0}=1",
            "−1",
        ] {
            assert!(csv_cell(formula).starts_with("\"'"), "{formula:?}: {}", csv_cell(formula));
        }
        for harmless in ["a=1", "(=", "1-1", ""] {
            assert!(!csv_cell(harmless).contains('\''), "{harmless}");
        }
    }

    #[test]
    fn links_hold_encoded_text() {
        assert_eq!(percent_encoded("a b&c=\u{e9}"), "a%20b%26c%3D%C3%A9");
    }
}
