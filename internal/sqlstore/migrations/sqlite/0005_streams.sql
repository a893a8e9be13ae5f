-- +goose Up

-- The members' running play sessions of titles that are not open. A member never has more rows than their plan has streams,
-- and no ticket opens anything for a session that has lost its row.
CREATE TABLE streams (
    session   TEXT    NOT NULL PRIMARY KEY,    -- the play session
    member_id TEXT    NOT NULL REFERENCES members (id) ON DELETE CASCADE,
    device    TEXT    NOT NULL,                -- the device session
    title     TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    began_ms  INTEGER NOT NULL,
    seen_ms   INTEGER NOT NULL                 -- of the last heartbeat, or a minute before it at most
);
CREATE INDEX streams_by_member ON streams (member_id);
CREATE INDEX streams_by_device ON streams (device);
CREATE INDEX streams_by_title ON streams (title);

-- Why, for players to say; and titles that are published no more, which players are told of and nobody else needs.
ALTER TABLE revocations ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE revocations ADD COLUMN why TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE revocations DROP COLUMN why;
ALTER TABLE revocations DROP COLUMN title;
DROP TABLE streams;
