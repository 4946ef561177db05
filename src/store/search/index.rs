//! The tantivy index: one thread that writes, readers that map its files.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::collector::{Count, DocSetCollector, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::query::doc_predicate_query::{DocPredicateQuery, FunctionPredicate};
use tantivy::query::{AllQuery, BooleanQuery, FuzzyTermQuery, Occur, RangeQuery, TermQuery};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, Order, ReloadPolicy, SegmentReader, TantivyDocument,
    TantivyError,
};

use super::read_only::ReadOnly;
use super::tokenize::{PARTIAL, Term, Words};
use super::{Entry, IndexError, Page, Query, Sort, dense, in_names, nearest};

/// Writes the index. One per database, under the database's lock.
pub struct Indexer {
    fields: Fields,
    writer: IndexWriter,
    dir: PathBuf,
    last: i64,
}

/// Reads the index as it was committed when this was opened.
pub struct Searcher {
    fields: Fields,
    reader: IndexReader,
    last: i64,
    /// The list of segments that this was opened by.
    list: Vec<u8>,
}

impl Indexer {
    /// Opens the index in `dir`, or begins a new one if there is none, or it cannot be read, or it
    /// holds rows after `top`, the last id that was ever given away. Also returns the id of the
    /// last row in it, 0 if it is empty.
    pub fn open(dir: &Path, top: i64) -> Result<(Self, i64), IndexError> {
        if let Ok(index) = existing(dir)
            && index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().is_ok()
            && last_of(&index) <= top
        {
            remove_orphans(dir, &index);
            let last = last_of(&index);
            return Ok((Self::with(index, dir, last)?, last));
        }
        clear(dir)?;
        std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
        let directory = MmapDirectory::open(dir).map_err(|error| failed(&error))?;
        let index = Index::create(directory, schema().0, tantivy::IndexSettings::default());
        Ok((Self::with(index.map_err(|error| failed(&error))?, dir, 0)?, 0))
    }

