-- +goose Up

-- How a version's files are encrypted: cbcs or cenc; empty where they are in the clear, as all were before.
ALTER TABLE versions ADD COLUMN scheme TEXT NOT NULL DEFAULT '';
-- The name of the key that opens a file, 32 hexadecimal digits; empty for a file in the clear.
ALTER TABLE files ADD COLUMN kid TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE files DROP COLUMN kid;
ALTER TABLE versions DROP COLUMN scheme;
