"""From what a client asks for to a run: who answers, in which session, with what limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from openclaw_twisted.agents.directory import Agent, Directory
from openclaw_twisted.agents.target import permitted_model
from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.config.settings import Thinking
from openclaw_twisted.content import Message
from openclaw_twisted.errors import InvalidRequestError, StorageError
from openclaw_twisted.runs.recall import Recall
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.runner import UNASKABLE, Runner
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.ledger import Entry, Ledger

__all__ = ["MAX_KEY_CHARS", "Asked", "AskedThinking", "Starter", "wanted_thinking"]

MAX_KEY_CHARS = 256

AskedThinking = Thinking | Literal["", "default"]
"""How hard clients ask a model to think; with the last two they leave it to the session or the agent."""


def wanted_thinking(asked: AskedThinking | None) -> Thinking | None:
    """Return how hard a model is to think; None for as hard as it does anyway."""
    return None if not asked or asked == "default" else asked


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One message to an agent; `timeout_seconds` is None for the default, 0 for no limit."""

    key: str
    agent: Agent
    session_key: SessionKey
    message: Message
    model: str | None = None
    thinking: Thinking | None = None
    instructions: tuple[str, ...] = ()
    timeout_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Starter:
    """Starts the runs that clients ask for; the run's id is the idempotency key of the request.

    `now` gives seconds since the epoch; `timeout_seconds` bounds the runs that name no limit themselves.
    """

    runner: Runner
    directory: Directory
    now: Callable[[], float]
    recall: Recall
    timeout_seconds: float

    async def key_of(self, key: str | None, chosen_id: str | None) -> str | None:
        """Return the key that a client gives, or that of the session whose reported id it gives instead."""
        if key or not chosen_id:
            return key
        row = await self.runner.sessions.store.find_session(session_id=chosen_id.strip().lower())
        return None if row is None else row.session_key

    async def earlier(self, key: str, ledger: Ledger) -> Entry | None:
        """Return the entry of a key that is in use, or was before the last restart.

        When there is none, none can come before the caller awaits something else.
        """
        entry = ledger.find(key)
        if entry is not None:
            return entry
        run = await self.recall.find(ledger.claim(key))
        entry = ledger.find(key)  # somebody else may have recalled or started it meanwhile
        if entry is None and run is not None:
            return ledger.enter(key, run, accepted_at=run.started_at)
        return entry

    async def session_id(self, key: SessionKey) -> str:
        """Return what a session is reported as: its conversation's id, or without one its key."""
        try:
            row = await self.runner.sessions.store.session(str(key))
        except StorageError:  # what it was asked for has been done
            row = None
        return str(key) if row is None else row.session_id

    async def with_model(self, asked: Asked) -> Asked:
        """Return what is asked, of its session's own model where no other one can be asked."""
        try:
            self.check(asked)
        except UNASKABLE:
            own = None if asked.model else await self.runner.sessions.model_of(asked.session_key)
            return asked if own is None else replace(asked, model=own)
        return asked

    def check(self, asked: Asked) -> None:
        """Raise at once what keeps every model from answering, as `start` would."""
        self.runner.check(_models(asked.agent, asked.model))

    def start(self, asked: Asked, ledger: Ledger) -> Entry:
        """Start a run and enter it; raises what `Runner.start` raises, `InvalidRequestError`.

        Nothing may be awaited here: see `ledger`. A run of that id is somebody's of another door, and joined
        in its session only: elsewhere what is asked here would be lost.
        """
        run = self.runner.find(asked.key)
        if run is None:
            run = self.runner.start(self._request(asked, ledger))
        elif run.request.session_key != asked.session_key:
            raise InvalidRequestError(
                "This idempotencyKey is the id of a run in another session. Send a new one."
            )
        run.join()  # and never leave: whoever else was waiting, the run goes on without them
        return ledger.enter(asked.key, run, accepted_at=self.now())

    def _request(self, asked: Asked, ledger: Ledger) -> RunRequest:
        agent, models = asked.agent, _models(asked.agent, asked.model)
        return RunRequest(
            run_id=asked.key,
            agent_id=agent.id,
            session_key=asked.session_key,
            models=models,
            messages=(asked.message,),
            instructions=asked.instructions,
            sampling=Sampling(reasoning_effort=asked.thinking),
            model_chosen=bool(asked.model),
            claim=ledger.claim(asked.key),
            timeout_seconds=self.timeout_seconds if asked.timeout_seconds is None else asked.timeout_seconds,
        )


def _models(agent: Agent, asked_for: str | None) -> tuple[str, ...]:
    """Return the models to try, in order."""
    if not asked_for:
        return agent.candidates()
    return agent.candidates(permitted_model(agent, asked_for, "model"))
