//! What is never to be kept: rules in a text file, one a line.
//!
//! ```text
//! # a comment
//! word foo          the word foo in the name or a file's path, in any case; also several words
//!                   in a row
//! pattern *f?o*     the whole name or path, with * for anything and ? for one character
//! larger 10GiB      all files together
//! smaller 1KiB
//! hash 0639a1e24fbb8ab277df033476ab0de10fab3bdc
//! ```
//!
//! Words and letters are the same as in a search ([`crate::model::words`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::glob::Glob;
use crate::base::{Id, InfoHash};
use crate::model::words::{Splitter, has_phrase, has_punctuation, is_word};
use crate::model::{Charset, Torrent};

/// A set of rules; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    rules: Arc<Rules>,
}

/// Which line is not a rule, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: FilterErrorKind,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterErrorKind {
    /// `hash` wants 40 or 64 hexadecimal digits.
    BadHash,
    /// `larger` and `smaller` want a number and perhaps a unit.
    BadSize,
    /// Nothing follows the first word.
    Empty,
    /// Longer than [`RULE_LEN_MAX`] bytes.
    TooLong,
    /// More than [`RULES_MAX`] rules.
    TooMany,
    /// The line begins with none of `word`, `pattern`, `larger`, `smaller`, `hash`.
    UnknownRule,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.kind {
            FilterErrorKind::BadHash => f.write_str("a hash has 40 or 64 hexadecimal digits"),
            FilterErrorKind::BadSize => f.write_str("a size is a number and a unit, like 10GiB"),
            FilterErrorKind::Empty => f.write_str("the rule says nothing"),
            FilterErrorKind::TooLong => write!(f, "a rule has at most {RULE_LEN_MAX} bytes"),
            FilterErrorKind::TooMany => write!(f, "a filter has at most {RULES_MAX} rules"),
            FilterErrorKind::UnknownRule => {
                f.write_str("a rule begins with word, pattern, larger, smaller or hash")
            }
        }
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Reads rules. Empty lines and lines that begin with `#` do not count.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut rules = Rules::default();
        for (at, line) in text.lines().enumerate() {
            let rule = line.trim();
            if !rule.is_empty() && !rule.starts_with('#') {
                rules.add(rule).map_err(|kind| FilterError { line: at + 1, kind })?;
            }
        }
        Ok(Self { rules: Arc::new(rules) })
    }

    /// The rule, word for word, that a torrent falls under: hashes first, then sizes, then names.
    pub fn matches(&self, torrent: &Torrent) -> Option<&str> {
        let rules = &*self.rules;
        let truncated = torrent.v2.and_then(|v2| Id::from_slice(&v2[..20]));
        let by_hash = [Some(torrent.infohash), truncated]
            .into_iter()
            .flatten()
            .find_map(|hash| rules.hashes.get(&hash));
        let found =
            by_hash.copied().or_else(|| rules.by_size(torrent.size_bytes)).or_else(|| rules.by_name(torrent));
        found.map(|rule| rules.texts[rule].as_str())
    }

    /// True if this hash is never to be fetched. A v2 hash is known by its first 20 bytes.
    pub fn refuses_hash(&self, hash: &InfoHash) -> bool {
        self.rules.hashes.contains_key(hash)
    }

    /// The rules in order, word for word, as [`Filter::matches`] names them.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.texts.iter().map(String::as_str)
    }

    /// True without rules.
    pub fn is_empty(&self) -> bool {
        self.rules.texts.is_empty()
    }
}

/// Rules by what they look at; each names its place in `texts`.
#[derive(Debug, Default)]
struct Rules {
    texts: Vec<String>,
    hashes: BTreeMap<InfoHash, usize>,
    /// Single words: a name is cut into words and each is looked up.
    words: BTreeMap<String, usize>,
    /// Several words, or words of scripts that put no space between them.
    phrases: Vec<(String, usize)>,
    /// What has more in it than words, letter by letter.
    literals: Vec<(String, usize)>,
    patterns: Vec<(Glob, usize)>,
    /// The smallest bound and the largest: the others are implied.
    larger: Option<(u64, usize)>,
    smaller: Option<(u64, usize)>,
}

