"""What is old or too much goes, now and then."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Retention, RunRecord, TurnRecord
from openclaw_twisted.config.settings import MaintenanceSettings, SessionSettings
from openclaw_twisted.providers.scripted import Pause
from openclaw_twisted.runs.upkeep import EVERY_SECONDS, Upkeep
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import MemoryRuns, run_request, user

DAY = 86_400.0
NOW = 1000 * DAY


class UpkeepTests(SynchronousTestCase):
    def begin(self, store: Any = None, **maintenance: Any) -> MemoryRuns:
        self.clock = Clock()
        self.ahead = 0.0
        self.runs = MemoryRuns([Pause()], clock=self.clock, store=store)
        settings = SessionSettings(maintenance=MaintenanceSettings(**maintenance))
        self.upkeep = Upkeep(
            self.clock,
            self.runs.store,
            settings,
            active=self.runs.runner.active,
            now=lambda: NOW + self.ahead + self.clock.seconds(),
        )
        return self.runs

    def do(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def keep(self, name: str, age: float, text: str = "hi") -> None:
        at = NOW - age
        run = RunRecord(
            run_id=name,
            session_key=f"agent:main:{name}",
            agent_id="main",
            model="m",
            status="finished",
            started_at=at,
            ended_at=at,
        )
        self.do(self.runs.store.commit(TurnRecord(run=run, messages=(user(text),))))

    def names(self) -> set[str]:
        rows = self.do(self.runs.store.sessions()).rows
        return {row.session_key.removeprefix("agent:main:") for row in rows}

    def test_the_settings_say_what_may_go(self) -> None:
        self.begin(
            prune_after_seconds=5.0, max_entries=7, max_disk_bytes=1000, reset_archive_retention_seconds=3.0
        )
        expected = Retention(
            stateless_before=NOW - DAY,
            unused_before=NOW - 5,
            archived_before=NOW - 3,
            max_sessions=7,
            max_bytes=1000,
            target_bytes=800,
            running=frozenset(),
        )
        self.assertEqual(self.upkeep.retention(), expected)
        self.begin(reset_archive_retention_seconds=False, max_disk_bytes=1000, high_water_bytes=900)
        retention = self.upkeep.retention()
        self.assertEqual((retention.archived_before, retention.target_bytes), (None, 900))
        self.begin(prune_after_seconds=5.0)
        self.assertEqual(self.upkeep.retention().archived_before, NOW - 5)

    def test_it_is_done_at_once_and_again(self) -> None:
        self.begin()
        self.keep("old", 31 * DAY)
        self.keep("openai:old", 2 * DAY)
        self.keep("young", 29 * DAY)
        self.upkeep.start()
        self.assertEqual(self.names(), {"young"})
        self.keep("openai:late", DAY - 1)
        self.clock.advance(EVERY_SECONDS)
        self.assertEqual(self.names(), {"young"})
        self.upkeep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_clock_that_is_wrong_for_a_while_deletes_nothing(self) -> None:
        self.begin()
        self.keep("young", DAY)
        self.upkeep.start()
        self.ahead = 40 * DAY
        with capturedLogs() as logged:
            self.clock.advance(EVERY_SECONDS)
        self.assertIn("the clock was set ahead", logged[0]["log_format"])
        self.ahead = 0.0
        self.keep("openai:old", 2 * DAY)
        self.clock.pump([EVERY_SECONDS] * 10)
        self.assertEqual(self.names(), {"young"})
        self.ahead = 40 * DAY  # and this time it stays
        self.clock.pump([EVERY_SECONDS] * 5)
        self.assertEqual(self.names(), {"young"})
        self.clock.pump([EVERY_SECONDS] * 2)
        self.assertEqual(self.names(), set())
        self.upkeep.stop()

    def test_what_runs_stays_whatever_its_age(self) -> None:
        runs = self.begin(prune_after_seconds=0.0)
        self.keep("other", 1.0)
        run = runs.runner.start(run_request(key="agent:main:busy"))
        self.do(self.upkeep.once())
        self.assertEqual(self.names(), {"busy"})
        kept = self.do(runs.store.run(run.request.run_id))
        self.assertEqual(kept.status, "running")
        run.cancel()

    def test_a_run_that_nobody_works_on_ends(self) -> None:
        runs = self.begin()
        lost = RunRecord(
            run_id="lost",
            session_key="agent:main:a",
            agent_id="main",
            model="m",
            status="running",
            started_at=NOW,
        )
        self.do(runs.store.begin(lost))
        self.do(self.upkeep.once())
        self.assertEqual(self.do(runs.store.run("lost")).status, "interrupted")

    def test_a_warning_deletes_nothing_but_requests_without_a_session(self) -> None:
        self.begin(mode="warn")
        self.keep("old", 31 * DAY)
        self.keep("openai:old", 2 * DAY)
        with capturedLogs() as logged:
            self.do(self.upkeep.once())
        self.assertEqual(self.names(), {"old"})
        (event,) = [event for event in logged if "session.maintenance" in event["log_format"]]
        self.assertEqual((event["sessions"], event["archives"]), (1, 0))

    def test_a_store_that_fails_is_tried_again(self) -> None:
        self.begin()
        self.keep("old", 31 * DAY)
        self.do(self.runs.store.close())
        with capturedLogs() as logged:
            self.upkeep.start()
        self.assertIn("old sessions could not be deleted", logged[0]["log_format"])
        self.do(self.runs.store.open())
        self.clock.advance(EVERY_SECONDS)
        self.assertEqual(self.names(), set())
        self.upkeep.stop()

    def test_stopping_gives_up_what_goes_on(self) -> None:
        class StuckStore(MemoryStore):
            async def prune(self, retention: Retention) -> Any:
                await Deferred()

        self.begin(StuckStore())
        self.upkeep.start()
        self.upkeep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
