"""The floor's only door: start runs, find them, stop them, let them end.

The flow of one run:
1. `start` refuses what cannot work (no such model, queue full, shutting down) before anything is said;
2. the run waits for its session's turn and a place (`lanes`);
3. the session is read, and reset if it is over (`opening`); the question is put together and asked (`turn`);
4. the turn is stored (`bookkeeping`): a session's turn durably, a stateless one off the hot path;
5. only then listeners hear that the run finished, so "finished" means "kept";
6. only then the next run of the session has its turn, so that listeners hear of one after the other.

A run that is cancelled or breaks off after some text is stored as interrupted; one that fails before
any text leaves its session as it was, so that trying again does not double the question. While a run is being
stored it is too late to stop it: it ends as what is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import (
    Provider,
    SessionBus,
    SessionStore,
)
from openclaw_twisted.errors import (
    AgentNotFoundError,
    CancelledRunError,
    ContextLengthError,
    GatewayError,
    InternalError,
    ModelNotReadyError,
    NoProviderError,
    ShuttingDownError,
    UpstreamError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import RunFailed, RunFinished, RunStarted
from openclaw_twisted.runs.bookkeeping import Bookkeeping
from openclaw_twisted.runs.bus import LocalBus
from openclaw_twisted.runs.fresh import asks_afresh
from openclaw_twisted.runs.lanes import Lanes, Turn
from openclaw_twisted.runs.opening import Opener, SessionRules
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.run import Run, RunSummary
from openclaw_twisted.runs.sessions import Sessions
from openclaw_twisted.runs.turn import ask

__all__ = ["UNASKABLE", "Abilities", "Runner"]

UNASKABLE: Final = (AgentNotFoundError, ModelNotReadyError, NoProviderError, UpstreamError)
"""What keeps a model from being asked, as `Runner.check` raises it."""

NO_MODEL = (
    "No model is configured. Set agents.defaults.model and its provider under models.providers, "
    "or run a local one: pip install 'openclaw-twisted[local]' && openclaw-gateway local pull"
)
CANCELLED = "The run was cancelled."
DEFECT = "The gateway hit a defect; its log tells more under this run's id."


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a runner is handed: who answers, what each agent is told, where turns are kept, who hears of it.

    `prompt` gives the system prompt of an agent id; `keep_stateless` says whether stateless runs are kept,
    `rules` what holds for conversations, `apart` where long ones are put together.
    """

    provider: Provider
    prompt: Callable[[str], Awaitable[str]]
    store: SessionStore
    keep_stateless: bool = True
    bus: SessionBus = field(default_factory=LocalBus)
    rules: SessionRules = field(default_factory=SessionRules)
    apart: Apart = field(default_factory=Apart)


class _Means:
    """What a run is done with from its start to its end, whatever is changed meanwhile."""

    def __init__(self, abilities: Abilities, now: Callable[[], float]) -> None:
        store, bus = abilities.store, abilities.bus
        self.provider = abilities.provider
        self.rules = abilities.rules
        self.books = Bookkeeping(store, bus, now, keep_stateless=abilities.keep_stateless)
        self.opener = Opener(
            store, bus, abilities.rules, prompt=abilities.prompt, now=now, apart=abilities.apart
        )


