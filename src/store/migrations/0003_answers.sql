-- Version 3: what the resolver knows beyond addresses, for the next start.

-- question: name in wire form, type, flags. message: the response, without id and EDNS.
CREATE TABLE answers (
  question BLOB PRIMARY KEY,
  message BLOB NOT NULL,
  resolved_at INTEGER NOT NULL,
  ttl INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_age ON answers (resolved_at);