impl Rules {
    fn add(&mut self, rule: &str) -> Result<(), FilterErrorKind> {
        let at = self.texts.len();
        if at == RULES_MAX {
            return Err(FilterErrorKind::TooMany);
        }
        if rule.len() > RULE_LEN_MAX {
            return Err(FilterErrorKind::TooLong);
        }
        let (kind, rest) = rule.split_once(char::is_whitespace).unwrap_or((rule, ""));
        let rest = rest.trim();
        match kind {
            "word" | "pattern" | "larger" | "smaller" | "hash" if rest.is_empty() => {
                return Err(FilterErrorKind::Empty);
            }
            "word" => self.add_word(rest, at)?,
            "pattern" => self.patterns.push((Glob::new(rest), at)),
            "larger" => {
                let bound = size_bytes(rest).ok_or(FilterErrorKind::BadSize)?;
                self.larger = self.larger.filter(|(least, _)| *least <= bound).or(Some((bound, at)));
            }
            "smaller" => {
                let bound = size_bytes(rest).ok_or(FilterErrorKind::BadSize)?;
                self.smaller = self.smaller.filter(|(most, _)| *most >= bound).or(Some((bound, at)));
            }
            "hash" => _ = self.hashes.entry(hash(rest).ok_or(FilterErrorKind::BadHash)?).or_insert(at),
            _ => return Err(FilterErrorKind::UnknownRule),
        }
        self.texts.push(rule.to_owned());
        Ok(())
    }

    fn add_word(&mut self, words: &str, at: usize) -> Result<(), FilterErrorKind> {
        let mut splitter = Splitter::default();
        let (folded, plain) = (splitter.folded(words), splitter.plain(words));
        if plain.is_empty() {
            return Err(FilterErrorKind::Empty);
        }
        let mut whole = None;
        splitter.split(&plain, &mut |word, _| whole = Some(word.to_owned()));
        match whole {
            Some(word) if is_word(&plain) && !has_punctuation(&folded) => {
                _ = self.words.entry(word).or_insert(at)
            }
            _ if has_punctuation(&folded) => self.literals.push((folded, at)),
            _ => self.phrases.push((plain, at)),
        }
        Ok(())
    }

    fn by_size(&self, size_bytes: u64) -> Option<usize> {
        let larger = self.larger.filter(|(bound, _)| size_bytes > *bound);
        let smaller = self.smaller.filter(|(bound, _)| size_bytes < *bound);
        larger.or(smaller).map(|(_, rule)| rule)
    }

    fn by_name(&self, torrent: &Torrent) -> Option<usize> {
        if self.words.is_empty()
            && self.phrases.is_empty()
            && self.literals.is_empty()
            && self.patterns.is_empty()
        {
            return None;
        }
        let (mut path, mut splitter, mut is_name) = (Vec::new(), Splitter::default(), false);
        let charset = torrent.files.charset();
        let in_files = torrent.files.iter().find_map(|file| {
            path.clear();
            for component in &file.path {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
            is_name |= path == torrent.name;
            self.by_text(&mut splitter, &path, charset)
        });
        // A single file has the torrent's name, which was looked at then.
        let in_name = || if is_name { None } else { self.by_text(&mut splitter, &torrent.name, charset) };
        in_files.or_else(in_name)
    }

    fn by_text(&self, splitter: &mut Splitter, raw: &[u8], charset: Charset) -> Option<usize> {
        let text = charset.decode(raw);
        let mut found = None;
        if !self.words.is_empty() {
            splitter.split(&text, &mut |word, _| {
                if found.is_none() {
                    found = self.words.get(word).copied();
                }
            });
        }
        if found.is_none() && !self.phrases.is_empty() {
            let plain = splitter.plain(&text);
            found = self.phrases.iter().find(|(phrase, _)| has_phrase(&plain, phrase)).map(|(_, rule)| *rule);
        }
        if found.is_none() && !(self.literals.is_empty() && self.patterns.is_empty()) {
            let folded = splitter.folded(&text);
            let literal = self.literals.iter().find(|(literal, _)| has_phrase(&folded, literal));
            let pattern = || self.patterns.iter().find(|(pattern, _)| pattern.matches(&folded));
            found = literal.map(|(_, rule)| *rule).or_else(|| pattern().map(|(_, rule)| *rule));
        }
        found
    }
}

/// A number, perhaps with a fraction, and perhaps a unit: `B`, `kB` to `TB` are powers of 1000,
/// `KiB` to `TiB` of 1024.
fn size_bytes(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / u128::from(tenths);
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

/// 40 digits of SHA-1, or 64 of SHA-256, of which the first 40 count.
fn hash(text: &str) -> Option<InfoHash> {
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex && matches!(text.len(), 40 | 64)).then(|| Id::from_hex(&text[..40]))?
}

/// Words and hashes cost little each, patterns their length times the names'; lists of words for
/// such filters have a few thousand lines.
pub const RULES_MAX: usize = 100_000;
/// As long as a name can sensibly be.
pub const RULE_LEN_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::UnixTime;
    use crate::model::{FileList, TorrentFlags};

