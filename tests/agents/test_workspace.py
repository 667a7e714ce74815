from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.agents.workspace import MAX_FILE_BYTES, look


class LookTests(SynchronousTestCase):
    def setUp(self):
        self.folder = Path(self.mktemp()).resolve() / "ws"
        self.folder.mkdir(parents=True)

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def texts(self) -> dict[str, str]:
        found = look([self.folder], {})
        self.assertEqual(found.problems, ())
        return {name: file.text for name, file in found.files.items()}

    def problem(self, name: str) -> str:
        found = look([self.folder], {})
        self.assertEqual(found.files, {})
        self.assertEqual(len(found.problems), 1)
        self.assertIn(name, found.problems[0])
        return found.problems[0]

    def test_the_known_files_in_openclaws_order(self):
        for name in (
            "USER.md",
            "SOUL.md",
            "AGENTS.md",
            "BOOTSTRAP.md",
            "README.md",
            "agents.md.bak",
            "MEMORY.md",
        ):
            self.write(name, name.encode())
        self.assertEqual(list(self.texts()), ["AGENTS.md", "SOUL.md", "USER.md", "MEMORY.md"])

    def test_the_first_folder_that_is_there(self):
        self.write("SOUL.md", b"here")
        found = look([self.folder / "missing", self.folder, self.folder.parent], {})
        self.assertEqual(found.files["SOUL.md"].text, "here")
        self.assertEqual(look([self.folder / "missing", self.folder / "SOUL.md"], {}).files, {})

    def test_a_folder_that_cannot_be_looked_at_is_not_passed_over(self):
        self.write("SOUL.md", b"another agent's")
        closed = self.folder / ("x" * 300)  # as the folder of another user, which root may look into
        found = look([closed, self.folder], {})
        self.assertEqual(found.files, {})
        self.assertEqual(found.problems, (f"{closed} cannot be looked at: File name too long",))
        self.assertEqual(list(look([self.folder, closed], {}).files), ["SOUL.md"])

    def test_text_that_is_not_quite_utf_8(self):
        self.write("SOUL.md", b"\xef\xbb\xbf\n caf\xc3\xa9 \xff\x00! \r\n")
        self.assertEqual(self.texts(), {"SOUL.md": "café \ufffd!"})

    def test_no_more_than_two_megabytes_are_read(self):
        self.write("SOUL.md", b"x" * (MAX_FILE_BYTES + 10))
        self.assertEqual(len(self.texts()["SOUL.md"]), MAX_FILE_BYTES)

    def test_a_file_is_read_again_only_when_it_changed(self):
        path = self.write("SOUL.md", b"one")
        first = look([self.folder], {}).files
        self.assertIs(look([self.folder], first).files["SOUL.md"], first["SOUL.md"])
        status = path.stat()
        self.write("SOUL.md", b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertEqual(look([self.folder], first).files["SOUL.md"].text, "one")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        self.assertEqual(look([self.folder], first).files["SOUL.md"].text, "two")
        self.write("SOUL.md", b"three")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertEqual(look([self.folder], first).files["SOUL.md"].text, "three")

    def test_links_inside_the_workspace_are_followed(self):
        self.write("real.md", b"real")
        (self.folder / "SOUL.md").symlink_to("real.md")
        self.assertEqual(self.texts(), {"SOUL.md": "real"})

    def test_a_workspace_that_is_itself_a_link_is_fine(self):
        self.write("SOUL.md", b"soul")
        linked = self.folder.parent / "linked"
        linked.symlink_to(self.folder)
        self.assertEqual(look([linked], {}).files["SOUL.md"].text, "soul")

    def test_links_out_of_the_workspace_are_refused(self):
        secret = self.folder.parent / "secret.md"
        secret.write_text("secret")
        neighbour = self.folder.parent / "ws-other"
        neighbour.mkdir()
        (neighbour / "SOUL.md").write_text("secret")
        link = self.folder / "SOUL.md"
        for target in (secret, Path("../secret.md"), neighbour / "SOUL.md"):
            link.symlink_to(target)
            self.assertIn("leads out of the workspace", self.problem("SOUL.md"))
            link.unlink()

    def test_links_to_nothing_and_in_circles(self):
        (self.folder / "SOUL.md").symlink_to("missing.md")
        self.assertEqual(self.texts(), {})
        (self.folder / "USER.md").symlink_to("USER.md")
        self.problem("USER.md")

    def test_what_is_no_ordinary_file_is_not_opened_for_long(self):
        path = self.folder / "SOUL.md"
        os.mkfifo(path)
        self.assertIn("no ordinary file", self.problem("SOUL.md"))
        path.unlink()
        path.mkdir()
        self.assertIn("no ordinary file", self.problem("SOUL.md"))
        path.rmdir()
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        before = Path.cwd()
        os.chdir(self.folder)  # a socket's path has little room
        self.addCleanup(os.chdir, before)
        server.bind("SOUL.md")
        self.problem("SOUL.md")

    def test_no_descriptor_is_left_open(self):
        self.write("SOUL.md", b"soul")
        (self.folder / "USER.md").mkdir()
        os.mkfifo(self.folder / "TOOLS.md")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            look([self.folder], {})
        self.assertEqual(len(list(Path("/proc/self/fd").iterdir())), before)

    test_no_descriptor_is_left_open.skip = (  # type: ignore[attr-defined]
        None if Path("/proc/self/fd").is_dir() else "needs /proc"
    )
