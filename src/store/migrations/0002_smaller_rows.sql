-- Version 2: smaller rows. File lists are squeezed, times are what is added to the one before.

-- file_list: see row.rs. piece_length: a negative number is a power of two.
-- fetched: seconds after first_seen. seen: seconds after that when it was last heard of.
CREATE TABLE smaller (
  id INTEGER PRIMARY KEY,
  infohash BLOB NOT NULL UNIQUE,
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
  file_list BLOB NOT NULL
);
INSERT INTO smaller SELECT id, infohash, v2, name, size, files, piece_length, category, flags,
  first_seen, fetched - first_seen, last_seen - fetched, seeders, leechers, scraped, file_list
  FROM torrents ORDER BY id;
DROP TABLE torrents;
ALTER TABLE smaller RENAME TO torrents;
CREATE UNIQUE INDEX torrents_v2 ON torrents (v2) WHERE v2 IS NOT NULL;
