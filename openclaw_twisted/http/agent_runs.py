"""From a request that has been read to a run, and from the run to the client: the same for every endpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.target import Target, resolve_target
from openclaw_twisted.auth.scopes import MODEL_OVERRIDE, allows
from openclaw_twisted.config.settings import GatewaySettings
from openclaw_twisted.content import Message, text_of
from openclaw_twisted.errors import ForbiddenError, InterruptedRunError
from openclaw_twisted.events import RunFinished
from openclaw_twisted.http.conversation import Conversation
from openclaw_twisted.http.endpoint import Call
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.parts import Draft
from openclaw_twisted.http.repetition import Repetition, repetition_of
from openclaw_twisted.http.stream import MODEL_USED, EventEncoder, EventStream, printable
from openclaw_twisted.runs.recall import Recall
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.request import RunRequest, new_run_id
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import UNASKABLE, Runner
from openclaw_twisted.session_key import SessionKey

__all__ = ["AgentRuns", "Place", "Placing", "end_of"]

# To read so much takes some 10 ms, which is about what a thread costs in switching.
LARGE_BODY_BYTES = 512 * 1024

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run takes place: its session, and what was said before that this session does not hold.

    `appends` says that the request holds new messages only, none that the session has already, `resends` that
    it holds the whole conversation.
    """

    session_key: SessionKey
    before: tuple[Message, ...] = ()
    appends: bool = False
    resends: bool = False


Placing = Callable[[], AbstractAsyncContextManager[Place]]
"""Finds a place and keeps it free until the run has started."""


