"""Text and environment to `Settings`, or every problem that was found, each with its path.

text --syntax--> tree --substitution--> older_shapes --> known_providers --> builder --> rules --> Settings
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from openclaw_twisted.config import known_providers, older_shapes, rules, syntax
from openclaw_twisted.config.auth_profiles import AuthProfiles
from openclaw_twisted.config.builder import Builder
from openclaw_twisted.config.findings import Findings
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.secret_source import ReadSecretFile, SecretSource
from openclaw_twisted.config.settings import LogLevel, SecretsSettings, Settings
from openclaw_twisted.config.substitution import substitute
from openclaw_twisted.errors import ConfigError, Problem

__all__ = ["Loaded", "parse", "settle"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A configuration that can be used.

    `environ` is the process environment with what the file's `env.vars` and the state directory's `.env`
    add to it. `path` is None when there was no file; `files` are all that were read, `watched`
    those whose change can change the settings, whether they are there or not.
    """

    settings: Settings
    warnings: tuple[Problem, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: Path | None = None
    files: tuple[Path, ...] = ()
    watched: tuple[Path, ...] = ()
    holds_secrets: bool = False


def parse(
    text: str,
    environ: Mapping[str, str],
    *,
    source: str = "the configuration",
    overrides: Mapping[str, object] = _NOTHING,
) -> Loaded:
    """Return the settings that JSON5 text and the environment give.

    `overrides` are values by path (`{"gateway.port": 8080}`) that win over both: the command line's flags.
    Raises `ConfigError` with every problem.
    """
    return settle(syntax.decode(text, source), environ, source=source, overrides=overrides)


def settle(  # noqa: PLR0913 - each is read from somewhere else
    tree: Any,
    environ: Mapping[str, str],
    *,
    source: str,
    overrides: Mapping[str, object] = _NOTHING,
    read_secret_file: ReadSecretFile | None = None,
    profiles: AuthProfiles | None = None,
) -> Loaded:
    """Return the settings that plain values, with their includes in place, and the environment give.

    `profiles` have keys that stand nowhere else.

    Raises `ConfigError` with every problem.
    """
    if not isinstance(tree, dict):
        raise ConfigError(source, (Problem("", "must be one object: { ... }"),))
    findings = Findings()
    environ = _with_variables(tree, environ)
    tree = substitute(tree, environ, findings)
    older_shapes.normalise(tree, findings)
    known_providers.supply(tree, environ, profiles or AuthProfiles())
    _from_environment(tree, environ, findings)
    for path, value in overrides.items():
        _place(tree, path, value)
        findings.written_at[path] = f"--{path.rpartition('.')[2]}"
    secrets = SecretSource(environ, findings, read_file=read_secret_file)
    builder = Builder(findings, secrets)
    section = builder.build(SecretsSettings, tree.pop("secrets", {}), "secrets")
    secrets.settings = section or SecretsSettings()
    settings = builder.build(Settings, tree)
    if settings is not None:
        rules.check(settings, findings)
    builder.idle.tell(findings)
    if settings is None or findings.problems:
        raise ConfigError(source, tuple(findings.problems))
    return Loaded(
        settings=msgspec.structs.replace(settings, secrets=secrets.settings),
        warnings=tuple(findings.warnings),
        environ=environ,
        holds_secrets=bool(secrets.written_out),
    )


def _with_variables(tree: dict[str, Any], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with the file's own variables where it has none."""
    env = tree.get("env")
    if not isinstance(env, dict):
        return environ
    named = env.get("vars")
    listed = env | (named if isinstance(named, dict) else {})
    texts = {name: value for name, value in listed.items() if isinstance(value, str)}
    # what is missing is warned about when the whole tree is substituted
    added = substitute(texts, environ, Findings())
    return {**added, **{name: value for name, value in environ.items() if value or name not in added}}


def _from_environment(tree: dict[str, Any], environ: Mapping[str, str], findings: Findings) -> None:
    """Let the variables that stand for keys win over the file, others fill in what it lacks."""
    for name, path in (
        ("OPENCLAW_GATEWAY_TOKEN", "gateway.auth.token"),
        ("OPENCLAW_GATEWAY_PASSWORD", "gateway.auth.password"),
    ):
        if environ.get(name):
            _place(tree, path, Secret(environ[name]))
            findings.written_at[path] = name
    port = environ.get("OPENCLAW_GATEWAY_PORT", "").strip()
    if port:
        _place(tree, "gateway.port", int(port) if re.fullmatch(r"[0-9]{1,9}", port) else port)
        findings.written_at["gateway.port"] = "OPENCLAW_GATEWAY_PORT"
    level = environ.get("OPENCLAW_LOG_LEVEL", "").strip().lower()
    if level in get_args(LogLevel):
        _place(tree, "logging.level", level)
        _place(tree, "logging.consoleLevel", level)
    elif level:
        findings.warn("OPENCLAW_LOG_LEVEL", f"is left out: it is none of {', '.join(get_args(LogLevel))}")
    for name, path, value in (
        ("OPENCLAW_PROXY_URL", "proxy.proxyUrl", Secret),
        ("OPENCLAW_WORKSPACE_DIR", "agents.defaults.workspace", str),
    ):
        if environ.get(name) and not _stands(tree, path):
            _place(tree, path, value(environ[name]))
            findings.written_at[path] = name


def _stands(tree: Any, path: str) -> bool:
    """Tell whether the tree has something at a path, or something else on the way."""
    for key in path.split("."):
        if not isinstance(tree, dict):
            return True
        if key not in tree:
            return False
        tree = tree[key]
    return True


def _place(tree: dict[str, Any], path: str, value: object) -> None:
    """Put a value at a path; an object on the way that is none is left for the builder to name."""
    *outer, last = path.split(".")
    inside: Any = tree
    for key in outer:
        if not isinstance(inside, dict):
            return
        inside = inside.setdefault(key, {})
    if isinstance(inside, dict):
        inside[last] = value