    /// Adds a row; it is found after [`Indexer::commit`].
    pub fn add(&mut self, entry: Entry) -> Result<(), IndexError> {
        let mut doc = TantivyDocument::new();
        doc.add_text(self.fields.text, entry.text);
        doc.add_u64(self.fields.id, entry.id.unsigned_abs());
        doc.add_u64(self.fields.size, entry.size_bytes);
        doc.add_u64(self.fields.popularity, u64::from(entry.popularity));
        self.writer.add_document(doc).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Removes rows that were added before. One pass over the column of ids, whatever the number.
    pub fn remove(&mut self, mut ids: Vec<i64>) -> Result<(), IndexError> {
        ids.sort_unstable();
        let ids = Arc::new(ids);
        let predicate = FunctionPredicate::from(move |segment: &SegmentReader| {
            let column = segment.fast_fields().u64(ID)?;
            let ids = Arc::clone(&ids);
            Ok(move |doc| column.first(doc).is_some_and(|id| ids.binary_search(&id.cast_signed()).is_ok()))
        });
        let query: DocPredicateQuery = predicate.into();
        self.writer.delete_query(Box::new(query)).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Makes everything so far durable and found. `last` is the id up to which rows are in.
    pub fn commit(&mut self, last: i64) -> Result<(), IndexError> {
        let mut prepared = self.writer.prepare_commit().map_err(|error| failed(&error))?;
        prepared.set_payload(&format!("{FORMAT}:{last}"));
        prepared.commit().map_err(|error| failed(&error))?;
        // The new list of segments has its name, but not for sure on the disk. A folder cannot be
        // opened everywhere; where it cannot, it need not be synced.
        if let Ok(folder) = std::fs::File::open(&self.dir) {
            folder.sync_all().map_err(|error| failed(&error))?;
        }
        self.last = last;
        Ok(())
    }

    /// The id up to which rows were in at the last commit.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Makes one segment of all, without the rows that were removed.
    pub fn merge(&mut self) -> Result<(), IndexError> {
        let segments = self.writer.index().searchable_segment_ids().map_err(|error| failed(&error))?;
        if !segments.is_empty() {
            self.writer.merge(&segments).wait().map_err(|error| failed(&error))?;
        }
        self.commit(self.last)?;
        self.writer.garbage_collect_files().wait().map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Waits for merges that are under way; what was not committed is given up.
    pub fn close(self) {
        if let Err(error) = self.writer.wait_merging_threads() {
            log::warn!("search index: {error}");
        }
    }

    fn with(index: Index, dir: &Path, last: i64) -> Result<Self, IndexError> {
        let writer: IndexWriter =
            index.writer_with_num_threads(1, MEMORY_BYTES).map_err(|error| failed(&error))?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(REMOVED_RATIO);
        writer.set_merge_policy(Box::new(policy));
        Ok(Self { fields: schema().1, writer, dir: dir.to_owned(), last })
    }
}

impl Searcher {
    /// Opens the index in `dir` as it is now. Writes nothing: the folder may belong to another user
    /// or lie on a read-only disk.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let mut error = IndexError::Missing;
        for _ in 0..OPEN_TRIES {
            match Self::open_once(dir) {
                Ok(searcher) => return Ok(searcher),
                Err(Some(last)) => return Err(last),
                // Where the lock cannot be taken, a writer may remove a file that is just opened.
                Err(None) => error = IndexError::Failed,
            }
        }
        Err(error)
    }

    /// `None`: it may be better the next time.
    fn open_once(dir: &Path) -> Result<Self, Option<IndexError>> {
        // Read first: should it change meanwhile, this is taken for old, not for new.
        let list = std::fs::read(dir.join(LIST)).map_err(|error| {
            Some(match error.kind() {
                std::io::ErrorKind::NotFound => IndexError::Missing,
                std::io::ErrorKind::PermissionDenied => IndexError::Denied,
                _ => failed(&error),
            })
        })?;
        let index = ReadOnly::open(dir).and_then(Index::open);
        let index = index.map_err(|error| quietly(&error))?;
        if !fits(&index) {
            return Err(Some(IndexError::Outdated));
        }
        let last = last_of(&index);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader = reader.map_err(|error: TantivyError| quietly(&error))?;
        Ok(Self { fields: schema().1, reader, last, list })
    }

    /// True if nothing was committed since this was opened.
    pub fn is_current(&self, dir: &Path) -> bool {
        std::fs::read(dir.join(LIST)).is_ok_and(|list| list == self.list)
    }

    /// The id up to which rows are in.
    pub fn last_indexed(&self) -> i64 {
        self.last
    }

    /// How many torrents have more words than the index took.
    pub fn partial(&self) -> u64 {
        let term = tantivy::Term::from_field_text(self.fields.text, PARTIAL);
        self.reader.searcher().doc_freq(&term).unwrap_or(0)
    }

    /// The first `limit` hits from the very first on, in the order that `query` asks for. Phrases are
    /// left to whoever has the rows.
    pub fn search(&self, words: &Words, query: &Query, limit: usize) -> Result<Page, IndexError> {
        let all = words.all.iter().map(|term| self.settle(term)).collect::<Result<Vec<_>, _>>()?;
        let dense = if words.none.is_empty() { self.dense(&all, query, limit)? } else { None };
        let mut page = match dense {
            Some(page) => page,
            None => self.usual(&all, &words.none, query, limit)?,
        };
        if query.sort == Sort::Relevance && !all.is_empty() && page.total > 1 {
            self.put_names_first(&mut page, (&all, &words.none), query, limit)?;
        }
        Ok(page)
    }

    /// Hits whose names have all of the words stand before others.
    fn put_names_first(
        &self,
        page: &mut Page,
        (all, none): (&[Term], &[Term]),
        query: &Query,
        limit: usize,
    ) -> Result<(), IndexError> {
        let bounded = query.size_min_bytes > 0 || query.size_max_bytes.is_some();
        let bounds = (SIZE, query.size_min_bytes, query.size_max_bytes.unwrap_or(u64::MAX));
        let wanted = in_names::Wanted { all, none, within: bounded.then_some(bounds), limit };
        let searcher = self.reader.searcher();
        let found = in_names::find(&searcher, self.fields.text, &wanted).map_err(|error| failed(&error))?;
        let mut ids = ids_of(&searcher, found, limit)?;
        let named: std::collections::BTreeSet<i64> = ids.iter().copied().collect();
        ids.extend(page.ids.iter().copied().filter(|id| !named.contains(id)));
        ids.truncate(limit);
        page.ids = ids;
        Ok(())
    }

    /// The beginning of one word alone is that word, which is found sooner.
    fn settle(&self, term: &Term) -> Result<Term, IndexError> {
        let Term::Starts(start) = term else { return Ok(term.clone()) };
        let mut only: Option<Vec<u8>> = None;
        for segment in self.reader.searcher().segment_readers() {
            let words = segment.inverted_index(self.fields.text).map_err(|error| failed(&error))?;
            let mut words = words.terms().range().ge(start).into_stream().map_err(|error| failed(&error))?;
            while words.advance() && words.key().starts_with(start.as_bytes()) {
                match &only {
                    None => only = Some(words.key().to_vec()),
                    Some(word) if word == words.key() => {}
                    Some(_) => return Ok(term.clone()),
                }
            }
        }
        let only = only.and_then(|word| String::from_utf8(word).ok());
        Ok(Term::Word(only.unwrap_or_else(|| start.clone())))
    }

    /// The same, if all terms are words that are common.
    pub(super) fn dense(
        &self,
        terms: &[Term],
        query: &Query,
        limit: usize,
    ) -> Result<Option<Page>, IndexError> {
        let words = terms.iter().map(|term| match term {
            Term::Word(word) => Some(tantivy::Term::from_field_text(self.fields.text, word)),
            Term::Starts(_) => None,
        });
        let words = words.collect::<Option<Vec<_>>>().filter(|_| query.size_max_bytes.is_none());
        let Some(words) = words else { return Ok(None) };
        let searcher = self.reader.searcher();
        if !dense::is_worth_it(&searcher, &words).map_err(|error| failed(&error))? {
            return Ok(None);
        }
        let wanted = dense::Wanted {
            terms: &words,
            by: column_of(query.sort),
            least: Some((SIZE, query.size_min_bytes)).filter(|(_, least)| *least > 0),
            limit: limit.max(1),
        };
        let (docs, total) = dense::find(&searcher, &wanted).map_err(|error| failed(&error))?;
        Ok(Some(Page { ids: ids_of(&searcher, docs, limit)?, total }))
    }

    /// The same, whatever the terms.
    pub(super) fn usual(
        &self,
        terms: &[Term],
        none: &[Term],
        query: &Query,
        limit: usize,
    ) -> Result<Page, IndexError> {
        let wanted = self.query(terms, none, query);
        let searcher = self.reader.searcher();
        let top = TopDocs::with_limit(limit.max(1));
        let (docs, total) = match column_of(query.sort) {
            None => {
                let found = searcher.search(&wanted, &(top.order_by_score(), Count));
                let (hits, total) = found.map_err(|error| failed(&error))?;
                (hits.into_iter().map(|(_, doc)| doc).collect::<Vec<_>>(), total)
            }
            Some(by) => {
                let found = searcher.search(&wanted, &(top.order_by_u64_field(by, Order::Desc), Count));
                let (hits, total) = found.map_err(|error| failed(&error))?;
                (hits.into_iter().map(|(_, doc)| doc).collect(), total)
            }
        };
        Ok(Page { ids: ids_of(&searcher, docs, limit)?, total: total as u64 })
    }

    /// The ids of all rows in the index, in no order: for checks.
    pub fn every_id(&self) -> Result<Vec<i64>, IndexError> {
        let searcher = self.reader.searcher();
        let mut ids = Vec::with_capacity(usize::try_from(searcher.num_docs()).unwrap_or(0));
        for segment in searcher.segment_readers() {
            let column = segment.fast_fields().u64(ID).map_err(|error| failed(&error))?;
            ids.extend(segment.doc_ids_alive().filter_map(|doc| column.first(doc)).map(u64::cast_signed));
        }
        Ok(ids)
    }

    /// The ids of all rows that match, in no order; phrases are left to whoever has the rows.
    pub fn matching(&self, words: &Words, query: &Query) -> Result<Vec<i64>, IndexError> {
        let searcher = self.reader.searcher();
        let wanted = self.query(&words.all, &words.none, query);
        let docs = searcher.search(&wanted, &DocSetCollector).map_err(|error| failed(&error))?;
        let mut ids = Vec::with_capacity(docs.len());
        for doc in docs {
            let column = searcher.segment_reader(doc.segment_ord).fast_fields().u64(ID);
            ids.extend(column.map_err(|error| failed(&error))?.first(doc.doc_id).map(u64::cast_signed));
        }
        Ok(ids)
    }

    /// Words of the index that differ little from this one, as it is split and folded for it.
    pub fn nearest(&self, word: &str, most: usize) -> Result<Vec<String>, IndexError> {
        nearest::find(&self.reader.searcher(), self.fields.text, word, most).map_err(|error| failed(&error))
    }

    fn query(&self, terms: &[Term], none: &[Term], query: &Query) -> BooleanQuery {
        let mut parts: Vec<(Occur, Box<dyn tantivy::query::Query>)> = Vec::new();
        let wanted = terms.iter().map(|term| (Occur::Must, term));
        for (occur, term) in wanted.chain(none.iter().map(|term| (Occur::MustNot, term))) {
            let part: Box<dyn tantivy::query::Query> = match term {
                Term::Word(word) => {
                    let term = tantivy::Term::from_field_text(self.fields.text, word);
                    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
                }
                Term::Starts(start) => {
                    let term = tantivy::Term::from_field_text(self.fields.text, start);
                    Box::new(FuzzyTermQuery::new_prefix(term, 0, true))
                }
            };
            parts.push((occur, part));
        }
        if terms.is_empty() {
            parts.push((Occur::Must, Box::new(AllQuery)));
        }
        if query.size_min_bytes > 0 || query.size_max_bytes.is_some() {
            let bound = |bytes| Bound::Included(tantivy::Term::from_field_u64(self.fields.size, bytes));
            let most = query.size_max_bytes.map_or(Bound::Unbounded, bound);
            parts.push((Occur::Must, Box::new(RangeQuery::new(bound(query.size_min_bytes), most))));
        }
        BooleanQuery::new(parts)
    }
}

/// Removes what a crash left of a commit or a merge. The next commit would make a list of deleted
/// documents under the name of one that was not finished, and fail.
fn remove_orphans(dir: &Path, index: &Index) {
    let Ok(living) = index.load_metas().map(|meta| meta.list_segment_files()) else { return };
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let is_part =
            text.len() > UUID_DIGITS && text.as_bytes()[..UUID_DIGITS].iter().all(u8::is_ascii_hexdigit);
        if (is_part || text.starts_with(TEMPORARY)) && !living.contains(Path::new(&name)) {
            // A reader may hold it open where that forbids removing it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn ids_of(searcher: &tantivy::Searcher, docs: Vec<DocAddress>, limit: usize) -> Result<Vec<i64>, IndexError> {
    let mut ids = Vec::with_capacity(docs.len());
    for doc in docs.into_iter().take(limit) {
        let segment = searcher.segment_reader(doc.segment_ord);
        let column = segment.fast_fields().u64(ID).map_err(|error| failed(&error))?;
        ids.extend(column.first(doc.doc_id).map(u64::cast_signed));
    }
    Ok(ids)
}

/// The column that is sorted by, the largest first; none for relevance.
fn column_of(sort: Sort) -> Option<&'static str> {
    match sort {
        Sort::Relevance => None,
        Sort::Seeders => Some(POPULARITY),
        Sort::Size => Some(SIZE),
        Sort::New => Some(ID),
    }
}

/// Removes an index.
pub fn clear(dir: &Path) -> Result<(), IndexError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&error)),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Fields {
    text: Field,
    id: Field,
    size: Field,
    popularity: Field,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer("whitespace")
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let number = NumericOptions::default() | FAST;
    let fields = Fields {
        text: builder.add_text_field("text", TextOptions::default().set_indexing_options(words)),
        id: builder.add_u64_field(ID, number.clone()),
        size: builder.add_u64_field(SIZE, number.clone()),
        popularity: builder.add_u64_field(POPULARITY, number),
    };
    (builder.build(), fields)
}

