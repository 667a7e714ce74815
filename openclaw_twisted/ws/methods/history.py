"""`chat.history`, `chat.startup`, `chat.metadata`, `sessions.get`: what it takes to show a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openclaw_twisted.boundaries import RunRecord, SessionRow, StoredMessage
from openclaw_twisted.runs.sessions import Sessions
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.history_payloads import MAX_READ_CHARACTERS, HistoryMessage, history_messages
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import MAX_INTEGER, invalid
from openclaw_twisted.ws.session_payloads import Defaults, Shown, ShownSession, milliseconds
from openclaw_twisted.ws.session_target import find_session, kept_session
from openclaw_twisted.ws.since import Since4

__all__ = ["GetParams", "HistoryMethods", "HistoryParams", "MetadataParams"]

HISTORY = "chat.history"
STARTUP = "chat.startup"
METADATA = "chat.metadata"
GET = "sessions.get"

DEFAULT_LIMIT = 200
MAX_LIMIT = 1000
MAX_BYTES = 6 * 1024 * 1024
"""What the messages of one answer may come to: well below what a client takes in one frame."""

_Text = Annotated[str, Meta(min_length=1)]
_encode = msgspec.json.Encoder().encode


class HistoryParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose messages: the newest `limit` of the session, or those before the newest `offset` messages.

    Texts are cut at `maxChars`, `maxBytes` bounds what the messages of the answer come to. The keys of type
    `Raw` are OpenClaw's own and change nothing here.
    """

    session_key: Annotated[str, Meta(min_length=1, max_length=512)]
    agent_id: _Text | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    offset: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0
    max_chars: Annotated[int, Meta(ge=1, le=500_000)] | None = None
    max_bytes: Annotated[int, Meta(ge=1024)] = MAX_BYTES
    cursor: Raw = Raw()
    input_run_ids: Raw = Raw()
    message_id: Raw = Raw()
    pending_before: Raw = Raw()
    session_id: Raw = Raw()


class MetadataParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """For which agent, or for which session's."""

    agent_id: _Text | None = None
    session_key: _Text | None = None
    auth_profile_id: Raw = Raw()


class GetParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose messages: the newest `limit` of the session, which some clients name as chats are named."""

    key: _Text | None = None
    session_key: _Text | None = None
    agent_id: _Text | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] = DEFAULT_LIMIT


class Pending(Struct, frozen=True, kw_only=True):
    """Messages that nobody has taken yet: there are none, each one that is sent starts its run."""

    items: tuple[str, ...] = ()
    total: int = 0


class InFlight(Struct, frozen=True, kw_only=True, rename="camel"):
    """The run that is at work in a session, and what it has said so far; it started at a time in ms."""

    run_id: str
    text: str
    started_at: int | UnsetType = UNSET


class History(Struct, frozen=True, kw_only=True, rename="camel"):
    """A conversation, oldest message first; the last keys are told to version 4."""

    session_key: str
    session_id: str | UnsetType = UNSET
    messages: tuple[HistoryMessage, ...]
    thinking_level: str | UnsetType = UNSET
    verbose_level: str | UnsetType = UNSET
    pending_inputs: Since4[Pending] = UNSET
    has_more: Since4[bool] = UNSET
    next_offset: Since4[int] = UNSET
    total_messages: Since4[int] = UNSET
    defaults: Since4[Defaults] = UNSET
    session_info: Since4[ShownSession | None] = UNSET
    in_flight_run: Since4[InFlight] = UNSET


class SessionMessages(Struct, frozen=True):
    """A conversation, oldest message first."""

    messages: tuple[HistoryMessage, ...]


class ChatModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """A model that can be chosen for a session."""

    id: str
    name: str
    provider: str
    context_window: int


class ChatMetadata(Struct, frozen=True, kw_only=True):
    """What there is to choose from in a conversation."""

    commands: tuple[str, ...] = ()
    models: tuple[ChatModel, ...]


@dataclass(frozen=True, kw_only=True)
class HistoryMethods:
    """The methods that show conversations."""

    sessions: Sessions
    shown: Shown

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method(HISTORY, HistoryParams, self.history),
            Method(STARTUP, HistoryParams, self.startup),
            Method(METADATA, MetadataParams, self.metadata),
            Method(GET, GetParams, self.get),
        )

    async def history(self, call: Call, params: HistoryParams) -> Answer[History]:
        """Show what was said in a session; one that there is not is an empty one."""
        return Answer(await self._history(call, HISTORY, params))

    async def startup(self, call: Call, params: HistoryParams) -> Answer[History]:
        """Show the same to a page that opens."""
        return Answer(await self._history(call, STARTUP, params))

    async def get(self, call: Call, params: GetParams) -> Answer[SessionMessages]:
        """Show a session's messages and nothing else."""
        key = params.key or params.session_key
        if key is None:
            raise invalid(GET, "must have required property 'key'")
        wanted = HistoryParams(session_key=key, agent_id=params.agent_id, limit=min(params.limit, MAX_LIMIT))
        return Answer(SessionMessages((await self._history(call, GET, wanted)).messages))

    async def metadata(self, _call: Call, params: MetadataParams) -> Answer[ChatMetadata]:
        """Show what there is to choose from."""
        agent, _ = find_session(
            METADATA, self.shown.directory, agent_id=params.agent_id, key=params.session_key
        )
        return Answer(ChatMetadata(models=tuple(map(self._model, agent.candidates()))))

    async def _history(self, call: Call, method: str, params: HistoryParams) -> History:
        store, new = self.sessions.store, call.client.speaks_4
        key = await kept_session(
            method, self.shown.directory, store, agent_id=params.agent_id, key=params.session_key
        )
        # Before the store is read: a run that ends meanwhile is found here or there.
        asked = [] if params.offset else self._asked(key)
        row = await store.session(str(key))
        total = row.message_count if row else 0
        kept: tuple[StoredMessage, ...] = ()
        if row is not None and total > params.offset:
            kept = await store.history(
                str(key),
                params.limit,
                before_seq=row.last_seq + 1 - params.offset,
                max_characters=MAX_READ_CHARACTERS,
            )
        run_ids = {stored.run_id for stored in kept}
        asked = [message for message in asked if message.run_id not in run_ids]
        show = partial(history_messages, speaks_4=new, max_chars=params.max_chars)
        room = min(params.max_bytes, MAX_BYTES)
        at_work = _if_it_fits(show(_numbered(asked, row), {}), room // 2)
        runs = await self._runs(row, run_ids) if row is not None and kept else {}
        messages = _newest(show(kept, runs), room - sum(map(_size, at_work)))
        end = params.offset + len(messages)
        shown = self.shown.session(row, speaks_4=True) if row and new else None
        return History(
            session_key=str(key),
            session_id=row.session_id if row else UNSET,
            messages=(*messages, *at_work),
            thinking_level=(row.thinking_level if row else None) or ("off" if not new else UNSET),
            verbose_level=(row.verbose_level if row else None) or UNSET,
            pending_inputs=Pending() if new else UNSET,
            has_more=end < total if new else UNSET,
            next_offset=end if new and end < total else UNSET,
            total_messages=total if new else UNSET,
            defaults=self.shown.defaults(key.agent_id) if new else UNSET,
            session_info=shown if new else UNSET,
            in_flight_run=self._in_flight(key) if new else UNSET,
        )

    def _in_flight(self, key: SessionKey) -> InFlight | UnsetType:
        run = next(iter(self.sessions.runs_of(key)), None)
        if run is None:
            return UNSET
        started_at = milliseconds(run.started_at) if run.started_at else UNSET
        return InFlight(run_id=run.request.run_id, text=run.reply.text, started_at=started_at)

    def _asked(self, key: SessionKey) -> list[StoredMessage]:
        """Return what the run at work was asked: it is kept with its answer, and has no number before."""
        return [
            StoredMessage(seq=0, run_id=run.request.run_id, at=run.started_at, message=message)
            for run in self.sessions.runs_of(key)
            for message in run.added
        ]

    async def _runs(self, row: SessionRow, run_ids: set[str]) -> dict[str, RunRecord]:
        newest = await self.sessions.store.runs(row.session_key, len(run_ids) + 50)
        return {run.run_id: run for run in newest if run.run_id in run_ids}

    def _model(self, full: str) -> ChatModel:
        provider, _, name = full.partition("/")
        return ChatModel(
            id=name or full,
            name=name or full,
            provider=provider,
            context_window=self.shown.context_tokens(full),
        )


def _numbered(asked: Sequence[StoredMessage], row: SessionRow | None) -> list[StoredMessage]:
    """Return what was asked with the numbers that it will be kept by."""
    following = row.last_seq + 1 if row else 1
    return [msgspec.structs.replace(message, seq=seq) for seq, message in enumerate(asked, following)]


def _if_it_fits(messages: tuple[HistoryMessage, ...], max_bytes: int) -> tuple[HistoryMessage, ...]:
    return messages if sum(map(_size, messages)) <= max_bytes else ()


def _size(message: HistoryMessage) -> int:
    return len(_encode(message))


def _newest(messages: tuple[HistoryMessage, ...], max_bytes: int) -> tuple[HistoryMessage, ...]:
    """Return the newest messages that come to at most so many bytes, the last one in any case."""
    size, first = 0, len(messages)
    for at in range(len(messages) - 1, -1, -1):
        size += _size(messages[at])
        if size > max_bytes and first < len(messages):
            break
        first = at
    return messages[first:]
