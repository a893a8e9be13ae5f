-- +goose Up

-- What ended before the tickets did that were issued for it. Every node reads on from the last number that it has seen.
CREATE TABLE revocations (
    number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- never used again
    device       TEXT    NOT NULL,             -- a device session's id; or empty, and
    play_session TEXT    NOT NULL,             -- a play session's
    until_ms     INTEGER NOT NULL              -- when no ticket can be left that it concerns
);

-- +goose Down
DROP TABLE revocations;
