"""What docs/reference/ws-protocol.md lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.ws.event_payloads import EVENTS
from tests.ws.rig import RigTestCase

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "ws-protocol.md"


class DocumentedTests(RigTestCase):
    def section(self, heading: str) -> str:
        level = heading.index(" ")
        text = PAGE.read_text(encoding="utf-8")
        found = re.search(
            rf"^{re.escape(heading)}$(.*?)(?=^#{{2,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL
        )
        assert found is not None, heading
        return found[1]

    def rows(self, heading: str) -> list[str]:
        """Return the names in the first column of a section's table."""
        cells = re.findall(r"^\| (`.*?) \|", self.section(heading), re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    def params(self, shape: type[msgspec.Struct]) -> list[Any]:
        return sorted(field.encode_name for field in msgspec.structs.fields(shape))

    def test_methods(self):
        headings = re.findall(r"^### `(.+)`$", self.section("## Methods"), re.MULTILINE)
        self.assertEqual(sorted(headings), list(self.rig().door.methods))

    def test_params(self):
        for method in self.rig().door.described:
            shown = self.rows(f"### `{method.name}`")
            self.assertEqual(sorted(shown), self.params(method.params), method.name)

    def test_events(self):
        self.assertEqual(sorted(self.rows("## Events")), [event.name for event in EVENTS])

    def test_limits(self):
        known = {field.encode_name for field in msgspec.structs.fields(LimitsSettings)}
        self.assertLessEqual(set(self.rows("## Limits")), known)
