"""Sessions change between turns, never during one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import SessionPatch, SessionRow
from openclaw_twisted.errors import CancelledRunError, InvalidRequestError
from openclaw_twisted.events import TextDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import MemoryRuns, run_request, user

KEY = run_request(key="agent:main:chat").session_key


class SessionsTests(SynchronousTestCase):
    def begin(self, *scripts: Any, store: MemoryStore | None = None) -> MemoryRuns:
        runs = MemoryRuns(*scripts, store=store)
        self.reasons: list[str] = []
        runs.bus.watch(lambda change: self.reasons.append(change.reason))
        return runs

    def start(self, runs: MemoryRuns, text: str = "a") -> Any:
        return runs.runner.start(run_request(user(text), key=str(KEY)))

    def texts(self, runs: MemoryRuns) -> list[Any]:
        kept = self.successResultOf(Deferred.fromCoroutine(runs.store.history(str(KEY))))
        return [stored.message.content for stored in kept]

    def test_a_reset_stops_what_runs_and_what_waits(self) -> None:
        runs = self.begin([[TextDelta("half")], Pause()], reply("of another session"))
        running, waiting = self.start(runs), self.start(runs)
        other = runs.runner.start(run_request(key="agent:main:other"))
        reset = Deferred.fromCoroutine(runs.runner.sessions.reset(KEY))
        for run in (running, waiting):
            error = self.failureResultOf(run.result(), CancelledRunError).value
            self.assertEqual(error.message, "The session was reset.")
        self.assertEqual(self.successResultOf(reset).message_count, 0)
        self.assertEqual(self.texts(runs), [])
        self.assertEqual(other.status, "finished")
        self.assertEqual(self.reasons[-1], "reset")

    def test_a_reset_waits_until_what_it_stopped_is_kept(self) -> None:
        class SlowStore(MemoryStore):
            kept: Deferred[None] = Deferred()

            async def commit(self, turn: Any) -> None:
                await self.kept
                await super().commit(turn)

        store = SlowStore()
        runs = self.begin([[TextDelta("half")], Pause()], reply("new"), store=store)
        self.start(runs)
        reset = Deferred.fromCoroutine(runs.runner.sessions.reset(KEY))
        later = self.start(runs, "b")
        self.assertNoResult(reset)
        store.kept.callback(None)
        self.successResultOf(reset)
        self.assertEqual(later.status, "finished")
        self.assertEqual(self.texts(runs), ["b", "new"])

    def test_compacting_waits_for_the_turn(self) -> None:
        pause = Pause()
        runs = self.begin(reply("1"), [pause, *reply("2")])
        self.start(runs)
        self.start(runs, "b")
        compacted = Deferred.fromCoroutine(runs.runner.sessions.compact(KEY, 2))
        self.assertNoResult(compacted)
        pause.go_on()
        self.assertEqual(self.successResultOf(compacted), 2)
        self.assertEqual(self.texts(runs), ["b", "2"])
        self.assertEqual(self.reasons.count("compact"), 1)
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(runs.runner.sessions.compact(KEY, 2))), 0
        )

    def test_who_asked_may_go_and_it_is_done_all_the_same(self) -> None:
        class SlowStore(MemoryStore):
            waits: Deferred[None] = Deferred()

            async def delete(self, session_key: str) -> bool:
                await self.waits
                return await super().delete(session_key)

            async def reset(self, session_key: str, at: float) -> SessionRow:
                await self.waits
                return await super().reset(session_key, at)

        for change in ("delete", "reset"):
            store = SlowStore()
            store.waits = Deferred()
            runs = self.begin(reply("old"), reply("new"), store=store)
            self.start(runs)
            changing = Deferred.fromCoroutine(getattr(runs.runner.sessions, change)(KEY))
            changing.cancel()
            self.failureResultOf(changing, CancelledError)
            later = self.start(runs, "b")
            self.assertEqual(later.status, "queued")
            store.waits.callback(None)
            self.assertEqual(later.status, "finished")
            self.assertEqual(self.texts(runs), ["b", "new"])
            self.assertIn(change, self.reasons)

    def test_deleting_stops_and_tells_whether_there_was_one(self) -> None:
        runs = self.begin([Pause()])
        run = self.start(runs)
        delete = runs.runner.sessions.delete
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(delete(KEY))))
        self.failureResultOf(run.result(), CancelledRunError)
        self.assertEqual(self.reasons[-1], "delete")
        count = len(self.reasons)
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(delete(KEY))))
        self.assertEqual(len(self.reasons), count)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(runs.store.session(str(KEY)))))

    def test_choices_are_announced(self) -> None:
        runs = self.begin()
        sessions = runs.runner.sessions
        self.successResultOf(Deferred.fromCoroutine(sessions.create(KEY, SessionPatch())))
        self.successResultOf(Deferred.fromCoroutine(sessions.patch(KEY, SessionPatch(label="x"))))
        other = run_request(key="agent:main:other").session_key
        self.failureResultOf(
            Deferred.fromCoroutine(sessions.patch(other, SessionPatch(label="x"))), InvalidRequestError
        )
        self.assertEqual(self.reasons, ["create", "patch"])

    def test_a_change_takes_no_runs_place(self) -> None:
        runs = self.begin([Pause()])
        run = self.start(runs)
        self.assertEqual((runs.runner.running, runs.runner.waiting), (1, 0))
        compacted = Deferred.fromCoroutine(runs.runner.sessions.compact(KEY, 2))
        self.assertEqual(runs.runner.running, 1)
        compacted.addErrback(lambda _: None)
        compacted.cancel()
        self.assertEqual((runs.runner.running, runs.runner.waiting), (1, 0))
        run.cancel()
        self.assertEqual(runs.runner.running, 0)
