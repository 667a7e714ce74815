"""Providers as the configuration file defines them, asked over real sockets where it matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import ModelRequest, Provider, Sampling
from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.settings import CompatSettings, ModelSettings, ProviderSettings, Secret
from openclaw_twisted.config.settings import ProviderRequestSettings as RequestSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    InvalidRequestError,
    NoProviderError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta
from openclaw_twisted.providers.access import FAILURES_IN_A_ROW, Outcome
from openclaw_twisted.providers.answer import Timeouts
from openclaw_twisted.providers.compat import compat_of
from openclaw_twisted.providers.configured import PATIENCE_SECONDS, Configured, timeouts_of
from openclaw_twisted.testing import (
    FakeUpstream,
    UpstreamCall,
    block_of,
    chunk,
    message_event,
    message_of,
    real_reactor,
    stream_of,
    user,
)

__all__ = [
    "CapacityTests",
    "CompatTests",
    "KeyTests",
    "MessagesTests",
    "PatienceTests",
    "RequestTests",
    "SamplingTests",
    "SightTests",
    "UnavailableTests",
]

KEY = Secret("sk-the-key")


class ConfiguredCase(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.heard: list[ProviderEvent] = []
        self.calls: list[UpstreamCall] = []
        self.server = self.listening()

    def listening(self) -> FakeUpstream:
        """Return an upstream that answers every call with two pieces of text."""
        server = FakeUpstream(self.answer)
        server.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    def answer(self, call: UpstreamCall) -> None:
        self.calls.append(call)
        call.stream(*stream_of("Hel", "lo"))
        call.end()

    def provider(self, *models: ModelSettings, **keys: Any) -> Provider:
        """Return a provider with these keys; its address is the upstream's unless they say otherwise."""
        settings = ProviderSettings(**{"base_url": self.server.base_url, "models": models, **keys})
        configured = Configured(real_reactor(), {"mock": settings})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        return configured.providers["mock"]

    async def ask(self, provider: Provider, model: str = "m", **sampling: Any) -> UpstreamCall:
        """Ask, and return what the upstream got to see."""
        batch: Sequence[ProviderEvent]
        request = ModelRequest(model=model, messages=(user("hi"),), sampling=Sampling(**sampling))
        async for batch in provider.respond(request):
            self.heard += batch
        # An answer ends inside the delivery of its last bytes; the test goes on after it.
        await deferLater(real_reactor(), 0)
        return self.calls[-1]


class RequestTests(ConfiguredCase):
    """Where a request goes, and which headers go with it."""

    async def test_a_call_from_end_to_end(self) -> None:
        call = await self.ask(self.provider(api_key=KEY))
        self.assertEqual(call.path, "/v1/chat/completions")
        self.assertEqual(call.headers["authorization"], "Bearer sk-the-key")
        self.assertEqual((call.body["model"], call.body["messages"][0]["content"]), ("m", "hi"))
        self.assertEqual(self.heard, [TextDelta("Hel"), TextDelta("lo"), Finished("stop", Usage(3, 2, 5))])

    async def test_without_a_key_there_is_no_authorization(self) -> None:
        self.assertNotIn("authorization", (await self.ask(self.provider())).headers)

    async def test_the_key_can_be_kept_out_of_authorization(self) -> None:
        call = await self.ask(
            self.provider(api_key=KEY, auth_header=False, headers={"api-key": Secret("sk-mine")})
        )
        self.assertNotIn("authorization", call.headers)
        self.assertEqual(call.headers["api-key"], "sk-mine")

    async def test_headers_of_the_provider_the_request_and_the_model(self) -> None:
        provider = self.provider(
            ModelSettings(id="m", headers={"x-c": Secret("model")}),
            headers={name: Secret("provider") for name in ("x-a", "x-b", "x-c")},
            request=RequestSettings(headers={name: Secret("request") for name in ("x-b", "x-c")}),
        )
        got = (await self.ask(provider)).headers
        self.assertEqual([got[name] for name in ("x-a", "x-b", "x-c")], ["provider", "request", "model"])
        self.assertEqual((await self.ask(provider, "other")).headers["x-c"], "request")

    async def test_a_model_at_an_address_of_its_own(self) -> None:
        elsewhere = self.listening()
        provider = self.provider(
            ModelSettings(id="far", base_url=f"{elsewhere.base_url}/"), ModelSettings(id="near")
        )
        await self.ask(provider, "near")
        self.assertEqual((self.server.connections, elsewhere.connections), (1, 0))
        await self.ask(provider, "far")
        self.assertEqual((self.server.connections, elsewhere.connections), (1, 1))

    async def test_an_error_does_not_repeat_the_key(self) -> None:
        self.server.behaviour = lambda call: call.answer(401, b'{"error":{"message":"sk-the-key is wrong"}}')
        with self.assertRaises(UpstreamAuthError) as caught:
            await self.ask(self.provider(api_key=KEY))
        self.assertNotIn("sk-the-key", str(caught.exception))


