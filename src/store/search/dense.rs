//! Torrents with all of several common words. Where words are about equally common, ticking off
//! their lists one after the other takes a fraction of jumping to and fro between them.

use std::cmp::Reverse;

use tantivy::fieldnorm::FieldNormReader;
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
    let mut best = Best::new(wanted.limit);
    let mut terms = Vec::with_capacity(wanted.terms.len());
    for term in wanted.terms {
        terms.push((searcher.doc_freq(term)?, term));
    }
    terms.sort_by_key(|(count, _)| *count);
    let terms: Vec<&Term> = terms.into_iter().map(|(_, term)| term).collect();
    let mut scores = Vec::new();
    if wanted.by.is_none() {
        for &term in &terms {
            scores.push(Scores::new(Bm25Weight::for_terms(searcher, std::slice::from_ref(term))?));
        }
    }
    let mut window = Window::new();
    for (number, segment) in searcher.segment_readers().iter().enumerate() {
        find_in(segment, number as u32, wanted, &terms, &scores, &mut window, &mut best)?;
    }
    let (hits, total) = best.end();
    let address = |(_, Reverse(segment), Reverse(doc))| DocAddress::new(segment, doc);
    Ok((hits.into_iter().map(address).collect(), total))
}

/// A key, and where: of two with the same key, what comes first is better.
type Ranked = (u64, Reverse<u32>, Reverse<u32>);

/// The best so far, among others that were as good when they came.
struct Best {
    hits: Vec<Ranked>,
    limit: usize,
    /// There are enough with more than that.
    floor: Option<u64>,
    total: u64,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { hits: Vec::new(), limit, floor: None, total: 0 }
    }

    fn add(&mut self, key: u64, segment: u32, doc: u32) {
        self.total += 1;
        // What comes later with the same key is worse.
        if self.floor.is_some_and(|floor| key <= floor) {
            return;
        }
        self.hits.push((key, Reverse(segment), Reverse(doc)));
        if self.hits.len() >= 2 * self.limit {
            let (_, worst, _) = self.hits.select_nth_unstable_by_key(self.limit - 1, |hit| Reverse(*hit));
            self.floor = Some(worst.0);
            self.hits.truncate(self.limit);
        }
    }

    fn end(mut self) -> (Vec<Ranked>, u64) {
        self.hits.sort_unstable_by_key(|hit| Reverse(*hit));
        self.hits.truncate(self.limit);
        (self.hits, self.total)
    }
}

/// What a word adds to a score, for the usual numbers of times beforehand.
struct Scores {
    weight: Bm25Weight,
    /// By how often it occurs, from once on, and by the length of the text.
    usual: Vec<[f32; 256]>,
}

impl Scores {
    fn new(weight: Bm25Weight) -> Self {
        let usual =
            (1..=USUAL_TIMES).map(|times| std::array::from_fn(|norm| weight.score(norm as u8, times)));
        Self { usual: usual.collect(), weight }
    }

    fn of(&self, times: u32, norm: u8) -> f32 {
        let usual = self.usual.get((times as usize).wrapping_sub(1));
        usual.map_or_else(|| self.weight.score(norm, times), |by_norm| by_norm[usize::from(norm)])
    }
}

/// So many documents at a time that what is noted of them stays in the cache.
struct Window {
    /// How many of the words are in a document.
    ticks: Vec<u8>,
    /// How often the first word is in it.
    first: Vec<u8>,
    /// What the words but the first and the last add up to, and the first.
    scores: Vec<f32>,
    /// Those of a block that were ticked, and how often this word is in them.
    ticked: [u32; BLOCK_DOCS],
    times: [u32; BLOCK_DOCS],
    keys: [Option<u64>; BLOCK_DOCS],
}

impl Window {
    fn new() -> Self {
        Self {
            ticks: vec![0; WINDOW_DOCS],
            first: vec![0; WINDOW_DOCS],
            scores: vec![0.0; WINDOW_DOCS],
            ticked: [0; BLOCK_DOCS],
            times: [0; BLOCK_DOCS],
            keys: [None; BLOCK_DOCS],
        }
    }

