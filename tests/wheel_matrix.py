"""Install the package in every way the documentation promises; `twistd` has to find the gateway each time.

Not part of the suite, because it takes half a minute: `tox -e wheel` runs it. One virtual environment
gets the dependencies once. Then each way is installed, used from a directory outside the checkout and
uninstalled; in between `twistd` must have forgotten the gateway, which shows that the check can fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bench", "main"]

CHECKOUT = Path(__file__).resolve().parent.parent
COMMAND = "openclaw-gateway"
PLUGIN = "twisted/plugins/openclaw_gateway_plugin.py"


@dataclass(frozen=True)
class Bench:
    """A virtual environment, a clean copy of the checkout and an empty directory to work from."""

    root: Path

    @property
    def tree(self) -> Path:
        """The copy."""
        return self.root / "tree"

    def run(self, tool: str, *arguments: str, path: Path | None = None) -> str:
        """Return what a tool of the virtual environment printed; `path` becomes PYTHONPATH.

        Ends the program when the tool fails.
        """
        environment = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - an entry point: PATH, PIP_*, proxies
            if not name.startswith("PYTHON")
        }
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        command = [str(self.root / "venv" / "bin" / tool), *arguments]
        done = subprocess.run(
            command, cwd=self.root / "elsewhere", env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def pip(self, *arguments: str) -> None:
        """Run pip."""
        self.run("python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)

    @contextmanager
    def installed(self, *what: str) -> Iterator[None]:
        """Have the package installed by `pip install *what`, and see that nothing of it stays behind."""
        self.pip("install", *what)
        yield
        self.pip("uninstall", "--yes", "openclaw-twisted")
        require(
            COMMAND not in self.run("twistd", "--help"),
            "twistd still lists the gateway after uninstalling it",
        )


def main() -> None:
    """Build, install in each way, and tell what worked."""
    with tempfile.TemporaryDirectory(prefix="openclaw-wheel-") as name:
        bench = Bench(Path(name).resolve())
        (bench.root / "elsewhere").mkdir()
        copy_what_git_knows(bench.tree)
        sdist, wheel = build(bench)
        check_sdist(sdist, bench.tree)
        check_contents(wheel, bench.tree)
        venv.create(bench.root / "venv", with_pip=True)
        with bench.installed(str(wheel)):
            check_use(bench, "pip install the wheel", lives_in=bench.root / "venv")
        tree = str(bench.tree)
        with bench.installed("--no-deps", str(sdist)):
            check_use(bench, "pip install the sdist", lives_in=bench.root / "venv")
        with bench.installed("--no-deps", tree):
            check_use(bench, "pip install .", lives_in=bench.root / "venv")
        with bench.installed("--no-deps", "--editable", tree):
            check_use(bench, "pip install -e .", lives_in=bench.tree)
        check_use(bench, "PYTHONPATH=.", lives_in=bench.tree, path=bench.tree)


def copy_what_git_knows(target: Path) -> None:
    """Copy the files that are tracked or could be: no build/, no caches, nothing ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git is on PATH
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def build(bench: Bench) -> tuple[Path, Path]:
    """Return the sdist, and the wheel that was built from it."""
    target = bench.root / "dist"
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(target), str(bench.tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    require(done.returncode == 0, f"python -m build failed:\n{done.stdout}{done.stderr}")
    (sdist,) = target.glob("*.tar.gz")
    (wheel,) = target.glob("*.whl")
    return sdist, wheel


def check_sdist(sdist: Path, tree: Path) -> None:
    """The sdist holds every file that git knows but its own: a list would forget what a new test needs."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    expected = {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()}
    missing = {name for name in expected - held - {".gitignore"} if ".egg-info/" not in name}
    require(not missing, f"not in the sdist: {sorted(missing)}")
    say(f"the sdist holds {len(expected & held)} files of the checkout")


def check_contents(wheel: Path, tree: Path) -> None:
    """The wheel holds every file of the package, the plugin, its own metadata, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        str(file.relative_to(tree)) for file in (tree / "openclaw_twisted").rglob("*") if file.is_file()
    }
    expected = package | {PLUGIN}
    require(held == expected, f"not as expected in the wheel: {sorted(held ^ expected)}")
    say(f"the wheel holds {len(held)} files")


def check_use(bench: Bench, way: str, *, lives_in: Path, path: Path | None = None) -> None:
    """The right copy is imported, `twistd` lists the gateway once, and the command answers."""
    expression = "import openclaw_twisted as package; print(package.__file__, package.__version__)"
    place, version = bench.run("python", "-c", expression, path=path).split()
    require(Path(place).is_relative_to(lives_in), f"{way}: imported from {place}")
    listing = bench.run("twistd", "--help", path=path)
    lines = [line.split() for line in listing.splitlines()]
    require(sum(line[:1] == [COMMAND] for line in lines) == 1, f"{way}: twistd lists\n{listing}")
    usage = bench.run("twistd", COMMAND, "--help", path=path)
    require("--config" in usage, f"{way}: twistd {COMMAND} --help says\n{usage}")
    answer = bench.run("twistd", COMMAND, "--version", path=path)
    require(version in answer, f"{way}: twistd {COMMAND} --version says {answer!r}, not {version}")
    script = [COMMAND] if path is None else ["python", "-m", "openclaw_twisted.cli"]  # only pip makes scripts
    own_answer = bench.run(*script, "--version", path=path)
    require(version in own_answer, f"{way}: {COMMAND} --version says {own_answer!r}, not {version}")
    say(f"{way}: found, {answer.strip()}")


def require(holds: bool, complaint: str) -> None:
    """End the program with `complaint` unless the condition holds."""
    if not holds:
        sys.exit(complaint)


def say(text: str) -> None:
    """Report a step that went well."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
