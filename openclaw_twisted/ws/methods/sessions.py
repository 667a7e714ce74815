"""`sessions.list` and its kin: what sessions there are, which one is meant, what was said last in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openclaw_twisted.agents.directory import shown as printable
from openclaw_twisted.boundaries import SessionPage, SessionQuery, SessionRow
from openclaw_twisted.content import text_of
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.runs.sessions import Sessions
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.history_payloads import MAX_READ_CHARACTERS
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import MAX_INTEGER, NoParams, invalid
from openclaw_twisted.ws.session_payloads import Defaults, Shown, ShownSession, milliseconds
from openclaw_twisted.ws.session_target import find_session, kept_session
from openclaw_twisted.ws.since import Since4

__all__ = [
    "DescribeParams",
    "FollowParams",
    "ListParams",
    "MessagesParams",
    "PreviewParams",
    "ResolveParams",
    "SessionMethods",
]

LIST = "sessions.list"
SUBSCRIBE = "sessions.subscribe"
UNSUBSCRIBE = "sessions.unsubscribe"
FOLLOW = "sessions.messages.subscribe"
UNFOLLOW = "sessions.messages.unsubscribe"
DESCRIBE = "sessions.describe"
RESOLVE = "sessions.resolve"
PREVIEW = "sessions.preview"

MAX_LISTED = 1000
MAX_PREVIEWS = 64
MAX_PREVIEW_ITEMS = 50

_Text = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=512)]
_Count = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class ListParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which sessions to list, the most recently used first.

    `search` looks in keys, ids, labels and titles; `includeUnknown` lists requests without a session too.
    The keys of type `Raw` are OpenClaw's own and change nothing here.
    """

    limit: _Count = 100
    offset: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0
    active_minutes: _Count | None = None
    agent_id: _Text | None = None
    search: str | None = None
    label: _Key | None = None
    include_unknown: bool = False
    include_derived_titles: bool = False
    include_last_message: bool = False
    archived: bool | Literal["all"] = False
    active_only: bool = False
    has_board: bool = False
    board_face: Raw = Raw()
    configured_agents_only: Raw = Raw()
    creator_id: Raw = Raw()
    exclude_cron: Raw = Raw()
    exclude_subagents: Raw = Raw()
    exclude_system: Raw = Raw()
    include_activity_summary: Raw = Raw()
    include_global: Raw = Raw()
    include_people: Raw = Raw()
    involving_me: Raw = Raw()
    involving_profile_id: Raw = Raw()
    owner_first: Raw = Raw()
    owner_id: Raw = Raw()
    require_last_interaction: Raw = Raw()
    sort_by: Raw = Raw()
    spawned_by: Raw = Raw()


