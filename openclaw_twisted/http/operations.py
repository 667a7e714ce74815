"""What each route takes and gives: the table that the OpenAPI document is made of.

It names types and never their fields: what a body holds is said once, by the struct that reads or writes it.
What all routes have in common (the secret, the common headers, the errors of the door) `openapi` adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from openclaw_twisted import errors
from openclaw_twisted.agents.target import AGENT_HEADERS, MAX_MODEL_CHARS, MODEL_HEADER, SESSION_HEADER
from openclaw_twisted.config.settings import EMBEDDING_KEY, ChatCompletionsSettings
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.chat_answer import ChunkOut, CompletionOut
from openclaw_twisted.http.chat_request import ChatRequest
from openclaw_twisted.http.embeddings import EmbeddingRequest, EmbeddingsOut
from openclaw_twisted.http.endpoint import ErrorAnswer
from openclaw_twisted.http.health import HealthOut, ReadyOut
from openclaw_twisted.http.models import ModelOut, ModelsOut
from openclaw_twisted.http.repetition import MAX_KEY_CHARACTERS, RETRY_COUNT
from openclaw_twisted.http.responses_answer import ResponseOut
from openclaw_twisted.http.responses_events import RESPONSE_EVENTS
from openclaw_twisted.http.responses_request import ResponsesRequest
from openclaw_twisted.http.switches import CHAT_SWITCH, RESPONSES_SWITCH
from openclaw_twisted.session_key import MAX_LENGTH

__all__ = ["OPERATIONS", "Header", "Operation"]


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header, of a request or of an answer; `always` says that it is never left out."""

    name: str
    description: str
    max_length: int | None = None
    pattern: str | None = None
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route: `name` is the method and the pattern, as in the table of scopes.

    `reads` is the type of the body. `answers` maps media types to the type of a 200, `str` for text;
    `events` is what the events of a stream hold, which is then one of the media types. `otherwise` maps
    further statuses to the type of their JSON. `fails` are errors beyond those that every route has.
    `switches` are the settings that turn the route on, each of them alone.
    """

    name: str
    summary: str
    description: str = ""
    reads: Any = None
    example: Any = None
    answers: Mapping[str, Any]
    events: tuple[Any, ...] = ()
    otherwise: Mapping[int, Any] = field(default_factory=dict)
    takes: tuple[Header, ...] = ()
    gives: tuple[Header, ...] = ()
    fails: tuple[type[GatewayError], ...] = ()
    switches: tuple[str, ...] = ()
    secret_is_optional: bool = False

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path, with `{id}` for what varies."""
        return self.name.partition(" ")[2]


_JSON = "application/json"
_EVENTS = "text/event-stream"
_TEXT = "text/plain"

# Those that choose are read as UTF-8 and refused with control characters; ASCII is what is safe to send.
_PRINTABLE = "^[ -~]*$"

_CHOOSING = (
    Header(name=AGENT_HEADERS[0], description="The agent, whatever `model` says.", pattern=_PRINTABLE),
    Header(name=AGENT_HEADERS[1], description=f"The same as {AGENT_HEADERS[0]}.", pattern=_PRINTABLE),
    Header(
        name=MODEL_HEADER,
        description="The backend model: `<provider>/<model>`, or the name of a model alone.",
        max_length=MAX_MODEL_CHARS,
        pattern="^([!-.0-~]+(/[!-.0-~]+)*)?$",
    ),
    Header(
        name=SESSION_HEADER,
        description="The session that the request belongs to.",
        max_length=MAX_LENGTH,
        pattern=_PRINTABLE,
    ),
    *(
        Header(
            name=name,
            description="The client's own name for a conversation, which becomes a session.",
            pattern=_PRINTABLE,
        )
        for name in ChatCompletionsSettings().session_headers
    ),
    Header(
        name="idempotency-key",
        description="A request that repeats a key joins the run that the first one started.",
        max_length=MAX_KEY_CHARACTERS,
    ),
    Header(
        name=RETRY_COUNT,
        description="How often OpenAI's client has sent this request before; a repetition joins its run.",
    ),
)

_RUN = (
    Header(name="x-openclaw-run-id", description="The run that the answer comes from.", always=True),
    Header(name=SESSION_HEADER, description="The session that the run belongs to.", always=True),
)

