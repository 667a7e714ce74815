"""SIGTERM and what follows, from the outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
from contextlib import closing
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred, gatherResults

from openclaw_twisted.content import text_of
from openclaw_twisted.testing import chunk, real_reactor
from tests.gateway.process import Said
from tests.gateway.rig import GatewayCase
from tests.soak.kills import json_message
from tests.ws.rig import connect_params
from tests.ws.socket_client import Client, connect_client

STREAMS = 20
CLIENTS = 5
GRACE_SECONDS = 1.0

AS_PROCESS_1 = """
import ctypes, os
users, processes = 0x10000000, 0x20000000  # of linux/sched.h
made = ctypes.CDLL(None).unshare(users | processes) == 0
if made and (child := os.fork()):
    print("first", child, flush=True)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Shutdown(GatewayCase):
    def drain(self, seconds: float) -> None:
        self.config["gateway"]["shutdown"] = {"drainSeconds": seconds}

    async def streaming(self, count: int, *, key: str = "") -> list[Deferred[tuple[int, str]]]:
        """Begin streams, and wait until each has said something."""
        before = len(self.held)
        streams = [
            self.begin("wait", stream=True, headers={"x-openclaw-session-key": key} if key else None)
            for _ in range(count)
        ]
        await self.holding(before + count)
        for call in self.held[before:]:
            call.event(chunk({"content": "first"}))
        return streams

    async def logged_in(self) -> Client:
        client = await connect_client(self.port)
        await client.heard.get()  # the challenge
        hello = await client.ask("1", "connect", **connect_params())
        self.assertTrue(hello["ok"], hello)
        return client

    async def stopping(self, gateway: Said) -> float:
        """Send SIGTERM and wait until `/readyz` says so; return how long that took (s)."""
        self.assertEqual((await self.get("/readyz"))[0], 200)  # on a connection that is kept
        began = real_reactor().seconds()
        gateway.process.signalProcess("TERM")
        while True:
            status, told = await self.get("/readyz")
            if status != 200:
                break
        took: float = real_reactor().seconds() - began
        self.assertEqual((status, told), (503, {"ready": False, "failing": ["stopping"]}))
        return took

    def runs(self, gateway: Said) -> list[tuple[str, str | None]]:
        with closing(sqlite3.connect(gateway.state_dir / "sessions.sqlite3")) as database:
            return database.execute("SELECT status, error_code FROM runs ORDER BY started_at").fetchall()

    async def test_streams_end_whole_and_nothing_new_begins(self) -> None:
        gateway = await self.started()
        streams = await self.streaming(STREAMS)
        clients = [await self.logged_in() for _ in range(CLIENTS)]
        self.assertLess(await self.stopping(gateway), GRACE_SECONDS)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port))
        self.assertEqual((await self.ask("late"))[0], 503)
        for call in self.held:
            self.finish(call)
        for status, text in await gatherResults(streams):
            self.assertEqual(status, 200)
            self.assertIn('"finish_reason":"stop"', text)
            self.assertTrue(text.endswith("data: [DONE]\n\n"), text[-100:])
        began = real_reactor().seconds()
        for client in clients:
            self.assertEqual(await client.closed, (1012, "service restart"))
            frames = await self.everything(client)
            self.assertIn("shutdown", [frame.get("event") for frame in frames])
        self.assertEqual(await gateway.ended, -15)
        self.assertLess(real_reactor().seconds() - began, GRACE_SECONDS + 1)
        self.assertNotIn("Traceback", gateway.output + gateway.errors)

    async def everything(self, client: Client) -> list[Any]:
        queues = (client.heard, client.events)
        return [frame for queue in queues for frame in tuple(queue.pending)]

    async def test_what_outlasts_the_budget_is_cut_off_told_and_recorded(self) -> None:
        self.drain(0.5)
        gateway = await self.started()
        (stream,) = await self.streaming(1, key="cut")
        deaf = socket.create_connection(("127.0.0.1", self.port))  # a WebSocket that answers nothing
        self.addCleanup(deaf.close)
        deaf.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await self.stopping(gateway)
        began = real_reactor().seconds()
        status, text = await stream
        self.assertEqual(status, 200)
        self.assertIn('"code":"overloaded"', text)
        self.assertIn("shutting down", text)
        self.assertEqual(await gateway.ended, -15)
        self.assertLess(real_reactor().seconds() - began, 0.5 + GRACE_SECONDS + 0.5)  # the machine is busy
        self.assertEqual(self.runs(gateway), [("interrupted", "overloaded")])
        with closing(sqlite3.connect(gateway.state_dir / "sessions.sqlite3")) as database:
            rows = database.execute("SELECT body, interrupted FROM messages ORDER BY seq").fetchall()
        kept = [(text_of(json_message(body)), interrupted) for body, interrupted in rows]
        self.assertEqual(kept, [("wait", 0), ("first", 1)])
        self.assertNotIn("Traceback", gateway.output + gateway.errors)

    async def test_a_second_signal_ends_it_now(self) -> None:
        for number, code in (("TERM", -15), ("INT", -2)):
            gateway = await self.started()
            (stream,) = await self.streaming(1, key="now")
            stream.addErrback(lambda _failure: None)
            await self.stopping(gateway)
            began = real_reactor().seconds()
            gateway.process.signalProcess(number)
            self.assertEqual(await gateway.ended, code)
            self.assertLess(real_reactor().seconds() - began, GRACE_SECONDS)
            await stream
        gateway = await self.started()
        self.assertEqual(self.runs(gateway), [("interrupted", None)] * 2)

    async def test_a_second_signal_ends_a_containers_first_process(self) -> None:
        gateway = await self.started(prelude=AS_PROCESS_1)
        if not gateway.output.startswith("first "):
            raise SkipTest("namespaces cannot be made here")
        first = int(gateway.output.split()[1])
        self.addCleanup(end, first)
        (stream,) = await self.streaming(1)
        stream.addErrback(lambda _failure: None)
        os.kill(first, signal.SIGTERM)
        await gateway.says(f"(TCP Port {self.port} Closed)")
        os.kill(first, signal.SIGTERM)
        self.assertEqual(await gateway.ended, 128 + signal.SIGTERM)
        await stream

    async def test_keys_outlive_a_kill_and_tell_what_was_cut_off(self) -> None:
        gateway = await self.started()
        done = {"x-openclaw-session-key": "keys", "idempotency-key": "done"}
        status, answer = await self.ask("hi", headers=done)
        self.assertEqual(status, 200)
        cut = {"x-openclaw-session-key": "keys", "idempotency-key": "cut"}
        asking = self.begin("wait", headers=cut)
        asking.addErrback(lambda _failure: None)
        await self.holding(1)
        client = await self.logged_in()
        params = {"message": "wait", "sessionKey": "ws", "idempotencyKey": "over-ws"}
        accepted = await client.ask("2", "agent", **params)
        self.assertEqual(accepted["payload"]["status"], "accepted", accepted)
        await self.holding(2)
        await gateway.stop("KILL")
        await asking

        await self.started()
        asked = len(self.asked)
        status, again = await self.ask("hi", headers=done)
        self.assertEqual((status, self.said(again)), (200, self.said(answer)))
        status, told = await self.ask("wait", headers=cut)
        self.assertEqual((status, json.loads(told)["error"]["code"]), (409, "run_interrupted"))
        client = await self.logged_in()
        client.say("3", "agent", **params)
        frame = await client.heard.get()
        while frame.get("payload", {}).get("status") == "accepted":
            frame = await client.heard.get()
        self.assertIn("stopped while this run was under way", json.dumps(frame))
        self.assertEqual(len(self.asked), asked)  # nothing was asked twice
        client.sendClose()
        await client.closed

    def said(self, answer: str) -> str:
        return str(json.loads(answer)["choices"][0]["message"]["content"])
