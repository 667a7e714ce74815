"""What clients ask for on their way in and this gateway has none of: questions, approvals, heartbeats.

The answer is an empty list each time, so that no client shows a warning.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import NoParams

__all__ = ["SuggestionsParams", "nothing_methods"]


class SuggestionsParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose suggestions; there are none."""

    session_key: str | None = None
    agent_id: str | None = None


class Questions(Struct, frozen=True):
    """The open questions to the operator."""

    questions: tuple[()] = ()


class Suggestions(Struct, frozen=True):
    """The suggested tasks."""

    suggestions: tuple[()] = ()


def nothing_methods() -> tuple[Method[Any], ...]:
    """Return the methods of this family."""

    async def questions(_call: Call, _params: NoParams) -> Answer[Questions]:
        return Answer(Questions())

    async def approvals(_call: Call, _params: NoParams) -> Answer[tuple[()]]:
        return Answer(())

    async def suggestions(_call: Call, _params: SuggestionsParams) -> Answer[Suggestions]:
        return Answer(Suggestions())

    async def heartbeat(_call: Call, _params: NoParams) -> Answer[None]:
        return Answer(None)

    return (
        Method("question.list", NoParams, questions),
        Method("plugin.approval.list", NoParams, approvals),
        Method("exec.approval.list", NoParams, approvals),
        Method("taskSuggestions.list", SuggestionsParams, suggestions),
        Method("last-heartbeat", NoParams, heartbeat),
    )
