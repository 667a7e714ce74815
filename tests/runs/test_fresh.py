"""When conversations are over."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import SessionRow
from openclaw_twisted.config.settings import ResetSettings
from openclaw_twisted.content import ImagePart, Message, TextPart
from openclaw_twisted.runs.fresh import GREETING, asks_afresh, is_over, without_trigger
from openclaw_twisted.testing import run_request, user

TRIGGERS = ("/new", "/Reset ")
IMAGE = ImagePart("image/png", "aGk=")


class TriggerTests(SynchronousTestCase):
    def test_a_trigger_is_a_whole_message_or_its_first_word(self) -> None:
        for text in ("/new", " /NEW\n", "/reset", "/new what now", "/reset\tx"):
            self.assertTrue(asks_afresh(text, TRIGGERS), text)
        for text in ("", "/newer", "new", "say /new", "/ne", "/new!"):
            self.assertFalse(asks_afresh(text, TRIGGERS), text)
        self.assertFalse(asks_afresh("/new", ()))
        self.assertFalse(asks_afresh("", ("", " ")))

    def test_what_follows_begins_the_new_conversation(self) -> None:
        request = run_request(user("old"), Message(role="assistant", content="x"), user("/New  what  now "))
        anew = without_trigger(request, TRIGGERS)
        assert anew is not None
        self.assertEqual((anew.messages, anew.appends), ((user("what  now"),), True))
        self.assertEqual(anew.instructions, ())

    def test_a_trigger_alone_gets_a_greeting(self) -> None:
        anew = without_trigger(run_request(user("/new"), instructions=("Be brief.",)), TRIGGERS)
        assert anew is not None
        self.assertEqual(anew.messages, (user("/new"),))
        self.assertEqual(anew.instructions, ("Be brief.", GREETING))

    def test_images_stay(self) -> None:
        for text, parts in (("/new look", (TextPart("look"), IMAGE)), ("/new", (IMAGE,))):
            message = Message(role="user", content=(TextPart(text), IMAGE))
            anew = without_trigger(run_request(message), TRIGGERS)
            self.assertEqual(anew and anew.messages, (Message(role="user", content=parts),))

    def test_only_what_the_user_said_last_counts(self) -> None:
        self.assertIsNone(without_trigger(run_request(user("/new"), user("go on")), TRIGGERS))
        tool = Message(role="tool", content="/new", tool_call_id="c")
        self.assertIsNone(without_trigger(run_request(tool), TRIGGERS))


class RuleTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = os.environ.get("TZ")  # noqa: TID251 - the local clock is the process's

        def back() -> None:
            os.environ.pop("TZ", None)  # noqa: TID251
            if before is not None:
                os.environ["TZ"] = before  # noqa: TID251
            time.tzset()

        self.addCleanup(back)
        os.environ["TZ"] = "Europe/Berlin"  # noqa: TID251
        time.tzset()

    def over(self, rule: ResetSettings, now: str, *, started: str, updated: str | None = None) -> bool:
        def at(text: str) -> float:
            return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))

        row = SessionRow(
            session_key="agent:main:a",
            agent_id="main",
            session_id="x",
            created_at=0,
            started_at=at(started),
            updated_at=at(updated or started),
        )
        return is_over(row, rule, at(now))

    def test_without_a_rule_a_conversation_goes_on(self) -> None:
        self.assertFalse(self.over(ResetSettings(), "2030-01-01 00:00", started="2020-01-01 00:00"))

    def test_daily_ends_what_began_before_the_hour(self) -> None:
        rule = ResetSettings(mode="daily", at_hour=4)
        for now, started, expected in (
            ("2026-05-05 04:00", "2026-05-05 03:59", True),
            ("2026-05-05 03:59", "2026-05-05 03:58", False),
            ("2026-05-05 03:59", "2026-05-04 03:59", True),
            ("2026-05-05 23:00", "2026-05-05 04:00", False),
            ("2026-05-01 03:00", "2026-04-30 03:59", True),
            ("2026-05-01 03:00", "2026-04-30 04:00", False),
        ):
            self.assertEqual(self.over(rule, now, started=started), expected, (now, started))

    def test_the_hour_is_right_on_the_day_the_clock_changes(self) -> None:
        rule = ResetSettings(mode="daily", at_hour=4)
        self.assertTrue(self.over(rule, "2026-03-29 04:00", started="2026-03-29 03:59"))
        self.assertFalse(self.over(rule, "2026-03-30 03:59", started="2026-03-29 04:00"))
        self.assertFalse(self.over(rule, "2026-10-26 03:59", started="2026-10-25 04:00"))

    def test_idle_ends_what_paused_for_longer(self) -> None:
        rule = ResetSettings(mode="idle", idle_minutes=30)
        started = "2026-05-05 01:00"
        self.assertFalse(self.over(rule, "2026-05-05 10:30", started=started, updated="2026-05-05 10:00"))
        self.assertTrue(self.over(rule, "2026-05-05 10:31", started=started, updated="2026-05-05 10:00"))
        self.assertFalse(self.over(ResetSettings(mode="idle"), "2030-01-01 00:00", started=started))

    def test_a_day_and_a_pause_are_heeded_both(self) -> None:
        rule = ResetSettings(mode="daily", at_hour=4, idle_minutes=30)
        started = "2026-06-10 10:00"
        for at, over in {"10:30": False, "10:31": True}.items():
            self.assertEqual(self.over(rule, f"2026-06-10 {at}", started=started), over, at)
        self.assertTrue(self.over(rule, "2026-06-11 04:10", started=started, updated="2026-06-11 04:00"))
        none = ResetSettings(mode="none", at_hour=4, idle_minutes=30)
        self.assertFalse(self.over(none, "2026-06-12 10:31", started=started))
