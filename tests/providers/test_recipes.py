"""The recipes of docs/how-to/providers.md, each against a server that answers in kind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, ToolSpec, Usage
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.events import ProviderEvent, ReasoningDelta
from openclaw_twisted.providers.compat import compat_of
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.runs.turn import Reply
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, block_of, message_of, real_reactor, user

__all__ = ["AnswerTests", "RequestTests"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "providers.md"
RECIPE = re.compile(r"^## (?P<name>[^\n]+)\n+```json5\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
RECIPES = {match["name"]: match["text"] for match in RECIPE.finditer(PAGE.read_text(encoding="utf-8"))}
KEY = "a-key-of-the-provider"

LOCAL = {"Ollama", "LM Studio", "llama.cpp"}
"""Those whose recipe has no key."""

PATHS = {
    "Anthropic": "/v1/messages",
    "OpenRouter": "/api/v1/chat/completions",
    "Groq": "/openai/v1/chat/completions",
    "DeepSeek": "/chat/completions",
    "Gemini": "/v1beta/openai/chat/completions",
}
"""Where requests go, when not to `/v1/chat/completions`."""

WHAT = Message(role="user", content=(TextPart("what?"), ImagePart("image/png", "QUJD")))
CALL = ToolCall("call_abc.1", "look", '{"at":"it"}')
ROUND = (
    Message(role="assistant", tool_calls=(CALL,)),
    Message(role="tool", content="42", tool_call_id=CALL.id),
)
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}}, strict=True)


def chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    """Return a chunk with nothing in it but what is given."""
    choice = {"index": 0, "delta": delta, **({"finish_reason": finish} if finish else {})}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
HELLO = (chunk({"content": "Hello"}, "stop"), DONE)
HELLO_OF_ANTHROPIC = message_of(block_of(0, {"type": "text", "text": "Hello"}))


class RecipeCase(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.calls: list[UpstreamCall] = []
        self.answers: tuple[bytes, ...] = ()
        self.server = FakeUpstream(self.answer)
        self.server.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))

    def answer(self, call: UpstreamCall) -> None:
        self.calls.append(call)
        call.stream(*(self.answers or (HELLO_OF_ANTHROPIC if call.path.endswith("/messages") else HELLO)))
        call.end()

    def settings(self, name: str) -> tuple[str, ProviderSettings]:
        """Return the provider of a recipe, as it is but for its address, which is the server's."""
        environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", RECIPES[name]), KEY)
        loaded = parse(RECIPES[name], environ)
        self.assertEqual([str(warning) for warning in loaded.warnings], [])
        ((provider_id, given),) = loaded.settings.models.providers.items()
        address = given.base_url or ""
        # What is known of an address is known of it alone; said in the settings it is the same.
        models = tuple(replace(model, compat=compat_of(model.compat, address)) for model in given.models)
        here = urlsplit(self.server.base_url)
        moved = urlsplit(address)._replace(scheme=here.scheme, netloc=here.netloc).geturl()
        return provider_id, replace(given, base_url=moved, models=models)

    async def ask(self, name: str, *messages: Message, **more: Any) -> list[ProviderEvent]:
        """Ask the recipe's model, and return what it says."""
        provider_id, given = self.settings(name)
        configured = Configured(real_reactor(), {provider_id: given})
        heard: list[ProviderEvent] = []
        try:
            request = ModelRequest(model=given.models[0].id, messages=messages, **more)
            async for batch in configured.providers[provider_id].respond(request):
                heard += batch
            await deferLater(real_reactor(), 0)
        finally:
            await configured.close()
        return heard


