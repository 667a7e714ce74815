"""The local model as a provider: wait for its process, then ask it like any OpenAI-compatible server.

A small model often writes a tool call as text. So when tools are offered, an answer that begins like
JSON is held back until it is whole, and handed on as the call it stands for, or as the text it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Batches, ModelRequest, Provider
from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.content import ToolSpec
from openclaw_twisted.errors import AgentNotFoundError
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta, ToolCallDelta
from openclaw_twisted.providers.answer import Timeouts
from openclaw_twisted.providers.capacity import Capacity
from openclaw_twisted.providers.embedded import LocalEndpoint
from openclaw_twisted.providers.known_models import LOCAL
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.text_only import text_only
from openclaw_twisted.providers.tool_repair import repair_tool_call
from openclaw_twisted.providers.upstream import Upstream, make_agent

__all__ = ["Local"]

NAME = "The local model"
BLIND = "The local model cannot see images. Send text only, or configure a model that can."

# A prompt of thousands of tokens takes minutes to read on an old machine; the process tells us if it dies.
TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=600, idle_seconds=120)


class Served(Protocol):
    """A model on this machine: `embedded.LocalModel`, or a test's stand-in."""

    name: str

    def check(self) -> None:
        """Raise what keeps it from answering."""
        ...

    async def endpoint(self) -> LocalEndpoint:
        """Return where it answers, once it does."""
        ...


class Local:
    """Answers with the model that runs on this machine."""

    def __init__(self, reactor: Any, model: Served, settings: LocalModelSettings) -> None:
        self._model = model
        # llama.cpp lets any number of requests wait.
        self._capacity = Capacity(
            settings.parallel, settings.max_queued, name=NAME, key="models.providers.local.maxQueued"
        )
        # The server closes each connection after its answer, so keeping any would only cost a failed try.
        agent = make_agent(reactor, TIMEOUTS, persistent=False)
        self._apart = Apart(reactor)
        self._upstream = Upstream(reactor, agent, name=NAME, timeouts=TIMEOUTS)

    def check(self, model: str) -> None:
        """Raise what keeps the local model from answering, or that it is another one."""
        if model != self._model.name:
            raise AgentNotFoundError(
                f'The local model is "{LOCAL}/{self._model.name}". To run another one: '
                "openclaw-gateway local use NAME-or-FILE, then restart."
            )
        self._model.check()
        self._capacity.check()

    async def respond(self, request: ModelRequest) -> Batches:
        """Wait until the model is loaded and has a place, then yield its answer."""
        self.check(request.model)
        request = text_only(request, BLIND)
        await self._capacity.enter()
        try:
            endpoint = await self._model.endpoint()
            server = OpenAICompletions(
                self._upstream,
                name=NAME,
                base_url=endpoint.base_url,
                headers={"authorization": f"Bearer {endpoint.api_key}"},
                apart=self._apart,
            )
            question = _as_llama_takes_it(request, endpoint.model)
            tools = question.tools if question.tool_choice != "none" else ()
            suspicion = _Suspicion(tools)
            async with aclosing(server.respond(question)) as answer:
                async for events in answer:
                    passed = suspicion.sift(events) if tools else events
                    if passed:  # what is held back has not begun an answer: another model may still give it
                        yield passed
        finally:
            self._capacity.leave()


class _Suspicion:
    """Holds back text that may turn out to be a tool call."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._tools = tools
        self._held = ""
        self._decided = False

    def sift(self, events: Sequence[ProviderEvent]) -> list[ProviderEvent]:
        """Return what can be passed on already."""
        passed: list[ProviderEvent] = []
        for event in events:
            if isinstance(event, TextDelta) and not self._decided:
                self._hold(event.text, passed)
                continue
            if isinstance(event, ToolCallDelta):
                self._release(passed)
            elif isinstance(event, Finished):
                event = self._end(event, passed)  # noqa: PLW2901 - the one event that may change
            passed.append(event)
        return passed

    def _hold(self, text: str, passed: list[ProviderEvent]) -> None:
        self._held += text
        begins = self._held.lstrip()
        if begins and not begins.startswith(("{", "`")):
            self._release(passed)

    def _release(self, passed: list[ProviderEvent]) -> None:
        self._decided = True
        if self._held:
            passed.append(TextDelta(self._held))
            self._held = ""

    def _end(self, event: Finished, passed: list[ProviderEvent]) -> Finished:
        call = repair_tool_call(self._held, self._tools) if self._held else None
        if call is None:
            self._release(passed)
            return event
        passed.append(ToolCallDelta(0, call.id, call.name, call.arguments))
        return Finished("tool_calls", event.usage)


def _as_llama_takes_it(request: ModelRequest, model: str) -> ModelRequest:
    """Return the request under the server's name of the model; the server ignores a tool chosen by name."""
    if not isinstance(request.tool_choice, tuple):
        return msgspec.structs.replace(request, model=model)
    chosen = tuple(tool for tool in request.tools if tool.name == request.tool_choice[1])
    return msgspec.structs.replace(request, model=model, tools=chosen, tool_choice="required")


_fits: type[Provider] = Local
