"""Which of several keys is used, on a clock and without a network."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed

from openclaw_twisted.errors import (
    InternalError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamTimeoutError,
)
from openclaw_twisted.providers.access import (
    FAILURE_PAUSE_SECONDS,
    FAILURES_IN_A_ROW,
    REFUSAL_PAUSE_SECONDS,
    REFUSALS_IN_A_ROW,
    Access,
    Credential,
    Outcome,
)
from openclaw_twisted.providers.answer import Answer, Timeouts
from openclaw_twisted.providers.upstream import Address
from tests.providers.playing import BASE, URL, Playing, Reply

__all__ = ["BindingTests", "BreakerTests", "RotationTests"]

E = TypeVar("E", bound=Exception)


class AccessCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.outcomes: list[Outcome] = []

    def open(self, **replies: list[Reply]) -> None:
        """Make the way to a model, with keys of these names."""
        self.upstream = Playing(self.clock, **replies)
        self.credentials = [
            Credential(position, {"authorization": name}, seconds=self.clock.seconds)
            for position, name in enumerate(replies, start=1)
        ]
        self.access = self.way()

    def way(self) -> Access:
        return Access(
            self.upstream,
            self.credentials,
            name="mock",
            base_url=BASE,
            clock=self.clock,
            observe=self.outcomes.append,
        )

    def asking(self, access: Access | None = None) -> Deferred[Answer]:
        return Deferred.fromCoroutine((access or self.access).post(Address(URL, {}), b"{}"))

    def ask(self, access: Access | None = None) -> int:
        """Return the status of the answer."""
        answer = self.successResultOf(self.asking(access))
        self.end(ResponseDone())
        return answer.status

    def end(self, reason: Exception) -> None:
        for body in self.upstream.bodies:
            body.connectionLost(Failure(reason))
        self.upstream.bodies = []

    def refused(self, kind: type[E], access: Access | None = None) -> E:
        error = self.failureResultOf(self.asking(access), kind).value
        assert isinstance(error, kind)
        return error

    def used(self) -> str:
        """Return the keys that were used since this was asked last."""
        keys, self.upstream.keys = self.upstream.keys, []
        return " ".join(keys)


class RotationTests(AccessCase):
    def test_a_key_that_works_stays_in_use(self) -> None:
        self.open(a=[200], b=[200])
        for _ in range(3):
            self.ask()
        self.assertEqual(self.used(), "a a a")

    def test_a_rate_limited_key_rests_as_long_as_it_was_told(self) -> None:
        self.open(a=[(429, "7"), 200], b=[200])
        self.assertEqual((self.ask(), self.used()), (200, "a b"))
        self.assertEqual(self.access.standings(), ("resting", "ready"))
        self.clock.advance(7)
        self.assertEqual(self.access.standings(), ("ready", "ready"))

    def test_the_key_that_took_over_stays_in_use(self) -> None:
        self.open(a=[(429, "7"), 200], b=[200])
        self.ask()
        self.clock.advance(8)
        self.ask()
        self.assertEqual(self.used(), "a b b")

    def test_a_refused_key_alone_is_benched(self) -> None:
        self.open(a=[401, 200], b=[200], c=[200])
        self.assertEqual((self.ask(), self.used()), (200, "a b"))
        self.assertEqual(self.access.standings(), ("refused", "ready", "ready"))
        self.upstream.replies["b"] = [401]
        self.assertEqual((self.ask(), self.used()), (200, "b c"))

    def test_one_call_finds_out_whether_a_refused_key_works_again(self) -> None:
        self.open(a=[401, 401, 200])
        self.ask()
        self.clock.advance(REFUSAL_PAUSE_SECONDS)
        self.ask()
        self.refused(UpstreamAuthError)
        self.clock.advance(REFUSAL_PAUSE_SECONDS)
        self.refused(UpstreamAuthError)
        self.clock.advance(REFUSAL_PAUSE_SECONDS)
        self.assertEqual((self.ask(), self.used()), (200, "a a a"))
        self.assertEqual(self.access.standings(), ("ready",))

    def test_a_prompt_that_is_forbidden_benches_no_key(self) -> None:
        for status in (402, 403):
            self.open(a=[status, 200], b=[status, 200])
            self.assertEqual((self.ask(), self.used()), (status, "a b"))
            self.assertEqual(self.access.standings(), ("ready", "ready"))
            self.assertEqual((self.ask(), self.used()), (200, "a"))

    def test_a_key_that_is_forbidden_everything_is_benched(self) -> None:
        for status in (402, 403):
            self.open(a=[status])
            for _ in range(REFUSALS_IN_A_ROW):
                self.assertEqual(self.ask(), status)
            self.refused(UpstreamAuthError)
            self.assertEqual(len(self.upstream.keys), REFUSALS_IN_A_ROW)

    def test_the_last_keys_refusal_is_returned_when_it_is_the_only_one(self) -> None:
        for status in (401, 402, 403, 429):
            self.open(a=[status])
            self.assertEqual(self.ask(), status)

    def test_when_all_keys_rest_the_shortest_wait_is_told(self) -> None:
        self.open(a=[(429, "20")], b=[401], c=[(429, "9")])
        error = self.refused(UpstreamRateLimitError)
        self.assertEqual((error.retry_after_seconds, self.used()), (9, "a b c"))
        self.clock.advance(4)
        self.assertEqual(self.refused(UpstreamRateLimitError).retry_after_seconds, 5)
        self.assertRaises(UpstreamRateLimitError, self.access.check)
        self.assertEqual(self.used(), "")

    def test_when_all_keys_are_refused_that_is_told(self) -> None:
        self.open(a=[401], b=[401])
        self.refused(UpstreamAuthError)
        self.assertRaises(UpstreamAuthError, self.access.check)

    def test_a_rate_limit_is_of_one_model_and_a_refusal_of_all(self) -> None:
        self.open(a=[429, 200, 401], b=[200])
        other = self.way()
        self.ask()
        self.assertEqual((self.ask(other), self.used()), (200, "a b a"))
        self.ask(other)
        self.assertEqual(self.way().standings(), ("refused", "ready"))

    def test_a_refused_request_says_nothing_of_the_key(self) -> None:
        for status in (302, 400, 404, 422):
            self.open(a=[status], b=[200])
            for _ in range(FAILURES_IN_A_ROW):
                self.ask()
            self.assertEqual(set(self.upstream.keys), {"a"})
            self.assertEqual(self.access.standings(), ("ready", "ready"))

    def test_each_attempt_is_told(self) -> None:
        self.open(a=[429, 401, 500, UpstreamTimeoutError("x"), UpstreamError("x"), 404, 200])
        for _ in range(3):
            self.ask()
            self.clock.advance(REFUSAL_PAUSE_SECONDS)
        self.refused(UpstreamTimeoutError)
        self.refused(UpstreamError)
        self.ask()
        self.ask()
        told = ["rate_limited", "refused", "failed", "timed_out", "unreachable", "rejected", "answered"]
        self.assertEqual(self.outcomes, told)

    def test_no_key_is_logged(self) -> None:
        self.open(secret_a=[401], secret_b=[200])
        events: list[dict[str, Any]] = []
        log = Access._log
        log.observer.addObserver(events.append)  # type: ignore[attr-defined]
        self.addCleanup(log.observer.removeObserver, events.append)  # type: ignore[attr-defined]
        self.ask()
        self.assertEqual([event["position"] for event in events], [1])
        self.assertNotIn("secret_a", repr(events))


class BreakerTests(AccessCase):
    def test_trouble_in_a_row_stops_the_asking(self) -> None:
        for trouble in (500, 502, 503, 529, 504, UpstreamTimeoutError("silent"), UpstreamError("no way")):
            self.open(a=[trouble])
            for _ in range(FAILURES_IN_A_ROW):
                self.assertNoResult(self.asking().addBoth(lambda _: Deferred()))
            error = self.refused(UpstreamOverloadedError)
            self.assertEqual(error.retry_after_seconds, FAILURE_PAUSE_SECONDS)
            self.assertEqual(len(self.upstream.keys), FAILURES_IN_A_ROW)

    def test_the_other_keys_are_probed_first(self) -> None:
        probe: Deferred[Any] = Deferred()
        self.open(a=[500], b=[probe, 200], c=[200])
        for _ in range(FAILURES_IN_A_ROW):
            self.ask()
        self.used()
        probing = self.asking()
        self.assertEqual((self.ask(), self.used()), (200, "b c"))
        probe.callback(None)
        self.assertEqual(self.successResultOf(probing).status, 200)
        self.assertEqual(self.access.standings(), ("failing", "ready", "ready"))

    def test_an_upstream_that_fails_with_every_key_is_soon_left_alone(self) -> None:
        self.open(a=[500], b=[500], c=[500])
        for _ in range(FAILURES_IN_A_ROW + 2):
            self.ask()
        self.refused(UpstreamOverloadedError)
        self.assertEqual(self.used(), "a a a a a b c")

    def test_then_one_call_probes_and_the_others_are_spared(self) -> None:
        probe: Deferred[Any] = Deferred()
        self.open(a=[*[500] * FAILURES_IN_A_ROW, probe, 200])
        for _ in range(FAILURES_IN_A_ROW):
            self.ask()
        self.clock.advance(FAILURE_PAUSE_SECONDS)
        probing = self.asking()
        self.refused(UpstreamOverloadedError)
        probe.callback(None)
        self.assertEqual(self.successResultOf(probing).status, 200)
        self.assertEqual(self.ask(), 200)

    def test_a_cancelled_probe_leaves_it_to_the_next_call(self) -> None:
        self.open(a=[*[500] * FAILURES_IN_A_ROW, Deferred(), 200])
        for _ in range(FAILURES_IN_A_ROW):
            self.ask()
        self.clock.advance(FAILURE_PAUSE_SECONDS)
        probing = self.asking()
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.assertEqual(self.outcomes[-1], "cancelled")
        self.assertEqual(self.ask(), 200)

    def test_answers_that_break_off_are_failures_too(self) -> None:
        self.open(a=[200])
        for _ in range(FAILURES_IN_A_ROW):
            self.successResultOf(self.asking())
            self.end(ResponseFailed([]))
        self.refused(UpstreamOverloadedError)

    def test_answers_that_we_broke_off_are_not(self) -> None:
        self.open(a=[200])
        for _ in range(FAILURES_IN_A_ROW):
            self.successResultOf(self.asking()).body.close()
            self.end(ResponseFailed([]))
        self.assertEqual(self.ask(), 200)

    def test_silence_in_the_middle_is_a_failure(self) -> None:
        self.open(a=[200])
        for _ in range(FAILURES_IN_A_ROW):
            reading = self.successResultOf(self.asking()).body.read()
            self.clock.advance(Timeouts().first_byte_seconds)
            self.failureResultOf(reading, UpstreamTimeoutError)
        self.refused(UpstreamOverloadedError)

    def test_no_connection_counts_against_every_key_and_a_bad_answer_against_its_own(self) -> None:
        self.open(a=[UpstreamError("refused")], b=[200])
        for _ in range(FAILURES_IN_A_ROW):
            self.refused(UpstreamError)
        self.assertEqual(self.access.standings(), ("failing", "failing"))
        self.open(a=[500], b=[200])
        for _ in range(FAILURES_IN_A_ROW):
            self.ask()
        self.assertEqual((self.ask(), self.access.standings()), (200, ("failing", "ready")))


class BindingTests(AccessCase):
    def test_nothing_goes_anywhere_else(self) -> None:
        self.open(a=[200])
        for url in (
            "http://127.0.0.1:8001/v1",
            "http://127.0.0.1/v1",
            "https://127.0.0.1:8000/v1",
            "http://127.0.0.1:8000@example.org/v1",
            "http://127.0.0.1:80000/v1",
            "http://127.0.0.1:8000.example.org/v1",
            "http://localhost:8000/v1",
        ):
            asking = Deferred.fromCoroutine(self.access.post(Address(url, {}), b"{}"))
            self.failureResultOf(asking, InternalError)
        self.assertEqual(self.used(), "")
