"""The events of a streamed response, one struct each; its tag is the event's type.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import msgspec

from openclaw_twisted.http.responses_answer import OutputItemOut, OutputTextOut, ResponseOut, SummaryTextOut

__all__ = [
    "RESPONSE_EVENTS",
    "ArgumentsDelta",
    "ArgumentsDone",
    "ErrorEvent",
    "ErrorOut",
    "ItemAdded",
    "ItemDone",
    "PartAdded",
    "PartDone",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseEvent",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "SummaryDelta",
    "SummaryDone",
    "SummaryPartAdded",
    "SummaryPartDone",
    "TextDelta",
    "TextDone",
]


class ResponseEvent(msgspec.Struct, kw_only=True, tag_field="type", tag="response"):
    """What all events have: their place in the stream, from 0 on."""

    sequence_number: int = 0


class _AboutResponse(ResponseEvent, kw_only=True):
    """The response as it stands."""

    response: ResponseOut


class ResponseCreated(_AboutResponse, kw_only=True, tag="response.created"):
    """The response begins."""


class ResponseInProgress(_AboutResponse, kw_only=True, tag="response.in_progress"):
    """The model is being asked."""


class ResponseCompleted(_AboutResponse, kw_only=True, tag="response.completed"):
    """The response is complete, and kept if it is to be."""


class ResponseIncomplete(_AboutResponse, kw_only=True, tag="response.incomplete"):
    """The response ended early."""


class ResponseFailed(_AboutResponse, kw_only=True, tag="response.failed"):
    """The response has no end: `response.error` tells why."""


class ErrorOut(msgspec.Struct):
    """An error as whole answers tell it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEvent(ResponseEvent, kw_only=True, tag="error"):
    """The error that ended the stream; `error` repeats it in the form that OpenAI's clients raise."""

    code: str | None
    message: str
    param: str | None
    error: ErrorOut


class _AboutItem(ResponseEvent, kw_only=True):
    """An output item, in its place."""

    output_index: int
    item: OutputItemOut


class ItemAdded(_AboutItem, kw_only=True, tag="response.output_item.added"):
    """An output item begins."""


class ItemDone(_AboutItem, kw_only=True, tag="response.output_item.done"):
    """An output item has ended."""


class _WithinItem(ResponseEvent, kw_only=True):
    """Something inside an output item."""

    item_id: str
    output_index: int


class _AboutPart(_WithinItem, kw_only=True):
    """The text of a message."""

    content_index: int = 0
    part: OutputTextOut


class PartAdded(_AboutPart, kw_only=True, tag="response.content_part.added"):
    """A message's text begins."""


class PartDone(_AboutPart, kw_only=True, tag="response.content_part.done"):
    """A message's text has ended."""


class TextDelta(_WithinItem, kw_only=True, tag="response.output_text.delta"):
    """More of a message's text."""

    content_index: int = 0
    delta: str
    logprobs: tuple[()] = ()


class TextDone(_WithinItem, kw_only=True, tag="response.output_text.done"):
    """A message's whole text."""

    content_index: int = 0
    text: str
    logprobs: tuple[()] = ()


class ArgumentsDelta(_WithinItem, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(_WithinItem, kw_only=True, tag="response.function_call_arguments.done"):
    """A call's whole arguments."""

    name: str
    arguments: str


class _AboutSummary(_WithinItem, kw_only=True):
    """The text of the model's thinking."""

    summary_index: int = 0
    part: SummaryTextOut


class SummaryPartAdded(_AboutSummary, kw_only=True, tag="response.reasoning_summary_part.added"):
    """What the model is thinking begins."""


class SummaryPartDone(_AboutSummary, kw_only=True, tag="response.reasoning_summary_part.done"):
    """What the model is thinking has ended."""


class SummaryDelta(_WithinItem, kw_only=True, tag="response.reasoning_summary_text.delta"):
    """More of what the model is thinking."""

    summary_index: int = 0
    delta: str


class SummaryDone(_WithinItem, kw_only=True, tag="response.reasoning_summary_text.done"):
    """All that the model was thinking."""

    summary_index: int = 0
    text: str


RESPONSE_EVENTS = (
    ResponseCreated,
    ResponseInProgress,
    ItemAdded,
    PartAdded,
    TextDelta,
    TextDone,
    PartDone,
    ArgumentsDelta,
    ArgumentsDone,
    SummaryPartAdded,
    SummaryDelta,
    SummaryDone,
    SummaryPartDone,
    ItemDone,
    ResponseCompleted,
    ResponseIncomplete,
    ResponseFailed,
    ErrorEvent,
)
"""Every event, about in the order in which they come."""
