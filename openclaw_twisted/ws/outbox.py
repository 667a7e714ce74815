"""What one connection has to send: written at once while the client reads, queued while it does not.

    buffered <= soft limit       everything waits in order
    above the soft limit         of the cumulative events of one kind only the newest waits
    above the hard limit         the client is too slow: the connection is given up

Events get their numbers when they leave, so that a client finds no gap where something became obsolete. Those
of a run are held back for a moment from who has asked for it: that it was accepted is heard first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from msgspec import Struct

from openclaw_twisted.ws import frames
from openclaw_twisted.ws.event import Event

__all__ = ["Outbox"]


class _Waiting(Struct, frozen=True):
    data: bytes
    is_event: bool = False
    numbered: bool = False
    key: Hashable = None


class Outbox:
    """One connection's frames; `write` sends one, `give_up` is called when too many wait."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        give_up: Callable[[], object],
        *,
        soft_bytes: int,
        hard_bytes: int,
    ) -> None:
        self._write = write
        self._give_up = give_up
        self._soft_bytes = soft_bytes
        self._hard_bytes = hard_bytes
        self._queue: OrderedDict[int, _Waiting] = OrderedDict()
        self._newest: dict[Hashable, int] = {}
        self._ticket = 0
        self._sequence = 0
        self._paused = False
        self._held: list[tuple[Event, bool]] | None = None
        self.buffered_bytes = 0

    @property
    def paused(self) -> bool:
        """Whether the client does not read what was sent."""
        return self._paused

    def send(self, frame: bytes) -> None:
        """Send a whole frame, and the events that were held back for it."""
        if self._paused or self._queue:
            self._wait(_Waiting(frame))
        else:
            self._write(frame)
        if self._held is not None:
            self._release()

    def hold(self) -> None:
        """Hold events back until the next whole frame."""
        if self._held is None:
            self._held = []

    def post(self, event: Event, *, speaks_4: bool) -> None:
        """Send an event."""
        if self._held is not None:
            self._held.append((event, speaks_4))
        elif self._paused or self._queue:
            self._wait_with(event, speaks_4=speaks_4)
        else:
            self._write(self._closed(event.opening(speaks_4=speaks_4), numbered=event.numbered))

    def pause(self) -> None:
        """Queue from now on."""
        self._paused = True

    def resume(self) -> None:
        """Send what is queued, until told to pause again."""
        self._paused = False
        while self._queue and not self._paused:
            self._write_next()

    def flush(self) -> None:
        """Send everything that is queued, whether it is read or not."""
        self._release()
        while self._queue:
            self._write_next()

    def clear(self) -> None:
        """Forget what is queued."""
        self._queue.clear()
        self._newest.clear()
        self._held = None
        self.buffered_bytes = 0

    def _release(self) -> None:
        held, self._held = self._held, None
        for event, speaks_4 in held or ():
            self.post(event, speaks_4=speaks_4)

    def _wait_with(self, event: Event, *, speaks_4: bool) -> None:
        key = event.key
        if key is not None and self.buffered_bytes > self._soft_bytes and self._drop(key):
            event = event.whole or event
        opening = event.opening(speaks_4=speaks_4)
        self._wait(_Waiting(opening, is_event=True, numbered=event.numbered, key=key))

    def _wait(self, waiting: _Waiting) -> None:
        self._ticket += 1
        self._queue[self._ticket] = waiting
        if waiting.key is not None:
            self._newest[waiting.key] = self._ticket
        self.buffered_bytes += len(waiting.data)
        if self.buffered_bytes > self._hard_bytes:
            self.clear()
            self._give_up()

    def _drop(self, key: Hashable) -> bool:
        obsolete = self._queue.pop(self._newest.pop(key, 0), None)
        if obsolete is None:
            return False
        self.buffered_bytes -= len(obsolete.data)
        return True

    def _write_next(self) -> None:
        ticket, waiting = self._queue.popitem(last=False)
        if self._newest.get(waiting.key) == ticket:
            del self._newest[waiting.key]
        self.buffered_bytes -= len(waiting.data)
        data = waiting.data
        self._write(self._closed(data, numbered=waiting.numbered) if waiting.is_event else data)

    def _closed(self, opening: bytes, *, numbered: bool) -> bytes:
        if not numbered:
            return frames.close(opening)
        self._sequence += 1
        return frames.close(opening, self._sequence)
