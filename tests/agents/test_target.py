from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.target import Target, find_model, known_model_ids, resolve_target
from openclaw_twisted.config.settings import (
    AgentDefaults,
    AgentSettings,
    AgentsSettings,
    ChatCompletionsSettings,
    ModelChoice,
    ModelEntry,
    ModelPolicy,
)
from openclaw_twisted.errors import AgentNotFoundError, ForbiddenError, GatewayError, InvalidRequestError

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DEFAULT_FORMS = (
    None,
    "",
    "  ",
    "openclaw",
    "openclaw/default",
    "openclaw:default",
    "OpenClaw",
    " OPENCLAW/Default ",
)
CODER_FORMS = (
    "openclaw/coder",
    "openclaw:coder",
    "agent:coder",
    "OpenClaw/CODER",
    " AGENT:Coder ",
    "openclaw/ coder",
)


def directory(*ids: str, defaults: AgentDefaults | None = None) -> Directory:
    entries = {agent_id: AgentSettings(id=agent_id) for agent_id in ids or ("main", "coder")}
    agents = AgentsSettings(defaults=defaults or AgentDefaults(), entries=entries)
    return Directory(agents, state_dir=Path("/state"), home=Path("/home"))


def resolve(
    model: str | None = None,
    headers: Mapping[str, str | list[str]] | None = None,
    user: str | None = None,
    options: ChatCompletionsSettings | None = None,
    agents: Directory | None = None,
) -> Target:
    made = Headers()
    for name, value in (headers or {}).items():
        made.setRawHeaders(
            name.encode(), [v.encode() for v in ([value] if isinstance(value, str) else value)]
        )
    return resolve_target(agents or directory(), model, made, user, options or ChatCompletionsSettings())


def key(**arguments: object) -> str:
    return str(resolve(**arguments).session_key)  # type: ignore[arg-type]


class AgentTests(SynchronousTestCase):
    def test_the_default_agent(self):
        for model in DEFAULT_FORMS:
            self.assertEqual(resolve(model).agent.id, "main", model)

    def test_two_agents_and_no_default_are_no_error(self):
        self.assertEqual(resolve("openclaw", agents=directory("b", "a")).agent.id, "b")

    def test_a_named_agent(self):
        for model in CODER_FORMS:
            self.assertEqual(resolve(model).agent.id, "coder", model)

    def test_the_header_beats_the_model_and_then_any_model_will_do(self):
        for name in ("x-openclaw-agent-id", "x-openclaw-agent", "X-OpenClaw-Agent-Id"):
            for model in (None, "openclaw/main", "openclaw/nobody", "gpt-4o"):
                self.assertEqual(resolve(model, {name: " Coder "}).agent.id, "coder", (name, model))

    def test_a_blank_header_is_none(self):
        self.assertEqual(resolve("openclaw/coder", {"x-openclaw-agent-id": "  "}).agent.id, "coder")

    def test_the_header_and_its_alias_must_not_differ(self):
        same: dict[str, str | list[str]] = {
            "x-openclaw-agent-id": ["coder", "coder"],
            "x-openclaw-agent": "coder",
        }
        self.assertEqual(resolve(None, same).agent.id, "coder")
        for values in (["coder", "main"], ["main", "coder"]):
            self.assertRaises(InvalidRequestError, resolve, None, {"x-openclaw-agent-id": values})
        both = {"x-openclaw-agent-id": "coder", "x-openclaw-agent": "main"}
        self.assertRaises(InvalidRequestError, resolve, None, both)

    def test_unknown_agents(self):
        for model in ("openclaw/nobody", "openclaw:nobody", "agent:nobody"):
            error = self.assertRaises(AgentNotFoundError, resolve, model)
            self.assertIn('"nobody"', error.message)
            self.assertIn("main, coder", error.message)
            self.assertEqual(error.param, "model")
        self.assertRaises(AgentNotFoundError, resolve, None, {"x-openclaw-agent-id": "nobody"})
        for model in ("openclaw/", "agent:", "openclaw/coder/x", "openclaw//coder"):
            self.assertRaises(AgentNotFoundError, resolve, model)

    def test_other_models_are_refused_with_the_valid_forms(self):
        for model in ("gpt-4o", "openclawx", "openai/gpt-4o", "default", "agent"):
            error = self.assertRaises(AgentNotFoundError, resolve, model)
            for part in (f'"{model}"', '"openclaw"', '"openclaw/<agentId>"', "main, coder", "unknownModel"):
                self.assertIn(part, error.message)
            self.assertEqual((error.code, error.param), ("model_not_found", "model"))

    def test_a_bare_agent_id_gets_a_hint(self):
        error = self.assertRaises(AgentNotFoundError, resolve, "Coder")
        self.assertIn('Did you mean "openclaw/coder"?', error.message)

    def test_other_models_may_mean_the_default_agent(self):
        options = ChatCompletionsSettings(unknown_model="default-agent")
        self.assertEqual(resolve("gpt-4o", options=options).agent.id, "main")
        self.assertRaises(AgentNotFoundError, resolve, "openclaw/nobody", options=options)

    def test_the_answer_repeats_the_model_as_it_was_written(self):
        self.assertEqual(resolve(" OpenClaw/CODER ").model_echo, " OpenClaw/CODER ")
        self.assertEqual(resolve("gpt-4o", {"x-openclaw-agent-id": "coder"}).model_echo, "gpt-4o")
        self.assertEqual((resolve(None).model_echo, resolve("").model_echo), ("openclaw", "openclaw"))


