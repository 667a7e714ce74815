"""Asking an upstream with one of several keys: which one, and which are left alone for now.

A key stays in use as long as it works, as providers cache the beginnings of prompts for each account:
taking turns would pay for each of them once per key. It is left for the next one when

- it is rate limited (429): it rests, for this model alone, as long as the answer said;
- it is refused (401, or 402 or 403 three times in a row, as some say these of a prompt or a model): it is
  benched for all models, until one call finds that it works again;
- it leads to trouble five times in a row (5xx, silence, an answer that breaks off): the same, for this model
  alone, and the other keys are probed before they are trusted with more than one request. No connection at
  all counts against every key, as none was looked at.

A key that was refused or rate limited costs the caller nothing while another one is ready: the request is
sent at once with that one, which is no retry of what is broken, so it needs no pause. When no key is ready,
the request fails before it is sent.

Keys are bound to the origin (scheme, host, port) they were configured for: `post` to any other sends
nothing. They are told apart by their position; their text is never logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from openclaw_twisted.errors import (
    InternalError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamTimeoutError,
)
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.circuit import Circuit
from openclaw_twisted.providers.upstream import Address, Sender

__all__ = ["Access", "Credential", "Outcome", "Standing", "origin_of"]

FAILURES_IN_A_ROW = 5
FAILURE_PAUSE_SECONDS = 5.0
REFUSALS_IN_A_ROW = 3
REFUSAL_PAUSE_SECONDS = 30.0
BUDGET_SECONDS = 5.0

Outcome = Literal[
    "answered", "rejected", "rate_limited", "refused", "failed", "timed_out", "unreachable", "cancelled"
]
"""How one attempt went, as far as the first line of its answer tells."""

Standing = Literal["ready", "resting", "failing", "refused"]
"""Whether a key may be used for a model, and if not, why."""

_NEXT_KEY: tuple[Outcome, ...] = ("rate_limited", "refused")
_OUTCOMES: Mapping[int, Outcome] = {
    int(HTTPStatus.OK): "answered",
    int(HTTPStatus.UNAUTHORIZED): "refused",
    int(HTTPStatus.PAYMENT_REQUIRED): "refused",
    int(HTTPStatus.FORBIDDEN): "refused",
    int(HTTPStatus.REQUEST_TIMEOUT): "timed_out",
    int(HTTPStatus.TOO_MANY_REQUESTS): "rate_limited",
    int(HTTPStatus.GATEWAY_TIMEOUT): "timed_out",
}


class Credential:
    """One key of a provider at one origin, as the headers that carry it; `position` counts from 1."""

    __slots__ = ("circuit", "headers", "position")

    def __init__(self, position: int, headers: Mapping[str, str], *, seconds: Callable[[], float]) -> None:
        self.position = position
        self.headers = headers
        self.circuit = Circuit(seconds, limit=REFUSALS_IN_A_ROW, pause_seconds=REFUSAL_PAUSE_SECONDS)


class _Key:
    """A credential, and how it does with one model."""

    __slots__ = ("_asked", "_asked_with_key", "circuit", "credential")

    def __init__(self, credential: Credential, *, seconds: Callable[[], float]) -> None:
        self.credential = credential
        self._asked: Address | None = None
        self.circuit = Circuit(seconds, limit=FAILURES_IN_A_ROW, pause_seconds=FAILURE_PAUSE_SECONDS)

    def to(self, address: Address) -> Address:
        """Return `address` with the key; a model is asked at one, so that is remembered."""
        if address is not self._asked:
            self._asked_with_key = address.carrying(self.credential.headers)
            self._asked = address
        return self._asked_with_key

    def ready(self) -> bool:
        return self.circuit.ready() and self.credential.circuit.ready()

    def wait_seconds(self) -> float:
        return max(self.circuit.wait_seconds(), self.credential.circuit.wait_seconds())

    def standing(self) -> Standing:
        if self.credential.circuit.state != "closed":
            return "refused"
        state = self.circuit.state
        return "ready" if state == "closed" else "resting" if state == "resting" else "failing"


class Access:
    """The way to one model: `name` is its provider's, `base_url` says where the keys may be sent.

    `observe` hears how each attempt went.
    """

    _log = Logger()

    def __init__(  # noqa: PLR0913 - what a way is made of
        self,
        upstream: Sender,
        credentials: Sequence[Credential],
        *,
        name: str,
        base_url: str,
        clock: IReactorTime,
        observe: Callable[[Outcome], object] = lambda _outcome: None,
    ) -> None:
        self._upstream = upstream
        self._name = name
        self._inside = f"{origin_of(base_url)}/"
        self._seconds = clock.seconds
        self._keys = tuple(_Key(credential, seconds=clock.seconds) for credential in credentials)
        self._current = 0
        self._observe = observe

    def check(self) -> None:
        """Raise why nothing can be asked just now, if that is so."""
        for key in self._keys:
            if key.ready():
                return
        raise self._none_ready()

    def standings(self) -> tuple[Standing, ...]:
        """Return how each key stands."""
        return tuple(key.standing() for key in self._keys)

    async def post(self, address: Address, body: bytes) -> Answer:
        """Send `body` with a key that is ready; a refusal is returned only when it is the last key's.

        Raises what `Upstream.post` raises, and when no key is ready `UpstreamRateLimitError`,
        `UpstreamOverloadedError` or `UpstreamAuthError`.
        """
        if not address.url.startswith(self._inside):
            raise InternalError("A request would have left the address of its provider.")
        ends_at = self._seconds() + BUDGET_SECONDS
        refused: Answer | None = None
        for key in self._in_turn():
            if not key.ready():
                continue
            if refused is not None:
                refused.body.drain()
            answer, outcome = await self._attempt(key, address, body)
            if outcome not in _NEXT_KEY or self._seconds() >= ends_at:
                if key is not self._keys[self._current]:
                    self._current = self._keys.index(key)
                return answer
            refused = answer
        if refused is None:
            raise self._none_ready()
        if len(self._keys) > 1 and not any(key.ready() for key in self._keys):
            refused.body.close()
            raise self._none_ready()
        return refused

    def _in_turn(self) -> Sequence[_Key]:
        """Return the keys, the one in use first."""
        return self._keys[self._current :] + self._keys[: self._current]

    async def _attempt(self, key: _Key, address: Address, body: bytes) -> tuple[Answer, Outcome]:
        credential = key.credential
        probes = [circuit for circuit in (credential.circuit, key.circuit) if circuit.enter()]
        outcome: Outcome = "cancelled"
        try:
            answer = await self._upstream.post(key.to(address), body)
            outcome = _outcome(answer.status)
            if outcome in _NEXT_KEY:
                self._put_aside(key, answer)
        except UpstreamTimeoutError:
            outcome = "timed_out"
            raise
        except UpstreamError:
            outcome = "unreachable"
            raise
        finally:
            self._learn(key, outcome)
            for circuit in probes:  # what this probe left undecided is for the next one
                circuit.abandoned()
            self._observe(outcome)
        if outcome == "answered":
            answer.body.watch(partial(self._ended, key))
        return answer, outcome

    def _learn(self, key: _Key, outcome: Outcome) -> None:
        match outcome:
            case "answered":
                key.credential.circuit.succeeded()
                key.circuit.answered()
            case "rejected":  # the upstream works and took the key: the request was at fault
                key.credential.circuit.succeeded()
                key.circuit.succeeded()
            case "failed" | "timed_out":
                self._failed(key)
            case "unreachable":
                for each in self._keys:
                    self._failed(each)

    def _ended(self, key: _Key, error: UpstreamError | None) -> None:
        """Hear how an answer ended that had begun."""
        if error is None:
            key.circuit.succeeded()
        else:
            self._failed(key)

    def _failed(self, key: _Key) -> None:
        was_open = key.circuit.state == "open"
        key.circuit.failed()
        if key.circuit.state == "open" and not was_open:
            self._log.warn(
                "{provider} failed too often with key {position} of {count}, which rests for {seconds:.0f} s",
                provider=self._name,
                position=key.credential.position,
                count=len(self._keys),
                seconds=key.wait_seconds(),
            )
            for each in self._keys:  # it may not have been the key's fault
                each.circuit.doubt()

    def _put_aside(self, key: _Key, answer: Answer) -> None:
        credential = key.credential
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            credential.circuit.succeeded()
            key.circuit.rest(answer.retry_after)
        elif answer.status == HTTPStatus.UNAUTHORIZED:
            credential.circuit.trip()
        else:
            credential.circuit.failed()
        self._log.warn(
            "{provider} answered {status} to key {position} of {count}, which rests for {seconds:.1f} s",
            provider=self._name,
            status=answer.status,
            position=credential.position,
            count=len(self._keys),
            seconds=key.wait_seconds(),
        )

    def _none_ready(self) -> UpstreamError:
        """Return the truth: a rate limit passes by itself, trouble may, a refused key does not."""
        wait = min(key.wait_seconds() for key in self._keys)
        soon = f"Try again in {wait:.0f} s." if wait >= 1 else "Try again."
        standings = self.standings()
        if "resting" in standings:
            return UpstreamRateLimitError(f"{self._name} is rate limiting. {soon}", retry_after_seconds=wait)
        if "failing" in standings:
            return UpstreamOverloadedError(
                f"{self._name} has failed too often and is not asked for now. {soon}",
                retry_after_seconds=wait,
            )
        return UpstreamAuthError(
            f"The gateway's credentials for provider {self._name} were refused. Check its apiKey."
        )


def _outcome(status: int) -> Outcome:
    if status in _OUTCOMES:
        return _OUTCOMES[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    return "answered" if status < HTTPStatus.MULTIPLE_CHOICES else "rejected"


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as it writes them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


_fits: type[Sender] = Access
