"""Requests that are sent again: who repeats one joins its run instead of starting a second one.

A run is entered under the key that its request carries, in the same moment in which it starts, so two
requests that arrive together cannot start two runs. It is found while it lasts and, if it ended well,
for a while after; a failed or cancelled run is forgotten, because trying that again is the point of
repeating. The oldest ended runs are forgotten first when there are too many, or when what they said is too
much: nearly every run of OpenAI's own clients is remembered, and each holds its answer about twice.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.content import size_of
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.events import RunFinished
from openclaw_twisted.runs.recall import OTHER_REQUEST
from openclaw_twisted.runs.run import Run

__all__ = ["MAX_KEPT_CHARACTERS", "Repeats"]

MAX_KEPT_CHARACTERS: Final = 32 * 1024 * 1024


class _Ended(NamedTuple):
    forget_at: float
    characters: int


class Repeats:
    """The runs that a repeated request may join, by key."""

    def __init__(self, clock: IReactorTime, *, keep_seconds: float, max_kept: int) -> None:
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._max_kept = max_kept
        self._runs: dict[str, tuple[Run, bytes]] = {}
        self._ended: OrderedDict[str, _Ended] = OrderedDict()
        self._characters = 0

    def find(self, key: str, body_digest: bytes) -> Run | None:
        """Return the run to join; raises `InvalidRequestError` if its request was another one.

        One that is being stopped is as good as cancelled, however long it takes to be recorded as that.
        """
        self._forget_old()
        found = self._runs.get(key)
        if found is None:
            return None
        run, digest = found
        if digest != body_digest:
            raise InvalidRequestError(OTHER_REQUEST)
        return run if run.stopped_by is None else None

    def enter(self, key: str, run: Run, body_digest: bytes) -> None:
        """Note that a request has started a run."""
        self._forget_old()
        self.forget(key)
        self._runs[key] = (run, body_digest)
        run.result().addCallbacks(self._keep, self._forget, callbackArgs=(key, run), errbackArgs=(key, run))

    def forget(self, key: str) -> None:
        """Have nobody join what this key has started: the same is asked as a request of its own."""
        self._runs.pop(key, None)
        ended = self._ended.pop(key, None)
        if ended is not None:
            self._characters -= ended.characters

    def _keep(self, finished: RunFinished, key: str, run: Run) -> None:
        if self._is_current(key, run):
            characters = size_of((finished.message,))
            self._ended[key] = _Ended(self._clock.seconds() + self._keep_seconds, characters)
            self._characters += characters
            while len(self._ended) > self._max_kept or self._characters > MAX_KEPT_CHARACTERS:
                self.forget(next(iter(self._ended)))

    def _forget(self, _failure: object, key: str, run: Run) -> None:
        if self._is_current(key, run):
            del self._runs[key]

    def _is_current(self, key: str, run: Run) -> bool:
        return key in self._runs and self._runs[key][0] is run

    def _forget_old(self) -> None:
        now = self._clock.seconds()
        while self._ended and next(iter(self._ended.values())).forget_at <= now:
            self.forget(next(iter(self._ended)))
