"""The store that lasts as long as the process: for tests, and for gateways that must keep nothing."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from openclaw_twisted.boundaries import (
    Claim,
    Conversation,
    Pruned,
    Recollection,
    Retention,
    RunRecord,
    SessionPage,
    SessionPatch,
    SessionQuery,
    SessionRow,
    SessionStore,
    StoredMessage,
    TurnRecord,
)
from openclaw_twisted.errors import InvalidRequestError, StorageError
from openclaw_twisted.session_key import RESPONSE
from openclaw_twisted.sessions.turns import (
    ClaimLimits,
    agent_of,
    changed_at,
    chosen,
    conversation_of,
    enough,
    first_kept,
    folded,
    is_stateless,
    preview_of,
    stored_messages,
    title_of,
)

__all__ = ["MemoryStore"]


@dataclass(frozen=True)
class _Claimed:
    claim: Claim
    run_id: str
    at: float
    answer_seq: int | None


class MemoryStore:
    """Sessions and runs in dictionaries; `now` tells seconds since the epoch.

    Every method raises `StorageError` while the store is not open. It can be opened again after `close`.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        claims: ClaimLimits = ClaimLimits(),  # noqa: B008  a tuple of constants
    ) -> None:
        self._now = now
        self._limits = claims
        self._sessions: dict[str, SessionRow] = {}
        self._messages: dict[str, list[StoredMessage]] = {}
        self._archives: dict[tuple[str, int], float] = {}
        self._runs: dict[str, RunRecord] = {}
        self._claims: dict[tuple[str, str], _Claimed] = {}
        self._open = False

    async def open(self) -> None:
        """Start; runs that had no end when the store was closed become `interrupted`."""
        if self._open:
            raise StorageError("The store is open already. Close it before opening it again.")
        self._interrupt(frozenset())
        self._open = True

    async def close(self) -> None:
        """Stop; closing twice is harmless."""
        self._open = False

    async def conversation(self, session_key: str, *, max_tokens: int | None = None) -> Conversation:
        """Return a session with its newest messages."""
        self._check_open()
        session = self._sessions.get(session_key)
        if session is None:
            return Conversation(session=None)
        return conversation_of(session, self._current(session_key), max_tokens)

    async def history(
        self,
        session_key: str,
        limit: int = 1000,
        *,
        before_seq: int | None = None,
        max_characters: int | None = None,
    ) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages of a session, oldest first."""
        self._check_open()
        current = reversed(self._current(session_key))
        newest_first = (stored for stored in current if before_seq is None or stored.seq < before_seq)
        return tuple(enough(islice(newest_first, max(limit, 0)), max_characters=max_characters))

    async def begin(self, run: RunRecord, claim: Claim | None = None) -> None:
        """Record that a run started."""
        self._check_open()
        self._keep(TurnRecord(run=run, messages=(), claim=claim), counted=False)

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended."""
        self._check_open()
        try:
            self._keep(turn)
        except UnicodeError as error:
            raise StorageError(f"The store cannot keep this: {error}.") from error

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run."""
        self._check_open()
        with contextlib.suppress(UnicodeError):
            self._keep(turn)

    async def session(self, session_key: str) -> SessionRow | None:
        """Return a session, None when there is none of this key."""
        self._check_open()
        return self._sessions.get(session_key)

    async def find_session(
        self, *, session_id: str | None = None, label: str | None = None
    ) -> SessionRow | None:
        """Return the session of this id, or else of this label."""
        self._check_open()
        by_id = (row for row in self._sessions.values() if row.session_id == session_id)
        by_label = (row for row in self._sessions.values() if label is not None and row.label == label)
        return next(by_id, None) or next(by_label, None)

    async def sessions(self, query: SessionQuery | None = None) -> SessionPage:
        """Return the sessions that match, the most recently updated first."""
        self._check_open()
        query = query or SessionQuery()
        found = [row for row in self._sessions.values() if _matches(row, query)]
        found.sort(key=lambda row: (-row.updated_at, row.session_key))
        return SessionPage(rows=tuple(found[max(query.offset, 0) :][: max(query.limit, 0)]), total=len(found))

    async def sessions_by_agent(self, limit: int) -> Mapping[str, SessionPage]:
        """Return, for each agent with sessions, the ones that were updated last."""
        agents = {row.agent_id for row in self._sessions.values() if not is_stateless(row.session_key)}
        queries = {agent: SessionQuery(limit=limit, stateless=False, agent_id=agent) for agent in agents}
        return {agent: await self.sessions(query) for agent, query in queries.items()}

    async def patch(self, session_key: str, patch: SessionPatch, at: float) -> SessionRow:
        """Change what somebody chose for a session, which is created if need be."""
        self._check_open()
        before = self._touched(session_key, agent_of(session_key), at)
        after = replace(before, **chosen(patch, before.options))
        try:
            msgspec.json.encode(after)
        except UnicodeError as error:
            raise StorageError(f"The store cannot keep this: {error}.") from error
        for row in self._sessions.values():
            if after.label is not None and row.label == after.label and row.session_key != session_key:
                raise InvalidRequestError(f"label already in use: {after.label}")
        self._sessions[session_key] = after
        return after

    async def reset(self, session_key: str, at: float) -> SessionRow:
        """Archive a session's messages and let it start afresh."""
        self._check_open()
        before = self._touched(session_key, agent_of(session_key), at)
        if before.message_count:
            self._archives[session_key, before.last_seq] = at
        self._sessions[session_key] = replace(
            before,
            session_id=str(uuid.uuid4()),
            started_at=at,
            message_count=0,
            title=None,
            preview=None,
            input_tokens=0,
            output_tokens=0,
            total_tokens=0,
            context_tokens=None,
        )
        return self._sessions[session_key]

    async def compact(self, session_key: str, keep: int, at: float) -> int:
        """Archive all but the newest `keep` messages, whole turns at a time; return how many."""
        self._check_open()
        current = self._current(session_key)
        if len(current) <= keep:
            return 0
        count = first_kept([stored.message for stored in current], keep)
        if count:
            self._archives[session_key, current[count - 1].seq] = at
            self._sessions[session_key] = replace(
                self._sessions[session_key], message_count=len(current) - count, context_tokens=None
            )
        return count

    async def delete(self, session_key: str) -> bool:
        """Delete a session with everything in it; tell whether there was one."""
        self._check_open()
        self._messages.pop(session_key, None)
        self._archives = {place: at for place, at in self._archives.items() if place[0] != session_key}
        self._runs = {run_id: run for run_id, run in self._runs.items() if run.session_key != session_key}
        return self._sessions.pop(session_key, None) is not None

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        self._check_open()
        return self._runs.get(run_id)

    async def runs(self, session_key: str | None = None, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest runs, of one session or of all, the newest first."""
        self._check_open()
        found = [run for run in self._runs.values() if session_key in {None, run.session_key}]
        found.sort(key=lambda run: (-run.started_at, run.run_id))
        return tuple(found[: max(limit, 0)])

    async def recall(self, scope: str, key: str) -> Recollection | None:
        """Return what became of the run behind an idempotency key that is not forgotten yet."""
        self._check_open()
        claimed = self._claims.get((scope, key))
        if claimed is None or claimed.at <= self._now() - self._limits.keep_seconds:
            return None
        run = self._runs.get(claimed.run_id)
        if run is None:
            return None
        messages = self._messages.get(run.session_key, [])
        answer = next((m.message for m in messages if m.seq == claimed.answer_seq), None)
        return Recollection(claim=claimed.claim, run=run, answer=answer)

    async def prune(self, retention: Retention) -> Pruned:
        """Delete what may go; return how much it was."""
        self._check_open()
        runs = 0 if retention.running is None else self._interrupt(retention.running)
        before = -inf if retention.stateless_before is None else retention.stateless_before
        stale = [key for key, row in self._sessions.items() if is_stateless(key) and row.updated_at < before]
        for key in stale:
            await self.delete(key)
        archives = self._prune_archives(retention.archived_before)
        sessions = await self._prune_unused(retention)
        limit, target = retention.max_bytes, retention.target_bytes
        if limit is not None and self._size() > limit:
            enough_bytes = limit if target is None else target
            while self._size() > enough_bytes and self._archives:
                oldest = min(self._archives.values())
                archives += self._prune_archives(oldest, at_it=True)
            while self._size() > enough_bytes and (named := self._longest_unused(retention)):
                await self.delete(named[0].session_key)
                sessions += 1
        return Pruned(
            stateless=len(stale), sessions=sessions, archives=archives, runs=runs, size_bytes=self._size()
        )

    async def surplus(self, retention: Retention) -> Pruned:
        """Tell what `prune` would delete because of age and number, and how large the store is."""
        self._check_open()
        named = [row for row in self._sessions.values() if not is_stateless(row.session_key)]
        rest = [row for row in self._sessions.values() if is_stateless(row.session_key)]
        too_many = 0 if retention.max_sessions is None else len(named) - retention.max_sessions
        return Pruned(
            stateless=_older([row.updated_at for row in rest], retention.stateless_before),
            sessions=max(_older([row.updated_at for row in named], retention.unused_before), too_many),
            archives=_older(list(self._archives.values()), retention.archived_before),
            size_bytes=self._size(),
        )

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("The store is closed: the gateway is starting or stopping. Try again soon.")

    def _current(self, session_key: str) -> list[StoredMessage]:
        """Return the messages of a session's conversation."""
        row = self._sessions.get(session_key)
        archived = row.last_seq - row.message_count if row else 0
        return [stored for stored in self._messages.get(session_key, []) if stored.seq > archived]

    def _touched(self, session_key: str, agent_id: str, at: float) -> SessionRow:
        """Return the session as it is when something happens to it at `at`, not kept yet."""
        row = self._sessions.get(session_key)
        if row is not None:
            return replace(row, updated_at=max(row.updated_at, at))
        return SessionRow(
            session_key=session_key,
            agent_id=agent_id,
            session_id=str(uuid.uuid4()),
            created_at=at,
            started_at=at,
            updated_at=at,
        )

    def _keep(self, turn: TurnRecord, *, counted: bool = True) -> None:
        """Keep a turn, or raise `UnicodeEncodeError`, as a store on disk would, and keep nothing of it."""
        msgspec.json.encode(turn)
        run, usage = turn.run, turn.run.usage if counted else None
        before = self._sessions.get(run.session_key)
        row = self._touched(run.session_key, run.agent_id, run.started_at)
        messages = self._messages.setdefault(run.session_key, [])
        told = () if is_stateless(run.session_key) else turn.messages
        added = tuple(stored_messages(turn, row.last_seq))
        messages.extend(added)
        self._sessions[run.session_key] = replace(
            row,
            updated_at=max(changed_at(run), before.updated_at if before else changed_at(run)),
            message_count=row.message_count + len(added),
            last_seq=row.last_seq + len(added),
            title=row.title or title_of(told),
            preview=preview_of(told) or row.preview,
            input_tokens=row.input_tokens + (usage.prompt_tokens if usage else 0),
            output_tokens=row.output_tokens + (usage.completion_tokens if usage else 0),
            total_tokens=row.total_tokens + (usage.total_tokens if usage else 0),
            context_tokens=usage.total_tokens if usage else row.context_tokens,
        )
        self._runs[run.run_id] = run
        if turn.claim is not None:
            answered = bool(added) and run.status == "finished"
            self._claim(turn.claim, run, added[-1].seq if answered else None)

    def _claim(self, claim: Claim, run: RunRecord, answer_seq: int | None) -> None:
        at = changed_at(run)
        self._claims[claim.scope, claim.key] = _Claimed(claim, run.run_id, at, answer_seq)
        newest = sorted((claimed.at for claimed in self._claims.values()), reverse=True)
        limit = self._limits.max_kept
        oldest = newest[limit - 1] if 0 < limit <= len(newest) else 0.0
        since = max(at - self._limits.keep_seconds, oldest)
        self._claims = {place: claimed for place, claimed in self._claims.items() if claimed.at >= since}

    def _interrupt(self, running: frozenset[str]) -> int:
        endless = [run for run in self._runs.values() if run.status in {"queued", "running"}]
        lost = [run for run in endless if run.run_id not in running]
        for run in lost:
            self._runs[run.run_id] = replace(run, status="interrupted", ended_at=self._now())
        return len(lost)

    def _prune_archives(self, before: float | None, *, at_it: bool = False) -> int:
        """Delete the archives made before, or at that time too."""
        if before is None:
            return 0
        old = [place for place, at in self._archives.items() if at < before or (at_it and at == before)]
        for key, last_seq in old:
            del self._archives[key, last_seq]
            self._messages[key] = [stored for stored in self._messages[key] if stored.seq > last_seq]
        return len(old)

    def _longest_unused(self, retention: Retention) -> list[SessionRow]:
        named = [row for row in self._sessions.values() if not is_stateless(row.session_key)]
        named.sort(key=attrgetter("session_key"), reverse=True)
        named.sort(key=attrgetter("updated_at"))
        return [row for row in named if row.session_key not in retention.keep]

    async def _prune_unused(self, retention: Retention) -> int:
        count = sum(not is_stateless(key) for key in self._sessions)
        too_many = 0 if retention.max_sessions is None else count - retention.max_sessions
        responses = [row for row in self._longest_unused(retention) if f":{RESPONSE}" in row.session_key]
        for row in responses[: max(too_many, 0)]:
            await self.delete(row.session_key)
        deleted = min(len(responses), max(too_many, 0))
        for row in self._longest_unused(retention):
            before = retention.unused_before
            if not (before is not None and row.updated_at < before) and deleted >= too_many:
                break
            await self.delete(row.session_key)
            deleted += 1
        return deleted

    def _size(self) -> int:
        return sum(len(msgspec.json.encode(messages)) for messages in self._messages.values())


def _older(times: list[float], before: float | None) -> int:
    return 0 if before is None else sum(at < before for at in times)


def _matches(row: SessionRow, query: SessionQuery) -> bool:
    if (is_stateless(row.session_key) and not query.stateless) or query.agent_id not in {None, row.agent_id}:
        return False
    if query.active_since is not None and row.updated_at < query.active_since:
        return False
    texts = (row.session_key, row.session_id, row.label, row.title)
    wanted = folded(query.search or "")
    return not wanted or any(wanted in folded(text) for text in texts if text)


_proof: type[SessionStore] = MemoryStore