class MessagesTests(ConfiguredCase):
    """A provider that speaks Anthropic's API."""

    def answer(self, call: UpstreamCall) -> None:
        self.calls.append(call)
        text = block_of(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
        call.stream(*message_of(text))
        call.end()

    def provider(self, *models: ModelSettings, **keys: Any) -> Provider:
        return super().provider(*models, **{"api": "anthropic-messages", "api_key": KEY, **keys})

    async def test_a_call_from_end_to_end(self) -> None:
        call = await self.ask(self.provider())
        self.assertEqual(call.path, "/v1/messages")
        self.assertEqual(call.headers["x-api-key"], "sk-the-key")
        self.assertEqual(call.headers["anthropic-version"], "2023-06-01")
        self.assertNotIn("authorization", call.headers)
        self.assertEqual((call.body["model"], call.body["max_tokens"]), ("m", 16_384))
        self.assertEqual(self.heard, [TextDelta("Hello"), Finished("stop", Usage(3, 2, 5))])

    async def test_a_bearer_for_those_who_want_one(self) -> None:
        for auth_header, carrier in [(True, "authorization"), (False, "x-api-key")]:
            got = (await self.ask(self.provider(auth_header=auth_header))).headers
            self.assertEqual({"authorization", "x-api-key"} & set(got), {carrier})
        self.assertEqual(self.calls[0].headers["authorization"], "Bearer sk-the-key")

    async def test_each_models_settings(self) -> None:
        provider = self.provider(
            ModelSettings(id="claude-sonnet-4-5", reasoning=True, max_tokens=9000),
            headers={"anthropic-version": Secret("2099-01-01"), "anthropic-beta": Secret("x")},
            params={"cacheRetention": "none", "reasoningEffort": "low"},
        )
        call = await self.ask(provider, "claude-sonnet-4-5")
        self.assertEqual(call.body["max_tokens"], 9000)
        self.assertEqual(call.body["thinking"], {"type": "enabled", "budget_tokens": 2048})
        self.assertEqual(
            call.body["messages"], [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
        )
        self.assertEqual(
            [call.headers[f"anthropic-{name}"] for name in ("version", "beta")], ["2099-01-01", "x"]
        )
        self.assertNotIn("thinking", (await self.ask(provider, "claude-sonnet-4")).body)

    async def test_beside_the_other_api_at_one_address(self) -> None:
        provider = self.provider(ModelSettings(id="gpt", api="openai-completions"))
        await self.ask(provider, "m")
        self.server.behaviour = super().answer
        call = await self.ask(provider, "gpt")
        self.assertEqual(
            (call.path, call.headers["authorization"]), ("/v1/chat/completions", "Bearer sk-the-key")
        )
        self.assertNotIn("x-api-key", call.headers)

    async def test_refusals(self) -> None:
        def error(kind: str, message: str) -> bytes:
            return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()

        table: list[tuple[int, bytes, type[UpstreamError]]] = [
            (400, error("invalid_request_error", "max_tokens: 1 > 0"), UpstreamRejectedError),
            (400, error("invalid_request_error", "prompt is too long: 9 > 8"), ContextLengthError),
            (401, error("authentication_error", "invalid x-api-key sk-the-key"), UpstreamAuthError),
            (413, error("request_too_large", "Request exceeds the maximum size"), UpstreamRejectedError),
            (429, error("rate_limit_error", "slow down"), UpstreamRateLimitError),
            (500, error("api_error", "Internal server error"), UpstreamError),
            (529, error("overloaded_error", "Overloaded"), UpstreamOverloadedError),
        ]
        for status, body, expected in table:

            def behave(call: UpstreamCall, status: int = status, body: bytes = body) -> None:
                call.answer(status, body, retry_after="7")

            self.server.behaviour = behave
            with self.assertRaises(UpstreamError) as caught:
                await self.ask(self.provider())
            self.assertIs(type(caught.exception), expected, status)
            self.assertNotIn("sk-the-key", caught.exception.message)
            waits = expected in {UpstreamRateLimitError, UpstreamOverloadedError}
            self.assertEqual(caught.exception.retry_after_seconds, 7.0 if waits else None)

    async def test_an_answer_that_breaks_off(self) -> None:
        def behave(call: UpstreamCall) -> None:
            call.stream(message_event("message_start", message={}))
            call.end()

        self.server.behaviour = behave
        with self.assertRaises(UpstreamError):
            await self.ask(self.provider())


class KeyTests(ConfiguredCase):
    """Which key goes where."""

    def refuse(self, *keys: str, status: int = 401) -> None:
        """Answer calls with these keys with a refusal."""

        def behave(call: UpstreamCall) -> None:
            if self.key_of(call) in keys:
                call.answer(status)
            else:
                self.answer(call)

        self.used: list[str] = []
        self.server.behaviour = behave

    def key_of(self, call: UpstreamCall) -> str:
        # a connection may carry several calls, and shows the headers of its last one
        self.used.append(call.headers["authorization"].removeprefix("Bearer "))
        return self.used[-1]

    async def test_the_next_key_is_used_when_one_is_refused(self) -> None:
        for status in (401, 403, 429):
            self.refuse("sk-the-key", status=status)
            provider = self.provider(api_key=KEY, api_keys=(Secret("sk-2"), KEY, Secret("sk-3")))
            for _ in range(2):
                await self.ask(provider)
            self.assertEqual(self.used, ["sk-the-key", "sk-2", "sk-2"])

    async def test_keys_without_a_first_one(self) -> None:
        self.refuse()
        await self.ask(self.provider(api_keys=(Secret("sk-2"), Secret("sk-3"))))
        self.assertEqual(self.used, ["sk-2"])

    async def test_a_key_that_was_refused_is_no_better_for_another_model(self) -> None:
        self.refuse("sk-the-key")
        provider = self.provider(ModelSettings(id="m"), api_key=KEY, api_keys=(Secret("sk-2"),))
        await self.ask(provider, "m")
        await self.ask(provider, "other")
        self.assertEqual(self.used, ["sk-the-key", "sk-2", "sk-2"])

    async def test_at_another_address_it_may_be(self) -> None:
        self.refuse("sk-the-key")
        elsewhere = self.listening()
        provider = self.provider(ModelSettings(id="far", base_url=elsewhere.base_url), api_key=KEY)
        with self.assertRaises(UpstreamAuthError):
            await self.ask(provider, "m")
        with self.assertRaises(UpstreamAuthError):
            provider.check("m")
        provider.check("far")
        call = await self.ask(provider, "far")
        self.assertEqual(self.key_of(call), "sk-the-key")

    async def test_no_redirect_is_followed(self) -> None:
        elsewhere = self.listening()
        for status in (301, 302, 303, 307, 308):
            for place in (elsewhere.base_url, f"{self.server.base_url}/elsewhere"):

                def behave(call: UpstreamCall, status: int = status, place: str = place) -> None:
                    self.calls.append(call)
                    call.answer(status, location=place, set_cookie="a=b")

                self.calls = []
                self.server.behaviour = behave
                with self.assertRaises(UpstreamError):
                    await self.ask(self.provider(api_key=KEY))
                self.assertEqual(len(self.calls), 1)
        self.assertEqual(elsewhere.connections, 0)

    async def test_cookies_are_not_kept(self) -> None:
        def behave(call: UpstreamCall) -> None:
            self.calls.append(call)
            call.answer(400, set_cookie="a=b; path=/")

        self.server.behaviour = behave
        provider = self.provider(api_key=KEY)
        for _ in range(2):
            with self.assertRaises(UpstreamError):
                await self.ask(provider)
        self.assertNotIn("cookie", self.calls[1].headers)

    async def test_a_list_of_keys_goes_without_those_that_cannot_be_had(self) -> None:
        text = """{models: {providers: {p: {apiKeys: [
            'sk-1', '${UNSET}', {source: 'env', provider: 'default', id: 'B'}, '$C',
        ]}}}}"""
        loaded = parse(text, {"B": "sk-b"})
        keys = [key.reveal() for key in loaded.settings.models.providers["p"].api_keys]
        self.assertEqual(keys, ["sk-1", "sk-b"])
        warned = [warning.path for warning in loaded.warnings]
        self.assertIn("models.providers.p.apiKeys[3]", warned)
        self.assertTrue(loaded.holds_secrets)

    async def test_how_attempts_went_is_told_with_the_provider(self) -> None:
        told: list[tuple[str, Outcome]] = []
        self.refuse("sk-the-key")
        settings = ProviderSettings(base_url=self.server.base_url, api_key=KEY, api_keys=(Secret("sk-2"),))
        configured = Configured(
            real_reactor(), {"mock": settings}, observe=lambda name, outcome: told.append((name, outcome))
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        await self.ask(configured.providers["mock"])
        self.assertEqual(told, [("mock", "refused"), ("mock", "answered")])


class SamplingTests(ConfiguredCase):
    """What a request leaves open comes from the model's settings, then from the provider's."""

    async def test_the_caller_the_model_the_provider(self) -> None:
        provider = self.provider(
            ModelSettings(id="m", params={"top_p": 0.2, "seed": 2}),
            params={"temperature": 0.3, "topP": 0.3, "seed": 3},
        )
        body = (await self.ask(provider, seed=1)).body
        self.assertEqual((body["seed"], body["top_p"], body["temperature"]), (1, 0.2, 0.3))
        body = (await self.ask(provider, "other")).body
        self.assertEqual((body["seed"], body["top_p"], body["temperature"]), (3, 0.3, 0.3))

    async def test_answers_are_no_longer_than_the_limit(self) -> None:
        provider = self.provider(ModelSettings(id="m", max_tokens=100), max_tokens=50)
        for model, asked, sent in [("m", None, 100), ("m", 70, 70), ("m", 900, 100), ("other", 70, 50)]:
            self.assertEqual((await self.ask(provider, model, max_tokens=asked)).body["max_tokens"], sent)

    async def test_a_limit_among_the_parameters_is_within_the_models(self) -> None:
        provider = self.provider(ModelSettings(id="m", max_tokens=100), params={"maxTokens": 500})
        self.assertEqual((await self.ask(provider)).body["max_tokens"], 100)

    async def test_how_hard_models_that_reason_think_when_nobody_says(self) -> None:
        provider = self.provider(ModelSettings(id="m", reasoning=True), params={"thinking": "low"})
        for model, asked, sent in [
            ("m", {}, "low"),
            ("m", {"thinking": "high"}, "high"),
            ("m", {"thinking": "off"}, None),
            ("m", {"thinking": "high", "reasoning_effort": "minimal"}, "minimal"),
            ("other", {"thinking": "high"}, None),
            ("other", {"reasoning_effort": "minimal"}, "minimal"),
        ]:
            body = (await self.ask(provider, model, **asked)).body
            self.assertEqual(body.get("reasoning_effort"), sent, (model, asked))
            self.assertNotIn("thinking", body)

    async def test_nothing_is_made_up(self) -> None:
        body = (await self.ask(self.provider(ModelSettings(id="m")))).body
        self.assertEqual(set(body), {"model", "messages", "stream", "stream_options"})


class CompatTests(ConfiguredCase):
    """How a provider differs from the others."""

    def test_openai_itself_has_another_name_for_the_limit(self) -> None:
        for url, field in [
            ("https://api.openai.com/v1", "max_completion_tokens"),
            ("https://API.OpenAI.com:443/v1", "max_completion_tokens"),
            ("https://api.openai.com.example/v1", None),
            ("http://127.0.0.1:8000/api.openai.com", None),
        ]:
            self.assertEqual(compat_of(CompatSettings(), url).max_tokens_field, field, url)

    def test_what_is_known_of_other_addresses(self) -> None:
        for url, known in [
            (
                "https://api.mistral.ai/v1",
                CompatSettings(requires_mistral_tool_ids=True, supports_usage_in_streaming=False),
            ),
            (
                "https://api.deepseek.com",
                CompatSettings(requires_reasoning_content_on_assistant_messages=True),
            ),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai",
                CompatSettings(requires_thought_signatures=True),
            ),
            ("https://llm.example.org/v1", CompatSettings()),
        ]:
            self.assertEqual(compat_of(CompatSettings(), url), known)
        given = CompatSettings(requires_mistral_tool_ids=False, supports_usage_in_streaming=True)
        self.assertEqual(compat_of(given, "https://api.mistral.ai/v1"), given)

    def test_what_the_settings_say_wins(self) -> None:
        given = CompatSettings(max_tokens_field="max_tokens", supports_tools=False)
        self.assertEqual(compat_of(given, "https://api.openai.com/v1"), given)

    async def test_each_model_has_its_own(self) -> None:
        provider = self.provider(
            ModelSettings(id="m", compat=CompatSettings(max_tokens_field="max_completion_tokens"))
        )
        self.assertEqual((await self.ask(provider, max_tokens=9)).body["max_completion_tokens"], 9)
        self.assertEqual((await self.ask(provider, "other", max_tokens=9)).body["max_tokens"], 9)


class SightTests(ConfiguredCase):
    """Models that cannot be given images."""

    def setUp(self) -> None:
        super().setUp()
        seen = Message(role="user", content=(TextPart("what?"), ImagePart("image/png", "QUJD")))
        self.now = (user("hi"), Message(role="assistant", content="hello"), seen)
        self.before = (seen, Message(role="assistant", content="a cat"), user("thanks"))

    async def ask_about(self, model: ModelSettings, messages: tuple[Message, ...]) -> Any:
        provider = self.provider(model)
        async for _ in provider.respond(ModelRequest(model="m", messages=messages)):
            pass
        await deferLater(real_reactor(), 0)
        return self.calls[-1].body

    async def test_an_image_that_is_to_be_answered_is_refused(self) -> None:
        with self.assertRaises(InvalidRequestError) as caught:
            await self.ask_about(ModelSettings(id="m", input=("text",)), self.now)
        self.assertEqual(caught.exception.param, "messages")
        self.assertIn("models.providers.mock.models", caught.exception.message)
        self.assertEqual(self.calls, [])

    async def test_one_that_was_answered_is_spoken_of(self) -> None:
        sent = await self.ask_about(ModelSettings(id="m", input=("text",)), self.before)
        texts = [part["text"] for part in sent["messages"][0]["content"]]
        self.assertEqual(texts[0], "what?")
        self.assertIn("cannot see", texts[1])

    async def test_models_that_can_or_do_not_say(self) -> None:
        for model in (ModelSettings(id="m"), ModelSettings(id="m", input=("text", "image"))):
            for messages in (self.now, self.before):
                self.assertIn("image_url", str(await self.ask_about(model, messages)))


class UnavailableTests(ConfiguredCase):
    """A provider that cannot be asked says why, before and when it is asked."""

    async def check(self, provider: Provider, model: str, words: str) -> None:
        with self.assertRaises(NoProviderError) as caught:
            provider.check(model)
        self.assertIn(words, caught.exception.message)
        with self.assertRaises(NoProviderError) as asked:
            await self.ask(provider, model)
        self.assertEqual(asked.exception.message, caught.exception.message)

    async def test_no_address(self) -> None:
        provider = self.provider(ModelSettings(id="m", base_url=self.server.base_url), base_url=None)
        await self.check(provider, "other", "Set models.providers.mock.baseUrl")
        provider.check("m")
        await self.ask(provider, "m")

    async def test_another_api(self) -> None:
        provider = self.provider(ModelSettings(id="m", api="openai-completions"), api="google-vertex")
        await self.check(provider, "other", '"google-vertex", which this gateway does not yet')
        provider.check("m")
        await self.ask(provider, "m")

    async def test_another_api_of_one_model(self) -> None:
        provider = self.provider(ModelSettings(id="m", api="ollama"))
        await self.check(provider, "m", '"ollama"')
        provider.check("other")


class CapacityTests(ConfiguredCase):
    """How many answers a provider, or one of its models, gives at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.server.behaviour = None
        self.asking: list[Deferred[UpstreamCall]] = []
        self.addCleanup(self.give_up)

    async def give_up(self) -> None:
        for asking in self.asking:
            asking.cancel()
            await asking.addErrback(lambda failure: failure.trap(CancelledError, UpstreamError))

    def start(self, provider: Provider, model: str) -> Deferred[UpstreamCall]:
        asking = Deferred.fromCoroutine(self.ask(provider, model))
        self.asking.append(asking)
        return asking

    async def test_a_model_has_a_limit_of_its_own_within_the_providers(self) -> None:
        provider = self.provider(
            ModelSettings(id="small", max_concurrent=1, max_queued=1), max_concurrent=2, max_queued=0
        )
        self.start(provider, "small")
        self.start(provider, "small")  # waits for the model, without a place of the provider's
        self.start(provider, "other")
        models = {(await self.server.calls.get()).body["model"] for _ in range(2)}
        self.assertEqual(models, {"small", "other"})
        for model, key in (("small", "models.maxQueued"), ("other", "mock.maxQueued")):
            with self.assertRaises(UpstreamOverloadedError) as caught:
                provider.check(model)
            self.assertIn(key, caught.exception.message)
            await self.assertFailure(self.start(provider, model), UpstreamOverloadedError)

    async def test_a_place_is_free_when_its_answer_has_ended_or_failed_or_was_given_up(self) -> None:
        provider = self.provider(max_concurrent=1, max_queued=1)
        ends: list[Callable[[UpstreamCall, Deferred[UpstreamCall]], object]] = [
            lambda call, _first: self.answer(call),
            lambda call, _first: call.answer(400),
            lambda _call, first: first.cancel(),
        ]
        for end in ends:
            first, second = self.start(provider, "m"), self.start(provider, "m")
            first.addErrback(lambda failure: failure.trap(UpstreamError, CancelledError))
            end(await self.server.calls.get(), first)
            self.answer(await self.server.calls.get())
            await second
            provider.check("m")

    async def test_who_takes_its_answer_gets_it_past_the_place_it_has(self) -> None:
        begins, *rest = stream_of("Hel", "lo")

        def begin(call: UpstreamCall) -> None:
            self.calls.append(call)
            call.stream(begins)

        self.server.behaviour = begin
        provider = self.provider(max_concurrent=1, max_queued=0)
        batches = provider.respond(ModelRequest(model="m", messages=(user("hi"),)))
        self.heard += await batches.asend(None)
        for event in rest:
            self.calls[0].event(event)
        taken: list[ProviderEvent] = []
        with self.assertRaises(StopAsyncIteration):
            self.heard += await batches.asend(taken.extend)
        self.assertEqual((self.heard, taken[0]), ([TextDelta("Hel")], TextDelta("lo")))
        provider.check("m")

    async def test_cancelled_in_the_queue(self) -> None:
        provider = self.provider(max_concurrent=1, max_queued=1)
        first, second = self.start(provider, "m"), self.start(provider, "m")
        self.assertRaises(UpstreamOverloadedError, provider.check, "m")
        second.cancel()
        await self.assertFailure(second, CancelledError)
        provider.check("m")
        self.assertNoResult(first)


class PatienceTests(ConfiguredCase):
    """How long a provider may take."""

    def test_silence_is_as_long_as_the_whole_answer_may_be(self) -> None:
        usual, silence = PATIENCE_SECONDS, "idle_timeout_seconds"
        table: list[tuple[dict[str, Any], Timeouts]] = [
            ({}, Timeouts(first_byte_seconds=usual, idle_seconds=usual)),
            ({"timeout_seconds": 300}, Timeouts(first_byte_seconds=300, idle_seconds=300)),
            ({"timeout_seconds": 300, silence: 7}, Timeouts(first_byte_seconds=300, idle_seconds=7)),
            ({"first_byte_timeout_seconds": 9}, Timeouts(first_byte_seconds=9, idle_seconds=usual)),
            ({"connect_timeout_seconds": 3}, Timeouts(connect_seconds=3)),
        ]
        for keys, expected in table:
            self.assertEqual(timeouts_of(ProviderSettings(**keys)), expected, keys)

    async def test_an_answer_that_takes_too_long_in_all_is_stopped(self) -> None:
        closed: list[Deferred[None]] = []

        def go_on(call: UpstreamCall) -> None:
            call.stream(chunk({"content": "a"}))
            closed.append(call.closed)

        self.server.behaviour = go_on
        provider = self.provider(timeout_seconds=0.2, idle_timeout_seconds=60)
        with self.assertRaises(UpstreamTimeoutError) as caught:
            await self.ask(provider)
        self.assertIn("models.providers.mock.timeoutSeconds", caught.exception.message)
        await closed[0]

    async def test_who_never_answers_within_it_was_silent(self) -> None:
        outcomes: list[Outcome] = []
        settings = ProviderSettings(base_url=self.server.base_url, timeout_seconds=0.05)
        configured = Configured(
            real_reactor(), {"mock": settings}, observe=lambda _provider_id, outcome: outcomes.append(outcome)
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        self.server.behaviour = self.calls.append
        for _ in range(FAILURES_IN_A_ROW):
            with self.assertRaises(UpstreamTimeoutError):
                await self.ask(configured.providers["mock"])
        self.assertEqual(outcomes, ["timed_out"] * FAILURES_IN_A_ROW)
        with self.assertRaises(UpstreamOverloadedError):
            configured.providers["mock"].check("m")
