"""The reactor: what Twisted's own tests demand of one holds for it, and who gets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.test import (
    test_core,
    test_fdset,
    test_process,
    test_tcp,
    test_threads,
    test_time,
    test_tls,
    test_unix,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.process import environment

GATEWAY_REACTOR = "openclaw_twisted.reactor.GatewayReactor"

# What twistd does until the reactor would begin to run.
CHILD = """
import sys
from twisted.scripts.twistd import ServerOptions
options = ServerOptions()
options.parseOptions(["-n", "--pidfile=", *sys.argv[1:], "openclaw-gateway"])
options.loadedPlugins[options.subCommand].makeService(options.subOptions)
from twisted.internet import reactor
print(type(reactor).__name__)
"""


class Choice(SynchronousTestCase):
    skip = None if sys.platform == "linux" else "there is no epoll"

    def chosen(self, *options: str) -> str:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        child = subprocess.run(
            [sys.executable, "-c", CHILD, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment(folder),
        )
        self.assertEqual(child.returncode, 0, child.stderr)
        return child.stdout.strip()

    def test_it_is_taken_where_nobody_chooses(self) -> None:
        self.assertEqual(self.chosen(), "GatewayReactor")

    def test_who_chooses_gets_what_they_chose(self) -> None:
        self.assertEqual(self.chosen("--reactor=select"), "SelectReactor")


def differs(mixin: Any) -> Any:
    """Return Twisted's tests of a transport, of which one does not hold: its prefix is in no context."""

    def test_logPrefix(self: Any) -> None:
        self.assertRaises(self.failureException, mixin.test_logPrefix, self)

    return type(mixin.__name__, (mixin,), {"test_logPrefix": test_logPrefix})


def without(test: str, builder: Any) -> Any:
    """Return a class of Twisted's tests that lacks one."""
    return type(
        builder.__name__, builder.__bases__, {name: it for name, it in vars(builder).items() if name != test}
    )


# Run by root it needs a Python that everybody may read.
PROCESSES = without("test_changeUID", test_process.ProcessTestsBuilderBase)

BUILDERS: list[Any] = [
    test_core.SystemEventTestsBuilder,
    # Twisted skips it for its own epoll reactor, by the name: epoll does not tell of replaced descriptors.
    without("test_lostFileDescriptor", test_fdset.ReactorFDSetTestsBuilder),
    type("ProcessTests", (PROCESSES,), dict(vars(test_process.ProcessTestsBuilder))),
    test_tcp.AbortConnectionTests,
    differs(test_tcp.TCP4ClientTestsBuilder),
    test_tcp.TCPConnectionTestsBuilder,
    test_tcp.TCPPortTestsBuilder,
    test_threads.ThreadTestsBuilder,
    test_time.TimeTestsBuilder,
    test_tls.TLSPortTestsBuilder,
    differs(test_unix.UNIXTestsBuilder),
]

for _builder in BUILDERS:
    _ours: Any = type(
        _builder.__name__, (_builder,), {"_reactors": [GATEWAY_REACTOR], "__module__": __name__}
    )
    globals().update(_ours.makeTestCaseClasses())
