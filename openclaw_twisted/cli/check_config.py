"""`openclaw-gateway check-config`: whether the configuration holds, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw_twisted.cli.ending import FAILED
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.errors import ConfigError, Problem

if TYPE_CHECKING:
    from openclaw_twisted.config.parse import Loaded
    from openclaw_twisted.config.settings import AuthSettings

__all__ = ["check_config"]


@click.command("check-config", short_help="Tell whether the configuration holds.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check_config(*, config: Path | None, as_json: bool) -> None:
    """Read the configuration as the gateway would, and tell everything that is wrong with it.

    Ends with 0 if the gateway would start with it and with 1 if not. Secrets are never shown.
    """
    surroundings = Surroundings.of_this_process()
    try:
        loaded = surroundings.load(config)
        _put_together(loaded, surroundings)
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "path": error.source, "problems": _listed(error.problems)}))
        raise SystemExit(FAILED) from None
    summary = _summary(loaded, surroundings)
    if as_json:
        path = str(loaded.path) if loaded.path else None
        click.echo(
            json.dumps({"ok": True, "path": path, "warnings": _listed(loaded.warnings), "gateway": summary})
        )
    else:
        _print(loaded, summary)


def _put_together(loaded: Loaded, surroundings: Surroundings) -> None:
    """Make the gateway as a start would, without starting it; raises `ConfigError` for what that finds."""
    from twisted.internet import reactor  # noqa: TID251 - an entry point; nothing runs in it

    from openclaw_twisted.service import Gateway
    from openclaw_twisted.tap import must_be_local

    try:
        must_be_local(loaded)
        Gateway(
            reactor,
            _with_token(loaded),
            state_dir=surroundings.state_dir,
            home=surroundings.home,
            out=StringIO(),
            leave=lambda _code: None,
        )
    except ConfigError as error:
        source = str(loaded.path) if loaded.path is not None else error.source
        raise ConfigError(source, error.problems) from None


def _with_token(loaded: Loaded) -> Loaded:
    """Return the configuration with a token: a start would make one, and that is a start's business."""
    import msgspec

    from openclaw_twisted.config.secret import Secret

    gateway = loaded.settings.gateway
    if gateway.auth.resolved_mode != "token" or gateway.auth.token is not None:
        return loaded
    auth = msgspec.structs.replace(gateway.auth, token=Secret("made at the first start"))
    gateway = msgspec.structs.replace(gateway, auth=auth)
    return replace(loaded, settings=msgspec.structs.replace(loaded.settings, gateway=gateway))


def _listed(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"path": problem.path, "message": problem.message} for problem in problems]


def _summary(loaded: Loaded, surroundings: Surroundings) -> dict[str, Any]:
    from openclaw_twisted.agents.directory import Directory

    gateway = loaded.settings.gateway
    directory = Directory(loaded.settings.agents, state_dir=surroundings.state_dir, home=surroundings.home)
    default = directory.default
    return {
        "port": gateway.port,
        "bind": gateway.bind,
        "tls": gateway.tls.enabled,
        "authMode": gateway.auth.resolved_mode,
        "chatCompletions": gateway.http.endpoints.chat_completions.enabled,
        "responses": gateway.http.endpoints.responses.enabled,
        "agents": list(directory.ids),
        "defaultAgent": default.id,
        "defaultModel": default.model.primary if default.model else None,
    }


def _print(loaded: Loaded, summary: dict[str, Any]) -> None:
    if loaded.path is None:
        click.echo("ok: there is no configuration file; every setting has its default")
    else:
        click.echo(f"ok: {loaded.path}")
    agents = [f"{name} (default)" if name == summary["defaultAgent"] else name for name in summary["agents"]]
    lines = {
        "port": f"{summary['port']}{' with TLS' if summary['tls'] else ''}",
        "bind": summary["bind"],
        "auth": _auth_words(loaded.settings.gateway.auth),
        "endpoint": f"/v1/chat/completions is {_switch(summary, 'chatCompletions')}",
        "responses": f"/v1/responses is {_switch(summary, 'responses')}",
        "agents": ", ".join(agents),
        "model": summary["defaultModel"] or "not set: a configured provider's first one, else the local one",
    }
    for name, value in lines.items():
        click.echo(f"  {name:<9} {value}")
    if loaded.warnings:
        click.echo("Warnings:")
    for warning in loaded.warnings:
        click.echo(f"  - {warning}")


def _switch(summary: dict[str, Any], endpoint: str) -> str:
    return "on" if summary[endpoint] else f"off; set gateway.http.endpoints.{endpoint}.enabled"


def _auth_words(auth: AuthSettings) -> str:
    mode = auth.resolved_mode
    made = mode == "token" and auth.token is None
    return f"{mode}, made at the first start" if made else mode
