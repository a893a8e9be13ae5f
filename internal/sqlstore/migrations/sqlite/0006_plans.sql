-- +goose Up

-- What members may watch. A plan includes all titles, or those that plan_titles lists; titles may be withdrawn and come
-- back, so the list does not refer to the catalogue.
CREATE TABLE plans (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    all_titles INTEGER NOT NULL CHECK (all_titles IN (0, 1)),
    streams    INTEGER NOT NULL CHECK (streams BETWEEN 1 AND 1000), -- at once
    highest    TEXT    NOT NULL CHECK (highest IN ('sd', 'hd', 'uhd'))
);

CREATE TABLE plan_titles (
    plan_id  TEXT NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    title_id TEXT NOT NULL,
    PRIMARY KEY (plan_id, title_id)
);

INSERT INTO plans (id, name, all_titles, streams, highest) VALUES ('standard', 'Standard', 1, 4, 'uhd');

CREATE TABLE subscriptions (
    member_id TEXT    NOT NULL PRIMARY KEY REFERENCES members (id) ON DELETE CASCADE,
    plan_id   TEXT    NOT NULL REFERENCES plans (id),
    state     TEXT    NOT NULL CHECK (state IN ('trial', 'active', 'past_due', 'ended')),
    until_ms  INTEGER NOT NULL,             -- 0: not before something changes
    sequence  INTEGER NOT NULL              -- of the latest event of the billing system that was applied; 0: none
);
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id);
INSERT INTO subscriptions (member_id, plan_id, state, until_ms, sequence) SELECT id, 'standard', 'active', 0, 0 FROM members;

-- The billing system's events that were taken, so that one that comes again changes nothing.
CREATE TABLE billing_events (
    id    TEXT    NOT NULL PRIMARY KEY,
    at_ms INTEGER NOT NULL                  -- when it came
);
CREATE INDEX billing_events_by_time ON billing_events (at_ms);

ALTER TABLE members ADD COLUMN role TEXT NOT NULL DEFAULT 'viewer' CHECK (role IN ('viewer', 'editor', 'operator'));
CREATE INDEX members_by_role ON members (role);

ALTER TABLE device_sessions ADD COLUMN device TEXT NOT NULL DEFAULT '';    -- what it is, for its owner: Firefox · Linux
ALTER TABLE device_sessions ADD COLUMN seen_ms INTEGER NOT NULL DEFAULT 0; -- 0: not since it was opened

-- One-time links: what one may do who has it.
CREATE TABLE links (
    token_sha256 TEXT    NOT NULL PRIMARY KEY, -- never the token itself
    id           TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL CHECK (kind IN ('invitation', 'operator', 'reset')),
    role         TEXT    NOT NULL,             -- of who signs up
    plan_id      TEXT    NOT NULL,             -- of who signs up
    member_id    TEXT    REFERENCES members (id) ON DELETE CASCADE, -- whose password is set anew
    note         TEXT    NOT NULL,             -- whom it is for, in the operator's words
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER NOT NULL
);
CREATE INDEX links_by_expiry ON links (expires_ms);

-- Who changed what.
CREATE TABLE audit (
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL,                  -- a member's id; empty for the machine's own
    name    TEXT    NOT NULL,                  -- the member's at the time; "token", "admin", "billing" or "service"
    device  TEXT    NOT NULL,                  -- a device session's id and what it is, or empty
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,                  -- whom or what it was done to
    detail  TEXT    NOT NULL
);

-- When a title may be seen. 0: no bound.
ALTER TABLE titles ADD COLUMN from_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE titles ADD COLUMN until_ms INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE titles DROP COLUMN until_ms;
ALTER TABLE titles DROP COLUMN from_ms;
DROP TABLE audit;
DROP TABLE links;
ALTER TABLE device_sessions DROP COLUMN seen_ms;
ALTER TABLE device_sessions DROP COLUMN device;
DROP INDEX members_by_role;
ALTER TABLE members DROP COLUMN role;
DROP TABLE billing_events;
DROP TABLE subscriptions;
DROP TABLE plan_titles;
DROP TABLE plans;
