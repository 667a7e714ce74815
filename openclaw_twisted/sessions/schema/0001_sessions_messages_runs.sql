-- Times are seconds since the epoch, UTC.

CREATE TABLE sessions (
    session_key   TEXT    NOT NULL PRIMARY KEY,
    agent_id      TEXT    NOT NULL,
    stateless     INTEGER NOT NULL,  -- 1: lasts for one request, pruned when it is old
    created_at    REAL    NOT NULL,
    updated_at    REAL    NOT NULL,
    message_count INTEGER NOT NULL   -- also the seq of the newest message
) WITHOUT ROWID;

CREATE INDEX sessions_by_update ON sessions (updated_at DESC);
CREATE INDEX sessions_to_prune ON sessions (updated_at) WHERE stateless = 1;

-- Append-only. Without rowid the table is its own index: a session's messages lie side by side.
CREATE TABLE messages (
    session_key TEXT    NOT NULL,
    seq         INTEGER NOT NULL,    -- counts from 1 within the session
    run_id      TEXT    NOT NULL,
    at          REAL    NOT NULL,
    interrupted INTEGER NOT NULL,    -- 1: an answer that was cut off
    body        TEXT    NOT NULL,    -- the message as JSON
    PRIMARY KEY (session_key, seq)
) WITHOUT ROWID;

CREATE TABLE runs (
    run_id        TEXT NOT NULL PRIMARY KEY,
    session_key   TEXT NOT NULL,
    agent_id      TEXT NOT NULL,
    model         TEXT NOT NULL,
    status        TEXT NOT NULL,
    started_at    REAL NOT NULL,
    ended_at      REAL,
    finish_reason TEXT,
    error_code    TEXT,
    usage         TEXT               -- token counts as JSON
) WITHOUT ROWID;

CREATE INDEX runs_by_session ON runs (session_key);
CREATE INDEX runs_without_end ON runs (status) WHERE status IN ('queued', 'running');
