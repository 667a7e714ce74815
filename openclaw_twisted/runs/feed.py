"""One run's events on their way to its listeners: in order, in batches, with a replay for latecomers.

A listener subscribes and gets, first, everything so far (stretches of text joined, so that a replay
costs what the reply is long, not how many pieces it came in) and then each batch as it happens. A
listener that holds can pause: while any holding listener is paused, `flowing` makes the run wait,
which is what slows the upstream down to the speed of the slowest reader it is told to respect.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import Listener
from openclaw_twisted.events import ReasoningDelta, RunEvent, TextDelta

__all__ = ["Feed", "Subscription"]

# A model's small pieces weigh several times what they say, so so many are joined at the latest; and a
# replay is written in steps of an event, so no event becomes much longer than this.
MAX_PIECES = 256
JOINED_CHARACTERS = 4096


class Subscription:
    """A listener's hold on a feed: pause it, go on, or leave."""

    __slots__ = ("_feed",)

    def __init__(self, feed: Feed) -> None:
        # Not the listener, which holds this: they would outlive each other until the garbage is collected.
        self._feed = feed

    def pause(self) -> None:
        """Ask the run to wait; saying it twice changes nothing."""
        self._feed.hold(self)

    def resume(self) -> None:
        """Let the run go on."""
        self._feed.release(self)

    def cancel(self) -> None:
        """Stop listening."""
        self._feed.release(self)
        self._feed.leave(self)


class Feed:
    """The events of one run."""

    __slots__ = (
        *("_holding", "_listeners", "_so_far", "_stretch", "_stretch_characters", "_stretch_of", "_waiting"),
        *("stopped", "telling"),
    )

    def __init__(self) -> None:
        self._so_far: list[RunEvent] = []
        self._stretch: list[str] = []
        self._stretch_of: type[TextDelta | ReasoningDelta] = TextDelta
        self._stretch_characters = 0
        self._listeners: dict[Subscription, Listener] = {}
        self._holding: set[Subscription] = set()
        self._waiting: list[Deferred[None]] = []
        self.telling = False
        """Whether listeners are told something just now, by the run itself, which then waits for nothing."""
        self.stopped = False
        """Whether one of them has stopped the run while it was told something."""

    def subscribe(self, listener: Listener) -> Subscription:
        """Give `listener` all events so far and every one to come."""
        subscription = Subscription(self)
        self._end_stretch()
        if self._so_far:
            listener.run_events(tuple(self._so_far))
        self._listeners[subscription] = listener
        return subscription

    def publish(self, events: Sequence[RunEvent]) -> None:
        """Hand a batch to every listener."""
        self._keep(events)
        self.telling = True
        try:
            for listener in tuple(self._listeners.values()):
                listener.run_events(events)
        finally:
            self.telling = False

    def flowing(self) -> Deferred[None] | None:
        """Return None when nobody holds the run up, else a Deferred that fires when it may go on."""
        if not self._holding:
            return None
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    @property
    def held(self) -> bool:
        """Whether somebody holds the run up."""
        return bool(self._holding)

    def hold(self, subscription: Subscription) -> None:
        """Make the run wait for this subscription."""
        self._holding.add(subscription)

    def release(self, subscription: Subscription) -> None:
        """Stop waiting for this subscription."""
        self._holding.discard(subscription)
        while self._waiting and not self._holding:
            self._waiting.pop(0).callback(None)

    def leave(self, subscription: Subscription) -> None:
        """Forget this subscription."""
        self._listeners.pop(subscription, None)

    def _keep(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            if isinstance(event, self._stretch_of):
                self._stretch.append(event.text)
                self._stretch_characters += len(event.text)
                if self._stretch_characters >= JOINED_CHARACTERS:
                    self._end_stretch()
                continue
            if self._stretch:
                self._end_stretch()
            if isinstance(event, TextDelta | ReasoningDelta):
                self._stretch_of = type(event)
                self._stretch.append(event.text)
            else:
                self._so_far.append(event)
        if len(self._stretch) >= MAX_PIECES:
            self._end_stretch()

    def _end_stretch(self) -> None:
        """Keep the pieces since the last other event as one."""
        if self._stretch:
            self._so_far.append(self._stretch_of("".join(self._stretch)))
            self._stretch.clear()
            self._stretch_characters = 0