class RequestTests(RecipeCase):
    """What each provider is sent."""

    async def sent(self, name: str) -> UpstreamCall:
        """Return what the recipe's provider gets to see of a request that has everything."""
        _, given = self.settings(name)
        await self.ask(
            name,
            Message(role="system", content="Be brief."),
            WHAT if "image" in (given.models[0].input or ()) else user("what?"),
            *ROUND,
            tools=(TOOL,),
            sampling=Sampling(max_tokens=99, temperature=0.5, thinking="low"),
        )
        return self.calls[-1]

    def test_every_provider_that_was_promised(self) -> None:
        promised = {"OpenAI", "Anthropic", "OpenRouter", "vLLM", "Groq", "DeepSeek", "Mistral", "Gemini"}
        self.assertEqual(set(RECIPES), promised | LOCAL)

    async def test_where_it_goes_and_with_which_key(self) -> None:
        for name in RECIPES:
            call = await self.sent(name)
            self.assertEqual(call.path, PATHS.get(name, "/v1/chat/completions"), name)
            told = {key: call.headers[key] for key in ("authorization", "x-api-key") if key in call.headers}
            if name in LOCAL:
                self.assertEqual(told, {}, name)
            elif name == "Anthropic":
                self.assertEqual(told, {"x-api-key": KEY})
            else:
                self.assertEqual(told, {"authorization": f"Bearer {KEY}"}, name)
        headers = (await self.sent("OpenRouter")).headers
        self.assertEqual((headers["http-referer"], headers["x-title"]), ("https://example.org", "My gateway"))

    async def test_the_fields_of_a_request(self) -> None:
        usual = {"model", "messages", "stream", "stream_options", "temperature", "max_tokens", "tools"}
        thinking = usual | {"reasoning_effort"}
        newer = (thinking - {"max_tokens"}) | {"max_completion_tokens"}
        messages = {"model", "messages", "stream", "max_tokens", "tools", "tool_choice", "system"}
        table = {
            "OpenAI": newer | {"store"},
            "Anthropic": messages | {"thinking", "output_config"},
            "OpenRouter": thinking,
            "Ollama": thinking,
            "vLLM": thinking,
            "LM Studio": usual,
            "llama.cpp": usual,
            "Groq": newer,
            "DeepSeek": thinking,
            "Mistral": usual - {"stream_options"},
            "Gemini": thinking,
        }
        self.assertEqual(set(table), set(RECIPES))
        for name, fields in table.items():
            self.assertEqual(set((await self.sent(name)).body), fields, name)

    async def test_the_messages_of_a_request(self) -> None:
        for name in sorted(set(RECIPES) - {"Anthropic"}):
            body = (await self.sent(name)).body
            system, asked, called, result = body["messages"]
            self.assertEqual(system["role"], "developer" if name == "OpenAI" else "system", name)
            sees = name in {"OpenAI", "OpenRouter", "Mistral", "Gemini"}
            self.assertEqual("image_url" in str(asked), sees, name)
            self.assertEqual("strict" in body["tools"][0]["function"], name != "Mistral", name)
            self.assertEqual("reasoning_content" in called, name == "DeepSeek", name)
            (call,) = called["tool_calls"]
            self.assertEqual("extra_content" in call, name == "Gemini", name)
            self.assertEqual(call["id"], result["tool_call_id"], name)
            expected = "[a-zA-Z0-9]{9}" if name == "Mistral" else re.escape(CALL.id)
            self.assertRegex(call["id"], f"^{expected}$", name)

    async def test_images_for_those_that_cannot_see(self) -> None:
        for name in ("Ollama", "vLLM", "LM Studio", "llama.cpp", "Groq", "DeepSeek"):
            with self.assertRaises(InvalidRequestError, msg=name):
                await self.ask(name, WHAT)
        self.assertEqual(self.calls, [])

    async def test_a_limit_that_the_request_leaves_open(self) -> None:
        await self.ask("Anthropic", user("hi"))
        self.assertEqual(self.calls[-1].body["max_tokens"], 32_000)


