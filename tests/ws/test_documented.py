"""docs/reference/ws-protocol.md, completed from the code, tells everything that there is and nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from openclaw_twisted.auth.scopes import needed
from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.ws.event_payloads import EVENTS
from tests.ws.rig import RigTestCase

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE = DOCS / "reference" / "ws-protocol.md"

PARAM = "| `runId` | which run; one that nobody knows may yet start |\n"


class DocumentedTests(RigTestCase):
    page: Any

    def setUp(self):
        sys.path.insert(0, str(DOCS))  # Sphinx's extensions are modules beside its conf.py
        self.addCleanup(sys.path.remove, str(DOCS))
        self.page = __import__("ws_page")
        self.written = PAGE.read_text(encoding="utf-8")
        self.served = self.rig().door.described

    def section(self, text: str, heading: str) -> str:
        level = heading.index(" ")
        found = re.search(
            rf"^{re.escape(heading)}$(.*?)(?=^#{{2,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL
        )
        assert found is not None, heading
        return found[1]

    def rows(self, text: str) -> list[str]:
        """Return the names in the first column of a section's table."""
        return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)

    def test_methods_with_scopes_params_and_answers(self):
        page = self.page.page(self.written, self.served)
        for method in self.served:
            text = self.section(page, f"### `{method.name}`")
            scope = needed(method.name)
            self.assertIn(f"Scope: {f'`{scope.value}`' if scope else 'none'}.", text)
            fields = {field.encode_name for field in msgspec.structs.fields(method.params)}
            self.assertEqual(fields & set(self.rows(text)), fields, method.name)
            self.assertIn("The payload of the answer: ", text)

    def test_events(self):
        page = self.page.page(self.written, self.served)
        self.assertEqual(self.rows(self.section(page, "## Events")), [event.name for event in EVENTS])

    def test_every_payload_that_is_linked_is_there(self):
        page = self.page.page(self.written, self.served)
        linked, there = (
            set(re.findall(r"\(#(ws-\w+)\)", page)),
            re.findall(r"^\((ws-\w+)\)=$", page, re.MULTILINE),
        )
        self.assertLessEqual(linked, set(there))
        self.assertEqual(len(there), len(set(there)))
        self.assertIn("| `deltaText` | text |  | **4** |", self.section(page, "### ChatPayload"))

    def test_the_page_lists_what_a_gateway_serves(self):
        names = [method.name for method in self.page.methods()]
        self.assertEqual(sorted(names), [method.name for method in self.served])

    def test_drift_stops_the_build(self):
        self.assertIn(PARAM, self.written)
        for wrong in (
            self.written.replace(PARAM, ""),
            self.written.replace(PARAM, PARAM.replace("runId", "run")),
            self.written.replace("### `agent.wait`", "### `agent.waits`"),
            self.written.replace("<!-- events -->", ""),
        ):
            with self.assertRaises(self.page.DriftError):
                self.page.page(wrong, self.served)

    def test_limits(self):
        known = {field.encode_name for field in msgspec.structs.fields(LimitsSettings)}
        cells = re.findall(r"^\| (`.*?) \|", self.section(self.written, "## Limits"), re.MULTILINE)
        self.assertLessEqual({name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}, known)
