from __future__ import annotations

from typing import Annotated, Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.ws.params import invalid, read


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class Outer(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    inner: Inner | None = None
    some_texts: tuple[str, ...] = ()
    how_many: Annotated[int, msgspec.Meta(ge=1)] = 1
    flags: dict[str, bool] = {}


class Needy(msgspec.Struct, forbid_unknown_fields=True):
    message: str


class Loose(msgspec.Struct, array_like=True):
    first: Any


class ReadTests(SynchronousTestCase):
    def problem(self, text: bytes, shape: type = Outer) -> str:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        error = self.assertRaises(InvalidRequestError, read, "m", msgspec.Raw(text), decoder)
        message = error.message
        assert isinstance(message, str)
        return message

    def test_the_words_are_those_of_a_schema_validator(self):
        for text, problem in [
            (b'{"foo":1}', "at root: unexpected property 'foo'"),
            (b'{"inner":{}}', "at /inner: must have required property 'id'"),
            (b'{"inner":{"id":1}}', "at /inner/id: expected `str`, got `int`"),
            (b'{"inner":{"id":"a","x":1}}', "at /inner: unexpected property 'x'"),
            (b'{"someTexts":["a",2]}', "at /someTexts/1: expected `str`, got `int`"),
            (b'{"flags":{"a":1}}', "at /flags/: expected `bool`, got `int`"),
            (b'{"howMany":0}', "at /howMany: expected `int` >= 1"),
            (b"[]", "at root: expected `object`, got `array`"),
            (b'{"inner":{"id":"\xff"}}', "not valid JSON"),
        ]:
            self.assertEqual(self.problem(text), f"invalid m params: {problem}")
        self.assertEqual(self.problem(b"[" * 100_000, Loose), "invalid m params: not valid JSON")
        self.assertEqual(
            self.problem(b"{}", Needy), "invalid m params: must have required property 'message'"
        )

    def test_no_params_are_an_empty_object(self):
        decoder = msgspec.json.Decoder(Outer)
        self.assertEqual(read("m", msgspec.Raw(b"null"), decoder), Outer())
        self.assertEqual(
            self.problem(b"null", Needy), "invalid m params: must have required property 'message'"
        )

    def test_what_the_client_wrote_is_repeated_in_short_and_on_one_line(self):
        name = "x\\n" * 1000
        self.assertLess(len(self.problem(f'{{"{name}":1}}'.encode())), 200)
        self.assertNotIn("\n", self.problem(f'{{"{name}":1}}'.encode()))
        self.assertLess(len(self.problem(b'{"inner - at `$.' + b"y" * 1000 + b'":1}')), 300)

    def test_an_error_of_our_own(self):
        self.assertEqual(invalid("agent", "no").message, "invalid agent params: no")
