from __future__ import annotations

import os
import sys

from twisted.trial.unittest import TestCase

from openclaw_twisted.testing.reactor import real_reactor
from tests.benchmarks.programs import BENCHMARKS, program


class Yardsticks(TestCase):
    if not hasattr(os, "sched_setaffinity"):
        skip = "the benchmarks pin processes to cores as Linux does"

    async def start(self, name: str, *arguments: str) -> int:
        command = [sys.executable, str(BENCHMARKS / name), *arguments]
        child = program("processes").Child(
            real_reactor(),
            command,
            core=min(os.sched_getaffinity(0)),
            word="\n",
            environ={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.addCleanup(child.stop)
        return int(await child.ready)

    async def test_they_answer_what_the_load_asks(self):
        upstream = await self.start("mock_upstream.py")
        for name in ("answer", "relay", "pipe"):
            port = await self.start("yardstick.py", name, str(upstream))
            tally = await self.ask(port, "plain", stream=False)
            self.assertEqual((tally.answers, tally.errors, tally.events), (6, 0, 0), name)
            if name != "answer":
                tally = await self.ask(port, "together-5", stream=True)
                self.assertEqual((tally.answers, tally.errors, tally.events), (6, 0, 6 * 9), name)

    async def ask(self, port: int, model: str, *, stream: bool):
        load = program("load")
        peer = load.Peer("127.0.0.1", port, "", model)
        request = peer.request({"messages": [], "stream": stream})
        return await load.Load(real_reactor(), peer).closed(2, 60.0, lambda _number: request, at_most=6)
