from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import OverloadedError
from openclaw_twisted.runs.lanes import Lanes


class Visit:
    """One turn at a lane that ends when the test says so."""

    def __init__(self, lanes: Lanes, lane: str, log: list[str], name: str = "") -> None:
        self.name = name or lane
        self.log = log
        self.leave: Deferred[None] = Deferred()
        self.done = Deferred.fromCoroutine(self._run(lanes, lane))

    async def _run(self, lanes: Lanes, lane: str) -> None:
        turn = lanes.turn(lane)
        try:
            await turn.begin()
            self.log.append(self.name)
            await self.leave
        finally:
            turn.end()


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.log: list[str] = []

    def test_a_lane_is_first_come_first_served(self) -> None:
        lanes = Lanes()
        visits = [Visit(lanes, "a", self.log, str(at)) for at in range(3)]
        self.assertEqual(self.log, ["0"])
        for visit in visits:
            visit.leave.callback(None)
        self.assertEqual(self.log, ["0", "1", "2"])

    def test_lanes_do_not_wait_for_each_other(self) -> None:
        lanes = Lanes()
        visits = [Visit(lanes, lane, self.log) for lane in "abc"]
        self.assertEqual(self.log, ["a", "b", "c"])
        for visit in visits:
            visit.leave.callback(None)

    def test_places_bound_all_lanes_together_in_order(self) -> None:
        lanes = Lanes(max_concurrent=2)
        visits = [Visit(lanes, lane, self.log) for lane in "abcd"]
        self.assertEqual(self.log, ["a", "b"])
        visits[1].leave.callback(None)
        self.assertEqual(self.log, ["a", "b", "c"])
        visits[0].leave.callback(None)
        self.assertEqual(self.log, ["a", "b", "c", "d"])
        for visit in visits[2:]:
            visit.leave.callback(None)

    def test_a_busy_session_takes_no_place_while_it_waits(self) -> None:
        lanes = Lanes(max_concurrent=2)
        first, second = Visit(lanes, "a", self.log, "a1"), Visit(lanes, "a", self.log, "a2")
        other = Visit(lanes, "b", self.log)
        self.assertEqual(self.log, ["a1", "b"])
        for visit in (first, other, second):
            visit.leave.callback(None)

    def test_who_gives_up_waiting_is_passed_over(self) -> None:
        lanes = Lanes()
        first, second, third = (Visit(lanes, "a", self.log, str(at)) for at in range(3))
        second.done.cancel()
        self.failureResultOf(second.done, CancelledError)
        first.leave.callback(None)
        self.assertEqual(self.log, ["0", "2"])
        third.leave.callback(None)

    def test_who_is_cancelled_at_its_turn_lets_the_next_one_in(self) -> None:
        lanes = Lanes(max_concurrent=1)
        first, second = Visit(lanes, "a", self.log), Visit(lanes, "b", self.log)
        first.done.cancel()
        self.failureResultOf(first.done, CancelledError)
        self.assertEqual(self.log, ["a", "b"])
        second.leave.callback(None)

    def test_who_gives_up_between_being_chosen_and_being_told(self) -> None:
        lanes = Lanes()
        first = Visit(lanes, "a", self.log, "0")
        third: Visit

        async def cancels_the_next() -> None:
            turn = lanes.turn("a")
            await turn.begin()
            self.log.append("1")
            turn.end()
            # The lane has been handed to the next one, who has not been told yet.
            third.done.cancel()

        second = Deferred.fromCoroutine(cancels_the_next())
        third = Visit(lanes, "a", self.log, "2")
        fourth = Visit(lanes, "a", self.log, "3")
        first.leave.callback(None)
        self.successResultOf(second)
        self.failureResultOf(third.done, CancelledError)
        self.assertEqual(self.log, ["0", "1", "3"])
        fourth.leave.callback(None)

    def test_a_thousand_who_end_at_once_do_not_nest(self) -> None:
        lanes = Lanes(max_concurrent=1, max_waiting=10_000, max_waiting_in_lane=10_000)
        first = Visit(lanes, "a", self.log, "first")
        visits = [Visit(lanes, "a", self.log) for _ in range(2000)]
        for visit in visits:
            visit.leave.callback(None)
        first.leave.callback(None)
        self.assertEqual(len(self.log), 2001)

    def test_nothing_is_kept_of_an_empty_lane(self) -> None:
        lanes = Lanes()
        visit = Visit(lanes, "a", self.log)
        waiting = Visit(lanes, "a", self.log)
        waiting.done.cancel()
        self.failureResultOf(waiting.done, CancelledError)
        visit.leave.callback(None)
        self.assertEqual(lanes._lanes, {})


class Admission(SynchronousTestCase):
    def test_who_need_not_wait_is_always_admitted(self) -> None:
        lanes = Lanes(max_waiting=0, max_waiting_in_lane=0)
        lanes.admit("a")

    def test_a_full_session_is_refused_and_another_is_not(self) -> None:
        lanes = Lanes(max_waiting_in_lane=1)
        visits = [Visit(lanes, "a", []) for _ in range(2)]
        with self.assertRaises(OverloadedError) as caught:
            lanes.admit("a")
        self.assertIsNotNone(caught.exception.retry_after_seconds)
        lanes.admit("b")
        for visit in visits:
            visit.leave.callback(None)
        lanes.admit("a")

    def test_a_full_gateway_refuses_who_would_wait(self) -> None:
        lanes = Lanes(max_concurrent=1, max_waiting=1)
        visits = [Visit(lanes, lane, []) for lane in "ab"]
        with self.assertRaises(OverloadedError):
            lanes.admit("c")
        self.assertEqual(lanes.waiting, 1)
        for visit in visits:
            visit.leave.callback(None)
        lanes.admit("c")
