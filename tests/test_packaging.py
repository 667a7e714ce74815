"""What makes the package a `twistd` plugin, and what an installation has to carry along."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import io
import json
import re
import subprocess
import sys
import unittest
from pathlib import Path
from typing import cast

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import openclaw_twisted
from tests.__main__ import Tally

__all__ = ["InstallationTests", "PluginTests", "TallyTests"]

CHECKOUT = Path(__file__).resolve().parent.parent

WHAT_THE_PLUGIN_IMPORTS = """
import json, sys
before = set(sys.modules)
import twisted.plugins.openclaw_gateway_plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_the_gateway_once(self) -> None:
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "openclaw-gateway"]
        self.assertEqual(["openclaw_twisted.tap"], [cast("ServiceMaker", maker).module for maker in makers])

    def test_plugin_imports_neither_the_gateway_nor_a_reactor(self) -> None:
        """`twistd --help` imports every plugin, and an installed reactor makes `twistd --reactor` fail."""
        done = subprocess.run(
            [sys.executable, "-c", WHAT_THE_PLUGIN_IMPORTS],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        imported = json.loads(done.stdout)
        self.assertIn("twisted.plugins.openclaw_gateway_plugin", imported)
        heavy = ("openclaw_twisted", "klein", "autobahn", "treq", "twisted.internet.reactor")
        self.assertEqual([], [name for name in imported if name.startswith(heavy)])

    def test_plugin_folders_are_no_packages(self) -> None:
        """An `__init__.py` in either folder would hide Twisted itself from whoever runs in the checkout."""
        folder = CHECKOUT / "twisted"
        self.assertEqual(
            ["plugins/openclaw_gateway_plugin.py"],
            [str(file.relative_to(folder)) for file in folder.rglob("*.py")],
        )


class InstallationTests(SynchronousTestCase):
    def test_metadata_has_the_version_of_the_code(self) -> None:
        try:
            installed = importlib.metadata.version("openclaw-twisted")
        except importlib.metadata.PackageNotFoundError:
            raise SkipTest("the package is not installed (tox installs it)") from None
        self.assertEqual(openclaw_twisted.__version__, installed)

    def test_every_file_of_the_package_is_shipped(self) -> None:
        source = CHECKOUT / "openclaw_twisted"
        files = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
        caches = re.compile(r"__pycache__|\..*")
        wanted = {str(file) for file in files if not any(caches.fullmatch(part) for part in file.parts)}
        self.assertIn("py.typed", wanted)
        shipped = importlib.resources.files("openclaw_twisted")
        self.assertEqual([], sorted(name for name in wanted if not shipped.joinpath(name).is_file()))


class TallyTests(SynchronousTestCase):
    """The line that CI reads has to be right about every way in which a test can end."""

    def tally(self, case: type[unittest.TestCase]) -> tuple[int, int, int]:
        result = Tally(io.StringIO())
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        return result.counts()

    def test_each_end_is_counted_once(self) -> None:
        class Ends(SynchronousTestCase):
            def test_passes(self) -> None:
                pass

            def test_fails(self) -> None:
                self.fail("on purpose")

            def test_raises(self) -> None:
                raise ValueError

            def test_fails_and_then_its_cleanup_raises(self) -> None:
                self.addCleanup(self.test_raises)
                self.fail("on purpose")

            def test_passes_and_then_its_cleanup_raises(self) -> None:
                self.addCleanup(self.test_raises)

            def test_skips(self) -> None:
                raise SkipTest("on purpose")

            def test_fails_as_expected(self) -> None:
                self.fail("on purpose")

            test_fails_as_expected.todo = "on purpose"  # type: ignore[attr-defined]

            def test_passes_unexpectedly(self) -> None:
                pass

            test_passes_unexpectedly.todo = "on purpose"  # type: ignore[attr-defined]

        self.assertEqual((1, 5, 2), self.tally(Ends))
        self.flushLoggedErrors(ValueError)
