from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import Loaded, parse
from openclaw_twisted.config.settings import Secret
from openclaw_twisted.errors import Problem
from openclaw_twisted.ws.method import Call
from openclaw_twisted.ws.methods.config import REDACTED, config_methods
from tests.config.cases import STRONG
from tests.ws.rig import client_of

TEXT = json.dumps(
    {
        "gateway": {
            "auth": {"token": STRONG},
            "remote": {"token": "a-remote-secret", "url": "wss://me:a-url-secret@h"},
        },
        "models": {
            "providers": {
                "up": {
                    "baseUrl": "https://example.org/v1",
                    "apiKey": "an-api-secret",
                    "apiKeys": ["a-second-secret"],
                    "headers": {"x-key": "a-header-secret"},
                    "models": [{"id": "m"}],
                }
            }
        },
        "env": {"vars": {"MY_KEY": "an-env-secret"}},
    }
)


class ConfigTests(SynchronousTestCase):
    def config(self, loaded: Loaded) -> Any:
        (method,) = config_methods(loaded)
        call = Call(client=client_of(), accept=lambda _: None)
        answer = self.successResultOf(Deferred.fromCoroutine(method.answer(call, msgspec.Raw(b"{}"))))
        return json.loads(msgspec.json.encode(answer.payload))

    def test_the_configuration_in_effect(self):
        told = self.config(parse(TEXT, {}))
        self.assertEqual(
            (told["path"], told["exists"], told["valid"], told["raw"]), (None, False, True, None)
        )
        self.assertEqual(told["config"]["gateway"]["port"], 18789)
        self.assertEqual(told["config"]["models"]["providers"]["up"]["models"][0]["id"], "m")
        self.assertEqual((told["parsed"], told["resolved"]), (told["config"], told["config"]))
        self.assertEqual((told["issues"], told["legacyIssues"]), ([], []))

    def test_no_secret_is_told(self):
        told = self.config(parse(TEXT, {}))
        self.assertNotIn("secret", json.dumps(told["config"]).replace('"secrets"', ""))
        self.assertNotIn(STRONG, json.dumps(told))
        self.assertEqual(told["config"]["gateway"]["auth"]["token"], REDACTED)
        provider = told["config"]["models"]["providers"]["up"]
        self.assertEqual(
            (provider["apiKey"], provider["apiKeys"], provider["headers"]),
            (REDACTED, [REDACTED], {"x-key": REDACTED}),
        )
        self.assertEqual(told["config"]["gateway"]["remote"]["url"], "wss://***@h")

    def test_the_hash_tells_changes_but_nothing_of_secrets(self):
        first = self.config(parse(TEXT, {}))["hash"]
        self.assertEqual(
            self.config(parse(TEXT.replace("an-api-secret", "another-secret"), {}))["hash"], first
        )
        self.assertNotEqual(self.config(parse("{gateway: {port: 1}}", {}))["hash"], first)

    def test_where_it_stands_and_what_is_odd_about_it(self):
        loaded = Loaded(
            settings=parse(TEXT, {}).settings,
            path=Path("/etc/openclaw.json"),
            warnings=(Problem("gateway.port", "is odd"),),
        )
        told = self.config(loaded)
        self.assertEqual((told["path"], told["exists"]), ("/etc/openclaw.json", True))
        self.assertEqual(told["warnings"], [{"path": "gateway.port", "message": "is odd"}])

    def test_a_secret_is_known_by_its_type(self):
        self.assertRaises(TypeError, msgspec.json.encode, Secret("x"))
