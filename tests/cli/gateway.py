"""A whole gateway on a loopback port, whose model the test plays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import Batches, ModelRequest, Provider
from openclaw_twisted.config.parse import parse
from openclaw_twisted.service import Gateway
from openclaw_twisted.testing import real_reactor

__all__ = ["TOKEN", "LoopbackGateway", "Silent"]

TOKEN = "a-token-for-tests-only-0123456789"


class Silent:
    """A model that takes one question and never answers: `asked` and `stopped` tell when."""

    def __init__(self) -> None:
        self.asked: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()

    def check(self, model: str) -> None:
        """Every model name is as good as another."""

    async def respond(self, request: ModelRequest) -> Batches:
        self.asked.callback(None)
        try:
            await Deferred()
        finally:
            self.stopped.callback(None)
        yield ()


class LoopbackGateway:
    """`url` is its WebSocket address; `model` answers."""

    def __init__(self, state_dir: Path, model: Provider, **gateway: Any) -> None:
        configuration = {
            "gateway": {"auth": {"token": TOKEN}, **gateway},
            "agents": {"defaults": {"model": "scripted/m"}},
        }
        loaded = parse(json.dumps(configuration), {})
        settings = loaded.settings
        # port 0 is no setting; the kernel finds a free one
        settings = replace(settings, gateway=replace(settings.gateway, port=0))
        self._service = Gateway(
            real_reactor(),
            type(loaded)(settings=settings),
            state_dir=state_dir.resolve(),
            home=state_dir.resolve(),
            out=io.StringIO(),
            leave=self._fail,
            providers={"scripted": model},
        )

    @property
    def url(self) -> str:
        return self._service.base_url.replace("http", "ws", 1)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def start(self) -> None:
        self._service.startService()
        await self._service.started()

    async def stop(self) -> None:
        await self._service.stopService()

    def _fail(self, code: int) -> None:
        raise AssertionError(f"the gateway left with {code}")


_fits: type[Provider] = Silent
