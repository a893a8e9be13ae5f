-- +goose Up

-- One-time tokens with which edges join: SHA-256 of each, in hexadecimal.
CREATE TABLE edge_tokens (
    hash       TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    expires_ms INTEGER NOT NULL
);

CREATE TABLE edges (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    url        TEXT    NOT NULL,           -- where browsers reach it; empty: nowhere
    joined_ms  INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,           -- 0: not yet
    revoked_ms INTEGER NOT NULL DEFAULT 0, -- 0: it is not
    report     TEXT    NOT NULL            -- the last one, JSON
);
CREATE UNIQUE INDEX edges_by_name ON edges (name) WHERE revoked_ms = 0;

-- +goose Down
DROP TABLE edges;
DROP TABLE edge_tokens;
