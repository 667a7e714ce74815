"""Requests to Anthropic's Messages API, to the byte where it counts."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.config.settings import CompatSettings, ModelSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, ToolSpec
from openclaw_twisted.providers.anthropic_messages import messages_url, request_body
from openclaw_twisted.testing import user

__all__ = ["AddressTests", "CacheTests", "ConversationTests", "FormatTests", "SamplingTests", "ToolTests"]

OLD, NEW, FORCELESS = "claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5"
EPHEMERAL = {"type": "ephemeral"}
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})


def body(*messages: Message, model: str = OLD, settings: ModelSettings | None = None, **more: Any) -> Any:
    """Return what is sent, without marks for the cache unless they are asked for."""
    names = Sampling.__struct_fields__
    asked = {"cache_retention": "none", **{name: more.pop(name) for name in names if name in more}}
    at_home = more.pop("at_home", True)
    request = ModelRequest(
        model=model, messages=messages or (user("hi"),), sampling=Sampling(**asked), **more
    )
    return json.loads(request_body(request, settings or ModelSettings(id=model), at_home=at_home))


def said(*words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in words]


def assistant(text: str = "", *calls: ToolCall) -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


def result(text: str, call_id: str = "c1") -> Message:
    return Message(role="tool", content=text, tool_call_id=call_id)


CALL = ToolCall("c1", "look", '{"at":"it"}')
USED = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "it"}}
GIVEN = {"type": "tool_result", "tool_use_id": "c1", "content": said("42")}


class AddressTests(SynchronousTestCase):
    """Where messages are sent."""

    def test_with_and_without_the_version(self) -> None:
        for base_url, url in {
            "https://api.anthropic.com": "https://api.anthropic.com/v1/messages",
            "https://api.anthropic.com/v1/": "https://api.anthropic.com/v1/messages",
            "https://api.minimax.io/anthropic": "https://api.minimax.io/anthropic/v1/messages",
        }.items():
            self.assertEqual(messages_url(base_url), url)


class ConversationTests(SynchronousTestCase):
    """Messages become turns of blocks."""

    def test_the_least_request(self) -> None:
        request = ModelRequest(model=OLD, messages=(user("hi"),), sampling=Sampling(cache_retention="none"))
        self.assertEqual(
            request_body(request),
            b'{"model":"claude-sonnet-4-5","max_tokens":16384,'
            b'"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"stream":true}',
        )

    def test_every_kind_of_message(self) -> None:
        sent = body(
            Message(role="system", content="Be brief."),
            Message(role="user", content=(TextPart("what?"), ImagePart("image/png", "QUJD", detail="low"))),
            assistant("Looking.", CALL),
            result("42"),
            user("so?"),
        )
        image = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
        self.assertEqual(sent["system"], said("Be brief."))
        self.assertEqual(
            sent["messages"],
            [
                {"role": "user", "content": [*said("what?"), {"type": "image", "source": image}]},
                {"role": "assistant", "content": [*said("Looking."), USED]},
                {"role": "user", "content": [GIVEN, *said("so?")]},
            ],
        )

    def test_those_of_one_side_in_a_row_are_one_turn(self) -> None:
        sent = body(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
        self.assertEqual(
            [(turn["role"], len(turn["content"])) for turn in sent["messages"]],
            [("user", 2), ("assistant", 2), ("user", 1)],
        )

    def test_results_stand_first_in_their_turn(self) -> None:
        sent = body(user("a"), assistant("", CALL, ToolCall("c2", "look", "")), result("42"), user("so?"))
        other = body(user("a"), assistant("", CALL), user("so?"), result("42"))
        self.assertEqual(sent["messages"][1]["content"][1]["input"], {})
        for each in (sent, other):
            self.assertEqual(each["messages"][-1]["content"], [GIVEN, *said("so?")])

    def test_blank_texts_are_left_out(self) -> None:
        sent = body(
            Message(role="system", content=" \n"),
            Message(role="user", content=(TextPart(""), TextPart("a"), TextPart("\t"))),
            assistant("", CALL),
            result(""),
        )
        self.assertNotIn("system", sent)
        self.assertEqual([len(turn["content"]) for turn in sent["messages"]], [1, 1, 1])
        self.assertEqual(sent["messages"][2]["content"], [{"type": "tool_result", "tool_use_id": "c1"}])

    def test_the_user_begins(self) -> None:
        sent = body(assistant("Welcome!"), user("hi"))
        self.assertEqual([turn["role"] for turn in sent["messages"]], ["user", "assistant", "user"])
        self.assertTrue(sent["messages"][0]["content"][0]["text"].strip())

    def test_a_beginning_to_be_continued_does_not_end_in_white_space(self) -> None:
        sent = body(user("a haiku"), assistant(" Here it is: \n"))
        self.assertEqual(sent["messages"][-1]["content"], said(" Here it is:"))

    def test_the_user_ends_where_no_beginning_is_continued(self) -> None:
        asked = (user("a haiku"), assistant("Here it is:"))
        thinking = ModelSettings(id=OLD, reasoning=True)
        for sent in (
            *(body(*asked, model=model) for model in ("claude-sonnet-4-6", NEW, FORCELESS)),
            body(*asked, settings=thinking, reasoning_effort="low"),
        ):
            self.assertEqual([turn["role"] for turn in sent["messages"]], ["user", "assistant", "user"])
            self.assertEqual(sent["messages"][1]["content"], said("Here it is:"))
            self.assertTrue(sent["messages"][2]["content"][0]["text"].strip())
        for model in (NEW, OLD):
            self.assertEqual(body(model=model)["messages"], [{"role": "user", "content": said("hi")}])
        self.assertEqual(body(*asked, settings=thinking)["messages"][-1]["role"], "assistant")

    def test_ids_of_other_providers(self) -> None:
        call_id = "functions.look:0|fc"
        sent = body(user("a"), assistant("", ToolCall(call_id, "look", "{}")), result("42", call_id))
        ids = sent["messages"][1]["content"][0]["id"], sent["messages"][2]["content"][0]["tool_use_id"]
        self.assertEqual(ids, ("functions_look_0_fc", "functions_look_0_fc"))

    def test_arguments_that_are_no_object_are_shown_as_they_are(self) -> None:
        for arguments in ('{"at":', "[1]", "null", "nonsense", "[" * 9999):
            sent = body(user("a"), assistant("", ToolCall("c1", "look", arguments)), result("x"))
            self.assertEqual(sent["messages"][1]["content"][0]["input"], {"arguments": arguments})


class ToolTests(SynchronousTestCase):
    """The tools on offer, and which of them is to be called."""

    def test_a_tool(self) -> None:
        schema = {"type": "object", "properties": {"at": {"type": "string"}}}
        self.assertEqual(
            body(tools=(TOOL, ToolSpec("bare")))["tools"],
            [
                {"name": "look", "input_schema": schema, "description": "Looks."},
                {"name": "bare", "input_schema": {"type": "object"}},
            ],
        )

    def test_the_choices(self) -> None:
        table: list[tuple[Any, bool | None, dict[str, Any]]] = [
            (None, None, {"type": "auto"}),
            ("auto", True, {"type": "auto"}),
            ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
            ("required", None, {"type": "any"}),
            (("function", "look"), None, {"type": "tool", "name": "look"}),
            (
                ("function", "look"),
                False,
                {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            ),
        ]
        for choice, parallel, wire in table:
            sent = body(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=parallel)
            self.assertEqual(sent["tool_choice"], wire)
            self.assertNotIn("system", sent)

    def test_a_model_that_cannot_be_made_to_call_is_told_to(self) -> None:
        for choice, words in {"required": "one of the tools", ("function", "look"): "`look`"}.items():
            brief = Message(role="system", content="Be brief.")
            sent = body(brief, user("hi"), model=FORCELESS, tools=(TOOL,), tool_choice=choice)
            self.assertEqual(sent["tool_choice"], {"type": "auto"})
            self.assertEqual(sent["system"][0]["text"], "Be brief.")
            self.assertIn(words, sent["system"][1]["text"])

    def test_no_tool_is_on_offer_when_none_may_be_called(self) -> None:
        for sent in (body(tool_choice="none", tools=(TOOL,)), body()):
            self.assertFalse({"tools", "tool_choice"} & set(sent))

    def test_a_conversation_with_calls_needs_its_tools(self) -> None:
        messages = (user("a"), assistant("", CALL), result("42"))
        sent = body(*messages)
        self.assertEqual(sent["tools"], [{"name": "look", "input_schema": {"type": "object"}}])
        self.assertEqual(sent["tool_choice"], {"type": "none"})
        sent = body(*messages, tools=(TOOL,), tool_choice="none", parallel_tool_calls=False)
        self.assertEqual((sent["tools"][0]["description"], sent["tool_choice"]), ("Looks.", {"type": "none"}))

    def test_a_model_without_tools(self) -> None:
        settings = ModelSettings(id="m", compat=CompatSettings(supports_tools=False))
        self.assertNotIn("tools", body(tools=(TOOL,), settings=settings))

    def test_strictness(self) -> None:
        tool = ToolSpec("look", strict=True)
        for model, supported, strict in [
            (OLD, None, True), (OLD, False, False), ("claude-opus-4-1", None, False), ("other", True, False),
        ]:  # fmt: skip
            settings = ModelSettings(id="m", compat=CompatSettings(supports_strict_mode=supported))
            sent = body(model=model, settings=settings, tools=(tool,))
            self.assertEqual("strict" in sent["tools"][0], strict, (model, supported))
        self.assertNotIn("strict", body(tools=(ToolSpec("look", strict=False),))["tools"][0])


class SamplingTests(SynchronousTestCase):
    """How the model is asked to answer."""

    def test_what_the_api_knows_is_sent_and_the_rest_left_out(self) -> None:
        sent = body(
            temperature=0.5, stop=("END", " "), max_tokens=7, seed=1, frequency_penalty=1.0,
            presence_penalty=1.0, logit_bias={"1": 2.0}, reasoning_effort="high",
        )  # fmt: skip
        self.assertEqual(
            {key: value for key, value in sent.items() if key != "messages"},
            {
                "model": OLD, "max_tokens": 7, "stream": True, "temperature": 0.5, "stop_sequences": ["END"],
            },
        )  # fmt: skip

    def test_temperatures_end_at_one(self) -> None:
        for asked, wire in [(0.0, 0.0), (1.0, 1.0), (1.9, 1.0)]:
            self.assertEqual(body(temperature=asked)["temperature"], wire)

    def test_one_of_temperature_and_top_p(self) -> None:
        self.assertEqual(body(top_p=0.3)["top_p"], 0.3)
        self.assertNotIn("top_p", body(top_p=0.3, temperature=0.2))

    def test_models_whose_sampling_is_their_own(self) -> None:
        self.assertFalse({"temperature", "top_p"} & set(body(model=NEW, temperature=0.2, top_p=0.3)))


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}


class FormatTests(SynchronousTestCase):
    """Answers in a format."""

    def asked(self, *, strict: bool | None) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": strict}}

    def test_a_strict_schema_is_the_models_to_keep(self) -> None:
        sent = body(response_format=self.asked(strict=True))
        self.assertEqual(sent["output_config"], {"format": {"type": "json_schema", "schema": SCHEMA}})
        self.assertNotIn("system", sent)

    def test_another_one_is_asked_for(self) -> None:
        for model, strict in [(OLD, False), (OLD, None), ("claude-opus-4-1", True), ("MiniMax-M2", True)]:
            sent = body(model=model, response_format=self.asked(strict=strict))
            self.assertNotIn("output_config", sent)
            text = sent["system"][-1]["text"]
            self.assertEqual(json.loads(text.partition("\n")[2]), SCHEMA)

    def test_json_of_any_kind_is_asked_for(self) -> None:
        sent = body(
            Message(role="system", content="Be brief."),
            user("hi"),
            response_format={"type": "json_object"},
        )
        self.assertEqual(sent["system"][0]["text"], "Be brief.")
        self.assertIn("JSON object", sent["system"][1]["text"])

    def test_plain_text_needs_no_words(self) -> None:
        self.assertNotIn("system", body(response_format={"type": "text"}))


class CacheTests(SynchronousTestCase):
    """What is marked for the provider's cache."""

    MESSAGES = (
        Message(role="system", content="Be brief."),
        user("a"),
        assistant("b"),
        Message(role="user", content=(TextPart("c"), ImagePart("image/png", "QUJD"))),
    )

    def marks(self, sent: Any) -> list[Any]:
        places = [
            *sent.get("tools", ()),
            *sent.get("system", ()),
            *(block for turn in sent["messages"] for block in turn["content"]),
        ]
        return [block.get("cache_control") for block in places]

    def test_the_end_of_tools_system_and_conversation(self) -> None:
        for retention in (None, "short"):
            sent = body(*self.MESSAGES, tools=(ToolSpec("x"), TOOL), cache_retention=retention)
            self.assertEqual(self.marks(sent), [None, EPHEMERAL, EPHEMERAL, None, None, None, EPHEMERAL])

    def test_an_hour_where_it_is_known(self) -> None:
        for at_home, control in [(True, {**EPHEMERAL, "ttl": "1h"}), (False, EPHEMERAL)]:
            sent = body(*self.MESSAGES, cache_retention="long", at_home=at_home)
            self.assertEqual(self.marks(sent), [control, None, None, None, control])

    def test_none(self) -> None:
        sent = body(*self.MESSAGES, tools=(TOOL,), cache_retention="none")
        self.assertEqual({*self.marks(sent)}, {None})

    def test_a_turn_of_the_user_is_marked_when_it_is_not_the_last(self) -> None:
        sent = body(user("a"), assistant("b"), cache_retention="short")
        self.assertEqual(self.marks(sent), [EPHEMERAL, None])
