//! Text folded so that what people take for the same letter is the same: Unicode's compatibility
//! decomposition and full case folding, without accents and without what is invisible.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{DecomposingNormalizer, DecomposingNormalizerBorrowed};
use icu_properties::props::{
    Alphabetic, DefaultIgnorableCodePoint, Diacritic, Emoji, EmojiModifier, GeneralCategory,
    GeneralCategoryGroup, LineBreak,
};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::latin;

/// Folds text; remembers the letters it met last.
pub struct Folder {
    /// By the low bits of the letter; empty until the first one beyond ASCII.
    memory: Vec<(char, Folded)>,
}

/// What one character becomes, if that is short.
#[derive(Clone, Copy)]
struct Folded {
    bytes: [u8; FOLDED_MAX],
    len: u8,
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// Ready for text.
    pub fn new() -> Self {
        Self { memory: Vec::new() }
    }

    /// Hands over the folded characters of `text`, punctuation included.
    pub fn fold(&mut self, text: &str, each: &mut impl FnMut(char)) {
        let mut hangul = None;
        for c in text.chars() {
            if c.is_ascii() {
                hangul.take().map(&mut *each);
                each(c.to_ascii_lowercase());
            } else if is_han_or_syllable(c) {
                join(&mut hangul, c, each);
            } else {
                self.fold_other(c, &mut |c| join(&mut hangul, c, each));
            }
        }
        hangul.map(each);
    }

    /// The folded text.
    pub fn folded(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.fold(text, &mut |c| out.push(c));
        out
    }

    fn fold_other(&mut self, c: char, each: &mut impl FnMut(char)) {
        if self.memory.is_empty() {
            self.memory = vec![('\0', Folded { bytes: [0; FOLDED_MAX], len: 0 }); MEMORY_LETTERS];
        }
        let slot = &mut self.memory[u32::from(c) as usize % MEMORY_LETTERS];
        if slot.0 != c {
            let text = fold_char(c);
            if text.len() > FOLDED_MAX {
                return text.chars().for_each(each);
            }
            *slot = (c, Folded { bytes: [0; FOLDED_MAX], len: text.len() as u8 });
            slot.1.bytes[..text.len()].copy_from_slice(text.as_bytes());
        }
        let folded = &slot.1.bytes[..usize::from(slot.1.len)];
        std::str::from_utf8(folded).unwrap_or_default().chars().for_each(each);
    }
}

/// One character on its own, by Unicode's data (D146 of the Unicode Standard, then less).
fn fold_char(c: char) -> String {
    // Service and trade marks: close to the word before, but no part of it.
    if matches!(c, '\u{2120}' | '\u{2122}') {
        return " ".to_owned();
    }
    let mut text: String = DECOMPOSER.normalize_iter(std::iter::once(c)).collect();
    for _ in 0..ROUNDS_MAX {
        let next: String = DECOMPOSER.normalize_iter(CASES.fold_string(&text).chars()).collect();
        if next == text {
            break;
        }
        text = next;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|&c| !is_left_out(c)) {
        match latin::base_of(c) {
            Some(base) => out.push_str(base),
            None => out.push(c),
        }
    }
    out
}

/// Accents, tone and vowel points, joiners, selectors, skin tones. The vowel signs of Indic and
/// Thai scripts are marks too, but part of the word.
fn is_left_out(c: char) -> bool {
    let accent = || {
        GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
            && (CodePointSetData::new::<Diacritic>().contains(c)
                || !CodePointSetData::new::<Alphabetic>().contains(c))
    };
    c == TATWEEL
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<EmojiModifier>().contains(c)
        || accent()
}

/// True in scripts that put no space between words: Han, kana, Hangul (its particles cling), Thai,
/// Lao, Khmer, Myanmar and their relatives; and flags, which are pairs of letters.
pub fn is_unspaced(c: char) -> bool {
    match c {
        '\0'..='\u{dff}' => false,
        '\u{3041}'..='\u{30ff}'
        | '\u{3105}'..='\u{312f}'
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3005}'..='\u{3007}'
        | '\u{1100}'..='\u{11ff}' => c.is_alphanumeric(),
        '\u{1f1e6}'..='\u{1f1ff}' => true,
        _ if is_han_or_syllable(c) => true,
        _ => c.is_alphanumeric() && CodePointMapData::<LineBreak>::new().get(c) == LineBreak::ComplexContext,
    }
}

/// Emoji and other pictures: each is a word. Not what stands for a character that was lost.
pub fn is_symbol(c: char) -> bool {
    !c.is_ascii()
        && !matches!(c, '\u{fffc}' | '\u{fffd}')
        && !c.is_alphanumeric()
        && (CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::OtherSymbol
            || CodePointSetData::new::<Emoji>().contains(c))
}

/// What folds to itself and needs no table.
fn is_han_or_syllable(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | HANGUL_FIRST..=HANGUL_LAST
        | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2ebef}' | '\u{30000}'..='\u{323af}')
}

