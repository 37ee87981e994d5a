CREATE TABLE documents (
    key      TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    body     BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('revision', 0);
