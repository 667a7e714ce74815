"""What is behind the WebSocket door, for the methods that clients call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.providers.context_windows import ContextWindows
from openclaw_twisted.runs.runner import Runner

if TYPE_CHECKING:
    from openclaw_twisted.ws.session_payloads import Shown

__all__ = ["Behind"]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """What is behind the door: who runs agents, who there is, and what was configured.

    `now` gives seconds since the epoch, `dropped` hears why a connection was not kept, `is_well` tells
    whether requests can be answered.
    """

    runner: Runner
    directory: Directory
    loaded: Loaded
    now: Callable[[], float]
    dropped: Callable[[str], object] = lambda _reason: None
    is_well: Callable[[], bool] = lambda: True

    @property
    def shown(self) -> Shown:
        """How sessions are shown."""
        from openclaw_twisted.ws.session_payloads import Shown  # with the door: see `entrance`

        runner = self.runner
        return Shown(
            directory=self.directory,
            active=lambda: {str(run.request.session_key) for run in runner.active()},
            context_tokens=ContextWindows(self.loaded.settings.models),
        )
