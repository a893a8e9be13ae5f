-- +goose Up

-- The people of a household. Who has no row has one profile all the same, which is written when something is kept for it.
CREATE TABLE profiles (
    id         TEXT    NOT NULL PRIMARY KEY,
    member_id  TEXT    NOT NULL REFERENCES members (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    age_limit  INTEGER NOT NULL DEFAULT -1,   -- years; -1: none
    language   TEXT    NOT NULL DEFAULT '',   -- of the pages; empty: the browser's
    created_ms INTEGER NOT NULL
);
CREATE INDEX profiles_by_member ON profiles (member_id, created_ms);

-- Who watches on a device. Without a row, the household's first.
CREATE TABLE device_profiles (
    device_id  TEXT    NOT NULL PRIMARY KEY REFERENCES device_sessions (id) ON DELETE CASCADE,
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE
);
CREATE INDEX device_profiles_by_profile ON device_profiles (profile_id);

-- Titles may be withdrawn and come back, so neither of these refers to the catalogue.
CREATE TABLE profile_titles (
    profile_id TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    title_id   TEXT    NOT NULL,
    added_ms   INTEGER NOT NULL,
    PRIMARY KEY (profile_id, title_id)
);

CREATE TABLE watch_positions (
    profile_id  TEXT    NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    title_id    TEXT    NOT NULL,
    position_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    audio       TEXT    NOT NULL,             -- BCP 47; empty: not known
    subtitles   TEXT    NOT NULL,             -- BCP 47; empty: none
    at_ms       INTEGER NOT NULL,             -- by the server's clock
    PRIMARY KEY (profile_id, title_id)
);
CREATE INDEX watch_positions_by_time ON watch_positions (profile_id, at_ms);

-- +goose Down
DROP TABLE watch_positions;
DROP TABLE profile_titles;
DROP TABLE device_profiles;
DROP TABLE profiles;
