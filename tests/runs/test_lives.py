"""Runs that are started and stopped, and whose sessions are changed, in orders that nobody would think of."""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import (
    Batches,
    Claim,
    Conversation,
    ModelRequest,
    RunRecord,
    SessionRow,
    Taker,
    TurnRecord,
)
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, RunFailed, RunFinished, RunStarted, TextDelta
from openclaw_twisted.providers.scripted import Scripted
from openclaw_twisted.runs.run import Run
from openclaw_twisted.session_key import parse
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import Collector, MemoryRuns, run_request

LIVES = 60
STEPS = 80
MOMENTS = (0.0, 0.0, 0.01, 0.1, 1.0)
KEYS = ("agent:main:a", "agent:main:b", None)


class LateStore(MemoryStore):
    """Does what it is asked a moment later, in order; cancelling drops the outcome, not the work."""

    def __init__(self, clock: Clock, chance: Random) -> None:
        super().__init__(now=clock.seconds)
        self._clock = clock
        self._chance = chance
        self._done_at = 0.0

    async def conversation(self, session_key: str, *, max_tokens: int | None = None) -> Conversation:
        found = await self._later(super().conversation(session_key, max_tokens=max_tokens))
        assert isinstance(found, Conversation)
        return found

    async def begin(self, run: RunRecord, claim: Claim | None = None) -> None:
        await self._later(super().begin(run, claim))

    async def commit(self, turn: TurnRecord) -> None:
        await self._later(super().commit(turn))

    async def reset(self, session_key: str, at: float) -> SessionRow:
        row = await self._later(super().reset(session_key, at))
        assert isinstance(row, SessionRow)
        return row

    def _later(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def tell(result: object) -> None:
            if not done.called:
                done.callback(result)

        now = self._clock.seconds()
        self._done_at = max(self._done_at, now) + self._chance.choice(MOMENTS)
        self._clock.callLater(self._done_at - now, lambda: Deferred.fromCoroutine(work).addBoth(tell))
        return done


class Whims(Scripted):
    """A model that pauses, breaks off, and does or does not hand its answer to a taker."""

    def __init__(self, clock: Clock, chance: Random) -> None:
        super().__init__()
        self._clock = clock
        self._chance = chance
        self.answering = 0

    async def respond(self, request: ModelRequest) -> Batches:
        chance, taker = self._chance, None
        self.answering += 1
        try:
            for _ in range(chance.randrange(4)):
                await self._pause()
                taker = (
                    await self._give(taker, TextDelta("piece ")) if taker else (yield [TextDelta("piece ")])
                )
                if chance.random() < 0.1:
                    raise UpstreamError("It broke off.")
            await self._pause()
            yield [Finished("stop")]
        finally:
            self.answering -= 1

    async def _give(self, taker: Taker, event: TextDelta) -> Taker | None:
        held_up = taker([event])
        if held_up is not None:
            await held_up
        return taker if self._chance.random() < 0.5 else None

    async def _pause(self) -> None:
        await deferLater(self._clock, self._chance.choice(MOMENTS))


class Life:
    """A runner, and what somebody does to it who follows `chance`."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.clock = Clock()
        self.model = Whims(self.clock, chance)
        self.store = LateStore(self.clock, chance)
        self.runs = MemoryRuns(provider=self.model, store=self.store, clock=self.clock)
        self.started: list[Run] = []
        self.heard: list[tuple[Run, Collector]] = []
        self.runs.runner.watch(self.started.append)
        self.runs.runner.watch(self.listen)

    def listen(self, run: Run) -> None:
        collector = Collector()
        run.feed.subscribe(collector)
        self.heard.append((run, collector))

    def step(self) -> None:
        chance, runner = self.chance, self.runs.runner
        key = chance.choice(KEYS)
        active = runner.active()
        what = chance.choice(("start", "start", "cancel", "listen", "hold", "change", "wait", "wait", "wait"))
        if what == "start":
            limit = chance.choice((0, 0.5, 10_000))
            runner.start(run_request(key=key, timeout_seconds=limit)).result().addErrback(lambda _: None)
        elif what == "cancel" and active:
            chance.choice(active).cancel()
        elif what == "listen" and active:
            self.listen(chance.choice(active))
        elif what == "hold" and active:
            subscription = chance.choice(active).feed.subscribe(Collector())
            subscription.pause()
            self.clock.callLater(chance.choice(MOMENTS), subscription.cancel)
        elif what == "change" and key is not None:
            sessions, name = runner.sessions, parse(key, "main")
            work: Any = chance.choice((sessions.reset, lambda name: sessions.compact(name, 2)))(name)
            change: Deferred[Any] = Deferred.fromCoroutine(work)
            change.addErrback(lambda _: None)
            if chance.random() < 0.3:
                change.cancel()
        else:
            self.clock.advance(chance.choice(MOMENTS))

    def end(self) -> None:
        if self.chance.random() < 0.5:
            Deferred.fromCoroutine(self.runs.runner.drain(self.chance.choice(MOMENTS)))
        for _ in range(1000):
            self.clock.advance(0.5)


class Lives(SynchronousTestCase):
    def test_every_run_ends_once_and_as_it_is_kept_and_nothing_is_left(self) -> None:
        for seed in range(LIVES):
            life = Life(Random(seed))  # noqa: S311 - it has to be predictable
            for _ in range(STEPS):
                life.step()
            life.end()
            runner = life.runs.runner
            self.assertEqual((runner.active(), runner.waiting, life.model.answering), ((), 0, 0), seed)
            self.assertEqual(life.clock.getDelayedCalls(), [], seed)
            for run, collector in life.heard:
                self.check(life, run, collector)
            for key in KEYS:
                turns = (run.turn_at for run in life.started if run.key == key)
                begun = [at for at in turns if at is not None]
                self.assertEqual(begun, sorted(begun), seed)

    def check(self, life: Life, run: Run, collector: Collector) -> None:
        events = collector.events
        self.assertEqual(
            [isinstance(event, RunFinished | RunFailed) for event in events].index(True) + 1, len(events)
        )
        if any(isinstance(event, RunStarted) for event in events):
            self.assertIsInstance(events[0], RunStarted)
            kept = self.successResultOf(Deferred.fromCoroutine(life.store.run(run.request.run_id)))
            assert kept is not None
            told = {"interrupted": "failed"}.get(kept.status, kept.status)
            self.assertEqual(told, run.status)
        end = events[-1]
        if isinstance(end, RunFinished):
            self.assertEqual(end.message.content, collector.text)
