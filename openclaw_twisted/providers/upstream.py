"""Calls to upstream APIs: post, stream the answer at the reader's pace, time out, cancel.

This is the only module that uses treq. Two habits of treq are undone here: bodies are read through `Body`,
not collected (a cancelled `collect` goes on reading, so tokens are paid for to the end); and redirects are
not followed and cookies not kept, so that a credential never leaves the origin it was configured for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from http.cookiejar import Cookie
from typing import Any, Protocol

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
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.providers.answer import Answer, Body, Timeouts
from openclaw_twisted.providers.http_agent import HttpAgent, Ways
from openclaw_twisted.providers.transport import FindProxy
from openclaw_twisted.providers.tunnel import TunnelRefusedError

__all__ = ["Sender", "Upstream", "make_agent"]

MAX_PERSISTENT_PER_HOST = 100
# Shorter than what common servers keep an idle connection open, so that we close first.
CACHED_CONNECTION_SECONDS = 50

_HEADERS = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
# They are the same for all requests with one key, and treq copies them for each.
REMEMBERED_HEADERS = 64
_UNREACHABLE = (ConnectError, DNSLookupError, SSLError)


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

    def __iter__(self) -> Iterator[Cookie]:
        return iter(())

    def add_cookie_header(self, request: object) -> None: ...

    def extract_cookies(self, response: object, request: object) -> None: ...


_NO_COOKIES = _NoCookies()


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
        self._client = treq.client.HTTPClient(agent, cookiejar=_NO_COOKIES)
        self._addresses: dict[str, _Address] = {}
        self._headers = lru_cache(maxsize=REMEMBERED_HEADERS)(_headers)
        self._clock = clock
        self._name = name
        self._timeouts = timeouts

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` as JSON and return the answer as soon as its headers are here.

        Raises `UpstreamError` when the upstream cannot be reached or hangs up, `UpstreamTimeoutError`
        when it does not answer in time. Cancelling closes the connection.
        """
        sent_at = self._clock.seconds()
        try:
            response = await self._send(url, headers, body)
        except ConnectingCancelledError:
            raise CancelledError from None
        except (*_UNREACHABLE, ResponseNeverReceived, ResponseFailed) as error:
            reason = _innermost(error)
            if isinstance(reason, CancelledError):
                raise reason from None
            raise self._unreachable(reason) from None
        answer_body = Body(self._clock, self._timeouts, name=self._name, sent_at=sent_at)
        response.deliverBody(answer_body)
        return Answer(response, answer_body, secrets=tuple(headers.values()))

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
            headers=self._headers(tuple(headers.items())),
            data=_OneWrite(body),
            cookies=_NO_COOKIES,  # else treq makes a jar for each request
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


def _headers(given: tuple[tuple[str, str], ...]) -> Headers:
    return Headers({name: [value] for name, value in {**_HEADERS, **dict(given)}.items()})


def _innermost(error: BaseException) -> BaseException:
    """Return the first reason that Twisted's wrappers (`.reasons`) hold inside."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


_fits: type[Sender] = Upstream
