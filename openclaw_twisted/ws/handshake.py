"""From an open socket to a client that has logged in.

    opened --open--> challenged --admit--> admitted
                          |-------refuse-> refused
                          '-------expire-> refused

    any of them --lose--> gone

`open` sends the challenge and starts the deadline. The first frame has to be `connect`: it is judged by
`connect.log_in`, which leads to `admit` (hello-ok is sent; every later frame goes to the client's exchange)
or to `refuse` (the error is sent and the connection closed). A client that says nothing is closed with code
1000 and no reason, as OpenClaw does. A refused or lost connection hears nothing any more.

What a client is judged by holds when it logs in, not when it has connected: else a socket that was opened
before the secret changed would let in whoever has the old one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from automat import TypeMachineBuilder
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from openclaw_twisted.agents.directory import shown
from openclaw_twisted.auth.addresses import ClientAddress
from openclaw_twisted.ws import frames
from openclaw_twisted.ws.connect import Client, Desk, Login, Visitor, log_in
from openclaw_twisted.ws.event_payloads import Challenge
from openclaw_twisted.ws.hello import HelloOk
from openclaw_twisted.ws.refusal import NORMAL_CLOSE, Refusal

__all__ = ["Handshake", "Receiver", "Reception", "Welcome", "Wire", "new_handshake"]

_log = Logger()

_NO_HEADERS = Headers()


class Wire(Protocol):
    """The connection as the handshake sees it."""

    def send(self, frame: bytes) -> None:
        """Send one text frame; does nothing once the connection is closing."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close the connection, behind what was sent."""


class Receiver(Protocol):
    """Whoever takes the frames of a client that has logged in."""

    def receive(self, data: bytes) -> None:
        """Take a frame."""

    def close(self) -> None:
        """Learn that there will be no more."""


@dataclass(frozen=True, kw_only=True)
class Reception:
    """What every handshake of one gateway needs.

    `refused` hears who was sent away, `dropped` why a connection was not kept.
    """

    desk: Desk
    clock: IReactorTime
    login_seconds: float
    refused: Callable[[ClientAddress, Refusal], object] = lambda _address, _refusal: None
    dropped: Callable[[str], object] = lambda _reason: None


Welcome = Callable[[Client], tuple[HelloOk, Receiver]]
"""Takes a client in; returns what to tell it and who takes its frames from now on."""


class Handshake(Protocol):
    """What can happen to a connection."""

    def open(self) -> None:
        """Challenge whoever is there, now that the socket is open."""

    def receive(self, data: bytes) -> None:
        """Take a frame of the client."""

    def admit(self, login: Login) -> None:
        """Let the client in: its first frame was a good `connect`."""

    def refuse(self, refusal: Refusal) -> None:
        """Send the client away: its first frame was not."""

    def expire(self) -> None:
        """Give up: no frame came in time."""

    def lose(self) -> None:
        """Learn that the connection is gone."""


@dataclass(kw_only=True)
class _Newcomer:
    wire: Wire
    visitor: Visitor
    reception: Callable[[], Reception]
    welcome: Welcome
    nonce: str = ""
    deadline: IDelayedCall | None = None
    receiver: Receiver | None = None

    def stop_waiting(self) -> None:
        assert self.deadline is not None  # since `open`; when it has passed, nobody waits any more
        self.deadline.cancel()


def _challenge(handshake: Handshake, newcomer: _Newcomer) -> None:
    reception = newcomer.reception()
    newcomer.deadline = reception.clock.callLater(reception.login_seconds, handshake.expire)
    newcomer.nonce = str(uuid.uuid4())
    challenge = Challenge(nonce=newcomer.nonce, ts=int(reception.desk.now() * 1000))
    newcomer.wire.send(frames.event("connect.challenge", challenge))


def _judge(handshake: Handshake, newcomer: _Newcomer, data: bytes) -> None:
    verdict = log_in(data, newcomer.visitor, newcomer.reception().desk, nonce=newcomer.nonce)
    if isinstance(verdict, Login):
        handshake.admit(verdict)
    else:
        handshake.refuse(verdict)


def _admit(_handshake: Handshake, newcomer: _Newcomer, login: Login) -> None:
    newcomer.stop_waiting()
    client = login.client
    hello, newcomer.receiver = newcomer.welcome(client)
    newcomer.wire.send(frames.success(login.request_id, hello))
    newcomer.visitor = replace(newcomer.visitor, headers=_NO_HEADERS)
    _log.info(
        "{program} logged in over WebSocket from {address} with protocol {protocol}",
        program=shown(client.program),
        address=str(newcomer.visitor.address.ip),
        protocol=client.protocol,
        connection_id=client.connection_id,
    )


def _refuse(_handshake: Handshake, newcomer: _Newcomer, refusal: Refusal) -> None:
    newcomer.stop_waiting()
    if refusal.fault is not None:
        newcomer.wire.send(frames.failure(refusal.request_id, refusal.fault))
    newcomer.wire.close(refusal.close_code, refusal.close_reason)
    newcomer.reception().refused(newcomer.visitor.address, refusal)


def _expire(_handshake: Handshake, newcomer: _Newcomer) -> None:
    newcomer.reception().dropped("slow_login")
    newcomer.wire.close(NORMAL_CLOSE, "")


def _pass_on(_handshake: Handshake, newcomer: _Newcomer, data: bytes) -> None:
    assert newcomer.receiver is not None  # since `admit`
    newcomer.receiver.receive(data)


def _give_up(_handshake: Handshake, newcomer: _Newcomer) -> None:
    newcomer.stop_waiting()


def _leave(_handshake: Handshake, newcomer: _Newcomer) -> None:
    assert newcomer.receiver is not None
    newcomer.receiver.close()


def _build() -> TypeMachineBuilder[Handshake, _Newcomer]:
    builder = TypeMachineBuilder(Handshake, _Newcomer)
    opened, challenged = builder.state("opened"), builder.state("challenged")
    admitted, refused, gone = (builder.state(name) for name in ("admitted", "refused", "gone"))

    opened.upon(Handshake.open).to(challenged)(_challenge)
    challenged.upon(Handshake.receive).loop()(_judge)
    challenged.upon(Handshake.admit).to(admitted)(_admit)
    challenged.upon(Handshake.refuse).to(refused)(_refuse)
    challenged.upon(Handshake.expire).to(refused)(_expire)
    admitted.upon(Handshake.receive).loop()(_pass_on)
    refused.upon(Handshake.receive).loop().returns(None)

    opened.upon(Handshake.lose).to(gone).returns(None)
    challenged.upon(Handshake.lose).to(gone)(_give_up)
    admitted.upon(Handshake.lose).to(gone)(_leave)
    refused.upon(Handshake.lose).to(gone).returns(None)
    return builder


_machine = _build().build()


def new_handshake(
    *, wire: Wire, visitor: Visitor, reception: Callable[[], Reception], welcome: Welcome
) -> Handshake:
    """Return the handshake of a connection whose socket is about to open; `reception` is asked each time."""
    return _machine(_Newcomer(wire=wire, visitor=visitor, reception=reception, welcome=welcome))
