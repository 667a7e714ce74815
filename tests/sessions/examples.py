"""Runs and turns for the tests of the stores."""

from __future__ import annotations

from typing import Any

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.content import Message

__all__ = ["SESSION", "run", "turn"]

SESSION = "agent:main:raycast:chat:1"


def run(run_id: str = "run-1", session_key: str = SESSION, **fields: Any) -> RunRecord:
    """Return a run that ended well; `fields` replaces any of its fields."""
    fields = {"status": "finished", "started_at": 100.0, "ended_at": 101.5, **fields}
    return RunRecord(run_id=run_id, session_key=session_key, agent_id="main", model="m-1", **fields)


def turn(run_id: str = "run-1", session_key: str = SESSION, *texts: str, **fields: Any) -> TurnRecord:
    """Return a turn of one question and one answer, or of `texts`, said by turns."""
    texts = texts or (f"question of {run_id}", f"answer of {run_id}")
    messages = tuple(
        Message(role="assistant" if index % 2 else "user", content=text) for index, text in enumerate(texts)
    )
    return TurnRecord(run=run(run_id, session_key, **fields), messages=messages)
