"""How long stateless runs are kept, by the real gateway in this process."""

import time
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.config.parse import parse
from openclaw_twisted.providers.scripted import Scripted, reply
from openclaw_twisted.service import Gateway
from openclaw_twisted.sessions.sqlite import SqliteStore
from openclaw_twisted.testing import real_reactor, run_request, user
from tests.gateway.process import free_port

DAY = 86_400


def turn(session_key: str, at: float) -> TurnRecord:
    run = RunRecord(
        run_id=f"run of {session_key}",
        session_key=session_key,
        agent_id="main",
        model="m",
        status="finished",
        started_at=at,
        ended_at=at,
    )
    return TurnRecord(run=run, messages=(user("hi"),))


class Retention(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.state_dir = Path(self.mktemp()).absolute()
        self.state_dir.mkdir(parents=True)

    def gateway(self, **session: Any) -> Gateway:
        settings = {
            "gateway": {"port": free_port(), "auth": {"token": "a-token-for-tests-only"}},
            "agents": {"defaults": {"model": "scripted/m"}},
            "session": session,
        }
        gateway = Gateway(
            real_reactor(),
            parse(msgspec.json.encode(settings).decode(), {}),
            state_dir=self.state_dir,
            home=self.state_dir,
            out=StringIO(),
            leave=lambda code: self.fail(f"left with {code}"),
            providers={"scripted": Scripted(reply("ok"))},
        )
        gateway.startService()
        return gateway

    async def keys_after(self, gateway: Gateway) -> list[str]:
        """Stop the gateway and return the keys of what it left behind."""
        await maybeDeferred(gateway.stopService)
        store = SqliteStore(real_reactor(), self.state_dir / "sessions.sqlite3")
        await store.open()
        try:
            return sorted(row.session_key for row in (await store.sessions()).rows)
        finally:
            await store.close()

    async def fill(self) -> None:
        store = SqliteStore(real_reactor(), self.state_dir / "sessions.sqlite3")
        await store.open()
        now = time.time()
        for key, age in (("openai:old", 2 * DAY), ("openai:new", DAY / 2), ("chat", 90 * DAY)):
            await store.commit(turn(f"agent:main:{key}", now - age))
        await store.close()

    async def test_what_is_old_is_deleted(self) -> None:
        await self.fill()
        gateway = self.gateway()
        await gateway.started()
        await gateway.upkeep.idle()
        self.assertEqual(await self.keys_after(gateway), ["agent:main:openai:new"])

    async def test_sessions_stay_when_nothing_is_to_be_enforced(self) -> None:
        await self.fill()
        gateway = self.gateway(maintenance={"mode": "warn"})
        await gateway.started()
        await gateway.upkeep.idle()
        self.assertEqual(await self.keys_after(gateway), ["agent:main:chat", "agent:main:openai:new"])

    async def test_how_long_is_a_setting(self) -> None:
        await self.fill()
        gateway = self.gateway(statelessRetention="6h", maintenance={"pruneAfter": "100d"})
        await gateway.started()
        await gateway.upkeep.idle()
        self.assertEqual(await self.keys_after(gateway), ["agent:main:chat"])

    async def test_stateless_runs_are_kept_off_the_hot_path(self) -> None:
        gateway = self.gateway()
        await gateway.started()
        run = gateway.runner.start(run_request())
        await run.result()
        self.assertEqual(await self.keys_after(gateway), [str(run.request.session_key)])

    async def test_none_is_kept_when_that_is_configured(self) -> None:
        gateway = self.gateway(statelessRetention=0)
        await gateway.started()
        await gateway.runner.start(run_request()).result()
        self.assertEqual(await self.keys_after(gateway), [])
