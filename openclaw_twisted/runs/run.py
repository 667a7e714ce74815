"""One run: its feed, its result, who waits for it, and how it is stopped."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from openclaw_twisted.boundaries import RunStatus
from openclaw_twisted.content import Message
from openclaw_twisted.errors import CancelledRunError, GatewayError
from openclaw_twisted.events import RunFinished
from openclaw_twisted.runs.feed import Feed
from openclaw_twisted.runs.lifecycle import Lifecycle
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.turn import Reply

__all__ = ["Run", "RunSummary"]


class Run:
    """One run as its doors see it: listen to its feed, wait for its result, cancel it."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.key = str(request.session_key)
        self.stateless = request.session_key.stateless
        self.feed = Feed()
        self.lifecycle = Lifecycle()
        self.reply = Reply()
        self.added: tuple[Message, ...] = ()
        self.asked_at = 0.0
        self.started_at = 0.0
        self.turn_at: float | None = None
        self.stopped_by: GatewayError | None = None
        self.ending = False
        self.session_id = ""
        self.work: Deferred[RunFinished] | None = None
        self._audience = 0
        self._waiting: list[Deferred[RunFinished]] = []
        self._result: RunFinished | Failure | None = None

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        return self.lifecycle.status

    @property
    def model(self) -> str:
        """The model that answers; until one does, the one that is asked first."""
        return self.reply.model or self.request.models[0]

    @property
    def error(self) -> GatewayError | None:
        """What the run failed with, once it has."""
        failure = self._result.value if isinstance(self._result, Failure) else None
        return failure if isinstance(failure, GatewayError) else None

    def result(self) -> Deferred[RunFinished]:
        """Wait for the end; fails with the run's `GatewayError`.

        Cancelling stops the waiting, not the run.
        """
        waiter: Deferred[RunFinished] = Deferred(self._stop_waiting)
        self._waiting.append(waiter)
        if self._result is not None:
            self.settle(self._result)
        return waiter

    def cancel(self, reason: GatewayError | None = None) -> None:
        """Stop the run and close its upstream connection now; one that is over, or stopped, stays as it is.

        It is over as soon as its end is being stored: what is told must not differ from that.
        """
        if self.ending or self.stopped_by is not None or self._result is not None:
            return
        self.stopped_by = reason or CancelledRunError("The run was cancelled.")
        if self.feed.telling or self.work is None:
            # The run is not waiting for anything that could be cancelled: it is what calls us.
            self.feed.stopped = True
        else:
            self.work.cancel()

    def join(self) -> None:
        """Count somebody in for whom alone the run goes on."""
        self._audience += 1

    def leave(self) -> None:
        """Count somebody out; when the last one leaves before the end, the run is cancelled."""
        self._audience -= 1
        if self._audience == 0:
            self.cancel(CancelledRunError("The client went away."))

    def settle(self, result: RunFinished | Failure) -> None:
        """Tell everybody who waits how the run ended."""
        self._result = result
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    def forget_question(self) -> None:
        """Let go of what was asked: an ended run may be kept for those who repeat its request."""
        self.request = msgspec.structs.replace(self.request, messages=(), instructions=(), tools=())
        self.added = ()

    def _stop_waiting(self, waiter: Deferred[RunFinished]) -> None:
        self._waiting.remove(waiter)


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went, for whoever counts; times in seconds from when it was asked for.

    `first_token_seconds` is None when no answer began.
    """

    agent_id: str
    status: RunStatus
    seconds: float
    first_token_seconds: float | None
    prompt_tokens: int
    completion_tokens: int
