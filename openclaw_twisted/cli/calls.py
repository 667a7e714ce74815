"""One connection to a gateway for one command: asked, answered, closed, within the command's time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from openclaw_twisted.cli.access import Access
from openclaw_twisted.cli.client import Session, connected, within
from openclaw_twisted.cli.foreground import in_foreground
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.cli.target import find_target

__all__ = ["ADMIN", "READ", "WRITE", "call", "converse"]

READ = ("operator.read",)
WRITE = ("operator.write",)
ADMIN = ("operator.admin",)

T = TypeVar("T")


def call(access: Access, scopes: tuple[str, ...], method: str, **params: object) -> bytes:
    """Return the payload of a gateway's answer to one request; params that are None are left out.

    Raises `RefusedError`, `TimedOutError` and what `connected` raises.
    """
    given = {name: value for name, value in params.items() if value is not None}

    async def ask(session: Session) -> bytes:
        return await session.conversation.request(method, given)

    return converse(access, scopes, ask)


def converse(
    access: Access, scopes: tuple[str, ...], job: Callable[[Session], Coroutine[Deferred[Any], Any, T]]
) -> T:
    """Connect, let `job` ask what it wants to, close the connection, and return what `job` returns."""
    target = find_target(access.flags, Surroundings.of_this_process())

    async def talk(reactor: Any) -> T:
        async with connected(reactor, target, scopes=scopes) as session:
            return await job(session)

    async def bounded(reactor: Any) -> T:
        answer = Deferred.fromCoroutine(talk(reactor))
        seconds = access.timeout_seconds
        if seconds is not None:
            within(answer, seconds, reactor, f"{target.url} did not answer within {seconds:g} s.")
        return await answer

    return in_foreground(bounded)
