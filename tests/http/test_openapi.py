"""The OpenAPI document: valid, complete, and served."""

import json
from typing import Any

import schemathesis
from jsonschema_rs import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import __version__, errors
from openclaw_twisted.auth.scopes import needed
from openclaw_twisted.http.endpoint import status_of_kind
from openclaw_twisted.http.openapi import document
from openclaw_twisted.http.operations import OPERATIONS, Operation
from tests.http.door import HELLO, DoorCase

DOCUMENT = document()
CHAT = OPERATIONS["POST /v1/chat/completions"]


def described(operation: Operation) -> Any:
    return DOCUMENT["paths"][operation.path][operation.method.lower()]


def faults(schema: Any, value: Any) -> list[str]:
    """Return what a schema of the document finds wrong with a value."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


class Whole(SynchronousTestCase):
    def test_it_is_an_openapi_document(self) -> None:
        schemathesis.openapi.from_dict(DOCUMENT).validate()
        self.assertEqual(DOCUMENT["info"]["version"], __version__)

    def test_the_check_for_that_can_fail(self) -> None:
        broken = {**DOCUMENT, "paths": {"/v1/models": {"get": {"responses": 7}}}}
        with self.assertRaises(Exception):  # noqa: B017 - the validator's own
            schemathesis.openapi.from_dict(broken).validate()

    def test_every_reference_leads_somewhere(self) -> None:
        def walk(value: Any) -> None:
            if isinstance(value, dict):
                target: Any = DOCUMENT
                for step in value.get("$ref", "#").split("/")[1:]:
                    target = target[step]
                for inner in value.values():
                    walk(inner)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner)

        walk(DOCUMENT)

    def test_operations_have_ids_of_their_own(self) -> None:
        ids = [described(operation)["operationId"] for operation in OPERATIONS.values()]
        self.assertEqual(len(ids), len(set(ids)), ids)

    def test_no_two_schemas_share_a_name(self) -> None:
        # Those that do get their modules in front.
        self.assertEqual([name for name in DOCUMENT["components"]["schemas"] if "." in name], [])


class Operations(SynchronousTestCase):
    def test_who_needs_the_secret(self) -> None:
        for name, operation in OPERATIONS.items():
            security = described(operation).get("security", DOCUMENT["security"])
            self.assertEqual({} not in security and security != [], needed(name) is not None, name)

    def test_every_error_has_its_status_and_the_envelope(self) -> None:
        told = described(CHAT)["responses"]
        for kind in (
            errors.UnauthorizedError,
            errors.ForbiddenError,
            errors.TooLargeError,
            errors.UnsupportedMediaTypeError,
            errors.UpstreamTimeoutError,
            errors.NoProviderError,
            errors.HeadersTooLargeError,
            errors.NotFoundError,
        ):
            answer = told[str(status_of_kind(kind))]
            self.assertIn(f"`{kind.code}`", answer["description"])
            self.assertEqual(
                answer["content"]["application/json"]["schema"], {"$ref": "#/components/schemas/ErrorAnswer"}
            )

    def test_headers(self) -> None:
        taken = {parameter["name"]: parameter for parameter in described(CHAT)["parameters"]}
        for name in ("x-openclaw-agent-id", "x-openclaw-model", "x-openclaw-session-key", "idempotency-key"):
            self.assertEqual(taken[name]["in"], "header")
        self.assertEqual(taken["idempotency-key"]["schema"]["maxLength"], 255)
        answers = described(CHAT)["responses"]
        self.assertLessEqual({"x-openclaw-run-id", "x-request-id"}, answers["200"]["headers"].keys())
        self.assertIn("retry-after", answers["503"]["headers"])
        self.assertIn("allow", answers["405"]["headers"])

    def test_a_stream_is_described_by_its_events(self) -> None:
        content = described(CHAT)["responses"]["200"]["content"]
        _done, piece = content["text/event-stream"]["schema"]["properties"]["data"]["anyOf"]
        held = [{"$ref": f"#/components/schemas/{name}"} for name in ("ChunkOut", "ErrorAnswer")]
        self.assertEqual(piece["contentSchema"]["anyOf"], held)

    def test_what_is_off_is_told_with_its_switch(self) -> None:
        self.assertIn("gateway.http.endpoints.chatCompletions.enabled", described(CHAT)["description"])

    def test_an_answer_has_its_fields_whatever_their_defaults(self) -> None:
        schemas = DOCUMENT["components"]["schemas"]
        self.assertIn("object", schemas["CompletionOut"]["required"])
        self.assertNotIn("usage", schemas["CompletionOut"]["required"])
        self.assertEqual(schemas["DeltaOut"]["required"], [])
        self.assertEqual(schemas["ChatRequest"]["required"], ["messages"])


class Served(DoorCase):
    async def test_it_lists_every_route(self) -> None:
        self.open()
        self.assertEqual(set(self.door.routes), set(OPERATIONS))

    async def test_to_callers_with_the_secret(self) -> None:
        self.open()
        answer = await self.ask("GET", "/openapi.json")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        self.assertEqual(answer.json, json.loads(json.dumps(DOCUMENT)))
        refused = await self.ask("GET", "/openapi.json", headers={"authorization": ""})
        self.assertEqual(refused.status, 401)

    async def test_the_examples_work(self) -> None:
        for operation in OPERATIONS.values():
            if operation.reads is None:
                continue
            content = described(operation)["requestBody"]["content"]["application/json"]
            self.assertEqual(faults(content["schema"], operation.example), [], operation.name)
        self.open("Hello.")
        answer = await self.ask(CHAT.method, CHAT.path, body=CHAT.example)
        self.assertEqual(answer.status, 200)
        whole = described(CHAT)["responses"]["200"]["content"]["application/json"]["schema"]
        self.assertEqual(faults(whole, answer.json), [])
        self.assertNotEqual(faults(whole, {**answer.json, "id": 7}), [])

    async def test_a_head_that_is_too_large_hears_its_request_id_too(self) -> None:
        self.open()
        answer = await self.ask("POST", CHAT.path, headers={"x-a": "x" * 70_000}, body=HELLO)
        self.assertEqual(answer.status, 431)
        self.assertEqual(len(answer.headers["x-request-id"]), 32)
