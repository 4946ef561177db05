//! Stands in for the index where the program is built without it.

use std::path::Path;

use super::tokenize::Words;
use super::{Entry, IndexError, Page, Query};

/// Never made.
pub enum Indexer {}

/// Never made.
pub enum Searcher {}

impl Indexer {
    /// Always [`IndexError::NotBuilt`].
    pub fn open(_dir: &Path, _top: i64) -> Result<(Self, i64), IndexError> {
        Err(IndexError::NotBuilt)
    }

    /// Unreachable.
    pub fn add(&mut self, _entry: Entry) -> Result<(), IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn remove(&mut self, _ids: Vec<i64>) -> Result<(), IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn commit(&mut self, _last: i64) -> Result<(), IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn last(&self) -> i64 {
        match *self {}
    }

    /// Unreachable.
    pub fn merge(&mut self) -> Result<(), IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn close(self) {
        match self {}
    }
}

impl Searcher {
    /// Always [`IndexError::NotBuilt`].
    pub fn open(_dir: &Path) -> Result<Self, IndexError> {
        Err(IndexError::NotBuilt)
    }

    /// Unreachable.
    pub fn is_current(&self, _dir: &Path) -> bool {
        match *self {}
    }

    /// Unreachable.
    pub fn last_indexed(&self) -> i64 {
        match *self {}
    }

    /// Unreachable.
    pub fn partial(&self) -> u64 {
        match *self {}
    }

    /// Unreachable.
    pub fn search(&self, _words: &Words, _query: &Query, _limit: usize) -> Result<Page, IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn matching(&self, _words: &Words, _query: &Query) -> Result<Vec<i64>, IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn nearest(&self, _word: &str, _most: usize) -> Result<Vec<String>, IndexError> {
        match *self {}
    }

    /// Unreachable.
    pub fn every_id(&self) -> Result<Vec<i64>, IndexError> {
        match *self {}
    }
}

/// There is nothing to remove.
pub fn clear(_dir: &Path) -> Result<(), IndexError> {
    Ok(())
}
