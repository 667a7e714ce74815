"""What the gateway says on the terminal when it is ready: where it is, where the secret lies, what to try."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from openclaw_twisted import __version__
from openclaw_twisted.config.settings import EndpointsSettings

__all__ = ["welcome"]

_CHAT = '{"model": "openclaw", "messages": [{"role": "user", "content": "Say hello in one sentence."}]}'
_ON = "gateway.http.endpoints.chatCompletions.enabled switches it on"
_ON_AT_FIRST = "`openclaw-gateway init` writes a configuration that switches it on"
_RESPONSES = '{"model": "openclaw", "input": "Say hello in one sentence."}'


def welcome(
    *,
    base_url: str,
    auth_mode: str,
    token_file: Path | None,
    config: Path | None,
    endpoints: EndpointsSettings,
) -> str:
    """Return the lines to print; they name files, never a secret.

    `base_url` is the root (`http://127.0.0.1:18789`), `token_file` where a generated token is kept.
    """
    lines = [f"openclaw-gateway {__version__} is ready."]
    lines.append(f"  API base URL   {base_url}/v1")
    lines.append(f"  WebSocket      {base_url.replace('http', 'ws', 1)}")
    if token_file is not None:
        lines.append(f"  token          in {token_file}")
    elif auth_mode != "none":
        lines.append(f"  {auth_mode:<14} as configured ({_show_token(config)} prints it)")
    else:
        lines.append("  token          none needed (gateway.auth.mode is none)")
    chat = endpoints.chat_completions.enabled
    if not chat and not endpoints.responses.enabled:
        lines.append(f"  The OpenAI API is off; {_ON if config is not None else _ON_AT_FIRST}.")
        return "\n".join(lines) + "\n"
    secret = _secret(auth_mode, token_file, config)
    header = f' -H "Authorization: Bearer {secret}"' if secret else ""
    # A certificate names the gateway for others, not its address; this request does not leave the machine.
    options = "-sSk" if base_url.startswith("https:") else "-sS"
    path, body = ("chat/completions", _CHAT) if chat else ("responses", _RESPONSES)
    lines += [
        "  try it:",
        f"curl {options} {base_url}/v1/{path}{header} -H 'Content-Type: application/json' -d '{body}'",
    ]
    return "\n".join(lines) + "\n"


def _secret(auth_mode: str, token_file: Path | None, config: Path | None) -> str:
    if auth_mode == "none":
        return ""
    if token_file is not None:
        return f"$(cat {shlex.quote(str(token_file))})"
    return f"$({_show_token(config)})"


def _show_token(config: Path | None) -> str:
    command = [sys.executable, "-m", "openclaw_twisted.cli", "token", "show"]
    if config is not None:
        command += ["--config", str(config)]
    return shlex.join(command)
