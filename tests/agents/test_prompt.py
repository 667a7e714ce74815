from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw_twisted.agents.directory import Agent, PromptSettings
from openclaw_twisted.agents.prompt import MAX_USER_CHARS, RECHECK_SECONDS, PromptSource


class PromptTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.looks = 0
        self.source = PromptSource(self.clock.seconds, self.in_thread)
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.settings = PromptSettings(workspaces=(self.folder,))

    def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        self.looks += 1
        return execute(call, *arguments)

    def agent(self, agent_id: str = "main", **settings: Any) -> Agent:
        return Agent(id=agent_id, name=agent_id, prompt=dataclasses.replace(self.settings, **settings))

    def text(self, agent: Agent) -> str:
        return self.successResultOf(ensureDeferred(self.source.text(agent)))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


class IntroductionTests(PromptTestCase):
    def test_without_anything_it_is_short(self):
        text = self.text(self.agent())
        self.assertTrue(text.startswith("You are a helpful assistant. "))
        self.assertLess(len(text), 200)

    def test_the_agent_knows_its_name_and_manner(self):
        text = self.text(self.agent(persona="Ada", theme="dry and exact"))
        self.assertTrue(text.startswith("You are Ada, a helpful assistant. Your manner: dry and exact. "))

    def test_a_missing_workspace_and_blank_files_are_no_files(self):
        self.write("SOUL.md", " \n")
        plain = self.text(self.agent())
        self.assertEqual(self.text(self.agent("b", workspaces=())), plain)
        self.assertEqual(self.text(self.agent("c", workspaces=(self.folder / "none",))), plain)
        self.assertTrue(plain.startswith("You are a helpful assistant."))

    def test_context_injection_never_leaves_the_files_alone(self):
        self.write("SOUL.md", "Soul.")
        self.assertNotIn("Soul.", self.text(self.agent(context_injection="never")))
        self.assertEqual(self.looks, 0)

    def test_the_agents_own_prompt_stands_alone(self):
        self.write("SOUL.md", "Soul.")
        agent = self.agent(override=" Answer in rhyme. ", persona="Ada", context_injection="never")
        self.assertEqual(self.text(agent), " Answer in rhyme. ")
        self.assertEqual(self.looks, 0)


class WorkspaceTests(PromptTestCase):
    def test_the_files_in_order_under_their_names(self):
        self.write("USER.md", "Call me Bo.\n")
        self.write("AGENTS.md", "# Rules\n\nBe kind.\n")
        text = self.text(self.agent(persona="Ada"))
        opening, _, rest = text.partition("\n\n")
        self.assertTrue(opening.startswith("You are Ada. The files of your workspace"))
        self.assertEqual(rest, "## AGENTS.md\n\n# Rules\n\nBe kind.\n\n## USER.md\n\nCall me Bo.")

    def test_continuation_skip_is_always(self):
        self.write("SOUL.md", "Soul.")
        self.assertIn("Soul.", self.text(self.agent(context_injection="continuation-skip")))

    def test_a_change_is_seen_after_a_second_and_not_looked_for_before(self):
        agent = self.agent()
        self.write("SOUL.md", "One.")
        self.assertIn("One.", self.text(agent))
        self.write("SOUL.md", "Number two.")
        self.clock.advance(RECHECK_SECONDS - 0.1)
        self.assertIn("One.", self.text(agent))
        self.assertEqual(self.looks, 1)
        self.clock.advance(0.2)
        self.assertIn("Number two.", self.text(agent))
        self.assertIn("Number two.", self.text(agent))
        self.assertEqual(self.looks, 2)

    def test_a_file_that_goes_away_goes_away(self):
        agent = self.agent()
        self.write("SOUL.md", "Soul.")
        self.text(agent)
        (self.folder / "SOUL.md").unlink()
        self.clock.advance(RECHECK_SECONDS)
        self.assertNotIn("Soul.", self.text(agent))

    def test_new_settings_count_at_once(self):
        self.write("SOUL.md", "Soul.")
        self.assertNotIn("Ada", self.text(self.agent()))
        self.assertIn("You are Ada.", self.text(self.agent(persona="Ada")))

    def test_agents_are_kept_apart(self):
        self.write("SOUL.md", "Soul.")
        other = self.folder / "other"
        other.mkdir()
        self.assertIn("Soul.", self.text(self.agent()))
        self.assertNotIn("Soul.", self.text(self.agent("b", workspaces=(other,))))

    def test_a_look_that_fails_is_made_again(self):
        self.write("SOUL.md", "Soul.")
        broken = PromptSource(self.clock.seconds, lambda *_: execute(self.fail_once))
        agent = self.agent()
        self.failureResultOf(ensureDeferred(broken.text(agent)), OSError)
        broken._in_thread = self.in_thread
        self.assertIn("Soul.", self.successResultOf(ensureDeferred(broken.text(agent))))

    def fail_once(self) -> None:
        raise OSError("no thread")

    def test_a_caller_that_leaves_disturbs_nobody(self):
        self.write("SOUL.md", "Soul.")
        source = PromptSource(self.clock.seconds, lambda *_: Deferred())
        agent = self.agent()
        leaving = ensureDeferred(source.text(agent))
        leaving.addErrback(lambda _: None)
        leaving.cancel()
        source._in_thread = self.in_thread
        self.assertIn("Soul.", self.successResultOf(ensureDeferred(source.text(agent))))