/// Puts conjoining jamo together to syllables (section 3.12 of the Unicode Standard), whichever way
/// a name was written.
fn join(hangul: &mut Option<char>, c: char, each: &mut impl FnMut(char)) {
    let next = u32::from(c);
    let joined = hangul.and_then(|before| {
        let before = u32::from(before);
        if (LEAD..LEAD + LEADS).contains(&before) && (VOWEL..VOWEL + VOWELS).contains(&next) {
            return char::from_u32(SYLLABLE + ((before - LEAD) * VOWELS + next - VOWEL) * TAILS);
        }
        let open =
            (SYLLABLE..SYLLABLE + SYLLABLES).contains(&before) && (before - SYLLABLE).is_multiple_of(TAILS);
        if open && (TAIL + 1..TAIL + TAILS).contains(&next) {
            return char::from_u32(before + next - TAIL);
        }
        None
    });
    if joined.is_some() {
        *hangul = joined;
        return;
    }
    hangul.take().map(&mut *each);
    if (LEAD..LEAD + LEADS).contains(&next) || (SYLLABLE..SYLLABLE + SYLLABLES).contains(&next) {
        *hangul = Some(c);
    } else {
        each(c);
    }
}

const DECOMPOSER: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfkd();
const CASES: CaseMapperBorrowed<'static> = CaseMapper::new();

/// Only stretches Arabic words.
const TATWEEL: char = '\u{640}';

/// Folding a case may give what decomposes, and the other way round, once.
const ROUNDS_MAX: usize = 3;

/// Bytes of what nearly all characters become.
const FOLDED_MAX: usize = 15;

/// Two alphabets and some of kana: 20 KiB.
const MEMORY_LETTERS: usize = 1_024;

const HANGUL_FIRST: char = '\u{ac00}';
const HANGUL_LAST: char = '\u{d7a3}';
const SYLLABLE: u32 = 0xac00;
const SYLLABLES: u32 = LEADS * VOWELS * TAILS;
const LEAD: u32 = 0x1100;
const LEADS: u32 = 19;
const VOWEL: u32 = 0x1161;
const VOWELS: u32 = 21;
/// One before the first: none at all counts.
const TAIL: u32 = 0x11a7;
const TAILS: u32 = 28;

#[cfg(test)]
mod tests {
    use icu_normalizer::ComposingNormalizer;
    use icu_properties::props::Script;

    use super::*;

    fn folded(text: &str) -> String {
        Folder::new().folded(text)
    }

    #[test]
    fn every_letter_meets_its_other_case_and_its_other_forms() {
        let mut folder = Folder::new();
        let composed = ComposingNormalizer::new_nfc();
        let decomposed = DecomposingNormalizer::new_nfd();
        let mut letters = 0;
        for c in '\0'..=char::MAX {
            let known = CodePointMapData::<GeneralCategory>::new().get(c) != GeneralCategory::Unassigned;
            if !known || !c.is_alphabetic() {
                continue;
            }
            letters += 1;
            let text = c.to_string();
            let expected = folder.folded(&text);
            let others = [
                text.to_uppercase(),
                text.to_lowercase(),
                composed.normalize(&text).into_owned(),
                decomposed.normalize(&text).into_owned(),
                decomposed.normalize(&text.to_uppercase()).into_owned(),
                composed.normalize(&text.to_lowercase()).into_owned(),
            ];
            for other in others {
                assert_eq!(folder.folded(&other), expected, "U+{:04X} {c} and {other}", u32::from(c));
            }
            assert_eq!(folder.folded(&expected), expected, "U+{:04X} {c}: folded twice", u32::from(c));
            assert!(!expected.contains('\u{fffd}'));
        }
        assert!(letters > 130_000, "{letters}");
    }

    #[test]
    fn what_people_type_without_its_marks() {
        for (text, expected) in [
            ("Władysław ŁÓDŹ", "wladyslaw lodz"),
            ("Tiếng Việt ĐƯỜNG", "tieng viet duong"),
            ("Ўзбек ЁЙ ї", "узбек еи і"),
            ("Kṛṣṇa", "krsna"),
            ("ｶﾞﾝﾀﾞﾑ ガンダム", "カンタム カンタム"),
            ("ﬁnal ﬄ ǆ Ĳ", "final ffl dz ij"),
            ("Straße STRASSE ẞ", "strasse strasse ss"),
            ("İSTANBUL ıstanbul", "istanbul istanbul"),
            ("Œuvre Æsir Þór ŋ ø đ ħ ŧ", "oeuvre aesir thor n o d h t"),
            ("Ｆｕｌｌ １２", "full 12"),
            ("Ⓢⓔⓒ 𝐛𝐨𝐥𝐝", "sec bold"),
            ("f\u{200b}o\u{ad}o\u{2060}\u{e0041}\u{fe0f}", "foo"),
            ("שָׁלוֹם سَلَامٌ كتـــاب", "שלום سلام كتاب"),
            ("ΜΆΤΡΙΞ ς ᾳ", "ματριξ σ αι"),
            ("ไทย ກໍ ខ្មែរ", "ไทย ກໍ ខមែរ"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
        assert_eq!(folded("한국어 각"), folded("\u{1112}\u{1161}\u{11ab}국어 가\u{11a8}"));
        assert_eq!(folded("한\u{1112}"), "한\u{1112}");
    }

    #[test]
    fn the_letters_of_the_table_are_letters_that_unicode_leaves_alone() {
        for (base, letters) in latin::LETTERS {
            assert!(base.bytes().all(|byte| byte.is_ascii_lowercase()), "{base}");
            for c in letters.chars() {
                let decomposed: String = DECOMPOSER.normalize_iter(std::iter::once(c)).collect();
                assert_eq!(CASES.fold_string(&decomposed), c.to_string(), "{c}");
                assert_eq!(CodePointMapData::<Script>::new().get(c), Script::Latin, "{c}");
                assert_eq!(folded(&c.to_uppercase().to_string()), *base, "{c}");
            }
        }
    }
}
