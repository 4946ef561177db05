-- Version 5: what a deletion took can be brought back for some days.

-- A row for each torrent that was deleted, under the id that it had. batch: numbers the deletions.
-- The columns after `at` are those of torrents, with the raw info dictionary last.
CREATE TABLE deleted (
  id INTEGER PRIMARY KEY,
  batch INTEGER NOT NULL,
  at INTEGER NOT NULL,
  infohash BLOB NOT NULL,
  v2 BLOB,
  name BLOB NOT NULL,
  size INTEGER NOT NULL,
  files INTEGER NOT NULL,
  piece_length INTEGER NOT NULL,
  category INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  fetched INTEGER NOT NULL,
  seen INTEGER NOT NULL,
  seeders INTEGER,
  leechers INTEGER,
  scraped INTEGER,
  file_list BLOB NOT NULL,
  info BLOB
);
CREATE INDEX deleted_batch ON deleted (batch);
