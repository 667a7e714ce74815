from __future__ import annotations

import hashlib
import json
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.auth.token_file import load_or_create_token
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.cli.target import Flags, Target, find_target
from openclaw_twisted.errors import ConfigError

__all__ = ["AddressTests", "CredentialTests"]

OWN = "own-token-0123456789-0123456789"
REMOTE = "remote-token-0123456789-0123456789"


class TargetTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.state = self.home / ".openclaw"
        self.state.mkdir(mode=0o700, parents=True)
        self.environ: dict[str, str] = {}

    def configure(self, **gateway: object) -> None:
        path = self.state / "openclaw.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"gateway": gateway}))

    def find(
        self, url: str | None = None, *, token: str | None = None, password: str | None = None
    ) -> Target:
        flags = Flags(url, token, password)
        return find_target(flags, Surroundings(environ=self.environ, home=self.home))

    def secrets(self, url: str | None = None) -> tuple[str | None, str | None]:
        """Return the token and the password that would be sent."""
        credential = self.find(url).credential
        if credential is None:
            return None, None
        token, password = (secret.reveal() if secret else None for secret in credential[1:])
        return token, password


class AddressTests(TargetTestCase):
    def test_this_machines_own_by_default(self) -> None:
        target = self.find()
        self.assertEqual(("ws://127.0.0.1:18789", True), (target.url, target.is_ours))

    def test_where_the_configuration_lets_it_listen(self) -> None:
        self.configure(port=1234, bind="lan", auth={"token": OWN})
        self.assertEqual("ws://127.0.0.1:1234", self.find().url)
        self.configure(bind="custom", customBindHost="10.1.2.3", auth={"token": OWN})
        target = self.find()
        self.assertEqual(("ws://10.1.2.3:18789", True), (target.url, target.is_ours))
        self.configure(bind="custom", customBindHost="::1", auth={"token": OWN})
        self.assertEqual("ws://[::1]:18789", self.find().url)

    def test_flag_then_environment_then_configuration(self) -> None:
        self.configure(mode="remote", remote={"url": "wss://gw.example.org", "token": REMOTE})
        self.assertEqual("wss://gw.example.org", self.find().url)
        self.environ["OPENCLAW_GATEWAY_URL"] = "ws://10.0.0.1:1"
        self.assertEqual("ws://10.0.0.1:1", self.find().url)
        self.assertEqual("ws://10.0.0.2:2", self.find("ws://10.0.0.2:2").url)

    def test_a_remote_gateway_without_an_address(self) -> None:
        self.configure(mode="remote")
        self.assertIn("gateway.remote.url", self.assertRaises(CommandError, self.find).message)

    def test_a_broken_configuration_is_not_read_when_it_is_not_needed(self) -> None:
        self.configure(prot=1)
        self.assertRaises(ConfigError, self.find)
        self.assertRaises(ConfigError, self.find, "ws://127.0.0.1:1")
        self.assertEqual(1, self.find("ws://127.0.0.1:1", token="t").port)

    def test_forms_of_an_address(self) -> None:
        for written, url, port, tls in (
            ("ws://127.0.0.1:1/x?y", "ws://127.0.0.1:1/x?y", 1, False),
            ("http://localhost", "ws://localhost", 80, False),
            ("https://gw.example.org", "wss://gw.example.org", 443, True),
            (" wss://[2001:db8::1]:9 ", "wss://[2001:db8::1]:9", 9, True),
            ("ws://box.local:1", "ws://box.local:1", 1, False),
            ("ws://gateway:1", "ws://gateway:1", 1, False),
            ("ws://100.64.1.2:1", "ws://100.64.1.2:1", 1, False),
        ):
            target = self.find(written, token="t")
            self.assertEqual((url, port, tls), (target.url, target.port, target.tls))

    def test_what_is_no_address(self) -> None:
        for written in (
            "127.0.0.1:1",
            "ws://",
            "ws://h:0",
            "ftp://h",
            "ws://h:99999",
            "ws://u:hidden@h",
            "ws://h/#x",
            "x",
        ):
            error = self.assertRaises(CommandError, self.find, written, token="t")
            self.assertIn("ws://HOST:PORT", error.message)
            self.assertNotIn("hidden", error.message)

    def test_nothing_goes_over_the_internet_unencrypted(self) -> None:
        for written in ("ws://gw.example.org", "http://8.8.8.8:1", "ws://[2606:4700::1]"):
            self.assertIn("wss://", self.assertRaises(CommandError, self.find, written, token="t").message)
        self.environ["OPENCLAW_ALLOW_INSECURE_PRIVATE_WS"] = "1"
        self.assertFalse(self.find("ws://gw.example.org", token="t").tls)

    def test_certificates(self) -> None:
        fingerprint = ":".join(["aB"] * 32)
        self.configure(mode="remote", remote={"url": "wss://gw.example.org", "tlsFingerprint": fingerprint})
        self.assertEqual("AB" * 32, self.find().fingerprint)
        self.assertIsNone(self.find("wss://other.example.org").fingerprint)
        certificate = self.home / "cert.pem"
        certificate.write_text(
            "a comment\n" + DER_cert_to_PEM_cert(b"certificate") + DER_cert_to_PEM_cert(b"issuer")
        )
        self.configure(tls={"enabled": True, "certPath": str(certificate), "keyPath": "key.pem"})
        target = self.find()
        self.assertEqual("wss://127.0.0.1:18789", target.url)
        self.assertEqual(hashlib.sha256(b"certificate").hexdigest().upper(), target.fingerprint)
        certificate.unlink()
        self.assertIsNone(self.find().fingerprint)


