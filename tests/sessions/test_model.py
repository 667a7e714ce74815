"""The SQLite store does what the memory store does, whatever is asked of them and in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, Usage
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.threaded_clock import ThreadedClock

KEYS = (
    "agent:main:main",
    "agent:main:openai-user:zoë",
    "agent:main:openai:1",
    "agent:main:openai:2",
    "agent:other:openai:1",
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.floats(0, 100)

messages = st.builds(
    Message,
    role=st.sampled_from(("system", "user", "assistant", "tool")),
    content=TEXTS
    | st.lists(st.builds(TextPart, TEXTS) | st.builds(ImagePart, TEXTS, TEXTS), max_size=2).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, id=TEXTS, name=TEXTS, arguments=TEXTS), max_size=2).map(tuple),
    name=st.none() | TEXTS,
)
runs = st.builds(
    RunRecord,
    run_id=st.sampled_from([f"run-{number}" for number in range(8)]),
    session_key=st.sampled_from(KEYS),
    agent_id=st.sampled_from(("main", "other")),
    model=TEXTS,
    status=st.sampled_from(("queued", "running", "finished", "failed", "cancelled", "interrupted")),
    started_at=TIMES,
    ended_at=st.none() | TIMES,
    finish_reason=st.none() | st.sampled_from(("stop", "length")),
    error_code=st.none() | TEXTS,
    usage=st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
turns = st.builds(
    TurnRecord, run=runs, messages=st.lists(messages, max_size=4).map(tuple), interrupted=st.booleans()
)


class TwoStores(RuleBasedStateMachine):
    """Does the same to both stores, and sees the same in both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.reactor = ThreadedClock()
        self.memory = MemoryStore(now=lambda: 50.0)
        self.sqlite = SqliteStore(self.reactor, Path(self.folder.name) / "sessions", now=lambda: 50.0)
        self.both("open")

    def both(self, method: str, *arguments: Any) -> None:
        expected, found = (
            self.reactor.result_of(getattr(store, method)(*arguments)) for store in (self.memory, self.sqlite)
        )
        assert found == expected, f"{method}{arguments}: {found} is not {expected}"

    @rule(run=runs)
    def begin(self, run: RunRecord) -> None:
        self.both("begin", run)

    @rule(turn=turns)
    def commit(self, turn: TurnRecord) -> None:
        self.both("commit", turn)

    @rule(turn=turns)
    def note(self, turn: TurnRecord) -> None:
        self.memory.note(turn)
        self.sqlite.note(turn)
        self.reactor.advance(1)
        self.both("begin", turn.run)  # stands behind the note in the queue

    @rule(before=TIMES)
    def prune(self, before: float) -> None:
        self.both("prune_stateless", before)

    @rule()
    def restart(self) -> None:
        self.both("close")
        self.both("open")

    @rule(key=st.sampled_from(KEYS), limit=st.integers(-1, 5))
    def look(self, key: str, limit: int) -> None:
        self.both("history", key, limit)
        self.both("sessions", limit)

    @invariant()
    def they_hold_the_same(self) -> None:
        self.both("sessions")
        for key in KEYS:
            self.both("history", key)
        for number in range(8):
            self.both("run", f"run-{number}")

    def teardown(self) -> None:
        self.both("close")
        self.folder.cleanup()


class ModelTests(SynchronousTestCase):
    def test_the_stores_agree(self):
        run_state_machine_as_test(
            TwoStores,
            settings=settings(
                max_examples=30,
                stateful_step_count=20,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
