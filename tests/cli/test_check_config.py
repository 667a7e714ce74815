from __future__ import annotations

import json

from openclaw_twisted.cli.init import STARTER
from tests.cli.case import CommandTestCase

__all__ = ["CheckConfigTests"]

SECRET = "a-secret-that-nobody-may-read-0123456789"


class CheckConfigTests(CommandTestCase):
    def test_what_init_writes_holds(self) -> None:
        path = self.configure(STARTER)
        self.assertEqual(
            [
                f"ok: {path}",
                "  port      18789",
                "  bind      loopback",
                "  auth      token, made at the first start",
                "  endpoint  /v1/chat/completions is on",
                "  responses /v1/responses is off; set gateway.http.endpoints.responses.enabled",
                "  agents    main (default)",
                "  model     not set: a configured provider's first one, else the local one",
            ],
            self.succeed("check-config").splitlines(),
        )

    def test_no_file_is_all_defaults(self) -> None:
        said = self.succeed("check-config")
        self.assertIn("ok: there is no configuration file", said)
        self.assertIn("endpoint  /v1/chat/completions is off; set", said)
        self.assertIn("responses /v1/responses is off; set gateway.http.endpoints.responses.enabled", said)
        self.assertFalse(self.state.exists())

    def test_all_problems_are_told_and_no_secret(self) -> None:
        self.configure('{gateway: {prot: 1, bind: "moon", auth: {token: "%s"}}}' % SECRET)  # noqa: UP031 - braces
        said = self.fail_with(1, "check-config")
        self.assertIn("gateway.prot", said)
        self.assertIn("gateway.bind", said)
        self.assertNotIn(SECRET, said)

    def test_warnings_do_not_fail_it(self) -> None:
        self.configure(
            '{channels: {telegram: {}}, agents: {list: [{id: "a"}, {id: "b", default: true, model: "x/y"}]}}'
        )
        said = self.succeed("check-config")
        self.assertIn("agents    a, b (default)\n", said)
        self.assertIn("model     x/y\n", said)
        self.assertRegex(said, r"Warnings:\n(?:  - .*\n)*  - .*channels")

    def test_json_when_it_holds(self) -> None:
        path = self.configure('{gateway: {port: 1234, auth: {token: "%s"}}, channels: {}}' % SECRET)  # noqa: UP031
        said = self.succeed("check-config", "--json")
        document = json.loads(said)
        self.assertEqual((True, str(path)), (document["ok"], document["path"]))
        self.assertIn("channels", document["warnings"][0]["message"])
        self.assertEqual(
            {
                "port": 1234,
                "bind": "loopback",
                "tls": False,
                "authMode": "token",
                "chatCompletions": False,
                "responses": False,
                "agents": ["main"],
                "defaultAgent": "main",
                "defaultModel": None,
            },
            document["gateway"],
        )
        self.assertNotIn(SECRET, said)

    def test_json_when_it_does_not(self) -> None:
        path = self.configure("{gateway: {port: 0, bind: 1}}")
        result = self.invoke("check-config", "--json")
        document = json.loads(result.stdout)
        self.assertEqual((1, ""), (result.exit_code, result.stderr))
        self.assertEqual((False, str(path)), (document["ok"], document["path"]))
        self.assertEqual(
            {"gateway.port", "gateway.bind"}, {problem["path"] for problem in document["problems"]}
        )

    def test_what_only_a_start_would_find_is_told_too(self) -> None:
        for text, key in {
            "{gateway: {tls: {enabled: true, certPath: '/no.pem', keyPath: '/no.key'}}}": "gateway.tls",
            "{gateway: {http: {allowedHosts: ['a..b']}}}": "gateway.http.allowedHosts[0]",
            "{gateway: {mode: 'remote'}}": "gateway.mode",
            "{models: {embedding: 'no/such'}}": "models.embedding",
            "{models: {providers: {p: {baseUrl: 'https://h', request: {tls: {ca: '/no.pem'}}}}}}": (
                "models.providers.p.request.tls"
            ),
        }.items():
            path = self.configure(text)
            document = json.loads(self.invoke("check-config", "--json").stdout)
            self.assertEqual((document["ok"], document["path"]), (False, str(path)), text)
            self.assertEqual([problem["path"] for problem in document["problems"]], [key])
            self.assertIn(f"  - {key}: ", self.fail_with(1, "check-config"))

    def test_nothing_is_made_by_asking(self) -> None:
        self.configure("{models: {mode: 'replace'}}")
        self.succeed("check-config")
        self.assertEqual([path.name for path in self.state.iterdir()], ["openclaw.json"])

    def test_a_file_that_is_named_has_to_be_there(self) -> None:
        missing = str(self.home / "no.json")
        self.assertIn(missing, self.fail_with(1, "check-config", "--config", missing))
