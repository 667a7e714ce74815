"""The states of a run.

    queued --begin--> running --finish--> finished
      |                  |----fail-----> failed
      |----fail--> failed|----cancel---> cancelled
      |----cancel--> cancelled

An ended run stays as it ended: whatever is said to it afterwards is a defect and raises.

Each request takes these steps, so this table is a plain one: Automat's takes seven calls for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from openclaw_twisted.boundaries import RunStatus

__all__ = ["Lifecycle", "NoStepError"]

_Step = Literal["begin", "finish", "fail", "cancel"]

_AFTER: Final[Mapping[tuple[RunStatus, _Step], RunStatus]] = {
    ("queued", "begin"): "running",
    ("queued", "fail"): "failed",
    ("queued", "cancel"): "cancelled",
    ("running", "finish"): "finished",
    ("running", "fail"): "failed",
    ("running", "cancel"): "cancelled",
}


class NoStepError(Exception):
    """A run cannot do this from where it stands: a defect of whoever told it to."""


class Lifecycle:
    """What can happen to a run, and where it stands: `status`, at first `queued`."""

    def __init__(self) -> None:
        self.status: RunStatus = "queued"

    def begin(self) -> None:
        """Let it run: its turn has come."""
        self._take("begin")

    def finish(self) -> None:
        """End it with its answer."""
        self._take("finish")

    def fail(self) -> None:
        """End it without an answer."""
        self._take("fail")

    def cancel(self) -> None:
        """End it because somebody stopped it."""
        self._take("cancel")

    def _take(self, step: _Step) -> None:
        after = _AFTER.get((self.status, step))
        if after is None:
            raise NoStepError(f"A run that is {self.status} cannot {step}.")
        self.status = after
