from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.outbox import Outbox


def event(text: str, *, key: str | None = "k", numbered: bool = True) -> Event:
    """Return a cumulative event whose text is `text`."""
    whole = Event("chat", lambda _: {"whole": text}) if key else None
    return Event("chat", lambda _: {"text": text}, key=key, whole=whole, numbered=numbered)


class OutboxTestCase(SynchronousTestCase):
    soft_bytes = 200
    hard_bytes = 1000

    def setUp(self):
        self.written: list[Any] = []
        self.given_up = 0
        self.full_after: int | None = None
        self.box = Outbox(self.write, self.give_up, soft_bytes=self.soft_bytes, hard_bytes=self.hard_bytes)

    def write(self, frame: bytes) -> None:
        self.written.append(json.loads(frame))
        if self.full_after is not None and len(self.written) >= self.full_after:
            self.box.pause()

    def give_up(self) -> None:
        self.given_up += 1

    def post(self, *events: Event) -> None:
        for one in events:
            self.box.post(one, speaks_4=True)

    def payloads(self) -> list[Any]:
        return [frame["payload"] for frame in self.written]


class OrderTests(OutboxTestCase):
    def test_everything_leaves_in_order_and_events_are_numbered(self):
        self.post(event("a"))
        self.box.send(b'{"id":"1"}')
        self.post(event("b", numbered=False), event("c"))
        self.assertEqual([frame.get("seq") for frame in self.written], [1, None, None, 2])
        self.assertEqual(self.written[1], {"id": "1"})

    def test_events_that_are_held_back_leave_behind_the_next_frame(self):
        self.box.hold()
        self.box.hold()
        self.post(event("a"), event("b"))
        self.assertEqual(self.written, [])
        self.box.send(b'{"id":"1"}')
        self.post(event("c"))
        self.assertEqual([frame.get("seq") for frame in self.written], [None, 1, 2, 3])

    def test_events_that_are_held_back_wait_like_others(self):
        self.box.pause()
        self.box.hold()
        self.post(event("a"))
        self.box.send(b'{"id":"1"}')
        self.box.resume()
        self.assertEqual([frame.get("seq") for frame in self.written], [None, 1])
        self.box.hold()
        self.post(event("b"))
        self.box.flush()
        self.assertEqual(len(self.written), 3)

    def test_what_waits_leaves_in_order_too(self):
        self.box.pause()
        self.post(event("a"))
        self.box.send(b'{"id":"1"}')
        self.post(event("b"))
        self.assertEqual(self.written, [])
        self.box.resume()
        self.assertEqual([frame.get("seq") for frame in self.written], [1, None, 2])
        self.assertEqual(self.box.buffered_bytes, 0)

    def test_it_stops_when_the_client_is_slow_again_and_newer_things_stay_behind(self):
        self.box.pause()
        self.post(event("a"), event("b"))
        self.full_after = 1
        self.box.resume()
        self.full_after = None
        self.assertEqual(self.payloads(), [{"text": "a"}])
        self.post(event("c"))
        self.box.resume()
        self.assertEqual(self.payloads(), [{"text": "a"}, {"text": "b"}, {"text": "c"}])

    def test_what_is_written_while_the_queue_empties_does_not_overtake(self):
        self.box.pause()
        self.post(event("a"), event("b"))
        write = self.write

        def answer(frame: bytes) -> None:
            write(frame)
            if len(self.written) == 1:
                self.box.send(b'{"id":"1","payload":null}')

        self.box._write = answer
        self.box.resume()
        self.assertEqual(self.payloads(), [{"text": "a"}, {"text": "b"}, None])


class SlowTests(OutboxTestCase):
    def setUp(self):
        super().setUp()
        self.box.pause()

    def test_below_the_soft_limit_everything_waits(self):
        self.post(event("a"), event("ab"), event("abc"))
        self.box.resume()
        self.assertEqual(self.payloads(), [{"text": "a"}, {"text": "ab"}, {"text": "abc"}])

    def test_above_it_only_the_newest_of_a_kind_waits_and_is_told_whole(self):
        self.box.send(b"[%s]" % (b"0," * 100 + b"0"))
        self.post(event("a"), event("x", key="other"), event("ab"), event("abc"))
        self.assertLess(self.box.buffered_bytes, 400)
        self.box.resume()
        told = [frame for frame in self.written if isinstance(frame, dict)]
        self.assertEqual([frame["payload"] for frame in told], [{"text": "x"}, {"whole": "abc"}])
        self.assertEqual([frame["seq"] for frame in told], [1, 2])

    def test_what_is_not_cumulative_always_waits(self):
        self.box.send(b"[%s]" % (b"0," * 100 + b"0"))
        self.post(event("a", key=None), event("b", key=None))
        self.box.resume()
        self.assertEqual([frame["payload"] for frame in self.written[1:]], [{"text": "a"}, {"text": "b"}])

    def test_what_has_left_is_not_obsolete(self):
        self.post(event("a" * 300))
        self.box.resume()
        self.box.pause()
        self.box.send(b"[%s]" % (b"0," * 100 + b"0"))
        self.post(event("b"))
        self.box.resume()
        self.assertEqual(self.written[-1]["payload"], {"text": "b"})

    def test_too_much_is_given_up(self):
        for _ in range(40):
            self.post(event("a" * 10, key=None))
            if self.given_up:
                break
        self.assertEqual((self.given_up, self.box.buffered_bytes), (1, 0))
        self.assertEqual(self.written, [])

    def test_a_run_of_any_length_does_not_fill_it(self):
        for size in range(1000):
            self.post(event("a" * (size % 100)))
        self.assertEqual(self.given_up, 0)

    def test_at_the_end_everything_is_sent_whether_it_is_read_or_not(self):
        self.post(event("a"), event("ab"))
        self.box.flush()
        self.assertEqual(len(self.written), 2)
