"""Requests that come before the answer to the one before them is read."""

from __future__ import annotations

from tests.ws.rig import MemoryClient, RigTestCase

REQUEST = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"


class UnreadAnswers(RigTestCase):
    def setUp(self) -> None:
        self.gateway = self.rig()
        self.client: MemoryClient = self.gateway.visitor()
        self.client.wire.always_full = True

    def answers(self) -> int:
        written: bytes = self.client.wire.value()
        return written.count(b"HTTP/1.1 404 ")

    def test_nothing_more_is_answered_or_read_until_the_first_is(self) -> None:
        self.client.raw(REQUEST * 3)
        self.assertEqual((self.answers(), self.client.wire.producerState), (1, "paused"))
        for count in (2, 3):
            self.client.wire.producer.resumeProducing()
            self.assertEqual((self.answers(), self.client.wire.producerState), (count, "paused"))
        self.client.wire.producer.resumeProducing()
        self.assertEqual((self.answers(), self.client.wire.producerState), (3, "producing"))

    def test_who_reads_late_is_served_on(self) -> None:
        self.client.raw(REQUEST + REQUEST[:9])
        self.gateway.clock.advance(self.gateway.settings.gateway.limits.header_deadline_seconds + 1)
        self.client.wire.always_full = False
        self.client.wire.producer.resumeProducing()
        self.client.raw(REQUEST[9:])
        self.assertEqual(self.answers(), 2)

    def test_who_never_reads_is_hung_up_on(self) -> None:
        self.client.raw(REQUEST * 2)
        self.gateway.clock.advance(self.gateway.settings.gateway.limits.connection_idle_seconds)
        self.assertTrue(self.client.gone)
        self.assertEqual(self.answers(), 1)
