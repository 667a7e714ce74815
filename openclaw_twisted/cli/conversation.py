"""What the command line and a gateway say to each other: requests, their answers, and signs of life.

    gateway  {"type":"event","event":"connect.challenge", ...}
    us       {"type":"req","id":"1:...","method":"connect","params":{...}}
    gateway  {"type":"res","id":"1:...","ok":true,"payload":{"type":"hello-ok", ...}}
    us       {"type":"req","id":"2:...","method":"agent","params":{...}}
    gateway  {"type":"res","id":"2:...","ok":true,"payload":{"status":"accepted", ...}}
    gateway  {"type":"res","id":"2:...","ok":true,"payload":{"status":"ok", ...}}

This is protocol 4 as OpenClaw's own gateway speaks it too. Bytes come in and go out here; who carries them
is `client`'s matter.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from openclaw_twisted.cli.ending import CommandError

__all__ = ["Channel", "ClosedError", "Conversation", "Refusal", "RefusedError", "status_of"]

CLOSE_TIMEOUT_SECONDS = 1.0
NORMAL_CLOSE = 1000
TICK_TIMEOUT_CLOSE = 4000
# A gateway that misses two of its own ticks is taken for dead, as OpenClaw's clients do.
MISSED_TICKS = 2


class Refusal(msgspec.Struct, frozen=True):
    """The error of a response: its code, a message for people, and details that depend on the code."""

    code: str = ""
    message: str = ""
    details: Any = None


class _Frame(msgspec.Struct, frozen=True):
    type: str
    id: str | None = None
    event: str | None = None
    ok: bool = False
    payload: msgspec.Raw = msgspec.Raw(b"null")
    error: Refusal | None = None


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="req"):
    id: str
    method: str
    params: Mapping[str, object]


class _Status(msgspec.Struct, frozen=True):
    status: Any = None


_FRAME = msgspec.json.Decoder(_Frame)
_STATUS = msgspec.json.Decoder(_Status)


class RefusedError(CommandError):
    """The gateway answered a request with an error; `payload` is the JSON text that came with it."""

    def __init__(self, refusal: Refusal, payload: bytes) -> None:
        super().__init__(refusal.message or refusal.code or "The gateway gave no reason.")
        self.refusal = refusal
        self.payload = payload

    @property
    def detail_code(self) -> str:
        """The finer code inside the details, or nothing."""
        details = self.refusal.details
        return str(details.get("code", "")) if isinstance(details, dict) else ""


class ClosedError(CommandError):
    """The connection ended while something was still to come."""


class Channel(Protocol):
    """Whatever carries the conversation's frames."""

    def send_frame(self, frame: bytes) -> None:
        """Send one text frame."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin to close the connection; `Conversation.lost` is called once it is gone."""
        ...

    def abort(self) -> None:
        """End the connection at once."""
        ...


class _Pending(NamedTuple):
    answer: Deferred[bytes]
    accepted: Callable[[bytes], None] | None


class Conversation:
    """One connection's requests in flight, its events and its watchdog; `over` tells why it ended."""

    def __init__(self, clock: IReactorTime, channel: Channel) -> None:
        self.challenged: Deferred[None] = Deferred()
        self.over: Deferred[ClosedError] = Deferred()
        self._clock = clock
        self._channel = channel
        self._pending: dict[str, _Pending] = {}
        self._sent = 0
        self._silence_seconds = 0.0
        self._watchdog: IDelayedCall | None = None
        self._listeners: dict[object, Callable[[str, bytes], None]] = {}
        self._lost: ClosedError | None = None
        self._gone: Deferred[None] = Deferred()

    def request(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        accepted: Callable[[bytes], None] | None = None,
    ) -> Deferred[bytes]:
        """Send a request; the Deferred gives the payload of its final response as JSON text.

        With `accepted`, a first response that says no more than that is handed to it. Fails with
        `RefusedError` and `ClosedError`; cancelling forgets the request.
        """
        self._sent += 1
        number = f"{self._sent}:{uuid.uuid4()}"
        answer: Deferred[bytes] = Deferred(lambda _: self._forget(number))
        if self._lost is not None:
            answer.errback(self._lost)
            return answer
        self._pending[number] = _Pending(answer, accepted)
        self._channel.send_frame(msgspec.json.encode(_Request(id=number, method=method, params=params)))
        return answer

    def _forget(self, number: str) -> None:
        self._pending.pop(number, None)

    def listen(self, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Have `heard` called with name and payload of every event, until what is returned is called.

        It must neither block nor raise.
        """
        ticket = object()
        self._listeners[ticket] = heard

        def stop() -> None:
            self._listeners.pop(ticket, None)

        return stop

    def received(self, data: bytes) -> None:
        """Take a frame of the gateway; one that makes no sense is ignored, as OpenClaw's clients do."""
        if self._watchdog is not None:
            self._watchdog.reset(self._silence_seconds)
        try:
            frame = _FRAME.decode(data)
        except msgspec.DecodeError:
            return
        if frame.type == "event" and frame.event == "connect.challenge" and not self.challenged.called:
            self.challenged.callback(None)
        elif frame.type == "res" and frame.id in self._pending:
            self._answered(frame.id, frame)
        elif frame.type == "event" and frame.event is not None:
            for heard in tuple(self._listeners.values()):
                heard(frame.event, bytes(frame.payload))

    def _answered(self, number: str, frame: _Frame) -> None:
        payload = bytes(frame.payload)
        waiting = self._pending[number]
        if frame.ok and waiting.accepted is not None and status_of(payload) == "accepted":
            waiting.accepted(payload)
            return
        del self._pending[number]
        if frame.ok:
            waiting.answer.callback(payload)
        else:
            waiting.answer.errback(RefusedError(frame.error or Refusal(), payload))

    def watch(self, tick_seconds: float) -> None:
        """Give the gateway up when nothing has come from it for two of its ticks."""
        self._silence_seconds = MISSED_TICKS * tick_seconds
        if self._lost is None:
            self._watchdog = self._clock.callLater(self._silence_seconds, self._silent)

    def _silent(self) -> None:
        self._watchdog = None
        self._channel.close(TICK_TIMEOUT_CLOSE, "tick timeout")
        seconds = f"{self._silence_seconds:g}"
        self._end(ClosedError(f"Nothing has come from the gateway for {seconds} s. Is it still running?"))

    def lost(self, why: ClosedError) -> None:
        """Learn that the connection is gone."""
        self._end(why)
        if not self._gone.called:
            self._gone.callback(None)

    def _end(self, why: ClosedError) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._lost is None:
            self._lost = why
            self.over.callback(why)
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            waiting.answer.errback(why)
        if not self.challenged.called:
            self.challenged.errback(why)

    async def close(self) -> None:
        """Close the connection and wait until it is gone; a gateway that does not play along is dropped."""
        if self._lost is None:
            self._channel.close(NORMAL_CLOSE, "")
        patience = self._clock.callLater(CLOSE_TIMEOUT_SECONDS, self._channel.abort)
        try:
            await self._gone
        finally:
            if patience.active():
                patience.cancel()


def status_of(payload: bytes) -> object:
    """Return the `status` of a payload, None if it has none."""
    try:
        return _STATUS.decode(payload).status
    except msgspec.DecodeError:
        return None
