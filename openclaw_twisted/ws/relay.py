"""One run's events on their way to WebSocket clients.

Text comes in many small pieces, and every event repeats the whole of it, so pieces are gathered: the first is
told at once, what follows at most every `DELTA_SECONDS`, and what is left before the end. That is what the
clients of version 3 are used to (150 ms) and within what those of version 4 are (60 to 150 ms). Nobody who
listens here ever holds a run up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from openclaw_twisted import errors
from openclaw_twisted.boundaries import Listener
from openclaw_twisted.content import ToolCall, text_of
from openclaw_twisted.errors import CancelledRunError, GatewayError, UpstreamTimeoutError
from openclaw_twisted.events import (
    ReasoningDelta,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
)
from openclaw_twisted.runs.run import Run
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.run_payloads import (
    AgentPayload,
    Assistant,
    ChatMessage,
    ChatPayload,
    ChatText,
    Data,
    ErrorKind,
    LifecycleEnd,
    LifecycleError,
    LifecycleStart,
    State,
    Stream,
    Thinking,
    ToolStart,
    stop_reason,
)
from openclaw_twisted.ws.tool_arguments import told_arguments

__all__ = ["DELTA_SECONDS", "Relay"]

DELTA_SECONDS = 0.15
TOOL_EVENTS = "tool-events"

_KINDS: tuple[tuple[type[GatewayError], ErrorKind], ...] = (
    (errors.ContextLengthError, "context_length"),
    (errors.UpstreamRateLimitError, "rate_limit"),
    (errors.UpstreamTimeoutError, "timeout"),
)


class _Text:
    """A text that grows, and how much of it has been told."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._told = 0
        self.characters = 0

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self.characters += len(piece)

    @property
    def waits(self) -> bool:
        return self.characters > self._told

    def tell(self) -> tuple[str, str]:
        """Return the whole text and what of it is new."""
        text = "".join(self._pieces)
        self._pieces = [text]
        told, self._told = self._told, self.characters
        return text, text[told:]


