"""POST /v1/chat/completions: a chat request becomes a run; the run's events become the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.sampling import with_defaults
from openclaw_twisted.agents.target import Target, resolve_target
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.events import RunFinished
from openclaw_twisted.http.chat_answer import ChunkEncoder, completion, new_heading
from openclaw_twisted.http.chat_parts import ContentLimits
from openclaw_twisted.http.chat_request import Conversation, parse
from openclaw_twisted.http.endpoint import Call, Reply
from openclaw_twisted.http.stream import EventStream
from openclaw_twisted.runs.request import RunRequest, new_run_id
from openclaw_twisted.runs.runner import Run, Runner

__all__ = ["ChatCompletions"]


@dataclass(frozen=True, kw_only=True)
class ChatCompletions:
    """The endpoint; `now` gives seconds since the epoch, `timeout_seconds` bounds a run (0: no bound)."""

    runner: Runner
    directory: Directory
    settings: ChatCompletionsSettings
    clock: IReactorTime
    now: Callable[[], float]
    timeout_seconds: float = 0.0

    async def __call__(self, call: Call) -> Reply | None:
        """Answer whole, or in pieces when the request says `stream`."""
        settings = self.settings
        limits = ContentLimits(
            settings.images,
            max_images=settings.max_image_parts,
            max_total_bytes=settings.max_total_image_bytes,
        )
        asked, conversation = parse(call.body, limits)
        target = resolve_target(
            self.directory, asked.model, call.request.requestHeaders, user=asked.user, options=settings
        )
        run = self.runner.start(run_request(target, conversation, timeout_seconds=self.timeout_seconds))
        heading = new_heading(self.now(), target.model_echo)
        headers = {
            "x-openclaw-run-id": run.request.run_id,
            "x-openclaw-session-key": str(target.session_key),
        }
        if not asked.stream:
            return Reply(body=completion(heading, await _end_of(run)), headers=headers)
        stream = EventStream(
            call.request,
            ChunkEncoder(heading, include_usage=asked.include_usage),
            clock=self.clock,
            keep_alive_seconds=settings.keep_alive_seconds,
        )
        await stream.carry(run, headers)
        return None


async def _end_of(run: Run) -> RunFinished:
    """Wait for the run; a client that hangs up meanwhile cancels it."""
    try:
        return await run.result()
    except CancelledError:
        run.cancel()
        raise


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
