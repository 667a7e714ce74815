"""The store that lasts as long as the process: for tests, and for gateways that must keep nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import msgspec

from openclaw_twisted.boundaries import RunRecord, SessionRow, SessionStore, StoredMessage, TurnRecord
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.turns import changed_at, is_stateless, stored_messages

__all__ = ["MemoryStore"]


class MemoryStore:
    """Sessions and runs in dictionaries; `now` tells seconds since the epoch.

    Every method raises `StorageError` while the store is not open. What it holds outlasts `close`, so
    that it can be opened again.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._sessions: dict[str, SessionRow] = {}
        self._messages: dict[str, list[StoredMessage]] = {}
        self._runs: dict[str, RunRecord] = {}
        self._open = False

    async def open(self) -> None:
        """Start; runs that had no end when the store was closed become `interrupted`."""
        if self._open:
            raise StorageError("The store is open already. Close it before opening it again.")
        for run in self._runs.values():
            if run.status in {"queued", "running"}:
                self._runs[run.run_id] = msgspec.structs.replace(
                    run, status="interrupted", ended_at=self._now()
                )
        self._open = True

    async def close(self) -> None:
        """Stop; closing twice is harmless."""
        self._open = False

    async def history(self, session_key: str, limit: int = 1000) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages of a session, oldest first."""
        self._check_open()
        messages = self._messages.get(session_key, [])
        return tuple(messages[max(len(messages) - max(limit, 0), 0) :])

    async def begin(self, run: RunRecord) -> None:
        """Record that a run started."""
        self._check_open()
        self._keep(TurnRecord(run=run, messages=()))

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended."""
        self._check_open()
        try:
            self._keep(turn)
        except UnicodeError as error:
            raise StorageError(f"The store cannot keep this: {error}.") from error

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run."""
        self._check_open()
        with contextlib.suppress(UnicodeError):
            self._keep(turn)

    async def sessions(self, limit: int = 100) -> tuple[SessionRow, ...]:
        """Return the most recently updated sessions, newest first."""
        self._check_open()
        newest = sorted(self._sessions.values(), key=lambda row: (-row.updated_at, row.session_key))
        return tuple(newest[: max(limit, 0)])

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        self._check_open()
        return self._runs.get(run_id)

    async def prune_stateless(self, before: float) -> int:
        """Delete stateless sessions last updated before `before`, with their runs; return how many."""
        self._check_open()
        stale = {key for key, row in self._sessions.items() if row.updated_at < before and is_stateless(key)}
        for key in stale:
            del self._sessions[key]
            self._messages.pop(key, None)
        self._runs = {run_id: run for run_id, run in self._runs.items() if run.session_key not in stale}
        return len(stale)

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("The store is closed: the gateway is starting or stopping. Try again soon.")

    def _keep(self, turn: TurnRecord) -> None:
        """Keep a turn, or raise `UnicodeEncodeError`, as a store on disk would, and keep nothing of it."""
        msgspec.json.encode(turn)
        run = turn.run
        row = self._sessions.get(run.session_key)
        messages = self._messages.setdefault(run.session_key, [])
        messages.extend(stored_messages(turn, len(messages)))
        self._sessions[run.session_key] = SessionRow(
            session_key=run.session_key,
            agent_id=run.agent_id if row is None else row.agent_id,
            created_at=run.started_at if row is None else row.created_at,
            updated_at=changed_at(run) if row is None else max(row.updated_at, changed_at(run)),
            message_count=len(messages),
        )
        self._runs[run.run_id] = run


_proof: type[SessionStore] = MemoryStore
