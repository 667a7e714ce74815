"""What is kept of sessions and runs, and what is said about them: plain records.

The store keeps them, the pipeline writes them, the doors show them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from openclaw_twisted.content import FinishReason, Message, Usage

__all__ = [
    "MAX_HISTORY_CHARACTERS",
    "MAX_HISTORY_MESSAGES",
    "Claim",
    "Conversation",
    "Pruned",
    "Recollection",
    "Retention",
    "RunRecord",
    "RunStatus",
    "SessionChange",
    "SessionChangeReason",
    "SessionPage",
    "SessionPatch",
    "SessionQuery",
    "SessionRow",
    "StoredMessage",
    "TurnRecord",
]

MAX_HISTORY_MESSAGES: Final = 1000
"""How many messages of the past a turn is given at most."""

MAX_HISTORY_CHARACTERS: Final = 8 * 1024 * 1024
"""After how many characters a turn is given no more of the past: images are few tokens, but many of these.

No text is so long that a model takes it. Providers take 32 MB at most, of which a request alone may have 20.
"""

RunStatus = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run: who answered, how it ended, what it cost. Times in seconds since the epoch."""

    run_id: str
    session_key: str
    agent_id: str
    model: str
    status: RunStatus
    started_at: float
    ended_at: float | None = None
    finish_reason: FinishReason | None = None
    error_code: str | None = None
    usage: Usage | None = None
    error_message: str | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An idempotency key in use: whose it is (`scope`), and a digest of the request that came with it."""

    scope: str
    key: str
    digest: bytes = b""


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the store keeps it: `seq` counts from 1 for each session key, resets do not start it anew.

    `interrupted` marks an assistant message that was cut off and is no complete answer.
    """

    seq: int
    run_id: str
    at: float
    message: Message
    interrupted: bool = False


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run with the messages it added to its session, written as a whole or not at all."""

    run: RunRecord
    messages: tuple[Message, ...]
    interrupted: bool = False
    claim: Claim | None = None


class Recollection(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the run behind an idempotency key; `answer` is there when it finished."""

    claim: Claim
    run: RunRecord
    answer: Message | None = None


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is listed; times in seconds since the epoch.

    `session_id` names this conversation and is another one after a reset, `started_at` is when it began,
    `message_count` how many messages it has; `last_seq` counts all that there ever were under this key.
    `title` is how its user began, `preview` what was said last; sessions of one request have neither.
    `label`, `model`, the levels and `options` are what somebody chose for the session. The tokens are those
    of all its runs, `context_tokens` those of the last one: what the conversation takes up by now.
    """

    session_key: str
    agent_id: str
    session_id: str
    created_at: float
    started_at: float
    updated_at: float
    message_count: int = 0
    last_seq: int = 0
    title: str | None = None
    preview: str | None = None
    label: str | None = None
    model: str | None = None
    thinking_level: str | None = None
    verbose_level: str | None = None
    options: dict[str, Any] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    context_tokens: int | None = None


class SessionPatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to change of a session's choices: UNSET leaves a value as it is, None clears it."""

    label: str | UnsetType | None = UNSET
    model: str | UnsetType | None = UNSET
    thinking_level: str | UnsetType | None = UNSET
    verbose_level: str | UnsetType | None = UNSET
    options: dict[str, Any] = {}


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions to list: those of an agent, used since a time, with a text in key, id, label or title.

    Letters from A to Z match in either case. `stateless` says whether sessions of one request count.
    """

    limit: int = 100
    offset: int = 0
    agent_id: str | None = None
    active_since: float | None = None
    search: str | None = None
    stateless: bool = True


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a listing, and how many sessions match in all."""

    rows: tuple[SessionRow, ...]
    total: int


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A session as a turn finds it; `session` is None when it is new.

    `tokens` is what the messages come to, by `content.estimated_tokens`. `opening` are the system messages
    that it began with, where those are not among them.
    """

    session: SessionRow | None
    messages: tuple[StoredMessage, ...] = ()
    tokens: int = 0
    opening: tuple[Message, ...] = ()


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What may be deleted; None keeps everything of its kind.

    Sessions of one request last used before `stateless_before`, others before `unused_before`; of those the
    longest unused beyond `max_sessions`; messages archived before `archived_before`. A store of more than
    `max_bytes` gives up archives, then the longest unused sessions, until `target_bytes` are left. The
    sessions `keep` stay. With `running`, runs that are none of these and have no end get one.
    """

    stateless_before: float | None = None
    unused_before: float | None = None
    archived_before: float | None = None
    max_sessions: int | None = None
    max_bytes: int | None = None
    target_bytes: int | None = None
    keep: frozenset[str] = frozenset()
    running: frozenset[str] | None = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """How much was deleted: sessions of either kind, archives, lost runs that ended; and the size now."""

    stateless: int = 0
    sessions: int = 0
    archives: int = 0
    runs: int = 0
    size_bytes: int = 0


SessionChangeReason = Literal["create", "patch", "reset", "delete", "compact", "message", "start", "end"]


class SessionChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a session is different now: `at`, in seconds since the epoch.

    `start` and `end` are those of a run, `message` says that a turn's messages have been kept; the other
    reasons are what somebody did to the session. `session_id` is told of one that is deleted.
    """

    session_key: str
    agent_id: str
    reason: SessionChangeReason
    at: float
    session_id: str = ""
