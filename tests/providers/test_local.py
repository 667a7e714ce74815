"""The local provider with a server that the test plays; the real process is tests/providers/test_embedded."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolSpec
from openclaw_twisted.errors import (
    AgentNotFoundError,
    GatewayError,
    InvalidRequestError,
    ModelNotReadyError,
    UpstreamError,
    UpstreamOverloadedError,
)
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta, ToolCallDelta
from openclaw_twisted.providers.embedded import LocalEndpoint
from openclaw_twisted.providers.local import Local
from openclaw_twisted.sse import DONE
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor, user

TOOLS = (ToolSpec("get_weather"),)
CALL = ('{"name": "get_', 'weather", "arguments": {"city": "Oslo"}}')


class FakeModel:
    """A local model whose process the test plays."""

    name = "tiny"
    obstacle: GatewayError | None = None

    def __init__(self, server: FakeUpstream) -> None:
        self._server = server

    def check(self) -> None:
        if self.obstacle is not None:
            raise self.obstacle

    async def endpoint(self) -> LocalEndpoint:
        return LocalEndpoint(base_url=self._server.base_url, api_key="key", model="served-name")


class Asking(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.server = FakeUpstream()
        self.server.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))
        self.model = FakeModel(self.server)
        self.local = Local(real_reactor(), self.model, LocalModelSettings(parallel=1, max_queued=1))

    async def ask(self, *pieces: str, **more: Any) -> list[list[ProviderEvent]]:
        def answer(call: UpstreamCall) -> None:
            self.body, self.key = call.body, call.headers["authorization"]
            call.stream(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"), DONE)
            call.end()

        self.server.behaviour = answer
        request = ModelRequest(**{"model": "tiny", "messages": (user("hi"),)} | more)
        return [list(batch) async for batch in self.local.respond(request)]

    async def events(self, *pieces: str, **more: Any) -> list[ProviderEvent]:
        return [event for batch in await self.ask(*pieces, **more) for event in batch]

    async def test_the_process_is_asked_with_its_own_name_and_key(self) -> None:
        events = await self.events("Hel", "lo")
        self.assertEqual(events, [TextDelta("Hel"), TextDelta("lo"), Finished("stop")])
        self.assertEqual((self.body["model"], self.key), ("served-name", "Bearer key"))

    async def test_a_call_written_as_text_becomes_a_call(self) -> None:
        for fence in ("{}", "```json\n{}\n```"):
            events = await self.events(*(fence.replace("{}", "".join(CALL)),), tools=TOOLS)
            self.assertEqual(len(events), 2, events)
            call, finished = events
            assert isinstance(call, ToolCallDelta)
            self.assertEqual((call.name, call.arguments), ("get_weather", '{"city":"Oslo"}'))
            self.assertEqual(finished, Finished("tool_calls"))

    async def test_a_call_in_pieces(self) -> None:
        events = await self.events(*CALL, tools=TOOLS)
        self.assertIsInstance(events[0], ToolCallDelta)

    async def test_what_is_held_back_is_no_answer_yet(self) -> None:
        def break_off(call: UpstreamCall) -> None:
            call.stream(chunk({"content": CALL[0]}))
            call.hang_up()

        self.server.behaviour = break_off
        answer = self.local.respond(ModelRequest(model="tiny", messages=(user("hi"),), tools=TOOLS))
        with self.assertRaises(UpstreamError):
            await answer.asend(None)

    async def test_words_are_passed_on_as_they_come(self) -> None:
        events = await self.events(" ", "Hel", "lo {", tools=TOOLS)
        self.assertEqual(events, [TextDelta(" Hel"), TextDelta("lo {"), Finished("stop")])

    async def test_json_that_is_no_call_is_text(self) -> None:
        events = await self.events('{"name": ', '"nobody"}', tools=TOOLS)
        self.assertEqual(events, [TextDelta('{"name": "nobody"}'), Finished("stop")])

    async def test_without_tools_nothing_is_held_back(self) -> None:
        for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
            events = await self.events(*CALL, **more)
            self.assertEqual(events, [TextDelta(CALL[0]), TextDelta(CALL[1]), Finished("stop")])

    async def test_a_tool_chosen_by_name_is_the_only_one_on_offer(self) -> None:
        tools = (ToolSpec("other"), *TOOLS)
        await self.ask("ok", tools=tools, tool_choice=("function", "get_weather"))
        self.assertEqual([tool["function"]["name"] for tool in self.body["tools"]], ["get_weather"])
        self.assertEqual(self.body["tool_choice"], "required")

    async def test_so_many_answers_at_a_time_and_so_many_in_the_queue(self) -> None:
        request = ModelRequest(model="tiny", messages=(user("hi"),))

        async def answer() -> list[ProviderEvent]:
            return [event async for batch in self.local.respond(request) for event in batch]

        first, second = Deferred.fromCoroutine(answer()), Deferred.fromCoroutine(answer())
        call = await self.server.calls.get()
        with self.assertRaises(UpstreamOverloadedError) as caught:
            self.local.check("tiny")
        self.assertIn("models.providers.local.maxQueued", caught.exception.message)
        self.failureResultOf(Deferred.fromCoroutine(answer()), UpstreamOverloadedError)
        self.assertNoResult(second)
        self.assertEqual(self.server.connections, 1)
        for done in (first, second):
            call.stream(chunk({"content": "ok"}), chunk({}, "stop"), DONE)
            call.end()
            self.assertEqual(await done, [TextDelta("ok"), Finished("stop")])
            if done is first:
                call = await self.server.calls.get()
        self.local.check("tiny")

    async def test_images_are_refused(self) -> None:
        picture = Message(role="user", content=(TextPart("what?"), ImagePart("image/png", "QUJD")))
        with self.assertRaises(InvalidRequestError):
            await self.ask("no", messages=(picture,))
        self.assertEqual(self.server.connections, 0)

    def test_another_name_is_another_model(self) -> None:
        with self.assertRaises(AgentNotFoundError) as caught:
            self.local.check("huge")
        self.assertIn("local/tiny", caught.exception.message)

    def test_what_the_model_knows_is_told_at_once(self) -> None:
        self.local.check("tiny")
        self.model.obstacle = ModelNotReadyError("fetching, 3 %")
        with self.assertRaises(ModelNotReadyError):
            self.local.check("tiny")
