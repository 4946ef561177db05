//! Words of the index that differ little from one that is not in it.

use tantivy::TantivyError;
use tantivy::schema::Field;

/// Up to `most` words of the index that one or two letters make of `word`, the closest first, of
/// equally close ones the most frequent. Looks at a bounded number of words.
pub fn find(
    searcher: &tantivy::Searcher,
    field: Field,
    word: &str,
    most: usize,
) -> Result<Vec<String>, TantivyError> {
    let wanted: Vec<char> = word.chars().collect();
    let allowed = if wanted.len() < LONG { 1 } else { 2 };
    if wanted.len() < SHORTEST {
        return Ok(Vec::new());
    }
    let mut found: Vec<(usize, u64, String)> = Vec::new();
    let mut left = LOOKED_AT_MAX;
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(field)?;
        let mut terms = index.terms().stream()?;
        while left > 0 && terms.advance() {
            left -= 1;
            let Ok(other) = std::str::from_utf8(terms.key()) else { continue };
            let Some(distance) = distance(&wanted, other, allowed) else { continue };
            let count = u64::from(terms.value().doc_freq);
            let at = found.iter().position(|(_, _, known)| known == other);
            match at {
                Some(at) => found[at].1 += count,
                None if found.len() < FOUND_MAX => found.push((distance, count, other.to_owned())),
                None => {}
            }
        }
    }
    found.sort_by(|a, b| (a.0, b.1, &a.2).cmp(&(b.0, a.1, &b.2)));
    Ok(found.into_iter().take(most).map(|(_, _, word)| word).collect())
}

/// Letters to be inserted, removed, changed or swapped with their neighbour to make one word of the
/// other; `None` if there are more than `allowed`, or if nothing differs.
fn distance(wanted: &[char], other: &str, allowed: usize) -> Option<usize> {
    if other.len() > 4 * (wanted.len() + allowed) {
        return None;
    }
    let other: Vec<char> = other.chars().collect();
    if other.len().abs_diff(wanted.len()) > allowed {
        return None;
    }
    let wide = other.len() + 1;
    let mut before = vec![0; wide];
    let mut last: Vec<usize> = (0..wide).collect();
    for (row, &a) in wanted.iter().enumerate() {
        let mut next = vec![row + 1; wide];
        for (column, &b) in other.iter().enumerate() {
            let change = last[column] + usize::from(a != b);
            let mut least = change.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && a == other[column - 1] && wanted[row - 1] == b {
                least = least.min(before[column - 1] + 1);
            }
            next[column + 1] = least;
        }
        if next.iter().all(|number| *number > allowed) {
            return None;
        }
        (before, last) = (last, next);
    }
    last.last().copied().filter(|distance| (1..=allowed).contains(distance))
}

/// Of shorter words everything is near.
const SHORTEST: usize = 3;
/// From this length on two letters may differ.
const LONG: usize = 6;
/// Some 0.3 s.
const LOOKED_AT_MAX: usize = 4_000_000;
/// Words compared by frequency.
const FOUND_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_of_the_fingers_is_one() {
        let between = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b, 2);
        assert_eq!(between("harbour", "habrour"), Some(1), "swapped");
        assert_eq!(between("harbour", "harbor"), Some(1), "left out");
        assert_eq!(between("harbour", "harrbour"), Some(1), "doubled");
        assert_eq!(between("harbour", "harvour"), Some(1), "another");
        assert_eq!(between("harbour", "hrbuor"), Some(2));
        assert_eq!(between("harbour", "harbour"), None, "the same");
        assert_eq!(between("harbour", "hazards"), None, "too far");
        assert_eq!(between("été", "ete"), Some(2));
    }
}