_UPSTREAM = (
    errors.UpstreamError,
    errors.UpstreamAuthError,
    errors.UpstreamOverloadedError,
    errors.UpstreamTimeoutError,
    errors.UpstreamRateLimitError,
    errors.UpstreamRejectedError,
)

_RUN_FAILS = (
    *_UPSTREAM,
    errors.AgentNotFoundError,
    errors.ForbiddenError,
    errors.OverloadedError,
    errors.NoProviderError,
    errors.ModelNotReadyError,
    errors.StorageError,
    errors.CancelledRunError,
    errors.InterruptedRunError,
    errors.ContextLengthError,
)

_HEALTH = Operation(
    name="GET /health",
    summary="Tell that the process lives",
    answers={_JSON: HealthOut},
)
_READY = Operation(
    name="GET /ready",
    summary="Tell whether requests can be answered",
    description="With the secret, the answer also says what keeps them from it.",
    answers={_JSON: ReadyOut},
    otherwise={503: ReadyOut},
    secret_is_optional=True,
)

_LISTED = (
    Operation(
        name="POST /v1/chat/completions",
        summary="Run an agent on a conversation",
        description="The answer is whole, or a stream of events when the request says `stream`.",
        reads=ChatRequest,
        example={"model": "openclaw", "messages": [{"role": "user", "content": "Hello!"}]},
        answers={_JSON: CompletionOut, _EVENTS: str},
        events=(ChunkOut, ErrorAnswer),
        takes=_CHOOSING,
        gives=_RUN,
        fails=_RUN_FAILS,
        switches=(CHAT_SWITCH,),
    ),
    Operation(
        name="POST /v1/responses",
        summary="Run an agent on input items",
        description="The answer is whole, or a stream of events when the request says `stream`.",
        reads=ResponsesRequest,
        example={"model": "openclaw", "input": "Hello!"},
        answers={_JSON: ResponseOut, _EVENTS: str},
        events=RESPONSE_EVENTS,
        takes=_CHOOSING,
        gives=_RUN,
        fails=(*_RUN_FAILS, errors.PreviousResponseNotFoundError),
        switches=(RESPONSES_SWITCH,),
    ),
    Operation(
        name="POST /v1/embeddings",
        summary="Turn texts into vectors",
        description=f"Needs `{EMBEDDING_KEY}`, which names the model; 501 without it.",
        reads=EmbeddingRequest,
        example={"model": "openclaw", "input": "Hello!"},
        answers={_JSON: EmbeddingsOut},
        fails=(*_UPSTREAM, errors.NotConfiguredError),
        switches=(CHAT_SWITCH,),
    ),
    Operation(
        name="GET /v1/models",
        summary="List the agents, as models",
        answers={_JSON: ModelsOut},
        switches=(CHAT_SWITCH, RESPONSES_SWITCH),
    ),
    Operation(
        name="GET /v1/models/{id}",
        summary="Show one agent, as a model",
        description="Finds every name that a chat request may carry.",
        answers={_JSON: ModelOut},
        fails=(errors.AgentNotFoundError,),
        switches=(CHAT_SWITCH, RESPONSES_SWITCH),
    ),
    _HEALTH,
    Operation(name="GET /healthz", summary="The same as `/health`", answers=_HEALTH.answers),
    _READY,
    Operation(
        name="GET /readyz",
        summary="The same as `/ready`",
        answers=_READY.answers,
        otherwise=_READY.otherwise,
        secret_is_optional=True,
    ),
    Operation(
        name="GET /metrics",
        summary="Show the gateway's numbers to Prometheus",
        description="Programs on the same machine need no secret when `metrics.public` is true.",
        answers={_TEXT: str, "application/openmetrics-text": str},
    ),
    Operation(
        name="GET /openapi.json",
        summary="Show this document",
        answers={_JSON: dict[str, Any]},
    ),
    Operation(
        name="GET /",
        summary="Greet whoever looks",
        description="A line of text, or a plain page for browsers.",
        answers={_TEXT: str, "text/html": str},
    ),
)

OPERATIONS: Mapping[str, Operation] = MappingProxyType({operation.name: operation for operation in _LISTED})
"""Route -> what it takes and gives."""
