//! What a query asks for, and the text that the index takes of a torrent. Words are those of
//! [`crate::model::words`].

use crate::base::{Rng, hash};
use crate::model::words::{Part, Splitter, has_phrase};
use crate::model::{Charset, FileList};

/// What a document must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// This word.
    Word(String),
    /// A word that begins so.
    Starts(String),
}

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// All of these, those of phrases included.
    pub all: Vec<Term>,
    /// None of these.
    pub none: Vec<Term>,
    /// Words that stand beside each other in a name: only the row itself can show that.
    pub phrases: Vec<Phrase>,
}

/// `"some words"`, or `-"some words"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// From [`Splitter::plain`].
    text: String,
    /// It must not be there.
    without: bool,
}

/// Reads a query: words, `-word` for none with that word, `"some words"` for these in a row, and
/// `-"some words"`. Each word once, at most 32.
pub fn query(text: &str) -> Words {
    let mut words = Words::default();
    let mut splitter = Splitter::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let bare = rest.trim_start_matches('-');
        let without = bare.len() < rest.len() && !bare.starts_with(char::is_whitespace);
        let quote = bare.chars().next().filter(|c| matches!(c, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}'));
        let end = match quote {
            Some(quote) => {
                let body = &bare[quote.len_utf8()..];
                let end = body.find(['"', '\u{201c}', '\u{201d}']).unwrap_or(body.len());
                words.add(&mut splitter, &body[..end], true, without);
                let after = &body[end..];
                rest = after.strip_prefix(['"', '\u{201c}', '\u{201d}']).unwrap_or(after).trim_start();
                continue;
            }
            None => bare.find(char::is_whitespace).unwrap_or(bare.len()),
        };
        words.add(&mut splitter, &bare[..end], false, without);
        rest = bare[end..].trim_start();
    }
    words
}

impl Words {
    /// True if it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.none.is_empty() && self.phrases.is_empty()
    }

    /// True if a document with this index text, of a torrent with these names, is asked for.
    pub fn matches(&self, text: &str, name: &[u8], files: &FileList) -> bool {
        let has = |term: &Term| match term {
            Term::Word(word) => text.split(' ').any(|other| other == word),
            Term::Starts(start) => text.split(' ').any(|other| other.starts_with(start.as_str())),
        };
        self.all.iter().all(has) && !self.none.iter().any(has) && self.phrases_match(name, files)
    }

    /// True if the phrases are as asked for in a torrent's name and the names of its files.
    pub fn phrases_match(&self, name: &[u8], files: &FileList) -> bool {
        if self.phrases.is_empty() {
            return true;
        }
        let mut splitter = Splitter::default();
        let mut found = vec![false; self.phrases.len()];
        let mut look = |raw: &[u8]| {
            let plain = splitter.plain(&files.charset().decode(raw));
            for (found, phrase) in found.iter_mut().zip(&self.phrases) {
                *found = *found || has_phrase(&plain, &phrase.text);
            }
        };
        look(name);
        each_name(files, &mut look);
        self.phrases.iter().zip(found).all(|(phrase, found)| found != phrase.without)
    }

    /// True if one of the words asked for is in this text.
    pub fn any_in(&self, text: &str) -> bool {
        let mut splitter = Splitter::default();
        let mut any = false;
        splitter.split(text, &mut |word, _| {
            any = any
                || self.all.iter().any(|term| match term {
                    Term::Word(own) => own == word,
                    Term::Starts(start) => word.starts_with(start.as_str()),
                });
        });
        any
    }

    /// True if all words that must be there are in this text.
    pub fn all_in(&self, text: &str) -> bool {
        self.lacking_in(text).all.is_empty()
    }

    /// The words that must be there and are not in this text.
    pub fn lacking_in(&self, text: &str) -> Self {
        let mut lacking = self.all.clone();
        Splitter::default().split(text, &mut |word, _| {
            lacking.retain(|term| match term {
                Term::Word(own) => own != word,
                Term::Starts(start) => !word.starts_with(start.as_str()),
            });
        });
        Self { all: lacking, ..Self::default() }
    }

    fn add(&mut self, splitter: &mut Splitter, text: &str, quoted: bool, without: bool) {
        let mut terms = Vec::new();
        splitter.split(text, &mut |word, part| match part {
            Part::Word | Part::Pair => terms.push(Term::Word(word.to_owned())),
            Part::Alone => terms.push(Term::Starts(word.to_owned())),
            Part::Piece | Part::Tail => {}
        });
        // More than one word, not to be there: each of them may be. A run of a script without spaces
        // must be there whole, or its pairs might come from anywhere.
        if terms.len() > 1 && (quoted || without) && self.phrases.len() < PHRASES_MAX {
            self.phrases.push(Phrase { text: splitter.plain(text), without });
        }
        let to = match without {
            false => &mut self.all,
            true if terms.len() > 1 => return,
            true => &mut self.none,
        };
        for term in terms {
            if to.len() < QUERY_WORDS_MAX && !to.contains(&term) {
                to.push(term);
            }
        }
    }
}

