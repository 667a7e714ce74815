"""Finding and reading the file, what it includes, and who else may read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from twisted.python.runtime import platform
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.file import MAX_FILE_BYTES, find, load, state_dir
from openclaw_twisted.config.include import MAX_FILES, MAX_NESTING
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import Secret, Settings
from openclaw_twisted.errors import ConfigError
from tests.config.cases import DATA, STRONG, written

__all__ = ["FindTests", "IncludeTests", "LoadTests", "PermissionTests", "SecretFileTests"]


class FolderCase(SynchronousTestCase):
    """A home folder with a state directory in it."""

    def setUp(self) -> None:
        self.home = Path(os.path.realpath(self.mktemp()))
        self.state = self.home / ".openclaw"
        self.state.mkdir(parents=True)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def load(self, path: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
        return load(path, environ or {}, self.home)

    def warnings(self, environ: Mapping[str, str] | None = None) -> list[str]:
        return [str(warning) for warning in self.load(environ=environ).warnings]

    def refused(self, path: Path | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
        error = self.assertRaises(ConfigError, load, path, environ or {}, self.home)
        return [str(problem) for problem in error.problems]


class FindTests(FolderCase):
    """Flag, environment, state directory, home: in this order."""

    def test_the_order(self) -> None:
        environ = {"OPENCLAW_CONFIG_PATH": "/c/x.json", "OPENCLAW_STATE_DIR": "/s", "OPENCLAW_HOME": "/h"}
        self.assertEqual(find(Path("/flag"), environ, self.home), Path("/flag"))
        self.assertEqual(find(None, environ, self.home), Path("/c/x.json"))
        del environ["OPENCLAW_CONFIG_PATH"]
        self.assertEqual(find(None, environ, self.home), Path("/s/openclaw.json"))
        del environ["OPENCLAW_STATE_DIR"]
        self.assertEqual(find(None, environ, self.home), Path("/h/.openclaw/openclaw.json"))
        self.assertEqual(find(None, {}, self.home), self.state / "openclaw.json")

    def test_a_profile_has_a_folder_of_its_own(self) -> None:
        for profile, folder in {
            "rescue": ".openclaw-rescue",
            "Default": ".openclaw",
            " ": ".openclaw",
            "../../etc": ".openclaw",
        }.items():
            self.assertEqual(state_dir({"OPENCLAW_PROFILE": profile}, self.home), self.home / folder)
        environ = {"OPENCLAW_PROFILE": "rescue", "OPENCLAW_STATE_DIR": "/s"}
        self.assertEqual(state_dir(environ, self.home), Path("/s"))

    def test_variables_that_say_nothing(self) -> None:
        for nothing in ("", " ", "undefined", "null"):
            self.assertEqual(state_dir({"OPENCLAW_STATE_DIR": nothing}, self.home), self.state)

    def test_a_tilde_is_the_home_folder(self) -> None:
        self.assertEqual(state_dir({"OPENCLAW_STATE_DIR": "~/x"}, self.home), self.home / "x")
        self.assertEqual(state_dir({"OPENCLAW_STATE_DIR": "~"}, self.home), self.home)


class LoadTests(FolderCase):
    """One file, or none."""

    def test_without_a_file_there_are_defaults(self) -> None:
        loaded = self.load()
        self.assertEqual((loaded.settings, loaded.warnings, loaded.path), (Settings(), (), None))

    def test_without_a_file_the_environment_still_counts(self) -> None:
        loaded = self.load(environ={"OPENCLAW_GATEWAY_TOKEN": STRONG})
        self.assertEqual(loaded.settings.gateway.auth.token, Secret(STRONG))

    def test_a_named_file_has_to_be_there(self) -> None:
        missing = self.home / "missing.json"
        self.assertIn("no such file", self.refused(missing)[0])
        self.assertIn("no such file", self.refused(environ={"OPENCLAW_CONFIG_PATH": str(missing)})[0])

    def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(self) -> None:
        (self.state / "openclaw.json").symlink_to(self.home / "unmounted" / "openclaw.json")
        self.assertIn("no such file", self.refused()[0])

    def test_a_file_out_of_reach_is_not_taken_for_no_file(self) -> None:
        self.assertIn("cannot be read", self.refused(environ={"OPENCLAW_STATE_DIR": "/" + "x" * 300})[0])

    def test_the_file_is_read(self) -> None:
        path = self.write("openclaw.json", "{gateway: {port: 8080}} // mine")
        loaded = self.load()
        self.assertEqual(loaded.settings.gateway.port, 8080)
        self.assertEqual((loaded.path, loaded.files), (path, (path,)))

    def test_problems_name_the_file(self) -> None:
        path = self.write("openclaw.json", "{gateway: {port: 0}}")
        error = self.assertRaises(ConfigError, load, None, {}, self.home)
        self.assertEqual(error.source, str(path))
        self.assertIn(f"{path} cannot be used", str(error))

    def test_what_cannot_be_read_is_a_problem_and_never_a_wait(self) -> None:
        os.mkfifo(self.state / "pipe")
        (self.state / "latin").write_bytes(b"{a: '\xe6'}")
        self.write("large", " " * (MAX_FILE_BYTES + 1))
        for name, words in (
            (".", "cannot be read"),
            ("pipe", "not a regular file"),
            ("latin", "not UTF-8"),
            ("large", "larger than"),
        ):
            self.assertIn(words, self.refused(self.state / name)[0], name)

    if platform.isWindows():
        test_what_cannot_be_read_is_a_problem_and_never_a_wait.skip = "no named pipes"  # type: ignore[attr-defined]

    def test_the_state_directorys_dotenv_fills_the_environment(self) -> None:
        self.write(".env", "KEY=from-dotenv\nPORT_SET=1\nHOST=dotenv\n")
        self.write(
            "openclaw.json", "{models: {providers: {a: {apiKey: '${KEY}', baseUrl: 'http://${HOST}'}}}}"
        )
        loaded = self.load(environ={"HOST": "process"})
        self.assertEqual(loaded.settings.models.providers["a"].api_key, Secret("from-dotenv"))
        self.assertEqual(loaded.settings.models.providers["a"].base_url, "http://process")

    def test_an_unreadable_dotenv_is_a_warning(self) -> None:
        (self.state / ".env").mkdir()
        self.assertIn("left out", self.warnings()[0])

    def test_a_real_file_with_a_secrets_file(self) -> None:
        self.write("openclaw.json", (DATA / "openclaw-2026.9.json").read_text(encoding="utf-8"))
        self.write("secrets.json", '{"team": {"api/key": "sk-team"}}')
        loaded = self.load(environ={"TEAM_GATEWAY_TOKEN": STRONG, "TEAM_ROUTE": "north"})
        self.assertEqual(loaded.settings.models.providers["team"].api_key, Secret("sk-team"))


class SecretFileTests(FolderCase):
    """References into secret files."""

    def key(self, provider: str, pointer: str = "/key") -> Loaded:
        self.write(
            "openclaw.json",
            f"""{{
                secrets: {{ providers: {{ f: {provider} }}, defaults: {{ file: "f" }} }},
                models: {{ providers: {{ a: {{ apiKey: {{ source: "file", id: "{pointer}" }} }} }} }},
            }}""",
        )
        return self.load()

    def value(self, provider: str, pointer: str = "/key") -> Secret | None:
        return self.key(provider, pointer).settings.models.providers["a"].api_key

    def test_json_by_pointer(self) -> None:
        self.write("s.json", '{"key": "k", "a/b": {"~": "deep"}}')
        self.assertEqual(self.value("{source: 'file', path: 's.json'}"), Secret("k"))
        self.assertEqual(
            self.value("{source: 'file', path: '~/.openclaw/s.json'}", "/a~1b/~0"), Secret("deep")
        )

    def test_a_file_that_is_the_secret(self) -> None:
        self.write("s.txt", "k\n")
        self.assertEqual(
            self.value("{source: 'file', path: 's.txt', mode: 'singleValue'}", "value"), Secret("k")
        )

    def test_what_is_not_there_is_a_warning(self) -> None:
        self.write("s.json", '{"key": 1, "deep": {}}')
        self.write("bad.json", "{")
        for path, pointer, words in (
            ("missing.json", "/key", "cannot be read"),
            ("bad.json", "/key", "not JSON"),
            ("s.json", "/other", "none"),
            ("s.json", "/key", "none"),
            ("s.json", "/key/deeper", "none"),
            ("s.json", "key", "none"),
            (".", "/key", "cannot be read"),
        ):
            loaded = self.key(f"{{source: 'file', path: '{path}'}}", pointer)
            self.assertIsNone(loaded.settings.models.providers["a"].api_key, path)
            self.assertIn(words, str(loaded.warnings[0]), path)

    def test_a_place_that_is_no_file_is_a_problem(self) -> None:
        for provider in ("{source: 'env'}", "{source: 'file'}", "{source: 'exec', command: '/bin/x'}"):
            self.assertRaises(ConfigError, self.key, provider)
        self.assertIn("secrets.providers.f", self.refused()[0])

    def test_sources_that_are_not_supported(self) -> None:
        """What OpenClaw can use starts here too: a provider goes without its key, the gateway never does."""
        for source in ("exec", "store"):
            reference = f"{{source: '{source}', id: 'x'}}"
            self.write("openclaw.json", f"{{models: {{providers: {{a: {{apiKey: {reference}}}}}}}}}")
            self.assertIn(f'the source "{source}" is not supported', self.warnings()[0])
            self.assertIsNone(self.load().settings.models.providers["a"].api_key)
            self.write("openclaw.json", f"{{gateway: {{auth: {{token: {reference}}}}}}}")
            self.assertIn(f'the source "{source}" is not supported', self.refused()[0])

    def test_sources_that_nobody_knows(self) -> None:
        reference = "{source: 'vault', id: 'x'}"
        self.write("openclaw.json", f"{{models: {{providers: {{a: {{apiKey: {reference}}}}}}}}}")
        self.assertIn('"env" or "file"', self.refused()[0])

    def test_a_reference_of_another_form(self) -> None:
        for reference in (
            "{}",
            "{source: 'env'}",
            "{source: 'env', id: 1}",
            "{source: 'env', id: 'A', x: 1}",
            "7",
        ):
            self.write("openclaw.json", f"{{models: {{providers: {{a: {{apiKey: {reference}}}}}}}}}")
            self.assertEqual(len(self.refused()), 1, reference)


class PermissionTests(FolderCase):
    """Files that others may read or change."""

    def test_a_secret_that_others_can_read(self) -> None:
        path = self.write("openclaw.json", written("gateway.auth.token", f"'{STRONG}'"), 0o644)
        self.assertEqual(
            self.warnings(), [f"{path}: holds secrets and others can read it; run: chmod 600 {path}"]
        )
        path.chmod(0o600)
        self.assertEqual(self.warnings(), [])

    def test_a_file_without_secrets_may_be_read(self) -> None:
        self.write("openclaw.json", "{gateway: {auth: {token: '${T}'}}}", 0o644)
        self.assertEqual(self.warnings({"T": STRONG}), [])

    def test_a_file_that_others_can_change(self) -> None:
        path = self.write("openclaw.json", "{}", 0o666)
        self.assertEqual(self.warnings(), [f"{path}: can be changed by others; run: chmod go-w {path}"])

    def test_a_dotenv_that_others_can_read(self) -> None:
        self.write(".env", "A=1", 0o640)
        self.assertIn("chmod 600", self.warnings()[0])

    def test_a_secrets_file_that_others_can_read(self) -> None:
        reference = "{source: 'file', provider: 'f', id: '/t'}"
        places = "{providers: {f: {source: 'file', path: 'secrets.json'}}}"
        text = f"{{gateway: {{auth: {{token: {reference}}}}}, secrets: {places}}}"
        self.write("openclaw.json", text, 0o644)
        path = self.write("secrets.json", f'{{"t": "{STRONG}"}}', 0o640)
        self.assertEqual(
            self.warnings(), [f"{path}: holds secrets and others can read it; run: chmod 600 {path}"]
        )
        path.chmod(0o600)
        self.assertEqual(self.warnings(), [])

    def test_included_files_count(self) -> None:
        self.write("openclaw.json", "{gateway: {$include: 'g.json'}}")
        self.write("g.json", written("auth.token", f"'{STRONG}'"), 0o604)
        self.assertIn("g.json: holds secrets", self.warnings()[0])


class IncludeTests(FolderCase):
    """`$include` in all its forms."""

    def main(self, text: str) -> None:
        self.write("openclaw.json", text)

    def test_one_file_takes_the_place_of_the_object(self) -> None:
        self.main("{gateway: {$include: './parts/gateway.json5'}}")
        part = self.write("parts/gateway.json5", "{port: 8080, // mine\n}")
        loaded = self.load()
        self.assertEqual(loaded.settings.gateway.port, 8080)
        self.assertEqual(loaded.files, (self.state / "openclaw.json", part))

    def test_several_files_are_merged_in_order(self) -> None:
        self.main("{$include: ['a.json', 'b.json']}")
        self.write(
            "a.json", '{"gateway": {"port": 1, "trustedProxies": ["10.0.0.1"]}, "logging": {"level": "warn"}}'
        )
        self.write("b.json", '{"gateway": {"port": 2, "trustedProxies": ["10.0.0.2"]}}')
        read = self.load().settings
        self.assertEqual(read.gateway.port, 2)
        self.assertEqual(read.gateway.trusted_proxies, ("10.0.0.1", "10.0.0.2"))
        self.assertEqual(read.logging.level, "warn")

    def test_keys_beside_it_win(self) -> None:
        self.main("{gateway: {port: 3, http: {allowedHosts: ['b.example']}, $include: 'g.json'}}")
        self.write("g.json", '{"port": 1, "bind": "lan", "http": {"allowedHosts": ["a.example"]}}')
        gateway = self.load().settings.gateway
        self.assertEqual((gateway.port, gateway.bind), (3, "lan"))
        self.assertEqual(gateway.http.allowed_hosts, ("a.example", "b.example"))

    def test_a_file_may_hold_a_list(self) -> None:
        self.main("{agents: {list: {$include: 'list.json'}}}")
        self.write("list.json", '[{"id": "a"}, {"$include": "b.json"}]')
        self.write("b.json", '{"id": "b"}')
        self.assertEqual([*self.load().settings.agents.entries], ["a", "b"])

    def test_files_are_found_from_the_including_file(self) -> None:
        self.main("{$include: 'one/a.json'}")
        self.write("one/a.json", '{"gateway": {"$include": "../two/b.json"}}')
        self.write("two/b.json", '{"port": 5}')
        self.assertEqual(self.load().settings.gateway.port, 5)

    def test_variables_work_inside(self) -> None:
        self.main("{agents: {$include: 'a.json'}}")
        self.write("a.json", '{"entries": {"a": {"name": "${WHO}"}}}')
        self.assertEqual(self.load(environ={"WHO": "Ada"}).settings.agents.entries["a"].name, "Ada")

    def test_files_stay_inside_the_folder(self) -> None:
        outside = self.home / "outside.json"
        outside.write_text("{}")
        (self.state / "link.json").symlink_to(outside)
        for name in ("../outside.json", str(outside), "link.json"):
            self.main(f"{{gateway: {{$include: '{name}'}}}}")
            (problem,) = self.refused()
            self.assertIn("gateway.$include", problem)
            self.assertIn("OPENCLAW_INCLUDE_ROOTS", problem)
            self.load(environ={"OPENCLAW_INCLUDE_ROOTS": f"relative{os.pathsep}{self.home}"})
            self.load(environ={"OPENCLAW_INCLUDE_ROOTS": "~/"})

    def test_a_folder_with_a_longer_name_is_outside(self) -> None:
        neighbour = self.home / ".openclaw-other"
        neighbour.mkdir()
        (neighbour / "x.json").write_text("{}")
        self.main("{$include: '../.openclaw-other/x.json'}")
        self.assertIn("is outside", self.refused()[0])

    def test_circles_are_refused(self) -> None:
        self.main("{gateway: {$include: 'a.json'}}")
        self.write("a.json", '{"http": {"$include": "b.json"}}')
        self.write("b.json", '{"x": {"$include": "./a.json"}}')
        self.assertIn("a.json > b.json > a.json", self.refused()[0])
        self.main("{$include: 'openclaw.json'}")
        self.assertIn("includes itself", self.refused()[0])

    def test_nesting_is_limited(self) -> None:
        for level in range(MAX_NESTING + 1):
            self.write(f"{level}.json", f'{{"$include": "{level + 1}.json"}}')
        self.write(f"{MAX_NESTING + 1}.json", "{}")
        self.main("{$include: '1.json'}")
        self.write(f"{MAX_NESTING}.json", "{}")
        self.load()
        self.write(f"{MAX_NESTING}.json", f'{{"$include": "{MAX_NESTING + 1}.json"}}')
        self.assertIn(f"at most {MAX_NESTING}", self.refused()[0])

    def test_the_number_of_files_is_limited(self) -> None:
        self.main("{$include: ['a.json', 'a.json', 'a.json', 'a.json']}")
        for name, inner in (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")):
            self.write(f"{name}.json", f'{{"$include": {[f"{inner}.json"] * 4}}}'.replace("'", '"'))
        self.write("e.json", "{}")
        self.assertEqual(len(self.refused()), 1)
        self.assertIn(f"more than {MAX_FILES}", self.refused()[0])

    def test_what_is_no_file_name_is_refused(self) -> None:
        for include in ("7", "[]", "['a', 7]", "''", "'a\\u0000b'", f"'{'a' * 5000}'"):
            self.main(f"{{$include: {include}}}")
            self.assertEqual(len(self.refused()), 1, include)
            self.assertIn("$include", self.refused()[0])

    def test_problems_inside_name_the_file_and_come_together(self) -> None:
        self.main("{gateway: {port: 0, tls: {$include: 'missing.json'}}, agents: {$include: 'bad.json5'}}")
        self.write("bad.json5", "{\n  a: 1\n  b: 2 }")
        problems = self.refused()
        self.assertEqual(len(problems), 3)
        self.assertIn("gateway.tls.$include: missing.json: there is no such file", problems[0])
        self.assertIn("agents.$include: bad.json5: line 3, column 3", problems[1])
        self.assertIn("gateway.port", problems[2])