class ModelOverrideTests(SynchronousTestCase):
    policed = AgentDefaults(
        model=ModelChoice("local/small", ("backup/large",)),
        models={"openai/gpt-4o": ModelEntry(alias="Four")},
        model_policy=ModelPolicy(allow=("openai/gpt-4o", "anthropic/*", "openrouter/meta/llama")),
    )

    def override(self, wanted: str, defaults: AgentDefaults | None = None) -> str | None:
        return resolve(None, {"x-openclaw-model": wanted}, agents=directory(defaults=defaults)).model_override

    def test_any_model_without_a_policy(self):
        for model in ("openai/gpt-4o", "gpt-4o", "qwen2.5:7b", "openrouter/meta/llama"):
            self.assertEqual(self.override(f" {model} "), model)
        self.assertIsNone(self.override(" "))
        self.assertIsNone(resolve("openclaw").model_override)

    def test_the_policy_allows(self):
        cases = {
            "openai/gpt-4o": "openai/gpt-4o",
            "anthropic/claude": "anthropic/claude",
            "openrouter/meta/llama": "openrouter/meta/llama",
            "four": "openai/gpt-4o",
            "local/small": "local/small",  # the agent's own model
        }
        for wanted, model in cases.items():
            self.assertEqual(self.override(wanted, self.policed), model)

    def test_a_bare_name_becomes_the_listed_model_and_no_other_providers(self):
        self.assertEqual(self.override("gpt-4o", self.policed), "openai/gpt-4o")
        self.assertEqual(self.override("small", self.policed), "local/small")

    def test_the_policy_excludes(self):
        for wanted in (
            "openai/gpt-4",
            "azure/gpt-4o",
            "anthropic",
            "claude",
            "backup/large",
            "llama",
            "*",
            "evil/*",
        ):
            error = self.assertRaises(ForbiddenError, self.override, wanted, self.policed)
            self.assertIn("modelPolicy.allow", error.message)

    def test_malformed(self):
        for wanted in ("/x", "x/", "a//b", "a b", "x" * 257, "a\tb"):
            self.assertRaises(InvalidRequestError, self.override, wanted)

    def test_the_policy_is_that_of_the_agent_the_session_belongs_to(self):
        entries = {
            "main": AgentSettings(id="main"),
            "coder": AgentSettings(id="coder", model_policy=ModelPolicy(allow=("local/*",))),
        }
        agents = Directory(AgentsSettings(entries=entries), state_dir=Path("/s"), home=Path("/h"))
        headers = {
            "x-openclaw-model": "openai/x",
            "x-openclaw-session-key": "agent:coder:a",
        }
        self.assertRaises(ForbiddenError, resolve, None, headers, agents=agents)


