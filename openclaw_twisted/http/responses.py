"""POST /v1/responses: a request becomes a run; the run's events become the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from openclaw_twisted.http.agent_runs import AgentRuns, end_of
from openclaw_twisted.http.endpoint import Call, Reply
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.item_references import ItemReferences
from openclaw_twisted.http.response_chain import ResponseChain
from openclaw_twisted.http.responses_answer import new_response
from openclaw_twisted.http.responses_conversation import conversation_of
from openclaw_twisted.http.responses_request import REFERENCE, ResponsesRequest, parse
from openclaw_twisted.http.responses_stream import ResponseEncoder, whole_response

__all__ = ["Responses"]


@dataclass(frozen=True, kw_only=True)
class Responses:
    """The endpoint; `now` gives seconds since the epoch."""

    runs: AgentRuns
    chain: ResponseChain
    references: ItemReferences
    images: ImageFetcher
    now: Callable[[], float]

    async def __call__(self, call: Call) -> Reply | None:
        """Answer whole, or in events when the request says `stream`."""
        asked = await self.runs.read(call, lambda: parse(call.body))
        target = self.runs.target(call, model=asked.model, user=asked.user)
        conversation = conversation_of(await self._resolved(asked), self.images.limits)
        run = await self.runs.run(
            call,
            target,
            conversation,
            images=self.images,
            placing=lambda: self.chain.place(target, asked.previous_response_id, stored=asked.stored),
        )
        response = new_response(asked, run_id=run.request.run_id, model=target.model_echo, now=self.now())
        if not asked.stream:
            await end_of(run)
            return Reply(body=whole_response(response, run), headers=self.runs.headers(run))
        await self.runs.stream(call, run, ResponseEncoder(response, comments=self.runs.comments))
        return None

    async def _resolved(self, asked: ResponsesRequest) -> ResponsesRequest:
        """Return the request with the items that it names by their ids."""
        if isinstance(asked.input, str) or not any(item.type == REFERENCE for item in asked.input):
            return asked
        return replace(asked, input=await self.references.resolve(asked.input))
