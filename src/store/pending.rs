//! What waits to be fetched and what was given up, for people: lists, and another try.

use rusqlite::params;

use super::apply::Reason;
use super::archive::{Archive, ArchiveError};
use super::care::Keeper;
use super::limits::PENDING_MAX;
use super::recover;
use super::writer::unix_now;
use crate::base::{Id, InfoHash, UnixTime};
use crate::model::Pending;

/// What became of a wish for another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Were given up, and wait again.
    pub given_up: u64,
    /// Waited, and need wait no longer.
    pub waiting: u64,
    /// Stay given up, since no more can wait.
    pub left: u64,
}

impl Archive {
    /// Hashes that wait, those that are due first, at most `most`.
    pub fn pending(&self, most: u32) -> Result<Vec<Pending>, ArchiveError> {
        let mut select = self.conn().prepare_cached(PENDING)?;
        let rows = select.query_map([most], recover::pending)?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// How many wait, and how many were given up.
    pub fn waiting(&self) -> Result<(u64, u64), ArchiveError> {
        let given_up = "SELECT count(*) FROM known WHERE why = ?1";
        let given_up = self.conn().query_row(given_up, [Reason::GivenUp as u8], |row| row.get(0))?;
        Ok((self.count("pending")?, given_up))
    }

    /// Hashes that were given up, and when, the latest first, at most `most`.
    pub fn given_up(&self, most: u32) -> Result<Vec<(InfoHash, UnixTime)>, ArchiveError> {
        let mut select = self.conn().prepare_cached(GIVEN_UP)?;
        let rows = select.query_map(params![Reason::GivenUp as u8, most], |row| {
            let infohash = Id::from_slice(row.get_ref(0)?.as_blob()?);
            Ok(infohash
                .map(|infohash| (infohash, UnixTime(row.get::<_, i64>(1).unwrap_or(0).unsigned_abs()))))
        })?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }
}

impl Keeper {
    /// Has one hash tried again at the next start, if it was given up or waits.
    pub fn retry(&mut self, infohash: InfoHash) -> Result<Retried, ArchiveError> {
        let now = i64::try_from(unix_now().0).unwrap_or(i64::MAX);
        let tx = self.conn_mut().transaction()?;
        let again = "UPDATE pending SET tries = 0, not_before = ?2 WHERE infohash = ?1";
        let waiting = tx.execute(again, params![infohash.0, now])?;
        let given_up = tx.execute(
            "INSERT OR IGNORE INTO pending SELECT infohash, at, 0, ?3, 0 FROM known WHERE infohash = ?1 AND why = ?2",
            params![infohash.0, Reason::GivenUp as u8, now],
        )?;
        tx.execute(
            "DELETE FROM known WHERE infohash = ?1 AND why = ?2",
            params![infohash.0, Reason::GivenUp as u8],
        )?;
        tx.commit()?;
        Ok(Retried { given_up: given_up as u64, waiting: waiting as u64, left: 0 })
    }

    /// Has everything tried again at the next start that waits or was given up, the latest first, as
    /// far as it fits into what may wait.
    pub fn retry_all(&mut self) -> Result<Retried, ArchiveError> {
        let now = i64::try_from(unix_now().0).unwrap_or(i64::MAX);
        let tx = self.conn_mut().transaction()?;
        let waiting = tx.execute("UPDATE pending SET tries = 0, not_before = ?1", [now])?;
        let room = PENDING_MAX.saturating_sub(waiting as u64);
        let given_up = tx.execute(
            "INSERT OR IGNORE INTO pending SELECT infohash, at, 0, ?3, 0 FROM known WHERE why = ?1 ORDER BY at DESC LIMIT ?2",
            params![Reason::GivenUp as u8, room, now],
        )?;
        tx.execute(
            "DELETE FROM known WHERE why = ?1 AND infohash IN (SELECT infohash FROM pending)",
            [Reason::GivenUp as u8],
        )?;
        let left =
            tx.query_row("SELECT count(*) FROM known WHERE why = ?1", [Reason::GivenUp as u8], |row| {
                row.get(0)
            })?;
        tx.commit()?;
        Ok(Retried { given_up: given_up as u64, waiting: waiting as u64, left })
    }
}

const PENDING: &str = "SELECT infohash, first_seen, tries, not_before, state FROM pending ORDER BY not_before, first_seen LIMIT ?1";

const GIVEN_UP: &str = "SELECT infohash, at FROM known WHERE why = ?1 ORDER BY at DESC LIMIT ?2";
