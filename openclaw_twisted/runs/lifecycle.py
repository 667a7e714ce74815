"""The states of a run.

    queued --begin--> running --finish--> finished
      |                  |----fail-----> failed
      |----fail--> failed|----cancel---> cancelled
      |----cancel--> cancelled

An ended run stays as it ended: whatever is said to it afterwards is a defect and raises.
"""

from __future__ import annotations

from typing import Protocol

from automat import TypeMachineBuilder

from openclaw_twisted.boundaries import RunStatus

__all__ = ["Lifecycle", "new_lifecycle"]


class Lifecycle(Protocol):
    """What can happen to a run, and where it stands."""

    def begin(self) -> None:
        """Let it run: its turn has come."""

    def finish(self) -> None:
        """End it with its answer."""

    def fail(self) -> None:
        """End it without an answer."""

    def cancel(self) -> None:
        """End it because somebody stopped it."""

    def status(self) -> RunStatus:
        """Return the word for the current state."""
        raise NotImplementedError


class _NoData:
    """The machine keeps nothing beside its state."""


def _build() -> TypeMachineBuilder[Lifecycle, _NoData]:
    builder = TypeMachineBuilder(Lifecycle, _NoData)
    queued, running = builder.state("queued"), builder.state("running")
    finished, failed, cancelled = (builder.state(name) for name in ("finished", "failed", "cancelled"))

    queued.upon(Lifecycle.begin).to(running).returns(None)
    running.upon(Lifecycle.finish).to(finished).returns(None)
    for alive in (queued, running):
        alive.upon(Lifecycle.fail).to(failed).returns(None)
        alive.upon(Lifecycle.cancel).to(cancelled).returns(None)
    queued.upon(Lifecycle.status).loop().returns("queued")
    running.upon(Lifecycle.status).loop().returns("running")
    finished.upon(Lifecycle.status).loop().returns("finished")
    failed.upon(Lifecycle.status).loop().returns("failed")
    cancelled.upon(Lifecycle.status).loop().returns("cancelled")
    return builder


_machine = _build().build()


def new_lifecycle() -> Lifecycle:
    """Return the lifecycle of a run that waits for its turn."""
    return _machine(_NoData())
