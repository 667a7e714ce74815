from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from openclaw_twisted import __version__
from openclaw_twisted.cli import main
from tests.cli.case import COMMAND, CommandTestCase, merged, run_child

__all__ = ["MainTests"]

WHAT_HELP_IMPORTS = """
import sys
from openclaw_twisted.cli import main
try:
    main(["--help"], prog_name="openclaw-gateway")
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield " ".join((*above, name)), command


class MainTests(CommandTestCase):
    def test_version(self) -> None:
        self.assertEqual(f"openclaw-gateway {__version__}\n", self.succeed("--version"))

    def test_help_names_every_command_with_a_sentence(self) -> None:
        said = self.succeed("--help")
        for name in main.commands:
            self.assertRegex(said, rf"(?m)^  {name}  +[A-Z].*\.$")

    def test_every_command_has_help(self) -> None:
        for words, _ in commands(main):
            self.assertIn(f"Usage: openclaw-gateway {words}", self.succeed(*words.split(), "--help"))

    def test_the_reference_has_every_command_and_option(self) -> None:
        page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text(
            encoding="utf-8"
        )
        for words, command in commands(main):
            self.assertIn(f"\n## `openclaw-gateway {words}`\n", page)
            section = page.partition(f"\n## `openclaw-gateway {words}`\n")[2].partition("\n## ")[0]
            for parameter in command.params:
                if isinstance(parameter, click.Option):
                    self.assertIn(f"`{parameter.opts[-1]}", section, words)

    def test_a_slip_gets_a_suggestion_and_ends_with_1(self) -> None:
        self.assertIn("'agent'", self.fail_with(1, "agnt"))
        self.assertIn("--version", self.fail_with(1, "--versoin"))
        self.assertIn("--message", self.fail_with(1, "agent"))
        self.assertIn("--message", self.fail_with(1, "agent", "--mesage", "hi"))

    def test_help_is_quick(self) -> None:
        """It imports nothing that it does not need; a reactor least of all."""
        done = subprocess.run(
            [sys.executable, "-c", WHAT_HELP_IMPORTS],
            env=merged(self.environ),
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("Usage: openclaw-gateway", done.stdout)
        heavy = ("twisted.", "autobahn", "klein", "msgspec", "json5", "openclaw_twisted.config")
        self.assertEqual([], [name for name in done.stderr.split() if name.startswith(heavy)])

    def test_a_full_disk_is_told_in_a_line(self) -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                [*COMMAND, "openapi"],
                env=merged(self.environ),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        said = "Error: The output cannot be used: No space left on device.\n"
        self.assertEqual((1, said), (done.returncode, done.stderr))

    def test_streams_that_are_closed(self) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$0" "$@" <&- >&-', *COMMAND, "agent", "-m", "-"],
            env=merged(self.environ),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        said = "Error: The message is empty. Say something with --message.\n"
        self.assertEqual((1, said), (done.returncode, done.stderr))

    def test_the_module_is_the_command_too(self) -> None:
        done = run_child("--version", environ=self.environ)
        self.assertEqual(f"openclaw-gateway {__version__}\n", done.stdout)
