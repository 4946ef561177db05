//! Words of names: the one place that says where a word begins and ends and which letters are the
//! same. Search and the filter both stand on it.

pub mod fold;
mod latin;

use fold::{Folder, is_symbol, is_unspaced};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A word between separators. An apostrophe inside is left out: `Ocean's` is `oceans`.
    Word,
    /// What stands before or after such an apostrophe.
    Piece,
    /// Two neighbours in a script without spaces.
    Pair,
    /// The only character of such a run.
    Alone,
    /// The last character of a longer run: indexed so that every character begins some piece.
    Tail,
}

/// Cuts text into folded words; scripts without spaces into pairs of characters.
#[derive(Default)]
pub struct Splitter {
    folder: Folder,
    cut: Cut,
}

#[derive(Default)]
struct Cut {
    word: String,
    /// The pieces before the last apostrophe.
    joined: String,
    /// The last character was an apostrophe after a word.
    apostrophe: bool,
    /// The character before, in a run of a script without spaces, and the run's length.
    run: Option<(char, u32)>,
}

impl Splitter {
    /// Hands over each word of `text`.
    pub fn split(&mut self, text: &str, each: &mut impl FnMut(&str, Part)) {
        let Self { folder, cut } = self;
        folder.fold(text, &mut |c| cut.take(c, each));
        cut.end(each);
    }

    /// The folded text, punctuation included.
    pub fn folded(&mut self, text: &str) -> String {
        self.folder.folded(text)
    }

    /// The words of `text` in order with one space between them, as [`has_phrase`] compares them.
    pub fn plain(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let (mut before, mut gap, mut apostrophe) = (Kind::Separator, false, false);
        self.folder.fold(text, &mut |c| {
            let kind = Kind::of(c);
            match kind {
                Kind::Separator => gap = true,
                Kind::Apostrophe => {
                    gap |= apostrophe || before != Kind::Letter;
                    apostrophe = !gap;
                }
                Kind::Letter | Kind::Unspaced | Kind::Symbol => {
                    let inside = kind == before && kind != Kind::Symbol;
                    let apart = gap || !inside || apostrophe && kind != Kind::Letter;
                    if apart && !out.is_empty() {
                        out.push(' ');
                    }
                    out.push(c);
                    (gap, apostrophe) = (false, false);
                }
            }
            if kind != Kind::Apostrophe {
                before = kind;
            }
        });
        out
    }
}

/// Does the phrase stand in the text with ends of words at both ends? Both are from
/// [`Splitter::plain`], or both from [`Splitter::folded`].
pub fn has_phrase(text: &str, phrase: &str) -> bool {
    let (first, last) = (phrase.chars().next(), phrase.chars().next_back());
    text.match_indices(phrase).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        is_boundary(before, first) && is_boundary(last, after)
    })
}

/// True if the folded text is one word of letters and digits, in a script with spaces.
pub fn is_word(folded: &str) -> bool {
    !folded.is_empty() && folded.chars().all(|c| Kind::of(c) == Kind::Letter)
}

/// True if there is anything in the folded text but words, apostrophes and white space.
pub fn has_punctuation(folded: &str) -> bool {
    folded.chars().any(|c| !c.is_whitespace() && Kind::of(c) == Kind::Separator)
}

/// Is there an end of a word between these two?
fn is_boundary(left: Option<char>, right: Option<char>) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| Kind::of(c) == Kind::Letter);
    !(inside(left) && inside(right))
}

/// What a folded character is to words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Unspaced,
    Symbol,
    Apostrophe,
    Separator,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            'a'..='z' | '0'..='9' => Self::Letter,
            '\'' | '\u{2018}' | '\u{2019}' | '\u{2bb}' | '\u{2bc}' => Self::Apostrophe,
            _ if c.is_ascii() => Self::Separator,
            _ if is_unspaced(c) => Self::Unspaced,
            _ if c.is_alphanumeric() => Self::Letter,
            _ if is_symbol(c) => Self::Symbol,
            _ => Self::Separator,
        }
    }
}

