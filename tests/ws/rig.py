"""A WebSocket door in memory: the real site, door and runner, a clock, and clients made of bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.device_tokens import DeviceTokens
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Gate, Identity
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.config.parse import Loaded, parse
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.app import Application
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.testing import MemoryRuns
from openclaw_twisted.testing.rules import rules_of
from openclaw_twisted.ws.behind import Behind
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.connect_params import ClientInfo
from openclaw_twisted.ws.door import WebSocketDoor
from tests.ws.record import Record

TOKEN = "a-token-for-tests-only"
NOW = 1_700_000_000.5
ALL_SCOPES = ["operator.admin", "operator.read", "operator.write"]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def settings_of(**sections: Any) -> Settings:
    """Return the settings of `loaded_of`."""
    return loaded_of(**sections).settings


def loaded_of(**sections: Any) -> Loaded:
    """Return a configuration with a token and a model, and these gateway.* sections."""
    gateway = {"auth": {"token": TOKEN}, **sections.pop("gateway", {})}
    agents = sections.pop("agents", {"defaults": {"model": "scripted/m"}})
    return parse(msgspec.json.encode({"gateway": gateway, "agents": agents, **sections}).decode(), {})


def directory_of(settings: Settings) -> Directory:
    """Return the agents of a configuration."""
    return Directory(settings.agents, state_dir=Path("/nonexistent"), home=Path("/nonexistent"))


def client_of(protocol: int = 4, *scopes: str) -> Client:
    """Return a client that has logged in."""
    return Client(
        connection_id="c1",
        protocol=protocol,
        identity=Identity("operator"),
        scopes=frozenset(scopes or ALL_SCOPES),
        info=ClientInfo(id="cli", version="1", platform="linux", mode="cli"),
    )


def connect_params(protocol: int = 4, **more: Any) -> dict[str, Any]:
    """Return the params that OpenClaw's command line connects with."""
    return {
        "minProtocol": protocol,
        "maxProtocol": protocol,
        "client": {"id": "cli", "version": "2026.9.6", "platform": "linux", "mode": "cli", "instanceId": "i"},
        "caps": [],
        "auth": {"token": TOKEN},
        "role": "operator",
        "scopes": ALL_SCOPES,
    } | more


def masked(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Return a frame as a client sends it; the mask is all zeros."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", opcode | fin << 7, 128 | size)
    elif size < 65536:
        head = struct.pack("!BBH", opcode | fin << 7, 128 | 126, size)
    else:
        head = struct.pack("!BBQ", opcode | fin << 7, 128 | 127, size)
    return head + b"\0\0\0\0" + payload


class Wire(StringTransportWithDisconnection):
    """A socket in memory; `aborted` tells that it was not closed in the orderly way.

    With `always_full` every write fills it, so that its producer is told to pause; while it is `stuck` it
    cannot be closed in the orderly way, because the peer does not read what is left.
    """

    protocol: Any
    producer: Any
    aborted = False
    always_full = False
    stuck = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.always_full:
            self.producer.pauseProducing()

    def abortConnection(self) -> None:
        self.aborted = True
        self.stuck = False
        self.loseConnection()

    def loseConnection(self) -> None:
        self.disconnecting = True
        if not self.stuck:
            super().loseConnection()


BROADCAST = {"agent", "chat", "health", "presence", "session.message", "sessions.changed"}


class MemoryClient:
    """A client whose socket is a string; `outcome` is the close frame's code and reason once there is one.

    What everybody hears of runs is in `events`, apart from the frames that are meant for this client.
    """

    def __init__(self, site: GatewaySite, peer: str) -> None:
        self.outcome: tuple[int | None, str] | None = None
        self.events: list[dict[str, Any]] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self._record = Record()
        self._unread = b""
        self._later: list[dict[str, Any]] = []
        self.wire = Wire(peerAddress=IPv4Address("TCP", peer, 50_000))
        channel: Any = site.buildProtocol(None)
        channel.callLater = site.clock.callLater
        self.wire.protocol = channel
        channel.makeConnection(self.wire)

    @property
    def gone(self) -> bool:
        return not self.wire.connected

    def upgrade(self, target: str = "/", *, then: bytes = b"", **headers: Any) -> str:
        """Ask for a WebSocket; return the head of the answer, and its body unless it is a 101."""
        given = {
            "host": "127.0.0.1:18789",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec_websocket_version": "13",
            **headers,
        }
        method = given.pop("method", "GET")
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
        self.raw("\r\n".join([*lines, "", ""]).encode() + then)
        answer = self._written()
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            return answer.decode()
        self._unread = rest
        return head.decode()

    def raw(self, data: bytes) -> None:
        self.wire.protocol.dataReceived(data)

    def send(self, frame: Any, opcode: int = TEXT) -> None:
        """Send bytes as they are, anything else as JSON."""
        payload = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self._record.asked(payload)
        if not self.gone:
            self.raw(masked(payload, opcode))

    def request(self, request_id: str, method: str, **params: Any) -> None:
        self.send({"type": "req", "id": request_id, "method": method, "params": params})

    def frames(self) -> list[dict[str, Any]]:
        """Return the JSON frames that have come since the last call."""
        self._unread += self._written()
        found, self._later = self._later, []
        while self._unread:
            opcode, payload, self._unread = unpack(self._unread)
            if opcode == TEXT:
                frame = json.loads(payload)
                self._record.heard(frame)
                (self.events if frame.get("event") in BROADCAST else found).append(frame)
            elif opcode == PING:
                self.pings.append(payload)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE and self.outcome is None:
                code = struct.unpack("!H", payload[:2])[0] if payload else None
                self.outcome = (code, payload[2:].decode())
        return found

    def heard(self, name: str) -> list[dict[str, Any]]:
        """Return the payloads of the events of one name, so far."""
        self._later += self.frames()
        return [event["payload"] for event in self.events if event["event"] == name]

    def frame(self) -> dict[str, Any]:
        """Return the one frame that has come."""
        (frame,) = self.frames()
        return frame

    def _written(self) -> bytes:
        written: bytes = self.wire.value()
        self.wire.clear()
        return written

    def hang_up(self) -> None:
        if not self.gone:
            self.wire.loseConnection()