/// An index of this very format.
fn existing(dir: &Path) -> Result<Index, IndexError> {
    let index = Index::open_in_dir(dir).map_err(|_| IndexError::Failed)?;
    if fits(&index) { Ok(index) } else { Err(IndexError::Outdated) }
}

fn fits(index: &Index) -> bool {
    let payload = payload_of(index);
    let mark = format!("{FORMAT}:");
    index.schema() == schema().0 && payload.is_none_or(|payload| payload.starts_with(&mark))
}

fn payload_of(index: &Index) -> Option<String> {
    index.load_metas().ok()?.payload
}

fn last_of(index: &Index) -> i64 {
    payload_of(index).and_then(|payload| payload.split_once(':')?.1.parse().ok()).unwrap_or(0)
}

fn failed(error: &dyn std::fmt::Display) -> IndexError {
    log::error!("search index: {error}");
    IndexError::Failed
}

/// An index that cannot be opened: the caller says so, since the archive is whole without it.
fn quietly(error: &dyn std::fmt::Display) -> Option<IndexError> {
    log::debug!("search index: {error}");
    None
}

/// How often an index is opened that its writer changes meanwhile.
const OPEN_TRIES: usize = 4;

/// How the names of a segment's files begin, and those of files that are about to be renamed.
const UUID_DIGITS: usize = 32;
const TEMPORARY: &str = ".tmp";

