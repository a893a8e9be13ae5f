-- +goose Up

-- What each running play session has claimed so far: totals that only grow, so that a report that comes twice, late or not
-- at all changes nothing but when its bytes are counted. No addresses, and no members.
CREATE TABLE play_totals (
    session        TEXT    NOT NULL PRIMARY KEY,
    title          TEXT    NOT NULL,
    grp            TEXT    NOT NULL CHECK (grp IN ('none', 'sharing', 'holdout')),
    bucket         INTEGER NOT NULL,           -- of its viewer, among those of the group
    network        INTEGER NOT NULL,           -- autonomous system; 0: not known
    height         INTEGER NOT NULL,           -- of the rendition last reported; 0: not known
    film_bytes     INTEGER NOT NULL,
    began_ms       INTEGER NOT NULL,
    seen_ms        INTEGER NOT NULL,
    position_ms    INTEGER NOT NULL,
    continued      INTEGER NOT NULL CHECK (continued IN (0, 1)),
    quarantined    INTEGER NOT NULL CHECK (quarantined IN (0, 1)),
    origin_bytes   INTEGER NOT NULL,
    peer_bytes     INTEGER NOT NULL,
    relayed_bytes  INTEGER NOT NULL,
    cached_bytes   INTEGER NOT NULL,
    sent_bytes     INTEGER NOT NULL,
    wasted_bytes   INTEGER NOT NULL,
    played_ms      INTEGER NOT NULL,
    stalls         INTEGER NOT NULL,
    stalled_ms     INTEGER NOT NULL,
    startup_ms     INTEGER NOT NULL,
    switches       INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    bad_blocks     INTEGER NOT NULL,
    met            INTEGER NOT NULL,
    met_connected  INTEGER NOT NULL,
    met_answer     INTEGER NOT NULL,
    met_ice        INTEGER NOT NULL,
    met_dtls       INTEGER NOT NULL,
    met_channel    INTEGER NOT NULL,
    met_budget     INTEGER NOT NULL
);
CREATE INDEX play_totals_by_seen ON play_totals (seen_ms);

-- The sums of what the totals grew by, in minutes, later in hours, then in days.
CREATE TABLE traffic (
    span           TEXT    NOT NULL CHECK (span IN ('minute', 'hour', 'day')),
    at_ms          INTEGER NOT NULL,           -- its beginning
    title          TEXT    NOT NULL,
    network        INTEGER NOT NULL,           -- -1: others than those told apart
    height         INTEGER NOT NULL,
    grp            TEXT    NOT NULL,
    sessions       INTEGER NOT NULL,           -- that began
    started        INTEGER NOT NULL,           -- that showed their first frame
    quarantined    INTEGER NOT NULL,           -- that were left out
    reach_ms       INTEGER NOT NULL,           -- the furthest place in the film that was reached
    bound_bytes    INTEGER NOT NULL,           -- of days: the bytes that the viewers there were could have had from one another
    crowd_ms       INTEGER NOT NULL,           -- of days: played_ms times the viewers there were at once, in thousandths
    origin_bytes   INTEGER NOT NULL,
    peer_bytes     INTEGER NOT NULL,
    relayed_bytes  INTEGER NOT NULL,
    cached_bytes   INTEGER NOT NULL,
    sent_bytes     INTEGER NOT NULL,
    wasted_bytes   INTEGER NOT NULL,
    played_ms      INTEGER NOT NULL,
    stalls         INTEGER NOT NULL,
    stalled_ms     INTEGER NOT NULL,
    startup_ms     INTEGER NOT NULL,
    switches       INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    bad_blocks     INTEGER NOT NULL,
    met            INTEGER NOT NULL,
    met_connected  INTEGER NOT NULL,
    met_answer     INTEGER NOT NULL,
    met_ice        INTEGER NOT NULL,
    met_dtls       INTEGER NOT NULL,
    met_channel    INTEGER NOT NULL,
    met_budget     INTEGER NOT NULL,
    PRIMARY KEY (span, at_ms, title, network, height, grp)
);

-- How playback went, by the day on which sessions began and by buckets of viewers: what comparisons are made of.
CREATE TABLE quality (
    day_ms         INTEGER NOT NULL,
    grp            TEXT    NOT NULL,
    bucket         INTEGER NOT NULL,
    sessions       INTEGER NOT NULL,
    started        INTEGER NOT NULL,
    well           INTEGER NOT NULL,           -- that started and reported no failure
    startup_ms     INTEGER NOT NULL,
    startup_log    INTEGER NOT NULL,           -- natural logarithms of the start-up times in ms, in thousandths
    played_ms      INTEGER NOT NULL,
    stalls         INTEGER NOT NULL,
    stalled_ms     INTEGER NOT NULL,
    PRIMARY KEY (day_ms, grp, bucket)
);

-- The origin's own count of media bytes, which nobody claims.
CREATE TABLE origin_counts (
    day_ms         INTEGER NOT NULL,
    title          TEXT    NOT NULL,
    bytes          INTEGER NOT NULL,
    PRIMARY KEY (day_ms, title)
);

-- The operator's policy, every version of it.
CREATE TABLE policy_versions (
    version        INTEGER NOT NULL PRIMARY KEY,
    at_ms          INTEGER NOT NULL,
    who            TEXT    NOT NULL,
    why            TEXT    NOT NULL,
    policy         TEXT    NOT NULL            -- JSON
);

-- What draws viewers into groups, so that nobody can tell their own.
CREATE TABLE policy_salt (
    one            INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    salt           BLOB    NOT NULL
);

-- +goose Down
DROP TABLE policy_salt;
DROP TABLE policy_versions;
DROP TABLE origin_counts;
DROP TABLE quality;
DROP TABLE traffic;
DROP TABLE play_totals;