class AgentRuns:
    """The runs of HTTP requests; `timeout_seconds` bounds each (0 is no bound)."""

    def __init__(  # noqa: PLR0913 - what runs are made of, and what outlives a change of the settings
        self,
        runner: Runner,
        directory: Directory,
        settings: GatewaySettings,
        *,
        clock: IReactorTime,
        repeats: Repeats,
        timeout_seconds: float,
    ) -> None:
        self._runner = runner
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._repeats = repeats
        self._recall = Recall(runner.sessions.store, clock, keep_seconds=settings.limits.idempotency_seconds)

    @property
    def comments(self) -> bool:
        """Whether streams hold comments, which some clients take for events and stumble over."""
        return self._settings.http.endpoints.chat_completions.keep_alive_seconds > 0

    async def read(self, call: Call, parse: Callable[[], T]) -> T:
        """Return what `parse` makes of a call and its body; raises what it raises.

        A large body is read in a thread, because nobody else is answered meanwhile where it is not.
        """
        if len(call.body) <= LARGE_BODY_BYTES:
            return parse()
        threads: Any = self._clock
        return cast("T", await deferToThreadPool(threads, threads.getThreadPool(), parse))

    def target(self, call: Call, *, model: str | None, user: str | None) -> Target:
        """Return what a request means; raises what `resolve_target` raises."""
        options = self._settings.http.endpoints.chat_completions
        headers = call.request.requestHeaders
        return resolve_target(self._directory, model, headers, user=user, options=options)

    async def run(
        self,
        call: Call,
        target: Target,
        conversation: Conversation,
        *,
        images: ImageFetcher,
        placing: Placing,
    ) -> Run:
        """Start the run that a request asks for, or join the one that the same request started before.

        Raises `ForbiddenError` for what the caller's scopes do not cover, and what fetching images, `placing`
        and `Runner.start` raise.
        """
        repetition = await self.read(call, lambda: repetition_of(call, target))
        run = self._joined(repetition) or await self._recalled(repetition)
        if run is not None:
            return run
        async with placing() as place:
            messages = conversation.messages
            if [message for message in messages if isinstance(message, Draft)]:
                messages = await images.resolve(messages)
            run = self._joined(repetition)  # the same request may have come meanwhile
            if run is None:
                if place.before or messages is not conversation.messages:
                    conversation = replace(conversation, messages=(*place.before, *messages))
                request = self._request(target, conversation, place, repetition)
                self._check_scopes(call, request)
                try:
                    run = self._start(request, repetition)
                except UNASKABLE:
                    own = await self._runner.sessions.model_of(request.session_key)
                    if own is None or request.model_chosen:
                        raise
                    request = replace(request, models=(own,))
                    run = self._joined(repetition) or self._start(request, repetition)
        return run

    def _start(self, request: RunRequest, repetition: Repetition | None) -> Run:
        run = self._runner.start(request)
        if repetition is not None:
            self._repeats.enter(repetition.key, run, repetition.digest)
        return run

    async def stream(self, call: Call, run: Run, encoder: EventEncoder) -> None:
        """Answer with the run's events, to its end; a client that hangs up leaves the run."""
        stream = EventStream(
            call.request,
            encoder,
            clock=self._clock,
            keep_alive_seconds=self._settings.http.endpoints.chat_completions.keep_alive_seconds,
            limits=self._settings.limits,
        )
        await stream.carry(run, self.headers(run))

    def headers(self, run: Run) -> dict[str, str]:
        """Return the headers that tell which run an answer comes from, of which session and which model."""
        headers = {
            "x-openclaw-run-id": run.request.run_id,
            "x-openclaw-session-key": str(run.request.session_key),
        }
        if run.reply.model is not None:  # known before a whole answer, but seldom before a stream
            headers[MODEL_USED] = printable(run.reply.model)
        return headers

    def _joined(self, repetition: Repetition | None) -> Run | None:
        if repetition is None:
            return None
        if not repetition.may_join:  # its own repetitions shall not find the run of the one before
            self._repeats.forget(repetition.key)
            return None
        return self._repeats.find(repetition.key, repetition.digest)

    async def _recalled(self, repetition: Repetition | None) -> Run | None:
        """Return the finished run that the same request has started before the last restart.

        As in memory, one that failed is not joined: trying it again is the point of repeating. What the
        restart cut off is tried again too, unless the client named the request itself: then it is told.
        """
        if repetition is None or not repetition.may_join:
            return None
        run = await self._recall.find(repetition.claim)
        if run is None:
            return None
        if run.status == "finished":
            self._repeats.enter(repetition.key, run, repetition.digest)
            return run
        error = run.error
        if repetition.explicit and isinstance(error, InterruptedRunError):
            raise error
        return None

    def _check_scopes(self, call: Call, request: RunRequest) -> None:
        """Refuse who may not choose the model or start a session afresh, as the WebSocket door does."""
        if allows(call.scopes, MODEL_OVERRIDE):
            return
        asked = [text_of(message) for message in request.messages[-1:] if message.role == "user"]
        if request.model_chosen or any(map(self._runner.begins_anew, asked)):
            raise ForbiddenError(f"missing scope: {MODEL_OVERRIDE}")

    def _request(
        self, target: Target, conversation: Conversation, place: Place, repetition: Repetition | None
    ) -> RunRequest:
        agent = target.agent
        models = agent.candidates(target.model_override)
        # Requests that nobody named and that belong to no session are too many to be claimed.
        worth_it = repetition is not None and (repetition.explicit or not place.session_key.stateless)
        claimed = repetition if worth_it else None
        return RunRequest(
            run_id=new_run_id(),
            agent_id=agent.id,
            session_key=place.session_key,
            models=models,
            messages=conversation.messages,
            carried=len(place.before),
            appends=place.appends,
            resends=place.resends,
            instructions=conversation.instructions,
            tools=conversation.tools,
            tool_choice=conversation.tool_choice,
            sampling=conversation.sampling,
            model_chosen=target.model_override is not None,
            claim=claimed.claim if claimed else None,
            timeout_seconds=self._timeout_seconds,
        )


async def end_of(run: Run) -> RunFinished:
    """Wait for the run; a client that hangs up meanwhile leaves it, which ends it unless others wait."""
    run.join()
    try:
        return await run.result()
    finally:
        run.leave()
