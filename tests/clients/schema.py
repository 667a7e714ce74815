"""OpenClaw's published schema of the WebSocket protocol, and what of a gateway's frames does not fit it.

The schema comes with `@openclaw/gateway-protocol`, where that is installed for the clients for Node. It names
no answers' types, so the table below does; methods that are not in it answer whatever they like.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema

from openclaw_twisted.ws.event_payloads import EVENTS
from openclaw_twisted.ws.hello import HelloOk
from tests.clients.in_node import installed
from tests.clients.newer import newer_keys
from tests.ws.rig import Rig

__all__ = ["problems"]

FILE = "node_modules/@openclaw/gateway-protocol/protocol.schema.json"

ANSWERS = {
    "agent.identity.get": "AgentIdentityResult",
    "agents.list": "AgentsListResult",
    "commands.list": "CommandsListResult",
    "connect": "HelloOk",
    "models.list": "ModelsListResult",
    "question.list": "QuestionListResult",
    "sessions.create": "SessionsCreateResult",
    "sessions.delete": "SessionsDeleteResult",
    "sessions.resolve": "SessionsResolveResult",
    "taskSuggestions.list": "TaskSuggestionsListResult",
}
EVENT_PAYLOADS = {
    "agent": "AgentEvent",
    "chat": "ChatEvent",
    "shutdown": "ShutdownEvent",
    "tick": "TickEvent",
}
# The gateways themselves send these beside what their schema knows of an `agent` event.
BESIDE_AN_AGENT_EVENT = {"sessionKey", "agentId", "sessionId"}

KEYS = {
    "event": {"type", "event", "payload", "seq", "stateVersion"},
    "res": {"type", "id", "ok", "payload", "error"},
}
FAULT = {"code", "message", "details", "retryable", "retryAfterMs"}


def problems(protocol: int | None, method: str | None, frame: dict[str, Any]) -> Iterator[str]:
    """Yield what does not fit: in protocol 4, and before the login, what the published schema says."""
    if protocol == 3:
        yield from _strict(method, frame)
        return
    yield from _against("ResponseFrame" if frame["type"] == "res" else "EventFrame", frame)
    payload: Any = frame.get("payload")
    if frame["type"] == "event":
        name = EVENT_PAYLOADS.get(frame["event"])
        if frame["event"] == "agent":
            payload = {key: value for key, value in payload.items() if key not in BESIDE_AN_AGENT_EVENT}
        if frame["event"] == "presence":
            for entry in payload["presence"]:
                yield from _against("PresenceEntry", entry)
    else:
        name = ANSWERS.get(method or "") if frame["ok"] else None
        if method == "system-presence" and frame["ok"]:
            for entry in payload:
                yield from _against("PresenceEntry", entry)
    if name is not None:
        yield from _against(name, payload)


def _strict(method: str | None, frame: dict[str, Any]) -> Iterator[str]:
    """Yield what clients of protocol 3 do not know; its schema is not published any more."""
    if set(frame) - KEYS[frame["type"]]:
        yield f"keys {sorted(frame)}"
    if set(frame.get("error", {})) - FAULT:
        yield f"keys of the error {sorted(frame['error'])}"
    name = method if frame["type"] == "res" else frame["event"]
    yield from newer_keys(_types().get(name), frame.get("payload"))


@functools.cache
def _types() -> dict[str | None, Any]:
    """Return the types of all answers and events; no event has the name of a method with another answer."""
    answers: dict[str | None, Any] = {
        method.name: method.payload for method in Rig().door.described if method.name != "agent"
    }
    return {"connect": HelloOk, **answers, **{event.name: event.payload for event in EVENTS}}


@functools.cache
def _validator(name: str) -> jsonschema.Draft7Validator:
    schema = json.loads((installed() / FILE).read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    return jsonschema.Draft7Validator({**definitions[name], "definitions": definitions})


def _against(name: str, value: Any) -> Iterator[str]:
    for error in _validator(name).iter_errors(value):
        place = "/".join(map(str, error.absolute_path))
        yield f"{name} at /{place}: {error.message[:300]}"
