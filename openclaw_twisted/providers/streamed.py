"""An answer that is streamed as SSE: asked for, read as it comes, and given up when nobody wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NoReturn, Protocol

from openclaw_twisted.boundaries import Batches, Taker
from openclaw_twisted.events import ProviderEvent
from openclaw_twisted.providers.answer import Answer, Body
from openclaw_twisted.providers.refusals import MAX_ERROR_BODY_BYTES, refusal
from openclaw_twisted.sse import MAX_EVENT_BYTES, encode

__all__ = ["MAX_TOKENS", "Reader", "counted", "streamed"]

_OK = int(HTTPStatus.OK)
MAX_TOKENS = 2**53
"""Above it a number in JSON is not exact, and no database keeps all of them."""


class Reader(Protocol):
    """What understands one API's answers: bytes in, events out."""

    finished: bool
    """Whether the answer is complete."""
    secrets: tuple[str, ...]
    """Texts that must not be passed on, whatever the upstream says."""

    def feed(self, data: bytes) -> list[ProviderEvent]:
        """Return the events that `data` completes; raises `UpstreamError` for what is no answer."""
        ...

    def end(self) -> list[ProviderEvent]:
        """Return what the end of the body completes; raises `UpstreamError` when it came too early."""
        ...


async def streamed(ask: Callable[[], Awaitable[Answer]], *, name: str, reader: Reader) -> Batches:
    """Ask, and yield what each read from the answer's socket brings; `name` is the provider's in messages.

    Raises `UpstreamError` and its children. Closing it closes the connection, unless the answer is complete.
    """
    answer = await ask()
    body, taker = answer.body, None
    try:
        if answer.status != _OK:
            await _refuse(answer, name)
        reader.secrets = answer.secrets
        data = body.arrived() or await body.read()
        if data[:1] == b"{":  # JSON instead of a stream: an error, or all in one piece
            data += await answer.read_at_most(MAX_EVENT_BYTES)
            data = encode(b"".join(data.splitlines()))
        while True:
            events = reader.feed(data) if data else reader.end()
            if reader.finished:
                body.drain()
            if events:
                taker = yield events
            if taker is not None and not reader.finished:
                await _pour(body, reader, taker)
                data = b""
            elif not reader.finished:
                data = await body.read()
            if reader.finished:
                return
    finally:
        body.close()


async def _pour(body: Body, reader: Reader, taker: Taker) -> None:
    """Hand `taker` what comes, up to the end of the answer or of its body."""
    held_up: Awaitable[None] | None = None

    def take(data: bytes) -> bool:
        nonlocal held_up
        events = reader.feed(data)
        if reader.finished:
            body.drain()
        if events:
            held_up = taker(events)
        return held_up is None and not reader.finished

    await body.pour(take)
    while held_up is not None:
        waited_for, held_up = held_up, None
        await waited_for
        if not reader.finished:
            await body.pour(take)


def counted(told: Any) -> int | None:
    """Return a number of tokens, or None for what nobody can have counted."""
    if isinstance(told, float) and told.is_integer():
        told = int(told)
    return told if type(told) is int and 0 <= told <= MAX_TOKENS else None


async def _refuse(answer: Answer, name: str) -> NoReturn:
    raise refusal(
        name,
        answer.status,
        await answer.read_at_most(MAX_ERROR_BODY_BYTES),
        retry_after=answer.retry_after,
        secrets=answer.secrets,
    )
