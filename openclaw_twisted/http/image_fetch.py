"""Images that a request gives by address: fetched before the run, from public hosts and nowhere else.

Whoever may send a request makes this machine connect to where they say (SSRF). So:

1. an address is read strictly, its host is in `urlAllowlist` if there is one, its port is a web server's;
2. its name is looked up once, and every IP address found has to be public;
3. the connection goes to one of exactly those; Host, SNI and the check of the certificate keep the name;
4. a redirect is a new address, which starts at 1; it never leads from https to http;
5. nothing goes out but a GET: no cookie, no credential, no header of the caller's request;
6. time, bytes and redirects are limited, and no connection outlives its answer.

What comes back is an image by its own bytes; what the host calls it does not matter. Whatever goes wrong
is the caller's to change: an `InvalidRequestError` that names the host and no more of the address.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IHostnameResolver
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    BrowserLikePolicyForHTTPS,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IPolicyForHTTPS, IResponse

from openclaw_twisted import __version__
from openclaw_twisted.content import ImagePart, Message
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.image_url import HostList, WebAddress
from openclaw_twisted.http.image_wire import Body, Wire, look_up
from openclaw_twisted.http.parts import (
    ContentLimits,
    Draft,
    ImageLink,
    images_in,
    known_size,
)
from openclaw_twisted.http.public_addresses import AddressPolicy, IPAddress, is_public

__all__ = ["ImageFetcher"]

FETCHES_AT_ONCE = 4
FIRST_FREE_PORT = 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "accept": ["image/*"],
    "accept-encoding": ["identity"],
    "user-agent": [f"openclaw-twisted/{__version__}"],
}


class ImageFetcher:
    """Fetches the images that requests give by address, within `limits`.

    `may_connect` tells which IP addresses may be connected to, `resolver` looks names up (the reactor's
    does unless one is given), `tls` decides which certificates are believed (those this machine trusts).
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        limits: ContentLimits,
        *,
        may_connect: AddressPolicy = is_public,
        resolver: IHostnameResolver | None = None,
        tls: IPolicyForHTTPS | None = None,
    ) -> None:
        """Raise `ConfigError` when `urlAllowlist` holds what is no host name."""
        self._reactor = reactor
        self.limits = limits
        self._may_connect = may_connect
        self._resolver = resolver
        self._tls = tls if tls is not None else BrowserLikePolicyForHTTPS()
        self._listed = HostList(f"{limits.key}.urlAllowlist", limits.images.url_allowlist)

    async def resolve(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages with every image in its place.

        Raises `InvalidRequestError` for the first image that cannot be had, or when the images are too
        large together. Cancelling closes the connections.
        """
        images = images_in(messages)
        links: dict[WebAddress, ImageLink] = {}
        for image in images:
            if isinstance(image, ImageLink):
                links.setdefault(image.address, image)
        allowance = _Allowance(self.limits, sum(map(known_size, images)))
        fetched = await self._fetch_all(links, allowance)
        complete = tuple(
            message.completed(fetched) if isinstance(message, Draft) else message for message in messages
        )
        self.limits.check_total(complete)  # what is there twice was fetched once
        return complete

    async def _fetch_all(
        self, links: Mapping[WebAddress, ImageLink], allowance: _Allowance
    ) -> dict[WebAddress, ImagePart]:
        fetched: dict[WebAddress, ImagePart] = {}
        waiting = iter(links.values())

        async def fetch_one_after_the_other() -> None:
            for link in waiting:  # all of these loops take from the same
                fetched[link.address] = await self._fetch_in_time(link, allowance)

        at_once = min(len(links), FETCHES_AT_ONCE)
        fetching = [Deferred.fromCoroutine(fetch_one_after_the_other()) for _ in range(at_once)]
        try:
            await gatherResults(fetching, consumeErrors=True)
        except FirstError as first:
            for other in fetching:
                other.cancel()
            first.subFailure.raiseException()
        return fetched

    def _fetch_in_time(self, link: ImageLink, allowance: _Allowance) -> Deferred[ImagePart]:
        seconds = self.limits.images.timeout_ms / 1000

        def give_up(_result: ImagePart | Failure, _seconds: float) -> ImagePart | Failure:
            raise _trouble(link.address, f"took longer than {seconds:g} s.", param=link.param)

        fetching = Deferred.fromCoroutine(self._fetch(link, allowance))
        return fetching.addTimeout(seconds, self._reactor, give_up)

    async def _fetch(self, link: ImageLink, allowance: _Allowance) -> ImagePart:
        try:
            data = await self._follow(link.address, allowance)
        except InvalidRequestError as error:
            error.param = error.param or link.param
            raise
        media_type = self.limits.media_type(data, link.param)
        return ImagePart(media_type, b2a_base64(data, newline=False).decode("ascii"))

    async def _follow(self, first: WebAddress, allowance: _Allowance) -> bytes:
        """Return what is at the address, or where its redirects lead."""
        address = first
        most = self.limits.images.max_redirects
        for _ in range(most + 1):
            found = await self._get(address, allowance)
            if isinstance(found, bytes):
                return found
            address = found
        raise _trouble(first, f"redirects more than {most} times.")

    async def _get(self, address: WebAddress, allowance: _Allowance) -> bytes | WebAddress:
        """Return what is at the address, or the address that it redirects to."""
        wire = Wire(self._reactor, await self._allowed_addresses(address), address.port)
        try:
            response = await wire.get(address, Headers({**_HEADERS, "host": [address.authority]}), self._tls)
            if response.code in _REDIRECTS:
                return _redirected(response, address)
            return await self._receive(response, address, allowance)
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed) as error:
            reason = _innermost(error)
            if isinstance(reason, CancelledError):
                raise reason from None
            raise _trouble(address, _told(reason)) from None
        finally:
            wire.abort()

    async def _allowed_addresses(self, address: WebAddress) -> tuple[IPAddress, ...]:
        listed = self._listed
        if listed and address.host not in listed:
            raise _trouble(address, f"is not in {listed.key}.")
        if not address.on_default_port and not (listed and address.port >= FIRST_FREE_PORT):
            raise _trouble(
                address,
                f"is asked at ports 80 and 443 only; from {FIRST_FREE_PORT} on if {listed.key} names it.",
            )
        resolver = self._resolver if self._resolver is not None else self._reactor.nameResolver
        found = await look_up(resolver, address)
        if not found or not all(map(self._may_connect, found)):
            self._log.warn("no image is fetched from {host}: it has no public address", host=address.host)
            raise _trouble(address, "has no public address.")
        return found

    async def _receive(self, response: IResponse, address: WebAddress, allowance: _Allowance) -> bytes:
        """Return the body of an answer that promises to be an image within the limits."""
        if response.code != HTTPStatus.OK:
            raise _trouble(address, f"answered with status {response.code}.")
        codings = response.headers.getRawHeaders(b"content-encoding", [])
        if any(coding.strip().lower() != b"identity" for coding in codings):
            raise _trouble(address, "sent the image compressed, though asked not to.")
        most = self.limits.images.max_bytes
        size = 0

        def charge(more: int) -> None:
            nonlocal size
            size += more
            if size > most:
                raise InvalidRequestError(f"The image exceeds {most} bytes.")
            allowance.charge(more)

        if response.length is not UNKNOWN_LENGTH and response.length > most:
            charge(response.length)
        body = Body(charge)
        response.deliverBody(body)
        return await body.whole


class _Allowance:
    """How many bytes the images of one request may still have."""

    def __init__(self, limits: ContentLimits, used_bytes: int) -> None:
        self._limits = limits
        self._left_bytes = limits.max_total_bytes - used_bytes

    def charge(self, size: int) -> None:
        """Take `size` bytes off; raises `InvalidRequestError` when there are not so many left."""
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise self._limits.total_exceeded()


def _redirected(response: IResponse, address: WebAddress) -> WebAddress:
    locations = response.headers.getRawHeaders(b"location", [])
    target = address.follow(locations[0].decode("utf-8", "replace")) if len(locations) == 1 else None
    if target is None:
        raise _trouble(address, "redirects to what cannot be read as an address.")
    if address.scheme == "https" and target.scheme == "http":
        raise _trouble(address, "redirects from https to http.")
    return target


def _trouble(address: WebAddress, what: str, *, param: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(
        f"The image host {address.host} {what} Send the image as a data: URI, or correct its address.",
        param=param,
    )


def _told(reason: BaseException) -> str:
    if isinstance(reason, ConnectError):
        return "cannot be reached."
    if isinstance(reason, TLSError | VerificationError):
        return "has no certificate that can be trusted."
    if isinstance(reason, ConnectionClosed):
        return "hung up before the image was complete."
    return "did not answer as a web server does."


def _innermost(error: BaseException) -> BaseException:
    """Return the first reason that Twisted's wrappers (`.reasons`) hold inside."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error
