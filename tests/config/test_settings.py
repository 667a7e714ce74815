"""The structs and what is said about them: the reference page, the inert keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.inert import INERT
from openclaw_twisted.config.settings import GatewaySettings, Settings

__all__ = ["ReferencePageTests", "StructTests"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"
SECTION = re.compile(r"^##+ `(?P<path>[^`\n]+)`\n(?P<body>.*?)(?=^## |^### |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(
    r"^\| `(?P<key>[^`]+)` \| (?P<value>.*?) \| (?P<default>.*?) \| (?P<description>.*) \|$", re.MULTILINE
)
WRITTEN_AS_TEXT = {"statelessRetention": "24h", "pruneAfter": "30d"}


class Key(NamedTuple):
    """A field of a settings struct, with the path of the section it stands in."""

    section: str
    field: inspect.Field
    inner: type[msgspec.Struct] | None


def keys(struct: type[msgspec.Struct], section: str = "") -> Iterator[Key]:
    """Yield every key there is, each struct once."""
    seen = set[type]()

    def inside(kind: inspect.StructType, section: str) -> Iterator[Key]:
        seen.add(kind.cls)
        for field in kind.fields:
            inner, suffix = struct_in(field.type)
            yield Key(section, field, inner.cls if inner else None)
            if inner and inner.cls not in seen:
                yield from inside(inner, f"{section}.{field.encode_name}{suffix}".lstrip("."))

    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    yield from inside(kind, section)


def struct_in(kind: Any) -> tuple[inspect.StructType | None, str]:
    """Return the struct inside a field's type, and what its path gets appended."""
    match kind:
        case inspect.Metadata():
            return struct_in(kind.type)
        case inspect.UnionType():
            return struct_in(next(item for item in kind.types if not isinstance(item, inspect.NoneType)))
        case inspect.DictType():
            return struct_in(kind.value_type)[0], ".<id>"
        case inspect.VarTupleType():
            return struct_in(kind.item_type)[0], "[]"
        case inspect.StructType():
            return kind, ""
    return None, ""


def shown_default(field: inspect.Field) -> str:
    """Return the default as the page has it."""
    if field.required:
        return "required"
    if field.default is None:
        return ""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    value = WRITTEN_AS_TEXT.get(field.encode_name, value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{msgspec.json.encode(value).decode().replace(',', ', ')}`"


class StructTests(SynchronousTestCase):
    """What holds for every struct."""

    def test_every_struct_is_frozen_and_written_in_camel_case(self) -> None:
        for key in keys(Settings):
            if key.inner is not None:
                self.assertTrue(key.inner.__struct_config__.frozen, key.inner)
            self.assertNotIn("_", key.field.encode_name)

    def test_every_key_is_described(self) -> None:
        for key in keys(Settings):
            assert isinstance(key.field.type, inspect.Metadata), key
            self.assertTrue(
                (key.field.type.extra_json_schema or {})["description"].endswith((".", "...")), key
            )

    def test_inert_keys_have_no_field_and_their_structs_are_used(self) -> None:
        used = {key.inner for key in keys(Settings)} | {Settings}
        for struct, inert in INERT.items():
            self.assertIn(struct, used)
            self.assertEqual(inert & set(struct.__struct_encode_fields__), set())

    def test_the_mode_without_a_secret_is_token(self) -> None:
        self.assertEqual(GatewaySettings().auth.resolved_mode, "token")


class ReferencePageTests(SynchronousTestCase):
    """`docs/reference/config.md` has every key with its default and description, and no other."""

    def setUp(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        self.rows = {
            (section["path"], row["key"]): (row["default"], row["description"])
            for section in SECTION.finditer(text)
            for row in ROW.finditer(section["body"])
        }
        self.sections = {section["path"] for section in SECTION.finditer(text)}

    def expected(self) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        for key in keys(Settings):
            place = (
                "models.providers.local" if key.section == "models.local" else key.section,
                key.field.encode_name,
            )
            assert isinstance(key.field.type, inspect.Metadata)
            description = (key.field.type.extra_json_schema or {})["description"]
            default = "" if key.inner else shown_default(key.field)
            yield place, (default, description)

    def has_its_own_section(self, section: str, key: str) -> bool:
        path = f"{section}.{key}".lstrip(".").replace("models.local", "models.providers.local")
        return any(path == known.removesuffix("[]").removesuffix(".<id>") for known in self.sections)

    def test_every_key_is_there(self) -> None:
        for place, row in self.expected():
            if place in self.rows:
                self.assertEqual(self.rows[place], row, place)
            else:
                self.assertTrue(self.has_its_own_section(*place), f"{place} is missing: {row}")

    def test_no_key_is_invented(self) -> None:
        known = {place for place, _ in self.expected()}
        self.assertEqual([place for place in self.rows if place not in known], [])
