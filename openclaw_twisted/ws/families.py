"""Every method that is served, put together from its family; loaded when the first client comes."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.runs.recall import Recall
from openclaw_twisted.ws.behind import Behind
from openclaw_twisted.ws.ledger import Ledgers
from openclaw_twisted.ws.method import Method
from openclaw_twisted.ws.methods.agent import AgentMethods
from openclaw_twisted.ws.methods.agents import agents_methods
from openclaw_twisted.ws.methods.chat import ChatMethods
from openclaw_twisted.ws.methods.commands import commands_methods
from openclaw_twisted.ws.methods.config import config_methods
from openclaw_twisted.ws.methods.history import HistoryMethods
from openclaw_twisted.ws.methods.models import models_methods
from openclaw_twisted.ws.methods.nothing import nothing_methods
from openclaw_twisted.ws.methods.runs import RunMethods
from openclaw_twisted.ws.methods.session_changes import SessionChanges
from openclaw_twisted.ws.methods.session_runs import SessionRuns
from openclaw_twisted.ws.methods.sessions import SessionMethods
from openclaw_twisted.ws.methods.status import StatusMethods
from openclaw_twisted.ws.methods.wait import WaitMethods
from openclaw_twisted.ws.presence import Presence
from openclaw_twisted.ws.pulse import Pulse
from openclaw_twisted.ws.starting import Starter

__all__ = ["every_method"]


def every_method(
    clock: IReactorTime, behind: Behind, ledgers: Ledgers, presence: Presence, pulse: Pulse
) -> tuple[Method[Any], ...]:
    """Return the methods."""
    settings, runner, directory = behind.loaded.settings, behind.runner, behind.directory
    limits = settings.gateway.limits
    starter = Starter(
        runner=runner,
        directory=directory,
        now=behind.now,
        recall=Recall(runner.sessions.store, clock, keep_seconds=limits.idempotency_seconds),
        timeout_seconds=settings.agents.defaults.timeout_seconds,
    )

    agent = AgentMethods(starter=starter, ledger=ledgers.agent)
    chat = ChatMethods(starter=starter, ledger=ledgers.chat)
    wait = WaitMethods(runner=runner, ledgers=(agent.ledger, chat.ledger), clock=clock)
    status = StatusMethods(runner=runner, shown=behind.shown, presence=presence, pulse=pulse)
    return (
        *agent.methods(),
        *chat.methods(),
        *wait.methods(),
        *RunMethods(runner=runner, directory=directory, now=behind.now).methods(),
        *status.methods(),
        *agents_methods(directory),
        *models_methods(directory, settings, runner.can_answer),
        *config_methods(behind.loaded),
        *commands_methods(settings.session.reset_triggers),
        *SessionRuns(chat=chat).methods(),
        *_session_methods(behind, chat),
        *nothing_methods(),
    )


def _session_methods(behind: Behind, chat: ChatMethods) -> tuple[Method[Any], ...]:
    runner, shown = behind.runner, behind.shown
    return (
        *SessionMethods(sessions=runner.sessions, shown=shown, now=behind.now).methods(),
        *SessionChanges(runner=runner, shown=shown, chat=chat).methods(),
        *HistoryMethods(sessions=runner.sessions, shown=shown).methods(),
    )
