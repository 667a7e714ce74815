from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.conversation import Conversation
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.transcript import Transcript, as_markdown, message_text, read_transcript

__all__ = ["MarkdownTests", "PagingTests"]

KEY = "agent:main:s"


class Archive:
    """A gateway's end of the wire: it answers at once, and notes which pages it was asked for."""

    def __init__(self, *messages: dict[str, Any], page: int = 1000) -> None:
        self.messages = list(messages)
        self.asked: list[tuple[int, int]] = []
        self.always: Any = None
        self.conversation = Conversation(Clock(), self)
        self._page = page

    def send_frame(self, frame: bytes) -> None:
        request = json.loads(frame)
        answer = getattr(self, request["method"].replace(".", "_"))(request["params"])
        response = {"type": "res", "id": request["id"], "ok": True, "payload": answer}
        self.conversation.received(json.dumps(response).encode())

    def close(self, code: int, reason: str) -> None:
        raise AssertionError

    def abort(self) -> None:
        raise AssertionError

    def sessions_describe(self, params: dict[str, Any]) -> Any:
        known = params["key"] in {"s", KEY}
        return {"session": {"key": KEY, "label": "A label", "extra": 1} if known else None}

    def chat_history(self, params: dict[str, Any]) -> Any:
        self.asked.append((params["offset"], params["limit"]))
        if self.always is not None:
            return self.always
        end = len(self.messages) - params["offset"]
        first = max(0, end - min(params["limit"], self._page))
        page = {"messages": self.messages[first:end], "hasMore": first > 0}
        if first:
            page["nextOffset"] = len(self.messages) - first
        return page


def message(number: int, text: str | None = None) -> dict[str, Any]:
    words = text or f"message {number}"
    return {"role": "user", "content": words, "timestamp": 1000 * number, "__openclaw": {"id": f"m{number}"}}


class PagingTests(SynchronousTestCase):
    def read(self, archive: Archive, key: str = "s", **more: Any) -> Transcript:
        reading = Deferred.fromCoroutine(read_transcript(archive.conversation, key, **more))
        return self.successResultOf(reading)

    def test_every_page_is_read(self) -> None:
        archive = Archive(*map(message, range(7)), page=3)
        transcript = self.read(archive)
        self.assertEqual([f"message {n}" for n in range(7)], [each.content for each in transcript.read])
        self.assertEqual([0, 3, 6], [offset for offset, _ in archive.asked])

    def test_what_is_said_meanwhile_makes_nothing_come_twice(self) -> None:
        archive = Archive(*map(message, range(6)), page=3)
        answer = archive.chat_history

        def busy(params: dict[str, Any]) -> Any:
            page = answer(params)
            archive.messages.append(message(len(archive.messages)))
            return page

        archive.chat_history = busy  # type: ignore[method-assign]
        transcript = self.read(archive)
        self.assertEqual([f"message {n}" for n in range(6)], [each.content for each in transcript.read])

    def test_only_the_newest(self) -> None:
        archive = Archive(*map(message, range(9)), page=3)
        transcript = self.read(archive, newest=4)
        self.assertEqual([f"message {n}" for n in (5, 6, 7, 8)], [m.content for m in transcript.read])
        self.assertEqual([(0, 4), (3, 1)], archive.asked)

    def test_the_same_words_twice_are_two_messages(self) -> None:
        plain = {"role": "user", "content": "again"}
        self.assertEqual(2, len(self.read(Archive(plain, plain)).messages))

    def test_a_gateway_that_goes_round_in_circles(self) -> None:
        archive = Archive(message(1))
        archive.always = {"messages": [message(1)], "hasMore": True, "nextOffset": 0}
        self.assertEqual(1, len(self.read(archive).messages))

    def test_no_such_session(self) -> None:
        reading = Deferred.fromCoroutine(read_transcript(Archive().conversation, "other"))
        self.failureResultOf(reading, CommandError)

    def test_an_answer_that_is_none(self) -> None:
        archive = Archive()
        archive.always = {"messages": 5}
        reading = Deferred.fromCoroutine(read_transcript(archive.conversation, "s"))
        self.assertIn("cannot be read", self.failureResultOf(reading, CommandError).value.message)


class MarkdownTests(SynchronousTestCase):
    def transcript(self, *messages: dict[str, Any]) -> Transcript:
        return self.successResultOf(
            Deferred.fromCoroutine(read_transcript(Archive(*messages).conversation, "s"))
        )

    def test_everything_that_a_message_may_have(self) -> None:
        image = {"type": "image", "mimeType": "image/png", "omitted": True, "bytes": 70}
        call = {"type": "toolCall", "id": "c", "name": "look", "arguments": {"at": 1}}
        text = {"type": "text", "text": "Ü"}
        transcript = self.transcript(
            {"role": "user", "content": [text, image], "timestamp": 1_700_000_000_000},
            {"role": "assistant", "provider": "p", "model": "m", "content": [call]},
            {"role": "toolResult", "toolName": "look", "content": [{"type": "text", "text": "a ``` b"}]},
            {"role": "assistant", "content": [{"type": "hologram"}]},
        )
        self.assertEqual(
            """\
# A label

- Session: `agent:main:s`
- Messages: 4

## User, 2023-11-14 22:13:20 UTC

Ü

*[image: image/png, 70 bytes]*

## Assistant (p/m)

Calls the tool `look`:

```json
{"at":1}
```

## Tool result (look)

````
a ``` b
````

## Assistant

*[hologram]*
""",
            as_markdown(transcript),
        )
        self.assertEqual(
            ["Ü\n[image: image/png, 70 bytes]", "[calls look]", "a ``` b", "[hologram]"],
            [message_text(message) for message in transcript.read],
        )

    def test_the_document_has_everything_as_it_came(self) -> None:
        transcript = self.transcript(message(1))
        self.assertEqual({"key": KEY, "label": "A label", "extra": 1}, json.loads(bytes(transcript.session)))
        self.assertEqual([message(1)], [json.loads(bytes(each)) for each in transcript.messages])
