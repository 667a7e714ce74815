from __future__ import annotations

import json

from tests.cli.case import CommandTestCase

__all__ = ["TokenTests"]

TOKEN = "a-token-that-is-long-enough-0123456789"
CONFIGURATION = json.dumps({"gateway": {"auth": {"token": TOKEN}}})


class TokenTests(CommandTestCase):
    def test_the_token_of_the_configuration(self) -> None:
        self.configure(CONFIGURATION)
        self.assertEqual(f"{TOKEN}\n", self.succeed("token", "show"))
        self.assertFalse((self.state / "credentials").exists())

    def test_the_environment_wins(self) -> None:
        self.configure(CONFIGURATION)
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = TOKEN.upper()
        self.assertEqual(f"{TOKEN.upper()}\n", self.succeed("token", "show"))

    def test_the_password_where_that_is_asked_for(self) -> None:
        self.configure('{gateway: {auth: {mode: "password", password: "open sesame, please, do it"}}}')
        self.assertEqual("open sesame, please, do it\n", self.succeed("token", "show"))

    def test_without_any_the_token_of_the_first_start_is_made(self) -> None:
        made = self.invoke("token", "show")
        path = self.state / "credentials" / "gateway-token"
        self.assertEqual(path.read_text(), made.stdout)
        self.assertIn(f"Made one: {path}", made.stderr)
        again = self.invoke("token", "show")
        self.assertEqual((made.stdout, ""), (again.stdout, again.stderr))

    def test_no_secret_no_output(self) -> None:
        self.configure('{gateway: {auth: {mode: "none"}}}')
        self.assertIn('"none": there is no secret', self.fail_with(1, "token", "show"))

    def test_another_configuration(self) -> None:
        path = self.home / "other.json"
        path.write_text(CONFIGURATION)
        self.assertEqual(f"{TOKEN}\n", self.succeed("token", "show", "--config", str(path)))

    def test_a_configuration_that_does_not_hold_is_told_without_its_secrets(self) -> None:
        self.configure(CONFIGURATION.replace('"auth"', '"prot": 1, "auth"'))
        said = self.fail_with(1, "token", "show")
        self.assertIn("gateway.prot", said)
        self.assertNotIn(TOKEN, said)
