"""Calls to upstream APIs: post, stream the answer at the reader's pace, time out, cancel.

This is the only module that uses treq. Three habits of treq and Agent are undone here: bodies are read
through `Body`, not collected (a cancelled `collect` goes on reading, so tokens are paid for to the
end); redirects are not followed and cookies not kept, so that a credential never leaves the
origin it was configured for; and a request that got no byte of an answer is tried once more, because
a pooled connection that the server has just closed fails exactly like that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import treq.client
import treq.cookies
from hyperlink import EncodedURL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionLost,
    DNSLookupError,
    SSLError,
)
from twisted.internet.error import (
    TimeoutError as ConnectTimeoutError,
)
from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.providers.http_agent import HttpAgent, Ways
from openclaw_twisted.providers.transport import FindProxy
from openclaw_twisted.providers.tunnel import TunnelRefusedError

__all__ = ["Answer", "Body", "Sender", "Timeouts", "Upstream", "make_agent"]

HIGH_WATER_BYTES = 16 * 1024
MAX_PERSISTENT_PER_HOST = 100
# Shorter than what common servers keep an idle connection open, so that we close first.
CACHED_CONNECTION_SECONDS = 50
DRAIN_SECONDS = 1.0
TRIES = 2

_HEADERS = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
_UNREACHABLE = (ConnectError, DNSLookupError, SSLError)


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long an upstream may be silent, in seconds: while connecting, before its first byte, after it."""

    connect_seconds: float = 10.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 120.0


@implementer(IBodyProducer)
class _OneWrite:
    """A request body that is written whole at once, with no cooperator in between."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None: ...  # noqa: N802

    def resumeProducing(self) -> None: ...  # noqa: N802

    def stopProducing(self) -> None: ...  # noqa: N802


class Body(TwistedProtocol):
    """An answer's body as bytes to ask for; nobody asking is what stops the socket from being read.

    The silence limit counts only while somebody waits: a slow reader of ours is not a slow upstream.
    """

    transport: Any

    def __init__(self, clock: IReactorTime, timeouts: Timeouts, *, name: str, sent_at: float) -> None:
        self._clock = clock
        self._timeouts = timeouts
        self._name = name
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._waiter: Deferred[bytes] | None = None
        self._ended: Failure | None = None
        self._began = False
        self._discard = False
        self._draining = False
        self._quiet_since = sent_at
        self._timer: IDelayedCall | None = None
        self._watcher: Callable[[UpstreamError | None], object] | None = None

    def read(self) -> Deferred[bytes]:
        """Return all that has arrived, or wait for more; `b""` is the end.

        Fails with `UpstreamError` when the connection broke, `UpstreamTimeoutError` when the
        upstream was silent too long. Cancelling closes the connection.
        """
        if self._chunks:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self._held = 0
            self._resume()
            return succeed(data)
        waiter: Deferred[bytes] = Deferred(self._cancelled)
        self._waiter = waiter
        if self._ended is not None:
            self._conclude(self._ended)
        else:
            if self._began:
                self._quiet_since = self._clock.seconds()
            self._arm()
        return waiter

    def close(self) -> None:
        """Close the connection now, unless it is being drained: nobody wants the rest."""
        if not self._draining:
            self._abort()

    def drain(self) -> None:
        """Let the rest arrive (nothing is expected) so that the connection can be used again."""
        if self._ended is None:
            self._draining = self._discard = True
            self._resume()
            self._disarm()
            self._timer = self._clock.callLater(DRAIN_SECONDS, self._abort)

    def watch(self, watcher: Callable[[UpstreamError | None], object]) -> None:
        """Tell `watcher`, once, how the body ended: with an error, or well; nothing if we close it."""
        self._watcher = watcher
        if self._ended is not None:
            self._tell(self._ended)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the connection."""
        if self._discard:
            return
        if not self._began:
            self._began = True
            self._disarm()  # the next wait has another limit
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(data)
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held >= HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Note the end of the body, good or bad."""
        self._disarm()
        self._ended = reason
        self._tell(reason)
        if self._waiter is not None:
            self._conclude(reason)

    def _tell(self, reason: Failure) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher(None if _is_good_end(reason) else self._broken_off())

    def _broken_off(self) -> UpstreamError:
        return UpstreamError(f"{self._name} broke off in the middle of its answer. Try again.")

    def _abort(self) -> None:
        self._watcher = None
        self._disarm()
        self._chunks.clear()
        self._discard = True
        if self._ended is None:
            self.transport.stopProducing()

    def _conclude(self, reason: Failure) -> None:
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        if _is_good_end(reason):
            waiter.callback(b"")
        else:
            waiter.errback(self._broken_off())

    def _cancelled(self, _waiter: Deferred[bytes]) -> None:
        self._waiter = None
        self.close()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._ended is None:
                self.transport.resumeProducing()

    def _arm(self) -> None:
        # One timer for the whole body: it looks, when it fires, how long the silence really was.
        if self._timer is None:
            left = self._quiet_since + self._limit() - self._clock.seconds()
            self._timer = self._clock.callLater(max(left, 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._quiet_since + self._limit() > self._clock.seconds():
            self._arm()
            return
        waiter, self._waiter = self._waiter, None
        error = UpstreamTimeoutError(f"{self._name} was silent for {self._limit():g} s. Try again.")
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher(error)
        self.close()
        waiter.errback(error)

    def _limit(self) -> float:
        return self._timeouts.idle_seconds if self._began else self._timeouts.first_byte_seconds

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _is_good_end(reason: Failure) -> bool:
    return reason.check(ResponseDone, PotentialDataLoss) is not None


class Answer:
    """An upstream's answer: the status, the headers, and the body still on its way.

    `secrets` are the values of the headers that the request carried: texts not to be passed on.
    """

    def __init__(self, response: IResponse, body: Body, *, secrets: tuple[str, ...] = ()) -> None:
        self.status: int = response.code
        self._headers: Headers = response.headers
        self.body = body
        self.secrets = secrets

    def header(self, name: str) -> str | None:
        """Return the last value of a header, or None."""
        values = self._headers.getRawHeaders(name)
        return values[-1] if values else None

    async def read_at_most(self, limit_bytes: int) -> bytes:
        """Return the body's first `limit_bytes`; the connection is closed if there is more."""
        data = b""
        while len(data) < limit_bytes:
            more = await self.body.read()
            if not more:
                return data
            data += more
        self.body.close()
        return data[:limit_bytes]


