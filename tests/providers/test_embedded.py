"""The local model's life on a clock: loading, dying, resting, stopping."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from openclaw_twisted.errors import ModelNotReadyError, NoProviderError
from openclaw_twisted.providers.embedded import (
    LOAD_LIMIT_SECONDS,
    LOAD_WAIT_SECONDS,
    LocalEndpoint,
)
from tests.providers.stage import URL, Case


class LoadingTests(Case):
    def test_nothing_is_started_before_it_is_wanted(self) -> None:
        self.model.check()
        self.stage.advance(1000)
        self.assertEqual(self.stage.started, [])
        self.assertIsNone(self.model.pid)

    def test_those_who_wait_share_one_process(self) -> None:
        first, second = self.ask(), self.ask()
        self.assertNoResult(first)
        self.process.ready()
        endpoint = self.successResultOf(first)
        self.assertEqual(endpoint, self.successResultOf(second))
        self.assertEqual((endpoint.base_url, endpoint.model), (f"{URL}/v1", "tiny"))
        self.assertEqual(endpoint.api_key, self.process.key)
        self.assertEqual(self.successResultOf(self.ask()), endpoint)
        self.assertEqual(len(self.stage.started), 1)
        self.assertEqual(self.model.pid, 4711)
        self.assertEqual(self.stage.getDelayedCalls(), [])

    def test_the_ready_line_may_come_in_pieces(self) -> None:
        waiting = self.ask()
        self.process.say('{"ready": true, "url": "http://127')
        self.assertNoResult(waiting)
        self.process.say('.0.0.1:1"}\nand more')
        self.assertEqual(self.successResultOf(waiting).base_url, "http://127.0.0.1:1/v1")

    def test_warming_up_loads_without_anybody_waiting(self) -> None:
        self.model.warm_up()
        self.process.ready()
        self.successResultOf(self.ask())

    def test_cancelling_ends_one_wait_and_nothing_else(self) -> None:
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(self.process.signals, [])
        self.process.ready()
        self.successResultOf(second)

    def test_a_slow_load_is_not_waited_for_for_ever(self) -> None:
        waiting = self.ask()
        self.stage.advance(LOAD_WAIT_SECONDS)
        error = self.failureResultOf(waiting, ModelNotReadyError).value
        self.assertIn("still loading", error.message)
        self.assertGreater(error.retry_after_seconds, 0)
        self.process.ready()
        self.successResultOf(self.ask())

    def test_a_load_that_hangs_is_ended(self) -> None:
        self.model.warm_up()
        self.stage.advance(LOAD_LIMIT_SECONDS)
        self.assertEqual(self.process.signals, ["TERM"])
        self.stage.advance(2)
        self.assertEqual(self.process.signals, ["TERM", "KILL"])

    def test_without_the_engine_the_ways_out_are_named(self) -> None:
        self.installed = False
        error = self.refused(NoProviderError)
        for way in ("pip install 'openclaw-twisted[local]'", "openclaw-gateway local pull", "API key"):
            self.assertIn(way, error.message)
        self.failureResultOf(self.ask(), NoProviderError)
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])

    def test_those_told_may_ask_again_at_once(self) -> None:
        waiting = self.ask()

        def told(_: LocalEndpoint) -> None:
            self.model.check()
            self.stop()

        waiting.addCallback(told)
        self.process.ready()
        self.successResultOf(waiting)
        self.assertEqual(self.process.signals, ["TERM"])


class DeathTests(Case):
    def test_one_death_is_waited_out(self) -> None:
        waiting = self.ask()
        self.process.die()
        self.assertNoResult(waiting)
        self.model.check()
        self.stage.advance(1)
        self.assertEqual(len(self.stage.started), 2)
        self.process.ready()
        self.successResultOf(waiting)

    def test_the_second_in_a_row_is_told(self) -> None:
        waiting = self.ask()
        self.process.die()
        self.stage.advance(1)
        self.process.die(
            "0.00.1 I loading\n0.00.2 E bad magic\n0.00.3 E fail", "ed\nRuntimeError: see above\n"
        )
        for error in (
            self.failureResultOf(waiting, ModelNotReadyError).value,
            self.failureResultOf(self.ask(), ModelNotReadyError).value,
            self.refused(ModelNotReadyError),
        ):
            self.assertIn("does not run: it ended with status 1: bad magic", error.message)
            self.assertEqual(error.retry_after_seconds, 2.0)

    def test_a_last_word_is_quoted_when_the_log_has_no_error(self) -> None:
        self.model.warm_up()
        for _ in range(2):
            self.model.warm_up()
            self.process.die("ImportError: no engine")
            self.stage.advance(0.5)
            self.stage.advance(0.5)
        self.assertIn("status 1: ImportError: no engine", self.refused(ModelNotReadyError).message)

    def test_nothing_is_quoted_once_it_has_answered(self) -> None:
        for _ in range(2):
            self.model.warm_up()
            self.process.protocol.errReceived(b"0.00.1 E a file to be mapped was not\n")
            self.process.ready()
            self.process.die("1.00.0 E cannot parse: the user's secret\n", status=None, signal=9)
            self.stage.advance(1)
        message = self.refused(ModelNotReadyError).message
        self.assertTrue(message.endswith("it was ended by signal 9 (out of memory?)"), message)

    def test_the_rest_grows_to_half_a_minute(self) -> None:
        rests = []
        for _ in range(7):
            self.model.warm_up()
            asked = self.ask()
            self.process.die(status=0)
            asked.addErrback(lambda _: None)
            rest = min(self.stage.getDelayedCalls(), key=lambda call: call.getTime())
            rests.append(rest.getTime() - self.stage.seconds())
            self.stage.advance(rests[-1])
            asked.cancel()
        self.assertEqual(rests, [1, 2, 4, 8, 16, 30, 30])

    def test_a_stable_minute_makes_up_for_deaths(self) -> None:
        for _ in range(3):
            self.successResultOf(self.served())
            self.process.die()
            self.stage.advance(4)
        self.successResultOf(self.served())
        self.stage.advance(60)
        self.process.die()
        self.model.check()

    def served(self) -> Deferred[LocalEndpoint]:
        waiting = self.ask()
        if not waiting.called:
            self.process.ready()
        return waiting

    def test_what_was_serving_is_started_again_unasked(self) -> None:
        self.successResultOf(self.served())
        self.process.die()
        self.assertIsNone(self.model.pid)
        self.stage.advance(1)
        self.assertEqual(len(self.stage.started), 2)

    def test_what_never_served_is_started_again_when_wanted(self) -> None:
        self.model.warm_up()
        self.process.die()
        self.stage.advance(100)
        self.assertEqual(len(self.stage.started), 1)
        self.successResultOf(self.served())

    def test_a_new_process_has_a_new_key(self) -> None:
        first = self.successResultOf(self.served())
        self.process.die()
        self.stage.advance(1)
        self.process.ready()
        self.assertNotEqual(self.successResultOf(self.ask()).api_key, first.api_key)

    def test_a_process_that_cannot_be_started_counts_as_dead(self) -> None:
        self.stage.refuses = True
        waiting = self.ask()
        self.stage.advance(1)
        error = self.failureResultOf(waiting, ModelNotReadyError).value
        self.assertIn("it could not be started: Resource temporarily unavailable", error.message)


class StopTests(Case):
    def test_what_never_ran_is_stopped_at_once(self) -> None:
        self.successResultOf(self.stop())
        self.assertIn("being stopped", self.refused(ModelNotReadyError).message)
        self.failureResultOf(self.ask(), ModelNotReadyError)
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])

    def test_a_process_is_asked_first_and_then_killed(self) -> None:
        for ready in (False, True):
            self.model = self.make()
            self.model.warm_up()
            if ready:
                self.process.ready()
            stopping = self.stop()
            again = self.stop()
            self.assertEqual(self.process.signals, ["TERM"])
            self.refused(ModelNotReadyError)
            self.stage.advance(0.4)
            self.assertEqual(self.process.signals, ["TERM"])
            self.stage.advance(0.1)
            self.assertEqual(self.process.signals, ["TERM", "KILL"])
            self.assertNoResult(stopping)
            self.process.die(status=None, signal=9)
            self.successResultOf(stopping)
            self.successResultOf(again)
            self.assertEqual(self.stage.getDelayedCalls(), [])

    def test_a_process_that_obeys_is_not_killed(self) -> None:
        self.model.warm_up()
        self.process.ready()
        stopping = self.stop()
        self.process.die(status=None, signal=15)
        self.successResultOf(stopping)
        self.stage.advance(10)
        self.assertEqual(self.process.signals, ["TERM"])

    def test_a_process_that_is_just_ready_is_stopped_all_the_same(self) -> None:
        self.model.warm_up()
        stopping = self.stop()
        self.process.ready()
        self.refused(ModelNotReadyError)
        self.process.die(status=None, signal=15)
        self.successResultOf(stopping)

    def test_those_who_wait_are_told(self) -> None:
        waiting = self.ask()
        self.stop()
        self.assertIn("being stopped", self.failureResultOf(waiting, ModelNotReadyError).value.message)
        self.process.die(status=0)

    def test_a_resting_model_does_not_come_back(self) -> None:
        self.model.warm_up()
        self.process.ready()
        self.process.die()
        self.successResultOf(self.stop())
        self.stage.advance(100)
        self.assertEqual(len(self.stage.started), 1)
        self.assertEqual(self.stage.getDelayedCalls(), [])
