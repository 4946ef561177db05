//! Torrents whose names have all of the words. The index holds each word of a name twice and each
//! other word once ([`super::tokenize::Indexed`]), so that the frequency of a word tells where it is.

use tantivy::postings::Postings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, SegmentReader, TERMINATED, Term};

use super::tokenize;

/// What to find.
pub struct Wanted<'a> {
    /// Words that are all in the name.
    pub all: &'a [tokenize::Term],
    /// Words that are nowhere.
    pub none: &'a [tokenize::Term],
    /// A column, and its least and its largest value.
    pub within: Option<(&'a str, u64, u64)>,
    /// How many hits.
    pub limit: usize,
}

/// The hits, those with the fewest words first.
pub fn find(
    searcher: &tantivy::Searcher,
    field: Field,
    wanted: &Wanted<'_>,
) -> tantivy::Result<Vec<DocAddress>> {
    let mut hits: Vec<(u8, DocAddress)> = Vec::new();
    for (number, segment) in searcher.segment_readers().iter().enumerate() {
        let lengths = segment.get_fieldnorms_reader(field)?;
        for doc in find_in(segment, field, wanted)? {
            hits.push((lengths.fieldnorm_id(doc), DocAddress::new(number as u32, doc)));
        }
        hits.sort_unstable();
        hits.truncate(wanted.limit);
    }
    Ok(hits.into_iter().map(|(_, doc)| doc).collect())
}

/// Documents of one segment, in their order.
fn find_in(segment: &SegmentReader, field: Field, wanted: &Wanted<'_>) -> tantivy::Result<Vec<u32>> {
    let mut docs: Option<Vec<u32>> = None;
    for term in wanted.all {
        let found = with_term(segment, field, term, IN_NAME, docs.as_deref())?;
        if found.is_empty() {
            return Ok(found);
        }
        docs = Some(found);
    }
    let mut docs = docs.unwrap_or_default();
    for term in wanted.none {
        let without = with_term(segment, field, term, 1, Some(&docs))?;
        docs.retain(|doc| without.binary_search(doc).is_err());
    }
    if let Some(alive) = segment.alive_bitset() {
        docs.retain(|doc| alive.is_alive(*doc));
    }
    if let Some((column, least, most)) = wanted.within {
        let column = segment.fast_fields().u64(column)?;
        docs.retain(|doc| column.first(*doc).is_some_and(|value| (least..=most).contains(&value)));
    }
    Ok(docs)
}

/// Those of `among`, or of all, that have the term at least so often.
fn with_term(
    segment: &SegmentReader,
    field: Field,
    term: &tokenize::Term,
    times: u32,
    among: Option<&[u32]>,
) -> tantivy::Result<Vec<u32>> {
    let index = segment.inverted_index(field)?;
    let mut words = Vec::new();
    match term {
        tokenize::Term::Word(word) => words.push(word.clone()),
        tokenize::Term::Starts(start) => {
            let mut terms = index.terms().range().ge(start).into_stream()?;
            while words.len() < STARTS_MAX && terms.advance() && terms.key().starts_with(start.as_bytes()) {
                words.extend(String::from_utf8(terms.key().to_vec()));
            }
        }
    }
    let mut docs = Vec::new();
    for word in &words {
        let term = Term::from_field_text(field, word);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::WithFreqs)? else { continue };
        match among {
            None => {
                while postings.doc() != TERMINATED {
                    if postings.term_freq() >= times {
                        docs.push(postings.doc());
                    }
                    postings.advance();
                }
            }
            Some(among) => {
                for &doc in among {
                    let at = if postings.doc() < doc { postings.seek(doc) } else { postings.doc() };
                    if at == TERMINATED {
                        break;
                    }
                    if at == doc && postings.term_freq() >= times {
                        docs.push(doc);
                    }
                }
            }
        }
    }
    if words.len() > 1 {
        docs.sort_unstable();
        docs.dedup();
    }
    Ok(docs)
}

/// How often a word of the name is in the index's text.
const IN_NAME: u32 = 2;

/// Words that begin with the last one typed.
const STARTS_MAX: usize = 1_000;
