-- +goose Up

-- What is told of a title beside its name. A new version keeps it.
ALTER TABLE titles ADD COLUMN year INTEGER NOT NULL DEFAULT 0;      -- 0: not known
ALTER TABLE titles ADD COLUMN age INTEGER NOT NULL DEFAULT -1;      -- years for which it is rated; -1: not rated
ALTER TABLE titles ADD COLUMN language TEXT NOT NULL DEFAULT '';    -- the original's, BCP 47
ALTER TABLE titles ADD COLUMN genres TEXT NOT NULL DEFAULT '';      -- each between commas
ALTER TABLE titles ADD COLUMN credits TEXT NOT NULL DEFAULT '[]';   -- JSON
ALTER TABLE titles ADD COLUMN series_id TEXT NOT NULL DEFAULT '';   -- empty: of no series
ALTER TABLE titles ADD COLUMN season INTEGER NOT NULL DEFAULT 0;
ALTER TABLE titles ADD COLUMN episode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE titles ADD COLUMN folded TEXT NOT NULL DEFAULT '';      -- what is searched: small letters without accents; empty: not yet written
CREATE UNIQUE INDEX titles_by_episode ON titles (series_id, season, episode) WHERE series_id <> '';

CREATE TABLE series (
    id      TEXT NOT NULL PRIMARY KEY,
    name    TEXT NOT NULL,
    summary TEXT NOT NULL
);

-- +goose Down
DROP TABLE series;
DROP INDEX titles_by_episode;
ALTER TABLE titles DROP COLUMN folded;
ALTER TABLE titles DROP COLUMN episode;
ALTER TABLE titles DROP COLUMN season;
ALTER TABLE titles DROP COLUMN series_id;
ALTER TABLE titles DROP COLUMN credits;
ALTER TABLE titles DROP COLUMN genres;
ALTER TABLE titles DROP COLUMN language;
ALTER TABLE titles DROP COLUMN age;
ALTER TABLE titles DROP COLUMN year;
