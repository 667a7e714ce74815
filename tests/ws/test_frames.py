from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ws.frames import NO_ID, Fault, Malformed, Request, event, failure, parse, success

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


class ParseTests(SynchronousTestCase):
    def test_a_request(self):
        request = parse(b'{"type":"req","id":"1:a","method":"health","params":{"a": [1]}}')
        assert isinstance(request, Request)
        self.assertEqual(
            (request.id, request.method, bytes(request.params)), ("1:a", "health", b'{"a": [1]}')
        )

    def test_params_may_be_left_out_and_version_4_may_add_its_keys(self):
        request = parse(b'{"type":"req","id":"1","method":"m","traceparent":"t","expectedProfileId":"p"}')
        assert isinstance(request, Request)
        self.assertEqual(bytes(request.params), b"{}")

    def test_what_is_no_json_is_nothing(self):
        for data in [
            b"",
            b"hello",
            b'{"type":"req"',
            b'{"type":"x", oops}',
            b'{"type":"req","id":"1","method":"m","params":nul}',
            b'{"type":"req","id":"\xff","method":"m"}',
            b'{"type":"req","id":"1","method":"\\ud800"',
            b"[" * 100_000,
            b'{"type":"req","id":"1","method":"m","params":' + b"[" * 100_000,
            b"\x00",
        ]:
            self.assertIsNone(parse(data), data[:60])

    def test_half_an_emoji_hides_no_request(self):
        request = parse(b'{"type":"req","id":"1","method":"m","params":{"message":"so \\ud83e"}}')
        assert isinstance(request, Request)
        self.assertEqual(msgspec.json.decode(request.params), {"message": "so \ufffd"})

    def test_what_is_no_request_is_answered_under_its_id_where_it_has_one(self):
        for data, request_id, problem in [
            (b"[]", NO_ID, "at root: expected `object`, got `array`"),
            (b"5", NO_ID, "at root: expected `object`, got `int`"),
            (b'{"type":"req","method":"m"}', NO_ID, "must have required property 'id'"),
            (b'{"type":"req","id":5,"method":"m"}', NO_ID, "at /id: expected `str`, got `int`"),
            (b'{"type":"req","id":"","method":"m"}', NO_ID, "at /id: expected `str` of length >= 1"),
            (b'{"id":"1","method":"m"}', "1", "must have required property 'type'"),
            (b'{"type":"res","id":"1","method":"m"}', "1", "at /type: invalid enum value 'res'"),
            (b'{"type":"req","id":"1"}', "1", "must have required property 'method'"),
            (b'{"type":"req","id":"1","method":"m","x":1}', "1", "at root: unexpected property 'x'"),
        ]:
            self.assertEqual(parse(data), Malformed(request_id, problem), data)

    def test_an_id_without_end_is_not_repeated(self):
        data = json.dumps({"type": "req", "id": "x" * 257, "method": "m"}).encode()
        malformed = parse(data)
        assert isinstance(malformed, Malformed)
        self.assertEqual(malformed.id, NO_ID)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_nothing_that_comes_in_raises(self, data):
        self.assertIsInstance(parse(data), Request | Malformed | None)


class EncodeTests(SynchronousTestCase):
    def test_only_the_keys_of_version_3_are_sent(self):
        fault = Fault(code="C", message="m", details={"a": 1}, retryable=True, retry_after_ms=5)
        for frame, expected in [
            (success("1", {"x": 1}), {"type": "res", "id": "1", "ok": True, "payload": {"x": 1}}),
            (
                failure("1", Fault(code="C", message="m")),
                {"type": "res", "id": "1", "ok": False, "error": {"code": "C", "message": "m"}},
            ),
            (
                failure("1", fault, {"status": "error"}),
                {
                    "type": "res",
                    "id": "1",
                    "ok": False,
                    "payload": {"status": "error"},
                    "error": {
                        "code": "C",
                        "message": "m",
                        "details": {"a": 1},
                        "retryable": True,
                        "retryAfterMs": 5,
                    },
                },
            ),
            (event("tick", {"ts": 1}), {"type": "event", "event": "tick", "payload": {"ts": 1}}),
        ]:
            self.assertEqual(json.loads(frame), expected)