class FollowParams(ListParams, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The params of `sessions.list`: with any of them the answer has that list too."""


class MessagesParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose messages to hear; there are no approvals to include."""

    key: _Key
    agent_id: _Text | None = None
    include_approvals: Raw = Raw()


class DescribeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which session to describe."""

    key: _Key
    agent_id: _Text | None = None
    include_derived_titles: bool = False
    include_last_message: bool = False


class Reference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an address in a page says of a session: its key, and a name that is there to be read."""

    key: _Key
    slug: Raw = Raw()


class ResolveParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is known of a session: key, id, the beginning of the id, or label; the first one counts."""

    key: _Key | None = None
    session_id: _Text | None = None
    short_id: _Text | None = None
    label: _Key | None = None
    reference: Reference | None = None
    agent_id: _Text | None = None
    allow_missing: bool = False
    include_global: Raw = Raw()
    include_unknown: Raw = Raw()
    slug_hint: Raw = Raw()
    spawned_by: Raw = Raw()


class PreviewParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose last messages to show: at most `limit` of each session, and `maxChars` characters of each."""

    keys: Annotated[tuple[_Key, ...], Meta(max_length=MAX_PREVIEWS)]
    limit: _Count = 12
    max_chars: Annotated[int, Meta(ge=20, le=10_000)] = 240


class Listed(Struct, frozen=True, kw_only=True, rename="camel"):
    """A stretch of the listing; the last keys are told to version 4."""

    ts: int
    path: str = "sessions.sqlite3"
    count: int
    defaults: Defaults
    sessions: tuple[ShownSession, ...]
    total_count: Since4[int] = UNSET
    limit_applied: Since4[int] = UNSET
    next_offset: Since4[int | None] = UNSET
    has_more: Since4[bool] = UNSET


class Followed(Struct, frozen=True, kw_only=True):
    """What is heard from now on."""

    subscribed: bool
    key: str | UnsetType = UNSET
    list: Listed | UnsetType = UNSET


class Described(Struct, frozen=True):
    """One session, null when there is none."""

    session: ShownSession | None


class Resolved(Struct, frozen=True, kw_only=True, rename="camel"):
    """The key of the session that is meant; the agent is told to version 4."""

    ok: bool
    key: str | UnsetType = UNSET
    agent_id: Since4[str] = UNSET


class PreviewItem(Struct, frozen=True):
    """One message."""

    role: str
    text: str


class Preview(Struct, frozen=True, kw_only=True):
    """The last messages of one session."""

    key: str
    status: Literal["ok", "empty", "missing", "error"]
    items: tuple[PreviewItem, ...] = ()


class Previews(Struct, frozen=True):
    """The last messages of several sessions, in the order in which they were asked for."""

    ts: int
    previews: tuple[Preview, ...]


@dataclass(frozen=True, kw_only=True)
class SessionMethods:
    """The methods that read sessions; `now` gives seconds since the epoch."""

    sessions: Sessions
    shown: Shown
    now: Callable[[], float]

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method(LIST, ListParams, self.list),
            Method(SUBSCRIBE, FollowParams, self.subscribe),
            Method(UNSUBSCRIBE, NoParams, self.unsubscribe),
            Method(FOLLOW, MessagesParams, self.follow),
            Method(UNFOLLOW, MessagesParams, self.unfollow),
            Method(DESCRIBE, DescribeParams, self.describe),
            Method(RESOLVE, ResolveParams, self.resolve),
            Method(PREVIEW, PreviewParams, self.preview),
        )

    async def list(self, call: Call, params: ListParams) -> Answer[Listed]:
        """List sessions."""
        return Answer(await self._listed(params, speaks_4=call.client.speaks_4))

    async def subscribe(self, call: Call, params: FollowParams) -> Answer[Followed]:
        """Tell this client of every change of the list."""
        call.client.subscriptions.follow_sessions()
        if params == FollowParams():
            return Answer(Followed(subscribed=True))
        listed = await self._listed(params, speaks_4=call.client.speaks_4)
        return Answer(Followed(subscribed=True, list=listed))

    async def unsubscribe(self, call: Call, _params: NoParams) -> Answer[Followed]:
        """Stop that."""
        call.client.subscriptions.leave_sessions()
        return Answer(Followed(subscribed=False))

    async def follow(self, call: Call, params: MessagesParams) -> Answer[Followed]:
        """Tell this client of a session's messages."""
        key = str(self._key(FOLLOW, params.key, params.agent_id))
        call.client.subscriptions.follow_messages(key)
        return Answer(Followed(subscribed=True, key=key))

    async def unfollow(self, call: Call, params: MessagesParams) -> Answer[Followed]:
        """Stop that."""
        key = str(self._key(UNFOLLOW, params.key, params.agent_id))
        call.client.subscriptions.leave_messages(key)
        return Answer(Followed(subscribed=False, key=key))

    async def describe(self, call: Call, params: DescribeParams) -> Answer[Described]:
        """Show one session."""
        row = await self.sessions.store.session(await self._kept(DESCRIBE, params.key, params.agent_id))
        if row is None:
            return Answer(Described(None))
        shown = self.shown.session(
            row,
            speaks_4=call.client.speaks_4,
            titles=params.include_derived_titles,
            previews=params.include_last_message,
        )
        return Answer(Described(shown))

    async def resolve(self, call: Call, params: ResolveParams) -> Answer[Resolved]:
        """Find the session that is meant."""
        address = params.reference.key if params.reference is not None else None
        wanted = address or params.key or params.session_id or params.short_id or params.label
        if wanted is None:
            raise invalid(RESOLVE, "must have one of the properties 'key', 'sessionId', 'label'")
        row = await self._found(params)
        if row is None and params.allow_missing:
            return Answer(Resolved(ok=False))
        if row is None:
            raise InvalidRequestError(f"No session found: {printable(wanted)}")
        agent_id = row.agent_id if call.client.speaks_4 else UNSET
        return Answer(Resolved(ok=True, key=row.session_key, agent_id=agent_id))

    async def preview(self, _call: Call, params: PreviewParams) -> Answer[Previews]:
        """Show the last messages of sessions."""
        previews = tuple([await self._preview(key, params) for key in params.keys])
        return Answer(Previews(milliseconds(self.now()), previews))

    def _key(self, method: str, key: str, agent_id: str | None) -> SessionKey:
        return find_session(method, self.shown.directory, agent_id=agent_id, key=key)[1]

    async def _kept(self, method: str, key: str, agent_id: str | None) -> str:
        directory, store = self.shown.directory, self.sessions.store
        return str(await kept_session(method, directory, store, key=key, agent_id=agent_id))

    async def _listed(self, params: ListParams, *, speaks_4: bool) -> Listed:
        limit = min(params.limit, MAX_LISTED)
        page = await self._page(params, limit)
        end = params.offset + len(page.rows)
        more = end < page.total
        return Listed(
            ts=milliseconds(self.now()),
            count=len(page.rows),
            defaults=self.shown.defaults(params.agent_id),
            sessions=self.shown.sessions(
                page.rows,
                speaks_4=speaks_4,
                titles=params.include_derived_titles,
                previews=params.include_last_message,
            ),
            total_count=page.total if speaks_4 else UNSET,
            limit_applied=limit if speaks_4 else UNSET,
            next_offset=(end if more else None) if speaks_4 else UNSET,
            has_more=more if speaks_4 else UNSET,
        )

    async def _page(self, params: ListParams, limit: int) -> SessionPage:
        if params.archived is True or params.has_board:  # sessions are there or deleted, and have no boards
            return SessionPage(rows=(), total=0)
        if params.active_only:
            return await self._at_work(params, limit)
        store = self.sessions.store
        if params.label is not None:
            row = await store.find_session(label=params.label)
            return SessionPage(rows=() if row is None else (row,), total=0 if row is None else 1)
        minutes = params.active_minutes
        return await store.sessions(
            SessionQuery(
                limit=limit,
                offset=params.offset,
                agent_id=params.agent_id.strip().lower() if params.agent_id else None,
                active_since=None if minutes is None else self.now() - minutes * 60,
                search=params.search.strip() if params.search else None,
                stateless=params.include_unknown,
            )
        )

    async def _at_work(self, params: ListParams, limit: int) -> SessionPage:
        found = [await self.sessions.store.session(key) for key in sorted(self.shown.active())]
        rows = [row for row in found if row is not None and params.agent_id in {None, row.agent_id}]
        rows.sort(key=lambda row: row.updated_at, reverse=True)
        return SessionPage(rows=tuple(rows[params.offset : params.offset + limit]), total=len(rows))

    async def _found(self, params: ResolveParams) -> SessionRow | None:
        store = self.sessions.store
        key = params.reference.key if params.reference is not None else params.key
        if key is not None:
            return await store.session(await self._kept(RESOLVE, key, params.agent_id))
        if params.session_id is not None:
            row = await store.find_session(session_id=params.session_id)
            # What a client chose as an id of its own is a part of the key.
            own = find_session(
                RESOLVE, self.shown.directory, agent_id=params.agent_id, chosen_id=params.session_id
            )[1]
            return row or await store.session(str(own))
        if params.short_id is not None:
            page = await store.sessions(SessionQuery(search=params.short_id, stateless=False))
            begun = [row for row in page.rows if row.session_id.startswith(params.short_id.lower())]
            return begun[0] if len(begun) == 1 else None
        return await store.find_session(label=params.label)

    async def _preview(self, asked: str, params: PreviewParams) -> Preview:
        try:
            key = await self._kept(PREVIEW, asked, None)
        except InvalidRequestError:
            return Preview(key=asked, status="error")
        store = self.sessions.store
        if await store.session(key) is None:
            return Preview(key=asked, status="missing")
        limit = min(params.limit, MAX_PREVIEW_ITEMS)
        kept = await store.history(key, limit, max_characters=MAX_READ_CHARACTERS)
        items = tuple(
            PreviewItem(stored.message.role, text_of(stored.message)[: params.max_chars])
            for stored in kept
            if text_of(stored.message)
        )
        return Preview(key=asked, status="ok" if items else "empty", items=items)