class SessionTests(SynchronousTestCase):
    def keyed(self, text: str | list[str], model: str | None = None, **headers: str) -> str:
        fields: dict[str, str | list[str]] = {"x-openclaw-session-key": text, **headers}
        return key(model=model, headers=fields)

    def test_without_anything_the_request_stands_alone(self):
        first, second = resolve("openclaw/coder"), resolve("openclaw/coder")
        self.assertTrue(re.fullmatch(f"agent:coder:openai:{UUID}", str(first.session_key)))
        self.assertTrue(first.session_key.stateless)
        self.assertNotEqual(first.session_key, second.session_key)

    def test_a_plain_key_belongs_to_the_chosen_agent(self):
        self.assertEqual(self.keyed(" Raycast:Chat:1 "), "agent:main:raycast:chat:1")
        self.assertEqual(self.keyed("raycast:chat:1", "openclaw/coder"), "agent:coder:raycast:chat:1")

    def test_a_full_key_chooses_its_agent(self):
        for model in DEFAULT_FORMS:
            target = resolve(model, {"x-openclaw-session-key": "agent:Coder:Chat"})
            self.assertEqual((target.agent.id, str(target.session_key)), ("coder", "agent:coder:chat"))

    def test_the_same_agent_twice_is_fine(self):
        self.assertEqual(self.keyed("agent:coder:a", "openclaw/coder"), "agent:coder:a")
        self.assertEqual(self.keyed("agent:coder:a", **{"x-openclaw-agent-id": "CODER"}), "agent:coder:a")

    def test_another_agent_that_was_explicitly_chosen_is_a_conflict(self):
        cases: tuple[tuple[str | None, dict[str, str]], ...] = (
            ("openclaw/main", {}),
            ("agent:main", {}),
            (None, {"x-openclaw-agent-id": "main"}),
            ("openclaw/coder", {"x-openclaw-agent-id": "main"}),
        )
        for model, headers in cases:
            error = self.assertRaises(InvalidRequestError, self.keyed, "agent:coder:a", model, **headers)
            self.assertIn('"main"', error.message)
            self.assertIn('"coder"', error.message)

    def test_an_unknown_agent_in_the_key(self):
        self.assertRaises(AgentNotFoundError, self.keyed, "agent:nobody:a")
        self.assertRaises(AgentNotFoundError, self.keyed, "agent:nobody:a", "openclaw/main")

    def test_malformed_and_reserved_keys(self):
        bad = ["agent:", "agent::", "agent:main", "agent:main:", "x" * 513, "a\tb", "a\u0000b", "a\u0085b"]
        bad += ["subagent:x", "cron:x", "ACP:x", "agent:main:subagent:x", "agent:coder:cron:x"]
        for text in bad:
            self.assertRaises(InvalidRequestError, self.keyed, text)
        self.assertRaises(InvalidRequestError, self.keyed, ["a", "b"])
        self.assertEqual(self.keyed(["a", " a "]), "agent:main:a")

    def test_a_header_that_is_not_utf_8(self):
        for name in (b"x-openclaw-session-key", b"x-openclaw-agent-id", b"x-openclaw-model", b"x-session-id"):
            headers = Headers({b"x-openclaw-session-key": [b"a"]})
            headers.setRawHeaders(name, [b"\xff\xfe"])
            self.assertRaises(
                InvalidRequestError,
                resolve_target,
                directory(),
                None,
                headers,
                None,
                ChatCompletionsSettings(),
            )

    def test_chat_clients_headers_in_their_order(self):
        self.assertEqual(key(headers={"X-OpenWebUI-Chat-Id": " C1 "}), "agent:main:openwebui-chat:c1")
        self.assertEqual(key(headers={"X-Session-Id": "s1"}, model="agent:coder"), "agent:coder:session:s1")
        both = {"x-session-id": "s1", "x-openwebui-chat-id": "c1"}
        self.assertEqual(key(headers=both), "agent:main:openwebui-chat:c1")
        self.assertEqual(
            key(headers={"x-openwebui-chat-id": " ", "x-session-id": "s1"}), "agent:main:session:s1"
        )

    def test_chat_clients_headers_can_be_others_or_none(self):
        routed = {"x-session-id": "s1", "x-session-affinity": "s1"}
        self.assertTrue(resolve(None, routed).session_key.stateless)
        self.assertEqual(key(headers=routed | {"x-openwebui-chat-id": "c1"}), "agent:main:openwebui-chat:c1")
        self.assertEqual(key(headers=routed, user="u"), "agent:main:openai-user:u")
        self.assertEqual(key(headers=routed | {"x-openclaw-session-key": "k"}), "agent:main:k")
        affine = ChatCompletionsSettings(session_headers=("x-session-id", "x-session-affinity"))
        named = resolve(None, routed, options=affine).session_key
        self.assertEqual(str(named), "agent:main:session-affinity:s1")
        options = ChatCompletionsSettings(session_headers=("X-Thread",))
        headers = {"x-thread": "t1", "x-session-id": "s1"}
        self.assertEqual(key(headers=headers, options=options), "agent:main:thread:t1")
        none = ChatCompletionsSettings(session_headers=())
        self.assertTrue(resolve(None, {"x-session-id": "s1"}, options=none).session_key.stateless)

    def test_user_names_a_session(self):
        self.assertEqual(key(user=" Ada@Example.ORG "), "agent:main:openai-user:ada@example.org")
        self.assertEqual(key(user="u", model="openclaw/coder"), "agent:coder:openai-user:u")
        for user in (None, "", "  "):
            self.assertTrue(resolve(user=user).session_key.stateless)

    def test_user_can_be_ignored(self):
        options = ChatCompletionsSettings(user_policy="ignore")
        self.assertTrue(resolve(user="u", options=options).session_key.stateless)
        self.assertTrue(resolve(user="x" * 600, options=options).session_key.stateless)

    def test_a_user_that_cannot_be_a_session_is_blamed(self):
        for user in ("x" * 600, "a\nb"):
            error = self.assertRaises(InvalidRequestError, resolve, user=user)
            self.assertEqual(error.param, "user")

    def test_key_beats_client_header_beats_user(self):
        every = {"x-openclaw-session-key": "k", "x-session-id": "s"}
        self.assertEqual(key(headers=every, user="u"), "agent:main:k")
        self.assertEqual(key(headers={"x-session-id": "s"}, user="u"), "agent:main:session:s")

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(max_size=40), st.sampled_from([None, "openclaw/coder", "openclaw"]))
    def test_any_text_is_a_key_of_a_known_agent_or_refused(self, text: str, model: str | None):
        headers = Headers()
        headers.setRawHeaders(b"x-openclaw-session-key", [text.encode("utf-8", "surrogatepass")])
        try:
            target = resolve_target(directory(), model, headers, None, ChatCompletionsSettings())
        except GatewayError:
            return
        written = str(target.session_key)
        self.assertTrue(written.startswith(f"agent:{target.agent.id}:"))
        self.assertTrue(written.isprintable())
        self.assertEqual(written, written.lower())
        self.assertFalse(target.session_key.rest.startswith(("subagent:", "cron:", "acp:")))


class ModelsTests(SynchronousTestCase):
    def test_the_listed_ones(self):
        self.assertEqual(
            known_model_ids(directory()), ("openclaw", "openclaw/default", "openclaw/main", "openclaw/coder")
        )
        self.assertEqual(known_model_ids(directory("default")), ("openclaw", "openclaw/default"))

    def test_every_listed_one_is_found_and_accepted(self):
        for model in known_model_ids(directory()):
            self.assertEqual(find_model(directory(), model).id, resolve(model).agent.id)

    def test_every_form_that_chat_accepts_is_found(self):
        for model in (*DEFAULT_FORMS[1:], *CODER_FORMS):
            assert model is not None
            self.assertEqual(find_model(directory(), model).id, resolve(model).agent.id, model)

    def test_others_are_not(self):
        for model in ("gpt-4o", "openclaw/nobody"):
            self.assertRaises(AgentNotFoundError, find_model, directory(), model)
        self.assertEqual(find_model(directory(), "gpt-4o", "default-agent").id, "main")
