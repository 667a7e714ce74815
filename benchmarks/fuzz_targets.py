"""What is fuzzed: the parsers of what comes from outside, each with bytes to begin with.

A target takes bytes and returns. Whatever it raises is a finding: for bytes that make no sense the parsers
have an error of ours, which their target expects.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder as JsonDecoder
from twisted.internet.testing import StringTransport
from twisted.web.http_headers import Headers

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.config.settings import CompatSettings, ImagesSettings
from openclaw_twisted.errors import InvalidRequestError, UpstreamError
from openclaw_twisted.http import chat_request, responses_request
from openclaw_twisted.http.parts import ContentLimits, Draft
from openclaw_twisted.http.responses_conversation import conversation_of
from openclaw_twisted.providers.http_exchange import Exchange, RequestHead
from openclaw_twisted.providers.openai_completions import request_body
from openclaw_twisted.providers.openai_stream import StreamReader
from openclaw_twisted.providers.refusals import MAX_RETRY_AFTER_SECONDS, refusal, retry_after_seconds
from openclaw_twisted.sse import Decoder
from openclaw_twisted.testing import chunk, stream_of
from openclaw_twisted.ws import frames, methods, params
from tests.test_sse import STREAM, events_by_the_book

LIMITS = ContentLimits(ImagesSettings(), max_images=4, max_total_bytes=100_000)

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, -(2**64), 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan")),
    *(
        "",
        "x",
        "\x00",
        "\ud800",
        "\U0001f600",
        "x" * 3000,
        "user",
        "tool",
        "system",
        "auto",
        "none",
        "required",
    ),
    *("http://x/", "data:image/png;base64,AAAA", "data:,", "text", "image_url", "input_image", "function"),
    *([], [[]], [None], {}, {"": ""}, {"role": "user", "content": "x"}, {"type": "text", "text": "x"}),
    *({"type": "image_url", "image_url": {"url": "https://127.0.0.1/a"}}, {"name": "f"}, ["x"] * 9),
)

CHAT = b"""{"model":"openclaw","messages":[{"role":"system","content":"a"},{"role":"user","content":[
{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},
{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f",
"arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"d"}],"tools":[{"type":"function",
"function":{"name":"f","parameters":{}}}],"tool_choice":"auto","stop":["x"],"temperature":1.5,"n":1,
"stream":true,"stream_options":{"include_usage":true},"max_tokens":5,"logit_bias":{"1":2},"user":"ann"}"""
RESPONSES = b"""{"model":"openclaw","input":[{"type":"message","role":"user","content":[{"type":"input_text",
"text":"a"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output",
"call_id":"c","output":"d"}],"instructions":"b","tools":[{"type":"function","name":"f","parameters":{}}],
"tool_choice":"auto","temperature":1,"max_output_tokens":9,"stream":true,"user":"ann"}"""
FRAME = b'{"type":"req","id":"1","method":"agent","params":{"message":"hi","idempotencyKey":"k"}}'
ANSWER = b"".join(stream_of("Hello", " there")) + chunk(
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"
)
HTTP = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def sse(data: bytes) -> None:
    """Decode at splits that the data itself chooses."""
    cut, stream = data[:1], data[1:]
    decoder = Decoder()
    step = (cut[0] if cut else 0) + 1
    events = [event for piece in _pieces(stream, step) for event in decoder.feed(piece)]
    last = decoder.finish()
    read = events + ([] if last is None else [last])
    if read != events_by_the_book(stream):
        raise AssertionError(read)


def answer(data: bytes) -> None:
    """Read an answer to its end."""
    reader = StreamReader("fuzz")
    try:
        for piece in _pieces(data[1:], (data[0] if data else 0) + 32):
            reader.feed(piece)
        reader.end()
    except UpstreamError:
        return
    if not reader.finished:
        raise AssertionError("neither finished nor failed")


def error_body(data: bytes) -> None:
    """Say what a provider's refusal means."""
    wait = retry_after_seconds(data[1:30].decode("latin-1"), data[30:60].decode("latin-1"))
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER_SECONDS
    refusal("fuzz", 400 + (data[0] if data else 0), data[1:], retry_after=wait)


def chat(data: bytes) -> None:
    """Parse a request, and ask a provider what it asks."""
    _ask(chat_request.parse, _json(data, CHAT))


def responses(data: bytes) -> None:
    """Parse a request, and ask a provider what it asks."""

    def parse(body: bytes, limits: ContentLimits) -> tuple[Any, Any]:
        asked = responses_request.parse(body)
        return asked, conversation_of(asked, limits)

    _ask(parse, _json(data, RESPONSES))


def frame(data: bytes) -> None:
    """Parse a frame, and its params as every method would."""
    request = frames.parse(_json(data, FRAME))
    if isinstance(request, frames.Malformed):
        frames.failure(request.id, frames.Fault(code="INVALID_REQUEST", message=request.problem))
    elif isinstance(request, frames.Request):
        for decoder in _DECODERS:
            try:
                params.read(request.method, request.params, decoder)
            except InvalidRequestError as error:
                frames.failure(request.id, frames.Fault(code="INVALID_REQUEST", message=error.message))


def http(data: bytes) -> None:
    """Give a connection its answer in pieces, then its end."""
    exchange = Exchange((b"http", b"localhost"), reusable=lambda _exchange: None, gone=lambda _exchange: None)
    transport: Any = StringTransport()
    exchange.makeConnection(transport)
    asked = exchange.ask(
        RequestHead(b"POST", b"http://localhost/v1/chat/completions", Headers()).with_body(b"{}")
    )
    asked.addErrback(lambda _failure: None)
    for piece in _pieces(data[1:], (data[0] if data else 0) + 1):
        if transport.disconnecting:
            break
        exchange.dataReceived(piece)
    exchange.connectionLost()
    if not asked.called:
        raise AssertionError("nobody was told")


def _decoders() -> list[Any]:
    """Return what reads the params of every method."""
    found: list[Any] = []
    for module in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and issubclass(each, Struct) and each.__module__ == module.name:
                found.append(JsonDecoder(each))  # noqa: PERF401 - reads better than three nested loops in one
    return found


_DECODERS = _decoders()
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "sse": (sse, [b"\x04" + STREAM, b"\x00" + STREAM.replace(b"\n", b"\r\n")]),
    "answer": (answer, [b"\x10" + ANSWER, *(b"\xff" + event + b"\n\n" for event in ANSWER.split(b"\n\n"))]),
    "refusal": (error_body, [b'\x00{"error":{"message":"no"}}', b"\x01<html>"]),
    "chat": (chat, [b"\x00" + CHAT, bytes(range(1, 40)), bytes(range(3, 90, 3))]),
    "responses": (responses, [b"\x00" + RESPONSES, bytes(range(1, 40)), bytes(range(3, 90, 3))]),
    "frames": (frame, [b"\x00" + FRAME, bytes(range(1, 40)), bytes(range(3, 90, 3))]),
    "http": (http, [b"\x05" + HTTP, b"\xff" + LENGTH, b"\x00" + HTTP + LENGTH]),
}


def _json(data: bytes, model: bytes) -> bytes:
    """Return the data itself, or the model with changes that the data chooses: most bytes are no JSON."""
    if not data or data[0] % 4 == 0:
        return data[1:]
    choices = iter(data[1:])
    tree = json.loads(model)
    for _ in range(data[0] % 7):
        _change(tree, choices)
    return json.dumps(tree).encode()


def _change(node: Any, choices: Iterator[int]) -> None:
    """Put something else in one place, leave one out, or write one twice."""
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return
        place = places[next(choices, 0) % len(places)]
        choice = next(choices, 0)
        if isinstance(node[place], dict | list) and choice % 3:
            node = node[place]
            continue
        if choice % 5 == 1:
            del node[place]
        elif choice % 5 == 2 and isinstance(node, list):  # noqa: PLR2004
            node.append(deepcopy(node[place]))
        else:
            node[place] = deepcopy(VALUES[next(choices, 0) % len(VALUES)])
        return


def _pieces(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def _ask(parse: Callable[[bytes, ContentLimits], tuple[Any, Any]], data: bytes) -> None:
    try:
        _, conversation = parse(data, LIMITS)
    except InvalidRequestError as error:
        error.message.encode()
        return
    if any(isinstance(message, Draft) for message in conversation.messages):
        return  # a draft: its images have yet to be fetched
    asked = ModelRequest(
        model="m",
        messages=conversation.messages,
        tools=conversation.tools,
        tool_choice=conversation.tool_choice,
        sampling=conversation.sampling,
    )
    request_body(asked, CompatSettings())
