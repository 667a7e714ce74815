"""A provider whose model does what the prompt says: an HTTP server in threads, with a record of what it saw.

It shares no line with the gateway, so that both cannot be wrong in the same way. What it answers follows from
the conversation alone:

| the last message | the answer |
|---|---|
| is a tool's result | `The tool said: ...` |
| holds `fail 429`, or any status | that status; with `context` the words of a conversation that is too long |
| holds `fail 429 once` | that status the first time it comes |
| holds `hang` | two pieces, then nothing until the caller hangs up |
| holds `be silent` | nothing until the caller hangs up |
| holds `break off` | two pieces, then the connection breaks |
| holds `weather`, and a tool is offered; or a tool is demanded | a call of it |
| anything, and a JSON schema is given | the smallest document that fits |
| anything else | everything the user has said so far |
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["CITY", "COMPLETION_TOKENS", "DEGREES", "PROMPT_TOKENS", "Model", "said_so_far"]

PROMPT_TOKENS = 11
COMPLETION_TOKENS = 7
CITY = "Oslo"
DEGREES = 7
WAIT_SECONDS = 10.0
FAIL = re.compile(r"fail (?P<status>\d{3})(?P<once> once)?")

Body = dict[str, Any]


def said_so_far(*prompts: str) -> str:
    """Return what the model answers in a conversation in which the user has said `prompts`."""
    return "You said: " + " | ".join(prompts)


class Model:
    """The server, listening on a free port of loopback from the start until `close`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Body] = []
        self._hung_up: dict[str, float] = {}
        self._failures: Counter[str] = Counter()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Call,), {"model": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def requests(self, prompt: str) -> list[Body]:
        """Return the requests whose last user message was `prompt`."""
        with self._changed:
            return [body for body in self._requests if prompt_of(body) == prompt]

    def asked(self, prompt: str) -> None:
        """Wait until somebody has asked `prompt`."""
        with self._changed:
            if not self._changed.wait_for(lambda: prompt in map(prompt_of, self._requests), WAIT_SECONDS):
                raise AssertionError(f"nobody asked {prompt!r} within {WAIT_SECONDS:g} s")

    def hung_up(self, prompt: str) -> float:
        """Wait until the caller that asked `prompt` has hung up; returns when, by `time.monotonic`."""
        with self._changed:
            if not self._changed.wait_for(lambda: prompt in self._hung_up, WAIT_SECONDS):
                raise AssertionError(f"nobody hung up on {prompt!r} within {WAIT_SECONDS:g} s")
            return self._hung_up[prompt]

    def arrived(self, body: Body) -> None:
        with self._changed:
            self._requests.append(body)
            self._changed.notify_all()

    def left(self, prompt: str) -> None:
        with self._changed:
            self._hung_up[prompt] = time.monotonic()
            self._changed.notify_all()

    def failure(self, prompt: str) -> int | None:
        """Return the status that `prompt` demands now, or None."""
        found = FAIL.search(prompt)
        if found is None:
            return None
        with self._changed:
            self._failures[prompt] += 1
            return None if found["once"] and self._failures[prompt] > 1 else int(found["status"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless it is that the gateway has closed a connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Call(BaseHTTPRequestHandler):
    """One connection of the gateway."""

    model: Model
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: the record is what tests read."""

    def do_POST(self) -> None:
        body: Body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = prompt_of(body)
        self.model.arrived(body)
        status = None if _answers_a_tool(body) else self.model.failure(prompt)
        if status is not None:
            self._refuse(status, prompt)
        elif "be silent" in prompt:
            self._wait(prompt)
        else:
            self._stream(body, prompt)

    def _refuse(self, status: int, prompt: str) -> None:
        said = "This model's maximum context length is 10 tokens." if "context" in prompt else "As you asked."
        data = json.dumps({"error": {"message": said, "type": "test", "code": None}}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: Body, prompt: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if "hang" in prompt or "break off" in prompt:
            with contextlib.suppress(ConnectionError):  # the first piece may be enough
                for piece in ("I am ", "thinking"):
                    self._event(_chunk({"content": piece}))
            if "hang" in prompt:
                self._wait(prompt)
            self.close_connection = True
            return
        for event in _answer(body):
            self._event(event)
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, event: Body | str) -> None:
        data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _wait(self, prompt: str) -> None:
        """Wait for the hang-up: the gateway sends nothing more, so whatever ends the reading is that."""
        with contextlib.suppress(ConnectionError):
            self.connection.recv(1)
        self.model.left(prompt)
        self.close_connection = True


def prompt_of(body: Body) -> str:
    """Return the text of a request's last user message."""
    return _user_texts(body)[-1]


def _user_texts(body: Body) -> list[str]:
    texts = [message["content"] for message in body["messages"] if message["role"] == "user"]
    return [text if isinstance(text, str) else "".join(part["text"] for part in text) for text in texts]


def _answers_a_tool(body: Body) -> bool:
    return bool(body["messages"][-1]["role"] == "tool")


def _answer(body: Body) -> Iterator[Body | str]:
    tool = _tool_to_call(body)
    if tool is not None:
        arguments = json.dumps(_example(tool["parameters"], tool["parameters"]))
        half = len(arguments) // 2
        begun = {"id": "call_1", "type": "function", "function": {"name": tool["name"], "arguments": ""}}
        yield _chunk({"tool_calls": [{"index": 0, **begun}]})
        for piece in (arguments[:half], arguments[half:]):
            yield _chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        for piece in re.findall(r"\S+\s*", _text(body)):
            yield _chunk({"content": piece})
    yield _chunk({}, "tool_calls" if tool is not None else "stop")
    total = PROMPT_TOKENS + COMPLETION_TOKENS
    counts = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": total}
    yield {"choices": [], "usage": counts}
    yield "[DONE]"


def _chunk(delta: Body, finish: str | None = None) -> Body:
    return {"id": "chatcmpl-model", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _text(body: Body) -> str:
    if _answers_a_tool(body):
        return f"The tool said: {body['messages'][-1]['content']}"
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return json.dumps(_example(schema, schema))
    return said_so_far(*_user_texts(body))


def _tool_to_call(body: Body) -> Body | None:
    """Return the function to call: the demanded one, else the first if one is demanded or asked for."""
    tools: list[Body] = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if not tools or choice == "none" or _answers_a_tool(body):
        return None
    if isinstance(choice, dict):
        return next(tool for tool in tools if tool["name"] == choice["function"]["name"])
    return tools[0] if choice == "required" or "weather" in prompt_of(body) else None


def _example(schema: Body, root: Body) -> Any:
    """Return the smallest document that fits a JSON schema of the kinds that clients make."""
    if "$ref" in schema:
        return _example(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: _example(kind, root) for name, kind in schema["properties"].items()}
        case "array":
            return [_example(schema["items"], root)]
        case "string":
            return schema.get("enum", [CITY])[0]
        case "integer" | "number":
            return DEGREES
        case _:
            return False
