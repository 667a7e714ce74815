"""What happens to sessions, told to those who follow them.

    sessions.changed    a session was created, changed, reset, compacted or deleted, or a run of it began,
                        was kept or ended; to who follows the list of sessions
    session.message     what a turn added to a session; to who follows its messages

A change comes without its facts, which are read from the store; so changes are worked off one after the
other, and one that waits already stands for the same one that comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import UNSET, Struct, UnsetType
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted import session_key
from openclaw_twisted.boundaries import SessionChange, SessionChangeReason, SessionRow, StoredMessage
from openclaw_twisted.errors import StorageError
from openclaw_twisted.runs.sessions import Sessions
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.history_payloads import MAX_READ_CHARACTERS, HistoryMessage, history_messages
from openclaw_twisted.ws.session_payloads import Shown, ShownSession, milliseconds
from openclaw_twisted.ws.since import Since4
from openclaw_twisted.ws.subscriptions import Following, Subscriptions

__all__ = ["MAX_NEW_MESSAGES", "MessagePayload", "SessionNews", "SessionPayload"]

MAX_NEW_MESSAGES = 50
"""How many messages of one turn are told; a page reads the rest itself."""


class SessionPayload(Struct, frozen=True, kw_only=True, rename="camel"):
    """Event `sessions.changed`; without a `session` there is none of this key, or not yet.

    The `sessionId` of one that was deleted is told to version 4.
    """

    session_key: str
    agent_id: Since4[str] = UNSET
    reason: SessionChangeReason
    ts: int
    session_id: Since4[str] = UNSET
    session: ShownSession | UnsetType = UNSET


class MessagePayload(Struct, frozen=True, kw_only=True, rename="camel"):
    """Event `session.message`: one message; its run and agent are told to version 4."""

    session_key: str
    agent_id: Since4[str] = UNSET
    run_id: Since4[str] = UNSET
    message_id: str
    message_seq: int
    message: HistoryMessage


class SessionNews:
    """Hears of changes and tells them; `tell` sends an event to some of those who follow."""

    _log = Logger()

    def __init__(
        self,
        sessions: Sessions,
        shown: Shown,
        following: Following,
        *,
        tell: Callable[[Event, Sequence[Subscriptions]], object],
    ) -> None:
        self._sessions = sessions
        self.shown = shown
        self._following = following
        self._tell = tell
        self._waiting: dict[tuple[str, str], SessionChange] = {}
        self._working = False
        self._work: Deferred[None] = succeed(None)
        self._stop_watching = sessions.bus.watch(self._hear)

    def stop(self) -> None:
        """Tell nothing more."""
        self._stop_watching()
        self._waiting.clear()
        self._work.cancel()

    def _hear(self, change: SessionChange) -> None:
        key = change.session_key
        if not self._following.messages(key) and not self._following.sessions:
            return
        agent_id = change.agent_id
        if session_key.parse(key, agent_id).stateless:
            return
        self._waiting.setdefault((key, change.reason), change)
        if not self._working:
            self._work = Deferred.fromCoroutine(self._work_off())
            self._work.addErrback(self._gave_up)

    async def _work_off(self) -> None:
        self._working = True
        try:
            while self._waiting:
                change = self._waiting.pop(next(iter(self._waiting)))
                try:
                    await self._tell_change(change)
                except StorageError as error:
                    self._log.warn(
                        "nobody was told of a change of {session_key}: {reason}",
                        session_key=change.session_key,
                        reason=error.message,
                    )
        finally:
            self._working = False

    def _gave_up(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the news of sessions hit a defect", failure=failure)

    async def _tell_change(self, change: SessionChange) -> None:
        key, store = change.session_key, self._sessions.store
        row = None if change.reason == "delete" else await store.session(key)
        if change.reason == "message" and row is not None and self._following.messages(key):
            await self._tell_messages(change, row.session_id)
        followers = tuple(self._following.sessions)
        if followers:
            self._tell(
                Event("sessions.changed", partial(self._changed, change, row), numbered=False), followers
            )

    async def _tell_messages(self, change: SessionChange, session_id: str) -> None:
        key, store = change.session_key, self._sessions.store
        kept = await store.history(key, MAX_NEW_MESSAGES, max_characters=MAX_READ_CHARACTERS)
        told_id, told = self._following.told.get(key, ("", 0))
        # A session that was deleted begins again with another id, and counts its messages from 1.
        new = [
            stored
            for stored in kept
            if (stored.seq > told if told_id == session_id else stored.run_id == kept[-1].run_id)
        ]
        if not new:
            return
        runs = {run.run_id: run for run in await store.runs(key, MAX_NEW_MESSAGES)}
        followers = tuple(self._following.messages(key))
        if not followers:
            return
        self._following.told[key] = session_id, new[-1].seq
        shapes = {speaks_4: history_messages(new, runs, speaks_4=speaks_4) for speaks_4 in (True, False)}
        for at, stored in enumerate(new):
            messages = {speaks_4: shape[at] for speaks_4, shape in shapes.items()}
            shape = partial(_message, change, stored, messages)
            self._tell(Event("session.message", shape, numbered=False), followers)

    def _changed(self, change: SessionChange, row: SessionRow | None, speaks_4: bool) -> SessionPayload:
        return SessionPayload(
            session_key=change.session_key,
            agent_id=change.agent_id if speaks_4 else UNSET,
            reason=change.reason,
            ts=milliseconds(change.at),
            session_id=(change.session_id or UNSET) if speaks_4 else UNSET,
            session=self.shown.session(row, speaks_4=speaks_4) if row is not None else UNSET,
        )


def _message(
    change: SessionChange, stored: StoredMessage, messages: dict[bool, HistoryMessage], speaks_4: bool
) -> MessagePayload:
    return MessagePayload(
        session_key=change.session_key,
        agent_id=change.agent_id if speaks_4 else UNSET,
        run_id=stored.run_id if speaks_4 else UNSET,
        message_id=f"{stored.run_id}:{stored.seq}",
        message_seq=stored.seq,
        message=messages[speaks_4],
    )
