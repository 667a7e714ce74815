"""Cut the power of a gateway's disk: `python -m tests.soak.power_cuts [CUTS]`. Needs root and `xfsprogs`.

The gateway keeps its state on an ext4 file system in a file, and that file is on an XFS, which can copy it
in an instant. Such a copy is what a disk would hold after a power cut: all that the kernel has sent to it,
and nothing of what it still has in memory. Eight writers use the gateway over HTTP, SSE and WebSocket; at a
moment that nobody chose it is noted what has been acknowledged, and the copy is made. Then the copy is
mounted, which replays ext4's journal, opened as a start of the gateway opens it, and looked at as
tests/soak/kills.py does.

`control` as a second argument lets the gateway write without fsync. Then most cuts have to lose something,
or this shows nothing. A disk that lies about what it has written is beyond this.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from openclaw_twisted.sessions.database import Database
from tests.gateway.process import GatewayProcess, configuration, free_port
from tests.soak.kills import Writers, echoing, look

__all__ = ["Disk", "cut_again_and_again"]

OUTER_BYTES, INNER_BYTES = 1024**3, 300 * 1024**2
MAX_ACKNOWLEDGED_BETWEEN_CUTS = 40

WITHOUT_FSYNC = """
from openclaw_twisted.sessions import database
database._WRITER_PRAGMAS += ("PRAGMA synchronous = OFF",)
"""


class Disk:
    """A file system on a file that can be copied in an instant; `mounted` is where it is."""

    def __init__(self, folder: Path) -> None:
        self._outer = folder / "outer"
        self._inner = self._outer / "disk.img"
        self._cut = self._outer / "cut.img"
        self._cut_mounted = folder / "cut"
        self.mounted = folder / "disk"
        for mount_point in (self._outer, self.mounted, self._cut_mounted):
            mount_point.mkdir()
        image = folder / "outer.img"
        _make(image, OUTER_BYTES)
        _run("mkfs.xfs", "-q", "-m", "reflink=1", image)
        _run("mount", "-o", "loop", image, self._outer)
        _make(self._inner, INNER_BYTES)
        _run("mkfs.ext4", "-q", self._inner)
        _run("mount", "-o", "loop", self._inner, self.mounted)

    def cut(self) -> None:
        """Copy what the disk holds at this moment."""
        _run("cp", "--reflink=always", self._inner, self._cut)

    @contextmanager
    def after_the_cut(self) -> Iterator[Path]:
        """Mount the copy, which is gone afterwards."""
        _run("mount", "-o", "loop", self._cut, self._cut_mounted)
        try:
            yield self._cut_mounted
        finally:
            _run("umount", self._cut_mounted)
            self._cut.unlink()

    def close(self) -> None:
        """Unmount everything."""
        _run("umount", self.mounted)
        _run("umount", self._outer)


def _make(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


async def cut_again_and_again(reactor: Any, disk: Disk, *, cuts: int, control: bool) -> list[list[str]]:
    """Do it, and return what was wrong after each cut."""
    moments = random.Random(1)  # noqa: S311 - moments, not secrets
    upstream = reactor.listenTCP(0, echoing(reactor, moments), interface="127.0.0.1")
    port = free_port()
    config = configuration(f"http://127.0.0.1:{upstream.getHost().port}/v1", port)
    gateway = GatewayProcess(disk.mounted, config, prelude=WITHOUT_FSYNC if control else "")
    writers, found = Writers(reactor, port), []
    try:
        await gateway.ready
        working = writers.write()
        for _ in range(cuts):
            await writers.enough(moments.randint(1, MAX_ACKNOWLEDGED_BETWEEN_CUTS))
            await deferLater(reactor, moments.random() * 0.02)
            acknowledged = copy.deepcopy(writers.acknowledged)
            await deferToThread(disk.cut)
            found.append(await deferToThread(_faults, disk, acknowledged))
        await gateway.stop("KILL")
        for each in working:
            await each
    finally:
        if not gateway.ended.called:
            await gateway.stop("KILL")
        await maybeDeferred(upstream.stopListening)
    print(f"{writers.count} questions acknowledged")
    return found


def _faults(disk: Disk, acknowledged: dict[str, list[str]]) -> list[str]:
    with disk.after_the_cut() as mounted:
        path = mounted / "state" / "sessions.sqlite3"
        database = Database(path, time.time)
        database.close(database.open())
        if database.set_aside is not None:
            return [f"the database is damaged: {database.set_aside}"]
        with closing(sqlite3.connect(path)) as connection:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        faults, _stored = look(path, acknowledged)
        return faults if sound == "ok" else [*faults, sound]


async def main(reactor: Any, cuts: str = "200", control: str = "") -> None:
    """Print what came of it."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        raise SystemExit("this mounts file systems: it needs root, mkfs.xfs and mkfs.ext4")
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        try:
            found = await cut_again_and_again(reactor, disk, cuts=int(cuts), control=control == "control")
        finally:
            disk.close()
    losing = [faults for faults in found if faults]
    print(f"{len(found)} cuts, {len(losing)} of them lost something")
    for faults in losing[:3]:
        print(faults[:3])
    if control == "control":
        raise SystemExit(2 * len(losing) <= len(found))
    raise SystemExit(bool(losing))


if __name__ == "__main__":
    react(main, sys.argv[1:])
