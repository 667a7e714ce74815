"""The code in docs/how-to/clients.md, run as it stands there, but for the address and the token."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.in_node import found, installed
from tests.clients.model import said_so_far
from tests.clients.stage import TOKEN, stage

__all__ = ["SnippetTests"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "clients.md"
SECTION = re.compile(r"^## (?P<title>.+?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(r"^```(?:python|js)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
BASE_URL = "http://127.0.0.1:18789/v1"
RUN_SECONDS = 30.0


IN_PYTHON = {"OpenAI for Python", "LangChain", "LiteLLM", "Pydantic AI", "OpenAI Agents SDK"}
IN_NODE = {"OpenAI for Node", "Vercel's AI SDK"}


class SnippetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = stage("snippets")
        self.sections = {
            section["title"]: [snippet["code"] for snippet in SNIPPET.finditer(section["text"])]
            for section in SECTION.finditer(PAGE.read_text(encoding="utf-8"))
        }

    def greets(self, title: str, *program: str, folder: Path | None = None) -> None:
        """Run each snippet of a section: it says hello, and prints the answer."""
        for code in self.sections[title]:
            self.assertIn(BASE_URL, code)
            self.assertIn("<the token>", code)
            ran = subprocess.run(
                [*program, code.replace(BASE_URL, self.stage.base_url).replace("<the token>", TOKEN)],
                cwd=folder,
                timeout=RUN_SECONDS,
                check=False,
                capture_output=True,
                text=True,
            )
            self.assertEqual(said_so_far("Hello!"), ran.stdout.strip(), ran.stderr)

    def test_every_section_with_code_is_tested(self) -> None:
        self.assertEqual(IN_PYTHON | IN_NODE, {title for title, codes in self.sections.items() if codes})

    def test_python(self) -> None:
        for title in IN_PYTHON:
            self.greets(title, sys.executable, "-c")

    def test_node(self) -> None:
        for title in IN_NODE:
            self.greets(title, found("node"), "--input-type=module", "-e", folder=installed())
