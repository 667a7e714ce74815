"""Time that passes is measured by a clock that nobody can set.

Twisted's timers follow the wall clock (https://github.com/twisted/twisted/issues/2424), so `tap` gives the
reactor another one. That the gateway then outlasts jumps of the wall clock: tests/soak/clock_jumps.py.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

import openclaw_twisted
from tests.gateway.process import free_port

PACKAGE = Path(openclaw_twisted.__file__).parent

# Where "now" is a date, told to clients or kept: never the difference of two.
TELLS_DATES = {
    "http/request.py",
    "ordered_id.py",
    "service.py",
    "sessions/memory.py",
    "sessions/sqlite.py",
    "wiring.py",
}

WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}

# What twistd does with the plugin, up to the point where the reactor would begin to run.
CHILD = """
import sys, threading, time
from types import SimpleNamespace
from twisted.internet import reactor
from twisted.scripts import twistd
sys.argv = ["twistd", "-n", "--pidfile=", "openclaw-gateway", "--port", "@PORT@"]
def look():
    print("monotonic" if reactor.seconds is time.monotonic else "wall clock")
    busy = threading.Event()
    for _ in range(reactor.getThreadPool().max):
        reactor.callInThread(busy.wait)
    def end(words):
        print(words)
        busy.set()
        reactor.stop()
    late = reactor.callLater(10, end, "names wait")
    def found():
        late.cancel()
        end("names are found")
    ignored = lambda _: None
    receiver = SimpleNamespace(resolutionBegan=ignored, addressResolved=ignored, resolutionComplete=found)
    reactor.nameResolver.resolveHostName(receiver, "localhost")
reactor.callWhenRunning(look)
twistd.run()
"""


class ReactorTime(TestCase):
    timeout = 30

    def test_the_reactor_of_a_gateway_has_a_monotonic_clock(self) -> Deferred[None]:
        """And looks names up apart: a name server that does not answer holds no thread that others need."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        environ = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HOME": str(folder),
            "OPENCLAW_STATE_DIR": str(folder / "state"),
        }
        running = deferToThread(
            subprocess.run,
            [sys.executable, "-c", CHILD.replace("@PORT@", str(free_port()))],
            capture_output=True,
            text=True,
            env=environ,
            cwd=folder,
            check=False,
        )

        def look(result: subprocess.CompletedProcess[str]) -> None:
            self.assertIn(" monotonic\n", result.stdout, result.stderr)
            self.assertIn(" names are found\n", result.stdout, result.stderr)

        return running.addCallback(look)


class WallClock(SynchronousTestCase):
    def test_only_what_tells_dates_reads_it(self) -> None:
        readers = {
            str(path.relative_to(PACKAGE))
            for path in PACKAGE.rglob("*.py")
            if WALL_CLOCK.intersection(_attributes(ast.parse(path.read_text())))
        }
        self.assertEqual(readers, TELLS_DATES)

    def test_none_of_them_subtracts_it(self) -> None:
        for name in TELLS_DATES:
            tree = ast.parse((PACKAGE / name).read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.BinOp):
                    self.assertFalse(WALL_CLOCK.intersection(_attributes(node)), f"{name}:{node.lineno}")


def _attributes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"time.{name.name}" for name in node.names)
