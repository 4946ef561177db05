//! Torrents with all of several common words. Where words are about equally common, ticking off
//! their lists one after the other takes a fraction of jumping to and fro between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tantivy::columnar::Column;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::Bm25Weight;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, Searcher, SegmentReader, Term};

/// What to find, and in which order.
pub struct Wanted<'a> {
    /// Words that are all in it.
    pub terms: &'a [Term],
    /// A column with the largest values first; without it, what fits the words best.
    pub by: Option<&'a str>,
    /// A column that is at least so much.
    pub least: Option<(&'a str, u64)>,
    /// How many hits.
    pub limit: usize,
}

/// True if the words are so common, and so equally so, that [`find`] is the faster way.
pub fn is_worth_it(searcher: &Searcher, terms: &[Term]) -> tantivy::Result<bool> {
    let (mut rarest, mut sum) = (u64::MAX, 0);
    for term in terms {
        let count = searcher.doc_freq(term)?;
        rarest = rarest.min(count);
        sum += count;
    }
    Ok(terms.len() > 1 && rarest >= COMMON_MIN && sum <= rarest.saturating_mul(UNEQUAL_MAX))
}

/// The best hits in order, and how many there are in all.
pub fn find(searcher: &Searcher, wanted: &Wanted<'_>) -> tantivy::Result<(Vec<DocAddress>, u64)> {
    let mut best = Best { heap: BinaryHeap::new(), limit: wanted.limit, total: 0 };
    let weights = wanted.terms.iter().map(|term| Bm25Weight::for_terms(searcher, std::slice::from_ref(term)));
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    let mut window =
        Window { ticks: vec![0; WINDOW_DOCS], scores: vec![0.0; WINDOW_DOCS], ticked: [0; BLOCK_DOCS] };
    for (number, segment) in searcher.segment_readers().iter().enumerate() {
        find_in(segment, number as u32, wanted, &weights, &mut window, &mut best)?;
    }
    let mut hits: Vec<_> = best.heap.into_iter().map(|Reverse(hit)| hit).collect();
    hits.sort_unstable_by_key(|hit| Reverse(*hit));
    let address = |(_, Reverse(segment), Reverse(doc))| DocAddress::new(segment, doc);
    Ok((hits.into_iter().map(address).collect(), best.total))
}

/// A key, and where: of two with the same key, what comes first is better.
type Ranked = (u64, Reverse<u32>, Reverse<u32>);

struct Best {
    heap: BinaryHeap<Reverse<Ranked>>,
    limit: usize,
    total: u64,
}

impl Best {
    fn add(&mut self, key: u64, segment: u32, doc: u32) {
        self.total += 1;
        if self.heap.len() >= self.limit {
            // What comes later with the same key is worse.
            if self.heap.peek().is_none_or(|Reverse(worst)| key <= worst.0) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse((key, Reverse(segment), Reverse(doc))));
    }
}

/// So many documents at a time that what is noted of them stays in the cache.
struct Window {
    /// How many of the words are in a document.
    ticks: Vec<u8>,
    scores: Vec<f32>,
    /// Which of a block were ticked.
    ticked: [u8; BLOCK_DOCS],
}

impl Window {
    /// Ticks those documents of a block that have so many ticks already; how many. Without a
    /// branch, which nothing could predict.
    fn tick(&mut self, docs: &[u32], start: u32, before: u8) -> usize {
        let mut count = 0;
        for (index, &doc) in docs.iter().enumerate() {
            let tick = &mut self.ticks[(doc - start) as usize];
            let is_due = *tick == before;
            *tick += u8::from(is_due);
            self.ticked[count] = index as u8;
            count += usize::from(is_due);
        }
        count
    }
}

/// The documents with one word, in order.
struct List<'a> {
    postings: BlockSegmentPostings,
    at: usize,
    weight: &'a Bm25Weight,
}

impl List<'_> {
    /// Every document before `end`, with how often the word is in it if that was asked for, a
    /// block at a time.
    fn until(&mut self, end: u32, mut each: impl FnMut(&[u32], &[u32])) {
        while self.postings.block_len() > 0 {
            let docs = &self.postings.docs()[self.at..];
            let count = docs.partition_point(|&doc| doc < end);
            each(&docs[..count], self.postings.freqs().get(self.at..).unwrap_or_default());
            if count < docs.len() {
                self.at += count;
                return;
            }
            self.at = 0;
            self.postings.advance();
        }
    }
}

