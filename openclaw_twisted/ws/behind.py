"""What is behind the WebSocket door, for the methods that clients call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.providers.context_windows import ContextWindows
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.ledger import Ledger
from openclaw_twisted.ws.session_payloads import Shown

__all__ = ["Behind", "Ledgers", "new_ledgers"]


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


@dataclass(frozen=True, kw_only=True)
class Behind:
    """What is behind the door: who runs agents, who there is, and what was configured.

    `now` gives seconds since the epoch.
    """

    runner: Runner
    directory: Directory
    loaded: Loaded
    now: Callable[[], float]

    @property
    def shown(self) -> Shown:
        """How sessions are shown."""
        runner = self.runner
        return Shown(
            directory=self.directory,
            active=lambda: {str(run.request.session_key) for run in runner.active()},
            context_tokens=ContextWindows(self.loaded.settings.models),
        )
