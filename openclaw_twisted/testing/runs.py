"""Runs without a network: a listener that keeps what it hears, and a runner whose abilities are in memory."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from openclaw_twisted import session_key
from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Listener, Provider, SessionStore
from openclaw_twisted.content import Message
from openclaw_twisted.events import RunEvent, TextDelta
from openclaw_twisted.providers.scripted import Scripted
from openclaw_twisted.runs.bus import LocalBus
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.opening import SessionRules
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.run import RunSummary
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
    """A runner with its abilities in memory: a scripted provider, a memory store, a clock you advance.

    `clock` is for those who need real time with it, `observe` for those who count.
    """

    def __init__(  # noqa: PLR0913 - whatever a test may want to put in its place
        self,
        *scripts: Any,
        provider: Provider | None = None,
        store: SessionStore | None = None,
        keep_stateless: bool = True,
        system_prompt: str = "",
        clock: Any = None,
        observe: Callable[[RunSummary], object] = lambda _summary: None,
        rules: SessionRules | None = None,
        apart: Apart | None = None,
    ) -> None:
        self.clock = clock if clock is not None else Clock()
        self.provider = Scripted(*scripts)
        self.store = store if store is not None else MemoryStore(now=self.clock.seconds)
        Deferred.fromCoroutine(self.store.open())
        self.prompt = system_prompt
        self.bus = LocalBus()
        self._abilities = abilities = Abilities(
            provider=provider if provider is not None else self.provider,
            prompt=self._prompt,
            store=self.store,
            keep_stateless=keep_stateless,
            bus=self.bus,
            rules=rules or SessionRules(),
            apart=apart or Apart(),
        )
        self.runner = Runner(self.clock, abilities, lanes=Lanes(), now=self.clock.seconds, observe=observe)

    def answer_with(self, provider: Provider) -> None:
        """Have another provider asked from now on, as after a change of the settings."""
        self.runner.take(dataclasses.replace(self._abilities, provider=provider))

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
