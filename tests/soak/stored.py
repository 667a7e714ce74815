"""What a gateway has left in its database, read as another program would."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from openclaw_twisted.content import Message, text_of

__all__ = ["stored_messages", "stored_turns"]


def stored_messages(path: Path, session_key: str) -> list[tuple[str, str, bool]]:
    """Return a session's messages in order: role, text, and whether it was cut off."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT seq, body, interrupted FROM messages WHERE session_key = ? ORDER BY seq", (session_key,)
        ).fetchall()
    assert [seq for seq, *_ in rows] == list(range(1, len(rows) + 1)), "a gap in the order"
    told = [(msgspec.json.decode(body, type=Message), bool(interrupted)) for _, body, interrupted in rows]
    return [(message.role, text_of(message), interrupted) for message, interrupted in told]


def stored_turns(path: Path, session_key: str) -> list[tuple[str, str]]:
    """Return a session's whole turns: question and answer."""
    told = stored_messages(path, session_key)
    turns = []
    for (role, question, _), (next_role, answer, cut_off) in zip(told[::2], told[1::2], strict=True):
        assert (role, next_role, cut_off) == ("user", "assistant", False), told
        turns.append((question, answer))
    return turns