def unpack(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the opcode and payload of the first frame that a server sent, and what follows it."""
    size, at = data[1], 2
    assert size < 128, "servers do not mask"
    if size == 126:
        size, at = struct.unpack("!H", data[2:4])[0], 4
    elif size == 127:
        size, at = struct.unpack("!Q", data[2:10])[0], 10
    return data[0] & 15, data[at : at + size], data[at + size :]


class Rig:
    """Everything from the socket to the scripted model; the clock is one to advance unless it is given."""

    def __init__(
        self,
        *scripts: Any,
        gateway: Mapping[str, Any] | None = None,
        agents: Mapping[str, Any] | None = None,
        clock: Any = None,
        store: Any = None,
        **more: Any,
    ) -> None:
        sections: dict[str, Any] = {"gateway": dict(gateway or {}), **more}
        if agents is not None:
            sections["agents"] = dict(agents)
        self._clients: list[MemoryClient] = []
        self.dropped: list[str] = []
        self.is_well = True
        loaded = loaded_of(**sections)
        self.settings = loaded.settings
        directory = directory_of(self.settings)
        self.runs = MemoryRuns(*scripts, clock=clock, store=store, rules=rules_of(self.settings, directory))
        self.clock = self.runs.clock
        auth = self.settings.gateway.auth
        proxies = TrustedProxies(self.settings.gateway.trusted_proxies)
        limiter = FailureLimiter(auth.rate_limit, self.clock.seconds)
        self.rules = Doorkeeping(
            hosts=HostRule(machine_name="test-machine"),
            origins=OriginRule("allowedOrigins", self.settings.gateway.control_ui.allowed_origins),
            proxies=proxies,
            gate=Gate(auth, limiter, trusted_proxies=proxies),
        )
        self.tokens = DeviceTokens(None, self.rules.gate.secret_digest)
        self.behind = Behind(
            runner=self.runs.runner,
            directory=directory,
            loaded=loaded,
            now=lambda: NOW + self.clock.seconds(),
            dropped=self.dropped.append,
            is_well=lambda: self.is_well,
        )
        self.door = WebSocketDoor(
            self.clock,
            behind=self.behind,
            rules=self.rules,
            tokens=self.tokens,
            host="test-machine",
            started_at=self.clock.seconds(),
        )
        application = Application(())
        self.site = GatewaySite(
            http=Resource(),
            websocket=self.door.resource,
            admission=Admission(self.rules, application.matcher, application.routes),
            clock=self.clock,
            settings=self.settings.gateway,
        )

    def stop(self) -> None:
        """End every run and connection; nothing may be left to do then."""
        for run in self.runs.runner.active():
            run.cancel()
        for client in self._clients:
            client.hang_up()
        left = self.clock.getDelayedCalls()
        assert not left, left[:3]

    def visitor(self, peer: str = "127.0.0.1") -> MemoryClient:
        """Return a client that has not asked for anything yet."""
        client = MemoryClient(self.site, peer)
        self._clients.append(client)
        return client

    def newcomer(self, peer: str = "127.0.0.1", **headers: Any) -> MemoryClient:
        """Return a client that has a WebSocket and has been challenged."""
        client = self.visitor(peer)
        head = client.upgrade(**headers)
        assert head.startswith("HTTP/1.1 101"), head
        challenge = client.frame()
        assert challenge["event"] == "connect.challenge", challenge
        return client

    def client(self, protocol: int = 4, **params: Any) -> MemoryClient:
        """Return a client that has logged in."""
        client = self.newcomer()
        client.request("hello", "connect", **connect_params(protocol, **params))
        hello = client.frame()
        assert hello["ok"], hello
        return client


class RigTestCase(SynchronousTestCase):
    """Tests that open doors, and close them behind them."""

    def rig(self, *scripts: Any, **given: Any) -> Rig:
        rig = Rig(*scripts, **given)
        self.addCleanup(rig.stop)
        return rig
