"""A provider that replays a script, for tests and demonstrations; asked for by name only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import Batches, ModelRequest, Provider
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import GatewayError, UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta

__all__ = ["Pause", "Scripted", "Step", "reply"]


class Pause:
    """A place in a script where the provider waits until the test lets it go on."""

    def __init__(self) -> None:
        self._go: Deferred[None] = Deferred(self._cancel)
        self.reached = False
        self.cancelled = False

    def go_on(self) -> None:
        """Let the provider continue."""
        self._go.callback(None)

    async def wait(self) -> None:
        """Wait for `go_on`."""
        self.reached = True
        await self._go

    def _cancel(self, _go: Deferred[None]) -> None:
        self.cancelled = True


Step = Sequence[ProviderEvent] | Pause | GatewayError


def reply(*pieces: str, usage: Usage | None = None) -> list[Step]:
    """Return the script of an answer that arrives in `pieces`, one batch each."""
    return [*([TextDelta(piece)] for piece in pieces), [Finished("stop", usage)]]


class Scripted:
    """Answers each request with the next script.

    `requests` keeps what was asked, `closed` counts the answers that were cut off or failed.
    """

    def __init__(self, *scripts: Iterable[Step]) -> None:
        self._scripts = deque(scripts)
        self.requests: list[ModelRequest] = []
        self.closed = 0

    def add(self, *scripts: Iterable[Step]) -> None:
        """Append scripts for requests to come."""
        self._scripts.extend(scripts)

    def check(self, model: str) -> None:
        """Every model name is as good as another."""

    async def respond(self, request: ModelRequest) -> Batches:
        """Replay the next script."""
        self.requests.append(request)
        if not self._scripts:
            raise UpstreamError("The script has no more answers.")
        try:
            for step in self._scripts.popleft():
                if isinstance(step, Pause):
                    await step.wait()
                elif isinstance(step, GatewayError):
                    raise step  # noqa: TRY301 - a scripted failure is as good as any other way to stop
                else:
                    yield step
        except BaseException:
            self.closed += 1
            raise


_fits: type[Provider] = Scripted
