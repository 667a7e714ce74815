"""The system prompt a turn starts with.

In this order: the agent's `systemPromptOverride`; else the files of its workspace, as OpenClaw injects them
(https://docs.openclaw.ai/gateway/config-agents/workspace-and-bootstrap); else two sentences. Left out are
OpenClaw's BOOTSTRAP.md, a first-run ritual in which the agent edits its own files, and its markers for
missing files: small models take both for instructions. `contextInjection: continuation-skip` means
`always`, because here the prompt is no part of the stored session: a turn without it would be another
agent's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from openclaw_twisted.agents.directory import Agent, PromptSettings
from openclaw_twisted.agents.workspace import WorkspaceFile, look

__all__ = ["RECHECK_SECONDS", "PromptSource"]

RECHECK_SECONDS = 1.0
MAX_USER_CHARS = 4_000  # OpenClaw's own limit for USER.md
MIN_FILE_CHARS = 64  # with less room than this a file is left out, as in OpenClaw
_HEAD_SHARE = 0.75

_log = Logger()


@dataclass(slots=True)
class _Kept:
    agent: Agent
    looked_at: float
    text: str = ""
    files: dict[str, WorkspaceFile] = field(default_factory=dict)
    cuts: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


class PromptSource:
    """Makes the system prompts of all agents, and looks at each one's files once a second at most."""

    def __init__(
        self, seconds: Callable[[], float], in_thread: Callable[..., Deferred[Any]] = deferToThread
    ) -> None:
        """`seconds` is a monotonic clock; `in_thread` calls a function with its arguments off the reactor."""
        self._seconds = seconds
        self._in_thread = in_thread
        self._kept: dict[str, _Kept] = {}

    async def text(self, agent: Agent) -> str:
        """Return the agent's system prompt as its settings and its files are now."""
        settings = agent.prompt
        if settings.override:
            return settings.override
        if settings.context_injection == "never":
            return _introduction(settings)
        now, kept = self._seconds(), self._kept.get(agent.id)
        if kept is None or kept.agent is not agent:
            kept = self._kept[agent.id] = _Kept(agent, now)
        elif kept.text and now - kept.looked_at < RECHECK_SECONDS:
            return kept.text
        kept.looked_at = now
        found = await self._in_thread(look, settings.workspaces, kept.files)
        if found.files != kept.files or not kept.text:
            kept.text, kept.cuts = _compose(found.files, settings)
            kept.files = found.files
        _tell(kept, found.problems + kept.cuts)
        return kept.text


def _tell(kept: _Kept, notes: tuple[str, ...]) -> None:
    for note in notes:
        if note not in kept.told:
            _log.warn("Workspace of the agent {agent_id}: {note}.", agent_id=kept.agent.id, note=note)
    kept.told = notes


def _introduction(settings: PromptSettings) -> str:
    """Say who the agent is in few words: small local models pay for every one."""
    who = f"{settings.persona}, a helpful assistant" if settings.persona else "a helpful assistant"
    manner = f" Your manner: {settings.theme}." if settings.theme else ""
    return f"You are {who}.{manner} Answer in the user's language, clearly and to the point."


def _compose(files: dict[str, WorkspaceFile], settings: PromptSettings) -> tuple[str, tuple[str, ...]]:
    """Return the prompt and what had to be cut from it; the limits count the files' own characters."""
    sections: list[str] = []
    cuts: list[str] = []
    room = settings.max_chars
    for name, file in files.items():
        if not file.text:
            continue
        if room < min(MIN_FILE_CHARS, len(file.text)):
            cuts.append(f"{name} is left out: the files before it fill bootstrapTotalMaxChars")
            continue
        limit = min(room, settings.max_chars_per_file, MAX_USER_CHARS if name == "USER.md" else room)
        text = _cut(file.text, limit, name)
        if len(text) < len(file.text):
            cuts.append(f"{name} has {len(file.text)} characters and was cut to {limit}")
        room -= len(text)
        sections.append(f"## {name}\n\n{text}")
    if not sections:
        return _introduction(settings), tuple(cuts)
    who = f"You are {settings.persona}. " if settings.persona else ""
    opening = f"{who}The files of your workspace say who you are, how you work, and whom you work for."
    return "\n\n".join([opening, *sections]), tuple(cuts)


def _cut(text: str, limit: int, name: str) -> str:
    """Keep the beginning and the end, with a mark between them that the model can see."""
    if len(text) <= limit:
        return text
    mark = f"\n\n[... part of {name} is left out here ...]\n\n"
    kept = limit - len(mark)
    if kept <= 0:
        return text[:limit]
    head = int(kept * _HEAD_SHARE)
    return text[:head] + mark + text[len(text) - (kept - head) :]
