"""POST /v1/chat/completions: a chat request becomes a run; the run's events become the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.target import Target, resolve_target
from openclaw_twisted.config.sampling import with_defaults
from openclaw_twisted.config.settings import ChatCompletionsSettings, GatewaySettings
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.events import RunFinished
from openclaw_twisted.http.chat_answer import ChunkEncoder, completion, new_heading
from openclaw_twisted.http.chat_parts import ContentLimits, Draft
from openclaw_twisted.http.chat_request import Conversation, parse
from openclaw_twisted.http.endpoint import Call, Reply
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.stream import EventStream
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.request import RunRequest, new_run_id
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import Runner

__all__ = ["ChatCompletions", "limits_of"]

MAX_KEY_CHARACTERS = 255
RETRY_COUNT = "x-stainless-retry-count"


@dataclass(frozen=True, kw_only=True)
class ChatCompletions:
    """The endpoint; `now` gives seconds since the epoch, `timeout_seconds` bounds a run (0 is no bound)."""

    runner: Runner
    directory: Directory
    settings: GatewaySettings
    clock: IReactorTime
    now: Callable[[], float]
    images: ImageFetcher
    repeats: Repeats
    timeout_seconds: float

    async def __call__(self, call: Call) -> Reply | None:
        """Answer whole, or in pieces when the request says `stream`."""
        settings = self.settings.http.endpoints.chat_completions
        asked, conversation = parse(call.body, self.images.limits)
        target = resolve_target(
            self.directory, asked.model, call.request.requestHeaders, user=asked.user, options=settings
        )
        request = run_request(target, conversation, timeout_seconds=self.timeout_seconds)
        run = self._joined(call, request)
        if run is None and any(isinstance(message, Draft) for message in request.messages):
            complete = await self.images.resolve(request.messages)
            request = msgspec.structs.replace(request, messages=complete)
            run = self._joined(call, request)  # the same request may have come meanwhile
        run = run or self._start(call, request)
        heading = new_heading(self.now(), target.model_echo, legacy=asked.legacy)
        headers = {
            "x-openclaw-run-id": run.request.run_id,
            "x-openclaw-session-key": str(run.request.session_key),
        }
        if not asked.stream:
            return Reply(body=completion(heading, await _end_of(run)), headers=headers)
        stream = EventStream(
            call.request,
            ChunkEncoder(heading, include_usage=asked.include_usage),
            clock=self.clock,
            keep_alive_seconds=settings.keep_alive_seconds,
            stall_seconds=self.settings.limits.stream_stall_seconds,
        )
        await stream.carry(run, headers)
        return None

    def _joined(self, call: Call, request: RunRequest) -> Run | None:
        """Return the run that the same request has started before, if this is a repetition."""
        key = repeat_key(call)
        if key is None or not may_join(call):
            return None
        return self.repeats.find(key, _digest(call, request))

    def _start(self, call: Call, request: RunRequest) -> Run:
        run = self.runner.start(request)
        key = repeat_key(call)
        if key is not None:
            self.repeats.enter(key, run, _digest(call, request))
        return run


async def _end_of(run: Run) -> RunFinished:
    """Wait for the run; a client that hangs up meanwhile leaves it, which ends it unless others wait."""
    run.join()
    try:
        return await run.result()
    finally:
        run.leave()


def limits_of(settings: ChatCompletionsSettings) -> ContentLimits:
    """Return what the settings allow a request to bring."""
    return ContentLimits(
        settings.images,
        max_images=settings.max_image_parts,
        max_total_bytes=settings.max_total_image_bytes,
    )


def repeat_key(call: Call) -> str | None:
    """Return what makes this request known again: its Idempotency-Key, or for OpenAI's own clients its body.

    Those send no key with their retries, but they number them, from 0 on.
    """
    given = call.header("idempotency-key")
    if given:
        if len(given) > MAX_KEY_CHARACTERS:
            raise InvalidRequestError(f"The Idempotency-Key is longer than {MAX_KEY_CHARACTERS} characters.")
        return f"{call.caller}:key:{given}"
    if call.header(RETRY_COUNT) is None:
        return None
    return f"{call.caller}:body:{sha256(call.body).hexdigest()}"


def _digest(call: Call, request: RunRequest) -> bytes:
    """Return what has to be the same for two requests to be one: the body, and what the headers chose."""
    key = request.session_key
    chosen = (request.agent_id, *request.models, "" if key.stateless else str(key))
    return sha256("\n".join(chosen).encode() + b"\n" + call.body).digest()


def may_join(call: Call) -> bool:
    """Tell whether this is a repetition, rather than somebody who asks the same thing once more."""
    return bool(call.header("idempotency-key")) or call.header(RETRY_COUNT) not in {None, "0"}


def run_request(target: Target, conversation: Conversation, *, timeout_seconds: float) -> RunRequest:
    """Return what the pipeline is asked to do."""
    agent = target.agent
    models = agent.candidates(target.model_override)
    params = agent.params_for(models[0]) if models else {}
    return RunRequest(
        run_id=new_run_id(),
        agent_id=agent.id,
        session_key=target.session_key,
        models=models,
        messages=conversation.messages,
        instructions=conversation.instructions,
        tools=conversation.tools,
        tool_choice=conversation.tool_choice,
        sampling=with_defaults(conversation.sampling, params),
        timeout_seconds=timeout_seconds,
    )
