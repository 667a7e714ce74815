"""Conversations by `previous_response_id`, over the whole HTTP door."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import session_key
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.target import Target
from openclaw_twisted.boundaries import StoredMessage
from openclaw_twisted.config.parse import parse
from openclaw_twisted.content import Message, ToolCall
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, TextDelta, ToolCallDelta
from openclaw_twisted.http.agent_runs import Place
from openclaw_twisted.http.response_chain import ResponseChain
from openclaw_twisted.http.responses_answer import response_id
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import MemoryRuns, run_request, user
from tests.http.door import Answer
from tests.http.test_responses import ResponsesCase

SESSION = "x-openclaw-session-key"
SMALL = {"id": "m", "contextTokens": 3000}


def said(text: str) -> Message:
    return Message(role="assistant", content=text)


class ChainCase(ResponsesCase):
    def asked(self, at: int = -1) -> tuple[Message, ...]:
        """Return what the model was asked."""
        return self.door.runs.provider.requests[at].messages

    async def go_on(self, before: Answer, text: str, headers: Any = None, **more: Any) -> Answer:
        return await self.respond(headers, input=text, previous_response_id=before.json["id"], **more)

    def refused(self, answer: Answer, code: str | None, words: str) -> None:
        self.assertEqual((answer.status, answer.error["code"]), (400, code), answer.text)
        self.assertEqual(answer.error["param"], "previous_response_id")
        self.assertIn(words, answer.error["message"])


class Continuing(ChainCase):
    async def test_the_newest_response_goes_on_in_its_session(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        first = await self.respond(input="a")
        second = await self.go_on(first, "b")
        third = await self.go_on(second, "c")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b"), said("2"), user("c")))
        self.assertEqual(len({answer.headers[SESSION] for answer in (first, second, third)}), 1)
        self.assertEqual(third.json["previous_response_id"], second.json["id"])

    async def test_an_older_response_is_gone_on_from_beside_what_followed(self) -> None:
        self.open(*(reply(str(n)) for n in range(1, 6)))
        first = await self.respond(input="a")
        second = await self.go_on(first, "b")
        branch = await self.go_on(first, "c")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("c")))
        self.assertNotEqual(branch.headers[SESSION], first.headers[SESSION])
        await self.go_on(branch, "d")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("c"), said("3"), user("d")))
        await self.go_on(second, "e")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b"), said("2"), user("e")))

    async def test_an_older_response_than_fits_into_the_window(self) -> None:
        models = {"providers": {"scripted": {"baseUrl": "http://x.test", "models": [SMALL]}}}
        self.open(*map(reply, "12345"), settings={"models": models})
        first = await self.respond(input="x" * 3500)
        second = await self.go_on(first, "y" * 3500)
        third = await self.go_on(second, "b")
        self.assertEqual(self.asked(), (user("y" * 3500), said("2"), user("b")))
        branch = await self.go_on(second, "c")
        self.assertEqual(self.asked(), (user("y" * 3500), said("2"), user("c")))
        self.assertNotEqual(branch.headers[SESSION], third.headers[SESSION])
        kept = await self.door.runs.store.history(branch.headers[SESSION])
        self.assertEqual(len(kept), 6)

    async def test_an_older_response_than_history_usually_tells_of(self) -> None:
        self.open(*(reply(str(n)) for n in range(1, 4)))
        first = await self.respond(input="a")
        long = [{"role": "user", "content": "x"}] * 1200
        await self.respond(input=long, previous_response_id=first.json["id"])
        await self.go_on(first, "c")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("c")))

    async def test_two_at_the_same_time_never_hear_of_each_other(self) -> None:
        pause = Pause()
        self.open(reply("1"), [pause, *reply("2")], reply("3"))
        first = await self.respond(input="a")
        slow = Deferred.fromCoroutine(self.go_on(first, "b"))
        await self.until(lambda: pause.reached)
        branch = await self.go_on(first, "c")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("c")))
        self.assertNotEqual(branch.headers[SESSION], first.headers[SESSION])
        pause.go_on()
        self.assertEqual((await slow).headers[SESSION], first.headers[SESSION])

    async def test_many_at_the_same_moment(self) -> None:
        self.open(reply("1"), *(reply("x") for _ in range(5)))
        first = await self.respond(input="a")
        going = [Deferred.fromCoroutine(self.go_on(first, str(n))) for n in range(5)]
        sessions = [(await one).headers[SESSION] for one in going]
        self.assertEqual(len(set(sessions)), 5)
        self.assertEqual({len(request.messages) for request in self.door.runs.provider.requests[1:]}, {3})

    async def test_a_repetition_joins_wherever_it_went_on(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        first = await self.respond(input="a")
        key = {"idempotency-key": "k"}
        second = await self.go_on(first, "b", key)
        again = await self.go_on(first, "b", key)
        self.assertEqual(second.json["id"], again.json["id"])
        self.assertEqual(len(self.door.runs.provider.requests), 2)

    async def test_everything_that_is_sent_is_new(self) -> None:
        self.open(reply("1"), reply("2"))
        first = await self.respond(input="a")
        more = [("user", "b"), ("assistant", "c"), ("user", "d")]
        await self.respond(
            input=[{"role": role, "content": text} for role, text in more],
            previous_response_id=first.json["id"],
        )
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b"), said("c"), user("d")))

    async def test_a_round_of_tools(self) -> None:
        call = [ToolCallDelta(0, "c1", "f", "{}"), Finished("tool_calls")]
        self.open([[TextDelta("Let me see."), *call]], reply("Rain."))
        tools = [{"type": "function", "name": "f", "parameters": {}}]
        first = await self.respond(input="Weather?", tools=tools)
        output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
        second = await self.respond(input=[output], tools=tools, previous_response_id=first.json["id"])
        self.assertEqual(second.json["output"][0]["content"][0]["text"], "Rain.")
        self.assertEqual(
            self.asked(),
            (
                user("Weather?"),
                Message(role="assistant", content="Let me see.", tool_calls=(ToolCall("c1", "f", "{}"),)),
                Message(role="tool", content="rain", tool_call_id="c1"),
            ),
        )

    async def test_instructions_are_not_carried_over_and_developer_messages_are(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        items = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "a"}]
        first = await self.respond(input=items, instructions="Be brief.")
        second = await self.go_on(first, "b", instructions="Be quick.")
        self.assertEqual(self.asked()[0], Message(role="system", content="Be quick.\n\nBe kind."))
        await self.go_on(first, "c")
        self.assertEqual(self.asked()[0], Message(role="system", content="Be kind."))
        self.assertEqual(second.json["instructions"], "Be quick.")

    async def test_an_incomplete_response_may_be_gone_on_from(self) -> None:
        self.open([[TextDelta("1"), Finished("length")]], reply("2"))
        first = await self.respond(input="a")
        await self.go_on(first, "b")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b")))


class SlowStore(MemoryStore):
    """A store whose `history` takes until `go_on` is called, once it is `slow`."""

    slow = False

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Deferred[None]] = []

    def go_on(self) -> None:
        self.slow = False
        for waiter in self._waiting:
            waiter.callback(None)

    async def history(
        self, session_key: str, limit: int = 1000, **which: int | None
    ) -> tuple[StoredMessage, ...]:
        if self.slow:
            self._waiting.append(Deferred())
            await self._waiting[-1]
        return await super().history(session_key, limit, **which)


class Leaving(SynchronousTestCase):
    def test_who_leaves_while_a_place_is_looked_for_leaves_it_free(self) -> None:
        store = SlowStore()
        runs = MemoryRuns(reply("1"), store=store)
        run = runs.runner.start(run_request(user("a"), key="openai-response:1"))
        self.successResultOf(run.result())
        store.slow = True
        chain = ResponseChain(store, runs.runner)
        settings = parse("{}", {}).settings.agents
        agent = Directory(settings, state_dir=Path("/nonexistent"), home=Path("/nonexistent")).default
        target = Target(agent=agent, session_key=session_key.stateless("main"), model_echo="openclaw")
        previous = response_id(run.request.run_id, stored=True)

        async def place() -> Place:
            async with chain.place(target, previous, stored=True) as found:
                return found

        leaving = Deferred.fromCoroutine(place())
        leaving.addErrback(lambda failure: failure.trap(CancelledError))
        leaving.cancel()
        staying, late = (Deferred.fromCoroutine(place()) for _ in range(2))
        store.go_on()
        places = [self.successResultOf(each) for each in (staying, late)]
        self.assertEqual(str(places[0].session_key), "agent:main:openai-response:1")
        self.assertNotEqual(places[1].session_key, places[0].session_key)
        self.assertEqual(places[1].before, (user("a"), said("1")))


class Sessions(ChainCase):
    async def test_a_session_that_the_caller_named(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        for more in ({"headers": {SESSION: "mine"}}, {"user": "ann"}):
            first = await self.respond(input="a", **more)
            self.assertIn(first.headers[SESSION], {"agent:main:mine", "agent:main:openai-user:ann"})
        second = await self.go_on(first, "b", user="ann")
        self.assertEqual(second.headers[SESSION], "agent:main:openai-user:ann")
        self.assertEqual(self.asked(), (user("a"), said("2"), user("b")))

    async def test_a_response_outweighs_user(self) -> None:
        self.open(reply("1"), reply("2"))
        first = await self.respond(input="a")
        second = await self.go_on(first, "b", user="ann")
        self.assertEqual(second.headers[SESSION], first.headers[SESSION])

    async def test_the_header_and_the_response_have_to_agree(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        mine = {SESSION: "mine"}
        first = await self.respond(mine, input="a")
        self.refused(await self.go_on(first, "b", {SESSION: "other"}), None, "another session")
        second = await self.go_on(first, "b", mine)
        self.assertEqual(second.headers[SESSION], "agent:main:mine")
        self.refused(await self.go_on(first, "c", mine), None, "not the newest")

    async def test_what_is_not_stored_leads_nowhere(self) -> None:
        self.open(reply("1"), reply("2"))
        first = await self.respond(input="a", store=False)
        self.assertRegex(first.headers[SESSION], r"^agent:main:openai:[0-9a-f-]{36}$")
        self.refused(await self.go_on(first, "b"), "previous_response_not_found", "store: false")
        run_id = first.headers["x-openclaw-run-id"].replace("-", "")
        guessed = await self.respond(previous_response_id=f"resp_{run_id}")
        self.refused(guessed, "previous_response_not_found", "There is no response")

    async def test_what_is_not_stored_may_go_on_from_what_is(self) -> None:
        self.open(reply("1"), reply("2"), reply("3"))
        first = await self.respond(input="a")
        aside = await self.go_on(first, "b", store=False)
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b")))
        self.assertRegex(aside.headers[SESSION], r"^agent:main:openai:[0-9a-f-]{36}$")
        await self.go_on(first, "c")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("c")))

    async def test_what_is_not_stored_may_stand_in_a_named_session(self) -> None:
        self.open(reply("1"), reply("2"))
        mine = {SESSION: "mine"}
        first = await self.respond(mine, input="a", store=False)
        self.assertEqual(first.headers[SESSION], "agent:main:mine")
        self.refused(await self.go_on(first, "b", mine), "previous_response_not_found", "")
        await self.respond(mine, input="b")
        self.assertEqual(self.asked(), (user("a"), said("1"), user("b")))


class Refused(ChainCase):
    async def test_responses_that_there_are_not(self) -> None:
        self.open()
        for name in (
            "resp_1",
            f"resp_{uuid.uuid4().hex}",
            f"chatcmpl_{uuid.uuid4()}",
            "resp_\u0663" + "0" * 31,
        ):
            answer = await self.respond(previous_response_id=name)
            self.refused(answer, "previous_response_not_found", "There is no response of this id")

    async def test_the_response_of_another_agent(self) -> None:
        self.open(reply("1"), settings={"agents": {"list": [{"id": "main", "default": True}, {"id": "ann"}]}})
        first = await self.respond(input="a", model="openclaw/ann")
        self.refused(await self.go_on(first, "b", model="openclaw/main"), None, '"ann"')

    async def test_a_response_that_failed(self) -> None:
        self.open([[TextDelta("half")], UpstreamError("no")])
        told = await self.told(input="a")
        answer = await self.respond(previous_response_id=told[0]["response"]["id"])
        self.refused(answer, None, "it is failed")

    async def test_a_response_that_has_not_ended(self) -> None:
        pause = Pause()
        self.open([[TextDelta("a")], pause])
        response, events = await self.respond_stream()
        await self.until(lambda: pause.reached)
        run_id = response.headers.getRawHeaders("x-openclaw-run-id")[0].replace("-", "")
        answer = await self.respond(previous_response_id=f"resp_{run_id}")
        self.refused(answer, None, "it is running")
        pause.go_on()
        await events.rest()
