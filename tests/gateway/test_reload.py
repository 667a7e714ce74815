"""Changing the configuration of a gateway that runs, as a process."""

from __future__ import annotations

import json
import ssl
from io import StringIO
from pathlib import Path
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.config.file import load
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.watcher import look_at
from openclaw_twisted.service import Gateway
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor, stream_of
from tests.certificates import certificate
from tests.gateway.process import TOKEN, Said, configuration, free_port
from tests.ws.rig import connect_params
from tests.ws.socket_client import connect_client

CONFIG = "{gateway: {auth: {token: 'a-long-token-for-tests-only'}}, models: {mode: 'replace'}}"
OTHER_TOKEN = "another-token-for-tests"
RELOADS = 20


class Reloading(TestCase):
    timeout = 60

    def setUp(self) -> Deferred[Any]:  # type: ignore[override]
        self.upstream = FakeUpstream(self.answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.pool = HTTPConnectionPool(real_reactor())
        self.addCleanup(lambda: self.pool.closeCachedConnections())  # noqa: PLW0108 - when it has some
        self.client = HTTPClient(Agent(real_reactor(), pool=self.pool))
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.port = free_port()
        self.config = configuration(self.upstream.base_url, self.port)
        self.config["gateway"]["reload"] = {"mode": "off"}  # the signal alone, unless a test says otherwise
        self.held: list[UpstreamCall] = []
        self.gateway = Said(folder, self.config)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop("KILL")))
        return self.gateway.ready

    def answer(self, call: UpstreamCall) -> None:
        if call.body["messages"][-1]["content"] == "wait":
            self.held.append(call)
            call.stream()
            return
        call.stream(*stream_of(f"from {call.body['model']}"))
        call.end()

    def write(self, config: Any = None) -> None:
        path = self.gateway.folder / "openclaw.json"
        path.write_text(json.dumps(self.config) if config is None else config)

    async def reload(self, config: Any = None, *, says: str = "read again", times: int = 1) -> None:
        self.write(config)
        self.gateway.process.signalProcess("HUP")
        await self.gateway.says(says, times)

    async def ask(self, token: str = TOKEN, **more: Any) -> tuple[int, Any]:
        body = {"messages": [{"role": "user", "content": "hi"}]} | more
        headers = Headers({"authorization": [f"Bearer {token}"]})
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        response = await self.client.post(url, json=body, headers=headers)
        return response.code, await treq.json_content(response)

    async def test_what_changes_holds_for_the_next_request(self) -> None:
        code, told = await self.ask(model="openclaw/new")
        self.assertEqual(code, 404)
        self.config["agents"]["list"] = [{"id": "main"}, {"id": "new", "model": "mock/other"}]
        await self.reload()
        code, told = await self.ask(model="openclaw/new")
        self.assertEqual((code, told["choices"][0]["message"]["content"]), (200, "from other"))

    async def test_a_file_that_cannot_be_used_changes_nothing(self) -> None:
        await self.reload('{"gateway": {"prot": 1}, "agents": {"list": 7}}', says="gateway.prot")
        await self.gateway.says("agents.list: must be a list")
        self.assertEqual((await self.ask())[0], 200)
        self.assertEqual((await self.ask(token=OTHER_TOKEN))[0], 401)

    async def test_what_needs_a_restart_waits_and_the_rest_is_applied(self) -> None:
        self.config["gateway"]["port"] = free_port()
        self.config["agents"]["defaults"]["model"] = "mock/other"
        await self.reload()
        self.assertIn("a restart is needed for gateway.port", self.gateway.output)
        code, told = await self.ask()
        self.assertEqual((code, told["choices"][0]["message"]["content"]), (200, "from other"))

    async def test_another_token_counts_at_once_and_the_old_one_is_out(self) -> None:
        socket = await connect_client(self.port)
        await socket.heard.get()
        self.assertTrue((await socket.ask("1", "connect", **connect_params(auth={"token": TOKEN})))["ok"])
        self.config["gateway"]["auth"]["token"] = OTHER_TOKEN
        await self.reload()
        self.assertEqual((await self.ask())[0], 401)
        self.assertEqual((await self.ask(token=OTHER_TOKEN))[0], 200)
        self.assertEqual((await socket.closed)[0], 4001)

    async def test_a_run_that_is_under_way_ends_as_it_began(self) -> None:
        asking = Deferred.fromCoroutine(self.ask(messages=[{"role": "user", "content": "wait"}]))
        while not self.held:
            turn: Deferred[None] = Deferred()
            real_reactor().callLater(0, turn.callback, None)
            await turn
        self.config["models"]["providers"]["mock"]["baseUrl"] = "http://127.0.0.1:9/v1"
        await self.reload()
        for event in stream_of("as it began"):
            self.held[0].event(event)
        self.held[0].end()
        code, told = await asking
        self.assertEqual((code, told["choices"][0]["message"]["content"]), (200, "as it began"))
        self.assertEqual((await self.ask())[0], 502)

    async def test_a_certificate_that_was_renewed(self) -> None:
        """As certbot does it, which tells nobody."""
        await self.gateway.stop()
        cert, key = certificate(self.gateway.folder / "tls")
        self.config["gateway"]["tls"] = {"enabled": True, "certPath": str(cert), "keyPath": str(key)}
        del self.config["gateway"]["reload"]
        self.gateway = Said(self.gateway.folder, self.config)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop("KILL")))
        await self.gateway.ready
        certificate(self.gateway.folder / "tls")
        await self.gateway.says("the certificate was read again")
        address = ("127.0.0.1", self.port)
        shown = await deferToThread(ssl.get_server_certificate, address)
        self.assertEqual(shown, cert.read_text())
        self.assertNotIn("a restart is needed", self.gateway.output)

    async def test_no_request_is_dropped_during_many_reloads(self) -> None:
        codes: list[int] = []
        going_on = True

        async def ask_again_and_again() -> None:
            while going_on:
                codes.append((await self.ask())[0])

        working = [Deferred.fromCoroutine(ask_again_and_again()) for _ in range(4)]
        for number in range(RELOADS):
            self.config["agents"]["defaults"]["model"] = f"mock/m{number}"
            self.config["models"]["providers"]["mock"]["params"] = {"temperature": number / RELOADS}
            await self.reload(times=number + 1)
        going_on = False
        for each in working:
            await each
        self.assertEqual(set(codes), {200})
        self.assertGreater(len(codes), RELOADS)
        self.assertEqual((await self.ask())[1]["choices"][0]["message"]["content"], f"from m{RELOADS - 1}")

    async def test_a_change_is_noticed_without_a_signal(self) -> None:
        del self.config["gateway"]["reload"]
        await self.reload()
        self.config["agents"]["defaults"]["model"] = "mock/noticed"
        self.write()
        await self.gateway.says("read again", 2)
        self.assertEqual((await self.ask())[1]["choices"][0]["message"]["content"], "from noticed")


