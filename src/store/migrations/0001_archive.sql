-- Version 1: torrents, what is known, what waits, nodes, and the tables of seed 000.

-- id is the order of storing and the key of the search index; it is never used twice.
-- v2: SHA-256 of the info dictionary. flags: 1 private, 2 hybrid, 4 v2 only.
-- file_list: one marker byte, then the packed list (see row.rs). Times: Unix seconds.
CREATE TABLE torrents (
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
  last_seen INTEGER NOT NULL,
  seeders INTEGER,
  leechers INTEGER,
  scraped INTEGER,
  file_list BLOB NOT NULL
);
CREATE UNIQUE INDEX torrents_v2 ON torrents (v2) WHERE v2 IS NOT NULL;

-- Raw info dictionaries, with --keep info only. Not compressed: they are mostly hashes.
CREATE TABLE raw (
  id INTEGER PRIMARY KEY REFERENCES torrents (id) ON DELETE CASCADE,
  info BLOB NOT NULL
);

-- Rows of torrents whose entry in the search index must be removed or made anew.
CREATE TABLE stale (
  id INTEGER PRIMARY KEY
);

-- The words by which hashes were refused or deleted.
CREATE TABLE rules (
  id INTEGER PRIMARY KEY,
  rule TEXT NOT NULL UNIQUE
);

-- Hashes without a torrent that are not to be fetched.
-- why: 1 given up, 2 evicted for space, 3 refused by the filter, 4 deleted.
CREATE TABLE known (
  infohash BLOB PRIMARY KEY,
  why INTEGER NOT NULL,
  at INTEGER NOT NULL,
  rule INTEGER REFERENCES rules (id)
) WITHOUT ROWID;

-- Hashes that wait to be fetched. state: 0 new, 1 no peers, 2 peers failed.
CREATE TABLE pending (
  infohash BLOB PRIMARY KEY,
  first_seen INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  state INTEGER NOT NULL
) WITHOUT ROWID;

-- Verified nodes, the best first. addr: compact form (BEP 5, BEP 32), 6 or 18 bytes.
CREATE TABLE nodes (
  rank INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  addr BLOB NOT NULL,
  answered INTEGER NOT NULL,
  sample_after INTEGER NOT NULL
);

CREATE TABLE own_ids (
  listen TEXT PRIMARY KEY,
  id BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- The three tables of seed 000, to the letter.
CREATE TABLE connections (
  id INTEGER PRIMARY KEY,
  hostname TEXT NOT NULL,
  ipv4 TEXT,
  ipv6 TEXT,
  protocol TEXT NOT NULL,
  connected_at INTEGER NOT NULL,
  disconnected_at INTEGER,
  messages_sent INTEGER DEFAULT 0,
  messages_received INTEGER DEFAULT 0
);
CREATE TABLE dns_cache (
  hostname TEXT PRIMARY KEY,
  ipv4 TEXT,
  ipv6 TEXT,
  resolved_at INTEGER NOT NULL,
  ttl INTEGER DEFAULT 3600
);
CREATE TABLE network_events (
  id INTEGER PRIMARY KEY,
  event_type TEXT NOT NULL,
  hostname TEXT,
  ip_address TEXT,
  message TEXT,
  timestamp INTEGER NOT NULL
);
