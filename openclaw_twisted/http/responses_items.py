"""The items of a response while they grow: a message, a stretch of reasoning, a function call.

Each says in events what happens to it: that it begins, that there is more of it, that it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from msgspec import UNSET, UnsetType

from openclaw_twisted.events import ToolCallDelta
from openclaw_twisted.http import responses_events as out
from openclaw_twisted.http.responses_answer import (
    FunctionCallOut,
    ItemStatus,
    OutputItemOut,
    OutputMessageOut,
    OutputTextOut,
    ReasoningOut,
    SummaryTextOut,
)

__all__ = ["Called", "Events", "GrowingCall", "GrowingItem", "GrowingMessage", "GrowingReasoning"]

Events = Iterator[out.ResponseEvent]

Called = tuple[str, str]
"""A namespace, and the name of a function in it."""


class GrowingItem(Protocol):
    """An output item that is not complete yet."""

    def item(self, status: ItemStatus) -> OutputItemOut:
        """Return the item as it stands."""
        ...

    def begin(self) -> Events:
        """Tell that it begins."""
        ...

    def more(self, text: str) -> Events:
        """Add to it."""
        ...

    def end(self, status: ItemStatus) -> Events:
        """Tell all of it."""
        ...


class GrowingMessage:
    """A message."""

    def __init__(self, identifier: str, index: int) -> None:
        self._id = identifier
        self._index = index
        self._pieces: list[str] = []

    def item(self, status: ItemStatus) -> OutputMessageOut:
        """Return the item as it stands."""
        content = () if status == "in_progress" else (self._part(),)
        return OutputMessageOut(id=self._id, status=status, content=content)

    def begin(self) -> Events:
        """Tell that it begins."""
        yield out.ItemAdded(output_index=self._index, item=self.item("in_progress"))
        yield out.PartAdded(item_id=self._id, output_index=self._index, part=OutputTextOut(""))

    def more(self, text: str) -> Events:
        """Add to it."""
        self._pieces.append(text)
        yield out.TextDelta(item_id=self._id, output_index=self._index, delta=text)

    def end(self, status: ItemStatus) -> Events:
        """Tell all of it."""
        part = self._part()
        yield out.TextDone(item_id=self._id, output_index=self._index, text=part.text)
        yield out.PartDone(item_id=self._id, output_index=self._index, part=part)
        yield out.ItemDone(output_index=self._index, item=self.item(status))

    def _part(self) -> OutputTextOut:
        return OutputTextOut("".join(self._pieces))


class GrowingReasoning:
    """A stretch of reasoning."""

    def __init__(self, identifier: str, index: int) -> None:
        self._id = identifier
        self._index = index
        self._pieces: list[str] = []

    def item(self, status: ItemStatus) -> ReasoningOut:
        """Return the item as it stands."""
        summary = () if status == "in_progress" else (self._part(),)
        return ReasoningOut(id=self._id, summary=summary)

    def begin(self) -> Events:
        """Tell that it begins."""
        yield out.ItemAdded(output_index=self._index, item=self.item("in_progress"))
        yield out.SummaryPartAdded(item_id=self._id, output_index=self._index, part=SummaryTextOut(""))

    def more(self, text: str) -> Events:
        """Add to it."""
        self._pieces.append(text)
        yield out.SummaryDelta(item_id=self._id, output_index=self._index, delta=text)

    def end(self, status: ItemStatus) -> Events:
        """Tell all of it."""
        part = self._part()
        yield out.SummaryDone(item_id=self._id, output_index=self._index, text=part.text)
        yield out.SummaryPartDone(item_id=self._id, output_index=self._index, part=part)
        yield out.ItemDone(output_index=self._index, item=self.item(status))

    def _part(self) -> SummaryTextOut:
        return SummaryTextOut("".join(self._pieces))


class GrowingCall:
    """A function call; `called` says of which namespace the function is, and its name there."""

    def __init__(self, identifier: str, index: int, call: ToolCallDelta, *, called: Called | None) -> None:
        self._id = identifier
        self._index = index
        self._call_id = call.id or ""
        self._namespace: str | UnsetType = called[0] if called else UNSET
        self._name = called[1] if called else call.name or ""
        self._pieces: list[str] = []

    def item(self, status: ItemStatus) -> FunctionCallOut:
        """Return the item as it stands."""
        return FunctionCallOut(
            id=self._id,
            call_id=self._call_id,
            name=self._name,
            arguments="".join(self._pieces),
            status=status,
            namespace=self._namespace,
        )

    def begin(self) -> Events:
        """Tell that it begins."""
        yield out.ItemAdded(output_index=self._index, item=self.item("in_progress"))

    def more(self, text: str) -> Events:
        """Add to it."""
        if text:
            self._pieces.append(text)
            yield out.ArgumentsDelta(item_id=self._id, output_index=self._index, delta=text)

    def end(self, status: ItemStatus) -> Events:
        """Tell all of it."""
        call = self.item(status)
        yield out.ArgumentsDone(
            item_id=self._id, output_index=self._index, name=self._name, arguments=call.arguments
        )
        yield out.ItemDone(output_index=self._index, item=call)


_fit: tuple[type[GrowingItem], ...] = (GrowingMessage, GrowingReasoning, GrowingCall)
