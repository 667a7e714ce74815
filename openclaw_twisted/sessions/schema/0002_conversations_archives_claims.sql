-- A session goes through conversations: a reset ends one and begins the next. Its messages are numbered
-- through all of them; those up to `archived_seq` belong to the past and wait in `archives` to be deleted.

ALTER TABLE sessions RENAME COLUMN message_count TO last_seq;
ALTER TABLE sessions ADD COLUMN archived_seq   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN session_id     TEXT    NOT NULL DEFAULT '';  -- a UUID, new with each reset
ALTER TABLE sessions ADD COLUMN started_at     REAL    NOT NULL DEFAULT 0;   -- of this conversation
ALTER TABLE sessions ADD COLUMN title          TEXT;
ALTER TABLE sessions ADD COLUMN preview        TEXT;
ALTER TABLE sessions ADD COLUMN label          TEXT;
ALTER TABLE sessions ADD COLUMN model          TEXT;
ALTER TABLE sessions ADD COLUMN thinking_level TEXT;
ALTER TABLE sessions ADD COLUMN verbose_level  TEXT;
ALTER TABLE sessions ADD COLUMN options        TEXT    NOT NULL DEFAULT '{}';  -- other choices, as JSON
ALTER TABLE sessions ADD COLUMN input_tokens   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN output_tokens  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN total_tokens   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN context_tokens INTEGER;                        -- of the last run

UPDATE sessions SET
    started_at = created_at,
    session_id = lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))
    );

CREATE UNIQUE INDEX sessions_by_id ON sessions (session_id);
CREATE UNIQUE INDEX sessions_by_label ON sessions (label) WHERE label IS NOT NULL;

-- Listings leave out the many that last for one request; pruning wants those alone.
DROP INDEX sessions_by_update;
DROP INDEX sessions_to_prune;
CREATE INDEX sessions_by_kind ON sessions (stateless, updated_at DESC, session_key);

CREATE TABLE archives (
    session_key TEXT    NOT NULL,
    last_seq    INTEGER NOT NULL,    -- the archive reaches from the one before it to this message
    session_id  TEXT    NOT NULL,
    reason      TEXT    NOT NULL,    -- reset or compact
    archived_at REAL    NOT NULL,
    PRIMARY KEY (session_key, last_seq)
) WITHOUT ROWID;

CREATE INDEX archives_by_time ON archives (archived_at);

-- Idempotency keys. `answer_seq` is the answer's message, once there is one.
CREATE TABLE claims (
    scope      TEXT NOT NULL,
    key        TEXT NOT NULL,
    digest     BLOB NOT NULL,        -- of the request that came with the key
    run_id     TEXT NOT NULL,
    at         REAL NOT NULL,
    answer_seq INTEGER,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;

CREATE INDEX claims_by_time ON claims (at);

ALTER TABLE runs ADD COLUMN error_message TEXT;
DROP INDEX runs_by_session;
CREATE INDEX runs_by_session ON runs (session_key, started_at DESC);
CREATE INDEX runs_by_start ON runs (started_at DESC);