class Relay:
    """Listens to one run; `tell` takes the events, `gone` is called at the end.

    `now` gives seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        run: Run,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        tell: Callable[[Event], object],
        gone: Callable[[], object],
    ) -> None:
        self._run = run
        self._clock = clock
        self._now = now
        self._tell = tell
        self._gone = gone
        self._seq = 0
        self._answer = _Text()
        self._thoughts = _Text()
        self._beat: IDelayedCall | None = None
        self._live = False
        # What was said before anybody listened is told with the next words, not as a burst of old events.
        self._subscription = run.feed.subscribe(self)
        self._live = True

    def leave(self) -> None:
        """Stop listening: nobody is there to tell."""
        self._subscription.cancel()
        self._stop_beat()

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Take a batch; a defect of ours ends the telling, not the run."""
        try:
            self._take(events)
        except Exception:  # noqa: BLE001 - nothing is awaited here
            self._log.failure("run {run_id} can not be told any more", run_id=self._run.request.run_id)
            self.leave()
            self._gone()

    def _take(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            if isinstance(event, TextDelta):
                self._answer.add(event.text)
            elif isinstance(event, ReasoningDelta):
                self._thoughts.add(event.text)
            elif isinstance(event, RunStarted) and self._live:
                model = self._run.model
                self._agent("lifecycle", LifecycleStart(started_at=_ms(event.at), model=model))
            elif isinstance(event, RunFinished | RunFailed):
                self._end(event)
                return
        if self._live and self._beat is None and (self._answer.waits or self._thoughts.waits):
            self._say()

    def _say(self) -> None:
        """Tell what is new, and wait a moment before the next time."""
        self._beat = None
        if self._thoughts.waits or self._answer.waits:
            self._tell_text()
            self._beat = self._clock.callLater(DELTA_SECONDS, self._say)

    def _tell_text(self) -> None:
        if self._thoughts.waits:
            self._cumulative("thinking", Thinking, *self._thoughts.tell())
        if self._answer.waits:
            text, new = self._answer.tell()
            self._cumulative("assistant", Assistant, text, new)
            delta = self._chat("delta", message=self._message(text), delta_text=new)
            whole = msgspec.structs.replace(delta, delta_text=text, replace=True)
            self._post("chat", delta, whole=whole, key=(delta.run_id, "chat"))

    def _end(self, event: RunFinished | RunFailed) -> None:
        self._stop_beat()
        self._tell_text()
        if isinstance(event, RunFinished):
            self._finish(event)
        elif isinstance(self._run.stopped_by, CancelledRunError | UpstreamTimeoutError):
            self._abort(event, stop_reason(self._run.stopped_by))
        else:
            self._fail(event)
        self._gone()

    def _finish(self, event: RunFinished) -> None:
        for call in event.message.tool_calls:
            self._agent("tool", _tool_start(call))
        self._agent("lifecycle", self._ended(event.at, event.reason))
        text = text_of(event.message)
        self._post("chat", self._chat("final", message=self._message(text), stop_reason=event.reason))

    def _abort(self, event: RunFailed, reason: str) -> None:
        self._agent("lifecycle", self._ended(event.at, reason, aborted=True))
        text, _ = self._answer.tell()
        self._post("chat", self._chat("aborted", message=self._message(text), stop_reason=reason))

    def _fail(self, event: RunFailed) -> None:
        message = event.error.message
        self._agent("lifecycle", LifecycleError(error=message, ended_at=_ms(event.at)))
        kind: ErrorKind = next((kind for type_, kind in _KINDS if isinstance(event.error, type_)), "unknown")
        self._post("chat", self._chat("error", error_message=message, error_kind=kind))

    def _ended(self, at: float, reason: str, *, aborted: bool = False) -> LifecycleEnd:
        started_at = self._run.started_at
        return LifecycleEnd(
            started_at=_ms(started_at) if started_at else UNSET,
            ended_at=_ms(at),
            aborted=aborted or UNSET,
            stop_reason=reason,
        )

    def _cumulative(self, stream: Stream, kind: type[Assistant | Thinking], text: str, new: str) -> None:
        payload = self._next(stream, kind(text=text, delta=new))
        whole = msgspec.structs.replace(payload, data=kind(text=text, delta=text, replace=True))
        self._post("agent", payload, whole=whole, key=(self._run.request.run_id, stream))

    def _agent(self, stream: Stream, data: Data) -> None:
        self._post("agent", self._next(stream, data), cap=TOOL_EVENTS if stream == "tool" else None)

    def _next(self, stream: Stream, data: Data) -> AgentPayload:
        self._seq += 1
        request = self._run.request
        return AgentPayload(
            run_id=request.run_id,
            stream=stream,
            data=data,
            seq=self._seq,
            ts=_ms(self._now()),
            session_key=str(request.session_key),
            agent_id=request.agent_id,
            session_id=self._run.session_id or UNSET,
        )

    def _chat(self, state: State, **told: Any) -> ChatPayload:
        request = self._run.request
        return ChatPayload(
            run_id=request.run_id,
            session_key=str(request.session_key),
            agent_id=request.agent_id,
            seq=self._seq,
            state=state,
            **told,
        )

    def _message(self, text: str) -> ChatMessage | UnsetType:
        return ChatMessage(content=(ChatText(text),), timestamp=_ms(self._now())) if text else UNSET

    def _post(
        self,
        name: Literal["agent", "chat"],
        payload: AgentPayload | ChatPayload,
        *,
        whole: AgentPayload | ChatPayload | None = None,
        key: Hashable = None,
        cap: str | None = None,
    ) -> None:
        newest = Event(name, whole.told_to) if whole is not None else None
        self._tell(Event(name, payload.told_to, key=key, whole=newest, cap=cap))

    def _stop_beat(self) -> None:
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.cancel()


_fits: type[Listener] = Relay


def _tool_start(call: ToolCall) -> ToolStart:
    return ToolStart(name=call.name, tool_call_id=call.id, args=told_arguments(call.arguments))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
