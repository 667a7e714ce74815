"""A Sphinx extension: completes the page reference/ws-protocol from what a gateway parses and answers.

The page says in prose what things mean. What can be read off the structs stands nowhere but in them: which
params there are, what they hold, what a method answers, who may call it, which events there are, and what
protocol 3 is not told. What a param means is looked up in the table under its method's heading; one that is
neither there nor without effect stops the build.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Raw, Struct, UnsetType
from openapi_page import table
from twisted.internet.task import Clock

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.scopes import needed
from openclaw_twisted.config.parse import parse
from openclaw_twisted.testing import MemoryRuns
from openclaw_twisted.ws.behind import Behind
from openclaw_twisted.ws.broadcast import Broadcast
from openclaw_twisted.ws.connect_params import ConnectParams
from openclaw_twisted.ws.event_payloads import EVENTS, EventKind, HealthBrief
from openclaw_twisted.ws.families import every_method
from openclaw_twisted.ws.hello import HelloOk
from openclaw_twisted.ws.ledger import new_ledgers
from openclaw_twisted.ws.method import Method
from openclaw_twisted.ws.presence import Presence
from openclaw_twisted.ws.pulse import Pulse
from openclaw_twisted.ws.since import SINCE

PAGE = "reference/ws-protocol"

SECTION = re.compile(r"^### `(?P<name>[^`\n]+)`\n(?P<text>.*?)(?=^#{2,3} |\Z)", re.MULTILINE | re.DOTALL)
MEANINGS = re.compile(r"^\| param \| meaning \|\n\|---\|---\|\n(?P<rows>(?:\|.*\n)*)", re.MULTILINE)
ROW = re.compile(r"^\| (?P<names>`.*?) \| (?P<meaning>.*) \|$", re.MULTILINE)
EVENTS_MARK = "<!-- events -->\n"
NO_EFFECT = "accepted, changes nothing"
WORDS = {str: "text", int: "integer", float: "number", bool: "boolean", dict: "object", NoneType: "null"}


class DriftError(Exception):
    """The page and the code do not say the same."""


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", complete)
    return {"parallel_read_safe": True}


def complete(_app: Any, docname: str, source: list[str]) -> None:
    """Add what is generated to what is written."""
    if docname == PAGE:
        source[0] = page(source[0], methods())


def methods() -> tuple[Method[Any], ...]:
    """Return the methods of a gateway that nobody connects to."""
    clock, loaded = Clock(), parse("{}", {})
    runner, nowhere = MemoryRuns(clock=clock).runner, Path("/nonexistent")
    directory = Directory(loaded.settings.agents, state_dir=nowhere, home=nowhere)
    presence = Presence(host="", version="", now=clock.seconds)
    behind = Behind(runner=runner, directory=directory, loaded=loaded, now=clock.seconds)
    health = HealthBrief(ok=True, ts=0)
    broadcast = Broadcast(clock, runner, behind.now)
    pulse = Pulse(clock, broadcast, presence, health=lambda: health, tick_seconds=30)
    ledgers = new_ledgers(clock, loaded.settings.gateway.limits)
    return every_method(clock, behind, ledgers, presence, pulse)


def page(written: str, served: tuple[Method[Any], ...]) -> str:
    """Return the whole page; raises `DriftError`."""
    by_name = {method.name: method for method in served}
    described = {match["name"] for match in SECTION.finditer(written)}
    if described != set(by_name):
        raise DriftError(f"described or served, but not both: {sorted(described ^ set(by_name))}")
    if EVENTS_MARK not in written:
        raise DriftError(f"nowhere is {EVENTS_MARK.strip()}")
    completed = SECTION.sub(lambda match: section(by_name[match["name"]], match["text"]), written)
    completed = completed.replace(EVENTS_MARK, events() + "\n")
    return f"{completed}\n## Payloads\n\n{PAYLOADS}\n\n{payloads(served)}\n"


PAYLOADS = """\
Objects as they go over the wire. A key that is not always there is missing where there is nothing to say.
What is marked **4** is told to clients of protocol 4 only. Params are closed: any other key is an error.
Answers and events may get new keys in protocol 4, never in protocol 3."""


def section(method: Method[Any], text: str) -> str:
    """Return what is said of a method, with its scope, its params, and what it answers."""
    scope = needed(method.name)
    head = f"### `{method.name}`\n\nScope: {f'`{scope.value}`' if scope is not None else 'none'}. "
    listed, written = params(method, meanings(text)), MEANINGS.search(text)
    if written:
        prose = f"{text[: written.start()]}{listed}\n{text[written.end() :]}"
    else:
        prose = f"{text.rstrip()}\n\n{listed}"
    return f"{head}{prose.strip()}\n\nThe payload of the answer: {kind(method.payload)}.\n\n"


def meanings(text: str) -> dict[str, str]:
    """Return what the table of a method's params says, by param."""
    found = MEANINGS.search(text)
    rows = ROW.finditer(found["rows"]) if found else ()
    return {
        name: NO_EFFECT if row["meaning"].startswith("accepted, change") else row["meaning"]
        for row in rows
        for name in re.findall(r"`([^`]+)`", row["names"])
    }


