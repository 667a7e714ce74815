"""`openclaw-gateway init`: a configuration file to start from."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path

import click

from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings

__all__ = ["STARTER", "init"]

STARTER = """\
// The gateway's configuration. Every key is optional; this is JSON5, so comments are welcome.
// See whether it holds after a change: openclaw-gateway check-config
{
  gateway: {
    port: 18789, // HTTP and WebSocket share it
    bind: "loopback", // this machine only; "lan" opens the port to the network

    // No token here: the gateway makes one, and `openclaw-gateway token show` prints it.
    // To choose your own, set OPENCLAW_GATEWAY_TOKEN.

    http: {
      endpoints: {
        chatCompletions: { enabled: true }, // POST /v1/chat/completions, for OpenAI clients
      },
    },
  },

  agents: {
    defaults: {
      // Unset, this is the first model of the first provider below, or else the one on this machine.
      // model: "openai/gpt-5-mini",
    },
    entries: {
      main: {
        default: true, // answers when nobody else is asked for
        // systemPromptOverride: "You are a helpful assistant. Answer briefly.",
      },
    },
  },

  models: {
    providers: {
      // Without any, a small model runs on this machine: openclaw-gateway local pull
      // openai: {
      //   baseUrl: "https://api.openai.com/v1",
      //   apiKey: "${OPENAI_API_KEY}", // from the environment
      //   models: [{ id: "gpt-5-mini", name: "GPT-5 mini" }],
      // },
    },
  },
}
"""


@click.command(short_help="Write a configuration file to start from.")
@click.option(
    "--path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it, instead of the place where the gateway looks.",
)
def init(path: Path | None) -> None:
    """Write a commented configuration file, unless there is one: that is never touched.

    It turns the Chat Completions endpoint on and has one agent; the rest is there to be uncommented.
    """
    target = Surroundings.of_this_process().config_path(path).absolute()
    option = "" if path is None else f" --config {shlex.quote(str(path))}"
    if _write_new(target):
        click.echo(f"Wrote {target}: the Chat Completions endpoint is on, and agent main answers.")
    else:
        click.echo(f"{target} is there already; it was left as it is.")
    click.echo(f"Check it:  openclaw-gateway check-config{option}")
    click.echo(f"Start it:  openclaw-gateway run{option}")


def _write_new(path: Path) -> bool:
    """Write the file for its owner alone; return False if there is one. It is there whole or not at all."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(scratch, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(STARTER)
            file.flush()
            os.fsync(file.fileno())
        return _name(scratch, path)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be written: {error.strerror}. Choose another with --path."
        ) from error


def _name(scratch: Path, path: Path) -> bool:
    """Give the file its name; unlike a rename, a hard link takes no name that is in use."""
    try:
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    return True
