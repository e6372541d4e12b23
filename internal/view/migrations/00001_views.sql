-- +goose Up
CREATE TABLE meta (
    k TEXT PRIMARY KEY,
    v TEXT NOT NULL
);
CREATE TABLE records (
    idx      BIGINT PRIMARY KEY,
    id       TEXT NOT NULL,
    at_ms    BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    via      TEXT NOT NULL,
    command  TEXT NOT NULL,
    decided  INTEGER NOT NULL
);
CREATE TABLE events (
    stream   TEXT NOT NULL,
    version  BIGINT NOT NULL,
    idx      BIGINT NOT NULL,
    n        INTEGER NOT NULL,
    type     TEXT NOT NULL,
    v        INTEGER NOT NULL,
    at_ms    BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    data     TEXT NOT NULL,
    PRIMARY KEY (stream, version)
);
CREATE INDEX events_idx ON events (idx, n);
CREATE TABLE states (
    stream   TEXT PRIMARY KEY,
    version  BIGINT NOT NULL,
    idx      BIGINT NOT NULL,
    at_ms    BIGINT NOT NULL,
    state    TEXT NOT NULL
);
CREATE TABLE subjects (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    number   BIGINT NOT NULL,
    owner    TEXT NOT NULL,
    state    TEXT NOT NULL,
    digest   TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX subjects_state ON subjects (kind, state, number);
CREATE INDEX subjects_digest ON subjects (kind, digest);
CREATE TABLE statements (
    digest   TEXT PRIMARY KEY,
    change_id TEXT NOT NULL,
    signer   TEXT NOT NULL,
    decision TEXT NOT NULL,
    stage    TEXT NOT NULL,
    idx      BIGINT NOT NULL,
    at_ms    BIGINT NOT NULL
);
CREATE INDEX statements_change ON statements (change_id, idx);
CREATE TABLE deadlines (
    stream   TEXT NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (stream)
);
CREATE INDEX deadlines_at ON deadlines (at_ms);

-- +goose Down
DROP TABLE deadlines;
DROP TABLE statements;
DROP TABLE subjects;
DROP TABLE states;
DROP TABLE events;
DROP TABLE records;
DROP TABLE meta;