def make_agent(
    reactor: Any,
    timeouts: Timeouts,
    *,
    persistent: bool = True,
    policy: IPolicyForHTTPS | None = None,
    find_proxy: FindProxy | None = None,
) -> HttpAgent:
    """Return an agent; whoever calls closes it. `policy` is whom TLS trusts, `find_proxy` the way out."""
    return HttpAgent(
        reactor,
        Ways(reactor, connect_seconds=timeouts.connect_seconds, policy=policy, find_proxy=find_proxy),
        keep_at_most=MAX_PERSISTENT_PER_HOST if persistent else 0,
        keep_seconds=CACHED_CONNECTION_SECONDS,
    )


class Sender(Protocol):
    """What a wire codec asks through: an upstream, or one with its keys."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` as JSON; see `Upstream.post`."""
        ...


class _NoCookies(treq.cookies.IndexableCookieJar):
    """Keeps no cookies and sends none, without looking for them first."""

    def add_cookie_header(self, request: object) -> None: ...

    def extract_cookies(self, response: object, request: object) -> None: ...


class _Address(EncodedURL):
    """A URL whose encoding, with IDNA and all, is worked out once and not for each request."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        url = EncodedURL.from_text(text).to_uri()
        super().__init__(url.scheme, url.host, url.path, url.query, url.fragment, url.port, url.rooted)
        self._text = url.to_text()

    def to_uri(self) -> EncodedURL:
        """Return the address itself: it is encoded."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """Return the URL."""
        return self._text


class Upstream:
    """One upstream origin: where it is, what it is called in messages, and how patient we are with it."""

    def __init__(self, clock: IReactorTime, agent: IAgent, *, name: str, timeouts: Timeouts) -> None:
        self._client = treq.client.HTTPClient(agent, cookiejar=_NoCookies())
        self._addresses: dict[str, _Address] = {}
        self._clock = clock
        self._name = name
        self._timeouts = timeouts

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` as JSON and return the answer as soon as its headers are here.

        Raises `UpstreamError` when the upstream cannot be reached or hangs up, `UpstreamTimeoutError`
        when it does not answer in time. Cancelling closes the connection.
        """
        for tries_left in reversed(range(TRIES)):
            sent_at = self._clock.seconds()
            try:
                response = await self._send(url, headers, body)
            except ResponseNeverReceived as error:
                reason = _innermost(error)
                if isinstance(reason, CancelledError):
                    raise reason from None
                if tries_left and isinstance(reason, ConnectionClosed):
                    continue
                raise self._unreachable(reason) from None
            except ConnectingCancelledError:
                raise CancelledError from None
            except (*_UNREACHABLE, ResponseFailed) as error:
                raise self._unreachable(_innermost(error)) from None
            answer_body = Body(self._clock, self._timeouts, name=self._name, sent_at=sent_at)
            response.deliverBody(answer_body)
            return Answer(response, answer_body, secrets=tuple(headers.values()))
        raise AssertionError("the last try either returns or raises")

    def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> Deferred[IResponse]:
        timed_out = False

        def give_up() -> None:
            nonlocal timed_out
            timed_out = True
            sending.cancel()

        def settle(result: IResponse | Failure) -> IResponse | Failure:
            if timer.active():
                timer.cancel()
            if timed_out and isinstance(result, Failure):
                limit = self._timeouts.first_byte_seconds
                return Failure(
                    UpstreamTimeoutError(f"{self._name} did not answer within {limit:g} s. Try again.")
                )
            return result

        address = self._addresses.get(url)
        if address is None:
            address = self._addresses[url] = _Address(url)
        sending: Deferred[Any] = self._client.post(
            address,
            headers=Headers({key: [value] for key, value in {**_HEADERS, **headers}.items()}),
            data=_OneWrite(body),
            allow_redirects=False,
            unbuffered=True,
        )
        timer = self._clock.callLater(self._timeouts.first_byte_seconds, give_up)
        return sending.addBoth(settle)

    def _unreachable(self, reason: BaseException) -> UpstreamError:
        if isinstance(reason, ConnectTimeoutError):
            return UpstreamTimeoutError(f"{self._name} could not be reached in time. Check its address.")
        if isinstance(reason, TunnelRefusedError):
            key = f"models.providers.{self._name}.request.proxy"
            return UpstreamError(f"{self._name} cannot be reached: {reason.why}. Check {key}.")
        if isinstance(reason, ConnectionLost | ConnectionClosed):
            return UpstreamError(f"{self._name} hung up before it answered. Try again.")
        return UpstreamError(f"{self._name} cannot be reached ({type(reason).__name__}). Check its address.")


def _innermost(error: BaseException) -> BaseException:
    """Return the first reason that Twisted's wrappers (`.reasons`) hold inside."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


_fits: type[Sender] = Upstream