/// The file with the list of segments.
const LIST: &str = "meta.json";

const ID: &str = "id";
const SIZE: &str = "size";
const POPULARITY: &str = "popularity";

/// Stands before the id in the commit's payload. To be changed with the schema or the way names
/// are split; an index with another is made anew by the next writer.
const FORMAT: &str = "2";

/// A segment with this share of removed rows is written anew, so that eviction frees space.
const REMOVED_RATIO: f32 = 0.2;

/// The least that tantivy takes; a segment of some ten thousand torrents.
const MEMORY_BYTES: usize = 15_000_000;

#[cfg(test)]
mod tests {
    use super::{Indexer, Searcher};
    use crate::base::Rng;
    use crate::store::search::tokenize::{Term, Words};
    use crate::store::search::{Entry, IndexError, Query, Sort, tokenize};

    #[test]
    fn common_words_are_found_as_others_are() {
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
                    let terms = tokenize::query(text).all;
                    let dense = searcher.dense(&terms, &query, 50).unwrap().expect("they are common");
                    let usual = searcher.usual(&terms, &[], &query, 50).unwrap();
                    assert_eq!(dense.total, usual.total, "{text} {sort:?} {size_min_bytes}");
                    assert!(dense.total > 100 && dense.ids.len() == 50);
                    // Sums of more than two numbers differ in the last bit by their order.
                    if sort != Sort::Relevance || terms.len() == 2 {
                        assert_eq!(dense.ids, usual.ids, "{text} {sort:?} {size_min_bytes}");
                    }
                }
            }
        }
        // One word begins with "blu" and two with "gre".
        for (start, whole) in [("blu", Some("blue red")), ("gre", None)] {
            let terms = [Term::Starts(start.to_owned()), Term::Word("red".to_owned())];
            let words = Words { all: terms.to_vec(), ..Words::default() };
            let found = searcher.search(&words, &Query::default(), 50).unwrap();
            let usual = searcher.usual(&terms, &[], &Query::default(), 50).unwrap();
            assert!(found.total == usual.total && found.total > 1_000, "{start}");
            if let Some(whole) = whole {
                let word = searcher.search(&tokenize::query(whole), &Query::default(), 50).unwrap();
                assert_eq!((found.total, found.ids), (word.total, word.ids));
            }
        }
        assert!(searcher.dense(&tokenize::query("red x99").all, &Query::default(), 5).unwrap().is_none());
        let all = searcher.matching(&Words::default(), &Query::default()).unwrap().len();
        let counts = ["red", "-red", "red -green", "red green"]
            .map(|text| searcher.matching(&tokenize::query(text), &Query::default()).unwrap().len());
        assert_eq!((counts[0] + counts[1], counts[2] + counts[3]), (all, counts[0]));
    }

    #[test]
    fn an_index_of_another_format_is_told_and_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut indexer, _) = Indexer::open(folder.path(), 0).unwrap();
        indexer.add(Entry { id: 1, text: "a ".to_owned(), size_bytes: 1, popularity: 0 }).unwrap();
        indexer.commit(1).unwrap();
        drop(indexer);
        let list = folder.path().join(super::LIST);
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::write(&list, text.replace("\"2:1\"", "\"1:1\"")).unwrap();
        assert_eq!(Searcher::open(folder.path()).map(|_| ()), Err(IndexError::Outdated));
        let (_indexer, last) = Indexer::open(folder.path(), 1).unwrap();
        assert_eq!(last, 0);
        assert_eq!(Searcher::open(&folder.path().join("none")).map(|_| ()), Err(IndexError::Missing));
    }
}
