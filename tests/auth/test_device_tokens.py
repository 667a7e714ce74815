from __future__ import annotations

import json
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.auth.device_tokens import MAX_TOKENS, DeviceTokens, device_tokens_path

SECRET = b"the digest of a secret"


class TokenCase(SynchronousTestCase):
    def setUp(self):
        self.path = device_tokens_path(Path(self.mktemp()))

    def tokens(self, secret: bytes = SECRET) -> DeviceTokens:
        return DeviceTokens(self.path, secret)

    def issue(self, tokens: DeviceTokens, *scopes: str, device: str = "d", now_ms: int = 5) -> str:
        return tokens.issue(device, "operator", scopes, now_ms=now_ms).token.reveal()


class IssueTests(TokenCase):
    def test_a_token_is_found_again_by_its_device_and_role(self):
        tokens = self.tokens()
        token = self.issue(tokens, "operator.read")
        found = tokens.find(token, "d", "operator")
        assert found is not None
        self.assertEqual((found.scopes, found.issued_at_ms), (("operator.read",), 5))
        for wrong in [(token, "e", "operator"), (token, "d", "node"), ("x", "d", "operator")]:
            self.assertIsNone(tokens.find(*wrong))
        self.assertIsNone(tokens.find(None, "d", "operator"))
        self.assertTrue(tokens.knows("d"))
        self.assertFalse(tokens.knows("e"))

    def test_asking_again_gives_the_same_one(self):
        tokens = self.tokens()
        first = self.issue(tokens, "operator.read")
        self.assertEqual(self.issue(tokens, "operator.read", now_ms=9), first)
        self.assertEqual(len(tokens), 1)
        self.assertNotEqual(self.issue(tokens, "operator.read", device="e"), first)

    def test_scopes_add_up_and_older_tokens_keep_theirs(self):
        tokens = self.tokens()
        read = self.issue(tokens, "operator.read")
        both = self.issue(tokens, "operator.write")
        wide, narrow = tokens.find(both, "d", "operator"), tokens.find(read, "d", "operator")
        assert wide is not None
        assert narrow is not None
        self.assertEqual(wide.scopes, ("operator.read", "operator.write"))
        self.assertEqual(narrow.scopes, ("operator.read",))

    def test_the_oldest_are_forgotten(self):
        tokens = DeviceTokens(None, SECRET)
        first = self.issue(tokens, device="0")
        for number in range(1, MAX_TOKENS + 1):
            self.issue(tokens, device=str(number))
        self.assertEqual(len(tokens), MAX_TOKENS)
        self.assertIsNone(tokens.find(first, "0", "operator"))

    def test_one_that_is_used_outlasts_clients_with_a_new_device_each_time(self):
        tokens = self.tokens()
        kept, asked_for = self.issue(tokens, device="kept"), self.issue(tokens, device="asked for")
        for number in range(MAX_TOKENS):
            self.issue(tokens, device=str(number))
            self.assertIsNotNone(tokens.find(kept, "kept", "operator"), number)
            self.assertEqual(self.issue(tokens, device="asked for", now_ms=9), asked_for)
        self.assertEqual(len(tokens), MAX_TOKENS)
        self.assertEqual(tokens.issue("asked for", "operator", (), now_ms=9).issued_at_ms, 5)


class FileTests(TokenCase):
    def test_they_outlive_the_process_as_digests_that_only_the_owner_may_read(self):
        token = self.issue(self.tokens(), "operator.read")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], [self.path.name])
        text = self.path.read_text()
        self.assertNotIn(token, text)
        self.assertNotIn(token.removeprefix("ocd_"), text)
        self.assertEqual(json.loads(text)["tokens"][0]["deviceId"], "d")
        again = self.tokens()
        self.assertIsNotNone(again.find(token, "d", "operator"))
        self.assertEqual(self.issue(again, "operator.read"), token)

    def test_a_gateway_with_another_secret_knows_none_of_them(self):
        token = self.issue(self.tokens(), "operator.read")
        other = self.tokens(b"another")
        self.assertIsNone(other.find(token, "d", "operator"))
        self.assertNotEqual(self.issue(other, "operator.read"), token)

    def test_a_change_of_the_secret_while_running(self):
        tokens = self.tokens()
        token = self.issue(tokens)
        tokens.rekey(SECRET)
        self.assertIsNotNone(tokens.find(token, "d", "operator"))
        tokens.rekey(b"another")
        self.assertIsNone(tokens.find(token, "d", "operator"))
        self.assertEqual(len(self.tokens(b"another")), 0)
        self.assertEqual(len(self.tokens()), 0)

    def test_a_file_that_cannot_be_read_is_begun_anew(self):
        for text in ("", "{}", "nonsense", '{"salt":"xy","gateway":"","tokens":[]}'):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text)
            tokens = self.tokens()
            token = self.issue(tokens)
            self.assertIsNotNone(self.tokens().find(token, "d", "operator"), text)

    def test_a_link_is_not_followed(self):
        self.path.parent.mkdir(parents=True)
        elsewhere = self.path.with_name("elsewhere")
        elsewhere.write_text("untouched")
        self.path.symlink_to(elsewhere)
        self.issue(self.tokens())
        self.assertEqual(elsewhere.read_text(), "untouched")

    def test_a_folder_that_cannot_be_written_costs_only_the_next_start(self):
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.write_text("a file where the folder should be")
        tokens = self.tokens()
        token = self.issue(tokens)
        self.assertIsNotNone(tokens.find(token, "d", "operator"))