    fn torrent(name: &str, paths: &[&[&str]], size_bytes: u64) -> Torrent {
        let mut files = FileList::default();
        paths.iter().for_each(|path| files.push(1, path.iter().map(|part| part.as_bytes())));
        Torrent {
            infohash: Id([7; 20]),
            v2: Some([9; 32]),
            name: name.as_bytes().to_vec(),
            size_bytes,
            files,
            piece_length: 1,
            flags: TorrentFlags::default(),
            first_seen: UnixTime(0),
            fetched: UnixTime(0),
            peers: 0,
            raw: Bytes::new(),
        }
    }

    /// Does a filter of this one rule match a torrent of this name?
    fn hits(rule: &str, name: &str) -> bool {
        Filter::parse(rule).unwrap().matches(&torrent(name, &[], 1)).is_some()
    }

    #[test]
    fn words_are_whole_words_in_any_case() {
        assert!(hits("word Foo", "a.FOO.mkv") && hits("word foo", "foo") && hits("word foo", "x_foo-y"));
        assert!(!hits("word foo", "food") && !hits("word foo", "xfoo") && !hits("word foo", ""));
        assert!(
            hits("word größe", "die GRÖSSE") && hits("word grosse", "GRÖßE") && !hits("word ss", "GRÖßE")
        );
        assert!(hits("word foo bar", "a foo bar b") && !hits("word foo bar", "foo bars"));
        assert!(hits("word c++", "Learn C++ now") && hits("word 映画", "新映画館"));
    }

    /// What escapes whoever compares letters: other cases, other forms, what cannot be seen.
    #[test]
    fn words_are_those_of_a_search() {
        for (rule, name) in [
            ("word istanbul", "\u{130}STANBUL.mkv"),
            ("word foo", "a f\u{200b}o\u{ad}o b"),
            ("word foo", "ＦＯＯ.mkv"),
            ("word foo", "ⓕⓞⓞ"),
            ("word foo bar", "ＦＯＯ_B\u{301}ar"),
            ("word amelie", "Ame\u{301}lie"),
            ("word amélie", "AMELIE"),
            ("word ลาว", "ภาษาลาว01"),
            ("word ລາວ", "ພາສາລາວ"),
            ("word ខ្មែរ", "ភាសាខ្មែរ"),
            ("word wladyslaw", "Władysław"),
            ("word oceans", "Ocean\u{2019}s Eleven"),
            ("word ocean's", "OCEANS"),
            ("word foo bar", "x.Foo.Bar-y"),
            ("word 한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"),
            ("word 🎬", "movie 🎬 night"),
            ("pattern *foo*", "x ＦＯ\u{200d}Ｏ y"),
            ("pattern caf?", "CAFE\u{301}"),
        ] {
            assert!(hits(rule, name), "{rule} lets {name} through");
        }
        assert!(
            !hits("word c++", "vitamin c") && hits("word c++", "C++") && !hits("word foo bar", "bar foo")
        );
    }

    #[test]
    fn names_in_other_encodings_are_decoded() {
        let mut found = torrent("", &[], 1);
        found.name = b"\xb5\xe7\xd3\xb0 \xd6\xd0\xce\xc4".to_vec();
        found.files.find_charset(&found.name.clone(), Charset::named(b"GBK"));
        assert_eq!(Filter::parse("word 电影").unwrap().matches(&found), Some("word 电影"));
    }

