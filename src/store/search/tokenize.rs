//! Names as people search for them: words in lower case without accents, split at everything
//! that is neither letter nor digit; scripts without spaces as pairs of characters.

use crate::base::{Rng, hash};
use crate::model::FileList;

/// What a document must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// This word.
    Word(String),
    /// A word that begins so.
    Starts(String),
}

/// The words of a query, each once, at most 32.
pub fn query(text: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut splitter = Splitter::default();
    splitter.split(text, &mut |word, part| {
        let term = match part {
            Part::Word | Part::Pair => Term::Word(word.to_owned()),
            Part::Alone => Term::Starts(word.to_owned()),
            Part::Tail => return,
        };
        if terms.len() < QUERY_WORDS_MAX && !terms.contains(&term) {
            terms.push(term);
        }
    });
    terms
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

    /// The text for one torrent.
    pub fn text(&mut self, name: &[u8], files: &FileList) -> String {
        let mut out = String::with_capacity(name.len() * 3);
        self.seen.clear();
        self.add(name, 2, &mut out);
        let mut budget = PATH_BYTES_MAX;
        let mut before: Vec<&[u8]> = Vec::new();
        for file in files.iter() {
            for (depth, &component) in file.path.iter().enumerate() {
                if before.get(depth) != Some(&component) && component != name {
                    if component.len() > budget {
                        return out;
                    }
                    budget -= component.len();
                    self.add(component, 1, &mut out);
                }
            }
            before = file.path;
        }
        out
    }

    fn add(&mut self, text: &[u8], times: usize, out: &mut String) {
        let Self { splitter, seen } = self;
        splitter.split(&String::from_utf8_lossy(text), &mut |word, _| {
            let key = std::hash::BuildHasher::hash_one(seen.hasher(), word);
            if seen.len() < WORDS_MAX && seen.insert(key) {
                for _ in 0..times {
                    out.push_str(word);
                    out.push(' ');
                }
            }
        });
    }
}

/// True if a document with this index text contains every term.
pub fn matches(text: &str, terms: &[Term]) -> bool {
    terms.iter().all(|term| match term {
        Term::Word(word) => text.split(' ').any(|other| other == word),
        Term::Starts(start) => text.split(' ').any(|other| other.starts_with(start.as_str())),
    })
}

/// What a piece of text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A word between separators.
    Word,
    /// Two neighbours in a script without spaces.
    Pair,
    /// The only character of such a run.
    Alone,
    /// The last character of a longer run: indexed so that every character begins some piece.
    Tail,
}

#[derive(Default)]
struct Splitter {
    word: String,
    /// The character before, in a run of a script without spaces, and the run's length.
    run: Option<(char, u32)>,
}

impl Splitter {
    fn split(&mut self, text: &str, each: &mut impl FnMut(&str, Part)) {
        self.word.clear();
        self.run = None;
        for c in text.chars() {
            if c.is_ascii() {
                if self.run.is_some() {
                    self.end(each);
                }
                if c.is_ascii_alphanumeric() {
                    self.push(c.to_ascii_lowercase());
                } else if !self.word.is_empty() {
                    self.end(each);
                }
            } else {
                self.beyond_ascii(c, each);
            }
        }
        self.end(each);
    }

    fn beyond_ascii(&mut self, c: char, each: &mut impl FnMut(&str, Part)) {
        if is_combining(c) {
            return;
        }
        if let '\u{ff01}'..='\u{ff5e}' = c {
            let narrow = char::from_u32(u32::from(c) - 0xfee0).unwrap_or(' ');
            if narrow.is_ascii_alphanumeric() && self.run.is_none() {
                self.push(narrow.to_ascii_lowercase());
            } else {
                self.end(each);
                if narrow.is_ascii_alphanumeric() {
                    self.push(narrow.to_ascii_lowercase());
                }
            }
        } else if is_unspaced(c) {
            self.run_on(unvoiced(c), each);
        } else {
            if self.run.is_some() || !c.is_alphanumeric() {
                self.end(each);
            }
            if c.is_alphanumeric() {
                fold(c, &mut |folded| self.push(folded));
            }
        }
    }

    fn run_on(&mut self, c: char, each: &mut impl FnMut(&str, Part)) {
        if !self.word.is_empty() && self.run.is_none() {
            self.end(each);
        }
        let length = match self.run {
            Some((before, length)) => {
                self.word.clear();
                self.word.push(before);
                self.word.push(c);
                each(&self.word, Part::Pair);
                length + 1
            }
            None => 1,
        };
        self.run = Some((c, length));
    }

    fn end(&mut self, each: &mut impl FnMut(&str, Part)) {
        match self.run.take() {
            Some((last, length)) => {
                self.word.clear();
                self.word.push(last);
                each(&self.word, if length == 1 { Part::Alone } else { Part::Tail });
            }
            None if !self.word.is_empty() => each(&self.word, Part::Word),
            None => {}
        }
        self.word.clear();
    }

    fn push(&mut self, c: char) {
        if self.word.len() + c.len_utf8() <= WORD_BYTES_MAX {
            self.word.push(c);
        }
    }
}

/// Scripts that do not separate words: kana, Han, Hangul (its particles cling), Thai to Myanmar.
fn is_unspaced(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
            | '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Accents written as characters of their own, as macOS writes file names.
fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}' | '\u{200d}' | '\u{fe0f}' | '\u{ad}')
}

