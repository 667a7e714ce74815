"""An upstream on a clock, for what stands between a provider's wire and its sockets."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.answer import Answer, Body, Timeouts
from openclaw_twisted.providers.upstream import Address, Sender

__all__ = ["BASE", "URL", "Playing", "Reply"]

BASE = "http://127.0.0.1:8000/v1"
URL = f"{BASE}/chat/completions"

Reply = int | tuple[int, str] | UpstreamError | Deferred[Any]
"""A status, one with its Retry-After, what is raised instead, or when the answer comes."""


class Response:
    def __init__(self, status: int, retry_after: str | None) -> None:
        self.status = status
        self._retry_after = retry_after

    def header(self, name: bytes) -> str | None:
        return self._retry_after if name == b"retry-after" else None


class Playing:
    """An upstream that gives each key's answers in turn, the last one again and again, and notes the keys."""

    def __init__(self, clock: IReactorTime, **replies: list[Reply]) -> None:
        self._clock = clock
        self.replies = replies
        self.keys: list[str] = []
        self.bodies: list[Body] = []

    async def post(self, address: Address, body: bytes) -> Answer:
        key = address.headers["authorization"]
        self.keys.append(key)
        replies = self.replies[key]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, UpstreamError):
            raise reply
        if isinstance(reply, Deferred):
            await reply
            reply = 200
        status, retry_after = reply if isinstance(reply, tuple) else (reply, None)
        answer_body = Body(self._clock, Timeouts(), name="mock", sent_at=0.0)
        answer_body.makeConnection(StringTransport())
        if status == HTTPStatus.OK:
            self.bodies.append(answer_body)  # for the test to end
        else:
            answer_body.connectionLost(Failure(ResponseDone()))
        response: Any = Response(status, retry_after)
        return Answer(response, answer_body)


_fits: type[Sender] = Playing