class Runner:
    """Runs agents: the only way from a door to a model."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        abilities: Abilities,
        lanes: Lanes,
        *,
        now: Callable[[], float],
        observe: Callable[[RunSummary], object] = lambda _summary: None,
    ) -> None:
        """`now` gives seconds since the epoch; `observe` hears of every run that has ended."""
        self._clock = clock
        self._lanes = lanes
        self._now = now
        self._observe = observe
        self._means = _Means(abilities, now)
        self.sessions = Sessions(abilities.store, lanes, abilities.bus, active=self.active, now=now)
        self._runs: dict[str, Run] = {}
        self._watchers: dict[object, Callable[[Run], object]] = {}
        self._draining = False
        self._idle: Deferred[None] | None = None

    def take(self, abilities: Abilities) -> None:
        """Run what starts from now on with these; store and bus have to be the same as before."""
        self._means = _Means(abilities, self._now)

    def start(self, request: RunRequest) -> Run:
        """Start a run and return it at once.

        Raises what `check` raises when none of its models can answer (that its session has one of its own is
        not known here: `Sessions.model_of`), `OverloadedError` when too many wait, `ShuttingDownError` while
        the gateway stops.
        """
        if self._draining:
            raise ShuttingDownError("The gateway is shutting down. Try again soon.", retry_after_seconds=5)
        self.check(request.models)
        run = Run(request)
        self._lanes.admit(run.key)
        run.asked_at = self._clock.seconds()
        self._runs[request.run_id] = run
        for watcher in tuple(self._watchers.values()):
            watcher(run)
        turn = self._lanes.turn(run.key)
        run.work = Deferred.fromCoroutine(self._work(run, self._means, turn))
        run.work.addBoth(self._ended, run, self._limit(run))
        # The next run of the session is not to begin before everybody has heard of the end of this one.
        run.work.addBoth(_end, turn)
        if run.feed.stopped:
            run.work.cancel()  # by somebody who watches, before there was anything to cancel
        return run

    def watch(self, callback: Callable[[Run], object]) -> Callable[[], None]:
        """Have `callback` called with every run before it says anything; call what is returned to stop that.

        It is called while the run starts, so it must neither block nor raise.
        """
        ticket = object()
        self._watchers[ticket] = callback

        def stop() -> None:
            self._watchers.pop(ticket, None)

        return stop

    def can_answer(self, model: str) -> bool:
        """Tell whether a model could be asked now."""
        try:
            self._means.provider.check(model)
        except GatewayError:
            return False
        return True

    def begins_anew(self, message: str) -> bool:
        """Tell whether a message, said in a session, lets it start afresh."""
        return asks_afresh(message, self._means.rules.triggers)

    def find(self, run_id: str) -> Run | None:
        """Return a run that has not ended."""
        return self._runs.get(run_id)

    def active(self) -> tuple[Run, ...]:
        """Return the runs that have not ended, oldest first."""
        return tuple(self._runs.values())

    @property
    def waiting(self) -> int:
        """How many runs wait for their turn or for a place."""
        return self._lanes.waiting

    @property
    def running(self) -> int:
        """How many runs have their turn and have not ended."""
        return len(self._runs) - self._lanes.waiting

    async def drain(self, seconds: float) -> None:
        """Start nothing more, wait up to `seconds` for what runs, then stop the rest."""
        self._draining = True
        if self._runs:
            self._idle = Deferred()
            timer = self._clock.callLater(seconds, self._stop_all)
            await self._idle
            if timer.active():
                timer.cancel()

    def check(self, models: tuple[str, ...]) -> None:
        """Raise at once what keeps every one of these models from answering.

        Raises `AgentNotFoundError`, `NoProviderError`, `ModelNotReadyError`, `UpstreamError`.
        """
        if not models:
            raise NoProviderError(NO_MODEL)
        refusals: list[GatewayError] = []
        for model in models:
            try:
                self._means.provider.check(model)
            except GatewayError as refused:
                refusals.append(refused)
            else:
                return
        raise refusals[0]

    def _stop_all(self) -> None:
        for run in reversed(self.active()):  # or those that wait would get their turn one by one
            run.cancel(ShuttingDownError("The gateway is shutting down.", retry_after_seconds=5))

    async def _work(self, run: Run, means: _Means, turn: Turn) -> RunFinished:
        await turn.begin()
        run.lifecycle.begin()
        run.started_at = self._now()
        run.turn_at = self._clock.seconds()
        run.feed.publish((RunStarted(run.started_at),))
        means.books.announce(run, "start")
        try:
            if run.feed.stopped:
                raise CancelledError  # noqa: TRY301 - as if it had been cancelled while it waited
            await self._answer(run, means)
        except CancelledError:
            await means.books.break_off(run, run.stopped_by or CancelledRunError(CANCELLED))
            raise
        except GatewayError as error:
            run.ending = True
            await means.books.break_off(run, error)
            raise
        except Exception:  # a defect, told by `_ended`; the store is not to take the run for a lost one
            await means.books.break_off(run, InternalError(DEFECT))
            raise
        run.ending = True
        reply = run.reply
        message = reply.message()
        await means.books.finish(run, message)
        return RunFinished(message=message, reason=reply.reason or "stop", usage=reply.usage, at=self._now())

    async def _answer(self, run: Run, means: _Means) -> None:
        """Ask, and again with half as much of the past each time the model finds that there is too much."""
        request, past = await means.opener.read(run.request)
        if request.models != run.request.models:
            self.check(request.models)
        run.request = request
        run.session_id = past.session.session_id if past.session is not None else ""
        await means.books.begin(run)
        opened, question = await means.opener.open(request, past)
        run.added = opened.added
        provider, seconds = means.provider, self._clock.seconds
        while True:
            try:
                await ask(provider, question, feed=run.feed, reply=run.reply, seconds=seconds)
            except ContextLengthError:
                shorter = opened.shorter()
                if shorter is None or run.reply.text:
                    raise
                self._log.info("run {run_id} is asked again with less of the past", run_id=request.run_id)
                opened, question = shorter, await means.opener.question(shorter)
            else:
                return

    def _limit(self, run: Run) -> IDelayedCall | None:
        seconds = run.request.timeout_seconds
        if not seconds:
            return None
        error = UpstreamTimeoutError(f"The run took longer than {seconds:g} s and was stopped.")
        return self._clock.callLater(seconds, run.cancel, error)

    def _ended(self, result: RunFinished | Failure, run: Run, limit: IDelayedCall | None) -> None:
        if limit is not None and limit.active():
            limit.cancel()
        del self._runs[run.request.run_id]
        if isinstance(result, Failure):
            error = _without_traces(self._meaning(result, run))
            if isinstance(error, CancelledRunError):
                run.lifecycle.cancel()
            else:
                run.lifecycle.fail()
            run.feed.publish((RunFailed(error, self._now()),))
            run.settle(Failure(error))
        else:
            run.lifecycle.finish()
            run.feed.publish((result,))
            run.settle(result)
        self._tell(run)
        self._means.books.announce(run, "end")
        run.forget_question()
        if self._idle is not None and not self._runs:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _meaning(self, failure: Failure, run: Run) -> GatewayError:
        if run.stopped_by is not None:
            return run.stopped_by
        if isinstance(failure.value, GatewayError):
            return failure.value
        if failure.check(CancelledError):
            return CancelledRunError(CANCELLED)
        self._log.failure("run {run_id} hit a defect", failure=failure, run_id=run.request.run_id)
        return InternalError(DEFECT)

    def _tell(self, run: Run) -> None:
        usage, status, began_at = run.reply.usage, run.status, run.reply.began_at
        self._log.info(
            "run {run_id} {status}: agent {agent_id}, model {model}, {seconds:.3f} s, {tokens} tokens",
            run_id=run.request.run_id,
            session_key=run.key,
            status=status,
            agent_id=run.request.agent_id,
            model=run.model,
            seconds=self._clock.seconds() - run.turn_at if run.turn_at is not None else 0.0,
            tokens=usage.total_tokens if usage else "?",
        )
        self._observe(
            RunSummary(
                agent_id=run.request.agent_id,
                status=status,
                seconds=self._clock.seconds() - run.asked_at,
                first_token_seconds=None if began_at is None else began_at - run.asked_at,
                prompt_tokens=usage.prompt_tokens if usage else 0,
                completion_tokens=usage.completion_tokens if usage else 0,
            )
        )


def _without_traces(error: GatewayError) -> GatewayError:
    """Let an error forget where it came from, as there is the question, and it may be kept for long."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _end(result: Failure | None, turn: Turn) -> Failure | None:
    turn.end()
    return result