    #[test]
    fn patterns_are_for_the_whole_name() {
        assert!(hits("pattern *f?o*", "some FOO thing") && hits("pattern foo", "Foo"));
        assert!(!hits("pattern foo", "foo2") && !hits("pattern f?o", "fo") && !hits("pattern ?", ""));
        assert!(
            hits("pattern *", "") && hits("pattern a*b*c", "axxbbxbc") && !hits("pattern a*b*c", "axxbbxb")
        );
    }

    #[test]
    fn paths_count_as_names_do() {
        let found = torrent("harmless", &[&["dir", "ok"], &["dir", "bad thing", "x.txt"]], 1);
        let filter = |rule: &str| Filter::parse(rule).unwrap();
        assert_eq!(filter("word thing").matches(&found), Some("word thing"));
        assert_eq!(filter("pattern dir/*/x.txt").matches(&found), Some("pattern dir/*/x.txt"));
        assert_eq!(filter("word missing").matches(&found), None);
        assert_eq!(filter("").matches(&found), None);
    }

    #[test]
    fn sizes_bound_from_both_sides() {
        let filter =
            Filter::parse("larger 1.5KiB\nlarger 10GiB\nsmaller 10B\nsmaller 1 kB\nsmaller 3").unwrap();
        assert_eq!(filter.matches(&torrent("", &[], 1_537)), Some("larger 1.5KiB"));
        assert_eq!(filter.matches(&torrent("", &[], 1_536)), None);
        assert_eq!(filter.matches(&torrent("", &[], 1_000)), None);
        assert_eq!(filter.matches(&torrent("", &[], 999)), Some("smaller 1 kB"));
        for (text, bytes) in [("10GiB", 10 << 30), ("1TiB", 1 << 40), ("2.25mb", 2_250_000), ("7", 7)] {
            assert_eq!(size_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "1XB", "-1B", "1.2.3kB", "99999999999TiB", "99999999999999999999"] {
            assert_eq!(size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn hashes_of_either_kind_are_refused() {
        let (v1, v2) = ("07".repeat(20), "09".repeat(32));
        let filter = Filter::parse(&format!("hash {v1}\nhash {}", v2.to_uppercase())).unwrap();
        assert!(filter.refuses_hash(&Id([7; 20])) && filter.refuses_hash(&Id([9; 20])));
        assert!(!filter.refuses_hash(&Id([8; 20])));
        let by_v2 = Filter::parse(&format!("hash {v2}")).unwrap();
        assert_eq!(by_v2.matches(&torrent("", &[], 1)), Some(format!("hash {v2}").as_str()));
    }

    #[test]
    fn errors_name_their_line() {
        let fails = |text: &str| Filter::parse(text).map(|_| ()).unwrap_err();
        for (text, line, kind) in [
            ("# x\n\n  word foo\nwrod foo", 4, FilterErrorKind::UnknownRule),
            ("word", 1, FilterErrorKind::Empty),
            ("word ...", 1, FilterErrorKind::Empty),
            ("larger big", 1, FilterErrorKind::BadSize),
            ("hash 12", 1, FilterErrorKind::BadHash),
            ("\nhash 0639a1e24fbb8ab277df033476ab0de10fab3bdg", 2, FilterErrorKind::BadHash),
        ] {
            assert_eq!(fails(text), FilterError { line, kind }, "{text}");
        }
        assert_eq!(fails(&format!("word {}", "x".repeat(1_020))).kind, FilterErrorKind::TooLong);
        assert_eq!(fails(&"word x\n".repeat(100_001)).kind, FilterErrorKind::TooMany);
        assert_eq!(
            fails("wrod foo").to_string(),
            "line 1: a rule begins with word, pattern, larger, smaller or hash"
        );
        let filter = Filter::parse("# x\n\n  word foo \r\nlarger 1").unwrap();
        assert_eq!(filter.rules().collect::<Vec<_>>(), ["word foo", "larger 1"]);
    }
}
