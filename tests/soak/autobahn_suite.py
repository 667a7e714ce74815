"""The Autobahn|Testsuite against our server: `python -m tests.soak.autobahn_suite WSTEST [CASES ...]`.

WSTEST is the program of that name; CASES are `1.*` and the like, by default sections 1 to 7, 9 and 10 (12 and
13 are about compression, which is declined). It talks to a server that echoes: everything from the port to
the frames is what a gateway has, its site, upgrade, factory, options and connections; only behind them is an
echo. It prints how many cases ended how, and which of them failed; the exit code is 0 when none did.

The suite is a program for Python 2.7: `virtualenv -p python2.7 suite && suite/bin/pip install
autobahntestsuite==25.10.1` takes a minute or two, and `suite/bin/wstest` is it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.app import Application
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.ws.connect import Visitor
from openclaw_twisted.ws.lobby import Lobby, Place
from openclaw_twisted.ws.protocol import Connection, new_factory
from openclaw_twisted.ws.upgrade import Upgrade
from tests.ws.rig import Rig

__all__ = ["EchoDoor", "Suite"]

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
AGENT = "gateway"


class _Nobody:
    """In place of the handshake: whoever comes is in at once, and needs nothing."""

    def open(self) -> None: ...
    def lose(self) -> None: ...


class Echo(Connection):
    """A connection that sends back what comes."""

    def onOpen(self) -> None:
        self.let_in()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N803
        self.sendMessage(payload, isBinary)


class EchoDoor:
    """A gateway's site with an echo behind its WebSockets."""

    def __init__(self, reactor: Any) -> None:
        rig = Rig(clock=reactor)
        limits = rig.settings.gateway.limits
        factory = new_factory(reactor, limits)

        def connect(_visitor: Visitor, place: Place) -> Connection:
            nobody: Any = _Nobody()
            connection = Echo(reactor, limits, lambda _connection: nobody, lambda _connection: place.leave())
            connection.factory = factory
            return connection

        lobby = Lobby(places=limits.max_unauthenticated_websockets, places_per_network=len(CASES))
        application = Application(())
        self.site = GatewaySite(
            http=Resource(),
            websocket=Upgrade(rig.rules, lobby, connect),
            admission=Admission(rig.rules, application.matcher, application.routes),
            clock=reactor,
            settings=rig.settings.gateway,
        )


class Suite(ProcessProtocol):
    """The suite's process; `ended` fires when it has ended in good order."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)


async def main(reactor: Any, wstest: str, *cases: str) -> None:
    port = reactor.listenTCP(0, EchoDoor(reactor).site, interface="127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="autobahn-"))
    plan = {
        "outdir": str(folder / "report"),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port.getHost().port}"}],
        "cases": list(cases or CASES),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    suite = Suite()
    arguments = [wstest, "-m", "fuzzingclient", "-s", str(folder / "plan.json")]
    child_fds = {0: "w", 1: 2, 2: 2}
    reactor.spawnProcess(suite, wstest, arguments, env={}, childFDs=child_fds)
    await suite.ended
    results = json.loads((folder / "report" / "index.json").read_text())[AGENT]
    print(json.dumps(Counter(result["behavior"] for result in results.values())))
    print(json.dumps(Counter(result["behaviorClose"] for result in results.values())))
    bad = [name for name, it in results.items() if not {it["behavior"], it["behaviorClose"]} <= GOOD]
    print(f"{len(results)} cases, {len(bad)} failed {sorted(bad)}; the report is in {folder / 'report'}")
    if bad or not results:
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
