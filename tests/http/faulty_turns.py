"""Turns through a gateway whose upstream fails on purpose, and the only two ends that each may have."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import ModelSettings, ProviderSettings
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.records import SessionQuery
from openclaw_twisted.testing import FakeUpstream, Fault, FaultProxy, UpstreamCall, real_reactor, stream_of
from tests.http.door import DoorCase, data_of, text_of

__all__ = ["MODELS", "PIECES", "FaultyCase", "mixed_faults"]

PIECES = ("Hello", ",", " this", " is", " a whole", " answer", ".")
WHOLE = "".join(PIECES)
MODELS = 256
"""So many that circuits are rarely open: each model has its own, and this is about what is under them."""
REMEMBERED = Counter(Address=MODELS, RequestHead=MODELS)
"""Where a model is asked, with its key, is encoded once."""
LOOKS = 50
TURN_SECONDS = 20.0
TYPED = {"upstream_unavailable", "upstream_timeout", "upstream_overloaded", "upstream_rejected"}

HTML = b"<html><body>502 Bad Gateway</body></html>"
ERROR_HEAD = b"HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
FLOOD_BYTES = 100_000_000


def mixed_faults(seed: int, answer_bytes: int) -> Iterator[Fault]:
    """Yield faults without end, the same for the same seed; about half of them are none."""
    chance = Random(seed)  # noqa: S311 - it has to be predictable
    html = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(HTML) + HTML
    while True:
        cut = chance.randrange(1, answer_bytes)
        yield chance.choice(
            (
                *(Fault() for _ in range(9)),
                Fault(name="refused", refuse=True),
                Fault(name="closed at once", cut_after=0),
                Fault(name="never answers", cut_after=0, end="hang"),
                Fault(name="slow", slice_bytes=97, pause_seconds=0.005),
                Fault(name="byte by byte", slice_bytes=1),
                Fault(name="cut", cut_after=cut),
                Fault(name="reset", cut_after=cut, end="reset"),
                Fault(name="half-closed", cut_after=cut, end="half-close"),
                Fault(name="falls silent", cut_after=cut, end="hang"),
                Fault(name="garbage on the way", cut_after=cut, instead=chance.randbytes(200)),
                Fault(name="garbage", cut_after=0, instead=chance.randbytes(200)),
                Fault(name="HTML", cut_after=0, instead=html),
                Fault(
                    name="an error of 100 MB",
                    cut_after=0,
                    instead=ERROR_HEAD % FLOOD_BYTES,
                    flood_bytes=FLOOD_BYTES,
                ),
            )
        )


class FaultyCase(DoorCase):
    """A gateway, a proxy that breaks connections, and an upstream that always gives the same answer."""

    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.answers = 0
        self.upstream = FakeUpstream(self._answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.proxy = FaultProxy(real_reactor(), self.upstream.port)
        self.proxy.listen()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.proxy.stop()))

    def open_behind(self, faults: Iterable[Fault], *, patience_seconds: float = 1.0) -> None:
        self.proxy.faults = iter(faults)
        given = ProviderSettings(
            base_url=self.proxy.base_url,
            api_key=Secret("sk-0123456789"),
            first_byte_timeout_seconds=patience_seconds,
            idle_timeout_seconds=patience_seconds,
            models=tuple(ModelSettings(id=f"m{at}") for at in range(MODELS)),
        )
        self.configured = Configured(real_reactor(), {"mock": given})
        self.addCleanup(lambda: Deferred.fromCoroutine(self.configured.close()))
        provider = Failover(Catalog(self.configured.providers), real_reactor(), retry_seconds=0.01)
        defaults = {"model": "mock/m0", "timeoutSeconds": TURN_SECONDS}
        self.open(settings={"agents": {"defaults": defaults}}, provider=provider)

    def _answer(self, call: UpstreamCall) -> None:
        call.stream(*stream_of(*PIECES))
        call.end()
        self.answers += 1
        if self.answers % 3:  # else the connection is kept, and used again
            call.hang_up()

    async def recorded(self) -> bytes:
        """Return the bytes of a whole answer as they go over the wire."""
        self.assertEqual(await self.turn_ends(0, stream=True), "whole")
        await self.proxy.drop()
        return bytes(self.proxy.passed)

    async def turns(self, count: int, *, at_once: int) -> Counter[str]:
        """Take turns, whole and streamed, with a session and without; return how many ended how."""
        numbers = iter(range(count))
        ends: Counter[str] = Counter()

        async def work() -> None:
            for number in numbers:
                user = f"user-{number % 20}" if number % 3 == 0 else None
                ends[await self.turn_ends(number, stream=number % 2 == 0, user=user)] += 1

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(at_once)])
        return ends

    async def turn_ends(self, number: int, *, stream: bool, user: str | None = None) -> str:
        """Take one turn and return its end, having seen that it is one: `whole`, or an error's code."""
        began = real_reactor().seconds()
        headers = {"x-openclaw-model": f"mock/m{number % MODELS}"}
        more = {"user": user} if user else {}
        if stream:
            response, events = await self.stream(headers, **more)
            heard = await events.rest()
            end = self._end_of_stream(heard) if response.code == 200 else self._typed(events.refusal)
        else:
            answer = await self.chat(headers, **more)
            end = self._end_of_answer(answer)
        self.assertLess(real_reactor().seconds() - began, TURN_SECONDS + 1)
        return end

    def _end_of_stream(self, heard: Sequence[str]) -> str:
        self.assertEqual(heard[-1], "data: [DONE]")
        last = data_of(heard[-2])
        if "error" in last:
            self.assertTrue(WHOLE.startswith(text_of(list(heard[:-2]))))
            return self._typed(last["error"])
        self.assertEqual(last["choices"][0]["finish_reason"], "stop")
        self.assertEqual(text_of(list(heard)), WHOLE)
        return "whole"

    def _end_of_answer(self, answer: Any) -> str:
        if answer.status != 200:
            return self._typed(answer.error)
        choice = answer.json["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), (WHOLE, "stop"))
        return "whole"

    def _typed(self, error: Any) -> str:
        self.assertIn(error["code"], TYPED, error)
        return str(error["code"])

    async def assert_told_true(self) -> None:
        """See that no half of an answer is kept as an answer."""
        store = self.door.runs.store
        interrupted = 0
        for session in (await store.sessions(SessionQuery(limit=10_000))).rows:
            for row in await store.history(session.session_key, 100_000):
                if row.message.role == "assistant":
                    interrupted += row.interrupted
                    kept = str(row.message.content)
                    self.assertTrue(WHOLE.startswith(kept) if row.interrupted else kept == WHOLE, row)
        self.assertGreater(interrupted, 0)

    async def assert_nothing_is_left(self, before: Counter[str]) -> None:
        """See that every connection, timer and object of what has been is gone."""
        self.assertEqual(self.door.runs.runner.active(), ())
        await self.configured.close()
        await self.until(lambda: not self.proxy.open and not self.upstream.open)
        await self.until(lambda: not self.door.connections)
        left = count_ours() - before - REMEMBERED
        for _ in range(LOOKS):  # the clients are here, too, and hear of the end of their connections later
            if not left:
                break
            await self.turn()
            left = count_ours() - before - REMEMBERED
        self.assertEqual(left, Counter())


def count_ours() -> Counter[str]:
    """Count what a turn is made of: our own objects, Deferreds, sockets and timers."""
    gc.collect()
    reactor = real_reactor()
    counted = Counter(
        type(each).__name__
        for each in gc.get_objects()
        if str(type(each).__module__).startswith(PARTS) or (type(each) is Deferred and not _is_trials(each))
    )
    timers = [call for call in reactor.getDelayedCalls() if "openclaw" in repr(call)]
    counted.update(timers=len(timers), sockets=len(reactor.getReaders()) + len(reactor.getWriters()))
    return counted


def _is_trials(deferred: Any) -> bool:
    """Tell whether a process of `trial -j` waits for the one that runs it, as for each line of its log."""
    return any(waiting.__module__ == "twisted.protocols.amp" for (waiting, *_), _ in deferred.callbacks[:1])


PARTS = (
    "openclaw_twisted.http.connection",
    "openclaw_twisted.http.patience",
    "openclaw_twisted.http.request",
    "openclaw_twisted.http.stream",
    "openclaw_twisted.http.outflow",
    "openclaw_twisted.providers.http_exchange",
    "openclaw_twisted.providers.openai_completions",
    "openclaw_twisted.providers.upstream",
    "openclaw_twisted.runs.feed",
    "openclaw_twisted.runs.runner",
    "openclaw_twisted.sse",
    "openclaw_twisted.testing.fault_proxy",
)
