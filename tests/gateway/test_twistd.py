"""`twistd openclaw-gateway` from the outside: start, answer, refuse to start, stop."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import SkipTest

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from openclaw_twisted import __version__
from openclaw_twisted.config.settings import GatewaySettings
from openclaw_twisted.errors import NoSuchNetworkError
from openclaw_twisted.listening import address_of
from openclaw_twisted.service import EXIT_CONFIG, EXIT_PORT, EXIT_STORAGE
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.ws.rig import connect_params
from tests.ws.socket_client import connect_client

NO_READER = "import os; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1)"
NO_OUTPUT = "import sys; sys.stdout = sys.__stdout__ = None"

HUNG_UP = """
import os, signal, sys
def hook(event, about):
    if event == "import" and about[0] == "openclaw_twisted.service":
        os.kill(os.getpid(), signal.SIGHUP)
sys.addaudithook(hook)
"""

NO_HOME = "import os, pwd; del os.environ['HOME']; pwd.getpwuid = {}.__getitem__"


class ProcessCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.upstream = FakeUpstream(answer_ok)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config: dict[str, Any] = configuration(self.upstream.base_url, free_port())
        self.client = treq.client.HTTPClient(Agent(real_reactor()))

    def start(self, config: Any = None, *more: str, prelude: str = "") -> GatewayProcess:
        gateway = GatewayProcess(self.folder, config or self.config, *more, prelude=prelude)
        self.addCleanup(lambda: Deferred.fromCoroutine(kill(gateway)))
        return gateway

    async def chat(self, gateway: GatewayProcess, **more: Any) -> Any:
        body = {"model": "openclaw", "messages": [{"role": "user", "content": "hi"}]} | more
        response = await self.client.post(
            f"{gateway.base_url}/chat/completions",
            headers=Headers({"authorization": [f"Bearer {TOKEN}"], "content-type": ["application/json"]}),
            data=json.dumps(body).encode(),
        )
        return response.code, await response.text()


def answer_ok(call: UpstreamCall) -> None:
    call.stream(*stream_of("ok"))
    call.end()


async def kill(gateway: GatewayProcess) -> None:
    if not gateway.ended.called:
        await gateway.stop("KILL")


class Living(ProcessCase):
    async def test_it_starts_answers_and_stops(self) -> None:
        gateway = self.start()
        printed = await gateway.ready
        self.assertNotIn(TOKEN, printed)
        status, text = await self.chat(gateway, user="ann")
        self.assertEqual((status, json.loads(text)["choices"][0]["message"]["content"]), (200, "ok"))
        self.assertEqual(await gateway.stop(), -15)
        self.assertNotIn("Traceback", gateway.output + gateway.errors)
        self.assertNotIn(TOKEN, gateway.output)
        with sqlite3.connect(gateway.state_dir / "sessions.sqlite3") as database:
            rows = database.execute("SELECT session_key FROM messages").fetchall()
        database.close()
        self.assertEqual(rows, [("agent:main:openai-user:ann",)] * 2)

    async def test_the_curl_line_works_as_printed(self) -> None:
        del self.config["gateway"]["auth"]
        gateway = self.start()
        printed = await gateway.ready
        (line,) = [line for line in printed.splitlines() if line.startswith("curl ")]
        self.assertIn("credentials/gateway-token", line)
        result = await deferToThread(subprocess.run, ["sh", "-c", line], capture_output=True, check=True)
        self.assertEqual(json.loads(result.stdout)["choices"][0]["message"]["content"], "ok")
        token = (gateway.state_dir / "credentials" / "gateway-token").read_text().strip()
        client = await connect_client(self.config["gateway"]["port"])
        await client.heard.get()
        confused = {"id": token, "version": "1", "platform": "linux", "mode": "cli"}
        connecting = connect_params(auth={"token": token}, client=confused)
        self.assertTrue((await client.ask("1", "connect", **connecting))["ok"])
        client.sendClose()
        await client.closed
        self.assertIn("*** 1 logged in", gateway.output)
        self.assertNotIn(token, printed + gateway.output + gateway.errors)

    async def test_a_user_without_a_home(self) -> None:
        gateway = self.start(prelude=NO_HOME)
        await gateway.ready
        self.assertEqual((await self.chat(gateway))[0], 200)
        self.assertEqual(await gateway.stop(), -15)

    async def test_relative_paths_are_so_to_where_it_was_started(self) -> None:
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        prelude = (
            "import os, sys; os.environ |= {'OPENCLAW_STATE_DIR': 'state', 'OPENCLAW_CONFIG_PATH': "
            "'openclaw.json'}; del sys.argv[-2:]"
        )
        gateway = self.start(None, f"--rundir={elsewhere}", prelude=prelude)
        await gateway.ready
        gateway.process.signalProcess("HUP")
        while "read again" not in gateway.output:
            await turn()
        self.assertEqual(await gateway.stop(), -15)
        self.assertEqual([path.name for path in elsewhere.iterdir()], [])
        self.assertTrue((gateway.state_dir / "sessions.sqlite3").exists())

    async def test_a_running_stream_may_end_before_the_process_does(self) -> None:
        calls: list[UpstreamCall] = []
        self.upstream.behaviour = calls.append
        gateway = self.start()
        await gateway.ready
        asking = Deferred.fromCoroutine(self.chat(gateway, stream=True))
        while not calls:
            await turn()
        calls[0].stream(chunk({"content": "first "}))
        gateway.process.signalProcess("TERM")
        while "Port" not in gateway.output.partition("Received SIGTERM")[2]:
            await turn()
        for event in stream_of("last"):
            calls[0].event(event)
        calls[0].end()
        status, text = await asking
        self.assertEqual(status, 200)
        self.assertIn("first ", text)
        self.assertTrue(text.endswith("data: [DONE]\n\n"), text[-100:])
        self.assertEqual(await gateway.ended, -15)

    async def test_a_hangup_while_it_starts(self) -> None:
        """A service manager that starts and reloads at once: the file may have changed after it was read."""
        gateway = self.start(prelude=HUNG_UP)
        await gateway.ready
        while "the configuration was read again" not in gateway.output:
            await turn()

    async def test_neither_prompt_nor_reply_is_logged(self) -> None:
        def tell(call: UpstreamCall) -> None:
            call.stream(*stream_of("a-secret-reply"))
            call.end()

        self.upstream.behaviour = tell
        gateway = self.start()
        await gateway.ready
        await self.chat(gateway, messages=[{"role": "user", "content": "a-secret-prompt"}])
        await gateway.stop()
        for secret in ("a-secret-prompt", "a-secret-reply", TOKEN):
            self.assertNotIn(secret, gateway.output + gateway.errors)


def end(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def turn() -> None:
    await deferLater(real_reactor(), 0.005)


class Refusing(ProcessCase):
    async def test_a_configuration_that_cannot_be_used(self) -> None:
        self.config["gateway"]["prot"] = 1
        self.config["agents"]["defaults"]["modle"] = "x"
        gateway = self.start()
        self.assertEqual(await gateway.ended, EXIT_CONFIG)
        for said in ("gateway.prot", "port", "agents.defaults.modle", "model"):
            self.assertIn(said, gateway.errors)
        self.assertNotIn("Traceback", gateway.errors)

    async def test_twistd_is_not_to_change_the_user(self) -> None:
        for option in ("--uid=0", "--gid=0", "--chroot=/"):
            gateway = self.start(None, option)
            self.assertEqual(await gateway.ended, 1)
            self.assertIn("setpriv", gateway.output + gateway.errors)
            self.assertFalse(gateway.state_dir.exists())

    async def test_a_log_file_that_cannot_be_written(self) -> None:
        gateway = self.start(None, f"--logfile={self.folder}/none/gateway.log")
        self.assertEqual(await gateway.ended, EXIT_CONFIG)
        self.assertIn("--logfile: cannot be written: No such file or directory", gateway.errors)
        self.assertNotIn("Traceback", gateway.output + gateway.errors)

    async def test_a_machine_that_uses_another_gateway(self) -> None:
        self.config["gateway"] |= {"mode": "remote", "remote": {"url": "wss://gateway.example"}}
        gateway = self.start()
        self.assertEqual(await gateway.ended, EXIT_CONFIG)
        self.assertIn('gateway.mode: is "remote"', gateway.errors)

    async def test_a_port_that_is_taken(self) -> None:
        port = real_reactor().listenTCP(0, self.upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.config["gateway"]["port"] = port.getHost().port
        gateway = self.start()
        self.assertEqual(await gateway.ended, EXIT_PORT)
        self.assertIn("gateway.port", gateway.output)
        self.assertNotIn("Traceback", gateway.output)

    async def test_a_network_that_is_not_there(self) -> None:
        """It may come up later, unlike a mistake of the configuration, which nobody would try again."""
        with contextlib.suppress(NoSuchNetworkError):
            address_of(GatewaySettings(bind="tailnet"))
            raise SkipTest("this machine has a Tailscale address")
        self.config["gateway"]["bind"] = "tailnet"
        gateway = self.start()
        self.assertEqual(await gateway.ended, EXIT_PORT)
        self.assertIn("gateway.bind", gateway.errors)

    async def test_nobody_who_could_read_why(self) -> None:
        """Where the output goes to is full, gone or was never there: the process ends all the same."""
        port = real_reactor().listenTCP(0, self.upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.config["gateway"]["port"] = port.getHost().port
        for prelude in (NO_READER, NO_OUTPUT):
            gateway = self.start(prelude=prelude)
            self.assertEqual(await gateway.ended, EXIT_PORT, prelude)

    async def test_a_state_directory_that_another_gateway_uses(self) -> None:
        first = self.start()
        await first.ready
        self.config["gateway"]["port"] = free_port()
        second = self.start()
        self.assertEqual(await second.ended, EXIT_STORAGE)
        self.assertIn(str(first.state_dir), second.output)
        status, _ = await self.chat(first)
        self.assertEqual(status, 200)


class Daemon(ProcessCase):
    async def test_it_runs_in_the_background_and_stops_cleanly(self) -> None:
        """With --pidfile and --logfile, as a service manager of old would start it."""
        config = self.folder / "openclaw.json"
        config.write_text(json.dumps(self.config))
        config.chmod(0o600)
        pidfile, logfile = self.folder / "gateway.pid", self.folder / "gateway.log"
        command = [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *(f"--pidfile={pidfile}", f"--logfile={logfile}", "openclaw-gateway"),
            *("--config", str(config), "--state-dir", str(self.folder / "state")),
        ]
        environ = {"PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": str(self.folder)}
        await deferToThread(subprocess.run, command, check=True, env=environ, cwd=self.folder)
        while not (logfile.exists() and "ready at" in logfile.read_text()):
            await turn()
        pid = int(pidfile.read_text())
        self.addCleanup(end, pid, signal.SIGKILL)
        config.write_text("{")  # as logrotate does it, whatever somebody is about to change
        logfile.rename(self.folder / "gateway.log.1")
        end(pid, signal.SIGHUP)
        while not (logfile.exists() and "cannot be used" in logfile.read_text()):
            await turn()
        end(pid, signal.SIGTERM)
        while pidfile.exists():
            await turn()
        self.assertIn("Server Shut Down", logfile.read_text())
        self.assertNotIn("Traceback", logfile.read_text())


class Options(ProcessCase):
    async def run_twistd(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *arguments]
        environ = {"PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": str(self.folder)}
        result: Any = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, env=environ, cwd=self.folder, check=False
        )
        return str(result.stdout + result.stderr)

    async def test_help_explains_every_option(self) -> None:
        text = await self.run_twistd("openclaw-gateway", "--help")
        for option in ("--config", "--port", "--bind", "--state-dir", "--version"):
            self.assertIn(option, text)

    async def test_the_version(self) -> None:
        self.assertIn(__version__, await self.run_twistd("openclaw-gateway", "--version"))

    async def test_twistd_lists_the_plugin(self) -> None:
        self.assertIn("openclaw-gateway", await self.run_twistd("--help"))

    async def test_a_port_that_is_no_number(self) -> None:
        self.assertIn("--port takes a number", await self.run_twistd("-n", "openclaw-gateway", "--port", "x"))
