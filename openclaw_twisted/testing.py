"""Fakes for our tests and for yours: a listener that keeps what it hears, and a runner without a network.

Nothing here patches anything: each fake implements a boundary or is handed in where the real one would be.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from openclaw_twisted import session_key
from openclaw_twisted.boundaries import Listener, Provider, SessionStore
from openclaw_twisted.content import Message
from openclaw_twisted.events import RunEvent, TextDelta
from openclaw_twisted.providers.scripted import Scripted
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.runner import Abilities, Runner
from openclaw_twisted.sessions.memory import MemoryStore

__all__ = ["Collector", "MemoryRuns", "run_request", "user"]


class Collector:
    """A listener that keeps the batches it hears."""

    def __init__(self) -> None:
        self.batches: list[tuple[RunEvent, ...]] = []

    @property
    def events(self) -> list[RunEvent]:
        """Every event, in order."""
        return [event for batch in self.batches for event in batch]

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Keep a batch."""
        self.batches.append(tuple(events))


class MemoryRuns:
    """A runner with its abilities in memory: a scripted provider, a memory store, a clock you advance."""

    def __init__(
        self,
        *scripts: Any,
        provider: Provider | None = None,
        lanes: Lanes | None = None,
        store: SessionStore | None = None,
        keep_stateless: bool = True,
        system_prompt: str = "",
    ) -> None:
        self.clock = Clock()
        self.provider = Scripted(*scripts)
        self.store = store if store is not None else MemoryStore()
        Deferred.fromCoroutine(self.store.open())
        self.prompt = system_prompt
        abilities = Abilities(
            provider=provider if provider is not None else self.provider,
            prompt=self._prompt,
            store=self.store,
            keep_stateless=keep_stateless,
        )
        self.runner = Runner(self.clock, abilities, lanes=lanes or Lanes(), now=self.clock.seconds)

    async def _prompt(self, _agent_id: str) -> str:
        return self.prompt


def user(text: str) -> Message:
    """Return a user message."""
    return Message(role="user", content=text)


def run_request(*messages: Message, key: str | None = None, **more: Any) -> RunRequest:
    """Return a request to agent `main`, stateless unless `key` names a session."""
    given: dict[str, Any] = {
        "run_id": str(uuid.uuid4()),
        "agent_id": "main",
        "session_key": session_key.parse(key, "main") if key else session_key.stateless("main"),
        "models": ("scripted/m",),
        "messages": messages or (user("hi"),),
    }
    return RunRequest(**given | more)


_fits: type[Listener] = Collector