class LimitTests(PromptTestCase):
    def test_a_long_file_keeps_its_beginning_and_end_round_a_mark(self):
        self.write("SOUL.md", "a" * 600 + "b" * 600)
        text = self.text(self.agent(max_chars_per_file=402))
        content = text.partition("## SOUL.md\n\n")[2]
        self.assertEqual(len(content), 402)
        head, mark, tail = content.partition("\n\n[... part of SOUL.md is left out here ...]\n\n")
        self.assertTrue(mark)
        self.assertEqual((set(head), set(tail)), ({"a"}, {"b"}))
        self.assertEqual(len(head), 3 * len(tail))

    def test_a_file_that_just_fits_is_whole(self):
        self.write("SOUL.md", "a" * 400)
        self.assertTrue(self.text(self.agent(max_chars_per_file=400)).endswith("a" * 400))

    def test_user_md_has_a_limit_of_its_own(self):
        self.write("USER.md", "u" * 10_000)
        self.write("SOUL.md", "s" * 10_000)
        text = self.text(self.agent())
        self.assertEqual(len(text.partition("## USER.md\n\n")[2]), MAX_USER_CHARS)
        self.assertIn("s" * 10_000, text)

    def test_all_files_together(self):
        self.write("AGENTS.md", "a" * 100)
        self.write("SOUL.md", "s" * 500)
        self.write("TOOLS.md", "t" * 100)
        text = self.text(self.agent(max_chars=300))
        self.assertIn("a" * 100, text)
        self.assertEqual(len(text.partition("## SOUL.md\n\n")[2]), 200)
        self.assertNotIn("TOOLS.md", text)

    def test_limits_smaller_than_the_mark(self):
        self.write("SOUL.md", "s" * 500)
        self.assertTrue(self.text(self.agent(max_chars_per_file=5)).endswith("\n\nsssss"))
        self.assertNotIn("SOUL.md", self.text(self.agent("b", max_chars=5)))

    def test_cuts_and_problems_are_said_once_each(self):
        agent = self.agent(max_chars_per_file=100)
        self.write("SOUL.md", "s" * 500)
        with capturedLogs() as events:
            for _ in range(3):
                self.text(agent)
                self.clock.advance(RECHECK_SECONDS)
            (self.folder / "USER.md").symlink_to("/etc/hostname")
            for _ in range(3):
                self.text(agent)
                self.clock.advance(RECHECK_SECONDS)
        notes = [event["note"] for event in events]
        self.assertEqual(len(notes), 2)
        self.assertIn("was cut to 100", notes[0])
        self.assertIn("leads out of the workspace", notes[1])
        self.assertNotIn("sss", repr(events))


class ThreadTests(TestCase):
    def test_files_are_read_in_a_thread(self):
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        (folder / "SOUL.md").write_text("Soul.")
        agent = Agent(id="a", name="a", prompt=PromptSettings(workspaces=(folder,)))
        reading = ensureDeferred(PromptSource(Clock().seconds).text(agent))
        self.assertNoResult(reading)
        return reading.addCallback(lambda text: self.assertIn("Soul.", text))
