-- +goose Up

-- The names of the master keys that content keys were ever sealed with: the keys themselves are not in the database. The one
-- with the greatest number seals.
CREATE TABLE master_keys (
    number   INTEGER NOT NULL PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,          -- drawn from the key, 16 hexadecimal digits
    since_ms INTEGER NOT NULL
);

-- Content keys, sealed. What was published under a key that is lost can never be played again.
CREATE TABLE content_keys (
    kid        TEXT    NOT NULL PRIMARY KEY,   -- 32 hexadecimal digits
    job        TEXT    NOT NULL,               -- the making of one version of a title
    tier       TEXT    NOT NULL,
    master     TEXT    NOT NULL REFERENCES master_keys (id),
    sealed     BLOB    NOT NULL,               -- nonce, ciphertext and tag: AES-256-GCM
    created_ms INTEGER NOT NULL,
    UNIQUE (job, tier)
);
CREATE INDEX content_keys_by_master ON content_keys (master);

-- +goose Down
DROP TABLE content_keys;
DROP TABLE master_keys;
