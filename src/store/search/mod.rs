//! Search over names and file paths: derived from the table, never the truth. The index holds
//! words, size, popularity and the row's id; everything shown comes from the row.

#[cfg(feature = "search")]
mod dense;
#[cfg(feature = "search")]
mod in_names;
#[cfg_attr(not(feature = "search"), path = "no_index.rs")]
pub mod index;
#[cfg(feature = "search")]
mod nearest;
#[cfg(feature = "search")]
mod read_only;
pub mod tokenize;

/// What is searched for: torrents with all of these words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Read by [`tokenize::query`]; none at all means every torrent.
    pub words: String,
    /// Where the words have to be for a deletion; a search looks everywhere.
    pub scope: Scope,
    /// No smaller torrents.
    pub size_min_bytes: u64,
    /// No larger torrents.
    pub size_max_bytes: Option<u64>,
    /// In which order.
    pub sort: Sort,
    /// How many to leave out at the beginning.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

/// Where the words of a query have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// In the name or in the names of files and folders.
    #[default]
    Everything,
    /// All of them in the torrent's name.
    Names,
}

impl Query {
    /// Whether a torrent of this size is wanted.
    pub fn wants_size(&self, bytes: u64) -> bool {
        bytes >= self.size_min_bytes && self.size_max_bytes.is_none_or(|max| bytes <= max)
    }
}

/// The order of hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Matches in names and short lists first.
    #[default]
    Relevance,
    /// Most seeders first; where nobody scraped, most peers.
    Seeders,
    /// Largest first.
    Size,
    /// Stored last, first.
    New,
}

/// What the index knows of one torrent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Row id in table `torrents`.
    pub id: i64,
    /// From [`tokenize::Indexed`].
    pub text: String,
    /// Sum of the files.
    pub size_bytes: u64,
    /// Seeders, or peers where nobody scraped.
    pub popularity: u32,
}

/// Ids of one page, and how many there are in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Row ids in order.
    pub ids: Vec<i64>,
    /// Hits in all.
    pub total: u64,
}

/// Why the index could not do it; the log has the words. The archive is whole all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// There is no index yet.
    Missing,
    /// Another version of this program made it; the next writer makes it anew.
    Outdated,
    /// It may not be read.
    Denied,
    /// It is damaged, or there is no space.
    Failed,
    /// This program was built without the feature `search`.
    NotBuilt,
}
