-- +goose Up

-- The catalogue. A title has one version at a time; a version's rows never change.
CREATE TABLE titles (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    summary      TEXT    NOT NULL,
    open         INTEGER NOT NULL CHECK (open IN (0, 1)),
    poster       TEXT    NOT NULL,
    published_ms INTEGER NOT NULL
);

CREATE TABLE versions (
    id           TEXT    NOT NULL PRIMARY KEY, -- the v2 info hash, lower-case hexadecimal
    title_id     TEXT    NOT NULL UNIQUE REFERENCES titles (id) ON DELETE CASCADE,
    info_hash_v1 TEXT    NOT NULL UNIQUE,
    info_hash_v2 TEXT    NOT NULL UNIQUE,      -- its first 20 bytes, as handshakes and trackers carry it
    piece_length INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    manifest     TEXT    NOT NULL,
    torrent      BLOB    NOT NULL
);

CREATE TABLE files (
    version_id  TEXT    NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,              -- in torrent order, from 0
    path        TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    root        TEXT    NOT NULL,              -- two titles may hold the same file
    first_piece INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    codec       TEXT    NOT NULL,
    bandwidth   INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    segments    BLOB    NOT NULL,              -- the segment index, in its binary form
    PRIMARY KEY (version_id, position)
);
CREATE INDEX files_by_root ON files (root);

-- Accounts, and the browsers and programs that are signed in.
CREATE TABLE members (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE,     -- the name as it is compared
    password_hash TEXT    NOT NULL,            -- argon2id, with its parameters and salt
    created_ms    INTEGER NOT NULL
);

CREATE TABLE device_sessions (
    token_sha256 TEXT    NOT NULL PRIMARY KEY, -- never the token itself
    id           TEXT    NOT NULL UNIQUE,
    member_id    TEXT    NOT NULL REFERENCES members (id) ON DELETE CASCADE,
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER NOT NULL
);
CREATE INDEX device_sessions_by_member ON device_sessions (member_id);
CREATE INDEX device_sessions_by_expiry ON device_sessions (expires_ms);

-- +goose Down
DROP TABLE device_sessions;
DROP TABLE members;
DROP TABLE files;
DROP TABLE versions;
DROP TABLE titles;
