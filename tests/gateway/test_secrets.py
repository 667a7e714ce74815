"""Secrets stay where they were written, whatever happens, and nobody writes lines into the log.

Ten secrets that occur nowhere else are planted where a gateway can get one. Then everything goes wrong that a
user, a client or a provider can get wrong, with the log at its most talkative, and what came out is searched.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from twisted.web.http_headers import Headers

from openclaw_twisted.testing import UpstreamCall, chunk
from tests.gateway.process import Said, free_port
from tests.gateway.rig import GatewayCase
from tests.ws.rig import connect_params
from tests.ws.socket_client import connect_client

HOLDERS = {"openclaw.json", ".env", "broken.json"}
"""The files that secrets are written into by hand."""

PLANTED = ("TOKEN", "KEY", "SECOND", "HEADER", "MODEL", "REQUEST", "PROXY", "ENVIRON", "UNUSED", "OWN")
PATHS = ("/metrics", "/readyz", "/healthz", "/v1/models", "/openapi.json", "/v1/responses/none", "/no")


class Canaries(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.planted = {name: f"canary{name.lower()}{secrets.token_hex(12)}" for name in PLANTED}
        self.came_out: list[str] = []

    def configure(self) -> None:
        """Put each secret where people put theirs."""
        plant = self.planted
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        (state / ".env").write_text(f"MY_TOKEN={plant['TOKEN']}\nUNUSED_API_KEY={plant['UNUSED']}\n")
        provider = self.config["models"]["providers"]["mock"]
        provider |= {
            "apiKey": plant["KEY"],
            "apiKeys": [plant["SECOND"]],
            "headers": {"x-tenant": plant["HEADER"]},
            "request": {"headers": {"x-more": plant["REQUEST"]}},
        }
        provider["models"][0]["headers"] = {"x-model": plant["MODEL"]}
        proxy = f"http://user:{plant['PROXY']}@127.0.0.1:{free_port()}"
        self.config["models"]["providers"] |= {
            "proxied": provider | {"request": {"proxy": {"mode": "explicit-proxy", "url": proxy}}},
            "gone": provider | {"baseUrl": f"http://127.0.0.1:{free_port()}/v1"},
            "environ": provider | {"apiKey": "${ENVIRON_KEY}", "apiKeys": []},
        }
        self.config["gateway"]["auth"] = {"token": "${MY_TOKEN}"}
        self.config["logging"] = {"level": "trace", "consoleLevel": "trace"}
        self.config["gateway"]["reload"] = {"mode": "off"}

    def answer(self, call: UpstreamCall) -> None:
        """Be the worst of providers: repeat what it was told in confidence."""
        repeated = json.dumps({"error": {"message": " ".join(call.headers.values())}}).encode()
        match call.body["messages"][-1]["content"]:
            case "hang up":
                call.hang_up()
            case "nonsense":
                call.send(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {" + repeated + b"\n\n"
                )
                call.hang_up()
            case "break off":
                call.stream(chunk({"content": "half "}))
                call.event(b"data: " + repeated + b"\n\n")
                call.hang_up()
            case status:
                call.answer(int(status), repeated, content_type="application/json")

    async def say(self, **more: Any) -> None:
        response = await self.client.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "401"}]} | more.pop("body", {}),
            headers=Headers(
                {"authorization": [f"Bearer {more.pop('token', self.planted['TOKEN'])}"]}
                | {name: [value] for name, value in more.items()}
            ),
        )
        self.came_out += [await response.text(), str(list(response.headers.getAllRawHeaders()))]

    async def go_wrong(self, gateway: Said) -> None:
        for content in ("401", "403", "429", "500", "400", "hang up", "nonsense", "break off"):
            for stream in (False, True):
                body = {"stream": stream, "messages": [{"role": "user", "content": content}]}
                await self.say(body=body)
        for provider in ("proxied", "gone", "environ"):
            await self.say(**{"x-openclaw-model": f"{provider}/m"})
        await self.say(token=self.planted["TOKEN"][:-1])
        await self.say(token=self.planted["OWN"])
        await self.say(body={"messages": self.planted["OWN"], "temperature": "x"})
        for path in (
            "/metrics",
            "/readyz",
            "/healthz",
            "/v1/models",
            "/openapi.json",
            "/v1/responses/none",
            "/no",
        ):
            response = await self.client.get(
                f"http://127.0.0.1:{self.port}{path}",
                headers=Headers({"authorization": [f"Bearer {self.planted['TOKEN']}"]}),
            )
            self.came_out += [await response.text(), str(list(response.headers.getAllRawHeaders()))]
        await self.over_websocket()
        await self.spoil_the_configuration(gateway)

    async def over_websocket(self) -> None:
        client = await connect_client(self.port)
        await client.heard.get()
        token = {"token": self.planted["TOKEN"]}
        self.came_out.append(json.dumps(await client.ask("1", "connect", **connect_params(auth=token))))
        for number, method in enumerate(("config.get", "status", "health", "models.list", "no.such.method")):
            self.came_out.append(json.dumps(await client.ask(f"q{number}", method)))
        self.came_out.append(json.dumps(await client.ask("x", "agent", message=3, idempotencyKey="k")))
        client.sendClose()
        await client.closed
        other = await connect_client(self.port)
        await other.heard.get()
        wrong = connect_params(auth={"token": self.planted["OWN"]})
        self.came_out.append(json.dumps(await other.ask("1", "connect", **wrong)))
        await other.closed

    async def spoil_the_configuration(self, gateway: Said) -> None:
        path = self.folder / "openclaw.json"
        sound = path.read_text()
        for times, broken in enumerate(
            (
                sound.replace('"apiKey":', '"apiKey"', 1),
                sound.replace(f'"{self.planted["KEY"]}"', f'{{"k": "{self.planted["KEY"]}"}}', 1),
                sound.replace('"token": "${MY_TOKEN}"', f'"token": ["{self.planted["OWN"]}"]'),
            ),
            start=1,
        ):
            self.assertNotEqual(broken, sound)
            path.write_text(broken)
            gateway.process.signalProcess("HUP")
            await gateway.says("the new configuration cannot be used", times)

    async def test_no_secret_comes_out(self) -> None:
        self.configure()
        gateway = await self.started(environ={"ENVIRON_KEY": self.planted["ENVIRON"]})
        self.came_out.append(command_of(gateway))
        await self.go_wrong(gateway)
        await gateway.stop()
        self.came_out += [gateway.output, gateway.errors]
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name not in HOLDERS:
                self.came_out.append(path.read_bytes().decode("latin-1"))
        everything = "\n".join(self.came_out)
        self.assertGreater(len(everything), 20_000)
        self.assertEqual([name for name, secret in self.planted.items() if secret in everything], [])
        self.assertIn("the new configuration cannot be used", everything)

    if sys.platform != "linux":
        skip = "/proc is Linux's"


def command_of(gateway: Said) -> str:
    return Path(f"/proc/{gateway.process.pid}/cmdline").read_text()


HOSTILE = (
    'x\r\n2026-01-01T00:00:00.000Z info  [service] all is well\x1b[2J\x1b[31m\x00\x85\u2028{"level":"info"}'
)


class LogInjection(GatewayCase):
    async def test_one_event_is_one_line(self) -> None:
        self.config["logging"] = {"level": "trace", "consoleLevel": "trace"}
        gateway = await self.started()
        for body in (
            {"model": HOSTILE},
            {"model": f"openclaw/{HOSTILE}"},
            {"user": HOSTILE},
            {"user": "x" * 100_000},
            {"metadata": {HOSTILE: HOSTILE}},
            {HOSTILE: 1},
        ):
            await self.ask("hi", **body)
        raw = HOSTILE.replace("\r\n", " ").replace("\x00", "").encode().decode("latin-1")
        for name in ("x-openclaw-session-key", "x-openclaw-model", "x-openclaw-agent-id", "user-agent"):
            await self.ask("hi", headers={name: raw})
            await self.ask("hi", headers={name: "%0d%0a%n%s{log_format}{0}" * 300})
        for field in ("version", "displayName", "platform"):
            client = await connect_client(self.port)
            await client.heard.get()
            params = connect_params()
            params["client"][field] = HOSTILE
            await client.ask("1", "connect", **params)
            client.transport.abortConnection()
            await client.closed
        await gateway.stop()
        (log,) = (gateway.state_dir / "logs").iterdir()
        for line in log.read_text().splitlines():
            self.assertEqual(set(json.loads(line)) >= {"time", "level", "message"}, True, line)
            self.assertLess(len(line), 5000)
        for line in gateway.output.replace("\r\n", "\n").split("\n"):
            self.assertFalse(line.startswith("2026-01-01T"), line)
            self.assertLess(len(line), 5000)
        for control in ("\x1b", "\x00", "\x85", "\u2028", "\r"):
            self.assertNotIn(control, log.read_text() + gateway.output)
        self.assertIn("all is well?[2J", gateway.output)  # it was told, in its place
