"""Requests that may be repeated: the key that a client gave each of them, and the run that it started.

A key is entered together with the start of its run, with nothing awaited in between, so two requests with
one key cannot start two runs. While the run lasts its entry stays; when it has ended, what became of it is
kept for a while, and the oldest of these are forgotten first when there are too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.boundaries import Claim, Listener
from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.errors import CancelledRunError, GatewayError, UpstreamTimeoutError
from openclaw_twisted.events import RunEvent, RunFailed, RunFinished
from openclaw_twisted.runs.run import Run

__all__ = ["Ended", "Entry", "Ledger", "Ledgers", "new_ledgers"]


class Ended(Struct, frozen=True, kw_only=True):
    """What became of a run; `stopped` says that somebody or its time limit ended it, not a failure."""

    outcome: RunFinished | RunFailed
    seconds: float
    stopped: bool = False


class Entry:
    """One key's run: the facts that responses repeat, and its end once it is there."""

    def __init__(self, run: Run, accepted_at: float, when_ended: Callable[[], None]) -> None:
        """`accepted_at` is in seconds since the epoch."""
        request = run.request
        self.run_id = request.run_id
        self.session_key = request.session_key
        self.agent_id = request.agent_id
        self.model = run.model
        self.accepted_at = accepted_at
        self.ended: Ended | None = None
        self._run: Run | None = run
        self._when_ended = when_ended

    async def end(self) -> Ended:
        """Wait for the run's end; cancelling stops the waiting, not the run."""
        if self._run is not None:
            with suppress(GatewayError):  # `ended` tells it
                await self._run.result()
        assert self.ended is not None  # a run tells its listeners before those who wait
        return self.ended

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Note how the run ends, and let go of it."""
        last, run = events[-1], self._run
        if run is None or not isinstance(last, RunFinished | RunFailed):
            return
        self.ended = Ended(
            outcome=last,
            seconds=last.at - run.started_at if run.started_at else 0.0,
            stopped=isinstance(run.stopped_by, CancelledRunError | UpstreamTimeoutError),
        )
        self.model = run.model
        self._run = None
        self._when_ended()


class Ledger:
    """The repeatable requests of one method."""

    def __init__(self, clock: IReactorTime, method: str, *, keep_seconds: float, max_ended: int) -> None:
        self._scope = f"ws:{method}"
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._max_ended = max_ended
        self._entries: dict[str, Entry] = {}
        self._forget_at: OrderedDict[str, float] = OrderedDict()

    def find(self, key: str) -> Entry | None:
        """Return the entry of a key that is in use or not forgotten yet."""
        now = self._clock.seconds()
        while self._forget_at and next(iter(self._forget_at.values())) <= now:
            self._forget_oldest()
        return self._entries.get(key)

    def claim(self, key: str) -> Claim:
        """Return a key of this method as the store keeps it."""
        return Claim(scope=self._scope, key=key)

    def enter(self, key: str, run: Run, *, accepted_at: float) -> Entry:
        """Note that a key has started a run; `accepted_at` is in seconds since the epoch."""
        entry = Entry(run, accepted_at, lambda: self._ended(key))
        self._entries[key] = entry
        run.feed.subscribe(entry)
        return entry

    def _ended(self, key: str) -> None:
        self._forget_at[key] = self._clock.seconds() + self._keep_seconds
        if len(self._forget_at) > self._max_ended:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        key, _ = self._forget_at.popitem(last=False)
        del self._entries[key]


_fits: type[Listener] = Entry


@dataclass(frozen=True, kw_only=True)
class Ledgers:
    """What was asked of the methods that start runs; it outlives a change of the settings."""

    agent: Ledger
    chat: Ledger


def new_ledgers(clock: IReactorTime, limits: LimitsSettings) -> Ledgers:
    """Return empty ledgers."""

    def ledger(method: str) -> Ledger:
        kept = limits.max_idempotency_keys
        return Ledger(clock, method, keep_seconds=limits.idempotency_seconds, max_ended=kept)

    return Ledgers(agent=ledger("agent"), chat=ledger("chat.send"))
