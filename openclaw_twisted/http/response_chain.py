"""Conversations that are continued by the ids of their responses.

A response is a run, and its id leads to the run's record. Who continues the newest response of a session
goes on in that session. Who continues an older one, or one that somebody else is just continuing, gets a
session of their own that begins with everything up to that response: two continuations of one response never
hear of each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from openclaw_twisted import session_key
from openclaw_twisted.agents.target import Target
from openclaw_twisted.boundaries import RunRecord, SessionStore, StoredMessage
from openclaw_twisted.content import Message
from openclaw_twisted.errors import InvalidRequestError, PreviousResponseNotFoundError
from openclaw_twisted.http.agent_runs import Place
from openclaw_twisted.http.responses_answer import run_id_of
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.session_key import SessionKey

__all__ = ["ResponseChain"]

PARAM = "previous_response_id"
ALL_MESSAGES = 1_000_000_000


class ResponseChain:
    """Finds the place of a run that continues a response, or begins a conversation."""

    def __init__(self, store: SessionStore, runner: Runner) -> None:
        self._store = store
        self._runner = runner
        self._continued: set[str] = set()

    @asynccontextmanager
    async def place(self, target: Target, previous: str | None, *, stored: bool) -> AsyncIterator[Place]:
        """Hold a place for as long as the run needs to start.

        Raises `PreviousResponseNotFoundError`, and `InvalidRequestError` for a response that cannot be
        continued by this request.
        """
        fresh = _own_session(target, stored=stored)
        if previous is None:
            yield Place(session_key=fresh)
            return
        record = await self._record(previous, target)
        with self._claim(record.session_key) as is_first:
            newest = is_first and await self._is_newest(record)
            key = session_key.parse(record.session_key, record.agent_id)
            if newest and (stored or key == target.session_key):
                yield Place(session_key=key, appends=True)
            elif target.session_pinned:
                raise InvalidRequestError(
                    f"{PARAM} is not the newest response of the session that x-openclaw-session-key names. "
                    "Leave the header out to continue from here in a session of its own.",
                    param=PARAM,
                )
            else:
                branch = session_key.for_response(target.agent.id) if stored else _alone(target)
                yield Place(session_key=branch, before=await self._up_to(record), appends=True)

    async def _record(self, previous: str, target: Target) -> RunRecord:
        run_id = run_id_of(previous)
        record = await self._store.run(run_id) if run_id else None
        if record is None or _key_of(record).stateless:
            raise PreviousResponseNotFoundError(
                "There is no response of this id. Responses with store: false are not kept.", param=PARAM
            )
        if record.agent_id != target.agent.id:
            raise InvalidRequestError(
                f'The response was given by the agent "{record.agent_id}", the request is for '
                f'"{target.agent.id}". Name the same agent.',
                param=PARAM,
            )
        if record.status != "finished":
            raise InvalidRequestError(
                f"The response cannot be continued: it is {record.status}. Continue the one before it.",
                param=PARAM,
            )
        if target.session_pinned and str(target.session_key) != record.session_key:
            raise InvalidRequestError(
                "The response belongs to another session than x-openclaw-session-key names. "
                "Send one of the two only.",
                param=PARAM,
            )
        return record

    @contextmanager
    def _claim(self, key: str) -> Iterator[bool]:
        """Tell whether nobody else goes on in this session, and keep others off while this lasts."""
        taken = key in self._continued or any(
            str(run.request.session_key) == key for run in self._runner.active()
        )
        if taken:
            yield False
            return
        self._continued.add(key)
        try:
            yield True
        finally:
            self._continued.discard(key)

    async def _is_newest(self, record: RunRecord) -> bool:
        last = await self._store.history(record.session_key, limit=1)
        return bool(last) and last[-1].run_id == record.run_id

    async def _up_to(self, record: RunRecord) -> tuple[Message, ...]:
        """Return what was said up to the end of a run."""
        messages = await self._store.history(record.session_key)
        if not _holds(messages, record):
            messages = await self._store.history(record.session_key, limit=ALL_MESSAGES)
        end = max((at for at, kept in enumerate(messages) if kept.run_id == record.run_id), default=-1)
        if end < 0:
            raise PreviousResponseNotFoundError("This response is not kept any more.", param=PARAM)
        return tuple(kept.message for kept in messages[: end + 1])


def _holds(messages: tuple[StoredMessage, ...], record: RunRecord) -> bool:
    return any(kept.run_id == record.run_id for kept in messages)


def _own_session(target: Target, *, stored: bool) -> SessionKey:
    """Return the session of a request that continues nothing: the chosen one, else one of its own."""
    if target.session_key.stateless and stored:
        return session_key.for_response(target.agent.id)
    return target.session_key


def _alone(target: Target) -> SessionKey:
    return session_key.stateless(target.agent.id)


def _key_of(record: RunRecord) -> SessionKey:
    return session_key.parse(record.session_key, record.agent_id)
