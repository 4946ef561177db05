-- Version 4: local zones and response policy that commands made, and what must not be forgotten of
-- those of files and URLs. Names of zones and owners are in wire form.

-- A row for each set of records. records: for each its id (8 bytes), the length of its data (4) and
-- its data in wire form.
CREATE TABLE zone_sets (
  zone BLOB NOT NULL,
  name BLOB NOT NULL,
  type INTEGER NOT NULL,
  ttl INTEGER NOT NULL,
  records BLOB NOT NULL,
  PRIMARY KEY (zone, name, type)
) WITHOUT ROWID;

-- The serial that a zone was served with last; digest: SHA-256 of its file, zeros if it has none.
CREATE TABLE zone_serials (
  zone BLOB PRIMARY KEY,
  serial INTEGER NOT NULL,
  digest BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE policy_lists (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  download INTEGER NOT NULL,
  etag TEXT,
  taken INTEGER NOT NULL,
  text BLOB NOT NULL
);

CREATE TABLE policy_overrides (
  list TEXT PRIMARY KEY,
  action TEXT NOT NULL
) WITHOUT ROWID;

-- Names that are let through until then.
CREATE TABLE policy_allowed (
  name BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) WITHOUT ROWID;
