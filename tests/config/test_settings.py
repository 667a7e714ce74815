"""The structs and what is said about them: the reference page, the inert keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.inert import INERT
from openclaw_twisted.config.pending import LABEL, PENDING
from openclaw_twisted.config.settings import GatewaySettings, Settings
from tests.config.structs import Key, keys

__all__ = ["ReferencePageTests", "StructTests"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"
SECTION = re.compile(r"^##+ `(?P<path>[^`\n]+)`\n(?P<body>.*?)(?=^## |^### |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(
    r"^\| `(?P<key>[^`]+)` \| (?P<value>.*?) \| (?P<default>.*?) \| (?P<description>.*) \|$", re.MULTILINE
)
WRITTEN_AS_TEXT = {"statelessRetention": "24h", "pruneAfter": "30d"}


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
    return f"`{shown(value)}`"


def shown_mark(key: Key) -> str:
    """Return what the page says of a key that is not in effect yet, and what holds instead."""
    if not key.pending:
        return ""
    holds: Any = PENDING.get(key.owner, {}).get(key.field.encode_name, LABEL)
    if holds is LABEL or holds is msgspec.UNSET or isinstance(holds, dict | msgspec.Struct):
        return " *Not in effect yet.*"
    return f" *Not in effect yet: `{shown(holds)}` holds.*"


def shown(value: object) -> str:
    """Return a value as the page has it."""
    return msgspec.json.encode(value).decode().replace(",", ", ")


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
            yield place, (default, f"{description}{shown_mark(key)}")

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
