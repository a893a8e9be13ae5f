-- +goose Up

-- Films that are being taken in, or were. Who works on one holds a lock on its folder; the row outlives the process.
CREATE TABLE ingest_jobs (
    id          TEXT    NOT NULL PRIMARY KEY,
    title_id    TEXT    NOT NULL,
    source      TEXT    NOT NULL,              -- absolute path of the film
    fingerprint TEXT    NOT NULL,              -- of the film's bytes and date: what is resumed must be the same film
    request     TEXT    NOT NULL,              -- what was asked for, as JSON
    state       TEXT    NOT NULL CHECK (state IN ('running', 'cancelling', 'stopped', 'failed', 'done')),
    step        TEXT    NOT NULL,
    done_ppm    INTEGER NOT NULL,              -- of the step, in millionths
    left_ms     INTEGER NOT NULL,              -- of the step, estimated; 0: not known
    error       TEXT    NOT NULL,              -- why it failed, in one line
    version     TEXT    NOT NULL,              -- what it is about to publish, or has published; empty before
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL
);
CREATE INDEX ingest_jobs_by_age ON ingest_jobs (created_ms);

-- What goes with a title and is no part of its torrent: a corrected subtitle must not split a swarm.
CREATE TABLE subtitles (
    title_id TEXT    NOT NULL REFERENCES titles (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    lang     TEXT    NOT NULL,                 -- BCP 47; empty: not known
    label    TEXT    NOT NULL,
    object   TEXT    NOT NULL,                 -- SHA-256 of the WebVTT file, a small object
    PRIMARY KEY (title_id, position)
);

CREATE TABLE storyboards (
    title_id    TEXT    NOT NULL PRIMARY KEY REFERENCES titles (id) ON DELETE CASCADE,
    object      TEXT    NOT NULL,              -- SHA-256 of the JPEG with all pictures, a small object
    interval_ms INTEGER NOT NULL,              -- of film from one picture to the next
    pictures    INTEGER NOT NULL,
    across      INTEGER NOT NULL,              -- pictures in a row
    width       INTEGER NOT NULL,              -- of each picture, in pixels
    height      INTEGER NOT NULL
);

-- +goose Down
DROP TABLE storyboards;
DROP TABLE subtitles;
DROP TABLE ingest_jobs;
