"""One event, one line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.logs.lines import (
    _CREDENTIAL,
    MAX_LINE_CHARACTERS,
    compact,
    json_line,
    pretty,
    redactor,
    text_of,
)

# What credentials are made of, in either case and in letters beyond ASCII that have one of these as a case.
PIECES = (
    *(
        "Bearer",
        "BEARER",
        "bearer",
        "sk",
        "PK",
        "rk",
        "gsk",
        "xai",
        "XAI",
        "OCD",
        "s\u212a",
        "xa\u0131",
        "-",
        "_",
    ),
    *(" ", "\t", "0123456789", "abcdefgh", "\xe9", "."),
)


def event(form: str = "run {run_id} ended", **values: Any) -> dict[str, Any]:
    return {
        "log_format": form,
        "log_time": 1_795_250_000.25,
        "log_level": LogLevel.warn,
        "log_namespace": "openclaw_twisted.runs.runner",
        **values,
    }


def failed() -> Failure:
    try:
        int("first\nsecond")
    except ValueError:
        return Failure()
    raise AssertionError


class Texts(SynchronousTestCase):
    def test_values_and_formats(self) -> None:
        self.assertEqual(text_of(event("{n:.2f} s, {s!r}", n=1.005, s="x")), "1.00 s, 'x'")

    def test_what_only_twisted_can_format(self) -> None:
        self.assertEqual(text_of(event("{call()} {thing.real}", call=lambda: "called", thing=3)), "called 3")

    def test_an_event_that_cannot_be_told_is_told_all_the_same(self) -> None:
        self.assertIn("missing", text_of(event("{missing}")))

    @given(st.text())
    def test_strangers_cannot_write_lines_of_their_own(self, text: str) -> None:
        line = pretty(event("{text}", text=text), text_of(event("{text}", text=text)))
        self.assertEqual(len(line.splitlines()), 1)
        self.assertNotIn("\x1b", line)

    def test_long_texts_are_cut(self) -> None:
        self.assertEqual(len(text_of(event("{x}", x="x" * 10_000))), MAX_LINE_CHARACTERS)


class Styles(SynchronousTestCase):
    def test_pretty(self) -> None:
        self.assertEqual(
            pretty(event(run_id="r1"), "run r1 ended"),
            "2026-11-21T08:33:20.250Z warn  [runs.runner] run r1 ended\n",
        )

    def test_compact(self) -> None:
        self.assertEqual(compact(event(), "hello"), "08:33:20 hello\n")

    def test_json(self) -> None:
        told = json.loads(json_line(event(run_id="r1", tokens=3, thing=object()), "run r1 ended"))
        self.assertEqual(
            told,
            {
                "time": "2026-11-21T08:33:20.250Z",
                "level": "warn",
                "logger": "runs.runner",
                "message": "run r1 ended",
                "run_id": "r1",
                "tokens": 3,
            },
        )

    def test_a_value_cannot_pass_for_the_message(self) -> None:
        self.assertEqual(json.loads(json_line(event(message="forged"), "true"))["message"], "true")

    def test_tracebacks_follow_their_line(self) -> None:
        with_failure = event(log_failure=failed())
        first, *more = pretty(with_failure, "it failed").splitlines()
        self.assertTrue(first.endswith("it failed"))
        self.assertTrue(all(line.startswith("    ") for line in more))
        self.assertIn("ValueError: invalid literal", json.loads(json_line(with_failure, ""))["traceback"])


class Redaction(SynchronousTestCase):
    def test_secrets_of_the_configuration(self) -> None:
        redact = redactor(["correct horse", "correct horse battery", "short"])
        self.assertEqual(redact("a correct horse battery b correct horse c short"), "a *** b *** c short")

    def test_what_looks_like_a_credential(self) -> None:
        redact = redactor([])
        for text in (
            *("Bearer abc.def", "bearer abc", "sk-proj-0123456789abcdef", "gsk_0123456789", "XAI-0123456789"),
            "ocd_0123456789",  # a device's token
            *("s\u212a-0123456789", "xa\u0131_0123456789"),
        ):
            self.assertEqual(redact(f"with {text} in it"), "with *** in it")
        self.assertEqual(redact("a task-list of keys"), "a task-list of keys")

    @given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
    def test_no_credential_is_passed_over(self, text: str) -> None:
        self.assertIsNone(_CREDENTIAL.search(redactor([])(text)))
