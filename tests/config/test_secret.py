"""A secret shows itself to nobody who does not ask."""

from __future__ import annotations

import copy
import json
import traceback

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.secret import Secret, secrets_in
from openclaw_twisted.config.settings import AuthSettings

__all__ = ["Inside", "SecretTests"]


class SecretTests(SynchronousTestCase):
    """`Secret` in every place where a value could be printed."""

    def test_it_prints_as_stars(self) -> None:
        secret = Secret("hunter2")
        for shown in (
            str(secret),
            repr(secret),
            f"{secret}",
            f"{secret!r:>10}",
            "{}".format(*[secret]),
            str([secret]),
        ):
            self.assertNotIn("hunter2", shown)
            self.assertIn("***", shown)

    def test_it_is_hidden_inside_settings(self) -> None:
        self.assertNotIn("hunter2", repr(AuthSettings(token=Secret("hunter2"))))

    def test_it_is_hidden_in_a_traceback(self) -> None:
        shown = "".join(traceback.format_exception(ValueError(Secret("hunter2"))))
        self.assertIn("***", shown)

    def test_no_codec_writes_it(self) -> None:
        for encode in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode):
            self.assertRaises(TypeError, encode, {"token": Secret("hunter2")})

    def test_it_gives_itself_when_asked(self) -> None:
        self.assertEqual(Secret("hunter2").reveal(), "hunter2")
        self.assertEqual(copy.deepcopy(Secret("hunter2")).reveal(), "hunter2")

    def test_equal_secrets_are_equal(self) -> None:
        self.assertEqual(Secret("å"), Secret("å"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertEqual(len({Secret("a"), Secret("a"), Secret("\ud800")}), 2)


class Inside(SynchronousTestCase):
    """The secrets that a whole configuration holds."""

    def test_every_secret_of_a_configuration_is_found(self) -> None:
        text = """{
            "gateway": {"auth": {"token": "the-gateways-token"}},
            "models": {"providers": {"p": {
                "baseUrl": "http://127.0.0.1:1/v1", "apiKey": "key-of-p",
                "headers": {"x-more": "header-of-p"},
                "models": [{"id": "m", "headers": {"x-model": "header-of-m"}}],
            }}},
        }"""
        settings = parse(text, {}).settings
        self.assertEqual(
            set(secrets_in(settings)), {"the-gateways-token", "key-of-p", "header-of-p", "header-of-m"}
        )
