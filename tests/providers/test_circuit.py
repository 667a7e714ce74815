"""A circuit breaker on a clock, state by state."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.providers.circuit import MAX_PAUSE_SECONDS, MAX_REST_SECONDS, PROBE_SECONDS, Circuit

__all__ = ["CircuitTests"]


class CircuitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.circuit = Circuit(self.clock.seconds, limit=3, pause_seconds=5)

    def fail(self, times: int = 3) -> None:  # type: ignore[override]
        for _ in range(times):
            self.circuit.failed()

    def probe(self) -> None:
        """Wait until a probe is due, and let it in."""
        self.clock.advance(self.circuit.wait_seconds())
        self.assertTrue(self.circuit.ready())
        self.assertTrue(self.circuit.enter())

    def test_it_opens_after_so_many_failures_in_a_row(self) -> None:
        self.fail(2)
        self.assertTrue(self.circuit.ready())
        self.assertEqual(self.circuit.wait_seconds(), 0)
        self.fail(1)
        self.assertEqual((self.circuit.state, self.circuit.ready()), ("open", False))
        self.assertEqual(self.circuit.wait_seconds(), 5)

    def test_a_success_between_starts_the_count_again(self) -> None:
        self.fail(2)
        self.circuit.succeeded()
        self.fail(2)
        self.assertEqual(self.circuit.state, "closed")

    def test_one_call_is_the_probe(self) -> None:
        self.fail()
        self.clock.advance(4.9)
        self.assertFalse(self.circuit.ready())
        self.clock.advance(0.1)
        self.assertTrue(self.circuit.ready())
        self.assertTrue(self.circuit.enter())
        self.assertEqual((self.circuit.state, self.circuit.ready()), ("half-open", False))
        self.assertEqual(self.circuit.wait_seconds(), PROBE_SECONDS)

    def test_calls_of_a_closed_one_are_no_probes(self) -> None:
        self.assertFalse(self.circuit.enter())

    def test_a_good_probe_closes_it_and_forgets_the_pause(self) -> None:
        self.fail()
        self.probe()
        self.circuit.succeeded()
        self.assertEqual(self.circuit.state, "closed")
        self.fail()
        self.assertEqual(self.circuit.wait_seconds(), 5)

    def test_a_bad_probe_doubles_the_pause_up_to_a_limit(self) -> None:
        self.fail()
        pauses = []
        for _ in range(8):
            self.probe()
            self.circuit.failed()
            pauses.append(self.circuit.wait_seconds())
        self.assertEqual(pauses[:3], [10, 20, 40])
        self.assertEqual(pauses[-1], MAX_PAUSE_SECONDS)

    def test_a_probe_whose_answer_began_and_broke_off_opens_it_again(self) -> None:
        self.fail()
        self.probe()
        self.circuit.answered()
        self.assertTrue(self.circuit.ready())
        self.circuit.failed()
        self.assertEqual((self.circuit.state, self.circuit.wait_seconds()), ("open", 10))

    def test_an_abandoned_probe_leaves_the_next_call_to_be_it(self) -> None:
        self.fail()
        self.probe()
        self.circuit.abandoned()
        self.assertTrue(self.circuit.ready())
        self.assertTrue(self.circuit.enter())

    def test_failures_of_calls_that_were_under_way_lengthen_nothing(self) -> None:
        self.fail(20)
        self.assertEqual(self.circuit.wait_seconds(), 5)
        self.circuit.trip()
        self.assertEqual(self.circuit.wait_seconds(), 5)

    def test_it_can_be_opened_at_once(self) -> None:
        self.circuit.trip()
        self.assertEqual((self.circuit.state, self.circuit.wait_seconds()), ("open", 5))

    def test_one_in_doubt_is_probed_at_once(self) -> None:
        self.circuit.doubt()
        self.assertTrue(self.circuit.enter())
        self.assertFalse(self.circuit.ready())
        self.circuit.succeeded()
        self.assertEqual(self.circuit.state, "closed")

    def test_doubt_shortens_no_pause(self) -> None:
        self.fail()
        self.circuit.doubt()
        self.assertEqual(self.circuit.wait_seconds(), 5)

    def test_a_rest_ends_by_itself(self) -> None:
        self.circuit.rest(7)
        self.assertEqual((self.circuit.state, self.circuit.ready()), ("resting", False))
        self.clock.advance(7)
        self.assertEqual((self.circuit.state, self.circuit.ready()), ("closed", True))
        self.assertFalse(self.circuit.enter())
        self.assertFalse(self.circuit.enter())

    def test_a_rest_of_its_own_grows_until_something_goes_well(self) -> None:
        rests = []
        for _ in range(8):
            self.circuit.rest(None)
            self.circuit.rest(None)  # of another call that was under way
            rests.append(self.circuit.wait_seconds())
            self.clock.advance(self.circuit.wait_seconds())
            self.circuit.enter()
        self.assertEqual(rests, [1, 2, 4, 8, 16, 32, MAX_REST_SECONDS, MAX_REST_SECONDS])
        self.circuit.succeeded()
        self.circuit.rest(None)
        self.assertEqual(self.circuit.wait_seconds(), 1)

    def test_an_answer_that_began_before_a_rest_does_not_end_it(self) -> None:
        self.circuit.rest(7)
        self.circuit.succeeded()
        self.assertFalse(self.circuit.ready())