class Meanwhile(TestCase):
    """What becomes of the files while the gateway runs."""

    timeout = 20

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)

    async def test_it_is_not_taken_for_known(self) -> None:
        home, path = self.home, self.home / "openclaw.json"
        path.write_text(CONFIG)
        path.chmod(0o600)

        def read() -> Loaded:
            loaded = load(path, {}, home)
            path.write_text(path.read_text() + "\n")  # as an editor that saves twice
            return loaded

        gateway = Gateway(
            real_reactor(), read(), state_dir=home, home=home, out=StringIO(), leave=self.fail, load=read
        )
        self.addCleanup(gateway._watcher.stop)
        files = gateway._wiring.loaded.watched
        known = look_at(files)
        await gateway.reload()
        self.assertEqual(gateway._watcher._known, known)
        self.assertNotEqual(look_at(files), known)

    async def test_a_file_that_is_gone_is_not_taken_for_one_without_settings(self) -> None:
        home, path = self.home, self.home / "openclaw.json"
        path.write_text(CONFIG)
        path.chmod(0o600)

        def read() -> Loaded:
            return load(None, {"OPENCLAW_STATE_DIR": str(home)}, home)

        gateway = Gateway(
            real_reactor(), read(), state_dir=home, home=home, out=StringIO(), leave=self.fail, load=read
        )
        self.addCleanup(gateway._watcher.stop)
        path.rename(home / "openclaw.json.bak")
        await gateway.reload()
        self.assertEqual(gateway._settings.models.mode, "replace")
        path.write_text("{models: {mode: 'replace'}, session: {resetTriggers: []}}")
        await gateway.reload()
        self.assertEqual(gateway._settings.session.reset_triggers, ())
