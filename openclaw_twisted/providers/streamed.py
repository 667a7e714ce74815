"""An answer that is streamed as SSE: asked for, read as it comes, and given up when nobody wants it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import NoReturn, Protocol

from openclaw_twisted.events import ProviderEvent
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.refusals import MAX_ERROR_BODY_BYTES, refusal

__all__ = ["MAX_TOKENS", "Reader", "counted", "streamed"]

_OK = int(HTTPStatus.OK)
MAX_TOKENS = 2**53
"""Above it a number in JSON is not exact, and no database keeps all of them."""


class Reader(Protocol):
    """What understands one API's answers: bytes in, events out."""

    finished: bool
    """Whether the answer is complete."""

    def feed(self, data: bytes) -> list[ProviderEvent]:
        """Return the events that `data` completes; raises `UpstreamError` for what is no answer."""
        ...

    def end(self) -> list[ProviderEvent]:
        """Return what the end of the body completes; raises `UpstreamError` when it came too early."""
        ...


async def streamed(
    ask: Callable[[], Awaitable[Answer]], *, name: str, reader: Reader
) -> AsyncGenerator[Sequence[ProviderEvent], None]:
    """Ask, and yield what each read from the answer's socket brings; `name` is the provider's in messages.

    Raises `UpstreamError` and its children. Closing it closes the connection, unless the answer is complete.
    """
    answer = await ask()
    try:
        if answer.status != _OK:
            await _refuse(answer, name)
        data = answer.body.arrived() or await answer.body.read()
        while True:
            events = reader.feed(data) if data else reader.end()
            if reader.finished:
                answer.body.drain()
            if events:
                yield events
            if reader.finished:
                return
            data = await answer.body.read()
    finally:
        answer.body.close()


def counted(told: int | None) -> int | None:
    """Return a number of tokens, or None for one that nobody can have counted."""
    return told if told is not None and 0 <= told <= MAX_TOKENS else None


async def _refuse(answer: Answer, name: str) -> NoReturn:
    raise refusal(
        name,
        answer.status,
        await answer.read_at_most(MAX_ERROR_BODY_BYTES),
        retry_after=answer.header(b"retry-after"),
        secrets=answer.secrets,
    )
