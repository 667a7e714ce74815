from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.events import ReasoningDelta, RunStarted, TextDelta, ToolCallDelta
from openclaw_twisted.runs.feed import JOINED_CHARACTERS, MAX_PIECES, Feed
from openclaw_twisted.testing import Collector


class Listening(SynchronousTestCase):
    def setUp(self) -> None:
        self.feed = Feed()
        self.listener = Collector()

    def test_each_batch_arrives_as_one(self) -> None:
        self.feed.subscribe(self.listener)
        self.feed.publish((TextDelta("a"), TextDelta("b")))
        self.feed.publish((TextDelta("c"),))
        self.assertEqual(self.listener.batches, [(TextDelta("a"), TextDelta("b")), (TextDelta("c"),)])

    def test_a_latecomer_hears_everything_with_its_text_joined(self) -> None:
        self.feed.publish((RunStarted(1.0), ReasoningDelta("h"), ReasoningDelta("m")))
        for piece in "hello":
            self.feed.publish((TextDelta(piece),))
        self.feed.publish((ToolCallDelta(0, "c", "f"), TextDelta("!")))
        self.feed.subscribe(self.listener)
        self.assertEqual(
            self.listener.batches,
            [
                (
                    RunStarted(1.0),
                    ReasoningDelta("hm"),
                    TextDelta("hello"),
                    ToolCallDelta(0, "c", "f"),
                    TextDelta("!"),
                )
            ],
        )

    def test_joined_stretches_are_bounded(self) -> None:
        for _ in range(3 * MAX_PIECES):
            self.feed.publish((TextDelta("x"),))
        self.feed.subscribe(self.listener)
        self.assertEqual(
            [len(event.text) for event in self.listener.events if isinstance(event, TextDelta)],
            [MAX_PIECES] * 3,
        )

    def test_and_so_are_those_of_long_pieces(self) -> None:
        for _ in range(4):
            self.feed.publish((TextDelta("x" * (JOINED_CHARACTERS // 2)),))
        self.feed.subscribe(self.listener)
        self.assertEqual(self.listener.events, [TextDelta("x" * JOINED_CHARACTERS)] * 2)

    def test_who_has_left_hears_nothing_more(self) -> None:
        subscription = self.feed.subscribe(self.listener)
        other = Collector()
        self.feed.subscribe(other)
        subscription.cancel()
        subscription.cancel()
        self.feed.publish((TextDelta("a"),))
        self.assertEqual(self.listener.batches, [])
        self.assertEqual(other.text, "a")


class Holding(SynchronousTestCase):
    def setUp(self) -> None:
        self.feed = Feed()
        self.first = self.feed.subscribe(Collector())
        self.second = self.feed.subscribe(Collector())

    def test_nobody_holds_at_first(self) -> None:
        self.assertIsNone(self.feed.flowing())

    def test_the_run_waits_for_the_last_who_holds(self) -> None:
        self.first.pause()
        self.first.pause()
        self.second.pause()
        waiting = self.feed.flowing()
        assert waiting is not None
        self.first.resume()
        self.assertNoResult(waiting)
        self.second.resume()
        self.successResultOf(waiting)
        self.assertIsNone(self.feed.flowing())

    def test_who_leaves_holds_no_more(self) -> None:
        self.first.pause()
        waiting = self.feed.flowing()
        assert waiting is not None
        self.first.cancel()
        self.successResultOf(waiting)

    def test_a_cancelled_wait_is_forgotten(self) -> None:
        self.first.pause()
        waiting = self.feed.flowing()
        assert waiting is not None
        waiting.addErrback(lambda _failure: None)
        waiting.cancel()
        self.first.resume()
        self.assertIsNone(self.feed.flowing())
