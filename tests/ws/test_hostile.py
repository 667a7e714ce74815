"""Frames that nobody should send: whatever comes, the outcome is one that is documented."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ws.rig import RigTestCase, connect_params, masked

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["connect", "agent", "agent.wait", "chat.abort", "chat.send", "health", "sessions.list", ""]
METHODS = st.sampled_from(NAMES) | st.text()
PARAMS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "message": VALUES | st.just("hi"),
        "idempotencyKey": VALUES | st.just("k"),
        "sessionKey": VALUES | st.sampled_from(["main", "agent::", "cron:x"]),
        "agentId": VALUES | st.just("main"),
        "runId": VALUES,
        "timeout": VALUES,
        "timeoutMs": VALUES,
        "attachments": VALUES | st.lists(st.dictionaries(st.sampled_from(["content", "mimeType"]), VALUES)),
    },
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("req") | VALUES,
        "id": st.text(max_size=8) | VALUES,
        "method": METHODS | VALUES,
        "params": PARAMS,
        "traceparent": VALUES,
        "extra": VALUES,
    },
)
MEANT = st.fixed_dictionaries(
    {
        "type": st.just("req"),
        "id": st.text(min_size=1, max_size=8),
        "method": METHODS,
        "params": PARAMS,
    }
)
FRAMES = st.lists(
    st.binary(max_size=40) | (VALUES | REQUESTS | MEANT).map(lambda value: json.dumps(value).encode()),
    min_size=1,
    max_size=4,
)
SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)


class HostileTests(RigTestCase):
    def setUp(self):
        self.door = self.rig()

    @SETTINGS
    @given(FRAMES, st.sampled_from([1, 2]))
    def test_before_login(self, frames, opcode):
        client = self.door.newcomer()
        for frame in frames:
            client.send(frame, opcode)
        for response in client.frames():
            self.assert_response(response)
        # A text frame that is no UTF-8 ends in 1007, and no first frame here is a connect that is let in.
        assert client.outcome is not None
        self.assertIn(client.outcome[0], (1000, 1002, 1007, 1008))
        client.hang_up()

    @SETTINGS
    @given(FRAMES, st.sampled_from([3, 4]))
    def test_after_login(self, frames, protocol):
        client = self.door.client(protocol)
        for frame in frames:
            client.send(frame, 2)
        for response in client.frames():
            self.assert_response(response)
        client.request("last", "health")
        self.assertEqual(client.frame()["id"], "last")
        client.hang_up()

    @SETTINGS
    @given(st.binary(max_size=80))
    def test_bytes_that_are_no_frames(self, data):
        client = self.door.client()
        client.raw(data)
        client.frames()
        if client.outcome is not None and client.outcome[0] is not None:
            self.assertIn(client.outcome[0], (1000, 1002, 1007, 1009))
        client.hang_up()

    def assert_response(self, response: Any) -> None:
        self.assertLessEqual(set(response), {"type", "id", "ok", "payload", "error"})
        self.assertEqual(response["type"], "res")
        self.assertIsInstance(response["id"], str)
        if not response["ok"]:
            self.assertIn(response["error"]["code"], {"INVALID_REQUEST", "UNAVAILABLE", "FORBIDDEN"})
            self.assertLess(len(response["error"]["message"]), 500)

    def test_after_login_nonsense_is_ignored_or_answered(self):
        client = self.door.client()
        for data, response in [
            (b"nonsense", None),
            (b"", None),
            (b"[" * 60_000, None),
            (b"[]", ("invalid", "invalid request frame: at root: expected `object`, got `array`")),
            (
                b'{"type":"event","event":"x"}',
                ("invalid", "invalid request frame: at /type: invalid enum value 'event'"),
            ),
            (b'{"type":"res","id":"r"}', ("r", "invalid request frame: at /type: invalid enum value 'res'")),
        ]:
            client.send(data)
            frames = client.frames()
            if response is None:
                self.assertEqual(frames, [])
            else:
                self.assertEqual(
                    (frames[0]["id"], frames[0]["error"]["code"]), (response[0], "INVALID_REQUEST")
                )
                self.assertIn(response[1], frames[0]["error"]["message"])

    def test_a_second_connect(self):
        client = self.door.client()
        client.request("2", "connect", **connect_params())
        self.assertEqual(
            client.frame()["error"],
            {"code": "INVALID_REQUEST", "message": "connect is only valid as the first request"},
        )

    def test_two_connects_at_once(self):
        client = self.door.newcomer()
        request = {"type": "req", "id": "1", "method": "connect", "params": connect_params()}
        client.raw(masked(json.dumps(request).encode()) * 2)
        first, second = client.frames()
        self.assertEqual((first["ok"], second["ok"]), (True, False))

    def test_methods_before_login(self):
        client = self.door.newcomer()
        client.request("1", "agent", message="hi", idempotencyKey="k")
        client.request("2", "connect", **connect_params())
        self.assertEqual(
            client.frame()["error"]["message"], "invalid handshake: first request must be connect"
        )
        self.assertEqual(client.outcome, (1008, "invalid handshake: first request must be connect"))
        self.assertEqual(self.door.runs.runner.active(), ())

    def test_a_close_reason_is_never_too_long(self):
        client = self.door.newcomer()
        client.request("1", "connect", **{"ü" * 70: 1})
        client.frames()
        assert client.outcome is not None
        code, reason = client.outcome
        self.assertEqual(code, 1008)
        self.assertLessEqual(len(reason.encode()), 123)
        self.assertTrue(reason.startswith("invalid connect params: at root: unexpected property 'üü"))
