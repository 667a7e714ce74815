"""What parses a body and what the OpenAPI document says of it are the same thing."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http import chat_request, embeddings, responses_conversation, responses_request
from openclaw_twisted.http.openapi import document
from openclaw_twisted.http.parts import ContentLimits
from tests.http.body_schemas import BEYOND_THE_SCHEMA, body_schema

LIMITS = ContentLimits(ImagesSettings(), max_images=2, max_total_bytes=1500)
DOCUMENT = document()
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
SCHEMAS = {path: body_schema(DOCUMENT, path) for path in PATHS}

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PART = {"type": "text", "text": "a"}
CHAT = {
    "model": "openclaw",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [PART, {"type": "input_text", "text": "b"}]},
        {"role": "user", "content": [PART], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "tool", "tool_call_id": "c1", "content": "t"},
        {"role": "function", "name": "f", "content": "x"},
    ],
    "n": 1,
    "stop": ["a", "b"],
    "seed": 7,
    "max_tokens": 5,
    "temperature": 0.5,
    "logit_bias": {"1": -100},
    "reasoning_effort": "low",
    "stream": False,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "functions": [FUNCTION],
    "function_call": {"name": "f"},
}
RESPONSES = {
    "model": "openclaw",
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "s"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "s"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "namespace": "n", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        {"type": "reasoning"},
    ],
    "instructions": "i",
    "max_output_tokens": 5,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "tools": [
        {"type": "function", **FUNCTION},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", **FUNCTION}]},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "metadata": {"a": "b"},
}

NAMES = st.sampled_from(["role", "content", "type", "text", "name", "function", "id", "call_id", "arguments"])
VALUES = st.sampled_from(
    [
        "",
        "user",
        "system",
        "tool",
        "function",
        "message",
        "reasoning",
        "allowed_tools",
        "auto",
        "required",
        "text",
    ]
)
NUMBERS = st.integers(-3, 3) | st.sampled_from([5.0, 1.5, 2**63, 2**63 - 1, -(2**63), 1e300, 300.0])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw: Callable[[Any], Any], whole: dict[str, Any]) -> Any:
    """Draw a body that differs from a valid one in one or two places."""
    body: Any = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
            elif draw(st.booleans()):
                place[key] = draw(NUMBERS | VALUES | JSON)
                break
            else:
                del place[key]
                break
    return body


def parse_responses(body: bytes) -> object:
    return responses_conversation.conversation_of(responses_request.parse(body), LIMITS)


class Agreeing(SynchronousTestCase):
    def check(self, path: str, parse: Callable[[bytes], object], body: Any) -> None:
        """Fail unless what parses the body and the schema agree on it."""
        faults = [error.message for error in SCHEMAS[path].iter_errors(body)]
        try:
            parse(json.dumps(body).encode())
        except InvalidRequestError as error:
            if not BEYOND_THE_SCHEMA.search(error.message):
                self.assertNotEqual(faults, [], f"refused: {error.message}")
        else:
            self.assertEqual(faults, [], "accepted")

    def test_the_bodies_that_are_altered_are_valid(self) -> None:
        for path, body in (("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSES)):
            self.assertTrue(SCHEMAS[path].is_valid(body))
        chat_request.parse(json.dumps(CHAT).encode(), LIMITS)
        parse_responses(json.dumps(RESPONSES).encode())

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(altered(CHAT))
    def test_chat(self, body: Any) -> None:
        self.check("/v1/chat/completions", lambda data: chat_request.parse(data, LIMITS), body)

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(altered(RESPONSES))
    def test_responses(self, body: Any) -> None:
        self.check("/v1/responses", parse_responses, body)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.fixed_dictionaries({"input": JSON}, optional={"dimensions": JSON, "encoding_format": JSON}))
    def test_embeddings(self, body: Any) -> None:
        self.check("/v1/embeddings", embeddings.parse, body)
