from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.conversation import ClosedError, Conversation, RefusedError

__all__ = ["ConversationTests", "WatchdogTests"]

CHALLENGE = {"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}}


class Wire:
    """Keeps what was sent, and how the connection was closed."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed: list[tuple[int, str]] = []
        self.aborted = 0

    def send_frame(self, frame: bytes) -> None:
        self.sent.append(json.loads(frame))

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def abort(self) -> None:
        self.aborted += 1


class ConversationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.conversation = Conversation(self.clock, self.wire)

    def receive(self, frame: object) -> None:
        self.conversation.received(json.dumps(frame).encode())

    def respond(self, payload: object, *, to: int = 0, **more: object) -> None:
        response = {"type": "res", "id": self.wire.sent[to]["id"], "ok": True, "payload": payload}
        self.receive(response | more)


class ConversationTests(ConversationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.receive(CHALLENGE)
        self.successResultOf(self.conversation.challenged)

    def test_requests_have_the_shape_of_protocol_4(self) -> None:
        self.conversation.request("agent", {"message": "hi"})
        self.conversation.request("health", {})
        first, second = self.wire.sent
        self.assertRegex(first["id"], r"1:[0-9a-f-]{36}")
        self.assertEqual(
            first, {"type": "req", "id": first["id"], "method": "agent", "params": {"message": "hi"}}
        )
        self.assertNotEqual(first["id"], second["id"])

    def test_answers_find_their_requests_in_any_order(self) -> None:
        first = self.conversation.request("agent", {})
        second = self.conversation.request("health", {})
        self.respond({"n": 2}, to=1)
        self.assertEqual(b'{"n": 2}', self.successResultOf(second))
        self.assertNoResult(first)
        self.respond({"n": 1}, to=0)
        self.assertEqual(b'{"n": 1}', self.successResultOf(first))

    def test_the_payload_is_handed_on_as_it_was_written(self) -> None:
        answer = self.conversation.request("agent", {})
        text = '{ "b":1.0,"a":"\\u00e9" }'
        self.conversation.received(
            b'{"type":"res","ok":true,"id":"%s","payload":%s}'
            % (self.wire.sent[0]["id"].encode(), text.encode())
        )
        self.assertEqual(text.encode(), self.successResultOf(answer))

    def test_accepted_comes_before_the_final_answer(self) -> None:
        accepted: list[bytes] = []
        answer = self.conversation.request("agent", {}, accepted=accepted.append)
        self.respond({"status": "accepted", "runId": "r"})
        self.assertNoResult(answer)
        self.assertEqual("r", json.loads(accepted[0])["runId"])
        self.respond({"status": "ok"})
        self.assertEqual({"status": "ok"}, json.loads(self.successResultOf(answer)))

    def test_an_error_carries_its_codes_and_its_payload(self) -> None:
        answer = self.conversation.request("agent", {})
        error = {
            "code": "FORBIDDEN",
            "message": "missing scope: operator.write",
            "details": {"code": "MISSING_SCOPE"},
        }
        self.respond({"status": "error"}, ok=False, error=error)
        failure = self.failureResultOf(answer, RefusedError).value
        self.assertEqual("missing scope: operator.write", failure.message)
        self.assertEqual("FORBIDDEN", failure.refusal.code)
        self.assertEqual("MISSING_SCOPE", failure.detail_code)
        self.assertEqual({"status": "error"}, json.loads(failure.payload))

    def test_an_error_without_words_is_one_too(self) -> None:
        answer = self.conversation.request("agent", {})
        self.receive({"type": "res", "id": self.wire.sent[0]["id"], "ok": False})
        self.assertEqual("", self.failureResultOf(answer, RefusedError).value.detail_code)

    def test_frames_that_make_no_sense_change_nothing(self) -> None:
        answer = self.conversation.request("agent", {})
        for data in (b"", b"\xff", b"[]", b"{}", b'{"type": 1}', b'{"type":"res","id":"unknown","ok":true}'):
            self.conversation.received(data)
        self.receive({"type": "event", "event": "chat", "payload": {}, "seq": 7})
        self.receive(CHALLENGE)
        self.assertNoResult(answer)

    def test_events_are_heard_until_nobody_listens(self) -> None:
        heard: list[tuple[str, Any]] = []
        stop = self.conversation.listen(lambda name, payload: heard.append((name, json.loads(payload))))
        self.receive({"type": "event", "event": "chat", "payload": {"runId": "r"}, "seq": 7})
        self.receive({"type": "event", "event": "tick"})
        stop()
        self.receive({"type": "event", "event": "chat", "payload": {"runId": "s"}})
        self.assertEqual([("chat", {"runId": "r"}), ("tick", None)], heard)

    def test_why_it_is_over_is_told_once(self) -> None:
        self.conversation.lost(ClosedError("gone"))
        self.conversation.lost(ClosedError("gone again"))
        self.assertEqual("gone", self.successResultOf(self.conversation.over).message)

    def test_the_end_of_the_connection_ends_every_request(self) -> None:
        answers = [self.conversation.request("agent", {}) for _ in range(2)]
        self.conversation.lost(ClosedError("gone"))
        answers.append(self.conversation.request("agent", {}))
        self.assertEqual(
            ["gone"] * 3, [self.failureResultOf(answer, ClosedError).value.message for answer in answers]
        )
        self.assertEqual(2, len(self.wire.sent))

    def test_a_cancelled_request_is_forgotten(self) -> None:
        answer = self.conversation.request("agent", {})
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.respond({"status": "ok"})
        self.conversation.lost(ClosedError("gone"))

    def test_closing_waits_until_the_connection_is_gone(self) -> None:
        closing = Deferred.fromCoroutine(self.conversation.close())
        self.assertEqual([(1000, "")], self.wire.closed)
        self.assertNoResult(closing)
        self.conversation.lost(ClosedError("gone"))
        self.successResultOf(closing)
        self.clock.advance(60)
        self.assertEqual(0, self.wire.aborted)

    def test_a_gateway_that_does_not_close_is_dropped(self) -> None:
        closing = Deferred.fromCoroutine(self.conversation.close())
        self.clock.advance(1)
        self.assertEqual(1, self.wire.aborted)
        self.assertNoResult(closing)
        self.conversation.lost(ClosedError("gone"))
        self.successResultOf(closing)

    def test_closing_what_is_gone_is_nothing(self) -> None:
        self.conversation.lost(ClosedError("gone"))
        self.successResultOf(Deferred.fromCoroutine(self.conversation.close()))
        self.assertEqual([], self.wire.closed)

    def test_a_connection_that_ends_before_the_challenge(self) -> None:
        conversation = Conversation(self.clock, self.wire)
        conversation.lost(ClosedError("gone"))
        self.failureResultOf(conversation.challenged, ClosedError)


class WatchdogTests(ConversationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.receive(CHALLENGE)
        self.conversation.watch(30)
        self.answer = self.conversation.request("agent", {})

    def test_two_missed_ticks_end_the_connection(self) -> None:
        self.clock.advance(59)
        self.assertNoResult(self.answer)
        self.clock.advance(1)
        self.assertIn("for 60 s", self.failureResultOf(self.answer, ClosedError).value.message)
        self.assertEqual([(4000, "tick timeout")], self.wire.closed)
        closing = Deferred.fromCoroutine(self.conversation.close())
        self.assertNoResult(closing)
        self.conversation.lost(ClosedError("gone"))
        self.successResultOf(closing)

    def test_any_frame_is_a_sign_of_life(self) -> None:
        for frame in ({"type": "event", "event": "tick", "payload": {"ts": 1}}, {"nonsense": True}):
            self.clock.advance(59)
            self.receive(frame)
        self.clock.advance(59)
        self.assertNoResult(self.answer)
        self.respond({"status": "ok"})
        self.successResultOf(self.answer)

    def test_nothing_is_left_running_behind_a_lost_connection(self) -> None:
        self.conversation.lost(ClosedError("gone"))
        self.failureResultOf(self.answer, ClosedError)
        self.conversation.watch(30)
        self.assertEqual([], self.clock.getDelayedCalls())
