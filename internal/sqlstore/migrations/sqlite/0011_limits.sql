-- +goose Up

-- The best class of pictures that the session's player was told it may have: a plan that is lowered ends the session, and
-- the player goes on under another. Empty: begun before this was known.
ALTER TABLE streams ADD COLUMN highest TEXT NOT NULL DEFAULT '';

-- When the title was withdrawn, 0 for not: it is kept, so that it can be restored.
ALTER TABLE titles ADD COLUMN withdrawn_ms INTEGER NOT NULL DEFAULT 0;

-- Small objects are served to whom their titles are for.
CREATE INDEX titles_by_poster ON titles (poster);
CREATE INDEX subtitles_by_object ON subtitles (object);
CREATE INDEX storyboards_by_object ON storyboards (object);

-- +goose Down
DROP INDEX storyboards_by_object;
DROP INDEX subtitles_by_object;
DROP INDEX titles_by_poster;
ALTER TABLE titles DROP COLUMN withdrawn_ms;
ALTER TABLE streams DROP COLUMN highest;
