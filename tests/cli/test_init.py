from __future__ import annotations

import stat
from pathlib import Path

from openclaw_twisted.cli.init import STARTER
from openclaw_twisted.config.parse import parse
from tests.cli.case import CommandTestCase

__all__ = ["InitTests"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class InitTests(CommandTestCase):
    def test_the_file_holds_without_a_single_complaint(self) -> None:
        loaded = parse(STARTER, {})
        self.assertEqual((), loaded.warnings)
        self.assertTrue(loaded.settings.gateway.http.endpoints.chat_completions.enabled)
        self.assertEqual(["main"], list(loaded.settings.agents.entries))

    def test_it_is_written_for_its_owner_alone(self) -> None:
        said = self.succeed("init")
        path = self.state / "openclaw.json"
        self.assertEqual(STARTER, path.read_text())
        self.assertEqual((0o600, 0o700), (mode(path), mode(self.state)))
        self.assertEqual([path], list(self.state.iterdir()))
        self.assertIn(f"Wrote {path}", said)
        self.assertIn("openclaw-gateway run\n", said)

    def test_a_file_that_is_there_is_left_as_it_is(self) -> None:
        path = self.configure("{} // mine")
        self.assertIn(f"{path} is there already", self.succeed("init"))
        self.assertEqual("{} // mine", path.read_text())
        self.assertEqual([path], list(self.state.iterdir()))

    def test_a_link_to_nowhere_is_left_as_it_is(self) -> None:
        path = self.configure("")
        path.unlink()
        path.symlink_to(self.home / "elsewhere")
        self.assertIn("is there already", self.succeed("init"))
        self.assertFalse((self.home / "elsewhere").exists())

    def test_another_place(self) -> None:
        path = self.home / "a folder" / "gateway.json5"
        said = self.succeed("init", "--path", str(path))
        self.assertEqual(STARTER, path.read_text())
        self.assertIn(f"openclaw-gateway run --config '{path}'\n", said)
        self.assertFalse(self.state.exists())

    def test_where_the_environment_says(self) -> None:
        path = self.home / "mine.json"
        self.environ["OPENCLAW_CONFIG_PATH"] = str(path)
        self.succeed("init")
        self.assertEqual(STARTER, path.read_text())

    def test_where_nothing_can_be_written(self) -> None:
        (self.home / "file").write_text("")
        said = self.fail_with(1, "init", "--path", str(self.home / "file" / "openclaw.json"))
        self.assertIn("Choose another with --path", said)
        self.assertEqual(1, len(said.splitlines()))