/// Makes the text of the search index: every different word once, those of the name twice, so
/// that a match in the name weighs more; separated by spaces.
pub struct Indexed {
    splitter: Splitter,
    seen: hash::Set<u64>,
}

impl Default for Indexed {
    fn default() -> Self {
        Self { splitter: Splitter::default(), seen: hash::set(&mut Rng::seeded(0)) }
    }
}

impl Indexed {
    /// Ready for torrents.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text for one torrent; [`PARTIAL`] is among its words if it has more than the index takes.
    pub fn text(&mut self, name: &[u8], files: &FileList) -> String {
        let mut out = String::with_capacity(name.len() * 3);
        self.seen.clear();
        let charset = files.charset();
        let mut all = self.add(name, charset, 2, &mut out);
        each_name(files, &mut |component| {
            all = all && (component == name || self.add(component, charset, 1, &mut out));
        });
        if !all {
            out.push_str(PARTIAL);
            out.push(' ');
        }
        out
    }

    /// False if there are too many words.
    fn add(&mut self, text: &[u8], charset: Charset, times: usize, out: &mut String) -> bool {
        let Self { splitter, seen } = self;
        let mut all = true;
        splitter.split(&charset.decode(text), &mut |word, _| {
            let key = std::hash::BuildHasher::hash_one(seen.hasher(), word);
            if seen.len() >= WORDS_MAX {
                all = all && seen.contains(&key);
            } else if seen.insert(key) {
                for _ in 0..times {
                    out.push_str(word);
                    out.push(' ');
                }
            }
        });
        all
    }
}

/// Hands over the components of all paths, but not those that the file before has in the same place.
fn each_name(files: &FileList, each: &mut impl FnMut(&[u8])) {
    let mut before: Vec<&[u8]> = Vec::new();
    for file in files.iter() {
        for (depth, &component) in file.path.iter().enumerate() {
            if before.get(depth) != Some(&component) {
                each(component);
            }
        }
        before = file.path;
    }
}

/// A word that no name has: its torrent has more words than the index takes.
pub const PARTIAL: &str = "\u{1}partial";

/// Nobody types more; each costs a look into every segment of the index.
const QUERY_WORDS_MAX: usize = 32;

/// Each is looked for in the rows themselves.
const PHRASES_MAX: usize = 8;

