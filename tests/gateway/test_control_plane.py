"""A gateway process with clients at both doors: what one starts, the other sees, waits for and stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from openclaw_twisted.testing import FakeUpstream, chunk, real_reactor
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.ws.devices import Device
from tests.ws.rig import connect_params
from tests.ws.socket_client import Client, connect_client


class ControlPlaneTests(TestCase):
    timeout = 30

    def setUp(self) -> Deferred[Any]:  # type: ignore[override] # trial waits for it
        self.upstream = FakeUpstream()
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.gateway = GatewayProcess(self.folder, configuration(self.upstream.base_url, self.port))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop("KILL")))
        pool = HTTPConnectionPool(real_reactor(), persistent=False)
        self.http = Agent(real_reactor(), pool=pool)
        return self.gateway.ready

    def post(self, session: str, text: str, *, stream: bool) -> Deferred[Any]:
        """Send a chat completion over HTTP."""
        body = {"model": "openclaw", "stream": stream, "messages": [{"role": "user", "content": text}]}
        headers: Any = {
            "authorization": f"Bearer {TOKEN}",
            "content-type": "application/json",
            "x-openclaw-session-key": session,
        }
        sent: Deferred[Any] = treq.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers=headers,
            agent=self.http,
        )
        return sent

    async def log_in(
        self, protocol: int = 4, device: Device | None = None, **params: Any
    ) -> tuple[Client, Any]:
        """Return a client and the hello that it got."""
        client = await connect_client(self.port)
        self.addCleanup(lambda: (client.transport.abortConnection(), client.closed)[1])
        challenge = (await client.heard.get())["payload"]
        given = connect_params(protocol, **params)
        if device is not None:
            given = device.sign(given, nonce=challenge["nonce"], at_ms=challenge["ts"])
        hello = await client.ask("1", "connect", **given)
        return client, hello

    async def chat(self, client: Client, state: str) -> Any:
        """Return the next `chat` event of this state."""
        while True:
            event = await client.events.get()
            if event["event"] == "chat" and event["payload"]["state"] == state:
                return event["payload"]

    async def test_a_run_over_http_is_heard_and_stopped_over_websocket(self) -> None:
        (old, _), (new, _) = await self.log_in(3), await self.log_in(4)
        answer = self.post("shared", "hi", stream=True)
        call = await self.upstream.calls.get()
        call.stream(chunk({"content": "Hel"}))
        response = await answer
        for client in (old, new):
            payload = await self.chat(client, "delta")
            self.assertEqual(payload["message"]["content"], [{"type": "text", "text": "Hel"}])
            self.assertEqual(payload["sessionKey"], "agent:main:shared")
        closed = call.closed
        stopped = await old.ask("2", "chat.abort", sessionKey="shared", runId=payload["runId"])
        self.assertTrue(stopped["payload"]["aborted"])
        await closed
        for client in (old, new):
            self.assertEqual((await self.chat(client, "aborted"))["stopReason"], "rpc")
        self.assertIn(b"run_cancelled", await response.content())

    async def test_a_message_over_websocket_waits_for_a_run_over_http(self) -> None:
        client, _ = await self.log_in()
        first = self.post("shared", "one", stream=False)
        call = await self.upstream.calls.get()
        accepted = await client.ask("2", "agent", message="two", sessionKey="shared", idempotencyKey="k")
        self.assertEqual(accepted["payload"]["status"], "accepted")
        status = await client.ask("3", "status")
        self.assertEqual(status["payload"]["runs"], {"running": 1, "waiting": 1})
        call.stream(chunk({"content": "1"}), chunk({}, "stop"), b"data: [DONE]\n\n")
        call.end()
        await (await first).content()
        second = await self.upstream.calls.get()
        said = [message["content"] for message in second.body["messages"] if message["role"] != "system"]
        self.assertEqual(said, ["one", "1", "two"])
        second.stream(chunk({"content": "2"}), chunk({}, "stop"), b"data: [DONE]\n\n")
        second.end()
        final = await client.heard.get()
        self.assertEqual(final["payload"]["result"]["payloads"][0]["text"], "2")

    async def test_a_device_comes_back_with_its_token_after_a_restart(self) -> None:
        device = Device()
        _, hello = await self.log_in(device=device)
        token = hello["payload"]["auth"]["deviceToken"]
        await self.gateway.stop()
        self.gateway = GatewayProcess(self.folder, configuration(self.upstream.base_url, self.port))
        await self.gateway.ready
        _, hello = await self.log_in(device=device, auth={"deviceToken": token}, scopes=["operator.read"])
        self.assertEqual(hello["payload"]["auth"]["scopes"], ["operator.read"])

    async def test_one_who_does_not_read_holds_up_nobody(self) -> None:
        (slow, _), (quick, _) = await self.log_in(), await self.log_in()
        slow.transport.pauseProducing()
        answer = self.post("shared", "hi", stream=True)
        call = await self.upstream.calls.get()
        call.stream()
        response = await answer
        body = response.content()
        for _ in range(10):
            call.event(chunk({"content": "x" * 100_000}))
            await self.chat(quick, "delta")
        call.event(chunk({}, "stop"))
        call.event(b"data: [DONE]\n\n")
        call.end()
        self.assertEqual(len((await self.chat(quick, "final"))["message"]["content"][0]["text"]), 1_000_000)
        self.assertGreater(len(await body), 1_000_000)
        slow.transport.resumeProducing()
        final = await self.chat(slow, "final")
        self.assertEqual(len(final["message"]["content"][0]["text"]), 1_000_000)
