"""What changes at once, and what waits for a restart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.reload import NEEDS_RESTART, Change, change
from openclaw_twisted.config.settings import Settings

TOKEN = "a-strong-token-for-tests"
PASSWORD = "a-strong-password-for-tests"


def settings(tree: dict[str, Any]) -> Settings:
    return parse(json.encode(tree).decode(), {}).settings


def changed(old: dict[str, Any], new: dict[str, Any]) -> Change:
    return change(settings(old), settings(new))


def with_auth(**auth: Any) -> dict[str, Any]:
    return {"gateway": {"auth": auth}}


class Changes(SynchronousTestCase):
    def test_nothing(self) -> None:
        found = changed(with_auth(token=TOKEN), with_auth(token=TOKEN))
        self.assertEqual((found.applied, found.waiting), ((), ()))

    def test_what_takes_effect_at_once(self) -> None:
        found = changed(
            with_auth(token=TOKEN),
            {
                "gateway": {"auth": {"token": TOKEN + "2"}, "trustedProxies": ["10.0.0.1"]},
                "agents": {"list": [{"id": "new"}]},
                "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}},
                "logging": {"level": "debug"},
            },
        )
        self.assertEqual(
            found.applied,
            (
                "gateway.auth.token",
                "gateway.trustedProxies",
                "agents.entries.new",
                "models.providers.p",
                "logging.level",
            ),
        )
        self.assertEqual(found.waiting, ())

    def test_what_waits_keeps_its_value(self) -> None:
        found = changed(
            {"gateway": {"port": 1000, "http": {"allowedHosts": ["a.example"]}}},
            {"gateway": {"port": 2000, "http": {"allowedHosts": ["b.example"]}}},
        )
        self.assertEqual((found.applied, found.waiting), (("gateway.http.allowedHosts",), ("gateway.port",)))
        self.assertEqual(found.settings.gateway.port, 1000)
        self.assertEqual(found.settings.gateway.http.allowed_hosts, ("b.example",))

    def test_another_kind_of_login_waits_with_all_that_belongs_to_it(self) -> None:
        found = changed(with_auth(token=TOKEN), with_auth(password=PASSWORD))
        self.assertEqual((found.applied, found.waiting), ((), ("gateway.auth.mode",)))
        self.assertEqual(found.settings.gateway.auth, settings(with_auth(token=TOKEN)).gateway.auth)

    def test_saying_the_same_kind_in_words_is_no_change_of_kind(self) -> None:
        found = changed(with_auth(token=TOKEN), with_auth(mode="token", token=TOKEN))
        self.assertEqual((found.applied, found.waiting), (("gateway.auth.mode",), ()))

    def test_the_local_models_keys_are_told_as_a_file_has_them(self) -> None:
        found = changed({}, {"models": {"providers": {"local": {"contextTokens": 4096}}}})
        self.assertEqual(found.applied, ())
        self.assertEqual(found.waiting, ("models.providers.local.contextTokens",))

    def test_every_key_of_the_table_exists_and_waits(self) -> None:
        different: dict[str, Any] = {
            "gateway.mode": "remote",
            "gateway.port": 4000,
            "gateway.bind": "auto",
            "gateway.customBindHost": "127.0.0.1",
            "gateway.tls": {"certPath": "/a.pem", "keyPath": "/b.pem"},
            "gateway.limits": {"tickSeconds": 3},
            "models.local": None,
            "storage": None,
            "env": {"vars": {"NAME": "value"}},
        }
        self.assertEqual(set(different), set(NEEDS_RESTART))
        for path, value in different.items():
            if value is None:
                continue  # has rules of its own beside this one
            tree: Any = value
            for name in reversed(path.split(".")):
                tree = {name: tree}
            found = changed({}, tree)
            self.assertEqual(found.applied, (), path)
            self.assertTrue(all(key.startswith(path) for key in found.waiting), path)
            self.assertTrue(found.waiting, path)

    def test_the_documentation_has_the_same_table(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "operations" / "reload.md").read_text()
        listed = re.findall(r"^- `([\w.]+)`", page, re.MULTILINE)
        keys = [key.replace("models.local", "models.providers.local") for key in NEEDS_RESTART]
        self.assertEqual(sorted(listed), sorted([*keys, "gateway.auth.mode"]))