/// Different words of one torrent. The largest file lists (16 MiB) have about so many; what is made
/// up to fill the index has more.
pub const WORDS_MAX: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::words::WORD_BYTES_MAX;

    fn words(text: &str) -> Vec<String> {
        let indexed = Indexed::new().text(text.as_bytes(), &FileList::default());
        let mut words: Vec<String> = indexed.split_whitespace().map(str::to_owned).collect();
        words.dedup();
        words
    }

    fn word(text: &str) -> Term {
        Term::Word(text.to_owned())
    }

    fn finds(words: &str, name: &str) -> bool {
        let files = FileList::default();
        let text = Indexed::new().text(name.as_bytes(), &files);
        query(words).matches(&text, name.as_bytes(), &files)
    }

    #[test]
    fn names_split_as_people_search() {
        assert_eq!(
            words("[Group]_Some.Name-S01E02(1080p)'x264'"),
            ["group", "some", "name", "s01e02", "1080p", "x264"]
        );
        assert_eq!(words("...__[]"), Vec::<String>::new());
    }

    #[test]
    fn accents_and_case_fold() {
        assert_eq!(
            words("AMÉLIE Žižek ĳ Straße Ørsted Nguyễn"),
            ["amelie", "zizek", "ij", "strasse", "orsted", "nguyen"]
        );
        assert_eq!(words("Ame\u{301}lie"), ["amelie"]);
        assert_eq!(words("ЁЛКА Μάτριξ"), ["елка", "ματριξ"]);
        assert_eq!(words("Ｆｕｌｌ１"), ["full1"]);
        assert!(finds("wladyslaw", "Władysław") && finds("ПРИВЕТ ЎЗБЕК", "привет у\u{306}збек"));
    }

    #[test]
    fn an_apostrophe_may_be_left_out() {
        for query in ["oceans", "ocean's", "ocean", "OCEAN\u{2019}S eleven"] {
            assert!(finds(query, "Ocean's Eleven"), "{query}");
        }
        assert!(finds("ocean's", "Oceans 11") && finds("amour", "L'Amour") && !finds("ocean's", "ocean x s"));
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(words("三体01"), ["三体", "体", "01"]);
        assert_eq!(words("が"), words("か\u{3099}"));
        assert_eq!(words("ガパヴ"), ["カハ", "ハウ", "ウ"]);
        assert_eq!(query("体").all, [Term::Starts("体".to_owned())]);
        assert_eq!(query("三体x").all, [word("三体"), word("x")]);
    }

    #[test]
    fn any_part_of_a_cjk_name_is_found() {
        for part in ["新", "世紀", "エヴァ", "ン", "新世紀エヴァンゲリオン", "ｴｳﾞｧ"]
        {
            assert!(finds(part, "新世紀エヴァンゲリオン"), "{part}");
        }
        assert!(!finds("旧", "新世紀エヴァンゲリオン"));
    }

    #[test]
    fn pictures_are_found() {
        assert!(finds("🎬", "film 🎬!") && finds("🎬🔥", "🔥 film🎬") && !finds("🔥", "film 🎬"));
        assert!(finds("❤", "I ❤\u{fe0f} x") && finds("🇩🇪", "Krimi 🇩🇪") && finds("👍", "👍🏽"));
    }

    #[test]
    fn words_may_be_left_out_and_stand_in_a_row() {
        assert_eq!(query("a -b").none, [word("b")]);
        assert_eq!(
            (query("a - b").all, query("a-b").all),
            (vec![word("a"), word("b")], vec![word("a"), word("b")])
        );
        assert!(finds("linux -debian", "Linux Mint") && !finds("linux -debian", "Debian Linux"));
        assert!(finds("\"big short\"", "The.Big.Short") && !finds("\"big short\"", "Short Big"));
        assert!(finds("a -\"big short\"", "a short big") && !finds("a -\"big short\"", "a big_short"));
        assert!(
            finds("“big short”", "big short")
                && finds("\"open end", "open.end")
                && finds("7\" vinyl", "7 vinyl")
        );
        assert!(
            finds("-映画", "映x画") && !finds("x -映画館", "x 新映画館") && finds("x -映画館", "x 映画 画館")
        );
        assert!(finds("\"one\"", "one") && query("\"one\"").phrases.is_empty());
        assert!(query("- -- \"\" -\"\"").is_empty());
        assert!(finds("-b", "a") && !finds("-b", "a b"));
    }

    #[test]
    fn paths_count_once_and_names_twice_and_all_is_bounded() {
        let mut files = FileList::default();
        for number in 0..20_000u32 {
            let name = format!("file{number}.bin");
            files.push(1, [&b"folder"[..], name.as_bytes()].into_iter());
        }
        let text = Indexed::new().text(b"Name", &files);
        assert!(text.starts_with("name name folder file0 bin file1 "));
        assert!(text.ends_with(" file19999 ") && !text.contains(PARTIAL));
        let long = "a".repeat(100);
        assert_eq!(words(&long), [&long[..WORD_BYTES_MAX]]);
        assert_eq!(query(&long).all, [word(&long[..WORD_BYTES_MAX])]);
        assert_eq!(query(&"a b c d e f g h ".repeat(9)).all.len(), 8);
        let many: String = (0..99).map(|number| format!("a{number} -b{number} \"c d{number}\" ")).collect();
        let many = query(&many);
        assert!(
            many.all.len() <= QUERY_WORDS_MAX
                && many.none.len() <= QUERY_WORDS_MAX
                && many.phrases.len() == 8
        );
    }

    #[test]
    fn what_is_too_much_for_the_index_is_marked() {
        let mut files = FileList::default();
        let name: String = (0..WORDS_MAX).map(|number| format!("{number:x} ")).collect();
        files.push(1, [&b"last"[..]].into_iter());
        let text = Indexed::new().text(name.as_bytes(), &files);
        assert!(text.ends_with(&format!(" {PARTIAL} ")) && !text.contains("last"));
    }

    #[test]
    fn names_in_other_encodings_are_indexed_decoded() {
        let name = b"\xb5\xe7\xd3\xb0";
        let mut files = FileList::default();
        files.find_charset(name, Charset::named(b"GBK"));
        assert_eq!(Indexed::new().text(name, &files), "电影 电影 影 影 ");
    }

    #[test]
    fn raw_bytes_do_no_harm() {
        assert_eq!(query(&String::from_utf8_lossy(b"\xff\xfeok\xff")).all, [word("ok")]);
    }
}