def params(method: Method[Any], known: dict[str, str]) -> str:
    fields = {field.encode_name: field for field in msgspec.structs.fields(method.params)}
    hints = get_type_hints(method.params, include_extras=True)
    unknown = sorted(set(known) - set(fields))
    without = sorted(name for name, it in fields.items() if name not in known and hints[it.name] is not Raw)
    if unknown or without:
        raise DriftError(f"{method.name}: no such params {unknown}, no meaning for {without}")
    order = sorted(fields.values(), key=lambda field: (not required(field), hints[field.name] is Raw))
    rows = [
        (
            f"`{field.encode_name}`",
            kind(hints[field.name]),
            "yes" if required(field) else "",
            known.get(field.encode_name, NO_EFFECT),
        )
        for field in order
    ]
    return table(("param", "holds", "required", "meaning"), rows)


def required(field: msgspec.structs.FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def events() -> str:
    rows = [(f"`{event.name}`", kind(event.payload), event.when, audience(event)) for event in EVENTS]
    return table(("event", "payload", "when", "to clients with"), rows) + "\n"


def audience(event: EventKind) -> str:
    return f"`{event.scope.value}`" if event.scope is not None else ""


def payloads(served: tuple[Method[Any], ...]) -> str:
    """Return a section for each struct that is read or told, by name."""
    told = (HelloOk, *(event.payload for event in EVENTS), *(method.payload for method in served))
    own = {method.params for method in served}  # those stand under their methods
    asked = {struct for root in (ConnectParams, *own) for struct in structs(root)} - own
    answers = {struct for root in told for struct in structs(root)}
    names = {struct.__name__: struct for struct in asked | answers}
    if len(names) < len(asked | answers):
        raise DriftError(f"several structs share a name: {sorted(names)}")
    return "\n\n".join(shown(names[name], asked=names[name] in asked) for name in sorted(names))


def structs(hint: Any, seen: frozenset[Any] = frozenset()) -> Iterator[type[Struct]]:
    """Yield the structs in a type, some more than once."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        if hint not in seen:
            yield hint
            for inner in get_type_hints(hint, include_extras=True).values():
                yield from structs(inner, seen | {hint})
    else:
        for inner in get_args(hint):
            yield from structs(inner, seen)


def shown(struct: type[Struct], *, asked: bool) -> str:
    """Return a struct's heading, what it says of itself, and its keys."""
    hints = get_type_hints(struct, include_extras=True)
    config = struct.__struct_config__
    rows = [
        (
            f"`{field.encode_name}`",
            kind(hints[field.name]),
            "yes" if (required if asked or config.omit_defaults else always)(field) else "",
            "**4**" if since_4(hints[field.name]) else "",
        )
        for field in msgspec.structs.fields(struct)
    ]
    if config.tag_field:
        rows.insert(0, (f"`{config.tag_field}`", f"`{config.tag}`", "yes", ""))
    said = re.sub(r"\n +", "\n", struct.__doc__ or "").strip()
    head = f"({anchor(struct)})=\n### {struct.__name__}"
    said += " Closed: any other key is an error." if config.forbid_unknown_fields else ""
    return "\n\n".join([head, said, table(("key", "holds", "always there", "protocol"), rows)]).strip()


def always(field: msgspec.structs.FieldInfo) -> bool:
    return field.default is not UNSET


def since_4(hint: Any) -> bool:
    return any(
        isinstance(meta, Meta) and SINCE in (meta.extra_json_schema or {}) for meta in get_args(hint)[1:]
    )


def kind(hint: Any) -> str:
    """Return a type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return limited(inner[0], [meta for meta in inner[1:] if isinstance(meta, Meta)])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind(each) for each in inner if each is not UnsetType))
    if origin is Literal:
        return " or ".join(f"`{msgspec.json.encode(value).decode()}`" for value in inner)
    if origin is tuple:
        return f"array of {kind(inner[0])}" if inner else "empty array"
    if origin is dict:
        return "object"
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"[{hint.__name__}](#{anchor(hint)})"
    return WORDS.get(hint, "anything")


def limited(hint: Any, metas: list[Meta]) -> str:
    limits = [
        f"{words} {getattr(meta, name)}"
        for meta in metas
        for name, words in LIMITS.items()
        if getattr(meta, name) is not None
    ]
    if limits == ["at least 1"] and hint is str:
        return "text, not empty"
    return f"{kind(hint)} ({', '.join(limits)})" if limits else kind(hint)


LIMITS = {"ge": "from", "le": "to", "min_length": "at least", "max_length": "at most"}


def anchor(struct: type[Struct]) -> str:
    return f"ws-{struct.__name__.lower()}"
