from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.question import read_reply
from openclaw_twisted.cli.voices import Kept, Spoken, Streamed, Voice

__all__ = ["VoiceTests"]


def chat(text: Any, state: str = "delta") -> bytes:
    return json.dumps({"runId": "r", "state": state, "message": {"content": text}}).encode()


def final(text: str, status: str = "ok") -> bytes:
    return json.dumps({"status": status, "summary": text, "result": {"payloads": [{"text": text}]}}).encode()


class VoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.written: list[str] = []

    def end(self, voice: Voice, payload: bytes) -> None:
        voice.ended(payload, read_reply(payload))

    def spoken(self, *texts: Any, last: str) -> str:
        voice = Spoken(self.written.append)
        voice.begin("hi")
        for text in texts:
            voice.heard("chat", chat(text))
        self.end(voice, final(last))
        return "".join(self.written)

    def test_text_comes_as_it_grows(self) -> None:
        grown = ([{"type": "text", "text": "Hel"}], "Hello", "Hello")
        self.assertEqual("Hello.\n", self.spoken(*grown, last="Hello."))
        self.assertEqual(["Hel", "lo", ".", "\n"], self.written)

    def test_a_reply_that_ends_shorter_is_left(self) -> None:
        self.assertEqual("Hello\n", self.spoken("Hello\n", last="Hello"))

    def test_a_reply_that_is_taken_back_is_said_anew(self) -> None:
        self.assertEqual("Good\nBad.\n", self.spoken("Good", last="Bad."))

    def test_no_reply_is_no_line(self) -> None:
        self.assertEqual("", self.spoken(last=""))

    def test_what_is_no_reply_is_not_written(self) -> None:
        voice = Spoken(self.written.append)
        voice.begin("hi")
        voice.heard("agent", chat("thought"))
        voice.heard("chat", chat("half", "aborted"))
        voice.heard("chat", b'{"state": 5}')
        voice.heard("chat", chat("Hel"))
        self.end(voice, final("It was too long", "timeout"))
        voice.failed(CommandError("It was too long"))
        self.assertEqual("Hel\n", "".join(self.written))

    def test_a_result_is_told_once(self) -> None:
        voice = Streamed(self.written.append)
        for error in (CommandError("bad"), TimedOutError("late")):
            voice.begin("hi")
            voice.failed(error)
        voice.begin("hi")
        voice.heard("chat", b'{\n"runId": "r"}')
        self.end(voice, final("no", "error"))
        voice.failed(CommandError("no"))
        voice.begin("hi")
        voice.stopped()
        lines = [json.loads(line) for line in "".join(self.written).splitlines()]
        self.assertEqual({"type": "event", "event": "chat", "payload": {"runId": "r"}}, lines.pop(2))
        statuses = [line["payload"]["status"] for line in lines]
        self.assertEqual(["error", "timeout", "error", "timeout"], statuses)

    def test_everything_is_kept(self) -> None:
        voice = Kept()
        voice.session_key = "k"
        voice.begin("a")
        self.end(voice, final("A"))
        voice.begin("b")
        voice.stopped()
        voice.begin("c")
        late = TimedOutError("late")
        self.end(voice, final("late", "timeout"))
        voice.failed(late)
        document = json.loads(voice.document(late))
        turns = [tuple(turn.values()) for turn in document.pop("turns")]
        self.assertEqual([("a", "ok", "A"), ("b", "stopped", ""), ("c", "timeout", "late")], turns)
        self.assertEqual({"status": "timeout", "summary": "late", "sessionKey": "k"}, document)
