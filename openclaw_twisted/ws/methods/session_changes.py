"""`sessions.patch`, `create`, `reset`, `compact`, `delete`: what clients do to sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openclaw_twisted.agents.directory import Agent
from openclaw_twisted.agents.target import permitted_model
from openclaw_twisted.auth.scopes import Scope, allows
from openclaw_twisted.boundaries import SessionPatch, SessionRow
from openclaw_twisted.config.settings import Thinking
from openclaw_twisted.errors import GatewayError, InvalidRequestError
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.attachments import Attachment
from openclaw_twisted.ws.fault_codes import code_of
from openclaw_twisted.ws.method import Answer, Call, Method, missing_scope
from openclaw_twisted.ws.methods.chat import ChatMethods, SendParams, Sent
from openclaw_twisted.ws.params import MAX_INTEGER, invalid
from openclaw_twisted.ws.session_payloads import Choices, Shown, milliseconds
from openclaw_twisted.ws.session_target import MAIN_KEY, find_session, kept_session
from openclaw_twisted.ws.starting import MAX_KEY_CHARS

__all__ = [
    "CompactParams",
    "CreateParams",
    "DeleteParams",
    "PatchParams",
    "ResetParams",
    "SessionChanges",
]

PATCH = "sessions.patch"
CREATE = "sessions.create"
RESET = "sessions.reset"
COMPACT = "sessions.compact"
DELETE = "sessions.delete"

DEFAULT_KEPT = 400
VERBOSE_LEVELS = ("off", "on", "full")

_Text = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=512)]
_THINKING = get_args(Thinking)
_REPEATABLE = uuid.uuid5(uuid.NAMESPACE_DNS, "openclaw-twisted/sessions.create")
"""Makes the same key of the same idempotency key."""


class PatchParams(Choices, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What to change of a session; null clears. The keys of type `Raw` are OpenClaw's own, without effect."""

    key: _Key
    agent_id: _Text | None = None
    expected_session_id: _Text | None = None
    label: _Key | UnsetType | None = UNSET
    model: _Text | UnsetType | None = UNSET
    thinking_level: _Text | UnsetType | None = UNSET
    verbose_level: _Text | UnsetType | None = UNSET
    archived: Literal[False] = False
    attention: Raw = Raw()
    auto_label: Raw = Raw()
    board_presentation: Raw = Raw()
    completion_owner_session_key: Raw = Raw()
    context_window: Raw = Raw()
    exec_ask: Raw = Raw()
    exec_host: Raw = Raw()
    exec_node: Raw = Raw()
    exec_security: Raw = Raw()
    expected_lifecycle_revision: Raw = Raw()
    expected_marked_unread_at: Raw = Raw()
    expected_permission_mode: Raw = Raw()
    expected_tool_overrides: Raw = Raw()
    inherited_tool_allow: Raw = Raw()
    inherited_tool_deny: Raw = Raw()
    inherited_tool_policy_version: Raw = Raw()
    permission_mode: Raw = Raw()
    tool_overrides: Raw = Raw()
    ttl_minutes: Raw = Raw()


class CreateParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which session to create, and what to say in it first; without a key it gets one of its own.

    `task` is another name of `message`. A request that is repeated with its `idempotencyKey` creates and says
    nothing twice. The keys of type `Raw` are OpenClaw's own and change nothing here.
    """

    key: _Key | None = None
    agent_id: _Text | None = None
    label: _Key | None = None
    model: _Text | None = None
    thinking_level: _Text | None = None
    category: _Key | None = None
    fast_mode: bool | Literal["auto"] | None = None
    message: str = ""
    task: str = ""
    attachments: tuple[Attachment, ...] = ()
    timeout_ms: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)] | None = None
    catalog_id: Raw = Raw()
    context_window: Raw = Raw()
    cwd: Raw = Raw()
    display_name: Raw = Raw()
    emit_command_hooks: Raw = Raw()
    mentions: Raw = Raw()
    parent_session_key: Raw = Raw()
    permission_mode: Raw = Raw()
    project_git_url: Raw = Raw()
    project_id: Raw = Raw()
    spawn_depth: Raw = Raw()
    succeeds_parent: Raw = Raw()
    title_source: Raw = Raw()
    tool_overrides: Raw = Raw()
    visibility: Raw = Raw()


class ResetParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which session is to start afresh, with an expected id only while it has that one; no reason counts."""

    key: _Key
    agent_id: _Text | None = None
    expected_session_id: _Text | None = None
    reason: Literal["new", "reset"] = "reset"


class CompactParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which session to compact, and how many of its newest messages to keep."""

    key: _Key
    agent_id: _Text | None = None
    max_lines: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] = DEFAULT_KEPT


class DeleteParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which session to delete, with its messages; with an expected id, only while it has that one."""

    key: _Key
    agent_id: _Text | None = None
    expected_session_id: _Text | None = None
    archived_only: Raw = Raw()
    delete_transcript: Raw = Raw()
    emit_lifecycle_hooks: Raw = Raw()
    expected_lifecycle_revision: Raw = Raw()
    expected_session_updated_at: Raw = Raw()


class Entry(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a session is now."""

    session_id: str
    updated_at: int
    label: str | UnsetType = UNSET
    model_override: str | UnsetType = UNSET
    provider_override: str | UnsetType = UNSET
    thinking_level: str | UnsetType = UNSET
    verbose_level: str | UnsetType = UNSET


class ResolvedModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """The model that answers in a session."""

    model_provider: str | None
    model: str | None


class Patched(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session after a change."""

    ok: bool = True
    path: str = "sessions.sqlite3"
    key: str
    entry: Entry
    resolved: ResolvedModel


class NotSaid(Struct, frozen=True, kw_only=True):
    """Why what was to be said first was not; the session is there."""

    code: str
    message: str


class Created(Struct, frozen=True, kw_only=True, rename="camel"):
    """A new session, and the run of what was said first."""

    ok: bool = True
    key: str
    session_id: str
    entry: Entry
    run_started: bool = False
    run_id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    run_error: NotSaid | UnsetType = UNSET


class WasReset(Struct, frozen=True, kw_only=True):
    """A session that started afresh."""

    ok: bool = True
    key: str
    entry: Entry


class Compacted(Struct, frozen=True, kw_only=True):
    """Whether messages were taken out, and how many are left."""

    ok: bool = True
    key: str
    compacted: bool
    kept: int


class Deleted(Struct, frozen=True, kw_only=True):
    """Whether there was such a session; what is deleted is not archived."""

    ok: bool = True
    key: str
    deleted: bool
    archived: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SessionChanges:
    """The methods that change sessions; `new_id` makes the key of a session that is given none.

    `chat` says what is to be said first in a new session.
    """

    runner: Runner
    shown: Shown
    chat: ChatMethods
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method(PATCH, PatchParams, self.patch),
            Method(CREATE, CreateParams, self.create),
            Method(RESET, ResetParams, self.reset),
            Method(COMPACT, CompactParams, self.compact),
            Method(DELETE, DeleteParams, self.delete),
        )

    async def patch(self, call: Call, params: PatchParams) -> Answer[Patched]:
        """Change what was chosen for a session, which is created if need be."""
        client = call.client
        if not client.speaks_4 and not allows(client.scopes, Scope.ADMIN):
            return missing_scope(client, Scope.ADMIN)
        agent, key = self._target(PATCH, params.key, params.agent_id)
        await self._expect(key, params.expected_session_id)
        model = params.model
        change = SessionPatch(
            label=_line(PATCH, params.label),
            model=self._model(agent, model) if isinstance(model, str) else model,
            thinking_level=_level("thinkingLevel", params.thinking_level, _THINKING),
            verbose_level=_level("verboseLevel", params.verbose_level, VERBOSE_LEVELS),
            options=params.options(),
        )
        row = await self.runner.sessions.patch(key, change)
        provider, _, name = self.shown.model_of(agent.id, row.model).partition("/")
        resolved = ResolvedModel(model_provider=provider or None, model=name or None)
        return Answer(Patched(key=row.session_key, entry=_entry(row), resolved=resolved))

    async def create(self, call: Call, params: CreateParams) -> Answer[Created]:
        """Create a session, and say something in it if there is something to say."""
        own_id = self.new_id()
        if params.idempotency_key is not None:
            own_id = str(uuid.uuid5(_REPEATABLE, params.idempotency_key))
        agent, key = self._target(CREATE, params.key or f"chat:{own_id}", params.agent_id)
        if params.key is None:
            key = SessionKey(agent.id, key.rest)
        options = {"category": params.category, "fastMode": params.fast_mode}
        change = SessionPatch(
            label=UNSET if params.label is None else _line(CREATE, params.label),
            model=UNSET if params.model is None else self._model(agent, params.model),
            thinking_level=_level("thinkingLevel", params.thinking_level or UNSET, _THINKING),
            options={name: value for name, value in options.items() if value is not None},
        )
        row = await self.runner.sessions.create(key, change)
        created = Created(key=row.session_key, session_id=row.session_id, entry=_entry(row))
        if not (params.task or params.message).strip() and not params.attachments:
            return Answer(created)
        return Answer(await self._say_first(call, params, created, params.idempotency_key or own_id))

    async def _say_first(self, call: Call, params: CreateParams, created: Created, run_id: str) -> Created:
        wanted = SendParams(
            session_key=created.key,
            message=params.task or params.message,
            idempotency_key=run_id,
            timeout_ms=params.timeout_ms,
            attachments=params.attachments,
            suppress_command_interpretation=True,
        )
        try:
            answer = await self.chat.send(call, wanted)
        except GatewayError as error:
            answer = Answer(error=error)
        sent, refused = answer.payload, answer.error
        if refused is not None:
            problem = NotSaid(code=code_of(refused, call.client), message=refused.message)
            return msgspec.structs.replace(created, run_error=problem)
        assert isinstance(sent, Sent)  # what stops runs is not interpreted
        return msgspec.structs.replace(created, run_started=True, run_id=sent.run_id, status=sent.status)

    async def reset(self, _call: Call, params: ResetParams) -> Answer[WasReset]:
        """Stop a session's runs and let it start afresh."""
        _, key = self._target(RESET, params.key, params.agent_id)
        await self._expect(key, params.expected_session_id)
        row = await self.runner.sessions.reset(key)
        return Answer(WasReset(key=row.session_key, entry=_entry(row)))

    async def compact(self, _call: Call, params: CompactParams) -> Answer[Compacted]:
        """Keep the newest messages of a session, whole turns only."""
        _, key = self._target(COMPACT, params.key, params.agent_id)
        count = await self.runner.sessions.compact(key, params.max_lines)
        row = await self.runner.sessions.store.session(str(key))
        return Answer(Compacted(key=str(key), compacted=count > 0, kept=row.message_count if row else 0))

    async def delete(self, _call: Call, params: DeleteParams) -> Answer[Deleted]:
        """Stop a session's runs and delete it."""
        directory, store = self.shown.directory, self.runner.sessions.store
        key = await kept_session(DELETE, directory, store, key=params.key, agent_id=params.agent_id)
        if key == SessionKey(self.shown.directory.default.id, MAIN_KEY):
            raise InvalidRequestError(f"Cannot delete the main session ({key}).")
        await self._expect(key, params.expected_session_id)
        return Answer(Deleted(key=str(key), deleted=await self.runner.sessions.delete(key)))

    def _target(self, method: str, key: str, agent_id: str | None) -> tuple[Agent, SessionKey]:
        return find_session(method, self.shown.directory, agent_id=agent_id, key=key)

    def _model(self, agent: Agent, given: str) -> str:
        """Return the model that is meant; raises `GatewayError` for one that nobody offers."""
        model = permitted_model(agent, given, "model")
        self.runner.check((model,))
        return model

    async def _expect(self, key: SessionKey, session_id: str | None) -> None:
        if session_id is None:
            return
        row = await self.runner.sessions.store.session(str(key))
        if row is None or row.session_id != session_id:
            raise InvalidRequestError(f"Session {key} has changed: it is not {session_id!r} any more.")


def _entry(row: SessionRow) -> Entry:
    provider, _, model = (row.model or "").partition("/")
    return Entry(
        session_id=row.session_id,
        updated_at=milliseconds(row.updated_at),
        label=row.label or UNSET,
        model_override=model or UNSET,
        provider_override=provider or UNSET,
        thinking_level=row.thinking_level or UNSET,
        verbose_level=row.verbose_level or UNSET,
    )


def _line(method: str, label: str | UnsetType | None) -> str | UnsetType | None:
    if not isinstance(label, str):
        return label
    text = label.strip()
    if not text or not text.isprintable():
        raise invalid(method, "at /label: must be text on one line")
    return text


def _level(name: str, level: str | UnsetType | None, known: tuple[str, ...]) -> str | UnsetType | None:
    if not isinstance(level, str):
        return level
    word = level.strip().lower()
    if word not in known:
        raise InvalidRequestError(f"invalid {name} (use {'|'.join(known)})")
    return word
