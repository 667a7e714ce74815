"""A real gateway is asked what its own OpenAPI document allows and forbids, thousands of times.

schemathesis makes the requests: first those at the edges of each schema, then random ones. It judges each
answer by the document: status, content type, headers, body, each event of a stream; what the schema forbids
has to be refused, what it allows accepted. The values are the same every time. OPENCLAW_SCHEMA_EXAMPLES is
how many random requests of each kind there are.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.http.body_schemas import BEYOND_THE_SCHEMA, body_schema

EXAMPLES = int(os.environ.get("OPENCLAW_SCHEMA_EXAMPLES", "20"))  # noqa: TID251 - for whoever wants more
MIN_CASES = 2_000
STREAMED = ("/v1/chat/completions", "/v1/responses")

AnyCase = Case[Any]


def allowed(case: AnyCase) -> bool:
    """Tell whether a request is meant to be as the schema wants it."""
    assert case.meta is not None
    return case.meta.generation.mode.is_positive


class Judge:
    """Sends cases over one connection and gathers what is wrong with the answers; blocks."""

    def __init__(self, base_url: str) -> None:
        self._session = requests.Session()
        self._session.headers["authorization"] = f"Bearer {TOKEN}"
        self.document = self._session.get(f"{base_url}/openapi.json", timeout=10).json()
        self._schema = schemathesis.openapi.from_dict(self.document)
        self._schema.config.update(base_url=base_url)
        self._schema.config.generation.update(with_security_parameters=False)
        # That every route asks for the secret is tested elsewhere; here it would double the requests.
        self._schema.config.checks.update(excluded_check_names=["ignored_auth"])
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self.cases = 0

    def judge(self) -> None:
        for found in self._schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr] # the document has been checked elsewhere
            for case in self._edges(operation):
                self._judge(case)
                if allowed(case) and operation.path in STREAMED:
                    body: Any = case.body
                    case.body = {**body, "stream": True}
                    self._judge(case)
            if operation.method == "post":
                for mode in GenerationMode:
                    self._judge_random(operation, mode)

    def _edges(self, operation: Any) -> Iterator[AnyCase]:
        return self._schema.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=self._schema.config.generation_for(operation=operation),
        )

    def _judge_random(self, operation: Any, mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def judge(case: AnyCase) -> None:
            self._judge(case)

        judge()

    def _judge(self, case: AnyCase) -> None:
        self.cases += 1
        headers = {}
        if allowed(case) and "idempotency-key" in (case.headers or {}):
            headers["idempotency-key"] = (
                f"case-{self.cases}"  # the same one with another body would be refused
            )
        response = case.call(session=self._session, headers=headers)
        self.statuses[case.operation.label, response.status_code] += 1
        if allowed(case) and response.status_code == 400 and self._may_refuse(case, response):
            return
        try:
            case.validate_response(response, transport_kwargs={"session": self._session})
        except BaseExceptionGroup as failures:
            self.wrong.append(str(failures))

    def _may_refuse(self, case: AnyCase, response: Any) -> bool:
        """Tell whether a request is refused for what no schema says, or is not what its schema allows."""
        if BEYOND_THE_SCHEMA.search(json.loads(response.text)["error"]["message"]):
            return True
        return not body_schema(self.document, case.operation.path).is_valid(case.body)

    def close(self) -> None:
        self._session.close()


HELLO = b'"messages":[{"role":"user","content":"hi"}]'


def with_parameters(value: bytes) -> bytes:
    return b'{%b,"tools":[{"function":{"name":"f","parameters":{"a":%b}}}]}' % (HELLO, value)


# Bodies that no schema describes, and what they are answered with.
HOSTILE: list[tuple[bytes, int]] = [
    *((with_parameters(b"[" * depth + b"]" * depth), 400) for depth in (200, 900, 930, 940, 950, 960, 10**5)),
    (with_parameters(b"9" * 30), 200),
    (with_parameters(b"9" * 5_000), 400),
    (with_parameters(b"1e400"), 400),
    (with_parameters(b"NaN"), 400),
    (with_parameters(b'"\\u0000"'), 200),
    (with_parameters(b'"\\ud800"'), 200),
    (b'{%b,"n":1,"n":2}' % HELLO, 400),
    (b'{%b,"max_tokens":5.0,"other":%b}' % (HELLO, b"[" * 10**5 + b"]" * 10**5), 400),
    (b'{%b,"user":"\\u0000"}' % HELLO, 400),
    (b"\xef\xbb\xbf{%b}" % HELLO, 400),
    (b"{%b}\x00" % HELLO, 400),
    (b"\xff\xfe", 400),
    (b"", 400),
]


class Conforming(TestCase):
    timeout = 600

    def setUp(self) -> Deferred[Any]:  # type: ignore[override] # trial waits for it
        self.upstream = FakeUpstream(self.answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        config = configuration(self.upstream.base_url, free_port())
        config["models"]["embedding"] = "mock/small"
        endpoints = config["gateway"]["http"]["endpoints"]
        endpoints["chatCompletions"]["unknownModel"] = "default-agent"
        endpoints["responses"] = {"enabled": True}
        self.gateway = GatewayProcess(folder, config)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop("KILL")))
        return self.gateway.ready

    def answer(self, call: UpstreamCall) -> None:
        """Call the first tool there is, else say something, as a model would."""
        if call.path.endswith("/embeddings"):
            vectors = [{"index": at, "embedding": [0.5, -1.0]} for at in range(len(call.body["input"]))]
            call.answer(200, json.dumps({"data": vectors}).encode())
            return
        tools = call.body.get("tools")
        events = stream_of("Hel", "lo")
        if tools:
            function = {"name": tools[0]["function"]["name"], "arguments": "{}"}
            called = {"index": 0, "id": "c1", "type": "function", "function": function}
            events[:3] = [
                chunk({"reasoning_content": "Hm."}),
                chunk({"tool_calls": [called]}),
                chunk({}, "tool_calls"),
            ]
        call.stream(*events)
        call.end()

    async def test_every_answer_is_as_the_document_says(self) -> None:
        judge = await deferToThread(Judge, self.gateway.base_url.removesuffix("/v1"))
        self.addCleanup(judge.close)
        await deferToThread(judge.judge)
        if judge.wrong:
            some = "\n".join(judge.wrong[:5])
            self.fail(f"{len(judge.wrong)} of {judge.cases} answers are not as the document says.\n{some}")
        self.assertGreaterEqual(judge.cases, MIN_CASES)
        for path in ("chat/completions", "responses", "embeddings"):
            for status in (200, 400, 405, 415):
                self.assertGreater(judge.statuses[f"POST /v1/{path}", status], 0, (path, status))
        self.assertNotIn("defect in", self.gateway.output + self.gateway.errors)

    async def test_what_no_schema_describes_is_refused_too(self) -> None:
        def statuses() -> list[int]:
            with requests.Session() as session:
                session.headers.update(
                    {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
                )
                url = f"{self.gateway.base_url}/chat/completions"
                return [session.post(url, data=body, timeout=10).status_code for body, _ in HOSTILE]

        for (body, expected), status in zip(HOSTILE, await deferToThread(statuses), strict=True):
            self.assertEqual(status, expected, body[:100])
        self.assertNotIn("defect in", self.gateway.output + self.gateway.errors)
