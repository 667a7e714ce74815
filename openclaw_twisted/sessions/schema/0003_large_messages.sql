-- A table without rowid is an index, and to find a place in one SQLite reads every row it compares as a whole:
-- beside messages of megabytes each insert read megabytes. With rowids the index holds the keys alone.

CREATE TABLE messages_by_row (
    session_key TEXT    NOT NULL,
    seq         INTEGER NOT NULL,    -- counts from 1 within the session
    run_id      TEXT    NOT NULL,
    at          REAL    NOT NULL,
    interrupted INTEGER NOT NULL,    -- 1: an answer that was cut off
    body        TEXT    NOT NULL,    -- the message as JSON
    PRIMARY KEY (session_key, seq)
);

INSERT INTO messages_by_row SELECT session_key, seq, run_id, at, interrupted, body FROM messages;
-- To drop a table SQLite keeps in memory what it overwrites, to delete all of its rows it does not.
DELETE FROM messages;
DROP TABLE messages;
ALTER TABLE messages_by_row RENAME TO messages;