class AnswerTests(RecipeCase):
    """What each provider says, in the way it says it."""

    async def hear(self, name: str, *answers: bytes) -> tuple[Reply, str]:
        """Return what is understood of an answer, and what the model was thinking."""
        self.answers = answers
        heard = await self.ask(name, user("hi"), tools=(TOOL,))
        reply = Reply()
        reply.take(heard)
        return reply, "".join(event.text for event in heard if isinstance(event, ReasoningDelta))

    async def check_text(self, name: str, *answers: bytes, usage: Usage = Usage(3, 2, 5)) -> None:  # noqa: B008
        """Look for an answer whose text is 42, after some thought."""
        reply, thought = await self.hear(name, *answers)
        self.assertEqual((reply.text, reply.reason, reply.usage), ("42", "stop", usage))
        self.assertEqual(thought, "Hm.")

    async def test_openrouter_comments_while_it_waits(self) -> None:
        waiting = b": OPENROUTER PROCESSING\n\n"
        details = [{"type": "reasoning.text", "text": "Hm."}]
        await self.check_text(
            "OpenRouter",
            waiting,
            waiting,
            chunk({"role": "assistant", "content": "", "reasoning": "Hm.", "reasoning_details": details}),
            waiting,
            chunk({"content": "42"}, provider="Anthropic"),
            chunk({"content": ""}, "stop", native_finish_reason="end_turn"),
            chunk({"content": ""}, usage={"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.1}),
            DONE,
        )

    async def test_ollama_calls_in_one_piece(self) -> None:
        function = {"name": "look", "arguments": '{"at":"it"}'}
        for index in ({}, {"index": 0}):
            call = {"id": "call_q1", **index, "type": "function", "function": function}
            reply, thought = await self.hear(
                "Ollama",
                chunk({"role": "assistant", "content": "", "reasoning": "Look."}),
                chunk({"role": "assistant", "content": "", "tool_calls": [call]}),
                chunk({"role": "assistant", "content": ""}, "tool_calls"),
                DONE,
            )
            self.assertEqual(reply.message().tool_calls, (ToolCall("call_q1", "look", '{"at":"it"}'),))
            self.assertEqual((reply.reason, thought), ("tool_calls", "Look."))

    async def test_gemini_calls_without_saying_which(self) -> None:
        signed = {"extra_content": {"google": {"thought_signature": "CiQB"}}, "type": "function", "id": ""}
        wanted = ['{"at":"a"}', '{"at":"b"}']
        calls = [{**signed, "function": {"name": "look", "arguments": arguments}} for arguments in wanted]
        for answers in ([chunk({"tool_calls": calls})], [chunk({"tool_calls": [each]}) for each in calls]):
            reply, _ = await self.hear("Gemini", *answers, chunk({"role": "assistant"}, "stop"), DONE)
            heard = reply.message().tool_calls
            self.assertEqual([call.arguments for call in heard], wanted)
            self.assertEqual(len({call.id for call in heard} - {""}), 2)
            self.assertEqual(reply.reason, "tool_calls")

    async def test_gemini_calls_that_all_say_that_they_are_the_first(self) -> None:
        calls = [
            {"index": 0, "id": f"function-call-{at}", "function": {"name": "look", "arguments": str(at)}}
            for at in (1, 2)
        ]
        answers = [chunk({"tool_calls": [each]}) for each in calls]
        reply, _ = await self.hear("Gemini", *answers, chunk({}, "stop"), DONE)
        self.assertEqual([call.arguments for call in reply.message().tool_calls], ["1", "2"])

    async def test_mistral_thinks_in_parts_and_just_ends(self) -> None:
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True}
        counts = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}
        await self.check_text(
            "Mistral",
            chunk({"role": "assistant", "content": [thinking]}),
            chunk({"content": [{"type": "text", "text": "4"}]}),
            chunk({"content": "2"}),
            chunk({"content": ""}, "stop", usage=counts),
        )

    async def test_groq_counts_in_a_place_of_its_own(self) -> None:
        counts = {"queue_time": 0.1, "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        await self.check_text(
            "Groq",
            chunk({"role": "assistant", "content": ""}, x_groq={"id": "req_01", "seed": 7}),
            chunk({"reasoning": "Hm.", "channel": "analysis"}),
            chunk({"content": "42"}),
            chunk({}, "stop", x_groq={"id": "req_01", "usage": counts}),
            DONE,
        )

    async def test_deepseek_thinks_aloud_first(self) -> None:
        counts = {
            "prompt_tokens": 30,
            "completion_tokens": 9,
            "total_tokens": 39,
            "prompt_tokens_details": {"cached_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 6},
            "prompt_cache_hit_tokens": 20,
        }
        await self.check_text(
            "DeepSeek",
            b": keep-alive\n\n",
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}, usage=None),
            chunk({"content": None, "reasoning_content": "Hm."}, usage=None),
            chunk({"content": "42", "reasoning_content": None}),
            chunk({"content": "", "reasoning_content": None}, "stop", usage=counts),
            DONE,
            usage=Usage(30, 9, 39, cached_tokens=20, reasoning_tokens=6),
        )