fn find_in(
    segment: &SegmentReader,
    number: u32,
    wanted: &Wanted<'_>,
    weights: &[Bm25Weight],
    window: &mut Window,
    best: &mut Best,
) -> tantivy::Result<()> {
    let scored = wanted.by.is_none();
    let option = if scored { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
    let mut lists = Vec::with_capacity(wanted.terms.len());
    for (term, weight) in wanted.terms.iter().zip(weights) {
        let postings = segment.inverted_index(term.field())?.read_block_postings(term, option)?;
        let Some(postings) = postings else { return Ok(()) };
        lists.push(List { postings, at: 0, weight });
    }
    lists.sort_by_key(|list| list.postings.doc_freq());
    let column = |name: &str| segment.fast_fields().u64(name);
    let by = wanted.by.map(column).transpose()?;
    let least = wanted.least.map(|(name, least)| column(name).map(|column| (column, least))).transpose()?;
    let norms = segment.get_fieldnorms_reader(wanted.terms[0].field())?;
    let keeps = |doc: u32| {
        segment.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
            && least.as_ref().is_none_or(|(column, least)| value(column, doc) >= *least)
    };
    let all = lists.len();
    for start in (0..segment.max_doc()).step_by(WINDOW_DOCS) {
        let end = start.saturating_add(WINDOW_DOCS as u32).min(segment.max_doc());
        window.ticks.fill(0);
        for (before, list) in lists.iter_mut().enumerate() {
            let (weight, last) = (list.weight, before + 1 == all);
            list.until(end, |docs, freqs| {
                let ticked = window.tick(docs, start, before as u8);
                for &index in &window.ticked[..ticked] {
                    let doc = docs[usize::from(index)];
                    let mut score = 0.0;
                    if scored {
                        let place = &mut window.scores[(doc - start) as usize];
                        score = weight.score(norms.fieldnorm_id(doc), freqs[usize::from(index)]);
                        score += if before > 0 { *place } else { 0.0 };
                        *place = score;
                    } else if !last {
                        break;
                    }
                    if last && keeps(doc) {
                        // Scores are positive: in that case their bits are in the same order.
                        let key = match &by {
                            Some(column) => value(column, doc),
                            None => u64::from(score.to_bits()),
                        };
                        best.add(key, number, doc);
                    }
                }
            });
        }
    }
    Ok(())
}

fn value(column: &Column<u64>, doc: u32) -> u64 {
    column.first(doc).unwrap_or(0)
}

/// Bytes of notes: 5 for each, so that they stay in the second-level cache.
const WINDOW_DOCS: usize = 1 << 15;

/// What tantivy packs together: its format has no larger blocks.
const BLOCK_DOCS: usize = 128;

/// Below this many torrents with a word nothing takes long.
const COMMON_MIN: u64 = 500;

/// A document that is jumped to costs about as much as twelve that are read in a row.
const UNEQUAL_MAX: u64 = 12;

#[cfg(all(test, feature = "search"))]
mod tests {
    use crate::base::Rng;
    use crate::store::search::index::{Indexer, Searcher};
    use crate::store::search::{Entry, Query, Sort, tokenize};

    #[test]
    fn both_ways_find_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (mut indexer, _) = Indexer::open(folder.path(), 0).unwrap();
        let mut rng = Rng::seeded(8);
        let words = ["red", "green", "blue", "grey"];
        for id in 1..=6_000i64 {
            let mut text = String::new();
            for word in words.iter().filter(|_| rng.percent(60)).collect::<Vec<_>>() {
                for _ in 0..1 + rng.index(2) {
                    text.push_str(word);
                    text.push(' ');
                }
            }
            (0..rng.index(20)).for_each(|filler| text.push_str(&format!("x{filler} ")));
            let entry = Entry { id, text, size_bytes: rng.below(1_000), popularity: rng.below(50) as u32 };
            indexer.add(entry).unwrap();
            if id % 1_700 == 0 {
                indexer.commit(id).unwrap();
            }
        }
        indexer.remove((1..6_000).step_by(7).collect()).unwrap();
        indexer.commit(6_000).unwrap();
        let searcher = Searcher::open(folder.path()).unwrap();
        for sort in [Sort::Relevance, Sort::Seeders, Sort::Size, Sort::New] {
            for text in ["red green", "blue grey red", "red green blue grey"] {
                for size_min_bytes in [0, 700] {
                    let query = Query { sort, size_min_bytes, ..Query::default() };
                    let terms = tokenize::query(text);
                    let dense = searcher.dense(&terms, &query, 50).unwrap().expect("they are common");
                    let usual = searcher.usual(&terms, &query, 50).unwrap();
                    assert_eq!(dense.total, usual.total, "{text} {sort:?} {size_min_bytes}");
                    assert!(dense.total > 100 && dense.ids.len() == 50);
                    // Sums of more than two numbers differ in the last bit by their order.
                    if sort != Sort::Relevance || terms.len() == 2 {
                        assert_eq!(dense.ids, usual.ids, "{text} {sort:?} {size_min_bytes}");
                    }
                }
            }
        }
        assert!(searcher.dense(&tokenize::query("red x99"), &Query::default(), 5).unwrap().is_none());
    }
}
