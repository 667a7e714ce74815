"""Change the configuration while people ask: `python -m tests.soak.reloads [REQUESTS] [RELOADS]`.

Sixteen clients ask one thing after the other. At even distances the file is rewritten and the gateway gets
SIGHUP: in turn with a mistake in it and so that another model answers. Each request has to be answered, and
each change has to arrive.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port

__all__ = ["Outcome", "reload_again_and_again"]

CLIENTS = 16
MISTAKE = '{"gateway": {"prot": 1}}'


class Outcome(NamedTuple):
    """How many requests were answered, what came of others, and the models that answered, in their order."""

    answered: int
    faults: tuple[str, ...]
    models: tuple[str, ...]


class _Clients:
    """Those who ask; whoever has sent the last request before a change makes that change."""

    def __init__(self, reactor: Any, port: int, *, requests: int, change: Any) -> None:
        self.answered = 0
        self.faults: list[str] = []
        self.models: dict[str, None] = {}
        self._left = requests
        self._change = change
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CLIENTS
        self._client = HTTPClient(Agent(reactor, pool=self._pool))
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def ask(self) -> None:
        """Ask one thing after the other until enough has been asked."""
        body = {"messages": [{"role": "user", "content": "hi"}]}
        headers = Headers({"authorization": [f"Bearer {TOKEN}"]})
        while self._left > 0:
            self._left -= 1
            self._change(self._left)
            answer = await self._client.post(self._url, json=body, headers=headers)
            told: Any = await treq.json_content(answer)
            if answer.code == 200:
                self.answered += 1
                self.models[told["choices"][0]["message"]["content"]] = None
            else:
                self.faults.append(f"{answer.code}: {told}")

    def leave(self) -> Deferred[Any]:
        """Close what is kept open."""
        closing: Deferred[Any] = self._pool.closeCachedConnections()
        return closing


def _answer(call: UpstreamCall) -> None:
    call.stream(*stream_of(call.body["model"]))
    call.end()


def _with_model(config: dict[str, Any], number: int) -> str:
    agents = {"defaults": {"model": f"mock/model-{number}"}}
    return json.dumps({**config, "agents": agents})


async def reload_again_and_again(reactor: Any, folder: Path, *, requests: int, reloads: int) -> Outcome:
    """Do it, and return what came of it."""
    upstream = FakeUpstream(_answer)
    upstream.listen(reactor)
    port = free_port()
    config = configuration(upstream.base_url, port)
    config["gateway"]["reload"] = {"mode": "off"}  # the signal alone
    config["logging"] = {"consoleLevel": "error"}
    gateway = GatewayProcess(folder, config)
    file = folder / "openclaw.json"
    changes = [text for number in range(reloads) for text in (MISTAKE, _with_model(config, number))]
    distance = requests // (len(changes) + 1)

    def change(left: int) -> None:
        if changes and left and left % distance == 0:
            file.write_text(changes.pop(0))
            gateway.process.signalProcess("HUP")

    clients = _Clients(reactor, port, requests=requests, change=change)
    try:
        await gateway.ready
        await gatherResults([Deferred.fromCoroutine(clients.ask()) for _ in range(CLIENTS)])
        await clients.leave()
    finally:
        await gateway.stop()
        await upstream.stop()
    return Outcome(clients.answered, tuple(clients.faults), tuple(clients.models))


async def main(reactor: Any, requests: str = "10000", reloads: str = "20") -> None:
    """Print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = await reload_again_and_again(
            reactor, Path(folder), requests=int(requests), reloads=int(reloads)
        )
    changes = sum(model.startswith("model-") for model in outcome.models)
    print(f"{outcome.answered} of {requests} requests answered, {changes} of {reloads} changes arrived")
    for fault in outcome.faults:
        print(fault)
    if outcome.faults or changes < int(reloads):
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
