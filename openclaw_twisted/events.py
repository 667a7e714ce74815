"""What a provider says while it answers, and what a run says while it runs: two small unions.

Both travel in batches: a batch holds everything that became known at one moment (one read from the
upstream socket), so that a listener can turn it into one write.
"""

from __future__ import annotations

import msgspec

from openclaw_twisted.content import FinishReason, Message, Usage
from openclaw_twisted.errors import GatewayError

__all__ = [
    "Finished",
    "ModelAnswering",
    "ProviderEvent",
    "ReasoningDelta",
    "RunEvent",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "TextDelta",
    "ToolCallDelta",
]


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """More of what the model says it is thinking."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A tool call begins (`id` and `name` are set) or its arguments go on (`arguments` alone)."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Finished(msgspec.Struct, frozen=True):
    """The provider's last word for one model request; `usage` is None when it did not count."""

    reason: FinishReason
    usage: Usage | None = None


class ModelAnswering(msgspec.Struct, frozen=True):
    """An answer begins: `model`, as `provider/model`, gives it at its `tries`-th try.

    `instead_of` is the model that was asked for, where that is another one.
    """

    model: str
    tries: int = 1
    instead_of: str | None = None


ProviderEvent = TextDelta | ReasoningDelta | ToolCallDelta | Finished | ModelAnswering


class RunStarted(msgspec.Struct, frozen=True):
    """The run's turn has come; `at` is in seconds since the epoch."""

    at: float


class RunFinished(msgspec.Struct, frozen=True):
    """The run ended well: the whole assistant message, why it stopped, and the tokens of all its turns."""

    message: Message
    reason: FinishReason
    usage: Usage | None
    at: float


class RunFailed(msgspec.Struct, frozen=True):
    """The run ended without an answer; a cancelled run carries a `CancelledRunError`."""

    error: GatewayError
    at: float


RunEvent = RunStarted | ModelAnswering | TextDelta | ReasoningDelta | ToolCallDelta | RunFinished | RunFailed
