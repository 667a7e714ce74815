from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.errors import (
    AgentNotFoundError,
    GatewayError,
    ModelNotReadyError,
    NoProviderError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ModelAnswering, ProviderEvent, TextDelta
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.failover import (
    BUDGET_SECONDS,
    RETRY_SECONDS,
    SWITCH_SECONDS,
    TRIES,
    Failover,
    Then,
)
from openclaw_twisted.providers.scripted import Pause, Scripted, Step, reply
from openclaw_twisted.testing import user


class FailoverCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.first, self.second = Scripted(), Scripted()
        self.catalog = Catalog({"a": self.first, "b": self.second}, aliases={"quick": "b/small"})
        self.heard: list[ProviderEvent] = []
        self.failures: list[tuple[str, str | None, Then]] = []
        self.clock = Clock()
        self.failover = Failover(self.catalog, self.clock, jitter=lambda: 0.0, observe=self._failed)

    def assert_answered(self, by: str, *, tries: int = 1, instead_of: str | None = None) -> None:
        """Say that `ok` was heard, and whose answer that was said to be."""
        answering = ModelAnswering(by, tries, instead_of)
        self.assertEqual(self.heard, [answering, TextDelta("ok"), Finished("stop")])

    def ask(self, *models: str) -> Deferred[None]:
        request = ModelRequest(model=models[0], fallbacks=models[1:], messages=(user("hi"),))
        return Deferred.fromCoroutine(self._listen(request))

    async def _listen(self, request: ModelRequest) -> None:
        batch: Sequence[ProviderEvent]
        async for batch in self.failover.respond(request):
            self.heard += batch

    def _failed(self, model: str, error: GatewayError, then: Then) -> None:
        self.failures.append((model, error.code, then))


class Naming(FailoverCase):
    def test_the_provider_hears_its_own_name_of_the_model(self) -> None:
        self.first.add(reply("ok"))
        self.successResultOf(self.ask("a/meta/llama-3"))
        self.assertEqual(self.first.requests[0].model, "meta/llama-3")

    def test_an_alias_is_another_name(self) -> None:
        self.second.add(reply("ok"))
        self.successResultOf(self.ask("quick"))
        self.assertEqual(self.second.requests[0].model, "small")

    def test_unknown_names_are_told_with_the_known_providers(self) -> None:
        for name in ("c/m", "a", "a/", "/m", ""):
            with self.assertRaises(AgentNotFoundError, msg=name) as caught:
                self.catalog.check(name)
            self.assertIn("a, b", caught.exception.message)

    def test_whose_model_it_is(self) -> None:
        names = ("a/meta/llama-3", "quick", "c/m", "a", "")
        self.assertEqual([self.catalog.provider_id(name) for name in names], ["a", "b", "", "a", ""])


class Counting(FailoverCase):
    def test_every_failure_is_told_with_what_follows(self) -> None:
        self.first.add([UpstreamError("1")], [UpstreamTimeoutError("2")])
        self.second.add([UpstreamAuthError("3")])
        asking = self.ask("a/m", "b/m")
        self.clock.advance(RETRY_SECONDS)
        self.failureResultOf(asking, UpstreamAuthError)
        told: list[tuple[str, str | None, Then]] = [
            ("a/m", "upstream_unavailable", "retry"),
            ("a/m", "upstream_timeout", "fallback"),
            ("b/m", "upstream_auth", "give up"),
        ]
        self.assertEqual(self.failures, told)

    def test_so_is_one_in_the_middle_of_an_answer(self) -> None:
        self.first.add([[TextDelta("half")], UpstreamError("gone")])
        self.failureResultOf(self.ask("a/m", "b/m"), UpstreamError)
        self.assertEqual(self.failures, [("a/m", "upstream_unavailable", "give up")])

    def test_an_answer_is_no_failure(self) -> None:
        self.first.add(reply("ok"))
        self.successResultOf(self.ask("a/m"))
        self.assertEqual(self.failures, [])


class Trying(FailoverCase):
    def test_the_first_that_answers_is_the_only_one_asked(self) -> None:
        self.first.add(reply("ok"))
        self.successResultOf(self.ask("a/m", "b/m"))
        self.assert_answered("a/m")
        self.assertEqual(self.second.requests, [])

    def test_what_may_pass_is_tried_again_after_a_moment(self) -> None:
        for error in (UpstreamError("x"), UpstreamOverloadedError("x")):
            self.setUp()
            self.first.add([error], reply("ok"))
            asking = self.ask("a/m", "b/m")
            self.assertNoResult(asking)
            self.clock.advance(RETRY_SECONDS)
            self.successResultOf(asking)
            self.assert_answered("a/m", tries=2)
            self.assertEqual(self.second.requests, [])

    def test_then_the_next_model_is_asked(self) -> None:
        self.first.add([UpstreamError("1")], [UpstreamError("2")])
        self.second.add(reply("ok"))
        asking = self.ask("a/m", "b/m")
        self.clock.advance(RETRY_SECONDS)
        self.successResultOf(asking)
        self.assertEqual(len(self.first.requests), TRIES)
        self.assert_answered("b/m", instead_of="a/m")

    def test_what_lasts_is_not_tried_again(self) -> None:
        for error in (
            UpstreamAuthError("x"),
            UpstreamRateLimitError("x"),
            UpstreamTimeoutError("x"),
            ModelNotReadyError("x"),
        ):
            self.setUp()
            self.first.add([error])
            self.second.add(reply("ok"))
            self.successResultOf(self.ask("a/m", "b/m"))
            self.assert_answered("b/m", instead_of="a/m")
            self.assertEqual(len(self.first.requests), 1)

    def test_a_slow_failure_has_used_up_the_time_for_another(self) -> None:
        pause = Pause()
        self.first.add([pause, UpstreamError("late")])
        asking = self.ask("a/m")
        self.clock.advance(BUDGET_SECONDS)
        pause.go_on()
        self.failureResultOf(asking, UpstreamError)

    def test_an_upstream_that_says_when_to_come_back_is_believed(self) -> None:
        self.first.add([UpstreamOverloadedError("x", retry_after_seconds=3)], reply("ok"))
        asking = self.ask("a/m")
        self.clock.advance(2.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.successResultOf(asking)
        self.assert_answered("a/m", tries=2)

    def test_a_time_that_is_too_late_is_not_waited_for(self) -> None:
        self.first.add([UpstreamOverloadedError("x", retry_after_seconds=BUDGET_SECONDS)])
        self.failureResultOf(self.ask("a/m"), UpstreamOverloadedError)

    def test_with_another_model_to_ask_nobody_waits_for_long(self) -> None:
        self.first.add([UpstreamOverloadedError("x", retry_after_seconds=SWITCH_SECONDS + 0.1)])
        self.second.add(reply("ok"))
        self.successResultOf(self.ask("a/m", "b/m"))
        self.assert_answered("b/m", instead_of="a/m")

    def test_jitter_makes_the_wait_longer(self) -> None:
        self.failover = Failover(self.catalog, self.clock, jitter=lambda: 1.0)
        self.first.add([UpstreamError("x")], reply("ok"))
        asking = self.ask("a/m")
        self.clock.advance(RETRY_SECONDS * 1.9)
        self.assertNoResult(asking)
        self.clock.advance(RETRY_SECONDS * 0.1)
        self.successResultOf(asking)

    def test_an_alias_is_answered_under_the_models_own_name(self) -> None:
        self.second.add(reply("ok"))
        self.successResultOf(self.ask("quick"))
        self.assert_answered("b/small")

    def test_cancelling_the_wait_for_the_second_try(self) -> None:
        self.first.add([UpstreamError("x")])
        asking = self.ask("a/m")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_refused_request_is_refused_everywhere(self) -> None:
        self.first.add([UpstreamRejectedError("bad")])
        self.failureResultOf(self.ask("a/m", "b/m"), UpstreamRejectedError)
        self.assertEqual(self.second.requests, [])

    def test_a_model_that_is_not_there_is_no_refused_request(self) -> None:
        self.first.add([UpstreamRejectedError("no such model", status=404)])
        self.second.add(reply("ok"))
        self.successResultOf(self.ask("a/m", "b/m"))
        self.assert_answered("b/m", instead_of="a/m")
        self.assertEqual(len(self.first.requests), 1)
        self.first.add([UpstreamRejectedError("no such model", status=404)])
        self.failureResultOf(self.ask("a/m"), UpstreamRejectedError)

    def test_there_is_no_way_back_after_the_first_byte(self) -> None:
        script: list[Step] = [[TextDelta("half")], UpstreamError("gone")]
        self.first.add(script)
        self.failureResultOf(self.ask("a/m", "b/m"), UpstreamError)
        self.assertEqual(self.second.requests, [])

    def test_one_that_cannot_be_asked_hides_no_failure(self) -> None:
        self.first.add([UpstreamTimeoutError("1")])
        self.second.add([NoProviderError("no key")])
        self.failureResultOf(self.ask("a/m", "b/m", "c/m"), UpstreamTimeoutError)
        self.assertEqual([model for model, _, _ in self.failures], ["a/m", "b/m", "c/m"])

    def test_if_none_can_be_asked_the_first_says_why(self) -> None:
        self.second.add([NoProviderError("no key")])
        error = self.failureResultOf(self.ask("b/m", "c/m"), NoProviderError).value
        self.assertEqual(error.message, "no key")

    def test_the_last_error_is_told(self) -> None:
        self.first.add([UpstreamAuthError("first")])
        self.second.add([UpstreamAuthError("second")])
        failure = self.failureResultOf(self.ask("a/m", "b/m"), UpstreamError)
        self.assertEqual(str(failure.value), "second")
