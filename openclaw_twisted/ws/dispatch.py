"""From a request frame to its responses: which method, may this client call it, what does it say.

This is the only place where an error of ours becomes a response frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UNSET
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted import errors
from openclaw_twisted.agents.directory import shown
from openclaw_twisted.auth.scopes import allows, needed
from openclaw_twisted.errors import GatewayError, InternalError, InvalidRequestError
from openclaw_twisted.ws import connect, frames
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.fault_codes import code_of
from openclaw_twisted.ws.frames import Fault, Malformed, Request
from openclaw_twisted.ws.method import Answer, Call, Method, missing_scope

__all__ = ["Dispatcher", "Exchange"]

_WORTH_RETRYING = (
    errors.ModelNotReadyError,
    errors.OverloadedError,
    errors.RateLimitedError,
    errors.StorageError,
    errors.UpstreamOverloadedError,
    errors.UpstreamRateLimitError,
    errors.UpstreamTimeoutError,
)

_log = Logger()


class Dispatcher:
    """The methods that are served."""

    def __init__(self, methods: Iterable[Method[Any]]) -> None:
        self._methods: Mapping[str, Method[Any]] = {}
        self.take(methods)

    def take(self, methods: Iterable[Method[Any]]) -> None:
        """Serve these methods from now on; calls that are under way end as they began."""
        self._methods = {method.name: method for method in methods}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the methods, sorted."""
        return tuple(sorted(self._methods))

    @property
    def methods(self) -> tuple[Method[Any], ...]:
        """The methods, by name."""
        return tuple(self._methods[name] for name in self.names)

    async def answer(self, call: Call, request: Request) -> Answer[Any]:
        """Return what a request is answered; whatever goes wrong is in the answer."""
        try:
            method = self._find(request.method)
            scope = needed(method.name)
            if scope is not None and not allows(call.client.scopes, scope):
                return missing_scope(call.client, scope)
            return await method.answer(call, request.params)
        except CancelledError:
            raise  # the client has gone: nobody is left to answer
        except GatewayError as error:
            return Answer(error=error)
        except Exception:  # noqa: BLE001 - the last line of defence, behind the one for cancellation
            _log.failure("defect in the method {method}", method=request.method)
            return Answer(error=InternalError("The gateway hit a defect; its log tells more."))

    def _find(self, name: str) -> Method[Any]:
        if name == connect.METHOD:
            raise InvalidRequestError("connect is only valid as the first request")
        method = self._methods.get(name)
        if method is None:
            raise InvalidRequestError(f"unknown method: {shown(name)}")
        return method


class Exchange:
    """One client's requests and their responses, in whatever order they are ready.

    `hold` keeps events back until the next response is sent.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        client: Client,
        send: Callable[[bytes], None],
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispatcher = dispatcher
        self._client = client
        self._send = send
        self._hold = hold
        self._working: set[Deferred[None]] = set()

    def receive(self, data: bytes) -> None:
        """Take a frame; what is not JSON is ignored."""
        request = frames.parse(data)
        if isinstance(request, Request):
            work = Deferred.fromCoroutine(self._respond(request))
            self._working.add(work)
            work.addBoth(self._done, work)
        elif isinstance(request, Malformed):
            error = InvalidRequestError(f"invalid request frame: {request.problem}")
            self._send(_failure(request.id, Answer(error=error), error, self._client))

    def close(self) -> None:
        """Stop answering: the client is gone. What its requests have started goes on."""
        for work in tuple(self._working):
            work.cancel()

    async def _respond(self, request: Request) -> None:
        call = Call(
            client=self._client,
            accept=lambda payload: self._send(frames.success(request.id, payload)),
            hold=self._hold,
        )
        answer = await self._dispatcher.answer(call, request)
        if answer.error is None:
            self._send(frames.success(request.id, answer.payload))
        else:
            self._send(_failure(request.id, answer, answer.error, self._client))

    def _done(self, result: Failure | None, work: Deferred[None]) -> None:
        self._working.discard(work)
        if isinstance(result, Failure):
            result.trap(CancelledError)


def _failure(request_id: str, answer: Answer[Any], error: GatewayError, client: Client) -> bytes:
    retry_after = error.retry_after_seconds
    fault = Fault(
        code=code_of(error, client),
        message=error.message,
        details=answer.details,
        retryable=True if isinstance(error, _WORTH_RETRYING) else UNSET,
        retry_after_ms=int(retry_after * 1000) if retry_after is not None else UNSET,
    )
    return frames.failure(request_id, fault, answer.payload)