/// Kana without its voice mark, since it may have been written apart and dropped.
fn unvoiced(c: char) -> char {
    let base = u32::from(c) - if c >= '\u{30a0}' { 0x60.min(u32::from(c) - 0x3040) } else { 0 };
    let back = match base {
        0x304c..=0x3062 if base % 2 == 0 => 1,
        0x3065 | 0x3067 | 0x3069 => 1,
        0x3070..=0x307d if base % 3 == 1 => 1,
        0x3070..=0x307d if base % 3 == 2 => 2,
        0x3094 => 0x4e,
        _ => 0,
    };
    if matches!(c, '\u{3040}'..='\u{30ff}') { char::from_u32(u32::from(c) - back).unwrap_or(c) } else { c }
}

/// Lower case, without accents: Latin, Greek, Cyrillic.
fn fold(c: char, each: &mut impl FnMut(char)) {
    let ascii = match u32::from(c) {
        0xc0..=0xff => LATIN_1[(u32::from(c) - 0xc0) as usize],
        0x100..=0x17f => LATIN_EXTENDED_A[(u32::from(c) - 0x100) as usize],
        0x1a0 | 0x1a1 | 0x1d1 | 0x1d2 => b'o',
        0x1cd | 0x1ce | 0x1ea0..=0x1eb7 => b'a',
        0x1cf | 0x1d0 | 0x1ec8..=0x1ecb => b'i',
        0x1af | 0x1b0 | 0x1d3..=0x1dc | 0x1ee4..=0x1ef1 => b'u',
        0x218 | 0x219 => b's',
        0x21a | 0x21b => b't',
        0x1eb8..=0x1ec7 => b'e',
        0x1ecc..=0x1ee3 => b'o',
        0x1ef2..=0x1ef9 => b'y',
        _ => 0,
    };
    match (c, ascii) {
        ('ß' | 'ẞ', _) => "ss".chars().for_each(each),
        ('æ' | 'Æ', _) => "ae".chars().for_each(each),
        ('œ' | 'Œ', _) => "oe".chars().for_each(each),
        ('þ' | 'Þ', _) => "th".chars().for_each(each),
        (_, 1..) => each(char::from(ascii)),
        (_, 0) => c.to_lowercase().filter(|&c| !is_combining(c)).for_each(|c| each(unaccented(c))),
    }
}

fn unaccented(c: char) -> char {
    match c {
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' | 'ϊ' | 'ΐ' => 'ι',
        'ό' => 'ο',
        'ύ' | 'ϋ' | 'ΰ' => 'υ',
        'ώ' => 'ω',
        'ς' => 'σ',
        'ё' => 'е',
        'й' => 'и',
        'ї' => 'і',
        other => other,
    }
}

/// U+00C0 to U+00FF; 0 where there is no single letter.
const LATIN_1: &[u8; 64] = b"aaaaaa\0ceeeeiiiidnooooo\0ouuuuy\0\0aaaaaa\0ceeeeiiiidnooooo\0ouuuuy\0y";

/// U+0100 to U+017F.
const LATIN_EXTENDED_A: &[u8; 128] = b"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii\0\0jjkkk\
lllllllllnnnnnnnnn\0oooooo\0\0rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// Nobody types more; each costs a look into every segment of the index.
const QUERY_WORDS_MAX: usize = 32;

/// Longer words are cut, in the index and in queries alike: a hash as a name is found by it.
const WORD_BYTES_MAX: usize = 40;

/// Of one torrent. The dictionary of the index should not grow with one list of random names.
const WORDS_MAX: usize = 4_096;

/// Of one torrent's paths: file 2,000 of a list tells nobody anything new.
const PATH_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let indexed = Indexed::new().text(text.as_bytes(), &FileList::default());
        let mut words: Vec<String> = indexed.split_whitespace().map(str::to_owned).collect();
        words.dedup();
        words
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
            ["amelie", "zizek", "ĳ", "strasse", "orsted", "nguyen"]
        );
        assert_eq!(words("Ame\u{301}lie"), ["amelie"]);
        assert_eq!(words("ЁЛКА Μάτριξ"), ["елка", "ματριξ"]);
        assert_eq!(words("Ｆｕｌｌ１"), ["full1"]);
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(words("三体01"), ["三体", "体", "01"]);
        assert_eq!(words("が"), words("か\u{3099}"));
        assert_eq!(words("ガパヴ"), ["カハ", "ハウ", "ウ"]);
        assert_eq!(query("体"), [Term::Starts("体".to_owned())]);
        assert_eq!(query("三体x"), [Term::Word("三体".to_owned()), Term::Word("x".to_owned())]);
    }

    #[test]
    fn any_part_of_a_cjk_name_is_found() {
        let text = Indexed::new().text("新世紀エヴァンゲリオン".as_bytes(), &FileList::default());
        for part in ["新", "世紀", "エヴァ", "ン", "新世紀エヴァンゲリオン"] {
            assert!(matches(&text, &query(part)), "{part}");
        }
        assert!(!matches(&text, &query("旧")));
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
        assert!(text.split_whitespace().count() <= WORDS_MAX + 1);
        let long = "a".repeat(100);
        assert_eq!(words(&long), [&long[..WORD_BYTES_MAX]]);
        assert_eq!(query(&long), [Term::Word(long[..WORD_BYTES_MAX].to_owned())]);
        assert_eq!(query(&"a b c d e f g h ".repeat(9)).len(), 8);
    }

    #[test]
    fn raw_bytes_do_no_harm() {
        assert_eq!(query(&String::from_utf8_lossy(b"\xff\xfeok\xff")), [Term::Word("ok".to_owned())]);
    }
}