impl Cut {
    fn take(&mut self, c: char, each: &mut impl FnMut(&str, Part)) {
        match Kind::of(c) {
            Kind::Letter => {
                if self.run.is_some() {
                    self.end(each);
                }
                if std::mem::take(&mut self.apostrophe) {
                    self.end_piece(each);
                }
                push(&mut self.word, c);
            }
            Kind::Unspaced => self.run_on(c, each),
            Kind::Symbol => {
                self.end(each);
                self.word.push(c);
                self.end(each);
            }
            Kind::Apostrophe if !self.word.is_empty() && self.run.is_none() && !self.apostrophe => {
                self.apostrophe = true;
            }
            Kind::Apostrophe | Kind::Separator => {
                if !self.word.is_empty() || self.run.is_some() {
                    self.end(each);
                }
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

    /// An apostrophe stood before the letter that comes next.
    fn end_piece(&mut self, each: &mut impl FnMut(&str, Part)) {
        each(&self.word, Part::Piece);
        self.word.chars().for_each(|c| push(&mut self.joined, c));
        self.word.clear();
    }

    fn end(&mut self, each: &mut impl FnMut(&str, Part)) {
        self.apostrophe = false;
        match self.run.take() {
            Some((last, length)) => {
                self.word.clear();
                self.word.push(last);
                each(&self.word, if length == 1 { Part::Alone } else { Part::Tail });
            }
            None if !self.joined.is_empty() => {
                self.end_piece(each);
                each(&self.joined, Part::Word);
                self.joined.clear();
            }
            None if !self.word.is_empty() => each(&self.word, Part::Word),
            None => {}
        }
        self.word.clear();
    }
}

fn push(word: &mut String, c: char) {
    if word.len() + c.len_utf8() <= WORD_BYTES_MAX {
        word.push(c);
    }
}

/// Longer words are cut, in the index and in queries alike: a hash as a name is found by it.
pub const WORD_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, Part)> {
        let mut words = Vec::new();
        Splitter::default().split(text, &mut |word, part| words.push((word.to_owned(), part)));
        words
    }

    fn of(part: Part, text: &str) -> Vec<String> {
        words(text).into_iter().filter(|(_, other)| *other == part).map(|(word, _)| word).collect()
    }

    #[test]
    fn apostrophes_join_and_part() {
        for text in ["Ocean's 11", "Ocean\u{2019}s 11", "OCEAN\u{ff07}S 11"] {
            assert_eq!(of(Part::Word, text), ["oceans", "11"], "{text}");
            assert_eq!(of(Part::Piece, text), ["ocean", "s"], "{text}");
        }
        assert_eq!(
            of(Part::Word, "'x264' rock'n'roll the '90s dogs'"),
            ["x264", "rocknroll", "the", "90s", "dogs"]
        );
        assert_eq!(of(Part::Piece, "rock'n'roll"), ["rock", "n", "roll"]);
        assert_eq!(of(Part::Word, "a''b"), ["a", "b"]);
    }

    #[test]
    fn pictures_are_words_and_flags_are_pairs() {
        assert_eq!(of(Part::Word, "a🎬b ❤\u{fe0f}👍🏽"), ["a", "🎬", "b", "❤", "👍"]);
        assert_eq!(of(Part::Pair, "🇩🇪"), ["🇩🇪"]);
        assert_eq!(of(Part::Word, "Foo™ \u{1f468}\u{200d}\u{1f469}"), ["foo", "👨", "👩"]);
    }

    #[test]
    fn phrases_are_words_in_order_whatever_stands_between() {
        let has = |text: &str, phrase: &str| {
            let mut splitter = Splitter::default();
            has_phrase(&splitter.plain(text), &splitter.plain(phrase))
        };
        assert!(has("The.Big_Short (2015)", "big short") && has("big short", "BIG  SHORT"));
        assert!(
            !has("big shorts", "big short")
                && !has("short big", "big short")
                && !has("xbig short", "big short")
        );
        assert!(has("新映画館", "映画") && has("三体01", "三体 01") && has("a🎬b", "🎬 b"));
        assert!(has("Ocean's Eleven", "oceans eleven") && has("İSTANBUL gece", "istanbul GECE"));
        assert_eq!(Splitter::default().plain("  ..'a' b''c — d! "), "a b c d");
    }
}
