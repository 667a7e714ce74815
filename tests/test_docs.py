"""What the documentation points at has to exist: pages, headings, files, names in the code, commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import parse

__all__ = ["CheckerTests", "DocumentationTests", "ReadmeTests"]

CHECKOUT = Path(__file__).resolve().parent.parent

FENCED = re.compile(r"^(`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<code>.*?)^\1\s*?$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?P<code>.+?)\1")
LINK = re.compile(r"\]\(\s*<?(?P<target>[^)\s>]+)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*<?(?P<target>[^\s>]+)", re.MULTILINE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$", re.MULTILINE)
LABEL = re.compile(r"^\((?P<label>[^)\s]+)\)=$", re.MULTILINE)
NAME = re.compile(r"openclaw_twisted(\.\w+)+")
PATH = re.compile(r"(openclaw_twisted|twisted|tests|docs|examples)/[\w./-]*")


def pages() -> list[Path]:
    """Return every Markdown page that people read."""
    return [
        *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *sorted((CHECKOUT / "docs").rglob("*.md")),
    ]


def broken(page: Path) -> Iterator[str]:
    """Yield everything the page points at that is not there."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    text = CODE.sub("", prose)
    for match in (*LINK.finditer(text), *REFERENCE.finditer(text)):
        if not SCHEME.match(match["target"]) and not link_holds(page, match["target"]):
            yield match["target"]
    for match in CODE.finditer(prose):
        code = match["code"].strip().removesuffix("()")
        if NAME.fullmatch(code) and not name_exists(code):
            yield code
        if PATH.fullmatch(code) and not (CHECKOUT / code).exists():
            yield code


def link_holds(page: Path, target: str) -> bool:
    """Tell whether a relative link leads to a file, and to a heading of it if it names one."""
    place, _, anchor = target.partition("#")
    file = (page.parent / place).resolve() if place else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """Return the names of the page's headings, as GitHub and MyST both make them, and its own labels."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    names = {match["label"] for match in LABEL.finditer(prose)}
    for match in HEADING.finditer(prose):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["title"]).lower()
        name = unnumbered = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        again = 0
        while name in names:
            again += 1
            name = f"{unnumbered}-{again}"
        names.add(name)
    return names


def name_exists(name: str) -> bool:
    """Tell whether a dotted name is a module of ours or something in one."""
    try:
        namedAny(name)
    except (AttributeError, ImportError):
        return False
    return True


def commands(page: Path, section: str) -> list[str]:
    """Return the `sh` blocks of one `##` section."""
    text = page.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [match["code"] for match in FENCED.finditer(body) if match["info"] == "sh"]


class DocumentationTests(SynchronousTestCase):
    def test_everything_pointed_at_exists(self) -> None:
        found = {str(page.relative_to(CHECKOUT)): list(broken(page)) for page in pages()}
        self.assertEqual({}, {page: targets for page, targets in found.items() if targets})

    def test_every_configuration_shown_can_be_used(self) -> None:
        shown = [
            (str(page.relative_to(CHECKOUT)), match["code"])
            for page in pages()
            for match in FENCED.finditer(page.read_text(encoding="utf-8"))
            if match["info"] == "json5"
        ]
        shown += [
            (str(file.relative_to(CHECKOUT)), file.read_text()) for file in CHECKOUT.glob("examples/*.json5")
        ]
        self.assertNotEqual([], shown)
        for place, text in shown:
            environ = dict.fromkeys(
                re.findall(r"\$\{(\w+)\}", text), "a-value-that-is-long-enough-for-a-secret"
            )
            parse(text, environ, source=f"{place}:\n{text}")


class ReadmeTests(SynchronousTestCase):
    """Somebody in a hurry copies one line to run the gateway and one to test it."""

    def one_line(self, section: str) -> str:
        (command,) = commands(CHECKOUT / "README.md", section)
        self.assertEqual(1, len(command.splitlines()))
        return command.strip()

    def test_run_it(self) -> None:
        command = self.one_line("Run it")
        self.assertIn("twistd -n openclaw-gateway", command)
        (config,) = re.findall(r"--config (\S+)", command)
        self.assertTrue((CHECKOUT / config).is_file(), config)

    def test_ci_runs_the_command_of_test_it(self) -> None:
        shown = subprocess.run(
            [str(CHECKOUT / ".ci" / "run"), "--show"], capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual(self.one_line("Test it"), shown.strip())


class CheckerTests(SynchronousTestCase):
    """The check finds what is broken and leaves alone what is not."""

    def broken(self, text: str) -> list[str]:
        page = Path(self.mktemp()).resolve()
        page.mkdir()
        (page / "other.md").write_text("(label)=\n# A `Title`, twice!\n\n## Same\n\n## Same\n")
        (page / "page.md").write_text(text)
        return list(broken(page / "page.md"))

    def test_links(self) -> None:
        good = "[a](other.md) [b](other.md#a-title-twice) [c](other.md#same-1) [d](other.md#label) [e](https://x)"
        self.assertEqual([], self.broken(good))
        bad = '[a](no.md) ![b](no.png "t") [c](other.md#no) [d](#no)\n\n[e]: no.txt\n'
        self.assertEqual(["no.md", "no.png", "other.md#no", "#no", "no.txt"], self.broken(bad))

    def test_code_holds_no_links(self) -> None:
        self.assertEqual([], self.broken("`[a](no.md)`\n\n```\n[a](no.md)\n```\n"))

    def test_names_and_paths(self) -> None:
        good = "`openclaw_twisted.sse.Decoder.feed()` `openclaw_twisted.errors` `tests/test_docs.py` `docs/`"
        self.assertEqual([], self.broken(good))
        bad = ["openclaw_twisted.nothing", "openclaw_twisted.sse.Nothing", "tests/nothing.py"]
        self.assertEqual(bad, self.broken(" ".join(f"`{code}`" for code in bad)))
