"""The real `openai` client before a real gateway process, with an upstream that the test plays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import openai
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port

__all__ = ["ClientCase"]

T = TypeVar("T")


class ClientCase(TestCase):
    """A test with a gateway and a client; `asked` is what the upstream heard, `answers` what it says."""

    timeout = 30

    def setUp(self) -> Deferred[Any]:  # type: ignore[override] # trial waits for it
        self.asked: list[Any] = []
        self.answers: list[list[bytes]] = []
        self.upstream = FakeUpstream(self.answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = configuration(self.upstream.base_url, free_port())
        self.config["models"]["embedding"] = "mock/small"
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop("KILL")))
        return self.start()

    def start(self) -> Deferred[Any]:
        """Start the gateway and connect the client to it."""
        self.gateway = GatewayProcess(self.folder, self.config)
        return self.gateway.ready.addCallback(self.connect)

    def connect(self, _printed: str) -> None:
        self.client = openai.OpenAI(base_url=self.gateway.base_url, api_key=TOKEN, max_retries=0)
        self.addCleanup(self.client.close)

    def answer(self, call: UpstreamCall) -> None:
        self.asked.append(call.body)
        if call.path.endswith("/embeddings"):
            rows = [{"index": at, "embedding": [0.5, -1.0 - at]} for at in range(len(call.body["input"]))]
            usage = {"prompt_tokens": 3, "total_tokens": 3}
            call.answer(200, json.dumps({"data": rows, "usage": usage}).encode())
            return
        call.stream(*(self.answers.pop(0) if self.answers else stream_of("Hel", "lo")))
        call.end()

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        """Do something with the client, which blocks, in a thread."""
        return deferToThread(work)
