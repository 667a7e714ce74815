"""Agent, model and session through the HTTP door; tests/agents/test_target has every form of every rule."""

from typing import Any

from openclaw_twisted.boundaries import SessionPatch
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.scripted import Scripted, reply
from tests.http.door import DoorCase

AGENTS: dict[str, Any] = {
    "agents": {
        "list": [{"id": "main"}, {"id": "beta", "model": "scripted/beta-model"}],
        "defaults": {"modelPolicy": {"allow": ["scripted/allowed"]}},
    }
}


def chat_settings(**settings: Any) -> dict[str, Any]:
    return {"gateway": {"http": {"endpoints": {"chatCompletions": settings}}}}


class Selecting(DoorCase):
    def open_agents(self, settings: dict[str, Any] | None = None) -> None:
        self.scripted = Scripted(*(reply(str(at)) for at in range(20)))
        self.open(settings=AGENTS | (settings or {}), provider=Catalog({"scripted": self.scripted}))

    async def key_of(self, headers: dict[str, str] | None = None, **more: Any) -> str:
        answer = await self.chat(headers, **more)
        self.assertEqual(answer.status, 200, answer.text)
        key: str = answer.headers["x-openclaw-session-key"]
        return key

    async def test_the_forms_of_the_model_field(self) -> None:
        self.open_agents()
        for model in ("openclaw", None, "", "openclaw/default", "openclaw:default"):
            self.assertTrue((await self.key_of(model=model)).startswith("agent:main:openai:"), model)
        for model in ("openclaw:beta", "openclaw/beta", "agent:beta", " OpenClaw/BETA "):
            answer = await self.chat(model=model)
            self.assertTrue(answer.headers["x-openclaw-session-key"].startswith("agent:beta:"), model)
            self.assertEqual(answer.json["model"], model)
            self.assertEqual(self.scripted.requests[-1].model, "beta-model")

    async def test_the_agent_header_beats_the_model_field(self) -> None:
        self.open_agents()
        for header in ("x-openclaw-agent-id", "x-openclaw-agent"):
            for model in ("openclaw", "agent:main", "gpt-4o"):
                self.assertTrue((await self.key_of({header: "beta"}, model=model)).startswith("agent:beta:"))

    async def test_what_there_is_not(self) -> None:
        self.open_agents()
        table: list[tuple[dict[str, str], dict[str, Any], str]] = [
            ({}, {"model": "openclaw/nobody"}, "nobody"),
            ({"x-openclaw-agent-id": "nobody"}, {}, "main, beta"),
            ({}, {"model": "gpt-4o"}, "openclaw/<agentId>"),
            ({"x-openclaw-session-key": "agent:nobody:x"}, {}, "nobody"),
        ]
        for headers, more, said in table:
            answer = await self.chat(headers, **more)
            self.assertEqual((answer.status, answer.error["code"]), (404, "model_not_found"), answer.text)
            self.assertIn(said, answer.error["message"])
        self.assertEqual(self.scripted.requests, [])

    async def test_any_model_name_may_mean_the_default_agent(self) -> None:
        self.open_agents(chat_settings(unknownModel="default-agent"))
        self.assertTrue((await self.key_of(model="gpt-4o")).startswith("agent:main:"))
        self.assertEqual((await self.ask("GET", "/v1/models/gpt-4o")).status, 200)

    async def test_the_backend_model(self) -> None:
        self.open_agents()
        header = "x-openclaw-model"
        self.assertEqual((await self.chat({header: "scripted/allowed"})).status, 200)
        self.assertEqual(self.scripted.requests[-1].model, "allowed")
        self.assertEqual((await self.chat({header: "scripted/other"})).status, 403)
        free = {"agents": {"list": [{"id": "main"}], "defaults": {"model": "scripted/m"}}}
        await self.door.stop()
        self.open(settings=free, provider=Catalog({"scripted": self.scripted}))
        answer = await self.chat({header: "nobody/m"})
        self.assertEqual((answer.status, answer.error["code"]), (404, "model_not_found"))

    async def test_the_model_that_was_chosen_for_a_session(self) -> None:
        up = Scripted(reply("one"), reply("two"))
        self.open(provider=Catalog({"up": up}), settings={"agents": {"defaults": {"model": "down/m"}}})
        session = {"x-openclaw-session-key": "agent:main:s"}
        self.assertEqual((await self.chat(session)).status, 404)
        await self.door.runs.store.patch("agent:main:s", SessionPatch(model="up/m"), 1.0)
        self.assertEqual((await self.chat(session)).json["choices"][0]["message"]["content"], "one")
        chosen = {"x-openclaw-model": "down/m"}
        self.assertEqual([(await self.chat(more)).status for more in ({}, session | chosen)], [404, 404])
        key = {"idempotency-key": "k"}
        answers = [(await self.chat(session | key)).json for _ in range(2)]
        self.assertEqual(answers[0]["id"], answers[1]["id"])

    async def test_the_session_key_header(self) -> None:
        self.open_agents()
        header = "x-openclaw-session-key"
        self.assertEqual(await self.key_of({header: "Raycast:Chat:1"}), "agent:main:raycast:chat:1")
        self.assertEqual(await self.key_of({header: "agent:beta:x"}), "agent:beta:x")
        self.assertEqual(await self.key_of({header: "x"}, model="agent:beta"), "agent:beta:x")
        refused = [
            ({header: "agent:beta:x"}, "agent:main"),
            ({header: "agent:beta:x", "x-openclaw-agent-id": "main"}, "openclaw"),
            *(({header: key}, "openclaw") for key in ("subagent:x", "cron:x", "acp:x", "x" * 513, "a\x01b")),
        ]
        for headers, model in refused:
            answer = await self.chat(headers, model=model)
            self.assertEqual(answer.status, 400, (headers, answer.text))
            self.assertEqual(answer.error["type"], "invalid_request_error")

    async def test_conversations_that_clients_name(self) -> None:
        self.open_agents()
        webui = {"x-openwebui-chat-id": "Chat-7"}
        first, second = await self.key_of(webui), await self.key_of(webui, user="ann")
        self.assertEqual(first, second)
        self.assertTrue(first.startswith("agent:main:"))
        self.assertNotIn(":openai:", first)
        self.assertNotEqual(await self.key_of({"x-session-id": "7"}), first)
        named = await self.key_of(webui | {"x-openclaw-session-key": "mine"})
        self.assertEqual(named, "agent:main:mine")

    async def test_open_webui_has_errands_done_in_its_chats(self) -> None:
        scripts = [reply(text) for text in ("Paris", "Capitals", "Madrid", "Lisbon")]
        self.open(*scripts)
        chat = {"x-openwebui-chat-id": "7"}
        first = [{"role": "user", "content": "France?"}, {"role": "assistant", "content": "Paris"}]
        then = {"role": "user", "content": "Spain?"}
        await self.chat(chat, messages=first[:1])
        errand = [{"role": "user", "content": "### Task:\nWrite a title"}]
        aside = (await self.chat(chat, messages=errand)).headers["x-openclaw-session-key"]
        self.assertTrue(aside.startswith("agent:main:openai:"), aside)
        await self.chat(chat, messages=[*first, then])
        await self.chat({"x-openclaw-session-key": "openwebui-chat:7"}, messages=[then])
        asked = [
            [message.content for message in request.messages if message.role != "system"]
            for request in self.door.runs.provider.requests
        ]
        self.assertEqual(asked[1:3], [["### Task:\nWrite a title"], ["France?", "Paris", "Spain?"]])
        self.assertEqual(asked[3], ["France?", "Paris", "Spain?", "Madrid", "Spain?"])

    async def test_every_errand_of_open_webui(self) -> None:
        tools = "Available Tools: [{}]\n\nYour task is to choose and return the correct tool(s)"
        reviewer = "You are Open WebUI's private memory reviewer. Return only valid JSON."
        face = "Your task is to reflect the speaker's likely facial expression through a fitting emoji."
        errands = [
            *((tools, question) for question in ("Query: Rain?", 'History:\nUSER: """a"""\nQuery: Rain?')),
            (f"Speak like a pirate.\n{tools}", "Query: Rain?"),
            (reviewer, "Review the completed conversation turn."),
            (None, face),
        ]
        self.open(*(reply("ok") for _ in errands))
        for instruction, question in errands:
            messages = [{"role": "user", "content": question}]
            if instruction is not None:
                messages.insert(0, {"role": "system", "content": instruction})
            key = (await self.chat({"x-openwebui-chat-id": "7"}, messages=messages)).headers[
                "x-openclaw-session-key"
            ]
            self.assertTrue(key.startswith("agent:main:openai:"), (instruction, question, key))

    async def test_what_looks_like_an_errand_and_is_none(self) -> None:
        self.open(*(reply("ok") for _ in range(4)))
        task = {"role": "user", "content": "### Task:\nRespond to the user query"}
        chat = {"x-openwebui-chat-id": "7"}
        answer, events = await self.stream(chat, messages=[task])
        await events.rest()
        keys = [answer.headers.getRawHeaders("x-openclaw-session-key")[0]]
        said = {"role": "assistant", "content": "ok"}
        keys.append((await self.chat(chat, messages=[task, said, task])).headers["x-openclaw-session-key"])
        keys.append(
            (await self.chat({"x-session-id": "7"}, messages=[task])).headers["x-openclaw-session-key"]
        )
        told = [{"role": "system", "content": "Name the Available Tools: none."}, said | {"role": "user"}]
        keys.append((await self.chat(chat, messages=told)).headers["x-openclaw-session-key"])
        clients = ("openwebui-chat", "openwebui-chat", "session", "openwebui-chat")
        self.assertEqual(keys, [f"agent:main:{client}:7" for client in clients])

    async def test_what_names_a_conversation_can_be_switched_off(self) -> None:
        self.open_agents(chat_settings(userPolicy="ignore", sessionHeaders=[]))
        key = await self.key_of({"x-openwebui-chat-id": "7"}, user="ann")
        self.assertTrue(key.startswith("agent:main:openai:"))