    /// Ticks the documents of a block, which have the first word.
    fn begin(&mut self, docs: &[u32], times: &[u32], start: u32) {
        for &doc in docs {
            self.ticks[(doc - start) as usize] = 1;
        }
        for (&doc, &times) in docs.iter().zip(times) {
            self.first[(doc - start) as usize] = times.min(255) as u8;
        }
    }

    /// Ticks those documents of a block that have so many ticks already; how many. Without a
    /// branch, which nothing could predict.
    fn tick(&mut self, docs: &[u32], times: &[u32], start: u32, before: u8) -> usize {
        let mut count = 0;
        for (index, &doc) in docs.iter().enumerate() {
            let tick = &mut self.ticks[(doc - start) as usize];
            let is_due = *tick == before;
            *tick += u8::from(is_due);
            self.ticked[count] = doc;
            self.times[count] = times.get(index).copied().unwrap_or_default();
            count += usize::from(is_due);
        }
        count
    }

    /// Adds what this word and those before it are worth to the documents just ticked, and makes
    /// their keys of it.
    fn score(&mut self, count: usize, start: u32, before: usize, scores: &[Scores], norms: &FieldNormReader) {
        for index in 0..count {
            let doc = self.ticked[index];
            let (place, norm) = ((doc - start) as usize, norms.fieldnorm_id(doc));
            let so_far = match before {
                1 => scores[0].of(u32::from(self.first[place]), norm),
                _ => self.scores[place],
            };
            let score = so_far + scores[before].of(self.times[index], norm);
            self.scores[place] = score;
            // Scores are positive: in that case their bits are in the same order.
            self.keys[index] = Some(u64::from(score.to_bits()));
        }
    }
}

/// The documents with one word, in order.
struct List {
    postings: BlockSegmentPostings,
    at: usize,
}

impl List {
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
    terms: &[&Term],
    scores: &[Scores],
    window: &mut Window,
    best: &mut Best,
) -> tantivy::Result<()> {
    let option = if wanted.by.is_none() { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
    let mut lists = Vec::with_capacity(terms.len());
    for &term in terms {
        let postings = segment.inverted_index(term.field())?.read_block_postings(term, option)?;
        let Some(postings) = postings else { return Ok(()) };
        lists.push(List { postings, at: 0 });
    }
    let column = |name: &str| segment.fast_fields().u64(name);
    let by = wanted.by.map(column).transpose()?;
    let least = wanted.least.map(|(name, least)| column(name).map(|column| (column, least))).transpose()?;
    let norms = segment.get_fieldnorms_reader(terms[0].field())?;
    let keeps = |doc: u32| {
        segment.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
            && least.as_ref().is_none_or(|(column, least)| column.first(doc).unwrap_or(0) >= *least)
    };
    let (first, others) = lists.split_first_mut().expect("there are words");
    for start in (0..segment.max_doc()).step_by(WINDOW_DOCS) {
        let end = start.saturating_add(WINDOW_DOCS as u32).min(segment.max_doc());
        window.ticks.fill(0);
        first.until(end, |docs, times| window.begin(docs, times, start));
        for (before, list) in (1..).zip(&mut *others) {
            let last = before == terms.len() - 1;
            list.until(end, |docs, times| {
                let count = window.tick(docs, times, start, before as u8);
                match &by {
                    None => window.score(count, start, before, scores, &norms),
                    Some(_) if !last => {}
                    Some(column) => {
                        window.keys[..count].fill(None);
                        column.first_vals(&window.ticked[..count], &mut window.keys[..count]);
                    }
                }
                if last {
                    for (&doc, key) in window.ticked[..count].iter().zip(&window.keys) {
                        if keeps(doc) {
                            best.add(key.unwrap_or(0), number, doc);
                        }
                    }
                }
            });
        }
    }
    Ok(())
}

/// Bytes of notes: 6 for each, so that they stay in the second-level cache.
const WINDOW_DOCS: usize = 1 << 15;

/// What tantivy packs together: its format has no larger blocks.
const BLOCK_DOCS: usize = 128;

/// Most words are in a name once, or in its files as well.
const USUAL_TIMES: u32 = 8;

/// Below this many torrents with a word nothing takes long.
const COMMON_MIN: u64 = 500;

/// A document that is jumped to costs about as much as twelve that are read in a row.
const UNEQUAL_MAX: u64 = 12;
