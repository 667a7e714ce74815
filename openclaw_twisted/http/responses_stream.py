"""A run's events as a response: one object that grows, and the typed events that tell of it.

The theory: output items stand in the order in which they began. A message or a stretch of reasoning ends
when something else begins; calls stay open to the end, because pieces of several may come by turns. Whole
answers are made of the same events as streams, so that the two cannot differ.

A stream that fails ends with `response.failed`, and then an `error` event: OpenAI's own clients hand the
first one on and raise the second, so nobody takes half an answer for a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from openclaw_twisted.boundaries import Listener
from openclaw_twisted.events import (
    ModelAnswering,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    RunFinished,
    TextDelta,
    ToolCallDelta,
)
from openclaw_twisted.http import responses_events as out
from openclaw_twisted.http.namespaces import name_within
from openclaw_twisted.http.responses_answer import (
    ItemStatus,
    NamespaceOut,
    OutputItemOut,
    ResponseOut,
    failure,
    incomplete_because,
    usage_out,
)
from openclaw_twisted.http.responses_items import (
    Called,
    Events,
    GrowingCall,
    GrowingItem,
    GrowingMessage,
    GrowingReasoning,
)
from openclaw_twisted.http.stream import EventEncoder, model_used
from openclaw_twisted.runs.run import Run
from openclaw_twisted.sse import DONE, encode

__all__ = ["ResponseEncoder", "ResponseProgress", "whole_response"]

_encode_json = msgspec.json.Encoder().encode


class ResponseProgress:
    """A response that grows with its run's events; `response` is how it stands, and in the end the answer."""

    def __init__(self, response: ResponseOut) -> None:
        self.response = response
        self._items: list[GrowingItem] = []
        self._ended: dict[GrowingItem, OutputItemOut] = {}
        self._speaking: GrowingMessage | GrowingReasoning | None = None
        self._calls: dict[int, GrowingCall] = {}
        self._called = _in_namespaces(response)
        self._told = 0

    def opening(self) -> list[out.ResponseEvent]:
        """Return what is told before anything is known."""
        begun = out.ResponseCreated(response=self.response)
        return self._numbered(iter((begun, out.ResponseInProgress(response=self.response))))

    def take(self, event: RunEvent) -> list[out.ResponseEvent]:
        """Return what an event of the run means to the response."""
        return self._numbered(self._take(event))

    def _numbered(self, events: Events) -> list[out.ResponseEvent]:
        numbered = []
        for event in events:
            event.sequence_number = self._told
            self._told += 1
            numbered.append(event)
        return numbered

    def _take(self, event: RunEvent) -> Events:
        match event:
            case TextDelta():
                yield from self._speak(GrowingMessage, "msg", event.text)
            case ReasoningDelta():
                yield from self._speak(GrowingReasoning, "rs", event.text)
            case ToolCallDelta():
                yield from self._call(event)
            case RunFinished():
                yield from self._finish(event)
            case RunFailed():
                yield from self._fail(event)

    def _speak(self, kind: type[GrowingMessage | GrowingReasoning], prefix: str, text: str) -> Events:
        speaking = self._speaking
        if not isinstance(speaking, kind):
            yield from self._hush("completed")
            speaking = self._speaking = kind(self._new_id(prefix, len(self._items)), len(self._items))
            self._items.append(speaking)
            yield from speaking.begin()
        if text:
            yield from speaking.more(text)

    def _call(self, piece: ToolCallDelta) -> Events:
        call = self._calls.get(piece.index)
        if call is None:
            yield from self._hush("completed")
            call = self._calls[piece.index] = GrowingCall(
                self._new_id("fc", len(self._calls)),
                len(self._items),
                piece,
                called=self._called.get(piece.name or ""),
            )
            self._items.append(call)
            yield from call.begin()
        yield from call.more(piece.arguments)

    def _hush(self, status: ItemStatus) -> Events:
        """End what is being said or thought."""
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            yield from self._end(speaking, status)

    def _end(self, item: GrowingItem, status: ItemStatus) -> Events:
        self._ended[item] = item.item(status)
        yield from item.end(status)

    def _finish(self, event: RunFinished) -> Events:
        details = incomplete_because(event.reason)
        status: ItemStatus = "incomplete" if details else "completed"
        if not self._calls and not any(isinstance(item, GrowingMessage) for item in self._items):
            yield from self._speak(GrowingMessage, "msg", "")  # clients wait for something that is said
        yield from self._hush(status)
        for call in self._calls.values():
            yield from self._end(call, status)
        self.response = replace(
            self.response,
            status="incomplete" if details else "completed",
            completed_at=None if details else int(event.at),
            incomplete_details=details,
            output=self._output(),
            usage=usage_out(event.usage) if event.usage else None,
        )
        if details:
            yield out.ResponseIncomplete(response=self.response)
        else:
            yield out.ResponseCompleted(response=self.response)

    def _fail(self, event: RunFailed) -> Events:
        error = event.error
        self.response = replace(self.response, status="failed", error=failure(error), output=self._output())
        yield out.ResponseFailed(response=self.response)
        told = out.ErrorOut(message=error.message, type=error.kind, param=error.param, code=error.code)
        yield out.ErrorEvent(code=error.code, message=error.message, param=error.param, error=told)

    def _output(self) -> tuple[OutputItemOut, ...]:
        return tuple(self._ended.get(item) or item.item("incomplete") for item in self._items)

    def _new_id(self, prefix: str, at: int) -> str:
        """Return an item's id, which `item_references` can read: calls count by themselves."""
        return f"{prefix}_{self.response.id.removeprefix('resp_')}_{at}"


def _in_namespaces(response: ResponseOut) -> dict[str, Called]:
    """Return the functions that are in namespaces by the names that models know them by."""
    spaces = (tool for tool in response.tools if isinstance(tool, NamespaceOut))
    return {
        name_within(space.name, function.name): (space.name, function.name)
        for space in spaces
        for function in space.tools
    }


class ResponseEncoder:
    """Run events as the events of a response; `comments` says whether other lines may be among them."""

    def __init__(self, response: ResponseOut, *, comments: bool = True) -> None:
        self._comments = comments
        self._progress = ResponseProgress(response)

    def opening(self) -> bytes:
        """Return the events that tell that the response begins."""
        return b"".join(map(_encoded, self._progress.opening()))

    def encode(self, event: RunEvent) -> bytes:
        """Return the events for an event of the run; its last one ends the stream."""
        written = b"".join(map(_encoded, self._progress.take(event)))
        match event:
            case ModelAnswering():
                return model_used(event, self.nothing) + written if self._comments else written
            case RunFinished() | RunFailed():
                return written + DONE
            case _:
                return written

    def nothing(self) -> bytes:
        """Return a blank line, since every event of a response tells something."""
        return b"\n"


def _encoded(event: out.ResponseEvent) -> bytes:
    return encode(_encode_json(event), event=str(event.__struct_config__.tag))


class _Reading:
    """Reads a run's events into a response."""

    def __init__(self, progress: ResponseProgress) -> None:
        self._progress = progress

    def run_events(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            self._progress.take(event)


def whole_response(response: ResponseOut, run: Run) -> bytes:
    """Return the response of a run that has finished, as JSON."""
    progress = ResponseProgress(response)
    run.feed.subscribe(_Reading(progress)).cancel()
    return _encode_json(progress.response)


_fits: tuple[type[EventEncoder], type[Listener]] = (ResponseEncoder, _Reading)
