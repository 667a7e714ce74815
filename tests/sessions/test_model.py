"""The SQLite store does what the memory store does, whatever is asked of them and in whatever order.

`python -m tests.sessions.test_model` takes ten thousand steps instead of a few hundred.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec import UNSET
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import (
    Claim,
    Conversation,
    Pruned,
    Retention,
    RunRecord,
    SessionPage,
    SessionPatch,
    SessionQuery,
    SessionRow,
    SessionStore,
    TurnRecord,
)
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, Usage
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.sessions.sqlite import SqliteStore
from openclaw_twisted.sessions.turns import ClaimLimits
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


def _has_no_nul(text: str) -> bool:
    return "\0" not in text  # SQLite's texts end there when they are compared in lower case


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
claims = st.builds(
    Claim,
    scope=st.sampled_from(("http:a", "ws:agent")),
    key=st.sampled_from("abc"),
    digest=st.binary(max_size=2),
)
turns = st.builds(
    TurnRecord,
    run=runs,
    messages=st.lists(messages, max_size=4).map(tuple),
    interrupted=st.booleans(),
    claim=st.none() | claims,
)
choices = st.none() | st.sampled_from(("a", "b", "Zoë"))
patches = st.builds(
    SessionPatch,
    label=choices | st.just(UNSET),
    model=choices | st.just(UNSET),
    thinking_level=choices,
    verbose_level=choices,
    options=st.dictionaries(st.sampled_from("xy"), st.none() | st.integers(0, 3), max_size=2),
)
queries = st.builds(
    SessionQuery,
    limit=st.integers(-1, 5),
    offset=st.integers(-1, 3),
    agent_id=st.none() | st.sampled_from(("main", "other")),
    active_since=st.none() | TIMES,
    search=st.none() | st.sampled_from(("OPENAI", "zoë", "a", "%", "")) | TEXTS.filter(_has_no_nul),
    stateless=st.booleans(),
)
retentions = st.builds(
    Retention,
    stateless_before=st.none() | TIMES,
    unused_before=st.none() | TIMES,
    archived_before=st.none() | TIMES,
    max_sessions=st.none() | st.integers(0, 4),
    keep=st.frozensets(st.sampled_from(KEYS), max_size=2),
    running=st.none() | st.frozensets(st.sampled_from([f"run-{number}" for number in range(8)])),
)


class TwoStores(RuleBasedStateMachine):
    """Does the same to both stores, and sees the same in both; session ids differ, but in the same places."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.reactor = ThreadedClock()
        claims = ClaimLimits(keep_seconds=20.0, max_kept=3)
        self.memory = MemoryStore(now=lambda: 50.0, claims=claims)
        self.sqlite = SqliteStore(
            self.reactor, Path(self.folder.name) / "sessions", now=lambda: 50.0, claims=claims
        )
        self.ids: dict[str, str] = {}
        self.both("open")

    def both(self, method: str, *arguments: Any, **more: Any) -> Any:
        expected, found = (
            self.outcome(store, method, arguments, more) for store in (self.memory, self.sqlite)
        )
        assert self.same(expected, found), f"{method}{arguments}: {found} is not {expected}"
        return expected

    def outcome(self, store: Any, method: str, arguments: Any, more: Any) -> Any:
        try:
            return self.reactor.result_of(getattr(store, method)(*arguments, **more))
        except GatewayError as error:
            return type(error)

    def same(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, SessionRow) and isinstance(found, SessionRow):
            known = self.ids.setdefault(expected.session_id, found.session_id)
            return bool(known == found.session_id and replace(expected, session_id=known) == found)
        if isinstance(expected, SessionPage):
            pairs = zip(expected.rows, found.rows, strict=True)
            return bool(expected.total == found.total) and all(self.same(*pair) for pair in pairs)
        if isinstance(expected, Conversation):
            return self.same(expected.session, found.session) and bool(expected.messages == found.messages)
        if isinstance(expected, Pruned):
            return bool(replace(expected, size_bytes=0) == replace(found, size_bytes=0))
        return bool(expected == found)

    @rule(run=runs, claim=st.none() | claims)
    def begin(self, run: RunRecord, claim: Claim | None) -> None:
        self.both("begin", run, claim)

    @rule(turn=turns)
    def commit(self, turn: TurnRecord) -> None:
        self.both("commit", turn)

    @rule(turn=turns)
    def note(self, turn: TurnRecord) -> None:
        self.memory.note(turn)
        self.sqlite.note(turn)
        self.reactor.advance(1)
        self.both("begin", turn.run)  # stands behind the note in the queue

    @rule(key=st.sampled_from(KEYS), patch=patches, at=TIMES)
    def patch(self, key: str, patch: SessionPatch, at: float) -> None:
        self.both("patch", key, patch, at)

    @rule(key=st.sampled_from(KEYS), at=TIMES)
    def reset(self, key: str, at: float) -> None:
        self.both("reset", key, at)

    @rule(key=st.sampled_from(KEYS), keep=st.integers(0, 6), at=TIMES)
    def compact(self, key: str, keep: int, at: float) -> None:
        self.both("compact", key, keep, at)

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        self.both("delete", key)

    @rule(retention=retentions)
    def prune(self, retention: Retention) -> None:
        self.both("surplus", replace(retention, keep=frozenset()))
        self.both("prune", retention)

    @rule()
    def restart(self) -> None:
        self.both("close")
        self.both("open")

    @rule(key=st.sampled_from(KEYS), limit=st.integers(-1, 5), before=st.none() | st.integers(0, 9))
    def look(self, key: str, limit: int, before: int | None) -> None:
        self.both("history", key, limit, before_seq=before)
        self.both("runs", key, limit)

    @rule(key=st.sampled_from(KEYS), max_tokens=st.none() | st.integers(0, 60))
    def converse(self, key: str, max_tokens: int | None) -> None:
        self.both("conversation", key, max_tokens=max_tokens)

    @rule(query=queries)
    def search(self, query: SessionQuery) -> None:
        self.both("sessions", query)

    @invariant()
    def they_hold_the_same(self) -> None:
        page = self.both("sessions")
        for row in page.rows:
            self.by_id(row)
        self.both("find_session", label="a")
        self.both("runs")
        for key in KEYS:
            self.both("history", key)
        for scope in ("http:a", "ws:agent"):
            for key in "abc":
                self.both("recall", scope, key)

    def by_id(self, row: SessionRow) -> None:
        ids = (row.session_id, self.ids[row.session_id])
        stores: tuple[SessionStore, ...] = (self.memory, self.sqlite)
        for store, session_id in zip(stores, ids, strict=True):
            found = self.reactor.result_of(store.find_session(session_id=session_id))
            assert found is not None and found.session_key == row.session_key

    def teardown(self) -> None:
        self.both("close")
        self.folder.cleanup()


def compare(examples: int, steps: int, *, derandomize: bool) -> None:
    """Run the machine `examples` times, each for up to `steps` steps."""
    run_state_machine_as_test(
        TwoStores,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
        ),
    )


class ModelTests(SynchronousTestCase):
    def test_the_stores_agree(self):
        compare(30, 20, derandomize=True)


if __name__ == "__main__":
    compare(*(map(int, sys.argv[1:]) if sys.argv[1:] else (200, 50)), derandomize=False)
