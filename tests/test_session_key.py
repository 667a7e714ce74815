from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import session_key
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.session_key import SessionKey


class Parsing(SynchronousTestCase):
    def test_a_bare_key_belongs_to_the_agent(self) -> None:
        self.assertEqual(str(session_key.parse(" Raycast:Chat:1 ", "main")), "agent:main:raycast:chat:1")

    def test_a_full_key_names_its_agent(self) -> None:
        self.assertEqual(session_key.parse("AGENT:Beta:x:y", "main"), SessionKey("beta", "x:y"))

    def test_what_cannot_be_a_key(self) -> None:
        refused = ["", "  ", "x" * 513, "a\x00b", "a\nb", "agent:", "agent:main", "agent:main:", "agent::x"]
        for text in refused:
            with self.assertRaises(InvalidRequestError, msg=repr(text)):
                session_key.parse(text, "main")

    def test_reserved_prefixes_are_refused_bare_and_full(self) -> None:
        for prefix in ("subagent:", "cron:", "acp:"):
            for text in (f"{prefix}x", f"agent:main:{prefix}x", prefix.upper() + "x"):
                with self.assertRaises(InvalidRequestError, msg=text):
                    session_key.parse(text, "main")

    @given(st.text(max_size=60))
    def test_a_parsed_key_parses_to_itself(self, text: str) -> None:
        try:
            key = session_key.parse(text, "main")
        except InvalidRequestError:
            return
        self.assertEqual(session_key.parse(str(key), "other"), key)


class Making(SynchronousTestCase):
    def test_stateless_keys_differ_and_say_so(self) -> None:
        first, second = session_key.stateless("main"), session_key.stateless("main")
        self.assertNotEqual(first, second)
        self.assertTrue(first.stateless)

    def test_a_user_has_one_key_however_it_is_written(self) -> None:
        key = session_key.for_user("main", " Alice@Example.org ")
        self.assertEqual(str(key), "agent:main:openai-user:alice@example.org")
        self.assertFalse(key.stateless)

    def test_a_client_names_its_conversation(self) -> None:
        key = session_key.for_client("main", "x-session-id", "42")
        self.assertEqual(str(key), "agent:main:x-session-id:42")
