"""Calls to upstream APIs: post, stream the answer at the reader's pace, time out, cancel.

A redirect is an answer like any other and no cookie is kept, so a credential never leaves the origin that it
was configured for. Answers are asked for uncompressed: what is compressed together does not come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from hyperlink import EncodedURL
from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
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
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS

from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.providers.answer import Answer, Body, Timeouts
from openclaw_twisted.providers.gzipped import Unzipping
from openclaw_twisted.providers.http_agent import HttpAgent, Ways
from openclaw_twisted.providers.http_exchange import HttpResponse, RequestHead
from openclaw_twisted.providers.transport import FindProxy
from openclaw_twisted.providers.tunnel import TunnelRefusedError

__all__ = ["Address", "Sender", "Upstream", "make_agent"]

MAX_PERSISTENT_PER_HOST = 100
# Shorter than what common servers keep an idle connection open, so that we close first.
CACHED_CONNECTION_SECONDS = 50

_HEADERS = {
    "content-type": "application/json",
    "accept": "text/event-stream, application/json",
    "accept-encoding": "identity",
}
_AS_IT_IS = {
    "",
    "identity",
    "none",
}  # the last is no coding, but what keeps proxies of Node's from compressing
_GZIP = {"gzip", "x-gzip"}
_UNREACHABLE = (ConnectError, DNSLookupError, SSLError)


@dataclass(frozen=True, eq=False)
class Address:
    """Where requests go, and the headers that all of them carry; encoded once, so keep it."""

    url: str
    headers: Mapping[str, str]

    def carrying(self, headers: Mapping[str, str]) -> Address:
        """Return the same with more headers, which come before those that it has."""
        return Address(self.url, {**self.headers, **headers})

    @cached_property
    def head(self) -> RequestHead:
        """What a request to it begins with."""
        url = self.url
        if not url.isascii():  # what is has names that this would refuse: addresses of IPv6, and with `_`
            url = EncodedURL.from_text(url).to_uri().to_text()
        headers = Headers({name: [value] for name, value in {**_HEADERS, **self.headers}.items()})
        return RequestHead(b"POST", url.encode("ascii"), headers)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The values of the headers: texts not to be passed on."""
        return tuple(self.headers.values())


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

    async def post(self, address: Address, body: bytes) -> Answer:
        """Send `body` as JSON; see `Upstream.post`."""
        ...


class Upstream:
    """One upstream origin: where it is, what it is called in messages, and how patient we are with it."""

    def __init__(self, clock: IReactorTime, agent: HttpAgent, *, name: str, timeouts: Timeouts) -> None:
        self._agent = agent
        self._clock = clock
        self._name = name
        self._timeouts = timeouts

    async def post(self, address: Address, body: bytes) -> Answer:
        """Send `body` as JSON and return the answer as soon as its headers are here.

        Raises `UpstreamError` when the upstream cannot be reached or hangs up, `UpstreamTimeoutError`
        when it does not answer in time. Cancelling closes the connection.
        """
        answer_body = Body(self._clock, self._timeouts, name=self._name, sent_at=self._clock.seconds())
        try:
            response = await answer_body.expect(self._agent.send(address.head, body))
        except ConnectingCancelledError:
            raise CancelledError from None
        except (*_UNREACHABLE, ResponseNeverReceived, ResponseFailed) as error:
            reason = _innermost(error)
            if isinstance(reason, CancelledError):
                raise reason from None
            raise self._unreachable(reason) from None
        except ValueError as error:  # a name that TLS cannot check, for one
            raise self._unreachable(error) from None
        self._deliver(response, answer_body)
        return Answer(response, answer_body, secrets=address.secrets)

    def _deliver(self, response: HttpResponse, body: Body) -> None:
        coding = response.header(b"content-encoding")
        if coding is None or coding.lower() in _AS_IT_IS:
            response.deliverBody(body)
        elif coding.lower() in _GZIP:
            response.deliverBody(Unzipping(body))
        else:
            response.deliverBody(body)
            body.close()
            raise UpstreamError(
                f"{self._name} compressed its answer in a way that it was not asked for ({coding[:30]})."
            )

    def _unreachable(self, reason: BaseException) -> UpstreamError:
        if isinstance(reason, ConnectTimeoutError):
            return UpstreamTimeoutError(f"{self._name} could not be reached in time. Check its address.")
        if isinstance(reason, TunnelRefusedError):
            key = f"models.providers.{self._name}.request.proxy"
            return UpstreamError(f"{self._name} cannot be reached: {reason.why}. Check {key}.")
        if isinstance(reason, TlsError | VerificationError):
            key = f"models.providers.{self._name}.request.tls"
            return UpstreamError(
                f"TLS with {self._name} failed: {_distrust(reason)}. Check its baseUrl and {key}."
            )
        if isinstance(reason, ConnectionLost | ConnectionClosed):
            return UpstreamError(f"{self._name} hung up before it answered. Try again.")
        return UpstreamError(f"{self._name} cannot be reached ({type(reason).__name__}). Check its address.")


def _innermost(error: BaseException) -> BaseException:
    """Return the first reason that Twisted's wrappers (`.reasons`) hold inside."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def _distrust(reason: BaseException) -> str:
    if isinstance(reason, VerificationError):
        return "its certificate is for another name"
    told = reason.args[0] if reason.args else None  # a list of (library, function, reason)
    return ", ".join(words[-1] for words in told) if told and isinstance(told, list) else "it broke off"


_fits: type[Sender] = Upstream