class CredentialTests(TargetTestCase):
    def test_flags_then_environment_then_configuration_then_the_token_file(self) -> None:
        made = load_or_create_token(self.state).token.reveal()
        self.assertEqual((made, None), self.secrets())
        self.configure(auth={"token": OWN})
        self.assertEqual((OWN, None), self.secrets())
        self.environ["OPENCLAW_GATEWAY_PASSWORD"] = "from the environment "
        self.assertEqual((None, "from the environment"), self.secrets("ws://127.0.0.1:1"))
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = "too"
        self.assertEqual(("too", "from the environment"), self.secrets("ws://127.0.0.1:1"))
        credential = self.find("ws://127.0.0.1:1", token="flag").credential
        assert credential is not None
        assert credential.token is not None
        self.assertEqual(("flag", None), (credential.token.reveal(), credential.password))

    def test_asking_makes_no_token(self) -> None:
        self.assertEqual((None, None), self.secrets())
        self.assertEqual([], list(self.state.iterdir()))

    def test_the_secret_of_the_mode(self) -> None:
        self.configure(auth={"mode": "password", "password": "open sesame", "token": OWN})
        self.assertEqual((None, "open sesame"), self.secrets())
        self.configure(auth={"mode": "none"})
        self.assertEqual((None, None), self.secrets())

    def test_each_machine_gets_its_own_secret_and_no_other(self) -> None:
        load_or_create_token(self.state)
        self.configure(auth={"token": OWN}, remote={"url": "wss://gw.example.org", "token": REMOTE})
        self.assertEqual((REMOTE, None), self.secrets("wss://gw.example.org"))
        self.assertEqual((OWN, None), self.secrets("ws://localhost:1"))
        self.assertEqual((None, None), self.secrets("wss://other.example.org"))
        self.assertEqual((None, None), self.secrets("ws://10.0.0.1"))

    def test_a_secret_is_never_shown(self) -> None:
        self.configure(auth={"token": OWN})
        target = self.find()
        self.assertNotIn(OWN, repr(target))
        assert target.credential is not None
        self.assertEqual("gateway.auth.token", target.credential.source)
