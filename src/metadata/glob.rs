//! Patterns with `*` for anything and `?` for one character, matched in time linear in the text.

use std::collections::BTreeMap;

use crate::model::words::fold::Folder;

/// A pattern for folded text.
#[derive(Debug)]
pub struct Glob {
    /// What stands between the stars, in order.
    parts: Vec<Part>,
    /// A star stands before the first part, or behind the last.
    open_start: bool,
    open_end: bool,
}

/// Characters that stand beside each other; `None` is any one.
#[derive(Debug)]
struct Part {
    chars: Vec<Option<char>>,
    /// The same as text, if each is one certain character.
    text: Option<String>,
    /// Where each character of the part occurs in it, a bit for each place; [`Part::any`] for the
    /// others. Only if there is a `?`.
    places: BTreeMap<char, Vec<u64>>,
    any: Vec<u64>,
}

impl Glob {
    /// From a rule's text; folds it.
    pub fn new(pattern: &str) -> Self {
        let mut folder = Folder::new();
        let mut parts: Vec<Part> = Vec::new();
        for piece in pattern.split('*') {
            let mut chars = Vec::new();
            for (index, text) in piece.split('?').enumerate() {
                if index > 0 {
                    chars.push(None);
                }
                folder.fold(text, &mut |c| chars.push(Some(c)));
            }
            parts.push(Part::new(chars));
        }
        let is_star = |part: Option<&Part>| part.is_some_and(|part| part.chars.is_empty());
        let has_star = parts.len() > 1;
        let open_start = has_star && is_star(parts.first());
        let open_end = has_star && is_star(parts.last());
        let has_one = !has_star;
        parts.retain(|part| has_one || !part.chars.is_empty());
        Self { parts, open_start, open_end }
    }

    /// Does the whole of this folded text match? The leftmost place for each part is as good as any:
    /// so each character is looked at by one part, but for those at both ends.
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        let mut parts = self.parts.as_slice();
        if !self.open_start
            && let Some((first, others)) = parts.split_first()
        {
            let Some(end) = first.at_start(rest) else { return false };
            (rest, parts) = (&rest[end..], others);
            if parts.is_empty() {
                return self.open_end || rest.is_empty();
            }
        }
        let last = if self.open_end { None } else { parts.split_last() };
        if let Some((_, others)) = last {
            parts = others;
        }
        for part in parts {
            let Some(end) = part.find(rest) else { return false };
            rest = &rest[end..];
        }
        last.is_none_or(|(last, _)| last.at_end(rest))
    }
}

impl Part {
    fn new(chars: Vec<Option<char>>) -> Self {
        let text: Option<String> = chars.iter().copied().collect();
        let words = chars.len().div_ceil(BITS);
        let (mut places, mut any) = (BTreeMap::new(), vec![0; words]);
        if text.is_none() {
            for (at, _) in chars.iter().enumerate().filter(|(_, c)| c.is_none()) {
                any[at / BITS] |= 1 << (at % BITS);
            }
            for (at, c) in chars.iter().enumerate() {
                if let Some(c) = *c {
                    places.entry(c).or_insert_with(|| any.clone())[at / BITS] |= 1 << (at % BITS);
                }
            }
        }
        Self { chars, text, places, any }
    }

    /// Where the part ends if the text begins with it.
    fn at_start(&self, text: &str) -> Option<usize> {
        if let Some(own) = &self.text {
            return text.starts_with(own.as_str()).then_some(own.len());
        }
        let mut rest = text.chars();
        let all = self.chars.iter().all(|own| rest.next().is_some_and(|c| own.is_none_or(|own| own == c)));
        all.then(|| text.len() - rest.as_str().len())
    }

    fn at_end(&self, text: &str) -> bool {
        let mut rest = text.chars().rev();
        self.chars.iter().rev().all(|own| rest.next().is_some_and(|c| own.is_none_or(|own| own == c)))
    }

    /// Where the part ends that comes first in the text. With a `?` in it all beginnings are followed
    /// at once, a bit for each (Baeza-Yates and Gonnet, shift-and).
    fn find(&self, text: &str) -> Option<usize> {
        if let Some(own) = &self.text {
            return text.find(own.as_str()).map(|at| at + own.len());
        }
        let mut state = vec![0u64; self.any.len()];
        let (word, bit) = ((self.chars.len() - 1) / BITS, (self.chars.len() - 1) % BITS);
        for (at, c) in text.char_indices() {
            let places = self.places.get(&c).unwrap_or(&self.any);
            let mut carry = 1;
            for (state, places) in state.iter_mut().zip(places) {
                let next = *state >> (BITS - 1);
                *state = (*state << 1 | carry) & places;
                carry = next;
            }
            if state[word] >> bit & 1 == 1 {
                return Some(at + c.len_utf8());
            }
        }
        None
    }
}

const BITS: usize = u64::BITS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    /// As a person would do it by hand: every way is tried.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', more)), None) => naive(more, text),
            (Some(('*', more)), Some((_, rest))) => naive(more, text) || naive(pattern, rest),
            (Some((p, more)), Some((c, rest))) => (*p == '?' || p == c) && naive(more, rest),
            (Some(_), None) => false,
        }
    }

    #[test]
    fn patterns_match_as_when_every_way_is_tried() {
        let mut rng = crate::base::Rng::seeded(5);
        let mut draw = |letters: &str, len: usize| -> String {
            let letters: Vec<char> = letters.chars().collect();
            (0..rng.index(len + 1)).map(|_| letters[rng.index(letters.len())]).collect()
        };
        for _ in 0..60_000 {
            let (pattern, text) = (draw("ab*?é", 8), draw("abé", 9).replace('é', "e"));
            let chars = |text: &str| text.replace('é', "e").chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            assert_eq!(Glob::new(&pattern).matches(&text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn long_parts_with_question_marks_are_found() {
        let pattern = format!("*{}x*", "a?".repeat(100));
        let text = format!("{}x", "ab".repeat(1_000));
        assert!(Glob::new(&pattern).matches(&text));
        assert!(!Glob::new(&pattern).matches(&text.replace('x', "y")));
    }

    /// Half a million characters of a name and the worst pattern of each kind: the work is a few
    /// operations a character. By trying one star after the other it took minutes.
    #[test]
    fn a_long_name_is_read_once() {
        let text = "a".repeat(1 << 19);
        for pattern in [
            format!("{}b", "a*".repeat(500)),
            format!("*{}b", "a".repeat(1_000)),
            format!("*{}b*", "a?".repeat(500)),
            format!("*{}b", "?a*".repeat(300)),
        ] {
            assert!(!Glob::new(&pattern).matches(&text), "{pattern}");
        }
    }
}
